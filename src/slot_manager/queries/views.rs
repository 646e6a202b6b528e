//! Read-only views of slots, task managers, pending requests and promised slots.

use std::sync::Arc;

use crate::outcome::AllocationStatus;
use crate::view::{BackoffReason, WorkerBackoff};
use crate::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, ScheduledExecutor, SlotId, SlotManager,
    TaskExecutorGateway, Timestamp, WorkerRequestId,
};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::PromiseKey;
use crate::slot_manager::state::requests::{PendingRequest, RequestKey, RequestPhase};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{self, SlotKey};
use crate::slot_manager::state::task_managers::{TaskManager, TaskManagerKey};

/// Numbers of registered slots by state.
///
/// ```
/// use slot_manager::overview::SlotCounts;
///
/// let counts = SlotCounts::default();
/// assert_eq!(counts.registered, counts.free + counts.blocked + counts.in_flight + counts.allocated);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotCounts {
    /// All slots: the sum of the four numbers below.
    pub registered: usize,
    /// Free slots, including slots that back off, but not on blocked task managers.
    pub free: usize,
    /// Free slots of blocked task managers.
    pub blocked: usize,
    /// Slots with an attempt that their task executor has not answered.
    pub in_flight: usize,
    /// Slots held by an allocation.
    pub allocated: usize,
}

/// Views.
///
/// A query costs O(1), and an iterator O(1) for each item, unless its documentation says otherwise.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns all registered slots: by task manager, oldest registration first, then by number.
    ///
    /// Cost: O(1) for each slot.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotStatus, TaskExecutorConnection,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, gateway) = (InstanceId::from_u128(1), ScriptedGateway::new());
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
    /// # let statuses = vec![SlotStatus::free(SlotId::new("worker-1", 0), profile.clone())];
    /// # let registered = manager.register_task_manager(connection, &SlotReport::new(statuses))?;
    /// # assert_eq!(registered, RegistrationOutcome::Registered);
    /// let free = manager.slots().filter(|slot| slot.is_free());
    /// let free: Vec<_> = free.map(|slot| slot.slot_id()).collect();
    /// assert_eq!(free, [SlotId::new("worker-1", 0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slots(&self) -> impl Iterator<Item = TaskManagerSlot<'_>> {
        self.task_managers().flat_map(|task_manager| task_manager.slots())
    }

    /// Returns a registered slot; `None` if it is unknown.
    ///
    /// Cost: O(log slots of its task manager).
    pub fn slot(&self, slot_id: &SlotId) -> Option<TaskManagerSlot<'_>> {
        let key = self.core.find_slot(slot_id)?;
        Some(TaskManagerSlot { core: &self.core, key })
    }

    /// Returns all registered task managers, oldest registration first.
    ///
    /// Cost: O(1) for each task manager.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotStatus, TaskExecutorConnection,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, gateway) = (InstanceId::from_u128(1), ScriptedGateway::new());
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
    /// # let statuses = vec![SlotStatus::free(SlotId::new("worker-1", 0), profile.clone())];
    /// # let registered = manager.register_task_manager(connection, &SlotReport::new(statuses))?;
    /// # assert_eq!(registered, RegistrationOutcome::Registered);
    /// for task_manager in manager.task_managers() {
    ///     let counts = task_manager.slot_counts();
    ///     let worker = task_manager.resource_id();
    ///     println!("{worker}: {} of {} slots are free", counts.free, counts.registered);
    /// }
    /// assert!(manager.task_managers().all(|task_manager| task_manager.idle_since().is_some()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_managers(&self) -> impl Iterator<Item = TaskManagerRegistration<'_>> {
        let core = &self.core;
        let keys = core.task_managers.registered.iter(&core.task_managers.records);
        keys.map(move |key| TaskManagerRegistration { core, key })
    }

    /// Returns a registration by its instance id; `None` if it is unknown.
    pub fn task_manager(&self, instance_id: InstanceId) -> Option<TaskManagerRegistration<'_>> {
        let key = self.core.task_managers.by_instance(&instance_id)?;
        Some(TaskManagerRegistration { core: &self.core, key })
    }

    /// Returns the registration of a worker; `None` if the worker is not registered.
    pub fn task_manager_of(&self, resource_id: &ResourceId) -> Option<TaskManagerRegistration<'_>> {
        let key = self.core.task_managers.by_resource(resource_id)?;
        Some(TaskManagerRegistration { core: &self.core, key })
    }

    /// Returns all pending requests, oldest first.
    ///
    /// Cost: O(1) for each request.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// # use slot_manager::{
    /// #     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let config = SlotManagerConfig::default();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    /// # let request = SlotRequest::new(job_id, allocation_id, profile, "job-master-7");
    /// # let outcome = manager.register_slot_request(request)?;
    /// # assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// let oldest = manager.pending_slot_requests().next().ok_or("no request is pending")?;
    /// assert_eq!(oldest.allocation_id(), allocation_id);
    /// assert_eq!(oldest.failed_attempts(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pending_slot_requests(&self) -> impl Iterator<Item = PendingSlotRequest<'_>> {
        let core = &self.core;
        (core.requests.oldest_first()).map(move |key| PendingSlotRequest { core, key })
    }

    /// Returns a pending request; `None` if the allocation is granted or unknown.
    pub fn pending_slot_request(&self, allocation_id: AllocationId) -> Option<PendingSlotRequest<'_>> {
        match self.core.find_allocation(allocation_id)? {
            AllocationEntry::Pending(key) => Some(PendingSlotRequest { core: &self.core, key }),
            AllocationEntry::Granted(_) => None,
        }
    }

    /// Returns the status of an allocation; `None` if it is unknown.
    pub fn allocation_status(&self, allocation_id: AllocationId) -> Option<AllocationStatus> {
        let entry = self.core.find_allocation(allocation_id)?;
        Some(self.core.status_of(entry))
    }

    /// Returns all promised slots, and the bound cuts of promised workers, oldest first.
    ///
    /// Cost: O(n log n) for n promised slots.
    pub fn promised_slots(&self) -> impl Iterator<Item = PromisedSlot<'_>> {
        let core = &self.core;
        core.promises.iter().map(move |key| PromisedSlot { core, key })
    }
}

