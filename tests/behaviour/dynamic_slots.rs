//! Dynamic workers: slots that are cut from what a worker has in total.

use slot_manager::error::{InvalidReport, SlotAllocationError, SlotReportError, SlotRequestError};
use slot_manager::outcome::{AllocationStatus, SlotFreedOutcome, SlotRequestOutcome};
use slot_manager::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{
    DynamicResources, LeaderId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, SlotStatus,
    TaskExecutorConnection,
};

use crate::common::{
    Fixture, Manager, acknowledged, allocation, cores, free_report, freed, granted, held_by, in_flight, instance, job,
    occupied, patient, rejected, request, slot, slot_requests, workers_of,
};

/// Returns the report of a dynamic worker with these cores and held slots.
fn total(cores_in_total: u32, held: Vec<SlotStatus>) -> SlotReport {
    SlotReport::of_dynamic(cores(cores_in_total), held)
}

/// Returns the id of a slot that is cut from worker `tm`.
fn cut(number: u32) -> SlotId {
    SlotId::dynamic("tm", number)
}

/// Returns the status of a slot of worker `tm` that allocation `id` of job 1 holds.
fn held(number: u32, cores_of_slot: u32, id: u128) -> SlotStatus {
    SlotStatus::allocated(cut(number), cores(cores_of_slot), allocation(id), job(1))
}

impl Fixture {
    /// Returns what remains of the dynamic worker with this instance.
    #[track_caller]
    fn remains(&self, instance_number: u128) -> ResourceProfile {
        let worker = self
            .manager
            .task_manager(instance(instance_number))
            .expect("registered");
        worker.remaining_resources().expect("a dynamic worker")
    }
}

#[test]
fn slots_are_cut_from_the_total_and_numbered_in_order() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));

    // when, then
    assert_eq!(fixture.request(1, &cores(3)), granted(&cut(0)));
    assert_eq!(fixture.request(2, &cores(4)), granted(&cut(1)));
    assert_eq!(fixture.remains(7), cores(1));
    assert_eq!(fixture.request(3, &cores(2)), AllocationStatus::Waiting);
}

#[test]
fn freed_cut_ends_and_its_resources_return() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));
    fixture.request(2, &cores(4));

    // when
    assert_eq!(fixture.free(&cut(0), 1), SlotFreedOutcome::Freed);

    // then
    assert!(fixture.manager.slot(&cut(0)).is_none());
    assert_eq!(fixture.remains(7), cores(4));
    assert_eq!(fixture.free(&cut(0), 1), SlotFreedOutcome::Unknown);
    assert_eq!(fixture.request(3, &cores(4)), granted(&cut(2)));
}

#[test]
fn what_becomes_free_goes_to_the_oldest_requests_that_fit() {
    // given: a request for six cores waits longer than one for one core
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(8));
    fixture.request(2, &cores(6));
    fixture.request(3, &cores(1));
    fixture.request(4, &cores(2));
    fixture.log.take();

    // when
    fixture.free(&cut(0), 1);

    // then: six, then one, and two do not fit any more
    fixture.expect(&[
        "request tm_2147483649 for 2 #2",
        "request tm_2147483650 for 3 #3",
        "granted 2 on tm_2147483649",
        "granted 3 on tm_2147483650",
    ]);
    assert_eq!(fixture.status(4), Some(AllocationStatus::Waiting));
}

#[test]
fn refusal_for_lack_of_resources_bounds_the_worker_until_its_report() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));

    // when
    fixture.answer(&gateway, 1, Err(SlotAllocationError::insufficient(cores(2))));

    // then: no more than that is cut, and it was no failure
    assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
    assert_eq!(fixture.remains(7), cores(2));
    assert_eq!(fixture.request(2, &cores(2)), in_flight(&cut(1)));
    assert_eq!(fixture.manager.overview().slots.counts().in_flight, 1);
    gateway.answer(2, acknowledged()).expect("awaited");
    fixture.run();

    // when: a report without such a bound
    fixture.report(7, &total(8, vec![held(1, 2, 2)]));

    // then
    assert_eq!(fixture.status(1), Some(in_flight(&cut(2))));
    assert_eq!(fixture.remains(7), cores(3));
}

#[test]
fn refusal_that_free_resources_do_not_explain_is_a_failure() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));

    // when
    fixture.answer(&gateway, 1, Err(SlotAllocationError::insufficient(cores(3))));

    // then: the next attempt is a second one for the request
    let request = fixture.ungranted(1);
    assert_eq!(request.failed_attempts(), 1);
    assert_eq!(fixture.remains(7), cores(5));
}

