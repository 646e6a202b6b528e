//! A request from its registration to its end: retries, withdrawal, duplicates, notifications, and what the messages
//! about it say. Comments name the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::testing::{Delivery, ManualScheduledExecutor, RecordingActions, SimulatedTaskExecutor};
use slot_manager::{
    AllocateSlot, AllocationFailureCause, AllocationStatus, CancelOutcome, ConfigError, Conflict, FreeSlot, GrantLoss,
    LeaderId, RequestFailure, ResourceProfile, SlotAllocationError, SlotManager, SlotManagerConfig,
    SlotMatchingStrategy, SlotRequest, SlotRequestError, SlotRequestOutcome, SlotState, Timestamp, WorkerPromise,
};

use crate::common::{
    Fixture, acknowledged, allocation, ask, failures, frees, granted, in_flight, instance, job, occupied, patient,
    profile, rejected, report, request, slot, slot_requests, small,
};

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn retry_after(initial: u64, max: u64) -> SlotManagerConfig {
    patient().with_retry_backoff(milliseconds(initial), milliseconds(max))
}

/// B.32
#[test]
fn retries_come_at_once_and_then_after_growing_pauses() {
    // given: a task executor that always refuses
    let mut fixture = Fixture::with(retry_after(100, 350));
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

    // when, then: the first retry is immediate, on the same slot
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);

    // when, then: doubled up to the longest
    for (attempt, pause) in [(3, 100), (4, 200), (5, 350), (6, 350), (7, 350)] {
        let due = fixture
            .manager
            .pending_slot_request(allocation(1))
            .expect("pending")
            .backs_off_until();
        assert_eq!(due, fixture.manager.next_deadline());
        fixture.advance(milliseconds(pause) - Duration::from_nanos(1));
        fixture.expect(&[]);
        fixture.advance(Duration::from_nanos(1));
        fixture.expect(&[&format!("request tm_0 for 1 #{attempt}")]);
    }
}

/// B.32: a pause holds up nobody else
#[test]
fn other_requests_are_served_while_one_pauses() {
    // given
    let mut fixture = Fixture::with(retry_after(100, 100));
    let gateway = fixture.gateway();
    gateway.answer_next(rejected());
    gateway.answer_next(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);
    fixture.request(1, &small());
    fixture.log.take();

    // when, then: the slot is not kept for it
    assert_eq!(fixture.request(2, &small()), granted(&slot("tm", 0)));
    fixture.free(&slot("tm", 0), 2);
    fixture.expect(&["request tm_0 for 2 #3", "granted 2 on tm_0"]);
    assert!(fixture.is_free(&slot("tm", 0)), "it does not take part while it pauses");

    // when, then
    fixture.advance(milliseconds(100));
    fixture.expect(&["request tm_0 for 1 #4", "granted 1 on tm_0"]);
}

/// B.32
#[test]
fn slot_pauses_after_failures_of_two_allocations_in_a_row() {
    // given: 1 fails, then 2, which waited for the slot
    let mut fixture = Fixture::with(retry_after(100, 1000));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    let until = |fixture: &Fixture| match fixture.manager.slot(&slot("tm", 0)).expect("registered").state() {
        SlotState::BackingOff { until } => Some(until),
        _ => None,
    };
    assert_eq!(until(&fixture), None);
    assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 0))));

    // when
    fixture.answer(&gateway, 2, rejected());

    // then: nobody gets it, old or new
    assert_eq!(until(&fixture), Some(Timestamp::from_millis(100)));
    assert!(fixture.is_free(&slot("tm", 0)));
    fixture.log.take();
    assert_eq!(fixture.request(3, &small()), AllocationStatus::Waiting);
    fixture.advance(milliseconds(100) - Duration::from_nanos(1));
    fixture.expect(&[&ask(4)]);

    // then: the pause over, it goes to the oldest; another allocation fails again, and it pauses for longer
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&["request tm_0 for 1 #3"]);
    fixture.answer(&gateway, 3, rejected());
    assert_eq!(until(&fixture), Some(Timestamp::from_millis(300)));
}

