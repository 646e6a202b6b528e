//! The same for what is blocked, kept, asked, deferred and promised for nobody.

use std::time::Duration;

use super::{Manager, cores, register, request};
use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::SlotPhase;
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::worker_policy::{PolicyPeriod, WorkerPolicyState};
use crate::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{
    LeaderId, ReleaseDecision, ResourceId, SlotId, SlotManagerConfig, SlotStatus, Timestamp, WorkerDescription,
    WorkerPromise,
};

/// A manager of which one task manager is blocked and asked whether it can go, another one is kept, and workers are
/// promised for the fewest slots. Of five requests one is granted, they cover three, and the last one is deferred.
fn manager(requests: u128) -> Manager {
    let worker = WorkerDescription::new(1, cores(1.0)).expect("a worker");
    let config = SlotManagerConfig::default()
        .with_worker_description(Some(worker))
        .with_min_slots(4)
        .with_max_slots(Some(5))
        .with_task_manager_timeout(Duration::from_secs(10))
        .with_rpc_timeout(Duration::from_secs(60));
    let time = ManualScheduledExecutor::new();
    let mut manager = Manager::new(config, time.clone()).expect("a valid configuration");
    let (actions, gateway) = (RecordingActions::new(), ScriptedGateway::new());
    gateway.answer_release_checks(ReleaseDecision::Later);
    actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    manager.start(LeaderId::from_u128(1), actions).expect("not started");
    for (worker, instance) in [("blocked", 1), ("a", 2)] {
        let status = SlotStatus::free(SlotId::new(worker, 0), cores(1.0));
        register(&mut manager, worker, instance, &gateway, &[status]);
        manager.block(&ResourceId::new("blocked")).expect("started");
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
    let mut manager = manager(requests);
    assert_eq!(manager.check_invariants(), Ok(()));
    break_it(&mut manager.core);
    let found = manager.check_invariants().expect_err(violation).to_string();
    assert!(found.contains(violation), "{found:?} is not {violation:?}");
}

#[test]
fn blocked_task_managers_that_are_not_what_their_slots_say() {
    assert_found("is blocked, and its task manager is not", |core| {
        let key = task_manager(core, "blocked");
        core.blocking.task_managers.remove(&key);
    });
    assert_found("is free, and its task manager is blocked", |core| {
        let key = task_manager(core, "a");
        core.blocking.task_managers.insert(key);
    });
    assert_found("task manager blocked is blocked or not", |core| {
        core.blocking.workers.clear();
    });
    assert_found("slots are counted as blocked", |core| core.blocking.slots += 1);
}

#[test]
fn task_managers_that_are_kept_or_asked_and_not_idle() {
    let assert_found = |break_it: fn(&mut Core)| assert_found("that are not idle", break_it);
    assert_found(|core| {
        let key = core.releases.first_kept().expect("one is kept");
        core.releases.update_slots(key, 7);
    });
    assert_found(|core| core.releases.keep(TaskManagerKey::from_index(99), 1));
    assert_found(|core| {
        let key = core.releases.first_due().expect("one is asked");
        core.releases.open(key, 1, 9, Timestamp::MAX);
    });
}

#[test]
fn requests_that_are_held_and_not_listed_or_need_not_be() {
    let assert_found = |violation: &str, break_it: fn(&mut Core)| assert_found_with(5, violation, break_it);
    assert_found("are listed as held", |core| {
        let deferred = core.worker_policy.first_deferred().expect("one is held");
        let sequence = core.requests.records[deferred].sequence;
        core.worker_policy.remove_deferred(sequence, deferred);
    });
    assert_found("are listed as held", |core| {
        let deferred = core.worker_policy.first_deferred().expect("one is held");
        core.requests.records[deferred].phase = RequestPhase::Unbound(WorkerAsk::Useless);
    });
    assert_found("and a worker may be asked for", |core| {
        let deferred = core.worker_policy.first_deferred().expect("one is held");
        core.worker_policy = WorkerPolicyState::new(&SlotManagerConfig::default());
        core.worker_policy
            .defer(core.requests.records[deferred].sequence, deferred);
    });
}

#[test]
fn times_of_which_the_earliest_is_not_known() {
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
fn worker_requests_that_do_not_count_their_slots() {
    assert_found("does not count its slots", |core| {
        let (_, key) = core.promises.first_surplus().expect("one is promised for nobody");
        core.promises.break_surplus_list(key);
    });
}

#[test]
fn a_slot_that_is_blocked_and_counted_as_free() {
    assert_found("SlotTotals", |core| {
        let key = task_manager(core, "blocked");
        let (_, slot) = core.task_managers.records[key].slots[0];
        assert!(matches!(core.slots[slot].phase, SlotPhase::Blocked));
        let profile = core.slots[slot].profile;
        core.slot_totals.move_slot(profile, SlotUsage::Blocked, SlotUsage::Free);
    });
}
