//! Letting idle task managers go: which may, what they are asked, and what comes of the answers.

use crate::{ReleaseAnswerOutcome, ReleaseCheck, ReleaseDecision};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::NotedRelease;
use crate::slot_manager::state::releases::OpenCheck;
use crate::slot_manager::state::slot_totals::SlotUsage;
use crate::slot_manager::state::slots::SlotPhase;
use crate::slot_manager::state::task_managers::{TaskManagerKey, TaskManagers};

impl Core {
    /// Begins or ends the idle period of a task manager, by how its slots are used at the end of a transaction: what is
    /// freed and used again within one has not been idle.
    pub(crate) fn update_idle_period(&mut self, task_manager: TaskManagerKey) {
        let release_at = self.deadline_in(self.config.task_manager_timeout);
        let Some(record) = self.task_managers.records.get_mut(task_manager) else {
            return;
        };
        if record.used() > 0 {
            self.end_idle_period(task_manager);
        } else if record.idle_since.is_none() {
            record.idle_since = Some(self.now);
            record.idle_periods += 1;
            record.release_at = release_at;
            self.task_managers
                .idle
                .arm(&mut self.task_managers.records, task_manager);
        }
    }

    /// Ends the idle period of a task manager, if it is idle.
    pub(crate) fn end_idle_period(&mut self, task_manager: TaskManagerKey) {
        let record = &mut self.task_managers.records[task_manager];
        if record.idle_since.take().is_some() {
            self.task_managers
                .idle
                .disarm(&mut self.task_managers.records, task_manager);
            self.releases.forget(task_manager);
        }
    }

    /// Notes that the release of an idle task manager is to be asked for, and that it is asked for again if that is
    /// declined.
    pub(crate) fn note_idle_timeout(&mut self, task_manager: TaskManagerKey) {
        self.restart_idle_timeout(task_manager);
        self.note_release(task_manager);
    }

    /// Notes that the release of an idle task manager is to be asked for.
    pub(crate) fn note_release(&mut self, task_manager: TaskManagerKey) {
        self.effects.releases.push(NotedRelease {
            task_manager,
            idle_period: self.task_managers.records[task_manager].idle_periods,
            is_confirmed: false,
        });
    }

    /// Lets the idle timeout of an idle task manager begin anew.
    pub(crate) fn restart_idle_timeout(&mut self, task_manager: TaskManagerKey) {
        let release_at = self.deadline_in(self.config.task_manager_timeout);
        let TaskManagers { records, idle, .. } = &mut self.task_managers;
        idle.disarm(records, task_manager);
        records[task_manager].release_at = release_at;
        idle.arm(records, task_manager);
    }

    /// Whether an idle task manager is not needed: without it, and without those that are leaving, there are still the
    /// fewest slots, and enough free ones for redundancy. O(1) without these, else O(its slots + blocked task managers).
    fn may_go(&self, task_manager: TaskManagerKey) -> bool {
        let (floor, redundant) = self.reserves();
        if (floor, redundant) == (0, 0) || self.is_blocked(task_manager) {
            return true;
        }
        let slots_asked_of = |key: &TaskManagerKey| self.releases.check(*key).map_or(0, OpenCheck::slots);
        let of_blocked: usize = self.blocking.task_managers.iter().map(slots_asked_of).sum();
        let leaving = self.releases.checked_slots() - of_blocked;
        let slots = &self.task_managers.records[task_manager].slots;
        let is_offered = |slot| matches!(self.slots[slot].phase, SlotPhase::Offered { .. });
        let offered = slots.iter().filter(|(_, slot)| is_offered(*slot)).count();
        let keeps_floor = self.usable_slots() >= floor.saturating_add(leaving + slots.len());
        let keeps_redundancy = self.slot_totals.slots(SlotUsage::Free) >= redundant.saturating_add(leaving + offered);
        (floor == 0 || keeps_floor) && (redundant == 0 || keeps_redundancy)
    }

    /// Registered slots of task managers that are not blocked, and promised ones.
    pub(crate) fn usable_slots(&self) -> usize {
        self.slot_totals.registered().slots - self.blocking.slots + self.slot_totals.promised().slots
    }

    /// What an idle task manager is to be asked before it is released, if it may go; it is kept if it may not. A check
    /// that is open is not asked again.
    pub(crate) fn begin_release(&mut self, noted: NotedRelease) -> Option<BegunRelease> {
        let record = self.task_managers.records.get(noted.task_manager)?;
        if record.idle_since.is_none() || record.idle_periods != noted.idle_period {
            return None;
        }
        let (instance_id, slots) = (record.instance_id, record.slots.len());
        if self.releases.check(noted.task_manager).is_some() {
            return None;
        }
        if !self.may_go(noted.task_manager) {
            self.releases.keep(noted.task_manager, slots);
            return None;
        }
        self.releases.let_go(noted.task_manager);
        if noted.is_confirmed {
            return Some(BegunRelease::Confirmed);
        }
        Some(BegunRelease::Check(ReleaseCheck {
            instance_id,
            leader_id: self.leader_id?,
            number: self.releases.next_number(),
        }))
    }

    /// The task manager that is not needed any more, of those that are kept.
    pub(crate) fn next_kept_to_release(&self) -> Option<NotedRelease> {
        let task_manager = self.releases.first_kept()?;
        self.may_go(task_manager).then(|| NotedRelease {
            task_manager,
            idle_period: self.task_managers.records[task_manager].idle_periods,
            is_confirmed: false,
        })
    }

    /// A task executor says that it will say later whether it can be stopped.
    pub(crate) fn await_release_answer(&mut self, task_manager: TaskManagerKey, check: &ReleaseCheck) {
        let until = self.deadline_in(self.config.rpc_timeout);
        let slots = self.task_managers.records[task_manager].slots.len();
        self.releases.open(task_manager, slots, check.number, until);
    }

    /// A task executor says that it cannot be stopped now.
    pub(crate) fn release_refused(&mut self, task_manager: TaskManagerKey) {
        tracing::debug!(
            resource_id = %self.task_managers.records[task_manager].resource_id,
            "idle task manager is not to be released yet"
        );
        self.releases.close(task_manager);
        self.restart_idle_timeout(task_manager);
    }

    /// Applies the answer to an open check. Whether the task manager is released is seen when it has been asked for.
    pub(crate) fn answer_release(&mut self, check: &ReleaseCheck, answer: ReleaseDecision) -> ReleaseAnswerOutcome {
        let asked = self.task_managers.by_instance(&check.instance_id);
        let open = asked.and_then(|task_manager| Some((task_manager, self.releases.check(task_manager)?.number)));
        let task_manager = match open {
            Some((task_manager, number)) if number == check.number && self.leader_id == Some(check.leader_id) => {
                task_manager
            }
            _ => {
                tracing::debug!(?check, "answer to a check that is not open ignored");
                return ReleaseAnswerOutcome::Unknown;
            }
        };
        match answer {
            ReleaseDecision::Later => return ReleaseAnswerOutcome::Open,
            ReleaseDecision::Keep => self.release_refused(task_manager),
            ReleaseDecision::Release => {
                self.releases.close(task_manager);
                self.effects.releases.push(NotedRelease {
                    task_manager,
                    idle_period: self.task_managers.records[task_manager].idle_periods,
                    is_confirmed: true,
                });
            }
        }
        ReleaseAnswerOutcome::Stays
    }
}

/// The first step of a release.
pub(crate) enum BegunRelease {
    /// The task executor is asked first.
    Check(ReleaseCheck),
    /// It has agreed.
    Confirmed,
}
