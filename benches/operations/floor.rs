//! The floor: the least work that any such manager must do. A group `floor: ...` takes the same
//! messages in the same order as the group of the same name. The difference is the price of all
//! other work of the manager.
//!
//! **The work.** All maps are those of the standard library with the hasher of the crate. They have
//! grown in the warm-up. Their occasional work, such as tidying up after removals, is in the time,
//! as it is in the manager's.
//!
//! - A request: its allocation id is looked up and is missing. Its profile is looked up for the
//!   queue of free slots, and the first slot is taken. The holder is written to the slot, and the
//!   allocation id is inserted at the place of the search. The request is consumed. Without a slot
//!   it is stored instead, and its place is inserted.
//! - A cancellation: the allocation id and the request are removed.
//! - A freed slot: the resource id is looked up by its text, the slot is indexed by its number. The
//!   allocation is compared with the holder and removed from the map. The slot joins the end of its
//!   queue.
//! - A report: the instance id is looked up. Of each status, the resource id, the profile and the
//!   holder are compared with the stored ones. A difference is only noticed.
//!
//! **Left out.** Deadlines and the clock. Task executors and their answers: attempts, futures,
//! wakers. Notifications, log events and the ids cloned for them; the outcome names the slot by its
//! number. Matching: only an equal profile fits. The order of waiting requests, promised slots and
//! worker requests. Task managers that are idle, register again or go. Slots that are new, omitted,
//! listed in another order or held by another allocation. Backoff after failures, leadership and
//! queries. Removal of a slot from the middle of its queue, which a report causes that shows it as
//! held.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;
use slab::Slab;
use slot_manager::message::{Allocation, SlotFreed};
use slot_manager::{AllocationId, InstanceId, ResourceId, ResourceProfile, SlotReport, SlotRequest};

use crate::inputs::Inputs;
use crate::messages::{SLOTS_PER_TASK_MANAGER, instance_id, report, usual_profile};

type Map<K, V> = HashMap<K, V, FixedState>;

/// Numbers have 32 bits, as the keys of the manager have: smaller state is faster state.
pub(crate) struct Floor {
    task_managers: Vec<TaskManager>,
    by_instance: Map<InstanceId, u32>,
    /// The number of the first slot. The slots of one task manager are next to each other.
    by_resource: Map<ResourceId, u32>,
    slots: Vec<Slot>,
    by_profile: Map<ResourceProfile, u32>,
    queues: Vec<Queue>,
    requests: Slab<SlotRequest>,
    allocations: Map<AllocationId, Holder>,
}

struct TaskManager {
    resource_id: ResourceId,
    first_slot: u32,
}

struct Slot {
    /// The index of its queue.
    queue: u32,
    holder: Option<Allocation>,
}

/// The free slots with one profile.
struct Queue {
    profile: ResourceProfile,
    free: VecDeque<u32>,
}

#[derive(Clone, Copy)]
enum Holder {
    Slot(u32),
    Request(u32),
}

impl Floor {
    /// Returns a floor with slots of the usual profile, of which the chosen ones are held.
    pub(crate) fn taken_over(slots: usize, is_allocated: impl Fn(usize) -> bool) -> Self {
        let mut floor = Self {
            task_managers: Vec::new(),
            by_instance: Map::default(),
            by_resource: Map::default(),
            slots: Vec::with_capacity(slots),
            by_profile: Map::default(),
            queues: Vec::new(),
            requests: Slab::new(),
            allocations: Map::default(),
        };
        for task_manager in 0..slots / SLOTS_PER_TASK_MANAGER {
            let report = report(task_manager, |_| usual_profile(), &is_allocated);
            floor.register(instance_id(task_manager), &report);
        }
        floor
    }

    pub(crate) fn with_free_slots(slots: usize) -> Self {
        Self::taken_over(slots, |_| false)
    }

