//! Distinct values kept once, counted by their uses.

use std::hash::Hash;
use std::ops::Index;

use crate::slot_manager::collections::arena::{Arena, Key};
use crate::slot_manager::collections::id_index::{IdIndex, Identified};

/// Distinct values that something uses.
#[derive(Debug)]
pub(crate) struct Interner<K, T> {
    records: Arena<K, Entry<T>>,
    by_value: IdIndex<T, K>,
    /// The value that was acquired last: the next one is often the same.
    recent: Option<K>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    uses: usize,
}

impl<T> Identified<T> for Entry<T> {
    fn id(&self) -> &T {
        &self.value
    }
}

impl<K: Key, T> Index<K> for Interner<K, T> {
    type Output = T;

    fn index(&self, key: K) -> &T {
        &self.records[key].value
    }
}

impl<K: Key, T: Clone + Eq + Hash> Interner<K, T> {
    pub(crate) fn new() -> Self {
        Self {
            records: Arena::new(),
            by_value: IdIndex::new(),
            recent: None,
        }
    }

    /// The key of a value, which counts one use more.
    #[inline]
    pub(crate) fn acquire(&mut self, value: &T) -> K {
        if let Some(recent) = self.recent {
            let entry = &mut self.records[recent];
            if entry.value == *value {
                entry.uses += 1;
                return recent;
            }
        }
        self.acquire_other(value)
    }

    fn acquire_other(&mut self, value: &T) -> K {
        let key = match self.by_value.find(&self.records, value) {
            Some(key) => {
                self.records[key].uses += 1;
                key
            }
            None => {
                let key = self.records.insert(Entry {
                    value: value.clone(),
                    uses: 1,
                });
                self.by_value.insert(&self.records, key);
                key
            }
        };
        self.recent = Some(key);
        key
    }

    /// Ends one use of a value.
    #[inline]
    pub(crate) fn release(&mut self, key: K) {
        let entry = &mut self.records[key];
        entry.uses -= 1;
        if entry.uses == 0 {
            self.by_value.remove(&self.records, key);
            self.records.remove(key);
            if self.recent == Some(key) {
                self.recent = None;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The values in use with the number of their uses.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (K, usize)> {
        self.records.iter().map(|(key, entry)| (key, entry.uses))
    }
}
