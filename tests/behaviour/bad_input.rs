//! Bad input: it has a clear error and changes nothing. Odd but legal input works.

use std::time::Duration;

use slot_manager::error::{ConfigError, InvalidReport, ResourceManagerError, SlotAllocationError, SlotManagerError};
use slot_manager::message::{Release, ReleaseDecision, WorkerPromise};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RecoveryOutcome, ReleaseAnswerOutcome, ReportOutcome, SlotAnswerOutcome,
    SlotFreedOutcome, UnblockOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::testing::{GatewayAnswer, RecordingActions};
use slot_manager::{
    LeaderId, SlotManager, SlotManagerConfig, SlotReport, SlotStatus, TaskExecutorConnection, Timestamp,
};

use crate::common::{
    Fixture, LAST_NUMBER, MILLISECOND, Manager, SECOND, acknowledged, allocation, asks, attempt, failures, free_report,
    freed, granted, instance, job, patient, profile, rejected, release_check, release_checks, releases, report,
    request, slot, slot_requests, small, worker_request,
};

/// Returns all that the views show of a manager, in lines.
fn snapshot(manager: &Manager) -> Vec<String> {
    let mut lines = vec![
        format!("leader {:?}", manager.leader_id()),
        format!("{:?} {:?}", manager.overview().slots, manager.overview().promised),
        format!(
            "{} task managers, {} requests, {} answers awaited, next deadline {:?}",
            manager.overview().task_managers,
            manager.overview().pending_requests,
            manager.overview().slots.in_flight.slots,
            manager.next_deadline()
        ),
    ];
    lines.extend(manager.task_managers().map(|task_manager| {
        format!(
            "{task_manager:?} {:?} {:?}",
            task_manager.worker_request(),
            task_manager.revision()
        )
    }));
    lines.extend(manager.slots().map(|slot| format!("{slot:?}")));
    lines.extend(manager.pending_slot_requests().map(|request| {
        format!(
            "{request:?} {} {} {:?} {:?} {:?}",
            request.target_address(),
            request.failed_attempts(),
            request.in_flight_to(),
            request.backs_off_until(),
            request.bound_to()
        )
    }));
    lines.extend(
        manager
            .promised_slots()
            .map(|promise| format!("{promise:?} {}", promise.expires_at())),
    );
    lines
}

/// A manager with slots in each state, requests that wait, back off and are in flight, promised
/// slots, and a revision.
fn busy() -> Fixture {
    let config = patient()
        .with_request_timeout(100 * SECOND)
        .with_rpc_timeout(50 * SECOND)
        .with_worker_registration_timeout(40 * SECOND)
        .with_max_pending_requests(Some(5));
    let mut fixture = Fixture::with(config);
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![profile(9.0, 0); 2])));
    fixture.request(2, &profile(9.0, 0));
    fixture.request(3, &profile(20.0, 0));
    fixture
        .register_free("bad", 9, &[profile(3.0, 0)])
        .answer_requests(rejected());
    fixture.request(4, &profile(3.0, 0));
    fixture.request(5, &profile(3.0, 0));
    let connection =
        TaskExecutorConnection::new("tm", instance(1), fixture.gateway()).with_worker_request(worker_request(77));
    connection.gateway().answer_requests(GatewayAnswer::ByHand);
    let first = report("tm", &[Some(7), None, None]).with_revision(5);
    fixture.try_register(connection, &first).expect("a valid registration");
    fixture.request(1, &small());
    fixture.run();
    fixture.log.take();
    fixture
}

/// Checks that a call changes no view and has no effects.
#[track_caller]
fn changes_nothing<T>(fixture: &mut Fixture, call: impl FnOnce(&mut Manager) -> T) -> T {
    let (before, armed) = (snapshot(&fixture.manager), fixture.clock.armed());
    let result = fixture.step(call);
    assert_eq!(snapshot(&fixture.manager), before);
    fixture.expect_nothing();
    assert_eq!(fixture.clock.armed(), armed);
    assert_eq!(fixture.run(), 0, "no work is left");
    assert_eq!(snapshot(&fixture.manager), before);
    result
}

/// Checks that a call returns this error and changes nothing.
#[track_caller]
fn is_refused<T, E>(fixture: &mut Fixture, call: impl FnOnce(&mut Manager) -> Result<T, E>, message: &str)
where
    E: std::error::Error + Into<SlotManagerError>,
{
    let Err(error) = changes_nothing(fixture, call) else {
        panic!("the call was accepted");
    };
    assert_eq!(error.to_string(), message);
    // The common error type has the same text.
    assert_eq!(error.into().to_string(), message);
}

