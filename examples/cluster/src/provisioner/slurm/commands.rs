//! The commands of Slurm.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use slot_manager::config::WorkerDescription;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use tracing::warn;

use super::super::settings::{Settings, SlurmSettings};

/// The time limit of a command.
const LIMIT: Duration = Duration::from_secs(10);

/// The most characters of an error.
const ERROR_CHARACTERS: usize = 300;

pub(super) struct Commands {
    slurm: SlurmSettings,
    log_folder: PathBuf,
    /// The pattern of log files, in which Slurm replaces `%x` by the name of the job.
    log: OsString,
}

/// A job in Slurm's queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) job: String,
    pub(super) name: String,
    pub(super) is_pending: bool,
}

impl Commands {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut log = OsString::from("--output=");
        log.push(settings.log_folder.join("%x.log"));
        Self {
            slurm: settings.slurm.clone(),
            log_folder: settings.log_folder.clone(),
            log,
        }
    }

    /// Submits the job of a worker. Returns its id.
    pub(super) async fn submit(
        &self,
        name: &str,
        worker: &WorkerDescription,
        command: &[OsString],
    ) -> Result<String, String> {
        // A job whose log cannot be written fails without a word.
        let log_folder = tokio::fs::create_dir_all(&self.log_folder).await;
        log_folder.map_err(|error| format!("{}: {error}", self.log_folder.display()))?;
        let mut sbatch = self.command("sbatch");
        // A job that begins again would be a worker that nobody asked for.
        sbatch.args(["--parsable", "--no-requeue", "--ntasks=1", "--job-name", name]);
        sbatch.arg(&self.log);
        if let Some(cores) = worker.total().cpu_cores().filter(|cores| *cores > 0.0) {
            sbatch.arg(format!("--cpus-per-task={}", cores.ceil()));
        }
        if let Some(partition) = &self.slurm.partition {
            sbatch.args(["--partition", partition]);
        }
        sbatch.args(&self.slurm.arguments);
        let output = run(sbatch, &script(command)?).await;
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                // It may have been submitted in spite of that.
                self.run_cancel(&["--state=PENDING", "--name", name]).await;
                return Err(error);
            }
        };
        let id = output.trim().split(';').next().unwrap_or_default();
        match id.parse::<u64>() {
            Ok(_) => Ok(id.to_owned()),
            Err(_) => Err(format!("{output:?} is no job id")),
        }
    }

    /// Reads the jobs that wait, run, or are about to end.
    pub(super) async fn queue(&self) -> Result<Vec<Entry>, String> {
        let mut squeue = self.command("squeue");
        squeue.args(["--me", "--noheader", "--format=%i|%T|%j"]);
        let output = run(squeue, "").await?;
        Ok(output.lines().filter_map(parse).collect())
    }

    /// Returns the state and the reason of a job that has ended, if Slurm still knows it.
    pub(super) async fn how_it_ended(&self, job: &str) -> Option<String> {
        let mut squeue = self.command("squeue");
        squeue.args(["--noheader", "--states=all", "--format=%T (%r)", "--jobs", job]);
        let output = run(squeue, "").await.ok()?;
        output.lines().next().map(|line| line.trim().to_owned())
    }

    pub(super) async fn cancel(&self, job: &str) {
        self.run_cancel(&[job]).await;
    }

    pub(super) async fn cancel_if_pending(&self, job: &str) {
        self.run_cancel(&["--state=PENDING", job]).await;
    }

    fn command(&self, program: &str) -> Command {
        match &self.slurm.programs {
            Some(folder) => Command::new(folder.join(program)),
            None => Command::new(program),
        }
    }

    async fn run_cancel(&self, arguments: &[&str]) {
        let mut scancel = self.command("scancel");
        scancel.args(arguments);
        if let Err(error) = run(scancel, "").await {
            warn!(error, "scancel failed");
        }
    }
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.trim().splitn(3, '|');
    let (job, state, name) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Entry {
        job: job.to_owned(),
        name: name.to_owned(),
        // All other states of the list are those of jobs that have begun.
        is_pending: state == "PENDING",
    })
}

/// Runs a command. Returns its output, or what it says about its failure.
async fn run(mut command: Command, input: &str) -> Result<String, String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    let program = Path::new(command.as_std().get_program()).display().to_string();
    let running = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read it says so by its exit code.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    match timeout(LIMIT, running).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(failure(&output)),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} did not end in {LIMIT:?}")),
    }
}

fn failure(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text: String = text.trim().chars().take(ERROR_CHARACTERS).collect();
    format!("{}: {text}", output.status)
}

/// Returns the script of a job.
fn script(command: &[OsString]) -> Result<String, String> {
    let words: Result<Vec<_>, _> = command.iter().map(|word| quote(word)).collect();
    Ok(format!("#!/bin/sh\nexec {}\n", words?.join(" ")))
}

/// Quotes a word for the shell.
fn quote(word: &OsStr) -> Result<String, String> {
    let word = word.to_str().ok_or_else(|| format!("{} is not text", word.display()))?;
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        let words = ["a b".into(), "it's".into(), "$HOME".into(), "".into()];
        let expected = "#!/bin/sh\nexec 'a b' 'it'\\''s' '$HOME' ''\n";
        assert_eq!(script(&words).as_deref(), Ok(expected));
    }

    #[test]
    fn lines_of_the_queue_are_parsed() {
        let entry = parse("12|PENDING|test-7-1").unwrap();
        assert!(entry.is_pending);
        assert_eq!((entry.job.as_str(), entry.name.as_str()), ("12", "test-7-1"));
        assert!(!parse("12|RUNNING|a|b").unwrap().is_pending);
        assert_eq!(parse("slurm is ill"), None);
    }
}
