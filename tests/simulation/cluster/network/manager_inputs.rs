//! The messages that reach the manager. Its outcomes must agree with the ledger.

use slot_manager::error::{InvalidReport, RequirementsError, SlotAllocationError, SlotReportError, SlotRequestError};
use slot_manager::message::{RequestFailure, SlotFreed};
use slot_manager::outcome::{
    CancelOutcome, ReportOutcome, RequirementsOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome,
    UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::view::{PromisedSlot, SlotState, TaskManagerRegistration, TaskManagerSlot};
use slot_manager::{
    AllocationId, InstanceId, ResourceProfile, ResourceRequirements, SlotId, SlotReport, SlotRequest, SlotStatus,
    WorkerRequestId,
};

use crate::cluster::checks::call_context::CallContext;
use crate::cluster::faults::Fault;
use crate::cluster::network::gateway::{Answer, Reply, ReplyWay};
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
            Err(SlotRequestError::NotStarted(_)) => return self.not_started(true),
            other => return Err(format!("the request of {id}, which was {known:?}, came to {other:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_cancellation(&mut self, id: AllocationId) -> Check {
        if !self.is_leading() {
            let outcome = self.manager.unregister_slot_request(id);
            return self.not_started(outcome == CancelOutcome::Unknown);
        }
        let (pending, held) = (self.ledger.is_pending(id), self.ledger.is_held(id));
        match self.manager.unregister_slot_request(id) {
            CancelOutcome::Cancelled => {
                self.counters.cancelled(1);
                self.ledger.end(id, "cancelled")?;
            }
            CancelOutcome::AlreadyGranted { .. } if held => {}
            CancelOutcome::Declared if self.ledger.is_declared(id) => {}
            CancelOutcome::Unknown if !held && !pending => {}
            other => return Err(format!("cancelling {id} came to {other:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_declaration(&mut self, requirements: &ResourceRequirements) -> Check {
        let (newer, is_in_force) = (
            self.requirements.newer_than(requirements),
            self.requirements.is_in_force(requirements),
        );
        let limit = self.scenario.config.max_pending_requests;
        match self.manager.declare_requirements(requirements) {
            Ok(RequirementsOutcome::Ignored(stale)) if newer == Some(stale.highest_seen) => {
                self.faults.count(Fault::DeclarationStale);
            }
            Ok(RequirementsOutcome::Unchanged) if newer.is_none() && is_in_force => {
                self.requirements.accept(requirements);
            }
            Ok(RequirementsOutcome::Declared { .. }) if newer.is_none() && !is_in_force => {
                self.requirements.accept(requirements);
            }
            Err(RequirementsError::TooManyPendingRequests { limit: named })
                if newer.is_none() && !is_in_force && limit == Some(named) =>
            {
                self.faults.count(Fault::DeclarationRefused);
                self.declaration_is_refused(requirements);
            }
            Err(RequirementsError::NotStarted(_)) => return self.not_started(true),
            other => return Err(format!("{requirements:?} came to {other:?}, newer: {newer:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_end_of_job(&mut self, job: u128) -> Check {
        let cancelled = self.manager.unregister_job(job_id(job));
        if !self.is_leading() {
            return self.not_started(cancelled == 0);
        }
        let pending = self.ledger.end_job(job_id(job));
        self.requirements.end_job(job_id(job));
        self.counters.cancelled(cancelled);
        if cancelled != pending {
            return Err(format!(
                "{cancelled} requests of job {job} were cancelled, it had {pending}"
            ));
        }
        self.observe(None)
    }

    /// Passes the news that a slot is free, which the manager may have asked for.
    pub(crate) fn manager_hears_freed(&mut self, freed: &SlotFreed, is_asked: bool) -> Check {
        let is_outdated = self.is_outdated(freed);
        let outcome = self.manager.slot_freed(freed);
        if !self.is_leading() {
            return self.not_started(outcome == SlotFreedOutcome::Unknown);
        }
        if (outcome == SlotFreedOutcome::Outdated) != is_outdated {
            return Err(format!("{freed:?} is {outcome:?}, outdated: {is_outdated}"));
        }
        match outcome {
            SlotFreedOutcome::FreedInFlight if is_asked => {
                return Err(format!("{freed:?} ends the attempt that followed the one given up"));
            }
            SlotFreedOutcome::Freed | SlotFreedOutcome::FreedInFlight => {
                if freed.revision().is_none() {
                    self.counters.freed_without_revision();
                }
                self.check_revision_is_noted(freed)?;
                return self.observe(Some(freed.allocation_id()));
            }
            SlotFreedOutcome::NotAllocated | SlotFreedOutcome::HeldByAnother { .. } => {
                self.check_revision_is_noted(freed)?;
            }
            SlotFreedOutcome::Outdated => self.faults.count(Fault::FreedOutdated),
            SlotFreedOutcome::Unknown if self.manager.slot(freed.slot_id()).is_none() => {}
            other => return Err(format!("{freed:?} is {other:?}")),
        }
        self.observe(None)
    }

    /// Returns `true` if a message about a freed slot is of another registration, of an attempt
    /// before the one in flight, or not newer than an applied report while none is in flight.
    fn is_outdated(&self, freed: &SlotFreed) -> bool {
        let Some(slot) = self.manager.slot(freed.slot_id()) else {
            return false;
        };
        let in_flight = self.fencing.attempt_to(freed.slot_id(), freed.allocation_id());
        let is_of_earlier_attempt = freed
            .attempt()
            .is_some_and(|of| in_flight.is_some_and(|number| of < number));
        let Some((instance_id, revision)) = freed.revision() else {
            return is_of_earlier_attempt;
        };
        let is_in_flight = matches!(slot.state(), SlotState::InFlight { .. });
        let reported = self.fencing.reported_revision(instance_id);
        is_of_earlier_attempt
            || slot.task_manager().instance_id() != instance_id
            || (!is_in_flight && reported.is_some_and(|reported| reported >= revision))
    }

    /// Checks that reports older than a message about a freed slot are stale from now on.
    fn check_revision_is_noted(&self, freed: &SlotFreed) -> Check {
        let Some((instance_id, revision)) = freed.revision() else {
            return Ok(());
        };
        match self.manager.task_manager(instance_id) {
            Some(task_manager) if task_manager.revision() < Some(revision) => {
                Err(format!("the revision of {freed:?} is not noted: {task_manager:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Answers a slot request with a broken connection.
    pub(crate) fn connection_breaks(&mut self, reply: &Reply) -> Check {
        self.answer(reply, Err(SlotAllocationError::unreachable("connection reset")))
    }

    /// Completes the future of an attempt, or passes its answer to the manager.
    pub(crate) fn answer(&mut self, reply: &Reply, answer: Answer) -> Check {
        let attempt_id = reply.attempt_id;
        let is_of_leader = attempt_id.leader_id == self.leader_id();
        let is_open = is_of_leader && self.fencing.is_open(&attempt_id);
        if is_of_leader && (self.is_leading() || matches!(reply.way, ReplyWay::Future(_))) {
            self.fencing.answered(attempt_id.number, &answer);
        }
        match &reply.way {
            ReplyWay::Future(sender) => {
                if let Some(sender) = sender.take() {
                    // The manager may have given up the attempt.
                    let _ = sender.send(answer);
                }
                Ok(())
            }
            ReplyWay::Input => self.manager_hears_answer(reply, answer, is_open),
        }
    }

    fn manager_hears_answer(&mut self, reply: &Reply, answer: Answer, is_open: bool) -> Check {
        let outcome = self.manager.answer_slot_request(reply.attempt_id, answer.clone());
        if !self.is_leading() {
            // The leadership may go on.
            self.network.unanswered.push(reply.clone());
            return self.not_started(outcome == SlotAnswerOutcome::Unknown);
        }
        match outcome {
            SlotAnswerOutcome::Applied if is_open => self.observe_answer(),
            SlotAnswerOutcome::Unknown if !is_open => {
                self.faults.count(Fault::AnswerVoid);
                self.observe(None)
            }
            other => Err(format!("{answer:?} to {reply:?} is {other:?}; in flight: {is_open}")),
        }
    }

    pub(crate) fn manager_hears_report(
        &mut self,
        worker: usize,
        instance_id: InstanceId,
        report: &SlotReport,
    ) -> Check {
        if !self.is_leading() {
            let refused = self.manager.report_slot_status(instance_id, report);
            return self.not_started(matches!(refused, Err(SlotReportError::NotStarted(_))));
        }
        if self.fails(self.scenario.network.loss / 4.0) {
            self.manager_hears_malformed_report(instance_id, report)?;
        }
        let known = self.manager.task_manager(instance_id);
        let seen = known.as_ref().map(TaskManagerRegistration::revision);
        let slots = known.iter().flat_map(TaskManagerRegistration::slots);
        let held: Vec<_> = slots
            .filter_map(|slot| Some((slot.slot_id(), slot.allocation_id()?)))
            .collect();
        let outcome = self.manager.report_slot_status(instance_id, report);
        match outcome.map_err(|error| format!("a report was rejected: {error}"))? {
            ReportOutcome::Applied if seen.is_some_and(|seen| report.revision() >= seen) => {
                self.fencing.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
                self.check_report_is_applied(instance_id, report, &held)?;
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

    /// Checks that the slots of the view equal those of an applied report. It knows nothing of cuts
    /// in flight or cut since, but of all that were `held` before.
    fn check_report_is_applied(
        &self,
        instance_id: InstanceId,
        report: &SlotReport,
        held: &[(SlotId, AllocationId)],
    ) -> Check {
        let Some(task_manager) = self.manager.task_manager(instance_id) else {
            return Ok(());
        };
        let is_reported = |slot: &SlotId| report.statuses().iter().any(|status| status.slot_id() == slot);
        let is_held = |slot: &TaskManagerSlot<'_>| {
            let holder = slot.allocation_id();
            holder.is_some_and(|allocation_id| held.contains(&(slot.slot_id(), allocation_id)))
        };
        let is_new_cut = |slot: &TaskManagerSlot<'_>| {
            let slot_id = slot.slot_id();
            slot_id.is_dynamic() && !is_reported(&slot_id) && !is_held(slot)
        };
        let view: Vec<_> = task_manager.slots().filter(|slot| !is_new_cut(slot)).collect();
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
        let mut statuses = report.statuses().to_vec();
        let at = statuses.len() / 2;
        let malformed = match report.dynamic() {
            None => {
                statuses.insert(at, SlotStatus::free(SlotId::new("stranger", 0), ResourceProfile::ANY));
                SlotReport::new(statuses)
            }
            Some(resources) => {
                let foreign = SlotId::dynamic("stranger", 0);
                let id = AllocationId::from_u128(u128::MAX);
                statuses.insert(at, SlotStatus::allocated(foreign, ResourceProfile::ZERO, id, job_id(1)));
                SlotReport::of_dynamic(resources.clone(), statuses)
            }
        };
        let before: Vec<_> = self
            .manager
            .slots()
            .map(|slot| (slot.slot_id(), slot.state()))
            .collect();
        let refused = self.manager.report_slot_status(instance_id, &malformed);
        let after: Vec<_> = self
            .manager
            .slots()
            .map(|slot| (slot.slot_id(), slot.state()))
            .collect();
        if !matches!(
            refused,
            Err(SlotReportError::InvalidReport(InvalidReport::ForeignSlot { .. }))
        ) || before != after
        {
            return Err(format!("a malformed report is {refused:?}"));
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_lost_worker(&mut self, instance_id: InstanceId) -> Check {
        let was_known = self.manager.task_manager(instance_id).is_some();
        let outcome = self.manager.unregister_task_manager(instance_id, "heartbeat timeout");
        if !self.is_leading() {
            return self.not_started(outcome == UnregistrationOutcome::Unknown);
        }
        match outcome {
            UnregistrationOutcome::Unregistered if was_known => {}
            UnregistrationOutcome::Unknown if !was_known => {}
            other => return Err(format!("unregistering {instance_id} returned {other:?}")),
        }
        self.observe(None)
    }

    pub(crate) fn manager_hears_failed_worker(&mut self, worker_request: WorkerRequestId) -> Check {
        let is_it = |slot: &PromisedSlot<'_>| slot.worker_request() == worker_request;
        let is_promised = self.manager.promised_slots().any(|slot| is_it(&slot));
        let outcome = self.manager.worker_failed(worker_request, "it did not start");
        if !self.is_leading() {
            return self.not_started(outcome == WorkerFailedOutcome::Unknown);
        }
        match outcome {
            WorkerFailedOutcome::Forgotten { .. } if is_promised => {}
            WorkerFailedOutcome::Unknown if !is_promised => {}
            other => return Err(format!("the failure of {worker_request} returned {other:?}")),
        }
        self.observe(None)
    }

    /// Counts and checks a request that failed while it was registered, without a notification.
    fn failed_at_once(&mut self, failure: &RequestFailure) -> Check {
        self.counters.failed_at_once(failure);
        if let RequestFailure::Unfulfillable { .. } = failure {
            self.faults.count(Fault::RequestUnfulfillable);
        }
        let context = CallContext::new(self.now(), self.leader_id(), &self.recovery, None, &self.operators);
        self.capacity.check_failure_at_once(&self.manager, &context, failure)
    }

    /// Checks that an input was refused because there is no leadership, and that it had no effect.
    pub(crate) fn not_started(&mut self, is_refused: bool) -> Check {
        if self.is_leading() || !is_refused {
            return Err(format!(
                "an input was refused: {is_refused}; leads: {}",
                self.is_leading()
            ));
        }
        if self.manager.leader_id().is_some() {
            self.faults.count(Fault::InputAfterLease);
        }
        self.observe(None)
    }
}
