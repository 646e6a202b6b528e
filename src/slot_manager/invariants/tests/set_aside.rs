//! Violations about the worker that is set aside.

use std::time::Duration;

use super::{Manager, allocation, assert_found_in, cores, job};
use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requests::RequestPhase;
use crate::slot_manager::state::set_aside::Earmark;
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{
    DynamicResources, InstanceId, LeaderId, SlotManagerConfig, SlotReport, SlotRequest, TaskExecutorConnection,
};

const DELAY: Duration = Duration::from_secs(30);

/// Returns a manager with a dynamic worker that is set aside for request 2, and request 3, which has
/// not waited long.
fn manager() -> Manager {
    let time = ManualScheduledExecutor::new();
    let config = SlotManagerConfig::default().with_reservation_delay(DELAY);
    let mut manager = Manager::new(config, time.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let report = SlotReport::of_dynamic(DynamicResources::new(cores(8.0)), vec![]);
    let connection = TaskExecutorConnection::new("tm", InstanceId::from_u128(1), ScriptedGateway::new());
    assert!(manager.register_task_manager(connection, &report).is_ok());
    let mut request = |id: u128, size: f64| {
        let request = SlotRequest::new(job(7), allocation(id), cores(size), "job-master");
        assert!(manager.register_slot_request(request).is_ok());
    };
    request(1, 2.0);
    request(2, 8.0);
    time.advance(DELAY);
    manager.run_until_stalled();
    let request = SlotRequest::new(job(7), allocation(3), cores(9.0), "job-master");
    assert!(manager.register_slot_request(request).is_ok());
    manager
}

fn current(core: &Core) -> Earmark {
    core.set_aside.current().expect("a worker is set aside")
}

#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&mut Core)) {
    assert_found_in(manager(), violation, break_it);
}

#[test]
fn worker_that_should_be_set_aside_is_found() {
    assert_found("no worker is set aside, but one may be", |core| {
        assert!(core.set_aside.end().is_some());
    });
}

#[test]
fn worker_that_is_set_aside_in_vain_is_found() {
    let begin = |core: &mut Core, change: &dyn Fn(&mut Earmark)| {
        let mut earmark = current(core);
        change(&mut earmark);
        core.set_aside.begin(earmark);
    };
    assert_found("is set aside in vain", |core| {
        begin(core, &|earmark| earmark.sequence += 1);
    });
    assert_found("is set aside in vain", |core| {
        begin(core, &|earmark| earmark.task_manager = TaskManagerKey::from_index(7));
    });
    assert_found("is set aside in vain", |core| {
        let other = core.requests.oldest_first().find(|it| *it != current(core).request);
        let request = other.expect("request 3");
        let sequence = core.requests.records[request].sequence;
        begin(core, &|earmark| {
            (earmark.request, earmark.sequence) = (request, sequence);
        });
    });
}

#[test]
fn requests_that_are_not_listed_as_young_are_found() {
    let violation = "the requests that have not waited long are not those listed";
    assert_found(violation, |core| core.set_aside.clear());
    assert_found(violation, |core| {
        let request = current(core).request;
        assert!(matches!(core.requests.records[request].phase, RequestPhase::Unbound(_)));
        core.set_aside.add(request, 0, crate::Timestamp::MAX);
    });
}
