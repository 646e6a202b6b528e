//! The policy about workers: description, limits, reserves, and the periods after a start.

use std::collections::BTreeSet;

use crate::config::{Limit, Limits, Quantity, WorkerPolicy};
use crate::message::WorkerPromise;
use crate::outcome::RecoveryOutcome;
use crate::view::Recovery;
use crate::{ResourceId, ResourceProfile, SlotManagerConfig, Timestamp};

use super::requests::RequestKey;
use super::start_backoff::StartBackoff;

/// The configured policy and its state.
#[derive(Debug)]
pub(crate) struct WorkerPolicyState {
    workers: Option<WorkerPolicy>,
    limits: Option<Limits>,
    /// The total of one worker; zero without a description.
    quantity_per_worker: Quantity,
    /// The number of slots to keep up.
    min_slots: usize,
    /// A single worker is within the limits.
    is_worker_possible: bool,
    /// Waiting requests whose worker request is deferred, oldest first.
    deferred: BTreeSet<(u64, RequestKey)>,
    /// Set while a rule is on that `reconcile` must check.
    is_active: bool,
    /// Unfulfillable requests fail instead of waiting.
    fails_unfulfillable: bool,
    /// Every waiting request must be checked again for that.
    must_check_all: bool,
    /// No reserve worker is requested before this time, because the last request was declined.
    reserve_backs_off_until: Option<Timestamp>,
    /// Worker requests are deferred after failed starts.
    pub(crate) start_backoff: StartBackoff,
    /// No worker is requested before this time.
    recovers_until: Option<Timestamp>,
    /// The expected workers that have not registered; the recovery ends when it is empty.
    missing_workers: Option<BTreeSet<ResourceId>>,
    /// The workers that have registered during the recovery.
    recovered_workers: BTreeSet<ResourceId>,
    /// No request fails as unfulfillable before this time.
    grace_until: Option<Timestamp>,
    /// The earliest end of these periods; `MAX` if none is set.
    earliest: Timestamp,
}

/// A period of the policy. Those that end at one time end in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyPeriod {
    ReserveBackoff,
    Recovery,
    Grace,
    StartBackoff,
}

impl WorkerPolicyState {
    /// Takes the policy from a valid configuration.
    pub(crate) fn new(config: &SlotManagerConfig) -> Self {
        let workers = config.workers.clone();
        let limits = workers.as_ref().and_then(WorkerPolicy::limits);
        let quantity_per_worker = workers
            .as_ref()
            .map_or_else(Quantity::default, |workers| workers.measure().of_worker());
        Self {
            min_slots: workers.as_ref().map_or(0, WorkerPolicy::slots_to_keep_up),
            workers,
            limits,
            quantity_per_worker,
            is_worker_possible: limits.is_none_or(|limits| limits.exceeded_by(quantity_per_worker).is_none()),
            deferred: BTreeSet::new(),
            is_active: false,
            fails_unfulfillable: config.fail_unfulfillable_requests,
            must_check_all: false,
            reserve_backs_off_until: None,
            start_backoff: StartBackoff::new(config),
            recovers_until: None,
            missing_workers: None,
            recovered_workers: BTreeSet::new(),
            grace_until: None,
            earliest: Timestamp::MAX,
        }
    }

    /// Begins the periods of a new leadership.
    pub(crate) fn start(&mut self, config: &SlotManagerConfig, now: Timestamp) {
        let until = |length: std::time::Duration| (!length.is_zero()).then(|| now + length);
        self.recovers_until = until(config.recovery_timeout);
        self.grace_until = until(config.unfulfillable_grace_period);
        self.update_activity();
        self.update_earliest();
    }

