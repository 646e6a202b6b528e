//! Violations about declared requirements and the slots that are charged to them.

use super::{Manager, allocation, assert_found_in, cores, job, register, slot};
use crate::outcome::{RequirementsOutcome, SlotFreedOutcome};
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::requirements::{Account, AccountKey, AccountTimer};
use crate::slot_manager::state::slots::SlotKey;
use crate::testing::{GatewayAnswer, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use crate::{LeaderId, ResourceRequirements, SlotManagerConfig, SlotStatus};

/// Returns a manager with these records:
///
/// - Job 7 has declared three slots of one core.
/// - It holds one, and a smaller one in excess. One more is in flight.
/// - It has freed a slot, which is replaced later.
/// - Job 8 holds a slot and has declared nothing.
fn manager() -> Manager {
    let time = ManualScheduledExecutor::new();
    let mut manager = Manager::new(SlotManagerConfig::default(), time).expect("a valid configuration");
    let gateway = ScriptedGateway::new();
    gateway.answer_requests(GatewayAnswer::ByHand);
    manager
        .start(LeaderId::from_u128(1), RecordingActions::new())
        .expect("not started");
    let held = |number: u32, size, of_job| {
        let id = allocation(u128::from(number));
        SlotStatus::allocated(slot(number), cores(size), id, job(of_job))
    };
    let statuses = [held(0, 1.0, 7), held(1, 0.5, 7), held(2, 1.0, 8), held(3, 1.0, 7)];
    register(&mut manager, "used", 1, &gateway, &statuses);
    let requirements = ResourceRequirements::new(job(7), "job-master").require(cores(1.0), 3);
    let declared = manager.declare_requirements(&requirements.expect("few slots"));
    let expected = RequirementsOutcome::Declared {
        requested: 1,
        withdrawn: 0,
        excess: 1,
    };
    assert_eq!(declared, Ok(expected));
    let freed = crate::message::SlotFreed::new(slot(3), allocation(3));
    assert_eq!(manager.slot_freed(&freed), SlotFreedOutcome::Freed);
    manager
}

fn account_of(core: &Core, of_job: u128) -> AccountKey {
    core.ledger.find(job(of_job)).expect("the job holds a slot")
}

fn find_slot(core: &Core, number: u32) -> SlotKey {
    let found = core.slots.iter().map(|(key, _)| key);
    let mut found = found.filter(|key| core.slot_id(*key) == slot(number));
    found.next().expect("a registered slot")
}

#[track_caller]
fn assert_found(violation: &str, break_it: impl Fn(&mut Core)) {
    assert_found_in(manager(), violation, break_it);
}

/// Breaks the account of job 7.
#[track_caller]
fn assert_found_in_account(violation: &str, break_it: impl Fn(&mut Account)) {
    assert_found(violation, |core| {
        let account = account_of(core, 7);
        break_it(&mut core.ledger.accounts[account]);
    });
}

#[test]
fn accounts_that_disagree_with_the_slots() {
    assert_found("the accounts do not hold the slots that are allocated", |core| {
        let slot = find_slot(core, 2);
        assert!(core.ledger.release(slot).is_some());
    });
    assert_found_in_account("slots in excess, but 2 are counted", |account| account.num_excess += 1);
    assert_found_in_account("slots, but 3 are counted", |account| account.num_held += 1);
    assert_found("is not closed", |core| {
        core.ledger.account_of(job(9));
    });
    assert_found_in_account("was not settled", |account| account.is_noted = true);
}

#[test]
fn charges_that_disagree_with_the_declaration() {
    assert_found_in_account("0 jobs declare, but 1 are counted", |account| {
        account.declared_by = None;
    });
    assert_found_in_account("is charged 1 slots of", |account| account.requirements[0].charged += 1);
    assert_found("a slot of job", |core| {
        let holding = core.ledger.holding(find_slot(core, 0)).expect("a held slot");
        core.ledger.charge(holding, None);
    });
}

#[test]
fn units_that_disagree_with_the_declaration() {
    assert_found("units are not those in the list of units", |core| {
        let unit = core.requests.units().next().expect("one is in flight");
        core.requests.records[unit].is_declared = false;
    });
    assert_found_in_account("has 1 units for", |account| account.requirements[0].units += 1);
    assert_found_in_account("lacks units for", |account| account.requirements[0].freed = 0);
}

#[test]
fn deadlines_that_are_not_armed() {
    for (timer, violation) in [
        (AccountTimer::Refill, "are never replaced"),
        (AccountTimer::Shortage, "the time to tell a shortage"),
    ] {
        assert_found(violation, |core| {
            let account = account_of(core, 7);
            core.ledger.disarm(timer, account);
        });
    }
}
