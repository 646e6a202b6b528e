//! A whole cluster with a bad network, for many seeds. With any faults the invariants hold after
//! every call and every request ends once. When the faults stop, the view becomes the truth and no
//! slot is lost.
//!
//! `SIMULATION_SEEDS=10000 cargo test --release --test simulation` runs more seeds, and
//! `SIMULATION_SEED=7` runs only seed 7. A violation is printed with the last 80 events;
//! `SIMULATION_TRACE=100000` prints more.

mod cluster;
mod determinism;

use std::ops::Range;

use cluster::{Fault, FaultCounts, Kinds, run};

/// The number of seeds by default.
const SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
    )
}

/// Returns one half of the seeds. A single seed belongs to the first half.
fn seeds(half: u64) -> Range<u64> {
    if let Some(seed) = number("SIMULATION_SEED") {
        return if half == 0 { seed..seed + 1 } else { 0..0 };
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    half * seeds / 2..(half + 1) * seeds / 2
}

fn run_all(seeds: Range<u64>, kinds: Kinds) {
    let mut faults = FaultCounts::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, kinds) {
            Ok(outcome) => faults.add(&outcome.faults),
            Err(violation) => panic!("{violation}"),
        }
    }
    if count >= SEEDS / 2 {
        assert!(faults.total() > 100 * count, "too few faults: {faults:?}");
        let is_of_dynamic_workers = |fault: &Fault| {
            matches!(
                fault,
                Fault::ResourcesChanged | Fault::ResourcesWithheld | Fault::ResourcesInsufficient
            )
        };
        let happens = |fault: &Fault| kinds == Kinds::Dynamic || !is_of_dynamic_workers(fault);
        for fault in Fault::ALL.into_iter().filter(happens) {
            assert!(faults.of(fault) > 0, "no fault of this kind: {}", fault.describe());
        }
    }
}

#[test]
fn nothing_is_lost_in_the_first_half_of_the_seeds() {
    run_all(seeds(0), Kinds::Static);
}

#[test]
fn nothing_is_lost_in_the_second_half_of_the_seeds() {
    run_all(seeds(1), Kinds::Static);
}

#[test]
fn nothing_is_lost_with_dynamic_workers_in_the_first_half_of_the_seeds() {
    run_all(seeds(0), Kinds::Dynamic);
}

#[test]
fn nothing_is_lost_with_dynamic_workers_in_the_second_half_of_the_seeds() {
    run_all(seeds(1), Kinds::Dynamic);
}
