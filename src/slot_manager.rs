//! The manager: its life cycle and its inputs. How each works is in the modules below.

use crate::{
    ConfigError, LeaderId, NotStarted, ResourceManagerActions, ScheduledExecutor, SlotManagerConfig, StartError,
    TaskExecutorGateway,
};

mod collections;
mod driving;
mod inputs;
mod invariants;
mod outside;
mod queries;
mod rules;
mod state;

pub use self::invariants::InvariantViolation;
pub use self::queries::views::{
    PendingSlotRequest, PromisedSlot, PromisedSlotCounts, SlotCounts, SlotState, TaskManagerRegistration,
    TaskManagerSlot,
};

use self::outside::driver::Driver;
use self::state::core::Core;

/// Decides which slot serves which request.
///
/// It owns the view of all task managers, their slots and all unserved requests. Whoever embeds it calls an input for
/// everything that happens, and drives it: [`progress`](Self::progress) in an async task, or
/// [`run_until_stalled`](Self::run_until_stalled) without one. The [crate documentation](crate) has the loop.
///
/// Inputs run to completion: when one returns, what it caused has been reported through the traits, in a fixed order. They
/// never act on time.
///
/// Ids are looked up in O(1). Costs below are on top of that; *matching* costs one comparison for each distinct profile
/// among the free slots or the waiting requests. Once its tables have grown, the manager allocates nothing for requests,
/// their answers, cancellations, freed slots and reports that change nothing. A table that grows moves all it has, see
/// [`Capacity`](crate::Capacity); what a peak took is given back when nothing of it is left.
///
/// With limits, reserves and the like configured, each call that changes something ends with a look at them: O(1) where
/// nothing is to be done, O(slots of one task manager + blocked task managers) while idle task managers are kept, O(log)
/// for each request that is held, and O(distinct profiles of waiting requests x distinct profiles of slots) when the last
/// slot of some profile is gone and requests that nothing could serve are to fail.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::{
///     AllocationId, AllocationStatus, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager,
///     SlotManagerConfig, SlotReport, SlotRequest, SlotRequestOutcome, SlotStatus, TaskExecutorConnection,
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
    /// A manager that is not started.
    ///
    /// # Errors
    /// What [`SlotManagerConfig::validate`] says.
    pub fn new(config: SlotManagerConfig, scheduled_executor: E) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            core: Core::new(config),
            driver: Driver::new(scheduled_executor),
        })
    }

    /// Begins a leadership, and takes the memory that [`SlotManagerConfig::initial_capacity`] asks for. If there are to be
    /// [slots from the beginning](SlotManagerConfig::min_slots), workers are asked for within the call.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if it is started (FLINK-5810 kept the state of the former leader);
    /// [`StartError::OutOfMemory`] if there is not so much memory. Nothing changed.
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

    /// Ends a leadership and gives the actions back; `None` if it was not started.
    ///
    /// Everything is dropped silently: no notification, no word to task executors. The next leader learns from their
    /// reports. O(everything).
    pub fn suspend(&mut self) -> Option<A> {
        let actions = self.driver.suspend()?;
        tracing::info!(leader_id = ?self.core.leader_id, "slot manager suspended");
        self.core.clear();
        Some(actions)
    }

    /// [`suspend`](Self::suspend)s for good.
    pub fn close(mut self) -> Option<A> {
        self.suspend()
    }

    /// The actions, while started.
    pub fn actions_mut(&mut self) -> Option<&mut A> {
        self.driver.actions_mut()
    }

    /// The configuration.
    pub fn config(&self) -> &SlotManagerConfig {
        &self.core.config
    }

    /// The leadership, while started.
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
    fn begin_input(&mut self) -> Result<LeaderId, NotStarted> {
        let leader_id = self.core.leader_id.ok_or(NotStarted)?;
        self.core.begin_input(self.driver.now());
        Ok(leader_id)
    }

    /// Flushes the effects of an input, reconciles, and wakes the driving task if it has more to do.
    fn finish_input(&mut self) {
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
