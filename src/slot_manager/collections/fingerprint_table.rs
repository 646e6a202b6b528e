//! A hash table that finds records by their external ids.
//!
//! The table holds keys of records, not ids: an id lives once, in its record. Beside each key the
//! table stores 32 bits of the hash of the id. So a search reads a record only if it is almost
//! certainly the right one, and a growing table reads none.
//!
//! **Why not `hashbrown::HashTable` (0.16)?** With it, in alternating runs of the bench
//! `operations`:
//!
//! | row | time with hashbrown |
//! |---|---|
//! | free, 100,000 slots | 1.33 |
//! | request served at once, 1,000 / 100,000 slots | 1.09 / 1.09 |
//! | cancel a waiting request, 1,000 to 100,000 waiting | 1.05 to 1.13 |
//! | churn at 90 % utilisation, 10,000 / 100,000 slots | 0.93 / 0.96 |
//!
//! The other measured rows show no clear difference.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// The hasher of the ids of one manager.
///
/// Jobs choose ids. Without the seed a job cannot choose many ids with equal fingerprints. The seed
/// decides nothing else: no rule depends on a hash.
#[derive(Debug, Clone)]
pub(crate) struct IdHasher {
    first: u64,
    shared: SharedSeed,
}

/// With it the seed zero is as good as any other.
const SCATTER: u64 = 0x082e_fa98_ec4e_6c89;

impl IdHasher {
    pub(crate) const fn with_seed(seed: u64) -> Self {
        Self {
            first: seed ^ SCATTER,
            shared: SharedSeed::from_u64(seed),
        }
    }

    /// Returns a hasher whose seed is random if it is not given.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self::with_seed(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "these 32 bits are as good as any")]
    pub(crate) fn fingerprint(&self, id: &(impl Hash + ?Sized)) -> Fingerprint {
        let mut hasher = FoldHasher::with_seed(self.first, &self.shared);
        id.hash(&mut hasher);
        Fingerprint(hasher.finish() as u32)
    }
}

/// 32 bits of the hash of an id by one hasher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u32);

impl Fingerprint {
    /// Returns seven bits and a set highest bit. The bits that choose the bucket are others.
    #[inline]
    fn tag(self) -> u8 {
        (self.0 >> 25) as u8 | 0x80
    }
}

/// Small values by the fingerprint of the id that each of the values leads to.
///
/// A value is in the first bucket with room, from its home bucket on. Each bucket counts its
/// overflow: the values that passed it because it was full. A search ends at a bucket without
/// overflow, so nearly every search reads one bucket, which is one cache line.
///
/// A removed value leaves no mark. So the table is never rebuilt while the number of values stays
/// the same. A table of `hashbrown` reads two cache lines, and its rebuilding takes tens of
/// milliseconds at a million values.
#[derive(Debug)]
pub(crate) struct FingerprintTable<V> {
    hasher: IdHasher,
    /// Their number is zero or a power of two. `home` and `after` count modulo that number.
    pub(super) buckets: Vec<Bucket<V>>,
    len: usize,
    /// Room was reserved, so it stays until `clear`.
    is_reserved: bool,
}

/// The number of places in a bucket.
const PLACES: usize = 7;

/// The number of buckets whose memory an empty table keeps.
const SPARE_BUCKETS: usize = 256;

/// Returns the maximum number of values in this many buckets: nine tenths of the places.
pub(super) fn max_values(buckets: usize) -> usize {
    buckets * PLACES * 9 / 10
}

#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Bucket<V> {
    /// One byte for each place, from the lowest: the tag of the value, or zero. The highest byte is
    /// the overflow count, which stays at its maximum once it has reached it.
    tags: u64,
    places: [(u32, Option<V>); PLACES],
}

const LOWEST_BITS: u64 = 0x0101_0101_0101_0101;
const HIGHEST_BITS: u64 = 0x8080_8080_8080_8080;
/// The tags, without the overflow count.
const ALL_TAGS: u64 = u64::MAX >> u8::BITS;
/// One value in the overflow count.
const ONE_OVERFLOW: u64 = 1 << (u8::BITS as usize * PLACES);

