//! Operators: they block and unblock workers, and switch the failing of unfulfillable requests.

use std::collections::BTreeSet;

use rand::Rng;
use slot_manager::outcome::{BlockOutcome, UnblockOutcome};
use slot_manager::{ResourceId, SlotManagerConfig};

use crate::cluster::faults::Fault;
use crate::cluster::parties::task_executors::worker_name;
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// The decisions of operators.
#[derive(Debug)]
pub(crate) struct Operators {
    /// The blocked workers, also in the next leadership.
    pub(crate) blocked: BTreeSet<ResourceId>,
    /// The blocked workers as slots show them. After the end of a leadership that is not suspended,
    /// they lag behind.
    pub(crate) shown: BTreeSet<ResourceId>,
    pub(crate) fails_unfulfillable: bool,
}

impl Operators {
    pub(crate) fn new(config: &SlotManagerConfig) -> Self {
        Self {
            blocked: BTreeSet::new(),
            shown: BTreeSet::new(),
            fails_unfulfillable: config.fail_unfulfillable_requests,
        }
    }
}

impl Simulation {
    pub(crate) fn an_operator_acts(&mut self) -> Check {
        match self.rng.random_range(0..10) {
            0..5 => {
                // The largest number is that of an unknown worker.
                let worker = self.rng.random_range(0..=self.workers.len());
                self.block(worker_name(worker))
            }
            5..9 => match self.some_blocked() {
                Some(resource_id) => self.unblock(resource_id),
                None => self.unblock(worker_name(0)),
            },
            _ => self.switch_unfulfillable(),
        }
    }

    fn some_blocked(&mut self) -> Option<ResourceId> {
        let blocked = &self.operators.blocked;
        if blocked.is_empty() {
            return None;
        }
        let at = self.rng.random_range(0..blocked.len());
        blocked.iter().nth(at).cloned()
    }

    fn block(&mut self, resource_id: ResourceId) -> Check {
        let is_blocked = self.operators.blocked.contains(&resource_id);
        let outcome = self.manager.block(&resource_id);
        match outcome {
            BlockOutcome::Blocked if !is_blocked => {
                self.faults.count(Fault::WorkerBlocked);
                self.operators.blocked.insert(resource_id);
            }
            BlockOutcome::AlreadyBlocked if is_blocked => {}
            other => return Err(format!("blocking {resource_id} returned {other:?}")),
        }
        self.show_blocked();
        self.observe(None)
    }

    fn unblock(&mut self, resource_id: ResourceId) -> Check {
        let outcome = self.manager.unblock(&resource_id);
        let was_blocked = self.operators.blocked.remove(&resource_id);
        match outcome {
            UnblockOutcome::Unblocked if was_blocked => self.faults.count(Fault::WorkerUnblocked),
            UnblockOutcome::NotBlocked if !was_blocked => {}
            other => return Err(format!("unblocking {resource_id} returned {other:?}")),
        }
        self.show_blocked();
        self.observe(None)
    }

    /// Notes that slots show which workers are blocked, unless a leadership has ended by itself.
    pub(crate) fn show_blocked(&mut self) {
        if self.is_leading() || self.manager.leader_id().is_none() {
            self.operators.shown = self.operators.blocked.clone();
        }
    }

    /// Unblocks all workers after the faults have stopped.
    pub(crate) fn unblock_all(&mut self) -> Check {
        while let Some(resource_id) = self.operators.blocked.first().cloned() {
            self.unblock(resource_id)?;
        }
        Ok(())
    }

    fn switch_unfulfillable(&mut self) -> Check {
        self.faults.count(Fault::UnfulfillableSwitched);
        let fails = !self.operators.fails_unfulfillable;
        self.operators.fails_unfulfillable = fails;
        self.manager.set_fail_unfulfillable_requests(fails);
        self.observe(None)
    }
}
