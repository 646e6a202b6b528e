//! The owner without a network: leases, orders to the provisioner, workers that must go, and job
//! masters that stay away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision};
use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport,
    SlotRequest, SlotStatus, TokioScheduledExecutor, WorkerRequestId,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Manager;
use super::actions::Actions;
use super::handle::{Handle, QUESTIONS};
use super::mailbox::{Envelope, Input};
use super::outbox::{Outbox, Session};
use super::owner::{Channels, Owner};
use super::sessions::{Heartbeats, Leads};
use crate::election::{Election, Leadership};
use crate::event_log::EventLog;
use crate::protocol::v1::to_task_executor::Message;
use crate::protocol::{Epoch, Registration, v1};
use crate::provisioner::{News, Order};
use crate::web::Events;

/// Longer than all that a test does in it.
const LEASE: Duration = Duration::from_secs(60);
/// The most orders that wait for the provisioner.
const ORDERS: usize = 16;
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(800);

/// The other ends of the channels of an owner.
struct Outside {
    handle: Handle,
    ours: watch::Sender<Option<Leadership>>,
    leads: watch::Receiver<Option<Leads>>,
    orders: mpsc::Receiver<Order>,
}

fn start(options: &[(&str, &str)]) -> Outside {
    let (owner, outside) = owner(options);
    tokio::spawn(owner.run(CancellationToken::new()));
    outside
}

fn owner(options: &[(&str, &str)]) -> (Owner, Outside) {
    let config = SlotManagerConfig::from_options(options.iter().copied()).unwrap();
    let worker = config.workers.as_ref().map(|workers| workers.description.clone());
    let manager = Manager::new(config, TokioScheduledExecutor::new()).unwrap();
    let (order_sender, orders) = mpsc::channel(ORDERS);
    let actions = Actions::new(Some(order_sender), worker, EventLog::default(), Events::default());
    let heartbeats = Heartbeats {
        interval: HEARTBEAT_TIMEOUT / 4,
        timeout: HEARTBEAT_TIMEOUT,
    };
    let (mailbox, inputs) = mpsc::channel(16);
    let (ours, our_receiver) = watch::channel(None);
    let (lead, leads) = watch::channel(None);
    let (publish, published) = watch::channel(Arc::default());
    let channels = Channels {
        mailbox: inputs,
        ours: our_receiver,
        leads: lead,
        published: publish,
    };
    let owner = Owner::new(manager, actions, heartbeats, channels, EventLog::default());
    let handle = Handle {
        mailbox,
        election: Election {
            ours: ours.subscribe(),
            leader: watch::channel(None).1,
        },
        published,
        questions: Arc::new(Semaphore::new(QUESTIONS)),
    };
    let outside = Outside {
        handle,
        ours,
        leads,
        orders,
    };
    (owner, outside)
}

impl Outside {
    fn lead(&self, epoch: u64, lease: Duration) {
        self.ours.send_replace(Some(Leadership {
            epoch: Epoch(epoch),
            until: Some(Instant::now() + lease),
        }));
    }

    async fn send(&self, epoch: u64, input: Input) {
        let epoch = Epoch(epoch);
        assert!(self.handle.mailbox.send(Envelope { epoch, input }).await.is_ok());
    }

    async fn ask<R: Send + 'static>(
        &self,
        epoch: u64,
        question: impl FnOnce(&mut Manager) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (answer, answered) = oneshot::channel();
        let query = move |manager: &mut Manager| assert!(answer.send(question(manager)).is_ok());
        self.send(epoch, Input::Query(Box::new(query))).await;
        answered
    }
}

/// A worker with one slot.
struct Worker {
    session: Session,
    messages: mpsc::Receiver<v1::ToTaskExecutor>,
}

impl Worker {
    async fn register(outside: &Outside, name: &str, instance: u128, worker_request: WorkerRequestId) -> Self {
        Self::register_in(1, outside, name, instance, Some(worker_request)).await
    }

    async fn register_by_hand(outside: &Outside, name: &str, instance: u128) -> Self {
        Self::register_in(1, outside, name, instance, None).await
    }

