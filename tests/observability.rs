//! The view of an operator: log lines with their levels, counts and listings. Comments name the
//! defects of FLINK-5810 that the tests guard against.
#![allow(unused_must_use, reason = "the steps that lead to a state are judged by the state")]

mod common;

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;
use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::WorkerPromise;
use slot_manager::outcome::AllocationStatus;
use slot_manager::testing::GatewayAnswer;
use slot_manager::view::SlotState;
use slot_manager::{LeaderId, ResourceId, SlotManager, SlotManagerConfig, WorkerRequestId};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use common::{
    Fixture, acknowledged, allocation, free_report, instance, job, occupied, patient, profile, rejected, report, slot,
    small,
};

/// A log line: its level, its message, and its fields as `name=value`.
#[derive(Debug, Clone)]
struct Line {
    level: Level,
    text: String,
}

thread_local! {
    /// The log lines of this thread. Each test runs in its own thread.
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber that keeps the lines of this crate.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("slot_manager")
    }

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                match field.name() {
                    "message" => self.0.insert_str(0, &format!("{value:?}")),
                    name => self.0.push_str(&format!(" {name}={value:?}")),
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = *event.metadata().level();
        LINES.with_borrow_mut(|lines| lines.push(Line { level, text: text.0 }));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A manager that is not started. The subscriber is installed before any line is logged, because
/// each call site remembers whether a subscriber is interested.
fn observed(config: SlotManagerConfig) -> Fixture {
    static KEEP_LINES: Once = Once::new();
    KEEP_LINES.call_once(|| tracing::subscriber::set_global_default(Log).expect("the only one"));
    Fixture::not_started(config)
}

fn started(config: SlotManagerConfig) -> Fixture {
    let mut fixture = observed(config);
    fixture.start(1);
    fixture
}

/// Returns the lines that `call` logs.
fn logged<T>(call: impl FnOnce() -> T) -> Vec<Line> {
    LINES.take();
    call();
    LINES.take()
}

/// Checks that one line was logged at `level` or above, and that it contains all `parts`.
#[track_caller]
fn expect_line(lines: &[Line], level: Level, parts: &[&str]) {
    let seen: Vec<_> = lines.iter().filter(|line| line.level <= level).collect();
    assert_eq!(seen.len(), 1, "{lines:#?}");
    assert_eq!(seen[0].level, level, "{lines:#?}");
    for part in parts {
        assert!(seen[0].text.contains(part), "{part:?} is not in {:?}", seen[0].text);
    }
}

/// B.39
#[test]
fn life_cycle_and_task_managers_are_logged_at_info() {
    let mut fixture = observed(patient().with_task_manager_timeout(Duration::from_secs(10)));
    let (seven, eight) = (instance(7).to_string(), instance(8).to_string());

    // when, then
    let lines = logged(|| fixture.start(1));
    expect_line(&lines, Level::INFO, &["started"]);
    let lines = logged(|| fixture.register_free("tm", 7, &[small()]));
    expect_line(&lines, Level::INFO, &["registered", "tm", &seven]);
    let lines = logged(|| fixture.unregister(7));
    expect_line(&lines, Level::INFO, &["unregistered", &seven, "lost"]);
    fixture.register_free("tm", 8, &[small()]);
    let lines = logged(|| fixture.advance(Duration::from_secs(10)));
    expect_line(&lines, Level::INFO, &["release", &eight, "Accepted"]);
    let lines = logged(|| fixture.step(SlotManager::suspend));
    expect_line(&lines, Level::INFO, &["suspended"]);
}

/// B.39
#[test]
fn single_requests_are_logged_at_debug() {
    // when, then: a request that waits and is cancelled
    let mut fixture = started(patient());
    let lines = logged(|| {
        fixture.request(9, &small());
        fixture.cancel(9);
    });
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line.level == Level::DEBUG), "{lines:#?}");

    // when, then: a request that is granted, reported and freed
    fixture.register_free("tm", 7, &[small()]);
    let lines = logged(|| {
        fixture.request(1, &small());
        fixture.report(7, &report("tm", &[Some(1)]));
        fixture.free(&slot("tm", 0), 1);
    });
    let id = allocation(1).to_string();
    assert!(lines.len() >= 3);
    assert!(
        lines
            .iter()
            .all(|line| line.level == Level::DEBUG && line.text.contains(&id)),
        "{lines:#?}"
    );
}

