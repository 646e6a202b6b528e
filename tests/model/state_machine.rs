//! The model and the slot manager side by side: every command has the same outcome, effects and
//! state.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use slot_manager::SlotManagerConfig;
use slot_manager::message::AttemptId;
use slot_manager::testing::{Effect, GatewayCall};

use crate::command::{Command, Promise, text};
use crate::configurations::config;
use crate::naive::NaiveSlotManager;
use crate::observation::{Response, Snapshot};
use crate::steps::{self, Kinds, Resolver, Step};
use crate::subject::Subject;

/// The model, with the commands it was given.
#[derive(Clone)]
pub(crate) struct Reference {
    config: SlotManagerConfig,
    model: NaiveSlotManager,
    script: Vec<Command>,
    response: Option<Response>,
    snapshot: Snapshot,
    allocations: u128,
    instances: u128,
    leaders: u128,
    jobs: Vec<u128>,
    /// Requests and slots have few shapes.
    has_few_shapes: bool,
    kinds: Kinds,
    /// The last attempts, the oldest first.
    attempts: Vec<AttemptId>,
}

/// The number of attempts that are remembered, in flight or not.
const REMEMBERED_ATTEMPTS: usize = 12;

impl Reference {
    pub(crate) fn new(config: SlotManagerConfig) -> Self {
        let model = NaiveSlotManager::new(config.clone());
        Self {
            snapshot: model.snapshot(0),
            config,
            model,
            script: Vec::new(),
            response: None,
            allocations: 0,
            instances: 0,
            leaders: 0,
            jobs: Vec::new(),
            has_few_shapes: false,
            kinds: Kinds::Both,
            attempts: Vec::new(),
        }
    }

    fn resolve(&self, step: &Step) -> Command {
        let resolver = Resolver {
            state: &self.snapshot,
            allocations: self.allocations,
            instances: self.instances,
            leaders: self.leaders,
            jobs: &self.jobs,
            awaited_attempts: &self.model.awaited_attempts(),
            attempts_in_flight: &self.model.attempts_in_flight(),
            recent_attempts: &self.attempts,
            open_release_checks: &self.model.open_release_checks(),
            blocked: self.model.blocked_workers(),
            replaced: self.model.replaced_instances(),
            worker_requests: self.model.worker_requests(),
            has_few_shapes: self.has_few_shapes,
            kinds: self.kinds,
            totals: &self.model.totals(),
        };
        resolver.resolve(step).unwrap_or(Command::Run)
    }

    pub(crate) fn apply(&mut self, command: Command) -> &Response {
        match command {
            Command::Start { leader, .. } => self.leaders = self.leaders.max(leader),
            Command::Register { instance, .. } => self.instances = self.instances.max(instance),
            Command::Request { allocation, job, .. } if allocation > self.allocations => {
                self.allocations = allocation;
                self.jobs.push(job);
            }
            _ => {}
        }
        let apply = AssertUnwindSafe(|| self.model.apply(&command));
        let response = catch_unwind(apply).unwrap_or_else(|_| {
            panic!(
                "the model fails in the last command of\n\n{}\n{command}\n",
                self.script()
            )
        });
        self.attempts
            .extend(response.effects.iter().filter_map(|effect| match effect {
                Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.attempt_id()),
                _ => None,
            }));
        let old = self.attempts.len().saturating_sub(REMEMBERED_ATTEMPTS);
        self.attempts.drain(..old);
        self.snapshot = self.model.snapshot(self.allocations);
        self.script.push(command);
        self.response.insert(response)
    }

    /// Returns the configuration and the commands as a script.
    pub(crate) fn script(&self) -> String {
        let mut lines = vec![text::write_config(&self.config)];
        lines.extend(self.script.iter().map(ToString::to_string));
        lines.join("\n")
    }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.script())
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let workers = prop_oneof![
            2 => Just(None),
            2 => Just(Some(Promise::Unspecified)),
            3 => steps::promise().prop_map(Some),
        ];
        let length = prop::option::weighted(0.3, steps::lease());
        let busy = (any::<bool>(), prop::collection::vec(steps::first_registration(), 0..4));
        let kinds = prop_oneof![1 => Just(Kinds::Static), 2 => Just(Kinds::Both), 2 => Just(Kinds::Dynamic)];
        (config(), workers, length, busy, kinds)
            .prop_map(|(config, workers, length, (has_few_shapes, registrations), kinds)| {
                let mut reference = Self::new(config);
                (reference.has_few_shapes, reference.kinds) = (has_few_shapes, kinds);
                if let Some(promise) = workers {
                    reference.apply(Command::Workers { once: false, promise });
                }
                reference.apply(Command::Start { leader: 1, length });
                if has_few_shapes {
                    for (number, (answer, slots, kind)) in (0..).zip(registrations) {
                        let is_dynamic = steps::is_dynamic(kinds, kind);
                        reference.apply(steps::register(number, answer, slots, is_dynamic));
                    }
                }
                reference
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        thread_local! {
            static STEP: BoxedStrategy<Step> = steps::step();
        }
        STEP.with(Clone::clone)
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        let command = state.resolve(step);
        Self::apply(&mut state, command);
        state
    }
}

/// The test: applies each command to the slot manager too, and compares.
pub(crate) struct SideBySide;

impl StateMachineTest for SideBySide {
    type SystemUnderTest = Subject;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Subject {
        let mut subject = Subject::new(reference.config.clone());
        for command in &reference.script {
            subject.apply(command);
        }
        subject
    }

    fn apply(mut subject: Subject, reference: &Reference, _: Step) -> Subject {
        let (Some(command), Some(expected)) = (reference.script.last(), &reference.response) else {
            return subject;
        };
        let response = subject.apply(command);
        if let Err(difference) = compare(reference, expected, &mut subject, &response) {
            panic!(
                "{difference}\n\nThe script, for a file in tests/model/scripts:\n\n{}\n",
                reference.script()
            );
        }
        subject
    }
}

/// Checks that the responses and the states are equal, and the invariants and the number of changes
/// of the slot manager.
pub(crate) fn compare(
    reference: &Reference,
    expected: &Response,
    subject: &mut Subject,
    response: &Response,
) -> Result<(), String> {
    if response != expected {
        return Err(format!(
            "the response of the slot manager is\n{response:#?}\nand that of the model\n{expected:#?}"
        ));
    }
    let snapshot = subject.snapshot(reference.allocations);
    if snapshot != reference.snapshot {
        return Err(format!(
            "the state of the slot manager is\n{snapshot:#?}\nand that of the model\n{:#?}",
            reference.snapshot
        ));
    }
    subject.check_changes(snapshot)?;
    subject.check_invariants()
}
