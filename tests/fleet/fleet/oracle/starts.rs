//! Failed starts: they defer worker requests, and worker requests stay rare while starts fail.
//!
//! From the configured number of failures in a minute on, worker requests may be deferred for the
//! longest backoff after each failure, and then as long as that number of worker requests is open.
//! A worker that comes after the deferral ends this: one that comes before its end proves nothing
//! about its end. Failures of workers that were requested before the last worker came prove nothing
//! about the time since. Meanwhile at most 12 times the number is made in a minute: the deferral
//! grows to 10 s, and its end allows the number once.
//!
//! An error for a worker that no request needs defers the reserve as a declined worker request
//! does. The documentation of `allocate_resource` promises no earlier worker request.

use std::collections::VecDeque;
use std::time::Duration;

use slot_manager::Timestamp;

use super::record::{AskAnswer, Observed, Record};
use super::{Broken, Rule};

const MINUTE: Duration = Duration::from_secs(60);

/// The times until which worker requests may be deferred; `MAX` while enough are open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayDefer {
    /// Those for requests.
    pub(crate) requests_until: Timestamp,
    /// Those for the minimum and the redundancy.
    pub(crate) reserve_until: Timestamp,
}

impl Default for MayDefer {
    fn default() -> Self {
        Self {
            requests_until: Timestamp::ZERO,
            reserve_until: Timestamp::ZERO,
        }
    }
}

/// The failed starts, and the worker requests since they are frequent.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    failures: VecDeque<Timestamp>,
    certain_failures: VecDeque<Timestamp>,
    /// Failures are frequent, and no worker has come since the deferral.
    is_failing: bool,
    /// Failures are frequent, and no worker has come since: worker requests are counted.
    is_counting: bool,
    deferred_until: Timestamp,
    declined_until: Timestamp,
    /// The reserve may wait until then, because a worker request was an error.
    refused_until: Timestamp,
    asks: VecDeque<Timestamp>,
    last_ask: u64,
    /// The last worker request before the last worker came, and the time when it came.
    last_success: (u64, Timestamp),
    failure_rate: usize,
}

impl Starts {
    /// Notes an event before the record applies it.
    pub(crate) fn observe(&mut self, record: &Record, observed: &Observed, broken: &mut Vec<Broken>) {
        let now = record.now;
        match observed {
            Observed::AskFailed { ask } => self.start_failed(record, now, *ask > self.last_success.0),
            Observed::Registered { came_for: Some(_), .. } => {
                self.is_failing &= now < self.deferred_until;
                self.is_counting = false;
                self.asks.clear();
                self.certain_failures.clear();
                self.last_success = (self.last_ask, now);
            }
            Observed::Asked { ask, answer, .. } => {
                self.last_ask = *ask;
                match answer {
                    AskAnswer::Promised => {}
                    AskAnswer::Declined => self.declined_until = now + record.settings.decline_time,
                    AskAnswer::Refused => {
                        self.refused_until = now + record.settings.decline_time;
                        self.start_failed(record, now, true);
                    }
                }
                broken.extend(self.count(record));
            }
            _ => {}
        }
    }

    /// Notes a promise that expired.
    pub(crate) fn promise_expired(&mut self, record: &Record, now: Timestamp, is_certain: bool) {
        let is_since_success = now >= self.last_success.1 + record.settings.decline_time;
        self.start_failed(record, now, is_certain && is_since_success);
    }

    /// Notes a start that failed, or a promise that expired. It is certain unless an unnamed worker
    /// may have come for it. Only certain failures count against the manager.
    fn start_failed(&mut self, record: &Record, now: Timestamp, is_certain: bool) {
        self.failure_rate = record.settings.failure_rate;
        self.failures.push_back(now);
        self.failures.retain(|at| *at + MINUTE > now);
        if self.failures.len() >= self.failure_rate {
            self.is_failing = true;
            self.deferred_until = now + record.settings.longest_backoff;
        }
        if is_certain {
            self.certain_failures.push_back(now);
            self.certain_failures.retain(|at| *at + MINUTE > now);
            self.is_counting |= self.certain_failures.len() >= self.failure_rate;
        }
    }

    fn count(&mut self, record: &Record) -> Option<Broken> {
        if !self.is_counting {
            return None;
        }
        self.asks.push_back(record.now);
        self.asks.retain(|at| *at + MINUTE > record.now);
        let bound = 12 * self.failure_rate;
        (self.asks.len() > bound).then(|| Broken {
            rule: Rule::Starts,
            at: record.now,
            text: format!(
                "{} worker requests within a minute although starts fail (at most {bound})",
                self.asks.len()
            ),
        })
    }

    /// Returns the times until which worker requests may be deferred.
    pub(crate) fn may_defer(&self, open_requests: usize) -> MayDefer {
        let requests_until = match self.is_failing && open_requests >= self.failure_rate {
            true => Timestamp::MAX,
            false => self.deferred_until.max(self.declined_until),
        };
        MayDefer {
            requests_until,
            reserve_until: requests_until.max(self.refused_until),
        }
    }
}
