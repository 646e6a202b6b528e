//! Times at their limits.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::{Timestamp, TokioScheduledExecutor};

fn nanoseconds() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..3_u64,
        u64::MAX - 3..=u64::MAX,
        Just(u64::MAX / 1_000_000),
        Just(u64::MAX / 1_000_000 + 1),
        Just(u64::MAX / 1_000_000_000),
        Just(u64::MAX / 1_000_000_000 + 1),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<Duration>(),
        nanoseconds().prop_map(Duration::from_nanos),
        Just(Duration::MAX),
    ]
}

fn saturated(nanoseconds: u128) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

proptest! {
    #[test]
    fn arithmetic_on_times_is_exact_or_saturates(a in nanoseconds(), b in nanoseconds(), length in duration()) {
        let (time, other) = (Timestamp::from_nanos(a), Timestamp::from_nanos(b));
        prop_assert_eq!(time.as_nanos(), a);
        prop_assert_eq!(time + length, saturated(u128::from(a) + length.as_nanos()));
        prop_assert_eq!(time - other, Duration::from_nanos(a.saturating_sub(b)));
        prop_assert_eq!(time.saturating_duration_since(other), time - other);
        prop_assert_eq!(Timestamp::ZERO + time.since_origin(), time);
        prop_assert_eq!(Timestamp::from_millis(a), saturated(u128::from(a) * 1_000_000));
        prop_assert_eq!(Timestamp::from_secs(a), saturated(u128::from(a) * 1_000_000_000));
        prop_assert_eq!(time.cmp(&other), a.cmp(&b));
        prop_assert_eq!(time.to_string() == "never", time == Timestamp::MAX);
    }

    #[test]
    fn serialized_time_is_read_back_equal(nanoseconds in nanoseconds()) {
        let time = Timestamp::from_nanos(nanoseconds);
        let written = serde_json::to_string(&time)?;
        prop_assert_eq!(written == "null", time == Timestamp::MAX);
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&written)?, time);
        let written = postcard::to_stdvec(&time)?;
        prop_assert_eq!(postcard::from_bytes::<Timestamp>(&written)?, time);
    }

    /// No time is beyond the range of tokio's clock, and wall time agrees with it.
    #[test]
    fn every_time_becomes_an_instant(a in nanoseconds()) {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let executor = TokioScheduledExecutor::new();
        let time = Timestamp::from_nanos(a);
        let instant = executor.instant_of(time);
        prop_assert_eq!(executor.timestamp_of(instant), time.min(Timestamp::ZERO + CENTURY));
        let origin = executor.system_time_of(Timestamp::ZERO).expect("the present");
        prop_assert_eq!(
            executor.system_time_of(time),
            origin.checked_add(time.since_origin()).filter(|_| time != Timestamp::MAX)
        );
    }
}
