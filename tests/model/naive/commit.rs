//! The commit: the end of a transaction.

use slot_manager::InstanceId;
use slot_manager::message::AllocationFailureCause;
use slot_manager::testing::Action;

use super::{Dropped, NaiveSlotManager, Stage, State, TaskManager};

impl NaiveSlotManager {
    /// Ends a transaction.
    ///
    /// 1. Dropped grants are lost, unless their job holds the allocation on another slot.
    /// 2. Held slots are charged, and surplus units withdrawn.
    /// 3. Slots whose allocation is granted elsewhere are freed.
    /// 4. Detached requests take a slot that was offered before, oldest first.
    /// 5. Each slot that became free goes to the best candidate that it fits.
    ///    A cut that became free ends, and its worker serves the candidates that come first.
    /// 6. Dynamic workers that reported, or may be cut again, serve the candidates that come first.
    /// 7. Requests that were held back take an offered slot, oldest first.
    /// 8. Missing units are made.
    /// 9. Failing workers get probes.
    /// 10. A worker that is not set aside any more serves the candidates that come first. A worker is
    ///     set aside for a request that has waited long.
    /// 11. Promises end of which a newcomer brought a part, or that exceed a limit with it, and
    ///     promised slots are bound.
    /// 12. Idle periods begin and end.
    pub(super) fn commit(&mut self) {
        self.forget_ended_jobs();
        self.lose_dropped_grants();
        self.settle_accounts();
        // The last request of a job may have been withdrawn.
        self.forget_ended_jobs();
        for slot in std::mem::take(&mut self.transaction.secondaries) {
            if let Some(State::Allocated {
                allocation,
                secondary: Some(_),
            }) = self.find_slot(&slot).map(|it| it.state.clone())
            {
                self.ask_to_free(&slot, allocation, self.attempts);
            }
        }
        let mut detached = std::mem::take(&mut self.transaction.detached);
        detached.sort_by_key(|id| self.find_request(*id).map(|it| it.order));
        for id in detached {
            if self.find_request(id).is_some_and(|it| it.stage == Stage::Detached) {
                self.place(id);
            }
        }
        for slot in std::mem::take(&mut self.transaction.freed) {
            match self.find_slot(&slot).map(|it| it.state.clone()) {
                Some(State::Detached) if self.is_cut(&slot) => self.end_cut(&slot),
                Some(State::Detached) => self.offer(&slot),
                Some(State::BackingOff(_)) => {
                    if let Some(request) = self.candidate_despite_refusals(&slot) {
                        self.assign(&slot, request);
                    }
                }
                _ => {}
            }
        }
        self.offer_noted_workers();
        self.place_held_back();
        self.make_missing_units();
        self.begin_probes();
        self.commit_set_aside();
        self.transaction.unfulfilling.clear();
        if std::mem::take(&mut self.transaction.has_newcomer) {
            self.end_rest_of_promise();
            self.end_promises_beyond_limits();
        }
        self.transaction.fulfilled.clear();
        self.bind_promises();
        let unused = std::mem::take(&mut self.transaction.unused);
        self.update_idle_periods(&unused);
    }

    fn lose_dropped_grants(&mut self) {
        let mut all = std::mem::take(&mut self.transaction.dropped);
        all.sort_by(|a, b| a.slot.cmp(&b.slot));
        for Dropped { slot, allocation, loss } in all {
            let grant = self.find_or_promote_grant(allocation.id);
            if grant.is_some_and(|(_, job)| job == allocation.job) {
                continue;
            }
            let action = Action::NotifyAllocationFailure {
                job_id: allocation.job,
                allocation_id: allocation.id,
                cause: AllocationFailureCause::GrantLost {
                    slot_id: slot.clone(),
                    loss,
                },
            };
            self.outbox.notifications.push((Some(slot), action));
        }
    }

    /// Ends the idle periods of used task managers, and begins those of `unused` ones.
    fn update_idle_periods(&mut self, unused: &[InstanceId]) {
        for task_manager in &mut self.task_managers {
            if task_manager.used() > 0 {
                task_manager.idle_since = None;
                task_manager.kept = None;
                task_manager.release_check = None;
            }
        }
        for id in unused {
            let became_idle = |it: &TaskManager| it.used() == 0 && it.idle_since.is_none();
            if self.task_manager(*id).is_some_and(became_idle) {
                let idle_timer = self.timer(self.config.task_manager_timeout);
                let now = self.now;
                let task_manager = self.task_manager_mut(*id);
                task_manager.idle_since = Some(now);
                task_manager.idle_periods += 1;
                task_manager.idle_timer = idle_timer;
            }
        }
    }
}
