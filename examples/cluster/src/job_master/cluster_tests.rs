//! Tests of a whole job master against a resource manager and task executors that the test plays,
//! over real connections.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use super::*;
use crate::command_line::parse;
use crate::protocol::v1::from_job_master::Message as FromJob;
use crate::protocol::v1::from_slot::Message as FromSlot;
use crate::protocol::v1::job_master_client::JobMasterClient;
use crate::protocol::v1::request_status::State;
use crate::protocol::v1::resource_manager_server::{ResourceManager, ResourceManagerServer};
use crate::protocol::v1::to_job_master::Message as ToJob;
use crate::protocol::v1::to_slot::Message as ToSlot;
use crate::protocol::{allocation_id, v1};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service that the test plays. Each connection of a job master goes to the test.
struct Service {
    address: String,
    epoch: Arc<AtomicU64>,
    connections: mpsc::UnboundedSender<JobStream>,
}

/// The resource manager's end of the stream of a job master.
struct JobStream {
    messages: Streaming<v1::FromJobMaster>,
    outbox: mpsc::UnboundedSender<Result<v1::ToJobMaster, Status>>,
}

#[tonic::async_trait]
impl ResourceManager for Service {
    type ConnectTaskExecutorStream = Streamed<v1::ToTaskExecutor>;
    type ConnectJobMasterStream = Streamed<v1::ToJobMaster>;

    async fn leader(&self, _: Request<v1::LeaderRequest>) -> Result<Response<v1::LeaderReply>, Status> {
        Ok(Response::new(v1::LeaderReply {
            epoch: self.epoch.load(Ordering::SeqCst),
            address: self.address.clone(),
            web_address: String::new(),
        }))
    }

    async fn connect_task_executor(
        &self,
        _: Request<Streaming<v1::FromTaskExecutor>>,
    ) -> Result<Response<Self::ConnectTaskExecutorStream>, Status> {
        Err(Status::unimplemented("no task executor is expected"))
    }

    async fn connect_job_master(
        &self,
        request: Request<Streaming<v1::FromJobMaster>>,
    ) -> Result<Response<Self::ConnectJobMasterStream>, Status> {
        let (outbox, to_job) = mpsc::unbounded_channel();
        let messages = request.into_inner();
        self.connections.send(JobStream { messages, outbox }).unwrap();
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(to_job))))
    }
}

/// A job master that runs, and the resource manager that it finds.
struct Cluster {
    epoch: Arc<AtomicU64>,
    connections: mpsc::UnboundedReceiver<JobStream>,
    stop: CancellationToken,
    job: JoinHandle<anyhow::Result<Summary>>,
}

async fn start(arguments: &str) -> Cluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let epoch = Arc::new(AtomicU64::new(1));
    let (sender, connections) = mpsc::unbounded_channel();
    let service = ResourceManagerServer::new(Service {
        address: address.clone(),
        epoch: Arc::clone(&epoch),
        connections: sender,
    });
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let line = format!("--resource-managers {address} {arguments}");
    let options = parse(line.split(' ')).unwrap();
    let stop = CancellationToken::new();
    let job = tokio::spawn(run(options, stop.clone()));
    Cluster {
        epoch,
        connections,
        stop,
        job,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("nothing happens")
}

impl Cluster {
    /// Takes the next connection, and answers the registration with the present epoch.
    async fn accept(&mut self) -> (JobStream, v1::RegisterJobMaster) {
        let mut stream = soon(self.connections.recv()).await.unwrap();
        let Some(FromJob::Register(register)) = stream.hear().await else {
            panic!("no registration");
        };
        stream.say(ToJob::Registered(v1::JobRegistered {
            epoch: self.epoch.load(Ordering::SeqCst),
            heartbeat_interval_ms: 1_000,
            heartbeat_timeout_ms: 30_000,
        }));
        (stream, register)
    }

    async fn summary(self) -> Summary {
        soon(self.job).await.unwrap().unwrap()
    }
}

impl JobStream {
    /// Returns the next message that is no heartbeat.
    async fn hear(&mut self) -> Option<FromJob> {
        loop {
            let message = soon(self.messages.message()).await.ok()??;
            match message.message.unwrap() {
                FromJob::Heartbeat(_) => {}
                message => return Some(message),
            }
        }
    }

    async fn requested(&mut self) -> AllocationId {
        match self.hear().await {
            Some(FromJob::SlotRequest(request)) => id(&request.allocation_id),
            other => panic!("{other:?} instead of a request"),
        }
    }

