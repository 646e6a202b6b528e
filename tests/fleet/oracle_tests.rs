//! The oracle on histories made by hand: it finds each broken promise, and accepts what a good
//! manager does.

use std::time::Duration;

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::{ResourceProfile, SlotManagerConfig, Timestamp};

use crate::fleet::oracle::record::{AskAnswer, Observed, ReportedSlot};
use crate::fleet::oracle::{Oracle, Rule, Settings};
use crate::fleet::scenario::cores;
use crate::fleet::workers::Conduct;

/// A history, told to an oracle step by step. Allocations are numbered as their attempts.
struct Told {
    oracle: Oracle,
}

impl Told {
    fn with(config: &SlotManagerConfig) -> Self {
        Self {
            oracle: Oracle::new(Settings::of(config)),
        }
    }

    fn new() -> Self {
        Self::with(&SlotManagerConfig::default())
    }

    /// Workers have two one-core slots.
    fn described(change: impl FnOnce(WorkerPolicy) -> WorkerPolicy) -> Self {
        let description = WorkerDescription::new(2, cores(1)).expect("a valid description");
        let policy = change(WorkerPolicy::new(description));
        Self::with(&SlotManagerConfig::default().with_workers(policy))
    }

    /// Tells the effects of one call at a time.
    fn at(mut self, seconds: f64, call: impl IntoIterator<Item = Observed>) -> Self {
        self.oracle.advance(Timestamp::ZERO + Duration::from_secs_f64(seconds));
        for observed in call {
            self.oracle.observe(&observed);
        }
        self.oracle.call_ended();
        self
    }

    /// Returns the rules that are broken by then.
    fn broken_at(mut self, seconds: f64) -> Vec<Rule> {
        self.oracle.advance(Timestamp::ZERO + Duration::from_secs_f64(seconds));
        self.oracle.broken().iter().map(|broken| broken.rule).collect()
    }
}

fn slots(number: u32, profile: &ResourceProfile) -> Vec<ReportedSlot> {
    (0..number).map(|slot| (slot, profile.clone(), None)).collect()
}

fn registered(worker: usize, number: u32, conduct: Conduct) -> Observed {
    Observed::Registered {
        worker,
        slots: slots(number, &cores(1)),
        names: None,
        came_for: None,
        conduct,
        answer_time: Duration::ZERO,
    }
}

/// A worker that came for a worker request.
fn came_for(ask: u64, worker: usize, number: u32, is_named: bool) -> Observed {
    Observed::Registered {
        worker,
        slots: slots(number, &cores(1)),
        names: is_named.then_some(ask),
        came_for: Some(ask),
        conduct: Conduct::Healthy,
        answer_time: Duration::ZERO,
    }
}

fn requested_by(job: u64, allocation: u64) -> Observed {
    Observed::Requested {
        allocation,
        job,
        profile: cores(1),
        is_poisoned: false,
    }
}

fn requested(allocation: u64) -> Observed {
    requested_by(1, allocation)
}

fn poisoned(allocation: u64) -> Observed {
    Observed::Requested {
        allocation,
        job: 9,
        profile: cores(1),
        is_poisoned: true,
    }
}

fn attempt(allocation: u64, worker: usize, slot: u32, number: u64) -> Observed {
    Observed::Attempt {
        allocation,
        worker,
        slot,
        number,
    }
}

fn refused(allocation: u64, number: u64) -> Observed {
    Observed::AttemptFailed {
        allocation,
        number,
        is_unreachable: false,
    }
}

fn granted(allocation: u64, worker: usize, slot: u32) -> Observed {
    Observed::Granted {
        allocation,
        worker,
        slot,
    }
}

fn asked(ask: u64) -> Observed {
    Observed::Asked {
        ask,
        promised: vec![cores(1); 2],
        answer: AskAnswer::Promised,
    }
}

#[test]
fn request_that_is_granted_at_once_breaks_nothing() {
    let told = Told::new()
        .at(0.0, [registered(0, 2, Conduct::Healthy)])
        .at(1.0, [requested(1), attempt(1, 0, 0, 1), granted(1, 0, 0)]);
    assert_eq!(told.broken_at(1_000.0), []);
}

