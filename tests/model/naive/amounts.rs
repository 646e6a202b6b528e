//! Amounts of resources by name, with which profiles are calculated.

use std::collections::BTreeMap;

use slot_manager::ResourceProfile;

/// Units of 10⁻⁸ cores or of an extended resource, and bytes of each kind of memory, by name.
/// Absent amounts are zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Amounts(BTreeMap<String, u128>);

const CPU: &str = "cpu";
const TASK_HEAP: &str = "task heap";
const TASK_OFF_HEAP: &str = "task off-heap";
const MANAGED: &str = "managed";
const NETWORK: &str = "network";
const FIXED: [&str; 5] = [CPU, TASK_HEAP, TASK_OFF_HEAP, MANAGED, NETWORK];

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
        let fixed = FIXED.into_iter().map(str::to_owned).zip(fixed);
        let extended = profile
            .extended_resources()
            .map(|(name, amount)| (format!("extended {name}"), units(amount)));
        Some(Self(fixed.chain(extended).filter(|(_, amount)| *amount > 0).collect()))
    }

    /// Returns each amount without that of `other`, at least zero.
    pub(super) fn without(&self, other: &Self) -> Self {
        let left = |(name, amount): (&String, &u128)| (name.clone(), amount.saturating_sub(other.get(name)));
        Self(self.0.iter().map(left).filter(|(_, amount)| *amount > 0).collect())
    }

    /// Returns the sums of both amounts.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut sums = self.0.clone();
        for (name, amount) in &other.0 {
            *sums.entry(name.clone()).or_default() += amount;
        }
        Self(sums)
    }

    /// Returns how many times these amounts hold others, at most `most` times.
    pub(super) fn times(&self, other: &Self, most: usize) -> usize {
        let times = other.0.iter().map(|(name, amount)| self.get(name) / amount);
        let least = times.min().map_or(most, |times| usize::try_from(times).unwrap_or(most));
        least.min(most)
    }

    /// Returns the profile with these amounts.
    pub(super) fn profile(&self) -> ResourceProfile {
        let bytes = |name| u64::try_from(self.get(name)).expect("as large as in a profile");
        let cores = |name| self.get(name) as f64 / UNITS;
        let fixed = ResourceProfile::builder()
            .cpu_cores(cores(CPU))
            .task_heap_memory_bytes(bytes(TASK_HEAP))
            .task_off_heap_memory_bytes(bytes(TASK_OFF_HEAP))
            .managed_memory_bytes(bytes(MANAGED))
            .network_memory_bytes(bytes(NETWORK));
        let extended = self
            .0
            .keys()
            .filter_map(|name| Some((name.strip_prefix("extended ")?, name)));
        let all = extended.fold(fixed, |builder, (of, name)| builder.extended_resource(of, cores(name)));
        all.build().expect("amounts of a profile")
    }

    fn get(&self, name: &str) -> u128 {
        self.0.get(name).copied().unwrap_or(0)
    }
}
