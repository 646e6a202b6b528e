//! Helpers that tests share: a fixture that checks all invariants after every step, and short
//! constructors.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::time::Duration;

use slot_manager::config::{WorkerDescription, WorkerPolicy};
use slot_manager::error::{
    RegistrationError, RequirementsError, SlotAllocationError, SlotReportError, SlotRequestError,
};
use slot_manager::message::{
    Acknowledge, AllocateSlot, AllocationFailureCause, AttemptId, FreeSlot, GrantLoss, ReleaseCause, ReleaseCheck,
    ReleaseDecision, ReleaseResource, RequestFailure, ShortageCause, SlotFreed, WorkerPromise,
};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RegistrationOutcome, ReleaseAnswerOutcome, ReportOutcome,
    RequirementsOutcome, SlotFreedOutcome, SlotRequestOutcome, UnblockOutcome, UnregistrationOutcome,
    WorkerFailedOutcome,
};
use slot_manager::testing::{
    Action, Effect, EffectLog, GatewayAnswer, GatewayCall, ManualScheduledExecutor, RecordingActions, ScriptedGateway,
};
use slot_manager::view::{PendingSlotRequest, SlotState};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceProfile, ResourceRequirements, ScheduledExecutor,
    SlotId, SlotManager, SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection, Timestamp,
    WorkerRequestId,
};

pub const NANOSECOND: Duration = Duration::from_nanos(1);
pub const MILLISECOND: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// The highest number of a slot that is not cut from a dynamic worker.
pub const LAST_NUMBER: u32 = (1 << 31) - 1;

pub type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

/// A manager with its doubles. Each method that calls the manager checks the invariants afterwards.
pub struct Fixture {
    pub manager: Manager,
    pub actions: RecordingActions,
    /// The effects of the actions and of all gateways, in one order.
    pub log: EffectLog,
    pub clock: ManualScheduledExecutor,
}

impl Fixture {
    /// Creates a started fixture whose timeouts never fall due.
    pub fn new() -> Self {
        Self::with(patient())
    }

    /// Creates a started fixture with this configuration.
    pub fn with(config: SlotManagerConfig) -> Self {
        let mut fixture = Self::not_started(config);
        fixture.start(1);
        fixture
    }

    /// Creates a fixture with this configuration that is not started.
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

    /// Creates a started fixture that promises every worker as `WorkerPromise::Unspecified`.
    pub fn promising(config: SlotManagerConfig) -> Self {
        let mut fixture = Self::not_started(config);
        fixture.actions.answer_allocations(Ok(WorkerPromise::Unspecified));
        fixture.start(1);
        fixture
    }

    /// Starts a leadership with the recording actions.
    pub fn start(&mut self, leader: u128) {
        self.manager
            .start(LeaderId::from_u128(leader), self.actions.clone())
            .expect("not started");
        self.check();
    }

    /// Ends the leadership.
    pub fn suspend(&mut self) {
        assert!(self.step(SlotManager::suspend).is_some(), "started");
    }

    /// Checks all invariants.
    #[track_caller]
    pub fn check(&self) {
        if let Err(violation) = self.manager.check_invariants() {
            panic!("{violation}\n{:#?}", self.manager);
        }
    }

    /// Makes any call and checks the invariants.
    #[track_caller]
    pub fn step<T>(&mut self, call: impl FnOnce(&mut Manager) -> T) -> T {
        let result = call(&mut self.manager);
        self.check();
        result
    }

    /// Returns a gateway that writes to the log.
    pub fn gateway(&self) -> ScriptedGateway {
        ScriptedGateway::with_log(&self.log)
    }

    /// Returns a gateway that writes to the log and is answered by hand.
    pub fn gateway_by_hand(&self) -> ScriptedGateway {
        let gateway = self.gateway();
        gateway.answer_requests(GatewayAnswer::ByHand);
        gateway
    }

    /// Registers with this report and returns the gateway, which is answered by hand.
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

    /// Registers worker `tm` with the small slot `tm_0` and with `tm_1`, which fits no small
    /// request. Its gateway is answered by hand.
    #[track_caller]
    pub fn register_pair(&mut self, instance: u128) -> ScriptedGateway {
        self.register_by_hand("tm", instance, &free_report("tm", &[small(), cores(2)]))
    }

