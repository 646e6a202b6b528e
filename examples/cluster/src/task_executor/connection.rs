//! The connection to the leader: it is found, dialled, watched and replaced.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use slot_manager::message::ReleaseCheck;
use slot_manager::task_executor::TaskExecutorMessage;
use slot_manager::{ResourceId, WorkerRequestId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::slots::{Input, Link};
use crate::event_log::{Event, EventLog};
use crate::protocol::leader::{Replicas, Retries};
use crate::protocol::v1::resource_manager_client::ResourceManagerClient;
use crate::protocol::v1::to_task_executor::Message;
use crate::protocol::{Epoch, ProtocolError, Registration, instance_id, limits, v1};

/// The most messages that wait for the leader, without those of single slots.
const OUTBOX: usize = 256;

/// The most messages of one slot that wait: an answer, and that the slot is free.
const OUTBOX_PER_SLOT: usize = 2;

/// The time for which a process that stops waits until the leader has read all.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection of this process to the leader, whoever leads.
pub struct Connection {
    resource_managers: Replicas,
    resource_id: ResourceId,
    /// The most messages that wait for the leader.
    outbox: usize,
    /// The highest epoch of all leaders that were seen.
    highest: Epoch,
    /// The time without a leader after which an idle process gives up.
    registration_timeout: Duration,
    slots: mpsc::Sender<Input>,
    events: EventLog,
}

impl Connection {
    pub fn new(
        resource_managers: Replicas,
        resource_id: ResourceId,
        most_slots: usize,
        worker_request: Option<WorkerRequestId>,
        registration_timeout: Duration,
        slots: mpsc::Sender<Input>,
        events: EventLog,
    ) -> Self {
        // A leader before the one that requested the worker is an old one.
        let highest = worker_request.map_or(0, |id| v1::WorkerRequest::from(id).epoch);
        Self {
            resource_managers,
            resource_id,
            outbox: OUTBOX + OUTBOX_PER_SLOT * most_slots,
            highest: Epoch(highest),
            registration_timeout,
            slots,
            events,
        }
    }

    /// Keeps a connection to the leader until `stop` is cancelled or the leader says so. Then it
    /// tells the leader that the process leaves, and ends all offers.
    ///
    /// # Errors
    /// For the registration timeout there was no leader, and no job needs the process.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut alone_since = Instant::now();
        let mut retries = Retries::default();
        while !self.slots.is_closed() {
            let left = self.registration_timeout.saturating_sub(alone_since.elapsed());
            let opened = stop.run_until_cancelled(timeout(left, self.open())).await;
            let cause = match opened.map(|opened| opened.context("no leader is found").and_then(|opened| opened)) {
                Some(Ok(Opened::Session(mut session))) => {
                    let end = session.serve(&self.resource_managers, &self.slots, &stop).await;
                    (alone_since, retries) = (Instant::now(), Retries::default());
                    match end {
                        Ok(reason) => {
                            self.leave(reason).await;
                            session.drain().await;
                            return Ok(());
                        }
                        Err(cause) => cause,
                    }
                }
                Some(Ok(Opened::Refused(reason))) => {
                    self.leave(reason).await;
                    return Ok(());
                }
                Some(Err(cause)) => cause,
                None => {
                    self.leave(stopped()).await;
                    return Ok(());
                }
            };
            tracing::info!(cause = format!("{cause:#}"), "not connected to a leader");
            self.tell(Input::Disconnected).await;
            if alone_since.elapsed() >= self.registration_timeout {
                if self.is_idle().await {
                    self.leave("no leader is found".to_owned()).await;
                    let alone = self.registration_timeout;
                    return Err(cause.context(format!("no leader has registered the worker for {alone:?}")));
                }
                // Tasks go on without a leader.
                alone_since = Instant::now();
            }
            stop.run_until_cancelled(retries.wait()).await;
        }
        Ok(())
    }

    /// Returns `true` if no job has a slot.
    async fn is_idle(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::AskIdle(answer)).await;
        answered.await.unwrap_or(true)
    }

    /// Finds the leader and registers.
    async fn open(&mut self) -> Result<Opened> {
        let leader = self.resource_managers.leader().await;
        let channel = self.resource_managers.dial(&leader).await?;
        let mut client = ResourceManagerClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES);

        let (outbox, outgoing) = mpsc::channel(self.outbox);
        let broken = CancellationToken::new();
        let link = Link {
            outbox,
            broken: broken.clone(),
        };
        let highest_epoch = self.highest;
        self.tell(Input::Connect { link, highest_epoch }).await;
        let answer = timeout(limits::FIRST_MESSAGE, async {
            let stream = client.connect_task_executor(ReceiverStream::new(outgoing)).await?;
            let mut messages = stream.into_inner();
            let first = messages.message().await?;
            anyhow::Ok((messages, first))
        });
        let (messages, first) = answer.await.context("the leader does not answer the registration")??;
        let registered = match first.and_then(|first| first.message) {
            Some(Message::Registered(registered)) => registered,
            Some(Message::Stop(v1::Stop { cause })) => return Ok(Opened::Refused(cause)),
            _ => bail!("the leader has not accepted the registration"),
        };
        let session = Session::new(registered, self.resource_id.clone(), messages, broken)?;
        self.accept(session.registration.epoch)?;
        self.tell(Input::Registered(session.registration.clone())).await;
        tracing::info!(address = leader.addresses.grpc, epoch = %session.registration.epoch, "registered");
        Ok(Opened::Session(Box::new(session)))
    }

    /// Accepts a leader unless it is an old one.
    fn accept(&mut self, epoch: Epoch) -> Result<()> {
        let highest = self.highest;
        if epoch < highest {
            self.events.log(&Event::OldLeaderRefused {
                worker: self.resource_id.to_string(),
                epoch,
                highest,
            });
            bail!("the leader of epoch {epoch} is an old one, {highest} was seen");
        }
        self.highest = epoch;
        Ok(())
    }

    async fn leave(&self, reason: String) {
        tracing::info!(reason, "the task executor leaves");
        self.tell(Input::Leave { reason }).await;
    }

    /// Tells the owner of the slots. If it is gone, the process ends.
    async fn tell(&self, input: Input) {
        let _ = self.slots.send(input).await;
    }
}

