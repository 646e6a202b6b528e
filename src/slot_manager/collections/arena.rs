//! Arenas: records of one kind, addressed by small typed keys.
//!
//! Records are in one list up to a size of [`FLAT_BYTES`], and in pages from there on. Pages never
//! move, so no insertion copies more records than that list has.
//!
//! **Why not `slab::Slab`?** It is one list that doubles. With it, in the bench `tail`, the slowest
//! registration takes 20 ms while a cluster grows to a million slots; here it takes 0.5 ms.
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

        impl $name {
            #[allow(dead_code, reason = "for the keys in constants")]
            pub(crate) const FIRST: Self = Self(std::num::NonZeroU32::MIN);
        }

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
    flat: Vec<Entry<R>>,
    /// All pages but the last one in use are full of entries. Pages after it are reserved.
    pages: Vec<Vec<Entry<R>>>,
    /// The number of entries, also of vacant ones.
    entries: usize,
    /// The index of the entry that was vacated last; [`NONE`] if no entry is vacant.
    vacant: u32,
    len: usize,
    /// Memory was reserved, so it stays until `clear`.
    is_reserved: bool,
    key: PhantomData<K>,
}

const NONE: u32 = u32::MAX;

/// The size of the flat list. When it grows to that size, a quarter is copied, which takes half
/// a millisecond.
const FLAT_BYTES: usize = 2 << 20;

/// The number of entries of a page.
const PAGE: usize = 1 << 12;

/// The number of entries for which the first record reserves memory.
const LEAST_ENTRIES: usize = 16;

/// The least number of entries for which a further record reserves memory.
const FEW_ENTRIES: usize = 256;

/// The number of entries whose memory an empty arena keeps.
const SPARE_ENTRIES: usize = 1024;

