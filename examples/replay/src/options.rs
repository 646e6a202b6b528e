//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use slot_manager::matching::SlotMatchingStrategy;

use crate::workload::Slicing;

/// Replays a cluster trace through the slot manager in virtual time, with simulated workers
///
/// A node of the trace is a task executor with one slot per GPU, or per 8 CPU if it has no GPU.
/// Each slot has an equal share of the node. A pod is a job. When it is created it requests one
/// slot per GPU, or per 8 CPU (rounded up). When it is deleted it frees them. Without --nodes and
/// --pods a similar cluster is generated.
///
/// The exit code is 0 only if the replay passed: every request ended once, every granted slot was
/// freed, and after a last report of every task executor the manager's view equals theirs.
///
/// TIME is written as "500ms", "10s", "5m", "1h 30m" or "inf".
#[derive(Debug, Parser)]
#[command(name = "replay", version, verbatim_doc_comment)]
pub(crate) struct Options {
    /// The nodes, a CSV file
    ///
    /// Its columns are sn, cpu_milli, memory_mib and gpu, as in openb_node_list_all_node.csv of the
    /// Alibaba GPU trace 2023. Other columns are ignored.
    #[arg(
        long,
        value_name = "CSV",
        requires = "pods",
        help_heading = "Workload",
        verbatim_doc_comment
    )]
    pub(crate) nodes: Option<PathBuf>,

    /// The pods, a CSV file
    ///
    /// Its columns are name, cpu_milli, memory_mib, num_gpu, gpu_milli, creation_time and
    /// deletion_time (in seconds), as in openb_pod_list_default.csv of the same trace. Other
    /// columns are ignored.
    #[arg(
        long,
        value_name = "CSV",
        requires = "nodes",
        help_heading = "Workload",
        verbatim_doc_comment
    )]
    pub(crate) pods: Option<PathBuf>,

    /// The number of generated nodes, without a trace
    #[arg(long, value_name = "N", default_value_t = 240, help_heading = "Workload",
          value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "nodes")]
    pub(crate) generate_nodes: u32,

    /// The number of generated pods, without a trace; they arrive within one day
    #[arg(long, value_name = "N", default_value_t = 32_000, help_heading = "Workload",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000), conflicts_with = "nodes")]
    pub(crate) generate_pods: u32,

    /// Divide the times at which pods are created by N
    ///
    /// Each pod still lives as long as before, so about N times as many run at the same time.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_compression, help_heading = "Workload")]
    pub(crate) compress: f64,

    /// Compare static slots with dynamic ones: replay twice, and show both side by side
    ///
    /// In the second run each node is one dynamic worker, without slots of its own. A pod requests
    /// one slot of the size that the trace names, and the manager cuts it from a node. Its GPU is
    /// its number of GPUs times its share of each. The summary also has utilization, the waits of
    /// pods and stranded resources; the chart compares both runs. With --elastic a requested node is
    /// promised by its total.
    #[arg(long, help_heading = "Cluster", verbatim_doc_comment)]
    pub(crate) dynamic: bool,

    /// The seed of all random numbers
    ///
    /// They decide the generated cluster, network delays and failures. Equal options and an equal
    /// seed give an equal effect log.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        help_heading = "Workload",
        verbatim_doc_comment
    )]
    pub(crate) seed: u64,

    /// Start without nodes
    ///
    /// The resource manager starts them on demand and stops the nodes that the slot manager
    /// releases. Otherwise the cluster is fixed: all nodes run from the beginning to the end.
    #[arg(long, help_heading = "Cluster", verbatim_doc_comment)]
    pub(crate) elastic: bool,

    /// With --elastic: the time from the request of a node to its registration
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_time, help_heading = "Cluster")]
    pub(crate) start_delay: Duration,

    /// The time between two reports of a task executor
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = parse_period, help_heading = "Cluster")]
    pub(crate) heartbeat: Duration,

    /// The rate of failures, from 0 (none) to 1
    ///
    /// R is the probability
    ///   - that a message between the manager and a task executor is lost: a slot request, an
    ///     answer, a free or a report (registrations are never lost),
    ///   - that an answer is late, by up to twice --rpc-timeout,
    ///   - that a node does not start; the manager hears of half of these failures.
    ///
    /// Each node also fails R times per hour of virtual time, on average. It crashes and loses its
    /// slots, or its connection breaks. The manager hears of this at once, after 50 s, or when the
    /// node registers again, which it does after 5 s to 2 min.
    #[arg(long, value_name = "R", default_value = "0", value_parser = parse_rate, help_heading = "Cluster",
          verbatim_doc_comment)]
    pub(crate) failures: f64,

    /// The time after which a waiting request fails, and its pod with it
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_time, help_heading = "Manager")]
    pub(crate) request_timeout: Duration,

    /// The time that a task executor has for the answer to a slot request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time, help_heading = "Manager")]
    pub(crate) rpc_timeout: Duration,

    /// The time after which an idle node is released
    ///
    /// Without --elastic the resource manager declines, and the manager tries again after the same
    /// time.
    ///
    /// [default: 5m with --elastic, 1day without]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Manager", verbatim_doc_comment)]
    pub(crate) idle_timeout: Option<Duration>,

    /// The time that a requested node has to register; a declined request is repeated after the
    /// same time
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_time, help_heading = "Manager")]
    pub(crate) registration_timeout: Duration,

    /// The wait after which a request has a dynamic worker set aside; inf for never
    ///
    /// What becomes free of that worker goes to the request or to older ones. So small requests
    /// cannot keep a large one waiting, but younger ones may wait beside a worker that would fit.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "inf",
        value_parser = parse_time,
        help_heading = "Manager",
        verbatim_doc_comment
    )]
    pub(crate) reservation_delay: Duration,

    /// The choice among several free slots, or dynamic workers, that fit
    ///
    /// First fit cuts a slot from the dynamic worker with the lowest place. A worker gets the lowest
    /// vacant place when it registers.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "first-fit",
        value_enum,
        help_heading = "Manager",
        verbatim_doc_comment
    )]
    pub(crate) matching: Matching,

    /// Check the invariants of the manager's state after every N events
    ///
    /// With 1 it checks after each event, which is slow on a large cluster.
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Output",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) check_every: u64,

    /// The file for the chart; checked before the run
    #[arg(long, value_name = "SVG", default_value = "replay.svg", help_heading = "Output")]
    pub(crate) output: PathBuf,

    /// Write the effect log to this file; the summary shows its hash
    ///
    /// It has one line for each call that the manager made, with its virtual time in nanoseconds.
    /// With --dynamic it is the log of the run with dynamic workers.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) effect_log: Option<PathBuf>,

    /// Explain the five requests that waited longest
    ///
    /// Prints how long each waited, how it ended, and the manager's last explanation.
    #[arg(long, help_heading = "Output")]
    pub(crate) explain: bool,

    /// Print the calls to the manager, their time and their rate at the end
    ///
    /// The number of all calls, the real time inside the manager, and the calls per second of that
    /// time. The simulation around the manager does not count.
    #[arg(long, help_heading = "Output", verbatim_doc_comment)]
    pub(crate) measure: bool,
}

