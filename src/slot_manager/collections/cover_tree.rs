//! A search tree over rows of amounts: the first row that covers a required one.
//!
//! Each node knows amounts that none of its up to [`FAN_OUT`] children exceeds, by column. A search skips a node of which an amount is too small. Amounts of different rows may
//! let a node pass of which no row covers the required one, so a search is O(rows) at worst.

/// The number of columns. A row then fills one cache line.
pub(crate) const COLUMNS: usize = 8;

/// Amounts by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Row(pub(crate) [u64; COLUMNS]);

impl Row {
    const NOTHING: Self = Self([0; COLUMNS]);

    /// Returns `true` if no amount is smaller than that of `other`.
    #[inline]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        // Without a branch for each column.
        (self.0.iter().zip(&other.0)).fold(true, |covers, (own, other)| covers & (own >= other))
    }

    #[inline]
    fn raise_to(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = (*own).max(*other);
        }
    }
}

/// The number of children of a node.
const FAN_OUT: usize = 16;

/// Rows by place, each with a value.
///
/// A row that shrinks leaves the maxima above it as they are. A search that finds nothing in a node
/// lowers them.
#[derive(Debug)]
#[expect(clippy::vec_box, reason = "a list of nodes that grows moves only their addresses")]
pub(crate) struct CoverTree<T> {
    /// The rows by place, in nodes. A place without a value has a row of zeros.
    leaves: Vec<Box<Leaf<T>>>,
    /// The maxima of the nodes below, level by level. The last level has one node.
    levels: Vec<Vec<Box<Node>>>,
    len: usize,
}

#[derive(Debug)]
struct Leaf<T> {
    rows: [Row; FAN_OUT],
    values: [Option<T>; FAN_OUT],
}

#[derive(Debug)]
struct Node {
    /// For each child amounts that are at least as large as all of its rows.
    largest: [Row; FAN_OUT],
    /// The children of which a row has shrunk since their largest amounts were computed, as bits.
    loose: u16,
}

impl Node {
    const EMPTY: Self = Self {
        largest: [Row::NOTHING; FAN_OUT],
        loose: 0,
    };
}

impl<T: Copy> CoverTree<T> {
    pub(crate) fn new() -> Self {
        Self {
            leaves: Vec::new(),
            levels: Vec::new(),
            len: 0,
        }
    }

    /// Returns the number of places with a value.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the row and the value of a place.
    ///
    /// Cost: O(log places).
    pub(crate) fn set(&mut self, place: usize, row: Row, value: T) {
        while self.leaves.len() * FAN_OUT <= place {
            self.add_leaf();
        }
        let leaf = &mut self.leaves[place / FAN_OUT];
        if leaf.values[place % FAN_OUT].replace(value).is_none() {
            self.len += 1;
        }
        let before = self.replace(place, row);
        if !before.covers(&row) {
            self.raise_above(place, &row);
        }
        if !row.covers(&before) {
            self.mark_above(place);
        }
    }

    /// Replaces the row of a place that has a value. The new row covers the old one.
    ///
    /// Cost: O(log places), O(1) if the node has a row that is as large.
    #[inline]
    pub(crate) fn grow(&mut self, place: usize, row: Row) {
        let before = self.replace(place, row);
        debug_assert!(row.covers(&before), "no amount shrinks");
        self.raise_above(place, &row);
    }

    /// Replaces the row of a place that has a value. The old row covers the new one.
    ///
    /// Cost: O(log places), O(1) if another row of the node has shrunk since a search.
    #[inline]
    pub(crate) fn shrink(&mut self, place: usize, row: Row) {
        let before = self.replace(place, row);
        debug_assert!(before.covers(&row), "no amount grows");
        self.mark_above(place);
    }

    /// Removes the row and the value of a place, if it has any.
    ///
    /// Cost: O(log places).
    pub(crate) fn remove(&mut self, place: usize) {
        let Some(leaf) = self.leaves.get_mut(place / FAN_OUT) else {
            return;
        };
        if leaf.values[place % FAN_OUT].take().is_some() {
            self.len -= 1;
            self.shrink(place, Row::NOTHING);
        }
    }

