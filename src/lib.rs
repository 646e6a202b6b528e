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
//! | grant | an allocation that holds a slot |
//! | attempt | one try to get one slot for one request |
//! | in flight | asked for and not answered |
//! | worker request | one call of [`allocate_resource`](ResourceManagerActions::allocate_resource) |
//! | promised slots | the slots that a requested worker will bring |
//! | bound | a waiting request with a promised slot, or that promised slot |
//! | back off | to wait after failures, longer from try to try |
//! | deferred | a worker request that a limit or the recovery does not allow yet |
//! | reconcile | the end of a call: fail, withdraw, release and request what the state asks for |
//!
//! # The parts
//!
//! | part | role |
//! |---|---|
//! | [`SlotManager`] | the manager: inputs, driving, queries |
//! | [`ResourceManagerActions`] | you implement it: starts, withdraws and stops workers, hears of grants and failures |
//! | [`TaskExecutorGateway`] | you implement it: asks one task executor for a slot, a free or a release |
//! | [`ScheduledExecutor`] | time; `TokioScheduledExecutor` comes with the feature `tokio` |
//! | [`SlotManagerConfig`] | timeouts, limits, matching and reserves |
//! | [`Overview`], [`Explanation`] | the cluster in numbers, and why a request waits |
//!
//! # The calling contract
//!
//! **Every call runs to completion: when it returns, its effects have left through the traits.**
//!
//! 1. Create the manager. Call [`start`](SlotManager::start) when your leadership begins.
//! 2. Call an input for every event. Each returns an outcome that says what it did.
//!    - From jobs: [`register_slot_request`](SlotManager::register_slot_request),
//!      [`unregister_slot_request`](SlotManager::unregister_slot_request),
//!      [`unregister_job`](SlotManager::unregister_job), [`free_slot`](SlotManager::free_slot).
//!    - From workers: [`register_task_manager`](SlotManager::register_task_manager),
//!      [`report_slot_status`](SlotManager::report_slot_status),
//!      [`unregister_task_manager`](SlotManager::unregister_task_manager),
//!      [`worker_failed`](SlotManager::worker_failed),
//!      [`answer_release`](SlotManager::answer_release).
//!    - From operators: [`block`](SlotManager::block), [`unblock`](SlotManager::unblock),
//!      [`set_fail_unfulfillable_requests`](SlotManager::set_fail_unfulfillable_requests).
//!
//!    An input never blocks and never acts on time. The future of each RPC has been polled once
//!    when it returns.
//! 3. Drive the manager between inputs: await [`progress`](SlotManager::progress). It applies
//!    answers that have arrived and deadlines that are due. Dropping it loses nothing. Without a
//!    task, call [`run_until_stalled`](SlotManager::run_until_stalled), at the latest at
//!    [`next_deadline`](SlotManager::next_deadline).
//! 4. A trait is called with the state consistent and cannot call back into the manager. Send a
//!    message to your own mailbox instead. Hold a weak sender for that: a mailbox that its own
//!    service can send to never closes. If a trait method panics and you catch it, call `suspend`:
//!    undelivered effects are lost.
//! 5. Call [`suspend`](SlotManager::suspend) when your leadership ends. It drops everything
//!    silently. The next leader learns from reports.
//!
//! The same inputs in the same order have the same effects in the same order. No decision depends
//! on hash order, a random number, or a clock other than [`ScheduledExecutor::now`].
//!
//! # The order of effects
//!
//! Effects of one call leave by kind, each kind in its own order:
//!
//! 1. notifications, by slot
//! 2. frees
//! 3. slot requests, oldest request first
//! 4. worker requests, oldest request first
//! 5. release checks and releases
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
//! # The loop
//!
//! One task owns the manager and selects between its mailbox and the manager's progress. In a
//! biased `select!` progress goes first, or a busy mailbox starves time.
//!
//! ```
//! use slot_manager::testing::{RecordingActions, ScriptedGateway};
//! use slot_manager::outcome::RegistrationOutcome;
//! use slot_manager::{
//!     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
//!     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TokioScheduledExecutor,
//! };
//! use tokio::sync::mpsc;
//!
//! enum Message {
//!     Registered(TaskExecutorConnection<ScriptedGateway>, SlotReport),
//!     SlotRequested(SlotRequest),
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mailbox, mut messages) = mpsc::channel(100);
//! let actions = RecordingActions::new();
//! let mut manager = SlotManager::new(SlotManagerConfig::default(), TokioScheduledExecutor::new())?;
//! manager.start(LeaderId::from_u128(1), actions.clone())?;
//! let service = tokio::spawn(async move {
//!     loop {
//!         tokio::select! {
//!             biased;
//!             _ = manager.progress() => {}
//!             message = messages.recv() => match message {
//!                 Some(Message::Registered(connection, report)) => {
//!                     match manager.register_task_manager(connection, &report) {
//!                         // Stop the worker: it exceeds a limit.
//!                         Ok(RegistrationOutcome::Refused { limit }) => println!("refused: {limit}"),
//!                         Ok(outcome) => println!("{outcome:?}"),
//!                         Err(invalid) => println!("{invalid}"),
//!                     }
//!                 }
//!                 Some(Message::SlotRequested(request)) => match manager.register_slot_request(request) {
//!                     Ok(outcome) => println!("{outcome:?}"),
//!                     Err(refused) => println!("{refused}"),
//!                 },
//!                 None => break manager.close(),
//!             },
//!         }
//!     }
//! });
//!
//! let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
//! let report = SlotReport::new(vec![SlotStatus::free(SlotId::new("worker-1", 0), profile.clone())]);
//! let connection = TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new());
//! let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
//! mailbox.send(Message::SlotRequested(request)).await.map_err(|_| "the service has ended")?;
//! mailbox.send(Message::Registered(connection, report)).await.map_err(|_| "the service has ended")?;
//! drop(mailbox);
//! service.await?;
//! // The manager requested a worker first, then it granted the slot.
//! assert_eq!(actions.take().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What a task executor must do
//!
//! It answers [`AllocateSlot`] by the first rule that applies:
//!
//! 1. It refuses a request of another leader, or for another registration than its own.
//! 2. A free slot: it gives the slot to the allocation, unless the attempt is not newer than the
//!    last [`FreeSlot`] for the slot. Then it refuses.
//! 3. A slot that the same job and allocation hold: it acknowledges again.
//! 4. Any other slot is [`Occupied`](SlotAllocationError::Occupied).
//!
//! On a [`FreeSlot`] it frees the slot only if the allocation holds it under that or an older
//! attempt, and nothing uses it. Attempts compare within one leadership. It frees a slot that stays
//! unused for some time by itself, and says so. `testing::SimulatedTaskExecutor` (feature
//! `test-util`) keeps all these rules.
//!
//! # Features
//!
//! No feature is on by default.
//!
//! - `tokio`: `TokioScheduledExecutor`, time from tokio's clock and timer.
//! - `serde`: serialization of ids, profiles, messages, causes, outcomes, errors, overviews and
//!   explanations. Formats for people, such as JSON, show ids as logs do, never as null, and
//!   profiles in cores and bytes. Errors of the configuration are written and not read.
//! - `test-util`: the module `testing` with a manual clock and doubles of all collaborators.
//!   [`SlotManager::check_invariants`] goes well with them.
//!
//! # Logging
//!
//! The manager logs through [`tracing`] with structured fields. Level info: the life cycle, task
//! managers and promised workers. Level warn: failed attempts, expiries, lost grants, refused
//! reports and limits. Level debug: single requests.

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
mod scheduled_executor;
mod slot_manager;
mod slot_report;
mod slot_request;
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
#[cfg(feature = "tokio")]
pub use crate::scheduled_executor::TokioScheduledExecutor;
pub use crate::scheduled_executor::{ScheduledExecutor, Timestamp};
pub use crate::slot_manager::SlotManager;
pub use crate::slot_report::{SlotReport, SlotStatus};
pub use crate::slot_request::SlotRequest;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
