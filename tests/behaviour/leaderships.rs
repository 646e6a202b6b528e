//! Leaderships: start, suspension, and inputs and answers before, between and after them.

use std::time::Duration;

use slot_manager::error::{NotStarted, RegistrationError, SlotRequestError, StartError};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RegistrationOutcome, RenewalOutcome, ReportOutcome,
    SlotFreedOutcome, UnblockOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::overview::SlotCounts;
use slot_manager::testing::{
    ManualScheduledExecutor, NotPending, RecordingActions, ScriptedGateway, SimulatedTaskExecutor,
};
use slot_manager::view::SlotState;
use slot_manager::{LeaderId, SlotManager, TaskExecutorConnection, Timestamp};

use crate::common::{
    Fixture, MILLISECOND, NANOSECOND, SECOND, acknowledged, allocation, ask, free_report, granted, in_flight, instance,
    occupied, patient, profile, rejected, report, request, slot, small, workers_of,
};

/// A manager with slots, requests and promises in every state.
///
/// `tm` holds 1, and 2 is in flight to it; `other` holds 5. Request 3 is bound to a promised slot,
/// another promised slot is unbound, and 4 waits without a promise. All requests and attempts have
/// timeouts.
fn busy() -> Fixture {
    let config = patient()
        .with_request_timeout(Duration::from_secs(100))
        .with_rpc_timeout(Duration::from_secs(50));
    let mut fixture = Fixture::with(config);
    fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None]));
    fixture.request(2, &small());
    fixture.promise_next(&[small(), profile(0.5, 50)]);
    fixture.request(3, &small());
    fixture.request(4, &small());
    fixture.register("other", 8, &report("other", &[Some(5)]));
    assert_eq!(fixture.promised(), (1, 1));
    fixture.run();
    fixture.log.take();
    fixture
}

// Suspension.

/// B.21, B.22
#[test]
fn suspension_forgets_everything_silently() {
    // given
    let mut fixture = busy();
    assert_eq!(fixture.clock.armed().len(), 1);

    // when
    fixture.suspend();

    // then: no notification and no message
    fixture.expect_nothing();

    // then: nothing is left
    let manager = &fixture.manager;
    assert_eq!(manager.leader_id(), None);
    assert_eq!(manager.overview().slots.counts(), SlotCounts::default());
    assert_eq!(fixture.promised(), (0, 0));
    assert_eq!(
        (manager.overview().task_managers, manager.overview().pending_requests),
        (0, 0)
    );
    assert_eq!((manager.slots().count(), manager.task_managers().count()), (0, 0));
    assert_eq!(
        (
            manager.pending_slot_requests().count(),
            manager.promised_slots().count()
        ),
        (0, 0)
    );
    for id in 1..=5 {
        assert_eq!(fixture.status(id), None);
    }

    // then: nothing is armed, awaited or due
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
    assert_eq!(fixture.manager.overview().slots.in_flight.slots, 0);
    assert_eq!(fixture.run(), 0);
    assert_eq!(fixture.advance(Duration::from_secs(1000)), 0);
    fixture.expect_nothing();
}

#[test]
fn suspension_returns_the_actions_once() {
    // given
    let mut fixture = busy();
    assert!(fixture.manager.actions_mut().is_some());

    // when
    let returned = fixture.step(SlotManager::suspend).expect("started");

    // then
    assert!(fixture.manager.actions_mut().is_none());
    assert!(fixture.step(SlotManager::suspend).is_none());

    // when, then: they serve the next leadership
    let started = fixture.step(|manager| manager.start(LeaderId::from_u128(2), returned));
    assert_eq!(started, Ok(()));
    assert!(fixture.manager.actions_mut().is_some());
    fixture.request(1, &small());
    fixture.expect(&[&ask(3)]);
}

// Start.

/// B.23
#[test]
fn start_of_a_started_manager_is_an_error_and_changes_nothing() {
    // given
    let mut fixture = busy();
    let before = fixture.view();
    let others = RecordingActions::new();

    // when
    let refused = fixture.step(|manager| manager.start(LeaderId::from_u128(2), others.clone()));

    // then
    let leader_id = LeaderId::from_u128(1);
    assert_eq!(refused, Err(StartError::AlreadyStarted { leader_id }));
    assert_eq!(fixture.manager.leader_id(), Some(leader_id));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();

    // then: effects still go to the first actions
    fixture.unregister(8);
    fixture.expect(&["lost 5 on other_0: unregistered"]);
    assert_eq!(others.take(), []);
}

