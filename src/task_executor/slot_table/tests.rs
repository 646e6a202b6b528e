//! Tests of the rules of a task executor.

mod dynamic_workers;

use super::*;
use crate::testing::samples::{
    ALLOCATION, EXECUTOR, INSTANCE, JOB, LEADER, OTHER_ALLOCATION, free_inactive_slots, free_slot, release_check,
    request_slot,
};

const OTHER_LEADER: LeaderId = LeaderId::from_u128(0x2eade);
const OTHER_INSTANCE: InstanceId = InstanceId::from_u128(0x2);
const SLOT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connected table with two slots.
struct Fixture {
    now: Timestamp,
    table: TaskSlotTable,
}

impl Fixture {
    fn new() -> Self {
        Self::of(TaskSlotTable::new(
            EXECUTOR,
            [ResourceProfile::ANY, ResourceProfile::ANY],
        ))
    }

    fn of(table: TaskSlotTable) -> Self {
        let mut table = table.with_slot_timeout(SLOT_TIMEOUT);
        table.connect(LEADER, INSTANCE);
        Self {
            now: Timestamp::ZERO,
            table,
        }
    }

    fn request(&mut self, request: &AllocateSlot) -> SlotResult {
        self.table.request_slot(request, self.now)
    }

    /// Requests slot 0, which must succeed.
    #[track_caller]
    fn allocate(&mut self, allocation_id: AllocationId, attempt: u64) {
        self.allocate_slot(0, allocation_id, attempt);
    }

    #[track_caller]
    fn allocate_slot(&mut self, slot_number: u32, allocation_id: AllocationId, attempt: u64) {
        let answer = self.request(&request_slot(slot_number, allocation_id, attempt));
        assert_eq!(answer, acknowledged(self.table.revision()));
    }

    #[track_caller]
    fn assert_rejected(&mut self, request: &AllocateSlot, reason: &str) {
        let before = self.table.report();
        let answer = self.request(request);
        assert_eq!(answer, Err(SlotAllocationError::rejected(reason)));
        assert_eq!(self.table.report(), before, "a refused request changes nothing");
    }

    /// Handles a message that frees a slot.
    fn free_slot(&mut self, slot_number: u32, allocation_id: AllocationId, attempt: u64) -> Option<SlotFreed> {
        self.table.free_slot(&free_slot(slot_number, allocation_id, attempt))
    }

    /// Lets the job use its slot.
    #[track_caller]
    fn activate(&mut self, allocation_id: AllocationId) {
        assert!(self.table.activate(allocation_id).is_some());
    }

    fn holders(&self) -> [Option<AllocationId>; 2] {
        [0, 1].map(|slot_number| {
            let allocation = self.table.current_allocation(slot_number);
            allocation.map(|allocation| allocation.id)
        })
    }
}

fn acknowledged(revision: u64) -> SlotResult {
    Ok(Acknowledge::new().with_revision(revision))
}

/// Returns the message that [`INSTANCE`] has freed a slot.
fn freed(slot_number: u32, allocation_id: AllocationId, revision: u64, attempt: u64) -> SlotFreed {
    let freed = SlotFreed::new(slot(slot_number), allocation_id);
    freed.with_revision(INSTANCE, revision).with_attempt(attempt)
}

fn slot(slot_number: u32) -> SlotId {
    SlotId::new(EXECUTOR, slot_number)
}

fn resources(cores: u32, memory: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(f64::from(cores))
        .managed_memory_bytes(memory)
        .build()
        .expect("valid amounts")
}

mod slot_requests {
    use super::*;

    #[test]
    fn without_a_connection_every_request_is_refused() {
        let mut fixture = Fixture::new();
        fixture.table.disconnect();
        let mut request = request_slot(9, ALLOCATION, 1);
        request.leader_id = OTHER_LEADER;
        request.instance_id = OTHER_INSTANCE;
        fixture.assert_rejected(&request, "not connected to a resource manager");
    }

