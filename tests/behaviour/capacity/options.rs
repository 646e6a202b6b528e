//! The options of all this, with Flink's keys where Flink has one.

use std::time::Duration;

use slot_manager::{
    ConfigError, Limit, ResourceProfile, SlotManagerConfig, SlotMatchingStrategy, WorkerDescription,
    WorkerDescriptionError,
};

use crate::common::SECOND;

const MEBIBYTE: u64 = 1 << 20;
/// What the numbers below are counted in.
const WORKER: (&str, &str) = ("taskmanager.numberOfTaskSlots", "2");

fn read(options: &[(&str, &str)]) -> Result<SlotManagerConfig, ConfigError> {
    SlotManagerConfig::from_options(options.iter().copied())
}

fn default() -> SlotManagerConfig {
    SlotManagerConfig::default()
}

/// A worker of which nothing is known but the number of its slots.
fn anything_in(slots: u32) -> WorkerDescription {
    WorkerDescription::new(slots, ResourceProfile::ANY).expect("a worker")
}

fn description(options: &[(&str, &str)]) -> WorkerDescription {
    let config = read(options).expect("valid options");
    config.worker_description.expect("something is said of it")
}

/// The value is refused, and the key, the value and what is expected are named.
#[track_caller]
fn assert_refused(key: &str, value: &str, expected: &str) {
    let error = read(&[WORKER, (key, value)]).expect_err("refused");
    assert_eq!(error.to_string(), format!("{key}: {value:?} is not {expected}"));
}

#[test]
fn by_default_nothing_is_limited_or_kept() {
    let config = default();
    assert_eq!(config.slot_matching_strategy, SlotMatchingStrategy::FirstFit);
    assert_eq!(config.worker_description, None);
    assert_eq!((config.min_slots, config.max_slots), (0, None));
    assert_eq!(config.max_total_cpu_cores, None);
    assert_eq!(config.max_total_memory_bytes, None);
    assert_eq!(config.redundant_task_managers, 0);
    assert!(!config.fail_unfulfillable_requests);
    assert_eq!(config.unfulfillable_grace_period, Duration::ZERO);
    assert_eq!(config.recovery_timeout, Duration::ZERO);
}

#[test]
fn every_key_sets_its_value_and_nothing_else() {
    let worker = || default().with_worker_description(Some(anything_in(2)));
    let expected = [
        ("slotmanager.number-of-slots.min", "7", worker().with_min_slots(7)),
        (
            "slotmanager.number-of-slots.max",
            " 7 ",
            worker().with_max_slots(Some(7)),
        ),
        (
            "slotmanager.max-total-resource.cpu",
            "7.5",
            worker().with_max_total_cpu_cores(Some(7.5)),
        ),
        (
            "slotmanager.max-total-resource.memory",
            "7 mb",
            worker().with_max_total_memory_bytes(Some(7 * MEBIBYTE)),
        ),
        (
            "slotmanager.redundant-taskmanager-num",
            "7",
            worker().with_redundant_task_managers(7),
        ),
        (
            "slotmanager.fail-unfulfillable-requests",
            "true",
            worker().with_fail_unfulfillable_requests(true),
        ),
        (
            "resourcemanager.standalone.start-up-time",
            "7 s",
            worker().with_unfulfillable_grace_period(7 * SECOND),
        ),
        (
            "resourcemanager.previous-worker.recovery.timeout",
            "7 s",
            worker().with_recovery_timeout(7 * SECOND),
        ),
        (
            "slotmanager.matching-strategy",
            "best-fit",
            worker().with_slot_matching_strategy(SlotMatchingStrategy::BestFit),
        ),
    ];
    for (key, value, config) in expected {
        assert_eq!(read(&[WORKER, (key, value)]), Ok(config), "{key}");
    }
}

// Limits.

#[test]
fn limits_may_be_none_by_name() {
    for value in ["inf", "INFINITE", " infinity "] {
        let config = read(&[
            ("slotmanager.number-of-slots.max", value),
            ("slotmanager.max-total-resource.cpu", value),
            ("slotmanager.max-total-resource.memory", value),
        ]);
        assert_eq!(config, Ok(default()), "{value}");
    }
}

#[test]
fn of_a_limit_given_twice_the_last_counts() {
    let config = read(&[
        ("slotmanager.number-of-slots.max", "7"),
        ("slotmanager.number-of-slots.max", "inf"),
    ]);
    assert_eq!(config, Ok(default()));
}

