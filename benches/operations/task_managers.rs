//! Task managers of ten slots each that come and go: flat in the number of task managers,
//! proportional to their slots.

use std::sync::Arc;

use criterion::Criterion;
use slot_manager::outcome::UnregistrationOutcome;

use crate::cluster::{register, taken_over};
use crate::floor::Floor;
use crate::measure::{BATCH_OF_REPORTS, Round, batches, bench, group, group_per};
use crate::messages::{SLOTS_PER_TASK_MANAGER, instance_id, report, usual_profile};
use crate::outside::{Prompt, started};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    register_task_manager(criterion);
    unregister_task_manager(criterion);
}

/// Task managers with free slots register with an empty manager, as after a change of the leader.
/// The time is that of one slot, with the growth of the tables.
fn register_task_manager(criterion: &mut Criterion) {
    let mut group = group(criterion, "register task manager, per slot");
    for slots in sizes() {
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
                assert_eq!(manager.overview().slots.free.slots, slots);
                round
            },
        );
    }
    group.finish();
    floor_of_register(criterion);
}

fn floor_of_register(criterion: &mut Criterion) {
    let mut group = group(criterion, "floor: register task manager, per slot");
    for slots in sizes() {
        bench(
            &mut group,
            format!("{slots} slots"),
            || (),
            |()| {
                let mut floor = Floor::default();
                let mut round = Round::default();
                for batch in batches(slots / SLOTS_PER_TASK_MANAGER, BATCH_OF_REPORTS) {
                    let free = |task_manager| report(task_manager, |_| usual_profile(), |_| false);
                    let registrations: Vec<_> = batch.map(|number| (instance_id(number), free(number))).collect();
                    let (time, ()) = timed(|| {
                        for (instance_id, report) in &registrations {
                            assert!(floor.register(*instance_id, report));
                        }
                    });
                    round.add(registrations.len() * SLOTS_PER_TASK_MANAGER, time);
                }
                assert_eq!(floor.num_free(), slots);
                round
            },
        );
    }
    group.finish();
}

/// All slots are allocated. All task managers are unregistered in the order of their registration,
/// and each grant is notified as lost. The time is that of one task manager of ten slots.
fn unregister_task_manager(criterion: &mut Criterion) {
    let mut group = group_per(
        criterion,
        "unregister task manager of 10 slots",
        SLOTS_PER_TASK_MANAGER as u64,
    );
    let cause: Arc<str> = "its heartbeat timed out".into();
    for slots in sizes() {
        bench(
            &mut group,
            format!("{slots} slots"),
            || (),
            |()| {
                let mut manager = taken_over(slots, |_| true);
                let instance_ids: Vec<_> = (0..slots / SLOTS_PER_TASK_MANAGER).map(instance_id).collect();
                let (time, ()) = timed(|| {
                    for instance_id in &instance_ids {
                        let outcome = manager.unregister_task_manager(*instance_id, Arc::clone(&cause));
                        assert_eq!(outcome, UnregistrationOutcome::Unregistered);
                    }
                });
                assert_eq!(manager.overview().slots.registered.slots, 0);
                let actions = manager.suspend().expect("it was started");
                assert_eq!(actions.failed, slots);
                let mut round = Round::default();
                round.add(instance_ids.len(), time);
                round
            },
        );
    }
    group.finish();
    floor_of_unregister(criterion);
}

fn floor_of_unregister(criterion: &mut Criterion) {
    let mut group = group_per(
        criterion,
        "floor: unregister task manager of 10 slots",
        SLOTS_PER_TASK_MANAGER as u64,
    );
    for slots in sizes() {
        bench(
            &mut group,
            format!("{slots} slots"),
            || (),
            |()| {
                let mut floor = Floor::taken_over(slots, |_| true);
                let instance_ids: Vec<_> = (0..slots / SLOTS_PER_TASK_MANAGER).map(instance_id).collect();
                let (time, ()) = timed(|| {
                    for instance_id in &instance_ids {
                        assert!(floor.unregister(*instance_id));
                    }
                });
                assert_eq!(floor.num_granted(), 0);
                let mut round = Round::default();
                round.add(instance_ids.len(), time);
                round
            },
        );
    }
    group.finish();
}
