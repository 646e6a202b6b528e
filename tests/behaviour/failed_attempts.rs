//! Workers and jobs that go wrong, and the requests that must not wait for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Pending, pending};
use std::rc::Rc;
use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::{
    Acknowledge, AllocateSlot, FreeSlot, ReleaseCheck, ReleaseDecision, SlotAnswer, SlotFreed,
};
use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::view::{BackoffReason, SlotState};
use slot_manager::{
    InstanceId, JobId, LeaderId, ResourceProfile, ScheduledExecutor, SlotId, SlotManager, SlotManagerConfig,
    SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, allocation, ask, cores, free_report, held_by, in_flight, instance, job,
    patient, profile, rejected, report, slot, slot_requests, small,
};

/// The answer of a worker to a slot request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Accepts,
    Refuses,
    RefusesJob(u128),
    RefusesJobsBelow(u128),
    CannotBeReached,
    Hangs,
}

/// A worker, as the gateway and the test see it.
#[derive(Clone)]
struct Worker {
    conduct: Rc<Cell<Conduct>>,
    attempts: Rc<RefCell<Vec<AllocateSlot>>>,
}

impl TaskExecutorGateway for Worker {
    type RequestSlotFuture = Pending<Result<Acknowledge, SlotAllocationError>>;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Self::RequestSlotFuture> {
        self.attempts.borrow_mut().push(request.clone());
        let refused = Err(SlotAllocationError::rejected("no disk left"));
        match self.conduct.get() {
            Conduct::Accepts => SlotAnswer::Ready(Ok(Acknowledge::new())),
            Conduct::Refuses => SlotAnswer::Ready(refused),
            Conduct::RefusesJob(id) if request.job_id == job(id) => SlotAnswer::Ready(refused),
            Conduct::RefusesJobsBelow(id) if request.job_id < job(id) => SlotAnswer::Ready(refused),
            Conduct::RefusesJob(_) | Conduct::RefusesJobsBelow(_) => SlotAnswer::Ready(Ok(Acknowledge::new())),
            Conduct::CannotBeReached => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("no route"))),
            Conduct::Hangs => SlotAnswer::Future(pending()),
        }
    }

    fn free_slot(&mut self, _: &FreeSlot) {}

    fn can_be_released(&mut self, _: &ReleaseCheck) -> ReleaseDecision {
        ReleaseDecision::Keep
    }
}

impl Worker {
    fn num_attempts(&self) -> usize {
        self.attempts.borrow().len()
    }
}

/// A manager with workers of different conduct, in virtual time.
struct Fleet {
    manager: SlotManager<RecordingActions, Worker, ManualScheduledExecutor>,
    clock: ManualScheduledExecutor,
    registered: BTreeMap<u128, Timestamp>,
    num_workers: u128,
}

impl Fleet {
    fn new(config: SlotManagerConfig) -> Self {
        let clock = ManualScheduledExecutor::new();
        let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
        manager
            .start(LeaderId::from_u128(1), RecordingActions::new())
            .expect("not started yet");
        Self {
            manager,
            clock,
            registered: BTreeMap::new(),
            num_workers: 0,
        }
    }

    fn check(&self) {
        if self.manager.overview().pending_requests > 1000 {
            return; // It would take seconds.
        }
        if let Err(violation) = self.manager.check_invariants() {
            panic!("{violation}");
        }
    }

    /// Registers a worker with free small slots.
    fn worker(&mut self, name: &str, slots: usize, conduct: Conduct) -> Worker {
        self.num_workers += 1;
        let worker = Worker {
            conduct: Rc::new(Cell::new(conduct)),
            attempts: Rc::default(),
        };
        let connection = TaskExecutorConnection::new(name, InstanceId::from_u128(self.num_workers), worker.clone());
        let profiles = vec![small(); slots];
        self.manager
            .register_task_manager(connection, &free_report(name, &profiles))
            .expect("registered");
        self.check();
        worker
    }

    /// Requests a small slot. Returns `true` if it is granted at once.
    fn request(&mut self, of_job: u128, id: u128) -> bool {
        let request = SlotRequest::new(job(of_job), allocation(id), small(), "job-master");
        let outcome = self.manager.register_slot_request(request).expect("accepted");
        self.registered.insert(id, self.clock.now());
        self.check();
        matches!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Granted { .. }))
    }

    fn slot_of(&self, id: u128) -> Option<SlotId> {
        match self.manager.allocation_status(allocation(id)) {
            Some(AllocationStatus::Granted { slot_id }) => Some(slot_id),
            _ => None,
        }
    }

    fn free(&mut self, id: u128) {
        let slot_id = self.slot_of(id).expect("granted");
        self.manager.slot_freed(&SlotFreed::new(slot_id, allocation(id)));
        self.check();
    }

    /// Lets time pass, deadline by deadline, until a request is granted or the time is over.
    /// Returns the time from the registration to the grant.
    fn wait_for(&mut self, id: u128, at_most: Duration) -> Option<Duration> {
        let end = self.clock.now() + at_most;
        loop {
            if self.slot_of(id).is_some() {
                return Some(self.clock.now().saturating_duration_since(self.registered[&id]));
            }
            let next = self.manager.next_deadline().filter(|next| *next <= end)?;
            self.advance_to(next);
        }
    }

    fn advance_to(&mut self, time: Timestamp) {
        self.clock.set_now(time);
        self.manager.run_until_stalled();
        self.check();
    }

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, duration: Duration) {
        let end = self.clock.now() + duration;
        while let Some(next) = self.manager.next_deadline().filter(|next| *next <= end) {
            self.advance_to(next);
        }
        self.advance_to(end);
    }
}

