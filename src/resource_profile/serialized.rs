//! The serialized forms of profiles and amounts. Amounts are checked again when they are read.
//!
//! Human-readable formats have `"unknown"`, `"any"`, or an object of cores and bytes. Other formats
//! have exact integers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Amounts, ExtendedResource, Kind, ResourceAmounts, ResourceProfile, ResourceProfileError, UNITS, units};

impl Serialize for ResourceProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Compact::from(self).serialize(serializer);
        }
        match &self.0 {
            Kind::Unknown => serializer.serialize_str("unknown"),
            Kind::Any => serializer.serialize_str("any"),
            Kind::Concrete(amounts) => Readable::from(amounts).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ResourceProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(ProfileVisitor)
        } else {
            Self::try_from(Compact::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}

struct ProfileVisitor;

impl<'de> Visitor<'de> for ProfileVisitor {
    type Value = ResourceProfile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"unknown\", \"any\" or an object of amounts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ResourceProfile, E> {
        match text {
            "unknown" => Ok(ResourceProfile::UNKNOWN),
            "any" => Ok(ResourceProfile::ANY),
            _ => Err(E::unknown_variant(text, &["unknown", "any"])),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<ResourceProfile, M::Error> {
        ReadableVisitor.visit_map(map)?.try_into().map_err(M::Error::custom)
    }
}

impl Serialize for ResourceAmounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Readable::from(self).serialize(serializer)
        } else {
            let memory = [
                self.task_heap_memory_bytes,
                self.task_off_heap_memory_bytes,
                self.managed_memory_bytes,
                self.network_memory_bytes,
            ];
            (self.cpu_cores, memory, &self.extended_resources).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ResourceAmounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_map(ReadableVisitor).map(Self::from);
        }
        let (cpu_cores, memory, extended_resources) = Deserialize::deserialize(deserializer)?;
        let [heap, off_heap, managed, network] = memory;
        Ok(Self {
            cpu_cores,
            task_heap_memory_bytes: heap,
            task_off_heap_memory_bytes: off_heap,
            managed_memory_bytes: managed,
            network_memory_bytes: network,
            extended_resources,
        })
    }
}

/// The amounts in cores and bytes, without those that are zero.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename = "ResourceAmounts", default, deny_unknown_fields)]
struct Readable {
    #[serde(skip_serializing_if = "Amount::is_zero")]
    cpu_cores: Amount,
    #[serde(skip_serializing_if = "is_zero")]
    task_heap_memory_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    task_off_heap_memory_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    managed_memory_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    network_memory_bytes: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct")]
    extended_resources: BTreeMap<String, Amount>,
}

/// A visitor that refuses a list of amounts without names, which serde would accept.
struct ReadableVisitor;

impl<'de> Visitor<'de> for ReadableVisitor {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of amounts")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Readable, M::Error> {
        Readable::deserialize(MapAccessDeserializer::new(map))
    }
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Reads a map and refuses a name that is given twice.
fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Amount>, D::Error> {
    struct DistinctVisitor;

    impl<'de> Visitor<'de> for DistinctVisitor {
        type Value = BTreeMap<String, Amount>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of extended resources")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut resources = BTreeMap::new();
            while let Some((name, amount)) = map.next_entry()? {
                match resources.entry(name) {
                    Entry::Vacant(vacant) => vacant.insert(amount),
                    Entry::Occupied(occupied) => {
                        let resource = occupied.remove_entry().0;
                        return Err(M::Error::custom(ResourceProfileError::Duplicate { resource }));
                    }
                };
            }
            Ok(resources)
        }
    }

    deserializer.deserialize_map(DistinctVisitor)
}

impl From<&Amounts> for Readable {
    fn from(amounts: &Amounts) -> Self {
        Self {
            cpu_cores: Amount::Units(amounts.cpu),
            task_heap_memory_bytes: amounts.task_heap_memory,
            task_off_heap_memory_bytes: amounts.task_off_heap_memory,
            managed_memory_bytes: amounts.managed_memory,
            network_memory_bytes: amounts.network_memory,
            extended_resources: amounts
                .extended()
                .iter()
                .map(|resource| (resource.name.to_string(), Amount::Units(resource.amount)))
                .collect(),
        }
    }
}

impl TryFrom<Readable> for ResourceProfile {
    type Error = ResourceProfileError;

