//! Messages between the manager and a task executor.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::SlotAllocationError;
use crate::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotRequest};

/// The result of a slot request: the task executor gave the slot to the allocation, or it did not.
pub type SlotResult = Result<Acknowledge, SlotAllocationError>;

/// The way in which a gateway answers
/// [`request_slot`](crate::TaskExecutorGateway::request_slot).
///
/// [`Later`](Self::Later) is the way of a service that has one mailbox. Answers, reports and freed
/// slots of a task executor then reach the manager in the order in which they were sent.
///
/// With [`Future`](Self::Future), an answer can overtake a report that was sent before it. The
/// report then seems to show that the slot was lost. Revisions prevent that, see [`SlotReport`].
///
/// [`SlotReport`]: crate::SlotReport
///
/// ```
/// use slot_manager::error::SlotAllocationError;
/// use slot_manager::message::{NoFuture, SlotAnswer};
///
/// fn answer(is_sent: bool) -> SlotAnswer<NoFuture> {
///     match is_sent {
///         true => SlotAnswer::Later,
///         false => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("the connection is closed"))),
///     }
/// }
///
/// assert!(matches!(answer(true), SlotAnswer::Later));
/// ```
#[derive(Debug)]
#[must_use]
pub enum SlotAnswer<F> {
    /// The result is known. The manager applies it within the present call.
    Ready(SlotResult),
    /// The future becomes ready with the result. The manager polls it while it is driven, and drops
    /// it when the attempt is given up.
    Future(F),
    /// The result is an input: pass it to
    /// [`answer_slot_request`](crate::SlotManager::answer_slot_request) when it arrives. The
    /// manager fails the attempt after [`rpc_timeout`](crate::SlotManagerConfig::rpc_timeout).
    Later,
}

/// The future of a gateway that never answers by a future. It has no values.
///
/// ```
/// use slot_manager::message::{AllocateSlot, FreeSlot, NoFuture, SlotAnswer};
/// use slot_manager::TaskExecutorGateway;
///
/// /// Writes each message to a connection. The service reads the answers.
/// struct Connection(Vec<String>);
///
/// impl TaskExecutorGateway for Connection {
///     type RequestSlotFuture = NoFuture;
///
///     fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
///         self.0.push(format!("{request:?}"));
///         SlotAnswer::Later
///     }
///
///     fn free_slot(&mut self, request: &FreeSlot) {
///         self.0.push(format!("{request:?}"));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct NoFuture(Infallible);

impl Future for NoFuture {
    type Output = SlotResult;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<SlotResult> {
        match self.0 {}
    }
}

/// The name of an attempt, to which its answer refers.
///
/// The task executor sends it back with its answer. [`AllocateSlot::attempt_id`] returns it.
///
/// ```
/// use slot_manager::message::AttemptId;
/// use slot_manager::{AllocationId, LeaderId};
///
/// let attempt_id =
///     AttemptId { leader_id: LeaderId::from_u128(1), allocation_id: AllocationId::from_u128(0xa1), number: 3 };
/// assert_eq!(attempt_id.to_string(), "attempt 3 for allocation 000000000000000000000000000000a1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptId {
    /// The leadership in which the attempt was made.
    pub leader_id: LeaderId,
    /// The allocation that needs the slot.
    pub allocation_id: AllocationId,
    /// The number of the attempt, unique within the leadership.
    pub number: u64,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} for allocation {}", self.number, self.allocation_id)
    }
}

/// The message that asks a task executor to give a slot to an allocation.
///
/// The task executor offers the slot to the job.
///
/// ```
/// use slot_manager::error::SlotAllocationError;
/// use slot_manager::message::AllocateSlot;
/// use slot_manager::{InstanceId, LeaderId};
/// # use slot_manager::{AllocationId, JobId, ResourceProfile, SlotId};
///
/// /// Refuses messages for another leadership or registration.
/// fn check(
///     request: &AllocateSlot,
///     leader_id: LeaderId,
///     instance_id: InstanceId,
/// ) -> Result<(), SlotAllocationError> {
///     match (request.leader_id, request.instance_id) == (leader_id, instance_id) {
///         true => Ok(()),
///         false => Err(SlotAllocationError::rejected("the leadership or registration has ended")),
///     }
/// }
///
/// # let request = AllocateSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     resource_profile: ResourceProfile::ZERO,
/// #     target_address: "job-master-7".into(),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 1,
/// # };
/// assert_eq!(check(&request, request.leader_id, request.instance_id), Ok(()));
/// assert!(check(&request, LeaderId::from_u128(2), request.instance_id).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AllocateSlot {
    /// The slot. A [dynamic](SlotId::is_dynamic) one is cut for the allocation.
    pub slot_id: SlotId,
    /// The job of the request.
    pub job_id: JobId,
    /// The allocation for the slot.
    pub allocation_id: AllocationId,
    /// The requested profile. The slot has at least these resources. A dynamic one has exactly them,
    /// or those of the worker's [default slot](crate::DynamicResources::default_slot) for `UNKNOWN`.
    pub resource_profile: ResourceProfile,
    /// The address to offer the slot to.
    pub target_address: Arc<str>,
    /// The leadership of the manager. A task executor refuses messages of every other leader.
    pub leader_id: LeaderId,
    /// The registration of the task executor. It refuses messages for an older registration.
    pub instance_id: InstanceId,
    /// The number of the attempt. Within a leadership a later attempt has a larger number.
    pub attempt: u64,
}

