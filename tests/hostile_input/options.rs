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
const KEYS: [&str; 38] = [
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
    "slotmanager.requirement-check.delay",
    "slotmanager.reservation.delay",
    "slotmanager.initial-capacity.task-managers",
    "slotmanager.initial-capacity.slots",
    "slotmanager.initial-capacity.pending-requests",
    "slotmanager.hash-seed",
    "cluster.evenly-spread-out-slots",
    "slotmanager.matching-strategy",
    "taskmanager.load-balance.mode",
    "slotmanager.number-of-slots.min",
    "slotmanager.min-total-resource.cpu",
    "slotmanager.min-total-resource.memory",
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

/// Returns `true` if an amount above 20 million has no written form.
fn is_of_a_large_amount(error: &ConfigError) -> bool {
    match error {
        ConfigError::Inexpressible { key, value } => {
            (key == "taskmanager.cpu.cores" || key.ends_with(".amount"))
                && value.parse().is_ok_and(|amount: f64| amount > 20_000_000.0)
        }
        _ => false,
    }
}

fn key() -> impl Strategy<Value = String> {
    let known = || prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
    prop_oneof![8 => known(), 1 => nearly(known()), 1 => arbitrary()]
}

/// Durations as texts, with all units and any number.
fn duration() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "ns", "us", "µs", "MS", "s", "Sec", "m", "min", "h", "HOURS", "d", "days", "w", "M", "months", "y", "years", "",
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
        "gpu, fpga",
        "FALSE",
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

fn length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        any::<Duration>(),
        any::<u32>().prop_map(|number| Duration::from_millis(number.into())),
        (0..10_000_u32).prop_map(|number| number * Duration::from_secs(60)),
    ]
}

fn strategy() -> impl Strategy<Value = SlotMatchingStrategy> {
    prop::sample::select(vec![
        SlotMatchingStrategy::FirstFit,
        SlotMatchingStrategy::BestFit,
        SlotMatchingStrategy::LeastUtilization,
        SlotMatchingStrategy::MostUtilization,
    ])
}

/// Cores or units of an extended resource of one slot, of which options express every total.
fn units() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        (0..1000_u32).prop_map(f64::from),
        (0..30_000_000_000_u64).prop_map(|units| units as f64 / 1e8),
    ]
}

fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0..1_u64 << 45,
        (0..1_u64 << 15).prop_map(|number| number << 30)
    ]
}

/// A profile with any names and amounts that options express, or `ANY`.
fn slot_profile() -> impl Strategy<Value = ResourceProfile> {
    let name = prop_oneof!["[a-z]{1,8}", arbitrary()];
    let name = name.prop_filter("no list of names has it", |name| {
        !name.is_empty() && name != "none" && !name.contains([';', ',']) && name.trim() == name
    });
    let extended = prop::collection::btree_map(name, units(), 0..4);
    let concrete = (units(), prop::array::uniform4(bytes()), extended).prop_map(|(cores, memory, extended)| {
        let [task_heap, task_off_heap, managed, network] = memory;
        let mut profile = ResourceProfile::builder()
            .cpu_cores(cores)
            .task_heap_memory_bytes(task_heap)
            .task_off_heap_memory_bytes(task_off_heap)
            .managed_memory_bytes(managed)
            .network_memory_bytes(network);
        for (name, amount) in extended {
            profile = profile.extended_resource(name, amount);
        }
        profile.build().expect("small amounts")
    });
    prop_oneof![1 => Just(ResourceProfile::ANY), 6 => concrete]
}

/// Limits of any size, and reserves that may exceed them.
fn workers() -> impl Strategy<Value = WorkerPolicy> {
    let description =
        (1..=WorkerDescription::MAX_SLOTS, slot_profile(), any::<bool>()).prop_map(|(slots, profile, is_total)| {
            match is_total {
                true => WorkerDescription::from_total(&profile, slots),
                false => WorkerDescription::new(slots, profile),
            }
        });
    let limits = (
        any::<Option<usize>>(),
        prop::option::of(0.0..1.8e11),
        any::<Option<u64>>(),
    );
    let minima = (
        prop_oneof![Just(0), 0..1000_usize],
        prop_oneof![Just(0.0), 0.0..1.8e11],
        prop_oneof![Just(0), any::<u64>()],
    );
    let redundant = prop_oneof![Just(0), 0..100_usize];
    (description, limits, minima, redundant).prop_map(|(worker, (max, cores, memory), minima, redundant)| {
        let (min, min_cores, min_bytes) = minima;
        WorkerPolicy::new(worker.expect("a small worker"))
            .with_min_total_cpu_cores(min_cores)
            .with_min_total_memory_bytes(min_bytes)
            .with_max_slots(max)
            .with_max_total_cpu_cores(cores)
            .with_max_total_memory_bytes(memory)
            .with_min_slots(min)
            .with_redundant_task_managers(redundant)
    })
}

