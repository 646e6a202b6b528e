//! Effects told in short lines, so that a test can state all effects of a step, in order, at a glance.
//!
//! | line | effect |
//! |---|---|
//! | `request 1 on tm_0 #4` | attempt 4 to give slot `tm_0` to allocation 1 |
//! | `free 1 on tm_0 #4` | allocation 1 shall not hold `tm_0` under attempt 4 |
//! | `granted 1 on tm_0` | the notice of a grant |
//! | `lost 1 on tm_0: held by 2` | the notice of a lost grant, and how it was lost |
//! | `failed 1: timeout` | the notice of a failed request, and why it failed |
//! | `ask 3 for (1, 100)` | worker request 3, for a core and 100 MiB of heap |
//! | `release 7, idle since +2s, period 1` | the release of registration 7 |
//!
//! An allocation is of job 1 where no job is named: else it is `1 of job 2`.

use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{
    AllocationFailureCause, AllocationId, GrantLoss, InstanceId, JobId, ReleaseCause, RequestFailure, ResourceProfile,
    SlotAllocationError,
};

pub fn tell(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(line).collect()
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Gateway(GatewayCall::RequestSlot(request)) => format!(
            "request {} on {} #{}",
            named(request.allocation_id, request.job_id),
            request.slot_id,
            request.attempt
        ),
        Effect::Gateway(GatewayCall::FreeSlot(free)) => format!(
            "free {} on {} #{}",
            named(free.allocation_id, free.job_id),
            free.slot_id,
            free.attempt
        ),
        Effect::Action(Action::NotifySlotAllocated {
            job_id,
            allocation_id,
            slot_id,
        }) => format!("granted {} on {slot_id}", named(*allocation_id, *job_id)),
        Effect::Action(Action::NotifyAllocationFailure {
            job_id,
            allocation_id,
            cause,
        }) => match cause {
            AllocationFailureCause::RequestFailed(failure) => {
                format!("failed {}: {}", named(*allocation_id, *job_id), reason(failure))
            }
            AllocationFailureCause::GrantLost { slot_id, loss } => {
                format!(
                    "lost {} on {slot_id}: {}",
                    named(*allocation_id, *job_id),
                    how_lost(loss)
                )
            }
        },
        Effect::Action(Action::AllocateResource {
            worker_request,
            resource_profile,
        }) => format!("ask {worker_request} for {}", amounts(resource_profile)),
        Effect::Action(Action::ReleaseResource { instance_id, cause }) => match cause {
            ReleaseCause::IdleTimeout {
                idle_since,
                idle_period,
            } => format!(
                "release {}, idle since {idle_since}, period {idle_period}",
                registration(*instance_id)
            ),
            other => format!("release {}, {other:?}", registration(*instance_id)),
        },
        other => format!("{other:?}"),
    }
}

fn number(id: AllocationId) -> u128 {
    id.as_uuid().as_u128()
}

fn named(id: AllocationId, job: JobId) -> String {
    match job.as_uuid().as_u128() {
        1 => number(id).to_string(),
        job => format!("{} of job {job}", number(id)),
    }
}

fn registration(id: InstanceId) -> u128 {
    id.as_uuid().as_u128()
}

fn amounts(profile: &ResourceProfile) -> String {
    match (profile.cpu_cores(), profile.task_heap_memory_bytes()) {
        (Some(cores), Some(heap)) => format!("({cores}, {})", heap >> 20),
        _ => profile.to_string(),
    }
}

fn reason(failure: &RequestFailure) -> String {
    match failure {
        RequestFailure::Timeout { last_failure: None, .. } => "timeout".to_owned(),
        RequestFailure::Timeout {
            last_failure: Some(last),
            ..
        } => format!("timeout, last {}", answer(last)),
        RequestFailure::ResourceManager(error) => format!("no worker, {}", error.reason()),
        RequestFailure::HeldByAnotherJob { slot_id, job_id } => {
            format!("held on {slot_id} by job {}", job_id.as_uuid().as_u128())
        }
        other => format!("{other:?}"),
    }
}

fn answer(error: &SlotAllocationError) -> String {
    match error {
        SlotAllocationError::Occupied { allocation_id, job_id } => {
            format!("occupied by {}", named(*allocation_id, *job_id))
        }
        SlotAllocationError::Rejected { reason } => format!("rejected ({reason})"),
        SlotAllocationError::Unreachable { reason } => format!("unreachable ({reason})"),
        SlotAllocationError::Timeout => "timeout".to_owned(),
        other => format!("{other:?}"),
    }
}

fn how_lost(loss: &GrantLoss) -> String {
    match loss {
        GrantLoss::TaskManagerUnregistered { instance_id, cause } => {
            format!("unregistered {} ({cause})", registration(*instance_id))
        }
        GrantLoss::ReportedFree => "reported free".to_owned(),
        GrantLoss::HeldByAnother { allocation_id, job_id } => format!("held by {}", named(*allocation_id, *job_id)),
        GrantLoss::SlotRemoved => "removed".to_owned(),
        other => format!("{other:?}"),
    }
}
