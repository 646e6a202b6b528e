//! What must be true of every worker that is asked for, withdrawn or released, at the time when it is: the effects of a
//! call are taken back, the last one first, from what there is after it.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{
    AllocationFailureCause, InstanceId, Release, RequestFailure, ResourceProfile, SlotManagerConfig, SlotReport,
    Timestamp, Withdrawal, WorkerRequestId,
};

use crate::cluster::call_log::{Call, Promise, Said};
use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::Moment;
use crate::cluster::checks::reserve;
use crate::cluster::checks::slot_inventory::{Promised, Standing, TaskManager};
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct CapacityWatch {
    /// After the last call, with what a report has said since.
    before: Standing,
    /// All that was promised of each worker request of which something still is.
    promised: BTreeMap<WorkerRequestId, Vec<ResourceProfile>>,
    /// Worker requests that covered nobody since they were asked to be withdrawn.
    asked_to_withdraw: BTreeSet<WorkerRequestId>,
    /// Worker requests that are over: withdrawn, or never taken.
    over: BTreeSet<WorkerRequestId>,
    /// How many promises of this call were beyond a limit.
    beyond_limits: u64,
    /// Until when nobody is asked again, each since a wish that came to nothing.
    pub(crate) pauses: BTreeSet<Timestamp>,
}

/// Going back through one call.
struct Rewind<'a> {
    config: &'a SlotManagerConfig,
    moment: &'a Moment<'a>,
    /// What there was at this point.
    standing: Standing,
    /// No attempt was made after this point: what is offered and used is as it was after the call.
    is_settled: bool,
    /// Those that were about to leave all the time.
    leaving: &'a [InstanceId],
}

impl CapacityWatch {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A report was taken: that many slots has the task manager before the effects.
    pub(crate) fn reported(&mut self, instance_id: InstanceId, report: &SlotReport) {
        let task_manager = self.before.task_managers.entry(instance_id).or_default();
        let statuses = report.statuses().iter();
        task_manager.slots = statuses.map(|status| status.resource_profile().clone()).collect();
        task_manager.offered = task_manager.slots.len();
    }

    pub(crate) fn compare(
        &mut self,
        manager: &Manager,
        calls: &[Call],
        moment: &Moment<'_>,
        leaving: &[InstanceId],
    ) -> Check<u64> {
        let after = Standing::of(manager);
        let config = manager.config();
        self.note_promises(config, calls);
        let mut rewind = Rewind {
            config,
            moment,
            standing: after.clone(),
            is_settled: true,
            leaving,
        };
        for at in (0..calls.len()).rev() {
            self.take_back(&mut rewind, calls, at)?;
        }
        self.check_withdrawals(manager, calls, moment)?;
        for worker_request in after.promised.keys() {
            if self.over.contains(worker_request) {
                return Err(format!("{worker_request} is withdrawn, and counted"));
            }
        }
        self.promised.retain(|id, _| after.promised.contains_key(id));
        if moment.is_driven {
            self.pauses.retain(|until| *until > moment.now);
            if moment.events > 0 && !calls.iter().any(|call| ask_of(call).is_some()) {
                let may_ask = self.pauses.is_empty();
                reserve::check_reserve(config, &after, moment, may_ask)?;
            }
        }
        self.before = after;
        Ok(std::mem::take(&mut self.beyond_limits))
    }

    fn note_promises(&mut self, config: &SlotManagerConfig, calls: &[Call]) {
        for call in calls {
            if let Some((worker_request, promise, asked)) = ask_of(call) {
                let promised = capacity_rules::promised(config, promise, asked);
                self.promised.insert(worker_request, promised);
            }
        }
    }