#[test]
fn busy_manager_has_slots_and_requests_in_all_states() {
    // given
    let fixture = busy();

    // then
    let seen = snapshot(&fixture.manager).join("\n");
    for part in [
        "Free",
        "BackingOff",
        "InFlight",
        "Allocated",
        "in_flight_to: Some",
        "bound_to: Some",
        "backs_off_until: Some",
    ] {
        assert!(seen.contains(part), "no {part} in\n{seen}");
    }
}

// Managers that are not started.

#[track_caller]
fn assert_refuses_every_input(fixture: &mut Fixture) {
    let message = "the slot manager is not started";
    let gateway = fixture.gateway();
    is_refused(fixture, |m| m.register_slot_request(request(1, 1, &small())), message);
    is_refused(
        fixture,
        |m| {
            let connection = TaskExecutorConnection::new("tm", instance(1), gateway);
            m.register_task_manager(connection, &free_report("tm", &[small()]))
        },
        message,
    );
    is_refused(
        fixture,
        |m| m.report_slot_status(instance(1), &report("tm", &[None])),
        message,
    );
    // Infallible inputs know nothing.
    let unknown = changes_nothing(fixture, |m| m.unregister_slot_request(allocation(1)));
    assert_eq!(unknown, CancelOutcome::Unknown);
    assert_eq!(changes_nothing(fixture, |m| m.unregister_job(job(1))), 0);
    let unknown = changes_nothing(fixture, |m| m.slot_freed(&freed(&slot("tm", 0), 7)));
    assert_eq!(unknown, SlotFreedOutcome::Unknown);
    let unknown = changes_nothing(fixture, |m| m.answer_slot_request(attempt(1, 1), acknowledged()));
    assert_eq!(unknown, SlotAnswerOutcome::Unknown);
    let unknown = changes_nothing(fixture, |m| m.unregister_task_manager(instance(1), "lost"));
    assert_eq!(unknown, UnregistrationOutcome::Unknown);
    let unknown = changes_nothing(fixture, |m| m.worker_failed(worker_request(1), "it failed"));
    assert_eq!(unknown, WorkerFailedOutcome::Unknown);
    let unknown = changes_nothing(fixture, |m| {
        m.answer_release(&release_check(1, 1), ReleaseDecision::Release)
    });
    assert_eq!(unknown, ReleaseAnswerOutcome::Unknown);
    assert_eq!(
        changes_nothing(fixture, |m| m.unblock(&"tm".into())),
        UnblockOutcome::NotBlocked
    );
    assert_eq!(
        changes_nothing(fixture, SlotManager::end_recovery),
        RecoveryOutcome::NotRecovering
    );
    assert_eq!(fixture.run(), 0);
    assert!(fixture.manager.actions_mut().is_none());
}

#[test]
fn every_input_before_the_start_is_refused() {
    assert_refuses_every_input(&mut Fixture::not_started(patient()));
}

#[test]
fn every_input_after_suspending_is_refused() {
    let mut fixture = busy();
    fixture.step(SlotManager::suspend).expect("it was started");
    assert_refuses_every_input(&mut fixture);
}

/// The error of a manager that is not started comes first, also for invalid reports.
#[test]
fn input_that_is_wrong_twice_is_refused_because_the_manager_is_not_started() {
    // given
    let mut fixture = Fixture::not_started(patient());
    let connection = TaskExecutorConnection::new("tm", instance(1), fixture.gateway());

    // when, then
    is_refused(
        &mut fixture,
        |m| m.register_task_manager(connection, &free_report("other", &[small()])),
        "the slot manager is not started",
    );
}

#[test]
fn starting_twice_is_refused() {
    // given
    let mut fixture = busy();

    // when, then
    is_refused(
        &mut fixture,
        |m| m.start(LeaderId::from_u128(2), RecordingActions::new()),
        "the slot manager is already started by leader 00000000000000000000000000000001",
    );
}

// Reports.

fn foreign() -> SlotReport {
    SlotReport::new(vec![
        SlotStatus::free(slot("tm", 0), small()),
        SlotStatus::allocated(slot("other", 1), small(), allocation(2), job(1)),
    ])
}

