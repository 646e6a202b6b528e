//! Slot reports: each is one transaction. It is checked as a whole, applied as a whole, and only
//! then judged by its result. Reports that the manager refuses are in `bad_input`. Comments of the
//! form `B.n` name the defects of FLINK-5810 that a test guards against.

use std::time::Duration;

use slot_manager::message::{AllocationFailureCause, GrantLoss, RequestFailure};
use slot_manager::outcome::{AllocationStatus, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome};
use slot_manager::testing::{
    Delivery, GatewayAnswer, ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor,
};
use slot_manager::view::SlotState;
use slot_manager::{LeaderId, ResourceProfile, SlotManager, SlotReport, SlotStatus, TaskExecutorConnection};

use crate::common::{
    Fixture, LAST_NUMBER, SECOND, acknowledged, allocation, ask, cores, failures, free_report, granted, held_by,
    in_flight, instance, job, patient, profile, rejected, report, request, slot, small,
};

fn free_slot_of(worker: &str, number: u32) -> SlotStatus {
    SlotStatus::free(slot(worker, number), small())
}

// The task executor's report beats the manager's view.

/// B.9
#[test]
fn free_slot_that_is_reported_as_allocated_is_not_handed_out() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, None]));

    // when
    fixture.report(7, &report("tm", &[Some(99), None]));

    // then: requests do not get it, and its new holder is adopted without a notice
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.status(99), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));
    fixture.expect(&["request tm_1 for 1 #1", "granted 1 on tm_1", &ask(1)]);

    // then: once freed it serves the waiting request
    assert_eq!(fixture.free(&slot("tm", 0), 99), SlotFreedOutcome::Freed);
    fixture.expect(&["request tm_0 for 2 #2", "granted 2 on tm_0"]);
}

/// B.9: the same for a slot that backs off after failures.
#[test]
fn slot_that_backs_off_and_is_reported_as_allocated_is_not_handed_out() {
    for with_its_worker in [false, true] {
        // given: attempts of two allocations failed
        let mut fixture = Fixture::new();
        let gateway = fixture.register_pair(7);
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.answer(&gateway, 1, rejected());
        if !with_its_worker {
            fixture.acknowledge_on_other_slot(&gateway);
        }
        fixture.answer(&gateway, 2, rejected());
        let state = fixture.state(&slot("tm", 0));
        assert!(matches!(state, SlotState::BackingOff { .. }), "{state:?}");
        assert_eq!(fixture.state(&slot("tm", 1)) == SlotState::Free, !with_its_worker);

        // when
        let free = SlotStatus::free(slot("tm", 1), cores(2));
        fixture.report(7, &SlotReport::new(vec![held_by(slot("tm", 0), 99, 1), free]));
        fixture.cancel(1);
        fixture.cancel(2);
        fixture.log.take();
        fixture.advance(Duration::from_secs(100));

        // then: the end of its backoff does not end its allocation
        assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(99)));
        assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
        fixture.expect(&[&ask(4)]);
    }
}

/// B.10
#[test]
fn allocated_slot_that_is_reported_as_free_serves_the_next_request() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[None]));

    // then: it serves one request
    fixture.expect(&["lost 1 on tm_0: free", "request tm_0 for 2 #1", "granted 2 on tm_0"]);
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));

    // then: the lost allocation is forgotten, so its id is no duplicate
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(3)]);
}

/// B.10: without a waiting request.
#[test]
fn allocated_slot_that_is_reported_as_free_is_offered() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2)]));

    // when
    fixture.report(7, &report("tm", &[None, Some(2)]));

    // then
    fixture.expect(&["lost 1 on tm_0: free"]);
    assert_eq!(fixture.counts(), [1, 0, 1]);
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::NotAllocated);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

/// B.11
#[test]
fn allocation_that_another_replaced_on_its_slot_can_be_requested_again() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when
    fixture.report(7, &report("tm", &[Some(2), None]));

    // then
    let loss = GrantLoss::HeldByAnother {
        allocation_id: allocation(2),
        job_id: job(1),
    };
    let cause = AllocationFailureCause::GrantLost {
        slot_id: slot("tm", 0),
        loss,
    };
    assert_eq!(failures(&fixture.log.take()), [(allocation(1), cause)]);
    assert_eq!(fixture.status(1), None);
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 1)));
    assert_eq!(
        fixture.try_request(1, 2, &small()),
        Ok(SlotRequestOutcome::Duplicate(granted(&slot("tm", 0))))
    );
}

