//! One seed from the beginning to the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::faults::FaultCounts;
use crate::cluster::simulation::Simulation;
use crate::cluster::trace::Trace;

/// What must hold, or what is wrong.
pub(crate) type Check<T = ()> = Result<T, String>;

/// What one seed did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Calls of the manager: inputs, and times it was driven.
    pub(crate) steps: u64,
    pub(crate) faults: FaultCounts,
    /// What the manager did to its outside, and a hash of that.
    pub(crate) effects: u64,
    pub(crate) digest: u128,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
}

/// Something that must not happen did.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    pub(crate) what: String,
    /// The last events, oldest first.
    pub(crate) trace: Vec<String>,
}

impl Violation {
    /// The command that runs the seed again.
    pub(crate) fn rerun(&self) -> String {
        format!("SIMULATION_SEED={} cargo test --test simulation", self.seed)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(f, "again: {}", self.rerun())
    }
}

/// Runs one seed. If it goes wrong, runs it once more to tell what happened last.
pub(crate) fn run(seed: u64) -> Result<Outcome, Box<Violation>> {
    attempt(seed, &Trace::off()).or_else(|_| {
        let trace = Trace::on();
        attempt(seed, &trace).map_err(|what| {
            Box::new(Violation {
                seed,
                what,
                trace: trace.lines(),
            })
        })
    })
}

fn attempt(seed: u64, trace: &Trace) -> Check<Outcome> {
    let run = AssertUnwindSafe(|| Simulation::new(seed, trace.clone()).run());
    catch_unwind(run).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", said.unwrap_or_default()))
    })
}
