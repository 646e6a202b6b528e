//! Reconcile: compares needs with workers once all effects of an input or a round have left.

use super::promised_workers::PromisedWorker;
use super::{NaiveSlotManager, Slot, State, TaskManager};

impl NaiveSlotManager {
    /// Fails unfulfillable requests, withdraws surplus workers, releases kept task managers and
    /// requests workers.
    ///
    /// The last slot that fits a request may go with a kept task manager, so unfulfillable requests
    /// fail twice.
    pub(super) fn reconcile(&mut self) {
        if self.leader.is_none() {
            return;
        }
        self.fail_unfulfillable_requests();
        self.flush();
        self.withdraw_surplus_workers();
        loop {
            self.release_kept_task_managers();
            self.fail_unfulfillable_requests();
            self.flush();
            self.request_deferred_workers();
            if self.next_kept_to_release().is_none() {
                break;
            }
        }
        self.request_reserve_workers();
        self.flush();
    }

    /// Returns the number of registered and promised slots, without those of blocked workers.
    pub(super) fn usable_and_promised(&self) -> usize {
        let usable = self.task_managers.iter().filter(|it| !self.is_blocked(&it.resource_id));
        let promised = self.promised_workers.iter().map(|it| it.resources.counted_slots());
        usable.map(TaskManager::counted_slots).chain(promised).sum::<usize>() + self.promises.len()
    }

    /// Returns the number of offered slots, and of the default slots that dynamic workers have left.
    pub(super) fn offered(&self) -> usize {
        self.task_managers.iter().map(|it| self.free_slots_of(it)).sum()
    }

    /// Returns the number of slots that a new request could take or be bound to.
    pub(super) fn offered_and_unbound(&self) -> usize {
        let promised: usize = self.promised_workers.iter().map(PromisedWorker::free_slots).sum();
        self.offered() + promised + self.promises.iter().filter(|it| it.bound_to.is_none()).count()
    }

    /// Returns `true` if a slot is in flight or allocated. Otherwise no redundancy is needed.
    pub(super) fn is_used(&self) -> bool {
        self.task_managers.iter().any(|it| it.used() > 0)
    }

    /// Returns the number of slots that are kept free in case a task manager fails.
    pub(super) fn redundant_slots(&self) -> usize {
        let workers = self.config.workers.as_ref();
        workers.map_or(0, |workers| {
            workers.redundant_task_managers * workers.description.slots()
        })
    }
}

impl Slot {
    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered(_))
    }
}
