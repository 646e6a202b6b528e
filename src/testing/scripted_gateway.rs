//! A task executor without slots: a gateway that answers from a script.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::effect_log::Recorder;
use super::{Effect, EffectLog, lock};
use crate::message::{
    Acknowledge, AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, ReleaseResource, SlotAnswer,
    SlotResult,
};
use crate::task_executor::{AnswerSender, PendingAnswer};
use crate::{AllocationId, SlotId, TaskExecutorGateway};

/// A recorded call of [`TaskExecutorGateway`] about its slots.
///
/// `Display` writes it in one line, without the leader and the target address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayCall {
    /// A call of [`request_slot`](TaskExecutorGateway::request_slot).
    RequestSlot(AllocateSlot),
    /// A call of [`free_slot`](TaskExecutorGateway::free_slot).
    FreeSlot(FreeSlot),
    /// A call of [`free_inactive_slots`](TaskExecutorGateway::free_inactive_slots).
    FreeInactiveSlots(FreeInactiveSlots),
    /// A call of [`can_be_released`](TaskExecutorGateway::can_be_released).
    CanBeReleased(ReleaseCheck),
}

impl GatewayCall {
    /// Returns the slot of the message; `None` for a message about several or no slots.
    pub fn slot_id(&self) -> Option<&SlotId> {
        match self {
            Self::RequestSlot(request) => Some(&request.slot_id),
            Self::FreeSlot(request) => Some(&request.slot_id),
            Self::FreeInactiveSlots(_) | Self::CanBeReleased(_) => None,
        }
    }

    /// Returns the allocation of the message; `None` for a message about several or none.
    pub fn allocation_id(&self) -> Option<AllocationId> {
        match self {
            Self::RequestSlot(request) => Some(request.allocation_id),
            Self::FreeSlot(request) => Some(request.allocation_id),
            Self::FreeInactiveSlots(_) | Self::CanBeReleased(_) => None,
        }
    }

    /// Returns the attempt that is made or given up; `None` for a release check.
    pub fn attempt(&self) -> Option<u64> {
        match self {
            Self::RequestSlot(request) => Some(request.attempt),
            Self::FreeSlot(request) => Some(request.attempt),
            Self::FreeInactiveSlots(request) => Some(request.attempt),
            Self::CanBeReleased(_) => None,
        }
    }
}

impl fmt::Display for GatewayCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestSlot(request) => write!(
                f,
                "request_slot({}, {}, {}, {}, {}, attempt {})",
                request.slot_id,
                request.job_id,
                request.allocation_id,
                request.resource_profile,
                request.instance_id,
                request.attempt
            ),
            Self::FreeSlot(request) => write!(
                f,
                "free_slot({}, {}, {}, {}, attempt {})",
                request.slot_id, request.job_id, request.allocation_id, request.instance_id, request.attempt
            ),
            Self::FreeInactiveSlots(request) => write!(
                f,
                "free_inactive_slots({}, {}, attempt {})",
                request.job_id, request.instance_id, request.attempt
            ),
            Self::CanBeReleased(check) => {
                write!(f, "can_be_released({}, check {})", check.instance_id, check.number)
            }
        }
    }
}

/// The way in which a [`ScriptedGateway`] answers a slot request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayAnswer {
    /// The answer is [ready](SlotAnswer::Ready) within the call.
    AtOnce(SlotResult),
    /// The answer is a [future](SlotAnswer::Future), which is pending until
    /// [`ScriptedGateway::answer`] is called for the attempt.
    ByHand,
    /// The answer comes [later](SlotAnswer::Later). The test passes it to
    /// [`answer_slot_request`](crate::SlotManager::answer_slot_request).
    Later,
}

impl From<SlotResult> for GatewayAnswer {
    fn from(answer: SlotResult) -> Self {
        Self::AtOnce(answer)
    }
}

/// No request of this attempt waits for an answer: it was never made, was answered, or was given
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no slot request of attempt {attempt} waits for an answer")]
pub struct NotPending {
    /// The attempt of the refused answer.
    pub attempt: u64,
}

