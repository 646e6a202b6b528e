//! The checks: after each call of the manager, and after the faults have stopped.

pub(crate) mod after_each_call;
pub(crate) mod after_the_faults;
pub(crate) mod call_context;
pub(crate) mod capacity;
pub(crate) mod counters;
pub(crate) mod fencing_and_fairness;
pub(crate) mod overviews;
pub(crate) mod release_checks;
pub(crate) mod request_ledger;
pub(crate) mod requirements;
pub(crate) mod reserve;
pub(crate) mod slot_inventory;
