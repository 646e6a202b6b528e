//! Slots that the resource manager has promised: which worker request they belong to, and which waiting request each of
//! them bound_to.
//!
//! Covering is accounting, not reservation: it decides only whether a worker is asked for.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::{ResourceProfile, Timestamp, WorkerRequestId};

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
    /// A worker request of which promised slots are left.
    WorkerRequestKey
}

#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) worker_request: WorkerRequestKey,
    pub(crate) profile: ProfileKey,
    /// The waiting request it bound_to.
    pub(crate) bound_to: Option<RequestKey>,
    /// Grows with every slot that is promised.
    pub(crate) sequence: u64,
    /// Grows with every promised slot that comes to cover nothing.
    unbound_sequence: u64,
    all_links: Links<PromiseKey>,
    unbound_links: Links<PromiseKey>,
    worker_links: Links<PromiseKey>,
}

#[derive(Debug)]
pub(crate) struct WorkerRequest {
    pub(crate) id: WorkerRequestId,
    pub(crate) expires_at: Timestamp,
    pub(crate) slots: List<OfWorkerRequest, PromiseKey>,
    /// How many slots are left of it, and how many of these cover a request.
    num_slots: usize,
    num_bound: usize,
    withdrawal: WithdrawalState,
    links: Links<WorkerRequestKey>,
}

/// Whether a worker request is to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithdrawalState {
    /// Not as long as its slots cover requests.
    None,
    /// They cover nobody: it is noted, to be looked at when the call ends.
    Noted,
    /// It is in the list of those that nobody needs.
    Listed,
    /// It was asked for, and is not again until a slot of it has covered a request.
    Asked,
    /// Never: its worker has begun to keep the promise.
    Over,
}

/// The queue of all promised slots, oldest first.
#[derive(Debug)]
pub(crate) enum All {}

/// The queue of those that cover nothing.
#[derive(Debug)]
pub(crate) enum Unbound {}

/// The list of those of one worker request.
#[derive(Debug)]
pub(crate) enum OfWorkerRequest {}

/// The list of worker requests.
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

impl Identified<WorkerRequestId> for WorkerRequest {
    fn id(&self) -> &WorkerRequestId {
        &self.id
    }
}

/// All promised slots.
#[derive(Debug)]
pub(crate) struct Promises {
    pub(crate) records: Arena<PromiseKey, Promise>,
    pub(crate) worker_requests: Arena<WorkerRequestKey, WorkerRequest>,
    pub(crate) expiries: DeadlineList<Expiry, WorkerRequestKey>,
    by_id: IdIndex<WorkerRequestId, WorkerRequestKey>,
    all: ProfileQueues<All, PromiseKey>,
    unbound: ProfileQueues<Unbound, PromiseKey>,
    num_unbound: usize,
    next_sequence: u64,
    /// Whether there is anything in the two lists below.
    has_surplus: bool,
    /// Worker requests whose slots came to cover nobody in this call.
    noted: Vec<(WorkerRequestKey, WorkerRequestId)>,
    /// Those whose slots cover nobody: those with the fewest slots first, of these the one that was asked for last.
    surplus: BTreeSet<(usize, Reverse<WorkerRequestId>, WorkerRequestKey)>,
}

