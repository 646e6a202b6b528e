//! Task managers of ten slots each, and their reports: flat in the number of task managers, proportional to their
//! slots.

use std::sync::Arc;

use criterion::Criterion;
use slot_manager::{ReportOutcome, SlotReport};

use crate::SIZES;
use crate::cluster::register;
use crate::measure::{BATCH_OF_REPORTS, Round, batches, bench, group, group_per, timed};
use crate::messages::{SLOTS_PER_TASK_MANAGER, instance_id, report, usual_profile};
use crate::outside::{Manager, Prompt, started};

pub(crate) fn groups(criterion: &mut Criterion) {
    register_task_manager(criterion);
    unchanged_report(criterion);
    changed_report(criterion);
    unregister_task_manager(criterion);
}

/// Task managers with free slots register with a manager that knows nothing yet, as after a change of the leader; the
/// time includes what its tables need to grow. It is that of one slot.
fn register_task_manager(criterion: &mut Criterion) {
    let mut group = group(criterion, "register task manager, per slot");
    for slots in SIZES {
        bench(
            &mut group,
            format!("{slots} slots"),
            || (),
            |()| {
                let (mut manager, _) = started();
                let round = register(
                    &mut manager,
                    slots,
                    || Prompt,
                    |task_manager| report(task_manager, |_| usual_profile(), |_| false),
                );
                assert_eq!(manager.slot_counts().free, slots);
                round
            },
        );
    }
    group.finish();
}

/// Every other slot is held by an allocation.
fn is_odd(slot: usize) -> bool {
    slot % 2 == 1
}

/// A manager that was started when these slots were held by allocations.
fn taken_over(slots: usize, is_allocated: impl Fn(usize) -> bool) -> Manager<Prompt> {
    let (mut manager, _) = started();
    register(
        &mut manager,
        slots,
        || Prompt,
        |task_manager| report(task_manager, |_| usual_profile(), &is_allocated),
    );
    manager
}

/// Lets all task managers report. Only the taking of the reports is timed.
fn report_all(manager: &mut Manager<Prompt>, task_managers: usize, report: impl Fn(usize) -> SlotReport) -> Round {
    let mut round = Round::default();
    for batch in batches(task_managers, BATCH_OF_REPORTS) {
        let reports: Vec<_> = batch
            .map(|task_manager| (instance_id(task_manager), report(task_manager)))
            .collect();
        let (time, applied) = timed(|| {
            let mut applied = 0;
            for (instance_id, report) in &reports {
                if manager.report_slot_status(*instance_id, report) == Ok(ReportOutcome::Applied) {
                    applied += 1;
                }
            }
            applied
        });
        assert_eq!(applied, reports.len());
        round.add(applied, time);
    }
    round
}

/// Half of the slots are allocated, and the reports say so: the heartbeat of a quiet cluster. The time is that of one
/// report of ten slots.
fn unchanged_report(criterion: &mut Criterion) {
    let mut group = group_per(criterion, "unchanged report of 10 slots", SLOTS_PER_TASK_MANAGER as u64);
    for slots in SIZES {
        bench(
            &mut group,
            format!("{slots} slots"),
            || taken_over(slots, is_odd),
            |manager| {
                let round = report_all(manager, slots / SLOTS_PER_TASK_MANAGER, |task_manager| {
                    report(task_manager, |_| usual_profile(), is_odd)
                });
                assert_eq!(manager.slot_counts().free, slots / 2);
                round
            },
        );
    }
    group.finish();
}

/// Half of the slots are allocated. Every task manager reports that another one of its slots is, and then that it is
/// not any more, which is a loss that is notified. The time is that of one report of ten slots, the mean of both kinds.
fn changed_report(criterion: &mut Criterion) {
    let is_odd_or_first = |slot| is_odd(slot) || slot % SLOTS_PER_TASK_MANAGER == 0;
    let mut group = group_per(
        criterion,
        "report of 10 slots, 1 changed",
        SLOTS_PER_TASK_MANAGER as u64,
    );
    for slots in SIZES {
        bench(
            &mut group,
            format!("{slots} slots"),
            || taken_over(slots, is_odd),
            |manager| {
                let task_managers = slots / SLOTS_PER_TASK_MANAGER;
                let mut round = report_all(manager, task_managers, |task_manager| {
                    report(task_manager, |_| usual_profile(), is_odd_or_first)
                });
                assert_eq!(manager.slot_counts().free, slots / 2 - task_managers);
                round += report_all(manager, task_managers, |task_manager| {
                    report(task_manager, |_| usual_profile(), is_odd)
                });
                assert_eq!(manager.slot_counts().free, slots / 2);
                round
            },
        );
    }
    group.finish();
}

/// All slots are allocated; all task managers go, in the order in which they came, and every grant is notified as lost.
/// The time is that of one task manager of ten slots.
fn unregister_task_manager(criterion: &mut Criterion) {
    let mut group = group_per(
        criterion,
        "unregister task manager of 10 slots",
        SLOTS_PER_TASK_MANAGER as u64,
    );
    let cause: Arc<str> = "its heartbeat timed out".into();
    for slots in SIZES {
        bench(
            &mut group,
            format!("{slots} slots"),
            || (),
            |()| {
                let mut manager = taken_over(slots, |_| true);
                let instance_ids: Vec<_> = (0..slots / SLOTS_PER_TASK_MANAGER).map(instance_id).collect();
                let (time, ()) = timed(|| {
                    for instance_id in &instance_ids {
                        assert!(
                            manager
                                .unregister_task_manager(*instance_id, Arc::clone(&cause))
                                .is_ok()
                        );
                    }
                });
                assert_eq!(manager.slot_counts().registered, 0);
                let actions = manager.close().expect("it was started");
                assert_eq!(actions.failed, slots);
                let mut round = Round::default();
                round.add(instance_ids.len(), time);
                round
            },
        );
    }
    group.finish();
}
