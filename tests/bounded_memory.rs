//! Requests, attempts and profiles leave nothing behind: the manager holds as much memory after
//! millions as after the first tenth, and as before a peak of distinct profiles.
//!
//! `cargo test --release --test bounded_memory` makes ten million requests, a million attempts and
//! 300,000 profiles. Without optimisation they would take minutes, so it makes a tenth.
//!
//! There is one test, because the allocator counts for the whole process.

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/allocator.rs"]
mod allocator;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/messages.rs"]
mod messages;
#[allow(dead_code, reason = "shared with the benches")]
#[path = "../benches/common/outside.rs"]
mod outside;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::error::SlotAllocationError;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::{AllocateSlot, FreeSlot, NoFuture, SlotAnswer};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{AllocationId, ScheduledExecutor, SlotManagerConfig, TaskExecutorGateway};

use crate::allocator::held_bytes;
use crate::messages::{
    Requests, SLOTS_PER_TASK_MANAGER, connection, growing_profile, instance_id, report, usual_profile,
};
use crate::outside::{Count, Counter, Manager, Prompt, started, started_with};

/// The number of requests at a time.
const WAVE: usize = 1_000;
const CANCELLED: usize = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
const ATTEMPTS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// After the first tenth every table has reached its final size.
const FIRST: usize = 10;

/// The number of distinct profiles at a time.
const PROFILES: usize = if cfg!(debug_assertions) { 30_000 } else { 300_000 };

#[test]
fn requests_attempts_and_profiles_leave_nothing_behind_after_their_end() {
    requests_that_are_cancelled();
    attempts_that_fail();
    for strategy in [
        SlotMatchingStrategy::FirstFit,
        SlotMatchingStrategy::LeastUtilization,
        SlotMatchingStrategy::MostUtilization,
    ] {
        profiles_of_requests(&strategy);
        profiles_of_slots(&strategy);
    }
}

fn requests_that_are_cancelled() {
    let (mut manager, _) = started::<Prompt>();
    let mut requests = Requests::default();
    let mut allocation_ids = Vec::with_capacity(WAVE);
    let mut random = ChaCha8Rng::seed_from_u64(5810);
    let mut held_after_first = None;
    for wave in 0..CANCELLED / WAVE {
        if wave == CANCELLED / WAVE / FIRST {
            held_after_first = Some(held_bytes());
        }
        for _ in 0..WAVE {
            allocation_ids.push(wait(&mut manager, &mut requests));
        }
        assert_eq!(manager.overview().pending_requests, WAVE);
        allocation_ids.shuffle(&mut random);
        for allocation_id in allocation_ids.drain(..) {
            let cancelled = manager.unregister_slot_request(allocation_id);
            assert_eq!(cancelled, CancelOutcome::Cancelled);
        }
        // A service would drive the manager, too.
        manager.run_until_stalled();
    }
    assert_eq!(manager.overview().pending_requests, 0);
    assert_eq!(manager.check_invariants(), Ok(()));
    assert_eq!(Some(held_bytes()), held_after_first);
}

fn wait<G: TaskExecutorGateway>(manager: &mut Manager<G>, requests: &mut Requests) -> AllocationId {
    let request = requests.request(usual_profile());
    let allocation_id = request.allocation_id();
    let registered = manager.register_slot_request(request);
    assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    allocation_id
}

/// A task executor that refuses every request, and counts them.
struct Refusing {
    attempts: Rc<Cell<usize>>,
}

impl TaskExecutorGateway for Refusing {
    type RequestSlotFuture = NoFuture;

    fn request_slot(&mut self, _: &AllocateSlot) -> SlotAnswer<NoFuture> {
        self.attempts.set(self.attempts.get() + 1);
        SlotAnswer::Ready(Err(SlotAllocationError::Rejected {
            reason: "it refuses every request".into(),
        }))
    }

    fn free_slot(&mut self, _: &FreeSlot) {}
}

