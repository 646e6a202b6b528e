//! Serialization, with the feature `serde`: values are read back as they were written, and values
//! that no constructor allows are refused.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};
use slot_manager::config::Limit;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, AllocateSlot, FreeSlot, ReleaseCheck, ReleaseDecision};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotReport, SlotRequest,
    SlotStatus, Timestamp, WorkerRequestId,
};

/// Checks that a value is read back equal, from a value and from a text.
#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let written = to_value(value).expect("it can be written");
    assert_eq!(&from_value::<T>(written).expect("it can be read"), value);
    let text = serde_json::to_string(value).expect("it can be written");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it can be read"), value);
}

/// Checks that a value is written in this form and read back equal.
#[track_caller]
fn assert_form<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: Value) {
    assert_eq!(to_value(value).expect("it can be written"), form);
    assert_round_trip(value);
}

#[track_caller]
fn assert_not_read<T: DeserializeOwned + Debug>(form: Value, message: &str) {
    let error = from_value::<T>(form).expect_err("it is invalid").to_string();
    assert!(error.contains(message), "{error}");
}

fn ample() -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(0.1)
        .task_heap_memory_bytes(1)
        .task_off_heap_memory_bytes(2)
        .managed_memory_bytes(3)
        .network_memory_bytes(u64::MAX - 6)
        .extended_resource("gpu", 0.33)
        .extended_resource("fpga", 2.0)
        .build()
        .expect("valid amounts")
}

fn slot() -> SlotId {
    SlotId::new("pod_7", 3)
}

#[test]
fn ids_are_written_as_texts_and_numbers() {
    const TEXT: &str = "00000000-0000-0000-0000-0000000000a1";
    assert_form(&AllocationId::from_u128(0xa1), json!(TEXT));
    assert_form(&JobId::from_u128(0xa1), json!(TEXT));
    assert_form(&InstanceId::from_u128(0xa1), json!(TEXT));
    assert_form(&LeaderId::from_u128(0xa1), json!(TEXT));
    assert_form(&ResourceId::new("a \"strange\" näme\n"), json!("a \"strange\" näme\n"));
    assert_form(&slot(), json!({ "resource_id": "pod_7", "slot_number": 3 }));
    assert_form(&WorkerRequestId::new(u64::MAX), json!(u64::MAX));
    assert_form(&Timestamp::from_millis(1500), json!(1_500_000_000));
    assert_form(&Timestamp::MAX, json!(u64::MAX));
}

#[test]
fn ids_are_read_without_hyphens() {
    let id = AllocationId::from_u128(u128::MAX / 7);
    assert_eq!(from_value::<AllocationId>(json!(id.to_string())).expect("its text"), id);
}

#[test]
fn ids_may_be_keys_of_a_map() {
    let map = BTreeMap::from([(JobId::from_u128(1), 1), (JobId::from_u128(2), 2)]);
    assert_round_trip(&map);
    let map = BTreeMap::from([(ResourceId::new("tm"), WorkerRequestId::new(1))]);
    assert_round_trip(&map);
}

#[test]
fn invalid_ids_are_not_read() {
    assert_not_read::<AllocationId>(json!("a1"), "invalid length");
    assert_not_read::<JobId>(json!(7), "invalid type");
    assert_not_read::<SlotId>(json!({ "resource_id": "tm", "slot_number": -1 }), "invalid value");
    assert_not_read::<SlotId>(json!({ "resource_id": "tm" }), "missing field `slot_number`");
    assert_not_read::<WorkerRequestId>(json!(-1), "invalid value");
}

#[test]
fn profiles_without_amounts_are_written_as_names() {
    assert_form(&ResourceProfile::UNKNOWN, json!("UNKNOWN"));
    assert_form(&ResourceProfile::ANY, json!("ANY"));
}

#[test]
fn profiles_are_written_exactly() {
    assert_form(
        &ample(),
        json!({
            "concrete": {
                "cpu": 10_000_000,
                "task_heap_memory": 1,
                "task_off_heap_memory": 2,
                "managed_memory": 3,
                "network_memory": u64::MAX - 6,
                "extended": [["fpga", 200_000_000], ["gpu", 33_000_000]],
            }
        }),
    );
    assert_round_trip(&ResourceProfile::ZERO);
    let smallest = ResourceProfile::builder().cpu_cores(1e-8).build();
    assert_round_trip(&smallest.expect("a valid amount"));
}

fn concrete(network_memory: u64, extended: Value) -> Value {
    json!({
        "concrete": {
            "cpu": 0,
            "task_heap_memory": 1,
            "task_off_heap_memory": 0,
            "managed_memory": 0,
            "network_memory": network_memory,
            "extended": extended,
        }
    })
}

#[test]
fn profile_that_no_constructor_allows_is_not_read() {
    type Profile = ResourceProfile;
    assert_not_read::<Profile>(concrete(u64::MAX, json!([])), "memory: the amount is too large");
    assert_not_read::<Profile>(
        concrete(0, json!([["gpu", 1], ["fpga", 1], ["gpu", 2]])),
        "gpu: the extended resource is given twice",
    );
    assert_not_read::<Profile>(concrete(0, json!([["gpu", -1]])), "invalid value");
    assert_not_read::<Profile>(concrete(0, json!([["gpu", 0.5]])), "invalid type");
    assert_not_read::<Profile>(json!("NOBODY KNOWS"), "unknown variant `NOBODY KNOWS`");
    assert_not_read::<Profile>(json!({ "concrete": { "cpu": 1 } }), "missing field");
    assert_not_read::<Profile>(json!(null), "invalid type");
}

