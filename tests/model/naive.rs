//! The slot manager in its most obvious form: lists that are searched from the beginning, without
//! an index, a cache or a counter.
//!
//! The model shows the right behaviour and ignores speed. The slot manager must agree with it in
//! everything that a caller can see. This file has the state and the inputs. Each rule is a module
//! of about a page.

use std::time::Duration;

use slot_manager::error::{NotStarted, SlotAllocationError};
use slot_manager::message::{
    Allocation, FreeSlot, GrantLoss, ReleaseDecision, RequestFailure, ShortageCause, WithdrawResource,
};
use slot_manager::testing::{Action, Effect, GatewayCall};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, SlotId, SlotManagerConfig, Timestamp,
    WorkerRequestId,
};

use crate::command::{self, Answer, Command, Promise as PromiseAnswer, slot_freed};
use crate::common::{allocation, instance, job};
use crate::observation::{Outcome, Response};

mod amounts;
mod attempts;
mod blocking;
mod candidates;
mod commit;
mod cuts;
mod dynamic_workers;
mod failing_workers;
mod flush;
mod grants;
mod idle_release;
mod leadership;
mod limits;
mod lookups;
mod matching;
mod promised_workers;
mod promises;
mod reconcile;
mod recovery;
mod registrations;
mod reports;
mod requests;
mod requirements;
mod reserve;
mod scripted_answers;
mod set_aside;
mod slots;
mod start_backoff;
mod suspects;
mod timers;
mod unfulfillable;
mod view;
mod worker_requests;

use self::dynamic_workers::Resources;
use self::failing_workers::Failures;
use self::promised_workers::PromisedWorker;
use self::promises::Fulfilled;
use self::requirements::{Declaration, Holding};
use self::scripted_answers::ScriptedAnswers;
use self::set_aside::Earmark;
use self::start_backoff::StartBackoff;
use self::suspects::FailingJob;

/// The model of the slot manager.
#[derive(Debug, Clone)]
pub(crate) struct NaiveSlotManager {
    config: SlotManagerConfig,
    leader: Option<LeaderId>,
    /// The time when the leadership ends by itself; `MAX` if it does not.
    leads_until: Timestamp,
    /// The time of the clock, which can go back.
    clock: Timestamp,
    /// The latest time that the manager has seen.
    now: Timestamp,
    /// No timer that is armed now falls due before this time. While deadlines are handled, that is
    /// a millisecond later.
    earliest_rearm: Timestamp,
    /// Oldest first.
    task_managers: Vec<TaskManager>,
    /// Requests that are not granted, oldest first.
    requests: Vec<Request>,
    declarations: Vec<Declaration>,
    /// The slots that jobs hold, once a job has declared.
    holdings: Vec<Holding>,
    has_accounts: bool,
    /// Oldest first.
    promises: Vec<Promise>,
    /// Oldest first.
    promised_workers: Vec<PromisedWorker>,
    /// The worker requests of which workers fulfilled a slot or the total that named another one or
    /// none, each with the last such slot or the total.
    fulfilled_by_others: Vec<(WorkerRequestId, Fulfilled)>,
    /// As operators said last; they outlast a leadership.
    blocked: Vec<ResourceId>,
    /// Blocks and unblocks since the leadership has ended.
    unapplied_blocks: Vec<ResourceId>,
    /// Jobs of which an attempt failed since their last grant.
    failing_jobs: Vec<FailingJob>,
    /// The instance ids of replaced registrations, the last ones only. Oldest first.
    superseded: Vec<InstanceId>,
    start_backoff: StartBackoff,
    /// No worker is requested before this time.
    recovery: Option<Timer>,
    /// The recovery ends when all of these workers have registered.
    expected_workers: Option<Vec<ResourceId>>,
    /// The workers that have registered in this leadership, also those that are gone.
    came: Vec<ResourceId>,
    /// No request fails as unfulfillable before this time.
    grace_period: Option<Timer>,
    /// No reserve worker is requested before this time.
    reserve_backoff: Option<Timer>,
    fail_unfulfillable: bool,
    earmark: Option<Earmark>,
    /// The number of the last attempt.
    attempts: u64,
    /// The number of the last worker request.
    worker_requests: u64,
    /// The number of the last unit of declared requirements.
    units: u64,
    /// The number of the last release check.
    release_checks: u64,
    /// The last sequence number; an earlier event has a smaller one.
    order: u64,
    /// The answers of the resource manager to worker requests, releases and withdrawals.
    workers: ScriptedAnswers<PromiseAnswer>,
    releases: ScriptedAnswers<bool>,
    withdrawals: ScriptedAnswers<bool>,
    transaction: Transaction,
    outbox: Outbox,
    /// The effects of the current call.
    effects: Vec<Effect>,
}

