//! Slots that are cut from the total of a worker.

use super::*;

const THIRD_ALLOCATION: AllocationId = AllocationId::from_u128(0xc);
/// The numbers of the first slots that are cut.
const FIRST: u32 = FIRST_DYNAMIC;
const SECOND: u32 = FIRST_DYNAMIC + 1;

/// Returns a connected table of 8 cores and 80 bytes, with a default slot of 2 cores and 5 bytes.
fn dynamic() -> Fixture {
    let worker = DynamicResources::new(resources(8, 80)).with_default_slot(resources(2, 5));
    Fixture::of(TaskSlotTable::dynamic(EXECUTOR, worker))
}

/// Returns a request that cuts these resources.
fn cut(slot_number: u32, profile: ResourceProfile, allocation_id: AllocationId, attempt: u64) -> AllocateSlot {
    AllocateSlot {
        resource_profile: profile,
        ..request_slot(slot_number, allocation_id, attempt)
    }
}

fn insufficient(free: ResourceProfile) -> SlotResult {
    Err(SlotAllocationError::insufficient(free))
}

fn held(slot_number: u32, profile: ResourceProfile, allocation_id: AllocationId) -> SlotStatus {
    SlotStatus::allocated(slot(slot_number), profile, allocation_id, JOB)
}

impl Fixture {
    /// Cuts a slot, which must succeed.
    #[track_caller]
    fn cut(&mut self, slot_number: u32, profile: ResourceProfile, allocation_id: AllocationId, attempt: u64) {
        let answer = self.request(&cut(slot_number, profile, allocation_id, attempt));
        assert_eq!(answer, acknowledged(self.table.revision()));
    }

    /// Returns the resources that a report shows as free.
    fn remaining(&self) -> ResourceProfile {
        let report = self.table.report();
        let worker = report.dynamic().expect("a dynamic worker");
        worker.free().expect("the table counts them").clone()
    }

    fn cuts(&self) -> Vec<u32> {
        self.table.allocations().map(|(slot_number, _)| slot_number).collect()
    }
}

mod cuts {
    use super::*;

    #[test]
    fn slots_are_cut_from_the_total_as_requested() {
        // given
        let mut fixture = dynamic();
        assert_eq!(fixture.remaining(), resources(8, 80));

        // when
        fixture.cut(SECOND, resources(4, 10), OTHER_ALLOCATION, 1);
        fixture.cut(FIRST, resources(3, 0), ALLOCATION, 2);

        // then: the report has them by number
        let worker = DynamicResources::new(resources(8, 80))
            .with_default_slot(resources(2, 5))
            .with_free(resources(1, 70));
        let cuts = vec![
            held(FIRST, resources(3, 0), ALLOCATION),
            held(SECOND, resources(4, 10), OTHER_ALLOCATION),
        ];
        assert_eq!(
            fixture.table.report(),
            SlotReport::of_dynamic(worker, cuts).with_revision(2)
        );
    }

    #[test]
    fn cut_larger_than_the_remainder_is_refused_with_the_remainder() {
        // given
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
        let before = fixture.table.report();

        // when, then: each resource counts for itself
        for too_large in [resources(6, 0), resources(0, 71), ResourceProfile::ANY] {
            let request = cut(SECOND, too_large, OTHER_ALLOCATION, 2);
            assert_eq!(fixture.request(&request), insufficient(resources(5, 70)));
            assert_eq!(fixture.table.report(), before);
            assert_eq!(fixture.table.next_timeout(), Some(Timestamp::ZERO + SLOT_TIMEOUT));
        }

        // when, then: all that remains is a cut, and beside it one without resources
        fixture.cut(SECOND, resources(5, 70), OTHER_ALLOCATION, 2);
        fixture.cut(SECOND + 1, ResourceProfile::ZERO, THIRD_ALLOCATION, 3);
        assert_eq!(fixture.remaining(), ResourceProfile::ZERO);
    }

