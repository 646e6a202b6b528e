//! Options with Flink's keys: how they are read, and which are refused.
//!
//! The options of workers and limits are in `worker_options`.

use std::time::Duration;

use slot_manager::SlotManagerConfig;
use slot_manager::config::{Capacity, Limit};
use slot_manager::error::ConfigError;
use slot_manager::matching::SlotMatchingStrategy;

use crate::common::{MILLISECOND, SECOND};

fn read(options: &[(&str, &str)]) -> Result<SlotManagerConfig, ConfigError> {
    SlotManagerConfig::from_options(options.iter().copied())
}

fn request_timeout(text: &str) -> Duration {
    read(&[("slotmanager.request-timeout", text)])
        .expect("a duration")
        .request_timeout
}

/// Checks that a value is refused, and that the error names the key, the value and the format.
#[track_caller]
fn assert_refused(key: &str, value: &str, expected: &str) {
    let error = read(&[(key, value)]).expect_err("an invalid value");
    assert_eq!(error.to_string(), format!("{key}: {value:?} is not {expected}"));
}

// Keys.

#[test]
fn every_option_has_a_default() {
    assert_eq!(read(&[]), Ok(SlotManagerConfig::default()));
}

#[test]
fn every_key_sets_its_value_and_nothing_else() {
    let default = SlotManagerConfig::default;
    let seven = 7 * SECOND;
    let expected = [
        (
            "slotmanager.request-timeout",
            "7 s",
            default().with_request_timeout(seven),
        ),
        ("slot.request.timeout", "7 s", default().with_request_timeout(seven)),
        ("pekko.ask.timeout", "7 s", default().with_rpc_timeout(seven)),
        ("akka.ask.timeout", "7 s", default().with_rpc_timeout(seven)),
        (
            "resourcemanager.taskmanager-timeout",
            "7 s",
            default().with_task_manager_timeout(seven),
        ),
        (
            "slotmanager.taskmanager-timeout",
            "7 s",
            default().with_task_manager_timeout(seven),
        ),
        (
            "resourcemanager.taskmanager-registration.timeout",
            "7 s",
            default().with_worker_registration_timeout(seven),
        ),
        (
            "resourcemanager.start-worker.retry-interval",
            "7 s",
            default().with_start_retry_interval(seven),
        ),
        (
            "slotmanager.retry-backoff.initial",
            "7 s",
            default().with_retry_backoff(seven, 10 * SECOND),
        ),
        (
            "slotmanager.retry-backoff.max",
            "7 s",
            default().with_retry_backoff(50 * MILLISECOND, seven),
        ),
        (
            "resourcemanager.standalone.start-up-time",
            "7 s",
            default().with_unfulfillable_grace_period(seven),
        ),
        (
            "resourcemanager.previous-worker.recovery.timeout",
            "7 s",
            default().with_recovery_timeout(seven),
        ),
        (
            "slotmanager.pending-requests.max",
            "7",
            default().with_max_pending_requests(Some(7)),
        ),
        (
            "slotmanager.requirement-check.delay",
            "7 s",
            default().with_requirement_check_delay(seven),
        ),
        (
            "slotmanager.reservation.delay",
            "7 s",
            default().with_reservation_delay(seven),
        ),
        ("slotmanager.hash-seed", "7", default().with_hash_seed(Some(7))),
        ("slotmanager.hash-seed", " Random ", default()),
        (
            "slotmanager.fail-unfulfillable-requests",
            "true",
            default().with_fail_unfulfillable_requests(true),
        ),
        (
            "slotmanager.matching-strategy",
            "best-fit",
            default().with_slot_matching_strategy(SlotMatchingStrategy::BestFit),
        ),
        (
            "cluster.evenly-spread-out-slots",
            "true",
            default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization),
        ),
        ("cluster.evenly-spread-out-slots", "false", default()),
    ];
    for (key, value, config) in expected {
        assert_eq!(read(&[(key, value)]), Ok(config), "{key}");
    }
    let capacity = [
        ("slotmanager.initial-capacity.task-managers", "1"),
        ("slotmanager.initial-capacity.slots", " 20 "),
        ("slotmanager.initial-capacity.pending-requests", "300"),
    ];
    assert_eq!(
        read(&capacity),
        Ok(default().with_initial_capacity(Capacity {
            task_managers: 1,
            slots: 20,
            pending_requests: 300,
        }))
    );
}

