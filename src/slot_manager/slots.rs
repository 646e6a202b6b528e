//! The record of a slot, and the one state it is in.

use crate::{AllocationId, JobId, Timestamp};

use super::deadlines::Timed;
use super::in_flight::CellKey;
use super::pending_requests::RequestKey;
use super::profiles::{ProfileKey, Queued};
use super::records::{Links, key, linked};
use super::task_managers::TaskManagerKey;

key! {
    /// A slot of a registered task manager.
    SlotKey
}

/// 64 bytes on a boundary of 64: one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) task_manager: TaskManagerKey,
    pub(super) profile: ProfileKey,
    pub(super) state: SlotState,
    /// In the free index, or among the withheld slots: never both.
    links: Links<SlotKey>,
}

#[derive(Debug)]
pub(super) enum SlotState {
    /// Free and in no list: only within a call.
    Unplaced,
    /// Free, in the free index.
    Offered {
        /// Grows with every slot that is offered.
        sequence: u64,
    },
    /// Free, but not offered until a pause is over.
    Withheld { step: u8, until: Timestamp, armed_as: u64 },
    /// Free, but its task manager is blocked.
    Blocked,
    /// The task executor has been asked to give it to a request.
    InFlight(Attempt),
    /// Held by an allocation.
    Allocated {
        allocation_id: AllocationId,
        job_id: JobId,
        /// Another slot was recorded first for this allocation; this one is asked to be freed.
        duplicate: bool,
    },
}

/// One try to give a slot to a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) request: RequestKey,
    pub(super) number: u64,
    pub(super) delivery: Delivery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The gateway has not been called yet.
    Unsent,
    /// The gateway has been called and the answer is there, to be applied within this call.
    Answered,
    /// The answer is awaited in the pool; the RPC timeout is armed.
    Awaited(CellKey),
}

/// What a slot remembers of failed attempts, until one is acknowledged.
#[derive(Debug)]
pub(super) struct SlotFailures {
    pub(super) last: AllocationId,
    pub(super) pauses: u32,
}

impl SlotState {
    /// Whether a report that says what holds the slot changes nothing. While an attempt is in flight, it may be older than
    /// that.
    #[inline]
    pub(super) fn agrees(&self, reported: Option<(AllocationId, JobId)>) -> bool {
        match (self, reported) {
            (
                Self::Allocated {
                    allocation_id,
                    job_id,
                    duplicate: false,
                },
                Some(reported),
            ) => (*allocation_id, *job_id) == reported,
            (Self::Allocated { .. }, _) | (_, Some(_)) => false,
            (_, None) => true,
        }
    }
}

impl Slot {
    pub(super) fn new(number: u32, task_manager: TaskManagerKey, profile: ProfileKey) -> Self {
        Self {
            number,
            task_manager,
            profile,
            state: SlotState::Unplaced,
            links: Links::default(),
        }
    }

    /// The attempt that is in flight to the slot.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        match self.state {
            SlotState::InFlight(attempt) => Some(attempt),
            _ => None,
        }
    }

    /// The allocation that holds the slot, with its job.
    pub(super) fn holder(&self) -> Option<(AllocationId, JobId)> {
        match self.state {
            SlotState::Allocated {
                allocation_id, job_id, ..
            } => Some((allocation_id, job_id)),
            _ => None,
        }
    }
}

/// The list of the free index.
#[derive(Debug)]
pub(super) enum Offered {}

/// The list of slots that pause.
#[derive(Debug)]
pub(super) enum Withheld {}

linked!(Slot, SlotKey, Offered => links, Withheld => links);

impl Queued<Offered, SlotKey> for Slot {
    fn place(&self) -> u64 {
        match self.state {
            SlotState::Offered { sequence } => sequence,
            _ => u64::MAX,
        }
    }
}

impl Timed<Withheld, SlotKey> for Slot {
    fn due_at(&self) -> Timestamp {
        match self.state {
            SlotState::Withheld { until, .. } => until,
            _ => Timestamp::MAX,
        }
    }

    fn armed_as(&self) -> u64 {
        match self.state {
            SlotState::Withheld { armed_as, .. } => armed_as,
            _ => 0,
        }
    }
}
