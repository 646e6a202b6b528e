//! A cluster in virtual time around one slot manager: task executors, job masters, a resource manager, operators, and a
//! network between them that loses, delays, duplicates and reorders. One seed decides everything.
//!
//! [`run`] lets faults rage for a while, then stops them, and checks that everything settles: see `settlement`.

mod calls;
mod capacity_watch;
mod counter_watch;
mod deliveries;
mod events;
mod faults;
mod gateway;
mod inputs;
mod job_masters;
mod leadership;
mod ledger;
mod mind;
mod moment;
mod network;
mod observation;
mod operators;
mod questions;
mod recount;
mod registrations;
mod releases;
mod reserve_watch;
mod resource_manager;
mod rules;
mod run;
mod scenario;
mod settlement;
mod simulation;
mod standing;
mod task_executors;
mod trace;
mod watch;

pub(crate) use self::faults::{Fault, FaultCounts};
#[allow(unused_imports, reason = "tests and example use their part")]
pub(crate) use self::run::{Outcome, Violation, run};
