//! Idle release: which idle task managers go, their release checks, and which are kept.

use slot_manager::InstanceId;
use slot_manager::message::{GrantLoss, ReleaseCause, ReleaseCheck, ReleaseDecision, ReleaseResource};
use slot_manager::outcome::ReleaseAnswerOutcome;
use slot_manager::testing::{Action, GatewayCall};

use super::NaiveSlotManager;

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
                match self.may_go(id) {
                    true => self.send_release_check(id),
                    false => self.keep(id),
                }
            }
        }
    }

    /// Releases kept task managers until one is still needed: the smallest first, then in the order
    /// in which they were kept.
    pub(super) fn release_kept_task_managers(&mut self) {
        loop {
            let kept = self.task_managers.iter().filter_map(|it| {
                let kept = it.kept?;
                Some((it.slots.len(), kept, it.instance_id))
            });
            match kept.min() {
                Some((_, _, id)) if self.may_go(id) => self.send_release_check(id),
                _ => return,
            }
        }
    }

    /// Returns `true` if the minimum and redundancy hold without this task manager, and without
    /// those with an open release check.
    fn may_go(&self, id: InstanceId) -> bool {
        let (min_slots, redundant_slots) = (self.min_slots(), self.redundant_slots());
        let task_manager = self.task_manager(id).expect("a registered task manager");
        if self.is_blocked(&task_manager.resource_id) || (min_slots, redundant_slots) == (0, 0) {
            return true;
        }
        let others = self.task_managers.iter().filter(|it| it.instance_id != id);
        let leaving = others.filter(|it| it.release_check.is_some() && !self.is_blocked(&it.resource_id));
        let leaving: usize = leaving.map(|it| it.slots.len()).sum();
        let own_offered = task_manager.slots.iter().filter(|slot| slot.is_offered()).count();
        let left = self
            .usable_and_promised()
            .checked_sub(leaving + task_manager.slots.len());
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
        let task_manager = self.task_manager_mut(id);
        task_manager.kept = None;
        match task_manager.release_answers.take() {
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
        let again = self.timer(self.config.task_manager_timeout);
        let task_manager = self.task_manager_mut(id);
        task_manager.release_check = None;
        task_manager.idle_timer = again;
    }

    /// Asks the resource manager to release a task manager, and ends the registration if it
    /// accepts.
    fn release(&mut self, instance_id: InstanceId) -> ReleaseAnswerOutcome {
        let task_manager = self.task_manager(instance_id).expect("a registered task manager");
        let cause = ReleaseCause::IdleTimeout {
            idle_since: task_manager.idle_since.expect("an idle task manager"),
            idle_period: task_manager.idle_periods,
        };
        let release = ReleaseResource {
            resource_id: task_manager.resource_id.clone(),
            instance_id,
            worker_request: task_manager.worker_request,
            is_blocked: self.blocked.contains(&task_manager.resource_id),
            cause,
        };
        self.effects.push(Action::ReleaseResource(release).into());
        match self.releases.take() {
            true => {
                self.end_registration(instance_id, &GrantLoss::SlotRemoved);
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
                if self.may_go(id) {
                    self.release(id)
                } else {
                    self.keep(id);
                    ReleaseAnswerOutcome::Stays
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
