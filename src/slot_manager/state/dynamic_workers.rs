//! Dynamic workers: their resources and remainders, and the index of those that may be cut.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Quantity;
use crate::id::FIRST_DYNAMIC;
use crate::matching::{SlotMatchingStrategy, SlotOrder};
use crate::resource_profile::Remainder;
use crate::{DynamicResources, ResourceProfile};

use crate::slot_manager::collections::buckets::{BUCKETS, BucketOrder, Buckets};
use crate::slot_manager::collections::cover_tree::{CoverTree, Row};
use crate::slot_manager::collections::fit_sets::FitSets;
use crate::slot_manager::collections::pages::PagedTable;
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, Profiles};
use crate::slot_manager::state::slot_list::SlotList;
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::worker_rows::RowColumns;

/// The largest number of slots that are cut from one worker. Slots without resources could be cut
/// without end.
pub(crate) const MAX_CUTS: usize = 1 << 16;

/// The resources of a worker from which slots are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerShape {
    pub(crate) total: ProfileKey,
    /// The slot that is cut for a request for `UNKNOWN`.
    pub(crate) default_slot: Option<ProfileKey>,
}

/// A registered worker from which slots are cut.
#[derive(Debug)]
pub(crate) struct DynamicWorker {
    pub(crate) shape: WorkerShape,
    /// The total without the cuts and without what is withheld.
    remainder: Remainder,
    /// The resources that the worker has neither given to a slot nor has left, as it says.
    withheld: Option<ResourceProfile>,
    /// The cuts and what is withheld are more than the total.
    is_overdrawn: bool,
    /// The number of default slots in the remainder.
    free_slots: u32,
    num_cuts: usize,
    /// The number of the next slot, without the bit that marks dynamic slots.
    next_number: u32,
    /// The place in the order of workers: the lowest that was vacant when the worker registered.
    place: usize,
    /// The bucket of its used share, while the worker is offered and in one.
    bucket: u8,
}

impl DynamicWorker {
    /// Returns what remains of the total.
    pub(crate) fn remainder(&self) -> &Remainder {
        &self.remainder
    }

    pub(crate) fn withheld(&self) -> Option<&ResourceProfile> {
        self.withheld.as_ref()
    }

    /// Returns the number of default slots in the remainder.
    pub(crate) fn free_slots(&self) -> usize {
        self.free_slots as usize
    }

    pub(crate) fn num_cuts(&self) -> usize {
        self.num_cuts
    }

    /// Returns `true` if a slot for a request can be cut from the remainder.
    #[inline]
    pub(crate) fn fits(&self, required: &ResourceProfile) -> bool {
        self.num_cuts < MAX_CUTS && self.fitting().fits(required)
    }

    /// Returns the condition for requests that the remainder fits.
    #[inline]
    pub(crate) fn fitting(&self) -> Fitting<'_> {
        Fitting::Worker {
            remainder: self.remainder.as_slot(),
            fits_default_slot: self.free_slots > 0,
        }
    }

    /// Returns `true` if a slot for a request could be cut if there were no cuts.
    pub(crate) fn could_fit(&self, profiles: &Profiles, required: &ResourceProfile) -> bool {
        let Some(withheld) = &self.withheld else {
            return self.shape.fitting(profiles).fits(required);
        };
        let mut rest = Remainder::of(&profiles[self.shape.total]);
        rest.cut(withheld);
        let default_slot = self.shape.default_slot.map(|slot| &profiles[slot]);
        let fitting = Fitting::Worker {
            remainder: rest.as_slot(),
            fits_default_slot: default_slot.is_some_and(|slot| rest.as_slot().is_matching(slot)),
        };
        fitting.fits(required)
    }

    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Returns `true` if the remainder can be lowered to these resources: both are amounts.
    pub(crate) fn is_bounded_by(&self, free: &ResourceProfile) -> bool {
        let has_amounts = |profile: &ResourceProfile| profile.cpu_cores().is_some();
        has_amounts(free) && has_amounts(self.remainder.as_slot())
    }

    /// Returns `true` if a report with these free resources and no other news changes nothing. No slot
    /// is in flight.
    pub(crate) fn agrees_with(&self, free: Option<&ResourceProfile>) -> bool {
        let free = free.filter(|free| free.cpu_cores().is_some());
        match (free, &self.withheld) {
            (None, withheld) => withheld.is_none(),
            (Some(free), None) => free.is_matching(self.remainder.as_slot()),
            (Some(free), Some(_)) => !self.is_overdrawn && self.remainder.to_profile() == *free,
        }
    }

    /// Returns a number that no slot of the worker has.
    fn take_number(&mut self, slots: &SlotList) -> u32 {
        loop {
            let number = FIRST_DYNAMIC | self.next_number;
            self.next_number = (self.next_number + 1) % FIRST_DYNAMIC;
            // Numbers of slots that end are used again only after all others.
            let is_unused = slots.last().is_none_or(|(last, _)| *last < number)
                || slots.binary_search_by_key(&number, |(number, _)| *number).is_err();
            if is_unused {
                return number;
            }
        }
    }

    fn update_free_slots(&mut self, profiles: &Profiles) {
        let default_slot = self.shape.default_slot.map(|slot| &profiles[slot]);
        self.free_slots = default_slot.map_or(0, |slot| self.remainder.times(slot));
    }

    /// Returns the largest share of a resource that is used, in 64ths. It is less than 64.
    pub(crate) fn used_share(&self, profiles: &Profiles) -> u8 {
        let parts = self
            .remainder
            .used_parts_of(&profiles[self.shape.total], BUCKETS.into());
        u8::try_from(parts).map_or(BUCKETS - 1, |parts| parts.min(BUCKETS - 1))
    }

    fn row(&self, columns: &RowColumns) -> Row {
        columns.of_worker(self.remainder.as_slot(), self.free_slots > 0)
    }
}

