//! Real processes, real faults, and a checker that reads only the event logs.
//!
//! Tests that measure times run alone: two cores are not many.

mod checker;
mod command_line;
mod dashboard;
mod declared;
mod double;
mod dynamic;
mod etcd;
mod event_log;
mod failover;
mod faults;
mod harness;
mod hostile;
mod jobs;
mod leaders;
mod measure;
mod outages;
mod programs;
mod required;
mod slurm;
mod workers;
