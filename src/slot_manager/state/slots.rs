//! The record of a slot and its phase.

use crate::id::FIRST_DYNAMIC;
use crate::message::Allocation;
use crate::{AllocationId, JobId, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::Timed;
use crate::slot_manager::collections::linked_list::{Links, linked};
use crate::slot_manager::state::profile_queues::{ProfileKey, Queued};
use crate::slot_manager::state::refused_jobs::RefusedJobs;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::task_managers::TaskManagerKey;

key! {
    /// A slot of a registered task manager.
    SlotKey
}

key! {
    /// A place in the pool of pending answers.
    RpcKey
}

/// A slot. The record fills exactly one cache line of 64 bytes.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) profile: ProfileKey,
    pub(crate) phase: SlotPhase,
    /// The links in the free index or in the backoff queues: a slot is never in both.
    links: Links<SlotKey>,
}

/// The phase of a slot. A slot is in exactly one.
#[derive(Debug)]
pub(crate) enum SlotPhase {
    /// Free and in no list; only within a call.
    Detached,
    /// Free, in the free index.
    Offered {
        /// A number that grows with each offer of a slot.
        sequence: u64,
    },
    /// Free, but not offered until its backoff ends.
    BackingOff { step: u8, until: Timestamp, armed_as: u64 },
    /// Free, but not offered until its worker has acknowledged an attempt.
    WorkerBackoff,
    /// Free, but its task manager is blocked.
    Blocked,
    /// Requested from the task executor for a request.
    InFlight(Attempt),
    /// Held by an allocation.
    Allocated {
        allocation: Allocation,
        /// The allocation is granted on another slot, so the manager asks to free this slot.
        secondary: bool,
    },
}

/// One try to get one slot for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) request: RequestKey,
    pub(crate) number: u64,
    pub(crate) rpc: RpcState,
}

/// The state of the RPC of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RpcState {
    /// The gateway has not been called yet.
    Unsent,
    /// The answer is at hand. The present call applies it.
    Answered,
    /// The answer comes by a future, and the RPC timeout is armed.
    Awaited(RpcKey),
    /// The answer comes by an input, and the RPC timeout is armed.
    AwaitedAsInput,
}

impl RpcState {
    /// Returns `true` while the RPC timeout is armed.
    pub(crate) fn is_awaited(self) -> bool {
        matches!(self, Self::Awaited(_) | Self::AwaitedAsInput)
    }
}

/// The failed attempts on a slot since the last acknowledgement.
#[derive(Debug)]
pub(crate) struct SlotFailures {
    /// The allocation of the last failed attempt.
    pub(crate) last: AllocationId,
    pub(crate) backoffs: u32,
    pub(crate) refused_jobs: RefusedJobs,
}

impl SlotFailures {
    /// Returns `true` if the failures are no reason to keep a job from the slot.
    pub(crate) fn admits(&self, job: JobId) -> bool {
        !self.refused_jobs.are_many() && self.refused_jobs.admit(job)
    }
}

/// The slots of all registered task managers.
pub(crate) type Slots = Arena<SlotKey, Slot>;

impl SlotPhase {
    /// Returns the step of the backoff.
    #[inline]
    pub(crate) fn backoff_step(&self) -> Option<u8> {
        match self {
            Self::BackingOff { step, .. } => Some(*step),
            _ => None,
        }
    }

    /// Returns `true` if a report of this allocation changes nothing.
    ///
    /// A report of a free slot changes no attempt in flight, because it may be older than the
    /// attempt.
    #[inline]
    pub(crate) fn is_unchanged_by(&self, reported: Option<&Allocation>) -> bool {
        match (self, reported) {
            (
                Self::Allocated {
                    allocation,
                    secondary: false,
                },
                Some(reported),
            ) => allocation == reported,
            (Self::Allocated { .. }, _) | (_, Some(_)) => false,
            (_, None) => true,
        }
    }
}

impl Slot {
    pub(crate) const BLANK: Self = Self {
        number: 0,
        task_manager: TaskManagerKey::FIRST,
        profile: ProfileKey::FIRST,
        phase: SlotPhase::Detached,
        links: Links::NONE,
    };

    /// Returns `true` if the slot is cut from a dynamic worker.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.number >= FIRST_DYNAMIC
    }

    /// Gives another phase to an offered slot.
    #[inline(always)]
    pub(crate) fn end_offer(&mut self, phase: SlotPhase) -> EndedOffer {
        let ended = EndedOffer {
            task_manager: self.task_manager,
            profile: self.profile,
            sequence: self.place(),
            links: std::mem::take(&mut self.links),
        };
        self.phase = phase;
        ended
    }

    /// Sets the phase of an offered slot, and its links in the queue of its profile.
    #[inline(always)]
    pub(super) fn begin_offer(&mut self, sequence: u64, links: Links<SlotKey>) {
        self.phase = SlotPhase::Offered { sequence };
        self.links = links;
    }

    /// Returns the attempt in flight to the slot.
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

/// What the free index has to know of a slot that is offered no more.
pub(crate) struct EndedOffer {
    pub(crate) task_manager: TaskManagerKey,
    pub(crate) profile: ProfileKey,
    pub(super) sequence: u64,
    pub(super) links: Links<SlotKey>,
}

/// The kind of the lists in the free index.
#[derive(Debug)]
pub(crate) enum Offered {}

/// The kind of the lists of slots that back off.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::slot_manager::collections::backoff_queues::BackoffQueues;

    #[test]
    fn the_slot_whose_backoff_began_first_comes_first_at_one_time() {
        let until = Timestamp::from_secs(1);
        let mut slots = Slots::new();
        let mut backoffs =
            BackoffQueues::<SlotBackoff, SlotKey>::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut begin = |number, step| {
            let slot = Slot { number, ..Slot::BLANK };
            let slot = slots.insert(slot);
            let armed_as = backoffs.next_armed();
            slots[slot].phase = SlotPhase::BackingOff { step, until, armed_as };
            backoffs.arm(&mut slots, step, slot);
            slot
        };
        let (first, _) = (begin(0, 1), begin(1, 0));
        assert_eq!(backoffs.first(), Some(first));
    }
}
