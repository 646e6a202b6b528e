//! For each of the rows that are searched most, the set of places whose rows cover it.
//!
//! A search takes the first place of the set of its row. A row that changes finds the tracked rows
//! that it covers by one binary search in each column. They are the bits of the mask of its place. So a
//! search meets no place in vain, and costs nearly the same for any number of places, however the
//! amounts are spread.
//!
//! **Why a mask for each place, and not a set of places for each row?** With 100,000 workers of which
//! 95 % are used and 64 shapes of requests, a request and a free take 1.5 times as many instructions
//! with sets by row, for a change of a row changes many sets.
//!
//! **Why not only the [`CoverTree`](super::cover_tree::CoverTree)?** Rows with much of one amount and
//! little of another hide in its nodes. In the bench `operations`, with 100,000 workers of which 95 %
//! are used and 64 shapes of requests, a search of the tree alone takes fourteen times as long as with
//! 1,000 workers.

use crate::slot_manager::collections::buckets::{BUCKETS, BucketOrder, Buckets};
use crate::slot_manager::collections::cover_tree::{COLUMNS, Row};
use crate::slot_manager::collections::mask_tree::MaskTree;

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
    columns: Vec<Column>,
    /// For each word of such bits a tree with the sets in which each place is.
    sets_of: Vec<MaskTree>,
    /// The number of places for which the trees have room.
    num_places: usize,
    /// For each bucket the sets that may have a place in common with it, as bits. It is empty while
    /// no place is in a bucket.
    in_buckets: Vec<[u64; WORDS]>,
    /// The numbers of the tracked rows, each at the first place from its hash on that was vacant.
    by_hash: Vec<Option<u8>>,
    /// The number of searches so far.
    searches: u64,
}

/// A tracked row.
#[derive(Debug)]
struct Tracked {
    row: Row,
    /// The number of the last search for it.
    searched: u64,
}

/// What the tracked rows need of one column.
#[derive(Debug)]
struct Column {
    /// The number of the column.
    at: usize,
    /// The distinct amounts, the smallest first.
    amounts: Vec<u64>,
    /// For no amount, and for each of the amounts, the rows that need no more, as bits.
    satisfied: Vec<[u64; WORDS]>,
}

impl Column {
    /// Returns the column with the amount that each row needs; `None` if none needs anything of it.
    fn of(at: usize, needed: impl Iterator<Item = u64>) -> Option<Self> {
        let mut rows: Vec<_> = needed.zip(0..).collect();
        rows.sort_unstable();
        if rows.last().is_none_or(|(most, _)| *most == 0) {
            return None;
        }
        let mut satisfied = [0; WORDS];
        let mut column = Self {
            at,
            amounts: Vec::new(),
            satisfied: vec![satisfied],
        };
        for equal in rows.chunk_by(|(one, _), (other, _)| one == other) {
            for (_, number) in equal {
                satisfied[number / WORD] |= 1 << (number % WORD);
            }
            column.amounts.push(equal[0].0);
            column.satisfied.push(satisfied);
        }
        Some(column)
    }

    /// Returns the rows that need no more than a row has, as bits.
    #[inline]
    fn satisfied_by(&self, row: &Row) -> &[u64; WORDS] {
        let has = row.0[self.at];
        &self.satisfied[self.amounts.partition_point(|needed| *needed <= has)]
    }
}

impl FitSets {
    pub(crate) fn new() -> Self {
        Self {
            tracked: Vec::new(),
            in_use: [0; WORDS],
            columns: Vec::new(),
            sets_of: Vec::new(),
            num_places: 0,
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

    /// Returns the lowest place of a set that is accepted.
    ///
    /// Cost: O(log places) for each place that it looks at.
    #[inline]
    pub(crate) fn first(&self, number: usize, mut accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        let (sets, bit) = self.set_of(number);
        let mut place = sets.first(bit)?;
        while !accepts(place) {
            place = sets.next(bit, place + 1)?;
        }
        Some(place)
    }

    /// Returns the tree with a set, and the bit of the set there.
    #[inline]
    fn set_of(&self, number: usize) -> (&MaskTree, u64) {
        (&self.sets_of[number / WORD], 1 << (number % WORD))
    }

    /// Does the same as [`first`](Self::first) for the first bucket in order that has such a place.
    ///
    /// Cost: O(buckets), and O(nodes with places of both) for each bucket that shares no place with
    /// the set any more.
    pub(crate) fn first_by_bucket(
        &mut self,
        number: usize,
        (buckets, order): (&Buckets, BucketOrder),
        mut accepts: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let (word, bit) = (number / WORD, 1 << (number % WORD));
        for bucket in buckets.iter(order) {
            let noted = &mut self.in_buckets[usize::from(bucket)][word];
            if *noted & bit == 0 {
                continue;
            }
            let mut has_any = false;
            for place in buckets.common(bucket, (&self.sets_of[word], bit)) {
                if accepts(place) {
                    return Some(place);
                }
                has_any = true;
            }
            if !has_any {
                *noted &= !bit;
            }
        }
        None
    }

    /// Notes that a place is in a bucket. Call it for each place that is new or has grown, or is in
    /// another bucket than before, once its sets are up to date.
    #[inline]
    pub(crate) fn note_bucket(&mut self, place: usize, bucket: u8) {
        if self.in_buckets.is_empty() {
            self.in_buckets.resize(BUCKETS.into(), [0; WORDS]);
        }
        let noted = self.in_buckets[usize::from(bucket)].iter_mut();
        noted
            .zip(&self.sets_of)
            .for_each(|(noted, sets)| *noted |= sets.get(place));
    }

    /// Tracks a row. If there are too many, it replaces the row whose last search was longest ago.
    /// `rows` are all rows with their places.
    ///
    /// Cost: O(places), and O(tracked rows × log tracked rows).
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
            searched: self.searches,
        };
        if number == self.tracked.len() {
            self.tracked.push(tracked);
        } else {
            self.tracked[number] = tracked;
        }
        self.index_by_hash();
        let columns =
            (0..COLUMNS).filter_map(|at| Column::of(at, self.tracked.iter().map(|tracked| tracked.row.0[at])));
        self.columns = columns.collect();
        let (word, bit) = (number / WORD, 1 << (number % WORD));
        self.in_use[word] |= bit;
        if word == self.sets_of.len() {
            let mut sets = MaskTree::new();
            sets.reserve(self.num_places);
            self.sets_of.push(sets);
        }
        self.sets_of[word].remove_from_all(bit);
        for (place, present) in rows {
            self.reserve(place);
            if present.covers(&row) {
                let sets = &mut self.sets_of[word];
                sets.set(place, sets.get(place) | bit);
            }
        }
        self.in_buckets.iter_mut().for_each(|sets| sets[word] |= bit);
    }

