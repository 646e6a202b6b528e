//! Revisions of task executors: they order reports and acknowledgements. Comments of the form `B.n`
//! name the defects of FLINK-5810 that a test guards against.

use slot_manager::SlotReport;
use slot_manager::error::SlotAllocationError;
use slot_manager::message::Acknowledge;
use slot_manager::outcome::{ReportOutcome, Stale};

use crate::common::{Fixture, acknowledged, allocation, granted, instance, report, slot, small};

fn stale(revision: u64, highest_seen: u64) -> ReportOutcome {
    ReportOutcome::Ignored(Stale { revision, highest_seen })
}

fn acknowledged_at(revision: u64) -> Result<Acknowledge, SlotAllocationError> {
    Ok(Acknowledge::new().with_revision(revision))
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
