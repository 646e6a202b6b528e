//! The checks of every worker that is requested, withdrawn or released, at the time of that effect.
//! They start from the slots after a call and undo its effects, the last one first.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::message::{
    AllocationFailureCause, Release, RequestFailure, ShortageCause, Withdrawal, WithdrawalCause,
};
use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{InstanceId, ResourceProfile, SlotManagerConfig, SlotReport, Timestamp, WorkerRequestId};

use crate::cluster::call_log::{Call, CallAnswer, Promise};
use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::CallContext;
use crate::cluster::checks::reserve;
use crate::cluster::checks::slot_inventory::{Promised, ReportedResources, SlotInventory, TaskManager};
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct CapacityChecks {
    /// The slots after the last call, with later reports.
    before: SlotInventory,
    reported_resources: ReportedResources,
    /// All slots that were promised for each open worker request.
    promised: BTreeMap<WorkerRequestId, Vec<ResourceProfile>>,
    /// Worker requests that were withdrawn and have not been bound to a request since.
    withdrawals_requested: BTreeSet<WorkerRequestId>,
    /// Worker requests that are over: withdrawn, or beyond a limit.
    over: BTreeSet<WorkerRequestId>,
    /// The number of promises in this call beyond a limit.
    beyond_limits: u64,
    /// The ends of backoffs, each after a worker request that promised nothing.
    pub(crate) backoffs: BTreeSet<Timestamp>,
}

/// A position in a call, on the way from its end to its beginning.
struct Rewind<'a> {
    config: &'a SlotManagerConfig,
    context: &'a CallContext<'a>,
    /// The slots at this position.
    inventory: SlotInventory,
    /// Whether no later attempt follows in the call. Then offered and used slots are as after the
    /// call.
    has_no_later_attempt: bool,
    /// Task managers with an open release check during the whole call.
    leaving: &'a [InstanceId],
}

impl CapacityChecks {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes an applied report, whose slots the task manager has before the effects.
    pub(crate) fn reported(&mut self, instance_id: InstanceId, report: &SlotReport) {
        if let Some(resources) = report.dynamic() {
            self.reported_resources.insert(instance_id, resources.clone());
        }
        let task_manager = self.before.task_managers.entry(instance_id).or_default();
        *task_manager = TaskManager {
            resource_id: task_manager.resource_id.take(),
            is_blocked: task_manager.is_blocked,
            ..TaskManager::reported(report)
        };
    }

    /// Returns the present slots.
    pub(crate) fn inventory(&self, manager: &Manager) -> SlotInventory {
        SlotInventory::of(manager, &self.reported_resources)
    }

