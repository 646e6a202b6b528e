//! Jobs whose attempts fail.

use std::collections::BTreeMap;

use crate::{AllocationId, JobId};

/// The jobs with a failed attempt since their last grant: usually few.
///
/// A job is forgotten with its last pending request.
#[derive(Debug, Default)]
pub(crate) struct FailingJobs {
    jobs: BTreeMap<JobId, FailingJob>,
    num_suspects: usize,
    /// The number of pending requests of all suspect jobs.
    num_suspect_requests: usize,
    /// The number of the last failure.
    last_failure: u64,
}

/// The failed attempts of one job since its last grant.
#[derive(Debug)]
struct FailingJob {
    /// The request of the last failed attempt. One registered again with its id counts as the same.
    last: AllocationId,
    /// Attempts for two different requests failed in a row.
    is_suspect: bool,
    /// The number of the last failure: the suspect job with the least number comes first.
    last_failure: u64,
    num_requests: usize,
}

impl FailingJobs {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    #[inline]
    pub(crate) fn is_suspect(&self, job: JobId) -> bool {
        self.num_suspects > 0 && self.jobs.get(&job).is_some_and(|failing| failing.is_suspect)
    }

    /// Returns the turn of a job among suspect jobs; 0 for all other jobs.
    pub(crate) fn turn(&self, job: JobId) -> u64 {
        let suspect = self.jobs.get(&job).filter(|failing| failing.is_suspect);
        suspect.map_or(0, |failing| failing.last_failure)
    }

    pub(crate) fn num_suspects(&self) -> usize {
        self.num_suspects
    }

    pub(crate) fn num_suspect_requests(&self) -> usize {
        self.num_suspect_requests
    }

    /// Adds a job with its first failed request and the number of its pending requests.
    pub(crate) fn add(&mut self, job: JobId, last: AllocationId, num_requests: usize) {
        self.jobs.insert(
            job,
            FailingJob {
                last,
                is_suspect: false,
                last_failure: 0,
                num_requests,
            },
        );
    }

    /// Notes a failed attempt of a failing job. Returns `true` if that makes the job suspect.
    pub(crate) fn note_failure(&mut self, job: JobId, request: AllocationId) -> bool {
        let Some(failing) = self.jobs.get_mut(&job) else {
            return false;
        };
        self.last_failure += 1;
        failing.last_failure = self.last_failure;
        let is_new_suspect = !failing.is_suspect && failing.last != request;
        failing.last = request;
        if is_new_suspect {
            failing.is_suspect = true;
            self.num_suspects += 1;
            self.num_suspect_requests += failing.num_requests;
        }
        is_new_suspect
    }

    /// Forgets the failures of a job after a grant. Returns `true` if the job was suspect.
    #[inline]
    pub(crate) fn clear_job(&mut self, job: JobId) -> bool {
        !self.jobs.is_empty() && self.remove(job)
    }

    fn remove(&mut self, job: JobId) -> bool {
        let removed = self.jobs.remove(&job).filter(|failing| failing.is_suspect);
        if let Some(suspect) = &removed {
            self.num_suspects -= 1;
            self.num_suspect_requests -= suspect.num_requests;
        }
        removed.is_some()
    }

    /// Counts a new pending request of a job.
    #[inline]
    pub(crate) fn request_added(&mut self, job: JobId) {
        if let Some(failing) = self.find(job) {
            failing.num_requests += 1;
            self.num_suspect_requests += usize::from(self.is_suspect(job));
        }
    }

    /// Counts the end of a pending request. The last request of a job forgets the job. Returns
    /// `true` if the job was suspect and is forgotten.
    #[inline]
    pub(crate) fn request_removed(&mut self, job: JobId) -> bool {
        let Some(failing) = self.find(job) else {
            return false;
        };
        failing.num_requests -= 1;
        let is_last = failing.num_requests == 0;
        self.num_suspect_requests -= usize::from(self.is_suspect(job));
        is_last && self.remove(job)
    }

    fn find(&mut self, job: JobId) -> Option<&mut FailingJob> {
        if self.jobs.is_empty() {
            return None;
        }
        self.jobs.get_mut(&job)
    }

    /// Returns the failing jobs with the numbers of their requests; for the check of invariants.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, bool, usize)> {
        self.jobs
            .iter()
            .map(|(job, failing)| (*job, failing.is_suspect, failing.num_requests))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
