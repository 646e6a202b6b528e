//! Counters: the number of events of each kind since the manager was made.

use serde_json::Value;
use slot_manager::error::ResourceManagerError;
use slot_manager::message::{Release, ReleaseDecision, Withdrawal, WorkerPromise};
use slot_manager::{SlotReport, SlotStatus, TaskExecutorConnection};

use super::{backing_off, everything, overview, sized};
use crate::common::{
    Fixture, SECOND, allocation, ask, free_report, instance, job, occupied, patient, rejected, report, slot, small,
    workers_of,
};

/// Returns the counters that grew in `event`, with the difference.
#[track_caller]
fn counted(fixture: &mut Fixture, event: impl FnOnce(&mut Fixture)) -> Vec<String> {
    let before = counters(fixture);
    event(fixture);
    let after = counters(fixture);
    let mut grown = Vec::new();
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        assert!(before <= after, "{name}");
        if before < after {
            grown.push(format!("{name} {}", after - before));
        }
    }
    grown
}

#[track_caller]
fn counters(fixture: &Fixture) -> Vec<(String, u64)> {
    let mut counters = Vec::new();
    let Value::Object(written) = serde_json::to_value(overview(fixture).counters).expect("it can be written") else {
        panic!("counters have names");
    };
    for (name, value) in written {
        match value {
            Value::Object(causes) => counters.extend(
                causes
                    .into_iter()
                    .map(|(cause, count)| (format!("{name}: {cause}"), number(&count))),
            ),
            count => counters.push((name, number(&count))),
        }
    }
    counters.sort();
    counters
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

const NOTHING: [&str; 0] = [];

#[test]
fn requests_are_counted_when_they_are_accepted_and_served() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);

    // when
    let at_once = counted(&mut fixture, |fixture| {
        fixture.request(1, &small());
    });

    // then
    assert_eq!(at_once, ["requests_accepted 1", "requests_served 1"]);

    // when, then
    let waiting = counted(&mut fixture, |fixture| {
        fixture.request(2, &small());
    });
    assert_eq!(
        waiting,
        ["requests_accepted 1", "workers_declined 1", "workers_requested 1"]
    );

    // when, then
    let freed = counted(&mut fixture, |fixture| {
        fixture.free(&slot("tm", 0), 1);
    });
    assert_eq!(freed, ["requests_served 1"]);
}

#[test]
fn request_that_is_served_by_a_report_or_an_answer_is_counted() {
    for by_report in [true, false] {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
        fixture.request(1, &small());

        // when
        let served = counted(&mut fixture, |fixture| {
            if by_report {
                fixture.report(1, &report("tm", &[Some(1)]));
            } else {
                fixture.answer(&gateway, 1, occupied(1));
            }
        });

        // then
        assert_eq!(served, ["requests_served 1"]);
    }
}

#[test]
fn allocation_that_is_found_without_a_request_does_not_count_as_served() {
    let mut fixture = Fixture::new();
    let found = counted(&mut fixture, |fixture| {
        fixture.register("tm", 1, &report("tm", &[Some(1)]));
    });
    assert_eq!(found, NOTHING);
}

#[test]
fn requests_that_are_not_accepted_are_not_counted() {
    // given
    let mut fixture = Fixture::with(patient().with_max_pending_requests(Some(1)));
    fixture.request(1, &small());

    // when
    let refused = counted(&mut fixture, |fixture| {
        assert!(fixture.try_request(1, 1, &small()).is_ok(), "a duplicate");
        assert!(fixture.try_request(2, 1, &small()).is_err(), "another job");
        assert!(fixture.try_request(1, 2, &small()).is_err(), "too many");
    });

    // then
    assert_eq!(refused, NOTHING);
}