    #[test]
    fn leader_is_checked_before_the_instance() {
        let mut fixture = Fixture::new();
        let mut request = request_slot(9, ALLOCATION, 1);
        request.leader_id = OTHER_LEADER;
        request.instance_id = OTHER_INSTANCE;
        fixture.assert_rejected(&request, &format!("{OTHER_LEADER} is not the leader, {LEADER} is"));
    }

    #[test]
    fn instance_is_checked_before_the_slot() {
        let mut fixture = Fixture::new();
        let mut request = request_slot(9, ALLOCATION, 1);
        request.instance_id = OTHER_INSTANCE;
        let reason = format!("{OTHER_INSTANCE} is not the registration, {INSTANCE} is");
        fixture.assert_rejected(&request, &reason);
    }

    #[test]
    fn unknown_slot_is_refused() {
        let mut fixture = Fixture::new();
        fixture.assert_rejected(&request_slot(2, ALLOCATION, 1), "there is no slot tm_2");

        let mut foreign = request_slot(0, ALLOCATION, 1);
        foreign.slot_id = SlotId::new("another", 0);
        fixture.assert_rejected(&foreign, "there is no slot another_0");
    }

    #[test]
    fn free_slot_is_given_to_the_allocation() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.request(&request_slot(1, ALLOCATION, 1)), acknowledged(1));
        assert_eq!(fixture.holders(), [None, Some(ALLOCATION)]);
    }

    #[test]
    fn attempt_not_newer_than_the_last_free_is_refused() {
        let mut fixture = Fixture::new();
        fixture.free_slot(0, OTHER_ALLOCATION, 5);
        fixture.assert_rejected(&request_slot(0, ALLOCATION, 4), "the attempt was given up");
        fixture.assert_rejected(&request_slot(0, ALLOCATION, 5), "the attempt was given up");
        fixture.allocate(ALLOCATION, 6);
    }

    #[test]
    fn last_free_of_one_slot_does_not_affect_another() {
        let mut fixture = Fixture::new();
        fixture.free_slot(0, ALLOCATION, 5);
        fixture.allocate_slot(1, ALLOCATION, 4);
    }

    #[test]
    fn allocation_that_holds_another_slot_is_refused() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 1);
        fixture.assert_rejected(&request_slot(0, ALLOCATION, 2), "the allocation holds slot 1");
    }

    #[test]
    fn slot_of_another_allocation_is_occupied() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(
            fixture.request(&request_slot(0, OTHER_ALLOCATION, 2)),
            Err(SlotAllocationError::Occupied {
                allocation_id: ALLOCATION,
                job_id: JOB
            })
        );
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn slot_of_the_same_allocation_of_another_job_is_occupied() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        let mut request = request_slot(0, ALLOCATION, 2);
        request.job_id = JobId::from_u128(0xbad);
        assert_eq!(
            fixture.request(&request),
            Err(SlotAllocationError::Occupied {
                allocation_id: ALLOCATION,
                job_id: JOB
            })
        );
    }

    #[test]
    fn occupied_is_answered_even_to_an_attempt_given_up() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.free_slot(0, OTHER_ALLOCATION, 2);
        let answer = fixture.request(&request_slot(0, OTHER_ALLOCATION, 2));
        assert!(
            matches!(answer, Err(SlotAllocationError::Occupied { .. })),
            "{answer:?}"
        );
    }

    #[test]
    fn repeated_request_is_acknowledged_and_changes_nothing() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        let before = fixture.table.report();
        fixture.now = Timestamp::from_secs(1);
        assert_eq!(fixture.request(&request_slot(0, ALLOCATION, 2)), acknowledged(1));
        assert_eq!(fixture.table.report(), before);
        assert_eq!(fixture.table.next_timeout(), Some(Timestamp::ZERO + SLOT_TIMEOUT));
    }
}

mod free_requests {
    use super::*;

