//! Explanations: why a request waits.

use std::fmt;

use crate::config::Limit;
use crate::error::SlotAllocationError;
use crate::outcome::AllocationStatus;
use crate::{AllocationId, JobId, ResourceId, ResourceProfile, SlotId, Timestamp, WorkerRequestId};

/// The status of an allocation, and the reason why it waits.
///
/// [`SlotManager::explain`](crate::SlotManager::explain) returns it. Its `Display` is for
/// operators.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest};
///
/// # let executor = ManualScheduledExecutor::new();
/// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), executor)?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// let allocation_id = AllocationId::from_u128(1);
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile, "job-master-7");
/// assert_eq!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
///
/// // The resource manager has declined to start a worker.
/// let explanation = manager.explain(allocation_id).and_then(|explanation| explanation.request);
/// let waits_for = explanation.map(|request| request.waits_for.to_string());
/// assert_eq!(
///     waits_for.as_deref(),
///     Some("a slot; the resource manager declined to start a worker; next request at +120s")
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Explanation {
    /// The id of the allocation.
    pub allocation_id: AllocationId,
    /// The job of the allocation.
    pub job_id: JobId,
    /// The status of the allocation.
    pub status: AllocationStatus,
    /// The explanation of a request that is not granted.
    pub request: Option<RequestExplanation>,
}

/// The needs of a request that is not granted, and the slots that could serve it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RequestExplanation {
    /// The resources that a slot must have at least.
    pub resource_profile: ResourceProfile,
    /// `true` if the request is part of the declared requirements of its job. It never fails by
    /// time.
    pub is_declared: bool,
    /// The time when the request fails; [`Timestamp::MAX`] is never.
    pub fails_at: Timestamp,
    /// The number of failed attempts. An occupied slot is no failure.
    pub failed_attempts: u32,
    /// The answer to the last attempt that failed or found the slot occupied.
    pub last_failure: Option<SlotAllocationError>,
    /// `true` if attempts for two requests of the job failed in a row, without a grant since. Then
    /// the request comes after those of other jobs.
    pub is_job_suspect: bool,
    /// The number of workers that back off after failed attempts and have a free slot that fits.
    pub backing_off_workers: usize,
    /// The next event that the request waits for, besides a slot becoming free.
    pub waits_for: WaitReason,
    /// The registered slots that fit.
    pub fitting: FittingSlots,
    /// The registered slots that do not fit.
    pub too_small: TooSmallSlots,
    /// The dynamic workers, from which a slot could be cut.
    pub dynamic_workers: FittingWorkers,
    /// The worker that is set aside for the request, or for an older one.
    pub set_aside: Option<SetAsideWorker>,
    /// The number of promised slots that fit.
    pub fitting_promised_slots: usize,
    /// The number of promised slots that do not fit.
    pub too_small_promised_slots: usize,
    /// The promised dynamic workers. Cuts that are bound to requests do not remain.
    pub promised_dynamic_workers: FittingWorkers,
}

/// The next event that a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WaitReason {
    /// The answer of a task executor.
    Answer {
        /// The requested slot.
        slot_id: SlotId,
        /// The time when the attempt is given up.
        until: Timestamp,
    },
    /// The end of the backoff after failed attempts, or a free slot of a worker that the request
    /// was not tried on.
    Backoff {
        /// The time from which the request may be tried on any worker again.
        until: Timestamp,
    },
    /// A promised slot that the request is bound to.
    PromisedWorker {
        /// The worker request that promises the slot.
        worker_request: WorkerRequestId,
        /// The time when the promise ends.
        until: Timestamp,
    },
    /// The next worker request, after the resource manager declined one.
    WorkerDeclined {
        /// The time of the next worker request.
        at: Timestamp,
    },
    /// Room below a limit, which allows no more workers.
    Limit {
        /// The limit that is reached.
        limit: Limit,
    },
    /// The end of the recovery, in which the workers of the former leader register.
    Recovery {
        /// The time when the recovery ends.
        until: Timestamp,
    },
    /// The end of the start backoff. Starts of workers failed too often.
    StartBackoff {
        /// The time when workers are requested again.
        until: Timestamp,
    },
    /// The first of the workers that were requested after a start backoff. Until one registers, no
    /// more are requested.
    EarlierWorkers {
        /// The number of these workers.
        requested: usize,
    },
    /// No other event: no worker that could be started would fit.
    NothingElse,
}

/// The numbers of registered slots that fit a request, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FittingSlots {
    /// Slots that an allocation holds.
    pub allocated: usize,
    /// Slots that are in flight, for this request or another.
    pub in_flight: usize,
    /// Free slots of blocked task managers.
    pub blocked: usize,
    /// Free slots that back off after failed attempts, by themselves or with their worker.
    pub backing_off: usize,
    /// Other free slots. There are some only while the request itself backs off or is in flight,
    /// or if its job is suspect.
    pub free: usize,
}

impl FittingSlots {
    /// Returns the number of slots in all states.
    pub fn total(&self) -> usize {
        self.allocated + self.in_flight + self.blocked + self.backing_off + self.free
    }
}

/// The numbers of registered slots that do not fit a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TooSmallSlots {
    /// The number of slots that do not fit.
    pub slots: usize,
    /// The number of slots that are short of each resource, such as `cpu`, `managed memory` or the
    /// name of an extended resource.
    ///
    /// They are ordered by number, the largest first. One slot may be short of several resources,
    /// or of none that has a name.
    pub shortages: Vec<(String, usize)>,
}

