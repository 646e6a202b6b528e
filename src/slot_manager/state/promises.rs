//! Promised slots, with their worker requests and the waiting requests bound to them.
//!
//! A binding is no reservation. It only decides whether a worker is requested for the request.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::{ResourceProfile, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::id_index::{IdIndex, Identified};
use crate::slot_manager::collections::linked_list::{Links, List, linked};
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, ProfileQueues, Profiles, Queued};
use crate::slot_manager::state::requests::RequestKey;

key! {
    /// A promised slot.
    PromiseKey
}

key! {
    /// A worker request with promised slots.
    WorkerRequestKey
}

/// A promised slot.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) worker_request: WorkerRequestKey,
    pub(crate) profile: ProfileKey,
    /// The waiting request that is bound to the slot.
    pub(crate) bound_to: Option<RequestKey>,
    /// A number that grows with each promised slot.
    pub(crate) sequence: u64,
    /// A number that grows with each slot that becomes unbound.
    unbound_sequence: u64,
    all_links: Links<PromiseKey>,
    unbound_links: Links<PromiseKey>,
    worker_links: Links<PromiseKey>,
}

/// The number of a worker request in the present leadership.
pub(crate) type WorkerRequestNumber = u64;

/// A worker request and its promised slots.
#[derive(Debug)]
pub(crate) struct WorkerRequest {
    pub(crate) number: WorkerRequestNumber,
    pub(crate) expires_at: Timestamp,
    pub(crate) slots: List<OfWorkerRequest, PromiseKey>,
    num_slots: usize,
    /// The number of slots with a bound request.
    num_bound: usize,
    withdrawal: WithdrawalState,
    links: Links<WorkerRequestKey>,
}

/// The steps from a surplus worker request to its withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithdrawalState {
    /// A request is bound to one of its slots.
    None,
    /// No request is bound to its slots. `first_surplus` lists it, unless that changes before.
    Noted,
    /// It is in the list of surplus worker requests.
    Listed,
    /// The withdrawal was requested. It is not repeated before a request was bound to a slot again.
    Requested,
    /// The worker has begun to fulfil its promise.
    TooLate,
}

/// The kind of the queues of all promised slots, oldest first.
#[derive(Debug)]
pub(crate) enum All {}

/// The kind of the queues of unbound promised slots.
#[derive(Debug)]
pub(crate) enum Unbound {}

/// The kind of the lists of promised slots of one worker request.
#[derive(Debug)]
pub(crate) enum OfWorkerRequest {}

/// The kind of the list of worker requests by the end of their registration timeout.
#[derive(Debug)]
pub(crate) enum Expiry {}

linked!(Promise, PromiseKey, All => all_links, Unbound => unbound_links, OfWorkerRequest => worker_links);
linked!(WorkerRequest, WorkerRequestKey, Expiry => links);

impl Queued<All, PromiseKey> for Promise {
    fn place(&self) -> u64 {
        self.sequence
    }
}

impl Queued<Unbound, PromiseKey> for Promise {
    fn place(&self) -> u64 {
        self.unbound_sequence
    }
}

