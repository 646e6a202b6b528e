//! Inputs: the events that callers tell the manager. Each runs to completion.

mod fast_path;
mod jobs;
mod operators;
mod workers;
