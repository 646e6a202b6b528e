//! Arena found by the ids they have outside.

use std::hash::Hash;
use std::marker::PhantomData;

use super::arena::{Arena, Key};
use super::fingerprint_table::{Fingerprint, FingerprintTable};

/// A record that has an id from outside.
pub(crate) trait Identified<I: ?Sized> {
    fn id(&self) -> &I;
}

/// Finds records by their id.
#[derive(Debug)]
pub(crate) struct IdIndex<I: ?Sized, K> {
    table: FingerprintTable<K>,
    id: PhantomData<I>,
}

impl<I: Hash + Eq + ?Sized, K: Key> IdIndex<I, K> {
    pub(crate) fn new() -> Self {
        Self {
            table: FingerprintTable::new(),
            id: PhantomData,
        }
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    #[inline]
    pub(crate) fn find<R: Identified<I>>(&self, records: &Arena<K, R>, id: &I) -> Option<K> {
        self.table.find(Fingerprint::of(id), |key| records[key].id() == id)
    }

    /// Adds the key of a record whose id is not yet in the index.
    pub(crate) fn insert<R: Identified<I>>(&mut self, records: &Arena<K, R>, key: K) {
        self.table.insert(Fingerprint::of(records[key].id()), key);
    }

    /// Takes the key of a record out, before the record is removed.
    pub(crate) fn remove<R: Identified<I>>(&mut self, records: &Arena<K, R>, key: K) {
        self.table
            .remove(Fingerprint::of(records[key].id()), |other| other == key);
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot_manager::collections::arena::key;
    use crate::slot_manager::collections::fingerprint_table::most_values;

    key! {
        TestKey
    }

    #[test]
    fn an_index_of_ids_makes_the_same_room() {
        let mut index = IdIndex::<u32, TestKey>::new();
        index.reserve(100);
        assert!(most_values(index.table.buckets.len()) >= 100);
    }
}
