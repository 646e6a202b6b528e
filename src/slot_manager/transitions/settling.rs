//! The end of a transaction.

use crate::slot_manager::allocations::Holder;
use crate::slot_manager::core::{Core, DroppedGrant};
use crate::slot_manager::effects::{Notification, NotificationKind};
use crate::slot_manager::pending_requests::{RequestKey, RequestState};
use crate::slot_manager::slots::SlotState;

impl Core {
    /// Ends a transaction: judges on the result which grants are lost, which slots hold an allocation twice and which
    /// task managers are idle, and matches once. First requests that look for a slot take slots offered before, oldest
    /// first; then each slot that became free goes to the oldest waiting request.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !self.changes.is_empty() {
            self.settle_changes();
        }
    }

    fn settle_changes(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        if !changes.dropped.is_empty() {
            let losses = &self.effects.losses;
            changes
                .dropped
                .sort_by(|a, b| losses.slot(a.slot).cmp(&losses.slot(b.slot)));
            for grant in changes.dropped.drain(..) {
                self.judge(grant);
            }
        }
        for slot in changes.duplicates.drain(..) {
            self.free_if_duplicate(slot);
        }
        let sequence = |request: &RequestKey| self.requests.records.get(*request).map(|record| record.sequence);
        changes.unplaced.sort_by_key(sequence);
        for request in changes.unplaced.drain(..) {
            let state = self.requests.records.get(request).map(|record| record.state);
            if state == Some(RequestState::Unplaced) {
                self.seek(request);
            }
        }
        for slot in changes.free.drain(..) {
            let state = self.slots.get(slot).map(|slot| &slot.state);
            if matches!(state, Some(SlotState::Unplaced)) {
                self.offer(slot);
            }
        }
        changes.task_managers.append(&mut self.changes.task_managers);
        for task_manager in changes.task_managers.drain(..) {
            self.judge_idleness(task_manager);
        }
        debug_assert!(self.changes.is_empty(), "left to settle: {:?}", self.changes);
        // Keeps the memory for the next transaction.
        self.changes = changes;
    }

    /// A dropped grant is lost unless its job holds the allocation elsewhere.
    fn judge(&mut self, grant: DroppedGrant) {
        let DroppedGrant {
            slot,
            allocation_id,
            job_id,
        } = grant;
        if let Some(Holder::Granted(holder)) = self.find_or_promote(allocation_id) {
            if self.slots[holder].holder() == Some((allocation_id, job_id)) {
                return;
            }
        }
        let losses = &self.effects.losses;
        tracing::warn!(
            %job_id, %allocation_id, slot_id = %losses.slot_id(slot), loss = %losses.loss(slot), "granted slot lost"
        );
        self.effects.notifications.push(Notification {
            job_id,
            allocation_id,
            kind: NotificationKind::Lost(slot),
        });
    }
}
