//! The cost of attempts that fail: each line is flat.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use criterion::Criterion;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, AllocateSlot, AttemptId, FreeSlot, NoFuture, SlotAnswer, SlotFreed};
use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
use slot_manager::{
    AllocationId, InstanceId, JobId, SlotId, SlotManagerConfig, SlotReport, SlotRequest, SlotStatus,
    TaskExecutorConnection, TaskExecutorGateway,
};

use crate::cluster::register;
use crate::measure::{BATCH, Round, bench, group, group_per};
use crate::messages::{report, usual_profile};
use crate::outside::{Counter, Manager, started_with};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    slot_offered_beside_failed_requests(criterion);
    slot_offered_beside_requests_of_many_workers(criterion);
    worker_backs_off(criterion);
}

/// The job whose requests every worker refuses.
const POISONED: JobId = JobId::from_u128(1);
const HEALTHY: JobId = JobId::from_u128(2);

/// A task executor that refuses one job, answers it later, or cannot be reached.
#[derive(Clone, Default)]
struct Failing {
    is_unreachable: Rc<Cell<bool>>,
    /// The attempts of the poisoned job, while they are answered later.
    open: Rc<RefCell<Option<Vec<AttemptId>>>>,
}

impl TaskExecutorGateway for Failing {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<NoFuture> {
        if let (POISONED, Some(open)) = (request.job_id, self.open.borrow_mut().as_mut()) {
            open.push(request.attempt_id());
            return SlotAnswer::Later;
        }
        SlotAnswer::Ready(if self.is_unreachable.get() {
            Err(SlotAllocationError::unreachable("connection refused"))
        } else if request.job_id == POISONED {
            Err(SlotAllocationError::rejected("no disk left"))
        } else {
            Ok(Acknowledge::new())
        })
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

/// A manager with one worker that fails on demand.
struct FailingWorker {
    manager: Manager<Failing>,
    counter: Counter,
    gateway: Failing,
    next_allocation: u128,
}

impl FailingWorker {
    /// Registers the worker with free slots, beside allocated slots of other workers.
    fn new(free: u32, allocated: usize) -> Self {
        let backoff = Duration::from_secs(3600);
        let config = SlotManagerConfig::default()
            .with_request_timeout(Duration::MAX)
            .with_task_manager_timeout(Duration::MAX)
            .with_worker_registration_timeout(Duration::MAX)
            .with_retry_backoff(backoff, backoff);
        let (mut manager, counter) = started_with(config, Default::default());
        let gateway = Failing::default();
        if allocated > 0 {
            let report = |task_manager| report(task_manager, |_| usual_profile(), |_| true);
            register(&mut manager, allocated, || gateway.clone(), report);
        }
        let mut worker = Self {
            manager,
            counter,
            gateway,
            next_allocation: 1 << 100,
        };
        if free > 0 {
            worker.register("failing", u128::MAX, free);
        }
        worker
    }

    /// Registers a worker with free slots.
    fn register(&mut self, name: &str, instance: u128, free: u32) {
        let slots = (0..free).map(|number| SlotStatus::free(SlotId::new(name, number), usual_profile()));
        let connection = TaskExecutorConnection::new(name, InstanceId::from_u128(instance), self.gateway.clone());
        let _ = self
            .manager
            .register_task_manager(connection, &SlotReport::new(slots.collect()))
            .expect("registered");
    }

    fn request(&mut self, job: JobId) -> (AllocationId, SlotRequestOutcome) {
        self.next_allocation += 1;
        let allocation = AllocationId::from_u128(self.next_allocation);
        let request = SlotRequest::new(job, allocation, usual_profile(), "job-master");
        let outcome = self.manager.register_slot_request(request).expect("accepted");
        (allocation, outcome)
    }

    /// Serves the healthy job until each request of the poisoned job has failed twice.
    fn serve_and_free_until_all_back_off(&mut self, failed: usize) {
        while self.manager.counters().requests_retried < 2 * failed as u64 - 1 {
            self.serve_and_free();
        }
    }

