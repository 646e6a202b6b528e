//! The floor: the least work that any such manager must do. It takes the same messages in the same
//! order as the manager. The difference is the price of all other work of the manager.
//!
//! **The work.** All maps are those of the standard library with the hasher of the crate. They have
//! grown before the clock starts, except where the cluster grows. Their occasional work, such as
//! tidying up after removals, is in the time, as it is in the manager's.
//!
//! - A registration: the instance id and the resource id are inserted. Each slot is stored, its
//!   profile is looked up for the queue of free slots, and the slot joins the end of that queue.
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
//! - A task manager that goes: its two ids and the allocations that hold its slots are removed. Its
//!   slots stay where they are.
//!
//! **Left out.** Deadlines and the clock. Task executors and their answers: gateways, attempts,
//! futures, wakers. Notifications and log events. Matching: only an equal profile fits. The order
//! of waiting requests, promised slots and worker requests. Task managers that are idle or register
//! again. Places of slots that are used again. Slots that are new, omitted, listed in another order
//! or held by another allocation. Backoff after failures, leadership and queries. Removal of a slot
//! from the middle of its queue, which a report causes that shows it as held.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use foldhash::fast::FixedState;
use slab::Slab;
use slot_manager::message::{Allocation, SlotFreed};
use slot_manager::{AllocationId, InstanceId, ResourceId, ResourceProfile, SlotId, SlotReport, SlotRequest};

type Map<K, V> = HashMap<K, V, FixedState>;

/// Numbers have 32 bits, as the keys of the manager have: smaller state is faster state.
#[derive(Default)]
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
    slots: Range<u32>,
}

struct Slot {
    task_manager: u32,
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
    /// Registers a task manager with the slots of its first report, which are in the order of their
    /// numbers.
    pub(crate) fn register(&mut self, instance_id: InstanceId, report: &SlotReport) -> bool {
        let Some(first) = report.statuses().first() else {
            return false;
        };
        let resource_id = first.slot_id().resource_id();
        let task_manager = self.task_managers.len() as u32;
        let first_slot = self.slots.len() as u32;
        self.by_instance.insert(instance_id, task_manager);
        self.by_resource.insert(resource_id.clone(), first_slot);
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
            self.slots.push(Slot {
                task_manager,
                queue,
                holder,
            });
        }
        self.task_managers.push(TaskManager {
            resource_id: resource_id.clone(),
            slots: first_slot..self.slots.len() as u32,
        });
        true
    }

    /// Removes a task manager whose slots are all held. Returns `false` if it is not known.
    pub(crate) fn unregister(&mut self, instance_id: InstanceId) -> bool {
        let Some(task_manager) = self.by_instance.remove(&instance_id) else {
            return false;
        };
        let task_manager = &self.task_managers[task_manager as usize];
        self.by_resource.remove(&task_manager.resource_id);
        for slot in task_manager.slots.clone() {
            if let Some(holder) = self.slots[slot as usize].holder.take() {
                self.allocations.remove(&holder.id);
            }
        }
        true
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

impl Floor {
    /// Takes a request. Returns its slot, if it got one.
    pub(crate) fn request(&mut self, request: SlotRequest) -> Option<SlotId> {
        let Entry::Vacant(place) = self.allocations.entry(request.allocation_id()) else {
            return None;
        };
        let free = self
            .by_profile
            .get(request.resource_profile())
            .and_then(|queue| self.queues[*queue as usize].free.pop_front());
        let Some(number) = free else {
            place.insert(Holder::Request(self.requests.insert(request) as u32));
            return None;
        };
        let slot = &mut self.slots[number as usize];
        slot.holder = Some(Allocation {
            id: request.allocation_id(),
            job: request.job_id(),
        });
        place.insert(Holder::Slot(number));
        let owner = &self.task_managers[slot.task_manager as usize];
        Some(SlotId::new(owner.resource_id.clone(), number - owner.slots.start))
    }

    /// Cancels a request. Returns `true` if it waited.
    pub(crate) fn cancel(&mut self, allocation_id: AllocationId) -> bool {
        match self.allocations.remove(&allocation_id) {
            Some(Holder::Request(request)) => self.requests.try_remove(request as usize).is_some(),
            _ => false,
        }
    }

    /// Takes the message that a slot is free. Returns `true` if the allocation held it.
    pub(crate) fn free(&mut self, freed: &SlotFreed) -> bool {
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

    /// Compares a report. Returns `true` if it changes nothing.
    pub(crate) fn report(&self, instance_id: InstanceId, report: &SlotReport) -> bool {
        let Some(task_manager) = self.by_instance.get(&instance_id) else {
            return false;
        };
        let task_manager = &self.task_managers[*task_manager as usize];
        let first_slot = task_manager.slots.start as usize;
        report.statuses().iter().all(|status| {
            let slot = &self.slots[first_slot + status.slot_id().slot_number() as usize];
            *status.slot_id().resource_id() == task_manager.resource_id
                && *status.resource_profile() == self.queues[slot.queue as usize].profile
                && status.allocation() == slot.holder
        })
    }

    pub(crate) fn num_free(&self) -> usize {
        self.queues.iter().map(|queue| queue.free.len()).sum()
    }

    pub(crate) fn num_granted(&self) -> usize {
        self.allocations.len() - self.requests.len()
    }

    pub(crate) fn num_waiting(&self) -> usize {
        self.requests.len()
    }
}