/// Returns how many default slots are in a total, at least one.
pub(crate) fn slots_in(total: &ResourceProfile, default_slot: Option<&ResourceProfile>) -> u32 {
    default_slot.map_or(1, |slot| Remainder::of(total).times(slot).max(1))
}

/// How a row changes.
#[derive(Debug, Clone, Copy)]
enum Change {
    Grows,
    Shrinks,
}

/// The offered workers by used share.
#[derive(Debug)]
struct ByUse {
    order: BucketOrder,
    places: Buckets,
}

impl ByUse {
    /// Moves a worker to the bucket of its used share.
    fn update(&mut self, worker: &mut DynamicWorker, profiles: &Profiles) {
        let bucket = worker.used_share(profiles);
        if bucket != worker.bucket {
            self.places.insert(bucket, worker.place);
            worker.bucket = bucket;
        }
    }
}

/// All dynamic workers.
#[derive(Debug)]
pub(crate) struct DynamicWorkers {
    workers: PagedTable<TaskManagerKey, Option<DynamicWorker>>,
    len: usize,
    /// The workers from which slots may be cut, by place, each with the row of its remainder.
    offered: CoverTree<TaskManagerKey>,
    /// The places that may fit the requests that were searched most.
    fits: FitSets,
    /// `None` if workers are taken in the order of their places.
    by_use: Option<Box<ByUse>>,
    /// The rows that searches of the tree have looked at since a row was tracked.
    looked_at: usize,
    /// The vacant places below the highest one in use.
    vacant: BTreeSet<usize>,
    /// The number of places in use or vacant.
    num_places: usize,
    columns: RowColumns,
    /// The shapes of registered workers, with the numbers of workers.
    shapes: BTreeMap<WorkerShape, usize>,
    /// Set when a shape loses its last worker; reset by `take_lost_shape`.
    has_lost_shape: bool,
    quantity: Quantity,
    /// The number of default slots in the remainders of offered workers.
    free_slots: usize,
}

impl DynamicWorkers {
    /// `order` is that of the strategy.
    pub(crate) fn new(strategy: &SlotMatchingStrategy, order: SlotOrder) -> Self {
        Self::in_order(match order {
            _ if *strategy == SlotMatchingStrategy::BestFit => Some(BucketOrder::Descending),
            SlotOrder::Free => None,
            SlotOrder::LeastUtilized => Some(BucketOrder::Ascending),
            SlotOrder::MostUtilized => Some(BucketOrder::Descending),
        })
    }

