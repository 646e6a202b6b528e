//! The counters of events.

/// The numbers of events since the manager was created.
///
/// Every number only grows, also over leaderships.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::CancelOutcome;
/// use slot_manager::{AllocationId, JobId, LeaderId, ResourceProfile, SlotManager};
/// use slot_manager::outcome::SlotRequestOutcome;
/// use slot_manager::{SlotManagerConfig, SlotRequest};
///
/// # let executor = ManualScheduledExecutor::new();
/// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), executor)?;
/// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
/// let allocation_id = AllocationId::from_u128(1);
/// let request = SlotRequest::new(JobId::from_u128(7), allocation_id, ResourceProfile::ZERO, "job-master-7");
/// assert!(matches!(manager.register_slot_request(request)?, SlotRequestOutcome::Accepted(_)));
/// assert_eq!(manager.unregister_slot_request(allocation_id), CancelOutcome::Cancelled);
///
/// let counters = manager.counters();
/// assert_eq!((counters.requests_accepted, counters.requests_cancelled), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counters {
    /// Accepted requests. Each also counts below when it ends, unless
    /// [`suspend`](crate::SlotManager::suspend) dropped it.
    pub requests_accepted: u64,
    /// Granted requests.
    pub requests_served: u64,
    /// Requests that their jobs cancelled before the grant.
    pub requests_cancelled: u64,
    /// Failed requests.
    pub requests_failed: FailureCounters,
    /// Failed attempts, after which their requests tried again. An occupied slot is no failure.
    pub requests_retried: u64,
    /// Backoffs of workers that could not be reached, did not answer, or refused two requests in a
    /// row.
    pub worker_backoffs: u64,
    /// Jobs that became suspect, because attempts for two of their requests failed in a row.
    pub jobs_suspected: u64,
    /// Lost grants.
    pub grants_lost: u64,
    /// Worker requests.
    pub workers_requested: u64,
    /// Worker requests that were refused or declined, or whose promise exceeded a limit or brought
    /// no slot that fits.
    pub workers_declined: u64,
    /// Worker requests whose withdrawal was confirmed. Those that had expired count below.
    pub workers_withdrawn: u64,
    /// Worker requests whose worker failed, was lost before it had a slot, or did not register in
    /// time.
    pub promises_broken: u64,
    /// Idle task managers that were released.
    pub task_managers_released: u64,
    /// Task managers that were refused because they would exceed a limit.
    pub task_managers_refused: u64,
    /// Reports that were ignored because they were older than the manager's view.
    pub reports_stale: u64,
    /// Slots that a report gave back to the allocation for which
    /// [`slot_freed`](crate::SlotManager::slot_freed) had just freed them. The report was older:
    /// reports, or messages about freed slots, lack revisions.
    pub frees_taken_back: u64,
    /// Invalid reports, also those of registrations. Each was refused as a whole.
    pub reports_refused: u64,
}

impl Counters {
    /// Returns all counters with their names, in a fixed order.
    ///
    /// Failed requests have one counter for each cause. The names fit Prometheus, behind a prefix
    /// of your own and before the suffix `_total`.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::overview::Counters;
    ///
    /// let counters = Counters::default();
    /// let names: Vec<_> = counters.iter().map(|(name, _)| name).collect();
    /// assert_eq!(names[0], "requests_accepted");
    /// assert!(names.contains(&"requests_failed_timeout"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // A new field does not compile without an entry.
        let Self {
            requests_accepted,
            requests_served,
            requests_cancelled,
            requests_failed,
            requests_retried,
            worker_backoffs,
            jobs_suspected,
            grants_lost,
            workers_requested,
            workers_declined,
            workers_withdrawn,
            promises_broken,
            task_managers_released,
            task_managers_refused,
            reports_stale,
            frees_taken_back,
            reports_refused,
        } = *self;
        let FailureCounters {
            timeout,
            resource_manager,
            unfulfillable,
            held_by_another_job,
        } = requests_failed;
        [
            ("requests_accepted", requests_accepted),
            ("requests_served", requests_served),
            ("requests_cancelled", requests_cancelled),
            ("requests_failed_timeout", timeout),
            ("requests_failed_resource_manager", resource_manager),
            ("requests_failed_unfulfillable", unfulfillable),
            ("requests_failed_held_by_another_job", held_by_another_job),
            ("requests_retried", requests_retried),
            ("worker_backoffs", worker_backoffs),
            ("jobs_suspected", jobs_suspected),
            ("grants_lost", grants_lost),
            ("workers_requested", workers_requested),
            ("workers_declined", workers_declined),
            ("workers_withdrawn", workers_withdrawn),
            ("promises_broken", promises_broken),
            ("task_managers_released", task_managers_released),
            ("task_managers_refused", task_managers_refused),
            ("reports_stale", reports_stale),
            ("frees_taken_back", frees_taken_back),
            ("reports_refused", reports_refused),
        ]
        .into_iter()
    }
}

/// The numbers of failed requests by [cause](crate::message::RequestFailure).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FailureCounters {
    /// Requests that were not granted in time.
    pub timeout: u64,
    /// Requests for which the resource manager refused to start a worker.
    pub resource_manager: u64,
    /// Requests that no slot and no worker could ever serve.
    pub unfulfillable: u64,
    /// Requests whose allocation id another job holds a slot under.
    pub held_by_another_job: u64,
}

impl FailureCounters {
    /// Returns the number of failed requests of all causes.
    pub fn total(&self) -> u64 {
        self.timeout + self.resource_manager + self.unfulfillable + self.held_by_another_job
    }

    /// Counts a failed request.
    pub(crate) fn count(&mut self, failure: &crate::message::RequestFailure) {
        use crate::message::RequestFailure as Failure;
        match failure {
            Failure::Timeout { .. } => self.timeout += 1,
            Failure::ResourceManager(_) => self.resource_manager += 1,
            Failure::Unfulfillable { .. } => self.unfulfillable += 1,
            Failure::HeldByAnotherJob { .. } => self.held_by_another_job += 1,
        }
    }
}
