//! Serialization, with the feature `serde`: values are read back as they were written, and values
//! that no constructor allows are refused.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};
use slot_manager::config::Limit;
use slot_manager::error::{
    Conflict, InvalidReport, NotStarted, RegistrationError, ResourceManagerError, SlotAllocationError,
    SlotManagerError, SlotReportError, SlotRequestError, StartError,
};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, FreeSlot, GrantLoss, Release, ReleaseCause, ReleaseCheck,
    ReleaseDecision, ReleaseResource, RequestFailure, SlotFreed, WithdrawResource, Withdrawal, WithdrawalCause,
    WorkerPromise,
};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RecoveryOutcome, RegistrationOutcome, ReleaseAnswerOutcome,
    RenewalOutcome, ReportOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome, Stale, UnblockOutcome,
    UnregistrationOutcome, WorkerFailedOutcome,
};
use slot_manager::task_executor::TaskSlotTable;
use slot_manager::{
    AllocationId, DynamicResources, InstanceId, JobId, LeaderId, ResourceAmounts, ResourceId, ResourceProfile, SlotId,
    SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, Timestamp, WorkerRequestId,
};

use crate::common::worker_request;

/// Checks that a value is read back equal: from a value, from a text, and from bytes that do not
/// describe themselves.
#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let written = to_value(value).expect("it can be written");
    assert_eq!(&from_value::<T>(written).expect("it can be read"), value);
    let text = serde_json::to_string(value).expect("it can be written");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it can be read"), value);
    let bytes = postcard::to_stdvec(value).expect("it can be written");
    assert_eq!(&postcard::from_bytes::<T>(&bytes).expect("it can be read"), value);
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
fn ids_are_written_as_logs_show_them() {
    const TEXT: &str = "000000000000000000000000000000a1";
    assert_form(&AllocationId::from_u128(0xa1), json!(TEXT));
    assert_form(&JobId::from_u128(0xa1), json!(TEXT));
    assert_form(&InstanceId::from_u128(0xa1), json!(TEXT));
    assert_form(&LeaderId::from_u128(0xa1), json!(TEXT));
    assert_form(&ResourceId::new("a \"strange\" näme\n"), json!("a \"strange\" näme\n"));
    assert_form(&slot(), json!("pod_7_3"));
    assert_form(&SlotId::new("", u32::MAX), json!("_4294967295"));
    assert_form(&SlotId::dynamic("pod_7", 3), json!("pod_7_2147483651"));
    assert_form(
        &worker_request(u64::MAX),
        json!("00000000000000000000000000000001-18446744073709551615"),
    );
}

#[test]
fn ids_are_bytes_and_structs_in_compact_formats() {
    // A length, then the bytes.
    let id = AllocationId::from_u128(0x0102);
    assert_eq!(postcard::to_stdvec(&id), Ok([&[16][..], &id.to_bytes()].concat()));
    assert_eq!(postcard::to_stdvec(&SlotId::new("tm", 3)), Ok(b"\x02tm\x03".to_vec()));
}

#[test]
fn ids_are_read_from_every_form_of_their_text() {
    let id = AllocationId::from_u128(u128::MAX / 7);
    for text in [id.to_string(), id.as_uuid().hyphenated().to_string()] {
        assert_eq!(from_value::<AllocationId>(json!(text)).expect("its text"), id);
    }
}

#[test]
fn ids_may_be_keys_of_a_map() {
    let map = BTreeMap::from([(JobId::from_u128(1), 1), (JobId::from_u128(2), 2)]);
    assert_round_trip(&map);
    let map = BTreeMap::from([(ResourceId::new("tm"), worker_request(1))]);
    assert_round_trip(&map);
    let map = BTreeMap::from([(slot(), AllocationId::from_u128(1))]);
    assert_form(&map, json!({ "pod_7_3": AllocationId::from_u128(1) }));
}

