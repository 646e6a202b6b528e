//! The manager: its life cycle and its inputs. How each works is in the modules below.

use std::sync::Arc;

use crate::{
    AllocationId, AllocationStatus, BlockOutcome, CancelOutcome, ConfigError, FreeSlotOutcome, GrantLoss, InstanceId,
    JobId, LeaderId, NotStarted, RegistrationOutcome, ReleaseAnswer, ReleaseAnswerOutcome, ReleaseQuestion,
    ReportOutcome, ResourceId, ResourceManagerActions, ScheduledExecutor, SlotId, SlotManagerConfig, SlotReport,
    SlotReportError, SlotRequest, SlotRequestError, SlotRequestOutcome, StartError, TaskExecutorConnection,
    TaskExecutorGateway, UnblockOutcome, UnregistrationOutcome, WorkerFailedOutcome, WorkerRequestId,
};

mod collections;
mod driving;
mod invariants;
mod outside;
mod queries;
mod rules;
mod state;

pub use self::invariants::InvariantViolation;
pub use self::queries::views::{
    PendingSlotRequest, PromisedSlot, PromisedSlotCounts, SlotState, TaskManagerRegistration, TaskManagerSlot,
};
pub use self::state::core::SlotCounts;

use self::collections::arena::Key;
use self::collections::fingerprint_table::Fingerprint;
use self::outside::driver::Driver;
use self::state::allocations::Holder;
use self::state::core::{Core, Registering};
use self::state::requests::RequestKey;
use self::state::slots::SlotKey;

/// Decides which slot serves which request.
///
/// It owns the view of all task managers, their slots and all unserved requests. Whoever embeds it calls an input for
/// everything that happens, and drives it: [`progress`](Self::progress) in an async task, or
/// [`run_until_stalled`](Self::run_until_stalled) without one. The [crate documentation](crate) has the loop.
///
/// Inputs run to completion: when one returns, what it caused has been said through the traits, in a fixed order. They
/// never act on time.
///
/// Ids are looked up in O(1). Costs below are on top of that; *matching* costs one comparison for each distinct profile
/// among the free slots or the waiting requests. Once its tables have grown, the manager allocates nothing for requests,
/// their answers, cancellations, freed slots and reports that change nothing. A table that grows moves all it has, see
/// [`Capacity`](crate::Capacity); what a peak took is given back when nothing of it is left.
///
/// With limits, reserves and the like configured, each call that changes something ends with a look at them: O(1) where
/// nothing is to be done, O(slots of one task manager + blocked task managers) while idle task managers are kept, O(log)
/// for each request that is held, and O(distinct profiles of waiting requests x distinct profiles of slots) when the last
/// slot of some profile is gone and requests that nothing could serve are to fail.
///
/// ```
/// use slot_manager::testing::{ManualScheduledExecutor, RecordingActions, ScriptedGateway};
/// use slot_manager::{
///     AllocationId, AllocationStatus, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager,
///     SlotManagerConfig, SlotReport, SlotRequest, SlotRequestOutcome, SlotStatus, TaskExecutorConnection,
/// };
///
/// let mut manager = SlotManager::new(SlotManagerConfig::default(), ManualScheduledExecutor::new())?;
/// manager.start(LeaderId::from_u128(1), RecordingActions::new())?;
///
/// let profile = ResourceProfile::builder().cpu_cores(1.0).build()?;
/// let slot_id = SlotId::new("worker-1", 0);
/// manager.register_task_manager(
///     TaskExecutorConnection::new("worker-1", InstanceId::from_u128(1), ScriptedGateway::new()),
///     &SlotReport::new(vec![SlotStatus::free(slot_id.clone(), profile.clone())]),
/// )?;
///
/// let request = SlotRequest::new(JobId::from_u128(7), AllocationId::from_u128(1), profile, "job-master-7");
/// let outcome = manager.register_slot_request(request)?;
/// assert_eq!(outcome, SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SlotManager<A, G: TaskExecutorGateway, E: ScheduledExecutor> {
    core: Core,
    driver: Driver<A, G, E>,
}

