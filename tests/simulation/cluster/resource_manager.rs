//! Whoever starts and stops workers: it promises, declines or refuses, and keeps its promises, late or not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use slot_manager::{InstanceId, Release, ResourceManagerError, ResourceProfile, WorkerPromise, WorkerRequestId};

use super::events::Event;
use super::faults::Fault;
use super::network::{Link, Message};
use super::scenario;
use super::simulation::Simulation;
use super::task_executors::Condition;

type Promise = Result<WorkerPromise, ResourceManagerError>;

/// What it says to the next wishes, and what it will not keep.
#[derive(Debug)]
pub(super) struct ResourceManager {
    promise: Promise,
    release: Release,
    /// Wishes of this leadership whose workers will never come.
    pub(super) broken: BTreeSet<WorkerRequestId>,
    starting: usize,
}

impl Default for ResourceManager {
    fn default() -> Self {
        Self {
            promise: Ok(WorkerPromise::Declined),
            release: Release::Accepted,
            broken: BTreeSet::new(),
            starting: 0,
        }
    }
}

impl Simulation {
    /// Decides what the wishes of the next call are answered.
    pub(super) fn resource_manager_makes_up_its_mind(&mut self) {
        let release = if self.scenario.elastic && !self.fails(0.1) {
            Release::Accepted
        } else {
            Release::Declined
        };
        let promise = if !self.scenario.elastic || self.calm {
            Ok(WorkerPromise::Declined)
        } else {
            match self.rng.random_range(0..20) {
                0..10 => Ok(WorkerPromise::Slots(scenario::slots(&mut self.rng))),
                10..15 => Ok(WorkerPromise::Unspecified),
                15 => Ok(WorkerPromise::Slots(Vec::new())),
                16..19 => Ok(WorkerPromise::Declined),
                _ => Err(ResourceManagerError::new("no quota")),
            }
        };
        self.actions.answer_releases(release);
        self.actions.answer_allocations(promise.clone());
        self.resource_manager.release = release;
        self.resource_manager.promise = promise;
    }

    pub(super) fn worker_asked_for(&mut self, worker_request: WorkerRequestId) {
        let slots = match self.resource_manager.promise.clone() {
            Ok(WorkerPromise::Slots(slots)) if !slots.is_empty() => slots,
            Ok(WorkerPromise::Unspecified) => scenario::slots(&mut self.rng),
            Err(_) => return self.faults.count(Fault::WorkerRefused),
            Ok(_) if self.scenario.elastic && !self.calm => return self.faults.count(Fault::WorkerDeclined),
            Ok(_) => return,
        };
        let alive = self
            .workers
            .iter()
            .filter(|worker| worker.condition != Condition::Dead)
            .count();
        let room = alive + self.resource_manager.starting < self.scenario.most_workers;
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
                    self.say_worker_failed(worker_request);
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

    /// After a pause: asks and failures would follow each other for ever.
    fn say_worker_failed(&mut self, worker_request: WorkerRequestId) {
        let failed = Message::WorkerFailed {
            leadership: self.leaderships,
            worker_request,
        };
        self.send(Link::FromResourceManager, failed);
    }

    /// Says once more which promises are broken.
    pub(super) fn own_up(&mut self) {
        for worker_request in std::mem::take(&mut self.resource_manager.broken) {
            self.say_worker_failed(worker_request);
        }
    }

    /// A worker is up: under a name that nobody uses any more, or a new one.
    pub(super) fn worker_started(&mut self, leadership: u128, request: WorkerRequestId, slots: Vec<ResourceProfile>) {
        self.resource_manager.starting -= 1;
        let dead = self
            .workers
            .iter()
            .position(|worker| worker.condition == Condition::Dead);
        let worker = dead.unwrap_or_else(|| self.add_worker());
        let executor = self.workers[worker].executor.clone();
        for number in slots.len() as u32..5 {
            executor.remove_slot(number);
        }
        for (number, profile) in (0..).zip(slots) {
            executor.set_slot(number, profile);
        }
        self.workers[worker].started_for = Some((leadership, request));
        if dead.is_some() {
            self.restart(worker);
        } else {
            self.register(worker);
        }
    }

    pub(super) fn release_asked_for(&mut self, instance_id: InstanceId) {
        self.release_asked.insert(instance_id, self.now());
        if self.resource_manager.release == Release::Declined {
            return self.faults.count(Fault::ReleaseDeclined);
        }
        let is_it = |worker: &usize| self.workers[*worker].executor.instance_id() == Some(instance_id);
        if let Some(worker) = (0..self.workers.len()).find(is_it) {
            let process = self.workers[worker].process;
            self.send(Link::ManagerToWorker(worker), Message::Stop { process });
        }
    }
}
