//! What the phases of a workload take.

use std::time::{Duration, Instant};

/// Adds up operations and time by phase.
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
    /// Adds how long `work` takes. What it returns is dropped after the clock has stopped.
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

    /// By phase, in the order in which they came.
    pub(crate) fn nanoseconds_per_operation(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.phases
            .iter()
            .map(|phase| (phase.name, phase.time.as_nanos() as f64 / phase.operations as f64))
    }
}
