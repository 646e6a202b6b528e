//! The serialized forms of ids: the text of logs in formats for readers, a compact form in others.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{AllocationId, InstanceId, JobId, LeaderId, ParseIdError, ResourceId, SlotId, WorkerRequestId};

/// A visitor that parses an id from its text.
struct TextVisitor<I>(PhantomData<I>);

impl<I: FromStr<Err = ParseIdError>> Visitor<'_> for TextVisitor<I> {
    type Value = I;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of an id")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<I, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! serialized_uuid_id {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(TextVisitor(PhantomData))
                } else {
                    Uuid::deserialize(deserializer).map(Self)
                }
            }
        }
    )*};
}

serialized_uuid_id! { AllocationId JobId InstanceId LeaderId }

/// The compact form of a [`SlotId`].
#[derive(Serialize, Deserialize)]
#[serde(rename = "SlotId")]
struct SlotIdFields {
    resource_id: ResourceId,
    slot_number: u32,
}

impl Serialize for SlotId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let fields = SlotIdFields {
            resource_id: self.resource_id.clone(),
            slot_number: self.slot_number,
        };
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SlotId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(TextVisitor(PhantomData));
        }
        let fields = SlotIdFields::deserialize(deserializer)?;
        Ok(Self::new(fields.resource_id, fields.slot_number))
    }
}

impl Serialize for WorkerRequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (self.leader_id, self.number).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WorkerRequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(TextVisitor(PhantomData));
        }
        let (leader_id, number) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(leader_id, number))
    }
}
