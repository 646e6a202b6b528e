//! The outcomes of inputs: each says what the input did, and what the caller does next.
//!
//! Every outcome is `#[must_use]`: an ignored result is a request or a slot that is lost. Bind an
//! outcome before you log it: `tracing::debug!("{}", manager.slot_freed(&freed))` does not call the
//! manager unless the level is enabled. The table in the documentation of
//! [`register_slot_request`](crate::SlotManager::register_slot_request) shows where a caller hears
//! of a result that comes later.

use std::fmt;

use crate::{AllocationId, InstanceId, SlotId, Timestamp};

/// The status of a known allocation.
///
/// ```
/// use slot_manager::outcome::AllocationStatus;
/// use slot_manager::SlotId;
///
/// let status = AllocationStatus::Granted { slot_id: SlotId::new("worker-1", 0) };
/// assert_eq!(status.to_string(), "granted on slot worker-1_0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AllocationStatus {
    /// The request waits for a slot, or backs off after failed attempts.
    Waiting,
    /// An attempt is in flight: the task executor has not answered yet.
    InFlight {
        /// The slot.
        slot_id: SlotId,
    },
    /// The allocation holds a slot.
    Granted {
        /// The slot.
        slot_id: SlotId,
    },
}

impl fmt::Display for AllocationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::InFlight { slot_id } => write!(f, "in flight to slot {slot_id}"),
            Self::Granted { slot_id } => write!(f, "granted on slot {slot_id}"),
        }
    }
}

/// The outcome of [`register_slot_request`](crate::SlotManager::register_slot_request).
///
/// ```
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
///
/// let outcome = SlotRequestOutcome::Accepted(AllocationStatus::Waiting);
/// assert_eq!(outcome.to_string(), "accepted, waiting");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum SlotRequestOutcome {
    /// The request is accepted. The status is its status at the end of the call, or `Granted` if it
    /// was granted within the call.
    ///
    /// Nothing is left to do. A grant within the call has been notified too, and any later end is
    /// notified.
    Accepted(AllocationStatus),
    /// The allocation id was known. Nothing changed. The status is that of the known allocation.
    ///
    /// Tell the job the status, as if its first message had been answered now.
    Duplicate(AllocationStatus),
}

impl fmt::Display for SlotRequestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(status) => write!(f, "accepted, {status}"),
            Self::Duplicate(status) => write!(f, "known already, {status}"),
        }
    }
}

/// The outcome of [`declare_requirements`](crate::SlotManager::declare_requirements).
///
/// ```
/// use slot_manager::outcome::RequirementsOutcome;
///
/// let outcome = RequirementsOutcome::Declared { requested: 2, withdrawn: 0, excess: 1 };
/// assert_eq!(outcome.to_string(), "declared: 2 slots requested, 0 requests withdrawn, 1 slot in excess");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum RequirementsOutcome {
    /// The requirements replace the former ones of the job.
    ///
    /// Let the task executors free as many slots of the job as are in excess. The manager takes none
    /// back.
    Declared {
        /// Slots that the job does not hold yet. They are requested, and some may be granted already.
        requested: usize,
        /// Requests that were withdrawn, because the job needs less than before.
        withdrawn: usize,
        /// Slots that the job holds beyond its requirements.
        excess: usize,
    },
    /// The requirements are as before. Nothing changed but the revision. Nothing is left to do.
    Unchanged,
    /// The job has declared with a higher revision since. Nothing changed. Nothing is left to do.
    Ignored(Stale),
}

impl fmt::Display for RequirementsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |number: &usize| if *number == 1 { "" } else { "s" };
        match self {
            Self::Declared {
                requested,
                withdrawn,
                excess,
            } => write!(
                f,
                "declared: {requested} slot{} requested, {withdrawn} request{} withdrawn, {excess} slot{} in excess",
                plural(requested),
                plural(withdrawn),
                plural(excess)
            ),
            Self::Unchanged => f.write_str("requirements unchanged"),
            Self::Ignored(stale) => write!(f, "requirements ignored: {stale}"),
        }
    }
}

