//! The registered and promised slots. The checks take them from the views after a call, and undo
//! effect by effect to get the slots in between.

use std::collections::BTreeMap;

use slot_manager::overview::Resources;
use slot_manager::view::SlotState;
use slot_manager::{InstanceId, ResourceId, ResourceProfile, WorkerRequestId};

use crate::cluster::capacity_rules;
use crate::cluster::simulation::Manager;

#[derive(Debug, Clone, Default)]
pub(crate) struct SlotInventory {
    pub(crate) task_managers: BTreeMap<InstanceId, TaskManager>,
    pub(crate) promised: BTreeMap<WorkerRequestId, Promised>,
    /// In flight or allocated.
    pub(crate) used: usize,
    /// The profiles of requests that wait for a slot and do not back off.
    pub(crate) waiting: Vec<ResourceProfile>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TaskManager {
    /// `None` for a task manager that has registered since.
    pub(crate) resource_id: Option<ResourceId>,
    pub(crate) is_blocked: bool,
    pub(crate) slots: Vec<ResourceProfile>,
    /// The number of slots that can be assigned.
    pub(crate) offered: usize,
}

/// The promised slots of one worker request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promised {
    pub(crate) slots: Vec<ResourceProfile>,
    /// The number of slots that are not bound to a request.
    pub(crate) unbound: usize,
}

impl SlotInventory {
    pub(crate) fn of(manager: &Manager) -> Self {
        let mut inventory = Self::default();
        for view in manager.task_managers() {
            let mut task_manager = TaskManager {
                resource_id: Some(view.resource_id().clone()),
                is_blocked: view.is_blocked(),
                ..TaskManager::default()
            };
            for slot in view.slots() {
                task_manager.slots.push(slot.resource_profile().clone());
                task_manager.offered += usize::from(slot.state() == SlotState::Free);
                inventory.used += usize::from(!slot.is_free());
            }
            inventory.task_managers.insert(view.instance_id(), task_manager);
        }
        let waiting = manager.pending_slot_requests();
        let waiting = waiting.filter(|it| it.in_flight_to().is_none() && it.backs_off_until().is_none());
        inventory.waiting = waiting.map(|it| it.resource_profile().clone()).collect();
        for slot in manager.promised_slots() {
            let promised = inventory.promised.entry(slot.worker_request()).or_default();
            promised.slots.push(slot.resource_profile().clone());
            promised.unbound += usize::from(slot.bound_to().is_none());
        }
        inventory
    }

    fn registered(&self) -> impl Iterator<Item = &ResourceProfile> {
        self.task_managers.values().flat_map(|it| &it.slots)
    }

    /// Returns the sum of registered and promised slots.
    pub(crate) fn total(&self) -> Resources {
        let promised = self.promised.values().flat_map(|it| &it.slots);
        capacity_rules::total(self.registered().chain(promised))
    }

    /// Returns the sum of registered slots.
    pub(crate) fn registered_total(&self) -> Resources {
        capacity_rules::total(self.registered())
    }

    pub(crate) fn has_registered_slot_for(&self, required: &ResourceProfile) -> bool {
        self.registered().any(|slot| slot.is_matching(required))
    }

    /// Returns the number of promised slots and of slots on task managers that are not blocked.
    pub(crate) fn usable(&self) -> usize {
        let registered = self.task_managers.values().filter(|it| !it.is_blocked);
        let registered: usize = registered.map(|it| it.slots.len()).sum();
        registered + self.promised.values().map(|it| it.slots.len()).sum::<usize>()
    }

    pub(crate) fn offered(&self) -> usize {
        self.task_managers.values().map(|it| it.offered).sum()
    }

    pub(crate) fn unbound(&self) -> usize {
        self.promised.values().map(|it| it.unbound).sum()
    }

    pub(crate) fn without(&self, instance_id: InstanceId) -> Self {
        let mut rest = self.clone();
        rest.task_managers.remove(&instance_id);
        rest
    }
}
