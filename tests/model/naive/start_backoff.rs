//! The start backoff: after failed starts, worker requests are deferred.

use std::time::Duration;

use slot_manager::{Timestamp, WorkerRequestId};

use super::{NaiveSlotManager, Timer};

const MINUTE: Duration = Duration::from_secs(60);

/// The failed worker requests, and the backoff after them.
#[derive(Debug, Clone, Default)]
pub(super) struct StartBackoff {
    /// The times of the failures in the last minute.
    failures: Vec<Timestamp>,
    /// Armed while worker requests are deferred.
    pub(super) timer: Option<Timer>,
    /// The number of backoffs since the last registration.
    in_a_row: u32,
    /// The number of the last worker request before the last backoff.
    last_request: u64,
    /// From the end of a backoff until a worker registers, few worker requests are open at a time.
    is_tentative: bool,
}

impl NaiveSlotManager {
    /// Counts a worker request that came to nothing. Too many within a minute begin a backoff.
    pub(super) fn start_failed(&mut self, worker_request: WorkerRequestId) {
        let now = self.now;
        let rate = self.config.max_start_failure_rate as usize;
        if rate == 0 {
            return;
        }
        let failures = &mut self.start_backoff.failures;
        failures.retain(|at| *at + MINUTE > now);
        failures.push(now);
        let too_many = failures.len() >= rate;
        if worker_request.number() <= self.start_backoff.last_request {
            return;
        }
        if too_many && self.start_backoff.timer.is_none() {
            let interval = self.config.start_retry_interval;
            let longest = self.config.max_retry_backoff.max(interval);
            let doubled = (0..self.start_backoff.in_a_row).fold(interval, |it, _| it.saturating_mul(2).min(longest));
            self.start_backoff.timer = Some(self.timer(doubled));
            self.start_backoff.in_a_row += 1;
            self.start_backoff.last_request = self.worker_requests;
        }
    }

    /// Ends the backoff. The next worker requests show whether workers start again.
    pub(super) fn end_start_backoff(&mut self) {
        self.start_backoff.timer = None;
        self.start_backoff.is_tentative = true;
    }

    /// Notes that a worker has registered: workers start.
    pub(super) fn worker_started(&mut self) {
        self.start_backoff.in_a_row = 0;
        self.start_backoff.is_tentative = false;
    }

    /// Returns `true` if worker requests are deferred because of failed starts.
    pub(super) fn start_backs_off(&self) -> bool {
        let open = self.open_worker_requests().into_iter();
        let recent = open.filter(|it| it.number() > self.start_backoff.last_request);
        let has_enough = recent.count() >= self.config.max_start_failure_rate as usize;
        self.start_backoff.timer.is_some() || (self.start_backoff.is_tentative && has_enough)
    }
}
