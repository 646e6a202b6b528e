//! The mailbox of the task that owns the slot manager.

use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision, SlotFreed, SlotResult};
use slot_manager::{AllocationId, InstanceId, JobId, SlotReport, SlotRequest, WorkerRequestId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Manager;
use crate::protocol::{Epoch, Registration, v1};
use crate::provisioner::News;

/// The most inputs that wait. A sender waits until there is room, which slows its peer only.
pub const CAPACITY: usize = 4_096;

/// The most messages that wait for a peer.
const OUTBOX: usize = 256;

/// An input and the leadership that it is meant for. An input of another leadership is dropped.
pub struct Envelope {
    pub epoch: Epoch,
    pub input: Input,
}

/// All that the owner of the slot manager hears.
pub enum Input {
    /// A task executor registers. The answer comes after `Registered` is in its outbox.
    Register {
        registration: Registration,
        worker_request: Option<WorkerRequestId>,
        report: SlotReport,
        outbox: Outbox<v1::ToTaskExecutor>,
        answer: oneshot::Sender<Result<(), Status>>,
    },
    Reported {
        instance_id: InstanceId,
        report: SlotReport,
    },
    Answered {
        attempt: AttemptId,
        result: SlotResult,
    },
    Freed(SlotFreed),
    ReleaseAnswered {
        check: ReleaseCheck,
        decision: ReleaseDecision,
    },
    /// The only end of the session of a task executor.
    TaskExecutorGone {
        instance_id: InstanceId,
        cause: String,
    },
    /// A job master registers. A later session of one job replaces the earlier one.
    JobMaster {
        job_id: JobId,
        session: u64,
        /// Grants that the job believes to have.
        grants: Vec<AllocationId>,
        outbox: Outbox<v1::ToJobMaster>,
    },
    Requested(SlotRequest),
    Cancelled {
        job_id: JobId,
        allocation_id: AllocationId,
    },
    /// The only end of the session of a job master.
    JobMasterGone {
        job_id: JobId,
        session: u64,
    },
    Provisioner(News),
    /// A question or an order of an operator. It returns at once.
    Query(Box<dyn FnOnce(&mut Manager) + Send>),
}

/// Messages to a peer. A peer that does not read them loses its session.
pub struct Outbox<T> {
    sender: mpsc::Sender<T>,
    session: CancellationToken,
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
    /// Creates the outbox of a session, which ends when the token is cancelled.
    pub fn new(session: CancellationToken) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(OUTBOX);
        (Self { sender, session }, receiver)
    }

    /// Sends a message. Returns `false` if the session has ended, or ends because it is full.
    pub fn send(&self, message: T) -> bool {
        let is_sent = !self.session.is_cancelled() && self.sender.try_send(message).is_ok();
        if !is_sent {
            self.session.cancel();
        }
        is_sent
    }

    /// Ends the session.
    pub fn close(&self) {
        self.session.cancel();
    }
}