    /// Lets worker `tm` acknowledge an attempt on slot `tm_1`, which is free again afterwards.
    ///
    /// It ends the failures of the worker in a row, but not those of slot `tm_0`.
    #[track_caller]
    pub fn acknowledge_on_other_slot(&mut self, gateway: &ScriptedGateway) {
        gateway.answer_next(acknowledged());
        assert_eq!(self.request(1000, &cores(2)), granted(&slot("tm", 1)));
        self.free(&slot("tm", 1), 1000);
    }

    /// Registers `instance` of `worker` with free slots of these profiles and returns its gateway.
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

    /// Checks that `instance` of `worker` is refused because of a limit.
    #[track_caller]
    pub fn is_refused(&mut self, worker: &str, instance: u128, report: &SlotReport) {
        let connection = TaskExecutorConnection::new(worker, self::instance(instance), self.gateway());
        let refused = self.try_register(connection, report);
        assert!(
            matches!(refused, Err(RegistrationError::LimitReached { .. })),
            "{refused:?}"
        );
    }

    /// Registers with this report and this gateway.
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

    /// Registers and returns the result, which may be an error.
    #[track_caller]
    pub fn try_register(
        &mut self,
        connection: TaskExecutorConnection<ScriptedGateway>,
        report: &SlotReport,
    ) -> Result<RegistrationOutcome, RegistrationError> {
        self.step(|manager| manager.register_task_manager(connection, report))
    }

    /// Ends the registration of this instance.
    #[track_caller]
    pub fn unregister(&mut self, instance: u128) -> UnregistrationOutcome {
        self.step(|manager| manager.unregister_task_manager(self::instance(instance), "lost"))
    }

    /// Reports the slots of this instance.
    #[track_caller]
    pub fn report(&mut self, instance: u128, report: &SlotReport) -> ReportOutcome {
        self.try_report(instance, report).expect("a valid report")
    }

    /// Reports the slots of this instance and returns the result, which may be an error.
    #[track_caller]
    pub fn try_report(&mut self, instance: u128, report: &SlotReport) -> Result<ReportOutcome, SlotReportError> {
        self.step(|manager| manager.report_slot_status(self::instance(instance), report))
    }

    /// Requests a slot for allocation `id` of job 1 and returns the status of the accepted request.
    #[track_caller]
    pub fn request(&mut self, id: u128, profile: &ResourceProfile) -> AllocationStatus {
        match self.try_request(1, id, profile).expect("an accepted request") {
            SlotRequestOutcome::Accepted(status) => status,
            other => panic!("allocation {id}: {other}"),
        }
    }

    /// Requests a slot and returns the result, which may be an error.
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

    /// Cancels request `id`.
    #[track_caller]
    pub fn cancel(&mut self, id: u128) -> CancelOutcome {
        self.step(|manager| manager.unregister_slot_request(allocation(id)))
    }

    /// Declares the requirements of job 1.
    #[track_caller]
    pub fn declare(&mut self, slots: &[(&ResourceProfile, u32)]) -> RequirementsOutcome {
        self.try_declare(&requirements(1, slots))
            .expect("accepted requirements")
    }

    /// Declares requirements and returns the result, which may be an error.
    #[track_caller]
    pub fn try_declare(
        &mut self,
        requirements: &ResourceRequirements,
    ) -> Result<RequirementsOutcome, RequirementsError> {
        self.step(|manager| manager.declare_requirements(requirements))
    }

    /// Returns the numbers of declared, charged, in-flight, waiting and delayed slots of job 1, and
    /// of those in excess.
    #[track_caller]
    pub fn required(&self) -> [usize; 6] {
        let view = self.manager.requirements(job(1)).expect("job 1 declares");
        let counts = view.in_all;
        [
            counts.declared,
            counts.charged,
            counts.in_flight,
            counts.waiting,
            counts.delayed,
            view.excess,
        ]
    }

    /// Unregisters a job and returns the number of requests that end.
    #[track_caller]
    pub fn unregister_job(&mut self, job: u128) -> usize {
        self.step(|manager| manager.unregister_job(self::job(job)))
    }

    /// Frees a slot that allocation `id` held.
    #[track_caller]
    pub fn free(&mut self, slot: &SlotId, id: u128) -> SlotFreedOutcome {
        self.step(|manager| manager.slot_freed(&freed(slot, id)))
    }