    #[test]
    fn slot_held_under_that_attempt_or_an_older_one_is_freed() {
        for attempt in [3, 4] {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 3);
            assert_eq!(
                fixture.free_slot(0, ALLOCATION, attempt),
                Some(freed(0, ALLOCATION, 2, 3))
            );
            assert_eq!(fixture.holders(), [None, None]);
            assert_eq!(fixture.table.revision(), 2);
            assert_eq!(fixture.table.next_timeout(), None);
        }
    }

    #[test]
    fn slot_held_under_a_newer_attempt_stays() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.allocate(ALLOCATION, 3);
        assert_eq!(fixture.free_slot(0, ALLOCATION, 2), None);
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn late_older_request_does_not_make_the_attempt_older() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 3);
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(fixture.free_slot(0, ALLOCATION, 2), None);
    }

    #[test]
    fn slot_held_by_another_allocation_or_job_stays() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(fixture.free_slot(0, OTHER_ALLOCATION, 9), None);
        let mut of_another_job = free_slot(0, ALLOCATION, 9);
        of_another_job.job_id = JobId::from_u128(0xbad);
        assert_eq!(fixture.table.free_slot(&of_another_job), None);
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn slot_in_use_stays() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        assert_eq!(fixture.free_slot(0, ALLOCATION, 1), None);
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn late_older_free_does_not_weaken_the_newer_one() {
        let mut fixture = Fixture::new();
        fixture.free_slot(0, ALLOCATION, 5);
        fixture.free_slot(0, ALLOCATION, 2);
        fixture.assert_rejected(&request_slot(0, ALLOCATION, 5), "the attempt was given up");
    }

    #[test]
    fn frees_of_another_leader_or_registration_are_ignored() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        let mut of_another_leader = free_slot(0, ALLOCATION, 7);
        of_another_leader.leader_id = OTHER_LEADER;
        let mut of_another_instance = free_slot(0, ALLOCATION, 7);
        of_another_instance.instance_id = OTHER_INSTANCE;
        for request in [of_another_leader, of_another_instance, free_slot(2, ALLOCATION, 7)] {
            assert_eq!(fixture.table.free_slot(&request), None);
        }
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);

        assert!(fixture.table.free(ALLOCATION).is_some());
        fixture.allocate(ALLOCATION, 2);
    }
}

/// Requests to free the inactive slots of a job.
mod ended_jobs {
    use super::*;

    #[test]
    fn inactive_slots_of_the_job_are_freed_in_order() {
        // given
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, OTHER_ALLOCATION, 1);
        fixture.allocate_slot(0, ALLOCATION, 2);
        // when
        let freed = fixture.table.free_inactive_slots(&free_inactive_slots(2));
        // then
        let slots: Vec<_> = freed.iter().map(|freed| freed.slot_id().slot_number()).collect();
        assert_eq!(slots, [0, 1]);
        assert_eq!(fixture.holders(), [None, None]);
    }

    #[test]
    fn slot_in_use_under_a_newer_attempt_or_of_another_job_stays() {
        // given
        let mut fixture = Fixture::new();
        fixture.allocate_slot(0, ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        fixture.allocate_slot(1, OTHER_ALLOCATION, 3);
        let stay = [Some(ALLOCATION), Some(OTHER_ALLOCATION)];
        // when, then: one is used, the other was given to a newer attempt
        assert_eq!(fixture.table.free_inactive_slots(&free_inactive_slots(2)), []);
        assert_eq!(fixture.holders(), stay);
        // when, then
        let mut of_another_job = free_inactive_slots(3);
        of_another_job.job_id = JobId::from_u128(0xbad);
        assert_eq!(fixture.table.free_inactive_slots(&of_another_job), []);
        assert_eq!(fixture.holders(), stay);
        // when, then: the attempt is not newer
        assert_eq!(fixture.table.free_inactive_slots(&free_inactive_slots(3)).len(), 1);
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn message_of_another_leader_or_registration_is_ignored() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        let mut of_another_leader = free_inactive_slots(1);
        of_another_leader.leader_id = OTHER_LEADER;
        let mut of_another_instance = free_inactive_slots(1);
        of_another_instance.instance_id = OTHER_INSTANCE;
        for request in [of_another_leader, of_another_instance] {
            assert_eq!(fixture.table.free_inactive_slots(&request), []);
        }
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
    }

    #[test]
    fn slot_held_under_an_older_leader_is_freed() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 100);
        fixture.table.connect(OTHER_LEADER, OTHER_INSTANCE);
        let mut request = free_inactive_slots(0);
        (request.leader_id, request.instance_id) = (OTHER_LEADER, OTHER_INSTANCE);
        assert_eq!(fixture.table.free_inactive_slots(&request).len(), 1);
    }
}

