//! A clock that a test moves by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::lock;
use crate::{ScheduledExecutor, Timestamp};

/// A [`ScheduledExecutor`] whose clock stands still until a test moves it.
///
/// The clock starts at [`Timestamp::ZERO`]. Clones share one clock: give one clone to the manager
/// and keep another.
///
/// ```
/// use std::time::Duration;
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
/// use slot_manager::{
///     AllocationId, JobId, LeaderId, ResourceProfile, SlotManager, SlotManagerConfig, SlotRequest, Timestamp,
/// };
///
/// let time = ManualScheduledExecutor::new();
/// let config = SlotManagerConfig::default().with_request_timeout(Duration::from_secs(60));
/// let mut manager = SlotManager::<_, ScriptedGateway, _>::new(config, time.clone())?;
/// let actions = RecordingActions::new();
/// manager.start(LeaderId::from_u128(1), actions.clone())?;
///
/// let (job, allocation) = (JobId::from_u128(7), AllocationId::from_u128(1));
/// let request = SlotRequest::new(job, allocation, ResourceProfile::ANY, "job-master");
/// let outcome = manager.register_slot_request(request)?;
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
/// assert_eq!(manager.next_deadline(), Some(Timestamp::from_secs(60)));
/// assert_eq!(actions.take().len(), 1); // a worker is requested
///
/// time.advance(Duration::from_secs(60));
/// manager.run_until_stalled();
/// assert_eq!(actions.take().len(), 1); // the failure of the request is notified
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualScheduledExecutor {
    clock: Arc<Mutex<Clock>>,
}

#[derive(Debug, Default)]
struct Clock {
    now: Timestamp,
    delays_created: u64,
    /// The delays that are neither ready nor dropped, each with the waker of its last poll.
    armed: BTreeMap<DelayKey, Option<Waker>>,
}

/// The deadline and the number of a delay. It orders delays by deadline, then by creation.
type DelayKey = (Timestamp, u64);

impl ManualScheduledExecutor {
    /// Creates a clock that shows [`Timestamp::ZERO`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward by `duration`, at most to [`Timestamp::MAX`].
    ///
    /// See [`advance_to`](Self::advance_to) for the order in which tasks wake.
    pub fn advance(&self, duration: Duration) {
        self.move_clock(|now| now + duration);
    }

    /// Moves the clock forward to `time`. An earlier time changes nothing.
    ///
    /// The clock jumps first. Then the tasks whose delays fell due are woken, in the order of the
    /// deadlines. Delays with one deadline are woken in the order of creation.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::ManualScheduledExecutor;
    /// use slot_manager::{ScheduledExecutor, Timestamp};
    ///
    /// let time = ManualScheduledExecutor::new();
    /// time.advance_to(Timestamp::from_secs(5));
    /// time.advance_to(Timestamp::from_secs(3));
    /// assert_eq!(time.now(), Timestamp::from_secs(5));
    /// ```
    pub fn advance_to(&self, time: Timestamp) {
        self.move_clock(|now| now.max(time));
    }

    /// Sets the clock to `time`, also backward. Use it to test code that must bear such a clock.
    ///
    /// A delay that has fallen due stays ready.
    pub fn set_now(&self, time: Timestamp) {
        self.move_clock(|_| time);
    }

    /// Returns the deadlines of all delays that are neither ready nor dropped, in ascending order.
    ///
    /// Cost: O(armed delays).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::testing::ManualScheduledExecutor;
    /// use slot_manager::{ScheduledExecutor, Timestamp};
    ///
    /// let mut time = ManualScheduledExecutor::new();
    /// let delay = time.delay_until(Timestamp::from_secs(10));
    /// assert_eq!(time.armed(), [Timestamp::from_secs(10)]);
    /// drop(delay);
    /// assert_eq!(time.armed(), []);
    /// ```
    pub fn armed(&self) -> Vec<Timestamp> {
        let clock = lock(&self.clock);
        clock.armed.keys().map(|(deadline, _)| *deadline).collect()
    }