#[derive(Debug)]
enum Entry<R> {
    Occupied(R),
    Vacant {
        /// The index of the entry that was vacated before; [`NONE`] without one.
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
    /// The number of entries in the flat list.
    const FLAT: usize = (FLAT_BYTES / size_of::<Entry<R>>()).next_power_of_two();

    pub(crate) fn new() -> Self {
        Self {
            flat: Vec::new(),
            pages: Vec::new(),
            entries: 0,
            vacant: NONE,
            len: 0,
            is_reserved: false,
            key: PhantomData,
        }
    }

    /// Reserves memory, which is kept until `clear`.
    pub(crate) fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.is_reserved = true;
            let entries = self.len + additional;
            self.flat
                .reserve(entries.min(Self::FLAT).saturating_sub(self.flat.len()));
            while self.pages.len() < entries.saturating_sub(Self::FLAT).div_ceil(PAGE) {
                self.pages.push(Vec::with_capacity(PAGE));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: R) -> K {
        self.len += 1;
        if self.vacant == NONE {
            return self.push(record);
        }
        let key = K::from_index(self.vacant as usize);
        if let Some(entry) = self.entry_mut(key) {
            if let Entry::Vacant { next } = std::mem::replace(entry, Entry::Occupied(record)) {
                self.vacant = next;
            }
        }
        key
    }

    /// Adds an entry after all others.
    #[inline]
    fn push(&mut self, record: R) -> K {
        let index = self.entries;
        self.entries += 1;
        match index < Self::FLAT {
            true => {
                if self.flat.len() == self.flat.capacity() {
                    self.grow_flat();
                }
                self.flat.push(Entry::Occupied(record));
            }
            false => self.push_to_page(index - Self::FLAT, record),
        }
        K::from_index(index)
    }

    /// Reserves memory for four times as many entries in the flat list, or for some more at first.
    /// Memory that is not used costs nothing, and copying them seldom pays.
    #[cold]
    fn grow_flat(&mut self) {
        let entries = match self.flat.is_empty() {
            true => LEAST_ENTRIES,
            false => (4 * self.flat.len()).max(FEW_ENTRIES).min(Self::FLAT),
        };
        self.flat.reserve_exact(entries - self.flat.len());
    }

    #[inline(never)]
    fn push_to_page(&mut self, index: usize, record: R) {
        if index / PAGE == self.pages.len() {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[index / PAGE].push(Entry::Occupied(record));
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "an index is below 2³², as a key is")]
    pub(crate) fn remove(&mut self, key: K) -> R {
        let vacated = Entry::Vacant { next: self.vacant };
        let removed = self.entry_mut(key).map(|entry| std::mem::replace(entry, vacated));
        let Some(Entry::Occupied(record)) = removed else {
            no_record(key);
        };
        self.vacant = key.index() as u32;
        self.len -= 1;
        if self.len == 0 {
            self.give_back();
        }
        record
    }

    #[inline(always)]
    fn entry(&self, key: K) -> Option<&Entry<R>> {
        match self.flat.get(key.index()) {
            None => {
                let index = key.index().checked_sub(Self::FLAT)?;
                self.pages.get(index / PAGE)?.get(index % PAGE)
            }
            entry => entry,
        }
    }

    #[inline(always)]
    fn entry_mut(&mut self, key: K) -> Option<&mut Entry<R>> {
        match self.flat.get_mut(key.index()) {
            None => {
                let index = key.index().checked_sub(Self::FLAT)?;
                self.pages.get_mut(index / PAGE)?.get_mut(index % PAGE)
            }
            entry => entry,
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&R> {
        self.entry(key)?.record()
    }

    /// Returns the records that lie beside a record in memory, for fast look-ups of many.
    #[inline]
    pub(crate) fn neighbours(&self, key: K) -> Neighbours<'_, K, R> {
        let (entries, first) = match key.index().checked_sub(Self::FLAT) {
            None => (self.flat.as_slice(), 0),
            Some(index) => {
                let page = self.pages.get(index / PAGE).map_or(&[][..], Vec::as_slice);
                (page, key.index() - index % PAGE)
            }
        };
        Neighbours {
            entries,
            first,
            key: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut R> {
        self.entry_mut(key)?.record_mut()
    }

    /// Returns all records, in an order that depends only on the earlier insertions and removals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        let entries = self.flat.iter().chain(self.pages.iter().flatten()).enumerate();
        entries.filter_map(|(index, entry)| Some((K::from_index(index), entry.record()?)))
    }

    /// Returns up to `n` keys from an index on, and the index of the next record after them.
    ///
    /// A record keeps its index until it is removed.
    ///
    /// Cost: O(n + free places).
    pub(crate) fn page(&self, from: usize, n: usize) -> (Vec<K>, Option<usize>) {
        let mut keys = Vec::with_capacity(n.min(self.len()));
        let present = (from..self.entries)
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
        if !self.is_reserved && self.entries > SPARE_ENTRIES {
            self.clear();
        }
    }

    /// Removes all records and frees their memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Records that lie beside each other in memory.
pub(crate) struct Neighbours<'a, K, R> {
    entries: &'a [Entry<R>],
    /// The index of the first record.
    first: usize,
    key: PhantomData<K>,
}

impl<K: Key, R> Neighbours<'_, K, R> {
    /// Returns a record; `None` also if it lies elsewhere.
    #[inline(always)]
    pub(crate) fn get(&self, key: K) -> Option<&R> {
        self.entries.get(key.index().wrapping_sub(self.first))?.record()
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

    #[inline(always)]
    fn index(&self, key: K) -> &R {
        match self.get(key) {
            Some(record) => record,
            None => no_record(key),
        }
    }
}

impl<K: Key, R> IndexMut<K> for Arena<K, R> {
    #[inline(always)]
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

    const FLAT: usize = Arena::<TestKey, usize>::FLAT;

    #[test]
    fn an_empty_arena_frees_the_memory_of_a_peak_unless_it_was_reserved() {
        for (reserved, kept) in [(0, false), (1, true)] {
            let mut records = Arena::<TestKey, usize>::new();
            records.reserve(reserved);
            let keys: Vec<_> = (0..FLAT + 2 * PAGE).map(|n| records.insert(n)).collect();
            let (last, others) = keys.split_last().expect("there are records");
            for key in others {
                records.remove(*key);
            }
            assert_eq!(
                (records.flat.len(), records.pages.len()),
                (FLAT, 2),
                "one record is left"
            );
            records.remove(*last);
            assert_eq!(records.flat.capacity() >= FLAT, kept);
            assert_eq!(records.pages.len(), if kept { 2 } else { 0 });
        }
        let mut few = Arena::<TestKey, u64>::new();
        let key = few.insert(1);
        few.remove(key);
        assert!(few.flat.capacity() > 0, "a small arena keeps its memory");
    }

    #[test]
    fn record_that_was_removed_last_leaves_its_key_to_the_next() {
        let mut records = Arena::<TestKey, usize>::new();
        let end = FLAT + PAGE + 1;
        let keys: Vec<_> = (0..end).map(|n| records.insert(n)).collect();
        for [first, second] in [[0, 1], [FLAT - 1, FLAT], [FLAT + PAGE, FLAT + PAGE - 1]] {
            let [first, second] = [keys[first], keys[second]];
            assert_eq!(
                (records.remove(first), records.remove(second)),
                (first.index(), second.index())
            );
            assert_eq!((records.get(first), records.len()), (None, end - 2));
            assert_eq!([records.insert(7), records.insert(8)], [second, first]);
            assert_eq!((records[first], records[second], records.len()), (8, 7, end));
            (records[first], records[second]) = (first.index(), second.index());
        }
        assert_eq!(records.insert(end).index(), end);
        let found: Vec<_> = records.iter().map(|(key, record)| (key.index(), *record)).collect();
        assert!(found.into_iter().eq((0..=end).map(|n| (n, n))));
    }

    #[test]
    fn reserved_memory_is_filled_first() {
        let mut records = Arena::<TestKey, usize>::new();
        records.reserve(FLAT + PAGE + 1);
        assert_eq!((records.flat.capacity() >= FLAT, records.pages.len()), (true, 2));
        let keys: Vec<_> = (0..FLAT + 2).map(|n| records.insert(n).index()).collect();
        assert!(keys.into_iter().eq(0..FLAT + 2));
        assert_eq!(records.pages.len(), 2);
        let key = TestKey::from_index;
        assert_eq!(
            records.page(FLAT - 1, 2),
            (vec![key(FLAT - 1), key(FLAT)], Some(FLAT + 1))
        );
        assert_eq!(records.page(FLAT, 5), (vec![key(FLAT), key(FLAT + 1)], None));
    }
}
