//! The delay until the next deadline, and waking the task that drives the manager.

use std::task::Context;

use crate::{ResourceManagerActions, ScheduledExecutor, TaskExecutorGateway, Timestamp};

use super::driver::Driver;
use crate::slot_manager::state::core::Core;

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Wakes the driving task if an input left a pending RPC, or a deadline earlier than the armed
    /// one. A task that was woken since its last poll is not woken again.
    #[inline(always)]
    pub(crate) fn wake_after_input(&mut self, core: &mut Core) {
        let may_wake = self.has_new_rpc || core.earliest_new_deadline < self.armed_for;
        if may_wake && self.pending_answers.signal().has_task() {
            self.wake_if_needed(core);
        }
    }

    #[cold]
    fn wake_if_needed(&mut self, core: &mut Core) {
        if std::mem::take(&mut self.has_new_rpc) || core.earliest_deadline() < self.armed_for {
            self.pending_answers.signal().wake_task();
        } else {
            core.earliest_new_deadline = Timestamp::MAX;
        }
    }

    /// Returns `true` if the delay is armed, and no deadline is before it.
    #[inline]
    fn is_armed(&self, core: &Core) -> bool {
        self.armed_for != Timestamp::MAX && self.armed_for <= core.earliest_new_deadline
    }

    /// Returns `true` if no deadline is due by `time`.
    #[inline]
    pub(crate) fn is_nothing_due(&self, core: &Core, time: Timestamp) -> bool {
        (self.is_armed(core) && self.armed_for > time) || core.earliest_deadline() > time
    }

    /// Returns `true` if the driving task will be woken for the next deadline, perhaps earlier.
    #[inline]
    pub(crate) fn will_wake(&mut self, core: &Core) -> bool {
        self.is_armed(core) && !self.poll_delay()
    }

    /// Arms the delay for the earliest deadline and polls it. Returns `true` if the deadline has
    /// come.
    pub(crate) fn is_delay_over(&mut self, core: &mut Core, until: Timestamp) -> bool {
        let deadline = core.earliest_deadline();
        debug_assert!(
            !self.is_armed(core) || self.armed_for <= deadline,
            "a deadline was not noted"
        );
        self.arm(core, deadline);
        if !self.poll_delay() {
            return false;
        }
        if deadline <= until && self.executor.now().max(core.now) >= deadline {
            return true;
        }
        // The delay was early, or the deadline is for a later call. The next poll, which is soon,
        // arms it again.
        self.pending_answers.signal().wake_task();
        false
    }

    fn arm(&mut self, core: &mut Core, deadline: Timestamp) {
        core.earliest_new_deadline = Timestamp::MAX;
        if self.armed_for == deadline {
            return;
        }
        // The old delay goes first: there is never more than one.
        self.disarm();
        if deadline != Timestamp::MAX {
            let delay = self.executor.delay_until(deadline);
            self.delay.set(Some(delay));
            self.armed_for = deadline;
        }
    }

    /// Returns `true` if the armed delay is over, and disarms it.
    #[inline]
    fn poll_delay(&mut self) -> bool {
        let mut context = Context::from_waker(&self.delay_waker);
        let delay = self.delay.as_mut().as_pin_mut();
        let is_over = delay.is_some_and(|delay| delay.poll(&mut context).is_ready());
        if is_over {
            self.disarm();
        }
        is_over
    }

    pub(crate) fn disarm(&mut self) {
        self.delay.set(None);
        self.armed_for = Timestamp::MAX;
    }
}
