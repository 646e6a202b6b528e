//! For each of the rows that are searched most, the set of places whose rows may cover it.
//!
//! A search takes the first place of the set of its row. A set may have places that do not cover the
//! row any more: a search removes them. A row that grows finds the tracked rows that it covers by one
//! binary search in each column, and its place is added where it newly covers one. So a search costs
//! the same for any number of places, however the amounts are spread.
//!
//! **Why not only the [`CoverTree`](super::cover_tree::CoverTree)?** Rows with much of one amount and
//! little of another hide in its nodes. In the bench `operations`, with 100,000 workers of which 95 %
//! are used and 64 shapes of requests, a search of the tree alone takes fourteen times as long as with
//! 1,000 workers.

use crate::slot_manager::collections::buckets::{BUCKETS, BucketOrder, Buckets};
use crate::slot_manager::collections::cover_tree::{COLUMNS, Row};
use crate::slot_manager::collections::place_set::PlaceSet;

/// The number of rows that are tracked at a time.
const TRACKED: usize = 256;

const WORD: usize = u64::BITS as usize;

/// The number of words with a bit for each tracked row.
const WORDS: usize = TRACKED / WORD;

/// The size of the hash table of tracked rows. At least half of its places are vacant.
const PLACES_BY_HASH: usize = 2 * TRACKED;

/// The sets of places by tracked row.
#[derive(Debug)]
pub(crate) struct FitSets {
    tracked: Vec<Tracked>,
    /// All tracked rows, as bits.
    in_use: [u64; WORDS],
    columns: [Column; COLUMNS],
    /// The sets in which each place is, as bits.
    sets_of: Vec<[u64; WORDS]>,
    /// For each bucket the sets that may have a place in common with it, as bits. It is empty while
    /// no place is in a bucket.
    in_buckets: Vec<[u64; WORDS]>,
    /// The numbers of the tracked rows, each at the first place from its hash on that was vacant.
    by_hash: Vec<Option<u8>>,
    /// The number of searches so far.
    searches: u64,
}

/// A tracked row with its set.
#[derive(Debug)]
struct Tracked {
    row: Row,
    places: PlaceSet,
    /// The number of the last search for it.
    searched: u64,
}

/// What the tracked rows need of one column. It is empty while none needs anything of it.
#[derive(Debug, Default)]
struct Column {
    /// The distinct amounts, the smallest first.
    amounts: Vec<u64>,
    /// For each of these amounts the rows that need no more, as bits.
    satisfied: Vec<[u64; WORDS]>,
}

impl Column {
    /// Sets the amount that each row needs.
    fn set(&mut self, needed: impl Iterator<Item = u64>) {
        self.amounts.clear();
        self.satisfied.clear();
        let mut rows: Vec<_> = needed.zip(0..).collect();
        rows.sort_unstable();
        if rows.last().is_none_or(|(most, _)| *most == 0) {
            return;
        }
        let mut satisfied = [0; WORDS];
        for equal in rows.chunk_by(|(one, _), (other, _)| one == other) {
            for (_, number) in equal {
                satisfied[number / WORD] |= 1 << (number % WORD);
            }
            self.amounts.push(equal[0].0);
            self.satisfied.push(satisfied);
        }
    }

    /// Returns the rows that need no more than an amount, as bits; `None` if all need more.
    #[inline]
    fn satisfied_by(&self, amount: u64) -> Option<&[u64; WORDS]> {
        let rank = self.amounts.partition_point(|needed| *needed <= amount);
        Some(&self.satisfied[rank.checked_sub(1)?])
    }
}

impl FitSets {
    pub(crate) fn new() -> Self {
        Self {
            tracked: Vec::new(),
            in_use: [0; WORDS],
            columns: Default::default(),
            sets_of: Vec::new(),
            in_buckets: Vec::new(),
            by_hash: Vec::new(),
            searches: 0,
        }
    }

    /// Returns the number of a tracked row.
    #[inline]
    pub(crate) fn find(&mut self, row: &Row) -> Option<usize> {
        if self.tracked.is_empty() {
            return None;
        }
        self.searches += 1;
        let mut at = hash_of(row);
        let number = loop {
            let number = usize::from(self.by_hash[at]?);
            if self.tracked[number].row == *row {
                break number;
            }
            at = (at + 1) % PLACES_BY_HASH;
        };
        self.tracked[number].searched = self.searches;
        Some(number)
    }

    /// Returns the lowest place of a set whose row covers the tracked one and which is accepted.
    /// `row_of` returns the row of a place.
    #[inline]
    pub(crate) fn first(
        &mut self,
        number: usize,
        row_of: impl Fn(usize) -> Option<Row>,
        mut accepts: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let Tracked { row, places, .. } = &mut self.tracked[number];
        let mut from = 0;
        loop {
            let place = places.next(from)?;
            if row_of(place).is_some_and(|present| present.covers(row)) {
                if accepts(place) {
                    return Some(place);
                }
            } else {
                places.remove(place);
                self.sets_of[place][number / WORD] &= !(1 << (number % WORD));
            }
            from = place + 1;
        }
    }

