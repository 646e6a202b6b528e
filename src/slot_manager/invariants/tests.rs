//! The check of invariants finds and names each deliberate violation.

use std::time::Duration;

use crate::error::SlotAllocationError;
use crate::matching::SlotMatchingStrategy;
use crate::message::{Acknowledge, WorkerPromise};
use crate::outcome::{CancelOutcome, ReportOutcome};
use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::failing_workers::FailingWorkers;
use crate::slot_manager::state::promises::PromiseKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::{RpcState, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotManager, SlotManagerConfig,
    SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, Timestamp,
};

mod capacity;
mod dynamic_workers;
mod requirements;
mod set_aside;

type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

/// A manager with a record in every phase.
struct World {
    manager: Manager,
    /// Holds the allocation that is granted on `grant`, which has a later key.
    secondary_slot: SlotKey,
    grant: SlotKey,
    in_flight: SlotKey,
    backing_off_slot: SlotKey,
    offered: SlotKey,
    /// Two slots of `failing_worker`, which was unreachable. The first fits all requests, the
    /// second none.
    failing_slots: [SlotKey; 2],
    failing_worker: TaskManagerKey,
    used_worker: TaskManagerKey,
    idle_worker: TaskManagerKey,
    in_flight_request: RequestKey,
    backing_off_request: RequestKey,
    bound_request: RequestKey,
    declined: RequestKey,
    bound_promise: PromiseKey,
    unbound_promise: PromiseKey,
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
    assert!(registered.is_ok());
}

fn report(manager: &mut Manager, statuses: &[SlotStatus]) {
    let reported = manager.report_slot_status(InstanceId::from_u128(1), &SlotReport::new(statuses.to_vec()));
    assert_eq!(reported, Ok(ReportOutcome::Applied));
}

fn job(id: u128) -> JobId {
    JobId::from_u128(id)
}

fn request(manager: &mut Manager, id: u128, required: f64) {
    request_of(manager, 1, id, required);
}

fn request_of(manager: &mut Manager, of_job: u128, id: u128, required: f64) {
    let request = SlotRequest::new(job(of_job), allocation(id), cores(required), "job-master");
    let _ = manager.register_slot_request(request).expect("an accepted request");
}

