//! A worker that registers again: the same registration reports, a new one takes the place of the old in one
//! transaction.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationStatus, RegistrationOutcome, ReportOutcome, SlotReportError, SlotStatus, Stale, TaskExecutorConnection,
    Timestamp, UnregistrationOutcome, WorkerPromise,
};

use crate::common::{
    Fixture, allocation, free_report, granted, in_flight, instance, job, profile, report, slot, slot_requests, small,
};

#[test]
fn the_same_instance_id_is_a_report() {
    let mut fixture = Fixture::new();
    let first = fixture.register("tm", 1, &report("tm", &[Some(1)]));
    let second = fixture.gateway();
    assert_eq!(
        fixture.register_with("tm", 1, &report("tm", &[None]), &second),
        RegistrationOutcome::Reported(ReportOutcome::Applied)
    );
    fixture.expect(&["lost 1 on tm_0: free"]);

    fixture.request(2, &small());
    assert_eq!(first.take_calls().len(), 1, "the first connection stays");
    assert_eq!(second.take_calls(), []);
}

#[test]
fn the_same_instance_id_with_an_overtaken_report_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]).with_revision(5));
    let stale = Stale {
        revision: 4,
        highest_seen: 5,
    };
    assert_eq!(
        fixture.register_with("tm", 1, &report("tm", &[None]).with_revision(4), &fixture.gateway()),
        RegistrationOutcome::Reported(ReportOutcome::Ignored(stale))
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn a_new_registration_keeps_the_grants_that_it_shows() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2)]));
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
fn only_what_a_new_registration_does_not_show_is_lost_and_it_says_how() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2), Some(3), Some(4)]));
    fixture.register("tm", 2, &report("tm", &[None, Some(9), Some(3)]));
    fixture.expect(&[
        "lost 1 on tm_0: free",
        "lost 2 on tm_1: held by 9",
        "lost 4 on tm_3: removed",
    ]);
    assert_eq!(fixture.manager.num_task_managers(), 1);
    assert_eq!(fixture.manager.slot_counts().registered, 3);
}

#[test]
fn attempts_in_flight_to_the_old_registration_are_given_up_and_made_again() {
    let mut fixture = Fixture::new();
    let old = fixture.register_free("tm", 1, &[small(), small()]);
    old.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    let new = fixture.gateway();
    new.answer_requests(GatewayAnswer::ByHand);
    fixture.register_with("tm", 2, &report("tm", &[None, None]), &new);

    assert_eq!(old.pending(), []);
    let effects = fixture.log.take();
    let sent: Vec<_> = slot_requests(&effects)
        .iter()
        .map(|request| (request.allocation_id, request.instance_id, request.attempt))
        .collect();
    assert_eq!(sent, [(allocation(1), instance(2), 3), (allocation(2), instance(2), 4)]);
    assert_eq!(effects.len(), 2, "the old connection is gone: nothing is said to it");
}

#[test]
fn an_attempt_that_the_new_registration_shows_as_done_is_granted() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.register("tm", 2, &report("tm", &[Some(1)]));
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn a_new_registration_that_is_refused_leaves_the_old_one_as_it_was() {
    let mut fixture = Fixture::new();
    let old = fixture.register("tm", 1, &report("tm", &[None, Some(7)]));
    old.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    let statuses = vec![
        SlotStatus::free(slot("tm", 0), small()),
        SlotStatus::free(slot("x", 0), small()),
    ];
    let connection = TaskExecutorConnection::new("tm", instance(2), fixture.gateway());
    let refused = fixture.try_register(connection, &statuses.into_iter().collect());
    assert!(matches!(refused, Err(SlotReportError::ForeignSlot { .. })));

    assert!(fixture.manager.task_manager(instance(2)).is_none());
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    assert_eq!(fixture.status(7), Some(granted(&slot("tm", 1))));
    assert_eq!(old.pending().len(), 1);
    fixture.expect_nothing();
}

#[test]
fn waiting_requests_are_matched_once_with_what_the_new_registration_has() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(6), Some(7)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();
    fixture.register("tm", 2, &report("tm", &[Some(1), None, None]));
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

#[test]
fn what_came_after_the_old_registration_does_not_end_the_new_one() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.register("tm", 2, &report("tm", &[Some(1)]));
    assert_eq!(fixture.unregister(1), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.report(1, &report("tm", &[None])), ReportOutcome::Unknown);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect_nothing();
}

#[test]
fn revisions_begin_anew_with_a_new_registration() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(90));
    fixture.register("tm", 2, &report("tm", &[Some(1)]).with_revision(0));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    let revision = fixture
        .manager
        .task_manager(instance(2))
        .expect("it is registered")
        .revision();
    assert_eq!(revision, Some(0));
    assert_eq!(
        fixture.report(2, &report("tm", &[None]).with_revision(1)),
        ReportOutcome::Applied
    );
}

#[test]
fn a_new_registration_is_idle_from_its_own_beginning_on() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.advance(Duration::from_secs(9));
    fixture.register_free("tm", 2, &[small()]);
    let idle_since = fixture
        .manager
        .task_manager(instance(2))
        .expect("it is registered")
        .idle_since();
    assert_eq!(idle_since, Some(Timestamp::from_secs(9)));
}

#[test]
fn slots_that_the_worker_had_before_take_no_promise_and_new_ones_do() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![profile(0.5, 0); 2])));
    fixture.request(1, &profile(0.5, 0));
    fixture.cancel(1);
    assert_eq!(fixture.manager.promised_slot_counts().unbound, 2);

    fixture.register_free("tm", 2, &[small()]);
    assert_eq!(fixture.manager.promised_slot_counts().unbound, 2);
    fixture.register_free("tm", 3, &[small(), small()]);
    assert_eq!(fixture.manager.promised_slot_counts().unbound, 1);
}

#[test]
fn an_instance_id_belongs_to_one_worker() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    let connection = TaskExecutorConnection::new("other", instance(1), fixture.gateway());
    assert_eq!(
        fixture.try_register(connection, &free_report("other", &[small()])),
        Err(SlotReportError::InstanceOfAnotherWorker {
            instance_id: instance(1),
            registered: "tm".into(),
            resource_id: "other".into(),
        })
    );
    assert_eq!(fixture.manager.num_task_managers(), 1);
    // It is free again when its registration has ended.
    fixture.unregister(1);
    let connection = TaskExecutorConnection::new("other", instance(1), fixture.gateway());
    assert_eq!(
        fixture.try_register(connection, &free_report("other", &[small()])),
        Ok(RegistrationOutcome::Registered)
    );
}

#[test]
fn a_lost_grant_of_the_old_registration_says_the_job_it_belonged_to() {
    let mut fixture = Fixture::new();
    let held = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(42));
    fixture.register("tm", 1, &[held].into_iter().collect());
    fixture.register("tm", 2, &report("tm", &[None]));
    let told = fixture.actions.take();
    assert!(
        matches!(
            &told[..],
            [slot_manager::testing::Action::NotifyAllocationFailure { job_id, .. }] if *job_id == job(42)
        ),
        "{told:?}"
    );
    assert_eq!(
        fixture.request(1, &small()),
        granted(&slot("tm", 0)),
        "the id is free again"
    );
    assert_ne!(fixture.status(1), Some(AllocationStatus::Waiting));
}