/// B.32
#[test]
fn acknowledgement_forgives_a_slot_its_failures() {
    // given: 1 failed on the slot and was granted it then
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, acknowledged());
    fixture.free(&slot("tm", 0), 1);
    fixture.request(2, &small());
    fixture.log.take();

    // when: another allocation fails
    fixture.answer(&gateway, 3, rejected());

    // then: that is the first failure in a row
    fixture.expect(&["request tm_0 for 2 #4"]);
}

/// B.32: neither is the answer that the slot is held a failure of the slot
#[test]
fn occupied_slot_does_not_pause() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, occupied(9));
    fixture.log.take();

    fixture.free(&slot("tm", 0), 9);

    fixture.expect(&["request tm_0 for 1 #3"]);
}

/// B.32: an answer that does not come is a failed attempt too
#[test]
fn unanswered_attempts_are_retried_as_refused_ones() {
    let mut fixture = Fixture::with(retry_after(100, 100).with_rpc_timeout(milliseconds(1000)));
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.expect(&["request tm_0 for 1 #1"]);

    fixture.advance(milliseconds(1000));
    fixture.expect(&["free tm_0 of 1 #1", "request tm_0 for 1 #2"]);
    fixture.advance(milliseconds(1000));
    fixture.expect(&["free tm_0 of 1 #2"]);
    fixture.advance(milliseconds(100));
    fixture.expect(&["request tm_0 for 1 #3"]);
    let pending = fixture.manager.pending_slot_request(allocation(1)).expect("pending");
    assert_eq!(pending.failed_attempts(), 2);
}

/// B.33
#[test]
fn unregistered_job_takes_its_ungranted_requests_along() {
    // given: of job 1 one granted, one in flight and two waiting, one of them with a promise; of job 2 two waiting
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None, None]));
    gateway.answer_next(acknowledged());
    for (job, id) in [(1, 1), (1, 2), (1, 3)] {
        let _ = fixture.try_request(job, id, &small()).expect("accepted");
    }
    let _ = fixture.try_request(2, 4, &small()).expect("accepted");
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    let _ = fixture.try_request(1, 5, &small()).expect("accepted");
    let _ = fixture.try_request(2, 6, &small()).expect("accepted");
    let _ = fixture.try_request(2, 7, &small()).expect("accepted");
    assert_eq!(fixture.status(3), Some(in_flight(&slot("tm", 2))));
    fixture.log.take();

    // when
    let withdrawn = fixture.step(|manager| manager.unregister_job(job(1)));

    // then: task executors are told, slots and promise go to the other job, oldest request first
    assert_eq!(withdrawn, Ok(3));
    fixture.expect(&[
        "free tm_1 of 2 #2",
        "free tm_2 of 3 #3",
        "request tm_1 for 4 #4",
        "request tm_2 for 6 #5",
    ]);
    let promise = fixture.manager.promised_slots().next().expect("one");
    assert_eq!(promise.bound_to(), Some(allocation(7)));

    // then: its grant stays until it is freed
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    for id in [2, 3, 5] {
        assert_eq!(fixture.status(id), None);
    }
    assert_eq!(fixture.manager.num_pending_slot_requests(), 3);

    // then: nothing is left to withdraw, and the ids can be used again
    assert_eq!(fixture.step(|manager| manager.unregister_job(job(1))), Ok(0));
    assert_eq!(fixture.step(|manager| manager.unregister_job(job(3))), Ok(0));
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(5)]);
}

/// B.33: also those that pause
#[test]
fn unregistered_job_leaves_no_retry_behind() {
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);
    fixture.request(1, &small());
    fixture.log.take();

    assert_eq!(fixture.step(|manager| manager.unregister_job(job(1))), Ok(1));

    fixture.advance(Duration::from_secs(100));
    fixture.expect(&[]);
    assert_eq!(fixture.manager.next_deadline(), None);
}

