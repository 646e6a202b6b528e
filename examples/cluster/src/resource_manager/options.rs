//! The options of the resource manager.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use slot_manager::SlotManagerConfig;
use tracing::warn;

use super::sessions::Heartbeats;
use crate::election::Place;
use crate::protocol::duration_text::parse_duration;
use crate::protocol::security::SecurityOptions;
use crate::provisioner::{self, Kind, Settings};

/// The key of the time for which workers of an earlier leader are awaited.
const RECOVERY_TIMEOUT: &str = "resourcemanager.previous-worker.recovery.timeout";

/// The key of the time after which an idle worker is released.
const IDLE_TIMEOUT: &str = "resourcemanager.taskmanager-timeout";

/// Options of the resource manager.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address for task executors and job masters; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,

    /// Address at which others reach this process, if it is not the one that it listens on
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// Address of the dashboard and the REST interface
    #[arg(long, value_name = "HOST:PORT")]
    pub web: Option<String>,

    /// Address at which others reach the dashboard, if it is not the one that it listens on
    #[arg(long, value_name = "HOST:PORT", requires = "web")]
    pub advertise_web: Option<String>,

    /// Place of the leader election: file:PATH or etcd:HOST:PORT,HOST:PORT
    #[arg(long, value_name = "PLACE")]
    pub election: Place,

    /// Time after which others may replace a leader that is silent
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub lease: Duration,

    /// Setting of the slot manager, under Flink's key
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub settings: Vec<(String, String)>,

    /// File of settings, a line `key: value` each; -D wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Starts and stops workers
    #[arg(long, value_enum, default_value_t = Kind::None)]
    pub provisioner: Kind,

    /// Name of the cluster, by which started workers are found again; one etcd can serve several
    #[arg(long, value_name = "NAME", default_value = "cluster", value_parser = provisioner::parse_cluster)]
    pub cluster: String,

    /// Folder of the logs and the state of started workers; all resource managers share it
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// Addresses of all resource managers, which started workers dial: so they find the next leader
    #[arg(
        long,
        value_name = "HOST:PORT,HOST:PORT",
        value_delimiter = ',',
        required_if_eq_any = [("provisioner", "local"), ("provisioner", "slurm")]
    )]
    pub resource_managers: Vec<String>,

    /// Time between two heartbeats
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    pub heartbeat_interval: Duration,

    /// Time after which a silent peer is lost
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    pub heartbeat_timeout: Duration,

    /// File to which events are written, a JSON object a line
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,

    #[command(flatten)]
    pub started_workers: provisioner::Options,

    #[command(flatten)]
    pub security: SecurityOptions,
}

impl Options {
    /// Returns the times of heartbeats.
    pub fn heartbeats(&self) -> anyhow::Result<Heartbeats> {
        let (interval, timeout) = (self.heartbeat_interval, self.heartbeat_timeout);
        anyhow::ensure!(!interval.is_zero(), "the heartbeat interval must not be zero");
        anyhow::ensure!(
            interval < timeout,
            "the heartbeat timeout must be longer than the interval"
        );
        Ok(Heartbeats { interval, timeout })
    }

    /// Returns the settings of the provisioner.
    pub fn provisioner_settings(&self) -> anyhow::Result<Settings> {
        let dialled = self.resource_managers.clone();
        let folder = self.folder.clone();
        let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(&self.cluster));
        let mut settings = Settings::new(&self.cluster, dialled, folder);
        settings.worker_arguments = self.security.arguments()?;
        Ok(settings.with_options(&self.started_workers))
    }

    /// Reads the configuration of the slot manager: the file first, then the settings.
    pub fn slot_manager_config(&self) -> anyhow::Result<SlotManagerConfig> {
        // Without it, a new leader takes grants of workers for lost that are about to come back.
        let recovery = format!("{} ms", self.heartbeat_timeout.as_millis());
        let mut settings = vec![(RECOVERY_TIMEOUT.to_owned(), recovery)];
        if self.provisioner == Kind::None {
            // Nobody would start an idle worker again.
            settings.push((IDLE_TIMEOUT.to_owned(), "inf".to_owned()));
        }
        if let Some(file) = &self.config {
            settings.extend(read_file(file)?);
        }
        settings.extend(self.settings.iter().cloned());
        let (config, unread) = SlotManagerConfig::from_options_with_unread(settings)?;
        for key in unread {
            warn!(key, "the slot manager has no such setting");
        }
        Ok(config)
    }
}

