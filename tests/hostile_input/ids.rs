//! Texts that are parsed as ids.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use proptest::prelude::*;
use slot_manager::error::ParseIdError;
use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceId, SlotId, WorkerRequestId};

use crate::text::{arbitrary, arbitrary_or_nearly, number};

/// Checks that a text is refused with an error that names it, or is read as an id with one written
/// form.
fn check<T>(text: &str) -> Result<(), TestCaseError>
where
    T: FromStr<Err = ParseIdError> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(id) => {
            let written = id.to_string();
            let again: T = written.parse()?;
            prop_assert_eq!(&again, &id);
            prop_assert_eq!(again.to_string(), written);
        }
        Err(error) => {
            prop_assert_eq!(error.text(), text);
            let refused = format!("{text:?} is not ");
            prop_assert!(error.to_string().starts_with(&refused));
            prop_assert!(error.source().is_none());
        }
    }
    Ok(())
}

fn uuid() -> impl Strategy<Value = String> {
    any::<u128>().prop_flat_map(|bits| {
        let uuid = *AllocationId::from_u128(bits).as_uuid();
        prop::sample::select(vec![
            uuid.simple().to_string(),
            uuid.hyphenated().to_string(),
            uuid.urn().to_string(),
            uuid.braced().to_string(),
            format!("{:X}", uuid.simple()),
        ])
    })
}

fn worker_request_id() -> impl Strategy<Value = String> {
    (any::<u128>(), number()).prop_map(|(leader, number)| format!("{leader:032x}-{number}"))
}

fn slot_id() -> impl Strategy<Value = String> {
    (arbitrary(), number()).prop_map(|(worker, number)| format!("{worker}_{number}"))
}

proptest! {
    #[test]
    fn text_is_refused_as_an_id_or_is_one(text in arbitrary_or_nearly(uuid())) {
        check::<AllocationId>(&text)?;
        check::<JobId>(&text)?;
        check::<InstanceId>(&text)?;
        check::<LeaderId>(&text)?;
    }

    #[test]
    fn text_is_refused_as_a_slot_id_or_is_one(text in arbitrary_or_nearly(slot_id())) {
        check::<SlotId>(&text)?;
    }

    #[test]
    fn text_is_refused_as_a_worker_request_id_or_is_one(text in arbitrary_or_nearly(worker_request_id())) {
        check::<WorkerRequestId>(&text)?;
    }

    #[test]
    fn every_id_is_read_back_from_its_text(bits: u128, worker in arbitrary(), slot_number: u32, worker_request: u64) {
        let allocation_id = AllocationId::from_u128(bits);
        prop_assert_eq!(allocation_id.to_string().parse(), Ok(allocation_id));
        prop_assert_eq!(allocation_id.as_u128(), bits);
        prop_assert_eq!(allocation_id.to_bytes(), bits.to_be_bytes());
        prop_assert_eq!(AllocationId::from_bytes(bits.to_be_bytes()), allocation_id);
        let slot_id = SlotId::new(&worker, slot_number);
        prop_assert_eq!(slot_id.to_string().parse(), Ok(slot_id));
        let worker_request = WorkerRequestId::new(LeaderId::from_u128(bits), worker_request);
        prop_assert_eq!(worker_request.to_string().parse(), Ok(worker_request));
        let resource_id = ResourceId::new(worker.as_str());
        prop_assert_eq!(&resource_id.to_string(), &worker);
        prop_assert_eq!(worker.parse(), Ok(resource_id));
    }
}