/// Breaks a manager without violations, and checks that this one is found.
#[track_caller]
fn assert_found_in(mut manager: Manager, violation: &str, break_it: impl FnOnce(&mut Core)) {
    assert_eq!(manager.check_invariants(), Ok(()));
    break_it(&mut manager.core);
    let found = manager.check_invariants().expect_err(violation).to_string();
    assert!(found.contains(violation), "{found:?} does not contain {violation:?}");
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
        let holding = |number| SlotStatus::allocated(slot(number), cores(1.0), allocation(7), JobId::from_u128(7));
        let free = |number, profile| SlotStatus::free(slot(number), profile);
        let mut statuses = vec![holding(1)];
        register(&mut manager, "used", 1, &gateway, &statuses);
        statuses.insert(0, holding(0));
        statuses.push(free(2, cores(2.0)));
        report(&mut manager, &statuses);
        register(&mut manager, "idle", 2, &gateway, &[]);

        let unreachable = ScriptedGateway::new();
        unreachable.answer_requests(Err(SlotAllocationError::unreachable("no route")));
        let slots = [16.0, 0.125].map(cores);
        let slots =
            [0, 1].map(|number| SlotStatus::free(SlotId::new("failing", number), slots[number as usize].clone()));
        register(&mut manager, "failing", 3, &unreachable, &slots);
        request(&mut manager, 5, 16.0);
        assert_eq!(manager.unregister_slot_request(allocation(5)), CancelOutcome::Cancelled);

        // The first request fails twice and backs off. The failure of the second makes the slot
        // back off, so that the second request waits. The worker acknowledges another attempt
        // between, so that it does not back off.
        gateway.answer_requests(Err(SlotAllocationError::rejected("no")));
        request(&mut manager, 1, 2.0);
        statuses.push(free(5, cores(3.0)));
        report(&mut manager, &statuses);
        gateway.answer_next(Ok(Acknowledge::new()));
        request(&mut manager, 6, 3.0);
        statuses[3] = SlotStatus::allocated(slot(5), cores(3.0), allocation(6), job(1));
        request(&mut manager, 2, 2.0);
        gateway.answer_requests(GatewayAnswer::ByHand);
        statuses.push(free(3, cores(1.0)));
        report(&mut manager, &statuses);
        request(&mut manager, 3, 1.0);
        statuses.push(free(4, cores(1.0)));
        report(&mut manager, &statuses);
        actions.answer_next_allocation(Ok(WorkerPromise::Slots(vec![cores(8.0), cores(0.5)])));
        request_of(&mut manager, 2, 4, 8.0);
        Self::of(manager)
    }

    fn of(manager: Manager) -> Self {
        let core = &manager.core;
        let slot = |number| core.find_slot(&slot(number)).expect("a known slot");
        let pending = |has_phase: fn(&RequestPhase) -> bool| {
            let mut found = core
                .requests
                .records
                .iter()
                .filter(|(_, request)| has_phase(&request.phase));
            found.next().expect("a request in this phase").0
        };
        let promise = |is_bound| {
            let mut found = core.promises.records.iter();
            let found = found.find(|(_, promise)| promise.bound_to.is_some() == is_bound);
            found.expect("a promised slot in this state").0
        };
        let worker = |id: &str| {
            core.task_managers
                .by_resource(&ResourceId::new(id))
                .expect("registered")
        };
        Self {
            secondary_slot: slot(0),
            grant: slot(1),
            backing_off_slot: slot(2),
            in_flight: slot(3),
            offered: slot(4),
            failing_slots: [0, 1].map(|number| {
                let slot = core.find_slot(&SlotId::new("failing", number));
                slot.expect("a known slot")
            }),
            failing_worker: worker("failing"),
            used_worker: worker("used"),
            idle_worker: worker("idle"),
            in_flight_request: pending(|state| matches!(state, RequestPhase::InFlight(_))),
            backing_off_request: pending(|state| matches!(state, RequestPhase::BackingOff { .. })),
            bound_request: pending(|state| matches!(state, RequestPhase::Bound(_))),
            declined: pending(|state| matches!(state, RequestPhase::Unbound(WorkerAsk::Declined))),
            bound_promise: promise(true),
            unbound_promise: promise(false),
            manager,
        }
    }
}

/// Breaks the state and checks that the violation is found, for two strategies.
#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&World, &mut Core)) {
    for strategy in [SlotMatchingStrategy::FirstFit, SlotMatchingStrategy::LeastUtilization] {
        let mut world = World::new(strategy);
        assert_eq!(world.manager.check_invariants(), Ok(()));
        let mut core = std::mem::replace(&mut world.manager.core, Core::new(SlotManagerConfig::default()));
        break_it(&world, &mut core);
        world.manager.core = core;
        let found = world.manager.check_invariants().expect_err(violation).to_string();
        assert!(found.contains(violation), "{found:?} does not contain {violation:?}");
    }
}

#[test]
fn slots_that_disagree_with_their_task_manager_or_request() {
    assert_found("is missing from its task manager", |world, core| {
        core.slots[world.offered].number = 9;
    });
    assert_found("is missing from its task manager", |world, core| {
        core.slots[world.offered].task_manager = world.idle_worker;
    });
    assert_found("is detached", |world, core| {
        core.slots[world.offered].phase = SlotPhase::Detached;
    });
    assert_found("its request is not in flight to it", |world, core| {
        core.requests.records[world.in_flight_request].phase = RequestPhase::InFlight(world.offered);
    });
    assert_found("the answer for slot used_3 is not awaited", |world, core| {
        if let SlotPhase::InFlight(attempt) = &mut core.slots[world.in_flight].phase {
            attempt.rpc = RpcState::Answered;
        }
    });
}

