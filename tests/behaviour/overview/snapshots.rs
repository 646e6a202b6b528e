//! Snapshots: owned copies of the views.

use serde::Serialize;
use serde::de::DeserializeOwned;
use slot_manager::Timestamp;
use slot_manager::view::SlotState;

use super::everything;
use crate::common::{SECOND, allocation, instance, job, profile, slot, small};

/// Checks that a snapshot is read back equal.
#[track_caller]
fn assert_read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("it can be written");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it can be read"), value);
}

#[test]
fn task_managers_are_copied_with_their_slots() {
    // given
    let fixture = everything();

    // when
    let snapshots: Vec<_> = fixture.manager.task_managers().map(|one| one.snapshot()).collect();

    // then
    for (snapshot, view) in snapshots.iter().zip(fixture.manager.task_managers()) {
        assert_eq!(&snapshot.resource_id, view.resource_id());
        assert_eq!(snapshot.worker_request, view.worker_request());
        assert_eq!(snapshot.slot_counts, view.slot_counts());
        assert_eq!(snapshot.idle_since, view.idle_since());
        let slots: Vec<_> = view.slots().map(|slot| slot.snapshot()).collect();
        assert_eq!(snapshot.slots, slots);
        assert_read_back(snapshot);
    }
    let blocked = &snapshots[2];
    assert_eq!((blocked.instance_id, blocked.is_blocked), (instance(3), true));
    assert_eq!((blocked.revision, blocked.idle_since), (Some(3), None));
    let [first, second] = &blocked.slots[..] else {
        panic!("two slots: {:?}", blocked.slots);
    };
    assert_eq!((&first.slot_id, &first.resource_profile), (&slot("c", 0), &small()));
    let (allocation_id, job_id) = (allocation(60), job(1));
    assert_eq!(first.state, SlotState::Allocated { allocation_id, job_id });
    assert_eq!(second.state, SlotState::Blocked);
}

#[test]
fn every_state_of_a_slot_is_read_back() {
    let (allocation_id, job_id) = (allocation(1), job(1));
    let until = Timestamp::from_secs(1);
    for state in [
        SlotState::Free,
        SlotState::BackingOff { until },
        SlotState::Blocked,
        SlotState::InFlight { allocation_id, job_id },
        SlotState::Allocated { allocation_id, job_id },
    ] {
        assert_read_back(&state);
    }
}

#[test]
fn pending_requests_are_copied() {
    // given
    let fixture = everything();

    // when
    let snapshots: Vec<_> = fixture
        .manager
        .pending_slot_requests()
        .map(|one| one.snapshot())
        .collect();

    // then
    for (snapshot, view) in snapshots.iter().zip(fixture.manager.pending_slot_requests()) {
        assert_eq!(snapshot.failed_attempts, view.failed_attempts());
        assert_eq!(snapshot.in_flight_to, view.in_flight_to());
        assert_eq!(snapshot.backs_off_until, view.backs_off_until());
        assert_eq!(snapshot.bound_to, view.bound_to());
        assert_read_back(snapshot);
    }
    let in_flight = &snapshots[0];
    assert_eq!((in_flight.allocation_id, in_flight.job_id), (allocation(3), job(1)));
    assert_eq!(in_flight.resource_profile, profile(2.0, 200));
    assert_eq!(&*in_flight.target_address, "job-master-1");
    assert_eq!(in_flight.deadline, Timestamp::ZERO + 80 * SECOND);
    assert_eq!(in_flight.in_flight_to, Some(slot("b", 1)));
    assert!(snapshots[1..].iter().any(|one| one.bound_to.is_some()));
}

#[test]
fn promised_slots_are_copied() {
    // given
    let fixture = everything();

    // when
    let snapshots: Vec<_> = fixture.manager.promised_slots().map(|one| one.snapshot()).collect();

    // then
    for (snapshot, view) in snapshots.iter().zip(fixture.manager.promised_slots()) {
        assert_eq!(snapshot.worker_request, view.worker_request());
        assert_eq!(&snapshot.resource_profile, view.resource_profile());
        assert_eq!(snapshot.bound_to, view.bound_to());
        assert_eq!(snapshot.expires_at, view.expires_at());
        assert_read_back(snapshot);
    }
    assert_eq!(snapshots.len(), 2);
}
