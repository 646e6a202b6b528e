//! The resources that remain of a worker: amounts that change in place.

use std::sync::Arc;

use super::{Amounts, ExtendedResource, Kind, ResourceProfile};

/// The resources that remain of a total while slots are cut from it.
///
/// An extended resource of the total stays listed when its amount falls to zero. So a cut and its
/// end allocate nothing.
#[derive(Debug)]
pub(crate) struct Remainder(ResourceProfile);

impl Remainder {
    /// The largest number of times that [`times`](Self::times) returns.
    pub(crate) const MAX_TIMES: u32 = 1 << 16;

    /// Returns a remainder that is the whole total.
    pub(crate) fn of(total: &ResourceProfile) -> Self {
        Self(match &total.0 {
            Kind::Concrete(amounts) => ResourceProfile(Kind::Concrete(Amounts {
                // The amounts change, so they are not shared with the total.
                extended: amounts.extended.as_deref().map(Arc::from),
                ..amounts.clone()
            })),
            Kind::Unknown | Kind::Any => total.clone(),
        })
    }

    /// Returns the remainder as the profile of a slot, to match requests with.
    ///
    /// It may list extended resources without an amount. So it is not equal to the same profile
    /// made by a builder.
    #[inline]
    pub(crate) fn as_slot(&self) -> &ResourceProfile {
        &self.0
    }

    /// Returns the remainder as a profile that equals any other with the same amounts.
    pub(crate) fn to_profile(&self) -> ResourceProfile {
        match &self.0.0 {
            Kind::Concrete(amounts) => {
                let extended = amounts.extended().to_vec();
                // No amount is larger than that of the total, whose memory does not overflow.
                (amounts.clone().into_profile(extended)).unwrap_or(ResourceProfile::ZERO)
            }
            Kind::Unknown | Kind::Any => self.0.clone(),
        }
    }

    /// Cuts resources. A resource with less than the cut falls to zero; then the result is `false`.
    ///
    /// A cut of `ANY` leaves nothing of any amount. Nothing changes `ANY`.
    #[inline]
    pub(crate) fn cut(&mut self, cut: &ResourceProfile) -> bool {
        let is_covered = self.0.is_matching(cut);
        self.change(cut, u64::saturating_sub);
        is_covered
    }

    /// Gives cut resources back.
    #[inline]
    pub(crate) fn give_back(&mut self, cut: &ResourceProfile) {
        self.change(cut, u64::saturating_add);
    }

    /// Lowers each amount to that of `bound`, where it is larger. Returns the amounts that are gone;
    /// `None` if there are none.
    pub(crate) fn lower_to(&mut self, bound: &ResourceProfile) -> Option<ResourceProfile> {
        if bound.is_matching(&self.0) || bound.amounts().is_none() || self.0.amounts().is_none() {
            return None;
        }
        let mut gone = Self::of(&self.0);
        gone.change(bound, u64::saturating_sub);
        self.change(bound, u64::min);
        Some(gone.to_profile())
    }

    /// Returns how many slots with this profile could be cut one after the other, up to
    /// [`MAX_TIMES`](Self::MAX_TIMES).
    pub(crate) fn times(&self, slot: &ResourceProfile) -> u32 {
        let (Some(has), Some(needs)) = (self.0.amounts(), slot.amounts()) else {
            return if self.0.is_matching(slot) { Self::MAX_TIMES } else { 0 };
        };
        let times = |has: u64, needs: u64| has.checked_div(needs).unwrap_or(u64::MAX);
        let extended = needs.extended().iter();
        let extended = extended.map(|needed| times(has.extended_amount(&needed.name), needed.amount));
        let times = has
            .fixed()
            .into_iter()
            .zip(needs.fixed())
            .map(|(has, needs)| times(has, needs));
        let least = times.chain(extended).min().unwrap_or(u64::MAX);
        u32::try_from(least).unwrap_or(u32::MAX).min(Self::MAX_TIMES)
    }

