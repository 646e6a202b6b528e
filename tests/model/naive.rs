//! The manager in its most obvious form: lists that are searched from the beginning, and no index, cache or counter.
//!
//! It says what is right, not how it is fast; the slot manager has to agree with it in everything that can be seen. This
//! file has the state and what can happen to it; what follows from that is in the modules, a page each.

use std::time::Duration;

use slot_manager::testing::Effect;
use slot_manager::{
    AllocationId, AllocationStatus, CancelOutcome, Conflict, FreeSlotOutcome, GrantLoss, InstanceId, JobId, LeaderId,
    NotStarted, RegistrationOutcome, ReleaseDecision, ReportOutcome, RequestFailure, ResourceId, ResourceProfile,
    SlotAllocationError, SlotId, SlotManagerConfig, SlotReportError, SlotRequestError, SlotRequestOutcome, Stale,
    Timestamp, UnregistrationOutcome, WorkerFailedOutcome, WorkerRequestId,
};

use crate::command::{Answer, Command, Promise as PromiseAnswer, Report};
use crate::common::{allocation, instance, job};
use crate::observation::{Outcome, Response};

mod answers;
mod asking;
mod blocking;
mod capacity;
mod choice;
mod leadership;
mod limits;
mod lookups;
mod outside;
mod promises;
mod releases;
mod reports;
mod requests;
mod script;
mod settling;
mod slots;
mod spares;
mod time;
mod unfulfillable;
mod view;

use self::script::Script;

#[derive(Debug, Clone)]
pub(crate) struct NaiveSlotManager {
    config: SlotManagerConfig,
    leader: Option<LeaderId>,
    /// What the clock says, and the latest that was seen of it.
    clock: Timestamp,
    now: Timestamp,
    /// What is armed now falls due no earlier than this: while time is handled, a millisecond later.
    earliest_rearm: Timestamp,
    /// Oldest first.
    task_managers: Vec<TaskManager>,
    /// Those not granted, oldest first.
    requests: Vec<Request>,
    /// Oldest first.
    promises: Vec<Promise>,
    blocked: Vec<ResourceId>,
    /// Until then no worker is asked for.
    recovery: Option<Timer>,
    /// Until then no request fails as unfulfillable.
    grace_period: Option<Timer>,
    /// Until then no worker is asked for that no request needs.
    spare_ask: Option<Timer>,
    fail_unfulfillable: bool,
    attempts: u64,
    worker_requests: u64,
    questions: u64,
    /// Whatever came first has the smaller number.
    order: u64,
    workers: Script<PromiseAnswer>,
    releases: Script<bool>,
    withdrawals: Script<bool>,
    transaction: Transaction,
    said: Said,
    effects: Vec<Effect>,
}

/// When, and which of two at one time was armed first.
type Timer = (Timestamp, u64);

#[derive(Debug, Clone)]
struct TaskManager {
    resource_id: ResourceId,
    instance_id: InstanceId,
    worker_request: Option<WorkerRequestId>,
    answers: Script<Answer>,
    release_answers: Script<ReleaseDecision>,
    /// By number.
    slots: Vec<Slot>,
    highest_revision: Option<u64>,
    reported_revision: Option<u64>,
    idle_since: Option<Timestamp>,
    idle_periods: u64,
    release: Timer,
    /// Its idle timeout is over, but it is needed; which of those came to that first.
    kept: Option<u64>,
    /// It was asked whether it can go, and has not answered: the number, and when that counts as no.
    question: Option<(u64, Timer)>,
}