/// Any configuration, also one that validation refuses.
fn configuration() -> impl Strategy<Value = SlotManagerConfig> {
    let capacity = prop::array::uniform3(prop_oneof![Just(0), 0..=Capacity::MAX]);
    let lengths = prop::array::uniform8(length());
    let workers = prop::option::weighted(0.8, workers());
    (
        lengths,
        prop::option::of(1_usize..),
        strategy(),
        workers,
        any::<bool>(),
        capacity,
    )
        .prop_map(
            |(lengths, pending, strategy, workers, fails, [task_managers, slots, pending_requests])| {
                let [request, rpc, idle, registration, backoff, max_backoff, grace, recovery] = lengths;
                SlotManagerConfig::default()
                    .with_request_timeout(request)
                    .with_rpc_timeout(rpc)
                    .with_task_manager_timeout(idle)
                    .with_worker_registration_timeout(registration)
                    .with_retry_backoff(backoff.min(max_backoff), max_backoff)
                    .with_max_pending_requests(pending)
                    .with_slot_matching_strategy(strategy)
                    .with_workers(workers)
                    .with_fail_unfulfillable_requests(fails)
                    .with_unfulfillable_grace_period(grace)
                    .with_recovery_timeout(recovery)
                    .with_initial_capacity(Capacity {
                        task_managers,
                        slots,
                        pending_requests,
                    })
            },
        )
}

proptest! {
    #[test]
    fn options_are_refused_by_key_or_make_a_configuration_that_is_read_back(
        options in prop::collection::vec((key(), value()), 0..6),
    ) {
        match SlotManagerConfig::from_options(options.clone()) {
            Ok(config) => {
                prop_assert_eq!(config.validate(), Ok(()));
                match config.to_options() {
                    Ok(written) => prop_assert_eq!(SlotManagerConfig::from_options(written), Ok(config)),
                    Err(error) => prop_assert!(is_of_a_large_amount(&error), "{}", error),
                }
            }
            Err(ConfigError::InvalidValue { key, value, .. } | ConfigError::UnknownKey { key, value }) => {
                prop_assert!(options.contains(&(key, value)));
            }
            Err(error) => {
                let named = KEYS.iter().any(|key| error.to_string().starts_with(key));
                prop_assert!(named, "{}", error);
            }
        }
    }

    #[test]
    fn valid_configuration_is_written_as_options_and_read_back(config in configuration()) {
        match config.validate() {
            Ok(()) => {
                let options = config.to_options().expect("a valid configuration");
                prop_assert_eq!(SlotManagerConfig::from_options(options), Ok(config.clone()));
                let text = serde_json::to_string(&config).expect("a valid configuration");
                prop_assert_eq!(serde_json::from_str::<SlotManagerConfig>(&text).expect("its text"), config);
            }
            Err(refused) => prop_assert_eq!(config.to_options(), Err(refused)),
        }
    }

    #[test]
    fn worker_with_any_name_and_amount_is_read_back_or_refused(
        name in arbitrary_or_nearly(choice()),
        slots in 1..100_u32,
        amounts in prop::array::uniform2(0..u64::MAX),
    ) {
        let [cores, units] = amounts.map(|units| units as f64 / 1e8 / f64::from(slots));
        let slot = ResourceProfile::builder().cpu_cores(cores).extended_resource(name.as_str(), units).build();
        let worker = slot.ok().and_then(|slot| WorkerDescription::new(slots, slot).ok());
        let config = SlotManagerConfig::default().with_workers(worker.map(WorkerPolicy::new));
        match config.to_options() {
            Ok(options) => prop_assert_eq!(SlotManagerConfig::from_options(options), Ok(config)),
            Err(ConfigError::Inexpressible { key, value }) if key == "external-resources" => {
                prop_assert_eq!(value, name);
            }
            Err(error) => prop_assert!(is_of_a_large_amount(&error), "{}", error),
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
    fn worker_divides_its_resources_or_is_refused(
        slots in prop_oneof![any::<u32>(), 0..=WorkerDescription::MAX_SLOTS],
        bytes: u64,
        units in any_units(),
    ) {
        let total = divisible(units, bytes);
        match WorkerDescription::from_total(&total, slots) {
            Ok(worker) => prop_assert_eq!(worker.total(), &total),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 20 } else { 500 }))]

    /// One rounding: the profile of a slot is that of a request for the quotients.
    #[test]
    fn slot_of_a_worker_is_exactly_a_request_for_its_part_of_the_total(
        units in any_units(),
        bytes: u64,
    ) {
        let total = divisible(units, bytes);
        for slots in 1..=4096_u32 {
            let worker = WorkerDescription::from_total(&total, slots).expect("a worker");
            let part = |amount: Option<f64>| amount.unwrap_or_default() / f64::from(slots);
            let request = ResourceProfile::builder()
                .cpu_cores(part(total.cpu_cores()))
                .managed_memory_bytes(bytes / u64::from(slots))
                .extended_resource("gpu", part(total.extended_resource("gpu")))
                .build();
            prop_assert_eq!(Ok(worker.slot_profile()), request.as_ref(), "{} slots", slots);
        }
    }
}

/// Units of cores: few, whole cores, and any number. The quotients of the largest are no amounts.
fn any_units() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..10_000_u64,
        (0..100_000_u64).prop_map(|cores| cores * 100_000_000),
        0..u64::MAX / 2
    ]
}

/// A total of a worker, with as many units of cores as of an extended resource.
fn divisible(units: u64, bytes: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(units as f64 / 1e8)
        .managed_memory_bytes(bytes)
        .extended_resource("gpu", units as f64 / 1e8)
        .build()
        .expect("valid amounts")
}

/// No cores, a few, and numbers whose sum overflows.
fn amount() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 0..100_usize, Just(usize::MAX)]
}