/// Life cycle.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A manager that is not started.
    ///
    /// # Errors
    /// What [`SlotManagerConfig::validate`] says.
    pub fn new(config: SlotManagerConfig, scheduled_executor: E) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            core: Core::new(config),
            driver: Driver::new(scheduled_executor),
        })
    }

    /// Begins a leadership, and takes the memory that [`SlotManagerConfig::initial_capacity`] asks for. If there are to be
    /// [slots from the beginning](SlotManagerConfig::min_slots), workers are asked for within the call.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`] if it is started (FLINK-5810 kept the state of the former leader);
    /// [`StartError::OutOfMemory`] if there is not so much memory. Nothing changed.
    pub fn start(&mut self, leader_id: LeaderId, actions: A) -> Result<(), StartError> {
        if let Some(leader_id) = self.core.leader_id {
            return Err(StartError::AlreadyStarted { leader_id });
        }
        let capacity = self.core.config.initial_capacity;
        if self
            .core
            .try_reserve()
            .and_then(|()| self.driver.try_reserve(capacity))
            .is_err()
        {
            self.core.clear();
            return Err(StartError::OutOfMemory { capacity });
        }
        self.core.leader_id = Some(leader_id);
        self.driver.start(actions);
        tracing::info!(%leader_id, "slot manager started");
        self.core.begin_input(self.driver.now());
        self.core.demand.start(&self.core.config, self.core.now);
        self.finish_input();
        Ok(())
    }

    /// Ends a leadership and gives the actions back; `None` if it was not started.
    ///
    /// Everything is dropped silently: no notification, no word to task executors. The next leader learns from their
    /// reports. O(everything).
    pub fn suspend(&mut self) -> Option<A> {
        let actions = self.driver.suspend()?;
        tracing::info!(leader_id = ?self.core.leader_id, "slot manager suspended");
        self.core.clear();
        Some(actions)
    }

    /// [`suspend`](Self::suspend)s for good.
    pub fn close(mut self) -> Option<A> {
        self.suspend()
    }

    /// The actions, while started.
    pub fn actions_mut(&mut self) -> Option<&mut A> {
        self.driver.actions_mut()
    }

    /// The configuration.
    pub fn config(&self) -> &SlotManagerConfig {
        &self.core.config
    }

    /// The leadership, while started.
    pub fn leader_id(&self) -> Option<LeaderId> {
        self.core.leader_id
    }
}

/// Inputs: what jobs ask for.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A job asks for a slot. O(1) + matching.
    ///
    /// A fitting free slot is asked for at once; without one the request waits, and a worker is asked for unless a
    /// promised slot covers it. From now on it has one deadline, whatever happens to it. A request whose allocation id
    /// is known changes nothing; the outcome says what the known one is doing.
    ///
    /// # Errors
    /// - [`Conflict`](SlotRequestError::Conflict), [`TooManyPendingRequests`](SlotRequestError::TooManyPendingRequests)
    ///   and [`NotStarted`](SlotRequestError::NotStarted): nothing changed.
    /// - [`Failed`](SlotRequestError::Failed): the request failed within the call, because the resource manager refused
    ///   to start a worker for it, for example; it is forgotten and not notified.
    pub fn register_slot_request(&mut self, request: SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
        let leader_id = self.begin_input()?;
        let allocation_id = request.allocation_id();
        let fingerprint = Fingerprint::of(&allocation_id);
        if let Some(holder) = self.core.find_allocation_by(fingerprint, allocation_id) {
            return self.core.duplicate(holder, &request);
        }
        if let Some(limit) = self.core.config.max_pending_requests {
            if self.core.requests.records.len() >= limit {
                let job_id = request.job_id();
                tracing::warn!(%job_id, %allocation_id, limit, "slot request refused: too many pending");
                return Err(SlotRequestError::TooManyPendingRequests { limit });
            }
        }
        tracing::debug!(job_id = %request.job_id(), %allocation_id, "slot request registered");
        match self.core.offered_for(request.resource_profile()) {
            Some(slot) => self.attempt_at_once(leader_id, slot, fingerprint, request),
            None => {
                let key = self.core.insert_request(fingerprint, request);
                self.core.wait(key);
                self.finish_registration(key, false)
            }
        }
    }

    /// A job withdraws a request. O(1) + matching.
    ///
    /// If it is in flight, the attempt is given up, its task executor told, and the slot goes to the oldest waiting
    /// request that it fits.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_slot_request(&mut self, allocation_id: AllocationId) -> Result<CancelOutcome, NotStarted> {
        self.begin_input()?;
        match self.core.find_allocation(allocation_id) {
            Some(Holder::Pending(request)) => {
                self.core.cancel(request);
                self.core.settle();
                self.finish_input();
                tracing::debug!(%allocation_id, "slot request cancelled");
                Ok(CancelOutcome::Cancelled)
            }
            Some(Holder::Granted(slot)) => Ok(CancelOutcome::AlreadyGranted {
                slot_id: self.core.slot_id(slot),
            }),
            None => {
                tracing::debug!(%allocation_id, "unknown slot request not cancelled");
                Ok(CancelOutcome::Unknown)
            }
        }
    }

    /// A job is gone: withdraws all its ungranted requests, and matches once. Returns how many they were. O(its
    /// requests) + matching.
    ///
    /// Its grants stay until they are freed.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_job(&mut self, job_id: JobId) -> Result<usize, NotStarted> {
        self.begin_input()?;
        let requests = self.core.requests.of_job(&job_id);
        for request in &requests {
            self.core.cancel(*request);
        }
        self.core.settle();
        self.finish_input();
        tracing::debug!(%job_id, requests = requests.len(), "job unregistered");
        Ok(requests.len())
    }

    /// A slot was freed by its task executor or its job. O(1) + matching.
    ///
    /// If the allocation is still in flight to the slot, it was served and is over: the request is granted and the
    /// grant ends.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn free_slot(&mut self, slot_id: &SlotId, allocation_id: AllocationId) -> Result<FreeSlotOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = match self.core.find_slot_held(slot_id, allocation_id) {
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

