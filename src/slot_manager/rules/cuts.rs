//! Cuts: slots that are cut from what remains of a dynamic worker.
//!
//! A cut is a slot like any other while it is in flight or allocated. It ends when it would become
//! free: its resources return to the worker, which is offered to the waiting requests that come
//! first and fit.

use crate::config::Quantity;
use crate::{DynamicResources, ResourceProfile, SlotReport};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::dynamic_workers::{WorkerShape, slots_in};
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{Slot, SlotKey};
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// Where a request may get a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A free slot of a static worker.
    Slot(SlotKey),
    /// A dynamic worker, from which a slot is cut.
    Worker(TaskManagerKey),
}

/// Begin.
impl Core {
    /// Cuts a slot for a request from the dynamic worker that the strategy chooses. The slot is detached.
    #[inline(always)]
    pub(crate) fn cut_for(&mut self, request: RequestKey) -> Option<SlotKey> {
        if !self.dynamic_workers.has_offers() {
            return None;
        }
        let (required, sequence) = {
            let record = &self.requests.records[request];
            (record.profile, record.sequence)
        };
        let workers = &mut self.dynamic_workers;
        let task_manager = match self.set_aside.barred_to(sequence) {
            None => workers.first_fitting(&self.profiles[required], |_| true)?,
            Some(barred) => workers.first_fitting(&self.profiles[required], |worker| worker != barred)?,
        };
        self.cut(task_manager, required)
    }

    /// Cuts a slot for a request that has no record. The slot is detached.
    #[inline(always)]
    pub(crate) fn cut_for_new(&mut self, required: &ResourceProfile) -> Option<SlotKey> {
        if !self.dynamic_workers.has_offers() {
            return None;
        }
        let task_manager = match self.set_aside.current() {
            None => self.dynamic_workers.first_fitting(required, |_| true)?,
            Some(earmark) => (self.dynamic_workers).first_fitting(required, |worker| worker != earmark.task_manager)?,
        };
        let required = self.profiles.acquire(required, 1);
        let slot = self.cut(task_manager, required);
        self.profiles.release(required, 1);
        slot
    }

    /// Cuts a slot for a request from a dynamic worker that fits it. The slot is detached.
    ///
    /// A request for `UNKNOWN` gets the default slot of the worker.
    pub(crate) fn cut(&mut self, task_manager: TaskManagerKey, required: ProfileKey) -> Option<SlotKey> {
        let worker = self.dynamic_workers.get(task_manager)?;
        let profile = match self.profiles[required] == ResourceProfile::UNKNOWN {
            true => worker.shape.default_slot?,
            false => required,
        };
        let slots = &self.task_managers.records[task_manager].slots;
        let number = self.dynamic_workers.cut(task_manager, slots, &self.profiles, profile)?;
        Some(self.insert_cut(task_manager, number, profile))
    }

    /// Adds the record of a cut, detached. Its resources have left the remainder.
    pub(crate) fn insert_cut(&mut self, task_manager: TaskManagerKey, number: u32, profile: ProfileKey) -> SlotKey {
        let profile = self.profiles.share(profile);
        self.slot_totals.add_cut(&self.profiles, profile);
        let slot = self.slots.insert(Slot::BLANK);
        let record = &mut self.slots[slot];
        record.number = number;
        record.task_manager = task_manager;
        record.profile = profile;
        self.task_managers.records[task_manager].slots.insert_cut(number, slot);
        slot
    }

    /// Gives a placed request its slot, which is cut now if it has to be.
    pub(crate) fn assign_placed(&mut self, placement: Placement, request: RequestKey) {
        let slot = match placement {
            Placement::Slot(slot) => Some(slot),
            Placement::Worker(task_manager) => self.cut(task_manager, self.requests.records[request].profile),
        };
        match slot {
            Some(slot) => self.assign(slot, request),
            None => debug_assert!(false, "a placement fits its request"),
        }
    }
}

/// End.
impl Core {
    /// Ends a cut that nothing uses any more, and offers its worker.
    #[inline(never)]
    pub(crate) fn end_cut(&mut self, slot: SlotKey) {
        let task_manager = self.slots[slot].task_manager;
        self.remove_cut(slot);
        self.offer_worker(task_manager);
    }

    /// Removes a cut that nothing uses any more, and returns its resources to the worker.
    pub(crate) fn remove_cut(&mut self, slot: SlotKey) {
        self.detach_slot(slot);
        let Slot {
            number,
            task_manager,
            profile,
            ..
        } = self.slots.remove(slot);
        self.slot_totals.remove_cuts(profile, SlotUsage::Free, 1);
        self.task_managers.records[task_manager].slots.remove_cut(number);
        if !self.dynamic_workers.give_back(task_manager, &self.profiles, profile) {
            let withheld = self
                .dynamic_workers
                .get(task_manager)
                .and_then(|worker| worker.withheld().cloned());
            self.recompute_remainder(task_manager, withheld);
        }
        self.profiles.release(profile, 1);
    }

    /// Ends the cut of an attempt that the worker refused because it has only `free` left. Until its
    /// next report, no more than that is cut from it.
    pub(crate) fn end_cut_beyond(&mut self, slot: SlotKey, free: &ResourceProfile) {
        let task_manager = self.slots[slot].task_manager;
        self.remove_cut(slot);
        self.dynamic_workers.withhold_beyond(task_manager, &self.profiles, free);
        self.offer_worker(task_manager);
    }

