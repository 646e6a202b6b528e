use std::fmt::Debug;

use prost::Message;

use super::*;

const DYNAMIC: u32 = 1 << 31;

fn amounts(cores: f64, mebibytes: u64) -> ResourceProfile {
    let profile = ResourceProfile::builder().cpu_cores(cores);
    profile.task_heap_memory_mebibytes(mebibytes).build().unwrap()
}

/// Returns a message as the other end reads it.
fn sent<M: Message + Default + PartialEq + Debug>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn read(report: v1::SlotReport) -> Result<SlotReport, ProtocolError> {
    slot_report(&"w".into(), report)
}

fn cut(number: u32, profile: ResourceProfile) -> SlotStatus {
    let id = u128::from(number);
    SlotStatus::allocated(
        SlotId::dynamic("w", number),
        profile,
        AllocationId::from_u128(id),
        JobId::from_u128(7),
    )
}

/// The report of a dynamic worker with one cut, as a message.
fn dynamic_report() -> v1::SlotReport {
    let worker = DynamicResources::new(amounts(8.0, 4096)).with_free(amounts(5.0, 3072));
    (&SlotReport::of_dynamic(worker, vec![cut(0, amounts(3.0, 1024))])).into()
}

#[test]
fn the_report_of_a_static_worker_arrives_as_it_was_sent() {
    let statuses = (0..3).map(|number| SlotStatus::free(SlotId::new("w", number), amounts(1.0, 512)));
    let report = SlotReport::new(statuses.collect()).with_revision(4);
    let message = sent(&v1::SlotReport::from(&report));
    assert_eq!(message.dynamic, None);
    assert_eq!(read(message), Ok(report));
}

#[test]
fn the_report_of_a_dynamic_worker_arrives_as_it_was_sent() {
    let gpu = ResourceProfile::builder().cpu_cores(2.0).extended_resource("gpu", 0.5);
    let workers = [
        DynamicResources::new(amounts(8.0, 4096)),
        DynamicResources::new(amounts(8.0, 4096))
            .with_default_slot(amounts(2.0, 256))
            .with_free(amounts(1.0, 0)),
        DynamicResources::new(ResourceProfile::ANY).with_free(ResourceProfile::ANY),
    ];
    for worker in workers {
        let cuts = vec![
            cut(0, amounts(3.0, 1024)),
            cut(5, gpu.clone().build().unwrap()),
            cut(DYNAMIC - 1, amounts(3.0, 1024)),
        ];
        let report = SlotReport::of_dynamic(worker, cuts).with_revision(9);
        let message = sent(&v1::SlotReport::from(&report));
        assert_eq!((message.profiles.len(), message.slots[2].slot_number), (2, u32::MAX));
        assert_eq!(read(message), Ok(report));
    }
}

#[test]
fn bad_reports_of_dynamic_workers_are_refused_with_the_field_at_fault() {
    type Change = fn(&mut v1::SlotReport, &mut v1::DynamicResources);
    let cases: [(Change, &str); 6] = [
        (|_, worker| worker.total = None, "total: missing"),
        (
            |_, worker| worker.total = Some((&ResourceProfile::UNKNOWN).into()),
            "total: it is UNKNOWN",
        ),
        (|_, worker| worker.total.as_mut().unwrap().cpu_cores = -1.0, "total: "),
        (|_, worker| worker.free.as_mut().unwrap().cpu_cores = f64::NAN, "free: "),
        (
            |_, worker| {
                let cpu_cores = f64::INFINITY;
                worker.default_slot = Some(v1::ResourceProfile {
                    cpu_cores,
                    ..Default::default()
                });
            },
            "default_slot: ",
        ),
        (
            |report, _| report.slots[0].profile = 1,
            "profile: not in the list of profiles",
        ),
    ];
    for (change, expected) in cases {
        let mut report = dynamic_report();
        let mut worker = report.dynamic.take().unwrap();
        change(&mut report, &mut worker);
        report.dynamic = Some(worker);
        let error = read(report).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error} instead of {expected}");
    }
    assert!(read(dynamic_report()).is_ok());
}

#[test]
fn each_answer_to_a_slot_request_arrives_as_it_was_sent() {
    let request = AllocateSlot {
        slot_id: SlotId::dynamic("w", 3),
        job_id: JobId::from_u128(7),
        allocation_id: AllocationId::from_u128(1),
        resource_profile: amounts(1.0, 0),
        target_address: "job:1".into(),
        leader_id: Epoch(5).leader_id(),
        instance_id: InstanceId::from_u128(9),
        attempt: 2,
    };
    let answers = [
        Ok(Acknowledge::new().with_revision(6)),
        Err(SlotAllocationError::Occupied {
            allocation_id: AllocationId::from_u128(2),
            job_id: JobId::from_u128(8),
        }),
        Err(SlotAllocationError::insufficient(amounts(0.5, 256))),
        Err(SlotAllocationError::insufficient(ResourceProfile::ZERO)),
    ];
    for answer in answers {
        let message = sent(&slot_answer(&request, &answer));
        assert_eq!(message.attempt.as_ref().map(|attempt| attempt.number), Some(2));
        assert_eq!(slot_result(message.result), Ok(answer));
    }
}

#[test]
fn a_refusal_without_its_resources_is_refused() {
    use v1::slot_answer::Result as Answer;
    let refused = |free| slot_result(Some(Answer::Insufficient(v1::Insufficient { free }))).unwrap_err();
    assert_eq!(refused(None), ProtocolError::missing("free"));
    let negative = v1::ResourceProfile {
        cpu_cores: -1.0,
        ..v1::ResourceProfile::default()
    };
    assert_eq!(refused(Some(negative)).field, "free");
}

#[test]
fn the_request_for_a_cut_arrives_as_it_was_sent() {
    let registration = Registration {
        epoch: Epoch(5),
        resource_id: "w".into(),
        instance_id: InstanceId::from_u128(9),
    };
    let request = AllocateSlot {
        slot_id: SlotId::dynamic("w", 3),
        job_id: JobId::from_u128(7),
        allocation_id: AllocationId::from_u128(1),
        resource_profile: amounts(1.5, 100),
        target_address: "job:1".into(),
        leader_id: Epoch(5).leader_id(),
        instance_id: InstanceId::from_u128(9),
        attempt: 2,
    };
    let message = sent(&v1::AllocateSlot::from(&request));
    assert_eq!(message.slot_number, DYNAMIC + 3);
    assert_eq!(registration.allocate_slot(message), Ok(request));

    let freed = SlotFreed::new(SlotId::dynamic("w", 3), AllocationId::from_u128(1));
    let freed = freed.with_revision(InstanceId::from_u128(9), 4).with_attempt(2);
    assert_eq!(registration.slot_freed(sent(&v1::SlotFreed::from(&freed))), Ok(freed));
}