fn twice() -> SlotReport {
    SlotReport::new(vec![
        SlotStatus::allocated(slot("tm", 1), small(), allocation(2), job(1)),
        SlotStatus::free(slot("tm", 0), small()),
        SlotStatus::free(slot("tm", 1), small()),
    ])
}

const FOREIGN: &str = "the report of tm names slot other_1 of another worker";
const TWICE: &str = "the report names slot tm_1 twice";

#[test]
fn report_with_a_slot_of_another_worker_is_refused() {
    is_refused(&mut busy(), |m| m.report_slot_status(instance(1), &foreign()), FOREIGN);
    let error = InvalidReport::ForeignSlot {
        resource_id: "tm".into(),
        slot_id: slot("other", 1),
    };
    assert_eq!(busy().try_report(1, &foreign()), Err(error.into()));
}

#[test]
fn report_that_names_a_slot_twice_is_refused() {
    is_refused(&mut busy(), |m| m.report_slot_status(instance(1), &twice()), TWICE);
    let error = InvalidReport::DuplicateSlot { slot_id: slot("tm", 1) };
    assert_eq!(busy().try_report(1, &twice()), Err(error.into()));
}

/// The instance id is known, or new in place of the old, or the worker is unknown.
#[test]
fn registrations_with_invalid_reports_are_refused() {
    for instance_id in [instance(1), instance(2)] {
        for (wrong, message) in [(foreign(), FOREIGN), (twice(), TWICE)] {
            let mut fixture = busy();
            let connection = TaskExecutorConnection::new("tm", instance_id, fixture.gateway());
            is_refused(&mut fixture, |m| m.register_task_manager(connection, &wrong), message);
        }
    }
    for (wrong, message) in [(foreign(), FOREIGN), (twice(), TWICE)] {
        let mut fixture = busy();
        fixture.unregister(1);
        fixture.log.take();
        fixture.run();
        let connection = TaskExecutorConnection::new("tm", instance(1), fixture.gateway());
        is_refused(&mut fixture, |m| m.register_task_manager(connection, &wrong), message);
        assert!(fixture.manager.task_manager(instance(1)).is_none());
    }
}

#[test]
fn instance_id_of_another_worker_is_refused() {
    // given
    let mut fixture = busy();
    let connection = TaskExecutorConnection::new("new", instance(1), fixture.gateway());

    // when, then
    is_refused(
        &mut fixture,
        |m| m.register_task_manager(connection, &free_report("new", &[small()])),
        "instance 00000000000000000000000000000001 is a registration of tm, not of new",
    );
    // Also for a worker that is registered itself.
    let connection = TaskExecutorConnection::new("bad", instance(1), fixture.gateway());
    is_refused(
        &mut fixture,
        |m| m.register_task_manager(connection, &free_report("bad", &[small()])),
        "instance 00000000000000000000000000000001 is a registration of tm, not of bad",
    );
}

// Requests.

#[test]
fn request_beyond_the_cap_is_refused() {
    // given
    let mut fixture = busy();

    // then
    assert_eq!(fixture.manager.overview().pending_requests, 5);
    is_refused(
        &mut fixture,
        |m| m.register_slot_request(request(1, 99, &small())),
        "the limit of 5 pending slot requests is reached",
    );
}

#[test]
fn known_allocation_id_with_another_job_or_profile_is_refused() {
    // given
    let mut fixture = busy();

    // when, then
    is_refused(
        &mut fixture,
        |m| m.register_slot_request(request(2, 1, &small())),
        "allocation 00000000000000000000000000000001 is already known with another job; it is in flight to slot tm_1",
    );
    is_refused(
        &mut fixture,
        |m| m.register_slot_request(request(1, 2, &small())),
        "allocation 00000000000000000000000000000002 is already known with another resource profile; it is waiting",
    );
    is_refused(
        &mut fixture,
        |m| m.register_slot_request(request(2, 7, &small())),
        "allocation 00000000000000000000000000000007 is already known with another job; it is granted on slot tm_0",
    );
}

/// The only error after an effect: the worker request was made. The slot request is forgotten.
#[test]
fn request_for_which_no_worker_may_be_started_is_refused_and_forgotten() {
    // given
    let mut fixture = Fixture::new();
    fixture
        .actions
        .answer_next_allocation(Err(ResourceManagerError::new("the quota is used up")));
    let before = snapshot(&fixture.manager);

    // when
    let error = fixture.try_request(1, 1, &small()).expect_err("no worker");

    // then
    assert_eq!(
        error.to_string(),
        "the slot request for allocation 00000000000000000000000000000001 failed: \
         the resource manager starts no worker: the quota is used up"
    );
    assert_eq!(snapshot(&fixture.manager), before);
    fixture.expect(&["ask 1 for {cpu: 1, task heap: 100 MiB}"]);
}

