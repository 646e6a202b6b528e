//! What there is, in numbers, and how often what has happened.

use serde_json::Value;
use slot_manager::{
    Overview, ReleaseDecision, ResourceManagerError, ResourceProfile, Resources, SlotManagerConfig, SlotOverview,
    SlotReport, SlotStatus, TaskExecutorConnection, TaskManagerOverview, Timestamp, Withdrawal, WorkerPromise,
};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, described, free_report, instance, job, occupied, patient, profile,
    rejected, report, slot, small,
};

const MEBIBYTE: u64 = 1 << 20;
/// No slots.
const NONE: Amounts = (0, 0.0, 0);

/// Slots, cores and mebibytes.
type Amounts = (usize, f64, u64);

fn amounts(resources: Resources) -> Amounts {
    assert_eq!(resources.memory_bytes % MEBIBYTE, 0);
    (resources.slots, resources.cpu_cores, resources.memory_bytes / MEBIBYTE)
}

/// Registered, free, blocked, in flight and allocated slots.
fn by_use(slots: &SlotOverview) -> [Amounts; 5] {
    let SlotOverview {
        registered,
        free,
        blocked,
        in_flight,
        allocated,
        ..
    } = *slots;
    [registered, free, blocked, in_flight, allocated].map(amounts)
}

fn sum(all: impl IntoIterator<Item = Amounts>) -> Amounts {
    all.into_iter().fold(NONE, |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
}

/// The overview, which agrees with itself, with those of the task managers and with all other queries.
#[track_caller]
fn overview(fixture: &Fixture) -> Overview {
    let overview = fixture.manager.overview();
    let [registered, rest @ ..] = by_use(&overview.slots);
    assert_eq!(registered, sum(rest));

    let each: Vec<_> = fixture.manager.task_managers().map(|one| one.overview()).collect();
    for (at, amounts) in by_use(&overview.slots).into_iter().enumerate() {
        assert_eq!(amounts, sum(each.iter().map(|one| by_use(&one.slots)[at])));
    }
    assert_eq!(overview.task_managers, each.len());
    let blocked = each.iter().filter(|one| one.is_blocked).count();
    assert_eq!(overview.blocked_task_managers, blocked);

    let counts = fixture.manager.slot_counts();
    assert_eq!(
        by_use(&overview.slots).map(|(slots, ..)| slots),
        [
            counts.registered,
            counts.free,
            counts.blocked,
            counts.in_flight,
            counts.allocated
        ]
    );
    let (bound, unbound) = fixture.promised();
    assert_eq!(overview.promised.slots, bound + unbound);
    assert_eq!(overview.unbound_promised_slots, unbound);
    assert_eq!(overview.pending_requests, fixture.manager.num_pending_slot_requests());
    assert_eq!(overview.counters, fixture.manager.counters());
    overview
}

#[track_caller]
fn slots(fixture: &Fixture) -> [Amounts; 5] {
    by_use(&overview(fixture).slots)
}

/// Promised slots, and how many of them cover nothing.
#[track_caller]
fn promised(fixture: &Fixture) -> (Amounts, usize) {
    let overview = overview(fixture);
    (amounts(overview.promised), overview.unbound_promised_slots)
}

/// The overview of task manager 1.
fn of_first(fixture: &Fixture) -> TaskManagerOverview {
    fixture
        .manager
        .task_manager(instance(1))
        .expect("it is registered")
        .overview()
}

/// Slots of 1, 2, 4 and 8 cores with a hundred times as many mebibytes; allocation 50 holds the first.
fn of_many_sizes() -> SlotReport {
    [1, 2, 4, 8]
        .into_iter()
        .zip(0..)
        .map(|(size, number)| {
            let has = sized(size);
            match number {
                0 => SlotStatus::allocated(slot("tm", 0), has, allocation(50), job(1)),
                _ => SlotStatus::free(slot("tm", number), has),
            }
        })
        .collect()
}

fn sized(size: u32) -> ResourceProfile {
    profile(size.into(), 100 * u64::from(size))
}

// Slots.

#[test]
fn at_first_there_is_nothing() {
    let mut fixture = Fixture::not_started(patient());
    assert_eq!(overview(&fixture), Overview::default());
    fixture.start(1);
    assert_eq!(overview(&fixture), Overview::default());
}

#[test]
fn slots_are_counted_with_what_they_have_by_what_they_are_doing() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &of_many_sizes());
    let all = (4, 15.0, 1500);
    assert_eq!(slots(&fixture), [all, (3, 14.0, 1400), NONE, NONE, (1, 1.0, 100)]);

    fixture.request(1, &sized(8));
    assert_eq!(
        slots(&fixture),
        [all, (2, 6.0, 600), NONE, (1, 8.0, 800), (1, 1.0, 100)]
    );

    fixture.block("tm");
    assert_eq!(
        slots(&fixture),
        [all, NONE, (2, 6.0, 600), (1, 8.0, 800), (1, 1.0, 100)]
    );

    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(slots(&fixture), [all, NONE, (2, 6.0, 600), NONE, (2, 9.0, 900)]);

    fixture.free(&slot("tm", 0), 50);
    assert_eq!(slots(&fixture), [all, NONE, (3, 7.0, 700), NONE, (1, 8.0, 800)]);

    fixture.unblock("tm");
    assert_eq!(slots(&fixture), [all, (3, 7.0, 700), NONE, NONE, (1, 8.0, 800)]);

    fixture.unregister(1);
    assert_eq!(slots(&fixture), [NONE; 5]);
}

