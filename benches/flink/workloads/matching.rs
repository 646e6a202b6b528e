//! Slots and requests of different profiles.

use std::vec::IntoIter;

use slot_manager::SlotRequest;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::SlotFreedOutcome;

use crate::catalogue::Prepared;
use crate::messages::{Requests, growing_profile, separate_profile, task_managers};
use crate::outside::{Manager, Prompt, started};
use crate::workloads::{arm, connections, granted, join, register, wait};

const GROWING_PROFILES: usize = 100;

pub(crate) fn drain_of_one_profile(waiting: usize, _: usize) -> Prepared {
    drain(waiting, 1)
}

pub(crate) fn drain_of_a_hundred_profiles(waiting: usize, _: usize) -> Prepared {
    drain(waiting, 100)
}

/// Requests of several profiles wait; task managers register until all are served.
fn drain(waiting: usize, profiles: usize) -> Prepared {
    let profile_of = move |n| separate_profile(n % profiles, profiles);
    let requests = Requests::new().of(waiting, profile_of);
    let task_managers = task_managers(0, waiting, profile_of, |_| false);
    Box::new(move |clock| {
        let (mut manager, _) = started();
        assert_eq!(wait(&mut manager, &mut requests.clone().into_iter()), waiting);
        assert_eq!(manager.overview().pending_requests, waiting);
        arm(&mut manager);
        let mut registrations = connections(&task_managers, || Prompt);
        let registered = clock.time("slot", waiting, || {
            register(&mut manager, &task_managers, &mut registrations)
        });
        assert_eq!(registered, task_managers.len());
        assert_eq!(manager.overview().pending_requests, 0);
        assert_eq!(manager.overview().slots.allocated.slots, waiting);
    })
}

/// Free slots in the order of their size, the smallest first. A slot of the largest profile is
/// requested and freed.
pub(crate) fn only_the_largest_fits(slots: usize, operations: usize) -> Prepared {
    let profile_of = |slot| growing_profile(slot * GROWING_PROFILES / slots);
    let task_managers = task_managers(0, slots, profile_of, |_| false);
    let requests = Requests::new().of(operations, |_| growing_profile(GROWING_PROFILES - 1));
    Box::new(move |clock| {
        let (mut manager, _) = started();
        join(&mut manager, &task_managers, || Prompt);
        let mut requests = requests.clone().into_iter();
        let freed = clock.time("both", operations, || request_and_free(&mut manager, &mut requests));
        assert_eq!(freed, operations);
        assert_eq!(manager.overview().slots.free.slots, slots);
    })
}

/// Requests and frees slots. Returns the number of freed slots.
fn request_and_free(manager: &mut Manager<Prompt>, requests: &mut IntoIter<SlotRequest>) -> usize {
    let mut freed = 0;
    for request in requests {
        let allocation_id = request.allocation_id();
        if let Some(slot_id) = granted(manager.register_slot_request(request)) {
            let outcome = manager.slot_freed(&SlotFreed::new(slot_id, allocation_id));
            freed += usize::from(outcome == SlotFreedOutcome::Freed);
        }
    }
    freed
}
