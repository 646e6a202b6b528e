//! An allocator for benches and tests that counts every allocation and every byte, at the cost of
//! two atomic additions each.
//!
//! It counts requested bytes. The system's allocator needs another 8 to 16 bytes for each
//! allocation; only the resident set of the process shows those.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of bytes that the process holds.
pub(crate) fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Returns the number of allocations and reallocations so far.
pub(crate) fn num_allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}
