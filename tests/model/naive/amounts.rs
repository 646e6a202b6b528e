//! Amounts of resources, with which profiles are calculated.

use std::collections::BTreeMap;

use slot_manager::ResourceProfile;

/// Units of 10⁻⁸ cores or of an extended resource, and bytes of each kind of memory.
///
/// The model calculates with them all the time, so the usual amounts are not on the heap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Amounts {
    /// Cores, then task heap, task off-heap, managed and network memory.
    fixed: [u128; 5],
    /// By name. Absent amounts are zero.
    extended: BTreeMap<String, u128>,
}

const UNITS: f64 = 100_000_000.0;

impl Amounts {
    /// Returns the amounts of a profile; `None` for `UNKNOWN` and `ANY`.
    pub(super) fn of(profile: &ResourceProfile) -> Option<Self> {
        let units = |amount: f64| (amount * UNITS).round() as u128;
        let fixed = [
            units(profile.cpu_cores()?),
            profile.task_heap_memory_bytes()?.into(),
            profile.task_off_heap_memory_bytes()?.into(),
            profile.managed_memory_bytes()?.into(),
            profile.network_memory_bytes()?.into(),
        ];
        let extended = profile.extended_resources();
        let extended = extended.map(|(name, amount)| (name.to_owned(), units(amount)));
        Some(Self {
            fixed,
            extended: extended.filter(|(_, amount)| *amount > 0).collect(),
        })
    }

    /// Returns each amount without that of `other`, at least zero.
    pub(super) fn without(mut self, other: &Self) -> Self {
        for (amount, less) in self.fixed.iter_mut().zip(other.fixed) {
            *amount = amount.saturating_sub(less);
        }
        self.extended.retain(|name, amount| {
            *amount = amount.saturating_sub(other.extended(name));
            *amount > 0
        });
        self
    }

    /// Returns the sums of both amounts.
    pub(super) fn with(mut self, other: &Self) -> Self {
        for (amount, more) in self.fixed.iter_mut().zip(other.fixed) {
            *amount += more;
        }
        for (name, more) in &other.extended {
            *self.extended.entry(name.clone()).or_default() += more;
        }
        self
    }

    /// Returns how many times these amounts hold others, at most `most` times.
    pub(super) fn times(&self, other: &Self, most: usize) -> usize {
        let fixed = self.fixed.into_iter().zip(other.fixed);
        let extended = other.extended.iter().map(|(name, of)| (self.extended(name), *of));
        let times = fixed.chain(extended).filter_map(|(all, of)| all.checked_div(of));
        let least = times.min().map_or(most, |times| usize::try_from(times).unwrap_or(most));
        least.min(most)
    }

    /// Returns the largest share of an amount that `left` lacks, in 64ths, rounded down.
    pub(super) fn used_parts(&self, left: &Self) -> u128 {
        let fixed = self.fixed.into_iter().zip(left.fixed);
        let extended = self.extended.iter().map(|(name, all)| (*all, left.extended(name)));
        let used = |(all, left): (u128, u128)| (all.saturating_sub(left) * 64).checked_div(all);
        fixed.chain(extended).filter_map(used).max().unwrap_or(0)
    }

    /// Returns the profile with these amounts.
    pub(super) fn profile(&self) -> ResourceProfile {
        let amount = |units: u128| units as f64 / UNITS;
        let [cores, memory @ ..] = self.fixed;
        let memory = memory.map(|bytes| u64::try_from(bytes).expect("as large as in a profile"));
        let fixed = ResourceProfile::builder()
            .cpu_cores(amount(cores))
            .task_heap_memory_bytes(memory[0])
            .task_off_heap_memory_bytes(memory[1])
            .managed_memory_bytes(memory[2])
            .network_memory_bytes(memory[3]);
        let all = self.extended.iter().fold(fixed, |builder, (name, units)| {
            builder.extended_resource(name.as_str(), amount(*units))
        });
        all.build().expect("amounts of a profile")
    }

    fn extended(&self, name: &str) -> u128 {
        self.extended.get(name).copied().unwrap_or(0)
    }
}
