//! Searches without a match: waiting requests that no slot fits, free slots that are too small.
//! Each line is flat in the number of requests and slots. Matching costs one comparison for each
//! distinct profile (K) of waiting requests or free slots.

use criterion::Criterion;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::SlotFreedOutcome;

use crate::cluster::{BusyCluster, register, wait, with_free_slots};
use crate::measure::{BATCH, Round, bench, group};
use crate::messages::{Requests, granted, growing_profile, report, separate_profile, slot_id, usual_profile};
use crate::outside::{Prompt, started};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    churn_while_requests_wait(criterion);
    drain(criterion);
    only_the_largest_fits(criterion);
}

/// Churn at 90 % utilisation of 10,000 slots, while requests that no slot fits keep waiting.
fn churn_while_requests_wait(criterion: &mut Criterion) {
    let mut group = group(criterion, "churn of 10000 slots, others wait");
    for waiting in sizes() {
        bench(
            &mut group,
            format!("{waiting} waiting"),
            || {
                let manager = with_free_slots(10_000, |_| usual_profile(), || Prompt);
                BusyCluster::new(manager, waiting)
            },
            BusyCluster::churn,
        );
    }
    group.finish();
}

/// Requests of K profiles wait. Task managers register until all are served; a slot fits the
/// requests of one profile only. The time is that of one slot that registers and serves a request.
fn drain(criterion: &mut Criterion) {
    let mut group = group(criterion, "drain by arriving task managers");
    for profiles in [1, 100] {
        for waiting in sizes() {
            let parameter = format!("K = {profiles}, {waiting} waiting");
            bench(
                &mut group,
                parameter,
                || (),
                |()| {
                    let profile_of = |n: usize| separate_profile(n % profiles, profiles);
                    let (mut manager, _) = started();
                    wait(&mut manager, &mut Requests::default(), waiting, profile_of);
                    let round = register(
                        &mut manager,
                        waiting,
                        || Prompt,
                        |task_manager| report(task_manager, profile_of, |_| false),
                    );
                    assert_eq!(manager.overview().slots.allocated.slots, waiting);
                    assert_eq!(manager.overview().pending_requests, 0);
                    round
                },
            );
        }
    }
    group.finish();
}

/// Free slots of K profiles, in the order of their size, the smallest free for the longest time. A
/// slot of the largest profile is requested, and freed again. The time is that of both.
fn only_the_largest_fits(criterion: &mut Criterion) {
    let mut group = group(criterion, "request only the largest fits, then free");
    for profiles in [1, 10, 100, 1_000, 10_000] {
        for slots in sizes().filter(|slots| *slots >= profiles) {
            let set_up = || {
                let manager = with_free_slots(slots, |slot| growing_profile(slot * profiles / slots), || Prompt);
                (manager, Requests::default(), 0)
            };
            bench(
                &mut group,
                format!("K = {profiles}, {slots} slots"),
                set_up,
                |(manager, requests, served)| {
                    // The largest slots take turns, so the slot that serves a request is known
                    // before.
                    let largest = slots / profiles;
                    let expected: Vec<_> = (*served..*served + BATCH)
                        .map(|n| slots - largest + n % largest)
                        .collect();
                    *served += BATCH;
                    let (batch, allocations) = requests.batch(BATCH, &growing_profile(profiles - 1));
                    let slots_freed: Vec<_> = expected
                        .iter()
                        .zip(allocations)
                        .map(|(slot, allocation_id)| SlotFreed::new(slot_id(*slot), allocation_id))
                        .collect();
                    let mut outcomes = Vec::with_capacity(BATCH);
                    let (time, ()) = timed(|| {
                        for (request, freed) in batch.into_iter().zip(&slots_freed) {
                            let registered = manager.register_slot_request(request);
                            outcomes.push((registered, manager.slot_freed(freed)));
                        }
                    });
                    for ((registered, freed), slot) in outcomes.iter().zip(expected) {
                        assert_eq!(granted(registered), slot);
                        assert_eq!(*freed, SlotFreedOutcome::Freed);
                    }
                    let mut round = Round::default();
                    round.add(BATCH, time);
                    round
                },
            );
        }
    }
    group.finish();
}
