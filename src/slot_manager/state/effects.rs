//! The effects of one call that are not flushed yet.

use std::cmp::Ordering;

use crate::message::{AllocationFailureCause, FreeSlot, GrantLoss, RequestFailure, WithdrawResource};
use crate::{AllocationId, JobId, ResourceId, SlotId};

use crate::slot_manager::collections::arena::{Key, key};
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
    pub(crate) notifications: Vec<Notification>,
    /// The losses that notifications of lost grants refer to.
    pub(crate) losses: Losses,
    pub(crate) frees: Vec<(TaskManagerKey, FreeSlot)>,
    pub(crate) slot_requests: Vec<UnsentAttempt>,
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

/// A notification to the resource manager.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) job_id: JobId,
    pub(crate) allocation_id: AllocationId,
    pub(crate) kind: NotificationKind,
}

impl Notification {
    /// Compares by slot. Notifications without a slot come last.
    pub(crate) fn order(&self, other: &Self, losses: &Losses) -> Ordering {
        if let (NotificationKind::Lost(lost), NotificationKind::Lost(other)) = (&self.kind, &other.kind) {
            return losses.order(*lost, *other);
        }
        let (slot, other) = (self.slot(losses), other.slot(losses));
        (slot.is_none(), slot).cmp(&(other.is_none(), other))
    }

    fn slot<'a>(&'a self, losses: &'a Losses) -> Option<(&'a ResourceId, u32)> {
        match &self.kind {
            NotificationKind::Allocated(slot_id) => Some((slot_id.resource_id(), slot_id.slot_number())),
            NotificationKind::Lost(lost) => Some(losses.slot(*lost)),
            NotificationKind::Failed(_) => None,
        }
    }
}

key! {
    /// The loss of one or more grants of one worker.
    LossKey
}

/// A slot with a dropped grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostSlot {
    pub(crate) number: u32,
    pub(crate) loss: LossKey,
}

/// The losses of grants. The grants that one task manager loses at once share one entry.
///
/// A key is valid from `add` to `clear`, which follows the last notification of a loss.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<(ResourceId, GrantLoss)>);

impl Losses {
    /// Adds the loss of grants of one worker and returns its key.
    pub(crate) fn add(&mut self, resource_id: ResourceId, loss: GrantLoss) -> LossKey {
        self.0.push((resource_id, loss));
        LossKey::from_index(self.0.len() - 1)
    }

    fn slot(&self, lost: LostSlot) -> (&ResourceId, u32) {
        (&self.0[lost.loss.index()].0, lost.number)
    }

    /// Compares two slots by worker, then by number.
    pub(crate) fn order(&self, lost: LostSlot, other: LostSlot) -> Ordering {
        if lost.loss == other.loss {
            return lost.number.cmp(&other.number);
        }
        self.slot(lost).cmp(&self.slot(other))
    }

    pub(crate) fn loss(&self, lost: LostSlot) -> &GrantLoss {
        &self.0[lost.loss.index()].1
    }

    pub(crate) fn slot_id(&self, lost: LostSlot) -> SlotId {
        let (resource_id, number) = self.slot(lost);
        SlotId::new(resource_id.clone(), number)
    }

    /// Returns the cause to report for a lost grant. Reuses the last cause if both share one loss.
    pub(crate) fn cause<'a>(
        &self,
        lost: LostSlot,
        reported: &'a mut Option<(LossKey, AllocationFailureCause)>,
    ) -> &'a AllocationFailureCause {
        reported.take_if(|(loss, _)| *loss != lost.loss);
        let (_, cause) = reported.get_or_insert_with(|| {
            let (slot_id, loss) = (self.slot_id(lost), self.loss(lost).clone());
            (lost.loss, AllocationFailureCause::GrantLost { slot_id, loss })
        });
        if let AllocationFailureCause::GrantLost { slot_id, .. } = cause {
            slot_id.set_slot_number(lost.number);
        }
        cause
    }

    /// Removes all losses. Nothing refers to a loss any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The content of a notification.
#[derive(Debug)]
pub(crate) enum NotificationKind {
    Allocated(SlotId),
    Lost(LostSlot),
    /// Boxed, because it is rare and larger than the others.
    Failed(Box<RequestFailure>),
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
            | self.notifications.len()
            | self.losses.0.len()
            | self.frees.len()
            | self.slot_requests.len()
            | self.withdrawals.len()
            | self.worker_asks.len()
            | self.releases.len();
        items == 0
    }

    /// Returns `true` if notifications wait, or losses that no notification needs any more.
    #[inline]
    pub(crate) fn has_notifications(&self) -> bool {
        !self.notifications.is_empty() || !self.losses.0.is_empty()
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
