//! The job master: the process that runs the tasks of one job in slots of the cluster.
//!
//! One task owns the state of the job, and hears everything through one mailbox.

mod connection;
mod declaration;
mod owner;
mod server;
mod tasks;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use slot_manager::{AllocationId, JobId, ResourceProfile};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::connection::{Connection, News};
use self::owner::Owner;
use self::server::{Offer, SlotOutbox};
use self::tasks::{OfferRefused, Tasks};
use crate::event_log::{Event, EventLog};
use crate::protocol::channel::Dialer;
use crate::protocol::leader::Replicas;
use crate::protocol::listener::listen;
use crate::protocol::profile_text::parse_profile;
use crate::protocol::security::{PEER_OPTIONS, SecurityOptions};
use crate::protocol::{Epoch, limits};

/// The most inputs that wait. A sender waits until there is room.
const MAILBOX: usize = 256;

/// The text in the command that stands for the number of the task.
const TASK: &str = "{task}";

/// The most tasks of a job. Each is kept in memory.
const MOST_TASKS: u64 = 1_000_000;

/// Runs a command as the tasks of a job, each in a slot of the cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The addresses of all resource managers, HOST:PORT,HOST:PORT.
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', required = true)]
    pub resource_managers: Vec<String>,
    /// The address at which task executors offer slots.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// The address by which task executors reach this process, if it is not the one it listens at.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// The id of the job. The default is random.
    #[arg(long)]
    pub job_id: Option<JobId>,
    /// The number of tasks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=MOST_TASKS))]
    pub tasks: u64,
    /// The most tasks that run at a time, each in a slot of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: u32,
    /// Takes a new slot for each task, instead of one task after the other in the same slots.
    #[arg(long)]
    pub slot_per_task: bool,
    /// Declares how many slots the job needs in all, instead of requesting one by one. Of
    /// --parallelism that is half for the first quarter of the tasks, all for the second, a quarter
    /// for the third, and all for the last.
    #[arg(long)]
    pub declare: bool,
    /// The resources of a slot, such as cpu=1,memory=100MiB.
    #[arg(long, default_value = "cpu=1", value_parser = parse_profile)]
    pub profile: ResourceProfile,
    /// The most runs of a task that fails.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// Appends what happens to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    #[command(flatten)]
    pub security: SecurityOptions,
    /// The command of each task. {task} stands for the number of the task.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// What a job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub tasks: u64,
    pub done: u64,
    pub failed: u64,
    pub slots_granted: u64,
    pub slots_lost: u64,
    pub time: Duration,
}

impl Summary {
    /// Returns `true` if each task is done.
    pub fn is_complete(&self) -> bool {
        self.done == self.tasks
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tasks, done, failed, ..
        } = self;
        writeln!(f, "{done} of {tasks} tasks are done, {failed} failed")?;
        writeln!(
            f,
            "{} slots were granted, {} of them lost",
            self.slots_granted, self.slots_lost
        )?;
        write!(f, "it took {:.2} s", self.time.as_secs_f64())
    }
}

/// An input of the owner of the job.
enum Input {
    Manager(News),
    /// A task executor offers a slot. If it is accepted, its end is told once.
    Offered {
        offer: Offer,
        outbox: SlotOutbox,
        answer: oneshot::Sender<Result<(), OfferRefused>>,
    },
    TaskEnded {
        allocation_id: AllocationId,
        task: u64,
        /// `None` if a signal ended the process.
        exit_code: Option<i32>,
    },
    SlotEnded {
        allocation_id: AllocationId,
    },
}

/// Runs the tasks until each is done or has failed, or the job is stopped.
///
/// # Errors
/// The address or the event log cannot be opened, or the server fails. Failed tasks are no error:
/// see [`Summary::is_complete`].
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Summary> {
    let started = Instant::now();
    check_command(&options.command)?;
    let job_id = options.job_id.unwrap_or_else(|| Uuid::new_v4().into());
    let log = match &options.event_log {
        Some(path) => EventLog::open(path, format!("job-master-{job_id}"))
            .with_context(|| format!("{} cannot be opened", path.display()))?,
        None => EventLog::default(),
    };
    let security = options.security.load()?;
    let listener = listen(&options.listen, security.authenticates_peers(), PEER_OPTIONS).await?;
    let address = advertised(&options, &listener)?;
    tracing::info!(%job_id, address, "the job master listens");

    let (inputs, mailbox) = mpsc::channel(MAILBOX);
    let (server_stop, connection_stop) = (CancellationToken::new(), CancellationToken::new());
    // They end if this function returns early.
    let _guards = (server_stop.clone().drop_guard(), connection_stop.clone().drop_guard());
    let mut server = tokio::spawn(server::serve(
        listener,
        job_id,
        inputs.clone(),
        security.clone(),
        server_stop.clone(),
    ));
    let connection = Connection {
        resource_managers: Replicas::new(Dialer::new(&security), options.resource_managers),
        job_id,
        address,
        highest_epoch: Epoch::default(),
        inputs,
    };
    let connection = tokio::spawn(connection.run(connection_stop.clone()));

    let parallelism = usize::try_from(options.parallelism)?;
    let tasks = Tasks::new(options.tasks, parallelism, options.attempts)
        .with_slot_per_task(options.slot_per_task)
        .with_declarations(options.declare);
    let mut owner = Owner::new(job_id, &options.profile, options.command, tasks, log.clone(), mailbox);
    tokio::select! {
        () = owner.run() => {}
        () = stop.cancelled() => tracing::info!("the job is stopped"),
        end = &mut server => {
            end.context("the server has ended")?.context("the server has failed")?;
        }
    }
    owner.close().await;
    log.log(&Event::JobEnded {
        job: job_id.to_string(),
    });
    let summary = owner.summary(started.elapsed());
    connection_stop.cancel();
    // With the owner goes its outbox, so that the connection ends after the last message.
    drop(owner);
    connection.await.context("the connection has failed")?;
    server_stop.cancel();
    Ok(summary)
}

fn check_command(command: &[String]) -> anyhow::Result<()> {
    let longest = task_command(command, MOST_TASKS);
    let bytes: usize = longest.iter().map(|argument| argument.len() + 1).sum();
    let most = limits::COMMAND_BYTES;
    ensure!(
        bytes <= most,
        "the command has {bytes} bytes, at most {most} are possible"
    );
    Ok(())
}

/// Returns the command of one task.
fn task_command(command: &[String], task: u64) -> Vec<String> {
    let task = task.to_string();
    command.iter().map(|part| part.replace(TASK, &task)).collect()
}

fn advertised(options: &Options, listener: &TcpListener) -> anyhow::Result<String> {
    if let Some(address) = &options.advertise {
        return Ok(limits::name("advertise", address.clone())?);
    }
    let address = listener.local_addr()?;
    ensure!(
        !address.ip().is_unspecified(),
        "--advertise is needed: nobody can dial {address}"
    );
    Ok(address.to_string())
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
