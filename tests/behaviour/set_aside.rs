//! A dynamic worker is set aside for a request that has waited long.

use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::outcome::{AllocationStatus, CancelOutcome};
use slot_manager::view::SetAsideWorker;
use slot_manager::{DynamicResources, ResourceId, ResourceProfile, SlotId, SlotManagerConfig, SlotReport, SlotStatus};

use crate::common::{
    Fixture, MILLISECOND, SECOND, acknowledged, allocation, cores, free_report, granted, in_flight, instance, job,
    patient, rejected, requirements, slot,
};

const DELAY: Duration = Duration::from_secs(30);

fn config() -> SlotManagerConfig {
    patient().with_reservation_delay(DELAY)
}

/// Returns the id of a slot that is cut from a worker.
fn cut(worker: &str, number: u32) -> SlotId {
    SlotId::dynamic(worker, number)
}

/// Returns the report of a dynamic worker with eight cores.
fn eight(held: Vec<SlotStatus>) -> SlotReport {
    SlotReport::of_dynamic(cores(8), held)
}

/// Returns a fixture with dynamic workers `a`, `b`, ... with instances 1, 2, ... and eight cores
/// each, all of which are used by slots of two cores for allocations 1, 2, ....
fn crowded(config: SlotManagerConfig, workers: u32) -> Fixture {
    let mut fixture = Fixture::with(config);
    for (name, number) in ('a'..='z').zip(1..=workers) {
        fixture.register(&name.to_string(), number.into(), &eight(vec![]));
    }
    for id in 0..4 * workers {
        let worker = char::from_u32(u32::from('a') + id / 4).expect("a letter");
        let expected = granted(&cut(&worker.to_string(), id % 4));
        assert_eq!(fixture.request(u128::from(id) + 1, &cores(2)), expected);
    }
    fixture
}

impl Fixture {
    /// Returns the name of the worker that is set aside for a request, or from it.
    #[track_caller]
    fn set_aside(&self, id: u128) -> Option<SetAsideWorker> {
        let explanation = self.manager.explain(allocation(id)).expect("known");
        explanation.request.expect("not granted").set_aside
    }

    /// Returns `true` if this worker is set aside for a request.
    #[track_caller]
    fn is_set_aside_for(&self, id: u128, worker: &str) -> bool {
        let expected = ResourceId::new(worker);
        matches!(self.set_aside(id), Some(SetAsideWorker::ForIt { resource_id }) if resource_id == expected)
    }

    /// Requests a slot and waits until a worker may be set aside for it.
    #[track_caller]
    fn request_and_wait(&mut self, id: u128, profile: &ResourceProfile) {
        assert_eq!(self.request(id, profile), AllocationStatus::Waiting);
        self.advance(DELAY);
    }
}

/// Frees a slot of two cores every ten seconds, and requests another one. Returns the time at which
/// an older request for six cores is served.
fn time_among_crumbs(config: SlotManagerConfig) -> Option<Duration> {
    let mut fixture = crowded(config, 1);
    assert_eq!(fixture.request(100, &cores(6)), AllocationStatus::Waiting);
    let mut held: Vec<(SlotId, u128)> = (0..4).map(|n| (cut("a", n), u128::from(n) + 1)).collect();
    for round in 1..20_u32 {
        fixture.advance(10 * SECOND);
        if !held.is_empty() {
            let (slot, id) = held.remove(0);
            fixture.free(&slot, id);
        }
        let id = 200 + u128::from(round);
        if let AllocationStatus::Granted { slot_id } = fixture.request(id, &cores(2)) {
            held.push((slot_id, id));
        }
        if let Some(AllocationStatus::Granted { .. }) = fixture.status(100) {
            return Some(round * 10 * SECOND);
        }
    }
    None
}

#[test]
fn large_request_starves_among_small_ones_unless_a_worker_is_set_aside() {
    assert_eq!(time_among_crumbs(patient()), None);
    // Two cores are freed after 30, 40 and 50 s.
    assert_eq!(time_among_crumbs(config()), Some(50 * SECOND));
}

