//! Distinct values, stored once and counted by their uses.

use std::hash::Hash;
use std::ops::Index;

use crate::slot_manager::collections::arena::Key;
use crate::slot_manager::collections::fingerprint_table::{FingerprintTable, IdHasher};
use crate::slot_manager::collections::pages::PagedArena;

/// The distinct values in use. Values that are gone leave no memory behind.
#[derive(Debug)]
pub(crate) struct Interner<K, T> {
    records: PagedArena<K, Entry<T>>,
    by_value: FingerprintTable<K>,
    /// The value acquired last. The next value is often the same.
    recent: Option<K>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    uses: usize,
}

impl<K: Key, T> Index<K> for Interner<K, T> {
    type Output = T;

    fn index(&self, key: K) -> &T {
        &self.records[key].value
    }
}

impl<K: Key, T: Clone + Eq + Hash> Interner<K, T> {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::with_hasher(IdHasher::with_seed(0))
    }

    pub(crate) fn with_hasher(hasher: IdHasher) -> Self {
        Self {
            records: PagedArena::new(),
            by_value: FingerprintTable::new(hasher),
            recent: None,
        }
    }

    /// Returns the key of a value and counts more uses, at least one.
    #[inline(always)]
    pub(crate) fn acquire(&mut self, value: &T, uses: usize) -> K {
        if let Some(recent) = self.recent {
            let entry = &mut self.records[recent];
            if entry.value == *value {
                entry.uses += uses;
                return recent;
            }
        }
        self.acquire_other(value, uses)
    }

    #[inline(never)]
    fn acquire_other(&mut self, value: &T, uses: usize) -> K {
        let fingerprint = self.by_value.fingerprint(value);
        let known = self.by_value.find(fingerprint, |key| self.records[key].value == *value);
        let key = match known {
            Some((key, _)) => {
                self.records[key].uses += uses;
                key
            }
            None => {
                let key = self.records.insert(Entry {
                    value: value.clone(),
                    uses,
                });
                self.by_value.insert(fingerprint, key);
                key
            }
        };
        self.recent = Some(key);
        key
    }

    /// Counts one more use of a value in use.
    #[inline]
    pub(crate) fn share(&mut self, key: K) -> K {
        self.records[key].uses += 1;
        key
    }

    /// Ends uses of a value. The last use removes it.
    #[inline(always)]
    pub(crate) fn release(&mut self, key: K, uses: usize) {
        let entry = &mut self.records[key];
        entry.uses -= uses;
        if entry.uses == 0 {
            self.remove(key);
        }
    }

    #[cold]
    fn remove(&mut self, key: K) {
        let value = self.records.remove(key).value;
        self.by_value.remove(self.by_value.fingerprint(&value), key);
        self.by_value.shrink_if_sparse();
        if self.recent == Some(key) {
            self.recent = None;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.by_value.clear();
        self.recent = None;
    }

    /// Returns the keys of all values in use, with their numbers of uses.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (K, usize)> {
        self.records.iter().map(|(key, entry)| (key, entry.uses))
    }
}
