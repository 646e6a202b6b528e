//! The start and the end of a leadership.

use std::time::Duration;

use slot_manager::error::StartError;
use slot_manager::{LeaderId, Timestamp};

use super::{NaiveSlotManager, Timer};

impl NaiveSlotManager {
    /// Begins a leadership. It is an input like others, so it requests the minimum of slots.
    pub(super) fn start(&mut self, leader_id: LeaderId) -> Result<(), StartError> {
        if let Some(leader_id) = self.leader {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        self.leader = Some(leader_id);
        self.now = self.now.max(self.clock);
        self.earliest_rearm = Timestamp::ZERO;
        self.recovery = self.start_timer(self.config.recovery_timeout);
        self.grace_period = self.start_timer(self.config.unfulfillable_grace_period);
        self.end_input();
        Ok(())
    }

    /// Arms a timer that begins with the start. A length of zero arms none.
    fn start_timer(&mut self, length: Duration) -> Option<Timer> {
        (length > Duration::ZERO).then(|| self.timer(length))
    }

    /// Ends the leadership. The configuration, the sequence numbers and the fail-fast setting
    /// outlast it.
    pub(super) fn suspend(&mut self) -> bool {
        self.task_managers.clear();
        self.requests.clear();
        self.promises.clear();
        self.blocked.clear();
        self.recovery = None;
        self.grace_period = None;
        self.reserve_backoff = None;
        self.leader.take().is_some()
    }
}
