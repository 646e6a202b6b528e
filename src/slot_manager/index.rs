//! How records are found by the ids they have outside.
//!
//! A table holds keys, not ids: the id lives once, in the record. Beside each key it keeps 32 bits of the hash of the
//! id, so that a record is looked at only when it is nearly certain to be the one, and none when the table grows.

use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use foldhash::fast::FixedState;

use super::records::{Key, Records};

/// Hashes ids. A fixed state: ids come from the cluster itself, and a run can be repeated to the last byte of memory.
const HASHER: FixedState = FixedState::with_seed(0);

/// 32 bits of the hash of an id; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    #[inline]
    pub(super) fn of(id: &(impl Hash + ?Sized)) -> Self {
        Self::new(HASHER.hash_one(id) as u32)
    }

    #[inline]
    fn new(bits: u32) -> Self {
        Self(bits.max(1))
    }
}

/// Small values by the fingerprint of an id that each of them leads to.
///
/// A value is in the first bucket with room, from its home on: a bucket that has room ends every search, and nearly all
/// searches read one bucket, which is one line of the cache. What is removed leaves no mark behind, so the table is
/// never rebuilt while the number of values stays the same. (A table of `hashbrown` reads two lines, and is rebuilt now
/// and then, for tens of milliseconds at a million values.)
#[derive(Debug)]
pub(super) struct FingerprintTable<V> {
    /// A power of two of them, or none.
    buckets: Vec<Bucket<V>>,
    len: usize,
    /// Room was asked for in advance: it is kept.
    is_reserved: bool,
}

const BUCKET: usize = 8;

/// Buckets that are kept when no value is left.
const SPARE_BUCKETS: usize = 256;

/// Fingerprints, zero where there is room, and the values beside them.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Bucket<V> {
    fingerprints: [u32; BUCKET],
    values: [Option<V>; BUCKET],
}

impl<V: Copy> Bucket<V> {
    const EMPTY: Self = Self {
        fingerprints: [0; BUCKET],
        values: [None; BUCKET],
    };

    /// The places with this fingerprint. All are compared at once, without a branch.
    #[inline]
    fn places_of(&self, fingerprint: u32) -> Places {
        let mut is_there = [0; BUCKET];
        for (is_there, other) in is_there.iter_mut().zip(&self.fingerprints) {
            *is_there = u8::from(*other == fingerprint);
        }
        Places(u64::from_le_bytes(is_there))
    }

    /// The places without a value.
    #[inline]
    fn room(&self) -> Places {
        self.places_of(0)
    }
}

/// Some of the places of a bucket: one byte for each, 0 or 1.
#[derive(Clone, Copy)]
struct Places(u64);

impl Places {
    #[inline]
    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let place = self.0.trailing_zeros() / u8::BITS;
        self.0 &= self.0 - 1;
        Some(place as usize)
    }
}

/// How many values may be in so many buckets: four fifths of the places.
fn most_values(buckets: usize) -> usize {
    buckets * BUCKET / 5 * 4
}

