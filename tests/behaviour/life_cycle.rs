//! Start, suspension and everything that must not happen in between, on the way down, or after it. Comments name the
//! defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::testing::{NotPending, RecordingActions};
use slot_manager::{
    Acknowledge, AllocationStatus, LeaderId, NotStarted, PromisedSlotCounts, RegistrationOutcome, ReportOutcome,
    RequestFailure, ResourceManagerError, SlotAllocationError, SlotCounts, SlotManager, SlotReportError,
    SlotRequestError, SlotRequestOutcome, SlotState, StartError, TaskExecutorConnection, UnregistrationOutcome,
    WorkerFailedOutcome, WorkerPromise, WorkerRequestId,
};

use crate::common::{
    Fixture, Manager, acknowledged, allocation, ask, granted, in_flight, instance, job, occupied, patient, rejected,
    report, request, slot, small,
};

/// Something of everything: held and in flight on `tm`, free on `idle`, one request waiting and covered, one not.
fn busy() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[Some(1), None]));
    fixture.request(2, &small());
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(3, &small());
    fixture.request(4, &small());
    fixture.register("idle", 8, &report("idle", &[Some(5)]));
    fixture.log.take();
    fixture
}

fn suspend(fixture: &mut Fixture) {
    fixture.step(SlotManager::suspend).expect("started");
}

/// B.21
#[test]
fn suspension_is_silent() {
    // given: a task executor that would answer at once, another by hand, requests waiting for their slots
    let mut fixture = busy();

    // when
    suspend(&mut fixture);

    // then: no notification, no word to task executors
    fixture.expect(&[]);
    assert_eq!(fixture.run(), 0);
    fixture.expect(&[]);
    assert_eq!(fixture.manager.num_awaited_answers(), 0);
}