    /// Returns the id of the worker request with this number in the present leadership.
    pub fn worker_request(&self, number: u64) -> WorkerRequestId {
        let leader_id = self.manager.leader_id().unwrap_or(LeaderId::from_u128(1));
        WorkerRequestId::new(leader_id, number)
    }

    /// Reports that the worker of this worker request failed.
    #[track_caller]
    pub fn worker_failed(&mut self, number: u64) -> WorkerFailedOutcome {
        let id = self.worker_request(number);
        self.step(|manager| manager.worker_failed(id, "it failed"))
    }

    /// Blocks a worker.
    #[track_caller]
    pub fn block(&mut self, worker: &str) -> BlockOutcome {
        self.step(|manager| manager.block(&ResourceId::new(worker)))
    }

    /// Unblocks a worker.
    #[track_caller]
    pub fn unblock(&mut self, worker: &str) -> UnblockOutcome {
        self.step(|manager| manager.unblock(&ResourceId::new(worker)))
    }

    /// Turns fail-fast for unfulfillable requests on or off.
    #[track_caller]
    pub fn set_fail_unfulfillable(&mut self, fail: bool) {
        self.step(|manager| manager.set_fail_unfulfillable_requests(fail));
    }

    /// Answers a release check.
    #[track_caller]
    pub fn answer_release(&mut self, check: &ReleaseCheck, answer: ReleaseDecision) -> ReleaseAnswerOutcome {
        self.step(|manager| manager.answer_release(check, answer))
    }

    /// Answers the next worker request with a promise of these slots.
    pub fn promise_next(&self, slots: &[ResourceProfile]) {
        self.actions
            .answer_next_allocation(Ok(WorkerPromise::Slots(slots.to_vec())));
    }

    /// Registers a worker that names its worker request.
    #[track_caller]
    pub fn register_for(
        &mut self,
        worker_request: u64,
        worker: &str,
        instance: u128,
        report: &SlotReport,
    ) -> RegistrationOutcome {
        let connection = TaskExecutorConnection::new(worker, self::instance(instance), self.gateway())
            .with_worker_request(self.worker_request(worker_request));
        self.try_register(connection, report).expect("a valid registration")
    }

    /// Advances the clock and drives the manager until it stalls. Returns the number of events.
    #[track_caller]
    pub fn advance(&mut self, duration: Duration) -> usize {
        self.clock.advance(duration);
        self.run()
    }

    /// Drives the manager until it stalls. Returns the number of events.
    #[track_caller]
    pub fn run(&mut self) -> usize {
        self.step(SlotManager::run_until_stalled)
    }

    /// Checks that one event falls due after exactly `duration`, with these effects.
    #[track_caller]
    pub fn falls_due_after(&mut self, duration: Duration, expected: &[&str]) {
        assert_eq!(self.advance(duration - NANOSECOND), 0, "too early");
        self.expect_nothing();
        assert_eq!(self.advance(NANOSECOND), 1, "not exactly one event");
        self.expect(expected);
    }

    /// Returns the time of the clock.
    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the status of allocation `id`.
    pub fn status(&self, id: u128) -> Option<AllocationStatus> {
        self.manager.allocation_status(allocation(id))
    }