#[test]
fn a_slot_that_is_given_back_is_free_again() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &of_many_sizes());
    let before = slots(&fixture);
    fixture.request(1, &sized(8));
    fixture.cancel(1);
    assert_eq!(slots(&fixture), before);
    fixture.request(2, &sized(8));
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(slots(&fixture)[3], (1, 8.0, 800), "it is tried again at once");
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(slots(&fixture), before, "the request pauses");
}

#[test]
fn slots_that_pause_are_free() {
    let mut fixture = pausing();
    assert_eq!(slots(&fixture)[..3], [(1, 1.0, 100), (1, 1.0, 100), NONE]);
    fixture.block("tm");
    assert_eq!(slots(&fixture)[..3], [(1, 1.0, 100), NONE, (1, 1.0, 100)]);
}

/// Slot `tm_0` and requests 1 and 2 pause.
fn pausing() -> Fixture {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert!(matches!(
        fixture.state(&slot("tm", 0)),
        slot_manager::SlotState::BackingOff { .. }
    ));
    fixture
}

#[test]
fn what_reports_say_is_counted() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &free_report("tm", &[sized(1), sized(2)]));
    // A slot more, and another profile.
    fixture.report(1, &free_report("tm", &[sized(1), sized(4), sized(8)]));
    assert_eq!(slots(&fixture)[..2], [(3, 13.0, 1300); 2]);
    // Held by an allocation that was not known.
    fixture.report(1, &of_many_sizes());
    assert_eq!(slots(&fixture)[4], (1, 1.0, 100));
    // Omitted.
    fixture.report(1, &free_report("tm", &[sized(1)]));
    assert_eq!(slots(&fixture), [(1, 1.0, 100), (1, 1.0, 100), NONE, NONE, NONE]);
}

#[test]
fn another_registration_of_a_worker_takes_the_place_of_the_first() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &of_many_sizes());
    fixture.register("tm", 2, &free_report("tm", &[sized(2)]));
    assert_eq!(overview(&fixture).task_managers, 1);
    assert_eq!(slots(&fixture)[..2], [(1, 2.0, 200); 2]);
}

