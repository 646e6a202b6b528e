//! The rules by which a task executor gives its slots away. Nothing here knows of time passing or of messages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    Acknowledge, AllocateSlot, AllocationId, FreeSlot, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile,
    SlotAllocationError, SlotId, SlotReport, SlotStatus, Timestamp,
};

#[derive(Debug)]
pub(super) struct SlotTable {
    resource_id: ResourceId,
    slots: BTreeMap<u32, Slot>,
    slot_timeout: Duration,
    revision: u64,
    connection: Option<Connection>,
    attempts: Attempts,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    pub(super) leader_id: LeaderId,
    pub(super) instance_id: InstanceId,
}

#[derive(Debug)]
struct Slot {
    resource_profile: ResourceProfile,
    holding: Option<Holding>,
}

#[derive(Debug)]
struct Holding {
    allocation_id: AllocationId,
    job_id: JobId,
    /// The latest attempt it was asked for with; `None`, which is older than any, if that was under another leader.
    attempt: Option<u64>,
    usage: Usage,
}

#[derive(Debug)]
enum Usage {
    /// Nobody uses the slot yet; if that stays so, it is freed at this time.
    Reserved { until: Timestamp },
    /// The job uses the slot.
    Active,
}

/// The attempts that were given up. Attempt numbers mean something within one leadership only.
#[derive(Debug, Default)]
struct Attempts {
    leader_id: Option<LeaderId>,
    last_freed: BTreeMap<u32, u64>,
}

impl SlotTable {
    pub(super) fn new(
        resource_id: ResourceId,
        profiles: impl IntoIterator<Item = ResourceProfile>,
        slot_timeout: Duration,
    ) -> Self {
        let slots = profiles.into_iter().map(Slot::free);
        Self {
            resource_id,
            slots: (0..).zip(slots).collect(),
            slot_timeout,
            revision: 0,
            connection: None,
            attempts: Attempts::default(),
        }
    }

