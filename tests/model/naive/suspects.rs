//! Suspect jobs: after failures of different requests, others go first.

use slot_manager::{AllocationId, JobId};

use super::cuts::Room;
use super::{NaiveSlotManager, Request, State, TaskManager};

/// A job of which an attempt failed since its last grant.
#[derive(Debug, Clone)]
pub(super) struct FailingJob {
    job_id: JobId,
    /// The request that failed first. One that is registered again with its id counts as the same.
    first: AllocationId,
    is_suspect: bool,
    /// Orders suspect jobs: the smallest number failed the longest ago.
    last_failure: u64,
}

impl NaiveSlotManager {
    /// Notes a failed attempt of a job. It becomes suspect if an attempt for another request failed
    /// before.
    pub(super) fn job_failed(&mut self, job_id: JobId, request: AllocationId) {
        let last_failure = self.next();
        match self.failing_jobs.iter_mut().find(|it| it.job_id == job_id) {
            Some(failing) => {
                failing.is_suspect |= failing.first != request;
                failing.last_failure = last_failure;
            }
            None => self.failing_jobs.push(FailingJob {
                job_id,
                first: request,
                is_suspect: false,
                last_failure,
            }),
        }
    }

    /// Ends the suspicion of a job, because a request was granted.
    pub(super) fn clear_job(&mut self, job_id: JobId) {
        self.failing_jobs.retain(|it| it.job_id != job_id);
    }

    /// Forgets the failures of jobs without a pending request.
    pub(super) fn forget_ended_jobs(&mut self) {
        let requests = &self.requests;
        let is_pending = |job: &FailingJob| requests.iter().any(|it| it.job_id == job.job_id);
        self.failing_jobs.retain(is_pending);
    }

    pub(super) fn is_suspect(&self, job_id: JobId) -> bool {
        self.turn(job_id).is_some()
    }

    /// Returns the turn of a suspect job; the smallest is first.
    pub(super) fn turn(&self, job_id: JobId) -> Option<u64> {
        let mut suspect = self.failing_jobs.iter().filter(|it| it.is_suspect);
        suspect.find(|it| it.job_id == job_id).map(|it| it.last_failure)
    }

    /// Returns `true` if a request of a suspect job has to wait until another attempt of such a job
    /// on this worker has ended, because others wait as well.
    pub(super) fn is_held_back(&self, request: &Request, task_manager: &TaskManager) -> bool {
        let in_flight = task_manager.slots.iter().filter_map(|slot| match slot.state {
            State::InFlight(id) => self.find_request(id),
            _ => None,
        });
        self.is_suspect(request.job_id)
            && self.requests.iter().any(|it| !self.is_suspect(it.job_id))
            && in_flight.into_iter().any(|it| self.is_suspect(it.job_id))
    }

    /// Gives offered slots to requests that were held back until now, oldest first.
    pub(super) fn place_held_back(&mut self) {
        let all = self.requests.iter().filter(|it| it.is_waiting() || it.backs_off());
        let mut all: Vec<_> = all.map(|it| (it.order, it.allocation_id)).collect();
        all.sort_unstable();
        for (_, id) in all {
            let request = self.find_request(id).expect("a pending request");
            let untried = self
                .best_room(request, false)
                .or_else(|| self.backing_off_slot_for(request).map(Room::Slot));
            let room = untried.or_else(|| match request.backs_off() {
                true => None,
                false => self.best_room(request, true),
            });
            if let Some(room) = room {
                self.assign_in(room, id);
            }
        }
    }
}