    /// Returns the request for allocation `id`, which is not granted.
    #[track_caller]
    pub fn ungranted(&self, id: u128) -> PendingSlotRequest<'_> {
        let request = self.manager.pending_slot_request(allocation(id));
        request.expect("a request that is not granted")
    }

    /// Returns the allocation of a slot.
    pub fn holder(&self, slot: &SlotId) -> Option<AllocationId> {
        self.manager.slot(slot).expect("a known slot").allocation_id()
    }

    /// Returns `true` if a slot is free.
    pub fn is_free(&self, slot: &SlotId) -> bool {
        self.manager.slot(slot).expect("a known slot").is_free()
    }

    /// Returns the state of a slot.
    #[track_caller]
    pub fn state(&self, slot: &SlotId) -> SlotState {
        self.manager.slot(slot).expect("a known slot").state()
    }

    /// Returns the numbers of free slots, slots in flight and allocated slots.
    pub fn counts(&self) -> [usize; 3] {
        let counts = self.manager.overview().slots.counts();
        [counts.free, counts.in_flight, counts.allocated]
    }

    /// Returns `true` if this instance is registered.
    pub fn is_registered(&self, instance: u128) -> bool {
        self.manager.task_manager(self::instance(instance)).is_some()
    }

    /// Returns the time since which a registered task manager is idle, or `None` if it is used.
    #[track_caller]
    pub fn idle_since(&self, instance: u128) -> Option<Timestamp> {
        let task_manager = self.manager.task_manager(self::instance(instance));
        task_manager.expect("a registered task manager").idle_since()
    }

    /// Returns the numbers of bound and of unbound promised slots.
    pub fn promised(&self) -> (usize, usize) {
        let overview = self.manager.overview();
        (overview.bound_promised_slots, overview.unbound_promised_slots)
    }

    /// Returns the worker request of each promised slot and its bound request, oldest first.
    #[track_caller]
    pub fn promises(&self) -> Vec<(u64, Option<u128>)> {
        let promises: Vec<_> = self
            .manager
            .promised_slots()
            .map(|promise| {
                let bound = promise.bound_to().map(AllocationId::as_u128);
                (promise.worker_request().number(), bound)
            })
            .collect();
        let bound = promises.iter().filter(|(_, bound)| bound.is_some()).count();
        assert_eq!(self.promised(), (bound, promises.len() - bound), "the counts agree");
        promises
    }

    /// Returns the worker request whose promised slot is bound to request `id`.
    #[track_caller]
    pub fn bound_to(&self, id: u128) -> Option<u64> {
        self.ungranted(id).bound_to().map(WorkerRequestId::number)
    }

    /// Returns everything that can be queried, as text.
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
        lines.extend(manager.declared_requirements().map(|declared| format!("{declared:?}")));
        lines.join("\n")
    }

    /// Takes the effects from the log, each as a line of text.
    pub fn effects(&self) -> Vec<String> {
        self.log.take().iter().map(ToString::to_string).collect()
    }

    /// Takes the effects from the log in [`brief`] form.
    pub fn brief_effects(&self) -> Vec<String> {
        brief(&self.log.take())
    }

    /// Takes the effects from the log and checks that they are these, in [`brief`] form.
    #[track_caller]
    pub fn expect(&self, expected: &[&str]) {
        assert_eq!(self.brief_effects(), expected);
    }

    /// Checks that the log has no effects.
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.expect(&[]);
    }

    /// Takes the effects from the log, without the notifications of grants.
    pub fn effects_but_grants(&self) -> Vec<Effect> {
        let mut effects = self.log.take();
        effects.retain(|effect| !matches!(effect, Effect::Action(Action::NotifySlotAllocated { .. })));
        effects
    }
}

/// Returns the slot requests among effects.
pub fn slot_requests(effects: &[Effect]) -> Vec<AllocateSlot> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.clone()),
            _ => None,
        })
        .collect()
}

/// Returns the frees among effects.
pub fn frees(effects: &[Effect]) -> Vec<FreeSlot> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::FreeSlot(free)) => Some(free.clone()),
            _ => None,
        })
        .collect()
}

/// Returns the notified failures among effects.
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

/// Returns the worker requests among effects.
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

/// Returns the releases among effects.
pub fn releases(effects: &[Effect]) -> Vec<InstanceId> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Action(Action::ReleaseResource(release)) => Some(release.instance_id),
            _ => None,
        })
        .collect()
}

/// Returns the release checks among effects.
pub fn release_checks(effects: &[Effect]) -> Vec<ReleaseCheck> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Gateway(GatewayCall::CanBeReleased(check)) => Some(*check),
            _ => None,
        })
        .collect()
}

/// A configuration whose timeouts never fall due, except retry back-offs.
pub fn patient() -> SlotManagerConfig {
    SlotManagerConfig::default()
        .with_request_timeout(Duration::MAX)
        .with_rpc_timeout(Duration::MAX)
        .with_task_manager_timeout(Duration::MAX)
        .with_worker_registration_timeout(Duration::MAX)
}

/// A patient configuration in which workers have this number of small slots.
pub fn described(slots: u32) -> SlotManagerConfig {
    patient().with_workers(workers_of(slots))
}

