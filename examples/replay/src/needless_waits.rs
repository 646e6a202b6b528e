//! The longest time that a request waited although a healthy worker had a free slot that fits.

use std::collections::BTreeMap;
use std::time::Duration;

use slot_manager::view::{TaskManagerRegistration, TaskManagerSlot};
use slot_manager::{AllocationId, ResourceProfile, Timestamp};

use crate::metered::Manager;

/// Observes the waiting requests after each event.
///
/// Slots that back off count as free: the manager could use them. Those of a worker that leaves an
/// attempt without an answer do not count until the RPC timeout.
#[derive(Debug, Default)]
pub(crate) struct NeedlessWaits {
    /// The requests that wait needlessly, and since when.
    since: BTreeMap<AllocationId, Timestamp>,
    longest: Duration,
}

impl NeedlessWaits {
    /// Observes all waiting requests. The state lasts until the next observation.
    pub(crate) fn look(
        &mut self,
        now: Timestamp,
        manager: &Manager,
        is_healthy: impl Fn(&TaskManagerRegistration<'_>) -> bool,
    ) {
        for since in self.since.values() {
            self.longest = self.longest.max(now - *since);
        }
        let overview = manager.overview();
        let counts = overview.slots.counts();
        let waiting = overview.pending_requests - counts.in_flight;
        if waiting == 0 || counts.registered == counts.in_flight + counts.allocated {
            self.since.clear();
            return;
        }
        let free = free_profiles(manager, is_healthy);
        let mut known: Vec<(&ResourceProfile, bool)> = Vec::new();
        let mut waits = BTreeMap::new();
        for request in manager.pending_slot_requests() {
            if request.in_flight_to().is_some() {
                continue;
            }
            let required = request.resource_profile();
            let is_needless = match known.iter().find(|(profile, _)| *profile == required) {
                Some((_, is_needless)) => *is_needless,
                None => {
                    let is_needless = free.iter().any(|slot| slot.is_matching(required));
                    known.push((required, is_needless));
                    is_needless
                }
            };
            if is_needless {
                let allocation_id = request.allocation_id();
                let since = self.since.get(&allocation_id).copied().unwrap_or(now);
                waits.insert(allocation_id, since);
            }
        }
        self.since = waits;
    }

    /// Returns the longest wait so far.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

/// Returns the distinct profiles of the free slots of healthy workers.
fn free_profiles(
    manager: &Manager,
    is_healthy: impl Fn(&TaskManagerRegistration<'_>) -> bool,
) -> Vec<&ResourceProfile> {
    let mut profiles: Vec<&ResourceProfile> = Vec::new();
    for task_manager in manager.task_managers() {
        let counts = task_manager.slot_counts();
        if counts.registered == counts.in_flight + counts.allocated || !is_healthy(&task_manager) {
            continue;
        }
        for slot in task_manager.slots().filter(TaskManagerSlot::is_free) {
            if !profiles.contains(&slot.resource_profile()) {
                profiles.push(slot.resource_profile());
            }
        }
    }
    profiles
}
