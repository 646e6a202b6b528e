//! The last events, for the report of a violation, and the digest of all effects of the manager.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::rc::Rc;

use slot_manager::Timestamp;
use slot_manager::testing::Effect;
use twox_hash::XxHash3_128;

/// The number of kept lines, unless `SIMULATION_TRACE` is set.
const KEPT: usize = 80;

/// The last lines. Clones share them, so that they outlive a simulation that panics.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    lines: Option<Rc<RefCell<VecDeque<String>>>>,
    kept: usize,
}

impl Trace {
    /// Makes a trace that keeps nothing, because lines cost more than the events themselves.
    pub(crate) fn off() -> Self {
        Self { lines: None, kept: 0 }
    }

    pub(crate) fn on() -> Self {
        let wanted = std::env::var("SIMULATION_TRACE").ok();
        Self {
            lines: Some(Rc::default()),
            kept: wanted.and_then(|number| number.parse().ok()).unwrap_or(KEPT),
        }
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.borrow_mut();
            if lines.len() >= self.kept {
                lines.pop_front();
            }
            lines.push_back(line());
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.iter();
        lines
            .flat_map(|lines| lines.borrow().iter().cloned().collect::<Vec<_>>())
            .collect()
    }
}

/// A hash over the text of all effects.
pub(crate) struct Digest {
    hasher: XxHash3_128,
    line: String,
    pub(crate) effects: u64,
}

impl Digest {
    pub(crate) fn new() -> Self {
        Self {
            hasher: XxHash3_128::new(),
            line: String::new(),
            effects: 0,
        }
    }

    pub(crate) fn add(&mut self, now: Timestamp, effect: &Effect) {
        self.effects += 1;
        self.line.clear();
        // Writing to a string does not fail.
        let _ = writeln!(self.line, "{} {effect}", now.as_nanos());
        self.hasher.write(self.line.as_bytes());
    }

    pub(crate) fn finish(&self) -> u128 {
        self.hasher.finish_128()
    }
}
