//! The number of changes: it grows exactly when the queries may show something else.

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::message::{ReleaseDecision, Withdrawal};
use slot_manager::outcome::{CancelOutcome, RegistrationOutcome, ReportOutcome, SlotFreedOutcome};
use slot_manager::{SlotReport, TaskExecutorConnection};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, free_report, freed, instance, patient, profile, release_check, report,
    slot, small,
};

/// Makes a call and checks whether the number of changes grew.
#[track_caller]
fn assert_grows<T>(grows: bool, fixture: &mut Fixture, call: impl FnOnce(&mut Fixture) -> T) -> T {
    let before = (fixture.manager.changes(), fixture.view());
    let result = call(fixture);
    let after = (fixture.manager.changes(), fixture.view());
    match grows {
        true => assert!(after.0 > before.0, "{} is not more than {}", after.0, before.0),
        false => assert_eq!(after, before),
    }
    result
}

#[track_caller]
fn changed<T>(fixture: &mut Fixture, call: impl FnOnce(&mut Fixture) -> T) -> T {
    assert_grows(true, fixture, call)
}

#[track_caller]
fn unchanged<T>(fixture: &mut Fixture, call: impl FnOnce(&mut Fixture) -> T) -> T {
    assert_grows(false, fixture, call)
}

#[test]
fn leaderships_are_changes() {
    let mut fixture = Fixture::not_started(patient());
    changed(&mut fixture, |fixture| fixture.start(1));
    changed(&mut fixture, Fixture::suspend);
    changed(&mut fixture, |fixture| fixture.start(2));
}

#[test]
fn setting_of_an_operator_is_a_change_before_the_start_too() {
    let mut fixture = Fixture::not_started(patient());
    changed(&mut fixture, |fixture| fixture.set_fail_unfulfillable(true));
    unchanged(&mut fixture, |fixture| fixture.set_fail_unfulfillable(true));
}

#[test]
fn inputs_that_change_records_are_changes() {
    let mut fixture = Fixture::new();
    changed(&mut fixture, |fixture| {
        fixture.register("tm", 1, &report("tm", &[None, None]))
    });
    changed(&mut fixture, |fixture| fixture.request(1, &small()));
    changed(&mut fixture, |fixture| fixture.free(&slot("tm", 0), 1));
    changed(&mut fixture, |fixture| fixture.block("tm"));
    changed(&mut fixture, |fixture| fixture.request(2, &small()));
    changed(&mut fixture, |fixture| fixture.cancel(2));
    changed(&mut fixture, |fixture| fixture.unblock("tm"));
    changed(&mut fixture, |fixture| {
        fixture.report(1, &report("tm", &[Some(9), None]))
    });
    changed(&mut fixture, |fixture| fixture.report(1, &report("tm", &[Some(9)])));
    changed(&mut fixture, |fixture| {
        fixture.register("tm", 2, &report("tm", &[Some(9)]))
    });
    fixture.promise_next(&[small()]);
    changed(&mut fixture, |fixture| fixture.request(3, &small()));
    changed(&mut fixture, |fixture| fixture.worker_failed(2));
    changed(&mut fixture, |fixture| fixture.unregister_job(1));
    changed(&mut fixture, |fixture| fixture.set_fail_unfulfillable(true));
    changed(&mut fixture, |fixture| fixture.unregister(2));
}

#[test]
fn heartbeat_is_no_change() {
    // given
    let mut fixture = Fixture::new();
    let usual = report("tm", &[Some(9), None, None]);
    fixture.register("tm", 1, &usual);

    // when, then
    let applied = unchanged(&mut fixture, |fixture| fixture.report(1, &usual));
    assert_eq!(applied, ReportOutcome::Applied);

    // when, then: in another order
    let turned: SlotReport = usual.statuses().iter().rev().cloned().collect();
    let applied = unchanged(&mut fixture, |fixture| fixture.report(1, &turned));
    assert_eq!(applied, ReportOutcome::Applied);

    // when, then: as a registration
    let connection = TaskExecutorConnection::new("tm", instance(1), fixture.gateway());
    let registered = unchanged(&mut fixture, |fixture| fixture.try_register(connection, &usual));
    assert_eq!(registered, Ok(RegistrationOutcome::Reported(ReportOutcome::Applied)));
}

