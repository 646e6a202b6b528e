//! What other parts of the process see of the resource manager.

use std::sync::Arc;

use slot_manager::ResourceId;
use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::overview::{Counters, Overview};
use tokio::sync::{mpsc, oneshot, watch};

use super::Manager;
use super::mailbox::{Envelope, Input};
use crate::election::{Election, Leader};
use crate::protocol::Epoch;

/// The numbers that the owner publishes several times a second, also while it does not lead.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The present leadership of this process.
    pub epoch: Option<Epoch>,
    pub overview: Overview,
    pub counters: Counters,
    /// Grows with each change of the slot manager.
    pub changes: u64,
    /// The inputs that wait in the mailbox.
    pub waiting_inputs: usize,
    /// The sessions of job masters.
    pub job_masters: usize,
}

/// A question needs the leader, and this process does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this resource manager does not lead")]
pub struct NotLeading;

/// The way to the task that owns the slot manager.
#[derive(Clone)]
pub struct Handle {
    pub(super) mailbox: mpsc::Sender<Envelope>,
    pub(super) election: Election,
    pub(super) published: watch::Receiver<Arc<Published>>,
}

impl Handle {
    /// Asks the owner of the slot manager, or gives an order of an operator.
    ///
    /// Ask for a page at a time: the owner does nothing else until the question returns.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Manager) -> R + Send + 'static,
    ) -> Result<R, NotLeading> {
        let epoch = self.epoch().ok_or(NotLeading)?;
        let (answer, answered) = oneshot::channel();
        let input = Input::Query(Box::new(move |manager| {
            // The asker may have gone.
            let _ = answer.send(question(manager));
        }));
        let envelope = Envelope { epoch, input };
        self.mailbox.send(envelope).await.map_err(|_| NotLeading)?;
        answered.await.map_err(|_| NotLeading)
    }

    /// Blocks a worker. It stays blocked in the next leadership of this process.
    pub async fn block(&self, resource_id: ResourceId) -> Result<BlockOutcome, NotLeading> {
        self.ask(move |manager| manager.block(&resource_id)).await
    }

    /// Blocks a worker, and stops it as soon as none of its slots is used. Returns `false` if it was
    /// drained before.
    pub async fn drain(&self, resource_id: ResourceId) -> Result<bool, NotLeading> {
        self.ask(move |manager| {
            let _: BlockOutcome = manager.block(&resource_id);
            let actions = manager.actions_mut();
            actions.is_some_and(|actions| actions.drained.insert(resource_id))
        })
        .await
    }

    /// Takes a block or a drain back, also for the next leadership of this process.
    pub async fn unblock(&self, resource_id: ResourceId) -> Result<UnblockOutcome, NotLeading> {
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
