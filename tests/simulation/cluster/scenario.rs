//! The scenario of a seed, drawn before the first event: configuration, size of the cluster, and
//! rates of faults.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::config::Capacity;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::{DynamicResources, ResourceProfile, SlotManagerConfig};

use crate::cluster::capacity_rules;
use crate::cluster::network::transport::NetworkConditions;

/// Cores and mebibytes of heap.
const SHAPES: [(u64, u64); 3] = [(1, 100), (2, 100), (2, 400)];

/// The kinds of the workers of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    Static,
    /// Some workers or all are dynamic. All else is drawn as for static ones.
    Dynamic,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) config: SlotManagerConfig,
    /// The number of random events before the faults stop, and the longest time between two of
    /// them.
    pub(crate) random_events: usize,
    pub(crate) pace: Duration,
    pub(crate) workers: usize,
    pub(crate) most_workers: usize,
    /// The probability that a worker is dynamic.
    pub(crate) dynamic_workers: f64,
    /// Whether dynamic workers report the resources that are free. The probability that a report
    /// names fewer.
    pub(crate) reports_free: bool,
    pub(crate) withheld_resources: f64,
    /// The number of jobs that request single slots.
    pub(crate) jobs: u128,
    /// The number of jobs that declare how many slots they need in all, and whether their
    /// declarations have revisions.
    pub(crate) declaring_jobs: u128,
    pub(crate) declared_revisions: bool,
    /// Whether the resource manager starts and stops workers. Otherwise the cluster is fixed.
    pub(crate) elastic: bool,
    /// Whether task executors send the revisions of their slot tables, and whether messages about
    /// freed slots carry them too.
    pub(crate) revisions: bool,
    pub(crate) freed_revisions: bool,
    /// The time after which a task executor frees an unused slot.
    pub(crate) slot_timeout: Duration,
    pub(crate) network: NetworkConditions,
    /// Whether task executors answer within the call.
    pub(crate) answers_in_call: bool,
    /// The probability that the answers of a task executor are inputs. Its messages to the manager
    /// then travel in the order in which they were sent. Otherwise answers complete futures, and
    /// messages overtake each other.
    pub(crate) answers_as_inputs: f64,
    /// The length of a lease, if leaderships end by themselves, and the rates of its faults: the
    /// leader does not renew it in time, or its process is stopped.
    pub(crate) lease: Option<Duration>,
    pub(crate) missed_renewals: f64,
    pub(crate) stops: f64,
    /// The probability that a new leader expects the workers of the former one.
    pub(crate) expectations: f64,
    /// The probability that a task executor refuses a release check or answers it later.
    pub(crate) release_refusals: f64,
    /// The probability that a process of a task executor is bad: see `Temper`.
    pub(crate) bad_workers: f64,
    /// The probability that a new worker has fewer slots than promised, or names no worker request.
    pub(crate) unlike_promised: f64,
    /// A job whose slot requests fail on every worker until the faults stop.
    pub(crate) poisoned_job: Option<u128>,
    /// The probability that an operator acts in a random event.
    pub(crate) operator_actions: f64,
    /// The probabilities of an outage and of a move of the leadership in a random event.
    pub(crate) outages: f64,
    pub(crate) leadership_moves: f64,
    /// The probability that the manager is not driven after an event.
    pub(crate) late_driving: f64,
}

impl Scenario {
    /// Returns the numbers of the jobs that declare.
    pub(crate) fn numbers_of_declaring_jobs(&self) -> RangeInclusive<u128> {
        self.jobs + 1..=self.num_jobs()
    }

    /// Returns the number of all jobs.
    pub(crate) fn num_jobs(&self) -> u128 {
        self.jobs + self.declaring_jobs
    }

