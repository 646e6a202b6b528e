//! Explanations: why a request waits.

use slot_manager::config::{Limit, WorkerPolicy};
use slot_manager::error::SlotAllocationError;
use slot_manager::message::WorkerPromise;
use slot_manager::outcome::AllocationStatus;
use slot_manager::view::{Explanation, FittingSlots, RequestExplanation, SlotState, TooSmallSlots, WaitReason};
use slot_manager::{ResourceProfile, SlotManagerConfig, SlotStatus, Timestamp};

use crate::common::{
    Fixture, SECOND, allocation, ask, described, free_report, granted, in_flight, job, occupied, patient, profile,
    rejected, report, slot, small, worker_of, worker_request, workers_of,
};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

fn tiny() -> ResourceProfile {
    profile(0.5, 50)
}

/// Returns the explanation of an allocation and checks that it agrees with the other queries.
#[track_caller]
fn explain(fixture: &Fixture, id: u128) -> Explanation {
    let explanation = fixture.manager.explain(allocation(id)).expect("it is known");
    assert_eq!(explanation.allocation_id, allocation(id));
    assert_eq!(Some(&explanation.status), fixture.status(id).as_ref());
    let pending = fixture.manager.pending_slot_request(allocation(id));
    assert_eq!(explanation.request.is_some(), pending.is_some());
    if let (Some(explained), Some(pending)) = (&explanation.request, pending) {
        assert_eq!(explanation.job_id, pending.job_id());
        assert_eq!(&explained.resource_profile, pending.resource_profile());
        assert_eq!(explained.fails_at, pending.deadline());
        assert_eq!(explained.failed_attempts, pending.failed_attempts());
        let registered = fixture.manager.overview().slots.registered.slots;
        assert_eq!(explained.fitting.total() + explained.too_small.slots, registered);
        let (bound, unbound) = fixture.promised();
        assert_eq!(
            explained.fitting_promised_slots + explained.too_small_promised_slots,
            bound + unbound
        );
    }
    explanation
}

#[track_caller]
fn explain_request(fixture: &Fixture, id: u128) -> RequestExplanation {
    explain(fixture, id).request.expect("it is not granted")
}

#[track_caller]
fn waits_for(fixture: &Fixture, id: u128) -> WaitReason {
    explain_request(fixture, id).waits_for
}

/// The fitting slots that are allocated, in flight, blocked, backing off and free.
fn fitting(fixture: &Fixture, id: u128) -> [usize; 5] {
    let FittingSlots {
        allocated,
        in_flight,
        blocked,
        backing_off,
        free,
        ..
    } = explain_request(fixture, id).fitting;
    [allocated, in_flight, blocked, backing_off, free]
}

/// The slots that are too small, and the number of slots that are short of each resource.
fn too_small(fixture: &Fixture, id: u128) -> (usize, Vec<(String, usize)>) {
    let TooSmallSlots { slots, shortages, .. } = explain_request(fixture, id).too_small;
    (slots, shortages)
}

fn shortages(resources: &[(&str, usize)]) -> Vec<(String, usize)> {
    resources
        .iter()
        .map(|(name, slots)| ((*name).to_owned(), *slots))
        .collect()
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_secs(second)
}

// States.

#[test]
fn unknown_allocations_are_not_explained() {
    // given
    let mut fixture = Fixture::not_started(patient().with_request_timeout(10 * SECOND));

    // then
    assert_eq!(fixture.manager.explain(allocation(1)), None);

    // when, then
    fixture.start(1);
    assert_eq!(fixture.manager.explain(allocation(1)), None);

    // when, then
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    assert_eq!(fixture.manager.explain(allocation(1)), None, "it was cancelled");

    // when, then
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.manager.explain(allocation(2)), None, "it failed");

    // when, then
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 3);
    assert_eq!(fixture.manager.explain(allocation(3)), None, "it was freed");

    // when, then
    fixture.request(4, &small());
    fixture.suspend();
    assert_eq!(fixture.manager.explain(allocation(4)), None);
}

#[test]
fn explanation_of_a_grant_has_no_request() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);

    // when
    fixture.request(1, &small());

    // then
    let explanation = explain(&fixture, 1);
    assert_eq!(explanation.status, granted(&slot("tm", 0)));
    assert_eq!((explanation.job_id, explanation.request), (job(1), None));
}

#[test]
fn allocation_that_was_found_belongs_to_the_reported_job() {
    // given
    let mut fixture = Fixture::new();
    let found = SlotStatus::allocated(slot("tm", 0), small(), allocation(50), job(7));

    // when
    fixture.register("tm", 1, &[found].into_iter().collect());

    // then
    assert_eq!(explain(&fixture, 50).job_id, job(7));
}

