//! The start backoff: worker requests are deferred while starts of workers fail too often.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{SlotManagerConfig, Timestamp};

/// The time in which failures count together.
const WINDOW: Duration = Duration::from_secs(60);

/// The state of the start backoff.
#[derive(Debug)]
pub(crate) struct StartBackoff {
    /// The number of failures within the window that begins a backoff; zero turns it off.
    max_failures: usize,
    /// The first backoff.
    interval: Duration,
    /// The longest backoff.
    max_interval: Duration,
    /// The times of the last failures within the window, oldest first.
    failures: VecDeque<Timestamp>,
    /// The number of backoffs since a worker registered.
    backoffs: u32,
    /// The end of the present backoff.
    until: Option<Timestamp>,
    /// Set from the end of a backoff until a worker registers: few worker requests may be open.
    is_limited: bool,
}

impl StartBackoff {
    pub(crate) fn new(config: &SlotManagerConfig) -> Self {
        Self {
            max_failures: config.max_start_failure_rate as usize,
            interval: config.start_retry_interval,
            max_interval: config.max_retry_backoff.max(config.start_retry_interval),
            failures: VecDeque::new(),
            backoffs: 0,
            until: None,
            is_limited: false,
        }
    }

    /// Notes the failure of a worker request. Returns `true` if a backoff begins.
    ///
    /// `is_recent` is `false` if the worker was requested before the last backoff began.
    pub(crate) fn note_failure(&mut self, is_recent: bool, now: Timestamp) -> bool {
        if self.max_failures == 0 {
            return false;
        }
        let is_over = |at: &Timestamp| *at + WINDOW <= now;
        while self.failures.front().is_some_and(is_over) || self.failures.len() == self.max_failures {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        self.failures.len() == self.max_failures && self.until.is_none() && is_recent
    }

    /// Returns the length of the next backoff.
    pub(crate) fn next_length(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.backoffs).unwrap_or(u32::MAX);
        self.interval.saturating_mul(factor).min(self.max_interval)
    }

    /// Begins a backoff.
    pub(crate) fn begin(&mut self, until: Timestamp) {
        self.until = Some(until);
        self.backoffs = self.backoffs.saturating_add(1);
    }

    /// Ends the present backoff.
    pub(crate) fn end(&mut self) {
        self.until = None;
        self.is_limited = true;
    }

    /// Notes that a worker has registered: starts succeed again.
    pub(crate) fn worker_registered(&mut self) {
        self.backoffs = 0;
        self.is_limited = false;
    }

    /// Returns the end of the present backoff.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Returns `true` while worker requests may be deferred.
    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some() || self.is_limited
    }

    /// Returns `true` if a worker may be requested while `open` worker requests since the last
    /// backoff are open.
    pub(crate) fn allows(&self, open: usize) -> bool {
        self.until.is_none() && (!self.is_limited || open < self.max_failures)
    }

    /// Returns `true` if the failures are in order and not too many; for the check of invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        self.failures.len() <= self.max_failures && self.failures.iter().is_sorted()
    }

    /// Ends a leadership. The configuration stays.
    pub(crate) fn clear(&mut self) {
        self.failures = VecDeque::new();
        self.backoffs = 0;
        self.until = None;
        self.is_limited = false;
    }
}
