//! How profiles are measured: counted, divided, and how much a slot has beyond a request, or lacks of it.

use std::sync::Arc;

use super::{ExtendedResource, Kind, ResourceProfile, UNITS, units};

/// What a slot has beyond a request, in the order in which it matters: extended resources, memory, cpu.
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
    /// A number of cores in the parts that are told apart; `None` if it is none.
    pub(crate) fn units_of_cores(cores: f64) -> Option<u64> {
        units("cpu", cores).ok()
    }

    /// The other way round.
    pub(crate) fn cores_of_units(units: u128) -> f64 {
        units as f64 / UNITS as f64
    }

    /// The parts of cores; zero if they are not known.
    pub(crate) fn cpu_units(&self) -> u64 {
        self.amounts().map_or(0, |amounts| amounts.cpu)
    }

    /// The sum of all kinds of memory in bytes; zero if it is not known.
    pub(crate) fn memory_or_nothing(&self) -> u64 {
        self.total_memory_bytes().unwrap_or_default()
    }

    /// One of so many equal parts, rounded down; `None` for none of them.
    pub(crate) fn divided_by(&self, parts: u32) -> Option<Self> {
        let parts = u64::from(parts);
        let Kind::Concrete(amounts) = &self.0 else {
            return (parts > 0).then(|| self.clone());
        };
        let mut part = amounts.clone();
        part.cpu = amounts.cpu.checked_div(parts)?;
        part.task_heap_memory /= parts;
        part.task_off_heap_memory /= parts;
        part.managed_memory /= parts;
        part.network_memory /= parts;
        let extended = amounts.extended().iter().map(|resource| ExtendedResource {
            name: Arc::clone(&resource.name),
            amount: resource.amount / parts,
        });
        // The sum of parts is no more than that of the whole.
        part.into_profile(extended.collect()).ok()
    }

    /// What a slot with this profile has beyond a request that it fits. Of what nothing is known nothing is wasted,
    /// [`ANY`](Self::ANY) could serve everything else.
    pub(crate) fn waste(&self, required: &Self) -> Waste {
        let amounts = match &self.0 {
            Kind::Unknown => return Waste::NOTHING,
            Kind::Any => return Waste::EVERYTHING,
            Kind::Concrete(amounts) => amounts,
        };
        let beyond = |resource: &ExtendedResource| {
            let needed = required
                .amounts()
                .map_or(0, |needs| needs.extended_amount(&resource.name));
            u128::from(resource.amount.saturating_sub(needed))
        };
        Waste {
            extended: amounts.extended().iter().map(beyond).sum(),
            memory: self.memory_or_nothing().saturating_sub(required.memory_or_nothing()),
            cpu: amounts.cpu.saturating_sub(required.cpu_units()),
        }
    }

    /// The resources of which a slot with this profile has less than a request needs, by the names they have in errors
    /// and displays. Empty where a kind that is not concrete decides.
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
    fn a_part_of_a_profile_is_rounded_down_in_everything() {
        assert_eq!(profile(4.0, 11, 2.0).divided_by(4), Some(profile(1.0, 2, 0.5)));
        assert_eq!(profile(1.0, 1, 1.0).divided_by(0), None);
        assert_eq!(ResourceProfile::ANY.divided_by(3), Some(ResourceProfile::ANY));
        assert_eq!(ResourceProfile::ANY.divided_by(0), None);
    }

    #[test]
    fn extended_resources_are_wasted_before_memory_and_memory_before_cores() {
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
    fn shortages_are_named_as_everywhere_else() {
        let (has, needs) = (profile(1.0, 1, 0.0), profile(2.0, 2, 1.0));
        assert_eq!(
            has.shortages(&needs).collect::<Vec<_>>(),
            ["cpu", "managed memory", "gpu"]
        );
        assert_eq!(needs.shortages(&has).count(), 0);
        assert_eq!(ResourceProfile::UNKNOWN.shortages(&needs).count(), 0);
    }
}
