//! The registration of workers, and its refusal.

use std::collections::BTreeSet;

use slot_manager::config::Limit;
use slot_manager::error::RegistrationError;
use slot_manager::outcome::{RegistrationOutcome, ReportOutcome};
use slot_manager::{InstanceId, LeaderId, ResourceProfile, SlotReport, TaskExecutorConnection, WorkerRequestId};

use crate::cluster::capacity_rules;
use crate::cluster::checks::slot_inventory::TaskManager;
use crate::cluster::faults::Fault;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::parties::task_executors::worker_name;
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
        let open = self.open_worker_requests();
        let outcome = self.manager.register_task_manager(connection, report);
        if !self.is_leading() {
            return self.not_started(matches!(outcome, Err(RegistrationError::NotStarted(_))));
        }
        match outcome {
            Err(RegistrationError::Superseded { .. }) if self.fencing.is_superseded(instance_id) => {}
            outcome if self.fencing.is_superseded(instance_id) => {
                return Err(format!(
                    "{instance_id} was replaced, and its registration is {outcome:?}"
                ));
            }
            Err(RegistrationError::LimitReached { limit }) if refusal == Some(limit) => self.refused(worker),
            Ok(RegistrationOutcome::Reported(ReportOutcome::Ignored(_))) => self.counters.ignored_report(),
            Ok(outcome) if refusal.is_none() || self.stands_for_another(named, &open) => {
                self.fencing.reported(instance_id, report);
                self.capacity.reported(instance_id, report);
                if outcome == RegistrationOutcome::Registered {
                    self.recovery.worker_registered(worker_name(worker));
                }
                if let RegistrationOutcome::Replaced { previous } = outcome {
                    self.fencing.replaced(previous);
                    self.repeat_registration(worker, previous, report)?;
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

    /// Sometimes repeats the registration of a replaced instance, and checks that it is refused.
    fn repeat_registration(&mut self, worker: usize, previous: InstanceId, report: &SlotReport) -> Check {
        if !self.fails(self.scenario.network.reordering) {
            return Ok(());
        }
        self.faults.count(Fault::RegistrationSuperseded);
        let resource_id = self.workers[worker].executor.resource_id();
        let connection = TaskExecutorConnection::new(resource_id, previous, self.gateway_to(worker));
        match self.manager.register_task_manager(connection, report) {
            Err(RegistrationError::Superseded { .. }) => Ok(()),
            outcome => Err(format!("{previous} was replaced, and its registration is {outcome:?}")),
        }
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

    /// Returns the limit that must refuse a worker: unknown, without a promise, without an
    /// allocation, and of no use for a request or beyond the limit without any promise.
    fn expected_refusal(&self, worker: usize, named: Option<WorkerRequestId>, report: &SlotReport) -> Option<Limit> {
        let resource_id = self.workers[worker].executor.resource_id();
        let newcomer = TaskManager::reported(report);
        if self.manager.task_manager_of(&resource_id).is_some() || newcomer.num_slots() == 0 {
            return None;
        }
        let holds = report.statuses().iter().any(|status| status.allocation().is_some());
        let is_needed = self.manager.promised_slots().any(|promised| {
            named == Some(promised.worker_request())
                || promised.bound_to().is_none()
                || *promised.resource_profile() == ResourceProfile::ANY
                || newcomer.could_serve(promised.resource_profile())
        });
        if holds || is_needed {
            return None;
        }
        let config = &self.scenario.config;
        let present = self.capacity.inventory(&self.manager);
        let slots = newcomer.total();
        let limit = capacity_rules::limit_beyond(config, present.total(), slots.clone())?;
        let mut requests = self.manager.pending_slot_requests();
        let serves = requests
            .any(|request| request.in_flight_to().is_none() && newcomer.could_serve(request.resource_profile()));
        let is_blocked = self.operators.blocked.contains(&resource_id);
        let has_room = capacity_rules::limit_beyond(config, present.registered_total(), slots).is_none();
        (is_blocked || !serves || !has_room).then_some(limit)
    }

    fn open_worker_requests(&self) -> BTreeSet<WorkerRequestId> {
        let promised = self.manager.promised_slots();
        promised.map(|promised| promised.worker_request()).collect()
    }

    /// Returns `true` if a worker named a worker request that was over, and its registration ended
    /// another that was open before.
    ///
    /// Another worker may have come for the named one. Then this worker takes its place, also at a
    /// limit. The simulation does not follow which worker came for which.
    fn stands_for_another(&self, named: Option<WorkerRequestId>, open_before: &BTreeSet<WorkerRequestId>) -> bool {
        let open_now = self.open_worker_requests();
        named.is_some_and(|named| !open_before.contains(&named)) && !open_before.is_subset(&open_now)
    }

    /// Lets the resource manager stop a refused worker.
    fn refused(&mut self, worker: usize) {
        self.faults.count(Fault::RegistrationRefused);
        self.counters.refused_task_manager();
        let process = self.workers[worker].process;
        self.send(Link::ManagerToWorker(worker), Message::Stop { process });
    }
}
