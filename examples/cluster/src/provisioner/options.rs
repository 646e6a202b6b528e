//! The options of the resource manager for the workers that it starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::duration_text::parse_duration;

/// Options for started workers.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Started workers")]
#[group(skip)]
pub struct Options {
    /// Program of started workers, if it is not the one of this process
    #[arg(long, value_name = "FILE")]
    pub worker_program: Option<PathBuf>,

    /// Another argument for started workers, such as --slot-timeout=30s; {name} stands for the name
    /// of the worker
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub worker_argument: Vec<String>,

    /// Folder of sbatch, squeue and scancel, if they are not in the PATH
    #[arg(long, value_name = "FOLDER")]
    pub slurm_programs: Option<PathBuf>,

    /// Partition of Slurm for the jobs of workers
    #[arg(long, value_name = "NAME")]
    pub slurm_partition: Option<String>,

    /// Another argument for sbatch, such as --time=120
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub slurm_argument: Vec<String>,

    /// The most jobs of this cluster that wait in Slurm's queue
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub slurm_max_queued: u32,

    /// Time between two looks at Slurm's queue
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_poll_interval)]
    pub slurm_poll_interval: Duration,
}

fn parse_poll_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    match interval < Duration::from_millis(100) {
        true => Err(format!("{text} is too short, Slurm would do little else")),
        false => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Settings, SlurmSettings};
    use super::*;
    use crate::command_line::parse;

    fn settings(arguments: &[&str]) -> Settings {
        let options = parse(arguments).unwrap();
        Settings::new("test", Vec::new(), "/tmp").with_options(&options)
    }

    #[test]
    fn options_become_settings() {
        let settings = settings(&[
            "--worker-program=/opt/cluster",
            "--worker-argument=--slot-timeout=30s",
            "--slurm-programs=/opt/slurm/bin",
            "--slurm-partition=long",
            "--slurm-argument=--time=120",
            "--slurm-argument",
            "--qos=low",
            "--slurm-max-queued=2",
            "--slurm-poll-interval=5s",
        ]);
        assert_eq!(settings.program, Some("/opt/cluster".into()));
        assert_eq!(settings.worker_arguments, ["--slot-timeout=30s"]);
        let expected = SlurmSettings {
            programs: Some("/opt/slurm/bin".into()),
            partition: Some("long".to_owned()),
            arguments: vec!["--time=120".to_owned(), "--qos=low".to_owned()],
            max_queued: 2,
            poll_interval: Duration::from_secs(5),
            ..SlurmSettings::default()
        };
        assert_eq!(settings.slurm, expected);
    }

    #[test]
    fn without_options_settings_have_their_defaults() {
        let settings = settings(&[]);
        assert_eq!(settings.program, std::env::current_exe().ok());
        assert_eq!(settings.slurm, SlurmSettings::default());
    }

    #[test]
    fn limits_are_kept() {
        for wrong in ["--slurm-max-queued=0", "--slurm-poll-interval=0s"] {
            assert!(parse::<Options>([wrong]).is_err(), "{wrong}");
        }
    }
}
