//! Small replays, with the invariants checked after every event.

use std::process::Command;

use clap::Parser;
use comfy_table::Cell;
use indicatif::ProgressBar;
use slot_manager::ResourceProfile;
use slot_manager::message::RequestFailure;
use slot_manager::outcome::AllocationStatus;

use super::*;
use crate::generator;
use crate::statistics::FailureKind;
use crate::summary::{self, Setting};
use crate::workload::{Node, Size, Slicing};

fn options(arguments: &str) -> Options {
    let arguments = format!("replay --check-every 1 {arguments}");
    Options::parse_from(arguments.split_whitespace())
}

fn run(workload: Workload, arguments: &str) -> Outcome {
    run_as(Slicing::Static, workload, arguments)
}

fn run_as(slicing: Slicing, workload: Workload, arguments: &str) -> Outcome {
    let outcome = Simulation::new(workload, slicing, &options(arguments))
        .unwrap()
        .run(&ProgressBar::hidden())
        .unwrap();
    assert_eq!(outcome.violations, [""; 0], "{slicing:?} {arguments}");
    outcome
}

/// A few nodes, at times too few for their pods.
fn generated(seed: u64, arguments: &str) -> Outcome {
    generated_as(Slicing::Static, seed, arguments)
}

fn generated_as(slicing: Slicing, seed: u64, arguments: &str) -> Outcome {
    run_as(slicing, generator::generate(4, 350, seed).unwrap(), arguments)
}

/// As [`generated`], with dynamic workers. They have room for more pods, so there are fewer nodes.
fn cut(seed: u64, arguments: &str) -> Outcome {
    run_as(Slicing::Dynamic, generator::generate(2, 350, seed).unwrap(), arguments)
}

/// One node of two slots.
fn tiny(pods: &[(u64, u64, u64)]) -> Workload {
    let size = |cpu_milli| Size {
        cpu_milli,
        memory_mib: 0,
        gpus: 0,
        gpu_milli: 0,
    };
    let node = Node::new("node".to_owned(), size(16_000)).unwrap();
    let pod = |(index, (cpu_milli, created, deleted)): (usize, &(u64, u64, u64))| {
        Pod::new(format!("pod-{index}"), size(*cpu_milli), *created, *deleted).unwrap()
    };
    Workload::new(String::new(), vec![node], pods.iter().enumerate().map(pod).collect())
}

#[test]
fn requests_are_served_at_once_or_after_waiting_or_are_cancelled_or_fail() {
    let pods = [
        (16_000, 0, 1_000),
        (8_000, 10, 20),
        (8_000, 900, 2_000),
        (8_000, 500, 2_000),
    ];
    let statistics = run(tiny(&pods), "--request-timeout 5m").statistics;
    assert_eq!((statistics.granted_at_once, statistics.granted_after_waiting), (2, 1));
    assert_eq!(statistics.withdrawn, 1);
    assert_eq!(statistics.failed[&FailureKind::NoSlotInTime], 1);
    let pods = (
        statistics.pods_served,
        statistics.pods_withdrawn,
        statistics.pods_failed,
    );
    assert_eq!(pods, (2, 1, 1));
    let wait = statistics.waits_of_waiting.quantile(0.5).unwrap();
    assert!((100.0..100.2).contains(&wait.as_secs_f64()), "{wait:?}");
}

#[test]
fn a_request_that_fits_no_node_fails_by_timeout_or_in_an_elastic_cluster_at_once() {
    let mut workload = tiny(&[(8_000, 0, 1_000)]);
    workload.pods[0].slot_profile = ResourceProfile::ANY;
    let pods = workload.pods.clone();
    let statistics = run(workload, "").statistics;
    assert_eq!(statistics.failed[&FailureKind::FitsNoSlot], 1);

    let mut workload = tiny(&[(8_000, 0, 1_000)]);
    workload.pods = pods;
    let statistics = run(workload, "--elastic").statistics;
    assert_eq!(statistics.failed[&FailureKind::NoWorker], 1);
    assert_eq!(statistics.workers_started, 0);
}

