//! How idle task managers go: whether they may, what they say to it themselves, and which are kept.

use slot_manager::testing::{Action, GatewayCall};
use slot_manager::{
    GrantLoss, InstanceId, NotStarted, ReleaseAnswerOutcome, ReleaseCause, ReleaseCheck, ReleaseDecision,
};

use super::NaiveSlotManager;

impl NaiveSlotManager {
    /// Those that were idle for long enough, and still are.
    pub(super) fn release_idle_task_managers(&mut self) {
        for (id, idle_period) in std::mem::take(&mut self.said.releases) {
            let Some(task_manager) = self.task_manager(id) else {
                continue;
            };
            let still_idle = task_manager.idle_since.is_some() && task_manager.idle_periods == idle_period;
            if still_idle && task_manager.question.is_none() {
                match self.may_go(id) {
                    true => self.ask_whether_it_can_go(id),
                    false => self.keep(id),
                }
            }
        }
    }

    /// Those that were kept, the smallest first, then whoever was kept first; until one is still needed.
    pub(super) fn release_kept_task_managers(&mut self) {
        loop {
            let kept = self.task_managers.iter().filter_map(|it| {
                let kept = it.kept?;
                Some((it.slots.len(), kept, it.instance_id))
            });
            match kept.min() {
                Some((_, _, id)) if self.may_go(id) => self.ask_whether_it_can_go(id),
                _ => return,
            }
        }
    }

    /// Whether there are enough slots without it, and without those that may be about to go.
    fn may_go(&self, id: InstanceId) -> bool {
        let (min_slots, redundant_slots) = (self.config.min_slots, self.redundant_slots());
        let task_manager = self.task_manager(id).expect("a registered task manager");
        if self.is_blocked(&task_manager.resource_id) || (min_slots, redundant_slots) == (0, 0) {
            return true;
        }
        let others = self.task_managers.iter().filter(|it| it.instance_id != id);
        let leaving = others.filter(|it| it.question.is_some() && !self.is_blocked(&it.resource_id));
        let leaving: usize = leaving.map(|it| it.slots.len()).sum();
        let own_offered = task_manager.slots.iter().filter(|slot| slot.is_offered()).count();
        let left = self
            .usable_and_promised()
            .checked_sub(leaving + task_manager.slots.len());
        let offered_left = self.offered().checked_sub(leaving + own_offered);
        let is_enough = |wanted: usize, left: Option<usize>| wanted == 0 || left.is_some_and(|left| left >= wanted);
        is_enough(min_slots, left) && (!self.is_used() || is_enough(redundant_slots, offered_left))
    }

    fn keep(&mut self, id: InstanceId) {
        let order = self.next();
        self.task_manager_mut(id).kept.get_or_insert(order);
    }

    fn ask_whether_it_can_go(&mut self, id: InstanceId) {
        self.questions += 1;
        let question = ReleaseCheck {
            instance_id: id,
            leader_id: self.leader.expect("started"),
            number: self.questions,
        };
        self.effects.push(GatewayCall::CanBeReleased(question).into());
        let task_manager = self.task_manager_mut(id);
        task_manager.kept = None;
        match task_manager.release_answers.take() {
            ReleaseDecision::Release => {
                self.release(id);
            }
            ReleaseDecision::Keep => self.stays(id),
            ReleaseDecision::Later => {
                let deadline = self.timer(self.config.rpc_timeout);
                self.task_manager_mut(id).question = Some((question.number, deadline));
            }
        }
    }

    /// It is asked again after another idle timeout.
    pub(super) fn stays(&mut self, id: InstanceId) {
        let again = self.timer(self.config.task_manager_timeout);
        let task_manager = self.task_manager_mut(id);
        task_manager.question = None;
        task_manager.release = again;
    }

    fn release(&mut self, instance_id: InstanceId) -> ReleaseAnswerOutcome {
        let task_manager = self.task_manager(instance_id).expect("a registered task manager");
        let cause = ReleaseCause::IdleTimeout {
            idle_since: task_manager.idle_since.expect("an idle task manager"),
            idle_period: task_manager.idle_periods,
        };
        self.effects.push(Action::ReleaseResource { instance_id, cause }.into());
        match self.releases.take() {
            true => {
                self.detach(instance_id, &GrantLoss::SlotRemoved);
                ReleaseAnswerOutcome::Released
            }
            false => ReleaseAnswerOutcome::Stays,
        }
    }

    pub(super) fn answer_release(
        &mut self,
        question: ReleaseCheck,
        answer: ReleaseDecision,
    ) -> Result<ReleaseAnswerOutcome, NotStarted> {
        self.begin_input()?;
        let id = question.instance_id;
        let outcome = match answer {
            _ if !self.open_questions().contains(&question) => return Ok(ReleaseAnswerOutcome::Unknown),
            ReleaseDecision::Later => return Ok(ReleaseAnswerOutcome::Open),
            ReleaseDecision::Keep => {
                self.stays(id);
                ReleaseAnswerOutcome::Stays
            }
            ReleaseDecision::Release => {
                self.task_manager_mut(id).question = None;
                if self.may_go(id) {
                    self.release(id)
                } else {
                    self.keep(id);
                    ReleaseAnswerOutcome::Stays
                }
            }
        };
        self.end_input();
        Ok(outcome)
    }

    /// The questions that task executors have not answered.
    pub(crate) fn open_questions(&self) -> Vec<ReleaseCheck> {
        let Some(leader_id) = self.leader else {
            return Vec::new();
        };
        let open = self.task_managers.iter().filter_map(|it| {
            let (number, _) = it.question?;
            Some(ReleaseCheck {
                instance_id: it.instance_id,
                leader_id,
                number,
            })
        });
        open.collect()
    }
}
