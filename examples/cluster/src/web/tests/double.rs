//! A cluster of doubles around a real slot manager.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::WorkerPromise;
use slot_manager::outcome::BlockOutcome;
use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, ResourceRequirements, SlotId, SlotManager,
    SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::election::{Addresses, Leader};
use crate::protocol::Epoch;
use crate::resource_manager::handle::{Published, Unanswered};
use crate::web::cluster::Cluster;

pub type TestManager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

/// A cluster that leads with epoch 7, or knows a leader with that epoch.
#[derive(Clone)]
pub struct Double {
    pub manager: Arc<Mutex<TestManager>>,
    pub actions: RecordingActions,
    time: ManualScheduledExecutor,
    is_leading: bool,
    /// The web server of the leader, if this cluster does not lead.
    leader_web: Option<String>,
    published: watch::Sender<Arc<Published>>,
}

const EPOCH: Epoch = Epoch(7);

impl Double {
    pub fn leading() -> Self {
        Self::new(true, true)
    }

    /// Returns a cluster that does not lead, and knows the web server of its leader.
    pub fn following(leader_web: &str) -> Self {
        let mut double = Self::new(false, true);
        double.leader_web = Some(leader_web.to_owned());
        double
    }

    /// Returns a cluster that leads, and awaits the workers of the leader before it.
    pub fn recovering() -> Self {
        Self::new(true, false)
    }

    fn new(is_leading: bool, is_recovered: bool) -> Self {
        let mut config = SlotManagerConfig::default();
        config.retry_backoff = Duration::from_secs(40);
        config.max_retry_backoff = Duration::from_secs(80);
        config.recovery_timeout = Duration::from_secs(60);
        let (actions, time) = (RecordingActions::new(), ManualScheduledExecutor::new());
        let mut manager = SlotManager::new(config, time.clone()).unwrap();
        manager.start(EPOCH.leader_id(), actions.clone()).unwrap();
        if is_recovered {
            let _ = manager.end_recovery();
        }
        Self {
            manager: Arc::new(Mutex::new(manager)),
            actions,
            time,
            is_leading,
            leader_web: None,
            published: watch::Sender::default(),
        }
    }

    pub fn tell<R>(&self, tell: impl FnOnce(&mut TestManager) -> R) -> R {
        let told = tell(&mut self.manager.lock().unwrap());
        self.publish();
        told
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.time.advance(time);
    }

    pub fn publish(&self) {
        self.publish_at(Instant::now(), self.is_leading);
    }

    /// Publishes the numbers as the owner did at this time.
    pub fn publish_at(&self, at: Instant, is_leading: bool) {
        let manager = self.manager.lock().unwrap();
        let published = Published {
            at: Some(at),
            epoch: is_leading.then_some(EPOCH),
            overview: manager.overview(),
            changes: manager.changes(),
            waiting_inputs: 3,
            job_masters: 2,
        };
        self.published.send_replace(Arc::new(published));
    }

    /// Registers a worker with slots of one core. Returns its gateway.
    pub fn register(&self, id: &str, slots: u32, answer: impl Into<GatewayAnswer>) -> ScriptedGateway {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(answer);
        let statuses = (0..slots).map(|slot| SlotStatus::free(SlotId::new(id, slot), profile(1.0)));
        let report = SlotReport::new(statuses.collect()).with_revision(1);
        self.tell(|manager| {
            let instance_id = InstanceId::from_u128(0x1000 + manager.overview().task_managers as u128);
            let connection = TaskExecutorConnection::new(id, instance_id, gateway.clone());
            let _ = manager.register_task_manager(connection, &report).unwrap();
        });
        gateway
    }

