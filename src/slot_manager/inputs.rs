//! What callers tell the manager. Each input runs to completion.

mod fast_path;
mod jobs;
mod operators;
mod workers;