// Unknown ids.

#[test]
fn inputs_about_unknown_ids_answer_unknown_and_change_nothing() {
    // given
    let mut fixture = busy();
    let fixture = &mut fixture;

    // when, then
    assert_eq!(
        changes_nothing(fixture, |m| m.unregister_task_manager(instance(77), "lost")),
        UnregistrationOutcome::Unknown
    );
    assert_eq!(
        changes_nothing(fixture, |m| m.report_slot_status(instance(77), &report("tm", &[None]))),
        Ok(ReportOutcome::Unknown)
    );
    assert_eq!(
        changes_nothing(fixture, |m| m.report_slot_status(instance(77), &foreign())),
        Ok(ReportOutcome::Unknown)
    );
    assert_eq!(
        changes_nothing(fixture, |m| m.unregister_slot_request(allocation(77))),
        CancelOutcome::Unknown
    );
    assert_eq!(changes_nothing(fixture, |m| m.unregister_job(job(77))), 0);
    assert_eq!(
        changes_nothing(fixture, |m| m.worker_failed(worker_request(77), "it failed")),
        WorkerFailedOutcome::Unknown
    );
    for unknown in [slot("tm", 3), slot("tm", u32::MAX), slot("unknown", 0)] {
        assert_eq!(
            changes_nothing(fixture, |m| m.slot_freed(&freed(&unknown, 7))),
            SlotFreedOutcome::Unknown
        );
        assert!(fixture.manager.slot(&unknown).is_none());
    }
}

#[test]
fn free_by_another_allocation_than_the_holder_changes_nothing() {
    // given
    let mut fixture = busy();
    let fixture = &mut fixture;

    // when, then
    for (number, id, outcome) in [
        (2, 7, SlotFreedOutcome::NotAllocated),
        (
            0,
            1,
            SlotFreedOutcome::HeldByAnother {
                allocation_id: allocation(7),
            },
        ),
        (
            1,
            7,
            SlotFreedOutcome::HeldByAnother {
                allocation_id: allocation(1),
            },
        ),
    ] {
        assert_eq!(
            changes_nothing(fixture, |m| m.slot_freed(&freed(&slot("tm", number), id))),
            outcome
        );
    }
    assert_eq!(
        changes_nothing(fixture, |m| m.slot_freed(&freed(&slot("bad", 0), 4))),
        SlotFreedOutcome::NotAllocated,
        "a slot that backs off is free"
    );
}

#[test]
fn grant_cannot_be_cancelled() {
    let mut fixture = busy();
    assert_eq!(
        changes_nothing(&mut fixture, |m| m.unregister_slot_request(allocation(7))),
        CancelOutcome::AlreadyGranted { slot_id: slot("tm", 0) }
    );
}

#[test]
fn stale_report_changes_nothing() {
    // given
    let mut fixture = busy();
    let stale = report("tm", &[None, None, None]).with_revision(4);

    // when
    let outcome = changes_nothing(&mut fixture, |m| m.report_slot_status(instance(1), &stale));

    // then
    assert!(matches!(outcome, Ok(ReportOutcome::Ignored(_))));
}

// Configurations.

#[test]
fn manager_cannot_be_made_with_a_bad_configuration() {
    let make = |config| Manager::new(config, slot_manager::testing::ManualScheduledExecutor::new());
    let error = make(patient().with_retry_backoff(5 * SECOND, SECOND)).expect_err("the maximum is shorter");
    assert_eq!(
        error.to_string(),
        "slotmanager.retry-backoff.max: 1s is shorter than slotmanager.retry-backoff.initial (5s)"
    );
    let error = make(patient().with_max_pending_requests(Some(0))).expect_err("no request could be accepted");
    assert_eq!(error, ConfigError::NoPendingRequests);
    assert_eq!(
        error.to_string(),
        "slotmanager.pending-requests.max: \"0\" would refuse every request"
    );
}

// Odd but legal input.