    /// Returns whether task executors live on and the manager hears all that they send, in the
    /// order in which they sent it. Then no grant is lost to a report that shows the slot as free:
    /// the message that it was freed comes first.
    pub(crate) fn is_ordered(&self) -> bool {
        let network = &self.network;
        let faults = [network.loss, network.reordering, self.outages];
        let all_are_inputs = self.answers_as_inputs >= 1.0 && !self.answers_in_call;
        all_are_inputs && faults.iter().all(|rate| *rate == 0.0) && self.lease.is_none() && !self.elastic
    }

    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let strategies = [
            SlotMatchingStrategy::FirstFit,
            SlotMatchingStrategy::BestFit,
            SlotMatchingStrategy::LeastUtilization,
            SlotMatchingStrategy::MostUtilization,
        ];
        let pause = rng.random_range(0..50);
        let mut config = SlotManagerConfig::default()
            .with_request_timeout(timeout(rng, 3_000))
            .with_rpc_timeout(timeout(rng, 300))
            .with_task_manager_timeout(timeout(rng, 1_000))
            .with_worker_registration_timeout(timeout(rng, 1_000))
            .with_retry_backoff(
                Duration::from_millis(pause),
                Duration::from_millis(pause * rng.random_range(1..20)),
            )
            .with_slot_matching_strategy(strategies[rng.random_range(0..4)].clone());
        config.requirement_check_delay = Duration::from_millis([0, 5, 50, 300][rng.random_range(0..4)]);
        config.reservation_delay = [Duration::MAX, Duration::from_millis(200)][rng.random_range(0..2)];
        if rng.random_bool(0.1) {
            // The first release check expires when the next one is due.
            config.rpc_timeout = config.task_manager_timeout;
        }
        if rng.random_bool(0.2) {
            config = config.with_max_pending_requests(Some(rng.random_range(1..6)));
        }
        if rng.random_bool(0.2) {
            config = config.with_initial_capacity(Capacity {
                task_managers: rng.random_range(0..20),
                slots: rng.random_range(0..20),
                pending_requests: rng.random_range(0..20),
            });
        }
        config = match rng.random_range(0..3) {
            0 => config
                .with_max_start_failure_rate(rng.random_range(1..5))
                .with_start_retry_interval(Duration::from_millis(rng.random_range(1..300))),
            _ => config.with_max_start_failure_rate(0),
        };
        let config = capacity_rules::draw(rng, config);
        let workers = rng.random_range(0..6);
        let bad = [0.0, 0.02, 0.1, 0.3];
        let mut any = |of: [f64; 4]| of[rng.random_range(0..4)];
        let (loss, duplication, delay) = (any(bad), any(bad), any(bad));
        let (release_refusals, operator_actions) = (any([0.0, 0.3, 0.6, 0.9]), any([0.0, 0.0, 0.05, 0.2]));
        let (outages, leadership_moves, late_driving) = (
            any([0.0, 0.01, 0.03, 0.08]),
            any([0.0, 0.0, 0.01, 0.03]),
            any([0.0, 0.0, 0.1, 0.5]),
        );
        let (reordering, missed_renewals, stops) = (
            any([0.0, 0.0, 0.02, 0.2]),
            any([0.0, 0.05, 0.2, 0.5]),
            any([0.0, 0.01, 0.03, 0.08]),
        );
        let (bad_workers, unlike_promised) = (any([0.0, 0.0, 0.3, 0.6]), any([0.0, 0.0, 0.2, 0.6]));
        let revisions = rng.random_bool(0.7);
        let lease = rng.random_bool(0.4);
        Self {
            config,
            random_events: rng.random_range(50..200),
            pace: Duration::from_millis(rng.random_range(5..120)),
            workers,
            most_workers: workers + rng.random_range(1..5),
            dynamic_workers: 0.0,
            reports_free: true,
            withheld_resources: 0.0,
            jobs: rng.random_range(1..5),
            declaring_jobs: rng.random_range(0..4),
            declared_revisions: rng.random_bool(0.7),
            elastic: rng.random_bool(0.6),
            revisions,
            freed_revisions: revisions && rng.random_bool(0.8),
            slot_timeout: Duration::from_millis(rng.random_range(20..2_000)),
            network: NetworkConditions {
                loss,
                duplication,
                delay,
                reordering,
                latency: Duration::from_millis(rng.random_range(1..20)),
                longest_delay: Duration::from_millis(rng.random_range(20..1_500)),
            },
            answers_in_call: rng.random_bool(0.25),
            answers_as_inputs: [0.0, 0.5, 1.0, 1.0][rng.random_range(0..4)],
            lease: lease.then(|| Duration::from_millis(rng.random_range(100..2_000))),
            missed_renewals,
            stops,
            expectations: [0.0, 1.0][rng.random_range(0..2)],
            release_refusals,
            bad_workers,
            unlike_promised,
            poisoned_job: rng.random_bool(0.2).then_some(1),
            operator_actions,
            outages,
            leadership_moves,
            late_driving,
        }
    }
}

