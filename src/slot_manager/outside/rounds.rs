//! Rounds of progress: answers and time in.

use std::task::Context;

use crate::{ResourceManagerActions, ScheduledExecutor, TaskExecutorGateway, Timestamp};

use super::driver::Driver;
use crate::slot_manager::state::core::Core;

/// Futures that one `poll_progress` polls, and deadlines it handles, before it lets others run.
const EVENTS_PER_POLL: usize = 256;

/// The futures that had woken when stock was last taken. All are polled before the next deadline is handled: an answer
/// that was there in time counts, however many there are. Those that wake meanwhile are not among them, or they could
/// hold up time for ever.
#[derive(Default)]
pub(crate) struct Backlog {
    /// How many are left to poll.
    futures: usize,
    /// Answers and deadlines since stock was taken.
    events: usize,
    /// When stock was taken: no later deadline is handled before stock is taken anew.
    taken_at: Timestamp,
}

/// What a call of `advance` did.
#[derive(Default)]
pub(crate) struct Advance {
    /// Answers and deadlines.
    pub(crate) events: usize,
    /// It stopped because it had done enough.
    pub(crate) unfinished: bool,
    /// In the end, every future that woke was polled and nothing was ready or due.
    pub(crate) for_nothing: bool,
}

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Rounds of progress until nothing is ready, or due by `until`, or enough was done.
    pub(crate) fn advance(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        let mut advance = Advance::default();
        if self.actions.is_none() {
            return advance;
        }
        let (mut polls_left, mut deadlines_left) = (EVENTS_PER_POLL, EVENTS_PER_POLL);
        loop {
            core.begin_round(self.executor.now());
            if self.backlog.futures == 0 {
                self.backlog = Backlog {
                    futures: self.pending_answers.num_woken(),
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
            self.flush(core);
            if events > 0 {
                self.reconcile(core);
            }
            self.backlog.events += events;
            advance.events += events;
            let for_nothing = self.backlog.futures == 0 && self.backlog.events == 0 && self.backlog.taken_at >= until;
            advance.for_nothing = events == 0 && (advance.for_nothing || for_nothing);
            if polls_left == 0 || deadlines_left == 0 {
                // There may be more: it is looked at again soon.
                self.pending_answers.signal().wake_task();
                advance.unfinished = true;
                return advance;
            }
            if polled == 0 && events == 0 && !self.delay_is_over(core, until) {
                return advance;
            }
        }
    }

    /// Arms the delay for the earliest deadline, if it is not, and polls it. Returns whether the deadline has come.
    fn delay_is_over(&mut self, core: &Core, until: Timestamp) -> bool {
        let deadline = core.earliest_deadline();
        if deadline == Timestamp::MAX {
            self.disarm();
            return false;
        }
        if self.armed_for != deadline {
            // The old one goes first: there is never more than one.
            self.disarm();
            let delay = self.executor.delay_until(deadline);
            self.delay.set(Some(delay));
            self.armed_for = deadline;
        }
        let over = match self.delay.as_mut().as_pin_mut() {
            Some(delay) => delay.poll(&mut Context::from_waker(&self.delay_waker)).is_ready(),
            None => false,
        };
        if !over {
            return false;
        }
        self.disarm();
        if deadline <= until && self.executor.now().max(core.now) >= deadline {
            return true;
        }
        // Ready too early, or not to be handled now: it is armed again in the next poll, which is soon.
        self.pending_answers.signal().wake_task();
        false
    }
}