#[test]
fn allocations_that_disagree_with_their_slots() {
    let set_secondary = |core: &mut Core, slot, is_secondary| {
        if let SlotPhase::Allocated { secondary, .. } = &mut core.slots[slot].phase {
            *secondary = is_secondary;
        }
    };
    assert_found("the secondary mark of slot", |world, core| {
        set_secondary(core, world.grant, true);
    });
    assert_found("the secondary mark of slot", |world, core| {
        set_secondary(core, world.secondary_slot, false);
    });
    assert_found(
        "with secondary mark true, but its entry is Some(Granted(",
        |world, core| {
            set_secondary(core, world.grant, true);
            core.allocations.add_secondary(allocation(7), world.grant);
        },
    );
    assert_found("with secondary mark false, but its entry is None", |world, core| {
        core.allocations
            .remove(allocation(7), AllocationEntry::Granted(world.grant));
    });
    assert_found("a secondary slot of allocation", |world, core| {
        core.allocations.add_secondary(allocation(9), world.grant);
    });
    assert_found("a secondary slot of allocation", |world, core| {
        core.allocations.add_secondary(allocation(9), world.offered);
    });
    assert_found("allocations are indexed", |world, core| {
        let unknown = core.allocations.fingerprint(allocation(9));
        core.allocations.insert(unknown, AllocationEntry::Granted(world.grant));
    });
}

#[test]
fn totals_that_differ_from_a_recount() {
    for used in SlotUsage::ALL {
        assert_found("the slot totals are", move |world, core| {
            let profile = core.slots[world.offered].profile;
            core.slot_totals.add_slots(&core.profiles, profile, 1);
            core.slot_totals.move_slot(profile, SlotUsage::Free, used);
        });
    }
    assert_found("the slot totals are", |world, core| {
        let profile = core.slots[world.offered].profile;
        core.slot_totals.add_promised(&core.profiles, profile);
    });
    assert_found("slots in flight and", |world, core| {
        core.task_managers.records[world.used_worker].in_flight += 1;
    });
    assert_found("slots in flight and", |world, core| {
        core.task_managers.records[world.used_worker].allocated += 1;
    });
}

fn offer(core: &mut Core, slot: SlotKey) {
    core.set_slot_phase(slot, SlotPhase::Detached);
    core.offer_last(slot, SlotUsage::Free);
}

#[test]
fn free_slots_that_disagree_with_the_index_or_the_backoff_queues() {
    assert_found("is in the free index, but not offered", |world, core| {
        core.slots[world.offered].profile = core.slots[world.backing_off_slot].profile;
    });
    assert_found("0 slots are in the free index, but 1 are offered", |world, core| {
        let ended = core.slots[world.offered].end_offer(SlotPhase::Offered { sequence: 99 });
        core.free_slots.remove(&mut core.slots, world.offered, ended);
    });
    let fits = |id: u128| format!("fits the waiting request {}", allocation(id));
    assert_found(&fits(2), |world, core| {
        offer(core, world.backing_off_slot);
    });
    // A request that backs off takes a slot of a worker that it was not tried on.
    assert_found(&fits(1), |world, core| {
        offer(core, world.failing_slots[0]);
    });
    assert_found("0 slots are in a backoff queue, but 1 back off", |world, core| {
        core.slot_backoffs.disarm(&mut core.slots, 0, world.backing_off_slot);
    });
}

#[test]
fn workers_that_back_off_and_disagree_with_their_slots_or_requests() {
    assert_found("slot used_4 waits for its worker", |world, core| {
        core.slots[world.offered].phase = SlotPhase::WorkerBackoff;
    });
    assert_found("slot failing_0 waits for its worker", |world, core| {
        core.blocking.task_managers.insert(world.failing_worker);
    });
    assert_found("worker failing backs off, but a slot is offered", |world, core| {
        offer(core, world.failing_slots[1]);
    });
    assert_found("waits, but slot or worker", |_, core| {
        core.failing_workers.take_first_end();
    });
    assert_found("is recorded as failing, but it is gone", |world, core| {
        let _ = core.failing_workers.note_failure(world.idle_worker, 0, allocation(1));
        core.task_managers.records.remove(world.idle_worker);
    });
    assert_found("the backoffs of workers are inconsistent", |world, core| {
        let (worker, request) = (world.failing_worker, allocation(1));
        let mut others = FailingWorkers::default();
        others.note_failure(worker, 0, request).note_unreachable();
        others.begin_backoff(worker, Timestamp::MAX, Timestamp::MAX, 0);
        std::mem::swap(
            core.failing_workers.note_failure(worker, 0, request),
            others.note_failure(worker, 0, request),
        );
    });
}

