//! What each allocation id is doing: the one index by which requests are de-duplicated.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::AllocationId;

use crate::slot_manager::collections::arena::{Arena, Key};
use crate::slot_manager::collections::fingerprint_table::{Fingerprint, FingerprintTable};
use crate::slot_manager::state::requests::{PendingRequest, RequestKey};
use crate::slot_manager::state::slots::{Slot, SlotKey};

/// Where an allocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AllocationEntry {
    /// It is not granted.
    Pending(RequestKey),
    /// It holds this slot; of several, the one that was recorded first.
    Granted(SlotKey),
}

/// A holder in four bytes, so that a place in the table is eight: one more than twice the index of the key, or two more
/// if it is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PackedEntry(NonZeroU32);

impl From<AllocationEntry> for PackedEntry {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a slot or a request takes a hundred bytes: 2³¹ of them would be hundreds of gigabytes"
    )]
    fn from(holder: AllocationEntry) -> Self {
        debug_assert!(match holder {
            AllocationEntry::Pending(request) => request.index() < 1 << 31,
            AllocationEntry::Granted(slot) => slot.index() < 1 << 31,
        });
        Self(NonZeroU32::MIN.saturating_add(match holder {
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

/// All allocations by id. The id lives in the record of the request or of the slot.
#[derive(Debug)]
pub(crate) struct Allocations {
    table: FingerprintTable<PackedEntry>,
    /// Slots that hold an allocation which is granted on another, in the order in which they were found. Nearly always
    /// empty.
    secondaries: BTreeMap<AllocationId, Vec<SlotKey>>,
}

type Requests = Arena<RequestKey, PendingRequest>;
type Slots = Arena<SlotKey, Slot>;

/// The id of a holder; `None` would be a slot that holds nothing, which is never in the table.
fn id_of(holder: AllocationEntry, requests: &Requests, slots: &Slots) -> Option<AllocationId> {
    match holder {
        AllocationEntry::Pending(request) => Some(requests[request].allocation_id),
        AllocationEntry::Granted(slot) => slots[slot].allocation().map(|allocation| allocation.id),
    }
}

impl Allocations {
    pub(crate) fn new() -> Self {
        Self {
            table: FingerprintTable::new(),
            secondaries: BTreeMap::new(),
        }
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    #[inline]
    pub(crate) fn find(
        &self,
        fingerprint: Fingerprint,
        id: AllocationId,
        requests: &Requests,
        slots: &Slots,
    ) -> Option<AllocationEntry> {
        self.table
            .find(fingerprint, |holder| id_of(holder.into(), requests, slots) == Some(id))
            .map(AllocationEntry::from)
    }

    /// Prepares for several allocations to be looked up soon.
    pub(crate) fn prefetch(&self, ids: impl Iterator<Item = AllocationId>) {
        self.table.prefetch(ids.map(|id| Fingerprint::of(&id)));
    }

    /// Adds an allocation that is not known, by the fingerprint of its id.
    #[inline]
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, holder: AllocationEntry) {
        self.table.insert(fingerprint, holder.into());
    }

    /// Makes a known allocation the grant of a slot.
    pub(crate) fn grant(&mut self, id: AllocationId, request: RequestKey, slot: SlotKey) {
        let pending = PackedEntry::from(AllocationEntry::Pending(request));
        self.table.replace(
            Fingerprint::of(&id),
            |holder| holder == pending,
            AllocationEntry::Granted(slot).into(),
        );
    }

    /// Forgets an allocation.
    pub(crate) fn remove(&mut self, id: AllocationId, holder: AllocationEntry) {
        let packed = PackedEntry::from(holder);
        self.table.remove(Fingerprint::of(&id), |other| other == packed);
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

    /// Takes the slot that holds the allocation beside its grant for the longest time.
    pub(crate) fn take_oldest_secondary(&mut self, id: AllocationId) -> Option<SlotKey> {
        if self.secondaries.is_empty() {
            return None;
        }
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
