//! Queries about everything at once: what there is, and why a request waits.

use crate::config::Quantity;
use crate::{
    Counters, Overview, ScheduledExecutor, SlotManager, SlotOverview, TaskExecutorGateway, TaskManagerOverview,
};

use crate::slot_manager::queries::views::TaskManagerRegistration;
use crate::slot_manager::state::slot_totals::{SlotTotals, SlotUsage};

/// Overviews.
impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// What there is, in numbers. O(1): all are kept as things change.
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

    /// How often what has happened so far.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }
}

impl TaskManagerRegistration<'_> {
    /// What it has, in numbers. O(its slots).
    pub fn overview(&self) -> TaskManagerOverview {
        let mut by_use = [Quantity::default(); SlotUsage::ALL.len()];
        for (used, profile) in self.uses() {
            by_use[used as usize] += Quantity::of_slot(profile);
        }
        TaskManagerOverview {
            resource_id: self.resource_id().clone(),
            instance_id: self.instance_id(),
            is_blocked: self.is_blocked(),
            idle_since: self.idle_since(),
            slots: overview_of(|used| by_use[used as usize]),
        }
    }
}

fn overview_of(of: impl Fn(SlotUsage) -> Quantity) -> SlotOverview {
    let registered = SlotUsage::ALL
        .into_iter()
        .fold(Quantity::default(), |sum, used| sum + of(used));
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
        overview_of(|used| self.of(used))
    }
}