/// The numbers of dynamic workers from which a slot for a request could be cut.
///
/// ```
/// use slot_manager::view::FittingWorkers;
///
/// fn has_hope(workers: &FittingWorkers) -> bool {
///     workers.total_fits > 0
/// }
/// assert!(!has_hope(&FittingWorkers::default()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FittingWorkers {
    /// The number of dynamic workers.
    pub workers: usize,
    /// The number of workers whose total fits.
    pub total_fits: usize,
    /// The number of workers whose remainder fits, too. Registered ones are blocked, back off, were
    /// tried, or are set aside for an older request.
    pub remainder_fits: usize,
    /// The number of workers whose remainder is short of each resource.
    ///
    /// They are ordered by number, the largest first. One worker may be short of several resources.
    pub shortages: Vec<(String, usize)>,
}

/// A dynamic worker that is set aside, as a request sees it.
///
/// See [`reservation_delay`](crate::SlotManagerConfig::reservation_delay).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SetAsideWorker {
    /// The worker is set aside for the request.
    ForIt {
        /// The worker.
        resource_id: ResourceId,
    },
    /// The worker fits the request now, but is set aside for an older one.
    ForAnother {
        /// The worker.
        resource_id: ResourceId,
        /// The allocation id of the older request.
        allocation_id: AllocationId,
    },
}

impl fmt::Display for SetAsideWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForIt { resource_id } => write!(f, "worker {resource_id}"),
            Self::ForAnother {
                resource_id,
                allocation_id,
            } => write!(f, "worker {resource_id} fits, but for allocation {allocation_id}"),
        }
    }
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
        if self.is_declared {
            writeln!(f, "  declared     by the job")?;
        }
        writeln!(f, "  waits for    {}", self.waits_for)?;
        writeln!(f, "  slots        {}", self.fitting)?;
        if self.too_small.slots > 0 {
            writeln!(f, "  too small    {}", self.too_small)?;
        }
        if self.dynamic_workers.workers > 0 {
            writeln!(f, "  dynamic      {}", self.dynamic_workers)?;
        }
        if let Some(set_aside) = &self.set_aside {
            writeln!(f, "  set aside    {set_aside}")?;
        }
        writeln!(
            f,
            "  promised     {} fit, {} too small",
            self.fitting_promised_slots, self.too_small_promised_slots
        )?;
        if self.promised_dynamic_workers.workers > 0 {
            writeln!(f, "  promised     dynamic: {}", self.promised_dynamic_workers)?;
        }
        if self.failed_attempts > 0 {
            writeln!(f, "  attempts     {} failed", self.failed_attempts)?;
        }
        if let Some(failure) = &self.last_failure {
            writeln!(f, "  last answer  {failure}")?;
        }
        if self.backing_off_workers > 0 {
            writeln!(
                f,
                "  backing off  {} workers with a slot that fits",
                self.backing_off_workers
            )?;
        }
        if self.is_job_suspect {
            writeln!(f, "  job          suspect: comes after other jobs until it gets a slot")?;
        }
        write!(f, "  fails        {}", At(self.fails_at))
    }
}

/// The time of an event, for operators.
struct At(Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Timestamp::MAX => f.write_str("never"),
            at => write!(f, "at {at}"),
        }
    }
}

/// The end of a period, for operators.
struct Until(Timestamp);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Timestamp::MAX => f.write_str("without a time limit"),
            until => write!(f, "until {until}"),
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { slot_id, until } => {
                write!(
                    f,
                    "the answer of the task executor about slot {slot_id}, {}",
                    Until(*until)
                )
            }
            Self::Backoff { until } => write!(f, "the end of its backoff, {}", At(*until)),
            Self::PromisedWorker { worker_request, until } => {
                write!(
                    f,
                    "a promised slot of worker request {worker_request}, {}",
                    Until(*until)
                )
            }
            Self::WorkerDeclined { at } => {
                f.write_str("a slot; the resource manager declined to start a worker; ")?;
                match *at {
                    Timestamp::MAX => f.write_str("no further request"),
                    at => write!(f, "next request at {at}"),
                }
            }
            Self::Limit { limit } => write!(f, "a slot; the {limit} limit allows no more workers"),
            Self::Recovery { until } => {
                write!(
                    f,
                    "a slot; no worker is requested during the recovery, {}",
                    Until(*until)
                )
            }
            Self::StartBackoff { until } => {
                write!(
                    f,
                    "a slot; no worker is requested after failed starts, {}",
                    Until(*until)
                )
            }
            Self::EarlierWorkers { requested } => {
                write!(
                    f,
                    "a slot; after failed starts no more workers are requested until one of {requested} registers or fails"
                )
            }
            Self::NothingElse => f.write_str("a slot; no worker that could be started would fit"),
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
        write_shortages(f, &self.shortages)
    }
}

impl fmt::Display for FittingWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} workers: {} fit in total, {} with what remains",
            self.workers, self.total_fits, self.remainder_fits
        )?;
        write_shortages(f, &self.shortages)
    }
}

/// Writes how many slots or workers are short of each resource.
fn write_shortages(f: &mut fmt::Formatter<'_>, shortages: &[(String, usize)]) -> fmt::Result {
    for (index, (resource, number)) in shortages.iter().enumerate() {
        let separator = if index == 0 { ": " } else { ", " };
        write!(f, "{separator}{number} short of {resource}")?;
    }
    Ok(())
}
