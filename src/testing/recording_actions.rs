//! A resource manager that records every call and answers from a script.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::effect_log::Recorder;
use super::{Effect, EffectLog, lock};
use crate::error::ResourceManagerError;
use crate::message::{
    AllocationFailureCause, Release, ReleaseResource, ResourceShortage, WithdrawResource, Withdrawal, WorkerPromise,
};
use crate::{AllocationId, JobId, ResourceManagerActions, ResourceProfile, SlotId, WorkerRequestId};

/// A recorded call of [`ResourceManagerActions`].
///
/// `Display` writes it in one line, with the number of a worker request instead of its id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A call of [`allocate_resource`](ResourceManagerActions::allocate_resource).
    AllocateResource {
        /// The worker request.
        worker_request: WorkerRequestId,
        /// The profile that a slot of the worker must fit.
        resource_profile: ResourceProfile,
    },
    /// A call of [`release_resource`](ResourceManagerActions::release_resource).
    ReleaseResource(ReleaseResource),
    /// A call of [`withdraw_resource`](ResourceManagerActions::withdraw_resource).
    WithdrawResource(WithdrawResource),
    /// A call of [`notify_allocation_failure`](ResourceManagerActions::notify_allocation_failure).
    NotifyAllocationFailure {
        /// The job of the request.
        job_id: JobId,
        /// The request or grant that ended.
        allocation_id: AllocationId,
        /// The reason.
        cause: AllocationFailureCause,
    },
    /// A call of [`notify_slot_allocated`](ResourceManagerActions::notify_slot_allocated).
    NotifySlotAllocated {
        /// The job of the request.
        job_id: JobId,
        /// The request that was granted.
        allocation_id: AllocationId,
        /// The granted slot.
        slot_id: SlotId,
    },
    /// A call of [`notify_not_enough_resources`](ResourceManagerActions::notify_not_enough_resources).
    NotifyNotEnoughResources {
        /// The job.
        job_id: JobId,
        /// The shortage.
        shortage: ResourceShortage,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllocateResource {
                worker_request,
                resource_profile,
            } => write!(f, "allocate_resource({}, {resource_profile})", worker_request.number()),
            Self::ReleaseResource(release) => {
                write!(f, "release_resource({}, {:?})", release.instance_id, release.cause)
            }
            Self::WithdrawResource(withdraw) => write!(f, "withdraw_resource({})", withdraw.worker_request.number()),
            Self::NotifyAllocationFailure {
                job_id,
                allocation_id,
                cause,
            } => write!(f, "notify_allocation_failure({job_id}, {allocation_id}, {cause})"),
            Self::NotifySlotAllocated {
                job_id,
                allocation_id,
                slot_id,
            } => write!(f, "notify_slot_allocated({job_id}, {allocation_id}, {slot_id})"),
            Self::NotifyNotEnoughResources { job_id, shortage } => {
                write!(f, "notify_not_enough_resources({job_id}, {shortage})")
            }
        }
    }
}

/// A [`ResourceManagerActions`] that records every call in order and answers from a script.
///
/// Without a script, it answers every worker request with [`WorkerPromise::Declined`], every
/// release with [`Release::Accepted`], and every withdrawal with [`Withdrawal::TooLate`].
///
/// Clones share the record and the script: give one clone to the manager and keep another.
///
/// ```
/// use slot_manager::testing::{Action, RecordingActions};
/// use slot_manager::{AllocationId, JobId, ResourceManagerActions, SlotId};
///
/// let actions = RecordingActions::new();
/// let mut of_manager = actions.clone();
/// let (job_id, allocation_id, slot_id) = (JobId::from_u128(1), AllocationId::from_u128(2), SlotId::new("tm", 0));
/// of_manager.notify_slot_allocated(job_id, allocation_id, &slot_id);
///
/// assert_eq!(actions.take(), [Action::NotifySlotAllocated { job_id, allocation_id, slot_id }]);
/// assert_eq!(actions.take(), []);
/// ```
///
/// Answers can be scripted:
///
/// ```
/// use slot_manager::testing::RecordingActions;
/// use slot_manager::message::WorkerPromise;
/// use slot_manager::{LeaderId, ResourceManagerActions, ResourceProfile, WorkerRequestId};
///
/// let mut actions = RecordingActions::new();
/// actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
/// let mut request = |number| {
///     let worker_request = WorkerRequestId::new(LeaderId::from_u128(1), number);
///     actions.allocate_resource(worker_request, &ResourceProfile::ANY)
/// };
/// assert_eq!(request(1), Ok(WorkerPromise::Unspecified));
/// assert_eq!(request(2), Ok(WorkerPromise::Declined));
/// ```
#[derive(Debug, Clone)]
pub struct RecordingActions {
    script: Arc<Mutex<ActionScript>>,
    recorder: Recorder,
}

