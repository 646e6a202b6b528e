//! Commands: everything that can happen to a manager.

use std::time::Duration;

use slot_manager::error::{ResourceManagerError, SlotAllocationError};
use slot_manager::message::{
    Acknowledge, AttemptId, Release, ReleaseCheck, ReleaseDecision, SlotFreed, Withdrawal, WorkerPromise,
};
use slot_manager::{
    DynamicResources, LeaderId, ResourceProfile, ResourceRequirements, SlotId, SlotReport, SlotStatus, WorkerRequestId,
};

use crate::common::{allocation, instance, job, profile};

pub(crate) mod text;

/// A command, with numbers as ids. Each one is a line of [`text`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Start {
        leader: u128,
        /// The length of the leadership, if it ends by itself.
        length: Option<Duration>,
    },
    Suspend,
    /// Moves the end of the leadership to this time from now.
    Renew(Duration),
    ExpectWorkers(Vec<String>),
    EndRecovery,
    Request {
        allocation: u128,
        job: u128,
        profile: Shape,
    },
    Cancel {
        allocation: u128,
    },
    Declare {
        job: u128,
        slots: Vec<(Shape, u32)>,
        revision: Option<u64>,
    },
    UnregisterJob {
        job: u128,
    },
    Free {
        slot: SlotId,
        allocation: u128,
        /// The registration, and the revision of its slot table.
        revision: Option<(u128, u64)>,
        /// The attempt under which the allocation held the slot.
        attempt: Option<u64>,
    },
    Register {
        worker: String,
        instance: u128,
        worker_request: Option<WorkerRequestName>,
        answer: Answer,
        report: Report,
    },
    Unregister {
        instance: u128,
    },
    Report {
        instance: u128,
        report: Report,
    },
    WorkerFailed {
        worker_request: WorkerRequestName,
    },
    Block {
        worker: String,
    },
    Unblock {
        worker: String,
    },
    FailUnfulfillable(bool),
    /// The decision about an open release check.
    AnswerRelease {
        check: CheckId,
        answer: ReleaseDecision,
    },
    /// Sets how a task executor answers slot requests: the next one only, or all from now on.
    Answers {
        instance: u128,
        once: bool,
        answer: Answer,
    },
    /// The answer to an attempt that awaits it by a future.
    Answer {
        attempt: u64,
        answer: Answer,
    },
    /// The answer to an attempt as an input.
    AnswerInput {
        attempt: AttemptName,
        answer: Answer,
    },
    /// Sets how the resource manager answers worker requests: the next one only, or all from now
    /// on.
    Workers {
        once: bool,
        promise: Promise,
    },
    /// Sets how the resource manager answers releases: the next one only, or all from now on.
    Releases {
        once: bool,
        accept: bool,
    },
    /// Sets how the resource manager answers withdrawals: the next one only, or all from now on.
    Withdrawals {
        once: bool,
        confirm: bool,
    },
    /// Sets how a task executor answers release checks: the next one only, or all from now on.
    ReleaseAnswers {
        instance: u128,
        once: bool,
        answer: ReleaseDecision,
    },
    Advance(Duration),
    /// Sets the clock back.
    TurnBack(Duration),
    /// Drives the manager until it stalls.
    Run,
}

/// The profiles of requests and slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Small,
    Wide,
    Large,
    Accelerated,
    Any,
    Unknown,
    Zero,
    /// A total of which several slots can be cut.
    Huge,
    /// The same with accelerators.
    Rich,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// The resources of a dynamic worker.
    pub(crate) dynamic: Option<Total>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) revision: Option<u64>,
}

/// The resources of a dynamic worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) total: Shape,
    pub(crate) default_slot: Option<Shape>,
    pub(crate) free: Option<Shape>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) slot: SlotId,
    pub(crate) shape: Shape,
    pub(crate) holder: Option<Holder>,
}

/// The allocation of a slot and its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) allocation: u128,
    pub(crate) job: u128,
}

