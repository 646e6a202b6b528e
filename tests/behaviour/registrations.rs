//! Registrations of task managers: the first, further ones of the same worker, and their end.
//! Comments name the defects of FLINK-5810 that the tests guard against.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slot_manager::error::{InvalidReport, RegistrationError};
use slot_manager::message::{AllocateSlot, FreeSlot, NoFuture, ReleaseResource, SlotAnswer};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, ReportOutcome, Stale, UnregistrationOutcome,
};
use slot_manager::testing::{Action, ManualScheduledExecutor, NotPending, RecordingActions};
use slot_manager::{
    LeaderId, ResourceId, SlotManager, SlotReport, SlotStatus, TaskExecutorConnection, TaskExecutorGateway, Timestamp,
};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, ask, free_report, granted, held_by, in_flight, instance, job, patient,
    profile, report, request, slot, small, worker_request,
};

// First registration.

/// B.21
#[test]
fn registration_serves_all_waiting_requests_in_order() {
    const REQUESTS: u128 = 300;

    // given
    let mut fixture = Fixture::new();
    for id in 1..=REQUESTS {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when
    fixture.register("tm", 7, &report("tm", &vec![None; REQUESTS as usize]));

    // then: in the order of the requests
    let requests = (1..=REQUESTS).map(|id| format!("request tm_{} for {id} #{id}", id - 1));
    let grants = (1..=REQUESTS).map(|id| format!("granted {id} on tm_{}", id - 1));
    assert_eq!(fixture.brief_effects(), Vec::from_iter(requests.chain(grants)));
}

/// B.38: also with the instance id it had
#[test]
fn worker_can_register_after_it_was_unregistered() {
    for number in [7, 8] {
        // given
        let mut fixture = Fixture::new();
        fixture.register("tm", 7, &report("tm", &[Some(1)]));
        fixture.unregister(7);
        fixture.expect(&["lost 1 on tm_0: unregistered"]);

        // when
        let outcome = fixture.register_with("tm", number, &report("tm", &[Some(1), None]), &fixture.gateway());

        // then
        assert_eq!(outcome, RegistrationOutcome::Registered);
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
        fixture.expect_nothing();
    }
}

type Calls = Rc<RefCell<Vec<&'static str>>>;

/// A gateway that keeps the order of its calls.
struct OrderedGateway(Calls);

impl TaskExecutorGateway for OrderedGateway {
    type RequestSlotFuture = NoFuture;

    fn confirm_registration(&mut self) {
        self.0.borrow_mut().push("registered");
    }

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        self.0.borrow_mut().push("slot requested");
        SlotAnswer::Later
    }

    fn free_slot(&mut self, _: &FreeSlot) {
        self.0.borrow_mut().push("slot freed");
    }

    fn stop(&mut self, _: &ReleaseResource) {
        self.0.borrow_mut().push("stopped");
    }
}

impl Drop for OrderedGateway {
    fn drop(&mut self) {
        self.0.borrow_mut().push("dropped");
    }
}

/// A registered worker and a request for a slot of it, and the calls of its gateway.
fn ordered() -> (
    SlotManager<RecordingActions, OrderedGateway, ManualScheduledExecutor>,
    ManualScheduledExecutor,
    Calls,
) {
    let (clock, calls) = (ManualScheduledExecutor::new(), Calls::default());
    let config = patient().with_task_manager_timeout(10 * SECOND);
    let mut manager = SlotManager::new(config, clock.clone()).expect("valid");
    let started = manager.start(LeaderId::from_u128(1), RecordingActions::new());
    assert_eq!(started, Ok(()));
    assert!(manager.register_slot_request(request(1, 1, &small())).is_ok());
    let gateway = OrderedGateway(Rc::clone(&calls));
    let connection = TaskExecutorConnection::new("tm", instance(7), gateway);
    let outcome = manager.register_task_manager(connection, &report("tm", &[None]));
    assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
    (manager, clock, calls)
}

#[test]
fn registration_is_confirmed_before_a_slot_is_requested() {
    let (_manager, _, calls) = ordered();
    assert_eq!(*calls.borrow(), ["registered", "slot requested"]);
}

#[test]
fn gateway_is_told_to_stop_before_it_is_dropped() {
    // given
    let (mut manager, clock, calls) = ordered();
    assert_eq!(manager.unregister_slot_request(allocation(1)), CancelOutcome::Cancelled);
    calls.borrow_mut().clear();

    // when
    clock.advance(10 * SECOND);
    manager.run_until_stalled();

    // then
    assert_eq!(*calls.borrow(), ["stopped", "dropped"]);
}