    /// Computes what remains of a dynamic worker from its cuts. It must be offered again afterwards.
    ///
    /// Cost: O(its slots).
    pub(crate) fn recompute_remainder(&mut self, task_manager: TaskManagerKey, withheld: Option<ResourceProfile>) {
        let slots = self.task_managers.records[task_manager].slots.iter();
        let cuts = slots.map(|(_, slot)| &self.profiles[self.slots[*slot].profile]);
        self.dynamic_workers
            .recompute(task_manager, &self.profiles, withheld, cuts);
    }
}

/// Offers.
impl Core {
    /// Returns `true` if a slot is cut from a dynamic worker.
    #[inline(always)]
    pub(crate) fn is_cut(&self, slot: SlotKey) -> bool {
        self.slots[slot].is_cut()
    }

    /// Returns `true` if the slots of a task manager are cut from its total.
    #[inline]
    pub(crate) fn is_dynamic(&self, task_manager: TaskManagerKey) -> bool {
        self.task_managers.records[task_manager].slots.is_dynamic()
    }

    /// Offers what remains of a dynamic worker: to waiting requests as long as one fits, then to
    /// later ones.
    ///
    /// Nothing is cut from a worker that is blocked or backs off.
    pub(crate) fn offer_worker(&mut self, task_manager: TaskManagerKey) {
        if self.dynamic_workers.get(task_manager).is_none() {
            return;
        }
        if self.is_blocked(task_manager) || self.failing_workers.backoff(task_manager).is_some() {
            self.withdraw_worker(task_manager);
            self.note_probe(task_manager);
            return;
        }
        if self.dynamic_workers.offer(task_manager, &self.profiles) && self.set_aside.is_on() {
            // Nothing may be left for the commit if no request waits.
            self.transaction.may_set_aside |= !self.requests.waiting.is_empty();
            self.end_earmark_if_vain();
        }
        while let Some(request) = self.candidate_for_worker(task_manager) {
            self.assign_placed(Placement::Worker(task_manager), request);
        }
        if self.transaction.no_longer_set_aside == Some(task_manager) {
            // Its rest has been offered just now.
            self.transaction.no_longer_set_aside = None;
            self.dynamic_workers.offer(task_manager, &self.profiles);
        }
    }

    /// Notes that more may remain of a dynamic worker, or that it may be cut again. The commit offers
    /// it.
    pub(crate) fn note_offer(&mut self, task_manager: TaskManagerKey) {
        if self.is_dynamic(task_manager) {
            self.transaction.dynamic_workers.push(task_manager);
        }
    }

    /// Lets nothing be cut from a task manager, if it is dynamic.
    pub(crate) fn withdraw_worker(&mut self, task_manager: TaskManagerKey) {
        if self.is_dynamic(task_manager) {
            self.dynamic_workers.withdraw(task_manager);
            self.end_earmark_on(task_manager);
        }
    }
}

/// Quantities.
impl Core {
    /// Returns the number of slots as which a task manager counts. A dynamic one counts as the
    /// default slots in its total.
    pub(crate) fn counted_slots(&self, task_manager: TaskManagerKey) -> usize {
        match self.dynamic_workers.get(task_manager) {
            Some(worker) => worker.shape.num_slots(&self.profiles),
            None => self.task_managers.records[task_manager].slots.len(),
        }
    }

    /// Returns the quantity of all registered slots and dynamic workers.
    pub(crate) fn registered(&self) -> Quantity {
        self.slot_totals.registered() + self.dynamic_workers.quantity()
    }

    /// Returns the quantity of a task manager: that of its slots, or of the total of a dynamic one.
    pub(crate) fn quantity_of(&self, task_manager: TaskManagerKey) -> Quantity {
        let measure = self.slot_totals.measure();
        if let Some(worker) = self.dynamic_workers.get(task_manager) {
            return self.quantity_of_shape(worker.shape);
        }
        let slots = self.task_managers.records[task_manager].slots.iter();
        slots.fold(Quantity::default(), |sum, (_, slot)| {
            sum + measure.of_slot(&self.profiles[self.slots[*slot].profile])
        })
    }

    /// Returns the quantity of the worker that a report describes.
    pub(crate) fn reported_quantity(&self, report: &SlotReport) -> Quantity {
        let measure = self.slot_totals.measure();
        match report.dynamic() {
            Some(worker) => self.quantity_of_resources(worker),
            None => {
                let slots = report.statuses().iter();
                let slots = slots.map(|status| measure.of_slot(status.resource_profile()));
                slots.fold(Quantity::default(), |sum, slot| sum + slot)
            }
        }
    }

    /// Returns the quantity of a dynamic worker with these resources.
    pub(crate) fn quantity_of_resources(&self, resources: &DynamicResources) -> Quantity {
        let slots = slots_in(resources.total(), resources.default_slot());
        self.slot_totals.measure().of_total(resources.total(), slots as usize)
    }

    /// Returns the quantity of a dynamic worker of this shape.
    pub(crate) fn quantity_of_shape(&self, shape: WorkerShape) -> Quantity {
        let slots = shape.num_slots(&self.profiles);
        self.slot_totals.measure().of_total(&self.profiles[shape.total], slots)
    }
}