#[test]
fn worker_that_answers_occupied_to_each_number_is_tried_twice() {
    // given: a request for nothing, which what remains always fits
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 7, &total(8, vec![]));
    gateway.answer_requests(GatewayAnswer::AtOnce(occupied(9)));

    // when
    assert_eq!(fixture.request(1, &ResourceProfile::ZERO), AllocationStatus::Waiting);

    // then: it backs off
    let request = fixture.ungranted(1);
    assert_eq!(request.failed_attempts(), 2);
    assert!(request.backs_off_until().is_some());
    assert_eq!(fixture.status(9), Some(granted(&cut(0))));
}

#[test]
fn worker_that_answers_occupied_to_a_probe_backs_off_again() {
    // given: a worker that backs off after it refused two jobs, whose requests wait for it
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 7, &total(8, vec![]));
    gateway.answer_requests(GatewayAnswer::AtOnce(rejected()));
    for id in [1, 2] {
        let outcome = fixture.try_request(id, id, &cores(1));
        assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }
    let backoff = |fixture: &Fixture| {
        let worker = fixture.manager.task_manager(instance(7)).expect("registered");
        worker.backoff().expect("a failing worker").until
    };
    let first = backoff(&fixture);
    fixture.log.take();

    // when
    gateway.answer_requests(GatewayAnswer::AtOnce(occupied(9)));
    fixture.advance(first - fixture.clock_now());

    // then: one probe, though each request could take the next one
    assert_eq!(slot_requests(&fixture.effects_but_grants()).len(), 1);
    assert!(backoff(&fixture) > first);
}

#[test]
fn explanation_and_overview_tell_what_dynamic_workers_lack() {
    // given
    let mut fixture = Fixture::new();
    let resources = DynamicResources::new(cores(8)).with_default_slot(cores(2));
    fixture.register("tm", 7, &SlotReport::of_dynamic(resources, vec![]));
    fixture.register("other", 8, &SlotReport::of_dynamic(cores(3), vec![]));
    fixture.request(1, &cores(5));

    // when
    fixture.request(2, &cores(4));

    // then
    let explanation = fixture.manager.explain(allocation(2)).expect("a known request");
    let text = explanation.to_string();
    assert!(
        text.contains("  dynamic      2 workers: 1 fit in total, 0 with what remains: 2 short of cpu\n"),
        "{text}"
    );
    let overview = fixture.manager.overview();
    let total = &overview.dynamic_total;
    assert_eq!((overview.dynamic_workers, total.slots, total.cpu_cores), (2, 5, 11.0));
    assert!(
        overview
            .to_string()
            .contains("dynamic     2 workers as 5 slots (11.0 cores, 0.0 GiB)\n")
    );
}

#[test]
fn worker_that_refuses_two_requests_in_a_row_is_left_alone() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register("bad", 1, &SlotReport::of_dynamic(cores(8), vec![]));
    gateway.answer_requests(GatewayAnswer::AtOnce(rejected()));
    fixture.register("good", 2, &SlotReport::of_dynamic(cores(8), vec![]));

    // when
    fixture.request(1, &cores(1));
    fixture.request(2, &cores(1));
    fixture.log.take();
    let statuses = [3, 4].map(|id| fixture.request(id, &cores(1)));

    // then: the other worker serves
    let good = |number| granted(&SlotId::dynamic("good", number));
    assert_eq!(statuses, [good(2), good(3)]);
    let worker = fixture.manager.task_manager(instance(1)).expect("registered");
    assert!(worker.backoff().is_some());
    assert_eq!(fixture.remains(1), cores(8));
}

#[test]
fn report_may_show_more_slots_than_the_total() {
    // given
    let mut fixture = Fixture::new();
    let slots = vec![held(0, 6, 1), held(1, 4, 2)];

    // when
    fixture.register("tm", 7, &total(8, slots));

    // then: nothing remains, and the worker is not idle (FLINK-38375)
    assert_eq!(fixture.remains(7), ResourceProfile::ZERO);
    assert_eq!(fixture.idle_since(7), None);
    assert_eq!(fixture.request(3, &cores(1)), AllocationStatus::Waiting);

    // when
    fixture.free(&cut(0), 1);

    // then: the number is vacant again
    assert_eq!(fixture.status(3), Some(granted(&cut(0))));
    assert_eq!(fixture.remains(7), cores(3));
    fixture.free(&cut(1), 2);
    fixture.free(&cut(0), 3);
    assert_eq!(fixture.remains(7), cores(8));
    assert!(fixture.idle_since(7).is_some());
}

