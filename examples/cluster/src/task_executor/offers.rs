//! Offers: a slot that was given to an allocation is offered to the job master, and runs its tasks.

use std::collections::VecDeque;
use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;

use slot_manager::SlotId;
use slot_manager::message::Allocation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::processes::Process;
use super::slots::{GrantKey, Input};
use crate::event_log::{Event, EventLog};
use crate::protocol::channel::{DialError, Dialer, io_failure};
use crate::protocol::leader::Retries;
use crate::protocol::v1::job_master_client::JobMasterClient;
use crate::protocol::{Epoch, ProtocolError, limits, v1};

/// The most tasks that wait in a slot.
const WAITING_TASKS: usize = 64;

/// The most messages that wait for a job master.
const OUTBOX: usize = 16;

/// The exit code of a command that cannot be started, as in a shell.
const CANNOT_START: i32 = 127;

/// A slot that is to be offered to the job of its allocation.
#[derive(Debug)]
pub struct Offer {
    pub slot_id: SlotId,
    pub allocation: Allocation,
    /// The address of the job master.
    pub target_address: Arc<str>,
    /// The epoch of the leader that made the grant.
    pub epoch: Epoch,
    pub grant: GrantKey,
    /// Is cancelled when the slot is taken away.
    pub ended: CancellationToken,
}

