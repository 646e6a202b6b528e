//! The run of one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::history::History;
use super::oracle::{Broken, Rule};
use super::scenario::Scenario;
use super::simulation::{Ended, Simulation};

/// The result of one seed without violations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The number of calls of the manager: inputs, and calls that drive it.
    pub(crate) steps: u64,
    /// The number of calls that the manager made.
    pub(crate) calls: u64,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
}

/// A violation, with the seed that leads to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    /// The number of calls until then.
    pub(crate) step: u64,
    /// The rule; `None` if the run panicked.
    pub(crate) rule: Option<Rule>,
    pub(crate) text: String,
    /// The last events, the oldest first.
    pub(crate) history: Vec<String>,
}

impl Violation {
    /// Returns the command that runs the seed again.
    pub(crate) fn rerun(&self) -> String {
        format!("FLEET_SEED={} cargo test --test fleet", self.seed)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        let rule = self.rule.map_or("panic".to_owned(), |rule| format!("{rule:?}"));
        writeln!(f, "seed {}, step {}: {rule}: {}", self.seed, self.step, self.text)?;
        write!(f, "run it again: {}", self.rerun())
    }
}

/// Runs one seed to its end or its first violation. After a violation it runs the seed once more to
/// record the last events.
pub(crate) fn run(seed: u64) -> Result<Outcome, Box<Violation>> {
    let scenario = Scenario::draw(seed);
    check(&scenario, &History::off()).or_else(|_| {
        let history = History::on();
        check(&scenario, &history).map_err(|(step, rule, text)| {
            Box::new(Violation {
                seed,
                step,
                rule,
                text,
                history: history.lines(),
            })
        })
    })
}

/// Runs one seed to its end. Returns the number of steps and the first violation of each rule.
pub(crate) fn all_violations(seed: u64) -> (u64, Vec<Broken>) {
    let mut scenario = Scenario::draw(seed);
    scenario.stops_at_first = false;
    let ended = Simulation::new(&scenario, History::off()).run();
    (ended.steps, ended.broken)
}

fn check(scenario: &Scenario, history: &History) -> Result<Outcome, (u64, Option<Rule>, String)> {
    let run = AssertUnwindSafe(|| Simulation::new(scenario, history.clone()).run());
    let ended: Ended = catch_unwind(run).map_err(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (0, None, message.unwrap_or_default())
    })?;
    match ended.broken.into_iter().next() {
        Some(broken) => Err((ended.steps, Some(broken.rule), broken.text)),
        None => Ok(Outcome {
            steps: ended.steps,
            calls: ended.calls,
            granted: ended.granted,
            failed: ended.failed,
        }),
    }
}
