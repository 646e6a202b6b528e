//! What is broken on purpose is found, and named.

use std::time::Duration;

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::PromiseKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{RpcState, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotAllocationError, SlotId, SlotManager,
    SlotManagerConfig, SlotMatchingStrategy, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, Timestamp,
    WorkerPromise, WorkerRequestId,
};

mod capacity;

type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

/// A manager in which something is in every state there is.
struct World {
    manager: Manager,
    /// Holds an allocation beside its grant, which is on a slot with a later key.
    beside: SlotKey,
    grant: SlotKey,
    in_flight: SlotKey,
    backing_off_slot: SlotKey,
    offered: SlotKey,
    used_worker: TaskManagerKey,
    idle_worker: TaskManagerKey,
    in_flight_request: RequestKey,
    backing_off: RequestKey,
    covered: RequestKey,
    declined: RequestKey,
    bound: PromiseKey,
    unbound: PromiseKey,
}

fn cores(cores: f64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .build()
        .expect("a valid amount")
}

fn allocation(id: u128) -> AllocationId {
    AllocationId::from_u128(id)
}

fn slot(number: u32) -> SlotId {
    SlotId::new("used", number)
}

fn register(manager: &mut Manager, worker: &str, instance: u128, gateway: &ScriptedGateway, statuses: &[SlotStatus]) {
    let connection = TaskExecutorConnection::new(worker, InstanceId::from_u128(instance), gateway.clone());
    let registered = manager.register_task_manager(connection, &SlotReport::new(statuses.to_vec()));
    registered.expect("a valid registration");
}

fn report(manager: &mut Manager, statuses: &[SlotStatus]) {
    let reported = manager.report_slot_status(InstanceId::from_u128(1), &SlotReport::new(statuses.to_vec()));
    reported.expect("a valid report");
}

fn request(manager: &mut Manager, id: u128, required: f64) {
    let request = SlotRequest::new(JobId::from_u128(1), allocation(id), cores(required), "job-master");
    let _ = manager.register_slot_request(request).expect("an accepted request");
}

impl World {
    fn new(strategy: SlotMatchingStrategy) -> Self {
        let config = SlotManagerConfig::default()
            .with_slot_matching_strategy(strategy)
            .with_retry_backoff(Duration::from_secs(1), Duration::from_secs(1));
        let mut manager = Manager::new(config, ManualScheduledExecutor::new()).expect("a valid configuration");
        let (actions, gateway) = (RecordingActions::new(), ScriptedGateway::new());
        manager
            .start(LeaderId::from_u128(1), actions.clone())
            .expect("not started");
        let held = |number| SlotStatus::allocated(slot(number), cores(1.0), allocation(7), JobId::from_u128(7));
        let free = |number, profile| SlotStatus::free(slot(number), profile);
        let mut statuses = vec![held(1)];
        register(&mut manager, "used", 1, &gateway, &statuses);
        statuses.insert(0, held(0));
        statuses.push(free(2, cores(2.0)));
        report(&mut manager, &statuses);
        register(&mut manager, "idle", 2, &gateway, &[]);

        // One fails twice and backoffs. The next to fail makes the slot pause, and waits.
        gateway.answer_requests(Err(SlotAllocationError::rejected("no")));
        request(&mut manager, 1, 2.0);
        request(&mut manager, 2, 2.0);
        gateway.answer_requests(GatewayAnswer::ByHand);
        statuses.push(free(3, cores(1.0)));
        report(&mut manager, &statuses);
        request(&mut manager, 3, 1.0);
        statuses.push(free(4, cores(1.0)));
        report(&mut manager, &statuses);
        actions.answer_next_allocation(Ok(WorkerPromise::Slots(vec![cores(8.0), cores(0.5)])));
        request(&mut manager, 4, 8.0);
        Self::of(manager)
    }

    fn of(manager: Manager) -> Self {
        let core = &manager.core;
        let slot = |number| core.find_slot(&slot(number)).expect("a known slot");
        let pending = |is: fn(&RequestPhase) -> bool| {
            let mut found = core.requests.records.iter().filter(|(_, request)| is(&request.phase));
            found.next().expect("there is such a request").0
        };
        let promise = |is_bound| {
            let mut found = core.promises.records.iter();
            let found = found.find(|(_, promise)| promise.bound_to.is_some() == is_bound);
            found.expect("there is such a promise").0
        };
        let worker = |id: &str| {
            core.task_managers
                .by_resource(&ResourceId::new(id))
                .expect("registered")
        };
        Self {
            beside: slot(0),
            grant: slot(1),
            backing_off_slot: slot(2),
            in_flight: slot(3),
            offered: slot(4),
            used_worker: worker("used"),
            idle_worker: worker("idle"),
            in_flight_request: pending(|state| matches!(state, RequestPhase::InFlight(_))),
            backing_off: pending(|state| matches!(state, RequestPhase::BackingOff { .. })),
            covered: pending(|state| matches!(state, RequestPhase::Bound(_))),
            declined: pending(|state| matches!(state, RequestPhase::Unbound(WorkerAsk::Declined))),
            bound: promise(true),
            unbound: promise(false),
            manager,
        }
    }
}