#[test]
fn numbers_that_cannot_be_read_are_refused_with_their_key_and_value() {
    for value in ["many", "-1", "1.5", "", "10 s"] {
        assert_refused("slotmanager.number-of-slots.min", value, "a number");
        assert_refused("slotmanager.redundant-taskmanager-num", value, "a number");
        assert_refused("slotmanager.number-of-slots.max", value, "a number of slots or \"inf\"");
        assert_refused("taskmanager.numberOfTaskSlots", value, "a number");
        assert_refused("external-resource.gpu.amount", value, "a number");
    }
}

#[test]
fn cores_that_cannot_be_read_are_refused_with_their_key_and_value() {
    for value in ["many", "", "1 s", "0x10"] {
        assert_refused(
            "slotmanager.max-total-resource.cpu",
            value,
            "a number of cores or \"inf\"",
        );
        assert_refused("taskmanager.cpu.cores", value, "a number of cores");
    }
}

/// Numbers, but no amounts of cores: the value is shown as it was given.
#[test]
fn cores_that_are_no_amount_are_refused_with_their_key_and_value() {
    for value in ["-1", "-0.5", "NaN", "nan", "1e300", "-inf"] {
        for key in ["slotmanager.max-total-resource.cpu", "taskmanager.cpu.cores"] {
            let error = read(&[WORKER, (key, value)]).expect_err("no amount");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{key}: {value:?} is not a number of cores")),
                "{error}"
            );
        }
    }
}

#[test]
fn memory_is_written_in_bytes_or_with_a_unit_that_is_a_power_of_1024() {
    for (value, bytes) in [
        ("0", 0),
        ("1024", 1024),
        ("512m", 512 * MEBIBYTE),
        (" 512 mb ", 512 * MEBIBYTE),
        ("4 gb", 4096 * MEBIBYTE),
        ("4 GiB", 4096 * MEBIBYTE),
        ("3 b", 3),
        ("3 bytes", 3),
        ("3k", 3 << 10),
        ("3 kibibytes", 3 << 10),
        ("3MEBIBYTES", 3 << 20),
        ("3 g", 3 << 30),
        ("3 gibibytes", 3 << 30),
        ("3 t", 3 << 40),
        ("3 TB", 3 << 40),
        ("3 tib", 3 << 40),
        ("3 tebibytes", 3 << 40),
        ("16777215 tb", 16_777_215 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        let config = read(&[WORKER, ("slotmanager.max-total-resource.memory", value)]).expect("memory");
        assert_eq!(config.max_total_memory_bytes, Some(bytes), "{value}");
    }
}

#[test]
fn memory_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for key in [
        "slotmanager.max-total-resource.memory",
        "taskmanager.memory.task.heap.size",
        "taskmanager.memory.task.off-heap.size",
        "taskmanager.memory.managed.size",
        "taskmanager.memory.network.max",
    ] {
        for value in [
            "much", "-1", "+1", "", "mb", "1 parsec", "1 p", "1.5 kb", "1.", ".5 gb", "1_024", "1e3", "0x10", "1 kb 2",
        ] {
            assert_refused(key, value, "an amount of memory such as \"512 mb\" or \"4 gb\"");
        }
    }
}

#[test]
fn memory_that_no_number_can_count_is_refused_with_its_key_and_value() {
    for value in [
        "18446744073709551616",
        "184467440737095516159",
        "18446744073709551616 b",
        "18446744073709551615 k",
        "16777216 tb",
        "99999999999999999999 gb",
    ] {
        assert_refused(
            "slotmanager.max-total-resource.memory",
            value,
            "an amount of memory such as \"512 mb\" or \"4 gb\"",
        );
    }
}

#[test]
fn what_was_read_is_validated() {
    assert_eq!(
        read(&[("slotmanager.number-of-slots.max", "7")]),
        Err(ConfigError::NoWorkerDescription {
            key: "slotmanager.number-of-slots.max"
        })
    );
    assert_eq!(
        read(&[
            ("slotmanager.number-of-slots.max", "7"),
            ("slotmanager.number-of-slots.min", "5"),
            ("taskmanager.numberOfTaskSlots", "4"),
        ]),
        Err(ConfigError::ContradictoryLimits {
            wanted: "slotmanager.number-of-slots.min",
            workers: 2,
            limit: Limit::Slots,
        })
    );
}

#[test]
fn a_missing_description_is_told_by_the_key_that_needs_it() {
    let error = read(&[("slotmanager.redundant-taskmanager-num", "1")]).expect_err("nothing is said of workers");
    assert_eq!(
        error.to_string(),
        "slotmanager.redundant-taskmanager-num: needs a worker description, such as taskmanager.numberOfTaskSlots"
    );
}

