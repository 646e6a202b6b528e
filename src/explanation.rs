//! Why a request waits.

use std::fmt;

use crate::{
    AllocationId, AllocationStatus, JobId, Limit, ResourceProfile, SlotAllocationError, SlotId, Timestamp,
    WorkerRequestId,
};

/// What an allocation is doing, and if it is not granted, why; made by
/// [`SlotManager::explain`](crate::SlotManager::explain). Its `Display` is for operators.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The allocation.
    pub allocation_id: AllocationId,
    /// Its job.
    pub job_id: JobId,
    /// What it is doing.
    pub status: AllocationStatus,
    /// More of a request that is not granted.
    pub request: Option<RequestExplanation>,
}

/// What a request that is not granted waits for.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RequestExplanation {
    /// The least a slot must have.
    pub resource_profile: ResourceProfile,
    /// When it fails; [`Timestamp::MAX`] is never.
    pub fails_at: Timestamp,
    /// How many attempts failed. That a slot was occupied is no failure.
    pub failed_attempts: u32,
    /// The last answer that was not a yes.
    pub last_failure: Option<SlotAllocationError>,
    /// What has to happen next, beside a slot becoming free.
    pub waits_for: WaitReason,
    /// The registered slots that fit.
    pub fitting: FittingSlots,
    /// The registered slots that do not.
    pub too_small: TooSmallSlots,
    /// Promised slots that fit.
    pub fitting_promised_slots: usize,
    /// Promised slots that do not.
    pub too_small_promised_slots: usize,
}

/// What has to happen next to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WaitReason {
    /// A task executor has to answer.
    Answer {
        /// The slot it was asked for.
        slot_id: SlotId,
        /// When the attempt is given up.
        until: Timestamp,
    },
    /// It pauses after failed attempts.
    Backoff {
        /// When it tries again.
        until: Timestamp,
    },
    /// A worker is coming.
    PromisedWorker {
        /// The request for the worker.
        worker_request: WorkerRequestId,
        /// When it is not waited for any more.
        until: Timestamp,
    },
    /// The resource manager declined to start a worker.
    WorkerDeclined {
        /// When it is asked again.
        at: Timestamp,
    },
    /// A worker more would be beyond a limit.
    Limit {
        /// The limit.
        limit: Limit,
    },
    /// No worker is asked for yet, so that those of the former leader can register first.
    Recovery {
        /// When that is over.
        until: Timestamp,
    },
    /// Only a slot: no worker that could be started would fit.
    NothingElse,
}

/// The registered slots that fit a request, by what they are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FittingSlots {
    /// Held by an allocation.
    pub allocated: usize,
    /// A task executor has been asked for them, for other requests or for this one.
    pub in_flight: usize,
    /// Free, on blocked task managers.
    pub blocked: usize,
    /// Free, and pausing after failed attempts.
    pub backing_off: usize,
    /// Free: only while the request itself pauses or is in flight.
    pub free: usize,
}

impl FittingSlots {
    /// All of them.
    pub fn total(&self) -> usize {
        self.allocated + self.in_flight + self.blocked + self.backing_off + self.free
    }
}

/// The registered slots that do not fit a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TooSmallSlots {
    /// How many they are.
    pub slots: usize,
    /// How many of them have too little of which resource, such as `cpu`, `managed memory` or the name of an extended
    /// resource; ordered by number, the largest first. One slot may lack several, or none that can be named.
    pub shortages: Vec<(String, usize)>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "allocation {} of job {}: {}",
            self.allocation_id, self.job_id, self.status
        )?;
        match &self.request {
            Some(request) => write!(f, "\n{request}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RequestExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  needs        {}", self.resource_profile)?;
        writeln!(f, "  waits for    {}", self.waits_for)?;
        writeln!(f, "  slots        {}", self.fitting)?;
        if self.too_small.slots > 0 {
            writeln!(f, "  too small    {}", self.too_small)?;
        }
        writeln!(
            f,
            "  promised     {} fit, {} are too small",
            self.fitting_promised_slots, self.too_small_promised_slots
        )?;
        if self.failed_attempts > 0 {
            writeln!(f, "  attempts     {} failed", self.failed_attempts)?;
        }
        if let Some(failure) = &self.last_failure {
            writeln!(f, "  last answer  {failure}")?;
        }
        write!(f, "  fails        {}", At(self.fails_at))
    }
}

/// A time that may be never.
struct At(Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Timestamp::MAX => f.write_str("never"),
            at => write!(f, "at {at}"),
        }
    }
}

/// A time up to which something lasts, which may be for ever.
struct Until(Timestamp);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Timestamp::MAX => f.write_str("for ever"),
            until => write!(f, "until {until}"),
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { slot_id, until } => write!(f, "the answer of {slot_id}, {}", Until(*until)),
            Self::Backoff { until } => write!(f, "the end of its backoff, {}", At(*until)),
            Self::PromisedWorker { worker_request, until } => write!(f, "worker {worker_request}, {}", Until(*until)),
            Self::WorkerDeclined { at } => write!(f, "a slot; no worker was to be had, the next ask: {}", At(*at)),
            Self::Limit { limit } => write!(f, "a slot; a worker more would be beyond the limit of {limit}"),
            Self::Recovery { until } => write!(f, "a slot; no worker is asked for {}", Until(*until)),
            Self::NothingElse => write!(f, "a slot; no worker that could be started would fit"),
        }
    }
}

impl fmt::Display for FittingSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} fit: {} allocated, {} in flight, {} blocked, {} backing off, {} free",
            self.total(),
            self.allocated,
            self.in_flight,
            self.blocked,
            self.backing_off,
            self.free
        )
    }
}

impl fmt::Display for TooSmallSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.slots)?;
        for (at, (resource, slots)) in self.shortages.iter().enumerate() {
            let separator = if at == 0 { ": " } else { ", " };
            write!(f, "{separator}{slots} in {resource}")?;
        }
        Ok(())
    }
}