#[test]
fn request_in_flight_waits_for_the_answer() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[Some(50), None]));
    fixture.advance(SECOND);

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(explain(&fixture, 1).status, in_flight(&slot("tm", 1)));
    assert_eq!(
        waits_for(&fixture, 1),
        WaitReason::Answer {
            slot_id: slot("tm", 1),
            until: at(11)
        }
    );
}

#[test]
fn request_that_is_bound_waits_for_the_worker() {
    // given
    let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.advance(SECOND);

    // when
    fixture.request(2, &wide());

    // then
    assert_eq!(explain(&fixture, 2).status, AllocationStatus::Waiting);
    assert_eq!(
        waits_for(&fixture, 2),
        WaitReason::PromisedWorker {
            worker_request: worker_request(2),
            until: at(11)
        }
    );
}

#[test]
fn request_whose_worker_was_declined_waits_for_the_next_worker_request() {
    // given
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.advance(SECOND);

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(waits_for(&fixture, 1), WaitReason::WorkerDeclined { at: at(11) });

    // when, then
    fixture.advance(10 * SECOND);
    assert_eq!(waits_for(&fixture, 1), WaitReason::WorkerDeclined { at: at(21) });
}

#[test]
fn request_that_is_deferred_by_a_limit_waits_for_that_limit() {
    let limits = [
        (
            patient().with_workers(workers_of(1).with_max_slots(Some(1))),
            Limit::Slots,
        ),
        (
            patient().with_workers(workers_of(1).with_max_total_cpu_cores(Some(1.5))),
            Limit::CpuCores,
        ),
        (
            patient().with_workers(workers_of(1).with_max_total_memory_bytes(Some(150 << 20))),
            Limit::Memory,
        ),
    ];
    for (config, limit) in limits {
        // given
        let mut fixture = Fixture::promising(config);
        fixture.register("tm", 1, &report("tm", &[Some(50)]));
        fixture.request(1, &small());

        // when
        fixture.request(2, &small());

        // then
        assert_eq!(waits_for(&fixture, 1), WaitReason::Limit { limit });
        assert_eq!(waits_for(&fixture, 2), WaitReason::Limit { limit });

        // when, then
        fixture.unregister(1);
        assert!(matches!(waits_for(&fixture, 1), WaitReason::PromisedWorker { .. }));
        assert_eq!(
            waits_for(&fixture, 2),
            WaitReason::Limit { limit },
            "the worker is for request 1"
        );
    }
}

#[test]
fn request_that_is_deferred_by_the_recovery_waits_for_its_end() {
    // given
    let config = patient()
        .with_workers(workers_of(1).with_max_slots(Some(1)))
        .with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());

    // when
    fixture.register("tm", 1, &report("tm", &[Some(50)]));

    // then
    assert_eq!(waits_for(&fixture, 1), WaitReason::Recovery { until: at(10) });

    // when, then
    fixture.advance(10 * SECOND);
    assert_eq!(waits_for(&fixture, 1), WaitReason::Limit { limit: Limit::Slots });
}

/// At most two slots, and both registered slots are too small: both make room for another worker.
#[test]
fn requests_that_are_deferred_behind_another_stay_deferred() {
    // given
    let config = patient()
        .with_workers(workers_of(1).with_max_slots(Some(2)).with_min_slots(1))
        .with_task_manager_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
    fixture.register_free("a", 1, &[tiny()]);
    fixture.register_free("b", 2, &[tiny()]);
    for id in 1..=3 {
        fixture.request(id, &small());
        assert_eq!(waits_for(&fixture, id), WaitReason::Limit { limit: Limit::Slots });
    }
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    let [first, second] = [1, 2].map(|id| {
        [
            format!("may {id} go? #{id}"),
            format!("release {id}, idle since +0ns (1)"),
        ]
    });
    fixture.expect(&[&first[0], &first[1], &ask(2), &second[0], &second[1], &ask(3)]);
    for id in 1..=2 {
        assert!(matches!(waits_for(&fixture, id), WaitReason::PromisedWorker { .. }));
    }
    assert_eq!(waits_for(&fixture, 3), WaitReason::Limit { limit: Limit::Slots });
}

