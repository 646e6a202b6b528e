//! What other parts of the process see of the resource manager.

use std::sync::Arc;
use std::time::Duration;

use slot_manager::ResourceId;
use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::overview::Overview;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::Manager;
use super::mailbox::{Envelope, Input};
use crate::election::{Election, Leader};
use crate::protocol::Epoch;

/// The numbers that the owner publishes several times a second, also while it does not lead.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The time of the publication; `None` before the first.
    pub at: Option<Instant>,
    /// The present leadership of this process.
    pub epoch: Option<Epoch>,
    pub overview: Overview,
    /// Grows with each change of the slot manager.
    pub changes: u64,
    /// The inputs that wait in the mailbox.
    pub waiting_inputs: usize,
    /// The sessions of job masters.
    pub job_masters: usize,
}

/// The most questions that wait in the mailbox, which peers share.
pub(super) const QUESTIONS: usize = 8;

/// The time within which a question must be answered.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The reason why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("this resource manager does not lead")]
    NotLeading,
    /// The question may still be handled.
    #[error("this resource manager is busy and has not answered in time; an order may still be carried out")]
    Busy,
}

/// The way to the task that owns the slot manager.
#[derive(Clone)]
pub struct Handle {
    pub(super) mailbox: mpsc::Sender<Envelope>,
    pub(super) election: Election,
    pub(super) published: watch::Receiver<Arc<Published>>,
    pub(super) questions: Arc<Semaphore>,
}

impl Handle {
    /// Asks the owner of the slot manager, or gives an order of an operator.
    ///
    /// Ask for a page at a time: the owner does nothing else until the question returns.
    ///
    /// # Errors
    /// This process does not lead, or the owner is too busy to answer in a few seconds.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Manager) -> R + Send + 'static,
    ) -> Result<R, Unanswered> {
        let answered = timeout(ANSWER_TIME, self.ask_for_long(question));
        answered.await.unwrap_or(Err(Unanswered::Busy))
    }

    async fn ask_for_long<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Manager) -> R + Send + 'static,
    ) -> Result<R, Unanswered> {
        let place = Arc::clone(&self.questions).acquire_owned().await;
        let epoch = self.epoch().ok_or(Unanswered::NotLeading)?;
        let (answer, answered) = oneshot::channel();
        let input = Input::Query(Box::new(move |manager| {
            // Only now, also if nobody waits any more: until then it is in the mailbox.
            drop(place);
            // The asker may have gone.
            let _ = answer.send(question(manager));
        }));
        let envelope = Envelope { epoch, input };
        self.mailbox.send(envelope).await.map_err(|_| Unanswered::NotLeading)?;
        answered.await.map_err(|_| Unanswered::NotLeading)
    }

    /// Blocks a worker. It stays blocked in the next leadership of this process.
    pub async fn block(&self, resource_id: ResourceId) -> Result<BlockOutcome, Unanswered> {
        self.ask(move |manager| manager.block(&resource_id)).await
    }

    /// Blocks a worker, and stops it as soon as none of its slots is used. Returns `false` if it was
    /// drained before.
    pub async fn drain(&self, resource_id: ResourceId) -> Result<bool, Unanswered> {
        self.ask(move |manager| {
            let _: BlockOutcome = manager.block(&resource_id);
            let actions = manager.actions_mut();
            actions.is_some_and(|actions| actions.drained.insert(resource_id))
        })
        .await
    }

    /// Takes a block or a drain back, also for the next leadership of this process.
    pub async fn unblock(&self, resource_id: ResourceId) -> Result<UnblockOutcome, Unanswered> {
        self.ask(move |manager| {
            if let Some(actions) = manager.actions_mut() {
                actions.drained.remove(&resource_id);
            }
            manager.unblock(&resource_id)
        })
        .await
    }

    /// Returns the present leadership of this process.
    pub fn epoch(&self) -> Option<Epoch> {
        self.election.ours.borrow().map(|leadership| leadership.epoch)
    }

    /// Returns the leader that this process knows.
    pub fn leader(&self) -> Option<Leader> {
        self.election.leader.borrow().clone()
    }

    /// Returns the last numbers.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// Returns a receiver that sees all later numbers.
    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::election::Leadership;

    #[tokio::test(start_paused = true)]
    async fn questions_have_a_bound_and_a_deadline() {
        let (mailbox, inputs) = mpsc::channel(1_000);
        let ours = Leadership {
            epoch: Epoch(1),
            until: Some(Instant::now()),
        };
        let handle = Handle {
            mailbox,
            election: Election {
                ours: watch::channel(Some(ours)).1,
                leader: watch::channel(None).1,
            },
            published: watch::channel(Arc::default()).1,
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        };
        for _ in 0..2 {
            let answers = join_all((0..100).map(|_| handle.ask(|_| ()))).await;
            assert!(answers.iter().all(|answer| *answer == Err(Unanswered::Busy)));
            assert_eq!(inputs.len(), QUESTIONS);
        }
        // They are handled, or dropped with their leadership.
        drop(inputs);
        assert_eq!(handle.ask(|_| ()).await, Err(Unanswered::NotLeading));
    }
}
