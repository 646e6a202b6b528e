//! What the tests share: a manager with recording doubles around it, which checks all invariants after every step, and
//! short names.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::time::Duration;

use slot_manager::testing::{
    Action, Effect, EffectLog, GatewayAnswer, GatewayCall, ManualScheduledExecutor, RecordingActions, ScriptedGateway,
};
use slot_manager::{
    Acknowledge, AllocateSlot, AllocationFailureCause, AllocationId, AllocationStatus, BlockOutcome, CancelOutcome,
    FreeSlot, FreeSlotOutcome, GrantLoss, InstanceId, JobId, LeaderId, NotStarted, RegistrationOutcome,
    ReleaseAnswerOutcome, ReleaseCause, ReleaseCheck, ReleaseDecision, ReportOutcome, RequestFailure, ResourceId,
    ResourceProfile, SlotAllocationError, SlotId, SlotManager, SlotManagerConfig, SlotReport, SlotReportError,
    SlotRequest, SlotRequestError, SlotRequestOutcome, SlotState, SlotStatus, TaskExecutorConnection, UnblockOutcome,
    UnregistrationOutcome, WorkerDescription, WorkerFailedOutcome, WorkerPromise, WorkerRequestId,
};

pub const MILLISECOND: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

/// A started manager with its doubles. Every call goes through a method here, which checks the invariants afterwards.
pub struct Fixture {
    pub manager: Manager,
    pub actions: RecordingActions,
    /// All effects of actions and gateways in one order.
    pub log: EffectLog,
    pub clock: ManualScheduledExecutor,
}

impl Fixture {
    /// Practically infinite timeouts, so that only what a test arms falls due.
    pub fn new() -> Self {
        Self::with(patient())
    }

    pub fn with(config: SlotManagerConfig) -> Self {
        let mut fixture = Self::not_started(config);
        fixture.start(1);
        fixture
    }

    pub fn not_started(config: SlotManagerConfig) -> Self {
        let clock = ManualScheduledExecutor::new();
        let log = EffectLog::new();
        Self {
            manager: SlotManager::new(config, clock.clone()).expect("a valid configuration"),
            actions: RecordingActions::with_log(&log),
            log,
            clock,
        }
    }

    /// A started one, in which every worker that is asked for is promised, its shape not said.
    pub fn promising(config: SlotManagerConfig) -> Self {
        let mut fixture = Self::not_started(config);
        fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
        fixture.start(1);
        fixture
    }

    pub fn start(&mut self, leader: u128) {
        self.manager
            .start(LeaderId::from_u128(leader), self.actions.clone())
            .expect("not started");
        self.check();
    }

    pub fn suspend(&mut self) {
        assert!(self.step(SlotManager::suspend).is_some(), "started");
    }

    /// All invariants hold.
    #[track_caller]
    pub fn check(&self) {
        if let Err(violation) = self.manager.check_invariants() {
            panic!("{violation}\n{:#?}", self.manager);
        }
    }

    /// Any call, checked.
    #[track_caller]
    pub fn step<T>(&mut self, call: impl FnOnce(&mut Manager) -> T) -> T {
        let result = call(&mut self.manager);
        self.check();
        result
    }

    /// A gateway that writes to the log.
    pub fn gateway(&self) -> ScriptedGateway {
        ScriptedGateway::with_log(&self.log)
    }

    /// A gateway that writes to the log and is answered by hand.
    pub fn gateway_by_hand(&self) -> ScriptedGateway {
        let gateway = self.gateway();
        gateway.answer_requests(GatewayAnswer::ByHand);
        gateway
    }

    /// Registers with this report, with a gateway that is answered by hand.
    #[track_caller]
    pub fn register_by_hand(&mut self, worker: &str, instance: u128, report: &SlotReport) -> ScriptedGateway {
        let gateway = self.gateway_by_hand();
        self.register_with(worker, instance, report, &gateway);
        gateway
    }

    /// Gives the answer to an attempt and drives the manager.
    #[track_caller]
    pub fn answer(
        &mut self,
        gateway: &ScriptedGateway,
        attempt: u64,
        answer: Result<Acknowledge, SlotAllocationError>,
    ) {
        gateway.answer(attempt, answer).expect("the attempt awaits its answer");
        self.run();
    }

