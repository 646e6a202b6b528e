//! Runs the simulated cluster of `tests/simulation`, or the fleet of `tests/fleet`, for some time,
//! one seed after the other. Reports the injected faults and all violations.
//!
//! ```text
//! cargo run --release -p replay --bin soak -- --for 10m
//! cargo run --release -p replay --bin soak -- --seed 7 --seeds 100000 --jobs 2
//! cargo run --release -p replay --bin soak -- --fleet --for 10m
//! ```
//!
//! The first line of the output has the verdict. The exit code is 0 only without violations. Each
//! violation is printed with the command that runs its seed again.

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::memory::Memory;
use crate::options::Options;

#[path = "../../../../../tests/simulation/cluster/mod.rs"]
mod cluster;
#[path = "../../../../../tests/fleet/fleet/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod fleet;
mod memory;
mod options;
mod summary;
mod workers;

fn main() -> ExitCode {
    let options = Options::parse();
    let at_start = Memory::now();
    let progress = progress_bar(&options);
    let soak = workers::run(&options, &progress);
    progress.finish_and_clear();

    println!("{}\n", summary::verdict(&soak));
    println!("{}", summary::of_run(&soak, at_start, Memory::now()));
    if !options.fleet {
        println!("{}", summary::of_faults(&soak.totals.faults));
    }
    let Some(first) = soak.violations.first() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{}", first.report);
    eprintln!("{}", summary::of_violations(&soak.violations));
    ExitCode::FAILURE
}

/// Counts seeds if their number is given, and otherwise time.
fn progress_bar(options: &Options) -> ProgressBar {
    let (length, unit) = match options.seeds {
        Some(seeds) => (seeds, "seeds"),
        None => (options.duration().as_millis() as u64, "ms"),
    };
    let bar = ProgressBar::new(length);
    let template = format!("{{bar:40}} {{percent:>3}}% of {{len}} {unit} {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
