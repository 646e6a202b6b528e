//! A warm manager in a steady state allocates nothing. Each kind of operation is counted on its
//! own, so that a failure names the kind that allocates.
//!
//! There is one test, because the allocator counts for the whole process.

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/held_slots.rs"]
mod held_slots;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/messages.rs"]
mod messages;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/outside.rs"]
mod outside;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, SlotAnswer, SlotResult};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, ReportOutcome, RequirementsOutcome, SlotAnswerOutcome,
    SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{
    AllocationId, JobId, ResourceProfile, ResourceRequirements, SlotManagerConfig, TaskExecutorGateway,
};

use crate::allocator::num_allocations;
use crate::held_slots::HeldSlots;
use crate::messages::{
    Requests, SLOTS_PER_TASK_MANAGER, connection, granted, huge_profile, instance_id, report, slot_index, usual_profile,
};
use crate::outside::{Count, Counter, Mailbox, Manager, Prompt, started_with};

const TASK_MANAGERS: usize = 100;
const SLOTS: usize = TASK_MANAGERS * SLOTS_PER_TASK_MANAGER;

/// The number of requests that wait for a slot larger than all slots.
const WAITING: usize = 100;

/// The number of cycles after which every table and every buffer has its final size.
const WARM_UP: usize = 10_000;
const COUNTED: usize = 10_000;

/// A job that declares how many slots it needs in all.
const DECLARING_JOB: JobId = JobId::from_u128(99);

/// The time after which a freed slot of that job is replaced.
const CHECK_DELAY: Duration = Duration::from_micros(10);

/// The time after which a declined worker is requested again. The counted cycles take less.
const BACKOFF: Duration = Duration::from_secs(1);

