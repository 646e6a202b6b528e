//! The amounts of a profile as plain values, for conversion to the types of a service.

use std::collections::BTreeMap;

use super::{Amounts, ExtendedResource, Kind, ResourceProfile, ResourceProfileError, units};

/// The kind of a [`ResourceProfile`], with its amounts.
///
/// ```
/// use slot_manager::{ResourceProfile, ResourceProfileKind};
///
/// fn describe(profile: &ResourceProfile) -> String {
///     match profile.kind() {
///         ResourceProfileKind::Unknown => "unknown".to_owned(),
///         ResourceProfileKind::Any => "any".to_owned(),
///         ResourceProfileKind::Amounts(amounts) => format!("{} cores", amounts.cpu_cores),
///         other => format!("{other:?}"),
///     }
/// }
///
/// let profile = ResourceProfile::builder().cpu_cores(0.5).build()?;
/// assert_eq!(describe(&profile), "0.5 cores");
/// assert_eq!(describe(&ResourceProfile::ANY), "any");
/// assert_eq!(ResourceProfile::try_from(profile.kind())?, profile);
/// # Ok::<(), slot_manager::error::ResourceProfileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ResourceProfileKind {
    /// The profile is [`UNKNOWN`](ResourceProfile::UNKNOWN).
    Unknown,
    /// The profile is [`ANY`](ResourceProfile::ANY).
    Any,
    /// The profile has these amounts.
    Amounts(ResourceAmounts),
}

/// The amounts of a [`ResourceProfile`] as plain values.
///
/// Nothing is checked until a profile is made from it. Use it to convert profiles from and to the
/// messages of a service. With the feature `serde`, human-readable formats leave out zero amounts
/// and refuse unknown fields. They carry floating-point numbers as exactly as the format does.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use slot_manager::{ResourceAmounts, ResourceProfile};
///
/// let amounts = ResourceAmounts {
///     cpu_cores: 2.0,
///     managed_memory_bytes: 64 << 20,
///     extended_resources: BTreeMap::from([("gpu".to_owned(), 1.0)]),
///     ..ResourceAmounts::default()
/// };
/// let profile = ResourceProfile::try_from(amounts.clone())?;
/// assert_eq!(profile.to_string(), "{cpu: 2, managed: 64 MiB, gpu: 1}");
/// assert_eq!(ResourceAmounts::try_from(&profile)?, amounts);
///
/// let refused = ResourceAmounts { cpu_cores: -1.0, ..amounts };
/// assert!(ResourceProfile::try_from(refused).is_err());
/// # Ok::<(), slot_manager::error::ResourceProfileError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceAmounts {
    /// The number of cores. A profile counts in steps of 10⁻⁸.
    pub cpu_cores: f64,
    /// The task heap memory in bytes.
    pub task_heap_memory_bytes: u64,
    /// The task off-heap memory in bytes.
    pub task_off_heap_memory_bytes: u64,
    /// The managed memory in bytes.
    pub managed_memory_bytes: u64,
    /// The network memory in bytes.
    pub network_memory_bytes: u64,
    /// The extended resources by name, such as `gpu`. A profile counts in steps of 10⁻⁸.
    pub extended_resources: BTreeMap<String, f64>,
}

impl ResourceProfile {
    /// Returns the kind of the profile, with its amounts.
    ///
    /// [`TryFrom`] makes an equal profile of the result, for up to 20 million cores or units. Above
    /// that, the last digits of a fraction may be lost.
    ///
    /// Cost: O(extended resources).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::{ResourceAmounts, ResourceProfile, ResourceProfileKind};
    ///
    /// let profile = ResourceProfile::builder().cpu_cores(1.5).build()?;
    /// let amounts = ResourceAmounts { cpu_cores: 1.5, ..ResourceAmounts::default() };
    /// assert_eq!(profile.kind(), ResourceProfileKind::Amounts(amounts));
    /// assert_eq!(ResourceProfile::UNKNOWN.kind(), ResourceProfileKind::Unknown);
    /// # Ok::<(), slot_manager::error::ResourceProfileError>(())
    /// ```
    pub fn kind(&self) -> ResourceProfileKind {
        let amounts = match &self.0 {
            Kind::Unknown => return ResourceProfileKind::Unknown,
            Kind::Any => return ResourceProfileKind::Any,
            Kind::Concrete(amounts) => amounts,
        };
        ResourceProfileKind::Amounts(ResourceAmounts {
            cpu_cores: self.cpu_cores().unwrap_or_default(),
            task_heap_memory_bytes: amounts.task_heap_memory,
            task_off_heap_memory_bytes: amounts.task_off_heap_memory,
            managed_memory_bytes: amounts.managed_memory,
            network_memory_bytes: amounts.network_memory,
            extended_resources: self
                .extended_resources()
                .map(|(name, amount)| (name.to_owned(), amount))
                .collect(),
        })
    }
}

/// Makes a profile of these amounts, as a [builder](ResourceProfile::builder) does.
impl TryFrom<ResourceAmounts> for ResourceProfile {
    type Error = ResourceProfileError;

    fn try_from(amounts: ResourceAmounts) -> Result<Self, ResourceProfileError> {
        let extended = amounts
            .extended_resources
            .into_iter()
            .map(|(name, amount)| {
                let amount = units(&name, amount)?;
                let name = name.into();
                Ok(ExtendedResource { name, amount })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Amounts {
            cpu: units("cpu", amounts.cpu_cores)?,
            task_heap_memory: amounts.task_heap_memory_bytes,
            task_off_heap_memory: amounts.task_off_heap_memory_bytes,
            managed_memory: amounts.managed_memory_bytes,
            network_memory: amounts.network_memory_bytes,
            extended: None,
        }
        .into_profile(extended)
    }
}

/// Makes a profile of this kind.
impl TryFrom<ResourceProfileKind> for ResourceProfile {
    type Error = ResourceProfileError;

    fn try_from(kind: ResourceProfileKind) -> Result<Self, ResourceProfileError> {
        match kind {
            ResourceProfileKind::Unknown => Ok(Self::UNKNOWN),
            ResourceProfileKind::Any => Ok(Self::ANY),
            ResourceProfileKind::Amounts(amounts) => amounts.try_into(),
        }
    }
}

/// Returns the amounts of a profile; refuses `UNKNOWN` and `ANY`, which have none.
impl TryFrom<&ResourceProfile> for ResourceAmounts {
    type Error = ResourceProfileError;

    fn try_from(profile: &ResourceProfile) -> Result<Self, ResourceProfileError> {
        match profile.kind() {
            ResourceProfileKind::Amounts(amounts) => Ok(amounts),
            ResourceProfileKind::Unknown | ResourceProfileKind::Any => Err(ResourceProfileError::NoAmounts),
        }
    }
}
