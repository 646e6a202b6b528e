use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::{ScheduledExecutor, Timestamp};

/// A century: what tokio's clock is asked for instead of a deadline it cannot express.
const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Time from tokio's clock and timer; honours `tokio::time::pause`. Its timers are exact to a millisecond, never early.
///
/// The manager must be driven inside a tokio runtime whose time is enabled: a delay created outside of one panics, in
/// tokio.
#[derive(Debug, Clone)]
pub struct TokioScheduledExecutor {
    origin: Instant,
}

impl TokioScheduledExecutor {
    /// An executor whose origin is now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks tokio's clock")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for TokioScheduledExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl ScheduledExecutor for TokioScheduledExecutor {
    type Delay = Sleep;

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks tokio's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + Instant::now().saturating_duration_since(self.origin)
    }

    fn delay_until(&mut self, deadline: Timestamp) -> Sleep {
        let deadline = self.origin + deadline.since_origin().min(FAR_AWAY);
        sleep_until(deadline)
    }
}
