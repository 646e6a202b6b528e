//! The life of a cluster, step by step, with every call of the manager timed.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::config::Capacity;
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome,
    UnregistrationOutcome,
};
use slot_manager::{AllocationId, InstanceId, SlotManager, SlotManagerConfig, TaskExecutorConnection};

use crate::held_slots::HeldSlots;
use crate::messages::{
    Requests, SLOTS_PER_TASK_MANAGER, connection, huge_profile, instance_id, slot_index, slots_of, usual_profile,
};
use crate::outside::{Awaited, Counter, started_with};
use crate::stopwatch::{Operation, Times};
use crate::task_executors::{TaskExecutor, Told};
use crate::timing::timed;

/// The number of requests that wait for a slot larger than all.
pub(crate) const WAITING: usize = 10_000;

/// The number of open answers.
const AWAITED: usize = 100;

/// One answer in this many never arrives.
const LOST_ANSWERS: u32 = 20;

/// One task executor in this many answers later.
const LATE_TASK_EXECUTORS: usize = 4;

/// One task manager in this many is gone at a time.
const GONE: usize = 1_000;

/// The virtual time of a step.
const STEP: Duration = Duration::from_millis(1);

pub(crate) struct Cluster {
    manager: SlotManager<Told, TaskExecutor, Counter>,
    counter: Counter,
    random: ChaCha8Rng,
    requests: Requests,
    held: HeldSlots,
    /// The present registration of each task manager; `None` if it is gone.
    registered: Vec<Option<InstanceId>>,
    registrations: usize,
    gone: Vec<usize>,
    /// Requests that wait or have timed out.
    waiting: Vec<AllocationId>,
    asked: Rc<RefCell<Vec<Awaited>>>,
    times: Times,
    is_growing: bool,
}

impl Cluster {
    pub(crate) fn new(task_managers: usize, hint: Capacity) -> Self {
        let config = SlotManagerConfig::default().with_initial_capacity(hint);
        let (manager, counter) = started_with(config, Told::default());
        Self {
            manager,
            counter,
            random: ChaCha8Rng::seed_from_u64(5810),
            requests: Requests::default(),
            held: HeldSlots::new(task_managers),
            registered: vec![None; task_managers],
            registrations: 0,
            gone: Vec::new(),
            waiting: Vec::new(),
            asked: Rc::default(),
            times: Times::new(),
            is_growing: true,
        }
    }

    /// Grows the cluster from nothing to its full size. Then as many requests as slots wait at once,
    /// of which a few are left.
    pub(crate) fn grow(&mut self) {
        for task_manager in 0..self.registered.len() {
            self.register(task_manager);
        }
        while self.held.len() < self.wanted() {
            self.request();
            self.acknowledge_some();
        }
        for _ in 0..self.registered.len() * SLOTS_PER_TASK_MANAGER {
            self.wait();
        }
        while self.waiting.len() > WAITING {
            self.cancel();
        }
        self.is_growing = false;
    }

    /// Returns the number of slots to hold: nine in ten of those registered.
    fn wanted(&self) -> usize {
        (self.registered.len() - self.gone.len()) * SLOTS_PER_TASK_MANAGER / 10 * 9
    }

    /// Lets a little time pass and makes one random call.
    pub(crate) fn step(&mut self) {
        self.counter.advance(STEP);
        self.poll();
        self.acknowledge_some();
        match self.random.random_range(0..100) {
            0..60 if self.held.len() < self.wanted() => self.request(),
            0..60 => self.free(),
            60..70 => self.wait(),
            70..80 => self.cancel(),
            80..92 => self.report_unchanged(),
            92..97 => self.report_changed(),
            97.. if self.gone.len() < self.registered.len() / GONE => self.unregister(),
            _ => self.register_again(),
        }
        self.control();
    }

    /// Checks that the counts are those of the cluster.
    pub(crate) fn check(&self) {
        let counts = self.manager.overview().slots.counts();
        let registered = self.registered.iter().flatten().count();
        assert_eq!(counts.registered, registered * SLOTS_PER_TASK_MANAGER);
        assert_eq!(counts.allocated, self.held.len());
        assert_eq!(self.manager.check_invariants(), Ok(()));
    }

    pub(crate) fn into_times(self) -> Times {
        self.times
    }

    fn register(&mut self, task_manager: usize) {
        self.registrations += 1;
        let instance_id = instance_id(self.registrations);
        self.registered[task_manager] = Some(instance_id);
        let gateway = TaskExecutor {
            is_prompt: task_manager % LATE_TASK_EXECUTORS != 0,
            asked: Rc::clone(&self.asked),
        };
        let resource_id = connection(task_manager, ()).resource_id().clone();
        let connection = TaskExecutorConnection::new(resource_id, instance_id, gateway);
        let report = self.held.report(task_manager);
        let (time, outcome) = timed(|| self.manager.register_task_manager(connection, &report));
        assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        self.add(
            Operation::GrowthRegisterTaskManager,
            Operation::RegisterTaskManager,
            time,
        );
    }

    fn register_again(&mut self) {
        let picked = self.random.random_range(0..self.gone.len());
        let task_manager = self.gone.swap_remove(picked);
        self.register(task_manager);
    }

    fn unregister(&mut self) {
        let (task_manager, instance_id) = self.pick_task_manager();
        let (time, outcome) = timed(|| {
            self.manager
                .unregister_task_manager(instance_id, "its heartbeat timed out")
        });
        assert_eq!(outcome, UnregistrationOutcome::Unregistered);
        self.times.add(Operation::UnregisterTaskManager, time);
        self.registered[task_manager] = None;
        self.gone.push(task_manager);
        for slot in slots_of(task_manager) {
            self.held.free(slot);
        }
        self.note_grants();
    }

