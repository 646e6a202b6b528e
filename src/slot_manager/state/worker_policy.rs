//! What decides whether workers are asked for: the limits, what is kept in reserve, and the times after a start.

use std::collections::BTreeSet;

use crate::config::{Limits, Quantity};
use crate::{Limit, ResourceProfile, SlotManagerConfig, Timestamp};

use crate::slot_manager::state::requests::RequestKey;

#[derive(Debug)]
pub(crate) struct WorkerPolicyState {
    worker: Option<DescribedWorker>,
    limits: Option<Limits>,
    redundant_task_managers: usize,
    /// Waiting requests for which a worker will be asked when one may be, oldest first.
    deferred: BTreeSet<(u64, RequestKey)>,
    /// Whether there can be anything to look at when a call ends.
    is_active: bool,
    /// Whether requests that nothing could serve are to fail.
    fails_unfulfillable: bool,
    /// All waiting requests are to be looked at again for that.
    looks_at_all: bool,
    /// When workers that nobody waits for are asked for again, after the last one was declined.
    reserve_request_at: Option<Timestamp>,
    /// Until then, no worker is asked for.
    recovers_until: Option<Timestamp>,
    /// Until then, no request fails because nothing could serve it.
    grace_until: Option<Timestamp>,
    /// The earliest of these times.
    earliest: Timestamp,
}

/// A worker as it is described.
#[derive(Debug)]
struct DescribedWorker {
    slots: usize,
    slot_profile: ResourceProfile,
    quantity: Quantity,
    /// One of them alone is within the limits.
    is_possible: bool,
}

/// What ends at the earliest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    ReserveBackoff,
    Recovery,
    GracePeriod,
}

impl WorkerPolicyState {
    /// What a valid configuration says.
    pub(crate) fn new(config: &SlotManagerConfig) -> Self {
        let limits = config.limits();
        let worker = config.worker_description.as_ref().map(|worker| DescribedWorker {
            slots: worker.slots(),
            slot_profile: worker.slot_profile().clone(),
            quantity: worker.quantity(),
            is_possible: limits.is_none_or(|limits| limits.exceeded_by(worker.quantity()).is_none()),
        });
        Self {
            worker,
            limits,
            redundant_task_managers: config.redundant_task_managers,
            deferred: BTreeSet::new(),
            is_active: false,
            fails_unfulfillable: config.fail_unfulfillable_requests,
            looks_at_all: false,
            reserve_request_at: None,
            recovers_until: None,
            grace_until: None,
            earliest: Timestamp::MAX,
        }
    }

    /// Begins a leadership.
    pub(crate) fn start(&mut self, config: &SlotManagerConfig, now: Timestamp) {
        let until = |length: std::time::Duration| (!length.is_zero()).then(|| now + length);
        self.recovers_until = until(config.recovery_timeout);
        self.note_activity();
        self.grace_until = until(config.unfulfillable_grace_period);
        self.note_earliest();
    }

    /// Whether there can be anything to look at when a call ends, beside promises that nobody needs.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// Requests are deferred only for limits, which need a worker that is described, and for recovery.
    fn note_activity(&mut self) {
        self.is_active =
            self.worker.is_some() || self.fails_unfulfillable || self.is_recovering() || !self.deferred.is_empty();
    }

    /// Sets whether requests that nothing could serve are to fail. Returns whether that changes something.
    pub(crate) fn set_fails_unfulfillable(&mut self, fails: bool) -> bool {
        let changes = self.fails_unfulfillable != fails;
        self.looks_at_all |= fails && changes;
        self.fails_unfulfillable = fails;
        self.note_activity();
        changes
    }

    /// Whether all waiting requests are to be looked at again.
    pub(crate) fn take_looks_at_all(&mut self) -> bool {
        std::mem::take(&mut self.looks_at_all)
    }