    async fn register_in(
        epoch: u64,
        outside: &Outside,
        name: &str,
        instance: u128,
        worker_request: Option<WorkerRequestId>,
    ) -> Self {
        let session = Session::within(&CancellationToken::new());
        let (outbox, messages) = Outbox::new(session.clone());
        let profile = ResourceProfile::builder().cpu_cores(1.0).build().unwrap();
        let register = Input::Register {
            registration: Registration {
                epoch: Epoch(epoch),
                resource_id: name.into(),
                instance_id: InstanceId::from_u128(instance),
            },
            worker_request,
            report: SlotReport::new(vec![SlotStatus::free(SlotId::new(name, 0), profile)]).with_revision(1),
            outbox,
        };
        outside.send(epoch, register).await;
        Self { session, messages }
    }

    async fn next(&mut self) -> Option<Message> {
        let message = timeout(LEASE, self.messages.recv()).await.expect("there is a message");
        message?.message
    }
}

fn request(job: u128, allocation: u128) -> SlotRequest {
    let profile = ResourceProfile::builder().cpu_cores(1.0).build().unwrap();
    let (job, allocation) = (JobId::from_u128(job), AllocationId::from_u128(allocation));
    SlotRequest::new(job, allocation, profile, "127.0.0.1:1")
}

#[tokio::test]
async fn inputs_wait_between_a_lease_and_its_renewal() {
    let outside = start(&[]);
    outside.lead(1, Duration::from_millis(500));
    assert!(outside.ask(1, |manager| manager.is_leading()).await.await.unwrap());

    sleep(Duration::from_millis(600)).await;
    let mut answered = outside.ask(1, |manager| manager.is_leading()).await;
    assert!(timeout(Duration::from_millis(400), &mut answered).await.is_err());
    assert_eq!(outside.handle.published().epoch, None);

    outside.lead(1, LEASE);
    assert!(answered.await.unwrap());
}

#[tokio::test]
async fn a_lost_leadership_ends_sessions_drops_its_inputs_and_keeps_workers_blocked() {
    let mut outside = start(&[]);
    outside.lead(1, LEASE);
    let worker = ResourceId::new("worker-1");
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let former = outside.leads.borrow().clone().unwrap();
    let outcome = outside.handle.block(worker.clone()).await;
    assert_eq!(outcome, Ok(BlockOutcome::Blocked));

    outside.ours.send_replace(None);
    former.end.cancelled().await;
    outside.lead(2, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    assert!(outside.ask(1, |_| ()).await.await.is_err());
    let outcome = outside.handle.block(worker).await;
    assert_eq!(outcome, Ok(BlockOutcome::AlreadyBlocked));
}

#[tokio::test]
async fn a_leadership_that_cannot_begin_ends_the_process() {
    let (mut owner, outside) = owner(&[]);
    let actions = Actions::new(None, None, EventLog::default(), Events::default());
    owner.manager.start(Epoch(9).leader_id(), actions).unwrap();
    outside.lead(1, LEASE);
    let error = timeout(LEASE, owner.run(CancellationToken::new()))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.to_string(), "the slot manager does not start");
}

