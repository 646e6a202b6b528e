//! Resource profiles: the resources of a slot, or those that a request needs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

mod amounts;
mod measures;
mod remainder;
#[cfg(feature = "serde")]
mod serialized;

pub(crate) use self::measures::Waste;
pub(crate) use self::remainder::Remainder;

pub use self::amounts::{ResourceAmounts, ResourceProfileKind};

/// The units in which one core, or one unit of an extended resource, is counted.
const UNITS: u64 = 100_000_000;
const MEBIBYTE: u64 = 1 << 20;

/// The resources of a slot, or those that a request needs.
///
/// There are three kinds of profiles:
///
/// | kind | as a slot | as a request |
/// |---|---|---|
/// | [`UNKNOWN`](Self::UNKNOWN) | fits only requests for `UNKNOWN` | every slot fits it |
/// | [`ANY`](Self::ANY) | fits every request | only slots of `ANY` fit it |
/// | [amounts](Self::builder) | fits requests for these or less | slots with these or more fit it |
///
/// Cores and extended resources are counted in units of 10⁻⁸ and rounded half up, memory in bytes.
/// All amounts are integers inside, so profiles can be compared and hashed. An extended resource
/// with the amount zero equals an absent one.
///
/// A profile that is built from the amounts of another equals it, for up to 20 million cores or
/// units. Above that, the last digits of a fraction may be lost.
///
/// ```
/// use slot_manager::ResourceProfile;
///
/// let slot = ResourceProfile::builder()
///     .cpu_cores(8.0)
///     .task_heap_memory_mebibytes(4096)
///     .extended_resource("gpu", 1.0)
///     .build()?;
/// let request = ResourceProfile::builder().cpu_cores(0.5).build()?;
/// assert!(slot.is_matching(&request));
/// assert!(!request.is_matching(&slot));
/// # Ok::<(), slot_manager::error::ResourceProfileError>(())
/// ```
///
/// With the feature `serde` it is readable in human-readable formats such as JSON: `"unknown"`,
/// `"any"`, or an object of [amounts](ResourceAmounts) in cores and bytes, such as
/// `{"cpu_cores": 0.5, "managed_memory_bytes": 1024}`. It is always read back as an equal profile.
/// For that, an amount with more digits than a floating-point number can carry is written as a
/// decimal text, such as `"100000000.00000003"`. That happens only to fractions above 16 million
/// cores or units, and to whole numbers above 20 billion. Other formats have exact integers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceProfile(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Unknown,
    Any,
    Concrete(Amounts),
}

#[derive(Clone, Default, Eq)]
struct Amounts {
    cpu: u64,
    task_heap_memory: u64,
    task_off_heap_memory: u64,
    managed_memory: u64,
    network_memory: u64,
    /// Ordered by name, without zero amounts. `None` if empty, so that most profiles own no memory.
    extended: Option<Arc<[ExtendedResource]>>,
}

/// Compares all amounts without a branch, because compared profiles are nearly always equal.
impl PartialEq for Amounts {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let differences = (self.cpu ^ other.cpu)
            | (self.task_heap_memory ^ other.task_heap_memory)
            | (self.task_off_heap_memory ^ other.task_off_heap_memory)
            | (self.managed_memory ^ other.managed_memory)
            | (self.network_memory ^ other.network_memory);
        differences == 0 && self.extended == other.extended
    }
}

impl Hash for Amounts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cpu.hash(state);
        self.task_heap_memory.hash(state);
        self.task_off_heap_memory.hash(state);
        self.managed_memory.hash(state);
        self.network_memory.hash(state);
        self.extended.hash(state);
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ExtendedResource {
    name: Arc<str>,
    amount: u64,
}

/// Two amounts of a profile, for a fast check that rules out most profiles that do not match.
///
/// If a profile matches a required one, its sketch covers the sketch of the required one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sketch([u64; 2]);

impl Sketch {
    /// Returns `true` if both amounts are at least as large as those of `other`.
    #[inline]
    pub(crate) fn is_matching(self, other: Self) -> bool {
        self.0[0] >= other.0[0] && self.0[1] >= other.0[1]
    }
}

