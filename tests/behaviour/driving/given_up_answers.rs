//! The future of an attempt that was given up is dropped in the call that gives it up, so that no late answer can
//! arrive.

use std::time::Duration;

use slot_manager::testing::{GatewayAnswer, NotPending, ScriptedGateway};
use slot_manager::{Acknowledge, SlotManager, SlotReport};

use crate::common::{Fixture, free_report, job, patient, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// Request 1 is in flight to `tm_0` as attempt 1.
fn one_in_flight() -> (Fixture, ScriptedGateway) {
    let config = patient().with_rpc_timeout(5 * SECOND).with_request_timeout(8 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.advance(SECOND);
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_next(GatewayAnswer::ByHand);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    assert_eq!(gateway.pending().len(), 1);
    (fixture, gateway)
}

#[track_caller]
fn assert_given_up(way: impl FnOnce(&mut Fixture)) {
    let (mut fixture, gateway) = one_in_flight();
    way(&mut fixture);
    assert!(gateway.pending().iter().all(|request| request.attempt > 1));
    let late = gateway.answer(1, Ok(Acknowledge::new()));
    assert_eq!(late, Err(NotPending { attempt: 1 }));
    let before = (fixture.status(1), fixture.manager.slot_counts());
    fixture.log.take();
    assert_eq!(fixture.run(), 0);
    fixture.expect(&[""; 0]);
    assert_eq!((fixture.status(1), fixture.manager.slot_counts()), before);
}

#[test]
fn when_the_request_is_cancelled() {
    assert_given_up(|fixture| {
        fixture.cancel(1);
    });
}

#[test]
fn when_its_job_is_gone() {
    assert_given_up(|fixture| {
        fixture.step(|manager| manager.unregister_job(job(1))).expect("started");
    });
}

#[test]
fn when_the_request_reaches_its_deadline() {
    assert_given_up(|fixture| {
        fixture.advance(8 * SECOND);
    });
}

#[test]
fn when_the_rpc_timeout_is_over() {
    assert_given_up(|fixture| {
        fixture.advance(5 * SECOND);
    });
}

#[test]
fn when_a_report_shows_the_slot_held_by_another() {
    assert_given_up(|fixture| {
        fixture.report(1, &report("tm", &[Some(7)]));
    });
}

#[test]
fn when_a_report_shows_the_slot_held_by_the_request() {
    assert_given_up(|fixture| {
        fixture.report(1, &report("tm", &[Some(1)]));
    });
}

#[test]
fn when_a_report_does_not_show_the_slot() {
    assert_given_up(|fixture| {
        fixture.report(1, &SlotReport::default());
    });
}

#[test]
fn when_the_request_turns_out_to_be_served_elsewhere() {
    assert_given_up(|fixture| {
        fixture.register("other", 2, &report("other", &[Some(1)]));
    });
}

#[test]
fn when_the_slot_is_freed() {
    assert_given_up(|fixture| {
        fixture.free(&slot("tm", 0), 1);
    });
}

#[test]
fn when_the_task_manager_is_unregistered() {
    assert_given_up(|fixture| {
        fixture.unregister(1);
    });
}

#[test]
fn when_the_task_manager_registers_anew() {
    assert_given_up(|fixture| {
        let gateway = fixture.gateway();
        gateway.answer_requests(GatewayAnswer::ByHand);
        fixture.register_with("tm", 2, &free_report("tm", &[small()]), &gateway);
    });
}

#[test]
fn when_the_manager_is_suspended() {
    assert_given_up(|fixture| {
        fixture.step(SlotManager::suspend).expect("it was started");
    });
}

#[test]
fn when_the_manager_is_dropped() {
    let (fixture, gateway) = one_in_flight();
    drop(fixture);
    assert_eq!(gateway.pending(), []);
}

/// The answer was on its way already when the deadline came, but nobody looked.
#[test]
fn an_answer_that_was_there_in_time_counts_even_if_nobody_looked() {
    let (mut fixture, gateway) = one_in_flight();
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    fixture.log.take();
    fixture.advance(100 * SECOND);
    fixture.expect(&["granted 1 on tm_0"]);
}