type PromiseAnswer = Result<WorkerPromise, ResourceManagerError>;

/// The answers that are used up one by one, and those given when none is left.
#[derive(Debug)]
struct ActionScript {
    allocation: PromiseAnswer,
    next_allocations: VecDeque<PromiseAnswer>,
    release: Release,
    next_releases: VecDeque<Release>,
    withdrawal: Withdrawal,
    next_withdrawals: VecDeque<Withdrawal>,
}

impl RecordingActions {
    /// Creates actions with a record of their own.
    pub fn new() -> Self {
        Self::with_log(&EffectLog::new())
    }

    /// Creates actions that record into `log`, together with other doubles.
    pub fn with_log(log: &EffectLog) -> Self {
        let script = ActionScript {
            allocation: Ok(WorkerPromise::Declined),
            next_allocations: VecDeque::new(),
            release: Release::Accepted,
            next_releases: VecDeque::new(),
            withdrawal: Withdrawal::TooLate,
            next_withdrawals: VecDeque::new(),
        };
        Self {
            script: Arc::new(Mutex::new(script)),
            recorder: Recorder::new(log),
        }
    }

    /// Takes the recorded calls, in order. The record is empty afterwards.
    pub fn take(&self) -> Vec<Action> {
        self.recorder
            .take()
            .filter_map(|effect| match effect {
                Effect::Action(action) => Some(action),
                Effect::Gateway(_) => None,
            })
            .collect()
    }

    /// Sets the answer to every worker request from now on.
    ///
    /// Answers from [`answer_next_allocation`](Self::answer_next_allocation) are used up first.
    pub fn answer_allocations(&self, answer: Result<WorkerPromise, ResourceManagerError>) {
        lock(&self.script).allocation = answer;
    }

    /// Adds an answer to one worker request. Several are used up in the order in which they were
    /// added.
    pub fn answer_next_allocation(&self, answer: Result<WorkerPromise, ResourceManagerError>) {
        lock(&self.script).next_allocations.push_back(answer);
    }

    /// Sets the answer to every release from now on.
    ///
    /// Answers from [`answer_next_release`](Self::answer_next_release) are used up first.
    pub fn answer_releases(&self, answer: Release) {
        lock(&self.script).release = answer;
    }

    /// Adds an answer to one release. Several are used up in the order in which they were added.
    pub fn answer_next_release(&self, answer: Release) {
        lock(&self.script).next_releases.push_back(answer);
    }

    /// Sets the answer to every withdrawal from now on.
    ///
    /// Answers from [`answer_next_withdrawal`](Self::answer_next_withdrawal) are used up first.
    pub fn answer_withdrawals(&self, answer: Withdrawal) {
        lock(&self.script).withdrawal = answer;
    }

    /// Adds an answer to one withdrawal. Several are used up in the order in which they were added.
    pub fn answer_next_withdrawal(&self, answer: Withdrawal) {
        lock(&self.script).next_withdrawals.push_back(answer);
    }
}

impl Default for RecordingActions {
    fn default() -> Self {
        Self::new()
    }
}

