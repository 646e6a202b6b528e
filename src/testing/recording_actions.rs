//! A resource manager that notes what it is asked and told, and answers as scripted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::effect_log::Recorder;
use super::{Effect, EffectLog, lock};
use crate::{
    AllocationFailureCause, AllocationId, InstanceId, JobId, Release, ReleaseCause, ResourceManagerActions,
    ResourceManagerError, ResourceProfile, SlotId, Withdrawal, WorkerPromise, WorkerRequestId,
};

/// A call of [`ResourceManagerActions`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// [`allocate_resource`](ResourceManagerActions::allocate_resource).
    AllocateResource {
        /// The number of the wish.
        worker_request: WorkerRequestId,
        /// What a slot of the worker must have at least.
        resource_profile: ResourceProfile,
    },
    /// [`release_resource`](ResourceManagerActions::release_resource).
    ReleaseResource {
        /// The registration that is not needed.
        instance_id: InstanceId,
        /// Why it is not.
        cause: ReleaseCause,
    },
    /// [`withdraw_resource`](ResourceManagerActions::withdraw_resource).
    WithdrawResource {
        /// The number of the wish that is over.
        worker_request: WorkerRequestId,
    },
    /// [`notify_allocation_failure`](ResourceManagerActions::notify_allocation_failure).
    NotifyAllocationFailure {
        /// The job that asked.
        job_id: JobId,
        /// The request or grant that ended.
        allocation_id: AllocationId,
        /// Why it ended.
        cause: AllocationFailureCause,
    },
    /// [`notify_slot_allocated`](ResourceManagerActions::notify_slot_allocated).
    NotifySlotAllocated {
        /// The job that asked.
        job_id: JobId,
        /// The request that was granted.
        allocation_id: AllocationId,
        /// The slot it was granted.
        slot_id: SlotId,
    },
}

/// The call in one line, for logs and snapshots.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllocateResource {
                worker_request,
                resource_profile,
            } => write!(f, "allocate_resource({worker_request}, {resource_profile})"),
            Self::ReleaseResource { instance_id, cause } => write!(f, "release_resource({instance_id}, {cause:?})"),
            Self::WithdrawResource { worker_request } => write!(f, "withdraw_resource({worker_request})"),
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
        }
    }
}

/// A [`ResourceManagerActions`] that records every call in order and answers as it is told.
///
/// Until told otherwise it declines to start workers ([`WorkerPromise::Declined`]), accepts every release
/// ([`Release::Accepted`]), and withdraws no worker ([`Withdrawal::TooLate`]). Clones share the record and the answers.
///
/// ```
/// use slot_manager::testing::{Action, RecordingActions};
/// use slot_manager::{AllocationId, JobId, ResourceManagerActions, SlotId};
///
/// let actions = RecordingActions::new();
/// let mut given_away = actions.clone();
/// let (job_id, allocation_id, slot_id) = (JobId::from_u128(1), AllocationId::from_u128(2), SlotId::new("tm", 0));
/// given_away.notify_slot_allocated(job_id, allocation_id, &slot_id);
///
/// assert_eq!(actions.take(), [Action::NotifySlotAllocated { job_id, allocation_id, slot_id }]);
/// assert_eq!(actions.take(), []);
/// ```
#[derive(Debug, Clone)]
pub struct RecordingActions {
    answers: Arc<Mutex<Answers>>,
    recorder: Recorder,
}

type Allocation = Result<WorkerPromise, ResourceManagerError>;

#[derive(Debug)]
struct Answers {
    allocation: Allocation,
    next_allocations: VecDeque<Allocation>,
    release: Release,
    next_releases: VecDeque<Release>,
    withdrawal: Withdrawal,
    next_withdrawals: VecDeque<Withdrawal>,
}

impl RecordingActions {
    /// Actions with a record of their own.
    pub fn new() -> Self {
        Self::with_log(&EffectLog::new())
    }

    /// Actions that record into `log`, together with other doubles.
    pub fn with_log(log: &EffectLog) -> Self {
        let answers = Answers {
            allocation: Ok(WorkerPromise::Declined),
            next_allocations: VecDeque::new(),
            release: Release::Accepted,
            next_releases: VecDeque::new(),
            withdrawal: Withdrawal::TooLate,
            next_withdrawals: VecDeque::new(),
        };
        Self {
            answers: Arc::new(Mutex::new(answers)),
            recorder: Recorder::new(log),
        }
    }

    /// Takes all calls recorded here since the last time, in order.
    pub fn take(&self) -> Vec<Action> {
        self.recorder
            .take()
            .filter_map(|effect| match effect {
                Effect::Action(action) => Some(action),
                Effect::Gateway(_) => None,
            })
            .collect()
    }

    /// Answers `allocate_resource` with `answer` from now on, whenever no
    /// [scripted answer](Self::answer_next_allocation) is left.
    pub fn answer_allocations(&self, answer: Result<WorkerPromise, ResourceManagerError>) {
        lock(&self.answers).allocation = answer;
    }