    /// Registers task manager `instance` of `worker` with free slots of these profiles, numbered from 0, and returns
    /// its gateway.
    #[track_caller]
    pub fn register_free(&mut self, worker: &str, instance: u128, profiles: &[ResourceProfile]) -> ScriptedGateway {
        let gateway = self.gateway();
        self.register_with(worker, instance, &free_report(worker, profiles), &gateway);
        gateway
    }

    /// Registers with this report and returns the gateway.
    #[track_caller]
    pub fn register(&mut self, worker: &str, instance: u128, report: &SlotReport) -> ScriptedGateway {
        let gateway = self.gateway();
        self.register_with(worker, instance, report, &gateway);
        gateway
    }

    #[track_caller]
    pub fn register_with(
        &mut self,
        worker: &str,
        instance: u128,
        report: &SlotReport,
        gateway: &ScriptedGateway,
    ) -> RegistrationOutcome {
        self.try_register(
            TaskExecutorConnection::new(worker, self::instance(instance), gateway.clone()),
            report,
        )
        .expect("a valid registration")
    }

    #[track_caller]
    pub fn try_register(
        &mut self,
        connection: TaskExecutorConnection<ScriptedGateway>,
        report: &SlotReport,
    ) -> Result<RegistrationOutcome, SlotReportError> {
        self.step(|manager| manager.register_task_manager(connection, report))
    }

    #[track_caller]
    pub fn unregister(&mut self, instance: u128) -> UnregistrationOutcome {
        self.step(|manager| manager.unregister_task_manager(self::instance(instance), "lost"))
            .expect("started")
    }

    #[track_caller]
    pub fn report(&mut self, instance: u128, report: &SlotReport) -> ReportOutcome {
        self.try_report(instance, report).expect("a valid report")
    }

    #[track_caller]
    pub fn try_report(&mut self, instance: u128, report: &SlotReport) -> Result<ReportOutcome, SlotReportError> {
        self.step(|manager| manager.report_slot_status(self::instance(instance), report))
    }

    /// Requests a slot for allocation `id` of job 1 and returns where the accepted request is.
    #[track_caller]
    pub fn request(&mut self, id: u128, profile: &ResourceProfile) -> AllocationStatus {
        match self.try_request(1, id, profile).expect("an accepted request") {
            SlotRequestOutcome::Accepted(status) => status,
            SlotRequestOutcome::Duplicate(status) => panic!("allocation {id} is known and {status}"),
        }
    }

    #[track_caller]
    pub fn try_request(
        &mut self,
        job: u128,
        id: u128,
        profile: &ResourceProfile,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let request = request(job, id, profile);
        self.step(|manager| manager.register_slot_request(request))
    }

    #[track_caller]
    pub fn cancel(&mut self, id: u128) -> CancelOutcome {
        self.step(|manager| manager.unregister_slot_request(allocation(id)))
            .expect("started")
    }

    #[track_caller]
    pub fn free(&mut self, slot: &SlotId, id: u128) -> FreeSlotOutcome {
        self.step(|manager| manager.free_slot(slot, allocation(id)))
            .expect("started")
    }

    #[track_caller]
    pub fn worker_failed(&mut self, number: u64) -> WorkerFailedOutcome {
        let failed: Result<_, NotStarted> =
            self.step(|manager| manager.worker_failed(WorkerRequestId::new(number), "it failed"));
        failed.expect("started")
    }

    #[track_caller]
    pub fn block(&mut self, worker: &str) -> BlockOutcome {
        self.step(|manager| manager.block(&ResourceId::new(worker)))
            .expect("started")
    }

    #[track_caller]
    pub fn unblock(&mut self, worker: &str) -> UnblockOutcome {
        self.step(|manager| manager.unblock(&ResourceId::new(worker)))
            .expect("started")
    }

    #[track_caller]
    pub fn set_fail_unfulfillable(&mut self, fail: bool) {
        self.step(|manager| manager.set_fail_unfulfillable_requests(fail));
    }

