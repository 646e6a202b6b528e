//! Our side of a run: a warm-up, then the median of some iterations.

use std::time::{Duration, Instant};

use crate::catalogue::Prepared;
use crate::clock::Clock;
use crate::run::{Run, Side};

const LEAST_WARM_UP_ITERATIONS: usize = 2;
const LEAST_ITERATIONS: usize = 3;
const LEAST_ITERATION: Duration = Duration::from_millis(100);
const ENOUGH: Duration = Duration::from_secs(5);

/// Prints a line for each phase: its name and the median of nanoseconds per operation.
///
/// A floor has no line for what it cannot do.
pub(crate) fn print(side: Side, run: &Run) {
    let Some(mut workload) = run.prepare(side) else {
        return;
    };
    let start = now();
    let mut warm_ups = 0;
    while warm_ups < LEAST_WARM_UP_ITERATIONS || start.elapsed() < run.warm_up {
        iteration(&mut workload);
        warm_ups += 1;
    }
    let start = now();
    let mut iterations = Vec::with_capacity(run.iterations);
    while iterations.len() < run.iterations && (iterations.len() < LEAST_ITERATIONS || start.elapsed() < ENOUGH) {
        iterations.push(iteration(&mut workload));
    }
    for phase in run.workload.phases {
        let samples = iterations
            .iter()
            .flat_map(Clock::nanoseconds_per_operation)
            .filter_map(|(name, sample)| (name == phase.name).then_some(sample))
            .collect();
        if let Some(median) = median(samples) {
            println!("{} {median}", phase.name);
        }
    }
}

/// Repeats a short workload until the iteration is long enough.
fn iteration(workload: &mut Prepared) -> Clock {
    let mut clock = Clock::default();
    let start = now();
    loop {
        workload(&mut clock);
        if start.elapsed() >= LEAST_ITERATION {
            return clock;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the manager reads no clock of the machine, its benchmarks do"
)]
fn now() -> Instant {
    Instant::now()
}

/// Returns the median; `None` without a value.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (last, middle) = (values.len().checked_sub(1)?, values.len() / 2);
    Some((values[last / 2] + values[middle]) / 2.0)
}
