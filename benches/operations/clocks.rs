//! What tokio's clock and timer add: the same operations once with the counter and once with
//! [`TokioScheduledExecutor`], which reads the clock of the machine and keeps its delay in tokio's timer.
//!
//! As in a service, the manager is polled after each input, so that the delay is armed for what is due next. The
//! runtime is entered, not run: tokio's cooperative budget is not consumed, and there is no thread asleep that a new
//! delay has to wake. Nothing falls due while it is measured.

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

/// With so many free slots, and so many requests that none of them fits.
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

/// A round of one operation.
fn round_of(operations: usize, time: Duration) -> Round {
    let mut round = Round::default();
    round.add(operations, time);
    round
}

/// So many requests wait, and the delay is armed for the oldest. The time is that of one poll: the clock is read once,
/// the delay is polled once.
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

/// So many requests wait. The oldest is withdrawn, whose deadline is the next that is due, and the manager is polled,
/// which drops the delay and arms one for the next. The time is that of both.
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

/// There is no slot. Requests come to wait; when all are there they are withdrawn, the youngest first, so that the
/// delay stays armed for the oldest. The manager is polled after each. The time is that of one request, its withdrawal,
/// and two polls.
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

/// Churn at 90 % utilisation, while one request waits for which the delay is armed. The time is that of freeing a slot,
/// a request, and a poll after each.
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
