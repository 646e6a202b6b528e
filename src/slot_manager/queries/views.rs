//! Queries: read-only views of the state.

use std::sync::Arc;

use crate::{
    AllocationId, AllocationStatus, InstanceId, JobId, ResourceId, ResourceProfile, ScheduledExecutor, SlotId,
    SlotManager, TaskExecutorGateway, Timestamp, WorkerRequestId,
};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::PromiseKey;
use crate::slot_manager::state::requests::{PendingRequest, RequestKey, RequestPhase};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{self, SlotKey};
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

/// How many slots are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotCounts {
    /// All slots: the sum of the four below.
    pub registered: usize,
    /// Free slots, also those that pause after failed attempts; without those of blocked task managers.
    pub free: usize,
    /// Free slots of blocked task managers.
    pub blocked: usize,
    /// Slots a task executor has been asked for and has not answered.
    pub in_flight: usize,
    /// Slots held by an allocation.
    pub allocated: usize,
}

/// How many promised slots there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromisedSlotCounts {
    /// Those that cover a waiting request.
    pub bound: usize,
    /// Those that cover nothing.
    pub unbound: usize,
}

/// Queries. They cost O(1), and O(1) for each item of an iterator, unless they say otherwise.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// How many slots are in which state.
    pub fn slot_counts(&self) -> SlotCounts {
        self.core.slot_counts()
    }

    /// How many promised slots cover a request, and how many do not.
    pub fn promised_slot_counts(&self) -> PromisedSlotCounts {
        let unbound = self.core.promises.num_unbound();
        PromisedSlotCounts {
            bound: self.core.promises.len() - unbound,
            unbound,
        }
    }

    /// How many task managers are registered.
    pub fn num_task_managers(&self) -> usize {
        self.core.task_managers.records.len()
    }

    /// How many requests are not granted: waiting, pausing or in flight.
    pub fn num_pending_slot_requests(&self) -> usize {
        self.core.requests.records.len()
    }

    /// All slots: by task manager in the order of registration, and there by number.
    pub fn slots(&self) -> impl Iterator<Item = TaskManagerSlot<'_>> {
        self.task_managers().flat_map(|task_manager| task_manager.slots())
    }

    /// A slot. O(log slots of its task manager).
    pub fn slot(&self, slot_id: &SlotId) -> Option<TaskManagerSlot<'_>> {
        let key = self.core.find_slot(slot_id)?;
        Some(TaskManagerSlot { core: &self.core, key })
    }

    /// All registrations, oldest first.
    pub fn task_managers(&self) -> impl Iterator<Item = TaskManagerRegistration<'_>> {
        let core = &self.core;
        let keys = core.task_managers.registered.iter(&core.task_managers.records);
        keys.map(move |key| TaskManagerRegistration { core, key })
    }

    /// A registration.
    pub fn task_manager(&self, instance_id: InstanceId) -> Option<TaskManagerRegistration<'_>> {
        let key = self.core.task_managers.by_instance(&instance_id)?;
        Some(TaskManagerRegistration { core: &self.core, key })
    }

    /// The registration of a worker.
    pub fn task_manager_of(&self, resource_id: &ResourceId) -> Option<TaskManagerRegistration<'_>> {
        let key = self.core.task_managers.by_resource(resource_id)?;
        Some(TaskManagerRegistration { core: &self.core, key })
    }

    /// All requests that are not granted, oldest first.
    pub fn pending_slot_requests(&self) -> impl Iterator<Item = PendingSlotRequest<'_>> {
        let core = &self.core;
        let keys = core.requests.deadlines.iter(&core.requests.records);
        keys.map(move |key| PendingSlotRequest { core, key })
    }

    /// A request that is not granted.
    pub fn pending_slot_request(&self, allocation_id: AllocationId) -> Option<PendingSlotRequest<'_>> {
        match self.core.find_allocation(allocation_id)? {
            AllocationEntry::Pending(key) => Some(PendingSlotRequest { core: &self.core, key }),
            AllocationEntry::Granted(_) => None,
        }
    }

    /// What an allocation is doing; `None` if it is not known.
    pub fn allocation_status(&self, allocation_id: AllocationId) -> Option<AllocationStatus> {
        let holder = self.core.find_allocation(allocation_id)?;
        Some(self.core.status_of(holder))
    }

    /// All promised slots, oldest first. O(n log n).
    pub fn promised_slots(&self) -> impl Iterator<Item = PromisedSlot<'_>> {
        let core = &self.core;
        core.promises.iter().map(move |key| PromisedSlot { core, key })
    }
}

