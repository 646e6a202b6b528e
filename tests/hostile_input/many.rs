//! Very many slots of one task manager, and very many requests of one job.

use std::sync::Arc;

use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, RegistrationOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceProfile, SlotId, SlotReport, SlotRequest, SlotStatus,
    TaskExecutorConnection,
};

use crate::common::{LAST_NUMBER, allocation, instance, job, profile, small};
use crate::outside::{Prompt, started};

const MILLION: u32 = 1_000_000;

#[test]
fn task_manager_with_a_million_slots_registers_reports_and_goes() {
    let (mut manager, _) = started::<Prompt>();
    let worker = ResourceId::new("tm");
    let status = |number: u32| {
        // From the highest number down, every other slot is allocated.
        let slot_id = SlotId::new(worker.clone(), LAST_NUMBER - number);
        if number % 2 == 0 {
            SlotStatus::free(slot_id, small())
        } else {
            SlotStatus::allocated(slot_id, small(), allocation(number.into()), job(1))
        }
    };
    let report: SlotReport = (0..MILLION).map(status).collect();
    let connection = TaskExecutorConnection::new(worker.clone(), instance(1), Prompt);
    assert_eq!(
        manager.register_task_manager(connection, &report),
        Ok(RegistrationOutcome::Registered)
    );
    assert_eq!(manager.overview().slots.allocated.slots, 500_000);
    assert_eq!(manager.overview().slots.free.slots, 500_000);
    assert_eq!(
        manager.report_slot_status(instance(1), &report),
        Ok(ReportOutcome::Applied)
    );
    assert_eq!(manager.check_invariants(), Ok(()));

    assert_eq!(
        manager.unregister_task_manager(instance(1), "lost"),
        UnregistrationOutcome::Unregistered
    );
    assert_eq!(manager.overview().slots.registered.slots, 0);
    assert_eq!(manager.actions_mut().map(|actions| actions.failed), Some(500_000));
    assert_eq!(manager.check_invariants(), Ok(()));
}

#[test]
fn job_with_a_million_requests_waits_and_ends() {
    let (mut manager, _) = started::<Prompt>();
    let address: Arc<str> = "job-master".into();
    let request =
        |job_id: u128, id: u32| SlotRequest::new(job(job_id), allocation(id.into()), small(), Arc::clone(&address));
    for id in 0..MILLION {
        assert_eq!(
            manager.register_slot_request(request(1, id)),
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting))
        );
    }
    assert!(manager.register_slot_request(request(2, MILLION)).is_ok());
    assert_eq!(manager.overview().pending_requests, 1_000_001);
    assert_eq!(manager.unregister_job(job(1)), 1_000_000);
    assert_eq!(manager.overview().pending_requests, 1);
    assert_eq!(manager.check_invariants(), Ok(()));
}

#[test]
fn thousands_of_distinct_profiles_of_slots_and_requests_are_matched() {
    const PROFILES: u32 = 3_000;
    let (mut manager, _) = started::<Prompt>();
    // No profile fits another: each has more cores and less memory than the one before.
    let distinct = |n: u32| profile(f64::from(n + 1), u64::from(PROFILES - n));
    let ask = |n: u32, profile: ResourceProfile| SlotRequest::new(job(1), allocation(n.into()), profile, "job-master");
    for n in 0..PROFILES {
        let waits = manager.register_slot_request(ask(n, distinct(n)));
        assert_eq!(waits, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }
    assert_eq!(manager.check_invariants(), Ok(()));
    let report = |from: u32| {
        (0..PROFILES)
            .map(|n| SlotStatus::free(SlotId::new("tm", from + n), distinct(n)))
            .collect::<SlotReport>()
    };
    let connection = TaskExecutorConnection::new("tm", InstanceId::from_u128(1), Prompt);
    assert!(manager.register_task_manager(connection, &report(0)).is_ok());
    assert_eq!(manager.overview().slots.allocated.slots, PROFILES as usize);
    for n in 0..PROFILES {
        let slot_id = SlotId::new("tm", n);
        let granted = AllocationStatus::Granted {
            slot_id: slot_id.clone(),
        };
        assert_eq!(
            manager.allocation_status(AllocationId::from_u128(n.into())),
            Some(granted)
        );
        assert_eq!(
            manager.slot_freed(&SlotFreed::new(slot_id.clone(), allocation(n.into()))),
            SlotFreedOutcome::Freed
        );
    }
    assert_eq!(manager.check_invariants(), Ok(()));
    for n in (0..PROFILES).rev() {
        let slot_id = SlotId::new("tm", n);
        let granted = Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }));
        assert_eq!(manager.register_slot_request(ask(n, distinct(n))), granted);
    }
    assert_eq!(manager.unregister_job(JobId::from_u128(1)), 0);
    assert_eq!(manager.check_invariants(), Ok(()));
}