    fn take_back(&mut self, rewind: &mut Rewind<'_>, calls: &[Call], at: usize) -> Check {
        let call = &calls[at];
        if let Some((worker_request, promise, asked)) = ask_of(call) {
            let promised = capacity_rules::promised(rewind.config, promise, asked);
            return self.take_back_ask(rewind, worker_request, &promised, asked);
        }
        match (&call.effect, &call.said) {
            (Effect::Action(Action::WithdrawResource { worker_request }), Said::Withdrawal(withdrawal)) => {
                let of_last_ask = at.checked_sub(1).and_then(|last| ask_of(&calls[last]));
                let is_of_last_ask = of_last_ask.is_some_and(|(last, ..)| last == *worker_request);
                self.take_back_withdrawal(rewind, *worker_request, *withdrawal, is_of_last_ask)
            }
            (Effect::Action(Action::ReleaseResource { instance_id, .. }), Said::Release(release)) => {
                self.check_release(rewind, *instance_id)?;
                if *release == Release::Accepted {
                    let task_manager = self.before.task_managers.get(instance_id).cloned();
                    let task_manager = task_manager.ok_or_else(|| format!("{instance_id} is released, and unknown"))?;
                    // What pauses may have been offered by then.
                    let offered = match task_manager.is_blocked {
                        true => 0,
                        false => task_manager.slots.len(),
                    };
                    let task_manager = TaskManager {
                        offered,
                        ..task_manager
                    };
                    rewind.standing.task_managers.insert(*instance_id, task_manager);
                }
                Ok(())
            }
            (Effect::Gateway(GatewayCall::AskRelease(question)), _) => self.check_release(rewind, question.instance_id),
            (Effect::Gateway(GatewayCall::RequestSlot(request)), _) => {
                rewind.is_settled = false;
                match rewind.moment.blocked.contains(request.slot_id.resource_id()) {
                    true => Err(format!("{request:?} goes to a blocked worker")),
                    false => Ok(()),
                }
            }
            (Effect::Action(Action::NotifyAllocationFailure { cause, .. }), _) => {
                let AllocationFailureCause::RequestFailed(failure) = cause else {
                    return Ok(());
                };
                self.check_failure(rewind, failure)
            }
            _ => Ok(()),
        }
    }

    fn take_back_ask(
        &mut self,
        rewind: &mut Rewind<'_>,
        worker_request: WorkerRequestId,
        promised: &[ResourceProfile],
        asked: &ResourceProfile,
    ) -> Check {
        let was_taken = rewind.standing.promised.remove(&worker_request).is_some();
        let (config, present) = (rewind.config, rewind.standing.total());
        if !was_taken {
            let pause = rewind.moment.at_least(config.worker_registration_timeout);
            self.pauses.insert(rewind.moment.now + pause);
        }
        if !rewind.moment.is_after(config.recovery_timeout) {
            return Err(format!("{worker_request} is asked for within the recovery"));
        }
        let beyond = capacity_rules::limit_beyond(config, present, capacity_rules::total(promised));
        if was_taken == beyond.is_some() && !promised.is_empty() {
            return Err(format!(
                "{worker_request} was taken: {was_taken}; with {promised:?} and {present} it is beyond {beyond:?}"
            ));
        }
        if let Some(worker) = capacity_rules::described_worker(config) {
            if !worker[0].is_matching(asked) {
                return Err(format!("{worker_request} is asked for, no worker fits {asked}"));
            }
            if let Some(limit) = capacity_rules::limit_beyond(config, present, capacity_rules::total(&worker)) {
                return Err(format!(
                    "{worker_request} is asked for, with {present} that is beyond {limit}"
                ));
            }
        }
        Ok(())
    }

    fn take_back_withdrawal(
        &mut self,
        rewind: &mut Rewind<'_>,
        worker_request: WorkerRequestId,
        withdrawal: Withdrawal,
        is_of_last_ask: bool,
    ) -> Check {
        let promised = self.promised.get(&worker_request).cloned().unwrap_or_default();
        let config = rewind.config;
        let is_there = rewind.standing.promised.contains_key(&worker_request);
        let beyond = capacity_rules::limit_beyond(config, rewind.standing.total(), capacity_rules::total(&promised));
        if is_of_last_ask && !is_there && beyond.is_some() {
            self.beyond_limits += 1;
            self.over.insert(worker_request);
            return Ok(());
        }
        let mut rest = rewind.standing.clone();
        rest.promised.remove(&worker_request);
        if withdrawal == Withdrawal::Confirmed {
            self.over.insert(worker_request);
            let unbound = promised.len();
            let promised = Promised {
                slots: promised.clone(),
                unbound,
            };
            rewind.standing.promised.insert(worker_request, promised);
        }
        let known = self.before.promised.get(&worker_request);
        if known.is_some_and(|known| known.slots.len() != promised.len()) || promised.is_empty() {
            return Err(format!(
                "{worker_request} is withdrawn, and its worker has come, or never was"
            ));
        }
        let redundant = capacity_rules::redundant_slots(config, rest.used);
        let spare = rest.offered() + rest.unbound();
        if rest.usable() < config.min_slots || (rewind.is_settled && spare < redundant) {
            return Err(format!("{worker_request} is withdrawn, and needed: {rest:?}"));
        }
        Ok(())
    }

