//! The slot manager against a naive model of it: the same inputs and the same answers from outside
//! lead to the same state and to the same effects in the same order.
//!
//! `PROPTEST_CASES` sets the number of cases; each has about a hundred steps. A failing case prints
//! a script for a file in `scripts/`, which then runs with the others.
#![allow(unused_must_use, reason = "the steps that lead to a state are judged by the state")]

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
        // Failing cases are kept as scripts.
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