#[test]
fn slots_whose_profile_is_not_concrete_count_without_resources() {
    let mut fixture = Fixture::new();
    let unclear = [ResourceProfile::ANY, ResourceProfile::UNKNOWN, sized(2)];
    fixture.register_free("tm", 1, &unclear);
    assert_eq!(slots(&fixture)[..2], [(3, 2.0, 200); 2]);
    fixture.request(1, &sized(2));
    fixture.request(2, &sized(2));
    assert_eq!(slots(&fixture)[1], NONE_BUT_ONE, "the unknown one fits nothing");
    assert_eq!(slots(&fixture)[4], (2, 2.0, 200));
    fixture.block("tm");
    assert_eq!(slots(&fixture)[2], NONE_BUT_ONE);
}

/// A slot that has nothing.
const NONE_BUT_ONE: Amounts = (1, 0.0, 0);

#[test]
fn all_kinds_of_memory_are_counted_together() {
    let mut fixture = Fixture::new();
    let slot = ResourceProfile::builder()
        .task_heap_memory_mebibytes(1)
        .task_off_heap_memory_mebibytes(2)
        .managed_memory_mebibytes(4)
        .network_memory_mebibytes(8)
        .extended_resource("gpu", 16.0)
        .build()
        .expect("valid amounts");
    fixture.register_free("tm", 1, &[slot]);
    assert_eq!(slots(&fixture)[0], (1, 0.0, 15));
}

#[test]
fn parts_of_cores_add_up_exactly() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &vec![profile(0.1, 0); 30]);
    assert_eq!(slots(&fixture)[0], (30, 3.0, 0));
}

#[test]
fn more_memory_than_can_be_counted_is_shown_as_the_most() {
    let mut fixture = Fixture::new();
    let most = ResourceProfile::builder()
        .managed_memory_bytes(u64::MAX)
        .build()
        .expect("a valid amount");
    fixture.register_free("a", 1, &[most.clone(), most.clone()]);
    let overview = fixture.manager.overview();
    assert_eq!(overview.slots.registered.memory_bytes, u64::MAX);
    assert_eq!(of_first(&fixture).slots.registered.memory_bytes, u64::MAX);
    // One of them less is counted exactly.
    fixture.report(1, &free_report("a", std::slice::from_ref(&most)));
    fixture.register_free("b", 2, &[sized(1)]);
    fixture.report(1, &SlotReport::default());
    assert_eq!(slots(&fixture)[0], (1, 1.0, 100));
}

// Task managers.

#[test]
fn each_task_manager_is_told_of_by_itself() {
    let mut fixture = Fixture::new();
    fixture.advance(3 * SECOND);
    fixture.register("tm", 1, &of_many_sizes());
    fixture.register_free("other", 2, &[sized(2)]);
    fixture.block("other");
    let first = of_first(&fixture);
    assert_eq!(first.resource_id.as_str(), "tm");
    assert_eq!(first.instance_id, instance(1));
    assert_eq!((first.is_blocked, first.idle_since), (false, None));
    assert_eq!(
        by_use(&first.slots),
        [(4, 15.0, 1500), (3, 14.0, 1400), NONE, NONE, (1, 1.0, 100)]
    );
    let second = fixture
        .manager
        .task_manager(instance(2))
        .expect("registered")
        .overview();
    assert_eq!(
        (second.is_blocked, second.idle_since),
        (true, Some(Timestamp::from_secs(3)))
    );
    assert_eq!(by_use(&second.slots), [(1, 2.0, 200), NONE, (1, 2.0, 200), NONE, NONE]);
    assert_eq!(
        slots(&fixture),
        [(5, 17.0, 1700), (3, 14.0, 1400), (1, 2.0, 200), NONE, (1, 1.0, 100)]
    );
}

