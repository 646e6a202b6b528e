//! What each operation of the manager costs, by the size of the cluster.
//!
//! ```sh
//! cargo bench --bench operations                   # everything, some minutes
//! cargo bench --bench operations -- churn          # the groups and parameters that contain a word
//! cargo bench --bench operations -- 100000         # the largest size of each group
//! cargo bench --bench operations -- --test         # each of them once, without measuring
//! ```
//!
//! **How to read it.** One iteration is one operation, so `time` is the time of one, and `thrpt` how many of them (or
//! of the slots they are about) one core does in a second. The sizes in a group are factors of ten apart. The line of
//! an operation that costs O(1) is flat: nearly the same time for all sizes. What it grows by is cache misses, a small
//! factor once the state has outgrown the caches; a linear one would grow by a hundred. Where the time grows by
//! something else, the module that has the group says by what.
//!
//! **What is measured.** The manager alone, on one thread, with as little around it as can be: [`outside`] has a clock
//! that is a counter, gateways that answer at once or when told to, and actions that count. Messages exist before the
//! clock starts and are as fresh as those that were just deserialised: each has texts and profiles of its own, equal to
//! what the manager knows and never the same object. They are made in batches, so they are in the cache as a message
//! that has just come in would be; what a large cluster costs is the manager's own state. After each round the counts
//! of the manager are checked, so that a group measures what it says.
//!
//! The measured times are those of one machine at one moment. Compare the sizes of one run with each other, or two
//! versions in two runs directly after each other; criterion prints the change against the last run.

mod cluster;
mod matching;
mod measure;
#[path = "../common/messages.rs"]
mod messages;
#[path = "../common/outside.rs"]
mod outside;
mod requests;
mod task_managers;
mod time;

use std::time::Duration;

use criterion::Criterion;

/// Slots, or requests where there are no slots.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    requests::groups(&mut criterion);
    matching::groups(&mut criterion);
    task_managers::groups(&mut criterion);
    time::groups(&mut criterion);
    criterion.final_summary();
}
