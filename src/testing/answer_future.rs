//! One answer to a slot request, on its way from whoever gives it to the future that waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::lock;
use crate::{Acknowledge, SlotAllocationError};

pub(super) type Answer = Result<Acknowledge, SlotAllocationError>;

/// What [`request_slot`](crate::TaskExecutorGateway::request_slot) of the doubles returns.
///
/// Ready once, when the answer is there; polled again after that it stays pending. The type is the same for
/// [`ScriptedGateway`](super::ScriptedGateway) and [`SimulatedGateway`](super::SimulatedGateway), so boxed as
/// `Box<dyn TaskExecutorGateway<RequestSlotFuture = AnswerFuture>>` they serve side by side.
#[derive(Debug)]
#[must_use = "a future that is dropped gives the attempt up"]
pub struct AnswerFuture {
    cell: Arc<Mutex<Cell>>,
}

/// The other end of an [`AnswerFuture`]. Dropped without an answer it leaves the future pending: the answer is lost.
#[derive(Debug)]
pub(super) struct Reply {
    cell: Weak<Mutex<Cell>>,
}

#[derive(Debug, Default)]
struct Cell {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl AnswerFuture {
    pub(super) fn ready(answer: Answer) -> Self {
        let cell = Cell {
            answer: Some(answer),
            waker: None,
        };
        Self {
            cell: Arc::new(Mutex::new(cell)),
        }
    }

    pub(super) fn pending() -> (Reply, Self) {
        let cell = Arc::default();
        let reply = Reply {
            cell: Arc::downgrade(&cell),
        };
        (reply, Self { cell })
    }
}

impl Reply {
    /// Whether the future has not been dropped.
    pub(super) fn is_awaited(&self) -> bool {
        self.cell.strong_count() > 0
    }

    /// Must be called with no lock held: it wakes the task that waits.
    pub(super) fn give(self, answer: Answer) {
        let Some(cell) = self.cell.upgrade() else { return };
        let waker = {
            let mut cell = lock(&cell);
            cell.answer = Some(answer);
            cell.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for AnswerFuture {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        // Cloning and dropping a waker runs code of others: both happen with the cell unlocked.
        let waker = cx.waker().clone();
        let previous = {
            let mut cell = lock(&self.cell);
            if let Some(answer) = cell.answer.take() {
                return Poll::Ready(answer);
            }
            cell.waker.replace(waker)
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

    fn yes() -> Answer {
        Ok(Acknowledge::new())
    }

    #[test]
    fn a_given_answer_wakes_the_task_and_is_delivered_once() {
        let (reply, mut future) = AnswerFuture::pending();
        let task = WakeCounter::new();
        assert!(future.poll_unpin(&mut task.context()).is_pending());

        reply.give(yes());
        assert_eq!(task.count(), 1);
        assert_eq!((&mut future).now_or_never(), Some(yes()));
        assert_eq!(future.now_or_never(), None, "an answer is not given twice");
    }

    #[test]
    fn an_answer_given_before_the_first_poll_is_kept() {
        let (reply, future) = AnswerFuture::pending();
        reply.give(yes());
        assert_eq!(future.now_or_never(), Some(yes()));
        assert_eq!(AnswerFuture::ready(yes()).now_or_never(), Some(yes()));
    }

    #[test]
    fn a_lost_answer_leaves_the_future_pending() {
        let (reply, future) = AnswerFuture::pending();
        drop(reply);
        assert_eq!(future.now_or_never(), None);
    }

    #[test]
    fn a_dropped_future_is_not_awaited_and_an_answer_to_it_goes_nowhere() {
        let (reply, mut future) = AnswerFuture::pending();
        let task = WakeCounter::new();
        assert!(future.poll_unpin(&mut task.context()).is_pending());
        assert!(reply.is_awaited());

        drop(future);
        assert!(!reply.is_awaited());
        reply.give(yes());
        assert_eq!(task.count(), 0);
    }
}
