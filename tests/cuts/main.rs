//! Random cuts and frees on dynamic and static workers, compared with a naive scan over all of them.
//!
//! `CUTS_STEPS=10000000 cargo test --release --test cuts` makes more steps with each strategy.
//! `CUTS_SEED=7` begins with another seed.
//!
//! All task executors acknowledge at once, so each call decides whom it serves. The model in
//! `tests/model` has the rules for failures, reports and promises.

#[allow(dead_code, reason = "shared with the benches")]
#[path = "../../benches/common/outside.rs"]
mod outside;

mod naive;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RegistrationOutcome, ReportOutcome, SlotFreedOutcome,
    SlotRequestOutcome, UnblockOutcome, UnregistrationOutcome,
};
use slot_manager::{
    AllocationId, DynamicResources, InstanceId, JobId, ResourceId, ResourceProfile, SlotId, SlotManagerConfig,
    SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
};

use crate::naive::{Amounts, Naive};
use crate::outside::{Count, Manager, Prompt, started_with};

/// The steps of each seed.
const STEPS_OF_SEED: u64 = 20_000;

/// The steps without `CUTS_STEPS`.
const STEPS: u64 = if cfg!(debug_assertions) { 40_000 } else { 400_000 };

/// The largest number of workers.
const WORKERS: u128 = 40;

/// The largest number of requests that wait.
const WAITING: usize = 60;

/// After so many steps everything is compared, not only what the last step changed.
const STEPS_BETWEEN_CHECKS: u64 = 100;

const JOB: JobId = JobId::from_u128(7);

#[test]
fn first_fit_equals_a_naive_scan() {
    equals_a_naive_scan(&SlotMatchingStrategy::FirstFit);
}

#[test]
fn best_fit_equals_a_naive_scan() {
    equals_a_naive_scan(&SlotMatchingStrategy::BestFit);
}

#[test]
fn least_utilization_equals_a_naive_scan() {
    equals_a_naive_scan(&SlotMatchingStrategy::LeastUtilization);
}

#[test]
fn most_utilization_equals_a_naive_scan() {
    equals_a_naive_scan(&SlotMatchingStrategy::MostUtilization);
}

fn equals_a_naive_scan(strategy: &SlotMatchingStrategy) {
    let variable = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let steps = variable("CUTS_STEPS").unwrap_or(STEPS);
    let first = variable("CUTS_SEED").unwrap_or(0);
    for seed in first..first + steps.div_ceil(STEPS_OF_SEED) {
        let mut pair = Pair::new(seed, strategy);
        for step in 0..STEPS_OF_SEED {
            pair.step();
            if step % STEPS_BETWEEN_CHECKS == 0 {
                pair.check(&format!("seed {seed}, step {step}"));
            }
        }
    }
}

/// A manager and the naive scan, with the same inputs.
struct Pair {
    manager: Manager<Prompt>,
    naive: Naive,
    random: ChaCha8Rng,
    registrations: u128,
    requests: u128,
}

impl Pair {
    fn new(seed: u64, strategy: &SlotMatchingStrategy) -> Self {
        let config = SlotManagerConfig::default().with_slot_matching_strategy(strategy.clone());
        Self {
            manager: started_with(config, Count::default()).0,
            naive: Naive::new(strategy),
            random: ChaCha8Rng::seed_from_u64(seed),
            registrations: 0,
            requests: 0,
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..3 => self.register(),
            3..4 => self.unregister(),
            4..6 => self.toggle_blocked(),
            6..12 => self.report(),
            12..16 => self.cancel(),
            16..56 => self.free(),
            _ => self.request(),
        }
    }

    fn register(&mut self) {
        let worker = self.random.random_range(0..WORKERS);
        if self.naive.is_registered(worker) {
            return;
        }
        self.registrations += 1;
        let static_slots = self.random.random_range(0..5_u32).saturating_sub(2);
        let total = self.total();
        let default_slot = self.random.random_bool(0.5).then(|| self.shape());
        let report = match static_slots {
            0 => SlotReport::of_dynamic(resources(total, default_slot), vec![]),
            slots => {
                let status = |number| SlotStatus::free(SlotId::new(name(worker), number), profile(total));
                (0..slots).map(status).collect()
            }
        };
        let connection = TaskExecutorConnection::new(name(worker), instance(self.registrations), Prompt);
        let outcome = self.manager.register_task_manager(connection, &report);
        assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        self.naive
            .register(worker, self.registrations, total, static_slots, default_slot);
    }

    fn unregister(&mut self) {
        let Some((_, registration)) = self.any_worker() else {
            return;
        };
        let outcome = self.manager.unregister_task_manager(instance(registration), "lost");
        assert_eq!(outcome, UnregistrationOutcome::Unregistered);
        self.naive.unregister(registration);
    }

    fn toggle_blocked(&mut self) {
        let Some((worker, _)) = self.any_worker() else {
            return;
        };
        let id = ResourceId::new(name(worker));
        match self.naive.toggle_blocked(worker) {
            true => assert_eq!(self.manager.block(&id), BlockOutcome::Blocked),
            false => assert_eq!(self.manager.unblock(&id), UnblockOutcome::Unblocked),
        }
    }

