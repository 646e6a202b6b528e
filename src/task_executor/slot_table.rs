//! The rules of a task executor for its slots. They need neither a clock nor a network.

mod ended_attempts;
mod resources;

use std::collections::BTreeMap;
use std::time::Duration;

use self::ended_attempts::EndedAttempts;
use self::resources::TableResources;
use crate::error::SlotAllocationError;
use crate::id::FIRST_DYNAMIC;
use crate::message::{
    Acknowledge, AllocateSlot, Allocation, FreeInactiveSlots, FreeSlot, ReleaseCheck, ReleaseDecision, SlotFreed,
    SlotResult,
};
use crate::{
    AllocationId, DynamicResources, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotReport,
    SlotStatus, Timestamp,
};

/// The default of Flink's `taskmanager.slot.timeout`.
const DEFAULT_SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// The slots of a task executor, and the rules by which it gives them to allocations.
///
/// It is the task executor's half of the protocol, for the program that offers the slots. It has no
/// clock and sends nothing: the program passes the time, and sends the results to the manager.
///
/// - From the manager: [`request_slot`](Self::request_slot), [`free_slot`](Self::free_slot),
///   [`free_inactive_slots`](Self::free_inactive_slots) and
///   [`can_be_released`](Self::can_be_released).
/// - From the job: [`activate`](Self::activate) and [`free`](Self::free). When the job is gone,
///   [`free_job`](Self::free_job) frees all its slots.
/// - From the clock: [`expire`](Self::expire) frees slots that no job has begun to use.
///
/// A table is static or [dynamic](Self::dynamic). A static one has slots of its own. A dynamic one
/// cuts a slot for each request from the total of the worker.
///
/// # Order
///
/// **The table has one owner, and the results of its calls are sent in the order of the calls, on
/// one connection.** If tasks share the table, one lock must span both the call and the sending.
/// Otherwise a report that shows a slot as free can overtake its [`SlotFreed`]. The manager then
/// counts a lost grant and tells the job.
///
/// The *revision* counts the changes that a report shows. Acknowledgements, freed slots and reports
/// carry it, so the manager detects messages that overtook each other on the way.
///
/// # Example
///
/// A task executor that handles one event after the other:
///
/// ```
/// use slot_manager::message::{AllocateSlot, AttemptId, ReleaseCheck, ReleaseDecision, SlotFreed, SlotResult};
/// use slot_manager::task_executor::{TaskExecutorMessage, TaskSlotTable};
/// use slot_manager::{
///     AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotReport, Timestamp,
/// };
///
/// enum Event {
///     /// The resource manager answers the registration, which has brought it a report.
///     Registered(LeaderId, InstanceId),
///     FromManager(TaskExecutorMessage),
///     /// A job starts its work in the slot.
///     SlotUsed(AllocationId),
///     /// A job gives its slot back.
///     SlotGivenBack(AllocationId),
///     JobMasterLost(JobId),
///     /// The time is that of [`TaskSlotTable::next_timeout`].
///     SlotTimeout,
///     Heartbeat,
///     ConnectionLost,
/// }
///
/// #[derive(Debug, PartialEq)]
/// enum ToManager {
///     Answer(AttemptId, SlotResult),
///     Freed(SlotFreed),
///     Decision(ReleaseCheck, ReleaseDecision),
///     Report(SlotReport),
/// }
///
/// struct TaskExecutor {
///     table: TaskSlotTable,
///     /// The messages to the manager, in the order in which they leave.
///     outbox: Vec<ToManager>,
/// }
///
/// impl TaskExecutor {
///     fn handle(&mut self, event: Event, now: Timestamp) {
///         let freed = match event {
///             Event::Registered(leader_id, instance_id) => {
///                 self.table.connect(leader_id, instance_id);
///                 Vec::new()
///             }
///             Event::FromManager(TaskExecutorMessage::AllocateSlot(request)) => {
///                 let result = self.table.request_slot(&request, now);
///                 // If it succeeds, the slot is offered to the job at `request.target_address`.
///                 self.outbox.push(ToManager::Answer(request.attempt_id(), result));
///                 Vec::new()
///             }
///             Event::FromManager(TaskExecutorMessage::FreeSlot(request)) => {
///                 Vec::from_iter(self.table.free_slot(&request))
///             }
///             Event::FromManager(TaskExecutorMessage::FreeInactiveSlots(request)) => {
///                 self.table.free_inactive_slots(&request)
///             }
///             Event::FromManager(TaskExecutorMessage::CheckRelease(check)) => {
///                 self.outbox.push(ToManager::Decision(check, self.table.can_be_released(&check)));
///                 Vec::new()
///             }
///             // A message of a later version of the crate.
///             Event::FromManager(_) => Vec::new(),
///             Event::SlotUsed(allocation_id) => {
///                 if self.table.activate(allocation_id).is_none() {
///                     println!("allocation {allocation_id} has lost its slot: its work must not start");
///                 }
///                 Vec::new()
///             }
///             Event::SlotGivenBack(allocation_id) => Vec::from_iter(self.table.free(allocation_id)),
///             Event::JobMasterLost(job_id) => self.table.free_job(job_id),
///             Event::SlotTimeout => self.table.expire(now),
///             Event::Heartbeat => {
///                 self.outbox.push(ToManager::Report(self.table.report()));
///                 Vec::new()
///             }
///             Event::ConnectionLost => {
///                 self.table.disconnect();
///                 Vec::new()
///             }
///         };
///         self.outbox.extend(freed.into_iter().map(ToManager::Freed));
///     }
/// }
///
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let mut task_executor =
///     TaskExecutor { table: TaskSlotTable::new("worker-1", [profile.clone()]), outbox: Vec::new() };
/// let (leader_id, instance_id) = (LeaderId::from_u128(1), InstanceId::from_u128(1));
/// task_executor.handle(Event::Registered(leader_id, instance_id), Timestamp::ZERO);
///
/// let (slot_id, allocation_id) = (SlotId::new("worker-1", 0), AllocationId::from_u128(1));
/// let request = AllocateSlot {
///     slot_id: slot_id.clone(),
///     job_id: JobId::from_u128(7),
///     allocation_id,
///     resource_profile: profile,
///     target_address: "job-master-7".into(),
///     leader_id,
///     instance_id,
///     attempt: 1,
/// };
/// let attempt_id = request.attempt_id();
/// let request = Event::FromManager(TaskExecutorMessage::AllocateSlot(request));
/// task_executor.handle(request, Timestamp::from_secs(1));
/// task_executor.handle(Event::SlotUsed(allocation_id), Timestamp::from_secs(2));
/// task_executor.handle(Event::SlotGivenBack(allocation_id), Timestamp::from_secs(3));
///
/// let freed = SlotFreed::new(slot_id, allocation_id).with_revision(instance_id, 2).with_attempt(1);
/// assert!(matches!(&task_executor.outbox[0], ToManager::Answer(id, Ok(_)) if *id == attempt_id));
/// assert_eq!(task_executor.outbox[1..], [ToManager::Freed(freed)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TaskSlotTable {
    resource_id: ResourceId,
    /// The slots, by number. A dynamic table has only held ones.
    slots: BTreeMap<u32, TableSlot>,
    /// The resources from which a dynamic table cuts slots. `None` in a static one.
    resources: Option<TableResources>,
    slot_timeout: Duration,
    revision: u64,
    connection: Option<TableConnection>,
    ended_attempts: EndedAttempts,
}

