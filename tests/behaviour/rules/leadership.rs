//! Starting and suspending.

use std::time::Duration;

use slot_manager::testing::GatewayAnswer;
use slot_manager::{
    AllocationStatus, LeaderId, PromisedSlotCounts, SlotCounts, SlotManager, StartError, WorkerPromise,
};

use crate::common::{Fixture, patient, profile, report, slot, small};

const NOTHING: [&str; 0] = [];

/// A manager with something of everything.
fn busy() -> Fixture {
    let config = patient()
        .with_request_timeout(Duration::from_secs(100))
        .with_rpc_timeout(Duration::from_secs(50));
    let mut f = Fixture::with(config);
    let gateway = f.register("tm", 1, &report("tm", &[Some(7), None, None]));
    gateway.answer_requests(GatewayAnswer::ByHand);
    f.request(1, &small());
    f.actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![profile(9.0, 0); 2])));
    f.request(2, &profile(9.0, 0));
    f.request(3, &profile(20.0, 0));
    f.run();
    f.said();
    f
}

#[test]
fn suspending_drops_everything_without_a_word() {
    let mut f = busy();
    assert_eq!(f.clock.armed().len(), 1);
    let actions = f.step(SlotManager::suspend);
    assert!(actions.is_some());
    assert_eq!(f.said(), NOTHING);
    assert_eq!(f.clock.armed(), [], "no delay is armed");
    assert_eq!(f.manager.slot_counts(), SlotCounts::default());
    assert_eq!(f.manager.promised_slot_counts(), PromisedSlotCounts::default());
    assert_eq!(f.manager.num_pending_slot_requests(), 0);
    assert_eq!(f.manager.num_task_managers(), 0);
    assert_eq!(f.manager.num_awaited_answers(), 0);
    assert_eq!(f.manager.slots().count() + f.manager.task_managers().count(), 0);
    assert_eq!(
        f.manager.pending_slot_requests().count() + f.manager.promised_slots().count(),
        0
    );
    assert_eq!(f.manager.next_deadline(), None);
    assert_eq!(f.manager.leader_id(), None);
    for id in [1, 2, 3, 7] {
        assert_eq!(f.status(id), None);
    }
    assert_eq!(f.advance(Duration::from_secs(1000)), 0);
    assert_eq!(f.said(), NOTHING);
}

#[test]
fn suspending_gives_the_actions_back_once() {
    let mut f = busy();
    assert!(f.manager.actions_mut().is_some());
    assert!(f.step(SlotManager::suspend).is_some());
    assert!(f.step(SlotManager::suspend).is_none());
    assert!(f.manager.actions_mut().is_none());
}

#[test]
fn closing_suspends() {
    let f = busy();
    let Fixture {
        manager, log, clock, ..
    } = f;
    assert!(manager.close().is_some());
    assert_eq!(log.take(), []);
    assert_eq!(clock.armed(), []);
}

#[test]
fn closing_what_was_not_started_gives_nothing() {
    let f = Fixture::not_started(patient());
    assert!(f.manager.close().is_none());
}

#[test]
fn the_next_leader_learns_from_reports() {
    let mut f = busy();
    f.step(SlotManager::suspend);
    f.start(2);
    assert_eq!(f.manager.leader_id(), Some(LeaderId::from_u128(2)));
    assert_eq!(f.manager.slot_counts(), SlotCounts::default());
    f.register("tm", 1, &report("tm", &[Some(7), Some(1), None]));
    assert_eq!(f.said(), NOTHING, "what it shows is taken over");
    assert_eq!(f.status(1), Some(crate::common::granted(&slot("tm", 1))));
    assert_eq!(f.request(2, &profile(9.0, 0)), AllocationStatus::Waiting);
    assert_eq!(
        f.said(),
        ["ask 3 for {cpu: 9}"],
        "numbers of worker requests are not used twice"
    );
}

#[test]
fn what_fell_due_before_does_not_fall_due_under_the_next_leader() {
    let mut f = busy();
    f.clock.advance(Duration::from_secs(200));
    f.step(SlotManager::suspend);
    f.start(2);
    assert_eq!(f.run(), 0);
    assert_eq!(f.said(), NOTHING);
}

#[test]
fn starting_a_started_manager_is_an_error_and_changes_nothing() {
    let mut f = busy();
    let counts = f.manager.slot_counts();
    let actions = f.actions.clone();
    let refused = f.step(|manager| manager.start(LeaderId::from_u128(2), actions));
    assert_eq!(
        refused,
        Err(StartError::AlreadyStarted {
            leader_id: LeaderId::from_u128(1)
        })
    );
    assert_eq!(f.manager.leader_id(), Some(LeaderId::from_u128(1)));
    assert_eq!(f.manager.slot_counts(), counts);
    assert_eq!(f.manager.num_pending_slot_requests(), 3);
    assert_eq!(f.said(), NOTHING);
}

#[test]
fn configuration_outlives_a_leadership() {
    let mut f = busy();
    let config = f.manager.config().clone();
    f.step(SlotManager::suspend);
    f.start(2);
    assert_eq!(f.manager.config(), &config);
}
