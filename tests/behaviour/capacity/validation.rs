//! Numbers that contradict each other, or of which it is not said what they count, are refused by the configuration.

use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{
    Capacity, ConfigError, Limit, ResourceProfile, SlotManager, SlotManagerConfig, WorkerDescription,
    WorkerDescriptionError,
};

use crate::common::{described, patient, profile, worker_of};

const MEBIBYTE: u64 = 1 << 20;
const MIN: &str = "slotmanager.number-of-slots.min";
const REDUNDANT: &str = "slotmanager.redundant-taskmanager-num";

fn contradictory(wanted: &'static str, workers: usize, limit: Limit) -> Result<(), ConfigError> {
    Err(ConfigError::ContradictoryLimits { wanted, workers, limit })
}

#[test]
fn the_slots_that_are_wanted_fit_within_the_limit_in_whole_workers() {
    let validate = |min, max| described(4).with_min_slots(min).with_max_slots(Some(max)).validate();
    assert_eq!(validate(5, 7), contradictory(MIN, 2, Limit::Slots));
    assert_eq!(validate(5, 8), Ok(()));
    assert_eq!(validate(4, 4), Ok(()));
    assert_eq!(validate(1, 3), contradictory(MIN, 1, Limit::Slots));
    assert_eq!(validate(9, 8), contradictory(MIN, 3, Limit::Slots));
}

#[test]
fn the_cores_of_the_workers_that_are_wanted_fit_within_the_limit() {
    let validate = |cores| {
        described(4)
            .with_min_slots(5)
            .with_max_total_cpu_cores(Some(cores))
            .validate()
    };
    assert_eq!(validate(7.99), contradictory(MIN, 2, Limit::CpuCores));
    assert_eq!(validate(8.0), Ok(()));
}

#[test]
fn the_memory_of_the_workers_that_are_wanted_fits_within_the_limit() {
    let validate = |bytes| {
        described(4)
            .with_min_slots(5)
            .with_max_total_memory_bytes(Some(bytes))
            .validate()
    };
    assert_eq!(validate(800 * MEBIBYTE - 1), contradictory(MIN, 2, Limit::Memory));
    assert_eq!(validate(800 * MEBIBYTE), Ok(()));
}

#[test]
fn redundant_workers_fit_within_the_limits() {
    let validate = |max| {
        described(4)
            .with_redundant_task_managers(2)
            .with_max_slots(Some(max))
            .validate()
    };
    assert_eq!(validate(7), contradictory(REDUNDANT, 2, Limit::Slots));
    assert_eq!(validate(8), Ok(()));
}

#[test]
fn a_limit_below_one_worker_contradicts_nothing_if_none_is_wanted() {
    assert_eq!(described(4).with_max_slots(Some(1)).validate(), Ok(()));
    assert_eq!(described(4).with_max_slots(Some(0)).validate(), Ok(()));
    assert_eq!(described(4).with_max_total_cpu_cores(Some(0.0)).validate(), Ok(()));
}

/// FLINK-32254 and its kind: products of large numbers.
#[test]
fn a_million_slots_of_a_terabyte_can_be_counted() {
    const TERABYTE: u64 = 1 << 40;
    let slot = ResourceProfile::builder().managed_memory_bytes(TERABYTE).build();
    let config = patient()
        .with_worker_description(Some(worker_of(10, &slot.expect("a valid amount"))))
        .with_min_slots(1_000_000);
    let validate = |bytes| config.clone().with_max_total_memory_bytes(Some(bytes)).validate();
    assert_eq!(validate(1_000_000 * TERABYTE), Ok(()));
    assert_eq!(
        validate(1_000_000 * TERABYTE - 1),
        contradictory(MIN, 100_000, Limit::Memory)
    );
}

