//! Dynamic workers, half and nearly full: slots of one or of many shapes are cut, and freed.
//!
//! The sizes are numbers of workers. Each has 16 cores, so at 50 % it has about as many slots as a
//! static task manager of the other groups. The requests have 1, 64 or 256 shapes of up to four
//! cores. Each shape is requested equally often. Workers are chosen by first fit, unless the group
//! names another strategy.

use criterion::Criterion;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, RegistrationOutcome, ReportOutcome, SlotFreedOutcome, SlotRequestOutcome,
    UnregistrationOutcome,
};
use slot_manager::{AllocationId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, SlotRequest, SlotStatus};

use crate::measure::{BATCH, BATCH_OF_REPORTS, Round, bench, group};
use crate::messages::{JOB, Registered, Requests, connection, instance_id};
use crate::outside::{Count, Manager, Prompt, started_with};
use crate::timing::timed;
use crate::{is_test, sizes};

const CORES: f64 = 16.0;
const HEAP_MEBIBYTES: u64 = 64 << 10;

/// The largest number of workers, of which each has some ten slots. Only requests and frees of few
/// shapes are measured with more.
const MOST_WORKERS: usize = 100_000;

/// The largest number of workers that a test of the benches fills.
const MOST_WORKERS_IN_TEST: usize = 1_000;

/// The numbers of shapes of requests.
const SHAPES: [usize; 3] = [1, 64, 256];

/// The number of shapes with other strategies than first fit, and the largest with more workers.
const FEW_SHAPES: usize = 64;

/// The percentages of cores in use.
const USES: [u32; 2] = [50, 95];

fn numbers_of_workers() -> impl Iterator<Item = usize> {
    let largest = if is_test() { MOST_WORKERS_IN_TEST } else { usize::MAX };
    sizes().filter(move |workers| *workers <= largest)
}

pub(crate) fn groups(criterion: &mut Criterion) {
    let all_states = || numbers_of_workers().flat_map(|workers| SHAPES.map(|shapes| (workers, shapes)));
    let states = || all_states().filter(|(workers, _)| *workers <= MOST_WORKERS);
    let states_of_requests =
        || all_states().filter(|(workers, shapes)| *workers <= MOST_WORKERS || *shapes <= FEW_SHAPES);
    for percent in USES {
        let mut requests = group(
            criterion,
            &format!("dynamic workers {percent} % used: request served at once"),
        );
        for (workers, shapes) in states_of_requests() {
            let name = format!("{workers} workers, {shapes} shapes");
            let set_up = || DynamicCluster::new(workers, shapes, percent);
            bench(&mut requests, name, set_up, |cluster| cluster.exchange().0);
        }
        requests.finish();
        let mut frees = group(criterion, &format!("dynamic workers {percent} % used: free"));
        for (workers, shapes) in states_of_requests() {
            let name = format!("{workers} workers, {shapes} shapes");
            let set_up = || DynamicCluster::new(workers, shapes, percent);
            bench(&mut frees, name, set_up, |cluster| cluster.exchange().1);
        }
        frees.finish();
    }
    by_strategy(criterion);
    let mut reports = group(criterion, "dynamic workers 95 % used: unchanged report");
    for (workers, shapes) in states() {
        let name = format!("{workers} workers, {shapes} shapes");
        let set_up = || DynamicCluster::new(workers, shapes, 95);
        bench(&mut reports, name, set_up, DynamicCluster::report);
    }
    reports.finish();
    let mut losses = group(criterion, "dynamic workers 95 % used: worker lost");
    for (workers, shapes) in states() {
        let name = format!("{workers} workers, {shapes} shapes");
        let set_up = || DynamicCluster::new(workers, shapes, 95);
        bench(&mut losses, name, set_up, DynamicCluster::lose_workers);
    }
    losses.finish();
}