/// The answer of a leader to a registration.
enum Opened {
    Session(Box<Session>),
    /// The cluster has no room for the worker, for this cause. The process must leave.
    Refused(String),
}

/// A registration with a leader.
struct Session {
    registration: Registration,
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    messages: Streaming<v1::ToTaskExecutor>,
    /// Is cancelled if the leader does not read.
    broken: CancellationToken,
}

impl Session {
    fn new(
        registered: v1::Registered,
        resource_id: ResourceId,
        messages: Streaming<v1::ToTaskExecutor>,
        broken: CancellationToken,
    ) -> Result<Self, ProtocolError> {
        if registered.heartbeat_interval_ms == 0 {
            return Err(ProtocolError::missing("heartbeat_interval_ms"));
        }
        if registered.heartbeat_timeout_ms == 0 {
            return Err(ProtocolError::missing("heartbeat_timeout_ms"));
        }
        Ok(Self {
            registration: Registration {
                epoch: Epoch(registered.epoch),
                resource_id,
                instance_id: instance_id("instance_id", &registered.instance_id)?,
            },
            heartbeat_interval: Duration::from_millis(registered.heartbeat_interval_ms.into()),
            heartbeat_timeout: Duration::from_millis(registered.heartbeat_timeout_ms.into()),
            messages,
            broken,
        })
    }