#[test]
fn report_of_one_task_executor_changes_no_slot_of_another() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("a", 1, &report("a", &[Some(1)]));
    fixture.register("b", 2, &report("b", &[Some(2)]));

    // when
    fixture.report(1, &report("a", &[None]));

    // then
    fixture.expect(&["lost 1 on a_0: free"]);
    assert_eq!(fixture.status(2), Some(granted(&slot("b", 0))));
}

#[test]
fn report_that_changes_nothing_has_no_effects() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));
    fixture.request(2, &profile(9.0, 0));
    fixture.log.take();

    // when
    for _ in 0..3 {
        assert_eq!(
            fixture.report(1, &report("tm", &[Some(1), None])),
            ReportOutcome::Applied
        );
    }

    // then
    fixture.expect_nothing();
}

/// Two answers and one request are lost, and a slot is freed without a message.
#[test]
fn view_is_the_truth_once_messages_stop_and_each_task_executor_has_reported() {
    // given
    let clock = ManualScheduledExecutor::new();
    let config = patient().with_rpc_timeout(SECOND);
    let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
    let leader = LeaderId::from_u128(1);
    manager.start(leader, RecordingActions::new()).expect("not started");
    let executors = ["a", "b"].map(|name| SimulatedTaskExecutor::new(name, vec![small(); 3], clock.clone()));
    for (executor, number) in executors.iter().zip(1..) {
        let connection: TaskExecutorConnection<_> = executor.connect(leader, instance(number));
        manager
            .register_task_manager(connection, &executor.slot_report())
            .expect("a valid report");
    }
    let accepted = manager.register_slot_request(request(1, 1, &small()));
    assert!(accepted.is_ok());
    for executor in &executors {
        executor.set_delivery(Delivery::Manual);
    }
    for id in 2..=5 {
        let accepted = manager.register_slot_request(request(1, id, &small()));
        assert!(accepted.is_ok());
    }

    // when: the requests for 2, 3 and 5 arrive, nothing else does
    executors[0].deliver_next().expect("the request for 2");
    executors[0].deliver_next().expect("the request for 3");
    while executors[0].lose(0).is_some() {}
    executors[1].lose(0).expect("the request for 4");
    executors[1].deliver_next().expect("the request for 5");
    executors[0].free(allocation(1)).expect("it holds a slot");

    // then
    let view = |manager: &SlotManager<_, _, _>| {
        let slots = manager.slots().map(|slot| (slot.slot_id(), slot.allocation_id()));
        slots.collect::<Vec<_>>()
    };
    let truth = || {
        let reports = executors.iter().map(SimulatedTaskExecutor::slot_report);
        reports
            .flat_map(|report| {
                let statuses = report.statuses().iter();
                let slots = statuses.map(|status| {
                    (
                        status.slot_id().clone(),
                        status.allocation().map(|allocation| allocation.id),
                    )
                });
                slots.collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    assert_ne!(view(&manager), truth(), "the view is wrong, because messages were lost");

    // when: time passes, all messages arrive, and each task executor reports
    for _ in 0..20 {
        clock.advance(SECOND);
        manager.run_until_stalled();
        for executor in &executors {
            executor.deliver_all();
        }
    }
    for (executor, number) in executors.iter().zip(1..) {
        manager
            .report_slot_status(instance(number), &executor.slot_report())
            .expect("a valid report");
        executor.deliver_all();
    }
    manager.run_until_stalled();

    // then
    manager.check_invariants().expect("they hold");
    assert_eq!(view(&manager), truth());
    for id in 2..=5 {
        assert!(
            matches!(
                manager.allocation_status(allocation(id)),
                Some(AllocationStatus::Granted { .. })
            ),
            "{id} is served"
        );
    }
}

// Grants that move.

/// B.11: a grant that is found elsewhere is not lost.
#[test]
fn allocations_that_changed_places_are_not_lost() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), None]));

    // when: 1 and 2 changed places, 3 moved to the free slot
    let outcome = fixture.report(7, &report("tm", &[Some(2), Some(1), None, Some(3)]));

    // then
    assert_eq!(outcome, ReportOutcome::Applied);
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert_eq!(fixture.status(2), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.status(3), Some(granted(&slot("tm", 3))));
    assert!(fixture.is_free(&slot("tm", 2)));
}