#[test]
fn an_elastic_cluster_starts_one_node_for_all_the_slots_it_has_and_releases_it() {
    let statistics = run(tiny(&[(16_000, 0, 500), (8_000, 600, 700)]), "--elastic").statistics;
    assert_eq!((statistics.workers_started, statistics.workers_released), (1, 1));
    assert_eq!((statistics.granted_after_waiting, statistics.granted_at_once), (2, 1));
}

#[test]
fn a_seed_decides_every_effect() {
    for arguments in ["", "--elastic --failures 0.05"] {
        let hash = |seed: u64| generated(1, &format!("{arguments} --seed {seed}")).effect_hash;
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
    let hash = |seed: u64| cut(1, &format!("--failures 0.05 --seed {seed}")).effect_hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

/// The other process runs this test too and prints its hashes. Its hash maps have other seeds.
#[test]
fn another_process_has_the_same_effects() {
    const OTHER_PROCESS: &str = "REPLAY_OTHER_PROCESS";
    let own: Vec<String> = [
        (Slicing::Static, ""),
        (Slicing::Static, "--elastic --failures 0.05"),
        (Slicing::Dynamic, "--elastic --failures 0.05"),
        (Slicing::Dynamic, "--failures 0.05"),
    ]
    .map(|(slicing, arguments)| {
        let outcome = generated_as(slicing, 1, arguments);
        format!(
            "effects {slicing:?} {arguments}: {} {:x}",
            outcome.effects, outcome.effect_hash
        )
    })
    .to_vec();
    if std::env::var_os(OTHER_PROCESS).is_some() {
        println!("\n{}", own.join("\n"));
        return;
    }
    let other = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "simulation::tests::another_process_has_the_same_effects",
            "--nocapture",
        ])
        .env(OTHER_PROCESS, "yes")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&other.stdout);
    let others: Vec<&str> = printed.lines().filter(|line| line.starts_with("effects ")).collect();
    assert_eq!(others, own);
}

#[test]
fn explaining_changes_no_effect() {
    for arguments in ["", "--elastic --failures 0.05", "--matching most-utilization"] {
        let plain = generated(1, arguments);
        let explained = generated(1, &format!("{arguments} --explain"));
        assert_eq!(explained.effect_hash, plain.effect_hash, "{arguments}");
        assert_eq!(explained.overview, plain.overview);
        assert!(plain.longest_waits.is_none());
    }
    assert_eq!(cut(1, "--explain").effect_hash, cut(1, "").effect_hash);
}

#[test]
fn the_longest_waits_have_their_last_explanation() {
    let pods = [
        (16_000, 0, 1_000),
        (8_000, 10, 20),
        (8_000, 900, 2_000),
        (8_000, 500, 2_000),
    ];
    let waits = run(tiny(&pods), "--request-timeout 5m --explain")
        .longest_waits
        .unwrap();
    let lengths: Vec<_> = waits
        .iter()
        .map(|wait| (wait.pod.as_str(), wait.waited.as_secs()))
        .collect();
    // The requests of the first pod did not wait.
    assert_eq!(lengths[..3], [("pod-3", 300), ("pod-2", 100), ("pod-1", 10)]);
    assert!(matches!(&waits[0].end, End::Failed(RequestFailure::Timeout { .. })));
    assert_eq!(waits[1].end, End::Granted);
    assert_eq!(waits[2].end, End::Cancelled);
    for wait in &waits[..3] {
        let (at, explanation) = wait.seen.as_ref().unwrap();
        assert!((wait.asked_at..=wait.asked_at + wait.waited).contains(at), "{wait}");
        assert_eq!(explanation.allocation_id, wait.allocation_id);
        assert_eq!(explanation.status, AllocationStatus::Waiting);
        assert_eq!(explanation.request.as_ref().unwrap().fitting.allocated, 2, "{wait}");
    }
}