impl AllocateSlot {
    /// Returns the name of the attempt, to which the answer refers.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId {
            leader_id: self.leader_id,
            allocation_id: self.allocation_id,
            number: self.attempt,
        }
    }

    /// Returns the slot and the request of the attempt.
    #[inline]
    pub(crate) fn into_slot_and_request(self) -> (SlotId, SlotRequest) {
        let request = SlotRequest::new(
            self.job_id,
            self.allocation_id,
            self.resource_profile,
            self.target_address,
        );
        (self.slot_id, request)
    }
}

/// The message that tells a task executor that an allocation must not hold a slot.
///
/// ```
/// use slot_manager::message::FreeSlot;
/// use slot_manager::AllocationId;
/// # use slot_manager::{InstanceId, JobId, LeaderId, SlotId};
///
/// /// Returns `true` if the slot must be freed that `holder` holds under `attempt` of the same leader.
/// fn must_free(request: &FreeSlot, holder: AllocationId, attempt: u64, is_in_use: bool) -> bool {
///     request.allocation_id == holder && attempt <= request.attempt && !is_in_use
/// }
///
/// # let request = FreeSlot {
/// #     slot_id: SlotId::new("worker-1", 0),
/// #     job_id: JobId::from_u128(7),
/// #     allocation_id: AllocationId::from_u128(1),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 3,
/// # };
/// assert_eq!(request.attempt, 3);
/// assert!(must_free(&request, request.allocation_id, 2, false));
/// assert!(!must_free(&request, request.allocation_id, 4, false));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeSlot {
    /// The slot.
    pub slot_id: SlotId,
    /// The job of the allocation.
    pub job_id: JobId,
    /// The allocation that must not hold the slot.
    pub allocation_id: AllocationId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The registration of the task executor.
    pub instance_id: InstanceId,
    /// The attempt that was given up. For a second slot of an allocation: the last attempt the
    /// manager made by then, or 0 if there was none. A slot held under a newer attempt stays held.
    pub attempt: u64,
}

/// The message that tells a task executor that a job has ended: it frees the slots of the job that
/// nobody uses.
///
/// ```
/// use slot_manager::message::FreeInactiveSlots;
/// # use slot_manager::{InstanceId, JobId, LeaderId};
///
/// /// Returns `true` if a slot must be freed that a job holds under `attempt` of the same leader.
/// fn must_free(request: &FreeInactiveSlots, holder: JobId, attempt: u64, is_in_use: bool) -> bool {
///     request.job_id == holder && attempt <= request.attempt && !is_in_use
/// }
///
/// # let request = FreeInactiveSlots {
/// #     job_id: JobId::from_u128(7),
/// #     leader_id: LeaderId::from_u128(1),
/// #     instance_id: InstanceId::from_u128(1),
/// #     attempt: 3,
/// # };
/// assert!(must_free(&request, request.job_id, 2, false));
/// assert!(!must_free(&request, request.job_id, 4, false));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FreeInactiveSlots {
    /// The job that has ended.
    pub job_id: JobId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The registration of the task executor.
    pub instance_id: InstanceId,
    /// The last attempt that the manager made by then. A slot held under a newer attempt stays held.
    pub attempt: u64,
}

