//! The invariants that hold between two calls, derived again from the records.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Quantity;
use crate::id::FIRST_DYNAMIC;
use crate::resource_profile::Remainder;
use crate::{ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp};

use crate::slot_manager::rules::cuts::Placement;
use crate::slot_manager::rules::timers::Timer;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::{RequestPhase, WorkerAsk};
use crate::slot_manager::state::requirements::AccountTimer;
use crate::slot_manager::state::slot_totals::{SlotTotals, SlotUsage};
use crate::slot_manager::state::slots::{RpcState, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;

#[cfg(test)]
mod tests;

/// A violated invariant: a defect of this crate. Its text names the record and the contradiction.
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
    /// Checks the invariants, which hold between any two calls. It is meant for tests.
    ///
    /// 1. A slot is in one state, and in the free index iff it is offered. No offered slot fits a
    ///    waiting request that may take it, and none fits a request that backs off and was not
    ///    tried on the worker. The same holds for the slot of an admitted probe, and for a slot
    ///    that backs off by itself and admits the request. No slot of a worker that backs off is
    ///    offered. Failing workers are registered, and the numbers of suspect jobs and of their
    ///    requests equal a recount.
    /// 2. An allocation id is at most one of waiting, in flight and granted. A request in flight
    ///    and its slot refer to each other. A granted slot is held by its allocation.
    /// 3. Every slot belongs to one live registration, which lists it. There is one registration
    ///    for each resource id, and none of a replaced instance. All totals equal a recount. A free
    ///    slot is blocked iff its task manager is.
    /// 4. `idle_since` is set iff no slot of the task manager is in flight or allocated.
    /// 5. A pending request has one live deadline. Its queue and its timer match its phase. All
    ///    queues and deadlines are in order.
    /// 6. Bindings to promised slots are one to one, and no unbound promised slot fits an unbound
    ///    request. A worker request is surplus only without bound requests. No promise is kept by a
    ///    worker that names it and has slots. A request is deferred only while the recovery, the
    ///    start backoff or a limit forbids another worker.
    /// 7. Kept task managers and open release checks are disjoint, and only about idle task
    ///    managers. A slot in flight has an awaited answer. No effect is left to flush, and no work
    ///    to commit.
    /// 8. Every held slot is on the account of its job, once a job has declared. It is charged to at
    ///    most as many as are declared, and none in excess fits a need. A unit is pending for each
    ///    need, except for those that are delayed. It has no deadline.
    /// 9. A worker is set aside only for a request that waits, and only if it could serve it. If one
    ///    may be set aside, one is.
    /// 10. Without a leadership every map is empty and no delay is armed.
    ///
    /// Cost: O(n log n + n x distinct profiles) for n records.
    ///
    /// # Errors
    /// Returns the first violated invariant. The state does not change.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{LeaderId, SlotManager, SlotManagerConfig};
    /// # let config = SlotManagerConfig::default();
    /// # let time = ManualScheduledExecutor::new();
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time)?;
    /// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// assert_eq!(manager.check_invariants(), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        let core = &self.core;
        check_slots(core)?;
        check_dynamic_workers(core)?;
        check_set_aside(core)?;
        check_blocking(core)?;
        check_releases(core)?;
        check_worker_policy(core)?;
        check_free_index(core)?;
        check_failures(core)?;
        check_allocations(core)?;
        check_requests(core)?;
        check_requirements(core)?;
        check_task_managers(core)?;
        check_promises(core)?;
        check_profiles(core)?;
        check_addresses(core)?;
        check_deadlines(core)?;
        check_queues(core)?;
        check_slot_totals(core)?;
        ensure!(core.effects.is_empty(), "effects were not flushed: {:?}", core.effects);
        ensure!(
            core.transaction.is_empty(),
            "the transaction was not committed: {:?}",
            core.transaction
        );
        ensure!(
            !(core.requests.held_back && core.requests.may_release_held_back),
            "requests are held back that may be released"
        );
        let awaited = count(core.slots.iter(), |(_, slot)| {
            slot.attempt()
                .is_some_and(|attempt| matches!(attempt.rpc, RpcState::Awaited(_)))
        });
        ensure!(
            self.num_futures() == awaited,
            "{} futures are awaited, but {awaited} attempts await one",
            self.num_futures()
        );
        if core.leader_id.is_none() {
            ensure!(
                core.slots.len() + core.requests.records.len() + core.task_managers.records.len() == 0
                    && core.allocations.len() == 0
                    && core.promises.is_empty()
                    && core.blocking.task_managers.is_empty()
                    && core.blocking.unapplied.is_empty()
                    && core.failing_workers.is_empty()
                    && core.releases.is_empty()
                    && core.superseded.is_empty()
                    && core.worker_policy.earliest() == Timestamp::MAX
                    && self.armed_for() == Timestamp::MAX,
                "the manager is not started, but not empty: {self:?}"
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
            "slot {key:?} is missing from its task manager"
        );
        match slot.phase {
            SlotPhase::Detached => ensure!(false, "slot {} is detached", core.slot_id(key)),
            SlotPhase::Offered { .. } | SlotPhase::BackingOff { .. } => ensure!(
                !core.is_blocked(slot.task_manager),
                "slot {} is offered or backs off, but its task manager is blocked",
                core.slot_id(key)
            ),
            SlotPhase::WorkerBackoff => ensure!(
                core.failing_workers.backoff(slot.task_manager).is_some() && !core.is_blocked(slot.task_manager),
                "slot {} waits for its worker, which does not back off or is blocked",
                core.slot_id(key)
            ),
            SlotPhase::Blocked => ensure!(
                core.is_blocked(slot.task_manager),
                "slot {} is blocked, but its task manager is not",
                core.slot_id(key)
            ),
            SlotPhase::InFlight(attempt) => {
                let request = core.requests.records.get(attempt.request);
                ensure!(
                    request.is_some_and(|request| request.phase == RequestPhase::InFlight(key)),
                    "slot {} has an attempt, but its request is not in flight to it",
                    core.slot_id(key)
                );
                ensure!(
                    attempt.rpc.is_awaited(),
                    "the answer for slot {} is not awaited",
                    core.slot_id(key)
                );
            }
            SlotPhase::Allocated { allocation, secondary } => {
                let allocation_id = allocation.id;
                let holder = core.find_allocation(allocation_id);
                let others = core.allocations.secondaries().get(&allocation_id);
                let listed = others.is_some_and(|slots| slots.contains(&key));
                ensure!(
                    listed == secondary,
                    "the secondary mark of slot {} is {secondary}, but its listing is {listed}",
                    core.slot_id(key)
                );
                ensure!(
                    (holder == Some(AllocationEntry::Granted(key))) != secondary,
                    "allocation {allocation_id} holds slot {} with secondary mark {secondary}, but its entry is {holder:?}",
                    core.slot_id(key)
                );
                ensure!(
                    matches!(holder, Some(AllocationEntry::Granted(_))),
                    "slot {} is secondary, but allocation {allocation_id} has no grant",
                    core.slot_id(key)
                );
            }
        }
    }
    Ok(())
}

