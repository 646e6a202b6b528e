//! What a seed decides before anything happens: the configuration, the size of the cluster, and how bad things get.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use slot_manager::{Capacity, ResourceProfile, SlotManagerConfig, SlotMatchingStrategy};

use crate::cluster::capacity_rules;
use crate::cluster::network::transport::Conditions;

/// Cores and mebibytes of heap.
const SHAPES: [(u64, u64); 3] = [(1, 100), (2, 100), (2, 400)];

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) config: SlotManagerConfig,
    /// How often something happens by itself before the faults stop, and how far that is apart at most.
    pub(crate) chances: usize,
    pub(crate) pace: Duration,
    pub(crate) workers: usize,
    pub(crate) most_workers: usize,
    pub(crate) jobs: u128,
    /// Whether the resource manager starts and stops workers; otherwise the cluster is what it is.
    pub(crate) elastic: bool,
    /// Whether task executors number the revisions of their slot tables.
    pub(crate) revisions: bool,
    /// How long a slot may be held and not used.
    pub(crate) slot_timeout: Duration,
    pub(crate) network: Conditions,
    /// Whether task executors answer within the call.
    pub(crate) near: bool,
    /// How likely a task executor does not agree at once to be stopped.
    pub(crate) reluctance: f64,
    /// How likely an operator does something, whenever something happens.
    pub(crate) meddling: f64,
    /// How likely a task executor crashes or hangs, or leadership moves, whenever something happens.
    pub(crate) outages: f64,
    pub(crate) moves: f64,
    /// How likely the manager is not driven after an event.
    pub(crate) sloth: f64,
}

impl Scenario {
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let strategies = [
            SlotMatchingStrategy::FirstFit,
            SlotMatchingStrategy::BestFit,
            SlotMatchingStrategy::LeastUtilization,
            SlotMatchingStrategy::MostUtilization,
        ];
        let pause = rng.random_range(0..50);
        let mut config = SlotManagerConfig::default()
            .with_request_timeout(timeout(rng, 3_000))
            .with_rpc_timeout(timeout(rng, 300))
            .with_task_manager_timeout(timeout(rng, 1_000))
            .with_worker_registration_timeout(timeout(rng, 1_000))
            .with_retry_pause(
                Duration::from_millis(pause),
                Duration::from_millis(pause * rng.random_range(1..20)),
            )
            .with_slot_matching_strategy(strategies[rng.random_range(0..4)].clone());
        if rng.random_bool(0.1) {
            // The first question expires when the next is due.
            config.rpc_timeout = config.task_manager_timeout;
        }
        if rng.random_bool(0.2) {
            config = config.with_max_pending_requests(Some(rng.random_range(1..6)));
        }
        if rng.random_bool(0.2) {
            config = config.with_initial_capacity(Capacity {
                task_managers: rng.random_range(0..20),
                slots: rng.random_range(0..20),
                pending_requests: rng.random_range(0..20),
            });
        }
        let config = capacity_rules::draw(rng, config);
        let workers = rng.random_range(0..6);
        let bad = [0.0, 0.02, 0.1, 0.3];
        let mut any = |of: [f64; 4]| of[rng.random_range(0..4)];
        let (loss, duplication, delay) = (any(bad), any(bad), any(bad));
        let (reluctance, meddling) = (any([0.0, 0.3, 0.6, 0.9]), any([0.0, 0.0, 0.05, 0.2]));
        let (outages, moves, sloth) = (
            any([0.0, 0.01, 0.03, 0.08]),
            any([0.0, 0.0, 0.01, 0.03]),
            any([0.0, 0.0, 0.1, 0.5]),
        );
        Self {
            config,
            chances: rng.random_range(50..200),
            pace: Duration::from_millis(rng.random_range(5..120)),
            workers,
            most_workers: workers + rng.random_range(1..5),
            jobs: rng.random_range(1..5),
            elastic: rng.random_bool(0.6),
            revisions: rng.random_bool(0.7),
            slot_timeout: Duration::from_millis(rng.random_range(20..2_000)),
            network: Conditions {
                loss,
                duplication,
                delay,
                latency: Duration::from_millis(rng.random_range(1..20)),
                longest_delay: Duration::from_millis(rng.random_range(20..1_500)),
            },
            near: rng.random_bool(0.25),
            reluctance,
            meddling,
            outages,
            moves,
            sloth,
        }
    }
}

/// Mostly up to a few times `typical` milliseconds, sometimes nothing or for ever.
fn timeout(rng: &mut ChaCha8Rng, typical: u64) -> Duration {
    match rng.random_range(0..20) {
        0 => Duration::ZERO,
        1 | 2 => Duration::MAX,
        3 => Duration::from_nanos(rng.random_range(1..3_000_000)),
        _ => Duration::from_millis(rng.random_range(typical / 10..3 * typical)),
    }
}

/// One of few profiles: some of them fit others.
pub(crate) fn profile(rng: &mut ChaCha8Rng) -> ResourceProfile {
    shape(rng.random_range(0..SHAPES.len()))
}

/// The one that fits all others.
pub(crate) fn largest_profile() -> ResourceProfile {
    shape(SHAPES.len() - 1)
}

fn shape(number: usize) -> ResourceProfile {
    let (cores, heap) = SHAPES[number];
    ResourceProfile::builder()
        .cpu_cores(cores as f64)
        .task_heap_memory_mebibytes(heap)
        .build()
        .expect("valid amounts")
}

/// The slots of a worker.
pub(crate) fn slots(rng: &mut ChaCha8Rng) -> Vec<ResourceProfile> {
    (0..rng.random_range(1..5)).map(|_| profile(rng)).collect()
}
