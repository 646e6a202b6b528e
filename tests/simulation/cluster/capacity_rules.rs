//! The options for limits, fewest slots, redundancy and unfulfillable requests, which half of the
//! seeds configure, and the arithmetic that the checks need for them.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use slot_manager::config::{Limit, WorkerDescription, WorkerPolicy};
use slot_manager::message::WorkerPromise;
use slot_manager::overview::Resources;
use slot_manager::{ResourceProfile, SlotManagerConfig};

use crate::cluster::call_log::Promise;
use crate::cluster::scenario;

/// Adds capacity rules to a configuration, in half of the cases.
pub(crate) fn draw(rng: &mut ChaCha8Rng, config: SlotManagerConfig) -> SlotManagerConfig {
    if rng.random_bool(0.5) {
        return config;
    }
    let mut config = config
        .with_fail_unfulfillable_requests(rng.random_bool(0.5))
        .with_unfulfillable_grace_period(short_or_nothing(rng))
        .with_recovery_timeout(short_or_nothing(rng));
    if rng.random_bool(0.85) {
        config = draw_worker(rng, config);
    }
    assert_eq!(config.validate(), Ok(()), "{config:?}");
    config
}

fn draw_worker(rng: &mut ChaCha8Rng, config: SlotManagerConfig) -> SlotManagerConfig {
    let slots = rng.random_range(1..5);
    let profile = match rng.random_range(0..3) {
        0 => scenario::profile(rng),
        _ => scenario::largest_profile(),
    };
    let min_slots = if rng.random_bool(0.5) {
        rng.random_range(1..9)
    } else {
        0
    };
    let redundant = if rng.random_bool(0.4) {
        rng.random_range(1..3)
    } else {
        0
    };
    let worker = WorkerDescription::new(slots, profile).expect("some slots of a known profile");
    let mut workers = WorkerPolicy::new(worker.clone())
        .with_min_slots(min_slots)
        .with_redundant_task_managers(redundant);
    // Limits leave room for the wanted slots and little more. Without wanted slots there may be no
    // room for a worker.
    let wanted = min_slots.div_ceil(worker.slots()).max(redundant) * worker.slots();
    if rng.random_bool(0.6) {
        workers = workers.with_max_slots(Some(wanted + rng.random_range(0..14)));
    }
    let of_slots = |slots: usize| total(std::iter::repeat_n(worker.slot_profile(), slots));
    if rng.random_bool(0.2) {
        let most = of_slots(wanted + rng.random_range(2..14));
        workers = workers.with_max_total_cpu_cores(Some(most.cpu_cores + 0.5));
    }
    if rng.random_bool(0.2) {
        let most = of_slots(wanted + rng.random_range(2..14));
        workers = workers.with_max_total_memory_bytes(Some(most.memory_bytes + 1));
    }
    config.with_workers(workers)
}

fn short_or_nothing(rng: &mut ChaCha8Rng) -> Duration {
    match rng.random_range(0..20) {
        0..8 => Duration::ZERO,
        8 => Duration::MAX,
        _ => Duration::from_millis(rng.random_range(1..2_500)),
    }
}

/// Returns the sum of the resources of some slots.
pub(crate) fn total<'a>(slots: impl IntoIterator<Item = &'a ResourceProfile>) -> Resources {
    let mut sum = Resources::default();
    for profile in slots {
        sum.slots += 1;
        sum.cpu_cores += profile.cpu_cores().unwrap_or_default();
        sum.memory_bytes += profile.total_memory_bytes().unwrap_or_default();
        sum.task_heap_memory_bytes += profile.task_heap_memory_bytes().unwrap_or_default();
        sum.task_off_heap_memory_bytes += profile.task_off_heap_memory_bytes().unwrap_or_default();
        sum.managed_memory_bytes += profile.managed_memory_bytes().unwrap_or_default();
        sum.network_memory_bytes += profile.network_memory_bytes().unwrap_or_default();
        for (name, amount) in profile.extended_resources() {
            *sum.extended.entry(name.into()).or_default() += amount;
        }
    }
    sum
}

/// Returns the sum of resources of some workers.
pub(crate) fn sum(all: impl IntoIterator<Item = Resources>) -> Resources {
    let mut sum = Resources::default();
    for more in all {
        sum.slots += more.slots;
        sum.cpu_cores += more.cpu_cores;
        sum.memory_bytes += more.memory_bytes;
    }
    sum
}

/// Returns the limit that would be exceeded with more resources.
pub(crate) fn limit_beyond(config: &SlotManagerConfig, present: Resources, more: Resources) -> Option<Limit> {
    let workers = config.workers.as_ref()?;
    if workers.max_slots.is_some_and(|most| present.slots + more.slots > most) {
        return Some(Limit::Slots);
    }
    let cores = present.cpu_cores + more.cpu_cores;
    if workers.max_total_cpu_cores.is_some_and(|most| cores > most) {
        return Some(Limit::CpuCores);
    }
    let bytes = present.memory_bytes + more.memory_bytes;
    let is_beyond = workers.max_total_memory_bytes.is_some_and(|most| bytes > most);
    is_beyond.then_some(Limit::Memory)
}

/// Returns the slots of a worker as described.
pub(crate) fn described_worker(config: &SlotManagerConfig) -> Option<Vec<ResourceProfile>> {
    let worker = &config.workers.as_ref()?.description;
    Some(vec![worker.slot_profile().clone(); worker.slots()])
}

/// Returns the slots that an answer to a worker request promises.
pub(crate) fn promised(config: &SlotManagerConfig, answer: &Promise, asked: &ResourceProfile) -> Vec<ResourceProfile> {
    match answer {
        Ok(WorkerPromise::Slots(slots)) => slots.clone(),
        Ok(WorkerPromise::Unspecified) => described_worker(config).unwrap_or_else(|| vec![asked.clone()]),
        _ => Vec::new(),
    }
}

/// Returns the number of slots that redundancy requires to be free.
pub(crate) fn redundant_slots(config: &SlotManagerConfig, used: usize) -> usize {
    let workers = config.workers.as_ref();
    let slots = workers.map_or(0, |workers| {
        workers.description.slots() * workers.redundant_task_managers
    });
    if used > 0 { slots } else { 0 }
}

/// Returns the number of slots that are kept up.
pub(crate) fn min_slots(config: &SlotManagerConfig) -> usize {
    config.workers.as_ref().map_or(0, |workers| workers.min_slots)
}

/// Returns `true` if idle task managers may be kept for the minimum or for redundancy.
pub(crate) fn keeps_reserves(config: &SlotManagerConfig) -> bool {
    min_slots(config) > 0 || redundant_slots(config, 1) > 0
}