/// The number of workers on which the failures of a request are remembered.
const MOST_TRIED: usize = 64;

/// A deadline and the sequence number of its arming, which orders timers of the same time.
type Timer = (Timestamp, u64);

/// A registration.
#[derive(Debug, Clone)]
struct TaskManager {
    resource_id: ResourceId,
    instance_id: InstanceId,
    /// The number of the registration. An instance can register again.
    registration: u64,
    worker_request: Option<WorkerRequestId>,
    /// Its first slots have ended the promise of its worker request.
    has_fulfilled: bool,
    /// The failed attempts since its last acknowledgement.
    failures: Failures,
    answers: ScriptedAnswers<Answer>,
    release_answers: ScriptedAnswers<ReleaseDecision>,
    /// The resources of a dynamic worker.
    resources: Option<Resources>,
    /// Ordered by slot number. Those of a dynamic worker are its cuts.
    slots: Vec<Slot>,
    /// The highest revision of a report or an acknowledgement.
    highest_revision: Option<u64>,
    /// The revision of the last report that has one.
    reported_revision: Option<u64>,
    idle_since: Option<Timestamp>,
    /// The number of the current or last idle period.
    idle_periods: u64,
    idle_timer: Timer,
    /// Set while it is kept after its idle timeout because it is needed. Smaller numbers were kept
    /// first.
    kept: Option<u64>,
    /// The number of an open release check, and the deadline of its answer.
    release_check: Option<(u64, Timer)>,
}

/// A registered slot.
#[derive(Debug, Clone)]
struct Slot {
    id: SlotId,
    profile: ResourceProfile,
    state: State,
    /// The allocation whose attempt failed last, and the number of backoffs since the last success.
    failed: Option<(AllocationId, u32)>,
    /// The jobs of the failed attempts since the last success.
    refused: Vec<JobId>,
}

/// The state of a slot.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Free. The commit offers it. A cut ends there.
    Detached,
    /// Free and offered, with its place in the queue of offered slots.
    Offered(u64),
    /// Free, but the slot backs off after failed attempts.
    BackingOff(Timer),
    /// Free, but its worker backs off, or has not acknowledged an attempt since its backoff.
    WorkerBacksOff,
    /// Free, but its worker is blocked.
    Blocked,
    /// An attempt for this allocation is in flight to it.
    InFlight(AllocationId),
    Allocated {
        allocation: Allocation,
        /// Set if another slot is the grant of the allocation. Smaller numbers were found first.
        secondary: Option<u64>,
    },
}

/// A request that is not granted.
#[derive(Debug, Clone)]
struct Request {
    allocation_id: AllocationId,
    job_id: JobId,
    profile: ResourceProfile,
    /// Older requests have a smaller number.
    order: u64,
    deadline: Timestamp,
    failed_attempts: u32,
    last_failure: Option<SlotAllocationError>,
    /// The registrations on which its attempts failed.
    tried_on: Vec<u64>,
    /// Without a slot of a worker that it was not tried on, it backs off.
    must_back_off: bool,
    /// It is a unit of the declared requirements of its job.
    is_declared: bool,
    /// The end of the reservation delay, unless it is over or endless.
    young_until: Option<Timer>,
    stage: Stage,
}

/// The place of a request.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// In no other place. The commit places it.
    Detached,
    /// Waits. The commit binds it to a promised slot, or else it needs a worker.
    Unbound,
    /// Waits, bound to a promised slot.
    Bound,
    /// Waits. This call makes a worker request for it.
    NeedsWorker,
    /// Waits. Its worker request is deferred.
    Deferred,
    /// Waits. No worker could serve it, so none is requested.
    NotServedByWorkers,
    /// Waits. Its worker request was declined and is repeated at this time.
    Declined(Timer),
    /// Backs off after failed attempts.
    BackingOff(Timer),
    /// An attempt for it is in flight.
    InFlight {
        slot: SlotId,
        attempt: u64,
        answer: Expected,
    },
}

