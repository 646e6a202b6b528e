//! The start and the end of a leadership.

use std::time::Duration;

use slot_manager::error::StartError;
use slot_manager::outcome::RenewalOutcome;
use slot_manager::{LeaderId, Timestamp};

use super::start_backoff::StartBackoff;
use super::{NaiveSlotManager, Timer};

impl NaiveSlotManager {
    /// Begins a leadership until a time. It is an input like others, so it requests the minimum of
    /// slots.
    pub(super) fn start_until(&mut self, leader_id: LeaderId, until: Timestamp) -> Result<(), StartError> {
        if let Some(leader_id) = self.leader {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        self.leader = Some(leader_id);
        self.leads_until = until;
        self.now = self.now.max(self.clock);
        self.earliest_rearm = Timestamp::ZERO;
        self.recovery = self.start_timer(self.config.recovery_timeout);
        self.grace_period = self.start_timer(self.config.unfulfillable_grace_period);
        if self.begin_input().is_ok() {
            self.end_input();
        }
        Ok(())
    }

    /// Returns `true` from the start to the end of a leadership.
    pub(crate) fn is_leading(&self) -> bool {
        let is_before_end = self.leads_until == Timestamp::MAX || self.now.max(self.clock) < self.leads_until;
        self.leader.is_some() && is_before_end
    }

    /// Moves the end of the leadership. If it had ended and goes on, this is an input like others.
    pub(super) fn renew(&mut self, until: Timestamp) -> RenewalOutcome {
        if self.leader.is_none() {
            return RenewalOutcome::NotStarted;
        }
        let was_leading = self.begin_input().is_ok();
        let ended_at = self.leads_until;
        self.leads_until = until;
        match (was_leading, self.is_leading()) {
            (_, false) => RenewalOutcome::Ended,
            (true, true) => RenewalOutcome::Renewed,
            (false, true) => {
                self.apply_unapplied_blocks();
                self.end_input();
                RenewalOutcome::Resumed { ended_at }
            }
        }
    }

    /// Arms a timer that begins with the start. A length of zero arms none.
    fn start_timer(&mut self, length: Duration) -> Option<Timer> {
        (length > Duration::ZERO).then(|| self.timer(length))
    }

    /// Ends the leadership. The configuration, the sequence numbers, blocked workers and the
    /// fail-fast setting outlast it.
    pub(super) fn suspend(&mut self) -> bool {
        self.task_managers.clear();
        self.requests.clear();
        self.declarations.clear();
        self.holdings.clear();
        self.has_accounts = false;
        self.promises.clear();
        self.promised_workers.clear();
        self.fulfilled_by_others.clear();
        self.unapplied_blocks.clear();
        self.failing_jobs.clear();
        self.superseded.clear();
        self.start_backoff = StartBackoff::default();
        self.recovery = None;
        self.expected_workers = None;
        self.came.clear();
        self.grace_period = None;
        self.reserve_backoff = None;
        self.earmark = None;
        self.leader.take().is_some()
    }
}
