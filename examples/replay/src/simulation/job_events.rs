//! The events of jobs: pods are created and deleted, requests are granted or fail, grants are lost.

use anyhow::{Result, bail, ensure};
use slot_manager::error::SlotRequestError;
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::outcome::{AllocationStatus, CancelOutcome, SlotRequestOutcome};
use slot_manager::{AllocationId, ScheduledExecutor, SlotId, SlotRequest};

use super::{Event, Simulation};
use crate::jobs::{JobState, Jobs, RequestState};
use crate::longest_waits::End;
use crate::statistics::FailureKind;

impl Simulation {
    pub(super) fn pod_created(&mut self, job: usize) -> Result<()> {
        self.jobs.set_state(job, JobState::Running);
        self.pods_created += 1;
        self.push_at(self.pods[job].deleted, Event::PodDeleted { job });
        for _ in 0..self.pods[job].requests(self.settings.slicing) {
            self.ask(job)?;
        }
        Ok(())
    }

    /// Ends a job: cancels its open requests and gives back its slots.
    pub(super) fn pod_deleted(&mut self, job: usize) -> Result<()> {
        self.pods_left -= 1;
        if self.jobs.job(job).state != JobState::Running {
            return Ok(());
        }
        self.jobs.set_state(job, JobState::Ended);
        let withdrawn = self.give_up(job)?;
        if withdrawn == 0 {
            self.statistics.pods_served += 1;
        } else {
            self.statistics.pods_withdrawn += 1;
        }
        Ok(())
    }

    /// Ends a job whose request failed, because it cannot run without all its slots.
    pub(super) fn pod_fails(&mut self, job: usize) -> Result<()> {
        if self.jobs.job(job).state != JobState::Running {
            return Ok(());
        }
        self.jobs.set_state(job, JobState::Failed);
        self.statistics.pods_failed += 1;
        self.give_up(job)?;
        Ok(())
    }

    pub(super) fn ask_again(&mut self, job: usize) -> Result<()> {
        if self.jobs.job(job).state == JobState::Running {
            self.ask(job)?;
        }
        Ok(())
    }

