//! Tests of a whole task executor, between a resource manager and a job master that the test plays.

mod options;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slot_manager::{AllocationId, InstanceId, JobId};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::protocol::security::SecurityOptions;
use crate::protocol::v1;
use crate::protocol::v1::from_task_executor::Message as FromWorker;
use crate::protocol::v1::job_master_server::{JobMaster, JobMasterServer};
use crate::protocol::v1::resource_manager_server::{ResourceManager, ResourceManagerServer};
use crate::protocol::v1::to_task_executor::Message as ToWorker;

/// The time after which a test has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// One end of a stream that a server has accepted.
struct Stream<In, Out> {
    incoming: Streaming<In>,
    outgoing: mpsc::Sender<Result<Out, Status>>,
}

impl<In, Out> Stream<In, Out> {
    async fn next(&mut self) -> Option<In> {
        let message = timeout(DEADLINE, self.incoming.message())
            .await
            .expect("no message comes");
        message.ok().flatten()
    }
}

type FromWorkerStream = Stream<v1::FromTaskExecutor, v1::ToTaskExecutor>;
type SlotStream = Stream<v1::FromSlot, v1::ToSlot>;

/// A server that hands its streams to the test. It is both a resource manager and a job master.
struct Peer<In, Out> {
    address: String,
    /// The epoch of the leadership of the resource manager.
    epoch: Arc<AtomicU64>,
    streams: mpsc::Sender<Stream<In, Out>>,
}

