//! The cluster, as the web server sees it.

use std::sync::Arc;

use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::{
    ResourceId, ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, TokioScheduledExecutor,
};
use tokio::sync::watch;

use super::error::ApiError;
use crate::election::Leader;
use crate::protocol::Epoch;
use crate::resource_manager::handle::{Handle, Published, Unanswered};
use crate::resource_manager::{Actions, Gateway};

/// The way to a slot manager. Tests have one with doubles.
pub trait Cluster: Clone + Send + Sync + 'static {
    type Actions: ResourceManagerActions + 'static;
    type Gateway: TaskExecutorGateway + 'static;
    type Executor: ScheduledExecutor + 'static;

    /// Asks the owner of the slot manager, or gives an order of an operator.
    fn question<R, Q>(&self, question: Q) -> impl Future<Output = Result<R, Unanswered>> + Send
    where
        R: Send + 'static,
        Q: FnOnce(&mut SlotManager<Self::Actions, Self::Gateway, Self::Executor>) -> R + Send + 'static;

    /// Returns the present leadership of this process.
    fn epoch(&self) -> Option<Epoch>;

    /// Returns the leader that this process knows.
    fn leader(&self) -> Option<Leader>;

    /// Returns a receiver of the published numbers.
    fn watch(&self) -> watch::Receiver<Arc<Published>>;

    /// Returns the last published numbers.
    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.watch().borrow())
    }

    /// Asks a question. A process that does not lead answers with the leader.
    fn ask<R, Q>(&self, question: Q) -> impl Future<Output = Result<R, ApiError>> + Send
    where
        R: Send + 'static,
        Q: FnOnce(&mut SlotManager<Self::Actions, Self::Gateway, Self::Executor>) -> R + Send + 'static,
    {
        async {
            self.question(question)
                .await
                .map_err(|unanswered| self.explain(unanswered))
        }
    }

    /// Blocks a worker.
    fn block(&self, worker: ResourceId) -> impl Future<Output = Result<BlockOutcome, Unanswered>> + Send {
        self.question(move |manager| manager.block(&worker))
    }

    /// Blocks a worker, and stops it once it is idle. Returns `false` if it was drained before.
    fn drain(&self, worker: ResourceId) -> impl Future<Output = Result<bool, Unanswered>> + Send;

    /// Unblocks a worker.
    fn unblock(&self, worker: ResourceId) -> impl Future<Output = Result<UnblockOutcome, Unanswered>> + Send {
        self.question(move |manager| manager.unblock(&worker))
    }

    /// Returns the error of a question without an answer.
    fn explain(&self, unanswered: Unanswered) -> ApiError {
        match unanswered {
            Unanswered::NotLeading => self.not_leading(),
            Unanswered::Busy => ApiError::Busy,
        }
    }

    fn not_leading(&self) -> ApiError {
        ApiError::NotLeading(self.leader())
    }
}

impl Cluster for Handle {
    type Actions = Actions;
    type Gateway = Gateway;
    type Executor = TokioScheduledExecutor;

    async fn question<R, Q>(&self, question: Q) -> Result<R, Unanswered>
    where
        R: Send + 'static,
        Q: FnOnce(&mut SlotManager<Actions, Gateway, TokioScheduledExecutor>) -> R + Send + 'static,
    {
        Handle::ask(self, question).await
    }

    async fn block(&self, worker: ResourceId) -> Result<BlockOutcome, Unanswered> {
        Handle::block(self, worker).await
    }

    async fn drain(&self, worker: ResourceId) -> Result<bool, Unanswered> {
        Handle::drain(self, worker).await
    }

    async fn unblock(&self, worker: ResourceId) -> Result<UnblockOutcome, Unanswered> {
        Handle::unblock(self, worker).await
    }

    fn epoch(&self) -> Option<Epoch> {
        Handle::epoch(self)
    }

    fn leader(&self) -> Option<Leader> {
        Handle::leader(self)
    }

    fn watch(&self) -> watch::Receiver<Arc<Published>> {
        Handle::watch(self)
    }

    fn published(&self) -> Arc<Published> {
        Handle::published(self)
    }
}
