//! The configuration back to options, and as the map of its options with the feature `serde`.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, from_value, json, to_value};
use slot_manager::config::{Capacity, WorkerDescription, WorkerPolicy};
use slot_manager::error::ConfigError;
use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy};
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::common::{NANOSECOND, SECOND, patient, small, worker_of, workers_of};

fn default() -> SlotManagerConfig {
    SlotManagerConfig::default()
}

/// Returns the value that a configuration writes for a key.
#[track_caller]
fn written(config: &SlotManagerConfig, key: &str) -> String {
    let options = config.to_options().expect("a written form");
    let mut values = options.into_iter().filter(|(written, _)| written == key);
    let (_, value) = values.next().expect("a value for the key");
    assert_eq!(values.next(), None, "each key is written once");
    value
}

#[track_caller]
fn assert_read_back(config: &SlotManagerConfig) {
    let options = config.to_options().expect("a written form");
    assert_eq!(SlotManagerConfig::from_options(options).as_ref(), Ok(config));
    let json = to_value(config).expect("a written form");
    assert_eq!(&from_value::<SlotManagerConfig>(json).expect("its own form"), config);
}

#[track_caller]
fn assert_inexpressible(config: &SlotManagerConfig, key: &str, value: &str) {
    let error = config.to_options().expect_err("no written form");
    assert_eq!(
        error,
        ConfigError::Inexpressible {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    );
    assert_eq!(error.to_string(), format!("{key}: no option expresses {value:?}"));
    let refused = to_value(config).expect_err("no serialized form");
    assert_eq!(refused.to_string(), error.to_string());
}

fn with_resource(name: &str, amount: f64) -> SlotManagerConfig {
    let profile = ResourceProfile::builder().extended_resource(name, amount).build();
    default().with_workers(worker_of(1, &profile.expect("a valid amount")))
}

// Options.

#[test]
fn every_value_is_written_with_its_first_key_in_the_order_of_the_fields() {
    let slot = ResourceProfile::builder()
        .cpu_cores(0.5)
        .task_heap_memory_bytes(1 << 30)
        .managed_memory_bytes(3)
        .extended_resource("gpu", 0.25)
        .extended_resource("fpga", 1.0)
        .build()
        .expect("valid amounts");
    let config = default()
        .with_slot_matching_strategy(SlotMatchingStrategy::MostUtilization)
        .with_workers(
            WorkerPolicy::new(worker_of(4, &slot))
                .with_min_slots(8)
                .with_max_total_cpu_cores(Some(99.5)),
        );
    let expected = [
        ("slotmanager.request-timeout", "5 min"),
        ("pekko.ask.timeout", "10 s"),
        ("resourcemanager.taskmanager-timeout", "30 s"),
        ("resourcemanager.taskmanager-registration.timeout", "2 min"),
        ("resourcemanager.start-worker.max-failure-rate", "10"),
        ("resourcemanager.start-worker.retry-interval", "3 s"),
        ("slotmanager.retry-backoff.initial", "50 ms"),
        ("slotmanager.retry-backoff.max", "10 s"),
        ("slotmanager.pending-requests.max", "inf"),
        ("slotmanager.requirement-check.delay", "50 ms"),
        ("slotmanager.reservation.delay", "inf"),
        ("slotmanager.matching-strategy", "most-utilization"),
        ("taskmanager.numberOfTaskSlots", "4"),
        ("taskmanager.cpu.cores", "2"),
        ("taskmanager.memory.task.heap.size", "4 gb"),
        ("taskmanager.memory.task.off-heap.size", "0 b"),
        ("taskmanager.memory.managed.size", "12 b"),
        ("taskmanager.memory.network.max", "0 b"),
        ("external-resources", "fpga;gpu"),
        ("external-resource.fpga.amount", "4"),
        ("external-resource.gpu.amount", "1"),
        ("slotmanager.number-of-slots.min", "8"),
        ("slotmanager.min-total-resource.cpu", "0"),
        ("slotmanager.min-total-resource.memory", "0 b"),
        ("slotmanager.number-of-slots.max", "inf"),
        ("slotmanager.max-total-resource.cpu", "99.5"),
        ("slotmanager.max-total-resource.memory", "inf"),
        ("slotmanager.redundant-taskmanager-num", "0"),
        ("slotmanager.fail-unfulfillable-requests", "false"),
        ("resourcemanager.standalone.start-up-time", "0 s"),
        ("resourcemanager.previous-worker.recovery.timeout", "0 s"),
        ("slotmanager.initial-capacity.task-managers", "0"),
        ("slotmanager.initial-capacity.slots", "0"),
        ("slotmanager.initial-capacity.pending-requests", "0"),
        ("slotmanager.hash-seed", "random"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(config.to_options().expect("a written form"), expected);
    assert_read_back(&config);
}

#[test]
fn keys_of_workers_are_left_out_if_no_worker_is_described() {
    let options = default().to_options().expect("a written form");
    assert_eq!(options.len(), 19);
    assert!(options.iter().all(|(key, _)| !key.starts_with("taskmanager.")));
    assert_read_back(&default());
}

#[test]
fn every_field_is_read_back() {
    let seven = 7 * SECOND;
    for config in [
        default().with_request_timeout(seven),
        default().with_rpc_timeout(seven),
        default().with_task_manager_timeout(seven),
        default().with_max_start_failure_rate(7),
        default().with_start_retry_interval(seven),
        default().with_worker_registration_timeout(seven),
        default().with_retry_backoff(seven, 2 * seven),
        default().with_max_pending_requests(Some(7)),
        default().with_requirement_check_delay(seven),
        default().with_reservation_delay(seven),
        default().with_slot_matching_strategy(SlotMatchingStrategy::BestFit),
        default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization),
        default().with_workers(workers_of(7)),
        default().with_workers(workers_of(7).with_min_slots(7)),
        default().with_workers(workers_of(7).with_min_total_cpu_cores(7.1)),
        default().with_workers(workers_of(7).with_min_total_memory_bytes(7)),
        default().with_workers(workers_of(7).with_max_slots(Some(7))),
        default().with_workers(workers_of(7).with_max_total_cpu_cores(Some(0.1))),
        default().with_workers(workers_of(7).with_max_total_memory_bytes(Some(u64::MAX))),
        default().with_workers(workers_of(7).with_redundant_task_managers(7)),
        default().with_fail_unfulfillable_requests(true),
        default().with_unfulfillable_grace_period(seven),
        default().with_recovery_timeout(seven),
        default().with_hash_seed(Some(u64::MAX)),
        default().with_initial_capacity(Capacity {
            task_managers: 1,
            slots: 2,
            pending_requests: 3,
        }),
        patient(),
    ] {
        assert_ne!(config, default());
        assert_read_back(&config);
    }
}

#[test]
fn durations_are_written_exactly_in_the_largest_unit() {
    for (duration, expected) in [
        (Duration::ZERO, "0 s"),
        (NANOSECOND, "1 ns"),
        (Duration::from_micros(1500), "1500 micros"),
        (Duration::from_millis(1500), "1500 ms"),
        (90 * SECOND, "90 s"),
        (90 * 60 * SECOND, "90 min"),
        (36 * 3600 * SECOND, "36 h"),
        (35 * 86_400 * SECOND, "35 d"),
        (Duration::new(1 << 40, 1_000_000), "1099511627776001 ms"),
        (Duration::from_secs(u64::MAX), "18446744073709551615 s"),
        (Duration::MAX - NANOSECOND, "18446744073709551615999999998 ns"),
        (Duration::MAX, "inf"),
    ] {
        let config = default().with_request_timeout(duration);
        assert_eq!(written(&config, "slotmanager.request-timeout"), expected);
        assert_read_back(&config);
    }
}

#[test]
fn memory_is_written_exactly_in_the_largest_unit() {
    for (bytes, expected) in [
        (0, "0 b"),
        (1023, "1023 b"),
        (3 << 10, "3 kb"),
        (1536 << 20, "1536 mb"),
        (4 << 30, "4 gb"),
        (5 << 40, "5 tb"),
        (1 << 63, "8388608 tb"),
        (u64::MAX, "18446744073709551615 b"),
    ] {
        let config = default().with_workers(workers_of(1).with_max_total_memory_bytes(Some(bytes)));
        assert_eq!(written(&config, "slotmanager.max-total-resource.memory"), expected);
        assert_read_back(&config);
    }
}

#[test]
fn workers_with_any_slots_and_with_empty_slots_differ() {
    let any = default().with_workers(worker_of(3, &ResourceProfile::ANY));
    let zero = default().with_workers(worker_of(3, &ResourceProfile::ZERO));
    assert_ne!(any.to_options(), zero.to_options());
    assert_read_back(&any);
    assert_read_back(&zero);
}

/// A third of a core is 33333333 units, and three thirds are 99999999.
#[test]
fn total_that_was_divided_is_written_and_not_the_sum_of_rounded_slots() {
    let total = ResourceProfile::builder()
        .cpu_cores(1.0)
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let worker = WorkerDescription::from_total(&total, 3).expect("a worker");
    let config = default().with_workers(worker);
    assert_eq!(written(&config, "taskmanager.cpu.cores"), "1");
    assert_eq!(written(&config, "external-resource.gpu.amount"), "1");
    assert_read_back(&config);

    // given: the rounded slots
    let third = config
        .workers
        .expect("a description")
        .description
        .slot_profile()
        .clone();

    // when, then
    let config = default().with_workers(worker_of(3, &third));
    assert_eq!(written(&config, "taskmanager.cpu.cores"), "0.99999999");
    assert_read_back(&config);
}

// Values without a written form.

#[derive(Debug)]
struct Own;

impl SlotMatching for Own {
    fn compare(&self, _: &ResourceProfile, _: &Candidate<'_>, _: &Candidate<'_>) -> Ordering {
        Ordering::Equal
    }
}

#[test]
fn custom_strategy_has_no_written_form() {
    let strategy = SlotMatchingStrategy::Custom(Arc::new(Own));
    let config = default().with_slot_matching_strategy(strategy);
    assert_inexpressible(&config, "slotmanager.matching-strategy", "Custom(Own)");
}

#[test]
fn names_that_no_list_of_names_has_are_refused() {
    for name in ["a;b", "a,b", ";", ",", "", " gpu", "gpu\n", "none"] {
        assert_inexpressible(&with_resource(name, 1.0), "external-resources", name);
    }
    for name in [
        "None",
        "gpu.amount",
        "a b",
        "a: b",
        "external-resource.gpu.amount",
        "cpu",
        "ä",
    ] {
        assert_read_back(&with_resource(name, 1.0));
    }
}

#[test]
fn amounts_with_too_many_digits_are_refused() {
    // given: an odd number of units that no `f64` equals
    let unit = ResourceProfile::builder()
        .cpu_cores(1e-8)
        .extended_resource("gpu", 1e-8)
        .build();
    let unit = unit.expect("valid amounts");
    let cores = ResourceProfile::builder().cpu_cores(1e11).build();
    let gpus = ResourceProfile::builder().extended_resource("gpu", 1e11).build();
    let with = |large: &ResourceProfile| {
        let odd = large.checked_add(&unit).expect("no overflow");
        default().with_workers(worker_of(1, &odd))
    };

    // when, then
    assert_inexpressible(
        &with(&cores.expect("a valid amount")),
        "taskmanager.cpu.cores",
        "100000000000",
    );
    assert_inexpressible(
        &with(&gpus.expect("a valid amount")),
        "external-resource.gpu.amount",
        "100000000000",
    );
}

/// The largest amount reads as the number that stands for it.
#[test]
fn largest_amount_is_read_back() {
    let unit = ResourceProfile::builder()
        .cpu_cores(1e-8)
        .build()
        .expect("a valid amount");
    let largest = unit.checked_mul(u64::MAX).expect("no overflow");
    let config = default().with_workers(worker_of(1, &largest));
    let options = config.to_options().expect("a written form");
    assert_eq!(SlotManagerConfig::from_options(options), Ok(config));
}

#[test]
fn invalid_configuration_has_no_written_form() {
    let config = default().with_max_pending_requests(Some(0));
    assert_eq!(config.to_options(), Err(ConfigError::NoPendingRequests));
    let refused = to_value(&config).expect_err("no serialized form");
    assert_eq!(refused.to_string(), ConfigError::NoPendingRequests.to_string());
}

// Serialized.

#[test]
fn configuration_is_serialized_as_the_map_of_its_options() {
    let config = default().with_workers(workers_of(2).with_max_slots(Some(10)));
    let options = config.to_options().expect("a written form").into_iter();
    let map = options.map(|(key, value)| (key, Value::String(value))).collect();
    assert_eq!(to_value(&config).expect("a written form"), Value::Object(map));
}

#[test]
fn options_that_are_absent_in_json_have_their_defaults() {
    assert_eq!(from_value::<SlotManagerConfig>(json!({})).expect("a map"), default());
    let other = json!({ "state.backend.type": "rocksdb", "akka.ask.timeout": "3 s" });
    assert_eq!(
        from_value::<SlotManagerConfig>(other).expect("a map"),
        default().with_rpc_timeout(3 * SECOND)
    );
}

#[test]
fn numbers_and_truth_values_in_json_are_read_as_their_texts() {
    let json = json!({
        "slotmanager.request-timeout": 1500,
        "slotmanager.fail-unfulfillable-requests": true,
        "taskmanager.numberOfTaskSlots": 2,
        "taskmanager.cpu.cores": 2.5,
        "resourcemanager.standalone.start-up-time": -1,
    });
    let config: SlotManagerConfig = from_value(json).expect("valid options");
    let slot = ResourceProfile::builder()
        .cpu_cores(1.25)
        .build()
        .expect("a valid amount");
    let expected = default()
        .with_request_timeout(Duration::from_millis(1500))
        .with_unfulfillable_grace_period(Duration::from_millis(1500))
        .with_fail_unfulfillable_requests(true)
        .with_workers(worker_of(2, &slot));
    assert_eq!(config, expected);
}

#[test]
fn json_that_is_no_valid_configuration_is_refused_with_its_key() {
    for (json, message) in [
        (
            json!({ "slotmanager.number-of-slot.max": "7" }),
            "slotmanager.number-of-slot.max: unknown option (its value is \"7\")",
        ),
        (
            json!({ "slotmanager.pending-requests.max": "many" }),
            "slotmanager.pending-requests.max: \"many\" is not a number of requests or \"inf\"",
        ),
        (
            json!({ "slotmanager.number-of-slots.max": 7 }),
            "slotmanager.number-of-slots.max: \"7\" needs a worker description, such as taskmanager.numberOfTaskSlots",
        ),
        (json!([]), "invalid type: sequence, expected a map of options"),
        (
            json!({ "akka.ask.timeout": null }),
            "invalid type: null, expected a text, a number, `true` or `false`",
        ),
    ] {
        let error = from_value::<SlotManagerConfig>(json).expect_err("invalid");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn parts_of_a_configuration_are_read_back_alone() {
    // given
    let policy = WorkerPolicy::new(worker_of(4, &ResourceProfile::ANY))
        .with_min_slots(1)
        .with_max_slots(Some(2))
        .with_max_total_cpu_cores(Some(0.5))
        .with_max_total_memory_bytes(Some(3))
        .with_redundant_task_managers(4);
    let capacity = Capacity {
        task_managers: 1,
        slots: 2,
        pending_requests: 3,
    };

    // when
    let (written_policy, written_capacity) = (to_value(&policy), to_value(capacity));

    // then
    let (written_policy, written_capacity) = (written_policy.expect("written"), written_capacity.expect("written"));
    assert_eq!(
        written_policy,
        json!({
            "description": { "slots": 4, "slot_profile": "any", "total": "any" },
            "min_slots": 1,
            "min_total_cpu_cores": 0.0,
            "min_total_memory_bytes": 0,
            "max_slots": 2,
            "max_total_cpu_cores": 0.5,
            "max_total_memory_bytes": 3,
            "redundant_task_managers": 4,
        })
    );
    assert_eq!(
        from_value::<WorkerPolicy>(written_policy).expect("its own form"),
        policy
    );
    assert_eq!(
        written_capacity,
        json!({ "task_managers": 1, "slots": 2, "pending_requests": 3 })
    );
    assert_eq!(
        from_value::<Capacity>(written_capacity).expect("its own form"),
        capacity
    );
}

#[test]
fn absent_fields_of_a_worker_policy_and_of_a_capacity_have_their_defaults() {
    let policy = json!({ "description": to_value(worker_of(1, &small())).expect("written") });
    assert_eq!(from_value::<WorkerPolicy>(policy).expect("a policy"), workers_of(1));
    let capacity: Capacity = from_value(json!({ "slots": 9 })).expect("a capacity");
    assert_eq!((capacity.task_managers, capacity.slots), (0, 9));
}

#[test]
fn worker_is_read_back_with_the_total_that_was_divided() {
    // given
    let total = ResourceProfile::builder()
        .cpu_cores(1.0)
        .build()
        .expect("a valid amount");
    let worker = WorkerDescription::from_total(&total, 6).expect("a worker");

    // when
    let written = to_value(&worker).expect("written");

    // then
    let sixth = json!({ "cpu_cores": 0.166_666_67 });
    let expected = json!({ "slots": 6, "slot_profile": sixth, "total": { "cpu_cores": 1.0 } });
    assert_eq!(written, expected);
    assert_eq!(from_value::<WorkerDescription>(written).expect("its own form"), worker);
}

#[test]
fn total_that_does_not_belong_to_the_slots_is_not_read() {
    let json = json!({ "slots": 2, "slot_profile": { "cpu_cores": 1.0 }, "total": { "cpu_cores": 3.0 } });
    let error = from_value::<WorkerDescription>(json).expect_err("another total");
    assert_eq!(
        error.to_string(),
        "2 slots with the profile {cpu: 1} do not have the total {cpu: 3}"
    );
}

#[test]
fn impossible_workers_and_unknown_fields_are_not_read() {
    fn refusal<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: Value) -> String {
        from_value::<T>(json).expect_err("invalid").to_string()
    }
    let no_slots = json!({ "slots": 0, "slot_profile": "any" });
    assert_eq!(
        refusal::<WorkerDescription>(no_slots),
        "0 slots are too few, a worker has at least 1"
    );
    let unknown = json!({ "slots": 1, "slot_profile": "any", "slot": 2 });
    assert!(refusal::<WorkerDescription>(unknown).starts_with("unknown field `slot`"));
    let unknown = json!({ "description": { "slots": 1, "slot_profile": "any" }, "max_slot": 2 });
    assert!(refusal::<WorkerPolicy>(unknown).starts_with("unknown field `max_slot`"));
    assert!(refusal::<WorkerPolicy>(json!({ "max_slots": 2 })).starts_with("missing field `description`"));
    assert!(refusal::<Capacity>(json!({ "slot": 2 })).starts_with("unknown field `slot`"));
}
