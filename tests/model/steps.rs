//! Steps: random choices that make sense in any state, and the commands that they become in a given
//! state.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision};
use slot_manager::view::SlotState;
use slot_manager::{InstanceId, ResourceId, SlotId, WorkerRequestId};

use crate::command::{
    Answer, AttemptName, CheckId, Command, Holder, Promise, Report, Shape, Status, Total, WorkerRequestName,
};
use crate::observation::{Snapshot, TaskManagerView};

const WORKERS: u16 = 4;
const JOBS: u16 = 3;
/// Jobs with higher numbers, which mostly declare.
const DECLARING_JOBS: u16 = 2;
/// The job that most workers refuse, if answers follow the worker and the job.
const POISONED_JOB: u128 = JOBS as u128;
/// A job that makes no request.
const STRANGER: u128 = 9;

/// The shapes of requests. Those that often fit a slot occur more often.
const REQUESTED: [Shape; 10] = [
    Shape::Small,
    Shape::Small,
    Shape::Small,
    Shape::Wide,
    Shape::Large,
    Shape::Accelerated,
    Shape::Any,
    Shape::Unknown,
    Shape::Zero,
    Shape::Rich,
];
/// The shapes of slots.
const OFFERED: [Shape; 10] = [
    Shape::Small,
    Shape::Small,
    Shape::Wide,
    Shape::Wide,
    Shape::Large,
    Shape::Large,
    Shape::Accelerated,
    Shape::Any,
    Shape::Unknown,
    Shape::Zero,
];

/// The shapes of requests and of slots in cases with few shapes: most slots fit most requests.
const REQUESTED_OF_FEW: [Shape; 4] = [Shape::Small, Shape::Small, Shape::Small, Shape::Wide];
const OFFERED_OF_FEW: [Shape; 6] = [
    Shape::Small,
    Shape::Small,
    Shape::Small,
    Shape::Wide,
    Shape::Wide,
    Shape::Large,
];

/// The totals of dynamic workers. `UNKNOWN` is refused.
const TOTALS: [Shape; 20] = [
    Shape::Huge,
    Shape::Huge,
    Shape::Huge,
    Shape::Huge,
    Shape::Huge,
    Shape::Rich,
    Shape::Rich,
    Shape::Rich,
    Shape::Rich,
    Shape::Large,
    Shape::Large,
    Shape::Large,
    Shape::Wide,
    Shape::Wide,
    Shape::Small,
    Shape::Accelerated,
    Shape::Any,
    Shape::Any,
    Shape::Zero,
    Shape::Unknown,
];
/// The default slots of dynamic workers. `UNKNOWN` counts as none.
const DEFAULT_SLOTS: [Shape; 12] = [
    Shape::Small,
    Shape::Small,
    Shape::Small,
    Shape::Wide,
    Shape::Wide,
    Shape::Large,
    Shape::Accelerated,
    Shape::Accelerated,
    Shape::Huge,
    Shape::Zero,
    Shape::Any,
    Shape::Unknown,
];
/// The resources that a dynamic worker has left.
const LEFT: [Shape; 12] = [
    Shape::Zero,
    Shape::Small,
    Shape::Small,
    Shape::Wide,
    Shape::Wide,
    Shape::Large,
    Shape::Large,
    Shape::Accelerated,
    Shape::Huge,
    Shape::Rich,
    Shape::Any,
    Shape::Unknown,
];

/// The kinds of workers in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    Static,
    Both,
    /// Nearly all are dynamic.
    Dynamic,
}

/// Chooses an item of a list of any length, so that a case stays valid while shrinking removes
/// steps.
type Choice = u16;

/// A step. [`Resolver`] turns it into a command.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Start(Option<Duration>),
    Suspend,
    Renew(Duration),
    ExpectWorkers(Vec<Choice>),
    EndRecovery,
    Request {
        job: Choice,
        shape: Choice,
        /// Repeats the id of an earlier request.
        known: Option<Choice>,
    },
    Cancel(Choice),
    Declare {
        job: Choice,
        slots: Vec<(Choice, u32)>,
        /// The difference to the highest revision of the job, if it has one.
        revision: Option<i8>,
    },
    UnregisterJob(Choice),
    /// By the holder of the slot, or in the name of another allocation.
    Free {
        slot: Choice,
        other: Option<Choice>,
        revision: Revision,
        /// By another registration.
        is_foreign: bool,
        /// Under one of the last attempts for the allocation.
        attempt: Option<Choice>,
    },
    Register {
        worker: Choice,
        identity: Identity,
        /// The worker request that it names.
        promised: Option<Choice>,
        /// Names a worker request that may have ended.
        is_old: bool,
        /// Names the worker request in another leadership.
        is_foreign: bool,
        answer: AnswerChoice,
        shape: Choice,
        /// Dynamic or static: see [`Resolver::is_dynamic`].
        kind: Choice,
        total: TotalChoice,
        changes: Vec<Change>,
        revision: Revision,
    },
    Unregister(Choice),
    Report {
        task_manager: Choice,
        /// As in a registration.
        kind: Choice,
        total: TotalChoice,
        changes: Vec<Change>,
        revision: Revision,
    },
    WorkerFailed {
        worker_request: Choice,
        /// Of another leadership.
        is_foreign: bool,
    },
    /// Mostly a registered worker.
    Block(Choice),
    /// Mostly a blocked worker.
    Unblock(Choice),
    FailUnfulfillable(bool),
    AnswerRelease {
        check: Choice,
        answer: ReleaseDecision,
        /// Changes a part of the open check, so that it names none.
        wrong: Option<Wrong>,
    },
    Answers {
        task_manager: Choice,
        once: bool,
        answer: AnswerChoice,
    },
    Answer {
        attempt: Choice,
        answer: AnswerChoice,
    },
    AnswerInput {
        attempt: Choice,
        answer: AnswerChoice,
        target: AttemptChoice,
    },
    Workers {
        once: bool,
        promise: Promise,
    },
    Releases {
        once: bool,
        accept: bool,
    },
    Withdrawals {
        once: bool,
        confirm: bool,
    },
    ReleaseAnswers {
        task_manager: Choice,
        once: bool,
        answer: ReleaseDecision,
    },
    Advance(Duration),
    TurnBack(Duration),
    Run,
}

