//! The rules of a task executor for its slots. It knows neither a clock nor a network.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::SlotAllocationError;
use crate::message::{Acknowledge, AllocateSlot, FreeSlot};
use crate::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotReport, SlotStatus, Timestamp,
};

/// The slots of a task executor, and the attempts that it must refuse.
#[derive(Debug)]
pub(super) struct SlotTable {
    resource_id: ResourceId,
    slots: BTreeMap<u32, TableSlot>,
    slot_timeout: Duration,
    revision: u64,
    connection: Option<TableConnection>,
    ended_attempts: EndedAttempts,
}

/// The leadership and the registration that are accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableConnection {
    pub(super) leader_id: LeaderId,
    pub(super) instance_id: InstanceId,
}

#[derive(Debug)]
struct TableSlot {
    resource_profile: ResourceProfile,
    holder: Option<SlotHolder>,
}

/// An allocation that holds a slot.
#[derive(Debug)]
struct SlotHolder {
    allocation_id: AllocationId,
    job_id: JobId,
    /// The latest attempt that requested the slot. `None` if it was made under another leader:
    /// older than any.
    attempt: Option<u64>,
    usage: HolderUsage,
}

#[derive(Debug)]
enum HolderUsage {
    /// The job does not use the slot yet. It is freed at this time unless the job begins to.
    Reserved { until: Timestamp },
    /// The job uses the slot.
    Active,
}

/// The last attempt that was given up on each slot, within one leadership.
#[derive(Debug, Default)]
struct EndedAttempts {
    leader_id: Option<LeaderId>,
    last_freed: BTreeMap<u32, u64>,
}

impl SlotTable {
    pub(super) fn new(
        resource_id: ResourceId,
        profiles: impl IntoIterator<Item = ResourceProfile>,
        slot_timeout: Duration,
    ) -> Self {
        let slots = profiles.into_iter().map(TableSlot::free);
        Self {
            resource_id,
            slots: (0..).zip(slots).collect(),
            slot_timeout,
            revision: 0,
            connection: None,
            ended_attempts: EndedAttempts::default(),
        }
    }

    pub(super) fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn connection(&self) -> Option<TableConnection> {
        self.connection
    }

    pub(super) fn set_slot_timeout(&mut self, timeout: Duration) {
        self.slot_timeout = timeout;
    }