/// B.34
#[test]
fn each_timeout_has_its_own_option() {
    let options = [
        ("pekko.ask.timeout", "7 s"),
        ("slotmanager.request-timeout", "8 min"),
        ("resourcemanager.taskmanager-timeout", "90000"),
        ("resourcemanager.taskmanager-registration.timeout", "1h 30m"),
        ("slotmanager.retry-backoff.initial", "5 ms"),
        ("slotmanager.retry-backoff.max", "inf"),
        ("slotmanager.pending-requests.max", "1000"),
        ("cluster.evenly-spread-out-slots", "true"),
        ("taskmanager.memory.process.size", "not ours"),
    ];
    let expected = SlotManagerConfig::default()
        .with_rpc_timeout(Duration::from_secs(7))
        .with_request_timeout(Duration::from_secs(480))
        .with_task_manager_timeout(Duration::from_secs(90))
        .with_worker_registration_timeout(Duration::from_secs(5400))
        .with_retry_backoff(milliseconds(5), Duration::MAX)
        .with_max_pending_requests(Some(1000))
        .with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization);

    assert_eq!(SlotManagerConfig::from_options(options), Ok(expected));
    let nothing: [(&str, &str); 0] = [];
    assert_eq!(
        SlotManagerConfig::from_options(nothing),
        Ok(SlotManagerConfig::default())
    );
}

/// B.34: one timeout changes one behaviour
#[test]
fn timeouts_are_independent_of_each_other() {
    let config = |keys: &[&str]| {
        let options = keys.iter().map(|key| (*key, "1 s"));
        let others = [
            "pekko.ask.timeout",
            "slotmanager.request-timeout",
            "resourcemanager.taskmanager-timeout",
            "resourcemanager.taskmanager-registration.timeout",
        ];
        let never = others.iter().filter(|key| !keys.contains(key)).map(|key| (*key, "inf"));
        SlotManagerConfig::from_options(options.chain(never)).expect("valid")
    };
    // One request waits (1), one is in flight (2), one task manager is idle (8).
    let after_a_second = |keys: &[&str]| {
        let mut fixture = Fixture::with(config(keys));
        fixture.request(1, &profile(9.0, 900));
        fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(2, &small());
        fixture.register("idle", 8, &report("idle", &[]));
        fixture.log.take();
        fixture.advance(Duration::from_secs(1));
        fixture.brief_effects()
    };

    assert_eq!(after_a_second(&[]), [""; 0]);
    assert_eq!(
        after_a_second(&["pekko.ask.timeout"]),
        ["free tm_0 of 2 #1", "request tm_0 for 2 #2"]
    );
    assert_eq!(
        after_a_second(&["slotmanager.request-timeout"]),
        ["failed 1: timeout", "failed 2: timeout", "free tm_0 of 2 #1"]
    );
    assert_eq!(
        after_a_second(&["resourcemanager.taskmanager-timeout"]),
        ["may 8 go? #1", "release 8, idle since +0ns (1)"]
    );
    assert_eq!(
        after_a_second(&["resourcemanager.taskmanager-registration.timeout"]),
        ["ask 2 for {cpu: 9, task heap: 900 MiB}"]
    );
}

/// B.34: older names of Flink's options are read, the present ones win
#[test]
fn present_name_of_an_option_wins_over_an_older_one() {
    for (present, older) in [
        ("slotmanager.request-timeout", "slot.request.timeout"),
        ("pekko.ask.timeout", "akka.ask.timeout"),
        ("resourcemanager.taskmanager-timeout", "slotmanager.taskmanager-timeout"),
    ] {
        let read = |options: &[(&str, &str)]| {
            let config = SlotManagerConfig::from_options(options.iter().copied()).expect("valid");
            [config.request_timeout, config.rpc_timeout, config.task_manager_timeout]
        };
        let second = read(&[(present, "1 s")]);
        assert_ne!(second, read(&[]));
        assert_eq!(read(&[(older, "1 s")]), second);
        assert_eq!(read(&[(present, "1 s"), (older, "2 s")]), second);
        assert_eq!(read(&[(older, "2 s"), (present, "1 s")]), second);
    }
}

