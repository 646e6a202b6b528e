//! Task executors: they register, report, answer slot requests, crash, hang and come back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{AllocateSlot, FreeInactiveSlots, SlotFreed};
use slot_manager::testing::SimulatedTaskExecutor;
use slot_manager::{
    AllocationId, DynamicResources, InstanceId, ResourceId, ResourceProfile, SlotReport, WorkerRequestId,
};

use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::network::gateway::{Answer, NetworkGateway, Reply, handle};
use crate::cluster::network::transport::{Envelope, Link, Message};
use crate::cluster::parties::immediate_answers::{OUT_OF_REACH, POISONED, REFUSED};
use crate::cluster::scenario;
use crate::cluster::simulation::{Simulation, scattered};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    /// It does nothing, and its messages wait.
    Hung,
    Dead,
}

/// The way in which a process handles slot requests until the faults stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    Healthy,
    /// It refuses all.
    Refusing,
    /// They do not reach it.
    Unreachable,
    /// It does not answer.
    Silent,
    /// It refuses some, and some do not reach it.
    Flapping,
}

pub(crate) struct Worker {
    pub(crate) executor: SimulatedTaskExecutor,
    pub(crate) is_dynamic: bool,
    pub(crate) condition: Condition,
    /// The number of processes so far under this resource id.
    pub(crate) process: u64,
    /// The worker request that it was started for.
    pub(crate) started_for: Option<WorkerRequestId>,
    /// The messages that arrived while it hung.
    pub(crate) held_up: Vec<Envelope>,
    /// Whether it answers within the call.
    answers_in_call: Rc<Cell<bool>>,
    temper: Rc<Cell<Temper>>,
    /// Whether its other answers are inputs of the manager, in one stream with its reports.
    pub(crate) answers_are_inputs: bool,
}

/// Returns the id of the worker with this number.
pub(crate) fn worker_name(number: usize) -> ResourceId {
    ResourceId::new(format!("worker-{number}"))
}

impl Simulation {
    pub(crate) fn add_worker(&mut self) -> usize {
        let slots = scenario::slots(&mut self.rng);
        let answers_are_inputs = self.chance(self.scenario.answers_as_inputs);
        let temper = self.draw_temper();
        let number = self.workers.len();
        let is_dynamic = self.is_next_worker_dynamic();
        let executor = match is_dynamic {
            true => {
                let resources = scenario::resources(&mut self.rng);
                SimulatedTaskExecutor::dynamic(worker_name(number), resources, self.clock.clone())
            }
            false => SimulatedTaskExecutor::new(worker_name(number), slots, self.clock.clone()),
        };
        self.workers.push(Worker {
            executor: executor.with_slot_timeout(self.scenario.slot_timeout),
            is_dynamic,
            condition: Condition::Running,
            process: 1,
            started_for: None,
            held_up: Vec::new(),
            answers_in_call: Rc::new(Cell::new(self.scenario.answers_in_call)),
            temper: Rc::new(Cell::new(temper)),
            answers_are_inputs,
        });
        number
    }

    pub(crate) fn worker_of(&self, resource_id: &ResourceId) -> Option<usize> {
        resource_id.as_str().strip_prefix("worker-")?.parse().ok()
    }

    pub(crate) fn gateway_to(&self, worker: usize) -> NetworkGateway {
        NetworkGateway {
            executor: self.workers[worker].executor.clone(),
            clock: self.clock.clone(),
            log: self.log.clone(),
            answers: self.answers.clone(),
            outbox: self.outbox.clone(),
            answers_in_call: Rc::clone(&self.workers[worker].answers_in_call),
            temper: Rc::clone(&self.workers[worker].temper),
            answers_are_inputs: self.workers[worker].answers_are_inputs,
            revisions: self.scenario.revisions,
        }
    }

    /// Draws nothing in a cluster of static workers.
    fn is_next_worker_dynamic(&mut self) -> bool {
        self.scenario.dynamic_workers > 0.0 && self.chance(self.scenario.dynamic_workers)
    }

    fn draw_temper(&mut self) -> Temper {
        if !self.fails(self.scenario.bad_workers) {
            return Temper::Healthy;
        }
        let bad = [Temper::Refusing, Temper::Unreachable, Temper::Silent, Temper::Flapping];
        bad[self.rng.random_range(0..bad.len())]
    }

