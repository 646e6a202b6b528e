//! The manager inside a task of a tokio runtime: a mailbox, and gateways that answer over channels.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use slot_manager::{
    Acknowledge, AllocateSlot, AllocationFailureCause, AllocationId, FreeSlot, InstanceId, JobId, LeaderId, Release,
    ReleaseCause, ResourceManagerActions, ResourceManagerError, ResourceProfile, SlotAllocationError, SlotId,
    SlotManager, SlotManagerConfig, SlotReport, SlotRequest, TaskExecutorConnection, TaskExecutorGateway,
    TokioScheduledExecutor, WorkerPromise, WorkerRequestId,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use crate::common::{allocation, free_report, instance, job, patient, profile, request, small};

type Answer = Result<Acknowledge, SlotAllocationError>;

/// Tells of grants, failures and worker requests over a channel.
struct Notifier(mpsc::UnboundedSender<Notice>);

#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Granted(AllocationId, SlotId),
    Failed(AllocationId),
    WorkerNeeded(WorkerRequestId),
}

impl Notifier {
    fn tell(&self, notice: Notice) {
        // A test that has seen enough does not listen any more.
        let _ = self.0.send(notice);
    }
}

impl ResourceManagerActions for Notifier {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        self.tell(Notice::WorkerNeeded(worker_request));
        Ok(WorkerPromise::Slots(vec![small(); 4]))
    }

    fn release_resource(&mut self, _: InstanceId, _: ReleaseCause) -> Release {
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, allocation_id: AllocationId, _: &AllocationFailureCause) {
        self.tell(Notice::Failed(allocation_id));
    }

    fn notify_slot_allocated(&mut self, _: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.tell(Notice::Granted(allocation_id, slot_id.clone()));
    }
}

/// What a service is told by others.
enum Message<G> {
    Request(SlotRequest),
    Free(SlotId, AllocationId),
    Register(TaskExecutorConnection<G>, SlotReport),
    Stop,
}

type Manager<G> = SlotManager<Notifier, G, TokioScheduledExecutor>;

/// The loop of a service: progress beside a mailbox.
async fn serve<G: TaskExecutorGateway>(
    config: SlotManagerConfig,
    notices: mpsc::UnboundedSender<Notice>,
    mut mailbox: mpsc::UnboundedReceiver<Message<G>>,
) -> Manager<G> {
    let mut manager = SlotManager::new(config, TokioScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), Notifier(notices))
        .expect("not started");
    loop {
        tokio::select! {
            biased;
            _ = manager.progress() => {}
            message = mailbox.recv() => match message {
                Some(Message::Request(request)) => {
                    let accepted = manager.register_slot_request(request);
                    assert!(accepted.is_ok());
                }
                Some(Message::Free(slot_id, allocation_id)) => {
                    manager.free_slot(&slot_id, allocation_id).expect("started");
                }
                Some(Message::Register(connection, report)) => {
                    manager.register_task_manager(connection, &report).expect("a valid report");
                }
                Some(Message::Stop) | None => return manager,
            },
        }
        manager.check_invariants().expect("they hold");
    }
}

/// Sends each request, with a way back for the answer, to a task executor in another task.
struct ChannelGateway(mpsc::UnboundedSender<(AllocateSlot, oneshot::Sender<Answer>)>);

impl TaskExecutorGateway for ChannelGateway {
    type RequestSlotFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send((request.clone(), reply));
        Box::pin(async move {
            if sent.is_err() {
                return Err(SlotAllocationError::unreachable("it is gone"));
            }
            answer
                .await
                .unwrap_or_else(|_| Err(SlotAllocationError::unreachable("it did not answer")))
        })
    }
}

/// A task executor that thinks before it answers, refuses every seventh request, and forgets every eleventh.
async fn execute(mut requests: mpsc::UnboundedReceiver<(AllocateSlot, oneshot::Sender<Answer>)>) {
    let mut count = 0;
    while let Some((_, reply)) = requests.recv().await {
        count += 1;
        for _ in 0..count % 3 {
            tokio::task::yield_now().await;
        }
        let answer = match count {
            _ if count % 11 == 0 => continue,
            _ if count % 7 == 0 => Err(SlotAllocationError::rejected("the seventh")),
            _ => Ok(Acknowledge::new()),
        };
        // Nobody waits for an answer to an attempt that was given up.
        let _ = reply.send(answer);
    }
}

