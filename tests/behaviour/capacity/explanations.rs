//! Why a request waits.

use slot_manager::{
    AllocationStatus, Explanation, FittingSlots, Limit, RequestExplanation, ResourceProfile, SlotAllocationError,
    SlotManagerConfig, SlotState, Timestamp, TooSmallSlots, WaitReason, WorkerPromise, WorkerRequestId,
};

use crate::common::{
    Fixture, SECOND, allocation, ask, described, free_report, granted, in_flight, job, occupied, patient, profile,
    rejected, report, slot, small, worker_of,
};

fn wide() -> ResourceProfile {
    profile(4.0, 400)
}

fn tiny() -> ResourceProfile {
    profile(0.5, 50)
}

/// What is said of an allocation, which agrees with what the other queries say.
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
        let registered = fixture.manager.slot_counts().registered;
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

/// Allocated, in flight, blocked, pausing and free ones.
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

/// How many slots are too small, and what of.
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

// What it is doing.

#[test]
fn what_is_not_known_is_not_explained() {
    let mut fixture = Fixture::not_started(patient().with_request_timeout(10 * SECOND));
    assert_eq!(fixture.manager.explain(allocation(1)), None);
    fixture.start(1);
    assert_eq!(fixture.manager.explain(allocation(1)), None);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.cancel(1);
    assert_eq!(fixture.manager.explain(allocation(1)), None, "it was cancelled");
    fixture.advance(10 * SECOND);
    assert_eq!(fixture.manager.explain(allocation(2)), None, "it failed");
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 3);
    assert_eq!(fixture.manager.explain(allocation(3)), None, "it was freed");
    fixture.request(4, &small());
    fixture.suspend();
    assert_eq!(fixture.manager.explain(allocation(4)), None);
}

#[test]
fn of_what_is_granted_there_is_nothing_to_explain() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    fixture.request(1, &small());
    let explanation = explain(&fixture, 1);
    assert_eq!(explanation.status, granted(&slot("tm", 0)));
    assert_eq!((explanation.job_id, explanation.request), (job(1), None));
}

#[test]
fn an_allocation_that_was_found_has_the_job_that_was_reported() {
    let mut fixture = Fixture::new();
    let found = slot_manager::SlotStatus::allocated(slot("tm", 0), small(), allocation(50), job(7));
    fixture.register("tm", 1, &[found].into_iter().collect());
    assert_eq!(explain(&fixture, 50).job_id, job(7));
}

