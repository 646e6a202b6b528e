//! Inputs from jobs: requests, cancellations and freed slots.

use crate::error::{RequirementsError, SlotRequestError};
use crate::message::SlotFreed;
use crate::outcome::{AllocationStatus, CancelOutcome, RequirementsOutcome, SlotFreedOutcome, SlotRequestOutcome};
use crate::{
    AllocationId, JobId, ResourceManagerActions, ResourceRequirements, ScheduledExecutor, SlotManager, SlotRequest,
    TaskExecutorGateway,
};

use crate::slot_manager::state::allocations::AllocationEntry;
use crate::slot_manager::state::requests::RequestKey;

/// Inputs from jobs.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Registers the slot request of a job.
    ///
    /// A free slot that fits is requested from its task executor at once. Without one the request
    /// waits, and a worker is requested unless a promised slot fits. The request has one deadline
    /// from now on.
    ///
    /// A request with a known allocation id changes nothing: the outcome tells the status of the
    /// known one.
    ///
    /// # Where the result is heard of
    ///
    /// | result | within this call | later |
    /// |---|---|---|
    /// | granted | returned, **and** [`notify_slot_allocated`] | [`notify_slot_allocated`] |
    /// | failed | returned: [`Failed`](SlotRequestError::Failed), no notification | [`notify_allocation_failure`] |
    /// | refused: conflict, too many, not started | returned, no notification | never |
    /// | known already | returned: [`Duplicate`](SlotRequestOutcome::Duplicate) | as of the first request |
    /// | grant lost | [`notify_allocation_failure`], after the notified grant | [`notify_allocation_failure`] |
    /// | cancelled, freed | - | returned by the call that ends it, no notification |
    /// | dropped by [`suspend`](Self::suspend) | - | never: jobs request again from the next leader |
    ///
    /// [`notify_slot_allocated`]: ResourceManagerActions::notify_slot_allocated
    /// [`notify_allocation_failure`]: ResourceManagerActions::notify_allocation_failure
    ///
    /// Cost: O(1) + matching.
    ///
    /// # Errors
    /// - [`Conflict`](SlotRequestError::Conflict),
    ///   [`TooManyPendingRequests`](SlotRequestError::TooManyPendingRequests) and
    ///   [`NotStarted`](SlotRequestError::NotStarted) change nothing.
    /// - [`Failed`](SlotRequestError::Failed): the request failed within the call, for example
    ///   because the resource manager refused to start a worker. It is forgotten, and no
    ///   notification follows.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::outcome::{AllocationStatus, SlotRequestOutcome};
    /// use slot_manager::{AllocationId, JobId, ResourceProfile, SlotRequest};
    ///
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{LeaderId, SlotManager, SlotManagerConfig};
    /// # let mut manager = SlotManager::<_, ScriptedGateway, _>::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
    /// let outcome = manager.register_slot_request(request)?;
    /// // No task manager has registered yet.
    /// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Waiting));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register_slot_request(&mut self, request: SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
        let leader_id = self.begin_input()?;
        let allocation_id = request.allocation_id();
        let fingerprint = self.core.allocations.fingerprint(allocation_id);
        if let Some(answer) = self.core.refuse(fingerprint, &request) {
            return answer;
        }
        tracing::debug!(job_id = %request.job_id(), %allocation_id, "slot request registered");
        if self.core.has_failures() {
            let key = self.core.insert_request(fingerprint, request);
            self.core.place(key);
            return self.finish_registration(key, allocation_id);
        }
        let required = request.resource_profile();
        let slot = match self.core.offered_for(required) {
            None => self.core.cut_for_new(required),
            slot => slot,
        };
        match slot {
            Some(slot) => self.attempt_at_once(leader_id, slot, fingerprint, request),
            None => self.wait_at_once(fingerprint, request),
        }
    }

    /// Ends the registration of a request that was recorded: flushes, and returns the outcome of
    /// the request.
    #[inline]
    pub(crate) fn finish_registration(
        &mut self,
        request: RequestKey,
        allocation_id: AllocationId,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        self.finish_input();
        match self.core.effects.take_outcome(allocation_id) {
            Some(Ok(slot_id)) => Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })),
            Some(Err(failure)) => Err(SlotRequestError::Failed { allocation_id, failure }),
            None => {
                self.core.requests.link_job(request);
                let status = self.core.status_of(AllocationEntry::Pending(request));
                Ok(SlotRequestOutcome::Accepted(status))
            }
        }
    }

    /// Cancels a request of a job.
    ///
    /// An attempt in flight is given up and its task executor is told. The slot goes to the oldest
    /// waiting request that it fits. A granted request stays: free its slot instead.
    ///
    /// Cost: O(1) + matching.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// # let profile = ResourceProfile::builder().cpu_cores(2.0).build()?;
    /// # let allocation_id = AllocationId::from_u128(1);
    /// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile.clone(), "job-master-7");
    /// # let accepted = manager.register_slot_request(request)?;
    /// // The request waits: no slot has two cores.
    /// assert_eq!(manager.unregister_slot_request(allocation_id), CancelOutcome::Cancelled);
    /// assert_eq!(manager.unregister_slot_request(allocation_id), CancelOutcome::Unknown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_slot_request(&mut self, allocation_id: AllocationId) -> CancelOutcome {
        if self.begin_input().is_err() {
            return CancelOutcome::Unknown;
        }
        match self.core.locate_allocation(allocation_id) {
            Some(AllocationEntry::Pending(request)) if self.core.requests.records[request].is_declared => {
                tracing::debug!(%allocation_id, "declared slot request not cancelled");
                CancelOutcome::Declared
            }
            Some(AllocationEntry::Pending(request)) => {
                if !self.cancel_at_once(request) {
                    self.core.cancel(request);
                    self.finish_input();
                }
                tracing::debug!(%allocation_id, "slot request cancelled");
                CancelOutcome::Cancelled
            }
            Some(AllocationEntry::Granted(slot)) => CancelOutcome::AlreadyGranted {
                slot_id: self.core.slot_id(slot),
            },
            None => {
                tracing::debug!(%allocation_id, "unknown slot request not cancelled");
                CancelOutcome::Unknown
            }
        }
    }

    /// Declares the slots that a job needs in all, in place of its former declaration.
    ///
    /// The manager requests the slots that the job lacks, as many
    /// [requests](Self::register_slot_request) with allocation ids of its own choice and without a
    /// timeout. It withdraws requests that are not needed any more: those that back off first, then
    /// those that wait, then those in flight, and the newest first in each. A job either declares or
    /// requests slots one by one.
    ///
    /// Every slot that the job holds on a registered task manager counts: granted, or found in a
    /// report. It is charged to an equal declared profile, else to the fitting one that it wastes
    /// least on, else it is in excess. The manager takes no slot back.
    ///
    /// From then on the manager keeps as many slots granted as are declared:
    ///
    /// - A slot that is lost is requested again in the same call.
    /// - A slot that is freed is requested again after
    ///   [`requirement_check_delay`](crate::SlotManagerConfig::requirement_check_delay), or with the
    ///   next declaration.
    /// - A job that lacks slots for the
    ///   [`request_timeout`](crate::SlotManagerConfig::request_timeout), or that declares a slot that
    ///   nothing can serve, is [told](crate::ResourceManagerActions::notify_not_enough_resources)
    ///   once.
    ///
    /// Requirements of no slot end the declaration. They withdraw the requests, and take no slot
    /// back (FLINK-22180).
    ///
    /// At most 1,024 slots are requested in one call. The others follow within milliseconds, while
    /// the manager is driven.
    ///
    /// Cost: O(distinct profiles² + new requests + slots in excess) + matching, O(requests of the job)
    /// for each profile of withdrawn requests, and once O(slots) for the first declaration of a
    /// leadership. With
    /// [`fail_unfulfillable_requests`](crate::SlotManagerConfig::fail_unfulfillable_requests) also
    /// O(distinct profiles of waiting requests × distinct profiles of slots).
    ///
    /// # Errors
    /// All change nothing: [`NotStarted`](RequirementsError::NotStarted),
    /// [`TooManyPendingRequests`](RequirementsError::TooManyPendingRequests),
    /// [`HasSlotRequests`](RequirementsError::HasSlotRequests).
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::ResourceRequirements;
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    ///
    /// // One slot is free.
    /// let job_id = JobId::from_u128(7);
    /// let requirements = ResourceRequirements::new(job_id, "job-master-7").require(profile, 3)?;
    /// let outcome = manager.declare_requirements(&requirements)?;
    /// assert_eq!(outcome, RequirementsOutcome::Declared { requested: 3, withdrawn: 0, excess: 0 });
    /// assert_eq!(manager.pending_slot_requests().count(), 2);
    ///
    /// // The job needs nothing any more. It still holds the slot.
    /// let nothing = ResourceRequirements::new(job_id, "job-master-7");
    /// let outcome = manager.declare_requirements(&nothing)?;
    /// assert_eq!(outcome, RequirementsOutcome::Declared { requested: 0, withdrawn: 2, excess: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare_requirements(
        &mut self,
        requirements: &ResourceRequirements,
    ) -> Result<RequirementsOutcome, RequirementsError> {
        self.begin_input()?;
        let outcome = self.core.declare(requirements)?;
        if let RequirementsOutcome::Declared { .. } = outcome {
            self.finish_unchanged_input();
        }
        Ok(outcome)
    }

    /// Cancels all ungranted requests of a job that has ended. Returns the number of cancelled
    /// requests; zero while the manager is not started.
    ///
    /// The [declared](Self::declare_requirements) requirements of the job and their revision are
    /// forgotten. Each task executor that holds slots of a job that has declared is asked to
    /// [free those that nobody uses](TaskExecutorGateway::free_inactive_slots).
    ///
    /// Freed slots are matched once, after all requests are cancelled. The job's grants stay until
    /// [`slot_freed`](Self::slot_freed) ends each: let the task executors free their slots.
    ///
    /// Cost: O(requests of the job) + matching, and O(slots of the job) if it has declared.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// # let profile = ResourceProfile::builder().cpu_cores(2.0).build()?;
    /// # let allocation_id = AllocationId::from_u128(1);
    /// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile.clone(), "job-master-7");
    /// # let accepted = manager.register_slot_request(request)?;
    /// // The request waits: no slot has two cores.
    /// assert_eq!(manager.unregister_job(JobId::from_u128(7)), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_job(&mut self, job_id: JobId) -> usize {
        if self.begin_input().is_err() {
            return 0;
        }
        let requests = self.core.requests.of_job(&job_id);
        for request in &requests {
            self.core.note_cancelled(*request);
            self.core.cancel(*request);
        }
        let has_declared = self.core.ledger.is_on() && self.core.forget_requirements(job_id);
        match requests.is_empty() && !has_declared {
            true => self.finish_unchanged_input(),
            false => self.finish_input(),
        }
        tracing::debug!(%job_id, requests = requests.len(), "job unregistered");
        requests.len()
    }

    /// Ends a grant: the task executor *has* freed the slot, and is not told by this call.
    ///
    /// To give a slot back, first let its task executor free it, then pass its
    /// [`SlotFreed`] here. A slot that is given back by this call alone stays held for ever. A slot
    /// that is freed and only reported as free counts as a [lost](crate::message::GrantLoss) grant.
    ///
    /// If the allocation is still in flight to the slot, its request was served and is over: it is
    /// granted and the grant ends.
    ///
    /// Cost: O(1) + matching.
    ///
    /// # Example
    ///
    /// ```
    /// # use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
    /// # use slot_manager::{error::*, message::*, outcome::*, *};
    /// # let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
    /// # manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
    /// # let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
    /// # let (instance_id, slot_id) = (InstanceId::from_u128(1), SlotId::new("worker-1", 0));
    /// # let report = SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]);
    /// # let connection = TaskExecutorConnection::new("worker-1", instance_id, ScriptedGateway::new());
    /// # let registered = manager.register_task_manager(connection, &report)?;
    /// # let allocation_id = AllocationId::from_u128(1);
    /// # let request = SlotRequest::new(JobId::from_u128(7), allocation_id, profile.clone(), "job-master-7");
    /// # let accepted = manager.register_slot_request(request)?;
    /// // The task executor has freed the slot, which is revision 2 of its slot table.
    /// let freed = SlotFreed::new(slot_id, allocation_id).with_revision(instance_id, 2);
    /// assert_eq!(manager.slot_freed(&freed), SlotFreedOutcome::Freed);
    /// assert_eq!(manager.slot_freed(&freed), SlotFreedOutcome::NotAllocated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slot_freed(&mut self, freed: &SlotFreed) -> SlotFreedOutcome {
        if self.begin_input().is_err() {
            return SlotFreedOutcome::Unknown;
        }
        if self.free_at_once(freed) {
            tracing::debug!(slot_id = %freed.slot_id(), allocation_id = %freed.allocation_id(), "slot freed");
            return SlotFreedOutcome::Freed;
        }
        self.free_the_long_way(freed)
    }

    /// Ends a grant, or an attempt in flight, by the rules.
    pub(crate) fn free_the_long_way(&mut self, freed: &SlotFreed) -> SlotFreedOutcome {
        let (slot_id, allocation_id) = (freed.slot_id(), freed.allocation_id());
        let outcome = match self.core.find_slot(slot_id) {
            Some(slot) => self.core.freed(slot, freed),
            None => SlotFreedOutcome::Unknown,
        };
        tracing::debug!(%slot_id, %allocation_id, ?outcome, "slot freed");
        if let SlotFreedOutcome::Freed | SlotFreedOutcome::FreedInFlight = outcome {
            self.finish_input();
        }
        outcome
    }
}
