//! Measures of profiles: units, parts, and the waste or shortage of a slot for a request.

use std::sync::Arc;

use super::{Amounts, ExtendedResource, Kind, ResourceProfile, UNITS, units};

/// The amounts of a slot beyond a request, ordered by importance: extended resources, memory,
/// cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waste {
    extended: u128,
    memory: u64,
    cpu: u64,
}

impl Waste {
    const NOTHING: Self = Self {
        extended: 0,
        memory: 0,
        cpu: 0,
    };
    const EVERYTHING: Self = Self {
        extended: u128::MAX,
        memory: u64::MAX,
        cpu: u64::MAX,
    };
}

impl ResourceProfile {
    /// Converts a number of cores to units; `None` if the number is invalid.
    pub(crate) fn units_of_cores(cores: f64) -> Option<u64> {
        units("cpu", cores).ok()
    }

    /// Converts units to a number of cores.
    pub(crate) fn cores_of_units(units: u128) -> f64 {
        units as f64 / UNITS as f64
    }

    /// Returns the cores in units; zero for `UNKNOWN` and `ANY`.
    pub(crate) fn cpu_units(&self) -> u64 {
        self.amounts().map_or(0, |amounts| amounts.cpu)
    }

    /// Returns the sum of all kinds of memory in bytes; zero for `UNKNOWN` and `ANY`.
    pub(crate) fn memory_bytes_or_zero(&self) -> u64 {
        self.total_memory_bytes().unwrap_or_default()
    }

    /// Returns the task heap, task off-heap, managed and network memory in bytes; zero for
    /// `UNKNOWN` and `ANY`.
    pub(crate) fn kinds_of_memory(&self) -> [u64; 4] {
        self.amounts().map_or([0; 4], |amounts| {
            [
                amounts.task_heap_memory,
                amounts.task_off_heap_memory,
                amounts.managed_memory,
                amounts.network_memory,
            ]
        })
    }

    /// Returns the extended resources in units, ordered by name; none for `UNKNOWN` and `ANY`.
    pub(crate) fn extended_units(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let extended = self.amounts().map_or(&[][..], |amounts| amounts.extended());
        extended.iter().map(|resource| (&resource.name, resource.amount))
    }

    /// Returns one of `parts` equal parts; `None` if `parts` is zero.
    ///
    /// Memory is rounded down to bytes. Cores and extended resources are rounded as a builder
    /// rounds the quotients of the `f64` amounts.
    pub(crate) fn divided_by(&self, parts: u32) -> Option<Self> {
        self.divided(parts, |units| part_of_units(units, parts))
    }

    /// Returns one of `parts` equal parts, all amounts rounded down; `None` if `parts` is zero.
    pub(crate) fn divided_down_by(&self, parts: u32) -> Option<Self> {
        self.divided(parts, |units| units / u64::from(parts))
    }

    fn divided(&self, parts: u32, part_of: impl Fn(u64) -> u64) -> Option<Self> {
        if parts == 0 {
            return None;
        }
        let Kind::Concrete(amounts) = &self.0 else {
            return Some(self.clone());
        };
        let memory = u64::from(parts);
        let part = Amounts {
            cpu: part_of(amounts.cpu),
            task_heap_memory: amounts.task_heap_memory / memory,
            task_off_heap_memory: amounts.task_off_heap_memory / memory,
            managed_memory: amounts.managed_memory / memory,
            network_memory: amounts.network_memory / memory,
            extended: None,
        };
        let extended = amounts.extended().iter().map(|resource| ExtendedResource {
            name: Arc::clone(&resource.name),
            amount: part_of(resource.amount),
        });
        // No kind of memory grows, so the total memory does not overflow.
        part.into_profile(extended.collect()).ok()
    }

    /// Returns the waste of a slot with this profile that fits a request.
    ///
    /// `UNKNOWN` wastes nothing. `ANY` wastes most, because it fits every other request.
    #[inline]
    pub(crate) fn waste(&self, required: &Self) -> Waste {
        let amounts = match &self.0 {
            Kind::Unknown => return Waste::NOTHING,
            Kind::Any => return Waste::EVERYTHING,
            Kind::Concrete(amounts) => amounts,
        };
        let excess = |resource: &ExtendedResource| {
            let needed = required
                .amounts()
                .map_or(0, |needs| needs.extended_amount(&resource.name));
            u128::from(resource.amount.saturating_sub(needed))
        };
        Waste {
            extended: amounts.extended().iter().map(excess).sum(),
            memory: self
                .memory_bytes_or_zero()
                .saturating_sub(required.memory_bytes_or_zero()),
            cpu: amounts.cpu.saturating_sub(required.cpu_units()),
        }
    }

