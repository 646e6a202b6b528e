//! The owner of the slots. It alone changes them, and it alone writes to the leader. So answers,
//! freed slots and reports leave in the order in which the slots change.

use std::collections::HashMap;

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

/// The slots of this process, with all that hears of their changes.
pub struct Slots {
    table: TaskSlotTable,
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
        worker_request: Option<WorkerRequestId>,
        offers: mpsc::UnboundedSender<Offer>,
        events: EventLog,
    ) -> Self {
        Self {
            table,
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
            Input::Leave { reason } => self.leave(reason),
        }
    }

    /// Writes the registration with a report. Whatever changes later is written behind it.
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
        let result = self.table.request_slot(request, self.clock.now());
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
mod tests {
    use std::time::Duration;

    use slot_manager::message::FreeSlot;
    use slot_manager::{InstanceId, JobId, LeaderId, ResourceProfile, SlotId};
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;

    const EPOCH: Epoch = Epoch(5);
    const INSTANCE: InstanceId = InstanceId::from_u128(9);

    /// The owner of two slots, with all its neighbours.
    struct Worker {
        inputs: mpsc::Sender<Input>,
        leader: mpsc::Receiver<v1::FromTaskExecutor>,
        broken: CancellationToken,
        offers: mpsc::UnboundedReceiver<Offer>,
    }

    impl Worker {
        /// Starts the owner of the slots, and connects it to a leader.
        async fn start() -> Self {
            Self::start_with_outbox(100).await
        }

        async fn start_with_outbox(capacity: usize) -> Self {
            let profiles = [ResourceProfile::ANY, ResourceProfile::ANY];
            let table = TaskSlotTable::new("w", profiles).with_slot_timeout(Duration::from_secs(10));
            let worker_request = WorkerRequestId::new(EPOCH.leader_id(), 3);
            let (inputs, receiver) = mpsc::channel(100);
            let (grants, offers) = mpsc::unbounded_channel();
            let slots = Slots::new(table, Some(worker_request), grants, EventLog::default());
            tokio::spawn(slots.run(receiver));
            let (outbox, leader) = mpsc::channel(capacity);
            let mut worker = Self {
                inputs,
                leader,
                broken: CancellationToken::new(),
                offers,
            };
            worker.connect(outbox).await;
            worker.registered().await;
            worker
        }

        /// Opens a connection. Checks that the registration is written to it.
        async fn connect(&mut self, outbox: mpsc::Sender<v1::FromTaskExecutor>) {
            let broken = self.broken.clone();
            let link = Link { outbox, broken };
            let highest_epoch = EPOCH;
            self.tell(Input::Connect { link, highest_epoch }).await;
            let Message::Register(register) = self.hears().await else {
                panic!("no registration");
            };
            assert_eq!((register.resource_id.as_str(), register.highest_epoch), ("w", EPOCH.0));
            assert_eq!(register.worker_request.map(|request| request.number), Some(3));
            assert_eq!(register.report.map(|report| report.slots.len()), Some(2));
        }

        async fn registered(&self) {
            self.tell(Input::Registered(Registration {
                epoch: EPOCH,
                resource_id: "w".into(),
                instance_id: INSTANCE,
            }))
            .await;
        }

        async fn tell(&self, input: Input) {
            self.inputs.send(input).await.unwrap();
        }

        /// Asks for slot 0 as the leader.
        async fn allocate(&self, allocation: u128, attempt: u64) {
            self.tell(Input::FromLeader(TaskExecutorMessage::AllocateSlot(AllocateSlot {
                slot_id: SlotId::new("w", 0),
                job_id: JobId::from_u128(7),
                allocation_id: AllocationId::from_u128(allocation),
                resource_profile: ResourceProfile::ANY,
                target_address: "job:1".into(),
                leader_id: EPOCH.leader_id(),
                instance_id: INSTANCE,
                attempt,
            })))
            .await;
        }

