//! Cuts: slots of dynamic workers, which begin with an attempt and end when they become free.

use slot_manager::{AllocationId, InstanceId, ResourceProfile, SlotId};

use super::dynamic_workers::FIRST_NUMBER;
use super::{NaiveSlotManager, Request, Slot, State, TaskManager};

/// The largest number of slots that are cut from one worker.
const MOST_CUTS: usize = 1 << 16;

/// The place where a request gets its slot.
#[derive(Debug, Clone)]
pub(super) enum Room {
    Slot(SlotId),
    /// A slot that is cut from this worker.
    Cut(InstanceId),
}

impl NaiveSlotManager {
    /// Returns `true` if slots may be cut from a dynamic worker, by other requests than probes.
    pub(super) fn may_be_cut(&self, task_manager: &TaskManager) -> bool {
        !self.is_blocked(&task_manager.resource_id)
            && !self.is_failing(task_manager.instance_id)
            && !self.is_noted(task_manager)
    }

    /// Returns `true` if the commit has yet to offer a worker.
    fn is_noted(&self, task_manager: &TaskManager) -> bool {
        let id = task_manager.instance_id;
        self.transaction.workers.contains(&id) || self.transaction.no_longer_set_aside == Some(id)
    }

    /// Has the commit offer a dynamic worker, which is not cut until then.
    pub(super) fn note_worker(&mut self, id: InstanceId) {
        let is_dynamic = self.task_manager(id).is_some_and(|it| it.resources.is_some());
        if is_dynamic && !self.transaction.workers.contains(&id) {
            self.transaction.workers.push(id);
        }
    }

    /// Returns the slot that a request would cut, if it fits.
    pub(super) fn fitting_cut(&self, task_manager: &TaskManager, request: &Request) -> Option<ResourceProfile> {
        let cut = task_manager.resources.as_ref()?.cut_for(&request.profile)?;
        let has_number = task_manager.slots.len() < MOST_CUTS;
        let fits = has_number && task_manager.remaining()?.is_matching(&cut) && !self.is_noted(task_manager);
        fits.then_some(cut)
    }

    /// Returns the best worker by the strategy from which a request is cut, of equal ones that with the
    /// lowest place. Only workers count on which the request was tried, or only the others.
    pub(super) fn worker_to_cut(&self, request: &Request, tried: bool) -> Option<Room> {
        let all = self.task_managers.iter().filter(|it| {
            request.was_tried_on(it) == tried
                && self.may_be_cut(it)
                && self.fitting_cut(it, request).is_some()
                && !self.is_held_back(request, it)
                && !self.is_set_aside_from(request, it)
        });
        let place = |it: &TaskManager| it.resources.as_ref().map(|it| it.place);
        let best = all.min_by_key(|it| (self.worker_rank(it), place(it)));
        best.map(|it| Room::Cut(it.instance_id))
    }

    /// Begins an attempt in a slot, or in one that is cut for it.
    pub(super) fn assign_in(&mut self, room: Room, id: AllocationId) {
        let slot = match room {
            Room::Slot(slot) => slot,
            Room::Cut(worker) => self.cut(worker, id),
        };
        self.assign(&slot, id);
    }

    /// Cuts a slot for a request.
    fn cut(&mut self, worker: InstanceId, id: AllocationId) -> SlotId {
        let request = self.find_request(id).expect("a pending request");
        let task_manager = self.task_manager(worker).expect("a registered task manager");
        let profile = self.fitting_cut(task_manager, request).expect("it fits");
        let task_manager = self.task_manager_mut(worker);
        let resources = task_manager.resources.as_mut().expect("a dynamic worker");
        let in_use = |number: u32| task_manager.slots.iter().any(|it| it.id.slot_number() == number);
        let mut number = resources.next_number;
        while in_use(number) {
            number = number.wrapping_add(1).max(FIRST_NUMBER);
        }
        resources.next_number = number.wrapping_add(1).max(FIRST_NUMBER);
        let slot = SlotId::new(task_manager.resource_id.clone(), number);
        task_manager.slots.push(Slot {
            id: slot.clone(),
            profile,
            state: State::Detached,
            failed: None,
            refused: Vec::new(),
        });
        task_manager.slots.sort_by_key(|slot| slot.id.slot_number());
        slot
    }

    /// Returns `true` if a slot was cut from a dynamic worker.
    pub(super) fn is_cut(&self, slot: &SlotId) -> bool {
        self.owner(slot).is_some_and(|it| it.resources.is_some())
    }

    /// Ends a cut. Its resources return to the worker, which serves the requests that come first.
    pub(super) fn end_cut(&mut self, slot: &SlotId) {
        let owner = self.owner(slot).expect("a registered slot").instance_id;
        self.task_manager_mut(owner).slots.retain(|it| it.id != *slot);
        self.offer_worker(owner);
    }

    /// Cuts slots from a worker for the best candidates, one after the other, until none fits. A
    /// failing worker gets a probe.
    pub(super) fn offer_worker(&mut self, id: InstanceId) {
        if self.is_failing(id) {
            self.transaction.probes.push(id);
        }
        self.end_earmark_if_vain(id);
        loop {
            // The request for which it was set aside may have been the last one.
            let _: Option<InstanceId> = self.transaction.no_longer_set_aside.take_if(|it| *it == id);
            let Some(task_manager) = self.task_manager(id).filter(|it| self.may_be_cut(it)) else {
                break;
            };
            let mut candidates = self.candidates(task_manager).into_iter();
            let fits = |it: &&Request| self.fitting_cut(task_manager, it).is_some();
            let may_serve =
                |it: &&Request| !self.is_held_back(it, task_manager) && !self.is_set_aside_from(it, task_manager);
            let best = candidates.find(|it| fits(it) && may_serve(it));
            match best.map(|it| it.allocation_id) {
                Some(request) => self.assign_in(Room::Cut(id), request),
                None => break,
            }
        }
    }

    /// Offers the workers that were noted, in this order.
    pub(super) fn offer_noted_workers(&mut self) {
        while !self.transaction.workers.is_empty() {
            let id = self.transaction.workers.remove(0);
            self.offer_worker(id);
        }
    }
}
