//! Managers in the state that a group starts from, and the steps that several groups take.

use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::{
    AllocationId, FreeSlotOutcome, RegistrationOutcome, ResourceProfile, SlotId, SlotReport, TaskExecutorGateway,
};

use crate::measure::{BATCH, BATCH_OF_REPORTS, Round, batches, timed};
use crate::messages::{
    Registered, Requests, SLOTS_PER_TASK_MANAGER, connection, granted, huge_profile, report, slot_id, usual_profile,
};
use crate::outside::{Manager, Prompt, started};

/// Registers task managers with so many slots in all. The operation of the round is one slot.
pub(crate) fn register<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    slots: usize,
    gateway: impl Fn() -> G,
    report: impl Fn(usize) -> SlotReport,
) -> Round {
    let mut round = Round::default();
    for batch in batches(slots / SLOTS_PER_TASK_MANAGER, BATCH_OF_REPORTS) {
        let registrations: Vec<_> = batch
            .map(|task_manager| (connection(task_manager, gateway()), report(task_manager)))
            .collect();
        let mut registered = Vec::with_capacity(registrations.len());
        let (time, ()) = timed(|| {
            for (connection, report) in registrations {
                let outcome = manager.register_task_manager(connection, &report);
                registered.push((outcome, report));
            }
        });
        round.add(registered.len() * SLOTS_PER_TASK_MANAGER, time);
        for (outcome, _) in registered {
            assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        }
    }
    assert_eq!(manager.slot_counts().registered, slots);
    // Arms the delay, as it is in a service that is driven.
    manager.run_until_stalled();
    round
}

/// A manager with so many free slots of these profiles.
pub(crate) fn with_free_slots<G: TaskExecutorGateway>(
    slots: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
    gateway: impl Fn() -> G,
) -> Manager<G> {
    let (mut manager, _) = started();
    register(&mut manager, slots, gateway, |task_manager| {
        report(task_manager, &profile_of, |_| false)
    });
    assert_eq!(manager.slot_counts().free, slots);
    manager
}

/// Registers so many requests, which no slot fits.
pub(crate) fn wait<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    requests: &mut Requests,
    waiting: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
) {
    for n in 0..waiting {
        assert!(manager.register_slot_request(requests.request(profile_of(n))).is_ok());
    }
    assert_eq!(manager.num_pending_slot_requests(), waiting);
    manager.run_until_stalled();
}

/// The number of a slot, and the allocation that holds it.
pub(crate) type Grant = (usize, AllocationId);

/// Asks for slots, which are granted at once. Returns the time it took, and the grants.
pub(crate) fn serve(manager: &mut Manager<Prompt>, requests: &mut Requests, count: usize) -> (Duration, Vec<Grant>) {
    let (batch, allocations) = requests.batch(count, &usual_profile());
    let mut registered: Vec<Registered> = Vec::with_capacity(count);
    let (time, ()) = timed(|| {
        for request in batch {
            registered.push(manager.register_slot_request(request));
        }
    });
    (time, registered.iter().map(granted).zip(allocations).collect())
}

/// Frees slots.
pub(crate) fn free<G: TaskExecutorGateway>(manager: &mut Manager<G>, grants: &[Grant]) {
    for (slot, allocation_id) in grants {
        assert_eq!(
            manager.free_slot(&slot_id(*slot), *allocation_id),
            Ok(FreeSlotOutcome::Freed)
        );
    }
}

/// A cluster of which nine slots in ten are used.
pub(crate) struct BusyCluster {
    manager: Manager<Prompt>,
    requests: Requests,
    random: ChaCha8Rng,
    grants: Vec<Grant>,
}

impl BusyCluster {
    /// With so many slots, and so many requests that no slot fits.
    pub(crate) fn new(slots: usize, waiting: usize) -> Self {
        let mut manager = with_free_slots(slots, |_| usual_profile(), || Prompt);
        let mut requests = Requests::default();
        let (_, grants) = serve(&mut manager, &mut requests, slots / 10 * 9);
        wait(&mut manager, &mut requests, waiting, |_| huge_profile());
        Self {
            manager,
            requests,
            random: ChaCha8Rng::seed_from_u64(5810),
            grants,
        }
    }

    /// Frees slots picked at random, and asks for a slot after each.
    pub(crate) fn churn(&mut self) -> Round {
        let (picked, _) = self.grants.partial_shuffle(&mut self.random, BATCH);
        let freed: Vec<(SlotId, AllocationId)> = picked
            .iter()
            .map(|(slot, allocation_id)| (slot_id(*slot), *allocation_id))
            .collect();
        let (batch, allocations) = self.requests.batch(freed.len(), &usual_profile());
        let mut outcomes = Vec::with_capacity(freed.len());
        let manager = &mut self.manager;
        let (time, ()) = timed(|| {
            for ((slot_id, allocation_id), request) in freed.iter().zip(batch) {
                let freed = manager.free_slot(slot_id, *allocation_id);
                outcomes.push((freed, manager.register_slot_request(request)));
            }
        });
        let mut round = Round::default();
        round.add(outcomes.len(), time);
        for ((grant, allocation_id), (freed, registered)) in picked.iter_mut().zip(allocations).zip(&outcomes) {
            assert_eq!(*freed, Ok(FreeSlotOutcome::Freed));
            *grant = (granted(registered), allocation_id);
        }
        round
    }
}