/// B.21
#[test]
fn unregistration_sends_nothing_to_the_task_manager_that_goes() {
    for answered_at_once in [false, true] {
        // given: two attempts in flight to a task manager that has another free slot; one free slot elsewhere
        let mut fixture = Fixture::new();
        let dying = fixture.register_by_hand("dying", 1, &report("dying", &[None, None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.register_free("other", 2, &[small()]);
        if answered_at_once {
            dying.answer_requests(acknowledged());
        }
        fixture.log.take();

        // when
        fixture.unregister(1);

        // then: the older request moves, the other waits
        fixture.expect(&["request other_0 for 1 #3", &ask(1), "granted 1 on other_0"]);
        assert_eq!(dying.pending(), []);
        assert_eq!(fixture.status(2), Some(AllocationStatus::Waiting));
        assert_eq!(fixture.manager.slot_counts().registered, 1);
    }
}

/// B.21: a task executor that fails within the call
#[test]
fn task_executor_that_fails_at_once_is_not_asked_without_end() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_requests(rejected());
    fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

    // when, then: one retry at once, then the request pauses
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 1 #1", "request tm_0 for 1 #2"]);

    // when, then: the second allocation in a row, so now the slot pauses too
    assert_eq!(fixture.request(2, &small()), AllocationStatus::Waiting);
    fixture.expect(&["request tm_0 for 2 #3", &ask(1)]);
    let state = fixture.manager.slot(&slot("tm", 0)).expect("registered").state();
    assert!(matches!(state, SlotState::BackingOff { .. }), "{state:?}");
}

/// B.21: answers that come at once cause the next step in a loop, not in ever deeper calls
#[test]
fn long_chains_of_immediate_answers_do_not_nest() {
    const SLOTS: u32 = 20_000;

    // given: each slot turns out to be held by an allocation that the manager does not know
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    for holder in 1..=u128::from(SLOTS) {
        gateway.answer_next(occupied(1_000_000 + holder));
    }
    fixture.register_with("tm", 7, &report("tm", &vec![None; SLOTS as usize]), &gateway);

    // when
    let status = fixture.request(1, &small());

    // then: it went through all of them
    assert_eq!(status, AllocationStatus::Waiting);
    assert_eq!(gateway.take_calls().len(), SLOTS as usize);
    assert_eq!(fixture.manager.slot_counts().allocated, SLOTS as usize);
    fixture.expect(&[&ask(1)]);
}

/// B.21: and so do requests that were waiting for slots
#[test]
fn all_waiting_requests_are_served_by_one_registration() {
    const REQUESTS: u128 = 300;

    // given
    let mut fixture = Fixture::new();
    for id in 1..=REQUESTS {
        fixture.request(id, &small());
    }
    fixture.log.take();

    // when
    fixture.register("tm", 7, &report("tm", &vec![None; REQUESTS as usize]));

    // then: in the order of the requests
    let requests = (1..=REQUESTS).map(|id| format!("request tm_{} for {id} #{id}", id - 1));
    let grants = (1..=REQUESTS).map(|id| format!("granted {id} on tm_{}", id - 1));
    assert_eq!(fixture.brief_effects(), Vec::from_iter(requests.chain(grants)));
}

/// B.22
#[test]
fn nothing_survives_a_suspension() {
    // given
    let mut fixture = busy();

    // when
    suspend(&mut fixture);
    fixture.start(2);

    // then
    let manager = &fixture.manager;
    assert_eq!(manager.slot_counts(), SlotCounts::default());
    assert_eq!(manager.promised_slot_counts(), PromisedSlotCounts::default());
    assert_eq!(
        (manager.num_task_managers(), manager.num_pending_slot_requests()),
        (0, 0)
    );
    assert_eq!((manager.slots().count(), manager.task_managers().count()), (0, 0));
    assert_eq!(
        (
            manager.pending_slot_requests().count(),
            manager.promised_slots().count()
        ),
        (0, 0)
    );
    assert_eq!(manager.next_deadline(), None);
    for id in 1..=5 {
        assert_eq!(fixture.status(id), None);
    }

    // then: former registrations and promises are unknown
    assert_eq!(fixture.report(8, &report("idle", &[None])), ReportOutcome::Unknown);
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.worker_failed(1), WorkerFailedOutcome::Unknown);

    // then: a request finds no old slot; and numbers of worker requests are not used again
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    fixture.expect(&[&ask(3)]);

    // then: the next leader learns from reports
    let outcome = fixture.register_with("idle", 8, &report("idle", &[Some(5), None]), &fixture.gateway());
    assert_eq!(outcome, RegistrationOutcome::Registered);
    assert_eq!(fixture.status(5), Some(granted(&slot("idle", 0))));
    assert_eq!(fixture.status(1), Some(granted(&slot("idle", 1))));
}

/// B.23
#[test]
fn start_when_started_is_an_error_and_changes_nothing() {
    // given
    let mut fixture = busy();
    let before = format!("{:?}", fixture.manager);
    let others = RecordingActions::new();

    // when
    let refused = fixture.step(|manager| manager.start(LeaderId::from_u128(2), others.clone()));

    // then
    let leader_id = LeaderId::from_u128(1);
    assert_eq!(refused, Err(StartError::AlreadyStarted { leader_id }));
    assert_eq!(fixture.manager.leader_id(), Some(leader_id));
    assert_eq!(format!("{:?}", fixture.manager), before);

    // then: effects go where they went
    fixture.unregister(8);
    fixture.expect(&["lost 5 on idle_0: unregistered"]);
    assert_eq!(others.take(), []);
}

/// B.24: answers that came before the suspension, and those that come after it
#[test]
fn answers_of_a_former_leadership_do_nothing() {
    for answer in [acknowledged(), rejected(), occupied(9)] {
        // given: one attempt is answered, which has not been looked at, one is not
        let mut fixture = Fixture::new();
        let old = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        old.answer(1, answer.clone()).expect("in flight");

        // when
        suspend(&mut fixture);
        assert_eq!(old.answer(2, answer.clone()), Err(NotPending { attempt: 2 }));
        fixture.start(2);
        let new = fixture.register_by_hand("tm", 8, &report("tm", &[None, None]));
        fixture.request(1, &small());
        fixture.request(2, &small());
        fixture.log.take();
        fixture.run();

        // then
        fixture.expect(&[]);
        assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
        assert_eq!(fixture.status(2), Some(in_flight(&slot("tm", 1))));
        assert_eq!(new.pending().len(), 2);
    }
}

/// B.24: calls at the wrong time
#[test]
fn every_input_needs_a_started_manager() {
    fn refuses_everything(fixture: &mut Fixture) {
        let connection = TaskExecutorConnection::new("tm", instance(7), fixture.gateway());
        assert_eq!(
            fixture.try_request(1, 1, &small()),
            Err(SlotRequestError::NotStarted(NotStarted))
        );
        assert_eq!(
            fixture.try_register(connection, &report("tm", &[None])),
            Err(SlotReportError::NotStarted(NotStarted))
        );
        assert_eq!(
            fixture.try_report(7, &report("tm", &[None])),
            Err(SlotReportError::NotStarted(NotStarted))
        );
        let mut refused = |call: &mut dyn FnMut(&mut Manager) -> bool| assert!(fixture.step(|manager| call(manager)));
        refused(&mut |manager| manager.unregister_slot_request(allocation(1)) == Err(NotStarted));
        refused(&mut |manager| manager.unregister_job(job(1)) == Err(NotStarted));
        refused(&mut |manager| manager.free_slot(&slot("tm", 0), allocation(1)) == Err(NotStarted));
        refused(&mut |manager| manager.unregister_task_manager(instance(7), "lost") == Err(NotStarted));
        refused(&mut |manager| manager.worker_failed(WorkerRequestId::new(1), "failed") == Err(NotStarted));
        refused(&mut |manager| manager.actions_mut().is_none() && manager.leader_id().is_none());
        refused(&mut |manager| manager.suspend().is_none());
        assert_eq!(fixture.advance(Duration::from_secs(1000)), 0);
        fixture.expect(&[]);
        assert_eq!(
            fixture.manager.num_task_managers() + fixture.manager.num_pending_slot_requests(),
            0
        );
    }

    // before the first leadership
    let mut fixture = Fixture::not_started(patient());
    refuses_everything(&mut fixture);

    // between two
    let mut fixture = busy();
    suspend(&mut fixture);
    refuses_everything(&mut fixture);

    // and it can be started after that
    fixture.start(2);
    fixture.register_free("tm", 7, &[small()]);
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
}

/// Whoever ends a leadership has the actions back.
#[test]
fn suspending_and_closing_give_the_actions_back() {
    let mut fixture = Fixture::new();
    let returned = fixture.step(SlotManager::suspend).expect("started");
    assert_eq!(fixture.step(SlotManager::suspend).map(|_| ()), None);
    fixture.actions.answer_next_release(slot_manager::Release::Declined);
    fixture
        .manager
        .start(LeaderId::from_u128(2), returned)
        .expect("suspended");
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    assert!(fixture.manager.actions_mut().is_some());

    let Fixture { manager, log, .. } = fixture;
    assert!(manager.close().is_some());
    assert!(log.is_empty());
}

/// B.25: a call that fails at once is a failed answer, whatever the failure is
#[test]
fn failure_within_the_call_is_as_good_as_a_failed_answer() {
    for error in [
        SlotAllocationError::rejected("no"),
        SlotAllocationError::unreachable("no route"),
        SlotAllocationError::Timeout,
    ] {
        // given
        let mut fixture = Fixture::new();
        let (broken, sound) = (fixture.gateway(), fixture.gateway());
        broken.answer_requests(Err(error));
        fixture.register_with("broken", 1, &report("broken", &[None]), &broken);
        fixture.register_with("sound", 2, &report("sound", &[None]), &sound);

        // when, then: it goes on to the other slot, and the first is free
        assert_eq!(fixture.request(1, &small()), granted(&slot("sound", 0)));
        fixture.expect(&[
            "request broken_0 for 1 #1",
            "request sound_0 for 1 #2",
            "granted 1 on sound_0",
        ]);
        assert!(fixture.is_free(&slot("broken", 0)));

        // then: neither slot nor id is lost
        broken.answer_requests(acknowledged());
        assert_eq!(fixture.request(2, &small()), granted(&slot("broken", 0)));
        fixture.free(&slot("sound", 0), 1);
        assert_eq!(fixture.request(1, &small()), granted(&slot("sound", 0)));
    }
}

/// B.25: whenever a worker is asked for and refused, exactly the request that needs it ends, once
#[test]
fn refused_worker_fails_its_request_wherever_it_was() {
    fn task_manager_lost(fixture: &mut Fixture) {
        fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.unregister(7);
    }
    fn worker_failed(fixture: &mut Fixture) {
        assert_eq!(
            fixture.worker_failed(1),
            WorkerFailedOutcome::Forgotten { promised_slots: 1 }
        );
    }
    fn worker_never_came(fixture: &mut Fixture) {
        fixture.advance(Duration::from_secs(10));
    }

    for event in [task_manager_lost, worker_failed, worker_never_came] {
        // given: a request that was covered by a promise
        let mut fixture = Fixture::with(patient().with_worker_registration_timeout(Duration::from_secs(10)));
        fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
        fixture
            .actions
            .answer_allocations(Err(ResourceManagerError::new("no quota")));

        // when
        event(&mut fixture);

        // then
        let said: Vec<_> = fixture
            .brief_effects()
            .into_iter()
            .filter(|line| !line.starts_with("request"))
            .collect();
        assert_eq!(said, [ask(1), ask(2), "failed 1: no quota".to_owned()]);
        assert_eq!(fixture.status(1), None);
        fixture.advance(Duration::from_secs(100));
        fixture.expect(&[]);
    }
}

/// B.26
#[test]
fn occupied_slot_is_held_and_not_tried_again() {
    for at_once in [false, true] {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.gateway_by_hand();
        if at_once {
            gateway.answer_next(occupied(9));
        }
        fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

        // when
        fixture.request(1, &small());
        if !at_once {
            fixture.answer(&gateway, 1, occupied(9));
        }

        // then: the slot belongs to the other allocation, and the attempt does not count as failed
        fixture.expect(&["request tm_0 for 1 #1", &ask(1)]);
        assert_eq!(fixture.status(9), Some(granted(&slot("tm", 0))));
        assert_eq!(fixture.status(1), Some(AllocationStatus::Waiting));
        let pending = fixture.manager.pending_slot_request(allocation(1)).expect("pending");
        assert_eq!((pending.failed_attempts(), pending.backs_off_until()), (0, None));
        fixture.advance(Duration::from_secs(1000));
        fixture.expect(&[]);

        // then: freed, it serves the request
        fixture.free(&slot("tm", 0), 9);
        fixture.expect(&["request tm_0 for 1 #2"]);
    }
}

/// B.26: an earlier acknowledgement was lost on the way
#[test]
fn slot_that_is_occupied_by_the_request_itself_is_granted() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());

    fixture.answer(&gateway, 1, occupied(1));

    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// B.26: the id is the request's, the job is not
