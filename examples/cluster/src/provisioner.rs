//! Provisioners: they start workers, and stop those that are not needed.
//!
//! A provisioner is one task. It gets [`Order`]s, and reports [`News`] to the resource manager. The
//! workers outlive it: the provisioner of the next leader finds them.

mod command;
mod local;
mod naming;
mod none;
mod slurm;
#[cfg(test)]
mod tests_support;

use std::path::PathBuf;
use std::time::Duration;

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// An order to a provisioner.
#[derive(Debug, Clone)]
pub enum Order {
    /// Start a worker. It names the worker request when it registers.
    Start {
        worker_request: WorkerRequestId,
        worker: WorkerDescription,
    },
    /// Do not start this worker, or stop it if it has not registered. The answer is
    /// [`News::Failed`], unless the worker comes all the same.
    Withdraw(WorkerRequestId),
    /// A worker that was released has been told to stop. See to it that it does.
    Stop(ResourceId),
    /// Report the workers that run or start, also those of former leaders.
    Recover,
}

/// News of a provisioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A worker will not come, or has ended without an order to stop. It may have registered before.
    Failed {
        worker_request: WorkerRequestId,
        cause: String,
    },
    /// The number of workers that run or start: the answer to [`Order::Recover`]. A provisioner
    /// that cannot know it does not answer.
    Known(usize),
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

/// The settings of all provisioners.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the cluster. Workers are found again by it.
    pub cluster: String,
    /// The addresses of the resource managers that workers dial.
    pub resource_managers: Vec<String>,
    /// The binary of the workers. `None` is that of this process.
    pub program: Option<PathBuf>,
    /// More arguments for each worker.
    pub worker_arguments: Vec<String>,
    /// The folder of the workers' logs. With Slurm all machines share it.
    pub log_folder: PathBuf,
    /// The folder in which local workers are remembered. All resource managers of a cluster on one
    /// machine share it.
    pub state_folder: PathBuf,
    pub slurm: SlurmSettings,
    /// The time that a worker gets to do as it is told, before it is stopped by force.
    pub grace: Duration,
}

/// The settings of Slurm.
#[derive(Debug, Clone)]
pub struct SlurmSettings {
    pub sbatch: PathBuf,
    pub squeue: PathBuf,
    pub scancel: PathBuf,
    pub partition: Option<String>,
    /// The most jobs of this cluster that wait in Slurm's queue. Other orders wait here.
    pub max_queued: usize,
    /// More arguments for `sbatch`, such as `--time=60`.
    pub arguments: Vec<String>,
    /// The time between two looks at Slurm's queue.
    pub poll_interval: Duration,
    /// The first pause after a failure. It doubles with each failure that follows.
    pub first_backoff: Duration,
}

impl Default for SlurmSettings {
    fn default() -> Self {
        Self {
            sbatch: "sbatch".into(),
            squeue: "squeue".into(),
            scancel: "scancel".into(),
            partition: None,
            max_queued: 4,
            arguments: Vec::new(),
            poll_interval: Duration::from_secs(1),
            first_backoff: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// Creates settings with a folder for logs and state.
    pub fn new(cluster: impl Into<String>, resource_managers: Vec<String>, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            cluster: cluster.into(),
            resource_managers,
            program: None,
            worker_arguments: Vec::new(),
            log_folder: folder.join("logs"),
            state_folder: folder.join("workers"),
            slurm: SlurmSettings::default(),
            grace: Duration::from_secs(10),
        }
    }
}

/// Starts a provisioner. It ends when `stop` is cancelled or nobody can send orders; its workers do
/// not.
pub fn start(
    kind: Kind,
    settings: Settings,
    orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let serve = async {
            match kind {
                Kind::None => serve(none::None, orders, news).await,
                Kind::Local => serve(local::Local::new(settings), orders, news).await,
                Kind::Slurm => serve(slurm::Slurm::new(settings), orders, news).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve => {}
        }
    })
}

/// What a provisioner does. Each call adds its news to a list.
trait Provisioner: Send {
    /// The time between two calls of [`look`](Provisioner::look).
    fn period(&self) -> Duration;

    fn obey(&mut self, order: Order, news: &mut Vec<News>) -> impl Future<Output = ()> + Send;

    /// Looks at the workers, and does what is due.
    fn look(&mut self, news: &mut Vec<News>) -> impl Future<Output = ()> + Send;
}

async fn serve(mut provisioner: impl Provisioner, mut orders: mpsc::Receiver<Order>, sender: mpsc::Sender<News>) {
    let mut ticks = interval(provisioner.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = Vec::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => provisioner.obey(order, &mut news).await,
                None => return,
            },
            _ = ticks.tick() => provisioner.look(&mut news).await,
        }
        for item in news.drain(..) {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    }
}

/// Returns the news of a worker that will not come.
fn failed(worker_request: WorkerRequestId, cause: impl Into<String>) -> News {
    let cause = cause.into();
    News::Failed { worker_request, cause }
}