#[test]
fn request_for_which_no_worker_can_be_started_waits_only_for_slots() {
    let too_wide = || described(1);
    let beyond_the_limit =
        || patient().with_workers(WorkerPolicy::new(worker_of(1, &wide())).with_max_total_cpu_cores(Some(3.0)));
    for config in [too_wide(), beyond_the_limit()] {
        let mut fixture = Fixture::promising(config);
        fixture.request(1, &wide());
        assert_eq!(waits_for(&fixture, 1), WaitReason::NothingElse);
    }
}

#[test]
fn request_that_backs_off_waits_for_the_end_of_its_backoff_and_has_a_last_failure() {
    // given
    let mut fixture = Fixture::with(patient().with_retry_backoff(10 * SECOND, 10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    let other = fixture.register_by_hand("other", 2, &report("other", &[None]));

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(explain_request(&fixture, 1).last_failure, None);

    // when, then
    fixture.answer(&gateway, 1, Err(SlotAllocationError::unreachable("no route")));
    let explained = explain_request(&fixture, 1);
    assert!(
        matches!(explained.waits_for, WaitReason::Answer { .. }),
        "it tries again"
    );
    assert_eq!(explained.failed_attempts, 1);
    assert_eq!(
        explained.last_failure,
        Some(SlotAllocationError::unreachable("no route"))
    );

    // when, then
    fixture.advance(SECOND);
    fixture.answer(&other, 2, rejected());
    let explained = explain_request(&fixture, 1);
    assert_eq!(explained.waits_for, WaitReason::Backoff { until: at(11) });
    assert_eq!(explained.failed_attempts, 2);
    assert_eq!(explained.last_failure, Some(SlotAllocationError::rejected("no")));
    assert_eq!(
        fitting(&fixture, 1),
        [0, 0, 0, 1, 1],
        "the slot that refused it is for other requests"
    );
}

#[test]
fn occupied_slot_is_the_last_failure() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when
    fixture.answer(&gateway, 1, occupied(50));

    // then
    let explained = explain_request(&fixture, 1);
    assert_eq!(
        explained.last_failure,
        Some(SlotAllocationError::Occupied {
            allocation_id: allocation(50),
            job_id: job(1)
        })
    );
    assert_eq!(fitting(&fixture, 1), [1, 0, 0, 0, 0]);
}

#[test]
fn explanation_has_the_deadline_of_the_request() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.advance(SECOND);

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(explain_request(&fixture, 1).fails_at, at(11));
}

// Slots.

/// Request 1 for a small slot waits. Three small slots are allocated, two are in flight, one backs
/// off, two are blocked.
fn with_all_kinds_of_slots() -> Fixture {
    let mut fixture = Fixture::with(patient().with_retry_backoff(10 * SECOND, 10 * SECOND));
    let gateway = fixture.register_by_hand("failing", 1, &report("failing", &[None]));
    for id in [101, 102] {
        fixture.request(id, &small());
    }
    for attempt in [1, 2] {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert!(matches!(
        fixture.state(&slot("failing", 0)),
        SlotState::BackingOff { .. }
    ));
    fixture.cancel(101);
    fixture.cancel(102);
    fixture.register("used", 2, &report("used", &[Some(50), Some(51), Some(52)]));
    fixture.register_by_hand("asked", 3, &report("asked", &[None, None]));
    fixture.request(201, &small());
    fixture.request(202, &small());
    fixture.block("blocked");
    fixture.register("blocked", 4, &report("blocked", &[None, None]));
    fixture.request(1, &small());
    fixture
}

#[test]
fn fitting_slots_are_counted_by_state() {
    // given
    let fixture = with_all_kinds_of_slots();

    // then
    assert_eq!(fitting(&fixture, 1), [3, 2, 2, 1, 0]);
    assert_eq!(explain_request(&fixture, 1).fitting.total(), 8);
    assert_eq!(too_small(&fixture, 1), (0, Vec::new()));
}

/// The slots in flight are for other requests.
#[test]
fn fitting_slots_are_counted_again_after_each_change() {
    // given
    let mut fixture = with_all_kinds_of_slots();

    // when
    fixture.unregister(2);

    // then
    assert_eq!(fitting(&fixture, 1), [0, 2, 2, 1, 0]);

    // when, then
    fixture.report(4, &report("blocked", &[None, Some(60)]));
    assert_eq!(fitting(&fixture, 1), [1, 2, 1, 1, 0]);

    // when, then
    fixture.block("failing");
    assert_eq!(fitting(&fixture, 1), [1, 2, 2, 0, 0]);
}

#[test]
fn slots_are_too_small_for_a_larger_request() {
    // given
    let mut fixture = with_all_kinds_of_slots();

    // when
    fixture.request(2, &wide());

    // then
    assert_eq!(fitting(&fixture, 2), [0; 5]);
    assert_eq!(
        too_small(&fixture, 2),
        (8, shortages(&[("cpu", 8), ("task heap memory", 8)]))
    );
}

#[test]
fn slots_that_are_too_small_are_counted_by_resource() {
    // given
    let builder = |cores: f64| ResourceProfile::builder().cpu_cores(cores);
    let slots = [
        builder(8.0),
        builder(1.0).managed_memory_bytes(8),
        builder(1.0).managed_memory_bytes(8).extended_resource("gpu", 0.5),
        builder(2.0).managed_memory_bytes(7).extended_resource("gpu", 1.0),
        builder(2.0).managed_memory_bytes(8).extended_resource("gpu", 1.0),
    ];
    let [slots @ .., needed] = slots.map(|builder| builder.build().expect("valid amounts"));
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &slots);
    fixture.register_free("other", 2, &slots[..1]);

    // when
    fixture.request(1, &needed);

    // then
    assert_eq!(
        too_small(&fixture, 1),
        (5, shortages(&[("gpu", 4), ("managed memory", 3), ("cpu", 2)])),
        "the largest number first"
    );
    assert_eq!(fitting(&fixture, 1), [0; 5]);
}

