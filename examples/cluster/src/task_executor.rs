//! The task executor: the process of a worker. It offers slots, and runs tasks of jobs in them.
//!
//! Three tasks work together. [`connection`] finds the leader and keeps a connection to it.
//! [`slots`] owns the slots, and is the only writer to the leader. [`offers`] holds a connection to
//! the job master of each slot that is held, and runs its tasks in [`processes`].

mod connection;
mod guard;
mod offers;
mod processes;
mod slots;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use slot_manager::task_executor::TaskSlotTable;
use slot_manager::{DynamicResources, ResourceId, ResourceProfile, WorkerRequestId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use self::slots::Slots;
use crate::event_log::EventLog;
use crate::protocol::channel::Dialer;
use crate::protocol::duration_text::parse_duration;
use crate::protocol::leader::Replicas;
use crate::protocol::limits;
use crate::protocol::profile_text::{parse_profile, parse_total};
use crate::protocol::security::SecurityOptions;

/// The most inputs of the slots that wait. A sender waits until there is room.
const INPUTS: usize = 1_024;

/// The time within which slots and processes must end when the process stops.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of a task executor.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The resource managers. The worker finds the leader among them.
    #[arg(long, value_delimiter = ',', required = true, value_name = "HOST:PORT")]
    pub resource_managers: Vec<String>,
    /// The name of the worker, unique in the cluster [default: host name and process id].
    #[arg(long)]
    pub resource_id: Option<String>,
    /// The number of slots.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=limits::SLOTS as i64))]
    pub slots: u32,
    /// The resources of each slot, such as cpu=1,memory=100MiB,gpu=0.5.
    #[arg(long, default_value = "cpu=1", value_parser = parse_profile)]
    pub profile: ResourceProfile,
    /// The resources of a dynamic worker, such as cpu=8,memory=16GiB. The resource manager cuts a
    /// slot from them for each request, so it has no slots of its own.
    #[arg(long, value_name = "RESOURCES", value_parser = parse_total, conflicts_with_all = ["slots", "profile"])]
    pub total: Option<ResourceProfile>,
    /// The slot that a dynamic worker gives to a request for `unknown` resources. Without it, the
    /// worker serves no such request.
    #[arg(long, value_name = "RESOURCES", value_parser = parse_total, requires = "total")]
    pub default_slot: Option<ResourceProfile>,
    /// The worker request for which the worker is started.
    #[arg(long, value_name = "ID")]
    pub worker_request: Option<WorkerRequestId>,
    /// The time within which a job must use a slot, such as 10s or 500ms.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub slot_timeout: Duration,
    /// The time without a leader after which the worker ends, unless a job uses it.
    #[arg(long, default_value = "300s", value_parser = parse_duration)]
    pub registration_timeout: Duration,
    /// The file to which the worker writes what it did.
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    #[command(flatten)]
    pub security: SecurityOptions,
}

impl Options {
    /// Returns the table of the slots.
    ///
    /// # Errors
    /// The default slot is larger than the total from which it is cut.
    fn slot_table(&self, resource_id: ResourceId) -> anyhow::Result<TaskSlotTable> {
        let Some(total) = &self.total else {
            let profiles = vec![self.profile.clone(); self.slots as usize];
            return Ok(TaskSlotTable::new(resource_id, profiles).with_slot_timeout(self.slot_timeout));
        };
        let mut worker = DynamicResources::new(total.clone());
        if let Some(slot) = &self.default_slot {
            ensure!(
                total.is_matching(slot),
                "--default-slot is {slot}, which is more than --total, {total}"
            );
            worker = worker.with_default_slot(slot.clone());
        }
        Ok(TaskSlotTable::dynamic(resource_id, worker).with_slot_timeout(self.slot_timeout))
    }

    /// Returns the most slots that allocations can hold at a time.
    fn most_slots(&self) -> usize {
        match self.total {
            Some(_) => limits::CUTS,
            None => self.slots as usize,
        }
    }
}

/// Runs a task executor until `stop` is cancelled, or the leader tells it to stop.
///
/// # Errors
/// The resource id or the default slot is not valid, the event log cannot be opened, or there is no
/// leader for long.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let resource_id = options.resource_id.clone().unwrap_or_else(default_resource_id);
    let resource_id = limits::name("resource_id", resource_id)?;
    let table = options.slot_table(ResourceId::from(resource_id.as_str()))?;
    let most_slots = options.most_slots();
    let events = match &options.event_log {
        Some(path) => EventLog::open(path, resource_id.clone())
            .with_context(|| format!("the event log {} cannot be opened", path.display()))?,
        None => EventLog::default(),
    };
    let resource_id = ResourceId::from(resource_id);

    let dialer = Dialer::new(&options.security.load()?);
    let (slots, inputs) = mpsc::channel(INPUTS);
    let (grants, granted) = mpsc::unbounded_channel();
    let owner = tokio::spawn(Slots::new(table, most_slots, options.worker_request, grants, events.clone()).run(inputs));
    let offers = tokio::spawn(offers::run(dialer.clone(), granted, slots.clone(), events.clone()));

    match &options.total {
        Some(total) => tracing::info!(%resource_id, %total, "the task executor starts"),
        None => tracing::info!(%resource_id, slots = options.slots, "the task executor starts"),
    }
    let connection = Connection::new(
        Replicas::new(dialer, options.resource_managers),
        resource_id,
        most_slots,
        options.worker_request,
        options.registration_timeout,
        slots,
        events,
    );
    let connected = connection.run(stop).await;

    let ended = timeout(END_TIMEOUT, async { tokio::try_join!(offers, owner) }).await;
    ended.map_err(|_| anyhow!("the processes of tasks did not end in time"))??;
    connected
}

/// Returns the host name with the process id.
fn default_resource_id() -> String {
    let system = rustix::system::uname();
    format!("{}-{}", system.nodename().to_string_lossy(), std::process::id())
}

#[cfg(test)]
mod tests;