    /// Returns the number of amounts that `track` looks at besides the rows.
    pub(crate) fn cost_of_columns(&self) -> usize {
        COLUMNS * self.tracked.len()
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

    /// Puts a place into the sets of the rows that its row covers, and no others. Call it whenever
    /// the row of a place has changed. A place without a row is in no set.
    ///
    /// Cost: O(log tracked rows + log places).
    pub(crate) fn set(&mut self, place: usize, row: Option<&Row>) {
        if self.tracked.is_empty() {
            return;
        }
        let sets = row.map_or([0; WORDS], |row| self.covered(row));
        self.reserve(place);
        for (tree, sets) in self.sets_of.iter_mut().zip(sets) {
            tree.set(place, sets);
        }
    }

    /// Returns which tracked rows a row covers, as bits.
    #[inline]
    fn covered(&self, row: &Row) -> [u64; WORDS] {
        let mut covered = self.in_use;
        for column in &self.columns {
            let satisfied = column.satisfied_by(row);
            covered
                .iter_mut()
                .zip(satisfied)
                .for_each(|(covered, satisfied)| *covered &= satisfied);
        }
        covered
    }

    #[inline]
    fn reserve(&mut self, place: usize) {
        if self.num_places <= place {
            self.num_places = place + 1;
            self.sets_of.iter_mut().for_each(|sets| sets.reserve(place + 1));
        }
    }

    /// Returns `true` if each set has the places whose rows cover the tracked one, and no others; for
    /// the check of invariants.
    pub(crate) fn is_consistent(&self, rows: impl Iterator<Item = (usize, Row)>) -> bool {
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable_by_key(|(place, _)| *place);
        self.tracked.iter().enumerate().all(|(number, tracked)| {
            let covering = rows.iter().filter(|(_, row)| row.covers(&tracked.row));
            let (sets, bit) = self.set_of(number);
            sets.places_with(bit).eq(covering.map(|(place, _)| *place))
        }) && self.sets_of.iter().all(MaskTree::is_consistent)
    }

    /// Returns `true` if no bucket lacks the mark of a set with which it has a place in common; for the
    /// check of invariants.
    pub(crate) fn are_marked(&self, buckets: &Buckets) -> bool {
        buckets.iter(BucketOrder::Ascending).all(|bucket| {
            (0..self.tracked.len()).all(|number| {
                let marked = self.in_buckets.get(usize::from(bucket));
                marked.is_some_and(|sets| sets[number / WORD] >> (number % WORD) & 1 == 1)
                    || buckets.common(bucket, self.set_of(number)).next().is_none()
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
            buckets.reserve(400);
            let (mut rows, mut bucket_of) = (vec![None; 400], vec![None; 400]);
            for (place, amounts, required, bucket) in steps {
                let (present, required) = (row(amounts), row(required));
                rows[place] = Some(present);
                sets.set(place, Some(&present));
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
                    bucket_of[place] = Some(bucket);
                    buckets.insert(bucket, place);
                    sets.note_bucket(place, bucket);
                    prop_assert!(sets.are_marked(&buckets));
                    let rank = |place: usize| order.rank(bucket_of[place].expect("each row is in a bucket"));
                    let expected = fitting().min_by_key(|(place, _)| (rank(*place), *place));
                    let found = sets.first_by_bucket(number, (&buckets, order), accepts);
                    prop_assert_eq!(found, first(expected));
                } else {
                    let found = sets.first(number, accepts);
                    prop_assert_eq!(found, first(fitting().next()));
                }
            }
            let all = rows.iter().enumerate().filter_map(|(place, row)| Some((place, (*row)?)));
            prop_assert!(sets.is_consistent(all));
        }
    }
}