impl Core {
    /// Returns the numbers of registered slots by state.
    pub(crate) fn slot_counts(&self) -> SlotCounts {
        let slots = |used| self.slot_totals.slots(used);
        SlotCounts {
            registered: self.slot_totals.registered().slots + self.slot_totals.cuts(),
            free: slots(SlotUsage::Free) + slots(SlotUsage::BackingOff),
            blocked: slots(SlotUsage::Blocked),
            in_flight: slots(SlotUsage::InFlight),
            allocated: slots(SlotUsage::Allocated),
        }
    }
}

/// The state of a slot.
///
/// ```
/// use slot_manager::AllocationId;
/// use slot_manager::view::SlotState;
///
/// fn holder(state: SlotState) -> Option<AllocationId> {
///     match state {
///         SlotState::Allocated { allocation_id, .. } => Some(allocation_id),
///         _ => None,
///     }
/// }
/// assert_eq!(holder(SlotState::Free), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SlotState {
    /// The slot is offered to requests.
    Free,
    /// The slot is free, but not offered: the slot or its worker backs off after failed attempts.
    ///
    /// The slots of a worker are offered again once it acknowledges an attempt. After its backoff
    /// one attempt at a time probes it.
    BackingOff {
        /// The end of the backoff. It is past while the worker awaits a probe.
        until: Timestamp,
    },
    /// The slot is free, but its task manager is blocked.
    Blocked,
    /// The task executor has not answered an attempt to give the slot to an allocation.
    InFlight {
        /// The allocation.
        allocation_id: AllocationId,
        /// The job of the allocation.
        job_id: JobId,
    },
    /// An allocation holds the slot.
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

    /// Returns the id of the slot.
    pub fn slot_id(&self) -> SlotId {
        self.core.slot_id(self.key)
    }

    /// Returns the resources of the slot.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.record().profile]
    }

    /// Returns the registration of the slot's task manager.
    pub fn task_manager(&self) -> TaskManagerRegistration<'a> {
        TaskManagerRegistration {
            core: self.core,
            key: self.record().task_manager,
        }
    }

    /// Returns the state of the slot.
    pub fn state(&self) -> SlotState {
        match self.record().phase {
            slots::SlotPhase::Detached | slots::SlotPhase::Offered { .. } => SlotState::Free,
            slots::SlotPhase::BackingOff { until, .. } => SlotState::BackingOff { until },
            slots::SlotPhase::WorkerBackoff => {
                let backoff = self.core.failing_workers.backoff(self.record().task_manager);
                let until = backoff.map_or(self.core.now, |backoff| backoff.until);
                SlotState::BackingOff { until }
            }
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

    /// Returns the allocation that holds the slot.
    pub fn allocation_id(&self) -> Option<AllocationId> {
        self.record().allocation().map(|allocation| allocation.id)
    }

    /// Returns `true` if the slot is neither in flight nor allocated.
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

/// A pending request: not granted, and not ended.
#[derive(Clone, Copy)]
pub struct PendingSlotRequest<'a> {
    pub(super) core: &'a Core,
    pub(super) key: RequestKey,
}

impl<'a> PendingSlotRequest<'a> {
    fn record(&self) -> &'a PendingRequest {
        &self.core.requests.records[self.key]
    }

    /// Returns the allocation id, which identifies the request.
    pub fn allocation_id(&self) -> AllocationId {
        self.record().allocation_id
    }

    /// Returns the job that made the request.
    pub fn job_id(&self) -> JobId {
        self.record().job_id
    }

    /// Returns the least resources that a slot must have.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.record().profile]
    }

    /// Returns the address to which the task executor offers the slot.
    pub fn target_address(&self) -> &'a Arc<str> {
        &self.core.requests.addresses[self.record().target_address].0
    }

    /// Returns `true` if the manager made the request for the declared requirements of its job.
    pub fn is_declared(&self) -> bool {
        self.record().is_declared
    }

    /// Returns the time at which the request fails; [`Timestamp::MAX`] means never.
    pub fn deadline(&self) -> Timestamp {
        self.record().deadline
    }

    /// Returns the number of failed attempts.
    pub fn failed_attempts(&self) -> u32 {
        self.record().failed_attempts()
    }

    /// Returns the slot of the attempt in flight.
    pub fn in_flight_to(&self) -> Option<SlotId> {
        match self.record().phase {
            RequestPhase::InFlight(slot) => Some(self.core.slot_id(slot)),
            _ => None,
        }
    }

    /// Returns the end of the backoff after failed attempts; `None` if the request does not back
    /// off.
    pub fn backs_off_until(&self) -> Option<Timestamp> {
        match self.record().phase {
            RequestPhase::BackingOff { .. } => Some(self.record().timer),
            _ => None,
        }
    }

    /// Returns the worker request of the promised slot to which the request is bound.
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
            .field("is_declared", &self.is_declared())
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
    pub(super) core: &'a Core,
    pub(super) key: TaskManagerKey,
}