impl Promises {
    pub(crate) fn new() -> Self {
        Self {
            records: Arena::new(),
            worker_requests: Arena::new(),
            expiries: DeadlineList::default(),
            by_id: IdIndex::new(),
            all: ProfileQueues::new(),
            unbound: ProfileQueues::new(),
            num_unbound: 0,
            next_sequence: 0,
            has_surplus: false,
            noted: Vec::new(),
            surplus: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn num_unbound(&self) -> usize {
        self.num_unbound
    }

    /// Arena a worker request, and its slots in the order promised. Every slot covers nothing and is in no queue of
    /// such slots yet.
    pub(crate) fn insert(
        &mut self,
        id: WorkerRequestId,
        expires_at: Timestamp,
        profiles: &Profiles,
        promised: impl Iterator<Item = ProfileKey>,
    ) -> Vec<PromiseKey> {
        let worker_request = self.worker_requests.insert(WorkerRequest {
            id,
            expires_at,
            slots: List::default(),
            num_slots: 0,
            num_bound: 0,
            withdrawal: WithdrawalState::None,
            links: Links::default(),
        });
        self.note_surplus(worker_request);
        self.by_id.insert(&self.worker_requests, worker_request);
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

    /// Lets a promised slot cover a request.
    pub(crate) fn bind(&mut self, promise: PromiseKey, request: RequestKey) {
        let record = &mut self.records[promise];
        record.bound_to = Some(request);
        let key = record.worker_request;
        self.unlist(key);
        let worker = &mut self.worker_requests[key];
        worker.num_bound += 1;
        if worker.withdrawal != WithdrawalState::Over {
            worker.withdrawal = WithdrawalState::None;
        }
    }

    /// Lets a promised slot cover nothing.
    pub(crate) fn unbind(&mut self, promise: PromiseKey) {
        let record = &mut self.records[promise];
        if record.bound_to.take().is_some() {
            let key = record.worker_request;
            self.worker_requests[key].num_bound -= 1;
            self.note_surplus(key);
        }
    }

    /// The worker of a promised slot has come: it is too late to withdraw it.
    pub(crate) fn begin_to_fulfil(&mut self, promise: PromiseKey) {
        let key = self.records[promise].worker_request;
        self.unlist(key);
        self.worker_requests[key].withdrawal = WithdrawalState::Over;
    }

    /// Notes a worker request if its slots cover nobody.
    fn note_surplus(&mut self, key: WorkerRequestKey) {
        let worker = &mut self.worker_requests[key];
        if worker.num_bound == 0 && worker.withdrawal == WithdrawalState::None {
            worker.withdrawal = WithdrawalState::Noted;
            self.noted.push((key, worker.id));
            self.has_surplus = true;
        }
    }

    fn unlist(&mut self, key: WorkerRequestKey) {
        let worker = &self.worker_requests[key];
        if worker.withdrawal == WithdrawalState::Listed {
            self.surplus.remove(&(worker.num_slots, Reverse(worker.id), key));
        }
    }

    /// Whether some worker request may be one that nobody needs.
    #[inline]
    pub(crate) fn may_have_surplus(&self) -> bool {
        self.has_surplus
    }

    /// The first of the worker requests whose slots cover nobody and that were not asked to be withdrawn, with the number
    /// of its slots.
    pub(crate) fn first_surplus(&mut self) -> Option<(usize, WorkerRequestKey)> {
        for (key, id) in self.noted.drain(..) {
            if let Some(worker) = self.worker_requests.get_mut(key) {
                if worker.id == id && worker.withdrawal == WithdrawalState::Noted {
                    worker.withdrawal = WithdrawalState::Listed;
                    self.surplus.insert((worker.num_slots, Reverse(id), key));
                }
            }
        }
        self.has_surplus = !self.surplus.is_empty();
        let (slots, _, worker_request) = self.surplus.first()?;
        Some((*slots, *worker_request))
    }

    /// Notes that a worker request is being withdrawn.
    pub(crate) fn ask_to_withdraw(&mut self, key: WorkerRequestKey) {
        self.unlist(key);
        self.worker_requests[key].withdrawal = WithdrawalState::Asked;
    }

    /// Puts a promised slot that covers nothing into the queue of such slots.
    pub(crate) fn push_unbound(&mut self, profiles: &Profiles, promise: PromiseKey) {
        let sequence = self.take_sequence();
        let record = &mut self.records[promise];
        record.unbound_sequence = sequence;
        let profile = record.profile;
        self.unbound.push(&mut self.records, profiles, profile, promise);
        self.num_unbound += 1;
    }

    /// The promised slot that covers nothing for the longest time and fits `required`; it leaves the queue of such
    /// slots.
    #[inline]
    pub(crate) fn take_unbound(&mut self, profiles: &Profiles, required: ProfileKey) -> Option<PromiseKey> {
        if self.num_unbound == 0 {
            return None;
        }
        let (_, promise) = self.first_unbound(profiles, required)?;
        self.remove_unbound(promise);
        Some(promise)
    }

    pub(crate) fn first_unbound(&self, profiles: &Profiles, required: ProfileKey) -> Option<(u64, PromiseKey)> {
        self.unbound
            .first_fitting(&self.records, profiles, Fitting::Request(&profiles[required]))
    }

    fn remove_unbound(&mut self, promise: PromiseKey) {
        let profile = self.records[promise].profile;
        self.unbound.remove(&mut self.records, profile, promise);
        self.num_unbound -= 1;
    }

    /// The promised slot that a newly known slot takes the place of: among those of the worker request that its task
    /// manager names; if it names none, among all, an equal profile before the oldest that the slot can stand for.
    pub(crate) fn fulfilled_by(
        &self,
        profiles: &Profiles,
        slot: ProfileKey,
        named: Option<WorkerRequestId>,
    ) -> Option<PromiseKey> {
        let stands_for = |promised: &ResourceProfile| profiles[slot].is_matching(promised);
        let Some(named) = named else {
            return self.all.first_of(&self.records, slot).or_else(|| {
                let (_, promise) = self
                    .all
                    .first_fitting(&self.records, profiles, Fitting::Slot(&profiles[slot]))?;
                Some(promise)
            });
        };
        // What a worker really brings may differ from what was promised; it is still that worker (FLINK-9455's pending
        // slots were matched by equal profiles only, and stayed for ever).
        let slots = &self.worker_requests[self.find(named)?].slots;
        let profile_of = |promise: &PromiseKey| self.records[*promise].profile;
        slots
            .iter(&self.records)
            .find(|promise| profile_of(promise) == slot)
            .or_else(|| {
                slots
                    .iter(&self.records)
                    .find(|promise| stands_for(&profiles[profile_of(promise)]))
            })
            .or_else(|| slots.head())
    }

    /// Whether a newly known slot would take the place of a promised one.
    pub(crate) fn is_fulfilled_by(
        &self,
        profiles: &Profiles,
        slot: Fitting<'_>,
        named: Option<WorkerRequestId>,
    ) -> bool {
        match named {
            Some(named) => self.find(named).is_some(),
            None => self.all.first_fitting(&self.records, profiles, slot).is_some(),
        }
    }

    pub(crate) fn find(&self, id: WorkerRequestId) -> Option<WorkerRequestKey> {
        self.by_id.find(&self.worker_requests, &id)
    }

    /// Ends a promised slot, and its worker request with the last one. Returns its profile and the request it bound.
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
        self.unlist(worker_request);
        let worker = &mut self.worker_requests[worker_request];
        worker.slots.remove(&mut self.records, promise);
        worker.num_slots -= 1;
        worker.num_bound -= usize::from(bound_to.is_some());
        if worker.withdrawal == WithdrawalState::Listed {
            worker.withdrawal = WithdrawalState::None;
        }
        self.note_surplus(worker_request);
        self.records.remove(promise);
        if self.worker_requests[worker_request].slots.is_empty() {
            self.expiries.disarm(&mut self.worker_requests, worker_request);
            self.by_id.remove(&self.worker_requests, worker_request);
            self.worker_requests.remove(worker_request);
        }
        (profile, bound_to)
    }

    /// All promised slots, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PromiseKey> {
        let mut promises: Vec<_> = self
            .records
            .iter()
            .map(|(key, record)| (record.sequence, key))
            .collect();
        promises.sort_unstable();
        promises.into_iter().map(|(_, key)| key)
    }

    /// Those in the queue of promised slots that cover nothing.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.unbound.iter(&self.records)
    }