#[test]
fn failing_jobs_that_disagree_with_their_requests() {
    assert_found("counts 4 requests, but has 3", |_, core| {
        core.requests.failing_jobs.request_added(job(1));
    });
    assert_found("counts 0 requests, but has 0", |_, core| {
        core.requests.failing_jobs.add(job(9), allocation(1), 0);
    });
    assert_found(
        "(1, 3) suspect jobs and requests are counted, but there are (0, 0)",
        |_, core| {
            assert!(core.requests.failing_jobs.note_failure(job(1), allocation(1)));
            core.requests.failing_jobs.add(job(1), allocation(1), 3);
        },
    );
}

#[test]
fn requests_that_disagree_with_their_indexes() {
    assert_found("requests have a deadline", |world, core| {
        core.requests
            .deadlines
            .disarm(&mut core.requests.records, world.backing_off_request);
    });
    assert_found("the deadlines of requests are not in order", |world, core| {
        core.requests.records[world.backing_off_request].deadline = Timestamp::MAX;
    });
    assert_found("is in two queues", |world, core| {
        let phase = core.requests.records[world.declined].phase;
        core.requests.records[world.declined].phase = RequestPhase::Bound(world.bound_promise);
        core.push_waiting(world.declined);
        core.requests.records[world.declined].phase = phase;
    });
    assert_found("is not indexed by its allocation id", |world, core| {
        let id = core.requests.records[world.backing_off_request].allocation_id;
        core.allocations
            .remove(id, AllocationEntry::Pending(world.backing_off_request));
        let unknown = core.allocations.fingerprint(allocation(9));
        core.allocations
            .insert(unknown, AllocationEntry::Pending(world.backing_off_request));
    });
    assert_found("is detached", |world, core| {
        core.requests.records[world.declined].phase = RequestPhase::Detached;
    });
    assert_found("is due, but was not made", |world, core| {
        core.requests.records[world.declined].phase = RequestPhase::Unbound(WorkerAsk::Due);
    });
    assert_found("but no slot has its attempt", |world, core| {
        core.requests.records[world.backing_off_request].phase = RequestPhase::InFlight(world.offered);
    });
    assert_found("but no slot has its attempt", |world, core| {
        core.requests.records[world.backing_off_request].phase = RequestPhase::InFlight(world.in_flight);
    });
}

#[test]
fn requests_whose_queue_or_timer_disagrees_with_their_phase() {
    let message = "but its queue and timers are";
    assert_found(message, |world, core| {
        core.remove_waiting(world.declined);
    });
    assert_found(message, |world, core| {
        core.remove_waiting(world.bound_request);
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
            .disarm(&mut core.requests.records, 0, world.backing_off_request);
    });
}

#[test]
fn jobs_that_disagree_with_their_requests() {
    assert_found("lists a request of another job", |world, core| {
        core.requests.records[world.backing_off_request].job = None;
    });
    assert_found("lists a request of another job", |world, core| {
        core.requests.records[world.backing_off_request].job_id = JobId::from_u128(2);
    });
}

#[test]
fn task_managers_that_disagree_with_their_lists() {
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
    assert_found("lists a slot of another task manager", |world, core| {
        core.task_managers.records[world.idle_worker].slots = vec![(4, world.offered)].into();
    });
    assert_found("are not ordered by number", |world, core| {
        let slot = (0, world.secondary_slot);
        core.task_managers.records[world.used_worker].slots = core.task_managers.records[world.used_worker]
            .slots
            .iter()
            .copied()
            .chain([slot])
            .collect::<Vec<_>>()
            .into();
    });
    assert_found("and its idle timer is", |world, core| {
        core.task_managers.records[world.idle_worker].idle_since = None;
    });
    assert_found("and its idle timer is", |world, core| {
        core.task_managers.records[world.used_worker].idle_since = Some(Timestamp::ZERO);
    });
    assert_found("and its idle timer is", |world, core| {
        core.task_managers
            .idle
            .disarm(&mut core.task_managers.records, world.idle_worker);
    });
}

