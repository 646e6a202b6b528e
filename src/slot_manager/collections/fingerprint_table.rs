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

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

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
    pub(crate) fn fingerprint(&self, id: &(impl Hash + ?Sized)) -> Fingerprint {
        let mut hasher = FoldHasher::with_seed(self.first, &self.shared);
        id.hash(&mut hasher);
        // Some bits of the hash of small numbers are equal. Each of the highest 32 bits of the
        // product depends on nearly all bits of the hash.
        Fingerprint((hasher.finish().wrapping_mul(GOLDEN) >> u32::BITS) as u32)
    }
}

/// 32 bits of the hash of an id by one hasher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u32);

impl Fingerprint {
    /// Returns seven bits and a set highest bit. The bits that choose the bucket are others.
    #[inline]
    fn tag(self) -> u8 {
        self.0.to_le_bytes()[0] | 0x80
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
///
/// **Growth in steps.** A large table that is full gets twice as many buckets, and each of the next
/// insertions moves the values of at least [`HOMES_PER_STEP`] homes. The home is given by the highest
/// bits, so the values of home `n` move to the homes `2n` and `2n + 1`. Homes move in ascending
/// order, and a step ends behind a bucket without overflow. So the former buckets hold either all
/// values of a home or no value of that home. A search reads the former buckets or the new ones,
/// never both.
#[derive(Debug)]
pub(crate) struct FingerprintTable<V> {
    hasher: IdHasher,
    buckets: Buckets<V>,
    /// The former buckets, while the table grows. They also keep copies of the moved values.
    former: Buckets<V>,
    /// The number of former homes whose values have moved.
    moved: usize,
    len: usize,
    /// The number of values from which on an insertion first makes room; zero while the table
    /// grows.
    full_at: usize,
    /// Room was reserved, so it stays until `clear`.
    is_reserved: bool,
}

/// The place of a value. It is void once the value has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    bucket: u32,
    place: u8,
    is_former: bool,
}

/// Buckets whose number is zero or a power of two.
#[derive(Debug)]
struct Buckets<V> {
    /// While a table grows, the buckets from the first to the last in use.
    list: Vec<Bucket<V>>,
    /// The home of a fingerprint is its value shifted to the right by this number of bits.
    shift: u32,
    /// The number of full buckets that the values have passed from their homes on, in sum.
    passed: usize,
}

/// The least number of homes whose values one insertion moves.
const HOMES_PER_STEP: usize = 16;

/// The number of places in a bucket.
const PLACES: usize = 7;

/// The number of buckets of a table with a value.
const LEAST_BUCKETS: usize = 4;

/// The number of buckets of a table that has grown once.
const FEW_BUCKETS: usize = 64;

/// The number of buckets whose memory an empty table keeps. A smaller table grows at least fourfold
/// and at once.
const SPARE_BUCKETS: usize = 256;

/// The number of full buckets that values may have passed, for each bucket. A table that is filled
/// stays below it. Where values come and go, those that have passed a bucket stay behind it, and
/// searches for unknown ids get long: hundreds of buckets in a table that is nearly full.
const PASSED_PER_BUCKET: usize = 4;

/// Returns the maximum number of values in this many buckets: nine tenths of the places.
fn max_values(buckets: usize) -> usize {
    buckets * PLACES * 9 / 10
}

/// Returns the number of values that may come and go in this many buckets without growth: three
/// quarters of the places.
fn lasting_values(buckets: usize) -> usize {
    buckets * PLACES * 3 / 4
}

#[derive(Debug, Clone)]
#[repr(align(64))]
struct Bucket<V> {
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

    #[inline]
    fn occupied(&self) -> Places {
        Places(self.tags & HIGHEST_BITS & ALL_TAGS)
    }

    /// Returns the first vacant place.
    #[inline]
    fn room(&self) -> Option<usize> {
        Places(!self.tags & HIGHEST_BITS & ALL_TAGS).next()
    }

