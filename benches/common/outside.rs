//! The least that a manager needs around it: a clock, actions and task executors, without locks and
//! records.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slot_manager::error::ResourceManagerError;
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, AttemptId, FreeSlot, NoFuture, Release, ReleaseResource,
    SlotAnswer, SlotResult, WorkerPromise,
};
use slot_manager::{
    AllocationId, JobId, LeaderId, ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotId, SlotManager,
    SlotManagerConfig, TaskExecutorGateway, Timestamp, WorkerRequestId,
};

pub(crate) type Manager<G> = SlotManager<Count, G, Counter>;

/// Returns a started manager and the counter that is its clock.
pub(crate) fn started<G: TaskExecutorGateway>() -> (Manager<G>, Counter) {
    // No declined worker request is repeated before the request timeouts are due.
    let config = SlotManagerConfig::default().with_worker_registration_timeout(Duration::from_secs(600));
    started_with(config, Count::default())
}

/// Returns a started manager with this configuration and these actions, and its clock.
pub(crate) fn started_with<A: ResourceManagerActions, G: TaskExecutorGateway>(
    config: SlotManagerConfig,
    actions: A,
) -> (SlotManager<A, G, Counter>, Counter) {
    let counter = Counter::default();
    let mut manager = SlotManager::new(config, counter.clone()).expect("a valid configuration");
    manager
        .start(LeaderId::from_u128(1), actions)
        .expect("it is not started yet");
    (manager, counter)
}

/// A clock that moves by a nanosecond with each reading, so that no two deadlines are equal. It
/// also moves by hand.
#[derive(Clone, Default)]
pub(crate) struct Counter(Rc<Cell<u64>>);

impl Counter {
    pub(crate) fn advance(&self, time: Duration) {
        self.0.set(self.0.get() + time.as_nanos() as u64);
    }
}

impl ScheduledExecutor for Counter {
    type Delay = CounterDelay;

    fn now(&self) -> Timestamp {
        self.0.set(self.0.get() + 1);
        Timestamp::from_nanos(self.0.get())
    }

    fn delay_until(&mut self, deadline: Timestamp) -> CounterDelay {
        CounterDelay {
            counter: self.clone(),
            deadline,
        }
    }
}

pub(crate) struct CounterDelay {
    counter: Counter,
    deadline: Timestamp,
}

impl Future for CounterDelay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // No wake-up is needed: the code that moves the counter polls.
        if Timestamp::from_nanos(self.counter.0.get()) >= self.deadline {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// A resource manager with a fixed number of workers. It counts its calls.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) allocated: usize,
    pub(crate) failed: usize,
}

impl ResourceManagerActions for Count {
    fn allocate_resource(
        &mut self,
        _: WorkerRequestId,
        _: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        Ok(WorkerPromise::Declined)
    }

    fn release_resource(&mut self, _: &ReleaseResource) -> Release {
        Release::Declined
    }

    fn notify_allocation_failure(&mut self, _: JobId, _: AllocationId, _: &AllocationFailureCause) {
        self.failed += 1;
    }

    fn notify_slot_allocated(&mut self, _: JobId, _: AllocationId, _: &SlotId) {
        self.allocated += 1;
    }
}

/// A task executor that acknowledges at once.
pub(crate) struct Prompt;

impl TaskExecutorGateway for Prompt {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// Task executors that acknowledge at once, and record the requested slots.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    /// The requested slots with their allocations, in the order of the requests.
    pub(crate) requested: Rc<RefCell<Vec<(SlotId, AllocationId)>>>,
}

impl TaskExecutorGateway for Recorder {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        let slot = (request.slot_id.clone(), request.allocation_id);
        self.requested.borrow_mut().push(slot);
        SlotAnswer::Ready(Ok(Acknowledge::new()))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// Task executors that acknowledge on demand, by futures.
#[derive(Clone, Default)]
pub(crate) struct Patient {
    /// The unanswered requests, in their order.
    pub(crate) asked: Rc<RefCell<Vec<Awaited>>>,
}

impl TaskExecutorGateway for Patient {
    type RequestSlotFuture = Awaited;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<Awaited> {
        let answer = Awaited::default();
        self.asked.borrow_mut().push(answer.clone());
        SlotAnswer::Future(answer)
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// Task executors whose answers are inputs, from the mailbox of a service.
#[derive(Clone, Default)]
pub(crate) struct Mailbox {
    /// The unanswered attempts, in their order.
    pub(crate) asked: Rc<RefCell<Vec<AttemptId>>>,
}

impl TaskExecutorGateway for Mailbox {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        self.asked.borrow_mut().push(request.attempt_id());
        SlotAnswer::Later
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// An answer that is ready once it is acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Awaited(Rc<AnswerState>);

#[derive(Default)]
struct AnswerState {
    is_acknowledged: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Awaited {
    pub(crate) fn acknowledge(&self) {
        self.0.is_acknowledged.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Awaited {
    type Output = SlotResult;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<SlotResult> {
        if self.0.is_acknowledged.get() {
            return Poll::Ready(Ok(Acknowledge::new()));
        }
        self.0.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}