/// The outcome of [`unregister_slot_request`](crate::SlotManager::unregister_slot_request).
///
/// ```
/// use slot_manager::outcome::CancelOutcome;
/// use slot_manager::SlotId;
///
/// let outcome = CancelOutcome::AlreadyGranted { slot_id: SlotId::new("worker-1", 0) };
/// assert_eq!(outcome.to_string(), "not cancelled: granted on slot worker-1_0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum CancelOutcome {
    /// The request was not granted and is forgotten. Nothing is left to do.
    Cancelled,
    /// The request is granted. Nothing changed.
    ///
    /// Let the task executor free the slot. When it has,
    /// [`slot_freed`](crate::SlotManager::slot_freed) ends the grant.
    AlreadyGranted {
        /// The slot that the allocation holds.
        slot_id: SlotId,
    },
    /// The request is part of the declared requirements of its job. Nothing changed.
    ///
    /// Let the job [declare](crate::SlotManager::declare_requirements) fewer slots.
    Declared,
    /// The allocation is not known, or there is no leadership. Nothing changed.
    ///
    /// Nothing is left to do while the manager leads. Otherwise cancel again with the next leader:
    /// a task executor may hold a slot for the request.
    Unknown,
}

impl fmt::Display for CancelOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::AlreadyGranted { slot_id } => write!(f, "not cancelled: granted on slot {slot_id}"),
            Self::Declared => f.write_str("not cancelled: declared by its job"),
            Self::Unknown => f.write_str("unknown allocation"),
        }
    }
}

/// The outcome of [`register_task_manager`](crate::SlotManager::register_task_manager).
///
/// ```
/// use slot_manager::outcome::{RegistrationOutcome, ReportOutcome};
///
/// assert_eq!(RegistrationOutcome::Registered.to_string(), "registered");
/// let again = RegistrationOutcome::Reported(ReportOutcome::Applied);
/// assert_eq!(again.to_string(), "registered before; report applied");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum RegistrationOutcome {
    /// The worker was not registered before, and is now. Start its heartbeats.
    Registered,
    /// The worker was registered with another instance id. The new registration replaces the old
    /// one.
    ///
    /// Close the connection of the old registration and ignore its messages.
    Replaced {
        /// The registration that ended.
        previous: InstanceId,
    },
    /// The instance id was registered before. The report is handled as the outcome says. The
    /// connection of this call is dropped, the first one stays.
    Reported(ReportOutcome),
}

impl fmt::Display for RegistrationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered"),
            Self::Replaced { previous } => write!(f, "registered in place of {previous}"),
            Self::Reported(outcome) => write!(f, "registered before; {outcome}"),
        }
    }
}

/// The outcome of [`report_slot_status`](crate::SlotManager::report_slot_status).
///
/// ```
/// use slot_manager::outcome::{ReportOutcome, Stale};
///
/// /// Returns `true` if the task executor must register again.
/// fn must_register_again(outcome: &ReportOutcome) -> bool {
///     matches!(outcome, ReportOutcome::Unknown)
/// }
///
/// let stale = ReportOutcome::Ignored(Stale { revision: 3, highest_seen: 4 });
/// assert!(!must_register_again(&stale));
/// assert_eq!(stale.to_string(), "report ignored: revision 3 is older than 4");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum ReportOutcome {
    /// The report is applied: the manager's view agrees with it. Nothing is left to do.
    Applied,
    /// The report is older than the manager's view. Nothing changed. Nothing is left to do: a newer
    /// report was applied, or one follows.
    Ignored(Stale),
    /// The registration is not known. Nothing changed.
    ///
    /// Let the task executor register again, unless it has already: then the report is a late one
    /// of an older registration. Do not if it was released and is about to stop.
    Unknown,
}

impl fmt::Display for ReportOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("report applied"),
            Self::Ignored(stale) => write!(f, "report ignored: {stale}"),
            Self::Unknown => f.write_str("unknown registration"),
        }
    }
}

/// The revisions of a report that was overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stale {
    /// The revision of the report.
    pub revision: u64,
    /// The highest revision that the registration has sent, in any message.
    pub highest_seen: u64,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {} is older than {}", self.revision, self.highest_seen)
    }
}

/// The outcome of [`unregister_task_manager`](crate::SlotManager::unregister_task_manager).
///
/// ```
/// use slot_manager::outcome::UnregistrationOutcome;
///
/// assert_eq!(UnregistrationOutcome::Unregistered.to_string(), "unregistered");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum UnregistrationOutcome {
    /// The task manager and its slots are forgotten. Close its connection.
    Unregistered,
    /// The registration is not known, or there is no leadership. Nothing changed.
    ///
    /// Nothing is left to do: it was replaced, released or unregistered before. The next leader
    /// knows only workers that register with it.
    Unknown,
}

