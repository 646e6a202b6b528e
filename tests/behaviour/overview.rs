//! Overviews: the numbers of task managers, slots, promised slots and requests, and the resources
//! of slots.

use slot_manager::message::Withdrawal;
use slot_manager::overview::{Overview, Resources, SlotOverview, TaskManagerOverview};
use slot_manager::view::SlotState;
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotReport, SlotStatus, Timestamp};

use crate::common::{
    Fixture, SECOND, acknowledged, allocation, free_report, instance, job, patient, profile, rejected, report, slot,
    small, workers_of,
};

mod changes;
mod counters;
mod gauges;
mod pages;
mod snapshots;

const MEBIBYTE: u64 = 1 << 20;

/// No slots.
const NONE: Amounts = (0, 0.0, 0);

/// Slots, cores and mebibytes.
type Amounts = (usize, f64, u64);

fn amounts(resources: &Resources) -> Amounts {
    assert_eq!(resources.memory_bytes % MEBIBYTE, 0);
    (resources.slots, resources.cpu_cores, resources.memory_bytes / MEBIBYTE)
}

/// Registered, free, blocked, in flight and allocated slots.
fn by_state(slots: &SlotOverview) -> [Amounts; 5] {
    let SlotOverview {
        registered,
        free,
        blocked,
        in_flight,
        allocated,
        ..
    } = slots;
    [registered, free, blocked, in_flight, allocated].map(amounts)
}

