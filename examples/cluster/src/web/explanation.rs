//! The explanation of a waiting request, as JSON.

use serde::Serialize;
use slot_manager::view::{FittingSlots, FittingWorkers, RequestExplanation, TooSmallSlots, WaitReason};
use slot_manager::{ResourceProfile, SlotId, Timestamp, WorkerRequestId};

/// The needs of a request that waits, and the slots that could serve it.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    pub resource_profile: ResourceProfile,
    /// The time when the request fails; `null` is never.
    pub fails_at: Timestamp,
    pub failed_attempts: u32,
    /// The last failure, in words.
    pub last_failure: Option<String>,
    /// `true` if attempts for several requests of the job failed in a row: others come first.
    pub is_job_suspect: bool,
    /// The number of workers that back off and have a free slot that fits.
    pub backing_off_workers: usize,
    pub waits_for: WaitsFor,
    /// The registered slots that fit, by state.
    pub fitting: FittingSlots,
    pub too_small: TooSmallSlots,
    /// The dynamic workers from which a slot could be cut.
    pub dynamic_workers: FittingWorkers,
    pub fitting_promised_slots: usize,
    pub too_small_promised_slots: usize,
}

/// The next event that a request waits for. Its name is the field `event`, beside what belongs to
/// it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WaitsFor {
    /// The answer of a task executor.
    Answer { slot_id: SlotId, until: Timestamp },
    /// The end of a backoff after failed attempts.
    Backoff { until: Timestamp },
    /// A worker that was requested.
    PromisedWorker {
        worker_request: WorkerRequestId,
        until: Timestamp,
    },
    /// The next worker request: no worker can be started now.
    WorkerDeclined { until: Timestamp },
    /// Room below a limit, which has the key of its setting.
    Limit { key: &'static str },
    /// The end of the recovery.
    Recovery { until: Timestamp },
    /// The end of the pause after workers failed to start.
    StartBackoff { until: Timestamp },
    /// The first of the workers that were requested after such a pause.
    EarlierWorkers { requested: usize },
    /// No other event than a slot that becomes free.
    NothingElse,
    /// An event that this program does not know.
    Other,
}

impl From<WaitReason> for WaitsFor {
    fn from(reason: WaitReason) -> Self {
        match reason {
            WaitReason::Answer { slot_id, until } => Self::Answer { slot_id, until },
            WaitReason::Backoff { until } => Self::Backoff { until },
            WaitReason::PromisedWorker { worker_request, until } => Self::PromisedWorker { worker_request, until },
            WaitReason::WorkerDeclined { at } => Self::WorkerDeclined { until: at },
            WaitReason::Limit { limit } => Self::Limit { key: limit.key() },
            WaitReason::Recovery { until } => Self::Recovery { until },
            WaitReason::StartBackoff { until } => Self::StartBackoff { until },
            WaitReason::EarlierWorkers { requested } => Self::EarlierWorkers { requested },
            WaitReason::NothingElse => Self::NothingElse,
            _ => Self::Other,
        }
    }
}

impl From<RequestExplanation> for ExplanationView {
    fn from(request: RequestExplanation) -> Self {
        Self {
            resource_profile: request.resource_profile,
            fails_at: request.fails_at,
            failed_attempts: request.failed_attempts,
            last_failure: request.last_failure.map(|failure| failure.to_string()),
            is_job_suspect: request.is_job_suspect,
            backing_off_workers: request.backing_off_workers,
            waits_for: request.waits_for.into(),
            fitting: request.fitting,
            too_small: request.too_small,
            dynamic_workers: request.dynamic_workers,
            fitting_promised_slots: request.fitting_promised_slots,
            too_small_promised_slots: request.too_small_promised_slots,
        }
    }
}
