//! The end of a transaction.

use crate::slot_manager::state::allocations::Holder;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{Notification, NotificationKind};
use crate::slot_manager::state::requests::{RequestKey, RequestState};
use crate::slot_manager::state::slots::{SlotKey, SlotState};
use crate::slot_manager::state::transaction::{Changes, DroppedGrant};

impl Core {
    /// Ends a transaction: judges on the result which grants are lost, which slots hold an allocation twice and which
    /// task managers are idle, and matches once. First requests that look for a slot take slots offered before, oldest
    /// first; then each slot that became free goes to the oldest waiting request.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !self.changes.is_empty() {
            self.settle_changes();
        }
        self.changes.held = false;
    }

    fn settle_changes(&mut self) {
        let losses = &self.effects.losses;
        self.changes.dropped.sort_by(|a, b| losses.order(a.slot, b.slot));
        self.take_each(|changes| &mut changes.dropped, Self::judge);
        self.take_each(|changes| &mut changes.duplicates, Self::free_if_duplicate);
        let sequence = |request: &RequestKey| self.requests.records.get(*request).map(|record| record.sequence);
        self.changes.unplaced.sort_by_key(sequence);
        self.take_each(|changes| &mut changes.unplaced, Self::seek_if_unplaced);
        self.take_each(|changes| &mut changes.free, Self::offer_if_unplaced);
        self.take_each(|changes| &mut changes.task_managers, Self::judge_idleness);
        debug_assert!(self.changes.is_empty(), "left to settle: {:?}", self.changes);
    }

    /// Handles what is in a list of changes, and empties it. The list keeps its memory.
    #[inline]
    fn take_each<T: Copy>(&mut self, list: impl Fn(&mut Changes) -> &mut Vec<T>, handle: impl Fn(&mut Self, T)) {
        let mut at = 0;
        while let Some(change) = list(&mut self.changes).get(at).copied() {
            handle(self, change);
            at += 1;
        }
        list(&mut self.changes).clear();
    }

    fn seek_if_unplaced(&mut self, request: RequestKey) {
        let state = self.requests.records.get(request).map(|record| record.state);
        if state == Some(RequestState::Unplaced) {
            self.seek(request);
        }
    }

    fn offer_if_unplaced(&mut self, slot: SlotKey) {
        let state = self.slots.get(slot).map(|slot| &slot.state);
        if matches!(state, Some(SlotState::Unplaced)) {
            self.offer(slot);
        }
    }

    /// A dropped grant is lost unless its job holds the allocation elsewhere.
    fn judge(&mut self, grant: DroppedGrant) {
        let DroppedGrant {
            slot,
            allocation_id,
            job_id,
        } = grant;
        // It is no use to look for an allocation that nothing can have come to hold.
        if self.changes.held || !self.allocations.duplicates().is_empty() {
            if let Some(Holder::Granted(holder)) = self.find_or_promote(allocation_id) {
                if self.slots[holder].holder() == Some((allocation_id, job_id)) {
                    return;
                }
            }
        }
        let losses = &self.effects.losses;
        tracing::warn!(
            %job_id, %allocation_id, slot_id = %losses.slot_id(slot), loss = %losses.loss(slot), "granted slot lost"
        );
        self.counters.grants_lost += 1;
        self.effects.notifications.push(Notification {
            job_id,
            allocation_id,
            kind: NotificationKind::Lost(slot),
        });
    }
}
