//! Messages of the cluster, made as if they had just been deserialized: no message shares a text
//! with another one or with the manager.

use std::ops::Range;

use slot_manager::error::SlotRequestError;
use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceProfile, SlotId, SlotReport, SlotRequest, SlotStatus,
    TaskExecutorConnection,
};

pub(crate) const SLOTS_PER_TASK_MANAGER: usize = 10;

/// The job that requests slots.
pub(crate) const JOB: JobId = JobId::from_u128(0x10b);

/// A job that held slots before the manager was started.
const EARLIER_JOB: JobId = JobId::from_u128(0xea711e7);

/// Returns the profile of slots and requests where all have the same.
pub(crate) fn usual_profile() -> ResourceProfile {
    profile(1, 1024)
}

/// Returns a profile that no slot fits.
pub(crate) fn huge_profile() -> ResourceProfile {
    profile(1_000, 1 << 20)
}

/// Returns profile `n` of a series in which each has more than the one before.
pub(crate) fn growing_profile(n: usize) -> ResourceProfile {
    profile(1 + n, 1024 * (1 + n as u64))
}

/// Returns profile `n` of `count` profiles that do not fit each other: more cores, less memory.
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

/// Spreads numbers over all 128 bits of an id, like those of random ids. The factor is odd, so
/// different numbers stay different.
const fn spread(number: u128) -> u128 {
    (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

pub(crate) fn instance_id(task_manager: usize) -> InstanceId {
    InstanceId::from_u128(spread(task_manager as u128))
}

/// Returns the allocation that held a slot before the manager was started.
fn earlier_allocation(slot: usize) -> AllocationId {
    AllocationId::from_u128(spread(1 << 100 | slot as u128))
}

fn worker_name(task_manager: usize) -> String {
    format!("taskmanager-{task_manager:07}")
}

/// Returns the id of the slot with this number in the cluster.
pub(crate) fn slot_id(slot: usize) -> SlotId {
    SlotId::new(
        worker_name(slot / SLOTS_PER_TASK_MANAGER),
        (slot % SLOTS_PER_TASK_MANAGER) as u32,
    )
}

/// Returns the number of a slot in the cluster.
pub(crate) fn slot_index(slot_id: &SlotId) -> usize {
    let (_, task_manager) = slot_id.resource_id().as_str().rsplit_once('-').expect("a worker name");
    let task_manager: usize = task_manager.parse().expect("a worker name");
    task_manager * SLOTS_PER_TASK_MANAGER + slot_id.slot_number() as usize
}

pub(crate) fn connection<G>(task_manager: usize, gateway: G) -> TaskExecutorConnection<G> {
    TaskExecutorConnection::new(worker_name(task_manager), instance_id(task_manager), gateway)
}

/// Returns the numbers of the slots of a task manager.
pub(crate) fn slots_of(task_manager: usize) -> Range<usize> {
    let first = task_manager * SLOTS_PER_TASK_MANAGER;
    first..first + SLOTS_PER_TASK_MANAGER
}

/// Returns a report of slots with these profiles. Allocations from before the start hold the chosen
/// slots.
pub(crate) fn report(
    task_manager: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
    is_allocated: impl Fn(usize) -> bool,
) -> SlotReport {
    slots_of(task_manager)
        .map(|slot| {
            if is_allocated(slot) {
                SlotStatus::allocated(slot_id(slot), profile_of(slot), earlier_allocation(slot), EARLIER_JOB)
            } else {
                SlotStatus::free(slot_id(slot), profile_of(slot))
            }
        })
        .collect()
}

/// A source of requests with distinct allocation ids.
#[derive(Default)]
pub(crate) struct Requests {
    made: u128,
}

impl Requests {
    pub(crate) fn request(&mut self, profile: ResourceProfile) -> SlotRequest {
        self.made += 1;
        let allocation_id = AllocationId::from_u128(spread(self.made));
        SlotRequest::new(JOB, allocation_id, profile, "job-master.cluster.example:6123")
    }

    /// Returns requests for one profile, and their allocation ids.
    pub(crate) fn batch(&mut self, count: usize, profile: &ResourceProfile) -> (Vec<SlotRequest>, Vec<AllocationId>) {
        let batch: Vec<_> = (0..count).map(|_| self.request(profile.clone())).collect();
        let allocations = batch.iter().map(SlotRequest::allocation_id).collect();
        (batch, allocations)
    }
}

/// The result of registering a request.
pub(crate) type Registered = Result<SlotRequestOutcome, SlotRequestError>;

/// Returns the number of the slot that a request was granted.
pub(crate) fn granted(registered: &Registered) -> usize {
    match registered {
        Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })) => slot_index(slot_id),
        other => panic!("not granted: {other:?}"),
    }
}
