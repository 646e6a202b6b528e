//! A set of places: numbers from zero on, most of which are used.

const WORD: usize = u64::BITS as usize;

/// A set of places that finds the next one in it by looking at one word a level.
#[derive(Debug, Default)]
pub(crate) struct PlaceSet {
    /// The places as bits; then for each word below whether it has any, level by level.
    levels: Vec<Vec<u64>>,
}

impl PlaceSet {
    pub(crate) fn contains(&self, place: usize) -> bool {
        let words = self.levels.first();
        words.is_some_and(|words| {
            words
                .get(place / WORD)
                .is_some_and(|word| word >> (place % WORD) & 1 == 1)
        })
    }

    pub(crate) fn insert(&mut self, place: usize) {
        let mut at = place;
        let mut level = 0;
        loop {
            if level == self.levels.len() {
                // The new top says which words of the former top have places.
                let below = level.checked_sub(1).map(|below| &self.levels[below]);
                let has_any = below.is_some_and(|words| words.first().is_some_and(|word| *word != 0));
                self.levels.push(vec![u64::from(has_any)]);
            }
            let words = &mut self.levels[level];
            if words.len() <= at / WORD {
                words.resize(at / WORD + 1, 0);
            }
            let word = &mut words[at / WORD];
            // The levels above know a word that had places.
            let is_known = *word != 0;
            *word |= 1 << (at % WORD);
            if is_known || (words.len() == 1 && level + 1 == self.levels.len()) {
                return;
            }
            at /= WORD;
            level += 1;
        }
    }

    pub(crate) fn remove(&mut self, place: usize) {
        let mut at = place;
        for words in &mut self.levels {
            let Some(word) = words.get_mut(at / WORD) else {
                return;
            };
            *word &= !(1 << (at % WORD));
            if *word != 0 {
                return;
            }
            at /= WORD;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let top = self.levels.last();
        top.is_none_or(|words| words.iter().all(|word| *word == 0))
    }

    /// Returns all places in the set, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.next(0), |place| self.next(place + 1))
    }

    /// Returns the lowest place in the set from `from` on.
    #[inline]
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let mut at = from;
        for (level, words) in self.levels.iter().enumerate() {
            let word = *words.get(at / WORD)?;
            let rest = word & (u64::MAX << (at % WORD));
            if rest != 0 {
                let mut found = at / WORD * WORD + rest.trailing_zeros() as usize;
                // Down again, to the lowest place below.
                for words in self.levels[..level].iter().rev() {
                    found = found * WORD + words[found].trailing_zeros() as usize;
                }
                return Some(found);
            }
            at = at / WORD + 1;
        }
        None
    }

    /// Returns the lowest place from `from` on that is in both sets.
    ///
    /// Cost: O(places / 4096), and O(words with places of both sets).
    pub(crate) fn next_common(&self, other: &Self, from: usize) -> Option<usize> {
        let both = |level: usize, at: usize| self.word(level, at) & other.word(level, at);
        let first = both(0, from / WORD) & (u64::MAX << (from % WORD));
        if first != 0 {
            return Some(from / WORD * WORD + first.trailing_zeros() as usize);
        }
        let next = from / WORD + 1;
        let mut rest = u64::MAX << (next % WORD);
        // A set of one word has no second level, and no place in another word.
        for above in next / WORD..self.num_words(1).min(other.num_words(1)) {
            let mut words = both(1, above) & rest;
            while words != 0 {
                let at = above * WORD + words.trailing_zeros() as usize;
                let found = both(0, at);
                if found != 0 {
                    return Some(at * WORD + found.trailing_zeros() as usize);
                }
                words &= words - 1;
            }
            rest = u64::MAX;
        }
        None
    }

    #[inline]
    fn word(&self, level: usize, at: usize) -> u64 {
        let words = self.levels.get(level);
        words.and_then(|words| words.get(at)).copied().unwrap_or(0)
    }

    fn num_words(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_places_equals_an_ordered_set(
            steps in prop::collection::vec((0..3_u8, 0..300_000_usize), 1..200),
        ) {
            let (mut set, mut expected) = (PlaceSet::default(), BTreeSet::new());
            for (step, place) in steps {
                let known = expected.iter().nth(place % (expected.len() + 1)).copied();
                match (step, known) {
                    (0, Some(known)) => {
                        set.remove(known);
                        expected.remove(&known);
                    }
                    _ => {
                        set.insert(place);
                        expected.insert(place);
                    }
                }
                prop_assert_eq!(set.next(place), expected.range(place..).next().copied());
                prop_assert_eq!(set.next(0), expected.first().copied());
                prop_assert_eq!(set.contains(place), expected.contains(&place));
            }
        }

        /// Places that are close together, and far apart.
        #[test]
        fn the_next_common_place_is_in_both_sets(
            places in prop::collection::vec((0..4_usize, prop_oneof![0..70_usize, 0..600_usize, 0..30_000_usize]), 1..200),
            starts in prop::collection::vec(0..31_000_usize, 1..9),
        ) {
            let (mut sets, mut expected) = <([PlaceSet; 2], [BTreeSet<usize>; 2])>::default();
            for (which, place) in places {
                // Half of the places are in both sets.
                for number in [0, 1].into_iter().filter(|number| which > 1 || which == *number) {
                    sets[number].insert(place);
                    expected[number].insert(place);
                }
            }
            for from in starts.into_iter().chain(expected[0].clone()).chain([0]) {
                let common = expected[0].range(from..).find(|place| expected[1].contains(place));
                prop_assert_eq!(sets[0].next_common(&sets[1], from), common.copied());
                prop_assert_eq!(sets[1].next_common(&sets[0], from), common.copied());
            }
        }
    }
}
