//! The workloads on the contract floor, for the four rows that it is made for.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{SlotId, SlotRequest, TaskExecutorGateway};

use crate::catalogue::Prepared;
use crate::contract_floor::{ContractFloor, RequestParts};
use crate::messages::{Requests, TaskManager, usual_task_managers};
use crate::outside::{Awaited, Patient, Prompt};
use crate::workloads::{allocation_ids, places};

/// All slots are freed.
pub(crate) fn free(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = Requests::new().usual(slots);
    let allocation_ids = allocation_ids(&requests);
    let requests = parts(&requests);
    Box::new(move |clock| {
        let (mut floor, mut granted) = (ContractFloor::started(), places(slots));
        join(&mut floor, &task_managers, || Prompt);
        request(&mut floor, &mut requests.clone().into_iter(), &mut granted);
        assert_eq!(floor.num_held(), slots);
        let messages: Vec<_> = granted
            .into_iter()
            .flatten()
            .zip(&allocation_ids)
            .map(|(slot_id, allocation_id)| SlotFreed::new(slot_id, *allocation_id))
            .collect();
        let freed = clock.time("free", slots, || {
            messages
                .iter()
                .map(|message| floor.free(message))
                .filter(|outcome| *outcome == SlotFreedOutcome::Freed)
                .count()
        });
        assert_eq!(freed, slots);
        assert_eq!((floor.num_free(), floor.num_held()), (slots, 0));
        assert_eq!(floor.actions.allocated, slots);
    })
}

/// All slots are requested before any task executor answers. Then the answers arrive one after the
/// other, with a poll for each.
pub(crate) fn in_flight(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = parts(&Requests::new().usual(slots));
    Box::new(move |clock| {
        let (mut floor, gateway) = (ContractFloor::started(), Patient::default());
        gateway.asked.borrow_mut().reserve(slots);
        join(&mut floor, &task_managers, || gateway.clone());
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(slots));
        clock.time("both", slots, || request(&mut floor, &mut requests, &mut granted));
        assert_eq!((floor.num_in_flight(), floor.num_pending()), (slots, slots));
        arm(&mut floor);
        let asked = gateway.asked.take();
        let applied = clock.time("both", 0, || acknowledge(&mut floor, &asked));
        assert_eq!(applied, slots);
        assert_eq!(
            (floor.num_held(), floor.num_in_flight(), floor.num_pending()),
            (slots, 0, 0)
        );
        assert_eq!(floor.actions.allocated, slots);
    })
}

/// Gives the answers. Returns the number of applied ones.
fn acknowledge(floor: &mut ContractFloor<Patient>, asked: &[Awaited]) -> usize {
    let context = Context::from_waker(Waker::noop());
    let mut applied = 0;
    for answer in asked {
        answer.acknowledge();
        if let Poll::Ready(events) = floor.poll_progress(&context) {
            applied += events;
        }
    }
    applied
}

/// Requests wait and are cancelled.
pub(crate) fn waiting(waiting: usize, _: usize) -> Prepared {
    let requests = Requests::new().usual(waiting);
    let allocation_ids = allocation_ids(&requests);
    let requests = parts(&requests);
    Box::new(move |clock| {
        let mut floor = ContractFloor::<Prompt>::started();
        let requests = requests.clone().into_iter();
        let waits = SlotRequestOutcome::Accepted(AllocationStatus::Waiting);
        let accepted = clock.time("both", waiting, || {
            requests
                .map(|request| floor.request(request))
                .filter(|outcome| *outcome == waits)
                .count()
        });
        assert_eq!((accepted, floor.num_pending()), (waiting, waiting));
        arm(&mut floor);
        let cancelled = clock.time("both", 0, || {
            let ids = allocation_ids.iter();
            ids.map(|allocation_id| floor.cancel(*allocation_id))
                .filter(|outcome| *outcome == CancelOutcome::Cancelled)
                .count()
        });
        assert_eq!((cancelled, floor.num_pending()), (waiting, 0));
    })
}

/// All slots were requested and granted. All task managers are unregistered in the order of their
/// registration.
pub(crate) fn unregister(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requests = parts(&Requests::new().usual(slots));
    let cause: Arc<str> = "its heartbeat timed out".into();
    Box::new(move |clock| {
        let mut floor = ContractFloor::started();
        join(&mut floor, &task_managers, || Prompt);
        request(&mut floor, &mut requests.clone().into_iter(), &mut places(slots));
        assert_eq!(floor.num_held(), slots);
        let gone = clock.time("task-manager", task_managers.len(), || {
            task_managers
                .iter()
                .map(|task_manager| floor.unregister(task_manager.instance_id, Arc::clone(&cause)))
                .filter(|outcome| *outcome == UnregistrationOutcome::Unregistered)
                .count()
        });
        assert_eq!(gone, task_managers.len());
        assert_eq!((floor.num_held(), floor.actions.failed), (0, slots));
    })
}

fn parts(requests: &[SlotRequest]) -> Vec<RequestParts> {
    let parts = |request: &SlotRequest| RequestParts {
        job_id: request.job_id(),
        allocation_id: request.allocation_id(),
        resource_profile: request.resource_profile().clone(),
        target_address: Arc::clone(request.target_address()),
    };
    requests.iter().map(parts).collect()
}

/// Registers task managers.
fn join<G: TaskExecutorGateway>(floor: &mut ContractFloor<G>, task_managers: &[TaskManager], gateway: impl Fn() -> G) {
    for task_manager in task_managers {
        floor.register(task_manager.instance_id, gateway(), &task_manager.report);
    }
    arm(floor);
}

/// Registers requests, and keeps the granted slots.
fn request<G: TaskExecutorGateway>(
    floor: &mut ContractFloor<G>,
    requests: &mut IntoIter<RequestParts>,
    slots: &mut [Option<SlotId>],
) {
    for (slot, request) in slots.iter_mut().zip(requests) {
        *slot = match floor.request(request) {
            SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }) => Some(slot_id),
            _ => None,
        };
    }
}

/// Arms the delay.
fn arm<G: TaskExecutorGateway>(floor: &mut ContractFloor<G>) {
    let events = floor.poll_progress(&Context::from_waker(Waker::noop()));
    assert_eq!(events, Poll::Pending);
}
