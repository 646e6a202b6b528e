//! Which workers are asked for, what comes of it, and which are not needed after all.

use crate::config::Quantity;
use crate::{Limit, RequestFailure, ResourceManagerError, ResourceProfile, Withdrawal, WorkerPromise, WorkerRequestId};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};
use crate::slot_manager::state::slot_totals::SlotUsage;

/// What the resource manager says.
type Answer = Result<WorkerPromise, ResourceManagerError>;

impl Core {
    /// All slots there are, and those that are promised.
    pub(crate) fn present(&self) -> Quantity {
        self.slot_totals.registered() + self.slot_totals.promised()
    }

    /// Whether a worker may be asked for: not within the time for recovery, and not beyond the limits.
    fn may_ask(&self) -> bool {
        !self.worker_policy.is_recovering()
            && (!self.worker_policy.is_limited() || self.limit_of_next_worker().is_none())
    }

    /// The limit that a worker more would be beyond.
    pub(crate) fn limit_of_next_worker(&self) -> Option<Limit> {
        self.worker_policy.limit_of_next_worker(self.present())
    }

    /// The fewest slots there are to be, and how many of them free as long as some slot is used.
    pub(crate) fn reserves(&self) -> (usize, usize) {
        let redundant = self.worker_policy.redundant_slots(self.slot_totals.used_slots());
        (self.config.min_slots, redundant)
    }

    /// Slots that a request would find, or could be covered by.
    fn spare_slots(&self) -> usize {
        self.slot_totals.slots(SlotUsage::Free) + self.promised_slots.num_unbound()
    }

    fn next_worker_request(&mut self) -> WorkerRequestId {
        self.worker_requests += 1;
        self.counters.workers_requested += 1;
        WorkerRequestId::new(self.worker_requests)
    }

    /// Begins to ask for a worker, if the request noted in the effects still needs one, and one may be asked for.
    #[inline]
    pub(crate) fn begin_ask(&mut self, sequence: u64, request: RequestKey) -> Option<(WorkerRequestId, ProfileKey)> {
        let record = self.requests.records.get(request)?;
        if record.sequence != sequence || record.phase != RequestPhase::Unbound(WorkerAsk::Due) {
            return None;
        }
        let profile = record.profile;
        if self.worker_policy.is_active() && !self.is_to_be_asked_now(request) {
            return None;
        }
        Some((self.next_worker_request(), profile))
    }

    /// Whether the ask for a request that is due is to be made now. If not, it is noted whether it will be at all.
    fn is_to_be_asked_now(&mut self, request: RequestKey) -> bool {
        let record = &mut self.requests.records[request];
        if !self.worker_policy.could_start(&self.profiles[record.profile]) {
            record.phase = RequestPhase::Unbound(WorkerAsk::Useless);
            self.fail_if_unfulfillable(request);
            return false;
        }
        if self.worker_policy.first_deferred().is_some() || !self.may_ask() {
            if let (None, Some(limit)) = (self.worker_policy.first_deferred(), self.limit_of_next_worker()) {
                tracing::warn!(%limit, "no worker is asked for: the limit is reached");
            }
            let record = &mut self.requests.records[request];
            record.phase = RequestPhase::Unbound(WorkerAsk::Deferred);
            self.worker_policy.defer(record.sequence, request);
            return false;
        }
        true
    }

    /// Begins to ask for a worker for the oldest request that is held, if one may be asked for now.
    pub(crate) fn begin_deferred_ask(&mut self) -> Option<(RequestKey, WorkerRequestId, ProfileKey)> {
        let request = self.worker_policy.first_deferred()?;
        if !self.may_ask() {
            return None;
        }
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Unbound(WorkerAsk::Due);
        let (sequence, profile) = (record.sequence, record.profile);
        self.worker_policy.remove_deferred(sequence, request);
        Some((request, self.next_worker_request(), profile))
    }

    /// How many workers are missing that nobody waits for: for the fewest slots, and for redundancy.
    pub(crate) fn missing_workers(&self) -> usize {
        let (floor, redundant) = self.reserves();
        if (floor, redundant) == (0, 0) || !self.worker_policy.requests_reserve() {
            return 0;
        }
        let spare = self.spare_slots();
        let missing = floor
            .saturating_sub(self.usable_slots())
            .max(redundant.saturating_sub(spare));
        missing.div_ceil(self.worker_policy.slots_per_worker())
    }

    /// Begins to ask for a worker that nobody waits for.
    pub(crate) fn begin_reserve_ask(&mut self) -> Option<(WorkerRequestId, ResourceProfile)> {
        if !self.may_ask() {
            return None;
        }
        let profile = self.worker_policy.reserve_profile()?.clone();
        Some((self.next_worker_request(), profile))
    }

