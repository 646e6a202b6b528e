//! How records are found by the ids they have outside.
//!
//! A table holds keys, not ids: the id lives once, in the record. Beside each key it keeps 32 bits of the hash of the
//! id, so that a record is looked at only when it is nearly certain to be the one, and none when the table grows.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

/// Hashes ids. A fixed state: ids come from the cluster itself, and a run can be repeated to the last byte of memory.
const HASHER: FixedState = FixedState::with_seed(0);

/// 32 bits of the hash of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u32);

impl Fingerprint {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "these 32 bits are as good as any")]
    pub(crate) fn of(id: &(impl Hash + ?Sized)) -> Self {
        Self(HASHER.hash_one(id) as u32)
    }

    /// Seven of its bits, with the highest bit of the byte set: not those that choose the bucket.
    #[inline]
    fn tag(self) -> u8 {
        (self.0 >> 25) as u8 | 0x80
    }
}

/// Small values by the fingerprint of an id that each of them leads to.
///
/// A value is in the first bucket with room, from its home on. Each bucket counts the values that went past it because
/// it was full: a search ends where there are none, and nearly all searches read one bucket, which is one line of the
/// cache. What is removed leaves no mark behind, so the table is never rebuilt while the number of values stays the
/// same. (A table of `hashbrown` reads two lines, and is rebuilt now and then: for tens of milliseconds at a million
/// values.)
#[derive(Debug)]
pub(crate) struct FingerprintTable<V> {
    /// A power of two of them, or none. `home` and `after` are numbers modulo theirs; where there may be none, nothing is
    /// looked up by them.
    pub(super) buckets: Vec<Bucket<V>>,
    len: usize,
    /// Room was asked for in advance: it is kept.
    is_reserved: bool,
}

/// Places of a bucket.
const PLACES: usize = 7;

/// Buckets that are kept when no value is left.
const SPARE_BUCKETS: usize = 256;

/// How many values may be in so many buckets: nine tenths of the places.
pub(super) fn most_values(buckets: usize) -> usize {
    buckets * PLACES * 9 / 10
}

#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Bucket<V> {
    /// One byte for each place, from the lowest: the tag of what is there, or zero. The highest byte is how many values
    /// went past; at its maximum it stays.
    tags: u64,
    places: [(u32, Option<V>); PLACES],
}

const LOWEST_BITS: u64 = 0x0101_0101_0101_0101;
const HIGHEST_BITS: u64 = 0x8080_8080_8080_8080;
/// Of the places, without the count.
const OF_PLACES: u64 = u64::MAX >> u8::BITS;
const ONE_PAST: u64 = 1 << (u8::BITS as usize * PLACES);

impl<V: Copy> Bucket<V> {
    const EMPTY: Self = Self {
        tags: 0,
        places: [(0, None); PLACES],
    };

    /// The places that may have a tag: all that do, rarely one that does not. They are compared at once.
    #[inline]
    fn places_with(&self, tag: u8) -> Places {
        let differences = self.tags ^ (LOWEST_BITS * u64::from(tag));
        Places(differences.wrapping_sub(LOWEST_BITS) & !differences & HIGHEST_BITS & OF_PLACES)
    }

    #[inline]
    fn room(&self) -> Option<usize> {
        Places(!self.tags & HIGHEST_BITS & OF_PLACES).next()
    }

    #[inline]
    fn has_overflow(&self) -> bool {
        self.tags & !OF_PLACES != 0
    }

    fn inc_overflow(&mut self) {
        if self.tags & !OF_PLACES != !OF_PLACES {
            self.tags += ONE_PAST;
        }
    }

    /// One that went past is gone. If so many did that they were not counted, nobody knows.
    fn dec_overflow(&mut self) {
        if self.tags & !OF_PLACES != !OF_PLACES {
            self.tags -= ONE_PAST;
        }
    }

    #[inline]
    fn put(&mut self, place: usize, fingerprint: Fingerprint, value: V) {
        self.tags |= u64::from(fingerprint.tag()) << (u8::BITS as usize * place);
        self.places[place] = (fingerprint.0, Some(value));
    }

    #[inline]
    fn vacate(&mut self, place: usize) {
        self.tags &= !(0xFF << (u8::BITS as usize * place));
        self.places[place] = (0, None);
    }
}

