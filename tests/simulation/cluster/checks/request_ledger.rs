//! The requests and grants, kept apart from the manager: every request ends once, and every grant
//! ends once. The requests of declared requirements are the manager's own; they never fail.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::message::AllocationFailureCause;
use slot_manager::testing::{Action, Effect};
use slot_manager::view::PendingSlotRequest;
use slot_manager::{AllocationId, JobId};

use crate::cluster::run::Check;
use crate::cluster::scenario::Scenario;
use crate::cluster::simulation::{self, Manager};

#[derive(Debug)]
pub(crate) struct RequestLedger {
    /// The jobs that declare.
    declaring: BTreeSet<JobId>,
    /// The pending requests of declared requirements after the last call.
    declared: BTreeMap<AllocationId, JobId>,
    /// Accepted requests that have not ended.
    pending: BTreeMap<AllocationId, JobId>,
    /// Allocations that hold a slot in the manager's view.
    held: BTreeSet<AllocationId>,
}

impl RequestLedger {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            declaring: scenario.numbers_of_declaring_jobs().map(simulation::job_id).collect(),
            declared: BTreeMap::new(),
            pending: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Returns `true` if an allocation is a pending request of declared requirements.
    pub(crate) fn is_declared(&self, allocation_id: AllocationId) -> bool {
        self.declared.contains_key(&allocation_id)
    }

    pub(crate) fn is_pending(&self, allocation_id: AllocationId) -> bool {
        self.pending.contains_key(&allocation_id)
    }

    /// Returns the number of pending requests that jobs have made.
    pub(crate) fn num_requested(&self) -> usize {
        self.pending.len()
    }

    /// Returns the number of all pending requests.
    pub(crate) fn num_pending(&self) -> usize {
        self.pending.len() + self.declared.len()
    }

    pub(crate) fn is_held(&self, allocation_id: AllocationId) -> bool {
        self.held.contains(&allocation_id)
    }

    pub(crate) fn accept(&mut self, allocation_id: AllocationId, job_id: JobId) -> Check {
        match self.pending.insert(allocation_id, job_id) {
            None if !self.is_held(allocation_id) => Ok(()),
            _ => Err(format!("{allocation_id} is accepted while it is known")),
        }
    }

    /// Ends a request. `how` is a word for messages.
    pub(crate) fn end(&mut self, allocation_id: AllocationId, how: &str) -> Check {
        match self.pending.remove(&allocation_id) {
            Some(_) => Ok(()),
            None => Err(format!("{allocation_id} is {how} and is not pending")),
        }
    }

    /// Ends all requests of a job and returns their number.
    pub(crate) fn end_job(&mut self, job_id: JobId) -> usize {
        let before = self.num_pending();
        self.pending.retain(|_, owner| *owner != job_id);
        self.declared.retain(|_, owner| *owner != job_id);
        before - self.num_pending()
    }

    /// Clears everything at the end of a leadership.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.declared.clear();
        self.held.clear();
    }

    /// Applies an effect of the manager.
    pub(crate) fn apply(&mut self, effect: &Effect) -> Check {
        match effect {
            Effect::Action(Action::NotifySlotAllocated {
                job_id, allocation_id, ..
            }) => {
                if !self.declaring.contains(job_id) {
                    self.end(*allocation_id, "granted")?;
                }
                self.held.insert(*allocation_id);
            }
            Effect::Action(Action::NotifyAllocationFailure {
                allocation_id, cause, ..
            }) => match cause {
                AllocationFailureCause::RequestFailed(_) => self.end(*allocation_id, "failed")?,
                AllocationFailureCause::GrantLost { .. } => {
                    if !self.held.remove(allocation_id) {
                        return Err(format!("{allocation_id} is lost and was not granted"));
                    }
                    if self.is_pending(*allocation_id) {
                        return Err(format!("{allocation_id} is lost and pending"));
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Compares with the manager after a call. No request or grant may end without a notification,
    /// except the grant of `freed`. Only a report may start a grant without one.
    pub(crate) fn compare(&mut self, manager: &Manager, freed: Option<AllocationId>, lost: &[AllocationId]) -> Check {
        let (declared, requested): (Vec<_>, Vec<_>) = manager
            .pending_slot_requests()
            .partition(PendingSlotRequest::is_declared);
        let by_id = |requests: Vec<PendingSlotRequest<'_>>| -> BTreeMap<_, _> {
            let ids = requests.iter().map(|it| (it.allocation_id(), it.job_id()));
            ids.collect()
        };
        let (declared, requested) = (by_id(declared), by_id(requested));
        if requested != self.pending {
            let ledger = &self.pending;
            return Err(format!("pending are {requested:?}, by the ledger {ledger:?}"));
        }
        if let Some((id, job_id)) = declared.iter().find(|(_, job_id)| !self.declaring.contains(job_id)) {
            return Err(format!("{id} is declared, but {job_id} requests single slots"));
        }
        self.declared = declared;
        let held: BTreeSet<_> = manager.slots().filter_map(|slot| slot.allocation_id()).collect();
        for id in self.held.difference(&held) {
            if freed != Some(*id) {
                return Err(format!("the grant of {id} ended without a notification"));
            }
        }
        for id in lost {
            if held.contains(id) {
                return Err(format!("{id} is lost and holds a slot"));
            }
        }
        let is_pending = |id: &&AllocationId| self.is_pending(**id) || self.is_declared(**id);
        if let Some(id) = held.iter().find(is_pending) {
            return Err(format!("{id} is pending and holds a slot"));
        }
        self.held = held;
        Ok(())
    }
}
