//! What a task executor's revision numbers are good for.

use slot_manager::testing::GatewayAnswer;
use slot_manager::{Acknowledge, ReportOutcome, Stale};

use crate::common::{Fixture, granted, instance, report, slot, small};

fn stale(revision: u64, highest_seen: u64) -> ReportOutcome {
    ReportOutcome::Ignored(Stale { revision, highest_seen })
}

#[test]
fn a_report_older_than_one_seen_is_ignored() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]).with_revision(5));
    assert_eq!(fixture.report(1, &report("tm", &[None]).with_revision(4)), stale(4, 5));
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
    fixture.expect_nothing();
}

#[test]
fn a_report_of_the_revision_seen_last_is_current() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));
    let same = report("tm", &[Some(1)]).with_revision(5);
    assert_eq!(fixture.report(1, &same), ReportOutcome::Applied);
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn the_highest_revision_counts_not_the_last() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(3));
    fixture.report(1, &report("tm", &[None]).with_revision(9));
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(8)),
        stale(8, 9)
    );
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(4)),
        stale(4, 9)
    );
    let known = fixture
        .manager
        .task_manager(instance(1))
        .expect("it is registered")
        .revision();
    assert_eq!(known, Some(9));
}

/// The report was taken before the request arrived there, and overtaken by the answer.
#[test]
fn a_report_older_than_an_acknowledgement_does_not_take_the_grant_away() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 1, &report("tm", &[None]).with_revision(0));
    gateway.answer_requests(Ok(Acknowledge::new().with_revision(1)));
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.report(1, &report("tm", &[None]).with_revision(0)), stale(0, 1));
    fixture.expect_nothing();
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

/// The report was taken after the slot was given and freed again, and overtook the answer.
#[test]
fn an_acknowledgement_older_than_a_report_that_shows_the_slot_free_is_a_grant_that_is_over() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 1, &report("tm", &[None]).with_revision(0));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.request(2, &small());
    fixture.report(1, &report("tm", &[None]).with_revision(2));
    fixture.log.take();
    gateway
        .answer(1, Ok(Acknowledge::new().with_revision(1)))
        .expect("it is pending");
    fixture.run();
    fixture.expect(&["granted 1 on tm_0", "lost 1 on tm_0: free", "request tm_0 for 2 #2"]);
}

#[test]
fn an_acknowledgement_as_new_as_the_report_is_a_grant() {
    let mut fixture = Fixture::new();
    let gateway = fixture.register("tm", 1, &report("tm", &[None]).with_revision(0));
    gateway.answer_requests(GatewayAnswer::ByHand);
    fixture.request(1, &small());
    fixture.report(1, &report("tm", &[None]).with_revision(2));
    fixture.log.take();
    gateway
        .answer(1, Ok(Acknowledge::new().with_revision(2)))
        .expect("it is pending");
    fixture.run();
    fixture.expect(&["granted 1 on tm_0"]);
}

#[test]
fn without_revisions_the_order_of_arrival_is_the_truth() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]));
    fixture.request(1, &small());
    fixture.log.take();
    assert_eq!(fixture.report(1, &report("tm", &[None])), ReportOutcome::Applied);
    fixture.expect(&["lost 1 on tm_0: free"]);
}

#[test]
fn a_report_without_a_revision_is_taken_after_ones_that_had_one() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[Some(1)]).with_revision(5));
    assert_eq!(fixture.report(1, &report("tm", &[None])), ReportOutcome::Applied);
    assert_eq!(fixture.status(1), None);
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(4)),
        stale(4, 5)
    );
}

#[test]
fn an_acknowledgement_without_a_revision_changes_none() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));
    fixture.request(1, &small());
    assert_eq!(
        fixture.report(1, &report("tm", &[Some(1)]).with_revision(5)),
        ReportOutcome::Applied
    );
    assert_eq!(fixture.status(1), Some(granted(&slot("tm", 0))));
}

#[test]
fn revisions_of_one_task_executor_say_nothing_of_another() {
    let mut fixture = Fixture::new();
    fixture.register("a", 1, &report("a", &[None]).with_revision(100));
    fixture.register("b", 2, &report("b", &[None]).with_revision(1));
    assert_eq!(
        fixture.report(2, &report("b", &[Some(1)]).with_revision(2)),
        ReportOutcome::Applied
    );
}

#[test]
fn a_stale_report_is_checked_all_the_same() {
    let mut fixture = Fixture::new();
    fixture.register("tm", 1, &report("tm", &[None]).with_revision(5));
    assert!(
        fixture
            .try_report(1, &report("other", &[None]).with_revision(4))
            .is_err()
    );
}
