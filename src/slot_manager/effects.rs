//! What is to be said to the outside when the state is consistent again.

use crate::{AllocationFailureCause, AllocationId, FreeSlot, JobId, SlotId};

use super::in_flight::CellKey;
use super::pending_requests::RequestKey;
use super::slots::SlotKey;
use super::task_managers::TaskManagerKey;

/// Effects of one call that have not left yet, by kind.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Futures to drop.
    pub(super) abandoned: Vec<CellKey>,
    pub(super) notifications: Vec<Notification>,
    pub(super) frees: Vec<(TaskManagerKey, FreeSlot)>,
    pub(super) slot_requests: Vec<SlotRequestToSend>,
    /// Requests that became uncovered, with their sequence numbers; each is looked at again before a worker is asked
    /// for.
    pub(super) asks: Vec<(u64, RequestKey)>,
    /// Task managers that were idle for long enough, each with the number of its idle period; each is looked at again
    /// before its release is asked for.
    pub(super) releases: Vec<(TaskManagerKey, u64)>,
}

#[derive(Debug)]
pub(super) struct Notification {
    pub(super) job_id: JobId,
    pub(super) allocation_id: AllocationId,
    pub(super) kind: NotificationKind,
}

impl Notification {
    /// Notifications leave in the order of slots; those about no slot come last.
    pub(super) fn slot_id(&self) -> (bool, Option<&SlotId>) {
        let slot_id = match &self.kind {
            NotificationKind::Allocated(slot_id) => Some(slot_id),
            NotificationKind::Failed(cause) => match &**cause {
                AllocationFailureCause::GrantLost { slot_id, .. } => Some(slot_id),
                AllocationFailureCause::RequestFailed(_) => None,
            },
        };
        (slot_id.is_none(), slot_id)
    }
}

#[derive(Debug)]
pub(super) enum NotificationKind {
    Allocated(SlotId),
    /// Boxed: grants are what happens all the time.
    Failed(Box<AllocationFailureCause>),
}

/// An attempt whose gateway is to be called, if it is still the current one of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotRequestToSend {
    /// The sequence number of the request: slot requests leave in this order.
    pub(super) sequence: u64,
    pub(super) attempt: u64,
    pub(super) slot: SlotKey,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.abandoned.is_empty()
            && self.notifications.is_empty()
            && self.frees.is_empty()
            && self.slot_requests.is_empty()
            && self.asks.is_empty()
            && self.releases.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
