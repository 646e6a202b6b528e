//! Promised workers from which slots will be cut, and their cuts: the slots bound to requests.
//!
//! What remains of a promised worker is bound to requests like a promised slot. It is no
//! reservation, either.

use crate::config::Quantity;
use crate::resource_profile::Remainder;
use crate::{ResourceProfile, Timestamp};

use crate::slot_manager::collections::cover_tree::{CoverTree, Row};
use crate::slot_manager::state::dynamic_workers::{MAX_CUTS, WorkerShape};
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, Profiles};
use crate::slot_manager::state::promises::{PromiseKey, Promises, WorkerRequestKey, WorkerRequestNumber};
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::worker_rows::RowColumns;

/// A promised worker from which slots will be cut.
#[derive(Debug)]
pub(crate) struct PromisedTotal {
    pub(crate) shape: WorkerShape,
    /// The total without the cuts.
    remainder: Remainder,
    /// The number of default slots in the remainder.
    free_slots: u32,
    /// The place in the order of age.
    place: usize,
}

impl PromisedTotal {
    /// Returns what remains of the total.
    pub(crate) fn remainder(&self) -> &Remainder {
        &self.remainder
    }

    /// Returns the condition for requests that the remainder fits.
    fn fitting(&self) -> Fitting<'_> {
        Fitting::Worker {
            remainder: self.remainder.as_slot(),
            fits_default_slot: self.free_slots > 0,
        }
    }

    /// Returns the profile of the slot that is cut for a request.
    fn cut_for(&self, profiles: &Profiles, required: ProfileKey) -> ProfileKey {
        match self.shape.default_slot {
            Some(default_slot) if profiles[required] == ResourceProfile::UNKNOWN => default_slot,
            _ => required,
        }
    }

    fn update_free_slots(&mut self, profiles: &Profiles) {
        let default_slot = self.shape.default_slot.map(|slot| &profiles[slot]);
        self.free_slots = default_slot.map_or(0, |slot| self.remainder.times(slot));
    }

    fn row(&self, columns: &RowColumns) -> Row {
        columns.of_worker(self.remainder.as_slot(), self.free_slots > 0)
    }
}

/// The promised workers in the order of their age, and their totals.
#[derive(Debug)]
pub(crate) struct PromisedWorkers {
    by_age: CoverTree<WorkerRequestKey>,
    /// The number of places in use or vacant.
    num_places: usize,
    columns: RowColumns,
    quantity: Quantity,
    free_slots: usize,
    /// Set when a promised worker goes; reset by `take_lost_worker`.
    has_lost_worker: bool,
}

/// The number of vacant places that are never worth a new order.
const VACANT_PLACES: usize = 64;

impl PromisedWorkers {
    pub(crate) fn new() -> Self {
        Self {
            by_age: CoverTree::new(),
            num_places: 0,
            columns: RowColumns::default(),
            quantity: Quantity::default(),
            free_slots: 0,
            has_lost_worker: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Returns the quantity of all promised workers.
    pub(crate) fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// Returns the number of default slots in what remains of all promised workers.
    pub(crate) fn free_slots(&self) -> usize {
        self.free_slots
    }

    /// Returns what `take_lost_worker` would return.
    pub(crate) fn has_lost_worker(&self) -> bool {
        self.has_lost_worker
    }

    /// Returns `true` if a promised worker has gone since the previous call.
    pub(crate) fn take_lost_worker(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_worker)
    }
}

/// Begins and ends.
impl Promises {
    /// Adds a worker request with a worker from which nothing is cut yet.
    pub(crate) fn insert_worker(
        &mut self,
        number: WorkerRequestNumber,
        expires_at: Timestamp,
        profiles: &Profiles,
        shape: WorkerShape,
        quantity: Quantity,
    ) -> WorkerRequestKey {
        let total = &profiles[shape.total];
        self.workers.columns.add(total);
        self.order_places();
        let mut worker = PromisedTotal {
            shape,
            remainder: Remainder::of(total),
            free_slots: 0,
            place: self.workers.num_places,
        };
        worker.update_free_slots(profiles);
        let workers = &mut self.workers;
        workers.num_places += 1;
        workers.quantity += quantity;
        workers.free_slots += worker.free_slots as usize;
        let (place, row) = (worker.place, worker.row(&workers.columns));
        let key = self.insert_worker_request(number, expires_at, Some(Box::new(worker)));
        self.worker_requests[key].num_slots = quantity.slots;
        self.workers.by_age.set(place, row, key);
        key
    }

    /// Removes a promised worker that has no cuts, and its worker request.
    pub(crate) fn remove_worker(&mut self, key: WorkerRequestKey, quantity: Quantity) {
        let Some(worker) = self.worker_requests[key].worker.take() else {
            return;
        };
        self.workers.by_age.remove(worker.place);
        self.workers.quantity -= quantity;
        self.workers.free_slots -= worker.free_slots as usize;
        self.workers.has_lost_worker = true;
        self.remove_from_surplus(key);
        self.remove_worker_request(key);
        if self.workers.by_age.is_empty() {
            self.workers.by_age.clear();
            self.workers.num_places = 0;
            self.workers.columns.clear();
        }
    }

