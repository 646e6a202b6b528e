//! Replays a cluster trace through the slot manager: in virtual time, with simulated task executors and a network that
//! delays and loses messages.
//!
//! ```text
//! cargo run --release -p replay
//! cargo run --release -p replay -- --elastic --failures 0.01
//! cargo run --release -p replay -- \
//!     --nodes openb_node_list_all_node.csv --pods openb_pod_list_default.csv --compress 1000 --elastic
//! ```
//!
//! Without arguments it generates a cluster and a day of jobs; with `--nodes` and `--pods` it reads them in the format
//! of the Alibaba GPU trace 2023 (cluster-trace-gpu-v2023). `--help` has all options.
//!
//! It prints what became of the requests, what the manager says of itself, how fast it was, and a hash of everything it
//! did, and draws a chart; with `--explain` also which requests waited longest, and why. In the end it checks that no
//! slot leaked.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::options::Options;
use crate::simulation::{Outcome, Simulation};
use crate::summary::Setting;
use crate::workload::Workload;

mod chart;
mod display;
mod effects;
mod events;
mod generator;
mod jobs;
mod longest_waits;
mod machines;
mod metered;
mod network;
mod options;
mod resource_manager;
mod simulation;
mod statistics;
mod summary;
mod time_series;
mod trace;
mod workload;

/// How many violations are shown.
const SHOWN_VIOLATIONS: usize = 20;

fn main() -> ExitCode {
    match replay(&Options::parse()) {
        Ok(outcome) if outcome.violations.is_empty() => ExitCode::SUCCESS,
        Ok(outcome) => {
            complain(&outcome.violations);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn replay(options: &Options) -> Result<Outcome> {
    let workload = load(options)?;
    let setting = setting(options, &workload);
    let progress = progress_bar(workload.pods.len());
    let outcome = Simulation::new(workload, options)?.run(&progress)?;
    progress.finish_and_clear();

    let title = format!("{} ({})", setting.origin, setting.cluster);
    chart::draw(&options.output, &title, &outcome.series)?;
    match print(&setting, &outcome, &options.output) {
        // Whoever read the output has had enough of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("cannot print the summary")?,
    }
    Ok(outcome)
}

fn print(setting: &Setting, outcome: &Outcome, chart: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", summary::of_run(setting, outcome))?;
    writeln!(out, "\nwhat the manager says in the end:\n{}\n", outcome.overview)?;
    if let Some(waits) = &outcome.longest_waits {
        writeln!(out, "the requests that waited longest:")?;
        for (wait, number) in waits.iter().zip(1..) {
            writeln!(out, "{number}. {wait}\n")?;
        }
    }
    writeln!(out, "{}", summary::of_usage(outcome))?;
    writeln!(out, "chart: {}", chart.display())?;
    if outcome.violations.is_empty() {
        writeln!(
            out,
            "no slot leaked: everything granted was freed, and the manager's view equals that of every task executor"
        )?;
    }
    Ok(())
}

fn load(options: &Options) -> Result<Workload> {
    let mut workload = match (&options.nodes, &options.pods) {
        (Some(nodes), Some(pods)) => trace::read(nodes, pods)?,
        _ => generator::generate(options.generate_nodes, options.generate_pods, options.seed)?,
    };
    workload.compress(options.compress);
    Ok(workload)
}

fn setting(options: &Options, workload: &Workload) -> Setting {
    let mut cluster = if options.elastic { "elastic" } else { "fixed" }.to_owned();
    if options.compress > 1.0 {
        cluster += &format!(", compressed {} times", options.compress);
    }
    if options.failures > 0.0 {
        cluster += &format!(", failures {}", options.failures);
    }
    Setting {
        origin: workload.origin.clone(),
        cluster,
        nodes: workload.nodes.len(),
        slots: workload.slots(),
        pods: workload.pods.len(),
        elastic: options.elastic,
        failures: options.failures > 0.0,
    }
}

/// Counts each pod twice: when it is created and when it is over. Hidden if nobody watches.
fn progress_bar(pods: usize) -> ProgressBar {
    let bar = ProgressBar::new(2 * pods as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar
}

fn complain(violations: &[String]) {
    eprintln!("error: something is wrong in the end:");
    for violation in violations.iter().take(SHOWN_VIOLATIONS) {
        eprintln!("  - {violation}");
    }
    if violations.len() > SHOWN_VIOLATIONS {
        eprintln!("  - and {} more", violations.len() - SHOWN_VIOLATIONS);
    }
}