#[test]
fn limits_are_named_by_their_keys() {
    for (limit, name, key) in [
        (Limit::Slots, "slots", "slotmanager.number-of-slots.max"),
        (Limit::CpuCores, "cpu", "slotmanager.max-total-resource.cpu"),
        (Limit::Memory, "memory", "slotmanager.max-total-resource.memory"),
    ] {
        assert_eq!((limit.to_string().as_str(), limit.key()), (name, key));
    }
}

// Workers.

#[test]
fn a_worker_is_described_by_what_all_its_slots_have_together() {
    let worker = description(&[
        ("taskmanager.numberOfTaskSlots", "4"),
        ("taskmanager.cpu.cores", "2.0"),
        ("taskmanager.memory.task.heap.size", "4k"),
        ("taskmanager.memory.task.off-heap.size", "8k"),
        ("taskmanager.memory.managed.size", "16k"),
        ("taskmanager.memory.network.max", "32k"),
        ("external-resources", "gpu; fpga"),
        ("external-resource.gpu.amount", "2"),
        ("external-resource.fpga.amount", "4"),
    ]);
    let slot = ResourceProfile::builder()
        .cpu_cores(0.5)
        .task_heap_memory_bytes(1 << 10)
        .task_off_heap_memory_bytes(2 << 10)
        .managed_memory_bytes(4 << 10)
        .network_memory_bytes(8 << 10)
        .extended_resource("gpu", 0.5)
        .extended_resource("fpga", 1.0)
        .build()
        .expect("valid amounts");
    assert_eq!(worker, WorkerDescription::new(4, slot).expect("a worker"));
}

#[test]
fn any_option_of_a_worker_describes_it_and_it_has_one_slot_unless_it_is_said() {
    for option in [
        ("taskmanager.cpu.cores", "1"),
        ("taskmanager.memory.task.heap.size", "1"),
        ("taskmanager.memory.task.off-heap.size", "1"),
        ("taskmanager.memory.managed.size", "1"),
        ("taskmanager.memory.network.max", "1"),
        ("external-resources", "gpu"),
    ] {
        assert_eq!(description(&[option]).slots(), 1, "{option:?}");
    }
    assert_eq!(description(&[("taskmanager.numberOfTaskSlots", "3")]), anything_in(3));
}

#[test]
fn only_external_resources_that_are_named_count() {
    let amount = ("external-resource.gpu.amount", "2");
    assert_eq!(read(&[amount]), Ok(default()));
    assert_eq!(read(&[("external-resources", "none"), amount]), Ok(default()));
    assert_eq!(read(&[("external-resources", " ; "), amount]), Ok(default()));
    assert_eq!(description(&[WORKER, amount]), anything_in(2));
    let of_both = description(&[("external-resources", "fpga;gpu"), amount]);
    assert_eq!(of_both.slot_profile().extended_resource("gpu"), Some(2.0));
    assert_eq!(
        of_both.slot_profile().extended_resource("fpga"),
        Some(0.0),
        "nothing is said of its amount"
    );
}

#[test]
fn the_order_of_the_options_does_not_matter() {
    let mut options = [
        ("external-resource.gpu.amount", "2"),
        ("external-resources", "gpu"),
        ("taskmanager.numberOfTaskSlots", "2"),
        ("slotmanager.number-of-slots.max", "4"),
    ];
    let expected = read(&options);
    assert!(expected.is_ok());
    options.reverse();
    assert_eq!(read(&options), expected);
}

#[test]
fn other_options_of_task_managers_belong_to_others() {
    let config = read(&[
        ("taskmanager.memory.process.size", "much"),
        ("taskmanager.memory.network.min", "much"),
        ("external-resource.gpu.driver-factory.class", "x"),
        ("external-resource.gpu", "x"),
        ("resourcemanager.standalone", "x"),
    ]);
    assert_eq!(config, Ok(default()));
}

#[test]
fn options_that_describe_no_worker_are_refused() {
    let error = read(&[("taskmanager.numberOfTaskSlots", "0")]).expect_err("no slots");
    assert_eq!(error, ConfigError::WorkerDescription(WorkerDescriptionError::NoSlots));
    assert_eq!(error.to_string(), "taskmanager.*: a worker has at least one slot");
}

#[test]
fn options_of_a_worker_that_no_profile_can_count_are_refused() {
    let most = u64::MAX.to_string();
    let too_much = [
        ("taskmanager.memory.task.heap.size", most.as_str()),
        ("taskmanager.memory.managed.size", "1"),
    ];
    let twice = [("external-resources", "gpu;gpu"), ("external-resource.gpu.amount", "1")];
    for options in [too_much, twice] {
        let error = read(&options).expect_err("no profile");
        assert!(
            matches!(
                error,
                ConfigError::WorkerDescription(WorkerDescriptionError::ResourceProfile(_))
            ),
            "{error}"
        );
    }
}