#[test]
fn requests_that_are_cancelled_are_counted() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_free("tm", 1, &[small()]);
    for id in 1..=4 {
        fixture.request(id, &small());
    }

    // when
    let cancelled = counted(&mut fixture, |fixture| {
        fixture.cancel(2);
        fixture.cancel(2);
        fixture.cancel(1);
        fixture.cancel(99);
    });

    // then
    assert_eq!(cancelled, ["requests_cancelled 1"], "1 is granted");

    // when, then
    let of_the_job = counted(&mut fixture, |fixture| {
        fixture.step(|manager| manager.unregister_job(job(1)));
    });
    assert_eq!(of_the_job, ["requests_cancelled 2"]);
}

#[test]
fn failures_are_counted_by_cause() {
    // given
    let config = patient().with_request_timeout(10 * SECOND);
    let mut fixture = Fixture::with(config.with_fail_unfulfillable_requests(true));

    // when
    let refused = counted(&mut fixture, |fixture| {
        fixture
            .actions
            .answer_next_allocation(Err(ResourceManagerError::new("no machines")));
        assert!(fixture.try_request(1, 1, &small()).is_err());
    });

    // then
    assert_eq!(
        refused,
        [
            "requests_accepted 1",
            "requests_failed: resource_manager 1",
            "workers_declined 1",
            "workers_requested 1",
        ]
    );

    // when
    let unfulfillable = counted(&mut fixture, |fixture| {
        fixture.actions.answer_next_allocation(Ok(WorkerPromise::Declined));
        assert!(fixture.try_request(1, 2, &small()).is_err());
    });

    // then
    assert_eq!(
        unfulfillable,
        [
            "requests_accepted 1",
            "requests_failed: unfulfillable 1",
            "workers_declined 1",
            "workers_requested 1",
        ]
    );

    // when
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(3, &small());
    let held = counted(&mut fixture, |fixture| {
        let of_another = SlotStatus::allocated(slot("tm", 0), small(), allocation(3), job(2));
        fixture.register("tm", 1, &SlotReport::new(vec![of_another]));
    });

    // then
    assert_eq!(held, ["requests_failed: held_by_another_job 1"]);

    // when
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(4, &sized(2));
    let expired = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });

    // then
    assert_eq!(expired, ["requests_failed: timeout 1"]);
    assert_eq!(fixture.manager.counters().requests_failed.total(), 4);
}

#[test]
fn attempts_that_fail_are_counted() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());

    // when
    let failed = counted(&mut fixture, |fixture| {
        fixture.answer(&gateway, 1, rejected());
    });

    // then
    assert_eq!(failed, ["requests_retried 1"]);

    // when, then
    let too_late = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });
    assert_eq!(too_late, ["requests_retried 1", "worker_backoffs 1"]);
}

#[test]
fn backoffs_of_workers_and_suspect_jobs_are_counted() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());

    // when
    let failed = counted(&mut fixture, |fixture| {
        fixture.answer(&gateway, 2, rejected());
    });

    // then
    assert_eq!(
        failed,
        [
            "jobs_suspected 1",
            "requests_retried 1",
            "worker_backoffs 1",
            "workers_declined 1",
            "workers_requested 1",
        ]
    );
}

/// The task executor did not refuse: the slot was not free.
#[test]
fn attempt_that_finds_its_slot_occupied_does_not_count_as_failed() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.register_free("other", 2, &[small()]);
    fixture.request(1, &small());

    // when
    let counted = counted(&mut fixture, |fixture| fixture.answer(&gateway, 1, occupied(50)));

    // then
    assert_eq!(counted, ["requests_served 1"]);
}

#[test]
fn grants_that_are_lost_are_counted() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1), Some(2), Some(3)]));

    // when
    let reported_free = counted(&mut fixture, |fixture| {
        fixture.report(1, &report("tm", &[None, Some(2), Some(3)]));
    });

    // then
    assert_eq!(reported_free, ["grants_lost 1"]);

    // when, then
    let freed = counted(&mut fixture, |fixture| {
        fixture.free(&slot("tm", 1), 2);
    });
    assert_eq!(freed, NOTHING);

    // when, then
    let unregistered = counted(&mut fixture, |fixture| {
        fixture.unregister(1);
    });
    assert_eq!(unregistered, ["grants_lost 1"]);
}