#[test]
fn allocation_whose_slot_was_removed_and_that_moved_is_not_lost() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), None]));

    // when
    fixture.report(1, &SlotReport::new(vec![held_by(slot("tm", 1), 1, 1)]));

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 1))));
    assert!(fixture.manager.slot(&slot("tm", 0)).is_none());
}

#[test]
fn allocation_that_moved_to_a_new_slot_is_not_lost() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));

    // when
    fixture.report(
        1,
        &SlotReport::new(vec![held_by(slot("tm", 5), 1, 1), free_slot_of("tm", 0)]),
    );

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 5))));
    assert!(fixture.is_free(&slot("tm", 0)));
}

// A report is applied as a whole before requests are matched.

/// B.13
#[test]
fn report_is_applied_as_a_whole_before_requests_are_matched() {
    // given: requests 1 and 2 wait
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when: a free slot is listed before the slot of allocation 1
    fixture.register("tm", 7, &report("tm", &[None, Some(1)]));

    // then: 1 has its slot, the free one is for 2
    fixture.expect(&["granted 1 on tm_1", "request tm_0 for 2 #1", "granted 2 on tm_0"]);
}

/// B.13: the same for slots that are known.
#[test]
fn slot_that_becomes_free_does_not_go_to_a_request_that_the_report_completes() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(50), Some(60)]));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.report(7, &report("tm", &[None, Some(1)]));

    // then
    fixture.expect(&[
        "lost 50 on tm_0: free",
        "granted 1 on tm_1",
        "lost 60 on tm_1: held by 1",
    ]);
    assert!(fixture.is_free(&slot("tm", 0)));
}

/// The order of the statuses in the report does not matter.
#[test]
fn losses_of_one_report_are_notified_in_the_order_of_the_slots() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), Some(2), Some(3), Some(4)]));

    // when: slot 0 is not listed, the others are listed backwards
    fixture.report(
        7,
        &SlotReport::new(vec![
            held_by(slot("tm", 3), 8, 1),
            SlotStatus::free(slot("tm", 2), small()),
            held_by(slot("tm", 1), 9, 1),
        ]),
    );

    // then
    fixture.expect(&[
        "lost 1 on tm_0: removed",
        "lost 2 on tm_1: held by 9",
        "lost 3 on tm_2: free",
        "lost 4 on tm_3: held by 8",
    ]);
}

/// Grants and losses are in one order.
#[test]
fn grants_and_losses_of_one_report_are_notified_in_the_order_of_the_slots() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(50), Some(60), Some(70)]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.log.take();

    // when
    fixture.report(
        7,
        &SlotReport::new(vec![
            held_by(slot("tm", 2), 2, 1),
            held_by(slot("tm", 1), 1, 1),
            held_by(slot("tm", 0), 51, 1),
        ]),
    );

    // then
    let mut of_slots: Vec<_> = fixture.brief_effects();
    for line in &mut of_slots {
        let at = line.find("tm_").expect("a line about a slot");
        *line = line[at..at + 4].to_owned();
    }
    assert_eq!(of_slots, ["tm_0", "tm_1", "tm_1", "tm_2", "tm_2"]);
}

// Slots that a report adds or omits.