impl fmt::Display for UnregistrationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unregistered => "unregistered",
            Self::Unknown => "unknown registration",
        })
    }
}

/// The outcome of [`slot_freed`](crate::SlotManager::slot_freed).
///
/// No variant needs an answer to the task executor. All but the first two are worth a line in the
/// log of the service.
///
/// ```
/// use slot_manager::outcome::SlotFreedOutcome;
///
/// assert_eq!(SlotFreedOutcome::Freed.to_string(), "grant ended");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum SlotFreedOutcome {
    /// The allocation held the slot. Its grant has ended. If the job did not ask for that, its
    /// slot timeout was over.
    Freed,
    /// The allocation was in flight to the slot. Its request was granted and its grant has ended,
    /// before the acknowledgement came.
    FreedInFlight,
    /// No allocation holds the slot. No slot changed: the manager knew already.
    NotAllocated,
    /// Another allocation holds the slot or is in flight to it. No slot changed.
    ///
    /// If it is not a late message, compare the slot with the next report.
    HeldByAnother {
        /// The other allocation.
        allocation_id: AllocationId,
    },
    /// The message is not newer than an applied report, of an attempt before the one in flight, or
    /// from a registration that has ended. No slot changed.
    Outdated,
    /// The slot is not known, or there is no leadership. Nothing changed. A later registration
    /// reports the slot.
    Unknown,
}

impl fmt::Display for SlotFreedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Freed => f.write_str("grant ended"),
            Self::FreedInFlight => f.write_str("grant ended before its acknowledgement"),
            Self::NotAllocated => f.write_str("the slot is not allocated"),
            Self::HeldByAnother { allocation_id } => write!(f, "the slot is held by allocation {allocation_id}"),
            Self::Outdated => f.write_str("outdated message"),
            Self::Unknown => f.write_str("unknown slot"),
        }
    }
}

/// The outcome of [`answer_slot_request`](crate::SlotManager::answer_slot_request).
///
/// ```
/// use slot_manager::outcome::SlotAnswerOutcome;
///
/// assert_eq!(SlotAnswerOutcome::Applied.to_string(), "answer applied");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum SlotAnswerOutcome {
    /// The answer is applied. Nothing is left to do: the manager notifies a grant, and goes on with
    /// a request whose attempt failed.
    Applied,
    /// The attempt is not in flight: it was answered or given up, or is of another leadership.
    /// Nothing changed.
    ///
    /// Nothing is left to do. When the manager gave the attempt up, it told the task executor to
    /// free the slot. A slot that was given under another leader is in the next report.
    Unknown,
}

impl fmt::Display for SlotAnswerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "answer applied",
            Self::Unknown => "unknown attempt",
        })
    }
}

/// The outcome of [`worker_failed`](crate::SlotManager::worker_failed).
///
/// ```
/// use slot_manager::outcome::WorkerFailedOutcome;
///
/// let outcome = WorkerFailedOutcome::Forgotten { promised_slots: 2 };
/// assert_eq!(outcome.to_string(), "forgotten with 2 promised slots");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum WorkerFailedOutcome {
    /// The worker request and its remaining promised slots are forgotten. If they are needed, the
    /// manager has requested another worker within the call.
    Forgotten {
        /// The number of promised slots that were left.
        promised_slots: usize,
    },
    /// The worker request is not known, no promised slot was left, or the manager is not started.
    /// Nothing changed.
    ///
    /// If the worker had registered, call
    /// [`unregister_task_manager`](crate::SlotManager::unregister_task_manager). If an earlier
    /// leader had started it, [expect](crate::SlotManager::expect_workers) it no more.
    Unknown,
}

impl fmt::Display for WorkerFailedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forgotten { promised_slots: 1 } => f.write_str("forgotten with 1 promised slot"),
            Self::Forgotten { promised_slots } => write!(f, "forgotten with {promised_slots} promised slots"),
            Self::Unknown => f.write_str("unknown worker request"),
        }
    }
}

