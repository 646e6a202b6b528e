//! A gateway over a channel of tokio.

use tokio::sync::mpsc;

use super::TaskExecutorMessage;
use crate::TaskExecutorGateway;
use crate::error::SlotAllocationError;
use crate::message::{
    AllocateSlot, FreeInactiveSlots, FreeSlot, NoFuture, ReleaseCheck, ReleaseDecision, ReleaseResource, SlotAnswer,
};

/// Returns a gateway, and the receiver of the messages that the manager sends through it.
///
/// Give the gateway to the manager in a [`TaskExecutorConnection`](crate::TaskExecutorConnection).
/// The receiver belongs to the task that owns the connection to the task executor, or to the task
/// executor itself. The messages arrive in the order of the calls. The receiver ends with the
/// registration: when the task manager is released, replaced or unregistered, or the manager is
/// suspended.
///
/// A worker that is released gets [`Stop`](TaskExecutorMessage::Stop) as its last message. Every
/// other worker whose receiver ends registers again. If the service does not tell it of the end, it
/// sends its next heartbeat: its report is [`Unknown`](crate::outcome::ReportOutcome::Unknown).
///
/// All answers are inputs of the manager. Send them back through one mailbox, in the order in which
/// the task executor made them:
///
/// | message | answer | input |
/// |---|---|---|
/// | [`AllocateSlot`](TaskExecutorMessage::AllocateSlot) | always | [`answer_slot_request`](crate::SlotManager::answer_slot_request) |
/// | [`FreeSlot`](TaskExecutorMessage::FreeSlot) | if a slot was freed | [`slot_freed`](crate::SlotManager::slot_freed) |
/// | [`FreeInactiveSlots`](TaskExecutorMessage::FreeInactiveSlots) | for each freed slot | [`slot_freed`](crate::SlotManager::slot_freed) |
/// | [`CheckRelease`](TaskExecutorMessage::CheckRelease) | always | [`answer_release`](crate::SlotManager::answer_release) |
///
/// # A peer that does not read
///
/// The channel is unbounded. A call of the manager cannot wait for room, and a lost [`FreeSlot`]
/// would leave a slot held. So the task that owns the connection must notice a peer that does not
/// read. It limits the time of each write, or the
/// [length](mpsc::UnboundedReceiver::len) of the channel. Then it tells the service, which
/// [unregisters](crate::SlotManager::unregister_task_manager) the task manager. That drops the
/// gateway and all requests to it go elsewhere.
///
/// If that task ends first, slot requests fail at once and the gateway
/// [is closed](ChannelGateway::is_closed). The service sees it through
/// [`SlotManager::gateway`](crate::SlotManager::gateway) or
/// [`gateway_mut`](crate::SlotManager::gateway_mut), for example at each check of heartbeats.
///
/// # Example
///
/// A request, a free and a release, between a service and a task executor with a
/// [`TaskSlotTable`](super::TaskSlotTable):
///
/// ```
/// use std::time::Duration;
///
/// use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision, SlotFreed, SlotResult};
/// use slot_manager::outcome::{
///     AllocationStatus, RegistrationOutcome, ReleaseAnswerOutcome, SlotAnswerOutcome, SlotFreedOutcome,
///     SlotRequestOutcome,
/// };
/// use slot_manager::task_executor::{TaskExecutorMessage, TaskSlotTable, channel_gateway};
/// use slot_manager::testing::RecordingActions;
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, ScheduledExecutor, SlotId, SlotManager,
///     SlotManagerConfig, SlotRequest, TaskExecutorConnection, Timestamp, TokioScheduledExecutor,
/// };
/// use tokio::sync::mpsc;
///
/// /// A message of the task executor to the service.
/// enum Reply {
///     Answered(AttemptId, SlotResult),
///     Freed(SlotFreed),
///     Decided(ReleaseCheck, ReleaseDecision),
/// }
///
/// /// The task executor. It owns its table, so its replies leave in the order of the changes.
/// async fn run_task_executor(
///     mut table: TaskSlotTable,
///     mut messages: mpsc::UnboundedReceiver<TaskExecutorMessage>,
///     mut work: mpsc::Receiver<AllocationId>,
///     replies: mpsc::Sender<Reply>,
/// ) -> Result<(), mpsc::error::SendError<Reply>> {
///     let mut clock = TokioScheduledExecutor::new();
///     loop {
///         let timeout = clock.delay_until(table.next_timeout().unwrap_or(Timestamp::MAX));
///         tokio::select! {
///             message = messages.recv() => match message {
///                 Some(TaskExecutorMessage::AllocateSlot(request)) => {
///                     let result = table.request_slot(&request, clock.now());
///                     replies.send(Reply::Answered(request.attempt_id(), result)).await?;
///                 }
///                 Some(TaskExecutorMessage::FreeSlot(request)) => {
///                     if let Some(freed) = table.free_slot(&request) {
///                         replies.send(Reply::Freed(freed)).await?;
///                     }
///                 }
///                 Some(TaskExecutorMessage::FreeInactiveSlots(request)) => {
///                     for freed in table.free_inactive_slots(&request) {
///                         replies.send(Reply::Freed(freed)).await?;
///                     }
///                 }
///                 Some(TaskExecutorMessage::CheckRelease(check)) => {
///                     let decision = table.can_be_released(&check);
///                     replies.send(Reply::Decided(check, decision)).await?;
///                 }
///                 // A message of a later version of the crate.
///                 Some(_) => {}
///                 // The registration has ended.
///                 None => return Ok(()),
///             },
///             // A job sends its work. Here the work is over at once, and gives the slot back.
///             Some(allocation_id) = work.recv() => match table.activate(allocation_id) {
///                 Some(_) => for freed in table.free(allocation_id) {
///                     replies.send(Reply::Freed(freed)).await?;
///                 },
///                 None => println!("work refused: allocation {allocation_id} holds no slot"),
///             },
///             () = timeout => for freed in table.expire(clock.now()) {
///                 replies.send(Reply::Freed(freed)).await?;
///             },
///         }
///     }
/// }
///
/// // The paused clock of tokio moves to the next deadline at once.
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = SlotManagerConfig::default().with_task_manager_timeout(Duration::from_secs(30));
///     let mut manager = SlotManager::new(config, TokioScheduledExecutor::new())?;
///     let (leader_id, instance_id) = (LeaderId::from_u128(1), InstanceId::from_u128(1));
///     manager.start(leader_id, RecordingActions::new())?;
///
///     let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
///     let mut table = TaskSlotTable::new("worker-1", [profile.clone()]);
///     table.connect(leader_id, instance_id);
///     let (gateway, messages) = channel_gateway();
///     let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
///     let registered = manager.register_task_manager(connection, &table.report())?;
///     assert_eq!(registered, RegistrationOutcome::Registered);
///     let (mailbox, mut replies) = mpsc::channel(100);
///     let (job, work) = mpsc::channel(100);
///     let task_executor = tokio::spawn(run_task_executor(table, messages, work, mailbox));
///
///     let slot_id = SlotId::new("worker-1", 0);
///     let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
///     let outcome = manager.register_slot_request(request)?;
///     assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::InFlight { slot_id }));
///     loop {
///         tokio::select! {
///             biased;
///             _ = manager.progress() => {}
///             reply = replies.recv() => match reply {
///                 Some(Reply::Answered(attempt_id, result)) => {
///                     assert_eq!(manager.answer_slot_request(attempt_id, result), SlotAnswerOutcome::Applied);
///                     // The actions tell the job. It sends its work to the task executor.
///                     job.send(attempt_id.allocation_id).await?;
///                 }
///                 Some(Reply::Freed(freed)) => {
///                     assert_eq!(manager.slot_freed(&freed), SlotFreedOutcome::Freed);
///                 }
///                 Some(Reply::Decided(check, decision)) => {
///                     // Once it is idle for 30 seconds, the task executor is released.
///                     assert_eq!(manager.answer_release(&check, decision), ReleaseAnswerOutcome::Released);
///                 }
///                 // The task executor has ended.
///                 None => break,
///             },
///         }
///     }
///     task_executor.await?.map_err(|_| "the service has ended")?;
///     assert_eq!(manager.task_managers().count(), 0);
///     Ok(())
/// }
/// ```
#[must_use]
pub fn channel_gateway() -> (ChannelGateway, mpsc::UnboundedReceiver<TaskExecutorMessage>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (ChannelGateway { messages: sender }, receiver)
}

