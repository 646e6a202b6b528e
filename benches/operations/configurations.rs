//! The cost of matching strategies and of rules about capacity, beside first fit without rules. This
//! cluster breaks no rule, so the rules change no outcome.
//!
//! Each line is flat in the number of slots. A strategy costs one comparison for each distinct
//! profile (K) among the free slots, all of which fit. Churn grows by cache misses: it picks slots
//! at random. The configurations take turns at each size, so that neighbours are comparable.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy};
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::cluster::{BusyCluster, configured, profile_by_task_manager};
use crate::measure::{Round, bench, group};
use crate::messages::{SLOTS_PER_TASK_MANAGER, usual_profile};
use crate::outside::{Manager, Prompt};
use crate::sizes;

type Cluster = BusyCluster<Manager<Prompt>>;

/// A change of the default configuration, for a cluster of this number of slots.
type Configure = fn(SlotManagerConfig, usize) -> SlotManagerConfig;

/// The compared configurations. The first is the default.
const CONFIGURATIONS: [(&str, Configure); 9] = [
    ("first fit", |config, _| config),
    ("best fit", |config, _| matching(config, SlotMatchingStrategy::BestFit)),
    ("least utilization", |config, _| {
        matching(config, SlotMatchingStrategy::LeastUtilization)
    }),
    ("most utilization", |config, _| {
        matching(config, SlotMatchingStrategy::MostUtilization)
    }),
    ("own strategy", |config, _| {
        matching(config, SlotMatchingStrategy::Custom(Arc::new(MostCores)))
    }),
    ("limits", |config, slots| config.with_workers(limits(policy(), slots))),
    ("minimum", |config, slots| {
        config.with_workers(policy().with_min_slots(slots))
    }),
    ("redundancy", |config, _| {
        config.with_workers(policy().with_redundant_task_managers(REDUNDANT))
    }),
    ("all rules", |config, slots| {
        let policy = policy().with_min_slots(slots).with_redundant_task_managers(REDUNDANT);
        config
            .with_workers(limits(policy, slots))
            .with_fail_unfulfillable_requests(true)
    }),
];

/// The number of configurations, from the first on, that take slots of any profile.
const STRATEGIES: usize = 5;

/// The redundant task managers. More than these are unused at every size, so none is requested.
const REDUNDANT: usize = 2;

pub(crate) fn groups(criterion: &mut Criterion) {
    // Some slots are requested, and freed in the order of their grants. The time is that of both
    // calls for one slot.
    measure(
        criterion,
        "request served, then freed, by configuration",
        Cluster::serve_then_free,
    );
    // A slot picked at random is freed, and a slot is requested. The time is that of both.
    measure(criterion, "churn at 50 % utilisation, by configuration", Cluster::churn);
}

/// Half of the slots are used, and all slots of a task manager have one profile.
fn measure(criterion: &mut Criterion, name: &str, round: fn(&mut Cluster) -> Round) {
    let mut group = group(criterion, name);
    for (profiles, configurations) in [(1, &CONFIGURATIONS[..]), (27, &CONFIGURATIONS[..STRATEGIES])] {
        for slots in sizes().filter(|slots| slots / SLOTS_PER_TASK_MANAGER >= profiles) {
            for (name, configure) in configurations {
                bench(
                    &mut group,
                    format!("K = {profiles}, {slots} slots, {name}"),
                    || half_used(*configure, slots, profiles),
                    |cluster| {
                        let declined = workers_declined(cluster);
                        let round = round(cluster);
                        assert_eq!(workers_declined(cluster), declined, "a rule is broken");
                        round
                    },
                );
            }
        }
    }
    group.finish();
}

fn half_used(configure: Configure, slots: usize, profiles: usize) -> Cluster {
    let backoff = Duration::from_secs(1);
    let config = SlotManagerConfig::default().with_worker_registration_timeout(backoff);
    let profile_of = |slot| profile_by_task_manager(slot, profiles);
    let (mut manager, counter) = configured(configure(config, slots), slots, profile_of, || Prompt);
    // A worker for the minimum was declined before the task managers registered. That backoff ends,
    // so that the minimum is checked in each call.
    counter.advance(2 * backoff);
    manager.run_until_stalled();
    BusyCluster::half_used(manager)
}

fn workers_declined(cluster: &Cluster) -> u64 {
    cluster.manager().counters().workers_declined
}

fn matching(config: SlotManagerConfig, strategy: SlotMatchingStrategy) -> SlotManagerConfig {
    config.with_slot_matching_strategy(strategy)
}

fn policy() -> WorkerPolicy {
    WorkerPolicy::new(WorkerDescription::new(SLOTS_PER_TASK_MANAGER as u32, usual_profile()).expect("a worker"))
}

/// Adds limits of twice the present cluster.
fn limits(policy: WorkerPolicy, slots: usize) -> WorkerPolicy {
    policy
        .with_max_slots(Some(2 * slots))
        .with_max_total_cpu_cores(Some(2.0 * slots as f64))
        .with_max_total_memory_bytes(Some(2 * slots as u64 * (1 << 30)))
}

/// Takes the slot with the most cores.
#[derive(Debug)]
struct MostCores;

impl SlotMatching for MostCores {
    fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let cores = |candidate: &Candidate<'_>| candidate.resource_profile.cpu_cores().unwrap_or(f64::INFINITY);
        cores(b).total_cmp(&cores(a))
    }
}
