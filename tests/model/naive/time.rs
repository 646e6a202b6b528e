//! What falls due, in which order, and what happens then.

use slot_manager::{AllocationId, InstanceId, RequestFailure, SlotAllocationError, SlotId, Timestamp, WorkerRequestId};

use super::{Expected, NaiveSlotManager, Stage, State};

impl NaiveSlotManager {
    /// All timers: when, of which kind (of several at one time the first kind goes first), armed in which order.
    pub(super) fn timers(&self) -> impl Iterator<Item = (Timestamp, Due, u64)> {
        let requests = self.requests.iter().flat_map(|request| {
            let id = request.allocation_id;
            let own = (request.deadline, Due::RequestTimeout(id), request.order);
            let stage = match request.stage {
                Stage::InFlight {
                    answer: Expected::Awaited((at, order), _),
                    ..
                } => Some((at, Due::RpcTimeout(id), order)),
                Stage::Paused((at, order)) => Some((at, Due::RetryPause(id), order)),
                Stage::Declined((at, order)) => Some((at, Due::AskAgain(id), order)),
                _ => None,
            };
            [Some(own), stage].into_iter().flatten()
        });
        let slots = self.slots().filter_map(|slot| match slot.state {
            State::Withheld((at, order)) => Some((at, Due::SlotPause(slot.id.clone()), order)),
            _ => None,
        });
        let promises = self.promises.iter().map(|promise| {
            let (at, order) = promise.expires;
            (at, Due::WorkerRegistration(promise.worker_request), order)
        });
        let idle = self.task_managers.iter().filter(|it| it.idle_since.is_some());
        let idle = idle.map(|it| (it.release.0, Due::Idle(it.instance_id), it.release.1));
        let questions = self.task_managers.iter().filter_map(|it| {
            let (_, (at, order)) = it.question?;
            Some((at, Due::ReleaseCheck(it.instance_id), order))
        });
        let spare_ask = self.spare_ask.map(|(at, order)| (at, Due::SpareAsk, order));
        let recovery = self.recovery.map(|(at, order)| (at, Due::Recovery, order));
        let grace_period = self.grace_period.map(|(at, order)| (at, Due::GracePeriod, order));
        let own = [spare_ask, recovery, grace_period].into_iter().flatten();
        let all = requests
            .chain(slots)
            .chain(promises)
            .chain(idle)
            .chain(questions)
            .chain(own);
        all.filter(|(at, _, _)| *at != Timestamp::MAX)
    }

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
            Due::RetryPause(id) => {
                self.unplace(id);
                self.transaction.unplaced.push(id);
            }
            Due::SlotPause(slot) => {
                self.set_state(&slot, State::Unplaced);
                self.transaction.freed.push(slot);
            }
            Due::WorkerRegistration(id) => drop(self.end_worker_request(id)),
            Due::AskAgain(id) => {
                self.unplace(id);
                self.wait(id);
            }
            Due::Idle(id) => {
                let again = self.timer(self.config.task_manager_timeout);
                let task_manager = self.task_manager_mut(id);
                task_manager.release = again;
                let idle_period = task_manager.idle_periods;
                self.said.releases.push((id, idle_period));
            }
            Due::ReleaseCheck(id) => self.stays(id),
            // What is missing then is looked at when all has been said.
            Due::SpareAsk => self.spare_ask = None,
            Due::Recovery => self.recovery = None,
            Due::GracePeriod => self.grace_period = None,
        }
        self.settle();
        true
    }
}

/// What falls due.
pub(super) enum Due {
    RequestTimeout(AllocationId),
    RpcTimeout(AllocationId),
    RetryPause(AllocationId),
    SlotPause(SlotId),
    WorkerRegistration(WorkerRequestId),
    AskAgain(AllocationId),
    ReleaseCheck(InstanceId),
    Idle(InstanceId),
    SpareAsk,
    Recovery,
    GracePeriod,
}

impl Due {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::RequestTimeout(_) => 0,
            Self::RpcTimeout(_) => 1,
            Self::RetryPause(_) => 2,
            Self::SlotPause(_) => 3,
            Self::WorkerRegistration(_) => 4,
            Self::AskAgain(_) => 5,
            Self::ReleaseCheck(_) => 6,
            Self::Idle(_) => 7,
            Self::SpareAsk => 8,
            Self::Recovery => 9,
            Self::GracePeriod => 10,
        }
    }
}
