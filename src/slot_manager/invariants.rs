//! Everything that must hold between two calls, derived again from the records.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp};

use crate::slot_manager::rules::timers::Timer;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::{SlotTotals, SlotUsage};
use crate::slot_manager::state::slots::{RpcState, SlotPhase};

#[cfg(test)]
mod tests;

/// What does not hold, and should: a defect of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant violated: {0}")]
pub struct InvariantViolation(String);

type Check = Result<(), InvariantViolation>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(InvariantViolation(format!($($message)+)));
        }
    };
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// Checks all that must hold between two calls. O(everything) and more: for tests.
    ///
    /// 1. A slot is in exactly one state, and in the free index iff it is offered. No offered slot fits a waiting
    ///    request that is not backing_off.
    /// 2. An allocation id is in at most one of: waiting, in flight (exactly one slot points back), granted (the
    ///    recorded slot is held by it).
    /// 3. Every slot belongs to exactly one registration, and there is one registration for a worker; counters equal a
    ///    recount. A free slot is blocked iff its task manager is.
    /// 4. A task manager is idle iff none of its slots is used; only idle ones are kept, or asked whether they can go.
    /// 5. Every ungranted request has exactly one deadline, and bindings to promised slots are one to one.
    ///    No worker may be asked for while a request is deferred. A worker request is listed as one that nobody needs only if its slots cover nobody.
    /// 6. No promised slot that covers nothing fits a waiting request that is not covered; deadlines and queues are
    ///    in order.
    /// 7. Not started, everything is empty and no delay is armed.
    ///
    /// # Errors
    /// The first of them that does not hold.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        let core = &self.core;
        check_slots(core)?;
        check_blocking(core)?;
        check_releases(core)?;
        check_worker_policy(core)?;
        check_free_index(core)?;
        check_allocations(core)?;
        check_requests(core)?;
        check_task_managers(core)?;
        check_promised_slots(core)?;
        check_profiles(core)?;
        check_addresses(core)?;
        check_deadlines(core)?;
        check_queues(core)?;
        check_slot_totals(core)?;
        ensure!(core.effects.is_empty(), "effects were not reported: {:?}", core.effects);
        ensure!(
            core.transaction.is_empty(),
            "changes were not settled: {:?}",
            core.transaction
        );
        let awaited = count(core.slots.iter(), |(_, slot)| {
            slot.attempt()
                .is_some_and(|attempt| matches!(attempt.rpc, RpcState::Awaited(_)))
        });
        ensure!(
            self.num_awaited_answers() == awaited,
            "{} futures are kept for {awaited} attempts",
            self.num_awaited_answers()
        );
        if core.leader_id.is_none() {
            ensure!(
                core.slots.len() + core.requests.records.len() + core.task_managers.records.len() == 0
                    && core.allocations.len() + core.promises.len() == 0
                    && core.blocking.workers.is_empty()
                    && core.releases.is_empty()
                    && core.worker_policy.earliest() == Timestamp::MAX
                    && self.armed_for() == Timestamp::MAX,
                "not everything is empty: {self:?}"
            );
        }
        Ok(())
    }
}

fn count<T>(items: impl Iterator<Item = T>, condition: impl Fn(T) -> bool) -> usize {
    items.filter_map(|item| condition(item).then_some(())).count()
}