/// Four task executors with 8 slots each, 100 requests from four clients, each of which frees what it got.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_runtime_of_several_threads_everybody_is_served() {
    let (notices, mut told) = mpsc::unbounded_channel();
    let (mailbox, received) = mpsc::unbounded_channel();
    let config = patient().with_retry_backoff(Duration::from_millis(1), Duration::from_millis(4));
    let mut service = JoinSet::new();
    service.spawn(serve(config, notices, received));
    let mut others = JoinSet::new();
    for number in 0..4_u128 {
        let (calls, called) = mpsc::unbounded_channel();
        others.spawn(execute(called));
        let worker = format!("tm-{number}");
        let connection = TaskExecutorConnection::new(worker.as_str(), instance(number), ChannelGateway(calls));
        let report = free_report(&worker, &vec![small(); 8]);
        assert!(mailbox.send(Message::Register(connection, report)).is_ok());
    }
    for client in 0..4_u128 {
        let mailbox = mailbox.clone();
        others.spawn(async move {
            for number in 0..25 {
                let request = request(client, client * 100 + number, &small());
                assert!(mailbox.send(Message::Request(request)).is_ok());
                tokio::task::yield_now().await;
            }
        });
    }
    let mut granted = BTreeSet::new();
    while granted.len() < 100 {
        match told.recv().await.expect("the service runs") {
            Notice::Granted(allocation_id, slot_id) => {
                assert!(granted.insert(allocation_id), "{allocation_id} is granted once");
                assert!(mailbox.send(Message::Free(slot_id, allocation_id)).is_ok());
            }
            Notice::WorkerNeeded(_) => {}
            Notice::Failed(allocation_id) => panic!("{allocation_id} has time enough"),
        }
    }
    assert!(mailbox.send(Message::Stop).is_ok());
    let manager = service.join_next().await.expect("one task").expect("it did not panic");
    assert_eq!(manager.num_pending_slot_requests(), 0);
    assert_eq!(manager.slot_counts().registered, 32);
    assert_eq!(manager.slot_counts().free, 32, "all were freed");
    drop(manager);
    while let Some(ended) = others.join_next().await {
        ended.expect("it did not panic");
    }
}

/// Slot requests that wait for their answers, in a place that no other thread may see.
type Asked = Rc<RefCell<Vec<(AllocationId, oneshot::Sender<Answer>)>>>;

/// Keeps what it is asked.
struct LocalGateway {
    asked: Asked,
    freed: Rc<RefCell<Vec<FreeSlot>>>,
}

impl TaskExecutorGateway for LocalGateway {
    type RequestSlotFuture = Pin<Box<dyn Future<Output = Answer>>>;

    fn request_slot(&mut self, request: &AllocateSlot) -> Self::RequestSlotFuture {
        let (reply, answer) = oneshot::channel();
        self.asked.borrow_mut().push((request.allocation_id, reply));
        let asked = Rc::clone(&self.asked);
        Box::pin(async move {
            let answer = answer.await;
            // The future itself is not `Send` either.
            drop(asked);
            answer.unwrap_or_else(|_| Err(SlotAllocationError::unreachable("it did not answer")))
        })
    }

    fn free_slot(&mut self, request: FreeSlot) {
        self.freed.borrow_mut().push(request);
    }
}

#[tokio::test]
async fn on_a_local_set_a_gateway_may_hold_what_is_not_send() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (notices, mut told) = mpsc::unbounded_channel();
            let (mailbox, received) = mpsc::unbounded_channel();
            let service = tokio::task::spawn_local(serve(patient(), notices, received));
            let asked = Asked::default();
            let gateway = LocalGateway {
                asked: Rc::clone(&asked),
                freed: Rc::default(),
            };
            let connection = TaskExecutorConnection::new("tm", instance(1), gateway);
            let report = free_report("tm", &[small(), small()]);
            assert!(mailbox.send(Message::Register(connection, report)).is_ok());
            for id in 1..=2 {
                assert!(mailbox.send(Message::Request(request(1, id, &small()))).is_ok());
            }
            while asked.borrow().len() < 2 {
                tokio::task::yield_now().await;
            }
            // Answered in the other order, from this task.
            for id in [2, 1] {
                let place = asked.borrow().iter().position(|(asked, _)| *asked == allocation(id));
                let (_, reply) = asked.borrow_mut().remove(place.expect("it was asked"));
                assert!(reply.send(Ok(Acknowledge::new())).is_ok());
                let number = u32::try_from(id).expect("small") - 1;
                let granted = Notice::Granted(allocation(id), SlotId::new("tm", number));
                assert_eq!(told.recv().await, Some(granted));
            }
            assert!(mailbox.send(Message::Stop).is_ok());
            let manager = service.await.expect("it did not panic");
            assert_eq!(manager.slot_counts().allocated, 2);
        })
        .await;
}

/// The other end of an answer is dropped: the attempt fails, and the next one is made.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_with_its_channel_is_a_failure() {
    let (notices, mut told) = mpsc::unbounded_channel();
    let (mailbox, received) = mpsc::unbounded_channel();
    let mut service = JoinSet::new();
    service.spawn(serve(patient(), notices, received));
    let (calls, mut called) = mpsc::unbounded_channel();
    let connection = TaskExecutorConnection::new("tm", instance(1), ChannelGateway(calls));
    assert!(
        mailbox
            .send(Message::Register(connection, free_report("tm", &[small()])))
            .is_ok()
    );
    assert!(mailbox.send(Message::Request(request(1, 1, &small()))).is_ok());
    for attempt in 1..=4 {
        let (request, reply) = called.recv().await.expect("the service runs");
        assert_eq!(request.attempt, attempt);
        drop(reply);
    }
    let (_, reply) = called.recv().await.expect("the service runs");
    assert!(reply.send(Ok(Acknowledge::new())).is_ok());
    let granted = Notice::Granted(allocation(1), SlotId::new("tm", 0));
    assert_eq!(told.recv().await, Some(granted));
}

