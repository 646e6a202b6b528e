//! The life of a cluster, one virtual millisecond at a time.

use std::ops::Range;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::config::Capacity;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, RegistrationOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome,
};
use slot_manager::{AllocationId, InstanceId, SlotManagerConfig, SlotReport, SlotRequest};

use crate::allocator::held_bytes;
use crate::held_slots::HeldSlots;
use crate::messages::{
    Registered, Requests, SLOTS_PER_TASK_MANAGER, connection, instance_id, slot_index, usual_profile,
};
use crate::outside::{Awaited, Count, Counter, Manager, Patient, started_with};
use crate::timing::timed;

/// The time between two reports of a task manager.
const HEARTBEAT: Duration = Duration::from_secs(10);

const MILLISECOND: Duration = Duration::from_millis(1);

/// The number of task managers for each slot that is freed and requested per second.
const TASK_MANAGERS_PER_REQUEST: usize = 10;

/// The number of messages made before the clock starts, while the cluster grows.
const BATCH: usize = 256;

pub(crate) struct Cluster {
    manager: Manager<Patient>,
    counter: Counter,
    gateway: Patient,
    random: ChaCha8Rng,
    requests: Requests,
    held: HeldSlots,
    /// The slots and allocations in flight.
    in_flight: Vec<(usize, AllocationId)>,
    /// The order in which task managers report.
    heartbeats: Vec<u32>,
    /// The bytes of the bench itself, without the few bytes of one millisecond's messages.
    own_bytes: usize,
}

/// Finished work, and the time it took.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) reports: usize,
    pub(crate) requests: usize,
    pub(crate) reporting: Duration,
    pub(crate) requesting: Duration,
    pub(crate) driving: Duration,
    pub(crate) longest_millisecond: Duration,
    pub(crate) late_milliseconds: usize,
}

impl Work {
    /// Adds the work of a millisecond.
    fn add(&mut self, driving: Duration, reporting: Duration, requesting: Duration) {
        self.driving += driving;
        self.reporting += reporting;
        self.requesting += requesting;
        let time = driving + reporting + requesting;
        self.longest_millisecond = self.longest_millisecond.max(time);
        self.late_milliseconds += usize::from(time > MILLISECOND);
    }

    pub(crate) fn time(&self) -> Duration {
        self.reporting + self.requesting + self.driving
    }
}

/// The messages of one millisecond.
struct Messages {
    reports: Vec<(InstanceId, SlotReport)>,
    frees: Vec<SlotFreed>,
    requests: Vec<SlotRequest>,
    allocation_ids: Vec<AllocationId>,
}

