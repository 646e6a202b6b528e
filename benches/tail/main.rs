//! The slowest single operations: the time of each call is kept, not a mean.
//!
//! ```sh
//! cargo bench --bench tail                          # 100,000 task managers of ten slots, some minutes
//! cargo bench --bench tail -- --task-managers 1000  # another size
//! cargo bench --bench tail -- --test                # a small one, in a second
//! ```
//!
//! **What is measured.** A cluster grows from nothing to its full size, with nine slots in ten
//! used. Then as many requests as there are slots wait at once, and most are cancelled. Those are
//! the first rows, in which tables grow. Then the life of the cluster goes on, mixed at random with
//! a fixed seed. Slots are freed and requested; requests wait, are cancelled or time out. Task
//! executors answer at once, later or never, report, go and come. The manager is driven after each
//! step of a virtual millisecond. Each call is timed alone, and its message is made before.
//!
//! **How to read it.** There are two tables: without and with the capacity hint ([`Capacity`]). The
//! tables of the manager grow in steps, so no call moves all items. A call that did would show as a
//! maximum of tens of milliseconds. A preempted process shows as a maximum, too. The last two rows
//! tell the two apart. They are timed in every step of the life, between the other calls. The
//! first of them does nothing: it shows the cost of reading the clock, which each row contains. The
//! second does about a microsecond of arithmetic and touches no memory. Its maximum is the delay
//! that the machine causes; a maximum of that size tells nothing about the manager. Run the bench
//! twice: delays of the manager come again, at the same place.

#[allow(dead_code, reason = "shared with other benches and tests")]
#[path = "../common/held_slots.rs"]
mod held_slots;
mod life;
#[allow(dead_code, reason = "shared with other benches and tests")]
#[path = "../common/messages.rs"]
mod messages;
#[allow(dead_code, reason = "shared with other benches and tests")]
#[path = "../common/outside.rs"]
mod outside;
mod stopwatch;
mod task_executors;
#[path = "../common/timing.rs"]
mod timing;

use clap::Parser;
use slot_manager::config::Capacity;

use crate::life::{Cluster, WAITING};
use crate::messages::SLOTS_PER_TASK_MANAGER;

/// Measures the slowest single operations of the manager.
#[derive(Parser)]
struct Arguments {
    /// Task managers, of ten slots each
    #[arg(long, default_value_t = 100_000)]
    task_managers: usize,
    /// Steps of the life of the cluster
    #[arg(long, default_value_t = 4_000_000)]
    steps: usize,
    /// A small cluster and a short life, to see that it works
    #[arg(long)]
    test: bool,
    /// Given by cargo; has no effect
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.test {
        arguments.task_managers = 1_000;
        arguments.steps = 100_000;
    }
    let Arguments {
        task_managers, steps, ..
    } = arguments;
    let hint = Capacity {
        task_managers,
        slots: task_managers * SLOTS_PER_TASK_MANAGER,
        // Those that wait at once, and the few in flight.
        pending_requests: task_managers * SLOTS_PER_TASK_MANAGER + WAITING,
    };
    for (title, hint) in [("without", Capacity::default()), ("with", hint)] {
        let mut cluster = Cluster::new(task_managers, hint);
        cluster.grow();
        for _ in 0..steps {
            cluster.step();
        }
        cluster.check();
        println!("\n{task_managers} task managers of {SLOTS_PER_TASK_MANAGER} slots, {title} the capacity hint");
        println!("{}", cluster.into_times().table());
    }
}
