//! This crate and Flink side by side: the same workloads on both, in one run, with one table for
//! each version of Flink.
//!
//! The first table has jobs that request single slots. Flink's side is `SlotManagerImpl` of version
//! 1.10.3, the direct descendant of the slot manager of FLINK-5810. The second table has jobs that
//! declare the slots that they need in all. There it is `FineGrainedSlotManager` of version 2.3.0.
//!
//! ```sh
//! cargo bench --bench flink                    # everything, about forty minutes
//! cargo bench --bench flink -- --quick         # one round instead of three, fewer iterations
//! cargo bench --bench flink -- churn           # the rows that contain a word
//! cargo bench --bench flink -- declare         # the rows of declared requirements
//! cargo bench --bench flink -- dynamic         # those of dynamic workers
//! cargo bench --bench flink -- --size 100      # the rows of one size
//! cargo bench --bench flink -- --list          # all rows
//! cargo bench --bench flink -- --test          # our side, each workload once and small, without measuring
//! ```
//!
//! It needs a Java development kit (17 or later), `curl` and `tar`. Without them it prints the
//! missing tool and measures nothing. The first run fetches the source distributions of
//! `apache-flink` 1.10.3 (286 MB) and of `apache-flink-libraries` 2.3.0 (329 MB) from PyPI, checks
//! their hashes, and takes Flink's jars into the target directory. Rows of one version need only
//! that one. Nothing is installed. The largest size needs 8 GiB for Java.
//!
//! **How to read it.** Nanoseconds per operation, less is better, and how many times as long Flink
//! takes. The sizes are factors of ten apart, from 100 slots or requests on: a manager with ten task
//! managers. A row of this crate that grows by a small factor with the size has outgrown the caches.
//! A column of Flink that grows by ten with each size is a linear scan. `-` stands where Flink would
//! take too long, or failed.
//!
//! **The work of both sides.** [`catalogue`] lists the workloads. The modules of [`workloads`] are
//! our side. `java/` is the other, with a folder for each version. Each manager has as little
//! around it as possible: one thread, task executors that acknowledge at once or on demand, actions
//! that count, no log. Flink gets no actor and no mailbox, so its numbers are a lower bound. All
//! messages exist before the clock starts, so the large ones are cold: ids, profiles and reports.
//! The slot ids of one task manager share one resource id, requests share their address. Where both
//! sides need a place for the result of a call, it exists as well. Results are checked and dropped
//! after the clock has stopped. Each iteration begins with a new manager and ends with a check of
//! its counts, so that a row measures what its name promises.
//!
//! **Declared requirements.** Flink checks them some time after a change, by default 50 ms. Here it
//! checks at once after each change, without a wait, and our side is driven after each change. Our
//! manager requests at most 1,024 slots of a declaration in one call, and as many in each later
//! millisecond. The workload moves the clock by hand, so the time between is not counted.
//!
//! **Dynamic workers.** Their rows are in the second table, by number of workers. Each worker has 16
//! cores and 64 GiB, of which 50 % or 95 % of the cores are used. A job declares slots of one shape, so
//! there are as many jobs as shapes. 16 slots all over the cluster are given back one by one, then
//! declared again, the last one first. Flink checks all jobs at once when they are new, else after
//! each change.
//!
//! **The floor.** Where it stands, the least work of any such manager on the same messages: a few
//! operations on the hash maps of Rust's standard library, without deadlines, answers, order or
//! notifications; see [`floor`]. It shows how far a ratio could go at most.
//!
//! **With the contract.** The second number of that column, in the rows where the hash maps of
//! Flink can be faster: the least work that also keeps the promises of this crate, such as order,
//! deadlines, fences and notifications; see [`contract_floor`]. It calls the same actions and
//! gateways. Where Flink takes less time than that, we know no way to be faster.
//!
//! **Method.** For each workload and size our process, the floors' and Flink's take turns, each a
//! fresh one, so all meet the same disturbances of the machine. Ours and the floors' run a copy of
//! the program file: how the linker has written it changes some rows by up to two fifths. A process
//! warms up with the workload: Java for at least 3 s, ours for half a second, both at least twice.
//! Then it takes the median of its iterations; the table has the lowest of the rounds. A short
//! workload is repeated within an iteration, each time on a new manager, until 100 ms have passed.
//! Where Flink walks through all slots or requests for each operation, it does fewer operations
//! than our side, and both divide by their own number. Java has its whole heap from the start and
//! the parallel collector, and collects before each iteration. Our allocator, if it is glibc's,
//! keeps freed memory for the next iteration. Flink's messages are used again in each iteration and
//! keep their hash codes. Our requests are copied, because the manager takes them over.
//!
//! The times are those of one machine. Where the caches rule, runs differ by a factor of up to two;
//! the growth does not.

mod catalogue;
mod clock;
mod comparison;
mod contract_floor;
mod distribution;
mod flink;
#[path = "../common/floor.rs"]
mod floor;
mod gateway;
mod measurement;
mod messages;
mod options;
#[path = "../common/outside.rs"]
mod outside;
mod run;
mod table;
mod tools;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::catalogue::{COMPARISONS, Comparison, workloads};
use crate::clock::Clock;
use crate::flink::Flink;
use crate::options::{Mode, Options};
use crate::run::Run;

fn main() -> ExitCode {
    match act(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(options: &Options) -> Result<()> {
    match options.mode() {
        Mode::Measure(side, arguments) => measurement::print(side, &Run::from_arguments(arguments)?),
        Mode::Test => test(options),
        Mode::List => list(options),
        Mode::Compare => compare(options)?,
    }
    Ok(())
}

fn compare(options: &Options) -> Result<()> {
    let has_rows = |comparison: &&Comparison| !options.selected_cases(comparison).is_empty();
    let comparisons: Vec<_> = COMPARISONS.iter().filter(has_rows).collect();
    if comparisons.is_empty() {
        return Ok(());
    }
    if let Err(missing) = tools::check() {
        println!("Nothing is compared with Flink: {missing}.");
        return Ok(());
    }
    for (number, comparison) in comparisons.into_iter().enumerate() {
        let flink = Flink::prepare(comparison.flink)?;
        let rows = comparison::compare(options, comparison, &flink)?;
        if number > 0 {
            println!();
        }
        println!("{}", table::markdown(&rows, comparison.flink.version));
    }
    println!("Flink runs on {}.", tools::java_version()?);
    Ok(())
}

fn list(options: &Options) {
    for (workload, case) in COMPARISONS
        .iter()
        .flat_map(|comparison| options.selected_cases(comparison))
    {
        for phase in options.selected_phases(workload, case) {
            println!("{}", phase.label(case));
        }
    }
}

/// Runs each workload once. Each checks itself.
fn test(options: &Options) {
    for workload in workloads() {
        let case = workload.smallest();
        if !options.selected_phases(workload, case).is_empty() {
            let sides = [Some(workload.prepare), workload.floor, workload.contract_floor];
            for prepare in sides.into_iter().flatten() {
                prepare(case.size, case.operations)(&mut Clock::default());
            }
            println!("{} {}: ok", workload.name, case.size);
        }
    }
}