// The cases that were seen to starve.

#[test]
fn requests_of_a_poisoned_job_do_not_keep_another_job_from_a_healthy_worker() {
    // given: a worker that refuses job 1, and 8 requests of that job
    let mut fleet = Fleet::new(patient());
    fleet.worker("tm", 4, Conduct::RefusesJob(1));
    for id in 1..=8 {
        fleet.request(1, id);
    }

    // when
    fleet.request(2, 9);

    // then
    assert_eq!(fleet.wait_for(9, SECOND), Some(Duration::ZERO));
}

#[test]
fn request_that_a_worker_refused_goes_to_another_worker_next() {
    for strategy in [
        SlotMatchingStrategy::FirstFit,
        SlotMatchingStrategy::BestFit,
        SlotMatchingStrategy::LeastUtilization,
        SlotMatchingStrategy::MostUtilization,
    ] {
        // given
        let mut fleet = Fleet::new(patient().with_slot_matching_strategy(strategy));
        let bad = fleet.worker("bad", 40, Conduct::Refuses);
        fleet.worker("good", 4, Conduct::Accepts);

        // when, then: granted within the call
        assert!(fleet.request(1, 1));
        assert!(bad.num_attempts() <= 1);
    }
}

#[test]
fn worker_that_never_answers_costs_one_rpc_timeout() {
    // given
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    let bad = fleet.worker("bad", 16, Conduct::Hangs);
    fleet.worker("good", 4, Conduct::Accepts);

    // when
    fleet.request(1, 1);

    // then
    assert_eq!(fleet.wait_for(1, 300 * SECOND), Some(10 * SECOND));
    assert_eq!(bad.num_attempts(), 1);
}

#[test]
fn worker_that_refuses_everything_fails_no_request_by_least_utilization() {
    // given: five workers, one of which refuses everything
    let config = SlotManagerConfig::default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization);
    let mut fleet = Fleet::new(config.with_task_manager_timeout(Duration::MAX));
    let bad = fleet.worker("bad", 40, Conduct::Refuses);
    for name in ["a", "b", "c", "d"] {
        fleet.worker(name, 40, Conduct::Accepts);
    }

    // when, then: a request each 5 s is held for 60 s, and none waits
    for id in 1..=100 {
        assert!(fleet.request(1, id), "request {id}");
        fleet.advance(5 * SECOND);
        if id >= 12 {
            fleet.free(id - 11);
        }
    }
    assert!(bad.num_attempts() <= 2, "{} attempts", bad.num_attempts());
}

#[test]
fn requests_of_a_healthy_job_are_served_beside_ten_thousand_that_always_fail() {
    // given
    let mut fleet = Fleet::new(patient());
    fleet.worker("tm", 4, Conduct::RefusesJob(1));
    for id in 0..10_000 {
        fleet
            .manager
            .register_slot_request(SlotRequest::new(
                job(1),
                allocation(100_000 + id),
                small(),
                "job-master",
            ))
            .expect("accepted");
    }

    // when, then: a request each second
    for id in 1..=60 {
        assert!(fleet.request(2, id), "request {id}");
        fleet.advance(SECOND);
        if id >= 4 {
            fleet.free(id - 3);
        }
    }
}

// Workers.

#[test]
fn worker_that_refuses_two_requests_in_a_row_is_probed_by_one_attempt_at_a_time() {
    // given
    let mut fleet = Fleet::new(patient());
    let bad = fleet.worker("bad", 1000, Conduct::Refuses);
    for id in 1..=20 {
        fleet.request(1, id);
    }
    let at_first = bad.num_attempts();

    // when: five minutes
    fleet.advance(300 * SECOND);

    // then: the attempts grow with the backoffs, not with the slots or the requests
    assert!(at_first <= 4, "{at_first} attempts at first");
    // 0.05, 0.1, ... 6.4 s are 8 backoffs, and then one each 10 s.
    assert!(bad.num_attempts() <= 4 + 8 + 30, "{} attempts", bad.num_attempts());
}

#[test]
fn worker_that_recovers_serves_all_after_one_backoff() {
    for conduct in [Conduct::Refuses, Conduct::CannotBeReached, Conduct::Hangs] {
        // given
        let mut fleet = Fleet::new(patient().with_rpc_timeout(SECOND));
        let worker = fleet.worker("tm", 10, conduct);
        for id in 1..=10 {
            fleet.request(1, id);
        }
        fleet.advance(60 * SECOND);

        // when
        worker.conduct.set(Conduct::Accepts);
        fleet.advance(11 * SECOND);

        // then
        for id in 1..=10 {
            assert!(fleet.slot_of(id).is_some(), "request {id} after {conduct:?}");
        }
    }
}

#[test]
fn worker_that_cannot_be_reached_backs_off_with_all_its_slots() {
    // given
    let mut fleet = Fleet::new(patient());
    let bad = fleet.worker("bad", 8, Conduct::CannotBeReached);

    // when
    fleet.request(1, 1);
    fleet.request(2, 2);
    fleet.request(3, 3);

    // then: no other request finds out
    assert_eq!(bad.num_attempts(), 1);
    fleet.advance(50 * MILLISECOND);
    assert_eq!(bad.num_attempts(), 2);
}

#[test]
fn failures_of_attempts_that_were_in_flight_together_are_one_backoff() {
    // given: eight attempts that hang
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    let bad = fleet.worker("bad", 8, Conduct::Hangs);
    for id in 1..=8 {
        fleet.request(1, id);
    }
    assert_eq!(bad.num_attempts(), 8);

    // when
    fleet.advance(10 * SECOND);
    bad.conduct.set(Conduct::Accepts);

    // then: the first backoff is the shortest
    assert_eq!(fleet.manager.counters().worker_backoffs, 1);
    assert_eq!(fleet.wait_for(1, SECOND), Some(10 * SECOND + 50 * MILLISECOND));
}

