//! Jobs that declare how many slots they need in all. They use every slot that they are offered.

use rand::Rng;
use slot_manager::{ResourceProfile, ResourceRequirements};

use crate::cluster::network::transport::{Link, Message};
use crate::cluster::scenario;
use crate::cluster::simulation::{Simulation, job_id};

/// The declaration of a job.
#[derive(Debug, Default)]
pub(crate) struct Declaration {
    revision: u64,
    /// The needed slots by profile. A job that needs none has ended, or will need some later.
    needs: Vec<(ResourceProfile, u32)>,
}

impl Declaration {
    pub(crate) fn needs_slots(&self) -> bool {
        !self.needs.is_empty()
    }
}

impl Simulation {
    pub(crate) fn a_declaring_job_acts(&mut self, job: u128) {
        match self.rng.random_range(0..100) {
            0..50 => {
                let needs = scenario::needs(&mut self.rng);
                // Mostly a job that needs less frees a slot first.
                if self.chance(0.5) {
                    self.give_back_slot_of(job);
                }
                self.needs_change(job, needs);
            }
            50..60 => self.declare(job),
            60..95 => self.give_back_slot_of(job),
            _ => self.end_job(job),
        }
    }

    fn needs_change(&mut self, job: u128, needs: Vec<(ResourceProfile, u32)>) {
        let declaration = self.jobs.declarations.entry(job).or_default();
        declaration.revision += 1;
        declaration.needs = needs;
        self.declare(job);
    }

    /// Lets a job declare what it needs, which the manager may know.
    pub(crate) fn declare(&mut self, job: u128) {
        let requirements = self.requirements_of(job);
        self.send(Link::JobToManager(job), Message::Declare(requirements));
    }

    /// Lets all jobs that declare do so with a new revision.
    pub(crate) fn declare_anew(&mut self) {
        for job in self.scenario.numbers_of_declaring_jobs() {
            let needs = self.jobs.declarations.entry(job).or_default().needs.clone();
            self.needs_change(job, needs);
        }
    }

    /// Lets a job need nothing any more. Returns what it declares.
    pub(crate) fn needs_end(&mut self, job: u128) -> ResourceRequirements {
        let declaration = self.jobs.declarations.entry(job).or_default();
        declaration.revision += 1;
        declaration.needs.clear();
        self.requirements_of(job)
    }

    fn requirements_of(&mut self, job: u128) -> ResourceRequirements {
        let declaration = self.jobs.declarations.entry(job).or_default();
        let mut requirements = ResourceRequirements::new(job_id(job), format!("job-master-{job}"));
        for (profile, slots) in &declaration.needs {
            requirements = requirements.require(profile.clone(), *slots).expect("few slots");
        }
        match self.scenario.declared_revisions {
            true => requirements.with_revision(declaration.revision),
            false => requirements,
        }
    }

    /// Lets a job whose declaration was refused keep the one before, which the manager has.
    pub(crate) fn declaration_is_refused(&mut self, refused: &ResourceRequirements) {
        let job = refused.job_id().as_u128();
        if self.requirements_of(job) != *refused {
            return;
        }
        let in_force = self.requirements.in_force(refused.job_id()).to_vec();
        self.jobs.declarations.entry(job).or_default().needs = in_force;
    }
}