#[test]
fn what_no_number_can_count_is_beyond_every_limit() {
    let huge = ResourceProfile::builder().managed_memory_bytes(1 << 62).build();
    let config = patient().with_worker_description(Some(worker_of(3, &huge.expect("a valid amount"))));
    let most = Capacity::MAX;
    assert_eq!(
        config
            .clone()
            .with_min_slots(most)
            .with_max_total_memory_bytes(Some(u64::MAX))
            .validate(),
        contradictory(MIN, most.div_ceil(3), Limit::Memory)
    );
    let too_large = |key, capacity| Err(ConfigError::CapacityTooLarge { key, capacity });
    assert_eq!(
        config.clone().with_min_slots(most + 1).validate(),
        too_large(MIN, most + 1)
    );
    let redundant = |workers| config.clone().with_redundant_task_managers(workers).validate();
    assert_eq!(redundant(most / 3), Ok(()));
    assert_eq!(redundant(most / 3 + 1), too_large(REDUNDANT, (most / 3 + 1) * 3));
    assert_eq!(redundant(usize::MAX), too_large(REDUNDANT, usize::MAX));
}

#[test]
fn a_worker_has_no_more_slots_than_any_worker() {
    let most = WorkerDescription::MAX_SLOTS;
    assert!(WorkerDescription::new(most, ResourceProfile::ANY).is_ok());
    assert_eq!(
        WorkerDescription::new(most + 1, ResourceProfile::ANY),
        Err(WorkerDescriptionError::TooManySlots { slots: most + 1 })
    );
}

#[test]
fn cores_are_multiplied_exactly() {
    let validate = |min| {
        patient()
            .with_worker_description(Some(worker_of(1, &profile(0.1, 0))))
            .with_min_slots(min)
            .with_max_total_cpu_cores(Some(0.3))
            .validate()
    };
    assert_eq!(validate(3), Ok(()));
    assert_eq!(validate(4), contradictory(MIN, 4, Limit::CpuCores));
}

#[test]
fn numbers_that_are_counted_in_workers_need_a_description() {
    let config = patient;
    for (key, config) in [
        (MIN, config().with_min_slots(1)),
        ("slotmanager.number-of-slots.max", config().with_max_slots(Some(9))),
        (
            "slotmanager.max-total-resource.cpu",
            config().with_max_total_cpu_cores(Some(9.0)),
        ),
        (
            "slotmanager.max-total-resource.memory",
            config().with_max_total_memory_bytes(Some(9)),
        ),
        (REDUNDANT, config().with_redundant_task_managers(1)),
    ] {
        assert_eq!(config.validate(), Err(ConfigError::NoWorkerDescription { key }));
        let described = config.with_worker_description(Some(worker_of(1, &ResourceProfile::ZERO)));
        assert_eq!(described.validate(), Ok(()), "{key}");
    }
}

#[test]
fn cores_that_are_no_amount_are_refused_by_key() {
    for cores in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        let error = described(1)
            .with_max_total_cpu_cores(Some(cores))
            .validate()
            .expect_err("no amount");
        let expected = format!("slotmanager.max-total-resource.cpu: \"{cores}\" is not a number of cores");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_contradiction_says_what_is_wanted_and_what_does_not_allow_it() {
    let config = described(4).with_min_slots(5).with_max_slots(Some(7));
    assert_eq!(
        config.validate().expect_err("contradictory").to_string(),
        "slotmanager.number-of-slots.min: 2 workers are needed, more than slotmanager.number-of-slots.max allows"
    );
}

#[test]
fn no_manager_is_made_of_a_contradiction() {
    let make = |config: SlotManagerConfig| {
        SlotManager::<RecordingActions, ScriptedGateway, _>::new(config, ManualScheduledExecutor::new()).err()
    };
    let config = described(4).with_min_slots(5);
    assert_eq!(make(config.clone().with_max_slots(Some(8))), None);
    let error = make(config.with_max_slots(Some(7)));
    assert_eq!(error, contradictory(MIN, 2, Limit::Slots).err());
}