fn check_slots(core: &Core) -> Check {
    for (key, slot) in core.slots.iter() {
        let owner = core.task_managers.records.get(slot.task_manager);
        ensure!(
            owner.is_some_and(|owner| owner.slot(slot.number) == Some(key)),
            "slot {key:?} is not among the slots of its task manager"
        );
        match slot.phase {
            SlotPhase::Detached => ensure!(false, "slot {} is in no state", core.slot_id(key)),
            SlotPhase::Offered { .. } | SlotPhase::BackingOff { .. } => ensure!(
                !core.is_blocked(slot.task_manager),
                "slot {} is free, and its task manager is blocked",
                core.slot_id(key)
            ),
            SlotPhase::Blocked => ensure!(
                core.is_blocked(slot.task_manager),
                "slot {} is blocked, and its task manager is not",
                core.slot_id(key)
            ),
            SlotPhase::InFlight(attempt) => {
                let request = core.requests.records.get(attempt.request);
                ensure!(
                    request.is_some_and(|request| request.phase == RequestPhase::InFlight(key)),
                    "the request in flight to slot {} does not point back",
                    core.slot_id(key)
                );
                ensure!(
                    matches!(attempt.rpc, RpcState::Awaited(_)),
                    "the answer for slot {} is not awaited",
                    core.slot_id(key)
                );
            }
            SlotPhase::Allocated { allocation, secondary } => {
                let allocation_id = allocation.id;
                let holder = core.find_allocation(allocation_id);
                let others = core.allocations.secondaries().get(&allocation_id);
                let listed = others.is_some_and(|slots| slots.contains(&key));
                ensure!(listed == secondary, "slot {} is a duplicate or not", core.slot_id(key));
                ensure!(
                    (holder == Some(AllocationEntry::Granted(key))) != secondary,
                    "slot {} is held by an allocation that is not granted there",
                    core.slot_id(key)
                );
                ensure!(
                    matches!(holder, Some(AllocationEntry::Granted(_))),
                    "slot {} is held by an allocation that is not granted",
                    core.slot_id(key)
                );
            }
        }
    }
    Ok(())
}

fn check_slot_totals(core: &Core) -> Check {
    let mut recount = SlotTotals::default();
    for (_, slot) in core.slots.iter() {
        recount.add_slots(&core.profiles, slot.profile, 1);
        recount.move_slot(slot.profile, SlotUsage::Free, SlotUsage::of(&slot.phase));
    }
    for (_, promise) in core.promises.records.iter() {
        recount.add_promised(&core.profiles, promise.profile);
    }
    ensure!(
        core.slot_totals.equals(&recount),
        "{:?} is not {recount:?}",
        core.slot_totals
    );
    Ok(())
}

fn check_blocking(core: &Core) -> Check {
    let mut slots = 0;
    for (key, record) in core.task_managers.records.iter() {
        let id = &record.resource_id;
        let is_blocked = core.blocking.workers.contains(id);
        ensure!(
            core.is_blocked(key) == is_blocked,
            "task manager {id} is blocked or not"
        );
        slots += if is_blocked { record.slots.len() } else { 0 };
    }
    ensure!(
        core.blocking.slots == slots,
        "{} slots are counted as blocked, {slots} are",
        core.blocking.slots
    );
    ensure!(
        (core.blocking.task_managers.iter()).all(|key| core.task_managers.records.get(*key).is_some()),
        "a task manager is blocked that is gone"
    );
    Ok(())
}

fn check_releases(core: &Core) -> Check {
    let slots_if_idle = |key| {
        let record = core.task_managers.records.get(key)?;
        record.idle_since.map(|_| record.slots.len())
    };
    ensure!(
        core.releases.is_consistent(slots_if_idle),
        "task managers are kept, or asked, that are not idle: {:?}",
        core.releases
    );
    Ok(())
}

fn check_worker_policy(core: &Core) -> Check {
    let deferred: BTreeSet<_> = (core.requests.records.iter())
        .filter(|(_, request)| request.phase == RequestPhase::Unbound(WorkerAsk::Deferred))
        .map(|(key, request)| (request.sequence, key))
        .collect();
    ensure!(
        *core.worker_policy.deferred() == deferred,
        "requests {:?} are listed as held, {deferred:?} are",
        core.worker_policy.deferred()
    );
    ensure!(
        deferred.is_empty() || core.worker_policy.is_recovering() || core.limit_of_next_worker().is_some(),
        "requests {deferred:?} are held, and a worker may be asked for"
    );
    Ok(())
}