/// The attempt that an answer names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AttemptChoice {
    InFlight,
    /// One of the last attempts, in flight or not.
    Recent,
    /// An attempt in flight, but one part of its name is changed.
    Wrong(WrongPart),
}

/// The part in which the name of an attempt differs from that of one in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WrongPart {
    Number,
    Allocation,
    Leader,
}

/// The part in which a release check differs from an open one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wrong {
    Number,
    Instance,
    Leader,
}

/// The instance id of a registration.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Identity {
    New,
    Known,
    OfAnother,
    /// Of a registration that was replaced.
    Replaced,
}

/// The resources of a dynamic worker.
#[derive(Debug, Clone)]
pub(crate) struct TotalChoice {
    /// Without a choice, as they are known.
    total: Option<Choice>,
    default_slot: Option<Option<Choice>>,
    free: Option<Choice>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Revision {
    None,
    /// The difference to the highest revision that was seen.
    Relative(i8),
}

/// A difference between a report and the view of the manager.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    slot: Choice,
    kind: ChangeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ChangeKind {
    Free,
    /// Held by an allocation that was requested before.
    Held(Choice),
    /// The same in the name of another job.
    HeldForAnotherJob(Choice),
    /// Held by the allocation whose attempt is in flight to it.
    Confirmed,
    HeldByStranger(Choice),
    Shape(Choice),
    Omitted,
    Added(Choice),
    Foreign,
    NamedTwice,
    LastFirst,
}

#[derive(Debug, Clone)]
pub(crate) enum AnswerChoice {
    Yes(Revision),
    No,
    Unreachable,
    HeldBy(Choice),
    HeldByStranger(Choice),
    Insufficient(Choice),
    Later,
    AsInput,
    /// The answer that this worker gives to this job: see [`Resolver::usual_answer`].
    Usual(Revision),
}

fn choice() -> std::ops::Range<Choice> {
    0..1000
}

fn shape() -> impl Strategy<Value = Shape> {
    prop::sample::select(&Shape::ALL[..])
}

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![2 => Just(Revision::None), 1 => (-2..3_i8).prop_map(Revision::Relative)]
}

fn total() -> impl Strategy<Value = TotalChoice> {
    let total = prop::option::weighted(0.15, choice());
    let default_slot = prop::option::weighted(0.15, prop::option::weighted(0.8, choice()));
    (total, default_slot, prop::option::weighted(0.3, choice())).prop_map(|(total, default_slot, free)| TotalChoice {
        total,
        default_slot,
        free,
    })
}

fn answer() -> impl Strategy<Value = AnswerChoice> {
    prop_oneof![3 => Just(AnswerChoice::Later), 4 => Just(AnswerChoice::AsInput), 5 => answer_now()]
}

fn answer_now() -> impl Strategy<Value = AnswerChoice> {
    prop_oneof![
        20 => revision().prop_map(AnswerChoice::Usual),
        6 => revision().prop_map(AnswerChoice::Yes),
        4 => Just(AnswerChoice::No),
        1 => Just(AnswerChoice::Unreachable),
        2 => choice().prop_map(AnswerChoice::HeldBy),
        1 => choice().prop_map(AnswerChoice::HeldByStranger),
        4 => choice().prop_map(AnswerChoice::Insufficient),
    ]
}

fn changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    let kind = prop_oneof![
        6 => Just(ChangeKind::Free),
        6 => choice().prop_map(ChangeKind::Held),
        1 => choice().prop_map(ChangeKind::HeldForAnotherJob),
        4 => Just(ChangeKind::Confirmed),
        2 => choice().prop_map(ChangeKind::HeldByStranger),
        2 => choice().prop_map(ChangeKind::Shape),
        3 => Just(ChangeKind::Omitted),
        3 => choice().prop_map(ChangeKind::Added),
        1 => Just(ChangeKind::LastFirst),
    ];
    // Rare, because a report that is refused tests nothing else.
    let kind = prop_oneof![60 => kind, 1 => Just(ChangeKind::Foreign), 1 => Just(ChangeKind::NamedTwice)];
    let change = (choice(), kind).prop_map(|(slot, kind)| Change { slot, kind });
    prop::collection::vec(change, 0..=most)
}

