//! Idle task managers: when the idle period begins, and how the task manager is released.

use crate::InstanceId;
use crate::config::Quantity;
use crate::message::{Release, ReleaseCause, ReleaseCheck, ReleaseDecision, ReleaseResource};
use crate::outcome::ReleaseAnswerOutcome;

use super::Outside;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::effects::NotedRelease;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::releases::OpenCheck;
use crate::slot_manager::state::slots::SlotPhase;
use crate::slot_manager::state::task_managers::{TaskManagerKey, TaskManagers};

/// The idle period.
impl Core {
    /// Begins or ends an idle period. It runs at the commit: a slot freed and used again in one
    /// call was never idle.
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

    /// Queues a release and restarts the idle timeout, in case the release is declined.
    pub(crate) fn note_idle_timeout(&mut self, task_manager: TaskManagerKey) {
        self.restart_idle_timeout(task_manager);
        self.note_release(task_manager, false);
    }

    /// Queues a release for the next flush.
    pub(crate) fn note_release(&mut self, task_manager: TaskManagerKey, is_confirmed: bool) {
        self.effects.releases.push(NotedRelease {
            task_manager,
            idle_period: self.task_managers.records[task_manager].idle_periods,
            is_confirmed,
        });
    }

    fn restart_idle_timeout(&mut self, task_manager: TaskManagerKey) {
        let release_at = self.deadline_in(self.config.task_manager_timeout);
        let TaskManagers { records, idle, .. } = &mut self.task_managers;
        idle.disarm(records, task_manager);
        records[task_manager].release_at = release_at;
        idle.arm(records, task_manager);
    }
}

/// The release.
impl Core {
    /// Releases the queued task managers that are still idle and not needed.
    pub(crate) fn release_noted_task_managers(&mut self, outside: &mut impl Outside) {
        let mut at = 0;
        while let Some(noted) = self.effects.releases.get(at).copied() {
            self.release_if_idle(outside, noted);
            at += 1;
        }
        self.effects.releases.clear();
    }

    /// Releases task managers that were kept and are not needed any more.
    pub(crate) fn release_kept_task_managers(&mut self, outside: &mut impl Outside) {
        while let Some(task_manager) = self.next_kept_to_release() {
            let idle_period = self.task_managers.records[task_manager].idle_periods;
            let noted = NotedRelease {
                task_manager,
                idle_period,
                is_confirmed: false,
            };
            self.release_if_idle(outside, noted);
        }
    }

    /// Releases an idle task manager if its task executor agrees, or keeps it while it is needed.
    fn release_if_idle(&mut self, outside: &mut impl Outside, noted: NotedRelease) {
        let task_manager = noted.task_manager;
        let Some(instance_id) = self.idle_instance(noted) else {
            return;
        };
        self.changes += 1;
        if !self.may_go(task_manager) {
            self.releases.keep(task_manager, self.counted_slots(task_manager));
            return;
        }
        self.releases.let_go(task_manager);
        if self.is_awaited(task_manager) {
            self.restart_idle_timeout(task_manager);
            return;
        }
        if noted.is_confirmed {
            return self.release(outside, task_manager);
        }
        let Some(leader_id) = self.leader_id else {
            return;
        };
        let number = self.releases.next_number();
        let check = ReleaseCheck {
            instance_id,
            leader_id,
            number,
        };
        match outside.can_be_released(task_manager, &check) {
            ReleaseDecision::Release => self.release(outside, task_manager),
            ReleaseDecision::Keep => self.release_declined(task_manager),
            ReleaseDecision::Later => {
                let until = self.deadline_in(self.config.rpc_timeout);
                let slots = self.counted_slots(task_manager);
                self.releases.open(task_manager, slots, number, until);
            }
        }
    }

