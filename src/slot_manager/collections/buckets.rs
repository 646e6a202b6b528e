//! Buckets: each place is in one of 64 sets, and the sets have an order.

use crate::slot_manager::collections::mask_tree::MaskTree;

/// The number of buckets.
pub(crate) const BUCKETS: u8 = 64;

/// The set of places of each bucket.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// The bucket of each place, as a bit.
    places: MaskTree,
}

/// The order in which buckets are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketOrder {
    Ascending,
    Descending,
}

impl Buckets {
    pub(crate) fn new() -> Self {
        Self {
            places: MaskTree::new(),
        }
    }

    /// Lets the places below `places` be in a bucket.
    pub(crate) fn reserve(&mut self, places: usize) {
        self.places.reserve(places);
    }

    /// Puts a place into a bucket, and takes it from the one where it was before.
    pub(crate) fn insert(&mut self, bucket: u8, place: usize) {
        self.places.set(place, 1 << bucket);
    }

    pub(crate) fn remove(&mut self, place: usize) {
        self.places.set(place, 0);
    }

    /// Returns all buckets with places.
    pub(crate) fn iter(&self, order: BucketOrder) -> impl Iterator<Item = u8> + use<> {
        let mut rest = self.places.all_bits();
        std::iter::from_fn(move || {
            let bucket = match order {
                _ if rest == 0 => return None,
                BucketOrder::Ascending => rest.trailing_zeros(),
                BucketOrder::Descending => rest.ilog2(),
            };
            rest &= !(1 << bucket);
            u8::try_from(bucket).ok()
        })
    }

    /// Returns the places of a bucket, in order.
    pub(crate) fn places_of(&self, bucket: u8) -> impl Iterator<Item = usize> {
        self.places.places_with(1 << bucket)
    }

    /// Returns the places of a bucket that have a bit in another tree, in order.
    #[inline]
    pub(crate) fn common(&self, bucket: u8, (other, bit): (&MaskTree, u64)) -> impl Iterator<Item = usize> {
        // Few places are in a bucket, so its bits are looked at first.
        self.places.common_places(1 << bucket, (other, bit))
    }

    /// Returns `true` if a place is in this bucket; for the check of invariants.
    pub(crate) fn has(&self, bucket: u8, place: usize) -> bool {
        self.places.get(place) == 1 << bucket
    }

    /// Returns the number of all places; for the check of invariants.
    pub(crate) fn len(&self) -> usize {
        self.places.places_with(u64::MAX).count()
    }

    /// Returns `true` if no place is missing in a search; for the check of invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        self.places.is_consistent()
    }
}

impl BucketOrder {
    /// Returns a number that is smaller for a bucket that is searched before another one.
    pub(crate) fn rank(self, bucket: u8) -> u8 {
        match self {
            Self::Ascending => bucket,
            Self::Descending => BUCKETS - 1 - bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_with_places_are_searched_in_either_order() {
        let mut buckets = Buckets::new();
        buckets.reserve(100);
        for (bucket, place) in [(3, 7), (0, 99), (63, 1), (9, 2), (3, 2)] {
            buckets.insert(bucket, place);
        }
        buckets.remove(1);
        let found = |order| -> Vec<(u8, Vec<usize>)> {
            let in_order = buckets.iter(order);
            in_order
                .map(|bucket| (bucket, buckets.places_of(bucket).collect()))
                .collect()
        };
        assert_eq!(found(BucketOrder::Ascending), [(0, vec![99]), (3, vec![2, 7])]);
        assert_eq!(found(BucketOrder::Descending), [(3, vec![2, 7]), (0, vec![99])]);
        assert_eq!(buckets.len(), 3);
        assert!(buckets.has(3, 7) && !buckets.has(0, 7) && !buckets.has(63, 1));
    }
}
