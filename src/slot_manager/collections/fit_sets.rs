//! For each of the rows that are searched most, the set of places whose rows may cover it.
//!
//! A search takes the first place of the set of its row. A set may have places that do not cover the
//! row any more: a search removes them. A row that grows is compared with all tracked rows at once,
//! and its place is added where it newly covers one. So a search costs the same for any number of
//! places, however the amounts are spread.
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

/// The number of places where a tracked row is looked up first, by a hash of its amounts.
const RECENT: usize = 512;

/// The sets of places by tracked row.
#[derive(Debug)]
pub(crate) struct FitSets {
    tracked: Vec<Tracked>,
    /// The amounts of all tracked rows by column, padded to whole words of bits. A column is empty
    /// while no tracked row needs anything of it.
    columns: [Vec<u64>; COLUMNS],
    /// The sets in which each place is, as bits.
    sets_of: Vec<[u64; WORDS]>,
    /// For each bucket the sets that may have a place in common with it, as bits. It is empty while
    /// no place is in a bucket.
    in_buckets: Vec<[u64; WORDS]>,
    /// Where the row with a hash was found last.
    recent: Vec<u8>,
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

impl FitSets {
    pub(crate) fn new() -> Self {
        Self {
            tracked: Vec::new(),
            columns: Default::default(),
            sets_of: Vec::new(),
            in_buckets: Vec::new(),
            recent: Vec::new(),
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
        let hash = hash_of(row);
        let recent = usize::from(self.recent[hash]);
        let number = match self.tracked.get(recent) {
            Some(tracked) if tracked.row == *row => recent,
            _ => {
                let number = self.tracked.iter().position(|tracked| tracked.row == *row)?;
                // A number beyond the limit could not be stored; then the next search scans again.
                self.recent[hash] = u8::try_from(number).unwrap_or_default();
                number
            }
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
        self.recent.resize(RECENT, 0);
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
        let len = self.tracked.len().next_multiple_of(WORD);
        for (column, amount) in self.columns.iter_mut().zip(row.0) {
            if amount > 0 || !column.is_empty() {
                // Rows that were tracked before need nothing of a column that was empty.
                let rest = if column.is_empty() { 0 } else { u64::MAX };
                column.resize(len, rest);
                column[number] = amount;
            }
        }
        let (word, bit) = (number / WORD, 1 << (number % WORD));
        self.sets_of.iter_mut().for_each(|sets| sets[word] &= !bit);
        for (place, _) in rows.filter(|(_, present)| present.covers(&row)) {
            self.add(place, number);
        }
        self.in_buckets.iter_mut().for_each(|sets| sets[word] |= bit);
    }

    /// Adds a place to the sets of all rows that its row covers. Call it for each row that is new or
    /// has grown.
    ///
    /// Cost: O(tracked rows).
    pub(crate) fn grow(&mut self, place: usize, row: &Row) {
        for word in 0..self.tracked.len().div_ceil(WORD) {
            let mut covered = self.covered(word, row);
            if let Some(sets) = self.sets_of.get(place) {
                covered &= !sets[word];
            }
            while covered != 0 {
                let number = word * WORD + covered.trailing_zeros() as usize;
                covered &= covered - 1;
                self.add(place, number);
            }
        }
    }

    /// Returns which of 64 tracked rows a row covers, as bits.
    #[inline]
    fn covered(&self, word: usize, row: &Row) -> u64 {
        let in_use = self.tracked.len() - word * WORD;
        let mut covered = if in_use < WORD { (1 << in_use) - 1 } else { u64::MAX };
        for (column, amount) in self.columns.iter().zip(row.0) {
            let Some(amounts) = column.get(word * WORD..(word + 1) * WORD) else {
                continue;
            };
            let bits = amounts.iter().enumerate();
            covered &= bits.fold(0, |bits, (at, needed)| bits | u64::from(*needed <= amount) << at);
        }
        covered
    }

    fn add(&mut self, place: usize, number: usize) {
        if self.sets_of.len() <= place {
            self.sets_of.resize(place + 1, [0; WORDS]);
        }
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

/// Returns the place at which a row is looked up first.
fn hash_of(row: &Row) -> usize {
    let mixed = row.0.iter().fold(0_u64, |hash, amount| {
        (hash.rotate_left(5) ^ amount).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    (mixed >> 32) as usize % RECENT
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