/// Workers with this number of small slots, without limits and reserves.
pub fn workers_of(slots: u32) -> WorkerPolicy {
    WorkerPolicy::new(worker_of(slots, &small()))
}

/// A worker with this number of slots of this profile.
pub fn worker_of(slots: u32, profile: &ResourceProfile) -> WorkerDescription {
    WorkerDescription::new(slots, profile.clone()).expect("a worker with slots")
}

/// A release check of leader 1.
pub fn release_check(instance: u128, number: u64) -> ReleaseCheck {
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

/// The attempt with this number for allocation `id`, of leader 1.
pub fn attempt(id: u128, number: u64) -> AttemptId {
    AttemptId {
        leader_id: LeaderId::from_u128(1),
        allocation_id: allocation(id),
        number,
    }
}

/// The worker request with this number of leader 1.
pub fn worker_request(number: u64) -> WorkerRequestId {
    WorkerRequestId::new(LeaderId::from_u128(1), number)
}

/// The message that a task executor has freed a slot of allocation `id`, without a revision.
pub fn freed(slot: &SlotId, id: u128) -> SlotFreed {
    SlotFreed::new(slot.clone(), allocation(id))
}

/// A profile of cores and mebibytes of task heap.
pub fn profile(cores: f64, heap: u64) -> ResourceProfile {
    ResourceProfile::builder()
        .cpu_cores(cores)
        .task_heap_memory_mebibytes(heap)
        .build()
        .expect("valid amounts")
}

/// The profile of tests in which profiles do not matter.
pub fn small() -> ResourceProfile {
    profile(1.0, 100)
}

/// A profile of cores only.
pub fn cores(cores: u32) -> ResourceProfile {
    profile(cores.into(), 0)
}

/// The profiles of slots with these numbers of cores.
pub fn slots_of(cores_of_slots: &[u32]) -> Vec<ResourceProfile> {
    cores_of_slots.iter().map(|number| cores(*number)).collect()
}

/// A request of a job for allocation `id`.
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
            Some(id) => held_by(slot(worker, number), *id, 1),
        })
        .collect()
}

/// The status of a small slot that allocation `id` of `job` holds.
pub fn held_by(slot_id: SlotId, id: u128, job: u128) -> SlotStatus {
    SlotStatus::allocated(slot_id, small(), allocation(id), self::job(job))
}

pub fn granted(slot: &SlotId) -> AllocationStatus {
    AllocationStatus::Granted { slot_id: slot.clone() }
}

pub fn in_flight(slot: &SlotId) -> AllocationStatus {
    AllocationStatus::InFlight { slot_id: slot.clone() }
}