    /// Returns the value at a place, if its fingerprint is this one.
    #[inline]
    fn value_at(&self, place: usize, fingerprint: Fingerprint) -> Option<V> {
        let (other, value) = self.places[place];
        value.filter(|_| other == fingerprint.0)
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
#[derive(Clone, Copy)]
struct Places(u64);

impl Places {
    #[inline]
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

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

impl<V: Copy + PartialEq> Buckets<V> {
    const NONE: Self = Self {
        list: Vec::new(),
        shift: u32::BITS - 1,
        passed: 0,
    };

    fn new(number: usize) -> Self {
        Self {
            list: vec![Bucket::EMPTY; number],
            ..Self::without_list(number)
        }
    }

    /// Returns buckets that come into use one after the other.
    fn growing(number: usize) -> Self {
        Self {
            list: Vec::with_capacity(number),
            ..Self::without_list(number)
        }
    }

    fn without_list(number: usize) -> Self {
        Self {
            list: Vec::new(),
            shift: u32::BITS - number.trailing_zeros(),
            passed: 0,
        }
    }

    /// Returns the number of buckets, in use or not yet.
    #[inline]
    fn number(&self) -> usize {
        1 << (u32::BITS - self.shift)
    }

    /// Returns the bucket where a search begins.
    #[inline]
    fn home(&self, fingerprint: Fingerprint) -> usize {
        (fingerprint.0 >> self.shift) as usize
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.number() - 1)
    }

    /// Returns the value with this fingerprint for which `is_match` holds, its bucket and its place.
    #[inline(always)]
    fn search(&self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool) -> Option<(V, usize, usize)> {
        let home = self.home(fingerprint);
        let bucket = self.list.get(home)?;
        let mut places = bucket.places_with(fingerprint.tag());
        // The first place with the tag nearly always has the value, so a loop would not pay.
        if let Some(place) = places.next() {
            if let Some(value) = bucket.value_at(place, fingerprint).filter(|value| is_match(*value)) {
                return Some((value, home, place));
            }
        }
        match places.is_empty() && !bucket.has_overflow() {
            true => None,
            false => self.search_on(places, home, fingerprint, &is_match),
        }
    }

    /// Goes on with a search at the other places of the home, and in the buckets after it.
    #[cold]
    fn search_on(
        &self,
        mut places: Places,
        home: usize,
        fingerprint: Fingerprint,
        is_match: &dyn Fn(V) -> bool,
    ) -> Option<(V, usize, usize)> {
        let mut at = home;
        // If every overflow count is saturated, only this bound ends the search.
        for _ in 0..self.number() {
            let bucket = self.list.get(at)?;
            for place in places {
                if let Some(value) = bucket.value_at(place, fingerprint).filter(|value| is_match(*value)) {
                    return Some((value, at, place));
                }
            }
            if !bucket.has_overflow() {
                return None;
            }
            at = self.after(at);
            places = self.list.get(at)?.places_with(fingerprint.tag());
        }
        None
    }

    /// Puts a value into its home. Returns `false` if it has no room there.
    #[inline(always)]
    fn put_at_home(&mut self, fingerprint: Fingerprint, value: V) -> bool {
        let home = self.home(fingerprint);
        let Some(bucket) = self.list.get_mut(home) else {
            return false;
        };
        let room = bucket.room();
        if let Some(place) = room {
            bucket.put(place, fingerprint, value);
        }
        room.is_some()
    }

    /// Puts a value into the first bucket with room from its home on. The caller has made room.
    #[cold]
    fn put_behind(&mut self, fingerprint: Fingerprint, value: V) {
        let mut at = self.home(fingerprint);
        loop {
            let Some(bucket) = self.list.get_mut(at) else {
                self.list.push(Bucket::EMPTY);
                continue;
            };
            if let Some(place) = bucket.room() {
                return bucket.put(place, fingerprint, value);
            }
            bucket.inc_overflow();
            self.passed += 1;
            at = self.after(at);
        }
    }

    fn put(&mut self, fingerprint: Fingerprint, value: V) {
        if !self.put_at_home(fingerprint, value) {
            self.put_behind(fingerprint, value);
        }
    }

    #[inline(always)]
    fn vacate(&mut self, bucket: usize, place: usize) {
        let vacated = &mut self.list[bucket];
        let fingerprint = Fingerprint(vacated.places[place].0);
        vacated.vacate(place);
        let home = self.home(fingerprint);
        if home != bucket {
            self.dec_overflow(home, bucket);
        }
    }

    /// Removes a value from its home. Returns `false` if it is not there.
    #[inline(always)]
    fn remove_from_home(&mut self, fingerprint: Fingerprint, value: V) -> bool {
        let home = self.home(fingerprint);
        let Some(bucket) = self.list.get_mut(home) else {
            return false;
        };
        let mut places = bucket.places_with(fingerprint.tag());
        let place = places.find(|place| bucket.value_at(*place, fingerprint) == Some(value));
        if let Some(place) = place {
            bucket.vacate(place);
        }
        place.is_some()
    }

    /// Removes a value that is in a bucket after its home.
    #[cold]
    fn remove_from_other(&mut self, fingerprint: Fingerprint, value: V) -> bool {
        let found = self.search(fingerprint, |other| other == value);
        if let Some((_, bucket, place)) = found {
            self.vacate(bucket, place);
        }
        found.is_some()
    }

    /// Decrements the overflow of the buckets that a value had passed.
    #[cold]
    fn dec_overflow(&mut self, home: usize, bucket: usize) {
        let mut at = home;
        while at != bucket {
            self.list[at].dec_overflow();
            self.passed -= 1;
            at = self.after(at);
        }
    }

    /// Copies values of a bucket to the buckets of a larger table, where they are searched for from
    /// then on.
    ///
    /// With `has_wrapped` these are the values that overflowed from the last bucket to the first
    /// ones, else all others.
    #[inline]
    fn copy_bucket(&self, bucket: usize, has_wrapped: bool, larger: &mut Self) {
        let Bucket { places, .. } = &self.list[bucket];
        for place in self.list[bucket].occupied() {
            let (fingerprint, value) = places[place];
            let fingerprint = Fingerprint(fingerprint);
            if let Some(value) = value.filter(|_| (self.home(fingerprint) > bucket) == has_wrapped) {
                larger.put(fingerprint, value);
            }
        }
    }
}

impl<V: Copy + PartialEq> FingerprintTable<V> {
    pub(crate) fn new(hasher: IdHasher) -> Self {
        Self {
            hasher,
            buckets: Buckets::NONE,
            former: Buckets::NONE,
            moved: 0,
            len: 0,
            full_at: 0,
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
            let buckets = self.buckets_for(additional);
            if buckets > self.num_buckets() {
                self.rebuild(buckets);
            }
        }
    }

    /// Returns the value with this fingerprint for which `is_match` holds, and its place.
    #[inline(always)]
    pub(crate) fn find(&self, fingerprint: Fingerprint, is_match: impl Fn(V) -> bool) -> Option<(V, Place)> {
        let is_former = self.is_former(fingerprint);
        let (value, bucket, place) = self.side(is_former).search(fingerprint, is_match)?;
        Some((value, Place::new(bucket, place, is_former)))
    }

    /// Returns `true` if a value is at a place. The copy of a value that has moved does not count.
    #[inline(always)]
    pub(crate) fn holds(&self, place: Place, value: V) -> bool {
        let bucket = self.side(place.is_former).list.get(place.bucket as usize);
        bucket.is_some_and(|bucket| {
            let (fingerprint, other) = bucket.places[usize::from(place.place)];
            other == Some(value) && (!place.is_former || self.is_former(Fingerprint(fingerprint)))
        })
    }

    /// Loads the home buckets of several fingerprints into the cache at once, ahead of their
    /// searches.
    #[inline]
    pub(crate) fn prefetch(&self, fingerprints: impl Iterator<Item = Fingerprint>) {
        let homes = fingerprints.filter_map(|fingerprint| {
            let buckets = self.side(self.is_former(fingerprint));
            buckets.list.get(buckets.home(fingerprint))
        });
        std::hint::black_box(homes.fold(0, |all, bucket| all ^ bucket.tags));
    }

    /// Adds a value that is not in the table.
    #[inline(always)]
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, value: V) {
        if self.len >= self.full_at {
            self.make_room();
        }
        let is_former = self.is_former(fingerprint);
        if !self.side_mut(is_former).put_at_home(fingerprint, value) {
            self.put_behind(fingerprint, value, is_former);
        }
        self.len += 1;
    }

    /// Puts a value behind its home. Lets the table grow with the next insertion if its values have
    /// passed too many buckets.
    ///
    /// A table that is less than half full does not grow: its values have equal fingerprints.
    #[cold]
    fn put_behind(&mut self, fingerprint: Fingerprint, value: V, is_former: bool) {
        self.side_mut(is_former).put_behind(fingerprint, value);
        let buckets = self.buckets.number();
        if self.buckets.passed > PASSED_PER_BUCKET * buckets && self.len > max_values(buckets) / 2 {
            self.full_at = 0;
        }
    }

    /// Replaces the value at a place by another one with the same fingerprint.
    #[inline(always)]
    pub(crate) fn replace_at(&mut self, place: Place, by: V) {
        let bucket = &mut self.side_mut(place.is_former).list[place.bucket as usize];
        bucket.places[usize::from(place.place)].1 = Some(by);
    }

    /// Removes the value at a place.
    #[inline(always)]
    pub(crate) fn remove_at(&mut self, place: Place) {
        self.side_mut(place.is_former)
            .vacate(place.bucket as usize, usize::from(place.place));
        self.note_removed();
    }

    /// Removes a value.
    #[inline]
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint, value: V) {
        let side = self.side_mut(self.is_former(fingerprint));
        if side.remove_from_home(fingerprint, value) || side.remove_from_other(fingerprint, value) {
            self.note_removed();
        }
    }

