//! Timers: which falls due first, and its effect.

use std::time::Duration;

use slot_manager::error::SlotAllocationError;
use slot_manager::message::RequestFailure;
use slot_manager::{AllocationId, InstanceId, JobId, SlotId, Timestamp, WorkerRequestId};

use super::requirements::RequirementTimer;
use super::{Expected, NaiveSlotManager, Stage, State, Timer};

impl NaiveSlotManager {
    /// Arms a timer now.
    pub(super) fn timer(&mut self, length: Duration) -> Timer {
        ((self.now + length).max(self.earliest_rearm), self.next())
    }

    /// Returns all timers: the time, the kind and the order of arming. Among timers of the same
    /// time, the first kind goes first.
    pub(super) fn timers(&self) -> impl Iterator<Item = (Timestamp, Due, u64)> {
        let requests = self.requests.iter().flat_map(|request| {
            let id = request.allocation_id;
            let own = (request.deadline, Due::RequestTimeout(id), request.order);
            let stage = match request.stage {
                Stage::InFlight {
                    answer: Expected::Awaited((at, order), _) | Expected::AwaitedAsInput((at, order)),
                    ..
                } => Some((at, Due::RpcTimeout(id), order)),
                Stage::BackingOff((at, order)) => Some((at, Due::RequestBackoff(id), order)),
                Stage::Declined((at, order)) => Some((at, Due::WorkerRequestRetry(id), order)),
                _ => None,
            };
            let young = request.young_until.map(|(at, order)| (at, Due::LongWait(id), order));
            [Some(own), stage, young].into_iter().flatten()
        });
        let slots = self.slots().filter_map(|slot| match slot.state {
            State::BackingOff((at, order)) => Some((at, Due::SlotBackoff(slot.id.clone()), order)),
            _ => None,
        });
        let workers = self.task_managers.iter().flat_map(|it| {
            let backoff = it.failures.backoff.as_ref();
            let timers = backoff.map_or([None, None], |backoff| [backoff.early_timer, backoff.timer]);
            let due = |(at, order)| (at, Due::WorkerBackoff(it.instance_id), order);
            timers.into_iter().flatten().map(due)
        });
        let promises = self.promises.iter().map(|promise| {
            let (at, order) = promise.expires;
            (at, Due::WorkerRegistration(promise.worker_request), order)
        });
        let promised_workers = self.promised_workers.iter().map(|worker| {
            let (at, order) = worker.expires;
            (at, Due::WorkerRegistration(worker.worker_request), order)
        });
        let idle = self.task_managers.iter().filter(|it| it.idle_since.is_some());
        let idle = idle.map(|it| (it.idle_timer.0, Due::IdleTimeout(it.instance_id), it.idle_timer.1));
        let release_checks = self.task_managers.iter().filter_map(|it| {
            let (_, (at, order)) = it.release_check?;
            Some((at, Due::ReleaseCheck(it.instance_id), order))
        });
        let reserve_backoff = self.reserve_backoff.map(|(at, order)| (at, Due::ReserveBackoff, order));
        let recovery = self.recovery.map(|(at, order)| (at, Due::Recovery, order));
        let grace_period = self.grace_period.map(|(at, order)| (at, Due::GracePeriod, order));
        let start_backoff = self
            .start_backoff
            .timer
            .map(|(at, order)| (at, Due::StartBackoff, order));
        let own = [reserve_backoff, recovery, grace_period, start_backoff]
            .into_iter()
            .flatten();
        let requirements = self.requirement_timers();
        let requirements =
            requirements.map(|(job_id, timer, (at, order))| (at, Due::Requirements(job_id, timer), order));
        let all = requests
            .chain(requirements)
            .chain(slots)
            .chain(workers)
            .chain(promises)
            .chain(promised_workers)
            .chain(idle)
            .chain(release_checks)
            .chain(own);
        all.filter(|(at, _, _)| *at != Timestamp::MAX)
    }

