//! The jobs that a worker or a slot has refused in a row.

use crate::JobId;

/// After refusals of this number of jobs, the fault is more likely not that of the jobs.
const MANY: usize = 16;

/// The number of jobs that are remembered.
const MOST: usize = 1024;

/// The jobs that a worker or a slot has refused since its last acknowledgement, sorted.
///
/// A refusal may be the fault of the job, so another job may try.
#[derive(Debug, Default)]
pub(crate) struct RefusedJobs(Vec<JobId>);

impl RefusedJobs {
    pub(crate) fn note(&mut self, job: JobId) {
        if let Err(place) = self.0.binary_search(&job) {
            if self.0.len() < MOST {
                self.0.insert(place, job);
            }
        }
    }

    /// Returns `true` if so many jobs were refused that another one is likely to be refused, too.
    pub(crate) fn are_many(&self) -> bool {
        self.0.len() >= MANY
    }

    /// Returns `true` if a job was not refused. After refusals of [`MOST`] jobs that is not known.
    pub(crate) fn admit(&self, job: JobId) -> bool {
        self.0.len() < MOST && self.0.binary_search(&job).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_jobs_are_admitted_until_too_many_were_refused() {
        let mut refused = RefusedJobs::default();
        for number in (0..1024).rev() {
            let job = JobId::from_u128(number);
            assert!(refused.admit(job));
            refused.note(job);
            refused.note(job);
            assert!(!refused.admit(job));
            assert_eq!(refused.are_many(), number <= 1008, "{number}");
        }
        assert!(!refused.admit(JobId::from_u128(1024)));
    }
}