    /// Returns the names of the resources of which a slot with this profile has less than a request
    /// needs.
    ///
    /// The names are those in errors. If one of the profiles is `UNKNOWN` or `ANY`, there are none.
    pub(crate) fn shortages<'a>(&'a self, required: &'a Self) -> impl Iterator<Item = &'a str> {
        let (has, needs) = (self.amounts(), required.amounts());
        let both = has.zip(needs);
        let fixed = both.map_or([false; 5], |(has, needs)| {
            [
                has.cpu < needs.cpu,
                has.task_heap_memory < needs.task_heap_memory,
                has.task_off_heap_memory < needs.task_off_heap_memory,
                has.managed_memory < needs.managed_memory,
                has.network_memory < needs.network_memory,
            ]
        });
        let names = [
            "cpu",
            "task heap memory",
            "task off-heap memory",
            "managed memory",
            "network memory",
        ];
        let extended = both.into_iter().flat_map(|(has, needs)| {
            let is_short = |needed: &&ExtendedResource| has.extended_amount(&needed.name) < needed.amount;
            needs.extended().iter().filter(is_short).map(|needed| &*needed.name)
        });
        let fixed = names
            .into_iter()
            .zip(fixed)
            .filter_map(|(name, is_short)| is_short.then_some(name));
        fixed.chain(extended)
    }
}

/// Returns the units of the amount that a request for one part has, if it divides an `f64`.
///
/// The quotient of the largest amounts is no legal amount. Then no request can be made of it, and
/// the part is rounded down.
fn part_of_units(of_all: u64, parts: u32) -> u64 {
    let quotient = of_all as f64 / UNITS as f64 / f64::from(parts);
    units("", quotient).unwrap_or(of_all / u64::from(parts))
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
    fn parts_are_rounded_as_the_quotients_of_a_request() {
        assert_eq!(profile(4.0, 11, 2.0).divided_by(4), Some(profile(1.0, 2, 0.5)));
        let third = profile(1.0, 2, 2.0).divided_by(3);
        assert_eq!(third, Some(profile(0.333_333_33, 0, 0.666_666_67)));
        assert_eq!(profile(1.0, 1, 1.0).divided_by(0), None);
        assert_eq!(ResourceProfile::ANY.divided_by(3), Some(ResourceProfile::ANY));
        assert_eq!(ResourceProfile::ANY.divided_by(0), None);
        let down = profile(2.0, 2, 2.0).divided_down_by(3);
        assert_eq!(down, Some(profile(0.666_666_66, 0, 0.666_666_66)));
    }

    #[test]
    fn waste_is_ordered_by_extended_resources_then_memory_then_cores() {
        let request = profile(1.0, 1, 0.0);
        let [gpu, memory, cores, exact] = [(1.0, 1, 1.0), (1.0, 9, 0.0), (9.0, 1, 0.0), (1.0, 1, 0.0)]
            .map(|(a, b, c)| profile(a, b, c).waste(&request));
        assert!(gpu > memory && memory > cores && cores > exact);
        assert_eq!(exact, Waste::NOTHING);
        assert!(ResourceProfile::ANY.waste(&request) > gpu);
        assert_eq!(
            ResourceProfile::UNKNOWN.waste(&ResourceProfile::UNKNOWN),
            Waste::NOTHING
        );
    }

    #[test]
    fn shortages_have_the_names_that_errors_use() {
        let (has, needs) = (profile(1.0, 1, 0.0), profile(2.0, 2, 1.0));
        assert_eq!(
            has.shortages(&needs).collect::<Vec<_>>(),
            ["cpu", "managed memory", "gpu"]
        );
        assert_eq!(needs.shortages(&has).count(), 0);
        assert_eq!(ResourceProfile::UNKNOWN.shortages(&needs).count(), 0);
    }
}
