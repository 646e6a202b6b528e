//! The handling of each input, and of its outcome.

use std::collections::BTreeSet;
use std::fmt::Display;

use slot_manager::error::{RegistrationError, RequirementsError, SlotRequestError};
use slot_manager::message::{ReleaseCheck, ReleaseDecision, SlotFreed};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, ReleaseAnswerOutcome, ReportOutcome, RequirementsOutcome, SlotAnswerOutcome,
    SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::{
    AllocationId, InstanceId, JobId, ResourceId, ResourceRequirements, SlotReport, SlotRequest, TaskExecutorConnection,
    WorkerRequestId,
};
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, info, warn};

use super::actions::{Actions, JobMasterSession};
use super::gateway::Gateway;
use super::mailbox::Input;
use super::messages::request_status;
use super::outbox::Outbox;
use super::owner::Owner;
use crate::protocol::v1::to_job_master::Message;
use crate::protocol::{Registration, v1};
use crate::provisioner::News;
use crate::web::EventKind;

impl Owner {
    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Register {
                registration,
                worker_request,
                report,
                outbox,
            } => self.register(registration, worker_request, &report, outbox),
            Input::Reported { instance_id, report } => self.reported(instance_id, &report),
            Input::Answered { attempt, result } => match self.manager.answer_slot_request(attempt, result) {
                SlotAnswerOutcome::Applied => {}
                outcome => log(attempt, outcome),
            },
            Input::Freed(freed) => self.freed(&freed),
            Input::ReleaseAnswered { check, decision } => self.release_answered(check, decision),
            Input::TaskExecutorGone { instance_id, cause } => self.task_executor_gone(instance_id, cause),
            Input::JobMaster {
                job_id,
                session,
                grants,
                outbox,
            } => self.register_job_master(job_id, session, grants, outbox),
            Input::Requested(request) => self.requested(request),
            Input::Cancelled { job_id, allocation_id } => self.cancelled(job_id, allocation_id),
            Input::Declared(requirements) => self.declared(&requirements),
            Input::JobMasterGone { job_id, session } => self.job_master_gone(job_id, session),
            Input::Provisioner(news) => self.provisioner(news),
            Input::Query(query) => query(&mut self.manager),
        }
    }

    fn register(
        &mut self,
        registration: Registration,
        worker_request: Option<WorkerRequestId>,
        report: &SlotReport,
        outbox: Outbox<v1::ToTaskExecutor>,
    ) {
        let Registration {
            epoch,
            resource_id,
            instance_id,
        } = registration;
        if outbox.has_ended() {
            return debug!(%resource_id, %instance_id, "task executor not registered: its session has ended");
        }
        let registered = v1::Registered {
            epoch: epoch.0,
            instance_id: instance_id.to_bytes().into(),
            heartbeat_interval_ms: self.heartbeats.interval_ms(),
            heartbeat_timeout_ms: self.heartbeats.timeout_ms(),
        };
        if let Some(worker_request) = worker_request.filter(|id| self.is_dismissed(&resource_id, *id)) {
            let cause = "it was released or withdrawn";
            debug!(%resource_id, %worker_request, "task executor not registered: {cause}");
            self.turn_away(&resource_id, &outbox, cause);
            outbox.end(Status::aborted(cause));
            // A withdrawn worker has a promise still, and no provisioner reports a worker that is
            // told to stop.
            let outcome = self.manager.worker_failed(worker_request, cause);
            return log(worker_request, outcome);
        }
        let gateway = Gateway::new(outbox.clone(), registered);
        let mut connection =
            TaskExecutorConnection::new(resource_id.clone(), instance_id, gateway).with_leader(epoch.leader_id());
        if let Some(worker_request) = worker_request {
            connection = connection.with_worker_request(worker_request);
        }
        match self.manager.register_task_manager(connection, report) {
            Ok(outcome) => {
                debug!(%resource_id, %instance_id, %outcome, "task executor registered");
                self.show(false, format!("{resource_id}: {outcome}"));
                self.check_recovery();
            }
            Err(error) => {
                warn!(%resource_id, %instance_id, %error, "task executor not registered");
                self.show(true, format!("{resource_id} is not registered: {error}"));
                if let RegistrationError::LimitReached { .. } = error {
                    self.turn_away(&resource_id, &outbox, &error.to_string());
                }
                outbox.end(refusal(&error));
            }
        }
    }

    /// Returns `true` if a worker was told to go in this leadership. Workers that were started by
    /// hand name no worker request, and nobody stops them.
    fn is_dismissed(&self, resource_id: &ResourceId, worker_request: WorkerRequestId) -> bool {
        let actions = self.manager.actions();
        actions.is_some_and(|actions| actions.dismissed.has(resource_id, worker_request))
    }

    /// Tells a worker to stop that is not registered.
    fn turn_away(&mut self, resource_id: &ResourceId, outbox: &Outbox<v1::ToTaskExecutor>, cause: &str) {
        let cause = cause.to_owned();
        outbox.send(v1::to_task_executor::Message::Stop(v1::Stop { cause }));
        if let Some(actions) = self.manager.actions_mut() {
            actions.dismiss(resource_id);
        }
    }

    fn reported(&mut self, instance_id: InstanceId, report: &SlotReport) {
        match self.manager.report_slot_status(instance_id, report) {
            Ok(ReportOutcome::Applied) => {}
            Ok(outcome) => log(instance_id, outcome),
            Err(error) => {
                warn!(%instance_id, %error, "report refused");
                if let Some(gateway) = self.manager.gateway(instance_id) {
                    gateway.end(Status::invalid_argument(error.to_string()));
                }
            }
        }
    }

    fn freed(&mut self, freed: &SlotFreed) {
        match self.manager.slot_freed(freed) {
            SlotFreedOutcome::Freed | SlotFreedOutcome::FreedInFlight => {}
            outcome => log(freed.slot_id(), outcome),
        }
    }

    fn release_answered(&mut self, check: ReleaseCheck, decision: ReleaseDecision) {
        match self.manager.answer_release(&check, decision) {
            // The session ends when the task executor does.
            ReleaseAnswerOutcome::Released => {}
            outcome => log(check.instance_id, outcome),
        }
    }

    fn task_executor_gone(&mut self, instance_id: InstanceId, cause: String) {
        let task_manager = self.manager.task_manager(instance_id);
        let resource_id = task_manager.map(|task_manager| task_manager.resource_id().clone());
        match self.manager.unregister_task_manager(instance_id, cause.as_str()) {
            UnregistrationOutcome::Unregistered => debug!(%instance_id, "task executor is lost"),
            outcome => log(instance_id, outcome),
        }
        if let Some(resource_id) = resource_id {
            self.show(true, format!("{resource_id} is lost: {cause}"));
        }
    }

    fn register_job_master(
        &mut self,
        job_id: JobId,
        session: u64,
        grants: Vec<AllocationId>,
        outbox: Outbox<v1::ToJobMaster>,
    ) {
        let Some(term) = &mut self.term else {
            return;
        };
        let registered = v1::JobRegistered {
            epoch: term.epoch.0,
            heartbeat_interval_ms: self.heartbeats.interval_ms(),
            heartbeat_timeout_ms: self.heartbeats.timeout_ms(),
        };
        if !outbox.send(Message::Registered(registered)) {
            return;
        }
        term.away.remove(&job_id);
        let recovers = term.recovers;
        let Some(actions) = self.manager.actions_mut() else {
            return;
        };
        info!(%job_id, "job master registered");
        let job_master = JobMasterSession {
            session,
            outbox,
            unchecked_grants: BTreeSet::from_iter(grants),
        };
        if let Some(previous) = actions.job_masters.insert(job_id, job_master) {
            let cause = Status::aborted("the job master has registered again");
            previous.outbox.end(cause);
        }
        if !recovers {
            self.check_grants(job_id);
        }
    }

    fn job_master_gone(&mut self, job_id: JobId, session: u64) {
        let Some((actions, term)) = self.manager.actions_mut().zip(self.term.as_mut()) else {
            return;
        };
        let present = actions.job_masters.get(&job_id).map(|job_master| job_master.session);
        // A later session has replaced this one.
        if present != Some(session) {
            return;
        }
        actions.job_masters.remove(&job_id);
        if let Some(until) = Instant::now().checked_add(self.heartbeats.timeout) {
            term.away.insert(job_id, until);
        }
    }

    fn requested(&mut self, request: SlotRequest) {
        let (job_id, allocation_id) = (request.job_id(), request.allocation_id());
        let result = self.manager.register_slot_request(request);
        let Some(actions) = self.manager.actions() else {
            return;
        };
        match result {
            // The grant has been notified within the call.
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { .. })) => {}
            Ok(SlotRequestOutcome::Accepted(status) | SlotRequestOutcome::Duplicate(status)) => {
                actions.tell(job_id, request_status(allocation_id, &status));
            }
            Ok(outcome) => warn!(%allocation_id, %outcome, "unknown outcome of a request"),
            // The job master repeats the request to the next leader.
            Err(SlotRequestError::NotStarted(error)) => debug!(%allocation_id, %error, "request dropped"),
            Err(error) => refuse_request(actions, job_id, allocation_id, &error),
        }
    }

    fn cancelled(&mut self, job_id: JobId, allocation_id: AllocationId) {
        let request = self.manager.pending_slot_request(allocation_id);
        if request.is_some_and(|request| request.job_id() != job_id) {
            return warn!(%job_id, %allocation_id, "a job cancels the request of another job");
        }
        match self.manager.unregister_slot_request(allocation_id) {
            CancelOutcome::Cancelled => {}
            // The job master tells the task executor, which then frees the slot.
            outcome => log(allocation_id, outcome),
        }
    }

    fn declared(&mut self, requirements: &ResourceRequirements) {
        let job_id = requirements.job_id();
        let (highest_revision, cause) = match self.manager.declare_requirements(requirements) {
            Ok(RequirementsOutcome::Ignored(stale)) => (stale.highest_seen, stale.to_string()),
            // The job gives back the slots in excess: it knows which of them it uses.
            Ok(outcome) => return debug!(%job_id, %outcome, "requirements declared"),
            // The job master declares again to the next leader.
            Err(RequirementsError::NotStarted(error)) => return debug!(%job_id, %error, "declaration dropped"),
            Err(error) => (0, error.to_string()),
        };
        if let Some(actions) = self.manager.actions() {
            let text = format!("declaration of job {job_id} is refused: {cause}");
            actions.shown.warn(EventKind::Job, text);
            let revision = requirements.revision().unwrap_or_default();
            let refused = v1::DeclarationRefused {
                revision,
                highest_revision,
                cause,
            };
            actions.tell(job_id, Message::DeclarationRefused(refused).into());
        }
    }

    fn provisioner(&mut self, news: News) {
        match news {
            News::Failed { worker_request, cause } => {
                let outcome = self.manager.worker_failed(worker_request, cause.as_str());
                let actions = self.manager.actions();
                let is_withdrawn = actions.is_some_and(|actions| actions.dismissed.is_withdrawn(worker_request));
                // Other workers had registered before, or were given up.
                if matches!(outcome, WorkerFailedOutcome::Forgotten { .. }) && !is_withdrawn {
                    warn!(%worker_request, cause, %outcome, "worker request failed");
                    self.show(true, format!("worker request {worker_request} failed: {cause}"));
                } else {
                    debug!(%worker_request, cause, %outcome, "worker has ended");
                }
                self.expect_no_more(worker_request);
            }
            News::Comes(worker_request) => {
                debug!(%worker_request, "too late to withdraw a worker");
                if let Some(actions) = self.manager.actions_mut() {
                    actions.dismissed.admit(worker_request);
                }
            }
            News::Known(workers) => {
                let outcome = self.manager.expect_workers(workers.values().cloned());
                info!(workers = workers.len(), %outcome, "recovery waits for workers");
                if let Some(term) = &mut self.term {
                    term.earlier_workers = workers;
                }
                self.check_recovery();
            }
        }
    }

    /// Ends the wait for a worker that an earlier leader has requested.
    fn expect_no_more(&mut self, worker_request: WorkerRequestId) {
        let workers = self.term.as_mut().map(|term| &mut term.earlier_workers);
        let Some(resource_id) = workers.and_then(|workers| workers.remove(&worker_request)) else {
            return;
        };
        let missing = self.manager.recovery().and_then(|recovery| recovery.missing_workers);
        if let Some(mut missing) = missing.cloned()
            && missing.remove(&resource_id)
        {
            let outcome = self.manager.expect_workers(missing);
            info!(%resource_id, %outcome, "recovery waits for a worker no more");
            self.check_recovery();
        }
    }

    pub(super) fn check_all_grants(&mut self) {
        let job_masters = self
            .manager
            .actions()
            .map(|actions| actions.job_masters.keys().copied());
        for job_id in job_masters.into_iter().flatten().collect::<BTreeSet<_>>() {
            self.check_grants(job_id);
        }
    }

    /// Tells a job master which of the grants that it named are lost.
    fn check_grants(&mut self, job_id: JobId) {
        let job_master = self
            .manager
            .actions_mut()
            .and_then(|actions| actions.job_masters.get_mut(&job_id));
        let Some(job_master) = job_master else {
            return;
        };
        for allocation_id in std::mem::take(&mut job_master.unchecked_grants) {
            let is_lost = self.manager.allocation_status(allocation_id).is_none();
            if let Some(actions) = self.manager.actions().filter(|_| is_lost) {
                actions.tell_lost(job_id, allocation_id, "no task executor holds a slot for it");
            }
        }
    }

    /// Shows an event of a worker.
    fn show(&self, is_warning: bool, text: String) {
        match self.manager.actions() {
            Some(actions) if is_warning => actions.shown.warn(EventKind::Worker, text),
            Some(actions) => actions.shown.push(EventKind::Worker, text),
            None => {}
        }
    }
}

fn refuse_request(actions: &Actions, job_id: JobId, allocation_id: AllocationId, error: &SlotRequestError) {
    let cause = match error {
        SlotRequestError::Failed { failure, .. } => failure.to_string(),
        error => error.to_string(),
    };
    actions.tell_failed(job_id, allocation_id, &cause);
}

/// Returns the status for a task executor that is not registered.
fn refusal(error: &RegistrationError) -> Status {
    let reason = error.to_string();
    match error {
        RegistrationError::NotStarted(_) | RegistrationError::OtherLeader { .. } => Status::failed_precondition(reason),
        RegistrationError::LimitReached { .. } => Status::resource_exhausted(reason),
        RegistrationError::Superseded { .. } => Status::aborted(reason),
        _ => Status::invalid_argument(reason),
    }
}

/// Logs an outcome that needs no act.
fn log(subject: impl Display, outcome: impl Display) {
    debug!(%subject, %outcome, "no act is needed");
}
