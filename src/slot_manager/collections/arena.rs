//! Arena in slabs, addressed by small typed keys.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use slab::Slab;

/// A small copyable address of a record. Never seen by users.
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
                reason = "each record takes tens of bytes: 2³² of them would be hundreds of gigabytes"
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

/// Arena of one kind, addressed by their key. A key is valid from `insert` to `remove`; the manager keeps no key of a
/// removed record.
#[derive(Debug)]
pub(crate) struct Arena<K, R> {
    slab: Slab<R>,
    /// Memory was asked for in advance: it is kept.
    is_reserved: bool,
    key: PhantomData<K>,
}

/// Arena for which memory is kept when none is left.
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

    /// In an order that depends only on what was inserted and removed before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &R)> {
        self.slab.iter().map(|(index, record)| (K::from_index(index), record))
    }

    /// Gives the memory of a peak that is over back, unless it was asked for in advance.
    fn give_back(&mut self) {
        if !self.is_reserved && self.slab.capacity() > SPARE_RECORDS {
            self.slab = Slab::new();
        }
    }

    /// Forgets all records, and the memory they took.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Every key that is kept leads to a record: a record is removed only when it is in no list and no other record refers to
/// it. `check_invariants` finds what would be wrong.
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
    fn memory_is_given_back_when_no_record_is_left_unless_it_was_reserved() {
        for (reserved, kept) in [(0, false), (1, true)] {
            let mut records = Arena::<TestKey, u64>::new();
            records.reserve(reserved);
            let keys: Vec<_> = (0..3 * SPARE_RECORDS as u64).map(|n| records.insert(n)).collect();
            let (last, others) = keys.split_last().expect("some");
            for key in others {
                records.remove(*key);
            }
            assert!(records.slab.capacity() > SPARE_RECORDS, "one is left");
            records.remove(*last);
            assert_eq!(records.slab.capacity() > SPARE_RECORDS, kept);
        }
        let mut few = Arena::<TestKey, u64>::new();
        let key = few.insert(1);
        few.remove(key);
        assert!(few.slab.capacity() > 0, "a few are kept");
    }
}
