//! Requests that wait where there is no slot.

use std::time::Duration;

use slot_manager::AllocationId;
use slot_manager::outcome::CancelOutcome;

use crate::catalogue::Prepared;
use crate::messages::Requests;
use crate::outside::{Manager, Prompt, started};
use crate::workloads::{allocation_ids, arm, drive, poll, wait};

/// Requests are registered and wait, the manager is polled while no timeout is due, and the
/// requests are cancelled.
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
        assert_eq!(manager.overview().pending_requests, waiting);
        let cancelled = clock.time("both", 0, || cancel(&mut manager, &allocation_ids));
        assert_eq!(cancelled, waiting);
        assert_eq!(manager.overview().pending_requests, 0);
    })
}

/// Cancels requests. Returns the number of cancelled ones.
fn cancel(manager: &mut Manager<Prompt>, allocation_ids: &[AllocationId]) -> usize {
    allocation_ids
        .iter()
        .map(|allocation_id| manager.unregister_slot_request(*allocation_id))
        .filter(|outcome| *outcome == CancelOutcome::Cancelled)
        .count()
}

/// The timeouts of all requests are due.
pub(crate) fn due(waiting: usize, _: usize) -> Prepared {
    let requests = Requests::new().usual(waiting);
    Box::new(move |clock| {
        let (mut manager, counter) = started::<Prompt>();
        assert_eq!(wait(&mut manager, &mut requests.clone().into_iter()), waiting);
        arm(&mut manager);
        // More than the timeout: each reading moves the counter a little.
        counter.advance(manager.config().request_timeout + Duration::from_secs(1));
        let expired = clock.time("request", waiting, || drive(&mut manager));
        assert_eq!(expired, waiting);
        assert_eq!(manager.overview().pending_requests, 0);
        assert_eq!(manager.actions_mut().map(|actions| actions.failed), Some(waiting));
    })
}
