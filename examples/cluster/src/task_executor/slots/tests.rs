mod dynamic;

use std::time::Duration;

use slot_manager::message::{FreeInactiveSlots, FreeSlot};
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
        let (worker, report) = Self::start_with(table, 2, capacity).await;
        assert_eq!(report.slots.len(), 2);
        worker
    }

    /// Starts the owner of a table. Returns the report with which it has registered.
    async fn start_with(table: TaskSlotTable, most_slots: usize, capacity: usize) -> (Self, v1::SlotReport) {
        let worker_request = WorkerRequestId::new(EPOCH.leader_id(), 3);
        let (inputs, receiver) = mpsc::channel(100);
        let (grants, offers) = mpsc::unbounded_channel();
        let slots = Slots::new(table, most_slots, Some(worker_request), grants, EventLog::default());
        tokio::spawn(slots.run(receiver));
        let (outbox, leader) = mpsc::channel(capacity);
        let mut worker = Self {
            inputs,
            leader,
            broken: CancellationToken::new(),
            offers,
        };
        let report = worker.connect(outbox).await;
        worker.registered().await;
        (worker, report)
    }

    /// Opens a connection. Checks that the registration is written to it, and returns its report.
    async fn connect(&mut self, outbox: mpsc::Sender<v1::FromTaskExecutor>) -> v1::SlotReport {
        let broken = self.broken.clone();
        let link = Link { outbox, broken };
        let highest_epoch = EPOCH;
        self.tell(Input::Connect { link, highest_epoch }).await;
        let Message::Register(register) = self.hears().await else {
            panic!("no registration");
        };
        assert_eq!((register.resource_id.as_str(), register.highest_epoch), ("w", EPOCH.0));
        assert_eq!(register.worker_request.map(|request| request.number), Some(3));
        register.report.unwrap()
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
        let slot_id = SlotId::new("w", 0);
        self.allocate_slot(slot_id, ResourceProfile::ANY, allocation, attempt)
            .await;
    }

    /// Asks for a slot as the leader.
    async fn allocate_slot(&self, slot_id: SlotId, profile: ResourceProfile, allocation: u128, attempt: u64) {
        self.tell(Input::FromLeader(TaskExecutorMessage::AllocateSlot(AllocateSlot {
            slot_id,
            job_id: JobId::from_u128(7),
            allocation_id: AllocationId::from_u128(allocation),
            resource_profile: profile,
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

    /// Says as the leader that the job has ended.
    async fn free_inactive(&self, attempt: u64) {
        let request = FreeInactiveSlots {
            job_id: JobId::from_u128(7),
            leader_id: EPOCH.leader_id(),
            instance_id: INSTANCE,
            attempt,
        };
        self.tell(Input::FromLeader(TaskExecutorMessage::FreeInactiveSlots(request)))
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
async fn the_end_of_a_job_frees_only_what_is_not_used() {
    let mut worker = Worker::start().await;
    let offer = worker.grant(1, 1).await;
    worker.free_inactive(1).await;
    let freed = worker.hears_freed().await;
    assert_eq!((freed.revision, freed.attempt), (2, Some(1)));
    assert!(offer.ended.is_cancelled());

    // A later attempt is of a later declaration.
    let offer = worker.grant(2, 2).await;
    worker.free_inactive(1).await;
    assert!(worker.uses(offer.grant).await);
    worker.free_inactive(2).await;
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
