//! The overview: all records in numbers.

use crate::config::Quantity;
use crate::overview::{Counters, Overview, SlotOverview, TaskManagerOverview};
use crate::{ScheduledExecutor, SlotManager, TaskExecutorGateway};

use crate::slot_manager::queries::views::TaskManagerRegistration;
use crate::slot_manager::state::slot_totals::{SlotTotals, SlotUsage};

/// Overviews.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Returns an overview of task managers, slots, promised slots and requests in numbers.
    ///
    /// The `Display` text of the overview is meant for operators.
    ///
    /// Cost: O(1), because the manager updates all totals with each change.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::outcome::RegistrationOutcome;
    /// # use slot_manager::{
    /// #     InstanceId, LeaderId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig, SlotReport,
    /// #     SlotStatus, TaskExecutorConnection,
    /// # };
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), time.clone())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, gateway) = (InstanceId::from_u128(1), ScriptedGateway::new());
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
    /// # let statuses = vec![SlotStatus::free(SlotId::new("worker-1", 0), profile.clone())];
    /// # let registered = manager.register_task_manager(connection, &SlotReport::new(statuses))?;
    /// # assert_eq!(registered, RegistrationOutcome::Registered);
    /// let overview = manager.overview();
    /// assert_eq!((overview.task_managers, overview.pending_requests), (1, 0));
    /// assert_eq!((overview.slots.free.slots, overview.slots.free.cpu_cores), (1, 1.0));
    /// println!("{overview}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overview(&self) -> Overview {
        let core = &self.core;
        Overview {
            task_managers: core.task_managers.records.len(),
            blocked_task_managers: core.blocking.task_managers.len(),
            slots: core.slot_totals.overview(),
            promised: core.slot_totals.promised().into(),
            unbound_promised_slots: core.promises.num_unbound(),
            pending_requests: core.requests.records.len(),
            counters: core.counters,
        }
    }

    /// Returns the counters of all events since the manager was created.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }
}

impl TaskManagerRegistration<'_> {
    /// Returns an overview of the task manager and its slots in numbers.
    ///
    /// Cost: O(slots of the task manager).
    pub fn overview(&self) -> TaskManagerOverview {
        let mut by_usage = [Quantity::default(); SlotUsage::ALL.len()];
        for (usage, profile) in self.uses() {
            by_usage[usage as usize] += Quantity::of_slot(profile);
        }
        TaskManagerOverview {
            resource_id: self.resource_id().clone(),
            instance_id: self.instance_id(),
            is_blocked: self.is_blocked(),
            idle_since: self.idle_since(),
            slots: overview_of(|usage| by_usage[usage as usize]),
        }
    }
}

/// Returns the overview of slots with the given totals for each usage.
fn overview_of(of: impl Fn(SlotUsage) -> Quantity) -> SlotOverview {
    let registered = SlotUsage::ALL
        .into_iter()
        .fold(Quantity::default(), |sum, usage| sum + of(usage));
    SlotOverview {
        registered: registered.into(),
        free: (of(SlotUsage::Free) + of(SlotUsage::BackingOff)).into(),
        blocked: of(SlotUsage::Blocked).into(),
        in_flight: of(SlotUsage::InFlight).into(),
        allocated: of(SlotUsage::Allocated).into(),
    }
}

impl SlotTotals {
    fn overview(&self) -> SlotOverview {
        overview_of(|usage| self.of(usage))
    }
}
