//! Overviews and explanations, compared with counts over the views.

use std::collections::BTreeSet;

use slot_manager::outcome::AllocationStatus;
use slot_manager::overview::{Resources, SlotOverview};
use slot_manager::view::{
    FittingSlots, FittingWorkers, PendingSlotRequest, PromisedSlot, RequestExplanation, SlotState, TaskManagerSlot,
    WaitReason,
};
use slot_manager::{ResourceId, ResourceProfile};

use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::CallContext;
use crate::cluster::checks::slot_inventory::{SlotInventory, TaskManager};
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

fn agree<T: PartialEq + std::fmt::Debug>(name: &str, reported: T, counted: T) -> Check {
    if reported == counted {
        Ok(())
    } else {
        Err(format!("{name}: reported is {reported:?}, counted {counted:?}"))
    }
}

/// Checks the overview of the manager and of each task manager.
pub(crate) fn check_overview(manager: &Manager, present: &SlotInventory, blocked: &BTreeSet<ResourceId>) -> Check {
    let overview = manager.overview();
    let slots: Vec<_> = manager.slots().collect();
    agree("slots", overview.slots, count_slots(&slots))?;
    let dynamic = present.task_managers.values().filter(|it| it.resources.is_some());
    agree("dynamic workers", overview.dynamic_workers, dynamic.clone().count())?;
    let total = capacity_rules::sum(dynamic.map(TaskManager::total));
    let limited = |all: &Resources| (all.slots, all.cpu_cores, all.memory_bytes);
    agree("dynamic total", limited(&overview.dynamic_total), limited(&total))?;
    agree("task managers", overview.task_managers, manager.task_managers().count())?;
    let is_blocked = |id: &ResourceId| blocked.contains(id);
    let blocked_task_managers = manager.task_managers().filter(|it| is_blocked(it.resource_id()));
    agree(
        "blocked task managers",
        overview.blocked_task_managers,
        blocked_task_managers.count(),
    )?;
    let promised: Vec<_> = manager.promised_slots().collect();
    let profiles = promised.iter().map(PromisedSlot::resource_profile);
    agree("promised", overview.promised, capacity_rules::total(profiles))?;
    let unbound = promised.iter().filter(|slot| slot.bound_to().is_none()).count();
    agree("unbound", overview.unbound_promised_slots, unbound)?;
    let pending = manager.pending_slot_requests().count();
    agree("pending", overview.pending_requests, pending)?;
    agree("counters", overview.counters, manager.counters())?;
    for task_manager in manager.task_managers() {
        let reported = task_manager.overview();
        let slots: Vec<_> = task_manager.slots().collect();
        agree("slots of a task manager", reported.slots, count_slots(&slots))?;
        let id = task_manager.resource_id();
        agree("blocked", reported.is_blocked, is_blocked(id))?;
        let is_wrong = |slot: &&TaskManagerSlot<'_>| match slot.state() {
            SlotState::Blocked => !is_blocked(id),
            SlotState::Free | SlotState::BackingOff { .. } => is_blocked(id),
            _ => false,
        };
        agree("slots blocked or not", slots.iter().filter(is_wrong).count(), 0)?;
    }
    Ok(())
}