    /// What comes of an answer that promises more than the limits allow: nothing.
    #[inline]
    pub(crate) fn is_beyond_limits(&self, worker_request: WorkerRequestId, answer: &Answer) -> bool {
        self.worker_policy.is_limited() && self.exceeds_limits(worker_request, answer)
    }

    fn exceeds_limits(&self, worker_request: WorkerRequestId, answer: &Answer) -> bool {
        let Ok(WorkerPromise::Slots(profiles)) = answer else {
            return false;
        };
        let slots = profiles.iter().map(Quantity::of_slot);
        let with_it = slots.fold(self.present(), |sum, slot| sum + slot);
        let Some(limit) = self.worker_policy.exceeded_by(with_it) else {
            return false;
        };
        tracing::warn!(%worker_request, slots = profiles.len(), %limit, "promise beyond the limit not taken");
        true
    }

    /// Applies the answer to the ask for a request. Inlined, or each request that waits pays for the call.
    #[inline(always)]
    pub(crate) fn apply_promise(&mut self, request: RequestKey, worker_request: WorkerRequestId, answer: Answer) {
        match answer {
            Ok(WorkerPromise::Slots(profiles)) => self.promise_for(request, worker_request, &profiles),
            Ok(WorkerPromise::Unspecified) => {
                let described = self.worker_policy.described_slots().unwrap_or_else(|| {
                    let asked = self.requests.records[request].profile;
                    vec![self.profiles[asked].clone()]
                });
                self.promise_for(request, worker_request, &described);
            }
            Ok(WorkerPromise::Declined) => {}
            Err(error) => {
                self.counters.workers_declined += 1;
                self.fail(request, RequestFailure::ResourceManager(error));
                self.commit();
                return;
            }
        }
        self.decline_if_unbound(request);
    }

    /// Applies the answer to an ask for a worker that nobody waits for. If none comes, none is asked for for some time;
    /// returns whether one does.
    pub(crate) fn apply_reserve_promise(&mut self, worker_request: WorkerRequestId, answer: Answer) -> bool {
        let promised = match answer {
            Ok(WorkerPromise::Slots(profiles)) => profiles,
            Ok(WorkerPromise::Unspecified) => self.worker_policy.described_slots().unwrap_or_default(),
            Ok(WorkerPromise::Declined) => Vec::new(),
            Err(error) => {
                tracing::warn!(%worker_request, %error, "no worker to have in reserve");
                Vec::new()
            }
        };
        if promised.is_empty() {
            self.counters.workers_declined += 1;
            let until = self.deadline_in(self.config.worker_registration_timeout);
            self.worker_policy.back_off_reserve(until);
            return false;
        }
        for promise in self.promise(worker_request, &promised) {
            self.bind_to_oldest(promise);
        }
        true
    }

    /// A request that is still uncovered after its ask waits for registered slots, and asks again later; unless nothing
    /// could ever serve it.
    #[inline]
    fn decline_if_unbound(&mut self, request: RequestKey) {
        if self.requests.records[request].phase != RequestPhase::Unbound(WorkerAsk::Due) {
            return;
        }
        self.counters.workers_declined += 1;
        let timer = self.deadline_in(self.config.worker_registration_timeout);
        let record = &mut self.requests.records[request];
        record.phase = RequestPhase::Unbound(WorkerAsk::Declined);
        record.timer = timer;
        self.requests.ask_retries.arm(&mut self.requests.records, request);
        if self.worker_policy.is_active() {
            self.fail_if_unfulfillable(request);
        }
    }

    /// Lets a declined request ask again.
    pub(crate) fn retry_ask(&mut self, request: RequestKey) {
        self.take_unbound(request);
        self.enqueue(request);
    }

    /// The promised worker that is to be withdrawn next: its slots cover nobody, none of them has come, and neither the
    /// fewest slots nor redundancy needs them. It is not asked for twice.
    pub(crate) fn begin_withdrawal(&mut self) -> Option<WorkerRequestId> {
        let (slots, worker_request) = self.promised_slots.first_surplus()?;
        let (floor, redundant) = self.reserves();
        let spare = self.spare_slots();
        let is_wanted = |wanted: usize, present: usize| wanted > 0 && present < wanted.saturating_add(slots);
        if is_wanted(floor, self.usable_slots()) || is_wanted(redundant, spare) {
            return None;
        }
        self.promised_slots.ask_to_withdraw(worker_request);
        Some(self.promised_slots.worker_requests[worker_request].id)
    }

    /// Applies what comes of the wish to withdraw a promised worker.
    pub(crate) fn apply_withdrawal(&mut self, worker_request: WorkerRequestId, withdrawal: Withdrawal) {
        if withdrawal == Withdrawal::Confirmed {
            if let Some(key) = self.promised_slots.find(worker_request) {
                tracing::info!(%worker_request, "promised worker withdrawn");
                self.counters.workers_withdrawn += 1;
                self.forget_worker_request(key);
            }
        }
    }
}