impl<V: Copy> Bucket<V> {
    const EMPTY: Self = Self {
        tags: 0,
        places: [(0, None); PLACES],
    };

    /// Returns all places with a tag, and rarely a place without it. One operation compares all
    /// places.
    #[inline]
    fn places_with(&self, tag: u8) -> Places {
        let differences = self.tags ^ (LOWEST_BITS * u64::from(tag));
        Places(differences.wrapping_sub(LOWEST_BITS) & !differences & HIGHEST_BITS & ALL_TAGS)
    }

    /// Returns the first vacant place.
    #[inline]
    fn room(&self) -> Option<usize> {
        Places(!self.tags & HIGHEST_BITS & ALL_TAGS).next()
    }

    #[inline]
    fn has_overflow(&self) -> bool {
        self.tags & !ALL_TAGS != 0
    }

    /// Increments the overflow count, up to its maximum.
    fn inc_overflow(&mut self) {
        if self.tags & !ALL_TAGS != !ALL_TAGS {
            self.tags += ONE_OVERFLOW;
        }
    }

    /// Decrements the overflow count, unless it is saturated.
    fn dec_overflow(&mut self) {
        if self.tags & !ALL_TAGS != !ALL_TAGS {
            self.tags -= ONE_OVERFLOW;
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

/// A set of places of a bucket, as the highest bits of their bytes. The byte of the overflow count
/// is masked out, so each place is below `PLACES`.
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
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            hasher,
            buckets: Vec::new(),
            len: 0,
            is_reserved: false,
        }
    }

    /// Returns the fingerprint of an id in this table.
    #[inline]
    pub(crate) fn fingerprint(&self, id: &(impl Hash + ?Sized)) -> Fingerprint {
        self.hasher.fingerprint(id)
    }

    /// Reserves room, which is kept until `clear`.
    pub(crate) fn reserve(&mut self, additional: usize) {
        if additional > 0 {
            self.is_reserved = true;
            self.grow(additional);
        }
    }

    /// Returns the value with this fingerprint for which `is_match` holds.
    #[inline]
    pub(crate) fn find(&self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool) -> Option<V> {
        let (bucket, place) = self.search(fingerprint, is_match)?;
        self.buckets[bucket].places[place].1
    }

    /// Loads the home buckets of several fingerprints into the cache at once, ahead of their
    /// searches.
    pub(crate) fn prefetch(&self, fingerprints: impl Iterator<Item = Fingerprint>) {
        let homes = fingerprints.filter_map(|fingerprint| self.buckets.get(self.home(fingerprint)));
        std::hint::black_box(homes.fold(0, |all, bucket| all ^ bucket.tags));
    }