#[test]
fn first_of_two_keys_for_one_value_counts_in_any_order() {
    let pairs = [
        ("slotmanager.request-timeout", "slot.request.timeout"),
        ("pekko.ask.timeout", "akka.ask.timeout"),
        ("resourcemanager.taskmanager-timeout", "slotmanager.taskmanager-timeout"),
    ];
    for (first, fallback) in pairs {
        let expected = read(&[(first, "1 s")]);
        assert_ne!(expected, read(&[(fallback, "2 s")]));
        assert_eq!(read(&[(first, "1 s"), (fallback, "2 s")]), expected, "{first}");
        assert_eq!(read(&[(fallback, "2 s"), (first, "1 s")]), expected, "{first}");
    }
}

#[test]
fn last_value_of_a_repeated_key_counts() {
    let config = read(&[
        ("slotmanager.request-timeout", "1 s"),
        ("slotmanager.request-timeout", "2 s"),
        ("slotmanager.pending-requests.max", "5"),
        ("slotmanager.pending-requests.max", "inf"),
    ]);
    assert_eq!(
        config,
        Ok(SlotManagerConfig::default().with_request_timeout(2 * SECOND))
    );
}

#[test]
fn options_may_be_any_pairs_of_texts() {
    // given: owned texts in a map
    let options = std::collections::BTreeMap::from([
        ("akka.ask.timeout".to_owned(), "3 s".to_owned()),
        ("slot.request.timeout".to_owned(), "60000".to_owned()),
    ]);

    // when
    let config = SlotManagerConfig::from_options(&options).expect("valid options");

    // then
    assert_eq!(config.rpc_timeout, 3 * SECOND);
    assert_eq!(config.request_timeout, 60 * SECOND);
}

#[test]
fn unknown_keys_of_the_slot_manager_are_refused() {
    for key in [
        "slotmanager.",
        "slotmanager.request-timout",
        "slotmanager.retry-backoff",
        "slotmanager.number-of-slots",
        "slotmanager.max-total-resource",
        "slotmanager.redundant-taskmanager-number",
        "slotmanager.matching-strategies",
    ] {
        let error = read(&[(key, "5 s")]).expect_err("an unknown key");
        assert_eq!(
            error,
            ConfigError::UnknownKey {
                key: key.to_owned(),
                value: "5 s".to_owned(),
            }
        );
        assert_eq!(
            error.to_string(),
            format!("{key}: unknown option (its value is \"5 s\")")
        );
    }
}

#[test]
fn other_unknown_keys_are_ignored() {
    let config = read(&[
        ("taskmanager.numberOfSlots", "4"),
        ("taskmanager.memory.process.size", "much"),
        ("taskmanager.memory.network.min", "much"),
        ("external-resource.gpu.driver-factory.class", "x"),
        ("external-resource.gpu", "x"),
        ("slotmanager", "x"),
        ("slotmanagers.request-timeout", "x"),
        ("resourcemanager.taskmanager", "x"),
        ("resourcemanager.standalone", "x"),
        ("akka.ask", ""),
        ("", ""),
    ]);
    assert_eq!(config, Ok(SlotManagerConfig::default()));
}

#[test]
fn unread_keys_are_returned_in_the_given_order() {
    // given
    let options = [
        ("taskmanager.numberOfTaskSlot", "4"),
        ("akka.ask.timeout", "3 s"),
        ("pekko.ask.timeout", "2 s"),
        ("external-resource.gpu.driver-factory.class", "x"),
        ("", ""),
    ];

    // when
    let (config, unread) = SlotManagerConfig::from_options_with_unread(options).expect("valid options");

    // then
    assert_eq!(Ok(config), read(&options));
    assert_eq!(
        unread,
        [
            "taskmanager.numberOfTaskSlot",
            "external-resource.gpu.driver-factory.class",
            ""
        ]
    );
}