/// The number of allocations by each kind of operation.
#[derive(Default)]
struct Allocations(BTreeMap<&'static str, usize>);

impl Allocations {
    /// Counts the allocations of `operation`, without those for its messages and for the check of
    /// its result.
    fn count<T>(&mut self, name: &'static str, operation: impl FnOnce() -> T) -> T {
        let before = num_allocations();
        let result = operation();
        let allocated = num_allocations() - before;
        *self.0.entry(name).or_default() += allocated;
        result
    }

    fn assert_none(&self) {
        let allocating: Vec<_> = self.0.iter().filter(|(_, allocated)| **allocated > 0).collect();
        assert!(allocating.is_empty(), "allocations in {COUNTED} cycles: {allocating:?}");
    }
}

/// A task executor whose acknowledgements are ready at their second poll.
struct Slow;

impl TaskExecutorGateway for Slow {
    type RequestSlotFuture = SecondPoll;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<SecondPoll> {
        SlotAnswer::Future(SecondPoll { is_second: false })
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

struct SecondPoll {
    is_second: bool,
}

impl Future for SecondPoll {
    type Output = SlotResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_second {
            return Poll::Ready(Ok(Acknowledge::new()));
        }
        self.is_second = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A cluster in a steady state, and the allocations that its task executors know.
struct Cluster<G: TaskExecutorGateway> {
    manager: Manager<G>,
    counter: Counter,
    requests: Requests,
    random: ChaCha8Rng,
    held: HeldSlots,
    waiting: Vec<AllocationId>,
    allocations: Allocations,
}

impl<G: TaskExecutorGateway> Cluster<G> {
    /// A cluster with free slots only.
    fn new(gateway: impl Fn() -> G) -> Self {
        Self::configured(SlotManagerConfig::default(), gateway)
    }

    fn configured(config: SlotManagerConfig, gateway: impl Fn() -> G) -> Self {
        let (mut manager, counter) = started_with(config.with_worker_registration_timeout(BACKOFF), Count::default());
        for task_manager in 0..TASK_MANAGERS {
            let report = report(task_manager, |_| usual_profile(), |_| false);
            let outcome = manager.register_task_manager(connection(task_manager, gateway()), &report);
            assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        }
        // A worker for the minimum was declined before the task managers registered. That backoff
        // ends, so that the minimum is checked in each call.
        counter.advance(2 * BACKOFF);
        manager.run_until_stalled();
        let mut cluster = Self {
            manager,
            counter,
            requests: Requests::default(),
            random: ChaCha8Rng::seed_from_u64(5810),
            held: HeldSlots::new(TASK_MANAGERS),
            waiting: Vec::new(),
            allocations: Allocations::default(),
        };
        for _ in 0..WAITING {
            cluster.wait();
        }
        cluster
    }

    /// The same cluster with `held` allocated slots.
    fn with_held(mut self, held: usize, request: impl Fn(&mut Self)) -> Self {
        for _ in 0..held {
            request(&mut self);
        }
        self
    }

    /// Requests a slot, which its task executor acknowledges at once.
    fn request(&mut self) {
        let request = self.requests.request(usual_profile());
        let allocation_id = request.allocation_id();
        let registered = self
            .allocations
            .count("request served at once", || self.manager.register_slot_request(request));
        self.held.hold(granted(&registered), allocation_id);
    }

    /// Requests a slot, which its task executor acknowledges a little later.
    fn request_and_acknowledge(&mut self) {
        let request = self.requests.request(usual_profile());
        let allocation_id = request.allocation_id();
        let registered = self
            .allocations
            .count("request in flight", || self.manager.register_slot_request(request));
        let Ok(SlotRequestOutcome::Accepted(AllocationStatus::InFlight { slot_id })) = registered else {
            panic!("not in flight: {registered:?}");
        };
        let mut context = Context::from_waker(Waker::noop());
        let polled = self
            .allocations
            .count("acknowledgement", || self.manager.poll_progress(&mut context));
        assert_eq!(polled, Poll::Ready(1));
        self.held.hold(slot_index(&slot_id), allocation_id);
    }

    /// Requests a slot. The acknowledgement of its task executor is an input.
    fn request_and_answer(&mut self, mailbox: &Mailbox) {
        let request = self.requests.request(usual_profile());
        let allocation_id = request.allocation_id();
        let registered = self.allocations.count("request in flight, to be answered later", || {
            self.manager.register_slot_request(request)
        });
        let Ok(SlotRequestOutcome::Accepted(AllocationStatus::InFlight { slot_id })) = registered else {
            panic!("not in flight: {registered:?}");
        };
        let attempt_id = mailbox.asked.borrow_mut().pop().expect("the slot was requested");
        let answered = self.allocations.count("answer to a slot request", || {
            self.manager.answer_slot_request(attempt_id, Ok(Acknowledge::new()))
        });
        assert_eq!(answered, SlotAnswerOutcome::Applied);
        self.held.hold(slot_index(&slot_id), allocation_id);
    }

    /// Requests a slot that no task manager has.
    fn wait(&mut self) {
        let request = self.requests.request(huge_profile());
        self.waiting.push(request.allocation_id());
        let registered = self
            .allocations
            .count("request that waits", || self.manager.register_slot_request(request));
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }

    /// Cancels a request that waits.
    fn cancel(&mut self) {
        let picked = self.random.random_range(0..self.waiting.len());
        let allocation_id = self.waiting.swap_remove(picked);
        let cancelled = self
            .allocations
            .count("cancel", || self.manager.unregister_slot_request(allocation_id));
        assert_eq!(cancelled, CancelOutcome::Cancelled);
    }

    /// Frees a slot.
    fn free(&mut self) {
        let freed = self.held.free_one(&mut self.random);
        let outcome = self.allocations.count("free", || self.manager.slot_freed(&freed));
        assert_eq!(outcome, SlotFreedOutcome::Freed);
    }

    /// Reports slots as the manager knows them.
    fn report(&mut self) {
        let task_manager = self.random.random_range(0..TASK_MANAGERS);
        let report = self.held.report(task_manager);
        let reported = self.allocations.count("unchanged report", || {
            self.manager.report_slot_status(instance_id(task_manager), &report)
        });
        assert_eq!(reported, Ok(ReportOutcome::Applied));
    }

    /// Lets time pass, too little for any deadline to fall due.
    fn poll(&mut self) {
        self.counter.advance(Duration::from_nanos(100));
        let mut context = Context::from_waker(Waker::noop());
        let polled = self
            .allocations
            .count("poll with nothing due", || self.manager.poll_progress(&mut context));
        assert_eq!(polled, Poll::Pending);
    }

    /// Frees a slot for which a request waits.
    fn hand_over(&mut self) {
        let request = self.requests.request(usual_profile());
        let waiting = request.allocation_id();
        let registered = self.allocations.count("request that waits for a used slot", || {
            self.manager.register_slot_request(request)
        });
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
        let freed = self.held.free_one(&mut self.random);
        let outcome = self
            .allocations
            .count("free, for a request that waits", || self.manager.slot_freed(&freed));
        assert_eq!(outcome, SlotFreedOutcome::Freed);
        self.held.hold(slot_index(freed.slot_id()), waiting);
    }

    /// Lets a job declare slots.
    fn with_declaration(mut self, profile: &ResourceProfile, slots: usize) -> Self {
        let requirements = ResourceRequirements::new(DECLARING_JOB, "job-master");
        let requirements = requirements.require(profile.clone(), slots as u32).expect("few slots");
        let declared = self.manager.declare_requirements(&requirements);
        assert!(
            matches!(declared, Ok(RequirementsOutcome::Declared { .. })),
            "{declared:?}"
        );
        for slot in self.manager.slots() {
            if let Some(allocation_id) = slot.allocation_id() {
                self.held.hold(slot_index(&slot.slot_id()), allocation_id);
            }
        }
        self
    }

    /// Frees a slot of the job that declares. It is the only free slot, and replaces itself.
    fn refill(&mut self) {
        let freed = self.held.free_one(&mut self.random);
        let outcome = self
            .allocations
            .count("free a declared slot", || self.manager.slot_freed(&freed));
        assert_eq!(outcome, SlotFreedOutcome::Freed);
        self.counter.advance(CHECK_DELAY);
        self.allocations
            .count("replace a freed slot", || self.manager.run_until_stalled());
        let slot = self.manager.slot(freed.slot_id());
        let allocation_id = slot.and_then(|slot| slot.allocation_id()).expect("it is granted again");
        self.held.hold(slot_index(freed.slot_id()), allocation_id);
    }

    fn churn(&mut self, request: impl Fn(&mut Self)) {
        self.free();
        request(self);
        self.report();
        self.wait();
        self.cancel();
        self.poll();
    }

    /// Runs the cycles of the warm-up and then as many that count, and checks that these allocate
    /// nothing.
    fn assert_no_allocation(mut self, cycle: impl Fn(&mut Self)) {
        for _ in 0..WARM_UP {
            cycle(&mut self);
        }
        self.allocations = Allocations::default();
        for _ in 0..COUNTED {
            cycle(&mut self);
        }
        assert_eq!(self.manager.check_invariants(), Ok(()));
        assert_eq!(self.manager.overview().slots.allocated.slots, self.held.len());
        self.allocations.assert_none();
    }
}

#[test]
fn steady_state_allocates_nothing() {
    // Nearly all slots are used; or so few that task managers become idle and used all the time.
    for held in [SLOTS / 10 * 9, TASK_MANAGERS / 2] {
        Cluster::new(|| Prompt)
            .with_held(held, Cluster::request)
            .assert_no_allocation(|cluster| cluster.churn(Cluster::request));
        Cluster::new(|| Slow)
            .with_held(held, Cluster::request_and_acknowledge)
            .assert_no_allocation(|cluster| cluster.churn(Cluster::request_and_acknowledge));
        let mailbox = Mailbox::default();
        let request_and_answer = |cluster: &mut Cluster<Mailbox>| cluster.request_and_answer(&mailbox);
        Cluster::new(|| mailbox.clone())
            .with_held(held, request_and_answer)
            .assert_no_allocation(|cluster| cluster.churn(request_and_answer));
    }
    // All slots are used: each goes from one allocation to the next.
    Cluster::new(|| Prompt)
        .with_held(SLOTS, Cluster::request)
        .assert_no_allocation(Cluster::hand_over);
    with_one_slot().assert_no_allocation(Cluster::hand_over);
    // One job declares all slots, or slots that no task manager has beside a job that requests.
    let quick = SlotManagerConfig::default().with_requirement_check_delay(CHECK_DELAY);
    Cluster::configured(quick, || Prompt)
        .with_declaration(&usual_profile(), SLOTS)
        .assert_no_allocation(Cluster::refill);
    Cluster::new(|| Prompt)
        .with_declaration(&huge_profile(), WAITING)
        .with_held(SLOTS / 10 * 9, Cluster::request)
        .assert_no_allocation(|cluster| cluster.churn(Cluster::request));
    for (name, config) in other_configurations() {
        // Shown if the test fails.
        println!("{name}");
        for held in [SLOTS / 10 * 9, TASK_MANAGERS / 2] {
            Cluster::configured(config.clone(), || Prompt)
                .with_held(held, Cluster::request)
                .assert_no_allocation(|cluster| cluster.churn(Cluster::request));
        }
        Cluster::configured(config, || Prompt)
            .with_held(SLOTS, Cluster::request)
            .assert_no_allocation(Cluster::hand_over);
    }
}

/// Returns all other matching strategies, each rule about capacity, and all rules together.
fn other_configurations() -> Vec<(&'static str, SlotManagerConfig)> {
    let matching = |strategy| SlotManagerConfig::default().with_slot_matching_strategy(strategy);
    let worker = WorkerDescription::new(SLOTS_PER_TASK_MANAGER as u32, usual_profile()).expect("a worker");
    let policy = || WorkerPolicy::new(worker.clone());
    let limited = |policy: WorkerPolicy| {
        policy
            .with_max_slots(Some(SLOTS))
            .with_max_total_cpu_cores(Some(SLOTS as f64))
            .with_max_total_memory_bytes(Some((SLOTS as u64) << 30))
    };
    let ruled = |policy| SlotManagerConfig::default().with_workers(policy);
    let reserves = policy().with_min_slots(SLOTS).with_redundant_task_managers(2);
    vec![
        ("best fit", matching(SlotMatchingStrategy::BestFit)),
        ("least utilization", matching(SlotMatchingStrategy::LeastUtilization)),
        ("most utilization", matching(SlotMatchingStrategy::MostUtilization)),
        ("limits", ruled(limited(policy()))),
        ("minimum", ruled(policy().with_min_slots(SLOTS))),
        ("redundancy", ruled(policy().with_redundant_task_managers(2))),
        ("all rules", ruled(limited(reserves))),
    ]
}

/// A task manager whose only slot goes from one allocation to the next, so that it is never idle.
fn with_one_slot() -> Cluster<Prompt> {
    let mut cluster = Cluster::new(|| Prompt);
    for task_manager in 1..TASK_MANAGERS {
        let gone = cluster
            .manager
            .unregister_task_manager(instance_id(task_manager), "one is enough");
        assert_eq!(gone, UnregistrationOutcome::Unregistered);
    }
    let first_slot = cluster.held.report(0).statuses()[..1].iter().cloned().collect();
    let reported = cluster.manager.report_slot_status(instance_id(0), &first_slot);
    assert_eq!(reported, Ok(ReportOutcome::Applied));
    cluster.with_held(1, Cluster::request)
}