#[test]
fn blocked_task_managers_are_counted_when_they_are_registered() {
    let mut fixture = Fixture::new();
    let counts = |fixture: &Fixture| {
        let overview = overview(fixture);
        (overview.task_managers, overview.blocked_task_managers)
    };
    fixture.block("tm");
    assert_eq!(counts(&fixture), (0, 0));
    fixture.register("tm", 1, &SlotReport::default());
    fixture.register("other", 2, &SlotReport::default());
    assert_eq!(counts(&fixture), (2, 1));
    fixture.register("tm", 3, &SlotReport::default());
    assert_eq!(counts(&fixture), (2, 1));
    fixture.unblock("tm");
    assert_eq!(counts(&fixture), (2, 0));
    fixture.block("tm");
    fixture.unregister(3);
    assert_eq!(counts(&fixture), (1, 0));
}

// Promised slots and requests.

#[test]
fn promised_slots_are_counted_with_what_they_will_have() {
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.promise_next(&[sized(2), sized(4), ResourceProfile::ANY]);
    fixture.request(1, &sized(2));
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 2));
    fixture.request(2, &sized(4));
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 1));
    fixture.cancel(1);
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 2));
    fixture.register_for(1, "tm", 1, &free_report("tm", &[sized(2)]));
    assert_eq!(promised(&fixture), ((2, 4.0, 400), 1));
    fixture.advance(10 * SECOND);
    assert_eq!(promised(&fixture), (NONE, 0));
}

#[test]
fn promises_end_when_their_worker_fails_or_is_withdrawn() {
    let mut fixture = Fixture::new();
    fixture.promise_next(&[sized(2), sized(2)]);
    fixture.request(1, &sized(2));
    fixture.worker_failed(1);
    assert_eq!(promised(&fixture), (NONE, 0));
    fixture.cancel(1);
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.promise_next(&[sized(4)]);
    fixture.request(2, &sized(4));
    assert_eq!(promised(&fixture), ((1, 4.0, 400), 0));
    fixture.cancel(2);
    assert_eq!(promised(&fixture), (NONE, 0));
}

#[test]
fn all_requests_that_are_not_granted_are_pending() {
    let mut fixture = pausing();
    assert_eq!(overview(&fixture).pending_requests, 2);
    fixture.request(3, &sized(9));
    fixture.register_by_hand("other", 2, &free_report("other", &[sized(8)]));
    fixture.request(4, &sized(8));
    assert_eq!(overview(&fixture).pending_requests, 4);
    fixture.register_free("large", 3, &[sized(9)]);
    assert_eq!(overview(&fixture).pending_requests, 3);
    fixture.cancel(4);
    assert_eq!(overview(&fixture).pending_requests, 2);
}

#[test]
fn a_suspension_leaves_nothing_but_the_counters() {
    let mut fixture = everything();
    let before = overview(&fixture);
    fixture.suspend();
    let after = overview(&fixture);
    assert_eq!(after.counters, before.counters);
    let mut expected = Overview::default();
    expected.counters = before.counters;
    assert_eq!(after, expected);
    fixture.start(2);
    assert_eq!(overview(&fixture), expected);
}

// Counters.

/// What was counted more often than before, by the name of the counter.
#[track_caller]
fn counted(fixture: &mut Fixture, event: impl FnOnce(&mut Fixture)) -> Vec<String> {
    let before = counters(fixture);
    event(fixture);
    let after = counters(fixture);
    let mut grown = Vec::new();
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        assert!(before <= after, "{name}");
        if before < after {
            grown.push(format!("{name} {}", after - before));
        }
    }
    grown
}