/// The message that asks a task executor whether it can be stopped.
///
/// ```
/// use std::collections::HashSet;
///
/// use slot_manager::message::{ReleaseCheck, ReleaseDecision};
/// use slot_manager::{InstanceId, LeaderId};
///
/// /// Keeps the task executors whose results are still being read.
/// fn decide(check: &ReleaseCheck, in_use: &HashSet<InstanceId>) -> ReleaseDecision {
///     match in_use.contains(&check.instance_id) {
///         true => ReleaseDecision::Keep,
///         false => ReleaseDecision::Release,
///     }
/// }
///
/// let instance_id = InstanceId::from_u128(1);
/// let check = ReleaseCheck { instance_id, leader_id: LeaderId::from_u128(1), number: 1 };
/// assert_eq!(decide(&check, &HashSet::from([instance_id])), ReleaseDecision::Keep);
/// assert_eq!(decide(&check, &HashSet::new()), ReleaseDecision::Release);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseCheck {
    /// The registration of the idle task manager.
    pub instance_id: InstanceId,
    /// The leadership of the manager.
    pub leader_id: LeaderId,
    /// The number of the release check, unique for one manager. The check is void when the idle
    /// period ends in which it began.
    pub number: u64,
}

/// The decision of a task executor about a [`ReleaseCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReleaseDecision {
    /// The task executor can be stopped.
    Release,
    /// The task executor must stay. The manager asks again after another idle timeout.
    Keep,
    /// The decision is not known yet. Pass it to
    /// [`answer_release`](crate::SlotManager::answer_release) later.
    Later,
}

/// The answer of a task executor to [`AllocateSlot`] that the allocation holds the slot.
///
/// ```
/// use slot_manager::message::Acknowledge;
///
/// assert_eq!(Acknowledge::new().revision(), None);
/// assert_eq!(Acknowledge::new().with_revision(2).revision(), Some(2));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acknowledge {
    revision: Option<u64>,
}

impl Acknowledge {
    /// Returns an acknowledgement without a revision.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the revision of the slot table after the allocation, see
    /// [`SlotReport`](crate::SlotReport).
    #[must_use]
    pub fn with_revision(self, revision: u64) -> Self {
        Self {
            revision: Some(revision),
        }
    }

    /// Returns the revision of the slot table after the allocation.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }
}

/// The news that a task executor has freed a slot that an allocation held.
///
/// The message may carry the registration and the revision of the slot table after the slot was
/// freed. By them the manager detects messages that overtook each other:
///
/// - Reports that are older than the message are ignored from then on. They would give the slot
///   back to the allocation.
/// - A message that is not newer than an applied report, or from an ended registration, is
///   [`Outdated`](crate::outcome::SlotFreedOutcome::Outdated). But while an attempt is in flight to
///   the slot, a report that shows it as free ends nothing, and the message counts.
///
/// It may also carry the attempt under which the allocation held the slot. If a newer attempt for
/// the allocation is in flight to the slot, the message is
/// [`Outdated`](crate::outcome::SlotFreedOutcome::Outdated). Without the attempt it would end the
/// request: the manager gives a slow attempt up, lets the task executor free the slot, and requests
/// the slot again.
///
/// ```
/// use slot_manager::message::SlotFreed;
/// use slot_manager::{AllocationId, InstanceId, SlotId};
///
/// let freed = SlotFreed::new(SlotId::new("worker-1", 0), AllocationId::from_u128(1));
/// assert_eq!(freed.revision(), None);
/// let freed = freed.with_revision(InstanceId::from_u128(1), 3);
/// assert_eq!(freed.revision(), Some((InstanceId::from_u128(1), 3)));
/// assert_eq!(freed.with_attempt(7).attempt(), Some(7));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlotFreed {
    slot_id: SlotId,
    allocation_id: AllocationId,
    instance_id: Option<InstanceId>,
    revision: Option<u64>,
    attempt: Option<u64>,
}

impl SlotFreed {
    /// Returns the message that the task executor has freed this slot of this allocation.
    pub fn new(slot_id: SlotId, allocation_id: AllocationId) -> Self {
        Self {
            slot_id,
            allocation_id,
            instance_id: None,
            revision: None,
            attempt: None,
        }
    }

    /// Sets the registration of the task executor, and the revision of its slot table after the
    /// slot was freed.
    #[must_use]
    pub fn with_revision(mut self, instance_id: InstanceId, revision: u64) -> Self {
        self.instance_id = Some(instance_id);
        self.revision = Some(revision);
        self
    }

    /// Sets the latest attempt of the present leadership that requested the slot for the
    /// allocation.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u64) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Returns the slot.
    pub fn slot_id(&self) -> &SlotId {
        &self.slot_id
    }

    /// Returns the attempt under which the allocation held the slot.
    pub fn attempt(&self) -> Option<u64> {
        self.attempt
    }

    /// Returns the allocation that held the slot.
    pub fn allocation_id(&self) -> AllocationId {
        self.allocation_id
    }

    /// Returns the registration, and the revision of its slot table after the slot was freed.
    pub fn revision(&self) -> Option<(InstanceId, u64)> {
        self.instance_id.zip(self.revision)
    }
}