#[tokio::test]
async fn workers_are_ordered_and_their_failure_is_an_input() {
    let mut outside = start(&[("taskmanager.numberOfTaskSlots", "2"), ("taskmanager.cpu.cores", "2")]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    assert!(matches!(outside.orders.recv().await, Some(Order::Recover { .. })));
    outside.send(1, Input::Provisioner(News::Known(BTreeMap::new()))).await;
    outside.send(1, Input::Requested(request(7, 1))).await;
    let Some(Order::Start { worker_request, worker }) = outside.orders.recv().await else {
        panic!("no worker is ordered");
    };
    assert_eq!((worker_request.number(), worker.slots()), (1, 2));

    let cause = "no machine".to_owned();
    outside
        .send(1, Input::Provisioner(News::Failed { worker_request, cause }))
        .await;
    let Some(Order::Start { worker_request, .. }) = outside.orders.recv().await else {
        panic!("no other worker is ordered");
    };
    assert_eq!(worker_request.number(), 2);
}

#[tokio::test]
async fn a_withdrawn_worker_is_not_registered_until_it_is_too_late_to_stop_it() {
    let mut outside = start(&[("taskmanager.numberOfTaskSlots", "1"), ("taskmanager.cpu.cores", "1")]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    assert!(matches!(outside.orders.recv().await, Some(Order::Recover { .. })));
    outside.send(1, Input::Provisioner(News::Known(BTreeMap::new()))).await;
    outside.send(1, Input::Requested(request(7, 1))).await;
    let Some(Order::Start { worker_request, .. }) = outside.orders.recv().await else {
        panic!("no worker is ordered");
    };
    let (job_id, allocation_id) = (JobId::from_u128(7), AllocationId::from_u128(1));
    outside.send(1, Input::Cancelled { job_id, allocation_id }).await;
    assert!(matches!(outside.orders.recv().await, Some(Order::Withdraw(id)) if id == worker_request));

    // The provisioner has not answered yet, and a slot is needed again.
    outside.send(1, Input::Requested(request(7, 2))).await;
    let mut worker = Worker::register(&outside, "worker-1", 1, worker_request).await;
    assert!(matches!(worker.next().await, Some(Message::Stop(_))));
    assert!(matches!(outside.orders.recv().await, Some(Order::Stop(id)) if id.as_str() == "worker-1"));
    assert!(matches!(outside.orders.recv().await, Some(Order::Start { .. })));

    outside.send(1, Input::Provisioner(News::Comes(worker_request))).await;
    let mut worker = Worker::register(&outside, "worker-2", 2, worker_request).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
}

#[tokio::test]
async fn a_drained_worker_stops_once_it_is_idle() {
    let mut outside = start(&[("resourcemanager.taskmanager-timeout", "inf")]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let worker_request = WorkerRequestId::new(Epoch(1).leader_id(), 99);
    let mut worker = Worker::register(&outside, "worker-1", 1, worker_request).await;
    outside.send(1, Input::Requested(request(7, 1))).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
    let Some(Message::AllocateSlot(allocate)) = worker.next().await else {
        panic!("no slot is requested");
    };
    let drain = async || outside.handle.drain("worker-1".into()).await;
    assert_eq!((drain().await, drain().await), (Ok(true), Ok(false)));
    sleep(Duration::from_millis(600)).await;
    assert!(worker.messages.is_empty());

    let attempt = AttemptId {
        leader_id: Epoch(1).leader_id(),
        allocation_id: AllocationId::from_u128(1),
        number: allocate.attempt,
    };
    let result = Err(SlotAllocationError::Rejected {
        reason: "the worker does not want it".into(),
    });
    outside.send(1, Input::Answered { attempt, result }).await;
    assert!(matches!(worker.next().await, Some(Message::Stop(_))));
    let registered = outside.ask(1, |manager| manager.overview().task_managers).await;
    assert_eq!(registered.await, Ok(0));

    // It stops also if it has lost the order, or is started again.
    let mut worker = Worker::register_by_hand(&outside, "worker-1", 2).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
    assert!(matches!(worker.next().await, Some(Message::Stop(_))));
    let unblocked = outside.handle.unblock("worker-1".into()).await;
    assert_eq!(unblocked, Ok(UnblockOutcome::Unblocked));
    let mut worker = Worker::register_by_hand(&outside, "worker-1", 3).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
    sleep(Duration::from_millis(600)).await;
    assert!(!worker.session.has_ended());
}

#[tokio::test]
async fn a_worker_whose_session_has_ended_is_not_registered() {
    let mut outside = start(&[]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let worker_request = WorkerRequestId::new(Epoch(1).leader_id(), 99);
    let worker = Worker::register(&outside, "worker-1", 1, worker_request).await;
    // The owner shares this thread, so it has not handled the registration.
    worker.session.end(Status::cancelled("the peer has gone"));
    let registered = outside.ask(1, |manager| manager.overview().task_managers).await;
    assert_eq!(registered.await, Ok(0));
}

#[tokio::test]
async fn a_released_worker_does_not_register_again() {
    let timeout = ("resourcemanager.taskmanager-timeout", "1 ms");
    let mut outside = start(&[timeout]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    assert!(matches!(outside.orders.recv().await, Some(Order::Recover { .. })));
    outside.send(1, Input::Provisioner(News::Known(BTreeMap::new()))).await;
    let worker_request = WorkerRequestId::new(Epoch(1).leader_id(), 99);
    let mut worker = Worker::register(&outside, "worker-1", 1, worker_request).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
    let Some(Message::ReleaseCheck(v1::ReleaseCheck { check: number })) = worker.next().await else {
        panic!("it is not asked");
    };
    let check = ReleaseCheck {
        instance_id: InstanceId::from_u128(1),
        leader_id: Epoch(1).leader_id(),
        number,
    };
    let decision = ReleaseDecision::Release;
    outside.send(1, Input::ReleaseAnswered { check, decision }).await;
    assert!(matches!(worker.next().await, Some(Message::Stop(_))));
    assert!(matches!(outside.orders.recv().await, Some(Order::Stop(_))));

    // As if the order to stop were lost with the connection.
    let mut worker = Worker::register(&outside, "worker-1", 2, worker_request).await;
    assert!(matches!(worker.next().await, Some(Message::Stop(_))));
    assert_eq!(worker.session.ended().await.code(), tonic::Code::Aborted);

    // The next leader knows nothing of it.
    outside.lead(2, LEASE);
    outside
        .leads
        .wait_for(|leads| leads.as_ref().is_some_and(|leads| leads.epoch == Epoch(2)))
        .await
        .unwrap();
    let mut worker = Worker::register_in(2, &outside, "worker-1", 3, Some(worker_request)).await;
    assert!(matches!(worker.next().await, Some(Message::Registered(_))));
}

#[tokio::test]
async fn requests_of_a_job_master_that_stays_away_are_cancelled() {
    let mut outside = start(&[]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let job_id = JobId::from_u128(7);
    let (outbox, mut messages) = Outbox::<v1::ToJobMaster>::new(Session::within(&CancellationToken::new()));
    let registered = Input::JobMaster {
        job_id,
        session: 1,
        grants: Vec::new(),
        outbox,
    };
    outside.send(1, registered).await;
    outside.send(1, Input::Requested(request(7, 1))).await;
    assert!(messages.recv().await.is_some() && messages.recv().await.is_some());

    let pending = |manager: &mut Manager| manager.overview().pending_requests;
    // Another session has ended, not this one.
    outside.send(1, Input::JobMasterGone { job_id, session: 0 }).await;
    sleep(HEARTBEAT_TIMEOUT * 2).await;
    assert_eq!(outside.ask(1, pending).await.await, Ok(1));

    outside.send(1, Input::JobMasterGone { job_id, session: 1 }).await;
    assert_eq!(outside.ask(1, pending).await.await, Ok(1));
    sleep(HEARTBEAT_TIMEOUT * 2).await;
    assert_eq!(outside.ask(1, pending).await.await, Ok(0));
}

#[tokio::test]
async fn the_recovery_waits_for_the_workers_that_exist_and_for_no_other() {
    let mut outside = start(&[("resourcemanager.previous-worker.recovery.timeout", "60 s")]);
    outside.lead(2, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let [first, second] = [1, 2].map(|number| WorkerRequestId::new(LeaderId::from_u128(1), number));
    let workers = [(first, "worker-1"), (second, "worker-2")].map(|(id, name)| (id, ResourceId::new(name)));
    outside
        .send(2, Input::Provisioner(News::Known(BTreeMap::from(workers))))
        .await;

    let missing = |manager: &mut Manager| Some(manager.recovery()?.missing_workers?.clone());
    let gone = |worker_request| News::Failed {
        worker_request,
        cause: "gone".to_owned(),
    };
    // A worker that this leader has requested is not among them.
    let own = WorkerRequestId::new(LeaderId::from_u128(2), 1);
    for worker_request in [own, first, first] {
        outside.send(2, Input::Provisioner(gone(worker_request))).await;
    }
    let expected = BTreeSet::from([ResourceId::new("worker-2")]);
    assert_eq!(outside.ask(2, missing).await.await, Ok(Some(expected)));

    outside.send(2, Input::Provisioner(gone(second))).await;
    assert_eq!(outside.ask(2, missing).await.await, Ok(None));
}

#[tokio::test]
async fn a_provisioner_that_is_behind_hears_of_the_next_leadership_later() {
    let mut outside = start(&[("taskmanager.numberOfTaskSlots", "1"), ("taskmanager.cpu.cores", "1")]);
    outside.lead(1, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    for allocation in 0..ORDERS as u128 {
        outside.send(1, Input::Requested(request(7, allocation))).await;
    }
    outside.ask(1, |_| ()).await.await.unwrap();
    assert_eq!(outside.orders.len(), ORDERS);

    outside.ours.send_replace(None);
    outside.leads.wait_for(Option::is_none).await.unwrap();
    outside.lead(2, LEASE);
    outside.leads.wait_for(Option::is_some).await.unwrap();
    let told = async {
        while !matches!(
            outside.orders.recv().await,
            Some(Order::Recover { epoch: Epoch(2), .. })
        ) {}
    };
    timeout(LEASE, told).await.unwrap();
}
