//! The future `progress` may be dropped between any two polls, or before the first, and nothing is
//! lost.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use slot_manager::message::Release;
use slot_manager::testing::{Effect, ScriptedGateway};

use super::Task;
use crate::common::{Fixture, SECOND, acknowledged, patient, profile, rejected, report, slot, small};

/// A manager with some task managers, whose gateways are answered by hand.
struct Scenario {
    fixture: Fixture,
    gateways: Vec<ScriptedGateway>,
}

impl Scenario {
    fn new() -> Self {
        let config = patient()
            .with_request_timeout(20 * SECOND)
            .with_rpc_timeout(4 * SECOND)
            .with_task_manager_timeout(6 * SECOND)
            .with_worker_registration_timeout(5 * SECOND);
        let fixture = Fixture::with(config);
        fixture.actions.answer_next_release(Release::Declined);
        Self {
            fixture,
            gateways: Vec::new(),
        }
    }

    fn register(&mut self, instance: u128, slots: usize) {
        let worker = format!("tm-{instance}");
        let report = report(&worker, &vec![None; slots]);
        self.gateways
            .push(self.fixture.register_by_hand(&worker, instance, &report));
    }

    /// Answers an attempt, without driving the manager.
    fn answer(
        &self,
        attempt: u64,
        answer: Result<slot_manager::message::Acknowledge, slot_manager::error::SlotAllocationError>,
    ) {
        let answered = self
            .gateways
            .iter()
            .find(|gateway| gateway.answer(attempt, answer.clone()).is_ok());
        assert!(answered.is_some(), "attempt {attempt} awaits its answer");
    }
}

/// Inputs, answers and time, between which the manager is not driven.
const STEPS: &[fn(&mut Scenario)] = &[
    |s| s.register(1, 2),
    |s| {
        s.fixture.request(1, &small());
        s.fixture.request(2, &small());
    },
    |s| {
        s.fixture.request(3, &small());
    },
    |s| s.answer(1, rejected()),
    |s| s.answer(2, acknowledged()),
    |s| s.fixture.clock.advance(2 * SECOND),
    |s| s.register(2, 1),
    |s| s.fixture.clock.advance(3 * SECOND),
    |s| {
        s.fixture.request(9, &profile(9.0, 0));
    },
    |s| {
        s.fixture.free(&slot("tm-1", 1), 2);
    },
    |s| s.fixture.clock.advance(4 * SECOND),
    |s| {
        s.fixture.report(2, &report("tm-2", &[Some(1)]));
    },
    |s| s.fixture.clock.advance(SECOND),
    |s| {
        s.fixture.cancel(3);
    },
    |s| s.fixture.clock.advance(7 * SECOND),
    |s| {
        s.fixture.unregister(2);
    },
    |s| s.fixture.clock.advance(30 * SECOND),
];

/// Returns all effects if `drive` drives the manager after each step, whose number it gets.
fn effects(mut drive: impl FnMut(&mut Fixture, usize)) -> Vec<Effect> {
    let mut scenario = Scenario::new();
    for (number, step) in STEPS.iter().enumerate() {
        step(&mut scenario);
        drive(&mut scenario.fixture, number);
    }
    scenario.fixture.log.take()
}

/// Returns all effects if no future is dropped.
fn undisturbed() -> Vec<Effect> {
    let effects = effects(|fixture, _| {
        fixture.run();
    });
    assert!(effects.len() > 15, "too few effects: {effects:#?}");
    effects
}

/// Polls a new `progress` once and drops it.
#[track_caller]
fn poll_once(fixture: &mut Fixture, task: &Task) -> Poll<usize> {
    fixture.step(|manager| pin!(manager.progress()).poll(&mut task.context()))
}

#[test]
fn every_future_may_be_dropped_after_one_poll() {
    let task = Task::new();
    let disturbed = effects(|fixture, _| while poll_once(fixture, &task).is_ready() {});
    assert_eq!(disturbed, undisturbed());
}

#[test]
fn future_may_be_polled_and_dropped_at_any_point_before_the_manager_is_driven() {
    let expected = undisturbed();
    let task = Task::new();
    for point in 0..STEPS.len() {
        for polls in [1, 2, 5] {
            let disturbed = effects(|fixture, number| {
                if number == point {
                    for _ in 0..polls {
                        let _dropped = poll_once(fixture, &task);
                    }
                }
                fixture.run();
            });
            assert_eq!(disturbed, expected, "{polls} polls after step {point}");
        }
    }
}

#[test]
fn future_that_is_dropped_before_its_first_poll_does_nothing() {
    let disturbed = effects(|fixture, _| {
        fixture.step(|manager| drop(manager.progress()));
        fixture.run();
    });
    assert_eq!(disturbed, undisturbed());
}

#[test]
fn answer_that_comes_while_no_future_exists_is_found_by_the_next() {
    // given: a future that was dropped, and whose waker is still known
    let task = Task::new();
    let mut scenario = Scenario::new();
    scenario.register(1, 1);
    scenario.fixture.request(1, &small());
    assert_eq!(poll_once(&mut scenario.fixture, &task), Poll::Pending);
    task.wakes();
    scenario.fixture.log.take();

    // when
    scenario.answer(1, acknowledged());
    assert_eq!(task.wakes(), 1);
    scenario.fixture.expect_nothing();

    // then
    assert_eq!(poll_once(&mut scenario.fixture, &task), Poll::Ready(1));
    scenario.fixture.expect(&["granted 1 on tm-1_0"]);
    assert_eq!(poll_once(&mut scenario.fixture, &task), Poll::Pending);
}

#[test]
fn future_that_is_polled_several_times_is_ready_with_the_number_of_its_events() {
    // given
    let task = Task::new();
    let mut fixture = Fixture::with(patient().with_request_timeout(SECOND));
    fixture.request(1, &small());
    fixture.request(2, &small());
    let Fixture { manager, clock, .. } = &mut fixture;

    // when, then
    {
        let mut progress = pin!(manager.progress());
        assert!(progress.as_mut().poll(&mut task.context()).is_pending());
        clock.advance(Duration::from_millis(999));
        assert!(progress.as_mut().poll(&mut task.context()).is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(progress.as_mut().poll(&mut task.context()), Poll::Ready(2));
    }
    fixture.check();
}