impl<In, Out> Peer<In, Out> {
    async fn accept(&self, incoming: Streaming<In>) -> Result<Response<ReceiverStream<Result<Out, Status>>>, Status> {
        let (outgoing, messages) = mpsc::channel(16);
        let stream = Stream { incoming, outgoing };
        let sent = self.streams.send(stream).await;
        sent.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[tonic::async_trait]
impl ResourceManager for Peer<v1::FromTaskExecutor, v1::ToTaskExecutor> {
    type ConnectTaskExecutorStream = ReceiverStream<Result<v1::ToTaskExecutor, Status>>;
    type ConnectJobMasterStream = ReceiverStream<Result<v1::ToJobMaster, Status>>;

    async fn leader(&self, _: Request<v1::LeaderRequest>) -> Result<Response<v1::LeaderReply>, Status> {
        Ok(Response::new(v1::LeaderReply {
            epoch: self.epoch.load(Ordering::Relaxed),
            address: self.address.clone(),
            web_address: String::new(),
        }))
    }

    async fn connect_task_executor(
        &self,
        request: Request<Streaming<v1::FromTaskExecutor>>,
    ) -> Result<Response<Self::ConnectTaskExecutorStream>, Status> {
        self.accept(request.into_inner()).await
    }

    async fn connect_job_master(
        &self,
        _: Request<Streaming<v1::FromJobMaster>>,
    ) -> Result<Response<Self::ConnectJobMasterStream>, Status> {
        Err(Status::unimplemented("no test needs it"))
    }
}

#[tonic::async_trait]
impl JobMaster for Peer<v1::FromSlot, v1::ToSlot> {
    type OfferSlotStream = ReceiverStream<Result<v1::ToSlot, Status>>;

    async fn offer_slot(
        &self,
        request: Request<Streaming<v1::FromSlot>>,
    ) -> Result<Response<Self::OfferSlotStream>, Status> {
        self.accept(request.into_inner()).await
    }
}

fn listen() -> (TcpIncoming, String) {
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = incoming.local_addr().unwrap().to_string();
    (incoming, address)
}

/// A running task executor with one slot, and its neighbours.
struct Cluster {
    epoch: Arc<AtomicU64>,
    /// The heartbeat timeout that the resource manager asks for.
    heartbeat_timeout: Duration,
    workers: mpsc::Receiver<FromWorkerStream>,
    job_master: String,
    slots: mpsc::Receiver<SlotStream>,
    stop: CancellationToken,
    process: JoinHandle<anyhow::Result<()>>,
    event_log: PathBuf,
}

impl Cluster {
    fn start(name: &str) -> Self {
        Self::start_with_slot_timeout(name, DEADLINE * 2)
    }

    fn start_with_slot_timeout(name: &str, slot_timeout: Duration) -> Self {
        Self::start_with_timeouts(name, slot_timeout, DEADLINE * 2)
    }

    fn start_with_timeouts(name: &str, slot_timeout: Duration, registration_timeout: Duration) -> Self {
        let epoch = Arc::new(AtomicU64::new(5));
        let (streams, workers) = mpsc::channel(1);
        let (incoming, resource_manager) = listen();
        let peer = Peer {
            address: resource_manager.clone(),
            epoch: Arc::clone(&epoch),
            streams,
        };
        let server = Server::builder().add_service(ResourceManagerServer::new(peer));
        tokio::spawn(server.serve_with_incoming(incoming));

        let (streams, slots) = mpsc::channel(1);
        let (incoming, job_master) = listen();
        let peer = Peer {
            address: job_master.clone(),
            epoch: Arc::default(),
            streams,
        };
        let server = Server::builder().add_service(JobMasterServer::new(peer));
        tokio::spawn(server.serve_with_incoming(incoming));

        let event_log = std::env::temp_dir().join(format!("cluster-{}-{name}.log", std::process::id()));
        let _ = std::fs::remove_file(&event_log);
        let options = Options {
            security: SecurityOptions::default(),
            resource_managers: vec!["127.0.0.1:1".into(), resource_manager],
            resource_id: Some("w".into()),
            slots: 1,
            profile: ResourceProfile::ANY,
            total: None,
            default_slot: None,
            worker_request: None,
            slot_timeout,
            registration_timeout,
            event_log: Some(event_log.clone()),
        };
        let stop = CancellationToken::new();
        Self {
            epoch,
            heartbeat_timeout: DEADLINE * 2,
            workers,
            job_master,
            slots,
            process: tokio::spawn(run(options, stop.clone())),
            stop,
            event_log,
        }
    }

    /// Reads the next registration, and leaves it unanswered.
    async fn registering(&mut self) -> (Leader, v1::RegisterTaskExecutor) {
        let stream = timeout(DEADLINE, self.workers.recv()).await;
        let mut stream = stream.expect("no worker registers").unwrap();
        let first = stream.next().await.unwrap().message;
        let Some(FromWorker::Register(register)) = first else {
            panic!("{first:?}");
        };
        (Leader { stream }, register)
    }

    /// Accepts the next registration. Returns its report.
    async fn register(&mut self) -> (Leader, v1::RegisterTaskExecutor) {
        let (leader, register) = self.registering().await;
        let registered = v1::Registered {
            epoch: self.epoch.load(Ordering::Relaxed),
            instance_id: InstanceId::from_u128(1).to_bytes().into(),
            heartbeat_interval_ms: 50,
            heartbeat_timeout_ms: self.heartbeat_timeout.as_millis().try_into().unwrap(),
        };
        leader.tell(ToWorker::Registered(registered)).await;
        (leader, register)
    }

    async fn offered(&mut self) -> SlotStream {
        let slot = timeout(DEADLINE, self.slots.recv()).await;
        let mut slot = slot.expect("no slot is offered").unwrap();
        let first = slot.next().await.unwrap().message;
        assert!(matches!(first, Some(v1::from_slot::Message::Offer(offer)) if offer.resource_id == "w"));
        slot
    }

    /// Stops the task executor. Returns its events.
    async fn ends(self) -> Vec<String> {
        self.stop.cancel();
        let ended = timeout(DEADLINE, self.process).await;
        ended.expect("the task executor runs on").unwrap().unwrap();
        let log = std::fs::read_to_string(&self.event_log).unwrap();
        std::fs::remove_file(&self.event_log).unwrap();
        let event = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone();
        log.lines()
            .map(|line| event(line).as_str().unwrap().to_owned())
            .collect()
    }
}

/// The resource manager's end of a registration.
struct Leader {
    stream: FromWorkerStream,
}

impl Leader {
    async fn tell(&self, message: ToWorker) {
        let message = v1::ToTaskExecutor { message: Some(message) };
        self.stream.outgoing.send(Ok(message)).await.unwrap();
    }

    async fn allocate(&self, target_address: &str) {
        self.tell(ToWorker::AllocateSlot(v1::AllocateSlot {
            slot_number: 0,
            allocation: Some(v1::Allocation {
                allocation_id: AllocationId::from_u128(1).to_bytes().into(),
                job_id: JobId::from_u128(7).to_bytes().into(),
            }),
            resource_profile: Some((&ResourceProfile::ANY).into()),
            target_address: target_address.to_owned(),
            attempt: 1,
        }))
        .await;
    }

    /// Returns the next message that is no heartbeat.
    async fn hears(&mut self) -> Option<FromWorker> {
        loop {
            match self.stream.next().await?.message {
                Some(FromWorker::Heartbeat(_)) => {}
                message => return message,
            }
        }
    }
}

impl SlotStream {
    async fn run(&self, task: u64, script: &str) {
        let command = ["sh", "-c", script].map(str::to_owned).into();
        self.tell(v1::to_slot::Message::Run(v1::RunTask { task, command }))
            .await;
    }

    async fn tell(&self, message: v1::to_slot::Message) {
        let message = v1::ToSlot { message: Some(message) };
        self.outgoing.send(Ok(message)).await.unwrap();
    }

    async fn hears_end(&mut self) -> (u64, Option<i32>) {
        match self.next().await.and_then(|message| message.message) {
            Some(v1::from_slot::Message::Ended(ended)) => (ended.task, ended.exit_code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn tasks_run_in_a_slot_until_it_is_released() {
    let mut cluster = Cluster::start("tasks");
    let (mut leader, register) = cluster.register().await;
    assert_eq!(register.highest_epoch, 0);
    leader.allocate(&cluster.job_master).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotAnswer(_))));

    let mut slot = cluster.offered().await;
    // As this version reads a message of a later one.
    slot.outgoing.send(Ok(v1::ToSlot { message: None })).await.unwrap();
    slot.run(1, "exit 3").await;
    slot.run(2, r#"test "$CLUSTER_TASK $CLUSTER_SLOT" = "2 w_0""#).await;
    let command = vec!["/does/not/exist".to_owned()];
    slot.tell(v1::to_slot::Message::Run(v1::RunTask { task: 3, command }))
        .await;
    assert_eq!(slot.hears_end().await, (1, Some(3)));
    assert_eq!(slot.hears_end().await, (2, Some(0)));
    assert_eq!(slot.hears_end().await, (3, Some(127)));

    slot.tell(v1::to_slot::Message::Release(v1::ReleaseSlot {})).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotFreed(freed)) if freed.attempt == Some(1)));
    let mut expected = vec!["registered", "allocated"];
    expected.extend(["task_started", "task_ended"].repeat(3));
    expected.push("freed");
    assert_eq!(cluster.ends().await, expected);
}

#[tokio::test]
async fn a_task_is_killed_when_its_job_master_is_gone() {
    let mut cluster = Cluster::start("job-master-gone");
    let (mut leader, _) = cluster.register().await;
    leader.allocate(&cluster.job_master).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotAnswer(_))));
    let slot = cluster.offered().await;
    slot.run(1, "sleep 1000").await;
    sleep(Duration::from_millis(100)).await;
    drop(slot);
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotFreed(_))));
    let events = cluster.ends().await;
    assert_eq!(
        events,
        ["registered", "allocated", "task_started", "task_ended", "freed"]
    );
}

