//! A minute in the life of a cluster of ten million slots: the share of a core and the memory that
//! the manager needs.
//!
//! ```sh
//! cargo bench --bench scale                                          # a million task managers; a minute, 2 GB
//! cargo bench --bench scale -- --task-managers 100000 --seconds 10   # another size
//! cargo bench --bench scale -- --test                                # a small one, in a second
//! ```
//!
//! **What happens.** Each task manager has ten slots and reports them every ten seconds, as its
//! heartbeat. Nine slots in ten are used. A hundred thousand times a second, a slot picked at
//! random is freed and a slot is requested. Each task executor acknowledges a millisecond later.
//! Other sizes have as many requests per task manager.
//!
//! **How to read it.** Time is virtual: a millisecond lasts as long as its work. "Share of a core"
//! is the time within calls of the manager, including its gateways, divided by the virtual time.
//! Below 100 % one core is enough. Messages are made between the calls, while the clock is stopped.
//! "Longest millisecond" is the most work in one virtual millisecond. "Held by the manager" is all
//! allocated memory, including spare room that was never touched. The resident set is the touched
//! memory of the whole process, including the bench.

#[allow(dead_code, reason = "shared with other benches and tests")]
#[path = "../common/allocator.rs"]
mod allocator;
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
#[path = "../common/timing.rs"]
mod timing;

use std::time::Duration;

use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::life::{Cluster, Work};
use crate::messages::SLOTS_PER_TASK_MANAGER;

/// Measures the share of a core and the memory that the manager of a large cluster needs.
#[derive(Parser)]
struct Arguments {
    /// Task managers, of ten slots each
    #[arg(long, default_value_t = 1_000_000)]
    task_managers: usize,
    /// Virtual seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Give the manager the capacity hint
    #[arg(long)]
    hint: bool,
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
        arguments.task_managers = 10_000;
        arguments.seconds = 1;
    }
    let life = Duration::from_secs(arguments.seconds);
    let mut cluster = Cluster::new(arguments.task_managers, arguments.hint);
    let growth = cluster.grow();
    let work = cluster.live(life);
    println!("{}", table(&arguments, growth, &work, &cluster));
}

fn table(arguments: &Arguments, growth: Duration, work: &Work, cluster: &Cluster) -> Table {
    let virtual_time = Duration::from_secs(arguments.seconds);
    let share = |time: Duration| format!("{:.1} %", time.as_secs_f64() / virtual_time.as_secs_f64() * 100.0);
    let per_second = |count: usize| format!("{:.0}", count as f64 / virtual_time.as_secs_f64());
    let slots = arguments.task_managers * SLOTS_PER_TASK_MANAGER;
    let held = cluster.held_by_manager();
    let rows = [
        (
            "task managers / slots",
            format!("{} / {slots}", arguments.task_managers),
        ),
        ("slots held, in flight", cluster.describe_use()),
        ("virtual time", format!("{virtual_time:?}")),
        ("reports of ten slots a second", per_second(work.reports)),
        ("slots freed and requested a second", per_second(work.requests)),
        ("share of a core", share(work.time())),
        ("  reports", share(work.reporting)),
        ("  freeing and requesting", share(work.requesting)),
        ("  answers and time", share(work.driving)),
        ("longest millisecond", format!("{:.2?}", work.longest_millisecond)),
        (
            "milliseconds that took longer than one",
            work.late_milliseconds.to_string(),
        ),
        ("time to register and request it all", format!("{growth:.1?}")),
        (
            "held by the manager",
            format!(
                "{:.2} GB, {:.0} bytes a slot",
                held as f64 / 1e9,
                held as f64 / slots as f64
            ),
        ),
        (
            "most resident memory of the process",
            most_resident().unwrap_or_else(|| "not known here".to_owned()),
        ),
    ];
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

/// Returns the largest resident set; `None` if the system does not show it as Linux does.
fn most_resident() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{:.2} GB", kibibytes * 1024.0 / 1e9))
}