/// Checks after something was broken: which violation is found.
#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&World, &mut Core)) {
    for strategy in [SlotMatchingStrategy::FirstFit, SlotMatchingStrategy::LeastUtilization] {
        let mut world = World::new(strategy);
        assert_eq!(world.manager.check_invariants(), Ok(()));
        let mut core = std::mem::replace(&mut world.manager.core, Core::new(SlotManagerConfig::default()));
        break_it(&world, &mut core);
        world.manager.core = core;
        let found = world.manager.check_invariants().expect_err(violation).to_string();
        assert!(found.contains(violation), "{found:?} is not {violation:?}");
    }
}

#[test]
fn slots_that_are_not_what_others_say_of_them() {
    assert_found("is not among the slots of its task manager", |world, core| {
        core.slots[world.offered].number = 9;
    });
    assert_found("is not among the slots of its task manager", |world, core| {
        core.slots[world.offered].task_manager = world.idle_worker;
    });
    assert_found("is in no state", |world, core| {
        core.slots[world.offered].phase = SlotPhase::Detached;
    });
    assert_found("does not point back", |world, core| {
        core.requests.records[world.in_flight_request].phase = RequestPhase::InFlight(world.offered);
    });
    assert_found("the answer for slot used_3 is not awaited", |world, core| {
        if let SlotPhase::InFlight(attempt) = &mut core.slots[world.in_flight].phase {
            attempt.rpc = RpcState::Answered;
        }
    });
}

#[test]
fn holders_that_are_not_indexed_as_they_hold() {
    let set_duplicate = |core: &mut Core, slot, is_duplicate| {
        if let SlotPhase::Allocated { secondary, .. } = &mut core.slots[slot].phase {
            *secondary = is_duplicate;
        }
    };
    assert_found("is a duplicate or not", |world, core| {
        set_duplicate(core, world.grant, true);
    });
    assert_found("is a duplicate or not", |world, core| {
        set_duplicate(core, world.beside, false);
    });
    assert_found("held by an allocation that is not granted there", |world, core| {
        set_duplicate(core, world.grant, true);
        core.allocations.add_secondary(allocation(7), world.grant);
    });
    assert_found("held by an allocation that is not granted", |world, core| {
        core.allocations
            .remove(allocation(7), AllocationEntry::Granted(world.grant));
    });
    assert_found("a duplicate of allocation", |world, core| {
        core.allocations.add_secondary(allocation(9), world.grant);
    });
    assert_found("a duplicate of allocation", |world, core| {
        core.allocations.add_secondary(allocation(9), world.offered);
    });
    assert_found("allocations are indexed", |world, core| {
        let unknown = Fingerprint::of(&allocation(9));
        core.allocations.insert(unknown, AllocationEntry::Granted(world.grant));
    });
}

#[test]
fn counts_that_are_not_a_recount() {
    for used in SlotUsage::ALL {
        assert_found("SlotTotals", move |world, core| {
            let profile = core.slots[world.offered].profile;
            core.slot_totals.add_slots(&core.profiles, profile, 1);
            core.slot_totals.move_slot(profile, SlotUsage::Free, used);
        });
    }
    assert_found("SlotTotals", |world, core| {
        let profile = core.slots[world.offered].profile;
        core.slot_totals.add_promised(&core.profiles, profile);
    });
    assert_found("the counts of task manager", |world, core| {
        core.task_managers.records[world.used_worker].in_flight += 1;
    });
    assert_found("the counts of task manager", |world, core| {
        core.task_managers.records[world.used_worker].allocated += 1;
    });
}

#[test]
fn free_slots_that_are_not_indexed_as_offered_or_pausing() {
    assert_found("is in the free index and not offered", |world, core| {
        core.slots[world.offered].profile = core.slots[world.backing_off_slot].profile;
    });
    assert_found("0 slots are in the free index, 1 are offered", |world, core| {
        core.free_slots.remove(&mut core.slots, world.offered);
    });
    assert_found("fits a waiting request", |world, core| {
        core.set_slot_phase(world.backing_off_slot, SlotPhase::Offered { sequence: 99 });
    });
    assert_found("0 slots are listed as backing off, 1 are", |world, core| {
        core.slot_backoffs.disarm(&mut core.slots, 0, world.backing_off_slot);
    });
}

