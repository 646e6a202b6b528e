//! Task managers beyond the limits are refused, unless they are needed already.

use std::rc::Rc;

use slot_manager::config::Limit;
use slot_manager::error::{InvalidReport, RegistrationError};
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, NoFuture, SlotAnswer};
use slot_manager::outcome::{RegistrationOutcome, ReportOutcome};
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions};
use slot_manager::{
    LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotReport, SlotStatus, TaskExecutorConnection,
    TaskExecutorGateway,
};

use crate::common::{
    Fixture, ask, described, free_report, granted, instance, patient, profile, rejected, report, slot, small,
    worker_request, workers_of,
};

const MEBIBYTE: u64 = 1 << 20;

/// Workers with one small slot, and at most two slots in total.
fn two_slots() -> SlotManagerConfig {
    patient().with_workers(workers_of(1).with_max_slots(Some(2)))
}

fn tiny() -> ResourceProfile {
    profile(0.25, 25)
}

const fn refused(limit: Limit) -> RegistrationError {
    RegistrationError::LimitReached { limit }
}

#[track_caller]
fn register(fixture: &mut Fixture, worker: &str, instance: u128, report: &SlotReport) -> RegistrationOutcome {
    let gateway = fixture.gateway();
    fixture.register_with(worker, instance, report, &gateway)
}