    #[inline]
    fn note_removed(&mut self) {
        self.len -= 1;
        if self.len == 0 {
            self.give_back();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.hasher.clone());
    }

    /// Returns `true` if the value with this fingerprint has not moved yet.
    #[inline]
    fn is_former(&self, fingerprint: Fingerprint) -> bool {
        !self.former.list.is_empty() && self.former.home(fingerprint) >= self.moved
    }

    #[inline]
    fn side(&self, is_former: bool) -> &Buckets<V> {
        if is_former { &self.former } else { &self.buckets }
    }

    #[inline]
    fn side_mut(&mut self, is_former: bool) -> &mut Buckets<V> {
        if is_former { &mut self.former } else { &mut self.buckets }
    }

    /// Returns the number of values that the table holds before it grows.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        max_values(self.num_buckets())
    }

    /// Returns the number of buckets; zero before the first value.
    fn num_buckets(&self) -> usize {
        if self.buckets.list.capacity() == 0 {
            return 0;
        }
        self.buckets.number()
    }

    /// Returns the number of buckets needed for `additional` more values that come and go.
    fn buckets_for(&self, additional: usize) -> usize {
        let values = self.len.saturating_add(additional);
        let mut buckets = self.num_buckets().max(LEAST_BUCKETS);
        while lasting_values(buckets) < values {
            buckets *= 2;
        }
        buckets
    }

