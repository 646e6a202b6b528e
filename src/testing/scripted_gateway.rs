//! A task executor of which only the answers exist.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::answer_future::Reply;
use super::effect_log::Recorder;
use super::{AnswerFuture, Effect, EffectLog, lock};
use crate::{
    Acknowledge, AllocateSlot, AllocationId, FreeSlot, ReleaseCheck, ReleaseDecision, SlotAllocationError, SlotId,
    TaskExecutorGateway,
};

/// A call of [`TaskExecutorGateway`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayCall {
    /// [`request_slot`](TaskExecutorGateway::request_slot).
    RequestSlot(AllocateSlot),
    /// [`free_slot`](TaskExecutorGateway::free_slot).
    FreeSlot(FreeSlot),
    /// [`can_be_released`](TaskExecutorGateway::can_be_released).
    CanBeReleased(ReleaseCheck),
}

/// `None` for a question, which is about no slot.
impl GatewayCall {
    /// The slot it is about.
    pub fn slot_id(&self) -> Option<&SlotId> {
        match self {
            Self::RequestSlot(request) => Some(&request.slot_id),
            Self::FreeSlot(request) => Some(&request.slot_id),
            Self::CanBeReleased(_) => None,
        }
    }

    /// The allocation it is about.
    pub fn allocation_id(&self) -> Option<AllocationId> {
        match self {
            Self::RequestSlot(request) => Some(request.allocation_id),
            Self::FreeSlot(request) => Some(request.allocation_id),
            Self::CanBeReleased(_) => None,
        }
    }

    /// The attempt that is made or given up.
    pub fn attempt(&self) -> Option<u64> {
        match self {
            Self::RequestSlot(request) => Some(request.attempt),
            Self::FreeSlot(request) => Some(request.attempt),
            Self::CanBeReleased(_) => None,
        }
    }
}

/// The call in one line, for logs and snapshots. Leader and target address are left out.
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
            Self::CanBeReleased(question) => {
                write!(
                    f,
                    "can_be_released({}, question {})",
                    question.instance_id, question.number
                )
            }
        }
    }
}

/// How a [`ScriptedGateway`] answers a slot request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayAnswer {
    /// With this, ready when the future is first polled.
    AtOnce(Result<Acknowledge, SlotAllocationError>),
    /// Not before [`ScriptedGateway::answer`] is called for it.
    ByHand,
}

impl From<Result<Acknowledge, SlotAllocationError>> for GatewayAnswer {
    fn from(answer: Result<Acknowledge, SlotAllocationError>) -> Self {
        Self::AtOnce(answer)
    }
}

/// No request of this attempt waits for an answer: it was never made, or answered, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no slot request of attempt {attempt} is waiting for its answer")]
pub struct NotPending {
    /// The attempt that was to be answered.
    pub attempt: u64,
}

/// A [`TaskExecutorGateway`] that records every call in order and answers as it is told.
///
/// Until told otherwise it acknowledges every request at once, without a revision, and lets itself be released
/// ([`ReleaseDecision::Release`]). It has no slots and keeps no rules;
/// for that there is [`SimulatedTaskExecutor`](super::SimulatedTaskExecutor). Clones share the record and the answers.
///
/// ```
/// use slot_manager::SlotAllocationError;
/// use slot_manager::testing::{GatewayAnswer, ScriptedGateway};
///
/// let gateway = ScriptedGateway::new();
/// gateway.answer_next(Err(SlotAllocationError::rejected("no disk left"))); // the first request is refused,
/// gateway.answer_requests(GatewayAnswer::ByHand); // all others wait for `gateway.answer(..)`.
/// assert_eq!(gateway.pending(), []);
/// assert_eq!(gateway.take_calls(), []);
/// ```
#[derive(Debug, Clone)]
pub struct ScriptedGateway {
    script: Arc<Mutex<Script>>,
    recorder: Recorder,
}

#[derive(Debug)]
struct Script {
    answer: GatewayAnswer,
    next_answers: VecDeque<GatewayAnswer>,
    release_answer: ReleaseDecision,
    next_release_answers: VecDeque<ReleaseDecision>,
    /// In the order of the calls. Those whose future was dropped are removed now and then.
    unanswered: Vec<(AllocateSlot, Reply)>,
}