/// B.24: the refused inputs are in `bad_input`.
#[test]
fn manager_without_a_leadership_is_empty_until_it_is_started() {
    fn assert_empty(fixture: &mut Fixture) {
        let connection = TaskExecutorConnection::new("tm", instance(7), fixture.gateway());
        assert_eq!(
            fixture.try_request(1, 1, &small()),
            Err(SlotRequestError::NotStarted(NotStarted))
        );
        assert_eq!(
            fixture.try_register(connection, &report("tm", &[None])),
            Err(RegistrationError::NotStarted(NotStarted))
        );
        assert_eq!(fixture.manager.leader_id(), None);
        assert!(fixture.step(SlotManager::suspend).is_none());
        assert_eq!(fixture.advance(Duration::from_secs(1000)), 0);
        fixture.expect_nothing();
        assert_eq!(fixture.manager.overview().task_managers, 0);
        assert_eq!(fixture.manager.overview().pending_requests, 0);
    }

    // when, then: before the first leadership
    let mut fixture = Fixture::not_started(patient());
    assert_empty(&mut fixture);

    // when, then: between two leaderships
    let mut fixture = busy();
    fixture.suspend();
    assert_empty(&mut fixture);

    // when, then
    fixture.start(2);
    fixture.register_free("tm", 7, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

#[test]
fn configuration_can_be_read_and_outlives_a_leadership() {
    // given
    let config = patient().with_max_pending_requests(Some(7));
    let mut fixture = Fixture::with(config.clone());
    assert_eq!(fixture.manager.config(), &config);

    // when
    fixture.suspend();
    fixture.start(2);

    // then
    assert_eq!(fixture.manager.config(), &config);
}

// The next leadership.

/// B.22
#[test]
fn next_leadership_starts_empty() {
    // given
    let mut fixture = busy();

    // when
    fixture.suspend();
    fixture.start(2);

    // then
    let manager = &fixture.manager;
    assert_eq!(manager.leader_id(), Some(LeaderId::from_u128(2)));
    assert_eq!(manager.overview().slots.counts(), SlotCounts::default());
    assert_eq!(fixture.promised(), (0, 0));
    assert_eq!(
        (manager.overview().task_managers, manager.overview().pending_requests),
        (0, 0)
    );
    assert_eq!(manager.next_deadline(), None);
    for id in 1..=5 {
        assert_eq!(fixture.status(id), None);
    }

    // then: former registrations and promises are unknown
    assert_eq!(fixture.report(8, &report("other", &[None])), ReportOutcome::Unknown);
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);

    // then: a request finds no old slot, and the number of a worker request is not used twice
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(3)]);
}

/// B.22
#[test]
fn next_leader_learns_from_registrations() {
    // given
    let mut fixture = busy();
    fixture.suspend();
    fixture.start(2);
    fixture.request(3, &small());
    fixture.log.take();

    // when: a task executor shows the grants of the former leadership, also of the attempt in
    // flight
    let outcome = fixture.register_with("tm", 7, &report("tm", &[Some(1), Some(2), None]), &fixture.gateway());

    // then
    assert_eq!(outcome, RegistrationOutcome::Registered);
    fixture.expect(&["request tm_2 for 3 #2", "granted 3 on tm_2"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 1))));
}

#[test]
fn deadlines_of_a_former_leadership_do_not_fall_due_in_the_next() {
    // given
    let mut fixture = busy();
    fixture.clock.advance(Duration::from_secs(200));
    fixture.suspend();
    fixture.start(2);

    // when, then
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
}

/// B.24
#[test]
fn answers_of_a_former_leadership_change_nothing() {
    for answer in [acknowledged(), rejected(), occupied(9)] {
        // given: one attempt is answered but not yet observed, the other is not answered
        let mut fixture = Fixture::new();
        let old = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        old.answer(1, answer.clone()).expect("in flight");

        // when
        fixture.suspend();
        assert_eq!(old.pending(), []);
        assert_eq!(old.answer(2, answer.clone()), Err(NotPending { attempt: 2 }));
        fixture.start(2);
        let new = fixture.register_by_hand("tm", 8, &report("tm", &[None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.log.take();
        assert_eq!(fixture.run(), 0);

        // then
        fixture.expect_nothing();
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
        assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 1))));
        let leaders: Vec<_> = new.pending().iter().map(|request| request.leader_id).collect();
        assert_eq!(leaders, [LeaderId::from_u128(2); 2]);
    }
}

