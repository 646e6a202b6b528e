//! Awaited answers: the futures of the gateways.
//!
//! A future is polled when it wakes, and dropped as soon as its attempt ends. `FuturesUnordered`
//! cannot drop one future by a key, and it returns answers in the order of waking. This pool
//! returns the answers of one round in the order of their attempts.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::message::SlotResult;

use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::state::slots::{RpcKey, SlotKey};

/// The number of places that the pool keeps. Up to this number of futures in flight, nothing is
/// allocated.
const SPARE_PLACES: usize = 1024;

/// The maximum number of free places beyond [`SPARE_PLACES`] that one poll drops.
const TRIMMED_PER_POLL: usize = 64;

/// The target of all wakers of a manager: the list of places to poll, and the driving task.
///
/// One lock guards both, so that waking and polling lock once each.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    shared: Mutex<Shared>,
    /// Set while places are listed: most polls find none, and need no lock to see that.
    has_woken: AtomicBool,
    /// Set while a task waits to be woken. Most inputs wake none, and need no lock to see that.
    has_task: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    woken: VecDeque<RpcKey>,
    /// The number of times that the list was taken.
    takes: u64,
    /// The waker of the driving task, until it is woken.
    task: Option<Waker>,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each change is one call that leaves the list consistent, so poisoning does no harm.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the waker of the driving task, and moves all woken places to `into`.
    ///
    /// Wakers are neither cloned nor dropped under the lock: that may run code that wakes.
    fn register(&self, waker: &Waker, into: &mut VecDeque<RpcKey>) {
        if self.has_task() {
            let mut shared = self.lock();
            if shared.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
                return self.take_from(&mut shared, into);
            }
        }
        let task = waker.clone();
        let mut shared = self.lock();
        let former = shared.task.replace(task);
        self.has_task.store(true, Ordering::Release);
        self.take_from(&mut shared, into);
        drop(shared);
        drop(former);
    }

    /// Returns `true` while the driving task waits to be woken.
    #[inline]
    pub(crate) fn has_task(&self) -> bool {
        // Only the driving task sets it, so a task that waits is not missed.
        self.has_task.load(Ordering::Acquire)
    }

    pub(crate) fn wake_task(&self) {
        if self.has_task() {
            let task = self.take_task(&mut self.lock());
            task.into_iter().for_each(Waker::wake);
        }
    }

    fn take_task(&self, shared: &mut Shared) -> Option<Waker> {
        self.has_task.store(false, Ordering::Release);
        shared.task.take()
    }

    /// Lists a woken place, unless it is listed already, and wakes the driving task.
    fn wake_place(&self, place: &RpcWaker) {
        let mut shared = self.lock();
        let list = shared.takes + 1;
        // The lock orders the accesses of the number.
        if place.listed.load(Ordering::Relaxed) == list {
            return;
        }
        place.listed.store(list, Ordering::Relaxed);
        shared.woken.push_back(place.rpc);
        self.has_woken.store(true, Ordering::Release);
        let task = self.take_task(&mut shared);
        drop(shared);
        task.into_iter().for_each(Waker::wake);
    }

    /// Moves all woken places to the end of a list, in the order of waking.
    ///
    /// A place that wakes meanwhile wakes the driving task, too, and is found by its next poll.
    #[inline]
    fn take(&self, into: &mut VecDeque<RpcKey>) {
        if self.has_woken() {
            self.take_from(&mut self.lock(), into);
        }
    }

    #[inline]
    fn has_woken(&self) -> bool {
        self.has_woken.load(Ordering::Acquire)
    }

    fn take_from(&self, shared: &mut Shared, into: &mut VecDeque<RpcKey>) {
        if !shared.woken.is_empty() {
            shared.takes += 1;
            self.has_woken.store(false, Ordering::Relaxed);
            match into.is_empty() {
                true => std::mem::swap(&mut shared.woken, into),
                false => into.append(&mut shared.woken),
            }
        }
    }
}

/// The waker of the delay. It wakes the task that drives the manager at that time.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_task();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_task();
    }
}

