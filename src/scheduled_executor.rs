//! Time: the trait of the clock, and points in time.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::time::Duration;

#[cfg(feature = "serde")]
mod serialized;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub use self::tokio::TokioScheduledExecutor;

/// The manager's only source of time.
///
/// The manager arms at most one delay at a time, and only while it is driven.
///
/// # Example
///
/// A clock for a simulation, which sets the time itself:
///
/// ```
/// use std::cell::Cell;
/// use std::pin::Pin;
/// use std::rc::Rc;
/// use std::task::{Context, Poll};
/// use std::time::Duration;
///
/// use slot_manager::testing::{RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, JobId, LeaderId, ResourceProfile, ScheduledExecutor, SlotManager, SlotManagerConfig,
///     SlotRequest, Timestamp,
/// };
///
/// #[derive(Clone, Default)]
/// struct SimulatedClock(Rc<Cell<Timestamp>>);
///
/// struct SimulatedDelay {
///     clock: SimulatedClock,
///     deadline: Timestamp,
/// }
///
/// impl ScheduledExecutor for SimulatedClock {
///     type Delay = SimulatedDelay;
///
///     fn now(&self) -> Timestamp {
///         self.0.get()
///     }
///
///     fn delay_until(&mut self, deadline: Timestamp) -> SimulatedDelay {
///         SimulatedDelay { clock: self.clone(), deadline }
///     }
/// }
///
/// impl Future for SimulatedDelay {
///     type Output = ();
///
///     // No waker is kept: the simulation drives the manager after each step of time.
///     fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
///         match self.clock.now() >= self.deadline {
///             true => Poll::Ready(()),
///             false => Poll::Pending,
///         }
///     }
/// }
///
/// let clock = SimulatedClock::default();
/// let config = SlotManagerConfig::default().with_request_timeout(Duration::from_secs(60));
/// let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, clock.clone())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let allocation_id = AllocationId::from_u128(1);
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
///
/// // The simulation steps to the next deadline: the request times out.
/// let deadline = manager.next_deadline().ok_or("no deadline is armed")?;
/// assert_eq!(deadline, Timestamp::from_secs(60));
/// clock.0.set(deadline);
/// assert_eq!(manager.run_until_stalled(), 1);
/// assert_eq!(manager.allocation_status(allocation_id), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ScheduledExecutor {
    /// A future that becomes ready at its deadline. Dropping it cancels the delay.
    type Delay: Future<Output = ()>;

    /// Returns the present time.
    ///
    /// Time should not go back. If it does, the manager stays at the latest time it saw.
    fn now(&self) -> Timestamp;

    /// Returns a delay that becomes ready when [`now`](Self::now) has reached `deadline`.
    ///
    /// If the deadline has passed, the delay is ready at once. An early delay costs one extra poll.
    /// A late delay makes timeouts late by as much.
    fn delay_until(&mut self, deadline: Timestamp) -> Self::Delay;
}

/// A point in time, in nanoseconds since the origin of the [`ScheduledExecutor`].
///
/// Arithmetic saturates, and [`Timestamp::MAX`] means never. The range is 584 years.
///
/// With the feature `serde` it is its number of nanoseconds. In human-readable formats, never is
/// null. There, an `Option<Timestamp>` reads never as `None`.
///
/// ```
/// use std::time::Duration;
///
/// use slot_manager::Timestamp;
///
/// let deadline = Timestamp::from_secs(1) + Duration::from_millis(500);
/// assert_eq!(deadline.to_string(), "+1.5s");
/// assert_eq!(deadline - Timestamp::from_secs(1), Duration::from_millis(500));
/// assert_eq!((deadline + Duration::MAX).to_string(), "never");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the executor.
    pub const ZERO: Self = Self(0);
    /// The time that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the time `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the time `milliseconds` after the origin.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// Returns the time `seconds` after the origin.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Returns the number of nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the duration since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Returns the duration from `earlier` to this time; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Adds a duration. The result saturates at [`Timestamp::MAX`].
    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    /// Returns the duration from `earlier` to this time; zero if `earlier` is later.
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