fn attempts_that_fail() {
    let attempts = Rc::default();
    let (mut manager, counter) = refusing_cluster(&attempts);
    let mut requests = Requests::default();
    for _ in 0..WAVE {
        wait(&mut manager, &mut requests);
    }
    let mut most_held_until = |attempts_made| {
        let mut most_held = 0;
        while attempts.get() < attempts_made {
            let next = manager.next_deadline().expect("requests back off");
            counter.advance(next.saturating_duration_since(counter.now()));
            manager.run_until_stalled();
            most_held = most_held.max(held_bytes());
        }
        most_held
    };
    let most_held_first = most_held_until(ATTEMPTS / FIRST);
    let most_held_later = most_held_until(ATTEMPTS);
    // The number of requests and workers that back off at a time varies a little. One percent is
    // 0.003 bytes for each of a million attempts.
    assert!(
        most_held_later <= most_held_first + most_held_first / 100,
        "{most_held_later} bytes are held, at most {most_held_first} in the first tenth"
    );
    assert_eq!(manager.overview().pending_requests, WAVE);
    assert_eq!(manager.check_invariants(), Ok(()));
}

/// A cluster with a tenth as many slots as requests, so that workers and requests back off.
fn refusing_cluster(attempts: &Rc<Cell<usize>>) -> (Manager<Refusing>, Counter) {
    let config = SlotManagerConfig::default()
        .with_request_timeout(Duration::MAX)
        .with_task_manager_timeout(Duration::MAX);
    let (mut manager, counter) = started_with(config, Count::default());
    for task_manager in 0..WAVE / 10 / SLOTS_PER_TASK_MANAGER {
        let gateway = Refusing {
            attempts: Rc::clone(attempts),
        };
        let report = report(task_manager, |_| usual_profile(), |_| false);
        let outcome = manager.register_task_manager(connection(task_manager, gateway), &report);
        assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
    }
    (manager, counter)
}

/// Returns a manager with a strategy.
fn manager_with(strategy: &SlotMatchingStrategy) -> Manager<Prompt> {
    let config = SlotManagerConfig::default()
        .with_request_timeout(Duration::MAX)
        .with_slot_matching_strategy(strategy.clone());
    let (manager, _) = started_with(config, Count::default());
    manager
}

/// Checks that a peak of profiles has left no memory behind but the pages of a survivor.
#[track_caller]
fn assert_given_back(held_before: usize, what: &str) {
    let left = held_bytes().saturating_sub(held_before);
    assert!(
        left <= PROFILES * 8,
        "{left} bytes are left of {PROFILES} profiles of {what}"
    );
}

/// The survivor is a slot whose profile came last.
fn profiles_of_requests(strategy: &SlotMatchingStrategy) {
    let mut manager = manager_with(strategy);
    let mut requests = Requests::default();
    let mut allocation_ids = Vec::with_capacity(PROFILES);
    let held_before = held_bytes();
    for n in 1..=PROFILES {
        let request = requests.request(growing_profile(n));
        allocation_ids.push(request.allocation_id());
        let registered = manager.register_slot_request(request);
        assert_eq!(registered, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }
    let survivor = manager.register_task_manager(connection(0, Prompt), &report(0, |_| usual_profile(), |_| false));
    assert_eq!(survivor, Ok(RegistrationOutcome::Registered));
    assert!(held_bytes() > held_before + 100 * PROFILES, "the peak takes memory");
    for allocation_id in allocation_ids.drain(..) {
        let cancelled = manager.unregister_slot_request(allocation_id);
        assert_eq!(cancelled, CancelOutcome::Cancelled);
    }
    assert_given_back(held_before, "requests");
    assert_eq!(manager.check_invariants(), Ok(()));
}

/// The survivor is a request whose profile came last.
fn profiles_of_slots(strategy: &SlotMatchingStrategy) {
    let mut manager = manager_with(strategy);
    let mut requests = Requests::default();
    let held_before = held_bytes();
    let task_managers = 0..PROFILES / SLOTS_PER_TASK_MANAGER;
    for task_manager in task_managers.clone() {
        let report = report(task_manager, growing_profile, |_| false);
        let registered = manager.register_task_manager(connection(task_manager, Prompt), &report);
        assert_eq!(registered, Ok(RegistrationOutcome::Registered));
    }
    let survivor = manager.register_slot_request(requests.request(growing_profile(PROFILES)));
    assert_eq!(survivor, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    assert!(held_bytes() > held_before + 100 * PROFILES, "the peak takes memory");
    for task_manager in task_managers {
        let unregistered = manager.unregister_task_manager(instance_id(task_manager), "lost");
        assert_eq!(unregistered, UnregistrationOutcome::Unregistered);
    }
    assert_given_back(held_before, "slots");
    assert_eq!(manager.check_invariants(), Ok(()));
}
