//! Rounds of progress: answers and time come in.

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
    /// Applies answers and handles deadlines until nothing is ready, nothing is due by `until`, or
    /// the budget is used up.
    pub(crate) fn advance(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        if self.actions.is_none() {
            return Advance::default();
        }
        if !self.grant_alone(core, until) {
            return self.run_rounds(core, until);
        }
        let mut advance = Advance::default();
        // Another round would find only futures that woke and time that went by meanwhile. The delay
        // may be early now. The next poll without an event arms it again.
        if self.pending_answers.has_woken() || !self.will_wake(core) {
            advance = self.run_rounds(core, until);
        }
        advance.events += 1;
        advance
    }

    /// Applies the answer of the only woken future, if it only grants a slot and nothing is due by
    /// `until`. Returns `false` if it did not: rounds do what there is.
    ///
    /// It is a fast path: the rounds would do the same.
    #[inline]
    fn grant_alone(&mut self, core: &mut Core, until: Timestamp) -> bool {
        core.begin_round(self.executor.now());
        let is_alone = core.is_leading()
            && self.backlog.futures == 0
            && self.answers.is_empty()
            && self.pending_answers.take_woken() == 1
            && self.is_nothing_due(core, core.now.min(until));
        if !is_alone {
            return false;
        }
        let Some(answer) = self.pending_answers.poll_next() else {
            return false;
        };
        let Some(allocation) = core.grant_answer(answer.slot, answer.attempt, &answer.result) else {
            self.answers.push(answer);
            return false;
        };
        self.notify_slot_allocated(allocation, &core.slot_id(answer.slot));
        core.changes += 1;
        if core.needs_reconcile() {
            core.reconcile(self);
        }
        // The task is polling: it needs no wake-up for an RPC that it has just polled.
        self.has_new_rpc = false;
        true
    }

    /// Runs rounds until nothing is ready, nothing is due by `until`, or the budget is used up.
    #[inline(never)]
    pub(crate) fn run_rounds(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        let mut advance = Advance::default();
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
            self.apply_answers(core);
            while self.backlog.futures == 0 && deadlines_left > 0 && core.handle_earliest_due(self.backlog.taken_at) {
                deadlines_left -= 1;
                events += 1;
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
            if polled == 0 && events == 0 && !self.is_delay_over(core, until) {
                return advance;
            }
        }
    }
}