mod connections {
    use super::*;

    #[test]
    fn slot_held_under_an_older_leader_is_freed_by_any_attempt() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 100);
        fixture.table.connect(OTHER_LEADER, OTHER_INSTANCE);
        assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);

        let mut free = free_slot(0, ALLOCATION, 0);
        free.leader_id = OTHER_LEADER;
        free.instance_id = OTHER_INSTANCE;
        let freed = SlotFreed::new(slot(0), ALLOCATION).with_revision(OTHER_INSTANCE, 2);
        assert_eq!(fixture.table.free_slot(&free), Some(freed));
    }

    #[test]
    fn new_leader_starts_its_attempts_anew() {
        let mut fixture = Fixture::new();
        fixture.free_slot(0, ALLOCATION, 100);
        fixture.table.connect(OTHER_LEADER, INSTANCE);
        let mut request = request_slot(0, ALLOCATION, 1);
        request.leader_id = OTHER_LEADER;
        assert_eq!(fixture.request(&request), acknowledged(1));
    }

    #[test]
    fn new_registration_under_the_same_leader_remembers_the_attempts() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 100);
        fixture.free_slot(0, ALLOCATION, 100);
        fixture.table.disconnect();
        fixture.table.connect(LEADER, OTHER_INSTANCE);

        let mut request = request_slot(0, OTHER_ALLOCATION, 100);
        request.instance_id = OTHER_INSTANCE;
        fixture.assert_rejected(&request, "the attempt was given up");
        let mut free = free_slot(1, ALLOCATION, 99);
        free.instance_id = OTHER_INSTANCE;
        assert_eq!(fixture.table.free_slot(&free), None);
    }

    #[test]
    fn process_that_starts_anew_keeps_its_slots_and_its_resource_id() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        fixture.free_slot(1, ALLOCATION, 9);
        fixture.table.restart();

        assert_eq!(fixture.table.resource_id().as_str(), EXECUTOR);
        assert_eq!((fixture.table.leader_id(), fixture.table.instance_id()), (None, None));
        assert_eq!(fixture.table.revision(), 0);
        assert_eq!(fixture.table.report().statuses().len(), 2);
        assert_eq!(fixture.holders(), [None, None]);
        fixture.assert_rejected(&request_slot(0, ALLOCATION, 2), "not connected to a resource manager");

        fixture.table.connect(LEADER, INSTANCE);
        fixture.allocate_slot(1, ALLOCATION, 2);
    }

    #[test]
    fn slot_freed_without_a_connection_carries_no_revision() {
        // given
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.table.disconnect();
        assert_eq!((fixture.table.leader_id(), fixture.table.instance_id()), (None, None));

        // when, then: the revision grows all the same
        let freed = SlotFreed::new(slot(0), ALLOCATION);
        assert_eq!(fixture.table.free(ALLOCATION), Some(freed));
        assert_eq!(fixture.table.revision(), 2);
    }

    #[test]
    fn table_without_slots_can_be_connected_and_released() {
        let mut table = TaskSlotTable::new(EXECUTOR, []);
        table.connect(LEADER, INSTANCE);
        assert_eq!((table.leader_id(), table.instance_id()), (Some(LEADER), Some(INSTANCE)));
        assert_eq!(table.report(), SlotReport::default().with_revision(0));
        assert_eq!(table.can_be_released(&release_check(1)), ReleaseDecision::Release);
    }
}