    /// Returns the earliest deadline of all delays that are neither ready nor dropped.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let clock = lock(&self.clock);
        clock.armed.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Moves the clock, then wakes the due tasks without holding the lock.
    fn move_clock(&self, to: impl FnOnce(Timestamp) -> Timestamp) {
        let due = {
            let mut clock = lock(&self.clock);
            clock.now = to(clock.now);
            clock.take_due()
        };
        due.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Clock {
    /// Takes the due delays, ordered by deadline and creation.
    fn take_due(&mut self) -> Vec<Option<Waker>> {
        let mut due = Vec::new();
        while let Some(earliest) = self.armed.first_entry() {
            if earliest.key().0 > self.now {
                break;
            }
            due.push(earliest.remove());
        }
        due
    }
}

impl ScheduledExecutor for ManualScheduledExecutor {
    type Delay = ManualDelay;

    fn now(&self) -> Timestamp {
        lock(&self.clock).now
    }

    fn delay_until(&mut self, deadline: Timestamp) -> ManualDelay {
        let mut clock = lock(&self.clock);
        let key = (deadline, clock.delays_created);
        clock.delays_created += 1;
        if deadline > clock.now {
            clock.armed.insert(key, None);
        }
        ManualDelay {
            clock: Arc::clone(&self.clock),
            key,
        }
    }
}

/// A delay of a [`ManualScheduledExecutor`]. Dropping it disarms it.
///
/// It is ready when the clock has reached its deadline, and stays ready.
#[derive(Debug)]
#[must_use = "a delay that is dropped is disarmed"]
pub struct ManualDelay {
    clock: Arc<Mutex<Clock>>,
    key: DelayKey,
}

impl ManualDelay {
    /// Returns the time at which the delay becomes ready.
    pub fn deadline(&self) -> Timestamp {
        self.key.0
    }
}

impl Future for ManualDelay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning and dropping a waker runs foreign code, so both happen without the lock.
        let waker = cx.waker().clone();
        let previous = match lock(&self.clock).armed.get_mut(&self.key) {
            Some(waiting) => waiting.replace(waker),
            None => return Poll::Ready(()),
        };
        drop(previous);
        Poll::Pending
    }
}

