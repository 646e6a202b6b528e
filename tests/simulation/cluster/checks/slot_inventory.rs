//! What there is of slots, registered and promised: taken from the views after a call, and taken back effect by effect
//! to what there was in between.

use std::collections::BTreeMap;

use slot_manager::{InstanceId, ResourceId, ResourceProfile, Resources, SlotState, WorkerRequestId};

use crate::cluster::capacity_rules;
use crate::cluster::simulation::Manager;

#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) task_managers: BTreeMap<InstanceId, TaskManager>,
    pub(crate) promised: BTreeMap<WorkerRequestId, Promised>,
    /// In flight or allocated.
    pub(crate) used: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TaskManager {
    /// `None` of one that has registered since.
    pub(crate) resource_id: Option<ResourceId>,
    pub(crate) is_blocked: bool,
    pub(crate) slots: Vec<ResourceProfile>,
    /// How many of them can be handed out.
    pub(crate) offered: usize,
}

/// What is promised of one worker request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promised {
    pub(crate) slots: Vec<ResourceProfile>,
    /// How many of them cover nobody.
    pub(crate) unbound: usize,
}

impl Standing {
    pub(crate) fn of(manager: &Manager) -> Self {
        let mut standing = Self::default();
        for view in manager.task_managers() {
            let mut task_manager = TaskManager {
                resource_id: Some(view.resource_id().clone()),
                is_blocked: view.is_blocked(),
                ..TaskManager::default()
            };
            for slot in view.slots() {
                task_manager.slots.push(slot.resource_profile().clone());
                task_manager.offered += usize::from(slot.state() == SlotState::Free);
                standing.used += usize::from(!slot.is_free());
            }
            standing.task_managers.insert(view.instance_id(), task_manager);
        }
        for slot in manager.promised_slots() {
            let promised = standing.promised.entry(slot.worker_request()).or_default();
            promised.slots.push(slot.resource_profile().clone());
            promised.unbound += usize::from(slot.covers().is_none());
        }
        standing
    }

    fn registered(&self) -> impl Iterator<Item = &ResourceProfile> {
        self.task_managers.values().flat_map(|it| &it.slots)
    }

    /// All there is.
    pub(crate) fn total(&self) -> Resources {
        let promised = self.promised.values().flat_map(|it| &it.slots);
        capacity_rules::total(self.registered().chain(promised))
    }

    pub(crate) fn has_registered_slot_for(&self, required: &ResourceProfile) -> bool {
        self.registered().any(|slot| slot.is_matching(required))
    }

    /// Registered where nothing is blocked, or promised.
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
