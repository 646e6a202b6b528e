//! Requests, from their registration to their end.

use slot_manager::error::{Conflict, SlotRequestError};
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
use slot_manager::testing::Action;
use slot_manager::{AllocationId, JobId, ResourceProfile};

use super::{Expected, NaiveSlotManager, Request, Stage, State};

impl NaiveSlotManager {
    /// Registers a slot request.
    pub(super) fn request(
        &mut self,
        allocation_id: AllocationId,
        job_id: JobId,
        profile: ResourceProfile,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        self.begin_input()?;
        if let Some(status) = self.status(allocation_id) {
            let pending = self.requests.iter().find(|it| it.allocation_id == allocation_id);
            let known = pending
                .map(|it| it.job_id)
                .or(self.find_grant(allocation_id).map(|(_, job)| job));
            let conflict = match pending {
                _ if known != Some(job_id) => Conflict::Job,
                Some(known) if known.profile != profile => Conflict::ResourceProfile,
                _ => return Ok(SlotRequestOutcome::Duplicate(status)),
            };
            return Err(SlotRequestError::Conflict {
                allocation_id,
                conflict,
                status,
            });
        }
        if self.must_not_request(job_id) {
            return Err(SlotRequestError::Declares { job_id });
        }
        match self.config.max_pending_requests {
            Some(limit) if self.requests.len() >= limit => {
                return Err(SlotRequestError::TooManyPendingRequests { limit });
            }
            _ => {}
        }
        let young_until = self.new_wait();
        let request = Request {
            allocation_id,
            job_id,
            profile,
            order: self.next(),
            deadline: self.now + self.config.request_timeout,
            failed_attempts: 0,
            last_failure: None,
            tried_on: Vec::new(),
            must_back_off: false,
            is_declared: false,
            young_until,
            stage: Stage::Detached,
        };
        self.requests.push(request);
        self.outbox.registering = Some((allocation_id, None));
        self.transaction.detached.push(allocation_id);
        self.end_input();
        match self.outbox.registering.take() {
            Some((_, Some(Ok(slot_id)))) => Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })),
            Some((_, Some(Err(failure)))) => Err(SlotRequestError::Failed {
                allocation_id,
                failure: Box::new(failure),
            }),
            _ => {
                let status = self
                    .status(allocation_id)
                    .expect("neither granted nor failed: it is pending");
                Ok(SlotRequestOutcome::Accepted(status))
            }
        }
    }

    /// Cancels a request.
    pub(super) fn cancel(&mut self, allocation_id: AllocationId) -> CancelOutcome {
        if self.begin_input().is_err() {
            return CancelOutcome::Unknown;
        }
        match self.status(allocation_id) {
            None => CancelOutcome::Unknown,
            Some(AllocationStatus::Granted { slot_id }) => CancelOutcome::AlreadyGranted { slot_id },
            Some(_) if self.request_mut(allocation_id).is_declared => CancelOutcome::Declared,
            Some(_) => {
                self.remove_request(allocation_id);
                self.end_input();
                CancelOutcome::Cancelled
            }
        }
    }

    /// Cancels the requests of a job. Returns their number.
    pub(super) fn unregister_job(&mut self, job_id: JobId) -> usize {
        if self.begin_input().is_err() {
            return 0;
        }
        let all = self.requests.iter().filter(|it| it.job_id == job_id);
        let ids: Vec<_> = all.map(|it| it.allocation_id).collect();
        for id in &ids {
            self.remove_request(*id);
        }
        self.forget_requirements(job_id);
        self.end_input();
        ids.len()
    }

    /// Removes a request from the waiting or backing-off ones. An attempt in flight stays.
    pub(super) fn detach(&mut self, id: AllocationId) {
        let request = self.request_mut(id);
        let was_bound = request.stage == Stage::Bound;
        if !matches!(request.stage, Stage::InFlight { .. }) {
            request.stage = Stage::Detached;
        }
        if was_bound {
            self.free_promise(id);
        }
    }

    /// Detaches a request from any place. The slot of an attempt becomes free.
    pub(super) fn withdraw(&mut self, id: AllocationId) {
        match self.request_mut(id).stage.clone() {
            Stage::InFlight { slot, attempt, answer } => {
                self.fence(id);
                self.set_state(&slot, State::Detached);
                self.request_mut(id).stage = Stage::Detached;
                if answer != Expected::NotSent {
                    self.probe_ended(&slot, attempt);
                }
                self.transaction.freed.push(slot);
            }
            _ => self.detach(id),
        }
    }

    /// Ends a request without a notification.
    pub(super) fn remove_request(&mut self, id: AllocationId) {
        self.withdraw(id);
        self.end_earmark_for(id);
        self.requests.retain(|it| it.allocation_id != id);
    }

    /// Fails a request. The failure of the request that is being registered is returned, every
    /// other one is notified.
    pub(super) fn fail(&mut self, id: AllocationId, failure: RequestFailure) {
        let job_id = self.request_mut(id).job_id;
        self.remove_request(id);
        match &mut self.outbox.registering {
            Some((registering, result)) if *registering == id => *result = Some(Err(failure)),
            _ => {
                let action = Action::NotifyAllocationFailure {
                    job_id,
                    allocation_id: id,
                    cause: AllocationFailureCause::RequestFailed(failure),
                };
                self.outbox.notifications.push((None, action));
            }
        }
    }
}