impl ScriptedGateway {
    /// A gateway with a record of its own.
    pub fn new() -> Self {
        Self::with_log(&EffectLog::new())
    }

    /// A gateway that records into `log`, together with other doubles.
    pub fn with_log(log: &EffectLog) -> Self {
        let script = Script {
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

    /// Takes all calls recorded here since the last time, in order.
    pub fn take_calls(&self) -> Vec<GatewayCall> {
        self.recorder
            .take()
            .filter_map(|effect| match effect {
                Effect::Gateway(call) => Some(call),
                Effect::Action(_) => None,
            })
            .collect()
    }

    /// Answers requests with `answer` from now on, whenever no [scripted answer](Self::answer_next) is left.
    pub fn answer_requests(&self, answer: impl Into<GatewayAnswer>) {
        lock(&self.script).answer = answer.into();
    }

    /// Answers one request with `answer`: the next one for which no earlier scripted answer is left.
    pub fn answer_next(&self, answer: impl Into<GatewayAnswer>) {
        lock(&self.script).next_answers.push_back(answer.into());
    }

    /// Answers questions whether it can be released with `answer` from now on, whenever no
    /// [scripted answer](Self::answer_next_release_check) is left.
    pub fn answer_release_checks(&self, answer: ReleaseDecision) {
        lock(&self.script).release_answer = answer;
    }

    /// Answers one such question with `answer`: the next one for which no earlier scripted answer is left.
    pub fn answer_next_release_check(&self, answer: ReleaseDecision) {
        lock(&self.script).next_release_answers.push_back(answer);
    }

    /// The requests that wait to be [answered](Self::answer) by hand, in the order of the calls. One whose future was
    /// dropped waits no more.
    pub fn pending(&self) -> Vec<AllocateSlot> {
        let script = lock(&self.script);
        let awaited = script.unanswered.iter().filter(|(_, reply)| reply.is_awaited());
        awaited.map(|(request, _)| request.clone()).collect()
    }

    /// Answers the oldest [pending](Self::pending) request of this attempt and wakes whoever waits for it.
    ///
    /// # Errors
    /// [`NotPending`] if there is none. Nothing happens.
    pub fn answer(&self, attempt: u64, answer: Result<Acknowledge, SlotAllocationError>) -> Result<(), NotPending> {
        let reply = lock(&self.script).take_unanswered(attempt);
        reply.ok_or(NotPending { attempt })?.give(answer);
        Ok(())
    }
}

impl Script {
    fn answer_by_hand(&mut self, request: AllocateSlot) -> AnswerFuture {
        let (reply, future) = AnswerFuture::pending();
        if self.unanswered.len() == self.unanswered.capacity() {
            self.unanswered.retain(|(_, reply)| reply.is_awaited());
        }
        self.unanswered.push((request, reply));
        future
    }

    fn take_unanswered(&mut self, attempt: u64) -> Option<Reply> {
        let position = self
            .unanswered
            .iter()
            .position(|(request, reply)| request.attempt == attempt && reply.is_awaited())?;
        let (_, reply) = self.unanswered.remove(position);
        Some(reply)
    }
}

impl Default for ScriptedGateway {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskExecutorGateway for ScriptedGateway {
    type RequestSlotFuture = AnswerFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> AnswerFuture {
        self.recorder.record(GatewayCall::RequestSlot(request.clone()));
        let mut script = lock(&self.script);
        let scripted = script.next_answers.pop_front();
        match scripted.unwrap_or_else(|| script.answer.clone()) {
            GatewayAnswer::AtOnce(answer) => AnswerFuture::ready(answer),
            GatewayAnswer::ByHand => script.answer_by_hand(request.clone()),
        }
    }

    fn free_slot(&mut self, request: FreeSlot) {
        self.recorder.record(GatewayCall::FreeSlot(request));
    }

    fn can_be_released(&mut self, question: &ReleaseCheck) -> ReleaseDecision {
        self.recorder.record(GatewayCall::CanBeReleased(*question));
        let mut script = lock(&self.script);
        let scripted = script.next_release_answers.pop_front();
        scripted.unwrap_or(script.release_answer)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing::samples::{ALLOCATION, INSTANCE, JOB, OTHER_ALLOCATION, WakeCounter, free_slot, request_slot};

    fn refused() -> Result<Acknowledge, SlotAllocationError> {
        Err(SlotAllocationError::rejected("not today"))
    }

    fn attempt(gateway: &ScriptedGateway, attempt: u64) -> AnswerFuture {
        gateway.clone().request_slot(&request_slot(0, ALLOCATION, attempt))
    }

    #[test]
    fn every_call_is_recorded_in_order() {
        let gateway = ScriptedGateway::new();
        let (request, free) = (request_slot(0, ALLOCATION, 1), free_slot(0, OTHER_ALLOCATION, 1));
        let mut given_away = gateway.clone();
        given_away.free_slot(free.clone());
        drop(given_away.request_slot(&request));

        assert_eq!(
            gateway.take_calls(),
            [GatewayCall::FreeSlot(free), GatewayCall::RequestSlot(request)]
        );
        assert_eq!(gateway.take_calls(), []);
    }

    #[test]
    fn a_call_says_what_it_is_about() {
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
    fn requests_are_acknowledged_at_once_until_told_otherwise() {
        let gateway = ScriptedGateway::new();
        assert_eq!(attempt(&gateway, 1).now_or_never(), Some(Ok(Acknowledge::new())));

        gateway.answer_requests(refused());
        assert_eq!(attempt(&gateway, 2).now_or_never(), Some(refused()));
        assert_eq!(attempt(&gateway, 3).now_or_never(), Some(refused()));
        assert_eq!(gateway.pending(), []);
    }

    #[test]
    fn scripted_answers_are_used_up_first_and_in_order() {
        let gateway = ScriptedGateway::new();
        gateway.answer_next(refused());
        gateway.answer_next(GatewayAnswer::ByHand);
        gateway.answer_next(Ok(Acknowledge::new().with_revision(7)));

        assert_eq!(attempt(&gateway, 1).now_or_never(), Some(refused()));
        assert_eq!(attempt(&gateway, 2).now_or_never(), None);
        assert_eq!(
            attempt(&gateway, 3).now_or_never(),
            Some(Ok(Acknowledge::new().with_revision(7)))
        );
        assert_eq!(attempt(&gateway, 4).now_or_never(), Some(Ok(Acknowledge::new())));
    }

    #[test]
    fn requests_are_answered_by_hand_in_any_order() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        let mut first = attempt(&gateway, 1);
        let mut second = attempt(&gateway, 2);
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
        let _answered = attempt(&gateway, 1);
        let dropped = attempt(&gateway, 2);
        assert_eq!(gateway.answer(1, refused()), Ok(()));
        drop(dropped);
        assert_eq!(gateway.pending(), []);

        for attempt in [1, 2, 3] {
            assert_eq!(gateway.answer(attempt, refused()), Err(NotPending { attempt }));
        }
    }

    #[test]
    fn an_attempt_number_of_an_earlier_leadership_does_not_get_the_answer() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        drop(attempt(&gateway, 1));
        let now = attempt(&gateway, 1);

        assert_eq!(gateway.answer(1, refused()), Ok(()));
        assert_eq!(now.now_or_never(), Some(refused()));
    }

    #[test]
    fn requests_that_were_given_up_do_not_pile_up() {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(GatewayAnswer::ByHand);
        let _kept = attempt(&gateway, 0);
        for number in 1..1000 {
            drop(attempt(&gateway, number));
        }
        assert_eq!(gateway.pending(), [request_slot(0, ALLOCATION, 0)]);
        assert!(lock(&gateway.script).unanswered.len() < 10);
    }

    #[test]
    fn a_call_is_written_in_one_line() {
        let call = GatewayCall::FreeSlot(free_slot(2, ALLOCATION, 9));
        assert_eq!(
            call.to_string(),
            format!("free_slot(tm_2, {JOB}, {ALLOCATION}, {INSTANCE}, attempt 9)")
        );
    }
}