#[test]
fn invalid_ids_are_not_read() {
    assert_not_read::<AllocationId>(json!("a1"), "\"a1\" is not an allocation id");
    assert_not_read::<JobId>(json!(7), "invalid type: integer `7`, expected the text of an id");
    assert_not_read::<SlotId>(json!("tm_-1"), "\"tm_-1\" is not a slot id");
    assert_not_read::<SlotId>(json!("tm"), "\"tm\" is not a slot id");
    assert_not_read::<SlotId>(json!({ "resource_id": "tm", "slot_number": 1 }), "invalid type: map");
    assert_not_read::<WorkerRequestId>(json!(-1), "invalid type");
}

#[test]
fn times_are_written_in_nanoseconds_and_never_as_null() {
    assert_form(&Timestamp::ZERO, json!(0));
    assert_form(&Timestamp::from_millis(1500), json!(1_500_000_000));
    assert_form(&Timestamp::from_nanos(u64::MAX - 1), json!(u64::MAX - 1));
    assert_form(&Timestamp::MAX, Value::Null);
    assert_eq!(
        from_value::<Timestamp>(json!(u64::MAX)).expect("a number"),
        Timestamp::MAX
    );
    assert_not_read::<Timestamp>(
        json!(-1),
        "invalid value: integer `-1`, expected a number of nanoseconds",
    );
    assert_not_read::<Timestamp>(json!(1.5), "invalid type");
    assert_not_read::<Timestamp>(json!("never"), "invalid type");
}

/// An absent deadline must not be read as never.
#[test]
fn absent_time_is_not_read_as_never() {
    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Lease {
        valid_until: Timestamp,
        renewed_at: Option<Timestamp>,
    }

    let lease = Lease {
        valid_until: Timestamp::MAX,
        renewed_at: Some(Timestamp::from_secs(1)),
    };
    assert_form(&lease, json!({ "valid_until": null, "renewed_at": 1_000_000_000 }));
    assert_not_read::<Lease>(json!({ "renewed_at": null }), "missing field `valid_until`");
}

#[test]
fn profiles_without_amounts_are_written_as_names() {
    assert_form(&ResourceProfile::UNKNOWN, json!("unknown"));
    assert_form(&ResourceProfile::ANY, json!("any"));
}

#[test]
fn profiles_are_written_in_cores_and_bytes_without_zero_amounts() {
    assert_form(
        &ample(),
        json!({
            "cpu_cores": 0.1,
            "task_heap_memory_bytes": 1,
            "task_off_heap_memory_bytes": 2,
            "managed_memory_bytes": 3,
            "network_memory_bytes": u64::MAX - 6,
            "extended_resources": { "fpga": 2.0, "gpu": 0.33 },
        }),
    );
    assert_form(&ResourceProfile::ZERO, json!({}));
    assert_form(&cores(1.0), json!({ "cpu_cores": 1.0 }));
    assert_form(&cores(1e-8), json!({ "cpu_cores": 1e-8 }));
}

fn cores(cores: f64) -> ResourceProfile {
    let profile = ResourceProfile::builder().cpu_cores(cores).build();
    profile.expect("a valid amount")
}

/// A floating-point number does not carry all digits of a fraction above 16 million.
#[test]
fn very_large_amounts_are_written_with_all_digits() {
    assert_form(&cores(16_000_000.1), json!({ "cpu_cores": 16_000_000.1 }));
    assert_form(&cores(2e10), json!({ "cpu_cores": 2e10 }));
    let whole = cores(1e11);
    let smallest = cores(1e-8);
    let sum = whole.checked_add(&smallest).expect("it fits in 64 bits");
    assert_form(&sum, json!({ "cpu_cores": "100000000000.00000001" }));
    let largest = json!({ "cpu_cores": "184467440737.09551615" });
    let most: ResourceProfile = from_value(largest.clone()).expect("the largest amount");
    assert!(most.checked_add(&smallest).is_err());
    assert_form(&most, largest);
    assert_not_read::<ResourceProfile>(json!({ "cpu_cores": "184467440737.09551616" }), "invalid value");
}