    /// Does the same as [`first`](Self::first) for the first bucket in order that has such a place.
    ///
    /// Cost: O(buckets), and that of [`PlaceSet::next_common`] for each bucket of which places with
    /// less than before leave the set.
    pub(crate) fn first_by_bucket(
        &mut self,
        number: usize,
        (buckets, order): (&Buckets, BucketOrder),
        row_of: impl Fn(usize) -> Option<Row>,
        mut accepts: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let Tracked { row, places, .. } = &mut self.tracked[number];
        let (word, bit) = (number / WORD, 1 << (number % WORD));
        for (bucket, bucket_places) in buckets.iter(order) {
            let sets = &mut self.in_buckets[usize::from(bucket)][word];
            if *sets & bit == 0 {
                continue;
            }
            let (mut from, mut has_any) = (0, false);
            while let Some(place) = places.next_common(bucket_places, from) {
                if row_of(place).is_some_and(|present| present.covers(row)) {
                    if accepts(place) {
                        return Some(place);
                    }
                    has_any = true;
                } else {
                    places.remove(place);
                    self.sets_of[place][word] &= !bit;
                }
                from = place + 1;
            }
            if !has_any {
                *sets &= !bit;
            }
        }
        None
    }

    /// Notes that a place is in a bucket. Call it for each place that is new or has grown, or is in
    /// another bucket than before.
    #[inline]
    pub(crate) fn note_bucket(&mut self, place: usize, bucket: u8) {
        if self.in_buckets.is_empty() {
            self.in_buckets.resize(BUCKETS.into(), [0; WORDS]);
        }
        if let Some(sets) = self.sets_of.get(place) {
            let noted = self.in_buckets[usize::from(bucket)].iter_mut();
            noted.zip(sets).for_each(|(noted, sets)| *noted |= sets);
        }
    }