    fn ask(&mut self, job: usize) -> Result<()> {
        let allocation_id = self.jobs.open(job, self.clock.now());
        let request = SlotRequest::new(
            Jobs::job_id(job),
            allocation_id,
            self.pods[job].request_profile(self.settings.slicing).clone(),
            self.jobs.job(job).target_address.clone(),
        );
        match self.manager.register_slot_request(request) {
            Ok(SlotRequestOutcome::Accepted(status)) => {
                if let Some(request) = self.jobs.request(allocation_id) {
                    request.at_once = status != AllocationStatus::Waiting;
                }
                Ok(())
            }
            Err(SlotRequestError::Failed { failure, .. }) => self.request_failed(allocation_id, &failure),
            Ok(outcome) => bail!("the allocation {allocation_id} is new, and its outcome is: {outcome}"),
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels the job's open requests, gives back its slots, and returns the number of cancelled
    /// requests.
    fn give_up(&mut self, job: usize) -> Result<usize> {
        let (open, granted) = self.jobs.open_and_granted(job);
        match open[..] {
            [] => {}
            [allocation_id] => {
                let outcome = self.manager.unregister_slot_request(allocation_id);
                ensure!(
                    outcome == CancelOutcome::Cancelled,
                    "the open allocation {allocation_id} cannot be cancelled: {outcome:?}"
                );
            }
            _ => {
                let withdrawn = self.manager.unregister_job(Jobs::job_id(job));
                ensure!(
                    withdrawn == open.len(),
                    "{withdrawn} of the {} open requests of job {} were cancelled",
                    open.len(),
                    Jobs::job_id(job)
                );
            }
        }
        for allocation_id in &open {
            self.statistics.withdrawn += 1;
            self.wait_ended(*allocation_id, End::Cancelled);
            self.jobs.close(*allocation_id);
        }
        for (allocation_id, slot_id) in granted {
            if let Some(request) = self.jobs.request(allocation_id) {
                request.state = RequestState::GivenBack;
            }
            self.granted -= self.pods[job].request_amounts(self.settings.slicing);
            self.give_back(slot_id, allocation_id);
        }
        Ok(open.len())
    }

    fn give_back(&mut self, slot_id: SlotId, allocation_id: AllocationId) {
        let latency = self.chance.latency();
        self.push(latency, Event::GivenBack { slot_id, allocation_id });
    }

    /// Notes a grant: the job begins to use the slot.
    pub(super) fn granted(&mut self, allocation_id: AllocationId, slot_id: SlotId) -> Result<()> {
        let now = self.clock.now();
        let Some(request) = self.jobs.request(allocation_id) else {
            bail!("slot {slot_id} is granted to allocation {allocation_id}, which no job requested");
        };
        ensure!(
            request.state == RequestState::Open,
            "slot {slot_id} is granted to allocation {allocation_id}, which is {:?}",
            request.state
        );
        request.state = RequestState::Granted(slot_id.clone());
        let (job, at_once, wait) = (request.job, request.at_once, now - request.asked_at);
        self.statistics.granted(at_once, wait);
        self.granted += self.pods[job].request_amounts(self.settings.slicing);
        if self.jobs.note_grant(job) {
            self.statistics.pod_complete(now - self.pods[job].created);
        }
        self.wait_ended(allocation_id, End::Granted);
        let latency = self.chance.latency();
        self.push(latency, Event::Activated { slot_id, allocation_id });
        Ok(())
    }

    /// Handles the notification that a request failed or a grant was lost.
    pub(super) fn failed(&mut self, allocation_id: AllocationId, cause: &AllocationFailureCause) -> Result<()> {
        match cause {
            AllocationFailureCause::RequestFailed(failure) => self.request_failed(allocation_id, failure),
            AllocationFailureCause::GrantLost { .. } => {
                self.grant_ended(allocation_id);
                Ok(())
            }
        }
    }

    fn request_failed(&mut self, allocation_id: AllocationId, failure: &RequestFailure) -> Result<()> {
        let Some(request) = self.jobs.request(allocation_id) else {
            bail!("allocation {allocation_id}, which no job requested, failed: {failure}");
        };
        ensure!(
            request.state == RequestState::Open,
            "allocation {allocation_id}, which is {:?}, failed: {failure}",
            request.state
        );
        let job = request.job;
        self.wait_ended(allocation_id, End::Failed(failure.clone()));
        self.jobs.close(allocation_id);
        self.statistics.request_failed(match failure {
            RequestFailure::Timeout { .. } if self.fits[job] => FailureKind::NoSlotInTime,
            RequestFailure::Timeout { .. } => FailureKind::FitsNoSlot,
            RequestFailure::ResourceManager(_) => FailureKind::NoWorker,
            _ => FailureKind::Other,
        });
        let latency = self.chance.latency();
        self.push(latency, Event::PodFails { job });
        Ok(())
    }

    /// Ends a grant. If its job still used the slot, the job requests another one.
    pub(super) fn grant_ended(&mut self, allocation_id: AllocationId) {
        let Some(request) = self.jobs.request(allocation_id) else {
            return;
        };
        let job = request.job;
        match request.state.clone() {
            RequestState::Granted(slot_id) => {
                self.statistics.grants_lost += 1;
                self.granted -= self.pods[job].request_amounts(self.settings.slicing);
                self.jobs.note_lost_grant(job);
                // The task executor may still hold the slot for the job: only its connection or a
                // message was lost.
                self.give_back(slot_id, allocation_id);
                let latency = self.chance.latency();
                self.push(latency, Event::AskAgain { job });
            }
            RequestState::GivenBack => {}
            RequestState::Open | RequestState::Over => return,
        }
        self.jobs.close(allocation_id);
    }
}
