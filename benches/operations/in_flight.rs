//! Slots in flight: each line is flat in their number.

use std::future::{Pending, pending};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, SlotAnswer, SlotResult};
use slot_manager::outcome::{AllocationStatus, SlotAnswerOutcome};
use slot_manager::{AllocationId, TaskExecutorGateway};

use crate::cluster::{BusyCluster, Grant, free_all, register_more, with_free_slots};
use crate::inputs::Inputs;
use crate::measure::{Round, bench, group};
use crate::messages::{Requests, growing_profile, report, slot_index, usual_profile};
use crate::outside::{Awaited, Mailbox, Manager, Patient};
use crate::requests::register_all;
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    request_in_flight_then_acknowledge(criterion);
    churn_while_others_are_in_flight(criterion);
}

/// All slots are requested before any task executor answers. Then the answers arrive by futures:
/// one after the other with a poll for each, or all at once before a poll. With `Later` each answer
/// is an input, which needs no poll. The time is that of one request, its answer and its share of
/// the polls.
fn request_in_flight_then_acknowledge(criterion: &mut Criterion) {
    let mut group = group(criterion, "request in flight, then acknowledge");
    for answers in ["one by one", "all at once"] {
        for slots in sizes() {
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
                    let answers_per_poll = if answers == "one by one" { 1 } else { slots };
                    request_all(manager, requests, slots, |manager| {
                        acknowledge_all(manager, gateway, answers_per_poll)
                    })
                },
            );
        }
    }
    for slots in sizes() {
        let set_up = || {
            let gateway = Mailbox::default();
            let manager = with_free_slots(slots, |_| usual_profile(), || gateway.clone());
            (manager, gateway, Requests::default())
        };
        bench(
            &mut group,
            format!("{slots} slots, with Later"),
            set_up,
            |(manager, gateway, requests)| {
                request_all(manager, requests, slots, |manager| answer_all(manager, gateway))
            },
        );
    }
    group.finish();
}

/// Requests all slots, lets `acknowledge` give the answers, and frees the slots. The operation of
/// the round is one request and its answer.
fn request_all<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    requests: &mut Requests,
    slots: usize,
    acknowledge: impl FnOnce(&mut Manager<G>) -> Duration,
) -> Round {
    let (mut round, asked_ids) = register_all(manager, requests, slots);
    assert_eq!(manager.overview().slots.in_flight.slots, slots);
    round.add(0, acknowledge(manager));
    assert_eq!(manager.overview().slots.allocated.slots, slots);
    let grants: Vec<_> = asked_ids.into_iter().map(|id| grant_of(manager, id)).collect();
    free_all(manager, &grants);
    round
}

/// Gives all open answers, with a poll after each group of answers. Returns the time it took.
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

/// Gives all open answers as inputs. Returns the time it took.
fn answer_all(manager: &mut Manager<Mailbox>, gateway: &Mailbox) -> Duration {
    let asked = gateway.asked.take();
    let (time, applied) = timed(|| {
        asked
            .iter()
            .map(|attempt_id| manager.answer_slot_request(*attempt_id, Ok(Acknowledge::new())))
            .filter(|outcome| *outcome == SlotAnswerOutcome::Applied)
            .count()
    });
    assert_eq!(applied, asked.len());
    time
}

fn grant_of<G: TaskExecutorGateway>(manager: &Manager<G>, allocation_id: AllocationId) -> Grant {
    match manager.allocation_status(allocation_id) {
        Some(AllocationStatus::Granted { slot_id }) => (slot_index(&slot_id), allocation_id),
        other => panic!("not granted: {other:?}"),
    }
}

/// Churn at 90 % utilisation of 10,000 slots, while other task managers do not answer. The time is
/// that of freeing a slot and of a request that is served at once.
fn churn_while_others_are_in_flight(criterion: &mut Criterion) {
    const SLOTS: usize = 10_000;
    let mut group = group(criterion, "churn of 10000 slots, others in flight");
    for in_flight in sizes() {
        bench(
            &mut group,
            format!("{in_flight} in flight"),
            || {
                let mut manager = with_free_slots(SLOTS, |_| usual_profile(), || Responsive::Prompt);
                let requests = ask_in_vain(&mut manager, SLOTS, in_flight);
                BusyCluster::after(manager, requests, 0)
            },
            |cluster| {
                let round = cluster.churn();
                assert_eq!(cluster.manager().overview().slots.in_flight.slots, in_flight);
                round
            },
        );
    }
    group.finish();
}

/// Registers more slots, of task managers that do not answer, and requests all of them. Returns the
/// requests.
fn ask_in_vain(manager: &mut Manager<Responsive>, present: usize, slots: usize) -> Requests {
    // These slots are larger than the others, so the requests fit no other slot. They are never
    // free again, so the churn does not meet them.
    let larger = growing_profile(1);
    register_more(
        manager,
        present,
        slots,
        || Responsive::Silent,
        |task_manager| report(task_manager, |_| larger.clone(), |_| false),
    );
    let mut requests = Requests::default();
    for _ in 0..slots {
        let registered = manager.request(requests.request(larger.clone()));
        assert_eq!(Manager::<Responsive>::granted_slot(&registered), None);
    }
    manager.drive();
    assert_eq!(manager.overview().slots.in_flight.slots, slots);
    requests
}

/// A task executor that acknowledges at once, or never answers.
enum Responsive {
    Prompt,
    Silent,
}

impl TaskExecutorGateway for Responsive {
    type RequestSlotFuture = Pending<SlotResult>;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Pending<SlotResult>> {
        match self {
            Self::Prompt => SlotAnswer::Ready(Ok(Acknowledge::new())),
            Self::Silent => SlotAnswer::Future(pending()),
        }
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}