/// Other writers may use another order, or amounts of zero.
#[test]
fn profile_in_another_form_is_read_in_the_form_of_equal_profiles() {
    let sloppy = concrete(0, json!([["gpu", 100_000_000], ["none", 0], ["fpga", 100_000_000]]));
    let expected = ResourceProfile::builder()
        .task_heap_memory_bytes(1)
        .extended_resource("fpga", 1.0)
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let read: ResourceProfile = from_value(sloppy).expect("it can be read");
    assert_eq!(read, expected);
    assert_eq!(to_value(&read).expect("written"), to_value(&expected).expect("written"));
    assert!(read.is_matching(&expected) && expected.is_matching(&read));
}

#[test]
fn slot_requests_are_read_back() {
    assert_form(
        &SlotRequest::new(
            JobId::from_u128(1),
            AllocationId::from_u128(2),
            ResourceProfile::ANY,
            "job-master",
        ),
        json!({
            "job_id": "00000000-0000-0000-0000-000000000001",
            "allocation_id": "00000000-0000-0000-0000-000000000002",
            "resource_profile": "ANY",
            "target_address": "job-master",
        }),
    );
}

#[test]
fn slot_reports_are_read_back() {
    let held = SlotStatus::allocated(slot(), ample(), AllocationId::from_u128(2), JobId::from_u128(1));
    let free = SlotStatus::free(SlotId::new("pod_7", 0), ResourceProfile::UNKNOWN);
    assert_round_trip(&held);
    assert_round_trip(&free);
    // In the order given, with and without a revision.
    let report = SlotReport::new(vec![held, free]);
    assert_round_trip(&report);
    assert_round_trip(&report.clone().with_revision(u64::MAX));
    assert_round_trip(&SlotReport::default());
    let written = to_value(report.with_revision(4)).expect("it can be written");
    assert_eq!(written["revision"], json!(4));
    assert_eq!(written["statuses"][1]["allocation"], Value::Null);
    assert_eq!(
        written["statuses"][0]["allocation"],
        json!({
            "id": "00000000-0000-0000-0000-000000000002",
            "job": "00000000-0000-0000-0000-000000000001",
        })
    );
}

#[test]
fn messages_to_a_task_executor_are_read_back() {
    let request = AllocateSlot {
        slot_id: slot(),
        job_id: JobId::from_u128(1),
        allocation_id: AllocationId::from_u128(2),
        resource_profile: ample(),
        target_address: "job-master".into(),
        leader_id: LeaderId::from_u128(3),
        instance_id: InstanceId::from_u128(4),
        attempt: 5,
    };
    assert_round_trip(&request);
    let free = FreeSlot {
        slot_id: request.slot_id.clone(),
        job_id: request.job_id,
        allocation_id: request.allocation_id,
        leader_id: request.leader_id,
        instance_id: request.instance_id,
        attempt: 6,
    };
    assert_round_trip(&free);
    let mut incomplete = to_value(&free).expect("it can be written");
    incomplete.as_object_mut().expect("an object").remove("attempt");
    assert_not_read::<FreeSlot>(incomplete, "missing field `attempt`");
}

#[test]
fn answers_of_a_task_executor_are_read_back() {
    assert_form(&Acknowledge::new(), json!({ "revision": null }));
    assert_form(&Acknowledge::new().with_revision(7), json!({ "revision": 7 }));
    let occupied = SlotAllocationError::Occupied {
        allocation_id: AllocationId::from_u128(2),
        job_id: JobId::from_u128(1),
    };
    assert_round_trip(&occupied);
    assert_form(
        &SlotAllocationError::rejected("no"),
        json!({ "Rejected": { "reason": "no" } }),
    );
    assert_round_trip(&SlotAllocationError::unreachable("gone"));
    assert_form(&SlotAllocationError::Timeout, json!("Timeout"));
}

#[test]
fn release_checks_and_their_answers_are_read_back() {
    let check = ReleaseCheck {
        instance_id: InstanceId::from_u128(4),
        leader_id: LeaderId::from_u128(3),
        number: u64::MAX,
    };
    assert_form(
        &check,
        json!({
            "instance_id": "00000000-0000-0000-0000-000000000004",
            "leader_id": "00000000-0000-0000-0000-000000000003",
            "number": u64::MAX,
        }),
    );
    assert_form(&ReleaseDecision::Release, json!("Release"));
    assert_form(&ReleaseDecision::Keep, json!("Keep"));
    assert_form(&ReleaseDecision::Later, json!("Later"));
    assert_not_read::<ReleaseDecision>(json!("Perhaps"), "unknown variant `Perhaps`");
    let mut incomplete = to_value(check).expect("it can be written");
    incomplete.as_object_mut().expect("an object").remove("number");
    assert_not_read::<ReleaseCheck>(incomplete, "missing field `number`");
}

#[test]
fn limits_are_written_as_names() {
    assert_form(&Limit::Slots, json!("Slots"));
    assert_form(&Limit::CpuCores, json!("CpuCores"));
    assert_form(&Limit::Memory, json!("Memory"));
}