/// The same length for each timeout.
fn all_timeouts(length: Duration) -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_request_timeout(length)
        .with_rpc_timeout(length)
        .with_task_manager_timeout(length)
        .with_worker_registration_timeout(length)
        .with_retry_backoff(length, length)
}

/// A manager with all deadlines: a request in flight, requests that back off, are declined and are
/// bound, a worker that backs off, and an idle task manager.
fn with_all_kinds_of_deadlines(config: SlotManagerConfig) -> Fixture {
    let mut fixture = Fixture::with(config);
    fixture.actions.answer_releases(Release::Declined);
    fixture
        .register_free("silent", 1, &[profile(1.0, 0)])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &profile(1.0, 0));
    fixture
        .register_free("bad", 2, &[profile(2.0, 0)])
        .answer_requests(rejected());
    fixture.request(2, &profile(2.0, 0));
    fixture.request(3, &profile(2.0, 0));
    fixture.request(4, &profile(8.0, 0));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(5, &profile(9.0, 0));
    fixture.register_free("idle", 3, &[profile(0.5, 0)]);
    fixture
}

#[test]
fn timeouts_of_zero_are_due_when_the_manager_is_driven_next() {
    // given
    let mut fixture = with_all_kinds_of_deadlines(all_timeouts(Duration::ZERO));

    // then
    assert_eq!(fixture.manager.overview().pending_requests, 5, "no input acts on time");

    // when, then
    fixture.log.take();
    assert!(fixture.run() > 0);
    let effects = fixture.log.take();
    let failed: Vec<_> = failures(&effects).into_iter().map(|(id, _)| id).collect();
    assert_eq!(failed, [1, 2, 3, 4, 5].map(allocation));
    assert_eq!(releases(&effects).len(), 2, "the third begins to be idle");
    assert_eq!(fixture.manager.overview().unbound_promised_slots, 0);

    // when, then: from then on, each release check is repeated once a millisecond
    for _ in 0..10 {
        assert_eq!(fixture.run(), 0);
        fixture.advance(MILLISECOND);
        let effects = fixture.log.take();
        assert_eq!(releases(&effects).len(), 3);
        let asked: Vec<_> = release_checks(&effects)
            .iter()
            .map(|question| question.instance_id)
            .collect();
        assert_eq!(asked, releases(&effects));
        assert_eq!(effects.len(), 6);
    }
    fixture.register_free("good", 4, &[profile(7.0, 0)]);
    assert_eq!(fixture.request(6, &profile(7.0, 0)), granted(&slot("good", 0)));
}

#[test]
fn each_timeout_alone_may_be_zero() {
    let zero = Duration::ZERO;
    let configs = [
        patient().with_request_timeout(zero),
        patient().with_rpc_timeout(zero),
        patient().with_task_manager_timeout(zero),
        patient().with_worker_registration_timeout(zero),
        patient().with_retry_backoff(zero, zero),
        patient().with_retry_backoff(zero, Duration::MAX),
    ];
    for config in configs {
        let mut fixture = with_all_kinds_of_deadlines(config.clone());
        for _ in 0..200 {
            fixture.log.take();
            fixture.advance(MILLISECOND);
            let at_once = fixture.log.take().len();
            assert!(at_once <= 12, "{at_once} effects in a millisecond with {config:?}");
            assert_eq!(fixture.run(), 0, "{config:?}");
        }
    }
}

#[test]
fn infinite_timeouts_never_fall_due() {
    // given
    let mut fixture = with_all_kinds_of_deadlines(all_timeouts(Duration::MAX));

    // then
    assert_eq!(fixture.manager.next_deadline(), None);

    // when, then
    fixture.log.take();
    for _ in 0..5 {
        assert_eq!(fixture.advance(Duration::from_secs(u64::MAX / 2_000_000_000)), 0);
    }
    assert_eq!(fixture.advance(Duration::MAX), 0);
    fixture.expect_nothing();
    assert_eq!(fixture.manager.overview().pending_requests, 5);
    assert_eq!(fixture.manager.overview().task_managers, 3);
    assert_eq!(
        fixture.ungranted(2).backs_off_until(),
        Some(Timestamp::MAX),
        "it backs off for ever"
    );

    // when, then: it still serves
    fixture.register_free("good", 4, &vec![profile(9.0, 0); 4]);
    for (id, number) in [(2, 0), (3, 1), (4, 2), (5, 3)] {
        assert_eq!(fixture.status(id), Some(granted(&slot("good", number))));
    }
}

