//! The cluster as a whole, and the loop over its events.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::error::SlotAllocationError;
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{JobId, LeaderId, ScheduledExecutor, SlotManager, Timestamp};

use crate::cluster::call_log::CallLog;
use crate::cluster::checks::capacity::CapacityChecks;
use crate::cluster::checks::counters::CounterChecks;
use crate::cluster::checks::fencing_and_fairness::FencingAndFairness;
use crate::cluster::checks::release_checks::ReleaseChecks;
use crate::cluster::checks::request_ledger::RequestLedger;
use crate::cluster::checks::requirements::RequirementChecks;
use crate::cluster::event_queue::{Event, EventQueue};
use crate::cluster::faults::{Fault, FaultCounts};
use crate::cluster::network::gateway::{NetworkGateway, Outbox, ReplyWay};
use crate::cluster::network::transport::{Message, Network};
use crate::cluster::parties::immediate_answers::{ClusterActions, ImmediateAnswers};
use crate::cluster::parties::job_masters::JobMasters;
use crate::cluster::parties::leader_election::Recovery;
use crate::cluster::parties::operators::Operators;
use crate::cluster::parties::resource_manager::ResourceManager;
use crate::cluster::parties::task_executors::Worker;
use crate::cluster::run::{Check, Outcome};
use crate::cluster::scenario::{Kinds, Scenario};
use crate::cluster::trace::{Digest, Trace};

pub(crate) type Manager = SlotManager<ClusterActions, NetworkGateway, ManualScheduledExecutor>;

/// The number of deadlines handled in a row before the next event. With a timeout of zero there is
/// always a next deadline.
const MOST_DEADLINES_IN_A_ROW: u32 = 4;

pub(crate) struct Simulation {
    pub(crate) scenario: Scenario,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) clock: ManualScheduledExecutor,
    pub(crate) log: CallLog,
    pub(crate) answers: ImmediateAnswers,
    pub(crate) outbox: Outbox,
    pub(crate) actions: ClusterActions,
    pub(crate) manager: Manager,
    /// The number of leaderships so far.
    pub(crate) leaderships: u128,
    /// The end of the last leadership; `MAX` if it does not end by itself.
    pub(crate) leads_until: Timestamp,
    /// Whether the process of the leader is stopped, and the messages that wait in its mailbox.
    pub(crate) is_stopped: bool,
    pub(crate) mailbox: Vec<Message>,
    pub(crate) recovery: Recovery,
    pub(crate) queue: EventQueue,
    pub(crate) network: Network,
    pub(crate) workers: Vec<Worker>,
    pub(crate) instances: u128,
    pub(crate) jobs: JobMasters,
    pub(crate) resource_manager: ResourceManager,
    pub(crate) ledger: RequestLedger,
    pub(crate) requirements: RequirementChecks,
    pub(crate) fencing: FencingAndFairness,
    pub(crate) capacity: CapacityChecks,
    pub(crate) counters: CounterChecks,
    pub(crate) release_checks: ReleaseChecks,
    pub(crate) operators: Operators,
    random_events_left: usize,
    /// Whether the faults have stopped.
    pub(crate) faults_are_over: bool,
    pub(crate) faults: FaultCounts,
    pub(crate) trace: Trace,
    pub(crate) digest: Digest,
    pub(crate) steps: u64,
    /// The number of times that the manager made a task executor free a slot.
    pub(crate) frees: u64,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
    /// The number of deadlines handled since the last event.
    timers_in_a_row: u32,
    /// Whether the manager is not driven before the next event.
    is_not_driven: bool,
}

