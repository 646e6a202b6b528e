//! The gateway to one task executor: messages in the outbox of its session.

use slot_manager::TaskExecutorGateway;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{
    AllocateSlot, FreeInactiveSlots, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, ReleaseResource, SlotAnswer,
};
use tonic::Status;

use super::outbox::Outbox;
use crate::protocol::v1;
use crate::protocol::v1::to_task_executor::Message;

impl From<Message> for v1::ToTaskExecutor {
    fn from(message: Message) -> Self {
        Self { message: Some(message) }
    }
}

/// The way to one task executor. Its answers come through the mailbox.
///
/// The session ends with the registration, however that ends. The task executor then registers
/// again, unless it was told to stop.
pub struct Gateway {
    outbox: Outbox<v1::ToTaskExecutor>,
    /// The confirmation of the registration, until it is sent.
    registered: Option<v1::Registered>,
}

impl Gateway {
    pub fn new(outbox: Outbox<v1::ToTaskExecutor>, registered: v1::Registered) -> Self {
        Self {
            outbox,
            registered: Some(registered),
        }
    }

    /// Tells the task executor to stop.
    pub fn tell_to_stop(&self, cause: String) {
        self.outbox.send(Message::Stop(v1::Stop { cause }));
    }

    /// Ends the session.
    pub fn end(&self, cause: Status) {
        self.outbox.end(cause);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The owner ends the session of a registration that was refused: it knows the cause.
        if self.registered.is_none() {
            self.end(Status::aborted("the registration has ended"));
        }
    }
}

impl TaskExecutorGateway for Gateway {
    type RequestSlotFuture = NoFuture;

    fn confirm_registration(&mut self) {
        if let Some(registered) = self.registered.take() {
            self.outbox.send(Message::Registered(registered));
        }
    }

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        match self.outbox.send(Message::AllocateSlot(request.into())) {
            true => SlotAnswer::Later,
            false => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("its session has ended"))),
        }
    }

    /// A message that is lost ends the session: the next registration reports the slot.
    fn free_slot(&mut self, request: &FreeSlot) {
        self.outbox.send(Message::FreeSlot(request.into()));
    }

    /// A message that is lost ends the session: the next registration reports the slots.
    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        self.outbox.send(Message::FreeInactiveSlots(request.into()));
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        match self
            .outbox
            .send(Message::ReleaseCheck(v1::ReleaseCheck { check: check.number }))
        {
            true => ReleaseDecision::Later,
            false => ReleaseDecision::Keep,
        }
    }

    fn stop(&mut self, release: &ReleaseResource) {
        self.tell_to_stop(release.cause.to_string());
    }
}
