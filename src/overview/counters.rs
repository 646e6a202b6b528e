//! The counters of events.

use super::Metric;

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
    /// Accepted requests, and those made for declared requirements. Each also counts below when it
    /// ends, unless [`suspend`](crate::SlotManager::suspend) dropped it.
    pub requests_accepted: u64,
    /// Granted requests.
    pub requests_served: u64,
    /// Requests that were cancelled before the grant: by their jobs, or because declared
    /// requirements do not need them any more.
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
    /// Declarations that replaced the requirements of a job.
    pub requirements_declared: u64,
    /// Shortages of declared slots that jobs were told.
    pub shortages_notified: u64,
    /// Invalid reports, also those of registrations. Each was refused as a whole.
    pub reports_refused: u64,
}

impl Counters {
    /// Returns all counters, in a fixed order.
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
    /// let names: Vec<_> = counters.iter().map(|counter| counter.name).collect();
    /// assert_eq!(names[0], "requests_accepted");
    /// assert!(names.contains(&"requests_failed_timeout"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Metric<u64>> + use<> {
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
            requirements_declared,
            shortages_notified,
            reports_refused,
        } = *self;
        let FailureCounters {
            timeout,
            resource_manager,
            unfulfillable,
            held_by_another_job,
        } = requests_failed;
        [
            Metric::new(
                "requests_accepted",
                "Slot requests that were accepted",
                requests_accepted,
            ),
            Metric::new(
                "requests_served",
                "Slot requests that were granted a slot",
                requests_served,
            ),
            Metric::new(
                "requests_cancelled",
                "Slot requests that were cancelled before their grant",
                requests_cancelled,
            ),
            Metric::new(
                "requests_failed_timeout",
                "Slot requests that failed because they were not granted in time",
                timeout,
            ),
            Metric::new(
                "requests_failed_resource_manager",
                "Slot requests that failed because the resource manager refused to start a worker",
                resource_manager,
            ),
            Metric::new(
                "requests_failed_unfulfillable",
                "Slot requests that failed because no slot and no worker could ever serve them",
                unfulfillable,
            ),
            Metric::new(
                "requests_failed_held_by_another_job",
                "Slot requests that failed because another job holds a slot under their allocation id",
                held_by_another_job,
            ),
            Metric::new(
                "requests_retried",
                "Attempts to get a slot that failed",
                requests_retried,
            ),
            Metric::new(
                "worker_backoffs",
                "Times at which a worker began to back off",
                worker_backoffs,
            ),
            Metric::new("jobs_suspected", "Times at which a job became suspect", jobs_suspected),
            Metric::new("grants_lost", "Grants that were lost", grants_lost),
            Metric::new("workers_requested", "Workers that were requested", workers_requested),
            Metric::new(
                "workers_declined",
                "Worker requests that were declined or failed at once",
                workers_declined,
            ),
            Metric::new(
                "workers_withdrawn",
                "Worker requests whose withdrawal was confirmed",
                workers_withdrawn,
            ),
            Metric::new(
                "promises_broken",
                "Worker requests that ended without all promised slots",
                promises_broken,
            ),
            Metric::new(
                "task_managers_released",
                "Idle task managers that were released",
                task_managers_released,
            ),
            Metric::new(
                "task_managers_refused",
                "Task managers that were refused because they would exceed a limit",
                task_managers_refused,
            ),
            Metric::new(
                "reports_stale",
                "Reports that were ignored because they were older than the view of the manager",
                reports_stale,
            ),
            Metric::new(
                "frees_taken_back",
                "Freed slots that an older report gave back to their allocation",
                frees_taken_back,
            ),
            Metric::new(
                "requirements_declared",
                "Declarations that replaced the requirements of a job",
                requirements_declared,
            ),
            Metric::new(
                "shortages_notified",
                "Shortages of declared slots that jobs were told",
                shortages_notified,
            ),
            Metric::new("reports_refused", "Invalid reports that were refused", reports_refused),
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