    fn try_from(readable: Readable) -> Result<Self, ResourceProfileError> {
        let extended = readable
            .extended_resources
            .into_iter()
            .map(|(name, amount)| {
                let amount = amount.units(&name)?;
                let name = name.into();
                Ok(ExtendedResource { name, amount })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Amounts {
            cpu: readable.cpu_cores.units("cpu")?,
            task_heap_memory: readable.task_heap_memory_bytes,
            task_off_heap_memory: readable.task_off_heap_memory_bytes,
            managed_memory: readable.managed_memory_bytes,
            network_memory: readable.network_memory_bytes,
            extended: None,
        }
        .into_profile(extended)
    }
}

impl From<&ResourceAmounts> for Readable {
    fn from(amounts: &ResourceAmounts) -> Self {
        Self {
            cpu_cores: Amount::Number(amounts.cpu_cores),
            task_heap_memory_bytes: amounts.task_heap_memory_bytes,
            task_off_heap_memory_bytes: amounts.task_off_heap_memory_bytes,
            managed_memory_bytes: amounts.managed_memory_bytes,
            network_memory_bytes: amounts.network_memory_bytes,
            extended_resources: amounts
                .extended_resources
                .iter()
                .map(|(name, amount)| (name.clone(), Amount::Number(*amount)))
                .collect(),
        }
    }
}

impl From<Readable> for ResourceAmounts {
    fn from(readable: Readable) -> Self {
        Self {
            cpu_cores: readable.cpu_cores.number(),
            task_heap_memory_bytes: readable.task_heap_memory_bytes,
            task_off_heap_memory_bytes: readable.task_off_heap_memory_bytes,
            managed_memory_bytes: readable.managed_memory_bytes,
            network_memory_bytes: readable.network_memory_bytes,
            extended_resources: readable
                .extended_resources
                .into_iter()
                .map(|(name, amount)| (name, amount.number()))
                .collect(),
        }
    }
}

/// A number of cores or units of an extended resource.
///
/// It is written as a number. If a number may be read back as another amount, it is written as a
/// decimal text, with all digits.
#[derive(Clone, Copy)]
enum Amount {
    /// A number that is not checked yet.
    Number(f64),
    /// An exact amount in units of 10⁻⁸.
    Units(u64),
}

impl Default for Amount {
    fn default() -> Self {
        Self::Units(0)
    }
}

impl Amount {
    fn is_zero(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0.0,
            Self::Units(units) => *units == 0,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Units(units) => units as f64 / UNITS as f64,
        }
    }

    fn units(self, resource: &str) -> Result<u64, ResourceProfileError> {
        match self {
            Self::Number(number) => units(resource, number),
            Self::Units(units) => Ok(units),
        }
    }

    /// Returns `true` if every reader of the number finds these units.
    ///
    /// Fast parsers, such as that of `serde_json`, may miss a number of 16 or more digits by its
    /// last bit. So both neighbours of the number must be the same amount. Parsers read whole
    /// numbers exactly.
    fn is_safe_as_number(exact: u64) -> bool {
        let number = Self::Units(exact).number();
        let is_read = |number| units("", number) == Ok(exact);
        let bits = number.to_bits();
        let neighbours = [bits.saturating_sub(1), bits.saturating_add(1)].map(f64::from_bits);
        is_read(number) && (exact % UNITS == 0 || neighbours.into_iter().all(is_read))
    }

    /// Parses a decimal number with at most eight digits behind the point.
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 8 {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let fraction: u64 = format!("{fraction:0<8}").parse().ok()?;
        whole.checked_mul(UNITS)?.checked_add(fraction).map(Self::Units)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Units(exact) if !Self::is_safe_as_number(exact) => {
                serializer.collect_str(&format_args!("{}.{:08}", exact / UNITS, exact % UNITS))
            }
            Self::Units(_) | Self::Number(_) => serializer.serialize_f64(self.number()),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a decimal text with at most 8 digits behind the point")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Amount, E> {
        Ok(Amount::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
        Ok(Amount::Number(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Amount, E> {
        Ok(Amount::Number(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
        Amount::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// The exact integers of a profile. Cores and extended resources are in units of 10⁻⁸.
#[derive(Serialize, Deserialize)]
#[serde(rename = "ResourceProfile", rename_all = "lowercase")]
enum Compact {
    Unknown,
    Any,
    Amounts {
        cpu: u64,
        task_heap_memory: u64,
        task_off_heap_memory: u64,
        managed_memory: u64,
        network_memory: u64,
        extended: Vec<(String, u64)>,
    },
}

impl From<&ResourceProfile> for Compact {
    fn from(profile: &ResourceProfile) -> Self {
        match &profile.0 {
            Kind::Unknown => Self::Unknown,
            Kind::Any => Self::Any,
            Kind::Concrete(amounts) => Self::Amounts {
                cpu: amounts.cpu,
                task_heap_memory: amounts.task_heap_memory,
                task_off_heap_memory: amounts.task_off_heap_memory,
                managed_memory: amounts.managed_memory,
                network_memory: amounts.network_memory,
                extended: amounts
                    .extended()
                    .iter()
                    .map(|resource| (resource.name.to_string(), resource.amount))
                    .collect(),
            },
        }
    }
}

impl TryFrom<Compact> for ResourceProfile {
    type Error = ResourceProfileError;

    fn try_from(compact: Compact) -> Result<Self, ResourceProfileError> {
        match compact {
            Compact::Unknown => Ok(Self::UNKNOWN),
            Compact::Any => Ok(Self::ANY),
            Compact::Amounts {
                cpu,
                task_heap_memory,
                task_off_heap_memory,
                managed_memory,
                network_memory,
                mut extended,
            } => {
                extended.sort_unstable();
                let duplicate = |pair: &[(String, u64)]| match pair {
                    [(first, _), (second, _)] if first == second => Some(first.clone()),
                    _ => None,
                };
                if let Some(resource) = extended.windows(2).find_map(duplicate) {
                    return Err(ResourceProfileError::Duplicate { resource });
                }
                Amounts {
                    cpu,
                    task_heap_memory,
                    task_off_heap_memory,
                    managed_memory,
                    network_memory,
                    extended: None,
                }
                .into_profile(
                    extended
                        .into_iter()
                        .map(|(name, amount)| ExtendedResource {
                            name: name.into(),
                            amount,
                        })
                        .collect(),
                )
            }
        }
    }
}
