//! The two traits: they note each call of the manager, and answer for workers and the resource
//! manager.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use slot_manager::config::WorkerDescription;
use slot_manager::error::ResourceManagerError;
use slot_manager::message::{
    AllocateSlot, AllocationFailureCause, AttemptId, FreeSlot, Release, ReleaseCheck, ReleaseDecision, ReleaseResource,
    SlotAnswer, SlotResult, WithdrawResource, Withdrawal, WorkerPromise,
};
use slot_manager::task_executor::{AnswerSender, PendingAnswer};
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{
    AllocationId, JobId, ResourceManagerActions, ResourceProfile, ScheduledExecutor, SlotId, TaskExecutorGateway,
    WorkerRequestId,
};

use super::resource_manager::{Start, StartPolicy, promise};
use super::workers::{Answers, Worker};

/// A call of the manager, with the answer that it got.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    RequestSlot {
        worker: usize,
        request: AllocateSlot,
        /// The answer, if it was given within the call.
        answer: Option<SlotResult>,
        /// The request still has to travel to the worker.
        travels: bool,
    },
    FreeSlot {
        worker: usize,
        request: FreeSlot,
    },
    Allocate {
        worker_request: WorkerRequestId,
        start: Start,
        promised: Vec<ResourceProfile>,
    },
    Release(ReleaseResource),
    Withdraw {
        worker_request: WorkerRequestId,
        is_confirmed: bool,
    },
    Granted {
        allocation: AllocationId,
        slot: SlotId,
    },
    Failed {
        allocation: AllocationId,
        cause: AllocationFailureCause,
    },
}

/// The state that the traits share with the simulation.
pub(crate) struct Outside {
    pub(crate) clock: ManualScheduledExecutor,
    pub(crate) calls: Vec<Call>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) poisoned_jobs: BTreeSet<u64>,
    /// The futures that wait for an answer.
    pub(crate) senders: BTreeMap<AttemptId, AnswerSender>,
    pub(crate) policy: StartPolicy,
    pub(crate) description: Option<WorkerDescription>,
    /// Worker requests whose worker has not come and can still be stopped.
    pub(crate) cancellable: BTreeSet<u64>,
}

impl Outside {
    /// Returns the answer of a worker to a slot request.
    pub(crate) fn answer(&mut self, worker: usize, request: &AllocateSlot) -> Option<SlotResult> {
        let is_poisoned = self.poisoned_jobs.contains(&number(request.job_id.as_u128()));
        let now = self.clock.now();
        self.workers[worker].answer(request, is_poisoned, now)
    }
}

/// Returns an id of the simulation as the number that it was made from.
pub(crate) fn number(id: u128) -> u64 {
    u64::try_from(id).expect("ids are small numbers")
}

/// The gateway of one registration.
pub(crate) struct Gateway {
    pub(crate) outside: Rc<RefCell<Outside>>,
    pub(crate) worker: usize,
}

impl TaskExecutorGateway for Gateway {
    type RequestSlotFuture = PendingAnswer;

    fn request_slot(&mut self, request: &AllocateSlot) -> SlotAnswer<PendingAnswer> {
        let mut outside = self.outside.borrow_mut();
        let answers = outside.workers[self.worker].spec.answers;
        let answer = match answers {
            Answers::InCall => outside.answer(self.worker, request),
            Answers::ByFuture | Answers::Later => None,
        };
        outside.calls.push(Call::RequestSlot {
            worker: self.worker,
            request: request.clone(),
            answer: answer.clone(),
            travels: answers != Answers::InCall,
        });
        match (answers, answer) {
            (_, Some(answer)) => SlotAnswer::Ready(answer),
            (Answers::ByFuture, None) => {
                let (sender, answer) = PendingAnswer::new();
                outside.senders.insert(request.attempt_id(), sender);
                SlotAnswer::Future(answer)
            }
            _ => SlotAnswer::Later,
        }
    }

    fn free_slot(&mut self, request: &FreeSlot) {
        let worker = self.worker;
        let request = request.clone();
        self.outside.borrow_mut().calls.push(Call::FreeSlot { worker, request });
    }

    fn can_be_released(&mut self, _: &ReleaseCheck) -> ReleaseDecision {
        ReleaseDecision::Release
    }
}

/// The resource manager.
pub(crate) struct Actions(pub(crate) Rc<RefCell<Outside>>);

impl ResourceManagerActions for Actions {
    fn allocate_resource(
        &mut self,
        worker_request: WorkerRequestId,
        resource_profile: &ResourceProfile,
    ) -> Result<WorkerPromise, ResourceManagerError> {
        let mut outside = self.0.borrow_mut();
        let start = outside.policy.next();
        let (worker_promise, promised) = promise(outside.description.as_ref(), resource_profile);
        let (answer, promised) = match &start {
            Start::Worker { .. } | Start::Silent | Start::Fails { .. } => (Ok(worker_promise), promised),
            Start::Declined => (Ok(WorkerPromise::Declined), Vec::new()),
            Start::Refused => (Err(ResourceManagerError::new("no quota")), Vec::new()),
        };
        if !promised.is_empty() {
            outside.cancellable.insert(worker_request.number());
        }
        outside.calls.push(Call::Allocate {
            worker_request,
            start,
            promised,
        });
        answer
    }

    fn release_resource(&mut self, release: &ReleaseResource) -> Release {
        self.0.borrow_mut().calls.push(Call::Release(release.clone()));
        Release::Accepted
    }

    fn withdraw_resource(&mut self, withdraw: &WithdrawResource) -> Withdrawal {
        let mut outside = self.0.borrow_mut();
        let worker_request = withdraw.worker_request;
        let is_confirmed = outside.policy.confirms_withdrawals && outside.cancellable.remove(&worker_request.number());
        outside.calls.push(Call::Withdraw {
            worker_request,
            is_confirmed,
        });
        if is_confirmed {
            Withdrawal::Confirmed
        } else {
            Withdrawal::TooLate
        }
    }

    fn notify_allocation_failure(&mut self, _: JobId, allocation_id: AllocationId, cause: &AllocationFailureCause) {
        self.0.borrow_mut().calls.push(Call::Failed {
            allocation: allocation_id,
            cause: cause.clone(),
        });
    }

    fn notify_slot_allocated(&mut self, _: JobId, allocation_id: AllocationId, slot_id: &SlotId) {
        self.0.borrow_mut().calls.push(Call::Granted {
            allocation: allocation_id,
            slot: slot_id.clone(),
        });
    }
}
