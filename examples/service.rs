//! A whole service to copy from: elastic workers, heartbeats, a crash and a graceful end.
//!
//! `cargo run --example service`
//!
//! Two jobs have 20 units of work each. Each unit requests a slot, works in it and gives it back.
//! One worker crashes meanwhile. At the end the example checks that nothing is lost.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slot_manager::{error::*, message::*, outcome::*, task_executor::*, *};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tracing::debug;

const LEADER: LeaderId = LeaderId::from_u128(1);
const UNITS_PER_JOB: u64 = 20;
const SLOTS_PER_WORKER: usize = 4;
const START_TIME: Duration = Duration::from_millis(200);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(500);
/// The number of the worker that crashes.
const CRASHING: u64 = 2;

// 1. The messages. The service has one mailbox. Each worker sends to it from one task, so that its
// messages keep their order.

enum Event {
    SlotRequested(SlotRequest, UnboundedSender<ToJob>),
    WorkerWithdrawn(WorkerRequestId),
    Registered(TaskExecutorConnection<ChannelGateway>, SlotReport, WorkerSender),
    Heartbeat(InstanceId, SlotReport, WorkerSender),
    Answered(AttemptId, SlotResult),
    Freed(SlotFreed),
    ReleaseDecided(ReleaseCheck, ReleaseDecision),
    HeartbeatsDue,
}

/// A message to a worker from a job or the service. The manager uses the gateway.
enum ToWorker {
    Run(AllocationId, Duration, UnboundedSender<ToJob>),
    GiveBack(AllocationId),
    RegisterAgain,
    Withdraw,
    Stop(String),
}

enum ToJob {
    Granted(AllocationId, WorkerSender),
    Done(AllocationId, WorkerSender),
    Lost(AllocationId),
    Failed(String),
}

type WorkerSender = UnboundedSender<ToWorker>;
type Inbox<T> = (UnboundedSender<T>, UnboundedReceiver<T>);

/// Sends a message. If the receiver has ended, missing heartbeats or unused slots show it.
fn tell<'a, T: 'a>(receiver: impl Into<Option<&'a UnboundedSender<T>>>, message: T) {
    if receiver.into().is_none_or(|receiver| receiver.send(message).is_err()) {
        debug!("the receiver of a message has ended");
    }
}

// 2. The service. One task owns the manager. It acts on each outcome, or logs it if nothing is left
// to do.

type Manager = SlotManager<Actions, ChannelGateway, TokioScheduledExecutor>;
/// The time of the last heartbeat of each registration.
type Heartbeats = BTreeMap<InstanceId, Timestamp>;

/// Runs until all jobs and workers have ended, which closes the mailbox.
async fn serve(mut manager: Manager, mut mailbox: mpsc::Receiver<Event>) -> Result<Manager> {
    let mut heartbeats = Heartbeats::new();
    loop {
        tokio::select! {
            // A busy mailbox must not starve time, so time goes first.
            biased;
            events = manager.progress() => debug!("{events} deadlines"),
            event = mailbox.recv() => match event {
                Some(event) => handle(&mut manager, &mut heartbeats, event),
                None => return Ok(manager),
            },
        }
    }
}

/// Lets heartbeats be checked, by an event behind those that wait in the mailbox. So a service that
/// was busy finds no living worker dead.
async fn watch(mailbox: mpsc::WeakSender<Event>) -> Result<()> {
    let mut watch = interval(HEARTBEAT_INTERVAL);
    loop {
        watch.tick().await;
        match mailbox.upgrade() {
            Some(mailbox) => mailbox.send(Event::HeartbeatsDue).await?,
            None => return Ok(()),
        }
    }
}