        async fn free(&self, allocation: u128, attempt: u64) {
            self.tell(Input::FromLeader(TaskExecutorMessage::FreeSlot(FreeSlot {
                slot_id: SlotId::new("w", 0),
                job_id: JobId::from_u128(7),
                allocation_id: AllocationId::from_u128(allocation),
                leader_id: EPOCH.leader_id(),
                instance_id: INSTANCE,
                attempt,
            })))
            .await;
        }

        /// Gives slot 0 to an allocation. Returns its offer.
        async fn grant(&mut self, allocation: u128, attempt: u64) -> Offer {
            self.allocate(allocation, attempt).await;
            assert!(matches!(self.hears().await, Message::SlotAnswer(answer) if is_acknowledged(&answer)));
            self.offers.recv().await.unwrap()
        }

        async fn uses(&self, grant: GrantKey) -> bool {
            let (answer, answered) = oneshot::channel();
            self.tell(Input::Use(grant, answer)).await;
            answered.await.unwrap()
        }

        /// Returns the next message to the leader.
        async fn hears(&mut self) -> Message {
            self.leader.recv().await.unwrap().message.unwrap()
        }

        /// Returns the next message to the leader, which is that of a freed slot.
        async fn hears_freed(&mut self) -> v1::SlotFreed {
            match self.hears().await {
                Message::SlotFreed(freed) => freed,
                other => panic!("{other:?}"),
            }
        }

        /// Returns the revision of the next message, a heartbeat, and the number of held slots.
        async fn hears_heartbeat(&mut self) -> (u64, usize) {
            match self.hears().await {
                Message::Heartbeat(report) => {
                    let held = report.slots.iter().filter(|slot| slot.allocation.is_some());
                    (report.revision, held.count())
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn is_acknowledged(answer: &v1::SlotAnswer) -> bool {
        matches!(answer.result, Some(v1::slot_answer::Result::Acknowledged(_)))
    }

    #[tokio::test]
    async fn a_slot_is_given_and_offered_once() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        assert_eq!((offer.slot_id, &*offer.target_address), (SlotId::new("w", 0), "job:1"));
        assert_eq!((offer.allocation.id, offer.epoch), (AllocationId::from_u128(1), EPOCH));

        // The same request again is acknowledged, another allocation is not.
        worker.allocate(1, 2).await;
        assert!(matches!(worker.hears().await, Message::SlotAnswer(answer) if is_acknowledged(&answer)));
        worker.allocate(2, 3).await;
        assert!(matches!(
            worker.hears().await,
            Message::SlotAnswer(v1::SlotAnswer {
                result: Some(v1::slot_answer::Result::Occupied(_)),
                ..
            })
        ));
        assert_eq!(worker.offers.try_recv().err(), Some(TryRecvError::Empty));
    }

    #[tokio::test]
    async fn a_freed_slot_is_told_before_the_report() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        assert!(worker.uses(offer.grant).await);
        worker.tell(Input::Heartbeat).await;
        worker.tell(Input::Free(offer.grant)).await;
        worker.tell(Input::Heartbeat).await;
        assert_eq!(worker.hears_heartbeat().await, (1, 1));
        let freed = worker.hears_freed().await;
        assert_eq!((freed.revision, freed.attempt), (2, Some(1)));
        assert_eq!(worker.hears_heartbeat().await, (2, 0));
        assert!(offer.ended.is_cancelled());
        assert!(!worker.uses(offer.grant).await);
    }

    #[tokio::test]
    async fn the_manager_takes_back_only_what_is_not_used() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        worker.free(1, 1).await;
        assert_eq!(worker.hears_freed().await.revision, 2);
        assert!(offer.ended.is_cancelled());

        let offer = worker.grant(2, 2).await;
        assert!(worker.uses(offer.grant).await);
        worker.free(2, 2).await;
        worker.tell(Input::Heartbeat).await;
        assert_eq!(worker.hears_heartbeat().await, (3, 1));
        assert!(!offer.ended.is_cancelled());
    }