/// The parts of a [`WorkerRequestId`]. Without a leader it is one of the present leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerRequestName {
    pub(crate) number: u64,
    pub(crate) leader: Option<u128>,
}

/// The parts of an [`AttemptId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptName {
    pub(crate) number: u64,
    pub(crate) allocation: u128,
    pub(crate) leader: u128,
}

/// The parts of a [`ReleaseCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckId {
    pub(crate) number: u64,
    pub(crate) instance: u128,
    pub(crate) leader: u128,
}

/// The answer of a task executor to a slot request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes {
        revision: Option<u64>,
    },
    No,
    Unreachable,
    HeldBy(Holder),
    /// The worker has only this left.
    Insufficient(Shape),
    /// A future. [`Command::Answer`] completes it.
    Later,
    /// The answer is an input, [`Command::AnswerInput`].
    AsInput,
}

/// The answer of the resource manager to a worker request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Promise {
    Slots(Vec<Shape>),
    Total(Total),
    Unspecified,
    Declined,
    Refused,
}

impl Shape {
    pub(crate) const ALL: [Self; 9] = [
        Self::Small,
        Self::Wide,
        Self::Large,
        Self::Accelerated,
        Self::Any,
        Self::Unknown,
        Self::Zero,
        Self::Huge,
        Self::Rich,
    ];

    pub(crate) fn profile(self) -> ResourceProfile {
        match self {
            Self::Small => profile(1.0, 100),
            Self::Wide => profile(2.0, 100),
            Self::Large => profile(2.0, 400),
            Self::Accelerated => with_gpus(1.0, 100, 1.0),
            Self::Huge => profile(5.0, 600),
            Self::Rich => with_gpus(4.0, 700, 2.0),
            Self::Any => ResourceProfile::ANY,
            Self::Unknown => ResourceProfile::UNKNOWN,
            Self::Zero => ResourceProfile::ZERO,
        }
    }

    /// Returns the shape with this profile.
    pub(crate) fn of(profile: &ResourceProfile) -> Self {
        let known = Self::ALL.into_iter().find(|shape| shape.profile() == *profile);
        known.expect("one of the profiles that commands can name")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Wide => "wide",
            Self::Large => "large",
            Self::Accelerated => "accelerated",
            Self::Any => "any",
            Self::Unknown => "unknown",
            Self::Zero => "zero",
            Self::Huge => "huge",
            Self::Rich => "rich",
        }
    }
}

/// Returns a profile with accelerators.
fn with_gpus(cores: f64, mebibytes: u64, gpus: f64) -> ResourceProfile {
    let builder = ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(mebibytes);
    builder.extended_resource("gpu", gpus).build().expect("valid amounts")
}

impl From<Total> for DynamicResources {
    fn from(
        Total {
            total,
            default_slot,
            free,
        }: Total,
    ) -> Self {
        let mut resources = Self::new(total.profile());
        if let Some(default_slot) = default_slot {
            resources = resources.with_default_slot(default_slot.profile());
        }
        match free {
            None => resources,
            Some(free) => resources.with_free(free.profile()),
        }
    }
}

impl From<&Report> for SlotReport {
    fn from(report: &Report) -> Self {
        let status = |status: &Status| {
            let (slot_id, profile) = (status.slot.clone(), status.shape.profile());
            match status.holder {
                None => SlotStatus::free(slot_id, profile),
                Some(holder) => SlotStatus::allocated(slot_id, profile, allocation(holder.allocation), job(holder.job)),
            }
        };
        let statuses = report.statuses.iter().map(status);
        let all = match report.dynamic {
            None => statuses.collect(),
            Some(total) => Self::of_dynamic(total, statuses.collect()),
        };
        match report.revision {
            None => all,
            Some(revision) => all.with_revision(revision),
        }
    }
}

impl WorkerRequestName {
    /// Returns the id. `present` is the present leader.
    pub(crate) fn id(self, present: Option<LeaderId>) -> WorkerRequestId {
        let leader_id = self.leader.map(LeaderId::from_u128).or(present);
        WorkerRequestId::new(leader_id.unwrap_or(LeaderId::from_u128(0)), self.number)
    }
}

