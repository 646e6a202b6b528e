//! The time of the phases of a workload.

use std::time::{Duration, Instant};

/// Sums of operations and time by phase.
#[derive(Default)]
pub(crate) struct Clock {
    phases: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    operations: usize,
    time: Duration,
}

impl Clock {
    /// Adds the time of `work`. Its result is dropped after the clock has stopped.
    #[inline(never)]
    #[expect(
        clippy::disallowed_methods,
        reason = "the manager reads no clock of the machine, its benchmarks do"
    )]
    pub(crate) fn time<T>(&mut self, phase: &'static str, operations: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = std::hint::black_box(work());
        self.add(phase, operations, start.elapsed());
        result
    }

    fn add(&mut self, name: &'static str, operations: usize, time: Duration) {
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => {
                phase.operations += operations;
                phase.time += time;
            }
            None => self.phases.push(Phase { name, operations, time }),
        }
    }

    /// Returns the phases in the order of their first use.
    pub(crate) fn nanoseconds_per_operation(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.phases
            .iter()
            .map(|phase| (phase.name, phase.time.as_nanos() as f64 / phase.operations as f64))
    }
}
