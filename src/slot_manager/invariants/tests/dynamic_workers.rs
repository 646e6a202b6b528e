//! Violations about dynamic workers, registered and promised.

use super::{Manager, allocation, assert_found_in, cores, job, request};
use crate::message::WorkerPromise;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::promises::WorkerRequestKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{
    DynamicResources, InstanceId, LeaderId, SlotId, SlotManagerConfig, SlotReport, SlotStatus, TaskExecutorConnection,
};

/// Returns a manager with these records:
///
/// - A dynamic worker of 8 cores with a cut of 6, and a default slot of 2.
/// - A promised worker of 8 cores, to which a request for 5 is bound.
/// - A request for 9 cores, whose worker request was declined.
fn manager() -> Manager {
    let time = ManualScheduledExecutor::new();
    let mut manager = Manager::new(SlotManagerConfig::default(), time).expect("a valid configuration");
    let (actions, gateway) = (RecordingActions::new(), ScriptedGateway::new());
    manager
        .start(LeaderId::from_u128(1), actions.clone())
        .expect("not started");
    let worker = DynamicResources::new(cores(8.0)).with_default_slot(cores(2.0));
    let held = SlotStatus::allocated(SlotId::dynamic("dynamic", 0), cores(6.0), allocation(1), job(1));
    let connection = TaskExecutorConnection::new("dynamic", InstanceId::from_u128(1), gateway);
    let registered = manager.register_task_manager(connection, &SlotReport::of_dynamic(worker.clone(), vec![held]));
    assert!(registered.is_ok());
    actions.answer_next_allocation(Ok(WorkerPromise::Total(worker)));
    request(&mut manager, 2, 5.0);
    request(&mut manager, 3, 9.0);
    manager
}

fn worker(core: &Core) -> TaskManagerKey {
    let (key, _) = core.dynamic_workers.iter().next().expect("a dynamic worker");
    key
}

fn promised(core: &Core) -> WorkerRequestKey {
    let (key, _) = core.promises.promised_workers().next().expect("a promised worker");
    key
}

fn declined(core: &Core) -> RequestKey {
    let mut requests = core.requests.records.iter();
    let declined = RequestPhase::Unbound(WorkerAsk::Declined);
    let found = requests.find(|(_, request)| request.phase == declined);
    found.expect("a declined request").0
}

#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&mut Core)) {
    assert_found_in(manager(), violation, break_it);
}

#[test]
fn dynamic_workers_that_disagree_with_their_cuts() {
    assert_found("of the wrong kind", |core| {
        let key = worker(core);
        let owner = &mut core.task_managers.records[key];
        owner.slots = owner.slots.to_vec().into();
    });
    assert_found("but a recount gives", |core| {
        let (profile, profiles) = (core.profiles.acquire(&cores(1.0), 1), &core.profiles);
        core.dynamic_workers.give_back(worker(core), profiles, profile);
    });
    assert_found("is offered wrongly", |core| {
        core.dynamic_workers.withdraw(worker(core));
    });
}

#[test]
fn promised_workers_that_disagree_with_their_cuts() {
    assert_found(
        "the remainders, places or counts of promised workers are wrong",
        |core| {
            let key = promised(core);
            let profile = core.promises.records.iter().next().expect("a cut").1.profile;
            core.promises.end_cut(&core.profiles, key, profile);
        },
    );
}

#[test]
fn a_promised_worker_that_fits_an_unbound_request() {
    assert_found("an unbound promised slot or worker fits unbound request", |core| {
        let request = declined(core);
        core.remove_waiting(request);
        let smaller = core.profiles.acquire(&cores(3.0), 1);
        core.requests.records[request].profile = smaller;
        core.push_waiting(request);
    });
}
