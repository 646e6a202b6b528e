//! The recovery: workers of earlier leaderships have time to register before others are requested.

use std::collections::BTreeSet;

use slot_manager::ResourceId;
use slot_manager::outcome::RecoveryOutcome;

use super::NaiveSlotManager;

impl NaiveSlotManager {
    /// Sets the expected workers. Without any, the recovery ends.
    pub(super) fn expect_workers(&mut self, workers: Vec<ResourceId>) -> RecoveryOutcome {
        if self.begin_input().is_err() || self.recovery.is_none() {
            return RecoveryOutcome::NotRecovering;
        }
        self.expected_workers = Some(workers);
        match self.end_recovery_if_complete() {
            0 => {
                self.end_input();
                RecoveryOutcome::Ended
            }
            missing => RecoveryOutcome::Waiting { missing },
        }
    }

    /// Notes a worker that has registered.
    pub(super) fn worker_registered(&mut self, resource_id: &ResourceId) {
        self.came.push(resource_id.clone());
        self.end_recovery_if_complete();
    }

    /// Ends the recovery if no worker is missing. Returns the number of those that are.
    fn end_recovery_if_complete(&mut self) -> usize {
        let Some(expected) = &self.expected_workers else {
            return 0;
        };
        let missing = expected.iter().filter(|worker| !self.came.contains(worker));
        let missing = missing.collect::<BTreeSet<_>>().len();
        if missing == 0 {
            self.recovery = None;
        }
        missing
    }
}