fn handle(manager: &mut Manager, heartbeats: &mut Heartbeats, event: Event) {
    match event {
        Event::SlotRequested(request, job) => {
            let id = request.allocation_id();
            match manager.register_slot_request(request) {
                Ok(outcome) => log(id, outcome),
                Err(error) => tell(&job, ToJob::Failed(error.to_string())),
            }
        }
        Event::WorkerWithdrawn(worker_request) => {
            let outcome = manager.worker_failed(worker_request, "withdrawn");
            println!("{} is withdrawn: {outcome}", worker_name(worker_request));
        }
        Event::Registered(connection, report, worker) => {
            let (name, instance_id) = (connection.resource_id().clone(), connection.instance_id());
            match manager.register_task_manager(connection, &report) {
                Ok(outcome) => {
                    println!("{name}: {outcome}");
                    if let RegistrationOutcome::Replaced { previous } = outcome {
                        heartbeats.remove(&previous);
                    }
                    heartbeats.insert(instance_id, manager.now());
                }
                Err(error) => tell(&worker, ToWorker::Stop(error.to_string())),
            }
        }
        Event::Heartbeat(instance_id, report, worker) => match manager.report_slot_status(instance_id, &report) {
            Ok(ReportOutcome::Unknown) => tell(&worker, ToWorker::RegisterAgain),
            Ok(_) => _ = heartbeats.insert(instance_id, manager.now()),
            Err(error) => tell(&worker, ToWorker::Stop(error.to_string())),
        },
        Event::Answered(id, result) => log(id, manager.answer_slot_request(id, result)),
        Event::Freed(freed) => log(freed.slot_id(), manager.slot_freed(&freed)),
        Event::ReleaseDecided(check, decision) => match manager.answer_release(&check, decision) {
            ReleaseAnswerOutcome::Released => _ = heartbeats.remove(&check.instance_id),
            outcome => log(check.instance_id, outcome),
        },
        Event::HeartbeatsDue => unregister_silent(manager, heartbeats),
    }
}

/// Logs an outcome. The macro alone evaluates its arguments only if its level is enabled.
fn log(subject: impl Display, outcome: impl Display) {
    debug!("{subject}: {outcome}");
}

fn unregister_silent(manager: &mut Manager, heartbeats: &mut Heartbeats) {
    heartbeats.retain(|instance_id, last| {
        let is_alive = manager.now() <= *last + HEARTBEAT_TIMEOUT;
        if !is_alive {
            let outcome = manager.unregister_task_manager(*instance_id, "no heartbeat");
            println!("no heartbeat of registration {instance_id}: {outcome}");
        }
        is_alive
    });
}

// 3. The actions. Through them the manager starts and stops workers, and notifies jobs. Their
//    sender
// is weak: the manager must not keep its own mailbox open.

struct Actions {
    mailbox: mpsc::WeakSender<Event>,
    jobs: HashMap<JobId, UnboundedSender<ToJob>>,
    workers: HashMap<ResourceId, WorkerSender>,
    tasks: JoinSet<Result<()>>,
}

impl ResourceManagerActions for Actions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let slot = slot_profile()?;
        let Some(mailbox) = self.mailbox.upgrade().filter(|_| slot.is_matching(resource_profile)) else {
            return Ok(WorkerPromise::Declined);
        };
        let (name, inbox) = (worker_name(worker_request), mpsc::unbounded_channel());
        println!("{name} starts");
        self.workers.retain(|_, worker| !worker.is_closed());
        while let Some(ended) = self.tasks.try_join_next() {
            debug!("a worker has ended: {ended:?}");
        }
        self.workers.insert(name, inbox.0.clone());
        // The worker gets the id as text, as a process would in an environment variable.
        self.tasks.spawn(run_worker(worker_request.to_string(), inbox, mailbox));
        Ok(WorkerPromise::Slots(vec![slot; SLOTS_PER_WORKER]))
    }

    /// The gateway tells the worker to stop.
    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        Release::Accepted
    }

    /// If the worker has not registered yet, it ends. Then `worker_failed` ends its promise.
    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        let worker = self.workers.get(&worker_name(withdraw.worker_request));
        tell(worker, ToWorker::Withdraw);
        Withdrawal::TooLate
    }

    fn notify_allocation_failure(&mut self, job_id: JobId, allocation: AllocationId, cause: &AllocationFailureCause) {
        // The task executor says when it frees a slot, so a slot is lost only with its worker.
        let message = match cause {
            AllocationFailureCause::GrantLost {
                loss: GrantLoss::TaskManagerUnregistered { .. },
                ..
            } => ToJob::Lost(allocation),
            cause => ToJob::Failed(cause.to_string()),
        };
        tell(self.jobs.get(&job_id), message);
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation: AllocationId, slot_id: &SlotId) {
        // If the worker is gone, the loss of the slot is notified later.
        if let Some(worker) = self.workers.get(slot_id.resource_id()) {
            tell(self.jobs.get(&job_id), ToJob::Granted(allocation, worker.clone()));
        }
    }
}

