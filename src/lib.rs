//! Decides which worker slot serves which request: the single-threaded, deterministic core of a resource manager, to
//! embed.
//!
//! A cluster has *task managers* (workers) with *slots*; *jobs* ask for slots. A [`SlotManager`] keeps the view of all
//! task managers, their slots and all requests that are not served. It matches requests to slots, asks the task
//! executor for the slot (an RPC that may fail, hang, or answer late), asks for more workers when slots are short,
//! gives idle ones back, and fails what cannot be served, always saying so. The behaviour follows Apache Flink's
//! hardened slot manager (FLINK-5810), with its defects mended; the README has the differences.
//!
//! # The parts
//!
//! | part | what it is |
//! |---|---|
//! | [`SlotManager`] | the manager: inputs, driving, queries |
//! | [`ResourceManagerActions`] | you implement it: start a worker, withdraw or stop one, hear of failures and grants |
//! | [`TaskExecutorGateway`] | you implement it: ask a task executor for a slot or to go, tell it to free a slot |
//! | [`ScheduledExecutor`] | time; `TokioScheduledExecutor` comes with the feature `tokio` |
//! | [`SlotManagerConfig`] | timeouts, limits, and everything that can be chosen |
//! | [`Overview`], [`Explanation`] | what there is in numbers, and why a request waits |
//!
//! # The calling contract
//!
//! 1. Create the manager, and [`start`](SlotManager::start) it when your leadership begins.
//! 2. Call an input for everything that happens: [`register_task_manager`](SlotManager::register_task_manager),
//!    [`report_slot_status`](SlotManager::report_slot_status),
//!    [`unregister_task_manager`](SlotManager::unregister_task_manager), [`worker_failed`](SlotManager::worker_failed),
//!    [`register_slot_request`](SlotManager::register_slot_request),
//!    [`unregister_slot_request`](SlotManager::unregister_slot_request),
//!    [`unregister_job`](SlotManager::unregister_job), [`free_slot`](SlotManager::free_slot),
//!    [`block`](SlotManager::block), [`unblock`](SlotManager::unblock),
//!    [`answer_release`](SlotManager::answer_release),
//!    [`set_fail_unfulfillable_requests`](SlotManager::set_fail_unfulfillable_requests). Each returns what it did.
//!    It runs to completion: when it returns, what it caused has been said through the traits, and every request to a
//!    task executor has been polled once. It never blocks and never acts on time.
//! 3. Between inputs, drive it: await [`progress`](SlotManager::progress), which applies answers that came and
//!    deadlines that are due. Dropping it loses nothing. Without a task, call
//!    [`run_until_stalled`](SlotManager::run_until_stalled), at the latest at
//!    [`next_deadline`](SlotManager::next_deadline).
//! 4. The traits are called with the state consistent and cannot call back into the manager. What is to happen because
//!    of such a call, do after it: hand it to your own mailbox, for example. (Hold a weak sender for that, or end the
//!    loop by a message: a mailbox that its own service can send to is never closed.)
//!    Should one of them panic, and you go on, suspend the manager: what was being said is lost.
//! 5. [`suspend`](SlotManager::suspend) it when your leadership ends. Everything is dropped silently; the next leader
//!    learns from reports.
//!
//! Effects of one call leave in a fixed order: notifications (in the order of slots), frees, slot requests (in the
//! order of requests), asks for workers, questions and asks for releases; and again, as long as answers that come at once
//! cause more. Then what there is too much and too little of is looked at, once for each input and each round of progress:
//! requests that nothing could serve fail, workers that nobody needs are withdrawn, task managers that are not needed any
//! more are released, and workers are asked for that could not be before, then those for the fewest slots and for
//! redundancy. An input whose outcome says that nothing changed looks at nothing.
//! Nothing depends on hash order, a clock other than [`ScheduledExecutor::now`], or random numbers: the same inputs in
//! the same order have the same effects.
//!
//! # The loop
//!
//! One task owns the manager and selects between its mailbox and the manager's progress. If the `select!` is biased,
//! progress goes first, or a busy mailbox starves time.
//!
//! ```
//! use slot_manager::testing::{RecordingActions, ScriptedGateway};
//! use slot_manager::{
//!     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
//!     SlotRequest, SlotStatus, TaskExecutorConnection, TokioScheduledExecutor,
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
//!                     if let Err(refused) = manager.register_task_manager(connection, &report) {
//!                         println!("{refused}");
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
//! mailbox.send(Message::SlotRequested(request)).await.map_err(|_| "the service is gone")?;
//! mailbox.send(Message::Registered(connection, report)).await.map_err(|_| "the service is gone")?;
//! drop(mailbox);
//! service.await?;
//! // It asked for a worker first, then it could grant the slot.
//! assert_eq!(actions.take().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What a task executor must do
//!
//! It answers [`AllocateSlot`] in this order: another leader or another registration than its own is refused; a free
//! slot is given to the allocation, unless the attempt is not newer than the last [`FreeSlot`] for the slot; a slot
//! held by the same job and allocation is acknowledged again; else it is [`Occupied`](SlotAllocationError::Occupied).
//! It frees for a [`FreeSlot`] only what the allocation holds under that or an older attempt and nobody uses. Attempts
//! are compared within one leader. A slot that was given and is not used for some time it frees by itself, and says so.
//! The feature `test-util` has one that does all this: `testing::SimulatedTaskExecutor`.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `tokio`: `TokioScheduledExecutor`, time from tokio's clock and timer.
//! - `serde`: ids, profiles, messages, overviews and explanations can be serialised.
//! - `test-util`: the module `testing` with doubles of everything outside the manager, among them a manual clock and a
//!   task executor that keeps the rules. [`SlotManager::check_invariants`] goes well with them.
//!
//! # Logging
//!
//! With [`tracing`], fields structured: life cycle and task managers at info; failed attempts, expiries, lost grants,
//! refused reports and limits reached at warn; single requests at debug.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Nothing that comes from outside ends the process, and no number is cut in silence: each exception says why it is none.
// Tests may, and doubles may say what a test did wrong.
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
mod allocation;
mod config;
mod counters;
mod error;
mod explanation;
mod gateway;
mod id;
mod matching;
mod outcome;
mod overview;
mod resource_profile;
mod scheduled_executor;
mod slot_manager;
mod slot_report;
mod slot_request;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, clippy::unreachable, clippy::unwrap_used)]
pub mod testing;
mod worker_description;