    #[test]
    fn unknown_resources_are_cut_as_the_default_slot() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, ResourceProfile::UNKNOWN, ALLOCATION, 1);
        let statuses = [held(FIRST, resources(2, 5), ALLOCATION)];
        assert_eq!(fixture.table.report().statuses(), statuses);
        assert_eq!(fixture.remaining(), resources(6, 75));

        // when, then: the default slot must fit as any other
        fixture.cut(SECOND, resources(5, 0), OTHER_ALLOCATION, 2);
        let request = cut(SECOND + 1, ResourceProfile::UNKNOWN, THIRD_ALLOCATION, 3);
        assert_eq!(fixture.request(&request), insufficient(resources(1, 75)));
    }

    #[test]
    fn unknown_resources_are_refused_without_a_default_slot() {
        let mut fixture = Fixture::of(TaskSlotTable::dynamic(EXECUTOR, ResourceProfile::ANY));
        let request = cut(FIRST, ResourceProfile::UNKNOWN, ALLOCATION, 1);
        fixture.assert_rejected(&request, "the worker has no default slot for UNKNOWN resources");
    }

    /// A message can name any profile as the default slot.
    #[cfg(feature = "serde")]
    #[test]
    fn unknown_default_slot_is_none() {
        let worker = r#"{ "total": {}, "default_slot": "unknown", "free": "any" }"#;
        let worker: DynamicResources = serde_json::from_str(worker).expect("it can be read");
        let mut fixture = Fixture::of(TaskSlotTable::dynamic(EXECUTOR, worker));
        let request = cut(FIRST, ResourceProfile::UNKNOWN, ALLOCATION, 1);
        fixture.assert_rejected(&request, "the worker has no default slot for UNKNOWN resources");
        assert_eq!(fixture.remaining(), ResourceProfile::ZERO);
    }

    #[test]
    fn total_of_any_never_ends() {
        let mut fixture = Fixture::of(TaskSlotTable::dynamic(EXECUTOR, ResourceProfile::ANY));
        fixture.cut(FIRST, ResourceProfile::ANY, ALLOCATION, 1);
        fixture.cut(SECOND, resources(u32::MAX, u64::MAX), OTHER_ALLOCATION, 2);
        assert_eq!(fixture.remaining(), ResourceProfile::ANY);
    }

    #[test]
    fn total_of_unknown_serves_nothing() {
        let mut fixture = Fixture::of(TaskSlotTable::dynamic(EXECUTOR, ResourceProfile::UNKNOWN));
        let request = cut(FIRST, ResourceProfile::ZERO, ALLOCATION, 1);
        assert_eq!(fixture.request(&request), insufficient(ResourceProfile::UNKNOWN));
    }

    #[test]
    fn every_way_in_which_a_cut_ends_returns_its_resources() {
        type End = fn(&mut TaskSlotTable) -> Vec<SlotFreed>;
        let ways: [(&str, End); 5] = [
            ("free", |table| Vec::from_iter(table.free(ALLOCATION))),
            ("free_slot", |table| {
                Vec::from_iter(table.free_slot(&free_slot(FIRST, ALLOCATION, 1)))
            }),
            ("free_inactive_slots", |table| {
                table.free_inactive_slots(&free_inactive_slots(1))
            }),
            ("free_job", |table| table.free_job(JOB)),
            ("expire", |table| table.expire(Timestamp::ZERO + SLOT_TIMEOUT)),
        ];
        for (way, end) in ways {
            // given
            let mut fixture = dynamic();
            fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
            assert_eq!(fixture.cuts(), [FIRST]);

            // when
            let answer = end(&mut fixture.table);

            // then
            assert_eq!(answer, [freed(FIRST, ALLOCATION, 2, 1)], "{way}");
            assert_eq!(fixture.table.report().statuses(), [], "{way}");
            assert_eq!(fixture.remaining(), resources(8, 80), "{way}");
            assert_eq!(fixture.table.next_timeout(), None, "{way}");
        }
    }

    #[test]
    fn removed_cut_returns_its_resources() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
        let allocation = Allocation {
            id: ALLOCATION,
            job: JOB,
        };
        assert_eq!(fixture.table.current_allocation(FIRST), Some(allocation));
        assert_eq!(fixture.table.remove_slot(FIRST), Some(allocation));
        assert_eq!(fixture.table.remove_slot(FIRST), None);
        assert_eq!(fixture.remaining(), resources(8, 80));
        assert_eq!(fixture.table.revision(), 2);
    }

    #[test]
    fn cut_in_use_stays_until_its_job_frees_it() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        assert_eq!(fixture.free_slot(FIRST, ALLOCATION, 1), None);
        assert_eq!(fixture.table.free_inactive_slots(&free_inactive_slots(1)), []);
        assert_eq!(fixture.table.expire(Timestamp::MAX), []);
        assert_eq!(fixture.remaining(), resources(5, 70));
        assert_eq!(fixture.table.free(ALLOCATION), Some(freed(FIRST, ALLOCATION, 2, 1)));
    }

    #[test]
    fn task_executor_with_a_cut_is_kept() {
        let mut fixture = dynamic();
        assert_eq!(
            fixture.table.can_be_released(&release_check(1)),
            ReleaseDecision::Release
        );
        fixture.cut(FIRST, ResourceProfile::ZERO, ALLOCATION, 1);
        assert_eq!(fixture.table.can_be_released(&release_check(2)), ReleaseDecision::Keep);
        assert!(fixture.table.free(ALLOCATION).is_some());
        assert_eq!(
            fixture.table.can_be_released(&release_check(3)),
            ReleaseDecision::Release
        );
    }
}