/// The answer to an attempt.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    /// The slot request has not been sent.
    NotSent,
    /// The answer is there. This call applies it.
    Arrived,
    /// The future completes before the timer or never. Once given, `run` applies the answer.
    Awaited(Timer, Option<Answer>),
    /// The answer is an input before the timer, or never comes.
    AwaitedAsInput(Timer),
}

/// A promised slot.
#[derive(Debug, Clone)]
struct Promise {
    worker_request: WorkerRequestId,
    profile: ResourceProfile,
    expires: Timer,
    /// Older promised slots have a smaller number.
    order: u64,
    bound_to: Option<AllocationId>,
    /// Orders unbound promised slots: smaller numbers were unbound first.
    unbound_since: u64,
    /// A slot of its worker has registered.
    worker_arrived: bool,
    /// A withdrawal of its worker was too late, and no slot of the worker was bound since.
    withdrawal_tried: bool,
}

/// The work that a transaction leaves for its commit.
#[derive(Debug, Clone, Default)]
struct Transaction {
    /// Slots that became free.
    freed: Vec<SlotId>,
    /// Requests that look for a slot.
    detached: Vec<AllocationId>,
    /// Slots whose allocation is granted on another slot.
    secondaries: Vec<SlotId>,
    /// Dynamic workers that may serve requests, in the order in which they were noted.
    workers: Vec<InstanceId>,
    /// Workers that may admit a probe that they did not admit before.
    probes: Vec<InstanceId>,
    /// A task manager has brought the first slots of its registration.
    has_newcomer: bool,
    /// The worker requests of promised slots that new slots like them have replaced.
    fulfilled: Vec<WorkerRequestId>,
    /// New slots that fulfilled no promise, though they could.
    unfulfilling: Vec<SlotId>,
    /// The numbers of promised slots that were set free, in this order.
    freed_promises: Vec<u64>,
    /// The worker requests of promised workers of which more remains.
    grown_promises: Vec<WorkerRequestId>,
    /// Requests that need a promised slot or a worker.
    unbound: Vec<AllocationId>,
    /// Declaring jobs whose charges or requirements have changed.
    jobs: Vec<JobId>,
    /// A worker that is not set aside any more.
    no_longer_set_aside: Option<InstanceId>,
    /// Task managers that may have become idle.
    unused: Vec<InstanceId>,
    dropped: Vec<Dropped>,
}

/// A dropped grant. The commit decides whether it is lost.
#[derive(Debug, Clone)]
struct Dropped {
    slot: SlotId,
    allocation: Allocation,
    loss: GrantLoss,
}

/// Effects that the next flush sends, by kind.
#[derive(Debug, Clone, Default)]
struct Outbox {
    notifications: Vec<(Option<SlotId>, Action)>,
    shortages: Vec<(JobId, ShortageCause)>,
    frees: Vec<FreeSlot>,
    inactive_frees: Vec<GatewayCall>,
    /// The age of the request and the number of the attempt.
    slot_requests: Vec<(u64, u64)>,
    withdrawals: Vec<WithdrawResource>,
    /// The ages of the requests that need a worker.
    worker_requests: Vec<u64>,
    /// The numbers of the idle periods.
    releases: Vec<(InstanceId, u64)>,
    /// Answers that have arrived, by attempt.
    answers: Vec<(u64, Answer)>,
    /// The request that is being registered, and its end if it ends within the call.
    registering: Option<(AllocationId, Option<Result<SlotId, RequestFailure>>)>,
}