#[test]
fn unread_keys_are_no_excuse_for_mistakes() {
    for options in [
        [("x", ""), ("slotmanager.unknown", "x")],
        [("x", ""), ("akka.ask.timeout", "soon")],
    ] {
        let refused = SlotManagerConfig::from_options_with_unread(options);
        assert_eq!(refused.err(), read(&options).err());
        assert!(read(&options).is_err());
    }
}

// Errors.

#[test]
fn first_mistake_in_the_given_order_is_returned() {
    let mistakes = [
        ("slotmanager.pending-requests.max", "many"),
        ("slotmanager.unknown", "x"),
        ("akka.ask.timeout", "soon"),
    ];
    for first in 0..mistakes.len() {
        let mut options = mistakes;
        options.rotate_left(first);
        let error = read(&options).expect_err("three mistakes");
        assert!(error.to_string().starts_with(options[0].0), "{error}");
    }
}

/// Also the value of a key that another key overrides.
#[test]
fn value_that_does_not_count_must_be_valid() {
    assert!(read(&[("pekko.ask.timeout", "1 s"), ("akka.ask.timeout", "soon")]).is_err());
    assert!(read(&[("akka.ask.timeout", "soon"), ("akka.ask.timeout", "1 s")]).is_err());
}

#[test]
fn options_are_validated() {
    assert_eq!(
        read(&[("slotmanager.retry-backoff.initial", "11 s")]),
        Err(ConfigError::MaxRetryBackoffTooShort {
            max: 10 * SECOND,
            initial: 11 * SECOND,
        })
    );
    assert_eq!(
        read(&[("slotmanager.pending-requests.max", "0")]),
        Err(ConfigError::NoPendingRequests)
    );
    assert_eq!(
        read(&[("slotmanager.number-of-slots.max", "7")]),
        Err(ConfigError::NoWorkerDescription {
            key: "slotmanager.number-of-slots.max",
            value: "7".to_owned(),
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
            value: "5".to_owned(),
            workers: 2,
            limit: Limit::Slots,
            limit_value: "7".to_owned(),
        })
    );
    // Only all options together are validated, not each on its own.
    let both = read(&[
        ("slotmanager.retry-backoff.initial", "11 s"),
        ("slotmanager.retry-backoff.max", "11 s"),
    ]);
    assert_eq!(
        both,
        Ok(SlotManagerConfig::default().with_retry_backoff(11 * SECOND, 11 * SECOND))
    );
}

// Durations.

#[test]
fn durations_have_many_notations() {
    for (text, expected) in [
        ("10 s", 10 * SECOND),
        ("10s", 10 * SECOND),
        ("5 min", 300 * SECOND),
        ("1h 30m", 5400 * SECOND),
        ("250ms", Duration::from_millis(250)),
        ("250 ms", Duration::from_millis(250)),
        ("1 d", 86_400 * SECOND),
        ("20 us", Duration::from_micros(20)),
        ("1 s 1 ms 1 ns", SECOND + MILLISECOND + Duration::from_nanos(1)),
        ("18446744073709551615 s 999999999 ns", Duration::MAX),
        ("7ns", Duration::from_nanos(7)),
        ("  3 s ", 3 * SECOND),
        ("0 s", Duration::ZERO),
        ("300000", 300 * SECOND),
        ("0", Duration::ZERO),
        (" 1500 ", Duration::from_millis(1500)),
        ("18446744073709551615", Duration::from_millis(u64::MAX)),
    ] {
        assert_eq!(request_timeout(text), expected, "{text:?}");
    }
}

#[test]
fn durations_have_the_units_of_flink_in_any_case() {
    let units: [(&[&str], Duration); 7] = [
        (&["d", "day", "days", "D", "DAY"], 86_400 * SECOND),
        (&["h", "hour", "hours", "H", "Hours"], 3600 * SECOND),
        (&["m", "min", "minute", "minutes", "M", "MIN"], 60 * SECOND),
        (&["s", "sec", "secs", "second", "seconds", "S", "SECONDS"], SECOND),
        (
            &["ms", "milli", "millis", "millisecond", "milliseconds", "MS", "Millis"],
            MILLISECOND,
        ),
        (
            &["µs", "micro", "micros", "microsecond", "microseconds", "µS", "MICROS"],
            Duration::from_micros(1),
        ),
        (
            &["ns", "nano", "nanos", "nanosecond", "nanoseconds", "NS", "Nano"],
            Duration::from_nanos(1),
        ),
    ];
    for (labels, length) in units {
        for label in labels {
            assert_eq!(request_timeout(&format!("5 {label}")), 5 * length, "{label}");
            assert_eq!(request_timeout(&format!("7{label}")), 7 * length, "{label}");
        }
    }
}