#[test]
fn amounts_are_read_from_numbers_and_decimal_texts() {
    for one_and_a_half in [json!(1.5), json!("1.5"), json!("01.50000000")] {
        let form = json!({ "cpu_cores": one_and_a_half });
        assert_eq!(from_value::<ResourceProfile>(form).expect("an amount"), cores(1.5));
    }
    for two in [json!(2), json!(2.0), json!("2")] {
        let form = json!({ "cpu_cores": two });
        assert_eq!(from_value::<ResourceProfile>(form).expect("an amount"), cores(2.0));
    }
    for invalid in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1.000000001",
        "1 ",
        "1.2.3",
        "٣",
        "1.-1",
    ] {
        let message = "expected a number, or a decimal text with at most 8 digits behind the point";
        assert_not_read::<ResourceProfile>(json!({ "cpu_cores": invalid }), message);
    }
}

#[test]
fn profile_that_no_constructor_allows_is_not_read() {
    type Profile = ResourceProfile;
    assert_not_read::<Profile>(
        json!({ "task_heap_memory_bytes": 1, "network_memory_bytes": u64::MAX }),
        "memory: the amount is too large",
    );
    assert_not_read::<Profile>(json!({ "cpu_cores": -1 }), "cpu: -1 is not an amount");
    assert_not_read::<Profile>(json!({ "cpu_cores": 1e12 }), "cpu: 1000000000000 is not an amount");
    assert_not_read::<Profile>(
        json!({ "extended_resources": { "gpu": -0.5 } }),
        "gpu: -0.5 is not an amount",
    );
    assert_not_read::<Profile>(json!({ "managed_memory_bytes": 0.5 }), "invalid type");
    assert_not_read::<Profile>(json!({ "managed_memory_bytes": -1 }), "invalid value");
    assert_not_read::<Profile>(json!({ "cores": 1 }), "unknown field `cores`");
    assert_not_read::<Profile>(json!({ "cpu_cores": null }), "invalid type: null");
    assert_not_read::<Profile>(json!("NOBODY KNOWS"), "unknown variant `NOBODY KNOWS`");
    assert_not_read::<Profile>(json!(null), "expected \"unknown\", \"any\" or an object of amounts");
    assert_not_read::<Profile>(json!([1.0]), "invalid type: sequence");
    let twice = r#"{ "extended_resources": { "gpu": 1, "fpga": 1, "gpu": 2 } }"#;
    let error = serde_json::from_str::<Profile>(twice).expect_err("it is invalid");
    assert!(
        error.to_string().contains("gpu: the extended resource is given twice"),
        "{error}"
    );
    let twice = r#"{ "cpu_cores": 1, "cpu_cores": 1 }"#;
    let error = serde_json::from_str::<Profile>(twice).expect_err("it is invalid");
    assert!(error.to_string().contains("duplicate field `cpu_cores`"), "{error}");
}

/// The compact form of a profile with amounts, for tests that change it.
#[derive(Debug, Serialize)]
enum Compact<'a> {
    #[expect(dead_code, reason = "the number of the variant counts")]
    Unknown,
    #[expect(dead_code, reason = "the number of the variant counts")]
    Any,
    Amounts {
        cpu: u64,
        memory: [u64; 4],
        extended: &'a [(&'a str, u64)],
    },
}

#[test]
fn compact_profile_is_checked_as_it_is_read() {
    let read = |memory, extended| {
        let form = Compact::Amounts {
            cpu: 1,
            memory,
            extended,
        };
        let bytes = postcard::to_stdvec(&form).expect("it can be written");
        postcard::from_bytes::<ResourceProfile>(&bytes)
    };
    // Other writers may use another order, or amounts of zero.
    let expected = ResourceProfile::builder()
        .cpu_cores(1e-8)
        .task_heap_memory_bytes(7)
        .extended_resource("fpga", 1.0)
        .extended_resource("gpu", 1.0)
        .build()
        .expect("valid amounts");
    let sloppy = &[("gpu", 100_000_000), ("none", 0), ("fpga", 100_000_000)];
    assert_eq!(read([7, 0, 0, 0], sloppy), Ok(expected));
    read([1, 0, 0, u64::MAX], &[]).expect_err("the total memory overflows");
    read([0; 4], &[("gpu", 1), ("fpga", 1), ("gpu", 2)]).expect_err("an extended resource is given twice");
}

