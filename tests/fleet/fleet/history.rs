//! The last events of a run, for the report of a violation.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use slot_manager::Timestamp;

/// The number of kept lines, unless `FLEET_HISTORY` is set.
const KEPT: usize = 60;

/// The last lines. Clones share them, so that they outlive a run that panics.
#[derive(Debug, Clone)]
pub(crate) struct History {
    lines: Option<Rc<RefCell<VecDeque<String>>>>,
    kept: usize,
}

impl History {
    /// Returns a history that keeps nothing, because lines cost more than the events themselves.
    pub(crate) fn off() -> Self {
        Self { lines: None, kept: 0 }
    }

    /// Returns a history that keeps the last lines.
    pub(crate) fn on() -> Self {
        let wanted = std::env::var("FLEET_HISTORY").ok();
        Self {
            lines: Some(Rc::default()),
            kept: wanted.and_then(|number| number.parse().ok()).unwrap_or(KEPT),
        }
    }

    /// Adds a line with its time.
    pub(crate) fn note(&self, now: Timestamp, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.borrow_mut();
            if lines.len() >= self.kept {
                lines.pop_front();
            }
            lines.push_back(format!("{now} {}", line()));
        }
    }

    /// Returns the kept lines, the oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.as_ref();
        lines.map_or_else(Vec::new, |lines| lines.borrow().iter().cloned().collect())
    }
}
