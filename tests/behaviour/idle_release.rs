//! Idle task managers: since when they are idle, how their idle periods are counted, and when they
//! are released. Comments name the defects of FLINK-5810 that the tests guard against.

use std::time::Duration;

use slot_manager::message::Release;
use slot_manager::outcome::{AllocationStatus, ReportOutcome, SlotFreedOutcome, UnregistrationOutcome};
use slot_manager::overview::SlotCounts;
use slot_manager::{SlotManagerConfig, SlotReport, SlotStatus, Timestamp};

use crate::common::{
    Fixture, SECOND, acknowledged, ask, granted, in_flight, patient, profile, rejected, report, slot, small,
};

fn idle_after(timeout: Duration) -> SlotManagerConfig {
    patient().with_task_manager_timeout(timeout)
}

fn at_second(second: u64) -> Option<Timestamp> {
    Some(Timestamp::from_secs(second))
}

// Since when.

#[test]
fn idle_period_begins_at_the_registration() {
    // given
    let mut fixture = Fixture::new();
    fixture.advance(5 * SECOND);

    // when
    fixture.register_free("tm", 1, &[small()]);

    // then
    assert_eq!(fixture.idle_since(1), at_second(5));
}

/// B.4
#[test]
fn task_manager_without_slots_is_idle_and_is_released_too() {
    // given
    let mut fixture = Fixture::with(idle_after(3 * SECOND));
    fixture.advance(5 * SECOND);
    fixture.register("tm", 1, &SlotReport::default());
    assert_eq!(fixture.idle_since(1), at_second(5));

    // when, then
    fixture.falls_due_after(3 * SECOND, &["may 1 go? #1", "release 1, idle since +5s (1)"]);
    assert_eq!(fixture.manager.overview().task_managers, 0);
}

#[test]
fn task_manager_that_registers_with_an_allocated_slot_is_not_idle() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None, Some(1)]));
    assert_eq!(fixture.idle_since(1), None);
}

/// B.4
#[test]
fn idle_period_begins_when_the_last_used_slot_becomes_free() {
    for by_report in [false, true] {
        // given: two slots in use
        let mut fixture = Fixture::with(idle_after(10 * SECOND));
        fixture.register("tm", 7, &report("tm", &[Some(1), Some(2)]));

        // when: they become free one after the other
        fixture.advance(SECOND);
        fixture.free(&slot("tm", 0), 1);
        assert_eq!(fixture.idle_since(7), None);
        fixture.advance(SECOND);
        if by_report {
            fixture.report(7, &report("tm", &[None, None]));
            fixture.expect(&["lost 2 on tm_1: free"]);
        } else {
            fixture.free(&slot("tm", 1), 2);
            fixture.expect_nothing();
        }

        // then: this is the first idle period
        assert_eq!(fixture.idle_since(7), at_second(2));
        fixture.falls_due_after(10 * SECOND, &["may 7 go? #1", "release 7, idle since +2s (1)"]);
    }
}

/// B.42 (vi): an attempt that came to nothing leaves the task manager idle.
#[test]
fn idle_period_begins_after_an_attempt_that_failed_or_was_cancelled() {
    for cancelled in [false, true] {
        // given
        let mut fixture = Fixture::with(idle_after(10 * SECOND));
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
        fixture.request(1, &small());
        fixture.advance(3 * SECOND);

        // when: after the failures the request backs off, and is cancelled then
        if !cancelled {
            fixture.answer(&gateway, 1, rejected());
            fixture.answer(&gateway, 2, rejected());
        }
        fixture.cancel(1);
        fixture.log.take();

        // then
        assert_eq!(fixture.idle_since(7), at_second(3));
        fixture.falls_due_after(10 * SECOND, &["may 7 go? #1", "release 7, idle since +3s (2)"]);
    }
}

#[test]
fn idle_period_begins_when_a_failed_attempt_moves_to_another_task_manager() {
    // given
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.register_free("other", 2, &[small()]);

    // when
    fixture.clock.advance_to(Timestamp::from_secs(3));
    fixture.answer(&gateway, 1, rejected());

    // then
    assert_eq!(fixture.status(1), Some(granted(&slot("other", 0))));
    assert_eq!(fixture.idle_since(1), at_second(3));
}

