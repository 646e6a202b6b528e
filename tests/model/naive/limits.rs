//! Limits: whether one more worker may be requested, and which registrations are refused.

use slot_manager::config::Limit;
use slot_manager::{ResourceId, ResourceProfile, WorkerRequestId};

use super::NaiveSlotManager;
use crate::command::Report;

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

impl NaiveSlotManager {
    /// Returns the slot profiles of a worker as described in the configuration.
    pub(super) fn worker(&self) -> Option<Vec<ResourceProfile>> {
        let worker = &self.config.workers.as_ref()?.description;
        Some(vec![worker.slot_profile().clone(); worker.slots()])
    }

    /// Returns the number of slots that are kept up.
    pub(super) fn min_slots(&self) -> usize {
        self.config.workers.as_ref().map_or(0, |workers| workers.min_slots)
    }

    /// Returns the limit that these slots exceed.
    pub(super) fn limit_exceeded_by(&self, slots: &[ResourceProfile]) -> Option<Limit> {
        let workers = self.config.workers.as_ref()?;
        let cpu: u128 = slots.iter().map(cpu_units).sum();
        let memory: u128 = slots.iter().map(memory_bytes).sum();
        if workers.max_slots.is_some_and(|most| slots.len() > most) {
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
    pub(super) fn limit_exceeded_with(&self, more: &[ResourceProfile]) -> Option<Limit> {
        let registered = self.slots().map(|slot| &slot.profile);
        let promised = self.promises.iter().map(|promise| &promise.profile);
        let all: Vec<_> = registered.chain(promised).chain(more).cloned().collect();
        self.limit_exceeded_by(&all)
    }

    /// Returns `true` if one more worker is within the limits.
    pub(super) fn has_room(&self) -> bool {
        let worker = self.worker();
        worker.is_none_or(|slots| self.limit_exceeded_with(&slots).is_none())
    }

    /// Returns `true` if a requested worker could serve a request, and a single worker is within
    /// the limits.
    pub(super) fn could_be_served_by_a_worker(&self, required: &ResourceProfile) -> bool {
        let worker = self.worker();
        worker.is_none_or(|slots| slots[0].is_matching(required) && self.limit_exceeded_by(&slots).is_none())
    }

    /// Returns the limit because of which a registration is refused.
    ///
    /// A worker that holds an allocation or fulfils a promise is always admitted. If only promised
    /// slots are in the way, so is a worker that serves a request that waits or backs off.
    pub(super) fn refusal(
        &self,
        resource_id: &ResourceId,
        worker_request: Option<WorkerRequestId>,
        report: &Report,
    ) -> Option<Limit> {
        let is_registered = self.task_managers.iter().any(|it| it.resource_id == *resource_id);
        let brings_allocation = report.statuses.iter().any(|status| status.holder.is_some());
        let slots: Vec<_> = report.statuses.iter().map(|status| status.shape.profile()).collect();
        let fulfils_promise = match worker_request.and_then(|it| self.stands_for(it)) {
            Some(_) => true,
            None => slots.iter().any(|slot| self.fulfilled_by(slot).is_some()),
        };
        if slots.is_empty() || is_registered || brings_allocation || fulfils_promise {
            return None;
        }
        let limit = self.limit_exceeded_with(&slots)?;
        let registered = self.slots().map(|slot| &slot.profile);
        let without_promises: Vec<_> = registered.chain(&slots).cloned().collect();
        let mut waiting = self.requests.iter().filter(|it| it.is_waiting() || it.backs_off());
        let is_of_use = waiting.any(|request| slots.iter().any(|slot| slot.is_matching(&request.profile)));
        // A promise does not turn away a worker that is there.
        match self.limit_exceeded_by(&without_promises) {
            None if is_of_use && !self.is_blocked(resource_id) => None,
            _ => Some(limit),
        }
    }
}
