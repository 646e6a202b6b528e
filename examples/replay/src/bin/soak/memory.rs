//! The memory of this process: resident, and allocated on the heap.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The memory at one time, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// `None` on systems that do not have `/proc`.
    pub(crate) resident: Option<u64>,
    pub(crate) heap: u64,
}

impl Memory {
    pub(crate) fn now() -> Self {
        let stats = ALLOCATOR.stats();
        let heap = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        Self {
            resident: resident_set(),
            heap: heap as u64 / 1024,
        }
    }
}

fn resident_set() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