#[test]
fn refusal_of_one_job_is_no_reason_to_keep_others_from_the_worker() {
    // given: eight jobs with one request each, which the worker refuses
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 4, Conduct::Refuses);
    for of_job in 1..=8 {
        fleet.request(of_job, of_job);
    }
    worker.conduct.set(Conduct::Accepts);

    // when, then
    assert!(fleet.request(9, 9));
    // 1 failed twice, and backs off.
    for of_job in 2..=4 {
        assert!(fleet.slot_of(of_job).is_some(), "job {of_job}");
    }
}

#[test]
fn worker_that_refused_many_jobs_is_tried_by_one_other_after_each_first_backoff() {
    // given
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 4, Conduct::Refuses);

    // when
    for of_job in 1..=100 {
        fleet.request(of_job, of_job);
    }

    // then: the first request had an immediate retry
    assert_eq!(worker.num_attempts(), 17);

    // when, then: a first backoff lasts 50 ms
    fleet.advance(SECOND);
    assert_eq!(worker.num_attempts(), 37);
}

#[test]
fn backoff_of_a_worker_that_refused_few_jobs_has_one_deadline() {
    // given: the second backoff, which is longer than the first
    let mut fleet = Fleet::new(patient());
    fleet.worker("tm", 4, Conduct::Refuses);
    fleet.request(1, 1);
    fleet.request(1, 2);
    fleet.advance(50 * MILLISECOND);
    let began = fleet.clock.now();

    // when, then
    assert_eq!(fleet.manager.next_deadline(), Some(began + 100 * MILLISECOND));
}

#[test]
fn request_is_served_at_once_beside_many_jobs_that_always_fail() {
    // given: the backoff of the worker is long by now
    let mut fleet = Fleet::new(patient());
    fleet.worker("tm", 4, Conduct::RefusesJobsBelow(100));
    for of_job in 1..=50 {
        fleet.request(of_job, of_job);
    }
    fleet.advance(60 * SECOND);
    assert_eq!(fleet.manager.overview().backing_off_task_managers, 1);

    // when, then
    assert!(fleet.request(100, 100));
}

#[test]
fn worker_that_refused_many_jobs_and_becomes_unreachable_is_tried_by_no_other() {
    // given: 20 jobs were refused
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 4, Conduct::Refuses);
    for of_job in 1..=20 {
        fleet.request(of_job, of_job);
    }
    fleet.advance(60 * SECOND);

    // when
    worker.conduct.set(Conduct::CannotBeReached);
    fleet.advance(20 * SECOND);
    let attempts = worker.num_attempts();

    // then
    for of_job in 21..=30 {
        fleet.request(of_job, of_job);
    }
    fleet.advance(SECOND);
    let probe_after_backoff = 1;
    assert!(worker.num_attempts() <= attempts + probe_after_backoff);
}

#[test]
fn request_that_backs_off_takes_a_slot_of_a_worker_that_it_was_not_tried_on() {
    // given: the request has a long backoff
    let mut fleet = Fleet::new(patient().with_retry_backoff(100 * SECOND, 100 * SECOND));
    fleet.worker("bad", 1, Conduct::Refuses);
    fleet.request(1, 1);

    // when, then
    fleet.worker("good", 1, Conduct::Accepts);
    assert_eq!(fleet.slot_of(1), Some(SlotId::new("good", 0)));
}

#[test]
fn request_tries_each_of_many_workers_at_once() {
    // given: 39 workers that refuse, and one that does not
    let mut fleet = Fleet::new(patient());
    let bad: Vec<_> = (0..39)
        .map(|number| fleet.worker(&format!("bad-{number}"), 2, Conduct::Refuses))
        .collect();
    fleet.worker("good", 2, Conduct::Accepts);

    // when, then
    assert!(fleet.request(1, 1));
    assert!(bad.iter().all(|worker| worker.num_attempts() == 1));
}

/// Lets requests 1, 2, ... of job 1 fail on one blocked worker each.
fn failed_on_a_worker_each(requests: u128) -> Fixture {
    let mut fixture = Fixture::with(patient());
    let mut gateways = Vec::new();
    for id in 1..=requests {
        let report = free_report(&format!("tm{id}"), &[small()]);
        gateways.push(fixture.register_by_hand(&format!("tm{id}"), id, &report));
        fixture.request(id, &small());
    }
    for id in 1..=requests {
        let _ = fixture.block(&format!("tm{id}"));
    }
    for (gateway, attempt) in gateways.iter().zip(1..) {
        fixture.answer(gateway, attempt, rejected());
    }
    fixture
}

#[test]
fn requests_of_a_job_that_failed_on_too_many_different_workers_count_as_tried_everywhere() {
    for (requests, next) in [(128, 128), (129, 1000)] {
        // given: the last of them and a younger request wait
        let mut fixture = failed_on_a_worker_each(requests);
        fixture.request(1000, &small());
        for id in 1..requests {
            let _ = fixture.cancel(id);
        }
        fixture.log.take();

        // when
        fixture.register_free("fresh", 1000, &[small()]);

        // then: the older goes first, unless it counts as tried on the worker
        assert_eq!(
            fixture.holder(&slot("fresh", 0)),
            Some(allocation(next)),
            "{requests} requests"
        );
    }
}