/// The waker of one place. Until the list of woken places is taken, only the first wake counts.
#[derive(Debug)]
struct RpcWaker {
    rpc: RpcKey,
    /// The number of the list that has the place, counted from one; zero if none had it yet.
    listed: AtomicU64,
    signal: Arc<Signal>,
}

impl Wake for RpcWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.wake_place(self);
    }
}

/// A place for one future after another. The waker of an earlier future only causes a
/// needless poll.
struct PendingRpc<F> {
    future: Option<F>,
    waker: Waker,
    slot: SlotKey,
    attempt: u64,
}

/// An answer and its attempt.
#[derive(Debug)]
pub(crate) struct RpcAnswer<T = SlotResult> {
    pub(crate) attempt: u64,
    pub(crate) slot: SlotKey,
    pub(crate) result: T,
}

/// The pool of awaited answers.
pub(crate) struct PendingAnswers<F> {
    /// A place with a future is never dropped, so its key stays valid. Keys from wakers and from
    /// the list of free places may be stale.
    places: Vec<PendingRpc<F>>,
    /// Places without a future. Some may have been dropped from the pool already.
    free: Vec<RpcKey>,
    len: usize,
    signal: Arc<Signal>,
    /// The woken places that are left to poll.
    woken: VecDeque<RpcKey>,
}

impl<F: Future + Unpin> PendingAnswers<F> {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            len: 0,
            signal: Arc::default(),
            woken: VecDeque::new(),
        }
    }

    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Keeps the waker of the task that drives the manager, and takes the futures that woke.
    pub(crate) fn keep_waker(&mut self, waker: &Waker) {
        self.signal.register(waker, &mut self.woken);
    }

    /// Takes the futures that woke. Returns the number of futures left to poll.
    #[inline]
    pub(crate) fn take_woken(&mut self) -> usize {
        self.signal.take(&mut self.woken);
        self.woken.len()
    }

    /// Returns `true` if futures woke since they were last taken.
    #[inline]
    pub(crate) fn has_woken(&self) -> bool {
        self.signal.has_woken()
    }

    /// Polls a future once. Returns its answer, or keeps the future and returns the key of its
    /// place.
    #[inline]
    pub(crate) fn start(&mut self, slot: SlotKey, attempt: u64, future: F) -> Result<F::Output, RpcKey> {
        let key = self.take_place(slot);
        let place = &mut self.places[key.index()];
        place.slot = slot;
        place.attempt = attempt;
        place.future = Some(future);
        // A former future may have left the place in the list of woken places. Then it is polled
        // once more than needed.
        match place.poll() {
            Some(answer) => {
                self.give_back(key);
                Ok(answer)
            }
            None => {
                self.len += 1;
                Err(key)
            }
        }
    }

    /// Drops the future of an attempt, unless it has been answered already.
    pub(crate) fn drop_future(&mut self, key: RpcKey, attempt: u64) {
        let Some(place) = self.places.get_mut(key.index()) else {
            return;
        };
        if place.attempt == attempt && place.future.is_some() {
            place.future = None;
            self.len -= 1;
            self.give_back(key);
        }
    }

    /// Polls the first of the taken futures, and returns its answer.
    #[inline]
    pub(crate) fn poll_next(&mut self) -> Option<RpcAnswer<F::Output>> {
        let key = self.woken.pop_front()?;
        // The place may have been dropped, or its future.
        let place = self.places.get_mut(key.index())?;
        let result = place.poll()?;
        let (attempt, slot) = (place.attempt, place.slot);
        self.len -= 1;
        self.give_back(key);
        Some(RpcAnswer { attempt, slot, result })
    }

    /// Polls up to `limit` of the taken futures and appends their answers in the order of attempts.
    ///
    /// Returns the number of polled places.
    pub(crate) fn poll_woken(&mut self, limit: usize, answers: &mut Vec<RpcAnswer<F::Output>>) -> usize {
        let polled = limit.min(self.woken.len());
        for _ in 0..polled {
            answers.extend(self.poll_next());
        }
        self.trim(TRIMMED_PER_POLL);
        if answers.len() > 1 {
            answers.sort_unstable_by_key(|answer| answer.attempt);
        }
        polled
    }

    /// Drops all futures.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.free.clear();
        self.len = 0;
        self.woken.clear();
        self.signal.take(&mut self.woken);
        self.woken.clear();
    }

    /// Returns a free place, which is added if there is none.
    #[inline]
    fn take_place(&mut self, slot: SlotKey) -> RpcKey {
        while let Some(key) = self.free.pop() {
            if key.index() < self.places.len() {
                return key;
            }
        }
        // The list of free places is empty, so it has no stale key of the place that is added now.
        self.add_place(slot)
    }

    fn add_place(&mut self, slot: SlotKey) -> RpcKey {
        let key = RpcKey::from_index(self.places.len());
        let state = Arc::new(RpcWaker {
            rpc: key,
            listed: AtomicU64::new(0),
            signal: Arc::clone(&self.signal),
        });
        self.places.push(PendingRpc {
            future: None,
            waker: Waker::from(state),
            slot,
            attempt: 0,
        });
        key
    }

    /// Lists a place as free, and drops a few places beyond the spare ones.
    #[inline]
    fn give_back(&mut self, key: RpcKey) {
        self.free.push(key);
        if self.places.len() > SPARE_PLACES {
            self.trim(2);
        }
    }

    /// Drops up to `limit` free places from the end of the pool. Dropping a million at once would
    /// take long.
    #[inline]
    fn trim(&mut self, limit: usize) {
        if self.places.len().max(self.free.len()) > SPARE_PLACES {
            self.trim_spare(limit);
        }
    }

    #[cold]
    fn trim_spare(&mut self, limit: usize) {
        let is_free = |place: &PendingRpc<F>| place.future.is_none();
        for _ in 0..limit {
            if self.places.len() <= SPARE_PLACES || !self.places.last().is_some_and(is_free) {
                break;
            }
            self.places.pop();
        }
        if self.places.len() <= SPARE_PLACES && self.free.len() > SPARE_PLACES {
            self.free.retain(|key| key.index() < self.places.len());
            self.free.shrink_to(SPARE_PLACES);
            self.places.shrink_to(SPARE_PLACES);
        }
    }
}