fn sum(all: impl IntoIterator<Item = Amounts>) -> Amounts {
    all.into_iter().fold(NONE, |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
}

/// Returns the overview and checks that it agrees with itself, the overviews of the task managers
/// and all other queries.
#[track_caller]
fn overview(fixture: &Fixture) -> Overview {
    let overview = fixture.manager.overview();
    let [registered, rest @ ..] = by_state(&overview.slots);
    assert_eq!(registered, sum(rest));

    let each: Vec<_> = fixture.manager.task_managers().map(|one| one.overview()).collect();
    for (at, amounts) in by_state(&overview.slots).into_iter().enumerate() {
        assert_eq!(amounts, sum(each.iter().map(|one| by_state(&one.slots)[at])));
    }
    assert_eq!(overview.task_managers, each.len());
    let blocked = each.iter().filter(|one| one.is_blocked).count();
    assert_eq!(overview.blocked_task_managers, blocked);

    let is_counted =
        |state: &dyn Fn(SlotState) -> bool| fixture.manager.slots().filter(|slot| state(slot.state())).count();
    let counts = overview.slots.counts();
    assert_eq!(counts.registered, fixture.manager.slots().count());
    assert_eq!(counts.blocked, is_counted(&|state| state == SlotState::Blocked));
    assert_eq!(
        counts.in_flight,
        is_counted(&|state| matches!(state, SlotState::InFlight { .. }))
    );
    assert_eq!(
        counts.allocated,
        is_counted(&|state| matches!(state, SlotState::Allocated { .. }))
    );
    let (bound, unbound) = fixture.promised();
    assert_eq!(overview.promised.slots, bound + unbound);
    assert_eq!(overview.bound_promised_slots, bound);
    assert_eq!(overview.unbound_promised_slots, unbound);
    assert_eq!(
        overview.pending_requests,
        fixture.manager.pending_slot_requests().count()
    );
    let in_flight = fixture
        .manager
        .pending_slot_requests()
        .filter(|one| one.in_flight_to().is_some());
    assert_eq!(overview.slots.in_flight.slots, in_flight.count());
    assert_eq!(overview.counters, fixture.manager.counters());
    overview
}

#[track_caller]
fn slots(fixture: &Fixture) -> [Amounts; 5] {
    by_state(&overview(fixture).slots)
}

/// Promised slots, and the number of promised slots that are not bound.
#[track_caller]
fn promised(fixture: &Fixture) -> (Amounts, usize) {
    let overview = overview(fixture);
    (amounts(&overview.promised), overview.unbound_promised_slots)
}

/// The overview of task manager 1.
fn of_first(fixture: &Fixture) -> TaskManagerOverview {
    fixture
        .manager
        .task_manager(instance(1))
        .expect("it is registered")
        .overview()
}

/// Slots of 1, 2, 4 and 8 cores with a hundred times as many mebibytes; allocation 50 holds the
/// first.
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

/// Limited and described. Each kind of event has happened, and each kind of record is there.
fn everything() -> Fixture {
    let config: SlotManagerConfig = patient()
        .with_workers(workers_of(2).with_max_slots(Some(8)))
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
    fixture.is_refused("refused", 4, &free_report("refused", &vec![profile(0.3, 50); 4]));
    fixture.request(3, &profile(2.0, 200));
    fixture.answer(&b, b.pending()[0].attempt, rejected());
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

// Slots.

#[test]
fn overview_is_empty_at_first() {
    // given
    let mut fixture = Fixture::not_started(patient());

    // then
    assert_eq!(overview(&fixture), Overview::default());

    // when, then
    fixture.start(1);
    assert_eq!(overview(&fixture), Overview::default());
}

#[test]
fn slots_are_counted_with_their_resources_by_state() {
    // given
    let mut fixture = Fixture::new();

    // when
    let gateway = fixture.register_by_hand("tm", 1, &of_many_sizes());

    // then
    let all = (4, 15.0, 1500);
    assert_eq!(slots(&fixture), [all, (3, 14.0, 1400), NONE, NONE, (1, 1.0, 100)]);

    // when, then
    fixture.request(1, &sized(8));
    assert_eq!(
        slots(&fixture),
        [all, (2, 6.0, 600), NONE, (1, 8.0, 800), (1, 1.0, 100)]
    );

    // when, then
    fixture.block("tm");
    assert_eq!(
        slots(&fixture),
        [all, NONE, (2, 6.0, 600), (1, 8.0, 800), (1, 1.0, 100)]
    );

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(slots(&fixture), [all, NONE, (2, 6.0, 600), NONE, (2, 9.0, 900)]);

    // when, then
    fixture.free(&slot("tm", 0), 50);
    assert_eq!(slots(&fixture), [all, NONE, (3, 7.0, 700), NONE, (1, 8.0, 800)]);

    // when, then
    fixture.unblock("tm");
    assert_eq!(slots(&fixture), [all, (3, 7.0, 700), NONE, NONE, (1, 8.0, 800)]);

    // when, then
    fixture.unregister(1);
    assert_eq!(slots(&fixture), [NONE; 5]);
}

#[test]
fn slot_of_an_attempt_that_ends_is_free_again() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &of_many_sizes());
    let before = slots(&fixture);
    fixture.request(1, &sized(8));

    // when
    fixture.cancel(1);

    // then
    assert_eq!(slots(&fixture), before);

    // when, then
    fixture.request(2, &sized(8));
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(slots(&fixture)[3], (1, 8.0, 800), "the request is tried again at once");

    // when, then
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(slots(&fixture), before, "the request backs off");
}

#[test]
fn slots_that_back_off_are_free() {
    // given
    let mut fixture = backing_off();

    // then
    assert_eq!(slots(&fixture)[..3], [(1, 1.0, 100), (1, 1.0, 100), NONE]);

    // when, then
    fixture.block("tm");
    assert_eq!(slots(&fixture)[..3], [(1, 1.0, 100), NONE, (1, 1.0, 100)]);
}

#[test]
fn task_managers_that_back_off_and_suspect_jobs_are_counted() {
    let fixture = backing_off();
    assert_eq!(overview(&fixture).backing_off_task_managers, 1);
    assert_eq!(overview(&fixture).suspect_jobs, 1);
}

/// Slot `tm_0` and requests 1 and 2 back off.
fn backing_off() -> Fixture {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert!(matches!(fixture.state(&slot("tm", 0)), SlotState::BackingOff { .. }));
    fixture
}