    fn in_order(order: Option<BucketOrder>) -> Self {
        let by_use = order.map(|order| {
            Box::new(ByUse {
                order,
                places: Buckets::new(),
            })
        });
        Self {
            by_use,
            workers: PagedTable::new(),
            len: 0,
            offered: CoverTree::new(),
            fits: FitSets::new(),
            looked_at: 0,
            vacant: BTreeSet::new(),
            num_places: 0,
            columns: RowColumns::default(),
            shapes: BTreeMap::new(),
            has_lost_shape: false,
            quantity: Quantity::default(),
            free_slots: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if slots may be cut from some worker.
    #[inline]
    pub(crate) fn has_offers(&self) -> bool {
        !self.offered.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, task_manager: TaskManagerKey) -> Option<&DynamicWorker> {
        self.workers.get(task_manager)?.as_ref()
    }

    #[inline]
    fn get_mut(&mut self, task_manager: TaskManagerKey) -> Option<&mut DynamicWorker> {
        self.workers.get_mut(task_manager)?.as_mut()
    }

    /// Returns all workers, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskManagerKey, &DynamicWorker)> {
        let workers = self.workers.iter();
        workers.filter_map(|(key, worker)| Some((key, worker.as_ref()?)))
    }

    /// Adds a worker without cuts. Nothing is cut from it before it is offered.
    pub(crate) fn insert(
        &mut self,
        task_manager: TaskManagerKey,
        profiles: &mut Profiles,
        resources: &DynamicResources,
        quantity: Quantity,
    ) {
        let shape = self.acquire_shape(profiles, resources);
        let place = self.vacant.pop_first().unwrap_or_else(|| {
            self.num_places += 1;
            self.num_places - 1
        });
        let mut worker = DynamicWorker {
            shape,
            remainder: Remainder::of(resources.total()),
            withheld: None,
            is_overdrawn: false,
            free_slots: 0,
            num_cuts: 0,
            next_number: 0,
            place,
            bucket: 0,
        };
        worker.update_free_slots(profiles);
        *self.workers.occupy(task_manager) = Some(worker);
        if let Some(by_use) = &mut self.by_use {
            by_use.places.reserve(self.num_places);
        }
        self.len += 1;
        self.quantity += quantity;
    }

    /// Removes a worker.
    pub(crate) fn remove(&mut self, task_manager: TaskManagerKey, profiles: &mut Profiles, quantity: Quantity) {
        self.withdraw(task_manager);
        let Some(worker) = self.workers.get_mut(task_manager).and_then(Option::take) else {
            return;
        };
        self.workers.vacate(task_manager);
        self.release_shape(profiles, worker.shape);
        self.quantity -= quantity;
        self.len -= 1;
        self.vacant.insert(worker.place);
        if self.len == 0 {
            self.offered.clear();
            self.fits.clear();
            self.looked_at = 0;
            self.vacant.clear();
            self.num_places = 0;
            self.columns.clear();
        }
    }

    fn acquire_shape(&mut self, profiles: &mut Profiles, resources: &DynamicResources) -> WorkerShape {
        self.columns.add(resources.total());
        let shape = WorkerShape {
            total: profiles.acquire(resources.total(), 1),
            default_slot: resources.default_slot().map(|slot| profiles.acquire(slot, 1)),
        };
        *self.shapes.entry(shape).or_default() += 1;
        shape
    }

    fn release_shape(&mut self, profiles: &mut Profiles, shape: WorkerShape) {
        if let Some(workers) = self.shapes.get_mut(&shape) {
            *workers -= 1;
            if *workers == 0 {
                self.shapes.remove(&shape);
                self.has_lost_shape = true;
            }
        }
        profiles.release(shape.total, 1);
        if let Some(default_slot) = shape.default_slot {
            profiles.release(default_slot, 1);
        }
    }

    /// Changes the resources of a worker. The caller computes its remainder anew.
    pub(crate) fn change_resources(
        &mut self,
        task_manager: TaskManagerKey,
        profiles: &mut Profiles,
        resources: &DynamicResources,
        (before, after): (Quantity, Quantity),
    ) {
        let Some(previous) = self.get(task_manager).map(|worker| worker.shape) else {
            return;
        };
        let shape = self.acquire_shape(profiles, resources);
        self.release_shape(profiles, previous);
        self.quantity -= before;
        self.quantity += after;
        if let Some(worker) = self.get_mut(task_manager) {
            worker.shape = shape;
        }
    }

    /// Computes the remainder of a worker from its cuts. Nothing is cut from it before it is offered
    /// again.
    pub(crate) fn recompute<'a>(
        &mut self,
        task_manager: TaskManagerKey,
        profiles: &'a Profiles,
        withheld: Option<ResourceProfile>,
        cuts: impl Iterator<Item = &'a ResourceProfile>,
    ) {
        self.withdraw(task_manager);
        if let Some(worker) = self.get_mut(task_manager) {
            worker.remainder = Remainder::of(&profiles[worker.shape.total]);
            worker.is_overdrawn = false;
            worker.withheld = withheld;
            worker.num_cuts = 0;
            if let Some(withheld) = &worker.withheld {
                worker.is_overdrawn |= !worker.remainder.cut(withheld);
            }
            for cut in cuts {
                worker.is_overdrawn |= !worker.remainder.cut(cut);
                worker.num_cuts += 1;
            }
            worker.update_free_slots(profiles);
        }
    }