/// First for the minimum of slots, then for a request.
#[test]
fn worker_requests_are_counted() {
    // given
    let mut fixture = Fixture::not_started(patient().with_workers(workers_of(2).with_min_slots(3)));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));

    // when, then
    assert_eq!(
        counted(&mut fixture, |fixture| fixture.start(1)),
        ["workers_requested 2"]
    );

    // when
    for id in 1..=4 {
        fixture.request(id, &small());
    }
    let asked = counted(&mut fixture, |fixture| {
        fixture.request(5, &small());
    });

    // then
    assert_eq!(asked, ["requests_accepted 1", "workers_requested 1"]);
}

#[test]
fn workers_whose_slots_do_not_fit_count_as_declined() {
    let wide = sized(9);
    let answers = [
        Ok(WorkerPromise::Declined),
        Ok(WorkerPromise::Slots(Vec::new())),
        Ok(WorkerPromise::Slots(vec![small()])),
    ];
    for answer in answers {
        // given
        let mut fixture = Fixture::new();
        fixture.actions.answer_next_allocation(answer.clone());

        // when
        let asked = counted(&mut fixture, |fixture| {
            fixture.request(1, &wide);
        });

        // then
        assert_eq!(
            asked,
            ["requests_accepted 1", "workers_declined 1", "workers_requested 1"],
            "{answer:?}"
        );
    }
}

#[test]
fn worker_beyond_a_limit_counts_as_declined_and_not_as_withdrawn() {
    // given
    let mut fixture = Fixture::with(patient().with_workers(workers_of(1).with_max_slots(Some(2))));
    fixture.actions.answer_withdrawals(Withdrawal::Confirmed);
    fixture.promise_next(&[small(), small(), small()]);

    // when
    let asked = counted(&mut fixture, |fixture| {
        fixture.request(1, &small());
    });

    // then
    fixture.expect(&[&ask(1), "withdraw 1"]);
    assert_eq!(
        asked,
        ["requests_accepted 1", "workers_declined 1", "workers_requested 1"]
    );
}

#[test]
fn workers_that_are_declined_for_the_minimum_are_counted() {
    for answer in [Ok(WorkerPromise::Declined), Err(ResourceManagerError::new("no"))] {
        // given
        let mut fixture = Fixture::not_started(patient().with_workers(workers_of(2).with_min_slots(2)));
        fixture.actions.answer_allocations(answer);

        // when
        let asked = counted(&mut fixture, |fixture| fixture.start(1));

        // then
        assert_eq!(asked, ["workers_declined 1", "workers_requested 1"]);
    }
}

#[test]
fn workers_that_are_withdrawn_are_counted_if_it_was_not_too_late() {
    for (withdrawal, expected) in [
        (
            Withdrawal::Confirmed,
            vec!["requests_cancelled 1", "workers_withdrawn 1"],
        ),
        (Withdrawal::TooLate, vec!["requests_cancelled 1"]),
    ] {
        // given
        let mut fixture = Fixture::promising(patient());
        fixture.actions.answer_withdrawals(withdrawal);
        fixture.request(1, &small());

        // when
        let cancelled = counted(&mut fixture, |fixture| {
            fixture.cancel(1);
        });

        // then
        assert_eq!(cancelled, expected);
    }
}

#[test]
fn broken_promises_are_counted() {
    // given
    let mut fixture = Fixture::promising(patient().with_worker_registration_timeout(10 * SECOND));
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.actions.answer_allocations(Ok(WorkerPromise::Declined));
    fixture.request(1, &small());

    // when
    let failed = counted(&mut fixture, |fixture| {
        fixture.worker_failed(1);
        fixture.worker_failed(1);
    });

    // then
    assert_eq!(
        failed,
        ["promises_broken 1", "workers_declined 1", "workers_requested 1"]
    );

    // when
    fixture.cancel(1);
    fixture.actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
    fixture.request(2, &small());
    let did_not_come = counted(&mut fixture, |fixture| {
        fixture.advance(10 * SECOND);
    });

    // then
    assert_eq!(
        did_not_come,
        ["promises_broken 1", "workers_declined 1", "workers_requested 1"]
    );
}

