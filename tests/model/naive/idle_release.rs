//! Idle release: which idle task managers go, their release checks, and which are kept.

use slot_manager::InstanceId;
use slot_manager::message::{GrantLoss, ReleaseCause, ReleaseCheck, ReleaseDecision, ReleaseResource};
use slot_manager::outcome::ReleaseAnswerOutcome;
use slot_manager::testing::{Action, GatewayCall};

use super::limits::Quantity;
use super::{NaiveSlotManager, TaskManager};

impl NaiveSlotManager {
    /// Releases or keeps the task managers whose idle timeout fell due, unless their idle period
    /// has ended.
    pub(super) fn release_idle_task_managers(&mut self) {
        for (id, idle_period) in std::mem::take(&mut self.outbox.releases) {
            let Some(task_manager) = self.task_manager(id) else {
                continue;
            };
            let still_idle = task_manager.idle_since.is_some() && task_manager.idle_periods == idle_period;
            if still_idle && task_manager.release_check.is_none() {
                self.release_or_keep(id);
            }
        }
    }

    /// Releases kept task managers until one is still needed: the smallest first, then in the order
    /// in which they were kept. While a limit defers a worker request, each that may go does.
    pub(super) fn release_kept_task_managers(&mut self) {
        while let Some(id) = self.next_kept_to_release() {
            self.release_or_keep(id);
        }
    }

    /// Returns the kept task manager that is released next.
    pub(super) fn next_kept_to_release(&self) -> Option<InstanceId> {
        let all = self.task_managers.iter();
        let kept = all.filter_map(|it| Some((it.counted_slots(), it.kept?, it.instance_id)));
        let mut kept: Vec<_> = kept.collect();
        kept.sort_unstable();
        let checked = if self.needs_room() { kept.len() } else { 1 };
        let mut checked = kept.into_iter().take(checked).map(|(_, _, id)| id);
        checked.find(|id| self.may_go(*id))
    }

    /// Keeps an idle task manager that is needed. The idle timeout of one that a request waits for
    /// starts again. Any other gets a release check.
    fn release_or_keep(&mut self, id: InstanceId) {
        if !self.may_go(id) {
            return self.keep(id);
        }
        let task_manager = self.task_manager_mut(id);
        task_manager.kept = None;
        match self.task_manager(id).is_some_and(|it| self.is_waited_for(it)) {
            true => self.restart_idle_timeout(id),
            false => self.send_release_check(id),
        }
    }

    fn restart_idle_timeout(&mut self, id: InstanceId) {
        let again = self.timer(self.config.task_manager_timeout);
        self.task_manager_mut(id).idle_timer = again;
    }

    /// Returns `true` if a task manager stays because of a request: one that backs off and that a
    /// slot of it fits, or one that is bound to the promised slots that it has yet to bring.
    fn is_waited_for(&self, task_manager: &TaskManager) -> bool {
        let mut backing_off = self.requests.iter().filter(|it| it.backs_off());
        !self.is_blocked(&task_manager.resource_id)
            && (backing_off.any(|it| task_manager.could_serve(it))
                || task_manager.worker_request.is_some_and(|it| self.is_bound(it)))
    }

    /// Returns `true` if a task manager takes the place of a worker that a waiting request needs,
    /// and serves no waiting request itself.
    fn makes_room(&self, id: InstanceId) -> bool {
        let task_manager = self.task_manager(id).expect("a registered task manager");
        let mut waiting = self.requests.iter().filter(|it| it.is_waiting());
        self.needs_room() && !waiting.any(|it| task_manager.could_serve(it))
    }

    /// Returns `true` while a limit defers a worker request, even without the task managers that
    /// are leaving.
    fn needs_room(&self) -> bool {
        let staying = self.task_managers.iter().filter(|it| it.release_check.is_none());
        let worker = self.worker().map(|it| it.quantity()).unwrap_or_default();
        let all = staying.map(Quantity::of).chain([self.promised(), worker]).sum();
        self.has_deferred() && self.limit_exceeded_by(&all).is_some()
    }

