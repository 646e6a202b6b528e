//! Task managers that register, register again, and change their slots. Comments name the defects of FLINK-5810 that
//! the tests guard against.

use std::time::Duration;

use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor};
use slot_manager::{
    AllocationStatus, LeaderId, NotStarted, RegistrationOutcome, ReportOutcome, ResourceId, SlotManager, SlotReport,
    SlotReportError, SlotStatus, Stale, TaskExecutorConnection, Timestamp, UnregistrationOutcome, WorkerRequestId,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, free_report, granted, instance, job, patient, profile, report, request,
    slot, small,
};

fn held_by(number: u32, id: u128) -> SlotStatus {
    SlotStatus::allocated(slot("tm", number), small(), allocation(id), job(1))
}

/// What can be seen of a manager.
fn seen(fixture: &Fixture) -> String {
    let manager = &fixture.manager;
    format!(
        "{:#?} {:#?} {:#?} {:#?}",
        Vec::from_iter(manager.task_managers()),
        Vec::from_iter(manager.slots()),
        Vec::from_iter(manager.pending_slot_requests()),
        manager.next_deadline(),
    )
}

/// B.14
#[test]
fn new_registration_of_a_worker_takes_the_place_of_the_old_one() {
    // given: 1 holds a slot, 2 is in flight to another, one is free
    let mut fixture = Fixture::new();
    let old = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None, None]));
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let new = fixture.gateway_by_hand();
    let outcome = fixture.register_with("tm", 8, &report("tm", &[Some(1), None, None]), &new);

    // then: 1 has lost nothing, 2 is asked for anew, in the name of the new registration
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(7) });
    fixture.expect(&["request tm_1 for 2 #2"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(new.pending()[0].instance_id, instance(8));
    assert_eq!(old.pending(), [], "the old attempt is given up");
    assert_eq!(
        (
            fixture.manager.num_task_managers(),
            fixture.manager.slot_counts().registered
        ),
        (1, 3)
    );

    // then: the old one is unknown, and takes nothing of the new one along
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.report(7, &report("tm", &[])), ReportOutcome::Unknown);
    assert!(fixture.manager.task_manager(instance(7)).is_none());
    assert_eq!(fixture.manager.slot_counts().registered, 3);

    // then: the new one is as any other
    fixture.answer(&new, 2, acknowledged());
    fixture.expect(&["granted 2 on tm_1"]);
    assert_eq!(
        fixture.report(8, &report("tm", &[Some(1), Some(2), None])),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.unregister(8), UnregistrationOutcome::Unregistered);
    fixture.expect(&["lost 1 on tm_0: unregistered", "lost 2 on tm_1: unregistered"]);
    assert_eq!(fixture.manager.slot_counts().registered, 0);
}

/// B.14
#[test]
fn new_registration_loses_only_what_it_does_not_show() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), Some(4), Some(5)]));

    // when: 1 stays, 2 is gone, another holds the slot of 3, 4 moved there where 5 was, the slot of 5 went with it
    let now = SlotReport::new(vec![
        held_by(0, 1),
        SlotStatus::free(slot("tm", 1), small()),
        held_by(2, 30),
        held_by(9, 4),
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
    assert_eq!(fixture.manager.slot_counts().registered, 4);
}

/// B.14: an attempt to the old registration that was answered on the way
#[test]
fn new_registration_that_shows_an_attempt_in_flight_completes_it() {
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.log.take();

    fixture.register_by_hand("tm", 8, &report("tm", &[Some(1), None]));

    fixture.expect(&["granted 1 on tm_0"]);
    assert!(fixture.is_free(&slot("tm", 1)));
}

/// B.14: matched once, when the new registration is complete
#[test]
fn old_slots_serve_nobody_while_a_worker_registers_again() {
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

/// B.14: refused whole, so the old registration goes on
#[test]
fn registration_that_is_refused_leaves_the_old_one_in_place() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None]));
    fixture.request(2, &small());
    let before = seen(&fixture);
    fixture.log.take();

    // when
    let mut statuses = report("tm", &[None]).statuses().to_vec();
    statuses.extend(free_report("other", &[small()]).statuses().iter().cloned());
    let connection = TaskExecutorConnection::new("tm", instance(8), fixture.gateway());
    let refused = fixture.try_register(connection, &SlotReport::new(statuses));

    // then
    let expected = SlotReportError::ForeignSlot {
        resource_id: ResourceId::new("tm"),
        slot_id: slot("other", 0),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(seen(&fixture), before);
    fixture.expect(&[]);
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 2 on tm_1"]);
}