#[test]
fn changes_by_reports_are_counted() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &free_report("tm", &[sized(1), sized(2)]));

    // when: one more slot, and another profile
    fixture.report(1, &free_report("tm", &[sized(1), sized(4), sized(8)]));

    // then
    assert_eq!(slots(&fixture)[..2], [(3, 13.0, 1300); 2]);

    // when, then: an unknown allocation holds a slot
    fixture.report(1, &of_many_sizes());
    assert_eq!(slots(&fixture)[4], (1, 1.0, 100));

    // when, then: slots are no longer reported
    fixture.report(1, &free_report("tm", &[sized(1)]));
    assert_eq!(slots(&fixture), [(1, 1.0, 100), (1, 1.0, 100), NONE, NONE, NONE]);
}

#[test]
fn new_registration_of_a_worker_replaces_the_old_one() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &of_many_sizes());

    // when
    fixture.register("tm", 2, &free_report("tm", &[sized(2)]));

    // then
    assert_eq!(overview(&fixture).task_managers, 1);
    assert_eq!(slots(&fixture)[..2], [(1, 2.0, 200); 2]);
}

#[test]
fn slots_without_a_concrete_profile_count_without_resources() {
    // given
    let mut fixture = Fixture::new();
    let unclear = [ResourceProfile::ANY, ResourceProfile::UNKNOWN, sized(2)];

    // when
    fixture.register_free("tm", 1, &unclear);

    // then
    assert_eq!(slots(&fixture)[..2], [(3, 2.0, 200); 2]);

    // when, then
    fixture.request(1, &sized(2));
    fixture.request(2, &sized(2));
    assert_eq!(
        slots(&fixture)[1],
        NONE_BUT_ONE,
        "the slot of unknown profile fits no request"
    );
    assert_eq!(slots(&fixture)[4], (2, 2.0, 200));

    // when, then
    fixture.block("tm");
    assert_eq!(slots(&fixture)[2], NONE_BUT_ONE);
}

/// One slot without resources.
const NONE_BUT_ONE: Amounts = (1, 0.0, 0);

#[test]
fn kinds_of_memory_and_extended_resources_are_counted() {
    // given
    let mut fixture = Fixture::new();
    let slot = ResourceProfile::builder()
        .task_heap_memory_mebibytes(1)
        .task_off_heap_memory_mebibytes(2)
        .managed_memory_mebibytes(4)
        .network_memory_mebibytes(8)
        .extended_resource("gpu", 16.0)
        .build()
        .expect("valid amounts");

    // when
    fixture.register_free("tm", 1, &[slot]);

    // then
    assert_eq!(slots(&fixture)[0], (1, 0.0, 15));
    let registered = overview(&fixture).slots.registered;
    assert_eq!(
        [
            registered.task_heap_memory_bytes,
            registered.task_off_heap_memory_bytes,
            registered.managed_memory_bytes,
            registered.network_memory_bytes,
        ],
        [1, 2, 4, 8].map(|mebibytes| mebibytes * MEBIBYTE)
    );
    assert_eq!(registered.extended.get("gpu"), Some(&16.0));
}

#[test]
fn parts_of_cores_add_up_exactly() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &vec![profile(0.1, 0); 30]);
    assert_eq!(slots(&fixture)[0], (30, 3.0, 0));
}

#[test]
fn too_much_memory_is_shown_as_the_maximum() {
    // given
    let mut fixture = Fixture::new();
    let most = ResourceProfile::builder()
        .managed_memory_bytes(u64::MAX)
        .build()
        .expect("a valid amount");

    // when
    fixture.register_free("a", 1, &[most.clone(), most.clone()]);

    // then
    let overview = fixture.manager.overview();
    assert_eq!(overview.slots.registered.memory_bytes, u64::MAX);
    assert_eq!(of_first(&fixture).slots.registered.memory_bytes, u64::MAX);

    // when, then: without one of the slots the sum is exact
    fixture.report(1, &free_report("a", std::slice::from_ref(&most)));
    fixture.register_free("b", 2, &[sized(1)]);
    fixture.report(1, &SlotReport::default());
    assert_eq!(slots(&fixture)[0], (1, 1.0, 100));
}