/// B.34
#[test]
fn refused_option_is_named_with_its_value() {
    let refused = |key: &str, value: &str| {
        let error = SlotManagerConfig::from_options([(key, value)]).expect_err("refused");
        let text = error.to_string();
        assert!(text.contains(key) && text.contains(&format!("{value:?}")), "{text}");
        error
    };

    for (key, value) in [
        ("pekko.ask.timeout", "soon"),
        ("akka.ask.timeout", "-1"),
        ("slotmanager.request-timeout", ""),
        ("slot.request.timeout", "10 parsecs"),
        ("slotmanager.retry-backoff.initial", "1.5 s?"),
        ("slotmanager.pending-requests.max", "-3"),
        ("cluster.evenly-spread-out-slots", "maybe"),
    ] {
        assert!(matches!(refused(key, value), ConfigError::InvalidValue { .. }));
    }
    assert!(matches!(
        refused("slotmanager.request-timout", "1 s"),
        ConfigError::UnknownKey { .. }
    ));
    assert_eq!(
        refused("slotmanager.pending-requests.max", "0"),
        ConfigError::NoPendingRequests
    );
}

/// B.34: what does not fit together is refused before there is a manager
#[test]
fn manager_is_not_made_with_a_configuration_that_contradicts_itself() {
    let config = retry_after(200, 100);
    let error = ConfigError::MaxRetryBackoffTooShort {
        max: milliseconds(100),
        initial: milliseconds(200),
    };
    assert_eq!(config.validate(), Err(error.clone()));

    type Manager = SlotManager<RecordingActions, slot_manager::testing::ScriptedGateway, ManualScheduledExecutor>;
    let refused = Manager::new(config, ManualScheduledExecutor::new());

    assert_eq!(refused.map(|_| ()), Err(error));
}

/// B.35
#[test]
fn duplicate_is_told_what_the_known_request_is_doing() {
    // given
    let mut fixture = Fixture::with(patient().with_request_timeout(Duration::from_secs(100)));
    let duplicate = |fixture: &mut Fixture| match fixture.try_request(1, 1, &small()) {
        Ok(SlotRequestOutcome::Duplicate(status)) => status,
        other => panic!("{other:?}"),
    };

    // when, then: in every place
    fixture.request(1, &small());
    assert_eq!(duplicate(&mut fixture), AllocationStatus::Waiting);
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    assert_eq!(duplicate(&mut fixture), in_flight(&slot("tm", 0)));
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    assert_eq!(duplicate(&mut fixture), AllocationStatus::Waiting);
    fixture.advance(milliseconds(50));
    fixture.answer(&gateway, 3, acknowledged());
    assert_eq!(duplicate(&mut fixture), granted(&slot("tm", 0)));

    // then: no duplicate did anything
    fixture.expect(&[
        &ask(1),
        "request tm_0 for 1 #1",
        "request tm_0 for 1 #2",
        "request tm_0 for 1 #3",
        "granted 1 on tm_0",
    ]);
}

/// B.35: nor does it prolong the known one
#[test]
fn duplicate_does_not_move_the_deadline() {
    let mut fixture = Fixture::with(patient().with_request_timeout(Duration::from_secs(10)));
    fixture.request(1, &small());
    fixture.advance(Duration::from_secs(9));

    let _ = fixture.try_request(1, 1, &small());
    fixture.advance(Duration::from_secs(1));

    fixture.expect(&[&ask(1), "failed 1: timeout"]);
}