mod release_checks {
    use super::*;

    #[test]
    fn task_executor_with_a_held_slot_is_kept() {
        let mut fixture = Fixture::new();
        assert_eq!(
            fixture.table.can_be_released(&release_check(1)),
            ReleaseDecision::Release
        );
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(fixture.table.can_be_released(&release_check(2)), ReleaseDecision::Keep);
        fixture.activate(ALLOCATION);
        assert_eq!(fixture.table.can_be_released(&release_check(3)), ReleaseDecision::Keep);
    }

    #[test]
    fn check_of_another_leader_or_registration_releases_nothing() {
        let mut fixture = Fixture::new();
        let of_another_leader = ReleaseCheck {
            leader_id: OTHER_LEADER,
            ..release_check(1)
        };
        let of_another_instance = ReleaseCheck {
            instance_id: OTHER_INSTANCE,
            ..release_check(1)
        };
        for check in [of_another_leader, of_another_instance] {
            assert_eq!(fixture.table.can_be_released(&check), ReleaseDecision::Keep);
        }
        fixture.table.disconnect();
        assert_eq!(fixture.table.can_be_released(&release_check(1)), ReleaseDecision::Keep);
    }
}

mod jobs_and_time {
    use super::*;

    #[test]
    fn job_frees_its_slot() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 1);
        assert_eq!(fixture.table.activate(ALLOCATION), Some(slot(1)));
        assert_eq!(fixture.table.free(ALLOCATION), Some(freed(1, ALLOCATION, 2, 1)));
        assert_eq!(fixture.holders(), [None, None]);
        assert_eq!(fixture.table.revision(), 2);
    }

    #[test]
    fn job_that_is_gone_frees_its_slots_and_no_other() {
        // given
        let mut fixture = Fixture::new();
        fixture.table.set_slot(2, ResourceProfile::ANY);
        fixture.allocate_slot(0, ALLOCATION, 1);
        let mut of_another_job = request_slot(1, AllocationId::from_u128(0xc), 2);
        of_another_job.job_id = JobId::from_u128(0xbad);
        assert_eq!(fixture.request(&of_another_job), acknowledged(3));
        fixture.allocate_slot(2, OTHER_ALLOCATION, 3);
        fixture.activate(OTHER_ALLOCATION);

        // when, then
        let expected = [freed(0, ALLOCATION, 5, 1), freed(2, OTHER_ALLOCATION, 6, 3)];
        assert_eq!(fixture.table.free_job(JOB), expected);
        assert_eq!(fixture.holders(), [None, Some(of_another_job.allocation_id)]);
        assert_eq!(fixture.table.free_job(JOB), []);
    }

    #[test]
    fn default_slot_timeout_is_ten_seconds() {
        let mut table = TaskSlotTable::new(EXECUTOR, [ResourceProfile::ANY]);
        table.connect(LEADER, INSTANCE);
        let answer = table.request_slot(&request_slot(0, ALLOCATION, 1), Timestamp::ZERO);
        assert_eq!(answer, acknowledged(1));
        assert_eq!(table.next_timeout(), Some(Timestamp::from_secs(10)));
    }

    #[test]
    fn allocation_without_a_slot_uses_and_frees_none() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(fixture.table.activate(OTHER_ALLOCATION), None);
        assert_eq!(fixture.table.free(OTHER_ALLOCATION), None);
        assert_eq!(fixture.table.revision(), 1);
    }

    #[test]
    fn unused_slots_are_freed_in_the_order_in_which_they_fall_due() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 1);
        fixture.now = Timestamp::from_secs(1);
        fixture.allocate_slot(0, OTHER_ALLOCATION, 2);
        let due = Timestamp::ZERO + SLOT_TIMEOUT;
        assert_eq!(fixture.table.next_timeout(), Some(due));

        assert_eq!(fixture.table.expire(Timestamp::from_nanos(due.as_nanos() - 1)), []);
        assert_eq!(fixture.table.revision(), 2);
        assert_eq!(
            fixture.table.expire(Timestamp::from_secs(99)),
            [freed(1, ALLOCATION, 3, 1), freed(0, OTHER_ALLOCATION, 4, 2)]
        );
        assert_eq!(fixture.holders(), [None, None]);
        assert_eq!(fixture.table.revision(), 4);
        assert_eq!(fixture.table.next_timeout(), None);
    }

    #[test]
    fn unused_slot_is_freed_exactly_when_it_falls_due() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 1);
        fixture.allocate_slot(0, OTHER_ALLOCATION, 2);
        assert_eq!(
            fixture.table.expire(Timestamp::ZERO + SLOT_TIMEOUT),
            [freed(0, OTHER_ALLOCATION, 3, 2), freed(1, ALLOCATION, 4, 1)],
            "at one time, by number"
        );
    }

    #[test]
    fn slot_in_use_does_not_expire() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.activate(ALLOCATION);
        fixture.allocate(ALLOCATION, 2);
        assert_eq!(fixture.table.next_timeout(), None);
        assert_eq!(fixture.table.expire(Timestamp::MAX), []);
    }

    #[test]
    fn timeout_beyond_the_clock_never_ends() {
        let mut fixture = Fixture::new();
        fixture.table = fixture.table.with_slot_timeout(Duration::MAX);
        fixture.allocate(ALLOCATION, 1);
        assert_eq!(fixture.table.next_timeout(), None);
        assert_eq!(fixture.table.expire(Timestamp::MAX), []);
    }
}