pub(crate) fn promise() -> impl Strategy<Value = Promise> {
    prop_oneof![
        2 => Just(Promise::Declined),
        3 => Just(Promise::Unspecified),
        6 => prop::collection::vec(shape(), 0..4).prop_map(Promise::Slots),
        4 => total_of_promise(),
        2 => Just(Promise::Refused),
    ]
}

fn total_of_promise() -> impl Strategy<Value = Promise> {
    let default_slot = prop::option::weighted(0.7, choice());
    (choice(), default_slot).prop_map(|(total, default_slot)| {
        Promise::Total(Total {
            total: shape_of(&TOTALS, total),
            default_slot: default_slot.map(|choice| shape_of(&DEFAULT_SLOTS, choice)),
            free: None,
        })
    })
}

fn release_answer() -> impl Strategy<Value = ReleaseDecision> {
    prop_oneof![
        2 => Just(ReleaseDecision::Release),
        1 => Just(ReleaseDecision::Keep),
        3 => Just(ReleaseDecision::Later),
    ]
}

fn declare() -> impl Strategy<Value = Step> {
    let slots = prop::collection::vec((choice(), 0..4_u32), 0..4);
    let revision = prop::option::weighted(0.3, -1..3_i8);
    (choice(), slots, revision).prop_map(|(job, slots, revision)| Step::Declare { job, slots, revision })
}

fn answer_release() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(ReleaseDecision::Release),
        2 => Just(ReleaseDecision::Keep),
        1 => Just(ReleaseDecision::Later),
    ];
    let wrong = prop::sample::select(&[Wrong::Number, Wrong::Instance, Wrong::Leader][..]);
    let answer_release = (choice(), answer, prop::option::weighted(0.1, wrong));
    answer_release.prop_map(|(check, answer, wrong)| Step::AnswerRelease { check, answer, wrong })
}

fn answer_input() -> impl Strategy<Value = Step> {
    let wrong = prop::sample::select(&[WrongPart::Number, WrongPart::Allocation, WrongPart::Leader][..]);
    let target = prop_oneof![
        16 => Just(AttemptChoice::InFlight),
        3 => Just(AttemptChoice::Recent),
        1 => wrong.prop_map(AttemptChoice::Wrong),
    ];
    let answer_input = (choice(), answer_now(), target);
    answer_input.prop_map(|(attempt, answer, target)| Step::AnswerInput {
        attempt,
        answer,
        target,
    })
}

/// The time from now to the end of a leadership: mostly long, sometimes zero.
pub(crate) fn lease() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        3 => (0..400_u64).prop_map(Duration::from_millis),
        6 => (400..4_000_u64).prop_map(Duration::from_millis),
        3 => Just(Duration::MAX),
    ]
}

/// Mostly short compared with the timeouts; in rare cases all timeouts fall due.
fn length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        40 => (0..40_u64).prop_map(Duration::from_millis),
        20 => (0..400_u64).prop_map(Duration::from_millis),
        1 => Just(Duration::MAX),
    ]
}

/// The answer of a worker that registers after the start, the number of its slots, and the choice
/// whether it is dynamic.
pub(crate) fn first_registration() -> impl Strategy<Value = (Answer, u32, u16)> {
    let answer = prop_oneof![
        3 => Just(Answer::Later),
        4 => Just(Answer::AsInput),
        1 => Just(Answer::No),
        1 => Just(Answer::Unreachable),
        1 => Just(Answer::Yes { revision: None }),
    ];
    (answer, 1..6_u32, choice())
}

/// Returns the registration of a worker with free slots, or of one from which slots are cut.
pub(crate) fn register(number: u16, answer: Answer, slots: u32, is_dynamic: bool) -> Command {
    let worker = worker(number);
    let dynamic = is_dynamic.then_some(Total {
        total: if slots % 2 == 0 { Shape::Rich } else { Shape::Huge },
        default_slot: (slots > 1).then_some(Shape::Small),
        free: None,
    });
    let slots = if is_dynamic { 0 } else { slots };
    let status = |at: u32| Status {
        slot: SlotId::new(worker.as_str(), at),
        shape: OFFERED_OF_FEW[at as usize % OFFERED_OF_FEW.len()],
        holder: None,
    };
    Command::Register {
        instance: 1 + u128::from(number),
        worker_request: None,
        answer,
        report: Report {
            dynamic,
            statuses: (0..slots).map(status).collect(),
            revision: None,
        },
        worker,
    }
}