/// B.35
#[test]
fn request_that_differs_from_the_known_one_is_a_conflict() {
    let wide = profile(4.0, 400);
    let conflict = |conflict, status| {
        Err(SlotRequestError::Conflict {
            allocation_id: allocation(1),
            conflict,
            status,
        })
    };
    let mut fixture = Fixture::new();

    // waiting
    fixture.request(1, &small());
    let status = AllocationStatus::Waiting;
    assert_eq!(
        fixture.try_request(1, 1, &wide),
        conflict(Conflict::ResourceProfile, status.clone())
    );
    assert_eq!(fixture.try_request(2, 1, &wide), conflict(Conflict::Job, status));

    // in flight
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    let status = in_flight(&slot("tm", 0));
    assert_eq!(
        fixture.try_request(1, 1, &wide),
        conflict(Conflict::ResourceProfile, status.clone())
    );
    assert_eq!(
        fixture.try_request(2, 1, &small()),
        conflict(Conflict::Job, status.clone())
    );
    assert_eq!(fixture.status(1), Some(status));

    // granted: the profile is not kept
    fixture.answer(&gateway, 1, acknowledged());
    let status = granted(&slot("tm", 0));
    assert_eq!(
        fixture.try_request(1, 1, &wide),
        Ok(SlotRequestOutcome::Duplicate(status.clone()))
    );
    assert_eq!(
        fixture.try_request(2, 1, &small()),
        conflict(Conflict::Job, status.clone())
    );
    assert_eq!(fixture.status(1), Some(status));

    fixture.expect(&[&ask(1), "request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);
}

/// B.35: another address is no other request
#[test]
fn duplicate_may_name_another_address() {
    let mut fixture = Fixture::new();
    fixture.request(1, &small());

    let moved = SlotRequest::new(job(1), allocation(1), small(), "elsewhere");
    let outcome = fixture.step(|manager| manager.register_slot_request(moved));

    assert_eq!(outcome, Ok(SlotRequestOutcome::Duplicate(AllocationStatus::Waiting)));
    fixture.register_free("tm", 7, &[small()]);
    let sent = slot_requests(&fixture.log.take());
    assert_eq!(
        &*sent[0].target_address, "job-master-1",
        "the known one has not changed"
    );
}

/// B.35: ids of requests that ended are free
#[test]
fn request_that_ended_is_not_known_any_more() {
    fn cancelled(fixture: &mut Fixture) {
        assert_eq!(fixture.cancel(1), CancelOutcome::Cancelled);
    }
    fn expired(fixture: &mut Fixture) {
        fixture.advance(Duration::from_secs(10));
    }
    fn granted_and_lost(fixture: &mut Fixture) {
        fixture.register_free("tm", 7, &[small()]);
        fixture.unregister(7);
    }
    for ended in [cancelled, expired, granted_and_lost] {
        let mut fixture = Fixture::with(patient().with_request_timeout(Duration::from_secs(10)));
        fixture.request(1, &small());

        ended(&mut fixture);

        let other_job = fixture.try_request(2, 1, &profile(4.0, 400));
        assert_eq!(other_job, Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting)));
    }
}

/// B.35, for withdrawals
#[test]
fn withdrawal_says_what_it_met() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None, Some(2)]));
    fixture.request(1, &small());
    fixture.request(3, &small());
    fixture.log.take();

    let slot_id = slot("tm", 0);
    assert_eq!(fixture.cancel(1), CancelOutcome::AlreadyGranted { slot_id });
    let slot_id = slot("tm", 1);
    assert_eq!(fixture.cancel(2), CancelOutcome::AlreadyGranted { slot_id });
    assert_eq!(fixture.cancel(3), CancelOutcome::Cancelled);
    assert_eq!(fixture.cancel(3), CancelOutcome::Unknown);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    fixture.expect(&[]);
}

/// B.36
#[test]
fn failure_is_told_with_its_cause() {
    // given: in flight, refused once
    let timeout = Duration::from_secs(10);
    let mut fixture = Fixture::with(patient().with_request_timeout(timeout));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    let error = SlotAllocationError::rejected("disk full");
    fixture.answer(&gateway, 1, Err(error.clone()));

    // when
    fixture.advance(timeout);

    // then
    let told = failures(&fixture.log.take());
    let cause = AllocationFailureCause::RequestFailed(RequestFailure::Timeout {
        timeout,
        resource_profile: small(),
        last_failure: Some(error),
    });
    assert_eq!(told, [(allocation(1), cause.clone())]);
    let text = cause.to_string();
    for part in ["10s", "cpu: 1", "disk full"] {
        assert!(text.contains(part), "{text}");
    }
}