/// B.4: only idle periods between two calls count.
#[test]
fn task_manager_whose_use_moves_from_slot_to_slot_is_not_idle_in_between() {
    // given
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    fixture.register("tm", 7, &report("tm", &[Some(1), None]));

    // when: the allocation is found on the other slot; then the job frees it while a request waits
    fixture.report(7, &report("tm", &[None, Some(1)]));
    fixture.request(2, &small());
    fixture.request(3, &small());
    fixture.free(&slot("tm", 0), 2);
    fixture.free(&slot("tm", 1), 1);
    fixture.log.take();

    // then: it is in use all the time
    assert_eq!(fixture.idle_since(7), None);
    fixture.advance(100 * SECOND);
    fixture.expect_nothing();

    // then: the first idle period
    fixture.free(&slot("tm", 0), 3);
    fixture.falls_due_after(10 * SECOND, &["may 7 go? #1", "release 7, idle since +100s (1)"]);
}

/// B.4
#[test]
fn messages_that_change_no_use_do_not_postpone_the_release() {
    // given
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    fixture.register("tm", 7, &report("tm", &[None, None]));

    // when: it reports and registers every second, and a slot that is free is freed; one report
    // adds a slot
    for second in 1..10 {
        fixture.advance(SECOND);
        let holders = vec![None; 2 + usize::from(second > 5)];
        assert_eq!(fixture.report(7, &report("tm", &holders)), ReportOutcome::Applied);
        assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::NotAllocated);
        fixture.register("tm", 7, &report("tm", &holders));
        assert_eq!(fixture.idle_since(7), at_second(0));
    }

    // when: reports remove slots, and replace the last one by another with another profile
    fixture.report(7, &report("tm", &[None]));
    let changed = SlotReport::new(vec![SlotStatus::free(slot("tm", 7), profile(0.5, 0))]);
    fixture.report(7, &changed);
    assert_eq!(fixture.idle_since(7), at_second(0));

    // then
    fixture.falls_due_after(SECOND, &["may 7 go? #1", "release 7, idle since +0ns (1)"]);
}

// Released.

/// B.1
#[test]
fn released_task_manager_leaves_no_slot_behind() {
    // given
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    let gateway = fixture.register_free("tm", 7, &[small(), small()]);

    // when
    fixture.falls_due_after(10 * SECOND, &["may 7 go? #1", "release 7, idle since +0ns (1)"]);

    // then: it has left nothing behind, and a request needs a new worker
    assert_eq!(fixture.manager.overview().task_managers, 0);
    assert_eq!(fixture.manager.overview().slots.counts(), SlotCounts::default());
    assert!(fixture.manager.slot(&slot("tm", 0)).is_none());
    assert_eq!(fixture.request(1, &small()), AllocationStatus::Waiting);
    assert_eq!(gateway.take_calls(), []);
    fixture.expect(&[&ask(1)]);

    // then: later messages about it are harmless
    assert_eq!(
        fixture.report(7, &report("tm", &[None, Some(1)])),
        ReportOutcome::Unknown
    );
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unknown);
    assert_eq!(fixture.free(&slot("tm", 0), 1), SlotFreedOutcome::Unknown);
    fixture.expect_nothing();
}

/// B.1, and FLINK-7793
#[test]
fn task_manager_whose_release_is_declined_stays_with_its_slots() {
    // given
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    fixture.actions.answer_releases(Release::Declined);
    let gateway = fixture.register_free("tm", 7, &[small()]);

    // when, then: its release is requested again after each idle timeout, for the same idle period
    for check in ["may 7 go? #1", "may 7 go? #2", "may 7 go? #3"] {
        fixture.falls_due_after(10 * SECOND, &[check, "release 7, idle since +0ns (1)"]);
        assert!(fixture.is_free(&slot("tm", 0)));
    }
    assert_eq!(gateway.stop_message(), None);

    // then: it serves requests as before
    assert_eq!(fixture.request(1, &small()), granted(&slot("tm", 0)));
    fixture.advance(30 * SECOND);
    fixture.expect(&["request tm_0 for 1 #1", "granted 1 on tm_0"]);

    // then: idle again, it begins another period
    fixture.free(&slot("tm", 0), 1);
    fixture.falls_due_after(10 * SECOND, &["may 7 go? #4", "release 7, idle since +60s (2)"]);
}

/// B.1: each task manager counts its own time.
#[test]
fn only_the_task_manager_whose_time_has_come_is_released() {
    // given
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    fixture.register_free("early", 1, &[small()]);
    fixture.advance(4 * SECOND);
    fixture.register_free("late", 2, &[small()]);

    // when, then
    fixture.falls_due_after(6 * SECOND, &["may 1 go? #1", "release 1, idle since +0ns (1)"]);
    assert!(fixture.is_free(&slot("late", 0)));
    fixture.falls_due_after(4 * SECOND, &["may 2 go? #2", "release 2, idle since +4s (1)"]);
}