// Task managers.

#[test]
fn each_task_manager_has_an_overview() {
    // given
    let mut fixture = Fixture::new();
    fixture.advance(3 * SECOND);
    fixture.register("tm", 1, &of_many_sizes());
    fixture.register_free("other", 2, &[sized(2)]);

    // when
    fixture.block("other");

    // then
    let first = of_first(&fixture);
    assert_eq!(first.resource_id.as_str(), "tm");
    assert_eq!(first.instance_id, instance(1));
    assert_eq!((first.is_blocked, first.idle_since), (false, None));
    assert_eq!(
        by_state(&first.slots),
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
    assert_eq!(
        by_state(&second.slots),
        [(1, 2.0, 200), NONE, (1, 2.0, 200), NONE, NONE]
    );
    assert_eq!(
        slots(&fixture),
        [(5, 17.0, 1700), (3, 14.0, 1400), (1, 2.0, 200), NONE, (1, 1.0, 100)]
    );
}

#[test]
fn blocked_task_managers_count_while_they_are_registered() {
    // given
    let mut fixture = Fixture::new();
    let counts = |fixture: &Fixture| {
        let overview = overview(fixture);
        (overview.task_managers, overview.blocked_task_managers)
    };

    // when
    fixture.block("tm");

    // then
    assert_eq!(counts(&fixture), (0, 0));

    // when, then
    fixture.register("tm", 1, &SlotReport::default());
    fixture.register("other", 2, &SlotReport::default());
    assert_eq!(counts(&fixture), (2, 1));

    // when, then
    fixture.register("tm", 3, &SlotReport::default());
    assert_eq!(counts(&fixture), (2, 1));

    // when, then
    fixture.unblock("tm");
    assert_eq!(counts(&fixture), (2, 0));

    // when, then
    fixture.block("tm");
    fixture.unregister(3);
    assert_eq!(counts(&fixture), (1, 0));
}

// Promised slots and requests.

#[test]
fn promised_slots_are_counted_with_their_resources() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.register_free("tm", 1, &[sized(1)]);
    fixture.promise_next(&[sized(2), sized(4), ResourceProfile::ANY]);

    // when
    fixture.request(1, &sized(2));

    // then
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 2));

    // when, then
    fixture.request(2, &sized(4));
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 1));

    // when, then
    fixture.cancel(1);
    assert_eq!(promised(&fixture), ((3, 6.0, 600), 2));

    // when, then
    fixture.report(1, &free_report("tm", &[sized(1), sized(2)]));
    assert_eq!(promised(&fixture), ((2, 4.0, 400), 1));

    // when, then
    fixture.advance(10 * SECOND);
    assert_eq!(promised(&fixture), (NONE, 0));
}

#[test]
fn promised_slots_end_when_their_worker_fails_or_is_withdrawn() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[sized(2), sized(2)]);
    fixture.request(1, &sized(2));

    // when
    fixture.worker_failed(1);

    // then
    assert_eq!(promised(&fixture), (NONE, 0));

    // when
    fixture.cancel(1);
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.promise_next(&[sized(4)]);
    fixture.request(2, &sized(4));

    // then
    assert_eq!(promised(&fixture), ((1, 4.0, 400), 0));

    // when, then
    fixture.cancel(2);
    assert_eq!(promised(&fixture), (NONE, 0));
}

#[test]
fn requests_are_pending_until_they_are_granted() {
    // given
    let mut fixture = backing_off();

    // then
    assert_eq!(overview(&fixture).pending_requests, 2);

    // when, then
    fixture.request(3, &sized(9));
    fixture.register_by_hand("other", 2, &free_report("other", &[sized(8)]));
    fixture.request(4, &sized(8));
    assert_eq!(overview(&fixture).pending_requests, 4);

    // when, then
    fixture.register_free("large", 3, &[sized(9)]);
    assert_eq!(overview(&fixture).pending_requests, 3);

    // when, then
    fixture.cancel(4);
    assert_eq!(overview(&fixture).pending_requests, 2);
}