#[test]
fn request_that_waits_beside_a_free_slot_breaks_l1_after_a_second() {
    let told = || {
        Told::new()
            .at(0.0, [registered(0, 2, Conduct::Healthy)])
            .at(1.0, [requested(1)])
    };
    assert_eq!(told().broken_at(2.0), []);
    assert_eq!(told().broken_at(2.1), [Rule::L1]);
}

#[test]
fn slot_that_a_poisoned_request_tries_counts_as_free() {
    let told = Told::new()
        .at(0.0, [registered(0, 1, Conduct::Healthy)])
        .at(1.0, [poisoned(9), attempt(9, 0, 0, 1)])
        .at(1.0, [requested(1), asked(1)]);
    assert_eq!(told.broken_at(2.1), [Rule::L1]);
}

#[test]
fn slot_of_a_blocked_bad_or_busy_worker_does_not_count_for_l1() {
    let blocked = Observed::BlockChanged {
        worker: 0,
        is_blocked: true,
    };
    let asked_for_one = |told: Told| told.at(1.0, [requested(1), asked(1)]);
    let told = asked_for_one(Told::new().at(0.0, [registered(0, 1, Conduct::Healthy), blocked]));
    assert_eq!(told.broken_at(60.0), []);
    let told = asked_for_one(Told::new().at(0.0, [registered(0, 1, Conduct::Refusing)]));
    assert_eq!(told.broken_at(60.0), []);
    let used = [requested(5), attempt(5, 0, 0, 5), granted(5, 0, 0)];
    let told = asked_for_one(Told::new().at(0.0, [registered(0, 1, Conduct::Healthy)]).at(0.5, used));
    assert_eq!(told.broken_at(60.0), []);
}

#[test]
fn hanging_worker_delays_a_request_by_one_rpc_timeout() {
    let told = || {
        Told::new()
            .at(
                0.0,
                [registered(0, 2, Conduct::Hanging), registered(1, 1, Conduct::Healthy)],
            )
            .at(1.0, [requested(1), attempt(1, 0, 0, 1)])
    };
    let given_up = |number| Observed::GivenUp { allocation: 1, number };
    let right = told().at(11.0, [given_up(1), attempt(1, 1, 0, 2), granted(1, 1, 0)]);
    assert_eq!(right.broken_at(60.0), []);
    let wrong = told().at(11.0, [given_up(1), attempt(1, 0, 1, 2)]);
    assert_eq!(wrong.broken_at(12.1), [Rule::L1]);
}

#[test]
fn request_of_a_suspect_job_waits_for_other_jobs() {
    let told = Told::new()
        .at(0.0, [registered(0, 2, Conduct::Refusing)])
        .at(
            1.0,
            [requested(1), attempt(1, 0, 0, 1), requested(2), attempt(2, 0, 1, 2)],
        )
        .at(1.0, [refused(1, 1), refused(2, 2)])
        .at(2.0, [poisoned(9)])
        .at(2.0, [registered(1, 1, Conduct::Healthy)]);
    assert_eq!(told.broken_at(60.0), []);
}

#[test]
fn bad_worker_that_is_tried_once_for_each_backoff_breaks_nothing() {
    let mut told = Told::new().at(0.0, [registered(0, 4, Conduct::Refusing), requested(1)]);
    let (mut at, mut backoff) = (0.0, 0.05);
    for number in 1..60 {
        told = told.at(at, [attempt(1, 0, 0, number), refused(1, number)]);
        at += backoff;
        backoff = f64::min(2.0 * backoff, 10.0);
    }
    assert_eq!(told.broken_at(at), []);
}

#[test]
fn bad_worker_that_is_tried_once_for_each_slot_breaks_l2() {
    let mut told = Told::new().at(0.0, [registered(0, 40, Conduct::Refusing), requested(1)]);
    for number in 1..40 {
        let slot = u32::try_from(number).expect("small");
        told = told.at(0.0, [attempt(1, 0, slot, number), refused(1, number)]);
    }
    assert_eq!(told.broken_at(0.0), [Rule::L2]);
}