/// The choice of [`SlotMatchingStrategy`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Matching {
    /// The slot that has been free for the longest time
    FirstFit,
    /// The slot with the least surplus: first in GPUs, then in memory, then in cores; for dynamic
    /// workers the same as most utilization
    BestFit,
    /// A slot of the node with the smallest share of used slots, or of its scarcest resource
    LeastUtilization,
    /// A slot of the node with the largest share of used slots, or of its scarcest resource
    MostUtilization,
}

impl From<Matching> for SlotMatchingStrategy {
    fn from(matching: Matching) -> Self {
        match matching {
            Matching::FirstFit => Self::FirstFit,
            Matching::BestFit => Self::BestFit,
            Matching::LeastUtilization => Self::LeastUtilization,
            Matching::MostUtilization => Self::MostUtilization,
        }
    }
}

impl Options {
    /// Returns the runs of the replay: one, or two to compare.
    pub(crate) fn runs(&self) -> &'static [Slicing] {
        match self.dynamic {
            false => &[Slicing::Static],
            true => &[Slicing::Static, Slicing::Dynamic],
        }
    }

    /// Returns the file for the effect log of a run. Of two runs, only the second has one.
    pub(crate) fn effect_log_of(&self, slicing: Slicing) -> Option<&Path> {
        let is_last = self.runs().last() == Some(&slicing);
        self.effect_log.as_deref().filter(|_| is_last)
    }

    /// Returns the idle timeout or its default. A fixed cluster declines every release, so trying
    /// often only costs time.
    pub(crate) fn idle_timeout(&self) -> Duration {
        const ELASTIC: Duration = Duration::from_secs(5 * 60);
        const FIXED: Duration = Duration::from_secs(24 * 60 * 60);
        self.idle_timeout.unwrap_or(if self.elastic { ELASTIC } else { FIXED })
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    if text == "inf" {
        return Ok(Duration::MAX);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error} (write it as \"10s\", \"5m\", \"1h 30m\" or \"inf\")"))
}

