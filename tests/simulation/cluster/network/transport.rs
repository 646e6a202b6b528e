//! Messages and their way: the fate of each message is drawn when it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use slot_manager::message::{AllocateSlot, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, SlotFreed};
use slot_manager::{
    AllocationId, InstanceId, LeaderId, ResourceProfile, ResourceRequirements, SlotId, SlotReport, Timestamp,
    WorkerRequestId,
};

use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::network::gateway::{Answer, Reply};
use crate::cluster::simulation::Simulation;

/// Sender and receiver. Only messages on one link can overtake each other. Those of a task executor
/// whose answers are inputs do so only by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    ManagerToWorker(usize),
    WorkerToManager(usize),
    WorkerToJob(usize, u128),
    JobToWorker(u128, usize),
    JobToManager(u128),
    ManagerToJob(u128),
    FromResourceManager,
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// To the manager, from a task executor.
    Register {
        worker: usize,
        leader_id: LeaderId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestId>,
        report: SlotReport,
    },
    Report {
        worker: usize,
        instance_id: InstanceId,
        report: SlotReport,
    },
    Freed {
        freed: SlotFreed,
        /// The manager asked the task executor to free the slot.
        is_asked: bool,
    },
    ReleaseDecision {
        question: ReleaseCheck,
        answer: ReleaseDecision,
    },
    /// To the manager, from the resource manager.
    Unregister {
        instance_id: InstanceId,
    },
    WorkerFailed {
        worker_request: WorkerRequestId,
    },
    /// To the manager, from a job master.
    Request {
        job: u128,
        allocation_id: AllocationId,
        profile: ResourceProfile,
    },
    Cancel {
        allocation_id: AllocationId,
    },
    Declare(ResourceRequirements),
    JobEnded {
        job: u128,
    },
    /// To a task executor, from the manager's side.
    RequestSlot(AllocateSlot, Reply),
    FreeSlot(FreeSlot),
    FreeInactiveSlots(FreeInactiveSlots),
    RegisterAgain {
        instance_id: InstanceId,
    },
    Stop {
        process: u64,
    },
    /// To a task executor, from a job master.
    Accept {
        job: u128,
        allocation_id: AllocationId,
    },
    Return {
        allocation_id: AllocationId,
    },
    /// To the manager: the answer of a task executor.
    Answer {
        reply: Reply,
        answer: Answer,
    },
    /// To a job master.
    Offer {
        slot_id: SlotId,
        allocation_id: AllocationId,
    },
    /// All slots that a task executor holds for the job.
    HeldSlots {
        worker: usize,
        slots: Vec<(SlotId, AllocationId)>,
    },
    NotServed {
        allocation_id: AllocationId,
    },
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) link: Link,
    number: u64,
    pub(crate) message: Message,
}

/// The rates of faults of the network.
#[derive(Debug, Clone)]
pub(crate) struct NetworkConditions {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    pub(crate) delay: f64,
    /// The rate of messages that overtake others on an ordered link.
    pub(crate) reordering: f64,
    /// The longest normal delay of a message.
    pub(crate) latency: Duration,
    /// The longest extra delay of a delayed message.
    pub(crate) longest_delay: Duration,
}

/// The last sent and arrived message of each link.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<Link, (u64, u64)>,
    /// The arrival of the last message on each ordered link.
    last_arrivals: BTreeMap<Link, Timestamp>,
    /// The lost answers whose callers have not noticed.
    pub(crate) unanswered: Vec<Reply>,
}

impl Simulation {
    pub(crate) fn send(&mut self, link: Link, message: Message) {
        let (sent, _) = self.network.links.entry(link).or_default();
        *sent += 1;
        let number = *sent;
        if self.fails(self.scenario.network.loss) {
            self.trace.note(|| format!("  lost on {link:?}: {message:?}"));
            self.lose(message);
            return;
        }
        if self.fails(self.scenario.network.duplication) {
            self.faults.count(Fault::MessageDuplicated);
            self.post(link, number, message.clone());
        }
        self.post(link, number, message);
    }

    fn post(&mut self, link: Link, number: u64, message: Message) {
        let mut delay = self.up_to(self.scenario.network.latency);
        if self.fails(self.scenario.network.delay) {
            self.faults.count(Fault::MessageDelayed);
            delay += self.up_to(self.scenario.network.longest_delay);
        }
        let envelope = Envelope { link, number, message };
        let mut at = self.now() + delay;
        if self.is_ordered(link) && !self.fails(self.scenario.network.reordering) {
            let last = self.network.last_arrivals.entry(link).or_default();
            at = at.max(*last);
            *last = at;
        }
        self.queue.schedule(at, Event::Arrival(Box::new(envelope)));
    }

    fn is_ordered(&self, link: Link) -> bool {
        matches!(link, Link::WorkerToManager(worker) if self.workers[worker].answers_are_inputs)
    }

    /// Loses a message. Sometimes the sender sees that the connection is broken.
    pub(crate) fn lose(&mut self, message: Message) {
        let (fault, reply) = match message {
            Message::RequestSlot(_, reply) => (Fault::RequestLost, reply),
            Message::Answer { reply, .. } => (Fault::AnswerLost, reply),
            _ => return self.faults.count(Fault::OtherMessageLost),
        };
        self.faults.count(fault);
        if self.faults_are_over || self.chance(0.3) {
            self.faults.count(Fault::ConnectionBroken);
            let delay = self.up_to(self.scenario.network.longest_delay);
            self.schedule_in(delay, Event::ConnectionBroken(reply));
        } else {
            self.network.unanswered.push(reply);
        }
    }

    /// Notes the arrival of a message, and counts whether a later one came before it.
    pub(crate) fn arrive(&mut self, envelope: &Envelope) {
        let (_, arrived) = self.network.links.entry(envelope.link).or_default();
        if envelope.number < *arrived {
            self.faults.count(Fault::MessageReordered);
        }
        *arrived = envelope.number.max(*arrived);
    }
}
