//! The slot manager against a naive model of it: the same inputs and the same answers from outside lead to the same state
//! and the same effects in the same order.
//!
//! `PROPTEST_CASES` asks for more cases; one is about a hundred steps. A case that fails prints a script, which belongs
//! into a file in `scripts/`: from then on it is run with the others.

#[path = "../common/mod.rs"]
mod common;

mod command;
mod configurations;
mod naive;
mod observation;
mod scripts;
mod state_machine;
mod steps;
mod subject;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use state_machine::{Reference, SideBySide};

#[test]
fn the_slot_manager_agrees_with_the_model() {
    let default = ProptestConfig::default();
    let config = ProptestConfig {
        cases: default.cases.max(500),
        // What was found is kept as a script.
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..default
    };
    let steps = Cell::new(0);
    let cases = Reference::sequential_strategy(1..200);
    let result = TestRunner::new(config.clone()).run(&cases, |(initial, transitions, seen)| {
        steps.set(steps.get() + transitions.len());
        SideBySide::test_sequential(config.clone(), initial, transitions, seen);
        Ok(())
    });
    println!("{} steps in {} cases", steps.get(), config.cases);
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
