//! Texts that are to be options.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::{Capacity, ConfigError, SlotManager, SlotManagerConfig, SlotMatchingStrategy};

use crate::text::{arbitrary, arbitrary_or_nearly, nearly, number};

/// All keys there are.
const KEYS: [&str; 14] = [
    "slotmanager.request-timeout",
    "slot.request.timeout",
    "pekko.ask.timeout",
    "akka.ask.timeout",
    "resourcemanager.taskmanager-timeout",
    "slotmanager.taskmanager-timeout",
    "resourcemanager.taskmanager-registration.timeout",
    "slotmanager.retry-pause.initial",
    "slotmanager.retry-pause.max",
    "slotmanager.pending-requests.max",
    "slotmanager.initial-capacity.task-managers",
    "slotmanager.initial-capacity.slots",
    "slotmanager.initial-capacity.pending-requests",
    "cluster.evenly-spread-out-slots",
];

fn key() -> impl Strategy<Value = String> {
    let known = || prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
    prop_oneof![8 => known(), 1 => nearly(known()), 1 => arbitrary()]
}

/// Durations as people write them, with all units and any number.
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

fn value() -> impl Strategy<Value = String> {
    let right = prop_oneof![duration(), number(), Just("true".to_owned()), Just("false".to_owned())];
    arbitrary_or_nearly(right)
}

/// A duration as an option gives it.
fn written(duration: Duration) -> String {
    if duration == Duration::MAX {
        return "inf".to_owned();
    }
    humantime::format_duration(duration).to_string()
}

/// The options that say what a configuration says.
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
        ("slotmanager.retry-pause.initial", written(config.retry_pause)),
        ("slotmanager.retry-pause.max", written(config.max_retry_pause)),
        (
            "slotmanager.pending-requests.max",
            config
                .max_pending_requests
                .map_or("inf".to_owned(), |limit| limit.to_string()),
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
        (
            "cluster.evenly-spread-out-slots",
            (config.slot_matching_strategy == SlotMatchingStrategy::LeastUtilization).to_string(),
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
                prop_assert_eq!(SlotManagerConfig::from_options(options_of(&config)), Ok(config));
            }
            Err(ConfigError::InvalidValue { key, value, .. } | ConfigError::UnknownKey { key, value }) => {
                prop_assert!(options.contains(&(key, value)));
            }
            Err(error) => prop_assert!(KEYS.iter().any(|key| error.to_string().starts_with(key)), "{}", error),
        }
    }

    #[test]
    fn what_a_refusal_says_is_hardly_longer_than_what_was_given(value in arbitrary()) {
        if let Err(error) = SlotManagerConfig::from_options([("slotmanager.request-timeout", &value)]) {
            prop_assert!(error.to_string().len() <= 10 * value.len() + 200);
        }
    }

    #[test]
    fn whatever_is_configured_a_manager_can_be_made_of_it_or_it_is_refused(
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
            .with_retry_pause(initial, max)
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
}
