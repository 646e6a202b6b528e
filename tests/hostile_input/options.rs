//! Texts that are parsed as options.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::config::{Capacity, WorkerDescription, WorkerPolicy};
use slot_manager::error::{ConfigError, WorkerDescriptionError};
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{ResourceProfile, SlotManager, SlotManagerConfig};

use crate::text::{arbitrary, arbitrary_or_nearly, nearly, number};

/// All keys.
const KEYS: [&str; 33] = [
    "slotmanager.request-timeout",
    "slot.request.timeout",
    "pekko.ask.timeout",
    "akka.ask.timeout",
    "resourcemanager.taskmanager-timeout",
    "slotmanager.taskmanager-timeout",
    "resourcemanager.taskmanager-registration.timeout",
    "slotmanager.retry-backoff.initial",
    "slotmanager.retry-backoff.max",
    "slotmanager.pending-requests.max",
    "slotmanager.initial-capacity.task-managers",
    "slotmanager.initial-capacity.slots",
    "slotmanager.initial-capacity.pending-requests",
    "cluster.evenly-spread-out-slots",
    "slotmanager.matching-strategy",
    "taskmanager.load-balance.mode",
    "slotmanager.number-of-slots.min",
    "slotmanager.number-of-slots.max",
    "slotmanager.max-total-resource.cpu",
    "slotmanager.max-total-resource.memory",
    "slotmanager.redundant-taskmanager-num",
    "slotmanager.fail-unfulfillable-requests",
    "resourcemanager.standalone.start-up-time",
    "resourcemanager.previous-worker.recovery.timeout",
    "taskmanager.numberOfTaskSlots",
    "taskmanager.cpu.cores",
    "taskmanager.memory.task.heap.size",
    "taskmanager.memory.task.off-heap.size",
    "taskmanager.memory.managed.size",
    "taskmanager.memory.network.max",
    "external-resources",
    "external-resource.gpu.amount",
    "external-resource..amount",
];

/// The key in errors about several options of a worker.
const OF_A_WORKER: &str = "taskmanager.*";

fn describes_a_worker(key: &str) -> bool {
    let is_of_task_managers = key.starts_with("taskmanager.") && key != "taskmanager.load-balance.mode";
    is_of_task_managers || key.starts_with("external-resource") || KEYS[16..21].contains(&key)
}

fn key() -> impl Strategy<Value = String> {
    let known = || prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
    prop_oneof![8 => known(), 1 => nearly(known()), 1 => arbitrary()]
}

/// Durations as texts, with all units and any number.
fn duration() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "ns", "us", "µs", "ms", "s", "sec", "m", "min", "h", "hours", "d", "days", "w", "M", "months", "y", "years", "",
    ]);
    let part = (number(), unit).prop_map(|(number, unit)| format!("{number}{unit}"));
    prop_oneof![
        prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(" ")),
        (number(), number()).prop_map(|(whole, fraction)| format!("{whole}.{fraction}s")),
        Just("inf".to_owned()),
    ]
}

/// Amounts of memory as texts, with all units and any number.
fn memory() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "", "b", "k", "kb", "KiB", "m", "mb", "MB", "g", "gb", "GiB", "t", "tb", "p", "e", "bytes",
    ]);
    (number(), unit).prop_map(|(number, unit)| format!("{number} {unit}"))
}

/// Numbers of cores: with a fraction, an exponent or a sign, or not a number.
fn cores() -> impl Strategy<Value = String> {
    prop_oneof![
        (number(), number()).prop_map(|(whole, fraction)| format!("{whole}.{fraction}")),
        (number(), -400..400_i32).prop_map(|(number, exponent)| format!("{number}e{exponent}")),
        prop::sample::select(vec!["NaN", "nan", "-inf", "inf", "-0.0", ".5", "5."]).prop_map(str::to_owned),
    ]
}

fn choice() -> impl Strategy<Value = String> {
    let choices = vec![
        "true",
        "false",
        "first-fit",
        "best-fit",
        "least-utilization",
        "most-utilization",
        "NONE",
        "SLOTS",
        "MIN_RESOURCES",
        "gpu",
        "gpu;fpga",
        "gpu;gpu",
        ";",
        "none",
        "-1",
    ];
    prop::sample::select(choices).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let right = prop_oneof![duration(), number(), "[0-9]{1,3}", memory(), cores(), choice()];
    arbitrary_or_nearly(right)
}

