//! The index of all allocation ids. It finds duplicate requests.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::AllocationId;

use crate::slot_manager::collections::arena::{Arena, Key};
use crate::slot_manager::collections::fingerprint_table::{Fingerprint, FingerprintTable, IdHasher, Place};
use crate::slot_manager::state::requests::{PendingRequest, RequestKey};
use crate::slot_manager::state::slots::{SlotKey, SlotPhase, Slots};

/// The record that an allocation id leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllocationEntry {
    /// A pending request.
    Pending(RequestKey),
    /// The slot that the allocation holds. If it holds several, the slot that was recorded first.
    Granted(SlotKey),
}

/// An entry in four bytes: twice the index of the key plus one, or plus two if it is granted.
///
/// With it a place in the table takes eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PackedEntry(NonZeroU32);

impl From<AllocationEntry> for PackedEntry {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a record takes about a hundred bytes: 2³¹ records would take hundreds of gigabytes"
    )]
    fn from(entry: AllocationEntry) -> Self {
        debug_assert!(match entry {
            AllocationEntry::Pending(request) => request.index() < 1 << 31,
            AllocationEntry::Granted(slot) => slot.index() < 1 << 31,
        });
        Self(NonZeroU32::MIN.saturating_add(match entry {
            AllocationEntry::Pending(request) => (request.index() as u32) << 1,
            AllocationEntry::Granted(slot) => (slot.index() as u32) << 1 | 1,
        }))
    }
}

impl From<PackedEntry> for AllocationEntry {
    #[inline]
    fn from(packed: PackedEntry) -> Self {
        let packed = packed.0.get() - 1;
        let index = (packed >> 1) as usize;
        match packed & 1 {
            0 => Self::Pending(RequestKey::from_index(index)),
            _ => Self::Granted(SlotKey::from_index(index)),
        }
    }
}

/// All allocations by id. The id lives in the record of the request or the slot.
#[derive(Debug)]
pub(crate) struct Allocations {
    table: FingerprintTable<PackedEntry>,
    /// Where the last `locate` found an entry. The call often changes or removes that entry next.
    located: Place,
    /// Grants to remove together; empty between transactions.
    noted: Vec<(Fingerprint, PackedEntry)>,
    /// Slots that hold an allocation that is granted on another slot, in the order of discovery. It
    /// is nearly always empty.
    secondaries: BTreeMap<AllocationId, Vec<SlotKey>>,
}

type Requests = Arena<RequestKey, PendingRequest>;

/// Returns the id of an entry. `None` would be a slot without an allocation, which is never in the
/// table.
#[inline(always)]
fn id_of<'a>(entry: AllocationEntry, requests: &'a Requests, slots: &'a Slots) -> Option<&'a AllocationId> {
    match entry {
        AllocationEntry::Pending(request) => Some(&requests[request].allocation_id),
        AllocationEntry::Granted(slot) => match &slots[slot].phase {
            SlotPhase::Allocated { allocation, .. } => Some(&allocation.id),
            _ => None,
        },
    }
}

