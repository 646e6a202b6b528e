//! What a task executor says beats what the manager believed.

use slot_manager::testing::{
    Delivery, GatewayAnswer, ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor,
};
use slot_manager::{
    Acknowledge, AllocationStatus, LeaderId, SlotAllocationError, SlotManager, SlotState, TaskExecutorConnection,
};

use crate::common::{Fixture, allocation, granted, instance, job, patient, report, request, slot, small};

#[test]
fn a_slot_that_a_report_shows_as_held_is_not_handed_out() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.report(1, &report("tm", &[Some(7)]));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(7)));
}

#[test]
fn a_slot_that_a_report_shows_as_free_is_handed_out() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(7)]));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.log.take();
    fixture.report(1, &report("tm", &[None]));
    fixture.expect(&["lost 7 on tm_0: free", "request tm_0 for 1 #1", "granted 1 on tm_0"]);
}

#[test]
fn a_slot_that_an_answer_shows_as_held_belongs_to_its_holder() {
    let mut fixture = Fixture::new();
    fixture
        .register_free("tm", 1, &[small()])
        .answer_next(Err(SlotAllocationError::Occupied {
            allocation_id: allocation(7),
            job_id: job(2),
        }));
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    let state = fixture.manager.slot(&slot("tm", 0)).expect("a known slot").state();
    let held = SlotState::Allocated {
        allocation_id: allocation(7),
        job_id: job(2),
    };
    assert_eq!(state, held);
}

#[test]
fn a_request_that_a_report_shows_as_served_is_granted_before_its_answer() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.log.take();
    fixture.report(1, &report("tm", &[Some(1)]));
    fixture.expect(&["granted 1 on tm_0"]);
    assert_eq!(gateway.pending(), [], "nobody waits for the answer any more");
}

#[test]
fn an_acknowledgement_that_the_manager_did_not_expect_any_more_changes_nothing() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.cancel(1);
    fixture.log.take();
    assert!(gateway.answer(1, Ok(Acknowledge::new())).is_err());
    assert_eq!(fixture.run(), 0);
    assert!(fixture.is_free(&slot("tm", 0)));
    fixture.expect(&[""; 0]);
}

/// Two answers are lost, one request never arrives, and a slot is freed without a word.
#[test]
fn when_messages_stop_and_each_task_executor_reports_the_view_is_the_truth() {
    let clock = ManualScheduledExecutor::new();
    let config = patient().with_rpc_timeout(std::time::Duration::from_secs(1));
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
    executors[0].deliver_next().expect("the request for 2");
    executors[0].deliver_next().expect("the request for 3");
    while executors[0].lose(0).is_some() {}
    executors[1].lose(0).expect("the request for 4");
    executors[1].deliver_next().expect("the request for 5");
    executors[0].free(allocation(1)).expect("it holds a slot");
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
    assert_ne!(view(&manager), truth(), "messages were lost");

    for _ in 0..20 {
        clock.advance(std::time::Duration::from_secs(1));
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

#[test]
fn the_truth_of_one_task_executor_says_nothing_of_another() {
    let mut fixture = Fixture::new();
    fixture.register("a", 1, &report("a", &[Some(1)]));
    fixture.register("b", 2, &report("b", &[Some(2)]));
    fixture.report(1, &report("a", &[None]));
    fixture.expect(&["lost 1 on a_0: free"]);
    assert_eq!(fixture.status(2), Some(granted(&slot("b", 0))));
}