#[test]
fn recovered_worker_that_is_not_used_breaks_l3_after_a_backoff() {
    let recovered = Observed::ConductChanged {
        worker: 0,
        conduct: Conduct::Healthy,
    };
    let told = || {
        Told::new()
            .at(
                0.0,
                [registered(0, 2, Conduct::Refusing), requested(1), attempt(1, 0, 0, 1)],
            )
            .at(0.0, [refused(1, 1)])
            .at(30.0, [recovered.clone()])
    };
    assert_eq!(
        told()
            .at(40.0, [attempt(1, 0, 0, 2), granted(1, 0, 0)])
            .broken_at(100.0),
        []
    );
    assert_eq!(told().broken_at(52.0), [Rule::L3]);
}

#[test]
fn short_named_worker_without_another_worker_request_breaks_l4() {
    let told = || {
        Told::described(|policy| policy)
            .at(1.0, [requested(1), requested(2), asked(1)])
            .at(10.0, [came_for(1, 0, 1, true), attempt(1, 0, 0, 1), granted(1, 0, 0)])
    };
    assert_eq!(told().broken_at(11.1), [Rule::L4]);
    assert_eq!(told().at(10.0, [asked(2)]).broken_at(60.0), []);
}

#[test]
fn refusal_because_of_a_promise_breaks_l5() {
    let turned_away = Observed::TurnedAway {
        worker: 7,
        slots: slots(2, &cores(1)),
    };
    let told = |max| {
        Told::described(|policy| policy.with_max_slots(Some(max)))
            .at(1.0, [requested(1), asked(1)])
            .at(2.0, [turned_away.clone()])
    };
    assert_eq!(told(2).broken_at(2.0), [Rule::L5]);
    assert_eq!(told(1).broken_at(2.0), []);
}

#[test]
fn silent_worker_request_that_is_not_repeated_breaks_l6() {
    let told = || Told::described(|policy| policy).at(1.0, [requested(1), asked(1)]);
    assert_eq!(told().broken_at(299.0), [Rule::L6]);
    assert_eq!(told().at(120.0, [asked(2)]).broken_at(240.0), []);
}

#[test]
fn promise_that_outlives_all_workers_breaks_l7() {
    let told = || {
        Told::described(|policy| policy)
            .at(1.0, [requested(1), asked(1)])
            .at(10.0, [came_for(1, 0, 1, false), attempt(1, 0, 0, 1), granted(1, 0, 0)])
            .at(20.0, [requested(2)])
    };
    assert_eq!(told().broken_at(21.1), [Rule::L7]);
    assert_eq!(told().at(20.0, [asked(2)]).broken_at(60.0), []);
}

#[test]
fn missing_minimum_breaks_l7() {
    let told = || {
        Told::described(|policy| policy.with_min_slots(2))
            .at(0.0, [asked(1)])
            .at(5.0, [came_for(1, 0, 2, true)])
    };
    assert_eq!(told().broken_at(60.0), []);
    assert_eq!(
        told().at(60.0, [Observed::Gone { worker: 0 }]).broken_at(61.1),
        [Rule::L7]
    );
    assert_eq!(
        told()
            .at(60.0, [Observed::Gone { worker: 0 }, asked(2)])
            .broken_at(90.0),
        []
    );
}

#[test]
fn limit_and_declined_worker_requests_excuse_a_missing_worker_request() {
    let limited = Told::described(|policy| policy.with_max_slots(Some(1))).at(1.0, [requested(1)]);
    assert_eq!(limited.broken_at(60.0), []);
    let declined = Observed::Asked {
        ask: 1,
        promised: Vec::new(),
        answer: AskAnswer::Declined,
    };
    let told = Told::described(|policy| policy).at(1.0, [requested(1), declined]);
    assert_eq!(told.broken_at(60.0), []);
}