    /// Accepts a leadership and a registration. Attempts of another leader become older than any.
    pub(super) fn connect(&mut self, leader_id: LeaderId, instance_id: InstanceId) {
        self.connection = Some(TableConnection { leader_id, instance_id });
        if self.ended_attempts.leader_id != Some(leader_id) {
            self.ended_attempts = EndedAttempts {
                leader_id: Some(leader_id),
                last_freed: BTreeMap::new(),
            };
            for holder in self.slots.values_mut().filter_map(|slot| slot.holder.as_mut()) {
                holder.attempt = None;
            }
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Forgets everything but the slots, as a process that was started anew.
    pub(super) fn crash(&mut self) {
        self.connection = None;
        self.ended_attempts = EndedAttempts::default();
        self.revision = 0;
        for slot in self.slots.values_mut() {
            slot.holder = None;
        }
    }

    pub(super) fn set_slot(&mut self, slot_number: u32, resource_profile: ResourceProfile) {
        match self.slots.get_mut(&slot_number) {
            Some(slot) if slot.resource_profile == resource_profile => return,
            Some(slot) => slot.resource_profile = resource_profile,
            None => {
                self.slots.insert(slot_number, TableSlot::free(resource_profile));
            }
        }
        self.revision += 1;
    }

    pub(super) fn remove_slot(&mut self, slot_number: u32) -> Option<AllocationId> {
        let slot = self.slots.remove(&slot_number)?;
        self.revision += 1;
        Some(slot.holder?.allocation_id)
    }

    /// Handles a slot request.
    ///
    /// The checks have the order of Flink's task executor. This crate adds those of instance id and
    /// attempt.
    pub(super) fn request_slot(
        &mut self,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<Acknowledge, SlotAllocationError> {
        self.check_addressee(request.leader_id, request.instance_id)?;
        let slot_number = self.check_slot(&request.slot_id)?;
        match self.holder_mut(slot_number) {
            None => self.allocate(slot_number, request, now)?,
            Some(holder) if holder.belongs_to(request.job_id, request.allocation_id) => {
                holder.attempt = holder.attempt.max(Some(request.attempt));
            }
            Some(holder) => {
                return Err(SlotAllocationError::Occupied {
                    allocation_id: holder.allocation_id,
                    job_id: holder.job_id,
                });
            }
        }
        Ok(Acknowledge::new().with_revision(self.revision))
    }

    /// Gives a free slot to the allocation of a request.
    fn allocate(
        &mut self,
        slot_number: u32,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<(), SlotAllocationError> {
        let last_freed = self.ended_attempts.last_freed.get(&slot_number);
        if last_freed.is_some_and(|freed| request.attempt <= *freed) {
            return Err(SlotAllocationError::rejected("the attempt was given up"));
        }
        if let Some(other) = self.slot_of(request.allocation_id) {
            return Err(SlotAllocationError::rejected(format!(
                "the allocation holds slot {other}"
            )));
        }
        let holder = SlotHolder {
            allocation_id: request.allocation_id,
            job_id: request.job_id,
            attempt: Some(request.attempt),
            usage: HolderUsage::Reserved {
                until: now + self.slot_timeout,
            },
        };
        if let Some(slot) = self.slots.get_mut(&slot_number) {
            slot.holder = Some(holder);
            self.revision += 1;
        }
        Ok(())
    }

    /// Handles the message that an attempt was given up. Returns the slot if it became free.
    pub(super) fn free_slot(&mut self, request: &FreeSlot) -> Option<SlotId> {
        self.check_addressee(request.leader_id, request.instance_id).ok()?;
        let slot_number = self.check_slot(&request.slot_id).ok()?;
        let last_freed = self.ended_attempts.last_freed.entry(slot_number).or_default();
        *last_freed = request.attempt.max(*last_freed);

        let holder = self.holder_mut(slot_number)?;
        let is_target =
            holder.belongs_to(request.job_id, request.allocation_id) && holder.attempt <= Some(request.attempt);
        let is_unused = matches!(holder.usage, HolderUsage::Reserved { .. });
        (is_target && is_unused).then(|| self.release(slot_number))
    }

    pub(super) fn activate(&mut self, allocation_id: AllocationId) -> Option<SlotId> {
        let slot_number = self.slot_of(allocation_id)?;
        self.holder_mut(slot_number)?.usage = HolderUsage::Active;
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
        let holder = self.slots.get(&slot_number)?.holder.as_ref()?;
        Some(holder.allocation_id)
    }

    pub(super) fn report(&self) -> SlotReport {
        let statuses = self.slots.iter().map(|(slot_number, slot)| {
            let (slot_id, profile) = (self.slot_id(*slot_number), slot.resource_profile.clone());
            match &slot.holder {
                Some(holder) => SlotStatus::allocated(slot_id, profile, holder.allocation_id, holder.job_id),
                None => SlotStatus::free(slot_id, profile),
            }
        });
        statuses.collect::<SlotReport>().with_revision(self.revision)
    }

    /// Checks that a message is from the leader and for the registration.
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

    /// Returns the number of a slot that exists.
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

    /// Returns the slot that an allocation holds.
    fn slot_of(&self, allocation_id: AllocationId) -> Option<u32> {
        let mut holders = self.holders();
        holders.find_map(|(slot_number, holder)| (holder.allocation_id == allocation_id).then_some(slot_number))
    }

    fn holders(&self) -> impl Iterator<Item = (u32, &SlotHolder)> {
        self.slots
            .iter()
            .filter_map(|(slot_number, slot)| Some((*slot_number, slot.holder.as_ref()?)))
    }

    fn holder_mut(&mut self, slot_number: u32) -> Option<&mut SlotHolder> {
        self.slots.get_mut(&slot_number)?.holder.as_mut()
    }

    /// Returns the slots that are held but not used, each with the time at which it is freed.
    ///
    /// Slots that would be freed at [`Timestamp::MAX`] are left out: that is never.
    fn timeouts(&self) -> impl Iterator<Item = (Timestamp, u32, AllocationId)> {
        self.holders().filter_map(|(slot_number, holder)| match holder.usage {
            HolderUsage::Reserved { until } if until < Timestamp::MAX => {
                Some((until, slot_number, holder.allocation_id))
            }
            HolderUsage::Reserved { .. } | HolderUsage::Active => None,
        })
    }

    /// Frees a slot.
    fn release(&mut self, slot_number: u32) -> SlotId {
        if let Some(slot) = self.slots.get_mut(&slot_number) {
            slot.holder = None;
            self.revision += 1;
        }
        self.slot_id(slot_number)
    }
}

impl TableSlot {
    fn free(resource_profile: ResourceProfile) -> Self {
        Self {
            resource_profile,
            holder: None,
        }
    }
}

impl SlotHolder {
    fn belongs_to(&self, job_id: JobId, allocation_id: AllocationId) -> bool {
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

    /// A connected table with two slots.
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
            fixture.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 5));
            fixture.assert_rejected(&request_slot(0, ALLOCATION, 4), "the attempt was given up");
            fixture.assert_rejected(&request_slot(0, ALLOCATION, 5), "the attempt was given up");
            fixture.allocate(ALLOCATION, 6);
        }

        #[test]
        fn last_free_of_one_slot_does_not_affect_another() {
            let mut fixture = Fixture::new();
            fixture.table.free_slot(&free_slot(0, ALLOCATION, 5));
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
            fixture.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 2));
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
                let freed = fixture.table.free_slot(&free_slot(0, ALLOCATION, attempt));
                assert_eq!(freed, Some(slot(0)));
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
            assert_eq!(fixture.table.free_slot(&free_slot(0, ALLOCATION, 2)), None);
            assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn late_older_request_does_not_make_the_attempt_older() {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 3);
            fixture.allocate(ALLOCATION, 1);
            assert_eq!(fixture.table.free_slot(&free_slot(0, ALLOCATION, 2)), None);
        }

