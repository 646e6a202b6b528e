//! Time: a clock and one delay at a time.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::time::Duration;

#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub use self::tokio::TokioScheduledExecutor;

/// The manager's only source of time.
///
/// The manager asks for at most one delay at a time, and only while it is driven.
pub trait ScheduledExecutor {
    /// Becomes ready at its deadline or later. Dropping it cancels it.
    type Delay: Future<Output = ()>;

    /// The time now. It should not go back; if it does, the manager stays at the latest time it saw.
    fn now(&self) -> Timestamp;

    /// A delay that becomes ready when [`now`](Self::now) has reached `deadline`; at once if it already has.
    ///
    /// One that becomes ready too early costs a needless round, one that is late makes what is due late.
    fn delay_until(&mut self, deadline: Timestamp) -> Self::Delay;
}

/// A point in time: nanoseconds since the origin of the [`ScheduledExecutor`].
///
/// Arithmetic saturates; [`Timestamp::MAX`] means never. The range is 584 years.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the executor.
    pub const ZERO: Self = Self(0);
    /// Never.
    pub const MAX: Self = Self(u64::MAX);

    /// The time `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The time `milliseconds` after the origin.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// The time `seconds` after the origin.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that has passed since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at [`Timestamp::MAX`].
    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.write_str("never");
        }
        write!(f, "+{:?}", self.since_origin())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::from_secs(1) + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MAX + Duration::from_nanos(1), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO - Timestamp::from_secs(1), Duration::ZERO);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
    }

    #[test]
    fn times_are_written_as_durations_since_the_origin() {
        assert_eq!(Timestamp::from_millis(1500).to_string(), "+1.5s");
        assert_eq!(Timestamp::MAX.to_string(), "never");
    }
}