/// Inputs: what happens to workers.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A task manager registers, with its first report. O(slots in it) + matching for each free one.
    ///
    /// - A known instance id: the same as [`report_slot_status`](Self::report_slot_status); the connection is dropped.
    /// - A new instance id of a known worker: the new registration takes the place of the old one in one transaction.
    ///   Attempts in flight to the old one are given up and their requests look for another slot; only what the report
    ///   does not show any more is lost.
    /// - A new worker, with whose slots there would be more than a [limit](SlotManagerConfig::max_slots) allows: it is
    ///   refused, and nothing changes; unless a slot of it holds an allocation or takes the place of a promised one.
    ///
    /// Free slots that were not known take the place of promised ones.
    ///
    /// # Errors
    /// All leave the state as it was and drop the connection: [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot),
    /// [`InstanceOfAnotherWorker`](SlotReportError::InstanceOfAnotherWorker),
    /// [`NotStarted`](SlotReportError::NotStarted).
    pub fn register_task_manager(
        &mut self,
        connection: TaskExecutorConnection<G>,
        report: &SlotReport,
    ) -> Result<RegistrationOutcome, SlotReportError> {
        self.begin_input()?;
        let TaskExecutorConnection {
            resource_id,
            instance_id,
            worker_request,
            gateway,
        } = connection;
        let registration = self
            .core
            .register_task_manager(&resource_id, instance_id, worker_request, report)?;
        if let Some(ended) = registration.ended {
            self.driver.remove_gateway(ended.index());
        }
        if let Some(begun) = registration.begun {
            self.driver.insert_gateway(begun.index(), gateway);
        }
        let changes_nothing = matches!(
            registration.outcome,
            RegistrationOutcome::Refused { .. } | RegistrationOutcome::Reported(ReportOutcome::Ignored(_))
        );
        if !changes_nothing {
            self.finish_input();
        }
        Ok(registration.outcome)
    }

    /// A task manager is gone. O(its slots) + matching for each request that was in flight to it.
    ///
    /// Its slots are forgotten, its grants are lost (notified, in the order of the slots), requests in flight to it
    /// look for another slot.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unregister_task_manager(
        &mut self,
        instance_id: InstanceId,
        cause: impl Into<Arc<str>>,
    ) -> Result<UnregistrationOutcome, NotStarted> {
        self.begin_input()?;
        let Some(task_manager) = self.core.task_managers.by_instance(&instance_id) else {
            tracing::debug!(%instance_id, "unknown task manager not unregistered");
            return Ok(UnregistrationOutcome::Unknown);
        };
        let cause = cause.into();
        tracing::info!(%instance_id, %cause, "task manager unregistered");
        self.core
            .detach_task_manager(task_manager, GrantLoss::TaskManagerUnregistered { instance_id, cause });
        self.driver.remove_gateway(task_manager.index());
        self.core.settle();
        self.finish_input();
        Ok(UnregistrationOutcome::Unregistered)
    }

    /// A task manager reports its slots. O(slots in it) + matching for each that became free; an unchanged slot
    /// allocates nothing.
    ///
    /// The report is the truth: it is checked whole, then the view is brought to it, then waiting requests are matched
    /// once. Only an attempt in flight to a slot that is reported as free goes on, because the report may be older than
    /// the request.
    ///
    /// # Errors
    /// All leave the state as it was: [`ForeignSlot`](SlotReportError::ForeignSlot),
    /// [`DuplicateSlot`](SlotReportError::DuplicateSlot), [`NotStarted`](SlotReportError::NotStarted).
    pub fn report_slot_status(
        &mut self,
        instance_id: InstanceId,
        report: &SlotReport,
    ) -> Result<ReportOutcome, SlotReportError> {
        self.begin_input()?;
        let Some(task_manager) = self.core.task_managers.by_instance(&instance_id) else {
            tracing::debug!(%instance_id, "report of an unknown task manager ignored");
            return Ok(ReportOutcome::Unknown);
        };
        let outcome = self.core.report(task_manager, report)?;
        if outcome == ReportOutcome::Applied {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// A worker that was asked for will not come. O(slots it promised).
    ///
    /// The requests its slots covered are covered by others, or ask for another worker within this call. If starting
    /// workers fails fast, call this after a pause, or answer the ask with
    /// [`WorkerPromise::Declined`](crate::WorkerPromise::Declined), which is asked again later: else asks and failures
    /// follow each other as fast as they can be said.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn worker_failed(
        &mut self,
        worker_request: WorkerRequestId,
        cause: impl Into<Arc<str>>,
    ) -> Result<WorkerFailedOutcome, NotStarted> {
        self.begin_input()?;
        let Some(key) = self.core.promised_slots.find(worker_request) else {
            tracing::debug!(%worker_request, "unknown worker request has failed");
            return Ok(WorkerFailedOutcome::Unknown);
        };
        let promised_slots = self.core.end_worker_request(key, &cause.into());
        self.finish_input();
        Ok(WorkerFailedOutcome::Forgotten { promised_slots })
    }
}