// 4. A worker. One task owns its slots, and sends each change at once. So the manager hears that a
// slot was freed before a report shows it.

fn slot_profile() -> Result<ResourceProfile, ResourceProfileError> {
    ResourceProfile::builder().cpu_cores(1.0).build()
}

fn worker_name(worker_request: WorkerRequestId) -> ResourceId {
    ResourceId::new(format!("worker-{}", worker_request.number()))
}

async fn run_worker(env: String, (me, mut inbox): Inbox<ToWorker>, mailbox: mpsc::Sender<Event>) -> Result<()> {
    let worker_request: WorkerRequestId = env.parse()?;
    let name = worker_name(worker_request);
    if timeout(START_TIME, inbox.recv()).await.is_ok() {
        return Ok(mailbox.send(Event::WorkerWithdrawn(worker_request)).await?);
    }
    let mut table = TaskSlotTable::new(name.clone(), vec![slot_profile()?; SLOTS_PER_WORKER]);
    let (mut clock, mut heartbeat) = (TokioScheduledExecutor::new(), interval(HEARTBEAT_INTERVAL));
    let mut work = JoinSet::new();
    for registration in 1.. {
        // Each registration has a new instance id, and the table has it before it makes the report.
        let instance_id = InstanceId::from_u128(u128::from(worker_request.number()) << 64 | registration);
        table.connect(LEADER, instance_id);
        let (gateway, mut messages) = channel_gateway();
        let connection = TaskExecutorConnection::new(name.clone(), instance_id, gateway);
        let connection = connection.with_leader(LEADER).with_worker_request(worker_request);
        let mut outbox = vec![Event::Registered(connection, table.report(), me.clone())];
        loop {
            for event in outbox.drain(..) {
                mailbox.send(event).await?;
            }
            let slot_timeout = clock.delay_until(table.next_timeout().unwrap_or(Timestamp::MAX));
            tokio::select! {
                message = messages.recv(), if table.instance_id().is_some() => match message {
                    Some(TaskExecutorMessage::AllocateSlot(request)) => {
                        let result = table.request_slot(&request, clock.now());
                        outbox.push(Event::Answered(request.attempt_id(), result));
                    }
                    Some(TaskExecutorMessage::FreeSlot(request)) => {
                        outbox.extend(table.free_slot(&request).map(Event::Freed));
                    }
                    Some(TaskExecutorMessage::CheckRelease(check)) => {
                        outbox.push(Event::ReleaseDecided(check, table.can_be_released(&check)));
                    }
                    Some(TaskExecutorMessage::Stop(release)) => {
                        println!("{name} stops: {}", release.cause);
                        return Ok(());
                    }
                    Some(message) => debug!("{name} does nothing for {message:?}"),
                    // The registration has ended. RegisterAgain follows.
                    None => table.disconnect(),
                },
                Some(message) = inbox.recv() => match message {
                    ToWorker::Run(id, time, job) if table.activate(id).is_some() => {
                        work.spawn(async move { sleep(time).await; (id, job) });
                    }
                    ToWorker::Run(id, _, job) => tell(&job, ToJob::Lost(id)),
                    ToWorker::GiveBack(id) => outbox.extend(table.free(id).map(Event::Freed)),
                    ToWorker::RegisterAgain => break,
                    ToWorker::Withdraw => debug!("{name} is withdrawn too late"),
                    ToWorker::Stop(cause) => {
                        println!("{name} stops: {cause}");
                        return Ok(());
                    }
                },
                Some(done) = work.join_next() => {
                    let (id, job) = done?;
                    tell(&job, ToJob::Done(id, me.clone()));
                }
                () = slot_timeout => outbox.extend(table.expire(clock.now()).into_iter().map(Event::Freed)),
                _ = heartbeat.tick() => match worker_request.number() {
                    // The accident of this example: a worker ends without a word.
                    CRASHING if !work.is_empty() => {
                        println!("{name} crashes");
                        return Ok(());
                    }
                    _ => outbox.push(Event::Heartbeat(instance_id, table.report(), me.clone())),
                },
            }
        }
    }
    Ok(())
}

