//! The choice among free slots: each line is flat in the number of slots, with any strategy. Each
//! costs one comparison for each distinct profile (K) among the free slots, all of which fit. Churn
//! grows by cache misses: it picks slots at random.

use std::cmp::Ordering;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use slot_manager::matching::{Candidate, SlotMatching, SlotMatchingStrategy};
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::cluster::{BusyCluster, configured, profile_by_task_manager};
use crate::measure::{Round, bench, group};
use crate::outside::{Manager, Prompt};
use crate::sizes;

pub(crate) fn groups(criterion: &mut Criterion) {
    let strategies = [
        ("first fit", SlotMatchingStrategy::FirstFit),
        ("best fit", SlotMatchingStrategy::BestFit),
        ("least utilization", SlotMatchingStrategy::LeastUtilization),
        ("most utilization", SlotMatchingStrategy::MostUtilization),
        ("own strategy", SlotMatchingStrategy::Custom(Arc::new(MostCores))),
    ];
    for (name, strategy) in strategies {
        // Some slots are requested, and freed in the order of their grants. The time is that of
        // both calls for one slot.
        measure(
            group(criterion, &format!("request served, then freed, {name}")),
            &strategy,
            BusyCluster::serve_then_free,
        );
        // A slot picked at random is freed, and a slot is requested. The time is that of both.
        measure(
            group(criterion, &format!("churn at 50 % utilisation, {name}")),
            &strategy,
            BusyCluster::churn,
        );
    }
}

/// Half of the slots are used, and all slots of a task manager have one profile.
fn measure(
    mut group: BenchmarkGroup<'_, WallTime>,
    strategy: &SlotMatchingStrategy,
    round: fn(&mut BusyCluster<Manager<Prompt>>) -> Round,
) {
    for profiles in [1, 27] {
        for slots in sizes() {
            let set_up = || {
                let config = SlotManagerConfig::default().with_slot_matching_strategy(strategy.clone());
                let profile_of = |slot| profile_by_task_manager(slot, profiles);
                BusyCluster::half_used(configured(config, slots, profile_of, || Prompt).0)
            };
            bench(&mut group, format!("K = {profiles}, {slots} slots"), set_up, round);
        }
    }
    group.finish();
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
