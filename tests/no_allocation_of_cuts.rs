//! A warm manager of dynamic workers in a steady state allocates nothing, with any matching strategy
//! and also with extended resources.
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

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, RegistrationOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome,
};
use slot_manager::{AllocationId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, SlotStatus};

use crate::allocator::num_allocations;
use crate::messages::{JOB, Requests, connection, instance_id};
use crate::outside::{Count, Manager, Prompt, started_with};

const WORKERS: usize = 100;
const SHAPES: usize = 20;

/// The number of cuts that are held. About as many more would fit.
const HELD: usize = 500;

const WARM_UP: usize = 20_000;
const COUNTED: usize = 20_000;

/// Returns the profile of a worker.
fn total() -> ResourceProfile {
    resources(16.0, 64 << 10, 4.0)
}

/// Returns shape `n` of requests.
fn shape(n: usize) -> ResourceProfile {
    resources(0.5 * (1 + n % 5) as f64, 512 * (1 + n as u64 % 7), 0.1 * (n % 3) as f64)
}

fn resources(cores: f64, heap_mebibytes: u64, gpus: f64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(heap_mebibytes)
        .extended_resource("gpu", gpus)
        .build()
        .expect("small amounts")
}

struct Held {
    slot_id: SlotId,
    allocation_id: AllocationId,
    shape: usize,
}

struct Cluster {
    manager: Manager<Prompt>,
    requests: Requests,
    random: ChaCha8Rng,
    held: Vec<Held>,
    allocations: BTreeMap<&'static str, usize>,
}

impl Cluster {
    fn new(strategy: SlotMatchingStrategy) -> Self {
        let config = SlotManagerConfig::default().with_slot_matching_strategy(strategy);
        let mut cluster = Self {
            manager: started_with(config, Count::default()).0,
            requests: Requests::default(),
            random: ChaCha8Rng::seed_from_u64(5810),
            held: Vec::new(),
            allocations: BTreeMap::new(),
        };
        for worker in 0..WORKERS {
            let report = SlotReport::of_dynamic(total(), vec![]);
            let outcome = cluster
                .manager
                .register_task_manager(connection(worker, Prompt), &report);
            assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        }
        for n in 0..HELD {
            cluster.request(n % SHAPES);
        }
        // As many shapes are in use as ever, so that no profile is new to the manager.
        cluster.manager.run_until_stalled();
        cluster
    }

    fn count<T>(&mut self, name: &'static str, operation: impl FnOnce(&mut Manager<Prompt>) -> T) -> T {
        let before = num_allocations();
        let result = operation(&mut self.manager);
        let allocated = num_allocations() - before;
        *self.allocations.entry(name).or_default() += allocated;
        result
    }

    fn request(&mut self, shape_number: usize) {
        let request = self.requests.request(shape(shape_number));
        let allocation_id = request.allocation_id();
        let registered = self.count("request served at once", |manager| {
            manager.register_slot_request(request)
        });
        match registered {
            Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })) => self.held.push(Held {
                slot_id,
                allocation_id,
                shape: shape_number,
            }),
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Frees a slot picked at random, and requests one of its shape.
    fn exchange(&mut self) {
        let picked = self.random.random_range(0..self.held.len());
        let held = self.held.swap_remove(picked);
        let freed = SlotFreed::new(held.slot_id, held.allocation_id);
        let outcome = self.count("free", |manager| manager.slot_freed(&freed));
        assert_eq!(outcome, SlotFreedOutcome::Freed);
        self.request(held.shape);
    }

    /// A worker reports what the manager knows.
    fn report(&mut self) {
        let worker = self.random.random_range(0..WORKERS);
        let registered = self.manager.task_manager(instance_id(worker)).expect("registered");
        let slots = registered.slots().map(|slot| {
            let allocation_id = slot.allocation_id().expect("a cut is held");
            SlotStatus::allocated(slot.slot_id(), slot.resource_profile().clone(), allocation_id, JOB)
        });
        let report = SlotReport::of_dynamic(total(), slots.collect());
        let reported = self.count("unchanged report", |manager| {
            manager.report_slot_status(instance_id(worker), &report)
        });
        assert_eq!(reported, Ok(ReportOutcome::Applied));
    }
}

#[test]
fn cuts_allocate_nothing_in_a_steady_state() {
    allocate_nothing_with(SlotMatchingStrategy::FirstFit);
    allocate_nothing_with(SlotMatchingStrategy::LeastUtilization);
    allocate_nothing_with(SlotMatchingStrategy::MostUtilization);
}

fn allocate_nothing_with(strategy: SlotMatchingStrategy) {
    let mut cluster = Cluster::new(strategy.clone());
    for cycle in 0..WARM_UP + COUNTED {
        if cycle == WARM_UP {
            cluster.allocations.clear();
        }
        cluster.exchange();
        cluster.report();
    }
    assert_eq!(cluster.manager.check_invariants(), Ok(()));
    assert_eq!(cluster.manager.overview().slots.allocated.slots, HELD);
    let allocating: Vec<_> = cluster.allocations.iter().filter(|(_, count)| **count > 0).collect();
    assert!(
        allocating.is_empty(),
        "allocations in {COUNTED} cycles with {strategy:?}: {allocating:?}"
    );
}