/// B.39
#[test]
fn problems_are_logged_at_warn() {
    // given
    let config = patient()
        .with_request_timeout(Duration::from_secs(10))
        .with_max_pending_requests(Some(1));
    let mut fixture = started(config);
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, Some(2)]));
    let (one, two) = (allocation(1).to_string(), allocation(2).to_string());
    fixture.request(1, &small());

    // when, then: a limit is reached
    let lines = logged(|| fixture.try_request(1, 3, &small()));
    expect_line(&lines, Level::WARN, &[&allocation(3).to_string(), "limit=1"]);

    // when, then: a request differs from the known one
    let lines = logged(|| fixture.try_request(2, 1, &small()));
    expect_line(&lines, Level::WARN, &[&one, "job"]);

    // when, then: an attempt fails
    let lines = logged(|| fixture.answer(&gateway, 1, Err(SlotAllocationError::rejected("disk full"))));
    expect_line(&lines, Level::WARN, &["tm_0", &one, "disk full"]);

    // when, then: a report is refused
    let lines = logged(|| fixture.try_report(7, &free_report("other", &[small()])));
    expect_line(&lines, Level::WARN, &["refused", "other_0"]);

    // when, then: a grant is lost
    let lines = logged(|| fixture.report(7, &report("tm", &[None, None])));
    expect_line(&lines, Level::WARN, &["lost", "tm_1", &two]);

    // when, then: a request expires
    let lines = logged(|| fixture.advance(Duration::from_secs(10)));
    expect_line(&lines, Level::WARN, &[&one, "not granted within 10s"]);
}

/// Checks that the lines logged at `level` contain these parts, in this order.
#[track_caller]
fn expect_lines(lines: &[Line], level: Level, parts: &[[&str; 2]]) {
    let seen: Vec<_> = lines.iter().filter(|line| line.level == level).collect();
    assert_eq!(seen.len(), parts.len(), "{lines:#?}");
    for (line, parts) in seen.iter().zip(parts) {
        for part in parts {
            assert!(line.text.contains(part), "{part:?} is not in {:?}", line.text);
        }
    }
}

#[test]
fn backoffs_of_workers_and_suspect_jobs_are_logged_at_warn_and_their_ends_at_info() {
    // given: 1 was refused, and 2 is in flight
    let mut fixture = started(patient());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.answer(&gateway, 1, rejected());
    let (two, of_job) = (allocation(2).to_string(), job(1).to_string());

    // when, then
    let lines = logged(|| fixture.answer(&gateway, 2, rejected()));
    let worker = ["worker backs off", "resource_id=tm until=+50ms"];
    expect_lines(
        &lines,
        Level::WARN,
        &[["attempt failed", &two], ["job is suspect", &of_job], worker],
    );

    // when, then: the probe succeeds
    fixture.advance(Duration::from_millis(50));
    let lines = logged(|| fixture.answer(&gateway, 3, acknowledged()));
    let worker = ["worker serves again", "resource_id=tm"];
    expect_lines(&lines, Level::INFO, &[["job is suspect no more", &of_job], worker]);
}

/// B.39, B.26: a task executor may give the same answer twice.
#[test]
fn slot_that_is_occupied_by_the_request_itself_is_not_logged_at_warn() {
    // given
    let mut fixture = started(patient());
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.request(1, &small());
    fixture.request(2, &small());

    // when, then: occupied by the request itself
    let lines = logged(|| fixture.answer(&gateway, 1, occupied(1)));
    assert!(lines.iter().all(|line| line.level == Level::DEBUG), "{lines:#?}");

    // when, then: occupied by another allocation
    let lines = logged(|| fixture.answer(&gateway, 2, occupied(9)));
    expect_line(
        &lines,
        Level::WARN,
        &["tm_1", &allocation(2).to_string(), &allocation(9).to_string()],
    );
}