/// Checks what remains of each dynamic worker, and that it is offered if it may be.
fn check_dynamic_workers(core: &Core) -> Check {
    let workers = &core.dynamic_workers;
    let mut quantity = Quantity::default();
    for (key, record) in core.task_managers.records.iter() {
        let id = &record.resource_id;
        let is_dynamic = record.slots.is_dynamic();
        let (worker, slots) = (workers.get(key), record.slots.iter());
        ensure!(
            is_dynamic == worker.is_some()
                && slots
                    .clone()
                    .all(|(number, _)| is_dynamic == (*number >= FIRST_DYNAMIC)),
            "task manager {id} or one of its slots is of the wrong kind"
        );
        let Some(worker) = worker else {
            continue;
        };
        quantity += core.quantity_of(key);
        let mut remainder = Remainder::of(&core.profiles[worker.shape.total]);
        let cuts = slots.clone().map(|(_, slot)| &core.profiles[core.slots[*slot].profile]);
        for cut in worker.withheld().into_iter().chain(cuts) {
            remainder.cut(cut);
        }
        ensure!(
            remainder.to_profile() == worker.remainder().to_profile() && worker.num_cuts() == record.slots.len(),
            "{} remains of dynamic worker {id}, but a recount gives {}",
            worker.remainder().to_profile(),
            remainder.to_profile()
        );
        ensure!(
            slots
                .clone()
                .all(|(_, slot)| SlotUsage::of(&core.slots[*slot].phase) != SlotUsage::Free),
            "dynamic worker {id} has a free slot"
        );
        let may_be_offered = !core.is_blocked(key) && core.failing_workers.backoff(key).is_none();
        ensure!(
            workers.is_offered(key) == may_be_offered,
            "dynamic worker {id} is offered wrongly: {}",
            workers.is_offered(key)
        );
    }
    ensure!(
        workers.is_consistent(&core.profiles) && workers.quantity() == quantity,
        "the rows, places or counts of dynamic workers are wrong"
    );
    Ok(())
}

