//! The behaviour of the manager and its types, as given, when and then: one subject a file.
#![allow(unused_must_use, reason = "the steps that lead to a state are judged by the state")]

#[path = "../common/mod.rs"]
mod common;

mod attempt_answers;
mod attempts;
mod bad_input;
mod blocking;
mod config_serialization;
mod configuration;
mod contract;
mod driving;
mod dynamic_slots;
mod dynamic_strategies;
mod explain;
mod failed_attempts;
mod flink_reference;
mod grants;
mod idle_release;
mod later_answers;
mod leaderships;
mod limits;
mod matching;
mod min_slots;
mod options;
mod overview;
mod promised_dynamic_workers;
mod promised_workers;
mod promises;
mod recovery;
mod redundancy;
mod registration_limits;
mod registrations;
mod release_checks;
mod reports;
mod requests;
mod requirements;
mod resource_profiles;
mod revisions;
mod serialization;
mod set_aside;
mod slots;
mod strategies;
mod timers;
mod unfulfillable;
mod withdrawal;
mod worker_options;
mod worker_policy;
mod worker_requests;
