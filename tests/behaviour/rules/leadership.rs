//! Starting and suspending.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationStatus, LeaderId, PromisedSlotCounts, SlotCounts, SlotManager, StartError, WorkerPromise,
};

use crate::common::{Fixture, patient, profile, report, slot, small};

/// A manager with something of everything.
fn busy() -> Fixture {
    let config = patient()
        .with_request_timeout(Duration::from_secs(100))
        .with_rpc_timeout(Duration::from_secs(50));
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register("tm", 1, &report("tm", &[Some(7), None, None]));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![profile(9.0, 0); 2])));
    fixture.request(2, &profile(9.0, 0));
    fixture.request(3, &profile(20.0, 0));
    fixture.run();
    fixture.log.take();
    fixture
}

#[test]
fn suspending_drops_everything_without_a_word() {
    let mut fixture = busy();
    assert_eq!(fixture.clock.armed().len(), 1);
    let actions = fixture.step(SlotManager::suspend);
    assert!(actions.is_some());
    fixture.expect_nothing();
    assert_eq!(fixture.clock.armed(), [], "no delay is armed");
    assert_eq!(fixture.manager.slot_counts(), SlotCounts::default());
    assert_eq!(fixture.manager.promised_slot_counts(), PromisedSlotCounts::default());
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
    assert_eq!(fixture.manager.num_task_managers(), 0);
    assert_eq!(fixture.manager.num_awaited_answers(), 0);
    assert_eq!(
        fixture.manager.slots().count() + fixture.manager.task_managers().count(),
        0
    );
    assert_eq!(
        fixture.manager.pending_slot_requests().count() + fixture.manager.promised_slots().count(),
        0
    );
    assert_eq!(fixture.manager.next_deadline(), None);
    assert_eq!(fixture.manager.leader_id(), None);
    for id in [1, 2, 3, 7] {
        assert_eq!(fixture.status(id), None);
    }
    assert_eq!(fixture.advance(Duration::from_secs(1000)), 0);
    fixture.expect_nothing();
}

#[test]
fn suspending_gives_the_actions_back_once() {
    let mut fixture = busy();
    assert!(fixture.manager.actions_mut().is_some());
    assert!(fixture.step(SlotManager::suspend).is_some());
    assert!(fixture.step(SlotManager::suspend).is_none());
    assert!(fixture.manager.actions_mut().is_none());
}

#[test]
fn closing_suspends() {
    let fixture = busy();
    let Fixture {
        manager, log, clock, ..
    } = fixture;
    assert!(manager.close().is_some());
    assert_eq!(log.take(), []);
    assert_eq!(clock.armed(), []);
}

#[test]
fn closing_what_was_not_started_gives_nothing() {
    let fixture = Fixture::not_started(patient());
    assert!(fixture.manager.close().is_none());
}

#[test]
fn the_next_leader_learns_from_reports() {
    let mut fixture = busy();
    fixture.step(SlotManager::suspend);
    fixture.start(2);
    assert_eq!(fixture.manager.leader_id(), Some(LeaderId::from_u128(2)));
    assert_eq!(fixture.manager.slot_counts(), SlotCounts::default());
    fixture.register("tm", 1, &report("tm", &[Some(7), Some(1), None]));
    // What it shows is taken over.
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(crate::common::granted(&slot("tm", 1))));
    assert_eq!(fixture.request(2, &profile(9.0, 0)), AllocationStatus::Waiting);
    assert_eq!(
        fixture.brief_effects(),
        ["ask 3 for {cpu: 9}"],
        "numbers of worker requests are not used twice"
    );
}

#[test]
fn what_fell_due_before_does_not_fall_due_under_the_next_leader() {
    let mut fixture = busy();
    fixture.clock.advance(Duration::from_secs(200));
    fixture.step(SlotManager::suspend);
    fixture.start(2);
    assert_eq!(fixture.run(), 0);
    fixture.expect_nothing();
}

#[test]
fn starting_a_started_manager_is_an_error_and_changes_nothing() {
    let mut fixture = busy();
    let counts = fixture.manager.slot_counts();
    let actions = fixture.actions.clone();
    let refused = fixture.step(|manager| manager.start(LeaderId::from_u128(2), actions));
    assert_eq!(
        refused,
        Err(StartError::AlreadyStarted {
            leader_id: LeaderId::from_u128(1)
        })
    );
    assert_eq!(fixture.manager.leader_id(), Some(LeaderId::from_u128(1)));
    assert_eq!(fixture.manager.slot_counts(), counts);
    assert_eq!(fixture.manager.num_pending_slot_requests(), 3);
    fixture.expect_nothing();
}

#[test]
fn configuration_outlives_a_leadership() {
    let mut fixture = busy();
    let config = fixture.manager.config().clone();
    fixture.step(SlotManager::suspend);
    fixture.start(2);
    assert_eq!(fixture.manager.config(), &config);
}
