//! The checks after each call of the manager. Afterwards its effects reach the other parties.

use slot_manager::AllocationId;
use slot_manager::message::{AllocationFailureCause, GrantLoss, RequestFailure};
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
    /// Checks the manager after an input and sends its messages. `freed` is the allocation whose
    /// slot was freed by the call.
    pub(crate) fn observe(&mut self, freed: Option<AllocationId>) -> Check {
        self.observe_call(freed, None, false)
    }

    /// The same after an input that was the answer to an attempt.
    pub(crate) fn observe_answer(&mut self) -> Check {
        self.observe_call(None, None, true)
    }

    /// The same after a call that handled this number of answers and deadlines.
    pub(crate) fn observe_events(&mut self, events: usize) -> Check {
        self.observe_call(None, Some(events), events > 0)
    }

    fn observe_call(&mut self, freed: Option<AllocationId>, events: Option<usize>, by_answer: bool) -> Check {
        self.steps += 1;
        let now = self.now();
        let calls = self.log.take();
        self.check_leadership(&calls, events)?;
        let mut lost = Vec::new();
        for Call { effect, .. } in &calls {
            self.trace.note(|| format!("    -> {effect}"));
            self.digest.add(now, effect);
            self.ledger.apply(effect)?;
            if let Effect::Action(Action::NotifyAllocationFailure {
                allocation_id,
                cause: AllocationFailureCause::GrantLost { loss, .. },
                ..
            }) = effect
            {
                if *loss == GrantLoss::ReportedFree && self.scenario.is_ordered() {
                    return Err(format!("{effect}, though all messages came in order"));
                }
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
            .compare(&self.manager, &calls, events.unwrap_or_default(), by_answer)?;
        if self.is_leading() {
            self.requirements
                .compare(&self.manager, &calls, events.unwrap_or_default())?;
            self.check_rules(&calls, events)?;
        }
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
        let (now, leader_id) = (self.now(), self.leader_id());
        let context = CallContext::new(now, leader_id, &self.recovery, events, &self.operators);
        self.release_checks.compare(&self.manager, calls, &context)?;
        let leaving = leaving.iter().filter(|question| self.release_checks.is_open(question));
        let leaving: Vec<_> = leaving.map(|question| question.instance_id).collect();
        let refused = self.capacity.compare(&self.manager, calls, &context, &leaving)?;
        for _ in 0..refused {
            self.faults.count(Fault::PromiseBeyondLimit);
        }
        self.counters.compare(&self.manager, calls)?;
        let present = self.capacity.inventory(&self.manager);
        overviews::check_overview(&self.manager, &present, context.blocked)?;
        if self.steps % EXPLAINED == 0 {
            overviews::check_explanations(&self.manager, &present, &context)?;
        }
        Ok(())
    }

    /// Checks that the manager knows whether its leadership has ended, and acts on nothing then.
    fn check_leadership(&self, calls: &[Call], events: Option<usize>) -> Check {
        if self.manager.is_leading() != self.is_leading() {
            return Err(format!("{:?} until {}", self.manager, self.leads_until));
        }
        if self.is_leading() || (calls.is_empty() && events.unwrap_or_default() == 0) {
            return Ok(());
        }
        Err(format!(
            "{events:?} events and {calls:?} after the end of the leadership"
        ))
    }

    fn react(&mut self, call: Call) {
        let action = match (call.effect, call.answer) {
            (Effect::Action(Action::AllocateResource { worker_request, .. }), CallAnswer::Promise(promise)) => {
                return self.worker_requested(worker_request, promise);
            }
            (Effect::Action(Action::WithdrawResource(withdraw)), CallAnswer::Withdrawal(withdrawal)) => {
                return self.withdrawal_requested(withdraw.worker_request, withdrawal);
            }
            (Effect::Action(Action::ReleaseResource(asked)), CallAnswer::Release(release)) => {
                return self.release_requested(asked.instance_id, release);
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
            Action::NotifyNotEnoughResources { .. } => self.faults.count(Fault::Shortage),
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
            Outgoing::FreeInactive(resource_id, request) => {
                let Some(worker) = self.worker_of(&resource_id) else {
                    return;
                };
                self.send(Link::ManagerToWorker(worker), Message::FreeInactiveSlots(request));
            }
            Outgoing::Handled(request, answer) => self.handled(&request, &answer),
        }
    }
}