/// The gateway of [`channel_gateway`]: it sends each call of the manager as a message.
///
/// While the receiver exists, slot requests are answered
/// [later](SlotAnswer::Later), and so are release checks. Once it is gone:
///
/// - A slot request fails as [`Unreachable`](SlotAllocationError::Unreachable).
/// - A free is logged and dropped. The task executor's own timeout for unused slots frees the slot.
/// - A release check is answered with [`Keep`](ReleaseDecision::Keep). The end of a connection does
///   not show that the process has ended. It may register again at this moment, or still serve
///   results to jobs. Unregister the task manager instead, which needs no decision.
///
/// ```
/// use slot_manager::message::{ReleaseCheck, ReleaseDecision};
/// use slot_manager::task_executor::{TaskExecutorMessage, channel_gateway};
/// use slot_manager::{InstanceId, LeaderId, TaskExecutorGateway};
///
/// let (mut gateway, mut messages) = channel_gateway();
/// let check = ReleaseCheck { instance_id: InstanceId::from_u128(1), leader_id: LeaderId::from_u128(1), number: 1 };
/// assert_eq!(gateway.can_be_released(&check), ReleaseDecision::Later);
/// assert_eq!(messages.try_recv(), Ok(TaskExecutorMessage::CheckRelease(check)));
///
/// drop(messages);
/// assert!(gateway.is_closed());
/// assert_eq!(gateway.can_be_released(&check), ReleaseDecision::Keep);
/// ```
#[derive(Debug)]
pub struct ChannelGateway {
    messages: mpsc::UnboundedSender<TaskExecutorMessage>,
}

