//! The serialized form of a configuration: the map of its options.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SlotManagerConfig;

/// Writes the map of [`to_options`](SlotManagerConfig::to_options). Fails if that fails.
///
/// ```
/// use slot_manager::SlotManagerConfig;
///
/// let json = serde_json::to_value(SlotManagerConfig::default())?;
/// assert_eq!(json["pekko.ask.timeout"], "10 s");
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for SlotManagerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.to_options().map_err(S::Error::custom)?)
    }
}

/// Reads the map that [`from_options`](SlotManagerConfig::from_options) reads. Fails if that fails.
///
/// In formats for people, such as JSON, a value may be a text, a number or a truth value.
///
/// ```
/// use slot_manager::SlotManagerConfig;
///
/// let json = r#"{ "pekko.ask.timeout": "5 s", "slotmanager.pending-requests.max": 1000 }"#;
/// let config: SlotManagerConfig = serde_json::from_str(json)?;
/// assert_eq!(config.max_pending_requests, Some(1000));
/// # Ok::<(), serde_json::Error>(())
/// ```
impl<'de> Deserialize<'de> for SlotManagerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = deserializer.deserialize_map(OptionsVisitor)?;
        Self::from_options(options).map_err(D::Error::custom)
    }
}

struct OptionsVisitor;

impl<'de> Visitor<'de> for OptionsVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of options")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut options = Vec::new();
        while let Some((key, OptionValue(value))) = map.next_entry()? {
            options.push((key, value));
        }
        Ok(options)
    }
}

/// The value of an option as a text.
struct OptionValue(String);

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(ValueVisitor)
        } else {
            deserializer.deserialize_string(ValueVisitor)
        }
    }
}

struct ValueVisitor;

macro_rules! visit_as_text {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E>(self, value: $type) -> Result<OptionValue, E> {
            Ok(OptionValue(value.to_string()))
        }
    )*};
}

impl Visitor<'_> for ValueVisitor {
    type Value = OptionValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, `true` or `false`")
    }

    visit_as_text!(visit_str: &str, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_bool: bool);
}