/// Checks that a worker is set aside if one may be, and that it could serve its request.
fn check_set_aside(core: &Core) -> Check {
    let set_aside = &core.set_aside;
    ensure!(
        set_aside.is_consistent(&core.requests.records),
        "the requests that have not waited long are not those listed: {set_aside:?}"
    );
    let Some(earmark) = set_aside.current() else {
        let next = core.next_earmark().filter(|_| set_aside.is_on());
        ensure!(next.is_none(), "no worker is set aside, but one may be: {next:?}");
        return Ok(());
    };
    let request = core.requests.records.get(earmark.request);
    let is_right = request.is_some_and(|request| {
        let worker = core.dynamic_workers.get(earmark.task_manager);
        let required = &core.profiles[request.profile];
        request.sequence == earmark.sequence
            && matches!(request.phase, RequestPhase::Bound(_) | RequestPhase::Unbound(_))
            && core.dynamic_workers.is_offered(earmark.task_manager)
            && worker.is_some_and(|worker| worker.could_fit(&core.profiles, required))
    });
    ensure!(is_right, "{earmark:?} is set aside in vain");
    Ok(())
}

fn check_slot_totals(core: &Core) -> Check {
    let mut recount = SlotTotals::new(core.slot_totals.measure().clone());
    for (_, slot) in core.slots.iter() {
        match slot.number >= FIRST_DYNAMIC {
            true => recount.add_cut(&core.profiles, slot.profile),
            false => recount.add_slots(&core.profiles, slot.profile, 1),
        }
        recount.move_slot(slot.profile, SlotUsage::Free, SlotUsage::of(&slot.phase));
    }
    let promised = core.promises.records.iter();
    for (_, promise) in promised.filter(|(promise, _)| !core.promises.is_cut(*promise)) {
        recount.add_promised(&core.profiles, promise.profile);
    }
    ensure!(
        core.slot_totals.equals(&recount),
        "the slot totals are {:?}, but a recount gives {recount:?}",
        core.slot_totals
    );
    Ok(())
}

fn check_blocking(core: &Core) -> Check {
    let mut slots = 0;
    for (key, record) in core.task_managers.records.iter() {
        let id = &record.resource_id;
        let (is_blocked, decided) = (core.is_blocked(key), core.blocking.workers.contains(id));
        ensure!(
            is_blocked == decided || core.blocking.unapplied.contains(id),
            "the blocked mark of task manager {id} is {is_blocked}, but that of its worker is {decided}"
        );
        slots += if is_blocked { core.counted_slots(key) } else { 0 };
    }
    ensure!(
        core.blocking.slots == slots,
        "{} slots count as blocked, but blocked task managers have {slots}",
        core.blocking.slots
    );
    ensure!(
        (core.blocking.task_managers.iter()).all(|key| core.task_managers.records.get(*key).is_some()),
        "a blocked task manager is not registered"
    );
    Ok(())
}