#[test]
fn unknown_request_gets_the_default_slot() {
    // given: one worker without a default slot
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    assert_eq!(fixture.request(1, &ResourceProfile::UNKNOWN), AllocationStatus::Waiting);

    // when
    let resources = DynamicResources::new(cores(5)).with_default_slot(cores(2));
    fixture.register("other", 8, &SlotReport::of_dynamic(resources, vec![]));

    // then
    let other = |number| granted(&SlotId::dynamic("other", number));
    assert_eq!(fixture.status(1), Some(other(0)));
    assert_eq!(fixture.request(2, &ResourceProfile::UNKNOWN), other(1));
    assert_eq!(fixture.remains(8), cores(1));
    assert_eq!(fixture.request(3, &ResourceProfile::UNKNOWN), AllocationStatus::Waiting);
}

#[test]
fn default_slot_of_unknown_resources_is_none() {
    // given: a report that was read from a message
    let mut fixture = Fixture::new();
    let message = r#"{"statuses":[],"revision":null,"dynamic":{"total":"any","default_slot":"unknown","free":null}}"#;
    let report: SlotReport = serde_json::from_str(message).expect("a valid message");

    // when
    fixture.register("tm", 7, &report);

    // then
    assert_eq!(fixture.request(1, &ResourceProfile::UNKNOWN), AllocationStatus::Waiting);
}

#[test]
fn static_slot_that_fits_goes_before_a_cut() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.register("static", 8, &free_report("static", &[cores(2)]));

    // when, then
    assert_eq!(fixture.request(1, &cores(1)), granted(&slot("static", 0)));
    assert_eq!(fixture.request(2, &cores(1)), granted(&cut(0)));
}

#[test]
fn workers_are_used_in_the_order_of_their_places() {
    // given
    let mut fixture = Fixture::new();
    for (worker, instance) in [("a", 1), ("b", 2), ("c", 3)] {
        fixture.register(worker, instance, &SlotReport::of_dynamic(cores(2), vec![]));
    }
    let on = |worker: &str, number| granted(&SlotId::dynamic(worker, number));
    assert_eq!(fixture.request(1, &cores(2)), on("a", 0));
    assert_eq!(fixture.request(2, &cores(2)), on("b", 0));

    // when: the lowest place becomes vacant, and another worker takes it
    fixture.unregister(1);
    fixture.register("d", 4, &SlotReport::of_dynamic(cores(2), vec![]));

    // then
    assert_eq!(fixture.request(3, &cores(1)), on("d", 0));
    assert_eq!(fixture.request(4, &cores(2)), on("c", 0));
}

#[test]
fn reported_free_resources_bound_the_remainder_until_the_next_report() {
    // given
    let mut fixture = Fixture::new();
    let free = |cores_left| DynamicResources::new(cores(8)).with_free(cores(cores_left));

    // when
    fixture.register("tm", 7, &SlotReport::of_dynamic(free(5), vec![]));

    // then
    assert_eq!(fixture.remains(7), cores(5));
    fixture.request(1, &cores(3));
    assert_eq!(fixture.remains(7), cores(2));

    // when: the bound does not change, then it goes
    let before = fixture.manager.changes();
    fixture.report(7, &SlotReport::of_dynamic(free(2), vec![held(0, 3, 1)]));
    assert_eq!((fixture.remains(7), fixture.manager.changes()), (cores(2), before));
    fixture.report(7, &SlotReport::of_dynamic(free(5), vec![held(0, 3, 1)]));
    assert_eq!(fixture.remains(7), cores(5));
    fixture.report(7, &SlotReport::of_dynamic(free(1), vec![held(0, 3, 1)]));
    assert_eq!(fixture.remains(7), cores(1));
    fixture.report(7, &total(8, vec![held(0, 3, 1)]));
    assert_eq!(fixture.remains(7), cores(5));
}

#[test]
fn report_corrects_the_profile_the_total_and_the_holders() {
    // given: two slots are granted, one is in flight
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(1));
    fixture.request(2, &cores(1));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(3, &cores(2));
    fixture.log.take();

    // when: slot 0 has another profile, slot 1 is gone, slot 5 is unknown, slot 2 is not mentioned
    fixture.report(7, &total(9, vec![held(0, 2, 1), held(5, 3, 9)]));

    // then
    assert_eq!(fixture.remains(7), cores(9 - 2 - 2 - 3));
    assert_eq!(fixture.status(2), None);
    assert_eq!(fixture.status(3), Some(in_flight(&cut(2))));
    assert_eq!(fixture.status(9), Some(granted(&cut(5))));
    fixture.expect(&["lost 2 on tm_2147483649: removed"]);
}