    fn set_condition(&mut self, worker: usize, condition: Condition) {
        self.workers[worker].condition = condition;
        let answers_in_call = self.scenario.answers_in_call && condition == Condition::Running;
        self.workers[worker].answers_in_call.set(answers_in_call);
    }

    pub(crate) fn report_of(&mut self, worker: usize) -> SlotReport {
        let report = self.workers[worker].executor.slot_report();
        let statuses = report.statuses().to_vec();
        let told = match report.dynamic() {
            Some(resources) => SlotReport::of_dynamic(self.told_resources(resources), statuses),
            None => SlotReport::new(statuses),
        };
        match report.revision().filter(|_| self.scenario.revisions) {
            Some(revision) => told.with_revision(revision),
            None => told,
        }
    }

    /// Returns the resources of a dynamic worker as it tells them: sometimes without those that are
    /// free, or with fewer.
    fn told_resources(&mut self, resources: &DynamicResources) -> DynamicResources {
        if !self.scenario.reports_free {
            let told = DynamicResources::new(resources.total().clone());
            let default_slot = resources.default_slot().cloned();
            return default_slot.into_iter().fold(told, DynamicResources::with_default_slot);
        }
        let withheld = scenario::smallest_profile();
        let less = resources.free().and_then(|free| free.checked_sub(&withheld).ok());
        match less {
            Some(less) if self.fails(self.scenario.withheld_resources) => {
                self.faults.count(Fault::ResourcesWithheld);
                resources.clone().with_free(less)
            }
            _ => resources.clone(),
        }
    }

    /// Registers with the current leader, as a new instance.
    pub(crate) fn register(&mut self, worker: usize) {
        if self.workers[worker].condition != Condition::Running || self.manager.leader_id().is_none() {
            return;
        }
        self.instances += 1;
        let instance_id = InstanceId::from_u128(scattered(self.instances));
        let leader_id = self.leader_id();
        // The gateway of the manager is made when the registration arrives.
        let _ = self.workers[worker].executor.connect(leader_id, instance_id);
        let started_for = self.workers[worker].started_for;
        let message = Message::Register {
            worker,
            leader_id,
            instance_id,
            worker_request: started_for,
            report: self.report_of(worker),
        };
        self.send(Link::WorkerToManager(worker), message);
    }

    /// Sends a heartbeat to the manager and the jobs. If the leader is new, it registers instead.
    pub(crate) fn report(&mut self, worker: usize) {
        if self.workers[worker].condition != Condition::Running {
            return;
        }
        let executor = &self.workers[worker].executor;
        match executor.instance_id() {
            Some(instance_id) if executor.leader_id() == Some(self.leader_id()) => {
                let report = self.report_of(worker);
                let message = Message::Report {
                    worker,
                    instance_id,
                    report,
                };
                self.send(Link::WorkerToManager(worker), message);
            }
            _ => self.register(worker),
        }
        self.report_to_jobs(worker);
    }

    pub(crate) fn report_to_jobs(&mut self, worker: usize) {
        if self.workers[worker].condition == Condition::Running {
            for job in 1..=self.scenario.num_jobs() {
                self.report_to_job(worker, job);
            }
        }
    }

    fn report_to_job(&mut self, worker: usize, job: u128) {
        let report = self.workers[worker].executor.slot_report();
        let held = report.statuses().iter().filter_map(|status| {
            let slot_manager::message::Allocation {
                id: allocation_id,
                job: job_id,
            } = status.allocation()?;
            (job_id.as_u128() == job).then(|| (status.slot_id().clone(), allocation_id))
        });
        let slots = held.collect();
        self.send(Link::WorkerToJob(worker, job), Message::HeldSlots { worker, slots });
    }

    pub(crate) fn a_worker_reports(&mut self) {
        if let Some(worker) = self.some_worker() {
            self.report(worker);
        }
    }

    pub(crate) fn worker_hears_request(&mut self, worker: usize, request: &AllocateSlot, reply: Reply) {
        let (now, revisions) = (self.now(), self.scenario.revisions);
        let temper = self.workers[worker].temper.get();
        if temper == Temper::Silent && !self.faults_are_over {
            self.faults.count(Fault::WorkerSilent);
            return self.network.unanswered.push(reply);
        }
        let answer = match self.answers.failure_of(temper, request) {
            Some(failure) => Err(failure),
            None => handle(&self.workers[worker].executor, request, now, revisions),
        };
        self.handled(request, &answer);
        self.send(Link::WorkerToManager(worker), Message::Answer { reply, answer });
    }

