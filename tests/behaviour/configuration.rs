//! Configuration: its defaults, and the values that validation refuses.

use std::time::Duration;

use slot_manager::config::{Capacity, Limit, WorkerPolicy};
use slot_manager::error::ConfigError;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{ResourceProfile, SlotManager, SlotManagerConfig};

use crate::common::{MILLISECOND, NANOSECOND, SECOND, patient, profile, worker_of, workers_of};

const MEBIBYTE: u64 = 1 << 20;

const MIN: &str = "slotmanager.number-of-slots.min";

const REDUNDANT: &str = "slotmanager.redundant-taskmanager-num";

const MIN_CPU: &str = "slotmanager.min-total-resource.cpu";

const MIN_MEMORY: &str = "slotmanager.min-total-resource.memory";

/// Checks that a validation refuses a minimum or the redundancy, as more than a limit allows.
#[track_caller]
fn assert_contradictory(validation: Result<(), ConfigError>, wanted: &str, workers: usize, limit: Limit) {
    let error = validation.expect_err("contradictory limits");
    let ConfigError::ContradictoryLimits {
        wanted: refused,
        workers: needed,
        limit: exceeded,
        ..
    } = error
    else {
        panic!("refused for another reason: {error}");
    };
    assert_eq!((refused, needed, exceeded), (wanted, workers, limit));
}

