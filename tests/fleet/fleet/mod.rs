//! A fleet of workers in virtual time around one slot manager, with a liveness oracle.
//!
//! A [`Scenario`] is data: a configuration, orders with their times, and the choices of the
//! resource manager. [`Scenario::draw`] makes one from a seed. The [`Oracle`](oracle::Oracle) hears
//! each input and each call of the manager, and never looks at the manager's state.

pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod oracle;
pub(crate) mod outside;
pub(crate) mod resource_manager;
pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod simulation;
pub(crate) mod workers;
