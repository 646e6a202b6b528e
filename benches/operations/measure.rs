//! The timing of one operation: in rounds that leave the state as it was, without the work between
//! them.

use std::fmt::Display;
use std::ops::{AddAssign, Range};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

/// The number of small messages made before the clock starts: few enough to stay in the cache,
/// enough to hide the cost of reading the clock.
pub(crate) const BATCH: usize = 256;

/// The same for reports, which are as large as ten small messages.
pub(crate) const BATCH_OF_REPORTS: usize = 32;

/// Returns a group whose operation is about one item: a slot, a request or a poll.
pub(crate) fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    group_per(criterion, name, 1)
}

/// Returns a group whose operation is about several items.
pub(crate) fn group_per<'a>(criterion: &'a mut Criterion, name: &str, elements: u64) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(elements));
    // Only whole rounds run, so more iterations in each further sample would have no effect.
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// The operations and the time of a round.
#[derive(Default)]
pub(crate) struct Round {
    operations: usize,
    time: Duration,
}

impl Round {
    pub(crate) fn add(&mut self, operations: usize, time: Duration) {
        self.operations += operations;
        self.time += time;
    }
}

impl AddAssign for Round {
    fn add_assign(&mut self, other: Self) {
        self.add(other.operations, other.time);
    }
}

/// Cuts `0..messages` into batches.
pub(crate) fn batches(messages: usize, batch: usize) -> impl Iterator<Item = Range<usize>> {
    (0..messages)
        .step_by(batch)
        .map(move |start| start..messages.min(start + batch))
}

/// Measures one operation.
///
/// `set_up` makes the state once. Each call of `round` does some operations on it and leaves it as
/// it was. Only whole rounds run, so each sample has been through the whole of a large state.
/// Criterion gets the share of the time that belongs to the requested iterations.
pub(crate) fn bench<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    parameter: impl Display,
    set_up: impl Fn() -> S,
    mut round: impl FnMut(&mut S) -> Round,
) {
    let mut state = None;
    group.bench_function(BenchmarkId::from_parameter(parameter), |bencher| {
        // Made here, not before: a benchmark that is filtered out needs no state.
        let state = state.get_or_insert_with(&set_up);
        bencher.iter_custom(|iterations| {
            let (mut operations, mut time) = (0, Duration::ZERO);
            while operations < iterations {
                let done = round(state);
                operations += done.operations as u64;
                time += done.time;
            }
            time.mul_f64(iterations as f64 / operations as f64)
        });
    });
}
