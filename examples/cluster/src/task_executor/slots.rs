//! The owner of the slots. It alone changes them, and it alone writes to the leader. So answers,
//! freed slots and reports leave in the order in which the slots change.

use std::collections::HashMap;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AllocateSlot, Allocation, ReleaseCheck, ReleaseDecision, SlotFreed};
use slot_manager::task_executor::{TaskExecutorMessage, TaskSlotTable};
use slot_manager::{AllocationId, ScheduledExecutor, Timestamp, TokioScheduledExecutor, WorkerRequestId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::offers::Offer;
use crate::event_log::{Event, EventLog};
use crate::protocol::v1::from_task_executor::Message;
use crate::protocol::{Epoch, Registration, slot_answer, v1};

/// An input of the owner of the slots.
#[derive(Debug)]
pub enum Input {
    /// A connection to a leader is open. The registration is written to it.
    Connect {
        link: Link,
        highest_epoch: Epoch,
    },
    /// The leader has accepted the registration.
    Registered(Registration),
    FromLeader(TaskExecutorMessage),
    /// The time for a report has come.
    Heartbeat,
    /// The connection to the leader has ended.
    Disconnected,
    /// The job of a grant begins to use its slot. The answer is `false` if the grant has ended.
    Use(GrantKey, oneshot::Sender<bool>),
    /// A grant needs its slot no more.
    Free(GrantKey),
    /// Asks whether no job has a slot.
    AskIdle(oneshot::Sender<bool>),
    /// The process stops. The leader is told, and all offers end.
    Leave {
        reason: String,
    },
}

/// The way to a leader.
#[derive(Debug)]
pub struct Link {
    pub outbox: mpsc::Sender<v1::FromTaskExecutor>,
    /// Is cancelled if the leader does not read what it is sent.
    pub broken: CancellationToken,
}

/// Names one grant of this process. An allocation may get a slot more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantKey {
    pub allocation_id: AllocationId,
    number: u64,
}

/// A grant that holds a slot.
#[derive(Debug)]
struct Grant {
    number: u64,
    /// Ends the offer of the slot.
    ended: CancellationToken,
}

/// The slots of this process, the link to the leader, and the held grants.
pub struct Slots {
    table: TaskSlotTable,
    /// The most slots that are held at a time. A report of more would be refused.
    most_slots: usize,
    clock: TokioScheduledExecutor,
    worker_request: Option<WorkerRequestId>,
    /// The leader that is told, also while its answer to the registration is awaited.
    leader: Option<Link>,
    /// The epoch of the last leader that has accepted a registration.
    epoch: Epoch,
    grants: HashMap<AllocationId, Grant>,
    last_grant: u64,
    /// The task that makes offers; `None` once the process stops.
    offers: Option<mpsc::UnboundedSender<Offer>>,
    events: EventLog,
}

impl Slots {
    pub fn new(
        table: TaskSlotTable,
        most_slots: usize,
        worker_request: Option<WorkerRequestId>,
        offers: mpsc::UnboundedSender<Offer>,
        events: EventLog,
    ) -> Self {
        Self {
            table,
            most_slots,
            clock: TokioScheduledExecutor::new(),
            worker_request,
            leader: None,
            epoch: Epoch::default(),
            grants: HashMap::new(),
            last_grant: 0,
            offers: Some(offers),
            events,
        }
    }

    /// Handles inputs until all their senders are gone.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            let slot_timeout = self
                .clock
                .delay_until(self.table.next_timeout().unwrap_or(Timestamp::MAX));
            tokio::select! {
                // Many inputs must not starve time.
                biased;
                () = slot_timeout => self.expire(),
                input = inputs.recv() => match input {
                    Some(input) => self.handle(input),
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Connect { link, highest_epoch } => self.register(link, highest_epoch),
            Input::Registered(registration) => self.connect(&registration),
            Input::FromLeader(TaskExecutorMessage::AllocateSlot(request)) => self.allocate(&request),
            Input::FromLeader(TaskExecutorMessage::FreeSlot(request)) => {
                if let Some(freed) = self.table.free_slot(&request) {
                    self.freed(&freed);
                }
            }
            Input::FromLeader(TaskExecutorMessage::FreeInactiveSlots(request)) => {
                for freed in self.table.free_inactive_slots(&request) {
                    self.freed(&freed);
                }
            }
            Input::FromLeader(TaskExecutorMessage::CheckRelease(check)) => self.answer_release(&check),
            Input::FromLeader(message) => tracing::warn!(?message, "unknown message of the leader"),
            Input::Heartbeat => {
                let report = (&self.table.report()).into();
                self.send(Message::Heartbeat(report));
            }
            Input::Disconnected => self.disconnect(),
            Input::Use(grant, answer) => {
                let is_used = self.is_held(grant) && self.table.activate(grant.allocation_id).is_some();
                // If the offer has ended meanwhile, it frees the slot next.
                let _ = answer.send(is_used);
            }
            Input::Free(grant) => {
                if self.is_held(grant)
                    && let Some(freed) = self.table.free(grant.allocation_id)
                {
                    self.freed(&freed);
                }
            }
            Input::AskIdle(answer) => {
                // Who asks no more needs no answer.
                let _ = answer.send(self.grants.is_empty());
            }
            Input::Leave { reason } => self.leave(reason),
        }
    }