    /// Tracks a row. If there are too many, it replaces the row whose last search was longest ago.
    /// `rows` are all rows with their places.
    ///
    /// Cost: O(places).
    pub(crate) fn track(&mut self, row: Row, rows: impl Iterator<Item = (usize, Row)>) {
        let number = match self.tracked.len() {
            TRACKED => {
                let tracked = self.tracked.iter().enumerate();
                let oldest = tracked.min_by_key(|(_, tracked)| tracked.searched);
                oldest.map_or(0, |(number, _)| number)
            }
            number => number,
        };
        let tracked = Tracked {
            row,
            places: PlaceSet::default(),
            searched: self.searches,
        };
        if number == self.tracked.len() {
            self.tracked.push(tracked);
        } else {
            self.tracked[number] = tracked;
        }
        self.index_by_hash();
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.set(self.tracked.iter().map(|tracked| tracked.row.0[at]));
        }
        let (word, bit) = (number / WORD, 1 << (number % WORD));
        self.in_use[word] |= bit;
        self.sets_of.iter_mut().for_each(|sets| sets[word] &= !bit);
        for (place, _) in rows.filter(|(_, present)| present.covers(&row)) {
            self.add(place, number);
        }
        self.in_buckets.iter_mut().for_each(|sets| sets[word] |= bit);
    }

    fn index_by_hash(&mut self) {
        self.by_hash.clear();
        self.by_hash.resize(PLACES_BY_HASH, None);
        for (tracked, number) in self.tracked.iter().zip(0..=u8::MAX) {
            let mut at = hash_of(&tracked.row);
            while self.by_hash[at].is_some() {
                at = (at + 1) % PLACES_BY_HASH;
            }
            self.by_hash[at] = Some(number);
        }
    }

    /// Adds a place to the sets of all rows that its row covers. Call it for each row that is new or
    /// has grown.
    ///
    /// Cost: O(log tracked rows), and O(1) for each added one.
    pub(crate) fn grow(&mut self, place: usize, row: &Row) {
        if self.tracked.is_empty() {
            return;
        }
        let covered = self.covered(row);
        let words = self.num_words();
        self.reserve(place);
        let sets = self.sets_of[place].iter_mut();
        for (word, (sets, covered)) in sets.zip(covered).enumerate().take(words) {
            let mut added = covered & !*sets;
            *sets |= covered;
            while added != 0 {
                let number = word * WORD + added.trailing_zeros() as usize;
                added &= added - 1;
                self.tracked[number].places.insert(place);
            }
        }
    }

    /// Returns which tracked rows a row covers, as bits.
    #[inline]
    fn covered(&self, row: &Row) -> [u64; WORDS] {
        let mut covered = self.in_use;
        let words = self.num_words();
        let columns = self.columns.iter().zip(row.0);
        for (column, amount) in columns.filter(|(column, _)| !column.amounts.is_empty()) {
            let Some(satisfied) = column.satisfied_by(amount) else {
                return [0; WORDS];
            };
            let covered = covered.iter_mut().zip(satisfied).take(words);
            covered.for_each(|(covered, satisfied)| *covered &= satisfied);
        }
        covered
    }

    /// Returns the number of words with bits of tracked rows: mostly one.
    #[inline]
    fn num_words(&self) -> usize {
        self.tracked.len().div_ceil(WORD)
    }

    fn reserve(&mut self, place: usize) {
        if self.sets_of.len() <= place {
            self.sets_of.resize(place + 1, [0; WORDS]);
        }
    }

    fn add(&mut self, place: usize, number: usize) {
        self.reserve(place);
        self.sets_of[place][number / WORD] |= 1 << (number % WORD);
        self.tracked[number].places.insert(place);
    }

    /// Returns `true` if no set lacks a place whose row covers the tracked one; for the check of
    /// invariants.
    pub(crate) fn is_consistent(&self, rows: impl Iterator<Item = (usize, Row)>) -> bool {
        let has = |place: usize, number: usize| {
            let is_marked =
                (self.sets_of.get(place)).is_some_and(|sets| sets[number / WORD] >> (number % WORD) & 1 == 1);
            is_marked == self.tracked[number].places.contains(place)
                && (is_marked || self.tracked[number].places.next(place) != Some(place))
        };
        let mut rows = rows;
        rows.all(|(place, row)| {
            let mut tracked = self.tracked.iter().enumerate();
            tracked.all(|(number, tracked)| {
                has(place, number) && (!row.covers(&tracked.row) || tracked.places.contains(place))
            })
        })
    }

    /// Returns `true` if no bucket lacks the mark of a set with which it has a place in common; for the
    /// check of invariants.
    pub(crate) fn are_marked(&self, buckets: &Buckets) -> bool {
        buckets.iter(BucketOrder::Ascending).all(|(bucket, places)| {
            let mut tracked = self.tracked.iter().enumerate();
            tracked.all(|(number, tracked)| {
                let marked = self.in_buckets.get(usize::from(bucket));
                marked.is_some_and(|sets| sets[number / WORD] >> (number % WORD) & 1 == 1)
                    || tracked.places.next_common(places, 0).is_none()
            })
        })
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

/// Returns the place of the table at which a row is looked up first.
fn hash_of(row: &Row) -> usize {
    let mixed = row.0.iter().fold(0_u64, |hash, amount| {
        (hash.rotate_left(5) ^ amount).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    (mixed >> 32) as usize % PLACES_BY_HASH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(amounts: [u64; 2]) -> Row {
        let mut row = Row([0; COLUMNS]);
        row.0[..2].copy_from_slice(&amounts);
        row
    }

    proptest! {
        /// Also with more rows than are tracked at a time.
        #[test]
        fn a_search_finds_what_a_scan_finds(
            steps in prop::collection::vec(
                (0..400_usize, [0..20_u64, 0..20], [0..20_u64, 0..20], 0..BUCKETS),
                1..600,
            ),
            order in prop_oneof![
                Just(None),
                Just(Some(BucketOrder::Ascending)),
                Just(Some(BucketOrder::Descending)),
            ],
        ) {
            let (mut sets, mut buckets) = (FitSets::new(), Buckets::new());
            let (mut rows, mut bucket_of) = (vec![None; 400], vec![None; 400]);
            for (place, amounts, required, bucket) in steps {
                let (present, required) = (row(amounts), row(required));
                let has_grown = rows[place].is_none_or(|before: Row| !before.covers(&present));
                rows[place] = Some(present);
                if has_grown {
                    sets.grow(place, &present);
                }
                let all = || rows.iter().enumerate().filter_map(|(place, row)| Some((place, (*row)?)));
                let number = match sets.find(&required) {
                    Some(number) => number,
                    None => {
                        sets.track(required, all());
                        sets.find(&required).expect("it is tracked now")
                    }
                };
                let accepts = |place: usize| place % 7 != 3;
                let fitting = || all().filter(|(place, row)| accepts(*place) && row.covers(&required));
                let first = |found: Option<(usize, Row)>| found.map(|(place, _)| place);
                if let Some(order) = order {
                    if let Some(before) = bucket_of[place].replace(bucket) {
                        buckets.remove(before, place);
                    }
                    buckets.insert(bucket, place);
                    sets.note_bucket(place, bucket);
                    prop_assert!(sets.are_marked(&buckets));
                    let rank = |place: usize| order.rank(bucket_of[place].expect("each row is in a bucket"));
                    let expected = fitting().min_by_key(|(place, _)| (rank(*place), *place));
                    let found = sets.first_by_bucket(number, (&buckets, order), |place| rows[place], accepts);
                    prop_assert_eq!(found, first(expected));
                } else {
                    let found = sets.first(number, |place| rows[place], accepts);
                    prop_assert_eq!(found, first(fitting().next()));
                }
            }
            let all = rows.iter().enumerate().filter_map(|(place, row)| Some((place, (*row)?)));
            prop_assert!(sets.is_consistent(all));
        }
    }
}
