//! The command line.

use std::time::Duration;

use clap::Parser;

/// Runs a simulated cluster with a bad network for many seeds, and checks that nothing is lost.
/// With --fleet, runs a fleet in which workers and jobs go wrong, and checks that no good request
/// waits too long
///
/// The exit code is 0 only without violations. TIME is written as "30s", "10m" or "1h 30m".
#[derive(Debug, Parser)]
#[command(name = "soak", version, verbatim_doc_comment)]
pub(crate) struct Options {
    /// The duration; one minute by default, unless --seeds is given
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,

    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,

    /// The largest number of seeds
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,

    /// Runs the fleet with its liveness oracle, in place of the cluster with a bad network
    #[arg(long)]
    pub(crate) fleet: bool,

    /// The number of threads, each with its own seed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: u16,
}

impl Options {
    pub(crate) fn duration(&self) -> Duration {
        match (self.time, self.seeds) {
            (Some(time), _) => time,
            (None, Some(_)) => Duration::MAX,
            (None, None) => Duration::from_secs(60),
        }
    }
}