impl Kinds {
    /// Draws the scenario of workers of these kinds.
    pub(crate) fn draw(self, seed: u64, rng: &mut ChaCha8Rng) -> Scenario {
        let of_static_workers = Scenario::draw(rng);
        if self == Self::Static {
            return of_static_workers;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        Scenario {
            dynamic_workers: [0.5, 0.5, 1.0][rng.random_range(0..3)],
            reports_free: rng.random_bool(0.7),
            withheld_resources: [0.0, 0.0, 0.1, 0.4][rng.random_range(0..4)],
            ..of_static_workers
        }
    }
}

/// Draws a timeout: mostly up to three times `typical` milliseconds, sometimes zero or infinite.
fn timeout(rng: &mut ChaCha8Rng, typical: u64) -> Duration {
    match rng.random_range(0..20) {
        0 => Duration::ZERO,
        1 | 2 => Duration::MAX,
        3 => Duration::from_nanos(rng.random_range(1..3_000_000)),
        _ => Duration::from_millis(rng.random_range(typical / 10..3 * typical)),
    }
}

/// Draws one of three profiles, some of which fit others.
pub(crate) fn profile(rng: &mut ChaCha8Rng) -> ResourceProfile {
    shape(rng.random_range(0..SHAPES.len()))
}

/// Draws the slots that a job needs in all, by profile. Sometimes it needs none.
pub(crate) fn needs(rng: &mut ChaCha8Rng) -> Vec<(ResourceProfile, u32)> {
    let mut needs = Vec::new();
    for number in 0..SHAPES.len() {
        if rng.random_bool(0.5) {
            needs.push((shape(number), rng.random_range(1..4)));
        }
    }
    if rng.random_bool(0.5) {
        needs.reverse();
    }
    needs
}

/// Returns a profile that fits in every slot.
pub(crate) fn smallest_profile() -> ResourceProfile {
    shape(0)
}

/// Returns the profile whose slots fit all requests.
pub(crate) fn largest_profile() -> ResourceProfile {
    shape(SHAPES.len() - 1)
}

fn shape(number: usize) -> ResourceProfile {
    let (cores, heap) = SHAPES[number];
    ResourceProfile::builder()
        .cpu_cores(cores as f64)
        .task_heap_memory_mebibytes(heap)
        .build()
        .expect("valid amounts")
}

/// Draws the slots of a worker.
pub(crate) fn slots(rng: &mut ChaCha8Rng) -> Vec<ResourceProfile> {
    (0..rng.random_range(1..5)).map(|_| profile(rng)).collect()
}

/// Draws the resources of a dynamic worker: those of some slots, and mostly a default slot.
pub(crate) fn resources(rng: &mut ChaCha8Rng) -> DynamicResources {
    let slots = slots(rng);
    match rng.random_bool(0.8) {
        true => resources_of(&slots).with_default_slot(profile(rng)),
        false => resources_of(&slots),
    }
}

/// Returns the resources of a dynamic worker in place of these slots.
pub(crate) fn resources_of(slots: &[ResourceProfile]) -> DynamicResources {
    let total = slots
        .iter()
        .try_fold(ResourceProfile::ZERO, |sum, slot| sum.checked_add(slot));
    DynamicResources::new(total.expect("small amounts"))
}