fn check_free_index(core: &Core) -> Check {
    let mut indexed = BTreeSet::new();
    for (profile, key) in core.free_slots.iter(&core.slots) {
        let slot = core.slots.get(key);
        ensure!(
            slot.is_some_and(|slot| slot.profile == profile && matches!(slot.phase, SlotPhase::Offered { .. })),
            "slot {key:?} is in the free index and not offered"
        );
        ensure!(indexed.insert(key), "slot {key:?} is twice in the free index");
    }
    let offered = count(core.slots.iter(), |(_, slot)| {
        matches!(slot.phase, SlotPhase::Offered { .. })
    });
    ensure!(
        indexed.len() == offered,
        "{} slots are in the free index, {offered} are offered",
        indexed.len()
    );
    let offered_profiles: BTreeSet<_> = indexed.iter().map(|key| core.slots[*key].profile).collect();
    for profile in offered_profiles {
        ensure!(
            core.requests.oldest_waiting(&core.profiles, profile).is_none(),
            "an offered slot with {} fits a waiting request",
            core.profiles[profile]
        );
    }
    let slot_backoffs: BTreeSet<_> = core.slot_backoffs.iter(&core.slots).map(|(_, key)| key).collect();
    let backing_off = count(core.slots.iter(), |(_, slot)| {
        matches!(slot.phase, SlotPhase::BackingOff { .. })
    });
    ensure!(
        slot_backoffs.len() == backing_off,
        "{} slots are listed as backing off, {backing_off} are",
        slot_backoffs.len()
    );
    Ok(())
}

fn check_allocations(core: &Core) -> Check {
    let granted = count(core.slots.iter(), |(_, slot)| {
        matches!(slot.phase, SlotPhase::Allocated { secondary: false, .. })
    });
    for (id, slots) in core.allocations.secondaries() {
        ensure!(
            slots.iter().all(|slot| {
                let slot = core.slots.get(*slot);
                slot.is_some_and(|slot| slot.allocation().is_some_and(|allocation| allocation.id == *id))
            }),
            "a duplicate of allocation {id} does not hold it"
        );
    }
    let expected = granted + core.requests.records.len();
    ensure!(
        core.allocations.len() == expected,
        "{} allocations are indexed, there are {expected}",
        core.allocations.len()
    );
    Ok(())
}

fn check_requests(core: &Core) -> Check {
    let requests = &core.requests;
    let registered: Vec<_> = requests.deadlines.iter(&requests.records).collect();
    ensure!(
        registered.len() == requests.records.len(),
        "{} requests have a deadline, there are {}",
        registered.len(),
        requests.records.len()
    );
    ensure!(
        registered.is_sorted_by_key(|key| (requests.records[*key].deadline, requests.records[*key].sequence)),
        "the deadlines of requests are not in order"
    );
    let mut queued = BTreeMap::new();
    for (profile, key) in requests
        .bound
        .iter(&requests.records)
        .chain(requests.unbound.iter(&requests.records))
    {
        ensure!(queued.insert(key, profile).is_none(), "request {key:?} waits twice");
    }
    let timed = |list: Vec<_>| list.into_iter().collect::<BTreeSet<_>>();
    let rpc = timed(requests.rpc_timeouts.iter(&requests.records).collect());
    let declined = timed(requests.ask_retries.iter(&requests.records).collect());
    let paused = timed(requests.backoffs.iter(&requests.records).map(|(_, key)| key).collect());
    for (key, request) in requests.records.iter() {
        let id = request.allocation_id;
        ensure!(
            core.find_allocation(id) == Some(AllocationEntry::Pending(key)),
            "request {id} is not indexed by its allocation id"
        );
        let (in_queue, timers) = (
            queued.get(&key).copied(),
            (rpc.contains(&key), declined.contains(&key), paused.contains(&key)),
        );
        let expected = match request.phase {
            RequestPhase::Detached => return Err(InvariantViolation(format!("request {id} is in no state"))),
            RequestPhase::Unbound(WorkerAsk::Due) => {
                return Err(InvariantViolation(format!("no worker was asked for for request {id}")));
            }
            RequestPhase::Bound(_) | RequestPhase::Unbound(WorkerAsk::Deferred | WorkerAsk::Useless) => {
                (Some(request.profile), (false, false, false))
            }
            RequestPhase::Unbound(WorkerAsk::Declined) => (Some(request.profile), (false, true, false)),
            RequestPhase::BackingOff { .. } => (None, (false, false, true)),
            RequestPhase::InFlight(slot) => {
                ensure!(
                    core.slots
                        .get(slot)
                        .and_then(crate::slot_manager::state::slots::Slot::attempt)
                        .is_some_and(|attempt| attempt.request == key),
                    "no slot is in flight for request {id}"
                );
                (None, (true, false, false))
            }
        };
        ensure!(
            (in_queue, timers) == expected,
            "request {id} is {:?}, but its queue and timers are {in_queue:?} and {timers:?}",
            request.phase
        );
    }
    let mut of_jobs = 0;
    for (key, id, members) in requests.jobs() {
        of_jobs += members.len();
        ensure!(!members.is_empty(), "job {id} has no requests and is kept");
        ensure!(
            members
                .iter()
                .all(|member| requests.records[*member].job == Some(key) && requests.records[*member].job_id == id),
            "job {id} has requests of others"
        );
    }
    ensure!(
        of_jobs == requests.records.len(),
        "{of_jobs} requests are filed under their jobs"
    );
    Ok(())
}