impl Drop for ManualDelay {
    fn drop(&mut self) {
        let waker = lock(&self.clock).armed.remove(&self.key);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;
    use crate::testing::samples::WakeCounter;

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn clones_share_one_clock_that_stands_still() {
        let executor = ManualScheduledExecutor::new();
        let other = executor.clone();
        assert_eq!(other.now(), Timestamp::ZERO);

        executor.advance(Duration::from_secs(2));
        assert_eq!(other.now(), seconds(2));
    }

    #[test]
    fn advancing_never_goes_back_and_saturates() {
        let executor = ManualScheduledExecutor::new();
        executor.advance_to(seconds(5));
        executor.advance_to(seconds(3));
        assert_eq!(executor.now(), seconds(5));

        executor.advance(Duration::MAX);
        assert_eq!(executor.now(), Timestamp::MAX);
    }

    #[test]
    fn delay_is_ready_exactly_at_its_deadline() {
        let mut executor = ManualScheduledExecutor::new();
        let mut delay = executor.delay_until(seconds(10));
        assert_eq!(delay.deadline(), seconds(10));

        executor.advance_to(Timestamp::from_nanos(seconds(10).as_nanos() - 1));
        assert_eq!((&mut delay).now_or_never(), None);
        executor.advance(Duration::from_nanos(1));
        assert_eq!((&mut delay).now_or_never(), Some(()));
        assert_eq!((&mut delay).now_or_never(), Some(()), "it stays ready");
    }

    #[test]
    fn delay_until_a_past_time_is_ready_at_once_and_never_armed() {
        let mut executor = ManualScheduledExecutor::new();
        executor.advance_to(seconds(10));
        let now = executor.delay_until(seconds(10));
        let past = executor.delay_until(seconds(1));
        assert_eq!(executor.armed(), []);
        assert_eq!(now.now_or_never(), Some(()));
        assert_eq!(past.now_or_never(), Some(()));
    }

    #[test]
    fn armed_delays_are_neither_ready_nor_dropped() {
        let mut executor = ManualScheduledExecutor::new();
        let _late = executor.delay_until(seconds(3));
        let _early = executor.delay_until(seconds(1));
        let dropped = executor.delay_until(seconds(2));
        let _same = executor.delay_until(seconds(3));
        assert_eq!(executor.armed(), [seconds(1), seconds(2), seconds(3), seconds(3)]);

        drop(dropped);
        executor.advance_to(seconds(1));
        assert_eq!(executor.armed(), [seconds(3), seconds(3)]);
        assert_eq!(executor.next_deadline(), Some(seconds(3)));
    }

    #[test]
    fn due_delays_are_woken_by_deadline_then_by_creation() {
        struct Note(u32, Arc<Mutex<Vec<u32>>>);
        impl Wake for Note {
            fn wake(self: Arc<Self>) {
                lock(&self.1).push(self.0);
            }
        }

        let mut executor = ManualScheduledExecutor::new();
        let woken = Arc::default();
        let _delays: Vec<_> = [(0, 2), (1, 1), (2, 2), (3, 1), (4, 9)]
            .into_iter()
            .map(|(name, deadline)| {
                let mut delay = executor.delay_until(seconds(deadline));
                let waker = Arc::new(Note(name, Arc::clone(&woken))).into();
                assert!(delay.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
                delay
            })
            .collect();

        executor.advance_to(seconds(5));
        assert_eq!(*lock(&woken), [1, 3, 0, 2]);
    }

    #[test]
    fn task_of_the_last_poll_is_woken_once() {
        let mut executor = ManualScheduledExecutor::new();
        let mut delay = executor.delay_until(seconds(1));
        let (first, last) = (WakeCounter::new(), WakeCounter::new());
        assert!(delay.poll_unpin(&mut first.context()).is_pending());
        assert!(delay.poll_unpin(&mut last.context()).is_pending());

        executor.advance_to(seconds(1));
        executor.advance_to(seconds(2));
        assert_eq!((first.count(), last.count()), (0, 1));
    }

    #[test]
    fn dropped_delay_wakes_no_task() {
        let mut executor = ManualScheduledExecutor::new();
        let mut delay = executor.delay_until(seconds(1));
        let task = WakeCounter::new();
        assert!(delay.poll_unpin(&mut task.context()).is_pending());
        drop(delay);

        executor.advance_to(seconds(1));
        assert_eq!(task.count(), 0);
    }

    #[test]
    fn woken_task_may_use_the_clock() {
        struct Rearm(Mutex<ManualScheduledExecutor>, Mutex<Option<ManualDelay>>);
        impl Wake for Rearm {
            fn wake(self: Arc<Self>) {
                let delay = lock(&self.0).delay_until(seconds(7));
                *lock(&self.1) = Some(delay);
            }
        }

        let mut executor = ManualScheduledExecutor::new();
        let task = Arc::new(Rearm(Mutex::new(executor.clone()), Mutex::default()));
        let waker = Arc::clone(&task).into();
        let mut delay = executor.delay_until(seconds(1));
        assert!(delay.poll_unpin(&mut Context::from_waker(&waker)).is_pending());

        executor.advance_to(seconds(1));
        assert_eq!(executor.armed(), [seconds(7)]);
    }

    #[test]
    fn clock_can_be_set_back_and_due_delays_stay_ready() {
        let mut executor = ManualScheduledExecutor::new();
        let was_due = executor.delay_until(seconds(5));
        let not_due = executor.delay_until(seconds(9));
        executor.set_now(seconds(5));
        executor.set_now(seconds(2));

        assert_eq!(executor.now(), seconds(2));
        assert_eq!(executor.armed(), [seconds(9)]);
        assert_eq!(was_due.now_or_never(), Some(()));
        assert_eq!(not_due.now_or_never(), None);
    }

    #[test]
    fn panic_of_another_thread_does_not_break_the_clock() {
        let executor = ManualScheduledExecutor::new();
        let other = executor.clone();
        let result = std::thread::spawn(move || {
            let _guard = other.clock.lock();
            panic!("with the lock held");
        })
        .join();
        assert!(result.is_err());

        executor.advance(Duration::from_secs(1));
        assert_eq!(executor.now(), seconds(1));
    }
}
