//! Futures of answers, and wakers that may be called by any thread.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slot_manager::message::SlotResult;

/// The places that woke, and the task that drives the floor.
#[derive(Default)]
struct Signal {
    shared: Mutex<Shared>,
    has_task: AtomicBool,
}

#[derive(Default)]
struct Shared {
    woken: Vec<u32>,
    /// The number of times that the list was taken.
    takes: u64,
    task: Option<Waker>,
}

/// The waker of a place.
struct PlaceWaker {
    place: u32,
    /// The number of the list that has the place: it is listed once for any number of wakes.
    listed: AtomicU64,
    signal: Arc<Signal>,
}

/// A place for one future after another.
struct Place<F> {
    future: Option<F>,
    waker: Waker,
    slot: u32,
    attempt: u64,
}

/// The awaited answers.
pub(crate) struct Answers<F> {
    places: Vec<Place<F>>,
    free: Vec<u32>,
    signal: Arc<Signal>,
    /// The places that are left to poll.
    woken: Vec<u32>,
}

/// An answer and its attempt.
pub(crate) struct Answer {
    pub(crate) slot: u32,
    pub(crate) attempt: u64,
    pub(crate) result: SlotResult,
}

impl<F: Future<Output = SlotResult> + Unpin> Answers<F> {
    /// Returns a pool without futures, with room for this number.
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            places: Vec::with_capacity(room),
            free: Vec::with_capacity(room),
            signal: Arc::default(),
            woken: Vec::new(),
        }
    }

    /// Polls a future once, and keeps it if it is not ready. Returns its place.
    #[inline(always)]
    pub(crate) fn start(&mut self, slot: u32, attempt: u64, mut future: F) -> Result<SlotResult, u32> {
        let at = self.free.pop().unwrap_or_else(|| self.add_place());
        let place = &mut self.places[at as usize];
        match Pin::new(&mut future).poll(&mut Context::from_waker(&place.waker)) {
            Poll::Ready(result) => {
                self.free.push(at);
                Ok(result)
            }
            Poll::Pending => {
                (place.future, place.slot, place.attempt) = (Some(future), slot, attempt);
                Err(at)
            }
        }
    }

    #[inline(always)]
    fn add_place(&mut self) -> u32 {
        let place = self.places.len() as u32;
        let waker = Waker::from(Arc::new(PlaceWaker {
            place,
            listed: AtomicU64::new(0),
            signal: Arc::clone(&self.signal),
        }));
        self.places.push(Place {
            future: None,
            waker,
            slot: 0,
            attempt: 0,
        });
        place
    }

    /// Keeps the waker of the driving task, and takes the places that woke. One lock does both.
    #[inline(always)]
    pub(crate) fn take_woken(&mut self, waker: &Waker) {
        // Neither cloned nor dropped under the lock: that may run code that wakes.
        let task = waker.clone();
        let mut shared = self.signal.lock();
        let former = shared.task.replace(task);
        self.signal.has_task.store(true, Ordering::Release);
        if !shared.woken.is_empty() {
            shared.takes += 1;
            mem::swap(&mut shared.woken, &mut self.woken);
        }
        drop(shared);
        drop(former);
    }

    /// Polls the taken places, and appends their answers in the order of attempts.
    #[inline(always)]
    pub(crate) fn poll_woken(&mut self, answers: &mut Vec<Answer>) {
        for at in self.woken.drain(..) {
            let place = &mut self.places[at as usize];
            let Some(future) = &mut place.future else {
                continue;
            };
            if let Poll::Ready(result) = Pin::new(future).poll(&mut Context::from_waker(&place.waker)) {
                place.future = None;
                self.free.push(at);
                let (slot, attempt) = (place.slot, place.attempt);
                answers.push(Answer { slot, attempt, result });
            }
        }
        if answers.len() > 1 {
            answers.sort_unstable_by_key(|answer| answer.attempt);
        }
    }

    /// Wakes the driving task, if one waits.
    #[inline(always)]
    pub(crate) fn wake_task(&self) {
        if self.signal.has_task.load(Ordering::Acquire) {
            self.signal.wake_task();
        }
    }
}

impl Signal {
    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline(never)]
    fn wake_task(&self) {
        let mut shared = self.lock();
        let task = self.take_task(&mut shared);
        drop(shared);
        task.into_iter().for_each(Waker::wake);
    }

    #[inline(always)]
    fn take_task(&self, shared: &mut Shared) -> Option<Waker> {
        self.has_task.store(false, Ordering::Release);
        shared.task.take()
    }

    /// Lists a woken place, unless it is listed already, and wakes the driving task.
    fn wake_place(&self, place: &PlaceWaker) {
        let mut shared = self.lock();
        let list = shared.takes + 1;
        // The lock orders the accesses of the number.
        if place.listed.load(Ordering::Relaxed) == list {
            return;
        }
        place.listed.store(list, Ordering::Relaxed);
        shared.woken.push(place.place);
        let task = self.take_task(&mut shared);
        drop(shared);
        task.into_iter().for_each(Waker::wake);
    }
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.signal.wake_place(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.wake_place(self);
    }
}
