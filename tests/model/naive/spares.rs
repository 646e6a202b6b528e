//! Workers that no request asks for: those that are missing are asked for, those that are too many are withdrawn.

use std::cmp::Reverse;

use slot_manager::WorkerRequestId;

use super::{NaiveSlotManager, Promise};

impl NaiveSlotManager {
    /// As many workers as are missing to the fewest slots, or to the redundant ones; until one is declined.
    pub(super) fn ask_for_spare_workers(&mut self) {
        let Some(worker) = self.worker() else {
            return;
        };
        if self.recovery.is_some() || self.spare_ask.is_some() {
            return;
        }
        let to_floor = self.config.min_slots.saturating_sub(self.usable_and_promised());
        let to_redundancy = match self.is_used() {
            true => self.redundant_slots().saturating_sub(self.offered_and_unbound()),
            false => 0,
        };
        let workers = to_floor
            .div_ceil(worker.len())
            .max(to_redundancy.div_ceil(worker.len()));
        for _ in 0..workers {
            if !self.has_room() {
                return;
            }
            match self.ask_for_worker(&worker[0]) {
                Ok((worker_request, slots)) if !slots.is_empty() => self.promise(worker_request, &slots, None),
                _ => {
                    self.spare_ask = Some(self.timer(self.config.worker_registration_timeout));
                    return;
                }
            }
        }
    }

    /// The smallest first, of equal ones the latest; until one is wanted.
    pub(super) fn withdraw_surplus_workers(&mut self) {
        while let Some((slots, Reverse(id))) = self.first_surplus() {
            if self.is_wanted(slots) {
                break;
            }
            match self.withdraw_resource(id) {
                true => drop(self.end_worker_request(id)),
                false => self.of_worker_request(id, |it| it.asked_to_withdraw = true),
            }
        }
    }

    /// With how many slots a worker comes that covers nothing, of which nothing has come, and that was not asked to be
    /// withdrawn before.
    fn first_surplus(&self) -> Option<(usize, Reverse<WorkerRequestId>)> {
        let ids = self.promises.iter().map(|it| it.worker_request);
        let all = ids.map(|id| {
            let slots: Vec<_> = self.promises.iter().filter(|it| it.worker_request == id).collect();
            (slots, id)
        });
        let surplus = |it: &&Promise| it.covers.is_none() && !it.began_to_come && !it.asked_to_withdraw;
        let surplus = all.filter(|(slots, _)| slots.iter().all(surplus));
        surplus.map(|(slots, id)| (slots.len(), Reverse(id))).min()
    }

    /// Whether so many of the promised slots that cover nothing are needed.
    fn is_wanted(&self, slots: usize) -> bool {
        self.usable_and_promised() - slots < self.config.min_slots
            || self.is_used() && self.offered_and_unbound() - slots < self.redundant_slots()
    }

    pub(super) fn of_worker_request(&mut self, id: WorkerRequestId, change: impl FnMut(&mut Promise)) {
        let all = self.promises.iter_mut().filter(|it| it.worker_request == id);
        all.for_each(change);
    }
}