fn parse_period(text: &str) -> Result<Duration, String> {
    let period = parse_time(text)?;
    if period < Duration::from_millis(1) {
        return Err("a period must be at least 1 ms".to_owned());
    }
    Ok(period)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("it must be a number from 0 to 1".to_owned()),
    }
}

fn parse_compression(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..=1e9).contains(&factor) => Ok(factor),
        _ => Err("it must be a number from 1 to 1000000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use proptest::prelude::*;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["replay"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn nodes_and_pods_need_each_other() {
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--nodes", "n.csv", "--pods", "p.csv"]).is_ok());
        assert!(parse(&["--nodes", "n.csv"]).is_err());
        assert!(parse(&["--pods", "p.csv"]).is_err());
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        for arguments in [
            ["--failures", "1.5"],
            ["--failures", "NaN"],
            ["--compress", "0"],
            ["--compress", "inf"],
            ["--heartbeat", "0s"],
            ["--rpc-timeout", "ten"],
            ["--check-every", "0"],
            ["--generate-nodes", "0"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn dynamic_workers_are_the_second_run() {
        let runs = |arguments: &[&str]| parse(arguments).unwrap().runs();
        assert_eq!(runs(&["--elastic"]), [Slicing::Static]);
        for arguments in [&["--dynamic"][..], &["--dynamic", "--elastic"]] {
            assert_eq!(runs(arguments), [Slicing::Static, Slicing::Dynamic]);
        }

        let log_of = |arguments: &[&str], slicing| {
            let options = parse(arguments).unwrap();
            options.effect_log_of(slicing).map(Path::to_path_buf)
        };
        let log = Some(PathBuf::from("log"));
        assert_eq!(log_of(&["--effect-log", "log"], Slicing::Static), log);
        assert_eq!(log_of(&["--effect-log", "log", "--dynamic"], Slicing::Static), None);
        assert_eq!(log_of(&["--effect-log", "log", "--dynamic"], Slicing::Dynamic), log);
    }

    #[test]
    fn a_fixed_cluster_has_a_longer_idle_timeout() {
        let idle_timeout = |arguments: &[&str]| parse(arguments).unwrap().idle_timeout();
        assert!(idle_timeout(&["--elastic"]) < idle_timeout(&[]));
        assert_eq!(idle_timeout(&["--idle-timeout", "7s"]), Duration::from_secs(7));
        assert_eq!(idle_timeout(&["--idle-timeout", "inf"]), Duration::MAX);
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<i128>().prop_map(|number| number.to_string()),
            (any::<u64>(), "(ns|us|ms|s|m|h|d|w|M|y)?").prop_map(|(number, unit)| format!("{number}{unit}")),
            "[0-9]{1,4}(ms|s|m|h) ?[0-9]{0,30}[a-z]{0,3}",
            prop::sample::select(vec!["inf", "nan", "-0", "1e308", "5e-324", "0s", "first-fit", "1,5"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #[test]
        fn any_value_of_an_option_is_rejected_or_within_its_bounds(
            option in prop::sample::select(vec![
                "generate-nodes", "generate-pods", "compress", "seed", "start-delay", "heartbeat", "failures",
                "request-timeout", "rpc-timeout", "idle-timeout", "registration-timeout", "matching", "check-every",
            ]),
            value in value(),
        ) {
            if let Ok(options) = parse(&[&format!("--{option}={value}")]) {
                prop_assert!((1..=100_000).contains(&options.generate_nodes));
                prop_assert!((1..=10_000_000).contains(&options.generate_pods));
                prop_assert!((1.0..=1e9).contains(&options.compress));
                prop_assert!((0.0..=1.0).contains(&options.failures));
                prop_assert!(options.heartbeat >= Duration::from_millis(1) && options.check_every > 0);
            }
        }
    }
}
