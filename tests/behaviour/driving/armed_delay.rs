//! At most one delay is armed, for the earliest deadline.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, Release, SlotManager, Timestamp, WorkerPromise};

use super::Task;
use crate::common::{Fixture, patient, profile, report, slot, small};

const SECOND: Duration = Duration::from_secs(1);

/// After a look the delay is armed for the earliest deadline, and nothing else is.
#[track_caller]
fn assert_armed(f: &mut Fixture, task: &Task, second: Option<u64>) {
    while f.step(|manager| manager.poll_progress(&mut task.context())).is_ready() {}
    let expected: Vec<_> = second.map(Timestamp::from_secs).into_iter().collect();
    assert_eq!(f.clock.armed(), expected);
    assert_eq!(f.manager.next_deadline(), expected.first().copied());
}

#[test]
fn it_is_armed_for_the_earliest_deadline_of_all_kinds() {
    let mut f = Fixture::with(
        patient()
            .with_request_timeout(100 * SECOND)
            .with_worker_registration_timeout(80 * SECOND)
            .with_task_manager_timeout(60 * SECOND)
            .with_rpc_timeout(40 * SECOND)
            .with_retry_pause(20 * SECOND, 20 * SECOND),
    );
    f.actions.answer_releases(Release::Declined);
    let task = Task::new();
    assert_armed(&mut f, &task, None);

    f.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    f.request(1, &profile(9.0, 0));
    assert_armed(&mut f, &task, Some(80));
    f.cancel(1);
    f.worker_failed(1);
    f.request(2, &profile(9.0, 0));
    assert_armed(&mut f, &task, Some(80));

    let gateway = f.register_free("tm", 1, &[small()]);
    assert_armed(&mut f, &task, Some(60));
    gateway.answer_requests(GatewayAnswer::ByHand);
    f.request(3, &small());
    assert_armed(&mut f, &task, Some(40));
    gateway.answer(1, Ok(Acknowledge::new())).expect("it is pending");
    assert_armed(&mut f, &task, Some(80));

    f.clock.advance(10 * SECOND);
    f.free(&slot("tm", 0), 3);
    assert_armed(&mut f, &task, Some(70));
    let no = Err(slot_manager::SlotAllocationError::rejected("no"));
    gateway.answer_requests(no);
    f.request(4, &small());
    assert_armed(&mut f, &task, Some(30));
    f.cancel(4);
    assert_armed(&mut f, &task, Some(70));

    f.unregister(1);
    f.cancel(2);
    assert_armed(&mut f, &task, None);
}

#[test]
fn it_is_created_only_while_the_manager_is_driven() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    f.request(1, &small());
    assert_eq!(f.clock.armed(), []);
    f.run();
    assert_eq!(f.clock.armed(), [Timestamp::from_secs(10)]);
}

#[test]
fn inputs_leave_it_as_it_was() {
    let mut f = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(5 * SECOND),
    );
    f.request(1, &profile(9.0, 0));
    f.run();
    f.register_free("tm", 1, &[small()]);
    assert_eq!(f.clock.armed(), [Timestamp::from_secs(10)]);
    f.run();
    assert_eq!(f.clock.armed(), [Timestamp::from_secs(5)], "in place of the other");
}

#[test]
fn suspending_drops_it() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    f.request(1, &small());
    f.run();
    assert_eq!(f.clock.armed().len(), 1);
    f.step(SlotManager::suspend);
    assert_eq!(f.clock.armed(), []);
    assert_eq!(f.manager.next_deadline(), None);
    assert_eq!(f.advance(20 * SECOND), 0);
    assert_eq!(f.clock.armed(), []);
}

#[test]
fn dropping_the_manager_drops_it() {
    let mut f = Fixture::with(patient().with_request_timeout(10 * SECOND));
    f.request(1, &small());
    f.run();
    let clock = f.clock.clone();
    drop(f);
    assert_eq!(clock.armed(), []);
}

#[test]
fn never_is_not_armed() {
    let mut f = Fixture::new();
    f.register("tm", 1, &report("tm", &[None]));
    f.request(1, &profile(9.0, 0));
    f.run();
    assert_eq!(f.clock.armed(), []);
    assert_eq!(f.manager.next_deadline(), None);
}

/// Through a long life there is never a second one.
#[test]
fn there_is_never_more_than_one() {
    let mut f = Fixture::with(
        patient()
            .with_request_timeout(7 * SECOND)
            .with_worker_registration_timeout(3 * SECOND)
            .with_task_manager_timeout(2 * SECOND)
            .with_rpc_timeout(SECOND),
    );
    f.actions.answer_releases(Release::Declined);
    for id in 0..60 {
        if id % 5 == 0 {
            f.register_free(&format!("tm-{}", id % 4), 100 + id, &[small(), profile(3.0, 0)])
                .answer_requests(GatewayAnswer::ByHand);
        }
        f.request(id, &profile(1.0 + (id % 5) as f64, 0));
        assert!(f.clock.armed().len() <= 1);
        f.advance(Duration::from_millis(437));
        assert_eq!(f.clock.armed(), Vec::from_iter(f.manager.next_deadline()));
    }
}