mod changes {
    use super::*;

    #[test]
    fn total_can_grow_and_shrink_below_the_held_slots() {
        // given
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
        fixture.cut(SECOND, resources(2, 10), OTHER_ALLOCATION, 2);

        // when, then
        fixture.table.set_resources(resources(9, 90));
        assert_eq!(fixture.remaining(), resources(4, 70));
        assert_eq!(fixture.table.revision(), 3);

        // when: the held slots exceed the cores
        fixture.table.set_resources(resources(4, 90));

        // then
        assert_eq!(fixture.cuts(), [FIRST, SECOND]);
        assert_eq!(fixture.remaining(), resources(0, 70));
        let request = cut(SECOND + 1, resources(1, 0), THIRD_ALLOCATION, 3);
        assert_eq!(fixture.request(&request), insufficient(resources(0, 70)));

        // when, then: they exceed nothing any more
        assert!(fixture.table.free(ALLOCATION).is_some());
        assert_eq!(fixture.remaining(), resources(2, 80));
        fixture.cut(SECOND + 1, resources(1, 0), THIRD_ALLOCATION, 3);
    }

    #[test]
    fn total_without_amounts_may_come_and_go() {
        let mut fixture = dynamic();
        fixture.table.set_resources(ResourceProfile::ANY);
        fixture.cut(FIRST, ResourceProfile::ANY, ALLOCATION, 1);
        assert_eq!(fixture.remaining(), ResourceProfile::ANY);
        fixture.table.set_resources(resources(8, 80));
        assert_eq!(fixture.remaining(), ResourceProfile::ZERO);
        fixture.table.set_resources(ResourceProfile::UNKNOWN);
        assert_eq!(fixture.remaining(), ResourceProfile::UNKNOWN);
        assert_eq!(fixture.cuts(), [FIRST]);
    }