/// Lets a worker offer its slot to a job master in vain. The slot is free then.
async fn offer_in_vain(mut cluster: Cluster, job_master: &str) {
    let (mut leader, _) = cluster.register().await;
    leader.allocate(job_master).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotAnswer(_))));
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotFreed(_))));
    assert_eq!(cluster.ends().await, ["registered", "allocated", "freed"]);
}

#[tokio::test]
async fn a_slot_is_freed_if_its_job_master_is_not_reached() {
    let cluster = Cluster::start_with_slot_timeout("not-reached", Duration::from_millis(500));
    // An address for documentation, where nothing answers.
    offer_in_vain(cluster, "192.0.2.1:1").await;
}

#[tokio::test]
async fn a_slot_is_freed_at_once_if_its_job_master_has_ended() {
    offer_in_vain(Cluster::start("ended"), "127.0.0.1:1").await;
}

#[tokio::test]
async fn a_slot_is_freed_at_once_if_its_job_master_refuses_it() {
    let mut cluster = Cluster::start("refuses");
    cluster.slots.close();
    let job_master = cluster.job_master.clone();
    offer_in_vain(cluster, &job_master).await;
}

#[tokio::test]
async fn tasks_survive_a_change_of_leaders() {
    let mut cluster = Cluster::start("survive");
    let (leader, _) = cluster.register().await;
    leader.allocate(&cluster.job_master).await;
    let mut slot = cluster.offered().await;
    slot.run(1, "sleep 1").await;
    drop(leader);

    cluster.epoch.store(6, Ordering::Relaxed);
    let (_leader, register) = cluster.register().await;
    assert_eq!(register.highest_epoch, 5);
    let report = register.report.unwrap();
    assert!(report.slots[0].allocation.is_some());
    assert_eq!(slot.hears_end().await, (1, Some(0)));
    drop(slot);
    cluster.ends().await;
}

