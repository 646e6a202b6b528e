//! What each allocation id is doing: the one index by which requests are de-duplicated.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::AllocationId;

use super::pending_requests::{PendingRequest, RequestKey};
use super::records::{Records, hash_of};
use super::slots::{Slot, SlotKey};

/// Where an allocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is not granted.
    Pending(RequestKey),
    /// It holds this slot; of several, the one that was recorded first.
    Granted(SlotKey),
}

/// All allocations by id. The id lives in the record of the request or of the slot.
#[derive(Debug)]
pub(super) struct Allocations {
    table: HashTable<Holder>,
    /// Slots that hold an allocation which is granted on another, in the order in which they were found. Nearly always
    /// empty.
    duplicates: BTreeMap<AllocationId, Vec<SlotKey>>,
}

type Requests = Records<RequestKey, PendingRequest>;
type Slots = Records<SlotKey, Slot>;

/// The id of a holder; `None` would be a slot that holds nothing, which is never in the table.
fn id_of(holder: Holder, requests: &Requests, slots: &Slots) -> Option<AllocationId> {
    match holder {
        Holder::Pending(request) => Some(requests[request].allocation_id),
        Holder::Granted(slot) => slots[slot].holder().map(|(allocation_id, _)| allocation_id),
    }
}

impl Allocations {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            duplicates: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, id: AllocationId, requests: &Requests, slots: &Slots) -> Option<Holder> {
        self.table
            .find(hash_of(&id), |holder| id_of(*holder, requests, slots) == Some(id))
            .copied()
    }

    /// Adds an allocation that is not known. The record of the holder carries the id already.
    pub(super) fn insert(&mut self, id: AllocationId, holder: Holder, requests: &Requests, slots: &Slots) {
        self.table.insert_unique(hash_of(&id), holder, |other| {
            id_of(*other, requests, slots).map_or(0, |id| hash_of(&id))
        });
    }

    /// Makes a known allocation the grant of a slot.
    pub(super) fn grant(&mut self, id: AllocationId, request: RequestKey, slot: SlotKey) {
        if let Some(holder) = self
            .table
            .find_mut(hash_of(&id), |holder| *holder == Holder::Pending(request))
        {
            *holder = Holder::Granted(slot);
        }
    }

    /// Forgets an allocation, while its record still carries the id.
    pub(super) fn remove(&mut self, id: AllocationId, holder: Holder) {
        if let Ok(entry) = self.table.find_entry(hash_of(&id), |other| *other == holder) {
            entry.remove();
        }
    }

    pub(super) fn add_duplicate(&mut self, id: AllocationId, slot: SlotKey) {
        self.duplicates.entry(id).or_default().push(slot);
    }

    pub(super) fn remove_duplicate(&mut self, id: AllocationId, slot: SlotKey) {
        if let Some(slots) = self.duplicates.get_mut(&id) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.duplicates.remove(&id);
            }
        }
    }

    /// Takes the slot that holds the allocation beside its grant for the longest time.
    pub(super) fn take_oldest_duplicate(&mut self, id: AllocationId) -> Option<SlotKey> {
        let slot = *self.duplicates.get(&id)?.first()?;
        self.remove_duplicate(id, slot);
        Some(slot)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn duplicates(&self) -> &BTreeMap<AllocationId, Vec<SlotKey>> {
        &self.duplicates
    }

    pub(super) fn clear(&mut self) {
        self.table = HashTable::new();
        self.duplicates.clear();
    }
}
