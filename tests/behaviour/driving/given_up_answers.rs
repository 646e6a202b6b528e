//! The call that gives an attempt up drops its future, so that no late answer can arrive.

use slot_manager::SlotReport;
use slot_manager::testing::{NotPending, ScriptedGateway};

use crate::common::{Fixture, SECOND, acknowledged, job, patient, report, slot, small};

/// Request 1 is in flight to `tm_0` as attempt 1. The RPC timeout ends at 6 s, the request at 9 s.
fn one_in_flight() -> (Fixture, ScriptedGateway) {
    let config = patient().with_rpc_timeout(5 * SECOND).with_request_timeout(8 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.advance(SECOND);
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    assert_eq!(gateway.pending().len(), 1);
    (fixture, gateway)
}

/// Checks that `end` ends attempt 1, and that its answer changes nothing afterwards.
#[track_caller]
fn assert_given_up(end: impl FnOnce(&mut Fixture)) {
    // given
    let (mut fixture, gateway) = one_in_flight();

    // when
    end(&mut fixture);

    // then
    assert!(gateway.pending().iter().all(|request| request.attempt > 1));
    let late = gateway.answer(1, acknowledged());
    assert_eq!(late, Err(NotPending { attempt: 1 }));
    let before = (fixture.status(1), fixture.manager.overview().slots.counts());
    fixture.log.take();
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
    assert_eq!((fixture.status(1), fixture.manager.overview().slots.counts()), before);
}

#[test]
fn attempt_ends_when_its_request_is_cancelled() {
    assert_given_up(|fixture| {
        fixture.cancel(1);
    });
}

#[test]
fn attempt_ends_when_its_job_is_unregistered() {
    assert_given_up(|fixture| {
        fixture.step(|manager| manager.unregister_job(job(1)));
    });
}

#[test]
fn attempt_ends_when_its_request_reaches_its_deadline() {
    assert_given_up(|fixture| {
        fixture.advance(8 * SECOND);
    });
}

#[test]
fn attempt_ends_at_the_rpc_timeout() {
    assert_given_up(|fixture| {
        fixture.advance(5 * SECOND);
    });
}

#[test]
fn attempt_ends_when_a_report_shows_its_slot_allocated_to_another() {
    assert_given_up(|fixture| {
        fixture.report(1, &report("tm", &[Some(7)]));
    });
}

#[test]
fn attempt_ends_when_a_report_shows_its_slot_allocated_to_its_request() {
    assert_given_up(|fixture| {
        fixture.report(1, &report("tm", &[Some(1)]));
    });
}

#[test]
fn attempt_ends_when_a_report_does_not_show_its_slot() {
    assert_given_up(|fixture| {
        fixture.report(1, &SlotReport::default());
    });
}

#[test]
fn attempt_ends_when_a_report_shows_its_request_granted_elsewhere() {
    assert_given_up(|fixture| {
        fixture.register("other", 2, &report("other", &[Some(1)]));
    });
}

#[test]
fn attempt_ends_when_its_slot_is_freed() {
    assert_given_up(|fixture| {
        fixture.free(&slot("tm", 0), 1);
    });
}

#[test]
fn attempt_ends_when_its_task_manager_is_unregistered() {
    assert_given_up(|fixture| {
        fixture.unregister(1);
    });
}

#[test]
fn attempt_ends_when_its_task_manager_registers_anew() {
    assert_given_up(|fixture| {
        fixture.register_by_hand("tm", 2, &report("tm", &[None]));
    });
}

#[test]
fn attempt_ends_when_the_manager_is_suspended() {
    assert_given_up(|fixture| {
        fixture.suspend();
    });
}

#[test]
fn attempt_ends_when_the_manager_is_dropped() {
    let (fixture, gateway) = one_in_flight();
    drop(fixture);
    assert_eq!(gateway.pending(), []);
}

#[test]
fn answer_that_was_ready_in_time_counts_even_if_the_manager_is_driven_late() {
    // given
    let (mut fixture, gateway) = one_in_flight();
    gateway
        .answer(1, acknowledged())
        .expect("the attempt awaits its answer");
    fixture.log.take();

    // when: long after both timeouts
    fixture.advance(100 * SECOND);

    // then
    fixture.expect(&["granted 1 on tm_0"]);
}
