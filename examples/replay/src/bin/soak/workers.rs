//! The threads, which take one seed after the other until the time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::cluster::{self, FaultCounts, Outcome, Violation};
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
                    let result = cluster::run(options.seed.wrapping_add(number));
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

impl Soak {
    fn add(&mut self, result: Result<Outcome, Box<Violation>>) {
        self.totals.seeds += 1;
        match result {
            Ok(outcome) => {
                self.totals.steps += outcome.steps;
                self.totals.effects += outcome.effects;
                self.totals.granted += outcome.granted;
                self.totals.failed += outcome.failed;
                self.totals.faults.add(&outcome.faults);
            }
            Err(violation) => self.violations.push(*violation),
        }
        if self.totals.seeds == WARM_UP {
            self.memory_warm = Some(Memory::now());
        }
    }
}