/// B.14: the idle time of the new registration is its own
#[test]
fn new_registration_is_idle_from_its_own_time_on() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(Duration::from_secs(10)));
    fixture.register("tm", 7, &report("tm", &[None]));
    fixture.advance(Duration::from_secs(6));

    fixture.register("tm", 8, &report("tm", &[None]));

    let idle_since = fixture
        .manager
        .task_manager(instance(8))
        .expect("registered")
        .idle_since();
    assert_eq!(idle_since, Some(Timestamp::from_secs(6)));
    fixture.advance(Duration::from_secs(10) - Duration::from_nanos(1));
    fixture.expect(&[]);
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&["may 8 go? #1", "release 8, idle since +6s (1)"]);
}

/// B.14, A.3: the same registration again is a report
#[test]
fn registration_that_is_repeated_is_a_report() {
    // given
    let mut fixture = Fixture::new();
    let first = fixture.register_by_hand("tm", 7, &report("tm", &[None, Some(2)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let second = fixture.gateway();
    let outcome = fixture.register_with("tm", 7, &report("tm", &[None, None]), &second);

    // then: the attempt goes on, the first connection is used further
    assert_eq!(outcome, RegistrationOutcome::Reported(ReportOutcome::Applied));
    fixture.expect(&["lost 2 on tm_1: free"]);
    assert_eq!(first.pending().len(), 1);
    fixture.request(3, &small());
    assert_eq!((first.pending().len(), second.take_calls()), (2, vec![]));
}

/// B.14: a stale repetition as well
#[test]
fn stale_registration_that_is_repeated_is_ignored() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]).with_revision(5));

    let outcome = fixture.register_with("tm", 7, &report("tm", &[None]).with_revision(4), &fixture.gateway());

    let stale = Stale {
        revision: 4,
        highest_seen: 5,
    };
    assert_eq!(outcome, RegistrationOutcome::Reported(ReportOutcome::Ignored(stale)));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect(&[]);
}

/// B.14: ids of registrations are not shared
#[test]
fn registration_with_the_id_of_another_worker_is_refused() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]));
    let before = seen(&fixture);

    let connection = TaskExecutorConnection::new("other", instance(7), fixture.gateway());
    let refused = fixture.try_register(connection, &report("other", &[None]));

    let expected = SlotReportError::InstanceOfAnotherWorker {
        instance_id: instance(7),
        registered: ResourceId::new("tm"),
        resource_id: ResourceId::new("other"),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(seen(&fixture), before);
    fixture.expect(&[]);
}

/// B.38
#[test]
fn late_end_of_an_older_registration_does_not_end_the_newer_one() {
    // given: the worker registered, was given up, and registered again meanwhile
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]));
    fixture.register("tm", 8, &report("tm", &[Some(1)]));

    // when: the end of the first, and a report of it, come late
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.report(7, &report("tm", &[None])), ReportOutcome::Unknown);

    // then
    fixture.expect(&[]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    let registered: Vec<_> = fixture
        .manager
        .task_managers()
        .map(|registration| registration.instance_id())
        .collect();
    assert_eq!(registered, [instance(8)]);
}

/// B.38: revisions belong to a registration, because a process that was started anew counts from the beginning
#[test]
fn new_registration_counts_its_own_revisions() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]).with_revision(100));

    let outcome = fixture.register_with("tm", 8, &report("tm", &[None]).with_revision(0), &fixture.gateway());

    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(7) });
    fixture.expect(&["lost 1 on tm_0: free"]);
    assert_eq!(
        fixture.report(8, &report("tm", &[Some(2)]).with_revision(1)),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
}

/// B.38: unregistered and registered again, also with the id it had
#[test]
fn worker_can_register_after_it_was_unregistered() {
    for number in [7, 8] {
        let mut fixture = Fixture::new();
        fixture.register("tm", 7, &report("tm", &[Some(1)]));
        fixture.unregister(7);
        fixture.expect(&["lost 1 on tm_0: unregistered"]);

        let outcome = fixture.register_with("tm", number, &report("tm", &[Some(1), None]), &fixture.gateway());

        assert_eq!(outcome, RegistrationOutcome::Registered);
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
        fixture.expect(&[]);
    }
}

/// B.41
#[test]
fn slots_that_a_report_omits_are_removed_and_their_owners_told() {
    // given: held, in flight, free; and a free slot elsewhere
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None, None, Some(4)]));
    fixture.request(2, &small());
    fixture.register_free("other", 8, &[small()]);
    fixture.log.take();

    // when: only the last is left
    fixture.report(7, &SlotReport::new(vec![held_by(3, 4)]));

    // then: 1 is told, 2 moves on
    fixture.expect(&[
        "lost 1 on tm_0: removed",
        "request other_0 for 2 #2",
        "granted 2 on other_0",
    ]);
    assert_eq!(gateway.pending(), []);
    for number in 0..3 {
        assert!(fixture.manager.slot(&slot("tm", number)).is_none());
    }
    assert_eq!(fixture.manager.slot_counts().registered, 2);
    assert_eq!(fixture.request(5, &small()), AllocationStatus::Waiting);
}