#[test]
fn request_that_every_worker_refuses_tries_each_once_and_then_backs_off() {
    // given: more workers than a request remembers
    let mut fleet = Fleet::new(patient());
    let workers: Vec<_> = (0..100)
        .map(|number| fleet.worker(&format!("tm-{number}"), 2, Conduct::RefusesJob(1)))
        .collect();

    // when
    fleet.request(1, 1);

    // then: 64 workers are remembered
    let attempts: usize = workers.iter().map(Worker::num_attempts).sum();
    assert_eq!(attempts, 65);
    fleet.advance(SECOND);
    let attempts: usize = workers.iter().map(Worker::num_attempts).sum();
    assert!(attempts <= 75, "{attempts} attempts");
}

#[test]
fn new_registration_of_a_worker_is_not_one_that_failed() {
    // given
    let mut fleet = Fleet::new(patient().with_retry_backoff(100 * SECOND, 100 * SECOND));
    fleet.worker("tm", 2, Conduct::CannotBeReached);
    fleet.request(1, 1);
    assert_eq!(fleet.slot_of(1), None);

    // when: the worker restarts in place
    fleet.worker("tm", 2, Conduct::Accepts);

    // then
    assert_eq!(fleet.slot_of(1), Some(SlotId::new("tm", 0)));
}

#[test]
fn blocked_worker_is_not_probed_before_it_is_unblocked() {
    // given
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 2, Conduct::CannotBeReached);
    fleet.request(1, 1);
    fleet.manager.block(&"tm".into());
    worker.conduct.set(Conduct::Accepts);
    fleet.advance(SECOND);
    assert_eq!(fleet.slot_of(1), None);

    // when, then
    fleet.manager.unblock(&"tm".into());
    fleet.check();
    assert_eq!(fleet.slot_of(1), Some(SlotId::new("tm", 1)));
}

#[test]
fn probe_goes_to_the_slot_that_fits() {
    // given: the worker has slots of two sizes, and backs off
    let mut fleet = Fleet::new(patient());
    let worker = Worker {
        conduct: Rc::new(Cell::new(Conduct::CannotBeReached)),
        attempts: Rc::default(),
    };
    let connection = TaskExecutorConnection::new("tm", InstanceId::from_u128(77), worker.clone());
    let large = profile(4.0, 400);
    let report = free_report("tm", &[small(), profile(0.5, 50), large.clone()]);
    fleet
        .manager
        .register_task_manager(connection, &report)
        .expect("registered");
    fleet.request(1, 1);

    // when
    worker.conduct.set(Conduct::Accepts);
    fleet.advance(SECOND);
    fleet
        .manager
        .register_slot_request(SlotRequest::new(
            JobId::from_u128(2),
            allocation(2),
            large,
            "job-master",
        ))
        .expect("accepted");

    // then
    assert_eq!(fleet.slot_of(1), Some(SlotId::new("tm", 2)), "the next one fits");
    assert_eq!(fleet.slot_of(2), None);
}

#[test]
fn broken_slot_does_not_keep_the_others_of_its_worker_from_use() {
    // given: the worker backs off, the last attempt was on its first slot
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), small(), small()]));
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    for attempt in 1..=4 {
        fixture.answer(&gateway, attempt, rejected());
    }
    fixture.log.take();

    // when: attempt after attempt is refused, and the backoffs end
    let mut probed = Vec::new();
    for attempt in 5..=9 {
        fixture.advance(10 * SECOND);
        let requests = slot_requests(&fixture.log.take());
        probed.extend(requests.iter().map(|request| request.slot_id.slot_number()));
        fixture.answer(&gateway, attempt, rejected());
    }

    // then
    assert_eq!(probed, [1, 2, 0, 1, 2]);
}

#[test]
fn worker_that_recovers_is_probed_for_a_healthy_job_that_backs_off_before_suspect_jobs() {
    // given: a worker backs off for 50 ms, request 1 of another job for 100 ms, because it was
    // refused three times
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 1, Conduct::Refuses);
    fleet.request(1, 1);
    fleet.request(2, 2);
    fleet.request(2, 3);
    fleet.request(2, 4);
    fleet.advance(10 * SECOND);
    assert_eq!(fleet.manager.overview().suspect_jobs, 1);
    assert!(fleet.manager.pending_slot_request(allocation(1)).is_some());
    fleet.worker("refusing", 1, Conduct::Refuses);
    fleet.worker("refusing too", 1, Conduct::Refuses);

    // when: job 2 is refused for ever
    worker.conduct.set(Conduct::RefusesJob(2));
    fleet.advance(10 * SECOND);

    // then
    assert_eq!(fleet.slot_of(1), Some(SlotId::new("tm", 0)));
}

#[test]
fn request_that_timed_out_does_not_probe_the_same_worker_at_once() {
    // given: two attempts are in flight to a worker that hangs; the backoff after the first is over
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    let worker = fleet.worker("tm", 3, Conduct::Hangs);
    fleet.request(1, 1);
    fleet.advance(SECOND);
    fleet.request(2, 2);
    fleet.advance(9 * SECOND + 10 * MILLISECOND);
    let _ = fleet.manager.unregister_slot_request(allocation(1));
    fleet.advance(500 * MILLISECOND);
    assert_eq!(worker.num_attempts(), 2);

    // when: the second times out
    fleet.advance(490 * MILLISECOND);

    // then: the backoff begins again
    assert_eq!(worker.num_attempts(), 2);
    fleet.advance(99 * MILLISECOND);
    assert_eq!(worker.num_attempts(), 2);
    fleet.advance(MILLISECOND);
    assert_eq!(worker.num_attempts(), 3);
}