#[test]
fn the_longest_waits_are_those_of_all_requests() {
    for arguments in ["", "--elastic", "--failures 0.1", "--elastic --failures 0.1"] {
        let outcome = generated(2, &format!("{arguments} --explain"));
        let waits = outcome.longest_waits.unwrap();
        assert_eq!(waits.len(), 5);
        assert!(waits.is_sorted_by_key(|wait| std::cmp::Reverse(wait.waited)));
        assert!(waits.iter().all(|wait| wait.seen.is_some()), "{arguments}");
    }
    assert_eq!(cut(2, "--explain").longest_waits.unwrap().len(), 5);
}

#[test]
fn requests_that_still_wait_at_the_end_are_listed() {
    let mut simulation = Simulation::new(tiny(&[(24_000, 0, 1_000)]), Slicing::Static, &options("--explain")).unwrap();
    simulation.begin().unwrap();
    let progress = ProgressBar::hidden();
    simulation
        .run_until(|simulation| simulation.pods_created > 0, &progress)
        .unwrap();
    simulation.clock.advance_to(Timestamp::from_secs(7));
    simulation.end_waits();
    let waits = simulation.longest_waits.unwrap().into_longest();
    assert_eq!(waits.len(), 3);
    for wait in waits {
        assert_eq!((wait.end, wait.waited), (End::StillWaiting, Duration::from_secs(7)));
    }
}

#[test]
fn the_counters_of_the_manager_equal_those_of_the_replay() {
    check_counters(generated(4, "--elastic --failures 0.05"));
    check_counters(cut(4, "--failures 0.05"));
}

fn check_counters(outcome: Outcome) {
    let (counters, statistics) = (outcome.overview.counters, outcome.statistics);
    let served = statistics.granted_at_once + statistics.granted_after_waiting;
    assert_eq!(counters.requests_served, served);
    assert_eq!(counters.requests_cancelled, statistics.withdrawn);
    assert_eq!(
        counters.requests_failed.total(),
        statistics.failed.values().sum::<u64>()
    );
    // The manager also counts grants whose jobs had ended.
    assert!(counters.grants_lost >= statistics.grants_lost);
    let slots = &outcome.overview.slots;
    assert_eq!(
        (
            slots.allocated.slots,
            slots.in_flight.slots,
            outcome.overview.pending_requests
        ),
        (0, 0, 0)
    );
}

#[test]
fn nothing_leaks_at_any_rate_of_failures() {
    for arguments in [
        "",
        "--elastic",
        "--elastic --start-delay 10m",
        "--heartbeat 5m --matching least-utilization",
        "--elastic --matching most-utilization",
        "--matching best-fit --explain",
    ] {
        for rate in ["0.02", "0.3", "1"] {
            let outcome = generated(3, &format!("{arguments} --failures {rate}"));
            let statistics = outcome.statistics;
            if rate == "0.3" {
                assert!(
                    statistics.messages_lost > 0 && statistics.grants_lost > 0,
                    "{arguments}"
                );
            }
        }
    }
}

#[test]
fn nothing_leaks_with_extreme_options() {
    for arguments in [
        "--request-timeout 0s",
        "--request-timeout inf --failures 0.1",
        "--rpc-timeout 1ms --request-timeout 2s",
        "--rpc-timeout inf --failures 0.1",
        "--elastic --idle-timeout 0s",
        "--elastic --idle-timeout inf",
        "--elastic --start-delay 0s --registration-timeout 1s",
        "--elastic --start-delay inf",
        "--elastic --registration-timeout inf --failures 0.3",
        "--heartbeat inf",
    ] {
        generated(5, arguments);
    }
}

/// Times of zero, of the longest length that can be written, and infinite; everything or almost
/// nothing fails.
#[test]
fn a_run_ends_with_any_options() {
    for length in ["0s", "inf", "584542046090years"] {
        for time in ["start-delay", "request-timeout", "rpc-timeout", "registration-timeout"] {
            for rest in ["--failures 1", "--elastic --failures 5e-324 --heartbeat inf"] {
                let pods = [(16_000, 0, 100), (8_000, 10, 20), (8_000, 150, 150)];
                let arguments = format!("--{time} {length} {rest}");
                assert_eq!(run(tiny(&pods), &arguments).asked, 4, "{arguments}");
            }
        }
    }
}

