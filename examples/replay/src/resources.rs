//! Amounts of the three resources of a trace.

use std::ops::{AddAssign, SubAssign};

/// The resources in the order of [`Amounts`].
pub(crate) const RESOURCES: [&str; 3] = ["cpu", "memory", "gpu"];

/// Amounts of CPU in thousandths of a core, of memory in MiB, and of GPU in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amounts(pub(crate) [u64; RESOURCES.len()]);

impl Amounts {
    /// Returns each amount that remains after a subtraction, or zero.
    pub(crate) fn without(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// Returns each amount of which `other` has some, and zero for the others.
    pub(crate) fn where_some(self, other: Self) -> Self {
        self.zip(other, |own, other| if other > 0 { own } else { 0 })
    }

    /// Returns the smaller amount of each resource.
    pub(crate) fn at_most(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    fn zip(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|resource| {
            combine(self.0[resource], other.0[resource])
        }))
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        *self = self.zip(other, u64::saturating_add);
    }
}

impl SubAssign for Amounts {
    fn sub_assign(&mut self, other: Self) {
        *self = self.without(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_combined_resource_by_resource_and_never_overflow() {
        let mut amounts = Amounts([5, 0, u64::MAX]);
        amounts += Amounts([1, 2, 3]);
        assert_eq!(amounts, Amounts([6, 2, u64::MAX]));
        amounts -= Amounts([2, 9, 1]);
        assert_eq!(amounts, Amounts([4, 0, u64::MAX - 1]));
        assert_eq!(amounts.where_some(Amounts([1, 1, 0])), Amounts([4, 0, 0]));
        assert_eq!(amounts.at_most(Amounts([9, 9, 9])), Amounts([4, 0, 9]));
    }
}
