//! The checks from one call to the next: attempts are fenced, requests are served in their order,
//! and idle periods do not restart.

use std::collections::{BTreeMap, BTreeSet};

use slot_manager::message::{Acknowledge, AllocateSlot, AttemptId};
use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::view::SlotState;
use slot_manager::{AllocationId, InstanceId, SlotId, SlotReport, Timestamp};

use crate::cluster::call_log::Call;
use crate::cluster::network::gateway::Answer;
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

/// The state after the last call.
#[derive(Debug, Default)]
pub(crate) struct FencingAndFairness {
    /// The open attempts by their numbers.
    attempts: BTreeMap<u64, AllocateSlot>,
    /// The answered attempts with the revision of the answer. The manager may have seen the answer.
    answered: BTreeMap<u64, Option<u64>>,
    /// The highest revision in the reports of each registration.
    reported: BTreeMap<InstanceId, u64>,
    /// Requests that waited and did not back off.
    waiting: BTreeSet<AllocationId>,
    /// An attempt has failed in this leadership. Then younger requests may come before older ones.
    has_failures: bool,
    /// The number of failed attempts before this leadership.
    failures_before: Option<u64>,
    idle_since: BTreeMap<InstanceId, Timestamp>,
    /// The instances that were replaced.
    superseded: BTreeSet<InstanceId>,
}

impl FencingAndFairness {
    pub(crate) fn answered(&mut self, attempt: u64, answer: &Answer) {
        let revision = answer.as_ref().ok().and_then(Acknowledge::revision);
        self.answered.entry(attempt).or_insert(revision);
    }

    /// Returns `true` if an attempt of this leadership is in flight.
    pub(crate) fn is_open(&self, attempt_id: &AttemptId) -> bool {
        let attempt = self.attempts.get(&attempt_id.number);
        attempt.is_some_and(|attempt| {
            let newest = self.attempt_to(&attempt.slot_id, attempt.allocation_id);
            attempt.attempt_id() == *attempt_id && newest == Some(attempt_id.number)
        })
    }

    /// Returns the newest attempt that is in flight to a slot for an allocation. Older ones to the
    /// same slot may be among the open ones.
    pub(crate) fn attempt_to(&self, slot_id: &SlotId, allocation_id: AllocationId) -> Option<u64> {
        let mut attempts = self.attempts.iter().rev();
        let to_it = attempts.find(|(_, it)| it.slot_id == *slot_id && it.allocation_id == allocation_id);
        to_it.map(|(number, _)| *number)
    }

    /// Returns the highest revision in the applied reports of a registration.
    pub(crate) fn reported_revision(&self, instance_id: InstanceId) -> Option<u64> {
        self.reported.get(&instance_id).copied()
    }

    /// Notes an applied report.
    pub(crate) fn reported(&mut self, instance_id: InstanceId, report: &SlotReport) {
        if let Some(revision) = report.revision() {
            let highest = self.reported.entry(instance_id).or_default();
            *highest = revision.max(*highest);
        }
    }

    /// Notes an instance that was replaced.
    pub(crate) fn replaced(&mut self, instance_id: InstanceId) {
        self.superseded.insert(instance_id);
    }

    /// Returns `true` if an instance was replaced.
    pub(crate) fn is_superseded(&self, instance_id: InstanceId) -> bool {
        self.superseded.contains(&instance_id)
    }