#[test]
fn start_warns_of_workers_that_may_come_later_than_their_requests_wait() {
    // given
    let timeouts = |request: u64, registration: u64| {
        patient()
            .with_request_timeout(Duration::from_secs(request))
            .with_worker_registration_timeout(Duration::from_secs(registration))
    };
    let mut late = observed(timeouts(300, 300));
    let mut in_time = observed(timeouts(300, 299));

    // when, then
    let lines = logged(|| late.start(1));
    expect_line(&lines, Level::WARN, &["registration=300s", "request=300s"]);
    assert!(logged(|| in_time.start(1)).iter().all(|line| line.level > Level::WARN));
}

/// B.39
#[test]
fn promised_workers_are_logged_at_info_and_failed_workers_at_warn() {
    // given
    let mut fixture = started(patient());
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(), small()])));

    // when, then
    let lines = logged(|| fixture.request(1, &small()));
    expect_line(
        &lines,
        Level::INFO,
        &["worker_request=00000000000000000000000000000001-1", "slots=2"],
    );
    let lines = logged(|| fixture.worker_failed(1));
    expect_line(
        &lines,
        Level::WARN,
        &["worker_request=00000000000000000000000000000001-1", "it failed"],
    );
}

/// B.39: Flink logged the allocation in place of the slot.
#[test]
fn message_about_a_slot_names_the_slot() {
    // given
    let mut fixture = started(patient());
    fixture.register_free("tm", 7, &[small()]);

    // when
    let lines = logged(|| fixture.free(&slot("tm", 0), 1));

    // then
    expect_line(
        &lines,
        Level::DEBUG,
        &[
            "slot_id=tm_0",
            &format!("allocation_id={}", allocation(1)),
            "NotAllocated",
        ],
    );
}

