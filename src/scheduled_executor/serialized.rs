//! The serialized form of a time: nanoseconds. In formats for readers, never is null.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Timestamp;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() && *self == Self::MAX {
            return serializer.serialize_none();
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // Not as an option: serde reads an absent field as an absent option, thus as never.
            deserializer.deserialize_any(TimestampVisitor)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

struct TimestampVisitor;

impl<'de> Visitor<'de> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of nanoseconds, or null for never")
    }

    fn visit_u64<E: Error>(self, nanoseconds: u64) -> Result<Timestamp, E> {
        Ok(Timestamp(nanoseconds))
    }

    fn visit_i64<E: Error>(self, nanoseconds: i64) -> Result<Timestamp, E> {
        match u64::try_from(nanoseconds) {
            Ok(nanoseconds) => Ok(Timestamp(nanoseconds)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(nanoseconds), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Timestamp, E> {
        Ok(Timestamp::MAX)
    }

    fn visit_none<E: Error>(self) -> Result<Timestamp, E> {
        Ok(Timestamp::MAX)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
