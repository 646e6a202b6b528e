//! The record of a slot, and the one state it is in.

use crate::{Allocation, AllocationId, Timestamp};

use crate::slot_manager::collections::arena::key;
use crate::slot_manager::collections::deadline_list::Timed;
use crate::slot_manager::collections::linked_list::{Links, linked};
use crate::slot_manager::state::profile_queues::{ProfileKey, Queued};
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::task_managers::TaskManagerKey;

key! {
    /// A slot of a registered task manager.
    SlotKey
}

key! {
    /// A place in the pool.
    RpcKey
}

/// 64 bytes on a boundary of 64: one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) profile: ProfileKey,
    pub(crate) phase: SlotPhase,
    /// In the free index, or among the slot_backoffs slots: never both.
    links: Links<SlotKey>,
}

#[derive(Debug)]
pub(crate) enum SlotPhase {
    /// Free and in no list: only within a call.
    Detached,
    /// Free, in the free index.
    Offered {
        /// Grows with every slot that is offered.
        sequence: u64,
    },
    /// Free, but not offered until a pause is over.
    BackingOff { step: u8, until: Timestamp, armed_as: u64 },
    /// Free, but its task manager is blocked.
    Blocked,
    /// The task executor has been asked to give it to a request.
    InFlight(Attempt),
    /// Held by an allocation.
    Allocated {
        allocation: Allocation,
        /// Another slot was recorded first for this allocation; this one is asked to be freed.
        secondary: bool,
    },
}

/// One try to give a slot to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) request: RequestKey,
    pub(crate) number: u64,
    pub(crate) rpc: RpcState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RpcState {
    /// The gateway has not been called yet.
    Unsent,
    /// The gateway has been called and the answer is there, to be applied within this call.
    Answered,
    /// The answer is awaited in the pool; the RPC timeout is armed.
    Awaited(RpcKey),
}

/// What a slot remembers of failed attempts, until one is acknowledged.
#[derive(Debug)]
pub(crate) struct SlotFailures {
    pub(crate) last: AllocationId,
    pub(crate) backoffs: u32,
}

impl SlotPhase {
    /// Returns `true` if a report of this holder changes nothing. A report of a free slot may be older than an attempt.
    #[inline]
    pub(crate) fn is_unchanged_by(&self, reported: Option<Allocation>) -> bool {
        match (self, reported) {
            (
                Self::Allocated {
                    allocation,
                    secondary: false,
                },
                Some(reported),
            ) => *allocation == reported,
            (Self::Allocated { .. }, _) | (_, Some(_)) => false,
            (_, None) => true,
        }
    }
}

impl Slot {
    pub(crate) fn new(number: u32, task_manager: TaskManagerKey, profile: ProfileKey) -> Self {
        Self {
            number,
            task_manager,
            profile,
            phase: SlotPhase::Detached,
            links: Links::default(),
        }
    }

    /// The attempt that is in flight to the slot.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        match self.phase {
            SlotPhase::InFlight(attempt) => Some(attempt),
            _ => None,
        }
    }

    /// Returns the allocation that holds the slot.
    pub(crate) fn allocation(&self) -> Option<Allocation> {
        match self.phase {
            SlotPhase::Allocated { allocation, .. } => Some(allocation),
            _ => None,
        }
    }
}

/// The list of the free index.
#[derive(Debug)]
pub(crate) enum Offered {}

/// The list of slots that pause.
#[derive(Debug)]
pub(crate) enum SlotBackoff {}

linked!(Slot, SlotKey, Offered => links, SlotBackoff => links);

impl Queued<Offered, SlotKey> for Slot {
    fn place(&self) -> u64 {
        match self.phase {
            SlotPhase::Offered { sequence } => sequence,
            _ => u64::MAX,
        }
    }
}

impl Timed<SlotBackoff, SlotKey> for Slot {
    fn due_at(&self) -> Timestamp {
        match self.phase {
            SlotPhase::BackingOff { until, .. } => until,
            _ => Timestamp::MAX,
        }
    }

    fn armed_as(&self) -> u64 {
        match self.phase {
            SlotPhase::BackingOff { armed_as, .. } => armed_as,
            _ => 0,
        }
    }
}
