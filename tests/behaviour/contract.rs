//! The promises about every call: order, fairness, bounds and no re-entry.

mod bounds;
mod determinism;
mod fairness;
mod run_to_completion;
