//! Arenas: records in pages, addressed by small typed keys.
//!
//! Records never move. So no insertion copies many records, as one long list would when it doubles.
//! `slab::Slab` is such a list.
//!
//! **Stale keys are the known risk.** A key has no generation. After the removal of a record the
//! arena gives its index to the next record. An old key would then lead to the wrong record without
//! an error. The crate meets the risk in three ways:
//!
//! 1. A key is removed from every list, queue and index, and from every record that refers to it,
//!    before its record is removed.
//! 2. A key that may outlive its record is stored with a number that is never reused, such as an
//!    attempt number or a sequence number. The user of the key compares that number first.
//! 3. `check_invariants` derives all references again from the records. The tests call it after
//!    every step.
//!
//! Keys with generations would take eight bytes instead of four. The record of a slot would then no
//! longer fit into one cache line.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A small `Copy` address of a record. It is not part of the public API.
pub(crate) trait Key: Copy + Eq + fmt::Debug {
    fn from_index(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) struct $name(std::num::NonZeroU32);

        impl $crate::slot_manager::collections::arena::Key for $name {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a record takes tens of bytes: 2³² records would take hundreds of gigabytes"
            )]
            fn from_index(index: usize) -> Self {
                debug_assert!(u32::try_from(index).is_ok());
                Self(std::num::NonZeroU32::MIN.saturating_add(index as u32))
            }

            #[inline]
            fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }
    };
}
pub(crate) use key;

/// Records of one kind. A key is valid from `insert` to `remove`.
#[derive(Debug)]
pub(crate) struct Arena<K, R> {
    pages: Vec<Box<Page<R>>>,
    /// The index of the entry for the next record; beyond all pages if no entry is vacant.
    vacant: usize,
    len: usize,
    /// Memory was reserved, so it stays until `clear`.
    is_reserved: bool,
    key: PhantomData<K>,
}

type Page<R> = [Entry<R>; PAGE];

/// The number of entries of a page.
const PAGE: usize = 256;

/// The number of pages that an empty arena keeps.
const SPARE_PAGES: usize = 4;

#[derive(Debug)]
enum Entry<R> {
    Occupied(R),
    Vacant {
        /// The index of the vacant entry after this one.
        next: u32,
    },
}

impl<R> Entry<R> {
    #[inline]
    fn record(&self) -> Option<&R> {
        match self {
            Self::Occupied(record) => Some(record),
            Self::Vacant { .. } => None,
        }
    }

    #[inline]
    fn record_mut(&mut self) -> Option<&mut R> {
        match self {
            Self::Occupied(record) => Some(record),
            Self::Vacant { .. } => None,
        }
    }
}