    fn register(&mut self, instance_id: InstanceId, report: &SlotReport) {
        let Some(first) = report.statuses().first() else {
            return;
        };
        let resource_id = first.slot_id().resource_id();
        let first_slot = self.slots.len() as u32;
        self.by_instance.insert(instance_id, self.task_managers.len() as u32);
        self.by_resource.insert(resource_id.clone(), first_slot);
        self.task_managers.push(TaskManager {
            resource_id: resource_id.clone(),
            first_slot,
        });
        for status in report.statuses() {
            let slot = self.slots.len() as u32;
            let queue = self.queue(status.resource_profile());
            let holder = status.allocation();
            match holder {
                Some(Allocation { id: allocation_id, .. }) => {
                    self.allocations.insert(allocation_id, Holder::Slot(slot));
                }
                None => self.queues[queue as usize].free.push_back(slot),
            }
            self.slots.push(Slot { queue, holder });
        }
    }

    /// Returns the index of the queue for a profile.
    fn queue(&mut self, profile: &ResourceProfile) -> u32 {
        if let Some(queue) = self.by_profile.get(profile) {
            return *queue;
        }
        let queue = self.queues.len() as u32;
        self.queues.push(Queue {
            profile: profile.clone(),
            free: VecDeque::new(),
        });
        self.by_profile.insert(profile.clone(), queue);
        queue
    }
}

impl Inputs for Floor {
    type Registered = Option<u32>;

    fn request(&mut self, request: SlotRequest) -> Option<u32> {
        let Entry::Vacant(place) = self.allocations.entry(request.allocation_id()) else {
            return None;
        };
        let free = self
            .by_profile
            .get(request.resource_profile())
            .and_then(|queue| self.queues[*queue as usize].free.pop_front());
        match free {
            Some(slot) => {
                self.slots[slot as usize].holder = Some(Allocation {
                    id: request.allocation_id(),
                    job: request.job_id(),
                });
                place.insert(Holder::Slot(slot));
            }
            None => {
                place.insert(Holder::Request(self.requests.insert(request) as u32));
            }
        }
        free
    }

    fn granted_slot(registered: &Option<u32>) -> Option<usize> {
        registered.map(|slot| slot as usize)
    }

    fn cancel(&mut self, allocation_id: AllocationId) -> bool {
        match self.allocations.remove(&allocation_id) {
            Some(Holder::Request(request)) => self.requests.try_remove(request as usize).is_some(),
            _ => false,
        }
    }

    fn free(&mut self, freed: &SlotFreed) -> bool {
        let (slot_id, allocation_id) = (freed.slot_id(), freed.allocation_id());
        let Some(first_slot) = self.by_resource.get(slot_id.resource_id()) else {
            return false;
        };
        let number = first_slot + slot_id.slot_number();
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return false;
        };
        if !matches!(slot.holder, Some(holder) if holder.id == allocation_id) {
            return false;
        }
        slot.holder = None;
        self.queues[slot.queue as usize].free.push_back(number);
        matches!(self.allocations.remove(&allocation_id), Some(Holder::Slot(held)) if held == number)
    }

    fn report(&mut self, instance_id: InstanceId, report: &SlotReport) -> bool {
        let Some(task_manager) = self.by_instance.get(&instance_id) else {
            return false;
        };
        let task_manager = &self.task_managers[*task_manager as usize];
        let first_slot = task_manager.first_slot as usize;
        report.statuses().iter().all(|status| {
            let slot = &self.slots[first_slot + status.slot_id().slot_number() as usize];
            *status.slot_id().resource_id() == task_manager.resource_id
                && *status.resource_profile() == self.queues[slot.queue as usize].profile
                && status.allocation() == slot.holder
        })
    }

    fn drive(&mut self) {}

    fn num_free(&self) -> usize {
        self.queues.iter().map(|queue| queue.free.len()).sum()
    }

    fn num_granted(&self) -> usize {
        self.allocations.len() - self.requests.len()
    }

    fn num_waiting(&self) -> usize {
        self.requests.len()
    }
}
