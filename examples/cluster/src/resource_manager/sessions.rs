//! The sessions of peers. A session is one gRPC stream within one leadership.
//!
//! It reads the first message within a time limit, registers with the owner of the slot manager,
//! and forwards all later messages in order. The owner hears of its end once, for any cause.

pub mod job_master;
pub mod task_executor;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::mailbox::{Envelope, Input};
use super::outbox::{Outbox, Session};
use crate::protocol::{Epoch, limits};

/// A leadership of this process, as sessions see it.
#[derive(Debug, Clone)]
pub struct Leads {
    pub epoch: Epoch,
    /// Is cancelled when the leadership has ended.
    pub end: CancellationToken,
}

/// The times by which both sides see that the other is gone.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeats {
    pub interval: Duration,
    pub timeout: Duration,
}

impl Heartbeats {
    pub fn interval_ms(&self) -> u32 {
        milliseconds(self.interval)
    }

    pub fn timeout_ms(&self) -> u32 {
        milliseconds(self.timeout)
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The parts that all sessions share.
#[derive(Clone)]
pub struct Sessions {
    mailbox: mpsc::Sender<Envelope>,
    heartbeats: Heartbeats,
    next: Arc<AtomicU64>,
}

impl Sessions {
    pub fn new(mailbox: mpsc::Sender<Envelope>, heartbeats: Heartbeats) -> Self {
        Self {
            mailbox,
            heartbeats,
            next: Arc::default(),
        }
    }

    fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins the session of a peer, as a task of its own. Returns the messages to the peer.
    fn begin<M, F>(&self, leads: &Leads, run: impl FnOnce(Outbox<M>, Session) -> F) -> Outgoing<M>
    where
        F: Future<Output = End> + Send + 'static,
    {
        let session = Session::within(&leads.end);
        let (outbox, messages) = Outbox::new(session.clone());
        let (report_end, end) = oneshot::channel();
        let run = run(outbox, session);
        tokio::spawn(async move {
            let end = run.await;
            // The peer may have gone.
            let _ = report_end.send(end.status);
        });
        Outgoing {
            messages,
            end,
            ended: None,
        }
    }

    /// Sends an input to the owner. It waits while the mailbox is full, which slows this peer only.
    async fn send(&self, epoch: Epoch, input: Input) -> Result<(), End> {
        let sent = self.mailbox.send(Envelope { epoch, input }).await;
        sent.map_err(|_| Status::unavailable("the resource manager stops").into())
    }

    /// Runs the part of a session that reads, until it ends or the session does. Meanwhile a
    /// registered peer gets heartbeats.
    async fn drive<M>(
        &self,
        outbox: &Outbox<M>,
        session: &Session,
        heartbeat: impl Fn() -> M,
        read: impl Future<Output = Result<Infallible, End>>,
    ) -> End {
        let heartbeats = async {
            let period = self.heartbeats.interval;
            let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                outbox.send_heartbeat(heartbeat());
            }
        };
        let end = tokio::select! {
            biased;
            cause = session.ended() => cause.into(),
            Err(end) = read => end,
            () = heartbeats => Status::internal("heartbeats have ended").into(),
        };
        // Before the owner is told, which can take long: a registration that still waits is void.
        session.end(Status::cancelled("the session has ended"));
        end
    }

    /// Waits for the next message. The heartbeat timeout counts the time spent here only: it does
    /// not run while the mailbox is full.
    async fn next<M>(&self, messages: &mut Streaming<M>) -> Result<M, End> {
        match timeout(self.heartbeats.timeout, messages.message()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(End::left("it has closed the stream")),
            Ok(Err(status)) => Err(End {
                cause: format!("its connection has failed: {}", status.message()),
                status: Err(status),
            }),
            Err(_) => Err(Status::deadline_exceeded("no heartbeat").into()),
        }
    }
}

/// Waits for the first message of a peer.
async fn first<M>(messages: &mut Streaming<M>) -> Result<M, End> {
    match timeout(limits::FIRST_MESSAGE, messages.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(End::left("it has sent nothing")),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Status::deadline_exceeded("no first message in time").into()),
    }
}

/// Refuses a peer that has seen a later leadership.
fn check_epoch(leads: &Leads, highest_epoch: u64) -> Result<(), End> {
    if leads.epoch >= Epoch(highest_epoch) {
        return Ok(());
    }
    let reason = format!("leadership {} is over: the peer has seen {highest_epoch}", leads.epoch);
    Err(Status::failed_precondition(reason).into())
}

/// The end of a session: the cause for the log, and the status for the peer.
#[derive(Debug)]
struct End {
    cause: String,
    status: Result<(), Status>,
}

impl End {
    /// Returns the end of a session that the peer has ended in good order.
    fn left(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            status: Ok(()),
        }
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self {
            cause: status.message().to_owned(),
            status: Err(status),
        }
    }
}

impl From<crate::protocol::ProtocolError> for End {
    fn from(error: crate::protocol::ProtocolError) -> Self {
        Status::from(error).into()
    }
}

/// The messages to a peer, and then the status of the end of its session.
pub struct Outgoing<M> {
    messages: mpsc::Receiver<M>,
    end: oneshot::Receiver<Result<(), Status>>,
    /// The end that has come, while messages are left.
    ended: Option<Result<(), Status>>,
}

impl<M> Stream for Outgoing<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // First: all messages before the end are there once it has come.
        if !self.end.is_terminated()
            && let Poll::Ready(end) = Pin::new(&mut self.end).poll(context)
        {
            self.ended = Some(end.unwrap_or(Ok(())));
        }
        if !self.end.is_terminated() {
            return match self.messages.poll_recv(context) {
                Poll::Ready(Some(message)) => Poll::Ready(Some(Ok(message))),
                // If nobody can send any more, the end comes.
                _ => Poll::Pending,
            };
        }
        // A poll could be pending here only to let other tasks run.
        Poll::Ready(match self.messages.try_recv() {
            Ok(message) => Some(Ok(message)),
            Err(_) => self.ended.take().and_then(Result::err).map(Err),
        })
    }
}

#[cfg(test)]
mod tests;
