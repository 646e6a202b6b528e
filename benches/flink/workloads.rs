//! The workloads on this crate, and their shared steps.
//!
//! In each workload the messages and the places for results exist before the clock starts, and are
//! dropped after it has stopped.

pub(crate) mod churn;
pub(crate) mod contract_floor;
pub(crate) mod declarations;
pub(crate) mod dynamic_workers;
pub(crate) mod floor;
pub(crate) mod matching;
pub(crate) mod requests;
pub(crate) mod task_managers;
pub(crate) mod waiting;

use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use slot_manager::error::SlotRequestError;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{AllocationStatus, RegistrationOutcome, SlotFreedOutcome, SlotRequestOutcome};
use slot_manager::{AllocationId, SlotId, SlotRequest, TaskExecutorConnection, TaskExecutorGateway};

use crate::messages::TaskManager;
use crate::outside::Manager;

/// Returns places for granted slots.
fn places(count: usize) -> Vec<Option<SlotId>> {
    vec![None; count]
}

/// Returns the slot that was granted within the call, if any.
fn granted(outcome: Result<SlotRequestOutcome, SlotRequestError>) -> Option<SlotId> {
    match outcome {
        Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })) => Some(slot_id),
        _ => None,
    }
}

fn allocation_ids(requests: &[SlotRequest]) -> Vec<AllocationId> {
    requests.iter().map(SlotRequest::allocation_id).collect()
}

/// Registers task managers without measuring it.
fn join<G: TaskExecutorGateway>(manager: &mut Manager<G>, task_managers: &[TaskManager], gateway: impl Fn() -> G) {
    let registered = register(manager, task_managers, &mut connections(task_managers, gateway));
    assert_eq!(registered, task_managers.len());
    arm(manager);
}

fn connections<G>(task_managers: &[TaskManager], gateway: impl Fn() -> G) -> IntoIter<TaskExecutorConnection<G>> {
    let connections: Vec<_> = task_managers.iter().map(|known| known.connection(gateway())).collect();
    connections.into_iter()
}

/// Registers task managers. Returns the number of registered ones.
fn register<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    task_managers: &[TaskManager],
    connections: &mut IntoIter<TaskExecutorConnection<G>>,
) -> usize {
    task_managers
        .iter()
        .zip(connections)
        .map(|(task_manager, connection)| manager.register_task_manager(connection, &task_manager.report))
        .filter(|outcome| *outcome == Ok(RegistrationOutcome::Registered))
        .count()
}

/// Registers requests, and keeps the granted slots.
fn request<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    requests: &mut IntoIter<SlotRequest>,
    slots: &mut [Option<SlotId>],
) {
    for (slot, request) in slots.iter_mut().zip(requests) {
        *slot = granted(manager.register_slot_request(request));
    }
}

/// Frees slots. Returns the number of freed slots.
fn free<G: TaskExecutorGateway>(manager: &mut Manager<G>, messages: &[SlotFreed]) -> usize {
    messages
        .iter()
        .map(|message| manager.slot_freed(message))
        .filter(|freed| *freed == SlotFreedOutcome::Freed)
        .count()
}

/// Registers requests that are not served within the call. Returns the number of accepted ones.
fn wait<G: TaskExecutorGateway>(manager: &mut Manager<G>, requests: &mut IntoIter<SlotRequest>) -> usize {
    requests
        .map(|request| manager.register_slot_request(request))
        .filter(Result::is_ok)
        .count()
}

/// Arms the delay, as a service does that drives the manager.
fn arm<G: TaskExecutorGateway>(manager: &mut Manager<G>) {
    manager.run_until_stalled();
}

/// Polls until no event is left. Returns the number of handled events.
fn drive<G: TaskExecutorGateway>(manager: &mut Manager<G>) -> usize {
    let mut handled = 0;
    loop {
        match poll(manager) {
            0 => return handled,
            events => handled += events,
        }
    }
}

/// Polls once. Returns the number of handled events.
fn poll<G: TaskExecutorGateway>(manager: &mut Manager<G>) -> usize {
    match manager.poll_progress(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(events) => events,
        Poll::Pending => 0,
    }
}