fn check_task_managers(core: &Core) -> Check {
    let records = &core.task_managers.records;
    let registered: Vec<_> = core.task_managers.registered.iter(records).collect();
    let idle: BTreeSet<_> = core.task_managers.idle.iter(records).collect();
    let indexed = core.task_managers.indexed();
    ensure!(
        registered.len() == records.len() && indexed == (records.len(), records.len()),
        "{} task managers are listed and {indexed:?} indexed, there are {}",
        registered.len(),
        records.len()
    );
    let mut slots = 0;
    for (key, record) in records.iter() {
        let id = &record.resource_id;
        ensure!(
            core.task_managers.by_resource(id) == Some(key)
                && core.task_managers.by_instance(&record.instance_id) == Some(key),
            "task manager {id} is not found by its ids"
        );
        slots += record.slots.len();
        ensure!(
            record.slots.is_sorted_by(|a, b| a.0 < b.0),
            "the slots of task manager {id} are not ordered by number"
        );
        ensure!(
            record.slots.iter().all(|(number, slot)| {
                core.slots
                    .get(*slot)
                    .is_some_and(|slot| slot.number == *number && slot.task_manager == key)
            }),
            "task manager {id} lists slots of others"
        );
        let in_flight = count(record.slots.iter(), |(_, slot)| core.slots[*slot].attempt().is_some());
        let allocated = count(record.slots.iter(), |(_, slot)| {
            core.slots[*slot].allocation().is_some()
        });
        ensure!(
            (record.in_flight as usize, record.allocated as usize) == (in_flight, allocated),
            "the counts of task manager {id} are wrong"
        );
        ensure!(
            record.idle_since.is_some() == (record.used() == 0) && idle.contains(&key) == record.idle_since.is_some(),
            "task manager {id} is idle or not"
        );
    }
    ensure!(slots == core.slots.len(), "{slots} slots are listed by task managers");
    Ok(())
}

