use std::time::Duration;

use super::*;

fn id(number: u128) -> AllocationId {
    AllocationId::from_u128(number)
}

impl Tasks {
    /// Requests a slot, accepts it and starts a task in it.
    fn start(&mut self, number: u128) -> Option<u64> {
        self.request(id(number));
        self.hold(id(number)).unwrap();
        self.next(id(number))
    }

    /// Checks that each task is in one place.
    fn check(&self) {
        let running = self
            .slots
            .values()
            .filter(|slot| matches!(slot, Slot::Held(Some(_))))
            .count();
        assert_eq!(
            self.waiting.len() as u64 + running as u64 + self.done + self.failed,
            self.count,
            "{self:?}"
        );
    }
}

#[test]
fn slots_are_wanted_up_to_the_parallelism() {
    let mut tasks = Tasks::new(5, 3, 1);
    assert_eq!(tasks.missing(), 3);
    tasks.request(id(1));
    assert_eq!(tasks.missing(), 2);
    assert!(tasks.grant(id(1), Instant::now()));
    assert_eq!(tasks.missing(), 2);
    tasks.hold(id(1)).unwrap();
    assert_eq!(tasks.missing(), 2);
    assert_eq!(Tasks::new(2, 3, 1).missing(), 2);
    assert_eq!(Tasks::new(0, 3, 1).missing(), 0);
    assert!(Tasks::new(0, 3, 1).is_finished());
}

#[test]
fn one_slot_runs_all_tasks_one_by_one() {
    let mut tasks = Tasks::new(3, 1, 1);
    assert_eq!(tasks.start(1), Some(0));
    assert_eq!(tasks.next(id(1)), None, "it runs a task");
    assert_eq!(tasks.end(id(1), 0, true), Some(TaskEnd::Done));
    assert_eq!(tasks.next(id(1)), Some(1));
    assert_eq!(tasks.end(id(1), 1, true), Some(TaskEnd::Done));
    assert_eq!(tasks.next(id(1)), Some(2));
    assert_eq!(tasks.end(id(1), 2, true), Some(TaskEnd::Done));
    assert!(tasks.is_finished());
    assert_eq!(tasks.next(id(1)), None);
    assert!(!tasks.is_held(id(1)), "it is released");
    assert_eq!(tasks.done(), 3);
    tasks.check();
}

#[test]
fn a_slot_per_task_is_released_after_its_task() {
    let mut tasks = Tasks::new(2, 1, 1).with_slot_per_task(true);
    assert_eq!(tasks.start(1), Some(0));
    assert_eq!(tasks.end(id(1), 0, true), Some(TaskEnd::Done));
    assert_eq!(tasks.next(id(1)), None);
    assert!(!tasks.is_known(id(1)), "it is released");
    assert_eq!(tasks.missing(), 1);
    assert_eq!(tasks.start(2), Some(1));
    tasks.check();
}

#[test]
fn a_slot_is_released_while_other_slots_run_the_last_tasks() {
    let mut tasks = Tasks::new(2, 2, 1);
    tasks.start(1);
    tasks.start(2);
    tasks.end(id(1), 0, true);
    assert_eq!(tasks.next(id(1)), None);
    assert_eq!((tasks.missing(), tasks.is_finished()), (0, false));

    // The last slot is lost: its task needs a new one.
    assert_eq!(tasks.remove(id(2)), Some(SlotEnd::Held { task: Some(1) }));
    assert_eq!(tasks.missing(), 1);
    assert_eq!(tasks.start(3), Some(1));
    tasks.check();
}

#[test]
fn a_task_that_fails_is_run_as_often_as_allowed() {
    let mut tasks = Tasks::new(2, 1, 2);
    assert_eq!(tasks.start(1), Some(0));
    assert_eq!(tasks.end(id(1), 0, false), Some(TaskEnd::Again));
    assert_eq!(tasks.next(id(1)), Some(1), "the others go first");
    assert_eq!(tasks.end(id(1), 1, true), Some(TaskEnd::Done));
    assert_eq!(tasks.next(id(1)), Some(0));
    assert_eq!(tasks.end(id(1), 0, false), Some(TaskEnd::Failed));
    assert_eq!((tasks.done(), tasks.failed(), tasks.is_finished()), (1, 1, true));
    tasks.check();
}

