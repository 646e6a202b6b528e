//! Grants: which allocation holds a slot, and how that ends.

use slot_manager::message::{Allocation, GrantLoss, RequestFailure, SlotFreed};
use slot_manager::outcome::SlotFreedOutcome;
use slot_manager::testing::Action;
use slot_manager::{AllocationId, InstanceId, JobId, SlotId};

use super::{Dropped, NaiveSlotManager, State};

impl NaiveSlotManager {
    /// Ends the grant of a slot, or the attempt in flight to it, because its task executor has
    /// freed it.
    pub(super) fn slot_freed(&mut self, freed: &SlotFreed) -> SlotFreedOutcome {
        if self.begin_input().is_err() {
            return SlotFreedOutcome::Unknown;
        }
        let (slot, allocation_id) = (freed.slot_id(), freed.allocation_id());
        let Some(state) = self.find_slot(slot).map(|it| it.state.clone()) else {
            return SlotFreedOutcome::Unknown;
        };
        if let Some((instance_id, revision)) = freed.revision() {
            if self.is_outdated(slot, instance_id, revision) {
                return SlotFreedOutcome::Outdated;
            }
            // Older reports are stale from now on.
            let owner = self.task_manager_mut(instance_id);
            owner.highest_revision = owner.highest_revision.max(Some(revision));
        }
        let outcome = match state {
            State::Detached | State::Offered(_) | State::BackingOff(_) | State::WorkerBacksOff | State::Blocked => {
                SlotFreedOutcome::NotAllocated
            }
            State::InFlight(other)
            | State::Allocated {
                allocation: Allocation { id: other, .. },
                ..
            } if other != allocation_id => SlotFreedOutcome::HeldByAnother { allocation_id: other },
            State::InFlight(_) if self.is_of_earlier_attempt(freed) => SlotFreedOutcome::Outdated,
            State::InFlight(_) => {
                // The request was served before its answer came. If the task executor sees the
                // request only now, it frees the slot again.
                self.fence(allocation_id);
                self.grant(slot, allocation_id);
                SlotFreedOutcome::FreedInFlight
            }
            State::Allocated { .. } => SlotFreedOutcome::Freed,
        };
        if matches!(outcome, SlotFreedOutcome::Freed | SlotFreedOutcome::FreedInFlight) {
            self.note_end_of_holding(slot, true);
            self.set_state(slot, State::Detached);
            self.find_or_promote_grant(allocation_id);
            self.transaction.freed.push(slot.clone());
            if outcome == SlotFreedOutcome::FreedInFlight {
                let owner = self.owner(slot).expect("a registered slot").instance_id;
                self.worker_acknowledged(owner);
            }
            self.end_input();
        }
        outcome
    }

    /// Returns `true` if the allocation held the slot under an attempt before the one in flight.
    fn is_of_earlier_attempt(&self, freed: &SlotFreed) -> bool {
        let attempts = self.attempts_in_flight();
        let in_flight = attempts.iter().find(|it| it.allocation_id == freed.allocation_id());
        let numbers = in_flight.zip(freed.attempt());
        numbers.is_some_and(|(in_flight, of)| of < in_flight.number)
    }

    /// Returns `true` if a message about a freed slot is of another registration, or not newer than
    /// an applied report.
    ///
    /// While an attempt is in flight to the slot, a report that shows it as free ended nothing. So
    /// the message is news.
    fn is_outdated(&self, slot: &SlotId, instance_id: InstanceId, revision: u64) -> bool {
        let owner = self.owner(slot).expect("a registered slot");
        let is_in_flight = self
            .find_slot(slot)
            .is_some_and(|it| matches!(it.state, State::InFlight(_)));
        let is_reported = owner.reported_revision.is_some_and(|reported| reported >= revision);
        owner.instance_id != instance_id || (is_reported && !is_in_flight)
    }

    /// Grants a slot without a holder to a pending request.
    pub(super) fn grant(&mut self, slot: &SlotId, id: AllocationId) {
        let request = self.request_mut(id).clone();
        let (job_id, unit) = (request.job_id, request.is_declared.then_some(request.profile));
        self.end_earmark_for(id);
        self.requests.retain(|it| it.allocation_id != id);
        self.clear_job(job_id);
        self.hold(slot, Allocation { id, job: job_id }, None);
        self.note_holding(slot, job_id, unit.as_ref());
        if let Some((registering, result)) = &mut self.outbox.registering {
            if *registering == id {
                *result = Some(Ok(slot.clone()));
            }
        }
        let action = Action::NotifySlotAllocated {
            job_id,
            allocation_id: id,
            slot_id: slot.clone(),
        };
        self.outbox.notifications.push((Some(slot.clone()), action));
    }

    /// Lets an allocation hold a slot, as its grant or as a secondary slot.
    pub(super) fn hold(&mut self, slot: &SlotId, allocation: Allocation, secondary: Option<u64>) {
        self.set_state(slot, State::Allocated { allocation, secondary });
        self.slot_mut(slot).failed = None;
        self.slot_mut(slot).refused.clear();
    }

    /// Records that a task executor shows an allocation on a slot without a holder.
    ///
    /// A pending request of the allocation is granted. If the allocation is granted on another
    /// slot, this slot is secondary.
    pub(super) fn adopt(&mut self, slot: &SlotId, allocation: Allocation) {
        if let Some(request) = self.find_request(allocation.id) {
            let is_own = request.job_id == allocation.job;
            self.withdraw(allocation.id);
            if is_own {
                return self.grant(slot, allocation.id);
            }
            let (slot_id, job_id) = (slot.clone(), allocation.job);
            match self.request_mut(allocation.id).is_declared {
                true => self.renew_unit(allocation.id),
                false => self.fail(allocation.id, RequestFailure::HeldByAnotherJob { slot_id, job_id }),
            }
        } else if self.find_or_promote_grant(allocation.id).is_some() {
            let order = self.next();
            self.hold(slot, allocation, Some(order));
            return self.transaction.secondaries.push(slot.clone());
        }
        self.hold(slot, allocation, None);
        self.note_holding(slot, allocation.job, None);
    }

    /// Returns the grant of an allocation. Without one, its oldest secondary slot becomes its
    /// grant.
    pub(super) fn find_or_promote_grant(&mut self, id: AllocationId) -> Option<(SlotId, JobId)> {
        if self.find_grant(id).is_none() && self.find_request(id).is_none() {
            let secondaries = self.slots().filter_map(|slot| match slot.state {
                State::Allocated { allocation, secondary } if allocation.id == id => {
                    Some((secondary, slot.id.clone(), allocation))
                }
                _ => None,
            });
            if let Some((_, slot, allocation)) = secondaries.min() {
                self.hold(&slot, allocation, None);
                self.note_holding(&slot, allocation.job, None);
            }
        }
        self.find_grant(id)
    }

    /// Ends the grant or the secondary allocation of a slot. The commit decides whether a grant is
    /// lost.
    pub(super) fn drop_grant(&mut self, slot: &SlotId, loss: GrantLoss) {
        if let State::Allocated {
            allocation,
            secondary: None,
        } = self.slot_mut(slot).state
        {
            self.note_end_of_holding(slot, loss == GrantLoss::ReportedFree);
            let slot = slot.clone();
            self.transaction.dropped.push(Dropped { slot, allocation, loss });
        }
        self.set_state(slot, State::Detached);
    }
}