impl Allocations {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            table: FingerprintTable::new(hasher),
            located: Place::default(),
            noted: Vec::new(),
            secondaries: BTreeMap::new(),
        }
    }

    /// Returns the fingerprint of an allocation id in this index.
    #[inline]
    pub(crate) fn fingerprint(&self, id: AllocationId) -> Fingerprint {
        self.table.fingerprint(&id)
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    /// Returns the entry of an allocation id, whose fingerprint the caller knows.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        fingerprint: Fingerprint,
        id: &AllocationId,
        requests: &Requests,
        slots: &Slots,
    ) -> Option<AllocationEntry> {
        let (entry, _) = self.search(fingerprint, id, requests, slots)?;
        Some(entry.into())
    }

    /// Returns the entry of an allocation id and its place, which is void once the table changes.
    #[inline(always)]
    pub(crate) fn find_place(
        &self,
        id: AllocationId,
        requests: &Requests,
        slots: &Slots,
    ) -> Option<(AllocationEntry, Place)> {
        let (entry, place) = self.search(self.fingerprint(id), &id, requests, slots)?;
        Some((entry.into(), place))
    }

    /// Returns the entry of an allocation id, and remembers its place.
    #[inline(always)]
    pub(crate) fn locate(&mut self, id: AllocationId, requests: &Requests, slots: &Slots) -> Option<AllocationEntry> {
        let (entry, place) = self.find_place(id, requests, slots)?;
        self.located = place;
        Some(entry)
    }

    #[inline(always)]
    fn search(
        &self,
        fingerprint: Fingerprint,
        id: &AllocationId,
        requests: &Requests,
        slots: &Slots,
    ) -> Option<(PackedEntry, Place)> {
        self.table
            .find(fingerprint, |entry| id_of(entry.into(), requests, slots) == Some(id))
    }

    /// Returns the place of an entry.
    #[inline(always)]
    fn place_of(&self, id: AllocationId, entry: AllocationEntry) -> Option<Place> {
        let entry = PackedEntry::from(entry);
        if self.table.holds(self.located, entry) {
            return Some(self.located);
        }
        let (_, place) = self.table.find(self.fingerprint(id), |other| other == entry)?;
        Some(place)
    }

    /// Notes a grant that [`remove_noted`](Self::remove_noted) removes.
    #[inline(always)]
    pub(crate) fn note_removal(&mut self, id: AllocationId, slot: SlotKey) {
        let entry = AllocationEntry::Granted(slot).into();
        self.noted.push((self.fingerprint(id), entry));
    }

    /// Removes the noted grants.
    ///
    /// All parts of the table are loaded before the first is read: the processor waits once.
    pub(crate) fn remove_noted(&mut self) {
        self.table
            .prefetch(self.noted.iter().map(|(fingerprint, _)| *fingerprint));
        for (fingerprint, entry) in self.noted.drain(..) {
            self.table.remove(fingerprint, entry);
        }
    }

    /// Adds an unknown allocation by the fingerprint of its id.
    #[inline(always)]
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, entry: AllocationEntry) {
        self.table.insert(fingerprint, entry.into());
    }

    /// Turns the entry of a pending request into the grant of a slot.
    #[inline(always)]
    pub(crate) fn grant(&mut self, id: AllocationId, request: RequestKey, slot: SlotKey) {
        if let Some(place) = self.place_of(id, AllocationEntry::Pending(request)) {
            self.table.replace_at(place, AllocationEntry::Granted(slot).into());
        }
    }

    /// Removes an allocation.
    #[inline(always)]
    pub(crate) fn remove(&mut self, id: AllocationId, entry: AllocationEntry) {
        if let Some(place) = self.place_of(id, entry) {
            self.table.remove_at(place);
        }
    }

    /// Removes the allocation that the last `locate` has found.
    #[inline(always)]
    pub(crate) fn remove_located(&mut self) {
        self.table.remove_at(self.located);
    }

    /// Removes the allocation at a place.
    #[inline(always)]
    pub(crate) fn remove_at(&mut self, place: Place) {
        self.table.remove_at(place);
    }

    pub(crate) fn add_secondary(&mut self, id: AllocationId, slot: SlotKey) {
        self.secondaries.entry(id).or_default().push(slot);
    }

    pub(crate) fn remove_secondary(&mut self, id: AllocationId, slot: SlotKey) {
        if let Some(slots) = self.secondaries.get_mut(&id) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.secondaries.remove(&id);
            }
        }
    }

    /// Removes and returns the oldest slot that holds the allocation beside its grant.
    pub(crate) fn take_oldest_secondary(&mut self, id: AllocationId) -> Option<SlotKey> {
        let slot = *self.secondaries.get(&id)?.first()?;
        self.remove_secondary(id, slot);
        Some(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn secondaries(&self) -> &BTreeMap<AllocationId, Vec<SlotKey>> {
        &self.secondaries
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.secondaries.clear();
    }
}