fn count_slots(slots: &[TaskManagerSlot<'_>]) -> SlotOverview {
    let total = |is_it: fn(SlotState) -> bool| {
        let those = slots.iter().filter(|slot| is_it(slot.state()));
        capacity_rules::total(those.map(TaskManagerSlot::resource_profile))
    };
    let mut overview = SlotOverview::default();
    overview.registered = total(|_| true);
    overview.free = total(|state| matches!(state, SlotState::Free | SlotState::BackingOff { .. }));
    overview.blocked = total(|state| state == SlotState::Blocked);
    overview.in_flight = total(|state| matches!(state, SlotState::InFlight { .. }));
    overview.allocated = total(|state| matches!(state, SlotState::Allocated { .. }));
    overview
}

/// Checks the explanation of each waiting request.
pub(crate) fn check_explanations(manager: &Manager, present: &SlotInventory, context: &CallContext<'_>) -> Check {
    for request in manager.pending_slot_requests() {
        let explanation = manager.explain(request.allocation_id());
        let explanation = explanation.ok_or_else(|| format!("{request:?} is not explained"))?;
        agree("job", explanation.job_id, request.job_id())?;
        let status = match request.in_flight_to() {
            Some(slot_id) => AllocationStatus::InFlight { slot_id },
            None => AllocationStatus::Waiting,
        };
        agree("status", explanation.status, status)?;
        let Some(explained) = explanation.request else {
            return Err(format!("{request:?} is explained as granted"));
        };
        agree("deadline", explained.fails_at, request.deadline())?;
        agree("attempts", explained.failed_attempts, request.failed_attempts())?;
        check_numbers(manager, &request, &explained)?;
        check_reason(manager, present, &request, &explained, context)?;
    }
    Ok(())
}

fn check_numbers(manager: &Manager, request: &PendingSlotRequest<'_>, explained: &RequestExplanation) -> Check {
    let required = request.resource_profile();
    agree("profile", &explained.resource_profile, required)?;
    let mut fitting = FittingSlots::default();
    let mut too_small = 0;
    let (mut cpu, mut heap) = (0, 0);
    for slot in manager.slots() {
        let profile = slot.resource_profile();
        if !profile.is_matching(required) {
            too_small += 1;
            cpu += usize::from(profile.cpu_cores() < required.cpu_cores());
            heap += usize::from(profile.task_heap_memory_bytes() < required.task_heap_memory_bytes());
            continue;
        }
        match slot.state() {
            SlotState::Free => fitting.free += 1,
            SlotState::BackingOff { .. } => fitting.backing_off += 1,
            SlotState::Blocked => fitting.blocked += 1,
            SlotState::InFlight { .. } => fitting.in_flight += 1,
            _ => fitting.allocated += 1,
        }
    }
    agree("fitting", explained.fitting, fitting)?;
    agree("too small", explained.too_small.slots, too_small)?;
    let mut shortages: Vec<_> = explained.too_small.shortages.iter().map(|(_, slots)| *slots).collect();
    shortages.sort_unstable();
    let mut counted: Vec<_> = [cpu, heap].into_iter().filter(|slots| *slots > 0).collect();
    counted.sort_unstable();
    agree("shortages", shortages, counted)?;
    check_dynamic_workers(manager, required, &explained.dynamic_workers)?;
    let promised = manager.promised_slots();
    let (fit, small): (Vec<_>, Vec<_>) = promised.partition(|slot| slot.resource_profile().is_matching(required));
    agree("promised that fit", explained.fitting_promised_slots, fit.len())?;
    agree("promised too small", explained.too_small_promised_slots, small.len())
}

/// Checks the numbers of dynamic workers whose total and remainder fit.
fn check_dynamic_workers(manager: &Manager, required: &ResourceProfile, explained: &FittingWorkers) -> Check {
    let task_managers = manager.task_managers();
    let totals: Vec<_> = task_managers.filter_map(|it| it.total_resources()).collect();
    let remainders = manager.task_managers().filter_map(|it| it.remaining_resources());
    let counted = (
        totals.len(),
        totals.iter().filter(|total| total.is_matching(required)).count(),
        remainders.filter(|remainder| remainder.is_matching(required)).count(),
    );
    let explained = (explained.workers, explained.total_fits, explained.remainder_fits);
    agree("dynamic workers", explained, counted)
}

fn check_reason(
    manager: &Manager,
    present: &SlotInventory,
    request: &PendingSlotRequest<'_>,
    explained: &RequestExplanation,
    context: &CallContext<'_>,
) -> Check {
    let config = manager.config();
    let worker = capacity_rules::described_worker(config);
    let limit_of_next = worker
        .as_ref()
        .and_then(|worker| capacity_rules::limit_beyond(config, present.total(), capacity_rules::total(worker)));
    let recovered_at = context.recovery.began + config.recovery_timeout;
    let is_waiting =
        request.in_flight_to().is_none() && request.backs_off_until().is_none() && request.bound_to().is_none();
    let is_right = match &explained.waits_for {
        WaitReason::Answer { slot_id, .. } => request.in_flight_to().as_ref() == Some(slot_id),
        WaitReason::Backoff { until } => request.backs_off_until() == Some(*until),
        WaitReason::PromisedWorker { worker_request, until } => {
            let promised = manager
                .promised_slots()
                .find(|it| it.worker_request() == *worker_request);
            request.bound_to() == Some(*worker_request) && promised.map(|it| it.expires_at()) == Some(*until)
        }
        WaitReason::Limit { limit } => is_waiting && limit_of_next == Some(*limit),
        WaitReason::Recovery { until } => {
            is_waiting && !config.recovery_timeout.is_zero() && !context.recovery.ended_early && *until == recovered_at
        }
        WaitReason::NothingElse => {
            let fits = |worker: &Vec<ResourceProfile>| worker[0].is_matching(request.resource_profile());
            let is_possible = |worker: &Vec<_>| {
                capacity_rules::limit_beyond(config, Default::default(), capacity_rules::total(worker)).is_none()
            };
            is_waiting
                && worker
                    .as_ref()
                    .is_some_and(|worker| !fits(worker) || !is_possible(worker))
        }
        _ => is_waiting,
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{request:?} waits for {:?}", explained.waits_for))
    }
}
