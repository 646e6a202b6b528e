//! A real cluster around the slot manager.
#![expect(dead_code, reason = "the parts come one after the other")]

mod election;
mod event_log;
mod operator;
mod protocol;
mod provisioner;
mod resource_manager;
mod web;

fn main() {}