    /// Returns the instance of a queued release; `None` if its idle period is over or its release
    /// check is open.
    fn idle_instance(&self, noted: NotedRelease) -> Option<InstanceId> {
        let record = self.task_managers.records.get(noted.task_manager)?;
        let is_current = record.idle_since.is_some() && record.idle_periods == noted.idle_period;
        let is_idle = is_current && self.releases.check(noted.task_manager).is_none();
        is_idle.then_some(record.instance_id)
    }

    /// Returns the kept task manager to release next.
    ///
    /// The order is by the number of slots: if the first is needed, so are the others. Only while a
    /// limit defers a worker request, each is checked, because their shapes differ.
    pub(crate) fn next_kept_to_release(&self) -> Option<TaskManagerKey> {
        if self.needs_room() {
            return self.releases.kept().find(|kept| self.may_go(*kept));
        }
        self.releases.first_kept().filter(|kept| self.may_go(*kept))
    }

    /// Returns `true` if the minimum and redundancy hold without this task manager and those
    /// already leaving, or do not count.
    ///
    /// A blocked task manager always may go. While a limit defers a worker request, so may a task
    /// manager that fits no waiting request: it takes the room of a worker of another shape.
    ///
    /// Cost: O(1) without minimum and redundancy, else O(its slots + blocked task managers). While
    /// a limit defers a worker request, also O(slots with an open release check).
    fn may_go(&self, task_manager: TaskManagerKey) -> bool {
        let (minimum, redundant) = self.reserves();
        if (minimum, redundant) == (0, 0) || self.is_blocked(task_manager) {
            return true;
        }
        let checked_slots = |key: &TaskManagerKey| self.releases.check(*key).map_or(0, OpenCheck::slots);
        let of_blocked: usize = self.blocking.task_managers.iter().map(checked_slots).sum();
        let leaving = self.releases.checked_slots() - of_blocked;
        let slots = self.counted_slots(task_manager);
        let offered = self.offered_slots(task_manager);
        let keeps_minimum = self.usable_slots() >= minimum.saturating_add(leaving + slots);
        let keeps_redundancy = self.free_slots() >= redundant.saturating_add(leaving + offered);
        let are_kept = (minimum == 0 || keeps_minimum) && (redundant == 0 || keeps_redundancy);
        are_kept || (self.needs_room() && !self.any_slot(task_manager, |slot| self.fits_waiting_request(slot)))
    }

    /// Returns the number of offered slots of a task manager, or of default slots that remain of a
    /// dynamic one.
    fn offered_slots(&self, task_manager: TaskManagerKey) -> usize {
        if let Some(worker) = self.dynamic_workers.get(task_manager) {
            let is_offered = self.dynamic_workers.is_offered(task_manager);
            return if is_offered { worker.free_slots() } else { 0 };
        }
        let slots = self.task_managers.records[task_manager].slots.iter();
        let is_offered = |slot| matches!(self.slots[slot].phase, SlotPhase::Offered { .. });
        slots.filter(|(_, slot)| is_offered(*slot)).count()
    }

    /// Returns `true` while a limit defers a worker request, also without the task managers that
    /// are leaving.
    fn needs_room(&self) -> bool {
        if self.worker_policy.first_deferred().is_none() || !self.worker_policy.is_limited() {
            return false;
        }
        let leaving = self.releases.checked();
        let leaving = leaving.fold(Quantity::default(), |sum, key| sum + self.quantity_of(key));
        self.worker_policy
            .limit_of_next_worker(self.present() - leaving)
            .is_some()
    }

    /// Returns `true` if a request is about to use an idle task manager. Either a request backs off
    /// that its slots fit, or a request is bound to the promise of its first slots.
    ///
    /// A blocked task manager serves no request.
    fn is_awaited(&self, task_manager: TaskManagerKey) -> bool {
        if self.is_blocked(task_manager) {
            return false;
        }
        let expected = self.task_managers.records[task_manager].expected_worker_request();
        let promise = expected.and_then(|number| self.promises.find(number));
        promise.is_some_and(|promise| self.promises.has_bound_request(promise))
            || self.any_slot(task_manager, |slot| self.fits_request_that_backs_off(slot))
    }

