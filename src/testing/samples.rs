//! Ids, messages and a task that the unit tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use crate::message::{AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCause, ReleaseCheck, ReleaseResource};
use crate::{AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, Timestamp};

pub(crate) const LEADER: LeaderId = LeaderId::from_u128(0x1eade);
pub(crate) const INSTANCE: InstanceId = InstanceId::from_u128(0x1);
pub(crate) const JOB: JobId = JobId::from_u128(0x10b);
pub(crate) const ALLOCATION: AllocationId = AllocationId::from_u128(0xa);
pub(crate) const OTHER_ALLOCATION: AllocationId = AllocationId::from_u128(0xb);
pub(crate) const EXECUTOR: &str = "tm";

/// Returns a request for a slot of [`EXECUTOR`].
pub(crate) fn request_slot(slot_number: u32, allocation_id: AllocationId, attempt: u64) -> AllocateSlot {
    AllocateSlot {
        slot_id: SlotId::new(EXECUTOR, slot_number),
        job_id: JOB,
        allocation_id,
        resource_profile: ResourceProfile::ZERO,
        target_address: "job-master".into(),
        leader_id: LEADER,
        instance_id: INSTANCE,
        attempt,
    }
}

/// Returns a message that frees a slot of [`EXECUTOR`].
pub(crate) fn free_slot(slot_number: u32, allocation_id: AllocationId, attempt: u64) -> FreeSlot {
    FreeSlot {
        slot_id: SlotId::new(EXECUTOR, slot_number),
        job_id: JOB,
        allocation_id,
        leader_id: LEADER,
        instance_id: INSTANCE,
        attempt,
    }
}

/// Returns a message that frees the inactive slots of [`JOB`].
pub(crate) fn free_inactive_slots(attempt: u64) -> FreeInactiveSlots {
    FreeInactiveSlots {
        job_id: JOB,
        leader_id: LEADER,
        instance_id: INSTANCE,
        attempt,
    }
}

/// Returns a release check for [`EXECUTOR`].
pub(crate) fn release_check(number: u64) -> ReleaseCheck {
    ReleaseCheck {
        instance_id: INSTANCE,
        leader_id: LEADER,
        number,
    }
}

/// Returns the release of [`EXECUTOR`].
#[cfg(feature = "tokio")]
pub(crate) fn release() -> ReleaseResource {
    ReleaseResource {
        resource_id: ResourceId::new(EXECUTOR),
        instance_id: INSTANCE,
        worker_request: None,
        is_blocked: false,
        cause: ReleaseCause::IdleTimeout {
            idle_since: Timestamp::ZERO,
            idle_period: 1,
        },
    }
}

/// A task that counts its wake-ups.
pub(crate) struct WakeCounter {
    count: Arc<Count>,
    waker: Waker,
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl WakeCounter {
    pub(crate) fn new() -> Self {
        let count = Arc::<Count>::default();
        let waker = Arc::clone(&count).into();
        Self { count, waker }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.0.load(Ordering::Relaxed)
    }
}
