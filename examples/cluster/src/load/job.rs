//! A simulated job: it requests slots at a steady rate, whether or not earlier ones are granted.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, bail};
use slot_manager::{AllocationId, JobId, ResourceProfile};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use super::Orders;
use super::latencies::Latencies;
use super::task_executor::number_of;
use crate::protocol::channel::PeerChannel;
use crate::protocol::v1::from_job_master::Message as FromUs;
use crate::protocol::v1::request_status::State;
use crate::protocol::v1::resource_manager_client::ResourceManagerClient;
use crate::protocol::v1::to_job_master::Message as ToUs;
use crate::protocol::{ProtocolError, allocation_id, limits, v1};

/// The address of a simulated job. No task executor dials it.
const ADDRESS: &str = "127.0.0.1:1";

/// What jobs measured.
#[derive(Debug, Default)]
pub struct JobReport {
    pub requests: u64,
    /// The requests without an answer at the end.
    pub waiting: usize,
    pub failed: u64,
    pub lost: u64,
    pub latencies: Latencies,
    /// The resource manager has ended the connection.
    pub is_broken: bool,
}

impl JobReport {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.waiting += other.waiting;
        self.failed += other.failed;
        self.lost += other.lost;
        self.latencies.extend(other.latencies);
        self.is_broken |= other.is_broken;
    }
}

/// A job that is registered.
pub struct Job {
    stream: Streaming<v1::ToJobMaster>,
    outbox: mpsc::UnboundedSender<v1::FromJobMaster>,
    heartbeat_interval: Duration,
    profile: v1::ResourceProfile,
    hold: Duration,
    task_executors: Orders,
    /// The requests without an answer, and when they were made.
    requested: HashMap<AllocationId, Instant>,
    /// The grants, in the order in which they end.
    held: VecDeque<Grant>,
    report: JobReport,
}

struct Grant {
    until: Instant,
    allocation_id: AllocationId,
    slot: String,
}

impl Job {
    /// Registers a job with the resource manager.
    pub async fn register(
        channel: PeerChannel,
        profile: &ResourceProfile,
        hold: Duration,
        task_executors: Orders,
    ) -> anyhow::Result<Self> {
        let (outbox, messages) = mpsc::unbounded_channel();
        let register = FromUs::Register(v1::RegisterJobMaster {
            job_id: JobId::from(Uuid::new_v4()).to_bytes().into(),
            address: ADDRESS.into(),
            highest_epoch: 0,
            grants: Vec::new(),
        });
        outbox.send(v1::FromJobMaster {
            message: Some(register),
        })?;
        let mut client = ResourceManagerClient::new(channel);
        let stream = timeout(limits::FIRST_MESSAGE, async {
            let call = client.connect_job_master(UnboundedReceiverStream::new(messages));
            let mut stream = call.await?.into_inner();
            let first = stream.message().await?;
            anyhow::Ok((stream, first))
        });
        let (stream, first) = stream.await.context("the resource manager does not answer")??;
        let Some(ToUs::Registered(registered)) = first.and_then(|first| first.message) else {
            bail!("the resource manager has not accepted the job");
        };
        Ok(Self {
            stream,
            outbox,
            heartbeat_interval: Duration::from_millis(registered.heartbeat_interval_ms.max(1).into()),
            profile: profile.into(),
            hold,
            task_executors,
            requested: HashMap::new(),
            held: VecDeque::new(),
            report: JobReport::default(),
        })
    }

    /// Requests a slot each period until the end of the load.
    pub async fn run(mut self, first: Instant, period: Duration, end: CancellationToken) -> JobReport {
        if let Err(error) = self.request_slots(first, period, end).await {
            tracing::warn!("a simulated job has ended: {error:#}");
            self.report.is_broken = true;
        }
        self.report.waiting = self.requested.len();
        self.report
    }

    async fn request_slots(&mut self, first: Instant, period: Duration, end: CancellationToken) -> anyhow::Result<()> {
        // A generator that falls behind catches up: the rate is what was asked for.
        let mut requests = interval_at(first, period);
        let mut heartbeats = interval(self.heartbeat_interval);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next_end = self.held.front().map(|grant| grant.until);
            tokio::select! {
                () = end.cancelled() => return Ok(()),
                message = self.stream.message() => {
                    let message = message?.context("the resource manager has ended the connection")?;
                    self.hear(message)?;
                }
                () = sleep_until(next_end.unwrap_or(first)), if next_end.is_some() => self.end_grants(),
                _ = requests.tick() => self.request()?,
                _ = heartbeats.tick() => self.send(FromUs::Heartbeat(v1::Heartbeat {}))?,
            }
        }
    }

    fn request(&mut self) -> anyhow::Result<()> {
        let id = AllocationId::from(Uuid::new_v4());
        self.requested.insert(id, Instant::now());
        self.report.requests += 1;
        self.send(FromUs::SlotRequest(v1::SlotRequest {
            allocation_id: id.to_bytes().into(),
            resource_profile: Some(self.profile.clone()),
        }))
    }

    fn hear(&mut self, message: v1::ToJobMaster) -> Result<(), ProtocolError> {
        let id = |bytes: &[u8]| allocation_id("allocation_id", bytes);
        match message.message {
            Some(ToUs::Status(status)) if status.state() == State::Granted => {
                let allocation_id = id(&status.allocation_id)?;
                if let Some(requested) = self.requested.remove(&allocation_id) {
                    let now = Instant::now();
                    self.report.latencies.add(now - requested);
                    let (until, slot) = (now + self.hold, status.slot);
                    self.held.push_back(Grant {
                        until,
                        allocation_id,
                        slot,
                    });
                }
            }
            Some(ToUs::Failed(failed)) => {
                let is_known = self.requested.remove(&id(&failed.allocation_id)?).is_some();
                self.report.failed += u64::from(is_known);
            }
            Some(ToUs::Lost(_)) => self.report.lost += 1,
            // It declares nothing.
            Some(ToUs::DeclarationRefused(_) | ToUs::Shortage(_)) => {}
            Some(ToUs::Status(_) | ToUs::Registered(_) | ToUs::Heartbeat(_)) | None => {}
        }
        Ok(())
    }

    /// Lets the task executors free the slots that were held long enough.
    fn end_grants(&mut self) {
        let now = Instant::now();
        let ended = self.held.partition_point(|grant| grant.until <= now);
        for grant in self.held.drain(..ended) {
            let task_executor = number_of(&grant.slot).and_then(|number| self.task_executors.get(number));
            let is_told = task_executor.is_some_and(|orders| orders.send(grant.allocation_id).is_ok());
            if !is_told {
                tracing::debug!(
                    slot = grant.slot,
                    "the slot of a grant is not simulated here, or has ended"
                );
            }
        }
    }

    fn send(&self, message: FromUs) -> anyhow::Result<()> {
        self.outbox.send(v1::FromJobMaster { message: Some(message) })?;
        Ok(())
    }
}