impl<K: Key, R> Arena<K, R> {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            vacant: 0,
            len: 0,
            is_reserved: false,
            key: PhantomData,
        }
    }

    /// Reserves memory, which is kept until `clear`.
    pub(crate) fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.is_reserved = true;
            let pages = (self.len + additional).div_ceil(PAGE);
            while self.pages.len() < pages {
                self.add_page();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: R) -> K {
        let index = self.vacant;
        if index / PAGE >= self.pages.len() {
            self.add_page();
        }
        let entry = &mut self.pages[index / PAGE][index % PAGE];
        if let Entry::Vacant { next } = *entry {
            self.vacant = next as usize;
        }
        *entry = Entry::Occupied(record);
        self.len += 1;
        K::from_index(index)
    }

    /// Adds a page of vacant entries, in ascending order.
    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "an index is below 2³², as a key is")]
    fn add_page(&mut self) {
        let first = self.pages.len() * PAGE;
        let entries = (first..first + PAGE).map(|index| Entry::Vacant { next: index as u32 + 1 });
        let entries: Box<[Entry<R>]> = entries.collect();
        if let Ok(page) = entries.try_into() {
            self.pages.push(page);
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an index is below 2³², as a key is")]
    pub(crate) fn remove(&mut self, key: K) -> R {
        let vacated = Entry::Vacant {
            next: self.vacant as u32,
        };
        let entry = &mut self.pages[key.index() / PAGE][key.index() % PAGE];
        let Entry::Occupied(record) = std::mem::replace(entry, vacated) else {
            no_record(key);
        };
        self.vacant = key.index();
        self.len -= 1;
        if self.len == 0 {
            self.give_back();
        }
        record
    }

    #[inline]
    fn entry(&self, key: K) -> Option<&Entry<R>> {
        Some(&self.pages.get(key.index() / PAGE)?[key.index() % PAGE])
    }

    #[inline]
    fn entry_mut(&mut self, key: K) -> Option<&mut Entry<R>> {
        Some(&mut self.pages.get_mut(key.index() / PAGE)?[key.index() % PAGE])
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&R> {
        self.entry(key)?.record()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut R> {
        self.entry_mut(key)?.record_mut()
    }

    /// Returns all records, in an order that depends only on the earlier insertions and removals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        let entries = self.pages.iter().flat_map(|page| page.iter()).enumerate();
        entries.filter_map(|(index, entry)| Some((K::from_index(index), entry.record()?)))
    }

    /// Returns up to `n` keys from an index on, and the index of the next record after them.
    ///
    /// A record keeps its index until it is removed.
    ///
    /// Cost: O(n + free places).
    pub(crate) fn page(&self, from: usize, n: usize) -> (Vec<K>, Option<usize>) {
        let mut keys = Vec::with_capacity(n.min(self.len()));
        let present = (from..self.pages.len() * PAGE)
            .map(K::from_index)
            .filter(|key| self.get(*key).is_some());
        for key in present {
            if keys.len() == n {
                return (keys, Some(key.index()));
            }
            keys.push(key);
        }
        (keys, None)
    }

    /// Frees the memory of a past peak, unless it was reserved.
    fn give_back(&mut self) {
        if !self.is_reserved && self.pages.len() > SPARE_PAGES {
            self.clear();
        }
    }

    /// Removes all records and frees their memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cold]
#[inline(never)]
#[expect(
    clippy::panic,
    reason = "every key in use leads to a record, as the module documentation says"
)]
fn no_record(key: impl Key) -> ! {
    panic!("no record has the key {key:?}")
}

impl<K: Key, R> Index<K> for Arena<K, R> {
    type Output = R;

    #[inline]
    fn index(&self, key: K) -> &R {
        match self.get(key) {
            Some(record) => record,
            None => no_record(key),
        }
    }
}

impl<K: Key, R> IndexMut<K> for Arena<K, R> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut R {
        match self.get_mut(key) {
            Some(record) => record,
            None => no_record(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    key! {
        TestKey
    }

    #[test]
    fn an_empty_arena_frees_the_memory_of_a_peak_unless_it_was_reserved() {
        for (reserved, kept) in [(0, false), (1, true)] {
            let mut records = Arena::<TestKey, u64>::new();
            records.reserve(reserved);
            let keys: Vec<_> = (0..((SPARE_PAGES + 1) * PAGE) as u64)
                .map(|n| records.insert(n))
                .collect();
            let (last, others) = keys.split_last().expect("there are records");
            for key in others {
                records.remove(*key);
            }
            assert_eq!(records.pages.len(), SPARE_PAGES + 1, "one record is left");
            records.remove(*last);
            assert_eq!(records.pages.len(), if kept { SPARE_PAGES + 1 } else { 0 });
        }
        let mut few = Arena::<TestKey, u64>::new();
        let key = few.insert(1);
        few.remove(key);
        assert_eq!(few.pages.len(), 1, "a small arena keeps its memory");
    }

    #[test]
    fn record_that_was_removed_last_leaves_its_key_to_the_next() {
        let mut records = Arena::<TestKey, usize>::new();
        let keys: Vec<_> = (0..2 * PAGE + 1).map(|n| records.insert(n)).collect();
        let [first, second] = [keys[PAGE - 1], keys[PAGE]];
        assert_eq!((records.remove(first), records.remove(second)), (PAGE - 1, PAGE));
        assert_eq!((records.get(first), records.len()), (None, 2 * PAGE - 1));
        assert_eq!([records.insert(7), records.insert(8)], [second, first]);
        assert_eq!(records.insert(9).index(), 2 * PAGE + 1);
        assert_eq!((records[first], records[second], records.len()), (8, 7, 2 * PAGE + 2));
        let found: Vec<_> = records.iter().map(|(key, _)| key.index()).collect();
        assert!(found.into_iter().eq(0..2 * PAGE + 2));
    }

    #[test]
    fn reserved_pages_are_filled_first() {
        let mut records = Arena::<TestKey, usize>::new();
        records.reserve(3 * PAGE);
        let keys: Vec<_> = (0..PAGE + 1).map(|n| records.insert(n).index()).collect();
        assert!(keys.into_iter().eq(0..PAGE + 1));
        assert_eq!(records.pages.len(), 3);
        assert_eq!(
            records.page(PAGE - 1, 1),
            (vec![TestKey::from_index(PAGE - 1)], Some(PAGE))
        );
        assert_eq!(records.page(PAGE, 5), (vec![TestKey::from_index(PAGE)], None));
    }
}
