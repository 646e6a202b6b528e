//! Inputs of the manager and of the floor: a group that takes either gives both the same messages
//! in the same order.

use std::task::{Context, Poll, Waker};

use slot_manager::message::SlotFreed;
use slot_manager::outcome::{AllocationStatus, CancelOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome};
use slot_manager::{
    AllocationId, InstanceId, ResourceManagerActions, ScheduledExecutor, SlotId, SlotManager, SlotReport, SlotRequest,
    TaskExecutorGateway,
};

use crate::floor::Floor;
use crate::messages::{
    Registered, SLOTS_PER_TASK_MANAGER, instance_id as instance_id_of, report as report_of, slot_index, usual_profile,
};

pub(crate) trait Inputs {
    /// The result of registering a request. It is checked after the clock has stopped.
    type Registered;

    fn request(&mut self, request: SlotRequest) -> Self::Registered;

    /// Returns the number of the slot that was granted within the call.
    fn granted_slot(registered: &Self::Registered) -> Option<usize>;

    /// Cancels a request. Returns `true` if it waited.
    fn cancel(&mut self, allocation_id: AllocationId) -> bool;

    /// Takes the message that a slot is free. Returns `true` if the allocation held it.
    fn free(&mut self, freed: &SlotFreed) -> bool;

    /// Takes a report. Returns `true` if it was applied.
    fn report(&mut self, instance_id: InstanceId, report: &SlotReport) -> bool;

    /// Polls once while nothing is ready and nothing is due, as a service does between two
    /// messages.
    fn drive(&mut self);

    fn num_free(&self) -> usize;

    fn num_granted(&self) -> usize;

    fn num_waiting(&self) -> usize;
}

impl<A, G, E> Inputs for SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    type Registered = Registered;

    fn request(&mut self, request: SlotRequest) -> Registered {
        self.register_slot_request(request)
    }

    fn granted_slot(registered: &Registered) -> Option<usize> {
        match registered {
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })) => Some(slot_index(slot_id)),
            Ok(SlotRequestOutcome::Accepted(_)) => None,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn cancel(&mut self, allocation_id: AllocationId) -> bool {
        self.unregister_slot_request(allocation_id) == CancelOutcome::Cancelled
    }

    fn free(&mut self, freed: &SlotFreed) -> bool {
        self.slot_freed(freed) == SlotFreedOutcome::Freed
    }

    fn report(&mut self, instance_id: InstanceId, report: &SlotReport) -> bool {
        self.report_slot_status(instance_id, report) == Ok(ReportOutcome::Applied)
    }

    fn drive(&mut self) {
        let progress = self.poll_progress(&mut Context::from_waker(Waker::noop()));
        assert_eq!(progress, Poll::Pending);
    }

    fn num_free(&self) -> usize {
        self.overview().slots.free.slots
    }

    fn num_granted(&self) -> usize {
        self.overview().slots.allocated.slots
    }

    fn num_waiting(&self) -> usize {
        self.overview().pending_requests
    }
}

impl Floor {
    /// Returns a floor with slots of the usual profile, of which the chosen ones are held.
    pub(crate) fn taken_over(slots: usize, is_allocated: impl Fn(usize) -> bool) -> Self {
        let mut floor = Self::default();
        for task_manager in 0..slots / SLOTS_PER_TASK_MANAGER {
            let report = report_of(task_manager, |_| usual_profile(), &is_allocated);
            floor.register(instance_id_of(task_manager), &report);
        }
        floor
    }

    pub(crate) fn with_free_slots(slots: usize) -> Self {
        Self::taken_over(slots, |_| false)
    }
}

impl Inputs for Floor {
    type Registered = Option<SlotId>;

    fn request(&mut self, request: SlotRequest) -> Option<SlotId> {
        Floor::request(self, request)
    }

    fn granted_slot(registered: &Option<SlotId>) -> Option<usize> {
        registered.as_ref().map(slot_index)
    }

    fn cancel(&mut self, allocation_id: AllocationId) -> bool {
        Floor::cancel(self, allocation_id)
    }

    fn free(&mut self, freed: &SlotFreed) -> bool {
        Floor::free(self, freed)
    }

    fn report(&mut self, instance_id: InstanceId, report: &SlotReport) -> bool {
        Floor::report(self, instance_id, report)
    }

    fn drive(&mut self) {}

    fn num_free(&self) -> usize {
        Floor::num_free(self)
    }

    fn num_granted(&self) -> usize {
        Floor::num_granted(self)
    }

    fn num_waiting(&self) -> usize {
        Floor::num_waiting(self)
    }
}
