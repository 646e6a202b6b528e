//! The registered and promised slots, and the dynamic workers. The checks take them from the views
//! after a call, and undo effect by effect to get them in between.

use std::collections::BTreeMap;

use slot_manager::overview::Resources;
use slot_manager::view::SlotState;
use slot_manager::{DynamicResources, InstanceId, ResourceId, ResourceProfile, SlotReport, WorkerRequestId};

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
    /// Its slots. The cuts of a dynamic worker do not count.
    pub(crate) slots: Vec<ResourceProfile>,
    /// The resources of a dynamic worker.
    pub(crate) resources: Option<DynamicResources>,
    /// The number of slots that can be assigned: of a dynamic worker, the default slots that are
    /// left.
    pub(crate) offered: usize,
}

/// The resources of dynamic workers in their last applied reports. The views do not show the
/// free resources that were reported.
pub(crate) type ReportedResources = BTreeMap<InstanceId, DynamicResources>;

impl TaskManager {
    /// Returns the task manager of a report, with all that it has offered.
    pub(crate) fn reported(report: &SlotReport) -> Self {
        let mut task_manager = Self {
            resources: report.dynamic().cloned(),
            ..Self::default()
        };
        if task_manager.resources.is_none() {
            let statuses = report.statuses().iter();
            task_manager.slots = statuses.map(|status| status.resource_profile().clone()).collect();
        }
        task_manager.offered = task_manager.most_offered();
        task_manager
    }

    /// Returns the number of slots as which it counts.
    pub(crate) fn num_slots(&self) -> usize {
        match &self.resources {
            Some(resources) => default_slots_in(resources.total(), resources).max(1),
            None => self.slots.len(),
        }
    }

    /// Returns the number of slots that can be assigned while none is used.
    pub(crate) fn most_offered(&self) -> usize {
        match &self.resources {
            Some(resources) => default_slots_in(resources.total(), resources),
            None => self.slots.len(),
        }
    }

    /// Returns the resources that count for limits.
    pub(crate) fn total(&self) -> Resources {
        match &self.resources {
            Some(resources) => {
                let mut total = capacity_rules::total([resources.total()]);
                total.slots = self.num_slots();
                total
            }
            None => capacity_rules::total(&self.slots),
        }
    }

    /// Returns `true` if a slot, or a cut of the whole total, fits a request.
    pub(crate) fn could_serve(&self, required: &ResourceProfile) -> bool {
        let mut all = self
            .slots
            .iter()
            .chain(self.resources.iter().map(DynamicResources::total));
        all.any(|profile| profile.is_matching(required))
    }
}

/// Returns how many default slots of a dynamic worker a profile holds.
fn default_slots_in(profile: &ResourceProfile, resources: &DynamicResources) -> usize {
    let Some(default_slot) = resources.default_slot() else {
        return 0;
    };
    let rests = std::iter::successors(Some(profile.clone()), |rest| rest.checked_sub(default_slot).ok());
    rests.count() - 1
}

/// The promised slots of one worker request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promised {
    pub(crate) slots: Vec<ResourceProfile>,
    /// The number of slots that are not bound to a request.
    pub(crate) unbound: usize,
}

impl SlotInventory {
    pub(crate) fn of(manager: &Manager, reported: &ReportedResources) -> Self {
        let mut inventory = Self::default();
        for view in manager.task_managers() {
            let mut task_manager = TaskManager {
                resource_id: Some(view.resource_id().clone()),
                is_blocked: view.is_blocked(),
                ..TaskManager::default()
            };
            inventory.used += view.slots().filter(|slot| !slot.is_free()).count();
            if let Some(remaining) = view.remaining_resources() {
                let resources = reported[&view.instance_id()].clone();
                let may_be_cut = !view.is_blocked() && view.backoff().is_none();
                task_manager.offered = match may_be_cut {
                    true => default_slots_in(&remaining, &resources),
                    false => 0,
                };
                task_manager.resources = Some(resources);
            } else {
                let slots = || view.slots();
                task_manager.slots = slots().map(|slot| slot.resource_profile().clone()).collect();
                task_manager.offered = slots().filter(|slot| slot.state() == SlotState::Free).count();
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

    /// Returns the sum of registered task managers and promised slots.
    pub(crate) fn total(&self) -> Resources {
        let promised = self.promised.values().flat_map(|it| &it.slots);
        capacity_rules::sum([self.registered_total(), capacity_rules::total(promised)])
    }

    /// Returns the sum of registered task managers.
    pub(crate) fn registered_total(&self) -> Resources {
        capacity_rules::sum(self.task_managers.values().map(TaskManager::total))
    }

    pub(crate) fn has_registered_slot_for(&self, required: &ResourceProfile) -> bool {
        self.task_managers.values().any(|it| it.could_serve(required))
    }

    /// Returns the number of promised slots and of slots on task managers that are not blocked.
    pub(crate) fn usable(&self) -> usize {
        let registered = self.task_managers.values().filter(|it| !it.is_blocked);
        let registered: usize = registered.map(TaskManager::num_slots).sum();
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
