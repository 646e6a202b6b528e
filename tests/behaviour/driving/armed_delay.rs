//! At most one delay is armed, for the earliest deadline (B.8).

use std::time::Duration;

use slot_manager::Timestamp;
use slot_manager::message::{Release, WorkerPromise};

use super::{Task, park};
use crate::common::{Fixture, SECOND, acknowledged, patient, profile, rejected, report, slot, small};

/// Checks that after a poll the delay is armed for the earliest deadline, and nothing else is.
#[track_caller]
fn assert_armed(fixture: &mut Fixture, task: &Task, second: Option<u64>) {
    park(fixture, task);
    let expected: Vec<_> = second.map(Timestamp::from_secs).into_iter().collect();
    assert_eq!(fixture.clock.armed(), expected);
    assert_eq!(fixture.manager.next_deadline(), expected.first().copied());
}

/// B.8
#[test]
fn delay_is_armed_for_the_earliest_deadline_of_all_kinds() {
    // given
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

    // when, then: a promised slot, and a declined worker request
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(1, &profile(9.0, 0));
    assert_armed(&mut fixture, &task, Some(80));
    fixture.cancel(1);
    fixture.worker_failed(1);
    fixture.request(2, &profile(9.0, 0));
    assert_armed(&mut fixture, &task, Some(80));

    // when, then: an idle task manager, and an attempt in flight
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    assert_armed(&mut fixture, &task, Some(60));
    fixture.request(3, &small());
    assert_armed(&mut fixture, &task, Some(40));
    gateway
        .answer(1, acknowledged())
        .expect("the attempt awaits its answer");
    assert_armed(&mut fixture, &task, Some(80));

    // when, then: idle again, and a request that backs off
    fixture.clock.advance(10 * SECOND);
    fixture.free(&slot("tm", 0), 3);
    assert_armed(&mut fixture, &task, Some(70));
    gateway.answer_requests(rejected());
    fixture.request(4, &small());
    assert_armed(&mut fixture, &task, Some(30));
    fixture.cancel(4);
    assert_armed(&mut fixture, &task, Some(70));

    // when, then
    fixture.unregister(1);
    fixture.cancel(2);
    assert_armed(&mut fixture, &task, None);
}

#[test]
fn delay_is_created_only_while_the_manager_is_driven() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));

    // when, then
    fixture.request(1, &small());
    assert_eq!(fixture.clock.armed(), []);

    // when, then
    fixture.run();
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(10)]);
}

#[test]
fn inputs_leave_the_delay_as_it_was() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(10 * SECOND)
            .with_task_manager_timeout(5 * SECOND),
    );
    fixture.request(1, &profile(9.0, 0));
    fixture.run();

    // when, then: the idle timeout comes first
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(10)]);

    // when, then: its delay replaces the other
    fixture.run();
    assert_eq!(fixture.clock.armed(), [Timestamp::from_secs(5)]);
}

#[test]
fn dropping_the_manager_drops_the_delay() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.run();
    let clock = fixture.clock.clone();
    assert_eq!(clock.armed().len(), 1);

    // when
    drop(fixture);

    // then
    assert_eq!(clock.armed(), []);
}

#[test]
fn infinite_deadline_is_not_armed() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.request(1, &profile(9.0, 0));

    // when
    fixture.run();

    // then
    assert_eq!(fixture.clock.armed(), []);
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn there_is_never_more_than_one_delay() {
    // given: timeouts of all kinds
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(7 * SECOND)
            .with_worker_registration_timeout(3 * SECOND)
            .with_task_manager_timeout(2 * SECOND)
            .with_rpc_timeout(SECOND),
    );
    fixture.actions.answer_releases(Release::Declined);

    // when: much happens
    for id in 0..60 {
        if id % 5 == 0 {
            let worker = format!("tm-{}", id % 4);
            let gateway = fixture.gateway_by_hand();
            let report = crate::common::free_report(&worker, &[small(), profile(3.0, 0)]);
            fixture.register_with(&worker, 100 + id, &report, &gateway);
        }
        fixture.request(id, &profile(1.0 + (id % 5) as f64, 0));

        // then
        assert!(fixture.clock.armed().len() <= 1);
        fixture.advance(Duration::from_millis(437));
        assert_eq!(fixture.clock.armed(), Vec::from_iter(fixture.manager.next_deadline()));
    }
}