/// The reason why amounts are refused. The refused call changes nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ResourceProfileError {
    /// An amount is negative, infinite, not a number, or too large.
    #[error(
        "{resource}: {amount} is not an amount (it must be finite, at least 0 and at most {})",
        max_amount()
    )]
    InvalidAmount {
        /// The resource, such as `cpu` or the name of an extended resource.
        resource: String,
        /// The given amount.
        amount: f64,
    },
    /// A sum, a product or a number of bytes does not fit in 64 bits.
    #[error("{resource}: the amount is too large")]
    Overflow {
        /// The resource, such as `memory` for the total of all kinds of memory.
        resource: String,
    },
    /// The amount to subtract is larger than the amount that is present.
    #[error("{resource}: the amount to subtract is larger than the amount present")]
    Underflow {
        /// The resource.
        resource: String,
    },
    /// An extended resource is given twice.
    #[error("{resource}: the extended resource is given twice")]
    Duplicate {
        /// The resource.
        resource: String,
    },
    /// The profile is [`UNKNOWN`](ResourceProfile::UNKNOWN) or [`ANY`](ResourceProfile::ANY).
    #[error("the profile is UNKNOWN or ANY and has no amounts")]
    NoAmounts,
}

/// Returns the largest number of whole cores or units.
fn max_amount() -> u64 {
    u64::MAX / UNITS
}

fn overflow(resource: &str) -> ResourceProfileError {
    ResourceProfileError::Overflow {
        resource: resource.to_owned(),
    }
}

/// Converts a number of cores or units to units of 10⁻⁸.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a whole number from 0 to 2^64, and the cast saturates"
)]
fn units(resource: &str, amount: f64) -> Result<u64, ResourceProfileError> {
    let scaled = (amount * UNITS as f64).round();
    // `u64::MAX as f64` rounds up to 2^64. The largest amounts read as that number of cores or
    // units, so it is legal and means the largest amount. The range has no NaN.
    if (0.0..=u64::MAX as f64).contains(&scaled) && amount >= 0.0 {
        Ok(scaled as u64)
    } else {
        Err(ResourceProfileError::InvalidAmount {
            resource: resource.to_owned(),
            amount,
        })
    }
}

impl ResourceProfile {
    /// Unknown resources. As a request, every slot fits it; as a slot, it fits only requests for
    /// `UNKNOWN`.
    pub const UNKNOWN: Self = Self(Kind::Unknown);
    /// Any resources. As a slot, it fits every request; as a request, only slots of `ANY` fit it.
    pub const ANY: Self = Self(Kind::Any);
    /// No resources. As a request, every slot fits it except [`UNKNOWN`](Self::UNKNOWN).
    pub const ZERO: Self = Self(Kind::Concrete(Amounts {
        cpu: 0,
        task_heap_memory: 0,
        task_off_heap_memory: 0,
        managed_memory: 0,
        network_memory: 0,
        extended: None,
    }));

    /// Returns a builder in which all amounts are zero.
    pub fn builder() -> ResourceProfileBuilder {
        ResourceProfileBuilder::default()
    }

    /// Returns `true` if a slot with this profile fits a request for `required`.
    ///
    /// Every amount must be at least as large as the required one (Flink's rule before 1.14). For
    /// `UNKNOWN` and `ANY` see the table of [`ResourceProfile`].
    ///
    /// Cost: O(required extended resources).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::ResourceProfile;
    ///
    /// let slot = ResourceProfile::builder().cpu_cores(2.0).build()?;
    /// assert!(slot.is_matching(&ResourceProfile::ZERO));
    /// assert!(slot.is_matching(&ResourceProfile::UNKNOWN));
    /// assert!(!slot.is_matching(&ResourceProfile::ANY));
    /// # Ok::<(), slot_manager::error::ResourceProfileError>(())
    /// ```
    #[inline]
    pub fn is_matching(&self, required: &Self) -> bool {
        match (&self.0, &required.0) {
            (Kind::Concrete(has), Kind::Concrete(needs)) => has.is_matching(needs),
            (Kind::Any, _) | (_, Kind::Unknown) => true,
            (Kind::Unknown, _) | (_, Kind::Any) => false,
        }
    }

    /// Returns the number of cores; `None` for `UNKNOWN` and `ANY`.
    pub fn cpu_cores(&self) -> Option<f64> {
        self.amounts().map(|amounts| amounts.cpu as f64 / UNITS as f64)
    }

    /// Returns the task heap memory in bytes; `None` for `UNKNOWN` and `ANY`.
    pub fn task_heap_memory_bytes(&self) -> Option<u64> {
        self.amounts().map(|amounts| amounts.task_heap_memory)
    }