#[test]
fn promised_slots_that_disagree_with_their_requests_or_queues() {
    assert_found("does not match its promised slots", |world, core| {
        let worker_request = core.promises.records[world.bound_promise].worker_request;
        core.promises.worker_requests[worker_request].number = 77;
    });
    assert_found("is in the wrong queues", |world, core| {
        core.promises.records[world.unbound_promise].bound_to = Some(world.bound_request);
    });
    assert_found("is in the wrong queues", |world, core| {
        core.promises.records[world.bound_promise].profile = core.promises.records[world.unbound_promise].profile;
    });
    assert_found("is bound to a request that is not bound to it", |world, core| {
        core.requests.records[world.bound_request].phase = RequestPhase::Bound(world.unbound_promise);
    });
    assert_found("is bound to a request that is not bound to it", |world, core| {
        core.promises.records[world.bound_promise].bound_to = Some(world.backing_off_request);
    });
    assert_found("is bound to a promised slot that is not bound to it", |world, core| {
        let requests = &mut core.requests;
        requests.ask_retries.disarm(&mut requests.records, world.declined);
        core.remove_waiting(world.declined);
        core.requests.records[world.declined].phase = RequestPhase::Bound(world.unbound_promise);
        core.push_waiting(world.declined);
    });
    assert_found(
        "an unbound promised slot or worker fits unbound request",
        |world, core| {
            let profile = core.requests.records[world.declined].profile;
            let number = 77;
            let (profiles, promised) = (&core.profiles, std::iter::once(profile));
            for promise in core.promises.insert(number, Timestamp::MAX, profiles, promised) {
                core.promises.push_unbound(profiles, promise);
            }
        },
    );
}

#[test]
fn deadlines_and_queues_out_of_order() {
    assert_found("the deadlines of RequestTimeout are not in order", |world, core| {
        core.requests.records[world.backing_off_request].deadline = Timestamp::ZERO;
    });
    assert_found("the deadlines of RpcTimeout are not in order", |world, core| {
        core.requests.records[world.in_flight_request].timer = Timestamp::ZERO;
    });
    assert_found("the deadlines of RequestBackoff are not in order", |world, core| {
        core.requests.records[world.backing_off_request].timer = Timestamp::ZERO;
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
        let worker_request = core.promises.records[world.bound_promise].worker_request;
        core.promises.worker_requests[worker_request].expires_at = Timestamp::ZERO;
    });
    assert_found("the deadlines of IdleTimeout are not in order", |world, core| {
        core.task_managers.records[world.idle_worker].release_at = Timestamp::ZERO;
    });
    assert_found("the queues of waiting requests are not in order", |world, core| {
        core.requests.records[world.bound_request].sequence = 99;
    });
    assert_found("the queues of waiting requests are not in order", |world, core| {
        core.requests.records[world.declined].sequence = core.requests.records[world.backing_off_request].sequence;
    });
    assert_found("the queues of offered slots are not in order", |world, core| {
        core.slots[world.offered].phase = SlotPhase::Offered { sequence: 99 };
    });
    assert_found("the queues of promised slots are not in order", |world, core| {
        core.promises.records[world.bound_promise].sequence = 99;
    });
}

#[test]
fn addresses_and_profiles_without_a_use() {
    assert_found("the uses of addresses", |world, core| {
        let address = core.requests.records[world.backing_off_request].target_address;
        let address = core.requests.addresses[address].clone();
        core.requests.addresses.acquire(&address, 1);
    });
    assert_found("the uses of profiles", |_, core| {
        core.profiles.acquire(&cores(77.0), 1);
    });
}

#[test]
fn work_that_a_call_left_undone() {
    assert_found("effects were not flushed", |world, core| {
        core.effects.worker_asks.push((0, world.backing_off_request));
    });
    assert_found("requests are held back", |_, core| {
        core.requests.held_back = true;
        core.requests.may_release_held_back = true;
    });
    assert_found("the transaction was not committed", |world, core| {
        core.transaction.free.push(world.offered);
    });
    assert_found("the manager is not started, but not empty", |_, core| {
        core.leader_id = None;
    });
    let mut world = World::new(SlotMatchingStrategy::FirstFit);
    world.manager.driver.pending_answers.clear();
    let found = world.manager.check_invariants().expect_err("an answer is missing");
    assert_eq!(
        found.to_string(),
        "invariant violated: 0 futures are awaited, but 1 attempts await one"
    );
}