/// A waker of a former attempt outlives it: it costs one needless poll.
#[test]
fn waker_of_a_former_leadership_is_harmless() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None; 5]));
    for id in 1..=5 {
        fixture.request(id, &small());
    }
    for attempt in 1..=5 {
        gateway.answer(attempt, acknowledged()).expect("pending");
    }
    fixture.suspend();
    fixture.start(2);
    fixture.register_with("tm", 1, &free_report("tm", &[small()]), &gateway);
    fixture.log.take();

    // when, then
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
}

/// B.43: the leadership ended while the worker was connecting
#[test]
fn registration_that_finishes_after_the_leadership_leaves_no_trace() {
    // given
    let mut fixture = Fixture::new();
    let connection = TaskExecutorConnection::new("tm", instance(7), fixture.gateway());

    // when
    fixture.suspend();
    let refused = fixture.try_register(connection, &report("tm", &[None]));

    // then
    assert_eq!(refused, Err(RegistrationError::NotStarted(NotStarted)));
    fixture.start(2);
    assert_eq!(fixture.manager.overview().task_managers, 0);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
}

/// B.43: its messages name a leader that the task executor does not obey
#[test]
fn task_executor_of_a_former_leader_grants_nothing_to_the_next_leader() {
    // given: the task executor obeys leader 1
    let clock = ManualScheduledExecutor::new();
    let executor = SimulatedTaskExecutor::new("tm", [small()], clock.clone());
    let connection = executor.connect(LeaderId::from_u128(1), instance(7));
    let mut manager = SlotManager::new(patient(), clock.clone()).expect("valid");
    manager
        .start(LeaderId::from_u128(2), RecordingActions::new())
        .expect("not started");

    // when
    manager
        .register_task_manager(connection, &executor.slot_report())
        .expect("valid");
    let _ = manager
        .register_slot_request(request(1, 1, &small()))
        .expect("accepted");

    // then: both sides know that the slot is not allocated
    assert_eq!(executor.current_allocation(0), None);
    assert_eq!(
        manager.allocation_status(allocation(1)),
        Some(AllocationStatus::Waiting)
    );
    let pending = manager.pending_slot_request(allocation(1)).expect("pending");
    assert_eq!(pending.failed_attempts(), 2);

    // when, then: it finds the new leader
    let connection = executor.connect(LeaderId::from_u128(2), instance(8));
    manager
        .register_task_manager(connection, &executor.slot_report())
        .expect("valid");
    clock.advance(Duration::from_millis(50));
    manager.run_until_stalled();
    assert_eq!(manager.allocation_status(allocation(1)), Some(granted(&slot("tm", 0))));
    assert_eq!(executor.current_allocation(0), Some(allocation(1)));
    manager.check_invariants().expect("consistent");
}

// Leaderships that end by themselves.

/// A started manager whose leadership ends at 10 s. Request 1 is in flight to `tm_0` and its RPC
/// timeout is 20 s.
fn until_ten_seconds() -> (Fixture, ScriptedGateway) {
    let mut fixture = Fixture::not_started(patient().with_rpc_timeout(20 * SECOND));
    let actions = fixture.actions.clone();
    fixture
        .step(|manager| manager.start_until(LeaderId::from_u128(1), actions, Timestamp::from_secs(10)))
        .expect("not started");
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.log.take();
    (fixture, gateway)
}

#[test]
fn inputs_after_the_end_of_a_leadership_answer_as_before_the_start() {
    // given
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.clock.advance(10 * SECOND - NANOSECOND);
    assert!(fixture.manager.is_leading());
    fixture.clock.advance(NANOSECOND);
    assert!(!fixture.manager.is_leading());
    let before = fixture.view();

    // when, then
    let refused = fixture.try_request(1, 2, &small());
    assert_eq!(refused, Err(SlotRequestError::NotStarted(NotStarted)));
    assert_eq!(fixture.try_report(7, &report("tm", &[None])), Err(NotStarted.into()));
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.cancel(1), CancelOutcome::Unknown);
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::Unknown);
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