    #[track_caller]
    pub fn answer_release(&mut self, question: &ReleaseCheck, answer: ReleaseDecision) -> ReleaseAnswerOutcome {
        self.step(|manager| manager.answer_release(question, answer))
            .expect("started")
    }

    /// The next worker that is asked for is promised with these slots.
    pub fn promise_next(&self, slots: &[ResourceProfile]) {
        self.actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(slots.to_vec())));
    }

    /// Registers a worker that says which worker request it answers.
    #[track_caller]
    pub fn register_for(
        &mut self,
        worker_request: u64,
        worker: &str,
        instance: u128,
        report: &SlotReport,
    ) -> RegistrationOutcome {
        let connection = TaskExecutorConnection::new(worker, self::instance(instance), self.gateway())
            .with_worker_request(WorkerRequestId::new(worker_request));
        self.try_register(connection, report).expect("a valid registration")
    }

    /// Lets time pass and drives the manager until it stalls. Returns how many events that were.
    #[track_caller]
    pub fn advance(&mut self, duration: Duration) -> usize {
        self.clock.advance(duration);
        self.run()
    }

    /// Drives the manager until it stalls.
    #[track_caller]
    pub fn run(&mut self) -> usize {
        self.step(SlotManager::run_until_stalled)
    }

    pub fn clock_now(&self) -> slot_manager::Timestamp {
        slot_manager::ScheduledExecutor::now(&self.clock)
    }

    /// Where an allocation is.
    pub fn status(&self, id: u128) -> Option<AllocationStatus> {
        self.manager.allocation_status(allocation(id))
    }

    /// The allocation that holds a slot.
    pub fn holder(&self, slot: &SlotId) -> Option<AllocationId> {
        self.manager.slot(slot).expect("a known slot").allocation_id()
    }

    pub fn is_free(&self, slot: &SlotId) -> bool {
        self.manager.slot(slot).expect("a known slot").is_free()
    }

    #[track_caller]
    pub fn state(&self, slot: &SlotId) -> SlotState {
        self.manager.slot(slot).expect("a known slot").state()
    }

    pub fn is_registered(&self, instance: u128) -> bool {
        self.manager.task_manager(self::instance(instance)).is_some()
    }

    /// How many promised slots cover a request, and how many do not.
    pub fn promised(&self) -> (usize, usize) {
        let counts = self.manager.promised_slot_counts();
        (counts.bound, counts.unbound)
    }

    /// The worker request whose promise covers a request that is not granted.
    #[track_caller]
    pub fn bound_to(&self, id: u128) -> Option<u64> {
        let request = self
            .manager
            .pending_slot_request(allocation(id))
            .expect("it is not granted");
        request.bound_to().map(WorkerRequestId::as_u64)
    }

    /// All that can be looked at, as a text.
    pub fn view(&self) -> String {
        let manager = &self.manager;
        let mut lines = vec![format!("{manager:?}, {:?}", manager.next_deadline())];
        lines.extend(manager.task_managers().map(|task_manager| format!("{task_manager:?}")));
        lines.extend(manager.slots().map(|slot| format!("{slot:?}")));
        lines.extend(manager.pending_slot_requests().map(|request| format!("{request:?}")));
        lines.extend(
            manager
                .promised_slots()
                .map(|promise| format!("{promise:?} until {}", promise.expires_at())),
        );
        lines.join("\n")
    }

    /// The effects since the last look, each as a line of text.
    pub fn effects(&self) -> Vec<String> {
        self.log.take().iter().map(ToString::to_string).collect()
    }

    /// The effects since the last look, each in a few words: see [`brief`].
    pub fn brief_effects(&self) -> Vec<String> {
        brief(&self.log.take())
    }

    /// The effects since the last look are these: see [`brief`].
    #[track_caller]
    pub fn expect(&self, expected: &[&str]) {
        assert_eq!(self.brief_effects(), expected);
    }

    /// Checks that there were no effects since the last look.
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.expect(&[]);
    }

    /// The effects since the last look without the notices of grants.
    pub fn effects_but_grants(&self) -> Vec<Effect> {
        let mut effects = self.log.take();
        effects.retain(|effect| !matches!(effect, Effect::Action(Action::NotifySlotAllocated { .. })));
        effects
    }
}

