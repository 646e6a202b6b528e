//! Requests where all slots and requests have one profile: every line is flat.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::{AllocationId, AllocationStatus, CancelOutcome, TaskExecutorGateway};

use crate::SIZES;
use crate::cluster::{BusyCluster, Grant, free, serve, wait, with_free_slots};
use crate::measure::{BATCH, Round, batches, bench, group, timed};
use crate::messages::{Requests, slot_index, usual_profile};
use crate::outside::{Awaited, Manager, Patient, Prompt, started};

pub(crate) fn groups(criterion: &mut Criterion) {
    request_served_at_once(criterion);
    request_waits_then_cancel(criterion);
    cancel(criterion);
    request_in_flight_then_acknowledge(criterion);
    churn(criterion);
}

/// All slots are free; they are requested one after the other, and each is granted within the call.
fn request_served_at_once(criterion: &mut Criterion) {
    let mut group = group(criterion, "request served at once");
    for slots in SIZES {
        let set_up = || {
            let manager = with_free_slots(slots, |_| usual_profile(), || Prompt);
            (manager, Requests::default())
        };
        bench(&mut group, format!("{slots} slots"), set_up, |(manager, requests)| {
            let mut round = Round::default();
            let mut grants = Vec::with_capacity(slots);
            for batch in batches(slots, BATCH) {
                let (time, granted) = serve(manager, requests, batch.len());
                round.add(batch.len(), time);
                grants.extend(granted);
            }
            assert_eq!(manager.slot_counts().allocated, slots);
            free(manager, &grants);
            round
        });
    }
    group.finish();
}

/// There is no slot. Requests come to wait; when all are there they are withdrawn, the oldest first. The time is that
/// of one request and its withdrawal.
fn request_waits_then_cancel(criterion: &mut Criterion) {
    let mut group = group(criterion, "request waits, then cancel");
    for waiting in SIZES {
        let set_up = || (started::<Prompt>().0, Requests::default());
        bench(
            &mut group,
            format!("{waiting} waiting"),
            set_up,
            |(manager, requests)| {
                let mut round = Round::default();
                let waiting_ids = register_all(manager, requests, waiting, &mut round);
                assert_eq!(manager.num_pending_slot_requests(), waiting);
                round.add(0, cancel_all(manager, &waiting_ids));
                round
            },
        );
    }
    group.finish();
}

/// Registers requests that are not granted within the call. Adds the time it took to the round, and returns their ids.
fn register_all<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    requests: &mut Requests,
    count: usize,
    round: &mut Round,
) -> Vec<AllocationId> {
    let mut ids = Vec::with_capacity(count);
    for batch in batches(count, BATCH) {
        let (batch, allocations) = requests.batch(batch.len(), &usual_profile());
        let mut registered = Vec::with_capacity(batch.len());
        let (time, ()) = timed(|| {
            for request in batch {
                registered.push(manager.register_slot_request(request));
            }
        });
        round.add(registered.len(), time);
        ids.extend(allocations);
        // A service drives the manager, so that the delay is armed.
        manager.run_until_stalled();
    }
    ids
}

/// There is no slot. All requests that wait are withdrawn, in the order in which they came or in a random one.
fn cancel(criterion: &mut Criterion) {
    let mut group = group(criterion, "cancel a waiting request");
    for order in ["oldest first", "random order"] {
        for waiting in SIZES {
            let set_up = || {
                let (manager, _) = started::<Prompt>();
                (manager, Requests::default(), ChaCha8Rng::seed_from_u64(5810))
            };
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

/// Withdraws all requests that wait. Returns the time it took.
fn cancel_all(manager: &mut Manager<Prompt>, allocations: &[AllocationId]) -> Duration {
    let (time, cancelled) = timed(|| {
        let mut cancelled = 0;
        for allocation_id in allocations {
            if manager.unregister_slot_request(*allocation_id) == Ok(CancelOutcome::Cancelled) {
                cancelled += 1;
            }
        }
        cancelled
    });
    assert_eq!(cancelled, allocations.len());
    assert_eq!(manager.num_pending_slot_requests(), 0);
    time
}

/// All slots are requested before any task executor answers. Then the answers come, either one after the other, and the
/// manager is polled for each; or all at once before it is polled. The time is that of one request, its answer, and its
/// share of the polls.
fn request_in_flight_then_acknowledge(criterion: &mut Criterion) {
    let mut group = group(criterion, "request in flight, then acknowledge");
    for answers in ["one by one", "all at once"] {
        for slots in SIZES {
            let set_up = || {
                let gateway = Patient::default();
                let manager = with_free_slots(slots, |_| usual_profile(), || gateway.clone());
                (manager, gateway, Requests::default())
            };
            bench(
                &mut group,
                format!("{slots} slots, {answers}"),
                set_up,
                |(manager, gateway, requests)| {
                    let mut round = Round::default();
                    let asked_ids = register_all(manager, requests, slots, &mut round);
                    assert_eq!(manager.slot_counts().in_flight, slots);
                    let answers_per_poll = if answers == "one by one" { 1 } else { slots };
                    round.add(0, acknowledge_all(manager, gateway, answers_per_poll));
                    assert_eq!(manager.slot_counts().allocated, slots);
                    let grants: Vec<_> = asked_ids.into_iter().map(|id| grant_of(manager, id)).collect();
                    free(manager, &grants);
                    round
                },
            );
        }
    }
    group.finish();
}

/// Answers all that is in flight, so many answers before each poll. Returns the time it took.
fn acknowledge_all(manager: &mut Manager<Patient>, gateway: &Patient, answers_per_poll: usize) -> Duration {
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(manager.poll_progress(&mut context), Poll::Pending);
    let asked = gateway.asked.take();
    let (time, applied) = timed(|| {
        let mut applied = 0;
        for answers in asked.chunks(answers_per_poll) {
            answers.iter().for_each(Awaited::acknowledge);
            let expected = applied + answers.len();
            while applied < expected {
                match manager.poll_progress(&mut context) {
                    Poll::Ready(events) => applied += events,
                    Poll::Pending => return applied,
                }
            }
        }
        applied
    });
    assert_eq!(applied, asked.len());
    time
}

fn grant_of(manager: &Manager<Patient>, allocation_id: AllocationId) -> Grant {
    match manager.allocation_status(allocation_id) {
        Some(AllocationStatus::Granted { slot_id }) => (slot_index(&slot_id), allocation_id),
        other => panic!("not granted: {other:?}"),
    }
}

/// Nine slots in ten are used. A slot picked at random is freed, and a slot is requested, which is the one that has
/// been free for the longest time. The time is that of both.
fn churn(criterion: &mut Criterion) {
    let mut group = group(criterion, "churn at 90 % utilisation");
    for slots in SIZES {
        bench(
            &mut group,
            format!("{slots} slots"),
            || BusyCluster::new(slots, 0),
            BusyCluster::churn,
        );
    }
    group.finish();
}