/// Checks that a registration with this report is refused and changes nothing.
#[track_caller]
fn assert_refused(fixture: &mut Fixture, report: &SlotReport, limit: Limit) {
    fixture.log.take();
    let before = fixture.view();
    let connection = TaskExecutorConnection::new("beyond", instance(99), fixture.gateway());
    assert_eq!(fixture.try_register(connection, report), Err(refused(limit)));
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

// Refused.

#[test]
fn slots_beyond_the_limit_are_refused() {
    let mut fixture = Fixture::with(two_slots());
    assert_refused(&mut fixture, &report("beyond", &[None, None, None]), Limit::Slots);
}

#[test]
fn slots_up_to_the_limit_are_accepted() {
    let mut fixture = Fixture::with(two_slots());
    assert_eq!(
        register(&mut fixture, "tm", 1, &report("tm", &[None, None])),
        RegistrationOutcome::Registered
    );
}

#[test]
fn cores_beyond_the_limit_are_refused() {
    // given
    let mut fixture = Fixture::with(patient().with_workers(workers_of(1).with_max_total_cpu_cores(Some(2.0))));
    fixture.register_free("tm", 1, &[small()]);

    // when, then
    assert_refused(
        &mut fixture,
        &free_report("beyond", &[profile(1.000_000_01, 0)]),
        Limit::CpuCores,
    );
    assert_eq!(
        register(&mut fixture, "up-to", 2, &free_report("up-to", &[profile(1.0, 0)])),
        RegistrationOutcome::Registered
    );
}

#[test]
fn memory_beyond_the_limit_is_refused() {
    // given
    let mut fixture =
        Fixture::with(patient().with_workers(workers_of(1).with_max_total_memory_bytes(Some(200 * MEBIBYTE))));
    fixture.register_free("tm", 1, &[small()]);

    // when, then
    assert_refused(
        &mut fixture,
        &free_report("beyond", &[profile(0.0, 101)]),
        Limit::Memory,
    );
    assert_eq!(
        register(&mut fixture, "up-to", 2, &free_report("up-to", &[profile(9.0, 100)])),
        RegistrationOutcome::Registered
    );
}

#[test]
fn slots_are_named_before_cores_and_cores_before_memory() {
    // given
    let limited = workers_of(1)
        .with_max_slots(Some(2))
        .with_max_total_cpu_cores(Some(2.0))
        .with_max_total_memory_bytes(Some(200 * MEBIBYTE));
    let mut fixture = Fixture::with(patient().with_workers(limited));
    let large = profile(3.0, 300);

    // when, then
    assert_refused(
        &mut fixture,
        &free_report("beyond", &[large.clone(), large.clone(), large.clone()]),
        Limit::Slots,
    );
    assert_refused(&mut fixture, &free_report("beyond", &[large]), Limit::CpuCores);
    assert_refused(
        &mut fixture,
        &free_report("beyond", &[profile(1.0, 300)]),
        Limit::Memory,
    );
}

#[test]
fn resources_of_slots_of_any_profile_are_not_counted() {
    let mut fixture = Fixture::with(patient().with_workers(workers_of(1).with_max_total_cpu_cores(Some(1.0))));
    let report = free_report("tm", &[ResourceProfile::ANY, ResourceProfile::UNKNOWN]);
    assert_eq!(
        register(&mut fixture, "tm", 1, &report),
        RegistrationOutcome::Registered
    );
}

#[test]
fn promised_slots_are_counted() {
    // given
    let mut fixture = Fixture::promising(two_slots());

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(fixture.promised(), (1, 0));

    // when, then
    assert_refused(&mut fixture, &free_report("beyond", &[tiny(), tiny()]), Limit::Slots);
}

#[test]
fn refused_task_manager_is_unknown() {
    // given
    let mut fixture = Fixture::with(two_slots());
    let three = report("beyond", &[None, None, None]);
    fixture.is_refused("beyond", 99, &three);

    // when, then
    assert_eq!(fixture.report(99, &three), ReportOutcome::Unknown);
    assert!(!fixture.is_registered(99));
}

#[test]
fn refused_task_manager_serves_no_request() {
    // given
    let mut fixture = Fixture::promising(two_slots());
    fixture.register("tm", 1, &report("tm", &[Some(50), Some(51)]));
    fixture.request(1, &small());

    // when, then
    assert_refused(&mut fixture, &report("beyond", &[None]), Limit::Slots);
}

#[test]
fn refused_task_manager_may_register_once_there_is_room() {
    // given
    let mut fixture = Fixture::with(two_slots());
    fixture.register_free("tm", 1, &[small()]);
    let two = report("beyond", &[None, None]);

    // when, then
    assert_refused(&mut fixture, &two, Limit::Slots);

    // when, then
    fixture.unregister(1);
    assert_eq!(
        register(&mut fixture, "beyond", 99, &two),
        RegistrationOutcome::Registered
    );
}

#[test]
fn invalid_report_is_an_error_before_a_limit_is_checked() {
    // given
    let mut fixture = Fixture::with(two_slots());
    let connection = || TaskExecutorConnection::new("beyond", instance(99), fixture.gateway());
    let (foreign, twice) = (connection(), connection());
    let three = report("another", &[None, None, None]);

    // when, then
    assert!(matches!(
        fixture.try_register(foreign, &three),
        Err(RegistrationError::InvalidReport(InvalidReport::ForeignSlot { .. }))
    ));

    // when, then
    let status = SlotStatus::free(slot("beyond", 0), small());
    let three = SlotReport::new(vec![status; 3]);
    assert!(matches!(
        fixture.try_register(twice, &three),
        Err(RegistrationError::InvalidReport(InvalidReport::DuplicateSlot { .. }))
    ));
}

/// A gateway that shows whether it still exists.
struct Watched(Rc<()>);

impl TaskExecutorGateway for Watched {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        assert!(Rc::strong_count(&self.0) > 1, "the test watches it");
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

#[test]
fn connection_of_a_refused_task_manager_is_dropped() {
    // given
    let mut manager = SlotManager::new(two_slots(), ManualScheduledExecutor::new()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let watched = Rc::new(());

    // when
    let connection = TaskExecutorConnection::new("beyond", instance(99), Watched(Rc::clone(&watched)));
    let outcome = manager.register_task_manager(connection, &report("beyond", &[None, None, None]));

    // then
    assert_eq!(outcome, Err(refused(Limit::Slots)));
    assert_eq!(Rc::strong_count(&watched), 1);
}

// Accepted.

#[test]
fn task_manager_that_holds_an_allocation_is_accepted() {
    // given
    let mut fixture = Fixture::with(two_slots());
    let three = report("tm", &[None, None, Some(50)]);

    // when, then
    assert_eq!(register(&mut fixture, "tm", 1, &three), RegistrationOutcome::Registered);
    assert_eq!(fixture.manager.overview().slots.registered.slots, 3);
}

#[test]
fn task_manager_that_fulfils_a_promise_is_accepted() {
    // given
    let mut fixture = Fixture::promising(two_slots());
    fixture.request(1, &small());
    let three = report("tm", &[None, None, None]);

    // when, then
    assert_eq!(register(&mut fixture, "tm", 1, &three), RegistrationOutcome::Registered);
    assert_eq!(fixture.promised(), (0, 0));
    fixture.expect(&[&ask(1), "request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn task_manager_that_names_a_worker_request_is_accepted_with_any_slots() {
    // given
    let mut fixture = Fixture::promising(two_slots());
    fixture.request(1, &small());

    // when
    let outcome = fixture.register_for(1, "tm", 1, &free_report("tm", &[tiny(), tiny(), tiny()]));

    // then
    assert_eq!(outcome, RegistrationOutcome::Registered);
}

#[test]
fn task_manager_that_names_an_unknown_worker_request_needs_a_slot_that_fulfils_a_promise() {
    // given
    let mut fixture = Fixture::promising(two_slots());
    fixture.request(1, &small());
    let connection = |fixture: &Fixture| {
        TaskExecutorConnection::new("tm", instance(1), fixture.gateway()).with_worker_request(worker_request(77))
    };

    // when, then
    let outcome = fixture.try_register(connection(&fixture), &free_report("tm", &[tiny(), tiny()]));
    assert_eq!(outcome, Err(refused(Limit::Slots)));

    // when, then
    let outcome = fixture.try_register(connection(&fixture), &report("tm", &[None, None]));
    assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
    assert_eq!(fixture.promised(), (0, 0));
}

#[test]
fn task_manager_that_fulfils_a_promise_without_a_request_is_accepted_with_any_slots() {
    // given: two promises, and no request for the second
    let mut fixture = Fixture::promising(two_slots());
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(2);

    // when
    let outcome = register(&mut fixture, "tm", 1, &free_report("tm", &[tiny()]));

    // then
    assert_eq!(outcome, RegistrationOutcome::Registered);
    assert_eq!(fixture.promises(), [(1, Some(1))]);
}

#[test]
fn task_manager_that_serves_a_request_whose_attempt_failed_is_accepted() {
    // given: 1 failed on `tm`, which serves 2 now, and is bound to the promise of a small slot
    let less = profile(1.0, 99);
    let mut fixture = Fixture::promising(two_slots());
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &less);
    fixture.request(2, &less);
    fixture.answer(&gateway, 1, rejected());
    assert_eq!(fixture.promises(), [(1, Some(1))]);

    // when, then: too small
    assert_refused(&mut fixture, &free_report("beyond", &[tiny()]), Limit::Slots);

    // when, then
    let outcome = register(&mut fixture, "other", 2, &free_report("other", &[less]));
    assert_eq!(outcome, RegistrationOutcome::Registered);
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
}

#[test]
fn repeated_registration_is_a_report_and_may_exceed_the_limit() {
    // given
    let mut fixture = Fixture::with(two_slots());
    fixture.register_free("tm", 1, &[small(), small()]);

    // when
    let outcome = register(&mut fixture, "tm", 1, &report("tm", &[None, None, None]));

    // then
    assert_eq!(outcome, RegistrationOutcome::Reported(ReportOutcome::Applied));
    assert_eq!(fixture.manager.overview().slots.registered.slots, 3);
}

#[test]
fn registered_worker_may_replace_its_registration() {
    // given
    let mut fixture = Fixture::with(two_slots());
    fixture.register_free("tm", 1, &[small(), small()]);

    // when
    let outcome = register(&mut fixture, "tm", 2, &report("tm", &[None, None, None]));

    // then
    assert_eq!(outcome, RegistrationOutcome::Replaced { previous: instance(1) });
    assert_eq!(fixture.manager.overview().slots.registered.slots, 3);
}

#[test]
fn report_may_exceed_the_limit() {
    let mut fixture = Fixture::with(two_slots());
    fixture.register_free("tm", 1, &[small()]);
    assert_eq!(
        fixture.report(1, &report("tm", &[None, None, None])),
        ReportOutcome::Applied
    );
}

#[test]
fn task_manager_without_slots_is_accepted() {
    let mut fixture = Fixture::with(two_slots());
    fixture.register_free("tm", 1, &[small(), small()]);
    assert_eq!(
        register(&mut fixture, "empty", 2, &SlotReport::default()),
        RegistrationOutcome::Registered
    );
}

#[test]
fn no_task_manager_is_refused_without_limits() {
    // given
    let mut fixture = Fixture::with(described(1));
    fixture.request(1, &small());

    // when
    register(&mut fixture, "tm", 1, &report("tm", &[None; 100]));

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}