    /// Returns the largest share of a resource of the total that is not in the remainder: in parts of
    /// `parts`, rounded down.
    ///
    /// A resource of which the total has nothing does not count, and `ANY` has no used resources.
    #[inline]
    pub(crate) fn used_parts_of(&self, total: &ResourceProfile, parts: u32) -> u32 {
        let (Some(remains), Some(total)) = (self.0.amounts(), total.amounts()) else {
            return 0;
        };
        let used = |(total, remains): (u64, u64)| {
            let used = total.saturating_sub(remains);
            match used.checked_mul(parts.into()) {
                _ if used == 0 => 0,
                Some(used) => used / total,
                None => (u128::from(used) * u128::from(parts) / u128::from(total))
                    .try_into()
                    .unwrap_or(parts.into()),
            }
        };
        let fixed = total.fixed().into_iter().zip(remains.fixed()).map(used);
        // The remainder lists the extended resources of its total, in the same order.
        let extended = total.extended().iter().zip(remains.extended());
        let extended = extended.map(|(total, remains)| used((total.amount, remains.amount)));
        let most = fixed.chain(extended).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(parts)
    }

    /// Changes each amount by that of another profile.
    #[inline]
    fn change(&mut self, by: &ResourceProfile, change: impl Fn(u64, u64) -> u64) {
        let Kind::Concrete(amounts) = &mut self.0.0 else {
            return;
        };
        let everything = Amounts::EVERYTHING;
        let by = match &by.0 {
            Kind::Concrete(by) => by,
            Kind::Any => &everything,
            Kind::Unknown => return,
        };
        amounts.cpu = change(amounts.cpu, by.cpu);
        amounts.task_heap_memory = change(amounts.task_heap_memory, by.task_heap_memory);
        amounts.task_off_heap_memory = change(amounts.task_off_heap_memory, by.task_off_heap_memory);
        amounts.managed_memory = change(amounts.managed_memory, by.managed_memory);
        amounts.network_memory = change(amounts.network_memory, by.network_memory);
        if let Some(extended) = &mut amounts.extended {
            let is_everything = *by == everything;
            for ExtendedResource { name, amount } in Arc::make_mut(extended) {
                let by = if is_everything {
                    u64::MAX
                } else {
                    by.extended_amount(name)
                };
                *amount = change(*amount, by);
            }
        }
    }
}

impl Amounts {
    /// The largest amounts, in place of `ANY`.
    const EVERYTHING: Self = Self {
        cpu: u64::MAX,
        task_heap_memory: u64::MAX,
        task_off_heap_memory: u64::MAX,
        managed_memory: u64::MAX,
        network_memory: u64::MAX,
        extended: None,
    };

    #[inline]
    fn fixed(&self) -> [u64; 5] {
        [
            self.cpu,
            self.task_heap_memory,
            self.task_off_heap_memory,
            self.managed_memory,
            self.network_memory,
        ]
    }
}

impl ResourceProfile {
    /// Returns the amounts of cores and of the four kinds of memory; the largest for `ANY`, zero for
    /// `UNKNOWN`.
    #[inline]
    pub(crate) fn fixed_amounts(&self) -> [u64; 5] {
        match &self.0 {
            Kind::Concrete(amounts) => amounts.fixed(),
            Kind::Any => [u64::MAX; 5],
            Kind::Unknown => [0; 5],
        }
    }

    /// Returns the amounts of cores and of the four kinds of memory, if the profile has no other;
    /// `None` for `ANY` and `UNKNOWN`.
    #[inline]
    pub(crate) fn only_amounts(&self) -> Option<[u64; 5]> {
        match &self.0 {
            Kind::Concrete(amounts) if amounts.extended.is_none() => Some(amounts.fixed()),
            _ => None,
        }
    }

    /// Returns `true` if these are the [only amounts](Self::only_amounts) of the profile.
    #[inline(always)]
    pub(crate) fn has_only(&self, amounts: &[u64; 5]) -> bool {
        match &self.0 {
            Kind::Concrete(own) => {
                let differences = (own.fixed().iter().zip(amounts)).fold(0, |all, (own, other)| all | (own ^ other));
                own.extended.is_none() && differences == 0
            }
            Kind::Unknown | Kind::Any => false,
        }
    }

