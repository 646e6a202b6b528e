//! An index that finds records by their external ids.

use std::hash::Hash;
use std::marker::PhantomData;

use super::arena::{Arena, Key};
use super::fingerprint_table::{FingerprintTable, IdHasher};

/// A record with an external id.
pub(crate) trait Identified<I: ?Sized> {
    fn id(&self) -> &I;
}

/// An index of records by their external ids. The ids live in the records.
#[derive(Debug)]
pub(crate) struct IdIndex<I: ?Sized, K> {
    table: FingerprintTable<K>,
    id: PhantomData<I>,
}

impl<I: Hash + Eq + ?Sized, K: Key> IdIndex<I, K> {
    /// Returns an index of ids that only the manager chooses.
    pub(crate) fn new() -> Self {
        Self::with_hasher(IdHasher::with_seed(0))
    }

    pub(crate) fn with_hasher(hasher: IdHasher) -> Self {
        Self {
            table: FingerprintTable::new(hasher),
            id: PhantomData,
        }
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    #[inline]
    pub(crate) fn find<R: Identified<I>>(&self, records: &Arena<K, R>, id: &I) -> Option<K> {
        let (key, _) = self
            .table
            .find(self.table.fingerprint(id), |key| records[key].id() == id)?;
        Some(key)
    }

    /// Adds the key of a record whose id is not in the index yet.
    pub(crate) fn insert<R: Identified<I>>(&mut self, records: &Arena<K, R>, key: K) {
        self.table.insert(self.table.fingerprint(records[key].id()), key);
    }

    /// Removes the key of a record. The caller removes the record afterwards.
    pub(crate) fn remove<R: Identified<I>>(&mut self, records: &Arena<K, R>, key: K) {
        self.table.remove(self.table.fingerprint(records[key].id()), key);
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

    key! {
        TestKey
    }

    #[test]
    fn reserving_an_index_reserves_its_table() {
        let mut index = IdIndex::<u32, TestKey>::new();
        index.reserve(100);
        assert!(index.table.room() >= 100);
    }
}
