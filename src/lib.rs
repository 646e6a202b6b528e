//! The single-threaded, deterministic core of a resource manager: it decides which worker slot
//! serves which request.
//!
//! A service links this crate, owns a [`SlotManager`] inside one task and feeds it every event of
//! the cluster. Task managers register with their slots, report and leave. Jobs request slots,
//! cancel and free them. The manager matches requests to slots and asks the task executor for the
//! slot: an RPC that may fail, hang or answer late. It requests more workers when slots are short,
//! releases idle ones, and fails requests that cannot be served. It reports every end of a request.
//!
//! The behaviour follows Apache Flink's hardened slot manager (FLINK-5810) and mends its defects.
//!
//! # The loop
//!
//! The example uses the features `tokio` and `test-util`. One task owns the manager. It selects
//! between the manager's progress and **one mailbox**, in which each task executor's messages keep
//! their order. Progress goes first, or a busy mailbox starves time.
//!
//! ```
//! use slot_manager::error::SlotManagerError;
//! use slot_manager::message::{AttemptId, ReleaseCheck, ReleaseDecision, SlotFreed, SlotResult};
//! use slot_manager::task_executor::{ChannelGateway, TaskExecutorMessage, TaskSlotTable, channel_gateway};
//! use slot_manager::testing::RecordingActions;
//! use slot_manager::{
//!     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotReport,
//!     SlotRequest, TaskExecutorConnection, Timestamp, TokioScheduledExecutor,
//! };
//! use tokio::sync::mpsc;
//!
//! type Manager = SlotManager<RecordingActions, ChannelGateway, TokioScheduledExecutor>;
//!
//! enum Event {
//!     // From jobs.
//!     SlotRequested(SlotRequest),
//!     RequestCancelled(AllocationId),
//!     // From task executors.
//!     Registered(TaskExecutorConnection<ChannelGateway>, SlotReport),
//!     Reported(InstanceId, SlotReport),
//!     Answered(AttemptId, SlotResult),
//!     Freed(SlotFreed),
//!     ReleaseDecided(ReleaseCheck, ReleaseDecision),
//!     Lost(InstanceId),
//! }
//!
//! /// Tells the manager an event. Returns what it did: a service acts on each outcome.
//! fn handle(manager: &mut Manager, event: Event) -> Result<String, SlotManagerError> {
//!     Ok(match event {
//!         Event::SlotRequested(request) => manager.register_slot_request(request)?.to_string(),
//!         Event::RequestCancelled(id) => manager.unregister_slot_request(id).to_string(),
//!         Event::Registered(connection, report) => manager.register_task_manager(connection, &report)?.to_string(),
//!         Event::Reported(instance_id, report) => manager.report_slot_status(instance_id, &report)?.to_string(),
//!         Event::Answered(attempt_id, result) => manager.answer_slot_request(attempt_id, result).to_string(),
//!         Event::Freed(freed) => manager.slot_freed(&freed).to_string(),
//!         Event::ReleaseDecided(check, decision) => manager.answer_release(&check, decision).to_string(),
//!         Event::Lost(instance_id) => manager.unregister_task_manager(instance_id, "no heartbeat").to_string(),
//!     })
//! }
//!
//! async fn serve(mut manager: Manager, mut mailbox: mpsc::Receiver<Event>) -> Manager {
//!     loop {
//!         tokio::select! {
//!             biased;
//!             _ = manager.progress() => {}
//!             event = mailbox.recv() => match event.map(|event| handle(&mut manager, event)) {
//!                 Some(Ok(outcome)) => println!("{outcome}"),
//!                 Some(Err(error)) => println!("refused: {error}"),
//!                 None => return manager,
//!             },
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (leader_id, actions) = (LeaderId::from_u128(1), RecordingActions::new());
//! let mut manager = Manager::new(SlotManagerConfig::default(), TokioScheduledExecutor::new())?;
//! manager.start(leader_id, actions.clone())?;
//! let (sender, mailbox) = mpsc::channel(100);
//! let service = tokio::spawn(serve(manager, mailbox));
//!
//! // A job requests a slot, and a worker registers.
//! let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
//! let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile.clone(), "job-master-7");
//! sender.send(Event::SlotRequested(request)).await?;
//! let (gateway, mut messages) = channel_gateway();
//! let mut slots = TaskSlotTable::new("worker-1", [profile]);
//! let instance_id = InstanceId::from_u128(1);
//! slots.connect(leader_id, instance_id);
//! let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
//! sender.send(Event::Registered(connection, slots.report())).await?;
//!
//! // Its task executor is registered, and gives the slot to the job's allocation.
//! assert_eq!(messages.recv().await, Some(TaskExecutorMessage::Registered));
//! let Some(TaskExecutorMessage::AllocateSlot(request)) = messages.recv().await else {
//!     return Err("no slot was requested".into());
//! };
//! let result = slots.request_slot(&request, Timestamp::ZERO);
//! sender.send(Event::Answered(request.attempt_id(), result)).await?;
//! drop(sender);
//!
//! let manager = service.await?;
//! assert_eq!(manager.overview().slots.allocated.slots, 1);
//! // The actions were asked for a worker, and then told the grant.
//! assert_eq!(actions.take().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/service.rs` in the repository is a whole service with heartbeats and elastic workers.
//!
//! # The calling contract
//!
//! **Every call runs to completion: when it returns, its effects have left through the traits.**
//!
//! 1. Create the manager. Call [`start`](SlotManager::start) when your leadership begins, or
//!    [`start_until`](SlotManager::start_until) if it is a lease.
//! 2. Call an input for every event. Each returns an [`outcome`], which says what it did and what
//!    is left to do.
//!    - From jobs: [`register_slot_request`](SlotManager::register_slot_request),
//!      [`unregister_slot_request`](SlotManager::unregister_slot_request),
//!      [`declare_requirements`](SlotManager::declare_requirements),
//!      [`unregister_job`](SlotManager::unregister_job).
//!    - From task executors: [`register_task_manager`](SlotManager::register_task_manager),
//!      [`report_slot_status`](SlotManager::report_slot_status),
//!      [`answer_slot_request`](SlotManager::answer_slot_request),
//!      [`slot_freed`](SlotManager::slot_freed),
//!      [`answer_release`](SlotManager::answer_release).
//!    - From the watch over workers:
//!      [`unregister_task_manager`](SlotManager::unregister_task_manager),
//!      [`worker_failed`](SlotManager::worker_failed),
//!      [`expect_workers`](SlotManager::expect_workers),
//!      [`end_recovery`](SlotManager::end_recovery).
//!    - From operators: [`block`](SlotManager::block), [`unblock`](SlotManager::unblock),
//!      [`set_fail_unfulfillable_requests`](SlotManager::set_fail_unfulfillable_requests).
//!
//!    An input never blocks and never acts on time.
//! 3. Drive the manager between inputs: await [`progress`](SlotManager::progress). It applies
//!    deadlines that are due, and answers of futures. Dropping it loses nothing. Without a task,
//!    call [`run_until_stalled`](SlotManager::run_until_stalled), at the latest at
//!    [`next_deadline`](SlotManager::next_deadline).
//! 4. A trait is called with the state consistent and cannot call back into the manager. Send a
//!    message to your own mailbox instead. Hold a weak sender for that: a mailbox that its own
//!    service can send to never closes. If a trait method panics and you catch it, call `suspend`:
//!    undelivered effects are lost.
//! 5. Call [`suspend`](SlotManager::suspend) when your leadership ends. It drops everything
//!    silently. The next leader learns from reports.
//!
//! Where a caller hears of the result of a request is one table in the documentation of
//! [`register_slot_request`](SlotManager::register_slot_request).
//!
//! The same inputs in the same order have the same effects in the same order. No decision depends
//! on hash order, a random number, or a clock other than [`ScheduledExecutor::now`].
//!
//! # The life of a grant, as the job sees it
//!
//! 1. The job requests a slot under an allocation id of its own.
//! 2. [`notify_slot_allocated`](ResourceManagerActions::notify_slot_allocated) tells the grant,
//!    once for each granted request. That is so if it is granted within the call that registers it,
//!    and if a report shows that a task executor holds a slot for it.
//! 3. The job uses the slot: it sends its work to the task executor. The task executor
//!    [activates](task_executor::TaskSlotTable::activate) the slot, or refuses the work because the
//!    allocation holds no slot any more.
//! 4. The grant ends:
//!
//! | the grant ends because | the job hears of it from |
//! |---|---|
//! | the job gave the slot back | itself |
//! | the job did not use the slot in time, and the task executor freed it | the task executor, which refuses its work |
//! | the worker is lost, or a report shows the slot as lost | [`notify_allocation_failure`](ResourceManagerActions::notify_allocation_failure) |
//! | the leadership changed and the worker never registers again | nobody: the job asks, see below |
//!
//! A job that still needs a slot requests one under a new allocation id. Late messages may name the
//! old id. A job that does not send work, but is offered the slot by the task executor, limits the
//! time that it waits for an offer: if the slot was freed before, nobody tells it.
//!
//! # Declared requirements
//!
//! Instead of single requests, a job can declare the slots that it needs in all, with
//! [`declare_requirements`](SlotManager::declare_requirements). The manager then requests what the
//! job lacks, under allocation ids of its own, and replaces what the job loses.
//!
//! - The job hears of each slot by
//!   [`notify_slot_allocated`](ResourceManagerActions::notify_slot_allocated), and of a shortage by
//!   [`notify_not_enough_resources`](ResourceManagerActions::notify_not_enough_resources).
//! - To need less, it frees slots and declares less, in any order: within
//!   [`requirement_check_delay`](SlotManagerConfig::requirement_check_delay) no freed slot comes back
//!   to it.
//! - When it ends, call [`unregister_job`](SlotManager::unregister_job).
//! - After a change of leadership it declares to the new leader. The slots that reports bring along
//!   are charged to its requirements, so it gets no slot twice. During the
//!   [recovery](SlotManager::recovery) no worker is requested for slots that are still to be
//!   reported.
//!
//! # A change of leadership
//!
//! 1. The old leader calls [`suspend`](SlotManager::suspend). Grants stay with their task
//!    executors.
//! 2. While no leader is there, inputs do nothing: each answers `NotStarted` or `Unknown`. The
//!    senders repeat them to the new leader.
//! 3. The new leader calls [`start`](SlotManager::start) with a leader id that was never used
//!    before, and [`expect_workers`](SlotManager::expect_workers) with the workers that run or
//!    start. [`recovery`](SlotManager::recovery) shows whether it waits for them. Workers that were
//!    [blocked](SlotManager::block) stay so in the same manager. Another process must be told of
//!    them.
//! 4. Each worker ends its old connection, connects its slot table to the new leader, and registers
//!    with a new instance id and a new report. The report brings its grants along.
//! 5. Jobs repeat their declarations, or their open requests with the same allocation ids. When the
//!    recovery is over, they check their grants with
//!    [`allocation_status`](SlotManager::allocation_status). A grant that is not known is lost with
//!    its worker.
//!
//! Let every message name the leadership that it is meant for, and drop those of another before
//! they reach the manager. The manager itself checks attempts, worker requests, and registrations
//! that name [their leader](TaskExecutorConnection::with_leader).
//!
//! # Heartbeats and shutdown
//!
//! A report is a heartbeat. Check the times of heartbeats by an event in the mailbox: behind the
//! reports that wait there, a busy service finds no living worker dead. A worker that is
//! unregistered may live. If it reports again, its outcome is
//! [`Unknown`](outcome::ReportOutcome::Unknown), and it registers again.
//!
//! A worker that was released is told to [stop](TaskExecutorGateway::stop). It may report once more
//! before it does. Do not let it register again: note the instance id in
//! [`release_resource`](ResourceManagerActions::release_resource), or end its connection when its
//! gateway is dropped.
//!
//! To shut down, first end the jobs. Let the workers become idle and be released, or unregister and
//! stop them. Minimum and redundancy would request new ones: refuse those as
//! [`Declined`](message::WorkerPromise::Declined). Then call [`suspend`](SlotManager::suspend).
//!
//! # The order of effects
//!
//! Effects of one call leave by kind, each kind in its own order:
//!
//! 1. notifications, by slot
//! 2. shortages of declared slots
//! 3. frees, and frees of inactive slots
//! 4. slot requests, oldest request first
//! 5. withdrawals of workers whose promises have ended
//! 6. worker requests, oldest request first
//! 7. release checks and releases
//!
//! Answers at hand may cause another such round. Once no effect is left, the manager reconciles:
//!
//! 1. It fails unfulfillable requests.
//! 2. It withdraws promised workers that nothing needs.
//! 3. It releases idle task managers that were kept and are not needed any more.
//! 4. It makes deferred worker requests.
//! 5. It requests workers for the minimum and for redundancy.
//!
//! An input that changes nothing does not reconcile.
//!
//! # What a task executor must do
//!
//! [`TaskSlotTable`](task_executor::TaskSlotTable) keeps all these rules.
//!
//! It answers [`AllocateSlot`](message::AllocateSlot) by the first rule that applies:
//!
//! 1. It refuses a request of another leader, for another registration than its own, or for a slot
//!    that it does not have.
//! 2. Another allocation holds the slot: [`Occupied`](error::SlotAllocationError::Occupied).
//! 3. The same job and allocation hold the slot: it acknowledges again.
//! 4. The slot is free: it gives the slot to the allocation. It refuses if the attempt is not newer
//!    than the last [`FreeSlot`](message::FreeSlot) for the slot, or if the allocation holds
//!    another of its slots.
//!
//! A [dynamic](SlotReport::of_dynamic) worker has no slots of its own. For it, each
//! [dynamic](SlotId::dynamic) number that no allocation holds is a free slot. By rule 4 it cuts the
//! requested resources from those that remain of its total. If too little remains, it answers
//! [`Insufficient`](error::SlotAllocationError::Insufficient). A slot that it frees is gone.
//!
//! On a [`FreeSlot`](message::FreeSlot) it frees the slot only if the allocation holds it under
//! that or an older attempt, and nothing uses it. Attempts compare within one leadership. It frees
//! a slot that stays unused for some time by itself. On
//! [`FreeInactiveSlots`](message::FreeInactiveSlots) it does the same for all slots of a job.
//!
//! **When it frees a slot, it says so** with [`SlotFreed`](message::SlotFreed), before any report
//! that shows the slot as free. A slot that is only *reported* as free counts as a lost grant, and
//! the job is told.
//!
//! **All that it sends carries a revision**, a number that grows with each change of its slots:
//! reports, acknowledgements and freed slots. A freed slot also names the attempt under which the
//! allocation held it.
//!
//! **It sends in order**: answers, freed slots and reports travel in the order in which they were
//! made. Where that cannot be promised, the revisions keep an overtaken report from taking grants
//! away. It cannot be promised for [answers by futures](message::SlotAnswer::Future), which may
//! overtake a report that waits in the mailbox.
//!
//! **To register again, it first ends its old connection.** Then nothing that it sends later names
//! the old registration.
//!
//! # The parts
//!
//! | part | role |
//! |---|---|
//! | [`SlotManager`] | the manager: inputs, driving, queries |
//! | [`ResourceManagerActions`] | you implement it: starts, withdraws and stops workers, hears of grants and failures |
//! | [`TaskExecutorGateway`] | you implement it, or use `channel_gateway`: tells one task executor that it is registered, asks it for a slot, a free or a release, and stops it |
//! | [`ScheduledExecutor`] | time; `TokioScheduledExecutor` comes with the feature `tokio` |
//! | [`SlotManagerConfig`], [`config`] | timeouts, limits, matching and reserves |
//! | [`message`] | what travels between the parties |
//! | [`outcome`], [`error`] | the results of inputs |
//! | [`view`], [`overview`] | the cluster in records and in numbers, and why a request waits |
//! | [`matching`] | the choice of a free slot for a request |
//! | [`task_executor`] | the task executor's half of the protocol |
//!
//! # Words
//!
//! Each word means one thing, in code, docs and logs.
//!
//! | word | meaning |
//! |---|---|
//! | worker | a process that offers slots, also before it registers and after it is gone |
//! | task executor | the program in that process, reached through a gateway |
//! | task manager | a worker as the manager knows it: one registration |
//! | resource id, instance id | the name of the worker process, the name of one registration of it |
//! | slot | room for one allocation: free, in flight, allocated, backing off or blocked |
//! | request | a job's wish for one slot, named by its allocation id |
//! | requirements | the slots that a job declares to need in all |
//! | unit | a request that the manager makes for declared requirements |
//! | charged, excess | a held slot that counts for a declared profile, or for none |
//! | grant | an allocation that holds a slot |
//! | attempt | one try to get one slot for one request |
//! | in flight | asked for and not answered |
//! | worker request | one call of [`allocate_resource`](ResourceManagerActions::allocate_resource) |
//! | promised slots | the slots that a requested worker will bring |
//! | bound | a waiting request with a promised slot, or that promised slot |
//! | back off | to wait after failures, longer from try to try; requests, slots and workers do |
//! | probe | the one attempt that a worker gets during or after its backoff |
//! | tried on a worker | a request whose attempts failed on this registration of the worker |
//! | suspect | a job of which attempts for two requests failed in a row, until its next grant |
//! | deferred | a worker request that a limit, the recovery or the start backoff does not allow yet |
//! | reconcile | the end of a call: fail, withdraw, release and request what the state asks for |
//!
//! # Features
//!
//! No feature is on by default.
//!
//! - `tokio`: `TokioScheduledExecutor`, time from tokio's clock and timer, and
//!   `task_executor::channel_gateway`, a gateway over a channel.
//! - `serde`: serialization of ids, profiles, messages, causes, outcomes, errors, the
//!   configuration, overviews and snapshots.
//! - `test-util`: the module `testing` with a manual clock and doubles of all collaborators.
//!   [`SlotManager::check_invariants`] goes well with them.
//!
//! # Logging
//!
//! The manager logs through [`tracing`] with structured fields. Level info: the life cycle, task
//! managers, promised workers, and workers and jobs that recover. Level warn: failed attempts,
//! workers that back off, suspect jobs, expiries, lost grants, refused reports, limits, start
//! backoffs, shortages and missing revisions. Level debug: single requests.

