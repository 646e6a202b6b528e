//! The answers of the resource manager and of release checks within a call of the manager, drawn at
//! random.

use std::cell::RefCell;
use std::rc::Rc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use slot_manager::error::{ResourceManagerError, SlotAllocationError};
use slot_manager::message::{
    AllocateSlot, AllocationFailureCause, Release, ReleaseDecision, ReleaseResource, ResourceShortage,
    WithdrawResource, Withdrawal, WorkerPromise,
};
use slot_manager::testing::Action;
use slot_manager::{AllocationId, JobId, ResourceManagerActions, ResourceProfile, SlotId, WorkerRequestId};

use crate::cluster::call_log::{CallAnswer, CallLog, Promise};
use crate::cluster::parties::task_executors::Temper;
use crate::cluster::scenario::{self, Scenario};
use crate::cluster::simulation;

/// The reasons of failures that faults cause.
pub(crate) const POISONED: &str = "the job cannot run here";
pub(crate) const REFUSED: &str = "no memory";
pub(crate) const OUT_OF_REACH: &str = "no route";

/// The source of the answers. Clones share one state.
#[derive(Debug, Clone)]
pub(crate) struct ImmediateAnswers(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    scenario: Scenario,
    /// Whether the faults have stopped.
    faults_are_over: bool,
    /// Whether the cluster has its largest number of workers.
    is_full: bool,
}

impl ImmediateAnswers {
    pub(crate) fn new(seed: u64, scenario: &Scenario) -> Self {
        Self(Rc::new(RefCell::new(State {
            rng: ChaCha8Rng::seed_from_u64(seed),
            scenario: scenario.clone(),
            faults_are_over: false,
            is_full: false,
        })))
    }

    pub(crate) fn stop_faults(&self) {
        self.0.borrow_mut().faults_are_over = true;
    }

    pub(crate) fn note_limit(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
    }

    /// Draws the failure of a slot request by the temper of the worker and the health of the job.
    pub(crate) fn failure_of(&self, temper: Temper, request: &AllocateSlot) -> Option<SlotAllocationError> {
        let state = &mut *self.0.borrow_mut();
        if state.faults_are_over {
            return None;
        }
        if state.scenario.poisoned_job.map(simulation::job_id) == Some(request.job_id) {
            return Some(SlotAllocationError::rejected(POISONED));
        }
        let is_refusal = match temper {
            Temper::Healthy | Temper::Silent => return None,
            Temper::Refusing => true,
            Temper::Unreachable => false,
            Temper::Flapping => match state.rng.random_range(0..3) {
                0 => return None,
                refusal => refusal == 1,
            },
        };
        Some(match is_refusal {
            // Mostly a lie. Nothing as well as everything left may be a reason to ask again at once.
            true if request.slot_id.is_dynamic() && state.rng.random_bool(0.6) => {
                let free = [ResourceProfile::ZERO, scenario::largest_profile(), ResourceProfile::ANY];
                SlotAllocationError::insufficient(free[state.rng.random_range(0..free.len())].clone())
            }
            true => SlotAllocationError::rejected(REFUSED),
            false => SlotAllocationError::unreachable(OUT_OF_REACH),
        })
    }

    fn answer_worker_request(&self) -> Promise {
        let state = &mut *self.0.borrow_mut();
        if !state.scenario.elastic || state.faults_are_over {
            return Ok(WorkerPromise::Declined);
        }
        // Otherwise worker requests and failures would follow each other as fast as messages.
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

    fn answer_withdrawal(&self) -> Withdrawal {
        match self.0.borrow_mut().rng.random_range(0..3) {
            0 => Withdrawal::TooLate,
            _ => Withdrawal::Confirmed,
        }
    }

    fn answer_release(&self) -> Release {
        let state = &mut *self.0.borrow_mut();
        if state.scenario.elastic && (state.faults_are_over || state.rng.random_bool(0.9)) {
            Release::Accepted
        } else {
            Release::Declined
        }
    }

    /// Draws the answer of a task executor to a release check.
    pub(crate) fn answer_release_check(&self) -> ReleaseDecision {
        let state = &mut *self.0.borrow_mut();
        if state.faults_are_over || !state.rng.random_bool(state.scenario.release_refusals) {
            return ReleaseDecision::Release;
        }
        match state.rng.random_range(0..3) {
            0 => ReleaseDecision::Keep,
            _ => ReleaseDecision::Later,
        }
    }
}

impl State {
    /// Draws the slots of a worker: mostly as described, sometimes others, or three times as many.
    fn slots(&mut self) -> Vec<ResourceProfile> {
        let workers = self.scenario.config.workers.as_ref();
        match (
            workers.map(|workers| &workers.description),
            self.rng.random_range(0..10),
        ) {
            (Some(worker), 0..7) => vec![worker.slot_profile().clone(); worker.slots()],
            (Some(worker), 7) => vec![worker.slot_profile().clone(); 3 * worker.slots()],
            _ => scenario::slots(&mut self.rng),
        }
    }
}

/// The actions that the manager calls.
#[derive(Debug, Clone)]
pub(crate) struct ClusterActions {
    pub(crate) answers: ImmediateAnswers,
    pub(crate) log: CallLog,
}

impl ResourceManagerActions for ClusterActions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let promise = self.answers.answer_worker_request();
        let ask = Action::AllocateResource {
            worker_request,
            resource_profile: resource_profile.clone(),
        };
        self.log.record(ask, CallAnswer::Promise(promise.clone()));
        promise
    }

    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        let answer = self.answers.answer_release();
        let ask = Action::ReleaseResource(release.clone());
        self.log.record(ask, CallAnswer::Release(answer));
        answer
    }

    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        let withdrawal = self.answers.answer_withdrawal();
        let ask = Action::WithdrawResource(withdraw.clone());
        self.log.record(ask, CallAnswer::Withdrawal(withdrawal));
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
        self.log.record(notice, CallAnswer::Nothing);
    }

    fn notify_slot_allocated(&mut self, job_id: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        let notice = Action::NotifySlotAllocated {
            job_id,
            allocation_id,
            slot_id: slot_id.clone(),
        };
        self.log.record(notice, CallAnswer::Nothing);
    }

    fn notify_not_enough_resources(&mut self, job_id: JobId, shortage: &ResourceShortage) {
        let notice = Action::NotifyNotEnoughResources {
            job_id,
            shortage: shortage.clone(),
        };
        self.log.record(notice, CallAnswer::Nothing);
    }
}