#[test]
fn defaults_are_as_documented() {
    let config = SlotManagerConfig::default();
    assert_eq!(config.request_timeout, 300 * SECOND);
    assert_eq!(config.rpc_timeout, 10 * SECOND);
    assert_eq!(config.task_manager_timeout, 30 * SECOND);
    assert_eq!(config.worker_registration_timeout, 120 * SECOND);
    assert_eq!(config.max_start_failure_rate, 10);
    assert_eq!(config.start_retry_interval, 3 * SECOND);
    assert_eq!(config.retry_backoff, 50 * MILLISECOND);
    assert_eq!(config.max_retry_backoff, 10 * SECOND);
    assert_eq!(config.max_pending_requests, None);
    assert_eq!(config.slot_matching_strategy, SlotMatchingStrategy::FirstFit);
    assert_eq!(config.initial_capacity, Capacity::default());
    assert_eq!(config.workers, None);
    assert!(!config.fail_unfulfillable_requests);
    assert_eq!(config.unfulfillable_grace_period, Duration::ZERO);
    assert_eq!(config.recovery_timeout, Duration::ZERO);
    assert_eq!(config.hash_seed, None);
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn described_workers_have_neither_limits_nor_reserves_by_default() {
    let policy = WorkerPolicy::from(worker_of(2, &profile(1.0, 100)));
    assert_eq!(policy.description, worker_of(2, &profile(1.0, 100)));
    assert_eq!((policy.min_slots, policy.max_slots), (0, None));
    assert_eq!((policy.min_total_cpu_cores, policy.min_total_memory_bytes), (0.0, 0));
    assert_eq!(policy.max_total_cpu_cores, None);
    assert_eq!(policy.max_total_memory_bytes, None);
    assert_eq!(policy.redundant_task_managers, 0);
}

#[test]
fn workers_are_set_by_a_policy_by_a_description_or_to_none() {
    let config = patient().with_workers(workers_of(2));
    assert_eq!(config.workers, Some(workers_of(2)));
    let config = config.with_workers(worker_of(3, &ResourceProfile::ANY));
    assert_eq!(
        config.workers,
        Some(WorkerPolicy::new(worker_of(3, &ResourceProfile::ANY)))
    );
    assert_eq!(config.with_workers(None), patient());
}

#[test]
fn validation_accepts_extreme_values() {
    let default = SlotManagerConfig::default;
    for config in [
        default().with_request_timeout(Duration::ZERO),
        default().with_rpc_timeout(Duration::MAX),
        default().with_task_manager_timeout(Duration::ZERO),
        default().with_worker_registration_timeout(Duration::MAX),
        default().with_retry_backoff(Duration::ZERO, Duration::ZERO),
        default().with_retry_backoff(Duration::MAX, Duration::MAX),
        default().with_max_pending_requests(Some(1)),
        default().with_initial_capacity(Capacity {
            slots: Capacity::MAX,
            ..Capacity::default()
        }),
    ] {
        assert_eq!(config.validate(), Ok(()));
    }
}

#[test]
fn maximum_backoff_is_not_shorter_than_the_initial_one() {
    let too_short = SlotManagerConfig::default().with_retry_backoff(SECOND, SECOND - NANOSECOND);
    assert_eq!(
        too_short.validate(),
        Err(ConfigError::MaxRetryBackoffTooShort {
            max: SECOND - NANOSECOND,
            initial: SECOND,
        })
    );
}

#[test]
fn cap_of_requests_is_not_zero() {
    let config = SlotManagerConfig::default().with_max_pending_requests(Some(0));
    assert_eq!(config.validate(), Err(ConfigError::NoPendingRequests));
}

// Contradictory limits.

#[test]
fn min_slots_fit_within_the_slot_limit_in_whole_workers() {
    let validate = |min, max| {
        patient()
            .with_workers(workers_of(4).with_min_slots(min).with_max_slots(Some(max)))
            .validate()
    };
    assert_contradictory(validate(5, 7), MIN, 2, Limit::Slots);
    assert_eq!(validate(5, 8), Ok(()));
    assert_eq!(validate(4, 4), Ok(()));
    assert_contradictory(validate(1, 3), MIN, 1, Limit::Slots);
    assert_contradictory(validate(9, 8), MIN, 3, Limit::Slots);
}

#[test]
fn cores_of_the_workers_for_min_slots_fit_within_the_limit() {
    let validate = |cores| {
        patient()
            .with_workers(workers_of(4).with_min_slots(5).with_max_total_cpu_cores(Some(cores)))
            .validate()
    };
    assert_contradictory(validate(7.99), MIN, 2, Limit::CpuCores);
    assert_eq!(validate(8.0), Ok(()));
}

#[test]
fn memory_of_the_workers_for_min_slots_fits_within_the_limit() {
    let validate = |bytes| {
        patient()
            .with_workers(workers_of(4).with_min_slots(5).with_max_total_memory_bytes(Some(bytes)))
            .validate()
    };
    assert_contradictory(validate(800 * MEBIBYTE - 1), MIN, 2, Limit::Memory);
    assert_eq!(validate(800 * MEBIBYTE), Ok(()));
}

#[test]
fn workers_for_the_minimum_resources_fit_within_the_limits() {
    let validate = |workers: fn(WorkerPolicy) -> WorkerPolicy, max| {
        let limited = workers(workers_of(4)).with_max_slots(Some(max));
        patient().with_workers(limited).validate()
    };
    let cores = |workers: WorkerPolicy| workers.with_min_total_cpu_cores(4.5);
    let memory = |workers: WorkerPolicy| workers.with_min_total_memory_bytes(400 * MEBIBYTE + 1);
    for (workers, wanted) in [(cores as fn(_) -> _, MIN_CPU), (memory, MIN_MEMORY)] {
        assert_contradictory(validate(workers, 7), wanted, 2, Limit::Slots);
        assert_eq!(validate(workers, 8), Ok(()));
    }
}

#[test]
fn minimum_of_a_resource_that_workers_do_not_have_is_refused() {
    let any = || WorkerPolicy::new(worker_of(4, &ResourceProfile::ANY));
    for (workers, key, value) in [
        (any().with_min_total_cpu_cores(0.5), MIN_CPU, "0.5"),
        (any().with_min_total_memory_bytes(1), MIN_MEMORY, "1"),
    ] {
        let error = patient().with_workers(workers).validate().expect_err("never reached");
        let expected = format!("{key}: \"{value}\" is never reached, because the described workers have none");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn redundant_workers_fit_within_the_limits() {
    let validate = |max| {
        patient()
            .with_workers(workers_of(4).with_redundant_task_managers(2).with_max_slots(Some(max)))
            .validate()
    };
    assert_contradictory(validate(7), REDUNDANT, 2, Limit::Slots);
    assert_eq!(validate(8), Ok(()));
}

#[test]
fn limit_below_one_worker_is_valid_if_no_worker_is_needed() {
    assert_eq!(
        patient().with_workers(workers_of(4).with_max_slots(Some(1))).validate(),
        Ok(())
    );
    assert_eq!(
        patient().with_workers(workers_of(4).with_max_slots(Some(0))).validate(),
        Ok(())
    );
    assert_eq!(
        patient()
            .with_workers(workers_of(4).with_max_total_cpu_cores(Some(0.0)))
            .validate(),
        Ok(())
    );
}

/// Products of large numbers do not overflow (FLINK-32254).
#[test]
fn million_slots_of_a_terabyte_are_counted_exactly() {
    const TERABYTE: u64 = 1 << 40;

    // given
    let slot = ResourceProfile::builder().managed_memory_bytes(TERABYTE).build();
    let workers = WorkerPolicy::new(worker_of(10, &slot.expect("a valid amount"))).with_min_slots(1_000_000);
    let validate = |bytes| {
        let limited = workers.clone().with_max_total_memory_bytes(Some(bytes));
        patient().with_workers(limited).validate()
    };

    // when, then
    assert_eq!(validate(1_000_000 * TERABYTE), Ok(()));
    assert_contradictory(validate(1_000_000 * TERABYTE - 1), MIN, 100_000, Limit::Memory);
}

#[test]
fn totals_that_overflow_exceed_every_limit() {
    // given
    let huge = ResourceProfile::builder().managed_memory_bytes(1 << 62).build();
    let workers = || WorkerPolicy::new(worker_of(3, huge.as_ref().expect("a valid amount")));
    let validate = |workers: WorkerPolicy| patient().with_workers(workers).validate();
    let most = Capacity::MAX;

    // when, then: the total exceeds the limit
    assert_contradictory(
        validate(
            workers()
                .with_min_slots(most)
                .with_max_total_memory_bytes(Some(u64::MAX)),
        ),
        MIN,
        most.div_ceil(3),
        Limit::Memory,
    );

    // when, then: the number of slots exceeds the capacity
    let too_large = |key, value: usize, capacity| {
        let value = value.to_string();
        Err(ConfigError::CapacityTooLarge { key, value, capacity })
    };
    assert_eq!(
        validate(workers().with_min_slots(most + 1)),
        too_large(MIN, most + 1, most + 1)
    );
    let redundant = |redundant| validate(workers().with_redundant_task_managers(redundant));
    let third = most / 3;
    assert_eq!(redundant(third), Ok(()));
    assert_eq!(redundant(third + 1), too_large(REDUNDANT, third + 1, (third + 1) * 3));
    assert_eq!(redundant(usize::MAX), too_large(REDUNDANT, usize::MAX, usize::MAX));
}

#[test]
fn cores_are_multiplied_exactly() {
    let validate = |min| {
        patient()
            .with_workers(
                WorkerPolicy::new(worker_of(1, &profile(0.1, 0)))
                    .with_min_slots(min)
                    .with_max_total_cpu_cores(Some(0.3)),
            )
            .validate()
    };
    assert_eq!(validate(3), Ok(()));
    assert_contradictory(validate(4), MIN, 4, Limit::CpuCores);
}

#[test]
fn error_of_a_contradiction_shows_both_options() {
    let config = patient().with_workers(workers_of(4).with_min_slots(5).with_max_slots(Some(7)));
    assert_eq!(
        config.validate().expect_err("contradictory").to_string(),
        "slotmanager.number-of-slots.min: \"5\" needs 2 workers, more than slotmanager.number-of-slots.max: \"7\" allows"
    );
}

#[test]
fn no_manager_is_created_with_contradictory_limits() {
    // given
    let make = |config: SlotManagerConfig| {
        SlotManager::<RecordingActions, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new()).err()
    };
    let at_most = |slots| patient().with_workers(workers_of(4).with_min_slots(5).with_max_slots(Some(slots)));

    // when, then
    assert_eq!(make(at_most(8)), None);
    let error = make(at_most(7)).expect("contradictory limits");
    assert_contradictory(Err(error), MIN, 2, Limit::Slots);
}

// Invalid values.

#[test]
fn invalid_number_of_cores_is_refused_with_its_key() {
    for cores in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        for (workers, key) in [
            (
                workers_of(1).with_max_total_cpu_cores(Some(cores)),
                "slotmanager.max-total-resource.cpu",
            ),
            (workers_of(1).with_min_total_cpu_cores(cores), MIN_CPU),
        ] {
            let error = patient().with_workers(workers).validate().expect_err("no amount");
            let expected = format!("{key}: \"{cores}\" is not a number of cores");
            assert_eq!(error.to_string(), expected);
        }
    }
}
