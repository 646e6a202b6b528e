//! Replays a cluster trace through the slot manager: in virtual time, with simulated task executors
//! and a network that delays and loses messages.
//!
//! ```text
//! cargo run --release -p replay
//! cargo run --release -p replay -- --elastic --failures 0.01
//! cargo run --release -p replay -- \
//!     --nodes openb_node_list_all_node.csv --pods openb_pod_list_default.csv --compress 1000 --elastic
//! cargo run --release -p replay -- --dynamic
//! ```
//!
//! Without arguments it generates a cluster and a day of jobs. With `--nodes` and `--pods` it reads
//! them in the format of the Alibaba GPU trace 2023 (cluster-trace-gpu-v2023). `--help` has all
//! options.
//!
//! It prints the verdict first: whether a slot leaked, and whether the manager's view equals the
//! truth. Then it prints the fate of the requests, the manager's overview, a hash of all effects
//! and the time that the calls took, and draws a chart. With `--explain` it also prints which
//! requests waited longest, and why. With `--measure` it ends with the number of all calls to the
//! manager, the time inside it, and the calls per second of that time.
//!
//! With `--dynamic` it replays twice, with static slots and with slots that are cut from whole
//! nodes, and shows both side by side.

use std::io::{self, Write};
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
mod needless_waits;
mod network;
mod options;
mod output;
mod resource_manager;
mod resources;
mod simulation;
mod statistics;
mod summary;
mod time_series;
mod trace;
mod workload;

fn main() -> ExitCode {
    match replay(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: the replay failed; the first lines of its output have the reasons");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the replay, prints its summary and draws its chart. Returns whether it passed.
fn replay(options: &Options) -> Result<bool> {
    output::check(&options.output)?;
    let workload = load(options)?;
    let setting = setting(options, &workload);
    let mut outcomes = Vec::new();
    for slicing in options.runs() {
        let progress = progress_bar(workload.pods.len());
        outcomes.push(Simulation::new(workload.clone(), *slicing, options)?.run(&progress)?);
        progress.finish_and_clear();
    }
    let violations = violations(&outcomes);

    printed(print(&setting, &outcomes, &violations))?;
    let title = format!("{} ({})", setting.origin, setting.cluster);
    match &outcomes[..] {
        [outcome] => chart::draw(&options.output, &title, &outcome.series, &outcome.arrivals)?,
        outcomes => chart::draw_comparison(&options.output, &title, outcomes)?,
    }
    printed(writeln!(io::stdout(), "\nchart: {}", options.output.display()))?;
    if options.measure {
        for outcome in &outcomes {
            let measurement = summary::of_measurement(&outcome.usage, metered::time_of_clock());
            printed(writeln!(io::stdout(), "\n{}{measurement}", heading(&outcomes, outcome)))?;
        }
    }
    Ok(violations.is_empty())
}

/// Returns the violations of all runs. If there are several, each violation names its run.
fn violations(outcomes: &[Outcome]) -> Vec<String> {
    let mut all = Vec::new();
    for outcome in outcomes {
        all.extend(outcome.violations.iter().map(|violation| match outcomes.len() {
            1 => violation.clone(),
            _ => format!("{}: {violation}", outcome.slicing.name()),
        }));
    }
    all
}

/// Returns the line above a part of the output that is about one of several runs.
fn heading(outcomes: &[Outcome], outcome: &Outcome) -> String {
    match outcomes.len() {
        1 => String::new(),
        _ => format!("With {}:\n", outcome.slicing.name()),
    }
}

fn print(setting: &Setting, outcomes: &[Outcome], violations: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n", summary::verdict(violations))?;
    match outcomes {
        [outcome] => writeln!(out, "{}", summary::of_run(setting, outcome))?,
        outcomes => {
            writeln!(out, "{}", summary::of_setting(setting))?;
            writeln!(out, "{}", summary::of_comparison(setting, outcomes))?;
        }
    }
    for outcome in outcomes {
        writeln!(out)?;
        write!(out, "{}", heading(outcomes, outcome))?;
        writeln!(out, "The manager's overview at the end:\n{}\n", outcome.overview)?;
        if let Some(waits) = &outcome.longest_waits {
            writeln!(out, "The requests that waited longest:")?;
            for (wait, number) in waits.iter().zip(1..) {
                writeln!(out, "{number}. {wait}\n")?;
            }
        }
        writeln!(out, "{}", summary::of_usage(outcome))?;
    }
    writeln!(out, "{}", summary::notes(outcomes))
}

/// Accepts that the reader of the output has closed it.
fn printed(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the summary"),
    }
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

/// Counts each pod twice: when it is created and when it is over. Hidden if the output is not a
/// terminal.
fn progress_bar(pods: usize) -> ProgressBar {
    let bar = ProgressBar::new(2 * pods as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar
}