    /// Gives the workers new places, in the same order, if most places are vacant.
    fn order_places(&mut self) {
        let workers = &mut self.workers;
        if workers.num_places < 2 * workers.by_age.len() + VACANT_PLACES {
            return;
        }
        let by_age: Vec<_> = workers.by_age.iter().map(|(_, key, row)| (key, row)).collect();
        workers.num_places = by_age.len();
        workers.by_age.clear();
        for (place, (key, row)) in by_age.into_iter().enumerate() {
            workers.by_age.set(place, row, key);
            if let Some(worker) = &mut self.worker_requests[key].worker {
                worker.place = place;
            }
        }
    }
}

/// Cuts.
impl Promises {
    /// Returns the shape of the promised worker of a worker request; `None` if it promised slots.
    pub(crate) fn shape_of(&self, key: WorkerRequestKey) -> Option<WorkerShape> {
        Some(self.worker_requests[key].worker.as_ref()?.shape)
    }

    /// Returns the number of default slots in what remains of the promised worker of a worker request;
    /// `None` if it promised slots.
    pub(crate) fn free_slots_of(&self, key: WorkerRequestKey) -> Option<usize> {
        Some(self.worker_requests[key].worker.as_ref()?.free_slots as usize)
    }

    /// Returns what remains of the promised worker of a worker request; nothing if it promised slots.
    pub(crate) fn remaining_of(&self, key: WorkerRequestKey) -> ResourceProfile {
        let worker = self.worker_requests[key].worker.as_ref();
        worker.map_or(ResourceProfile::ZERO, |worker| worker.remainder.to_profile())
    }

    /// Returns `true` if a promised slot is a cut.
    pub(crate) fn is_cut(&self, promise: PromiseKey) -> bool {
        let worker_request = self.records[promise].worker_request;
        self.worker_requests[worker_request].worker.is_some()
    }

    /// Returns the condition for requests that what remains of a promised worker fits.
    pub(crate) fn fitting_of(&self, key: WorkerRequestKey) -> Option<Fitting<'_>> {
        let worker = self.worker_requests[key].worker.as_ref()?;
        let may_be_cut = self.worker_requests[key].num_bound() < MAX_CUTS;
        may_be_cut.then(|| worker.fitting())
    }

    /// Returns the oldest promised worker of which enough remains for a request.
    ///
    /// Cost: as of [`CoverTree::first`], for the number of promised workers.
    pub(crate) fn oldest_worker_for(&mut self, profiles: &Profiles, required: ProfileKey) -> Option<WorkerRequestKey> {
        if self.workers.by_age.is_empty() {
            return None;
        }
        let required = &profiles[required];
        let row = self.workers.columns.of_request(required);
        let worker_requests = &self.worker_requests;
        let fits = |key: WorkerRequestKey| {
            let record = &worker_requests[key];
            let worker = record.worker.as_ref().filter(|_| record.num_bound() < MAX_CUTS);
            worker.is_some_and(|worker| worker.fitting().fits(required))
        };
        self.workers.by_age.first(&row, &mut 0, fits)
    }

    /// Does the same as [`oldest_worker_for`](Self::oldest_worker_for) by looking at all workers; for
    /// the check of invariants.
    pub(crate) fn scan_for_worker(&self, profiles: &Profiles, required: ProfileKey) -> Option<WorkerRequestKey> {
        let fits = |key: &WorkerRequestKey| {
            let fitting = self.fitting_of(*key);
            fitting.is_some_and(|fitting| fitting.fits(&profiles[required]))
        };
        let fitting = self.worker_requests.iter().map(|(key, _)| key).filter(fits);
        fitting.min_by_key(|key| self.worker_requests[*key].number)
    }

    /// Cuts a slot for a request from a promised worker that fits it, and binds it. Returns its
    /// profile.
    pub(crate) fn bind_cut(
        &mut self,
        profiles: &Profiles,
        key: WorkerRequestKey,
        request: RequestKey,
        required: ProfileKey,
    ) -> Option<(PromiseKey, ProfileKey)> {
        let profile = self.worker_requests[key].worker.as_ref()?.cut_for(profiles, required);
        let promise = self.insert_promise(key, profile);
        self.change_remainder(profiles, key, |remainder| {
            remainder.cut(&profiles[profile]);
        });
        self.bind(promise, request);
        Some((promise, profile))
    }

    /// Returns the resources of a cut that ends to its worker.
    pub(crate) fn end_cut(&mut self, profiles: &Profiles, key: WorkerRequestKey, profile: ProfileKey) {
        self.change_remainder(profiles, key, |remainder| remainder.give_back(&profiles[profile]));
    }