/// The request timeout ends each request after a bounded number of attempts.
#[test]
fn gateway_that_always_fails_at_once_only_fails_its_requests() {
    // given
    let mut fixture = Fixture::with(
        patient()
            .with_request_timeout(300 * SECOND)
            .with_retry_backoff(50 * MILLISECOND, 10 * SECOND),
    );
    let refused = Err(SlotAllocationError::unreachable("never"));
    fixture
        .register_free("bad", 1, &vec![small(); 3])
        .answer_requests(refused);
    for id in 1..=10 {
        fixture.request(id, &small());
    }
    let mut attempts = 0;
    let mut failed = 0;

    // when
    for _ in 0..3000 {
        fixture.advance(100 * MILLISECOND);
        let effects = fixture.log.take();
        attempts += slot_requests(&effects).len();
        failed += failures(&effects).len();
    }

    // then
    assert_eq!(failed, 10);
    // The worker is tried again every 10 s at the latest, and once then.
    assert!(attempts < 40, "{attempts} attempts");
    assert_eq!(fixture.manager.overview().pending_requests, 0);
    assert_eq!(fixture.manager.overview().slots.free.slots, 3);
}

#[test]
fn resource_manager_that_refuses_each_worker_fails_only_requests_that_need_one() {
    // given
    let mut fixture = Fixture::new();
    fixture.actions.answer_allocations(Err(ResourceManagerError::new("no")));
    fixture.register_free("tm", 1, &[small()]);

    // when, then
    assert!(fixture.try_request(1, 1, &profile(9.0, 0)).is_err());
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
    assert!(fixture.try_request(1, 3, &small()).is_err());
    assert_eq!(fixture.manager.overview().pending_requests, 0);

    // when: a request in flight that loses its task manager needs a worker, too
    fixture
        .register_free("other", 2, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(4, &small());
    fixture.log.take();
    fixture.unregister(2);

    // then
    fixture.expect(&["ask 3 for {cpu: 1, task heap: 100 MiB}", "failed 4: no"]);
}

#[test]
fn requests_wait_for_registered_slots_if_each_worker_is_declined() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(SECOND));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Declined));

    // when, then
    for id in 1..=3 {
        assert_eq!(fixture.request(id, &small()), AllocationStatus::Waiting);
    }

    // when, then: they request workers again
    for _ in 0..5 {
        fixture.log.take();
        fixture.advance(SECOND);
        assert_eq!(asks(&fixture.log.take()).len(), 3);
    }

    // when, then
    fixture.register_free("tm", 1, &vec![small(); 3]);
    assert_eq!(fixture.status(3), Some(granted(&slot("tm", 2))));

    // when, then
    fixture.log.take();
    fixture.advance(10 * SECOND);
    fixture.expect_nothing();
}

#[test]
fn task_manager_without_slots_registers_reports_grows_and_goes() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.register("tm", 1, &SlotReport::default());

    // when, then
    assert_eq!(fixture.report(1, &SlotReport::default()), ReportOutcome::Applied);
    assert_eq!(fixture.manager.overview().task_managers, 1);
    assert_eq!(fixture.manager.overview().slots.registered.slots, 0);
    assert_eq!(fixture.manager.slots().count(), 0);

    // when, then
    fixture.report(1, &report("tm", &[None]));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));

    // when, then
    fixture.log.take();
    fixture.report(1, &SlotReport::default());
    fixture.expect(&["lost 1 on tm_0: removed"]);
    assert_eq!(fixture.unregister(1), UnregistrationOutcome::Unregistered);
    assert_eq!(fixture.manager.overview().task_managers, 0);
    fixture.expect_nothing();
}

#[test]
fn slot_numbers_may_have_gaps_and_come_in_any_order() {
    // given
    let mut fixture = Fixture::new();
    let numbers = [LAST_NUMBER, 0, 7, 1_000_000];
    let statuses = numbers.map(|number| SlotStatus::free(slot("tm", number), small()));
    fixture.register("tm", 1, &SlotReport::new(statuses.to_vec()));

    // when, then
    for (id, number) in (1..).zip(numbers) {
        assert_eq!(fixture.request(id, &small()), granted(&slot("tm", number)));
    }
    let ordered: Vec<_> = fixture
        .manager
        .slots()
        .map(|slot| slot.slot_id().slot_number())
        .collect();
    assert_eq!(ordered, [0, 7, 1_000_000, LAST_NUMBER]);
}