/// A hundred thousand messages are there at any time; still a request fails before the next message is read once its
/// time is over.
#[tokio::test(start_paused = true)]
async fn with_progress_first_a_flood_of_messages_does_not_stop_time() {
    let (notices, mut told) = mpsc::unbounded_channel();
    let (flood, mut mailbox) = mpsc::unbounded_channel();
    for number in 0..100_000_u32 {
        assert!(flood.send(number).is_ok());
    }
    let config = patient().with_request_timeout(Duration::from_secs(10));
    let mut manager: SlotManager<_, ChannelGateway, _> =
        SlotManager::new(config, TokioScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), Notifier(notices))
        .expect("not started");
    assert!(manager.register_slot_request(request(1, 1, &profile(9.0, 0))).is_ok());
    assert_eq!(told.try_recv(), Ok(Notice::WorkerNeeded(WorkerRequestId::new(1))));

    let mut read_when_it_failed = None;
    for round in 0..1000 {
        tokio::select! {
            biased;
            _ = manager.progress() => {}
            message = mailbox.recv() => {
                let message = message.expect("there are more");
                if message == 500 {
                    tokio::time::advance(Duration::from_secs(10)).await;
                }
                // Each one is an input.
                manager.unregister_slot_request(allocation(u128::from(message) + 1000)).expect("started");
            }
        }
        if let Ok(notice) = told.try_recv() {
            assert_eq!(notice, Notice::Failed(allocation(1)));
            read_when_it_failed = Some(round);
            break;
        }
    }
    assert_eq!(read_when_it_failed, Some(501), "right after message 500");
    assert!(mailbox.len() > 99_000, "the flood goes on");
}

/// The service sleeps; an input from a handle beside it wakes it, because there is an answer to wait for.
#[tokio::test]
async fn a_manager_behind_a_shared_handle_does_not_sleep_through_its_own_work() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (notices, mut told) = mpsc::unbounded_channel();
            let asked = Asked::default();
            let manager = SlotManager::new(patient(), TokioScheduledExecutor::new()).expect("a valid configuration");
            let shared = Rc::new(RefCell::new(manager));
            shared
                .borrow_mut()
                .start(LeaderId::from_u128(1), Notifier(notices))
                .expect("not started");
            let driven = Rc::clone(&shared);
            let driver = tokio::task::spawn_local(async move {
                loop {
                    std::future::poll_fn(|context| driven.borrow_mut().poll_progress(context)).await;
                }
            });
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            let gateway = LocalGateway {
                asked: Rc::clone(&asked),
                freed: Rc::default(),
            };
            shared
                .borrow_mut()
                .register_task_manager(
                    TaskExecutorConnection::new("tm", instance(1), gateway),
                    &free_report("tm", &[small()]),
                )
                .expect("a valid report");
            let accepted = shared.borrow_mut().register_slot_request(request(1, 1, &small()));
            assert!(accepted.is_ok());
            let (_, reply) = asked.borrow_mut().pop().expect("it was asked");
            assert!(reply.send(Ok(Acknowledge::new())).is_ok());
            let granted = Notice::Granted(allocation(1), SlotId::new("tm", 0));
            assert_eq!(told.recv().await, Some(granted));
            driver.abort();
        })
        .await;
}

/// A job that goes away while its requests are in flight: the task executor hears of each.
#[tokio::test]
async fn a_local_gateway_hears_what_is_given_up() {
    let (notices, _told) = mpsc::unbounded_channel();
    let mut manager = SlotManager::new(patient(), TokioScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), Notifier(notices))
        .expect("not started");
    let asked = Asked::default();
    let freed = Rc::<RefCell<Vec<FreeSlot>>>::default();
    let gateway = LocalGateway {
        asked: Rc::clone(&asked),
        freed: Rc::clone(&freed),
    };
    manager
        .register_task_manager(
            TaskExecutorConnection::new("tm", instance(1), gateway),
            &free_report("tm", &[small(), small()]),
        )
        .expect("a valid report");
    for id in 1..=2 {
        assert!(manager.register_slot_request(request(7, id, &small())).is_ok());
    }
    assert_eq!(manager.unregister_job(job(7)), Ok(2));
    let told: Vec<_> = freed
        .borrow()
        .iter()
        .map(|free| (free.allocation_id, free.attempt))
        .collect();
    assert_eq!(told, [(allocation(1), 1), (allocation(2), 2)]);
    // Nobody holds the other ends any more.
    assert!(asked.borrow().iter().all(|(_, reply)| reply.is_closed()));
}
