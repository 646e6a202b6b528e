//! Inputs from jobs: requests, cancellations and freed slots.

use crate::error::{NotStarted, SlotRequestError};
use crate::outcome::{AllocationStatus, CancelOutcome, FreeSlotOutcome, SlotRequestOutcome};
use crate::{
    AllocationId, JobId, ResourceManagerActions, ScheduledExecutor, SlotId, SlotManager, SlotRequest,
    TaskExecutorGateway,
};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
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
        let fingerprint = Fingerprint::of(&allocation_id);
        if let Some(answer) = self.core.refuse(fingerprint, &request) {
            return answer;
        }
        tracing::debug!(job_id = %request.job_id(), %allocation_id, "slot request registered");
        match self.core.offered_for(request.resource_profile()) {
            Some(slot) => self.attempt_at_once(leader_id, slot, fingerprint, request),
            None => {
                let key = self.core.insert_request(fingerprint, request);
                self.core.enqueue(key);
                self.finish_registration(key)
            }
        }
    }

    /// Ends the registration of a recorded request: flushes, and returns the outcome of the
    /// request.
    pub(crate) fn finish_registration(&mut self, request: RequestKey) -> Result<SlotRequestOutcome, SlotRequestError> {
        let allocation_id = self.core.requests.records[request].allocation_id;
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
    /// # Errors
    /// [`NotStarted`]: nothing changed.
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
    /// assert_eq!(manager.unregister_slot_request(allocation_id)?, CancelOutcome::Cancelled);
    /// assert_eq!(manager.unregister_slot_request(allocation_id)?, CancelOutcome::Unknown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_slot_request(&mut self, allocation_id: AllocationId) -> Result<CancelOutcome, NotStarted> {
        self.begin_input()?;
        match self.core.find_allocation(allocation_id) {
            Some(AllocationEntry::Pending(request)) => {
                self.core.cancel(request);
                self.finish_input();
                tracing::debug!(%allocation_id, "slot request cancelled");
                Ok(CancelOutcome::Cancelled)
            }
            Some(AllocationEntry::Granted(slot)) => Ok(CancelOutcome::AlreadyGranted {
                slot_id: self.core.slot_id(slot),
            }),
            None => {
                tracing::debug!(%allocation_id, "unknown slot request not cancelled");
                Ok(CancelOutcome::Unknown)
            }
        }
    }

    /// Cancels all ungranted requests of a job that has ended. Returns the number of cancelled
    /// requests.
    ///
    /// Freed slots are matched once, after all requests are cancelled. The job's grants stay until
    /// they are freed.
    ///
    /// Cost: O(requests of the job) + matching.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
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
    /// assert_eq!(manager.unregister_job(JobId::from_u128(7))?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unregister_job(&mut self, job_id: JobId) -> Result<usize, NotStarted> {
        self.begin_input()?;
        let requests = self.core.requests.of_job(&job_id);
        for request in &requests {
            self.core.cancel(*request);
        }
        match requests.is_empty() {
            true => self.finish_unchanged_input(),
            false => self.finish_input(),
        }
        tracing::debug!(%job_id, requests = requests.len(), "job unregistered");
        Ok(requests.len())
    }

    /// Ends a grant: the task executor has freed the slot. The task executor is not told by this
    /// call.
    ///
    /// If the allocation is still in flight to the slot, its request was served and is over: it is
    /// granted and the grant ends.
    ///
    /// Cost: O(1) + matching.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
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
    /// // The slot holds the allocation until its task executor frees it.
    /// assert_eq!(manager.free_slot(&slot_id, allocation_id)?, FreeSlotOutcome::Freed);
    /// assert_eq!(manager.free_slot(&slot_id, allocation_id)?, FreeSlotOutcome::NotAllocated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn free_slot(&mut self, slot_id: &SlotId, allocation_id: AllocationId) -> Result<FreeSlotOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = match self.core.find_slot_holding(slot_id, allocation_id) {
            Some(slot) => self.core.freed(slot, allocation_id),
            None => FreeSlotOutcome::UnknownSlot,
        };
        tracing::debug!(%slot_id, %allocation_id, ?outcome, "slot freed");
        if let FreeSlotOutcome::Freed | FreeSlotOutcome::FreedInFlight = outcome {
            self.finish_input();
        }
        Ok(outcome)
    }
}