impl NaiveSlotManager {
    pub(crate) fn new(config: SlotManagerConfig) -> Self {
        Self {
            fail_unfulfillable: config.fail_unfulfillable_requests,
            config,
            leader: None,
            leads_until: Timestamp::MAX,
            clock: Timestamp::ZERO,
            now: Timestamp::ZERO,
            earliest_rearm: Timestamp::ZERO,
            task_managers: Vec::new(),
            requests: Vec::new(),
            declarations: Vec::new(),
            holdings: Vec::new(),
            has_accounts: false,
            promises: Vec::new(),
            promised_workers: Vec::new(),
            fulfilled_by_others: Vec::new(),
            blocked: Vec::new(),
            unapplied_blocks: Vec::new(),
            failing_jobs: Vec::new(),
            superseded: Vec::new(),
            start_backoff: StartBackoff::default(),
            recovery: None,
            expected_workers: None,
            came: Vec::new(),
            grace_period: None,
            reserve_backoff: None,
            earmark: None,
            attempts: 0,
            worker_requests: 0,
            units: 0,
            release_checks: 0,
            order: 0,
            workers: ScriptedAnswers::new(PromiseAnswer::Declined),
            releases: ScriptedAnswers::new(true),
            withdrawals: ScriptedAnswers::new(false),
            transaction: Transaction::default(),
            outbox: Outbox::default(),
            effects: Vec::new(),
        }
    }

    /// Applies a command, and returns its outcome and its effects.
    pub(crate) fn apply(&mut self, command: &Command) -> Response {
        let outcome = self.outcome_of(command);
        let effects = std::mem::take(&mut self.effects);
        Response { outcome, effects }
    }

