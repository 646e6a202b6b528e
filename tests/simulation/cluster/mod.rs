//! A cluster in virtual time around one slot manager: task executors, job masters, a resource manager, operators, and a
//! network between them that loses, delays, duplicates and reorders. One seed decides everything.
//!
//! [`run`] lets faults rage for a while, then stops them, and checks that everything settles: see `settlement`.

mod call_log;
mod capacity_rules;
mod checks;
mod event_queue;
mod faults;
mod network;
mod parties;
mod run;
mod scenario;
mod simulation;
mod trace;

pub(crate) use self::faults::{Fault, FaultCounts};
#[allow(unused_imports, reason = "tests and example use their part")]
pub(crate) use self::run::{Outcome, Violation, run};
