//! The view of the task executors of a cluster: which allocation holds which slot.

use rand::Rng;
use slot_manager::message::SlotFreed;
use slot_manager::{AllocationId, SlotReport, SlotStatus};

use crate::messages::{JOB, SLOTS_PER_TASK_MANAGER, slot_id, slots_of, usual_profile};

/// The allocations of one job that hold slots, by the number of the slot in the cluster.
pub(crate) struct HeldSlots {
    allocations: Vec<Option<AllocationId>>,
    held: usize,
}

impl HeldSlots {
    pub(crate) fn new(task_managers: usize) -> Self {
        Self {
            allocations: vec![None; task_managers * SLOTS_PER_TASK_MANAGER],
            held: 0,
        }
    }

    /// Returns the number of held slots.
    pub(crate) fn len(&self) -> usize {
        self.held
    }

    pub(crate) fn get(&self, slot: usize) -> Option<AllocationId> {
        self.allocations[slot]
    }

    pub(crate) fn hold(&mut self, slot: usize, allocation_id: AllocationId) {
        if self.allocations[slot].replace(allocation_id).is_none() {
            self.held += 1;
        }
    }

    pub(crate) fn free(&mut self, slot: usize) -> Option<AllocationId> {
        let freed = self.allocations[slot].take();
        self.held -= usize::from(freed.is_some());
        freed
    }

    /// Frees a held slot, picked at random. Returns the message to the manager.
    pub(crate) fn free_one(&mut self, random: &mut impl Rng) -> SlotFreed {
        assert!(self.held > 0);
        loop {
            let slot = random.random_range(0..self.allocations.len());
            if let Some(allocation_id) = self.free(slot) {
                return SlotFreed::new(slot_id(slot), allocation_id);
            }
        }
    }

    /// Returns the report of a task executor.
    pub(crate) fn report(&self, task_manager: usize) -> SlotReport {
        slots_of(task_manager)
            .map(|slot| match self.allocations[slot] {
                Some(allocation_id) => SlotStatus::allocated(slot_id(slot), usual_profile(), allocation_id, JOB),
                None => SlotStatus::free(slot_id(slot), usual_profile()),
            })
            .collect()
    }
}
