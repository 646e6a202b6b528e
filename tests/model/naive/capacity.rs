//! What is looked at once, when all that an input or a round caused has been said: is there too much, or too little?

use super::{NaiveSlotManager, Slot, State};

impl NaiveSlotManager {
    pub(super) fn look_at_capacity(&mut self) {
        if self.leader.is_none() {
            return;
        }
        self.fail_unfulfillable_requests();
        self.say_everything();
        self.withdraw_surplus_workers();
        self.release_kept_task_managers();
        self.fail_unfulfillable_requests();
        self.say_everything();
        self.ask_for_held_requests();
        self.ask_for_spare_workers();
        self.say_everything();
    }

    /// The slots there are or will be, without those of blocked task managers.
    pub(super) fn usable_and_promised(&self) -> usize {
        let usable = self.task_managers.iter().filter(|it| !self.is_blocked(&it.resource_id));
        usable.map(|it| it.slots.len()).sum::<usize>() + self.promises.len()
    }

    pub(super) fn offered(&self) -> usize {
        self.slots().filter(|slot| slot.is_offered()).count()
    }

    /// The slots that a request would find, or could be covered by.
    pub(super) fn offered_and_unbound(&self) -> usize {
        self.offered() + self.promises.iter().filter(|it| it.covers.is_none()).count()
    }

    /// Without a used slot there is no redundancy.
    pub(super) fn is_used(&self) -> bool {
        self.task_managers.iter().any(|it| it.used() > 0)
    }

    /// How many slots are kept free for the jobs of a task manager that fails.
    pub(super) fn redundant_slots(&self) -> usize {
        let worker = self.worker();
        worker.map_or(0, |slots| self.config.redundant_task_managers * slots.len())
    }
}

impl Slot {
    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, State::Offered(_))
    }
}
