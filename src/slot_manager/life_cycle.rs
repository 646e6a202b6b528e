//! The life cycle: leaderships, and access to the parts that the embedder gave to the manager.

use crate::error::{ConfigError, StartError};
use crate::outcome::RenewalOutcome;
use crate::{
    InstanceId, LeaderId, ResourceManagerActions, ScheduledExecutor, SlotManager, SlotManagerConfig,
    TaskExecutorGateway, Timestamp,
};

use crate::slot_manager::outside::driver::Driver;
use crate::slot_manager::state::core::Core;

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

    /// Begins a leadership without an end of its own.
    ///
    /// Reserves the memory of [`SlotManagerConfig::initial_capacity`]. With
    /// [`min_slots`](crate::config::WorkerPolicy::min_slots) it requests workers within the call,
    /// unless a recovery is configured.
    ///
    /// Never use a leader id twice, also not in another process. Task executors tell leaders apart
    /// by it, and the allocation ids of declared slots begin at it.
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
        self.start_until(leader_id, actions, Timestamp::MAX)
    }

    /// Begins a leadership that ends by itself at `until`, unless it is
    /// [renewed](Self::renew_leadership). Otherwise as [`start`](Self::start).
    ///
    /// From `until` on, the manager calls no trait, and inputs answer as before the start. So a
    /// process that was stopped for longer than its lease acts on nothing when it wakes. The state
    /// stays until the leadership is renewed or [suspended](Self::suspend).
    ///
    /// Take the time *before* you ask for the lease, and add less than its length, because clocks
    /// drift.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`]: nothing changed.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let clock = ManualScheduledExecutor::new();
    /// # let mut manager: SlotManager<RecordingActions, ScriptedGateway, _> =
    /// #     SlotManager::new(SlotManagerConfig::default(), clock.clone())?;
    /// use std::time::Duration;
    ///
    /// // Leases last for 10 s. This is done before each request for one.
    /// let until = manager.now() + Duration::from_secs(8);
    /// // The lease was granted.
    /// manager.start_until(LeaderId::from_u128(1), RecordingActions::new(), until)?;
    ///
    /// let until = manager.now() + Duration::from_secs(8);
    /// assert_eq!(manager.renew_leadership(until), RenewalOutcome::Renewed);
    ///
    /// // The process is stopped for longer than its lease.
    /// clock.advance(Duration::from_secs(20));
    /// let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 1);
    /// assert_eq!(manager.worker_failed(worker_request, "out of memory"), WorkerFailedOutcome::Unknown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_until(&mut self, leader_id: LeaderId, actions: A, until: Timestamp) -> Result<(), StartError> {
        if let Some(leader_id) = self.core.leader_id {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        self.core.reserve();
        self.driver.reserve(self.core.config.initial_capacity.task_managers);
        self.core.leader_id = Some(leader_id);
        self.core.leads_until = until;
        self.core.changes += 1;
        self.driver.start(actions);
        tracing::info!(%leader_id, %until, "slot manager started");
        self.core.config.warn_if_workers_are_late();
        self.core.now = self.core.now.max(self.driver.now());
        self.core.worker_policy.start(&self.core.config, self.core.now);
        if self.begin_input().is_ok() {
            let deadline = self.core.worker_policy.earliest();
            self.core.note_new_deadline(deadline);
            self.finish_input();
        }
        Ok(())
    }

    /// Moves the end of the leadership to `until`. [`Timestamp::MAX`] is without an end.
    ///
    /// A leadership that has ended goes on if no other leader can have been elected since.
    /// Otherwise [suspend](Self::suspend) it.
    pub fn renew_leadership(&mut self, until: Timestamp) -> RenewalOutcome {
        if self.core.leader_id.is_none() {
            return RenewalOutcome::NotStarted;
        }
        let was_leading = self.begin_input().is_ok();
        let ended_at = std::mem::replace(&mut self.core.leads_until, until);
        if !self.core.is_leading() {
            return RenewalOutcome::Ended;
        }
        if was_leading {
            return RenewalOutcome::Renewed;
        }
        tracing::warn!(%ended_at, %until, "leadership resumed after its end");
        self.core.apply_unapplied_blocks();
        self.finish_input();
        // Answers may have come meanwhile, which no poll has applied.
        self.driver.pending_answers.signal().wake_task();
        RenewalOutcome::Resumed { ended_at }
    }

    /// Returns `true` from the start to the end of a leadership.
    pub fn is_leading(&self) -> bool {
        self.core.leader_id.is_some() && (self.now() < self.core.leads_until || self.core.leads_until == Timestamp::MAX)
    }

    /// Ends a leadership. Returns the actions; `None` if the manager was not started.
    ///
    /// Everything is dropped silently: no notification leaves, and no message to task executors.
    /// The next leader learns from their reports. Decisions of operators stay: blocked workers, and
    /// the setting for unfulfillable requests.
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

    /// Returns the present time of the manager: that of its [`ScheduledExecutor`], which never goes
    /// back here.
    pub fn now(&self) -> Timestamp {
        self.core.now.max(self.driver.now())
    }

    /// Returns the source of time, for example to convert a [`Timestamp`].
    pub fn scheduled_executor(&self) -> &E {
        &self.driver.executor
    }

    /// Returns the actions while the manager is started.
    pub fn actions(&self) -> Option<&A> {
        self.driver.actions.as_ref()
    }

    /// Returns the actions while the manager is started.
    pub fn actions_mut(&mut self) -> Option<&mut A> {
        self.driver.actions.as_mut()
    }

    /// Returns the gateway of a registered task manager.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let instance_id = InstanceId::from_u128(1);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &SlotReport::default())?;
    /// let gateway = manager.gateway(instance_id).ok_or("not registered")?;
    /// assert!(gateway.take_calls().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gateway(&self, instance_id: InstanceId) -> Option<&G> {
        self.driver.gateway(self.core.task_managers.by_instance(&instance_id)?)
    }

    /// Returns the gateway of a registered task manager, for example to tell the task executor that
    /// it is stopped.
    pub fn gateway_mut(&mut self, instance_id: InstanceId) -> Option<&mut G> {
        self.driver
            .gateway_mut(self.core.task_managers.by_instance(&instance_id)?)
    }

    /// Returns the configuration.
    pub fn config(&self) -> &SlotManagerConfig {
        &self.core.config
    }

    /// Returns the leadership from the start to the suspension, also after it has
    /// [ended](Self::start_until).
    pub fn leader_id(&self) -> Option<LeaderId> {
        self.core.leader_id
    }
}
