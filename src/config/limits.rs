//! Limits on slots, cores and memory, and quantities that are compared with them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use super::{WorkerDescription, WorkerPolicy, keys};
use crate::ResourceProfile;

/// The quantity that a limit bounds.
///
/// ```
/// use slot_manager::config::Limit;
///
/// assert_eq!(Limit::Slots.to_string(), "slots");
/// assert_eq!(Limit::Slots.key(), "slotmanager.number-of-slots.max");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Limit {
    /// The number of slots, limited by [`max_slots`](WorkerPolicy::max_slots).
    Slots,
    /// The cores of all slots, limited by
    /// [`max_total_cpu_cores`](WorkerPolicy::max_total_cpu_cores).
    CpuCores,
    /// The memory of all slots, limited by
    /// [`max_total_memory_bytes`](WorkerPolicy::max_total_memory_bytes).
    Memory,
}

impl Limit {
    /// Returns the key of the option that sets the limit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Slots => keys::MAX_SLOTS,
            Self::CpuCores => keys::MAX_TOTAL_CPU,
            Self::Memory => keys::MAX_TOTAL_MEMORY,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slots => "slots",
            Self::CpuCores => "cpu",
            Self::Memory => "memory",
        })
    }
}

/// A number of slots with their total cores and memory, exact to a fraction of a slot.
///
/// Sums of real slots fit in 128 bits: there are at most 2³² slots with 64 + 17 bits each. Sums
/// with requested slots saturate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub(crate) slots: usize,
    /// In units of 10⁻⁸ cores, times the [parts](Measure) of the measure.
    cpu: u128,
    /// In bytes, times the parts of the measure.
    memory: u128,
}

/// Converts slots to quantities.
///
/// The slots of a described worker are its total divided by their number, which is rounded in the
/// slot profile. So amounts are multiplied by that number before they are added. Then the sum of
/// all slots of a worker is exactly its total.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    /// The number of slots of a described worker.
    parts: u128,
    described: Option<WorkerDescription>,
}

impl Measure {
    pub(crate) fn new(described: Option<&WorkerDescription>) -> Self {
        Self {
            parts: described.map_or(1, |worker| worker.slots() as u128),
            described: described.cloned(),
        }
    }

    /// Returns the quantity of one slot. Profiles without amounts count as zero cores and bytes.
    pub(crate) fn of_slot(&self, profile: &ResourceProfile) -> Quantity {
        let (parts_of, parts) = match &self.described {
            Some(worker) if worker.slot_profile() == profile => (worker.total(), 1),
            _ => (profile, self.parts),
        };
        Quantity {
            slots: 1,
            cpu: u128::from(parts_of.cpu_units()) * parts,
            memory: u128::from(parts_of.memory_bytes_or_zero()) * parts,
        }
    }

    /// Returns the quantity of a worker with this total that counts as `slots` slots.
    pub(crate) fn of_total(&self, total: &ResourceProfile, slots: usize) -> Quantity {
        Quantity {
            slots,
            cpu: u128::from(total.cpu_units()) * self.parts,
            memory: u128::from(total.memory_bytes_or_zero()) * self.parts,
        }
    }

    /// Returns the quantity of all slots of a described worker; zero without a description.
    pub(crate) fn of_worker(&self) -> Quantity {
        self.described.as_ref().map_or_else(Quantity::default, |worker| {
            self.of_slot(worker.slot_profile()).times(worker.slots())
        })
    }
}

impl Quantity {
    /// Returns this quantity times `factor`; saturates.
    pub(crate) fn times(self, factor: usize) -> Self {
        Self {
            slots: self.slots.saturating_mul(factor),
            cpu: self.cpu.saturating_mul(factor as u128),
            memory: self.memory.saturating_mul(factor as u128),
        }
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            slots: self.slots.saturating_add(other.slots),
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }
}

impl AddAssign for Quantity {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.slots += other.slots;
        self.cpu += other.cpu;
        self.memory += other.memory;
    }
}

/// Subtracts a quantity that was added before, so it cannot underflow.
impl SubAssign for Quantity {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        self.slots -= other.slots;
        self.cpu -= other.cpu;
        self.memory -= other.memory;
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

/// The largest legal quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits(Quantity);

impl Limits {
    /// Returns the first limit that a quantity exceeds.
    pub(crate) fn exceeded_by(&self, quantity: Quantity) -> Option<Limit> {
        if quantity.slots > self.0.slots {
            Some(Limit::Slots)
        } else if quantity.cpu > self.0.cpu {
            Some(Limit::CpuCores)
        } else if quantity.memory > self.0.memory {
            Some(Limit::Memory)
        } else {
            None
        }
    }
}

impl WorkerPolicy {
    /// Returns the measure of slots.
    pub(crate) fn measure(&self) -> Measure {
        Measure::new(Some(&self.description))
    }

    /// Returns the limits of a valid policy; `None` if it has none.
    pub(crate) fn limits(&self) -> Option<Limits> {
        let is_limited =
            self.max_slots.is_some() || self.max_total_cpu_cores.is_some() || self.max_total_memory_bytes.is_some();
        is_limited.then(|| self.all_limits())
    }

    /// Returns the limits, with the maximum in place of absent ones.
    pub(super) fn all_limits(&self) -> Limits {
        let parts = self.description.slots() as u128;
        let in_parts = |limit: Option<u64>| limit.map_or(u128::MAX, |limit| u128::from(limit) * parts);
        Limits(Quantity {
            slots: self.max_slots.unwrap_or(usize::MAX),
            cpu: in_parts(self.max_total_cpu_cores.and_then(ResourceProfile::units_of_cores)),
            memory: in_parts(self.max_total_memory_bytes),
        })
    }
}
