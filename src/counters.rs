//! What has happened so far.

/// How often what happened. Every number only grows, also over leaderships, as long as the manager lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were accepted; each is also counted below when it ends, unless
    /// [`suspend`](crate::SlotManager::suspend) dropped it.
    pub requests_accepted: u64,
    /// Requests that were granted.
    pub requests_served: u64,
    /// Requests that were withdrawn by their jobs before they were granted.
    pub requests_cancelled: u64,
    /// Requests that failed.
    pub requests_failed: FailureCounters,
    /// Attempts that failed, so that their requests tried again. That a slot was occupied is no failure.
    pub requests_retried: u64,
    /// Grants that were lost.
    pub grants_lost: u64,
    /// Workers that were asked for.
    pub workers_requested: u64,
    /// Those of them that were refused or declined, or promised too much or too little to help.
    pub workers_declined: u64,
    /// Those of them that were withdrawn.
    pub workers_withdrawn: u64,
    /// Those of them that failed, or did not register in time.
    pub promises_broken: u64,
    /// Task managers that were released because they were idle.
    pub task_managers_released: u64,
    /// Task managers that were refused because they were beyond a limit.
    pub task_managers_refused: u64,
    /// Reports that were ignored because they were older than what was known.
    pub reports_stale: u64,
    /// Reports, also those of registrations, that were refused as a whole.
    pub reports_refused: u64,
}

/// How many requests failed, by [cause](crate::RequestFailure).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FailureCounters {
    /// They were not granted in time.
    pub timeout: u64,
    /// The resource manager refused to start a worker.
    pub resource_manager: u64,
    /// Nothing could ever serve them.
    pub unfulfillable: u64,
    /// Their allocation id was found in the name of another job.
    pub held_by_another_job: u64,
}

impl FailureCounters {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.timeout + self.resource_manager + self.unfulfillable + self.held_by_another_job
    }

    pub(crate) fn count(&mut self, failure: &crate::RequestFailure) {
        use crate::RequestFailure as Failure;
        match failure {
            Failure::Timeout { .. } => self.timeout += 1,
            Failure::ResourceManager(_) => self.resource_manager += 1,
            Failure::Unfulfillable { .. } => self.unfulfillable += 1,
            Failure::HeldByAnotherJob { .. } => self.held_by_another_job += 1,
        }
    }
}
