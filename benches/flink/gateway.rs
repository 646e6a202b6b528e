//! Task executors of both kinds in one cluster.

use futures::future::Either;
use slot_manager::TaskExecutorGateway;
use slot_manager::message::AllocateSlot;

use crate::outside::{Awaited, Patient, Prompt};

/// A task executor that acknowledges at once or on demand.
pub(crate) enum PromptOrPatient {
    Prompt(Prompt),
    Patient(Patient),
}

impl TaskExecutorGateway for PromptOrPatient {
    type RequestSlotFuture = Either<<Prompt as TaskExecutorGateway>::RequestSlotFuture, Awaited>;

    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
        match self {
            Self::Prompt(gateway) => Either::Left(gateway.request_slot(request)),
            Self::Patient(gateway) => Either::Right(gateway.request_slot(request)),
        }
    }
}
