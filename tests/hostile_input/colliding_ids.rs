//! Ids that are slow to look up: close together, equal in many bits, or with equal hashes.
//!
//! A sender who chooses all 128 bits and knows the seed of the hashes can make ids with equal
//! hashes. Then the cost of each id grows with the number of the others. Each manager has a random
//! seed, so nobody knows it. The results are correct in any case.

use std::time::{Duration, Instant};

use slot_manager::message::SlotFreed;
use slot_manager::outcome::{CancelOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome};
use slot_manager::{
    AllocationId, InstanceId, JobId, SlotId, SlotManagerConfig, SlotReport, SlotRequest, SlotStatus,
    TaskExecutorConnection,
};

use crate::common::small;
use crate::outside::{Count, Prompt, started_with};

/// With these lower 64 bits all ids have the same hash under the seed zero.
const ABSORBING: u128 = 0x082e_fa98_ec4e_6c89;

/// Runs requests, grants, frees, cancellations, jobs and task managers with these ids, until no
/// record is left. Returns the time for each id.
#[expect(clippy::disallowed_methods, reason = "the results do not depend on the time")]
fn live(name: &str, hash_seed: Option<u64>, count: u64, id: impl Fn(u64) -> u128) -> Duration {
    let begun = Instant::now();
    let config = SlotManagerConfig::default().with_hash_seed(hash_seed);
    let (mut manager, _) = started_with::<_, Prompt>(config, Count::default());
    let workers = (0..count).step_by(10);
    let worker_of = |n: u64| format!("{:032x}", id(n - n % 10));
    for worker in workers.clone() {
        let slots = 0..u32::try_from(10.min(count - worker)).expect("at most ten");
        let report: SlotReport = slots
            .map(|number| SlotStatus::free(SlotId::new(worker_of(worker), number), small()))
            .collect();
        let connection = TaskExecutorConnection::new(worker_of(worker), InstanceId::from_u128(id(worker)), Prompt);
        assert!(manager.register_task_manager(connection, &report).is_ok());
    }
    let request = |n: u64, round: u64| {
        let (job_id, allocation_id) = (JobId::from_u128(id(n)), AllocationId::from_u128(id(n + round * count)));
        SlotRequest::new(job_id, allocation_id, small(), "job-master")
    };
    // One half of the requests is granted, the other half waits.
    for round in 0..2 {
        for n in 0..count {
            let accepted = manager.register_slot_request(request(n, round));
            assert!(matches!(accepted, Ok(SlotRequestOutcome::Accepted(_))), "{accepted:?}");
        }
    }
    assert_eq!(manager.overview().pending_requests as u64, count);
    for n in 0..count {
        assert!(matches!(
            manager.register_slot_request(request(n, 1)),
            Ok(SlotRequestOutcome::Duplicate(_))
        ));
    }
    assert_eq!(manager.check_invariants(), Ok(()));

    // Every other waiting request is cancelled, the others are served when slots become free.
    for n in (0..count).step_by(2) {
        if n % 4 == 0 {
            assert_eq!(manager.unregister_job(JobId::from_u128(id(n))), 1);
        } else {
            let cancelled = manager.unregister_slot_request(AllocationId::from_u128(id(n + count)));
            assert_eq!(cancelled, CancelOutcome::Cancelled);
        }
    }
    for n in 0..count {
        let slot_id = SlotId::new(worker_of(n), u32::try_from(n % 10).expect("below ten"));
        let holder = manager
            .slot(&slot_id)
            .and_then(|slot| slot.allocation_id())
            .expect("it is held");
        assert_eq!(
            manager.slot_freed(&SlotFreed::new(slot_id.clone(), holder)),
            SlotFreedOutcome::Freed
        );
    }
    assert_eq!(manager.overview().pending_requests, 0);
    assert_eq!(manager.overview().slots.allocated.slots as u64, count / 2);
    assert_eq!(manager.check_invariants(), Ok(()));
    for worker in workers {
        let unregistered = manager.unregister_task_manager(InstanceId::from_u128(id(worker)), "lost");
        assert_eq!(unregistered, UnregistrationOutcome::Unregistered);
    }
    assert_eq!(manager.overview().slots.registered.slots, 0);
    assert_eq!(manager.check_invariants(), Ok(()));
    let of_each = begun.elapsed() / u32::try_from(count).expect("few");
    println!("{name}: {of_each:.0?} for each of {count}");
    of_each
}

/// Prints the times with `--nocapture`: they are alike for all ids.
#[test]
fn ids_that_are_equal_in_many_bits_are_told_apart() {
    let live = |name, id: fn(u64) -> u128| {
        live(name, None, 4_000, id);
    };
    live("spread", |n| {
        (u128::from(n) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    });
    live("sequential", u128::from);
    live("sequential, from the end", |n| u128::MAX - u128::from(n));
    live("equal lower 64 bits", |n| u128::from(n) << 64 | 7);
    live("equal lower 112 bits", |n| u128::from(n) << 112 | 7);
    live("every 2^32", |n| u128::from(n) << 32);
    live("equal halves", |n| u128::from(n) << 64 | u128::from(n));
    live("complementary halves", |n| u128::from(n) << 64 | u128::from(!n));
}

#[test]
fn ids_with_equal_hashes_are_told_apart() {
    const COUNT: u64 = 500;
    let id = |n: u64| u128::from(n) << 64 | ABSORBING;
    live("equal hashes", Some(0), COUNT, id);
    live("equal hashes, twice as many", Some(0), 2 * COUNT, id);
}

/// Under the known seed a search passes all ids, so each costs many times as much.
#[test]
fn ids_that_collide_under_a_known_seed_cost_no_more_under_a_random_one() {
    const COUNT: u64 = 1_000;
    let id = |n: u64| u128::from(n) << 64 | ABSORBING;
    let known = live("equal hashes, known seed", Some(0), COUNT, id);
    // Another test may delay one run.
    let random = (0..3).map(|_| live("equal hashes, random seed", None, COUNT, id)).min();
    assert!(random < Some(known / 2), "{random:?} each, {known:?} with a known seed");
}
