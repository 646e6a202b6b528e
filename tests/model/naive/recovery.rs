//! The recovery: workers of earlier leaderships have time to register before others are requested.

use slot_manager::outcome::RecoveryOutcome;

use super::NaiveSlotManager;

impl NaiveSlotManager {
    /// Sets the number of expected workers. Zero ends the recovery.
    pub(super) fn expect_workers(&mut self, workers: usize) -> RecoveryOutcome {
        if self.begin_input().is_err() || self.recovery.is_none() {
            return RecoveryOutcome::NotRecovering;
        }
        self.expected_workers = Some(workers);
        self.end_recovery_if_complete();
        if self.recovery.is_none() {
            self.end_input();
            return RecoveryOutcome::Ended;
        }
        RecoveryOutcome::Waiting {
            missing: workers - self.registered_workers,
        }
    }

    /// Counts a worker that has registered.
    pub(super) fn worker_registered(&mut self) {
        self.registered_workers += 1;
        self.end_recovery_if_complete();
    }

    fn end_recovery_if_complete(&mut self) {
        if self
            .expected_workers
            .is_some_and(|workers| self.registered_workers >= workers)
        {
            self.recovery = None;
        }
    }
}