    #[tokio::test]
    async fn to_free_an_unknown_allocation_changes_nothing() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        worker.free(2, 2).await;
        worker.tell(Input::Heartbeat).await;
        assert_eq!(worker.hears_heartbeat().await, (1, 1));
        assert!(!offer.ended.is_cancelled());
    }

    #[tokio::test]
    async fn an_earlier_grant_cannot_free_a_later_one() {
        let mut worker = Worker::start().await;
        let earlier = worker.grant(1, 1).await.grant;
        worker.free(1, 1).await;
        worker.hears_freed().await;
        let later = worker.grant(1, 2).await;
        worker.tell(Input::Free(earlier)).await;
        assert!(!worker.uses(earlier).await);
        worker.tell(Input::Heartbeat).await;
        assert_eq!(worker.hears_heartbeat().await, (3, 1));
        assert!(worker.uses(later.grant).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_not_used_expires() {
        let mut worker = Worker::start().await;
        let start = tokio::time::Instant::now();
        let offer = worker.grant(1, 1).await;
        assert_eq!(worker.hears_freed().await.attempt, Some(1));
        assert_eq!(start.elapsed().as_secs(), 10);
        assert!(offer.ended.is_cancelled());
    }

    #[tokio::test]
    async fn a_slot_freed_during_a_registration_follows_its_report() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        assert!(worker.uses(offer.grant).await);
        let (outbox, leader) = mpsc::channel(100);
        worker.leader = leader;
        worker.connect(outbox).await;
        worker.tell(Input::Free(offer.grant)).await;
        worker.registered().await;
        let freed = worker.hears_freed().await;
        assert_eq!((freed.revision, freed.attempt), (2, None));
    }

    #[tokio::test]
    async fn grants_survive_the_loss_of_the_leader() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        worker.tell(Input::Disconnected).await;
        assert!(worker.uses(offer.grant).await);
        worker.allocate(1, 2).await;
        assert!(
            worker.leader.recv().await.is_none(),
            "nothing is sent to a leader that is gone"
        );
        let (outbox, leader) = mpsc::channel(100);
        worker.leader = leader;
        worker.connect(outbox).await;
        worker.registered().await;
        worker.tell(Input::Heartbeat).await;
        assert_eq!(worker.hears_heartbeat().await, (1, 1));
    }

    #[tokio::test]
    async fn a_leader_that_does_not_read_loses_the_connection() {
        let worker = Worker::start_with_outbox(1).await;
        worker.tell(Input::Heartbeat).await;
        worker.tell(Input::Heartbeat).await;
        worker.broken.cancelled().await;
    }

    #[tokio::test]
    async fn a_worker_that_leaves_says_nothing_more() {
        let mut worker = Worker::start().await;
        let offer = worker.grant(1, 1).await;
        assert!(worker.uses(offer.grant).await);
        let reason = "the end".to_owned();
        worker.tell(Input::Leave { reason }).await;
        offer.ended.cancelled().await;
        worker.tell(Input::Free(offer.grant)).await;
        assert!(matches!(worker.hears().await, Message::Leaving(_)));
        assert!(worker.leader.recv().await.is_none());
        assert!(worker.offers.recv().await.is_none());
    }

    #[tokio::test]
    async fn another_leader_is_refused() {
        let mut worker = Worker::start().await;
        let check = ReleaseCheck {
            instance_id: INSTANCE,
            leader_id: LeaderId::from_u128(4),
            number: 1,
        };
        worker
            .tell(Input::FromLeader(TaskExecutorMessage::CheckRelease(check)))
            .await;
        assert!(matches!(
            worker.hears().await,
            Message::ReleaseAnswer(v1::ReleaseAnswer {
                check: 1,
                may_be_released: false
            })
        ));
    }
}
