//! Provisioners: they start workers, and stop those that are not needed.
//!
//! A provisioner is one task. It gets [`Order`]s, and reports [`News`] to the resource manager. The
//! workers outlive it: the provisioner of the next leader finds them.

mod command;
mod local;
mod naming;
mod options;
mod settings;
mod slurm;
#[cfg(test)]
mod tests_support;

use std::collections::BTreeMap;
use std::time::Duration;

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use self::naming::parse_cluster;
pub use self::options::Options;
pub use self::settings::Settings;

use self::command::worker_command;
use crate::protocol::Epoch;

/// An order to a provisioner.
#[derive(Debug, Clone)]
pub enum Order {
    /// Start a worker. It names the worker request when it registers.
    Start {
        worker_request: WorkerRequestId,
        worker: WorkerDescription,
    },
    /// Do not start this worker, or stop it. Until the answer comes it is not registered. The answer
    /// is [`News::Failed`], or [`News::Comes`] if it is too late.
    Withdraw(WorkerRequestId),
    /// A worker has been told to stop. Stop it by force after the grace period.
    Stop(ResourceId),
    /// A leadership begins: report the workers that run or start, also those of former leaders.
    ///
    /// It lasts until `end` is cancelled. From then on the provisioner does nothing more for it.
    Recover { epoch: Epoch, end: CancellationToken },
}

/// News of a provisioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A worker will not come, or has ended without an order to stop. It may have registered before.
    Failed {
        worker_request: WorkerRequestId,
        cause: String,
    },
    /// It is too late to withdraw this worker.
    Comes(WorkerRequestId),
    /// The workers that run or start, by their worker requests: the answer to [`Order::Recover`]. A
    /// provisioner that cannot know them does not answer.
    Known(BTreeMap<WorkerRequestId, ResourceId>),
}

/// The kinds of provisioners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Workers are started by hand.
    None,
    /// Processes on this machine.
    Local,
    /// Jobs of Slurm.
    Slurm,
}

/// Starts a provisioner. Its news name the leadership that they are for. It ends when `stop` is
/// cancelled or nobody can send orders; its workers do not.
pub fn start(
    kind: Kind,
    settings: Settings,
    orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<(Epoch, News)>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    // On a thread of its own: it writes records and reads /proc, and a disk can be slow.
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let serve = async {
            match kind {
                // Nobody takes orders: worker requests are declined.
                Kind::None => {}
                Kind::Local => serve(local::Local::new(settings), orders, news).await,
                Kind::Slurm => serve(slurm::Slurm::new(settings), orders, news).await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve => {}
            }
        });
    })
}

/// A way to start and stop workers, such as an engine that runs jobs or pods.
///
/// One task makes all calls, one after the other. Each call adds its news to a list, and has a time
/// limit of its own: the next call waits for it. An error never ends the provisioner.
///
/// # For another engine
///
/// An engine keeps an object for each worker: a process, a job, a pod. The rules for it:
///
/// - **Name.** The object has the name of [`naming::name`] and runs [`worker_command`], so that the
///   worker registers for its worker request. By this name every later leader finds it. The object
///   is not started again when it ends: nobody would have asked for that worker.
/// - **State.** What must outlive this process is in the engine. Several resource managers have a
///   provisioner, and only that of the leader gets orders.
/// - **Order.** [`look`](Self::look) compares the objects with the engine, in one call for all of
///   them. An engine that does not answer says nothing about workers, so there is no news.
/// - **News.** A worker that will not come, or that ended without an order, is [`News::Failed`]
///   once. A worker that was told to stop is none.
/// - **Restraint.** The slot manager limits how often it asks after failures. An engine with a queue
///   needs limits of its own, as [`slurm`] has them.
///
/// On Kubernetes the object would be a pod with `restartPolicy: Never` and a label for the cluster.
/// `look` would list the pods by that label. `withdraw` would delete a pod that is `Pending`, with
/// its resource version as the precondition.
trait Provisioner: Send {
    /// The time between two calls of [`look`](Self::look).
    fn period(&self) -> Duration;

