//! The messages to a peer, and the end of its session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::protocol::limits;

/// The most messages that wait for a peer. When a large worker registers, a request and perhaps a
/// free for each of its slots leave in one call.
const CAPACITY: usize = 256 + 2 * limits::SLOTS;

/// The life of one session. It ends with the leadership at the latest.
#[derive(Clone)]
pub struct Session {
    end: CancellationToken,
    cause: Arc<OnceLock<Status>>,
    /// The owner has answered the registration.
    is_answered: Arc<AtomicBool>,
}

impl Session {
    /// Begins a session that ends with a leadership.
    pub fn within(leadership: &CancellationToken) -> Self {
        Self {
            end: leadership.child_token(),
            cause: Arc::default(),
            is_answered: Arc::default(),
        }
    }

    /// Ends the session. The peer is told the first cause.
    pub fn end(&self, cause: Status) {
        if !self.has_ended() {
            self.cause.get_or_init(|| cause);
        }
        self.end.cancel();
    }

    pub fn has_ended(&self) -> bool {
        self.end.is_cancelled()
    }

    /// Waits for the end, and returns the status for the peer.
    pub async fn ended(&self) -> Status {
        self.end.cancelled().await;
        let cause = self.cause.get().cloned();
        cause.unwrap_or_else(|| Status::unavailable("the leadership has ended"))
    }
}

/// Messages to a peer. A peer that does not read them loses its session.
pub struct Outbox<T> {
    sender: mpsc::Sender<T>,
    session: Session,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            session: self.session.clone(),
        }
    }
}

impl<T> Outbox<T> {
    /// Creates the outbox of a session.
    pub fn new(session: Session) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, session }, receiver)
    }

    /// Sends a heartbeat, unless the peer still waits for the answer to its registration: it would
    /// take the heartbeat for a refusal.
    pub fn send_heartbeat(&self, heartbeat: impl Into<T>) {
        if self.session.is_answered.load(Ordering::Acquire) {
            self.send(heartbeat);
        }
    }

    /// Sends a message; the first answers the registration. Returns `false` if the session has
    /// ended, or ends because the outbox is full.
    pub fn send(&self, message: impl Into<T>) -> bool {
        if self.session.has_ended() {
            return false;
        }
        match self.sender.try_send(message.into()) {
            Ok(()) => {
                self.session.is_answered.store(true, Ordering::Release);
                true
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end(Status::resource_exhausted("too many messages were not read"));
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.end(Status::cancelled("the stream is closed"));
                false
            }
        }
    }

    /// Returns `true` if nobody reads the messages any more.
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Ends the session. Messages that were sent before still reach a peer that reads.
    pub fn end(&self, cause: Status) {
        self.session.end(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_outbox_ends_its_session() {
        let session = Session::within(&CancellationToken::new());
        let (outbox, _receiver) = Outbox::<usize>::new(session.clone());
        assert!((0..CAPACITY).all(|message| outbox.send(message)));
        assert!(!outbox.send(CAPACITY));
        assert_eq!(session.ended().await.code(), tonic::Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn a_session_ends_with_its_leadership() {
        let leadership = CancellationToken::new();
        let session = Session::within(&leadership);
        let (outbox, _receiver) = Outbox::<u32>::new(session.clone());
        leadership.cancel();
        assert!(!outbox.send(1_u32));
        assert_eq!(session.ended().await.code(), tonic::Code::Unavailable);
    }
}