#[derive(Debug, Clone)]
struct Slot {
    id: SlotId,
    profile: ResourceProfile,
    state: State,
    /// The allocation whose attempt failed last, and how many pauses followed since one succeeded.
    failed: Option<(AllocationId, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Free, and not offered yet.
    Unplaced,
    /// Free, with its place among the offered ones.
    Offered(u64),
    Withheld(Timer),
    /// Free, but its task manager is blocked.
    Blocked,
    /// An attempt for this allocation is under way.
    InFlight(AllocationId),
    Allocated {
        holder: (AllocationId, JobId),
        /// Another slot is the grant; which of those beside it was found first.
        beside: Option<u64>,
    },
}

#[derive(Debug, Clone)]
struct Request {
    allocation_id: AllocationId,
    job_id: JobId,
    profile: ResourceProfile,
    order: u64,
    deadline: Timestamp,
    failed_attempts: u32,
    last_failure: Option<SlotAllocationError>,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// In none of the places below, until the transaction ends.
    Unplaced,
    /// Waits, and a promised slot covers it.
    Covered,
    /// Waits, and a worker is asked for in this call.
    Uncovered,
    /// Waits, and a worker is asked for when that may be.
    Held,
    /// Waits, and no worker is asked for: none could serve it.
    NotServedByWorkers,
    /// Waits, and a worker is asked for again.
    Declined(Timer),
    Paused(Timer),
    InFlight {
        slot: SlotId,
        attempt: u64,
        answer: Expected,
    },
}

/// The answer to an attempt.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    /// The task executor has not been asked yet.
    NotAsked,
    /// It is there, and applied within this call.
    Here,
    /// It comes before the timer or never; once given, it is seen when the manager is driven.
    Awaited(Timer, Option<Answer>),
}

#[derive(Debug, Clone)]
struct Promise {
    worker_request: WorkerRequestId,
    profile: ResourceProfile,
    expires: Timer,
    order: u64,
    covers: Option<AllocationId>,
    /// Which of those that cover nothing came to that first.
    unbound: u64,
    /// A slot of its worker has registered.
    began_to_come: bool,
    /// Its worker was asked to be withdrawn since it last covered a request.
    asked_to_withdraw: bool,
}

/// What a transaction leaves to be judged at its end.
#[derive(Debug, Clone, Default)]
struct Transaction {
    freed: Vec<SlotId>,
    unplaced: Vec<AllocationId>,
    beside: Vec<SlotId>,
    /// Task managers that came to have no used slot.
    unused: Vec<InstanceId>,
    dropped: Vec<Dropped>,
}

/// A grant that was dropped. Whether it is lost is judged when the transaction is complete.
#[derive(Debug, Clone)]
struct Dropped {
    slot: SlotId,
    holder: (AllocationId, JobId),
    loss: GrantLoss,
}

/// What is to be said when the state is consistent again, by kind.
#[derive(Debug, Clone, Default)]
struct Said {
    notifications: Vec<(Option<SlotId>, slot_manager::testing::Action)>,
    frees: Vec<slot_manager::FreeSlot>,
    /// By the age of the request, with the number of the attempt.
    slot_requests: Vec<(u64, u64)>,
    /// By the age of the request.
    asks: Vec<u64>,
    /// With the number of the idle period.
    releases: Vec<(InstanceId, u64)>,
    answers: Vec<(u64, Answer)>,
    /// The request that is being registered, and what became of it within the call.
    registering: Option<(AllocationId, Option<Result<SlotId, RequestFailure>>)>,
}