#[test]
fn worker_that_hangs_is_not_probed_again_because_its_probe_was_cancelled() {
    // given: the worker backs off after an RPC timeout, requests wait
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    let worker = fleet.worker("tm", 1, Conduct::Hangs);
    for id in 1..=20 {
        fleet.request(1, id);
    }
    fleet.advance(10 * SECOND + 50 * MILLISECOND);
    assert_eq!(worker.num_attempts(), 2);

    // when: each request is cancelled while it probes the worker
    for _ in 0..10 {
        let probing = worker.attempts.borrow().last().expect("an attempt").allocation_id;
        let _ = fleet.manager.unregister_slot_request(probing);
        fleet.advance(MILLISECOND);
    }

    // then
    assert_eq!(worker.num_attempts(), 2);

    // when, then: the next backoff is longer
    fleet.advance(98 * MILLISECOND);
    assert_eq!(worker.num_attempts(), 3);
}

#[test]
fn slot_that_refused_one_job_is_used_by_another() {
    // given: a slot backs off, because it has refused two requests of job 1; another slot of the
    // worker is allocated
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), small()]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, acknowledged());
    fixture.answer(&gateway, 3, rejected());
    fixture.request(3, &small());
    fixture.answer(&gateway, 4, rejected());
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    fixture.log.take();

    // when, then: job 1 waits for the backoff, job 2 does not
    fixture.request(4, &small());
    fixture.expect(&[&ask(2)]);
    let _ = fixture.try_request(2, 5, &small());
    fixture.expect(&["request tm_0 for 5 #5"]);
}

// Jobs.

#[test]
fn slot_goes_to_a_request_that_was_not_tried_on_its_worker_first() {
    // given: 1 was refused by the worker, 2 waits for a slot
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 1, Conduct::Accepts);
    fleet.request(5, 5);
    fleet.request(1, 1);
    fleet.request(2, 2);
    worker.conduct.set(Conduct::RefusesJob(1));

    // when, then: 1 is older, and is refused
    fleet.free(5);
    assert_eq!(fleet.slot_of(2), Some(SlotId::new("tm", 0)));
    fleet.request(3, 3);
    let before = worker.num_attempts();

    // when, then: the younger request that was not tried comes first
    fleet.free(2);
    assert_eq!(fleet.slot_of(3), Some(SlotId::new("tm", 0)));
    assert_eq!(worker.num_attempts(), before + 1);

    // when, then: there is no other request
    worker.conduct.set(Conduct::Accepts);
    fleet.free(3);
    assert_eq!(fleet.wait_for(1, 10 * SECOND), Some(Duration::ZERO));
}

#[test]
fn request_of_a_suspect_job_comes_after_all_others() {
    // given: job 1 is suspect, and gets a request that was never tried
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 1, Conduct::RefusesJob(1));
    for id in 1..=3 {
        fleet.request(1, id);
    }
    fleet.advance(50 * MILLISECOND);
    assert_eq!(fleet.manager.counters().jobs_suspected, 1);
    worker.conduct.set(Conduct::Accepts);
    assert!(fleet.request(2, 4));
    fleet.request(1, 5);
    fleet.request(2, 6);

    // when, then: 6 is the youngest
    fleet.free(4);
    assert_eq!(fleet.slot_of(6), Some(SlotId::new("tm", 0)));

    // when, then: the others of job 1 are older, and were tried on the worker
    fleet.free(6);
    assert_eq!(fleet.slot_of(5), Some(SlotId::new("tm", 0)));
}

#[test]
fn suspect_jobs_take_turns() {
    // given: 1 and 2 are suspect, because a worker refuses everything; 1 has a hundred requests
    let mut fleet = Fleet::new(patient());
    fleet.worker("bad", 4, Conduct::Refuses);
    for id in 1..=100 {
        fleet.request(1, id);
    }
    for id in 2001..=2004 {
        fleet.request(2, id);
    }
    fleet.advance(5 * SECOND);
    assert_eq!(fleet.manager.overview().suspect_jobs, 2);

    // when: a worker comes that refuses only job 1
    fleet.worker("good", 8, Conduct::RefusesJob(1));

    // then
    for id in 2001..=2004 {
        assert_eq!(fleet.wait_for(id, SECOND), Some(5 * SECOND), "request {id}");
    }
}

#[test]
fn grant_clears_a_suspect_job() {
    // given: job 1 is suspect
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 4, Conduct::RefusesJob(1));
    for id in 1..=3 {
        fleet.request(1, id);
    }
    fleet.advance(SECOND);

    // when
    worker.conduct.set(Conduct::Accepts);
    fleet.advance(10 * SECOND);

    // then
    for id in 1..=3 {
        assert!(fleet.slot_of(id).is_some(), "request {id}");
    }
    assert_eq!(fleet.manager.overview().suspect_jobs, 0);
}

#[test]
fn worker_tries_one_request_of_suspect_jobs_at_a_time_while_others_are_pending() {
    // given: job 1 is suspect, job 2 waits for a slot that no worker has
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    fleet.worker("bad", 2, Conduct::Refuses);
    for id in 1..=4 {
        fleet.request(1, id);
    }
    fleet.advance(60 * MILLISECOND);
    assert_eq!(fleet.manager.overview().suspect_jobs, 1);
    fleet
        .manager
        .register_slot_request(SlotRequest::new(job(2), allocation(9), profile(9.0, 0), "job-master"))
        .expect("accepted");

    // when
    let slow = fleet.worker("slow", 4, Conduct::Hangs);

    // then
    assert_eq!(slow.num_attempts(), 1);

    // when, then: the last request of another job is gone
    fleet.manager.unregister_slot_request(allocation(9));
    fleet.check();
    assert_eq!(slow.num_attempts(), 4);
}

