//! Revisions of task executors: they order reports and acknowledgements. Comments of the form `B.n`
//! name the defects of FLINK-5810 that a test guards against.

use slot_manager::SlotReport;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::{Acknowledge, SlotFreed};
use slot_manager::outcome::{ReportOutcome, SlotFreedOutcome, Stale};

use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, acknowledged_at, allocation, ask, freed, granted, in_flight, instance,
    patient, report, slot, small,
};

fn stale(revision: u64, highest_seen: u64) -> ReportOutcome {
    ReportOutcome::Ignored(Stale { revision, highest_seen })
}

// Reports.

#[test]
fn report_that_is_older_than_the_registration_is_ignored() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]).with_revision(5));

    // when, then
    assert_eq!(fixture.report(1, &report("tm", &[None]).with_revision(4)), stale(4, 5));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect_nothing();
}

/// B.18: reports that overtake each other.
#[test]
fn report_is_compared_with_the_highest_revision_seen() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.report(7, &report("tm", &[Some(1)]).with_revision(9));

    // when, then
    for revision in [8, 4] {
        let outcome = fixture.report(7, &report("tm", &[Some(2)]).with_revision(revision));
        assert_eq!(outcome, stale(revision, 9));
        assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
        let task_manager = fixture.manager.task_manager(instance(7)).expect("registered");
        assert_eq!(task_manager.revision(), Some(9));
    }
    fixture.expect_nothing();
}

#[test]
fn report_of_the_revision_seen_last_is_current() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));
    let same = report("tm", &[Some(1)]).with_revision(5);

    // when, then
    assert_eq!(fixture.report(1, &same), ReportOutcome::Applied);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn report_without_a_revision_is_applied_after_reports_with_revisions() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]).with_revision(5));

    // when, then
    assert_eq!(fixture.report(1, &report("tm", &[None])), ReportOutcome::Applied);
    assert_eq!(fixture.status(1), None);
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(4)),
        stale(4, 5)
    );
}

#[test]
fn stale_report_that_is_invalid_is_refused() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));

    // when, then
    assert!(
        fixture
            .try_report(1, &report("other", &[None]).with_revision(4))
            .is_err()
    );
}

#[test]
fn revisions_of_one_task_executor_do_not_matter_for_another() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("a", 1, &report("a", &[None]).with_revision(100));
    fixture.register("b", 2, &report("b", &[None]).with_revision(1));

    // when, then
    assert_eq!(
        fixture.report(2, &report("b", &[Some(1)]).with_revision(2)),
        ReportOutcome::Applied
    );
}

// Acknowledgements.

/// B.18 (i): the slot was granted and freed before the report, which overtook the answer.
#[test]
fn acknowledgement_that_is_older_than_a_report_of_the_free_slot_is_a_grant_that_has_ended() {
    // given: a report of revision 5 while the attempt is in flight
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.report(7, &report("tm", &[None]).with_revision(5));
    fixture.log.take();

    // when: the slot was granted at revision 4, so at revision 5 the grant has ended
    fixture.answer(&gateway, 1, acknowledged_at(4));

    // then
    fixture.expect(&["granted 1 on tm_0", "lost 1 on tm_0: free", "request tm_0 for 2 #2"]);
    assert_eq!(fixture.status(1), None);
}

#[test]
fn losses_of_answers_that_come_together_are_notified_in_the_order_of_their_workers() {
    // given: reports overtook the answers of two workers
    let mut fixture = Fixture::new();
    let b = fixture.register_by_hand("b", 2, &report("b", &[None]).with_revision(3));
    fixture.request(1, &small());
    let a = fixture.register_by_hand("a", 1, &report("a", &[Some(50), None]).with_revision(3));
    fixture.request(2, &small());
    fixture.report(2, &report("b", &[None]).with_revision(5));
    fixture.report(1, &report("a", &[Some(50), None]).with_revision(5));
    fixture.log.take();

    // when
    for (gateway, attempt) in [(&b, 1), (&a, 2)] {
        let answer = gateway.answer(attempt, acknowledged_at(4));
        answer.expect("the attempt awaits its answer");
    }
    fixture.run();

    // then
    fixture.expect(&[
        "granted 2 on a_1",
        "lost 2 on a_1: free",
        "granted 1 on b_0",
        "lost 1 on b_0: free",
    ]);
}

/// B.18 (i)
#[test]
fn acknowledgement_as_new_as_a_report_of_the_free_slot_or_newer_is_a_grant() {
    for revision in [5, 6] {
        // given
        let mut fixture = Fixture::new();
        let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
        fixture.request(1, &small());
        fixture.report(7, &report("tm", &[None]).with_revision(5));
        fixture.log.take();

        // when
        fixture.answer(&gateway, 1, acknowledged_at(revision));

        // then
        fixture.expect(&["granted 1 on tm_0"]);
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    }
}

