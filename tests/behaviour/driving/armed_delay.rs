//! At most one delay is armed, for the earliest deadline.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, Release, SlotManager, Timestamp, WorkerPromise};

use super::Task;
use crate::common::{Fixture, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// After a look the delay is armed for the earliest deadline, and nothing else is.
#[track_caller]
fn assert_armed(fixture: &mut Fixture, task: &Task, second: Option<u64>) {
    while fixture
        .step(|manager| manager.poll_progress(&mut task.context()))
        .is_ready()
    {}
    let expected: Vec<_> = second.map(Timestamp::from_secs).into_iter().collect();
    assert_eq!(fixture.clock.armed(), expected);
    assert_eq!(fixture.manager.next_deadline(), expected.first().copied());
}

#[test]
fn it_is_armed_for_the_earliest_deadline_of_all_kinds() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(100 * SECOND)
            .with_worker_registration_timeout(80 * SECOND)
            .with_task_manager_timeout(60 * SECOND)
            .with_rpc_timeout(40 * SECOND)
            .with_retry_backoff(20 * SECOND, 20 * SECOND),
    );
    fixture.actions.answer_releases(Release::Declined);
    let task = Task::new();
    assert_armed(&mut fixture, &task, None);

    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &profile(9.0, 0));
    assert_armed(&mut fixture, &task, Some(80));
    fixture.cancel(1);
    fixture.worker_failed(1);
    fixture.request(2, &profile(9.0, 0));
    assert_armed(&mut fixture, &task, Some(80));

    let gateway = fixture.register_free("tm", 1, &[small()]);
    assert_armed(&mut fixture, &task, Some(60));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(3, &small());
    assert_armed(&mut fixture, &task, Some(40));
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_armed(&mut fixture, &task, Some(80));

    fixture.clock.advance(10 * SECOND);
    fixture.free(&slot("tm", 0), 3);
    assert_armed(&mut fixture, &task, Some(70));
    let no = Err(slot_manager::SlotAllocationError::rejected("no"));
    gateway.answer_requests(no);
    fixture.request(4, &small());
    assert_armed(&mut fixture, &task, Some(30));
    fixture.cancel(4);
    assert_armed(&mut fixture, &task, Some(70));

    fixture.unregister(1);
    fixture.cancel(2);
    assert_armed(&mut fixture, &task, None);
}

#[test]
fn it_is_created_only_while_the_manager_is_driven() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    assert_eq!(fixture.clock.armed(), []);
    fixture.run();
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(10)]);
}

#[test]
fn inputs_leave_it_as_it_was() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(5 * SECOND),
    );
    fixture.request(1, &profile(9.0, 0));
    fixture.run();
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(10)]);
    fixture.run();
    assert_eq!(
        fixture.clock.armed(),
        [Timestamp::from_secs(5)],
        "in place of the other"
    );
}

#[test]
fn suspending_drops_it() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.run();
    assert_eq!(fixture.clock.armed().len(), 1);
    fixture.step(SlotManager::suspend);
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
    assert_eq!(fixture.advance(20 * SECOND), 0);
    assert_eq!(fixture.clock.armed(), []);
}

#[test]
fn dropping_the_manager_drops_it() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.run();
    let clock = fixture.clock.clone();
    drop(fixture);
    assert_eq!(clock.armed(), []);
}

#[test]
fn never_is_not_armed() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.request(1, &profile(9.0, 0));
    fixture.run();
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
}

/// Through a long life there is never a second one.
#[test]
fn there_is_never_more_than_one() {
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(7 * SECOND)
            .with_worker_registration_timeout(3 * SECOND)
            .with_task_manager_timeout(2 * SECOND)
            .with_rpc_timeout(SECOND),
    );
    fixture.actions.answer_releases(Release::Declined);
    for id in 0..60 {
        if id % 5 == 0 {
            fixture
                .register_free(&format!("tm-{}", id % 4), 100 + id, &[small(), profile(3.0, 0)])
                .answer_requests(GatewayAnswer::ByHand);
        }
        fixture.request(id, &profile(1.0 + (id % 5) as f64, 0));
        assert!(fixture.clock.armed().len() <= 1);
        fixture.advance(Duration::from_millis(437));
        assert_eq!(fixture.clock.armed(), Vec::from_iter(fixture.manager.next_deadline()));
    }
}
