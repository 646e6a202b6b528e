//! Serialized messages: nearly right ones, arbitrary ones, and messages with a false length.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::{Value, json};
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceAmounts, ResourceId, ResourceProfile, SlotId, SlotReport,
    SlotRequest, SlotStatus, Timestamp, WorkerRequestId,
};

use crate::text::{arbitrary, arbitrary_or_nearly};

/// Checks that a text is refused, or read as a value that is read back equal.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(value) = serde_json::from_str::<T>(text) {
        let written = serde_json::to_string(&value)?;
        prop_assert_eq!(&serde_json::from_str::<T>(&written)?, &value);
        let written = postcard::to_stdvec(&value)?;
        prop_assert_eq!(&postcard::from_bytes::<T>(&written)?, &value);
    }
    Ok(())
}

/// Checks that a text is refused as amounts, or read as amounts that are read back nearly equal.
///
/// The parser may miss a floating-point number by its last bit.
fn check_amounts(text: &str) -> Result<(), TestCaseError> {
    if let Ok(amounts) = serde_json::from_str::<ResourceAmounts>(text) {
        let written = serde_json::to_string(&amounts)?;
        let again: ResourceAmounts = serde_json::from_str(&written)?;
        prop_assert!((again.cpu_cores - amounts.cpu_cores).abs() <= amounts.cpu_cores.abs() * f64::EPSILON);
        prop_assert!(again.extended_resources.len() <= amounts.extended_resources.len());
        let written = postcard::to_stdvec(&amounts)?;
        prop_assert_eq!(postcard::from_bytes::<ResourceAmounts>(&written)?, amounts);
    }
    Ok(())
}

/// Checks that bytes are refused, or read as a value that is read back equal.
fn check_bytes<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    match postcard::from_bytes::<T>(bytes) {
        Ok(value) => check::<T>(&serde_json::to_string(&value)?),
        Err(_) => Ok(()),
    }
}

/// Checks a text as each type.
fn check_all(text: &str) -> Result<(), TestCaseError> {
    check::<AllocationId>(text)?;
    check::<JobId>(text)?;
    check::<InstanceId>(text)?;
    check::<LeaderId>(text)?;
    check::<ResourceId>(text)?;
    check::<SlotId>(text)?;
    check::<WorkerRequestId>(text)?;
    check::<Timestamp>(text)?;
    check::<ResourceProfile>(text)?;
    check_amounts(text)?;
    check::<SlotRequest>(text)?;
    check::<SlotStatus>(text)?;
    check::<SlotReport>(text)?;
    check::<AllocateSlot>(text)?;
    check::<FreeSlot>(text)?;
    check::<Acknowledge>(text)?;
    check::<SlotAllocationError>(text)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, any::<u64>(), Just(u64::MAX), Just(u64::MAX / 4)]
}

/// A number or a decimal text, as an amount of a profile.
fn amount() -> impl Strategy<Value = Value> {
    let exact = (any::<u64>(), 0..10_usize).prop_map(|(number, digits)| {
        let (whole, fraction) = (number / 100_000_000, number % 100_000_000);
        json!(format!("{whole}.{fraction:0digits$}"))
    });
    prop_oneof![
        3 => number().prop_map(|number| json!(number)),
        3 => (0.0..2e11_f64).prop_map(|number| json!(number)),
        2 => exact,
        1 => any::<f64>().prop_map(|number| json!(number)),
    ]
}

fn profile() -> impl Strategy<Value = Value> {
    let extended = prop::collection::btree_map("[a-c]", amount(), 0..4);
    let amounts = (amount(), prop::array::uniform4(number()), extended).prop_map(|(cores, memory, extended)| {
        let [heap, off_heap, managed, network] = memory;
        json!({
            "cpu_cores": cores,
            "task_heap_memory_bytes": heap,
            "task_off_heap_memory_bytes": off_heap,
            "managed_memory_bytes": managed,
            "network_memory_bytes": network,
            "extended_resources": extended,
        })
    });
    prop_oneof![4 => amounts, 1 => Just(json!("any")), 1 => Just(json!("unknown"))]
}