    /// Withholds what remains of a worker beyond `free`, until its next report.
    pub(crate) fn withhold_beyond(
        &mut self,
        task_manager: TaskManagerKey,
        profiles: &Profiles,
        free: &ResourceProfile,
    ) {
        self.withdraw(task_manager);
        let Some(worker) = self.get_mut(task_manager) else {
            return;
        };
        let Some(gone) = worker.remainder.lower_to(free) else {
            return;
        };
        let withheld = match &worker.withheld {
            // Both are parts of the total, whose amounts do not overflow.
            Some(withheld) => withheld.checked_add(&gone).unwrap_or_else(|_| gone.clone()),
            None => gone,
        };
        worker.withheld = Some(withheld);
        worker.update_free_slots(profiles);
    }

    /// Cuts a slot with this profile from a worker. Returns the number of the slot.
    pub(crate) fn cut(
        &mut self,
        task_manager: TaskManagerKey,
        slots: &SlotList,
        profiles: &Profiles,
        profile: ProfileKey,
    ) -> Option<u32> {
        let worker = self.get_mut(task_manager)?;
        let number = worker.take_number(slots);
        worker.is_overdrawn |= !worker.remainder.cut(&profiles[profile]);
        worker.num_cuts += 1;
        self.update_offer(task_manager, profiles, Change::Shrinks);
        Some(number)
    }

    /// Gives the resources of a slot back to its worker. Returns `false` if the worker is overdrawn:
    /// then the caller computes its remainder anew.
    pub(crate) fn give_back(&mut self, task_manager: TaskManagerKey, profiles: &Profiles, profile: ProfileKey) -> bool {
        let Some(worker) = self.get_mut(task_manager) else {
            return true;
        };
        if worker.is_overdrawn {
            return false;
        }
        worker.remainder.give_back(&profiles[profile]);
        worker.num_cuts -= 1;
        self.update_offer(task_manager, profiles, Change::Grows);
        true
    }

    /// Updates the number of default slots and the row of a worker.
    fn update_offer(&mut self, task_manager: TaskManagerKey, profiles: &Profiles, change: Change) {
        let Some(worker) = self.workers.get_mut(task_manager).and_then(Option::as_mut) else {
            return;
        };
        let before = worker.free_slots();
        worker.update_free_slots(profiles);
        if self.offered.get(worker.place).is_some() {
            self.free_slots = self.free_slots - before + worker.free_slots();
            let row = worker.row(&self.columns);
            match change {
                Change::Grows => self.offered.grow(worker.place, row),
                Change::Shrinks => self.offered.shrink(worker.place, row),
            }
            self.fits.set(worker.place, Some(&row));
            if let Some(by_use) = &mut self.by_use {
                by_use.update(worker, profiles);
                self.fits.note_bucket(worker.place, worker.bucket);
            }
        }
    }

    /// Lets slots be cut from a worker, as far as its remainder goes. Returns `false` if they could
    /// be cut before.
    pub(crate) fn offer(&mut self, task_manager: TaskManagerKey, profiles: &Profiles) -> bool {
        let Some(worker) = self.workers.get_mut(task_manager).and_then(Option::as_mut) else {
            return false;
        };
        let is_new = self.offered.get(worker.place).is_none();
        if is_new {
            self.free_slots += worker.free_slots();
            let row = worker.row(&self.columns);
            self.offered.set(worker.place, row, task_manager);
            self.fits.set(worker.place, Some(&row));
            if let Some(by_use) = &mut self.by_use {
                worker.bucket = worker.used_share(profiles);
                by_use.places.insert(worker.bucket, worker.place);
                self.fits.note_bucket(worker.place, worker.bucket);
            }
        }
        is_new
    }

    /// Lets no slot be cut from a worker.
    pub(crate) fn withdraw(&mut self, task_manager: TaskManagerKey) {
        let Some(worker) = self.workers.get(task_manager).and_then(Option::as_ref) else {
            return;
        };
        if self.offered.get(worker.place).is_some() {
            self.free_slots -= worker.free_slots();
            self.offered.remove(worker.place);
            self.fits.set(worker.place, None);
            if let Some(by_use) = &mut self.by_use {
                by_use.places.remove(worker.place);
            }
        }
    }

