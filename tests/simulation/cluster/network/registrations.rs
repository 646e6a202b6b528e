//! Workers that register, and those that are not let in.

use slot_manager::{
    InstanceId, LeaderId, Limit, RegistrationOutcome, ReportOutcome, SlotReport, SlotStatus, TaskExecutorConnection,
    WorkerRequestId,
};

use crate::cluster::capacity_rules;
use crate::cluster::checks::slot_inventory::Standing;
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
        // Whoever embeds the manager refuses messages to another leader.
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
                self.watch.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
            }
            outcome => return Err(format!("a registration is {outcome:?}, with {refusal:?}: {report:?}")),
        }
        self.observe(None)
    }

    /// The limit for which a worker is not to be let in: one that is not known, keeps no promise and holds nothing.
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
        let present = Standing::of(&self.manager).total();
        let slots = report.statuses().iter().map(SlotStatus::resource_profile);
        capacity_rules::limit_beyond(&self.scenario.config, present, capacity_rules::total(slots))
    }

    /// The resource manager stops a worker that is not let in.
    fn refused(&mut self, worker: usize) {
        self.faults.count(Fault::RegistrationRefused);
        self.counters.refused_task_manager();
        let process = self.workers[worker].process;
        self.send(Link::ManagerToWorker(worker), Message::Stop { process });
    }
}
