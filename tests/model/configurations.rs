//! Strategies for valid configurations.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::SlotManagerConfig;
use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::SlotMatchingStrategy;

use crate::command::Shape;

/// Half of the configurations have no worker policy.
pub(crate) fn config() -> impl Strategy<Value = SlotManagerConfig> {
    prop_oneof![matching(), with_policy()]
}

fn timeout() -> impl Strategy<Value = Duration> {
    prop_oneof![
        2 => Just(Duration::MAX),
        1 => Just(Duration::ZERO),
        6 => (1..400_u64).prop_map(Duration::from_millis),
    ]
}

/// A period that begins with the start: mostly zero, else short.
fn from_start_on() -> impl Strategy<Value = Duration> {
    prop_oneof![
        20 => Just(Duration::ZERO),
        10 => (1..400_u64).prop_map(Duration::from_millis),
        1 => Just(Duration::MAX),
    ]
}

/// Timeouts, backoffs and matching.
fn matching() -> impl Strategy<Value = SlotManagerConfig> {
    let limit = prop::option::weighted(0.2, 1..6_usize);
    let strategy = prop_oneof![
        2 => Just(SlotMatchingStrategy::FirstFit),
        1 => Just(SlotMatchingStrategy::BestFit),
        1 => Just(SlotMatchingStrategy::LeastUtilization),
        1 => Just(SlotMatchingStrategy::MostUtilization),
    ];
    let rate = prop_oneof![1 => Just(0), 2 => 1..4_u32, 1 => Just(10)];
    let start = (rate, prop_oneof![1 => Just(0), 4 => 1..60_u64]);
    let check_delay = prop_oneof![1 => Just(0), 3 => 1..100_u64].prop_map(Duration::from_millis);
    let reservation = prop_oneof![2 => Just(Duration::MAX), 1 => (0..60_u64).prop_map(Duration::from_millis)];
    let backoff = prop_oneof![1 => Just((0, 0)), 4 => (1..30_u64, 1..9_u64)];
    (
        timeout(),
        timeout(),
        timeout(),
        timeout(),
        backoff,
        start,
        limit,
        strategy,
        (check_delay, reservation),
    )
        .prop_map(
            |(request, rpc, idle, worker, (backoff, factor), (rate, interval), limit, strategy, delays)| {
                let (check_delay, reservation_delay) = delays;
                SlotManagerConfig::default()
                    .with_request_timeout(request)
                    .with_rpc_timeout(rpc)
                    .with_task_manager_timeout(idle)
                    .with_worker_registration_timeout(worker)
                    .with_retry_backoff(Duration::from_millis(backoff), Duration::from_millis(factor * backoff))
                    .with_max_start_failure_rate(rate)
                    .with_start_retry_interval(Duration::from_millis(interval))
                    .with_max_pending_requests(limit)
                    .with_requirement_check_delay(check_delay)
                    .with_reservation_delay(reservation_delay)
                    .with_slot_matching_strategy(strategy)
            },
        )
}

/// A worker, mostly with slots that fit most requests.
fn description() -> impl Strategy<Value = WorkerDescription> {
    let shape = prop_oneof![
        4 => Just(Shape::Small),
        2 => Just(Shape::Wide),
        4 => Just(Shape::Large),
        1 => Just(Shape::Accelerated),
        1 => Just(Shape::Any),
        1 => Just(Shape::Zero),
    ];
    let worker = |(slots, shape): (u32, Shape)| WorkerDescription::new(slots, shape.profile()).expect("a worker");
    let total = prop::sample::select(&[Shape::Large, Shape::Huge, Shape::Rich][..]);
    let dynamic =
        |(slots, total): (u32, Shape)| WorkerDescription::dynamic(&total.profile(), slots).expect("a divisible total");
    prop_oneof![
        3 => (1..4_u32, shape).prop_map(worker),
        1 => (1..4_u32, total).prop_map(dynamic),
    ]
}

/// Adds a worker with limits, and with a minimum and redundancy if the limits allow them.
fn with_worker_policy(config: SlotManagerConfig) -> impl Strategy<Value = SlotManagerConfig> {
    let min_slots = prop_oneof![2 => Just(0), 1 => 1..6_usize];
    let redundant = prop_oneof![2 => Just(0), 1 => 1..3_usize];
    let slots = prop::option::weighted(0.6, prop_oneof![1..4_usize, 1..9_usize]);
    let half_cores = prop::option::weighted(0.15, 1..24_u64);
    let memory = prop::option::weighted(0.15, 1..20_u64);
    (description(), min_slots, redundant, slots, half_cores, memory).prop_map(
        move |(worker, min_slots, redundant, slots, half_cores, memory)| {
            let limited = WorkerPolicy::new(worker)
                .with_max_slots(slots)
                .with_max_total_cpu_cores(half_cores.map(|halves| halves as f64 / 2.0))
                .with_max_total_memory_bytes(memory.map(|hundreds| hundreds * (100 << 20)));
            let with_reserve = limited
                .clone()
                .with_min_slots(min_slots)
                .with_redundant_task_managers(redundant);
            let config = config.clone().with_workers(with_reserve);
            if config.validate().is_ok() {
                config
            } else {
                config.with_workers(limited)
            }
        },
    )
}

/// Mostly with a worker description. Idle timeouts are more often short than in `matching`.
fn with_policy() -> impl Strategy<Value = SlotManagerConfig> {
    let idle = prop::option::of(1..60_u64);
    let times = (matching(), idle, any::<bool>(), from_start_on(), from_start_on());
    let config = times.prop_map(|(config, idle, fail, grace_period, recovery)| {
        let idle = idle.map_or(config.task_manager_timeout, Duration::from_millis);
        config
            .with_task_manager_timeout(idle)
            .with_fail_unfulfillable_requests(fail)
            .with_unfulfillable_grace_period(grace_period)
            .with_recovery_timeout(recovery)
    });
    config.prop_flat_map(|config| prop_oneof![1 => Just(config.clone()), 4 => with_worker_policy(config)])
}