    /// Forwards messages and asks for heartbeats. Returns why the process must leave.
    ///
    /// # Errors
    /// The connection is lost, another leads, or the leader breaks the protocol.
    async fn serve(
        &mut self,
        resource_managers: &Replicas,
        slots: &mpsc::Sender<Input>,
        stop: &CancellationToken,
    ) -> Result<String> {
        let broken = self.broken.clone();
        let heartbeats = send_heartbeats(self.heartbeat_interval, slots);
        tokio::select! {
            () = stop.cancelled() => Ok(stopped()),
            () = broken.cancelled() => bail!("the leader does not read"),
            Err(error) = heartbeats => Err(error),
            end = self.forward(resource_managers, slots) => end,
        }
    }

    /// Forwards messages until the leader tells the process to leave. Returns the cause.
    async fn forward(&mut self, resource_managers: &Replicas, slots: &mpsc::Sender<Input>) -> Result<String> {
        loop {
            let message = self.next(resource_managers).await?;
            match self.read(message)? {
                Read::Forward(message) => slots.send(Input::FromLeader(message)).await?,
                Read::Leave(cause) => return Ok(cause),
                Read::Nothing => {}
            }
        }
    }

    /// Waits for the next message. While the leader is silent, the others are asked who leads: the
    /// next leader can come before the heartbeat timeout is over.
    async fn next(&mut self, resource_managers: &Replicas) -> Result<v1::ToTaskExecutor> {
        let later_leader = resource_managers.later_leader(self.registration.epoch, self.heartbeat_interval);
        tokio::select! {
            message = timeout(self.heartbeat_timeout, self.messages.message()) => {
                let message = message.context("no message came within the heartbeat timeout")??;
                message.context("the leader has ended the connection")
            }
            leader = later_leader => bail!("{} leads in epoch {}", leader.addresses.grpc, leader.epoch),
        }
    }

    fn read(&self, message: v1::ToTaskExecutor) -> Result<Read, ProtocolError> {
        let registration = &self.registration;
        let Some(message) = message.message else {
            tracing::debug!("a message of a later version is ignored");
            return Ok(Read::Nothing);
        };
        Ok(match message {
            Message::Registered(_) => return Err(ProtocolError::new("registered", "it came twice")),
            Message::AllocateSlot(request) => {
                Read::Forward(TaskExecutorMessage::AllocateSlot(registration.allocate_slot(request)?))
            }
            Message::FreeSlot(request) => {
                Read::Forward(TaskExecutorMessage::FreeSlot(registration.free_slot(request)?))
            }
            Message::FreeInactiveSlots(request) => Read::Forward(TaskExecutorMessage::FreeInactiveSlots(
                registration.free_inactive_slots(request)?,
            )),
            Message::ReleaseCheck(v1::ReleaseCheck { check: number }) => {
                Read::Forward(TaskExecutorMessage::CheckRelease(ReleaseCheck {
                    instance_id: registration.instance_id,
                    leader_id: registration.epoch.leader_id(),
                    number,
                }))
            }
            Message::Stop(v1::Stop { cause }) => Read::Leave(cause),
            Message::Heartbeat(v1::Heartbeat {}) => Read::Nothing,
        })
    }

    /// Waits until the leader has read all and ends the connection.
    async fn drain(mut self) {
        let end = async { while let Ok(Some(_)) = self.messages.message().await {} };
        if timeout(LEAVE_TIMEOUT, end).await.is_err() {
            tracing::debug!("the leader has not ended the connection");
        }
    }
}

/// Asks for a heartbeat in each interval. Ends only with an error: the slots have no owner.
async fn send_heartbeats(interval: Duration, slots: &mpsc::Sender<Input>) -> Result<Infallible> {
    // Workers that register together do not send their heartbeats together.
    let first = Instant::now() + interval.mul_f64(rand::random());
    let mut heartbeats = interval_at(first, interval);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeats.tick().await;
        slots.send(Input::Heartbeat).await?;
    }
}

/// A message of the leader, as this process acts on it.
enum Read {
    Forward(TaskExecutorMessage),
    /// The process must leave for this cause.
    Leave(String),
    Nothing,
}

fn stopped() -> String {
    "the process was told to stop".to_owned()
}
