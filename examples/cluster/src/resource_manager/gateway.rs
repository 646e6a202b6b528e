//! The gateway to one task executor: messages in the outbox of its session.

use slot_manager::TaskExecutorGateway;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AllocateSlot, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, SlotAnswer};

use super::outbox::Outbox;
use crate::protocol::v1;
use crate::protocol::v1::to_task_executor::Message;

impl From<Message> for v1::ToTaskExecutor {
    fn from(message: Message) -> Self {
        Self { message: Some(message) }
    }
}

/// The way to one task executor. Its answers come through the mailbox.
pub struct Gateway(pub(super) Outbox<v1::ToTaskExecutor>);

impl TaskExecutorGateway for Gateway {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        match self.0.send(Message::AllocateSlot(request.into())) {
            true => SlotAnswer::Later,
            false => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("its session has ended"))),
        }
    }

    /// A message that is lost ends the session: the next registration reports the slot.
    fn free_slot(&mut self, request: &FreeSlot) {
        self.0.send(Message::FreeSlot(request.into()));
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        match self
            .0
            .send(Message::ReleaseCheck(v1::ReleaseCheck { check: check.number }))
        {
            true => ReleaseDecision::Later,
            false => ReleaseDecision::Keep,
        }
    }
}
