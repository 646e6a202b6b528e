//! A tree that knows the least of many values, which change in place.
//!
//! **Why not `BTreeSet`?** With it, in alternating runs of the two groups of the bench
//! `operations`, a request that is served and freed takes 1.3 to 1.8 times as long by least
//! utilization, and churn at 50 % utilisation 1.3 to 1.9 times. By most utilization both take 1.1
//! to 1.3 times as long.

/// A value of a [`TournamentTree`].
pub(crate) trait Contestant: Copy + Ord {
    /// Greater than every value in use: it marks a vacant place.
    const NONE: Self;

    /// Returns the lesser value.
    #[inline]
    fn lesser(self, other: Self) -> Self {
        self.min(other)
    }
}

/// Values in fixed places, of which the least is always known.
///
/// The lowest row holds all values, in nodes of [`FAN_OUT`]. Each row above it holds the least
/// value of every node below, up to a row of one node. A changed value is compared with the others
/// of its node row by row, up to the first row that stays the same. No value moves, and only a new
/// peak of values allocates memory.
///
/// A value that becomes the least stays out of the rows. It enters them when another value becomes
/// the least, or when it grows. So a value that is the least only for a moment costs few
/// comparisons.
#[derive(Debug)]
pub(crate) struct TournamentTree<T> {
    rows: Vec<Vec<Node<T>>>,
    least_in_rows: T,
    least: T,
    /// The place of the least value while it stays out of the rows, or [`NOWHERE`]. In the rows the
    /// place has an older value.
    ahead: u32,
    num_places: u32,
    vacant: Vec<u32>,
}

/// Sixteen-byte values of one node fill a cache line.
const FAN_OUT: usize = 4;

/// Neighbours in a row, or [`Contestant::NONE`] where the row ends.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Node<T>([T; FAN_OUT]);

impl<T: Contestant> Node<T> {
    const EMPTY: Self = Self([T::NONE; FAN_OUT]);
}

/// Returns the least of a value and the other values of its node.
// The others come first: they are known before the value is, which depends on the row below.
#[inline(always)]
fn least_of_node<T: Contestant>(node: &[T; FAN_OUT], position: usize, value: T) -> T {
    let [a, b, c] = [1, 2, 3].map(|other| node[position ^ other]);
    value.lesser(a.lesser(b).lesser(c))
}

/// No place.
const NOWHERE: u32 = u32::MAX;

/// The number of values whose memory an empty tree keeps.
const SPARE_VALUES: usize = 1024;

impl<T: Contestant> Default for TournamentTree<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            least_in_rows: T::NONE,
            least: T::NONE,
            ahead: NOWHERE,
            num_places: 0,
            vacant: Vec::new(),
        }
    }
}