/// Job 1 is suspect. Its request 1 is in flight to `a`, and its request 2 to `b`, which has three
/// small slots. Returns the gateways of `a` and `b`.
fn suspect_job() -> (Fixture, ScriptedGateway, ScriptedGateway) {
    let mut fixture = Fixture::with(patient());
    let a = fixture.register_by_hand("a", 1, &free_report("a", &[cores(8)]));
    fixture.request(1, &cores(8));
    let b = fixture.register_by_hand("b", 2, &free_report("b", &vec![small(); 3]));
    fixture.request(2, &small());
    fixture.answer(&a, 1, rejected());
    fixture.answer(&b, 2, rejected());
    fixture.expect(&[
        "request a_0 for 1 #1",
        "request b_0 for 2 #2",
        "request a_0 for 1 #3",
        "request b_1 for 2 #4",
    ]);
    assert_eq!(fixture.manager.overview().suspect_jobs, 1);
    (fixture, a, b)
}

/// A profile that no slot of [`suspect_job`] fits.
fn wide() -> ResourceProfile {
    profile(1.0, 400)
}

/// Registers request 9 of job 2, which fits no slot.
fn wait_with_another_job(fixture: &mut Fixture) {
    fixture.try_request(2, 9, &cores(9)).expect("accepted");
}

#[test]
fn new_request_of_a_suspect_job_is_held_back_before_any_worker_backs_off() {
    // given
    let (mut fixture, _, _) = suspect_job();
    wait_with_another_job(&mut fixture);

    // when, then
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.manager.overview().backing_off_task_managers, 0);
}

#[test]
fn request_that_backs_off_is_not_tried_again_when_requests_of_suspect_jobs_are_released() {
    // given: 1 backs off, and fits only the worker that refused it; 3 is held back
    let (mut fixture, a, _) = suspect_job();
    fixture.answer(&a, 3, rejected());
    wait_with_another_job(&mut fixture);
    fixture.request(3, &small());
    fixture.log.take();

    // when
    fixture.cancel(9);

    // then
    fixture.expect(&["request b_2 for 3 #5"]);
}

#[test]
fn request_that_was_held_back_returns_to_the_worker_that_refused_it() {
    // given: 3 failed on `b`, which has acknowledged 20 since the failure of 2
    let (mut fixture, _, b) = suspect_job();
    fixture.request(3, &small());
    fixture.try_request(2, 20, &small()).expect("accepted");
    fixture.answer(&b, 6, acknowledged());
    wait_with_another_job(&mut fixture);
    fixture.answer(&b, 5, rejected());
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));
    fixture.log.take();

    // when
    fixture.cancel(9);

    // then
    fixture.expect(&["request b_2 for 3 #7"]);
}

#[test]
fn end_of_the_attempt_of_a_suspect_job_releases_another_slot_of_its_worker() {
    // given: 2 is in flight to a slot that 3 does not fit, and 3 is held back
    let mut fixture = Fixture::with(patient());
    let a = fixture.register_by_hand("a", 1, &free_report("a", &[cores(8)]));
    fixture.request(1, &cores(8));
    let b = fixture.register_by_hand("b", 2, &free_report("b", &[cores(8), small()]));
    fixture.request(2, &cores(8));
    fixture.answer(&a, 1, rejected());
    fixture.answer(&b, 2, rejected());
    wait_with_another_job(&mut fixture);
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.log.take();

    // when
    fixture.cancel(2);

    // then
    fixture.expect(&["free b_0 of 2 #4", "request b_1 for 3 #5"]);
}

fn unreachable() -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::unreachable("no route"))
}

#[test]
fn workers_are_probed_in_the_order_of_their_backoffs() {
    // given: `b` refused two requests of job 1 before `a` did, and job 2 probes both
    let mut fixture = Fixture::with(patient());
    let a = fixture.register_by_hand("a", 1, &free_report("a", &[small()]));
    fixture.request(1, &small());
    let b = fixture.register_by_hand("b", 2, &free_report("b", &[small()]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    for (gateway, attempt) in [(&b, 2), (&b, 3), (&a, 1), (&a, 4)] {
        fixture.answer(gateway, attempt, rejected());
    }
    assert_eq!(fixture.manager.overview().backing_off_task_managers, 2);
    for id in [21, 22] {
        fixture.try_request(2, id, &small()).expect("accepted");
    }
    assert_eq!(fixture.counts(), [0, 2, 0]);
    fixture.try_request(3, 31, &small()).expect("accepted");

    // when
    fixture.unregister_job(2);

    // then
    assert_eq!(fixture.status(31), Some(in_flight(&slot("b", 0))));
}

#[test]
fn request_probes_a_worker_that_refuses_before_one_that_cannot_be_reached() {
    // given: both back off, `dead` since before `other`, and both admit a probe of any job
    let mut fleet = Fleet::new(patient().with_rpc_timeout(10 * SECOND));
    let dead = fleet.worker("dead", 2, Conduct::CannotBeReached);
    fleet.request(1, 1);
    fleet.manager.unregister_job(job(1));
    let other = fleet.worker("other", 2, Conduct::RefusesJob(1));
    fleet.request(1, 2);
    fleet.request(1, 3);
    fleet.manager.unregister_job(job(1));
    fleet.advance(60 * SECOND);
    assert_eq!(fleet.manager.overview().backing_off_task_managers, 2);
    dead.conduct.set(Conduct::Hangs);
    let attempts = (dead.num_attempts(), other.num_attempts());

    // when, then
    assert!(fleet.request(2, 4));
    assert_eq!(
        (dead.num_attempts(), other.num_attempts()),
        (attempts.0, attempts.1 + 1)
    );
}

#[test]
fn worker_that_can_be_reached_again_is_probed_by_a_job_that_it_has_not_refused() {
    // given: it was unreachable for long, and refuses the request that probes it now
    let mut fleet = Fleet::new(patient());
    let worker = fleet.worker("tm", 2, Conduct::CannotBeReached);
    fleet.request(1, 1);
    fleet.advance(60 * SECOND);
    worker.conduct.set(Conduct::RefusesJob(1));
    let attempts = worker.num_attempts();
    while worker.num_attempts() == attempts {
        fleet.advance(SECOND);
    }

    // when, then
    assert!(fleet.request(2, 2));
}

#[test]
fn backoff_of_a_worker_has_a_reason() {
    for (answer, reason) in [
        (unreachable(), BackoffReason::Unreachable),
        (rejected(), BackoffReason::Refusals),
    ] {
        // given
        let mut fixture = Fixture::with(patient());
        let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), small()]));
        fixture.request(1, &small());
        fixture.request(2, &small());

        // when
        fixture.answer(&gateway, 1, answer.clone());
        fixture.answer(&gateway, 2, answer);

        // then
        let task_manager = fixture.manager.task_manager(instance(1)).expect("registered");
        assert_eq!(task_manager.backoff().map(|backoff| backoff.reason), Some(reason));
    }
}

