//! A manager with numbers at their limits: the end of time, slot numbers, revisions, worker
//! requests, odd profiles and ids.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::message::{Acknowledge, Release, WorkerPromise};
use slot_manager::outcome::{AllocationStatus, ReportOutcome, Stale, WorkerFailedOutcome};
use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    LeaderId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, SlotStatus, TaskExecutorConnection, Timestamp,
    WorkerRequestId,
};

use crate::common::{
    Fixture, LAST_NUMBER, allocation, free_report, granted, instance, job, patient, profile, rejected, report, slot,
    small,
};

const SECOND: Duration = Duration::from_secs(1);

/// The same length for each timeout.
fn all_timeouts(length: Duration) -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_request_timeout(length)
        .with_rpc_timeout(length)
        .with_task_manager_timeout(length)
        .with_worker_registration_timeout(length)
        .with_retry_backoff(length, length)
}

/// A manager with a record of each kind that has a deadline.
fn busy_at(now: Timestamp, config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::not_started(config);
    fixture.clock.set_now(now);
    fixture.start(1);
    fixture.actions.answer_releases(Release::Declined);
    fixture
        .register_free("silent", 1, &[profile(1.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &profile(1.0, 0));
    fixture
        .register_free("bad", 2, &[profile(2.0, 0)])
        .answer_requests(rejected());
    fixture.request(2, &profile(2.0, 0));
    fixture.request(3, &profile(2.0, 0));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Declined));
    fixture.request(4, &profile(8.0, 0));
    fixture.request(5, &profile(9.0, 0));
    fixture.register_free("idle", 3, &[profile(0.5, 0)]);
    fixture
}

