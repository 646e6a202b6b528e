//! Task executors of both kinds in one cluster.

use slot_manager::TaskExecutorGateway;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, SlotAnswer};

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
