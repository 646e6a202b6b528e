//! The free slots of each task manager that have one profile, as they are ranked among those of other task managers.

use crate::slot_manager::collections::arena::{Key, key};

key! {
    /// The free slots of one task manager that have one profile.
    GroupKey
}

/// First the utilization of the task manager, such that the preferred ones are less, then how long its longest free slot
/// has been free; and which group that is. Of 33, 63 and 32 bits: slots are counted as they become free, and are not 2⁶³
/// in any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u128);

const GROUP_BITS: u32 = 32;
const FIRST_BITS: u32 = 63;
const RANKED_SHIFT: u32 = GROUP_BITS + FIRST_BITS;

impl Rank {
    /// Of no group; more than any other.
    const NONE: Self = Self(u128::MAX);

    #[inline]
    pub(crate) fn new(ranked: u64, first: u64, group: GroupKey) -> Self {
        let (ranked, first, group) = (u128::from(ranked), u128::from(first), group.index() as u128);
        Self(ranked << RANKED_SHIFT | first << GROUP_BITS | group)
    }

    #[inline]
    pub(crate) fn ranked(self) -> u64 {
        (self.0 >> RANKED_SHIFT) as u64
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 63 bits")]
    pub(crate) fn first(self) -> u64 {
        (self.0 >> GROUP_BITS) as u64 & (u64::MAX >> 1)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
    pub(crate) fn group(self) -> GroupKey {
        GroupKey::from_index(self.0 as u32 as usize)
    }
}

/// The ranks of the groups of one profile, of which the least is known.
///
/// Every rank keeps its place. Above every eight of a row is the least of these, up to a row of one: a rank that changes
/// is compared with seven others in each row, up to where the least stays what it was, which most often is near. Nothing
/// is moved, and nothing allocated but for more ranks than there ever were.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    rows: Vec<Vec<Rank>>,
    vacant: Vec<u32>,
}

/// So many ranks are two lines of the cache.
const WIDTH: usize = 8;

/// Ranks for which memory is kept when none is left.
const SPARE_RANKS: usize = 1024;

impl Ranking {
    pub(crate) fn len(&self) -> usize {
        self.num_places() - self.vacant.len()
    }

    fn num_places(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// The least.
    #[inline]
    pub(crate) fn first(&self) -> Option<Rank> {
        let least = *self.rows.last()?.first()?;
        (least != Rank::NONE).then_some(least)
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Rank {
        self.rows[0][place as usize]
    }

    /// Adds a rank. Returns its place.
    #[expect(clippy::cast_possible_truncation, reason = "there are no more ranks than groups")]
    pub(crate) fn insert(&mut self, rank: Rank) -> u32 {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.add_place();
            self.num_places() as u32 - 1
        });
        self.set(place, rank);
        place
    }

    pub(crate) fn remove(&mut self, place: u32) {
        self.set(place, Rank::NONE);
        self.vacant.push(place);
        if self.len() == 0 && self.num_places() > SPARE_RANKS {
            *self = Self::default();
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, place: u32, rank: Rank) {
        let (mut at, mut least) = (place as usize, rank);
        for row in 0..self.rows.len() {
            let before = std::mem::replace(&mut self.rows[row][at], least);
            at /= WIDTH;
            let Some(above) = self.rows.get(row + 1) else {
                return;
            };
            let above = above[at];
            if least >= above {
                if before != above {
                    return;
                }
                least = Self::least(&self.rows[row], at);
            }
            if least == above {
                return;
            }
        }
    }

    /// The least of the ranks of a row below a place of the next.
    #[inline]
    fn least(row: &[Rank], above: usize) -> Rank {
        let first = above * WIDTH;
        let below = &row[first..row.len().min(first + WIDTH)];
        below.iter().copied().min().unwrap_or(Rank::NONE)
    }

    fn add_place(&mut self) {
        let mut length = self.num_places() + 1;
        for row in 0.. {
            if row == self.rows.len() {
                let first = row.checked_sub(1).map_or(Rank::NONE, |below| self.rows[below][0]);
                self.rows.push(vec![first]);
            }
            self.rows[row].resize(length, Rank::NONE);
            if length == 1 {
                return;
            }
            length = length.div_ceil(WIDTH);
        }
    }

    /// Whether every rank above others is the least of these; for the check of invariants.
    pub(crate) fn is_in_order(&self) -> bool {
        let vacant = self
            .rows
            .first()
            .map_or(0, |row| row.iter().filter(|rank| **rank == Rank::NONE).count());
        let is_least = |(row, above): (&Vec<Rank>, &Vec<Rank>)| {
            above.len() == row.len().div_ceil(WIDTH)
                && above.iter().enumerate().all(|(at, rank)| *rank == Self::least(row, at))
        };
        vacant == self.vacant.len()
            && self.rows.last().is_none_or(|top| top.len() == 1)
            && self.rows.iter().zip(self.rows.iter().skip(1)).all(is_least)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rank_is_what_it_was_made_of() {
        let most = (1 << 32, u64::MAX >> 1, GroupKey::from_index(u32::MAX as usize - 1));
        for (ranked, first, group) in [(0, 1, GroupKey::from_index(0)), most] {
            let rank = Rank::new(ranked, first, group);
            assert_eq!((rank.ranked(), rank.first(), rank.group()), (ranked, first, group));
            assert!(rank < Rank::NONE);
        }
    }

    #[test]
    fn utilization_counts_before_the_time_it_has_been_free() {
        let rank = |ranked, first| Rank::new(ranked, first, GroupKey::from_index(0));
        assert!(rank(1, 9) < rank(2, 3) && rank(2, 3) < rank(2, 4));
    }

    #[test]
    fn the_memory_of_many_ranks_is_given_back_when_none_is_left() {
        for (ranks, is_kept) in [(SPARE_RANKS as u64, true), (SPARE_RANKS as u64 + 1, false)] {
            let mut ranking = Ranking::default();
            let places: Vec<_> = (0..ranks)
                .map(|first| ranking.insert(Rank::new(0, first, GroupKey::from_index(0))))
                .collect();
            for place in places {
                ranking.remove(place);
            }
            assert_eq!((ranking.first(), ranking.len()), (None, 0));
            assert_eq!(!ranking.rows.is_empty(), is_kept);
        }
    }

    proptest! {
        /// Up to a few rows, with ranks that are often equal but for their group.
        #[test]
        fn the_least_is_known_whatever_changes(
            steps in prop::collection::vec((0..3_u8, 0..200_usize, 0..4_u64, 0..4_u64), 0..300)
        ) {
            let (mut ranking, mut model) = (Ranking::default(), BTreeMap::new());
            for (number, (step, which, ranked, first)) in steps.into_iter().enumerate() {
                let rank = Rank::new(ranked, first, GroupKey::from_index(number));
                let place = model.keys().nth(which % model.len().max(1)).copied();
                match (step, place) {
                    (0, _) | (_, None) => {
                        let place = ranking.insert(rank);
                        prop_assert_eq!(model.insert(place, rank), None);
                    }
                    (1, Some(place)) => {
                        ranking.set(place, rank);
                        model.insert(place, rank);
                    }
                    (_, Some(place)) => {
                        ranking.remove(place);
                        model.remove(&place);
                    }
                }
                prop_assert!(ranking.is_in_order());
                prop_assert_eq!(ranking.len(), model.len());
                prop_assert_eq!(ranking.first(), model.values().min().copied());
                prop_assert!(model.iter().all(|(place, rank)| ranking.get(*place) == *rank));
            }
        }
    }
}
