//! The load generator: simulated task executors and jobs against one resource manager, each with a
//! real connection.

mod job;
mod latencies;
mod process;
mod task_executor;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use slot_manager::ResourceProfile;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::job::{Job, JobReport};
use self::latencies::Latencies;
use self::process::{ProcessUse, Usage};
use self::task_executor::{End, SimulatedTaskExecutor};
use crate::protocol::channel::Dialer;
use crate::protocol::duration_text::parse_duration;
use crate::protocol::security::SecurityOptions;

/// The most connections that are opened at a time.
const OPENING: usize = 64;

/// Puts a load of simulated task executors and jobs on one resource manager.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The address of the resource manager that leads.
    #[arg(long, value_name = "HOST:PORT")]
    pub resource_manager: String,
    /// The number of task executors.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub task_executors: u32,
    /// The number of slots of each task executor.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: u32,
    /// The interval of the reports of each task executor. The default is that of the resource
    /// manager.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub heartbeat_interval: Option<Duration>,
    /// The number of jobs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,
    /// The number of slot requests a second, of all jobs together.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// The time for which each granted slot is held.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub hold: Duration,
    /// The time for which slots are requested.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// The process of the resource manager, on this machine: its memory and CPU time are measured.
    #[arg(long)]
    pub pid: Option<u32>,
    #[command(flatten)]
    pub security: SecurityOptions,
}

/// What was measured.
#[derive(Debug)]
pub struct Summary {
    task_executors: u32,
    registered: usize,
    registered_in: Duration,
    /// The task executors that the resource manager released, since they were idle.
    released: usize,
    /// The connections of task executors and jobs that ended too early.
    broken: usize,
    duration: Duration,
    requests: u64,
    waiting: usize,
    failed: u64,
    lost: u64,
    latencies: Latencies,
    resource_manager: Option<ProcessUse>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latencies, .. } = self;
        let seconds = self.registered_in.as_secs_f64();
        writeln!(
            f,
            "{} of {} task executors registered in {seconds:.2} s, {} were released when idle, {} connections broke",
            self.registered, self.task_executors, self.released, self.broken
        )?;
        writeln!(
            f,
            "{} requests in {:.1} s, {} grants, {} still wait, {} failed, {} grants lost",
            self.requests,
            self.duration.as_secs_f64(),
            latencies.len(),
            self.waiting,
            self.failed,
            self.lost
        )?;
        write!(f, "from request to grant: {latencies}")?;
        if let Some(resource_manager) = &self.resource_manager {
            write!(f, "\nresource manager: {resource_manager}")?;
        }
        Ok(())
    }
}

/// Puts the load on the resource manager, and measures.
///
/// # Errors
/// No task executor can register, a job cannot, or the process of the resource manager is unknown.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Summary> {
    let end = stop.child_token();
    // Ends the simulation if this function returns early.
    let _guard = end.clone().drop_guard();
    let usage_of_process = || options.pid.map(Usage::of).transpose();
    usage_of_process()?;

    let dialer = Dialer::new(&options.security.load()?);
    let started = Instant::now();
    let (orders, mut task_executors, registered) = start_task_executors(&options, &dialer, &end).await?;
    let registered_in = started.elapsed();
    tracing::info!(registered, ?registered_in, "task executors are registered");

    // The jobs end first: they would count the ends of task executors as losses.
    let end_of_jobs = end.child_token();
    let mut jobs = start_jobs(&options, &dialer, orders, &end_of_jobs).await?;
    let (started, before) = (Instant::now(), usage_of_process()?);
    // Ends early if it is stopped.
    let _ = end.run_until_cancelled(sleep(options.duration)).await;
    let (duration, after) = (started.elapsed(), usage_of_process()?);

    end_of_jobs.cancel();
    let (mut broken, mut released) = (0, 0);
    let mut total = JobReport::default();
    while let Some(report) = jobs.join_next().await {
        let report = report?;
        broken += usize::from(report.is_broken);
        total.add(report);
    }
    end.cancel();
    while let Some(result) = task_executors.join_next().await {
        match result? {
            Ok(End::Load) => {}
            Ok(End::Released) => released += 1,
            Err(error) => {
                tracing::warn!("a simulated task executor has ended: {error:#}");
                broken += 1;
            }
        }
    }
    Ok(Summary {
        task_executors: options.task_executors,
        registered,
        registered_in,
        released,
        broken,
        duration,
        requests: total.requests,
        waiting: total.waiting,
        failed: total.failed,
        lost: total.lost,
        latencies: total.latencies,
        resource_manager: before.zip(after).map(|(before, after)| after.since(before, duration)),
    })
}

/// The ways to the simulated task executors, by number: they free the slot of an allocation.
type Orders = Arc<[task_executor::Orders]>;

/// Starts the task executors, and waits until each has registered or failed to.
async fn start_task_executors(
    options: &Options,
    dialer: &Dialer,
    end: &CancellationToken,
) -> anyhow::Result<(Orders, JoinSet<anyhow::Result<End>>, usize)> {
    let profile = slot_profile()?;
    let opening = Arc::new(Semaphore::new(OPENING));
    let (registered, mut registrations) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    let orders = (0..options.task_executors).map(|number| {
        let (orders, ordered) = mpsc::unbounded_channel();
        let task_executor = SimulatedTaskExecutor {
            number,
            profiles: vec![profile.clone(); options.slots as usize],
            heartbeat_interval: options.heartbeat_interval,
            ordered,
        };
        let (address, opening) = (options.resource_manager.clone(), Arc::clone(&opening));
        let (dialer, registered, end) = (dialer.clone(), registered.clone(), end.clone());
        running.spawn(async move {
            let permit = opening.acquire_owned().await?;
            let session = task_executor.register(dialer.dial(&address).await?).await?;
            drop(permit);
            // The receiver has gone if all is stopped.
            let _ = registered.send(());
            drop(registered);
            session.run(end).await
        });
        orders
    });
    let orders: Orders = orders.collect();
    drop(registered);
    let mut count = 0;
    while let Some(Some(())) = end.run_until_cancelled(registrations.recv()).await {
        count += 1;
    }
    if count == 0 {
        let first = running.join_next().await.context("it was stopped")?;
        first?.context("no task executor could register")?;
    }
    ensure!(count > 0, "no task executor could register");
    Ok((orders, running, count))
}

/// Starts the jobs. Their requests are spread evenly over time.
async fn start_jobs(
    options: &Options,
    dialer: &Dialer,
    orders: Orders,
    end: &CancellationToken,
) -> anyhow::Result<JoinSet<JobReport>> {
    let mut jobs = Vec::new();
    for _ in 0..options.jobs {
        let channel = dialer.dial(&options.resource_manager).await?;
        jobs.push(Job::register(channel, &slot_profile()?, options.hold, Arc::clone(&orders)).await?);
    }
    let between_requests = Duration::from_secs(1) / options.rate;
    let (now, period) = (Instant::now(), between_requests * options.jobs);
    let mut running = JoinSet::new();
    for (number, job) in (0..).zip(jobs) {
        running.spawn(job.run(now + between_requests * number, period, end.clone()));
    }
    Ok(running)
}

fn slot_profile() -> anyhow::Result<ResourceProfile> {
    Ok(ResourceProfile::builder().cpu_cores(1.0).build()?)
}
