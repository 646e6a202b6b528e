//! Requests where all slots and requests have one profile: each line is flat. The floor of an
//! operation is measured directly after it.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::AllocationId;

use crate::cluster::{BusyCluster, free_all, serve_all, spreading_out, wait, with_free_slots};
use crate::floor::Floor;
use crate::inputs::Inputs;
use crate::measure::{BATCH, Round, batches, bench, group};
use crate::messages::{Requests, usual_profile};
use crate::outside::{Manager, Prompt, started};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    request_served_at_once(criterion);
    free(criterion);
    request_waits(criterion);
    request_waits_then_cancel(criterion);
    cancel(criterion);
    churn(criterion);
}

/// Returns a manager with free slots.
fn idle(slots: usize) -> Manager<Prompt> {
    with_free_slots(slots, |_| usual_profile(), || Prompt)
}

/// Returns a manager without slots.
fn empty() -> Manager<Prompt> {
    started().0
}

/// All slots are free. They are requested one after the other, and each is granted within the call.
fn request_served_at_once(criterion: &mut Criterion) {
    fn measure<I: Inputs>(mut group: BenchmarkGroup<'_, WallTime>, manager: impl Fn(usize) -> I) {
        for slots in sizes() {
            let set_up = || (manager(slots), Requests::default());
            bench(&mut group, format!("{slots} slots"), set_up, |(manager, requests)| {
                let (round, grants) = serve_all(manager, requests, slots);
                free_all(manager, &grants);
                round
            });
        }
        group.finish();
    }
    measure(group(criterion, "request served at once"), idle);
    measure(
        group(criterion, "floor: request served at once"),
        Floor::with_free_slots,
    );
    measure(group(criterion, "request served at once, spread out"), spreading_out);
}

/// All slots are granted. They are freed in the order of their grants.
fn free(criterion: &mut Criterion) {
    fn measure<I: Inputs>(mut group: BenchmarkGroup<'_, WallTime>, manager: impl Fn(usize) -> I) {
        for slots in sizes() {
            let set_up = || (manager(slots), Requests::default());
            bench(&mut group, format!("{slots} slots"), set_up, |(manager, requests)| {
                let (_, grants) = serve_all(manager, requests, slots);
                let round = free_all(manager, &grants);
                assert_eq!(manager.num_free(), slots);
                round
            });
        }
        group.finish();
    }
    measure(group(criterion, "free"), idle);
    measure(group(criterion, "floor: free"), Floor::with_free_slots);
}

/// There is no slot. Requests are registered and wait.
fn request_waits(criterion: &mut Criterion) {
    let mut group = group(criterion, "request waits");
    for waiting in sizes() {
        let set_up = || (empty(), Requests::default());
        bench(
            &mut group,
            format!("{waiting} waiting"),
            set_up,
            |(manager, requests)| {
                let (round, waiting_ids) = register_all(manager, requests, waiting);
                assert_eq!(manager.num_waiting(), waiting);
                cancel_all(manager, &waiting_ids);
                round
            },
        );
    }
    group.finish();
}

/// There is no slot. Requests are registered and wait; then all are cancelled, the oldest first.
/// The time is that of one request and its cancellation.
fn request_waits_then_cancel(criterion: &mut Criterion) {
    fn measure<I: Inputs>(mut group: BenchmarkGroup<'_, WallTime>, manager: impl Fn() -> I) {
        for waiting in sizes() {
            let set_up = || (manager(), Requests::default());
            bench(
                &mut group,
                format!("{waiting} waiting"),
                set_up,
                |(manager, requests)| {
                    let (mut round, waiting_ids) = register_all(manager, requests, waiting);
                    assert_eq!(manager.num_waiting(), waiting);
                    round.add(0, cancel_all(manager, &waiting_ids));
                    round
                },
            );
        }
        group.finish();
    }
    measure(group(criterion, "request waits, then cancel"), empty);
    measure(group(criterion, "floor: request waits, then cancel"), || {
        Floor::with_free_slots(0)
    });
}

/// Registers requests that are not granted within the call. Returns their ids; the operation of the
/// round is one request.
pub(crate) fn register_all(
    manager: &mut impl Inputs,
    requests: &mut Requests,
    count: usize,
) -> (Round, Vec<AllocationId>) {
    let mut round = Round::default();
    let mut ids = Vec::with_capacity(count);
    for batch in batches(count, BATCH) {
        let (batch, allocations) = requests.batch(batch.len(), &usual_profile());
        let mut registered = Vec::with_capacity(batch.len());
        let (time, ()) = timed(|| {
            for request in batch {
                registered.push(manager.request(request));
            }
        });
        round.add(registered.len(), time);
        ids.extend(allocations);
        // A service drives the manager, so that the delay is armed.
        manager.drive();
    }
    (round, ids)
}

/// There is no slot. All waiting requests are cancelled, in the order of their registration or in a
/// random one.
fn cancel(criterion: &mut Criterion) {
    let mut group = group(criterion, "cancel a waiting request");
    for order in ["oldest first", "random order"] {
        for waiting in sizes() {
            let set_up = || (empty(), Requests::default(), ChaCha8Rng::seed_from_u64(5810));
            bench(
                &mut group,
                format!("{waiting} waiting, {order}"),
                set_up,
                |(manager, requests, random)| {
                    wait(manager, requests, waiting, |_| usual_profile());
                    let mut allocations: Vec<_> = manager
                        .pending_slot_requests()
                        .map(|request| request.allocation_id())
                        .collect();
                    if order == "random order" {
                        allocations.shuffle(random);
                    }
                    let mut round = Round::default();
                    round.add(waiting, cancel_all(manager, &allocations));
                    round
                },
            );
        }
    }
    group.finish();
}

/// Cancels all waiting requests. Returns the time it took.
fn cancel_all(manager: &mut impl Inputs, allocations: &[AllocationId]) -> Duration {
    let (time, cancelled) = timed(|| {
        allocations
            .iter()
            .filter(|allocation_id| manager.cancel(**allocation_id))
            .count()
    });
    assert_eq!(cancelled, allocations.len());
    assert_eq!(manager.num_waiting(), 0);
    time
}

/// Nine slots in ten are used. A slot picked at random is freed, and a slot is requested: the one
/// that has been free for the longest time, or one of the least used task manager. The time is that
/// of both.
fn churn(criterion: &mut Criterion) {
    fn measure<I: Inputs>(mut group: BenchmarkGroup<'_, WallTime>, manager: impl Fn(usize) -> I) {
        for slots in sizes() {
            bench(
                &mut group,
                format!("{slots} slots"),
                || BusyCluster::new(manager(slots), 0),
                BusyCluster::churn,
            );
        }
        group.finish();
    }
    measure(group(criterion, "churn at 90 % utilisation"), idle);
    measure(
        group(criterion, "floor: churn at 90 % utilisation"),
        Floor::with_free_slots,
    );
    measure(group(criterion, "churn at 90 % utilisation, spread out"), spreading_out);
}
