//! Promised slots and workers, with their worker requests and the waiting requests bound to them.
//!
//! A binding is no reservation. It only decides whether a worker is requested for the request.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::{ResourceProfile, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::id_index::{IdIndex, Identified};
use crate::slot_manager::collections::linked_list::{Links, List, linked};
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, ProfileQueues, Profiles, Queued};
use crate::slot_manager::state::promised_workers::{PromisedTotal, PromisedWorkers};
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
    /// The slot is in the queue of unbound slots.
    is_queued: bool,
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
    /// The promised slots, or the cuts of a promised worker.
    pub(crate) slots: List<OfWorkerRequest, PromiseKey>,
    /// The promised worker, if slots will be cut from it.
    pub(super) worker: Option<Box<PromisedTotal>>,
    /// The number of slots as which it counts.
    pub(super) num_slots: usize,
    /// The number of slots with a bound request.
    num_bound: usize,
    withdrawal: WithdrawalState,
    links: Links<WorkerRequestKey>,
}

impl WorkerRequest {
    /// Returns the number of promised slots. A promised worker counts as the default slots in its
    /// total.
    pub(crate) fn num_slots(&self) -> usize {
        self.num_slots
    }

    /// Returns the number of slots with a bound request.
    #[inline]
    pub(super) fn num_bound(&self) -> usize {
        self.num_bound
    }
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
    /// The promised workers from which slots will be cut.
    pub(crate) workers: PromisedWorkers,
    num_unbound: usize,
    num_bound: usize,
    next_sequence: u64,
    /// The last worker request that `num_recent` does not count.
    counted_from: WorkerRequestNumber,
    /// The number of worker requests with promised slots that are newer.
    num_recent: usize,
    /// The worker requests of which other workers have fulfilled slots or the total, each with one
    /// of these. The oldest of too many is forgotten.
    fulfilled_by_others: BTreeMap<WorkerRequestNumber, Promised>,
    /// Set while one of the two lists below may have a member.
    has_surplus: bool,
    /// Worker requests that became surplus in this call. The number fences the key.
    surplus_candidates: Vec<(WorkerRequestKey, WorkerRequestNumber)>,
    /// Surplus worker requests: fewest slots first, then newest first.
    surplus: BTreeSet<(usize, Reverse<WorkerRequestNumber>, WorkerRequestKey)>,
}

/// What is promised: a slot, or the total of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Promised {
    Slot(ResourceProfile),
    Total(ResourceProfile),
}

/// The number of worker requests fulfilled by other workers that are remembered.
const MAX_FULFILLED_BY_OTHERS: usize = 1024;

impl Promises {
    pub(crate) fn new() -> Self {
        Self {
            records: Arena::new(),
            worker_requests: Arena::new(),
            expiries: DeadlineList::default(),
            by_number: IdIndex::new(),
            all: ProfileQueues::new(),
            unbound: ProfileQueues::new(),
            workers: PromisedWorkers::new(),
            num_unbound: 0,
            num_bound: 0,
            next_sequence: 0,
            counted_from: 0,
            num_recent: 0,
            fulfilled_by_others: BTreeMap::new(),
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
        let worker_request = self.insert_worker_request(number, expires_at, None);
        promised
            .map(|profile| {
                let promise = self.insert_promise(worker_request, profile);
                let sequence = self.records[promise].sequence;
                self.all.push(&mut self.records, profiles, profile, sequence, promise);
                self.worker_requests[worker_request].num_slots += 1;
                promise
            })
            .collect()
    }

    /// Adds a worker request without slots.
    pub(super) fn insert_worker_request(
        &mut self,
        number: WorkerRequestNumber,
        expires_at: Timestamp,
        worker: Option<Box<PromisedTotal>>,
    ) -> WorkerRequestKey {
        let worker_request = self.worker_requests.insert(WorkerRequest {
            number,
            expires_at,
            slots: List::default(),
            worker,
            num_slots: 0,
            num_bound: 0,
            withdrawal: WithdrawalState::None,
            links: Links::default(),
        });
        self.num_recent += usize::from(self.is_recent(number));
        self.note_if_surplus(worker_request);
        self.by_number.insert(&self.worker_requests, worker_request);
        self.expiries.arm(&mut self.worker_requests, worker_request);
        worker_request
    }

    /// Adds a promised slot of a worker request, unbound and in no queue.
    pub(super) fn insert_promise(&mut self, worker_request: WorkerRequestKey, profile: ProfileKey) -> PromiseKey {
        let sequence = self.take_sequence();
        let promise = self.records.insert(Promise {
            worker_request,
            profile,
            bound_to: None,
            is_queued: false,
            sequence,
            unbound_sequence: 0,
            all_links: Links::default(),
            unbound_links: Links::default(),
            worker_links: Links::default(),
        });
        let worker = &mut self.worker_requests[worker_request];
        worker.slots.push_back(&mut self.records, promise);
        promise
    }

    /// Binds a request to a promised slot that is not queued.
    pub(crate) fn bind(&mut self, promise: PromiseKey, request: RequestKey) {
        let record = &mut self.records[promise];
        record.bound_to = Some(request);
        let key = record.worker_request;
        self.remove_from_surplus(key);
        let worker = &mut self.worker_requests[key];
        worker.num_bound += 1;
        self.num_bound += 1;
        let worker = &mut self.worker_requests[key];
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
            self.num_bound -= 1;
            self.note_if_surplus(key);
        }
    }