    /// Returns `true` if the minimum and redundancy hold without this task manager, and without
    /// those with an open release check.
    fn may_go(&self, id: InstanceId) -> bool {
        let (min_slots, redundant_slots) = (self.min_slots(), self.redundant_slots());
        let task_manager = self.task_manager(id).expect("a registered task manager");
        if self.is_blocked(&task_manager.resource_id) || (min_slots, redundant_slots) == (0, 0) || self.makes_room(id) {
            return true;
        }
        let others = self.task_managers.iter().filter(|it| it.instance_id != id);
        let leaving = others.filter(|it| it.release_check.is_some() && !self.is_blocked(&it.resource_id));
        let leaving: usize = leaving.map(TaskManager::counted_slots).sum();
        let own_offered = self.free_slots_of(task_manager);
        let left = self
            .usable_and_promised()
            .checked_sub(leaving + task_manager.counted_slots());
        let offered_left = self.offered().checked_sub(leaving + own_offered);
        let is_enough = |least: usize, left: Option<usize>| least == 0 || left.is_some_and(|left| left >= least);
        is_enough(min_slots, left) && (!self.is_used() || is_enough(redundant_slots, offered_left))
    }

    /// Keeps an idle task manager until `reconcile` finds that it is not needed.
    fn keep(&mut self, id: InstanceId) {
        let order = self.next();
        self.task_manager_mut(id).kept.get_or_insert(order);
    }

    /// Sends a release check and handles an immediate decision.
    fn send_release_check(&mut self, id: InstanceId) {
        self.release_checks += 1;
        let check = ReleaseCheck {
            instance_id: id,
            leader_id: self.leader.expect("started"),
            number: self.release_checks,
        };
        self.effects.push(GatewayCall::CanBeReleased(check).into());
        match self.task_manager_mut(id).release_answers.take() {
            ReleaseDecision::Release => {
                let _: ReleaseAnswerOutcome = self.release(id);
            }
            ReleaseDecision::Keep => self.release_declined(id),
            ReleaseDecision::Later => {
                let deadline = self.timer(self.config.rpc_timeout);
                self.task_manager_mut(id).release_check = Some((check.number, deadline));
            }
        }
    }

    /// Ends a release check. The next one follows after another idle timeout.
    pub(super) fn release_declined(&mut self, id: InstanceId) {
        self.task_manager_mut(id).release_check = None;
        self.restart_idle_timeout(id);
    }

    /// Asks the resource manager to release a task manager, and ends the registration if it
    /// accepts.
    fn release(&mut self, instance_id: InstanceId) -> ReleaseAnswerOutcome {
        let task_manager = self.task_manager(instance_id).expect("a registered task manager");
        let cause = ReleaseCause::IdleTimeout {
            idle_since: task_manager.idle_since.expect("an idle task manager"),
            idle_period: task_manager.idle_periods,
        };
        let worker_request = task_manager.worker_request;
        let release = ReleaseResource {
            resource_id: task_manager.resource_id.clone(),
            instance_id,
            worker_request,
            is_blocked: self.blocked.contains(&task_manager.resource_id),
            cause,
        };
        self.effects.push(Action::ReleaseResource(release).into());
        match self.releases.take() {
            true => {
                self.end_registration(instance_id, &GrantLoss::SlotRemoved);
                self.fail_promise_of(worker_request);
                ReleaseAnswerOutcome::Released
            }
            false => ReleaseAnswerOutcome::Stays,
        }
    }

    /// Handles the decision of a task executor about an open release check.
    pub(super) fn answer_release(&mut self, check: ReleaseCheck, answer: ReleaseDecision) -> ReleaseAnswerOutcome {
        if self.begin_input().is_err() {
            return ReleaseAnswerOutcome::Unknown;
        }
        let id = check.instance_id;
        let outcome = match answer {
            _ if !self.open_release_checks().contains(&check) => return ReleaseAnswerOutcome::Unknown,
            ReleaseDecision::Later => return ReleaseAnswerOutcome::Open,
            ReleaseDecision::Keep => {
                self.release_declined(id);
                ReleaseAnswerOutcome::Stays
            }
            ReleaseDecision::Release => {
                self.task_manager_mut(id).release_check = None;
                let task_manager = self.task_manager(id).expect("a registered task manager");
                let is_waited_for = self.is_waited_for(task_manager);
                match self.may_go(id) {
                    true if !is_waited_for => self.release(id),
                    true => {
                        self.restart_idle_timeout(id);
                        ReleaseAnswerOutcome::Stays
                    }
                    false => {
                        self.keep(id);
                        ReleaseAnswerOutcome::Stays
                    }
                }
            }
        };
        self.end_input();
        outcome
    }

    /// Returns the release checks without a decision.
    pub(crate) fn open_release_checks(&self) -> Vec<ReleaseCheck> {
        let Some(leader_id) = self.leader else {
            return Vec::new();
        };
        let open = self.task_managers.iter().filter_map(|it| {
            let (number, _) = it.release_check?;
            Some(ReleaseCheck {
                instance_id: it.instance_id,
                leader_id,
                number,
            })
        });
        open.collect()
    }
}