/// A message of each type, of arbitrary parts; not all of these are valid.
fn message() -> impl Strategy<Value = Value> {
    (profile(), arbitrary(), any::<u32>(), any::<u128>(), number()).prop_flat_map(
        |(profile, text, slot_number, bits, number)| {
            let id = json!(AllocationId::from_u128(bits));
            let slot_id = json!(SlotId::new(text.as_str(), slot_number));
            let status = |allocation: Value| {
                json!({ "slot_id": slot_id, "resource_profile": profile, "allocation": allocation })
            };
            let told = |last: &str, value: Value| {
                let mut told = json!({
                    "slot_id": slot_id, "job_id": id, "allocation_id": id, "leader_id": id, "instance_id": id,
                    "attempt": number, "target_address": text,
                });
                told[last] = value;
                told
            };
            let messages = vec![
                json!({ "statuses": [status(Value::Null), status(json!([id, id]))], "revision": number }),
                json!({ "job_id": id, "allocation_id": id, "resource_profile": profile, "target_address": text }),
                told("resource_profile", profile.clone()),
                told("attempt", json!(number)),
                json!({ "revision": number }),
                json!({ "Occupied": { "allocation_id": id, "job_id": id } }),
                json!({ "Rejected": { "reason": text } }),
                slot_id.clone(),
                profile.clone(),
                json!(number),
                json!(text),
                id,
            ];
            prop::sample::select(messages)
        },
    )
}

proptest! {
    #[test]
    fn message_is_refused_or_read(text in arbitrary_or_nearly(message().prop_map(|message| message.to_string()))) {
        check_all(&text)?;
    }

    /// Bytes of a format that does not describe itself are refused, or read as a valid value.
    #[test]
    fn arbitrary_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        check_bytes::<AllocationId>(&bytes)?;
        check_bytes::<SlotId>(&bytes)?;
        check_bytes::<Timestamp>(&bytes)?;
        check_bytes::<ResourceProfile>(&bytes)?;
        check_bytes::<SlotReport>(&bytes)?;
        check_bytes::<AllocateSlot>(&bytes)?;
    }

    /// Each profile that is read could be built: its total memory does not overflow.
    #[test]
    fn profile_is_refused_or_can_be_made(form in profile()) {
        if let Ok(profile) = serde_json::from_value::<ResourceProfile>(form) {
            let _ = profile.total_memory_bytes();
            prop_assert!(profile.is_matching(&profile));
            prop_assert!(profile.extended_resources().is_sorted_by(|a, b| a.0 < b.0));
            prop_assert_eq!(profile.checked_mul(1), Ok(profile));
        }
    }
}

#[test]
fn deeply_nested_messages_are_refused() {
    for (open, close) in [("[", "]"), ("{\"extended_resources\":", "}"), ("{\"statuses\":[", "]}")] {
        let text = open.repeat(100_000) + &close.repeat(100_000);
        assert!(serde_json::from_str::<SlotReport>(&text).is_err());
        assert!(serde_json::from_str::<ResourceProfile>(&text).is_err());
    }
}

#[test]
fn resource_id_and_a_reason_may_be_megabytes_long() {
    let long = "x".repeat(4 << 20);
    assert_eq!(
        serde_json::from_value::<ResourceId>(json!(long)).expect("any text"),
        ResourceId::new(long.as_str())
    );
    let error = SlotAllocationError::rejected(long.as_str());
    assert_eq!(
        serde_json::from_value::<SlotAllocationError>(json!(error)).expect("any text"),
        error
    );
}

/// A list that claims the largest possible length and has `left` elements, each of which is such a
/// list.
struct Claim {
    left: usize,
}

impl<'de> Deserializer<'de> for Claim {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Claim {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(Claim { left }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(usize::MAX)
    }
}

/// No memory is reserved for the claimed length of a message: that would end the process.
#[test]
fn message_that_claims_a_giant_length_is_refused() {
    fn check<T: DeserializeOwned + Debug>() {
        for left in 0..8 {
            T::deserialize(Claim { left }).expect_err("it is invalid");
        }
    }
    check::<SlotReport>();
    check::<SlotStatus>();
    check::<SlotRequest>();
    check::<AllocateSlot>();
    check::<FreeSlot>();
    check::<SlotId>();
    check::<ResourceProfile>();
    check::<ResourceAmounts>();
    check::<SlotAllocationError>();
}
