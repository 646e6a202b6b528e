//! What can go wrong: one small enum for each family of calls, and [`SlotManagerError`] for all of them.

use std::sync::Arc;

use crate::{
    AllocationId, AllocationStatus, ConfigError, InstanceId, JobId, RequestFailure, ResourceId, ResourceProfileError,
    SlotId,
};

/// The call needs a started manager: it came before [`start`](crate::SlotManager::start) or after
/// [`suspend`](crate::SlotManager::suspend). Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the slot manager has not been started")]
pub struct NotStarted;

/// Why a manager cannot be started. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It is started already; [`suspend`](crate::SlotManager::suspend) it first.
    #[error("the slot manager is already started, by leader {leader_id}")]
    AlreadyStarted {
        /// The leadership it was started with.
        leader_id: crate::LeaderId,
    },
}

/// Why a slot request is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotRequestError {
    /// See [`NotStarted`]. Nothing changed.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The allocation id is known with another job or, if it is not granted yet, another profile. Nothing changed.
    #[error("allocation {allocation_id} is already known with another {conflict}, and is {status}")]
    Conflict {
        /// The allocation id.
        allocation_id: AllocationId,
        /// In what the requests differ.
        conflict: Conflict,
        /// What the known one is doing.
        status: AllocationStatus,
    },
    /// As many requests as the configuration allows wait for their grant. Nothing changed.
    #[error("{limit} slot requests are pending, no more are accepted")]
    TooManyPendingRequests {
        /// The configured number.
        limit: usize,
    },
    /// The request was accepted and failed within the call. It is forgotten, its failure is not notified again; the
    /// effects it had are told by the traits.
    #[error("the slot request for allocation {allocation_id} failed: {failure}")]
    Failed {
        /// The allocation id.
        allocation_id: AllocationId,
        /// Why it failed.
        failure: Box<RequestFailure>,
    },
}

/// In what a request differs from the known one with its allocation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// The job.
    Job,
    /// The resource profile.
    ResourceProfile,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::ResourceProfile => "resource profile",
        })
    }
}

/// Why a registration or a slot report is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotReportError {
    /// See [`NotStarted`]. Nothing changed.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The report names a slot of another worker. It is refused whole, nothing changed.
    #[error("the report of {resource_id} names slot {slot_id} of another worker")]
    ForeignSlot {
        /// The worker that reports.
        resource_id: ResourceId,
        /// The slot it named.
        slot_id: SlotId,
    },
    /// The report names a slot twice. It is refused whole, nothing changed.
    #[error("the report names slot {slot_id} twice")]
    DuplicateSlot {
        /// The slot.
        slot_id: SlotId,
    },
    /// The instance id is that of a registration of another worker. Nothing changed.
    #[error("instance {instance_id} is a registration of {registered}, not of {resource_id}")]
    InstanceOfAnotherWorker {
        /// The instance id.
        instance_id: InstanceId,
        /// The worker that is registered with it.
        registered: ResourceId,
        /// The worker that came with it.
        resource_id: ResourceId,
    },
}

/// Why a task executor did not give a slot to an allocation: the answer of
/// [`request_slot`](crate::TaskExecutorGateway::request_slot).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SlotAllocationError {
    /// The slot is held. Not a failure of the slot: it belongs to that allocation now, and the request goes elsewhere.
    #[error("the slot is held by allocation {allocation_id} of job {job_id}")]
    Occupied {
        /// The allocation that holds it.
        allocation_id: AllocationId,
        /// The job of that allocation.
        job_id: JobId,
    },
    /// The task executor refused.
    #[error("refused by the task executor: {reason}")]
    Rejected {
        /// The reason it gave.
        reason: Arc<str>,
    },
    /// The task executor could not be reached, or its answer was lost.
    #[error("the task executor cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The task executor did not answer within [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout). The manager
    /// finds this itself.
    #[error("the task executor did not answer in time")]
    Timeout,
}

impl SlotAllocationError {
    /// A refusal by the task executor.
    pub fn rejected(reason: impl Into<Arc<str>>) -> Self {
        Self::Rejected { reason: reason.into() }
    }

    /// A failure on the way to the task executor or back.
    pub fn unreachable(reason: impl Into<Arc<str>>) -> Self {
        Self::Unreachable { reason: reason.into() }
    }
}

/// Why the resource manager will not start a worker: the error of
/// [`allocate_resource`](crate::ResourceManagerActions::allocate_resource).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the resource manager starts no worker: {reason}")]
pub struct ResourceManagerError {
    reason: Arc<str>,
}

/// A profile that cannot be computed is a reason to start no worker.
impl From<ResourceProfileError> for ResourceManagerError {
    fn from(error: ResourceProfileError) -> Self {
        Self::new(error.to_string())
    }
}

impl ResourceManagerError {
    /// A refusal for this reason.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Any error of the manager's calls, for callers that treat them alike. Each says in its own place what it did to the
/// state.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotManagerError {
    /// See [`NotStarted`].
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// See [`StartError`].
    #[error(transparent)]
    Start(#[from] StartError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`SlotRequestError`].
    #[error(transparent)]
    SlotRequest(#[from] SlotRequestError),
    /// See [`SlotReportError`].
    #[error(transparent)]
    SlotReport(#[from] SlotReportError),
}
