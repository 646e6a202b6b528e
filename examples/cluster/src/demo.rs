//! The demo: a whole cluster on this machine, and a job that runs real commands.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::job_master;
use crate::protocol::profile_text::parse_profile;
use crate::protocol::security::SecurityOptions;

/// The time within which a process of the demo must come up or end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The settings of the slot manager in the demo: small workers that go soon when they are idle.
const SETTINGS: [&str; 4] = [
    "taskmanager.numberOfTaskSlots=2",
    "taskmanager.cpu.cores=2",
    "resourcemanager.taskmanager-timeout=3 s",
    "slotmanager.number-of-slots.max=12",
];

/// Runs a whole cluster on this machine, with a dashboard and a job
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Ends by itself when the job is done
    #[arg(long)]
    once: bool,
    /// The number of tasks of the job
    #[arg(long, default_value_t = 60)]
    tasks: u64,
    /// The first of the two ports of the dashboards; 0 takes free ones
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..u16::MAX as i64))]
    port: u16,
}

/// A resource manager of the demo.
struct ResourceManager {
    child: Child,
    web: String,
}

/// Runs the demo until its job is done with `--once`, else until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("cluster-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let result = run_in(&folder, options, stop).await;
    // The logs are worth keeping only if something went wrong.
    if result.is_ok() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    } else {
        eprintln!("the logs are in {}", folder.display());
    }
    result
}

/// Runs the demo, and ends all processes in order, also after an error.
async fn run_in(folder: &Path, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut managers = Vec::new();
    let result = run_job(folder, &options, &stop, &mut managers).await;
    println!("the cluster ends: idle workers leave first");
    let left = workers_leave(folder).await;
    for manager in managers {
        end(manager.child).await?;
    }
    result.and(left)
}

/// Starts the resource managers, and runs a job.
async fn run_job(
    folder: &Path,
    options: &Options,
    stop: &CancellationToken,
    managers: &mut Vec<ResourceManager>,
) -> anyhow::Result<()> {
    let addresses = [free_address().await?, free_address().await?];
    for (number, address) in (0..).zip(&addresses) {
        let port = if options.port == 0 { 0 } else { options.port + number };
        managers.push(start_resource_manager(folder, address, &addresses.join(","), port).await?);
    }
    println!("two resource managers run, and one of them leads");
    for manager in &*managers {
        println!("  dashboard: {}", manager.web);
    }
    println!(
        "a job of {} tasks starts; workers come as they are needed",
        options.tasks
    );
    let job = job_master::Options {
        resource_managers: addresses.to_vec(),
        listen: "127.0.0.1:0".to_owned(),
        advertise: None,
        job_id: None,
        tasks: options.tasks,
        parallelism: 10,
        slot_per_task: false,
        declare: false,
        profile: parse_profile("cpu=1").map_err(anyhow::Error::msg)?,
        attempts: 3,
        event_log: None,
        security: SecurityOptions::default(),
        command: ["sh", "-c", "sleep 0.5"].map(str::to_owned).to_vec(),
    };
    let summary = job_master::run(job, stop.clone()).await?;
    println!("{summary}");
    if !options.once && !stop.is_cancelled() {
        println!("Ctrl-C ends the demo");
        stop.cancelled().await;
    }
    ensure!(
        stop.is_cancelled() || summary.is_complete(),
        "only {} of {} tasks are done",
        summary.done,
        summary.tasks
    );
    Ok(())
}

/// Returns an address on this machine that nothing listens at.
async fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string())
}

async fn start_resource_manager(folder: &Path, address: &str, all: &str, port: u16) -> anyhow::Result<ResourceManager> {
    let log = std::fs::File::create(folder.join(format!("resource-manager-{address}.log")))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["resource-manager", "--listen", address, "--resource-managers", all])
        .args([
            "--web",
            &format!("127.0.0.1:{port}"),
            "--provisioner",
            "local",
            "--cluster",
            "demo",
        ])
        // A worker that the resource managers leave behind ends soon.
        .arg("--worker-argument=--registration-timeout=5s")
        .arg("--election")
        .arg(format!("file:{}", folder.join("leader").display()))
        .arg("--folder")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for the demo, which ends its processes in order.
        .process_group(0)
        .kill_on_drop(true);
    for setting in SETTINGS {
        command.args(["-D", setting]);
    }
    let mut child = command.spawn().context("a resource manager does not start")?;
    let output = child.stdout.take().context("no output of a resource manager")?;
    let mut lines = BufReader::new(output).lines();
    let web = timeout(PATIENCE, line_with(&mut lines, "web on "));
    let web = web.await.context("a resource manager does not come up")??;
    Ok(ResourceManager { child, web })
}

/// Returns the rest of the first line with this beginning.
async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, beginning: &str) -> anyhow::Result<String> {
    while let Some(line) = lines.next_line().await? {
        if let Some(rest) = line.strip_prefix(beginning) {
            return Ok(rest.to_owned());
        }
    }
    bail!("a resource manager ended early")
}

/// Waits until the provisioner remembers no worker, but not for long.
async fn workers_leave(folder: &Path) -> anyhow::Result<()> {
    let workers: PathBuf = folder.join("workers");
    let are_gone = || std::fs::read_dir(&workers).map_or(true, |mut workers| workers.next().is_none());
    let leave = async {
        while !are_gone() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let left = timeout(PATIENCE, leave).await;
    left.context("some workers are still there; without a leader they end by themselves")
}

/// Asks a process to end, and waits for it.
async fn end(mut child: Child) -> anyhow::Result<()> {
    let group = child.id().and_then(|id| id.try_into().ok());
    if let Some(group) = group.and_then(Pid::from_raw) {
        kill_process_group(group, Signal::TERM)?;
    }
    match timeout(PATIENCE, child.wait()).await {
        Ok(status) => ensure!(status?.success(), "a resource manager did not end well"),
        Err(_) => child.kill().await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::parse;

    #[test]
    fn there_is_a_port_for_the_second_dashboard() {
        assert!(parse::<Options>(["--port", "65534"]).is_ok());
        assert!(parse::<Options>(["--port", "65535"]).is_err());
    }
}
