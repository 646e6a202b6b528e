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
            words[at / WORD] |= 1 << (at % WORD);
            if words.len() == 1 && level + 1 == self.levels.len() {
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
    }
}