    pub(crate) fn is_offered(&self, task_manager: TaskManagerKey) -> bool {
        let worker = self.get(task_manager);
        worker.is_some_and(|worker| self.offered.get(worker.place).is_some())
    }

    /// Returns the first offered worker, in the order of the strategy, that fits a request and is
    /// accepted.
    ///
    /// Cost: O(log workers) if the request is one of 256 that are searched most, or as of
    /// [`FitSets::first_by_bucket`]; else up to O(offered workers).
    #[inline]
    pub(crate) fn first_fitting(
        &mut self,
        required: &ResourceProfile,
        mut accepts: impl FnMut(TaskManagerKey) -> bool,
    ) -> Option<TaskManagerKey> {
        let row = self.columns.of_request(required);
        if self.by_use.is_some() {
            return self.first_by_use(required, &row, accepts);
        }
        let Self { offered, workers, .. } = self;
        let mut fits = |task_manager: TaskManagerKey| {
            let worker = workers.get(task_manager).and_then(Option::as_ref);
            worker.is_some_and(|worker| worker.fits(required)) && accepts(task_manager)
        };
        let Some(tracked) = self.fits.find(&row) else {
            let found = offered.first(&row, &mut self.looked_at, fits);
            self.track_if_it_pays(row);
            return found;
        };
        let task_manager_at = |place| offered.get(place).map(|(task_manager, _)| task_manager);
        let fits_at = |place| task_manager_at(place).is_some_and(&mut fits);
        task_manager_at(self.fits.first(tracked, fits_at)?)
    }

    /// Does the same as [`first_fitting`](Self::first_fitting) if the used share decides.
    #[inline(never)]
    fn first_by_use(
        &mut self,
        required: &ResourceProfile,
        row: &Row,
        mut accepts: impl FnMut(TaskManagerKey) -> bool,
    ) -> Option<TaskManagerKey> {
        let Self { offered, workers, .. } = self;
        let ByUse { order, places } = &**self.by_use.as_ref()?;
        let mut fits = |task_manager: TaskManagerKey| {
            let worker = workers.get(task_manager).and_then(Option::as_ref);
            worker.is_some_and(|worker| worker.fits(required)) && accepts(task_manager)
        };
        let task_manager_at = |place| offered.get(place).map(|(task_manager, _)| task_manager);
        if let Some(tracked) = self.fits.find(row) {
            let fits_at = |place| task_manager_at(place).is_some_and(&mut fits);
            let place = self.fits.first_by_bucket(tracked, (places, *order), fits_at)?;
            return task_manager_at(place);
        }
        // The tree sees soon that none fits.
        let mut found = offered.first(row, &mut self.looked_at, &mut fits);
        if let Some(first) = found {
            let covers = |place| offered.get(place).filter(|(_, present)| present.covers(row));
            let in_order = places.iter(*order).flat_map(|bucket| places.places_of(bucket));
            let mut candidates = in_order.inspect(|_| self.looked_at += 1).filter_map(covers);
            let best = candidates.find(|(task_manager, _)| *task_manager == first || fits(*task_manager));
            found = best.map(|(task_manager, _)| task_manager);
        }
        self.track_if_it_pays(*row);
        found
    }

    /// Tracks a row once searches of the tree have looked at as many rows as it costs to track one.
    fn track_if_it_pays(&mut self, row: Row) {
        if self.looked_at >= self.len + self.fits.cost_of_columns() {
            self.looked_at = 0;
            let rows = self.offered.iter().map(|(place, _, row)| (place, row));
            self.fits.track(row, rows);
        }
    }

    /// Does the same as [`first_fitting`](Self::first_fitting) by looking at all workers; for the
    /// check of invariants.
    pub(crate) fn scan_for(
        &self,
        required: &ResourceProfile,
        mut accepts: impl FnMut(TaskManagerKey) -> bool,
    ) -> Option<TaskManagerKey> {
        let offered = self.offered.iter().map(|(_, task_manager, _)| task_manager);
        let fitting = offered.filter(|task_manager| {
            self.get(*task_manager).is_some_and(|worker| worker.fits(required)) && accepts(*task_manager)
        });
        let rank = |task_manager: &TaskManagerKey| {
            let bucket = self.get(*task_manager).map(|worker| worker.bucket);
            self.by_use
                .as_ref()
                .zip(bucket)
                .map(|(by_use, bucket)| by_use.order.rank(bucket))
        };
        // Of equal ones the first, which has the lowest place.
        fitting.min_by_key(rank)
    }

