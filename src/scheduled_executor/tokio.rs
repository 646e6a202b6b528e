use std::time::Duration;

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
/// ```
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
///     let executor = TokioScheduledExecutor::new();
///     let mut manager = SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), executor)?;
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
}

impl TokioScheduledExecutor {
    /// Returns an executor whose origin is the present time.
    #[expect(clippy::disallowed_methods, reason = "only this type reads tokio's clock")]
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

    #[expect(clippy::disallowed_methods, reason = "only this type reads tokio's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + Instant::now().saturating_duration_since(self.origin)
    }

    fn delay_until(&mut self, deadline: Timestamp) -> Sleep {
        let deadline = self.origin + deadline.since_origin().min(FAR_AWAY);
        sleep_until(deadline)
    }
}
