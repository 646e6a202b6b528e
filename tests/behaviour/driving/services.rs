//! The manager in a task of a tokio runtime: with a mailbox, and with gateways that answer over
//! channels.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use slot_manager::error::{ResourceManagerError, SlotAllocationError};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, FreeSlot, Release, ReleaseResource, SlotAnswer, SlotFreed,
    WorkerPromise,
};
use slot_manager::outcome::SlotFreedOutcome;
use slot_manager::{
    AllocationId, JobId, LeaderId, ResourceManagerActions, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
    SlotReport, SlotRequest, TaskExecutorConnection, TaskExecutorGateway, TokioScheduledExecutor, WorkerRequestId,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use crate::common::{
    SECOND, acknowledged, allocation, free_report, instance, job, patient, profile, request, small, worker_request,
};

type Answer = Result<Acknowledge, SlotAllocationError>;

/// Sends grants, failures and worker requests over a channel.
struct Notifier(mpsc::UnboundedSender<Notice>);

#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Granted(AllocationId, SlotId),
    Failed(AllocationId),
    WorkerNeeded(WorkerRequestId),
}

impl Notifier {
    fn send(&self, notice: Notice) {
        // A test that has received enough drops the receiver.
        let _ = self.0.send(notice);
    }
}

impl ResourceManagerActions for Notifier {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        self.send(Notice::WorkerNeeded(worker_request));
        Ok(WorkerPromise::Slots(vec![small(); 4]))
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, allocation_id: AllocationId, _: &AllocationFailureCause) {
        self.send(Notice::Failed(allocation_id));
    }

    fn notify_slot_allocated(&mut self, _: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.send(Notice::Granted(allocation_id, slot_id.clone()));
    }
}

/// An input of a service.
enum Message<G> {
    Request(SlotRequest),
    Free(SlotId, AllocationId),
    Register(TaskExecutorConnection<G>, SlotReport),
    Stop,
}

type Manager<G> = SlotManager<Notifier, G, TokioScheduledExecutor>;

/// Runs the loop of a service: progress beside a mailbox.
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
                    let outcome = manager.slot_freed(&SlotFreed::new(slot_id, allocation_id));
                    assert_eq!(outcome, SlotFreedOutcome::Freed);
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

/// Sends each slot request, and a channel for its answer, to a task executor in another task.
struct ChannelGateway(mpsc::UnboundedSender<(AllocateSlot, oneshot::Sender<Answer>)>);