    /// Returns the revision and the number of slots of a declaration.
    async fn declared(&mut self) -> (u64, u32) {
        match self.hear().await {
            Some(FromJob::Declare(declare)) => {
                let slots = declare.required.iter().map(|required| required.slots);
                (declare.revision, slots.sum())
            }
            other => panic!("{other:?} instead of a declaration"),
        }
    }

    async fn cancelled(&mut self) -> AllocationId {
        match self.hear().await {
            Some(FromJob::Cancel(cancel)) => id(&cancel.allocation_id),
            other => panic!("{other:?} instead of a cancellation"),
        }
    }

    fn say(&self, message: ToJob) {
        let message = v1::ToJobMaster { message: Some(message) };
        self.outbox.send(Ok(message)).unwrap();
    }

    /// Sends a message of a later version, as this one reads it.
    fn send_unknown(&self) {
        self.outbox.send(Ok(v1::ToJobMaster { message: None })).unwrap();
    }

    fn grant(&self, id: AllocationId) {
        self.say(ToJob::Status(v1::RequestStatus {
            allocation_id: id.to_bytes().into(),
            state: State::Granted.into(),
            slot: "worker-1_0".into(),
        }));
    }

    fn fail(&self, id: AllocationId) {
        let (allocation_id, cause) = (id.to_bytes().into(), "unfulfillable".into());
        self.say(ToJob::Failed(v1::RequestFailed { allocation_id, cause }));
    }

    fn lose(&self, id: AllocationId) {
        let (allocation_id, cause) = (id.to_bytes().into(), "its worker is lost".into());
        self.say(ToJob::Lost(v1::GrantLost { allocation_id, cause }));
    }
}

fn id(bytes: &[u8]) -> AllocationId {
    allocation_id("allocation_id", bytes).unwrap()
}

/// The task executor's end of the stream of a slot.
struct Slot {
    sender: mpsc::Sender<v1::FromSlot>,
    messages: Streaming<v1::ToSlot>,
}

/// Offers a slot to the job with this registration.
async fn offer(job: &v1::RegisterJobMaster, id: AllocationId) -> Result<Slot, Status> {
    offer_of("worker-1", job, id).await
}

async fn offer_of(worker: &str, job: &v1::RegisterJobMaster, id: AllocationId) -> Result<Slot, Status> {
    let client = JobMasterClient::connect(format!("http://{}", job.address));
    let mut client = client.await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (sender, messages) = mpsc::channel(8);
    let offer = FromSlot::Offer(v1::OfferSlot {
        resource_id: worker.into(),
        slot_number: 0,
        allocation_id: id.to_bytes().into(),
        job_id: job.job_id.clone(),
        epoch: 1,
    });
    sender.send(v1::FromSlot { message: Some(offer) }).await.unwrap();
    let messages = soon(client.offer_slot(ReceiverStream::new(messages))).await?;
    let messages = messages.into_inner();
    Ok(Slot { sender, messages })
}

impl Slot {
    /// Returns the next task and its command. `None` at the end of the use of the slot.
    async fn task(&mut self) -> Option<(u64, Vec<String>)> {
        match soon(self.messages.message()).await.unwrap()?.message.unwrap() {
            ToSlot::Run(run) => Some((run.task, run.command)),
            ToSlot::Release(_) => None,
        }
    }

    /// Sends a message of a later version, as this one reads it.
    async fn send_unknown(&self) {
        self.sender.send(v1::FromSlot { message: None }).await.unwrap();
    }

    async fn end(&self, task: u64, exit_code: Option<i32>) {
        let message = Some(FromSlot::Ended(v1::TaskEnded { task, exit_code }));
        self.sender.send(v1::FromSlot { message }).await.unwrap();
    }
}

#[tokio::test]
async fn a_silent_leader_is_left_for_the_next_before_the_heartbeat_timeout() {
    let mut cluster = start("-- true").await;
    let (mut silent, _) = cluster.accept().await;
    let id = silent.requested().await;
    cluster.epoch.store(2, Ordering::SeqCst);
    let (mut next, _) = cluster.accept().await;
    assert_eq!(next.requested().await, id);
}