/// B.40
#[test]
fn everything_can_be_counted_and_listed() {
    // given
    let mut fixture = started(patient());
    let gateway = fixture.gateway_by_hand();
    gateway.answer_next(rejected());
    fixture.register_with("b", 7, &report("b", &[Some(1), None]).with_revision(4), &gateway);
    fixture.register("a", 8, &report("a", &[]));
    fixture.request(2, &small());
    fixture
        .actions
        .answer_next_allocation(Ok(WorkerPromise::Slots(vec![small(), profile(2.0, 200)])));
    let _ = fixture.try_request(5, 3, &small()).expect("accepted");
    let manager = &fixture.manager;

    // then: slots with their states
    let slots: Vec<_> = manager.slots().map(|view| (view.slot_id(), view.state())).collect();
    let (allocation_id, job_id) = (allocation(1), job(1));
    let held = SlotState::Allocated { allocation_id, job_id };
    let requested = SlotState::InFlight {
        allocation_id: allocation(2),
        job_id,
    };
    assert_eq!(slots, [(slot("b", 0), held), (slot("b", 1), requested)]);
    let view = manager.slot(&slot("b", 1)).expect("registered");
    assert_eq!(
        (view.resource_profile(), view.allocation_id(), view.is_free()),
        (&small(), None, false)
    );
    assert_eq!(view.task_manager().instance_id(), instance(7));

    // then: task managers, oldest first
    let registered: Vec<_> = manager
        .task_managers()
        .map(|view| view.resource_id().to_string())
        .collect();
    assert_eq!(registered, ["b", "a"]);
    let view = manager.task_manager_of(&ResourceId::new("b")).expect("registered");
    assert_eq!(
        (view.instance_id(), view.revision(), view.idle_since()),
        (instance(7), Some(4), None)
    );
    assert_eq!((view.slots().count(), view.worker_request()), (2, None));
    let counts = view.slot_counts();
    assert_eq!(
        (counts.registered, counts.free, counts.in_flight, counts.allocated),
        (2, 0, 1, 1)
    );
    assert_eq!(
        manager.overview().slots.counts(),
        counts,
        "the other task manager has no slot"
    );
    assert_eq!(manager.overview().task_managers, 2);

    // then: requests, oldest first
    let pending: Vec<_> = manager
        .pending_slot_requests()
        .map(|view| {
            (
                view.allocation_id(),
                view.in_flight_to(),
                view.bound_to(),
                view.failed_attempts(),
            )
        })
        .collect();
    let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), 1);
    assert_eq!(
        pending,
        [
            (allocation(2), Some(slot("b", 1)), None, 1),
            (allocation(3), None, Some(worker_request), 0)
        ]
    );
    let view = manager.pending_slot_request(allocation(3)).expect("pending");
    assert_eq!(
        (view.job_id(), view.resource_profile(), &**view.target_address()),
        (job(5), &small(), "job-master-5")
    );
    assert_eq!(manager.overview().pending_requests, 2);
    assert_eq!(manager.overview().slots.in_flight.slots, 1);
    assert_eq!(fixture.status(3), Some(AllocationStatus::Waiting));

    // then: promised slots
    assert_eq!(fixture.promised(), (1, 1));
    let promised: Vec<_> = manager
        .promised_slots()
        .map(|view| (view.resource_profile().clone(), view.bound_to()))
        .collect();
    assert_eq!(promised, [(small(), Some(allocation(3))), (profile(2.0, 200), None)]);

    // then: unknown ids return nothing
    assert!(manager.slot(&slot("b", 9)).is_none() && manager.slot(&slot("c", 0)).is_none());
    assert!(manager.task_manager(instance(9)).is_none());
    assert!(manager.task_manager_of(&ResourceId::new("c")).is_none());
    assert!(manager.pending_slot_request(allocation(1)).is_none(), "it is granted");
    assert_eq!(fixture.status(9), None);

    // when, then: the last attempt is granted
    fixture.answer(&gateway, 2, acknowledged());
    assert_eq!(fixture.manager.overview().slots.in_flight.slots, 0);
    assert_eq!(fixture.holder(&slot("b", 1)), Some(allocation(2)));
}

// Missing revisions.

/// One warning for each registration, when the first answer is pending.
#[test]
fn futures_beside_reports_without_a_revision_are_logged_once() {
    // given
    let mut fixture = started(patient());
    fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));

    // when, then
    let lines = logged(|| fixture.request(1, &small()));
    expect_line(&lines, Level::WARN, &["resource_id=tm", "no revision"]);
    let lines = logged(|| fixture.request(2, &small()));
    assert!(lines.iter().all(|line| line.level > Level::WARN), "{lines:#?}");

    // when, then: another registration
    fixture.register_by_hand("other", 8, &report("other", &[None]));
    let lines = logged(|| fixture.request(3, &small()));
    expect_line(&lines, Level::WARN, &["resource_id=other", "no revision"]);
}

#[test]
fn neither_revisions_nor_other_answers_than_futures_are_logged() {
    // given
    let mut fixture = started(patient());
    fixture.register_by_hand("a", 1, &report("a", &[None]).with_revision(1));
    fixture.register("b", 2, &report("b", &[None]));
    let later = fixture.register("c", 3, &report("c", &[None]));
    later.answer_requests(GatewayAnswer::Later);

    // when, then
    for id in 1..=3 {
        let lines = logged(|| fixture.request(id, &small()));
        assert!(lines.iter().all(|line| line.level > Level::WARN), "{lines:#?}");
    }
}

#[test]
fn report_that_takes_a_freed_slot_back_is_logged_at_warn() {
    // given
    let mut fixture = started(patient());
    fixture.register("tm", 7, &report("tm", &[Some(1)]));
    fixture.free(&slot("tm", 0), 1);

    // when, then
    let lines = logged(|| fixture.report(7, &report("tm", &[Some(1)])));
    expect_line(&lines, Level::WARN, &["tm_0", &allocation(1).to_string(), "just freed"]);
}