    /// Grows a full table, or goes on with its growth.
    #[cold]
    fn make_room(&mut self) {
        if self.former.list.is_empty() {
            let buckets = self.num_buckets();
            if buckets < SPARE_BUCKETS {
                return self.rebuild(match buckets {
                    0 => LEAST_BUCKETS,
                    _ => (4 * buckets).max(FEW_BUCKETS),
                });
            }
            self.former = std::mem::replace(&mut self.buckets, Buckets::growing(2 * buckets));
            (self.moved, self.full_at) = (0, 0);
        }
        self.move_homes(HOMES_PER_STEP);
    }

    /// Moves the values of at least this number of homes of a table that grows, up to a bucket that
    /// no value has passed. The last step ends the growth.
    fn move_homes(&mut self, homes: usize) {
        let number = self.former.list.len();
        let least = number.min(self.moved.saturating_add(homes));
        while self.moved < least || (self.moved < number && self.former.list[self.moved - 1].has_overflow()) {
            let before = self.moved;
            self.moved += 1;
            // A value that overflowed may have brought the first of the two into use before.
            self.buckets.list.resize(2 * self.moved, Bucket::EMPTY);
            self.former.copy_bucket(before, false, &mut self.buckets);
        }
        if self.moved == number && number > 0 {
            self.end_growth();
        }
    }