#[test]
fn units_without_a_fixed_length_are_refused() {
    for unit in ["month", "months", "MONTHS", "y", "year", "years", "Y", "w", "week"] {
        assert_refused(
            "slotmanager.request-timeout",
            &format!("5 {unit}"),
            "a duration such as \"10 s\", \"5 min\" or \"inf\"",
        );
    }
}

#[test]
fn request_timeout_of_minus_one_is_unset() {
    const DEFAULT: Duration = Duration::from_secs(300);
    let timeout = |options: &[_]| read(options).expect("valid options").request_timeout;
    let unset = ("slotmanager.request-timeout", " -1 ");
    assert_eq!(timeout(&[unset]), DEFAULT);
    assert_eq!(timeout(&[unset, ("slot.request.timeout", "7 s")]), 7 * SECOND);
    assert_eq!(timeout(&[("slotmanager.request-timeout", "7 s"), unset]), DEFAULT);
    assert_refused(
        "slot.request.timeout",
        "-1",
        "a duration such as \"10 s\", \"5 min\" or \"inf\"",
    );
}

#[test]
fn infinite_duration_is_written_as_inf() {
    for text in ["inf", "Inf", "INF", "infinite", "Infinity", " inf "] {
        assert_eq!(request_timeout(text), Duration::MAX, "{text:?}");
    }
}

#[test]
fn start_up_time_of_minus_one_is_the_request_timeout() {
    // given
    let mut options = [
        ("resourcemanager.standalone.start-up-time", " -1 "),
        ("slotmanager.request-timeout", "7 s"),
    ];

    // when, then: in both orders
    for _ in 0..2 {
        let config = read(&options).expect("valid options");
        assert_eq!(config.unfulfillable_grace_period, 7 * SECOND);
        options.reverse();
    }

    // when, then: without a request timeout, its default
    let config = read(&options[..1]).expect("valid options");
    assert_eq!(config.unfulfillable_grace_period, config.request_timeout);
}

#[test]
fn invalid_duration_is_refused_with_its_key_and_value() {
    for text in [
        "soon",
        "",
        " ",
        "-1",
        "-5 s",
        "+5 s",
        "10 parsecs",
        "s",
        "10 s later",
        "18446744073709551616 s",
        "99999999999999999999 d",
        "9999999999999999999999999999999999999999",
        "1.5 s",
        "10 s 5",
        "NaN",
    ] {
        let refused = read(&[("akka.ask.timeout", text)]);
        assert_eq!(
            refused,
            Err(ConfigError::InvalidValue {
                key: "akka.ask.timeout".to_owned(),
                value: text.to_owned(),
                expected: "a duration such as \"10 s\", \"5 min\" or \"inf\"",
            })
        );
    }
    let error = read(&[("slotmanager.request-timeout", "soon")]).expect_err("not a duration");
    assert_eq!(
        error.to_string(),
        "slotmanager.request-timeout: \"soon\" is not a duration such as \"10 s\", \"5 min\" or \"inf\""
    );
}