#[test]
fn a_request_in_flight_waits_for_the_answer() {
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    fixture.register_by_hand("tm", 1, &report("tm", &[Some(50), None]));
    fixture.advance(SECOND);
    fixture.request(1, &small());
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
fn a_request_that_is_covered_waits_for_the_worker() {
    let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.request(2, &wide());
    assert_eq!(explain(&fixture, 2).status, AllocationStatus::Waiting);
    assert_eq!(
        waits_for(&fixture, 2),
        WaitReason::PromisedWorker {
            worker_request: WorkerRequestId::new(2),
            until: at(11)
        }
    );
}

#[test]
fn a_request_whose_worker_was_declined_waits_for_the_next_ask() {
    let mut fixture = Fixture::with(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.advance(SECOND);
    fixture.request(1, &small());
    assert_eq!(waits_for(&fixture, 1), WaitReason::WorkerDeclined { at: at(11) });
    fixture.advance(10 * SECOND);
    assert_eq!(waits_for(&fixture, 1), WaitReason::WorkerDeclined { at: at(21) });
}

#[test]
fn a_request_that_is_held_by_a_limit_waits_for_room() {
    let limits = [
        (described(1).with_max_slots(Some(1)), Limit::Slots),
        (described(1).with_max_total_cpu_cores(Some(1.5)), Limit::CpuCores),
        (described(1).with_max_total_memory_bytes(Some(150 << 20)), Limit::Memory),
    ];
    for (config, limit) in limits {
        let mut fixture = Fixture::promising(config);
        fixture.register("tm", 1, &report("tm", &[Some(50)]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        assert_eq!(waits_for(&fixture, 1), WaitReason::Limit { limit });
        assert_eq!(waits_for(&fixture, 2), WaitReason::Limit { limit });

        fixture.unregister(1);
        assert!(matches!(waits_for(&fixture, 1), WaitReason::PromisedWorker { .. }));
        assert_eq!(
            waits_for(&fixture, 2),
            WaitReason::Limit { limit },
            "1 was asked for first"
        );
    }
}

#[test]
fn a_request_that_is_held_by_the_recovery_waits_for_its_end() {
    let config = described(1).with_max_slots(Some(1)).with_recovery_timeout(10 * SECOND);
    let mut fixture = Fixture::promising(config);
    fixture.request(1, &small());
    fixture.register("tm", 1, &report("tm", &[Some(50)]));
    assert_eq!(waits_for(&fixture, 1), WaitReason::Recovery { until: at(10) });
    fixture.advance(10 * SECOND);
    assert_eq!(waits_for(&fixture, 1), WaitReason::Limit { limit: Limit::Slots });
}

/// At most two slots, and both that are there are too small: when one goes, there is room for a worker for request 1.
#[test]
fn requests_that_are_held_behind_another_wait_for_room_again() {
    let config = described(1)
        .with_max_slots(Some(2))
        .with_min_slots(1)
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
    fixture.advance(10 * SECOND);
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (1)", &ask(2)]);
    assert!(matches!(waits_for(&fixture, 1), WaitReason::PromisedWorker { .. }));
    for id in 2..=3 {
        assert_eq!(waits_for(&fixture, id), WaitReason::Limit { limit: Limit::Slots });
    }
}

#[test]
fn a_request_for_which_no_worker_can_be_started_waits_for_nothing_else() {
    let too_wide = || described(1);
    let beyond_the_limit = || {
        patient()
            .with_worker_description(Some(worker_of(1, &wide())))
            .with_max_total_cpu_cores(Some(3.0))
    };
    for config in [too_wide(), beyond_the_limit()] {
        let mut fixture = Fixture::promising(config);
        fixture.request(1, &wide());
        assert_eq!(waits_for(&fixture, 1), WaitReason::NothingElse);
    }
}

#[test]
fn a_request_that_pauses_waits_for_the_end_and_says_why() {
    let mut fixture = Fixture::with(patient().with_retry_backoff(10 * SECOND, 10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    assert_eq!(explain_request(&fixture, 1).last_failure, None);
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

    fixture.advance(SECOND);
    fixture.answer(&gateway, 2, rejected());
    let explained = explain_request(&fixture, 1);
    assert_eq!(explained.waits_for, WaitReason::Backoff { until: at(11) });
    assert_eq!(explained.failed_attempts, 2);
    assert_eq!(explained.last_failure, Some(SlotAllocationError::rejected("no")));
    assert_eq!(fitting(&fixture, 1), [0, 0, 0, 0, 1], "its slot is for others");
}

#[test]
fn a_slot_that_was_occupied_is_the_last_failure() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, occupied(50));
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
fn it_says_when_the_request_fails() {
    let mut fixture = Fixture::with(patient().with_request_timeout(10 * SECOND));
    fixture.advance(SECOND);
    fixture.request(1, &small());
    assert_eq!(explain_request(&fixture, 1).fails_at, at(11));
}

// The slots.

/// Request 1 for a small slot waits. Allocations hold three small slots, two are in flight, one pauses, two are blocked.
fn with_all_kinds_of_slots() -> Fixture {
    let mut fixture = Fixture::with(patient().with_retry_backoff(10 * SECOND, 10 * SECOND));
    let gateway = fixture.register_by_hand("pausing", 1, &report("pausing", &[None]));
    for id in [101, 102] {
        fixture.request(id, &small());
    }
    for attempt in [1, 2] {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert!(matches!(
        fixture.state(&slot("pausing", 0)),
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
fn slots_that_fit_are_counted_by_what_they_are_doing() {
    let fixture = with_all_kinds_of_slots();
    assert_eq!(fitting(&fixture, 1), [3, 2, 2, 1, 0]);
    assert_eq!(explain_request(&fixture, 1).fitting.total(), 8);
    assert_eq!(too_small(&fixture, 1), (0, Vec::new()));
}

/// Those that are in flight are being given to others.
#[test]
fn what_changes_is_counted_anew() {
    let mut fixture = with_all_kinds_of_slots();
    fixture.unregister(2);
    assert_eq!(fitting(&fixture, 1), [0, 2, 2, 1, 0]);
    fixture.report(4, &report("blocked", &[None, Some(60)]));
    assert_eq!(fitting(&fixture, 1), [1, 2, 1, 1, 0]);
    fixture.block("pausing");
    assert_eq!(fitting(&fixture, 1), [1, 2, 2, 0, 0]);
}

#[test]
fn the_same_slots_are_too_small_for_more() {
    let mut fixture = with_all_kinds_of_slots();
    fixture.request(2, &wide());
    assert_eq!(fitting(&fixture, 2), [0; 5]);
    assert_eq!(
        too_small(&fixture, 2),
        (8, shortages(&[("cpu", 8), ("task heap memory", 8)]))
    );
}

#[test]
fn slots_that_are_too_small_are_counted_by_what_they_lack() {
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
    fixture.request(1, &needed);
    assert_eq!(
        too_small(&fixture, 1),
        (5, shortages(&[("gpu", 4), ("managed memory", 3), ("cpu", 2)])),
        "the largest number first"
    );
    assert_eq!(fitting(&fixture, 1), [0; 5]);
}

#[test]
fn every_resource_is_named_and_those_of_equal_number_by_name() {
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
    fixture.request(1, &needed);
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
fn slots_whose_profile_is_not_concrete_lack_nothing_that_can_be_named() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &free_report("tm", &[ResourceProfile::UNKNOWN]));
    fixture.block("any");
    fixture.register("any", 2, &free_report("any", &[ResourceProfile::ANY]));
    fixture.request(1, &small());
    assert_eq!(too_small(&fixture, 1), (1, Vec::new()));
    assert_eq!(fitting(&fixture, 1), [0, 0, 1, 0, 0], "any slot fits");
}

#[test]
fn promised_slots_are_counted_too() {
    let mut fixture = Fixture::new();
    fixture.promise_next(&[small(), wide(), tiny()]);
    fixture.request(1, &small());
    let explained = explain_request(&fixture, 1);
    assert_eq!(
        (explained.fitting_promised_slots, explained.too_small_promised_slots),
        (2, 1)
    );
    assert_eq!(too_small(&fixture, 1), (0, Vec::new()), "those are not registered");
    fixture.worker_failed(1);
    let explained = explain_request(&fixture, 1);
    assert_eq!(
        (explained.fitting_promised_slots, explained.too_small_promised_slots),
        (0, 0)
    );
}

/// An extended resource may be called like any other.
#[test]
fn a_slot_counts_once_for_each_resource_whatever_it_is_called() {
    let needed = ResourceProfile::builder()
        .cpu_cores(1.0)
        .extended_resource("cpu", 1.0)
        .build()
        .expect("valid amounts");
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[ResourceProfile::ZERO]);
    fixture.request(1, &needed);
    let (slots, shortages) = too_small(&fixture, 1);
    assert_eq!(slots, 1);
    assert!(shortages.iter().all(|(_, slots)| *slots <= 1), "{shortages:?}");
}

// What is written.

fn explanations() -> Vec<Explanation> {
    let paused = {
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
        paused,
        in_flight,
        waiting(patient(), WorkerPromise::Unspecified, &with_gpu),
        waiting(patient(), WorkerPromise::Declined, &wide()),
        waiting(
            described(1).with_max_slots(Some(1)),
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
fn what_it_waits_for_is_written_for_operators() {
    let said: Vec<_> = explanations()
        .into_iter()
        .filter_map(|explanation| explanation.request)
        .map(|request| request.waits_for.to_string())
        .collect();
    assert_eq!(
        said,
        [
            "the end of its backoff, at +10s",
            "the answer of tm_0, for ever",
            "worker 1, for ever",
            "a slot; no worker was to be had, the next ask: never",
            "a slot; a worker more would be beyond the limit of slots",
            "a slot; no worker is asked for until +1s",
            "a slot; no worker that could be started would fit",
        ]
    );
}

#[test]
fn an_explanation_is_written_for_operators() {
    let mut fixture = with_all_kinds_of_slots();
    fixture.register_free("tiny", 5, &[tiny()]);
    let id = "00000000000000000000000000000001";
    let expected = [
        &format!("allocation {id} of job {id}: waiting"),
        "  needs        {cpu: 1, task heap: 100 MiB}",
        "  waits for    a slot; no worker was to be had, the next ask: never",
        "  slots        8 fit: 3 allocated, 2 in flight, 2 blocked, 1 backing off, 0 free",
        "  too small    1: 1 in cpu, 1 in task heap memory",
        "  promised     0 fit, 0 are too small",
        "  fails        never",
    ];
    assert_eq!(explain(&fixture, 1).to_string(), expected.join("\n"));
}

#[test]
fn an_explanation_of_attempts_that_failed_says_so() {
    let config = patient()
        .with_request_timeout(60 * SECOND)
        .with_retry_backoff(10 * SECOND, 10 * SECOND);
    let mut fixture = Fixture::with(config);
    fixture.register_free("tm", 1, &[small()]).answer_requests(rejected());
    fixture.request(1, &small());
    let id = "00000000000000000000000000000001";
    let expected = [
        &format!("allocation {id} of job {id}: waiting"),
        "  needs        {cpu: 1, task heap: 100 MiB}",
        "  waits for    the end of its backoff, at +10s",
        "  slots        1 fit: 0 allocated, 0 in flight, 0 blocked, 0 backing off, 1 free",
        "  promised     0 fit, 0 are too small",
        "  attempts     2 failed",
        "  last answer  refused by the task executor: no",
        "  fails        at +60s",
    ];
    assert_eq!(explain(&fixture, 1).to_string(), expected.join("\n"));
}

#[test]
fn an_explanation_of_a_grant_is_one_line() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]));
    let id = "00000000000000000000000000000001";
    assert_eq!(
        explain(&fixture, 1).to_string(),
        format!("allocation {id} of job {id}: granted on slot tm_0")
    );
}
