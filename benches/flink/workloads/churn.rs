//! Nine slots in ten are used. One of the used slots, picked at random, is freed, and one slot is
//! requested.

use std::vec::IntoIter;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::SlotFreedOutcome;
use slot_manager::{SlotRequest, TaskExecutorGateway};

use crate::catalogue::Prepared;
use crate::gateway::PromptOrPatient;
use crate::messages::{Requests, huge_profile, task_managers, usual_task_managers};
use crate::outside::{Manager, Patient, Prompt, started};
use crate::workloads::{allocation_ids, arm, granted, join, places, request, wait};

const SLOTS_WHERE_OTHERS_ARE_PENDING: usize = 10_000;
const FIRST_OF_THE_OTHERS: usize = 1 << 20;

pub(crate) fn alone(slots: usize, operations: usize) -> Prepared {
    prepare(slots, operations, Requests::new(), || Prompt, |_| ())
}

/// Churns while requests that no slot fits wait.
pub(crate) fn others_wait(waiting: usize, operations: usize) -> Prepared {
    let mut requests = Requests::new();
    let others = requests.of(waiting, |_| huge_profile());
    let slots = SLOTS_WHERE_OTHERS_ARE_PENDING;
    prepare(
        slots,
        operations,
        requests,
        || Prompt,
        move |manager| {
            assert_eq!(wait(manager, &mut others.clone().into_iter()), waiting);
            assert_eq!(manager.overview().pending_requests, waiting);
        },
    )
}

/// Churns while requests are in flight to other task managers.
pub(crate) fn others_in_flight(in_flight: usize, operations: usize) -> Prepared {
    let mut requests = Requests::new();
    let others = requests.of(in_flight, |_| huge_profile());
    let other_task_managers = task_managers(FIRST_OF_THE_OTHERS, in_flight, |_| huge_profile(), |_| false);
    let slots = SLOTS_WHERE_OTHERS_ARE_PENDING;
    let prompt = || PromptOrPatient::Prompt(Prompt);
    prepare(slots, operations, requests, prompt, move |manager| {
        let gateway = Patient::default();
        join(manager, &other_task_managers, || {
            PromptOrPatient::Patient(gateway.clone())
        });
        assert_eq!(wait(manager, &mut others.clone().into_iter()), in_flight);
        assert_eq!(manager.overview().slots.in_flight.slots, in_flight);
    })
}

/// Prepares the workload. `others` adds the pending requests to the manager.
fn prepare<G: TaskExecutorGateway + 'static>(
    slots: usize,
    operations: usize,
    mut requests: Requests,
    gateway: fn() -> G,
    others: impl Fn(&mut Manager<G>) + 'static,
) -> Prepared {
    let used = used(slots);
    let task_managers = usual_task_managers(slots);
    let requests = requests.usual(used + operations);
    let allocation_ids = allocation_ids(&requests);
    let picks = picks(used, operations);
    Box::new(move |clock| {
        let (mut manager, _) = started();
        join(&mut manager, &task_managers, gateway);
        let (mut requests, mut granted) = (requests.clone().into_iter(), places(used));
        request(&mut manager, &mut requests, &mut granted);
        others(&mut manager);
        arm(&mut manager);
        let counts = manager.overview().slots.counts();
        assert_eq!(counts.free, slots - used);
        let slot_ids = granted.into_iter().flatten();
        let mut grants: Vec<SlotFreed> = slot_ids
            .zip(&allocation_ids)
            .map(|(slot_id, allocation_id)| SlotFreed::new(slot_id, *allocation_id))
            .collect();
        assert_eq!(grants.len(), used);
        let freed = clock.time("both", operations, || {
            churn(&mut manager, &mut grants, &picks, &mut requests)
        });
        assert_eq!(freed, operations);
        assert_eq!(manager.overview().slots.counts(), counts);
    })
}

/// Returns the number of used slots.
pub(crate) fn used(slots: usize) -> usize {
    slots / 10 * 9
}

/// Returns the used slot that each operation frees.
pub(crate) fn picks(used: usize, operations: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(5810);
    (0..operations).map(|_| random.random_range(0..used)).collect()
}

/// Frees and requests slots. Each grant is kept as the message that will free its slot. Returns the
/// number of freed slots.
fn churn<G: TaskExecutorGateway>(
    manager: &mut Manager<G>,
    grants: &mut [SlotFreed],
    picks: &[usize],
    requests: &mut IntoIter<SlotRequest>,
) -> usize {
    let mut freed = 0;
    for (pick, request) in picks.iter().zip(requests) {
        let grant = &mut grants[*pick];
        let outcome = manager.slot_freed(grant);
        freed += usize::from(outcome == SlotFreedOutcome::Freed);
        let allocation_id = request.allocation_id();
        if let Some(slot_id) = granted(manager.register_slot_request(request)) {
            *grant = SlotFreed::new(slot_id, allocation_id);
        }
    }
    freed
}