#[test]
fn worker_that_is_blocked_after_the_end_of_a_leadership_is_blocked_once_it_is_renewed() {
    // given: a request is in flight to the slot
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.register_free("other", 8, &[small()]);
    fixture.log.take();
    fixture.clock.advance(10 * SECOND);
    let before = fixture.view();

    // when, then
    assert_eq!(fixture.block("other"), BlockOutcome::Blocked);
    assert_eq!(fixture.view(), before);

    // when, then
    let outcome = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));
    assert!(matches!(outcome, RenewalOutcome::Resumed { .. }), "{outcome:?}");
    assert_eq!(fixture.state(&slot("other", 0)), SlotState::Blocked);
}

#[test]
fn worker_that_is_unblocked_after_the_end_of_a_leadership_serves_once_it_is_renewed() {
    // given: a request waits for the slot of a blocked worker
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.block("other");
    fixture.register_free("other", 8, &[profile(4.0, 400)]);
    fixture.request(2, &profile(4.0, 400));
    fixture.log.take();
    fixture.clock.advance(10 * SECOND);

    // when, then
    assert_eq!(fixture.unblock("other"), UnblockOutcome::Unblocked);
    fixture.expect_nothing();

    // when, then
    let outcome = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));
    assert!(matches!(outcome, RenewalOutcome::Resumed { .. }), "{outcome:?}");
    assert_eq!(fixture.status(2), Some(granted(&slot("other", 0))));
}

/// A process that was stopped for longer than its lease acts on nothing when it wakes.
#[test]
fn neither_time_nor_answers_have_effects_after_the_end_of_a_leadership() {
    // given
    let (mut fixture, gateway) = until_ten_seconds();

    // when: the process is stopped, an answer comes, and the RPC timeout falls due
    gateway.answer(1, acknowledged()).expect("pending");
    fixture.clock.advance(60 * SECOND);

    // then
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn renewed_leadership_goes_on() {
    // given
    let (mut fixture, gateway) = until_ten_seconds();

    // when
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::from_secs(30)));

    // then
    assert_eq!(renewed, RenewalOutcome::Renewed);
    fixture.clock.advance(15 * SECOND);
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn leadership_that_is_renewed_after_its_end_resumes_with_its_state() {
    // given
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.clock.advance(25 * SECOND);
    assert_eq!(fixture.run(), 0);

    // when
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));

    // then: the RPC timeout of 20 s is handled now
    let ended_at = Timestamp::from_secs(10);
    assert_eq!(renewed, RenewalOutcome::Resumed { ended_at });
    assert_eq!(fixture.run(), 1);
    fixture.expect(&["free tm_0 of 1 #1", &ask(1)]);
    fixture.falls_due_after(50 * MILLISECOND, &["request tm_1 for 1 #2"]);
}

#[test]
fn renewal_to_a_time_that_has_passed_ends_the_leadership() {
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.clock.advance(5 * SECOND);
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::from_secs(5)));
    assert_eq!(renewed, RenewalOutcome::Ended);
    assert!(!fixture.manager.is_leading());
}

#[test]
fn leadership_that_is_not_started_cannot_be_renewed() {
    let mut fixture = Fixture::not_started(patient());
    let renewed = fixture.step(|manager| manager.renew_leadership(Timestamp::MAX));
    assert_eq!(renewed, RenewalOutcome::NotStarted);
}

#[test]
fn leadership_that_has_ended_is_suspended_and_started_anew() {
    // given
    let (mut fixture, _gateway) = until_ten_seconds();
    fixture.clock.advance(10 * SECOND);

    // when
    fixture.suspend();
    fixture.start(2);

    // then: the new leadership has no end
    fixture.clock.advance(Duration::MAX);
    assert!(fixture.manager.is_leading());
    assert!(fixture.manager.task_managers().next().is_none());
}

#[test]
fn workers_for_the_minimum_are_requested_when_a_leadership_that_began_too_late_resumes() {
    // given
    let mut fixture = Fixture::not_started(patient().with_workers(workers_of(2).with_min_slots(2)));
    let actions = fixture.actions.clone();
    fixture.clock.advance(5 * SECOND);

    // when, then
    fixture
        .step(|manager| manager.start_until(LeaderId::from_u128(1), actions, Timestamp::from_secs(5)))
        .expect("not started");
    fixture.expect_nothing();

    // when, then
    fixture.step(|manager| manager.renew_leadership(Timestamp::from_secs(6)));
    fixture.expect(&[&ask(1)]);
}