    /// Returns `true` if any slot of a task manager, or the total of a dynamic one, fits a request.
    fn any_slot(&self, task_manager: TaskManagerKey, fits: impl Fn(Fitting<'_>) -> bool) -> bool {
        if let Some(worker) = self.dynamic_workers.get(task_manager) {
            return fits(worker.shape.fitting(&self.profiles));
        }
        let slots = self.task_managers.records[task_manager].slots.iter();
        let mut profiles: Vec<_> = slots.map(|(_, slot)| self.slots[*slot].profile).collect();
        profiles.sort_unstable();
        profiles.dedup();
        let mut profiles = profiles.into_iter();
        profiles.any(|profile| fits(Fitting::Slot(&self.profiles[profile])))
    }

    /// Returns `true` if a slot or worker fits a waiting request.
    pub(crate) fn fits_waiting_request(&self, slot: Fitting<'_>) -> bool {
        self.requests.waiting.has_fitting(&self.profiles, slot)
    }

    /// Returns `true` if a slot or worker fits a request that backs off.
    pub(crate) fn fits_request_that_backs_off(&self, slot: Fitting<'_>) -> bool {
        let mut backing_off = self.requests.waiting.backing_off_profiles();
        backing_off.any(|required| slot.fits(&self.profiles[required]))
    }

    /// Asks the resource manager to stop an idle task manager, and forgets it if that is accepted.
    fn release(&mut self, outside: &mut impl Outside, task_manager: TaskManagerKey) {
        let record = &self.task_managers.records[task_manager];
        let (instance_id, idle_period) = (record.instance_id, record.idle_periods);
        let Some(idle_since) = record.idle_since else {
            return;
        };
        let cause = ReleaseCause::IdleTimeout {
            idle_since,
            idle_period,
        };
        let resource_id = record.resource_id.clone();
        let worker_request = record.worker_request.map(|named| self.worker_request_id(named.number));
        let release = ReleaseResource {
            resource_id,
            instance_id,
            worker_request,
            is_blocked: self.is_blocked(task_manager),
            cause,
        };
        let release = outside.release_resource(task_manager, &release);
        tracing::info!(%instance_id, ?release, "release of idle task manager requested");
        // If it is declined, the idle timeout that is armed already asks again.
        if release == Release::Accepted {
            self.counters.task_managers_released += 1;
            self.forget_idle_task_manager(task_manager);
        }
    }

    /// Restarts the idle timeout of a task manager whose task executor declined its release, or did
    /// not answer.
    pub(crate) fn release_declined(&mut self, task_manager: TaskManagerKey) {
        tracing::debug!(
            resource_id = %self.task_managers.records[task_manager].resource_id,
            "task executor declined its release"
        );
        self.releases.close(task_manager);
        self.restart_idle_timeout(task_manager);
    }

    /// Applies the decision of an open release check. A release follows with the flush.
    pub(crate) fn answer_release(&mut self, check: &ReleaseCheck, decision: ReleaseDecision) -> ReleaseAnswerOutcome {
        let Some(task_manager) = self.checked_task_manager(check) else {
            tracing::debug!(?check, "decision of a release check that is not open ignored");
            return ReleaseAnswerOutcome::Unknown;
        };
        match decision {
            ReleaseDecision::Later => return ReleaseAnswerOutcome::Open,
            ReleaseDecision::Keep => self.release_declined(task_manager),
            ReleaseDecision::Release => {
                self.releases.close(task_manager);
                self.note_release(task_manager, true);
            }
        }
        ReleaseAnswerOutcome::Stays
    }

    /// Returns the task manager that an open release check is about.
    fn checked_task_manager(&self, check: &ReleaseCheck) -> Option<TaskManagerKey> {
        let task_manager = self.task_managers.by_instance(&check.instance_id)?;
        let is_open = self.releases.check(task_manager)?.number == check.number;
        (is_open && self.leader_id == Some(check.leader_id)).then_some(task_manager)
    }
}
