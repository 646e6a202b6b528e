//! Requests that find a free slot.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::{Acknowledge, AttemptId, SlotFreed};
use slot_manager::outcome::SlotAnswerOutcome;
use slot_manager::{LeaderId, SlotManager, SlotManagerConfig, TaskExecutorGateway};

use crate::catalogue::Prepared;
use crate::messages::{Requests, usual_task_managers};
use crate::outside::{Awaited, Count, Counter, Mailbox, Manager, Patient, Prompt, started};
use crate::workloads::{allocation_ids, arm, connections, free, join, places, register, request};

/// All slots are registered, requested, granted and freed.
pub(crate) fn all_slots(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    let allocation_ids = allocation_ids(&requests);
    Box::new(move |clock| {
        let (mut manager, _) = started();
        let mut registrations = connections(&task_managers, || Prompt);
        let registered = clock.time("register", slots, || {
            register(&mut manager, &task_managers, &mut registrations)
        });
        assert_eq!(registered, task_managers.len());
        arm(&mut manager);
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(slots));
        clock.time("request", slots, || request(&mut manager, &mut requests, &mut granted));
        assert_eq!(manager.overview().slots.allocated.slots, slots);
        let messages: Vec<_> = granted
            .into_iter()
            .flatten()
            .zip(&allocation_ids)
            .map(|(slot_id, allocation_id)| SlotFreed::new(slot_id, *allocation_id))
            .collect();
        let freed = clock.time("free", slots, || free(&mut manager, &messages));
        assert_eq!(freed, slots);
        assert_eq!(manager.overview().slots.free.slots, slots);
    })
}

/// All slots are requested before any task executor answers. Then the answers arrive one after the
/// other, with a poll for each.
pub(crate) fn in_flight(slots: usize, _: usize) -> Prepared {
    request_then(slots, |gateway: &Patient| &gateway.asked, acknowledge)
}

/// The same with answers that are inputs, which need no poll.
pub(crate) fn in_flight_with_later(slots: usize, _: usize) -> Prepared {
    request_then(slots, |gateway: &Mailbox| &gateway.asked, answer)
}

/// Prepares requests for all slots. `asked` returns the open answers, and `acknowledge` gives them.
fn request_then<G: TaskExecutorGateway + Clone + Default + 'static, A: 'static>(
    slots: usize,
    asked: fn(&G) -> &RefCell<Vec<A>>,
    acknowledge: fn(&mut Manager<G>, &[A]) -> usize,
) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    Box::new(move |clock| {
        let (mut manager, _) = started();
        let gateway = G::default();
        asked(&gateway).borrow_mut().reserve(slots);
        join(&mut manager, &task_managers, || gateway.clone());
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(slots));
        clock.time("both", slots, || request(&mut manager, &mut requests, &mut granted));
        assert_eq!(manager.overview().slots.in_flight.slots, slots);
        arm(&mut manager);
        let asked = asked(&gateway).take();
        let applied = clock.time("both", 0, || acknowledge(&mut manager, &asked));
        assert_eq!(applied, slots);
        assert_eq!(manager.overview().slots.allocated.slots, slots);
    })
}

/// Gives the answers. Returns the number of applied ones.
fn acknowledge(manager: &mut Manager<Patient>, asked: &[Awaited]) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut applied = 0;
    for answer in asked {
        answer.acknowledge();
        if let Poll::Ready(events) = manager.poll_progress(&mut context) {
            applied += events;
        }
    }
    applied
}

/// Gives the answers as inputs. Returns the number of applied ones.
fn answer(manager: &mut Manager<Mailbox>, asked: &[AttemptId]) -> usize {
    asked
        .iter()
        .map(|attempt_id| manager.answer_slot_request(*attempt_id, Ok(Acknowledge::new())))
        .filter(|outcome| *outcome == SlotAnswerOutcome::Applied)
        .count()
}

/// Each request takes a slot of the least used task manager.
pub(crate) fn spread_out(slots: usize, operations: usize) -> Prepared {
    let config = SlotManagerConfig::default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization);
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(operations);
    Box::new(move |clock| {
        let mut manager = SlotManager::new(config.clone(), Counter::default()).expect("the configuration is valid");
        let leader_id = LeaderId::from_u128(1);
        manager
            .start(leader_id, Count::default())
            .expect("it is not started yet");
        join(&mut manager, &task_managers, || Prompt);
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(operations));
        clock.time("request", operations, || {
            request(&mut manager, &mut requests, &mut granted);
        });
        assert_eq!(manager.overview().slots.allocated.slots, operations);
    })
}
