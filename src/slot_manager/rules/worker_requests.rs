//! Which workers are asked for, what comes of it, and which are not needed after all.

use crate::config::Quantity;
use crate::{Limit, RequestFailure, ResourceManagerError, ResourceProfile, Withdrawal, WorkerPromise, WorkerRequestId};

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{Ask, RequestKey, RequestState};
use crate::slot_manager::state::slot_totals::Use;

/// What the resource manager says.
type Answer = Result<WorkerPromise, ResourceManagerError>;

impl Core {
    /// All slots there are, and those that are promised.
    pub(crate) fn present(&self) -> Quantity {
        self.census.registered() + self.census.promised()
    }

    /// Whether a worker may be asked for: not within the time for recovery, and not beyond the limits.
    fn may_ask(&self) -> bool {
        !self.demand.is_recovering() && (!self.demand.is_limited() || self.limit_of_next_worker().is_none())
    }

    /// The limit that a worker more would be beyond.
    pub(crate) fn limit_of_next_worker(&self) -> Option<Limit> {
        self.demand.limit_of_next_worker(self.present())
    }

    /// The fewest slots there are to be, and how many of them free as long as some slot is used.
    pub(crate) fn reserves(&self) -> (usize, usize) {
        let redundant = self.demand.redundant_slots(self.census.used_slots());
        (self.config.min_slots, redundant)
    }

    /// Slots that a request would find, or could be covered by.
    fn spare_slots(&self) -> usize {
        self.census.slots(Use::Free) + self.promised_slots.num_unbound()
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
        if record.sequence != sequence || record.state != RequestState::Uncovered(Ask::Due) {
            return None;
        }
        let profile = record.profile;
        if self.demand.is_active() && !self.is_to_be_asked_now(request) {
            return None;
        }
        Some((self.next_worker_request(), profile))
    }

    /// Whether the ask for a request that is due is to be made now. If not, it is noted whether it will be at all.
    fn is_to_be_asked_now(&mut self, request: RequestKey) -> bool {
        let record = &mut self.requests.records[request];
        if !self.demand.could_start(&self.profiles[record.profile]) {
            record.state = RequestState::Uncovered(Ask::Useless);
            self.fail_if_unfulfillable(request);
            return false;
        }
        if self.demand.first_held().is_some() || !self.may_ask() {
            if let (None, Some(limit)) = (self.demand.first_held(), self.limit_of_next_worker()) {
                tracing::warn!(%limit, "no worker is asked for: the limit is reached");
            }
            let record = &mut self.requests.records[request];
            record.state = RequestState::Uncovered(Ask::Held);
            self.demand.hold(record.sequence, request);
            return false;
        }
        true
    }

    /// Begins to ask for a worker for the oldest request that is held, if one may be asked for now.
    pub(crate) fn begin_held_ask(&mut self) -> Option<(RequestKey, WorkerRequestId, ProfileKey)> {
        let request = self.demand.first_held()?;
        if !self.may_ask() {
            return None;
        }
        let record = &mut self.requests.records[request];
        record.state = RequestState::Uncovered(Ask::Due);
        let (sequence, profile) = (record.sequence, record.profile);
        self.demand.release_held(sequence, request);
        Some((request, self.next_worker_request(), profile))
    }

    /// How many workers are missing that nobody waits for: for the fewest slots, and for redundancy.
    pub(crate) fn missing_workers(&self) -> usize {
        let (floor, redundant) = self.reserves();
        if (floor, redundant) == (0, 0) || !self.demand.asks_for_spares() {
            return 0;
        }
        let spare = self.spare_slots();
        let missing = floor
            .saturating_sub(self.usable_slots())
            .max(redundant.saturating_sub(spare));
        missing.div_ceil(self.demand.slots_per_worker())
    }

    /// Begins to ask for a worker that nobody waits for.
    pub(crate) fn begin_spare_ask(&mut self) -> Option<(WorkerRequestId, ResourceProfile)> {
        if !self.may_ask() {
            return None;
        }
        let profile = self.demand.spare_profile()?.clone();
        Some((self.next_worker_request(), profile))
    }

    /// What comes of an answer that promises more than the limits allow: nothing.
    #[inline]
    pub(crate) fn is_beyond_limits(&self, worker_request: WorkerRequestId, answer: &Answer) -> bool {
        self.demand.is_limited() && self.exceeds_limits(worker_request, answer)
    }

    fn exceeds_limits(&self, worker_request: WorkerRequestId, answer: &Answer) -> bool {
        let Ok(WorkerPromise::Slots(profiles)) = answer else {
            return false;
        };
        let slots = profiles.iter().map(Quantity::of_slot);
        let with_it = slots.fold(self.present(), |sum, slot| sum + slot);
        let Some(limit) = self.demand.exceeded_by(with_it) else {
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
                let described = self.demand.described_slots().unwrap_or_else(|| {
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
        self.decline_if_uncovered(request);
    }

    /// Applies the answer to an ask for a worker that nobody waits for. If none comes, none is asked for for some time;
    /// returns whether one does.
    pub(crate) fn apply_spare_promise(&mut self, worker_request: WorkerRequestId, answer: Answer) -> bool {
        let promised = match answer {
            Ok(WorkerPromise::Slots(profiles)) => profiles,
            Ok(WorkerPromise::Unspecified) => self.demand.described_slots().unwrap_or_default(),
            Ok(WorkerPromise::Declined) => Vec::new(),
            Err(error) => {
                tracing::warn!(%worker_request, %error, "no worker to have in reserve");
                Vec::new()
            }
        };
        if promised.is_empty() {
            self.counters.workers_declined += 1;
            let until = self.deadline_in(self.config.worker_registration_timeout);
            self.demand.back_off_reserve(until);
            return false;
        }
        for promise in self.promise(worker_request, &promised) {
            self.cover_with(promise);
        }
        true
    }

    /// A request that is still uncovered after its ask waits for registered slots, and asks again later; unless nothing
    /// could ever serve it.
    #[inline]
    fn decline_if_uncovered(&mut self, request: RequestKey) {
        if self.requests.records[request].state != RequestState::Uncovered(Ask::Due) {
            return;
        }
        self.counters.workers_declined += 1;
        let timer = self.deadline_in(self.config.worker_registration_timeout);
        let record = &mut self.requests.records[request];
        record.state = RequestState::Uncovered(Ask::Declined);
        record.timer = timer;
        self.requests.ask_repeats.arm(&mut self.requests.records, request);
        if self.demand.is_active() {
            self.fail_if_unfulfillable(request);
        }
    }

    /// Lets a declined request ask again.
    pub(crate) fn repeat_ask(&mut self, request: RequestKey) {
        self.take_uncovered(request);
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