    fn end_growth(&mut self) {
        let mut bucket = self.moved - 1;
        for _ in 0..self.moved {
            if !self.former.list[bucket].has_overflow() {
                break;
            }
            bucket = self.former.after(bucket);
            self.former.copy_bucket(bucket, true, &mut self.buckets);
        }
        self.former = Buckets::NONE;
        self.moved = 0;
        self.full_at = max_values(self.buckets.number());
    }

    /// Moves all values at once.
    fn rebuild(&mut self, buckets: usize) {
        let mut rebuilt = Buckets::new(buckets);
        self.move_homes(usize::MAX);
        for (fingerprint, value) in std::mem::take(&mut self.buckets.list)
            .into_iter()
            .flat_map(|bucket| bucket.places)
        {
            if let Some(value) = value {
                rebuilt.put(Fingerprint(fingerprint), value);
            }
        }
        self.buckets = rebuilt;
        self.full_at = max_values(buckets);
    }

    /// Frees most memory of a table that held many more values, unless it was reserved.
    ///
    /// The values that were removed pay for the rebuilding, which is one long call. So a table
    /// shrinks only if its owner calls this.
    pub(crate) fn shrink_if_sparse(&mut self) {
        let buckets = self.num_buckets();
        if buckets > SPARE_BUCKETS && !self.is_reserved && self.len < max_values(buckets) / 8 {
            self.rebuild(buckets / 4);
        }
    }

    /// Frees the memory of a past peak, unless it was reserved.
    #[cold]
    fn give_back(&mut self) {
        if !self.is_reserved && self.num_buckets() > SPARE_BUCKETS {
            self.clear();
        }
    }
}

