//! The threads, which take one seed after the other until the time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::cluster::{self, FaultCounts, Kinds, Outcome};
use crate::fleet;
use crate::memory::Memory;
use crate::options::Options;

/// The number of seeds after which every table has nearly its largest size.
const WARM_UP: u64 = 500;

/// The totals of all seeds.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) steps: u64,
    pub(crate) effects: u64,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
    pub(crate) faults: FaultCounts,
}

/// A violation of either kind of run.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    pub(crate) what: String,
    /// The command that runs the seed again.
    pub(crate) rerun: String,
    /// The last events and the violation.
    pub(crate) report: String,
}

impl From<Box<cluster::Violation>> for Violation {
    fn from(violation: Box<cluster::Violation>) -> Self {
        Self {
            rerun: violation.rerun(),
            report: violation.to_string(),
            seed: violation.seed,
            what: violation.what,
        }
    }
}

impl From<Box<fleet::run::Violation>> for Violation {
    fn from(violation: Box<fleet::run::Violation>) -> Self {
        Self {
            rerun: violation.rerun(),
            report: violation.to_string(),
            seed: violation.seed,
            what: format!("{:?}: {}", violation.rule, violation.text),
        }
    }
}

/// The result of all seeds.
#[derive(Debug, Default)]
pub(crate) struct Soak {
    pub(crate) totals: Totals,
    pub(crate) violations: Vec<Violation>,
    pub(crate) time: Duration,
    /// The memory after the first [`WARM_UP`] seeds.
    pub(crate) memory_warm: Option<Memory>,
}

#[expect(clippy::disallowed_methods, reason = "the duration of a soak is real time")]
fn real_time() -> Instant {
    Instant::now()
}

pub(crate) fn run(options: &Options, progress: &ProgressBar) -> Soak {
    let began = real_time();
    let next = AtomicU64::new(0);
    let soak = Mutex::new(Soak::default());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let elapsed = real_time() - began;
                    if elapsed >= options.duration() || options.seeds.is_some_and(|seeds| number >= seeds) {
                        break;
                    }
                    let seed = options.seed.wrapping_add(number);
                    let result = match options.fleet {
                        true => run_fleet(seed),
                        false => run_cluster(seed),
                    };
                    let mut soak = soak.lock().unwrap_or_else(PoisonError::into_inner);
                    soak.add(result);
                    let position = options.seeds.map_or(elapsed.as_millis() as u64, |_| soak.totals.seeds);
                    progress.set_position(position);
                    progress.set_message(format!(
                        "{} seeds, {} faults, {} violations",
                        soak.totals.seeds,
                        soak.totals.faults.total(),
                        soak.violations.len()
                    ));
                }
            });
        }
    });
    let mut soak = soak.into_inner().unwrap_or_else(PoisonError::into_inner);
    soak.time = real_time() - began;
    soak.violations.sort_by_key(|violation| violation.seed);
    soak
}

/// Runs a cluster of static workers, and one with dynamic ones.
fn run_cluster(seed: u64) -> Result<Outcome, Violation> {
    let of_static_workers = cluster::run(seed, Kinds::Static)?;
    let mut outcome = cluster::run(seed, Kinds::Dynamic)?;
    outcome.steps += of_static_workers.steps;
    outcome.effects += of_static_workers.effects;
    outcome.granted += of_static_workers.granted;
    outcome.failed += of_static_workers.failed;
    outcome.faults.add(&of_static_workers.faults);
    Ok(outcome)
}

fn run_fleet(seed: u64) -> Result<Outcome, Violation> {
    let outcome = fleet::run::run(seed)?;
    Ok(Outcome {
        steps: outcome.steps,
        effects: outcome.calls,
        granted: outcome.granted,
        failed: outcome.failed,
        ..Outcome::default()
    })
}

impl Soak {
    fn add(&mut self, result: Result<Outcome, Violation>) {
        self.totals.seeds += 1;
        match result {
            Ok(outcome) => {
                self.totals.steps += outcome.steps;
                self.totals.effects += outcome.effects;
                self.totals.granted += outcome.granted;
                self.totals.failed += outcome.failed;
                self.totals.faults.add(&outcome.faults);
            }
            Err(violation) => self.violations.push(violation),
        }
        if self.totals.seeds == WARM_UP {
            self.memory_warm = Some(Memory::now());
        }
    }
}