    /// A dynamic worker reports what it holds, and sometimes that it has less left.
    fn report(&mut self) {
        let Some((worker, registration)) = self.any_worker() else {
            return;
        };
        let bound = self.random.random_bool(0.5).then(|| self.total());
        let Some((total, default_slot, held)) = self.naive.report(registration, bound) else {
            return;
        };
        let statuses = held.into_iter().map(|(number, cut, id)| {
            let slot_id = SlotId::new(name(worker), number);
            SlotStatus::allocated(slot_id, profile(cut), AllocationId::from_u128(id), JOB)
        });
        let mut resources = resources(total, default_slot);
        if let Some(bound) = bound {
            resources = resources.with_free(profile(bound));
        }
        let report = SlotReport::of_dynamic(resources, statuses.collect());
        let outcome = self.manager.report_slot_status(instance(registration), &report);
        assert_eq!(outcome, Ok(ReportOutcome::Applied));
    }

    fn request(&mut self) {
        if self.naive.num_waiting() >= WAITING {
            return;
        }
        self.requests += 1;
        let id = self.requests;
        let shape = self.random.random_bool(0.9).then(|| self.shape());
        let required = shape.map_or(ResourceProfile::UNKNOWN, profile);
        let request = SlotRequest::new(JOB, AllocationId::from_u128(id), required, "job-master");
        let expected = match self.naive.request(id, shape) {
            Some((worker, number)) => AllocationStatus::Granted {
                slot_id: SlotId::new(name(worker), number),
            },
            None => AllocationStatus::Waiting,
        };
        let outcome = self.manager.register_slot_request(request);
        assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(expected)));
    }

    fn free(&mut self) {
        let held = self.naive.held();
        if held.is_empty() {
            return;
        }
        let (id, worker, number) = held[self.random.random_range(0..held.len())];
        let freed = SlotFreed::new(SlotId::new(name(worker), number), AllocationId::from_u128(id));
        assert_eq!(self.manager.slot_freed(&freed), SlotFreedOutcome::Freed);
        self.naive.free(id);
    }

    fn cancel(&mut self) {
        let waiting = self.naive.num_waiting();
        if waiting == 0 {
            return;
        }
        let id = self.naive.cancel(self.random.random_range(0..waiting));
        let outcome = self.manager.unregister_slot_request(AllocationId::from_u128(id));
        assert_eq!(outcome, CancelOutcome::Cancelled);
    }

    fn any_worker(&mut self) -> Option<(u128, u128)> {
        let workers = self.naive.workers();
        (!workers.is_empty()).then(|| workers[self.random.random_range(0..workers.len())])
    }

    /// Returns the cores, memory and GPUs of a worker.
    fn total(&mut self) -> Amounts {
        let totals = [[16, 64, 0], [16, 64, 4], [8, 128, 0], [2, 2, 8], [0, 0, 0]];
        totals[self.random.random_range(0..totals.len())]
    }

    /// Returns the cores, memory and GPUs of a request.
    fn shape(&mut self) -> Amounts {
        let gpus = [0, 0, 0, 1, 2][self.random.random_range(0..5)];
        [self.random.random_range(0..6), self.random.random_range(0..30), gpus]
    }

    /// Compares all grants, all waiting requests and what remains of all workers.
    fn check(&self, place: &str) {
        if let Err(violation) = self.manager.check_invariants() {
            panic!("{place}: {violation}");
        }
        let mut held: Vec<_> = (self.manager.slots())
            .filter_map(|slot| Some((slot.allocation_id()?.as_u128(), slot.slot_id())))
            .collect();
        held.sort_unstable();
        let mut expected: Vec<_> = (self.naive.held().into_iter())
            .map(|(id, worker, number)| (id, SlotId::new(name(worker), number)))
            .collect();
        expected.sort_unstable();
        assert_eq!(held, expected, "{place}");
        let waiting = self.manager.pending_slot_requests();
        let mut waiting: Vec<_> = waiting.map(|request| request.allocation_id().as_u128()).collect();
        waiting.sort_unstable();
        assert_eq!(waiting, self.naive.waiting(), "{place}");
        for (_, registration) in self.naive.workers() {
            let worker = self.manager.task_manager(instance(registration)).expect("registered");
            let remainder = self.naive.remainder(registration).map(profile);
            assert_eq!(worker.remaining_resources(), remainder, "{place}");
        }
    }
}

fn name(worker: u128) -> String {
    format!("worker-{worker}")
}

fn instance(registration: u128) -> InstanceId {
    InstanceId::from_u128(registration)
}

fn resources(total: Amounts, default_slot: Option<Amounts>) -> DynamicResources {
    let resources = DynamicResources::new(profile(total));
    match default_slot {
        Some(default_slot) => resources.with_default_slot(profile(default_slot)),
        None => resources,
    }
}

fn profile([cores, memory, gpus]: Amounts) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(f64::from(cores))
        .managed_memory_bytes(memory.into())
        .extended_resource("gpu", f64::from(gpus))
        .build()
        .expect("small amounts")
}