#[test]
fn requests_that_are_not_where_they_say() {
    assert_found("requests have a deadline", |world, core| {
        core.requests
            .deadlines
            .disarm(&mut core.requests.records, world.backing_off);
    });
    assert_found("the deadlines of requests are not in order", |world, core| {
        core.requests.records[world.backing_off].deadline = Timestamp::MAX;
    });
    assert_found("waits twice", |world, core| {
        let profile = core.requests.records[world.declined].profile;
        let records = &mut core.requests.records;
        core.requests
            .bound
            .push(records, &core.profiles, profile, world.declined);
    });
    assert_found("is not indexed by its allocation id", |world, core| {
        let id = core.requests.records[world.backing_off].allocation_id;
        core.allocations.remove(id, AllocationEntry::Pending(world.backing_off));
        let unknown = Fingerprint::of(&allocation(9));
        core.allocations
            .insert(unknown, AllocationEntry::Pending(world.backing_off));
    });
    assert_found("is in no state", |world, core| {
        core.requests.records[world.declined].phase = RequestPhase::Detached;
    });
    assert_found("no worker was asked for", |world, core| {
        core.requests.records[world.declined].phase = RequestPhase::Unbound(WorkerAsk::Due);
    });
    assert_found("no slot is in flight for request", |world, core| {
        core.requests.records[world.backing_off].phase = RequestPhase::InFlight(world.offered);
    });
    assert_found("no slot is in flight for request", |world, core| {
        core.requests.records[world.backing_off].phase = RequestPhase::InFlight(world.in_flight);
    });
}

#[test]
fn requests_whose_queues_and_timers_are_not_those_of_their_state() {
    let message = "but its queue and timers are";
    assert_found(message, |world, core| {
        let profile = core.requests.records[world.declined].profile;
        let records = &mut core.requests.records;
        core.requests.unbound.remove(records, profile, world.declined);
    });
    assert_found(message, |world, core| {
        let profile = core.requests.records[world.covered].profile;
        core.requests
            .bound
            .remove(&mut core.requests.records, profile, world.covered);
    });
    assert_found(message, |world, core| {
        core.requests
            .ask_retries
            .disarm(&mut core.requests.records, world.declined);
    });
    assert_found(message, |world, core| {
        core.requests
            .rpc_timeouts
            .disarm(&mut core.requests.records, world.in_flight_request);
    });
    assert_found(message, |world, core| {
        core.requests
            .backoffs
            .disarm(&mut core.requests.records, 0, world.backing_off);
    });
}

#[test]
fn jobs_that_do_not_have_their_requests() {
    assert_found("has requests of others", |world, core| {
        core.requests.records[world.backing_off].job = None;
    });
    assert_found("has requests of others", |world, core| {
        core.requests.records[world.backing_off].job_id = JobId::from_u128(2);
    });
}

#[test]
fn task_managers_that_are_not_what_is_listed() {
    assert_found("task managers are listed", |world, core| {
        core.task_managers
            .registered
            .remove(&mut core.task_managers.records, world.idle_worker);
    });
    assert_found("is not found by its ids", |world, core| {
        core.task_managers.records[world.idle_worker].resource_id = ResourceId::new("other");
    });
    assert_found("is not found by its ids", |world, core| {
        core.task_managers.records[world.idle_worker].instance_id = InstanceId::from_u128(3);
    });
    assert_found("lists slots of others", |world, core| {
        core.task_managers.records[world.idle_worker].slots = [(4, world.offered)].into();
    });
    assert_found("are not ordered by number", |world, core| {
        let slot = (0, world.beside);
        core.task_managers.records[world.used_worker].slots = core.task_managers.records[world.used_worker]
            .slots
            .iter()
            .copied()
            .chain([slot])
            .collect();
    });
    assert_found("is idle or not", |world, core| {
        core.task_managers.records[world.idle_worker].idle_since = None;
    });
    assert_found("is idle or not", |world, core| {
        core.task_managers.records[world.used_worker].idle_since = Some(Timestamp::ZERO);
    });
    assert_found("is idle or not", |world, core| {
        core.task_managers
            .idle
            .disarm(&mut core.task_managers.records, world.idle_worker);
    });
}