fn check_releases(core: &Core) -> Check {
    let slots_if_idle = |key| {
        let record = core.task_managers.records.get(key)?;
        record.idle_since.map(|_| core.counted_slots(key))
    };
    ensure!(
        core.releases.is_consistent(slots_if_idle),
        "the kept task managers or the open release checks are inconsistent: {:?}",
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
        "requests {:?} are listed as deferred, but {deferred:?} are deferred",
        core.worker_policy.deferred()
    );
    ensure!(
        deferred.is_empty() || !core.may_request_worker(),
        "requests {deferred:?} are deferred, but a worker may be requested"
    );
    ensure!(
        core.worker_policy.start_backoff.is_consistent(),
        "the noted failures of starts are out of order or too many: {:?}",
        core.worker_policy.start_backoff
    );
    Ok(())
}

fn check_free_index(core: &Core) -> Check {
    let mut indexed = BTreeSet::new();
    for (profile, key) in core.free_slots.iter(&core.slots) {
        let slot = core.slots.get(key);
        ensure!(
            slot.is_some_and(|slot| slot.profile == profile && matches!(slot.phase, SlotPhase::Offered { .. })),
            "slot {key:?} is in the free index, but not offered"
        );
        ensure!(indexed.insert(key), "slot {key:?} is twice in the free index");
    }
    let offered = count(core.slots.iter(), |(_, slot)| {
        matches!(slot.phase, SlotPhase::Offered { .. })
    });
    ensure!(
        indexed.len() == offered,
        "{} slots are in the free index, but {offered} are offered",
        indexed.len()
    );
    check_offers(core, &indexed)?;
    let slot_backoffs: BTreeSet<_> = core.slot_backoffs.iter(&core.slots).map(|(_, key)| key).collect();
    let backing_off = count(core.slots.iter(), |(_, slot)| {
        matches!(slot.phase, SlotPhase::BackingOff { .. })
    });
    ensure!(
        slot_backoffs.len() == backing_off,
        "{} slots are in a backoff queue, but {backing_off} back off",
        slot_backoffs.len()
    );
    Ok(())
}

/// Checks that no offered slot and no admitted probe fits a request that may take it.
fn check_offers(core: &Core, offered: &BTreeSet<SlotKey>) -> Check {
    let limits_suspects = core.limits_suspects();
    let offers: BTreeSet<_> = offered
        .iter()
        .map(|slot| (core.slots[*slot].task_manager, core.slots[*slot].profile))
        .map(|(owner, profile)| (owner, profile, limits_suspects && core.has_suspect_attempt(owner)))
        .collect();
    for (key, request) in core.requests.records.iter() {
        let is_waiting = match request.phase {
            RequestPhase::Bound(_) | RequestPhase::Unbound(_) => true,
            RequestPhase::BackingOff { .. } => false,
            RequestPhase::Detached | RequestPhase::InFlight(_) => continue,
        };
        let is_suspect = core.requests.failing_jobs.is_suspect(request.job_id);
        let takes =
            |owner: TaskManagerKey| is_waiting || !request.was_tried_on(core.task_managers.records[owner].instance_id);
        for &(owner, profile, excludes_suspects) in &offers {
            ensure!(
                (excludes_suspects && is_suspect)
                    || !takes(owner)
                    || !core.profiles[profile].is_matching(&core.profiles[request.profile]),
                "an offered slot with {} fits the waiting request {}",
                core.profiles[profile],
                request.allocation_id
            );
        }
        let required = &core.profiles[request.profile];
        let worker = core.dynamic_workers.scan_for(required, |owner| {
            takes(owner)
                && request.sequence <= core.set_aside.newest_on(owner)
                && !(is_suspect && limits_suspects && core.has_suspect_attempt(owner))
        });
        ensure!(
            worker.is_none(),
            "dynamic worker {worker:?} fits the waiting request {}",
            request.allocation_id
        );
        let probe = core
            .probe_for(key, false)
            .or_else(|| core.probe_for(key, true).filter(|_| is_waiting))
            .or_else(|| core.backing_off_slot_for(key).map(Placement::Slot));
        ensure!(
            probe.is_none(),
            "request {} waits, but slot or worker {probe:?} admits it",
            request.allocation_id
        );
    }
    Ok(())
}

