//! The connection to the resource manager that leads.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, ensure};
use slot_manager::{AllocationId, JobId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::Input;
use crate::protocol::leader::{Replicas, Retries};
use crate::protocol::v1::from_job_master::Message as FromUs;
use crate::protocol::v1::resource_manager_client::ResourceManagerClient;
use crate::protocol::v1::to_job_master::Message as ToUs;
use crate::protocol::{Epoch, ProtocolError, allocation_id, limits, v1};

/// The shortest time that is taken from the resource manager for heartbeats.
const SHORTEST: Duration = Duration::from_millis(10);

/// The time within which the resource manager ends a stream of which the job master has ended its
/// half.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// News from the resource managers.
#[derive(Debug)]
pub enum News {
    /// A resource manager is about to be told the grants of the job.
    Connecting {
        grants: oneshot::Sender<Vec<AllocationId>>,
    },
    /// The leader has registered the job, and hears what is sent to the outbox.
    Connected {
        epoch: Epoch,
        outbox: Outbox,
    },
    Granted(AllocationId),
    Failed {
        allocation_id: AllocationId,
        cause: String,
    },
    Lost {
        allocation_id: AllocationId,
        cause: String,
    },
    DeclarationRefused(v1::DeclarationRefused),
    Shortage(v1::Shortage),
    Disconnected,
}

/// The way to the resource manager. Messages to a connection that has ended are dropped.
///
/// It has no bound: the slots of the job bound the number of messages, and missing heartbeats end
/// the connection to a resource manager that does not read them.
#[derive(Debug, Clone)]
pub struct Outbox(mpsc::UnboundedSender<v1::FromJobMaster>);

impl Outbox {
    /// Requests a slot. The same allocation can be requested again.
    pub fn request(&self, id: AllocationId, profile: &v1::ResourceProfile) {
        self.send(FromUs::SlotRequest(v1::SlotRequest {
            allocation_id: id.to_bytes().into(),
            resource_profile: Some(profile.clone()),
        }));
    }

    /// Says that the job does not want the allocation any more.
    pub fn cancel(&self, id: AllocationId) {
        let allocation_id = id.to_bytes().into();
        self.send(FromUs::Cancel(v1::CancelRequest { allocation_id }));
    }

    /// Declares the slots that the job needs in all.
    pub fn declare(&self, revision: u64, slots: u32, profile: &v1::ResourceProfile) {
        let required = v1::RequiredSlots {
            resource_profile: Some(profile.clone()),
            slots,
        };
        self.send(FromUs::Declare(v1::DeclareRequirements {
            revision,
            required: vec![required],
        }));
    }

    fn send(&self, message: FromUs) {
        let message = v1::FromJobMaster { message: Some(message) };
        if self.0.send(message).is_err() {
            tracing::debug!("a message to a connection that has ended is dropped");
        }
    }
}

/// The connection of a job to one leader after the other.
pub struct Connection {
    pub resource_managers: Replicas,
    pub job_id: JobId,
    /// The address at which task executors reach this job master.
    pub address: String,
    /// The highest epoch that was seen. Leaders with a lower one are old.
    pub highest_epoch: Epoch,
    pub inputs: mpsc::Sender<Input>,
}

impl Connection {
    /// Stays connected to the leader until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut retries = Retries::default();
        loop {
            let session = stop.run_until_cancelled(self.connect()).await;
            match session {
                None => return,
                Some(Ok(session)) => {
                    retries = Retries::default();
                    let end = session.run(&self.resource_managers, &self.inputs, &stop).await;
                    if !self.tell(News::Disconnected).await || stop.is_cancelled() {
                        return;
                    }
                    match end {
                        Ok(()) => tracing::info!("the resource manager has ended the connection"),
                        Err(error) => {
                            tracing::warn!("the connection to the leader is lost, and the next leader is looked for");
                            tracing::info!("the connection to the leader is lost: {error:#}");
                        }
                    }
                }
                Some(Err(error)) => tracing::info!("no connection to a resource manager: {error:#}"),
            }
            if stop.run_until_cancelled(retries.wait()).await.is_none() {
                return;
            }
        }
    }

    /// Registers the job with the leader.
    async fn connect(&mut self) -> anyhow::Result<Session> {
        let leader = self.resource_managers.leader().await;
        self.check_epoch(leader.epoch)?;
        let channel = self.resource_managers.dial(&leader).await?;
        let mut client = ResourceManagerClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES);

        let (sender, messages) = mpsc::unbounded_channel();
        let outbox = Outbox(sender);
        outbox.send(FromUs::Register(self.registration().await?));
        let stream = timeout(limits::FIRST_MESSAGE, async {
            let call = client.connect_job_master(UnboundedReceiverStream::new(messages));
            let mut stream = call.await?.into_inner();
            let first = stream.message().await?;
            anyhow::Ok((stream, first))
        });
        let (stream, first) = stream.await.context("the leader does not answer")??;
        let Some(ToUs::Registered(registered)) = first.and_then(|first| first.message) else {
            return Err(ProtocolError::missing("registered").into());
        };
        let epoch = Epoch(registered.epoch);
        self.check_epoch(epoch)?;
        self.highest_epoch = epoch;

        let connected = News::Connected {
            epoch,
            outbox: outbox.clone(),
        };
        ensure!(self.tell(connected).await, "the job has ended");
        Ok(Session {
            epoch,
            stream,
            outbox,
            heartbeat_interval: Duration::from_millis(registered.heartbeat_interval_ms.into()).max(SHORTEST),
            heartbeat_timeout: Duration::from_millis(registered.heartbeat_timeout_ms.into()).max(SHORTEST),
        })
    }

    async fn registration(&self) -> anyhow::Result<v1::RegisterJobMaster> {
        let (grants, answer) = oneshot::channel();
        ensure!(self.tell(News::Connecting { grants }).await, "the job has ended");
        let grants = answer.await.context("the job has ended")?;
        Ok(v1::RegisterJobMaster {
            job_id: self.job_id.to_bytes().into(),
            address: self.address.clone(),
            highest_epoch: self.highest_epoch.0,
            grants: grants.into_iter().map(|id| id.to_bytes().into()).collect(),
        })
    }

    fn check_epoch(&self, epoch: Epoch) -> anyhow::Result<()> {
        let highest = self.highest_epoch;
        ensure!(
            epoch >= highest,
            "the leader of epoch {epoch} is an old one: the highest is {highest}"
        );
        Ok(())
    }

    async fn tell(&self, news: News) -> bool {
        self.inputs.send(Input::Manager(news)).await.is_ok()
    }
}

