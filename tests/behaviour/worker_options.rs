//! Options of workers and limits: how they are read, and which are refused.

use slot_manager::config::{Limit, WorkerDescription, WorkerPolicy};
use slot_manager::error::{ConfigError, WorkerDescriptionError};
use slot_manager::{ResourceProfile, SlotManagerConfig};

const MEBIBYTE: u64 = 1 << 20;

/// An option that describes workers, as limits need it.
const WORKER: (&str, &str) = ("taskmanager.numberOfTaskSlots", "2");

fn read(options: &[(&str, &str)]) -> Result<SlotManagerConfig, ConfigError> {
    SlotManagerConfig::from_options(options.iter().copied())
}

/// A worker with slots of any profile.
fn anything_in(slots: u32) -> WorkerDescription {
    WorkerDescription::new(slots, ResourceProfile::ANY).expect("a worker")
}

/// Returns the worker description that these options contain.
fn description(options: &[(&str, &str)]) -> WorkerDescription {
    let config = read(options).expect("valid options");
    config.workers.expect("a description").description
}

/// Checks that a value is refused, and that the error names the key, the value and the format.
#[track_caller]
fn assert_refused(key: &str, value: &str, expected: &str) {
    let error = read(&[WORKER, (key, value)]).expect_err("an invalid value");
    assert_eq!(error.to_string(), format!("{key}: {value:?} is not {expected}"));
}

#[test]
fn every_key_sets_its_value_and_nothing_else() {
    let worker = || WorkerPolicy::new(anything_in(2));
    let expected = [
        ("slotmanager.number-of-slots.min", "7", worker().with_min_slots(7)),
        ("slotmanager.min-total-resource.cpu", "0", worker()),
        ("slotmanager.min-total-resource.memory", "0 mb", worker()),
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
    ];
    for (key, value, workers) in expected {
        let config = SlotManagerConfig::default().with_workers(workers);
        assert_eq!(read(&[WORKER, (key, value)]), Ok(config), "{key}");
    }
}

#[test]
fn minimum_resources_are_read_in_cores_and_bytes() {
    let options = [
        ("taskmanager.cpu.cores", "1"),
        ("taskmanager.memory.managed.size", "1 mb"),
        ("slotmanager.min-total-resource.cpu", "2.5"),
        ("slotmanager.min-total-resource.memory", "2 mb"),
    ];
    let workers = read(&options).expect("valid options").workers.expect("a description");
    assert_eq!(workers.min_total_cpu_cores, 2.5);
    assert_eq!(workers.min_total_memory_bytes, 2 * MEBIBYTE);
}

// Limits.

#[test]
fn infinite_limit_is_written_as_inf() {
    for value in ["inf", "INFINITE", " infinity "] {
        let config = read(&[
            ("slotmanager.number-of-slots.max", value),
            ("slotmanager.max-total-resource.cpu", value),
            ("slotmanager.max-total-resource.memory", value),
        ]);
        assert_eq!(config, Ok(SlotManagerConfig::default()), "{value}");
    }
}

#[test]
fn last_value_of_a_repeated_limit_counts() {
    let config = read(&[
        ("slotmanager.number-of-slots.max", "7"),
        ("slotmanager.number-of-slots.max", "inf"),
    ]);
    assert_eq!(config, Ok(SlotManagerConfig::default()));
}

#[test]
fn limits_have_names_and_keys() {
    for (limit, name, key) in [
        (Limit::Slots, "slots", "slotmanager.number-of-slots.max"),
        (Limit::CpuCores, "cpu", "slotmanager.max-total-resource.cpu"),
        (Limit::Memory, "memory", "slotmanager.max-total-resource.memory"),
    ] {
        assert_eq!((limit.to_string().as_str(), limit.key()), (name, key));
    }
}

#[test]
fn invalid_number_is_refused_with_its_key_and_value() {
    for value in ["many", "-1", "1.5", "", "10 s"] {
        assert_refused("slotmanager.number-of-slots.min", value, "a number");
        assert_refused("slotmanager.redundant-taskmanager-num", value, "a number");
        assert_refused("slotmanager.number-of-slots.max", value, "a number of slots or \"inf\"");
        assert_refused("taskmanager.numberOfTaskSlots", value, "a number");
    }
}