#[test]
fn request_of_another_job_returns_to_its_worker_before_suspect_jobs_come() {
    // given: job 1 is suspect, and its request 3 waits; 9 of job 2 failed on `c`, which serves 20
    let (mut fixture, _, _) = suspect_job();
    let c = fixture.register_by_hand("c", 3, &free_report("c", &[wide()]));
    fixture.try_request(2, 9, &wide()).expect("accepted");
    fixture.try_request(3, 20, &wide()).expect("accepted");
    fixture.request(3, &wide());
    fixture.answer(&c, 5, rejected());
    fixture.answer(&c, 6, acknowledged());
    fixture.log.take();

    // when
    fixture.free(&slot("c", 0), 20);

    // then
    fixture.expect(&["request c_0 for 9 #7"]);
}

#[test]
fn worker_that_backs_off_is_not_probed_by_a_job_that_it_refused_and_that_was_served_elsewhere() {
    // given: `tm` refused jobs 1 and 2, and `other` serves them
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[Some(50), None]));
    for id in [1, 2] {
        fixture.try_request(id, id, &small()).expect("accepted");
    }
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.register_free("other", 2, &[small(), small()]);
    assert_eq!(fixture.counts(), [1, 0, 3]);
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.log.take();

    // when: another slot of `tm` becomes free
    fixture.free(&slot("tm", 0), 50);

    // then
    fixture.expect_nothing();
}

/// Slot `tm_0` has refused request 1 of job 1, and request 2 is in flight to it. Its worker has
/// acknowledged an attempt on another slot in between.
fn refused_on_one_slot() -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_pair(1);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.acknowledge_on_other_slot(&gateway);
    (fixture, gateway)
}

#[test]
fn slot_that_is_about_to_back_off_goes_to_a_job_that_it_has_not_refused() {
    // given: a younger request of another job waits
    let (mut fixture, gateway) = refused_on_one_slot();
    fixture.try_request(2, 5, &small()).expect("accepted");
    fixture.log.take();

    // when
    fixture.answer(&gateway, 2, rejected());

    // then: the slot has failed, and not its worker
    fixture.expect(&["request tm_0 for 5 #4", &ask(4)]);
    assert_eq!(fixture.manager.overview().backing_off_task_managers, 0);
}

#[test]
fn slot_that_is_about_to_back_off_goes_to_a_request_that_only_another_worker_refused() {
    // given: `other` refused 5 of job 2 twice, and 5 backs off
    let (mut fixture, gateway) = refused_on_one_slot();
    let _ = fixture.cancel(1);
    let other = fixture.register_by_hand("other", 2, &free_report("other", &[small()]));
    fixture.try_request(2, 5, &small()).expect("accepted");
    fixture.answer(&other, 4, rejected());
    fixture.answer(&other, 5, rejected());
    fixture.log.take();

    // when
    fixture.answer(&gateway, 2, rejected());

    // then
    fixture.expect(&["request other_0 for 2 #7", "request tm_0 for 5 #6"]);
}

#[test]
fn slot_that_backs_off_goes_to_a_new_request_of_a_job_that_it_has_not_refused() {
    // given: no request of the refused job is left
    let (mut fixture, gateway) = refused_on_one_slot();
    fixture.answer(&gateway, 2, rejected());
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    assert_eq!(fixture.manager.overview().backing_off_task_managers, 0);
    fixture.unregister_job(1);

    // when, then
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.unregister_job(1);
    fixture.log.take();
    fixture.try_request(2, 5, &small()).expect("accepted");
    fixture.expect(&["request tm_0 for 5 #4"]);
}

#[test]
fn probe_after_one_that_was_cancelled_goes_to_the_next_slot() {
    // given: the last failed attempt was on `tm_1`, and 1 probes `tm_0`
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), small()]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, unreachable());
    fixture.answer(&gateway, 2, unreachable());
    fixture.advance(SECOND);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.cancel(1);
    fixture.advance(SECOND);

    // then
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 1))));
}