pub use crate::actions::{
    AllocationFailureCause, GrantLoss, Release, ReleaseCause, RequestFailure, ResourceManagerActions, Withdrawal,
    WorkerPromise,
};
pub use crate::allocation::Allocation;
pub use crate::config::{Capacity, ConfigError, Limit, SlotManagerConfig};
pub use crate::counters::{Counters, FailureCounters};
pub use crate::error::{
    Conflict, NotStarted, ResourceManagerError, SlotAllocationError, SlotManagerError, SlotReportError,
    SlotRequestError, StartError,
};
pub use crate::explanation::{Explanation, FittingSlots, RequestExplanation, TooSmallSlots, WaitReason};
pub use crate::gateway::{
    Acknowledge, AllocateSlot, FreeSlot, ReleaseCheck, ReleaseDecision, TaskExecutorConnection, TaskExecutorGateway,
};
pub use crate::id::{AllocationId, InstanceId, JobId, LeaderId, ParseIdError, ResourceId, SlotId, WorkerRequestId};
pub use crate::matching::{Candidate, SlotMatching, SlotMatchingStrategy, SlotOrder};
pub use crate::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, FreeSlotOutcome, RegistrationOutcome, ReleaseAnswerOutcome,
    ReportOutcome, SlotRequestOutcome, Stale, UnblockOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
pub use crate::overview::{Overview, Resources, SlotOverview, TaskManagerOverview};
pub use crate::resource_profile::{ResourceProfile, ResourceProfileBuilder, ResourceProfileError};
#[cfg(feature = "tokio")]
pub use crate::scheduled_executor::TokioScheduledExecutor;
pub use crate::scheduled_executor::{ScheduledExecutor, Timestamp};
pub use crate::slot_manager::{
    InvariantViolation, PendingSlotRequest, PromisedSlot, PromisedSlotCounts, SlotCounts, SlotManager, SlotState,
    TaskManagerRegistration, TaskManagerSlot,
};
pub use crate::slot_report::{SlotReport, SlotStatus};
pub use crate::slot_request::SlotRequest;
pub use crate::worker_description::{WorkerDescription, WorkerDescriptionError};

/// The code of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
