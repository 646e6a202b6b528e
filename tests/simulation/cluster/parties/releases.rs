//! The release of task managers, and the release checks before it.

use std::time::Duration;

use rand::Rng;
use slot_manager::InstanceId;
use slot_manager::message::{Release, ReleaseCheck, ReleaseDecision};
use slot_manager::outcome::ReleaseAnswerOutcome;

use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// The longest time that a task executor considers a release check.
const LONGEST_THOUGHT: Duration = Duration::from_millis(600);

impl Simulation {
    fn worker_registered_as(&self, instance_id: InstanceId) -> Option<usize> {
        let is_it = |worker: &usize| self.workers[*worker].executor.instance_id() == Some(instance_id);
        (0..self.workers.len()).find(is_it)
    }

    pub(crate) fn release_requested(&mut self, instance_id: InstanceId, release: Release) {
        if release == Release::Declined {
            return self.faults.count(Fault::ReleaseDeclined);
        }
        if let Some(worker) = self.worker_registered_as(instance_id) {
            let process = self.workers[worker].process;
            self.send(Link::ManagerToWorker(worker), Message::Stop { process });
        }
    }

    /// Handles the immediate answer to a release check. `Later` schedules the decision.
    pub(crate) fn release_check_answered(&mut self, question: ReleaseCheck, answer: ReleaseDecision) {
        match answer {
            ReleaseDecision::Release => {}
            ReleaseDecision::Keep => self.faults.count(Fault::ReleaseRefused),
            ReleaseDecision::Later => {
                self.faults.count(Fault::ReleaseAnswerLate);
                if let Some(worker) = self.worker_registered_as(question.instance_id) {
                    let process = self.workers[worker].process;
                    let decided = Event::ReleaseDecided {
                        worker,
                        process,
                        question,
                    };
                    let thought = self.up_to(LONGEST_THOUGHT);
                    self.schedule_in(thought, decided);
                }
            }
        }
    }

    pub(crate) fn release_decided(&mut self, worker: usize, process: u64, question: ReleaseCheck) {
        let decided_by = &self.workers[worker];
        if decided_by.process != process || decided_by.condition != Condition::Running {
            return;
        }
        let answer = match self.rng.random_range(0..10) {
            0..6 => ReleaseDecision::Release,
            6..8 => ReleaseDecision::Keep,
            _ => ReleaseDecision::Later,
        };
        self.send(
            Link::WorkerToManager(worker),
            Message::ReleaseDecision { question, answer },
        );
    }

    pub(crate) fn manager_hears_release_answer(&mut self, question: &ReleaseCheck, answer: ReleaseDecision) -> Check {
        let is_open = self.release_checks.is_open(question);
        let outcome = self.manager.answer_release(question, answer);
        if !self.is_leading() {
            return self.not_started(outcome == ReleaseAnswerOutcome::Unknown);
        }
        let is_gone = self.manager.task_manager(question.instance_id).is_none();
        match (outcome, answer) {
            (ReleaseAnswerOutcome::Unknown, _) if !is_open => self.faults.count(Fault::ReleaseAnswerVoid),
            (ReleaseAnswerOutcome::Open, ReleaseDecision::Later) if is_open => {}
            (ReleaseAnswerOutcome::Stays, ReleaseDecision::Release | ReleaseDecision::Keep) if is_open && !is_gone => {
                self.release_checks.close(question.instance_id, answer, self.now());
            }
            (ReleaseAnswerOutcome::Released, ReleaseDecision::Release) if is_open && is_gone => {
                self.release_checks.close(question.instance_id, answer, self.now());
            }
            _ => {
                return Err(format!(
                    "{answer:?} to {question:?} returned {outcome:?}; open: {is_open}, gone: {is_gone}"
                ));
            }
        }
        self.observe(None)
    }
}
