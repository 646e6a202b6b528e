//! Queries about everything at once: flat in the number of slots and of waiting requests. An
//! overview costs one sum, and an explanation one comparison, for each distinct profile (K) of a
//! slot.

use std::hint::black_box;

use criterion::Criterion;
use slot_manager::SlotManagerConfig;

use crate::cluster::{configured, profile_by_task_manager, serve_all, wait};
use crate::measure::{BATCH, Round, bench, group};
use crate::messages::{Requests, SLOTS_PER_TASK_MANAGER, huge_profile};
use crate::outside::{Manager, Prompt};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    overview(criterion);
    explain(criterion);
}

/// Returns a manager with slots of K profiles, half of them allocated, and as many waiting requests
/// as task managers. No slot fits the requests.
fn half_allocated(slots: usize, profiles: usize) -> Manager<Prompt> {
    let profile_of = |slot| profile_by_task_manager(slot, profiles);
    let (mut manager, _) = configured(SlotManagerConfig::default(), slots, profile_of, || Prompt);
    let mut requests = Requests::default();
    serve_all(&mut manager, &mut requests, slots / 2);
    wait(&mut manager, &mut requests, slots / 10, |_| huge_profile());
    manager
}

/// The time is that of one overview.
fn overview(criterion: &mut Criterion) {
    let mut group = group(criterion, "overview");
    for profiles in [1, 27, 1000] {
        for slots in sizes().filter(|slots| slots / SLOTS_PER_TASK_MANAGER >= profiles) {
            bench(
                &mut group,
                format!("K = {profiles}, {slots} slots"),
                || half_allocated(slots, profiles),
                |manager| {
                    let (time, ()) = timed(|| {
                        for _ in 0..BATCH {
                            black_box(black_box(&*manager).overview());
                        }
                    });
                    assert_eq!(manager.overview().slots.allocated.slots, slots / 2);
                    let mut round = Round::default();
                    round.add(BATCH, time);
                    round
                },
            );
        }
    }
    group.finish();
}

/// The time is that of one explanation of a waiting request that no slot fits.
fn explain(criterion: &mut Criterion) {
    let mut group = group(criterion, "explain a waiting request");
    for profiles in [1, 27] {
        for slots in sizes().filter(|slots| slots / SLOTS_PER_TASK_MANAGER >= profiles) {
            let set_up = || {
                let manager = half_allocated(slots, profiles);
                let waiting = manager.pending_slot_requests().map(|request| request.allocation_id());
                let waiting: Vec<_> = waiting.take(BATCH).collect();
                (manager, waiting)
            };
            bench(
                &mut group,
                format!("K = {profiles}, {slots} slots"),
                set_up,
                |(manager, waiting)| {
                    let (time, explained) = timed(|| {
                        let explained = waiting.iter().cycle().take(BATCH);
                        explained
                            .filter(|allocation_id| black_box(manager.explain(**allocation_id)).is_some())
                            .count()
                    });
                    assert_eq!(explained, BATCH);
                    let mut round = Round::default();
                    round.add(explained, time);
                    round
                },
            );
        }
    }
    group.finish();
}