#[track_caller]
fn counters(fixture: &Fixture) -> Vec<(String, u64)> {
    let mut counters = Vec::new();
    let Value::Object(written) = serde_json::to_value(overview(fixture).counters).expect("it can be written") else {
        panic!("counters have names");
    };
    for (name, value) in written {
        match value {
            Value::Object(causes) => counters.extend(
                causes
                    .into_iter()
                    .map(|(cause, count)| (format!("{name}: {cause}"), number(&count))),
            ),
            count => counters.push((name, number(&count))),
        }
    }
    counters.sort();
    counters
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

const NOTHING: [&str; 0] = [];

#[test]
fn requests_are_counted_when_they_are_accepted_and_served() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    let at_once = counted(&mut fixture, |fixture| {
        fixture.request(1, &small());
    });
    assert_eq!(at_once, ["requests_accepted 1", "requests_served 1"]);
    let waiting = counted(&mut fixture, |fixture| {
        fixture.request(2, &small());
    });
    assert_eq!(
        waiting,
        ["requests_accepted 1", "workers_declined 1", "workers_requested 1"]
    );
    let freed = counted(&mut fixture, |fixture| {
        fixture.free(&slot("tm", 0), 1);
    });
    assert_eq!(freed, ["requests_served 1"]);
}

#[test]
fn a_request_that_is_served_is_counted_whoever_says_so() {
    for by_report in [true, false] {
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
        fixture.request(1, &small());
        let served = counted(&mut fixture, |fixture| {
            if by_report {
                fixture.report(1, &report("tm", &[Some(1)]));
            } else {
                fixture.answer(&gateway, 1, occupied(1));
            }
        });
        assert_eq!(served, ["requests_served 1"]);
    }
}

#[test]
fn an_allocation_that_is_found_without_a_request_was_not_served() {
    let mut fixture = Fixture::new();
    let found = counted(&mut fixture, |fixture| {
        fixture.register("tm", 1, &report("tm", &[Some(1)]));
    });
    assert_eq!(found, NOTHING);
}

#[test]
fn requests_that_are_not_accepted_are_not_counted() {
    let mut fixture = Fixture::with(patient().with_max_pending_requests(Some(1)));
    fixture.request(1, &small());
    let refused = counted(&mut fixture, |fixture| {
        assert!(fixture.try_request(1, 1, &small()).is_ok(), "a duplicate");
        assert!(fixture.try_request(2, 1, &small()).is_err(), "another job");
        assert!(fixture.try_request(1, 2, &small()).is_err(), "too many");
    });
    assert_eq!(refused, NOTHING);
}

#[test]
fn requests_that_are_withdrawn_are_counted() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    let cancelled = counted(&mut fixture, |fixture| {
        fixture.cancel(2);
        fixture.cancel(2);
        fixture.cancel(1);
        fixture.cancel(99);
    });
    assert_eq!(cancelled, ["requests_cancelled 1"], "1 is granted");
    let of_the_job = counted(&mut fixture, |fixture| {
        fixture.step(|manager| manager.unregister_job(job(1))).expect("started");
    });
    assert_eq!(of_the_job, ["requests_cancelled 2"]);
}

#[test]
fn failures_are_counted_by_cause() {
    let config = patient().with_request_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config.with_fail_unfulfillable_requests(true));
    let refused = counted(&mut fixture, |fixture| {
        fixture
            .actions
            .answer_next_allocation(Err(ResourceManagerError::new("no machines")));
        assert!(fixture.try_request(1, 1, &small()).is_err());
    });
    assert_eq!(
        refused,
        [
            "requests_accepted 1",
            "requests_failed: resource_manager 1",
            "workers_declined 1",
            "workers_requested 1",
        ]
    );
    let unfulfillable = counted(&mut fixture, |fixture| {
        fixture.actions.answer_next_allocation(Ok(WorkerPromise::Declined));
        assert!(fixture.try_request(1, 2, &small()).is_err());
    });
    assert_eq!(
        unfulfillable,
        [
            "requests_accepted 1",
            "requests_failed: unfulfillable 1",
            "workers_declined 1",
            "workers_requested 1",
        ]
    );
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(3, &small());
    let held = counted(&mut fixture, |fixture| {
        let of_another = SlotStatus::allocated(slot("tm", 0), small(), allocation(3), job(2));
        fixture.register("tm", 1, &SlotReport::new(vec![of_another]));
    });
    assert_eq!(held, ["requests_failed: held_by_another_job 1"]);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(4, &sized(2));
    let expired = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });
    assert_eq!(expired, ["requests_failed: timeout 1"]);
    assert_eq!(fixture.manager.counters().requests_failed.total(), 4);
}

