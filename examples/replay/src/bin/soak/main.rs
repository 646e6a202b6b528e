//! Runs the simulated cluster of `tests/simulation` for as long as asked, one seed after the other, and reports what was
//! injected and what went wrong.
//!
//! ```text
//! cargo run --release -p replay --bin soak -- --for 10m
//! cargo run --release -p replay --bin soak -- --seed 7 --seeds 100000 --jobs 2
//! ```
//!
//! The exit code is 0 only if nothing went wrong. Each violation comes with the command that runs its seed again.

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::memory::Memory;
use crate::options::Options;

#[path = "../../../../../tests/simulation/cluster/mod.rs"]
mod cluster;
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

    println!("{}", summary::of_run(&soak, at_start, Memory::now()));
    println!("{}", summary::of_faults(&soak.totals.faults));
    if soak.violations.is_empty() {
        println!("no violation");
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", soak.violations[0]);
    eprintln!("{}", summary::of_violations(&soak.violations));
    ExitCode::FAILURE
}

/// By seeds if their number is given, else by time.
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