#[test]
fn promised_slots_that_are_not_what_others_say_of_them() {
    assert_found("is not what its slots say", |world, core| {
        let worker_request = core.promises.records[world.bound].worker_request;
        core.promises.worker_requests[worker_request].id = WorkerRequestId::new(77);
    });
    assert_found("is in the wrong queues", |world, core| {
        core.promises.records[world.unbound].bound_to = Some(world.covered);
    });
    assert_found("is in the wrong queues", |world, core| {
        core.promises.records[world.bound].profile = core.promises.records[world.unbound].profile;
    });
    assert_found("covers a request that does not say so", |world, core| {
        core.requests.records[world.covered].phase = RequestPhase::Bound(world.unbound);
    });
    assert_found("covers a request that does not say so", |world, core| {
        core.promises.records[world.bound].bound_to = Some(world.backing_off);
    });
    assert_found("is covered by a promised slot that does not say so", |world, core| {
        let profile = core.requests.records[world.declined].profile;
        let requests = &mut core.requests;
        requests.ask_retries.disarm(&mut requests.records, world.declined);
        requests.unbound.remove(&mut requests.records, profile, world.declined);
        requests
            .bound
            .push(&mut requests.records, &core.profiles, profile, world.declined);
        requests.records[world.declined].phase = RequestPhase::Bound(world.unbound);
    });
    assert_found("a promised slot could cover request", |world, core| {
        let profile = core.requests.records[world.declined].profile;
        let id = WorkerRequestId::new(77);
        let (profiles, promised) = (&core.profiles, std::iter::once(profile));
        for promise in core.promises.insert(id, Timestamp::MAX, profiles, promised) {
            core.promises.push_unbound(profiles, promise);
        }
    });
}

#[test]
fn deadlines_and_queues_that_are_not_in_order() {
    assert_found("the deadlines of RequestTimeout are not in order", |world, core| {
        core.requests.records[world.backing_off].deadline = Timestamp::ZERO;
    });
    assert_found("the deadlines of RpcTimeout are not in order", |world, core| {
        core.requests.records[world.in_flight_request].timer = Timestamp::ZERO;
    });
    assert_found("the deadlines of RequestBackoff are not in order", |world, core| {
        core.requests.records[world.backing_off].timer = Timestamp::ZERO;
    });
    assert_found("the deadlines of WorkerRequestRetry are not in order", |world, core| {
        core.requests.records[world.declined].timer = Timestamp::ZERO;
    });
    assert_found("the deadlines of SlotBackoff are not in order", |world, core| {
        if let SlotPhase::BackingOff { until, .. } = &mut core.slots[world.backing_off_slot].phase {
            *until = Timestamp::ZERO;
        }
    });
    assert_found("the deadlines of WorkerRegistration are not in order", |world, core| {
        let worker_request = core.promises.records[world.bound].worker_request;
        core.promises.worker_requests[worker_request].expires_at = Timestamp::ZERO;
    });
    assert_found("the deadlines of IdleTimeout are not in order", |world, core| {
        core.task_managers.records[world.idle_worker].release_at = Timestamp::ZERO;
    });
    assert_found("the queues of covered requests are not in order", |world, core| {
        core.requests.records[world.covered].sequence = 99;
    });
    assert_found("the queues of uncovered requests are not in order", |world, core| {
        core.requests.records[world.declined].sequence = 0;
    });
    assert_found("the queues of offered slots are not in order", |world, core| {
        core.slots[world.offered].phase = SlotPhase::Offered { sequence: 99 };
    });
    assert_found("the queues of promised slots are not in order", |world, core| {
        core.promises.records[world.bound].sequence = 99;
    });
}

#[test]
fn texts_and_profiles_that_are_kept_for_nothing() {
    assert_found("the uses of addresses", |world, core| {
        let address = core.requests.records[world.backing_off].target_address;
        let address = core.requests.addresses[address].clone();
        core.requests.addresses.acquire(&address);
    });
    assert_found("the uses of profiles", |_, core| {
        core.profiles.acquire(&cores(77.0));
    });
}

#[test]
fn what_a_call_leaves_undone() {
    assert_found("effects were not reported", |world, core| {
        core.effects.worker_asks.push((0, world.backing_off));
    });
    assert_found("changes were not settled", |world, core| {
        core.transaction.free.push(world.offered);
    });
    assert_found("not everything is empty", |_, core| core.leader_id = None);
    let mut world = World::new(SlotMatchingStrategy::FirstFit);
    world.manager.driver.pending_answers.clear();
    let found = world.manager.check_invariants().expect_err("a future is missing");
    assert_eq!(
        found.to_string(),
        "invariant violated: 0 futures are kept for 1 attempts"
    );
}