#[test]
fn attempts_that_fail_are_counted() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    let failed = counted(&mut fixture, |fixture| {
        fixture.answer(&gateway, 1, rejected());
    });
    assert_eq!(failed, ["requests_retried 1"]);
    let too_late = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });
    assert_eq!(too_late, ["requests_retried 1"]);
}

/// The slot did not refuse: it was not free.
#[test]
fn an_attempt_that_meets_another_allocation_did_not_fail() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.register_free("other", 2, &[small()]);
    fixture.request(1, &small());
    let met = counted(&mut fixture, |fixture| fixture.answer(&gateway, 1, occupied(50)));
    assert_eq!(met, ["requests_served 1"]);
}

#[test]
fn grants_that_are_lost_are_counted() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2), Some(3)]));
    let reported_free = counted(&mut fixture, |fixture| {
        fixture.report(1, &report("tm", &[None, Some(2), Some(3)]));
    });
    assert_eq!(reported_free, ["grants_lost 1"]);
    let freed = counted(&mut fixture, |fixture| {
        fixture.free(&slot("tm", 1), 2);
    });
    assert_eq!(freed, NOTHING);
    let unregistered = counted(&mut fixture, |fixture| {
        fixture.unregister(1);
    });
    assert_eq!(unregistered, ["grants_lost 1"]);
}

#[test]
fn workers_that_are_asked_for_are_counted_for_whomever() {
    // For the fewest slots, and then for a request.
    let mut fixture = Fixture::not_started(described(2).with_min_slots(3));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    assert_eq!(
        counted(&mut fixture, |fixture| fixture.start(1)),
        ["workers_requested 2"]
    );
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    let asked = counted(&mut fixture, |fixture| {
        fixture.request(5, &small());
    });
    assert_eq!(asked, ["requests_accepted 1", "workers_requested 1"]);
}

#[test]
fn workers_that_do_not_help_count_as_declined() {
    let wide = sized(9);
    let answers = [
        Ok(WorkerPromise::Declined),
        Ok(WorkerPromise::Slots(Vec::new())),
        Ok(WorkerPromise::Slots(vec![small()])),
    ];
    for answer in answers {
        let mut fixture = Fixture::new();
        fixture.actions.answer_next_allocation(answer.clone());
        let asked = counted(&mut fixture, |fixture| {
            fixture.request(1, &wide);
        });
        assert_eq!(
            asked,
            ["requests_accepted 1", "workers_declined 1", "workers_requested 1"],
            "{answer:?}"
        );
    }
}

#[test]
fn a_worker_beyond_a_limit_counts_as_declined_and_not_as_withdrawn() {
    let mut fixture = Fixture::with(described(1).with_max_slots(Some(2)));
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.promise_next(&[small(), small(), small()]);
    let asked = counted(&mut fixture, |fixture| {
        fixture.request(1, &small());
    });
    fixture.expect(&[&crate::common::ask(1), "withdraw 1"]);
    assert_eq!(
        asked,
        ["requests_accepted 1", "workers_declined 1", "workers_requested 1"]
    );
}

#[test]
fn spare_workers_that_are_declined_are_counted() {
    for answer in [Ok(WorkerPromise::Declined), Err(ResourceManagerError::new("no"))] {
        let mut fixture = Fixture::not_started(described(2).with_min_slots(2));
        fixture.actions.answer_allocations(answer);
        let asked = counted(&mut fixture, |fixture| fixture.start(1));
        assert_eq!(asked, ["workers_declined 1", "workers_requested 1"]);
    }
}