    /// Returns `true` while a rule is on that `reconcile` must check.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    fn update_activity(&mut self) {
        // Requests are deferred for limits, which need a description, for the recovery, and for the
        // start backoff.
        self.is_active = self.workers.is_some()
            || self.fails_unfulfillable
            || self.is_recovering()
            || self.start_backoff.is_on()
            || !self.deferred.is_empty();
    }

    /// Turns failing of unfulfillable requests on or off. Returns `true` if that is a change.
    pub(crate) fn set_fails_unfulfillable(&mut self, fails: bool) -> bool {
        let changes = self.fails_unfulfillable != fails;
        self.must_check_all |= fails && changes;
        self.fails_unfulfillable = fails;
        self.update_activity();
        changes
    }

    /// Lets every waiting request be checked again, if unfulfillable ones fail.
    pub(crate) fn check_all(&mut self) {
        self.must_check_all |= self.fails_unfulfillable;
    }

    /// Returns what `take_must_check_all` would return.
    pub(crate) fn must_check_all(&self) -> bool {
        self.must_check_all
    }

    /// Returns `true` once after each event that makes every waiting request worth another check.
    pub(crate) fn take_must_check_all(&mut self) -> bool {
        std::mem::take(&mut self.must_check_all)
    }

    /// Returns `true` if workers are described.
    pub(crate) fn is_described(&self) -> bool {
        self.workers.is_some()
    }

    /// Returns `false` if a new worker certainly cannot serve `required`.
    pub(crate) fn could_start(&self, required: &ResourceProfile) -> bool {
        self.workers
            .as_ref()
            .is_none_or(|workers| self.is_worker_possible && workers.description.could_serve(required))
    }

    /// Returns the promise of a new worker; `None` without a description.
    pub(crate) fn described_promise(&self) -> Option<WorkerPromise> {
        Some(self.workers.as_ref()?.description.promise())
    }

    /// Returns the number of slots of a new worker; 1 without a description.
    pub(crate) fn slots_per_worker(&self) -> usize {
        self.workers.as_ref().map_or(1, |workers| workers.description.slots())
    }

    /// Returns the profile to name in a request for a reserve worker.
    pub(crate) fn reserve_profile(&self) -> Option<&ResourceProfile> {
        Some(self.workers.as_ref()?.description.slot_profile())
    }

    /// Returns the limit that one more worker would exceed.
    pub(crate) fn limit_of_next_worker(&self, present: Quantity) -> Option<Limit> {
        self.exceeded_by(present + self.quantity_per_worker)
    }

    /// Returns the limit that a quantity exceeds.
    pub(crate) fn exceeded_by(&self, quantity: Quantity) -> Option<Limit> {
        self.limits.as_ref()?.exceeded_by(quantity)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Returns the number of slots to keep up.
    pub(crate) fn min_slots(&self) -> usize {
        self.min_slots
    }

    /// Returns the number of slots to keep free while `used` slots are used.
    pub(crate) fn redundant_slots(&self, used: usize) -> usize {
        match &self.workers {
            Some(workers) if used > 0 => workers
                .redundant_task_managers
                .saturating_mul(workers.description.slots()),
            _ => 0,
        }
    }

    pub(crate) fn defer(&mut self, sequence: u64, request: RequestKey) {
        self.deferred.insert((sequence, request));
    }

    pub(crate) fn remove_deferred(&mut self, sequence: u64, request: RequestKey) {
        self.deferred.remove(&(sequence, request));
        self.update_activity();
    }

    /// Returns the oldest request whose worker request is deferred.
    pub(crate) fn first_deferred(&self) -> Option<RequestKey> {
        let (_, request) = self.deferred.first()?;
        Some(*request)
    }

    pub(crate) fn deferred(&self) -> &BTreeSet<(u64, RequestKey)> {
        &self.deferred
    }

    /// Returns `true` while workers of the former leadership have time to register.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovers_until.is_some()
    }

    pub(crate) fn recovers_until(&self) -> Option<Timestamp> {
        self.recovers_until
    }

    /// Returns the recovery, until its end was handled.
    pub(crate) fn recovery(&self) -> Option<Recovery<'_>> {
        Some(Recovery {
            until: self.recovers_until?,
            missing_workers: self.missing_workers.as_ref(),
        })
    }

    /// Notes a worker that has registered. The last expected one ends the recovery.
    pub(crate) fn worker_registered(&mut self, resource_id: &ResourceId) {
        self.start_backoff.worker_registered();
        self.update_activity();
        if self.is_recovering() {
            self.recovered_workers.insert(resource_id.clone());
            if let Some(missing) = &mut self.missing_workers {
                missing.remove(resource_id);
            }
            self.end_recovery_if_complete();
        }
    }

    /// Sets the workers that are expected to register in this leadership.
    pub(crate) fn expect_workers(&mut self, workers: impl Iterator<Item = ResourceId>) -> RecoveryOutcome {
        if !self.is_recovering() {
            return RecoveryOutcome::NotRecovering;
        }
        let recovered = &self.recovered_workers;
        let missing: BTreeSet<_> = workers.filter(|worker| !recovered.contains(worker)).collect();
        let number = missing.len();
        self.missing_workers = Some(missing);
        self.end_recovery_if_complete();
        match number {
            0 => RecoveryOutcome::Ended,
            missing => RecoveryOutcome::Waiting { missing },
        }
    }

    fn end_recovery_if_complete(&mut self) {
        if self.missing_workers.as_ref().is_some_and(BTreeSet::is_empty) {
            self.end(PolicyPeriod::Recovery);
        }
    }

    /// Returns `true` if unfulfillable requests fail, apart from the grace period.
    pub(crate) fn fails_unfulfillable(&self) -> bool {
        self.fails_unfulfillable
    }

    /// Returns `true` if unfulfillable requests fail at present.
    pub(crate) fn fails_unfulfillable_now(&self) -> bool {
        self.fails_unfulfillable && self.grace_until.is_none()
    }

    /// Returns `true` if reserve workers may be requested at present.
    pub(crate) fn may_request_reserve(&self) -> bool {
        self.reserve_backs_off_until.is_none() && !self.is_recovering()
    }

    /// Stops requests for reserve workers for some time.
    pub(crate) fn back_off_reserve(&mut self, until: Timestamp) {
        self.reserve_backs_off_until = Some(until);
        self.update_earliest();
    }

    /// Begins a start backoff.
    pub(crate) fn back_off_starts(&mut self, until: Timestamp) {
        self.start_backoff.begin(until);
        self.update_earliest();
        self.update_activity();
    }

    /// Returns the earliest end of a period; `MAX` if none is running.
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest
    }

    fn periods(&self) -> [(Option<Timestamp>, PolicyPeriod); 4] {
        [
            (self.reserve_backs_off_until, PolicyPeriod::ReserveBackoff),
            (self.recovers_until, PolicyPeriod::Recovery),
            (self.grace_until, PolicyPeriod::Grace),
            (self.start_backoff.until(), PolicyPeriod::StartBackoff),
        ]
    }

    /// Returns the period that ends first.
    pub(crate) fn first_period(&self) -> Option<PolicyPeriod> {
        let first = self.periods().into_iter().find(|(at, _)| *at == Some(self.earliest));
        first.map(|(_, period)| period)
    }

    /// Ends a period.
    pub(crate) fn end(&mut self, period: PolicyPeriod) {
        match period {
            PolicyPeriod::ReserveBackoff => self.reserve_backs_off_until = None,
            PolicyPeriod::Recovery => self.end_recovery(),
            PolicyPeriod::Grace => {
                self.grace_until = None;
                self.must_check_all = true;
            }
            PolicyPeriod::StartBackoff => self.start_backoff.end(),
        }
        self.update_earliest();
        self.update_activity();
    }

    fn end_recovery(&mut self) {
        self.recovers_until = None;
        self.missing_workers = None;
        self.recovered_workers.clear();
    }

    fn update_earliest(&mut self) {
        let ends = self.periods().into_iter().filter_map(|(at, _)| at);
        self.earliest = ends.min().unwrap_or(Timestamp::MAX);
    }

    /// Breaks what [`is_earliest_known`](Self::is_earliest_known) checks, for its tests.
    #[cfg(test)]
    pub(crate) fn forget_earliest(&mut self) {
        self.earliest = Timestamp::MAX;
    }

    /// Returns `true` if no period ends before the earliest known end; for the check of invariants.
    pub(crate) fn is_earliest_known(&self) -> bool {
        let mut ends = self.periods().into_iter().filter_map(|(at, _)| at);
        ends.all(|at| self.earliest <= at)
    }

    /// Ends a leadership. The configuration stays, and so does a later change to it.
    pub(crate) fn clear(&mut self) {
        self.deferred.clear();
        self.must_check_all = false;
        self.reserve_backs_off_until = None;
        self.start_backoff.clear();
        self.end_recovery();
        self.grace_until = None;
        self.update_earliest();
    }
}
