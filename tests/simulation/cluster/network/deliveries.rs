//! The delivery of messages to the manager, task executors and job masters.

use crate::cluster::network::transport::{Envelope, Link, Message};
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

impl Simulation {
    pub(crate) fn deliver(&mut self, envelope: Envelope) -> Check {
        match envelope.link {
            Link::ManagerToWorker(worker) | Link::JobToWorker(_, worker) => self.deliver_to_worker(worker, envelope),
            Link::ManagerToJob(job) | Link::WorkerToJob(_, job) => self.deliver_to_job(job, envelope.message),
            Link::WorkerToManager(_) | Link::JobToManager(_) | Link::FromResourceManager => match self.is_stopped {
                true => self.mailbox.push(envelope.message),
                false => self.deliver_to_manager(envelope.message)?,
            },
        }
        Ok(())
    }

    pub(crate) fn deliver_to_manager(&mut self, message: Message) -> Check {
        match message {
            Message::Register {
                worker,
                leader_id,
                instance_id,
                worker_request,
                report,
            } => self.manager_hears_registration(worker, leader_id, instance_id, worker_request, &report),
            Message::Report {
                worker,
                instance_id,
                report,
            } => self.manager_hears_report(worker, instance_id, &report),
            Message::Freed { freed, is_asked } => self.manager_hears_freed(&freed, is_asked),
            Message::ReleaseDecision { question, answer } => self.manager_hears_release_answer(&question, answer),
            Message::Unregister { instance_id } => self.manager_hears_lost_worker(instance_id),
            Message::WorkerFailed { worker_request } => self.manager_hears_failed_worker(worker_request),
            Message::Request {
                job,
                allocation_id,
                profile,
            } => self.manager_hears_request(job, allocation_id, profile),
            Message::Cancel { allocation_id } => self.manager_hears_cancellation(allocation_id),
            Message::Declare(requirements) => self.manager_hears_declaration(&requirements),
            Message::JobEnded { job } => self.manager_hears_end_of_job(job),
            Message::Answer { reply, answer } => self.answer(&reply, answer),
            other => Err(format!("not for the manager: {other:?}")),
        }
    }

    /// Delivers to a task executor: not to a dead one, and to a hung one later.
    fn deliver_to_worker(&mut self, worker: usize, envelope: Envelope) {
        match self.workers[worker].condition {
            Condition::Running => {}
            Condition::Hung => return self.workers[worker].held_up.push(envelope),
            Condition::Dead => return self.lose(envelope.message),
        }
        match envelope.message {
            Message::RequestSlot(request, reply) => self.worker_hears_request(worker, &request, reply),
            Message::FreeSlot(request) => {
                if let Some(freed) = self.workers[worker].executor.handle_free_slot(&request) {
                    self.send_freed(worker, freed, true);
                }
            }
            Message::FreeInactiveSlots(request) => self.worker_hears_end_of_job(worker, &request),
            Message::RegisterAgain { instance_id } => {
                if self.workers[worker].executor.instance_id() == Some(instance_id) {
                    self.register(worker);
                }
            }
            Message::Stop { process } => self.stop(worker, process),
            Message::Accept { job, allocation_id } => self.worker_is_accepted(worker, job, allocation_id),
            Message::Return { allocation_id } => self.worker_gets_slot_back(worker, allocation_id),
            other => unreachable!("not for a task executor: {other:?}"),
        }
    }

    fn deliver_to_job(&mut self, job: u128, message: Message) {
        match message {
            Message::Offer { slot_id, allocation_id } => self.job_is_offered(job, slot_id, allocation_id),
            Message::HeldSlots { worker, slots } => self.job_hears_held_slots(job, worker, slots),
            Message::NotServed { allocation_id } => self.job_is_not_served(allocation_id),
            other => unreachable!("not for a job master: {other:?}"),
        }
    }
}
