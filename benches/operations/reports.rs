//! Reports of task managers of ten slots each: flat in the number of task managers and of waiting
//! requests, proportional to their slots.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};

use crate::cluster::{report_all, taken_over, wait};
use crate::floor::Floor;
use crate::inputs::Inputs;
use crate::measure::{Round, bench, group_per};
use crate::messages::{Requests, SLOTS_PER_TASK_MANAGER, huge_profile, report, usual_profile};
use crate::outside::{Manager, Prompt};
use crate::sizes;

/// The slots of the cluster for the groups with waiting requests.
const SLOTS: usize = 10_000;

pub(crate) fn groups(criterion: &mut Criterion) {
    unchanged_report(criterion);
    changed_report(criterion);
    unchanged_report_while_requests_wait(criterion);
    changed_report_while_requests_wait(criterion);
}

/// Returns a group whose operation is one report of ten slots.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    group_per(criterion, name, SLOTS_PER_TASK_MANAGER as u64)
}

/// Returns `true` for the slots that allocations hold: every second one.
fn is_odd(slot: usize) -> bool {
    slot % 2 == 1
}

/// Half of the slots are allocated, and the reports show it: the heartbeat of a quiet cluster. The
/// time is that of one report of ten slots.
fn unchanged_report(criterion: &mut Criterion) {
    fn measure<I: Inputs>(mut group: BenchmarkGroup<'_, WallTime>, manager: impl Fn(usize) -> I) {
        for slots in sizes() {
            bench(
                &mut group,
                format!("{slots} slots"),
                || manager(slots),
                |manager| report_unchanged(manager, slots),
            );
        }
        group.finish();
    }
    measure(group(criterion, "unchanged report of 10 slots"), |slots| {
        taken_over(slots, is_odd)
    });
    measure(group(criterion, "floor: unchanged report of 10 slots"), |slots| {
        Floor::taken_over(slots, is_odd)
    });
}

fn report_unchanged(manager: &mut impl Inputs, slots: usize) -> Round {
    let round = report_all(manager, slots / SLOTS_PER_TASK_MANAGER, |task_manager| {
        report(task_manager, |_| usual_profile(), is_odd)
    });
    assert_eq!(manager.num_free(), slots / 2);
    round
}

/// Half of the slots are allocated. Each task manager reports that one more of its slots is
/// allocated, and later that it is free again, which is a notified loss. The time is that of one
/// report of ten slots, the mean of both kinds.
fn changed_report(criterion: &mut Criterion) {
    let mut group = group(criterion, "report of 10 slots, 1 changed");
    for slots in sizes() {
        bench(
            &mut group,
            format!("{slots} slots"),
            || taken_over(slots, is_odd),
            |manager| report_changed(manager, slots),
        );
    }
    group.finish();
}

fn report_changed(manager: &mut Manager<Prompt>, slots: usize) -> Round {
    let is_odd_or_first = |slot| is_odd(slot) || slot % SLOTS_PER_TASK_MANAGER == 0;
    let task_managers = slots / SLOTS_PER_TASK_MANAGER;
    let mut round = report_all(manager, task_managers, |task_manager| {
        report(task_manager, |_| usual_profile(), is_odd_or_first)
    });
    assert_eq!(manager.num_free(), slots / 2 - task_managers);
    round += report_all(manager, task_managers, |task_manager| {
        report(task_manager, |_| usual_profile(), is_odd)
    });
    assert_eq!(manager.num_free(), slots / 2);
    round
}

/// Unchanged reports of 10,000 slots, while requests that no slot fits keep waiting.
fn unchanged_report_while_requests_wait(criterion: &mut Criterion) {
    let mut group = group(criterion, "unchanged report of 10 slots, others wait");
    for waiting in sizes() {
        bench(
            &mut group,
            format!("{waiting} waiting"),
            || taken_over_while_requests_wait(waiting),
            |manager| report_unchanged(manager, SLOTS),
        );
    }
    group.finish();
}

/// Reports of 10,000 slots with one change each, while requests that no slot fits keep waiting.
/// Every second report brings a free slot that is matched.
fn changed_report_while_requests_wait(criterion: &mut Criterion) {
    let mut group = group(criterion, "report of 10 slots, 1 changed, others wait");
    for waiting in sizes() {
        bench(
            &mut group,
            format!("{waiting} waiting"),
            || taken_over_while_requests_wait(waiting),
            |manager| {
                let round = report_changed(manager, SLOTS);
                assert_eq!(manager.num_waiting(), waiting);
                round
            },
        );
    }
    group.finish();
}

fn taken_over_while_requests_wait(waiting: usize) -> Manager<Prompt> {
    let mut manager = taken_over(SLOTS, is_odd);
    wait(&mut manager, &mut Requests::default(), waiting, |_| huge_profile());
    manager
}
