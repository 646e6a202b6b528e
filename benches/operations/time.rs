//! Time: the cost of a poll when nothing is due, and the cost of a timeout. Both lines are flat.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;

use crate::cluster::{register, wait};
use crate::measure::{BATCH, Round, bench, group};
use crate::messages::{Requests, huge_profile, report, usual_profile};
use crate::outside::{Prompt, started};
use crate::sizes;
use crate::timing::timed;

pub(crate) fn groups(criterion: &mut Criterion) {
    progress_with_nothing_due(criterion);
    due_request_timeouts(criterion);
}

/// Free slots of idle task managers, and as many waiting requests that no slot fits. All have
/// deadlines, none is due. The time is that of one poll.
fn progress_with_nothing_due(criterion: &mut Criterion) {
    let mut group = group(criterion, "progress with nothing due");
    for size in sizes() {
        let set_up = || {
            let (mut manager, _) = started();
            register(
                &mut manager,
                size,
                || Prompt,
                |task_manager| report(task_manager, |_| usual_profile(), |_| false),
            );
            wait(&mut manager, &mut Requests::default(), size, |_| huge_profile());
            manager
        };
        bench(
            &mut group,
            format!("{size} slots and {size} waiting"),
            set_up,
            |manager| {
                let mut context = Context::from_waker(Waker::noop());
                let (time, pending) = timed(|| {
                    (0..BATCH)
                        .filter(|_| manager.poll_progress(&mut context) == Poll::Pending)
                        .count()
                });
                assert_eq!(pending, BATCH);
                let mut round = Round::default();
                round.add(BATCH, time);
                round
            },
        );
    }
    group.finish();
}

/// There is no slot. All waiting requests fall due at once, and each failure is notified. The time
/// is that of one request.
fn due_request_timeouts(criterion: &mut Criterion) {
    let mut group = group(criterion, "all request timeouts due, per request");
    for waiting in sizes() {
        let set_up = || (started::<Prompt>(), Requests::default());
        bench(
            &mut group,
            format!("{waiting} waiting"),
            set_up,
            |((manager, counter), requests)| {
                wait(manager, requests, waiting, |_| usual_profile());
                // More than the timeout: each reading moves the counter a little.
                counter.advance(manager.config().request_timeout + Duration::from_secs(1));
                let mut context = Context::from_waker(Waker::noop());
                let (time, expired) = timed(|| {
                    let mut expired = 0;
                    while let Poll::Ready(events) = manager.poll_progress(&mut context) {
                        expired += events;
                    }
                    expired
                });
                assert_eq!(expired, waiting);
                assert_eq!(manager.overview().pending_requests, 0);
                let mut round = Round::default();
                round.add(waiting, time);
                round
            },
        );
    }
    group.finish();
}