impl TaskExecutorGateway for ChannelGateway {
    type RequestSlotFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Self::RequestSlotFuture> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send((request.clone(), reply));
        if sent.is_err() {
            return SlotAnswer::Ready(Err(SlotAllocationError::unreachable("it is gone")));
        }
        SlotAnswer::Future(Box::pin(async move {
            answer
                .await
                .unwrap_or_else(|_| Err(SlotAllocationError::unreachable("it did not answer")))
        }))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// Runs a task executor that answers late, refuses every seventh request, and forgets every
/// eleventh.
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
            _ => acknowledged(),
        };
        // The receiver is gone if the attempt was given up.
        let _ = reply.send(answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn service_on_a_runtime_of_several_threads_grants_all_requests() {
    // given: four task executors with 8 slots each, and 100 requests from four clients
    let (notices, mut noticed) = mpsc::unbounded_channel();
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

    // when: each slot is freed as soon as it is granted
    let mut granted = BTreeSet::new();
    while granted.len() < 100 {
        match noticed.recv().await.expect("the service runs") {
            Notice::Granted(allocation_id, slot_id) => {
                assert!(granted.insert(allocation_id), "{allocation_id} is granted once");
                assert!(mailbox.send(Message::Free(slot_id, allocation_id)).is_ok());
            }
            Notice::WorkerNeeded(_) => {}
            Notice::Failed(allocation_id) => panic!("{allocation_id} has time enough"),
        }
    }

    // then
    assert!(mailbox.send(Message::Stop).is_ok());
    let manager = service.join_next().await.expect("one task").expect("it did not panic");
    assert_eq!(manager.overview().pending_requests, 0);
    assert_eq!(manager.overview().slots.registered.slots, 32);
    assert_eq!(manager.overview().slots.free.slots, 32);
    drop(manager);
    while let Some(ended) = others.join_next().await {
        ended.expect("it did not panic");
    }
}

/// The slot requests that await their answers, in a place that only one thread may use.
type Pending = Rc<RefCell<Vec<(AllocationId, oneshot::Sender<Answer>)>>>;

/// A gateway that keeps its slot requests. Neither it nor its futures are `Send`.
struct LocalGateway {
    pending: Pending,
    freed: Rc<RefCell<Vec<FreeSlot>>>,
}

impl TaskExecutorGateway for LocalGateway {
    type RequestSlotFuture = Pin<Box<dyn Future<Output = Answer>>>;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<Self::RequestSlotFuture> {
        let (reply, answer) = oneshot::channel();
        self.pending.borrow_mut().push((request.allocation_id, reply));
        let pending = Rc::clone(&self.pending);
        SlotAnswer::Future(Box::pin(async move {
            let answer = answer.await;
            // This makes the future, too, not `Send`.
            drop(pending);
            answer.unwrap_or_else(|_| Err(SlotAllocationError::unreachable("it did not answer")))
        }))
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        self.freed.borrow_mut().push(request.clone());
    }
}

#[tokio::test]
async fn gateway_on_a_local_set_need_not_be_send() {
    let local = LocalSet::new();
    local
        .run_until(async {
            // given: two requests in flight
            let (notices, mut noticed) = mpsc::unbounded_channel();
            let (mailbox, received) = mpsc::unbounded_channel();
            let service = tokio::task::spawn_local(serve(patient(), notices, received));
            let pending = Pending::default();
            let gateway = LocalGateway {
                pending: Rc::clone(&pending),
                freed: Rc::default(),
            };
            let connection = TaskExecutorConnection::new("tm", instance(1), gateway);
            let report = free_report("tm", &[small(), small()]);
            assert!(mailbox.send(Message::Register(connection, report)).is_ok());
            for id in 1..=2 {
                assert!(mailbox.send(Message::Request(request(1, id, &small()))).is_ok());
            }
            while pending.borrow().len() < 2 {
                tokio::task::yield_now().await;
            }

            // when, then: answered from this task, in the other order
            for id in [2, 1] {
                let place = pending
                    .borrow()
                    .iter()
                    .position(|(pending, _)| *pending == allocation(id));
                let (_, reply) = pending.borrow_mut().remove(place.expect("a slot request"));
                assert!(reply.send(acknowledged()).is_ok());
                let number = u32::try_from(id).expect("small") - 1;
                let granted = Notice::Granted(allocation(id), SlotId::new("tm", number));
                assert_eq!(noticed.recv().await, Some(granted));
            }
            assert!(mailbox.send(Message::Stop).is_ok());
            let manager = service.await.expect("it did not panic");
            assert_eq!(manager.overview().slots.allocated.slots, 2);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_lost_with_its_channel_is_a_failed_attempt() {
    // given
    let (notices, mut noticed) = mpsc::unbounded_channel();
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

    // when: the other end of the channel is dropped
    for attempt in 1..=4 {
        let (request, reply) = called.recv().await.expect("the service runs");
        assert_eq!(request.attempt, attempt);
        drop(reply);
    }

    // then: there is another attempt
    let (_, reply) = called.recv().await.expect("the service runs");
    assert!(reply.send(acknowledged()).is_ok());
    let mut notices = Vec::new();
    while !matches!(notices.last(), Some(Notice::Granted(..))) {
        notices.push(noticed.recv().await.expect("the service runs"));
    }
    let needed = Notice::WorkerNeeded(worker_request(1));
    let granted = Notice::Granted(allocation(1), SlotId::new("tm", 0));
    assert_eq!(
        notices,
        [needed, granted],
        "while the worker backs off, another is needed"
    );
}

/// A request fails at its deadline, before the service reads the next of 100,000 messages.
#[tokio::test(start_paused = true)]
async fn flood_of_messages_does_not_hold_up_time_if_progress_comes_first() {
    // given
    let (notices, mut noticed) = mpsc::unbounded_channel();
    let (flood, mut mailbox) = mpsc::unbounded_channel();
    for number in 0..100_000_u32 {
        assert!(flood.send(number).is_ok());
    }
    let config = patient().with_request_timeout(10 * SECOND);
    let mut manager: SlotManager<_, ChannelGateway, _> =
        SlotManager::new(config, TokioScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), Notifier(notices))
        .expect("not started");
    assert!(manager.register_slot_request(request(1, 1, &profile(9.0, 0))).is_ok());
    assert_eq!(noticed.try_recv(), Ok(Notice::WorkerNeeded(worker_request(1))));

    // when: each message is an input, and the time of the request is over at message 500
    let mut read_when_it_failed = None;
    for round in 0..1000 {
        tokio::select! {
            biased;
            _ = manager.progress() => {}
            message = mailbox.recv() => {
                let message = message.expect("there are more");
                if message == 500 {
                    tokio::time::advance(10 * SECOND).await;
                }
                manager.unregister_slot_request(allocation(u128::from(message) + 1000));
            }
        }
        if let Ok(notice) = noticed.try_recv() {
            assert_eq!(notice, Notice::Failed(allocation(1)));
            read_when_it_failed = Some(round);
            break;
        }
    }

    // then
    assert_eq!(read_when_it_failed, Some(501), "right after message 500");
    assert!(mailbox.len() > 99_000, "the flood goes on");
}

#[tokio::test]
async fn input_through_a_shared_handle_wakes_the_task_that_drives_the_manager() {
    let local = LocalSet::new();
    local
        .run_until(async {
            // given: a task that drives the manager, and sleeps
            let (notices, mut noticed) = mpsc::unbounded_channel();
            let pending = Pending::default();
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

            // when: an input from beside the task leaves an answer to await, which then comes
            let gateway = LocalGateway {
                pending: Rc::clone(&pending),
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
            let (_, reply) = pending.borrow_mut().pop().expect("a slot request");
            assert!(reply.send(acknowledged()).is_ok());

            // then
            let granted = Notice::Granted(allocation(1), SlotId::new("tm", 0));
            assert_eq!(noticed.recv().await, Some(granted));
            driver.abort();
        })
        .await;
}

#[tokio::test]
async fn local_gateway_is_told_of_each_attempt_that_is_given_up() {
    // given: two requests in flight
    let (notices, _noticed) = mpsc::unbounded_channel();
    let mut manager = SlotManager::new(patient(), TokioScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), Notifier(notices))
        .expect("not started");
    let pending = Pending::default();
    let freed = Rc::<RefCell<Vec<FreeSlot>>>::default();
    let gateway = LocalGateway {
        pending: Rc::clone(&pending),
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

    // when
    assert_eq!(manager.unregister_job(job(7)), 2);

    // then
    let given_up: Vec<_> = freed
        .borrow()
        .iter()
        .map(|free| (free.allocation_id, free.attempt))
        .collect();
    assert_eq!(given_up, [(allocation(1), 1), (allocation(2), 2)]);

    // then: the futures that waited for the answers are gone
    assert!(pending.borrow().iter().all(|(_, reply)| reply.is_closed()));
}