#[test]
fn number_that_another_allocation_holds_is_given_up() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));
    fixture.log.take();

    // when
    fixture.report(7, &total(8, vec![held(0, 2, 9)]));

    // then: the request tries another number
    assert_eq!(fixture.status(9), Some(granted(&cut(0))));
    assert_eq!(fixture.status(1), Some(in_flight(&cut(1))));
    assert_eq!(fixture.remains(7), cores(3));
}

#[test]
fn blocked_worker_is_not_cut() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));
    fixture.block("tm");

    // when, then
    assert_eq!(fixture.request(2, &cores(3)), AllocationStatus::Waiting);
    fixture.free(&cut(0), 1);
    assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
    fixture.unblock("tm");
    assert_eq!(fixture.status(2), Some(granted(&cut(1))));
}

#[test]
fn new_registration_keeps_what_its_report_shows() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(3));
    fixture.request(2, &cores(3));
    fixture.log.take();

    // when
    fixture.register("tm", 8, &total(8, vec![held(1, 3, 2)]));

    // then
    fixture.expect(&["lost 1 on tm_2147483648: removed"]);
    assert_eq!(fixture.remains(8), cores(5));
    assert_eq!(fixture.request(3, &cores(1)), granted(&cut(0)));
}

#[test]
fn report_of_the_wrong_kind_is_refused() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.register("static", 8, &free_report("static", &[cores(1)]));
    let view = fixture.view();
    let refused =
        |fixture: &mut Fixture, instance: u128, report: &SlotReport| match fixture.try_report(instance, report) {
            Err(SlotReportError::InvalidReport(invalid)) => invalid,
            other => panic!("{other:?}"),
        };

    // when, then
    let changed = |worker: &str| InvalidReport::KindChanged {
        resource_id: worker.into(),
    };
    assert_eq!(refused(&mut fixture, 7, &SlotReport::default()), changed("tm"));
    let dynamic = SlotReport::of_dynamic(cores(1), vec![]);
    assert_eq!(refused(&mut fixture, 8, &dynamic), changed("static"));
    let free = SlotStatus::free(cut(0), cores(1));
    assert_eq!(
        refused(&mut fixture, 7, &total(8, vec![free])),
        InvalidReport::FreeDynamicSlot { slot_id: cut(0) }
    );
    let mixed = total(8, vec![held_by(slot("tm", 0), 1, 1)]);
    let slot_id = slot("tm", 0);
    assert_eq!(refused(&mut fixture, 7, &mixed), InvalidReport::MixedSlots { slot_id });
    let slot_id = SlotId::dynamic("static", 0);
    let mixed = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), cores(1))]);
    assert_eq!(refused(&mut fixture, 8, &mixed), InvalidReport::MixedSlots { slot_id });
    let unknown = SlotReport::of_dynamic(ResourceProfile::UNKNOWN, vec![]);
    let resource_id = "tm".into();
    assert_eq!(
        refused(&mut fixture, 7, &unknown),
        InvalidReport::UnknownTotal { resource_id }
    );
    assert_eq!(fixture.view(), view);
}

#[test]
fn dynamic_worker_counts_as_its_default_slots() {
    // given: at most four slots
    let config = patient().with_workers(workers_of(1).with_max_slots(Some(4)));
    let mut fixture = Fixture::with(config);
    let of = |cores_in_total, default_slot| {
        let resources = DynamicResources::new(cores(cores_in_total)).with_default_slot(cores(default_slot));
        SlotReport::of_dynamic(resources, vec![])
    };

    // when, then
    fixture.is_refused("tm", 7, &of(10, 2));
    fixture.register("tm", 7, &of(9, 3));
    fixture.is_refused("other", 8, &of(2, 1));
    fixture.register("other", 8, &of(1, 1));
    assert_eq!(fixture.manager.overview().dynamic_total.slots, 4);
}

#[test]
fn dynamic_worker_is_kept_for_the_minimum() {
    // given: two workers of two default slots, and a minimum of two slots
    let config = SlotManagerConfig::default().with_workers(workers_of(1).with_min_slots(2));
    let timeout = config.task_manager_timeout;
    let mut fixture = Fixture::promising(config);
    let report = || SlotReport::of_dynamic(DynamicResources::new(cores(4)).with_default_slot(cores(2)), vec![]);
    fixture.register("a", 1, &report());
    fixture.register("b", 2, &report());
    fixture.log.take();

    // when
    fixture.advance(timeout);

    // then: one of them is enough
    assert_eq!(fixture.manager.task_managers().count(), 1);
}

