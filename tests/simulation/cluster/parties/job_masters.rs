//! Jobs: they request slots, accept the slots that task executors offer, and give them back. Some
//! request no slots but declare how many they need.

use std::collections::BTreeMap;

use rand::Rng;
use slot_manager::{AllocationId, ResourceProfile, SlotId};

use crate::cluster::network::transport::{Link, Message};
use crate::cluster::parties::declaring_jobs::Declaration;
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::scenario;
use crate::cluster::simulation::{Simulation, scattered};

/// The most slots that all jobs want at a time.
const MOST_WANTED: usize = 24;

/// The slots that the jobs want and have.
#[derive(Debug, Default)]
pub(crate) struct JobMasters {
    pub(crate) wanted: BTreeMap<AllocationId, Wanted>,
    /// The declarations of the jobs that declare.
    pub(crate) declarations: BTreeMap<u128, Declaration>,
    named: u128,
}

#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) job: u128,
    /// What the job has requested. `None`: it has declared.
    requested: Option<ResourceProfile>,
    /// The slot in use.
    pub(crate) slot: Option<SlotId>,
}

impl Simulation {
    pub(crate) fn a_job_acts(&mut self) {
        let job = self.rng.random_range(1..=self.scenario.num_jobs());
        if job > self.scenario.jobs {
            return self.a_declaring_job_acts(job);
        }
        match self.rng.random_range(0..100) {
            0..55 if self.jobs.wanted.len() < MOST_WANTED => self.ask(job),
            0..65 => self.ask_again(),
            65..75 => self.cancel(),
            75..98 => self.give_back(),
            _ => self.end_job(job),
        }
    }

    fn ask(&mut self, job: u128) {
        self.jobs.named += 1;
        let allocation_id = AllocationId::from_u128(scattered(self.jobs.named));
        let profile = scenario::profile(&mut self.rng);
        let wanted = Wanted {
            job,
            requested: Some(profile),
            slot: None,
        };
        self.jobs.wanted.insert(allocation_id, wanted);
        self.ask_for(allocation_id);
    }

    pub(crate) fn ask_for(&mut self, allocation_id: AllocationId) {
        let Some(wanted) = self.jobs.wanted.get(&allocation_id).cloned() else {
            return;
        };
        let (job, Some(profile)) = (wanted.job, wanted.requested) else {
            return;
        };
        let request = Message::Request {
            job,
            allocation_id,
            profile,
        };
        self.send(Link::JobToManager(job), request);
    }

    fn ask_again(&mut self) {
        if let Some(allocation_id) = self.some_wanted(false) {
            self.ask_for(allocation_id);
        }
    }

    fn cancel(&mut self) {
        if let Some(allocation_id) = self.some_wanted(false) {
            self.cancel_wanted(allocation_id);
        }
    }

    pub(crate) fn cancel_wanted(&mut self, allocation_id: AllocationId) {
        if let Some(wanted) = self.jobs.wanted.remove(&allocation_id) {
            self.send(Link::JobToManager(wanted.job), Message::Cancel { allocation_id });
        }
    }

    fn give_back(&mut self) {
        if let Some(allocation_id) = self.some_wanted(true) {
            self.jobs_return(allocation_id);
        }
    }

    /// Lets a job give back one of its slots.
    pub(crate) fn give_back_slot_of(&mut self, job: u128) {
        let own = self.jobs.wanted.iter().filter(|(_, wanted)| wanted.job == job);
        let own: Vec<_> = own.map(|(id, _)| *id).collect();
        if !own.is_empty() {
            let chosen = self.rng.random_range(0..own.len());
            self.jobs_return(own[chosen]);
        }
    }

    fn jobs_return(&mut self, allocation_id: AllocationId) {
        let Some(wanted) = self.jobs.wanted.remove(&allocation_id) else {
            return;
        };
        let worker = wanted.slot.and_then(|slot_id| self.worker_of(slot_id.resource_id()));
        if let Some(worker) = worker {
            self.send(Link::JobToWorker(wanted.job, worker), Message::Return { allocation_id });
        }
    }