/// B.41
#[test]
fn slots_that_a_report_adds_serve_waiting_requests_in_the_order_of_the_report() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    fixture.request(2, &small());
    fixture.request(4, &small());
    fixture.log.take();

    // when: slot numbers need be neither dense nor in order
    let last = slot("tm", LAST_NUMBER);
    let more = SlotReport::new(vec![
        SlotStatus::free(last.clone(), small()),
        held_by(slot("tm", 0), 1, 1),
        free_slot_of("tm", 9),
        held_by(slot("tm", 5), 3, 1),
        free_slot_of("tm", 6),
    ]);
    fixture.report(7, &more);

    // then
    fixture.expect(&[
        &format!("request {last} for 2 #1"),
        "request tm_9 for 4 #2",
        "granted 4 on tm_9",
        &format!("granted 2 on {last}"),
    ]);
    assert_eq!(fixture.status(3), Some(granted(&slot("tm", 5))));
    assert!(fixture.is_free(&slot("tm", 6)));
    let numbers: Vec<_> = fixture
        .manager
        .slots()
        .map(|view| view.slot_id().slot_number())
        .collect();
    assert_eq!(numbers, [0, 5, 6, 9, LAST_NUMBER]);
}

/// B.41
#[test]
fn slots_that_a_report_omits_are_removed_and_their_losses_notified() {
    // given: allocated, in flight and free slots, and a free slot elsewhere
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None, None, Some(4)]));
    fixture.request(2, &small());
    fixture.register_free("other", 8, &[small()]);
    fixture.log.take();

    // when: only the last slot is left
    fixture.report(7, &SlotReport::new(vec![held_by(slot("tm", 3), 4, 1)]));

    // then: the loss of 1 is notified, 2 moves on
    fixture.expect(&[
        "lost 1 on tm_0: removed",
        "request other_0 for 2 #2",
        "granted 2 on other_0",
    ]);
    assert_eq!(gateway.pending(), []);
    assert_eq!(fixture.status(1), None);
    for number in 0..3 {
        assert!(fixture.manager.slot(&slot("tm", number)).is_none());
    }
    assert_eq!(fixture.manager.overview().slots.registered.slots, 2);
    assert_eq!(fixture.request(5, &small()), AllocationStatus::Waiting);
}

/// B.41: an empty report is complete, too.
#[test]
fn empty_report_removes_all_slots_and_keeps_the_task_manager() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when
    assert_eq!(fixture.report(7, &report("tm", &[])), ReportOutcome::Applied);

    // then
    fixture.expect(&["lost 1 on tm_0: removed"]);
    let task_manager = fixture.manager.task_manager(instance(7)).expect("registered");
    assert_eq!(task_manager.overview().slots.registered.slots, 0);
    assert!(task_manager.idle_since().is_some());
    assert_eq!(fixture.manager.overview().task_managers, 1);
    assert_eq!(fixture.manager.overview().slots.registered.slots, 0);

    // when, then
    fixture.report(7, &report("tm", &[None]));
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

#[test]
fn report_may_replace_all_slots_by_as_many_others() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, None]));

    // when
    let others = SlotReport::new(vec![free_slot_of("tm", 2), free_slot_of("tm", 3)]);
    assert_eq!(fixture.report(7, &others), ReportOutcome::Applied);

    // then
    assert!((0..2).all(|number| fixture.manager.slot(&slot("tm", number)).is_none()));
    assert!((2..4).all(|number| fixture.is_free(&slot("tm", number))));
}

/// B.41
#[test]
fn refused_report_does_not_advance_the_revision() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(1), None]).with_revision(3));
    let before = fixture.view();

    let twice = SlotReport::new(vec![free_slot_of("tm", 1), free_slot_of("tm", 1)]);
    let foreign = SlotReport::new(vec![free_slot_of("tm", 0), free_slot_of("tn", 0)]);
    for refused in [twice, foreign] {
        // when
        let outcome = fixture.try_report(7, &refused.with_revision(9));

        // then
        assert!(outcome.is_err());
        assert_eq!(fixture.view(), before);
        let task_manager = fixture.manager.task_manager(instance(7)).expect("registered");
        assert_eq!(task_manager.revision(), Some(3));
        fixture.expect_nothing();
    }
}

// Slots in flight.

