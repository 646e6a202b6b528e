//! The loop of one run in virtual time: orders, messages and deadlines, each checked by the oracle.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use slot_manager::error::{RegistrationError, SlotAllocationError, SlotRequestError};
use slot_manager::message::{
    AllocateSlot, AllocationFailureCause, AttemptId, FreeSlot, ReleaseResource, SlotFreed, SlotResult,
};
use slot_manager::outcome::{ReportOutcome, SlotRequestOutcome, UnregistrationOutcome};
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::view::PendingSlotRequest;
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, ResourceRequirements, ScheduledExecutor,
    SlotManager, SlotReport, SlotRequest, TaskExecutorConnection, Timestamp, WorkerRequestId,
};

use super::history::History;
use super::oracle::record::{AskAnswer, Observed, ReportedSlot};
use super::oracle::{Broken, Oracle, Rule, Settings};
use super::outside::{Actions, Call, Gateway, Outside, number};
use super::resource_manager::Start;
use super::scenario::{Order, Scenario};
use super::workers::{Conduct, Naming, Worker, WorkerSpec};

const LEADER: LeaderId = LeaderId::from_u128(1);
const OTHER_LEADER: LeaderId = LeaderId::from_u128(99);
const HEARTBEAT: Duration = Duration::from_secs(45);

/// Invariants are checked after every call while fewer slots and requests are known. Their check
/// takes longer the more there are, so it is rarer then.
const SMALL: usize = 4;

/// A future event.
enum Event {
    Order(Order),
    WorkerStarts {
        spec: WorkerSpec,
        started_for: WorkerRequestId,
    },
    StartFails {
        worker_request: WorkerRequestId,
    },
    SlotsCome {
        worker: usize,
    },
    ConductChanges {
        worker: usize,
        conduct: Conduct,
    },
    RegistersLate {
        worker: usize,
        instance: InstanceId,
        report: SlotReport,
    },
    Heartbeat {
        worker: usize,
        instance: InstanceId,
    },
    RequestArrives {
        worker: usize,
        request: AllocateSlot,
    },
    FreeArrives {
        worker: usize,
        request: FreeSlot,
    },
    AnswerArrives {
        attempt: AttemptId,
        result: SlotResult,
    },
    FreedArrives {
        worker: usize,
        freed: SlotFreed,
    },
    HoldEnds {
        worker: usize,
        allocation: AllocationId,
    },
}

/// A request that is known to the oracle.
struct Request {
    id: AllocationId,
    job: u64,
    at: Timestamp,
    /// The time for which its grant is held.
    hold: Duration,
}

/// The requests that the manager makes for declared requirements. The simulation numbers them as
/// those of jobs.
#[derive(Default)]
struct DeclaredRequests {
    /// The jobs that declare, each with the time for which it holds a slot.
    jobs: BTreeMap<u64, Duration>,
    /// The numbers of all such requests so far.
    numbers: BTreeMap<AllocationId, u64>,
    ungranted: BTreeMap<AllocationId, u64>,
}

/// The result of a run.
pub(crate) struct Ended {
    pub(crate) steps: u64,
    /// The number of calls that the manager made.
    pub(crate) calls: u64,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
    pub(crate) worker_requests: u64,
    /// The number of attempts that the manager made.
    pub(crate) attempts: u64,
    /// For each grant, the job and the time from request to grant.
    pub(crate) waits: Vec<(u64, Duration)>,
    /// For each failure, the job.
    pub(crate) failures: Vec<u64>,
    /// The first violation of each rule.
    pub(crate) broken: Vec<Broken>,
}

/// The fleet, the manager and the oracle.
pub(crate) struct Simulation {
    clock: ManualScheduledExecutor,
    manager: SlotManager<Actions, Gateway, ManualScheduledExecutor>,
    outside: Rc<RefCell<Outside>>,
    oracle: Oracle,
    history: History,
    events: BTreeMap<(Timestamp, u64), Event>,
    scheduled: u64,
    instances: u128,
    allocations: u64,
    requests: BTreeMap<u64, Request>,
    declared: DeclaredRequests,
    blocked: BTreeSet<usize>,
    until: Timestamp,
    most_steps: u64,
    stops_at_first: bool,
    ungranted: usize,
    /// The step after which the invariants are checked next.
    next_check: u64,
    /// The number of registered slots.
    slots: usize,
    ended: Ended,
}

