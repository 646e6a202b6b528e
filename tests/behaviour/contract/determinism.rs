//! Equal inputs have equal effects, and the effects of one call leave in one order.

use std::time::Duration;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{Release, WorkerPromise};
use slot_manager::testing::{Effect, GatewayAnswer, ScriptedGateway};
use slot_manager::{SlotReport, SlotStatus};

use crate::common::{
    Fixture, NANOSECOND, SECOND, acknowledged, allocation, ask, job, occupied_by, patient, profile, rejected, report,
    slot, small,
};

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Returns the `n`th id of a series in no order.
    fn scattered(n: u128) -> u128 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)
    }
}

fn some_answer(number: u64) -> GatewayAnswer {
    match number {
        0..6 => GatewayAnswer::ByHand,
        6..9 => acknowledged().into(),
        9 => occupied_by(Numbers::scattered(900), 9).into(),
        _ => rejected().into(),
    }
}

fn some_promise(number: u64) -> Result<WorkerPromise, ResourceManagerError> {
    match number {
        0..3 => Ok(WorkerPromise::Slots(vec![profile(2.0, 0); 4])),
        3 => Ok(WorkerPromise::Unspecified),
        4..7 => Ok(WorkerPromise::Declined),
        _ => Err(ResourceManagerError::new("no quota")),
    }
}

/// Returns all effects of a long mix of inputs, answers and time.
fn run_some_cluster(hash_seed: Option<u64>) -> Vec<Effect> {
    let config = patient()
        .with_hash_seed(hash_seed)
        .with_request_timeout(40 * SECOND)
        .with_rpc_timeout(9 * SECOND)
        .with_task_manager_timeout(20 * SECOND)
        .with_worker_registration_timeout(12 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.actions.answer_releases(Release::Declined);
    let mut numbers = Numbers(7);
    let mut gateways: Vec<ScriptedGateway> = Vec::new();
    let mut effects = Vec::new();
    for step in 1..1200 {
        let worker = numbers.below(12);
        let name = format!("tm-{worker}");
        match numbers.below(12) {
            0..5 => {
                fixture.actions.answer_next_allocation(some_promise(numbers.below(8)));
                let needed = profile(1.0 + numbers.below(3) as f64, 0);
                let of_job = u128::from(numbers.below(4));
                let _accepted_or_refused = fixture.try_request(of_job, Numbers::scattered(step), &needed);
            }
            5 => {
                let gateway = fixture.register_free(&name, Numbers::scattered(step), &vec![profile(2.0, 0); 6]);
                for _ in 0..6 {
                    gateway.answer_next(some_answer(numbers.below(12)));
                }
                gateway.answer_requests(GatewayAnswer::ByHand);
                gateways.push(gateway);
            }
            6 => {
                let found = fixture.manager.task_manager_of(&name.as_str().into());
                if let Some(instance_id) = found.map(|found| found.instance_id()) {
                    fixture.step(|manager| manager.unregister_task_manager(instance_id, "lost"));
                }
            }
            7 => {
                let numbered = numbers.below(4).into();
                fixture.step(|manager| manager.unregister_job(job(numbered)));
            }
            8 => {
                fixture.worker_failed(numbers.below(60));
            }
            9 => {
                let id = Numbers::scattered(numbers.below(1200).into());
                fixture.cancel(id);
                fixture.free(&slot(&name, numbers.below(6) as u32), id);
            }
            _ => {
                for gateway in &gateways {
                    for request in gateway.pending() {
                        if numbers.below(2) == 0 {
                            let answered = gateway.answer(request.attempt, acknowledged());
                            answered.expect("the attempt awaits its answer");
                        }
                    }
                }
                fixture.advance(Duration::from_millis(numbers.below(3000)));
            }
        }
        effects.extend(fixture.log.take());
    }
    effects
}

#[test]
fn equal_inputs_have_equal_effects_in_equal_order() {
    let first = run_some_cluster(Some(0));
    assert!(first.len() > 1000, "too few effects: {}", first.len());
    assert_eq!(first, run_some_cluster(Some(0)));
}

#[test]
fn hash_seed_changes_neither_effects_nor_their_order() {
    let first = run_some_cluster(Some(0));
    for seed in [Some(1), Some(u64::MAX), None] {
        assert_eq!(first, run_some_cluster(seed), "{seed:?}");
    }
}

// The order of effects.

#[test]
fn one_call_notifies_frees_requests_slots_requests_workers_and_releases_in_this_order() {
    // given: at 10 s a request, an attempt, a declined worker request and an idle task manager are
    // due
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(7 * SECOND)
            .with_worker_registration_timeout(6 * SECOND)
            .with_rpc_timeout(5 * SECOND),
    );
    fixture.request(1, &profile(90.0, 0));
    fixture.advance(3 * SECOND);
    fixture.register_free("idle", 2, &[profile(0.5, 0)]);
    fixture.advance(SECOND);
    fixture.request(3, &profile(70.0, 0));
    fixture.advance(SECOND);
    let gateway = fixture.register_free("used", 1, &[small()]);
    gateway.answer_next(GatewayAnswer::ByHand);
    fixture.request(2, &small());
    fixture.register_free("spare", 4, &[small()]);
    fixture.advance(5 * SECOND - NANOSECOND);
    fixture.log.take();

    // when
    fixture.advance(NANOSECOND);

    // then: the second slot request is answered at once, which causes the last effect
    fixture.expect(&[
        "failed 1: timeout",
        "free used_0 of 2 #1",
        "request spare_0 for 2 #2",
        "ask 4 for {cpu: 70}",
        "may 2 go? #1",
        "release 2, idle since +3s (1)",
        "granted 2 on spare_0",
    ]);
}

