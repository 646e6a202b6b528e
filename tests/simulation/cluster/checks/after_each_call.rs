//! The checks after each call of the manager. Afterwards its effects reach the other parties.

use slot_manager::AllocationId;
use slot_manager::message::{AllocationFailureCause, RequestFailure};
use slot_manager::testing::{Action, Effect, GatewayCall};

use crate::cluster::call_log::{Call, CallAnswer};
use crate::cluster::checks::call_context::CallContext;
use crate::cluster::checks::overviews;
use crate::cluster::faults::Fault;
use crate::cluster::network::gateway::Outgoing;
use crate::cluster::network::transport::{Link, Message};
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// The explanations of waiting requests are checked after every eighth call.
const EXPLAINED: u64 = 8;

impl Simulation {
    pub(crate) fn observe(&mut self, freed: Option<AllocationId>) -> Check {
        self.observe_events(freed, None)
    }

    /// Checks the manager after a call and sends its messages. `freed` is the allocation whose slot
    /// was freed by the call. `events` is the number of handled answers and deadlines, or `None`
    /// for an input.
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
            // An immediate answer may grant a slot to the lost allocation again.
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
                self.fencing.answered(request.attempt, answer);
            }
        }
        self.fencing
            .compare(&self.manager, &calls, events.unwrap_or_default())?;
        self.check_rules(&calls, events)?;
        for call in calls {
            self.react(call);
        }
        for outgoing in sent {
            self.carry(outgoing);
        }
        self.update_room_for_workers();
        Ok(())
    }

    /// Checks release checks, capacity rules, counters, overviews and explanations.
    fn check_rules(&mut self, calls: &[Call], events: Option<usize>) -> Check {
        if events == Some(0) && calls.is_empty() {
            // Nothing has changed.
            return Ok(());
        }
        let leaving = self.release_checks.open();
        let context = CallContext::new(self.now(), self.leader_id(), self.began, events, &self.operators);
        self.release_checks.compare(&self.manager, calls, &context)?;
        let leaving = leaving.iter().filter(|question| self.release_checks.is_open(question));
        let leaving: Vec<_> = leaving.map(|question| question.instance_id).collect();
        let refused = self.capacity.compare(&self.manager, calls, &context, &leaving)?;
        for _ in 0..refused {
            self.faults.count(Fault::PromiseBeyondLimit);
        }
        self.counters.compare(&self.manager, calls)?;
        overviews::check_overview(&self.manager, context.blocked)?;
        if self.steps % EXPLAINED == 0 {
            overviews::check_explanations(&self.manager, &context)?;
        }
        Ok(())
    }

    fn react(&mut self, call: Call) {
        let action = match (call.effect, call.answer) {
            (Effect::Action(Action::AllocateResource { worker_request, .. }), CallAnswer::Promise(promise)) => {
                return self.worker_requested(worker_request, promise);
            }
            (Effect::Action(Action::WithdrawResource { worker_request }), CallAnswer::Withdrawal(withdrawal)) => {
                return self.withdrawal_requested(worker_request, withdrawal);
            }
            (Effect::Action(Action::ReleaseResource { instance_id, .. }), CallAnswer::Release(release)) => {
                return self.release_requested(instance_id, release);
            }
            (Effect::Gateway(GatewayCall::CanBeReleased(question)), CallAnswer::ReleaseCheck(answer)) => {
                return self.release_check_answered(question, answer);
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
                let job = job_id.as_u128();
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
