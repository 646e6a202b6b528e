//! How the configuration is read, what it is by default, and what is refused.

use std::time::Duration;

use slot_manager::{Capacity, ConfigError, SlotManagerConfig, SlotMatchingStrategy};

const SECOND: Duration = Duration::from_secs(1);

fn read(options: &[(&str, &str)]) -> Result<SlotManagerConfig, ConfigError> {
    SlotManagerConfig::from_options(options.iter().copied())
}

fn request_timeout(text: &str) -> Duration {
    read(&[("slotmanager.request-timeout", text)])
        .expect("a duration")
        .request_timeout
}

#[test]
fn the_defaults_are_as_documented() {
    let config = SlotManagerConfig::default();
    assert_eq!(config.request_timeout, 300 * SECOND);
    assert_eq!(config.rpc_timeout, 10 * SECOND);
    assert_eq!(config.task_manager_timeout, 30 * SECOND);
    assert_eq!(config.worker_registration_timeout, 300 * SECOND);
    assert_eq!(config.retry_backoff, Duration::from_millis(50));
    assert_eq!(config.max_retry_backoff, 10 * SECOND);
    assert_eq!(config.max_pending_requests, None);
    assert_eq!(config.slot_matching_strategy, SlotMatchingStrategy::FirstFit);
    assert_eq!(config.initial_capacity, Capacity::default());
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn without_options_everything_has_its_default() {
    assert_eq!(read(&[]), Ok(SlotManagerConfig::default()));
}

#[test]
fn every_key_sets_its_value_and_nothing_else() {
    let default = SlotManagerConfig::default;
    let seven = 7 * SECOND;
    let expected = [
        ("slotmanager.request-timeout", default().with_request_timeout(seven)),
        ("slot.request.timeout", default().with_request_timeout(seven)),
        ("pekko.ask.timeout", default().with_rpc_timeout(seven)),
        ("akka.ask.timeout", default().with_rpc_timeout(seven)),
        (
            "resourcemanager.taskmanager-timeout",
            default().with_task_manager_timeout(seven),
        ),
        (
            "slotmanager.taskmanager-timeout",
            default().with_task_manager_timeout(seven),
        ),
        (
            "resourcemanager.taskmanager-registration.timeout",
            default().with_worker_registration_timeout(seven),
        ),
        (
            "slotmanager.retry-backoff.initial",
            default().with_retry_backoff(seven, 10 * SECOND),
        ),
        (
            "slotmanager.retry-backoff.max",
            default().with_retry_backoff(Duration::from_millis(50), seven),
        ),
    ];
    for (key, config) in expected {
        assert_eq!(read(&[(key, "7 s")]), Ok(config), "{key}");
    }
    assert_eq!(
        read(&[("slotmanager.pending-requests.max", "7")]),
        Ok(default().with_max_pending_requests(Some(7)))
    );
    assert_eq!(
        read(&[("cluster.evenly-spread-out-slots", "true")]),
        Ok(default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization))
    );
    assert_eq!(read(&[("cluster.evenly-spread-out-slots", "false")]), Ok(default()));
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
fn of_two_keys_for_one_value_the_first_counts_whatever_their_order() {
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
fn of_a_key_given_twice_the_last_counts() {
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
fn durations_are_written_as_people_do() {
    for (text, expected) in [
        ("10 s", 10 * SECOND),
        ("10s", 10 * SECOND),
        ("5 min", 300 * SECOND),
        ("1h 30m", 5400 * SECOND),
        ("250ms", Duration::from_millis(250)),
        ("250 ms", Duration::from_millis(250)),
        ("1 d", 86_400 * SECOND),
        ("20 us", Duration::from_micros(20)),
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
fn never_is_written_as_inf() {
    for text in ["inf", "Inf", "INF", "infinite", "Infinity", " inf "] {
        assert_eq!(request_timeout(text), Duration::MAX, "{text:?}");
    }
}

#[test]
fn a_duration_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for text in [
        "soon",
        "",
        " ",
        "-1",
        "-5 s",
        "10 parsecs",
        "s",
        "10 s later",
        "99999999999999999999",
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

/// Also of a key that another one outranks.
#[test]
fn a_value_that_does_not_count_must_be_right_all_the_same() {
    assert!(read(&[("pekko.ask.timeout", "1 s"), ("akka.ask.timeout", "soon")]).is_err());
    assert!(read(&[("akka.ask.timeout", "soon"), ("akka.ask.timeout", "1 s")]).is_err());
}

#[test]
fn a_limit_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for text in ["many", "-1", "1.5", "", "10 s"] {
        let error = read(&[("slotmanager.pending-requests.max", text)]).expect_err("not a number");
        assert_eq!(
            error.to_string(),
            format!("slotmanager.pending-requests.max: {text:?} is not a number of requests or \"inf\"")
        );
    }
}

#[test]
fn a_capacity_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for key in ["task-managers", "slots", "pending-requests"].map(|what| format!("slotmanager.initial-capacity.{what}"))
    {
        for text in ["many", "-1", "1e6", "", "inf"] {
            let error = read(&[(&key, text)]).expect_err("not a number");
            assert_eq!(error.to_string(), format!("{key}: {text:?} is not a number"));
        }
        let error = read(&[(&key, "1073741825")]).expect_err("too large");
        assert_eq!(error.to_string(), format!("{key}: 1073741825 is more than 1073741824"));
    }
}

#[test]
fn a_choice_that_cannot_be_read_is_refused_with_its_key_and_value() {
    for text in ["yes", "1", "", "TRUE "] {
        let error = read(&[("cluster.evenly-spread-out-slots", text)]).expect_err("neither");
        assert_eq!(
            error.to_string(),
            format!("cluster.evenly-spread-out-slots: {text:?} is not \"true\" or \"false\"")
        );
    }
}

#[test]
fn unknown_keys_of_the_slot_manager_are_reported() {
    for key in [
        "slotmanager.request-timout",
        "slotmanager.",
        "slotmanager.retry-backoff",
        "slotmanager.number-of-slots",
    ] {
        let error = read(&[(key, "5 s")]).expect_err("no such key");
        assert_eq!(
            error,
            ConfigError::UnknownKey {
                key: key.to_owned(),
                value: "5 s".to_owned(),
            }
        );
        assert_eq!(
            error.to_string(),
            format!("{key}: there is no such option (its value is \"5 s\")")
        );
    }
}

#[test]
fn other_unknown_keys_belong_to_others() {
    let config = read(&[
        ("taskmanager.numberOfSlots", "4"),
        ("slotmanager", "x"),
        ("slotmanagers.request-timeout", "x"),
        ("resourcemanager.taskmanager", "x"),
        ("akka.ask", ""),
        ("", ""),
    ]);
    assert_eq!(config, Ok(SlotManagerConfig::default()));
}

#[test]
fn the_first_mistake_in_the_order_given_is_told() {
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

#[test]
fn what_was_read_is_validated() {
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
    // Only the whole counts, not the way to it.
    let both = read(&[
        ("slotmanager.retry-backoff.initial", "11 s"),
        ("slotmanager.retry-backoff.max", "11 s"),
    ]);
    assert_eq!(
        both,
        Ok(SlotManagerConfig::default().with_retry_backoff(11 * SECOND, 11 * SECOND))
    );
}

#[test]
fn validation_refuses_only_what_cannot_work() {
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
    let too_short = default().with_retry_backoff(SECOND, SECOND - Duration::from_nanos(1));
    assert!(too_short.validate().is_err());
    assert_eq!(
        default().with_max_pending_requests(Some(0)).validate(),
        Err(ConfigError::NoPendingRequests)
    );
}

/// Options as a service has them: owned, and in a map.
#[test]
fn options_may_be_any_pairs_of_texts() {
    let options = std::collections::BTreeMap::from([
        ("akka.ask.timeout".to_owned(), "3 s".to_owned()),
        ("slot.request.timeout".to_owned(), "60000".to_owned()),
    ]);
    let config = SlotManagerConfig::from_options(&options).expect("all are right");
    assert_eq!(config.rpc_timeout, 3 * SECOND);
    assert_eq!(config.request_timeout, 60 * SECOND);
}