/// One node of 16 cores: two static slots of 8.
#[test]
fn a_dynamic_worker_serves_each_pod_from_what_remains() {
    let pods = [
        (10_000, 0, 1_000),
        (6_000, 10, 20),
        (12_000, 900, 2_000),
        (7_000, 500, 2_000),
    ];
    let outcome = run_as(Slicing::Dynamic, tiny(&pods), "--request-timeout 5m");
    let statistics = outcome.statistics;
    assert_eq!((statistics.granted_at_once, statistics.granted_after_waiting), (2, 1));
    assert_eq!(statistics.failed[&FailureKind::NoSlotInTime], 1);
    assert_eq!((statistics.pods_served, statistics.pods_failed), (3, 1));
    let wait = statistics.waits_of_pods.quantile(1.0).unwrap();
    assert!((100.0..100.2).contains(&wait.as_secs_f64()), "{wait:?}");
    assert_eq!(outcome.longest_needless_wait, Duration::ZERO);
    assert_eq!(statistics.peak_used.count, 2);
}

#[test]
fn a_pod_that_fits_no_static_slot_can_fit_a_whole_node() {
    let size = |cpu_milli, gpus| Size {
        cpu_milli,
        memory_mib: 0,
        gpus,
        gpu_milli: 1000,
    };
    let node = Node::new("node".to_owned(), size(16_000, 2)).unwrap();
    let pod = Pod::new("pod".to_owned(), size(10_000, 1), 0, 1_000).unwrap();
    let workload = Workload::new(String::new(), vec![node], vec![pod]);
    let fixed = run(workload.clone(), "").statistics;
    assert_eq!(fixed.failed[&FailureKind::FitsNoSlot], 1);
    assert_eq!(run_as(Slicing::Dynamic, workload, "").statistics.granted_at_once, 1);
}

/// The first pod uses 10 of 16 cores for 800 of 1,000 seconds. As two static slots it leaves no room
/// for the second, which needs 4 cores from then on for the rest.
#[test]
fn used_and_stranded_resources_are_weighed_by_time() {
    let pods = [(10_000, 0, 800), (4_000, 600, 1_000)];
    let mean = |slicing| {
        let mean = run_as(slicing, tiny(&pods), "--request-timeout inf")
            .series
            .mean_amounts();
        [mean.granted, mean.stranded, mean.wanted].map(|amounts| amounts[0] / 1_000.0)
    };
    for (slicing, expected) in [
        // In cores: 10 for 800 s and 4 for 200 s; 6 free for 200 s, of which 4 are wanted.
        (Slicing::Static, [8.8, 1.2, 0.8]),
        // The second pod is served at once.
        (Slicing::Dynamic, [9.6, 0.0, 0.0]),
    ] {
        let got = mean(slicing);
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 0.001, "{slicing:?} {got} {expected}");
        }
    }
}

/// The pods of the test above.
#[test]
fn the_comparison_shows_both_runs_side_by_side() {
    let outcomes = [Slicing::Static, Slicing::Dynamic].map(|slicing| {
        let pods = [(10_000, 0, 800), (4_000, 600, 1_000)];
        run_as(slicing, tiny(&pods), "--request-timeout inf")
    });
    let setting = Setting {
        origin: String::new(),
        cluster: String::new(),
        nodes: 1,
        slots: 2,
        pods: 2,
        elastic: false,
        failures: false,
    };
    let table = summary::of_comparison(&setting, &outcomes);
    let row = |label: &str| -> Vec<String> {
        let rows = table.row_iter().map(|row| row.cell_iter().map(Cell::content));
        let mut rows = rows.filter(|cells| cells.clone().next().as_deref() == Some(label));
        rows.next().unwrap().skip(1).collect()
    };
    let header: Vec<_> = table.header().unwrap().cell_iter().map(Cell::content).collect();
    assert_eq!(header, ["", "static slots", "dynamic slots"]);
    assert_eq!(row("slot requests"), ["3", "2"]);
    assert_eq!(row("  served after waiting"), ["1", "0"]);
    // In brackets: the first 750 seconds.
    assert_eq!(row("cpu used"), ["55.0 % (62.5 %)", "60.0 % (67.5 %)"]);
    assert_eq!(row("cpu stranded"), ["7.5 % (7.5 %)", "0.0 % (0.0 %)"]);
    assert_eq!(row("cpu stranded and wanted"), ["5.0 % (5.0 %)", "0.0 % (0.0 %)"]);
    assert_eq!(row("gpu used"), ["– (–)", "– (–)"]);
    assert_eq!(row("hash of the effects").len(), 2);
    assert!(!table.to_string().contains("cuts refused"));
    assert!(summary::notes(&outcomes).contains("Stranded: "));
    assert!(!summary::notes(&outcomes[..1]).contains("Stranded: "));
}

