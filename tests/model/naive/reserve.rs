//! Reserve workers: missing ones are requested, surplus ones are withdrawn.

use slot_manager::WorkerRequestId;
use slot_manager::message::WithdrawalCause;

use super::{NaiveSlotManager, Promise};
use std::cmp::Reverse;

impl NaiveSlotManager {
    /// Requests the workers that are missing to the minimum or to redundancy, until a request is
    /// declined.
    pub(super) fn request_reserve_workers(&mut self) {
        let Some(worker) = self.config.workers.as_ref().map(|it| it.description.clone()) else {
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
            .div_ceil(worker.slots())
            .max(to_redundancy.div_ceil(worker.slots()));
        for _ in 0..workers {
            if self.asks_are_deferred() || !self.has_room() {
                return;
            }
            match self.request_worker(worker.slot_profile()) {
                Ok((worker_request, promised)) if !promised.is_nothing() => {
                    self.promise(worker_request, promised, None);
                }
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
        while let Some((slots, Reverse(id), unbound)) = self.next_surplus_worker() {
            if self.is_needed(slots, unbound) {
                break;
            }
            match self.withdraw_resource(id, WithdrawalCause::NotNeeded) {
                true => drop(self.end_worker_request(id)),
                false => self.note_withdrawal_tried(id),
            }
        }
    }

    /// Returns the next surplus worker and the number of its slots, at first as they count, at last those
    /// to which requests could be bound. None of its slots is bound or has registered, and no
    /// withdrawal of it was tried.
    fn next_surplus_worker(&self) -> Option<(usize, Reverse<WorkerRequestId>, usize)> {
        let ids = self.promises.iter().map(|it| it.worker_request);
        let all = ids.map(|id| {
            let slots: Vec<_> = self.promises.iter().filter(|it| it.worker_request == id).collect();
            (slots, id)
        });
        let surplus = |it: &&Promise| it.bound_to.is_none() && !it.worker_arrived && !it.withdrawal_tried;
        let surplus = all.filter(|(slots, _)| slots.iter().all(surplus));
        let surplus = surplus.map(|(slots, id)| (slots.len(), Reverse(id), slots.len()));
        let unused = self.promised_workers.iter();
        let unused = unused.filter(|it| it.cuts.is_empty() && !it.withdrawal_tried);
        let workers = unused.map(|it| {
            (
                it.resources.counted_slots(),
                Reverse(it.worker_request),
                it.free_slots(),
            )
        });
        surplus.chain(workers).min()
    }

    /// Returns `true` if the minimum or redundancy would not hold without this number of promised slots,
    /// and of unbound ones.
    fn is_needed(&self, slots: usize, unbound: usize) -> bool {
        self.usable_and_promised() - slots < self.min_slots()
            || self.is_used() && self.offered_and_unbound() - unbound < self.redundant_slots()
    }

    pub(super) fn update_promises(&mut self, id: WorkerRequestId, change: impl FnMut(&mut Promise)) {
        let all = self.promises.iter_mut().filter(|it| it.worker_request == id);
        all.for_each(change);
    }

    /// Notes that the withdrawal of a worker was too late.
    fn note_withdrawal_tried(&mut self, id: WorkerRequestId) {
        self.update_promises(id, |it| it.withdrawal_tried = true);
        let workers = self.promised_workers.iter_mut().filter(|it| it.worker_request == id);
        workers.for_each(|it| it.withdrawal_tried = true);
    }
}
