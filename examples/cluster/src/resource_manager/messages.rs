//! The messages to a job master.

use slot_manager::message::ResourceShortage;
use slot_manager::outcome::AllocationStatus;
use slot_manager::{AllocationId, SlotId};

use crate::protocol::v1;
use crate::protocol::v1::request_status::State;
use crate::protocol::v1::to_job_master::Message;

impl From<Message> for v1::ToJobMaster {
    fn from(message: Message) -> Self {
        Self { message: Some(message) }
    }
}

/// Returns the status of a request.
pub fn request_status(allocation_id: AllocationId, status: &AllocationStatus) -> v1::ToJobMaster {
    let (state, slot_id) = match status {
        AllocationStatus::Waiting => (State::Waiting, None),
        AllocationStatus::InFlight { slot_id } => (State::InFlight, Some(slot_id)),
        AllocationStatus::Granted { slot_id } => (State::Granted, Some(slot_id)),
    };
    let status = v1::RequestStatus {
        allocation_id: allocation_id.to_bytes().into(),
        state: state.into(),
        slot: slot_id.map(SlotId::to_string).unwrap_or_default(),
    };
    Message::Status(status).into()
}

/// Returns the news that a request is granted.
pub fn granted(allocation_id: AllocationId, slot_id: &SlotId) -> v1::ToJobMaster {
    let slot_id = slot_id.clone();
    request_status(allocation_id, &AllocationStatus::Granted { slot_id })
}

/// Returns the news that a request has failed.
pub fn request_failed(allocation_id: AllocationId, cause: &str) -> v1::ToJobMaster {
    let failed = v1::RequestFailed {
        allocation_id: allocation_id.to_bytes().into(),
        cause: cause.to_owned(),
    };
    Message::Failed(failed).into()
}

/// Returns the news that a grant is lost.
pub fn grant_lost(allocation_id: AllocationId, cause: &str) -> v1::ToJobMaster {
    let lost = v1::GrantLost {
        allocation_id: allocation_id.to_bytes().into(),
        cause: cause.to_owned(),
    };
    Message::Lost(lost).into()
}

/// Returns the news that a job lacks declared slots.
pub fn slots_missing(shortage: &ResourceShortage) -> v1::ToJobMaster {
    let shortage = v1::Shortage {
        declared: shortage.declared,
        held: shortage.charged,
        cause: shortage.cause.to_string(),
    };
    Message::Shortage(shortage).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_state_and_its_slot() {
        let slot_id = SlotId::new("worker-1", 3);
        let cases = [
            (AllocationStatus::Waiting, State::Waiting, ""),
            (
                AllocationStatus::InFlight {
                    slot_id: slot_id.clone(),
                },
                State::InFlight,
                "worker-1_3",
            ),
            (AllocationStatus::Granted { slot_id }, State::Granted, "worker-1_3"),
        ];
        for (status, state, slot) in cases {
            let expected = v1::RequestStatus {
                allocation_id: AllocationId::from_u128(7).to_bytes().into(),
                state: state.into(),
                slot: slot.to_owned(),
            };
            let message = request_status(AllocationId::from_u128(7), &status);
            assert_eq!(message, Message::Status(expected).into());
        }
    }
}