#[test]
fn gateway_of_a_lost_task_manager_is_only_dropped() {
    let (mut manager, _, calls) = ordered();
    let outcome = manager.unregister_task_manager(instance(7), "lost");
    assert_eq!(outcome, UnregistrationOutcome::Unregistered);
    assert_eq!(*calls.borrow(), ["registered", "slot requested", "dropped"]);
}

#[test]
fn refused_registration_is_not_confirmed() {
    // given: the report names a slot twice
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    let slot = SlotStatus::free(slot("tm", 0), small());

    // when
    let connection = TaskExecutorConnection::new("tm", instance(7), gateway.clone());
    let result = fixture.try_register(connection, &SlotReport::new(vec![slot.clone(), slot]));

    // then
    assert!(result.is_err());
    assert!(!gateway.is_registered());
}

#[test]
fn connection_returns_its_parts() {
    // given, when
    let connection = TaskExecutorConnection::new("tm", instance(7), "the way");

    // then
    assert_eq!(connection.resource_id(), &ResourceId::new("tm"));
    assert_eq!(connection.instance_id(), instance(7));
    assert_eq!(connection.gateway(), &"the way");
    assert_eq!(connection.worker_request(), None);
    let started_for = worker_request(3);
    let connection = connection.with_worker_request(started_for);
    assert_eq!(connection.worker_request(), Some(started_for));
}

/// B.14: instance ids are not shared
#[test]
fn registration_with_the_instance_id_of_another_worker_is_refused() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]));
    let before = fixture.view();

    // when
    let connection = TaskExecutorConnection::new("other", instance(7), fixture.gateway());
    let refused = fixture.try_register(connection.clone(), &report("other", &[None]));

    // then
    let expected = RegistrationError::InstanceOfAnotherWorker {
        instance_id: instance(7),
        registered: ResourceId::new("tm"),
        resource_id: ResourceId::new("other"),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();

    // when, then: the id is available once its registration has ended
    fixture.unregister(7);
    assert_eq!(
        fixture.try_register(connection, &report("other", &[None])),
        Ok(RegistrationOutcome::Registered)
    );
}

// The same registration again.

/// B.14
#[test]
fn repeated_registration_is_a_report() {
    // given
    let mut fixture = Fixture::new();
    let first = fixture.register_by_hand("tm", 7, &report("tm", &[None, Some(2)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let second = fixture.gateway();
    let outcome = fixture.register_with("tm", 7, &report("tm", &[None, None]), &second);

    // then: the attempt goes on, and the first connection stays in use
    assert_eq!(outcome, RegistrationOutcome::Reported(ReportOutcome::Applied));
    fixture.expect(&["lost 2 on tm_1: free"]);
    assert_eq!(first.pending().len(), 1);
    fixture.request(3, &small());
    assert_eq!((first.pending().len(), second.take_calls()), (2, vec![]));
}

/// B.14
#[test]
fn repeated_registration_with_an_overtaken_report_is_ignored() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]).with_revision(5));

    // when
    let outcome = fixture.register_with("tm", 7, &report("tm", &[None]).with_revision(4), &fixture.gateway());

    // then
    let stale = Stale {
        revision: 4,
        highest_seen: 5,
    };
    assert_eq!(outcome, RegistrationOutcome::Reported(ReportOutcome::Ignored(stale)));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect_nothing();
}

// A new registration of a registered worker.