#[test]
fn nothing_leaks_with_dynamic_workers_at_any_rate_of_failures() {
    for arguments in ["", "--heartbeat 5m"] {
        for rate in ["0.02", "0.3", "1"] {
            let statistics = cut(3, &format!("{arguments} --failures {rate}")).statistics;
            if rate == "0.3" {
                let failures = (statistics.messages_lost, statistics.grants_lost);
                assert!(failures.0 > 0 && failures.1 > 0, "{arguments}");
            }
        }
    }
}

#[test]
fn an_elastic_cluster_starts_one_dynamic_node_for_all_that_its_total_holds() {
    // Static slots have 8 cores, so the second pod would need two of another node.
    let pods = tiny(&[(6_000, 0, 500), (10_000, 0, 500), (9_000, 600, 700)]);
    let statistics = run_as(Slicing::Dynamic, pods, "--elastic").statistics;
    assert_eq!((statistics.workers_started, statistics.workers_released), (1, 1));
    assert_eq!((statistics.granted_after_waiting, statistics.granted_at_once), (2, 1));
}

#[test]
fn nothing_leaks_with_dynamic_workers_and_extreme_options() {
    for arguments in [
        "--elastic",
        "--elastic --failures 0.1",
        "--elastic --start-delay 10m",
        "--elastic --idle-timeout 0s",
        "--elastic --start-delay 0s --registration-timeout 1s",
        "--elastic --start-delay inf",
        "--request-timeout 0s",
        "--request-timeout inf --failures 0.1",
        "--rpc-timeout 1ms --request-timeout 2s",
        "--rpc-timeout inf --failures 0.1",
        "--heartbeat inf",
        "--matching least-utilization --failures 0.1",
        "--matching most-utilization --reservation-delay 1s --failures 0.1",
        "--elastic --reservation-delay 0s --failures 0.1",
    ] {
        cut(5, arguments);
    }
}

#[test]
fn dynamic_workers_never_lack_what_the_manager_cuts() {
    for (seed, compression) in [(1, 1.0), (2, 50.0), (3, 1_000.0)] {
        let mut workload = generator::generate(2, 350, seed).unwrap();
        workload.compress(compression);
        let outcome = run_as(Slicing::Dynamic, workload, "--request-timeout 1h");
        assert_eq!(outcome.statistics.cuts_refused, 0, "{seed}");
        assert!(outcome.statistics.granted_after_waiting > 0, "{seed}");
        assert_eq!(outcome.longest_needless_wait, Duration::ZERO, "{seed}");
    }
}

#[test]
fn a_cut_from_more_than_a_worker_has_is_a_violation() {
    let workload = tiny(&[(10_000, 0, 100)]);
    let mut simulation = Simulation::new(workload, Slicing::Dynamic, &options("--request-timeout 5s")).unwrap();
    simulation.begin().unwrap();
    // The manager does not hear of it.
    let running = simulation.machines.running_on_mut(0).unwrap();
    let eight_cores = ResourceProfile::builder().cpu_cores(8.0).build().unwrap();
    running.executor.set_resources(eight_cores);
    let violations = simulation.run_to_the_end(&ProgressBar::hidden()).unwrap();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains("left, but the manager cuts"), "{violations:?}");
}