impl ChannelGateway {
    /// Returns `true` if the receiver is gone. No message reaches the task executor any more:
    /// [unregister](crate::SlotManager::unregister_task_manager) it.
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }
}

impl TaskExecutorGateway for ChannelGateway {
    type RequestSlotFuture = NoFuture;

    fn confirm_registration(&mut self) {
        // If the task executor is gone, its service unregisters it.
        let _ = self.messages.send(TaskExecutorMessage::Registered);
    }

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        match self.messages.send(TaskExecutorMessage::AllocateSlot(request.clone())) {
            Ok(()) => SlotAnswer::Later,
            Err(_) => SlotAnswer::Ready(Err(SlotAllocationError::unreachable("the connection is closed"))),
        }
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        if self
            .messages
            .send(TaskExecutorMessage::FreeSlot(request.clone()))
            .is_err()
        {
            let FreeSlot {
                slot_id,
                allocation_id,
                instance_id,
                attempt,
                ..
            } = request;
            tracing::warn!(%slot_id, %allocation_id, %instance_id, attempt, "free not sent: the connection is closed");
        }
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        if self
            .messages
            .send(TaskExecutorMessage::FreeInactiveSlots(*request))
            .is_err()
        {
            let FreeInactiveSlots {
                job_id, instance_id, ..
            } = request;
            tracing::warn!(%job_id, %instance_id, "free of inactive slots not sent: the connection is closed");
        }
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        match self.messages.send(TaskExecutorMessage::CheckRelease(*check)) {
            Ok(()) => ReleaseDecision::Later,
            Err(_) => ReleaseDecision::Keep,
        }
    }

    fn stop(&mut self, release: &ReleaseResource) {
        // If the task executor is gone, it has stopped already.
        let _ = self.messages.send(TaskExecutorMessage::Stop(release.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples::{ALLOCATION, free_inactive_slots, free_slot, release, release_check, request_slot};

    #[test]
    fn messages_arrive_in_the_order_of_the_calls() {
        // given
        let (mut gateway, mut messages) = channel_gateway();
        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(0, ALLOCATION, 1));

        // when
        gateway.confirm_registration();
        let answer = gateway.request_slot(&request);
        gateway.free_slot(&free);
        gateway.free_inactive_slots(&free_inactive_slots(1));
        let decision = gateway.can_be_released(&release_check(1));
        gateway.stop(&release());

        // then
        assert!(matches!(answer, SlotAnswer::Later));
        assert_eq!(decision, ReleaseDecision::Later);
        let mut next = || messages.try_recv().ok();
        assert_eq!(next(), Some(TaskExecutorMessage::Registered));
        assert_eq!(next(), Some(TaskExecutorMessage::AllocateSlot(request)));
        assert_eq!(next(), Some(TaskExecutorMessage::FreeSlot(free)));
        let inactive = TaskExecutorMessage::FreeInactiveSlots(free_inactive_slots(1));
        assert_eq!(next(), Some(inactive));
        assert_eq!(next(), Some(TaskExecutorMessage::CheckRelease(release_check(1))));
        assert_eq!(next(), Some(TaskExecutorMessage::Stop(release())));
        assert_eq!(next(), None);
    }

    #[test]
    fn gateway_without_a_receiver_answers_at_once() {
        // given
        let (mut gateway, messages) = channel_gateway();
        assert!(!gateway.is_closed());

        // when
        drop(messages);

        // then
        assert!(gateway.is_closed());
        let answer = gateway.request_slot(&request_slot(0, ALLOCATION, 1));
        let SlotAnswer::Ready(Err(error)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(error, SlotAllocationError::unreachable("the connection is closed"));
        gateway.free_slot(&free_slot(0, ALLOCATION, 1));
        gateway.free_inactive_slots(&free_inactive_slots(1));
        assert_eq!(gateway.can_be_released(&release_check(1)), ReleaseDecision::Keep);
    }

    #[test]
    fn receiver_ends_with_the_gateway() {
        // given
        let (mut gateway, mut messages) = channel_gateway();
        gateway.free_slot(&free_slot(0, ALLOCATION, 1));

        // when
        drop(gateway);

        // then: a message that was sent still arrives
        assert!(messages.try_recv().is_ok());
        assert_eq!(messages.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