    /// Returns the value and the row of a place.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<(T, Row)> {
        let leaf = self.leaves.get(place / FAN_OUT)?;
        Some((leaf.values[place % FAN_OUT]?, leaf.rows[place % FAN_OUT]))
    }

    /// Returns all places with a value, each with its row, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, T, Row)> {
        self.leaves.iter().enumerate().flat_map(|(number, leaf)| {
            let places = leaf.rows.iter().zip(&leaf.values).enumerate();
            places.filter_map(move |(at, (row, value))| Some((number * FAN_OUT + at, (*value)?, *row)))
        })
    }

    /// Returns the value of the lowest place whose row covers `required` and which is accepted.
    /// `looked_at` counts the rows that the search looked at, also those of nodes.
    ///
    /// Cost: O(log places) if the largest amounts are in the same rows, else up to O(places).
    #[inline]
    pub(crate) fn first(
        &mut self,
        required: &Row,
        looked_at: &mut usize,
        mut accepts: impl FnMut(T) -> bool,
    ) -> Option<T> {
        match self.is_empty() {
            true => None,
            false => self.first_below(self.levels.len(), 0, required, looked_at, &mut accepts),
        }
    }

    /// Searches one node, and the nodes below it. The nodes of level 0 are the leaves.
    fn first_below(
        &mut self,
        level: usize,
        node: usize,
        required: &Row,
        looked_at: &mut usize,
        accepts: &mut impl FnMut(T) -> bool,
    ) -> Option<T> {
        *looked_at += FAN_OUT;
        let Some(below) = level.checked_sub(1) else {
            let leaf = &self.leaves[node];
            let covering = (leaf.rows.iter().zip(&leaf.values)).filter(|(row, _)| row.covers(required));
            return covering.filter_map(|(_, value)| *value).find(|value| accepts(*value));
        };
        for child in 0..FAN_OUT {
            let child_node = node * FAN_OUT + child;
            if !self.levels[below][node].largest[child].covers(required) || !self.has_node(below, child_node) {
                continue;
            }
            let found = self.first_below(below, child_node, required, looked_at, accepts);
            if found.is_some() {
                return found;
            }
            self.tighten(below, node, child);
        }
        None
    }

    /// Computes the largest amounts of a child again, if one of its rows has shrunk.
    fn tighten(&mut self, level: usize, node: usize, child: usize) {
        let bit = 1 << child;
        if self.levels[level][node].loose & bit == 0 {
            return;
        }
        let child_node = node * FAN_OUT + child;
        let is_loose = level > 0 && self.levels[level - 1][child_node].loose != 0;
        let largest = self.largest(level, child_node);
        let node = &mut self.levels[level][node];
        node.largest[child] = largest;
        if !is_loose {
            node.loose &= !bit;
        }
    }

    fn has_node(&self, level: usize, node: usize) -> bool {
        match level.checked_sub(1) {
            None => node < self.leaves.len(),
            Some(below) => node < self.levels[below].len(),
        }
    }

    fn add_leaf(&mut self) {
        self.leaves.push(Box::new(Leaf {
            rows: [Row::NOTHING; FAN_OUT],
            values: [None; FAN_OUT],
        }));
        let mut nodes = self.leaves.len();
        for level in 0.. {
            if nodes == 1 {
                return;
            }
            if level == self.levels.len() {
                self.add_level();
            }
            nodes = nodes.div_ceil(FAN_OUT);
            if self.levels[level].len() < nodes {
                self.levels[level].push(Box::new(Node::EMPTY));
            }
        }
    }

    /// Adds a level with one node, above the first node of the level below.
    fn add_level(&mut self) {
        let mut node = Box::new(Node::EMPTY);
        node.largest[0] = self.largest(self.levels.len(), 0);
        self.levels.push(vec![node]);
    }

    /// Returns amounts that are at least as large as all rows of a node.
    fn largest(&self, level: usize, node: usize) -> Row {
        let rows = match level.checked_sub(1) {
            None => &self.leaves[node].rows,
            Some(below) => &self.levels[below][node].largest,
        };
        let mut largest = Row::NOTHING;
        rows.iter().for_each(|row| largest.raise_to(row));
        largest
    }

    /// Replaces a row, and returns the one before.
    #[inline]
    fn replace(&mut self, place: usize, row: Row) -> Row {
        std::mem::replace(&mut self.leaves[place / FAN_OUT].rows[place % FAN_OUT], row)
    }

    /// Raises the maxima above a row that has grown.
    fn raise_above(&mut self, place: usize, row: &Row) {
        let mut node = place / FAN_OUT;
        for level in &mut self.levels {
            let largest = &mut level[node / FAN_OUT].largest[node % FAN_OUT];
            // Then those further above are as large, too.
            if largest.covers(row) {
                return;
            }
            largest.raise_to(row);
            node /= FAN_OUT;
        }
    }

    /// Marks the maxima above a row that has shrunk: they may have become too large.
    fn mark_above(&mut self, place: usize) {
        let mut node = place / FAN_OUT;
        for level in &mut self.levels {
            let (parent, bit) = (&mut level[node / FAN_OUT], 1 << (node % FAN_OUT));
            // Then those further above are marked, too.
            if parent.loose & bit != 0 {
                return;
            }
            parent.loose |= bit;
            node /= FAN_OUT;
        }
    }

    /// Returns `true` if no row is larger than the maxima above it; for the check of invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let nodes = |level: usize| match level.checked_sub(1) {
            None => self.leaves.len(),
            Some(below) => self.levels[below].len(),
        };
        let is_right = |level: usize, node: usize| {
            let above = &self.levels[level][node / FAN_OUT].largest[node % FAN_OUT];
            above.covers(&self.largest(level, node))
        };
        (0..self.levels.len()).all(|level| (0..nodes(level)).all(|node| is_right(level, node)))
            && self.iter().count() == self.len
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(amounts: [u64; 3]) -> Row {
        let mut row = Row::NOTHING;
        row.0[..3].copy_from_slice(&amounts);
        row
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_scan_finds(
            changes in prop::collection::vec((0..700_usize, prop::option::weighted(0.8, [0..6_u64, 0..6, 0..6])), 1..400),
            required in prop::collection::vec([0..6_u64, 0..6, 0..6], 1..8),
        ) {
            let mut tree = CoverTree::new();
            let mut rows = vec![None; 700];
            for (at, (place, amounts)) in changes.into_iter().enumerate() {
                let before = std::mem::replace(&mut rows[place], amounts.map(row));
                match (before, rows[place]) {
                    (Some(before), Some(row)) if row.covers(&before) => tree.grow(place, row),
                    (Some(before), Some(row)) if before.covers(&row) => tree.shrink(place, row),
                    (_, Some(row)) => tree.set(place, row, place),
                    (_, None) => tree.remove(place),
                }
                prop_assert!(tree.is_consistent());
                let required = row(required[at % required.len()]);
                let accepts = |place: usize| place % 5 != 3;
                let expected = (0..rows.len())
                    .find(|place| accepts(*place) && rows[*place].is_some_and(|row| row.covers(&required)));
                prop_assert_eq!(tree.first(&required, &mut 0, accepts), expected);
            }
            prop_assert_eq!(tree.len(), rows.iter().flatten().count());
        }
    }

    #[test]
    fn rows_that_have_shrunk_are_skipped_after_one_search() {
        let mut tree = CoverTree::new();
        (0..4096).for_each(|place| tree.set(place, row([2, 2, 0]), place));
        (0..4095).for_each(|place| tree.set(place, row([1, 2, 0]), place));
        let search = |tree: &mut CoverTree<usize>| {
            let mut looked_at = 0;
            assert_eq!(tree.first(&row([2, 1, 0]), &mut looked_at, |_| true), Some(4095));
            looked_at / FAN_OUT
        };
        assert_eq!(search(&mut tree), 1 + 16 + 256);
        assert_eq!(search(&mut tree), 3);
    }

    #[test]
    fn places_far_behind_the_others_are_found() {
        let mut tree = CoverTree::new();
        for place in [0, 15, 16, 255, 256, 4095, 4096, 70_000] {
            tree.set(place, row([place as u64, 1, 0]), place);
        }
        assert!(tree.is_consistent());
        assert_eq!(tree.first(&row([4096, 1, 0]), &mut 0, |_| true), Some(4096));
        assert_eq!(tree.first(&row([70_000, 1, 0]), &mut 0, |_| true), Some(70_000));
        tree.remove(70_000);
        assert_eq!(tree.first(&row([4097, 0, 0]), &mut 0, |_| true), None);
        assert_eq!(tree.get(4096), Some((4096, row([4096, 1, 0]))));
        assert_eq!(tree.get(1), None);
    }
}