/// Registers slot `tm_0` and has it granted to request 1: by an answer within the call, or by a
/// later answer.
fn with_grant(
    within_the_call: bool,
    registered: &SlotReport,
    answer: Result<Acknowledge, SlotAllocationError>,
) -> Fixture {
    let mut fixture = Fixture::new();
    let gateway = fixture.register_by_hand("tm", 7, registered);
    if within_the_call {
        gateway.answer_requests(answer);
        fixture.request(1, &small());
    } else {
        fixture.request(1, &small());
        fixture.answer(&gateway, 1, answer);
    }
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.log.take();
    fixture
}

/// B.18 (ii): the report was written before the request arrived, and the answer overtook it.
#[test]
fn report_that_is_older_than_an_acknowledgement_does_not_take_the_grant_away() {
    for within_the_call in [false, true] {
        // given
        let registered = report("tm", &[None]).with_revision(3);
        let mut fixture = with_grant(within_the_call, &registered, acknowledged_at(4));

        // when, then: the report is older
        let outcome = fixture.report(7, &report("tm", &[None, None]).with_revision(3));
        assert_eq!(outcome, stale(3, 4));
        fixture.expect_nothing();
        assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
        assert_eq!(
            fixture.manager.overview().slots.registered.slots,
            1,
            "no part of it counts"
        );

        // when, then: an equal revision is current
        let outcome = fixture.report(7, &report("tm", &[Some(1)]).with_revision(4));
        assert_eq!(outcome, ReportOutcome::Applied);
        fixture.expect_nothing();

        // when, then: the report is newer
        let outcome = fixture.report(7, &report("tm", &[None]).with_revision(5));
        assert_eq!(outcome, ReportOutcome::Applied);
        fixture.expect(&["lost 1 on tm_0: free"]);
    }
}

/// B.18 (ii): without revisions, the order of arrival is the truth.
#[test]
fn report_that_arrives_after_an_acknowledgement_counts_if_there_are_no_revisions() {
    let with = |revision: Option<u64>, report: SlotReport| match revision {
        Some(revision) => report.with_revision(revision),
        None => report,
    };
    for (at_registration, at_answer, in_report) in [
        (None, None, None),
        (Some(3), Some(4), None),
        (Some(3), None, Some(3)),
        (None, None, Some(1)),
    ] {
        for within_the_call in [false, true] {
            // given
            let registered = with(at_registration, report("tm", &[None]));
            let answer = at_answer.map_or_else(acknowledged, acknowledged_at);
            let mut fixture = with_grant(within_the_call, &registered, answer);

            // when
            let outcome = fixture.report(7, &with(in_report, report("tm", &[None])));

            // then
            assert_eq!(outcome, ReportOutcome::Applied);
            fixture.expect(&["lost 1 on tm_0: free"]);
        }
    }
}

#[test]
fn acknowledgement_without_a_revision_changes_no_revision() {
    // given
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));
    fixture.request(1, &small());

    // when, then
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(5)),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

// Freed slots.

fn freed_at(id: u128, instance: u128, revision: u64) -> SlotFreed {
    freed(&slot("tm", 0), id).with_revision(self::instance(instance), revision)
}

/// A manager in which allocation 1 holds `tm_0` since revision 4.
fn held() -> Fixture {
    with_grant(true, &report("tm", &[None]).with_revision(3), acknowledged_at(4))
}

#[test]
fn report_that_is_older_than_a_freed_slot_does_not_give_the_slot_back() {
    // given
    let mut fixture = held();
    let older = report("tm", &[Some(1)]).with_revision(4);

    // when
    let outcome = fixture.step(|manager| manager.slot_freed(&freed_at(1, 7, 5)));

    // then
    assert_eq!(outcome, SlotFreedOutcome::Freed);
    assert_eq!(fixture.report(7, &older), stale(4, 5));
    assert!(fixture.is_free(&slot("tm", 0)));
    assert_eq!(fixture.manager.counters().frees_taken_back, 0);
}

#[test]
fn freed_slot_that_a_report_has_shown_is_outdated() {
    // given: freed at revision 5, granted to the same allocation again at revision 6
    let mut fixture = held();
    fixture.report(7, &report("tm", &[Some(1)]).with_revision(6));
    let before = fixture.view();

    // when
    let outcome = fixture.step(|manager| manager.slot_freed(&freed_at(1, 7, 5)));

    // then
    assert_eq!(outcome, SlotFreedOutcome::Outdated);
    assert_eq!(fixture.view(), before);
    fixture.expect_nothing();
}

#[test]
fn freed_slot_that_a_report_of_the_same_revision_has_shown_is_outdated() {
    // given: freed at revision 5
    let mut fixture = held();
    fixture.report(7, &report("tm", &[None]).with_revision(5));
    let before = fixture.view();

    // when
    let outcome = fixture.step(|manager| manager.slot_freed(&freed_at(1, 7, 5)));

    // then
    assert_eq!(outcome, SlotFreedOutcome::Outdated);
    assert_eq!(fixture.view(), before);
}