    fn outcome_of(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Start { leader, length } => {
                let until = length.map_or(Timestamp::MAX, |length| self.clock + length);
                Outcome::Start(self.start_until(LeaderId::from_u128(*leader), until))
            }
            Command::Suspend => Outcome::Suspend(self.suspend()),
            Command::Renew(length) => Outcome::Renew(self.renew(self.clock + *length)),
            Command::ExpectWorkers(workers) => Outcome::Recovery(
                self.expect_workers(workers.iter().map(|worker| ResourceId::new(worker.as_str())).collect()),
            ),
            Command::EndRecovery => Outcome::Recovery(self.expect_workers(Vec::new())),
            Command::Request {
                allocation: id,
                job: job_id,
                profile,
            } => Outcome::Request(self.request(allocation(*id), job(*job_id), profile.profile())),
            Command::Cancel { allocation: id } => Outcome::Cancel(self.cancel(allocation(*id))),
            Command::Declare {
                job: job_id,
                slots,
                revision,
            } => Outcome::Declare(self.declare(&command::requirements(*job_id, slots, *revision))),
            Command::UnregisterJob { job: id } => Outcome::UnregisterJob(self.unregister_job(job(*id))),
            Command::Free {
                slot,
                allocation: id,
                revision,
                attempt,
            } => Outcome::Free(self.slot_freed(&slot_freed(slot, *id, *revision, *attempt))),
            Command::Register {
                worker,
                instance: id,
                worker_request,
                answer,
                report,
            } => {
                let worker_request = worker_request.map(|name| name.id(self.leader));
                let resource_id = ResourceId::new(worker.as_str());
                Outcome::Register(self.register(resource_id, instance(*id), worker_request, *answer, report))
            }
            Command::Unregister { instance: id } => Outcome::Unregister(self.unregister(instance(*id))),
            Command::Report { instance: id, report } => Outcome::Report(self.report(instance(*id), report)),
            Command::WorkerFailed { worker_request } => {
                Outcome::WorkerFailed(self.worker_failed(worker_request.id(self.leader)))
            }
            Command::Block { worker } => Outcome::Block(self.block(ResourceId::new(worker.as_str()))),
            Command::Unblock { worker } => Outcome::Unblock(self.unblock(&ResourceId::new(worker.as_str()))),
            Command::FailUnfulfillable(fail) => {
                self.set_fail_unfulfillable(*fail);
                Outcome::Nothing
            }
            Command::AnswerRelease { check, answer } => {
                Outcome::AnswerRelease(self.answer_release((*check).into(), *answer))
            }
            Command::Answers {
                instance: id,
                once,
                answer,
            } => {
                let mut all = self.task_managers.iter_mut();
                if let Some(task_manager) = all.find(|it| it.instance_id == instance(*id)) {
                    task_manager.answers.set(*once, *answer);
                }
                Outcome::Nothing
            }
            Command::Answer { attempt, answer } => Outcome::Answered(self.answer(*attempt, *answer)),
            Command::AnswerInput { attempt, answer } => match answer.result() {
                Some(_) => Outcome::AnswerInput(self.answer_slot_request((*attempt).into(), *answer)),
                None => Outcome::Nothing,
            },
            Command::Workers { once, promise } => {
                self.workers.set(*once, promise.clone());
                Outcome::Nothing
            }
            Command::Releases { once, accept } => {
                self.releases.set(*once, *accept);
                Outcome::Nothing
            }
            Command::Withdrawals { once, confirm } => {
                self.withdrawals.set(*once, *confirm);
                Outcome::Nothing
            }
            Command::ReleaseAnswers {
                instance: id,
                once,
                answer,
            } => {
                let mut all = self.task_managers.iter_mut();
                if let Some(task_manager) = all.find(|it| it.instance_id == instance(*id)) {
                    task_manager.release_answers.set(*once, *answer);
                }
                Outcome::Nothing
            }
            Command::Advance(by) => {
                self.clock = self.clock + *by;
                Outcome::Nothing
            }
            Command::TurnBack(by) => {
                self.clock = Timestamp::ZERO + self.clock.since_origin().saturating_sub(*by);
                Outcome::Nothing
            }
            Command::Run => Outcome::Ran(self.run()),
        }
    }

    /// Begins an input. Inputs see the time but handle no deadline.
    fn begin_input(&mut self) -> Result<(), NotStarted> {
        self.leader.ok_or(NotStarted)?;
        self.now = self.now.max(self.clock);
        self.earliest_rearm = Timestamp::ZERO;
        match self.is_leading() {
            true => Ok(()),
            false => Err(NotStarted),
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.leader.is_some()
    }

    /// Ends an input.
    ///
    /// Every input reconciles, even if it changed nothing. Only inputs that return early do not:
    /// duplicates, refusals and unknown ids.
    fn end_input(&mut self) {
        self.commit();
        self.flush();
        self.reconcile();
    }

    /// Drives the manager until it stalls and returns the number of events.
    ///
    /// Each round applies the given answers in the order of their attempts, handles due deadlines
    /// and flushes.
    fn run(&mut self) -> usize {
        let mut events = 0;
        while self.leader.is_some() {
            self.now = self.now.max(self.clock);
            self.earliest_rearm = self.now + Duration::from_millis(1);
            if !self.is_leading() {
                break;
            }
            let mut given: Vec<_> = self.requests.iter().filter_map(Request::given_answer).collect();
            given.sort_by_key(|(attempt, _)| *attempt);
            let before = events;
            events += given.len();
            self.outbox.answers = given;
            self.apply_answers();
            while self.handle_earliest_due() {
                events += 1;
            }
            self.flush();
            if events == before {
                break;
            }
            self.reconcile();
        }
        events
    }

    /// Returns the next sequence number.
    fn next(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

impl Request {
    /// Returns the attempt and its answer, once given.
    fn given_answer(&self) -> Option<(u64, Answer)> {
        match self.stage {
            Stage::InFlight {
                attempt,
                answer: Expected::Awaited(_, Some(answer)),
                ..
            } => Some((attempt, answer)),
            _ => None,
        }
    }

    /// Returns `true` if an offered slot may serve it.
    fn is_waiting(&self) -> bool {
        self.stage == Stage::Bound || self.is_unbound()
    }

    /// Returns `true` if its attempts failed on this registration, or on too many to remember.
    /// Counts a failed attempt on a registration.
    fn failed_on(&mut self, registration: u64) {
        self.failed_attempts += 1;
        self.must_back_off = self.failed_attempts >= 2;
        if !self.tried_on.contains(&registration) {
            self.tried_on.push(registration);
        }
    }

    fn was_tried_on(&self, task_manager: &TaskManager) -> bool {
        self.tried_on.len() > MOST_TRIED || self.tried_on.contains(&task_manager.registration)
    }

    /// Returns `true` if it backs off.
    fn backs_off(&self) -> bool {
        matches!(self.stage, Stage::BackingOff(_))
    }

    /// Returns `true` if it waits without a promised slot.
    fn is_unbound(&self) -> bool {
        matches!(
            self.stage,
            Stage::Unbound | Stage::NeedsWorker | Stage::Deferred | Stage::NotServedByWorkers | Stage::Declined(_)
        )
    }
}

impl TaskManager {
    /// Returns the number of its slots that are in flight or allocated.
    fn used(&self) -> usize {
        let used = |slot: &&Slot| matches!(slot.state, State::InFlight(_) | State::Allocated { .. });
        self.slots.iter().filter(used).count()
    }
}