/// Slot requests among effects, in order.
pub fn slot_requests(effects: &[Effect]) -> Vec<AllocateSlot> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.clone()),
            _ => None,
        })
        .collect()
}

/// Frees among effects, in order.
pub fn frees(effects: &[Effect]) -> Vec<FreeSlot> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::FreeSlot(free)) => Some(free.clone()),
            _ => None,
        })
        .collect()
}

/// Failures among effects, in order.
pub fn failures(effects: &[Effect]) -> Vec<(AllocationId, AllocationFailureCause)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Action(Action::NotifyAllocationFailure {
                allocation_id, cause, ..
            }) => Some((*allocation_id, cause.clone())),
            _ => None,
        })
        .collect()
}

/// Asked-for profiles among effects, in order.
pub fn asks(effects: &[Effect]) -> Vec<(WorkerRequestId, ResourceProfile)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Action(Action::AllocateResource {
                worker_request,
                resource_profile,
            }) => Some((*worker_request, resource_profile.clone())),
            _ => None,
        })
        .collect()
}

/// Asked-for releases among effects, in order.
pub fn releases(effects: &[Effect]) -> Vec<InstanceId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Action(Action::ReleaseResource { instance_id, .. }) => Some(*instance_id),
            _ => None,
        })
        .collect()
}

/// Questions whether a task manager can be released among effects, in order.
pub fn questions(effects: &[Effect]) -> Vec<ReleaseCheck> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::CanBeReleased(question)) => Some(*question),
            _ => None,
        })
        .collect()
}

/// No timeout falls due, except retry pauses.
pub fn patient() -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_request_timeout(Duration::MAX)
        .with_rpc_timeout(Duration::MAX)
        .with_task_manager_timeout(Duration::MAX)
        .with_worker_registration_timeout(Duration::MAX)
}

/// The same, and workers that are started have so many small slots.
pub fn described(slots: u32) -> SlotManagerConfig {
    patient().with_worker_description(Some(worker_of(slots, &small())))
}

/// A worker with so many slots of this profile.
pub fn worker_of(slots: u32, profile: &ResourceProfile) -> WorkerDescription {
    WorkerDescription::new(slots, profile.clone()).expect("a worker with slots")
}

/// The question whether a task manager can be released, asked under leader 1.
pub fn question(instance: u128, number: u64) -> ReleaseCheck {
    ReleaseCheck {
        instance_id: self::instance(instance),
        leader_id: LeaderId::from_u128(1),
        number,
    }
}

pub fn allocation(id: u128) -> AllocationId {
    AllocationId::from_u128(id)
}

pub fn job(id: u128) -> JobId {
    JobId::from_u128(id)
}

pub fn instance(id: u128) -> InstanceId {
    InstanceId::from_u128(id)
}

pub fn slot(worker: &str, number: u32) -> SlotId {
    SlotId::new(worker, number)
}

/// A profile of cores and mebibytes of task heap.
pub fn profile(cores: f64, heap: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(heap)
        .build()
        .expect("valid amounts")
}

/// The profile of tests that do not care.
pub fn small() -> ResourceProfile {
    profile(1.0, 100)
}

pub fn request(job: u128, id: u128, profile: &ResourceProfile) -> SlotRequest {
    SlotRequest::new(
        self::job(job),
        allocation(id),
        profile.clone(),
        format!("job-master-{job}"),
    )
}

/// Free slots of these profiles, numbered from 0.
pub fn free_report(worker: &str, profiles: &[ResourceProfile]) -> SlotReport {
    profiles
        .iter()
        .zip(0..)
        .map(|(profile, number)| SlotStatus::free(slot(worker, number), profile.clone()))
        .collect()
}

/// Small slots, numbered from 0, each free or held by an allocation of job 1.
pub fn report(worker: &str, holders: &[Option<u128>]) -> SlotReport {
    holders
        .iter()
        .zip(0..)
        .map(|(holder, number)| match holder {
            None => SlotStatus::free(slot(worker, number), small()),
            Some(id) => SlotStatus::allocated(slot(worker, number), small(), allocation(*id), job(1)),
        })
        .collect()
}

