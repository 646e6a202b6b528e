//! Effects of one call that have not left yet.

use std::cmp::Ordering;

use crate::{AllocationFailureCause, AllocationId, FreeSlot, GrantLoss, JobId, RequestFailure, ResourceId, SlotId};

use crate::slot_manager::collections::arena::{Key, key};
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slots::RpcKey;
use crate::slot_manager::state::slots::SlotKey;
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// Effects of one call that have not left yet, by kind.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Registrations that ended: their gateways go.
    pub(crate) ended_registrations: Vec<TaskManagerKey>,
    /// Futures to drop.
    pub(crate) abandoned: Vec<AbandonedRpc>,
    pub(crate) notifications: Vec<Notification>,
    /// The losses that notifications of lost grants refer to.
    pub(crate) losses: Losses,
    pub(crate) frees: Vec<(TaskManagerKey, FreeSlot)>,
    pub(crate) slot_requests: Vec<UnsentAttempt>,
    /// Requests that became unbound, with their sequence numbers. Each is checked again before a worker is requested.
    pub(crate) worker_asks: Vec<(u64, RequestKey)>,
    /// Task managers whose idle timeout is over. Each is checked again before its release.
    pub(crate) releases: Vec<NotedRelease>,
    /// How the request ended that the present call registers. It is returned, so flushing leaves it alone.
    request_outcome: Option<(AllocationId, RequestOutcome)>,
}

/// How a request ended: with a slot, or failed.
pub(crate) type RequestOutcome = Result<SlotId, Box<RequestFailure>>;

/// The future of an attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AbandonedRpc {
    pub(crate) rpc: RpcKey,
    /// Fences the key: the place may hold the future of a later attempt.
    pub(crate) attempt: u64,
}

/// An idle task manager to release.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotedRelease {
    pub(crate) task_manager: TaskManagerKey,
    /// Fences the release: in a later idle period it is void.
    pub(crate) idle_period: u64,
    /// The task executor has agreed already.
    pub(crate) is_confirmed: bool,
}

#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) job_id: JobId,
    pub(crate) allocation_id: AllocationId,
    pub(crate) kind: NotificationKind,
}

impl Notification {
    /// Notifications leave in the order of slots; those about no slot come last.
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
    /// How grants were dropped.
    LossKey
}

/// A slot whose grant was dropped, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostSlot {
    pub(crate) number: u32,
    pub(crate) loss: LossKey,
}

/// How grants were dropped. What those of one task manager have in common is kept once: it may go with many.
///
/// A key is valid from `add` to `clear`, which comes when all that was lost has been notified.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<(ResourceId, GrantLoss)>);

impl Losses {
    /// Notes how grants of slots of a worker are dropped. They refer to it by the key returned.
    pub(crate) fn add(&mut self, resource_id: ResourceId, loss: GrantLoss) -> LossKey {
        self.0.push((resource_id, loss));
        LossKey::from_index(self.0.len() - 1)
    }

    fn slot(&self, lost: LostSlot) -> (&ResourceId, u32) {
        (&self.0[lost.loss.index()].0, lost.number)
    }

    /// The order of slots: by worker, then by number.
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

    /// What is reported of a lost grant; what was reported of the last one is kept where they have it in common.
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

    /// Forgets them all, when nothing refers to them any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[derive(Debug)]
pub(crate) enum NotificationKind {
    Allocated(SlotId),
    Lost(LostSlot),
    /// Boxed: it is rare, and larger than the others.
    Failed(Box<RequestFailure>),
}

/// An attempt whose gateway is to be called, if it is still the current one of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnsentAttempt {
    /// The sequence number of the request: slot requests leave in this order.
    pub(crate) sequence: u64,
    pub(crate) attempt: u64,
    pub(crate) slot: SlotKey,
}

impl Effects {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ended_registrations.is_empty()
            && self.abandoned.is_empty()
            && !self.has_notifications()
            && self.frees.is_empty()
            && self.slot_requests.is_empty()
            && self.worker_asks.is_empty()
            && self.releases.is_empty()
    }

    /// Whether there is something to notify, or what notifications refer to is to be forgotten.
    #[inline]
    pub(crate) fn has_notifications(&self) -> bool {
        !self.notifications.is_empty() || !self.losses.0.is_empty()
    }

    /// Keeps the outcome of the request that the present call registers.
    pub(crate) fn set_outcome(&mut self, allocation_id: AllocationId, outcome: RequestOutcome) {
        self.request_outcome = Some((allocation_id, outcome));
    }

    /// Takes the outcome of a request that has just been registered; `None` if it has not ended.
    pub(crate) fn take_outcome(&mut self, allocation_id: AllocationId) -> Option<RequestOutcome> {
        let (id, outcome) = self.request_outcome.take()?;
        (id == allocation_id).then_some(outcome)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
