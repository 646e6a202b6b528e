//! Violations about blocked workers, releases, limits and surplus workers.

use std::time::Duration;

use super::{Manager, assert_found_in, cores, register, request};
use crate::config::{WorkerDescription, WorkerPolicy};
use crate::message::{ReleaseDecision, WorkerPromise};
use crate::outcome::BlockOutcome;
use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::SlotPhase;
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::worker_policy::{PolicyPeriod, WorkerPolicyState};
use crate::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{LeaderId, ResourceId, SlotId, SlotManagerConfig, SlotStatus, Timestamp};

/// Returns a manager with these records:
///
/// - Task manager `blocked` is blocked and has an open release check.
/// - Task manager `a` is kept for the minimum, unless it serves a request.
/// - Three workers are promised for the minimum.
/// - Of five requests one is granted, three are bound to the promised slots, and the last is
///   deferred.
fn manager(requests: u128) -> Manager {
    let worker = WorkerDescription::new(1, cores(1.0)).expect("a worker");
    let config = SlotManagerConfig::default()
        .with_workers(WorkerPolicy::new(worker).with_min_slots(4).with_max_slots(Some(5)))
        .with_task_manager_timeout(Duration::from_secs(10))
        .with_rpc_timeout(Duration::from_secs(60));
    let time = ManualScheduledExecutor::new();
    let mut manager = Manager::new(config, time.clone()).expect("a valid configuration");
    let (actions, gateway) = (RecordingActions::new(), ScriptedGateway::new());
    gateway.answer_release_checks(ReleaseDecision::Later);
    actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    manager.start(LeaderId::from_u128(1), actions).expect("not started");
    assert_eq!(manager.block(&ResourceId::new("blocked")), BlockOutcome::Blocked);
    for (worker, instance) in [("blocked", 1), ("a", 2)] {
        let status = SlotStatus::free(SlotId::new(worker, 0), cores(1.0));
        register(&mut manager, worker, instance, &gateway, &[status]);
    }
    for id in 1..=requests {
        request(&mut manager, id, 1.0);
    }
    time.advance(Duration::from_secs(10));
    manager.run_until_stalled();
    manager
}

fn task_manager(core: &Core, id: &str) -> TaskManagerKey {
    core.task_managers
        .by_resource(&ResourceId::new(id))
        .expect("registered")
}

#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&mut Core)) {
    assert_found_with(0, violation, break_it);
}

#[track_caller]
fn assert_found_with(requests: u128, violation: &str, break_it: impl Fn(&mut Core)) {
    assert_found_in(manager(requests), violation, break_it);
}

#[test]
fn blocked_task_managers_that_disagree_with_their_slots() {
    assert_found("is blocked, but its task manager is not", |core| {
        let key = task_manager(core, "blocked");
        core.blocking.task_managers.remove(&key);
    });
    assert_found("is offered or backs off, but its task manager is blocked", |core| {
        let key = task_manager(core, "a");
        core.blocking.task_managers.insert(key);
    });
    assert_found(
        "the blocked mark of task manager blocked is true, but that of its worker is false",
        |core| {
            core.blocking.workers.clear();
        },
    );
    assert_found("slots count as blocked", |core| core.blocking.slots += 1);
}

#[test]
fn kept_task_managers_and_release_checks_that_are_not_idle_or_not_disjoint() {
    let assert_found = |break_it: fn(&mut Core)| assert_found("open release checks are inconsistent", break_it);
    assert_found(|core| {
        let key = core.releases.first_kept().expect("a kept task manager");
        core.releases.update_slots(key, 7);
    });
    assert_found(|core| core.releases.keep(TaskManagerKey::from_index(99), 1));
    // A kept task manager never has an open release check.
    assert_found(|core| {
        let kept = core.releases.first_kept().expect("a kept task manager");
        let slots = core.task_managers.records[kept].slots.len();
        core.releases.open(kept, slots, 9, Timestamp::MAX);
    });
    assert_found(|core| {
        let key = core.releases.first_due().expect("an open check");
        core.releases.open(key, 1, 9, Timestamp::MAX);
    });
}

#[test]
fn deferred_requests_that_are_not_listed_or_need_no_deferral() {
    let assert_found = |violation: &str, break_it: fn(&mut Core)| assert_found_with(5, violation, break_it);
    assert_found("are listed as deferred", |core| {
        let deferred = core.worker_policy.first_deferred().expect("a deferred request");
        let sequence = core.requests.records[deferred].sequence;
        core.worker_policy.remove_deferred(sequence, deferred);
    });
    assert_found("are listed as deferred", |core| {
        let deferred = core.worker_policy.first_deferred().expect("a deferred request");
        core.requests.records[deferred].phase = RequestPhase::Unbound(WorkerAsk::Useless);
    });
    assert_found("but a worker may be requested", |core| {
        let deferred = core.worker_policy.first_deferred().expect("a deferred request");
        core.worker_policy = WorkerPolicyState::new(&SlotManagerConfig::default());
        core.worker_policy
            .defer(core.requests.records[deferred].sequence, deferred);
    });
}

#[test]
fn worker_policy_with_a_wrong_earliest_time() {
    assert_found("the deadlines of WorkerPolicy are not in order", |core| {
        core.worker_policy.back_off_reserve(Timestamp::from_secs(50));
        core.worker_policy.forget_earliest();
    });
    let mut manager = manager(0);
    manager.core.worker_policy.back_off_reserve(Timestamp::from_secs(50));
    assert_eq!(
        manager.core.worker_policy.first_period(),
        Some(PolicyPeriod::ReserveBackoff)
    );
    assert_eq!(manager.check_invariants(), Ok(()));
}

#[test]
fn surplus_worker_requests_that_are_not_listed() {
    assert_found("the counts or the surplus state of worker request", |core| {
        let (_, key) = core.promises.first_surplus().expect("a surplus worker");
        core.promises.break_surplus_list(key);
    });
}

#[test]
fn a_blocked_slot_that_is_counted_as_free() {
    assert_found("the slot totals are", |core| {
        let key = task_manager(core, "blocked");
        let (_, slot) = core.task_managers.records[key].slots[0];
        assert!(matches!(core.slots[slot].phase, SlotPhase::Blocked));
        let profile = core.slots[slot].profile;
        core.slot_totals.move_slot(profile, SlotUsage::Blocked, SlotUsage::Free);
    });
}
