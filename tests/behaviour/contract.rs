//! What the manager promises whatever it is used for: order, fairness, bounds and time.

mod bounds;
mod determinism;
mod exact_time;
mod fairness;
mod fencing;
mod ground_truth;
mod run_to_completion;