    /// Records that the worker of a worker request has come: it is too late to withdraw it.
    pub(crate) fn begin_to_fulfil(&mut self, key: WorkerRequestKey) {
        self.remove_from_surplus(key);
        self.worker_requests[key].withdrawal = WithdrawalState::TooLate;
    }

    /// Notes that a worker that did not name this worker request fulfils one of its slots.
    pub(crate) fn note_fulfilled_by_other(&mut self, profiles: &Profiles, promise: PromiseKey) -> WorkerRequestNumber {
        let Promise {
            worker_request,
            profile,
            ..
        } = self.records[promise];
        self.begin_to_fulfil(worker_request);
        let number = self.worker_requests[worker_request].number;
        self.remember_fulfilled(number, Promised::Slot(profiles[profile].clone()));
        number
    }

    /// Notes that a worker that did not name this worker request has come in place of its promised
    /// worker.
    pub(crate) fn note_worker_fulfilled_by_other(
        &mut self,
        profiles: &Profiles,
        key: WorkerRequestKey,
    ) -> Option<WorkerRequestNumber> {
        let shape = self.shape_of(key)?;
        self.begin_to_fulfil(key);
        let number = self.worker_requests[key].number;
        self.remember_fulfilled(number, Promised::Total(profiles[shape.total].clone()));
        Some(number)
    }

    fn remember_fulfilled(&mut self, number: WorkerRequestNumber, promised: Promised) {
        self.fulfilled_by_others.insert(number, promised);
        if self.fulfilled_by_others.len() > MAX_FULFILLED_BY_OTHERS {
            self.fulfilled_by_others.pop_first();
        }
    }

    /// Returns the worker request for which a worker stands that names one.
    ///
    /// That is the named one. If other workers have fulfilled it, it is the oldest for slots of the
    /// same profile, or for an equal total: their own worker will not come any more.
    pub(crate) fn stands_for(&self, profiles: &Profiles, named: WorkerRequestNumber) -> Option<WorkerRequestKey> {
        self.find(named)
            .or_else(|| match self.fulfilled_by_others.get(&named)? {
                Promised::Slot(slot) => {
                    let same = self.all.profiles().find(|profile| profiles[*profile] == *slot)?;
                    let oldest = self.all.first_of(&self.records, same)?;
                    Some(self.records[oldest].worker_request)
                }
                Promised::Total(total) => self.oldest_worker_with(|promised| profiles[promised] == *total),
            })
    }