/// B.41
#[test]
fn slots_that_a_report_adds_serve_waiting_requests() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    fixture.request(2, &small());
    fixture.log.take();

    // Numbers need not be dense, nor in order.
    let more = SlotReport::new(vec![
        SlotStatus::free(slot("tm", u32::MAX), small()),
        held_by(0, 1),
        held_by(5, 3),
    ]);
    fixture.report(7, &more);

    let last = slot("tm", u32::MAX);
    fixture.expect(&[&format!("request {last} for 2 #1"), &format!("granted 2 on {last}")]);
    assert_eq!(fixture.status(3), Some(granted(&slot("tm", 5))));
    let numbers: Vec<_> = fixture
        .manager
        .slots()
        .map(|view| view.slot_id().slot_number())
        .collect();
    assert_eq!(numbers, [0, 5, u32::MAX]);
}

/// B.41: an empty report is complete, too
#[test]
fn empty_report_removes_every_slot_but_not_the_task_manager() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    assert_eq!(fixture.report(7, &report("tm", &[])), ReportOutcome::Applied);

    fixture.expect(&["lost 1 on tm_0: removed"]);
    assert_eq!(
        (
            fixture.manager.num_task_managers(),
            fixture.manager.slot_counts().registered
        ),
        (1, 0)
    );
    fixture.report(7, &report("tm", &[None]));
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

/// B.41: reports that cannot be true are refused whole
#[test]
fn report_that_names_a_foreign_slot_or_one_twice_changes_nothing() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None, None]).with_revision(3));
    fixture.request(2, &small());
    let before = seen(&fixture);
    fixture.log.take();

    let twice = SlotReport::new(vec![held_by(2, 9), held_by(1, 8), held_by(2, 9)]);
    let foreign = SlotReport::new(vec![held_by(0, 9), SlotStatus::free(slot("tn", 0), small())]);
    for (report, expected) in [
        (twice, SlotReportError::DuplicateSlot { slot_id: slot("tm", 2) }),
        (
            foreign,
            SlotReportError::ForeignSlot {
                resource_id: ResourceId::new("tm"),
                slot_id: slot("tn", 0),
            },
        ),
    ] {
        // when
        let refused = fixture.try_report(7, &report.clone().with_revision(9));
        let connection = TaskExecutorConnection::new("tm", instance(9), fixture.gateway());
        let not_registered = fixture.try_register(connection, &report);

        // then: neither slots nor the revision have changed
        assert_eq!(refused, Err(expected.clone()));
        assert_eq!(not_registered, Err(expected));
        assert_eq!(seen(&fixture), before);
        assert_eq!(
            fixture
                .manager
                .task_manager(instance(7))
                .expect("registered")
                .revision(),
            Some(3)
        );
        fixture.expect(&[]);
    }
}

/// B.43: the leadership ended while the worker was connecting
#[test]
fn registration_that_finishes_after_the_leadership_leaves_no_trace() {
    // given
    let mut fixture = Fixture::new();
    let connection = TaskExecutorConnection::new("tm", instance(7), fixture.gateway());

    // when
    fixture.step(SlotManager::suspend).expect("started");
    let refused = fixture.try_register(connection, &report("tm", &[None]));

    // then
    assert_eq!(refused, Err(SlotReportError::NotStarted(NotStarted)));
    fixture.start(2);
    assert_eq!(fixture.manager.num_task_managers(), 0);
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(1)]);
}

/// B.43: it finishes under the next leader, which the task executor does not know: its messages are refused there
#[test]
fn task_executor_of_a_former_leader_grants_nothing_to_the_next() {
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

    // then: neither side believes that the slot is given away
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

#[test]
fn a_connection_says_what_it_was_made_of() {
    let connection = TaskExecutorConnection::new("tm", instance(7), "the way");
    assert_eq!(connection.resource_id(), &ResourceId::new("tm"));
    assert_eq!(connection.instance_id(), instance(7));
    assert_eq!(connection.gateway(), &"the way");
    assert_eq!(connection.worker_request(), None);

    let started_for = WorkerRequestId::new(3);
    let connection = connection.with_worker_request(started_for);
    assert_eq!(connection.worker_request(), Some(started_for));
}
