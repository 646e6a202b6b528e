//! A cluster in virtual time around one slot manager: task executors, job masters, a resource
//! manager, operators, and a network that loses, delays, duplicates and reorders messages. One seed
//! decides everything.
//!
//! [`run`] injects faults for some time, and checks the manager after every call. Then it stops the
//! faults and checks that the cluster recovers: see `checks::after_the_faults`.

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
#[allow(unused_imports, reason = "the tests and the soak each use a part")]
pub(crate) use self::run::{Outcome, Violation, run};
pub(crate) use self::scenario::Kinds;