    /// Handles the timer that is due first. Returns `false` if none is due.
    pub(super) fn handle_earliest_due(&mut self) -> bool {
        let earliest = self.timers().min_by_key(|(at, due, order)| (*at, due.kind(), *order));
        let Some((_, due, _)) = earliest.filter(|(at, _, _)| *at <= self.now) else {
            return false;
        };
        match due {
            Due::RequestTimeout(id) => {
                let request = self.request_mut(id);
                let failure = RequestFailure::Timeout {
                    resource_profile: request.profile.clone(),
                    last_failure: request.last_failure.clone(),
                    timeout: self.config.request_timeout,
                };
                self.fail(id, failure);
            }
            Due::RpcTimeout(id) => {
                self.fence(id);
                if let Stage::InFlight { slot, .. } = self.request_mut(id).stage.clone() {
                    self.attempt_failed(&slot, id, SlotAllocationError::Timeout);
                }
            }
            Due::RequestBackoff(id) => {
                self.detach(id);
                self.request_mut(id).must_back_off = false;
                self.transaction.detached.push(id);
            }
            Due::SlotBackoff(slot) => {
                self.set_state(&slot, State::Detached);
                self.transaction.freed.push(slot);
            }
            Due::WorkerBackoff(id) => {
                self.transaction.probes.push(id);
                if let Some(backoff) = &mut self.task_manager_mut(id).failures.backoff {
                    backoff.is_early = false;
                    // The early end comes first.
                    let _ = backoff.early_timer.take().or_else(|| backoff.timer.take());
                }
            }
            Due::WorkerRegistration(id) => self.expire(id),
            Due::WorkerRequestRetry(id) => self.unbind(id),
            Due::IdleTimeout(id) => {
                let again = self.timer(self.config.task_manager_timeout);
                let task_manager = self.task_manager_mut(id);
                task_manager.idle_timer = again;
                let idle_period = task_manager.idle_periods;
                self.outbox.releases.push((id, idle_period));
            }
            Due::ReleaseCheck(id) => self.release_declined(id),
            // The next `reconcile` requests the missing workers.
            Due::ReserveBackoff => self.reserve_backoff = None,
            Due::Recovery => self.recovery = None,
            Due::GracePeriod => self.grace_period = None,
            Due::StartBackoff => self.end_start_backoff(),
            Due::Requirements(job_id, timer) => self.requirement_timer_ended(job_id, timer),
            Due::LongWait(id) => self.request_mut(id).young_until = None,
        }
        self.commit();
        true
    }
}

/// The kinds of timers.
pub(super) enum Due {
    RequestTimeout(AllocationId),
    RpcTimeout(AllocationId),
    RequestBackoff(AllocationId),
    SlotBackoff(SlotId),
    WorkerBackoff(InstanceId),
    WorkerRegistration(WorkerRequestId),
    WorkerRequestRetry(AllocationId),
    ReleaseCheck(InstanceId),
    IdleTimeout(InstanceId),
    ReserveBackoff,
    Recovery,
    GracePeriod,
    StartBackoff,
    Requirements(JobId, RequirementTimer),
    LongWait(AllocationId),
}

impl Due {
    /// Returns the place of the kind in the order of handling.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::RequestTimeout(_) => 0,
            Self::RpcTimeout(_) => 1,
            Self::RequestBackoff(_) => 2,
            Self::SlotBackoff(_) => 3,
            Self::WorkerBackoff(_) => 4,
            Self::WorkerRegistration(_) => 5,
            Self::WorkerRequestRetry(_) => 6,
            Self::ReleaseCheck(_) => 7,
            Self::IdleTimeout(_) => 8,
            Self::ReserveBackoff => 9,
            Self::Recovery => 10,
            Self::GracePeriod => 11,
            Self::StartBackoff => 12,
            Self::Requirements(_, RequirementTimer::Batch) => 13,
            Self::Requirements(_, RequirementTimer::Refill) => 14,
            Self::Requirements(_, RequirementTimer::Shortage) => 15,
            Self::LongWait(_) => 16,
        }
    }
}