/// Writes a duration as the value of an option.
fn written(duration: Duration) -> String {
    if duration == Duration::MAX {
        return "inf".to_owned();
    }
    humantime::format_duration(duration).to_string()
}

fn written_limit(limit: Option<impl ToString>) -> String {
    limit.map_or("inf".to_owned(), |limit| limit.to_string())
}

fn strategy_name(config: &SlotManagerConfig) -> &'static str {
    match config.slot_matching_strategy {
        SlotMatchingStrategy::BestFit => "best-fit",
        SlotMatchingStrategy::LeastUtilization => "least-utilization",
        SlotMatchingStrategy::MostUtilization => "most-utilization",
        _ => "first-fit",
    }
}

/// Returns the options of a configuration, except those of a worker: not every description has a
/// written form.
fn options_of(config: &SlotManagerConfig) -> Vec<(&'static str, String)> {
    let capacity = config.initial_capacity;
    vec![
        ("slotmanager.request-timeout", written(config.request_timeout)),
        ("pekko.ask.timeout", written(config.rpc_timeout)),
        (
            "resourcemanager.taskmanager-timeout",
            written(config.task_manager_timeout),
        ),
        (
            "resourcemanager.taskmanager-registration.timeout",
            written(config.worker_registration_timeout),
        ),
        ("slotmanager.retry-backoff.initial", written(config.retry_backoff)),
        ("slotmanager.retry-backoff.max", written(config.max_retry_backoff)),
        (
            "slotmanager.pending-requests.max",
            written_limit(config.max_pending_requests),
        ),
        (
            "slotmanager.initial-capacity.task-managers",
            capacity.task_managers.to_string(),
        ),
        ("slotmanager.initial-capacity.slots", capacity.slots.to_string()),
        (
            "slotmanager.initial-capacity.pending-requests",
            capacity.pending_requests.to_string(),
        ),
        ("slotmanager.matching-strategy", strategy_name(config).to_owned()),
        (
            "slotmanager.fail-unfulfillable-requests",
            config.fail_unfulfillable_requests.to_string(),
        ),
        (
            "resourcemanager.standalone.start-up-time",
            written(config.unfulfillable_grace_period),
        ),
        (
            "resourcemanager.previous-worker.recovery.timeout",
            written(config.recovery_timeout),
        ),
    ]
}