    fn serve_and_free(&mut self) {
        let (allocation, outcome) = self.request(HEALTHY);
        let SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }) = outcome else {
            panic!("the healthy job waits");
        };
        let _ = self.manager.slot_freed(&SlotFreed::new(slot_id, allocation));
    }
}

fn time_serve_and_free(worker: &mut FailingWorker, failed: usize) -> Round {
    let (time, ()) = timed(|| {
        for _ in 0..BATCH {
            worker.serve_and_free();
        }
    });
    assert_eq!(worker.manager.overview().pending_requests, failed);
    let mut round = Round::default();
    round.add(BATCH, time);
    round
}

/// Requests of one job wait that a worker of ten slots has refused. A request of another job is
/// served and its slot freed: each time the slots of the worker are offered again.
fn slot_offered_beside_failed_requests(criterion: &mut Criterion) {
    let mut group = group(criterion, "request served, then freed, beside failed requests");
    for failed in sizes() {
        let set_up = || {
            let mut worker = FailingWorker::new(10, 0);
            for _ in 0..failed {
                let _ = worker.request(POISONED);
            }
            worker.serve_and_free_until_all_back_off(failed);
            worker
        };
        bench(&mut group, format!("{failed} failed requests"), set_up, |worker| {
            time_serve_and_free(worker, failed)
        });
    }
    group.finish();
}

/// Requests of one job wait that 200 workers have refused, each those in flight to it. The workers
/// are blocked. A request of another job is served by another worker, and its slot freed.
fn slot_offered_beside_requests_of_many_workers(criterion: &mut Criterion) {
    const WORKERS: u32 = 200;
    let is_enough_for_all = |failed: &usize| *failed >= WORKERS as usize;
    let mut group = group(
        criterion,
        "request served, then freed, beside failed requests of 200 workers",
    );
    for failed in sizes().filter(is_enough_for_all) {
        let set_up = || {
            let mut worker = FailingWorker::new(0, 0);
            worker.gateway.open.replace(Some(Vec::new()));
            for number in 0..WORKERS {
                worker.register(
                    &format!("refusing {number}"),
                    number.into(),
                    (failed as u32).div_ceil(WORKERS),
                );
            }
            for _ in 0..failed {
                let _ = worker.request(POISONED);
            }
            for number in 0..WORKERS {
                let _ = worker.manager.block(&format!("refusing {number}").into());
            }
            for attempt in worker.gateway.open.take().into_iter().flatten() {
                let refused = Err(SlotAllocationError::rejected("no disk left"));
                let _ = worker.manager.answer_slot_request(attempt, refused);
            }
            worker.register("serving", u128::MAX, 10);
            worker.serve_and_free_until_all_back_off(failed);
            worker
        };
        bench(&mut group, format!("{failed} failed requests"), set_up, |worker| {
            time_serve_and_free(worker, failed)
        });
    }
    group.finish();
}

/// A worker of 1,000 slots cannot be reached and backs off, is probed, and serves again. All other
/// slots are allocated.
fn worker_backs_off(criterion: &mut Criterion) {
    const SLOTS: u32 = 1_000;
    let mut group = group_per(
        criterion,
        "worker of 1000 slots backs off and recovers",
        u64::from(SLOTS),
    );
    for slots in sizes() {
        let set_up = || FailingWorker::new(SLOTS, slots);
        bench(&mut group, format!("{slots} other slots"), set_up, |worker| {
            worker.gateway.is_unreachable.set(true);
            let (allocation, mut time) = {
                let (time, (allocation, outcome)) = timed(|| worker.request(HEALTHY));
                assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
                (allocation, time)
            };
            worker.gateway.is_unreachable.set(false);
            worker.counter.advance(Duration::from_secs(3601));
            let (time_of_probe, _) = timed(|| worker.manager.run_until_stalled());
            time += time_of_probe;
            let Some(AllocationStatus::Granted { slot_id }) = worker.manager.allocation_status(allocation) else {
                panic!("the worker was not probed");
            };
            let _ = worker.manager.slot_freed(&SlotFreed::new(slot_id, allocation));
            assert_eq!(worker.manager.overview().backing_off_task_managers, 0);
            let mut round = Round::default();
            round.add(1, time);
            round
        });
    }
    group.finish();
}