impl From<AttemptName> for AttemptId {
    fn from(name: AttemptName) -> Self {
        Self {
            leader_id: LeaderId::from_u128(name.leader),
            allocation_id: allocation(name.allocation),
            number: name.number,
        }
    }
}

impl From<AttemptId> for AttemptName {
    fn from(id: AttemptId) -> Self {
        Self {
            number: id.number,
            allocation: id.allocation_id.as_u128(),
            leader: id.leader_id.as_u128(),
        }
    }
}

/// Returns the requirements of a [`Command::Declare`].
pub(crate) fn requirements(of: u128, slots: &[(Shape, u32)], revision: Option<u64>) -> ResourceRequirements {
    let nothing = ResourceRequirements::new(job(of), format!("job-master-{of}"));
    let all = slots.iter().fold(nothing, |requirements, (shape, slots)| {
        requirements.require(shape.profile(), *slots).expect("few slots")
    });
    match revision {
        None => all,
        Some(revision) => all.with_revision(revision),
    }
}

/// Returns the message of a [`Command::Free`].
pub(crate) fn slot_freed(slot: &SlotId, id: u128, revision: Option<(u128, u64)>, attempt: Option<u64>) -> SlotFreed {
    let mut freed = SlotFreed::new(slot.clone(), allocation(id));
    if let Some((of, revision)) = revision {
        freed = freed.with_revision(instance(of), revision);
    }
    match attempt {
        None => freed,
        Some(attempt) => freed.with_attempt(attempt),
    }
}

impl From<CheckId> for ReleaseCheck {
    fn from(check: CheckId) -> Self {
        Self {
            instance_id: instance(check.instance),
            leader_id: LeaderId::from_u128(check.leader),
            number: check.number,
        }
    }
}

impl From<ReleaseCheck> for CheckId {
    fn from(check: ReleaseCheck) -> Self {
        Self {
            number: check.number,
            instance: check.instance_id.as_u128(),
            leader: check.leader_id.as_u128(),
        }
    }
}

impl Answer {
    /// Returns the answer; `None` if it is not given within the call.
    pub(crate) fn result(self) -> Option<Result<Acknowledge, SlotAllocationError>> {
        match self {
            Self::Yes { revision: None } => Some(Ok(Acknowledge::new())),
            Self::Yes {
                revision: Some(revision),
            } => Some(Ok(Acknowledge::new().with_revision(revision))),
            Self::No => Some(Err(SlotAllocationError::rejected("no"))),
            Self::Unreachable => Some(Err(SlotAllocationError::unreachable("no way"))),
            Self::HeldBy(holder) => Some(Err(SlotAllocationError::Occupied {
                allocation_id: allocation(holder.allocation),
                job_id: job(holder.job),
            })),
            Self::Insufficient(free) => Some(Err(SlotAllocationError::insufficient(free.profile()))),
            Self::Later | Self::AsInput => None,
        }
    }
}

impl Promise {
    pub(crate) fn result(&self) -> Result<WorkerPromise, ResourceManagerError> {
        match self {
            Self::Slots(shapes) => Ok(WorkerPromise::Slots(
                shapes.iter().map(|shape| shape.profile()).collect(),
            )),
            Self::Total(total) => Ok(WorkerPromise::Total((*total).into())),
            Self::Unspecified => Ok(WorkerPromise::Unspecified),
            Self::Declined => Ok(WorkerPromise::Declined),
            Self::Refused => Err(ResourceManagerError::new("no quota")),
        }
    }
}

pub(crate) fn release(accept: bool) -> Release {
    if accept { Release::Accepted } else { Release::Declined }
}

pub(crate) fn withdrawal(confirm: bool) -> Withdrawal {
    if confirm {
        Withdrawal::Confirmed
    } else {
        Withdrawal::TooLate
    }
}