/// Drives the manager through the next minutes, or up to the end of time.
fn live_on(fixture: &mut Fixture) {
    for _ in 0..20 {
        fixture.run();
        assert_eq!(fixture.run(), 0, "nothing spins");
        let next = fixture.manager.next_deadline().unwrap_or(fixture.clock_now() + SECOND);
        fixture.clock.advance_to(next.max(fixture.clock_now()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn manager_lives_on_until_the_end_of_time(
        before_the_end in prop_oneof![Just(0), 0..10_u64, 0..2_000_000_000_u64, any::<u64>()],
        length in prop_oneof![
            Just(Duration::ZERO), Just(Duration::from_nanos(1)), (0..2_000_000_000_u64).prop_map(Duration::from_nanos),
            Just(Duration::from_nanos(u64::MAX)), any::<Duration>(), Just(Duration::MAX),
        ],
    ) {
        let now = Timestamp::from_nanos(u64::MAX - before_the_end);
        let mut fixture = busy_at(now, all_timeouts(length));
        live_on(&mut fixture);
        // It still serves requests.
        fixture.register_free("good", 4, &[profile(0.0, 7)]);
        prop_assert_eq!(fixture.request(6, &profile(0.0, 7)), granted(&slot("good", 0)));
    }
}

#[test]
fn at_the_end_of_time_nothing_is_over() {
    let mut fixture = busy_at(Timestamp::MAX, all_timeouts(SECOND));
    assert_eq!(fixture.manager.next_deadline(), None);
    fixture.log.take();
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.manager.overview().pending_requests, 5);
}

#[test]
fn slot_numbers_revisions_and_worker_requests_may_be_the_largest_numbers() {
    let mut fixture = Fixture::new();
    let connection = TaskExecutorConnection::new("", instance(u128::MAX), fixture.gateway())
        .with_worker_request(WorkerRequestId::new(LeaderId::from_u128(1), u64::MAX));
    let slots = |numbers: &[u32]| -> SlotReport {
        let free = |number: &u32| SlotStatus::free(slot("", *number), small());
        numbers.iter().map(free).collect()
    };
    let all = slots(&[LAST_NUMBER, 0, LAST_NUMBER - 1, 1, 1 << 30]).with_revision(u64::MAX);
    fixture.try_register(connection, &all).expect("a valid registration");
    assert_eq!(fixture.request(u128::MAX, &small()), granted(&slot("", LAST_NUMBER)));
    assert_eq!(fixture.request(0, &small()), granted(&slot("", 0)));
    let stale = ReportOutcome::Ignored(Stale {
        revision: u64::MAX - 1,
        highest_seen: u64::MAX,
    });
    assert_eq!(
        fixture.report(u128::MAX, &slots(&[]).with_revision(u64::MAX - 1)),
        stale
    );
    assert_eq!(
        fixture.report(u128::MAX, &slots(&[0]).with_revision(u64::MAX)),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.report(u128::MAX, &slots(&[1])), ReportOutcome::Applied);
    assert_eq!(fixture.worker_failed(u64::MAX), WorkerFailedOutcome::Unknown);
    assert_eq!(fixture.worker_failed(0), WorkerFailedOutcome::Unknown);
}

/// After an acknowledgement with the largest revision, each report with a smaller revision is
/// stale.
#[test]
fn acknowledgement_may_carry_the_largest_revision() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(Ok(Acknowledge::new().with_revision(u64::MAX)));
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    assert!(matches!(
        fixture.report(1, &report("tm", &[None]).with_revision(0)),
        ReportOutcome::Ignored(_)
    ));
    assert_eq!(fixture.report(1, &report("tm", &[Some(1)])), ReportOutcome::Applied);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
}

/// Answers to attempts that do not exist.
#[test]
fn no_answer_can_be_given_to_an_attempt_that_does_not_exist() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    for attempt in [0, 2, u64::MAX] {
        assert!(gateway.answer(attempt, Ok(Acknowledge::new())).is_err());
    }
    fixture.answer(&gateway, 1, Ok(Acknowledge::new()));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn ids_of_workers_may_be_any_text() {
    let mut fixture = Fixture::new();
    let long = "x".repeat(1 << 20);
    let workers = ["", "_", "_0", "0", "tm_0", "\0", " ", "a\nb", "🦀", "\u{202e}", &long];
    for (number, worker) in (1..).zip(workers) {
        fixture.register_free(worker, number, &[small()]);
    }
    for (number, worker) in (1..).zip(workers) {
        assert_eq!(fixture.request(number, &small()), granted(&slot(worker, 0)));
        let id: SlotId = slot(worker, 0).to_string().parse().expect("its own text");
        assert_eq!(fixture.holder(&id), Some(allocation(number)));
    }
}

/// `ZERO`, `ANY` and `UNKNOWN`, on slots and in requests.
#[test]
fn odd_profiles_of_slots_and_requests_are_matched_by_the_rules() {
    let odd = [ResourceProfile::ZERO, ResourceProfile::ANY, ResourceProfile::UNKNOWN];
    for (asked, has) in odd.iter().flat_map(|asked| odd.iter().map(move |has| (asked, has))) {
        let mut fixture = Fixture::new();
        fixture.request(1, asked);
        fixture
            .actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(vec![has.clone(); 3])));
        fixture.request(2, asked);
        fixture.register("tm", 1, &free_report("tm", &[has.clone(), has.clone()]));
        let expected = |number| match has.is_matching(asked) {
            true => granted(&slot("tm", number)),
            false => AllocationStatus::Waiting,
        };
        assert_eq!(fixture.status(1), Some(expected(0)), "{asked} {has}");
        assert_eq!(fixture.status(2), Some(expected(1)), "{asked} {has}");
        // The profile of a slot changes.
        let changed = odd
            .iter()
            .cloned()
            .map(|profile| SlotStatus::free(slot("tm", 7), profile));
        for status in changed {
            fixture.report(1, &SlotReport::new(vec![status]));
        }
    }
}

/// Workers are promised with more slots than requested, of profiles that fit no request.
#[test]
fn promises_of_thousands_of_slots_are_recorded() {
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(SECOND));
    let promised: Vec<_> = (1..=5_000_u32).map(|n| profile(f64::from(n), 0)).collect();
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(promised)));
    fixture.request(1, &profile(5_000.0, 0));
    fixture.request(2, &profile(4_999.5, 0));
    assert_eq!(fixture.promised(), (1, 4_999));
    fixture.advance(SECOND);
    assert_eq!(fixture.manager.overview().unbound_promised_slots, 0);
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(Vec::new())));
    fixture.request(3, &small());
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.step(|manager| manager.unregister_job(job(1))), 3);
}
