//! A mask of 64 bits for each place, and the first place whose mask has a certain bit.
//!
//! A bit stands for a set of places. One change of a mask moves its place into and out of any number
//! of sets, at the cost of one.

/// The number of children of a node, which fill one cache line.
const FAN_OUT: usize = 8;

/// Masks by place.
#[derive(Debug)]
pub(crate) struct MaskTree {
    /// The masks by place; then for each node below all bits of its masks, level by level. The last
    /// level has one node.
    levels: Vec<Vec<Node>>,
}

#[derive(Debug, Clone)]
#[repr(align(64))]
struct Node([u64; FAN_OUT]);

impl Node {
    const EMPTY: Self = Self([0; FAN_OUT]);

    #[inline]
    fn all_bits(&self) -> u64 {
        self.0.iter().fold(0, |all, mask| all | mask)
    }

    /// Returns the first child from `from` on that has one of the bits.
    #[inline]
    fn first(&self, bits: u64, from: usize) -> Option<usize> {
        (from..FAN_OUT).find(|child| self.0[*child] & bits != 0)
    }
}

impl MaskTree {
    pub(crate) fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Lets the places below `places` have a mask.
    pub(crate) fn reserve(&mut self, places: usize) {
        let mut nodes = places.div_ceil(FAN_OUT);
        for level in 0.. {
            if level == self.levels.len() {
                let mut top = Node::EMPTY;
                top.0[0] = self.all_bits();
                self.levels.push(vec![top]);
            }
            let level = &mut self.levels[level];
            if level.len() >= nodes {
                return;
            }
            level.resize(nodes, Node::EMPTY);
            nodes = nodes.div_ceil(FAN_OUT);
        }
    }

    /// Returns the bits that any place has.
    #[inline]
    pub(crate) fn all_bits(&self) -> u64 {
        let top = self.levels.last().and_then(|level| level.first());
        top.map_or(0, Node::all_bits)
    }

