//! The end of a transaction.

use crate::message::{Allocation, AllocationFailureCause};
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{SlotKey, SlotPhase};
use crate::slot_manager::state::transaction::{DroppedGrant, Transaction};

impl Core {
    /// Ends a transaction. It runs before each flush round, after each handled answer or deadline,
    /// and after a refused worker request that failed its request.
    ///
    /// 1. Grants that were dropped and did not move are lost.
    /// 2. Held slots are charged to the requirements of their jobs, and surplus units withdrawn.
    /// 3. Slots that hold an allocation granted elsewhere are freed.
    /// 4. Requests that lost their attempt look for a slot, oldest first.
    /// 5. Each slot that became free goes to the waiting request that comes first. Then dynamic
    ///    workers of which more remains are offered.
    /// 6. Requests of suspect jobs that were held back look for a slot again.
    /// 7. Missing units of declared requirements are made.
    /// 8. Workers that back off are probed.
    /// 9. What remains of a worker that is not set aside any more goes to the requests that come
    ///    first. A worker is set aside for a request that has waited long.
    /// 10. Promises end that exceed the limits with a newcomer. Promised slots are bound to
    ///     requests.
    /// 11. Idle periods begin and end.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if !self.transaction.is_empty() || (self.requests.held_back && self.requests.may_release_held_back) {
            self.commit_changes();
        }
        self.transaction.has_new_holder = false;
    }

    fn commit_changes(&mut self) {
        if !self.transaction.dropped.is_empty() {
            self.notify_losses();
        }
        if !self.transaction.accounts.is_empty() {
            self.settle_accounts();
        }
        self.handle_each(
            |transaction| &mut transaction.secondaries,
            |core, slot| core.free_if_secondary(*slot),
        );
        let sequence = |request: &RequestKey| self.requests.records.get(*request).map(|record| record.sequence);
        self.transaction.detached.sort_by_key(sequence);
        self.handle_each(
            |transaction| &mut transaction.detached,
            |core, request| core.place_if_detached(*request),
        );
        match self.may_assign_free_slot() {
            true => self.handle_each(
                |transaction| &mut transaction.free,
                |core, slot| core.offer_if_free(*slot),
            ),
            false => self.handle_each(
                |transaction| &mut transaction.free,
                |core, slot| core.offer_unwanted_if_free(*slot),
            ),
        }
        self.handle_each(
            |transaction| &mut transaction.dynamic_workers,
            |core, task_manager| core.offer_worker(*task_manager),
        );
        if self.requests.may_release_held_back {
            self.place_held_back();
        }
        if !self.transaction.accounts.is_empty() {
            self.make_missing_units();
        }
        if !self.transaction.probes.is_empty() {
            self.probe_workers();
        }
        if self.transaction.may_set_aside {
            self.commit_set_aside();
        }
        if self.transaction.concerns_promises() {
            self.commit_promises();
        }
        self.handle_each(
            |transaction| &mut transaction.task_managers,
            |core, owner| core.update_idle_period(*owner),
        );
    }

    /// Handles and removes each item of a list. The list keeps its memory.
    #[inline]
    fn handle_each<T>(&mut self, list: impl Fn(&mut Transaction) -> &mut Vec<T>, handle: impl Fn(&mut Self, &T)) {
        if list(&mut self.transaction).is_empty() {
            return;
        }
        let mut items = std::mem::take(list(&mut self.transaction));
        for item in &items {
            handle(self, item);
        }
        items.clear();
        debug_assert!(
            list(&mut self.transaction).is_empty(),
            "no handler adds to its own list"
        );
        *list(&mut self.transaction) = items;
    }

    fn place_if_detached(&mut self, request: RequestKey) {
        let phase = self.requests.records.get(request).map(|record| record.phase);
        if phase == Some(RequestPhase::Detached) {
            self.place(request);
        }
    }

    /// Offers a slot for which no request waits.
    #[inline]
    fn offer_unwanted_if_free(&mut self, slot: SlotKey) {
        let phase = self.slots.get(slot).map(|slot| &slot.phase);
        if let Some(SlotPhase::Detached) = phase {
            if self.is_cut(slot) {
                return self.end_cut(slot);
            }
            self.offer_last(slot, SlotUsage::Free);
        }
    }

    fn offer_if_free(&mut self, slot: SlotKey) {
        match self.slots.get(slot).map(|slot| &slot.phase) {
            Some(SlotPhase::Detached) => self.offer(slot),
            Some(SlotPhase::BackingOff { .. }) => {
                if let Some(request) = self.candidate_despite_refusals(slot) {
                    self.assign(slot, request);
                }
            }
            _ => {}
        }
    }

    /// Notifies the losses of dropped grants, unless their jobs hold the allocations on other slots.
    fn notify_losses(&mut self) {
        self.effects.notifications.sort(&mut self.transaction.dropped);
        // Without a new holder and without a secondary slot, no grant can have moved.
        if self.transaction.has_new_holder || !self.allocations.secondaries().is_empty() {
            let mut dropped = std::mem::take(&mut self.transaction.dropped);
            dropped.retain(|grant| !self.has_moved(grant));
            self.transaction.dropped = dropped;
        }
        self.log_losses();
        self.effects.notifications.add_lost(self.transaction.dropped.drain(..));
    }

    /// Logs and counts the dropped grants as lost.
    #[inline]
    pub(crate) fn log_losses(&mut self) {
        let dropped = &self.transaction.dropped;
        if tracing::enabled!(tracing::Level::WARN) {
            for DroppedGrant { slot, allocation } in dropped {
                let Allocation { id, job } = allocation;
                let cause = self.effects.notifications.cause_of(*slot);
                if let AllocationFailureCause::GrantLost { slot_id, loss } = cause {
                    tracing::warn!(job_id = %job, allocation_id = %id, %slot_id, %loss, "granted slot lost");
                }
            }
        }
        self.counters.grants_lost += dropped.len() as u64;
    }

    /// Returns `true` if the job of a dropped grant holds its allocation on another slot.
    fn has_moved(&mut self, grant: &DroppedGrant) -> bool {
        match self.find_or_promote(grant.allocation.id) {
            Some(AllocationEntry::Granted(holder)) => self.slots[holder].allocation() == Some(grant.allocation),
            _ => false,
        }
    }
}
