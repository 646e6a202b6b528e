//! Driving: answers and time in.

use std::task::{Context, Poll};

use crate::{ResourceManagerActions, ScheduledExecutor, SlotManager, TaskExecutorGateway, Timestamp};

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
    /// arming; then what they caused is reported.
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
            if !advance.is_unfinished || advance.is_stalled {
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
        self.driver.pending_answers.len()
    }

    /// The deadline the delay is armed for; `MAX` if there is none.
    pub(crate) fn armed_for(&self) -> Timestamp {
        self.driver.armed_for
    }
}
