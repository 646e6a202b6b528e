use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{ScheduledExecutor, Timestamp};

/// A century. It replaces longer delays, whose deadlines tokio's clock cannot express.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The clock and timer of tokio, as the source of time of a manager.
///
/// It honours `tokio::time::pause`. Its delays are exact to a millisecond and never early.
///
/// The manager must be driven inside a tokio runtime whose time is enabled. Outside such a runtime,
/// tokio panics when a delay is created.
///
/// A [`Timestamp`] becomes an [`Instant`] of tokio, and back, by [`instant_of`](Self::instant_of)
/// and [`timestamp_of`](Self::timestamp_of). [`system_time_of`](Self::system_time_of) makes it wall
/// time. Clones have the same origin, so keep one to convert times of the manager.
///
/// ```
/// use std::time::Duration;
///
/// use slot_manager::testing::{RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest,
///     TokioScheduledExecutor,
/// };
///
/// // The paused clock of tokio moves to the next deadline at once.
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = SlotManagerConfig::default().with_request_timeout(Duration::from_secs(60));
///     let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, TokioScheduledExecutor::new())?;
///     manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///     let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
///     let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
///     assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
///
///     // The request fails at its deadline.
///     assert_eq!(manager.progress().await, 1);
///     assert_eq!(manager.allocation_status(AllocationId::from_u128(1)), None);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct TokioScheduledExecutor {
    origin: Instant,
    /// The wall time at the origin.
    system_origin: SystemTime,
}

impl TokioScheduledExecutor {
    /// Returns an executor whose origin is the present time.
    ///
    /// It reads the wall clock here, once, for [`system_time_of`](Self::system_time_of).
    #[expect(
        clippy::disallowed_methods,
        reason = "only this type reads tokio's clock; no decision depends on the wall time"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            system_origin: SystemTime::now(),
        }
    }

    /// Returns the instant of tokio's clock at this time.
    ///
    /// [`Timestamp::MAX`] and every other time more than a century after the origin give the
    /// instant a century after it, because tokio's clock cannot express all times.
    ///
    /// ```
    /// use slot_manager::{ScheduledExecutor, Timestamp, TokioScheduledExecutor};
    /// use tokio::time::{Instant, sleep_until};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let executor = TokioScheduledExecutor::new();
    /// let lease_end = Timestamp::from_secs(10);
    /// sleep_until(executor.instant_of(lease_end)).await;
    /// assert!(executor.now() >= lease_end);
    /// # }
    /// ```
    pub fn instant_of(&self, time: Timestamp) -> Instant {
        self.origin + time.since_origin().min(FAR_AWAY)
    }

    /// Returns the time at this instant of tokio's clock.
    ///
    /// An instant before the origin gives [`Timestamp::ZERO`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use slot_manager::{ScheduledExecutor, TokioScheduledExecutor};
    /// use tokio::time::Instant;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let executor = TokioScheduledExecutor::new();
    /// let valid_until = Instant::now() + Duration::from_secs(10);
    /// let valid_until = executor.timestamp_of(valid_until);
    /// assert_eq!(valid_until, executor.now() + Duration::from_secs(10));
    /// # }
    /// ```
    pub fn timestamp_of(&self, instant: Instant) -> Timestamp {
        Timestamp::ZERO + instant.saturating_duration_since(self.origin)
    }

    /// Returns the wall time at this time; `None` for [`Timestamp::MAX`], which is never, and for a
    /// time that a [`SystemTime`] cannot express.
    ///
    /// The wall time is that of the creation of the executor plus the time since then. Later steps
    /// of the wall clock, and sleep of the machine, are not seen. Show the result to people, and
    /// decide nothing by it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use slot_manager::{Timestamp, TokioScheduledExecutor};
    ///
    /// let executor = TokioScheduledExecutor::new();
    /// let created = executor.system_time_of(Timestamp::ZERO).ok_or("out of range")?;
    /// let later = executor.system_time_of(Timestamp::from_secs(60)).ok_or("out of range")?;
    /// assert_eq!(later.duration_since(created)?, Duration::from_secs(60));
    /// assert_eq!(executor.system_time_of(Timestamp::MAX), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn system_time_of(&self, time: Timestamp) -> Option<SystemTime> {
        if time == Timestamp::MAX {
            return None;
        }
        self.system_origin.checked_add(time.since_origin())
    }
}

impl Default for TokioScheduledExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl ScheduledExecutor for TokioScheduledExecutor {
    type Delay = Sleep;

    #[expect(clippy::disallowed_methods, reason = "only this type reads tokio's clock")]
    fn now(&self) -> Timestamp {
        self.timestamp_of(Instant::now())
    }

    fn delay_until(&mut self, deadline: Timestamp) -> Sleep {
        sleep_until(self.instant_of(deadline))
    }
}