// Strategies.

#[test]
fn strategies_are_named() {
    for (value, strategy) in [
        ("first-fit", SlotMatchingStrategy::FirstFit),
        ("best-fit", SlotMatchingStrategy::BestFit),
        ("least-utilization", SlotMatchingStrategy::LeastUtilization),
        (" most-utilization ", SlotMatchingStrategy::MostUtilization),
    ] {
        assert_eq!(
            read(&[("slotmanager.matching-strategy", value)]),
            Ok(default().with_slot_matching_strategy(strategy))
        );
    }
}

#[test]
fn modes_of_load_balance_are_strategies() {
    for (value, strategy) in [
        ("NONE", SlotMatchingStrategy::FirstFit),
        ("SLOTS", SlotMatchingStrategy::LeastUtilization),
        ("slots", SlotMatchingStrategy::LeastUtilization),
        (" Min_Resources", SlotMatchingStrategy::MostUtilization),
    ] {
        assert_eq!(
            read(&[("taskmanager.load-balance.mode", value)]),
            Ok(default().with_slot_matching_strategy(strategy))
        );
    }
}

#[test]
fn of_several_keys_for_the_strategy_the_first_counts_whatever_their_order() {
    let strategy = |options: &[(&str, &str)]| read(options).expect("valid options").slot_matching_strategy;
    let mut options = [
        ("slotmanager.matching-strategy", "best-fit"),
        ("taskmanager.load-balance.mode", "MIN_RESOURCES"),
        ("cluster.evenly-spread-out-slots", "true"),
    ];
    assert_eq!(strategy(&options), SlotMatchingStrategy::BestFit);
    assert_eq!(strategy(&options[1..]), SlotMatchingStrategy::MostUtilization);
    assert_eq!(strategy(&options[2..]), SlotMatchingStrategy::LeastUtilization);
    options.reverse();
    assert_eq!(strategy(&options), SlotMatchingStrategy::BestFit);
    assert_eq!(strategy(&options[..2]), SlotMatchingStrategy::MostUtilization);
}

#[test]
fn strategies_that_cannot_be_read_are_refused_with_their_key_and_value() {
    for value in ["", "FIRST-FIT", "custom", "slots"] {
        assert_refused(
            "slotmanager.matching-strategy",
            value,
            "\"first-fit\", \"best-fit\", \"least-utilization\" or \"most-utilization\"",
        );
    }
    for value in ["", "first-fit", "true"] {
        assert_refused(
            "taskmanager.load-balance.mode",
            value,
            "\"NONE\", \"SLOTS\" or \"MIN_RESOURCES\"",
        );
    }
}

// Times and choices.

#[test]
fn a_start_up_time_of_minus_one_is_the_request_timeout() {
    let mut options = [
        ("resourcemanager.standalone.start-up-time", " -1 "),
        ("slotmanager.request-timeout", "7 s"),
    ];
    for _ in 0..2 {
        let config = read(&options).expect("valid options");
        assert_eq!(config.unfulfillable_grace_period, 7 * SECOND);
        options.reverse();
    }
    let config = read(&options[..1]).expect("valid options");
    assert_eq!(config.unfulfillable_grace_period, config.request_timeout, "its default");
}

#[test]
fn times_that_cannot_be_read_are_refused_with_their_key_and_value() {
    for value in ["soon", "", "-2", "-1 s"] {
        for key in [
            "resourcemanager.standalone.start-up-time",
            "resourcemanager.previous-worker.recovery.timeout",
        ] {
            assert_refused(key, value, "a duration such as \"10 s\", \"5 min\" or \"inf\"");
        }
    }
    assert_refused(
        "resourcemanager.previous-worker.recovery.timeout",
        "-1",
        "a duration such as \"10 s\", \"5 min\" or \"inf\"",
    );
}

#[test]
fn a_choice_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for value in ["yes", "1", "", "True"] {
        assert_refused(
            "slotmanager.fail-unfulfillable-requests",
            value,
            "\"true\" or \"false\"",
        );
    }
}

#[test]
fn unknown_keys_near_these_are_reported() {
    for key in [
        "slotmanager.number-of-slots",
        "slotmanager.max-total-resource",
        "slotmanager.redundant-taskmanager-number",
        "slotmanager.matching-strategies",
    ] {
        assert!(
            matches!(read(&[(key, "1")]), Err(ConfigError::UnknownKey { .. })),
            "{key}"
        );
    }
}