    /// Returns the task off-heap memory in bytes; `None` for `UNKNOWN` and `ANY`.
    pub fn task_off_heap_memory_bytes(&self) -> Option<u64> {
        self.amounts().map(|amounts| amounts.task_off_heap_memory)
    }

    /// Returns the managed memory in bytes; `None` for `UNKNOWN` and `ANY`.
    pub fn managed_memory_bytes(&self) -> Option<u64> {
        self.amounts().map(|amounts| amounts.managed_memory)
    }

    /// Returns the network memory in bytes; `None` for `UNKNOWN` and `ANY`.
    pub fn network_memory_bytes(&self) -> Option<u64> {
        self.amounts().map(|amounts| amounts.network_memory)
    }

    /// Returns the sum of all kinds of memory in bytes; `None` for `UNKNOWN` and `ANY`.
    ///
    /// The sum does not overflow, because [`build`](ResourceProfileBuilder::build) refuses such a
    /// profile.
    pub fn total_memory_bytes(&self) -> Option<u64> {
        self.amounts().and_then(Amounts::total_memory)
    }

    /// Returns the amount of an extended resource; `None` for `UNKNOWN` and `ANY`.
    ///
    /// The amount of an absent resource is zero.
    ///
    /// Cost: O(log extended resources).
    pub fn extended_resource(&self, name: &str) -> Option<f64> {
        self.amounts()
            .map(|amounts| amounts.extended_amount(name) as f64 / UNITS as f64)
    }

    /// Returns the extended resources with their amounts, ordered by name; none for `UNKNOWN` and
    /// `ANY`.
    pub fn extended_resources(&self) -> impl Iterator<Item = (&str, f64)> {
        self.amounts()
            .map_or(&[][..], Amounts::extended)
            .iter()
            .map(|resource| (&*resource.name, resource.amount as f64 / UNITS as f64))
    }

    /// Returns the sum of two profiles.
    ///
    /// If either profile is `ANY`, so is the sum. Otherwise, if either is `UNKNOWN`, so is the sum.
    ///
    /// Cost: O(extended resources).
    ///
    /// # Errors
    /// [`ResourceProfileError::Overflow`] if an amount or the total memory does not fit in 64 bits.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::ResourceProfile;
    ///
    /// let slot = ResourceProfile::builder().cpu_cores(1.5).build()?;
    /// let two_slots = slot.checked_add(&slot)?;
    /// assert_eq!(two_slots, slot.checked_mul(2)?);
    /// assert_eq!(two_slots.checked_sub(&slot)?, slot);
    /// # Ok::<(), slot_manager::error::ResourceProfileError>(())
    /// ```
    pub fn checked_add(&self, other: &Self) -> Result<Self, ResourceProfileError> {
        self.combine(other, |resource, a, b| {
            a.checked_add(b).ok_or_else(|| overflow(resource))
        })
    }