impl Timed<Expiry, WorkerRequestKey> for WorkerRequest {
    fn due_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl Identified<WorkerRequestNumber> for WorkerRequest {
    fn id(&self) -> &WorkerRequestNumber {
        &self.number
    }
}

/// All promised slots and their worker requests.
#[derive(Debug)]
pub(crate) struct Promises {
    pub(crate) records: Arena<PromiseKey, Promise>,
    pub(crate) worker_requests: Arena<WorkerRequestKey, WorkerRequest>,
    pub(crate) expiries: DeadlineList<Expiry, WorkerRequestKey>,
    by_number: IdIndex<WorkerRequestNumber, WorkerRequestKey>,
    all: ProfileQueues<All, PromiseKey>,
    unbound: ProfileQueues<Unbound, PromiseKey>,
    num_unbound: usize,
    next_sequence: u64,
    /// Set while one of the two lists below may have a member.
    has_surplus: bool,
    /// Worker requests that became surplus in this call. The number fences the key.
    surplus_candidates: Vec<(WorkerRequestKey, WorkerRequestNumber)>,
    /// Surplus worker requests: fewest slots first, then newest first.
    surplus: BTreeSet<(usize, Reverse<WorkerRequestNumber>, WorkerRequestKey)>,
}

impl Promises {
    pub(crate) fn new() -> Self {
        Self {
            records: Arena::new(),
            worker_requests: Arena::new(),
            expiries: DeadlineList::default(),
            by_number: IdIndex::new(),
            all: ProfileQueues::new(),
            unbound: ProfileQueues::new(),
            num_unbound: 0,
            next_sequence: 0,
            has_surplus: false,
            surplus_candidates: Vec::new(),
            surplus: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn num_unbound(&self) -> usize {
        self.num_unbound
    }

    /// Adds a worker request and its slots, in the order promised.
    ///
    /// The slots are unbound, and not yet in a queue of unbound slots.
    pub(crate) fn insert(
        &mut self,
        number: WorkerRequestNumber,
        expires_at: Timestamp,
        profiles: &Profiles,
        promised: impl Iterator<Item = ProfileKey>,
    ) -> Vec<PromiseKey> {
        let worker_request = self.worker_requests.insert(WorkerRequest {
            number,
            expires_at,
            slots: List::default(),
            num_slots: 0,
            num_bound: 0,
            withdrawal: WithdrawalState::None,
            links: Links::default(),
        });
        self.note_if_surplus(worker_request);
        self.by_number.insert(&self.worker_requests, worker_request);
        self.expiries.arm(&mut self.worker_requests, worker_request);
        promised
            .map(|profile| {
                let sequence = self.take_sequence();
                let promise = self.records.insert(Promise {
                    worker_request,
                    profile,
                    bound_to: None,
                    sequence,
                    unbound_sequence: 0,
                    all_links: Links::default(),
                    unbound_links: Links::default(),
                    worker_links: Links::default(),
                });
                self.all.push(&mut self.records, profiles, profile, promise);
                let worker = &mut self.worker_requests[worker_request];
                worker.slots.push_back(&mut self.records, promise);
                worker.num_slots += 1;
                promise
            })
            .collect()
    }

    /// Binds a request to a promised slot.
    pub(crate) fn bind(&mut self, promise: PromiseKey, request: RequestKey) {
        let record = &mut self.records[promise];
        record.bound_to = Some(request);
        let key = record.worker_request;
        self.remove_from_surplus(key);
        let worker = &mut self.worker_requests[key];
        worker.num_bound += 1;
        if worker.withdrawal != WithdrawalState::TooLate {
            worker.withdrawal = WithdrawalState::None;
        }
    }

    /// Unbinds the request of a promised slot, if any.
    pub(crate) fn unbind(&mut self, promise: PromiseKey) {
        let record = &mut self.records[promise];
        if record.bound_to.take().is_some() {
            let key = record.worker_request;
            self.worker_requests[key].num_bound -= 1;
            self.note_if_surplus(key);
        }
    }

    /// Records that the worker of a promised slot has come: it is too late to withdraw the worker.
    pub(crate) fn begin_to_fulfil(&mut self, promise: PromiseKey) {
        let key = self.records[promise].worker_request;
        self.remove_from_surplus(key);
        self.worker_requests[key].withdrawal = WithdrawalState::TooLate;
    }

    /// Makes a worker request a surplus candidate if no request is bound to its slots.
    fn note_if_surplus(&mut self, key: WorkerRequestKey) {
        let worker = &mut self.worker_requests[key];
        if worker.num_bound == 0 && worker.withdrawal == WithdrawalState::None {
            worker.withdrawal = WithdrawalState::Noted;
            self.surplus_candidates.push((key, worker.number));
            self.has_surplus = true;
        }
    }

    /// Removes a worker request from the list of surplus worker requests.
    fn remove_from_surplus(&mut self, key: WorkerRequestKey) {
        let worker = &self.worker_requests[key];
        if worker.withdrawal == WithdrawalState::Listed {
            self.surplus.remove(&(worker.num_slots, Reverse(worker.number), key));
        }
    }

    /// Returns `true` if a worker request may be surplus.
    #[inline]
    pub(crate) fn may_have_surplus(&self) -> bool {
        self.has_surplus
    }

    /// Returns the surplus worker request to withdraw first, with its number of slots.
    ///
    /// Worker requests whose withdrawal was requested already do not count.
    pub(crate) fn first_surplus(&mut self) -> Option<(usize, WorkerRequestKey)> {
        for (key, number) in self.surplus_candidates.drain(..) {
            if let Some(worker) = self.worker_requests.get_mut(key) {
                if worker.number == number && worker.withdrawal == WithdrawalState::Noted {
                    worker.withdrawal = WithdrawalState::Listed;
                    self.surplus.insert((worker.num_slots, Reverse(number), key));
                }
            }
        }
        self.has_surplus = !self.surplus.is_empty();
        let (slots, _, worker_request) = self.surplus.first()?;
        Some((*slots, *worker_request))
    }

    /// Records that the withdrawal of a worker request is requested now.
    pub(crate) fn mark_withdrawal_requested(&mut self, key: WorkerRequestKey) {
        self.remove_from_surplus(key);
        self.worker_requests[key].withdrawal = WithdrawalState::Requested;
    }

    /// Queues an unbound promised slot.
    pub(crate) fn push_unbound(&mut self, profiles: &Profiles, promise: PromiseKey) {
        let sequence = self.take_sequence();
        let record = &mut self.records[promise];
        record.unbound_sequence = sequence;
        let profile = record.profile;
        self.unbound.push(&mut self.records, profiles, profile, promise);
        self.num_unbound += 1;
    }

    /// Takes the promised slot that fits `required` and has been unbound longest out of its queue.
    #[inline]
    pub(crate) fn take_unbound(&mut self, profiles: &Profiles, required: ProfileKey) -> Option<PromiseKey> {
        if self.num_unbound == 0 {
            return None;
        }
        let (_, promise) = self.first_unbound(profiles, required)?;
        self.remove_unbound(promise);
        Some(promise)
    }

    /// Returns the promised slot that fits `required` and has been unbound longest.
    pub(crate) fn first_unbound(&self, profiles: &Profiles, required: ProfileKey) -> Option<(u64, PromiseKey)> {
        self.unbound
            .first_fitting(&self.records, profiles, Fitting::Request(&profiles[required]))
    }

    fn remove_unbound(&mut self, promise: PromiseKey) {
        let profile = self.records[promise].profile;
        self.unbound.remove(&mut self.records, profile, promise);
        self.num_unbound -= 1;
    }

    /// Returns the promised slot that a new slot fulfils.
    ///
    /// If the task manager names a worker request, only its promised slots count: first an equal
    /// profile, then a profile that the slot fits, then the oldest. Otherwise all promised slots
    /// count: first an equal profile, then the oldest that the slot fits.
    pub(crate) fn fulfilled_by(
        &self,
        profiles: &Profiles,
        slot: ProfileKey,
        named: Option<WorkerRequestNumber>,
    ) -> Option<PromiseKey> {
        let fits = |promised: &ResourceProfile| profiles[slot].is_matching(promised);
        let Some(named) = named else {
            return self.all.first_of(&self.records, slot).or_else(|| {
                let (_, promise) = self
                    .all
                    .first_fitting(&self.records, profiles, Fitting::Slot(&profiles[slot]))?;
                Some(promise)
            });
        };
        // A worker may bring other profiles than promised, but it is still that worker. FLINK-9455
        // matched its pending slots by equal profiles only, and they stayed for ever.
        let slots = &self.worker_requests[self.find(named)?].slots;
        let profile_of = |promise: &PromiseKey| self.records[*promise].profile;
        slots
            .iter(&self.records)
            .find(|promise| profile_of(promise) == slot)
            .or_else(|| {
                slots
                    .iter(&self.records)
                    .find(|promise| fits(&profiles[profile_of(promise)]))
            })
            .or_else(|| slots.head())
    }

    /// Returns `true` if a new slot would fulfil a promised slot.
    pub(crate) fn is_fulfilled_by(
        &self,
        profiles: &Profiles,
        slot: Fitting<'_>,
        named: Option<WorkerRequestNumber>,
    ) -> bool {
        match named {
            Some(named) => self.find(named).is_some(),
            None => self.all.first_fitting(&self.records, profiles, slot).is_some(),
        }
    }

    pub(crate) fn find(&self, number: WorkerRequestNumber) -> Option<WorkerRequestKey> {
        self.by_number.find(&self.worker_requests, &number)
    }

    /// Removes a promised slot, and with the last slot its worker request.
    ///
    /// Returns the profile of the slot and the request that was bound to it.
    pub(crate) fn remove(&mut self, promise: PromiseKey) -> (ProfileKey, Option<RequestKey>) {
        let Promise {
            worker_request,
            profile,
            bound_to,
            ..
        } = self.records[promise];
        if bound_to.is_none() {
            self.remove_unbound(promise);
        }
        self.all.remove(&mut self.records, profile, promise);
        self.remove_from_surplus(worker_request);
        let worker = &mut self.worker_requests[worker_request];
        worker.slots.remove(&mut self.records, promise);
        worker.num_slots -= 1;
        worker.num_bound -= usize::from(bound_to.is_some());
        if worker.withdrawal == WithdrawalState::Listed {
            worker.withdrawal = WithdrawalState::None;
        }
        self.note_if_surplus(worker_request);
        self.records.remove(promise);
        if self.worker_requests[worker_request].slots.is_empty() {
            self.expiries.disarm(&mut self.worker_requests, worker_request);
            self.by_number.remove(&self.worker_requests, worker_request);
            self.worker_requests.remove(worker_request);
        }
        (profile, bound_to)
    }

    /// Returns all promised slots, oldest first.
    ///
    /// Cost: O(n log n).
    pub(crate) fn iter(&self) -> impl Iterator<Item = PromiseKey> {
        let mut promises: Vec<_> = self
            .records
            .iter()
            .map(|(key, record)| (record.sequence, key))
            .collect();
        promises.sort_unstable();
        promises.into_iter().map(|(_, key)| key)
    }

    /// Returns all members of the queues of unbound promised slots.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.unbound.iter(&self.records)
    }

    /// Returns all members of the queues of all promised slots.
    pub(crate) fn queued(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.all.iter(&self.records)
    }

    /// Returns `true` if the numbers of a worker request are right and it is surplus only without
    /// bound requests; for the check of invariants.
    pub(crate) fn is_consistent(&self, key: WorkerRequestKey) -> bool {
        let worker = &self.worker_requests[key];
        let slots = || worker.slots.iter(&self.records);
        let bound = slots().filter(|slot| self.records[*slot].bound_to.is_some()).count();
        worker.num_slots == slots().count()
            && worker.num_bound == bound
            && self.is_listed(key) == (worker.withdrawal == WithdrawalState::Listed)
            && (bound > 0)
                <= (worker.withdrawal == WithdrawalState::None || worker.withdrawal == WithdrawalState::TooLate)
    }

    /// Returns `true` if a worker request is listed as surplus; for the check of invariants.
    pub(crate) fn is_listed(&self, key: WorkerRequestKey) -> bool {
        let worker = &self.worker_requests[key];
        self.surplus.contains(&(worker.num_slots, Reverse(worker.number), key))
    }

    /// Breaks what [`is_consistent`](Self::is_consistent) checks, for its tests.
    #[cfg(test)]
    pub(crate) fn break_surplus_list(&mut self, key: WorkerRequestKey) {
        self.remove_from_surplus(key);
    }

    /// Returns the number of worker requests listed as surplus; for the check of invariants.
    pub(crate) fn num_surplus(&self) -> usize {
        self.surplus.len()
    }

    /// Returns `true` if the queues are in order; for the check of invariants.
    pub(crate) fn are_in_order(&self) -> bool {
        self.all.are_in_order(&self.records) && self.unbound.are_in_order(&self.records)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }
}