impl Simulation {
    /// Creates the fleet of a scenario.
    pub(crate) fn new(scenario: &Scenario, history: History) -> Self {
        let clock = ManualScheduledExecutor::new();
        let outside = Rc::new(RefCell::new(Outside {
            clock: clock.clone(),
            calls: Vec::new(),
            workers: Vec::new(),
            poisoned_jobs: BTreeSet::new(),
            senders: BTreeMap::new(),
            policy: scenario.starts.clone(),
            description: scenario
                .config
                .workers
                .as_ref()
                .map(|policy| policy.description.clone()),
            cancellable: BTreeSet::new(),
        }));
        let mut simulation = Self {
            manager: SlotManager::new(scenario.config.clone(), clock.clone()).expect("a valid configuration"),
            clock,
            outside,
            oracle: Oracle::new(Settings::of(&scenario.config)),
            history,
            events: BTreeMap::new(),
            scheduled: 0,
            instances: 0,
            allocations: 0,
            requests: BTreeMap::new(),
            declared: DeclaredRequests::default(),
            blocked: BTreeSet::new(),
            until: scenario.until,
            most_steps: scenario.most_steps,
            stops_at_first: scenario.stops_at_first,
            ungranted: 0,
            next_check: 0,
            slots: 0,
            ended: Ended {
                steps: 0,
                calls: 0,
                granted: 0,
                failed: 0,
                worker_requests: 0,
                attempts: 0,
                waits: Vec::new(),
                failures: Vec::new(),
                broken: Vec::new(),
            },
        };
        for (at, order) in &scenario.orders {
            simulation.schedule_at(*at, Event::Order(order.clone()));
        }
        simulation
    }