    /// Returns the mask of a place.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> u64 {
        let node = self.levels.first().and_then(|level| level.get(place / FAN_OUT));
        node.map_or(0, |node| node.0[place % FAN_OUT])
    }

    /// Sets the mask of a place for which there is room.
    ///
    /// Cost: O(log places), O(1) if its neighbours have the bits that it gains or loses.
    #[inline]
    pub(crate) fn set(&mut self, place: usize, mut mask: u64) {
        let mut at = place;
        for level in &mut self.levels {
            let node = &mut level[at / FAN_OUT];
            if std::mem::replace(&mut node.0[at % FAN_OUT], mask) == mask {
                return;
            }
            mask = node.all_bits();
            at /= FAN_OUT;
        }
    }

    /// Takes bits from all places.
    ///
    /// Cost: O(places).
    pub(crate) fn remove_from_all(&mut self, bits: u64) {
        let nodes = self.levels.iter_mut().flatten();
        nodes.flat_map(|node| &mut node.0).for_each(|mask| *mask &= !bits);
    }

    /// Returns all places that have one of the bits, in order.
    pub(crate) fn places_with(&self, bits: u64) -> impl Iterator<Item = usize> {
        std::iter::successors(self.first(bits), move |place| self.next(bits, place + 1))
    }

    /// Returns the lowest place that has one of the bits.
    ///
    /// Cost: O(log places).
    #[inline]
    pub(crate) fn first(&self, bits: u64) -> Option<usize> {
        // An empty tree has not even a top.
        self.levels.last()?;
        self.first_below(self.levels.len(), 0, bits)
    }

    /// Returns the lowest place from `from` on that has one of the bits.
    ///
    /// Cost: O(log places).
    pub(crate) fn next(&self, bits: u64, from: usize) -> Option<usize> {
        let mut at = from;
        for (number, level) in self.levels.iter().enumerate() {
            let node = level.get(at / FAN_OUT)?;
            if let Some(child) = node.first(bits, at % FAN_OUT) {
                return self.first_below(number, at / FAN_OUT * FAN_OUT + child, bits);
            }
            at = at / FAN_OUT + 1;
        }
        None
    }

    /// Returns the lowest place below a node of a level, which has it. Level 0 has the places.
    #[inline]
    fn first_below(&self, level: usize, node: usize, bits: u64) -> Option<usize> {
        let mut levels = self.levels[..level].iter().rev();
        levels.try_fold(node, |node, level| {
            let child = level[node].first(bits, 0)?;
            Some(node * FAN_OUT + child)
        })
    }

    /// Returns all places that have one of the bits here and one of other bits in another tree, in
    /// order.
    ///
    /// Cost: O(nodes with places of both).
    pub(crate) fn common_places(&self, bits: u64, (other, other_bits): (&Self, u64)) -> impl Iterator<Item = usize> {
        let next = move |from| self.next_common(bits, (other, other_bits), from);
        std::iter::successors(next(0), move |place| next(place + 1))
    }

    fn next_common(&self, bits: u64, (other, other_bits): (&Self, u64), from: usize) -> Option<usize> {
        let (mut level, mut at) = (0, from);
        if from == 0 {
            // The search begins at the top, else it climbs.
            level = self.levels.len().min(other.levels.len()).checked_sub(1)?;
        }
        loop {
            // Behind the last node of a tree there is no place of both.
            let node = self.levels.get(level)?.get(at / FAN_OUT)?;
            let other = other.levels.get(level)?.get(at / FAN_OUT)?;
            let is_common = |child: &usize| node.0[*child] & bits != 0 && other.0[*child] & other_bits != 0;
            match ((at % FAN_OUT..FAN_OUT).find(is_common), level.checked_sub(1)) {
                (Some(child), None) => return Some(at / FAN_OUT * FAN_OUT + child),
                (Some(child), Some(below)) => {
                    at = (at / FAN_OUT * FAN_OUT + child) * FAN_OUT;
                    level = below;
                }
                (None, _) => {
                    at = at / FAN_OUT + 1;
                    level += 1;
                }
            }
        }
    }

    /// Returns `true` if each node has all bits of the masks below and no others; for the check of
    /// invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let has_all = |(level, above): (&Vec<Node>, &Vec<Node>)| {
            let masks = above.iter().flat_map(|node| node.0);
            let expected = level.iter().map(Node::all_bits).chain(std::iter::repeat(0));
            level.len().div_ceil(FAN_OUT) == above.len() && masks.zip(expected).all(|(mask, all)| mask == all)
        };
        self.levels.iter().zip(self.levels.iter().skip(1)).all(has_all)
            && self.levels.last().is_none_or(|level| level.len() == 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A place of a tree with few levels, or with many.
    fn place() -> impl Strategy<Value = usize> {
        prop_oneof![0..9_usize, 0..70_usize, 0..600_usize, 0..40_000_usize]
    }

    fn masks() -> impl Strategy<Value = Vec<(usize, u64)>> {
        prop::collection::vec((place(), 0..16_u64), 0..100)
    }

    /// Sets masks one after the other.
    fn tree_of(masks: &[(usize, u64)]) -> (MaskTree, BTreeMap<usize, u64>) {
        let mut tree = MaskTree::new();
        for (place, mask) in masks {
            tree.reserve(place + 1);
            tree.set(*place, *mask);
        }
        (tree, masks.iter().copied().collect())
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_scan_finds(masks in masks(), bits in 1..16_u64, from in place()) {
            let (mut tree, mut expected) = tree_of(&masks);
            for _ in 0..2 {
                prop_assert!(tree.is_consistent());
                let with_bits = expected.iter().filter(|(_, mask)| *mask & bits != 0);
                let with_bits: Vec<_> = with_bits.map(|(place, _)| *place).collect();
                prop_assert_eq!(tree.next(bits, from), with_bits.iter().copied().find(|place| *place >= from));
                prop_assert_eq!(tree.places_with(bits).collect::<Vec<_>>(), with_bits);
                prop_assert_eq!(tree.all_bits(), expected.values().fold(0, |all, mask| all | mask));
                prop_assert!(expected.iter().all(|(place, mask)| tree.get(*place) == *mask));
                // Once more without a bit.
                tree.remove_from_all(2);
                expected.values_mut().for_each(|mask| *mask &= !2);
            }
        }

        #[test]
        fn common_places_are_in_both_trees(
            masks in masks(),
            other_masks in masks(),
            bits in 1..16_u64,
            other_bits in 1..16_u64,
        ) {
            // Many places are in both.
            let other_masks = [&masks[masks.len() / 2..], &other_masks].concat();
            let ((tree, _), (other, others)) = (tree_of(&masks), tree_of(&other_masks));
            let has_other = |place: &usize| others.get(place).is_some_and(|mask| mask & other_bits != 0);
            let expected: Vec<_> = tree.places_with(bits).filter(has_other).collect();
            let common: Vec<_> = tree.common_places(bits, (&other, other_bits)).collect();
            prop_assert_eq!(common, expected);
        }
    }
}
