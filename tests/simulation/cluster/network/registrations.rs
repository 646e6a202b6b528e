//! The registration of workers, and its refusal.

use slot_manager::config::Limit;
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
        if self.manager.leader_id().is_none() {
            return self.not_started();
        }
        // The service around the manager drops messages to another leader.
        if leader_id != self.leader_id() {
            return Ok(());
        }
        let resource_id = self.workers[worker].executor.resource_id();
        let mut connection = TaskExecutorConnection::new(resource_id, instance_id, self.gateway_to(worker));
        if let Some(worker_request) = worker_request {
            connection = connection.with_worker_request(worker_request);
        }
        let refusal = self.expected_refusal(worker, worker_request, report);
        let outcome = self.manager.register_task_manager(connection, report);
        match outcome.map_err(|error| format!("a registration was refused: {error}"))? {
            RegistrationOutcome::Refused { limit } if refusal == Some(limit) => self.refused(worker),
            RegistrationOutcome::Reported(ReportOutcome::Ignored(_)) => self.counters.ignored_report(),
            outcome if refusal.is_none() && !matches!(outcome, RegistrationOutcome::Refused { .. }) => {
                self.fencing.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
            }
            outcome => return Err(format!("a registration is {outcome:?}, with {refusal:?}: {report:?}")),
        }
        self.observe(None)
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
