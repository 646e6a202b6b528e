//! `progress` may be dropped between any two polls, or before the first, and nothing is lost.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use slot_manager::testing::{Effect, GatewayAnswer, ScriptedGateway};
use slot_manager::{Acknowledge, Release, SlotAllocationError};

use super::Task;
use crate::common::{Fixture, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

struct Scenario {
    f: Fixture,
    gateways: Vec<ScriptedGateway>,
}

impl Scenario {
    fn new() -> Self {
        let config = patient()
            .with_request_timeout(20 * SECOND)
            .with_rpc_timeout(4 * SECOND)
            .with_task_manager_timeout(6 * SECOND)
            .with_worker_registration_timeout(5 * SECOND);
        let f = Fixture::with(config);
        f.actions.answer_next_release(Release::Declined);
        Self {
            f,
            gateways: Vec::new(),
        }
    }

    fn register(&mut self, instance: u128, slots: usize) {
        let worker = format!("tm-{instance}");
        let gateway = self.f.register_free(&worker, instance, &vec![small(); slots]);
        gateway.answer_requests(GatewayAnswer::ByHand);
        self.gateways.push(gateway);
    }

    fn answer(&self, attempt: u64, answer: Result<Acknowledge, SlotAllocationError>) {
        let answered = self
            .gateways
            .iter()
            .find(|gateway| gateway.answer(attempt, answer.clone()).is_ok());
        assert!(answered.is_some(), "attempt {attempt} is pending");
    }
}

/// Inputs, answers and time, with nothing driven in between.
const STEPS: &[fn(&mut Scenario)] = &[
    |s| s.register(1, 2),
    |s| {
        s.f.request(1, &small());
        s.f.request(2, &small());
    },
    |s| {
        s.f.request(3, &small());
    },
    |s| s.answer(1, Err(SlotAllocationError::rejected("no"))),
    |s| s.answer(2, Ok(Acknowledge::new())),
    |s| s.f.clock.advance(2 * SECOND),
    |s| s.register(2, 1),
    |s| s.f.clock.advance(3 * SECOND),
    |s| {
        s.f.request(9, &profile(9.0, 0));
    },
    |s| {
        s.f.free(&slot("tm-1", 1), 2);
    },
    |s| s.f.clock.advance(4 * SECOND),
    |s| {
        s.f.report(2, &report("tm-2", &[Some(1)]));
    },
    |s| s.f.clock.advance(SECOND),
    |s| {
        s.f.cancel(3);
    },
    |s| s.f.clock.advance(7 * SECOND),
    |s| {
        s.f.unregister(2);
    },
    |s| s.f.clock.advance(30 * SECOND),
];

/// All effects when the manager is driven in this way after each step.
fn effects(mut drive: impl FnMut(&mut Fixture, usize)) -> Vec<Effect> {
    let mut scenario = Scenario::new();
    for (number, step) in STEPS.iter().enumerate() {
        step(&mut scenario);
        drive(&mut scenario.f, number);
    }
    scenario.f.log.take()
}

fn undisturbed() -> Vec<Effect> {
    let effects = effects(|f, _| {
        f.run();
    });
    assert!(effects.len() > 15, "it says little: {effects:#?}");
    effects
}

/// Polls a new `progress` once and drops it.
#[track_caller]
fn poll_once(f: &mut Fixture, task: &Task) -> Poll<usize> {
    f.step(|manager| pin!(manager.progress()).poll(&mut task.context()))
}

#[test]
fn every_future_is_dropped_after_one_poll() {
    let task = Task::new();
    let disturbed = effects(|f, _| while poll_once(f, &task).is_ready() {});
    assert_eq!(disturbed, undisturbed());
}

#[test]
fn at_every_point_a_future_is_polled_and_dropped_before_the_manager_is_driven() {
    let expected = undisturbed();
    let task = Task::new();
    for point in 0..STEPS.len() {
        for polls in [1, 2, 5] {
            let disturbed = effects(|f, number| {
                if number == point {
                    for _ in 0..polls {
                        let _dropped = poll_once(f, &task);
                    }
                }
                f.run();
            });
            assert_eq!(disturbed, expected, "{polls} polls after step {point}");
        }
    }
}

#[test]
fn a_future_that_is_dropped_before_its_first_poll_does_nothing() {
    let disturbed = effects(|f, _| {
        f.step(|manager| drop(manager.progress()));
        f.run();
    });
    assert_eq!(disturbed, undisturbed());
}

/// The waker of a dropped future still says that there is something to do.
#[test]
fn what_comes_while_no_future_exists_is_found_by_the_next() {
    let task = Task::new();
    let mut s = Scenario::new();
    s.register(1, 1);
    s.f.request(1, &small());
    assert_eq!(poll_once(&mut s.f, &task), Poll::Pending);
    task.wakes();
    s.f.said();

    s.answer(1, Ok(Acknowledge::new()));
    assert_eq!(task.wakes(), 1);
    assert_eq!(s.f.said(), [""; 0]);
    assert_eq!(poll_once(&mut s.f, &task), Poll::Ready(1));
    assert_eq!(s.f.said(), ["granted 1 on tm-1_0"]);
    assert_eq!(poll_once(&mut s.f, &task), Poll::Pending);
}

#[test]
fn a_future_that_waited_long_is_ready_with_what_it_did() {
    let task = Task::new();
    let mut f = Fixture::with(patient().with_request_timeout(SECOND));
    f.request(1, &small());
    f.request(2, &small());
    let Fixture { manager, clock, .. } = &mut f;
    {
        let mut progress = pin!(manager.progress());
        assert!(progress.as_mut().poll(&mut task.context()).is_pending());
        clock.advance(Duration::from_millis(999));
        assert!(progress.as_mut().poll(&mut task.context()).is_pending());
        clock.advance(Duration::from_millis(1));
        assert_eq!(progress.as_mut().poll(&mut task.context()), Poll::Ready(2));
    }
    f.check();
}