    /// Writes the registration with a report. Later changes are written after it.
    fn register(&mut self, link: Link, highest_epoch: Epoch) {
        // The leader chooses the instance id, so changes before its answer name no registration.
        self.table.disconnect();
        self.leader = Some(link);
        let register = v1::RegisterTaskExecutor {
            resource_id: self.table.resource_id().to_string(),
            highest_epoch: highest_epoch.0,
            worker_request: self.worker_request.map(Into::into),
            report: Some((&self.table.report()).into()),
        };
        self.send(Message::Register(register));
    }

    fn connect(&mut self, registration: &Registration) {
        let Registration { epoch, instance_id, .. } = *registration;
        self.table.connect(epoch.leader_id(), instance_id);
        self.epoch = epoch;
        self.events.log(&Event::Registered {
            worker: self.table.resource_id().to_string(),
            epoch,
            instance: instance_id.to_string(),
        });
    }

    fn disconnect(&mut self) {
        self.table.disconnect();
        self.leader = None;
    }

    /// Answers a slot request. A slot that was free is then offered to the job.
    fn allocate(&mut self, request: &AllocateSlot) {
        let was_free = self.table.current_allocation(request.slot_id.slot_number()).is_none();
        let result = match was_free && self.grants.len() >= self.most_slots {
            true => Err(SlotAllocationError::rejected(
                "the worker holds the most slots that it can",
            )),
            false => self.table.request_slot(request, self.clock.now()),
        };
        let is_new = was_free && result.is_ok();
        if is_new {
            self.events.log(&Event::Allocated {
                slot: request.slot_id.to_string(),
                allocation: request.allocation_id.to_string(),
                job: request.job_id.to_string(),
                epoch: self.epoch,
            });
        }
        self.send(Message::SlotAnswer(slot_answer(request, &result)));
        if is_new {
            self.offer(request);
        }
    }

    fn offer(&mut self, request: &AllocateSlot) {
        self.last_grant += 1;
        let (number, ended) = (self.last_grant, CancellationToken::new());
        let offer = Offer {
            slot_id: request.slot_id.clone(),
            allocation: Allocation {
                id: request.allocation_id,
                job: request.job_id,
            },
            target_address: request.target_address.clone(),
            epoch: self.epoch,
            grant: GrantKey {
                allocation_id: request.allocation_id,
                number,
            },
            ended: ended.clone(),
        };
        self.grants.insert(request.allocation_id, Grant { number, ended });
        // Without an offer, the slot timeout frees the slot.
        if self.offers.as_ref().is_none_or(|offers| offers.send(offer).is_err()) {
            tracing::warn!(slot = %request.slot_id, "the slot cannot be offered");
        }
    }

    fn answer_release(&mut self, check: &ReleaseCheck) {
        let decision = self.table.can_be_released(check);
        self.send(Message::ReleaseAnswer(v1::ReleaseAnswer {
            check: check.number,
            may_be_released: decision == ReleaseDecision::Release,
        }));
    }

    /// Frees the slots that no job has used in time.
    fn expire(&mut self) {
        for freed in self.table.expire(self.clock.now()) {
            tracing::info!(slot = %freed.slot_id(), allocation = %freed.allocation_id(), "the slot was not used in time");
            self.freed(&freed);
        }
    }

    /// Tells everyone that a slot is free.
    fn freed(&mut self, freed: &SlotFreed) {
        self.events.log(&Event::Freed {
            slot: freed.slot_id().to_string(),
            allocation: freed.allocation_id().to_string(),
        });
        let mut message = v1::SlotFreed::from(freed);
        if freed.revision().is_none() {
            // The answer to the registration is awaited. The message arrives behind the report, so
            // it needs a revision that is not in it.
            message.revision = self.table.revision();
        }
        self.send(Message::SlotFreed(message));
        if let Some(grant) = self.grants.remove(&freed.allocation_id()) {
            grant.ended.cancel();
        }
    }

    /// Tells the leader that the process stops, and ends all offers. Each frees its slot when its
    /// process has ended.
    fn leave(&mut self, reason: String) {
        self.send(Message::Leaving(v1::Leaving { reason }));
        // The leader counts the grants as lost, so it must not hear that they were given back.
        self.disconnect();
        self.offers = None;
        for grant in self.grants.values() {
            grant.ended.cancel();
        }
    }

    /// Returns `true` if a grant still holds its slot.
    fn is_held(&self, grant: GrantKey) -> bool {
        self.grants
            .get(&grant.allocation_id)
            .is_some_and(|held| held.number == grant.number)
    }

    /// Sends a message to the leader, if there is one. A leader that does not read loses the
    /// connection.
    fn send(&mut self, message: Message) {
        let Some(leader) = &self.leader else {
            return;
        };
        let message = v1::FromTaskExecutor { message: Some(message) };
        if leader.outbox.try_send(message).is_err() {
            leader.broken.cancel();
            self.disconnect();
        }
    }
}

#[cfg(test)]
mod tests;