/// Best fit is the same as most utilization here.
fn by_strategy(criterion: &mut Criterion) {
    let strategies = [
        ("least utilization", SlotMatchingStrategy::LeastUtilization),
        ("most utilization", SlotMatchingStrategy::MostUtilization),
    ];
    for percent in USES {
        for (name, strategy) in &strategies {
            let title = format!("dynamic workers {percent} % used, {name}");
            let mut requests = group(criterion, &format!("{title}: request served at once"));
            for workers in numbers_of_workers().filter(|workers| *workers <= MOST_WORKERS) {
                let name = format!("{workers} workers, {FEW_SHAPES} shapes");
                let set_up = || DynamicCluster::with(strategy, workers, FEW_SHAPES, percent);
                bench(&mut requests, name, set_up, |cluster| cluster.exchange().0);
            }
            requests.finish();
            let mut frees = group(criterion, &format!("{title}: free"));
            for workers in numbers_of_workers().filter(|workers| *workers <= MOST_WORKERS) {
                let name = format!("{workers} workers, {FEW_SHAPES} shapes");
                let set_up = || DynamicCluster::with(strategy, workers, FEW_SHAPES, percent);
                bench(&mut frees, name, set_up, |cluster| cluster.exchange().1);
            }
            frees.finish();
        }
    }
}

/// Returns shape `n` of `shapes`, all different: a quarter of a core to four cores, and, out of
/// proportion, one to 16 GiB.
fn shape(n: usize, shapes: usize) -> ResourceProfile {
    if shapes == 1 {
        return resources(1.0, 4 << 10);
    }
    resources(0.25 * (1 + n % 16) as f64, 1024 * (1 + n as u64 / 16))
}

fn resources(cores: f64, heap_mebibytes: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(heap_mebibytes)
        .build()
        .expect("the amounts are small")
}

/// A slot that an allocation holds, with its shape.
struct Held {
    slot_id: SlotId,
    allocation_id: AllocationId,
    shape: usize,
}

/// Dynamic workers of which a part is in use.
struct DynamicCluster {
    manager: Manager<Prompt>,
    requests: Requests,
    random: ChaCha8Rng,
    shapes: usize,
    held: Vec<Held>,
    /// The number of registrations so far, of which each has an instance id.
    registrations: usize,
    workers: usize,
}

impl DynamicCluster {
    fn new(workers: usize, shapes: usize, percent: u32) -> Self {
        Self::with(&SlotMatchingStrategy::FirstFit, workers, shapes, percent)
    }

    fn with(strategy: &SlotMatchingStrategy, workers: usize, shapes: usize, percent: u32) -> Self {
        let config = SlotManagerConfig::default().with_slot_matching_strategy(strategy.clone());
        let mut cluster = Self {
            manager: started_with(config, Count::default()).0,
            requests: Requests::default(),
            random: ChaCha8Rng::seed_from_u64(5810),
            shapes,
            held: Vec::new(),
            registrations: 0,
            workers,
        };
        for _ in 0..workers {
            cluster.register();
        }
        let wanted = workers as f64 * CORES * f64::from(percent) / 100.0;
        let mut used = 0.0;
        while used < wanted {
            let n = cluster.random.random_range(0..shapes);
            used += shape(n, shapes).cpu_cores().unwrap_or_default();
            cluster.request(n);
        }
        // Shapes that come and go in another order leave gaps on all workers.
        for _ in 0..cluster.held.len().div_ceil(BATCH) * 2 {
            cluster.exchange();
        }
        cluster.manager.run_until_stalled();
        cluster
    }

    fn register(&mut self) {
        let report = SlotReport::of_dynamic(resources(CORES, HEAP_MEBIBYTES), vec![]);
        let outcome = self
            .manager
            .register_task_manager(connection(self.registrations, Prompt), &report);
        assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        self.registrations += 1;
    }

    fn request(&mut self, n: usize) {
        let request = self.requests.request(shape(n, self.shapes));
        let allocation_id = request.allocation_id();
        let registered = self.manager.register_slot_request(request);
        self.note(n, allocation_id, registered);
    }

