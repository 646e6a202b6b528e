//! The resource manager: it keeps its promises in time, late or never, and withdraws workers.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use slot_manager::message::{Withdrawal, WorkerPromise};
use slot_manager::{ResourceProfile, WorkerRequestId};

use crate::cluster::call_log::Promise;
use crate::cluster::capacity_rules;
use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::scenario;
use crate::cluster::simulation::Simulation;

/// The worker requests of this leadership with a special fate.
#[derive(Debug, Default)]
pub(crate) struct ResourceManager {
    /// Worker requests whose workers will never come.
    broken: BTreeSet<WorkerRequestId>,
    /// Worker requests that were withdrawn in time, and those whose workers start anyway.
    withdrawn: BTreeSet<WorkerRequestId>,
    late_withdrawals: BTreeSet<WorkerRequestId>,
    starting: usize,
}

impl ResourceManager {
    pub(crate) fn forget_leadership(&mut self) {
        self.broken.clear();
        self.withdrawn.clear();
        self.late_withdrawals.clear();
    }
}

impl Simulation {
    pub(crate) fn worker_requested(&mut self, worker_request: WorkerRequestId, promise: Promise) {
        let described = capacity_rules::described_worker(&self.scenario.config);
        let slots = match promise {
            Ok(WorkerPromise::Slots(slots)) if !slots.is_empty() => slots,
            Ok(WorkerPromise::Unspecified) => described.unwrap_or_else(|| scenario::slots(&mut self.rng)),
            Err(_) => return self.faults.count(Fault::WorkerRefused),
            Ok(_) if self.scenario.elastic && !self.faults_are_over => return self.faults.count(Fault::WorkerDeclined),
            Ok(_) => return,
        };
        let room = self.has_room_for_worker();
        match self.rng.random_range(0..10) {
            0..7 if room => self.start_worker(worker_request, slots, Duration::ZERO),
            7..9 if room => {
                self.faults.count(Fault::WorkerLate);
                let late = self
                    .scenario
                    .config
                    .worker_registration_timeout
                    .min(Duration::from_secs(2));
                self.start_worker(worker_request, slots, late);
            }
            chance => {
                self.faults.count(Fault::PromiseBroken);
                self.resource_manager.broken.insert(worker_request);
                if chance % 2 == 0 {
                    self.report_failed_worker(worker_request);
                }
            }
        }
    }

    fn start_worker(&mut self, worker_request: WorkerRequestId, slots: Vec<ResourceProfile>, late: Duration) {
        self.resource_manager.starting += 1;
        let delay = late + self.up_to(Duration::from_millis(300));
        let started = Event::WorkerStarted {
            leadership: self.leaderships,
            worker_request,
            slots,
        };
        self.schedule_in(delay, started);
    }

    fn has_room_for_worker(&self) -> bool {
        let workers = self.workers.iter();
        let alive = workers.filter(|worker| worker.condition != Condition::Dead).count();
        alive + self.resource_manager.starting < self.scenario.most_workers
    }

    /// Updates whether worker requests are mostly declined because the cluster is full.
    pub(crate) fn update_room_for_workers(&self) {
        self.answers.note_limit(!self.has_room_for_worker());
    }

    /// Handles a withdrawal. A quarter of the confirmed workers start anyway.
    pub(crate) fn withdrawal_requested(&mut self, worker_request: WorkerRequestId, withdrawal: Withdrawal) {
        if withdrawal == Withdrawal::TooLate {
            return self.faults.count(Fault::WithdrawnTooLate);
        }
        if self.fails(0.25) {
            self.resource_manager.late_withdrawals.insert(worker_request);
        } else {
            self.faults.count(Fault::WorkerWithdrawn);
            self.resource_manager.withdrawn.insert(worker_request);
        }
    }

    /// Reports a failed worker by message: without its delay, requests and failures would follow
    /// each other for ever.
    fn report_failed_worker(&mut self, worker_request: WorkerRequestId) {
        self.send(Link::FromResourceManager, Message::WorkerFailed { worker_request });
    }

    /// Reports all broken promises once more.
    pub(crate) fn report_broken_promises(&mut self) {
        for worker_request in std::mem::take(&mut self.resource_manager.broken) {
            self.report_failed_worker(worker_request);
        }
    }

    /// Starts a requested worker, under the name of a dead worker or a new name.
    pub(crate) fn worker_started(&mut self, leadership: u128, request: WorkerRequestId, slots: Vec<ResourceProfile>) {
        self.resource_manager.starting -= 1;
        if leadership == self.leaderships {
            if self.resource_manager.withdrawn.contains(&request) {
                return;
            }
            if self.resource_manager.late_withdrawals.remove(&request) {
                self.faults.count(Fault::WithdrawnWorkerCame);
            }
        }
        let dead = self
            .workers
            .iter()
            .position(|worker| worker.condition == Condition::Dead);
        let worker = dead.unwrap_or_else(|| self.add_worker());
        let mut slots = slots;
        if self.fails(self.scenario.unlike_promised) {
            self.faults.count(Fault::WorkerShort);
            slots.truncate(self.rng.random_range(0..slots.len().max(1)));
        }
        self.equip(worker, slots);
        let is_unnamed = self.fails(self.scenario.unlike_promised);
        if is_unnamed {
            self.faults.count(Fault::WorkerUnnamed);
        }
        self.workers[worker].started_for = (!is_unnamed).then_some(request);
        if dead.is_some() {
            self.restart(worker);
        } else {
            self.register(worker);
        }
    }
}
