//! The manager: the struct, its life cycle, and the flow of an input.
//!
//! | module | role |
//! |---|---|
//! | [`inputs`] | the events that callers tell the manager |
//! | [`driving`] | progress: answers and time |
//! | [`queries`] | views, pages, overview and explanations |
//! | [`state`] | the data |
//! | [`rules`] | the transitions of the data |
//! | [`outside`] | the calls of the embedder's traits |
//! | [`collections`] | data structures that know no slot |
//! | [`invariants`] | the conditions between two calls |

use crate::error::{ConfigError, NotStarted, StartError};
use crate::{LeaderId, ResourceManagerActions, ScheduledExecutor, SlotManagerConfig, TaskExecutorGateway};

mod collections;
mod driving;
mod inputs;
pub(crate) mod invariants;
mod outside;
pub(crate) mod queries;
mod rules;
mod state;

use self::outside::driver::Driver;
use self::state::core::Core;

/// Decides which slot serves which request.
///
/// It owns the view of all task managers, their slots and all ungranted requests. Call an input for
/// every event, and drive it with [`progress`](Self::progress) in an async task or
/// [`run_until_stalled`](Self::run_until_stalled) without one. The [crate documentation](crate) has
/// the loop.
///
/// Inputs run to completion: when one returns, its effects have left through the traits, in a fixed
/// order. Inputs never act on time.
///
/// # Cost
///
/// Looking up an id is O(1) and not repeated below. *Matching* costs one comparison for each
/// distinct profile among the free slots or the waiting requests. In a steady state the manager
/// allocates no memory for requests, answers, cancellations, freed slots and unchanged reports.
/// Growing a table rehashes it, see [`Capacity`](crate::config::Capacity). The memory of a peak is freed
/// once the table is empty.
///
/// With limits or reserves, each call that changes something also reconciles:
///
/// - O(1) if there is nothing to do.
/// - O(slots of one task manager + blocked task managers) while idle task managers are kept.
/// - O(log n) for each deferred worker request.
/// - O(distinct profiles of waiting requests x distinct profiles of slots) when the last slot of a
///   profile goes and unfulfillable requests fail.
///
/// # Example
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
///     SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
/// };
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slot_id = SlotId::new("worker-1", 0);
/// manager.register_task_manager(
///     TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new()),
///     &SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]),
/// )?;
///
/// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
/// let outcome = manager.register_slot_request(request)?;
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SlotManager<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    core: Core,
    driver: Driver<A, G, E>,
}

/// Life cycle.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Creates a manager that is not started.
    ///
    /// # Errors
    /// The error of [`SlotManagerConfig::validate`].
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// let clock = ManualScheduledExecutor::new();
    /// let manager: SlotManager<RecordingActions, ScriptedGateway, _> =
    ///     SlotManager::new(SlotManagerConfig::default(), clock)?;
    /// assert_eq!(manager.leader_id(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(config: SlotManagerConfig, scheduled_executor: E) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            core: Core::new(config),
            driver: Driver::new(scheduled_executor),
        })
    }

    /// Begins a leadership.
    ///
    /// Reserves the memory of [`SlotManagerConfig::initial_capacity`]. With
    /// [`min_slots`](crate::config::WorkerPolicy::min_slots) it requests workers within the call,
    /// unless a recovery is configured.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`]: nothing changed. (FLINK-5810 kept the state of the former
    /// leader.)
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let clock = ManualScheduledExecutor::new();
    /// # let mut manager: SlotManager<RecordingActions, ScriptedGateway, _> =
    /// #     SlotManager::new(SlotManagerConfig::default(), clock)?;
    /// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// assert_eq!(manager.leader_id(), Some(LeaderId::from_u128(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(&mut self, leader_id: LeaderId, actions: A) -> Result<(), StartError> {
        if let Some(leader_id) = self.core.leader_id {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        self.core.reserve();
        self.driver.reserve(self.core.config.initial_capacity.task_managers);
        self.core.leader_id = Some(leader_id);
        self.driver.start(actions);
        tracing::info!(%leader_id, "slot manager started");
        self.core.begin_input(self.driver.now());
        self.core.worker_policy.start(&self.core.config, self.core.now);
        self.finish_input();
        Ok(())
    }

    /// Ends a leadership. Returns the actions; `None` if the manager was not started.
    ///
    /// Everything is dropped silently: no notification leaves, and no message to task executors.
    /// The next leader learns from their reports.
    ///
    /// Cost: O(everything).
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// assert!(manager.suspend().is_some());
    /// assert_eq!(manager.task_managers().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn suspend(&mut self) -> Option<A> {
        let actions = self.driver.suspend()?;
        tracing::info!(leader_id = ?self.core.leader_id, "slot manager suspended");
        self.core.clear();
        Some(actions)
    }

    /// Suspends the manager for good. Returns the actions like [`suspend`](Self::suspend).
    pub fn close(mut self) -> Option<A> {
        self.suspend()
    }

    /// Returns the actions while the manager is started.
    pub fn actions_mut(&mut self) -> Option<&mut A> {
        self.driver.actions_mut()
    }

    /// Returns the configuration.
    pub fn config(&self) -> &SlotManagerConfig {
        &self.core.config
    }

    /// Returns the leadership while the manager is started.
    pub fn leader_id(&self) -> Option<LeaderId> {
        self.core.leader_id
    }
}

impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Begins an input: takes the time, and refuses to run while the manager is not started.
    fn begin_input(&mut self) -> Result<LeaderId, NotStarted> {
        let leader_id = self.core.leader_id.ok_or(NotStarted)?;
        self.core.begin_input(self.driver.now());
        Ok(leader_id)
    }

    /// Notes a change, flushes the effects of an input, reconciles, and wakes the driving task if it
    /// has more to do.
    fn finish_input(&mut self) {
        self.core.changes += 1;
        self.finish_unchanged_input();
    }

    /// Finishes an input that has noted its changes itself, or changed nothing.
    fn finish_unchanged_input(&mut self) {
        self.driver.flush_and_reconcile(&mut self.core);
        self.driver.wake_after_input(&self.core);
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> std::fmt::Debug for SlotManager<A, G, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotManager")
            .field("leader_id", &self.core.leader_id)
            .field("task_managers", &self.core.task_managers.records.len())
            .field("slots", &self.core.slot_counts())
            .field("pending_slot_requests", &self.core.requests.records.len())
            .field("promised_slots", &self.core.promises.len())
            .finish_non_exhaustive()
    }
}