    pub(crate) fn compare(
        &mut self,
        manager: &Manager,
        calls: &[Call],
        context: &CallContext<'_>,
        leaving: &[InstanceId],
    ) -> Check<u64> {
        let after = self.inventory(manager);
        let config = manager.config();
        self.note_promises(config, calls);
        let mut rewind = Rewind {
            config,
            context,
            inventory: after.clone(),
            has_no_later_attempt: true,
            leaving,
        };
        for at in (0..calls.len()).rev() {
            self.undo(&mut rewind, calls, at)?;
        }
        self.check_withdrawals(manager, calls, context)?;
        for worker_request in after.promised.keys() {
            if self.over.contains(worker_request) {
                return Err(format!("{worker_request} is withdrawn, and still promised"));
            }
        }
        self.promised.retain(|id, _| after.promised.contains_key(id));
        self.reported_resources
            .retain(|id, _| after.task_managers.contains_key(id));
        if context.is_driven {
            self.backoffs.retain(|until| *until > context.now);
            if context.events > 0 && !calls.iter().any(|call| ask_of(call).is_some()) {
                // No view shows the start backoff.
                let may_ask = self.backoffs.is_empty() && config.max_start_failure_rate == 0;
                reserve::check_reserve(config, &after, context, may_ask)?;
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

    fn undo(&mut self, rewind: &mut Rewind<'_>, calls: &[Call], at: usize) -> Check {
        let call = &calls[at];
        if let Some((worker_request, promise, asked)) = ask_of(call) {
            let promised = capacity_rules::promised(rewind.config, promise, asked);
            return self.undo_worker_request(rewind, worker_request, &promised, asked);
        }
        match (&call.effect, &call.answer) {
            (Effect::Action(Action::WithdrawResource(withdraw)), CallAnswer::Withdrawal(withdrawal)) => {
                let worker_request = &withdraw.worker_request;
                let of_last_ask = at.checked_sub(1).and_then(|last| ask_of(&calls[last]));
                let is_of_last_ask = of_last_ask.is_some_and(|(last, ..)| last == *worker_request);
                match withdraw.cause {
                    WithdrawalCause::LimitReached { .. } if is_of_last_ask => {
                        self.undo_promise_beyond_limit(rewind, *worker_request)
                    }
                    WithdrawalCause::NotNeeded => self.undo_withdrawal(rewind, *worker_request, *withdrawal),
                    _ => self.check_ended(rewind, *worker_request),
                }
            }
            (Effect::Action(Action::ReleaseResource(asked)), CallAnswer::Release(release)) => {
                let instance_id = &asked.instance_id;
                self.check_release(rewind, *instance_id)?;
                if *release == Release::Accepted {
                    let task_manager = self.before.task_managers.get(instance_id).cloned();
                    let task_manager = task_manager.ok_or_else(|| format!("{instance_id} is released, and unknown"))?;
                    // A slot that backs off may have been offered at that time.
                    let offered = match task_manager.is_blocked {
                        true => 0,
                        false => task_manager.most_offered(),
                    };
                    let task_manager = TaskManager {
                        offered,
                        ..task_manager
                    };
                    rewind.inventory.task_managers.insert(*instance_id, task_manager);
                }
                Ok(())
            }
            (Effect::Gateway(GatewayCall::CanBeReleased(question)), _) => {
                self.check_release(rewind, question.instance_id)
            }
            (Effect::Gateway(GatewayCall::RequestSlot(request)), _) => {
                rewind.has_no_later_attempt = false;
                match rewind.context.blocked.contains(request.slot_id.resource_id()) {
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
            (Effect::Action(Action::NotifyNotEnoughResources { shortage, .. }), _) => match &shortage.cause {
                ShortageCause::Unfulfillable { resource_profile } => self.check_unfulfillable(rewind, resource_profile),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn undo_worker_request(
        &mut self,
        rewind: &mut Rewind<'_>,
        worker_request: WorkerRequestId,
        promised: &[ResourceProfile],
        asked: &ResourceProfile,
    ) -> Check {
        let was_taken = rewind.inventory.promised.remove(&worker_request).is_some();
        let (config, present) = (rewind.config, rewind.inventory.total());
        if !was_taken {
            let pause = rewind.context.at_least(config.worker_registration_timeout);
            self.backoffs.insert(rewind.context.now + pause);
        }
        if !rewind.context.has_recovered(config.recovery_timeout) {
            return Err(format!("{worker_request} is requested within the recovery"));
        }
        let beyond = capacity_rules::limit_beyond(config, present.clone(), capacity_rules::total(promised));
        if was_taken == beyond.is_some() && !promised.is_empty() {
            return Err(format!(
                "{worker_request} was accepted: {was_taken}; with {promised:?} and {present} it exceeds {beyond:?}"
            ));
        }
        if let Some(worker) = capacity_rules::described_worker(config) {
            if !worker[0].is_matching(asked) {
                return Err(format!("{worker_request} is requested, and no worker fits {asked}"));
            }
            if let Some(limit) = capacity_rules::limit_beyond(config, present.clone(), capacity_rules::total(&worker)) {
                return Err(format!(
                    "{worker_request} is requested, and with {present} it exceeds {limit}"
                ));
            }
        }
        Ok(())
    }

    /// Undoes the withdrawal of a worker whose promise would exceed a limit.
    fn undo_promise_beyond_limit(&mut self, rewind: &Rewind<'_>, worker_request: WorkerRequestId) -> Check {
        let promised = self.promised.get(&worker_request).cloned().unwrap_or_default();
        let total = rewind.inventory.total();
        let beyond = capacity_rules::limit_beyond(rewind.config, total, capacity_rules::total(&promised));
        if rewind.inventory.promised.contains_key(&worker_request) || beyond.is_none() {
            return Err(format!("{worker_request} is withdrawn, and within the limits"));
        }
        self.beyond_limits += 1;
        self.over.insert(worker_request);
        Ok(())
    }

    /// Checks a worker request whose promise ended before its withdrawal: it expired, or a newcomer
    /// took its room.
    fn check_ended(&mut self, rewind: &Rewind<'_>, worker_request: WorkerRequestId) -> Check {
        self.over.insert(worker_request);
        match rewind.inventory.promised.contains_key(&worker_request) {
            true => Err(format!("{worker_request} has ended, and is still promised")),
            false => Ok(()),
        }
    }

    fn undo_withdrawal(
        &mut self,
        rewind: &mut Rewind<'_>,
        worker_request: WorkerRequestId,
        withdrawal: Withdrawal,
    ) -> Check {
        let promised = self.promised.get(&worker_request).cloned().unwrap_or_default();
        let config = rewind.config;
        let mut rest = rewind.inventory.clone();
        rest.promised.remove(&worker_request);
        if withdrawal == Withdrawal::Confirmed {
            self.over.insert(worker_request);
            let unbound = promised.len();
            let promised = Promised {
                slots: promised.clone(),
                unbound,
            };
            rewind.inventory.promised.insert(worker_request, promised);
        }
        let known = self.before.promised.get(&worker_request);
        if known.is_some_and(|known| known.slots.len() != promised.len()) || promised.is_empty() {
            return Err(format!(
                "{worker_request} is withdrawn, and its worker has come or was never promised"
            ));
        }
        let redundant = capacity_rules::redundant_slots(config, rest.used);
        let spare = rest.offered() + rest.unbound();
        if rest.usable() < capacity_rules::min_slots(config) || (rewind.has_no_later_attempt && spare < redundant) {
            return Err(format!("{worker_request} is withdrawn, and needed: {rest:?}"));
        }
        Ok(())
    }

    /// Checks that enough slots stay without a released task manager and those with an open release
    /// check. One without slots is never needed.
    fn check_release(&self, rewind: &Rewind<'_>, instance_id: InstanceId) -> Check {
        let task_manager = self.before.task_managers.get(&instance_id);
        let resource_id = task_manager.and_then(|it| it.resource_id.as_ref());
        if resource_id.is_some_and(|it| rewind.context.blocked.contains(it)) {
            return Ok(());
        }
        if task_manager.is_some_and(|it| it.num_slots() == 0) {
            return Ok(());
        }
        let mut rest = rewind.inventory.without(instance_id);
        for leaving in rewind.leaving.iter().filter(|leaving| **leaving != instance_id) {
            if rest.task_managers.get(leaving).is_some_and(|it| !it.is_blocked) {
                rest.task_managers.remove(leaving);
            }
        }
        let config = rewind.config;
        let redundant = capacity_rules::redundant_slots(config, rest.used);
        let is_needed = rest.usable() < capacity_rules::min_slots(config)
            || (rewind.has_no_later_attempt && rest.offered() < redundant);
        if is_needed && !self.makes_room(rewind, instance_id) {
            return Err(format!("{instance_id} is released, and needed: {rest:?}"));
        }
        Ok(())
    }

    /// Returns `true` if a task manager takes the room of the worker that a waiting request needs,
    /// and fits no waiting request.
    fn makes_room(&self, rewind: &Rewind<'_>, instance_id: InstanceId) -> bool {
        let Some(worker) = capacity_rules::described_worker(rewind.config) else {
            return false;
        };
        let mut present = rewind.inventory.clone();
        if let Some(task_manager) = self.before.task_managers.get(&instance_id) {
            present.task_managers.insert(instance_id, task_manager.clone());
        }
        let worker = capacity_rules::total(&worker);
        let is_full = capacity_rules::limit_beyond(rewind.config, present.total(), worker).is_some();
        let waiting = &rewind.inventory.waiting;
        let task_manager = self.before.task_managers.get(&instance_id);
        let fits = task_manager.is_some_and(|it| waiting.iter().any(|required| it.could_serve(required)));
        // A request that waited at that time may have failed or got a slot since.
        is_full && !(rewind.has_no_later_attempt && fits)
    }

    fn check_failure(&self, rewind: &Rewind<'_>, failure: &RequestFailure) -> Check {
        match failure {
            RequestFailure::Unfulfillable { resource_profile } => self.check_unfulfillable(rewind, resource_profile),
            _ => Ok(()),
        }
    }

    /// Checks that no slot fits a request that is unfulfillable.
    fn check_unfulfillable(&self, rewind: &Rewind<'_>, resource_profile: &ResourceProfile) -> Check {
        let context = rewind.context;
        if !context.fails_unfulfillable || !context.is_after(rewind.config.unfulfillable_grace_period) {
            return Err(format!("a request for {resource_profile} fails too early"));
        }
        // A promise of this call may be later than the failure.
        let promised = rewind.inventory.promised.iter();
        let mut promised = promised.filter(|(id, _)| self.before.promised.contains_key(id));
        let fits = |slot: &ResourceProfile| slot.is_matching(resource_profile);
        if rewind.inventory.has_registered_slot_for(resource_profile)
            || promised.any(|(_, it)| it.slots.iter().any(fits))
        {
            return Err(format!("a request for {resource_profile} fails, and something fits"));
        }
        Ok(())
    }

    /// Checks a request that failed while it was registered, before or after the effects.
    pub(crate) fn check_failure_at_once(
        &self,
        manager: &Manager,
        context: &CallContext<'_>,
        failure: &RequestFailure,
    ) -> Check {
        let rewind = Rewind {
            config: manager.config(),
            context,
            inventory: self.inventory(manager),
            has_no_later_attempt: true,
            leaving: &[],
        };
        self.check_failure(&rewind, failure)
    }

    /// Checks that a worker is withdrawn once, and again only if it was bound to a request in
    /// between. That may have happened within a call that handled several events or made attempts.
    fn check_withdrawals(&mut self, manager: &Manager, calls: &[Call], context: &CallContext<'_>) -> Check {
        let tried = |call: &Call| matches!(call.effect, Effect::Gateway(GatewayCall::RequestSlot(_)));
        let is_simple = context.events <= 1 && !calls.iter().any(tried);
        if !is_simple {
            self.withdrawals_requested.clear();
        }
        for call in calls {
            if let Effect::Action(Action::WithdrawResource(withdraw)) = &call.effect {
                let worker_request = withdraw.worker_request;
                if withdraw.cause != WithdrawalCause::NotNeeded {
                    continue;
                }
                if !self.withdrawals_requested.insert(worker_request) && is_simple {
                    return Err(format!("{worker_request} is withdrawn twice"));
                }
            }
        }
        let covering = manager.promised_slots().filter(|slot| slot.bound_to().is_some());
        for slot in covering {
            self.withdrawals_requested.remove(&slot.worker_request());
        }
        Ok(())
    }
}

fn ask_of(call: &Call) -> Option<(WorkerRequestId, &Promise, &ResourceProfile)> {
    match (&call.effect, &call.answer) {
        (
            Effect::Action(Action::AllocateResource {
                worker_request,
                resource_profile,
            }),
            CallAnswer::Promise(promise),
        ) => Some((*worker_request, promise, resource_profile)),
        _ => None,
    }
}