impl Core {
    /// How many slots are in which state.
    pub(crate) fn slot_counts(&self) -> SlotCounts {
        let slots = |used| self.slot_totals.slots(used);
        SlotCounts {
            registered: self.slot_totals.registered().slots,
            free: slots(SlotUsage::Free) + slots(SlotUsage::BackingOff),
            blocked: slots(SlotUsage::Blocked),
            in_flight: slots(SlotUsage::InFlight),
            allocated: slots(SlotUsage::Allocated),
        }
    }
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotState {
    /// Nothing uses it, and it can be handed out.
    Free,
    /// Nothing uses it, but it backoffs because attempts on it failed.
    BackingOff {
        /// When it can be handed out again.
        until: Timestamp,
    },
    /// Nothing uses it, but its task manager is blocked.
    Blocked,
    /// Its task executor has been asked to give it to an allocation and has not answered.
    InFlight {
        /// The allocation.
        allocation_id: AllocationId,
        /// The job of the allocation.
        job_id: JobId,
    },
    /// An allocation holds it.
    Allocated {
        /// The allocation.
        allocation_id: AllocationId,
        /// The job of the allocation.
        job_id: JobId,
    },
}

/// A slot of a registered task manager.
#[derive(Clone, Copy)]
pub struct TaskManagerSlot<'a> {
    core: &'a Core,
    key: SlotKey,
}

impl<'a> TaskManagerSlot<'a> {
    fn record(&self) -> &'a slots::Slot {
        &self.core.slots[self.key]
    }

    /// The slot's id.
    pub fn slot_id(&self) -> SlotId {
        self.core.slot_id(self.key)
    }

    /// What the slot has.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.record().profile]
    }

    /// The registration it belongs to.
    pub fn task_manager(&self) -> TaskManagerRegistration<'a> {
        TaskManagerRegistration {
            core: self.core,
            key: self.record().task_manager,
        }
    }

    /// What the slot is doing.
    pub fn state(&self) -> SlotState {
        match self.record().phase {
            slots::SlotPhase::Detached | slots::SlotPhase::Offered { .. } => SlotState::Free,
            slots::SlotPhase::BackingOff { until, .. } => SlotState::BackingOff { until },
            slots::SlotPhase::Blocked => SlotState::Blocked,
            slots::SlotPhase::InFlight(attempt) => {
                let request = &self.core.requests.records[attempt.request];
                SlotState::InFlight {
                    allocation_id: request.allocation_id,
                    job_id: request.job_id,
                }
            }
            slots::SlotPhase::Allocated { allocation, .. } => SlotState::Allocated {
                allocation_id: allocation.id,
                job_id: allocation.job,
            },
        }
    }

    /// The allocation that holds it.
    pub fn allocation_id(&self) -> Option<AllocationId> {
        self.record().allocation().map(|allocation| allocation.id)
    }

    /// Whether nothing uses it.
    pub fn is_free(&self) -> bool {
        matches!(
            self.state(),
            SlotState::Free | SlotState::BackingOff { .. } | SlotState::Blocked
        )
    }
}

impl std::fmt::Debug for TaskManagerSlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskManagerSlot")
            .field("slot_id", &self.slot_id())
            .field("resource_profile", self.resource_profile())
            .field("state", &self.state())
            .finish()
    }
}

/// A request that is not granted.
#[derive(Clone, Copy)]
pub struct PendingSlotRequest<'a> {
    core: &'a Core,
    key: RequestKey,
}

impl<'a> PendingSlotRequest<'a> {
    fn record(&self) -> &'a PendingRequest {
        &self.core.requests.records[self.key]
    }

    /// Its key.
    pub fn allocation_id(&self) -> AllocationId {
        self.record().allocation_id
    }

    /// The job that worker_asks.
    pub fn job_id(&self) -> JobId {
        self.record().job_id
    }

    /// The least a slot must have.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.record().profile]
    }

    /// Where the task executor shall offer the slot.
    pub fn target_address(&self) -> &'a Arc<str> {
        &self.core.requests.addresses[self.record().target_address].0
    }

    /// When it fails; [`Timestamp::MAX`] is never.
    pub fn deadline(&self) -> Timestamp {
        self.record().deadline
    }

    /// How many attempts failed.
    pub fn failed_attempts(&self) -> u32 {
        self.record().failed_attempts
    }

    /// The slot a task executor has been asked for.
    pub fn in_flight_to(&self) -> Option<SlotId> {
        match self.record().phase {
            RequestPhase::InFlight(slot) => Some(self.core.slot_id(slot)),
            _ => None,
        }
    }

    /// When it tries again, if it backoffs after failed attempts.
    pub fn backs_off_until(&self) -> Option<Timestamp> {
        match self.record().phase {
            RequestPhase::BackingOff { .. } => Some(self.record().timer),
            _ => None,
        }
    }

    /// The worker request of the promised slot that covers it.
    pub fn bound_to(&self) -> Option<WorkerRequestId> {
        match self.record().phase {
            RequestPhase::Bound(key) => Some(PromisedSlot { core: self.core, key }.worker_request()),
            _ => None,
        }
    }
}