/// B.14
#[test]
fn new_registration_of_a_worker_replaces_the_old_one() {
    // given: 1 holds a slot, 2 and 3 are in flight to others, one is free
    let mut fixture = Fixture::new();
    let old = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None, None, None]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when
    let new = fixture.gateway_by_hand();
    let outcome = fixture.register_with("tm", 8, &report("tm", &[Some(1), None, None, None]), &new);

    // then: 1 has lost nothing; 2 and 3 are sent again, to the new gateway only
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(7) });
    fixture.expect(&["request tm_1 for 2 #3", "request tm_2 for 3 #4"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(new.pending().iter().all(|request| request.instance_id == instance(8)));
    assert_eq!(
        (
            fixture.manager.overview().task_managers,
            fixture.manager.overview().slots.registered.slots
        ),
        (1, 4)
    );

    // then: the old attempts are given up, so their answers change nothing
    assert_eq!(old.pending(), []);
    assert_eq!(old.answer(1, acknowledged()), Err(NotPending { attempt: 1 }));
    assert_eq!(fixture.run(), 0);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 1))));

    // then: the old registration is unknown, and its end leaves the new one alone
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.report(7, &report("tm", &[])), ReportOutcome::Unknown);
    assert!(fixture.manager.task_manager(instance(7)).is_none());
    assert_eq!(fixture.manager.overview().slots.registered.slots, 4);

    // then: the new registration is like any other
    fixture.answer(&new, 3, acknowledged());
    fixture.expect(&["granted 2 on tm_1"]);
    assert_eq!(
        fixture.report(8, &report("tm", &[Some(1), Some(2), None, None])),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.unregister(8), UnregistrationOutcome::Unregistered);
    fixture.expect(&["lost 1 on tm_0: unregistered", "lost 2 on tm_1: unregistered", &ask(1)]);
    assert_eq!(fixture.manager.overview().slots.registered.slots, 0);
}

/// B.14
#[test]
fn new_registration_loses_only_grants_that_it_does_not_show() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), Some(4), Some(5)]));

    // when: 1 stays, 2 is gone, 30 holds the slot of 3, 4 has a new slot, the slot of 5 is gone
    let now = SlotReport::new(vec![
        held_by(slot("tm", 0), 1, 1),
        SlotStatus::free(slot("tm", 1), small()),
        held_by(slot("tm", 2), 30, 1),
        held_by(slot("tm", 9), 4, 1),
    ]);
    fixture.register("tm", 8, &now);

    // then
    fixture.expect(&[
        "lost 2 on tm_1: free",
        "lost 3 on tm_2: held by 30",
        "lost 5 on tm_4: removed",
    ]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(4), Some(granted(&slot("tm", 9))));
    assert_eq!(fixture.status(30), Some(granted(&slot("tm", 2))));
    assert_eq!(
        (
            fixture.manager.overview().task_managers,
            fixture.manager.overview().slots.registered.slots
        ),
        (1, 4)
    );
}

#[test]
fn new_registration_keeps_grants_that_changed_places() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2)]));

    // when, then
    assert_eq!(
        fixture.register_with("tm", 2, &report("tm", &[Some(2), Some(1)]), &fixture.gateway()),
        RegistrationOutcome::Replaced { previous: instance(1) }
    );
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    let owner = fixture
        .manager
        .slot(&slot("tm", 0))
        .expect("a known slot")
        .task_manager();
    assert_eq!(owner.instance_id(), instance(2));
}

#[test]
fn lost_grant_of_the_old_registration_names_its_job() {
    // given
    let mut fixture = Fixture::new();
    let held = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(42));
    fixture.register("tm", 1, &[held].into_iter().collect());

    // when
    fixture.register("tm", 2, &report("tm", &[None]));

    // then
    let notified = fixture.actions.take();
    assert!(
        matches!(
            &notified[..],
            [Action::NotifyAllocationFailure { job_id, .. }] if *job_id == job(42)
        ),
        "{notified:?}"
    );

    // when, then: the allocation id is available again
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

/// B.14
#[test]
fn new_registration_that_shows_an_attempt_in_flight_grants_it() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.register_by_hand("tm", 8, &report("tm", &[Some(1), None]));

    // then
    fixture.expect(&["granted 1 on tm_0"]);
    assert!(fixture.is_free(&slot("tm", 1)));
}

/// B.14
#[test]
fn old_slots_serve_no_request_while_a_worker_registers_again() {
    // given: 1 and 2 wait for more than the worker has
    let wide = profile(4.0, 400);
    let mut fixture = Fixture::new();
    let old = fixture.register_free("tm", 7, &[small(), small()]);
    fixture.request(1, &wide);
    fixture.request(2, &wide);
    fixture.log.take();

    // when: it comes back with one slot that is wide enough
    let new = fixture.register_free("tm", 8, &[small(), wide.clone()]);

    // then
    assert_eq!(old.take_calls(), []);
    assert_eq!(new.take_calls().len(), 1);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
}

#[test]
fn waiting_requests_are_matched_once_with_the_slots_of_the_new_registration() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(6), Some(7)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when
    fixture.register("tm", 2, &report("tm", &[Some(1), None, None]));

    // then
    fixture.expect(&[
        "granted 1 on tm_0",
        "lost 6 on tm_0: held by 1",
        "lost 7 on tm_1: free",
        "request tm_1 for 2 #1",
        "request tm_2 for 3 #2",
        "granted 2 on tm_1",
        "granted 3 on tm_2",
    ]);
}