    /// Adds a value that is not in the table.
    #[inline]
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, value: V) {
        if self.len >= max_values(self.buckets.len()) {
            self.grow(1);
        }
        self.put(fingerprint, value);
        self.len += 1;
    }

    #[inline]
    pub(crate) fn replace(&mut self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool, by: V) {
        if let Some((bucket, place)) = self.search(fingerprint, is_match) {
            self.buckets[bucket].places[place].1 = Some(by);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool) {
        if let Some((bucket, place)) = self.search(fingerprint, is_match) {
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
        self.buckets = Vec::new();
        self.len = 0;
        self.is_reserved = false;
    }

    #[inline]
    fn search(&self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(fingerprint);
        // If every overflow count is saturated, only this bound ends the search.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for place in bucket.places_with(fingerprint.tag()) {
                let (other, value) = bucket.places[place];
                if other == fingerprint.0 && value.is_some_and(&is_match) {
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

    /// Returns the bucket where a search begins.
    #[inline]
    fn home(&self, fingerprint: Fingerprint) -> usize {
        fingerprint.0 as usize & self.buckets.len().wrapping_sub(1)
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    /// Puts a value into the first bucket with room from its home on. The caller has made room.
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

    /// Returns the number of buckets needed for `additional` more values.
    fn buckets_for(&self, additional: usize) -> usize {
        let values = self.len.saturating_add(additional);
        let mut buckets = self.buckets.len().max(2);
        while max_values(buckets) < values {
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

    /// Frees most memory of a table that held many more values, unless it was reserved.
    ///
    /// The values that were removed pay for the rebuilding, which is one long call. So a table
    /// shrinks only if its owner calls this.
    pub(crate) fn shrink_if_sparse(&mut self) {
        let is_large = self.buckets.len() > SPARE_BUCKETS;
        if is_large && !self.is_reserved && self.len < max_values(self.buckets.len()) / 8 {
            self.rebuild(self.buckets.len() / 4);
        }
    }

    /// Frees the memory of a past peak, unless it was reserved.
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

    fn table() -> FingerprintTable<NonZeroU32> {
        FingerprintTable::new(IdHasher::with_seed(0))
    }

    /// Returns the number of times that a value passed a full bucket.
    fn overflow(table: &FingerprintTable<NonZeroU32>) -> u64 {
        table.buckets.iter().map(|bucket| bucket.tags >> 56).sum()
    }

    /// Ids that have one home bucket under seed 1, in a table of 1000 values.
    #[test]
    fn ids_that_collide_under_one_seed_are_spread_by_another() {
        let one = IdHasher::with_seed(1);
        let ids: Vec<u128> = (0..)
            .filter(|id: &u128| one.fingerprint(id).0 & 0xFF == 7)
            .take(1000)
            .collect();
        for (seed, is_flat) in [(Some(1), false), (Some(2), true), (None, true)] {
            let mut table = FingerprintTable::new(IdHasher::new(seed));
            for (n, id) in (0..).zip(&ids) {
                table.insert(table.fingerprint(id), number(n));
            }
            let overflow = overflow(&table);
            assert_eq!(overflow < 200, is_flat, "{overflow} with seed {seed:?}");
        }
    }

    /// The lower half of an id can be chosen such that the upper half does not count.
    #[test]
    fn ids_with_one_hash_under_one_seed_are_spread_by_another() {
        let ids = (0..1000).map(|n: u128| n << 64 | u128::from(1 ^ SCATTER));
        for (seed, is_flat) in [(1, false), (2, true)] {
            let mut table = FingerprintTable::new(IdHasher::with_seed(seed));
            for (n, id) in (0..).zip(ids.clone()) {
                table.insert(table.fingerprint(&id), number(n));
            }
            let overflow = overflow(&table);
            assert_eq!(overflow < 200, is_flat, "{overflow} with seed {seed}");
        }
    }

    #[test]
    fn random_seeds_differ() {
        let [a, b] = [(); 2].map(|()| IdHasher::new(None).fingerprint(&(1_u128, 2_u128)));
        assert_ne!(a, b);
    }

    #[test]
    fn cleared_table_keeps_its_seed() {
        let mut table = FingerprintTable::<NonZeroU32>::new(IdHasher::with_seed(7));
        let before = table.fingerprint(&1);
        table.clear();
        assert_eq!(table.fingerprint(&1), before);
    }

    #[test]
    fn a_bucket_fits_in_one_cache_line() {
        assert_eq!(size_of::<Bucket<NonZeroU32>>(), 64);
    }

    #[test]
    fn a_tag_is_the_seven_highest_bits_and_never_zero() {
        let tags = [0, 1, 1 << 25, u32::MAX].map(|bits| Fingerprint(bits).tag());
        assert_eq!(tags, [0x80, 0x80, 0x81, 0xFF]);
    }

    #[test]
    fn buckets_fill_up_to_nine_tenths() {
        assert_eq!([2, 4, 1024].map(max_values), [12, 25, 6451]);
    }

    #[test]
    fn a_table_is_as_large_as_needed() {
        let table = table();
        let buckets = [0, max_values(2), max_values(2) + 1, max_values(64), max_values(64) + 1];
        assert_eq!(buckets.map(|values| table.buckets_for(values)), [2, 2, 4, 64, 128]);
    }

    #[test]
    fn nearly_all_values_are_in_their_home_bucket() {
        let mut table = table();
        for n in 0..1000 {
            table.insert(table.fingerprint(&n), number(n));
        }
        let overflow = overflow(&table);
        assert!(overflow < 100, "{overflow} of 1000 values are not at home");
    }

    #[test]
    fn a_bucket_counts_overflow_up_to_a_maximum() {
        let mut bucket = Bucket::<NonZeroU32>::EMPTY;
        assert!(!bucket.has_overflow());
        bucket.inc_overflow();
        bucket.inc_overflow();
        bucket.dec_overflow();
        assert!(bucket.has_overflow());
        bucket.dec_overflow();
        assert!(!bucket.has_overflow());
        // A saturated count stays saturated.
        for _ in 0..300 {
            bucket.inc_overflow();
        }
        for _ in 0..300 {
            bucket.dec_overflow();
        }
        assert!(bucket.has_overflow());
    }

    #[test]
    fn reserved_room_is_enough() {
        let mut table = table();
        table.reserve(1000);
        let buckets = table.buckets.len();
        for n in 0..1000 {
            table.insert(table.fingerprint(&n), number(n));
        }
        assert_eq!((table.buckets.len(), table.len()), (buckets, 1000));
        table.reserve(0);
        assert_eq!(table.buckets.len(), buckets);
    }

    #[test]
    fn reserving_room_for_no_value_allocates_nothing() {
        let mut table = table();
        table.reserve(0);
        assert_eq!(table.buckets.capacity(), 0);
        assert_eq!(table.find(Fingerprint(7), |_| true), None);
        table.remove(Fingerprint(7), |_| true);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_saturated_bucket_ends_no_search() {
        let mut table = table();
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
    fn an_empty_table_shrinks_unless_room_was_reserved() {
        for reserved in [0, 1] {
            let mut table = table();
            table.reserve(reserved);
            for n in 0..10_000 {
                table.insert(table.fingerprint(&n), number(n));
            }
            for n in 0..10_000 {
                table.remove(table.fingerprint(&n), |value| value == number(n));
            }
            assert_eq!(table.buckets.is_empty(), reserved == 0);
        }
    }

    #[test]
    fn sparse_table_shrinks_when_it_is_asked_to_unless_room_was_reserved() {
        for reserved in [0, 1] {
            let mut table = table();
            table.reserve(reserved);
            for n in 0..10_000 {
                table.insert(table.fingerprint(&n), number(n));
            }
            let most = table.buckets.len();
            for n in 10..10_000 {
                table.remove(table.fingerprint(&n), |value| value == number(n));
                table.shrink_if_sparse();
            }
            assert_eq!(table.buckets.len() <= SPARE_BUCKETS, reserved == 0);
            assert_eq!(table.buckets.len() == most, reserved == 1);
            for n in 0..10 {
                let found = table.find(table.fingerprint(&n), |value| value == number(n));
                assert_eq!(found, Some(number(n)));
            }
        }
    }

    proptest! {
        /// Few fingerprints and a small table fill the buckets, including the last one.
        #[test]
        fn a_table_holds_the_values_that_were_inserted_and_not_removed(
            steps in prop::collection::vec((prop::bool::weighted(0.6), 0..8_u32, 0..12_u32), 0..150)
        ) {
            let mut table = table();
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
            let overflow = overflow(&table);
            for value in model {
                let (fingerprint, _) = key((value.get() - 1) / 12, 0);
                table.remove(fingerprint, |other| other == value);
            }
            let left: u64 = table.buckets.iter().map(|bucket| bucket.tags).sum();
            prop_assert!(left == 0, "tags or counts are left in an empty table; the overflow was {overflow}");
        }
    }
}
