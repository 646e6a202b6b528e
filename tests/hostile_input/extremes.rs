//! A manager with numbers at their limits: the end of time, slot numbers, revisions, worker requests, odd profiles and
//! ids.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    Acknowledge, AllocationStatus, Release, ReportOutcome, ResourceProfile, SlotAllocationError, SlotId,
    SlotManagerConfig, SlotReport, SlotStatus, Stale, TaskExecutorConnection, Timestamp, WorkerFailedOutcome,
    WorkerPromise, WorkerRequestId,
};

use crate::common::{Fixture, allocation, free_report, granted, instance, job, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// The same length for every kind of timeout.
fn all_timeouts(length: Duration) -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_request_timeout(length)
        .with_rpc_timeout(length)
        .with_task_manager_timeout(length)
        .with_worker_registration_timeout(length)
        .with_retry_backoff(length, length)
}

/// Something of each that has a deadline.
fn busy_at(now: Timestamp, config: SlotManagerConfig) -> Fixture {
    let mut f = Fixture::not_started(config);
    f.clock.set_now(now);
    f.start(1);
    f.actions.answer_releases(Release::Declined);
    f.register_free("silent", 1, &[profile(1.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    f.request(1, &profile(1.0, 0));
    f.register_free("bad", 2, &[profile(2.0, 0)])
        .answer_requests(Err(SlotAllocationError::rejected("no")));
    f.request(2, &profile(2.0, 0));
    f.request(3, &profile(2.0, 0));
    f.actions.answer_next_allocation(Ok(WorkerPromise::Declined));
    f.request(4, &profile(8.0, 0));
    f.request(5, &profile(9.0, 0));
    f.register_free("idle", 3, &[profile(0.5, 0)]);
    f
}

/// The next minutes or the end of time, whichever comes first: every step is driven to its end.
fn live_on(f: &mut Fixture) {
    for _ in 0..20 {
        f.run();
        assert_eq!(f.run(), 0, "nothing spins");
        let next = f.manager.next_deadline().unwrap_or(f.clock_now() + SECOND);
        f.clock.advance_to(next.max(f.clock_now()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_manager_lives_on_until_the_end_of_time(
        before_the_end in prop_oneof![Just(0), 0..10_u64, 0..2_000_000_000_u64, any::<u64>()],
        length in prop_oneof![
            Just(Duration::ZERO), Just(Duration::from_nanos(1)), (0..2_000_000_000_u64).prop_map(Duration::from_nanos),
            Just(Duration::from_nanos(u64::MAX)), any::<Duration>(), Just(Duration::MAX),
        ],
    ) {
        let now = Timestamp::from_nanos(u64::MAX - before_the_end);
        let mut f = busy_at(now, all_timeouts(length));
        live_on(&mut f);
        // And serves whoever comes.
        f.register_free("good", 4, &[profile(0.0, 7)]);
        prop_assert_eq!(f.request(6, &profile(0.0, 7)), granted(&slot("good", 0)));
    }
}

#[test]
fn at_the_end_of_time_nothing_is_over() {
    let mut f = busy_at(Timestamp::MAX, all_timeouts(SECOND));
    assert_eq!(f.manager.next_deadline(), None);
    f.log.take();
    assert_eq!(f.run(), 0);
    f.expect_nothing();
    assert_eq!(f.manager.num_pending_slot_requests(), 5);
}

#[test]
fn slot_numbers_revisions_and_worker_requests_may_be_as_large_as_can_be_counted() {
    let mut f = Fixture::new();
    let connection = TaskExecutorConnection::new("", instance(u128::MAX), f.gateway())
        .with_worker_request(WorkerRequestId::new(u64::MAX));
    let slots = |numbers: &[u32]| -> SlotReport {
        let free = |number: &u32| SlotStatus::free(slot("", *number), small());
        numbers.iter().map(free).collect()
    };
    let all = slots(&[u32::MAX, 0, u32::MAX - 1, 1, 1 << 31]).with_revision(u64::MAX);
    f.try_register(connection, &all).expect("a valid registration");
    assert_eq!(f.request(u128::MAX, &small()), granted(&slot("", u32::MAX)));
    assert_eq!(f.request(0, &small()), granted(&slot("", 0)));
    let stale = ReportOutcome::Ignored(Stale {
        revision: u64::MAX - 1,
        highest_seen: u64::MAX,
    });
    assert_eq!(f.report(u128::MAX, &slots(&[]).with_revision(u64::MAX - 1)), stale);
    assert_eq!(
        f.report(u128::MAX, &slots(&[0]).with_revision(u64::MAX)),
        ReportOutcome::Applied
    );
    assert_eq!(f.report(u128::MAX, &slots(&[1])), ReportOutcome::Applied);
    assert_eq!(f.worker_failed(u64::MAX), WorkerFailedOutcome::Unknown);
    assert_eq!(f.worker_failed(0), WorkerFailedOutcome::Unknown);
}

/// An acknowledgement with the largest revision makes every earlier report, with a revision, an overtaken one.
#[test]
fn an_acknowledgement_may_carry_the_largest_revision() {
    let mut f = Fixture::new();
    f.register_free("tm", 1, &[small()])
        .answer_requests(Ok(Acknowledge::new().with_revision(u64::MAX)));
    assert_eq!(f.request(1, &small()), granted(&slot("tm", 0)));
    assert!(matches!(
        f.report(1, &report("tm", &[None]).with_revision(0)),
        ReportOutcome::Ignored(_)
    ));
    assert_eq!(f.report(1, &report("tm", &[Some(1)])), ReportOutcome::Applied);
    assert_eq!(f.holder(&slot("tm", 0)), Some(allocation(1)));
}

/// Answers to attempts that never were, by number.
#[test]
fn no_answer_can_be_given_to_an_attempt_that_never_was() {
    let mut f = Fixture::new();
    let gateway = f.register_by_hand("tm", 1, &report("tm", &[None]));
    f.request(1, &small());
    for attempt in [0, 2, u64::MAX] {
        assert!(gateway.answer(attempt, Ok(Acknowledge::new())).is_err());
    }
    f.answer(&gateway, 1, Ok(Acknowledge::new()));
    assert_eq!(f.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn ids_of_workers_may_be_any_text() {
    let mut f = Fixture::new();
    let long = "x".repeat(1 << 20);
    let workers = ["", "_", "_0", "0", "tm_0", "\0", " ", "a\nb", "🦀", "\u{202e}", &long];
    for (number, worker) in (1..).zip(workers) {
        f.register_free(worker, number, &[small()]);
    }
    for (number, worker) in (1..).zip(workers) {
        assert_eq!(f.request(number, &small()), granted(&slot(worker, 0)));
        let id: SlotId = slot(worker, 0).to_string().parse().expect("its own text");
        assert_eq!(f.holder(&id), Some(allocation(number)));
    }
}

/// Nothing of everything, everything, and nobody knows: on slots and in requests.
#[test]
fn odd_profiles_of_slots_and_requests_are_matched_by_the_rules() {
    let odd = [ResourceProfile::ZERO, ResourceProfile::ANY, ResourceProfile::UNKNOWN];
    for (asked, has) in odd.iter().flat_map(|asked| odd.iter().map(move |has| (asked, has))) {
        let mut f = Fixture::new();
        f.request(1, asked);
        f.actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(vec![has.clone(); 3])));
        f.request(2, asked);
        f.register("tm", 1, &free_report("tm", &[has.clone(), has.clone()]));
        let expected = |number| match has.is_matching(asked) {
            true => granted(&slot("tm", number)),
            false => AllocationStatus::Waiting,
        };
        assert_eq!(f.status(1), Some(expected(0)), "{asked} {has}");
        assert_eq!(f.status(2), Some(expected(1)), "{asked} {has}");
        // And a slot that changes what it is.
        let changed = odd
            .iter()
            .cloned()
            .map(|profile| SlotStatus::free(slot("tm", 7), profile));
        for status in changed {
            f.report(1, &SlotReport::new(vec![status]));
        }
    }
}

/// Worker requests are promised more slots than are asked for, of profiles that fit nothing.
#[test]
fn promises_of_thousands_of_slots_are_kept_track_of() {
    let mut f = Fixture::with(patient().with_worker_registration_timeout(SECOND));
    let promised: Vec<_> = (1..=5_000_u32).map(|n| profile(f64::from(n), 0)).collect();
    f.actions.answer_next_allocation(Ok(WorkerPromise::Slots(promised)));
    f.request(1, &profile(5_000.0, 0));
    f.request(2, &profile(4_999.5, 0));
    let counts = f.manager.promised_slot_counts();
    assert_eq!((counts.bound, counts.unbound), (1, 4_999));
    f.advance(SECOND);
    assert_eq!(f.manager.promised_slot_counts().unbound, 0);
    f.actions.answer_next_allocation(Ok(WorkerPromise::Slots(Vec::new())));
    f.request(3, &small());
    assert_eq!(f.status(3), Some(AllocationStatus::Waiting));
    assert_eq!(f.step(|manager| manager.unregister_job(job(1))), Ok(3));
}