impl Place {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the home of a fingerprint has 32 bits, and a bucket seven places"
    )]
    fn new(bucket: usize, place: usize, is_former: bool) -> Self {
        Self {
            bucket: bucket as u32,
            place: place as u8,
            is_former,
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

    /// Searches for a value.
    fn found(table: &FingerprintTable<NonZeroU32>, fingerprint: Fingerprint, value: NonZeroU32) -> Option<NonZeroU32> {
        table.find(fingerprint, |other| other == value).map(|(value, place)| {
            assert!(table.holds(place, value));
            value
        })
    }

    /// Returns the number of times that a value passed a full bucket.
    fn overflow(table: &FingerprintTable<NonZeroU32>) -> u64 {
        let buckets = table.buckets.list.iter().chain(&table.former.list);
        buckets.map(|bucket| bucket.tags >> 56).sum()
    }

    /// Ids that have one home bucket under seed 1, in a table of 1000 values.
    #[test]
    fn ids_that_collide_under_one_seed_are_spread_by_another() {
        let one = IdHasher::with_seed(1);
        let ids: Vec<u128> = (0..)
            .filter(|id: &u128| one.fingerprint(id).0 >> 24 == 7)
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
    fn a_tag_is_the_seven_lowest_bits_and_never_zero() {
        let tags = [0, 1, 1 << 7, u32::MAX].map(|bits| Fingerprint(bits).tag());
        assert_eq!(tags, [0x80, 0x81, 0x80, 0xFF]);
    }

    #[test]
    fn buckets_fill_up_to_nine_tenths() {
        assert_eq!([2, 4, 1024].map(max_values), [12, 25, 6451]);
    }

    #[test]
    fn a_table_is_as_large_as_needed() {
        let table = table();
        let (few, many) = (lasting_values(4), lasting_values(64));
        let buckets = [0, few, few + 1, many, many + 1];
        assert_eq!(buckets.map(|values| table.buckets_for(values)), [4, 4, 8, 64, 128]);
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
    fn searches_stay_short_where_values_come_and_go() {
        const VALUES: u32 = 6_400;
        let mut table = table();
        for n in 0..VALUES {
            table.insert(table.fingerprint(&n), number(n));
        }
        assert_eq!(table.num_buckets(), 1024, "it grows only when it is nearly full");
        for n in VALUES..10 * VALUES {
            let oldest = n - VALUES;
            table.remove(table.fingerprint(&oldest), number(oldest));
            table.insert(table.fingerprint(&n), number(n));
        }
        assert!(table.former.list.is_empty());
        let buckets = &table.buckets;
        let looked_at = |n: &u32| {
            let home = buckets.home(table.fingerprint(n));
            let searched = std::iter::successors(Some(home), |at| {
                buckets.list[*at].has_overflow().then(|| buckets.after(*at))
            });
            searched.count()
        };
        let unknown = 10 * VALUES..11 * VALUES;
        let looked_at: usize = unknown.map(|n| looked_at(&n)).sum();
        assert!(
            looked_at < 2 * VALUES as usize,
            "{looked_at} buckets in {VALUES} searches"
        );
    }

    #[test]
    fn a_reserved_table_keeps_its_size_where_values_come_and_go() {
        let mut table = table();
        let values = u32::try_from(lasting_values(1024)).expect("a small number");
        table.reserve(values as usize);
        for n in 0..10 * values {
            if let Some(oldest) = n.checked_sub(values) {
                table.remove(table.fingerprint(&oldest), number(oldest));
            }
            table.insert(table.fingerprint(&n), number(n));
        }
        assert_eq!(table.num_buckets(), 1024);
    }

    #[test]
    fn values_with_one_fingerprint_make_a_table_at_most_twice_as_large() {
        let mut table = table();
        for n in 0..2_000 {
            table.insert(Fingerprint(0), number(n));
        }
        assert_eq!(table.num_buckets(), 1024, "512 buckets have room for 2000 values");
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
        let buckets = table.num_buckets();
        for n in 0..1000 {
            table.insert(table.fingerprint(&n), number(n));
        }
        assert_eq!((table.num_buckets(), table.len()), (buckets, 1000));
        table.reserve(0);
        assert_eq!(table.num_buckets(), buckets);
    }

    #[test]
    fn reserving_room_for_no_value_allocates_nothing() {
        let mut table = table();
        table.reserve(0);
        assert_eq!(table.buckets.list.capacity(), 0);
        assert_eq!(found(&table, Fingerprint(7), number(0)), None);
        table.remove(Fingerprint(7), number(0));
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
            table.remove(one, number(n));
        }
        assert_eq!(found(&table, one, number(999)), Some(number(999)));
        assert_eq!(found(&table, one, number(7)), None);
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
                table.remove(table.fingerprint(&n), number(n));
            }
            assert_eq!(table.num_buckets() == 0, reserved == 0);
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
            let most = table.num_buckets();
            for n in 10..10_000 {
                table.remove(table.fingerprint(&n), number(n));
                table.shrink_if_sparse();
            }
            assert_eq!(table.num_buckets() <= SPARE_BUCKETS, reserved == 0);
            assert_eq!(table.num_buckets() == most, reserved == 1);
            for n in 0..10 {
                assert_eq!(found(&table, table.fingerprint(&n), number(n)), Some(number(n)));
            }
        }
    }

    /// Returns a table that is about to grow in steps.
    fn full_table() -> (FingerprintTable<NonZeroU32>, u32) {
        let mut table = table();
        let values = (0..).take_while(|n| {
            let is_full = table.num_buckets() >= SPARE_BUCKETS && table.len() >= table.full_at;
            if !is_full {
                table.insert(table.fingerprint(n), number(*n));
            }
            !is_full
        });
        let values = values.count();
        (table, u32::try_from(values).expect("a small number"))
    }

    #[test]
    fn large_table_moves_few_homes_with_each_insertion() {
        let (mut table, values) = full_table();
        let buckets = table.num_buckets();
        let steps = u32::try_from(buckets / HOMES_PER_STEP).expect("a small number");
        for n in values..values + steps {
            let moved_before = table.moved;
            table.insert(table.fingerprint(&n), number(n));
            let is_growing = !table.former.list.is_empty();
            assert!(!is_growing || (moved_before + HOMES_PER_STEP..moved_before + 64).contains(&table.moved));
            assert_eq!(table.num_buckets(), 2 * buckets);
            // Those that have moved, those that have not, and none that is not in the table.
            for other in 0..values + steps {
                let is_found = found(&table, table.fingerprint(&other), number(other)).is_some();
                assert_eq!(is_found, other <= n, "{other} after {n}");
            }
        }
        assert!(table.former.list.is_empty());
        assert_eq!(table.num_buckets(), 2 * buckets);
    }

    #[test]
    fn place_is_void_once_its_value_has_moved() {
        let (mut table, values) = full_table();
        let place_of = |table: &FingerprintTable<NonZeroU32>, n: u32| {
            let found = table.find(table.fingerprint(&n), |other| other == number(n));
            found.map(|(_, place)| place).expect("it is in the table")
        };
        table.insert(table.fingerprint(&values), number(values));
        let places: Vec<_> = (0..values).map(|n| place_of(&table, n)).collect();
        for other in values + 1.. {
            table.insert(table.fingerprint(&other), number(other));
            for (n, place) in (0..values).zip(&places) {
                let has_moved = place_of(&table, n) != *place;
                assert_eq!(table.holds(*place, number(n)), !has_moved, "{n} after {other}");
            }
            if table.former.list.is_empty() {
                return;
            }
        }
    }

    #[test]
    fn growing_table_can_be_emptied_rebuilt_and_reserved() {
        for end in 0..3 {
            let (mut table, values) = full_table();
            table.insert(table.fingerprint(&values), number(values));
            assert!(!table.former.list.is_empty());
            match end {
                0 => (0..=values).for_each(|n| table.remove(table.fingerprint(&n), number(n))),
                1 => table.reserve(10_000),
                _ => table.clear(),
            }
            let left = (0..=values).filter(|n| found(&table, table.fingerprint(n), number(*n)).is_some());
            assert_eq!(left.count(), table.len());
            assert_eq!(table.len(), if end == 1 { values as usize + 1 } else { 0 });
            assert!(table.former.list.is_empty());
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
                    table.remove(fingerprint, value);
                }
                prop_assert_eq!(table.len(), model.len());
                for (bits, n) in (0..8).flat_map(|bits| (0..12).map(move |n| (bits, n))) {
                    let (fingerprint, value) = key(bits, n);
                    let found = found(&table, fingerprint, value);
                    prop_assert_eq!(found.is_some(), model.contains(&value));
                }
            }
            let overflow = overflow(&table);
            for value in model {
                let (fingerprint, _) = key((value.get() - 1) / 12, 0);
                table.remove(fingerprint, value);
            }
            let left: u64 = table.buckets.list.iter().map(|bucket| bucket.tags).sum();
            prop_assert!(left == 0, "tags or counts are left in an empty table; the overflow was {overflow}");
        }
    }
}