    /// Returns the offered workers from which a slot for a request could be cut if there were no
    /// cuts, in the order of their keys.
    pub(crate) fn could_fit<'a>(
        &'a self,
        profiles: &'a Profiles,
        required: &'a ResourceProfile,
    ) -> impl Iterator<Item = (TaskManagerKey, &'a DynamicWorker)> {
        let offered = self
            .iter()
            .filter(|(_, worker)| self.offered.get(worker.place).is_some());
        offered.filter(|(_, worker)| worker.could_fit(profiles, required))
    }

    /// Returns `true` if the total of a registered worker fits a request.
    ///
    /// Cost: O(shapes).
    pub(crate) fn has_fitting_total(&self, profiles: &Profiles, required: &ResourceProfile) -> bool {
        self.shapes.keys().any(|shape| shape.fitting(profiles).fits(required))
    }

    /// Returns what `take_lost_shape` would return.
    pub(crate) fn has_lost_shape(&self) -> bool {
        self.has_lost_shape
    }

    /// Returns `true` if a shape has lost its last worker since the previous call.
    pub(crate) fn take_lost_shape(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_shape)
    }

    /// Returns the quantity of all workers.
    pub(crate) fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// Returns the number of default slots in the remainders of offered workers.
    pub(crate) fn free_slots(&self) -> usize {
        self.free_slots
    }

    /// Returns the shapes of all workers, each with the number of its workers.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (WorkerShape, usize)> {
        self.shapes.iter().map(|(shape, workers)| (*shape, *workers))
    }

    /// Returns `true` if rows, places and counts are right; for the check of invariants.
    pub(crate) fn is_consistent(&self, profiles: &Profiles) -> bool {
        let mut places = BTreeSet::new();
        let mut free_slots = 0;
        let mut offered = 0;
        for (task_manager, worker) in self.iter() {
            let row = self.offered.get(worker.place);
            if row.is_some() {
                offered += 1;
                free_slots += worker.free_slots();
                let is_in_bucket = self.by_use.as_ref().is_none_or(|by_use| {
                    worker.bucket == worker.used_share(profiles) && by_use.places.has(worker.bucket, worker.place)
                });
                if !is_in_bucket {
                    return false;
                }
            }
            let expected = (task_manager, worker.row(&self.columns));
            let default_slot = worker.shape.default_slot.map(|slot| &profiles[slot]);
            let is_right = places.insert(worker.place)
                && row.is_none_or(|row| row == expected)
                && worker.free_slots == default_slot.map_or(0, |slot| worker.remainder.times(slot));
            if !is_right {
                return false;
            }
        }
        let mut shapes = BTreeMap::new();
        for (_, worker) in self.iter() {
            *shapes.entry(worker.shape).or_default() += 1;
        }
        places.len() == self.len
            && places.is_disjoint(&self.vacant)
            && places.len() + self.vacant.len() == self.num_places
            && (free_slots, offered) == (self.free_slots, self.offered.len())
            && shapes == self.shapes
            && self.offered.is_consistent()
            && self.by_use.as_ref().is_none_or(|by_use| {
                by_use.places.len() == self.offered.len()
                    && by_use.places.is_consistent()
                    && self.fits.are_marked(&by_use.places)
            })
            && self
                .fits
                .is_consistent(self.offered.iter().map(|(place, _, row)| (place, row)))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::in_order(self.by_use.as_ref().map(|by_use| by_use.order));
    }
}

impl WorkerShape {
    /// Returns the number of slots as which a worker of this shape counts: that of default slots in
    /// its total, at least one.
    pub(crate) fn num_slots(self, profiles: &Profiles) -> usize {
        let default_slot = self.default_slot.map(|slot| &profiles[slot]);
        slots_in(&profiles[self.total], default_slot) as usize
    }

    /// Returns the condition for requests that a worker of this shape without cuts fits.
    pub(crate) fn fitting(self, profiles: &Profiles) -> Fitting<'_> {
        let total = &profiles[self.total];
        let default_slot = self.default_slot.map(|slot| &profiles[slot]);
        Fitting::Worker {
            remainder: total,
            fits_default_slot: default_slot.is_some_and(|slot| total.is_matching(slot)),
        }
    }
}