impl<'a> TaskManagerRegistration<'a> {
    fn record(&self) -> &'a TaskManager {
        &self.core.task_managers.records[self.key]
    }

    /// Returns the id of the registration.
    pub fn instance_id(&self) -> InstanceId {
        self.record().instance_id
    }

    /// Returns the id of the worker process.
    pub fn resource_id(&self) -> &'a ResourceId {
        &self.record().resource_id
    }

    /// Returns the worker request of this leadership that the worker named in its registration.
    pub fn worker_request(&self) -> Option<WorkerRequestId> {
        let number = self.record().worker_request?.number;
        Some(self.core.worker_request_id(number))
    }

    /// Returns the slots of the task manager, by number.
    pub fn slots(&self) -> impl Iterator<Item = TaskManagerSlot<'a>> + use<'a> {
        let core = self.core;
        self.record()
            .slots
            .iter()
            .map(move |(_, key)| TaskManagerSlot { core, key: *key })
    }

    /// Returns the numbers of the task manager's slots by state.
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

    /// Returns the total resources of a dynamic worker, from which slots are cut; `None` for a worker
    /// with slots of its own.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{
    /// #     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotRequest, TaskExecutorConnection,
    /// # };
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let cores = |cores| ResourceProfile::builder().cpu_cores(cores).build();
    /// let instance_id = InstanceId::from_u128(1);
    /// let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// let report = SlotReport::of_dynamic(cores(8.0)?, vec![]);
    /// # let registered =
    /// manager.register_task_manager(connection, &report)?;
    /// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), cores(3.0)?, "job-master-7");
    /// # let granted =
    /// manager.register_slot_request(request)?;
    ///
    /// let worker = manager.task_manager(instance_id).ok_or("the worker is not registered")?;
    /// assert_eq!(worker.total_resources(), Some(&cores(8.0)?));
    /// assert_eq!(worker.remaining_resources(), Some(cores(5.0)?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn total_resources(&self) -> Option<&'a ResourceProfile> {
        let worker = self.core.dynamic_workers.get(self.key)?;
        Some(&self.core.profiles[worker.shape.total])
    }

    /// Returns the slot that is cut from a dynamic worker for a request for
    /// [`ResourceProfile::UNKNOWN`]; `None` if it names none, or has slots of its own.
    pub fn default_slot(&self) -> Option<&'a ResourceProfile> {
        let default_slot = self.core.dynamic_workers.get(self.key)?.shape.default_slot?;
        Some(&self.core.profiles[default_slot])
    }

    /// Returns what remains of a dynamic worker: its total without its slots, and without what the
    /// task executor says it has not left; `None` for a worker with slots of its own.
    ///
    /// Cost: O(extended resources).
    pub fn remaining_resources(&self) -> Option<ResourceProfile> {
        let worker = self.core.dynamic_workers.get(self.key)?;
        Some(worker.remainder().to_profile())
    }

    /// Returns the usage and the profile of each slot.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (SlotUsage, &'a ResourceProfile)> {
        let core = self.core;
        let slots = self.record().slots.iter().map(move |(_, slot)| &core.slots[*slot]);
        slots.map(|slot| (SlotUsage::of(&slot.phase), &core.profiles[slot.profile]))
    }

    /// Returns `true` if the worker is blocked.
    pub fn is_blocked(&self) -> bool {
        self.core.is_blocked(self.key)
    }

    /// Returns the backoff of the worker after failed attempts; `None` while its slots are offered.
    pub fn backoff(&self) -> Option<WorkerBackoff> {
        let failing = self.core.failing_workers.get(self.key)?;
        let reason = match failing.is_unreachable() {
            true => BackoffReason::Unreachable,
            false => BackoffReason::Refusals,
        };
        let until = failing.backoff()?.until;
        Some(WorkerBackoff { until, reason })
    }

    /// Returns the time since which no slot is in flight or allocated; `None` while one is.
    pub fn idle_since(&self) -> Option<Timestamp> {
        self.record().idle_since
    }

    /// Returns the highest revision of all reports and acknowledgements; `None` if none had a
    /// revision.
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

/// A promised slot: the resource manager has promised a worker with this slot, or a worker from which
/// it will be cut.
#[derive(Clone, Copy)]
pub struct PromisedSlot<'a> {
    core: &'a Core,
    key: PromiseKey,
}

impl<'a> PromisedSlot<'a> {
    /// Returns the worker request that the promise answers.
    pub fn worker_request(&self) -> WorkerRequestId {
        let promise = &self.core.promises.records[self.key];
        let worker_request = &self.core.promises.worker_requests[promise.worker_request];
        self.core.worker_request_id(worker_request.number)
    }

    /// Returns the promised resources of the slot.
    pub fn resource_profile(&self) -> &'a ResourceProfile {
        &self.core.profiles[self.core.promises.records[self.key].profile]
    }

    /// Returns the waiting request that is bound to the slot.
    pub fn bound_to(&self) -> Option<AllocationId> {
        let request = self.core.promises.records[self.key].bound_to?;
        Some(self.core.requests.records[request].allocation_id)
    }

    /// Returns the time at which the promise expires; [`Timestamp::MAX`] means never.
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