impl<F: Future + Unpin> PendingRpc<F> {
    /// Polls the future, if any. An answer removes the future.
    #[inline]
    fn poll(&mut self) -> Option<F::Output> {
        let future = self.future.as_mut()?;
        match Pin::new(future).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(answer) => {
                self.future = None;
                Some(answer)
            }
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::channel::oneshot;
    use futures::future::FutureExt;

    use super::*;
    use crate::testing::samples::WakeCounter;

    fn slot() -> SlotKey {
        SlotKey::from_index(0)
    }

    fn poll_all<F: Future + Unpin>(pool: &mut PendingAnswers<F>) -> Vec<u64> {
        let mut answers = Vec::new();
        pool.take_woken();
        pool.poll_woken(usize::MAX, &mut answers);
        answers.iter().map(|answer| answer.attempt).collect()
    }

    #[test]
    fn a_ready_answer_takes_no_place() {
        let mut pool = PendingAnswers::new();
        assert_eq!(pool.start(slot(), 1, std::future::ready(5)), Ok(5));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn answers_come_in_the_order_of_attempts_and_not_of_waking() {
        let mut pool = PendingAnswers::new();
        let mut start = |attempt| {
            let (sender, receiver) = oneshot::channel();
            assert!(pool.start(slot(), attempt, receiver).is_err());
            sender
        };
        let (first, second, _third) = (start(1), start(2), start(3));
        second.send(()).expect("awaited");
        first.send(()).expect("awaited");
        assert_eq!(poll_all(&mut pool), [1, 2]);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_waker_of_a_former_future_does_no_harm() {
        let mut pool = PendingAnswers::new();
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&wakers);
        let silent = std::future::poll_fn(move |context| {
            keep.lock().expect("not poisoned").push(context.waker().clone());
            Poll::<()>::Pending
        })
        .boxed();
        let rpc = pool.start(slot(), 1, silent).expect_err("it never answers");
        pool.drop_future(rpc, 1);
        let (sender, receiver) = oneshot::channel();
        let next = pool.start(slot(), 2, receiver.map(drop).boxed());
        assert_eq!(next, Err(rpc), "the place is reused");
        for waker in wakers.lock().expect("not poisoned").drain(..) {
            waker.wake();
        }
        assert!(poll_all(&mut pool).is_empty());
        sender.send(()).expect("awaited");
        assert_eq!(poll_all(&mut pool), [2]);
    }

    #[test]
    fn a_place_is_listed_once_for_any_number_of_wakes() {
        let mut pool = PendingAnswers::new();
        for attempt in 0..1000 {
            let restless = std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            let rpc = pool.start(slot(), attempt, restless).expect_err("it never answers");
            pool.drop_future(rpc, attempt);
        }
        assert_eq!(pool.take_woken(), 1);
    }

    #[test]
    fn a_burst_that_ends_in_reverse_order_leaves_only_the_spare_places() {
        let mut pool = PendingAnswers::new();
        let places: Vec<_> = (0..4 * SPARE_PLACES as u64)
            .map(|attempt| pool.start(slot(), attempt, std::future::pending::<()>()))
            .collect();
        for (rpc, attempt) in places.into_iter().zip(0..).collect::<Vec<_>>().into_iter().rev() {
            pool.drop_future(rpc.expect_err("it never answers"), attempt);
        }
        assert_eq!(pool.places.len(), SPARE_PLACES);
    }

    #[test]
    fn no_wake_by_another_thread_is_lost() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let (ask, asked) = mpsc::channel::<oneshot::Sender<()>>();
        let answering = std::thread::spawn(move || {
            for sender in asked {
                sender.send(()).expect("awaited");
            }
        });
        let mut pool = PendingAnswers::new();
        for round in 0..5_000 {
            for attempt in 0..4 {
                let (sender, receiver) = oneshot::channel();
                assert!(pool.start(slot(), 4 * round + attempt, receiver).is_err());
                ask.send(sender).expect("the thread runs");
            }
            let answered = std::future::poll_fn(|context| {
                pool.keep_waker(context.waker());
                poll_all(&mut pool);
                match pool.len() {
                    0 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            });
            let answered = runtime.block_on(async { tokio::time::timeout(PATIENCE, answered).await });
            assert!(answered.is_ok(), "a wake was lost in round {round}");
        }
        drop(ask);
        answering.join().expect("the thread ends");
    }

    #[test]
    fn clearing_the_pool_forgets_woken_places() {
        let mut pool = PendingAnswers::new();
        let (sender, receiver) = oneshot::channel::<()>();
        assert!(pool.start(slot(), 1, receiver).is_err());
        sender.send(()).expect("awaited");
        assert_eq!(pool.take_woken(), 1);
        pool.clear();
        assert_eq!((pool.take_woken(), pool.len()), (0, 0));
    }

    #[test]
    fn a_delay_can_wake_by_value_and_by_reference() {
        let task = WakeCounter::new();
        let signal = Arc::<Signal>::default();
        for expected in [1, 2] {
            signal.register(task.context().waker(), &mut VecDeque::new());
            let waker = Waker::from(Arc::clone(&signal));
            match expected {
                1 => waker.wake_by_ref(),
                _ => waker.wake(),
            }
            assert_eq!(task.count(), expected);
        }
    }

    #[test]
    fn a_burst_leaves_only_the_spare_places_after_some_polls() {
        let mut pool = PendingAnswers::new();
        let burst = 4 * SPARE_PLACES;
        let places: Vec<_> = (0..burst as u64)
            .map(|attempt| pool.start(slot(), attempt, std::future::pending::<()>()))
            .collect();
        for (rpc, attempt) in places.into_iter().zip(0..) {
            pool.drop_future(rpc.expect_err("it never answers"), attempt);
        }
        assert_eq!(pool.len(), 0);
        assert!(pool.places.len() > SPARE_PLACES, "places are dropped a few at a time");
        for _ in 0..burst / TRIMMED_PER_POLL {
            poll_all(&mut pool);
        }
        assert_eq!((pool.places.len(), pool.free.len()), (SPARE_PLACES, SPARE_PLACES));
        let again: BTreeSet<_> = (0..burst as u64)
            .map(|attempt| pool.start(slot(), attempt, std::future::pending()))
            .map(|started| started.expect_err("it never answers"))
            .collect();
        assert_eq!((again.len(), pool.len()), (burst, burst));
    }
}
