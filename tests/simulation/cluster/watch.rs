//! What must be true from one call to the next: attempts are fenced, requests are served in their order, idle periods
//! are not begun anew.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{AllocationId, InstanceId, RequestSlot, SlotState, Timestamp};

use super::run::Check;
use super::simulation::Manager;

/// What was so after the last call.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The attempts that have not ended, by their numbers.
    attempts: BTreeMap<u64, RequestSlot>,
    /// Those whose answer is there: the manager may have seen it.
    answered: BTreeSet<u64>,
    /// Requests that waited and did not pause.
    waiting: BTreeSet<AllocationId>,
    idle_since: BTreeMap<InstanceId, Timestamp>,
}

impl Watch {
    pub(super) fn answered(&mut self, attempt: u64) {
        self.answered.insert(attempt);
    }

    /// A leadership is over.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Compares with the manager after a call. In one that handled several events, a slot may have been assigned by the
    /// first and given back by the second, and nobody was asked for it: that begins an idle period too.
    pub(super) fn compare(&mut self, manager: &Manager, effects: &[Effect], several_events: bool) -> Check {
        let mut asked = BTreeSet::new();
        // A slot is for the others first when the attempt of the oldest has failed, which may be within the call.
        let tried = effects.iter().filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.allocation_id),
            _ => None,
        });
        for allocation_id in tried {
            self.waiting.remove(&allocation_id);
        }
        for effect in effects {
            match effect {
                Effect::Gateway(GatewayCall::RequestSlot(request)) => {
                    if self.attempts.insert(request.attempt, request.clone()).is_some() {
                        return Err(format!("attempt {} is made twice", request.attempt));
                    }
                    asked.insert(request.instance_id);
                    self.check_order(manager, request)?;
                }
                Effect::Gateway(GatewayCall::FreeSlot(free)) => {
                    self.attempts.remove(&free.attempt);
                }
                Effect::Action(Action::NotifySlotAllocated {
                    allocation_id, slot_id, ..
                }) => {
                    // Served, whether its answer said so or a report.
                    let is_it = |it: &RequestSlot| it.allocation_id == *allocation_id && it.slot_id == *slot_id;
                    self.attempts.retain(|_, attempt| !is_it(attempt));
                }
                _ => {}
            }
        }
        self.check_attempts(manager)?;
        self.check_idle_periods(manager, &asked, several_events)?;
        let waiting = manager
            .pending_slot_requests()
            .filter(|request| request.in_flight_to().is_none() && request.pauses_until().is_none());
        self.waiting = waiting.map(|request| request.allocation_id()).collect();
        Ok(())
    }

    /// An attempt that is not in flight any more was answered, or its task executor was told, or is gone.
    fn check_attempts(&mut self, manager: &Manager) -> Check {
        let answered = &mut self.answered;
        let mut forgotten = None;
        self.attempts.retain(|number, attempt| {
            let slot = manager.slot(&attempt.slot_id);
            let slot = slot.filter(|slot| slot.task_manager().instance_id() == attempt.instance_id);
            let Some(slot) = slot else { return false };
            let state = slot.state();
            if matches!(state, SlotState::InFlight { allocation_id, .. } if allocation_id == attempt.allocation_id) {
                return true;
            }
            if !answered.contains(number) {
                forgotten = Some(format!("attempt {number} ended without a word: {attempt:?}"));
            }
            false
        });
        answered.retain(|number| self.attempts.contains_key(number));
        forgotten.map_or(Ok(()), Err)
    }

    /// No request waits all the while that came earlier and fits the slot.
    fn check_order(&self, manager: &Manager, served: &RequestSlot) -> Check {
        let Some(slot) = manager.slot(&served.slot_id) else {
            return Ok(());
        };
        // In the order of their registrations. One that was served and is over is not among them.
        let earlier = manager
            .pending_slot_requests()
            .take_while(|request| request.allocation_id() != served.allocation_id);
        if manager.pending_slot_request(served.allocation_id).is_none() {
            return Ok(());
        }
        for request in earlier {
            let waits = request.in_flight_to().is_none() && request.pauses_until().is_none();
            if waits
                && self.waiting.contains(&request.allocation_id())
                && slot.resource_profile().is_matching(request.resource_profile())
            {
                return Err(format!("{request:?} waits, and {served:?} came later"));
            }
        }
        Ok(())
    }

    /// A task manager that was idle, and was not asked for a slot meanwhile, is so since the same time.
    fn check_idle_periods(&mut self, manager: &Manager, asked: &BTreeSet<InstanceId>, several: bool) -> Check {
        let idle = manager.task_managers();
        let idle: BTreeMap<_, _> = idle
            .filter_map(|it| Some((it.instance_id(), it.idle_since()?)))
            .collect();
        for (instance_id, since) in &idle {
            let before = self.idle_since.get(instance_id);
            if before.is_some_and(|before| before != since) && !several && !asked.contains(instance_id) {
                return Err(format!("{instance_id} was idle since {before:?}, and is since {since}"));
            }
        }
        self.idle_since = idle;
        Ok(())
    }
}