fn read_file(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_file(&text).with_context(|| format!("in {}", path.display()))
}

/// Parses lines of the form `key: value`. Empty lines and comments do not count.
fn parse_file(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let lines = text.lines().map(without_comment).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let settings = lines.map(|(number, line)| {
        let setting = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")));
        let (key, value) = setting.with_context(|| format!("line {} is not `key: value`", number + 1))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    settings.collect()
}

/// Returns a line without its comment. As in YAML, a comment begins the line or follows a space.
fn without_comment(line: &str) -> &str {
    let end = match line.starts_with('#') {
        true => 0,
        false => line.find(" #").unwrap_or(line.len()),
    };
    line.get(..end).unwrap_or(line).trim()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let setting = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = setting.ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line;

    fn try_parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        command_line::parse(["--election", "file:/tmp/leader"].iter().chain(arguments))
    }

    fn parse(arguments: &[&str]) -> Options {
        try_parse(arguments).unwrap()
    }

    #[test]
    fn a_file_has_a_setting_a_line() {
        let text =
            "# all\nslot.request.timeout: 5 s # short\n\nexternal-resources: gpu\n  a.b:\nurl: http://host:1/#x\n";
        let expected = [
            ("slot.request.timeout", "5 s"),
            ("external-resources", "gpu"),
            ("a.b", ""),
            ("url", "http://host:1/#x"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse_file(text).unwrap(), expected);
    }

    #[test]
    fn a_line_without_a_key_is_an_error() {
        let error = parse_file("a: 1\nno setting").unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not `key: value`");
    }

    #[test]
    fn settings_win_over_the_recovery_timeout_of_the_service() {
        let config = parse(&[]).slot_manager_config().unwrap();
        assert_eq!(config.recovery_timeout, Duration::from_secs(15));
        let setting = format!("{RECOVERY_TIMEOUT}=7 s");
        let config = parse(&["-D", &setting]).slot_manager_config().unwrap();
        assert_eq!(config.recovery_timeout, Duration::from_secs(7));
    }

    #[test]
    fn idle_workers_stay_if_nobody_starts_them() {
        let timeout = |arguments: &[&str]| parse(arguments).slot_manager_config().unwrap().task_manager_timeout;
        assert_eq!(timeout(&[]), Duration::MAX);
        assert_eq!(
            timeout(&["-D", "resourcemanager.taskmanager-timeout=5 s"]),
            Duration::from_secs(5)
        );
        assert_eq!(
            timeout(&["--provisioner", "local", "--resource-managers", "a:1"]),
            Duration::from_secs(30)
        );
    }

    #[test]
    fn started_workers_need_addresses_to_find_the_next_leader() {
        for provisioner in ["--provisioner=local", "--provisioner=slurm"] {
            let error = try_parse(&[provisioner]).err().unwrap().to_string();
            assert!(error.contains("--resource-managers <HOST:PORT,HOST:PORT>"), "{error}");
            assert!(try_parse(&[provisioner, "--resource-managers", "a:1,b:2"]).is_ok());
        }
        assert!(try_parse(&["--provisioner=none"]).is_ok());
    }

    #[test]
    fn started_workers_have_the_options_of_security() {
        let settings = |arguments: &[&str]| parse(arguments).provisioner_settings().unwrap();
        assert!(settings(&[]).worker_arguments.is_empty());
        let token = ["--token-file", "/a/token"];
        assert_eq!(settings(&token).worker_arguments, token);
    }

    #[test]
    fn a_timeout_is_longer_than_the_interval() {
        assert!(parse(&["--heartbeat-timeout", "3s"]).heartbeats().is_err());
        assert!(parse(&["--heartbeat-timeout", "4s"]).heartbeats().is_ok());
    }
}