pub(crate) fn step() -> BoxedStrategy<Step> {
    let identity = prop_oneof![8 => Just(Identity::New), 2 => Just(Identity::Known), 1 => Just(Identity::OfAnother), 1 => Just(Identity::Replaced)];
    let register = (
        choice(),
        identity,
        (
            prop::option::of(choice()),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.1),
        ),
        answer(),
        choice(),
        (choice(), total()),
        changes(4),
        revision(),
    );
    let register = register.prop_map(
        |(worker, identity, (promised, is_old, is_foreign), answer, shape, (kind, total), changes, revision)| {
            Step::Register {
                worker,
                identity,
                promised,
                is_old,
                is_foreign,
                answer,
                shape,
                kind,
                total,
                changes,
                revision,
            }
        },
    );
    let request = (choice(), choice(), prop::option::weighted(0.1, choice()));
    let report = (choice(), choice(), total(), changes(3), revision());
    let free = (
        choice(),
        prop::option::weighted(0.2, choice()),
        prop_oneof![1 => Just(Revision::None), 2 => (-1..3_i8).prop_map(Revision::Relative)],
        prop::bool::weighted(0.05),
        prop::option::of(choice()),
    );
    let free = free.prop_map(|(slot, other, revision, is_foreign, attempt)| Step::Free {
        slot,
        other,
        revision,
        is_foreign,
        attempt,
    });
    prop_oneof![
        1 => prop::option::weighted(0.7, lease()).prop_map(Step::Start),
        3 => lease().prop_map(Step::Renew),
        1 => prop::collection::vec(choice(), 0..4).prop_map(Step::ExpectWorkers),
        1 => prop::option::weighted(0.3, Just(Step::EndRecovery)).prop_map(|it| it.unwrap_or(Step::Run)),
        1 => prop::option::weighted(0.3, Just(Step::Suspend)).prop_map(|it| it.unwrap_or(Step::Run)),
        24 => request.prop_map(|(job, shape, known)| Step::Request { job, shape, known }),
        5 => choice().prop_map(Step::Cancel),
        12 => declare(),
        1 => choice().prop_map(Step::UnregisterJob),
        10 => free,
        10 => register,
        1 => choice().prop_map(Step::Unregister),
        16 => report.prop_map(|(task_manager, kind, total, changes, revision)| Step::Report {
            task_manager,
            kind,
            total,
            changes,
            revision,
        }),
        4 => (choice(), prop::bool::weighted(0.1))
            .prop_map(|(worker_request, is_foreign)| Step::WorkerFailed { worker_request, is_foreign }),
        2 => choice().prop_map(Step::Block),
        2 => choice().prop_map(Step::Unblock),
        1 => any::<bool>().prop_map(Step::FailUnfulfillable),
        12 => answer_release(),
        5 => (choice(), any::<bool>(), answer())
            .prop_map(|(task_manager, once, answer)| Step::Answers { task_manager, once, answer }),
        30 => (choice(), answer_now()).prop_map(|(attempt, answer)| Step::Answer { attempt, answer }),
        26 => answer_input(),
        4 => (any::<bool>(), promise()).prop_map(|(once, promise)| Step::Workers { once, promise }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(once, accept)| Step::Releases { once, accept }),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(once, confirm)| Step::Withdrawals { once, confirm }),
        6 => (choice(), any::<bool>(), release_answer())
            .prop_map(|(task_manager, once, answer)| Step::ReleaseAnswers { task_manager, once, answer }),
        12 => length().prop_map(Step::Advance),
        1 => (0..50_u64).prop_map(|by| Step::TurnBack(Duration::from_millis(by))),
        24 => Just(Step::Run),
    ]
    .boxed()
}

fn choose<T>(from: &[T], choice: Choice) -> Option<&T> {
    from.get(usize::from(choice).checked_rem(from.len())?)
}

/// Turns steps into commands.
pub(crate) struct Resolver<'a> {
    pub(crate) state: &'a Snapshot,
    /// The highest numbers used before.
    pub(crate) allocations: u128,
    pub(crate) instances: u128,
    pub(crate) leaders: u128,
    /// The job of each allocation, from number 1 on.
    pub(crate) jobs: &'a [u128],
    pub(crate) awaited_attempts: &'a [u64],
    pub(crate) attempts_in_flight: &'a [AttemptId],
    /// The last attempts.
    pub(crate) recent_attempts: &'a [AttemptId],
    pub(crate) open_release_checks: &'a [ReleaseCheck],
    pub(crate) blocked: &'a [ResourceId],
    /// The instance ids of replaced registrations.
    pub(crate) replaced: &'a [InstanceId],
    /// The number of the last worker request.
    pub(crate) worker_requests: u64,
    /// Requests and slots have few shapes.
    pub(crate) has_few_shapes: bool,
    pub(crate) kinds: Kinds,
    /// The resources of the dynamic workers.
    pub(crate) totals: &'a [(InstanceId, Total)],
}

