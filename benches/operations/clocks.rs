//! The cost of tokio's clock and timer: the same operations with the counter and with
//! [`TokioScheduledExecutor`], which reads the clock of the machine and keeps its delay in tokio's
//! timer.
//!
//! As in a service, the manager is polled after each input, so the delay is armed for the earliest
//! deadline. The runtime is entered, not run. So tokio's cooperative budget is not consumed, and a
//! new delay never has to wake a sleeping thread. No deadline falls due during the measurement.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use slot_manager::{AllocationId, ScheduledExecutor, SlotManager, SlotManagerConfig, TokioScheduledExecutor};

use crate::cluster::{BusyCluster, register, started_with, wait};
use crate::inputs::Inputs;
use crate::measure::{BATCH, Round, batches, bench, group};
use crate::messages::{Requests, huge_profile, report, usual_profile};
use crate::outside::{Count, Counter, Prompt};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without threads");
    let _entered = runtime.enter();
    progress_with_nothing_due(criterion);
    progress_arms_anew(criterion);
    request_waits_then_cancel(criterion);
    churn(criterion);
}

type Manager<E> = SlotManager<Count, Prompt, E>;

/// Returns a manager with free slots, and with waiting requests that no slot fits.
fn manager<E: ScheduledExecutor>(executor: E, slots: usize, waiting: usize) -> (Manager<E>, Requests) {
    // A measurement with tokio's clock is shorter than this.
    let a_day = Duration::from_secs(24 * 3600);
    let config = SlotManagerConfig::default()
        .with_request_timeout(a_day)
        .with_task_manager_timeout(a_day)
        .with_worker_registration_timeout(a_day);
    let mut manager = started_with(config, executor);
    register(
        &mut manager,
        slots,
        || Prompt,
        |task_manager| report(task_manager, |_| usual_profile(), |_| false),
    );
    let mut requests = Requests::default();
    wait(&mut manager, &mut requests, waiting, |_| huge_profile());
    (manager, requests)
}

/// Returns a round of one operation.
fn round_of(operations: usize, time: Duration) -> Round {
    let mut round = Round::default();
    round.add(operations, time);
    round
}

/// Requests wait, and the delay is armed for the oldest. The time is that of one poll: the clock is
/// read once, the delay is polled once.
fn progress_with_nothing_due(criterion: &mut Criterion) {
    fn measure<E: ScheduledExecutor>(group: &mut BenchmarkGroup<'_, WallTime>, clock: &str, executor: fn() -> E) {
        for waiting in sizes() {
            bench(
                group,
                format!("{clock}, {waiting} waiting"),
                || manager(executor(), 0, waiting).0,
                |manager| {
                    let (time, ()) = timed(|| (0..BATCH).for_each(|_| manager.drive()));
                    round_of(BATCH, time)
                },
            );
        }
    }
    let mut group = group(criterion, "either clock: progress with nothing due");
    measure(&mut group, "counter", Counter::default);
    measure(&mut group, "tokio", TokioScheduledExecutor::new);
    group.finish();
}

/// Requests wait. The oldest, which has the earliest deadline, is cancelled. The manager is polled:
/// it drops the delay and arms one for the next deadline. The time is that of both.
fn progress_arms_anew(criterion: &mut Criterion) {
    fn measure<E: ScheduledExecutor>(group: &mut BenchmarkGroup<'_, WallTime>, clock: &str, executor: fn() -> E) {
        for waiting in sizes() {
            bench(
                group,
                format!("{clock}, {waiting} waiting"),
                || manager(executor(), 0, 0),
                |(manager, requests)| {
                    wait(manager, requests, waiting, |_| usual_profile());
                    let oldest_first: Vec<AllocationId> = manager
                        .pending_slot_requests()
                        .map(|request| request.allocation_id())
                        .collect();
                    let (time, cancelled) = timed(|| {
                        let mut cancelled = 0;
                        for allocation_id in &oldest_first {
                            cancelled += usize::from(manager.cancel(*allocation_id));
                            manager.drive();
                        }
                        cancelled
                    });
                    assert_eq!(cancelled, waiting);
                    round_of(waiting, time)
                },
            );
        }
    }
    let mut group = group(criterion, "either clock: cancel the oldest, then progress");
    measure(&mut group, "counter", Counter::default);
    measure(&mut group, "tokio", TokioScheduledExecutor::new);
    group.finish();
}

/// There is no slot. Requests are registered and wait. Then they are cancelled, the youngest first,
/// so the delay stays armed for the oldest. The manager is polled after each call. The time is that
/// of one request, its cancellation and two polls.
fn request_waits_then_cancel(criterion: &mut Criterion) {
    fn measure<E: ScheduledExecutor>(group: &mut BenchmarkGroup<'_, WallTime>, clock: &str, executor: fn() -> E) {
        for waiting in sizes() {
            bench(
                group,
                format!("{clock}, {waiting} waiting"),
                || manager(executor(), 0, 0),
                |(manager, requests)| {
                    let mut round = Round::default();
                    let mut youngest_last = Vec::with_capacity(waiting);
                    for batch in batches(waiting, BATCH) {
                        let (batch, allocations) = requests.batch(batch.len(), &usual_profile());
                        let mut registered = Vec::with_capacity(batch.len());
                        let (time, ()) = timed(|| {
                            for request in batch {
                                registered.push(manager.request(request));
                                manager.drive();
                            }
                        });
                        round.add(registered.len(), time);
                        youngest_last.extend(allocations);
                    }
                    assert_eq!(manager.num_waiting(), waiting);
                    let (time, ()) = timed(|| {
                        for allocation_id in youngest_last.iter().rev() {
                            manager.cancel(*allocation_id);
                            manager.drive();
                        }
                    });
                    assert_eq!(manager.num_waiting(), 0);
                    round.add(0, time);
                    round
                },
            );
        }
    }
    let mut group = group(criterion, "either clock: request waits, then cancel");
    measure(&mut group, "counter", Counter::default);
    measure(&mut group, "tokio", TokioScheduledExecutor::new);
    group.finish();
}

/// Churn at 90 % utilisation, while one request waits and has the delay armed. The time is that of
/// freeing a slot, a request, and a poll after each.
fn churn(criterion: &mut Criterion) {
    fn measure<E: ScheduledExecutor>(group: &mut BenchmarkGroup<'_, WallTime>, clock: &str, executor: fn() -> E) {
        for slots in sizes() {
            bench(
                group,
                format!("{clock}, {slots} slots"),
                || BusyCluster::new(manager(executor(), slots, 0).0, 1),
                BusyCluster::churn_driven,
            );
        }
    }
    let mut group = group(criterion, "either clock: churn at 90 % utilisation");
    measure(&mut group, "counter", Counter::default);
    measure(&mut group, "tokio", TokioScheduledExecutor::new);
    group.finish();
}
