//! The end of a transaction.

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::{Notification, NotificationKind};
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};
use crate::slot_manager::state::transaction::{DroppedGrant, Transaction};

impl Core {
    /// Ends a transaction: judges on the result which grants are lost, which slots hold an allocation twice and which
    /// task managers are idle, and matches once. First requests that look for a slot take slots offered before, oldest
    /// first; then each slot that became free goes to the oldest waiting request.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if !self.transaction.is_empty() {
            self.commit_changes();
        }
        self.transaction.has_new_holder = false;
    }

    fn commit_changes(&mut self) {
        let losses = &self.effects.losses;
        self.transaction.dropped.sort_by(|a, b| losses.order(a.slot, b.slot));
        self.take_each(|transaction| &mut transaction.dropped, Self::notify_if_lost);
        self.take_each(|transaction| &mut transaction.secondaries, Self::free_if_secondary);
        let sequence = |request: &RequestKey| self.requests.records.get(*request).map(|record| record.sequence);
        self.transaction.detached.sort_by_key(sequence);
        self.take_each(|transaction| &mut transaction.detached, Self::place_if_detached);
        self.take_each(|transaction| &mut transaction.free, Self::offer_if_detached);
        self.take_each(|transaction| &mut transaction.task_managers, Self::update_idle_period);
        debug_assert!(self.transaction.is_empty(), "left to commit: {:?}", self.transaction);
    }

    /// Handles what is in a list of changes, and empties it. The list keeps its memory.
    #[inline]
    fn take_each<T: Copy>(&mut self, list: impl Fn(&mut Transaction) -> &mut Vec<T>, handle: impl Fn(&mut Self, T)) {
        let mut at = 0;
        while let Some(change) = list(&mut self.transaction).get(at).copied() {
            handle(self, change);
            at += 1;
        }
        list(&mut self.transaction).clear();
    }

    fn place_if_detached(&mut self, request: RequestKey) {
        let state = self.requests.records.get(request).map(|record| record.phase);
        if state == Some(RequestPhase::Detached) {
            self.place(request);
        }
    }

    fn offer_if_detached(&mut self, slot: SlotKey) {
        let state = self.slots.get(slot).map(|slot| &slot.phase);
        if matches!(state, Some(SlotPhase::Detached)) {
            self.offer(slot);
        }
    }

    /// A dropped grant is lost unless its job holds the allocation elsewhere.
    fn notify_if_lost(&mut self, grant: DroppedGrant) {
        let DroppedGrant {
            slot,
            allocation_id,
            job_id,
        } = grant;
        // It is no use to look for an allocation that nothing can have come to hold.
        if self.transaction.has_new_holder || !self.allocations.secondaries().is_empty() {
            if let Some(AllocationEntry::Granted(holder)) = self.find_or_promote(allocation_id) {
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
