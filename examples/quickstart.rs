//! A first look: two task managers and three requests, a rejected attempt and its retry, a lost
//! task manager, and the release of an idle one.
//!
//! `cargo run --example quickstart`
//!
//! Time is moved by hand here, so the example ends at once and always prints the same. A service
//! uses `TokioScheduledExecutor` and awaits `SlotManager::progress`: see the loop in the
//! documentation of the crate.

use std::time::Duration;

use slot_manager::error::{ResourceManagerError, SlotAllocationError};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, FreeSlot, NoFuture, Release, ReleaseResource, SlotAnswer,
    SlotFreed, WorkerPromise,
};
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceManagerActions, ResourceProfile, SlotId, SlotManager,
    SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, TaskExecutorGateway,
    WorkerRequestId,
};

/// The resource manager's side: answers and notifications.
struct Actions;

impl ResourceManagerActions for Actions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let number = worker_request.number();
        println!("  <- start a worker for {resource_profile}? (worker request {number})");
        println!("     answer: declined, this cluster has a fixed size");
        Ok(WorkerPromise::Declined)
    }

    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        println!("  <- stop worker {}? {}", release.resource_id, release.cause);
        Release::Accepted
    }

    fn notify_allocation_failure(&mut self, _: JobId, allocation_id: AllocationId, cause: &AllocationFailureCause) {
        println!("  <- allocation {} failed: {cause}", short(allocation_id));
    }

    fn notify_slot_allocated(&mut self, _: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        println!("  <- allocation {} was granted slot {slot_id}", short(allocation_id));
    }
}

/// The connection to one task executor, which answers at once. A real one sends a message and
/// returns [`SlotAnswer::Later`]; the answer is an input then.
struct Gateway {
    rejections: u32,
}

impl TaskExecutorGateway for Gateway {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        let (slot, allocation) = (&request.slot_id, short(request.allocation_id));
        if self.rejections > 0 {
            self.rejections -= 1;
            println!("  -> allocate slot {slot} to {allocation}: rejected");
            return SlotAnswer::Ready(Err(SlotAllocationError::rejected("still cleaning up")));
        }
        println!("  -> allocate slot {slot} to {allocation}: acknowledged");
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        println!("  -> free slot {} of {}", request.slot_id, short(request.allocation_id));
    }
}

/// Returns the connection of a worker with two slots, and its first report.
fn worker(
    name: &str,
    instance: u128,
    rejections: u32,
    profile: &ResourceProfile,
) -> (TaskExecutorConnection<Gateway>, SlotReport) {
    let report = (0..2)
        .map(|number| SlotStatus::free(SlotId::new(name, number), profile.clone()))
        .collect();
    let connection = TaskExecutorConnection::new(name, InstanceId::from_u128(instance), Gateway { rejections });
    (connection, report)
}

/// Returns the last digits of an id: they are enough here.
fn short(id: impl ToString) -> String {
    id.to_string().split_off(30)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualScheduledExecutor::new();
    let config = SlotManagerConfig::default().with_task_manager_timeout(Duration::from_secs(30));
    let mut manager = SlotManager::new(config, clock.clone())?;
    manager.start(LeaderId::from_u128(1), Actions)?;
    let profile = ResourceProfile::builder()
        .cpu_cores(2.0)
        .task_heap_memory_mebibytes(1024)
        .build()?;
    let job = JobId::from_u128(0x10);
    let request = |id| SlotRequest::new(job, AllocationId::from_u128(id), profile.clone(), "job-master-10");

    println!("A job requests a slot. No slot is registered, so the request waits:");
    println!("  {}", manager.register_slot_request(request(0xa1))?);

    println!(
        "\nTwo workers with two slots each register. The task executor rejects the first attempt of the waiting request."
    );
    println!("The request tries again at once, on the slot that has been free for the longest time:");
    let (connection, report) = worker("worker-1", 1, 1, &profile);
    println!("  worker 1: {}", manager.register_task_manager(connection, &report)?);
    let (connection, report) = worker("worker-2", 2, 0, &profile);
    println!("  worker 2: {}", manager.register_task_manager(connection, &report)?);
    println!("  {:?}", manager.overview().slots.counts());

    println!("\nTwo more requests are granted within the call:");
    for id in [0xa2, 0xa3] {
        println!("  {}", manager.register_slot_request(request(id))?);
    }

    println!("\nWorker 1 is lost, and its grants with it:");
    let outcome = manager.unregister_task_manager(InstanceId::from_u128(1), "no heartbeat for 50 s");
    println!("  worker 1: {outcome}");
    println!("  {:?}", manager.overview().slots.counts());

    clock.advance(Duration::from_secs(60));
    println!("\nThe task executor of worker 2 frees the last slot of the job, and the manager hears of it:");
    let freed = SlotFreed::new(SlotId::new("worker-2", 0), AllocationId::from_u128(0xa3));
    println!("  {}", manager.slot_freed(&freed));

    println!("\nWorker 2 is idle now, and after 30 s the manager releases it:");
    clock.advance(Duration::from_secs(30));
    manager.run_until_stalled();
    println!("  {:?}", manager.overview().slots.counts());
    Ok(())
}
