//! The resource manager over real connections. Task executors and job masters are played by hand.

mod dynamic;

use std::path::PathBuf;
use std::time::Duration;

use slot_manager::{AllocationId, JobId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::Process;
use crate::command_line::parse;
use crate::protocol::v1;
use crate::protocol::v1::request_status::State;
use crate::protocol::v1::resource_manager_client::ResourceManagerClient;
use crate::protocol::v1::{from_job_master, from_task_executor, to_job_master, to_task_executor};

const PATIENCE: Duration = Duration::from_secs(20);

/// A resource manager in this process, and a folder for its election.
struct Cluster {
    client: ResourceManagerClient<Channel>,
    address: String,
    stop: CancellationToken,
    process: JoinHandle<anyhow::Result<()>>,
    folder: PathBuf,
}

impl Cluster {
    async fn start(arguments: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("cluster-test-{}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        Self::start_in(folder, arguments).await
    }

    /// Starts a resource manager whose election is in this folder.
    async fn start_in(folder: PathBuf, arguments: &[&str]) -> Self {
        let election = format!("file:{}", folder.join("leader").display());
        let options = parse(["--election", &election].iter().chain(arguments)).unwrap();
        let process = Process::bind(options).await.unwrap();
        let address = process.address().to_owned();
        let stop = CancellationToken::new();
        let process = tokio::spawn(process.run(stop.clone()));
        let client = ResourceManagerClient::connect(format!("http://{address}")).await;
        let mut cluster = Self {
            client: client.unwrap(),
            address,
            stop,
            process,
            folder,
        };
        cluster.wait_for_epoch(1).await;
        cluster
    }

    async fn leader_epoch(&mut self) -> u64 {
        let reply = self.client.leader(v1::LeaderRequest {}).await;
        reply.unwrap().into_inner().epoch
    }

    async fn wait_for_epoch(&mut self, epoch: u64) {
        let elected = async {
            while self.leader_epoch().await < epoch {
                sleep(Duration::from_millis(10)).await;
            }
            // The owner follows the election a moment later.
            sleep(Duration::from_millis(100)).await;
        };
        timeout(PATIENCE, elected).await.unwrap();
    }

    async fn stop(self) {
        let folder = self.folder.clone();
        self.stop_only().await;
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Stops the resource manager, but keeps the folder.
    async fn stop_only(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.process).await.unwrap().unwrap().unwrap();
    }

    async fn task_executor(&mut self, register: v1::RegisterTaskExecutor) -> TaskExecutor {
        let (sender, receiver) = mpsc::channel(16);
        let messages = self.client.connect_task_executor(ReceiverStream::new(receiver)).await;
        let mut task_executor = TaskExecutor {
            sender,
            messages: messages.unwrap().into_inner(),
        };
        task_executor
            .send(from_task_executor::Message::Register(register))
            .await;
        task_executor
    }

    async fn job_master(&mut self, grants: Vec<Vec<u8>>) -> JobMaster {
        let (sender, receiver) = mpsc::channel(16);
        let messages = self.client.connect_job_master(ReceiverStream::new(receiver)).await;
        let mut job_master = JobMaster {
            sender,
            messages: messages.unwrap().into_inner(),
        };
        let register = v1::RegisterJobMaster {
            job_id: JobId::from_u128(7).to_bytes().into(),
            address: "127.0.0.1:1".to_owned(),
            highest_epoch: 0,
            grants,
        };
        job_master.send(from_job_master::Message::Register(register)).await;
        let to_job_master::Message::Registered(registered) = job_master.next().await.unwrap() else {
            panic!("the first message is not the registration");
        };
        assert_eq!(registered.epoch, 1);
        job_master
    }
}

struct TaskExecutor {
    sender: mpsc::Sender<v1::FromTaskExecutor>,
    messages: Streaming<v1::ToTaskExecutor>,
}

impl TaskExecutor {
    async fn send(&mut self, message: from_task_executor::Message) {
        let message = v1::FromTaskExecutor { message: Some(message) };
        self.sender.send(message).await.unwrap();
    }

    /// Returns the next message that is no heartbeat; an error at the end of the session.
    async fn next(&mut self) -> Result<to_task_executor::Message, Status> {
        loop {
            let message = timeout(PATIENCE, self.messages.message()).await.unwrap()?;
            let message = message.ok_or_else(|| Status::ok("end"))?.message.unwrap();
            if !matches!(message, to_task_executor::Message::Heartbeat(_)) {
                return Ok(message);
            }
        }
    }

    /// Returns the next message that is no heartbeat, and sends heartbeats until it comes.
    async fn next_while_alive(&mut self) -> to_task_executor::Message {
        let sender = self.sender.clone();
        let heartbeats = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let _ = sender.send(v1::FromTaskExecutor { message: None }).await;
            }
        };
        tokio::select! {
            message = self.next() => message.unwrap(),
            () = heartbeats => panic!("the heartbeats have ended"),
        }
    }

    async fn registered(&mut self) -> v1::Registered {
        match self.next().await.unwrap() {
            to_task_executor::Message::Registered(registered) => registered,
            other => panic!("{other:?} is not the registration"),
        }
    }
}