#[test]
fn worker_is_set_aside_after_the_delay_and_not_before() {
    // given
    let mut fixture = crowded(config(), 1);
    fixture.request(100, &cores(6));

    // when, then: until then what becomes free goes to anybody
    fixture.advance(DELAY - MILLISECOND);
    fixture.free(&cut("a", 0), 1);
    assert_eq!(fixture.request(101, &cores(2)), granted(&cut("a", 4)));
    assert_eq!(fixture.set_aside(100), None);
    assert_eq!(fixture.manager.next_deadline(), Some(fixture.clock_now() + MILLISECOND));

    // when, then
    fixture.advance(MILLISECOND);
    assert!(fixture.is_set_aside_for(100, "a"));
    fixture.free(&cut("a", 1), 2);
    assert_eq!(fixture.request(102, &cores(2)), AllocationStatus::Waiting);
}

#[test]
fn without_the_delay_no_deadline_is_armed() {
    let mut fixture = crowded(patient(), 1);
    fixture.request(100, &cores(6));

    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn granted_request_leaves_no_deadline() {
    let mut fixture = Fixture::with(config());
    let gateway = fixture.register_by_hand("a", 1, &eight(vec![]));
    fixture.request(1, &cores(2));
    assert_eq!(fixture.manager.next_deadline(), Some(fixture.clock_now() + DELAY));

    fixture.answer(&gateway, 1, acknowledged());
    assert_eq!(fixture.manager.next_deadline(), None);
}

#[test]
fn rest_of_the_worker_is_offered_once_the_request_is_served() {
    // given
    let mut fixture = crowded(config(), 1);
    fixture.request_and_wait(100, &cores(5));
    fixture.request(101, &cores(1));
    fixture.free(&cut("a", 0), 1);
    fixture.free(&cut("a", 1), 2);
    assert_eq!(fixture.status(101), Some(AllocationStatus::Waiting));

    // when
    fixture.free(&cut("a", 2), 3);

    // then
    assert_eq!(fixture.status(100), Some(granted(&cut("a", 4))));
    assert_eq!(fixture.status(101), Some(granted(&cut("a", 5))));
}

#[test]
fn other_workers_serve_as_before() {
    // given: both are as full, so that the first is set aside
    let mut fixture = crowded(config(), 2);
    fixture.request_and_wait(100, &cores(8));
    fixture.free(&cut("a", 0), 1);

    // when
    fixture.free(&cut("b", 0), 5);

    // then
    assert_eq!(fixture.request(101, &cores(2)), granted(&cut("b", 4)));
    assert_eq!(fixture.request(102, &cores(2)), AllocationStatus::Waiting);
}

#[test]
fn worker_with_the_most_left_is_set_aside() {
    let mut fixture = crowded(config(), 3);
    fixture.request(100, &cores(8));
    fixture.free(&cut("b", 0), 5);
    fixture.free(&cut("c", 0), 9);
    fixture.advance(DELAY);

    assert!(fixture.is_set_aside_for(100, "b"));
}

#[test]
fn older_request_may_still_use_the_worker() {
    // given: an older request is in flight when a worker is set aside for a younger one
    let mut fixture = crowded(config(), 1);
    let gateway = fixture.register_by_hand("static", 9, &free_report("static", &[cores(1)]));
    assert_eq!(fixture.request(99, &cores(1)), in_flight(&slot("static", 0)));
    fixture.request_and_wait(100, &cores(8));
    assert!(fixture.is_set_aside_for(100, "a"));
    fixture.free(&cut("a", 0), 1);

    // when: the task executor of the older one refuses
    fixture.answer(&gateway, 5, rejected());

    // then
    assert_eq!(fixture.status(99), Some(granted(&cut("a", 4))));
    assert!(fixture.is_set_aside_for(100, "a"));
}

#[test]
fn younger_request_that_loses_its_attempt_does_not_get_the_worker() {
    // given: two younger requests are in flight when a worker is set aside
    let mut fixture = crowded(config(), 1);
    fixture.request(100, &cores(8));
    let gateway = fixture.register_by_hand("static", 9, &free_report("static", &[cores(1)]));
    assert_eq!(fixture.request(101, &cores(1)), in_flight(&slot("static", 0)));
    fixture.register_by_hand("other", 10, &free_report("other", &[cores(1)]));
    assert_eq!(fixture.request(102, &cores(1)), in_flight(&slot("other", 0)));
    fixture.advance(DELAY);
    assert!(fixture.is_set_aside_for(100, "a"));
    fixture.free(&cut("a", 0), 1);

    // when, then: one loses its worker
    fixture.unregister(10);
    assert_eq!(fixture.status(102), Some(AllocationStatus::Waiting));

    // when, then: one is refused, and tries the same slot again
    fixture.cancel(102);
    fixture.answer(&gateway, 5, rejected());
    assert_eq!(fixture.status(101), Some(in_flight(&slot("static", 0))));
}

#[test]
fn request_that_waits_again_after_the_delay_has_a_worker_set_aside_at_once() {
    let mut fixture = crowded(config(), 1);
    fixture.register_by_hand("static", 9, &free_report("static", &[cores(8)]));
    assert_eq!(fixture.request(100, &cores(8)), in_flight(&slot("static", 0)));
    fixture.advance(DELAY);

    fixture.unregister(9);
    assert!(fixture.is_set_aside_for(100, "a"));
}

#[test]
fn worker_that_the_request_was_not_tried_on_is_preferred() {
    // given: two attempts of a request have failed on a worker, which serves another one then
    let long = 100 * SECOND;
    let mut fixture = Fixture::with(config().with_retry_backoff(long, long));
    let gateway = fixture.register_by_hand("a", 1, &eight(vec![]));
    assert_eq!(fixture.request(100, &cores(8)), in_flight(&cut("a", 0)));
    fixture.register("b", 2, &eight(vec![]));
    assert_eq!(fixture.request(101, &cores(8)), granted(&cut("b", 0)));
    for attempt in [1, 3] {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert_eq!(fixture.request(102, &cores(2)), in_flight(&cut("a", 2)));

    // when, then: none is set aside while the request backs off
    fixture.advance(DELAY);
    assert_eq!(fixture.set_aside(100), None);

    // when, then: the other worker is as full as can be
    fixture.advance(long);
    assert!(fixture.is_set_aside_for(100, "b"));
}

#[test]
fn cancelled_request_sets_nothing_aside_any_more() {
    // given
    let mut fixture = crowded(config(), 1);
    fixture.request_and_wait(100, &cores(8));
    fixture.request(101, &cores(2));
    fixture.free(&cut("a", 0), 1);
    assert_eq!(fixture.status(101), Some(AllocationStatus::Waiting));

    // when
    assert_eq!(fixture.cancel(100), CancelOutcome::Cancelled);

    // then
    assert_eq!(fixture.status(101), Some(granted(&cut("a", 4))));
}

#[test]
fn request_that_times_out_sets_nothing_aside_any_more() {
    let mut fixture = crowded(config().with_request_timeout(40 * SECOND), 1);
    fixture.request_and_wait(100, &cores(8));
    fixture.free(&cut("a", 0), 1);
    fixture.request(101, &cores(2));

    fixture.advance(10 * SECOND);
    assert_eq!(fixture.status(100), None);
    assert_eq!(fixture.status(101), Some(granted(&cut("a", 4))));
}

#[test]
fn request_that_is_served_elsewhere_sets_nothing_aside_any_more() {
    // given
    let mut fixture = crowded(config(), 1);
    fixture.request_and_wait(100, &cores(8));
    fixture.request(101, &cores(2));
    fixture.free(&cut("a", 0), 1);

    // when
    fixture.register("b", 2, &eight(vec![]));

    // then
    assert_eq!(fixture.status(100), Some(granted(&cut("b", 0))));
    assert_eq!(fixture.status(101), Some(granted(&cut("a", 4))));
}

#[test]
fn another_worker_is_set_aside_if_the_first_one_goes() {
    let mut fixture = crowded(config(), 2);
    fixture.request_and_wait(100, &cores(8));
    assert!(fixture.is_set_aside_for(100, "a"));

    fixture.unregister(1);
    assert!(fixture.is_set_aside_for(100, "b"));
}

#[test]
fn another_worker_is_set_aside_if_the_first_one_is_blocked() {
    let mut fixture = crowded(config(), 2);
    fixture.request_and_wait(100, &cores(8));

    fixture.block("a");
    assert!(fixture.is_set_aside_for(100, "b"));
    fixture.block("b");
    assert_eq!(fixture.set_aside(100), None);
    fixture.unblock("a");
    assert!(fixture.is_set_aside_for(100, "a"));
}

#[test]
fn another_worker_is_set_aside_if_the_first_one_backs_off() {
    // given
    let mut fixture = Fixture::with(config());
    let gateway = fixture.register_by_hand("a", 1, &eight(vec![]));
    assert_eq!(fixture.request(1, &cores(6)), in_flight(&cut("a", 0)));
    fixture.register("b", 2, &eight(vec![]));
    assert_eq!(fixture.request(2, &cores(7)), granted(&cut("b", 0)));
    fixture.request_and_wait(100, &cores(8));
    assert!(fixture.is_set_aside_for(100, "a"));

    // when: the request whose attempt fails is older, until it is cancelled
    fixture.answer(&gateway, 1, Err(SlotAllocationError::unreachable("gone")));
    fixture.cancel(1);

    // then
    assert!(fixture.is_set_aside_for(100, "b"));
}

#[test]
fn worker_that_says_it_has_too_little_is_not_set_aside() {
    // given
    let mut fixture = crowded(config(), 2);
    fixture.request_and_wait(100, &cores(8));
    fixture.request(101, &cores(1));
    assert!(fixture.is_set_aside_for(100, "a"));

    // when: one slot has ended, and only one of its two cores is left
    let held = |number: u32| {
        let holder = allocation(u128::from(number) + 1);
        SlotStatus::allocated(cut("a", number), cores(2), holder, job(1))
    };
    let resources = DynamicResources::new(cores(8)).with_free(cores(1));
    fixture.report(1, &SlotReport::of_dynamic(resources, vec![held(0), held(1), held(2)]));

    // then
    assert!(fixture.is_set_aside_for(100, "b"));
    assert_eq!(fixture.status(101), Some(granted(&cut("a", 4))));
}

#[test]
fn one_worker_is_set_aside_at_a_time() {
    // given
    let mut fixture = crowded(config(), 2);
    fixture.request(100, &cores(8));
    fixture.request_and_wait(101, &cores(7));
    assert!(fixture.is_set_aside_for(100, "a"));
    assert_eq!(fixture.set_aside(101), None);

    // when
    assert_eq!(fixture.cancel(100), CancelOutcome::Cancelled);

    // then
    assert!(fixture.is_set_aside_for(101, "a"));
}

#[test]
fn request_that_no_worker_could_serve_is_passed_over() {
    let mut fixture = crowded(config(), 1);
    fixture.request(100, &cores(9));
    fixture.request_and_wait(101, &cores(8));
    assert!(fixture.is_set_aside_for(101, "a"));

    // Once there is such a worker, it has to wait for the first one.
    let held = SlotStatus::allocated(cut("b", 0), cores(2), allocation(50), job(1));
    fixture.register("b", 2, &SlotReport::of_dynamic(cores(9), vec![held]));
    assert_eq!(fixture.set_aside(100), None);
    fixture.cancel(101);
    assert!(fixture.is_set_aside_for(100, "b"));
}

#[test]
fn explanation_names_the_worker_and_those_it_passes_over() {
    let mut fixture = crowded(config(), 1);
    fixture.request_and_wait(100, &cores(8));
    fixture.free(&cut("a", 0), 1);
    fixture.request(101, &cores(2));
    fixture.request(102, &cores(3));

    let passed_over = SetAsideWorker::ForAnother {
        resource_id: ResourceId::new("a"),
        allocation_id: allocation(100),
    };
    assert_eq!(fixture.set_aside(101), Some(passed_over));
    // It does not fit anyway.
    assert_eq!(fixture.set_aside(102), None);
    let text = |id| fixture.manager.explain(allocation(id)).expect("known").to_string();
    assert!(text(100).contains("\n  set aside    worker a\n"), "{}", text(100));
    let expected = format!(
        "\n  set aside    worker a fits, but for allocation {}\n",
        allocation(100)
    );
    assert!(text(101).contains(&expected), "{}", text(101));
}

#[test]
fn unit_of_a_declaration_may_have_a_worker_set_aside() {
    // given
    let mut fixture = crowded(config(), 1);
    assert!(fixture.try_declare(&requirements(2, &[(&cores(8), 1)])).is_ok());
    fixture.advance(DELAY);

    // when
    fixture.free(&cut("a", 0), 1);

    // then
    assert_eq!(fixture.request(101, &cores(2)), AllocationStatus::Waiting);
}

#[test]
fn requests_that_were_passed_over_come_before_a_new_one() {
    // given: a worker is set aside for a unit of eight cores, and a smaller request is passed over
    let mut fixture = crowded(config(), 1);
    assert!(fixture.try_declare(&requirements(2, &[(&cores(8), 1)])).is_ok());
    fixture.advance(DELAY);
    assert_eq!(fixture.request(100, &cores(2)), AllocationStatus::Waiting);
    fixture.free(&cut("a", 0), 1);
    assert_eq!(fixture.status(100), Some(AllocationStatus::Waiting));

    // when: in place of the large unit the job declares a small one
    assert!(fixture.try_declare(&requirements(2, &[(&cores(2), 1)])).is_ok());

    // then: the older request gets what was free
    assert_eq!(fixture.status(100), Some(granted(&cut("a", 4))));
}

#[test]
fn request_of_a_suspect_job_gets_no_worker() {
    // given: attempts for two requests of job 2 fail in a row
    let mut fixture = crowded(config(), 1);
    let gateways = [("static", 9, 50), ("other", 10, 51)].map(|(worker, instance, id)| {
        let gateway = fixture.register_by_hand(worker, instance, &free_report(worker, &[cores(1)]));
        assert!(fixture.try_request(2, id, &cores(1)).is_ok());
        gateway
    });
    for (attempt, gateway) in (5..).zip(gateways) {
        fixture.answer(&gateway, attempt, rejected());
    }
    assert!(fixture.try_request(2, 100, &cores(8)).is_ok());

    // when, then
    fixture.advance(DELAY);
    let explanation = fixture.manager.explain(allocation(100)).and_then(|it| it.request);
    let explanation = explanation.expect("it waits");
    assert_eq!((explanation.is_job_suspect, explanation.set_aside), (true, None));

    // when, then: a grant ends the suspicion
    fixture.register("third", 11, &free_report("third", &[cores(1)]));
    assert!(fixture.try_request(2, 52, &cores(1)).is_ok());
    assert!(fixture.is_set_aside_for(100, "a"));
}

#[test]
fn suspension_forgets_the_worker() {
    let mut fixture = crowded(config(), 1);
    fixture.request_and_wait(100, &cores(8));

    fixture.suspend();
    fixture.start(2);
    fixture.register("a", 3, &eight(vec![]));
    assert_eq!(fixture.request(101, &cores(2)), granted(&cut("a", 0)));
    assert_eq!(
        fixture.manager.task_manager(instance(3)).map(|it| it.slots().count()),
        Some(1)
    );
}

#[test]
fn worker_is_set_aside_with_each_strategy() {
    for strategy in [
        SlotMatchingStrategy::LeastUtilization,
        SlotMatchingStrategy::MostUtilization,
    ] {
        let mut fixture = Fixture::with(config().with_slot_matching_strategy(strategy));
        fixture.register("a", 1, &eight(vec![]));
        fixture.request(1, &cores(2));
        fixture.request_and_wait(100, &cores(8));

        assert_eq!(fixture.request(101, &cores(2)), AllocationStatus::Waiting);
        fixture.register("b", 2, &eight(vec![]));
        assert_eq!(fixture.status(100), Some(granted(&cut("b", 0))));
        assert_eq!(fixture.status(101), Some(granted(&cut("a", 1))));
    }
}

#[test]
fn delay_of_zero_sets_a_worker_aside_the_next_time_the_manager_is_driven() {
    let mut fixture = crowded(patient().with_reservation_delay(Duration::ZERO), 1);
    fixture.request(100, &cores(8));
    assert_eq!(fixture.set_aside(100), None);

    fixture.run();
    assert!(fixture.is_set_aside_for(100, "a"));
}
