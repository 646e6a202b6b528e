//! The requests that wait: the longest time that one waited although a healthy worker had room for
//! it, and the resources for which the others wait.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use slot_manager::view::{TaskManagerRegistration, TaskManagerSlot};
use slot_manager::{AllocationId, ResourceProfile, Timestamp};

use crate::jobs::Jobs;
use crate::metered::Manager;
use crate::resources::Amounts;
use crate::workload::{Pod, Slicing};

/// Observes the waiting requests after each event.
///
/// Slots that back off count as free: the manager could use them. Those of a worker that leaves an
/// attempt without an answer do not count until the RPC timeout. The same holds for what remains of
/// dynamic workers.
#[derive(Debug)]
pub(crate) struct NeedlessWaits {
    /// The requests that wait needlessly, and since when.
    since: BTreeMap<AllocationId, Timestamp>,
    longest: Duration,
    /// For each job the number of its demand.
    demand_of_job: Vec<usize>,
    /// The distinct requests.
    demands: Vec<Demand>,
}

/// A kind of request.
#[derive(Debug)]
struct Demand {
    profile: ResourceProfile,
    amounts: Amounts,
    /// Whether a healthy worker has room for it. `None` if this was not looked up yet.
    has_room: Option<bool>,
}

impl NeedlessWaits {
    pub(crate) fn new(pods: &[Pod], slicing: Slicing) -> Self {
        let mut demands: Vec<Demand> = Vec::new();
        let mut numbers: HashMap<&ResourceProfile, usize> = HashMap::new();
        let demand = |pod| {
            let profile = Pod::request_profile(pod, slicing);
            *numbers.entry(profile).or_insert_with(|| {
                demands.push(Demand {
                    profile: profile.clone(),
                    amounts: pod.request_amounts(slicing),
                    has_room: None,
                });
                demands.len() - 1
            })
        };
        Self {
            since: BTreeMap::new(),
            longest: Duration::ZERO,
            demand_of_job: pods.iter().map(demand).collect(),
            demands,
        }
    }

    /// Observes all waiting requests. The state lasts until the next observation.
    ///
    /// Returns the resources that those ask for which no healthy worker has room for. The sum may end
    /// once each amount is at least that of `enough`.
    pub(crate) fn look(
        &mut self,
        now: Timestamp,
        manager: &Manager,
        jobs: &Jobs,
        enough: Amounts,
        is_healthy: impl Fn(&TaskManagerRegistration<'_>) -> bool,
    ) -> Amounts {
        for since in self.since.values() {
            self.longest = self.longest.max(now - *since);
        }
        let mut lacking = Amounts::default();
        let overview = manager.overview();
        let waiting = overview.pending_requests - overview.slots.in_flight.slots;
        if waiting == 0 {
            self.since.clear();
            return lacking;
        }
        let rooms = rooms(manager, is_healthy);
        for demand in &mut self.demands {
            demand.has_room = None;
        }
        let mut waits = BTreeMap::new();
        for request in manager.pending_slot_requests() {
            let allocation_id = request.allocation_id();
            let Some(job) = jobs.job_of(allocation_id) else {
                continue;
            };
            if request.in_flight_to().is_some() {
                continue;
            }
            let demand = &mut self.demands[self.demand_of_job[job]];
            let has_room =
                (demand.has_room).get_or_insert_with(|| rooms.iter().any(|room| room.is_matching(&demand.profile)));
            if *has_room {
                let since = self.since.get(&allocation_id).copied().unwrap_or(now);
                waits.insert(allocation_id, since);
            } else {
                lacking += demand.amounts;
                // Without room no request waits needlessly.
                if rooms.is_empty() && enough.at_most(lacking) == enough {
                    break;
                }
            }
        }
        self.since = waits;
        lacking
    }

    /// Returns the longest wait so far.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

/// Returns what healthy workers have room for: the distinct profiles of free slots, and what remains
/// of dynamic workers.
fn rooms(manager: &Manager, is_healthy: impl Fn(&TaskManagerRegistration<'_>) -> bool) -> Vec<ResourceProfile> {
    let mut rooms = Vec::new();
    let mut profiles: Vec<&ResourceProfile> = Vec::new();
    for task_manager in manager.task_managers() {
        if let Some(remaining) = task_manager.remaining_resources() {
            if is_healthy(&task_manager) {
                rooms.push(remaining);
            }
            continue;
        }
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
    rooms.extend(profiles.into_iter().cloned());
    rooms
}
