//! Driving: answers and time in.

use std::task::{Context, Poll};

use crate::{ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp};

use crate::slot_manager::outside::driver::Driver;
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
struct Advance {
    /// Answers and deadlines.
    events: usize,
    /// It stopped because it had done enough.
    unfinished: bool,
    /// In the end, every future that woke was polled and nothing was ready or due.
    for_nothing: bool,
}

/// Driving.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Applies answers that are ready and deadlines that are due; ready with how many they were, at least one.
    ///
    /// The waker is kept: it is woken when an answer may be ready, when a deadline is due, and when an input brings
    /// more to do. Not started, or with nothing to do, it is pending; that costs O(1). Stops after a fixed number of
    /// events and then wakes itself, so that it shares a task with others.
    ///
    /// In each round, answers are applied in the order of their attempts, then deadlines by time, kind and order of
    /// arming; then what they caused is said.
    pub fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        self.driver.keep_waker(context.waker());
        match self.driver.advance(&mut self.core, Timestamp::MAX).events {
            0 => Poll::Pending,
            events => Poll::Ready(events),
        }
    }

    /// Waits until something was done, and says how many answers and deadlines it was.
    ///
    /// Cancel-safe: dropping the future between two polls loses nothing. In a biased `select!` it goes first, or a busy
    /// mailbox starves time.
    pub async fn progress(&mut self) -> usize {
        std::future::poll_fn(|context| self.poll_progress(context)).await
    }

    /// Applies what is ready, and what is due when it is called, until nothing is left; returns how many answers and
    /// deadlines it was.
    ///
    /// For whoever drives the manager without a task, and for tests. A waker kept by
    /// [`poll_progress`](Self::poll_progress) stays. Futures that wake themselves for ever do not keep it: it has
    /// stalled when each was polled once more for nothing.
    pub fn run_until_stalled(&mut self) -> usize {
        // What falls due while this runs is left to the next call, or it might never end.
        let until = self.driver.now().max(self.core.now);
        let mut events = 0;
        loop {
            let advance = self.driver.advance(&mut self.core, until);
            events += advance.events;
            if !advance.unfinished || advance.for_nothing {
                return events;
            }
        }
    }

    /// The earliest deadline, at which something falls due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        Some(self.core.earliest_deadline()).filter(|deadline| *deadline != Timestamp::MAX)
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> SlotManager<A, G, E> {
    /// How many answers of task executors are awaited.
    pub fn num_awaited_answers(&self) -> usize {
        self.driver.in_flight.len()
    }

    /// The deadline the delay is armed for; `MAX` if there is none.
    pub(crate) fn armed_for(&self) -> Timestamp {
        self.driver.armed_for
    }
}

impl<A, G, E> Driver<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Rounds of progress until nothing is ready, or due by `until`, or enough was done.
    fn advance(&mut self, core: &mut Core, until: Timestamp) -> Advance {
        let mut advance = Advance::default();
        if self.actions.is_none() {
            return advance;
        }
        let (mut polls_left, mut deadlines_left) = (EVENTS_PER_POLL, EVENTS_PER_POLL);
        loop {
            core.begin_round(self.executor.now());
            if self.backlog.futures == 0 {
                self.backlog = Backlog {
                    futures: self.in_flight.num_woken(),
                    events: 0,
                    taken_at: core.now.min(until),
                };
            }
            let limit = self.backlog.futures.min(polls_left);
            let polled = self.in_flight.poll_woken(limit, &mut self.answers);
            self.backlog.futures -= polled;
            polls_left -= polled;
            let mut events = self.answers.len();
            self.apply_answers(core);
            while self.backlog.futures == 0 && deadlines_left > 0 && core.handle_earliest_due(self.backlog.taken_at) {
                deadlines_left -= 1;
                events += 1;
            }
            self.say_all(core);
            if events > 0 {
                self.balance(core);
            }
            self.backlog.events += events;
            advance.events += events;
            let for_nothing = self.backlog.futures == 0 && self.backlog.events == 0 && self.backlog.taken_at >= until;
            advance.for_nothing = events == 0 && (advance.for_nothing || for_nothing);
            if polls_left == 0 || deadlines_left == 0 {
                // There may be more: it is looked at again soon.
                self.in_flight.signal().wake_task();
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
        self.in_flight.signal().wake_task();
        false
    }
}