/// The outcome of [`answer_release`](crate::SlotManager::answer_release).
///
/// ```
/// use slot_manager::outcome::ReleaseAnswerOutcome;
///
/// assert_eq!(ReleaseAnswerOutcome::Released.to_string(), "released");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum ReleaseAnswerOutcome {
    /// The task manager is forgotten: the resource manager has accepted to stop it, within the
    /// call. Close its connection.
    Released,
    /// The task manager stays: its task executor or the resource manager declined, or it is needed
    /// by now. Nothing is left to do.
    Stays,
    /// The decision was [`Later`](crate::message::ReleaseDecision::Later) again. Nothing changed.
    /// The release check stays open: answer it once more.
    Open,
    /// The release check is not open: it was answered or is too old, the task manager is in use or
    /// gone, or the manager is not started. Nothing changed. Nothing is left to do.
    Unknown,
}

impl fmt::Display for ReleaseAnswerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "released",
            Self::Stays => "stays",
            Self::Open => "still open",
            Self::Unknown => "unknown release check",
        })
    }
}

/// The outcome of [`block`](crate::SlotManager::block).
///
/// ```
/// use slot_manager::outcome::BlockOutcome;
///
/// assert_eq!(BlockOutcome::Blocked.to_string(), "blocked");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum BlockOutcome {
    /// The worker is blocked from now on, registered or not.
    Blocked,
    /// The worker was blocked before. Nothing changed.
    AlreadyBlocked,
}

impl fmt::Display for BlockOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "blocked",
            Self::AlreadyBlocked => "blocked before",
        })
    }
}

/// The outcome of [`unblock`](crate::SlotManager::unblock).
///
/// ```
/// use slot_manager::outcome::UnblockOutcome;
///
/// assert_eq!(UnblockOutcome::NotBlocked.to_string(), "not blocked");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum UnblockOutcome {
    /// The worker is not blocked any more.
    Unblocked,
    /// The worker was not blocked. Nothing changed.
    NotBlocked,
}

impl fmt::Display for UnblockOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unblocked => "unblocked",
            Self::NotBlocked => "not blocked",
        })
    }
}

/// The outcome of [`renew_leadership`](crate::SlotManager::renew_leadership).
///
/// ```
/// use slot_manager::outcome::RenewalOutcome;
///
/// assert_eq!(RenewalOutcome::Renewed.to_string(), "leadership renewed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum RenewalOutcome {
    /// The leadership had not ended. It lasts until the new time.
    Renewed,
    /// The leadership had ended, and goes on with the state it had. Inputs that came since were
    /// not handled: let task executors report again, and jobs repeat their requests.
    Resumed {
        /// The time when the leadership had ended.
        ended_at: Timestamp,
    },
    /// The new time has passed already. The leadership has ended: renew it or suspend.
    Ended,
    /// The manager is not started. Nothing changed: start it.
    NotStarted,
}

impl fmt::Display for RenewalOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renewed => f.write_str("leadership renewed"),
            Self::Resumed { ended_at } => write!(f, "leadership resumed, after its end at {ended_at}"),
            Self::Ended => f.write_str("leadership ended"),
            Self::NotStarted => f.write_str("the slot manager is not started"),
        }
    }
}

/// The outcome of [`expect_workers`](crate::SlotManager::expect_workers) and
/// [`end_recovery`](crate::SlotManager::end_recovery).
///
/// ```
/// use slot_manager::outcome::RecoveryOutcome;
///
/// assert_eq!(RecoveryOutcome::Waiting { missing: 3 }.to_string(), "recovery goes on: 3 workers are missing");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use]
#[non_exhaustive]
pub enum RecoveryOutcome {
    /// The recovery goes on until these workers have registered, at most until its timeout.
    Waiting {
        /// The number of workers that have not registered yet.
        missing: usize,
    },
    /// The recovery has ended with this call. Workers that were needed are requested.
    Ended,
    /// There is no recovery: none is configured, it ended before, or the manager is not started.
    /// Nothing changed.
    NotRecovering,
}

impl fmt::Display for RecoveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { missing: 1 } => f.write_str("recovery goes on: 1 worker is missing"),
            Self::Waiting { missing } => write!(f, "recovery goes on: {missing} workers are missing"),
            Self::Ended => f.write_str("recovery ended"),
            Self::NotRecovering => f.write_str("no recovery"),
        }
    }
}
