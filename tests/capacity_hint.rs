//! The effect of the capacity hint on memory, and the memory of a manager without it.
//!
//! There is one test, because the allocator counts for the whole process.

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/outside.rs"]
mod outside;

use std::sync::Arc;

use slot_manager::config::Capacity;
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
use slot_manager::{AllocationId, JobId, ResourceProfile, SlotManagerConfig, SlotRequest};

use crate::allocator::{held_bytes, num_allocations};
use crate::outside::{Count, Prompt, started_with};

const REQUESTS: usize = 10_000;
/// The least number of bytes that a request takes.
const BYTES: usize = 100;

#[test]
fn manager_reserves_and_keeps_memory_with_the_hint_and_returns_it_after_a_peak_without() {
    // given, when: the hint
    let capacity = Capacity {
        pending_requests: REQUESTS,
        ..Capacity::default()
    };
    // The test harness allocates once, which counts as well if the harness starts late.
    let (first, second) = (peak(capacity), peak(capacity));
    let hinted = if first.allocations == 0 { first } else { second };

    // then
    assert_eq!(hinted.allocations, 0, "the reserved memory is enough");
    assert!(hinted.held_before > REQUESTS * BYTES, "it is reserved at the start");
    assert!(hinted.held_after > REQUESTS * BYTES, "it is kept");

    // given, when: no hint
    let unhinted = peak(Capacity::default());

    // then
    assert!(unhinted.allocations > 0, "tables grow");
    assert!(unhinted.held_at_most > REQUESTS * BYTES, "they hold all requests");
    assert!(unhinted.held_after < BYTES * BYTES, "empty tables return their memory");
}

struct Peak {
    /// Bytes of the manager with its first request.
    held_before: usize,
    /// Allocations for all other requests.
    allocations: usize,
    /// Bytes with all requests.
    held_at_most: usize,
    /// Bytes after all requests were cancelled.
    held_after: usize,
}

/// Registers as many requests as the hint names, all of which wait, and cancels them.
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
    // The first request adds the profile, the job and the address that all requests share.
    wait(0);
    let (held_before, allocations) = (held(), num_allocations());
    (1..REQUESTS).for_each(&mut wait);
    let (held_at_most, allocations) = (held(), num_allocations() - allocations);
    for n in 0..REQUESTS {
        let cancelled = manager.unregister_slot_request(AllocationId::from_u128(n as u128));
        assert_eq!(cancelled, CancelOutcome::Cancelled);
    }
    Peak {
        held_before,
        allocations,
        held_at_most,
        held_after: held(),
    }
}
