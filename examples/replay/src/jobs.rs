//! The jobs and all their requests: the ledger in which every request and every grant must end
//! exactly once.

use std::sync::Arc;

use slot_manager::{AllocationId, JobId, SlotId, Timestamp};

use crate::workload::{Pod, Slicing};

/// All jobs, one for each pod, and their requests.
#[derive(Debug)]
pub(crate) struct Jobs {
    jobs: Vec<Job>,
    requests: Vec<Request>,
}

/// The state of one job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) state: JobState,
    /// The address to which its slots are offered.
    pub(crate) target_address: Arc<str>,
    /// Its open and granted requests.
    pub(crate) requests: Vec<AllocationId>,
    /// The number of grants until it first has all its slots. Zero from then on.
    missing: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobState {
    /// Not created yet.
    Expected,
    Running,
    /// It did not get a slot in time.
    Failed,
    /// Deleted.
    Ended,
}

/// One request of a job.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) job: usize,
    pub(crate) asked_at: Timestamp,
    /// Whether a free slot fitted when it was registered.
    pub(crate) at_once: bool,
    pub(crate) state: RequestState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestState {
    Open,
    /// The job holds this slot.
    Granted(SlotId),
    /// The job gave the slot back, and the manager does not know yet.
    GivenBack,
    /// It failed or was cancelled, or its grant has ended.
    Over,
}

impl Jobs {
    pub(crate) fn new(pods: &[Pod], slicing: Slicing) -> Self {
        let job = |pod: &Pod| Job {
            state: JobState::Expected,
            target_address: format!("job-master/{}", pod.name).into(),
            requests: Vec::new(),
            missing: pod.requests(slicing),
        };
        Self {
            jobs: pods.iter().map(job).collect(),
            requests: Vec::new(),
        }
    }

    pub(crate) fn job(&self, job: usize) -> &Job {
        &self.jobs[job]
    }

    pub(crate) fn set_state(&mut self, job: usize, state: JobState) {
        self.jobs[job].state = state;
    }

    pub(crate) fn job_id(job: usize) -> JobId {
        JobId::from_u128(job as u128 + 1)
    }

    /// Notes a grant. Returns `true` if it is the first time that the job has all its slots.
    pub(crate) fn note_grant(&mut self, job: usize) -> bool {
        let missing = &mut self.jobs[job].missing;
        let is_last = *missing == 1;
        *missing = missing.saturating_sub(1);
        is_last
    }

    /// Notes that a grant is lost which the job still used.
    pub(crate) fn note_lost_grant(&mut self, job: usize) {
        let missing = &mut self.jobs[job].missing;
        if *missing > 0 {
            *missing += 1;
        }
    }

    /// Adds a request and returns its allocation id.
    pub(crate) fn open(&mut self, job: usize, now: Timestamp) -> AllocationId {
        self.requests.push(Request {
            job,
            asked_at: now,
            at_once: false,
            state: RequestState::Open,
        });
        let allocation_id = AllocationId::from_u128(self.requests.len() as u128);
        self.jobs[job].requests.push(allocation_id);
        allocation_id
    }

    /// Returns the request with this allocation id. `None` if no job made it.
    pub(crate) fn request(&mut self, allocation_id: AllocationId) -> Option<&mut Request> {
        self.requests.get_mut(index_of(allocation_id)?)
    }

    /// Returns the job that made a request. `None` if no job made it.
    pub(crate) fn job_of(&self, allocation_id: AllocationId) -> Option<usize> {
        Some(self.requests.get(index_of(allocation_id)?)?.job)
    }

    /// Marks a request as over and removes it from its job.
    pub(crate) fn close(&mut self, allocation_id: AllocationId) {
        if let Some(request) = self.request(allocation_id) {
            request.state = RequestState::Over;
            let job = request.job;
            self.jobs[job].requests.retain(|known| *known != allocation_id);
        }
    }

    /// Returns the open requests and the granted slots of a job.
    pub(crate) fn open_and_granted(&mut self, job: usize) -> (Vec<AllocationId>, Vec<(AllocationId, SlotId)>) {
        let (mut open, mut granted) = (Vec::new(), Vec::new());
        for allocation_id in self.jobs[job].requests.clone() {
            match self.request(allocation_id).map(|request| request.state.clone()) {
                Some(RequestState::Open) => open.push(allocation_id),
                Some(RequestState::Granted(slot_id)) => granted.push((allocation_id, slot_id)),
                _ => {}
            }
        }
        (open, granted)
    }

    /// Returns the number of all requests.
    pub(crate) fn asked(&self) -> u64 {
        self.requests.len() as u64
    }

    /// Returns the requests that have not ended. After a run there must be none.
    pub(crate) fn unended(&self) -> impl Iterator<Item = (AllocationId, &Request)> {
        let numbered = (1..).map(AllocationId::from_u128).zip(&self.requests);
        numbered.filter(|(_, request)| request.state != RequestState::Over)
    }
}

/// Returns the place of a request in the list of all requests.
fn index_of(allocation_id: AllocationId) -> Option<usize> {
    usize::try_from(allocation_id.as_u128()).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Size;

    /// One job of two slots.
    fn one_job() -> Jobs {
        let size = Size {
            cpu_milli: 16_000,
            memory_mib: 1,
            gpus: 0,
            gpu_milli: 0,
        };
        Jobs::new(&[Pod::new("pod".to_owned(), size, 0, 1).unwrap()], Slicing::Static)
    }

    #[test]
    fn a_request_is_found_by_its_allocation_id_until_it_is_over() {
        let mut jobs = one_job();
        let (first, second) = (jobs.open(0, Timestamp::ZERO), jobs.open(0, Timestamp::ZERO));
        let slot = SlotId::new("node", 0);
        jobs.request(second).unwrap().state = RequestState::Granted(slot.clone());
        assert_eq!(jobs.open_and_granted(0), (vec![first], vec![(second, slot)]));

        jobs.close(first);
        assert_eq!(jobs.unended().map(|(id, _)| id).collect::<Vec<_>>(), [second]);
        jobs.close(second);
        assert_eq!(jobs.unended().count(), 0);
        assert!(jobs.job(0).requests.is_empty());
        assert_eq!(jobs.asked(), 2);
        assert_eq!(jobs.job_of(second), Some(0));
    }

    #[test]
    fn a_job_has_all_its_slots_for_the_first_time_once() {
        let mut jobs = one_job();
        assert!(!jobs.note_grant(0));
        jobs.note_lost_grant(0);
        assert!(!jobs.note_grant(0));
        assert!(jobs.note_grant(0));
        jobs.note_lost_grant(0);
        assert!(!jobs.note_grant(0));
    }

    #[test]
    fn an_unknown_allocation_id_is_not_found() {
        let mut jobs = one_job();
        for bits in [0, 1, u128::MAX] {
            assert!(jobs.request(AllocationId::from_u128(bits)).is_none());
            assert!(jobs.job_of(AllocationId::from_u128(bits)).is_none());
        }
    }
}
