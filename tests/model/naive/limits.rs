//! Limits: whether one more worker may be requested, and which registrations are refused.

use std::iter::Sum;

use slot_manager::config::Limit;
use slot_manager::{DynamicResources, ResourceId, ResourceProfile, SlotReport, WorkerRequestId};

use super::dynamic_workers::Resources;
use super::promised_workers::Promised;
use super::{NaiveSlotManager, TaskManager};

/// Converts an amount to its smallest units: a hundred millionth of a core or of an extended
/// resource.
fn units(amount: f64) -> u128 {
    (amount * 100_000_000.0).round() as u128
}

pub(super) fn cpu_units(profile: &ResourceProfile) -> u128 {
    units(profile.cpu_cores().unwrap_or(0.0))
}

pub(super) fn memory_bytes(profile: &ResourceProfile) -> u128 {
    profile.total_memory_bytes().unwrap_or(0).into()
}

pub(super) fn extended_units(profile: &ResourceProfile, name: &str) -> u128 {
    units(profile.extended_resource(name).unwrap_or(0.0))
}

/// A number of slots, with their cores and memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quantity {
    slots: usize,
    cpu: u128,
    memory: u128,
}

impl Quantity {
    fn new(slots: usize, profiles: &[&ResourceProfile]) -> Self {
        Self {
            slots,
            cpu: profiles.iter().map(|it| cpu_units(it)).sum(),
            memory: profiles.iter().map(|it| memory_bytes(it)).sum(),
        }
    }

    /// Returns the quantity of some slots.
    pub(super) fn of_slots(slots: &[ResourceProfile]) -> Self {
        Self::new(slots.len(), &slots.iter().collect::<Vec<_>>())
    }

    /// Returns the quantity of a dynamic worker.
    pub(super) fn of_worker(resources: &Resources) -> Self {
        Self::new(resources.counted_slots(), &[&resources.total])
    }

    /// Returns the quantity of a worker. A dynamic worker counts by its total.
    pub(super) fn of(task_manager: &TaskManager) -> Self {
        Self::new(task_manager.counted_slots(), &task_manager.counted_profiles())
    }
}

impl Promised {
    pub(super) fn quantity(&self) -> Quantity {
        match self {
            Self::Slots(slots) => Quantity::of_slots(slots),
            Self::Worker(resources) => Quantity::of_worker(resources),
        }
    }

    /// Returns `true` if no slot is promised.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Slots(slots) if slots.is_empty())
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            slots: sum.slots + it.slots,
            cpu: sum.cpu + it.cpu,
            memory: sum.memory + it.memory,
        })
    }
}

impl NaiveSlotManager {
    /// Returns the promise of a worker as described in the configuration.
    pub(super) fn worker(&self) -> Option<Promised> {
        let worker = &self.config.workers.as_ref()?.description;
        if worker.is_dynamic() {
            let resources = DynamicResources::new(worker.total().clone());
            let resources = resources.with_default_slot(worker.slot_profile().clone());
            return Some(Promised::Worker(Box::new(Resources::reported(0, &resources, &[]))));
        }
        Some(Promised::Slots(vec![worker.slot_profile().clone(); worker.slots()]))
    }

    /// Returns the number of slots that are kept up.
    pub(super) fn min_slots(&self) -> usize {
        self.config.workers.as_ref().map_or(0, |workers| workers.min_slots)
    }

    /// Returns the limit that a quantity exceeds.
    pub(super) fn limit_exceeded_by(&self, quantity: &Quantity) -> Option<Limit> {
        let workers = self.config.workers.as_ref()?;
        let Quantity { slots, cpu, memory } = *quantity;
        if workers.max_slots.is_some_and(|most| slots > most) {
            Some(Limit::Slots)
        } else if workers.max_total_cpu_cores.is_some_and(|most| cpu > units(most)) {
            Some(Limit::CpuCores)
        } else if workers.max_total_memory_bytes.is_some_and(|most| memory > most.into()) {
            Some(Limit::Memory)
        } else {
            None
        }
    }

    /// Returns the limit that the registered and promised slots exceed together with `more`.
    pub(super) fn limit_exceeded_with(&self, more: Quantity) -> Option<Limit> {
        let all = [self.registered(), self.promised(), more];
        self.limit_exceeded_by(&all.into_iter().sum())
    }

    fn registered(&self) -> Quantity {
        self.task_managers.iter().map(Quantity::of).sum()
    }

    pub(super) fn promised(&self) -> Quantity {
        let profiles: Vec<_> = self.promises.iter().map(|promise| promise.profile.clone()).collect();
        let workers = self
            .promised_workers
            .iter()
            .map(|it| Quantity::of_worker(&it.resources));
        workers.chain([Quantity::of_slots(&profiles)]).sum()
    }

    /// Returns `true` if one more worker is within the limits.
    pub(super) fn has_room(&self) -> bool {
        let worker = self.worker();
        worker.is_none_or(|worker| self.limit_exceeded_with(worker.quantity()).is_none())
    }

    /// Returns `true` if a requested worker could serve a request, and a single worker is within
    /// the limits.
    pub(super) fn could_be_served_by_a_worker(&self, required: &ResourceProfile) -> bool {
        let worker = self.worker();
        worker.is_none_or(|worker| {
            let fits = match &worker {
                Promised::Slots(slots) => slots[0].is_matching(required),
                Promised::Worker(resources) => resources.could_serve(required),
            };
            fits && self.limit_exceeded_by(&worker.quantity()).is_none()
        })
    }

    /// Returns the limit because of which a registration is refused.
    ///
    /// A worker that holds an allocation or fulfils a promise is always admitted. If only promised
    /// slots are in the way, so is a worker that serves a request that waits or backs off.
    pub(super) fn refusal(
        &self,
        resource_id: &ResourceId,
        worker_request: Option<WorkerRequestId>,
        report: &SlotReport,
    ) -> Option<Limit> {
        let is_registered = self.task_managers.iter().any(|it| it.resource_id == *resource_id);
        let brings_allocation = report.statuses().iter().any(|status| status.allocation().is_some());
        let slots = report.statuses().iter().map(|status| status.resource_profile().clone());
        let slots: Vec<_> = slots.collect();
        let resources = report.dynamic().map(|reported| Resources::reported(0, reported, &[]));
        let fulfils_promise = match (worker_request.and_then(|it| self.stands_for(it)), &resources) {
            (Some(_), _) => true,
            (None, None) => slots.iter().any(|slot| self.fulfilled_by(slot).is_some()),
            (None, Some(resources)) => self.would_keep_a_promise(&resources.total),
        };
        let has_nothing = slots.is_empty() && resources.is_none();
        if has_nothing || is_registered || brings_allocation || fulfils_promise {
            return None;
        }
        let newcomer = match &resources {
            None => Quantity::of_slots(&slots),
            Some(resources) => Quantity::of_worker(resources),
        };
        let limit = self.limit_exceeded_by(&[self.registered(), self.promised(), newcomer].into_iter().sum())?;
        let mut waiting = self.requests.iter().filter(|it| it.is_waiting() || it.backs_off());
        let is_of_use = waiting.any(|request| match &resources {
            None => slots.iter().any(|slot| slot.is_matching(&request.profile)),
            Some(resources) => resources.serves(&request.profile),
        });
        // A promise does not turn away a worker that is there.
        match self.limit_exceeded_by(&[self.registered(), newcomer].into_iter().sum()) {
            None if is_of_use && !self.is_blocked(resource_id) => None,
            _ => Some(limit),
        }
    }
}