mod revisions {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// In a dynamic table it is for `UNKNOWN` resources if there are none.
        Request {
            slot: u32,
            allocation: u128,
            attempt: u64,
            resources: Option<(u32, u64)>,
        },
        FreeSlot {
            slot: u32,
            allocation: u128,
            attempt: u64,
        },
        Free {
            allocation: u128,
        },
        Activate {
            allocation: u128,
        },
        FreeJob,
        Expire {
            at: u64,
        },
        SetSlot {
            slot: u32,
            is_any: bool,
        },
        SetResources {
            cores: u32,
            memory: u64,
        },
        RemoveSlot {
            slot: u32,
        },
        Reconnect {
            leader: u128,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let (slots, allocations, attempts) = (0..3_u32, 1..4_u128, 1..6_u64);
        let attempt = (slots.clone(), allocations.clone(), attempts);
        let resources = proptest::option::weighted(0.9, (0..4_u32, 0..4_u64));
        let request = (attempt.clone(), resources).prop_map(|((slot, allocation, attempt), resources)| Step::Request {
            slot,
            allocation,
            attempt,
            resources,
        });
        prop_oneof![
            6 => request,
            3 => attempt.prop_map(|(slot, allocation, attempt)| Step::FreeSlot { slot, allocation, attempt }),
            2 => allocations.clone().prop_map(|allocation| Step::Free { allocation }),
            2 => allocations.prop_map(|allocation| Step::Activate { allocation }),
            1 => Just(Step::FreeJob),
            1 => (0..100_u64).prop_map(|at| Step::Expire { at }),
            1 => (slots.clone(), any::<bool>()).prop_map(|(slot, is_any)| Step::SetSlot { slot, is_any }),
            1 => (0..8_u32, 0..8_u64).prop_map(|(cores, memory)| Step::SetResources { cores, memory }),
            1 => slots.prop_map(|slot| Step::RemoveSlot { slot }),
            1 => (1..3_u128).prop_map(|leader| Step::Reconnect { leader }),
        ]
    }

    fn dynamic_worker(cores: u32, memory: u64) -> DynamicResources {
        DynamicResources::new(resources(cores, memory)).with_default_slot(resources(2, 1))
    }