/// Checks the failures of workers and jobs.
fn check_failures(core: &Core) -> Check {
    let failing_workers = &core.failing_workers;
    ensure!(
        failing_workers.is_consistent(),
        "the backoffs of workers are inconsistent: {failing_workers:?}"
    );
    for (key, failing) in failing_workers.iter() {
        ensure!(
            core.task_managers.records.get(key).is_some(),
            "worker {key:?} is recorded as failing, but it is gone"
        );
        let is_offered = |slot: SlotKey| matches!(core.slots[slot].phase, SlotPhase::Offered { .. });
        ensure!(
            failing.backoff().is_none() || !core.slots_of(key).into_iter().any(is_offered),
            "worker {} backs off, but a slot is offered",
            core.task_managers.records[key].resource_id
        );
    }
    let mut suspects = (0, 0);
    for (job, is_suspect, num_requests) in core.requests.failing_jobs.iter() {
        let recount = core.requests.of_job(&job).len();
        ensure!(
            num_requests == recount && recount > 0,
            "job {job} counts {num_requests} requests, but has {recount}"
        );
        if is_suspect {
            suspects = (suspects.0 + 1, suspects.1 + recount);
        }
    }
    let counted = (
        core.requests.failing_jobs.num_suspects(),
        core.requests.failing_jobs.num_suspect_requests(),
    );
    ensure!(
        counted == suspects,
        "{counted:?} suspect jobs and requests are counted, but there are {suspects:?}"
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
            "a secondary slot of allocation {id} does not hold it"
        );
    }
    let expected = granted + core.requests.records.len();
    ensure!(
        core.allocations.len() == expected,
        "{} allocations are indexed, but there are {expected}",
        core.allocations.len()
    );
    Ok(())
}

