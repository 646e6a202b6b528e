//! The beginning and the end of a leadership.

use std::time::Duration;

use slot_manager::{LeaderId, StartError, Timestamp};

use super::{NaiveSlotManager, Timer};

impl NaiveSlotManager {
    /// An input as any other: the floor is asked for within it.
    pub(super) fn start(&mut self, leader_id: LeaderId) -> Result<(), StartError> {
        if let Some(leader_id) = self.leader {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        self.leader = Some(leader_id);
        self.now = self.now.max(self.clock);
        self.earliest_rearm = Timestamp::ZERO;
        self.recovery = self.a_time(self.config.recovery_timeout);
        self.grace_period = self.a_time(self.config.unfulfillable_grace_period);
        self.end_input();
        Ok(())
    }

    /// A time that begins with the start; there is none if it has no length.
    fn a_time(&mut self, length: Duration) -> Option<Timer> {
        (length > Duration::ZERO).then(|| self.timer(length))
    }

    /// What was configured, the numbers that were used, and whether unfulfillable requests fail outlast a leadership.
    pub(super) fn suspend(&mut self) -> bool {
        self.task_managers.clear();
        self.requests.clear();
        self.promises.clear();
        self.blocked.clear();
        self.recovery = None;
        self.grace_period = None;
        self.spare_ask = None;
        self.leader.take().is_some()
    }
}
