//! A real cluster around the slot manager.
#![expect(dead_code, reason = "the parts come one after the other")]

mod election;
mod event_log;
mod job_master;
mod load;
mod protocol;
mod provisioner;
mod resource_manager;
mod task_executor;

fn main() {}
