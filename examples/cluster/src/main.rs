//! A real cluster around the slot manager: `cluster --help` lists its processes.

#[cfg(test)]
mod command_line;
mod demo;
mod election;
mod event_log;
mod job_master;
mod load;
mod operator;
mod protocol;
mod provisioner;
#[cfg(test)]
#[path = "../tests/cluster/required.rs"]
mod required;
mod resource_manager;
mod task_executor;
mod web;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::operator::OperatorCommand;

/// A cluster around slot-manager.
#[derive(clap::Parser)]
#[command(version)]
enum Command {
    /// Runs a whole cluster on this machine, with a dashboard and a job
    Demo(#[command(flatten)] demo::Options),
    /// Decides which slot serves which request; several run, and one leads
    ResourceManager(#[command(flatten)] Box<resource_manager::Options>),
    /// Offers slots, and runs the tasks of jobs in them
    TaskExecutor(#[command(flatten)] task_executor::Options),
    /// Runs a command as the tasks of a job
    Run(#[command(flatten)] job_master::Options),
    /// Puts a load of simulated task executors and jobs on a resource manager
    Load(#[command(flatten)] load::Options),
    #[command(flatten)]
    Operator(OperatorCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
    let command = Command::parse();
    let result = match cancelled_by_signals() {
        Ok(stop) => run(command, stop).await,
        Err(error) => Err(error).context("signals cannot be handled"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, stop: CancellationToken) -> anyhow::Result<()> {
    match command {
        Command::Demo(options) => demo::run(options, stop).await,
        Command::Operator(command) => {
            match stop.run_until_cancelled(operator::execute(command)).await {
                Some(text) => print(text?)?,
                None => bail!("stopped before the answer came"),
            }
            Ok(())
        }
        Command::ResourceManager(options) => resource_manager::run(*options, stop).await,
        Command::TaskExecutor(options) => task_executor::run(options, stop).await,
        Command::Run(options) => {
            let summary = job_master::run(options, stop).await?;
            print(&summary)?;
            ensure!(summary.is_complete(), "not all tasks are done");
            Ok(())
        }
        Command::Load(options) => print(load::run(options, stop).await?),
    }
}

/// Prints a result. A reader that has read enough, such as `head`, is no error.
fn print(text: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Returns a token that SIGINT and SIGTERM cancel from now on: it asks all parts to end.
fn cancelled_by_signals() -> io::Result<CancellationToken> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