impl ResourceManagerActions for RecordingActions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        self.recorder.record(Action::AllocateResource {
            worker_request,
            resource_profile: resource_profile.clone(),
        });
        let mut script = lock(&self.script);
        let scripted = script.next_allocations.pop_front();
        scripted.unwrap_or_else(|| script.allocation.clone())
    }

    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        self.recorder.record(Action::ReleaseResource(release.clone()));
        let mut script = lock(&self.script);
        let scripted = script.next_releases.pop_front();
        scripted.unwrap_or(script.release)
    }

    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        self.recorder.record(Action::WithdrawResource(withdraw.clone()));
        let mut script = lock(&self.script);
        let scripted = script.next_withdrawals.pop_front();
        scripted.unwrap_or(script.withdrawal)
    }

    fn notify_allocation_failure(
        &mut self,
        job_id: JobId,
        allocation_id: AllocationId,
        cause: &AllocationFailureCause,
    ) {
        self.recorder.record(Action::NotifyAllocationFailure {
            job_id,
            allocation_id,
            cause: cause.clone(),
        });
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.recorder.record(Action::NotifySlotAllocated {
            job_id,
            allocation_id,
            slot_id: slot_id.clone(),
        });
    }

    fn notify_not_enough_resources(&mut self, job_id: JobId, shortage: &ResourceShortage) {
        self.recorder.record(Action::NotifyNotEnoughResources {
            job_id,
            shortage: shortage.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::message::{GrantLoss, ReleaseCause, WithdrawalCause};
    use crate::testing::samples::{ALLOCATION, INSTANCE, JOB, LEADER};

    const WORKER_REQUEST: WorkerRequestId = WorkerRequestId::new(LEADER, 1);

    fn request_worker(actions: &mut RecordingActions) -> PromiseAnswer {
        actions.allocate_resource(WORKER_REQUEST, &ResourceProfile::ZERO)
    }

    fn release(actions: &mut RecordingActions) -> Release {
        actions.release_resource(&idle())
    }

    fn idle() -> ReleaseResource {
        ReleaseResource {
            resource_id: "tm".into(),
            instance_id: INSTANCE,
            worker_request: Some(WORKER_REQUEST),
            is_blocked: false,
            cause: ReleaseCause::IdleTimeout {
                idle_since: Timestamp::from_secs(3),
                idle_period: 1,
            },
        }
    }

    fn surplus() -> WithdrawResource {
        WithdrawResource {
            worker_request: WORKER_REQUEST,
            cause: WithdrawalCause::NotNeeded,
        }
    }

    #[test]
    fn calls_are_recorded_in_order_with_their_arguments() {
        let actions = RecordingActions::new();
        let mut of_manager = actions.clone();
        let slot_id = SlotId::new("tm", 4);
        let cause = AllocationFailureCause::GrantLost {
            slot_id: slot_id.clone(),
            loss: GrantLoss::ReportedFree,
        };

        of_manager.notify_slot_allocated(JOB, ALLOCATION, &slot_id);
        of_manager.notify_allocation_failure(JOB, ALLOCATION, &cause);
        let _ = request_worker(&mut of_manager);
        let _ = release(&mut of_manager);

        assert_eq!(
            actions.take(),
            [
                Action::NotifySlotAllocated {
                    job_id: JOB,
                    allocation_id: ALLOCATION,
                    slot_id,
                },
                Action::NotifyAllocationFailure {
                    job_id: JOB,
                    allocation_id: ALLOCATION,
                    cause,
                },
                Action::AllocateResource {
                    worker_request: WORKER_REQUEST,
                    resource_profile: ResourceProfile::ZERO,
                },
                Action::ReleaseResource(idle()),
            ]
        );
        assert_eq!(of_manager.take(), []);
    }

    #[test]
    fn without_a_script_workers_are_declined_and_releases_accepted() {
        let mut actions = RecordingActions::new();
        assert_eq!(request_worker(&mut actions), Ok(WorkerPromise::Declined));
        assert_eq!(release(&mut actions), Release::Accepted);

        let refused = ResourceManagerError::new("no quota");
        actions.answer_allocations(Err(refused.clone()));
        actions.answer_releases(Release::Declined);
        for _ in 0..2 {
            assert_eq!(request_worker(&mut actions), Err(refused.clone()));
            assert_eq!(release(&mut actions), Release::Declined);
        }
    }

    #[test]
    fn scripted_answers_are_used_up_first_and_in_order() {
        let mut actions = RecordingActions::new();
        let refused = ResourceManagerError::new("no quota");
        actions.answer_next_allocation(Ok(WorkerPromise::Unspecified));
        actions.answer_next_allocation(Err(refused.clone()));
        actions.answer_next_release(Release::Declined);
        actions.answer_next_withdrawal(Withdrawal::Confirmed);

        assert_eq!(request_worker(&mut actions), Ok(WorkerPromise::Unspecified));
        assert_eq!(request_worker(&mut actions), Err(refused));
        assert_eq!(request_worker(&mut actions), Ok(WorkerPromise::Declined));
        assert_eq!(release(&mut actions), Release::Declined);
        assert_eq!(release(&mut actions), Release::Accepted);
        let withdraw = |actions: &mut RecordingActions| actions.withdraw_resource(&surplus());
        assert_eq!(withdraw(&mut actions), Withdrawal::Confirmed);
        assert_eq!(withdraw(&mut actions), Withdrawal::TooLate);
        actions.answer_withdrawals(Withdrawal::Confirmed);
        assert_eq!(withdraw(&mut actions), Withdrawal::Confirmed);
    }

    #[test]
    fn call_is_written_in_one_line() {
        let mut actions = RecordingActions::new();
        let _ = request_worker(&mut actions);
        let _ = release(&mut actions);
        let _ = actions.withdraw_resource(&surplus());
        let lines: Vec<_> = actions.take().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                format!("allocate_resource(1, {})", ResourceProfile::ZERO),
                format!("release_resource({INSTANCE}, IdleTimeout {{ idle_since: +3s, idle_period: 1 }})"),
                "withdraw_resource(1)".to_owned(),
            ]
        );
    }
}
