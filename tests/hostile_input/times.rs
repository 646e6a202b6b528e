//! Times at their limits.

use std::time::Duration;

use proptest::prelude::*;
use slot_manager::Timestamp;

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
}