#[test]
fn workers_that_are_withdrawn_are_counted_if_it_was_not_too_late() {
    for (withdrawal, expected) in [
        (
            Withdrawal::Confirmed,
            vec!["requests_cancelled 1", "workers_withdrawn 1"],
        ),
        (Withdrawal::TooLate, vec!["requests_cancelled 1"]),
    ] {
        let mut fixture = Fixture::promising(patient());
        fixture.actions.answer_withdrawals(withdrawal);
        fixture.request(1, &small());
        let cancelled = counted(&mut fixture, |fixture| {
            fixture.cancel(1);
        });
        assert_eq!(cancelled, expected);
    }
}

#[test]
fn promises_that_are_not_kept_are_counted() {
    let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Declined));
    fixture.request(1, &small());
    let failed = counted(&mut fixture, |fixture| {
        fixture.worker_failed(1);
        fixture.worker_failed(1);
    });
    assert_eq!(
        failed,
        ["promises_broken 1", "workers_declined 1", "workers_requested 1"]
    );
    fixture.cancel(1);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(2, &small());
    let did_not_come = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });
    assert_eq!(
        did_not_come,
        ["promises_broken 1", "workers_declined 1", "workers_requested 1"]
    );
}

#[test]
fn a_promise_that_is_kept_is_not_broken() {
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());
    let came = counted(&mut fixture, |fixture| {
        fixture.register_for(1, "tm", 1, &report("tm", &[None]));
    });
    assert_eq!(came, ["requests_served 1"]);
    let lost = counted(&mut fixture, |fixture| {
        fixture.worker_failed(1);
    });
    assert_eq!(lost, NOTHING);
}

#[test]
fn task_managers_that_are_released_are_counted() {
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_next_release_check(ReleaseDecision::Keep);
    fixture.actions.answer_next_release(slot_manager::Release::Declined);
    for expected in [&NOTHING[..], &NOTHING[..], &["task_managers_released 1"][..]] {
        let idle = counted(&mut fixture, |fixture| {
            fixture.advance(10 * SECOND);
        });
        assert_eq!(idle, expected);
    }
    fixture.register_free("tm", 2, &[small()]);
    let lost = counted(&mut fixture, |fixture| {
        fixture.unregister(2);
    });
    assert_eq!(lost, NOTHING);
}

#[test]
fn task_managers_that_are_refused_are_counted() {
    let mut fixture = Fixture::with(described(1).with_max_slots(Some(1)));
    fixture.register_free("tm", 1, &[small()]);
    let refused = counted(&mut fixture, |fixture| {
        fixture.register_free("other", 2, &[small()]);
        fixture.register_free("tm", 1, &[small()]);
    });
    assert_eq!(refused, ["task_managers_refused 1"]);
}

#[test]
fn reports_that_are_ignored_or_refused_are_counted() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(7));
    let stale = counted(&mut fixture, |fixture| {
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(6));
        fixture.report(1, &report("tm", &[None]).with_revision(6));
        fixture.report(1, &report("tm", &[None]).with_revision(7));
        fixture.report(99, &report("tm", &[None]));
    });
    assert_eq!(stale, ["reports_stale 2"]);
    let foreign = report("other", &[None]);
    let refused = counted(&mut fixture, |fixture| {
        assert!(fixture.try_report(1, &foreign).is_err());
        let mut try_register = |worker: &str, number, report: &SlotReport| {
            let connection = TaskExecutorConnection::new(worker, instance(number), fixture.gateway());
            assert!(fixture.try_register(connection, report).is_err());
        };
        try_register("tm", 1, &foreign);
        try_register("new", 2, &foreign);
        try_register("new", 1, &SlotReport::default());
    });
    assert_eq!(refused, ["reports_refused 4"]);
}

#[test]
fn counters_go_on_under_the_next_leader() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.suspend();
    fixture.start(2);
    fixture.request(1, &small());
    let counters = fixture.manager.counters();
    assert_eq!((counters.requests_accepted, counters.workers_requested), (2, 2));
    assert_eq!(counters.requests_cancelled, 0, "those that are dropped are not counted");
}