#[tokio::test]
async fn a_job_runs_in_one_slot() {
    let mut cluster = start("--tasks 2 -- echo {task}").await;
    let (mut stream, job) = cluster.accept().await;
    assert!(job.grants.is_empty());
    let granted = stream.requested().await;
    stream.send_unknown();
    stream.grant(granted);
    let mut slot = offer(&job, granted).await.unwrap();
    assert_eq!(slot.task().await, Some((0, vec!["echo".into(), "0".into()])));
    let second = offer(&job, granted).await.err().unwrap();
    assert_eq!(second.code(), Code::AlreadyExists);
    slot.send_unknown().await;
    slot.end(0, Some(1)).await;
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(1));
    slot.end(1, Some(0)).await;
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(0), "it failed once");
    slot.end(0, Some(0)).await;
    assert_eq!(slot.task().await, None, "the slot is released");
    drop(slot);
    assert!(
        stream.hear().await.is_none(),
        "the connection ends, and nothing is cancelled"
    );
    drop(stream);
    let summary = cluster.summary().await;
    assert_eq!((summary.done, summary.failed), (2, 0));
    assert_eq!((summary.slots_granted, summary.slots_lost), (1, 0));
}

#[tokio::test]
async fn a_task_that_could_not_be_started_runs_in_another_slot() {
    let mut cluster = start("--tasks 2 -- echo {task}").await;
    let (mut stream, job) = cluster.accept().await;
    let first = stream.requested().await;
    let mut without_program = offer(&job, first).await.unwrap();
    assert_eq!(without_program.task().await.map(|(task, _)| task), Some(0));
    without_program.end(0, Some(127)).await;

    let second = stream.requested().await;
    let mut slot = offer_of("worker-2", &job, second).await.unwrap();
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(1));
    assert_eq!(without_program.task().await, None, "it is released");
    drop(without_program);
    slot.end(1, Some(0)).await;
    assert_eq!(
        slot.task().await.map(|(task, _)| task),
        Some(0),
        "it could not be started"
    );
    slot.end(0, Some(0)).await;
    assert_eq!(slot.task().await, None);
    drop((slot, stream));
    let summary = cluster.summary().await;
    assert_eq!((summary.done, summary.slots_granted, summary.slots_lost), (2, 2, 0));
}

#[tokio::test]
async fn a_new_leader_hears_grants_and_open_requests() {
    let mut cluster = start("--tasks 9 --parallelism 3 -- true").await;
    let (mut stream, job) = cluster.accept().await;
    assert_eq!(job.highest_epoch, 0);
    let (held, granted, open) = (
        stream.requested().await,
        stream.requested().await,
        stream.requested().await,
    );
    stream.grant(granted);
    let mut slot = offer(&job, held).await.unwrap();
    assert!(slot.task().await.is_some());
    // The grant is heard when a later message is: messages keep their order.
    stream.fail(open);
    let open = stream.requested().await;

    cluster.epoch.store(2, Ordering::SeqCst);
    drop(stream);
    let (mut stream, job) = cluster.accept().await;
    assert_eq!(job.highest_epoch, 1);
    let grants: Vec<_> = job.grants.iter().map(|grant| id(grant)).collect();
    assert_eq!(grants.len(), 2);
    assert!(grants.contains(&held) && grants.contains(&granted));
    assert_eq!(stream.requested().await, open, "it is repeated under its id");

    // The new leader does not know the grants.
    stream.lose(held);
    stream.lose(granted);
    let new = [stream.requested().await, stream.requested().await];
    assert!(new.iter().all(|id| ![held, granted, open].contains(id)));
    assert_eq!(slot.task().await, None, "the stream of the slot ends");
    assert_eq!(
        offer(&job, granted).await.err().map(|status| status.code()),
        Some(Code::FailedPrecondition)
    );

    // The task of the lost slot runs first.
    let mut slot = offer(&job, new[0]).await.unwrap();
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(0));
    cluster.stop.cancel();
    let cancelled = [stream.cancelled().await, stream.cancelled().await];
    assert!(cancelled.contains(&open) && cancelled.contains(&new[1]));
    assert_eq!(slot.task().await, None);
    drop((slot, stream));
    assert_eq!(cluster.summary().await.done, 0);
}

#[tokio::test]
async fn an_old_leader_is_refused() {
    let mut cluster = start("-- true").await;
    cluster.epoch.store(5, Ordering::SeqCst);
    let (mut stream, _) = cluster.accept().await;
    let request = stream.requested().await;
    cluster.epoch.store(4, Ordering::SeqCst);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(
        cluster.connections.try_recv().is_err(),
        "the old leader is not even dialled"
    );
    cluster.epoch.store(6, Ordering::SeqCst);
    let (mut stream, register) = cluster.accept().await;
    assert_eq!(register.highest_epoch, 5);
    assert_eq!(stream.requested().await, request);
    cluster.stop.cancel();
    assert_eq!(stream.cancelled().await, request);
}