#[test]
fn a_slot_that_is_kept_is_replaced() {
    let mut tasks = Tasks::new(2, 1, 3);
    assert_eq!(tasks.start(1), Some(0));
    tasks.keep(id(1));
    assert_eq!(tasks.kept().count(), 0, "it runs a task");
    assert_eq!(tasks.end(id(1), 0, false), Some(TaskEnd::Again));
    tasks.keep(id(1));
    assert_eq!((tasks.missing(), tasks.next(id(1))), (1, None));
    assert_eq!(tasks.start(2), Some(1));
    assert_eq!((tasks.missing(), tasks.take_surplus()), (0, vec![]));
    assert_eq!(tasks.kept().collect::<Vec<_>>(), [id(1)]);
    assert_eq!(tasks.remove(id(1)), Some(SlotEnd::Held { task: None }));
    tasks.check();
}

#[test]
fn a_lost_slot_is_no_failure_of_its_task() {
    let mut tasks = Tasks::new(2, 1, 1);
    for number in 1..10 {
        assert_eq!(tasks.start(number), Some(0), "a task whose slot was lost goes first");
        assert_eq!(tasks.remove(id(number)), Some(SlotEnd::Held { task: Some(0) }));
        tasks.check();
    }
    assert_eq!(tasks.start(10), Some(0));
    assert_eq!(tasks.end(id(10), 0, true), Some(TaskEnd::Done));
}

#[test]
fn a_task_that_ended_does_not_run_again_when_its_slot_is_lost() {
    let mut tasks = Tasks::new(1, 1, 3);
    tasks.start(1);
    assert_eq!(tasks.end(id(1), 0, true), Some(TaskEnd::Done));
    assert_eq!(tasks.remove(id(1)), Some(SlotEnd::Held { task: None }));
    assert!(tasks.is_finished());
    assert_eq!(tasks.end(id(1), 0, false), None);
    tasks.check();
}

#[test]
fn a_late_end_from_a_lost_slot_changes_nothing() {
    let mut tasks = Tasks::new(1, 1, 3);
    tasks.start(1);
    tasks.remove(id(1));
    assert_eq!(tasks.end(id(1), 0, true), None);
    assert_eq!(tasks.start(2), Some(0));
    assert_eq!(tasks.end(id(1), 0, true), None);
    assert_eq!(tasks.end(id(2), 1, true), None, "it runs another task");
    assert_eq!(tasks.end(id(2), 0, true), Some(TaskEnd::Done));
    assert_eq!(tasks.end(id(2), 0, true), None, "it was heard");
    assert_eq!(tasks.done(), 1);
    tasks.check();
}

#[test]
fn only_wanted_slots_are_accepted_and_each_once() {
    let mut tasks = Tasks::new(3, 3, 1);
    assert_eq!(tasks.hold(id(1)), Err(OfferRefused::NotWanted));
    tasks.request(id(1));
    assert_eq!(tasks.hold(id(1)), Ok(true), "the offer tells the grant");
    assert!(!tasks.grant(id(1), Instant::now()));
    assert_eq!(tasks.hold(id(1)), Err(OfferRefused::Held));
    tasks.request(id(2));
    assert!(tasks.grant(id(2), Instant::now()));
    assert!(!tasks.grant(id(2), Instant::now()));
    assert_eq!(tasks.hold(id(2)), Ok(false));
    assert_eq!(tasks.remove(id(2)), Some(SlotEnd::Held { task: None }));
    assert_eq!(tasks.hold(id(2)), Err(OfferRefused::NotWanted));
    assert_eq!(tasks.remove(id(2)), None);
}

#[test]
fn requests_and_grants_are_told_to_each_leader() {
    let mut tasks = Tasks::new(3, 3, 1);
    (1..=3).for_each(|number| tasks.request(id(number)));
    tasks.grant(id(2), Instant::now());
    tasks.hold(id(3)).unwrap();
    assert_eq!(tasks.open_requests().collect::<Vec<_>>(), [id(1)]);
    assert_eq!(tasks.grants().collect::<Vec<_>>(), [id(2), id(3)]);
    assert_eq!(tasks.remove(id(1)), Some(SlotEnd::Requested));
    assert_eq!(tasks.remove(id(2)), Some(SlotEnd::Granted));
}

#[test]
fn surplus_allocations_go_those_without_a_grant_first() {
    let mut tasks = Tasks::new(4, 4, 1);
    (1..=3).for_each(|number| tasks.request(id(number)));
    tasks.grant(id(1), Instant::now());
    assert_eq!(tasks.start(4), Some(0));
    assert_eq!(tasks.take_surplus(), []);
    tasks.end(id(4), 0, true);
    assert_eq!(tasks.next(id(4)), Some(1));
    assert_eq!(tasks.take_surplus(), [id(2)]);
    tasks.end(id(4), 1, true);
    assert_eq!(tasks.next(id(4)), Some(2));
    assert_eq!(tasks.take_surplus(), [id(3)]);
    tasks.end(id(4), 2, true);
    assert_eq!(tasks.next(id(4)), Some(3));
    assert_eq!(tasks.take_surplus(), [id(1)]);
    assert_eq!((tasks.take_surplus(), tasks.missing()), (vec![], 0));
    tasks.check();
}

