//! How much there may be: room for workers, and registrations beyond the limits.

use slot_manager::{Limit, ResourceId, ResourceProfile, WorkerRequestId};

use super::NaiveSlotManager;
use crate::command::Report;

/// A hundred millionth is the smallest part of a core, and of a unit of an extended resource, that is told apart.
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

impl NaiveSlotManager {
    /// The slots of a worker that is asked for, each with its profile; `None` if it is not known what it brings.
    pub(super) fn worker(&self) -> Option<Vec<ResourceProfile>> {
        let worker = self.config.worker_description.as_ref()?;
        Some(vec![worker.slot_profile().clone(); worker.slots()])
    }

    /// The limit that so many slots would be beyond.
    fn limit_below(&self, slots: &[ResourceProfile]) -> Option<Limit> {
        let config = &self.config;
        let cpu: u128 = slots.iter().map(cpu_units).sum();
        let memory: u128 = slots.iter().map(memory_bytes).sum();
        if config.max_slots.is_some_and(|most| slots.len() > most) {
            Some(Limit::Slots)
        } else if config.max_total_cpu_cores.is_some_and(|most| cpu > units(most)) {
            Some(Limit::CpuCores)
        } else if config.max_total_memory_bytes.is_some_and(|most| memory > most.into()) {
            Some(Limit::Memory)
        } else {
            None
        }
    }

    /// The limit that all slots, registered and promised, would be beyond with these.
    pub(super) fn limit_exceeded_with(&self, more: &[ResourceProfile]) -> Option<Limit> {
        let registered = self.slots().map(|slot| &slot.profile);
        let promised = self.promises.iter().map(|promise| &promise.profile);
        let all: Vec<_> = registered.chain(promised).chain(more).cloned().collect();
        self.limit_below(&all)
    }

    /// Whether there is room for one more worker.
    pub(super) fn has_room(&self) -> bool {
        let worker = self.worker();
        worker.is_none_or(|slots| self.limit_exceeded_with(&slots).is_none())
    }

    /// Whether a worker that is asked for could serve a request, and could be there at all.
    pub(super) fn could_be_served_by_a_worker(&self, required: &ResourceProfile) -> bool {
        let worker = self.worker();
        worker.is_none_or(|slots| slots[0].is_matching(required) && self.limit_below(&slots).is_none())
    }

    /// The limit because of which a worker may not register. One that brings back what is held, or what is waited for,
    /// always may.
    pub(super) fn refusal(
        &self,
        resource_id: &ResourceId,
        worker_request: Option<WorkerRequestId>,
        report: &Report,
    ) -> Option<Limit> {
        let is_registered = self.task_managers.iter().any(|it| it.resource_id == *resource_id);
        let brings_allocation = report.statuses.iter().any(|status| status.holder.is_some());
        let slots: Vec<_> = report.statuses.iter().map(|status| status.shape.profile()).collect();
        let keeps_promise = slots
            .iter()
            .any(|slot| self.fulfilled_by(worker_request, slot).is_some());
        if slots.is_empty() || is_registered || brings_allocation || keeps_promise {
            return None;
        }
        self.limit_exceeded_with(&slots)
    }
}