/// B.36
#[test]
fn grants_lost_with_their_task_manager_are_told_once_each() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[Some(3), Some(1), None]));
    fixture.request(2, &small());
    fixture.log.take();

    // when
    let cause = "heartbeat timed out";
    let _ = fixture.step(|manager| manager.unregister_task_manager(instance(7), cause));

    // then: in the order of the slots, with the cause given
    let told = failures(&fixture.log.take());
    let expected = [(3, 0), (1, 1), (2, 2)].map(|(id, number)| {
        let loss = GrantLoss::TaskManagerUnregistered {
            instance_id: instance(7),
            cause: cause.into(),
        };
        let slot_id = slot("tm", number);
        (allocation(id), AllocationFailureCause::GrantLost { slot_id, loss })
    });
    assert_eq!(told, expected);
    assert!(told[0].1.to_string().contains(cause));

    // then: what is heard later says nothing again
    fixture.unregister(7);
    fixture.free(&slot("tm", 0), 3);
    fixture.expect(&[]);
}

/// B.36: ends that the job caused or knows of are not told
#[test]
fn ends_that_the_job_knows_of_are_silent() {
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 7, &[small()]);
    fixture.request(1, &small());
    fixture.request(2, &profile(9.0, 900));
    fixture.log.take();

    fixture.free(&slot("tm", 0), 1);
    fixture.cancel(2);
    fixture.advance(Duration::from_secs(1000));

    fixture.expect(&[]);
}

/// B.37
#[test]
fn messages_to_task_executors_carry_leader_registration_and_attempt() {
    // given: the second leadership, a registration that took the place of another
    let mut fixture = Fixture::new();
    fixture.step(SlotManager::suspend).expect("started");
    fixture.start(2);
    fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.register_by_hand("tm", 8, &report("tm", &[None]));
    let asked_for = ResourceProfile::builder().cpu_cores(0.5).build().expect("valid");

    // when
    let _ = fixture.step(|manager| manager.register_slot_request(request(3, 1, &asked_for)));
    fixture.cancel(1);
    let _ = fixture.step(|manager| manager.register_slot_request(request(3, 1, &asked_for)));

    // then
    let effects = fixture.log.take();
    let sent = |attempt| AllocateSlot {
        slot_id: slot("tm", 0),
        job_id: job(3),
        allocation_id: allocation(1),
        resource_profile: asked_for.clone(),
        target_address: "job-master-3".into(),
        leader_id: LeaderId::from_u128(2),
        instance_id: instance(8),
        attempt,
    };
    assert_eq!(slot_requests(&effects), [sent(1), sent(2)]);
    let taken_back = FreeSlot {
        slot_id: slot("tm", 0),
        job_id: job(3),
        allocation_id: allocation(1),
        leader_id: LeaderId::from_u128(2),
        instance_id: instance(8),
        attempt: 1,
    };
    assert_eq!(frees(&effects), [taken_back]);
}

/// B.37, seen from the task executor: a request sent before it registered again is refused after it
#[test]
fn request_meant_for_an_earlier_registration_is_not_honoured() {
    // given: a request on its way to registration 7
    let clock = ManualScheduledExecutor::new();
    let executor = SimulatedTaskExecutor::new("tm", [small(), small()], clock.clone());
    executor.set_delivery(Delivery::Manual);
    let leader = LeaderId::from_u128(1);
    let mut manager = SlotManager::new(patient(), clock).expect("valid");
    manager.start(leader, RecordingActions::new()).expect("not started");
    manager
        .register_task_manager(executor.connect(leader, instance(7)), &executor.slot_report())
        .expect("valid");
    let _ = manager
        .register_slot_request(request(1, 1, &small()))
        .expect("accepted");

    // when: it registers again, and the new attempt goes elsewhere
    let connection = executor.connect(leader, instance(8));
    let _ = manager
        .register_slot_request(request(1, 2, &small()))
        .expect("accepted");
    manager
        .register_task_manager(connection, &executor.slot_report())
        .expect("valid");
    executor.deliver_all();
    manager.run_until_stalled();
    manager.check_invariants().expect("consistent");

    // then: each allocation holds one slot, as the manager believes
    for id in [1, 2] {
        let held: Vec<_> = (0..2)
            .filter(|number| executor.current_allocation(*number) == Some(allocation(id)))
            .collect();
        assert_eq!(held.len(), 1);
        assert_eq!(
            manager.allocation_status(allocation(id)),
            Some(granted(&slot("tm", held[0])))
        );
    }
}