pub fn granted(slot: &SlotId) -> AllocationStatus {
    AllocationStatus::Granted { slot_id: slot.clone() }
}

pub fn in_flight(slot: &SlotId) -> AllocationStatus {
    AllocationStatus::InFlight { slot_id: slot.clone() }
}

/// Effects in a few words, with ids as numbers: `request tm_0 for 1 #1` (the attempt), `granted 1 on tm_0`, `free tm_0
/// of 1 #1`, `failed 1: timeout`, `lost 1 on tm_0: free`, `ask 1 for {cpu: 1}`, `withdraw 1`, `may 7 go? #1` (the
/// question), `release 7, idle since +0ns (1)` (the idle period).
pub fn brief(effects: &[Effect]) -> Vec<String> {
    let number = |id: &AllocationId| id.as_uuid().as_u128();
    let failed = |failure: &RequestFailure| match failure {
        RequestFailure::Timeout { .. } => "timeout".to_owned(),
        RequestFailure::ResourceManager(error) => error.reason().to_owned(),
        RequestFailure::HeldByAnotherJob { .. } => "held by another job".to_owned(),
        RequestFailure::Unfulfillable { .. } => "unfulfillable".to_owned(),
        other => other.to_string(),
    };
    let lost = |loss: &GrantLoss| match loss {
        GrantLoss::TaskManagerUnregistered { .. } => "unregistered".to_owned(),
        GrantLoss::ReportedFree => "free".to_owned(),
        GrantLoss::HeldByAnother { allocation_id, .. } => format!("held by {}", number(allocation_id)),
        GrantLoss::SlotRemoved => "removed".to_owned(),
        other => other.to_string(),
    };
    let action = |action: &Action| match action {
        Action::AllocateResource {
            worker_request,
            resource_profile,
        } => format!("ask {worker_request} for {resource_profile}"),
        Action::ReleaseResource {
            instance_id,
            cause: ReleaseCause::IdleTimeout {
                idle_since,
                idle_period,
            },
        } => {
            let instance = instance_id.as_uuid().as_u128();
            format!("release {instance}, idle since {idle_since} ({idle_period})")
        }
        Action::WithdrawResource { worker_request } => format!("withdraw {worker_request}"),
        Action::NotifySlotAllocated {
            allocation_id, slot_id, ..
        } => format!("granted {} on {slot_id}", number(allocation_id)),
        Action::NotifyAllocationFailure {
            allocation_id,
            cause: AllocationFailureCause::RequestFailed(failure),
            ..
        } => format!("failed {}: {}", number(allocation_id), failed(failure)),
        Action::NotifyAllocationFailure {
            allocation_id,
            cause: AllocationFailureCause::GrantLost { slot_id, loss },
            ..
        } => format!("lost {} on {slot_id}: {}", number(allocation_id), lost(loss)),
        other => other.to_string(),
    };
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Action(called) => action(called),
            Effect::Gateway(GatewayCall::RequestSlot(request)) => {
                format!(
                    "request {} for {} #{}",
                    request.slot_id,
                    number(&request.allocation_id),
                    request.attempt
                )
            }
            Effect::Gateway(GatewayCall::FreeSlot(free)) => {
                format!(
                    "free {} of {} #{}",
                    free.slot_id,
                    number(&free.allocation_id),
                    free.attempt
                )
            }
            Effect::Gateway(GatewayCall::CanBeReleased(question)) => {
                format!(
                    "may {} go? #{}",
                    question.instance_id.as_uuid().as_u128(),
                    question.number
                )
            }
            other => other.to_string(),
        })
        .collect()
}

/// What [`brief`] says of a worker request for a small slot.
pub fn ask(number: u64) -> String {
    format!("ask {number} for {}", small())
}

/// A slot request is granted.
pub fn acknowledged() -> Result<Acknowledge, SlotAllocationError> {
    Ok(Acknowledge::new())
}

/// A slot request is refused.
pub fn rejected() -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::rejected("no"))
}

/// A slot request meets allocation `id` of job 1.
pub fn occupied(id: u128) -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::Occupied {
        allocation_id: allocation(id),
        job_id: job(1),
    })
}
