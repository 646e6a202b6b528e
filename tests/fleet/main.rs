//! A fleet in which workers and jobs go wrong, for many seeds. The oracle checks the promises about
//! good requests, good workers and bounded waits after every event.
//!
//! `FLEET_SEEDS=10000 cargo test --release --test fleet` runs more seeds, `FLEET_FIRST=500` begins
//! with seed 500, and `FLEET_SEED=7` runs only seed 7. A violation is printed with the last 60
//! events; `FLEET_HISTORY=100000` prints more. `FLEET_SURVEY=1` runs each seed to its end and
//! prints the seeds that violate each rule.

mod cases;
mod fleet;
mod oracle_tests;

use std::collections::BTreeMap;
use std::ops::Range;

use fleet::run::{Outcome, all_violations, run};

/// The number of seeds by default.
const SEEDS: u64 = 100;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// Runs each seed to its end, and prints the seeds that violate each rule.
fn survey(seeds: Range<u64>) {
    let mut seeds_of: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    let mut total = 0;
    for seed in seeds.clone() {
        let (steps, violations) = all_violations(seed);
        total += steps;
        for broken in violations {
            println!("seed {seed}, {}: {:?}: {}", broken.at, broken.rule, broken.text);
            seeds_of.entry(broken.rule).or_default().push(seed);
        }
    }
    println!("seeds {seeds:?}: {total} steps");
    for (rule, seeds) in seeds_of {
        println!("{rule:?}: {} seeds: {seeds:?}", seeds.len());
    }
}

/// Runs one half of the seeds. A single seed belongs to the first half.
fn run_half(half: u64) {
    let seeds = match variable("FLEET_SEED") {
        Some(seed) if half == 0 => seed..seed + 1,
        Some(_) => 0..0,
        None => {
            let first = variable("FLEET_FIRST").unwrap_or(0);
            let seeds = variable("FLEET_SEEDS").unwrap_or(SEEDS);
            first + half * seeds / 2..first + (half + 1) * seeds / 2
        }
    };
    if variable("FLEET_SURVEY").is_some_and(|value| value > 0) {
        survey(seeds);
        return;
    }
    let mut total = Outcome::default();
    let mut violations = Vec::new();
    for seed in seeds.clone() {
        match run(seed) {
            Ok(outcome) => {
                total.steps += outcome.steps;
                total.calls += outcome.calls;
                total.granted += outcome.granted;
                total.failed += outcome.failed;
            }
            Err(violation) => violations.push(violation),
        }
    }
    println!("seeds {seeds:?}: {total:?}");
    let Some(first) = violations.first() else {
        return;
    };
    println!("{first}");
    let others: Vec<_> = violations
        .iter()
        .map(|violation| (violation.seed, violation.rule))
        .collect();
    panic!("{} seeds violate a promise: {others:?}", violations.len());
}

#[test]
fn promises_hold_in_the_first_half_of_the_seeds() {
    run_half(0);
}

#[test]
fn promises_hold_in_the_second_half_of_the_seeds() {
    run_half(1);
}