    /// Notes a grant. A request that no worker fits is cancelled.
    fn note(&mut self, shape: usize, allocation_id: AllocationId, registered: Registered) {
        match registered.expect("a new request") {
            SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }) => self.held.push(Held {
                slot_id,
                allocation_id,
                shape,
            }),
            SlotRequestOutcome::Accepted(AllocationStatus::Waiting) => {
                let outcome = self.manager.unregister_slot_request(allocation_id);
                assert_eq!(outcome, CancelOutcome::Cancelled);
            }
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Frees slots picked at random, then requests slots of the same shapes in another order. Returns
    /// the rounds of requests and of frees.
    fn exchange(&mut self) -> (Round, Round) {
        let count = BATCH.min(self.held.len());
        let picked: Vec<_> = (0..count)
            .map(|_| self.held.swap_remove(self.random.random_range(0..self.held.len())))
            .collect();
        let messages: Vec<_> = picked
            .iter()
            .map(|held| {
                let worker = held.slot_id.resource_id().as_str().to_owned();
                SlotFreed::new(SlotId::new(worker, held.slot_id.slot_number()), held.allocation_id)
            })
            .collect();
        let mut shapes: Vec<_> = picked.iter().map(|held| held.shape).collect();
        let manager = &mut self.manager;
        let (free_time, freed) = timed(|| {
            let outcomes = messages.iter().map(|message| manager.slot_freed(message));
            outcomes.filter(|outcome| *outcome == SlotFreedOutcome::Freed).count()
        });
        assert_eq!(freed, count);
        shapes.shuffle(&mut self.random);
        let batch: Vec<_> = shapes
            .iter()
            .map(|n| self.requests.request(shape(*n, self.shapes)))
            .collect();
        let ids: Vec<_> = batch.iter().map(SlotRequest::allocation_id).collect();
        let mut outcomes = Vec::with_capacity(count);
        let manager = &mut self.manager;
        let (request_time, ()) = timed(|| {
            for request in batch {
                outcomes.push(manager.register_slot_request(request));
            }
        });
        for ((shape, id), registered) in shapes.into_iter().zip(ids).zip(outcomes) {
            self.note(shape, id, registered);
        }
        let (mut requested, mut freed) = (Round::default(), Round::default());
        requested.add(count, request_time);
        freed.add(count, free_time);
        (requested, freed)
    }

    /// Returns the unchanged report of a worker.
    fn report_of(&self, registration: usize) -> SlotReport {
        let registered = self
            .manager
            .task_manager(instance_id(registration))
            .expect("registered");
        let slots = registered.slots().map(|slot| {
            let slot_id = SlotId::new(
                slot.slot_id().resource_id().as_str().to_owned(),
                slot.slot_id().slot_number(),
            );
            let allocation_id = slot.allocation_id().expect("a cut is held");
            SlotStatus::allocated(slot_id, slot.resource_profile().clone(), allocation_id, JOB)
        });
        SlotReport::of_dynamic(resources(CORES, HEAP_MEBIBYTES), slots.collect())
    }

    /// Lets workers report what is known.
    fn report(&mut self) -> Round {
        let first = self.random.random_range(0..self.workers);
        let workers = (0..BATCH_OF_REPORTS.min(self.workers)).map(|n| (first + n) % self.workers);
        let reports: Vec<_> = workers
            .map(|worker| (instance_id(worker), self.report_of(worker)))
            .collect();
        let changes = self.manager.changes();
        let manager = &mut self.manager;
        let (time, applied) = timed(|| {
            let outcomes = reports
                .iter()
                .map(|(id, report)| manager.report_slot_status(*id, report));
            outcomes
                .filter(|outcome| *outcome == Ok(ReportOutcome::Applied))
                .count()
        });
        assert_eq!((applied, self.manager.changes()), (reports.len(), changes));
        let mut round = Round::default();
        round.add(reports.len(), time);
        round
    }

    /// Loses all workers one after the other. Then as many register, and the same shapes are requested
    /// again.
    fn lose_workers(&mut self) -> Round {
        let lost = self.registrations - self.workers..self.registrations;
        let manager = &mut self.manager;
        let (time, unregistered) = timed(|| {
            let outcomes = lost.map(|n| manager.unregister_task_manager(instance_id(n), "heartbeat timeout"));
            outcomes
                .filter(|outcome| *outcome == UnregistrationOutcome::Unregistered)
                .count()
        });
        assert_eq!(unregistered, self.workers);
        for _ in 0..self.workers {
            self.register();
        }
        for held in std::mem::take(&mut self.held) {
            self.request(held.shape);
        }
        let mut round = Round::default();
        round.add(unregistered, time);
        round
    }
}
