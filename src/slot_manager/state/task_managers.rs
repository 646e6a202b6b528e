//! The registrations of task managers.

use crate::{InstanceId, ResourceId, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::fingerprint_table::IdHasher;
use crate::slot_manager::collections::id_index::{IdIndex, Identified};
use crate::slot_manager::collections::linked_list::{Links, List, linked};
use crate::slot_manager::state::promises::WorkerRequestNumber;
use crate::slot_manager::state::slot_list::SlotList;
use crate::slot_manager::state::slots::SlotKey;

key! {
    /// A registration of a task manager.
    TaskManagerKey
}

/// A registration. The fields that most calls read come first and fill one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct TaskManager {
    pub(crate) resource_id: ResourceId,
    pub(crate) instance_id: InstanceId,
    /// All slots, ordered by number.
    pub(crate) slots: SlotList,
    /// The number of slots in flight.
    pub(crate) in_flight: u32,
    /// The number of allocated slots.
    pub(crate) allocated: u32,
    /// Boxed, because many task executors send no revisions.
    revisions: Option<Box<Revisions>>,
    /// The worker request of this leadership that the worker names.
    pub(crate) worker_request: Option<NamedWorkerRequest>,
    /// Set while no slot is in flight or allocated.
    pub(crate) idle_since: Option<Timestamp>,
    /// The number of idle periods, including the present one.
    pub(crate) idle_periods: u64,
    /// The end of the idle timeout; re-armed when a release is declined.
    pub(crate) release_at: Timestamp,
    registered_links: Links<TaskManagerKey>,
    idle_links: Links<TaskManagerKey>,
}

/// The worker request that a worker names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedWorkerRequest {
    pub(crate) number: WorkerRequestNumber,
    /// The first slots of the worker have ended the promise. Until then a worker without slots
    /// keeps it.
    pub(crate) has_come: bool,
}

/// The revisions that a task executor has sent.
#[derive(Debug, Default)]
struct Revisions {
    /// The highest revision of all reports and acknowledgements.
    highest: u64,
    /// The revision of the last applied report.
    reported: Option<u64>,
}

impl TaskManager {
    pub(crate) fn new(
        resource_id: ResourceId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestNumber>,
    ) -> Self {
        Self {
            resource_id,
            instance_id,
            worker_request: worker_request.map(|number| NamedWorkerRequest {
                number,
                has_come: false,
            }),
            slots: SlotList::default(),
            in_flight: 0,
            allocated: 0,
            revisions: None,
            idle_since: None,
            idle_periods: 0,
            release_at: Timestamp::MAX,
            registered_links: Links::default(),
            idle_links: Links::default(),
        }
    }

    /// Returns the slot with this number.
    ///
    /// Cost: O(1) if the numbers are 0, 1, 2, ...; else O(log slots).
    pub(crate) fn slot(&self, number: u32) -> Option<SlotKey> {
        match self.slots.get(number as usize) {
            Some((found, slot)) if *found == number => Some(*slot),
            _ => self
                .slots
                .binary_search_by_key(&number, |(number, _)| *number)
                .ok()
                .map(|at| self.slots[at].1),
        }
    }

    /// Returns the worker request that the worker names and has not brought slots for.
    pub(crate) fn expected_worker_request(&self) -> Option<WorkerRequestNumber> {
        let named = self.worker_request.filter(|named| !named.has_come)?;
        Some(named.number)
    }

    /// Returns the number of slots in flight or allocated.
    pub(crate) fn used(&self) -> usize {
        self.in_flight as usize + self.allocated as usize
    }

    /// Returns the highest revision of all reports and acknowledgements.
    pub(crate) fn highest_revision(&self) -> Option<u64> {
        self.revisions.as_ref().map(|revisions| revisions.highest)
    }

    /// Returns the revision of the last applied report.
    pub(crate) fn reported_revision(&self) -> Option<u64> {
        self.revisions.as_ref()?.reported
    }