    /// Starts a worker, or keeps the order until the engine has room. An order that is known changes
    /// nothing.
    fn start(
        &mut self,
        worker_request: WorkerRequestId,
        worker: WorkerDescription,
        news: &mut Vec<News>,
    ) -> impl Future<Output = ()> + Send;

    /// Gives up a worker that is not needed. It is [`News::Failed`] once it is sure that it does not
    /// come. Where the engine can tell, a worker that runs is left alone and [`News::Comes`]: the
    /// slot manager uses or releases it.
    fn withdraw(&mut self, worker_request: WorkerRequestId, news: &mut Vec<News>) -> impl Future<Output = ()> + Send;

    /// Ends a worker that the leader has told to stop, once the grace period is over. A second order
    /// for it changes nothing. Workers of another origin are left alone.
    fn stop(&mut self, resource_id: &ResourceId) -> impl Future<Output = ()> + Send;

    /// Finds the workers of former leaders, and reports them with [`News::Known`]. If the
    /// engine does not answer, `look` tries again. Orders that former leaders gave are over: the new
    /// one asks for what it needs, so workers that have not begun are withdrawn.
    fn recover(&mut self, news: &mut Vec<News>) -> impl Future<Output = ()> + Send;

    /// Drops all orders: a leadership has ended. The workers are left to the next one, which may use
    /// those that this one did not need.
    fn suspend(&mut self);

    /// Looks at the workers, and does what is due.
    fn look(&mut self, news: &mut Vec<News>) -> impl Future<Output = ()> + Send;
}

/// The leadership that a provisioner serves.
struct Term {
    epoch: Epoch,
    end: CancellationToken,
}

async fn serve(
    mut provisioner: impl Provisioner,
    mut orders: mpsc::Receiver<Order>,
    sender: mpsc::Sender<(Epoch, News)>,
) {
    let mut ticks = interval(provisioner.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut term: Option<Term> = None;
    let mut news = Vec::new();
    loop {
        tokio::select! {
            biased;
            // Before the orders: those that wait are of the leadership that has ended.
            () = end_of(term.as_ref()) => {
                term = None;
                provisioner.suspend();
            }
            order = orders.recv() => match order {
                Some(order) => obey(&mut provisioner, &mut term, order, &mut news).await,
                None => return,
            },
            _ = ticks.tick() => provisioner.look(&mut news).await,
        }
        let present = term.as_ref().filter(|term| !term.end.is_cancelled());
        // Without a leadership they are dropped: the next one asks which workers there are.
        for item in news.drain(..) {
            if let Some(term) = present
                && sender.send((term.epoch, item)).await.is_err()
            {
                return;
            }
        }
    }
}

/// Waits for the end of the leadership, if there is one.
async fn end_of(term: Option<&Term>) {
    match term {
        Some(term) => term.end.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn obey(provisioner: &mut impl Provisioner, term: &mut Option<Term>, order: Order, news: &mut Vec<News>) {
    match order {
        Order::Recover { epoch, end } => {
            *term = Some(Term { epoch, end });
            provisioner.recover(news).await;
        }
        _ if term.is_none() => debug!(?order, "an order of a leadership that has ended is dropped"),
        Order::Start { worker_request, worker } => provisioner.start(worker_request, worker, news).await,
        Order::Withdraw(worker_request) => provisioner.withdraw(worker_request, news).await,
        Order::Stop(resource_id) => provisioner.stop(&resource_id).await,
    }
}

/// Returns the news of the workers that run or start.
fn known<'a>(cluster: &str, worker_requests: impl Iterator<Item = &'a WorkerRequestId>) -> News {
    let worker = |id: &WorkerRequestId| (*id, ResourceId::new(naming::name(cluster, *id)));
    News::Known(worker_requests.map(worker).collect())
}

/// Returns the news of a worker that will not come.
fn failed(worker_request: WorkerRequestId, cause: impl Into<String>) -> News {
    let cause = cause.into();
    News::Failed { worker_request, cause }
}