/// Inputs: what operators decide, and what task executors say of their release.
impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// A worker is blocked: its free slots are not handed out. O(its slots).
    ///
    /// What runs on it stays, and so do attempts in flight. It may register, and keeps promises by that; with no used slot
    /// it is idle and released, whatever is to be kept in reserve. The id is remembered until [`unblock`](Self::unblock) or
    /// [`suspend`](Self::suspend), whether a worker with it is registered or not (FLINK-28145).
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn block(&mut self, resource_id: &ResourceId) -> Result<BlockOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.block(resource_id);
        if outcome == BlockOutcome::Blocked {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// A worker is not blocked any more: its free slots go to waiting requests at once, or can be handed out again. O(its
    /// slots) + matching for each.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn unblock(&mut self, resource_id: &ResourceId) -> Result<UnblockOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.unblock(resource_id);
        if outcome == UnblockOutcome::Unblocked {
            self.finish_input();
        }
        Ok(outcome)
    }

    /// Whether requests fail at once that nothing could serve, from now on, also in later leaderships. O(distinct
    /// profiles of waiting requests x distinct profiles of slots + requests that may fail) when it is turned on, else
    /// O(1).
    ///
    /// A request is unfulfillable when no registered slot fits it, used or not, no promised slot, and no worker that
    /// could be started: none of the [description](SlotManagerConfig::worker_description), or one of them alone would be
    /// beyond a limit; without a description, when the resource manager declined to start one. It fails with
    /// [`RequestFailure::Unfulfillable`](crate::RequestFailure::Unfulfillable): as the error of its registration, later
    /// by a notification, when this is turned on, when a slot or a promise is lost, when an ask is declined again, or when
    /// the [grace period](SlotManagerConfig::unfulfillable_grace_period) is over, in which no request does (FLINK-13555).
    pub fn set_fail_unfulfillable_requests(&mut self, fail: bool) {
        let changes = self.core.set_fail_unfulfillable(fail);
        if self.begin_input().is_ok() && changes {
            self.finish_input();
        }
    }

    /// Whether they do, as it was configured or set last; in the grace period none fails all the same.
    pub fn fails_unfulfillable_requests(&self) -> bool {
        self.core.demand.fails_unfulfillable()
    }

    /// A task executor answers a question that it [did not answer at once](crate::ReleaseAnswer::Later). O(its slots) if
    /// it is released.
    ///
    /// It is released only if the question is open: within its timeout, and while no slot was used since. And only if it
    /// is not [needed](SlotManagerConfig::redundant_task_managers) by now.
    ///
    /// # Errors
    /// [`NotStarted`]: nothing changed.
    pub fn answer_release(
        &mut self,
        question: &ReleaseQuestion,
        answer: ReleaseAnswer,
    ) -> Result<ReleaseAnswerOutcome, NotStarted> {
        self.begin_input()?;
        let outcome = self.core.answer_release(question, answer);
        if outcome == ReleaseAnswerOutcome::Stays {
            self.finish_input();
            if self.core.task_managers.by_instance(&question.instance_id).is_none() {
                return Ok(ReleaseAnswerOutcome::Released);
            }
        }
        Ok(outcome)
    }
}

impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    fn begin_input(&mut self) -> Result<LeaderId, NotStarted> {
        let leader_id = self.core.leader_id.ok_or(NotStarted)?;
        self.core.begin_input(self.driver.now());
        Ok(leader_id)
    }

    /// Attempts to give an offered slot to a request that is being registered. Only one that is not granted by that
    /// becomes a pending one: most are.
    fn attempt_at_once(
        &mut self,
        leader_id: LeaderId,
        slot: SlotKey,
        fingerprint: Fingerprint,
        request: SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let attempt = self.core.next_attempt();
        let request = self.core.request_slot(leader_id, slot, attempt, request);
        match self.driver.call_gateway(&self.core, slot, &request) {
            Some(Ok(Ok(acknowledge))) if !self.core.is_overtaken(slot, acknowledge.revision()) => {
                self.core
                    .grant_at_once(slot, fingerprint, &request, acknowledge.revision());
                self.driver.notify_slot_allocated(&request);
                if self.core.demand.is_active() {
                    self.balance();
                }
                self.driver.wake_after_input(&self.core, false);
                let slot_id = request.slot_id;
                Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }))
            }
            answer => {
                let request = SlotRequest::new(
                    request.job_id,
                    request.allocation_id,
                    request.resource_profile,
                    request.target_address,
                );
                let key = self.core.insert_request(fingerprint, request);
                self.core.begin_attempt(slot, key, attempt);
                let stored =
                    answer.is_some_and(|answer| self.driver.take_answer(&mut self.core, slot, attempt, answer));
                self.finish_registration(key, stored)
            }
        }
    }

    /// Says what the registration of a request caused, and then, what became of the request.
    fn finish_registration(
        &mut self,
        request: RequestKey,
        stored: bool,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let allocation_id = self.core.requests.records[request].allocation_id;
        self.core.registering = Some(Registering {
            allocation_id,
            result: None,
        });
        self.core.settle();
        let stored = self.driver.run_effects(&mut self.core) || stored;
        self.driver.wake_after_input(&self.core, stored);
        match self.core.registering.take().and_then(|registering| registering.result) {
            Some(Ok(slot_id)) => Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })),
            Some(Err(failure)) => Err(SlotRequestError::Failed { allocation_id, failure }),
            None => {
                self.core.requests.link_job(request);
                let status = self.core.status_of(Holder::Pending(request));
                Ok(SlotRequestOutcome::Accepted(status))
            }
        }
    }

    /// Looks at what there is too much and too little of when a request was granted at once.
    #[inline(never)]
    fn balance(&mut self) {
        if self.driver.balance(&mut self.core) {
            self.driver.wake_after_input(&self.core, true);
        }
    }

    /// Says what an input caused, and wakes whoever drives the manager if there is more for it to do.
    fn finish_input(&mut self) {
        let stored = self.driver.run_effects(&mut self.core);
        self.driver.wake_after_input(&self.core, stored);
    }
}

impl<A, G: TaskExecutorGateway, E: ScheduledExecutor> std::fmt::Debug for SlotManager<A, G, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotManager")
            .field("leader_id", &self.core.leader_id)
            .field("task_managers", &self.core.task_managers.records.len())
            .field("slots", &self.core.slot_counts())
            .field("pending_slot_requests", &self.core.requests.records.len())
            .field("promised_slots", &self.core.promised_slots.len())
            .finish_non_exhaustive()
    }
}