#[test]
fn cancelled_attempt_from_before_a_backoff_begins_no_other() {
    // given: 3 is in flight, and the worker backs off after the failures of 1 and 2
    let mut fixture = Fixture::with(patient());
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), small(), small()]));
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.answer(&gateway, 1, unreachable());
    fixture.answer(&gateway, 2, unreachable());
    assert_eq!(fixture.manager.counters().worker_backoffs, 1);

    // when
    fixture.cancel(3);

    // then
    assert_eq!(fixture.manager.counters().worker_backoffs, 1);
}

#[test]
fn attempt_of_another_job_keeps_no_suspect_job_from_its_worker() {
    // given: job 1 is suspect, and an attempt of job 2 is in flight to `c`
    let (mut fixture, _, _) = suspect_job();
    fixture.register_by_hand("c", 3, &free_report("c", &[cores(4), cores(4)]));
    fixture.try_request(2, 21, &cores(4)).expect("accepted");

    // when, then
    assert_eq!(fixture.request(3, &cores(4)), in_flight(&slot("c", 1)));
}

#[test]
fn slot_that_backs_off_serves_another_job_beside_an_attempt_of_a_suspect_job() {
    // given: `tm_0` backs off, and job 1 is suspect with an attempt in flight to `tm_1`
    let (mut fixture, gateway) = refused_on_one_slot();
    fixture.answer(&gateway, 2, rejected());
    let other = fixture.register_by_hand("other", 2, &free_report("other", &[small()]));
    fixture.answer(&other, 4, rejected());
    assert_eq!(fixture.manager.overview().suspect_jobs, 1);
    assert_eq!(fixture.request(6, &cores(2)), in_flight(&slot("tm", 1)));
    fixture.log.take();

    // when
    fixture.try_request(2, 5, &small()).expect("accepted");

    // then
    fixture.expect(&["request tm_0 for 5 #7"]);
}

#[test]
fn request_that_was_held_back_from_a_slot_that_backs_off_is_released() {
    // given: `tm_0` backs off after refusals of job 1, and an attempt of the suspect job 2 is in
    // flight to `tm_1`
    let (mut fixture, gateway) = refused_on_one_slot();
    fixture.answer(&gateway, 2, rejected());
    let bad = fixture.register_by_hand("bad", 2, &free_report("bad", &[cores(8), cores(8)]));
    for id in [21, 22] {
        fixture.try_request(2, id, &cores(8)).expect("accepted");
    }
    fixture.answer(&bad, 4, rejected());
    fixture.answer(&bad, 5, rejected());
    fixture.log.take();
    fixture.try_request(2, 23, &cores(2)).expect("accepted");
    fixture.expect(&["request tm_1 for 23 #7"]);
    fixture.try_request(2, 24, &small()).expect("accepted");
    assert_eq!(fixture.status(24), Some(AllocationStatus::Waiting));

    // when
    fixture.answer(&gateway, 7, acknowledged());

    // then
    assert_eq!(fixture.status(24), Some(in_flight(&slot("tm", 0))));
}

#[test]
fn requests_are_released_when_the_last_other_job_becomes_suspect() {
    // given: 3 of the suspect job 1 is held back, because requests of job 2 are pending
    let (mut fixture, _, _) = suspect_job();
    let c = fixture.register_by_hand("c", 3, &free_report("c", &[cores(4), cores(4)]));
    for id in [21, 22] {
        fixture.try_request(2, id, &cores(4)).expect("accepted");
    }
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.answer(&c, 5, rejected());

    // when: a second request of job 2 fails
    fixture.answer(&c, 6, rejected());

    // then
    assert_eq!(fixture.manager.overview().suspect_jobs, 2);
    assert_eq!(fixture.status(3), Some(in_flight(&slot("b", 2))));
}

#[test]
fn requests_are_released_by_the_grant_of_the_last_request_of_another_suspect_job() {
    // given: the last request of the suspect job 1 is in flight to `b`; 33 of the suspect job 3 is
    // held back, because job 2 has a request
    let (mut fixture, _, b) = suspect_job();
    let c = fixture.register_by_hand("c", 3, &free_report("c", &[cores(4), cores(4)]));
    for id in [31, 32] {
        fixture.try_request(3, id, &cores(4)).expect("accepted");
    }
    fixture.answer(&c, 5, rejected());
    fixture.answer(&c, 6, rejected());
    let _ = fixture.cancel(1);
    assert_eq!(fixture.manager.overview().suspect_jobs, 2);
    wait_with_another_job(&mut fixture);
    fixture.try_request(3, 33, &small()).expect("accepted");
    assert_eq!(fixture.status(33), Some(AllocationStatus::Waiting));

    // when
    fixture.answer(&b, 4, acknowledged());

    // then
    assert_eq!(fixture.status(33), Some(in_flight(&slot("b", 2))));
}

#[test]
fn slot_that_backs_off_and_changes_its_profile_serves_a_request_that_it_fits_now() {
    // given: a small slot backs off after refusals of job 1, and job 2 waits for a larger one
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &free_report("tm", &[small(), cores(4)]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.request(2, &cores(4));
    fixture.answer(&gateway, 3, acknowledged());
    let _ = fixture.cancel(1);
    fixture.request(3, &small());
    let attempt = slot_requests(&fixture.log.take()).last().expect("an attempt").attempt;
    fixture.answer(&gateway, attempt, rejected());
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    fixture.try_request(2, 4, &cores(2)).expect("accepted");
    fixture.log.take();

    // when
    let held = held_by(slot("tm", 1), 2, 1);
    let report = SlotReport::new(vec![SlotStatus::free(slot("tm", 0), cores(2)), held]);
    fixture.report(1, &report);

    // then
    assert_eq!(fixture.status(4), Some(in_flight(&slot("tm", 0))));
}