    /// Whether nothing but the description of the worker says whether one could be started.
    pub(crate) fn is_described(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether a worker could be started for a request, as far as is known.
    pub(crate) fn could_start(&self, required: &ResourceProfile) -> bool {
        self.worker
            .as_ref()
            .is_none_or(|worker| worker.is_possible && worker.slot_profile.is_matching(required))
    }

    /// The slots of a worker that comes, if it is described.
    pub(crate) fn described_slots(&self) -> Option<Vec<ResourceProfile>> {
        let worker = self.worker.as_ref()?;
        Some(vec![worker.slot_profile.clone(); worker.slots])
    }

    pub(crate) fn slots_per_worker(&self) -> usize {
        self.worker.as_ref().map_or(1, |worker| worker.slots)
    }

    /// The profile that is asked for when nobody waits.
    pub(crate) fn reserve_profile(&self) -> Option<&ResourceProfile> {
        Some(&self.worker.as_ref()?.slot_profile)
    }

    /// The limit that a worker more than there is would be beyond.
    pub(crate) fn limit_of_next_worker(&self, present: Quantity) -> Option<Limit> {
        let one = self
            .worker
            .as_ref()
            .map_or(Quantity::default(), |worker| worker.quantity);
        self.exceeded_by(present + one)
    }

    /// The limit that so much would be beyond.
    pub(crate) fn exceeded_by(&self, quantity: Quantity) -> Option<Limit> {
        self.limits.as_ref()?.exceeded_by(quantity)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// How many slots are to be free while so many are used.
    pub(crate) fn redundant_slots(&self, used: usize) -> usize {
        match used {
            0 => 0,
            _ => self.redundant_task_managers.saturating_mul(self.slots_per_worker()),
        }
    }

    pub(crate) fn defer(&mut self, sequence: u64, request: RequestKey) {
        self.deferred.insert((sequence, request));
    }

    pub(crate) fn remove_deferred(&mut self, sequence: u64, request: RequestKey) {
        self.deferred.remove(&(sequence, request));
        self.note_activity();
    }

    /// The oldest request that is deferred.
    pub(crate) fn first_deferred(&self) -> Option<RequestKey> {
        let (_, request) = self.deferred.first()?;
        Some(*request)
    }

    pub(crate) fn deferred(&self) -> &BTreeSet<(u64, RequestKey)> {
        &self.deferred
    }

    /// Whether workers are asked for at all.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovers_until.is_some()
    }

    pub(crate) fn recovers_until(&self) -> Option<Timestamp> {
        self.recovers_until
    }

    /// Whether requests that nothing could serve are to fail, as it was set.
    pub(crate) fn fails_unfulfillable(&self) -> bool {
        self.fails_unfulfillable
    }

    /// Whether requests that nothing could serve fail now.
    pub(crate) fn fails_unfulfillable_now(&self) -> bool {
        self.fails_unfulfillable && self.grace_until.is_none()
    }

    /// Whether workers that nobody waits for may be asked for.
    pub(crate) fn requests_reserve(&self) -> bool {
        self.reserve_request_at.is_none() && !self.is_recovering()
    }

    pub(crate) fn back_off_reserve(&mut self, until: Timestamp) {
        self.reserve_request_at = Some(until);
        self.note_earliest();
    }

    /// When one of the times ends; `MAX` for never.
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest
    }

    /// What ends first; of several at one time, the first in the order of [`Ending`].
    pub(crate) fn first_ending(&self) -> Option<Ending> {
        [
            (self.reserve_request_at, Ending::ReserveBackoff),
            (self.recovers_until, Ending::Recovery),
            (self.grace_until, Ending::GracePeriod),
        ]
        .into_iter()
        .find(|(at, _)| *at == Some(self.earliest))
        .map(|(_, ending)| ending)
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        match ending {
            Ending::ReserveBackoff => self.reserve_request_at = None,
            Ending::Recovery => self.recovers_until = None,
            Ending::GracePeriod => {
                self.grace_until = None;
                self.looks_at_all = true;
            }
        }
        self.note_earliest();
        self.note_activity();
    }

    fn note_earliest(&mut self) {
        let times = [self.reserve_request_at, self.recovers_until, self.grace_until];
        self.earliest = times.into_iter().flatten().min().unwrap_or(Timestamp::MAX);
    }

    /// For the tests of that check.
    #[cfg(test)]
    pub(crate) fn forget_earliest(&mut self) {
        self.earliest = Timestamp::MAX;
    }

    /// Whether the earliest of the times is known; for the check of invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let times = [self.reserve_request_at, self.recovers_until, self.grace_until];
        times.into_iter().flatten().all(|time| self.earliest <= time)
    }

    /// Ends a leadership. What was configured stays, and so does what was set since.
    pub(crate) fn clear(&mut self) {
        self.deferred.clear();
        self.looks_at_all = false;
        self.reserve_request_at = None;
        self.recovers_until = None;
        self.grace_until = None;
        self.note_earliest();
    }
}