#[tokio::test]
async fn an_old_leader_is_refused() {
    let mut cluster = Cluster::start("old-leader");
    drop(cluster.register().await);
    cluster.epoch.store(4, Ordering::Relaxed);
    let (mut old, _) = cluster.register().await;
    assert!(old.hears().await.is_none());
    cluster.epoch.store(6, Ordering::Relaxed);
    let (_leader, register) = cluster.register().await;
    assert_eq!(register.highest_epoch, 5);
    sleep(Duration::from_millis(100)).await;
    let events = cluster.ends().await;
    assert_eq!(events, ["registered", "old_leader_refused", "registered"]);
}

#[tokio::test]
async fn an_idle_worker_without_a_leader_gives_up() {
    let short = Duration::from_millis(300);
    let mut cluster = Cluster::start_with_timeouts("gives-up", DEADLINE * 2, short);
    let (mut leader, _) = cluster.register().await;
    leader.allocate(&cluster.job_master).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotAnswer(_))));
    let mut slot = cluster.offered().await;
    slot.run(1, "sleep 1.5").await;

    // Nobody leads any more. The task goes on.
    cluster.epoch.store(0, Ordering::Relaxed);
    drop(leader);
    assert_eq!(slot.hears_end().await, (1, Some(0)));
    slot.tell(v1::to_slot::Message::Release(v1::ReleaseSlot {})).await;
    let ended = timeout(DEADLINE, &mut cluster.process).await;
    let error = ended.expect("the task executor runs on").unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no leader has registered the worker for 300ms");
    std::fs::remove_file(&cluster.event_log).unwrap();
}

#[tokio::test]
async fn a_silent_leader_is_left() {
    let mut cluster = Cluster::start("silent");
    cluster.heartbeat_timeout = Duration::from_secs(2);
    let (mut leader, _) = cluster.register().await;
    // Heartbeats come until the worker gives the connection up.
    assert!(leader.hears().await.is_none());
    cluster.register().await;
    cluster.ends().await;
}

#[tokio::test]
async fn a_silent_leader_is_left_for_the_next_before_the_heartbeat_timeout() {
    let mut cluster = Cluster::start("next-leader");
    let (mut silent, _) = cluster.register().await;
    cluster.epoch.store(6, Ordering::Relaxed);
    let (_leader, register) = cluster.register().await;
    assert_eq!(register.highest_epoch, 5);
    assert!(silent.hears().await.is_none());
    cluster.ends().await;
}

#[tokio::test]
async fn a_worker_that_stops_says_so_and_ends_its_tasks() {
    let mut cluster = Cluster::start("leaving");
    let (mut leader, _) = cluster.register().await;
    leader.allocate(&cluster.job_master).await;
    let mut slot = cluster.offered().await;
    slot.run(1, "sleep 1000").await;
    sleep(Duration::from_millis(100)).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::SlotAnswer(_))));
    cluster.stop.cancel();
    assert!(matches!(leader.hears().await, Some(FromWorker::Leaving(_))));
    assert!(leader.hears().await.is_none());
    assert!(slot.next().await.is_none());
    drop(leader);
    let events = cluster.ends().await;
    assert_eq!(
        events,
        ["registered", "allocated", "task_started", "task_ended", "freed"]
    );
}

#[tokio::test]
async fn a_worker_stops_when_the_leader_says_so() {
    let mut cluster = Cluster::start("told");
    let (mut leader, _) = cluster.register().await;
    let cause = "idle".to_owned();
    leader.tell(ToWorker::Stop(v1::Stop { cause: cause.clone() })).await;
    assert!(matches!(leader.hears().await, Some(FromWorker::Leaving(leaving)) if leaving.reason == cause));
    drop(leader);
    timeout(DEADLINE, &mut cluster.process).await.unwrap().unwrap().unwrap();
    std::fs::remove_file(&cluster.event_log).unwrap();
}

#[tokio::test]
async fn a_worker_that_the_cluster_has_no_room_for_stops() {
    let mut cluster = Cluster::start("refused");
    let (leader, _) = cluster.registering().await;
    let cause = "a limit is reached".to_owned();
    leader.tell(ToWorker::Stop(v1::Stop { cause })).await;
    timeout(DEADLINE, &mut cluster.process).await.unwrap().unwrap().unwrap();
    std::fs::remove_file(&cluster.event_log).unwrap();
}
