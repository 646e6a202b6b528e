//! The jobs that a worker or a slot has refused in a row.

use crate::JobId;

/// The number of jobs that are told apart.
const MOST: usize = 16;

/// The jobs that a worker or a slot has refused since its last acknowledgement.
///
/// A refusal may be the fault of the job, so another job may try at once. After [`MOST`] different
/// jobs it is not.
#[derive(Debug, Default)]
pub(crate) struct RefusedJobs(Vec<JobId>);

impl RefusedJobs {
    pub(crate) fn note(&mut self, job: JobId) {
        if self.0.len() < MOST && !self.0.contains(&job) {
            self.0.push(job);
        }
    }

    /// Returns `true` if the refusals so far are no reason to keep this job away.
    pub(crate) fn admit(&self, job: JobId) -> bool {
        self.0.len() < MOST && !self.0.contains(&job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_jobs_are_admitted_until_sixteen_were_refused() {
        let mut refused = RefusedJobs::default();
        for job in 0..16 {
            let job = JobId::from_u128(job);
            assert!(refused.admit(job));
            refused.note(job);
            refused.note(job);
            assert!(!refused.admit(job));
        }
        assert!(!refused.admit(JobId::from_u128(16)));
    }
}
