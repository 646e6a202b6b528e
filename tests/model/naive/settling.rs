//! The end of a transaction.

use slot_manager::testing::Action;
use slot_manager::{AllocationFailureCause, InstanceId};

use super::{Dropped, NaiveSlotManager, Stage, State, TaskManager};

impl NaiveSlotManager {
    /// Judges on the result what is lost, held twice and idle, and matches once: requests that look for a slot take
    /// those offered before, then slots that became free go to the oldest waiting request.
    pub(super) fn settle(&mut self) {
        let mut transaction = std::mem::take(&mut self.transaction);
        transaction.dropped.sort_by(|a, b| a.slot.cmp(&b.slot));
        for Dropped { slot, holder, loss } in transaction.dropped {
            let (allocation_id, job_id) = holder;
            if self
                .grant_or_promote(allocation_id)
                .is_some_and(|(_, job)| job == job_id)
            {
                continue;
            }
            let action = Action::NotifyAllocationFailure {
                job_id,
                allocation_id,
                cause: AllocationFailureCause::GrantLost {
                    slot_id: slot.clone(),
                    loss,
                },
            };
            self.said.notifications.push((Some(slot), action));
        }
        for slot in transaction.beside {
            if let Some(State::Allocated {
                holder,
                beside: Some(_),
            }) = self.find_slot(&slot).map(|it| it.state.clone())
            {
                self.ask_to_free(&slot, holder, self.attempts);
            }
        }
        transaction
            .unplaced
            .sort_by_key(|id| self.find_request(*id).map(|it| it.order));
        for id in transaction.unplaced {
            if self.find_request(id).is_some_and(|it| it.stage == Stage::Unplaced) {
                self.seek(id);
            }
        }
        for slot in transaction.freed {
            if self.find_slot(&slot).is_some_and(|it| it.state == State::Unplaced) {
                self.offer(&slot);
            }
        }
        transaction.unused.append(&mut self.transaction.unused);
        self.judge_idleness(&transaction.unused);
    }

    pub(super) fn judge_idleness(&mut self, unused: &[InstanceId]) {
        for task_manager in &mut self.task_managers {
            if task_manager.used() > 0 {
                task_manager.idle_since = None;
                task_manager.kept = None;
                task_manager.question = None;
            }
        }
        for id in unused {
            let to_arm = |it: &TaskManager| it.used() == 0 && it.idle_since.is_none();
            if self.task_manager(*id).is_some_and(to_arm) {
                let release = self.timer(self.config.task_manager_timeout);
                let now = self.now;
                let task_manager = self.task_manager_mut(*id);
                task_manager.idle_since = Some(now);
                task_manager.idle_periods += 1;
                task_manager.release = release;
            }
        }
    }
}
