//! How records are found by the ids they have outside.
//!
//! A table holds keys, not ids: the id lives once, in the record. Beside each key it keeps 32 bits of the hash of the
//! id, so that a record is looked at only when it is nearly certain to be the one, and none when the table grows.

use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::records::{Key, Records};

/// Hashes ids. A fixed state: ids come from the cluster itself, and a run can be repeated to the last byte of memory.
const HASHER: FixedState = FixedState::with_seed(0);

/// 32 bits of the hash of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    #[inline]
    pub(super) fn of(id: &impl Hash) -> Self {
        Self(HASHER.hash_one(id) as u32)
    }

    /// Where a table looks: it takes the place from the low bits, and a tag from the high ones.
    #[inline]
    fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

/// Small values by the fingerprint of an id that each of them leads to.
#[derive(Debug)]
pub(super) struct FingerprintTable<V> {
    table: HashTable<(Fingerprint, V)>,
}

impl<V: Copy> FingerprintTable<V> {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
        }
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional, |(fingerprint, _)| fingerprint.spread());
    }

    #[inline]
    pub(super) fn find(&self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) -> Option<V> {
        self.table
            .find(fingerprint.spread(), |(other, value)| {
                *other == fingerprint && is_it(*value)
            })
            .map(|(_, value)| *value)
    }

    /// Adds a value that is not there.
    #[inline]
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, value: V) {
        self.table
            .insert_unique(fingerprint.spread(), (fingerprint, value), |(fingerprint, _)| {
                fingerprint.spread()
            });
    }

    #[inline]
    pub(super) fn replace(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool, by: V) {
        if let Some((_, value)) = self.table.find_mut(fingerprint.spread(), |(_, value)| is_it(*value)) {
            *value = by;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) {
        if let Ok(entry) = self.table.find_entry(fingerprint.spread(), |(_, value)| is_it(*value)) {
            entry.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn clear(&mut self) {
        self.table = HashTable::new();
    }
}

/// A record that has an id from outside.
pub(super) trait Identified<I: ?Sized> {
    fn id(&self) -> &I;
}

/// Finds records by their id.
#[derive(Debug)]
pub(super) struct IdIndex<I: ?Sized, K> {
    table: FingerprintTable<K>,
    id: PhantomData<I>,
}

impl<I: Hash + Eq + ?Sized, K: Key> IdIndex<I, K> {
    pub(super) fn new() -> Self {
        Self {
            table: FingerprintTable::new(),
            id: PhantomData,
        }
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    pub(super) fn find<R: Identified<I>>(&self, records: &Records<K, R>, id: &I) -> Option<K> {
        self.table.find(Fingerprint::of(&id), |key| records[key].id() == id)
    }

    /// Adds the key of a record whose id is not yet in the index.
    pub(super) fn insert<R: Identified<I>>(&mut self, records: &Records<K, R>, key: K) {
        self.table.insert(Fingerprint::of(&records[key].id()), key);
    }

    /// Takes the key of a record out, before the record is removed.
    #[inline]
    pub(super) fn remove<R: Identified<I>>(&mut self, records: &Records<K, R>, key: K) {
        self.table
            .remove(Fingerprint::of(&records[key].id()), |other| other == key);
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }
}