struct JobMaster {
    sender: mpsc::Sender<v1::FromJobMaster>,
    messages: Streaming<v1::ToJobMaster>,
}

impl JobMaster {
    async fn send(&mut self, message: from_job_master::Message) {
        let message = v1::FromJobMaster { message: Some(message) };
        self.sender.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Result<to_job_master::Message, Status> {
        loop {
            let message = timeout(PATIENCE, self.messages.message()).await.unwrap()?;
            let message = message.ok_or_else(|| Status::ok("end"))?.message.unwrap();
            if !matches!(message, to_job_master::Message::Heartbeat(_)) {
                return Ok(message);
            }
        }
    }

    async fn request(&mut self, allocation_id: &[u8]) {
        self.request_with(allocation_id, profile()).await;
    }

    async fn request_with(&mut self, allocation_id: &[u8], profile: v1::ResourceProfile) {
        let request = v1::SlotRequest {
            allocation_id: allocation_id.to_vec(),
            resource_profile: Some(profile),
        };
        self.send(from_job_master::Message::SlotRequest(request)).await;
    }

    async fn declare(&mut self, revision: u64, slots: u32) {
        let required = v1::RequiredSlots {
            resource_profile: Some(profile()),
            slots,
        };
        let declare = v1::DeclareRequirements {
            revision,
            required: vec![required],
        };
        self.send(from_job_master::Message::Declare(declare)).await;
    }

    async fn refusal(&mut self) -> v1::DeclarationRefused {
        match self.next().await.unwrap() {
            to_job_master::Message::DeclarationRefused(refused) => refused,
            other => panic!("{other:?} is not a refusal"),
        }
    }

    async fn status(&mut self) -> v1::RequestStatus {
        match self.next().await.unwrap() {
            to_job_master::Message::Status(status) => status,
            other => panic!("{other:?} is not the status of a request"),
        }
    }
}

fn profile() -> v1::ResourceProfile {
    v1::ResourceProfile {
        cpu_cores: 1.0,
        ..v1::ResourceProfile::default()
    }
}

fn allocation(number: u128) -> Vec<u8> {
    AllocationId::from_u128(number).to_bytes().into()
}

/// Returns the registration of a worker with one free slot.
fn worker(resource_id: &str) -> v1::RegisterTaskExecutor {
    let report = v1::SlotReport {
        revision: 1,
        profiles: vec![profile()],
        slots: vec![v1::SlotStatus::default()],
        dynamic: None,
    };
    v1::RegisterTaskExecutor {
        resource_id: resource_id.to_owned(),
        highest_epoch: 0,
        worker_request: None,
        report: Some(report),
    }
}

#[tokio::test]
async fn a_slot_is_requested_acknowledged_granted_and_lost() {
    let mut cluster = Cluster::start(&[]).await;
    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    let registered = task_executor.registered().await;
    assert_eq!((registered.epoch, registered.heartbeat_interval_ms), (1, 3_000));

    let mut job_master = cluster.job_master(Vec::new()).await;
    job_master.request(&allocation(1)).await;
    assert_eq!(job_master.status().await.state(), State::InFlight);
    let to_task_executor::Message::AllocateSlot(request) = task_executor.next().await.unwrap() else {
        panic!("no slot is requested");
    };
    assert_eq!(
        (request.slot_number, request.target_address.as_str()),
        (0, "127.0.0.1:1")
    );
    let acknowledged = v1::Acknowledged { revision: 2 };
    let answer = v1::SlotAnswer {
        attempt: Some(v1::AttemptId {
            number: request.attempt,
            allocation_id: allocation(1),
        }),
        result: Some(v1::slot_answer::Result::Acknowledged(acknowledged)),
    };
    task_executor
        .send(from_task_executor::Message::SlotAnswer(answer))
        .await;
    let granted = job_master.status().await;
    assert_eq!((granted.state(), granted.slot.as_str()), (State::Granted, "worker-1_0"));

    // The same request again is answered with its status.
    job_master.request(&allocation(1)).await;
    assert_eq!(job_master.status().await.state(), State::Granted);

    // The worker is gone, and a second request waits.
    drop(task_executor);
    let to_job_master::Message::Lost(lost) = job_master.next().await.unwrap() else {
        panic!("no grant is lost");
    };
    assert_eq!(lost.allocation_id, allocation(1));
    job_master.request(&allocation(2)).await;
    assert_eq!(job_master.status().await.state(), State::Waiting);
    cluster.stop().await;
}

#[tokio::test]
async fn declared_slots_are_granted_until_the_job_stays_away() {
    let mut cluster = Cluster::start(&["--heartbeat-interval", "100ms", "--heartbeat-timeout", "600ms"]).await;
    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    task_executor.registered().await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    job_master.declare(1, 1).await;
    let to_task_executor::Message::AllocateSlot(request) = task_executor.next().await.unwrap() else {
        panic!("no slot is requested");
    };
    let allocation_id = request.allocation.unwrap().allocation_id;
    let acknowledged = v1::Acknowledged { revision: 2 };
    let answer = v1::SlotAnswer {
        attempt: Some(v1::AttemptId {
            number: request.attempt,
            allocation_id: allocation_id.clone(),
        }),
        result: Some(v1::slot_answer::Result::Acknowledged(acknowledged)),
    };
    task_executor
        .send(from_task_executor::Message::SlotAnswer(answer))
        .await;
    let granted = job_master.status().await;
    assert_eq!(
        (granted.state(), granted.allocation_id),
        (State::Granted, allocation_id)
    );

    // The job is gone without a word. The worker says that it lives.
    drop(job_master);
    let to_task_executor::Message::FreeInactiveSlots(free) = task_executor.next_while_alive().await else {
        panic!("no slot is to be freed");
    };
    let job_id = JobId::from_u128(7).to_bytes();
    assert_eq!((free.job_id, free.attempt), (job_id.into(), request.attempt));
    cluster.stop().await;
}

#[tokio::test]
async fn declarations_that_cannot_be_served_are_answered() {
    let mut cluster = Cluster::start(&["-D", "slot.request.timeout=1 s"]).await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    job_master.declare(5, 2).await;
    let to_job_master::Message::Shortage(shortage) = job_master.next().await.unwrap() else {
        panic!("no shortage is told");
    };
    assert_eq!((shortage.declared, shortage.held), (2, 0));
    assert_eq!(shortage.cause, "the others were not granted within 1s");

    // An old declaration changes nothing.
    job_master.declare(4, 1).await;
    let refused = job_master.refusal().await;
    assert_eq!((refused.revision, refused.highest_revision), (4, 5));

    // A job declares, or requests one by one.
    job_master.request(&allocation(1)).await;
    let message = job_master.next().await.unwrap();
    assert!(matches!(message, to_job_master::Message::Failed(_)), "{message:?}");
    job_master.declare(6, 0).await;
    job_master.request(&allocation(2)).await;
    assert_eq!(job_master.status().await.state(), State::Waiting);
    job_master.declare(7, 1).await;
    let refused = job_master.refusal().await;
    assert_eq!((refused.revision, refused.highest_revision), (7, 0));
    assert!(refused.cause.contains("has requested single slots"), "{refused:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_that_registers_again_replaces_its_former_session() {
    let mut cluster = Cluster::start(&[]).await;
    let mut first = cluster.task_executor(worker("worker-1")).await;
    let first_id = first.registered().await.instance_id;
    let mut second = cluster.task_executor(worker("worker-1")).await;
    assert_ne!(second.registered().await.instance_id, first_id);
    assert_eq!(first.next().await.unwrap_err().code(), Code::Aborted);
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_beyond_the_limit_is_not_registered_and_told_to_stop() {
    let limit = "slotmanager.number-of-slots.max=1";
    let one_slot = "taskmanager.numberOfTaskSlots=1";
    let mut cluster = Cluster::start(&["-D", limit, "-D", one_slot, "-D", "taskmanager.cpu.cores=1"]).await;
    let mut first = cluster.task_executor(worker("worker-1")).await;
    first.registered().await;

    let mut second = cluster.task_executor(worker("worker-2")).await;
    let message = second.next().await.unwrap();
    assert!(matches!(message, to_task_executor::Message::Stop(_)), "{message:?}");
    assert_eq!(second.next().await.unwrap_err().code(), Code::ResourceExhausted);
    cluster.stop().await;
}

#[tokio::test]
async fn bad_peers_are_refused_with_a_clear_status() {
    let mut cluster = Cluster::start(&[]).await;
    let later = v1::RegisterTaskExecutor {
        highest_epoch: 9,
        ..worker("worker-1")
    };
    let mut task_executor = cluster.task_executor(later).await;
    assert_eq!(task_executor.next().await.unwrap_err().code(), Code::FailedPrecondition);

    let mut task_executor = cluster.task_executor(worker("")).await;
    let status = task_executor.next().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "resource_id: missing")
    );

    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    task_executor.registered().await;
    task_executor
        .send(from_task_executor::Message::Register(worker("worker-1")))
        .await;
    assert_eq!(task_executor.next().await.unwrap_err().code(), Code::InvalidArgument);
    cluster.stop().await;
}

#[tokio::test]
async fn messages_of_a_later_version_are_ignored() {
    let mut cluster = Cluster::start(&[]).await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    let unknown = v1::FromJobMaster { message: None };
    job_master.sender.send(unknown).await.unwrap();
    job_master.request(&allocation(1)).await;
    assert_eq!(job_master.status().await.state(), State::Waiting);

    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    task_executor.registered().await;
    let unknown = v1::FromTaskExecutor { message: None };
    task_executor.sender.send(unknown).await.unwrap();
    let asked = task_executor.next().await;
    assert!(
        matches!(asked, Ok(to_task_executor::Message::AllocateSlot(_))),
        "{asked:?}"
    );
    let leaving = v1::Leaving {
        reason: "the test is over".to_owned(),
    };
    task_executor.send(from_task_executor::Message::Leaving(leaving)).await;
    assert_eq!(task_executor.next().await.unwrap_err().message(), "end");
    cluster.stop().await;
}

#[tokio::test]
async fn a_silent_peer_loses_its_session() {
    let mut cluster = Cluster::start(&["--heartbeat-interval", "50ms", "--heartbeat-timeout", "300ms"]).await;
    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    task_executor.registered().await;
    assert_eq!(task_executor.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    cluster.stop().await;
}

#[tokio::test]
async fn unknown_grants_are_lost_once_the_recovery_is_over() {
    let recovery = "resourcemanager.previous-worker.recovery.timeout=500 ms";
    let mut cluster = Cluster::start(&["-D", recovery]).await;
    let mut job_master = cluster.job_master(vec![allocation(1), allocation(2)]).await;
    // The worker of the second grant comes back.
    let mut returned = worker("worker-1");
    let allocated = v1::Allocation {
        allocation_id: allocation(2),
        job_id: JobId::from_u128(7).to_bytes().into(),
    };
    if let Some(report) = &mut returned.report {
        report.slots[0].allocation = Some(allocated);
    }
    let mut task_executor = cluster.task_executor(returned).await;
    task_executor.registered().await;
    let to_job_master::Message::Lost(lost) = job_master.next().await.unwrap() else {
        panic!("no grant is lost");
    };
    assert_eq!(lost.allocation_id, allocation(1));
    job_master.request(&allocation(2)).await;
    let granted = job_master.status().await;
    assert_eq!(
        (granted.state(), granted.allocation_id),
        (State::Granted, allocation(2))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn the_end_is_bounded_and_tells_all_peers() {
    let mut cluster = Cluster::start(&[]).await;
    let mut task_executor = cluster.task_executor(worker("worker-1")).await;
    task_executor.registered().await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    timeout(Duration::from_secs(4), cluster.stop()).await.unwrap();
    assert_eq!(task_executor.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(job_master.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_follower_names_the_leader_and_takes_over() {
    let first = Cluster::start(&[]).await;
    let mut second = Cluster::start_in(first.folder.clone(), &[]).await;
    let messages = tokio_stream::empty::<v1::FromTaskExecutor>();
    let status = second.client.connect_task_executor(messages).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.metadata().get("leader").unwrap(), first.address.as_str());

    first.stop_only().await;
    second.wait_for_epoch(2).await;
    let mut task_executor = second.task_executor(worker("worker-1")).await;
    assert_eq!(task_executor.registered().await.epoch, 2);
    second.stop().await;
}

#[tokio::test]
async fn peers_that_are_not_authenticated_must_be_local() {
    let options = parse(["--election", "file:/nowhere/leader", "--listen", "0.0.0.0:0"]).unwrap();
    let error = Process::bind(options).await.err().unwrap();
    assert!(error.to_string().contains("not a loopback address"), "{error}");
}