#[test]
fn invalid_amount_of_an_external_resource_is_refused_with_its_key_and_value() {
    for value in ["many", "-1", "", "10 s", "NaN", "inf", "1e300"] {
        assert_refused("external-resource.gpu.amount", value, "a number");
    }
}

#[test]
fn invalid_cores_are_refused_with_their_key_and_value() {
    for value in ["many", "", "1 s", "0x10"] {
        assert_refused(
            "slotmanager.max-total-resource.cpu",
            value,
            "a number of cores or \"inf\"",
        );
        assert_refused("taskmanager.cpu.cores", value, "a number of cores");
        assert_refused("slotmanager.min-total-resource.cpu", value, "a number of cores");
    }
}

/// Numbers that are no amounts of cores: the error shows the value as it was given.
#[test]
fn impossible_cores_are_refused_with_their_key_and_value() {
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
fn memory_is_written_in_bytes_or_with_a_binary_unit() {
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
        let workers = config.workers.expect("a worker");
        assert_eq!(workers.max_total_memory_bytes, Some(bytes), "{value}");
    }
}

#[test]
fn invalid_memory_is_refused_with_its_key_and_value() {
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
fn memory_that_overflows_is_refused_with_its_key_and_value() {
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
fn options_counted_in_workers_need_a_description() {
    for key in [
        "slotmanager.number-of-slots.min",
        "slotmanager.min-total-resource.cpu",
        "slotmanager.min-total-resource.memory",
        "slotmanager.number-of-slots.max",
        "slotmanager.max-total-resource.cpu",
        "slotmanager.max-total-resource.memory",
        "slotmanager.redundant-taskmanager-num",
    ] {
        let value = "1".to_owned();
        assert_eq!(
            read(&[(key, "1")]),
            Err(ConfigError::NoWorkerDescription { key, value })
        );
        let described = [
            ("taskmanager.cpu.cores", "1"),
            ("taskmanager.memory.managed.size", "1"),
            (key, "1"),
        ];
        assert!(read(&described).is_ok(), "{key}");
    }
}

#[test]
fn missing_description_is_refused_with_the_key_that_needs_it() {
    let error = read(&[("slotmanager.redundant-taskmanager-num", "1")]).expect_err("no description");
    assert_eq!(
        error.to_string(),
        "slotmanager.redundant-taskmanager-num: \"1\" needs a worker description, such as taskmanager.numberOfTaskSlots"
    );
}

// Descriptions.

#[test]
fn worker_is_described_by_its_total() {
    // given, when
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

    // then
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
fn worker_has_one_slot_by_default() {
    for option in [
        ("taskmanager.cpu.cores", "1"),
        ("taskmanager.memory.task.heap.size", "1"),
        ("taskmanager.memory.task.off-heap.size", "1"),
        ("taskmanager.memory.managed.size", "1"),
        ("taskmanager.memory.network.max", "1"),
    ] {
        assert_eq!(description(&[option]).slots(), 1, "{option:?}");
    }
    let resource = [("external-resources", "gpu"), ("external-resource.gpu.amount", "1")];
    assert_eq!(description(&resource).slots(), 1);
    assert_eq!(description(&[("taskmanager.numberOfTaskSlots", "3")]), anything_in(3));
}

#[test]
fn external_resources_are_listed_with_semicolons_or_commas() {
    for list in ["gpu;fpga", "gpu,fpga", " gpu , fpga ;", "none;fpga,gpu"] {
        let worker = description(&[
            ("external-resources", list),
            ("external-resource.gpu.amount", "2"),
            ("external-resource.fpga.amount", "1"),
        ]);
        let amount = |name| worker.slot_profile().extended_resource(name);
        assert_eq!((amount("gpu"), amount("fpga")), (Some(2.0), Some(1.0)), "{list:?}");
    }
    for empty in ["", "none", " ; ", ","] {
        assert_eq!(
            read(&[("external-resources", empty)]),
            Ok(SlotManagerConfig::default()),
            "{empty:?}"
        );
    }
}

#[test]
fn listed_resource_without_an_amount_is_refused() {
    let error = read(&[
        ("external-resources", "gpu,fpga"),
        ("external-resource.gpu.amount", "2"),
    ]);
    assert_eq!(
        error.expect_err("no amount").to_string(),
        "external-resources: \"gpu,fpga\" needs external-resource.fpga.amount, which is not given"
    );
}

#[test]
fn amount_of_a_resource_that_is_not_listed_is_refused() {
    let amount = ("external-resource.gpu.amount", " 2");
    for options in [
        vec![amount],
        vec![WORKER, amount],
        vec![("external-resources", "none"), amount],
        vec![
            ("external-resources", "fpga"),
            amount,
            ("external-resource.fpga.amount", "1"),
        ],
    ] {
        assert_eq!(
            read(&options).expect_err("not listed").to_string(),
            "external-resource.gpu.amount: \" 2\" is the amount of a resource that external-resources does not list"
        );
    }
}

#[test]
fn amounts_of_external_resources_may_have_a_fraction() {
    let half = [
        ("external-resources", "gpu"),
        ("external-resource.gpu.amount", " 0.5 "),
        WORKER,
    ];
    let of_a_slot = description(&half).slot_profile().extended_resource("gpu");
    assert_eq!(of_a_slot, Some(0.25));
}

#[test]
fn order_of_options_does_not_matter() {
    // given
    let mut options = [
        ("external-resource.gpu.amount", "2"),
        ("external-resources", "gpu"),
        ("taskmanager.numberOfTaskSlots", "2"),
        ("slotmanager.number-of-slots.max", "4"),
    ];
    let expected = read(&options);
    assert!(expected.is_ok());

    // when
    options.reverse();

    // then
    assert_eq!(read(&options), expected);
}

#[test]
fn worker_without_slots_is_refused() {
    let error = read(&[("taskmanager.numberOfTaskSlots", "0")]).expect_err("no slots");
    assert_eq!(
        error.to_string(),
        "taskmanager.numberOfTaskSlots: \"0\" is refused: 0 slots are too few, a worker has at least 1"
    );
    let error = read(&[
        ("taskmanager.numberOfTaskSlots", "65537"),
        ("taskmanager.cpu.cores", "1"),
    ]);
    assert_eq!(
        error.expect_err("too many slots"),
        ConfigError::WorkerDescription {
            key: "taskmanager.numberOfTaskSlots".to_owned(),
            value: "65537".to_owned(),
            error: Box::new(WorkerDescriptionError::TooManySlots { slots: 65537 }),
        }
    );
}

#[test]
fn worker_whose_total_overflows_is_refused() {
    let most = u64::MAX.to_string();
    let error = read(&[
        ("taskmanager.memory.managed.size", "1"),
        ("taskmanager.memory.task.heap.size", most.as_str()),
    ]);
    assert_eq!(
        error.expect_err("too much memory").to_string(),
        format!("taskmanager.memory.task.heap.size: \"{most}\" is refused: memory: the amount is too large")
    );
}

#[test]
fn resource_that_is_listed_twice_is_refused() {
    let error = read(&[("external-resources", "gpu;gpu"), ("external-resource.gpu.amount", "1")]);
    assert_eq!(
        error.expect_err("a duplicate").to_string(),
        "external-resources: \"gpu;gpu\" is refused: gpu: the extended resource is given twice"
    );
}

// One rounding.

#[test]
fn sixth_of_a_gpu_is_offered_as_it_is_requested() {
    // given
    let worker = description(&[
        ("taskmanager.numberOfTaskSlots", "6"),
        ("external-resources", "gpu"),
        ("external-resource.gpu.amount", "1"),
    ]);

    // when
    let request = ResourceProfile::builder().extended_resource("gpu", 1.0 / 6.0).build();

    // then
    assert_eq!(Ok(worker.slot_profile().clone()), request);
    assert_eq!(worker.slot_profile().to_string(), "{cpu: 0, gpu: 0.16666667}");
}