#[test]
fn a_grant_without_an_offer_is_overdue() {
    let mut tasks = Tasks::new(3, 3, 1);
    let start = Instant::now();
    (1..=3).for_each(|number| tasks.request(id(number)));
    tasks.grant(id(1), start);
    tasks.grant(id(2), start + Duration::from_secs(1));
    tasks.grant(id(3), start);
    tasks.hold(id(3)).unwrap();
    assert_eq!(tasks.take_overdue(start), [id(1)]);
    assert_eq!(tasks.take_overdue(start), []);
    assert_eq!(tasks.missing(), 1);
    assert_eq!(tasks.hold(id(1)), Err(OfferRefused::NotWanted));
}

#[test]
fn declared_slots_follow_the_schedule() {
    let mut tasks = Tasks::new(16, 6, 1).with_declarations(true);
    let mut declared = vec![tasks.required()];
    tasks.start(1);
    for task in 0..16 {
        assert_eq!(tasks.end(id(1), task, true), Some(TaskEnd::Done));
        declared.push(tasks.required());
        tasks.next(id(1));
    }
    // After each task: half, all, a quarter, all, and no more than there are tasks.
    assert_eq!(declared, [3, 3, 3, 3, 6, 6, 6, 6, 2, 2, 2, 2, 4, 3, 2, 1, 0]);
    assert_eq!(Tasks::new(0, 6, 1).with_declarations(true).required(), 0);
}

#[test]
fn offered_slots_are_accepted_while_declared_ones_are_missing() {
    let mut tasks = Tasks::new(8, 4, 1).with_declarations(true);
    assert_eq!(tasks.required(), 2);
    assert_eq!(tasks.hold(id(1)), Ok(true));
    assert_eq!(tasks.hold(id(1)), Err(OfferRefused::Held));
    assert_eq!(tasks.hold(id(2)), Ok(true));
    assert_eq!(tasks.hold(id(3)), Err(OfferRefused::NotWanted));
    // A slot that is kept from its use is declared as well.
    tasks.keep(id(2));
    assert_eq!((tasks.required(), tasks.missing()), (3, 1));
    assert_eq!(tasks.hold(id(3)), Ok(true));
}

#[test]
fn declared_slots_are_released_when_fewer_are_needed() {
    let mut tasks = Tasks::new(8, 4, 1).with_declarations(true);
    for number in 1..=2 {
        tasks.hold(id(number)).unwrap();
        tasks.next(id(number));
    }
    tasks.end(id(1), 0, true);
    tasks.next(id(1));
    tasks.end(id(2), 1, true);
    tasks.next(id(2));
    for number in 3..=4 {
        tasks.hold(id(number)).unwrap();
        tasks.next(id(number));
    }
    // The third quarter begins: each slot but one is released after its task.
    tasks.end(id(1), 2, true);
    assert_eq!(tasks.next(id(1)), Some(6));
    tasks.end(id(2), 3, true);
    assert_eq!(tasks.next(id(2)), None);
    assert!(!tasks.is_known(id(2)), "it is released");
    assert_eq!(tasks.missing(), 0);
    tasks.check();
}

#[test]
fn every_interleaving_of_losses_and_ends_runs_each_task_to_one_end() {
    // A small generator of numbers, so that a failure can be repeated.
    let mut state = 1_u64;
    let mut random = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % bound
    };
    for _ in 0..200 {
        let mut tasks =
            Tasks::new(random(12), 1 + random(4) as usize, 1 + random(3) as u32).with_declarations(random(2) == 0);
        let (mut next, mut running, mut ended) = (0, Vec::new(), Vec::new());
        while !tasks.is_finished() {
            if tasks.missing() > 0 {
                next += 1;
                if let Some(task) = tasks.start(next) {
                    running.push((id(next), task));
                }
            } else {
                let (slot, task) = running.swap_remove(random(running.len() as u64) as usize);
                if random(3) == 0 {
                    tasks.remove(slot);
                } else {
                    match tasks.end(slot, task, random(2) == 0).unwrap() {
                        TaskEnd::Again => {}
                        TaskEnd::Done | TaskEnd::Failed => ended.push(task),
                    }
                    running.extend(tasks.next(slot).map(|task| (slot, task)));
                }
            }
            tasks.check();
            assert!(running.len() <= tasks.parallelism);
        }
        ended.sort_unstable();
        assert_eq!(ended, (0..tasks.count).collect::<Vec<_>>());
    }
}
