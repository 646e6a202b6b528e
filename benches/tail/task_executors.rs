//! The outside of the cluster: task executors that answer at once or later, and actions that
//! remember their calls.

use std::cell::RefCell;
use std::rc::Rc;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{
    AllocateSlot, AllocationFailureCause, FreeSlot, Release, ReleaseResource, SlotAnswer, WorkerPromise,
};
use slot_manager::{
    AllocationId, JobId, ResourceManagerActions, ResourceProfile, SlotId, TaskExecutorGateway, WorkerRequestId,
};

use crate::outside::Awaited;

/// The notifications and releases since the last look.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) granted: Vec<(SlotId, AllocationId)>,
    /// Requests that failed without a grant.
    pub(crate) failed: Vec<AllocationId>,
    pub(crate) lost: usize,
    pub(crate) releases: usize,
}

impl Told {
    pub(crate) fn clear(&mut self) {
        self.granted.clear();
        self.failed.clear();
        self.lost = 0;
        self.releases = 0;
    }
}

impl ResourceManagerActions for Told {
    fn allocate_resource(
        &mut self,
        _: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        Ok(WorkerPromise::Declined)
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        self.releases += 1;
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, allocation_id: AllocationId, cause: &AllocationFailureCause) {
        match cause {
            AllocationFailureCause::RequestFailed(_) => self.failed.push(allocation_id),
            AllocationFailureCause::GrantLost { .. } => self.lost += 1,
        }
    }

    fn notify_slot_allocated(&mut self, _: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.granted.push((slot_id.clone(), allocation_id));
    }
}

/// A task executor that acknowledges, at once or on demand.
pub(crate) struct TaskExecutor {
    pub(crate) is_prompt: bool,
    /// The open answers of all task executors.
    pub(crate) asked: Rc<RefCell<Vec<Awaited>>>,
}

impl TaskExecutorGateway for TaskExecutor {
    type RequestSlotFuture = Awaited;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Awaited> {
        let answer = Awaited::default();
        if self.is_prompt {
            answer.acknowledge();
        } else {
            self.asked.borrow_mut().push(answer.clone());
        }
        SlotAnswer::Future(answer)
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}