/// Without a suspension.
#[test]
fn every_request_that_was_accepted_is_pending_or_has_ended() {
    for fixture in [everything(), pausing()] {
        let overview = overview(&fixture);
        let counters = overview.counters;
        let ended = counters.requests_served + counters.requests_cancelled + counters.requests_failed.total();
        assert_eq!(counters.requests_accepted, ended + overview.pending_requests as u64);
    }
}

// What is written.

/// Limited and described; some of everything has happened, and some of everything is there.
fn everything() -> Fixture {
    let config: SlotManagerConfig = described(2)
        .with_max_slots(Some(8))
        .with_request_timeout(60 * SECOND)
        .with_worker_registration_timeout(100 * SECOND)
        .with_task_manager_timeout(50 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.worker_failed(1);
    fixture.register_for(2, "a", 1, &free_report("a", &[small()]));
    fixture.advance(20 * SECOND);
    let b = fixture.register_by_hand("b", 2, &free_report("b", &[profile(0.3, 50), profile(2.0, 200)]));
    fixture.register("c", 3, &report("c", &[Some(50), None]));
    fixture.block("c");
    fixture.request(3, &profile(2.0, 200));
    fixture.answer(&b, b.pending()[0].attempt, rejected());
    fixture.register("refused", 4, &free_report("refused", &vec![profile(0.3, 50); 4]));
    assert!(fixture.try_report(1, &report("other", &[None])).is_err());
    fixture.request(4, &profile(8.0, 800));
    fixture.cancel(4);
    fixture.free(&slot("a", 0), 1);
    fixture.report(3, &report("c", &[None, None]).with_revision(2));
    fixture.report(3, &report("c", &[Some(60), None]).with_revision(1));
    fixture.report(3, &report("c", &[Some(60), None]).with_revision(3));
    fixture.request(5, &small());
    fixture.request(6, &small());
    fixture.request(7, &small());
    fixture
}

#[test]
fn overviews_are_read_as_they_were_written() {
    let fixture = everything();
    let overview = overview(&fixture);
    let written = serde_json::to_string(&overview).expect("it can be written");
    assert_eq!(
        serde_json::from_str::<Overview>(&written).expect("it can be read"),
        overview
    );
    for one in fixture.manager.task_managers() {
        let overview = one.overview();
        let written = serde_json::to_string(&overview).expect("it can be written");
        let read: TaskManagerOverview = serde_json::from_str(&written).expect("it can be read");
        assert_eq!(read, overview);
    }
}

#[test]
fn an_overview_is_written_for_operators() {
    let expected = [
        "task managers 3, of them blocked 1",
        "registered  5 slots (5.3 cores, 0.5 GiB)",
        "free        1 slot (0.3 cores, 0.0 GiB)",
        "blocked     1 slot (1.0 cores, 0.1 GiB)",
        "in flight   1 slot (2.0 cores, 0.2 GiB)",
        "allocated   2 slots (2.0 cores, 0.2 GiB)",
        "promised    2 slots (2.0 cores, 0.2 GiB), of them for nobody 0",
        "requests    pending 4; so far accepted 7, served 2, cancelled 1, retried 1",
        "failed      0: timeout 0, resource manager 0, unfulfillable 0, held by another job 0; grants lost 1",
        "workers     requested 3, declined 0, withdrawn 0, did not come 1; released 0, refused 1",
        "reports     stale 1, refused 1",
    ];
    assert_eq!(overview(&everything()).to_string(), expected.join("\n"));
}

#[test]
fn resources_are_written_in_cores_and_gibibytes() {
    assert_eq!(Resources::default().to_string(), "0 slots (0.0 cores, 0.0 GiB)");
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[profile(1.5, 2560)]);
    let registered = overview(&fixture).slots.registered;
    assert_eq!(registered.to_string(), "1 slot (1.5 cores, 2.5 GiB)");
}