#[test]
fn each_resource_is_named_in_the_order_of_names_if_the_counts_are_equal() {
    // given
    let needed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .task_heap_memory_bytes(1)
        .task_off_heap_memory_bytes(1)
        .managed_memory_bytes(1)
        .network_memory_bytes(1)
        .extended_resource("gpu", 1.0)
        .extended_resource("fpga", 1.0)
        .build()
        .expect("valid amounts");
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[ResourceProfile::ZERO]);

    // when
    fixture.request(1, &needed);

    // then
    let names = [
        "cpu",
        "fpga",
        "gpu",
        "managed memory",
        "network memory",
        "task heap memory",
        "task off-heap memory",
    ];
    assert_eq!(too_small(&fixture, 1), (1, shortages(&names.map(|name| (name, 1)))));
}

#[test]
fn slots_without_a_concrete_profile_lack_no_named_resource() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &free_report("tm", &[ResourceProfile::UNKNOWN]));
    fixture.block("any");
    fixture.register("any", 2, &free_report("any", &[ResourceProfile::ANY]));

    // when
    fixture.request(1, &small());

    // then
    assert_eq!(too_small(&fixture, 1), (1, Vec::new()));
    assert_eq!(fitting(&fixture, 1), [0, 0, 1, 0, 0], "any slot fits");
}

#[test]
fn promised_slots_are_counted() {
    // given
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), wide(), tiny()]);

    // when
    fixture.request(1, &small());

    // then
    let explained = explain_request(&fixture, 1);
    assert_eq!(
        (explained.fitting_promised_slots, explained.too_small_promised_slots),
        (2, 1)
    );
    assert_eq!(
        too_small(&fixture, 1),
        (0, Vec::new()),
        "promised slots are not registered"
    );

    // when, then
    fixture.worker_failed(1);
    let explained = explain_request(&fixture, 1);
    assert_eq!(
        (explained.fitting_promised_slots, explained.too_small_promised_slots),
        (0, 0)
    );
}

/// An extended resource may have the name of another resource.
#[test]
fn slot_counts_once_for_each_resource_name() {
    // given
    let needed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .extended_resource("cpu", 1.0)
        .build()
        .expect("valid amounts");
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[ResourceProfile::ZERO]);

    // when
    fixture.request(1, &needed);

    // then
    let (slots, shortages) = too_small(&fixture, 1);
    assert_eq!(slots, 1);
    assert!(shortages.iter().all(|(_, slots)| *slots <= 1), "{shortages:?}");
}

// Formats.