#[test]
fn report_notifies_losses_then_frees_then_requests_slots_and_then_workers() {
    // given: tm_0 in flight to 5, tm_1 allocated; 2 waits for a big slot, and 6 is bound to a
    // promised one
    let mut fixture = Fixture::new();
    let big = profile(4.0, 0);
    let held = SlotStatus::allocated(slot("tm", 1), small(), allocation(9), job(1));
    let first_report = SlotReport::new(vec![SlotStatus::free(slot("tm", 0), small()), held]);
    fixture.register_by_hand("tm", 1, &first_report);
    fixture.request(5, &small());
    fixture.request(2, &big);
    fixture.promise_next(std::slice::from_ref(&big));
    fixture.request(6, &big);
    let spare = fixture.register_free("spare", 2, &[small()]);
    spare.answer_next(rejected());
    spare.answer_next(GatewayAnswer::ByHand);
    fixture.expect(&["request tm_0 for 5 #1", "ask 1 for {cpu: 4}", "ask 2 for {cpu: 4}"]);

    // when: a report contradicts the grant and the attempt, and brings the big slot
    fixture.report(
        1,
        &SlotReport::new(vec![
            SlotStatus::allocated(slot("tm", 0), small(), allocation(7), job(1)),
            SlotStatus::free(slot("tm", 1), profile(0.5, 0)),
            SlotStatus::free(slot("tm", 2), big),
        ]),
    );

    // then: slots are requested in the order of the requests; the spare slot was refused at once
    fixture.expect(&[
        "lost 9 on tm_1: free",
        "free tm_0 of 5 #1",
        "request spare_0 for 5 #2",
        "request tm_2 for 2 #3",
        "ask 3 for {cpu: 4}",
        "request spare_0 for 5 #4",
    ]);
}

#[test]
fn slot_requests_leave_in_the_order_of_the_requests_not_in_that_of_the_assignments() {
    // given: 1 waits for a big slot, and 2 is in flight
    let mut fixture = Fixture::new();
    let big = profile(4.0, 0);
    fixture.request(1, &big);
    let statuses = vec![
        SlotStatus::free(slot("tm", 0), small()),
        SlotStatus::allocated(slot("tm", 1), big.clone(), allocation(9), job(1)),
    ];
    fixture.register_by_hand("tm", 1, &SlotReport::new(statuses));
    fixture.request(2, &small());
    fixture.register_by_hand("spare", 2, &report("spare", &[None]));
    fixture.log.take();

    // when: 2 loses its slot and gets the slot of `spare`, and the big slot becomes free
    let statuses = vec![
        SlotStatus::allocated(slot("tm", 0), small(), allocation(7), job(1)),
        SlotStatus::free(slot("tm", 1), big),
    ];
    fixture.report(1, &SlotReport::new(statuses));

    // then
    fixture.expect(&[
        "lost 9 on tm_1: free",
        "free tm_0 of 2 #1",
        "request tm_1 for 1 #3",
        "request spare_0 for 2 #2",
    ]);
}