/// The leadership and the registration that are accepted.
#[derive(Debug, Clone, Copy)]
struct TableConnection {
    leader_id: LeaderId,
    instance_id: InstanceId,
}

#[derive(Debug)]
struct TableSlot {
    resource_profile: ResourceProfile,
    holder: Option<SlotHolder>,
}

/// An allocation that holds a slot.
#[derive(Debug)]
struct SlotHolder {
    allocation: Allocation,
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

impl TaskSlotTable {
    /// Returns a table of free slots with these profiles, numbered from 0. It is not connected.
    ///
    /// A process that starts anew begins with a new table, at revision 0. It registers with a new
    /// instance id, so the manager does not compare revisions with those of the old process.
    ///
    /// ```
    /// use slot_manager::ResourceProfile;
    /// use slot_manager::task_executor::TaskSlotTable;
    ///
    /// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// let table = TaskSlotTable::new("worker-1", vec![profile; 4]);
    /// assert_eq!(table.report().statuses().len(), 4);
    /// assert_eq!((table.revision(), table.leader_id()), (0, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(resource_id: impl Into<ResourceId>, profiles: impl IntoIterator<Item = ResourceProfile>) -> Self {
        let slots = profiles.into_iter().map(TableSlot::free);
        Self::with_slots(resource_id.into(), (0..).zip(slots).collect(), None)
    }