impl NaiveSlotManager {
    pub(crate) fn new(config: SlotManagerConfig) -> Self {
        Self {
            fail_unfulfillable: config.fail_unfulfillable_requests,
            config,
            leader: None,
            clock: Timestamp::ZERO,
            now: Timestamp::ZERO,
            earliest_rearm: Timestamp::ZERO,
            task_managers: Vec::new(),
            requests: Vec::new(),
            promises: Vec::new(),
            blocked: Vec::new(),
            recovery: None,
            grace_period: None,
            spare_ask: None,
            attempts: 0,
            worker_requests: 0,
            questions: 0,
            order: 0,
            workers: Script::new(PromiseAnswer::Declined),
            releases: Script::new(true),
            withdrawals: Script::new(false),
            transaction: Transaction::default(),
            said: Said::default(),
            effects: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Response {
        let outcome = self.outcome_of(command);
        let effects = std::mem::take(&mut self.effects);
        Response { outcome, effects }
    }

    fn outcome_of(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Start { leader } => Outcome::Start(self.start(LeaderId::from_u128(*leader))),
            Command::Suspend => Outcome::Suspend(self.suspend()),
            Command::Request {
                allocation: id,
                job: job_id,
                profile,
            } => Outcome::Request(self.request(allocation(*id), job(*job_id), profile.profile())),
            Command::Cancel { allocation: id } => Outcome::Cancel(self.cancel(allocation(*id))),
            Command::UnregisterJob { job: id } => Outcome::UnregisterJob(self.unregister_job(job(*id))),
            Command::Free { slot, allocation: id } => Outcome::Free(self.free(slot, allocation(*id))),
            Command::Register {
                worker,
                instance: id,
                worker_request,
                answer,
                report,
            } => {
                let worker_request = worker_request.map(WorkerRequestId::new);
                let resource_id = ResourceId::new(worker.as_str());
                Outcome::Register(self.register(resource_id, instance(*id), worker_request, *answer, report))
            }
            Command::Unregister { instance: id } => Outcome::Unregister(self.unregister(instance(*id))),
            Command::Report { instance: id, report } => Outcome::Report(self.report(instance(*id), report)),
            Command::WorkerFailed { worker_request } => {
                Outcome::WorkerFailed(self.worker_failed(WorkerRequestId::new(*worker_request)))
            }
            Command::Block { worker } => Outcome::Block(self.block(ResourceId::new(worker.as_str()))),
            Command::Unblock { worker } => Outcome::Unblock(self.unblock(&ResourceId::new(worker.as_str()))),
            Command::FailUnfulfillable(fail) => {
                self.set_fail_unfulfillable(*fail);
                Outcome::Nothing
            }
            Command::AnswerRelease { question, answer } => {
                Outcome::AnswerRelease(self.answer_release((*question).into(), *answer))
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

    /// An input never acts on time.
    fn begin_input(&mut self) -> Result<(), NotStarted> {
        self.leader.ok_or(NotStarted)?;
        self.now = self.now.max(self.clock);
        self.earliest_rearm = Timestamp::ZERO;
        Ok(())
    }

    /// Capacity is looked at even if nothing changed. Only a call that finds nothing to do at once does not come to this:
    /// what it registers is known or refused, or what it names is not known.
    fn end_input(&mut self) {
        self.settle();
        self.say_everything();
        self.look_at_capacity();
    }

    fn request(
        &mut self,
        allocation_id: AllocationId,
        job_id: JobId,
        profile: ResourceProfile,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        self.begin_input()?;
        if let Some(status) = self.status(allocation_id) {
            let pending = self.requests.iter().find(|it| it.allocation_id == allocation_id);
            let known = pending
                .map(|it| it.job_id)
                .or(self.grant(allocation_id).map(|(_, job)| job));
            let conflict = match pending {
                _ if known != Some(job_id) => Conflict::Job,
                Some(known) if known.profile != profile => Conflict::ResourceProfile,
                _ => return Ok(SlotRequestOutcome::Duplicate(status)),
            };
            return Err(SlotRequestError::Conflict {
                allocation_id,
                conflict,
                status,
            });
        }
        match self.config.max_pending_requests {
            Some(limit) if self.requests.len() >= limit => {
                return Err(SlotRequestError::TooManyPendingRequests { limit });
            }
            _ => {}
        }
        let request = Request {
            allocation_id,
            job_id,
            profile,
            order: self.next(),
            deadline: self.now + self.config.request_timeout,
            failed_attempts: 0,
            last_failure: None,
            stage: Stage::Unplaced,
        };
        self.requests.push(request);
        self.said.registering = Some((allocation_id, None));
        self.seek(allocation_id);
        self.end_input();
        match self.said.registering.take() {
            Some((_, Some(Ok(slot_id)))) => Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id })),
            Some((_, Some(Err(failure)))) => Err(SlotRequestError::Failed {
                allocation_id,
                failure: Box::new(failure),
            }),
            _ => {
                let status = self
                    .status(allocation_id)
                    .expect("neither granted nor failed: it is pending");
                Ok(SlotRequestOutcome::Accepted(status))
            }
        }
    }

    fn cancel(&mut self, allocation_id: AllocationId) -> Result<CancelOutcome, NotStarted> {
        self.begin_input()?;
        Ok(match self.status(allocation_id) {
            None => CancelOutcome::Unknown,
            Some(AllocationStatus::Granted { slot_id }) => CancelOutcome::AlreadyGranted { slot_id },
            Some(_) => {
                self.remove_request(allocation_id);
                self.end_input();
                CancelOutcome::Cancelled
            }
        })
    }

    fn unregister_job(&mut self, job_id: JobId) -> Result<usize, NotStarted> {
        self.begin_input()?;
        let all = self.requests.iter().filter(|it| it.job_id == job_id);
        let ids: Vec<_> = all.map(|it| it.allocation_id).collect();
        for id in &ids {
            self.remove_request(*id);
        }
        self.end_input();
        Ok(ids.len())
    }

    fn free(&mut self, slot: &SlotId, allocation_id: AllocationId) -> Result<FreeSlotOutcome, NotStarted> {
        self.begin_input()?;
        let Some(state) = self.find_slot(slot).map(|it| it.state.clone()) else {
            return Ok(FreeSlotOutcome::UnknownSlot);
        };
        let outcome = match state {
            State::Unplaced | State::Offered(_) | State::Withheld(_) | State::Blocked => FreeSlotOutcome::NotAllocated,
            State::InFlight(other) | State::Allocated { holder: (other, _), .. } if other != allocation_id => {
                FreeSlotOutcome::HeldByAnother { allocation_id: other }
            }
            State::InFlight(_) => {
                // It was served and is over; should the task executor see the request only now, it keeps nothing.
                self.fence(allocation_id);
                self.give(slot, allocation_id);
                FreeSlotOutcome::FreedInFlight
            }
            State::Allocated { .. } => FreeSlotOutcome::Freed,
        };
        if matches!(outcome, FreeSlotOutcome::Freed | FreeSlotOutcome::FreedInFlight) {
            self.set_state(slot, State::Unplaced);
            self.grant_or_promote(allocation_id);
            self.transaction.freed.push(slot.clone());
            self.end_input();
        }
        Ok(outcome)
    }

    fn register(
        &mut self,
        resource_id: ResourceId,
        instance_id: InstanceId,
        worker_request: Option<WorkerRequestId>,
        answer: Answer,
        report: &Report,
    ) -> Result<RegistrationOutcome, SlotReportError> {
        self.begin_input()?;
        if let Some(known) = self.task_manager(instance_id) {
            if known.resource_id != resource_id {
                return Err(SlotReportError::InstanceOfAnotherWorker {
                    instance_id,
                    registered: known.resource_id.clone(),
                    resource_id,
                });
            }
            return Ok(RegistrationOutcome::Reported(self.report(instance_id, report)?));
        }
        validate(&resource_id, report)?;
        if let Some(limit) = self.refusal(&resource_id, worker_request, report) {
            return Ok(RegistrationOutcome::Refused { limit });
        }
        let former = self
            .task_managers
            .iter()
            .find(|it| it.resource_id == resource_id)
            .cloned();
        if let Some(former) = &former {
            self.detach(former.instance_id, &GrantLoss::SlotRemoved);
        }
        self.task_managers.push(TaskManager {
            resource_id,
            instance_id,
            worker_request,
            answers: Script::new(answer),
            release_answers: Script::new(ReleaseDecision::Release),
            slots: Vec::new(),
            highest_revision: None,
            reported_revision: None,
            idle_since: None,
            idle_periods: 0,
            release: (Timestamp::MAX, 0),
            kept: None,
            question: None,
        });
        self.transaction.unused.push(instance_id);
        self.apply_report(instance_id, report, former.as_ref().map_or(&[], |it| &it.slots));
        self.say_what_took_the_place();
        self.end_input();
        Ok(match former {
            Some(former) => RegistrationOutcome::Replaced {
                previous: former.instance_id,
            },
            None => RegistrationOutcome::Registered,
        })
    }

    fn unregister(&mut self, instance_id: InstanceId) -> Result<UnregistrationOutcome, NotStarted> {
        self.begin_input()?;
        if self.task_manager(instance_id).is_none() {
            return Ok(UnregistrationOutcome::Unknown);
        }
        let cause = "lost".into();
        self.detach(instance_id, &GrantLoss::TaskManagerUnregistered { instance_id, cause });
        self.end_input();
        Ok(UnregistrationOutcome::Unregistered)
    }

    fn report(&mut self, instance_id: InstanceId, report: &Report) -> Result<ReportOutcome, SlotReportError> {
        self.begin_input()?;
        let Some(task_manager) = self.task_manager(instance_id) else {
            return Ok(ReportOutcome::Unknown);
        };
        validate(&task_manager.resource_id, report)?;
        if let (Some(revision), Some(highest_seen)) = (report.revision, task_manager.highest_revision) {
            if revision < highest_seen {
                return Ok(ReportOutcome::Ignored(Stale { revision, highest_seen }));
            }
        }
        self.apply_report(instance_id, report, &[]);
        self.end_input();
        Ok(ReportOutcome::Applied)
    }

    fn worker_failed(&mut self, worker_request: WorkerRequestId) -> Result<WorkerFailedOutcome, NotStarted> {
        self.begin_input()?;
        if !self.promises.iter().any(|it| it.worker_request == worker_request) {
            return Ok(WorkerFailedOutcome::Unknown);
        }
        let promised_slots = self.end_worker_request(worker_request);
        self.end_input();
        Ok(WorkerFailedOutcome::Forgotten { promised_slots })
    }

    fn answer(&mut self, number: u64, answer: Answer) -> bool {
        if answer == Answer::Later {
            return false;
        }
        self.requests.iter_mut().any(|request| match &mut request.stage {
            Stage::InFlight {
                attempt,
                answer: Expected::Awaited(_, given @ None),
                ..
            } if *attempt == number => {
                *given = Some(answer);
                true
            }
            _ => false,
        })
    }

    /// The attempts that wait for an answer.
    pub(crate) fn awaited_attempts(&self) -> Vec<u64> {
        let awaited = self.requests.iter().filter_map(|request| match request.stage {
            Stage::InFlight {
                attempt,
                answer: Expected::Awaited(_, None),
                ..
            } => Some(attempt),
            _ => None,
        });
        awaited.collect()
    }

    /// Rounds of: answers in the order of their attempts, what is due, what is to be said; until nothing happens.
    fn run(&mut self) -> usize {
        let mut events = 0;
        while self.leader.is_some() {
            self.now = self.now.max(self.clock);
            self.earliest_rearm = self.now + Duration::from_millis(1);
            let mut given: Vec<_> = self.requests.iter().filter_map(Request::given_answer).collect();
            given.sort_by_key(|(attempt, _)| *attempt);
            let before = events;
            events += given.len();
            self.said.answers = given;
            self.apply_answers();
            while self.handle_earliest_due() {
                events += 1;
            }
            self.say_everything();
            if events == before {
                break;
            }
            self.look_at_capacity();
        }
        events
    }

    fn next(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// A timer that is armed now.
    fn timer(&mut self, length: Duration) -> Timer {
        ((self.now + length).max(self.earliest_rearm), self.next())
    }
}

impl Request {
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

    fn is_waiting(&self) -> bool {
        self.stage == Stage::Covered || self.is_uncovered()
    }

    fn is_uncovered(&self) -> bool {
        matches!(
            self.stage,
            Stage::Uncovered | Stage::Held | Stage::NotServedByWorkers | Stage::Declined(_)
        )
    }
}

impl TaskManager {
    fn used(&self) -> usize {
        let used = |slot: &&Slot| matches!(slot.state, State::InFlight(_) | State::Allocated { .. });
        self.slots.iter().filter(used).count()
    }
}

/// What refuses a report whole.
fn validate(resource_id: &ResourceId, report: &Report) -> Result<(), SlotReportError> {
    let slots = || report.statuses.iter().map(|status| &status.slot);
    if let Some(foreign) = slots().find(|slot| slot.resource_id() != resource_id) {
        return Err(SlotReportError::ForeignSlot {
            resource_id: resource_id.clone(),
            slot_id: foreign.clone(),
        });
    }
    let twice = slots().filter(|slot| slots().filter(|other| other == slot).count() > 1);
    match twice.min() {
        Some(twice) => Err(SlotReportError::DuplicateSlot { slot_id: twice.clone() }),
        None => Ok(()),
    }
}
