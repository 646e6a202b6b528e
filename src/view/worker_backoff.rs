//! The backoff of a worker.

use std::fmt;

use crate::Timestamp;

/// The backoff of a worker on which attempts failed.
///
/// None of its free slots is offered. After the backoff, or before its end for a job that the
/// worker did not refuse, one attempt probes the worker. If the worker acknowledges it, all slots
/// are offered again.
///
/// [`TaskManagerRegistration::backoff`](super::TaskManagerRegistration::backoff) returns it.
///
/// ```
/// use slot_manager::Timestamp;
/// use slot_manager::view::BackoffReason;
/// # use slot_manager::error::SlotAllocationError;
/// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// # use slot_manager::{message::*, outcome::*, *};
/// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
/// # let report = SlotReport::new(vec![SlotStatus::free(slot_id, profile.clone())]);
/// let gateway = ScriptedGateway::new();
/// gateway.answer_requests(Err(SlotAllocationError::unreachable("connection refused")));
/// # let connection = TaskExecutorConnection::new("worker-1", instance_id, gateway);
/// # let registered = manager.register_task_manager(connection, &report)?;
/// # let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
///
/// let task_manager = manager.task_manager(instance_id).ok_or("registered above")?;
/// let backoff = task_manager.backoff().ok_or("the worker cannot be reached")?;
/// assert_eq!(backoff.reason, BackoffReason::Unreachable);
/// assert_eq!(backoff.until, Timestamp::from_millis(50));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WorkerBackoff {
    /// The end of the backoff. It is past while the worker waits for a probe.
    pub until: Timestamp,
    /// The reason for the backoff.
    pub reason: BackoffReason,
}

/// The reason for the backoff of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum BackoffReason {
    /// The worker could not be reached, or did not answer in time.
    Unreachable,
    /// The worker refused different requests in a row.
    Refusals,
}

impl fmt::Display for WorkerBackoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            BackoffReason::Unreachable => "it was unreachable",
            BackoffReason::Refusals => "it refused several requests",
        };
        write!(f, "backs off until {}: {reason}", self.until)
    }
}
