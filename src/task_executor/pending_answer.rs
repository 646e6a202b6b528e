//! The answer to one slot request as a future, and its sender.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;

use crate::error::SlotAllocationError;
use crate::message::SlotResult;

/// The future of an answer to a slot request, for gateways that answer by
/// [`SlotAnswer::Future`](crate::message::SlotAnswer::Future).
///
/// The gateway returns the future and keeps its [`AnswerSender`] until the answer arrives. If the
/// sender is dropped, the answer is [`Unreachable`](SlotAllocationError::Unreachable), so a closed
/// connection fails its attempts at once. Do not poll the future again after it was ready.
///
/// With futures, an answer can overtake a report. Let all messages of the task executor carry
/// revisions, as those of a [`TaskSlotTable`](super::TaskSlotTable) do.
///
/// # Example
///
/// ```
/// use std::collections::HashMap;
///
/// use slot_manager::message::{Acknowledge, AllocateSlot, AttemptId, FreeSlot, SlotAnswer, SlotResult};
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotRequestOutcome};
/// use slot_manager::task_executor::{AnswerSender, PendingAnswer};
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TaskExecutorGateway,
/// };
///
/// /// A connection with a stream of requests and a stream of answers.
/// #[derive(Default)]
/// struct Connection {
///     awaited: HashMap<AttemptId, AnswerSender>,
/// }
///
/// impl Connection {
///     /// Handles an answer that has arrived.
///     fn answered(&mut self, attempt_id: AttemptId, result: SlotResult) {
///         if let Some(sender) = self.awaited.remove(&attempt_id) {
///             sender.send(result);
///         }
///     }
/// }
///
/// impl TaskExecutorGateway for Connection {
///     type RequestSlotFuture = PendingAnswer;
///
///     fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<PendingAnswer> {
///         // The answers to attempts that were given up may never arrive.
///         self.awaited.retain(|_, sender| sender.is_awaited());
///         let (sender, answer) = PendingAnswer::new();
///         self.awaited.insert(request.attempt_id(), sender);
///         // Here the request is written to the stream.
///         SlotAnswer::Future(answer)
///     }
///
///     fn free_slot(&mut self, request: &FreeSlot) {
///         // Here the request is written to the stream.
///         let _ = request;
///     }
/// }
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// let leader_id = LeaderId::from_u128(1);
/// manager.start(leader_id, RecordingActions::new())?;
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
/// let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]).with_revision(0);
/// let connection = TaskExecutorConnection::new("worker-1", instance_id, Connection::default());
/// assert_eq!(manager.register_task_manager(connection, &report)?, RegistrationOutcome::Registered);
///
/// let allocation_id = AllocationId::from_u128(1);
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
/// let in_flight = AllocationStatus::InFlight { slot_id: slot_id.clone() };
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(in_flight));
///
/// // The answer arrives.
/// let attempt_id = AttemptId { leader_id, allocation_id, number: 1 };
/// let connection = manager.gateway_mut(instance_id).ok_or("not registered")?;
/// connection.answered(attempt_id, Ok(Acknowledge::new().with_revision(1)));
/// assert_eq!(manager.run_until_stalled(), 1);
/// assert_eq!(manager.allocation_status(allocation_id), Some(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping the future gives the answer up"]
pub struct PendingAnswer {
    result: oneshot::Receiver<SlotResult>,
}

/// The sender of the answer that a [`PendingAnswer`] waits for.
///
/// ```
/// use futures::FutureExt;
/// use slot_manager::error::SlotAllocationError;
/// use slot_manager::task_executor::PendingAnswer;
///
/// let (sender, answer) = PendingAnswer::new();
/// sender.send(Err(SlotAllocationError::rejected("the disk is full")));
/// assert_eq!(answer.now_or_never(), Some(Err(SlotAllocationError::rejected("the disk is full"))));
///
/// // The connection is closed, which drops the sender.
/// let (sender, answer) = PendingAnswer::new();
/// drop(sender);
/// assert!(matches!(answer.now_or_never(), Some(Err(SlotAllocationError::Unreachable { .. }))));
/// ```
#[derive(Debug)]
#[must_use = "dropping the sender answers that the task executor is unreachable"]
pub struct AnswerSender {
    result: oneshot::Sender<SlotResult>,
}

impl PendingAnswer {
    /// Returns a future that waits, and the sender that completes it.
    pub fn new() -> (AnswerSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (AnswerSender { result: sender }, Self { result: receiver })
    }
}

impl AnswerSender {
    /// Completes the future and wakes the task that polls it.
    ///
    /// If the future was dropped, nothing happens: the manager has given the attempt up and told
    /// the task executor to free the slot.
    pub fn send(self, result: SlotResult) {
        // Without a receiver, no party needs the result.
        let _ = self.result.send(result);
    }

    /// Returns `true` until the future is dropped.
    ///
    /// A collection of senders should drop those whose future is gone: their answers may never
    /// arrive.
    pub fn is_awaited(&self) -> bool {
        !self.result.is_canceled()
    }
}

impl Future for PendingAnswer {
    type Output = SlotResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<SlotResult> {
        let result = Pin::new(&mut self.result).poll(context);
        result.map(|received| {
            received.unwrap_or_else(|oneshot::Canceled| Err(SlotAllocationError::unreachable("the answer was lost")))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::message::Acknowledge;
    use crate::testing::samples::WakeCounter;

    fn acknowledged() -> SlotResult {
        Ok(Acknowledge::new())
    }

    #[test]
    fn answer_wakes_the_task_and_completes_the_future() {
        // given
        let (sender, mut answer) = PendingAnswer::new();
        let task = WakeCounter::new();
        assert!(answer.poll_unpin(&mut task.context()).is_pending());

        // when
        sender.send(acknowledged());

        // then
        assert_eq!(task.count(), 1);
        assert_eq!(answer.now_or_never(), Some(acknowledged()));
    }

    #[test]
    fn answer_sent_before_the_first_poll_is_kept() {
        let (sender, answer) = PendingAnswer::new();
        sender.send(acknowledged());
        assert_eq!(answer.now_or_never(), Some(acknowledged()));
    }

    #[test]
    fn dropped_sender_wakes_the_task_with_unreachable() {
        // given
        let (sender, mut answer) = PendingAnswer::new();
        let task = WakeCounter::new();
        assert!(answer.poll_unpin(&mut task.context()).is_pending());

        // when
        drop(sender);

        // then
        assert_eq!(task.count(), 1);
        let unreachable = SlotAllocationError::unreachable("the answer was lost");
        assert_eq!(answer.now_or_never(), Some(Err(unreachable)));
    }

    #[test]
    fn answer_to_a_dropped_future_wakes_no_task() {
        // given
        let (sender, mut answer) = PendingAnswer::new();
        let task = WakeCounter::new();
        assert!(answer.poll_unpin(&mut task.context()).is_pending());
        assert!(sender.is_awaited());

        // when
        drop(answer);

        // then
        assert!(!sender.is_awaited());
        sender.send(acknowledged());
        assert_eq!(task.count(), 0);
    }
}
