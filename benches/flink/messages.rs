//! Messages of the cluster, in the shape of Flink's side: one resource id for all slots of a task
//! manager, one address for all requests.

use std::sync::Arc;

use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, ResourceRequirements, SlotId, SlotReport,
    SlotRequest, SlotStatus, TaskExecutorConnection,
};

pub(crate) const SLOTS_PER_TASK_MANAGER: usize = 10;

/// A dynamic worker has 16 cores. Slots have multiples of a quarter.
pub(crate) const QUARTERS_PER_WORKER: usize = 64;
const HEAP_MEBIBYTES_PER_WORKER: u64 = 64 << 10;

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
    resources(cores as f64, heap_mebibytes)
}

fn resources(cores: f64, heap_mebibytes: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(heap_mebibytes)
        .build()
        .expect("the amounts are small")
}

/// Returns the quarters of cores of shape `n` of a slot of a dynamic worker, of `shapes`.
pub(crate) fn quarters_of_shape(n: usize, shapes: usize) -> usize {
    if shapes == 1 { 4 } else { 1 + n % 16 }
}

/// Returns shape `n` of `shapes`, all different: up to four cores, and, out of proportion, one to four
/// GiB.
fn shape(n: usize, shapes: usize) -> ResourceProfile {
    let gibibytes = if shapes == 1 { 4 } else { 1 + n / 16 };
    resources(0.25 * quarters_of_shape(n, shapes) as f64, 1024 * gibibytes as u64)
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
            let resource_id = resource_id(first + n);
            let report = (0..SLOTS_PER_TASK_MANAGER)
                .map(|number| {
                    let slot_id = SlotId::new(resource_id.clone(), number as u32);
                    status(slot_id, n * SLOTS_PER_TASK_MANAGER + number)
                })
                .collect();
            TaskManager {
                resource_id,
                instance_id: instance_id(first + n),
                report,
            }
        })
        .collect()
}

/// Returns dynamic workers without slots.
pub(crate) fn dynamic_workers(count: usize) -> Vec<TaskManager> {
    let total = resources(0.25 * QUARTERS_PER_WORKER as f64, HEAP_MEBIBYTES_PER_WORKER);
    (0..count)
        .map(|n| TaskManager {
            resource_id: resource_id(n),
            instance_id: instance_id(n),
            report: SlotReport::of_dynamic(total.clone(), vec![]),
        })
        .collect()
}

fn resource_id(task_manager: usize) -> ResourceId {
    ResourceId::new(format!("taskmanager-{task_manager:07}"))
}

fn instance_id(task_manager: usize) -> InstanceId {
    InstanceId::from_u128(spread(task_manager as u128))
}

/// Returns the declaration of a job that needs this number of slots of the usual profile.
pub(crate) fn requirements(slots: usize) -> ResourceRequirements {
    requirements_of(JOB, usual_profile(), slots)
}

/// Returns the declaration of job `n` of several, which needs this number of slots of its shape.
pub(crate) fn requirements_of_job(n: usize, jobs: usize, slots: usize) -> ResourceRequirements {
    requirements_of(JobId::from_u128(spread(n as u128)), shape(n, jobs), slots)
}

fn requirements_of(job_id: JobId, profile: ResourceProfile, slots: usize) -> ResourceRequirements {
    ResourceRequirements::new(job_id, JOB_MASTER)
        .require(profile, slots as u32)
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
