//! A job that declares the slots that it needs in all. The manager is driven after each change.

use std::time::Duration;

use slot_manager::message::SlotFreed;
use slot_manager::outcome::{RequirementsOutcome, SlotFreedOutcome};
use slot_manager::{ResourceRequirements, TaskExecutorGateway};

use crate::catalogue::Prepared;
use crate::messages::{SLOTS_PER_TASK_MANAGER, requirements, usual_task_managers};
use crate::outside::{Counter, Manager, Prompt, Recorder, started};
use crate::workloads::{drive, free, join};

/// The slots that a job declares one by one: those of one task manager.
const SPARE_SLOTS: usize = SLOTS_PER_TASK_MANAGER;

/// The manager requests the slots of a large declaration in batches, a millisecond apart.
const BATCH_INTERVAL: Duration = Duration::from_millis(1);

/// A job declares all free slots, and all are served.
pub(crate) fn all(slots: usize, _: usize) -> Prepared {
    let task_managers = usual_task_managers(slots);
    let requirements = requirements(slots);
    Box::new(move |clock| {
        let (mut manager, counter) = started();
        join(&mut manager, &task_managers, || Prompt);
        let requested = clock.time("slot", slots, || declare(&mut manager, &counter, &requirements));
        assert_eq!(requested, slots);
        assert_eq!(manager.overview().slots.allocated.slots, slots);
    })
}

/// A job that holds slots declares one more, which is served, as long as slots are free. Then it
/// gives these back.
pub(crate) fn one_more(slots: usize, operations: usize) -> Prepared {
    let task_managers = usual_task_managers(slots + SPARE_SLOTS);
    let first = requirements(slots);
    let more: Vec<_> = (1..=SPARE_SLOTS).map(|spare| requirements(slots + spare)).collect();
    Box::new(move |clock| {
        let gateway = Recorder::default();
        let (mut manager, counter) = started();
        join(&mut manager, &task_managers, || gateway.clone());
        assert_eq!(declare(&mut manager, &counter, &first), slots);
        gateway.requested.borrow_mut().clear();
        for _ in 0..operations / SPARE_SLOTS {
            assert_eq!(manager.overview().slots.free.slots, SPARE_SLOTS);
            let requested = clock.time("more", SPARE_SLOTS, || {
                more.iter()
                    .map(|requirements| declare(&mut manager, &counter, requirements))
                    .sum::<usize>()
            });
            assert_eq!(requested, SPARE_SLOTS);
            assert_eq!(manager.overview().slots.free.slots, 0);
            declare(&mut manager, &counter, &first);
            assert_eq!(free(&mut manager, &messages_of(&gateway)), SPARE_SLOTS);
        }
    })
}

/// A job that holds all slots gives back a tenth of them: it declares one slot less and frees one,
/// as often. Then it declares all again.
pub(crate) fn one_less(slots: usize, operations: usize) -> Prepared {
    let given_back = slots / 10;
    let task_managers = usual_task_managers(slots);
    let all = requirements(slots);
    let less: Vec<_> = (1..=given_back).map(|number| requirements(slots - number)).collect();
    Box::new(move |clock| {
        let gateway = Recorder::default();
        let (mut manager, counter) = started();
        join(&mut manager, &task_managers, || gateway.clone());
        for _ in 0..operations / given_back {
            declare(&mut manager, &counter, &all);
            assert_eq!(manager.overview().slots.allocated.slots, slots);
            let messages = messages_of(&gateway);
            let last = &messages[messages.len() - given_back..];
            let freed = clock.time("less", given_back, || give_back(&mut manager, &counter, &less, last));
            assert_eq!(freed, given_back);
            assert_eq!(manager.overview().slots.free.slots, given_back);
        }
    })
}

/// Declares requirements and drives the manager until all slots are requested. Returns the number
/// of requested slots.
pub(super) fn declare<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    counter: &Counter,
    requirements: &ResourceRequirements,
) -> usize {
    let outcome = manager.declare_requirements(requirements);
    while drive(manager) > 0 {
        counter.advance(BATCH_INTERVAL);
    }
    match outcome {
        Ok(RequirementsOutcome::Declared { requested, .. }) => requested,
        _ => 0,
    }
}

/// Returns the messages that the recorded slots are free. The gateway keeps no record of them.
pub(super) fn messages_of(gateway: &Recorder) -> Vec<SlotFreed> {
    let mut requested = gateway.requested.borrow_mut();
    requested
        .drain(..)
        .map(|(slot_id, allocation_id)| SlotFreed::new(slot_id, allocation_id))
        .collect()
}

/// Declares one slot less and frees a slot, for each of these. Returns the number of freed slots.
pub(super) fn give_back<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    counter: &Counter,
    requirements: &[ResourceRequirements],
    messages: &[SlotFreed],
) -> usize {
    let mut freed = 0;
    for (requirements, message) in requirements.iter().zip(messages) {
        declare(manager, counter, requirements);
        let outcome = manager.slot_freed(message);
        drive(manager);
        freed += usize::from(outcome == SlotFreedOutcome::Freed);
    }
    freed
}
