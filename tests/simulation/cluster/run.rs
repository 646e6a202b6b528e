//! The run of one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::faults::FaultCounts;
use crate::cluster::scenario::Kinds;
use crate::cluster::simulation::Simulation;
use crate::cluster::trace::Trace;

/// The result of a check: a value, or the description of a violation.
pub(crate) type Check<T = ()> = Result<T, String>;

/// The result of one seed without violations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The number of calls of the manager: inputs, and calls that drive it.
    pub(crate) steps: u64,
    pub(crate) faults: FaultCounts,
    /// The number of effects, and a hash of them.
    pub(crate) effects: u64,
    pub(crate) digest: u128,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
}

/// A violation, with the seed that leads to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    pub(crate) kinds: Kinds,
    pub(crate) what: String,
    /// The last events, the oldest first.
    pub(crate) trace: Vec<String>,
}

impl Violation {
    /// Returns the command that runs the seed again.
    pub(crate) fn rerun(&self) -> String {
        format!("SIMULATION_SEED={} cargo test --test simulation", self.seed)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}, {:?}: {}", self.seed, self.kinds, self.what)?;
        write!(f, "run it again: {}", self.rerun())
    }
}

/// Runs one seed. After a violation it runs the seed once more to record the last events.
pub(crate) fn run(seed: u64, kinds: Kinds) -> Result<Outcome, Box<Violation>> {
    attempt(seed, kinds, &Trace::off()).or_else(|_| {
        let trace = Trace::on();
        attempt(seed, kinds, &trace).map_err(|what| {
            Box::new(Violation {
                seed,
                kinds,
                what,
                trace: trace.lines(),
            })
        })
    })
}

fn attempt(seed: u64, kinds: Kinds, trace: &Trace) -> Check<Outcome> {
    let run = AssertUnwindSafe(|| Simulation::new(seed, kinds, trace.clone()).run());
    catch_unwind(run).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", message.unwrap_or_default()))
    })
}