#[test]
fn promise_that_is_fulfilled_does_not_count_as_broken() {
    // given
    let mut fixture = Fixture::promising(patient());
    fixture.request(1, &small());

    // when
    let came = counted(&mut fixture, |fixture| {
        fixture.register_for(1, "tm", 1, &report("tm", &[None]));
    });

    // then
    assert_eq!(came, ["requests_served 1"]);

    // when, then
    let lost = counted(&mut fixture, |fixture| {
        fixture.worker_failed(1);
    });
    assert_eq!(lost, NOTHING);
}

#[test]
fn task_managers_that_are_released_are_counted() {
    // given
    let mut fixture = Fixture::with(patient().with_task_manager_timeout(10 * SECOND));
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_next_release_check(ReleaseDecision::Keep);
    fixture.actions.answer_next_release(Release::Declined);

    // when, then: the task executor declines, then the resource manager, then neither does
    for expected in [&NOTHING[..], &NOTHING[..], &["task_managers_released 1"][..]] {
        let idle = counted(&mut fixture, |fixture| {
            fixture.advance(10 * SECOND);
        });
        assert_eq!(idle, expected);
    }

    // when
    fixture.register_free("tm", 2, &[small()]);
    let lost = counted(&mut fixture, |fixture| {
        fixture.unregister(2);
    });

    // then
    assert_eq!(lost, NOTHING);
}

#[test]
fn task_managers_that_are_refused_are_counted() {
    // given
    let mut fixture = Fixture::with(patient().with_workers(workers_of(1).with_max_slots(Some(1))));
    fixture.register_free("tm", 1, &[small()]);

    // when
    let refused = counted(&mut fixture, |fixture| {
        fixture.is_refused("other", 2, &free_report("other", &[small()]));
        fixture.register_free("tm", 1, &[small()]);
    });

    // then
    assert_eq!(refused, ["task_managers_refused 1"]);
}

#[test]
fn reports_that_are_ignored_or_refused_are_counted() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(7));

    // when
    let stale = counted(&mut fixture, |fixture| {
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(6));
        fixture.report(1, &report("tm", &[None]).with_revision(6));
        fixture.report(1, &report("tm", &[None]).with_revision(7));
        fixture.report(99, &report("tm", &[None]));
    });

    // then
    assert_eq!(stale, ["reports_stale 2"]);

    // when
    let foreign = report("other", &[None]);
    let refused = counted(&mut fixture, |fixture| {
        assert!(fixture.try_report(1, &foreign).is_err());
        let mut try_register = |worker: &str, number, report: &SlotReport| {
            let connection = TaskExecutorConnection::new(worker, instance(number), fixture.gateway());
            assert!(fixture.try_register(connection, report).is_err());
        };
        try_register("tm", 1, &foreign);
        try_register("new", 2, &foreign);
        try_register("new", 1, &SlotReport::default());
    });

    // then
    assert_eq!(refused, ["reports_refused 4"]);
}

#[test]
fn counters_go_on_under_the_next_leader() {
    // given
    let mut fixture = Fixture::new();
    fixture.request(1, &small());
    fixture.suspend();
    fixture.start(2);

    // when
    fixture.request(1, &small());

    // then
    let counters = fixture.manager.counters();
    assert_eq!((counters.requests_accepted, counters.workers_requested), (2, 2));
    assert_eq!(counters.requests_cancelled, 0, "dropped requests are not counted");
}

/// There was no suspension.
#[test]
fn each_accepted_request_is_pending_or_has_ended() {
    for fixture in [everything(), backing_off()] {
        let overview = overview(&fixture);
        let counters = overview.counters;
        let ended = counters.requests_served + counters.requests_cancelled + counters.requests_failed.total();
        assert_eq!(counters.requests_accepted, ended + overview.pending_requests as u64);
    }
}
