//! Dynamic workers, which are played by hand.

use super::*;

/// The number of the first slot that is cut from a worker.
const FIRST: u32 = 1 << 31;

fn cores(cpu_cores: f64) -> v1::ResourceProfile {
    v1::ResourceProfile {
        cpu_cores,
        ..v1::ResourceProfile::default()
    }
}

/// Returns the registration of a worker of 8 cores that holds these slots: number, cores and
/// allocation.
fn dynamic_worker(held: &[(u32, f64, Option<u128>)]) -> v1::RegisterTaskExecutor {
    let slots = held
        .iter()
        .enumerate()
        .map(|(profile, (slot_number, _, holder))| v1::SlotStatus {
            slot_number: *slot_number,
            profile: profile as u32,
            allocation: holder.map(|holder| v1::Allocation {
                allocation_id: allocation(holder),
                job_id: JobId::from_u128(7).to_bytes().into(),
            }),
        });
    let report = v1::SlotReport {
        revision: 1,
        profiles: held.iter().map(|(_, size, _)| cores(*size)).collect(),
        slots: slots.collect(),
        dynamic: Some(v1::DynamicResources {
            total: Some(cores(8.0)),
            default_slot: None,
            free: None,
        }),
    };
    v1::RegisterTaskExecutor {
        report: Some(report),
        ..worker("big")
    }
}

impl TaskExecutor {
    /// Reads the request for a slot.
    async fn asked(&mut self) -> v1::AllocateSlot {
        match self.next().await.unwrap() {
            to_task_executor::Message::AllocateSlot(request) => request,
            other => panic!("{other:?} is not the request for a slot"),
        }
    }

    async fn answer(&mut self, request: &v1::AllocateSlot, result: v1::slot_answer::Result) {
        let attempt = v1::AttemptId {
            number: request.attempt,
            allocation_id: request.allocation.clone().unwrap().allocation_id,
        };
        let answer = v1::SlotAnswer {
            attempt: Some(attempt),
            result: Some(result),
        };
        self.send(from_task_executor::Message::SlotAnswer(answer)).await;
    }
}

fn acknowledged(revision: u64) -> v1::slot_answer::Result {
    v1::slot_answer::Result::Acknowledged(v1::Acknowledged { revision })
}

#[tokio::test]
async fn slots_are_cut_from_the_total_of_a_worker() {
    let mut cluster = Cluster::start(&[]).await;
    let mut task_executor = cluster.task_executor(dynamic_worker(&[])).await;
    task_executor.registered().await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    for (number, size) in [(0, 3.0), (1, 4.5)] {
        job_master.request_with(&allocation(number), cores(size)).await;
        assert_eq!(job_master.status().await.state(), State::InFlight);
        let request = task_executor.asked().await;
        assert_eq!(request.slot_number, FIRST + number as u32);
        assert_eq!(request.resource_profile, Some(cores(size)));
        task_executor.answer(&request, acknowledged(2 + number as u64)).await;
        let granted = job_master.status().await;
        assert_eq!(
            (granted.state(), granted.slot),
            (State::Granted, format!("big_{}", request.slot_number))
        );
    }
    // Half a core is left.
    job_master.request_with(&allocation(2), cores(1.0)).await;
    assert_eq!(job_master.status().await.state(), State::Waiting);

    let freed = v1::SlotFreed {
        slot_number: FIRST,
        allocation_id: allocation(0),
        revision: 4,
        attempt: None,
    };
    task_executor.send(from_task_executor::Message::SlotFreed(freed)).await;
    let request = task_executor.asked().await;
    assert_eq!(request.slot_number, FIRST + 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_that_has_less_left_is_not_asked_for_more() {
    let mut cluster = Cluster::start(&[]).await;
    let mut task_executor = cluster.task_executor(dynamic_worker(&[])).await;
    task_executor.registered().await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    job_master.request_with(&allocation(1), cores(3.0)).await;
    let request = task_executor.asked().await;
    let insufficient = v1::Insufficient { free: Some(cores(2.0)) };
    task_executor
        .answer(&request, v1::slot_answer::Result::Insufficient(insufficient))
        .await;
    // The first request waits for more than 2 cores; the second takes them.
    job_master.request_with(&allocation(2), cores(2.0)).await;
    let request = task_executor.asked().await;
    assert_eq!(request.allocation.unwrap().allocation_id, allocation(2));
    assert_eq!(request.resource_profile, Some(cores(2.0)));
    cluster.stop().await;
}

#[tokio::test]
async fn slots_that_a_worker_holds_are_adopted() {
    let mut cluster = Cluster::start(&[]).await;
    let held = [(FIRST + 5, 3.0, Some(1)), (FIRST + 9, 4.0, Some(2))];
    let mut task_executor = cluster.task_executor(dynamic_worker(&held)).await;
    task_executor.registered().await;
    let mut job_master = cluster.job_master(Vec::new()).await;
    // The same requests again find their slots.
    for (number, size, holder) in held {
        let holder = allocation(holder.unwrap());
        job_master.request_with(&holder, cores(size)).await;
        let granted = job_master.status().await;
        assert_eq!(
            (granted.state(), granted.slot),
            (State::Granted, format!("big_{number}"))
        );
    }
    // One core is left.
    job_master.request_with(&allocation(3), cores(2.0)).await;
    assert_eq!(job_master.status().await.state(), State::Waiting);
    job_master.request_with(&allocation(4), cores(1.0)).await;
    assert_eq!(
        task_executor.asked().await.allocation.unwrap().allocation_id,
        allocation(4)
    );
    cluster.stop().await;
}

#[tokio::test]
async fn bad_dynamic_workers_are_refused_with_a_clear_status() {
    let mut cluster = Cluster::start(&[]).await;
    let without_total = |mut register: v1::RegisterTaskExecutor| {
        register.report.as_mut().unwrap().dynamic = Some(v1::DynamicResources::default());
        register
    };
    let without_dynamic = |mut register: v1::RegisterTaskExecutor| {
        register.report.as_mut().unwrap().dynamic = None;
        register
    };
    for (register, part) in [
        (without_total(dynamic_worker(&[])), "total: missing"),
        (
            dynamic_worker(&[(FIRST, 1.0, None)]),
            "the dynamic slot big_2147483648 as free",
        ),
        (dynamic_worker(&[(0, 1.0, Some(1))]), "slot big_0 is of the other kind"),
        (
            without_dynamic(dynamic_worker(&[(FIRST, 1.0, Some(1))])),
            "slot big_2147483648 is of the other kind",
        ),
    ] {
        let mut task_executor = cluster.task_executor(register).await;
        let status = task_executor.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(part), "{status}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_that_changes_its_kind_loses_its_session() {
    let mut cluster = Cluster::start(&[]).await;
    for (register, later) in [
        (worker("big"), dynamic_worker(&[])),
        (dynamic_worker(&[]), worker("big")),
    ] {
        let mut task_executor = cluster.task_executor(register).await;
        task_executor.registered().await;
        let heartbeat = from_task_executor::Message::Heartbeat(later.report.unwrap());
        task_executor.send(heartbeat).await;
        let status = task_executor.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(
            status.message().contains("has changed between static and dynamic"),
            "{status}"
        );
    }
    cluster.stop().await;
}
