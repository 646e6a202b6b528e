//! The effects of one call that are not flushed yet.

use crate::message::{FreeInactiveSlots, FreeSlot, RequestFailure, ShortageCause, WithdrawResource};
use crate::{AllocationId, JobId, SlotId};

use crate::slot_manager::state::notifications::Notifications;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slots::{RpcKey, SlotKey};
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// The effects of one call that are not flushed yet, by kind.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Registrations that ended. The driver drops their gateways.
    pub(crate) ended_registrations: Vec<TaskManagerKey>,
    /// Futures that the driver drops.
    pub(crate) abandoned: Vec<AbandonedRpc>,
    pub(crate) notifications: Notifications,
    pub(crate) frees: Vec<(TaskManagerKey, FreeSlot)>,
    pub(crate) slot_requests: Vec<UnsentAttempt>,
    /// Messages about declared requirements.
    pub(crate) of_requirements: Vec<RequirementEffect>,
    /// Worker requests whose promises have ended, to withdraw.
    pub(crate) withdrawals: Vec<WithdrawResource>,
    /// Requests that need a worker, with their sequence numbers. Each is checked again before a
    /// worker is requested.
    pub(crate) worker_asks: Vec<(u64, RequestKey)>,
    /// Task managers whose idle timeout is over. Each is checked again before its release.
    pub(crate) releases: Vec<NotedRelease>,
    /// The end of the request that the present call registers. The call returns it instead of
    /// flushing it.
    request_outcome: Option<(AllocationId, RequestOutcome)>,
}

/// A message about declared requirements.
#[derive(Debug)]
pub(crate) enum RequirementEffect {
    /// A job is told that it lacks slots.
    Shortage(JobId, ShortageCause),
    /// A task executor is asked to free the inactive slots of a job.
    FreeInactive(TaskManagerKey, FreeInactiveSlots),
}

/// The end of a request: a slot, or a failure.
pub(crate) type RequestOutcome = Result<SlotId, Box<RequestFailure>>;

/// The future of an attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AbandonedRpc {
    pub(crate) rpc: RpcKey,
    /// A fence: the place may hold the future of a later attempt.
    pub(crate) attempt: u64,
}

/// A release that the present call decides on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotedRelease {
    pub(crate) task_manager: TaskManagerKey,
    /// A fence: in a later idle period the release is void.
    pub(crate) idle_period: u64,
    /// The task executor has agreed already.
    pub(crate) is_confirmed: bool,
}

/// An attempt to send, if it is still the current attempt of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnsentAttempt {
    /// The sequence number of the request. Slot requests are sent in this order.
    pub(crate) sequence: u64,
    pub(crate) attempt: u64,
    pub(crate) slot: SlotKey,
}

impl Effects {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Without branches: every call asks.
        let items = self.ended_registrations.len()
            | self.abandoned.len()
            | usize::from(!self.notifications.is_empty())
            | self.frees.len()
            | self.slot_requests.len()
            | self.withdrawals.len()
            | self.of_requirements.len()
            | self.worker_asks.len()
            | self.releases.len();
        items == 0
    }

    /// Sets the outcome of the request that the present call registers.
    pub(crate) fn set_outcome(&mut self, allocation_id: AllocationId, outcome: RequestOutcome) {
        self.request_outcome = Some((allocation_id, outcome));
    }

    /// Takes the outcome of the request that the present call registers; `None` if it is pending.
    pub(crate) fn take_outcome(&mut self, allocation_id: AllocationId) -> Option<RequestOutcome> {
        let (id, outcome) = self.request_outcome.take()?;
        (id == allocation_id).then_some(outcome)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
