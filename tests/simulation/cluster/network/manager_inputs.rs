//! The messages that reach the manager. Its outcomes must agree with the ledger.

use slot_manager::error::{NotStarted, SlotReportError, SlotRequestError};
use slot_manager::message::RequestFailure;
use slot_manager::outcome::{CancelOutcome, FreeSlotOutcome, ReportOutcome, SlotRequestOutcome};
use slot_manager::{
    AllocationId, InstanceId, ResourceProfile, SlotId, SlotReport, SlotRequest, SlotStatus, WorkerRequestId,
};

use crate::cluster::checks::call_context::CallContext;
use crate::cluster::faults::Fault;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::run::Check;
use crate::cluster::simulation::{Simulation, job_id};

impl Simulation {
    pub(crate) fn manager_hears_request(&mut self, job: u128, id: AllocationId, profile: ResourceProfile) -> Check {
        let known = self.manager.allocation_status(id);
        let pending = self.manager.overview().pending_requests;
        let limit = self.scenario.config.max_pending_requests;
        let request = SlotRequest::new(job_id(job), id, profile, format!("job-master-{job}"));
        match self.manager.register_slot_request(request) {
            Ok(SlotRequestOutcome::Accepted(_)) if limit.is_none_or(|limit| pending < limit) => {
                self.ledger.accept(id, job_id(job))?;
            }
            Ok(SlotRequestOutcome::Duplicate(status)) if known == Some(status.clone()) => {}
            Err(SlotRequestError::Failed { allocation_id, failure }) if allocation_id == id && known.is_none() => {
                self.failed_at_once(&failure)?;
                self.send(Link::ManagerToJob(job), Message::NotServed { allocation_id });
            }
            Err(SlotRequestError::TooManyPendingRequests { limit: named })
                if known.is_none() && limit == Some(named) && pending >= named =>
            {
                self.send(Link::ManagerToJob(job), Message::NotServed { allocation_id: id });
            }
            Err(SlotRequestError::NotStarted(_)) => return self.not_started(),
            other => return Err(format!("the request of {id}, which was {known:?}, came to {other:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_cancellation(&mut self, id: AllocationId) -> Check {
        let (pending, held) = (self.ledger.is_pending(id), self.ledger.is_held(id));
        match self.manager.unregister_slot_request(id) {
            Ok(CancelOutcome::Cancelled) => {
                self.counters.cancelled(1);
                self.ledger.end(id, "cancelled")?;
            }
            Ok(CancelOutcome::AlreadyGranted { .. }) if held => {}
            Ok(CancelOutcome::Unknown) if !held && !pending => {}
            Err(NotStarted) => return self.not_started(),
            Ok(other) => return Err(format!("cancelling {id} came to {other:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_end_of_job(&mut self, job: u128) -> Check {
        let Ok(cancelled) = self.manager.unregister_job(job_id(job)) else {
            return self.not_started();
        };
        let pending = self.ledger.end_job(job_id(job));
        self.counters.cancelled(cancelled);
        if cancelled != pending {
            return Err(format!(
                "{cancelled} requests of job {job} were cancelled, it had {pending}"
            ));
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_freed(&mut self, slot_id: &SlotId, id: AllocationId) -> Check {
        match self.manager.free_slot(slot_id, id) {
            Ok(FreeSlotOutcome::Freed | FreeSlotOutcome::FreedInFlight) => self.observe(Some(id)),
            Ok(_) => self.observe(None),
            Err(NotStarted) => self.not_started(),
        }
    }

    pub(crate) fn manager_hears_report(
        &mut self,
        worker: usize,
        instance_id: InstanceId,
        report: &SlotReport,
    ) -> Check {
        if self.manager.leader_id().is_none() {
            return self.not_started();
        }
        if self.fails(self.scenario.network.loss / 4.0) {
            self.manager_hears_malformed_report(instance_id, report)?;
        }
        let seen = self.manager.task_manager(instance_id).map(|it| it.revision());
        let outcome = self.manager.report_slot_status(instance_id, report);
        match outcome.map_err(|error| format!("a report was rejected: {error}"))? {
            ReportOutcome::Applied if seen.is_some_and(|seen| report.revision() >= seen) => {
                self.fencing.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
                self.check_report_is_applied(instance_id, report)?;
            }
            ReportOutcome::Ignored(stale) if seen == Some(Some(stale.highest_seen)) => {
                self.counters.ignored_report();
                if report.revision() != Some(stale.revision) || stale.revision >= stale.highest_seen {
                    return Err(format!("a report of revision {:?} is {stale:?}", report.revision()));
                }
            }
            ReportOutcome::Unknown if seen.is_none() => {
                self.send(Link::ManagerToWorker(worker), Message::RegisterAgain { instance_id });
            }
            other => return Err(format!("a report of {instance_id} is {other:?}, seen was {seen:?}")),
        }
        self.observe(None)
    }

    /// Checks that the slots of the view equal those of an applied report.
    fn check_report_is_applied(&self, instance_id: InstanceId, report: &SlotReport) -> Check {
        let Some(task_manager) = self.manager.task_manager(instance_id) else {
            return Ok(());
        };
        let view: Vec<_> = task_manager.slots().collect();
        let agrees = view.len() == report.statuses().len()
            && report.statuses().iter().all(|status| {
                let slot = view.iter().find(|slot| slot.slot_id() == *status.slot_id());
                slot.is_some_and(|slot| {
                    slot.resource_profile() == status.resource_profile()
                        && status
                            .allocation()
                            .is_none_or(|allocation| slot.allocation_id() == Some(allocation.id))
                })
            });
        if agrees {
            Ok(())
        } else {
            Err(format!("{report:?} was applied, the view is {view:?}"))
        }
    }

    /// Delivers a report with a slot of another worker, which is rejected as a whole.
    fn manager_hears_malformed_report(&mut self, instance_id: InstanceId, report: &SlotReport) -> Check {
        if self.manager.task_manager(instance_id).is_none() {
            return Ok(());
        }
        self.faults.count(Fault::MalformedReport);
        self.counters.refused_report();
        let foreign = SlotStatus::free(SlotId::new("stranger", 0), ResourceProfile::ANY);
        let mut statuses = report.statuses().to_vec();
        statuses.insert(statuses.len() / 2, foreign);
        let before: Vec<_> = self
            .manager
            .slots()
            .map(|slot| (slot.slot_id(), slot.state()))
            .collect();
        let refused = self.manager.report_slot_status(instance_id, &SlotReport::new(statuses));
        let after: Vec<_> = self
            .manager
            .slots()
            .map(|slot| (slot.slot_id(), slot.state()))
            .collect();
        if !matches!(refused, Err(SlotReportError::ForeignSlot { .. })) || before != after {
            return Err(format!("a malformed report is {refused:?}"));
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_lost_worker(&mut self, instance_id: InstanceId) -> Check {
        if self
            .manager
            .unregister_task_manager(instance_id, "heartbeat timeout")
            .is_err()
        {
            return self.not_started();
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_failed_worker(&mut self, leadership: u128, worker_request: WorkerRequestId) -> Check {
        if leadership != self.leaderships {
            return Ok(());
        }
        if self.manager.worker_failed(worker_request, "it did not start").is_err() {
            return self.not_started();
        }
        self.observe(None)
    }

    /// Counts and checks a request that failed while it was registered, without a notification.
    fn failed_at_once(&mut self, failure: &RequestFailure) -> Check {
        self.counters.failed_at_once(failure);
        if let RequestFailure::Unfulfillable { .. } = failure {
            self.faults.count(Fault::RequestUnfulfillable);
        }
        let context = CallContext::new(self.now(), self.leader_id(), self.began, None, &self.operators);
        self.capacity.check_failure_at_once(&self.manager, &context, failure)
    }

    /// Checks that a call was rejected without a leadership, and that it had no effect.
    pub(crate) fn not_started(&mut self) -> Check {
        if self.manager.leader_id().is_some() {
            return Err("a call was refused while started".to_owned());
        }
        self.observe(None)
    }
}
