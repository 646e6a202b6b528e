//! Driving the manager: wakers, answers and time, in a task and without one.

mod armed_delay;
mod cancel_safety;
mod event_budget;
mod given_up_answers;
mod kinds_of_gateways;
mod lifetimes;
mod services;
mod tokio_time;
mod waking;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use slot_manager::TaskExecutorGateway;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, SlotAnswer};

use crate::common::Fixture;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that counts how often it is woken.
struct Task {
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Task {
    fn new() -> Self {
        let wakes = Arc::<Wakes>::default();
        let waker = Arc::clone(&wakes).into();
        Self { wakes, waker }
    }

    fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Returns how often it was woken since the last call.
    fn wakes(&self) -> usize {
        self.wakes.0.swap(0, Ordering::SeqCst)
    }
}

/// Polls the manager once with the waker of the task.
#[track_caller]
fn poll(fixture: &mut Fixture, task: &Task) -> Poll<usize> {
    fixture.step(|manager| manager.poll_progress(&mut task.context()))
}

/// Polls until the manager has nothing more to do, and forgets the wakes of the task until then.
#[track_caller]
fn park(fixture: &mut Fixture, task: &Task) {
    while poll(fixture, task).is_ready() {}
    task.wakes();
}

/// An answer that never comes, and wakes its task at each poll.
struct Restless;

impl Future for Restless {
    type Output = Result<Acknowledge, SlotAllocationError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

struct RestlessGateway;

impl TaskExecutorGateway for RestlessGateway {
    type RequestSlotFuture = Restless;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Restless> {
        SlotAnswer::Future(Restless)
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}