#![cfg_attr(docsrs, feature(doc_cfg))]
// No input ends the process, and no number is truncated silently: each exception has its proof
// beside it. Tests and doubles may panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_lossless,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::expect_used,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod actions;
pub mod config;
pub mod error;
mod gateway;
mod id;
pub mod matching;
pub mod message;
pub mod outcome;
pub mod overview;
mod resource_profile;
mod resource_requirements;
mod scheduled_executor;
mod slot_manager;
mod slot_report;
mod slot_request;
pub mod task_executor;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, clippy::unreachable, clippy::unwrap_used)]
pub mod testing;
pub mod view;

pub use uuid;

pub use crate::actions::ResourceManagerActions;
pub use crate::config::SlotManagerConfig;
pub use crate::gateway::{TaskExecutorConnection, TaskExecutorGateway};
pub use crate::id::{AllocationId, InstanceId, JobId, LeaderId, ResourceId, SlotId, WorkerRequestId};
pub use crate::resource_profile::{ResourceAmounts, ResourceProfile, ResourceProfileBuilder, ResourceProfileKind};
pub use crate::resource_requirements::ResourceRequirements;
#[cfg(feature = "tokio")]
pub use crate::scheduled_executor::TokioScheduledExecutor;
pub use crate::scheduled_executor::{ScheduledExecutor, Timestamp};
pub use crate::slot_manager::SlotManager;
pub use crate::slot_report::{DynamicResources, SlotReport, SlotStatus};
pub use crate::slot_request::SlotRequest;

#[cfg(doctest)]
mod ignored_outcomes;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
