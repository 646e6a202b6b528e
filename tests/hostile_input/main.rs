//! Input from a malicious sender or a broken program: it is an error or a valid value, and never
//! causes a panic, an overflow or unbounded memory.
//!
//! Parsed and built values (ids, options, profiles, times, serialized messages) meet arbitrary
//! text, text that is nearly right, and numbers at their limits. A whole manager meets numbers at
//! their limits, many slots, many requests, and ids that are slow to look up.
#![allow(unused_must_use, reason = "the steps that lead to a state are judged by the state")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../../benches/common/outside.rs"]
mod outside;

mod colliding_ids;
mod extremes;
mod ids;
mod many;
mod options;
mod profiles;
mod serialized;
mod text;
mod times;