    /// Takes a step, and returns the messages that a slot was freed. The first slot has the number
    /// `first`.
    fn take(table: &mut TaskSlotTable, first: u32, step: &Step) -> Vec<SlotFreed> {
        let leader_id = table.leader_id().unwrap_or(LEADER);
        match *step {
            Step::Request {
                slot,
                allocation,
                attempt,
                resources: requested,
            } => {
                let mut request = request_slot(first + slot, AllocationId::from_u128(allocation), attempt);
                request.leader_id = leader_id;
                request.resource_profile = requested.map_or(ResourceProfile::UNKNOWN, |(a, b)| resources(a, b));
                let before = table.report();
                match table.request_slot(&request, Timestamp::from_secs(attempt)) {
                    Ok(acknowledge) => assert_eq!(acknowledge.revision(), Some(table.revision())),
                    Err(SlotAllocationError::Insufficient { free }) => {
                        let (cores, memory) = requested.unwrap_or((2, 1));
                        assert!(!free.is_matching(&resources(cores, memory)));
                        assert_eq!(before.dynamic().and_then(DynamicResources::free), Some(&*free));
                    }
                    Err(_) => assert_eq!(table.report(), before),
                }
                Vec::new()
            }
            Step::FreeSlot {
                slot,
                allocation,
                attempt,
            } => {
                let mut request = free_slot(first + slot, AllocationId::from_u128(allocation), attempt);
                request.leader_id = leader_id;
                Vec::from_iter(table.free_slot(&request))
            }
            Step::Free { allocation } => Vec::from_iter(table.free(AllocationId::from_u128(allocation))),
            Step::Activate { allocation } => {
                let _ = table.activate(AllocationId::from_u128(allocation));
                Vec::new()
            }
            Step::FreeJob => table.free_job(JOB),
            Step::Expire { at } => table.expire(Timestamp::from_secs(at)),
            Step::SetSlot { slot, is_any } => {
                let profile = if is_any {
                    ResourceProfile::ANY
                } else {
                    ResourceProfile::ZERO
                };
                table.set_slot(first + slot, profile);
                Vec::new()
            }
            Step::SetResources { cores, memory } => {
                table.set_resources(dynamic_worker(cores, memory));
                Vec::new()
            }
            Step::RemoveSlot { slot } => {
                table.remove_slot(first + slot);
                Vec::new()
            }
            Step::Reconnect { leader } => {
                table.connect(LeaderId::from_u128(leader), INSTANCE);
                Vec::new()
            }
        }
    }

    /// Returns the resources of a profile, as numbers.
    fn amounts(profile: &ResourceProfile) -> [f64; 2] {
        let memory = profile.managed_memory_bytes().expect("it has amounts");
        [profile.cpu_cores().expect("it has amounts"), memory as f64]
    }

    /// Returns the resources of all slots together.
    fn held(report: &SlotReport) -> [f64; 2] {
        let held = report
            .statuses()
            .iter()
            .map(|status| amounts(status.resource_profile()));
        held.fold([0.0; 2], |[cores, memory], cut| [cores + cut[0], memory + cut[1]])
    }

    /// Checks that slots are cut from the total, and that the rest is reported as free.
    fn check_cuts(before: &SlotReport, after: &SlotReport) -> Result<(), TestCaseError> {
        let worker = after.dynamic().expect("a dynamic worker");
        let total = amounts(worker.total());
        let free = amounts(worker.free().expect("it is counted"));
        for resource in 0..2 {
            let (held_before, held) = (held(before)[resource], held(after)[resource]);
            prop_assert_eq!(free[resource], (total[resource] - held).max(0.0));
            // Only a lower total can leave more held than there is.
            prop_assert!(held <= total[resource] || held <= held_before);
        }
        let is_cut = |status: &SlotStatus| status.slot_id().is_dynamic() && status.allocation().is_some();
        prop_assert!(after.statuses().iter().all(is_cut));
        Ok(())
    }