#[test]
fn invalid_time_is_refused_with_its_key_and_value() {
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

// Numbers and choices.

#[test]
fn rate_of_failed_starts_is_a_number_that_is_rounded_up() {
    let key = "resourcemanager.start-worker.max-failure-rate";
    for (text, rate) in [("7", 7), ("10.0", 10), ("0.5", 1), ("0", 0)] {
        assert_eq!(
            read(&[(key, text)]),
            Ok(SlotManagerConfig::default().with_max_start_failure_rate(rate))
        );
    }
    for text in ["many", "-1", "NaN", "inf", "1e12", ""] {
        assert_refused(key, text, "a number of failures per minute");
    }
}

#[test]
fn invalid_cap_of_requests_is_refused_with_its_key_and_value() {
    for text in ["many", "-1", "1.5", "", "10 s"] {
        assert_refused(
            "slotmanager.pending-requests.max",
            text,
            "a number of requests or \"inf\"",
        );
    }
}

#[test]
fn invalid_capacity_is_refused_with_its_key_and_value() {
    for key in
        ["task-managers", "slots", "pending-requests"].map(|table| format!("slotmanager.initial-capacity.{table}"))
    {
        for text in ["many", "-1", "1e6", "", "inf"] {
            assert_refused(&key, text, "a number");
        }
        let error = read(&[(&key, "1073741825")]).expect_err("too large");
        assert_eq!(
            error.to_string(),
            format!("{key}: \"1073741825\" takes 1073741825 entries or slots, the maximum is 1073741824")
        );
    }
}

#[test]
fn invalid_seed_is_refused_with_its_key_and_value() {
    for text in ["", "-1", "1.5", "rand", "18446744073709551616"] {
        assert_refused("slotmanager.hash-seed", text, "a number or \"random\"");
    }
}

#[test]
fn invalid_choice_is_refused_with_its_key_and_value() {
    for key in [
        "cluster.evenly-spread-out-slots",
        "slotmanager.fail-unfulfillable-requests",
    ] {
        for text in ["yes", "1", "", "T", "truefalse"] {
            assert_refused(key, text, "\"true\" or \"false\"");
        }
    }
}

#[test]
fn truth_values_are_written_in_any_case() {
    for (texts, fails) in [(["true", "True", "TRUE "], true), (["false", " False", "FALSE"], false)] {
        for text in texts {
            let config = read(&[("slotmanager.fail-unfulfillable-requests", text)]);
            assert_eq!(
                config,
                Ok(SlotManagerConfig::default().with_fail_unfulfillable_requests(fails)),
                "{text:?}"
            );
        }
    }
}

// Matching strategies.

#[test]
fn strategies_have_names() {
    for (value, strategy) in [
        ("first-fit", SlotMatchingStrategy::FirstFit),
        ("best-fit", SlotMatchingStrategy::BestFit),
        ("least-utilization", SlotMatchingStrategy::LeastUtilization),
        (" most-utilization ", SlotMatchingStrategy::MostUtilization),
    ] {
        assert_eq!(
            read(&[("slotmanager.matching-strategy", value)]),
            Ok(SlotManagerConfig::default().with_slot_matching_strategy(strategy))
        );
    }
}

#[test]
fn load_balance_modes_are_strategies() {
    for (value, strategy) in [
        ("NONE", SlotMatchingStrategy::FirstFit),
        ("SLOTS", SlotMatchingStrategy::LeastUtilization),
        ("slots", SlotMatchingStrategy::LeastUtilization),
        (" Min_Resources", SlotMatchingStrategy::MostUtilization),
    ] {
        assert_eq!(
            read(&[("taskmanager.load-balance.mode", value)]),
            Ok(SlotManagerConfig::default().with_slot_matching_strategy(strategy))
        );
    }
}

#[test]
fn first_of_several_keys_for_the_strategy_counts_in_any_order() {
    // given
    let strategy = |options: &[(&str, &str)]| read(options).expect("valid options").slot_matching_strategy;
    let mut options = [
        ("slotmanager.matching-strategy", "best-fit"),
        ("taskmanager.load-balance.mode", "MIN_RESOURCES"),
        ("cluster.evenly-spread-out-slots", "true"),
    ];

    // when, then
    assert_eq!(strategy(&options), SlotMatchingStrategy::BestFit);
    assert_eq!(strategy(&options[1..]), SlotMatchingStrategy::MostUtilization);
    assert_eq!(strategy(&options[2..]), SlotMatchingStrategy::LeastUtilization);

    // when, then: in the other order
    options.reverse();
    assert_eq!(strategy(&options), SlotMatchingStrategy::BestFit);
    assert_eq!(strategy(&options[..2]), SlotMatchingStrategy::MostUtilization);
}

#[test]
fn invalid_strategy_is_refused_with_its_key_and_value() {
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