    /// Records the revision of an acknowledgement.
    pub(crate) fn see_revision(&mut self, revision: u64) {
        let revisions = self.revisions.get_or_insert_default();
        revisions.highest = revisions.highest.max(revision);
    }

    /// Records the revision of an applied report.
    pub(crate) fn see_reported_revision(&mut self, revision: u64) {
        self.see_revision(revision);
        self.revisions.get_or_insert_default().reported = Some(revision);
    }
}

impl Identified<InstanceId> for TaskManager {
    fn id(&self) -> &InstanceId {
        &self.instance_id
    }
}

impl Identified<ResourceId> for TaskManager {
    fn id(&self) -> &ResourceId {
        &self.resource_id
    }
}

/// The kind of the list of all registrations, oldest first.
#[derive(Debug)]
pub(crate) enum RegistrationOrder {}

/// The kind of the list of idle task managers.
#[derive(Debug)]
pub(crate) enum Idle {}

linked!(TaskManager, TaskManagerKey, RegistrationOrder => registered_links, Idle => idle_links);

impl Timed<Idle, TaskManagerKey> for TaskManager {
    fn due_at(&self) -> Timestamp {
        self.release_at
    }
}

/// All registrations.
#[derive(Debug)]
pub(crate) struct TaskManagers {
    pub(crate) records: Arena<TaskManagerKey, TaskManager>,
    pub(crate) registered: List<RegistrationOrder, TaskManagerKey>,
    pub(crate) idle: DeadlineList<Idle, TaskManagerKey>,
    by_instance: IdIndex<InstanceId, TaskManagerKey>,
    by_resource: IdIndex<ResourceId, TaskManagerKey>,
}

impl TaskManagers {
    pub(crate) fn new(hasher: &IdHasher) -> Self {
        Self {
            records: Arena::new(),
            registered: List::default(),
            idle: DeadlineList::default(),
            by_instance: IdIndex::with_hasher(hasher.clone()),
            by_resource: IdIndex::with_hasher(hasher.clone()),
        }
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.records.reserve(additional);
        self.by_instance.reserve(additional);
        self.by_resource.reserve(additional);
    }

    /// Adds a registration with unknown ids. It is not in the idle list yet.
    pub(crate) fn insert(&mut self, task_manager: TaskManager) -> TaskManagerKey {
        let key = self.records.insert(task_manager);
        self.registered.push_back(&mut self.records, key);
        self.by_instance.insert(&self.records, key);
        self.by_resource.insert(&self.records, key);
        key
    }

    /// Removes a registration that is not in the idle list.
    pub(crate) fn remove(&mut self, key: TaskManagerKey) {
        self.registered.remove(&mut self.records, key);
        self.by_instance.remove(&self.records, key);
        self.by_resource.remove(&self.records, key);
        self.records.remove(key);
    }

    pub(crate) fn by_instance(&self, id: &InstanceId) -> Option<TaskManagerKey> {
        self.by_instance.find(&self.records, id)
    }

    pub(crate) fn by_resource(&self, id: &ResourceId) -> Option<TaskManagerKey> {
        self.by_resource.find(&self.records, id)
    }

    /// Returns the numbers of registrations in the two indexes; for the check of invariants.
    pub(crate) fn indexed(&self) -> (usize, usize) {
        (self.by_instance.len(), self.by_resource.len())
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.registered = List::default();
        self.idle = DeadlineList::default();
        self.by_instance.clear();
        self.by_resource.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_take_at_most_one_or_two_cache_lines() {
        assert!(
            size_of::<Option<TaskManager>>() <= 128,
            "{}",
            size_of::<Option<TaskManager>>()
        );
        assert!(size_of::<Option<crate::slot_manager::state::slots::Slot>>() <= 64);
        assert!(size_of::<Option<crate::slot_manager::state::requests::PendingRequest>>() <= 128);
    }
}