/// B.14
#[test]
fn refused_registration_leaves_the_old_one_in_place() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None]));
    fixture.request(2, &small());
    let before = fixture.view();
    fixture.log.take();

    // when
    let mut statuses = report("tm", &[None]).statuses().to_vec();
    statuses.extend(free_report("other", &[small()]).statuses().iter().cloned());
    let connection = TaskExecutorConnection::new("tm", instance(8), fixture.gateway());
    let refused = fixture.try_register(connection, &SlotReport::new(statuses));

    // then
    let expected = InvalidReport::ForeignSlot {
        resource_id: ResourceId::new("tm"),
        slot_id: slot("other", 0),
    };
    assert_eq!(refused, Err(expected.into()));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 2 on tm_1"]);
}

/// B.14
#[test]
fn new_registration_has_an_idle_time_of_its_own() {
    // given
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(Duration::from_secs(10)));
    fixture.register("tm", 7, &report("tm", &[None]));
    fixture.advance(Duration::from_secs(6));

    // when
    fixture.register("tm", 8, &report("tm", &[None]));

    // then
    let idle_since = fixture
        .manager
        .task_manager(instance(8))
        .expect("registered")
        .idle_since();
    assert_eq!(idle_since, Some(Timestamp::from_secs(6)));
    fixture.advance(Duration::from_secs(10) - Duration::from_nanos(1));
    fixture.expect_nothing();
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&["may 8 go? #1", "release 8, idle since +6s (1)"]);
}

/// B.38: a process that was started anew counts its revisions from the beginning
#[test]
fn new_registration_counts_its_own_revisions() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]).with_revision(100));

    // when
    let outcome = fixture.register_with("tm", 8, &report("tm", &[None]).with_revision(0), &fixture.gateway());

    // then
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(7) });
    fixture.expect(&["lost 1 on tm_0: free"]);
    let revision = fixture
        .manager
        .task_manager(instance(8))
        .expect("registered")
        .revision();
    assert_eq!(revision, Some(0));

    // when, then
    assert_eq!(
        fixture.report(8, &report("tm", &[Some(2)]).with_revision(1)),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

/// B.38
#[test]
fn late_messages_of_an_older_registration_change_nothing() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, None]));
    fixture.register("tm", 8, &report("tm", &[Some(1), None]));

    // when: the end of the first registration, and a report of it, come late
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(
        fixture.report(7, &report("tm", &[None, Some(9)])),
        ReportOutcome::Unknown
    );

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert!(fixture.is_free(&slot("tm", 1)));
    let registered: Vec<_> = fixture
        .manager
        .task_managers()
        .map(|registration| registration.instance_id())
        .collect();
    assert_eq!(registered, [instance(8)]);
}

// The end of a registration.

/// B.21
#[test]
fn unregistration_sends_nothing_to_the_task_manager_that_ends() {
    for answered_at_once in [false, true] {
        // given: two attempts are in flight to a task manager; it and another have a free slot each
        let mut fixture = Fixture::new();
        let dying = fixture.register_by_hand("dying", 1, &report("dying", &[None, None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.register_free("other", 2, &[small()]);
        if answered_at_once {
            dying.answer_requests(acknowledged());
        }
        fixture.log.take();

        // when
        fixture.unregister(1);

        // then: the older request moves, the other waits
        fixture.expect(&["request other_0 for 1 #3", &ask(1), "granted 1 on other_0"]);
        assert_eq!(dying.pending(), []);
        assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
        assert_eq!(fixture.manager.overview().slots.registered.slots, 1);
    }
}

#[test]
fn registration_with_another_leader_is_refused() {
    // given: the message to the former leader comes late
    let mut fixture = Fixture::new();
    let (present, former) = (LeaderId::from_u128(1), LeaderId::from_u128(9));
    let before = fixture.view();

    // when, then
    let connection = TaskExecutorConnection::new("tm", instance(7), fixture.gateway());
    let refused = fixture.try_register(connection.clone().with_leader(former), &report("tm", &[None]));
    let expected = RegistrationError::OtherLeader { named: former, present };
    assert_eq!(refused, Err(expected));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();

    // when, then
    let accepted = fixture.try_register(connection.with_leader(present), &report("tm", &[None]));
    assert_eq!(accepted, Ok(RegistrationOutcome::Registered));
}