    /// Returns this profile without the amounts of `other`.
    ///
    /// If either profile is `ANY`, so is the result. Otherwise, if either is `UNKNOWN`, so is the
    /// result.
    ///
    /// Cost: O(extended resources).
    ///
    /// # Errors
    /// [`ResourceProfileError::Underflow`] if an amount of `other` is larger than the own amount.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, ResourceProfileError> {
        self.combine(other, |resource, a, b| {
            a.checked_sub(b).ok_or_else(|| ResourceProfileError::Underflow {
                resource: resource.to_owned(),
            })
        })
    }

    /// Returns this profile with all amounts multiplied by `factor`.
    ///
    /// `ANY` and `UNKNOWN` do not change, even with the factor zero.
    ///
    /// Cost: O(extended resources).
    ///
    /// # Errors
    /// [`ResourceProfileError::Overflow`] if an amount or the total memory does not fit in 64 bits.
    pub fn checked_mul(&self, factor: u64) -> Result<Self, ResourceProfileError> {
        self.combine(self, |resource, amount, _| {
            amount.checked_mul(factor).ok_or_else(|| overflow(resource))
        })
    }

    /// Returns the sketch of this profile.
    #[inline]
    pub(crate) fn sketch(&self) -> Sketch {
        match &self.0 {
            Kind::Unknown => Sketch([0; 2]),
            Kind::Any => Sketch([u64::MAX; 2]),
            Kind::Concrete(amounts) => Sketch([amounts.cpu, amounts.task_heap_memory]),
        }
    }

    fn amounts(&self) -> Option<&Amounts> {
        match &self.0 {
            Kind::Concrete(amounts) => Some(amounts),
            Kind::Unknown | Kind::Any => None,
        }
    }

    /// Combines the amounts of two profiles one by one.
    fn combine(
        &self,
        other: &Self,
        combine: impl Fn(&str, u64, u64) -> Result<u64, ResourceProfileError>,
    ) -> Result<Self, ResourceProfileError> {
        let (left, right) = match (&self.0, &other.0) {
            (Kind::Concrete(left), Kind::Concrete(right)) => (left, right),
            (Kind::Any, _) | (_, Kind::Any) => return Ok(Self::ANY),
            (Kind::Unknown, _) | (_, Kind::Unknown) => return Ok(Self::UNKNOWN),
        };
        let mut names: Vec<&Arc<str>> = left
            .extended()
            .iter()
            .chain(right.extended())
            .map(|resource| &resource.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        let extended = names
            .into_iter()
            .map(|name| {
                let amount = combine(name, left.extended_amount(name), right.extended_amount(name))?;
                Ok(ExtendedResource {
                    name: Arc::clone(name),
                    amount,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Amounts {
            cpu: combine("cpu", left.cpu, right.cpu)?,
            task_heap_memory: combine("task heap memory", left.task_heap_memory, right.task_heap_memory)?,
            task_off_heap_memory: combine(
                "task off-heap memory",
                left.task_off_heap_memory,
                right.task_off_heap_memory,
            )?,
            managed_memory: combine("managed memory", left.managed_memory, right.managed_memory)?,
            network_memory: combine("network memory", left.network_memory, right.network_memory)?,
            extended: None,
        }
        .into_profile(extended)
    }
}

impl Amounts {
    fn extended(&self) -> &[ExtendedResource] {
        self.extended.as_deref().unwrap_or_default()
    }

    fn extended_amount(&self, name: &str) -> u64 {
        let extended = self.extended();
        extended
            .binary_search_by(|resource| (*resource.name).cmp(name))
            .ok()
            .and_then(|at| extended.get(at))
            .map_or(0, |resource| resource.amount)
    }

    #[inline]
    fn is_matching(&self, needs: &Self) -> bool {
        self.cpu >= needs.cpu
            && self.task_heap_memory >= needs.task_heap_memory
            && self.task_off_heap_memory >= needs.task_off_heap_memory
            && self.managed_memory >= needs.managed_memory
            && self.network_memory >= needs.network_memory
            && needs
                .extended()
                .iter()
                .all(|needed| self.extended_amount(&needed.name) >= needed.amount)
    }

    fn total_memory(&self) -> Option<u64> {
        self.task_heap_memory
            .checked_add(self.task_off_heap_memory)?
            .checked_add(self.managed_memory)?
            .checked_add(self.network_memory)
    }

    /// Makes a profile of these amounts and of extended resources that are ordered by name.
    fn into_profile(mut self, mut extended: Vec<ExtendedResource>) -> Result<ResourceProfile, ResourceProfileError> {
        if self.total_memory().is_none() {
            return Err(overflow("memory"));
        }
        extended.retain(|resource| resource.amount > 0);
        self.extended = (!extended.is_empty()).then(|| extended.into());
        Ok(ResourceProfile(Kind::Concrete(self)))
    }
}

impl fmt::Display for ResourceProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = match &self.0 {
            Kind::Unknown => return f.write_str("UNKNOWN"),
            Kind::Any => return f.write_str("ANY"),
            Kind::Concrete(amounts) => amounts,
        };
        write!(f, "{{cpu: {}", amounts.cpu as f64 / UNITS as f64)?;
        for (name, bytes) in [
            ("task heap", amounts.task_heap_memory),
            ("task off-heap", amounts.task_off_heap_memory),
            ("managed", amounts.managed_memory),
            ("network", amounts.network_memory),
        ] {
            if bytes > 0 && bytes % MEBIBYTE == 0 {
                write!(f, ", {name}: {} MiB", bytes / MEBIBYTE)?;
            } else if bytes > 0 {
                write!(f, ", {name}: {bytes} B")?;
            }
        }
        for (name, amount) in self.extended_resources() {
            write!(f, ", {name}: {amount}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for ResourceProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceProfile {self}")
    }
}

/// A builder of a [`ResourceProfile`]. Amounts that are not set are zero.
///
/// The methods accept every value; [`build`](Self::build) refuses invalid ones.
///
/// ```
/// use slot_manager::error::ResourceProfileError;
/// use slot_manager::ResourceProfile;
///
/// let profile = ResourceProfile::builder()
///     .cpu_cores(0.5)
///     .managed_memory_mebibytes(512)
///     .extended_resource("gpu", 1.0)
///     .build()?;
/// assert_eq!(profile.to_string(), "{cpu: 0.5, managed: 512 MiB, gpu: 1}");
///
/// let refused = ResourceProfile::builder().cpu_cores(-1.0).build();
/// assert!(matches!(refused, Err(ResourceProfileError::InvalidAmount { .. })));
/// # Ok::<(), ResourceProfileError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ResourceProfileBuilder {
    cpu: f64,
    task_heap_memory: Option<u64>,
    task_off_heap_memory: Option<u64>,
    managed_memory: Option<u64>,
    network_memory: Option<u64>,
    extended: Vec<(Arc<str>, f64)>,
    /// A kind of memory whose bytes do not fit in 64 bits.
    overflow: Option<&'static str>,
}

macro_rules! memory_setters {
    ($($bytes:ident, $mebibytes:ident, $field:ident, $name:literal;)*) => {$(
        #[doc = concat!("Sets the ", $name, " memory in bytes.")]
        pub fn $bytes(mut self, bytes: u64) -> Self {
            self.$field = Some(bytes);
            self
        }

        #[doc = concat!("Sets the ", $name, " memory in mebibytes (2²⁰ bytes).")]
        pub fn $mebibytes(mut self, mebibytes: u64) -> Self {
            self.$field = mebibytes.checked_mul(MEBIBYTE);
            if self.$field.is_none() {
                self.overflow = Some(concat!($name, " memory"));
            }
            self
        }
    )*};
}

impl ResourceProfileBuilder {
    /// Sets the number of cores. Fractions are rounded to 10⁻⁸.
    pub fn cpu_cores(mut self, cores: f64) -> Self {
        self.cpu = cores;
        self
    }

    memory_setters! {
        task_heap_memory_bytes, task_heap_memory_mebibytes, task_heap_memory, "task heap";
        task_off_heap_memory_bytes, task_off_heap_memory_mebibytes, task_off_heap_memory, "task off-heap";
        managed_memory_bytes, managed_memory_mebibytes, managed_memory, "managed";
        network_memory_bytes, network_memory_mebibytes, network_memory, "network";
    }

    /// Adds an extended resource, such as `gpu`. Fractions are rounded to 10⁻⁸.
    pub fn extended_resource(mut self, name: impl Into<Arc<str>>, amount: f64) -> Self {
        self.extended.push((name.into(), amount));
        self
    }

    /// Builds the profile.
    ///
    /// # Errors
    /// - [`InvalidAmount`](ResourceProfileError::InvalidAmount): an amount is negative, not finite
    ///   or too large.
    /// - [`Duplicate`](ResourceProfileError::Duplicate): an extended resource is given twice.
    /// - [`Overflow`](ResourceProfileError::Overflow): the bytes of one kind of memory, or of all
    ///   kinds together, do not fit in 64 bits.
    pub fn build(self) -> Result<ResourceProfile, ResourceProfileError> {
        if let Some(resource) = self.overflow {
            return Err(overflow(resource));
        }
        let cpu = units("cpu", self.cpu)?;
        let mut extended = self
            .extended
            .into_iter()
            .map(|(name, amount)| {
                let amount = units(&name, amount)?;
                Ok(ExtendedResource { name, amount })
            })
            .collect::<Result<Vec<_>, _>>()?;
        extended.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let duplicate = |pair: &[ExtendedResource]| match pair {
            [first, second] if first.name == second.name => Some(first.name.to_string()),
            _ => None,
        };
        if let Some(resource) = extended.windows(2).find_map(duplicate) {
            return Err(ResourceProfileError::Duplicate { resource });
        }
        Amounts {
            cpu,
            task_heap_memory: self.task_heap_memory.unwrap_or_default(),
            task_off_heap_memory: self.task_off_heap_memory.unwrap_or_default(),
            managed_memory: self.managed_memory.unwrap_or_default(),
            network_memory: self.network_memory.unwrap_or_default(),
            extended: None,
        }
        .into_profile(extended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketch_matches_another_if_both_amounts_are_at_least_as_large() {
        let is_matching = |own, other| Sketch(own).is_matching(Sketch(other));
        assert!(is_matching([2, 2], [2, 2]) && is_matching([3, 2], [2, 1]));
        assert!(!is_matching([2, 1], [1, 2]) && !is_matching([1, 2], [2, 1]));
    }
}
