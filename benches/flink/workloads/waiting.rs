//! Requests that wait where there is no slot.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slot_manager::{AllocationId, CancelOutcome};

use crate::catalogue::Prepared;
use crate::messages::Requests;
use crate::outside::{Manager, Prompt, started};
use crate::workloads::{allocation_ids, arm, wait};

/// They come to wait, the manager is polled though no timeout is due, and they are withdrawn.
pub(crate) fn cancelled(waiting: usize, checks: usize) -> Prepared {
    let requests = Requests::new().usual(waiting);
    let allocation_ids = allocation_ids(&requests);
    Box::new(move |clock| {
        let (mut manager, _) = started::<Prompt>();
        let mut requests = requests.clone().into_iter();
        let accepted = clock.time("both", waiting, || wait(&mut manager, &mut requests));
        assert_eq!(accepted, waiting);
        arm(&mut manager);
        let events = clock.time("check", checks, || {
            (0..checks).map(|_| poll(&mut manager)).sum::<usize>()
        });
        assert_eq!(events, 0);
        assert_eq!(manager.num_pending_slot_requests(), waiting);
        let cancelled = clock.time("both", 0, || cancel(&mut manager, &allocation_ids));
        assert_eq!(cancelled, waiting);
        assert_eq!(manager.num_pending_slot_requests(), 0);
    })
}

/// Returns how many requests were withdrawn.
fn cancel(manager: &mut Manager<Prompt>, allocation_ids: &[AllocationId]) -> usize {
    allocation_ids
        .iter()
        .map(|allocation_id| manager.unregister_slot_request(*allocation_id))
        .filter(|outcome| *outcome == Ok(CancelOutcome::Cancelled))
        .count()
}

/// The timeouts of all of them are due.
pub(crate) fn due(waiting: usize, _: usize) -> Prepared {
    let requests = Requests::new().usual(waiting);
    Box::new(move |clock| {
        let (mut manager, counter) = started::<Prompt>();
        assert_eq!(wait(&mut manager, &mut requests.clone().into_iter()), waiting);
        arm(&mut manager);
        // More than the timeout, for the counter moves a little by itself.
        counter.advance(manager.config().request_timeout + Duration::from_secs(1));
        let expired = clock.time("request", waiting, || expire(&mut manager));
        assert_eq!(expired, waiting);
        assert_eq!(manager.num_pending_slot_requests(), 0);
        assert_eq!(manager.actions_mut().map(|actions| actions.failed), Some(waiting));
    })
}

/// Returns how many timeouts were due.
fn expire(manager: &mut Manager<Prompt>) -> usize {
    let mut expired = 0;
    loop {
        match poll(manager) {
            0 => return expired,
            events => expired += events,
        }
    }
}

/// Returns how much was ready or due.
fn poll(manager: &mut Manager<Prompt>) -> usize {
    match manager.poll_progress(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(events) => events,
        Poll::Pending => 0,
    }
}
