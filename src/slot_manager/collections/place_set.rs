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

    /// Returns 64 places as bits.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.word_of(0, at)
    }

    /// Returns the places in this set that are numbers of words with places of another one.
    ///
    /// Cost: O(places / 64).
    pub(crate) fn common_with_words(&self, other: &Self) -> impl Iterator<Item = usize> {
        let words = self.levels.first().map_or(&[][..], Vec::as_slice);
        words.iter().enumerate().flat_map(|(at, word)| {
            let others = match other.levels.len() {
                // A set of one word has no second level.
                0 | 1 => u64::from(at == 0 && !other.is_empty()),
                _ => other.word_of(1, at),
            };
            places_of(at, word & others)
        })
    }

    #[inline]
    fn word_of(&self, level: usize, at: usize) -> u64 {
        let words = self.levels.get(level);
        words.and_then(|words| words.get(at)).copied().unwrap_or(0)
    }
}

/// Returns the places of a word, in order.
#[inline]
pub(crate) fn places_of(number: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (word != 0).then(|| number * WORD + word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        place
    })
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
        fn common_places_are_numbers_of_words_with_places(
            numbers in prop::collection::btree_set(prop_oneof![0..3_usize, 0..70_usize, 0..9_000_usize], 0..100),
            places in prop::collection::btree_set(prop_oneof![0..70_usize, 0..600_usize, 0..600_000_usize], 0..100),
        ) {
            let set_of = |places: &BTreeSet<usize>| {
                let mut set = PlaceSet::default();
                places.iter().for_each(|place| set.insert(*place));
                set
            };
            let has_places = |number: usize| places.range(number * WORD..(number + 1) * WORD).next().is_some();
            let (words, places) = (set_of(&numbers), set_of(&places));
            let common: Vec<_> = words.common_with_words(&places).collect();
            let expected: Vec<_> = numbers.iter().copied().filter(|number| has_places(*number)).collect();
            prop_assert_eq!(common, expected);
        }
    }
}