/// A [`TaskExecutorGateway`] that records its calls in order and answers from a script.
///
/// Without a script, it acknowledges every slot request at once, without a revision, and answers
/// every release check with [`ReleaseDecision::Release`]. It has no slots and follows no rules of a
/// task executor: use [`SimulatedTaskExecutor`](super::SimulatedTaskExecutor) for that.
///
/// Clones share the record and the script: give one clone to the manager and keep another.
///
/// ```
/// use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::message::Acknowledge;
/// use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
/// };
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// let gateway = ScriptedGateway::new();
/// gateway.answer_requests(GatewayAnswer::ByHand);
/// let slot_id = SlotId::new("tm", 0);
/// let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), ResourceProfile::ANY)]);
/// let connection = TaskExecutorConnection::new("tm", InstanceId::from_u128(1), gateway.clone());
/// let registered = manager.register_task_manager(connection, &report)?;
/// assert_eq!(registered, RegistrationOutcome::Registered);
///
/// let (job, allocation) = (JobId::from_u128(7), AllocationId::from_u128(1));
/// let request = SlotRequest::new(job, allocation, ResourceProfile::ZERO, "job-master");
/// let outcome = manager.register_slot_request(request)?;
/// let status = AllocationStatus::InFlight { slot_id: slot_id.clone() };
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(status));
///
/// let attempt = gateway.pending()[0].attempt;
/// gateway.answer(attempt, Ok(Acknowledge::new()))?;
/// manager.run_until_stalled();
/// assert_eq!(manager.allocation_status(allocation), Some(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScriptedGateway {
    script: Arc<Mutex<GatewayScript>>,
    recorder: Recorder,
}

/// The answers that are used up one by one, those given when none is left, and unanswered requests.
#[derive(Debug)]
struct GatewayScript {
    is_registered: bool,
    stop: Option<ReleaseResource>,
    answer: GatewayAnswer,
    next_answers: VecDeque<GatewayAnswer>,
    release_answer: ReleaseDecision,
    next_release_answers: VecDeque<ReleaseDecision>,
    /// In the order of the calls. Requests whose future was dropped are removed when the list is
    /// full.
    unanswered: Vec<(AllocateSlot, AnswerSender)>,
}

impl ScriptedGateway {
    /// Creates a gateway with a record of its own.
    pub fn new() -> Self {
        Self::with_log(&EffectLog::new())
    }

    /// Creates a gateway that records into `log`, together with other doubles.
    pub fn with_log(log: &EffectLog) -> Self {
        let script = GatewayScript {
            is_registered: false,
            stop: None,
            answer: GatewayAnswer::AtOnce(Ok(Acknowledge::new())),
            next_answers: VecDeque::new(),
            release_answer: ReleaseDecision::Release,
            next_release_answers: VecDeque::new(),
            unanswered: Vec::new(),
        };
        Self {
            script: Arc::new(Mutex::new(script)),
            recorder: Recorder::new(log),
        }
    }

    /// Returns `true` once the manager has
    /// [confirmed the registration](TaskExecutorGateway::confirm_registration). That call is not
    /// in the record.
    pub fn is_registered(&self) -> bool {
        lock(&self.script).is_registered
    }

    /// Returns the message of [`stop`](TaskExecutorGateway::stop), once the manager has called it.
    /// That call is not in the record.
    pub fn stop_message(&self) -> Option<ReleaseResource> {
        lock(&self.script).stop.clone()
    }

    /// Takes the recorded calls, in order. The record is empty afterwards.
    pub fn take_calls(&self) -> Vec<GatewayCall> {
        self.recorder
            .take()
            .filter_map(|effect| match effect {
                Effect::Gateway(call) => Some(call),
                Effect::Action(_) => None,
            })
            .collect()
    }

    /// Sets the answer to every slot request from now on.
    ///
    /// Answers from [`answer_next`](Self::answer_next) are used up first.
    pub fn answer_requests(&self, answer: impl Into<GatewayAnswer>) {
        lock(&self.script).answer = answer.into();
    }

    /// Adds an answer to one slot request. Several are used up in the order in which they were
    /// added.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::error::SlotAllocationError;
    /// use slot_manager::testing::{GatewayAnswer, ScriptedGateway};
    ///
    /// let gateway = ScriptedGateway::new();
    /// // The first request is refused, all others wait for `answer`.
    /// gateway.answer_next(Err(SlotAllocationError::rejected("no disk left")));
    /// gateway.answer_requests(GatewayAnswer::ByHand);
    /// ```
    pub fn answer_next(&self, answer: impl Into<GatewayAnswer>) {
        lock(&self.script).next_answers.push_back(answer.into());
    }

    /// Sets the answer to every release check from now on.
    ///
    /// Answers from [`answer_next_release_check`](Self::answer_next_release_check) are used up
    /// first.
    pub fn answer_release_checks(&self, answer: ReleaseDecision) {
        lock(&self.script).release_answer = answer;
    }

    /// Adds an answer to one release check. Several are used up in the order in which they were
    /// added.
    pub fn answer_next_release_check(&self, answer: ReleaseDecision) {
        lock(&self.script).next_release_answers.push_back(answer);
    }

    /// Returns the requests that wait for an [answer](Self::answer) by hand, in the order of the
    /// calls.
    ///
    /// Requests whose future was dropped are not among them.
    ///
    /// Cost: O(unanswered requests).
    pub fn pending(&self) -> Vec<AllocateSlot> {
        let script = lock(&self.script);
        let awaited = script.unanswered.iter().filter(|(_, sender)| sender.is_awaited());
        awaited.map(|(request, _)| request.clone()).collect()
    }