/// Other writers may use another order, or amounts of zero.
#[test]
fn profile_in_another_form_is_read_in_the_form_of_equal_profiles() {
    let sloppy = json!({
        "task_heap_memory_bytes": 1,
        "network_memory_bytes": 0,
        "extended_resources": { "gpu": 1, "none": 0, "fpga": 1.000_000_001 },
        "cpu_cores": 0,
    });
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
fn amounts_are_written_as_a_profile_with_them() {
    let amounts = ResourceAmounts::try_from(&ample()).expect("it has amounts");
    assert_form(&amounts, to_value(ample()).expect("it can be written"));
    assert_form(&ResourceAmounts::default(), json!({}));
    // Amounts are not checked.
    let negative = ResourceAmounts {
        cpu_cores: -1.0,
        ..ResourceAmounts::default()
    };
    assert_form(&negative, json!({ "cpu_cores": -1.0 }));
    assert_not_read::<ResourceAmounts>(json!({ "cores": 1 }), "unknown field `cores`");
    assert_not_read::<ResourceAmounts>(json!([]), "expected an object of amounts");
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
            "job_id": "00000000000000000000000000000001",
            "allocation_id": "00000000000000000000000000000002",
            "resource_profile": "any",
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
    assert_eq!(written["statuses"][1]["slot_id"], json!("pod_7_0"));
    assert_eq!(written["statuses"][1]["resource_profile"], json!("unknown"));
    assert_eq!(written["statuses"][1]["allocation"], Value::Null);
    assert_eq!(
        written["statuses"][0]["allocation"],
        json!({
            "id": "00000000000000000000000000000002",
            "job": "00000000000000000000000000000001",
        })
    );
}

#[test]
fn slot_report_is_written_for_people() {
    let free = SlotStatus::free(slot(), cores(2.0));
    assert_form(
        &SlotReport::new(vec![free]).with_revision(4),
        json!({
            "statuses": [{ "slot_id": "pod_7_3", "resource_profile": { "cpu_cores": 2.0 }, "allocation": null }],
            "revision": 4,
            "dynamic": null,
        }),
    );
}

/// Task executors that know no dynamic workers write no resources.
#[test]
fn slot_report_without_resources_is_read() {
    let form = json!({
        "statuses": [{ "slot_id": "pod_7_3", "resource_profile": "any", "allocation": null }],
        "revision": 4,
    });
    let free = SlotStatus::free(slot(), ResourceProfile::ANY);
    let read: SlotReport = from_value(form).expect("it can be read");
    assert_eq!(read, SlotReport::new(vec![free]).with_revision(4));
}

#[test]
fn slot_report_of_a_dynamic_worker_is_read_back() {
    let slot_id = SlotId::dynamic("pod_7", 0);
    let held = SlotStatus::allocated(slot_id, cores(2.0), AllocationId::from_u128(2), JobId::from_u128(1));
    let worker = DynamicResources::new(cores(8.0))
        .with_default_slot(cores(1.0))
        .with_free(cores(6.0));
    assert_form(
        &SlotReport::of_dynamic(worker, vec![held]).with_revision(4),
        json!({
            "statuses": [{
                "slot_id": "pod_7_2147483648",
                "resource_profile": { "cpu_cores": 2.0 },
                "allocation": {
                    "id": "00000000000000000000000000000002",
                    "job": "00000000000000000000000000000001",
                },
            }],
            "revision": 4,
            "dynamic": {
                "total": { "cpu_cores": 8.0 },
                "default_slot": { "cpu_cores": 1.0 },
                "free": { "cpu_cores": 6.0 },
            },
        }),
    );
    assert_round_trip(&SlotReport::of_dynamic(ample(), vec![]));
    assert_round_trip(&SlotReport::of_dynamic(ResourceProfile::UNKNOWN, vec![]));
}

#[test]
fn resources_of_a_dynamic_worker_are_read_back() {
    let worker = DynamicResources::new(ample());
    assert_round_trip(&worker);
    assert_round_trip(&worker.clone().with_default_slot(cores(0.1)));
    assert_round_trip(&worker.with_default_slot(ResourceProfile::ANY).with_free(ample()));
    let any = DynamicResources::new(ResourceProfile::ANY);
    assert_form(&any, json!({ "total": "any", "default_slot": null, "free": null }));
    // Only the total must be there.
    let read: DynamicResources = from_value(json!({ "total": "any" })).expect("it can be read");
    assert_eq!(read, any);
    assert_not_read::<DynamicResources>(json!({ "free": "any" }), "missing field `total`");
}

#[test]
fn report_of_a_dynamic_slot_table_is_read_back() {
    // given
    let worker = DynamicResources::new(ample()).with_default_slot(cores(0.01));
    let mut table = TaskSlotTable::dynamic("pod_7", worker);
    assert_round_trip(&table.report());
    table.connect(LeaderId::from_u128(3), InstanceId::from_u128(4));
    for (number, profile) in (0..).zip([cores(0.03), ResourceProfile::UNKNOWN]) {
        let request = AllocateSlot {
            slot_id: SlotId::dynamic("pod_7", number),
            job_id: JobId::from_u128(1),
            allocation_id: AllocationId::from_u128(number.into()),
            resource_profile: profile,
            target_address: "job-master".into(),
            leader_id: LeaderId::from_u128(3),
            instance_id: InstanceId::from_u128(4),
            attempt: number.into(),
        };
        table.request_slot(&request, Timestamp::ZERO).expect("it fits");
    }

    // when, then
    let report = table.report();
    assert_round_trip(&report);
    let written = to_value(&report).expect("it can be written");
    assert_eq!(written["dynamic"]["free"]["cpu_cores"], json!(0.06));
    assert_eq!(written["statuses"][1]["resource_profile"], json!({ "cpu_cores": 0.01 }));
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
    let freed = SlotFreed::new(SlotId::new("tm", 3), AllocationId::from_u128(1));
    assert_form(
        &freed.with_revision(InstanceId::from_u128(4), 5).with_attempt(6),
        json!({
            "slot_id": "tm_3",
            "allocation_id": "00000000000000000000000000000001",
            "instance_id": "00000000000000000000000000000004",
            "revision": 5,
            "attempt": 6,
        }),
    );
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
    assert_form(
        &SlotAllocationError::insufficient(cores(0.5)),
        json!({ "Insufficient": { "free": { "cpu_cores": 0.5 } } }),
    );
    assert_round_trip(&SlotAllocationError::insufficient(ample()));
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
            "instance_id": "00000000000000000000000000000004",
            "leader_id": "00000000000000000000000000000003",
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
fn answers_of_the_resource_manager_are_read_back() {
    assert_form(
        &WorkerPromise::Slots(vec![cores(2.0), ResourceProfile::ANY]),
        json!({ "Slots": [{ "cpu_cores": 2.0 }, "any"] }),
    );
    assert_form(&WorkerPromise::Unspecified, json!("Unspecified"));
    assert_form(&WorkerPromise::Declined, json!("Declined"));
    assert_form(&Withdrawal::Confirmed, json!("Confirmed"));
    assert_form(&Withdrawal::TooLate, json!("TooLate"));
    assert_form(&Release::Accepted, json!("Accepted"));
    assert_form(&Release::Declined, json!("Declined"));
    assert_form(
        &ResourceManagerError::new("the quota is used up"),
        json!({ "reason": "the quota is used up" }),
    );
}

#[test]
fn causes_of_a_release_are_read_back() {
    assert_form(
        &ReleaseCause::IdleTimeout {
            idle_since: Timestamp::from_secs(30),
            idle_period: 2,
        },
        json!({ "IdleTimeout": { "idle_since": 30_000_000_000_u64, "idle_period": 2 } }),
    );
}

#[test]
fn messages_to_the_resource_manager_are_read_back() {
    assert_form(
        &ReleaseResource {
            resource_id: ResourceId::new("tm"),
            instance_id: InstanceId::from_u128(4),
            worker_request: Some(worker_request(12)),
            is_blocked: true,
            cause: ReleaseCause::IdleTimeout {
                idle_since: Timestamp::from_secs(1),
                idle_period: 2,
            },
        },
        json!({
            "resource_id": "tm",
            "instance_id": "00000000000000000000000000000004",
            "worker_request": "00000000000000000000000000000001-12",
            "is_blocked": true,
            "cause": { "IdleTimeout": { "idle_since": 1_000_000_000, "idle_period": 2 } },
        }),
    );
    assert_round_trip(&WithdrawResource {
        worker_request: worker_request(12),
        cause: WithdrawalCause::NotNeeded,
    });
    assert_form(
        &WithdrawalCause::LimitReached { limit: Limit::Slots },
        json!({ "LimitReached": { "limit": "Slots" } }),
    );
}

/// A service tells a job why its request failed.
#[test]
fn causes_of_a_failed_request_are_read_back() {
    let of = AllocationFailureCause::RequestFailed;
    assert_form(
        &of(RequestFailure::Timeout {
            timeout: Duration::from_millis(90_500),
            resource_profile: cores(0.5),
            last_failure: Some(SlotAllocationError::rejected("the disk is full")),
        }),
        json!({
            "RequestFailed": {
                "Timeout": {
                    "timeout": { "secs": 90, "nanos": 500_000_000 },
                    "resource_profile": { "cpu_cores": 0.5 },
                    "last_failure": { "Rejected": { "reason": "the disk is full" } },
                },
            },
        }),
    );
    assert_round_trip(&of(RequestFailure::Timeout {
        timeout: Duration::MAX,
        resource_profile: ResourceProfile::UNKNOWN,
        last_failure: None,
    }));
    assert_form(
        &of(RequestFailure::ResourceManager(ResourceManagerError::new("no quota"))),
        json!({ "RequestFailed": { "ResourceManager": { "reason": "no quota" } } }),
    );
    assert_form(
        &of(RequestFailure::Unfulfillable {
            resource_profile: ResourceProfile::ANY,
        }),
        json!({ "RequestFailed": { "Unfulfillable": { "resource_profile": "any" } } }),
    );
    assert_round_trip(&of(RequestFailure::HeldByAnotherJob {
        slot_id: slot(),
        job_id: JobId::from_u128(1),
    }));
}

/// A service tells a job why it lost a slot.
#[test]
fn causes_of_a_lost_grant_are_read_back() {
    let of = |loss| AllocationFailureCause::GrantLost { slot_id: slot(), loss };
    assert_form(
        &of(GrantLoss::TaskManagerUnregistered {
            instance_id: InstanceId::from_u128(4),
            cause: "its heartbeat timed out".into(),
        }),
        json!({
            "GrantLost": {
                "slot_id": "pod_7_3",
                "loss": {
                    "TaskManagerUnregistered": {
                        "instance_id": "00000000000000000000000000000004",
                        "cause": "its heartbeat timed out",
                    },
                },
            },
        }),
    );
    assert_form(
        &of(GrantLoss::ReportedFree),
        json!({ "GrantLost": { "slot_id": "pod_7_3", "loss": "ReportedFree" } }),
    );
    assert_round_trip(&of(GrantLoss::HeldByAnother {
        allocation_id: AllocationId::from_u128(2),
        job_id: JobId::from_u128(1),
    }));
    assert_round_trip(&of(GrantLoss::SlotRemoved));
}

/// A service answers a message with the outcome.
#[test]
fn outcomes_are_read_back() {
    let granted = AllocationStatus::Granted { slot_id: slot() };
    assert_form(
        &SlotRequestOutcome::Accepted(granted.clone()),
        json!({ "Accepted": { "Granted": { "slot_id": "pod_7_3" } } }),
    );
    assert_form(
        &SlotRequestOutcome::Duplicate(AllocationStatus::Waiting),
        json!({ "Duplicate": "Waiting" }),
    );
    assert_round_trip(&AllocationStatus::InFlight { slot_id: slot() });
    assert_form(&CancelOutcome::Cancelled, json!("Cancelled"));
    assert_round_trip(&CancelOutcome::AlreadyGranted { slot_id: slot() });
    assert_round_trip(&CancelOutcome::Unknown);
    assert_round_trip(&RegistrationOutcome::Registered);
    assert_form(
        &RegistrationOutcome::Replaced {
            previous: InstanceId::from_u128(4),
        },
        json!({ "Replaced": { "previous": "00000000000000000000000000000004" } }),
    );
    let stale = Stale {
        revision: 3,
        highest_seen: 4,
    };
    assert_form(
        &RegistrationOutcome::Reported(ReportOutcome::Ignored(stale)),
        json!({ "Reported": { "Ignored": { "revision": 3, "highest_seen": 4 } } }),
    );
    assert_round_trip(&ReportOutcome::Applied);
    assert_round_trip(&ReportOutcome::Unknown);
    assert_round_trip(&UnregistrationOutcome::Unregistered);
    assert_round_trip(&UnregistrationOutcome::Unknown);
    assert_form(
        &WorkerFailedOutcome::Forgotten { promised_slots: 2 },
        json!({ "Forgotten": { "promised_slots": 2 } }),
    );
    assert_round_trip(&WorkerFailedOutcome::Unknown);
    assert_round_trip(&ReleaseAnswerOutcome::Released);
    assert_round_trip(&ReleaseAnswerOutcome::Stays);
    assert_round_trip(&ReleaseAnswerOutcome::Open);
    assert_round_trip(&ReleaseAnswerOutcome::Unknown);
    assert_round_trip(&BlockOutcome::Blocked);
    assert_round_trip(&BlockOutcome::AlreadyBlocked);
    assert_round_trip(&UnblockOutcome::Unblocked);
    assert_round_trip(&UnblockOutcome::NotBlocked);
}

#[test]
fn outcomes_of_freed_slots_and_answers_are_read_back() {
    assert_form(&SlotFreedOutcome::Freed, json!("Freed"));
    assert_round_trip(&SlotFreedOutcome::FreedInFlight);
    assert_round_trip(&SlotFreedOutcome::NotAllocated);
    assert_round_trip(&SlotFreedOutcome::HeldByAnother {
        allocation_id: AllocationId::from_u128(2),
    });
    assert_round_trip(&SlotFreedOutcome::Outdated);
    assert_round_trip(&SlotFreedOutcome::Unknown);
    assert_form(&SlotAnswerOutcome::Applied, json!("Applied"));
    assert_round_trip(&SlotAnswerOutcome::Unknown);
}

#[test]
fn outcomes_of_leaderships_and_recovery_are_read_back() {
    assert_round_trip(&RenewalOutcome::Renewed);
    assert_form(
        &RenewalOutcome::Resumed {
            ended_at: Timestamp::from_secs(1),
        },
        json!({ "Resumed": { "ended_at": 1_000_000_000 } }),
    );
    assert_round_trip(&RenewalOutcome::Ended);
    assert_round_trip(&RenewalOutcome::NotStarted);
    assert_form(
        &RecoveryOutcome::Waiting { missing: 2 },
        json!({ "Waiting": { "missing": 2 } }),
    );
    assert_round_trip(&RecoveryOutcome::Ended);
    assert_round_trip(&RecoveryOutcome::NotRecovering);
}

/// A service answers a message with the error.
#[test]
fn errors_are_read_back() {
    let leader_id = LeaderId::from_u128(3);
    assert_form(
        &StartError::AlreadyStarted { leader_id },
        json!({ "AlreadyStarted": { "leader_id": "00000000000000000000000000000003" } }),
    );
    assert_round_trip(&NotStarted);
    assert_round_trip(&SlotRequestError::NotStarted(NotStarted));
    assert_form(
        &SlotRequestError::Conflict {
            allocation_id: AllocationId::from_u128(2),
            conflict: Conflict::Job,
            status: AllocationStatus::Waiting,
        },
        json!({
            "Conflict": {
                "allocation_id": "00000000000000000000000000000002",
                "conflict": "Job",
                "status": "Waiting",
            },
        }),
    );
    assert_round_trip(&SlotRequestError::TooManyPendingRequests { limit: 5 });
    assert_form(
        &SlotRequestError::Failed {
            allocation_id: AllocationId::from_u128(2),
            failure: Box::new(RequestFailure::ResourceManager(ResourceManagerError::new("no quota"))),
        },
        json!({
            "Failed": {
                "allocation_id": "00000000000000000000000000000002",
                "failure": { "ResourceManager": { "reason": "no quota" } },
            },
        }),
    );
    assert_round_trip(&SlotReportError::NotStarted(NotStarted));
    let error = "tm".parse::<SlotId>().expect_err("no slot number");
    assert_form(
        &error,
        json!({ "text": "tm", "expected": "a slot id (<resource id>_<slot number>)" }),
    );
}

#[test]
fn errors_of_registrations_and_slot_reports_are_read_back() {
    let invalid = InvalidReport::DuplicateSlot { slot_id: slot() };
    assert_form(
        &SlotReportError::InvalidReport(invalid.clone()),
        json!({ "InvalidReport": { "DuplicateSlot": { "slot_id": "pod_7_3" } } }),
    );
    assert_round_trip(&InvalidReport::ForeignSlot {
        resource_id: ResourceId::new("tm"),
        slot_id: slot(),
    });
    let slot_id = SlotId::dynamic("tm", 0);
    assert_form(
        &InvalidReport::FreeDynamicSlot {
            slot_id: slot_id.clone(),
        },
        json!({ "FreeDynamicSlot": { "slot_id": "tm_2147483648" } }),
    );
    assert_form(
        &InvalidReport::MixedSlots { slot_id },
        json!({ "MixedSlots": { "slot_id": "tm_2147483648" } }),
    );
    let resource_id = ResourceId::new("tm");
    assert_form(
        &InvalidReport::KindChanged {
            resource_id: resource_id.clone(),
        },
        json!({ "KindChanged": { "resource_id": "tm" } }),
    );
    assert_form(
        &InvalidReport::UnknownTotal { resource_id },
        json!({ "UnknownTotal": { "resource_id": "tm" } }),
    );
    assert_round_trip(&RegistrationError::InvalidReport(invalid));
    assert_round_trip(&RegistrationError::NotStarted(NotStarted));
    assert_form(
        &RegistrationError::LimitReached { limit: Limit::Slots },
        json!({ "LimitReached": { "limit": "Slots" } }),
    );
    assert_round_trip(&RegistrationError::InstanceOfAnotherWorker {
        instance_id: InstanceId::from_u128(4),
        registered: ResourceId::new("tm"),
        resource_id: ResourceId::new("pod_7"),
    });
}

/// They are for the log of an operator, and no message has them.
#[test]
fn errors_of_a_configuration_are_only_written() {
    let unknown = SlotManagerConfig::from_options([("slotmanager.nothing", "1")]).expect_err("no such option");
    let form = json!({ "UnknownKey": { "key": "slotmanager.nothing", "value": "1" } });
    assert_eq!(to_value(&unknown).expect("it can be written"), form);
    assert_eq!(
        to_value(SlotManagerError::from(unknown)).expect("it can be written"),
        json!({ "Config": form })
    );
    let amount = ResourceProfile::builder()
        .cpu_cores(-1.0)
        .build()
        .expect_err("negative");
    assert_eq!(
        to_value(amount).expect("it can be written"),
        json!({ "InvalidAmount": { "resource": "cpu", "amount": -1.0 } })
    );
}

#[test]
fn limits_are_written_as_names() {
    assert_form(&Limit::Slots, json!("Slots"));
    assert_form(&Limit::CpuCores, json!("CpuCores"));
    assert_form(&Limit::Memory, json!("Memory"));
}