#[test]
fn heartbeat_with_a_known_revision_is_no_change() {
    // given
    let mut fixture = Fixture::new();
    let usual = report("tm", &[Some(9), None]);
    fixture.register("tm", 1, &usual.clone().with_revision(3));

    // when, then
    unchanged(&mut fixture, |fixture| {
        fixture.report(1, &usual.clone().with_revision(3))
    });
    unchanged(&mut fixture, |fixture| fixture.report(1, &usual));

    // when, then: views show the new revision
    changed(&mut fixture, |fixture| {
        fixture.report(1, &usual.clone().with_revision(4))
    });
    assert_eq!(
        fixture
            .manager
            .task_manager(instance(1))
            .expect("registered")
            .revision(),
        Some(4)
    );
}

#[test]
fn report_that_shows_a_slot_in_flight_as_free_is_no_change() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when, then
    unchanged(&mut fixture, |fixture| fixture.report(1, &report("tm", &[None])));
}

#[test]
fn newer_revision_of_a_slot_that_was_freed_before_is_a_change() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]).with_revision(4));
    let freed = freed(&slot("tm", 0), 1).with_revision(instance(7), 5);

    // when, then
    let outcome = changed(&mut fixture, |fixture| {
        fixture.step(|manager| manager.slot_freed(&freed))
    });
    assert_eq!(outcome, SlotFreedOutcome::NotAllocated);
}

#[test]
fn report_that_confirms_an_attempt_is_a_change() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when, then
    changed(&mut fixture, |fixture| fixture.report(1, &report("tm", &[Some(1)])));
}

#[test]
fn report_of_another_profile_is_a_change() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when, then: of a slot that is used and of one that is free
    for profiles in [[profile(2.0, 200)], [profile(3.0, 200)]] {
        changed(&mut fixture, |fixture| fixture.report(1, &free_report("tm", &profiles)));
    }
}

#[test]
fn duplicates_are_no_changes() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.block("other");

    // when, then
    for id in [1, 2] {
        let duplicate = unchanged(&mut fixture, |fixture| fixture.try_request(1, id, &small()));
        assert!(duplicate.is_ok());
    }
    unchanged(&mut fixture, |fixture| fixture.block("other"));
    unchanged(&mut fixture, |fixture| fixture.set_fail_unfulfillable(false));
}

#[test]
fn refused_inputs_are_no_changes() {
    // given
    let worker = WorkerDescription::new(1, small()).expect("a worker with slots");
    let workers = WorkerPolicy::new(worker).with_max_slots(Some(1));
    let config = patient().with_workers(workers).with_max_pending_requests(Some(1));
    let mut fixture = Fixture::with(config);
    fixture.register("tm", 1, &report("tm", &[Some(9)]).with_revision(5));
    fixture.request(1, &small());

    // when, then: requests
    unchanged(&mut fixture, |fixture| fixture.try_request(2, 1, &small())).expect_err("of another job");
    unchanged(&mut fixture, |fixture| fixture.try_request(1, 2, &small())).expect_err("too many");

    // when, then: reports
    unchanged(&mut fixture, |fixture| fixture.try_report(1, &report("other", &[None]))).expect_err("foreign slot");
    let stale = report("tm", &[None]).with_revision(4);
    let ignored = unchanged(&mut fixture, |fixture| fixture.report(1, &stale));
    assert!(matches!(ignored, ReportOutcome::Ignored(_)));

    // when, then: registrations
    unchanged(&mut fixture, |fixture| {
        fixture.is_refused("new", 2, &report("new", &[None]));
    });
    let counters = fixture.manager.counters();
    assert_eq!(
        (
            counters.reports_refused,
            counters.reports_stale,
            counters.task_managers_refused
        ),
        (1, 1, 1)
    );
}