    /// Without a task manager that is to go, and those that are about to leave, there is still enough.
    fn check_release(&self, rewind: &Rewind<'_>, instance_id: InstanceId) -> Check {
        let task_manager = self.before.task_managers.get(&instance_id);
        let resource_id = task_manager.and_then(|it| it.resource_id.as_ref());
        if resource_id.is_some_and(|it| rewind.moment.blocked.contains(it)) {
            return Ok(());
        }
        let mut rest = rewind.standing.without(instance_id);
        for leaving in rewind.leaving.iter().filter(|leaving| **leaving != instance_id) {
            if rest.task_managers.get(leaving).is_some_and(|it| !it.is_blocked) {
                rest.task_managers.remove(leaving);
            }
        }
        let config = rewind.config;
        let redundant = capacity_rules::redundant_slots(config, rest.used);
        if rest.usable() < config.min_slots || (rewind.is_settled && rest.offered() < redundant) {
            return Err(format!("{instance_id} is to go, and needed: {rest:?}"));
        }
        Ok(())
    }

    /// Nothing that stays could serve a request that fails because nothing can.
    fn check_failure(&self, rewind: &Rewind<'_>, failure: &RequestFailure) -> Check {
        let RequestFailure::Unfulfillable { resource_profile } = failure else {
            return Ok(());
        };
        let moment = rewind.moment;
        if !moment.fails_unfulfillable || !moment.is_after(rewind.config.unfulfillable_grace_period) {
            return Err(format!("a request for {resource_profile} fails, and should not yet"));
        }
        // What was promised within the call may have come after the request failed.
        let promised = rewind.standing.promised.iter();
        let mut promised = promised.filter(|(id, _)| self.before.promised.contains_key(id));
        let fits = |slot: &ResourceProfile| slot.is_matching(resource_profile);
        if rewind.standing.has_registered_slot_for(resource_profile)
            || promised.any(|(_, it)| it.slots.iter().any(fits))
        {
            return Err(format!("a request for {resource_profile} fails, and something fits"));
        }
        Ok(())
    }

    /// The same of a request that failed while it was registered, before or after the effects.
    pub(crate) fn check_failure_at_once(
        &self,
        manager: &Manager,
        moment: &Moment<'_>,
        failure: &RequestFailure,
    ) -> Check {
        let rewind = Rewind {
            config: manager.config(),
            moment,
            standing: Standing::of(manager),
            is_settled: true,
            leaving: &[],
        };
        self.check_failure(&rewind, failure)
    }

    /// A worker is asked to be withdrawn once, and again only if it covered a request in between. That may have been within
    /// a call that handled more than one event, or made attempts.
    fn check_withdrawals(&mut self, manager: &Manager, calls: &[Call], moment: &Moment<'_>) -> Check {
        let tried = |call: &Call| matches!(call.effect, Effect::Gateway(GatewayCall::RequestSlot(_)));
        let is_simple = moment.events <= 1 && !calls.iter().any(tried);
        if !is_simple {
            self.asked_to_withdraw.clear();
        }
        for call in calls {
            if let Effect::Action(Action::WithdrawResource { worker_request }) = call.effect {
                if !self.asked_to_withdraw.insert(worker_request) && is_simple {
                    return Err(format!("{worker_request} is asked to be withdrawn twice"));
                }
            }
        }
        let covering = manager.promised_slots().filter(|slot| slot.covers().is_some());
        for slot in covering {
            self.asked_to_withdraw.remove(&slot.worker_request());
        }
        Ok(())
    }
}

fn ask_of(call: &Call) -> Option<(WorkerRequestId, &Promise, &ResourceProfile)> {
    match (&call.effect, &call.said) {
        (
            Effect::Action(Action::AllocateResource {
                worker_request,
                resource_profile,
            }),
            Said::Promise(promise),
        ) => Some((*worker_request, promise, resource_profile)),
        _ => None,
    }
}
