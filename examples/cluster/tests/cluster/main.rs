//! Real processes, real faults, and a checker that reads only the event logs.
//!
//! The tests run one after the other: each measures a time, and two cores are not many.

mod checker;
mod dashboard;
mod event_log;
mod harness;
mod hostile;
mod leaders;
mod required;
mod slurm;
mod workers;
