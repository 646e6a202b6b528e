//! Slots that the resource manager has promised: which worker request they belong to, and which waiting request each of
//! them covers.
//!
//! Covering is accounting, not reservation: it decides only whether a worker is asked for.

use crate::{ResourceProfile, Timestamp, WorkerRequestId};

use super::deadlines::{DeadlineList, Timed};
use super::index::{IdIndex, Identified};
use super::pending_requests::RequestKey;
use super::profiles::{Fitting, ProfileKey, ProfileQueues, Profiles, Queued};
use super::records::{Links, List, Records, key, linked};

key! {
    /// A promised slot.
    PromiseKey
}

key! {
    /// A worker request of which promised slots are left.
    WorkerRequestKey
}

#[derive(Debug)]
pub(super) struct PromisedSlot {
    pub(super) worker_request: WorkerRequestKey,
    pub(super) profile: ProfileKey,
    /// The waiting request it covers.
    pub(super) covers: Option<RequestKey>,
    /// Grows with every slot that is promised.
    pub(super) sequence: u64,
    /// Grows with every promised slot that comes to cover nothing.
    unbound_sequence: u64,
    all_links: Links<PromiseKey>,
    unbound_links: Links<PromiseKey>,
    worker_links: Links<PromiseKey>,
}

#[derive(Debug)]
pub(super) struct WorkerRequest {
    pub(super) id: WorkerRequestId,
    pub(super) expires_at: Timestamp,
    pub(super) slots: List<OfWorkerRequest, PromiseKey>,
    links: Links<WorkerRequestKey>,
}

/// The queue of all promised slots, oldest first.
#[derive(Debug)]
pub(super) enum All {}

/// The queue of those that cover nothing.
#[derive(Debug)]
pub(super) enum Unbound {}

/// The list of those of one worker request.
#[derive(Debug)]
pub(super) enum OfWorkerRequest {}

/// The list of worker requests.
#[derive(Debug)]
pub(super) enum Expiry {}

linked!(PromisedSlot, PromiseKey, All => all_links, Unbound => unbound_links, OfWorkerRequest => worker_links);
linked!(WorkerRequest, WorkerRequestKey, Expiry => links);

impl Queued<All, PromiseKey> for PromisedSlot {
    fn place(&self) -> u64 {
        self.sequence
    }
}

impl Queued<Unbound, PromiseKey> for PromisedSlot {
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
pub(super) struct PromisedSlots {
    pub(super) records: Records<PromiseKey, PromisedSlot>,
    pub(super) worker_requests: Records<WorkerRequestKey, WorkerRequest>,
    pub(super) expiries: DeadlineList<Expiry, WorkerRequestKey>,
    by_id: IdIndex<WorkerRequestId, WorkerRequestKey>,
    all: ProfileQueues<All, PromiseKey>,
    unbound: ProfileQueues<Unbound, PromiseKey>,
    num_unbound: usize,
    next_sequence: u64,
}

impl PromisedSlots {
    pub(super) fn new() -> Self {
        Self {
            records: Records::new(),
            worker_requests: Records::new(),
            expiries: DeadlineList::default(),
            by_id: IdIndex::new(),
            all: ProfileQueues::new(),
            unbound: ProfileQueues::new(),
            num_unbound: 0,
            next_sequence: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn num_unbound(&self) -> usize {
        self.num_unbound
    }

    /// Records a worker request, and its slots in the order promised. Every slot covers nothing and is in no queue of
    /// such slots yet.
    pub(super) fn insert(
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
            links: Links::default(),
        });
        self.by_id.insert(&self.worker_requests, worker_request);
        self.expiries.arm(&mut self.worker_requests, worker_request);
        promised
            .map(|profile| {
                let sequence = self.take_sequence();
                let promise = self.records.insert(PromisedSlot {
                    worker_request,
                    profile,
                    covers: None,
                    sequence,
                    unbound_sequence: 0,
                    all_links: Links::default(),
                    unbound_links: Links::default(),
                    worker_links: Links::default(),
                });
                self.all.push(&mut self.records, profiles, profile, promise);
                self.worker_requests[worker_request]
                    .slots
                    .push_back(&mut self.records, promise);
                promise
            })
            .collect()
    }

    /// Puts a promised slot that covers nothing into the queue of such slots.
    pub(super) fn push_unbound(&mut self, profiles: &Profiles, promise: PromiseKey) {
        let sequence = self.take_sequence();
        let record = &mut self.records[promise];
        record.covers = None;
        record.unbound_sequence = sequence;
        let profile = record.profile;
        self.unbound.push(&mut self.records, profiles, profile, promise);
        self.num_unbound += 1;
    }

    /// The promised slot that covers nothing for the longest time and fits `required`; it leaves the queue of such
    /// slots.
    pub(super) fn take_unbound(&mut self, profiles: &Profiles, required: ProfileKey) -> Option<PromiseKey> {
        let (_, promise) = self.first_unbound(profiles, required)?;
        self.remove_unbound(promise);
        Some(promise)
    }

    pub(super) fn first_unbound(&self, profiles: &Profiles, required: ProfileKey) -> Option<(u64, PromiseKey)> {
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
    pub(super) fn fulfilled_by(
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

    pub(super) fn find(&self, id: WorkerRequestId) -> Option<WorkerRequestKey> {
        self.by_id.find(&self.worker_requests, &id)
    }

    /// Ends a promised slot, and its worker request with the last one. Returns its profile and the request it covered.
    pub(super) fn remove(&mut self, promise: PromiseKey) -> (ProfileKey, Option<RequestKey>) {
        let PromisedSlot {
            worker_request,
            profile,
            covers,
            ..
        } = self.records[promise];
        if covers.is_none() {
            self.remove_unbound(promise);
        }
        self.all.remove(&mut self.records, profile, promise);
        self.worker_requests[worker_request]
            .slots
            .remove(&mut self.records, promise);
        self.records.remove(promise);
        if self.worker_requests[worker_request].slots.is_empty() {
            self.expiries.disarm(&mut self.worker_requests, worker_request);
            self.by_id.remove(&self.worker_requests, worker_request);
            self.worker_requests.remove(worker_request);
        }
        (profile, covers)
    }

    /// All promised slots, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = PromiseKey> {
        let mut promises: Vec<_> = self
            .records
            .iter()
            .map(|(key, record)| (record.sequence, key))
            .collect();
        promises.sort_unstable();
        promises.into_iter().map(|(_, key)| key)
    }

    /// Those in the queue of promised slots that cover nothing.
    pub(super) fn unbound(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.unbound.iter(&self.records)
    }

    /// Those in the queue of all promised slots.
    pub(super) fn queued(&self) -> impl Iterator<Item = (ProfileKey, PromiseKey)> {
        self.all.iter(&self.records)
    }

    /// Whether the queues are in order; for the check of invariants.
    pub(super) fn are_in_order(&self) -> bool {
        self.all.are_in_order(&self.records) && self.unbound.are_in_order(&self.records)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }
}