#[tokio::test]
async fn a_slot_that_ends_is_cancelled_and_replaced() {
    let mut cluster = start("--tasks 1 -- true").await;
    let (mut stream, job) = cluster.accept().await;
    let first = stream.requested().await;
    let mut slot = offer(&job, first).await.unwrap();
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(0));
    drop(slot);
    assert_eq!(stream.cancelled().await, first);
    let second = stream.requested().await;
    let mut slot = offer(&job, second).await.unwrap();
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(0), "the task runs again");
    slot.end(0, Some(0)).await;
    assert_eq!(slot.task().await, None);
    drop((slot, stream));
    let summary = cluster.summary().await;
    assert_eq!((summary.done, summary.slots_granted, summary.slots_lost), (1, 2, 1));
}

#[tokio::test]
async fn failed_requests_are_repeated_more_and_more_rarely() {
    let mut cluster = start("-- true").await;
    let (mut stream, _) = cluster.accept().await;
    let started = Instant::now();
    for _ in 0..3 {
        let request = stream.requested().await;
        stream.fail(request);
    }
    stream.requested().await;
    assert!(started.elapsed() >= Duration::from_millis(100 + 200 + 400));
    cluster.stop.cancel();
}

#[tokio::test]
async fn a_job_declares_and_takes_the_slots_that_it_needs() {
    let mut cluster = start("--declare --tasks 8 --parallelism 2 -- true").await;
    let (mut stream, job) = cluster.accept().await;
    assert_eq!(stream.declared().await, (1, 1));
    let ids = [1, 2, 3].map(AllocationId::from_u128);
    let mut first = offer(&job, ids[0]).await.unwrap();
    let refused = offer(&job, ids[1]).await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::FailedPrecondition), "one slot is enough");
    for task in 0..2 {
        assert_eq!(first.task().await.map(|(task, _)| task), Some(task));
        first.end(task, Some(0)).await;
    }

    // The second quarter: both slots are needed.
    assert_eq!(stream.declared().await, (2, 2));
    let mut second = offer(&job, ids[2]).await.unwrap();
    assert_eq!(first.task().await.map(|(task, _)| task), Some(2));
    assert_eq!(second.task().await.map(|(task, _)| task), Some(3));
    first.end(2, Some(0)).await;
    assert_eq!(first.task().await.map(|(task, _)| task), Some(4));

    // The third: one slot is returned after its task.
    second.end(3, Some(0)).await;
    assert_eq!(stream.declared().await, (3, 1));
    assert_eq!(second.task().await, None, "it is released");
    drop(second);

    // A job that is stopped declares nothing.
    cluster.stop.cancel();
    assert_eq!(stream.declared().await, (4, 0));
    assert_eq!(first.task().await, None);
    drop((first, stream));
    let summary = cluster.summary().await;
    assert_eq!((summary.done, summary.slots_granted, summary.slots_lost), (4, 2, 0));
}

#[tokio::test]
async fn a_new_leader_hears_the_declaration_and_the_grants() {
    let mut cluster = start("--declare --tasks 8 --parallelism 4 -- true").await;
    let (mut stream, job) = cluster.accept().await;
    assert_eq!(stream.declared().await, (1, 2));
    let held = AllocationId::from_u128(1);
    let mut slot = offer(&job, held).await.unwrap();
    assert!(slot.task().await.is_some());
    cluster.epoch.store(2, Ordering::SeqCst);
    drop(stream);
    let (mut stream, job) = cluster.accept().await;
    let grants: Vec<_> = job.grants.iter().map(|grant| id(grant)).collect();
    assert_eq!(grants, [held]);
    assert_eq!(stream.declared().await, (1, 2), "it is the same declaration");

    // The new leader does not know the grant: its task runs in the next slot.
    stream.lose(held);
    assert_eq!(slot.task().await, None, "the stream of the slot ends");
    let mut slot = offer(&job, AllocationId::from_u128(2)).await.unwrap();
    assert_eq!(slot.task().await.map(|(task, _)| task), Some(0));
    cluster.stop.cancel();
    assert_eq!(stream.declared().await, (2, 0));
}

#[tokio::test]
async fn a_refused_declaration_is_repeated_above_the_highest_revision() {
    let mut cluster = start("--declare -- true").await;
    let (mut stream, _) = cluster.accept().await;
    let started = Instant::now();
    assert_eq!(stream.declared().await, (1, 1));
    stream.say(ToJob::DeclarationRefused(v1::DeclarationRefused {
        revision: 1,
        highest_revision: 41,
        cause: "an earlier process has declared".into(),
    }));
    assert_eq!(stream.declared().await, (42, 1));
    assert!(started.elapsed() >= Duration::from_millis(100));
    cluster.stop.cancel();
}