#[test]
fn unknown_inputs_are_no_changes() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(9)]));
    let cancelled = unchanged(&mut fixture, |fixture| fixture.cancel(7));
    assert_eq!(cancelled, CancelOutcome::Unknown);
    unchanged(&mut fixture, |fixture| fixture.cancel(9));
    unchanged(&mut fixture, |fixture| fixture.unregister_job(7));
    unchanged(&mut fixture, |fixture| fixture.free(&slot("tm", 0), 7));
    unchanged(&mut fixture, |fixture| fixture.free(&slot("tm", 7), 9));
    unchanged(&mut fixture, |fixture| fixture.unregister(7));
    unchanged(&mut fixture, |fixture| fixture.report(7, &report("tm", &[None])));
    unchanged(&mut fixture, |fixture| fixture.worker_failed(7));
    unchanged(&mut fixture, |fixture| fixture.unblock("tm"));
    let check = release_check(1, 7);
    unchanged(&mut fixture, |fixture| {
        fixture.answer_release(&check, ReleaseDecision::Release)
    });
}

#[test]
fn time_and_polls_without_events_are_no_changes() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when, then
    unchanged(&mut fixture, Fixture::run);
    unchanged(&mut fixture, |fixture| fixture.advance(9 * SECOND));

    // when, then: two requests time out
    let events = changed(&mut fixture, |fixture| fixture.advance(SECOND));
    assert_eq!(events, 2);
}

#[test]
fn deadline_without_an_effect_is_a_change() {
    // given
    let mut fixture = Fixture::with(patient().with_recovery_timeout(10 * SECOND));
    assert!(fixture.manager.next_deadline().is_some());

    // when, then
    changed(&mut fixture, |fixture| fixture.advance(10 * SECOND));
    fixture.expect_nothing();
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn answers_are_changes() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when, then
    changed(&mut fixture, |fixture| fixture.answer(&gateway, 1, acknowledged()));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
}

/// The reserve is filled step by step when a worker brings fewer slots than described.
#[test]
fn worker_request_within_a_heartbeat_is_a_change() {
    // given
    let worker = WorkerDescription::new(2, small()).expect("a worker with slots");
    let config = patient().with_workers(WorkerPolicy::new(worker).with_min_slots(4));
    let mut fixture = Fixture::not_started(config);
    for _ in 0..3 {
        fixture.promise_next(&[small()]);
    }
    fixture.start(1);
    let usual = report("tm", &[]);
    fixture.register("tm", 1, &usual);
    let promised = fixture.promised();

    // when, then
    fixture.promise_next(&[small()]);
    changed(&mut fixture, |fixture| fixture.report(1, &usual));
    assert_ne!(fixture.promised(), promised);
}

/// A manager with task manager 1 without slots, and a minimum of four slots that the end of the
/// recovery requests. The two workers bring twice as many.
fn with_surplus() -> Fixture {
    let worker = WorkerDescription::new(2, small()).expect("a worker with slots");
    let config = patient().with_workers(WorkerPolicy::new(worker).with_min_slots(4));
    let mut fixture = Fixture::with(config.with_recovery_timeout(10 * SECOND));
    fixture.register("tm", 1, &report("tm", &[]));
    for _ in 0..2 {
        fixture.promise_next(&vec![small(); 4]);
    }
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.promised(), (0, 8));
    fixture
}

#[test]
fn withdrawal_within_a_heartbeat_is_a_change() {
    // given
    let mut fixture = with_surplus();
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);

    // when, then
    changed(&mut fixture, |fixture| fixture.report(1, &report("tm", &[])));
    assert_eq!(fixture.promised(), (0, 4));
}

/// Task manager 1 with two free slots is kept for the minimum, until the workers that are requested
/// at last bring enough.
#[test]
fn release_within_a_heartbeat_is_a_change() {
    for answer in [ReleaseDecision::Release, ReleaseDecision::Keep, ReleaseDecision::Later] {
        // given
        let worker = WorkerDescription::new(2, small()).expect("a worker with slots");
        let config = patient().with_workers(WorkerPolicy::new(worker).with_min_slots(4));
        let config = config.with_recovery_timeout(10 * SECOND);
        let mut fixture = Fixture::with(config.with_task_manager_timeout(5 * SECOND));
        let usual = report("tm", &[None, None]);
        let gateway = fixture.register("tm", 1, &usual);
        gateway.answer_release_checks(answer);
        fixture.promise_next(&vec![small(); 4]);
        for _ in 0..2 {
            fixture.advance(5 * SECOND);
        }
        assert_eq!(fixture.promised(), (0, 4));

        // when, then
        fixture.log.take();
        changed(&mut fixture, |fixture| fixture.report(1, &usual));
        assert!(!fixture.log.take().is_empty(), "the task executor is asked");
    }
}