impl<V: Copy> FingerprintTable<V> {
    pub(super) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            len: 0,
            is_reserved: false,
        }
    }

    /// Makes room for so many values more, in advance.
    pub(super) fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.is_reserved = true;
            self.grow(additional);
        }
    }

    fn grow(&mut self, additional: usize) {
        let values = self.len.saturating_add(additional);
        let mut buckets = self.buckets.len().max(2);
        while most_values(buckets) < values {
            buckets *= 2;
        }
        if buckets > self.buckets.len() {
            self.rebuild(buckets);
        }
    }

    #[inline]
    pub(super) fn find(&self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) -> Option<V> {
        let (bucket, place) = self.search(fingerprint, is_it)?;
        self.buckets[bucket].values[place]
    }

    /// Adds a value that is not there.
    #[inline]
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, value: V) {
        if self.len >= most_values(self.buckets.len()) {
            self.grow(1);
        }
        self.put(fingerprint, value);
        self.len += 1;
    }

    #[inline]
    pub(super) fn replace(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool, by: V) {
        if let Some((bucket, place)) = self.search(fingerprint, is_it) {
            self.buckets[bucket].values[place] = Some(by);
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) {
        if let Some((bucket, place)) = self.search(fingerprint, is_it) {
            self.len -= 1;
            let was_full = self.buckets[bucket].room().is_empty();
            self.vacate(bucket, place);
            if was_full {
                self.move_back(bucket, place);
            }
            if self.len == 0 && !self.is_reserved && self.buckets.len() > SPARE_BUCKETS {
                // The memory of a peak that is over.
                self.buckets = Vec::new();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    #[inline]
    fn search(&self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(fingerprint.0);
        loop {
            let bucket = self.buckets.get(at)?;
            for place in bucket.places_of(fingerprint.0) {
                if bucket.values[place].is_some_and(&is_it) {
                    return Some((at, place));
                }
            }
            if !bucket.room().is_empty() {
                return None;
            }
            at = self.after(at);
        }
    }

    /// The bucket where a search begins.
    #[inline]
    fn home(&self, fingerprint: u32) -> usize {
        fingerprint as usize & self.buckets.len().wrapping_sub(1)
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    /// Puts a value into the first bucket with room on the way of its search. There is one.
    #[inline]
    fn put(&mut self, fingerprint: Fingerprint, value: V) {
        let mut at = self.home(fingerprint.0);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.room().next() {
                bucket.fingerprints[place] = fingerprint.0;
                bucket.values[place] = Some(value);
                return;
            }
            at = self.after(at);
        }
    }

    #[inline]
    fn vacate(&mut self, bucket: usize, place: usize) {
        self.buckets[bucket].fingerprints[place] = 0;
        self.buckets[bucket].values[place] = None;
    }

    /// Fills the vacant place of a bucket that was full with what lies behind it because it was full, if anything does:
    /// no search stops short.
    fn move_back(&mut self, mut vacant: usize, mut place: usize) {
        let mut at = self.after(vacant);
        loop {
            let is_full = self.buckets[at].room().is_empty();
            if let Some(found) = self.first_from_before(at, vacant) {
                let bucket = &self.buckets[at];
                let (fingerprint, value) = (bucket.fingerprints[found], bucket.values[found]);
                self.buckets[vacant].fingerprints[place] = fingerprint;
                self.buckets[vacant].values[place] = value;
                self.vacate(at, found);
                (vacant, place) = (at, found);
            }
            if !is_full {
                return;
            }
            at = self.after(at);
        }
    }

    /// The first place of a bucket whose home is not behind an earlier bucket.
    fn first_from_before(&self, at: usize, earlier: usize) -> Option<usize> {
        let last = self.buckets.len() - 1;
        let distance = at.wrapping_sub(earlier) & last;
        self.buckets[at]
            .fingerprints
            .iter()
            .position(|fingerprint| *fingerprint != 0 && at.wrapping_sub(self.home(*fingerprint)) & last >= distance)
    }

    fn rebuild(&mut self, buckets: usize) {
        let former = std::mem::replace(&mut self.buckets, vec![Bucket::EMPTY; buckets]);
        for bucket in former {
            for (fingerprint, value) in bucket.fingerprints.into_iter().zip(bucket.values) {
                if let Some(value) = value {
                    self.put(Fingerprint(fingerprint), value);
                }
            }
        }
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

    #[inline]
    pub(super) fn find<R: Identified<I>>(&self, records: &Records<K, R>, id: &I) -> Option<K> {
        self.table.find(Fingerprint::of(id), |key| records[key].id() == id)
    }

    /// Adds the key of a record whose id is not yet in the index.
    pub(super) fn insert<R: Identified<I>>(&mut self, records: &Records<K, R>, key: K) {
        self.table.insert(Fingerprint::of(records[key].id()), key);
    }

    /// Takes the key of a record out, before the record is removed.
    pub(super) fn remove<R: Identified<I>>(&mut self, records: &Records<K, R>, key: K) {
        self.table
            .remove(Fingerprint::of(records[key].id()), |other| other == key);
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(n)
    }

    #[test]
    fn a_bucket_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Bucket<NonZeroU32>>(), 64);
    }

    #[test]
    fn room_that_was_reserved_is_enough() {
        let mut table = FingerprintTable::new();
        table.reserve(1000);
        let buckets = table.buckets.len();
        for n in 0..1000 {
            table.insert(Fingerprint::of(&n), number(n));
        }
        assert_eq!((table.buckets.len(), table.len()), (buckets, 1000));
        table.reserve(0);
        assert_eq!(table.buckets.len(), buckets);
    }

    #[test]
    fn nothing_is_reserved_for_nothing() {
        let mut table = FingerprintTable::<NonZeroU32>::new();
        table.reserve(0);
        assert_eq!(table.buckets.capacity(), 0);
        assert_eq!(table.find(Fingerprint::new(7), |_| true), None);
        table.remove(Fingerprint::new(7), |_| true);
        assert_eq!(table.len(), 0);
    }

    proptest! {
        /// Fingerprints of few bits and a small table: buckets that are full, also the last one, and equal fingerprints.
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((prop::bool::weighted(0.6), 0..8_u32, 0..12_u32), 0..400)
        ) {
            let mut table = FingerprintTable::new();
            let mut model = std::collections::BTreeSet::new();
            for (inserts, bits, n) in steps {
                // The highest places of a table are as likely as the lowest.
                let fingerprint = Fingerprint::new(bits.wrapping_sub(4));
                let value = number(bits * 12 + n);
                if inserts && model.insert((bits, value)) {
                    table.insert(fingerprint, value);
                } else if !inserts {
                    model.remove(&(bits, value));
                    table.remove(fingerprint, |other| other == value);
                }
                prop_assert_eq!(table.len(), model.len());
                for bits in 0..8_u32 {
                    for n in 0..12 {
                        let value = number(bits * 12 + n);
                        let found = table.find(Fingerprint::new(bits.wrapping_sub(4)), |other| other == value);
                        prop_assert_eq!(found.is_some(), model.contains(&(bits, value)));
                    }
                }
            }
        }
    }
}