    /// Answers the oldest [pending](Self::pending) request of this attempt and wakes the task that
    /// polls it.
    ///
    /// Cost: O(unanswered requests).
    ///
    /// # Errors
    /// [`NotPending`] if no request of this attempt is pending. Nothing changes.
    pub fn answer(&self, attempt: u64, answer: SlotResult) -> Result<(), NotPending> {
        let sender = lock(&self.script).take_unanswered(attempt);
        sender.ok_or(NotPending { attempt })?.send(answer);
        Ok(())
    }
}

impl GatewayScript {
    /// Adds a request that waits for its answer.
    fn answer_by_hand(&mut self, request: AllocateSlot) -> PendingAnswer {
        let (sender, future) = PendingAnswer::new();
        if self.unanswered.len() == self.unanswered.capacity() {
            self.unanswered.retain(|(_, sender)| sender.is_awaited());
        }
        self.unanswered.push((request, sender));
        future
    }

    /// Takes the sender of the oldest pending request of an attempt.
    fn take_unanswered(&mut self, attempt: u64) -> Option<AnswerSender> {
        let position = self
            .unanswered
            .iter()
            .position(|(request, sender)| request.attempt == attempt && sender.is_awaited())?;
        let (_, sender) = self.unanswered.remove(position);
        Some(sender)
    }
}

impl Default for ScriptedGateway {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskExecutorGateway for ScriptedGateway {
    type RequestSlotFuture = PendingAnswer;

    fn confirm_registration(&mut self) {
        lock(&self.script).is_registered = true;
    }

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<PendingAnswer> {
        self.recorder.record(GatewayCall::RequestSlot(request.clone()));
        let mut script = lock(&self.script);
        let scripted = script.next_answers.pop_front();
        match scripted.unwrap_or_else(|| script.answer.clone()) {
            GatewayAnswer::AtOnce(answer) => SlotAnswer::Ready(answer),
            GatewayAnswer::ByHand => SlotAnswer::Future(script.answer_by_hand(request.clone())),
            GatewayAnswer::Later => SlotAnswer::Later,
        }
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        self.recorder.record(GatewayCall::FreeSlot(request.clone()));
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        self.recorder.record(GatewayCall::FreeInactiveSlots(*request));
    }

    fn can_be_released(&mut self, check: &ReleaseCheck) -> ReleaseDecision {
        self.recorder.record(GatewayCall::CanBeReleased(*check));
        let mut script = lock(&self.script);
        let scripted = script.next_release_answers.pop_front();
        scripted.unwrap_or(script.release_answer)
    }