#[test]
fn task_manager_whose_slots_back_off_is_idle_and_is_released() {
    // given: attempts of 1 and 2 failed on its only slot
    let config = idle_after(10 * SECOND).with_retry_backoff(100 * SECOND, 100 * SECOND);
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_by_hand("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.request(2, &small());
    for attempt in [1, 2] {
        fixture.answer(&gateway, attempt, rejected());
    }
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then: it is the second idle period, for it was used in between
    fixture.expect(&["may 1 go? #1", "release 1, idle since +0ns (2)"]);
    assert_eq!(fixture.manager.overview().slots.registered.slots, 0);

    // then: a slot of the same name that registers later does not back off
    fixture.register_free("tm", 2, &[small()]);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

// Not released.

/// B.2
#[test]
fn task_manager_with_an_attempt_in_flight_is_not_released() {
    // given: the attempt begins a second before the release
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None, None]));
    fixture.advance(9 * SECOND);
    assert_eq!(fixture.request(1, &small()), in_flight(&slot("tm", 0)));
    assert_eq!(fixture.idle_since(7), None);
    fixture.log.take();

    // when
    fixture.advance(100 * SECOND);

    // then: it is registered as before
    fixture.expect_nothing();
    assert_eq!(fixture.report(7, &report("tm", &[None, None])), ReportOutcome::Applied);
    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();

    // then: and can be unregistered as any other
    assert_eq!(fixture.unregister(7), UnregistrationOutcome::Unregistered);
    assert_eq!(fixture.manager.overview().slots.counts(), SlotCounts::default());
}

/// B.2
#[test]
fn task_manager_that_reports_an_allocation_is_not_released() {
    // given: a known slot turns out to be allocated on one, and a new slot on the other
    let mut fixture = Fixture::with(idle_after(10 * SECOND));
    fixture.register("known", 1, &report("known", &[None]));
    fixture.register("new", 2, &report("new", &[None]));
    fixture.advance(9 * SECOND);

    // when
    fixture.report(1, &report("known", &[Some(1)]));
    fixture.report(2, &report("new", &[None, Some(2)]));
    fixture.advance(100 * SECOND);

    // then
    fixture.expect_nothing();
    assert_eq!(fixture.manager.overview().task_managers, 2);

    // then: the idle period begins when they are free again
    fixture.free(&slot("known", 0), 1);
    fixture.report(2, &report("new", &[None, None]));
    fixture.log.take();
    assert_eq!(fixture.advance(10 * SECOND - Duration::from_nanos(1)), 0);
    fixture.expect_nothing();
    fixture.advance(Duration::from_nanos(1));
    fixture.expect(&[
        "may 1 go? #1",
        "release 1, idle since +109s (2)",
        "may 2 go? #2",
        "release 2, idle since +109s (2)",
    ]);
}

/// B.2: a backoff that ended later, and was noticed together with the idle timeout, takes the slot
/// first.
#[test]
fn task_manager_that_is_used_when_its_time_is_noticed_is_not_released() {
    // given: at 10 s the release falls due, at 11 s the retry
    let config = idle_after(10 * SECOND).with_retry_backoff(11 * SECOND, 11 * SECOND);
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.answer(&gateway, 1, rejected());
    fixture.answer(&gateway, 2, rejected());
    fixture.log.take();

    // when: the manager is driven late
    fixture.advance(12 * SECOND);

    // then
    fixture.expect(&["request tm_0 for 1 #3"]);
    assert_eq!(fixture.manager.overview().task_managers, 1);
}

#[test]
fn slot_that_is_taken_in_the_round_in_which_its_task_manager_is_due_keeps_it() {
    // given: the backoff of 1 ends at the same time as the idle timeout
    let config = idle_after(10 * SECOND).with_retry_backoff(10 * SECOND, 10 * SECOND);
    let mut fixture = Fixture::with(config);
    let gateway = fixture.register_free("tm", 1, &[small()]);
    gateway.answer_next(rejected());
    gateway.answer_next(rejected());
    fixture.request(1, &small());
    assert_eq!(fixture.idle_since(1), Some(Timestamp::ZERO));
    fixture.log.take();

    // when
    fixture.advance(10 * SECOND);

    // then
    fixture.expect(&["request tm_0 for 1 #3", "granted 1 on tm_0"]);
    assert_eq!(fixture.manager.overview().task_managers, 1);
}