impl Simulation {
    pub(crate) fn new(seed: u64, kinds: Kinds, trace: Trace) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scenario = kinds.draw(seed, &mut rng);
        trace.note(|| format!("{scenario:#?}"));
        let clock = ManualScheduledExecutor::new();
        let log = CallLog::default();
        let answers = ImmediateAnswers::new(rng.random(), &scenario);
        let mut simulation = Self {
            manager: SlotManager::new(scenario.config.clone(), clock.clone()).expect("a valid configuration"),
            actions: ClusterActions {
                answers: answers.clone(),
                log: log.clone(),
            },
            operators: Operators::new(&scenario.config),
            random_events_left: scenario.random_events,
            rng,
            clock,
            log,
            answers,
            outbox: Outbox::default(),
            leaderships: 0,
            leads_until: Timestamp::MAX,
            is_stopped: false,
            mailbox: Vec::new(),
            recovery: Recovery::default(),
            queue: EventQueue::default(),
            network: Network::default(),
            workers: Vec::new(),
            instances: 0,
            jobs: JobMasters::default(),
            resource_manager: ResourceManager::default(),
            ledger: RequestLedger::new(&scenario),
            requirements: RequirementChecks::default(),
            fencing: FencingAndFairness::default(),
            capacity: CapacityChecks::default(),
            counters: CounterChecks::default(),
            release_checks: ReleaseChecks::default(),
            faults_are_over: false,
            faults: FaultCounts::default(),
            trace,
            digest: Digest::new(),
            steps: 0,
            frees: 0,
            granted: 0,
            failed: 0,
            timers_in_a_row: 0,
            is_not_driven: false,
            scenario,
        };
        for _ in 0..simulation.scenario.workers {
            simulation.add_worker();
        }
        simulation.schedule_in(Duration::ZERO, Event::LeaderElected);
        simulation.schedule_in(Duration::ZERO, Event::Random);
        simulation
    }

    /// Injects faults, stops them, and checks that the cluster recovers.
    pub(crate) fn run(mut self) -> Check<Outcome> {
        while self.random_events_left > 0 {
            self.step()?;
        }
        self.check_after_the_faults()?;
        Ok(Outcome {
            steps: self.steps,
            faults: self.faults,
            effects: self.digest.effects,
            digest: self.digest.finish(),
            granted: self.granted,
            failed: self.failed,
        })
    }

    /// Handles the next event, or the manager's next deadline if that is earlier. Returns `false`
    /// without either.
    pub(crate) fn step(&mut self) -> Check<bool> {
        let event = self.queue.next_time();
        let deadline = self.manager.next_deadline();
        let is_not_driven = self.is_not_driven || self.is_stopped;
        let skips_deadlines = self.timers_in_a_row >= MOST_DEADLINES_IN_A_ROW || is_not_driven;
        match (event, deadline) {
            (None, None) => return Ok(false),
            (Some(event), deadline) if skips_deadlines || deadline.is_none_or(|deadline| event <= deadline) => {
                self.timers_in_a_row = 0;
                self.clock.advance_to(event);
                self.next_event()?;
                self.is_not_driven = self.fails(self.scenario.late_driving);
                if self.is_not_driven {
                    self.faults.count(Fault::DrivenLate);
                } else {
                    self.drive()?;
                }
            }
            (_, Some(deadline)) => {
                // Without further events, a deadline that recurs is handled later each time.
                let late = self.timers_in_a_row.saturating_sub(MOST_DEADLINES_IN_A_ROW).min(30);
                self.timers_in_a_row += 1;
                self.clock.advance_to(deadline);
                if late > 0 && event.is_none() {
                    self.clock.advance(Duration::from_micros(1 << late));
                }
                self.drive()?;
            }
            (Some(_), None) => {}
        }
        Ok(true)
    }

    fn next_event(&mut self) -> Check {
        let Some(event) = self.queue.take_next() else {
            return Ok(());
        };
        self.trace.note(|| format!("{} {event:?}", self.now()));
        match event {
            Event::Random => {
                self.random_events_left = self.random_events_left.saturating_sub(1);
                if !self.faults_are_over {
                    let pause = self.up_to(self.scenario.pace);
                    self.schedule_in(pause, Event::Random);
                    self.random_event()?;
                }
            }
            Event::Arrival(envelope) => {
                self.arrive(&envelope);
                self.deliver(*envelope)?;
            }
            Event::Resume { worker } => self.resume(worker),
            Event::Restart { worker } => self.restart(worker),
            Event::LossNoticed { worker, process } => self.loss_noticed(worker, process),
            Event::SlotTimeout { worker } => self.expire_slots(worker),
            Event::WorkerStarted {
                leadership,
                worker_request,
                slots,
            } => self.worker_started(leadership, worker_request, slots),
            Event::ReleaseDecided {
                worker,
                process,
                question,
            } => self.release_decided(worker, process, question),
            Event::ConnectionBroken(reply) => match reply.way {
                // The service that notices it is the stopped process.
                ReplyWay::Input if self.is_stopped => {
                    let answer = Err(SlotAllocationError::unreachable("connection reset"));
                    self.mailbox.push(Message::Answer { reply, answer });
                }
                _ => self.connection_breaks(&reply)?,
            },
            Event::LeaderElected => self.begin_leadership()?,
            Event::LeaseRenewal { leadership } => self.renew_lease(leadership)?,
            Event::LeaderContinues => self.leader_continues()?,
            Event::LeaderKnown { worker } => self.register(worker),
        }
        Ok(())
    }

    /// Lets a random event happen.
    fn random_event(&mut self) -> Check {
        if self.chance(self.scenario.leadership_moves) && !self.is_stopped {
            return self.move_leadership();
        }
        if self.scenario.lease.is_some() && self.chance(self.scenario.stops) {
            self.leader_stops();
        }
        if self.chance(self.scenario.outages) {
            self.outage();
        }
        if self.chance(self.scenario.operator_actions) && !self.is_stopped {
            self.an_operator_acts()?;
        }
        match self.rng.random_range(0..10) {
            0..6 => self.a_job_acts(),
            6..9 => self.a_worker_reports(),
            _ => self.a_slot_table_changes(),
        }
        Ok(())
    }

    pub(crate) fn drive(&mut self) -> Check {
        if self.is_stopped {
            return Ok(());
        }
        let events = self.manager.run_until_stalled();
        if events > 0 {
            self.trace
                .note(|| format!("{} {events} answers and deadlines", self.now()));
        }
        self.observe_events(events)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns whether a leadership has begun and not ended.
    pub(crate) fn is_leading(&self) -> bool {
        let is_before_end = self.leads_until == Timestamp::MAX || self.now() < self.leads_until;
        self.manager.leader_id().is_some() && is_before_end
    }

    pub(crate) fn leader_id(&self) -> LeaderId {
        LeaderId::from_u128(self.leaderships)
    }

    pub(crate) fn schedule_in(&mut self, delay: Duration, event: Event) {
        let at = self.now() + delay;
        self.queue.schedule(at, event);
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    /// Draws whether a fault happens. Always `false` after the faults have stopped.
    pub(crate) fn fails(&mut self, probability: f64) -> bool {
        !self.faults_are_over && self.chance(probability)
    }

    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.rng.random_range(0..=longest.as_micros() as u64))
    }
}

/// Returns an id whose order is independent of the number.
pub(crate) fn scattered(number: u128) -> u128 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

pub(crate) fn job_id(job: u128) -> JobId {
    JobId::from_u128(job)
}
