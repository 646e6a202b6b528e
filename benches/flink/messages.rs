//! Messages of the cluster, in the shape of Flink's side: one resource id for all slots of a task
//! manager, one address for all requests.

use std::sync::Arc;

use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, ResourceRequirements, SlotId, SlotReport,
    SlotRequest, SlotStatus, TaskExecutorConnection,
};

pub(crate) const SLOTS_PER_TASK_MANAGER: usize = 10;

const JOB: JobId = JobId::from_u128(0x10b);
const JOB_MASTER: &str = "job-master.cluster.example:6123";
const EARLIER_JOB: JobId = JobId::from_u128(0xea711e7);

pub(crate) fn usual_profile() -> ResourceProfile {
    profile(1, 1024)
}

/// Returns a profile that no slot of the usual profile fits.
pub(crate) fn huge_profile() -> ResourceProfile {
    profile(1_000, 1 << 20)
}

/// Returns profile `n` of a series in which each has more than the one before.
pub(crate) fn growing_profile(n: usize) -> ResourceProfile {
    profile(1 + n, 1024 * (1 + n as u64))
}

/// Returns profile `n` of `count` profiles that do not fit each other.
pub(crate) fn separate_profile(n: usize, count: usize) -> ResourceProfile {
    profile(1 + n, 1024 * (count - n) as u64)
}

fn profile(cores: usize, heap_mebibytes: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores as f64)
        .task_heap_memory_mebibytes(heap_mebibytes)
        .build()
        .expect("the amounts are small")
}

/// Spreads numbers over all bits of an id, like those of random ids. The factor is odd, so
/// different numbers stay different.
const fn spread(number: u128) -> u128 {
    (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

/// A registration: its connection and its first report.
pub(crate) struct TaskManager {
    resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    pub(crate) report: SlotReport,
}

impl TaskManager {
    pub(crate) fn connection<G>(&self, gateway: G) -> TaskExecutorConnection<G> {
        TaskExecutorConnection::new(self.resource_id.clone(), self.instance_id, gateway)
    }
}

/// Returns task managers with this number of free slots of the usual profile.
pub(crate) fn usual_task_managers(slots: usize) -> Vec<TaskManager> {
    task_managers(0, slots, |_| usual_profile(), |_| false)
}

/// Returns task managers, numbered from `first` on, with this number of slots. Allocations from
/// before the start hold the chosen slots.
pub(crate) fn task_managers(
    first: usize,
    slots: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
    is_allocated: impl Fn(usize) -> bool,
) -> Vec<TaskManager> {
    let status = |slot_id, slot| {
        if is_allocated(slot) {
            let allocation_id = AllocationId::from_u128(spread(1 << 100 | slot as u128));
            SlotStatus::allocated(slot_id, profile_of(slot), allocation_id, EARLIER_JOB)
        } else {
            SlotStatus::free(slot_id, profile_of(slot))
        }
    };
    (0..slots / SLOTS_PER_TASK_MANAGER)
        .map(|n| {
            let resource_id = ResourceId::new(format!("taskmanager-{:07}", first + n));
            let report = (0..SLOTS_PER_TASK_MANAGER)
                .map(|number| {
                    let slot_id = SlotId::new(resource_id.clone(), number as u32);
                    status(slot_id, n * SLOTS_PER_TASK_MANAGER + number)
                })
                .collect();
            TaskManager {
                resource_id,
                instance_id: InstanceId::from_u128(spread((first + n) as u128)),
                report,
            }
        })
        .collect()
}

/// Returns the declaration of a job that needs this number of slots of the usual profile.
pub(crate) fn requirements(slots: usize) -> ResourceRequirements {
    ResourceRequirements::new(JOB, JOB_MASTER)
        .require(usual_profile(), slots as u32)
        .expect("few slots")
}

/// A source of requests with distinct allocation ids.
pub(crate) struct Requests {
    made: u128,
    target_address: Arc<str>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self {
            made: 0,
            target_address: JOB_MASTER.into(),
        }
    }

    pub(crate) fn usual(&mut self, count: usize) -> Vec<SlotRequest> {
        self.of(count, |_| usual_profile())
    }

    pub(crate) fn of(&mut self, count: usize, profile_of: impl Fn(usize) -> ResourceProfile) -> Vec<SlotRequest> {
        (0..count).map(|n| self.request(profile_of(n))).collect()
    }

    fn request(&mut self, profile: ResourceProfile) -> SlotRequest {
        self.made += 1;
        let allocation_id = AllocationId::from_u128(spread(self.made));
        SlotRequest::new(JOB, allocation_id, profile, Arc::clone(&self.target_address))
    }
}