    #[test]
    fn default_slot_holds_for_later_cuts() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, ResourceProfile::UNKNOWN, ALLOCATION, 1);
        let worker = DynamicResources::new(resources(8, 80)).with_default_slot(resources(1, 1));
        fixture.table.set_resources(worker);
        fixture.cut(SECOND, ResourceProfile::UNKNOWN, OTHER_ALLOCATION, 2);
        assert_eq!(fixture.remaining(), resources(5, 74));

        // when, then
        fixture.table.set_resources(resources(8, 80));
        let request = cut(SECOND + 1, ResourceProfile::UNKNOWN, THIRD_ALLOCATION, 3);
        fixture.assert_rejected(&request, "the worker has no default slot for UNKNOWN resources");
    }

    #[test]
    fn revision_stays_if_nothing_changes() {
        let mut fixture = dynamic();
        // The free resources are counted, not told.
        let same = DynamicResources::new(resources(8, 80)).with_default_slot(resources(2, 5));
        fixture.table.set_resources(same.with_free(ResourceProfile::ZERO));
        assert_eq!(fixture.table.report(), dynamic().table.report());

        let mut of_static_slots = Fixture::new();
        of_static_slots.table.set_resources(resources(8, 80));
        assert_eq!(of_static_slots.table.report(), Fixture::new().table.report());
    }
}

mod slot_requests {
    use super::*;

    #[test]
    fn requests_are_checked_in_the_order_of_a_static_table() {
        // given
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(8, 0), ALLOCATION, 1);
        fixture.free_slot(SECOND, OTHER_ALLOCATION, 9);

        // when, then: the attempt, then the other slot of the allocation, then the resources
        fixture.assert_rejected(&cut(SECOND, resources(9, 0), ALLOCATION, 9), "the attempt was given up");
        fixture.assert_rejected(
            &cut(SECOND, resources(9, 0), ALLOCATION, 10),
            "the allocation holds slot 2147483648",
        );
        assert_eq!(
            fixture.request(&cut(SECOND, resources(9, 0), OTHER_ALLOCATION, 10)),
            insufficient(resources(0, 80))
        );
    }

    #[test]
    fn number_that_is_held_is_occupied() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(1, 1), ALLOCATION, 1);
        let occupied = Err(SlotAllocationError::Occupied {
            allocation_id: ALLOCATION,
            job_id: JOB,
        });
        let mut of_another_job = cut(FIRST, resources(1, 1), ALLOCATION, 2);
        of_another_job.job_id = JobId::from_u128(0xbad);
        for request in [cut(FIRST, resources(9, 0), OTHER_ALLOCATION, 2), of_another_job] {
            assert_eq!(fixture.request(&request), occupied);
        }
        assert_eq!(fixture.remaining(), resources(7, 79));
    }

    #[test]
    fn repeated_request_is_acknowledged_and_cuts_nothing_more() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(8, 80), ALLOCATION, 1);
        fixture.now = Timestamp::from_secs(1);
        assert_eq!(
            fixture.request(&cut(FIRST, resources(8, 80), ALLOCATION, 2)),
            acknowledged(1)
        );
        assert_eq!(fixture.remaining(), ResourceProfile::ZERO);
        assert_eq!(fixture.table.next_timeout(), Some(Timestamp::ZERO + SLOT_TIMEOUT));
        // It is held under the newer attempt.
        assert_eq!(fixture.free_slot(FIRST, ALLOCATION, 1), None);
    }

    #[test]
    fn slot_of_another_worker_or_kind_is_refused() {
        let mut fixture = dynamic();
        fixture.assert_rejected(
            &cut(FIRST - 1, ResourceProfile::ZERO, ALLOCATION, 1),
            "there is no slot tm_2147483647: the worker is dynamic",
        );
        let mut foreign = cut(FIRST, ResourceProfile::ZERO, ALLOCATION, 1);
        foreign.slot_id = SlotId::dynamic("another", 0);
        fixture.assert_rejected(&foreign, "there is no slot another_2147483648");
        fixture.cut(u32::MAX, ResourceProfile::ZERO, ALLOCATION, 1);

        let mut of_static_slots = Fixture::new();
        of_static_slots.assert_rejected(
            &cut(FIRST, ResourceProfile::ZERO, ALLOCATION, 1),
            "the slot tm_2147483648 cannot be cut: the worker is static",
        );
    }

    #[test]
    fn slots_of_the_other_kind_cannot_be_added() {
        // given
        let (mut fixture, mut of_static_slots) = (dynamic(), Fixture::new());
        fixture.cut(FIRST, resources(1, 1), ALLOCATION, 1);
        let before = [fixture.table.report(), of_static_slots.table.report()];

        // when
        for slot_number in [0, FIRST, SECOND] {
            fixture.table.set_slot(slot_number, ResourceProfile::ZERO);
        }
        of_static_slots.table.set_slot(FIRST, ResourceProfile::ZERO);
        // then
        assert_eq!([fixture.table.report(), of_static_slots.table.report()], before);

        // when, then: the last number of the own kind
        of_static_slots.table.set_slot(FIRST - 1, ResourceProfile::ZERO);
        assert_eq!(of_static_slots.table.report().statuses().len(), 3);
    }
}