impl Resolver<'_> {
    /// Returns the command of a step, or `None` if the state has nothing that the step could refer
    /// to.
    pub(crate) fn resolve(&self, step: &Step) -> Option<Command> {
        Some(match step {
            // Without a leadership most inputs do nothing.
            Step::Run | Step::Request { .. } if self.state.leader_id.is_none() => Command::Start {
                leader: self.leaders + 1,
                length: None,
            },
            // Likewise after the end of a leadership.
            Step::Request { .. } if !self.state.is_leading => Command::Renew(Duration::from_millis(500)),
            Step::Start(length) => Command::Start {
                leader: self.leaders + 1,
                length: *length,
            },
            Step::Suspend => Command::Suspend,
            Step::Renew(length) => Command::Renew(*length),
            Step::ExpectWorkers(workers) => {
                Command::ExpectWorkers(workers.iter().map(|choice| worker(*choice)).collect())
            }
            Step::EndRecovery => Command::EndRecovery,
            Step::Request { job, shape, known } => {
                let known = known.filter(|_| self.allocations > 0);
                let allocation = known.map_or(self.allocations + 1, |known| 1 + u128::from(known) % self.allocations);
                Command::Request {
                    allocation,
                    job: 1 + u128::from(job % JOBS),
                    profile: self.requested(*shape),
                }
            }
            Step::Cancel(choice) => {
                let pending = choose(&self.state.requests, *choice).filter(|_| choice % 4 != 0);
                let pending = pending.map(|it| it.allocation_id.as_u128());
                Command::Cancel {
                    allocation: pending.or_else(|| self.allocation(*choice))?,
                }
            }
            Step::Declare { job, slots, revision } => {
                // Now and then a job that requests single slots.
                let job = 1 + u128::from(job % (JOBS + DECLARING_JOBS)).max(u128::from(JOBS * u16::from(job % 8 != 0)));
                let known = self.state.requirements.iter().find(|it| it.job_id.as_u128() == job);
                let highest = known.and_then(|it| it.revision).unwrap_or(3);
                Command::Declare {
                    job,
                    slots: slots
                        .iter()
                        .map(|(shape, slots)| (self.requested(*shape), *slots))
                        .collect(),
                    revision: revision.map(|by| highest.saturating_add_signed(by.into())),
                }
            }
            Step::UnregisterJob(job) => Command::UnregisterJob {
                job: 1 + u128::from(job % (JOBS + DECLARING_JOBS)),
            },
            Step::Free {
                slot,
                other,
                revision,
                is_foreign,
                attempt,
            } => self.free(*slot, *other, *revision, *is_foreign, *attempt)?,
            Step::Register {
                worker,
                identity,
                promised,
                is_old,
                is_foreign,
                answer,
                shape,
                kind,
                total,
                changes,
                revision,
            } => {
                let worker = self::worker(*worker);
                let known = self
                    .state
                    .task_managers
                    .iter()
                    .find(|it| it.resource_id.as_str() == worker);
                let other = choose(&self.state.task_managers, *shape);
                let instance = match identity {
                    Identity::New => None,
                    Identity::Known => known.map(|it| it.instance_id),
                    Identity::OfAnother => other.map(|it| it.instance_id),
                    Identity::Replaced => choose(self.replaced, *shape).copied(),
                };
                let dynamic = self.is_dynamic(known, *kind).then(|| self.total(known, total, *shape));
                let was_dynamic = known.map(|it| it.total.is_some());
                let statuses = match known.filter(|_| was_dynamic == Some(dynamic.is_some())) {
                    Some(known) => self.statuses(known),
                    None if dynamic.is_some() => Vec::new(),
                    None => self.new_statuses(&worker, *shape),
                };
                let worker_request = promised.and_then(|choice| match is_old {
                    false => self.open_worker_request(choice).map(WorkerRequestId::number),
                    true => (self.worker_requests > 0).then(|| 1 + u64::from(choice) % self.worker_requests),
                });
                Command::Register {
                    instance: instance.map_or(self.instances + 1, InstanceId::as_u128),
                    worker_request: worker_request.map(|number| self.worker_request(number, *is_foreign)),
                    answer: self.answer(answer, known, (&worker, 0)),
                    report: self.report((&worker, dynamic), statuses, changes, *revision, known),
                    worker,
                }
            }
            Step::Unregister(choice) => Command::Unregister {
                instance: self.task_manager(*choice)?.instance_id.as_u128(),
            },
            Step::Report {
                task_manager,
                kind,
                total,
                changes,
                revision,
            } => {
                let task_manager = self.task_manager(*task_manager)?;
                let is_dynamic = self.is_dynamic(Some(task_manager), *kind);
                let dynamic = is_dynamic.then(|| self.total(Some(task_manager), total, *kind));
                let (worker, statuses) = (task_manager.resource_id.as_str(), self.statuses(task_manager));
                Command::Report {
                    instance: task_manager.instance_id.as_u128(),
                    report: self.report((worker, dynamic), statuses, changes, *revision, Some(task_manager)),
                }
            }
            Step::WorkerFailed {
                worker_request,
                is_foreign,
            } => {
                let open = self.open_worker_request(*worker_request)?;
                Command::WorkerFailed {
                    worker_request: self.worker_request(open.number(), *is_foreign),
                }
            }
            Step::Block(choice) => {
                let registered = self.task_manager(*choice).filter(|_| choice % 8 != 0);
                let registered = registered.map(|it| it.resource_id.as_str().to_owned());
                Command::Block {
                    worker: registered.unwrap_or_else(|| worker(*choice)),
                }
            }
            Step::Unblock(choice) => {
                let blocked = choose(self.blocked, *choice).filter(|_| choice % 8 != 0);
                let blocked = blocked.map(|it| it.as_str().to_owned());
                Command::Unblock {
                    worker: blocked.unwrap_or_else(|| worker(*choice)),
                }
            }
            Step::FailUnfulfillable(fail) => Command::FailUnfulfillable(*fail),
            Step::AnswerRelease { check, answer, wrong } => {
                let mut check = CheckId::from(*choose(self.open_release_checks, *check)?);
                match wrong {
                    Some(Wrong::Number) => check.number -= 1,
                    Some(Wrong::Instance) => check.instance += 1,
                    Some(Wrong::Leader) => check.leader += 1,
                    None => {}
                }
                Command::AnswerRelease { check, answer: *answer }
            }
            Step::Answers {
                task_manager,
                once,
                answer,
            } => {
                let task_manager = self.task_manager(*task_manager)?;
                Command::Answers {
                    instance: task_manager.instance_id.as_u128(),
                    once: *once,
                    answer: self.answer(answer, Some(task_manager), (task_manager.resource_id.as_str(), 0)),
                }
            }
            Step::Answer { attempt, answer } => {
                let attempt = *choose(self.awaited_attempts, *attempt)?;
                let mut in_flight = self.attempts_in_flight.iter();
                let named = in_flight.find(|it| it.number == attempt);
                Command::Answer {
                    attempt,
                    answer: self.answer(answer, None, self.parties(named.map(|it| it.allocation_id.as_u128()))),
                }
            }
            Step::AnswerInput {
                attempt,
                answer,
                target,
            } => {
                let attempts = match target {
                    AttemptChoice::Recent => self.recent_attempts,
                    _ => self.attempts_in_flight,
                };
                let mut attempt = AttemptName::from(*choose(attempts, *attempt)?);
                match target {
                    AttemptChoice::Wrong(WrongPart::Number) => attempt.number -= 1,
                    AttemptChoice::Wrong(WrongPart::Allocation) => attempt.allocation += 1,
                    AttemptChoice::Wrong(WrongPart::Leader) => attempt.leader += 1,
                    _ => {}
                }
                let request = self
                    .state
                    .requests
                    .iter()
                    .find(|request| request.allocation_id.as_u128() == attempt.allocation);
                let slot = request.and_then(|request| request.in_flight_to.as_ref());
                let of = slot.and_then(|slot| self.task_manager_of(slot));
                Command::AnswerInput {
                    attempt,
                    answer: self.answer(answer, of, self.parties(Some(attempt.allocation))),
                }
            }
            Step::Workers { once, promise } => Command::Workers {
                once: *once,
                promise: promise.clone(),
            },
            Step::Releases { once, accept } => Command::Releases {
                once: *once,
                accept: *accept,
            },
            Step::Withdrawals { once, confirm } => Command::Withdrawals {
                once: *once,
                confirm: *confirm,
            },
            Step::ReleaseAnswers {
                task_manager,
                once,
                answer,
            } => Command::ReleaseAnswers {
                instance: self.task_manager(*task_manager)?.instance_id.as_u128(),
                once: *once,
                answer: *answer,
            },
            Step::Advance(by) => Command::Advance(*by),
            Step::TurnBack(by) => Command::TurnBack(*by),
            Step::Run => Command::Run,
        })
    }

    fn task_manager(&self, choice: Choice) -> Option<&TaskManagerView> {
        choose(&self.state.task_managers, choice)
    }

    fn task_manager_of(&self, slot: &SlotId) -> Option<&TaskManagerView> {
        let mut all = self.state.task_managers.iter();
        all.find(|it| it.resource_id == *slot.resource_id())
    }

    fn worker_request(&self, number: u64, is_foreign: bool) -> WorkerRequestName {
        WorkerRequestName {
            number,
            leader: is_foreign.then_some(self.leaders + 1),
        }
    }

    /// Returns an allocation that was requested before, one of the last twelve.
    fn allocation(&self, choice: Choice) -> Option<u128> {
        let recent = self.allocations.min(12);
        (recent > 0).then(|| self.allocations - u128::from(choice) % recent)
    }

    fn holder(&self, choice: Choice) -> Option<Holder> {
        let allocation = self.allocation(choice)?;
        let job = self.jobs[usize::try_from(allocation - 1).expect("few allocations")];
        Some(Holder { allocation, job })
    }

    fn free(
        &self,
        slot: Choice,
        other: Option<Choice>,
        revision: Revision,
        is_foreign: bool,
        attempt: Option<Choice>,
    ) -> Option<Command> {
        let used: Vec<_> = self
            .state
            .task_managers
            .iter()
            .flat_map(|it| &it.slots)
            .filter_map(|slot| match slot.state {
                SlotState::Allocated { allocation_id, .. } | SlotState::InFlight { allocation_id, .. } => {
                    Some((slot.slot_id.clone(), allocation_id.as_u128()))
                }
                _ => None,
            })
            .collect();
        let (slot, allocation) = match other {
            None => choose(&used, slot)?.clone(),
            Some(other) => {
                let (worker, number) = (worker(slot), u32::from(slot % 3));
                let id = match slot / 4 % 2 {
                    0 => SlotId::new(worker, number),
                    _ => SlotId::dynamic(worker, number),
                };
                (id, self.allocation(other)?)
            }
        };
        let owner = self.task_manager_of(&slot);
        let of = owner.map_or(1, |it| it.instance_id.as_u128()) + u128::from(is_foreign);
        let attempts = self.recent_attempts.iter();
        let own: Vec<_> = attempts.filter(|it| it.allocation_id.as_u128() == allocation).collect();
        let attempt = attempt.and_then(|choice| choose(&own, choice).map(|it| it.number));
        Some(Command::Free {
            attempt,
            revision: relative(revision, owner).map(|revision| (of, revision)),
            slot,
            allocation,
        })
    }

    /// Returns the worker and the job of an attempt in flight.
    fn parties(&self, allocation: Option<u128>) -> (&str, u128) {
        let mut requests = self.state.requests.iter();
        let request = requests.find(|it| Some(it.allocation_id.as_u128()) == allocation);
        let parties = request.and_then(|it| Some((it.in_flight_to.as_ref()?.resource_id().as_str(), it.job_id)));
        parties.map_or(("", 0), |(worker, job)| (worker, job.as_u128()))
    }

    /// Returns the answer of a worker that is always the same for a job: one worker refuses all
    /// jobs, one is reachable now and then, and one job is refused nearly everywhere.
    fn usual_answer(&self, (worker, job): (&str, u128), revision: Option<u64>) -> Answer {
        match worker {
            "tm3" => Answer::No,
            "tm2" if self.allocations % 8 < 4 => Answer::Unreachable,
            "tm0" | "tm2" if job == POISONED_JOB => Answer::No,
            _ => Answer::Yes { revision },
        }
    }

    fn answer(&self, answer: &AnswerChoice, of: Option<&TaskManagerView>, parties: (&str, u128)) -> Answer {
        match answer {
            AnswerChoice::Usual(revision) => self.usual_answer(parties, relative(*revision, of)),
            AnswerChoice::Yes(revision) => Answer::Yes {
                revision: relative(*revision, of),
            },
            AnswerChoice::No => Answer::No,
            AnswerChoice::Unreachable => Answer::Unreachable,
            AnswerChoice::HeldBy(choice) => self.holder(*choice).map_or(Answer::No, Answer::HeldBy),
            AnswerChoice::HeldByStranger(choice) => Answer::HeldBy(stranger(*choice)),
            AnswerChoice::Insufficient(choice) => Answer::Insufficient(shape_of(&LEFT, *choice)),
            AnswerChoice::Later => Answer::Later,
            AnswerChoice::AsInput => Answer::AsInput,
        }
    }

    fn requested(&self, choice: Choice) -> Shape {
        let shapes: &[_] = if self.has_few_shapes {
            &REQUESTED_OF_FEW
        } else {
            &REQUESTED
        };
        shapes[usize::from(choice) % shapes.len()]
    }

    fn offered(&self, choice: Choice) -> Shape {
        let shapes: &[_] = if self.has_few_shapes { &OFFERED_OF_FEW } else { &OFFERED };
        shapes[usize::from(choice) % shapes.len()]
    }

    /// Returns `true` if a worker registers or reports as a dynamic one. A known worker mostly stays
    /// as it is.
    fn is_dynamic(&self, known: Option<&TaskManagerView>, kind: Choice) -> bool {
        match (self.kinds, known) {
            (Kinds::Static, _) => false,
            (_, Some(known)) if kind % 30 != 0 => known.total.is_some(),
            (kinds, _) => is_dynamic(kinds, kind / 30),
        }
    }

    /// Returns a worker request with promised slots or a promised worker.
    fn open_worker_request(&self, choice: Choice) -> Option<WorkerRequestId> {
        let of_slots = self.state.promises.iter().map(|it| it.worker_request);
        let of_workers = self.state.promised_workers.iter().map(|it| it.worker_request);
        let open: Vec<_> = of_slots.chain(of_workers).collect();
        choose(&open, choice).copied()
    }

    /// Returns the resources that a dynamic worker reports.
    fn total(&self, known: Option<&TaskManagerView>, choice: &TotalChoice, shape: Choice) -> Total {
        let mut totals = self.totals.iter();
        let known = known.and_then(|known| totals.find(|(id, _)| *id == known.instance_id));
        let usual = Total {
            total: shape_of(&TOTALS, shape),
            default_slot: (shape / 32 % 3 > 0).then(|| shape_of(&DEFAULT_SLOTS, shape / 3)),
            free: None,
        };
        let known = known.map_or(usual, |(_, total)| *total);
        Total {
            total: choice.total.map_or(known.total, |choice| shape_of(&TOTALS, choice)),
            default_slot: choice.default_slot.map_or(known.default_slot, |choice| {
                choice.map(|choice| shape_of(&DEFAULT_SLOTS, choice))
            }),
            free: choice.free.map(|choice| shape_of(&LEFT, choice)),
        }
    }

    fn new_statuses(&self, worker: &str, shape: Choice) -> Vec<Status> {
        let count = u32::from(shape / 16 % 4);
        (0..count)
            .map(|number| self.new_status(worker, number, shape.wrapping_add(number as u16)))
            .collect()
    }

    fn new_status(&self, worker: &str, number: u32, shape: Choice) -> Status {
        Status {
            slot: SlotId::new(worker, number),
            shape: self.offered(shape),
            holder: None,
        }
    }

    /// Returns the statuses that the manager expects. A slot in flight is still free, or not cut yet.
    fn statuses(&self, task_manager: &TaskManagerView) -> Vec<Status> {
        let is_in_flight = |state: &SlotState| matches!(state, SlotState::InFlight { .. });
        let slots = task_manager.slots.iter();
        let slots = slots.filter(|slot| task_manager.total.is_none() || !is_in_flight(&slot.state));
        let statuses = slots.map(|slot| Status {
            slot: slot.slot_id.clone(),
            shape: Shape::of(&slot.profile),
            holder: match slot.state {
                SlotState::Allocated { allocation_id, job_id } => Some(Holder {
                    allocation: allocation_id.as_u128(),
                    job: job_id.as_u128(),
                }),
                _ => None,
            },
        });
        statuses.collect()
    }

    fn report(
        &self,
        (worker, dynamic): (&str, Option<Total>),
        mut statuses: Vec<Status>,
        changes: &[Change],
        revision: Revision,
        of: Option<&TaskManagerView>,
    ) -> Report {
        for Change { slot, kind } in changes {
            match dynamic {
                None => self.change(worker, &mut statuses, usize::from(*slot), kind),
                Some(_) => self.change_cuts(worker, &mut statuses, usize::from(*slot), kind),
            }
        }
        Report {
            dynamic,
            statuses,
            revision: relative(revision, of),
        }
    }

    /// Changes the report of a dynamic worker, which names only held slots.
    fn change_cuts(&self, worker: &str, statuses: &mut Vec<Status>, at: usize, kind: &ChangeKind) {
        let known = self
            .state
            .task_managers
            .iter()
            .find(|it| it.resource_id.as_str() == worker);
        let cuts = || {
            known
                .filter(|it| it.total.is_some())
                .into_iter()
                .flat_map(|it| &it.slots)
        };
        match kind {
            ChangeKind::Added(shape) => {
                // A low number, or one that the manager is about to use.
                let highest = cuts().map(|it| it.slot_id.slot_number()).max().unwrap_or(0);
                let number = u32::from(shape / 8 % 4) + if shape % 2 == 0 { 0 } else { highest };
                let slot = match shape % 61 {
                    0 => SlotId::new(worker, number),
                    _ => SlotId::dynamic(worker, number),
                };
                let holder = self
                    .holder(*shape)
                    .filter(|_| shape % 3 == 0)
                    .unwrap_or(stranger(*shape));
                if !statuses.iter().any(|status| status.slot == slot) {
                    statuses.push(Status {
                        slot,
                        shape: self.offered(*shape),
                        holder: Some(holder),
                    });
                }
            }
            ChangeKind::Confirmed => {
                let in_flight = cuts().filter_map(|it| match it.state {
                    SlotState::InFlight { allocation_id, job_id } => Some((it, allocation_id, job_id)),
                    _ => None,
                });
                let in_flight: Vec<_> = in_flight.collect();
                let chosen = at.checked_rem(in_flight.len()).map(|at| in_flight[at]);
                if let Some((cut, allocation, job)) = chosen {
                    statuses.retain(|status| status.slot != cut.slot_id);
                    statuses.push(Status {
                        slot: cut.slot_id.clone(),
                        shape: Shape::of(&cut.profile),
                        holder: Some(Holder {
                            allocation: allocation.as_u128(),
                            job: job.as_u128(),
                        }),
                    });
                }
            }
            // Now and then the report is refused.
            ChangeKind::Free if at % 16 != 0 => self.change(worker, statuses, at, &ChangeKind::Omitted),
            kind => self.change(worker, statuses, at, kind),
        }
    }

    fn change(&self, worker: &str, statuses: &mut Vec<Status>, at: usize, kind: &ChangeKind) {
        if let ChangeKind::Added(shape) = kind {
            let number = u32::from(shape / 8 % 6);
            if !statuses.iter().any(|status| status.slot.slot_number() == number) {
                statuses.push(self.new_status(worker, number, *shape));
            }
            return;
        }
        let Some(at) = at.checked_rem(statuses.len()) else {
            return;
        };
        let status = &mut statuses[at];
        match kind {
            ChangeKind::Free => status.holder = None,
            ChangeKind::Held(choice) => status.holder = self.holder(*choice).or(status.holder),
            ChangeKind::HeldForAnotherJob(choice) => {
                let holder = self.holder(*choice).or(status.holder);
                status.holder = holder.map(|holder| Holder {
                    job: STRANGER,
                    ..holder
                });
            }
            ChangeKind::Confirmed => {
                let requests = &self.state.requests;
                if let Some(request) = requests
                    .iter()
                    .find(|it| it.in_flight_to.as_ref() == Some(&status.slot))
                {
                    status.holder = Some(Holder {
                        allocation: request.allocation_id.as_u128(),
                        job: request.job_id.as_u128(),
                    });
                }
            }
            ChangeKind::HeldByStranger(choice) => status.holder = Some(stranger(*choice)),
            ChangeKind::Shape(choice) => status.shape = self.offered(*choice),
            ChangeKind::Omitted => drop(statuses.remove(at)),
            ChangeKind::Foreign => status.slot = SlotId::new("elsewhere", 0),
            ChangeKind::NamedTwice => statuses.push(statuses[at].clone()),
            ChangeKind::LastFirst => statuses.rotate_right(1),
            ChangeKind::Added(_) => {}
        }
    }
}

/// Returns `true` if a new worker is dynamic.
pub(crate) fn is_dynamic(kinds: Kinds, choice: Choice) -> bool {
    match kinds {
        Kinds::Static => false,
        Kinds::Both => choice % 2 == 0,
        Kinds::Dynamic => choice % 8 > 0,
    }
}

fn shape_of(shapes: &[Shape], choice: Choice) -> Shape {
    shapes[usize::from(choice) % shapes.len()]
}

fn worker(choice: Choice) -> String {
    format!("tm{}", choice % WORKERS)
}

fn relative(revision: Revision, of: Option<&TaskManagerView>) -> Option<u64> {
    match revision {
        Revision::None => None,
        Revision::Relative(by) => {
            let highest = of.and_then(|it| it.revision).unwrap_or(3);
            Some(highest.saturating_add_signed(by.into()))
        }
    }
}

/// An allocation without a request.
fn stranger(choice: Choice) -> Holder {
    Holder {
        allocation: 1_000_000 + u128::from(choice % 3),
        job: STRANGER,
    }
}
