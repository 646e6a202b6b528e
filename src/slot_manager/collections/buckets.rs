//! Buckets: each place is in one of 64 sets, and the sets have an order.

use crate::slot_manager::collections::place_set::PlaceSet;

/// The number of buckets.
pub(crate) const BUCKETS: u8 = 64;

/// The set of places of each bucket.
#[derive(Debug)]
pub(crate) struct Buckets {
    sets: Vec<PlaceSet>,
    /// The buckets with places, as bits.
    occupied: u64,
    /// The number of places for which the sets have memory.
    reserved: usize,
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
            sets: (0..BUCKETS).map(|_| PlaceSet::default()).collect(),
            occupied: 0,
            reserved: 0,
        }
    }

    /// Lets each bucket have the places below `places` without more memory.
    pub(crate) fn reserve(&mut self, places: usize) {
        if places > self.reserved {
            // The set grows by whole words, which have the places up to the next multiple of 64.
            self.reserved = places.next_multiple_of(BUCKETS.into());
            for set in &mut self.sets {
                let last = self.reserved - 1;
                if !set.contains(last) {
                    set.insert(last);
                    set.remove(last);
                }
            }
        }
    }

    pub(crate) fn insert(&mut self, bucket: u8, place: usize) {
        self.sets[usize::from(bucket)].insert(place);
        self.occupied |= 1 << bucket;
    }

    pub(crate) fn remove(&mut self, bucket: u8, place: usize) {
        let set = &mut self.sets[usize::from(bucket)];
        set.remove(place);
        if set.is_empty() {
            self.occupied &= !(1 << bucket);
        }
    }

    /// Returns all buckets with places.
    pub(crate) fn iter(&self, order: BucketOrder) -> impl Iterator<Item = (u8, &PlaceSet)> {
        let mut rest = self.occupied;
        std::iter::from_fn(move || {
            let bucket = match order {
                _ if rest == 0 => return None,
                BucketOrder::Ascending => rest.trailing_zeros(),
                BucketOrder::Descending => rest.ilog2(),
            };
            rest &= !(1 << bucket);
            let set = &self.sets[bucket as usize];
            u8::try_from(bucket).ok().map(|bucket| (bucket, set))
        })
    }

    /// Returns `true` if a place is in this bucket alone; for the check of invariants.
    pub(crate) fn is_only_in(&self, bucket: u8, place: usize) -> bool {
        let sets = self.sets.iter().enumerate();
        let mut containing = sets.filter(|(_, set)| set.contains(place)).map(|(number, _)| number);
        containing.next() == Some(bucket.into()) && containing.next().is_none() && self.occupied >> bucket & 1 == 1
    }

    /// Returns the number of all places; for the check of invariants.
    pub(crate) fn len(&self) -> usize {
        self.iter(BucketOrder::Ascending)
            .map(|(_, set)| set.iter().count())
            .sum()
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
        for (bucket, place) in [(3, 7), (0, 99), (63, 1), (3, 2)] {
            buckets.insert(bucket, place);
        }
        buckets.remove(63, 1);
        let found = |order| -> Vec<(u8, Vec<usize>)> {
            let buckets = buckets.iter(order);
            buckets.map(|(bucket, set)| (bucket, set.iter().collect())).collect()
        };
        assert_eq!(found(BucketOrder::Ascending), [(0, vec![99]), (3, vec![2, 7])]);
        assert_eq!(found(BucketOrder::Descending), [(3, vec![2, 7]), (0, vec![99])]);
        assert_eq!(buckets.len(), 3);
        assert!(buckets.is_only_in(3, 7) && !buckets.is_only_in(0, 7) && !buckets.is_only_in(63, 1));
    }
}