fn check_promised_slots(core: &Core) -> Check {
    let promises = &core.promises;
    let queued: BTreeSet<_> = promises.queued().collect();
    let unbound: BTreeSet<_> = promises.unbound().collect();
    ensure!(
        queued.len() == promises.len() && unbound.len() == promises.num_unbound(),
        "{} of {} promised slots are queued",
        queued.len(),
        promises.len()
    );
    let mut of_workers = 0;
    for (key, worker) in promises.worker_requests.iter() {
        let slots: Vec<_> = worker.slots.iter(&promises.records).collect();
        of_workers += slots.len();
        ensure!(
            !slots.is_empty()
                && promises.find(worker.id) == Some(key)
                && slots.iter().all(|slot| promises.records[*slot].worker_request == key),
            "worker request {} is not what its slots say",
            worker.id
        );
    }
    ensure!(
        of_workers == promises.len(),
        "{of_workers} promised slots belong to a worker request"
    );
    for (key, promise) in promises.records.iter() {
        ensure!(
            unbound.contains(&(promise.profile, key)) == promise.bound_to.is_none()
                && queued.contains(&(promise.profile, key)),
            "promised slot {key:?} is in the wrong queues"
        );
        if let Some(request) = promise.bound_to {
            let bound = core.requests.records.get(request);
            ensure!(
                bound.is_some_and(|request| request.phase == RequestPhase::Bound(key)
                    && core.profiles[promise.profile].is_matching(&core.profiles[request.profile])),
                "promised slot {key:?} covers a request that does not say so"
            );
        }
    }
    for (key, request) in core.requests.records.iter() {
        match request.phase {
            RequestPhase::Bound(promise) => ensure!(
                promises
                    .records
                    .get(promise)
                    .is_some_and(|promise| promise.bound_to == Some(key)),
                "request {} is covered by a promised slot that does not say so",
                request.allocation_id
            ),
            RequestPhase::Unbound(_) => ensure!(
                promises.first_unbound(&core.profiles, request.profile).is_none(),
                "a promised slot could cover request {}",
                request.allocation_id
            ),
            _ => {}
        }
    }
    for (key, worker) in promises.worker_requests.iter() {
        ensure!(
            promises.is_consistent(key),
            "worker request {} does not count its slots",
            worker.id
        );
    }
    let listed = count(promises.worker_requests.iter(), |(key, _)| promises.is_listed(key));
    ensure!(
        promises.num_surplus() == listed,
        "{} worker requests are listed as surplus, {listed} are",
        promises.num_surplus()
    );
    Ok(())
}

fn check_deadlines(core: &Core) -> Check {
    for timer in Timer::ALL {
        ensure!(core.is_in_order(timer), "the deadlines of {timer:?} are not in order");
    }
    Ok(())
}

fn check_queues(core: &Core) -> Check {
    let requests = &core.requests;
    let queues = [
        ("covered requests", requests.bound.are_in_order(&requests.records)),
        ("uncovered requests", requests.unbound.are_in_order(&requests.records)),
        (
            "offered slots",
            core.free_slots.is_in_order(&core.slots, &core.task_managers.records),
        ),
        ("promised slots", core.promises.are_in_order()),
    ];
    for (name, are_in_order) in queues {
        ensure!(are_in_order, "the queues of {name} are not in order");
    }
    Ok(())
}

fn check_addresses(core: &Core) -> Check {
    let mut uses = BTreeMap::new();
    for (_, request) in core.requests.records.iter() {
        *uses.entry(request.target_address).or_insert(0) += 1;
    }
    let counted: BTreeMap<_, _> = core.requests.addresses.uses().collect();
    ensure!(uses == counted, "the uses of addresses {counted:?} are not {uses:?}");
    Ok(())
}

fn check_profiles(core: &Core) -> Check {
    let mut uses = BTreeMap::new();
    let slots = core.slots.iter().map(|(_, slot)| slot.profile);
    let requests = core.requests.records.iter().map(|(_, request)| request.profile);
    let promises = core.promises.records.iter().map(|(_, promise)| promise.profile);
    for profile in slots.chain(requests).chain(promises) {
        *uses.entry(profile).or_insert(0) += 1;
    }
    let counted: BTreeMap<_, _> = core.profiles.uses().collect();
    ensure!(uses == counted, "the uses of profiles {counted:?} are not {uses:?}");
    Ok(())
}