/// Attempts that are given up, on slots that need not exist.
mod fences {
    use super::*;

    #[test]
    fn free_before_its_request_is_remembered() {
        // given
        let mut fixture = dynamic();

        // when
        assert_eq!(fixture.free_slot(FIRST, ALLOCATION, 5), None);

        // then
        for attempt in [4, 5] {
            let request = cut(FIRST, resources(1, 1), ALLOCATION, attempt);
            fixture.assert_rejected(&request, "the attempt was given up");
        }
        assert_eq!(fixture.remaining(), resources(8, 80));
        fixture.cut(SECOND, resources(1, 1), OTHER_ALLOCATION, 4);
        fixture.cut(FIRST, resources(1, 1), ALLOCATION, 6);
    }

    #[test]
    fn free_is_remembered_after_its_cut_has_ended() {
        // given
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(1, 1), ALLOCATION, 5);
        assert!(fixture.free_slot(FIRST, ALLOCATION, 5).is_some());
        fixture.cut(FIRST, resources(1, 1), OTHER_ALLOCATION, 6);
        assert!(fixture.table.free(OTHER_ALLOCATION).is_some());

        // when, then
        let late = cut(FIRST, resources(1, 1), ALLOCATION, 5);
        fixture.assert_rejected(&late, "the attempt was given up");
    }

    #[test]
    fn old_frees_are_forgotten_but_never_what_they_refuse() {
        // given
        let mut fixture = dynamic();
        for number in 0..2000 {
            let attempt = u64::from(number) + 1;
            fixture.free_slot(FIRST + number, ALLOCATION, attempt);
        }

        // when, then: the first attempt is given up on its slot and, by now, on all free ones
        for slot_number in [FIRST, u32::MAX] {
            let request = cut(slot_number, resources(1, 1), ALLOCATION, 1);
            fixture.assert_rejected(&request, "the attempt was given up");
        }
        // when, then: one of the last is given up on its own slot only
        let request = cut(FIRST + 1999, resources(1, 1), ALLOCATION, 2000);
        fixture.assert_rejected(&request, "the attempt was given up");
        fixture.cut(u32::MAX, resources(1, 1), ALLOCATION, 2000);
        // when, then: a held slot is not free
        assert_eq!(
            fixture.request(&cut(u32::MAX, resources(1, 1), ALLOCATION, 1)),
            acknowledged(1)
        );
    }

    #[test]
    fn static_table_forgets_no_free() {
        // given
        let mut fixture = Fixture::of(TaskSlotTable::new(EXECUTOR, vec![ResourceProfile::ANY; 2000]));
        for slot_number in 1..2000 {
            fixture.free_slot(slot_number, ALLOCATION, 9);
        }
        // when, then
        fixture.assert_rejected(&request_slot(1, ALLOCATION, 9), "the attempt was given up");
        fixture.allocate(ALLOCATION, 1);
    }

    #[test]
    fn cut_held_under_a_newer_attempt_stays() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(1, 1), ALLOCATION, 3);
        assert_eq!(fixture.free_slot(FIRST, ALLOCATION, 2), None);
        assert_eq!(fixture.free_slot(FIRST, OTHER_ALLOCATION, 9), None);
        assert_eq!(fixture.table.free_inactive_slots(&free_inactive_slots(2)), []);
        assert_eq!(fixture.cuts(), [FIRST]);
    }

    #[test]
    fn messages_of_another_leader_or_registration_are_ignored() {
        // given
        let mut fixture = dynamic();
        let mut of_another_leader = free_slot(FIRST, ALLOCATION, 7);
        of_another_leader.leader_id = OTHER_LEADER;
        let mut of_another_instance = free_slot(FIRST, ALLOCATION, 7);
        of_another_instance.instance_id = OTHER_INSTANCE;
        let mut foreign = free_slot(FIRST, ALLOCATION, 7);
        foreign.slot_id = SlotId::dynamic("another", 0);

        // when
        for request in [of_another_leader, of_another_instance, foreign] {
            assert_eq!(fixture.table.free_slot(&request), None);
        }

        // then
        let mut late = cut(FIRST, resources(1, 1), ALLOCATION, 7);
        late.leader_id = OTHER_LEADER;
        fixture.assert_rejected(&late, &format!("{OTHER_LEADER} is not the leader, {LEADER} is"));
        (late.leader_id, late.instance_id) = (LEADER, OTHER_INSTANCE);
        let reason = format!("{OTHER_INSTANCE} is not the registration, {INSTANCE} is");
        fixture.assert_rejected(&late, &reason);
        late.instance_id = INSTANCE;
        assert_eq!(fixture.request(&late), acknowledged(1));
    }

    #[test]
    fn new_leader_finds_the_cuts_and_starts_its_attempts_anew() {
        // given
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 100);
        fixture.free_slot(SECOND, OTHER_ALLOCATION, 100);
        fixture.table.disconnect();
        let request = cut(SECOND, resources(1, 1), OTHER_ALLOCATION, 101);
        fixture.assert_rejected(&request, "not connected to a resource manager");

        // when
        fixture.table.connect(OTHER_LEADER, INSTANCE);

        // then
        assert_eq!(fixture.cuts(), [FIRST]);
        assert_eq!(fixture.remaining(), resources(5, 70));
        let mut request = cut(SECOND, resources(1, 1), OTHER_ALLOCATION, 1);
        request.leader_id = OTHER_LEADER;
        assert_eq!(fixture.request(&request), acknowledged(2));
        let mut free = free_slot(FIRST, ALLOCATION, 1);
        free.leader_id = OTHER_LEADER;
        assert!(
            fixture.table.free_slot(&free).is_some(),
            "it is held under an older leader"
        );
    }

    #[test]
    fn new_registration_under_the_same_leader_remembers_the_attempts() {
        let mut fixture = dynamic();
        fixture.free_slot(FIRST, ALLOCATION, 100);
        fixture.table.disconnect();
        fixture.table.connect(LEADER, OTHER_INSTANCE);
        let mut request = cut(FIRST, resources(1, 1), ALLOCATION, 100);
        request.instance_id = OTHER_INSTANCE;
        fixture.assert_rejected(&request, "the attempt was given up");
        request.attempt = 101;
        assert_eq!(fixture.request(&request), acknowledged(1));
    }

    #[test]
    fn process_that_starts_anew_keeps_its_resources_and_no_cut() {
        let mut fixture = dynamic();
        fixture.cut(FIRST, resources(3, 10), ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        fixture.free_slot(SECOND, ALLOCATION, 9);
        fixture.table.restart();
        assert_eq!(fixture.table.report(), dynamic().table.report());

        fixture.table.connect(LEADER, INSTANCE);
        fixture.cut(SECOND, ResourceProfile::UNKNOWN, ALLOCATION, 2);
    }
}