#[test]
fn idle_worker_of_another_shape_that_stays_breaks_the_rule_of_room() {
    let large = Observed::Requested {
        allocation: 1,
        job: 1,
        profile: cores(2),
        is_poisoned: false,
    };
    let description = WorkerDescription::new(2, cores(2)).expect("a valid description");
    let policy = WorkerPolicy::new(description).with_max_slots(Some(2));
    let told = || {
        Told::with(&SlotManagerConfig::default().with_workers(policy.clone()))
            .at(0.0, [registered(0, 2, Conduct::Healthy)])
            .at(5.0, [large.clone()])
    };
    assert_eq!(told().broken_at(30.5), []);
    assert_eq!(told().broken_at(31.1), [Rule::Room]);
    assert_eq!(
        told()
            .at(30.0, [Observed::Gone { worker: 0 }, asked(1)])
            .broken_at(60.0),
        []
    );
}

#[test]
fn frequent_worker_requests_while_starts_fail_break_the_rule_of_starts() {
    let mut told = Told::described(|policy| policy).at(1.0, [requested(1)]);
    for ask in 1..140 {
        told = told.at(1.0, [asked(ask)]).at(1.0, [Observed::AskFailed { ask }]);
    }
    assert_eq!(told.broken_at(1.0), [Rule::Starts]);
    let mut told = Told::described(|policy| policy).at(1.0, [requested(1)]);
    let mut at = 1.0;
    for ask in 1..140 {
        told = told.at(at, [asked(ask)]).at(at, [Observed::AskFailed { ask }]);
        at += if ask % 10 == 0 { 10.0 } else { 0.0 };
    }
    assert_eq!(told.broken_at(at), []);
}

#[test]
fn accepted_late_registration_is_a_violation() {
    let late = |is_accepted| Observed::LateRegistration { worker: 0, is_accepted };
    let told = || Told::new().at(0.0, [registered(0, 1, Conduct::Healthy)]);
    assert_eq!(told().at(1.0, [late(false)]).broken_at(1.0), []);
    assert_eq!(told().at(1.0, [late(true)]).broken_at(1.0), [Rule::Superseded]);
}

#[test]
fn unnamed_worker_may_take_the_promise_of_a_silent_worker_request() {
    let told = || {
        Told::described(|policy| policy)
            .at(1.0, [requested(1), requested(2), asked(1)])
            .at(50.0, [requested(3), requested(4), asked(2)])
            .at(60.0, [came_for(2, 0, 2, false)])
            .at(60.0, [attempt(1, 0, 0, 1), granted(1, 0, 0)])
            .at(60.0, [attempt(2, 0, 1, 2), granted(2, 0, 1)])
    };
    assert_eq!(told().broken_at(170.0), []);
    assert_eq!(told().at(170.0, [asked(3)]).broken_at(280.0), []);
    assert_eq!(told().broken_at(171.1), [Rule::L6]);
}

#[test]
fn worker_that_comes_before_the_end_of_the_deferral_does_not_end_it() {
    let ten = 1..11;
    let told = |until: f64| {
        let mut told = Told::described(|policy| policy).at(1.0, [requested(99)]);
        for ask in ten.clone() {
            told = told.at(1.0, [asked(ask)]).at(1.0, [Observed::AskFailed { ask }]);
        }
        told.at(2.0, [asked(11)])
            .at(
                until,
                [came_for(11, 0, 1, true), attempt(99, 0, 0, 1), granted(99, 0, 0)],
            )
            .at(until, (20..40).map(asked))
            .at(until, (100..160).map(requested))
    };
    assert_eq!(told(5.0).broken_at(60.0), []);
    assert_eq!(told(15.0).broken_at(17.0), [Rule::L4]);
}

#[test]
fn worker_request_that_expires_in_the_instant_of_a_registration_may_be_fulfilled() {
    let told = Told::described(|policy| policy)
        .at(1.0, [requested(1), requested(2), asked(1)])
        .at(50.0, [requested(3), requested(4), asked(2)])
        .at(121.0, [came_for(2, 0, 2, false)])
        .at(121.0, [attempt(1, 0, 0, 1), granted(1, 0, 0)])
        .at(121.0, [attempt(2, 0, 1, 2), granted(2, 0, 1)]);
    assert_eq!(told.broken_at(169.0), []);
}
