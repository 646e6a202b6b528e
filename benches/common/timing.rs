//! The clock of the benches.

use std::time::{Duration, Instant};

/// Measures `work`. Its result is dropped after the clock has stopped.
///
/// Never inlined: a profiler shows the measured code below this frame.
#[inline(never)]
#[expect(
    clippy::disallowed_methods,
    reason = "the manager reads no clock of the machine, its benchmarks do"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = std::hint::black_box(work());
    (start.elapsed(), result)
}
