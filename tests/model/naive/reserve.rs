//! Reserve workers: missing ones are requested, surplus ones are withdrawn.

use slot_manager::WorkerRequestId;
use slot_manager::message::WithdrawalCause;

use super::{NaiveSlotManager, Promise};
use std::cmp::Reverse;

impl NaiveSlotManager {
    /// Requests the workers that are missing to the minimum or to redundancy, until a request is
    /// declined.
    pub(super) fn request_reserve_workers(&mut self) {
        let Some(worker) = self.worker() else {
            return;
        };
        if self.reserve_backoff.is_some() {
            return;
        }
        let to_floor = self.min_slots().saturating_sub(self.usable_and_promised());
        let to_redundancy = match self.is_used() {
            true => self.redundant_slots().saturating_sub(self.offered_and_unbound()),
            false => 0,
        };
        let workers = to_floor
            .div_ceil(worker.len())
            .max(to_redundancy.div_ceil(worker.len()));
        for _ in 0..workers {
            if self.asks_are_deferred() || !self.has_room() {
                return;
            }
            match self.request_worker(&worker[0]) {
                Ok((worker_request, slots)) if !slots.is_empty() => self.promise(worker_request, &slots, None),
                _ => {
                    self.reserve_backoff = Some(self.timer(self.config.worker_registration_timeout));
                    return;
                }
            }
        }
    }

    /// Withdraws surplus workers until one is needed: the smallest first, among equal ones the
    /// latest.
    pub(super) fn withdraw_surplus_workers(&mut self) {
        while let Some((slots, Reverse(id))) = self.next_surplus_worker() {
            if self.is_needed(slots) {
                break;
            }
            match self.withdraw_resource(id, WithdrawalCause::NotNeeded) {
                true => drop(self.end_worker_request(id)),
                false => self.update_promises(id, |it| it.withdrawal_tried = true),
            }
        }
    }

    /// Returns the next surplus worker and the number of its slots. None of its slots is bound or
    /// has registered, and no withdrawal of it was tried.
    fn next_surplus_worker(&self) -> Option<(usize, Reverse<WorkerRequestId>)> {
        let ids = self.promises.iter().map(|it| it.worker_request);
        let all = ids.map(|id| {
            let slots: Vec<_> = self.promises.iter().filter(|it| it.worker_request == id).collect();
            (slots, id)
        });
        let surplus = |it: &&Promise| it.bound_to.is_none() && !it.worker_arrived && !it.withdrawal_tried;
        let surplus = all.filter(|(slots, _)| slots.iter().all(surplus));
        surplus.map(|(slots, id)| (slots.len(), Reverse(id))).min()
    }

    /// Returns `true` if the minimum or redundancy would not hold without this number of unbound
    /// promised slots.
    fn is_needed(&self, slots: usize) -> bool {
        self.usable_and_promised() - slots < self.min_slots()
            || self.is_used() && self.offered_and_unbound() - slots < self.redundant_slots()
    }

    pub(super) fn update_promises(&mut self, id: WorkerRequestId, change: impl FnMut(&mut Promise)) {
        let all = self.promises.iter_mut().filter(|it| it.worker_request == id);
        all.for_each(change);
    }
}