    /// Returns the units of an extended resource; the largest number for `ANY`, zero for `UNKNOWN`.
    #[inline]
    pub(crate) fn extended_units_of(&self, name: &str) -> u64 {
        match &self.0 {
            Kind::Concrete(amounts) => amounts.extended_amount(name),
            Kind::Any => u64::MAX,
            Kind::Unknown => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(cores: f64, memory: u64, gpus: f64) -> ResourceProfile {
        ResourceProfile::builder()
            .cpu_cores(cores)
            .managed_memory_bytes(memory)
            .extended_resource("gpu", gpus)
            .build()
            .expect("valid amounts")
    }

    #[test]
    fn what_was_cut_comes_back() {
        let mut remainder = Remainder::of(&profile(8.0, 100, 2.0));
        assert!(remainder.cut(&profile(3.0, 100, 2.0)));
        assert_eq!(remainder.to_profile(), profile(5.0, 0, 0.0));
        assert!(!remainder.as_slot().is_matching(&profile(1.0, 0, 1.0)));
        remainder.give_back(&profile(3.0, 100, 2.0));
        assert_eq!(remainder.to_profile(), profile(8.0, 100, 2.0));
    }

    #[test]
    fn a_cut_beyond_the_remainder_leaves_nothing_of_it() {
        let mut remainder = Remainder::of(&profile(8.0, 100, 2.0));
        assert!(!remainder.cut(&profile(9.0, 1, 0.0)));
        assert_eq!(remainder.to_profile(), profile(0.0, 99, 2.0));
        assert!(!remainder.cut(&ResourceProfile::ANY));
        assert_eq!(remainder.to_profile(), ResourceProfile::ZERO);
        assert!(remainder.cut(&ResourceProfile::UNKNOWN));
    }

    #[test]
    fn any_remains_any() {
        let mut remainder = Remainder::of(&ResourceProfile::ANY);
        assert!(remainder.cut(&profile(9.0, 1, 0.0)) && remainder.cut(&ResourceProfile::ANY));
        assert_eq!(remainder.lower_to(&ResourceProfile::ZERO), None);
        assert_eq!(remainder.to_profile(), ResourceProfile::ANY);
        assert_eq!(remainder.times(&profile(1.0, 0, 0.0)), Remainder::MAX_TIMES);
    }

    #[test]
    fn a_bound_lowers_only_larger_amounts() {
        let mut remainder = Remainder::of(&profile(8.0, 100, 2.0));
        let gone = remainder.lower_to(&profile(9.0, 60, 1.0));
        assert_eq!(gone, Some(profile(0.0, 40, 1.0)));
        assert_eq!(remainder.to_profile(), profile(8.0, 60, 1.0));
        assert_eq!(remainder.lower_to(&profile(8.0, 60, 1.0)), None);
        assert_eq!(remainder.lower_to(&ResourceProfile::UNKNOWN), None);
    }

    #[test]
    fn the_resource_of_which_the_largest_share_is_used_counts() {
        let used = |total: &ResourceProfile, cut: &ResourceProfile| {
            let mut remainder = Remainder::of(total);
            remainder.cut(cut);
            remainder.used_parts_of(total, 64)
        };
        let total = profile(8.0, 100, 2.0);
        assert_eq!(used(&total, &ResourceProfile::ZERO), 0);
        assert_eq!(used(&total, &profile(4.0, 25, 0.0)), 32);
        assert_eq!(used(&total, &profile(4.0, 75, 0.0)), 48);
        assert_eq!(used(&total, &profile(4.0, 75, 1.75)), 56);
        // 63 of 64 parts are 98.4375 bytes.
        assert_eq!(
            (
                used(&total, &profile(0.0, 98, 0.0)),
                used(&total, &profile(0.0, 99, 0.0))
            ),
            (62, 63)
        );
        assert_eq!(used(&total, &profile(9.0, 0, 0.0)), 64);
        // Nothing of a resource is no share of it.
        assert_eq!(used(&profile(8.0, 0, 0.0), &profile(0.0, 7, 1.0)), 0);
        assert_eq!(used(&ResourceProfile::ZERO, &ResourceProfile::ANY), 0);
        assert_eq!(used(&ResourceProfile::ANY, &total), 0);
        // Parts of the largest amounts do not overflow.
        let largest = profile(0.0, u64::MAX, 0.0);
        assert_eq!(used(&largest, &profile(0.0, u64::MAX / 2, 0.0)), 31);
        assert_eq!(used(&largest, &largest), 64);
    }

    #[test]
    fn slots_are_counted_by_the_scarcest_resource() {
        let remainder = Remainder::of(&profile(8.0, 100, 2.0));
        assert_eq!(remainder.times(&profile(2.0, 10, 0.0)), 4);
        assert_eq!(remainder.times(&profile(2.0, 10, 1.0)), 2);
        assert_eq!(remainder.times(&profile(9.0, 0, 0.0)), 0);
        assert_eq!(remainder.times(&ResourceProfile::ZERO), Remainder::MAX_TIMES);
        assert_eq!(remainder.times(&ResourceProfile::ANY), 0);
    }
}