    /// Picks a registered task manager.
    fn pick_task_manager(&mut self) -> (usize, InstanceId) {
        loop {
            let task_manager = self.random.random_range(0..self.registered.len());
            if let Some(instance_id) = self.registered[task_manager] {
                return (task_manager, instance_id);
            }
        }
    }

    fn request(&mut self) {
        let request = self.requests.request(usual_profile());
        let (time, registered) = timed(|| self.manager.register_slot_request(request));
        match registered {
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { .. })) => {
                self.add(Operation::GrowthRequestServed, Operation::RequestServed, time);
            }
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::InFlight { .. })) => {
                self.add(Operation::GrowthRequestInFlight, Operation::RequestInFlight, time);
            }
            other => panic!("a slot is free: {other:?}"),
        }
        self.note_grants();
    }

    /// Gives answers until few enough are open.
    fn acknowledge_some(&mut self) {
        while self.asked.borrow().len() > AWAITED {
            let picked = self.random.random_range(0..AWAITED);
            let awaited = self.asked.borrow_mut().swap_remove(picked);
            if self.random.random_ratio(1, LOST_ANSWERS) && !self.is_growing {
                continue;
            }
            awaited.acknowledge();
            let mut context = Context::from_waker(Waker::noop());
            let (time, polled) = timed(|| self.manager.poll_progress(&mut context));
            // Pending if the attempt was given up before.
            if polled == Poll::Ready(1) {
                self.add(Operation::GrowthAcknowledgement, Operation::Acknowledgement, time);
            }
            self.note_grants();
        }
    }

    fn wait(&mut self) {
        let request = self.requests.request(huge_profile());
        self.waiting.push(request.allocation_id());
        let (time, registered) = timed(|| self.manager.register_slot_request(request));
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
        self.add(Operation::GrowthRequestWaits, Operation::RequestWaits, time);
    }

    fn cancel(&mut self) {
        if self.waiting.len() <= WAITING {
            return;
        }
        let picked = self.random.random_range(0..self.waiting.len());
        let allocation_id = self.waiting.swap_remove(picked);
        let (time, cancelled) = timed(|| self.manager.unregister_slot_request(allocation_id));
        // Unknown if the request timed out before.
        if cancelled == CancelOutcome::Cancelled {
            self.add(Operation::GrowthCancel, Operation::Cancel, time);
        }
    }

    fn free(&mut self) {
        let freed = self.held.free_one(&mut self.random);
        let (time, outcome) = timed(|| self.manager.slot_freed(&freed));
        assert_eq!(outcome, SlotFreedOutcome::Freed);
        self.times.add(Operation::Free, time);
    }

    fn report_unchanged(&mut self) {
        let (task_manager, instance_id) = self.pick_task_manager();
        let time = self.report(task_manager, instance_id);
        self.times.add(Operation::UnchangedReport, time);
    }

    /// Reports a held slot as free, or a free slot as held.
    fn report_changed(&mut self) {
        let (task_manager, instance_id) = self.pick_task_manager();
        let slot = task_manager * SLOTS_PER_TASK_MANAGER + self.random.random_range(0..SLOTS_PER_TASK_MANAGER);
        if self.held.free(slot).is_none() {
            let of_the_job = self.requests.request(usual_profile());
            self.held.hold(slot, of_the_job.allocation_id());
        }
        let time = self.report(task_manager, instance_id);
        self.times.add(Operation::ChangedReport, time);
    }

    fn report(&mut self, task_manager: usize, instance_id: InstanceId) -> Duration {
        let report = self.held.report(task_manager);
        let (time, reported) = timed(|| self.manager.report_slot_status(instance_id, &report));
        assert_eq!(reported, Ok(ReportOutcome::Applied));
        self.note_grants();
        time
    }

    /// Polls: for nothing, or for the deadlines of the last step.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let (time, polled) = timed(|| self.manager.poll_progress(&mut context));
        let told = self.manager.actions_mut().expect("it is started");
        let operation = match polled {
            Poll::Pending => Operation::NothingDue,
            Poll::Ready(_) if !told.failed.is_empty() => Operation::RequestTimeout,
            Poll::Ready(_) if told.releases > 0 => Operation::IdleTimeout,
            Poll::Ready(_) => Operation::RpcTimeout,
        };
        self.times.add(operation, time);
        self.note_grants();
    }

    /// Times calls that do not depend on the manager.
    fn control(&mut self) {
        let (time, ()) = timed(|| ());
        self.times.add(Operation::Clock, time);
        let seed = self.random.random();
        let (time, _) = timed(|| arithmetic(seed));
        self.times.add(Operation::Control, time);
    }

    /// Notes the new grants for the task executors.
    fn note_grants(&mut self) {
        let told = self.manager.actions_mut().expect("it is started");
        for (slot_id, allocation_id) in told.granted.drain(..) {
            self.held.hold(slot_index(&slot_id), allocation_id);
        }
        told.clear();
    }

    fn add(&mut self, while_growing: Operation, later: Operation, time: Duration) {
        let operation = if self.is_growing { while_growing } else { later };
        self.times.add(operation, time);
    }
}

/// Computes about a microsecond of multiplications that depend on each other.
fn arithmetic(seed: u64) -> u64 {
    (0..700).fold(seed, |number, n| {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) ^ n
    })
}
