//! The resource manager: it starts workers after a delay, declines, fails, or silently starts none.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::ResourceProfile;
use slot_manager::config::WorkerDescription;
use slot_manager::message::WorkerPromise;

use super::workers::WorkerSpec;

/// The difference between the promised worker and the worker that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    AsPromised,
    /// Half of the slots, at least one.
    Short,
    /// Two slots more.
    Larger,
    /// Each slot has one mebibyte less.
    Smaller,
}

/// The answer to one worker request, and the worker that comes for it.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// A worker registers after the delay. Its slots are set from the promise.
    Worker {
        delay: Duration,
        shape: Shape,
        spec: WorkerSpec,
    },
    /// The worker is promised and never comes. The manager is not told.
    Silent,
    /// The start fails after the delay, and the manager is told.
    Fails {
        after: Duration,
    },
    Declined,
    /// The worker request is an error.
    Refused,
}

/// The choices of the resource manager: first the script, then a random choice by weight.
#[derive(Debug, Clone)]
pub(crate) struct StartPolicy {
    pub(crate) script: VecDeque<Start>,
    pub(crate) mix: Vec<(u32, Start)>,
    pub(crate) confirms_withdrawals: bool,
    /// The profile of all slots of the workers that come, instead of the promised profile.
    pub(crate) slot_profile: Option<ResourceProfile>,
    rng: ChaCha8Rng,
}

impl StartPolicy {
    /// Returns a policy that chooses among these answers by weight.
    pub(crate) fn new(seed: u64, mix: Vec<(u32, Start)>) -> Self {
        Self {
            script: VecDeque::new(),
            mix,
            confirms_withdrawals: true,
            slot_profile: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Sets the first answers.
    pub(crate) fn with_script(mut self, script: impl IntoIterator<Item = Start>) -> Self {
        self.script = script.into_iter().collect();
        self
    }

    /// Returns the next answer. Without any choice the worker request is declined.
    pub(crate) fn next(&mut self) -> Start {
        if let Some(start) = self.script.pop_front() {
            return start;
        }
        let total: u32 = self.mix.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return Start::Declined;
        }
        let mut drawn = self.rng.random_range(0..total);
        for (weight, start) in &self.mix {
            if drawn < *weight {
                return start.clone();
            }
            drawn -= weight;
        }
        Start::Declined
    }

    /// Returns the slots of the worker that comes.
    pub(crate) fn slots(&self, shape: Shape, promised: &[ResourceProfile]) -> Vec<ResourceProfile> {
        let mut slots = promised.to_vec();
        match shape {
            Shape::AsPromised => {}
            Shape::Short => slots.truncate(promised.len().div_ceil(2)),
            Shape::Larger => slots.extend(vec![promised[0].clone(); 2]),
            Shape::Smaller => slots.iter_mut().for_each(|slot| *slot = smaller(slot)),
        }
        if let Some(profile) = &self.slot_profile {
            slots.iter_mut().for_each(|slot| *slot = profile.clone());
        }
        slots
    }
}

/// Returns the promise, and the promised slots.
pub(crate) fn promise(
    description: Option<&WorkerDescription>,
    requested: &ResourceProfile,
) -> (WorkerPromise, Vec<ResourceProfile>) {
    match description {
        Some(worker) => (
            WorkerPromise::Unspecified,
            vec![worker.slot_profile().clone(); worker.slots()],
        ),
        None => {
            let slots = vec![requested.clone(); 2];
            (WorkerPromise::Slots(slots.clone()), slots)
        }
    }
}

/// Returns the profile with one mebibyte less.
fn smaller(profile: &ResourceProfile) -> ResourceProfile {
    let mebibyte = ResourceProfile::builder().task_heap_memory_mebibytes(1).build();
    let less = mebibyte.and_then(|mebibyte| profile.checked_sub(&mebibyte));
    less.unwrap_or_else(|_| profile.clone())
}
