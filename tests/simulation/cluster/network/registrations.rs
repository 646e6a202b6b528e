//! The registration of workers, and its refusal.

use slot_manager::config::Limit;
use slot_manager::error::RegistrationError;
use slot_manager::outcome::{RegistrationOutcome, ReportOutcome};
use slot_manager::{InstanceId, LeaderId, SlotReport, SlotStatus, TaskExecutorConnection, WorkerRequestId};

use crate::cluster::capacity_rules;
use crate::cluster::checks::slot_inventory::SlotInventory;
use crate::cluster::faults::Fault;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

impl Simulation {
    pub(crate) fn manager_hears_registration(
        &mut self,
        worker: usize,
        leader_id: LeaderId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestId>,
        report: &SlotReport,
    ) -> Check {
        // The service around the manager drops messages to another leader.
        if leader_id != self.leader_id() {
            return Ok(());
        }
        let resource_id = self.workers[worker].executor.resource_id();
        let mut connection = TaskExecutorConnection::new(resource_id, instance_id, self.gateway_to(worker));
        if let Some(worker_request) = worker_request {
            connection = connection.with_worker_request(worker_request);
        }
        let named = worker_request.filter(|it| it.leader_id() == self.leader_id());
        let refusal = self.expected_refusal(worker, named, report);
        let outcome = self.manager.register_task_manager(connection, report);
        if !self.is_leading() {
            return self.not_started(matches!(outcome, Err(RegistrationError::NotStarted(_))));
        }
        match outcome {
            Err(RegistrationError::LimitReached { limit }) if refusal == Some(limit) => self.refused(worker),
            Ok(RegistrationOutcome::Reported(ReportOutcome::Ignored(_))) => self.counters.ignored_report(),
            Ok(outcome) if refusal.is_none() => {
                self.fencing.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
                if outcome == RegistrationOutcome::Registered {
                    self.recovery.worker_registered();
                }
                if worker_request != named {
                    self.faults.count(Fault::PromiseOfFormerLeaderNamed);
                }
                self.check_named_worker_request(instance_id, named, &outcome)?;
            }
            outcome => return Err(format!("a registration is {outcome:?}, with {refusal:?}: {report:?}")),
        }
        self.observe(None)
    }

    /// Checks that a new task manager is known with the worker request of this leadership that it
    /// named. It may be released within the call.
    fn check_named_worker_request(
        &self,
        instance_id: InstanceId,
        named: Option<WorkerRequestId>,
        outcome: &RegistrationOutcome,
    ) -> Check {
        let is_new = !matches!(outcome, RegistrationOutcome::Reported(_));
        match self.manager.task_manager(instance_id) {
            Some(task_manager) if is_new && task_manager.worker_request() != named => {
                Err(format!("{task_manager:?} named {named:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the limit that must refuse a worker: unknown, without a promise, and without an
    /// allocation.
    fn expected_refusal(&self, worker: usize, named: Option<WorkerRequestId>, report: &SlotReport) -> Option<Limit> {
        let resource_id = self.workers[worker].executor.resource_id();
        if self.manager.task_manager_of(&resource_id).is_some() || report.statuses().is_empty() {
            return None;
        }
        let is_needed = report.statuses().iter().any(|status| {
            let mut promised = self.manager.promised_slots();
            status.allocation().is_some()
                || promised.any(|promised| match named {
                    Some(named) => promised.worker_request() == named,
                    None => status.resource_profile().is_matching(promised.resource_profile()),
                })
        });
        if is_needed {
            return None;
        }
        let present = SlotInventory::of(&self.manager).total();
        let slots = report.statuses().iter().map(SlotStatus::resource_profile);
        capacity_rules::limit_beyond(&self.scenario.config, present, capacity_rules::total(slots))
    }

    /// Lets the resource manager stop a refused worker.
    fn refused(&mut self, worker: usize) {
        self.faults.count(Fault::RegistrationRefused);
        self.counters.refused_task_manager();
        let process = self.workers[worker].process;
        self.send(Link::ManagerToWorker(worker), Message::Stop { process });
    }
}
