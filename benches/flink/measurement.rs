//! Our side of a run: a warm-up, then the median of some iterations.

use std::time::{Duration, Instant};

use crate::catalogue::Prepared;
use crate::clock::Clock;
use crate::run::Run;

const LEAST_WARM_UP_ITERATIONS: usize = 2;
const LEAST_ITERATIONS: usize = 3;
const LEAST_ITERATION: Duration = Duration::from_millis(100);
const ENOUGH: Duration = Duration::from_secs(5);

/// Prints a line for each phase: its name and the median of nanoseconds per operation.
pub(crate) fn print(run: &Run) {
    let mut workload = (run.workload.prepare)(run.size, run.operations);
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
        println!("{} {}", phase.name, median(samples));
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

/// Returns the median of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}