/// Returns effects in a few words each. Ids are numbers, and slot 0 of worker `tm` is `tm_0`.
///
/// | text | effect |
/// |---|---|
/// | `request tm_0 for 1 #2` | `request_slot`: slot `tm_0`, allocation 1, attempt 2 |
/// | `free tm_0 of 1 #2` | `free_slot`: slot `tm_0`, allocation 1, attempt 2 |
/// | `may 7 go? #1` | release check number 1 of instance 7 |
/// | `granted 1 on tm_0` | notification: allocation 1 was granted slot `tm_0` |
/// | `granted u1 on tm_0` | notification: the first unit of declared requirements was granted `tm_0` |
/// | `job 1 lacks slots, 2 of 3: timeout` | notification: job 1 holds two of three declared slots |
/// | `job 1 ended, on 7 #2` | `free_inactive_slots`: job 1, instance 7, attempt 2 |
/// | `failed 1: timeout` | notification: request 1 failed at its timeout |
/// | `failed 1: unfulfillable` | notification: no slot or worker can serve request 1 |
/// | `failed 1: held by another job` | notification: another job holds allocation 1 |
/// | `failed 1: no quota` | notification: the worker request was refused for this reason |
/// | `lost 1 on tm_0: unregistered` | notification: the task manager of the slot is gone |
/// | `lost 1 on tm_0: free` | notification: a report showed the slot as free |
/// | `lost 1 on tm_0: held by 9` | notification: a report showed allocation 9 on the slot |
/// | `lost 1 on tm_0: removed` | notification: a report omitted the slot |
/// | `ask 3 for {cpu: 1}` | `allocate_resource`: worker request 3 for this profile |
/// | `withdraw 3` | `withdraw_resource`: worker request 3 |
/// | `release 7, idle since +5s (2)` | `release_resource`: instance 7, idle since 5 s, period 2 |
///
/// Other effects and causes are shown by their `Display`.
pub fn brief(effects: &[Effect]) -> Vec<String> {
    let number = name_of;
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
        } => format!("ask {} for {resource_profile}", worker_request.number()),
        Action::ReleaseResource(ReleaseResource {
            instance_id,
            cause: ReleaseCause::IdleTimeout {
                idle_since,
                idle_period,
            },
            ..
        }) => {
            let instance = instance_id.as_u128();
            format!("release {instance}, idle since {idle_since} ({idle_period})")
        }
        Action::WithdrawResource(withdraw) => format!("withdraw {}", withdraw.worker_request.number()),
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
        Action::NotifyNotEnoughResources { job_id, shortage } => {
            let cause = match &shortage.cause {
                ShortageCause::Timeout { .. } => "timeout",
                ShortageCause::Unfulfillable { .. } => "unfulfillable",
                _ => "another cause",
            };
            let (job, held, declared) = (job_id.as_u128(), shortage.charged, shortage.declared);
            format!("job {job} lacks slots, {held} of {declared}: {cause}")
        }
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
            Effect::Gateway(GatewayCall::FreeInactiveSlots(request)) => {
                let (job, instance) = (request.job_id.as_u128(), request.instance_id.as_u128());
                format!("job {job} ended, on {instance} #{}", request.attempt)
            }
            Effect::Gateway(GatewayCall::CanBeReleased(check)) => {
                format!("may {} go? #{}", check.instance_id.as_u128(), check.number)
            }
            other => other.to_string(),
        })
        .collect()
}

/// The distance of the allocation ids of successive units of declared requirements.
const UNIT_DISTANCE: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

/// Returns the allocation id of a unit that leader 1 makes.
pub fn unit(number: u64) -> AllocationId {
    AllocationId::from_u128(u128::from(number).wrapping_mul(UNIT_DISTANCE).wrapping_add(1))
}

/// Returns a number, or `u1` for the first unit of declared requirements.
pub fn name_of(id: &AllocationId) -> String {
    // Each step doubles the number of right bits of the inverse.
    let inverse = (0..7).fold(UNIT_DISTANCE, |inverse, _| {
        inverse.wrapping_mul(2_u128.wrapping_sub(UNIT_DISTANCE.wrapping_mul(inverse)))
    });
    let id = id.as_u128();
    let leaders = (1..4_u128).map(|leader| id.wrapping_sub(leader).wrapping_mul(inverse));
    match leaders.filter(|number| (1..1 << 32).contains(number)).min() {
        Some(number) => format!("u{number}"),
        None => id.to_string(),
    }
}

/// Returns requirements of a job.
pub fn requirements(job: u128, slots: &[(&ResourceProfile, u32)]) -> ResourceRequirements {
    let nothing = ResourceRequirements::new(self::job(job), "job-master");
    slots.iter().fold(nothing, |requirements, (profile, slots)| {
        let requirements = requirements.require((*profile).clone(), *slots);
        requirements.expect("few slots")
    })
}

/// The [`brief`] form of a worker request for a small slot.
pub fn ask(number: u64) -> String {
    format!("ask {number} for {}", small())
}

/// The answer that grants a slot request.
pub fn acknowledged() -> Result<Acknowledge, SlotAllocationError> {
    Ok(Acknowledge::new())
}

/// The answer that grants a slot request, with the revision of the slot table.
pub fn acknowledged_at(revision: u64) -> Result<Acknowledge, SlotAllocationError> {
    Ok(Acknowledge::new().with_revision(revision))
}

/// The answer that rejects a slot request.
pub fn rejected() -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::rejected("no"))
}

/// The answer that allocation `id` of job 1 holds the slot.
pub fn occupied(id: u128) -> Result<Acknowledge, SlotAllocationError> {
    occupied_by(id, 1)
}

/// The answer that allocation `id` of `job` holds the slot.
pub fn occupied_by(id: u128, job: u128) -> Result<Acknowledge, SlotAllocationError> {
    Err(SlotAllocationError::Occupied {
        allocation_id: allocation(id),
        job_id: self::job(job),
    })
}