#[test]
fn freed_slot_of_an_ended_registration_is_outdated() {
    // given: the process was started anew, and counts from zero
    let mut fixture = held();
    fixture.register("tm", 8, &report("tm", &[Some(1)]).with_revision(1));

    // when, then
    let outcome = fixture.step(|manager| manager.slot_freed(&freed_at(1, 7, 100)));
    assert_eq!(outcome, SlotFreedOutcome::Outdated);
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));

    // when, then: its revision does not count
    let newer = report("tm", &[None]).with_revision(2);
    assert_eq!(fixture.report(8, &newer), ReportOutcome::Applied);
}

/// A report that shows the slot as free is no news about an attempt in flight.
#[test]
fn slot_freed_while_in_flight_counts_although_a_report_has_shown_it() {
    // given: granted at revision 4 and freed at revision 5; the acknowledgement is on its way
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(3));
    fixture.request(1, &small());
    fixture.report(7, &report("tm", &[None]).with_revision(5));
    fixture.log.take();

    // when, then
    let outcome = fixture.step(|manager| manager.slot_freed(&freed_at(1, 7, 5)));
    assert_eq!(outcome, SlotFreedOutcome::FreedInFlight);
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1"]);
}

#[test]
fn report_that_takes_a_freed_slot_back_is_counted() {
    // given: no revisions; the report was written before the slot was freed
    let mut fixture = with_grant(true, &report("tm", &[None]), acknowledged());
    let older = report("tm", &[Some(1)]);

    // when
    fixture.free(&slot("tm", 0), 1);
    fixture.report(7, &older);

    // then
    assert_eq!(fixture.holder(&slot("tm", 0)), Some(allocation(1)));
    assert_eq!(fixture.manager.counters().frees_taken_back, 1);

    // when, then: the same report again takes nothing back
    fixture.report(7, &older);
    assert_eq!(fixture.manager.counters().frees_taken_back, 1);
}

#[test]
fn report_that_takes_a_freed_slot_back_from_the_next_request_is_counted() {
    // given
    let mut fixture = with_grant(true, &report("tm", &[None]), acknowledged());
    let older = report("tm", &[Some(1)]);
    fixture.request(2, &small());

    // when
    fixture.free(&slot("tm", 0), 1);
    fixture.report(7, &older);

    // then
    assert_eq!(fixture.manager.counters().frees_taken_back, 1);
}

#[test]
fn report_in_another_leadership_takes_nothing_back() {
    // given
    let mut fixture = with_grant(true, &report("tm", &[None]), acknowledged());
    fixture.free(&slot("tm", 0), 1);

    // when
    fixture.suspend();
    fixture.start(2);
    fixture.register("tm", 7, &report("tm", &[Some(1)]));

    // then
    assert_eq!(fixture.manager.counters().frees_taken_back, 0);
}

#[test]
fn report_of_another_allocation_on_a_freed_slot_takes_nothing_back() {
    // given
    let mut fixture = with_grant(true, &report("tm", &[None]), acknowledged());

    // when
    fixture.free(&slot("tm", 0), 1);
    fixture.report(7, &report("tm", &[Some(2)]));

    // then
    assert_eq!(fixture.manager.counters().frees_taken_back, 0);
}

/// The manager gives a slow attempt up and requests the same slot again. The task executor frees
/// the slot for the first attempt and says so, while the second is in flight.
#[test]
fn slot_freed_for_an_earlier_attempt_does_not_end_the_attempt_in_flight() {
    // given
    let mut fixture = Fixture::with(patient().with_rpc_timeout(SECOND));
    let gateway = fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(0));
    fixture.request(1, &small());
    fixture.advance(SECOND);
    fixture.advance(50 * MILLISECOND);
    fixture.expect(&[
        "request tm_0 for 1 #1",
        "free tm_0 of 1 #1",
        &ask(1),
        "request tm_0 for 1 #2",
    ]);

    // when
    let freed = freed_at(1, 7, 2).with_attempt(1);
    let outcome = fixture.step(|manager| manager.slot_freed(&freed));

    // then
    assert_eq!(outcome, SlotFreedOutcome::Outdated);
    assert_eq!(fixture.status(1), Some(in_flight(&slot("tm", 0))));
    fixture.answer(&gateway, 2, acknowledged_at(3));
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn slot_freed_for_the_attempt_in_flight_ends_it() {
    // given
    let mut fixture = Fixture::new();
    fixture.register_by_hand("tm", 7, &report("tm", &[None]).with_revision(0));
    fixture.request(1, &small());
    fixture.log.take();

    // when
    let freed = freed_at(1, 7, 2).with_attempt(1);
    let outcome = fixture.step(|manager| manager.slot_freed(&freed));

    // then
    assert_eq!(outcome, SlotFreedOutcome::FreedInFlight);
    fixture.expect(&["granted 1 on tm_0", "free tm_0 of 1 #1"]);
}