/// The stream between the job master and one leader.
struct Session {
    epoch: Epoch,
    stream: Streaming<v1::ToJobMaster>,
    outbox: Outbox,
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
}

impl Session {
    /// Forwards messages until the stream ends or heartbeats are missing. If it is stopped, it ends
    /// the stream in an orderly way, after all that is in the outbox.
    async fn run(
        mut self,
        resource_managers: &Replicas,
        inputs: &mpsc::Sender<Input>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let heartbeats = send_heartbeats(self.heartbeat_interval, self.outbox.clone());
        let is_over = tokio::select! {
            () = stop.cancelled() => true,
            never = heartbeats => match never {},
            end = self.forward(resource_managers, inputs) => end?,
        };
        match is_over {
            true => self.close().await,
            false => Ok(()),
        }
    }

    /// Forwards messages until the stream ends. Returns `true` if the job has ended before.
    async fn forward(&mut self, resource_managers: &Replicas, inputs: &mpsc::Sender<Input>) -> anyhow::Result<bool> {
        while let Some(message) = self.next(resource_managers).await? {
            if let Some(news) = read(message)?
                && inputs.send(Input::Manager(news)).await.is_err()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits for the next message; `None` at the end of the stream. While the leader is silent, the
    /// others are asked who leads: the next leader can come before the heartbeat timeout is over.
    async fn next(&mut self, resource_managers: &Replicas) -> anyhow::Result<Option<v1::ToJobMaster>> {
        let later_leader = resource_managers.later_leader(self.epoch, self.heartbeat_interval);
        // Counts the time in which this process waits for a message, not that in which it is busy.
        tokio::select! {
            message = timeout(self.heartbeat_timeout, self.stream.message()) => {
                Ok(message.with_context(|| format!("no heartbeat in {:?}", self.heartbeat_timeout))??)
            }
            leader = later_leader => anyhow::bail!("{} leads in epoch {}", leader.addresses.grpc, leader.epoch),
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        let Self { mut stream, outbox, .. } = self;
        drop(outbox);
        let end = timeout(CLOSE_TIMEOUT, async {
            while let Ok(Some(_)) = stream.message().await {}
        });
        end.await.context("the resource manager does not end the connection")
    }
}

/// Sends a heartbeat in each interval, for ever.
async fn send_heartbeats(every: Duration, outbox: Outbox) -> Infallible {
    let mut heartbeats = interval(every);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeats.tick().await;
        outbox.send(FromUs::Heartbeat(v1::Heartbeat {}));
    }
}

/// Reads a message of the leader. Returns `None` if it tells nothing that matters here.
fn read(message: v1::ToJobMaster) -> Result<Option<News>, ProtocolError> {
    let id = |bytes: &[u8]| allocation_id("allocation_id", bytes);
    let Some(message) = message.message else {
        tracing::debug!("a message of a later version is ignored");
        return Ok(None);
    };
    Ok(match message {
        ToUs::Registered(_) => return Err(ProtocolError::new("registered", "there twice")),
        ToUs::Heartbeat(_) => None,
        ToUs::Status(status) => {
            let allocation_id = id(&status.allocation_id)?;
            let is_granted = status.state() == v1::request_status::State::Granted;
            is_granted.then_some(News::Granted(allocation_id))
        }
        ToUs::Failed(failed) => Some(News::Failed {
            allocation_id: id(&failed.allocation_id)?,
            cause: failed.cause,
        }),
        ToUs::Lost(lost) => Some(News::Lost {
            allocation_id: id(&lost.allocation_id)?,
            cause: lost.cause,
        }),
        ToUs::DeclarationRefused(refused) => Some(News::DeclarationRefused(refused)),
        ToUs::Shortage(shortage) => Some(News::Shortage(shortage)),
    })
}