impl<T: Contestant> TournamentTree<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.num_places as usize - self.vacant.len()
    }

    /// Returns the least value.
    #[inline]
    pub(crate) fn first(&self) -> Option<T> {
        (self.least != T::NONE).then_some(self.least)
    }

    pub(crate) fn get(&self, place: u32) -> T {
        if self.ahead == place {
            return self.least;
        }
        let place = place as usize;
        self.rows[0][place / FAN_OUT].0[place % FAN_OUT]
    }

    /// Adds a value and returns its place.
    ///
    /// Cost: O(log n), as for `set` and `remove`.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let place = self.vacant.pop().unwrap_or_else(|| self.add_place());
        self.set(place, value);
        place
    }

    pub(crate) fn remove(&mut self, place: u32) {
        self.set(place, T::NONE);
        self.vacant.push(place);
        if self.len() == 0 && self.num_places as usize > SPARE_VALUES {
            *self = Self::default();
        }
    }

    #[inline(always)] // It is most of the work of its callers.
    pub(crate) fn set(&mut self, mut place: u32, mut value: T) {
        if value < self.least {
            let overtaken = std::mem::replace(&mut self.ahead, place);
            let least = std::mem::replace(&mut self.least, value);
            if overtaken == place || overtaken == NOWHERE {
                return;
            }
            (place, value) = (overtaken, least);
        } else if self.ahead == place {
            self.ahead = NOWHERE;
        }
        let least_in_rows = self.set_in_rows(place, value);
        if self.ahead == NOWHERE {
            self.least = least_in_rows;
        }
    }

    /// Sets a value in the rows, and returns the least value there.
    #[inline(always)]
    fn set_in_rows(&mut self, place: u32, mut value: T) -> T {
        let mut at = place as usize;
        let mut rows = self.rows.iter_mut();
        let Some(lowest) = rows.next() else {
            return self.least_in_rows;
        };
        let (mut node, mut position) = (&mut lowest[at / FAN_OUT].0, at % FAN_OUT);
        for row in rows {
            at /= FAN_OUT;
            let above = &mut row[at / FAN_OUT].0;
            let before = std::mem::replace(&mut node[position], value);
            let least_before = above[at % FAN_OUT];
            if value >= least_before {
                if before != least_before {
                    return self.least_in_rows;
                }
                value = least_of_node(node, position, value);
            }
            (node, position) = (above, at % FAN_OUT);
        }
        node[position] = value;
        value = least_of_node(node, position, value);
        self.least_in_rows = value;
        value
    }

    #[cold]
    fn add_place(&mut self) -> u32 {
        let place = self.num_places;
        self.num_places += 1;
        let mut nodes = (self.num_places as usize).div_ceil(FAN_OUT);
        for row in 0.. {
            if row == self.rows.len() {
                let mut top = Node::EMPTY;
                top.0[0] = self.least_in_rows;
                self.rows.push(vec![top]);
            }
            self.rows[row].resize(nodes, Node::EMPTY);
            if nodes == 1 {
                break;
            }
            nodes = nodes.div_ceil(FAN_OUT);
        }
        place
    }

    /// Returns `true` if every value is the least of the node below and the least of all is known;
    /// for the check of invariants.
    pub(crate) fn is_in_order(&self) -> bool {
        let mut expected: Option<Vec<T>> = None;
        let mut length = self.num_places as usize;
        for row in &self.rows {
            let own = row.iter().flat_map(|node| node.0);
            length = length.div_ceil(FAN_OUT);
            if row.len() != length || expected.is_some_and(|expected| !own.eq(expected)) {
                return false;
            }
            let mut least: Vec<T> = row.iter().filter_map(|node| node.0.into_iter().min()).collect();
            least.resize(length.next_multiple_of(FAN_OUT), T::NONE);
            expected = Some(least);
        }
        let top = expected.map_or(T::NONE, |least| least[0]);
        let values = (0..self.num_places).map(|place| self.get(place));
        let values: Vec<T> = values.filter(|value| *value != T::NONE).collect();
        length <= 1
            && top == self.least_in_rows
            && values.len() == self.len()
            && values.into_iter().min().unwrap_or(T::NONE) == self.least
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Contestant for u64 {
        const NONE: Self = Self::MAX;
    }

    impl Contestant for (u64, u64, u64) {
        const NONE: Self = (u64::MAX, u64::MAX, u64::MAX);
    }

    #[test]
    fn the_memory_of_many_values_is_freed_when_the_tree_is_empty() {
        for (values, is_kept) in [(SPARE_VALUES as u64, true), (SPARE_VALUES as u64 + 1, false)] {
            let mut tree = TournamentTree::default();
            let places: Vec<_> = (0..values).map(|first| tree.insert(first)).collect();
            for place in places {
                tree.remove(place);
            }
            assert_eq!((tree.first(), tree.len()), (None, 0));
            assert_eq!(!tree.rows.is_empty(), is_kept);
        }
    }

    #[test]
    fn least_value_enters_the_rows_when_it_is_overtaken_or_grows() {
        let mut tree = TournamentTree::default();
        let [a, b, c] = [30_u64, 20, 10].map(|value| tree.insert(value));
        let rows = |tree: &TournamentTree<u64>| [a, b, c].map(|place| tree.rows[0][0].0[place as usize]);
        assert_eq!((tree.ahead, rows(&tree)), (c, [30, 20, u64::MAX]));
        tree.set(c, 5);
        assert_eq!((tree.ahead, rows(&tree)), (c, [30, 20, u64::MAX]));
        tree.set(a, 2);
        assert_eq!((tree.ahead, rows(&tree)), (a, [30, 20, 5]));
        tree.set(b, 25);
        assert_eq!((tree.first(), rows(&tree)), (Some(2), [30, 25, 5]));
        tree.set(a, 40);
        assert_eq!((tree.ahead, tree.first(), rows(&tree)), (NOWHERE, Some(5), [40, 25, 5]));
        assert!(tree.is_in_order());
    }

    proptest! {
        /// Trees of up to four rows, with values that often differ only in their last part.
        #[test]
        fn the_least_is_known_after_every_change(
            steps in prop::collection::vec((0..3_u8, 0..200_usize, 0..4_u64, 0..4_u64), 0..300)
        ) {
            let (mut tree, mut model) = (TournamentTree::default(), BTreeMap::new());
            for (number, (step, pick, major, minor)) in steps.into_iter().enumerate() {
                let value = (major, minor, number as u64);
                let place = model.keys().nth(pick % model.len().max(1)).copied();
                match (step, place) {
                    (0, _) | (_, None) => {
                        let place = tree.insert(value);
                        prop_assert_eq!(model.insert(place, value), None);
                    }
                    (1, Some(place)) => {
                        tree.set(place, value);
                        model.insert(place, value);
                    }
                    (_, Some(place)) => {
                        tree.remove(place);
                        model.remove(&place);
                    }
                }
                prop_assert!(tree.is_in_order());
                prop_assert_eq!(tree.len(), model.len());
                prop_assert_eq!(tree.first(), model.values().min().copied());
                prop_assert!(model.iter().all(|(place, value)| tree.get(*place) == *value));
            }
        }
    }
}