    /// Runs to the end of the scenario, or to the first violation if the scenario stops there.
    pub(crate) fn run(mut self) -> Ended {
        self.manager
            .start(LEADER, Actions(Rc::clone(&self.outside)))
            .expect("a first start");
        self.finish_call();
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.manager.next_deadline();
            let Some(next) = event
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|next| *next <= self.until)
            else {
                self.oracle.advance(self.until);
                break;
            };
            let now = self.clock.now();
            self.oracle.advance(next.max(now));
            if self.stops_at_first && self.oracle.is_broken() {
                break;
            }
            self.clock.advance_to(next);
            match event {
                Some(at) if at == next => {
                    if let Some((_, event)) = self.events.pop_first() {
                        self.handle(event);
                    }
                }
                _ => {
                    self.manager.run_until_stalled();
                    self.finish_call();
                }
            }
            let is_replaced_wrongly = self.oracle.is_broken()
                && self
                    .oracle
                    .broken()
                    .iter()
                    .any(|broken| broken.rule == Rule::Superseded);
            if is_replaced_wrongly
                || self.ended.steps >= self.most_steps
                || (self.stops_at_first && self.oracle.is_broken())
            {
                break;
            }
        }
        self.ended.broken = self.oracle.broken();
        if !self.ended.broken.is_empty() {
            self.note_explanations();
        }
        self.ended
    }

    /// Adds the manager's own view to the history, for the reader of a violation.
    fn note_explanations(&self) {
        let now = self.clock.now();
        self.history.note(now, || format!("{:?}", self.manager.overview()));
        for worker in self.manager.task_managers().map(|worker| worker.overview()) {
            if worker.backoff.is_some() || worker.is_blocked {
                self.history.note(now, || format!("{worker:?}"));
            }
        }
        for (allocation, Request { id, .. }) in &self.requests {
            let explanation = self.manager.explain(*id);
            if let Some(request) = explanation.and_then(|explanation| explanation.request) {
                self.history.note(now, || format!("{allocation}: {request:?}"));
            }
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        let at = self.clock.now() + after;
        self.schedule_at(at, event);
    }

    fn schedule_at(&mut self, at: Timestamp, event: Event) {
        if at < Timestamp::MAX {
            self.scheduled += 1;
            self.events.insert((at, self.scheduled), event);
        }
    }

    fn observe(&mut self, observed: &Observed) {
        self.history.note(self.clock.now(), || observed.to_string());
        self.oracle.observe(observed);
        if let Observed::Registered { .. } | Observed::Reported { .. } | Observed::Gone { .. } = observed {
            self.slots = self.oracle.registered_slots();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Order(order) => self.carry_out(order),
            Event::WorkerStarts { spec, started_for } => {
                let was_cancelled = !self.outside.borrow_mut().cancellable.remove(&started_for.number());
                if !was_cancelled {
                    self.start_worker(spec, Some(started_for));
                }
            }
            Event::StartFails { worker_request } => {
                if self.outside.borrow_mut().cancellable.remove(&worker_request.number()) {
                    let ask = worker_request.number();
                    let outcome = self.manager.worker_failed(worker_request, "it does not start");
                    self.history
                        .note(self.clock.now(), || format!("worker request {ask} fails: {outcome}"));
                    self.observe(&Observed::AskFailed { ask });
                    self.finish_call();
                }
            }
            Event::SlotsCome { worker } => {
                let mut outside = self.outside.borrow_mut();
                outside.workers[worker].add_slots();
                let instance = outside.workers[worker].instance;
                drop(outside);
                if let Some(instance) = instance {
                    self.report(worker, instance);
                }
            }
            Event::ConductChanges { worker, conduct } => self.set_conduct(worker, conduct),
            Event::RegistersLate {
                worker,
                instance,
                report,
            } => self.register_late(worker, instance, &report),
            Event::Heartbeat { worker, instance } => {
                let is_present = self.outside.borrow().workers[worker].instance == Some(instance);
                if is_present {
                    self.report(worker, instance);
                    self.schedule(HEARTBEAT, Event::Heartbeat { worker, instance });
                }
            }
            Event::RequestArrives { worker, request } => {
                let answer = self.outside.borrow_mut().answer(worker, &request);
                if let Some(result) = answer {
                    let latency = self.latency(worker);
                    let attempt = request.attempt_id();
                    self.schedule(latency, Event::AnswerArrives { attempt, result });
                }
            }
            Event::FreeArrives { worker, request } => {
                let freed = self.outside.borrow_mut().workers[worker].table.free_slot(&request);
                self.send_freed(worker, freed);
            }
            Event::AnswerArrives { attempt, result } => self.answer(attempt, result),
            Event::FreedArrives { worker, freed } => {
                let outcome = self.manager.slot_freed(&freed);
                self.history
                    .note(self.clock.now(), || format!("{} is freed: {outcome}", freed.slot_id()));
                self.observe(&Observed::Freed {
                    worker,
                    slot: freed.slot_id().slot_number(),
                    allocation: self.number_of(freed.allocation_id()),
                });
                self.finish_call();
            }
            Event::HoldEnds { worker, allocation } => {
                let freed = self.outside.borrow_mut().workers[worker].table.free(allocation);
                self.send_freed(worker, freed);
            }
        }
    }

    fn latency(&self, worker: usize) -> Duration {
        self.outside.borrow().workers[worker].spec.latency
    }

    fn send_freed(&mut self, worker: usize, freed: Option<SlotFreed>) {
        if let Some(freed) = freed {
            let latency = self.latency(worker);
            self.schedule(latency, Event::FreedArrives { worker, freed });
        }
    }

    /// Returns the registered worker that an order means, by its position.
    fn pick(&self, position: usize) -> Option<usize> {
        let outside = self.outside.borrow();
        let present = outside
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| worker.instance.is_some());
        let present: Vec<usize> = present.map(|(number, _)| number).collect();
        (!present.is_empty()).then(|| present[position % present.len()])
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Worker(spec) => self.start_worker(spec, None),
            Order::Requests {
                job,
                is_poisoned,
                profile,
                requests,
                hold,
            } => {
                if is_poisoned {
                    self.outside.borrow_mut().poisoned_jobs.insert(job);
                }
                for _ in 0..requests {
                    self.request(job, is_poisoned, &profile, hold);
                }
            }
            Order::Declare {
                job,
                is_poisoned,
                profile,
                slots,
                hold,
            } => {
                if is_poisoned {
                    self.outside.borrow_mut().poisoned_jobs.insert(job);
                }
                self.declared.jobs.insert(job, hold);
                self.declare(job, &profile, slots);
            }
            Order::CancelJob { job } => self.cancel_job(job),
            Order::Conduct { position, conduct } => {
                if let Some(worker) = self.pick(position) {
                    self.set_conduct(worker, conduct);
                }
            }
            Order::Lose { position } => {
                if let Some(worker) = self.pick(position) {
                    self.lose(worker);
                }
            }
            Order::Restart { position, late_after } => {
                if let Some(worker) = self.pick(position) {
                    self.restart(worker, late_after);
                }
            }
            Order::Block { position, duration } => {
                if let Some(worker) = self.pick(position) {
                    self.set_blocked(worker, true);
                    self.schedule(duration, Event::Order(Order::Unblock { worker }));
                }
            }
            Order::Unblock { worker } => self.set_blocked(worker, false),
        }
    }

    fn request(&mut self, job: u64, is_poisoned: bool, profile: &ResourceProfile, hold: Duration) {
        self.allocations += 1;
        let allocation = self.allocations;
        let id = AllocationId::from_u128(allocation.into());
        let at = self.clock.now();
        self.requests.insert(allocation, Request { id, job, at, hold });
        self.ungranted += 1;
        let request = SlotRequest::new(JobId::from_u128(job.into()), id, profile.clone(), "job-master");
        let result = self.manager.register_slot_request(request);
        self.observe(&Observed::Requested {
            allocation,
            job,
            profile: profile.clone(),
            is_poisoned,
        });
        match result {
            Ok(SlotRequestOutcome::Accepted(_)) => self.finish_call(),
            Err(SlotRequestError::Failed { .. }) => {
                self.apply_calls();
                self.request_failed(allocation);
                self.finish_call();
            }
            other => panic!("unexpected outcome of a request: {other:?}"),
        }
    }

    fn request_failed(&mut self, allocation: u64) {
        self.observe(&Observed::Failed { allocation });
        self.ended.failed += 1;
        self.ungranted -= 1;
        if let Some(Request { job, .. }) = self.requests.remove(&allocation) {
            self.ended.failures.push(job);
        }
    }

    fn declare(&mut self, job: u64, profile: &ResourceProfile, slots: u32) {
        let requirements = ResourceRequirements::new(JobId::from_u128(job.into()), "job-master");
        let requirements = requirements.require(profile.clone(), slots).expect("few slots");
        let outcome = self.manager.declare_requirements(&requirements).expect("no limit");
        self.history.note(self.clock.now(), || {
            format!("job {job} declares {slots} slots of {profile}: {outcome}")
        });
        self.finish_call();
    }

    /// Returns the number of an allocation.
    fn number_of(&self, id: AllocationId) -> u64 {
        let declared = self.declared.numbers.get(&id);
        declared.copied().unwrap_or_else(|| number(id.as_u128()))
    }

    /// Lets the oracle know a request that the manager has made for a job that declares.
    fn declared_request(&mut self, id: AllocationId, job: u64, profile: &ResourceProfile) {
        self.allocations += 1;
        let allocation = self.allocations;
        let (at, hold) = (self.clock.now(), self.declared.jobs[&job]);
        self.requests.insert(allocation, Request { id, job, at, hold });
        self.declared.numbers.insert(id, allocation);
        self.declared.ungranted.insert(id, allocation);
        self.ungranted += 1;
        let is_poisoned = self.outside.borrow().poisoned_jobs.contains(&job);
        self.observe(&Observed::Requested {
            allocation,
            job,
            profile: profile.clone(),
            is_poisoned,
        });
    }

    /// Lets the oracle know the declared requests that the manager has made or withdrawn in a call.
    /// Those that the call has tried are known by their attempts.
    fn declared_requests_change(&mut self, calls: &[Call]) {
        if self.declared.jobs.is_empty() {
            return;
        }
        let pending = self
            .manager
            .pending_slot_requests()
            .filter(PendingSlotRequest::is_declared);
        let pending: BTreeMap<_, _> = pending
            .map(|it| (it.allocation_id(), (it.job_id(), it.resource_profile().clone())))
            .collect();
        let is_tried = |id: AllocationId| {
            calls.iter().any(|call| match call {
                Call::RequestSlot { request, .. } => request.allocation_id == id,
                Call::Granted { allocation, .. } => *allocation == id,
                _ => false,
            })
        };
        let known = self.declared.ungranted.keys();
        let withdrawn = known.filter(|id| !pending.contains_key(id) && !is_tried(**id));
        for id in withdrawn.copied().collect::<Vec<_>>() {
            self.withdrawn(id);
        }
        for (id, (job, profile)) in pending {
            if !self.declared.numbers.contains_key(&id) && !is_tried(id) {
                self.declared_request(id, number(job.as_u128()), &profile);
            }
        }
    }

    fn withdrawn(&mut self, id: AllocationId) {
        if let Some(allocation) = self.declared.ungranted.remove(&id) {
            self.requests.remove(&allocation);
            self.ungranted -= 1;
            self.observe(&Observed::Cancelled { allocation });
        }
    }

    fn cancel_job(&mut self, job: u64) {
        let of_job = self.requests.iter().filter(|(_, request)| request.job == job);
        let of_job: Vec<_> = of_job.map(|(number, request)| (*number, request.id)).collect();
        for (allocation, id) in of_job {
            let outcome = self.manager.unregister_slot_request(id);
            if outcome == slot_manager::outcome::CancelOutcome::Cancelled {
                self.requests.remove(&allocation);
                self.ungranted -= 1;
                self.observe(&Observed::Cancelled { allocation });
            }
            self.finish_call();
        }
    }

    fn start_worker(&mut self, spec: WorkerSpec, started_for: Option<WorkerRequestId>) {
        let mut outside = self.outside.borrow_mut();
        let worker = outside.workers.len();
        outside.workers.push(Worker::new(worker, spec.clone(), started_for));
        drop(outside);
        for (after, conduct) in &spec.changes {
            let conduct = *conduct;
            self.schedule(*after, Event::ConductChanges { worker, conduct });
        }
        if let Some(after) = spec.slots_after {
            self.schedule(after, Event::SlotsCome { worker });
        }
        self.register(worker);
    }

    fn new_instance(&mut self) -> InstanceId {
        self.instances += 1;
        InstanceId::from_u128(self.instances)
    }

    fn connection(&self, worker: usize, instance: InstanceId) -> TaskExecutorConnection<Gateway> {
        let gateway = Gateway {
            outside: Rc::clone(&self.outside),
            worker,
        };
        TaskExecutorConnection::new(Worker::name(worker), instance, gateway)
    }

    fn register(&mut self, worker: usize) {
        let instance = self.new_instance();
        let mut connection = self.connection(worker, instance);
        let mut outside = self.outside.borrow_mut();
        let process = &mut outside.workers[worker];
        process.table.connect(LEADER, instance);
        let report = process.table.report();
        let (conduct, latency, came_for) = (process.conduct, process.spec.latency, process.started_for);
        let total = process.spec.total.clone();
        let is_named = process.spec.naming == Naming::Request;
        let named = match process.spec.naming {
            Naming::Request => came_for,
            Naming::Unnamed => None,
            Naming::OtherLeader => came_for.map(|id| WorkerRequestId::new(OTHER_LEADER, id.number())),
            Naming::ClosedRequest => Some(WorkerRequestId::new(LEADER, u64::MAX)),
        };
        drop(outside);
        if let Some(named) = named {
            connection = connection.with_worker_request(named);
        }
        let slots = self.reported(&report);
        match self.manager.register_task_manager(connection, &report) {
            Ok(_) => {
                let mut outside = self.outside.borrow_mut();
                let process = &mut outside.workers[worker];
                process.instance = Some(instance);
                let is_first = !std::mem::replace(&mut process.has_registered, true);
                drop(outside);
                let came_for = came_for.map(WorkerRequestId::number);
                self.observe(&Observed::Registered {
                    worker,
                    slots,
                    names: came_for.filter(|_| is_named),
                    came_for: came_for.filter(|_| is_first),
                    conduct,
                    answer_time: latency * 2,
                });
                if let Some(total) = total {
                    self.observe(&Observed::Dynamic { worker, total });
                }
                self.schedule(HEARTBEAT, Event::Heartbeat { worker, instance });
            }
            Err(RegistrationError::LimitReached { .. }) => self.observe(&Observed::TurnedAway { worker, slots }),
            Err(error) => panic!("unexpected refusal of w{worker}: {error}"),
        }
        self.finish_call();
    }

    fn register_late(&mut self, worker: usize, instance: InstanceId, report: &SlotReport) {
        let is_current = self.outside.borrow().workers[worker].instance.is_some();
        if !is_current {
            return;
        }
        let connection = self.connection(worker, instance);
        let is_accepted = self.manager.register_task_manager(connection, report).is_ok();
        self.observe(&Observed::LateRegistration { worker, is_accepted });
        if !is_accepted {
            self.finish_call();
        }
    }

    fn report(&mut self, worker: usize, instance: InstanceId) {
        let report = self.outside.borrow().workers[worker].table.report();
        match self.manager.report_slot_status(instance, &report) {
            Ok(ReportOutcome::Applied) => {
                let slots = self.reported(&report);
                self.observe(&Observed::Reported { worker, slots });
            }
            Ok(_) => {}
            Err(error) => panic!("unexpected refusal of a report: {error}"),
        }
        self.finish_call();
    }

    fn set_conduct(&mut self, worker: usize, conduct: Conduct) {
        let mut outside = self.outside.borrow_mut();
        let changes = std::mem::replace(&mut outside.workers[worker].conduct, conduct) != conduct;
        let is_present = outside.workers[worker].instance.is_some();
        drop(outside);
        if changes && is_present {
            self.observe(&Observed::ConductChanged { worker, conduct });
            self.finish_call();
        }
    }

    fn set_blocked(&mut self, worker: usize, is_blocked: bool) {
        let id = ResourceId::new(Worker::name(worker));
        let changes = match is_blocked {
            true => self.blocked.insert(worker),
            false => self.blocked.remove(&worker),
        };
        if !changes {
            return;
        }
        let text = match is_blocked {
            true => format!("{:?}", self.manager.block(&id)),
            false => format!("{:?}", self.manager.unblock(&id)),
        };
        self.history.note(self.clock.now(), || format!("w{worker}: {text}"));
        self.observe(&Observed::BlockChanged { worker, is_blocked });
        self.finish_call();
    }

    fn lose(&mut self, worker: usize) {
        let instance = self.outside.borrow_mut().workers[worker].instance.take();
        let Some(instance) = instance else {
            return;
        };
        if self.manager.unregister_task_manager(instance, "lost") == UnregistrationOutcome::Unregistered {
            self.observe(&Observed::Gone { worker });
        }
        self.finish_call();
    }

    fn restart(&mut self, worker: usize, late_after: Duration) {
        let mut outside = self.outside.borrow_mut();
        let process = &mut outside.workers[worker];
        let Some(instance) = process.instance else {
            return;
        };
        process.restart(worker);
        process.spec.slots_after = None;
        process.table.connect(LEADER, instance);
        let report = process.table.report();
        process.restart(worker);
        drop(outside);
        let event = Event::RegistersLate {
            worker,
            instance,
            report,
        };
        self.schedule(late_after, event);
        self.register(worker);
    }

    fn answer(&mut self, attempt: AttemptId, result: SlotResult) {
        let failure = result
            .as_ref()
            .err()
            .map(|error| matches!(error, SlotAllocationError::Unreachable { .. }));
        let sender = self.outside.borrow_mut().senders.remove(&attempt);
        match sender {
            Some(sender) => {
                sender.send(result);
                self.note_failure(attempt, failure);
                self.manager.run_until_stalled();
            }
            None => {
                let outcome = self.manager.answer_slot_request(attempt, result);
                self.history
                    .note(self.clock.now(), || format!("answer to {attempt}: {outcome}"));
                self.note_failure(attempt, failure);
            }
        }
        self.finish_call();
    }

    fn note_failure(&mut self, attempt: AttemptId, failure: Option<bool>) {
        if let Some(is_unreachable) = failure {
            self.observe(&Observed::AttemptFailed {
                allocation: self.number_of(attempt.allocation_id),
                number: attempt.number,
                is_unreachable,
            });
        }
    }

    /// Passes on the calls that the manager made, and checks the state after them.
    fn finish_call(&mut self) {
        self.apply_calls();
        self.oracle.call_ended();
        self.ended.steps += 1;
        if self.ended.steps >= self.next_check {
            self.next_check = self.ended.steps + 1 + (self.ungranted / SMALL + self.slots / SMALL) as u64;
            if let Err(violation) = self.manager.check_invariants() {
                self.oracle.note(Broken {
                    rule: Rule::Invariants,
                    at: self.clock.now(),
                    text: violation.to_string(),
                });
            }
        }
    }

    fn apply_calls(&mut self) {
        let calls = std::mem::take(&mut self.outside.borrow_mut().calls);
        self.declared_requests_change(&calls);
        for call in calls {
            self.apply_call(call);
        }
        self.declared_requests_change(&[]);
    }

    fn apply_call(&mut self, call: Call) {
        self.ended.calls += 1;
        match call {
            Call::RequestSlot {
                worker,
                request,
                answer,
                travels,
            } => {
                let attempt = request.attempt_id();
                self.ended.attempts += 1;
                let job = number(request.job_id.as_u128());
                let is_declared = self.declared.jobs.contains_key(&job);
                if is_declared && !self.declared.numbers.contains_key(&request.allocation_id) {
                    self.declared_request(request.allocation_id, job, &request.resource_profile);
                }
                self.observe(&Observed::Attempt {
                    allocation: self.number_of(request.allocation_id),
                    worker,
                    slot: request.slot_id.slot_number(),
                    number: request.attempt,
                });
                let failure = answer.and_then(Result::err);
                let failure = failure.map(|error| matches!(error, SlotAllocationError::Unreachable { .. }));
                self.note_failure(attempt, failure);
                if travels {
                    let latency = self.latency(worker);
                    self.schedule(latency, Event::RequestArrives { worker, request });
                }
            }
            Call::FreeSlot { worker, request } => {
                let (allocation, number) = (self.number_of(request.allocation_id), request.attempt);
                self.observe(&Observed::GivenUp { allocation, number });
                let latency = self.latency(worker);
                self.schedule(latency, Event::FreeArrives { worker, request });
            }
            Call::Allocate {
                worker_request,
                start,
                promised,
            } => self.asked(worker_request, start, promised),
            Call::Release(release) => self.released(&release),
            Call::Withdraw {
                worker_request,
                is_confirmed,
            } => {
                if is_confirmed {
                    let ask = worker_request.number();
                    self.observe(&Observed::Withdrawn { ask });
                }
            }
            Call::Granted { allocation: id, slot } => {
                let allocation = self.number_of(id);
                self.declared.ungranted.remove(&id);
                let worker = slot.resource_id().as_str()[1..].parse().expect("the name of a worker");
                self.observe(&Observed::Granted {
                    allocation,
                    worker,
                    slot: slot.slot_number(),
                });
                self.ended.granted += 1;
                self.ungranted -= 1;
                let Request { job, at, hold, .. } = self.requests[&allocation];
                self.ended.waits.push((job, self.clock.now() - at));
                self.schedule(hold, Event::HoldEnds { worker, allocation: id });
            }
            Call::Failed { allocation, cause } => match cause {
                AllocationFailureCause::RequestFailed(_) => self.request_failed(self.number_of(allocation)),
                AllocationFailureCause::GrantLost { .. } => {
                    let allocation = self.number_of(allocation);
                    self.requests.remove(&allocation);
                    self.observe(&Observed::GrantLost { allocation });
                }
            },
        }
    }

    fn asked(&mut self, worker_request: WorkerRequestId, start: Start, promised: Vec<ResourceProfile>) {
        self.ended.worker_requests += 1;
        let answer = match start {
            Start::Declined => AskAnswer::Declined,
            Start::Refused => AskAnswer::Refused,
            Start::Worker { .. } | Start::Silent | Start::Fails { .. } => AskAnswer::Promised,
        };
        self.observe(&Observed::Asked {
            ask: worker_request.number(),
            promised: promised.clone(),
            answer,
        });
        match start {
            Start::Worker { delay, shape, mut spec } => {
                spec.slots = self.outside.borrow().policy.slots(shape, &promised);
                let started_for = worker_request;
                self.schedule(delay, Event::WorkerStarts { spec, started_for });
            }
            Start::Fails { after } => self.schedule(after, Event::StartFails { worker_request }),
            Start::Silent | Start::Declined | Start::Refused => {}
        }
    }

    fn released(&mut self, release: &ReleaseResource) {
        let name = release.resource_id.as_str();
        let worker: usize = name[1..].parse().expect("the name of a worker");
        self.history.note(self.clock.now(), || format!("  release {name}"));
        self.outside.borrow_mut().workers[worker].instance = None;
        self.observe(&Observed::Gone { worker });
    }

    /// Returns the slots of a report.
    fn reported(&self, report: &SlotReport) -> Vec<ReportedSlot> {
        let statuses = report.statuses().iter();
        statuses
            .map(|status| {
                let holder = status.allocation().map(|allocation| self.number_of(allocation.id));
                (
                    status.slot_id().slot_number(),
                    status.resource_profile().clone(),
                    holder,
                )
            })
            .collect()
    }
}