    /// Registers a dynamic worker with this number of cores.
    pub fn register_dynamic(&self, id: &str, cores: f64) -> InstanceId {
        let gateway = ScriptedGateway::new();
        gateway.answer_requests(Ok(slot_manager::message::Acknowledge::new()));
        let report = SlotReport::of_dynamic(profile(cores), vec![]).with_revision(1);
        self.tell(|manager| {
            let instance_id = InstanceId::from_u128(0x1000 + manager.overview().task_managers as u128);
            let connection = TaskExecutorConnection::new(id, instance_id, gateway);
            let _ = manager.register_task_manager(connection, &report).unwrap();
            instance_id
        })
    }

    pub fn request(&self, allocation: u128, cores: f64) -> AllocationId {
        let allocation_id = AllocationId::from_u128(allocation);
        let job_id = JobId::from_u128(0x70b1 + allocation % 3);
        let request = SlotRequest::new(job_id, allocation_id, profile(cores), "127.0.0.1:7000");
        let _ = self.tell(|manager| manager.register_slot_request(request)).unwrap();
        allocation_id
    }

    /// Declares the slots of a job.
    pub fn declare(&self, job: u128, slots: u32, cores: f64) -> JobId {
        let job_id = JobId::from_u128(job);
        let requirements = ResourceRequirements::new(job_id, "127.0.0.1:7000").with_revision(1);
        let requirements = requirements.require(profile(cores), slots).unwrap();
        let _ = self
            .tell(|manager| manager.declare_requirements(&requirements))
            .unwrap();
        job_id
    }

    /// Registers workers of all kinds, and requests that are granted or wait for many reasons.
    pub fn fill(&self, workers: u32) {
        self.register("worker-bad", 4, Err(unreachable()));
        self.request(0xbad, 1.0);
        for worker in 1..workers {
            let slots = [4, 8, 2, 16][worker as usize % 4];
            let answer = match worker {
                2 => GatewayAnswer::Later,
                _ => Ok(slot_manager::message::Acknowledge::new()).into(),
            };
            self.register(&format!("worker-{worker}"), slots, answer);
        }
        let slots = self.tell(|manager| manager.overview().slots.registered.slots);
        for request in 0..slots * 2 / 3 {
            self.request(0xa000_0000 + request as u128, 1.0);
        }
        let _ = self.tell(|manager| manager.block(&slot_manager::ResourceId::new("worker-1")));
        self.request(0xb1, 64.0);
        self.request(0xb2, 64.0);
        let promise = WorkerPromise::Slots(vec![profile(2.0); 4]);
        self.actions.answer_next_allocation(Ok(promise));
        for request in 0..3 {
            self.request(0xc0 + request, 2.0);
        }
    }
}

pub fn profile(cores: f64) -> ResourceProfile {
    let profile = ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_bytes(2 << 30);
    profile.build().unwrap()
}

pub fn unreachable() -> SlotAllocationError {
    SlotAllocationError::Unreachable {
        reason: "connection reset by peer".into(),
    }
}

impl Cluster for Double {
    type Actions = RecordingActions;
    type Gateway = ScriptedGateway;
    type Executor = ManualScheduledExecutor;

    async fn question<R, Q>(&self, question: Q) -> Result<R, Unanswered>
    where
        R: Send + 'static,
        Q: FnOnce(&mut TestManager) -> R + Send + 'static,
    {
        match self.is_leading {
            true => Ok(self.tell(question)),
            false => Err(Unanswered::NotLeading),
        }
    }

    /// Its slot manager stops idle workers, so a block is enough.
    async fn drain(&self, worker: ResourceId) -> Result<bool, Unanswered> {
        let outcome = self.question(move |manager| manager.block(&worker)).await?;
        Ok(outcome == BlockOutcome::Blocked)
    }

    fn epoch(&self) -> Option<Epoch> {
        self.is_leading.then_some(EPOCH)
    }

    fn leader(&self) -> Option<Leader> {
        Some(Leader {
            epoch: EPOCH,
            addresses: Addresses {
                grpc: "10.0.0.1:6100".to_owned(),
                web: self.leader_web.clone(),
            },
        })
    }

    fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }
}