        #[test]
        fn slot_held_by_another_allocation_or_job_stays() {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 1);
            assert_eq!(fixture.table.free_slot(&free_slot(0, OTHER_ALLOCATION, 9)), None);
            let mut of_another_job = free_slot(0, ALLOCATION, 9);
            of_another_job.job_id = JobId::from_u128(0xbad);
            assert_eq!(fixture.table.free_slot(&of_another_job), None);
            assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn slot_in_use_stays() {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 1);
            fixture.table.activate(ALLOCATION);
            assert_eq!(fixture.table.free_slot(&free_slot(0, ALLOCATION, 1)), None);
            assert_eq!(fixture.holders(), [Some(ALLOCATION), None]);
        }

        #[test]
        fn late_older_free_does_not_weaken_the_newer_one() {
            let mut fixture = Fixture::new();
            fixture.table.free_slot(&free_slot(0, ALLOCATION, 5));
            fixture.table.free_slot(&free_slot(0, ALLOCATION, 2));
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

            fixture.table.free(ALLOCATION);
            fixture.allocate(ALLOCATION, 2);
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
            assert_eq!(fixture.table.free_slot(&free), Some(slot(0)));
        }

        #[test]
        fn new_leader_starts_its_attempts_anew() {
            let mut fixture = Fixture::new();
            fixture.table.free_slot(&free_slot(0, ALLOCATION, 100));
            fixture.table.connect(OTHER_LEADER, INSTANCE);
            let mut request = request_slot(0, ALLOCATION, 1);
            request.leader_id = OTHER_LEADER;
            assert_eq!(fixture.request(&request), acknowledged(1));
        }

        #[test]
        fn new_registration_under_the_same_leader_remembers_the_attempts() {
            let mut fixture = Fixture::new();
            fixture.allocate_slot(1, ALLOCATION, 100);
            fixture.table.free_slot(&free_slot(0, ALLOCATION, 100));
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
        fn crash_keeps_the_slots_and_the_resource_id() {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 1);
            fixture.table.activate(ALLOCATION);
            fixture.table.free_slot(&free_slot(1, ALLOCATION, 9));
            fixture.table.crash();

            assert_eq!(fixture.table.resource_id().as_str(), EXECUTOR);
            assert!(fixture.table.connection().is_none());
            assert_eq!(fixture.table.revision(), 0);
            assert_eq!(fixture.table.report().statuses().len(), 2);
            assert_eq!(fixture.holders(), [None, None]);
            fixture.assert_rejected(&request_slot(0, ALLOCATION, 2), "not connected to a resource manager");

            fixture.table.connect(LEADER, INSTANCE);
            fixture.allocate_slot(1, ALLOCATION, 2);
        }
    }

    mod jobs_and_time {
        use super::*;

        #[test]
        fn job_frees_its_slot() {
            let mut fixture = Fixture::new();
            fixture.allocate_slot(1, ALLOCATION, 1);
            assert_eq!(fixture.table.activate(ALLOCATION), Some(slot(1)));
            assert_eq!(fixture.table.free(ALLOCATION), Some(slot(1)));
            assert_eq!(fixture.holders(), [None, None]);
            assert_eq!(fixture.table.revision(), 2);
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
                [(slot(1), ALLOCATION), (slot(0), OTHER_ALLOCATION)]
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
                [(slot(0), OTHER_ALLOCATION), (slot(1), ALLOCATION)],
                "at one time, by number"
            );
        }

        #[test]
        fn slot_in_use_does_not_expire() {
            let mut fixture = Fixture::new();
            fixture.allocate(ALLOCATION, 1);
            fixture.table.activate(ALLOCATION);
            fixture.allocate(ALLOCATION, 2);
            assert_eq!(fixture.table.next_timeout(), None);
            assert_eq!(fixture.table.expire(Timestamp::MAX), []);
        }

        #[test]
        fn timeout_beyond_the_clock_never_ends() {
            let mut fixture = Fixture::new();
            fixture.table.set_slot_timeout(Duration::MAX);
            fixture.allocate(ALLOCATION, 1);
            assert_eq!(fixture.table.next_timeout(), None);
            assert_eq!(fixture.table.expire(Timestamp::MAX), []);
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
            assert_eq!(fixture.table.remove_slot(0), Some(ALLOCATION));
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
            fixture.table.free_slot(&free_slot(1, ALLOCATION, 3));
            fixture.table.remove_slot(1);
            fixture.table.set_slot(1, ResourceProfile::ANY);
            fixture.assert_rejected(&request_slot(1, ALLOCATION, 3), "the attempt was given up");
        }
    }
}
