//! To the task executors: the trait, the messages, and the connection of one registration.

use std::future::Future;
use std::sync::Arc;

use crate::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotAllocationError, SlotId,
    WorkerRequestId,
};

/// The manager's side of the connection to one task executor.
///
/// One gateway value belongs to one registration and is dropped with it. It is called with the manager's state
/// consistent and cannot call back into it. There is no `Send` bound: a manager is `Send` exactly when its gateways,
/// their futures and its other parameters are.
///
/// `Box<G>` of a gateway is a gateway, so with `Box<dyn TaskExecutorGateway<RequestSlotFuture = ...>>` one manager
/// speaks to task executors of several kinds.
pub trait TaskExecutorGateway {
    /// The answer to [`request_slot`](Self::request_slot). Dropped without being finished when the attempt is given up.
    type RequestSlotFuture: Future<Output = Result<Acknowledge, SlotAllocationError>>;

    /// Asks the task executor to give a slot to an allocation.
    ///
    /// The future is polled once before the call that caused it returns, so the request can be on its way by then;
    /// afterwards it is polled when it wakes, while the manager is driven. It need not enforce a timeout: the manager
    /// does ([`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout)). The request is lent: a gateway that writes it to a
    /// connection copies nothing, one that sends it to another task clones it.
    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture;

    /// Tells the task executor that an allocation shall not hold a slot. Fire and forget; the default says nothing,
    /// then the task executor's own timeout for slots nobody uses is what frees them.
    ///
    /// The task executor must free only what the allocation holds under [`FreeSlot::attempt`] or an older one and
    /// nobody uses, and must refuse a later [`request_slot`](Self::request_slot) for the slot whose attempt is not
    /// newer. Attempts are compared within one [`leader_id`](FreeSlot::leader_id): what was granted or freed under
    /// another leader is older than any attempt of this one.
    fn free_slot(&mut self, request: FreeSlot) {
        let _ = request;
    }

    /// Asks the task executor whether it can be stopped, because none of its slots was used for the idle timeout: it may
    /// keep results that somebody still reads (FLINK-10941). The default says yes.
    ///
    /// If the answer is not at hand, say [`Later`](ReleaseDecision::Later), and give it to
    /// [`answer_release`](crate::SlotManager::answer_release) within
    /// [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout); else it counts as no.
    fn can_be_released(&mut self, question: &ReleaseCheck) -> ReleaseDecision {
        let _ = question;
        ReleaseDecision::Release
    }
}

impl<G: TaskExecutorGateway + ?Sized> TaskExecutorGateway for Box<G> {
    type RequestSlotFuture = G::RequestSlotFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
        (**self).request_slot(request)
    }

    fn free_slot(&mut self, request: FreeSlot) {
        (**self).free_slot(request);
    }

    fn can_be_released(&mut self, question: &ReleaseCheck) -> ReleaseDecision {
        (**self).can_be_released(question)
    }
}

/// Asks a task executor to give a slot to an allocation and to offer it to the job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AllocateSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job that asks.
    pub job_id: JobId,
    /// The allocation that shall hold the slot.
    pub allocation_id: AllocationId,
    /// What the job asked for; the slot has at least this.
    pub resource_profile: ResourceProfile,
    /// Where the slot shall be offered.
    pub target_address: Arc<str>,
    /// The leadership in which the request was made. A task executor refuses every other one.
    pub leader_id: LeaderId,
    /// The registration the request is meant for. A task executor refuses what is meant for an older one.
    pub instance_id: InstanceId,
    /// Counts the attempts of one manager: within a leadership a later attempt has a larger number.
    pub attempt: u64,
}

/// Tells a task executor that an allocation shall not hold a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the allocation.
    pub job_id: JobId,
    /// The allocation that is not wanted there.
    pub allocation_id: AllocationId,
    /// The leadership in which it was said.
    pub leader_id: LeaderId,
    /// The registration it is meant for.
    pub instance_id: InstanceId,
    /// The attempt that was given up; for a second slot of an allocation the last attempt made by then, 0 if there was
    /// none. What the allocation holds under a newer one stays.
    pub attempt: u64,
}

/// Asks a task executor whether it can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseCheck {
    /// The registration that is to end.
    pub instance_id: InstanceId,
    /// The leadership in which it is asked.
    pub leader_id: LeaderId,
    /// Counts the questions of one manager. When the idle period ends in which it was asked, the question is void.
    pub number: u64,
}

/// What a task executor says to [`ReleaseCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReleaseDecision {
    /// It can be stopped.
    Release,
    /// It cannot now. Asked again after another idle timeout.
    Keep,
    /// That is not known yet.
    Later,
}

/// A task executor's "yes" to [`AllocateSlot`]: the slot is held by the allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acknowledge {
    revision: Option<u64>,
}

impl Acknowledge {
    /// A "yes" without a revision.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with the revision of the slot table after the allocation, see [`SlotReport`](crate::SlotReport).
    #[must_use]
    pub fn with_revision(self, revision: u64) -> Self {
        Self {
            revision: Some(revision),
        }
    }

    /// The revision of the slot table after the allocation.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

/// One registration of a task executor: who it is, and how to reach it.
#[derive(Debug, Clone)]
pub struct TaskExecutorConnection<G> {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) worker_request: Option<WorkerRequestId>,
    pub(crate) gateway: G,
}

impl<G> TaskExecutorConnection<G> {
    /// The registration `instance_id` of the worker process `resource_id`.
    ///
    /// Every registration needs an instance id of its own, also that of a process which was registered before.
    pub fn new(resource_id: impl Into<ResourceId>, instance_id: InstanceId, gateway: G) -> Self {
        Self {
            resource_id: resource_id.into(),
            instance_id,
            worker_request: None,
            gateway,
        }
    }

    /// Says that this worker was started for `worker_request`: its slots take the place of the slots promised there,
    /// and of no others.
    #[must_use]
    pub fn with_worker_request(mut self, worker_request: WorkerRequestId) -> Self {
        self.worker_request = Some(worker_request);
        self
    }

    /// The worker process.
    pub fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    /// The registration.
    pub fn instance_id(&self) -> InstanceId {
        self.instance_id
    }

    /// The worker request that this worker answers.
    pub fn worker_request(&self) -> Option<WorkerRequestId> {
        self.worker_request
    }

    /// The way to the task executor.
    pub fn gateway(&self) -> &G {
        &self.gateway
    }
}