    /// Frees the slots of an ended job that it does not use.
    pub(crate) fn worker_hears_end_of_job(&mut self, worker: usize, request: &FreeInactiveSlots) {
        for freed in self.workers[worker].executor.handle_free_inactive_slots(request) {
            self.faults.count(Fault::InactiveSlotFreed);
            self.send_freed(worker, freed, true);
        }
    }

    /// Offers an assigned slot to its job, which may never get the offer.
    pub(crate) fn handled(&mut self, request: &AllocateSlot, answer: &Answer) {
        let Some(worker) = self.worker_of(request.slot_id.resource_id()) else {
            return;
        };
        if let Err(failure) = answer {
            return self.count_failure(failure);
        }
        let job = request.job_id.as_u128();
        let offer = Message::Offer {
            slot_id: request.slot_id.clone(),
            allocation_id: request.allocation_id,
        };
        self.send(Link::WorkerToJob(worker, job), offer);
        if let Some(due) = self.workers[worker].executor.next_slot_timeout() {
            self.queue.schedule(due, Event::SlotTimeout { worker });
        }
    }

    fn count_failure(&mut self, failure: &SlotAllocationError) {
        match failure {
            SlotAllocationError::Rejected { reason } if **reason == *POISONED => self.faults.count(Fault::JobPoisoned),
            SlotAllocationError::Rejected { reason } if **reason == *REFUSED => {
                self.faults.count(Fault::WorkerRefusedSlot);
            }
            SlotAllocationError::Unreachable { reason } if **reason == *OUT_OF_REACH => {
                self.faults.count(Fault::WorkerUnreachable);
            }
            SlotAllocationError::Insufficient { .. } => self.faults.count(Fault::ResourcesInsufficient),
            _ => {}
        }
    }

    /// Lets a job use a slot, or tells it that the slot is gone.
    pub(crate) fn worker_is_accepted(&mut self, worker: usize, job: u128, allocation_id: AllocationId) {
        if self.workers[worker].executor.activate(allocation_id).is_none() {
            self.report_to_job(worker, job);
        }
    }

    pub(crate) fn worker_gets_slot_back(&mut self, worker: usize, allocation_id: AllocationId) {
        if let Some(freed) = self.workers[worker].executor.free(allocation_id) {
            self.send_freed(worker, freed, false);
        }
    }

    /// Tells the manager that a slot is free, which the manager may have asked for.
    pub(crate) fn send_freed(&mut self, worker: usize, freed: SlotFreed, is_asked: bool) {
        let freed = match self.scenario.freed_revisions {
            true => freed,
            false => {
                let bare = SlotFreed::new(freed.slot_id().clone(), freed.allocation_id());
                freed.attempt().into_iter().fold(bare, SlotFreed::with_attempt)
            }
        };
        self.send(Link::WorkerToManager(worker), Message::Freed { freed, is_asked });
    }

    pub(crate) fn expire_slots(&mut self, worker: usize) {
        if self.workers[worker].condition != Condition::Running {
            return;
        }
        let now = self.now();
        for freed in self.workers[worker].executor.expire(now) {
            self.send_freed(worker, freed, false);
        }
        if let Some(due) = self.workers[worker].executor.next_slot_timeout() {
            self.queue.schedule(due, Event::SlotTimeout { worker });
        }
    }

    /// Lets a task executor crash, hang, or count as dead.
    pub(crate) fn outage(&mut self) {
        let Some(worker) = self.some_worker() else { return };
        match self.rng.random_range(0..5) {
            0..2 => self.crash(worker),
            2..4 => {
                self.faults.count(Fault::Hung);
                self.set_condition(worker, Condition::Hung);
                let pause = self.up_to(Duration::from_secs(2));
                self.schedule_in(pause, Event::Resume { worker });
            }
            _ => {
                if let Some(instance_id) = self.workers[worker].executor.instance_id() {
                    self.faults.count(Fault::TaskManagerDeclaredDead);
                    self.send(Link::FromResourceManager, Message::Unregister { instance_id });
                }
            }
        }
    }

    fn crash(&mut self, worker: usize) {
        self.faults.count(Fault::Crashed);
        self.die(worker);
        if self.chance(0.7) {
            let pause = self.up_to(Duration::from_secs(1));
            self.schedule_in(pause, Event::Restart { worker });
        }
    }