impl std::fmt::Debug for PendingSlotRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingSlotRequest")
            .field("allocation_id", &self.allocation_id())
            .field("job_id", &self.job_id())
            .field("resource_profile", self.resource_profile())
            .field("deadline", &self.deadline())
            .field("in_flight_to", &self.in_flight_to())
            .field("backs_off_until", &self.backs_off_until())
            .field("bound_to", &self.bound_to())
            .finish()
    }
}

/// A registration of a task manager.
#[derive(Clone, Copy)]
pub struct TaskManagerRegistration<'a> {
    core: &'a Core,
    key: TaskManagerKey,
}

impl<'a> TaskManagerRegistration<'a> {
    fn record(&self) -> &'a TaskManager {
        &self.core.task_managers.records[self.key]
    }

    /// The registration's id.
    pub fn instance_id(&self) -> InstanceId {
        self.record().instance_id
    }

    /// The worker process.
    pub fn resource_id(&self) -> &'a ResourceId {
        &self.record().resource_id
    }

    /// The worker request it came for.
    pub fn worker_request(&self) -> Option<WorkerRequestId> {
        self.record().worker_request
    }

    /// Its slots, by number.
    pub fn slots(&self) -> impl Iterator<Item = TaskManagerSlot<'a>> + use<'a> {
        let core = self.core;
        self.record()
            .slots
            .iter()
            .map(move |(_, key)| TaskManagerSlot { core, key: *key })
    }

    /// How many of its slots are in which state.
    pub fn slot_counts(&self) -> SlotCounts {
        let record = self.record();
        let unused = record.slots.len() - record.used();
        let (free, blocked) = match self.is_blocked() {
            true => (0, unused),
            false => (unused, 0),
        };
        SlotCounts {
            registered: record.slots.len(),
            free,
            blocked,
            in_flight: record.in_flight as usize,
            allocated: record.allocated as usize,
        }
    }

    /// What each of its slots is doing, with its profile.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (SlotUsage, &'a ResourceProfile)> {
        let core = self.core;
        let slots = self.record().slots.iter().map(move |(_, slot)| &core.slots[*slot]);
        slots.map(|slot| (SlotUsage::of(&slot.phase), &core.profiles[slot.profile]))
    }

    /// Whether it is blocked.
    pub fn is_blocked(&self) -> bool {
        self.core.is_blocked(self.key)
    }

    /// Since when none of its slots is used; `None` while one is.
    pub fn idle_since(&self) -> Option<Timestamp> {
        self.record().idle_since
    }

    /// The highest revision seen, in a report or an acknowledgement.
    pub fn revision(&self) -> Option<u64> {
        self.record().highest_revision()
    }
}

impl std::fmt::Debug for TaskManagerRegistration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskManagerRegistration")
            .field("instance_id", &self.instance_id())
            .field("resource_id", self.resource_id())
            .field("slots", &self.slot_counts())
            .field("idle_since", &self.idle_since())
            .finish()
    }
}

/// A slot that a worker which was asked for will bring.
#[derive(Clone, Copy)]
pub struct PromisedSlot<'a> {
    core: &'a Core,
    key: PromiseKey,
}

impl<'a> PromisedSlot<'a> {
    /// The request for that worker.
    pub fn worker_request(&self) -> WorkerRequestId {
        let promise = &self.core.promises.records[self.key];
        self.core.promises.worker_requests[promise.worker_request].id
    }

    /// What the slot will have.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.core.promises.records[self.key].profile]
    }

    /// The waiting request it covers.
    pub fn bound_to(&self) -> Option<AllocationId> {
        let request = self.core.promises.records[self.key].bound_to?;
        Some(self.core.requests.records[request].allocation_id)
    }

    /// When it is not waited for any more; [`Timestamp::MAX`] is never.
    pub fn expires_at(&self) -> Timestamp {
        let promise = &self.core.promises.records[self.key];
        self.core.promises.worker_requests[promise.worker_request].expires_at
    }
}

impl std::fmt::Debug for PromisedSlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromisedSlot")
            .field("worker_request", &self.worker_request())
            .field("resource_profile", self.resource_profile())
            .field("bound_to", &self.bound_to())
            .finish()
    }
}