/// Makes offers until no more come, and waits until all have ended.
pub async fn run(
    dialer: Dialer,
    mut offers: mpsc::UnboundedReceiver<Offer>,
    slots: mpsc::Sender<Input>,
    events: EventLog,
) {
    // An offer has no heartbeats.
    let dialer = dialer.with_pings();
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            offer = offers.recv() => match offer {
                Some(offer) => {
                    let slot = OfferedSlot::new(dialer.clone(), offer, slots.clone(), events.clone());
                    running.spawn(slot.run());
                }
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// A slot that is offered to a job master or used by it.
struct OfferedSlot {
    dialer: Dialer,
    offer: Offer,
    slots: mpsc::Sender<Input>,
    events: EventLog,
    waiting: VecDeque<v1::RunTask>,
    running: Option<RunningTask>,
}

struct RunningTask {
    task: u64,
    process: Process,
}

/// The stream to and from a job master.
struct Stream {
    outbox: mpsc::Sender<v1::FromSlot>,
    messages: Streaming<v1::ToSlot>,
}

impl OfferedSlot {
    fn new(dialer: Dialer, offer: Offer, slots: mpsc::Sender<Input>, events: EventLog) -> Self {
        Self {
            dialer,
            offer,
            slots,
            events,
            waiting: VecDeque::new(),
            running: None,
        }
    }

    /// Offers the slot and runs its tasks. At the end no process is left, and the slot is free.
    async fn run(mut self) {
        let ended = self.offer.ended.clone();
        let result = tokio::select! {
            biased;
            () = ended.cancelled() => Ok(()),
            result = self.serve() => result,
        };
        if let Err(status) = result {
            tracing::info!(slot = %self.offer.slot_id, %status, "the offer of the slot has ended");
        }
        if let Some(RunningTask { task, process }) = self.running.take() {
            process.kill().await;
            self.log_end(task, None);
        }
        // If the owner of the slots is gone, so are the slots.
        let _ = self.slots.send(Input::Free(self.offer.grant)).await;
    }

    /// Runs the tasks of the job master until it releases the slot or is gone.
    async fn serve(&mut self) -> Result<(), Status> {
        let mut stream = self.connect().await?;
        let mut is_used = false;
        loop {
            tokio::select! {
                message = stream.messages.message() => {
                    let Some(v1::ToSlot { message }) = message? else {
                        return Ok(());
                    };
                    match message {
                        Some(v1::to_slot::Message::Release(_)) => return Ok(()),
                        Some(v1::to_slot::Message::Run(task)) => self.enqueue(task)?,
                        None => {
                            tracing::debug!("a message of a later version is ignored");
                            continue;
                        }
                    }
                    if !is_used && !self.use_slot().await {
                        return Err(Status::aborted("the allocation has lost the slot"));
                    }
                    is_used = true;
                }
                (task, exit_code) = end_of(&mut self.running) => {
                    self.running = None;
                    self.log_end(task, exit_code);
                    stream.tell_end(task, exit_code)?;
                }
            }
            self.start_next(&stream)?;
        }
    }

    /// Offers the slot until the job master answers, or the offer is ended by the slot timeout.
    ///
    /// A job master listens before it requests slots. If nothing listens there, it has ended: the
    /// slot is better used by others.
    async fn connect(&self) -> Result<Stream, Status> {
        let mut retries = Retries::default();
        loop {
            match Stream::open(&self.dialer, &self.offer).await {
                Err(status) if is_not_reached(&status) && !is_refused(&status) => {
                    tracing::debug!(address = &*self.offer.target_address, %status, "the job master is not reached");
                    retries.wait().await;
                }
                result => return result,
            }
        }
    }

    /// Marks the slot as used. Returns `false` if it was taken away.
    async fn use_slot(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let sent = self.slots.send(Input::Use(self.offer.grant, answer)).await;
        sent.is_ok() && answered.await.unwrap_or(false)
    }

    fn enqueue(&mut self, task: v1::RunTask) -> Result<(), ProtocolError> {
        let bytes: usize = task.command.iter().map(|argument| argument.len() + 1).sum();
        if bytes > limits::COMMAND_BYTES {
            let reason = format!("{bytes} bytes, at most {} are possible", limits::COMMAND_BYTES);
            return Err(ProtocolError::new("command", reason));
        }
        if self.waiting.len() == WAITING_TASKS {
            return Err(ProtocolError::new(
                "run",
                format!("more than {WAITING_TASKS} tasks wait"),
            ));
        }
        self.waiting.push_back(task);
        Ok(())
    }

    /// Starts the next task, unless one runs.
    fn start_next(&mut self, stream: &Stream) -> Result<(), Status> {
        while self.running.is_none()
            && let Some(v1::RunTask { task, command }) = self.waiting.pop_front()
        {
            let Offer {
                slot_id, allocation, ..
            } = &self.offer;
            // It is logged first, so that a process that runs is always in the log.
            self.events.log(&Event::TaskStarted {
                slot: slot_id.to_string(),
                job: allocation.job.to_string(),
                allocation: allocation.id.to_string(),
                task,
            });
            let environment = [
                ("CLUSTER_JOB", allocation.job.to_string()),
                ("CLUSTER_TASK", task.to_string()),
                ("CLUSTER_SLOT", slot_id.to_string()),
            ];
            match Process::start(&command, environment) {
                Ok(process) => self.running = Some(RunningTask { task, process }),
                Err(error) => {
                    tracing::warn!(task, %error, "the command cannot be started");
                    self.log_end(task, Some(CANNOT_START));
                    stream.tell_end(task, Some(CANNOT_START))?;
                }
            }
        }
        Ok(())
    }

    fn log_end(&self, task: u64, exit_code: Option<i32>) {
        self.events.log(&Event::TaskEnded {
            slot: self.offer.slot_id.to_string(),
            job: self.offer.allocation.job.to_string(),
            task,
            exit_code,
        });
    }
}

impl Stream {
    /// Dials the job master and offers the slot.
    async fn open(dialer: &Dialer, offer: &Offer) -> Result<Self, Status> {
        let channel = dialer.dial(&offer.target_address).await;
        let channel = channel.map_err(|error| match error {
            DialError::NotAnAddress(_) => Status::invalid_argument(error.to_string()),
            DialError::NotReached(..) => Status::from_error(Box::new(error)),
        })?;
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let message = v1::from_slot::Message::Offer(v1::OfferSlot {
            resource_id: offer.slot_id.resource_id().to_string(),
            slot_number: offer.slot_id.slot_number(),
            allocation_id: offer.allocation.id.to_bytes().into(),
            job_id: offer.allocation.job.to_bytes().into(),
            epoch: offer.epoch.0,
        });
        let first = tokio_stream::once(v1::FromSlot { message: Some(message) });
        let outgoing = tokio_stream::StreamExt::chain(first, ReceiverStream::new(messages));
        let mut client = JobMasterClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES);
        let messages = client.offer_slot(outgoing).await?.into_inner();
        Ok(Self { outbox, messages })
    }

    /// Tells the job master that a task has ended.
    fn tell_end(&self, task: u64, exit_code: Option<i32>) -> Result<(), Status> {
        let message = v1::from_slot::Message::Ended(v1::TaskEnded { task, exit_code });
        let message = v1::FromSlot { message: Some(message) };
        let sent = self.outbox.try_send(message);
        sent.map_err(|_| Status::resource_exhausted("the job master does not read"))
    }
}

/// Returns `true` if a status is that of a failed connection. A status that the job master has sent
/// has no source.
fn is_not_reached(status: &Status) -> bool {
    status.source().is_some()
}

/// Returns `true` if nothing listens at the address.
fn is_refused(status: &Status) -> bool {
    io_failure(status, ErrorKind::ConnectionRefused).is_some()
}

/// Waits until the running task ends. Waits for ever if none runs.
async fn end_of(running: &mut Option<RunningTask>) -> (u64, Option<i32>) {
    match running {
        Some(running) => (running.task, running.process.wait().await),
        None => std::future::pending().await,
    }
}