    fn stop(&mut self, release: &ReleaseResource) {
        lock(&self.script).stop = Some(release.clone());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::error::SlotAllocationError;
    use crate::testing::samples::{
        ALLOCATION, INSTANCE, JOB, OTHER_ALLOCATION, WakeCounter, free_slot, release_check, request_slot,
    };

    fn refused() -> SlotResult {
        Err(SlotAllocationError::rejected("not today"))
    }

    fn attempt(gateway: &ScriptedGateway, attempt: u64) -> SlotAnswer<PendingAnswer> {
        gateway.clone().request_slot(&request_slot(0, ALLOCATION, attempt))
    }

    /// Makes an attempt that is answered within the call.
    #[track_caller]
    fn answered(gateway: &ScriptedGateway, number: u64) -> SlotResult {
        match attempt(gateway, number) {
            SlotAnswer::Ready(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// Makes an attempt that is answered by hand.
    #[track_caller]
    fn by_hand(gateway: &ScriptedGateway, number: u64) -> PendingAnswer {
        match attempt(gateway, number) {
            SlotAnswer::Future(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_are_recorded_in_order() {
        let gateway = ScriptedGateway::new();
        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(0, OTHER_ALLOCATION, 1));
        let mut of_manager = gateway.clone();
        of_manager.free_slot(&free);
        drop(of_manager.request_slot(&request));
        assert_eq!(of_manager.can_be_released(&release_check(1)), ReleaseDecision::Release);

        assert_eq!(
            gateway.take_calls(),
            [
                GatewayCall::FreeSlot(free),
                GatewayCall::RequestSlot(request),
                GatewayCall::CanBeReleased(release_check(1)),
            ]
        );
        assert_eq!(gateway.take_calls(), []);
    }

    #[test]
    fn call_names_its_slot_allocation_and_attempt() {
        let calls = [
            GatewayCall::RequestSlot(request_slot(1, ALLOCATION, 3)),
            GatewayCall::FreeSlot(free_slot(1, ALLOCATION, 3)),
        ];
        for call in calls {
            assert_eq!(call.slot_id().map(ToString::to_string).as_deref(), Some("tm_1"));
            assert_eq!((call.allocation_id(), call.attempt()), (Some(ALLOCATION), Some(3)));
        }
    }

    #[test]
    fn without_a_script_requests_are_acknowledged_at_once() {
        let gateway = ScriptedGateway::new();
        assert_eq!(answered(&gateway, 1), Ok(Acknowledge::new()));

        gateway.answer_requests(refused());
        assert_eq!(answered(&gateway, 2), refused());
        assert_eq!(answered(&gateway, 3), refused());
        assert_eq!(gateway.pending(), []);
    }

    #[test]
    fn scripted_answers_are_used_up_first_and_in_order() {
        let gateway = ScriptedGateway::new();
        gateway.answer_next(refused());
        gateway.answer_next(GatewayAnswer::ByHand);
        gateway.answer_next(Ok(Acknowledge::new().with_revision(7)));
        gateway.answer_next(GatewayAnswer::Later);

        assert_eq!(answered(&gateway, 1), refused());
        assert_eq!(by_hand(&gateway, 2).now_or_never(), None);
        assert_eq!(answered(&gateway, 3), Ok(Acknowledge::new().with_revision(7)));
        assert!(matches!(attempt(&gateway, 4), SlotAnswer::Later));
        assert_eq!(answered(&gateway, 5), Ok(Acknowledge::new()));
    }

    #[test]
    fn scripted_decisions_are_used_up_first_and_in_order() {
        let gateway = ScriptedGateway::new();
        gateway.answer_next_release_check(ReleaseDecision::Later);
        gateway.answer_next_release_check(ReleaseDecision::Keep);
        let decide = |number| gateway.clone().can_be_released(&release_check(number));
        let decisions = [1, 2, 3].map(decide);
        assert_eq!(
            decisions,
            [ReleaseDecision::Later, ReleaseDecision::Keep, ReleaseDecision::Release]
        );

        gateway.answer_release_checks(ReleaseDecision::Keep);
        assert_eq!(decide(4), ReleaseDecision::Keep);
    }

    #[test]
    fn requests_are_answered_by_hand_in_any_order() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        let mut first = by_hand(&gateway, 1);
        let mut second = by_hand(&gateway, 2);
        let task = WakeCounter::new();
        assert!(first.poll_unpin(&mut task.context()).is_pending());
        assert!(second.poll_unpin(&mut task.context()).is_pending());
        assert_eq!(
            gateway.pending(),
            [request_slot(0, ALLOCATION, 1), request_slot(0, ALLOCATION, 2)]
        );

        assert_eq!(gateway.answer(2, refused()), Ok(()));
        assert_eq!(task.count(), 1);
        assert_eq!(second.now_or_never(), Some(refused()));
        assert_eq!((&mut first).now_or_never(), None);
        assert_eq!(gateway.pending(), [request_slot(0, ALLOCATION, 1)]);

        assert_eq!(gateway.answer(1, Ok(Acknowledge::new())), Ok(()));
        assert_eq!(first.now_or_never(), Some(Ok(Acknowledge::new())));
        assert_eq!(gateway.pending(), []);
    }

    #[test]
    fn only_a_pending_request_can_be_answered() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        let _answered = by_hand(&gateway, 1);
        let dropped = by_hand(&gateway, 2);
        assert_eq!(gateway.answer(1, refused()), Ok(()));
        drop(dropped);
        assert_eq!(gateway.pending(), []);

        for attempt in [1, 2, 3] {
            assert_eq!(gateway.answer(attempt, refused()), Err(NotPending { attempt }));
        }
    }

    #[test]
    fn answer_goes_to_the_request_whose_future_is_alive() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        drop(by_hand(&gateway, 1));
        let now = by_hand(&gateway, 1);

        assert_eq!(gateway.answer(1, refused()), Ok(()));
        assert_eq!(now.now_or_never(), Some(refused()));
    }

    #[test]
    fn requests_given_up_do_not_accumulate() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        let _kept = by_hand(&gateway, 0);
        for number in 1..1000 {
            drop(by_hand(&gateway, number));
        }
        assert_eq!(gateway.pending(), [request_slot(0, ALLOCATION, 0)]);
        assert!(lock(&gateway.script).unanswered.len() < 10);
    }

    #[test]
    fn call_is_written_in_one_line() {
        let call = GatewayCall::FreeSlot(free_slot(2, ALLOCATION, 9));
        assert_eq!(
            call.to_string(),
            format!("free_slot(tm_2, {JOB}, {ALLOCATION}, {INSTANCE}, attempt 9)")
        );
    }
}
