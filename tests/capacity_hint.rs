//! What the capacity hint does, and what is done without it: seen from the allocator.
//!
//! One test, for the allocator counts the whole process.

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/outside.rs"]
mod outside;

use std::sync::Arc;

use slot_manager::{
    AllocationId, AllocationStatus, CancelOutcome, Capacity, JobId, ResourceProfile, SlotManagerConfig, SlotRequest,
    SlotRequestOutcome,
};

use crate::allocator::{held_bytes, num_allocations};
use crate::outside::{Count, Prompt, started_with};

const REQUESTS: usize = 10_000;
/// A request is at least so large.
const BYTES: usize = 100;

#[test]
fn with_the_hint_memory_is_taken_at_the_start_and_kept_without_it_a_peak_is_given_back() {
    let capacity = Capacity {
        pending_requests: REQUESTS,
        ..Capacity::default()
    };
    // What the test harness allocates meanwhile counts as well, when it is slow to begin: it does so once.
    let (first, second) = (peak(capacity), peak(capacity));
    let hinted = if first.allocations == 0 { first } else { second };
    assert_eq!(hinted.allocations, 0, "all was there");
    assert!(hinted.held_before > REQUESTS * BYTES, "from the start");
    assert!(hinted.held_after > REQUESTS * BYTES, "and it is kept");

    let unhinted = peak(Capacity::default());
    assert!(unhinted.allocations > 0, "tables grow");
    assert!(unhinted.held_at_most > REQUESTS * BYTES, "with what is in them");
    assert!(
        unhinted.held_after < BYTES * BYTES,
        "and are given back when they are empty"
    );
}

struct Peak {
    /// How many bytes the manager held with its first request.
    held_before: usize,
    /// How often it asked for memory for all others.
    allocations: usize,
    held_at_most: usize,
    /// When all were cancelled.
    held_after: usize,
}

/// As many requests wait as the hint names, and are cancelled.
fn peak(capacity: Capacity) -> Peak {
    let address: Arc<str> = "job-master".into();
    let request = |n| {
        let (job_id, allocation_id) = (JobId::from_u128(1), AllocationId::from_u128(n as u128));
        SlotRequest::new(job_id, allocation_id, ResourceProfile::ZERO, Arc::clone(&address))
    };
    let held_by_others = held_bytes();
    let held = || held_bytes() - held_by_others;
    let config = SlotManagerConfig::default().with_initial_capacity(capacity);
    let (mut manager, _) = started_with::<_, Prompt>(config, Count::default());
    let mut wait = |n| {
        let registered = manager.register_slot_request(request(n));
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    };
    // It brings the profile, the job and the address that all have in common.
    wait(0);
    let (held_before, allocations) = (held(), num_allocations());
    (1..REQUESTS).for_each(&mut wait);
    let (held_at_most, allocations) = (held(), num_allocations() - allocations);
    for n in 0..REQUESTS {
        let cancelled = manager.unregister_slot_request(AllocationId::from_u128(n as u128));
        assert_eq!(cancelled, Ok(CancelOutcome::Cancelled));
    }
    Peak {
        held_before,
        allocations,
        held_at_most,
        held_after: held(),
    }
}
