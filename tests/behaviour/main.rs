//! What the manager and its types do, as given, when and then: one subject a file.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod capacity;
mod configuration;
mod contract;
mod driving;
mod flink_reference;
mod life_cycle;
mod matching;
mod registration;
mod requests;
mod resource_profiles;
mod rules;
mod serialization;
mod slot_states;
mod strategies;
mod timers;
mod workers;