impl Cluster {
    pub(crate) fn new(task_managers: usize, is_hinted: bool) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(5810);
        let held = HeldSlots::new(task_managers);
        let mut heartbeats: Vec<u32> = (0..task_managers as u32).collect();
        heartbeats.shuffle(&mut random);
        let own_bytes = held_bytes();
        let mut config = SlotManagerConfig::default();
        if is_hinted {
            config = config.with_initial_capacity(Capacity {
                task_managers,
                slots: task_managers * SLOTS_PER_TASK_MANAGER,
                pending_requests: BATCH,
            });
        }
        let (manager, counter) = started_with(config, Count::default());
        Self {
            manager,
            counter,
            gateway: Patient::default(),
            random,
            requests: Requests::default(),
            held,
            in_flight: Vec::new(),
            heartbeats,
            own_bytes,
        }
    }

    /// Registers all task managers and uses nine slots in ten. Returns the time spent in the
    /// manager.
    pub(crate) fn grow(&mut self) -> Duration {
        let mut time = Duration::ZERO;
        for first in (0..self.heartbeats.len()).step_by(BATCH) {
            let last = self.heartbeats.len().min(first + BATCH);
            let messages: Vec<_> = (first..last)
                .map(|task_manager| {
                    let connection = connection(task_manager, self.gateway.clone());
                    (connection, self.held.report(task_manager))
                })
                .collect();
            let mut outcomes = Vec::with_capacity(messages.len());
            let (registering, ()) = timed(|| {
                for (connection, report) in messages {
                    outcomes.push((self.manager.register_task_manager(connection, &report), report));
                }
            });
            time += registering;
            assert!(
                outcomes
                    .iter()
                    .all(|(outcome, _)| *outcome == Ok(RegistrationOutcome::Registered))
            );
        }
        let wanted = self.slots() / 10 * 9;
        while self.held.len() < wanted {
            let batch = BATCH.min(wanted - self.held.len());
            let (requests, allocation_ids) = self.requests.batch(batch, &usual_profile());
            let mut registered = Vec::with_capacity(batch);
            let (requesting, ()) = timed(|| {
                for request in requests {
                    registered.push(self.manager.register_slot_request(request));
                }
            });
            self.note_in_flight(&registered, &allocation_ids);
            time += requesting + self.drive();
        }
        time
    }

    /// Runs the cluster for some time and checks the counts at the end.
    pub(crate) fn live(&mut self, life: Duration) -> Work {
        let mut work = Work::default();
        let mut reported = 0;
        for millisecond in 1..=life.as_millis() {
            let due = self.heartbeats.len() as u128 * millisecond / HEARTBEAT.as_millis();
            self.millisecond(reported..due as usize, self.requested_in(millisecond), &mut work);
            reported = due as usize;
        }
        work.driving += self.drive();
        self.check(&work);
        work
    }

    pub(crate) fn held_by_manager(&self) -> usize {
        held_bytes() - self.own_bytes
    }

    pub(crate) fn describe_use(&self) -> String {
        let counts = self.manager.overview().slots.counts();
        format!("{}, {}", counts.allocated, counts.in_flight)
    }

    fn slots(&self) -> usize {
        self.heartbeats.len() * SLOTS_PER_TASK_MANAGER
    }

    /// Returns the number of slots to free and request in this millisecond, counted from one.
    fn requested_in(&self, millisecond: u128) -> usize {
        let each_second = (self.heartbeats.len() / TASK_MANAGERS_PER_REQUEST) as u128;
        (each_second * millisecond / 1000 - each_second * (millisecond - 1) / 1000) as usize
    }

    /// Makes the messages of a millisecond, after all answers have arrived. The reports show the
    /// state before the frees.
    fn messages(&mut self, reporting: Range<usize>, requested: usize) -> Messages {
        let reports = reporting
            .map(|turn| {
                let task_manager = self.heartbeats[turn % self.heartbeats.len()] as usize;
                (instance_id(task_manager), self.held.report(task_manager))
            })
            .collect();
        let frees = (0..requested).map(|_| self.held.free_one(&mut self.random)).collect();
        let (requests, allocation_ids) = self.requests.batch(requested, &usual_profile());
        Messages {
            reports,
            frees,
            requests,
            allocation_ids,
        }
    }

    /// Runs one millisecond: answers of the millisecond before, then reports, then frees and
    /// requests in turn.
    fn millisecond(&mut self, reporting: Range<usize>, requested: usize, work: &mut Work) {
        self.counter.advance(MILLISECOND);
        let driving = self.drive();
        let messages = self.messages(reporting, requested);
        let (reporting, applied) = timed(|| self.take_reports(&messages.reports));
        assert_eq!(applied, messages.reports.len());
        let mut registered = Vec::with_capacity(requested);
        let (requesting, freed) = timed(|| self.churn(&messages.frees, messages.requests, &mut registered));
        assert_eq!(freed, requested);
        self.note_in_flight(&registered, &messages.allocation_ids);
        work.add(driving, reporting, requesting);
        work.reports += applied;
        work.requests += requested;
    }

    /// Takes the reports. Returns the number of applied reports.
    fn take_reports(&mut self, reports: &[(InstanceId, SlotReport)]) -> usize {
        let applied = |(instance_id, report): &&(InstanceId, SlotReport)| {
            self.manager.report_slot_status(*instance_id, report) == Ok(ReportOutcome::Applied)
        };
        reports.iter().filter(applied).count()
    }

    /// Frees a slot and requests one, again and again. Returns the number of freed slots.
    fn churn(&mut self, frees: &[SlotFreed], requests: Vec<SlotRequest>, registered: &mut Vec<Registered>) -> usize {
        let mut freed = 0;
        for (message, request) in frees.iter().zip(requests) {
            freed += usize::from(self.manager.slot_freed(message) == SlotFreedOutcome::Freed);
            registered.push(self.manager.register_slot_request(request));
        }
        freed
    }

    fn note_in_flight(&mut self, registered: &[Registered], allocation_ids: &[AllocationId]) {
        for (registered, allocation_id) in registered.iter().zip(allocation_ids) {
            let Ok(SlotRequestOutcome::Accepted(AllocationStatus::InFlight { slot_id })) = registered else {
                panic!("a slot is free: {registered:?}");
            };
            self.in_flight.push((slot_index(slot_id), *allocation_id));
        }
    }

    /// Gives all open answers and drives the manager until nothing is left to do. Returns the time
    /// it took.
    fn drive(&mut self) -> Duration {
        let asked = self.gateway.asked.take();
        let mut context = Context::from_waker(Waker::noop());
        let (time, applied) = timed(|| {
            asked.iter().for_each(Awaited::acknowledge);
            let mut applied = 0;
            while let Poll::Ready(events) = self.manager.poll_progress(&mut context) {
                applied += events;
            }
            applied
        });
        assert_eq!(applied, self.in_flight.len());
        for (slot, allocation_id) in self.in_flight.drain(..) {
            self.held.hold(slot, allocation_id);
        }
        time
    }

    /// Checks that everything was served and nothing was lost.
    fn check(&mut self, work: &Work) {
        let counts = self.manager.overview().slots.counts();
        assert_eq!(counts.registered, self.slots());
        assert_eq!(counts.allocated, self.slots() / 10 * 9);
        assert_eq!((counts.allocated, counts.in_flight), (self.held.len(), 0));
        assert_eq!(self.manager.overview().pending_requests, 0);
        let actions = self.manager.actions_mut().expect("it is started");
        assert_eq!(actions.allocated, counts.allocated + work.requests);
        assert_eq!(actions.failed, 0);
    }
}