fn check_requests(core: &Core) -> Check {
    let requests = &core.requests;
    let registered: Vec<_> = requests.deadlines.iter(&requests.records).collect();
    let units: BTreeSet<_> = requests.units().collect();
    ensure!(
        registered.len() + units.len() == requests.records.len(),
        "{} requests have a deadline and {} are units, but there are {} requests",
        registered.len(),
        units.len(),
        requests.records.len()
    );
    ensure!(
        (requests.records.iter()).all(|(key, request)| request.is_declared == units.contains(&key)),
        "units are not those in the list of units"
    );
    ensure!(
        registered.is_sorted_by_key(|key| (requests.records[*key].deadline, requests.records[*key].sequence)),
        "the deadlines of requests are not in order"
    );
    let mut queued = BTreeMap::new();
    for (profile, key) in requests.waiting.iter(&requests.records) {
        ensure!(
            queued.insert(key, profile).is_none(),
            "request {key:?} is in two queues"
        );
    }
    let timed = |list: Vec<_>| list.into_iter().collect::<BTreeSet<_>>();
    let rpc = timed(requests.rpc_timeouts.iter(&requests.records).collect());
    let declined = timed(requests.ask_retries.iter(&requests.records).collect());
    let backing_off = timed(requests.backoffs.iter(&requests.records).map(|(_, key)| key).collect());
    for (key, request) in requests.records.iter() {
        let id = request.allocation_id;
        ensure!(
            core.find_allocation(id) == Some(AllocationEntry::Pending(key)),
            "request {id} is not indexed by its allocation id"
        );
        let (in_queue, timers) = (
            queued.get(&key).copied(),
            (rpc.contains(&key), declined.contains(&key), backing_off.contains(&key)),
        );
        let expected = match request.phase {
            RequestPhase::Detached => return Err(InvariantViolation(format!("request {id} is detached"))),
            RequestPhase::Unbound(WorkerAsk::Due) => {
                return Err(InvariantViolation(format!(
                    "the worker request for request {id} is due, but was not made"
                )));
            }
            RequestPhase::Bound(_) | RequestPhase::Unbound(WorkerAsk::Deferred | WorkerAsk::Useless) => {
                (Some(request.profile), (false, false, false))
            }
            RequestPhase::Unbound(WorkerAsk::Declined) => {
                (Some(request.profile), (false, request.is_ask_repeated(), false))
            }
            RequestPhase::BackingOff { .. } => (Some(request.profile), (false, false, true)),
            RequestPhase::InFlight(slot) => {
                ensure!(
                    core.slots
                        .get(slot)
                        .and_then(crate::slot_manager::state::slots::Slot::attempt)
                        .is_some_and(|attempt| attempt.request == key),
                    "request {id} is in flight, but no slot has its attempt"
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
        ensure!(!members.is_empty(), "job {id} is recorded, but has no requests");
        ensure!(
            members
                .iter()
                .all(|member| requests.records[*member].job == Some(key) && requests.records[*member].job_id == id),
            "job {id} lists a request of another job"
        );
    }
    ensure!(
        of_jobs == requests.records.len(),
        "jobs list {of_jobs} requests, but there are {}",
        requests.records.len()
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
        "{} task managers are listed and {indexed:?} are indexed, but there are {}",
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
        ensure!(
            !core.superseded.contains(&record.instance_id),
            "task manager {id} is registered, but its instance was replaced"
        );
        let expected = record.expected_worker_request().filter(|_| !record.slots.is_empty());
        ensure!(
            expected.is_none_or(|number| core.promises.find(number).is_none()),
            "task manager {id} has slots, but its worker request {expected:?} still promises some"
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
            "task manager {id} lists a slot of another task manager"
        );
        let in_flight = count(record.slots.iter(), |(_, slot)| core.slots[*slot].attempt().is_some());
        let allocated = count(record.slots.iter(), |(_, slot)| {
            core.slots[*slot].allocation().is_some()
        });
        ensure!(
            (record.in_flight as usize, record.allocated as usize) == (in_flight, allocated),
            "task manager {id} counts {} slots in flight and {} allocated, but has {in_flight} and {allocated}",
            record.in_flight,
            record.allocated
        );
        ensure!(
            record.idle_since.is_some() == (record.used() == 0) && idle.contains(&key) == record.idle_since.is_some(),
            "task manager {id} has {} used slots, is idle since {:?}, and its idle timer is {}",
            record.used(),
            record.idle_since,
            if idle.contains(&key) { "armed" } else { "not armed" }
        );
    }
    ensure!(
        slots == core.slots.len(),
        "task managers list {slots} slots, but there are {}",
        core.slots.len()
    );
    Ok(())
}

fn check_promises(core: &Core) -> Check {
    let promises = &core.promises;
    let queued: BTreeSet<_> = promises.queued().collect();
    let unbound: BTreeSet<_> = promises.unbound().collect();
    let num_slots = count(promises.records.iter(), |(key, _)| !promises.is_cut(key));
    ensure!(
        queued.len() == num_slots && unbound.len() == promises.num_unbound(),
        "{} of {} promised slots are queued, and {} of {} unbound ones",
        queued.len(),
        num_slots,
        unbound.len(),
        promises.num_unbound()
    );
    let mut of_workers = 0;
    for (key, worker) in promises.worker_requests.iter() {
        let slots: Vec<_> = worker.slots.iter(&promises.records).collect();
        of_workers += slots.len();
        ensure!(
            slots.is_empty() <= promises.shape_of(key).is_some()
                && promises.find(worker.number) == Some(key)
                && slots.iter().all(|slot| promises.records[*slot].worker_request == key),
            "worker request {} does not match its promised slots",
            worker.number
        );
    }
    ensure!(
        of_workers == promises.len(),
        "worker requests list {of_workers} promised slots, but there are {}",
        promises.len()
    );
    for (key, promise) in promises.records.iter() {
        ensure!(
            unbound.contains(&(promise.profile, key)) == promise.bound_to.is_none()
                && queued.contains(&(promise.profile, key)) != promises.is_cut(key),
            "promised slot {key:?} is in the wrong queues"
        );
        if let Some(request) = promise.bound_to {
            let bound = core.requests.records.get(request);
            ensure!(
                bound.is_some_and(|request| request.phase == RequestPhase::Bound(key)
                    && core.profiles[promise.profile].is_matching(&core.profiles[request.profile])),
                "promised slot {key:?} is bound to a request that is not bound to it"
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
                "request {} is bound to a promised slot that is not bound to it",
                request.allocation_id
            ),
            RequestPhase::Unbound(_) => ensure!(
                promises.first_unbound(&core.profiles, request.profile).is_none()
                    && promises.scan_for_worker(&core.profiles, request.profile).is_none(),
                "an unbound promised slot or worker fits unbound request {}",
                request.allocation_id
            ),
            _ => {}
        }
    }
    for (key, worker) in promises.worker_requests.iter() {
        ensure!(
            promises.is_consistent(key),
            "the counts or the surplus state of worker request {} are wrong",
            worker.number
        );
    }
    ensure!(
        promises.are_counts_right(),
        "the number of bound promised slots or of recent worker requests is wrong"
    );
    let listed = count(promises.worker_requests.iter(), |(key, _)| promises.is_listed(key));
    ensure!(
        promises.num_surplus() == listed,
        "{} worker requests are listed as surplus, but {listed} are surplus",
        promises.num_surplus()
    );
    let quantities = promises.promised_workers();
    let quantity = quantities.fold(Quantity::default(), |sum, (_, worker)| {
        sum + core.quantity_of_shape(worker.shape)
    });
    ensure!(
        promises.are_workers_consistent(&core.profiles) && promises.workers.quantity() == quantity,
        "the remainders, places or counts of promised workers are wrong"
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
        ("waiting requests", requests.waiting.are_in_order(&requests.records)),
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
    ensure!(
        uses == counted,
        "the uses of addresses are {counted:?}, but a recount gives {uses:?}"
    );
    Ok(())
}

fn check_requirements(core: &Core) -> Check {
    let ledger = &core.ledger;
    let mut expected = BTreeMap::new();
    for (slot, record) in core.slots.iter() {
        if let SlotPhase::Allocated {
            allocation,
            secondary: false,
        } = record.phase
        {
            expected.insert(slot, allocation.job);
        }
    }
    let mut held = BTreeMap::new();
    for (key, holding) in ledger.holdings.iter() {
        ensure!(
            ledger.holding(holding.slot) == Some(key),
            "holding {key:?} is not found by its slot"
        );
        held.insert(holding.slot, ledger.accounts[holding.account].job_id);
    }
    ensure!(
        held == if ledger.is_on() { expected } else { BTreeMap::new() },
        "the accounts do not hold the slots that are allocated"
    );
    let declaring = count(ledger.accounts.iter(), |(_, account)| account.declared_by.is_some());
    ensure!(
        ledger.num_declaring() == declaring,
        "{declaring} jobs declare, but {} are counted",
        ledger.num_declaring()
    );
    let mut units = 0;
    for (key, account) in ledger.accounts.iter() {
        let job = account.job_id;
        ensure!(ledger.find(job) == Some(key), "the account of job {job} is not found");
        ensure!(!account.is_noted, "the account of job {job} was not settled");
        let excess: Vec<_> = ledger.excess_of(key).collect();
        let mut charged = excess.len();
        ensure!(
            account.num_excess == excess.len(),
            "job {job} has {} slots in excess, but {} are counted",
            excess.len(),
            account.num_excess
        );
        for required in &account.requirements {
            let holdings: Vec<_> = ledger.charged_to(required).collect();
            charged += holdings.len();
            ensure!(
                holdings.len() == required.charged as usize && required.charged <= required.declared,
                "job {job} is charged {} slots of {required:?}",
                holdings.len()
            );
            let fits = |slot: SlotKey| {
                let slot = &core.profiles[core.slots[slot].profile];
                slot.is_matching(&core.profiles[required.profile])
            };
            ensure!(
                (holdings.iter().chain(&excess)).all(|holding| {
                    let holding = &ledger.holdings[*holding];
                    match holding.charged_to {
                        Some(profile) => profile == required.profile,
                        None => required.need() == 0 || !fits(holding.slot),
                    }
                }),
                "a slot of job {job} is charged wrongly or could be charged to {required:?}"
            );
            let pending = core.requests.newest_of_job(&job);
            let pending = count(pending, |request| {
                let request = &core.requests.records[request];
                request.is_declared && request.profile == required.profile
            });
            units += pending;
            ensure!(
                pending == required.units as usize && required.surplus() == 0,
                "job {job} has {pending} units for {required:?}"
            );
            ensure!(
                (required.missing() == 0 && required.freed <= required.unrequested()) || account.is_batch_armed(),
                "job {job} lacks units for {required:?}"
            );
            ensure!(
                required.freed == 0 || ledger.is_armed(AccountTimer::Refill, key),
                "freed slots of job {job} are never replaced: {required:?}"
            );
        }
        ensure!(
            account.num_held == charged && count(ledger.holdings.iter(), |(_, held)| held.account == key) == charged,
            "job {job} holds {charged} slots, but {} are counted",
            account.num_held
        );
        ensure!(
            ledger.is_armed(AccountTimer::Shortage, key) == (account.has_units() && !account.told.timeout),
            "the time to tell a shortage of job {job} is armed wrongly"
        );
        ensure!(!account.is_unused(), "the account of job {job} is not closed");
    }
    ensure!(
        units == core.requests.units().count(),
        "{units} units belong to requirements, but there are {}",
        core.requests.units().count()
    );
    Ok(())
}

fn check_profiles(core: &Core) -> Check {
    let mut uses = BTreeMap::new();
    let slots = core.slots.iter().map(|(_, slot)| slot.profile);
    let shapes = core.dynamic_workers.shapes();
    let shapes = shapes.flat_map(|(shape, workers)| {
        let profiles = std::iter::once(shape.total).chain(shape.default_slot);
        profiles.flat_map(move |profile| std::iter::repeat_n(profile, workers))
    });
    let promised_workers = core.promises.promised_workers().flat_map(|(_, worker)| {
        let shape = worker.shape;
        std::iter::once(shape.total).chain(shape.default_slot)
    });
    let shapes = shapes.chain(promised_workers);
    let requests = core.requests.records.iter().map(|(_, request)| request.profile);
    let promises = core.promises.records.iter().map(|(_, promise)| promise.profile);
    let accounts = core.ledger.accounts.iter();
    let required = accounts.flat_map(|(_, account)| account.requirements.iter().map(|required| required.profile));
    for profile in slots.chain(requests).chain(promises).chain(required).chain(shapes) {
        *uses.entry(profile).or_insert(0) += 1;
    }
    let counted: BTreeMap<_, _> = core.profiles.uses().collect();
    ensure!(
        uses == counted,
        "the uses of profiles are {counted:?}, but a recount gives {uses:?}"
    );
    Ok(())
}