    /// Returns the table of a dynamic worker with these resources. It has no slots, and is not
    /// connected.
    ///
    /// A request for a [dynamic slot](SlotId::dynamic) cuts it from the resources that remain. The
    /// manager chooses its number. When the slot is freed or removed, it is gone, and its resources
    /// remain again.
    ///
    /// The [report](Self::report) shows the total, the default slot, the resources that remain, and
    /// the held slots. The manager refuses it if the total is [`UNKNOWN`](ResourceProfile::UNKNOWN).
    /// The [free](DynamicResources::free) resources of `worker` are not used: the table counts them.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::error::SlotAllocationError;
    /// use slot_manager::message::AllocateSlot;
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// let cores = |cores| ResourceProfile::builder().cpu_cores(cores).build();
    /// let mut table = TaskSlotTable::dynamic("worker-1", cores(8.0)?);
    /// table.connect(LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// let request = AllocateSlot {
    ///     slot_id: SlotId::dynamic("worker-1", 0),
    ///     job_id: JobId::from_u128(7),
    ///     allocation_id: AllocationId::from_u128(1),
    ///     resource_profile: cores(5.0)?,
    ///     target_address: "job-master-7".into(),
    ///     leader_id: LeaderId::from_u128(1),
    ///     instance_id: InstanceId::from_u128(1),
    ///     attempt: 1,
    /// };
    /// table.request_slot(&request, Timestamp::ZERO)?;
    /// let report = table.report();
    /// assert_eq!(report.dynamic().and_then(|worker| worker.free()), Some(&cores(3.0)?));
    ///
    /// // Another slot of this size does not fit.
    /// let slot_id = SlotId::dynamic("worker-1", 1);
    /// let second = AllocateSlot { slot_id, allocation_id: AllocationId::from_u128(2), attempt: 2, ..request };
    /// let refused = SlotAllocationError::insufficient(cores(3.0)?);
    /// assert_eq!(table.request_slot(&second, Timestamp::ZERO), Err(refused));
    ///
    /// assert!(table.free(request.allocation_id).is_some());
    /// assert_eq!(table.report().statuses(), []);
    /// assert!(table.request_slot(&second, Timestamp::ZERO).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dynamic(resource_id: impl Into<ResourceId>, worker: impl Into<DynamicResources>) -> Self {
        let resources = TableResources::new(&worker.into());
        Self::with_slots(resource_id.into(), BTreeMap::new(), Some(resources))
    }

    fn with_slots(resource_id: ResourceId, slots: BTreeMap<u32, TableSlot>, resources: Option<TableResources>) -> Self {
        Self {
            resource_id,
            slots,
            resources,
            slot_timeout: DEFAULT_SLOT_TIMEOUT,
            revision: 0,
            connection: None,
            ended_attempts: EndedAttempts::default(),
        }
    }

    /// Sets the time within which a job must [use](Self::activate) a slot that was given to its
    /// allocation. Running timeouts do not change.
    ///
    /// The default is 10 seconds, that of Flink's `taskmanager.slot.timeout`.
    #[must_use]
    pub fn with_slot_timeout(mut self, timeout: Duration) -> Self {
        self.set_slot_timeout(timeout);
        self
    }

    pub(crate) fn set_slot_timeout(&mut self, timeout: Duration) {
        self.slot_timeout = timeout;
    }

    /// Returns the id of the worker process.
    pub fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    /// Returns the number of changes of the slots since the table was made.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the leadership that the table is connected to; `None` without a connection.
    pub fn leader_id(&self) -> Option<LeaderId> {
        self.connection.map(|connection| connection.leader_id)
    }

    /// Returns the registration that the table is connected with; `None` without a connection.
    pub fn instance_id(&self) -> Option<InstanceId> {
        self.connection.map(|connection| connection.instance_id)
    }

    /// Accepts a leadership and a registration. From now on, messages of other leaders and to other
    /// registrations are refused.
    ///
    /// Slots stay held. If the leader is another than before, all attempts of the earlier leader
    /// count as older than any new one.
    ///
    /// - If the task executor chooses the instance id, connect it before the
    ///   [report](Self::report) of the registration is made.
    /// - If the resource manager chooses it, [disconnect](Self::disconnect) before that report is
    ///   made, and connect when the answer arrives. The manager may request a slot within the call
    ///   that registers the worker. So the resource manager sends the answer before that call.
    ///
    /// Otherwise a slot that is freed after the report names the old registration, and the manager
    /// ignores it.
    ///
    /// Cost: O(slots).
    ///
    /// ```
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{InstanceId, LeaderId, ResourceProfile};
    ///
    /// let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// table.connect(LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// assert_eq!(table.instance_id(), Some(InstanceId::from_u128(1)));
    ///
    /// // The heartbeats of the resource manager stay away.
    /// table.disconnect();
    /// assert_eq!(table.instance_id(), None);
    /// ```
    pub fn connect(&mut self, leader_id: LeaderId, instance_id: InstanceId) {
        self.connection = Some(TableConnection { leader_id, instance_id });
        if self.ended_attempts.leader_id() != Some(leader_id) {
            self.ended_attempts = EndedAttempts::of_leader(leader_id);
            for holder in self.slots.values_mut().filter_map(|slot| slot.holder.as_mut()) {
                holder.attempt = None;
            }
        }
    }

    /// Ends the connection. Slots stay held, and every message is refused until the table is
    /// [connected](Self::connect) again.
    ///
    /// Jobs still use and free their slots. A [`SlotFreed`] of this time carries no revision and no
    /// attempt. Send it if the report of the next registration has left before. Otherwise that
    /// report shows it.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Forgets everything but the slots, or the resources, as a process that was started anew.
    #[cfg(feature = "test-util")]
    pub(crate) fn restart(&mut self) {
        self.connection = None;
        self.ended_attempts = EndedAttempts::default();
        self.revision = 0;
        if self.resources.is_some() {
            self.slots.clear();
        }
        for slot in self.slots.values_mut() {
            slot.holder = None;
        }
    }

    /// Changes the total and the default slot of a dynamic worker. Held slots stay as they are.
    ///
    /// If they exceed a resource of the new total, none of it remains until enough of them are freed.
    /// The manager learns of the change from the next [report](Self::report). A static table has no
    /// total: nothing changes.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{DynamicResources, ResourceProfile};
    ///
    /// let cores = |cores| ResourceProfile::builder().cpu_cores(cores).build();
    /// let mut table = TaskSlotTable::dynamic("worker-1", cores(8.0)?);
    /// table.set_resources(DynamicResources::new(cores(6.0)?).with_default_slot(cores(2.0)?));
    /// let report = table.report();
    /// assert_eq!(report.dynamic().map(|worker| worker.total()), Some(&cores(6.0)?));
    /// assert_eq!(report.revision(), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_resources(&mut self, worker: impl Into<DynamicResources>) {
        let changed = TableResources::new(&worker.into());
        if let Some(resources) = self.resources.as_mut().filter(|resources| **resources != changed) {
            *resources = changed;
            self.revision += 1;
        }
    }

    /// Adds a free slot, or changes the profile of the slot with this number. A held slot stays
    /// held.
    ///
    /// The manager learns of it from the next [report](Self::report).
    ///
    /// A dynamic table has no free slots, and a static one no [dynamic slots](SlotId::dynamic):
    /// then nothing changes.
    ///
    /// Cost: O(log slots).
    pub fn set_slot(&mut self, slot_number: u32, resource_profile: ResourceProfile) {
        if self.resources.is_some() || slot_number >= FIRST_DYNAMIC {
            return;
        }
        match self.slots.get_mut(&slot_number) {
            Some(slot) if slot.resource_profile == resource_profile => return,
            Some(slot) => slot.resource_profile = resource_profile,
            None => {
                self.slots.insert(slot_number, TableSlot::free(resource_profile));
            }
        }
        self.revision += 1;
    }

    /// Removes a slot. Returns the allocation that held it: stop its work.
    ///
    /// The manager learns of it from the next [report](Self::report), and tells the job that the
    /// grant is lost.
    ///
    /// Cost: O(log slots).
    pub fn remove_slot(&mut self, slot_number: u32) -> Option<Allocation> {
        let slot = self.slots.remove(&slot_number)?;
        self.revision += 1;
        Some(slot.holder?.allocation)
    }

    /// Handles a slot request. Send the result to the manager, with the
    /// [attempt](AllocateSlot::attempt_id) of the request.
    ///
    /// The first rule that applies decides. The order is that of Flink's task executor, with checks
    /// of the registration and the attempt added.
    ///
    /// 1. Without a connection, for another leader or registration, and for a slot that does not
    ///    exist, it refuses. Every [dynamic](SlotId::is_dynamic) slot of a dynamic table counts as
    ///    existing and free until it is cut. A slot of the other kind does not exist.
    /// 2. Another allocation or job holds the slot: [`Occupied`](SlotAllocationError::Occupied).
    /// 3. The allocation of the request holds the slot: it acknowledges again. The slot is then
    ///    held under the newer of the two attempts, and the slot timeout goes on.
    /// 4. The slot is free, but the last [`FreeSlot`] for it names this attempt or a newer one: it
    ///    refuses.
    /// 5. The slot is free, but the allocation holds another slot (FLINK-14589): it refuses.
    /// 6. A dynamic table cuts the requested resources from those that remain. For
    ///    [`UNKNOWN`](ResourceProfile::UNKNOWN) it cuts the default slot, and refuses if there is
    ///    none. If too little remains: [`Insufficient`](SlotAllocationError::Insufficient).
    /// 7. The slot is free: it gives the slot to the allocation, and the slot timeout begins.
    ///
    /// Cost: O(slots).
    ///
    /// # Errors
    /// [`SlotAllocationError`] with rules 1, 2, 4, 5 and 6. Nothing changes.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::AllocateSlot;
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// let request = AllocateSlot {
    ///     slot_id: SlotId::new("worker-1", 0),
    ///     job_id: JobId::from_u128(7),
    ///     allocation_id: AllocationId::from_u128(1),
    ///     resource_profile: ResourceProfile::ANY,
    ///     target_address: "job-master-7".into(),
    ///     leader_id: LeaderId::from_u128(1),
    ///     instance_id: InstanceId::from_u128(1),
    ///     attempt: 1,
    /// };
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_err(), "it is not connected");
    ///
    /// table.connect(request.leader_id, request.instance_id);
    /// let acknowledge = table.request_slot(&request, Timestamp::ZERO)?;
    /// assert_eq!(acknowledge.revision(), Some(1));
    /// # Ok::<(), slot_manager::error::SlotAllocationError>(())
    /// ```
    #[must_use = "the manager waits for the result"]
    pub fn request_slot(&mut self, request: &AllocateSlot, now: Timestamp) -> SlotResult {
        self.check_addressee(request.leader_id, request.instance_id)?;
        let slot_number = self.check_slot(&request.slot_id)?;
        match self.holder_mut(slot_number) {
            None => self.allocate(slot_number, request, now)?,
            Some(holder) if holder.belongs_to(request.job_id, request.allocation_id) => {
                holder.attempt = holder.attempt.max(Some(request.attempt));
            }
            Some(holder) => {
                return Err(SlotAllocationError::Occupied {
                    allocation_id: holder.allocation.id,
                    job_id: holder.allocation.job,
                });
            }
        }
        Ok(Acknowledge::new().with_revision(self.revision))
    }

    /// Handles the message of the manager that an allocation must not hold a slot. Send the result
    /// to the manager, if there is one.
    ///
    /// - A message of another leader, to another registration, or for an unknown slot is ignored.
    /// - From now on, requests for the slot with this attempt or an older one are refused while it
    ///   is free. That is so for a slot that a dynamic table has not cut yet, or not any more.
    ///   See [below](#memory-of-a-dynamic-table).
    /// - The slot becomes free if the allocation holds it under this attempt or an older one, and
    ///   its job does not [use](Self::activate) it.
    ///
    /// # Memory of a dynamic table
    ///
    /// A dynamic table sees ever new numbers. It remembers at most 1,024 of them, those of the newest
    /// attempts. All attempts up to the newest that it has forgotten are then refused, on every free
    /// number. So no request that was given up gets a slot. Another request is refused for that only
    /// after messages about at least 512 slots, with attempts that are not older than its own. They
    /// come before it only if they overtake it.
    ///
    /// Cost: O(log slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{AllocateSlot, FreeSlot};
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # table.connect(LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// # let request = AllocateSlot {
    /// #     slot_id: SlotId::new("worker-1", 0),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id: InstanceId::from_u128(1),
    /// #     attempt: 1,
    /// # };
    /// // The manager gives the attempt of `request` up, and its message overtakes the request.
    /// let free = FreeSlot {
    ///     slot_id: request.slot_id.clone(),
    ///     job_id: request.job_id,
    ///     allocation_id: request.allocation_id,
    ///     leader_id: request.leader_id,
    ///     instance_id: request.instance_id,
    ///     attempt: request.attempt,
    /// };
    /// assert_eq!(table.free_slot(&free), None);
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_err());
    ///
    /// // The next attempt comes before its free.
    /// let request = AllocateSlot { attempt: 2, ..request };
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_ok());
    /// let freed = table.free_slot(&FreeSlot { attempt: 2, ..free }).ok_or("the slot is held")?;
    /// assert_eq!(freed.allocation_id(), request.allocation_id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the manager must learn that the slot is free"]
    pub fn free_slot(&mut self, request: &FreeSlot) -> Option<SlotFreed> {
        self.check_addressee(request.leader_id, request.instance_id).ok()?;
        let slot_number = self.check_slot(&request.slot_id).ok()?;
        self.ended_attempts.note(slot_number, request.attempt);
        if self.resources.is_some() {
            self.ended_attempts.forget_oldest();
        }

        let holder = self.holder_mut(slot_number)?;
        let is_target =
            holder.belongs_to(request.job_id, request.allocation_id) && holder.attempt <= Some(request.attempt);
        let is_unused = matches!(holder.usage, HolderUsage::Reserved { .. });
        (is_target && is_unused).then(|| self.release(slot_number, request.allocation_id))
    }

    /// Handles the message of the manager that a job has ended: frees the slots of the job that are
    /// not [used](Self::activate), in the order of their numbers. Send the results to the manager.
    ///
    /// A message of another leader or to another registration is ignored. A slot that is held under
    /// a newer attempt than the message names stays held.
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{AllocateSlot, FreeInactiveSlots};
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # table.connect(LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// # let request = AllocateSlot {
    /// #     slot_id: SlotId::new("worker-1", 0),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id: InstanceId::from_u128(1),
    /// #     attempt: 1,
    /// # };
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_ok());
    /// let ended = FreeInactiveSlots {
    ///     job_id: request.job_id,
    ///     leader_id: request.leader_id,
    ///     instance_id: request.instance_id,
    ///     attempt: 1,
    /// };
    /// assert_eq!(table.free_inactive_slots(&ended).len(), 1);
    /// ```
    #[must_use = "the manager must learn that the slots are free"]
    pub fn free_inactive_slots(&mut self, request: &FreeInactiveSlots) -> Vec<SlotFreed> {
        if self.check_addressee(request.leader_id, request.instance_id).is_err() {
            return Vec::new();
        }
        let inactive = self.holders().filter(|(_, holder)| {
            holder.allocation.job == request.job_id
                && holder.attempt <= Some(request.attempt)
                && matches!(holder.usage, HolderUsage::Reserved { .. })
        });
        let inactive: Vec<_> = inactive
            .map(|(number, holder)| (number, holder.allocation.id))
            .collect();
        self.release_all(inactive)
    }

    /// Marks the slot of an allocation as used by its job. From now on, neither the slot timeout
    /// nor the manager frees it.
    ///
    /// Returns the slot, if the allocation holds one. Otherwise the slot was freed before the job
    /// came: refuse the work of the job.
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::AllocateSlot;
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # let (slot_id, instance_id) = (SlotId::new("worker-1", 0), InstanceId::from_u128(1));
    /// # table.connect(LeaderId::from_u128(1), instance_id);
    /// # let request = AllocateSlot {
    /// #     slot_id: slot_id.clone(),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id,
    /// #     attempt: 1,
    /// # };
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_ok());
    /// assert_eq!(table.activate(request.allocation_id), Some(slot_id));
    ///
    /// // The slot timeout does not end any more.
    /// assert_eq!(table.next_timeout(), None);
    /// assert_eq!(table.activate(AllocationId::from_u128(2)), None);
    /// ```
    #[must_use = "without a slot, the work of the job must not start"]
    pub fn activate(&mut self, allocation_id: AllocationId) -> Option<SlotId> {
        let slot_number = self.slot_of(allocation_id)?;
        self.holder_mut(slot_number)?.usage = HolderUsage::Active;
        Some(self.slot_id(slot_number))
    }

    /// Frees the slot of an allocation for its job, if the allocation holds one. Send the result to
    /// the manager.
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{AllocateSlot, SlotFreed};
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # let (slot_id, instance_id) = (SlotId::new("worker-1", 0), InstanceId::from_u128(1));
    /// # table.connect(LeaderId::from_u128(1), instance_id);
    /// # let request = AllocateSlot {
    /// #     slot_id: slot_id.clone(),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id,
    /// #     attempt: 1,
    /// # };
    /// # let allocation_id = request.allocation_id;
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_ok());
    /// assert_eq!(table.activate(allocation_id), Some(slot_id.clone()));
    ///
    /// let freed = SlotFreed::new(slot_id, allocation_id).with_revision(instance_id, 2).with_attempt(1);
    /// assert_eq!(table.free(allocation_id), Some(freed));
    /// assert_eq!(table.free(allocation_id), None);
    /// ```
    #[must_use = "the manager must learn that the slot is free"]
    pub fn free(&mut self, allocation_id: AllocationId) -> Option<SlotFreed> {
        let slot_number = self.slot_of(allocation_id)?;
        Some(self.release(slot_number, allocation_id))
    }

    /// Frees all slots of a job that is gone, in the order of their numbers. Send the results to
    /// the manager.
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{AllocateSlot, SlotFreed};
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # let (slot_id, instance_id) = (SlotId::new("worker-1", 0), InstanceId::from_u128(1));
    /// # table.connect(LeaderId::from_u128(1), instance_id);
    /// # let request = AllocateSlot {
    /// #     slot_id: slot_id.clone(),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id,
    /// #     attempt: 1,
    /// # };
    /// assert!(table.request_slot(&request, Timestamp::ZERO).is_ok());
    /// let freed = SlotFreed::new(slot_id, request.allocation_id).with_revision(instance_id, 2).with_attempt(1);
    /// assert_eq!(table.free_job(request.job_id), [freed]);
    /// ```
    #[must_use = "the manager must learn that the slots are free"]
    pub fn free_job(&mut self, job_id: JobId) -> Vec<SlotFreed> {
        let of_job = self.holders().filter(|(_, holder)| holder.allocation.job == job_id);
        let of_job: Vec<_> = of_job.map(|(number, holder)| (number, holder.allocation.id)).collect();
        self.release_all(of_job)
    }

    /// Frees the slots that were not [used](Self::activate) within the slot timeout. Send the
    /// results to the manager.
    ///
    /// They are ordered by the time at which they fell due, then by number.
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::AllocateSlot;
    /// # use slot_manager::task_executor::TaskSlotTable;
    /// # use slot_manager::{AllocationId, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, Timestamp};
    ///
    /// # let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// # table.connect(LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// # let request = AllocateSlot {
    /// #     slot_id: SlotId::new("worker-1", 0),
    /// #     job_id: JobId::from_u128(7),
    /// #     allocation_id: AllocationId::from_u128(1),
    /// #     resource_profile: ResourceProfile::ANY,
    /// #     target_address: "job-master-7".into(),
    /// #     leader_id: LeaderId::from_u128(1),
    /// #     instance_id: InstanceId::from_u128(1),
    /// #     attempt: 1,
    /// # };
    /// assert!(table.request_slot(&request, Timestamp::from_secs(5)).is_ok());
    /// assert_eq!(table.next_timeout(), Some(Timestamp::from_secs(15)));
    /// assert_eq!(table.expire(Timestamp::from_secs(14)), []);
    /// assert_eq!(table.expire(Timestamp::from_secs(15)).len(), 1);
    /// ```
    #[must_use = "the manager must learn that the slots are free"]
    pub fn expire(&mut self, now: Timestamp) -> Vec<SlotFreed> {
        let mut due: Vec<_> = self.timeouts().filter(|(until, ..)| *until <= now).collect();
        due.sort_unstable();
        self.release_all(
            due.into_iter()
                .map(|(_, number, allocation_id)| (number, allocation_id)),
        )
    }

    /// Returns the earliest time at which [`expire`](Self::expire) frees a slot.
    ///
    /// `None` if no slot timeout runs, or all end beyond the range of the clock.
    ///
    /// Cost: O(slots).
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timeouts().map(|(until, ..)| until).min()
    }

    /// Returns the allocation that holds the slot; `None` if the slot is free or does not exist.
    ///
    /// Cost: O(log slots).
    pub fn current_allocation(&self, slot_number: u32) -> Option<Allocation> {
        let holder = self.slots.get(&slot_number)?.holder.as_ref()?;
        Some(holder.allocation)
    }

    /// Returns the held slots with their allocations, by number.
    ///
    /// Cost: O(slots).
    ///
    /// ```
    /// use slot_manager::ResourceProfile;
    /// use slot_manager::task_executor::TaskSlotTable;
    ///
    /// /// Returns `true` if the process can end.
    /// fn is_idle(table: &TaskSlotTable) -> bool {
    ///     table.allocations().next().is_none()
    /// }
    ///
    /// assert!(is_idle(&TaskSlotTable::new("worker-1", [ResourceProfile::ANY])));
    /// ```
    pub fn allocations(&self) -> impl Iterator<Item = (u32, Allocation)> {
        self.holders().map(|(number, holder)| (number, holder.allocation))
    }

    /// Returns a report of all slots, ordered by number, with the revision.
    ///
    /// Send it with each registration, and with heartbeats.
    ///
    /// Cost: O(slots).
    ///
    /// ```
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{ResourceProfile, SlotId, SlotReport, SlotStatus};
    ///
    /// let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// table.set_slot(1, ResourceProfile::ANY);
    /// let statuses = [0, 1].map(|number| SlotStatus::free(SlotId::new("worker-1", number), ResourceProfile::ANY));
    /// assert_eq!(table.report(), SlotReport::new(statuses.to_vec()).with_revision(1));
    /// ```
    ///
    /// The report of a dynamic table has the held slots only, and the resources of the worker:
    ///
    /// ```
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{DynamicResources, ResourceProfile, SlotReport};
    ///
    /// let total = ResourceProfile::builder().cpu_cores(8.0).build()?;
    /// let table = TaskSlotTable::dynamic("worker-1", total.clone());
    /// let worker = DynamicResources::new(total.clone()).with_free(total);
    /// assert_eq!(table.report(), SlotReport::of_dynamic(worker, vec![]).with_revision(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> SlotReport {
        let statuses = self.slots.iter().map(|(slot_number, slot)| {
            let (slot_id, profile) = (self.slot_id(*slot_number), slot.resource_profile.clone());
            match &slot.holder {
                Some(SlotHolder { allocation, .. }) => {
                    SlotStatus::allocated(slot_id, profile, allocation.id, allocation.job)
                }
                None => SlotStatus::free(slot_id, profile),
            }
        });
        let report = match &self.resources {
            Some(resources) => SlotReport::of_dynamic(resources.reported(self.profiles()), statuses.collect()),
            None => statuses.collect(),
        };
        report.with_revision(self.revision)
    }

    /// Decides whether the task executor can be stopped. Send the decision to the manager, with the
    /// check.
    ///
    /// It is kept while an allocation holds a slot, or if the check is of another leader or for
    /// another registration. A program may have other reasons to keep it, for example results that
    /// are being read (FLINK-10941).
    ///
    /// Cost: O(slots).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::message::{ReleaseCheck, ReleaseDecision};
    /// use slot_manager::task_executor::TaskSlotTable;
    /// use slot_manager::{InstanceId, LeaderId, ResourceProfile};
    ///
    /// let (leader_id, instance_id) = (LeaderId::from_u128(1), InstanceId::from_u128(1));
    /// let mut table = TaskSlotTable::new("worker-1", [ResourceProfile::ANY]);
    /// let check = ReleaseCheck { instance_id, leader_id, number: 1 };
    /// assert_eq!(table.can_be_released(&check), ReleaseDecision::Keep);
    ///
    /// table.connect(leader_id, instance_id);
    /// assert_eq!(table.can_be_released(&check), ReleaseDecision::Release);
    /// ```
    #[must_use = "the manager waits for the decision"]
    pub fn can_be_released(&self, check: &ReleaseCheck) -> ReleaseDecision {
        let is_addressee = self.check_addressee(check.leader_id, check.instance_id).is_ok();
        match is_addressee && self.holders().next().is_none() {
            true => ReleaseDecision::Release,
            false => ReleaseDecision::Keep,
        }
    }

    /// Gives a free slot to the allocation of a request.
    fn allocate(
        &mut self,
        slot_number: u32,
        request: &AllocateSlot,
        now: Timestamp,
    ) -> Result<(), SlotAllocationError> {
        if self.ended_attempts.contains(slot_number, request.attempt) {
            return Err(SlotAllocationError::rejected("the attempt was given up"));
        }
        if let Some(other) = self.slot_of(request.allocation_id) {
            return Err(SlotAllocationError::rejected(format!(
                "the allocation holds slot {other}"
            )));
        }
        if let Some(resources) = &self.resources {
            let cut = resources.cut(&request.resource_profile, self.profiles())?;
            self.slots.insert(slot_number, TableSlot::free(cut));
        }
        let holder = SlotHolder {
            allocation: Allocation {
                id: request.allocation_id,
                job: request.job_id,
            },
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

    /// Returns the number of a slot that exists, or that a dynamic table may cut.
    fn check_slot(&self, slot_id: &SlotId) -> Result<u32, SlotAllocationError> {
        let slot_number = slot_id.slot_number();
        let reason = if *slot_id.resource_id() != self.resource_id {
            format!("there is no slot {slot_id}")
        } else if self.resources.is_some() {
            match slot_id.is_dynamic() {
                true => return Ok(slot_number),
                false => format!("there is no slot {slot_id}: the worker is dynamic"),
            }
        } else if slot_id.is_dynamic() {
            format!("the slot {slot_id} cannot be cut: the worker is static")
        } else if self.slots.contains_key(&slot_number) {
            return Ok(slot_number);
        } else {
            format!("there is no slot {slot_id}")
        };
        Err(SlotAllocationError::rejected(reason))
    }

    fn slot_id(&self, slot_number: u32) -> SlotId {
        SlotId::new(self.resource_id.clone(), slot_number)
    }

    fn profiles(&self) -> impl Iterator<Item = &ResourceProfile> {
        self.slots.values().map(|slot| &slot.resource_profile)
    }

    /// Returns the slot that an allocation holds.
    fn slot_of(&self, allocation_id: AllocationId) -> Option<u32> {
        let mut holders = self.holders();
        holders.find_map(|(slot_number, holder)| (holder.allocation.id == allocation_id).then_some(slot_number))
    }

    /// Returns the held slots with their holders, by number.
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
                Some((until, slot_number, holder.allocation.id))
            }
            HolderUsage::Reserved { .. } | HolderUsage::Active => None,
        })
    }

    /// Frees a slot that an allocation holds.
    fn release(&mut self, slot_number: u32, allocation_id: AllocationId) -> SlotFreed {
        let freed = SlotFreed::new(self.slot_id(slot_number), allocation_id);
        let mut attempt = None;
        if let Some(slot) = self.slots.get_mut(&slot_number) {
            attempt = slot.holder.take().and_then(|holder| holder.attempt);
            self.revision += 1;
        }
        if self.resources.is_some() {
            // The cut ends with its holder.
            self.slots.remove(&slot_number);
        }
        let Some(TableConnection { instance_id, .. }) = self.connection else {
            return freed;
        };
        let freed = freed.with_revision(instance_id, self.revision);
        match attempt {
            Some(attempt) => freed.with_attempt(attempt),
            None => freed,
        }
    }

    fn release_all(&mut self, slots: impl IntoIterator<Item = (u32, AllocationId)>) -> Vec<SlotFreed> {
        slots
            .into_iter()
            .map(|(slot_number, allocation_id)| self.release(slot_number, allocation_id))
            .collect()
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
        self.allocation.job == job_id && self.allocation.id == allocation_id
    }
}

#[cfg(test)]
mod tests;