    fn change_remainder(&mut self, profiles: &Profiles, key: WorkerRequestKey, change: impl FnOnce(&mut Remainder)) {
        let Some(worker) = &mut self.worker_requests[key].worker else {
            return;
        };
        let before = worker.free_slots as usize;
        change(&mut worker.remainder);
        worker.update_free_slots(profiles);
        let workers = &mut self.workers;
        workers.free_slots = workers.free_slots - before + worker.free_slots as usize;
        workers.by_age.set(worker.place, worker.row(&workers.columns), key);
    }
}

/// Queries.
impl Promises {
    /// Returns the promised workers with their worker requests, in no particular order.
    pub(crate) fn promised_workers(&self) -> impl Iterator<Item = (WorkerRequestKey, &PromisedTotal)> {
        let all = self.worker_requests.iter();
        all.filter_map(|(key, record)| Some((key, record.worker.as_deref()?)))
    }

    /// Returns the promised worker that is most like a new one: the oldest of the first class that
    /// has one.
    ///
    /// 1. Promised workers with an equal total.
    /// 2. Promised workers with a total that the new one fits.
    /// 3. Promised workers with the total `ANY`. Their shape is unknown.
    ///
    /// Cost: O(promised workers).
    pub(crate) fn worker_most_alike(&self, profiles: &Profiles, total: &ResourceProfile) -> Option<WorkerRequestKey> {
        let oldest = |accepts: &dyn Fn(&ResourceProfile) -> bool| {
            self.oldest_worker_with(|promised| accepts(&profiles[promised]))
        };
        oldest(&|promised| promised == total)
            .or_else(|| oldest(&|promised| total.is_matching(promised)))
            .or_else(|| oldest(&|promised| *promised == ResourceProfile::ANY))
    }

    /// Returns the oldest promised worker with a total that is accepted.
    pub(crate) fn oldest_worker_with(&self, accepts: impl Fn(ProfileKey) -> bool) -> Option<WorkerRequestKey> {
        let accepted = self
            .promised_workers()
            .filter(|(_, worker)| accepts(worker.shape.total));
        let (oldest, _) = accepted.min_by_key(|(key, _)| self.worker_requests[*key].number)?;
        Some(oldest)
    }

    /// Returns the oldest promised worker without cuts.
    ///
    /// Cost: O(promised workers).
    pub(crate) fn oldest_worker_without_cuts(&self) -> Option<WorkerRequestKey> {
        let unused = self.promised_workers().filter(|(key, _)| !self.has_bound_request(*key));
        let (oldest, _) = unused.min_by_key(|(key, _)| self.worker_requests[*key].number)?;
        Some(oldest)
    }

    /// Returns `true` if a new dynamic worker would fulfil a promise.
    pub(crate) fn is_fulfilled_by_worker(
        &self,
        profiles: &Profiles,
        total: &ResourceProfile,
        named: Option<WorkerRequestNumber>,
    ) -> bool {
        named.is_some_and(|named| self.stands_for(profiles, named).is_some())
            || self.worker_most_alike(profiles, total).is_some()
            || self.has_slot_like(profiles, total)
            || self.oldest_worker_without_cuts().is_some()
    }

    /// Returns `true` if the total of a promised worker fits a request.
    ///
    /// Cost: O(promised workers).
    pub(crate) fn has_fitting_total(&self, profiles: &Profiles, required: ProfileKey) -> bool {
        let mut workers = self.promised_workers();
        workers.any(|(_, worker)| worker.shape.fitting(profiles).fits(&profiles[required]))
    }

    /// Returns `true` if remainders, rows and counts are right; for the check of invariants.
    pub(crate) fn are_workers_consistent(&self, profiles: &Profiles) -> bool {
        let mut free_slots = 0;
        let mut by_age: Vec<_> = self.promised_workers().collect();
        by_age.sort_unstable_by_key(|(key, _)| self.worker_requests[*key].number);
        for (key, worker) in &by_age {
            let mut remainder = Remainder::of(&profiles[worker.shape.total]);
            let cuts = self.worker_requests[*key].slots.iter(&self.records);
            let mut is_covered = true;
            for cut in cuts {
                is_covered &= remainder.cut(&profiles[self.records[cut].profile]);
            }
            let default_slot = worker.shape.default_slot.map(|slot| &profiles[slot]);
            let row = worker.row(&self.workers.columns);
            let is_right = is_covered
                && remainder.to_profile() == worker.remainder.to_profile()
                && worker.free_slots == default_slot.map_or(0, |slot| remainder.times(slot))
                && self.workers.by_age.get(worker.place) == Some((*key, row));
            if !is_right {
                return false;
            }
            free_slots += worker.free_slots as usize;
        }
        let by_place = self.workers.by_age.iter().map(|(_, key, _)| key);
        by_place.eq(by_age.into_iter().map(|(key, _)| key))
            && free_slots == self.workers.free_slots
            && self.workers.by_age.is_consistent()
    }
}