fn explanations() -> Vec<Explanation> {
    let backing_off = {
        let mut fixture = Fixture::with(patient().with_retry_backoff(10 * SECOND, 10 * SECOND));
        fixture.register_free("tm", 1, &[small()]).answer_requests(rejected());
        fixture.request(1, &small());
        explain(&fixture, 1)
    };
    let in_flight = {
        let mut fixture = Fixture::new();
        fixture.register_by_hand("tm", 1, &report("tm", &[None]));
        fixture.request(1, &small());
        explain(&fixture, 1)
    };
    let waiting = |config: SlotManagerConfig, promise: WorkerPromise, needed: &ResourceProfile| {
        let mut fixture = Fixture::with(config);
        fixture.actions.answer_allocations(Ok(promise));
        fixture.register("tm", 1, &report("tm", &[Some(50)]));
        fixture.request(1, needed);
        explain(&fixture, 1)
    };
    let with_gpu = ResourceProfile::builder()
        .extended_resource("gpu", 1.5)
        .build()
        .expect("a valid amount");
    let granted = {
        let mut fixture = Fixture::new();
        fixture.register("tm", 1, &report("tm", &[Some(1)]));
        explain(&fixture, 1)
    };
    vec![
        backing_off,
        in_flight,
        waiting(patient(), WorkerPromise::Unspecified, &with_gpu),
        waiting(patient(), WorkerPromise::Declined, &wide()),
        waiting(
            patient().with_worker_registration_timeout(SECOND),
            WorkerPromise::Declined,
            &wide(),
        ),
        waiting(
            patient().with_workers(workers_of(1).with_max_slots(Some(1))),
            WorkerPromise::Unspecified,
            &small(),
        ),
        waiting(
            patient().with_recovery_timeout(SECOND),
            WorkerPromise::Unspecified,
            &small(),
        ),
        waiting(described(1), WorkerPromise::Unspecified, &wide()),
        granted,
    ]
}

#[test]
fn explanations_are_read_as_they_were_written() {
    for explanation in explanations() {
        let written = serde_json::to_string(&explanation).expect("it can be written");
        let read: Explanation = serde_json::from_str(&written).expect("it can be read");
        assert_eq!(read, explanation);
    }
}

#[test]
fn wait_reason_is_written_for_operators() {
    // given
    let written: Vec<_> = explanations()
        .into_iter()
        .filter_map(|explanation| explanation.request)
        .map(|request| request.waits_for.to_string())
        .collect();

    // then
    assert_eq!(
        written,
        [
            "the end of its backoff, at +10s",
            "the answer of the task executor about slot tm_0, without a time limit",
            "a promised slot of worker request 00000000000000000000000000000001-1, without a time limit",
            "a slot; the resource manager declined to start a worker; no further request",
            "a slot; the resource manager declined to start a worker; next request at +1s",
            "a slot; the slots limit allows no more workers",
            "a slot; no worker is requested during the recovery, until +1s",
            "a slot; no worker that could be started would fit",
        ]
    );
}

#[test]
fn explanation_is_written_for_operators() {
    // given
    let mut fixture = with_all_kinds_of_slots();

    // when
    fixture.register_free("tiny", 5, &[tiny()]);

    // then
    let id = "00000000000000000000000000000001";
    let expected = [
        &format!("allocation {id} of job {id}: waiting"),
        "  needs        {cpu: 1, task heap: 100 MiB}",
        "  waits for    a slot; the resource manager declined to start a worker; no further request",
        "  slots        8 fit: 3 allocated, 2 in flight, 2 blocked, 1 backing off, 0 free",
        "  too small    1: 1 short of cpu, 1 short of task heap memory",
        "  promised     0 fit, 0 too small",
        "  backing off  1 workers with a slot that fits",
        "  fails        never",
    ];
    assert_eq!(explain(&fixture, 1).to_string(), expected.join("\n"));
}

#[test]
fn explanation_is_written_with_the_failed_attempts() {
    // given
    let config = patient()
        .with_request_timeout(60 * SECOND)
        .with_retry_backoff(10 * SECOND, 10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.register_free("tm", 1, &[small()]).answer_requests(rejected());

    // when
    fixture.request(1, &small());

    // then
    let id = "00000000000000000000000000000001";
    let expected = [
        &format!("allocation {id} of job {id}: waiting"),
        "  needs        {cpu: 1, task heap: 100 MiB}",
        "  waits for    the end of its backoff, at +10s",
        "  slots        1 fit: 0 allocated, 0 in flight, 0 blocked, 0 backing off, 1 free",
        "  promised     0 fit, 0 too small",
        "  attempts     2 failed",
        "  last answer  refused by the task executor: no",
        "  fails        at +60s",
    ];
    assert_eq!(explain(&fixture, 1).to_string(), expected.join("\n"));
}

#[test]
fn explanation_of_a_grant_is_written_in_one_line() {
    // given
    let mut fixture = Fixture::new();

    // when
    fixture.register("tm", 1, &report("tm", &[Some(1)]));

    // then
    let id = "00000000000000000000000000000001";
    assert_eq!(
        explain(&fixture, 1).to_string(),
        format!("allocation {id} of job {id}: granted on slot tm_0")
    );
}