    pub(super) fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.connection
    }

    pub(super) fn set_slot_timeout(&mut self, timeout: Duration) {
        self.slot_timeout = timeout;
    }

    pub(super) fn connect(&mut self, leader_id: LeaderId, instance_id: InstanceId) {
        self.connection = Some(Connection { leader_id, instance_id });
        if self.attempts.leader_id != Some(leader_id) {
            self.attempts = Attempts {
                leader_id: Some(leader_id),
                last_freed: BTreeMap::new(),
            };
            for holding in self.slots.values_mut().filter_map(|slot| slot.holding.as_mut()) {
                holding.attempt = None;
            }
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// What a process that was started anew knows: its slots.
    pub(super) fn crash(&mut self) {
        self.connection = None;
        self.attempts = Attempts::default();
        self.revision = 0;
        for slot in self.slots.values_mut() {
            slot.holding = None;
        }
    }

    pub(super) fn set_slot(&mut self, slot_number: u32, resource_profile: ResourceProfile) {
        match self.slots.get_mut(&slot_number) {
            Some(slot) if slot.resource_profile == resource_profile => return,
            Some(slot) => slot.resource_profile = resource_profile,
            None => {
                self.slots.insert(slot_number, Slot::free(resource_profile));
            }
        }
        self.revision += 1;
    }

    pub(super) fn remove_slot(&mut self, slot_number: u32) -> Option<AllocationId> {
        let slot = self.slots.remove(&slot_number)?;
        self.revision += 1;
        Some(slot.holding?.allocation_id)
    }

    /// The checks come in the order of Flink's task executor. Those of instance and attempt, which this crate adds,
    /// stand among their like.
    pub(super) fn request_slot(
        &mut self,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<Acknowledge, SlotAllocationError> {
        self.check_addressee(request.leader_id, request.instance_id)?;
        let slot_number = self.check_slot(&request.slot_id)?;
        match self.holding_mut(slot_number) {
            None => self.allocate(slot_number, request, now)?,
            Some(holding) if holding.is_of(request.job_id, request.allocation_id) => {
                holding.attempt = holding.attempt.max(Some(request.attempt));
            }
            Some(holding) => {
                return Err(SlotAllocationError::Occupied {
                    allocation_id: holding.allocation_id,
                    job_id: holding.job_id,
                });
            }
        }
        Ok(Acknowledge::new().with_revision(self.revision))
    }

    fn allocate(
        &mut self,
        slot_number: u32,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<(), SlotAllocationError> {
        let last_freed = self.attempts.last_freed.get(&slot_number);
        if last_freed.is_some_and(|freed| request.attempt <= *freed) {
            return Err(SlotAllocationError::rejected("the attempt was given up"));
        }
        if let Some(other) = self.slot_of(request.allocation_id) {
            return Err(SlotAllocationError::rejected(format!(
                "the allocation holds slot {other}"
            )));
        }
        let holding = Holding {
            allocation_id: request.allocation_id,
            job_id: request.job_id,
            attempt: Some(request.attempt),
            usage: Usage::Reserved {
                until: now + self.slot_timeout,
            },
        };
        if let Some(slot) = self.slots.get_mut(&slot_number) {
            slot.holding = Some(holding);
            self.revision += 1;
        }
        Ok(())
    }

    /// Gives the slot back if it was freed.
    pub(super) fn free_slot(&mut self, request: &FreeSlot) -> Option<SlotId> {
        self.check_addressee(request.leader_id, request.instance_id).ok()?;
        let slot_number = self.check_slot(&request.slot_id).ok()?;
        let last_freed = self.attempts.last_freed.entry(slot_number).or_default();
        *last_freed = request.attempt.max(*last_freed);

        let holding = self.holding_mut(slot_number)?;
        let is_meant = holding.is_of(request.job_id, request.allocation_id) && holding.attempt <= Some(request.attempt);
        let is_unused = matches!(holding.usage, Usage::Reserved { .. });
        (is_meant && is_unused).then(|| self.release(slot_number))
    }

    pub(super) fn activate(&mut self, allocation_id: AllocationId) -> Option<SlotId> {
        let slot_number = self.slot_of(allocation_id)?;
        self.holding_mut(slot_number)?.usage = Usage::Active;
        Some(self.slot_id(slot_number))
    }

    pub(super) fn free(&mut self, allocation_id: AllocationId) -> Option<SlotId> {
        let slot_number = self.slot_of(allocation_id)?;
        Some(self.release(slot_number))
    }

    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<(SlotId, AllocationId)> {
        let mut due: Vec<_> = self.timeouts().filter(|(until, ..)| *until <= now).collect();
        due.sort_unstable();
        due.into_iter()
            .map(|(_, slot_number, allocation_id)| (self.release(slot_number), allocation_id))
            .collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timeouts().map(|(until, ..)| until).min()
    }

    pub(super) fn current_allocation(&self, slot_number: u32) -> Option<AllocationId> {
        let holding = self.slots.get(&slot_number)?.holding.as_ref()?;
        Some(holding.allocation_id)
    }

    pub(super) fn report(&self) -> SlotReport {
        let statuses = self.slots.iter().map(|(slot_number, slot)| {
            let (slot_id, profile) = (self.slot_id(*slot_number), slot.resource_profile.clone());
            match &slot.holding {
                Some(holding) => SlotStatus::allocated(slot_id, profile, holding.allocation_id, holding.job_id),
                None => SlotStatus::free(slot_id, profile),
            }
        });
        statuses.collect::<SlotReport>().with_revision(self.revision)
    }

    fn check_addressee(&self, leader_id: LeaderId, instance_id: InstanceId) -> Result<(), SlotAllocationError> {
        let reason = match self.connection {
            None => "not connected to a resource manager".to_owned(),
            Some(current) if current.leader_id != leader_id => {
                format!("{leader_id} is not the leader, {} is", current.leader_id)
            }
            Some(current) if current.instance_id != instance_id => {
                format!("{instance_id} is not the registration, {} is", current.instance_id)
            }
            Some(_) => return Ok(()),
        };
        Err(SlotAllocationError::rejected(reason))
    }

    fn check_slot(&self, slot_id: &SlotId) -> Result<u32, SlotAllocationError> {
        let slot_number = slot_id.slot_number();
        if *slot_id.resource_id() == self.resource_id && self.slots.contains_key(&slot_number) {
            Ok(slot_number)
        } else {
            Err(SlotAllocationError::rejected(format!("there is no slot {slot_id}")))
        }
    }

    fn slot_id(&self, slot_number: u32) -> SlotId {
        SlotId::new(self.resource_id.clone(), slot_number)
    }

    fn slot_of(&self, allocation_id: AllocationId) -> Option<u32> {
        let mut holdings = self.holdings();
        holdings.find_map(|(slot_number, holding)| (holding.allocation_id == allocation_id).then_some(slot_number))
    }

    fn holdings(&self) -> impl Iterator<Item = (u32, &Holding)> {
        self.slots
            .iter()
            .filter_map(|(slot_number, slot)| Some((*slot_number, slot.holding.as_ref()?)))
    }

    fn holding_mut(&mut self, slot_number: u32) -> Option<&mut Holding> {
        self.slots.get_mut(&slot_number)?.holding.as_mut()
    }

    /// When which slots are freed because nobody uses them. [`Timestamp::MAX`] is never.
    fn timeouts(&self) -> impl Iterator<Item = (Timestamp, u32, AllocationId)> {
        self.holdings()
            .filter_map(|(slot_number, holding)| match holding.usage {
                Usage::Reserved { until } if until < Timestamp::MAX => {
                    Some((until, slot_number, holding.allocation_id))
                }
                Usage::Reserved { .. } | Usage::Active => None,
            })
    }

    fn release(&mut self, slot_number: u32) -> SlotId {
        if let Some(slot) = self.slots.get_mut(&slot_number) {
            slot.holding = None;
            self.revision += 1;
        }
        self.slot_id(slot_number)
    }
}

impl Slot {
    fn free(resource_profile: ResourceProfile) -> Self {
        Self {
            resource_profile,
            holding: None,
        }
    }
}

impl Holding {
    fn is_of(&self, job_id: JobId, allocation_id: AllocationId) -> bool {
        self.job_id == job_id && self.allocation_id == allocation_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples::{
        ALLOCATION, EXECUTOR, INSTANCE, JOB, LEADER, OTHER_ALLOCATION, free_slot, request_slot,
    };

    const OTHER_LEADER: LeaderId = LeaderId::from_u128(0x2eade);
    const OTHER_INSTANCE: InstanceId = InstanceId::from_u128(0x2);
    const SLOT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Two slots, connected.
    struct Fixture {
        now: Timestamp,
        table: SlotTable,
    }

    impl Fixture {
        fn new() -> Self {
            let profiles = [ResourceProfile::ANY, ResourceProfile::ANY];
            let mut table = SlotTable::new(EXECUTOR.into(), profiles, SLOT_TIMEOUT);
            table.connect(LEADER, INSTANCE);
            Self {
                now: Timestamp::ZERO,
                table,
            }
        }

        fn request(&mut self, request: &AllocateSlot) -> Result<Acknowledge, SlotAllocationError> {
            self.table.request_slot(request, self.now)
        }

        /// Requests slot 0, and expects a yes.
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
            assert_eq!(self.table.report(), before, "a refusal changes nothing");
        }

        fn holders(&self) -> [Option<AllocationId>; 2] {
            [0, 1].map(|slot_number| self.table.current_allocation(slot_number))
        }
    }

    fn acknowledged(revision: u64) -> Result<Acknowledge, SlotAllocationError> {
        Ok(Acknowledge::new().with_revision(revision))
    }

    fn slot(slot_number: u32) -> SlotId {
        SlotId::new(EXECUTOR, slot_number)
    }

    mod slot_requests {
        use super::*;

        #[test]
        fn without_a_connection_everything_is_refused_first() {
            let mut given = Fixture::new();
            given.table.disconnect();
            let mut request = request_slot(9, ALLOCATION, 1);
            request.leader_id = OTHER_LEADER;
            request.instance_id = OTHER_INSTANCE;
            given.assert_rejected(&request, "not connected to a resource manager");
        }

        #[test]
        fn another_leader_is_refused_before_another_instance() {
            let mut given = Fixture::new();
            let mut request = request_slot(9, ALLOCATION, 1);
            request.leader_id = OTHER_LEADER;
            request.instance_id = OTHER_INSTANCE;
            given.assert_rejected(&request, &format!("{OTHER_LEADER} is not the leader, {LEADER} is"));
        }

        #[test]
        fn another_instance_is_refused_before_an_unknown_slot() {
            let mut given = Fixture::new();
            let mut request = request_slot(9, ALLOCATION, 1);
            request.instance_id = OTHER_INSTANCE;
            let reason = format!("{OTHER_INSTANCE} is not the registration, {INSTANCE} is");
            given.assert_rejected(&request, &reason);
        }

        #[test]
        fn a_slot_it_does_not_have_is_refused() {
            let mut given = Fixture::new();
            given.assert_rejected(&request_slot(2, ALLOCATION, 1), "there is no slot tm_2");

            let mut foreign = request_slot(0, ALLOCATION, 1);
            foreign.slot_id = SlotId::new("another", 0);
            given.assert_rejected(&foreign, "there is no slot another_0");
        }

        #[test]
        fn a_free_slot_is_given_to_the_allocation() {
            let mut given = Fixture::new();
            assert_eq!(given.request(&request_slot(1, ALLOCATION, 1)), acknowledged(1));
            assert_eq!(given.holders(), [None, Some(ALLOCATION)]);
        }

        #[test]
        fn an_attempt_that_is_not_newer_than_the_last_free_is_refused() {
            let mut given = Fixture::new();
            given.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 5));
            given.assert_rejected(&request_slot(0, ALLOCATION, 4), "the attempt was given up");
            given.assert_rejected(&request_slot(0, ALLOCATION, 5), "the attempt was given up");
            given.allocate(ALLOCATION, 6);
        }

        #[test]
        fn the_last_free_of_one_slot_says_nothing_of_another() {
            let mut given = Fixture::new();
            given.table.free_slot(&free_slot(0, ALLOCATION, 5));
            given.allocate_slot(1, ALLOCATION, 4);
        }

        #[test]
        fn an_allocation_that_holds_another_slot_is_refused() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 1);
            given.assert_rejected(&request_slot(0, ALLOCATION, 2), "the allocation holds slot 1");
        }

        #[test]
        fn a_slot_of_another_allocation_is_occupied() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            assert_eq!(
                given.request(&request_slot(0, OTHER_ALLOCATION, 2)),
                Err(SlotAllocationError::Occupied {
                    allocation_id: ALLOCATION,
                    job_id: JOB
                })
            );
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn a_slot_of_the_same_allocation_of_another_job_is_occupied() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            let mut request = request_slot(0, ALLOCATION, 2);
            request.job_id = JobId::from_u128(0xbad);
            assert_eq!(
                given.request(&request),
                Err(SlotAllocationError::Occupied {
                    allocation_id: ALLOCATION,
                    job_id: JOB
                })
            );
        }

        #[test]
        fn an_occupied_slot_is_told_even_to_an_attempt_that_was_given_up() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 2));
            let answer = given.request(&request_slot(0, OTHER_ALLOCATION, 2));
            assert!(
                matches!(answer, Err(SlotAllocationError::Occupied { .. })),
                "{answer:?}"
            );
        }

        #[test]
        fn the_same_request_again_is_acknowledged_and_changes_nothing() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            let before = given.table.report();
            given.now = Timestamp::from_secs(1);
            assert_eq!(given.request(&request_slot(0, ALLOCATION, 2)), acknowledged(1));
            assert_eq!(given.table.report(), before);
            assert_eq!(given.table.next_timeout(), Some(Timestamp::ZERO + SLOT_TIMEOUT));
        }
    }

    mod free_requests {
        use super::*;

        #[test]
        fn what_is_held_under_that_attempt_or_an_older_one_is_freed() {
            for attempt in [3, 4] {
                let mut given = Fixture::new();
                given.allocate(ALLOCATION, 3);
                let freed = given.table.free_slot(&free_slot(0, ALLOCATION, attempt));
                assert_eq!(freed, Some(slot(0)));
                assert_eq!(given.holders(), [None, None]);
                assert_eq!(given.table.revision(), 2);
                assert_eq!(given.table.next_timeout(), None);
            }
        }

        #[test]
        fn what_is_held_under_a_newer_attempt_stays() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.allocate(ALLOCATION, 3);
            assert_eq!(given.table.free_slot(&free_slot(0, ALLOCATION, 2)), None);
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn an_older_request_that_arrives_late_does_not_make_the_attempt_older() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 3);
            given.allocate(ALLOCATION, 1);
            assert_eq!(given.table.free_slot(&free_slot(0, ALLOCATION, 2)), None);
        }

        #[test]
        fn what_another_allocation_or_job_holds_stays() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            assert_eq!(given.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 9)), None);
            let mut of_another_job = free_slot(0, ALLOCATION, 9);
            of_another_job.job_id = JobId::from_u128(0xbad);
            assert_eq!(given.table.free_slot(&of_another_job), None);
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn what_the_job_uses_stays() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.table.activate(ALLOCATION);
            assert_eq!(given.table.free_slot(&free_slot(0, ALLOCATION, 1)), None);
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn an_older_free_that_arrives_late_does_not_weaken_the_newer_one() {
            let mut given = Fixture::new();
            given.table.free_slot(&free_slot(0, ALLOCATION, 5));
            given.table.free_slot(&free_slot(0, ALLOCATION, 2));
            given.assert_rejected(&request_slot(0, ALLOCATION, 5), "the attempt was given up");
        }

        #[test]
        fn those_of_another_leader_or_registration_are_ignored() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            let mut of_another_leader = free_slot(0, ALLOCATION, 7);
            of_another_leader.leader_id = OTHER_LEADER;
            let mut of_another_instance = free_slot(0, ALLOCATION, 7);
            of_another_instance.instance_id = OTHER_INSTANCE;
            for request in [of_another_leader, of_another_instance, free_slot(2, ALLOCATION, 7)] {
                assert_eq!(given.table.free_slot(&request), None);
            }
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);

            given.table.free(ALLOCATION);
            given.allocate(ALLOCATION, 2);
        }
    }

    mod connections {
        use super::*;

        #[test]
        fn what_is_held_under_an_older_leader_is_older_than_any_attempt() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 100);
            given.table.connect(OTHER_LEADER, OTHER_INSTANCE);
            assert_eq!(given.holders(), [Some(ALLOCATION), None]);

            let mut free = free_slot(0, ALLOCATION, 0);
            free.leader_id = OTHER_LEADER;
            free.instance_id = OTHER_INSTANCE;
            assert_eq!(given.table.free_slot(&free), Some(slot(0)));
        }

        #[test]
        fn a_new_leader_starts_its_attempts_anew() {
            let mut given = Fixture::new();
            given.table.free_slot(&free_slot(0, ALLOCATION, 100));
            given.table.connect(OTHER_LEADER, INSTANCE);
            let mut request = request_slot(0, ALLOCATION, 1);
            request.leader_id = OTHER_LEADER;
            assert_eq!(given.request(&request), acknowledged(1));
        }

        #[test]
        fn a_new_registration_under_the_same_leader_remembers_the_attempts() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 100);
            given.table.free_slot(&free_slot(0, ALLOCATION, 100));
            given.table.disconnect();
            given.table.connect(LEADER, OTHER_INSTANCE);

            let mut request = request_slot(0, OTHER_ALLOCATION, 100);
            request.instance_id = OTHER_INSTANCE;
            given.assert_rejected(&request, "the attempt was given up");
            let mut free = free_slot(1, ALLOCATION, 99);
            free.instance_id = OTHER_INSTANCE;
            assert_eq!(given.table.free_slot(&free), None);
        }

        #[test]
        fn a_crash_leaves_the_slots_and_the_resource_id() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.table.activate(ALLOCATION);
            given.table.free_slot(&free_slot(1, ALLOCATION, 9));
            given.table.crash();

            assert_eq!(given.table.resource_id().as_str(), EXECUTOR);
            assert!(given.table.connection().is_none());
            assert_eq!(given.table.revision(), 0);
            assert_eq!(given.table.report().statuses().len(), 2);
            assert_eq!(given.holders(), [None, None]);
            given.assert_rejected(&request_slot(0, ALLOCATION, 2), "not connected to a resource manager");

            given.table.connect(LEADER, INSTANCE);
            given.allocate_slot(1, ALLOCATION, 2);
        }
    }

    mod jobs_and_time {
        use super::*;

        #[test]
        fn a_job_gives_its_slot_back() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 1);
            assert_eq!(given.table.activate(ALLOCATION), Some(slot(1)));
            assert_eq!(given.table.free(ALLOCATION), Some(slot(1)));
            assert_eq!(given.holders(), [None, None]);
            assert_eq!(given.table.revision(), 2);
        }

        #[test]
        fn an_allocation_without_a_slot_has_nothing_to_use_or_give_back() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            assert_eq!(given.table.activate(OTHER_ALLOCATION), None);
            assert_eq!(given.table.free(OTHER_ALLOCATION), None);
            assert_eq!(given.table.revision(), 1);
        }

        #[test]
        fn slots_nobody_uses_are_freed_in_the_order_in_which_they_fall_due() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 1);
            given.now = Timestamp::from_secs(1);
            given.allocate_slot(0, OTHER_ALLOCATION, 2);
            let due = Timestamp::ZERO + SLOT_TIMEOUT;
            assert_eq!(given.table.next_timeout(), Some(due));

            assert_eq!(given.table.expire(Timestamp::from_nanos(due.as_nanos() - 1)), []);
            assert_eq!(given.table.revision(), 2);
            assert_eq!(
                given.table.expire(Timestamp::from_secs(99)),
                [(slot(1), ALLOCATION), (slot(0), OTHER_ALLOCATION)]
            );
            assert_eq!(given.holders(), [None, None]);
            assert_eq!(given.table.revision(), 4);
            assert_eq!(given.table.next_timeout(), None);
        }

        #[test]
        fn a_slot_is_freed_exactly_when_it_falls_due() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 1);
            given.allocate_slot(0, OTHER_ALLOCATION, 2);
            assert_eq!(
                given.table.expire(Timestamp::ZERO + SLOT_TIMEOUT),
                [(slot(0), OTHER_ALLOCATION), (slot(1), ALLOCATION)],
                "equal ones by number"
            );
        }

        #[test]
        fn a_slot_in_use_does_not_expire() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.table.activate(ALLOCATION);
            given.allocate(ALLOCATION, 2);
            assert_eq!(given.table.next_timeout(), None);
            assert_eq!(given.table.expire(Timestamp::MAX), []);
        }

        #[test]
        fn a_timeout_beyond_the_clock_is_never() {
            let mut given = Fixture::new();
            given.table.set_slot_timeout(Duration::MAX);
            given.allocate(ALLOCATION, 1);
            assert_eq!(given.table.next_timeout(), None);
            assert_eq!(given.table.expire(Timestamp::MAX), []);
        }
    }

    mod slots {
        use super::*;

        #[test]
        fn the_report_lists_all_slots_by_number_with_the_revision() {
            let mut given = Fixture::new();
            given.allocate_slot(1, ALLOCATION, 1);
            assert_eq!(
                given.table.report(),
                SlotReport::new(vec![
                    SlotStatus::free(slot(0), ResourceProfile::ANY),
                    SlotStatus::allocated(slot(1), ResourceProfile::ANY, ALLOCATION, JOB),
                ])
                .with_revision(1)
            );
        }

        #[test]
        fn slots_can_be_added_changed_and_removed() {
            let mut given = Fixture::new();
            given.allocate(ALLOCATION, 1);
            given.table.set_slot(7, ResourceProfile::ZERO);
            given.table.set_slot(0, ResourceProfile::ZERO);
            assert_eq!(given.table.remove_slot(1), None);
            assert_eq!(
                given.table.report(),
                SlotReport::new(vec![
                    SlotStatus::allocated(slot(0), ResourceProfile::ZERO, ALLOCATION, JOB),
                    SlotStatus::free(slot(7), ResourceProfile::ZERO),
                ])
                .with_revision(4)
            );
            assert_eq!(given.table.remove_slot(0), Some(ALLOCATION));
            assert_eq!(given.table.free(ALLOCATION), None);
        }

        #[test]
        fn what_changes_nothing_keeps_the_revision() {
            let mut given = Fixture::new();
            given.table.set_slot(0, ResourceProfile::ANY);
            assert_eq!(given.table.remove_slot(9), None);
            assert_eq!(given.table.revision(), 0);
        }

        #[test]
        fn a_slot_that_comes_back_remembers_its_last_free() {
            let mut given = Fixture::new();
            given.table.free_slot(&free_slot(1, ALLOCATION, 3));
            given.table.remove_slot(1);
            given.table.set_slot(1, ResourceProfile::ANY);
            given.assert_rejected(&request_slot(1, ALLOCATION, 3), "the attempt was given up");
        }
    }
}
