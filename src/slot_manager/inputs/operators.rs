//! Inputs from operators, and the answers of task executors to release checks.

use crate::{
    BlockOutcome, NotStarted, ReleaseAnswerOutcome, ReleaseCheck, ReleaseDecision, ResourceId, ResourceManagerActions,
    ScheduledExecutor, SlotManager, TaskExecutorGateway, UnblockOutcome,
};

/// Inputs: what operators decide, and what task executors say of their release.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A worker is blocked: its free slots are not handed out. O(its slots).
    ///
    /// What runs on it stays, and so do attempts in flight. It may register, and keeps promises by that; with no used slot
    /// it is idle and released, whatever is to be kept in reserve. The id is remembered until [`unblock`](Self::unblock) or
    /// [`suspend`](Self::suspend), whether a worker with it is registered or not (FLINK-28145).
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn block(&mut self, resource_id: &ResourceId) -> Result<BlockOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.block(resource_id);
        if outcome == BlockOutcome::Blocked {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// A worker is not blocked any more: its free slots go to waiting requests at once, or can be handed out again. O(its
    /// slots) + matching for each.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unblock(&mut self, resource_id: &ResourceId) -> Result<UnblockOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.unblock(resource_id);
        if outcome == UnblockOutcome::Unblocked {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// Whether requests fail at once that nothing could serve, from now on, also in later leaderships. O(distinct
    /// profiles of waiting requests x distinct profiles of slots + requests that may fail) when it is turned on, else
    /// O(1).
    ///
    /// A request is unfulfillable when no registered slot fits it, used or not, no promised slot, and no worker that
    /// could be started: none of the [description](SlotManagerConfig::worker_description), or one of them alone would be
    /// beyond a limit; without a description, when the resource manager declined to start one. It fails with
    /// [`RequestFailure::Unfulfillable`](crate::RequestFailure::Unfulfillable): as the error of its registration, later
    /// by a notification, when this is turned on, when a slot or a promise is lost, when an ask is declined again, or when
    /// the [grace period](SlotManagerConfig::unfulfillable_grace_period) is over, in which no request does (FLINK-13555).
    pub fn set_fail_unfulfillable_requests(&mut self, fail: bool) {
        let changes = self.core.set_fail_unfulfillable(fail);
        if self.begin_input().is_ok() && changes {
            self.finish_input();
        }
    }

    /// Whether they do, as it was configured or set last; in the grace period none fails all the same.
    pub fn fails_unfulfillable_requests(&self) -> bool {
        self.core.worker_policy.fails_unfulfillable()
    }

    /// A task executor answers a check that it [did not answer at once](crate::ReleaseDecision::Later). O(its slots) if
    /// it is released.
    ///
    /// It is released only if the check is open: within its timeout, and while no slot was used since. And only if it
    /// is not [needed](SlotManagerConfig::redundant_task_managers) by now.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn answer_release(
        &mut self,
        check: &ReleaseCheck,
        answer: ReleaseDecision,
    ) -> Result<ReleaseAnswerOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.answer_release(check, answer);
        if outcome == ReleaseAnswerOutcome::Stays {
            self.finish_input();
            if self.core.task_managers.by_instance(&check.instance_id).is_none() {
                return Ok(ReleaseAnswerOutcome::Released);
            }
        }
        Ok(outcome)
    }
}