/// B.18: the report may be older than the request.
#[test]
fn report_of_a_free_slot_does_not_end_the_attempt_in_flight_to_it() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());

    // when
    for _ in 0..3 {
        fixture.report(7, &report("tm", &[None, None]));
    }

    // then
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    assert_eq!(gateway.pending().len(), 1);

    // when, then
    fixture.answer(&gateway, 1, acknowledged());
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn attempt_in_flight_to_a_slot_that_another_holds_is_given_up() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);
    fixture.log.take();

    // when
    fixture.report(1, &report("tm", &[Some(7)]));

    // then
    fixture.expect(&["free tm_0 of 1 #1", "request other_0 for 1 #2", "granted 1 on other_0"]);
    assert_eq!(fixture.status(7), Some(granted(&slot("tm", 0))));
    assert_eq!(gateway.pending(), []);
}

#[test]
fn request_fails_when_its_id_of_another_job_holds_the_slot_that_it_is_in_flight_to() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let of_another_job = SlotStatus::allocated(slot("tm", 0), small(), allocation(1), job(2));
    fixture.report(1, &SlotReport::new(vec![of_another_job]));

    // then
    let effects = fixture.log.take();
    assert_eq!(
        failures(&effects),
        [(
            allocation(1),
            AllocationFailureCause::RequestFailed(RequestFailure::HeldByAnotherJob {
                slot_id: slot("tm", 0),
                job_id: job(2),
            })
        )]
    );
    assert_eq!(fixture.manager.overview().pending_requests, 0);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))), "of job 2");
}

// Profiles.

/// B.20
#[test]
fn report_updates_the_profile_of_a_known_slot() {
    let (narrow, wide) = (profile(1.0, 100), profile(4.0, 400));
    let offers = |profile: &ResourceProfile| free_report("tm", std::slice::from_ref(profile));
    let holds = |profile: &ResourceProfile| {
        let status = SlotStatus::allocated(slot("tm", 0), profile.clone(), allocation(1), job(1));
        SlotReport::new(vec![status])
    };
    let profile_of_slot = |fixture: &Fixture| {
        let slot = fixture.manager.slot(&slot("tm", 0)).expect("registered");
        slot.resource_profile().clone()
    };

    // given: a request that the slot does not fit
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &offers(&narrow));
    assert_eq!(fixture.request(1, &wide), AllocationStatus::Waiting);
    fixture.log.take();

    // when, then: the slot grows while it is free
    fixture.report(7, &offers(&wide));
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(profile_of_slot(&fixture), wide);

    // when, then: it grows while it is allocated
    fixture.report(7, &holds(&profile(5.0, 500)));
    assert_eq!(profile_of_slot(&fixture), profile(5.0, 500));

    // when, then: it shrinks while it is allocated
    fixture.report(7, &holds(&narrow));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.free(&slot("tm", 0), 1);
    assert_eq!(fixture.request(2, &wide), AllocationStatus::Waiting);
    fixture.expect(&["ask 2 for {cpu: 4, task heap: 400 MiB}"]);
    assert_eq!(fixture.request(3, &narrow), granted(&slot("tm", 0)));

    // when, then: it shrinks while it is free
    fixture.cancel(2);
    fixture.report(7, &offers(&wide));
    fixture.report(7, &offers(&narrow));
    fixture.log.take();
    assert_eq!(fixture.request(4, &wide), AllocationStatus::Waiting);
    fixture.expect(&["ask 3 for {cpu: 4, task heap: 400 MiB}"]);
    assert_eq!(fixture.request(5, &narrow), granted(&slot("tm", 0)));
}

#[test]
fn report_may_give_a_slot_the_profile_of_the_slot_before_it() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &free_report("tm", &[small(), cores(2)]));

    // when
    fixture.report(7, &free_report("tm", &[small(), small()]));

    // then
    let changed = fixture.manager.slot(&slot("tm", 1)).expect("registered");
    assert_eq!(*changed.resource_profile(), small());
}

#[test]
fn profile_of_a_slot_in_flight_is_updated_and_its_attempt_goes_on() {
    // given
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();

    // when
    fixture.report(
        1,
        &SlotReport::new(vec![SlotStatus::free(slot("tm", 0), profile(9.0, 0))]),
    );

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));

    // when, then
    fixture.cancel(1);
    assert_eq!(fixture.request(2, &profile(8.0, 0)), in_flight(&slot("tm", 0)));
}
