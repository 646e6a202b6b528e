//! The cost of each operation of the manager, by the size of the cluster.
//!
//! ```sh
//! cargo bench --bench operations                        # everything, about twenty minutes
//! cargo bench --bench operations -- churn               # the groups and parameters that match a pattern
//! cargo bench --bench operations -- 'served at once'    # such as one operation, with its floor
//! cargo bench --bench operations -- 'by configuration'  # strategies and rules beside the default
//! cargo bench --bench operations -- '/.*\b1000000\b'    # the largest size of each group
//! cargo bench --bench operations -- --sample-size 50 --measurement-time 10 'request waits/'
//! cargo bench --bench operations -- --test              # each of them once and small, without measuring
//! ```
//!
//! **How to read it.** One iteration is one operation. `time` is the time of one; `thrpt` is the
//! number of operations, or of their slots, per second on one core. The sizes in a group are
//! factors of ten apart, from 100 to 1,000,000 slots, or requests where there are no slots. The
//! smallest is a manager with ten task managers. The line of an O(1) operation is flat: nearly the
//! same time for all sizes. It grows by cache misses, a small factor once the state has outgrown the
//! caches; a linear one would grow by ten thousand. Where the time grows with something else, the
//! module of the group names it.
//!
//! **The floor.** A group `floor: ...` is measured directly after the group of the same name, with
//! the same messages in the same order. It does only the least work of any such manager, a few
//! operations on hash maps; see [`floor`]. Read the ratio of the two, at the same size and from the
//! same run. The growth of the floor is the machine's share of the growth.
//!
//! **What is measured.** The manager alone, on one thread, with as little around it as possible:
//! [`outside`] has a clock that is a counter, gateways that answer at once or on demand, and
//! actions that count. The groups `either clock: ...` show the cost of tokio's clock and timer.
//! Messages exist before the clock starts and are as fresh as deserialized ones: each has texts and
//! profiles of its own, equal to those the manager knows and never the same object. They are made
//! in batches, so they are in the cache like a message that has just arrived; the growth for a
//! large cluster is the manager's own state. A batch goes through the state at most once, so at the
//! smallest size reading the clock adds up to 5 ns to an operation. After each round the counts of
//! the manager are checked, so that a group measures what its name promises.
//!
//! A sample is at least one round, and most rounds go through the whole state. At the largest sizes
//! that takes longer than the requested measurement time, and criterion warns about it. The largest
//! state takes less than a gigabyte. With `--test`, which only shows that everything works, sizes
//! end at 100,000.
//!
//! The times are those of one machine at one moment. Compare the sizes of one run with each other,
//! or two versions in two runs directly after each other. Criterion prints the change against the
//! last run.

mod clocks;
mod cluster;
mod configurations;
mod decisions;
mod dynamic_workers;
mod failures;
#[path = "../common/floor.rs"]
mod floor;
mod in_flight;
mod inputs;
mod matching;
mod measure;
#[path = "../common/messages.rs"]
mod messages;
#[path = "../common/outside.rs"]
mod outside;
mod overviews;
mod reports;
mod requests;
mod requirements;
mod task_managers;
mod time;
#[path = "../common/timing.rs"]
mod timing;

use std::time::Duration;

use criterion::Criterion;

/// Slots, or requests where there are no slots.
const SIZES: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// The largest size where nothing is measured.
const LARGEST_IN_TEST: usize = 100_000;

/// Returns the sizes that each group is measured with.
fn sizes() -> impl Iterator<Item = usize> {
    let largest = if is_test() { LARGEST_IN_TEST } else { usize::MAX };
    SIZES.into_iter().filter(move |size| *size <= largest)
}

/// Returns `true` if criterion runs everything once, without measuring. It does on demand, and
/// unless `cargo bench` runs it.
fn is_test() -> bool {
    let is_given = |flag| std::env::args().any(|argument| argument == flag);
    is_given("--test") || !is_given("--bench")
}

fn main() {
    // The smallest sample size, because of the largest states.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    requests::groups(&mut criterion);
    in_flight::groups(&mut criterion);
    matching::groups(&mut criterion);
    configurations::groups(&mut criterion);
    requirements::groups(&mut criterion);
    decisions::groups(&mut criterion);
    dynamic_workers::groups(&mut criterion);
    failures::groups(&mut criterion);
    overviews::groups(&mut criterion);
    reports::groups(&mut criterion);
    task_managers::groups(&mut criterion);
    time::groups(&mut criterion);
    clocks::groups(&mut criterion);
    criterion.final_summary();
}