/// Some of the places of a bucket: the highest bit of the byte of each. The byte of the count is masked out before, so
/// that each is below `PLACES`.
struct Places(u64);

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros() / u8::BITS;
        self.0 &= self.0 - 1;
        Some(place as usize)
    }
}

impl<V: Copy> FingerprintTable<V> {
    pub(crate) fn new() -> Self {
        Self {
            buckets: Vec::new(),
            len: 0,
            is_reserved: false,
        }
    }

    /// Reserves room, which is kept until `clear`.
    pub(crate) fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.is_reserved = true;
            self.grow(additional);
        }
    }

    #[inline]
    pub(crate) fn find(&self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) -> Option<V> {
        let (bucket, place) = self.search(fingerprint, is_it)?;
        self.buckets[bucket].places[place].1
    }

    /// Reads the buckets where searches will begin, all at the same time: the searches find them in the cache.
    pub(crate) fn prefetch(&self, fingerprints: impl Iterator<Item = Fingerprint>) {
        let homes = fingerprints.filter_map(|fingerprint| self.buckets.get(self.home(fingerprint)));
        std::hint::black_box(homes.fold(0, |all, bucket| all ^ bucket.tags));
    }

    /// Adds a value that is not there.
    #[inline]
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, value: V) {
        if self.len >= most_values(self.buckets.len()) {
            self.grow(1);
        }
        self.put(fingerprint, value);
        self.len += 1;
    }

    #[inline]
    pub(crate) fn replace(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool, by: V) {
        if let Some((bucket, place)) = self.search(fingerprint, is_it) {
            self.buckets[bucket].places[place].1 = Some(by);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) {
        if let Some((bucket, place)) = self.search(fingerprint, is_it) {
            self.buckets[bucket].vacate(place);
            let mut at = self.home(fingerprint);
            while at != bucket {
                self.buckets[at].dec_overflow();
                at = self.after(at);
            }
            self.len -= 1;
            if self.len == 0 {
                self.give_back();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    #[inline]
    fn search(&self, fingerprint: Fingerprint, is_it: impl Fn(V) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(fingerprint);
        // More than once around only if all have so many that went past that they are not counted.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for place in bucket.places_with(fingerprint.tag()) {
                let (other, value) = bucket.places[place];
                if other == fingerprint.0 && value.is_some_and(&is_it) {
                    return Some((at, place));
                }
            }
            if !bucket.has_overflow() {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The bucket where a search begins.
    #[inline]
    fn home(&self, fingerprint: Fingerprint) -> usize {
        fingerprint.0 as usize & self.buckets.len().wrapping_sub(1)
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    /// Puts a value into the first bucket with room on the way of its search. There is one.
    #[inline]
    fn put(&mut self, fingerprint: Fingerprint, value: V) {
        let mut at = self.home(fingerprint);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.room() {
                bucket.put(place, fingerprint, value);
                return;
            }
            bucket.inc_overflow();
            at = self.after(at);
        }
    }

    /// How many buckets are needed for so many values more.
    fn buckets_for(&self, additional: usize) -> usize {
        let values = self.len.saturating_add(additional);
        let mut buckets = self.buckets.len().max(2);
        while most_values(buckets) < values {
            buckets *= 2;
        }
        buckets
    }

    fn grow(&mut self, additional: usize) {
        let buckets = self.buckets_for(additional);
        if buckets > self.buckets.len() {
            self.rebuild(buckets);
        }
    }

    fn rebuild(&mut self, buckets: usize) {
        let former = std::mem::replace(&mut self.buckets, vec![Bucket::EMPTY; buckets]);
        for (fingerprint, value) in former.into_iter().flat_map(|bucket| bucket.places) {
            if let Some(value) = value {
                self.put(Fingerprint(fingerprint), value);
            }
        }
    }

    /// Gives the memory of a peak that is over back, unless it was asked for in advance.
    fn give_back(&mut self) {
        if !self.is_reserved && self.buckets.len() > SPARE_BUCKETS {
            self.buckets = Vec::new();
        }
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
    fn a_tag_is_the_seven_highest_bits_and_never_zero() {
        let tags = [0, 1, 1 << 25, u32::MAX].map(|bits| Fingerprint(bits).tag());
        assert_eq!(tags, [0x80, 0x80, 0x81, 0xFF]);
    }

    #[test]
    fn buckets_are_filled_to_nine_tenths() {
        assert_eq!([2, 4, 1024].map(most_values), [12, 25, 6451]);
    }

    #[test]
    fn a_table_is_as_large_as_needed() {
        let table = FingerprintTable::<NonZeroU32>::new();
        let buckets = [
            0,
            most_values(2),
            most_values(2) + 1,
            most_values(64),
            most_values(64) + 1,
        ];
        assert_eq!(buckets.map(|values| table.buckets_for(values)), [2, 2, 4, 64, 128]);
    }

    #[test]
    fn nearly_all_values_are_at_home() {
        let mut table = FingerprintTable::new();
        for n in 0..1000 {
            table.insert(Fingerprint::of(&n), number(n));
        }
        let past: u64 = table.buckets.iter().map(|bucket| bucket.tags >> 56).sum();
        assert!(past < 100, "{past} of 1000 are not");
    }

    #[test]
    fn a_bucket_counts_what_went_past_as_far_as_it_can_count() {
        let mut bucket = Bucket::<NonZeroU32>::EMPTY;
        assert!(!bucket.has_overflow());
        bucket.inc_overflow();
        bucket.inc_overflow();
        bucket.dec_overflow();
        assert!(bucket.has_overflow());
        bucket.dec_overflow();
        assert!(!bucket.has_overflow());
        // At the end of counting nobody knows how many they are.
        for _ in 0..300 {
            bucket.inc_overflow();
        }
        for _ in 0..300 {
            bucket.dec_overflow();
        }
        assert!(bucket.has_overflow());
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
        assert_eq!(table.find(Fingerprint(7), |_| true), None);
        table.remove(Fingerprint(7), |_| true);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_bucket_that_more_went_past_than_it_can_count_ends_no_search() {
        let mut table = FingerprintTable::new();
        let one = Fingerprint(0);
        for n in 0..1000 {
            table.insert(one, number(n));
        }
        for n in 0..999 {
            table.remove(one, |value| value == number(n));
        }
        assert_eq!(table.find(one, |value| value == number(999)), Some(number(999)));
        assert_eq!(table.find(one, |value| value == number(7)), None);
    }

    #[test]
    fn it_shrinks_when_it_is_empty_unless_room_was_reserved() {
        for reserved in [0, 1] {
            let mut table = FingerprintTable::new();
            table.reserve(reserved);
            for n in 0..10_000 {
                table.insert(Fingerprint::of(&n), number(n));
            }
            for n in 0..10_000 {
                table.remove(Fingerprint::of(&n), |value| value == number(n));
            }
            assert_eq!(table.buckets.is_empty(), reserved == 0);
        }
    }

    proptest! {
        /// Few fingerprints and a small table: buckets are full, also the last one.
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((prop::bool::weighted(0.6), 0..8_u32, 0..12_u32), 0..150)
        ) {
            let mut table = FingerprintTable::new();
            let mut model = std::collections::BTreeSet::new();
            let key = |bits: u32, n| (Fingerprint(bits.wrapping_sub(4)), number(bits * 12 + n));
            for (inserts, bits, n) in steps {
                let (fingerprint, value) = key(bits, n);
                if inserts && model.insert(value) {
                    table.insert(fingerprint, value);
                } else if !inserts {
                    model.remove(&value);
                    table.remove(fingerprint, |other| other == value);
                }
                prop_assert_eq!(table.len(), model.len());
                for (bits, n) in (0..8).flat_map(|bits| (0..12).map(move |n| (bits, n))) {
                    let (fingerprint, value) = key(bits, n);
                    let found = table.find(fingerprint, |other| other == value);
                    prop_assert_eq!(found.is_some(), model.contains(&value));
                }
            }
            let past: u64 = table.buckets.iter().map(|bucket| bucket.tags >> 56).sum();
            for value in model {
                let (fingerprint, _) = key((value.get() - 1) / 12, 0);
                table.remove(fingerprint, |other| other == value);
            }
            let left: u64 = table.buckets.iter().map(|bucket| bucket.tags).sum();
            prop_assert!(left == 0, "{left} of {past} are still reported to have gone past");
        }
    }
}