proptest! {
    #[test]
    fn options_are_refused_by_key_or_make_a_configuration_that_is_read_back(
        options in prop::collection::vec((key(), value()), 0..6),
    ) {
        match SlotManagerConfig::from_options(options.clone()) {
            Ok(config) => {
                prop_assert_eq!(config.validate(), Ok(()));
                let written = options_of(&config).into_iter().map(|(key, value)| (key.to_owned(), value));
                let of_the_worker = options.into_iter().filter(|(key, _)| describes_a_worker(key));
                prop_assert_eq!(SlotManagerConfig::from_options(written.chain(of_the_worker)), Ok(config));
            }
            Err(ConfigError::InvalidValue { key, value, .. } | ConfigError::UnknownKey { key, value }) => {
                prop_assert!(options.contains(&(key, value)));
            }
            Err(error) => {
                let named = KEYS.iter().chain([&OF_A_WORKER]).any(|key| error.to_string().starts_with(key));
                prop_assert!(named, "{}", error);
            }
        }
    }

    #[test]
    fn errors_are_hardly_longer_than_the_given_value(value in arbitrary()) {
        if let Err(error) = SlotManagerConfig::from_options([("slotmanager.request-timeout", &value)]) {
            prop_assert!(error.to_string().len() <= 10 * value.len() + 200);
        }
    }

    #[test]
    fn each_configuration_makes_a_manager_or_is_refused(
        lengths in prop::array::uniform6(prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), any::<Duration>()]),
        limit: Option<usize>,
        capacity in prop_oneof![0..100_usize, Just(Capacity::MAX + 1), Just(usize::MAX)],
    ) {
        let [request_timeout, rpc_timeout, task_manager_timeout, registration_timeout, initial, max] = lengths;
        let config = SlotManagerConfig::default()
            .with_request_timeout(request_timeout)
            .with_rpc_timeout(rpc_timeout)
            .with_task_manager_timeout(task_manager_timeout)
            .with_worker_registration_timeout(registration_timeout)
            .with_retry_backoff(initial, max)
            .with_max_pending_requests(limit)
            .with_initial_capacity(Capacity { task_managers: capacity, slots: capacity, pending_requests: capacity });
        let expected = config.validate();
        let made = SlotManager::<RecordingActions, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new());
        prop_assert_eq!(made.as_ref().err(), expected.as_ref().err());
        prop_assert_eq!(expected.is_ok(), initial <= max && limit != Some(0) && capacity <= Capacity::MAX);
        if let Ok(mut manager) = made {
            prop_assert!(manager.start(slot_manager::LeaderId::from_u128(1), RecordingActions::new()).is_ok());
            prop_assert_eq!(manager.check_invariants(), Ok(()));
        }
    }

    #[test]
    fn limits_allow_the_reserve_or_the_configuration_is_refused(
        slots in 1..10_u32,
        cores in 0..10_u32,
        mebibytes in 0..10_u64,
        min_slots in amount(),
        redundant in amount(),
        max_slots: Option<u8>,
        max_cores: Option<u8>,
        max_mebibytes: Option<u8>,
    ) {
        const MEBIBYTE: u64 = 1 << 20;
        let slot = ResourceProfile::builder()
            .cpu_cores(cores.into())
            .managed_memory_mebibytes(mebibytes)
            .build()
            .expect("small amounts");
        let workers = WorkerPolicy::new(WorkerDescription::new(slots, slot).expect("a worker"))
            .with_min_slots(min_slots)
            .with_redundant_task_managers(redundant)
            .with_max_slots(max_slots.map(usize::from))
            .with_max_total_cpu_cores(max_cores.map(f64::from))
            .with_max_total_memory_bytes(max_mebibytes.map(|mebibytes| MEBIBYTE * u64::from(mebibytes)));
        let config = SlotManagerConfig::default().with_workers(workers);

        let workers = min_slots.div_ceil(slots as usize).max(redundant) as u128;
        let is_allowed = |limit: Option<u8>, of_a_slot: u64| {
            limit.is_none_or(|limit| {
                workers == 0 || (workers * u128::from(slots)).saturating_mul(of_a_slot.into()) <= u128::from(limit)
            })
        };
        let most = Capacity::MAX as u128;
        let is_countable = min_slots as u128 <= most && redundant as u128 * u128::from(slots) <= most;
        let expected = is_countable
            && is_allowed(max_slots, 1)
            && is_allowed(max_cores, cores.into())
            && is_allowed(max_mebibytes, mebibytes);
        prop_assert_eq!(config.validate().is_ok(), expected);
    }

    #[test]
    fn any_number_of_cores_is_a_limit_or_refused_by_its_key(cores: f64) {
        let workers = WorkerPolicy::new(WorkerDescription::new(1, ResourceProfile::ZERO).expect("a worker"))
            .with_max_total_cpu_cores(Some(cores));
        let config = SlotManagerConfig::default().with_workers(workers);
        let is_amount = ResourceProfile::builder().cpu_cores(cores).build().is_ok();
        match config.validate() {
            Ok(()) => prop_assert!(is_amount),
            Err(error) => {
                prop_assert!(!is_amount);
                prop_assert!(error.to_string().starts_with("slotmanager.max-total-resource.cpu: "));
            }
        }
    }

    #[test]
    fn worker_divides_its_resources_and_no_more(
        slots in prop_oneof![any::<u32>(), 0..=WorkerDescription::MAX_SLOTS],
        bytes: u64,
        units in 0..u64::MAX / 2,
    ) {
        let total = ResourceProfile::builder()
            .managed_memory_bytes(bytes)
            .extended_resource("gpu", units as f64 / 1e8)
            .build()
            .expect("valid amounts");
        match WorkerDescription::from_total(&total, slots) {
            Ok(worker) => {
                let all = worker.slot_profile().checked_mul(slots.into()).expect("no more than the total");
                prop_assert!(total.is_matching(&all));
                let left = total.total_memory_bytes().zip(all.total_memory_bytes()).map(|(total, all)| total - all);
                prop_assert!(left < Some(slots.into()), "less than one part is left over");
            }
            Err(error) => {
                let expected = match slots {
                    0 => WorkerDescriptionError::NoSlots,
                    slots => WorkerDescriptionError::TooManySlots { slots },
                };
                prop_assert!(slots == 0 || slots > WorkerDescription::MAX_SLOTS);
                prop_assert_eq!(error, expected);
            }
        }
    }
}

/// No cores, a few, and numbers whose sum overflows.
fn amount() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 0..100_usize, Just(usize::MAX)]
}