    /// Notes the worker request for which a worker stands that names another. The worker requested
    /// for it then stands for a third one in turn.
    pub(crate) fn note_standing_for(&mut self, named: WorkerRequestNumber, worker_request: WorkerRequestKey) {
        let number = self.worker_requests[worker_request].number;
        if let Some(promised) = self.fulfilled_by_others.remove(&named).filter(|_| number != named) {
            self.remember_fulfilled(number, promised);
        }
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
    pub(super) fn remove_from_surplus(&mut self, key: WorkerRequestKey) {
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

    /// Returns `true` if the withdrawal of a worker request was requested and nothing needed it
    /// since.
    pub(crate) fn is_withdrawal_requested(&self, key: WorkerRequestKey) -> bool {
        self.worker_requests[key].withdrawal == WithdrawalState::Requested
    }

    /// Returns `true` if no slot and no worker is promised.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.worker_requests.len() == 0
    }

    /// Queues an unbound promised slot.
    pub(crate) fn push_unbound(&mut self, profiles: &Profiles, promise: PromiseKey) {
        let sequence = self.take_sequence();
        let record = &mut self.records[promise];
        record.unbound_sequence = sequence;
        record.is_queued = true;
        let profile = record.profile;
        self.unbound
            .push(&mut self.records, profiles, profile, sequence, promise);
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
            .first_fitting(profiles, Fitting::Request(&profiles[required]))
    }

    fn remove_unbound(&mut self, promise: PromiseKey) {
        let record = &mut self.records[promise];
        record.is_queued = false;
        let profile = record.profile;
        self.unbound.remove(&mut self.records, profile, promise);
        self.num_unbound -= 1;
    }

    /// Returns `true` if a promised slot became unbound and is neither queued nor bound again.
    ///
    /// The sequence number fences the key.
    pub(crate) fn is_freed(&self, sequence: u64, promise: PromiseKey) -> bool {
        let record = self.records.get(promise);
        record.is_some_and(|record| record.sequence == sequence && record.bound_to.is_none() && !record.is_queued)
    }

    /// Returns the promised slot that is most like a new slot: the oldest of the first class that
    /// has one.
    ///
    /// 1. Promised slots of an equal profile.
    /// 2. Promised slots that the slot fits.
    /// 3. Promised slots of the profile `ANY`. Their shape is unknown.
    ///
    /// Cost: O(distinct profiles of promised slots).
    pub(crate) fn most_alike(&self, profiles: &Profiles, slot: ProfileKey) -> Option<PromiseKey> {
        let fitting = || {
            let fitting = Fitting::Slot(&profiles[slot]);
            let (_, promise) = self.all.first_fitting(profiles, fitting)?;
            Some(promise)
        };
        self.all
            .first_of(&self.records, slot)
            .or_else(fitting)
            .or_else(|| self.all.first_of(&self.records, self.profile_any(profiles)?))
    }

    /// Returns `true` if a new slot would fulfil a promised slot.
    pub(crate) fn is_fulfilled_by(
        &self,
        profiles: &Profiles,
        slot: &ResourceProfile,
        named: Option<WorkerRequestNumber>,
    ) -> bool {
        named.is_some_and(|named| self.stands_for(profiles, named).is_some()) || self.has_slot_like(profiles, slot)
    }

    /// Returns `true` if a promised slot has no bound request or is like a new slot.
    pub(super) fn has_slot_like(&self, profiles: &Profiles, slot: &ResourceProfile) -> bool {
        self.num_bound < self.records.len()
            || self.all.first_fitting(profiles, Fitting::Slot(slot)).is_some()
            || self.profile_any(profiles).is_some()
    }

    /// Returns the key of the profile `ANY`, if a slot with it is promised.
    fn profile_any(&self, profiles: &Profiles) -> Option<ProfileKey> {
        let mut promised = self.all.profiles();
        promised.find(|profile| profiles[*profile] == ResourceProfile::ANY)
    }

    /// Returns the oldest promised slot without a bound request.
    ///
    /// Cost: O(worker requests).
    pub(crate) fn oldest_without_request(&self) -> Option<PromiseKey> {
        if self.num_bound == self.records.len() {
            return None;
        }
        let with_one = self
            .worker_requests
            .iter()
            .filter(|(key, _)| self.has_slot_without_request(*key));
        let (oldest, _) = with_one.min_by_key(|(_, worker)| worker.number)?;
        let mut slots = self.worker_requests[oldest].slots.iter(&self.records);
        slots.find(|slot| self.records[*slot].bound_to.is_none())
    }

    fn has_slot_without_request(&self, key: WorkerRequestKey) -> bool {
        let worker = &self.worker_requests[key];
        worker.worker.is_none() && worker.num_bound < worker.num_slots
    }

    /// Returns `true` if a request is bound to a slot of a worker request.
    pub(crate) fn has_bound_request(&self, key: WorkerRequestKey) -> bool {
        self.worker_requests[key].num_bound > 0
    }

    /// Returns all worker requests in the order in which they end beyond a limit: those without a
    /// bound request first, then the youngest first.
    ///
    /// Cost: O(n log n).
    pub(crate) fn by_order_of_end(&self) -> Vec<WorkerRequestKey> {
        let records = self.worker_requests.iter();
        let mut ordered: Vec<_> = records
            .map(|(key, worker)| (worker.num_bound > 0, Reverse(worker.number), key))
            .collect();
        ordered.sort_unstable();
        ordered.into_iter().map(|(_, _, key)| key).collect()
    }

    /// Counts in [`num_recent`](Self::num_recent) only worker requests after the last one so far.
    pub(crate) fn count_from(&mut self, last: WorkerRequestNumber) {
        self.counted_from = last;
        self.num_recent = 0;
    }

    /// Returns the number of recent worker requests with promised slots.
    pub(crate) fn num_recent(&self) -> usize {
        self.num_recent
    }

    /// Returns `true` if a worker request counts as recent.
    pub(crate) fn is_recent(&self, number: WorkerRequestNumber) -> bool {
        number > self.counted_from
    }

    pub(crate) fn find(&self, number: WorkerRequestNumber) -> Option<WorkerRequestKey> {
        self.by_number.find(&self.worker_requests, &number)
    }

    /// Removes a promised slot, and with the last slot its worker request. What remains of a promised
    /// worker grows by the cut.
    ///
    /// Returns the profile of the slot and the request that was bound to it.
    pub(crate) fn remove(&mut self, profiles: &Profiles, promise: PromiseKey) -> (ProfileKey, Option<RequestKey>) {
        let Promise {
            worker_request,
            profile,
            bound_to,
            is_queued,
            ..
        } = self.records[promise];
        let is_cut = self.is_cut(promise);
        if is_queued {
            self.remove_unbound(promise);
        }
        self.num_bound -= usize::from(bound_to.is_some());
        if !is_cut {
            self.all.remove(&mut self.records, profile, promise);
        }
        self.remove_from_surplus(worker_request);
        let worker = &mut self.worker_requests[worker_request];
        worker.slots.remove(&mut self.records, promise);
        worker.num_slots -= usize::from(!is_cut);
        worker.num_bound -= usize::from(bound_to.is_some());
        if worker.withdrawal == WithdrawalState::Listed {
            worker.withdrawal = WithdrawalState::None;
        }
        self.note_if_surplus(worker_request);
        self.records.remove(promise);
        if is_cut {
            self.end_cut(profiles, worker_request, profile);
        } else if self.worker_requests[worker_request].slots.is_empty() {
            self.remove_worker_request(worker_request);
        }
        (profile, bound_to)
    }

    /// Removes a worker request without slots.
    pub(super) fn remove_worker_request(&mut self, key: WorkerRequestKey) {
        self.num_recent -= usize::from(self.is_recent(self.worker_requests[key].number));
        self.expiries.disarm(&mut self.worker_requests, key);
        self.by_number.remove(&self.worker_requests, key);
        self.worker_requests.remove(key);
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
        (worker.worker.is_some() || worker.num_slots == slots().count())
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

    /// Returns `true` if the numbers of bound slots and of recent worker requests are right; for
    /// the check of invariants.
    pub(crate) fn are_counts_right(&self) -> bool {
        let bound = self.records.iter().filter(|(_, slot)| slot.bound_to.is_some()).count();
        let recent = self
            .worker_requests
            .iter()
            .filter(|(_, worker)| self.is_recent(worker.number));
        self.num_bound == bound && self.num_recent == recent.count()
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