#[test]
fn lost_grants_are_notified_in_the_order_of_the_slots() {
    // given: slots are ordered by number, not by text and not by allocation
    let mut fixture = Fixture::new();
    let held = |number, id| SlotStatus::allocated(slot("tm", number), small(), allocation(id), job(1));
    fixture.register("tm", 1, &SlotReport::new(vec![held(10, 1), held(2, 3), held(9, 2)]));

    // when
    fixture.unregister(1);

    // then
    fixture.expect(&[
        "lost 3 on tm_2: unregistered",
        "lost 2 on tm_9: unregistered",
        "lost 1 on tm_10: unregistered",
    ]);
}

#[test]
fn grants_that_a_report_shows_are_notified_in_the_order_of_the_slots() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let held = |number, id| SlotStatus::allocated(slot("tm", number), small(), allocation(id), job(1));
    fixture.register("tm", 1, &SlotReport::new(vec![held(1, 1), held(0, 2)]));

    // then
    fixture.expect(&["granted 2 on tm_0", "granted 1 on tm_1"]);
}

#[test]
fn workers_are_requested_in_the_order_of_the_requests() {
    // given: one worker is promised for all
    let mut fixture = Fixture::new();
    fixture.promise_next(&vec![profile(9.0, 0); 3]);
    for (id, cores) in [(30, 3.0), (10, 1.0), (20, 2.0)] {
        fixture.request(id, &profile(cores, 0));
    }
    fixture.expect(&["ask 1 for {cpu: 3}"]);

    // when
    fixture.worker_failed(1);

    // then
    fixture.expect(&["ask 2 for {cpu: 3}", "ask 3 for {cpu: 1}", "ask 4 for {cpu: 2}"]);
}

#[test]
fn workers_are_requested_once_after_all_that_is_due() {
    // given: the promise for 1 and 2 ends together with the declined worker request of 3
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.promise_next(&[small(), small()]);
    for id in 1..=3 {
        fixture.request(id, &small());
    }
    fixture.expect(&[&ask(1), &ask(2)]);

    // when
    fixture.promise_next(&[small(), small(), small()]);
    assert_eq!(fixture.advance(10 * SECOND), 2);

    // then: one worker is enough for all three
    fixture.expect(&["withdraw 1", &ask(3)]);
}

// The order of inputs.

/// The answer that is applied first gives its slot to request 4.
#[test]
fn answers_that_are_ready_together_are_applied_in_the_order_of_their_attempts() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        // given
        let mut fixture = Fixture::new();
        let gateways = [("a", 1), ("b", 2), ("c", 3)]
            .map(|(worker, instance)| fixture.register_by_hand(worker, instance, &report(worker, &[None])));
        for id in 1..=4 {
            fixture.request(id, &small());
        }
        fixture.log.take();

        // when
        for attempt in order {
            gateways[attempt - 1]
                .answer(attempt as u64, rejected())
                .expect("the attempt awaits its answer");
        }
        assert_eq!(fixture.run(), 3);

        // then
        fixture.expect(&[
            "request b_0 for 1 #5",
            "request c_0 for 2 #6",
            "request a_0 for 4 #4",
            &ask(2),
        ]);
    }
}

#[test]
fn deadlines_are_handled_in_the_order_of_time_and_then_of_arming() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    for (id, later) in [(3, 0), (1, 0), (2, 1)] {
        fixture.advance(later * SECOND);
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when: all are overdue
    assert_eq!(fixture.advance(100 * SECOND), 3);

    // then
    fixture.expect(&["failed 3: timeout", "failed 1: timeout", "failed 2: timeout"]);
}

#[test]
fn order_within_a_report_does_not_matter() {
    let final_state = |reversed: bool| {
        // given
        let mut fixture = Fixture::new();
        fixture.request(1, &small());
        fixture.request(2, &small());

        // when
        let mut statuses = report("tm", &[None, Some(1), None, Some(8)]).statuses().to_vec();
        if reversed {
            statuses.reverse();
        }
        fixture.register("tm", 1, &SlotReport::new(statuses));
        let holders = [1, 3].map(|number| fixture.holder(&slot("tm", number)));
        (holders, fixture.status(1), fixture.manager.overview().slots.counts())
    };

    // then
    assert_eq!(final_state(false), final_state(true));
}
