//! Task executors of other kinds than the shared ones.

use std::cell::RefCell;
use std::rc::Rc;

use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, NoFuture, SlotAnswer};
use slot_manager::{AllocationId, SlotId, TaskExecutorGateway};

use crate::outside::{Awaited, Patient, Prompt};

/// A task executor that acknowledges at once or on demand.
pub(crate) enum PromptOrPatient {
    Prompt(Prompt),
    Patient(Patient),
}

impl TaskExecutorGateway for PromptOrPatient {
    type RequestSlotFuture = Awaited;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Awaited> {
        match self {
            Self::Prompt(Prompt) => SlotAnswer::Ready(Ok(Acknowledge::new())),
            Self::Patient(gateway) => gateway.request_slot(request),
        }
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// Task executors that acknowledge at once, and record the requested slots.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    /// The requested slots with their allocations, in the order of the requests.
    pub(crate) requested: Rc<RefCell<Vec<(SlotId, AllocationId)>>>,
}

impl TaskExecutorGateway for Recorder {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        let slot = (request.slot_id.clone(), request.allocation_id);
        self.requested.borrow_mut().push(slot);
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}
