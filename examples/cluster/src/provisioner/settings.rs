//! The settings of all provisioners.

use std::path::PathBuf;
use std::time::Duration;

use super::Options;

/// The settings of all provisioners.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the cluster. Workers are found again by it.
    pub cluster: String,
    /// The addresses of the resource managers that workers dial.
    pub resource_managers: Vec<String>,
    /// The binary of the workers. `None` is that of this process, as it is found for each worker.
    pub program: Option<PathBuf>,
    /// More arguments for each worker. `{name}` stands for its name.
    pub worker_arguments: Vec<String>,
    /// The folder of the workers' logs. With Slurm all machines share it.
    pub log_folder: PathBuf,
    /// The folder in which local workers are remembered. All resource managers of a cluster on one
    /// machine share it.
    pub state_folder: PathBuf,
    pub(super) slurm: SlurmSettings,
    /// The time that a worker gets to do as it is told, before it is stopped by force.
    pub(super) grace: Duration,
}

/// The settings of Slurm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlurmSettings {
    /// The folder of `sbatch`, `squeue` and `scancel`; `None` if they are in the PATH.
    pub(super) programs: Option<PathBuf>,
    pub(super) partition: Option<String>,
    /// More arguments for `sbatch`, such as `--time=60`.
    pub(super) arguments: Vec<String>,
    /// The most jobs of this cluster that wait in Slurm's queue. Other orders wait here.
    pub(super) max_queued: u32,
    /// The time between two looks at Slurm's queue.
    pub(super) poll_interval: Duration,
    /// The first pause after a failure. It doubles with each failure that follows.
    pub(super) first_backoff: Duration,
}

impl Default for SlurmSettings {
    fn default() -> Self {
        Self {
            programs: None,
            partition: None,
            arguments: Vec::new(),
            max_queued: 4,
            poll_interval: Duration::from_secs(1),
            first_backoff: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// Creates settings with a folder for logs and state.
    pub fn new(cluster: impl Into<String>, resource_managers: Vec<String>, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self {
            cluster: cluster.into(),
            resource_managers,
            program: None,
            worker_arguments: Vec::new(),
            log_folder: folder.join("logs"),
            state_folder: folder.join("workers"),
            slurm: SlurmSettings::default(),
            grace: Duration::from_secs(10),
        }
    }

    /// Takes over the options of the command line.
    #[must_use]
    pub fn with_options(mut self, options: &Options) -> Self {
        // Found now: later the file may have been replaced, and the old one would be looked for.
        let program = options.worker_program.clone();
        self.program = program.or_else(|| std::env::current_exe().ok());
        self.worker_arguments.extend_from_slice(&options.worker_argument);
        self.slurm = SlurmSettings {
            programs: options.slurm_programs.clone(),
            partition: options.slurm_partition.clone(),
            arguments: options.slurm_argument.clone(),
            max_queued: options.slurm_max_queued,
            poll_interval: options.slurm_poll_interval,
            ..self.slurm
        };
        self
    }
}
