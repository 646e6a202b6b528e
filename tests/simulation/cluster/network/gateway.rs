//! The manager's gateway to a simulated task executor: over the network, or with an answer within
//! the call.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::channel::oneshot;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{
    Acknowledge, AllocateSlot, AttemptId, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, SlotAnswer,
};
use slot_manager::testing::{GatewayCall, ManualScheduledExecutor, SimulatedTaskExecutor};
use slot_manager::{ResourceId, ScheduledExecutor, TaskExecutorGateway};

use crate::cluster::call_log::{CallAnswer, CallLog};
use crate::cluster::parties::immediate_answers::ImmediateAnswers;
use crate::cluster::parties::task_executors::Temper;

pub(crate) type Answer = Result<Acknowledge, SlotAllocationError>;

/// A message of a gateway in the current call, for the cluster to carry.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Request(AllocateSlot, Reply),
    Free(FreeSlot),
    FreeInactive(ResourceId, FreeInactiveSlots),
    /// The task executor has answered within the call.
    Handled(AllocateSlot, Answer),
}

/// The messages that the cluster has not carried yet. Clones share one list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Rc<RefCell<Vec<Outgoing>>>);

impl Outbox {
    pub(crate) fn take(&self) -> Vec<Outgoing> {
        self.0.take()
    }
}

/// The way back for an answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) attempt_id: AttemptId,
    pub(crate) way: ReplyWay,
}

#[derive(Clone)]
pub(crate) enum ReplyWay {
    /// Clones lead to one future, which takes the first answer.
    Future(Rc<Cell<Option<oneshot::Sender<Answer>>>>),
    /// Each answer is an input of the manager.
    Input,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply to {}", self.attempt_id.number)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct NetworkGateway {
    pub(crate) executor: SimulatedTaskExecutor,
    pub(crate) clock: ManualScheduledExecutor,
    pub(crate) log: CallLog,
    pub(crate) answers: ImmediateAnswers,
    pub(crate) outbox: Outbox,
    /// Whether the task executor answers within the call.
    pub(crate) answers_in_call: Rc<Cell<bool>>,
    pub(crate) temper: Rc<Cell<Temper>>,
    /// Whether its other answers are inputs. Otherwise they complete futures.
    pub(crate) answers_are_inputs: bool,
    pub(crate) revisions: bool,
}

/// More messages than any call of the manager sends, unless it never ends.
const MOST_OUTGOING: usize = 10_000;

impl TaskExecutorGateway for NetworkGateway {
    type RequestSlotFuture = AnswerFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<AnswerFuture> {
        self.log
            .record(GatewayCall::RequestSlot(request.clone()), CallAnswer::Nothing);
        let mut sent = self.outbox.0.borrow_mut();
        assert!(sent.len() < MOST_OUTGOING, "a call of the manager does not end");
        let attempt_id = request.attempt_id();
        if self.answers_in_call.get() && self.temper.get() != Temper::Silent {
            let failure = self.answers.failure_of(self.temper.get(), request);
            let answer = match failure {
                Some(failure) => Err(failure),
                None => handle(&self.executor, request, self.clock.now(), self.revisions),
            };
            sent.push(Outgoing::Handled(request.clone(), answer.clone()));
            if self.answers_are_inputs {
                return SlotAnswer::Ready(answer);
            }
            let (sender, future) = oneshot::channel();
            let _ = sender.send(answer);
            return SlotAnswer::Future(AnswerFuture(future));
        }
        if self.answers_are_inputs {
            let way = ReplyWay::Input;
            sent.push(Outgoing::Request(request.clone(), Reply { attempt_id, way }));
            return SlotAnswer::Later;
        }
        let (sender, future) = oneshot::channel();
        let way = ReplyWay::Future(Rc::new(Cell::new(Some(sender))));
        sent.push(Outgoing::Request(request.clone(), Reply { attempt_id, way }));
        SlotAnswer::Future(AnswerFuture(future))
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        self.log
            .record(GatewayCall::FreeSlot(request.clone()), CallAnswer::Nothing);
        self.outbox.0.borrow_mut().push(Outgoing::Free(request.clone()));
    }

    fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) {
        self.log
            .record(GatewayCall::FreeInactiveSlots(*request), CallAnswer::Nothing);
        let outgoing = Outgoing::FreeInactive(self.executor.resource_id(), *request);
        self.outbox.0.borrow_mut().push(outgoing);
    }

    fn can_be_released(&mut self, question: &ReleaseCheck) -> ReleaseDecision {
        let answer = self.answers.answer_release_check();
        self.log
            .record(GatewayCall::CanBeReleased(*question), CallAnswer::ReleaseCheck(answer));
        answer
    }
}

/// Lets a task executor answer. Without revisions the answer has none.
pub(crate) fn handle(
    executor: &SimulatedTaskExecutor,
    request: &AllocateSlot,
    now: slot_manager::Timestamp,
    revisions: bool,
) -> Answer {
    let answer = executor.handle_request_slot(request, now);
    if revisions {
        answer
    } else {
        answer.map(|_| Acknowledge::new())
    }
}

/// The future of an answer. It never ends if the answer is lost.
#[derive(Debug)]
pub(crate) struct AnswerFuture(oneshot::Receiver<Answer>);

impl Future for AnswerFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            Poll::Ready(Err(oneshot::Canceled)) | Poll::Pending => Poll::Pending,
        }
    }
}
