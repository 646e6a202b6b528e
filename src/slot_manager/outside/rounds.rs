//! Rounds of progress: answers and time come in.

use std::task::Context;

use crate::{ResourceManagerActions, ScheduledExecutor, TaskExecutorGateway, Timestamp};

use super::driver::Driver;
use crate::slot_manager::rules::Outside;
use crate::slot_manager::state::core::Core;

/// Futures polled and deadlines handled in one `poll_progress`, before the manager lets other tasks
/// run.
const EVENTS_PER_POLL: usize = 256;

/// The futures that had woken when the backlog was last taken.
///
/// All of them are polled before the next deadline is handled: an answer that arrived in time
/// counts, also behind many others. Futures that wake later wait for the next backlog, or they
/// could hold up time for ever.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Futures left to poll.
    futures: usize,
    /// Answers and deadlines handled since the backlog was taken.
    events: usize,
    /// No later deadline is handled before the next backlog is taken.
    taken_at: Timestamp,
}

/// The result of a call of [`Driver::advance`].
#[derive(Default)]
pub(crate) struct Advance {
    /// Answers and deadlines handled.
    pub(crate) events: usize,
    /// It stopped at its budget.
    pub(crate) is_unfinished: bool,
    /// The last full round found nothing to do.
    pub(crate) is_stalled: bool,
}

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Runs rounds until nothing is ready, nothing is due by `until`, or the budget is used up.
    pub(crate) fn advance(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        let mut advance = Advance::default();
        if self.actions.is_none() {
            return advance;
        }
        let (mut polls_left, mut deadlines_left) = (EVENTS_PER_POLL, EVENTS_PER_POLL);
        loop {
            core.begin_round(self.executor.now());
            if !core.is_leading() {
                // The leadership has ended. Its renewal wakes the task.
                self.disarm();
                return advance;
            }
            if self.backlog.futures == 0 {
                self.backlog = Backlog {
                    futures: self.pending_answers.take_woken(),
                    events: 0,
                    taken_at: core.now.min(until),
                };
            }
            let limit = self.backlog.futures.min(polls_left);
            let polled = self.pending_answers.poll_woken(limit, &mut self.answers);
            self.backlog.futures -= polled;
            polls_left -= polled;
            let mut events = self.answers.len();
            // Without deadlines that are due, the round has no other notification.
            let is_alone = events == 1 && core.earliest_deadline() > self.backlog.taken_at;
            let only_grants = is_alone && self.apply_acknowledgement(core);
            if !only_grants {
                self.apply_answers(core);
                while self.backlog.futures == 0 && deadlines_left > 0 && core.handle_earliest_due(self.backlog.taken_at)
                {
                    deadlines_left -= 1;
                    events += 1;
                }
            }
            match events {
                0 => self.flush(core),
                _ => {
                    core.changes += 1;
                    self.flush_and_reconcile(core);
                }
            }
            // The task is polling: it needs no wake-up for an RPC that it has just polled.
            self.has_new_rpc = false;
            self.backlog.events += events;
            advance.events += events;
            let found_nothing = self.backlog.futures == 0 && self.backlog.events == 0 && self.backlog.taken_at >= until;
            advance.is_stalled = events == 0 && (advance.is_stalled || found_nothing);
            if polls_left == 0 || deadlines_left == 0 {
                // There may be more: the task comes back soon.
                self.pending_answers.signal().wake_task();
                advance.is_unfinished = true;
                return advance;
            }
            // After a lone grant, another round finds only futures that woke and time that went by meanwhile.
            let is_last = match only_grants {
                true => self.backlog.futures == 0 && !self.pending_answers.has_woken(),
                false => polled == 0 && events == 0,
            };
            if is_last && !self.is_delay_over(core, until) {
                return advance;
            }
        }
    }

    /// Arms the delay for the earliest deadline and polls it. Returns `true` if the deadline has
    /// come.
    fn is_delay_over(&mut self, core: &Core, until: Timestamp) -> bool {
        let deadline = core.earliest_deadline();
        if deadline == Timestamp::MAX {
            self.disarm();
            return false;
        }
        if self.armed_for != deadline {
            // The old delay goes first: there is never more than one.
            self.disarm();
            let delay = self.executor.delay_until(deadline);
            self.delay.set(Some(delay));
            self.armed_for = deadline;
        }
        let is_ready = match self.delay.as_mut().as_pin_mut() {
            Some(delay) => delay.poll(&mut Context::from_waker(&self.delay_waker)).is_ready(),
            None => false,
        };
        if !is_ready {
            return false;
        }
        self.disarm();
        if deadline <= until && self.executor.now().max(core.now) >= deadline {
            return true;
        }
        // The delay was early, or the deadline is for a later call. The next poll, which is soon,
        // arms it again.
        self.pending_answers.signal().wake_task();
        false
    }
}