    fn die(&mut self, worker: usize) {
        self.set_condition(worker, Condition::Dead);
        let instance_id = self.workers[worker].executor.instance_id();
        self.workers[worker].executor.crash();
        for envelope in std::mem::take(&mut self.workers[worker].held_up) {
            self.lose(envelope.message);
        }
        let process = self.workers[worker].process;
        let noticed = self.up_to(Duration::from_secs(1));
        self.schedule_in(noticed, Event::LossNoticed { worker, process });
        // Otherwise the manager notices when it registers again.
        if let Some(instance_id) = instance_id {
            if self.faults_are_over || self.chance(0.6) {
                self.send(Link::FromResourceManager, Message::Unregister { instance_id });
            }
        }
    }

    /// Stops a process on behalf of the resource manager.
    pub(crate) fn stop(&mut self, worker: usize, process: u64) {
        if self.workers[worker].process == process {
            self.die(worker);
        }
    }

    pub(crate) fn resume(&mut self, worker: usize) {
        if self.workers[worker].condition != Condition::Hung {
            return;
        }
        self.set_condition(worker, Condition::Running);
        for envelope in std::mem::take(&mut self.workers[worker].held_up) {
            self.schedule_in(Duration::ZERO, Event::Arrival(Box::new(envelope)));
        }
        self.expire_slots(worker);
    }

    /// Ends a hang and bad tempers after the faults have stopped, and applies the final mode of
    /// answers.
    pub(crate) fn recover(&mut self, worker: usize) {
        self.workers[worker].temper.set(Temper::Healthy);
        self.resume(worker);
        let condition = self.workers[worker].condition;
        self.set_condition(worker, condition);
    }

    /// Starts a dead worker again, under the same resource id, sometimes with other slots.
    pub(crate) fn restart(&mut self, worker: usize) {
        if self.workers[worker].condition != Condition::Dead {
            return;
        }
        self.faults.count(Fault::Restarted);
        self.workers[worker].process += 1;
        let temper = self.draw_temper();
        self.workers[worker].temper.set(temper);
        self.set_condition(worker, Condition::Running);
        if self.chance(0.2) {
            self.change_slot(worker);
        }
        self.register(worker);
    }

    pub(crate) fn a_slot_table_changes(&mut self) {
        if self.chance(self.scenario.outages) {
            if let Some(worker) = self.some_worker() {
                self.change_slot(worker);
            }
        }
    }

    fn change_slot(&mut self, worker: usize) {
        if self.workers[worker].is_dynamic {
            return self.change_resources(worker);
        }
        self.faults.count(Fault::SlotTableChanged);
        let number = self.rng.random_range(0..5);
        if self.chance(0.3) {
            self.workers[worker].executor.remove_slot(number);
        } else {
            let profile = scenario::profile(&mut self.rng);
            self.workers[worker].executor.set_slot(number, profile);
        }
    }

    /// Removes a cut, or changes the resources of a dynamic worker.
    fn change_resources(&mut self, worker: usize) {
        self.faults.count(Fault::ResourcesChanged);
        let executor = self.workers[worker].executor.clone();
        let report = executor.slot_report();
        let cuts = report.statuses();
        if !cuts.is_empty() && self.chance(0.3) {
            let cut = self.rng.random_range(0..cuts.len());
            executor.remove_slot(cuts[cut].slot_id().slot_number());
        } else {
            executor.set_resources(scenario::resources(&mut self.rng));
        }
    }

    /// Gives a requested worker these slots, or the resources of them.
    pub(crate) fn equip(&self, worker: usize, slots: Vec<ResourceProfile>) {
        let Worker {
            executor, is_dynamic, ..
        } = &self.workers[worker];
        if *is_dynamic {
            let resources = scenario::resources_of(&slots);
            let default_slot = slots.into_iter().next();
            return executor.set_resources(
                default_slot
                    .into_iter()
                    .fold(resources, DynamicResources::with_default_slot),
            );
        }
        for number in slots.len() as u32..5 {
            executor.remove_slot(number);
        }
        for (number, profile) in (0..).zip(slots) {
            executor.set_slot(number, profile);
        }
    }

    fn some_worker(&mut self) -> Option<usize> {
        let running = |worker: &usize| self.workers[*worker].condition == Condition::Running;
        let running: Vec<_> = (0..self.workers.len()).filter(running).collect();
        (!running.is_empty()).then(|| running[self.rng.random_range(0..running.len())])
    }
}