#[test]
fn counters_outlive_a_suspension() {
    // given
    let mut fixture = everything();
    let before = overview(&fixture);

    // when
    fixture.suspend();

    // then
    let after = overview(&fixture);
    assert_eq!(after.counters, before.counters);

    // when, then
    let mut expected = Overview::default();
    expected.counters = before.counters;
    assert_eq!(after, expected);

    // when, then
    fixture.start(2);
    assert_eq!(overview(&fixture), expected);
}

// Formats.

#[test]
fn overviews_are_read_back() {
    // given
    let fixture = everything();

    // then
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
fn overview_is_written_for_operators() {
    // given
    let expected = [
        "task managers 3 (1 blocked)",
        "registered  5 slots (5.3 cores, 0.5 GiB)",
        "free        1 slot (0.3 cores, 0.0 GiB)",
        "blocked     1 slot (1.0 cores, 0.1 GiB)",
        "in flight   1 slot (2.0 cores, 0.2 GiB)",
        "allocated   2 slots (2.0 cores, 0.2 GiB)",
        "promised    2 slots (2.0 cores, 0.2 GiB), 0 unbound",
        "requests    pending 4; so far accepted 7, served 2, cancelled 1, retried 1",
        "failed      0: timeout 0, resource manager 0, unfulfillable 0, held by another job 0; grants lost 1",
        "workers     requested 4, declined 0, withdrawn 0, failed 1; task managers released 0, refused 1",
        "reports     stale 1, refused 1",
    ];

    // then
    assert_eq!(overview(&everything()).to_string(), expected.join("\n"));
}

#[test]
fn resources_are_written_in_cores_and_gibibytes() {
    // then
    assert_eq!(Resources::default().to_string(), "0 slots (0.0 cores, 0.0 GiB)");

    // when, then
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[profile(1.5, 2560)]);
    let registered = overview(&fixture).slots.registered;
    assert_eq!(registered.to_string(), "1 slot (1.5 cores, 2.5 GiB)");
}

#[test]
fn kinds_of_memory_are_written_if_slots_have_several() {
    // given
    let mut fixture = Fixture::new();
    let slot = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_mebibytes(2048)
        .managed_memory_mebibytes(512)
        .extended_resource("gpu", 0.5)
        .build()
        .expect("valid amounts");

    // when
    fixture.register_free("tm", 1, &[slot.clone(), slot]);
    fixture.request(1, &ResourceProfile::ZERO);

    // then
    let expected = [
        "registered  2 slots (2.0 cores, 5.0 GiB, gpu 1)",
        "free memory task heap 2.0 of 4.0 GiB, managed 0.5 of 1.0 GiB",
        "free        1 slot (1.0 cores, 2.5 GiB, gpu 0.5)",
        "blocked     0 slots (0.0 cores, 0.0 GiB)",
        "in flight   0 slots (0.0 cores, 0.0 GiB)",
        "allocated   1 slot (1.0 cores, 2.5 GiB, gpu 0.5)",
    ];
    assert_eq!(overview(&fixture).slots.to_string(), expected.join("\n"));
}

#[test]
fn overview_is_empty_without_task_managers_requests_and_promises() {
    // given
    let mut fixture = Fixture::new();
    assert!(overview(&fixture).is_empty());

    // when, then: a task manager
    fixture.register_free("tm", 1, &[small()]);
    assert!(!overview(&fixture).is_empty());
    fixture.unregister(1);
    assert!(overview(&fixture).is_empty());

    // when, then: a request and a promised slot
    fixture.promise_next(&[small()]);
    fixture.request(1, &small());
    assert!(!overview(&fixture).is_empty());
    fixture.cancel(1);
    assert!(!overview(&fixture).is_empty(), "the withdrawal was too late");
    fixture.worker_failed(1);
    assert!(overview(&fixture).is_empty());
}