    /// Clears everything at the end of a leadership.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Compares with the manager after a call. In a call with several events, an answer may
    /// allocate a slot and a later event free it. That starts an idle period without a slot
    /// request. `by_answer` is set if the call may have applied an answer.
    pub(crate) fn compare(&mut self, manager: &Manager, calls: &[Call], events: usize, by_answer: bool) -> Check {
        let mut asked = BTreeSet::new();
        let failures = manager.overview().counters.requests_retried;
        self.has_failures = failures > *self.failures_before.get_or_insert(failures);
        // The oldest request may fail its attempt within the call. Then the others come first.
        let tried = calls.iter().filter_map(|call| match &call.effect {
            Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.allocation_id),
            _ => None,
        });
        for allocation_id in tried {
            self.waiting.remove(&allocation_id);
        }
        for call in calls {
            match &call.effect {
                Effect::Gateway(GatewayCall::RequestSlot(request)) => {
                    if self.attempts.insert(request.attempt, request.clone()).is_some() {
                        return Err(format!("attempt {} is made twice", request.attempt));
                    }
                    asked.insert(request.instance_id);
                    self.check_order(manager, request)?;
                }
                Effect::Gateway(GatewayCall::FreeSlot(free)) => {
                    // The free of a second slot names the last attempt of all.
                    let is_target =
                        |it: &AllocateSlot| it.slot_id == free.slot_id && it.allocation_id == free.allocation_id;
                    if self.attempts.get(&free.attempt).is_some_and(is_target) {
                        self.attempts.remove(&free.attempt);
                    }
                }
                Effect::Action(Action::NotifySlotAllocated {
                    allocation_id, slot_id, ..
                }) => {
                    let is_it = |it: &AllocateSlot| it.allocation_id == *allocation_id && it.slot_id == *slot_id;
                    // Several attempts, if the first failed and the request was retried at once.
                    let attempts = self.attempts.iter().filter(|(_, attempt)| is_it(attempt));
                    let attempts: Vec<_> = attempts.map(|(number, _)| *number).collect();
                    for number in &attempts {
                        self.check_grant(manager, *number, attempts.last() == Some(number) && by_answer)?;
                    }
                }
                _ => {}
            }
        }
        self.reported
            .retain(|instance_id, _| manager.task_manager(*instance_id).is_some());
        self.check_attempts(manager)?;
        self.check_idle_periods(manager, &asked, events > 1)?;
        let waiting = manager
            .pending_slot_requests()
            .filter(|request| request.in_flight_to().is_none() && request.backs_off_until().is_none());
        self.waiting = waiting.map(|request| request.allocation_id()).collect();
        Ok(())
    }

    /// Ends a served attempt. If its slot was freed already, its task executor must hear so. If a
    /// later report said so, an older answer must not win.
    fn check_grant(&mut self, manager: &Manager, number: u64, by_answer: bool) -> Check {
        let attempt = &self.attempts[&number];
        let slot = manager.slot(&attempt.slot_id);
        let is_held = slot.is_some_and(|slot| slot.allocation_id() == Some(attempt.allocation_id));
        if by_answer {
            let answer = self.answered.get(&number).copied().flatten();
            let report = self.reported.get(&attempt.instance_id).copied();
            if is_held && answer.is_some() && answer < report {
                return Err(format!(
                    "revision {answer:?} of an answer beats {report:?} of a report: {attempt:?}"
                ));
            }
        }
        if is_held {
            self.attempts.remove(&number);
        }
        Ok(())
    }

    /// Checks that an attempt that is not in flight any more was answered, or freed at its task
    /// executor, or lost with it.
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
            if !answered.contains_key(number) {
                forgotten = Some(format!(
                    "attempt {number} ended without an answer or a free: {attempt:?}"
                ));
            }
            false
        });
        answered.retain(|number, _| self.attempts.contains_key(number));
        forgotten.map_or(Ok(()), Err)
    }

    /// Checks that no older request that fits the slot has waited since before the call. After a
    /// failed attempt, other rules decide.
    fn check_order(&self, manager: &Manager, served: &AllocateSlot) -> Check {
        let Some(slot) = manager.slot(&served.slot_id) else {
            return Ok(());
        };
        // In the order of their registrations. A served request that is over is missing.
        let earlier = manager
            .pending_slot_requests()
            .take_while(|request| request.allocation_id() != served.allocation_id);
        if self.has_failures || manager.pending_slot_request(served.allocation_id).is_none() {
            return Ok(());
        }
        for request in earlier {
            let waits = request.in_flight_to().is_none() && request.backs_off_until().is_none();
            if waits
                && self.waiting.contains(&request.allocation_id())
                && slot.resource_profile().is_matching(request.resource_profile())
            {
                return Err(format!("{request:?} waits, and the younger {served:?} was served"));
            }
        }
        Ok(())
    }

    /// Checks that the idle period of a task manager restarts only after a slot request.
    fn check_idle_periods(&mut self, manager: &Manager, asked: &BTreeSet<InstanceId>, several: bool) -> Check {
        let idle = manager.task_managers();
        let idle: BTreeMap<_, _> = idle
            .filter_map(|it| Some((it.instance_id(), it.idle_since()?)))
            .collect();
        for (instance_id, since) in &idle {
            let before = self.idle_since.get(instance_id);
            if before.is_some_and(|before| before != since) && !several && !asked.contains(instance_id) {
                return Err(format!(
                    "{instance_id} was idle since {before:?}, and now since {since}"
                ));
            }
        }
        self.idle_since = idle;
        Ok(())
    }
}
