//! The allocator of a bench or test that counts: every allocation and every byte, exactly, at the cost of two atomic
//! additions each.
//!
//! It counts what is asked for. What the system's allocator needs beside that, 8 to 16 bytes for each allocation, is in
//! the resident set of the process only.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many bytes the process holds.
pub(crate) fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// How often memory was asked for so far, first or to grow or shrink what was there.
pub(crate) fn num_allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}