    /// Takes steps with a table, and checks each of them. Slots are counted from `first`.
    fn check_steps(mut table: TaskSlotTable, first: u32, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let before = table.report();
            let freed = take(&mut table, first, step);

            let after = table.report();
            prop_assert_eq!(after.revision() > before.revision(), after != before);
            prop_assert_eq!(after.revision() == before.revision(), after == before);
            // Each freed slot has a revision of its own, in the order of the messages.
            let revisions: Vec<_> = freed.iter().filter_map(SlotFreed::revision).collect();
            let first_revision = before.revision().unwrap_or_default() + 1;
            let expected = (first_revision..).map(|revision| (INSTANCE, revision));
            prop_assert_eq!(revisions, expected.take(freed.len()).collect::<Vec<_>>());
            // No allocation holds two slots, and no freed slot is held.
            let mut holders: Vec<_> = after.statuses().iter().filter_map(SlotStatus::allocation).collect();
            let num_holders = holders.len();
            holders.sort_unstable();
            holders.dedup_by_key(|allocation| allocation.id);
            prop_assert_eq!(holders.len(), num_holders);
            let is_free = |freed: &SlotFreed| table.current_allocation(freed.slot_id().slot_number()).is_none();
            prop_assert!(freed.iter().all(is_free));
            if after.dynamic().is_some() {
                check_cuts(&before, &after)?;
            }
        }
        Ok(())
    }

    proptest! {
        /// A report with the revision of another one is equal to it.
        #[test]
        fn revision_grows_exactly_when_the_report_changes(steps in vec(step(), 1..60)) {
            check_steps(Fixture::new().table, 0, &steps)?;
            let dynamic = TaskSlotTable::dynamic(EXECUTOR, dynamic_worker(5, 5));
            check_steps(Fixture::of(dynamic).table, FIRST_DYNAMIC, &steps)?;
        }
    }
}

mod slots {
    use super::*;

    #[test]
    fn report_lists_all_slots_by_number_with_the_revision() {
        let mut fixture = Fixture::new();
        fixture.allocate_slot(1, ALLOCATION, 1);
        assert_eq!(
            fixture.table.report(),
            SlotReport::new(vec![
                SlotStatus::free(slot(0), ResourceProfile::ANY),
                SlotStatus::allocated(slot(1), ResourceProfile::ANY, ALLOCATION, JOB),
            ])
            .with_revision(1)
        );
    }

    #[test]
    fn slots_can_be_added_changed_and_removed() {
        let mut fixture = Fixture::new();
        fixture.allocate(ALLOCATION, 1);
        fixture.table.set_slot(7, ResourceProfile::ZERO);
        fixture.table.set_slot(0, ResourceProfile::ZERO);
        assert_eq!(fixture.table.remove_slot(1), None);
        assert_eq!(
            fixture.table.report(),
            SlotReport::new(vec![
                SlotStatus::allocated(slot(0), ResourceProfile::ZERO, ALLOCATION, JOB),
                SlotStatus::free(slot(7), ResourceProfile::ZERO),
            ])
            .with_revision(4)
        );
        let allocation = Allocation {
            id: ALLOCATION,
            job: JOB,
        };
        assert_eq!(fixture.table.current_allocation(0), Some(allocation));
        assert_eq!(fixture.table.remove_slot(0), Some(allocation));
        assert_eq!(fixture.table.free(ALLOCATION), None);
    }

    #[test]
    fn revision_stays_if_nothing_changes() {
        let mut fixture = Fixture::new();
        fixture.table.set_slot(0, ResourceProfile::ANY);
        assert_eq!(fixture.table.remove_slot(9), None);
        assert_eq!(fixture.table.revision(), 0);
    }

    #[test]
    fn slot_that_comes_back_remembers_its_last_free() {
        let mut fixture = Fixture::new();
        fixture.free_slot(1, ALLOCATION, 3);
        fixture.table.remove_slot(1);
        fixture.table.set_slot(1, ResourceProfile::ANY);
        fixture.assert_rejected(&request_slot(1, ALLOCATION, 3), "the attempt was given up");
    }
}