// 5. A job. It requests a slot for each unit. If the slot is lost, it requests one under a new id.

/// Returns the numbers of units that were done and of slots that were lost.
async fn run_job(job: JobId, (me, mut inbox): Inbox<ToJob>, mailbox: mpsc::Sender<Event>) -> Result<(u64, u64)> {
    let (mut units, mut waiting) = (HashMap::new(), Vec::from_iter(0..UNITS_PER_JOB));
    let (mut done, mut requests) = (0, 0);
    while !(units.is_empty() && waiting.is_empty()) {
        for unit in waiting.drain(..) {
            requests += 1;
            let id = AllocationId::from_u128(job.as_u128() << 64 | u128::from(requests));
            units.insert(id, unit);
            let request = SlotRequest::new(job, id, slot_profile()?, job.to_string());
            mailbox.send(Event::SlotRequested(request, me.clone())).await?;
        }
        match inbox.recv().await.context("the service has ended")? {
            ToJob::Granted(id, worker) => {
                let time = units.get(&id).map(|unit| Duration::from_millis(200 + 20 * unit));
                let run = time.map(|time| ToWorker::Run(id, time, me.clone()));
                tell(&worker, run.unwrap_or(ToWorker::GiveBack(id)));
            }
            ToJob::Done(id, worker) => {
                done += u64::from(units.remove(&id).is_some());
                tell(&worker, ToWorker::GiveBack(id));
            }
            ToJob::Lost(id) => waiting.extend(units.remove(&id)),
            ToJob::Failed(cause) => bail!("job {job}: {cause}"),
        }
    }
    Ok((done, requests - UNITS_PER_JOB))
}

// 6. All together. Without jobs the workers become idle. The manager releases them, and all ends.

#[tokio::main]
async fn main() -> Result<()> {
    let config = SlotManagerConfig::default().with_task_manager_timeout(Duration::from_secs(1));
    let mut manager = Manager::new(config, TokioScheduledExecutor::new())?;
    let (mailbox, events) = mpsc::channel(100);
    let (job_1, inbox_1) = (JobId::from_u128(1), mpsc::unbounded_channel());
    let (job_2, inbox_2) = (JobId::from_u128(2), mpsc::unbounded_channel());
    let actions = Actions {
        mailbox: mailbox.downgrade(),
        jobs: HashMap::from([(job_1, inbox_1.0.clone()), (job_2, inbox_2.0.clone())]),
        workers: HashMap::new(),
        tasks: JoinSet::new(),
    };
    manager.start(LEADER, actions)?;
    let watch = watch(mailbox.downgrade());
    let first = run_job(job_1, inbox_1, mailbox.clone());
    let second = async {
        sleep(Duration::from_millis(500)).await;
        run_job(job_2, inbox_2, mailbox).await
    };
    let (mut manager, (), first, second) = tokio::try_join!(serve(manager, events), watch, first, second)?;

    // Nothing is lost: each unit is done, and the manager has neither workers nor requests left.
    manager.check_invariants()?;
    let overview = manager.overview();
    ensure!(overview.is_empty(), "something is left: {overview}");
    let (units, done, lost) = (2 * UNITS_PER_JOB, first.0 + second.0, first.1 + second.1);
    ensure!(done == units, "{done} of {units} units of work are done");
    let mut tasks = manager.suspend().context("the manager is not started")?.tasks;
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let workers = overview.counters.workers_requested;
    println!("{done} of {units} units done, {lost} slots lost and requested again, {workers} workers started and gone");
    Ok(())
}