#[test]
fn request_that_no_total_fits_is_unfulfillable() {
    // given: eight cores in total, of which one remains
    let mut fixture = Fixture::with(
        patient()
            .with_workers(workers_of(1))
            .with_fail_unfulfillable_requests(true),
    );
    fixture.register("tm", 7, &total(8, vec![]));
    fixture.request(1, &cores(7));

    // when, then: the total counts, and the cut of seven cores serves nothing else
    assert_eq!(fixture.request(2, &cores(8)), AllocationStatus::Waiting);
    let refused = fixture.try_request(1, 3, &cores(9));
    assert!(matches!(refused, Err(SlotRequestError::Failed { .. })), "{refused:?}");

    // when
    fixture.log.take();
    fixture.unregister(7);

    // then
    fixture.expect(&["lost 1 on tm_2147483648: unregistered", "failed 2: unfulfillable"]);
}

#[test]
fn new_dynamic_worker_ends_a_promise() {
    // given: two promised workers of two slots each
    let mut fixture = Fixture::new();
    for id in [1, 2] {
        fixture.promise_next(&[cores(4), cores(4)]);
        fixture.request(id, &cores(4));
        fixture.request(id + 10, &cores(4));
    }
    assert_eq!(fixture.promised(), (4, 0));

    // when: one comes as a dynamic worker and names its worker request, one names none
    fixture.register_for(2, "named", 7, &total(8, vec![]));
    fixture.register("unnamed", 8, &total(8, vec![]));

    // then: no promise is left, and all requests are served
    assert_eq!(fixture.promised(), (0, 0));
    assert_eq!(fixture.counts(), [0, 0, 4]);
}

#[test]
fn worker_of_any_resources_serves_everything() {
    // given
    let mut fixture = Fixture::new();
    let total = |held| SlotReport::of_dynamic(ResourceProfile::ANY, held);
    fixture.register("tm", 7, &total(vec![]));

    // when, then
    assert_eq!(fixture.request(1, &cores(1000)), granted(&cut(0)));
    assert_eq!(fixture.request(2, &ResourceProfile::ANY), granted(&cut(1)));
    assert_eq!(fixture.remains(7), ResourceProfile::ANY);
    fixture.report(7, &total(vec![held(0, 1000, 1)]));
    assert_eq!(fixture.counts(), [0, 0, 1]);
}

#[test]
fn no_more_than_65536_slots_are_cut_from_a_worker() {
    // given: slots without resources
    let mut manager = Manager::new(patient(), ManualScheduledExecutor::new()).expect("a valid configuration");
    let started = manager.start(LeaderId::from_u128(1), RecordingActions::new());
    assert_eq!(started, Ok(()));
    let connection = TaskExecutorConnection::new("tm", instance(7), ScriptedGateway::new());
    let registered = manager.register_task_manager(connection, &total(8, vec![]));
    assert!(registered.is_ok());
    for id in 0..65_536 {
        let outcome = manager.register_slot_request(request(1, id + 1, &ResourceProfile::ZERO));
        assert!(matches!(
            outcome,
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { .. }))
        ));
    }

    // when
    let outcome = manager.register_slot_request(request(1, 100_000, &ResourceProfile::ZERO));

    // then
    assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    assert_eq!(manager.slot_freed(&freed(&cut(9), 10)), SlotFreedOutcome::Freed);
    assert_eq!(
        manager.allocation_status(allocation(100_000)),
        Some(granted(&cut(65_536)))
    );
}

#[test]
fn snapshot_has_all_that_the_view_of_a_dynamic_worker_shows() {
    // given
    let mut fixture = Fixture::new();
    let worker = DynamicResources::new(cores(8)).with_default_slot(cores(2));
    fixture.register("tm", 7, &SlotReport::of_dynamic(worker, vec![held(0, 3, 1)]));
    fixture.register("static", 8, &free_report("static", &[cores(1)]));

    // when
    let snapshot = |number| {
        let worker = fixture.manager.task_manager(instance(number)).expect("registered");
        worker.snapshot()
    };

    // then
    let resources = |number| {
        let worker = snapshot(number);
        (worker.total_resources, worker.default_slot, worker.remaining_resources)
    };
    assert_eq!(resources(7), (Some(cores(8)), Some(cores(2)), Some(cores(5))));
    assert_eq!(resources(8), (None, None, None));
}