#[test]
fn slot_that_is_occupied_by_the_requests_id_of_another_job_fails_the_request() {
    let held_by_job_2 = || {
        Err::<Acknowledge, _>(SlotAllocationError::Occupied {
            allocation_id: allocation(1),
            job_id: job(2),
        })
    };

    // by an answer that comes later: a notification
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, held_by_job_2());
    fixture.expect(&["request tm_0 for 1 #1", "failed 1: held by another job"]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    assert_eq!(fixture.manager.num_pending_slot_requests(), 0);

    // by an answer that comes at once: the error of the call
    let mut fixture = Fixture::new();
    let gateway = fixture.gateway();
    gateway.answer_next(held_by_job_2());
    fixture.register_with("tm", 7, &report("tm", &[None, None]), &gateway);
    let refused = fixture.try_request(1, 1, &small());
    let failure = Box::new(RequestFailure::HeldByAnotherJob {
        slot_id: slot("tm", 0),
        job_id: job(2),
    });
    let allocation_id = allocation(1);
    assert_eq!(refused, Err(SlotRequestError::Failed { allocation_id, failure }));
    fixture.expect(&["request tm_0 for 1 #1"]);
    assert!(fixture.is_free(&slot("tm", 1)));
}

/// What the outcome of a request says is where it is when the call returns.
#[test]
fn outcome_of_a_request_is_its_status_when_the_call_returns() {
    let answers = [
        Some(acknowledged()),
        Some(rejected()),
        Some(occupied(9)),
        Some(occupied(1)),
        None,
    ];
    for answer in answers {
        let mut fixture = Fixture::new();
        let gateway = fixture.gateway_by_hand();
        if let Some(answer) = answer.clone() {
            gateway.answer_next(answer);
        }
        fixture.register_with("tm", 7, &report("tm", &[None]), &gateway);

        let outcome = fixture.step(|manager| manager.register_slot_request(request(1, 1, &small())));

        let status = fixture.status(1).expect("not over");
        assert_eq!(outcome, Ok(SlotRequestOutcome::Accepted(status)), "after {answer:?}");
    }
}

#[test]
fn the_configuration_can_be_read_back() {
    let config = patient().with_max_pending_requests(Some(7));
    let fixture = Fixture::with(config.clone());
    assert_eq!(fixture.manager.config(), &config);
}
