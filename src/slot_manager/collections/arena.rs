//! Arenas: records in slabs, addressed by small typed keys.
//!
//! **Stale keys are the known risk.** A key has no generation. After the removal of a record the
//! slab gives its index to the next record. An old key would then lead to the wrong record without
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

use slab::Slab;

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
    slab: Slab<R>,
    /// Memory was reserved, so it stays until `clear`.
    is_reserved: bool,
    key: PhantomData<K>,
}

/// The number of records whose memory an empty arena keeps.
const SPARE_RECORDS: usize = 1024;

impl<K: Key, R> Arena<K, R> {
    pub(crate) fn new() -> Self {
        Self {
            slab: Slab::new(),
            is_reserved: false,
            key: PhantomData,
        }
    }

    /// Reserves memory, which is kept until `clear`.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.slab.reserve(additional);
        self.is_reserved |= additional > 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: R) -> K {
        K::from_index(self.slab.insert(record))
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: K) -> R {
        let record = self.slab.remove(key.index());
        if self.slab.is_empty() {
            self.give_back();
        }
        record
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&R> {
        self.slab.get(key.index())
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut R> {
        self.slab.get_mut(key.index())
    }

    /// Returns all records, in an order that depends only on the earlier insertions and removals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        self.slab.iter().map(|(index, record)| (K::from_index(index), record))
    }

    /// Returns up to `n` keys from an index on, and the index of the next record after them.
    ///
    /// A record keeps its index until it is removed.
    ///
    /// Cost: O(n + free places).
    pub(crate) fn page(&self, from: usize, n: usize) -> (Vec<K>, Option<usize>) {
        let mut keys = Vec::with_capacity(n.min(self.len()));
        for index in (from..self.slab.capacity()).filter(|index| self.slab.contains(*index)) {
            if keys.len() == n {
                return (keys, Some(index));
            }
            keys.push(K::from_index(index));
        }
        (keys, None)
    }

    /// Frees the memory of a past peak, unless it was reserved.
    fn give_back(&mut self) {
        if !self.is_reserved && self.slab.capacity() > SPARE_RECORDS {
            self.slab = Slab::new();
        }
    }

    /// Removes all records and frees their memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Every key in use leads to a record; the [module documentation](self) says why.
impl<K: Key, R> Index<K> for Arena<K, R> {
    type Output = R;

    #[inline]
    fn index(&self, key: K) -> &R {
        &self.slab[key.index()]
    }
}

impl<K: Key, R> IndexMut<K> for Arena<K, R> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut R {
        &mut self.slab[key.index()]
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
            let keys: Vec<_> = (0..3 * SPARE_RECORDS as u64).map(|n| records.insert(n)).collect();
            let (last, others) = keys.split_last().expect("there are records");
            for key in others {
                records.remove(*key);
            }
            assert!(records.slab.capacity() > SPARE_RECORDS, "one record is left");
            records.remove(*last);
            assert_eq!(records.slab.capacity() > SPARE_RECORDS, kept);
        }
        let mut few = Arena::<TestKey, u64>::new();
        let key = few.insert(1);
        few.remove(key);
        assert!(few.slab.capacity() > 0, "a small arena keeps its memory");
    }
}