    /// Answers one `allocate_resource` with `answer`: the next one for which no earlier scripted answer is left.
    pub fn answer_next_allocation(&self, answer: Result<WorkerPromise, ResourceManagerError>) {
        lock(&self.answers).next_allocations.push_back(answer);
    }

    /// Answers `release_resource` with `answer` from now on, whenever no [scripted answer](Self::answer_next_release)
    /// is left.
    pub fn answer_releases(&self, answer: Release) {
        lock(&self.answers).release = answer;
    }

    /// Answers one `release_resource` with `answer`: the next one for which no earlier scripted answer is left.
    pub fn answer_next_release(&self, answer: Release) {
        lock(&self.answers).next_releases.push_back(answer);
    }

    /// Answers `withdraw_resource` with `answer` from now on, whenever no
    /// [scripted answer](Self::answer_next_withdrawal) is left.
    pub fn answer_withdrawals(&self, answer: Withdrawal) {
        lock(&self.answers).withdrawal = answer;
    }

    /// Answers one `withdraw_resource` with `answer`: the next one for which no earlier scripted answer is left.
    pub fn answer_next_withdrawal(&self, answer: Withdrawal) {
        lock(&self.answers).next_withdrawals.push_back(answer);
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
        let mut answers = lock(&self.answers);
        let scripted = answers.next_allocations.pop_front();
        scripted.unwrap_or_else(|| answers.allocation.clone())
    }

    fn release_resource(&mut self, instance_id: InstanceId, cause: ReleaseCause) -> Release {
        self.recorder.record(Action::ReleaseResource { instance_id, cause });
        let mut answers = lock(&self.answers);
        let scripted = answers.next_releases.pop_front();
        scripted.unwrap_or(answers.release)
    }

    fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> Withdrawal {
        self.recorder.record(Action::WithdrawResource { worker_request });
        let mut answers = lock(&self.answers);
        let scripted = answers.next_withdrawals.pop_front();
        scripted.unwrap_or(answers.withdrawal)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::samples::{ALLOCATION, INSTANCE, JOB};
    use crate::{GrantLoss, Timestamp};

    fn ask(actions: &mut RecordingActions) -> Allocation {
        actions.allocate_resource(WorkerRequestId::new(1), &ResourceProfile::ZERO)
    }

    fn release(actions: &mut RecordingActions) -> Release {
        actions.release_resource(INSTANCE, idle())
    }

    fn idle() -> ReleaseCause {
        ReleaseCause::IdleTimeout {
            idle_since: Timestamp::from_secs(3),
            idle_period: 1,
        }
    }

    #[test]
    fn every_call_is_recorded_in_order_with_its_arguments() {
        let actions = RecordingActions::new();
        let mut given_away = actions.clone();
        let slot_id = SlotId::new("tm", 4);
        let cause = AllocationFailureCause::GrantLost {
            slot_id: slot_id.clone(),
            loss: GrantLoss::ReportedFree,
        };

        given_away.notify_slot_allocated(JOB, ALLOCATION, &slot_id);
        given_away.notify_allocation_failure(JOB, ALLOCATION, &cause);
        let _ = ask(&mut given_away);
        let _ = release(&mut given_away);

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
                    worker_request: WorkerRequestId::new(1),
                    resource_profile: ResourceProfile::ZERO,
                },
                Action::ReleaseResource {
                    instance_id: INSTANCE,
                    cause: idle(),
                },
            ]
        );
        assert_eq!(given_away.take(), []);
    }

    #[test]
    fn workers_are_declined_and_releases_accepted_until_told_otherwise() {
        let mut actions = RecordingActions::new();
        assert_eq!(ask(&mut actions), Ok(WorkerPromise::Declined));
        assert_eq!(release(&mut actions), Release::Accepted);

        let refused = ResourceManagerError::new("no quota");
        actions.answer_allocations(Err(refused.clone()));
        actions.answer_releases(Release::Declined);
        for _ in 0..2 {
            assert_eq!(ask(&mut actions), Err(refused.clone()));
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

        assert_eq!(ask(&mut actions), Ok(WorkerPromise::Unspecified));
        assert_eq!(ask(&mut actions), Err(refused));
        assert_eq!(ask(&mut actions), Ok(WorkerPromise::Declined));
        assert_eq!(release(&mut actions), Release::Declined);
        assert_eq!(release(&mut actions), Release::Accepted);
        let withdraw = |actions: &mut RecordingActions| actions.withdraw_resource(WorkerRequestId::new(1));
        assert_eq!(withdraw(&mut actions), Withdrawal::Confirmed);
        assert_eq!(withdraw(&mut actions), Withdrawal::TooLate);
        actions.answer_withdrawals(Withdrawal::Confirmed);
        assert_eq!(withdraw(&mut actions), Withdrawal::Confirmed);
    }

    #[test]
    fn a_call_is_written_in_one_line() {
        let mut actions = RecordingActions::new();
        let _ = ask(&mut actions);
        let _ = release(&mut actions);
        let _ = actions.withdraw_resource(WorkerRequestId::new(1));
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
