//! What is checked after every call of the manager, and what comes of what it said.

use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{AllocationFailureCause, AllocationId, RequestFailure};

use crate::cluster::call_log::{Call, Said};
use crate::cluster::checks::call_context::Moment;
use crate::cluster::checks::overviews;
use crate::cluster::faults::Fault;
use crate::cluster::network::gateway::Outgoing;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// The explanations of what waits are checked after one of so many calls.
const EXPLAINED: u64 = 8;

impl Simulation {
    pub(crate) fn observe(&mut self, freed: Option<AllocationId>) -> Check {
        self.observe_events(freed, None)
    }

    /// Checks the manager after a call, and lets what it said travel. The call said that `freed` was given back, and handled so
    /// many answers and deadlines; `None` if it was an input.
    pub(crate) fn observe_events(&mut self, freed: Option<AllocationId>, events: Option<usize>) -> Check {
        self.steps += 1;
        let now = self.now();
        let calls = self.log.take();
        let mut lost = Vec::new();
        for Call { effect, .. } in &calls {
            self.trace.note(|| format!("    -> {effect}"));
            self.digest.add(now, effect);
            self.ledger.apply(effect)?;
            if let Effect::Action(Action::NotifyAllocationFailure {
                allocation_id,
                cause: AllocationFailureCause::GrantLost { .. },
                ..
            }) = effect
            {
                lost.push(*allocation_id);
            }
            // The answer, if it is there at once, may say that what was lost holds the slot after all.
            if let Effect::Gateway(GatewayCall::RequestSlot(_)) = effect {
                lost.clear();
            }
        }
        self.manager
            .check_invariants()
            .map_err(|violation| violation.to_string())?;
        self.ledger.compare(&self.manager, freed, &lost)?;
        let sent = self.outbox.take();
        for outgoing in &sent {
            if let Outgoing::Handled(request, answer) = outgoing {
                self.watch.answered(request.attempt, answer);
            }
        }
        self.watch.compare(&self.manager, &calls, events.unwrap_or_default())?;
        self.check_rules(&calls, events)?;
        for call in calls {
            self.react(call);
        }
        for outgoing in sent {
            self.carry(outgoing);
        }
        self.count_workers();
        Ok(())
    }

    /// What is to be, is kept, and is counted.
    fn check_rules(&mut self, calls: &[Call], events: Option<usize>) -> Check {
        if events == Some(0) && calls.is_empty() {
            // Nothing has changed.
            return Ok(());
        }
        let leaving = self.questions.open();
        let moment = Moment::new(self.now(), self.leader_id(), self.began, events, &self.operators);
        self.questions.compare(&self.manager, calls, &moment)?;
        let leaving = leaving.iter().filter(|question| self.questions.is_open(question));
        let leaving: Vec<_> = leaving.map(|question| question.instance_id).collect();
        let refused = self.capacity.compare(&self.manager, calls, &moment, &leaving)?;
        for _ in 0..refused {
            self.faults.count(Fault::PromiseBeyondLimit);
        }
        self.counters.compare(&self.manager, calls)?;
        overviews::check_overview(&self.manager, moment.blocked)?;
        if self.steps % EXPLAINED == 0 {
            overviews::check_explanations(&self.manager, &moment)?;
        }
        Ok(())
    }

    fn react(&mut self, call: Call) {
        let action = match (call.effect, call.said) {
            (Effect::Action(Action::AllocateResource { worker_request, .. }), Said::Promise(promise)) => {
                return self.worker_asked_for(worker_request, promise);
            }
            (Effect::Action(Action::WithdrawResource { worker_request }), Said::Withdrawal(withdrawal)) => {
                return self.withdrawal_asked_for(worker_request, withdrawal);
            }
            (Effect::Action(Action::ReleaseResource { instance_id, .. }), Said::Release(release)) => {
                return self.release_asked_for(instance_id, release);
            }
            (Effect::Gateway(GatewayCall::AskRelease(question)), Said::AboutRelease(answer)) => {
                return self.asked_about_release(question, answer);
            }
            (Effect::Action(action), _) => action,
            _ => return,
        };
        match action {
            Action::NotifySlotAllocated { .. } => self.granted += 1,
            Action::NotifyAllocationFailure {
                job_id,
                allocation_id,
                cause,
            } => {
                if let AllocationFailureCause::RequestFailed(RequestFailure::Unfulfillable { .. }) = cause {
                    self.faults.count(Fault::RequestUnfulfillable);
                }
                self.failed += 1;
                let job = job_id.as_uuid().as_u128();
                self.send(Link::ManagerToJob(job), Message::NotServed { allocation_id });
            }
            _ => {}
        }
    }

    fn carry(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Request(request, reply) => {
                let Some(worker) = self.worker_of(request.slot_id.resource_id()) else {
                    return;
                };
                self.send(Link::ManagerToWorker(worker), Message::RequestSlot(request, reply));
            }
            Outgoing::Free(request) => {
                self.frees += 1;
                let Some(worker) = self.worker_of(request.slot_id.resource_id()) else {
                    return;
                };
                self.send(Link::ManagerToWorker(worker), Message::FreeSlot(request));
            }
            Outgoing::Handled(request, answer) => self.handled(&request, &answer),
        }
    }
}