    /// Those in the queue of all promised slots.
    pub(crate) fn queued(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.all.iter(&self.records)
    }

    /// Whether the numbers of a worker request are right, and it is listed as one that nobody needs only if its slots cover
    /// nobody; for the check of invariants.
    pub(crate) fn is_counted(&self, key: WorkerRequestKey) -> bool {
        let worker = &self.worker_requests[key];
        let slots = || worker.slots.iter(&self.records);
        let bound = slots().filter(|slot| self.records[*slot].bound_to.is_some()).count();
        worker.num_slots == slots().count()
            && worker.num_bound == bound
            && self.is_listed(key) == (worker.withdrawal == WithdrawalState::Listed)
            && (bound > 0) <= (worker.withdrawal == WithdrawalState::None || worker.withdrawal == WithdrawalState::Over)
    }

    /// Whether a worker request is listed as one that nobody needs; for the check of invariants.
    pub(crate) fn is_listed(&self, key: WorkerRequestKey) -> bool {
        let worker = &self.worker_requests[key];
        self.surplus.contains(&(worker.num_slots, Reverse(worker.id), key))
    }

    /// For the tests of that check.
    #[cfg(test)]
    pub(crate) fn forget_to_list(&mut self, key: WorkerRequestKey) {
        self.unlist(key);
    }

    /// How many worker requests are listed as ones that nobody needs; for the check of invariants.
    pub(crate) fn num_surplus(&self) -> usize {
        self.surplus.len()
    }

    /// Whether the queues are in order; for the check of invariants.
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