    pub(crate) fn end_job(&mut self, job: u128) {
        if self.jobs.declarations.contains_key(&job) {
            // The manager forgets what the job has declared.
            let _ = self.needs_end(job);
        }
        let own = self.jobs.wanted.iter().filter(|(_, wanted)| wanted.job == job);
        let own: Vec<_> = own.map(|(id, _)| *id).collect();
        for allocation_id in own {
            self.jobs_return(allocation_id);
        }
        self.send(Link::JobToManager(job), Message::JobEnded { job });
    }

    /// Ends all jobs.
    pub(crate) fn end_all_jobs(&mut self) {
        for job in 1..=self.scenario.num_jobs() {
            self.end_job(job);
        }
    }

    /// Lets a job accept an offered slot that it wants, and return any other. A job that declares
    /// wants any.
    pub(crate) fn job_is_offered(&mut self, job: u128, slot_id: SlotId, allocation_id: AllocationId) {
        let Some(worker) = self.worker_of(slot_id.resource_id()) else {
            return;
        };
        let reply = match self.jobs.wanted.get_mut(&allocation_id) {
            Some(wanted) if wanted.slot.as_ref().is_none_or(|slot| *slot == slot_id) => {
                wanted.slot = Some(slot_id);
                Message::Accept { job, allocation_id }
            }
            None if self.jobs.declarations.get(&job).is_some_and(Declaration::needs_slots) => {
                let wanted = Wanted {
                    job,
                    requested: None,
                    slot: Some(slot_id),
                };
                self.jobs.wanted.insert(allocation_id, wanted);
                Message::Accept { job, allocation_id }
            }
            _ => Message::Return { allocation_id },
        };
        self.send(Link::JobToWorker(job, worker), reply);
    }

    /// Lets a job compare its slots with those that a task executor holds for it.
    pub(crate) fn job_hears_held_slots(&mut self, job: u128, worker: usize, slots: Vec<(SlotId, AllocationId)>) {
        let resource_id = self.workers[worker].executor.resource_id();
        self.jobs.wanted.retain(|id, wanted| {
            let there = wanted.slot.as_ref().filter(|slot| *slot.resource_id() == resource_id);
            wanted.job != job || there.is_none_or(|slot| slots.contains(&(slot.clone(), *id)))
        });
        for (slot_id, allocation_id) in slots {
            self.job_is_offered(job, slot_id, allocation_id);
        }
    }

    /// Lets a job whose request failed request again or drop the slot.
    pub(crate) fn job_is_not_served(&mut self, allocation_id: AllocationId) {
        let waits = self
            .jobs
            .wanted
            .get(&allocation_id)
            .is_some_and(|wanted| wanted.slot.is_none());
        if !waits {
            return;
        }
        if self.fails(0.3) {
            self.ask_for(allocation_id);
        } else {
            self.jobs.wanted.remove(&allocation_id);
        }
    }

    /// Lets jobs drop their slots on a dead process.
    pub(crate) fn loss_noticed(&mut self, worker: usize, process: u64) {
        let worker = &self.workers[worker];
        if worker.process == process && worker.condition == Condition::Dead {
            let resource_id = worker.executor.resource_id();
            let is_there = |wanted: &Wanted| {
                let slot = wanted.slot.as_ref();
                slot.is_some_and(|slot| *slot.resource_id() == resource_id)
            };
            self.jobs.wanted.retain(|_, wanted| !is_there(wanted));
        }
    }

    pub(crate) fn all_wanted(&self, served: bool) -> Vec<AllocationId> {
        let wanted = self.jobs.wanted.iter();
        wanted
            .filter(|(_, wanted)| wanted.slot.is_some() == served)
            .map(|(id, _)| *id)
            .collect()
    }

    fn some_wanted(&mut self, served: bool) -> Option<AllocationId> {
        let wanted = self.all_wanted(served);
        (!wanted.is_empty()).then(|| wanted[self.rng.random_range(0..wanted.len())])
    }
}
