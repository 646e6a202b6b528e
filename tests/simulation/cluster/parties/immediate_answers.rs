//! What the resource manager and the task executors answer within a call of the manager: drawn when they are asked.

use std::cell::RefCell;
use std::rc::Rc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::testing::Action;
use slot_manager::{
    AllocationFailureCause, AllocationId, InstanceId, JobId, Release, ReleaseAnswer, ReleaseCause,
    ResourceManagerActions, ResourceManagerError, ResourceProfile, SlotId, Withdrawal, WorkerPromise, WorkerRequestId,
};

use crate::cluster::call_log::{CallLog, Promise, Said};
use crate::cluster::scenario::{self, Scenario};

/// Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Mind(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    scenario: Scenario,
    /// The faults have stopped.
    calm: bool,
    /// There are as many workers as can be.
    is_full: bool,
}

impl Mind {
    pub(crate) fn new(seed: u64, scenario: &Scenario) -> Self {
        Self(Rc::new(RefCell::new(State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            scenario: scenario.clone(),
            calm: false,
            is_full: false,
        })))
    }

    pub(crate) fn calm_down(&self) {
        self.0.borrow_mut().calm = true;
    }

    pub(crate) fn note_room(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
    }

    fn about_worker(&self) -> Promise {
        let state = &mut *self.0.borrow_mut();
        if !state.scenario.elastic || state.calm {
            return Ok(WorkerPromise::Declined);
        }
        // Else wishes and failures would follow each other as fast as messages travel.
        if state.is_full && state.rng.random_bool(0.8) {
            return Ok(WorkerPromise::Declined);
        }
        match state.rng.random_range(0..20) {
            0..10 => Ok(WorkerPromise::Slots(state.slots())),
            10..15 => Ok(WorkerPromise::Unspecified),
            15 => Ok(WorkerPromise::Slots(Vec::new())),
            16..19 => Ok(WorkerPromise::Declined),
            _ => Err(ResourceManagerError::new("no quota")),
        }
    }

    fn about_withdrawal(&self) -> Withdrawal {
        match self.0.borrow_mut().rng.random_range(0..3) {
            0 => Withdrawal::TooLate,
            _ => Withdrawal::Confirmed,
        }
    }

    fn about_stopping(&self) -> Release {
        let state = &mut *self.0.borrow_mut();
        if state.scenario.elastic && (state.calm || state.rng.random_bool(0.9)) {
            Release::Accepted
        } else {
            Release::Declined
        }
    }

    /// What a task executor says when it is asked whether it can go.
    pub(crate) fn about_release(&self) -> ReleaseAnswer {
        let state = &mut *self.0.borrow_mut();
        if state.calm || !state.rng.random_bool(state.scenario.reluctance) {
            return ReleaseAnswer::Yes;
        }
        match state.rng.random_range(0..3) {
            0 => ReleaseAnswer::No,
            _ => ReleaseAnswer::Later,
        }
    }
}

impl State {
    /// The slots of a worker: as described as a rule, sometimes others, or so many that they may be beyond a limit.
    fn slots(&mut self) -> Vec<ResourceProfile> {
        match (&self.scenario.config.worker_description, self.rng.random_range(0..10)) {
            (Some(worker), 0..7) => vec![worker.slot_profile().clone(); worker.slots()],
            (Some(worker), 7) => vec![worker.slot_profile().clone(); 3 * worker.slots()],
            _ => scenario::slots(&mut self.rng),
        }
    }
}

/// The manager's way to the resource manager.
#[derive(Debug, Clone)]
pub(crate) struct ClusterActions {
    pub(crate) mind: Mind,
    pub(crate) log: CallLog,
}

impl ResourceManagerActions for ClusterActions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let promise = self.mind.about_worker();
        let ask = Action::AllocateResource {
            worker_request,
            resource_profile: resource_profile.clone(),
        };
        self.log.record(ask, Said::Promise(promise.clone()));
        promise
    }

    fn release_resource(&mut self, instance_id: InstanceId, cause: ReleaseCause) -> Release {
        let release = self.mind.about_stopping();
        let ask = Action::ReleaseResource { instance_id, cause };
        self.log.record(ask, Said::Release(release));
        release
    }

    fn withdraw_resource(&mut self, worker_request: WorkerRequestId) -> Withdrawal {
        let withdrawal = self.mind.about_withdrawal();
        let ask = Action::WithdrawResource { worker_request };
        self.log.record(ask, Said::Withdrawal(withdrawal));
        withdrawal
    }

    fn notify_allocation_failure(
        &mut self,
        job_id: JobId,
        allocation_id: AllocationId,
        cause: &AllocationFailureCause,
    ) {
        let notice = Action::NotifyAllocationFailure {
            job_id,
            allocation_id,
            cause: cause.clone(),
        };
        self.log.record(notice, Said::Nothing);
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        let notice = Action::NotifySlotAllocated {
            job_id,
            allocation_id,
            slot_id: slot_id.clone(),
        };
        self.log.record(notice, Said::Nothing);
    }
}
