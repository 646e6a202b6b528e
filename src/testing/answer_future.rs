//! The answer to one slot request: a future, and the responder that completes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::lock;
use crate::error::SlotAllocationError;
use crate::message::Acknowledge;

pub(super) type Answer = Result<Acknowledge, SlotAllocationError>;

/// The future that [`request_slot`](crate::TaskExecutorGateway::request_slot) of the doubles
/// returns.
///
/// It is ready once, when the answer arrives. Polled again after that, it stays pending.
///
/// [`ScriptedGateway`](super::ScriptedGateway) and [`SimulatedGateway`](super::SimulatedGateway)
/// share this type. Boxed as `Box<dyn TaskExecutorGateway<RequestSlotFuture = AnswerFuture>>`, one
/// manager can use both.
#[derive(Debug)]
#[must_use = "a future that is dropped gives the attempt up"]
pub struct AnswerFuture {
    shared: Arc<Mutex<SharedAnswer>>,
}

/// The other end of an [`AnswerFuture`]. If it is dropped without an answer, the future stays
/// pending.
#[derive(Debug)]
pub(super) struct Responder {
    shared: Weak<Mutex<SharedAnswer>>,
}

#[derive(Debug, Default)]
struct SharedAnswer {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl AnswerFuture {
    /// Returns a future that is ready.
    pub(super) fn ready(answer: Answer) -> Self {
        let shared = SharedAnswer {
            answer: Some(answer),
            waker: None,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Returns a future that waits for its responder.
    pub(super) fn pending() -> (Responder, Self) {
        let shared = Arc::default();
        let responder = Responder {
            shared: Arc::downgrade(&shared),
        };
        (responder, Self { shared })
    }
}

impl Responder {
    /// Returns `true` until the future is dropped.
    pub(super) fn is_awaited(&self) -> bool {
        self.shared.strong_count() > 0
    }

    /// Completes the future and wakes its task. The caller must hold no lock.
    pub(super) fn respond(self, answer: Answer) {
        let Some(shared) = self.shared.upgrade() else { return };
        let waker = {
            let mut shared = lock(&shared);
            shared.answer = Some(answer);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for AnswerFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        // Cloning and dropping a waker runs foreign code, so both happen without the lock.
        let waker = cx.waker().clone();
        let previous = {
            let mut shared = lock(&self.shared);
            if let Some(answer) = shared.answer.take() {
                return Poll::Ready(answer);
            }
            shared.waker.replace(waker)
        };
        drop(previous);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing::samples::WakeCounter;

    fn acknowledged() -> Answer {
        Ok(Acknowledge::new())
    }

    #[test]
    fn answer_wakes_the_task_and_is_delivered_once() {
        let (responder, mut future) = AnswerFuture::pending();
        let task = WakeCounter::new();
        assert!(future.poll_unpin(&mut task.context()).is_pending());

        responder.respond(acknowledged());
        assert_eq!(task.count(), 1);
        assert_eq!((&mut future).now_or_never(), Some(acknowledged()));
        assert_eq!(future.now_or_never(), None, "an answer is delivered once");
    }

    #[test]
    fn answer_given_before_the_first_poll_is_kept() {
        let (responder, future) = AnswerFuture::pending();
        responder.respond(acknowledged());
        assert_eq!(future.now_or_never(), Some(acknowledged()));
        assert_eq!(AnswerFuture::ready(acknowledged()).now_or_never(), Some(acknowledged()));
    }

    #[test]
    fn lost_answer_leaves_the_future_pending() {
        let (responder, future) = AnswerFuture::pending();
        drop(responder);
        assert_eq!(future.now_or_never(), None);
    }

    #[test]
    fn answer_to_a_dropped_future_wakes_no_task() {
        let (responder, mut future) = AnswerFuture::pending();
        let task = WakeCounter::new();
        assert!(future.poll_unpin(&mut task.context()).is_pending());
        assert!(responder.is_awaited());

        drop(future);
        assert!(!responder.is_awaited());
        responder.respond(acknowledged());
        assert_eq!(task.count(), 0);
    }
}
