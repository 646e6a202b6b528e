//! The fast paths: a request that is granted, in flight or waiting at once, the cancellation of a
//! waiting request, an acknowledgement that only grants, a freed slot for which no request waits, a
//! report that changes nothing, and a task manager that goes while no attempt is in flight to it. The
//! lone acknowledgement that comes by a future is in [`rounds`](crate::slot_manager::outside::rounds).
//!
//! Their law: they equal the long way. Outcomes, effects, their order and the state afterwards are
//! the same as if the rules had handled the input one by one. The test below runs both on random
//! inputs.

use crate::error::SlotRequestError;
use crate::message::{Allocation, AttemptId, GrantLoss, SlotFreed, WorkerPromise};
use crate::outcome::{AllocationStatus, SlotRequestOutcome};
use crate::{
    LeaderId, ResourceManagerActions, ScheduledExecutor, SlotId, SlotManager, SlotRequest, TaskExecutorGateway,
};

use crate::slot_manager::collections::fingerprint_table::Fingerprint;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::slots::SlotKey;
use crate::slot_manager::state::task_managers::TaskManagerKey;

impl<A, G, E> SlotManager<A, G, E>
where
    A: ResourceManagerActions,
    G: TaskExecutorGateway,
    E: ScheduledExecutor,
{
    /// Attempts to give an offered slot or a new cut to a request that has no record yet. Most requests are
    /// granted here and never get one.
    pub(crate) fn attempt_at_once(
        &mut self,
        leader_id: LeaderId,
        slot: SlotKey,
        fingerprint: Fingerprint,
        request: SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let attempt = self.core.next_attempt();
        let message = self.core.allocate_slot(leader_id, slot, attempt, request);
        match self.driver.request_slot(&self.core, slot, &message) {
            Some(Ok(rpc)) => {
                let (slot_id, request) = message.into_slot_and_request();
                let key = self.core.insert_request(fingerprint, request);
                self.core.await_new_request(slot, key, attempt, rpc);
                self.finish_at_once();
                Ok(SlotRequestOutcome::Accepted(AllocationStatus::InFlight { slot_id }))
            }
            Some(Err(Ok(acknowledge))) if !self.core.is_overtaken(slot, acknowledge.revision()) => {
                self.core
                    .grant_at_once(slot, fingerprint, &message, acknowledge.revision());
                let allocation = Allocation {
                    id: message.allocation_id,
                    job: message.job_id,
                };
                self.finish_grant(allocation, &message.slot_id);
                let slot_id = message.slot_id;
                Ok(SlotRequestOutcome::Accepted(AllocationStatus::Granted { slot_id }))
            }
            other => {
                let allocation_id = message.allocation_id;
                let (_, request) = message.into_slot_and_request();
                let key = self.core.insert_request(fingerprint, request);
                self.core.begin_attempt(slot, key, attempt);
                if let Some(Err(result)) = other {
                    self.driver.take_result(&mut self.core, slot, attempt, result);
                }
                self.finish_registration(key, allocation_id)
            }
        }
    }

    /// Lets a request wait for which no slot is offered. Without promised slots and a worker policy,
    /// it also makes the worker request of this slot request.
    #[inline(always)]
    pub(crate) fn wait_at_once(
        &mut self,
        fingerprint: Fingerprint,
        request: SlotRequest,
    ) -> Result<SlotRequestOutcome, SlotRequestError> {
        let allocation_id = request.allocation_id();
        let key = self.core.insert_request(fingerprint, request);
        if !self.core.promises.is_empty() || self.core.worker_policy.is_active() {
            self.core.enqueue(key);
            return self.finish_registration(key, allocation_id);
        }
        match self.core.ask_for_worker(&mut self.driver, key) {
            (_, declined @ Ok(WorkerPromise::Declined)) => {
                // It owns nothing, and dropping it would be a call.
                std::mem::forget(declined);
                self.core.wait_declined(key);
                self.finish_at_once();
                Ok(SlotRequestOutcome::Accepted(AllocationStatus::Waiting))
            }
            (worker_request, answer) => {
                self.core.enqueue_unasked(key);
                self.core.apply_promise_result(key, worker_request, answer);
                self.finish_registration(key, allocation_id)
            }
        }
    }

    /// Cancels the request that was located last, if it waits unbound in a queue. Returns `false`,
    /// without a change, if it does not.
    #[inline(always)]
    pub(crate) fn cancel_at_once(&mut self, request: RequestKey) -> bool {
        if !self.core.cancel_queued(request) {
            return false;
        }
        self.core.changes += 1;
        if self.core.needs_reconcile() {
            self.finish_unchanged_input();
        }
        true
    }

    /// Grants the slot of an attempt. Returns `false`, without a change, if that is not all.
    #[inline(always)]
    pub(crate) fn acknowledge_at_once(&mut self, attempt_id: AttemptId, revision: Option<u64>) -> bool {
        let Some((slot, allocation)) = self.core.acknowledge_at_once(attempt_id, revision) else {
            return false;
        };
        let slot_id = self.core.slot_id(slot);
        self.finish_grant(allocation, &slot_id);
        true
    }

    /// Says that a slot is granted, and ends the input.
    #[inline(always)]
    fn finish_grant(&mut self, allocation: Allocation, slot_id: &SlotId) {
        self.driver.notify_slot_allocated(allocation, slot_id);
        self.finish_at_once();
    }

    /// Ends an input whose effects have left and whose transaction is committed.
    #[inline(always)]
    fn finish_at_once(&mut self) {
        self.core.changes += 1;
        if self.core.needs_reconcile() {
            self.core.reconcile(&mut self.driver);
        }
        self.driver.wake_after_input(&mut self.core);
    }

    /// Ends a grant and offers its slot. Returns `false`, without a change, if that is not all.
    #[inline(always)]
    pub(crate) fn free_at_once(&mut self, freed: &SlotFreed) -> bool {
        if !self.core.free_at_once(freed) {
            return false;
        }
        self.finish_at_once();
        true
    }

    /// Finishes an input that no rule has handled. Earlier inputs have left nothing to commit and no
    /// effects.
    #[inline(always)]
    pub(crate) fn finish_untouched_input(&mut self) {
        if self.core.needs_reconcile() {
            self.finish_unchanged_input();
        } else {
            self.driver.wake_after_input(&mut self.core);
        }
    }

    /// Ends a registration that may end at once, and notifies its grants as lost.
    #[inline(always)]
    pub(crate) fn unregister_at_once(&mut self, task_manager: TaskManagerKey, loss: GrantLoss) {
        self.core.end_registration_at_once(task_manager, loss);
        self.driver.drop_gateway(task_manager);
        self.driver.notify_losses(&mut self.core);
        self.finish_at_once();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::config::{WorkerDescription, WorkerPolicy};
    use crate::error::{ResourceManagerError, SlotAllocationError, SlotReportError, SlotRequestError};
    use crate::message::{Acknowledge, AttemptId, GrantLoss, SlotFreed, SlotResult, WorkerPromise};
    use crate::outcome::{
        CancelOutcome, ReportOutcome, SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
    };
    use crate::slot_manager::state::allocations::AllocationEntry;
    use crate::testing::{
        Effect, EffectLog, GatewayAnswer, GatewayCall, ManualScheduledExecutor, RecordingActions, ScriptedGateway,
    };
    use crate::{
        AllocationId, DynamicResources, InstanceId, JobId, LeaderId, ResourceProfile, SlotId, SlotManager,
        SlotManagerConfig, SlotReport, SlotRequest, SlotStatus, TaskExecutorConnection,
    };

    use crate::view::{SlotState, TaskManagerSlot};

    type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

    impl Manager {
        /// Registers a slot request without the fast path.
        fn register_the_long_way(&mut self, request: SlotRequest) -> Result<SlotRequestOutcome, SlotRequestError> {
            self.begin_input()?;
            let fingerprint = self.core.allocations.fingerprint(request.allocation_id());
            if let Some(answer) = self.core.refuse(fingerprint, &request) {
                return answer;
            }
            let allocation_id = request.allocation_id();
            let key = self.core.insert_request(fingerprint, request);
            self.core.transaction.detached.push(key);
            self.finish_registration(key, allocation_id)
        }

        /// Drives the manager without the fast path.
        fn run_the_long_way(&mut self) -> usize {
            let until = self.now();
            self.driver.run_rounds(&mut self.core, until).events
        }

        /// Takes a report of a known task manager without the fast path.
        fn report_in_full(
            &mut self,
            instance_id: InstanceId,
            report: &SlotReport,
        ) -> Result<ReportOutcome, SlotReportError> {
            self.begin_input()?;
            let task_manager = self.core.task_managers.by_instance(&instance_id);
            task_manager.map_or(Ok(ReportOutcome::Unknown), |task_manager| {
                self.report_the_long_way(task_manager, report, false)
            })
        }

        /// Cancels a slot request without the fast path.
        fn cancel_the_long_way(&mut self, id: AllocationId) -> CancelOutcome {
            match self.core.find_allocation(id) {
                Some(AllocationEntry::Pending(request)) if self.begin_input().is_ok() => {
                    self.core.cancel(request);
                    self.finish_input();
                    CancelOutcome::Cancelled
                }
                _ => self.unregister_slot_request(id),
            }
        }

        /// Unregisters a task manager without the fast path.
        fn unregister_the_long_way(&mut self, instance_id: InstanceId, cause: Arc<str>) -> UnregistrationOutcome {
            match self.core.task_managers.by_instance(&instance_id) {
                Some(task_manager) if self.begin_input().is_ok() => {
                    let loss = GrantLoss::TaskManagerUnregistered { instance_id, cause };
                    self.core.end_registration(task_manager, loss);
                    self.finish_input();
                    UnregistrationOutcome::Unregistered
                }
                _ => self.unregister_task_manager(instance_id, cause),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A worker registers with slots of these cores.
        Register {
            worker: u8,
            cores: Vec<u8>,
            revision: Option<u8>,
        },
        /// A dynamic worker registers with these cores in total.
        RegisterDynamic {
            worker: u8,
            cores: u8,
            default_slot: Option<u8>,
        },
        /// A task manager reports all its slots as free.
        Report {
            worker: u8,
            revision: u8,
        },
        /// The gateway of a worker answers from now on like this.
        Answer {
            worker: u8,
            answer: u8,
        },
        /// The resource manager answers worker requests from now on like this.
        Promise {
            answer: u8,
        },
        /// A worker reports its slots as they are known, or with one change.
        ReportChange {
            worker: u8,
            change: u8,
            slot: u8,
            revision: Option<u8>,
        },
        /// An attempt is answered by an input.
        AnswerByInput {
            attempt: u8,
            answer: u8,
        },
        /// The future of an attempt is answered after a while, and the manager is driven.
        AnswerByFuture {
            worker: u8,
            attempt: u8,
            answer: u8,
            milliseconds: u16,
        },
        Request {
            id: u8,
            job: u8,
            cores: u8,
        },
        Cancel {
            id: u8,
        },
        Free {
            worker: u8,
            slot: u8,
            id: u8,
            revision: Option<u8>,
        },
        Block {
            worker: u8,
        },
        Unblock {
            worker: u8,
        },
        Unregister {
            worker: u8,
        },
        Advance {
            milliseconds: u16,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let worker = || 0..3_u8;
        let id = || 0..12_u8;
        prop_oneof![
            3 => (worker(), prop::collection::vec(1..4_u8, 0..4), prop::option::of(0..4_u8))
                .prop_map(|(worker, cores, revision)| Step::Register { worker, cores, revision }),
            2 => (worker(), 0..6_u8, prop::option::of(1..3_u8))
                .prop_map(|(worker, cores, default_slot)| Step::RegisterDynamic { worker, cores, default_slot }),
            2 => (worker(), 0..6_u8).prop_map(|(worker, revision)| Step::Report { worker, revision }),
            6 => (worker(), 0..18_u8, 0..4_u8, prop::option::weighted(0.3, 0..6_u8)).prop_map(
                |(worker, change, slot, revision)| Step::ReportChange { worker, change, slot, revision }
            ),
            2 => (worker(), 0..8_u8).prop_map(|(worker, answer)| Step::Answer { worker, answer }),
            1 => (0..3_u8).prop_map(|answer| Step::Promise { answer }),
            6 => (0..30_u8, 0..8_u8).prop_map(|(attempt, answer)| Step::AnswerByInput { attempt, answer }),
            6 => (worker(), 0..30_u8, 0..8_u8, prop_oneof![Just(0), 0..400_u16]).prop_map(
                |(worker, attempt, answer, milliseconds)| Step::AnswerByFuture { worker, attempt, answer, milliseconds }
            ),
            8 => (id(), 0..2_u8, 0..4_u8).prop_map(|(id, job, cores)| Step::Request { id, job, cores }),
            2 => id().prop_map(|id| Step::Cancel { id }),
            4 => (worker(), 0..4_u8, id(), prop::option::of(0..6_u8))
                .prop_map(|(worker, slot, id, revision)| Step::Free { worker, slot, id, revision }),
            1 => worker().prop_map(|worker| Step::Block { worker }),
            1 => worker().prop_map(|worker| Step::Unblock { worker }),
            1 => worker().prop_map(|worker| Step::Unregister { worker }),
            2 => (0..400_u16).prop_map(|milliseconds| Step::Advance { milliseconds }),
        ]
    }

    /// One manager with its doubles.
    struct Side {
        manager: Manager,
        clock: ManualScheduledExecutor,
        log: EffectLog,
        gateways: [ScriptedGateway; 3],
        /// The attempts so far.
        asked: Vec<AttemptId>,
        takes_fast_paths: bool,
    }

    impl Side {
        fn new(config: SlotManagerConfig, takes_fast_paths: bool) -> Self {
            let (clock, log) = (ManualScheduledExecutor::new(), EffectLog::new());
            let actions = RecordingActions::with_log(&log);
            actions.answer_allocations(Ok(WorkerPromise::Unspecified));
            let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
            manager.start(LeaderId::from_u128(1), actions).expect("not started");
            let gateways: [_; 3] = std::array::from_fn(|_| ScriptedGateway::with_log(&log));
            gateways[2].answer_requests(GatewayAnswer::ByHand);
            Self {
                manager,
                clock,
                log,
                gateways,
                asked: Vec::new(),
                takes_fast_paths,
            }
        }

        /// Returns the present registration of a worker.
        fn task_manager(&self, worker: u8) -> Option<InstanceId> {
            let resource_id = format!("worker-{worker}").into();
            let registered = self.manager.task_manager_of(&resource_id)?;
            Some(registered.instance_id())
        }

        /// Applies a step. Returns its outcome, the effects and the state afterwards.
        fn apply(&mut self, step: &Step, number: u128) -> (String, Vec<Effect>, String) {
            let resource = |worker: u8| format!("worker-{worker}");
            let instance = |worker: u8| InstanceId::from_u128(u128::from(worker) + 1);
            let allocation = |id: u8| AllocationId::from_u128(u128::from(id) + 1);
            let outcome = match step {
                Step::Register {
                    worker,
                    cores,
                    revision,
                } => {
                    let statuses = cores.iter().zip(0..).map(|(cores, number)| {
                        let profile = match cores {
                            3 => with_gpu(3),
                            cores => profile(*cores),
                        };
                        SlotStatus::free(SlotId::new(resource(*worker).as_str(), number), profile)
                    });
                    let mut report = SlotReport::new(statuses.collect());
                    if let Some(revision) = revision {
                        report = report.with_revision(u64::from(*revision));
                    }
                    let gateway = self.gateways[usize::from(*worker)].clone();
                    let instance = InstanceId::from_u128(number * 8 + u128::from(*worker) + 1);
                    let connection = TaskExecutorConnection::new(resource(*worker).as_str(), instance, gateway);
                    format!("{:?}", self.manager.register_task_manager(connection, &report))
                }
                Step::RegisterDynamic {
                    worker,
                    cores,
                    default_slot,
                } => {
                    let mut resources = DynamicResources::new(profile(*cores));
                    if let Some(cores) = default_slot {
                        resources = resources.with_default_slot(profile(*cores));
                    }
                    let report = SlotReport::of_dynamic(resources, vec![]);
                    let gateway = self.gateways[usize::from(*worker)].clone();
                    let instance = InstanceId::from_u128(number * 8 + u128::from(*worker) + 1);
                    let connection = TaskExecutorConnection::new(resource(*worker).as_str(), instance, gateway);
                    format!("{:?}", self.manager.register_task_manager(connection, &report))
                }
                Step::Report { worker, revision } => {
                    let Some(registered) = self.manager.task_manager_of(&resource(*worker).as_str().into()) else {
                        return Default::default();
                    };
                    let slots = registered.slots();
                    let free = slots.map(|slot| SlotStatus::free(slot.slot_id(), slot.resource_profile().clone()));
                    let free: SlotReport = free.collect();
                    let report = match registered.total_resources() {
                        None => free,
                        Some(total) => SlotReport::of_dynamic(total.clone(), vec![]),
                    };
                    let report = report.with_revision(u64::from(*revision));
                    let instance = registered.instance_id();
                    format!("{:?}", self.manager.report_slot_status(instance, &report))
                }
                Step::ReportChange {
                    worker,
                    change,
                    slot,
                    revision,
                } => {
                    let Some(registered) = self.manager.task_manager_of(&resource(*worker).as_str().into()) else {
                        return Default::default();
                    };
                    let mut statuses: Vec<_> = registered.slots().map(status).collect();
                    change_report(&mut statuses, *change, usize::from(*slot));
                    let is_dynamic = registered.total_resources().is_some() != (*change == 9);
                    let total = registered.total_resources().cloned().unwrap_or(profile(3));
                    let mut report = match is_dynamic {
                        false => SlotReport::new(statuses),
                        true => SlotReport::of_dynamic(total, statuses),
                    };
                    if let Some(revision) = revision {
                        report = report.with_revision(u64::from(*revision));
                    }
                    let instance = registered.instance_id();
                    let before = self.manager.core.changes;
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.report_slot_status(instance, &report),
                        false => self.manager.report_in_full(instance, &report),
                    };
                    format!("{outcome:?} {}", self.manager.core.changes > before)
                }
                Step::Answer { worker, answer } => {
                    self.gateways[usize::from(*worker)].answer_requests(self::answer(*answer));
                    String::new()
                }
                Step::Promise { answer } => {
                    if let Some(actions) = self.manager.actions_mut() {
                        actions.answer_allocations(match answer {
                            0 => Ok(WorkerPromise::Unspecified),
                            1 => Ok(WorkerPromise::Declined),
                            _ => Err(ResourceManagerError::new("no room")),
                        });
                    }
                    String::new()
                }
                Step::AnswerByInput { attempt, answer } => {
                    let Some(asked) = self.asked.iter().rev().nth(usize::from(*attempt)) else {
                        return Default::default();
                    };
                    let result = result(*answer);
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.answer_slot_request(*asked, result),
                        false => self.manager.begin_input().map_or(SlotAnswerOutcome::Unknown, |_| {
                            self.manager.answer_the_long_way(*asked, result)
                        }),
                    };
                    format!("{outcome:?}")
                }
                Step::AnswerByFuture {
                    worker,
                    attempt,
                    answer,
                    milliseconds,
                } => {
                    self.clock.advance(Duration::from_millis(u64::from(*milliseconds)));
                    let gateway = &self.gateways[usize::from(*worker)];
                    let pending = gateway.pending();
                    let Some(asked) = pending.get(usize::from(*attempt) % pending.len().max(1)) else {
                        return Default::default();
                    };
                    let sent = gateway.answer(asked.attempt, result(*answer));
                    format!("{sent:?} {}", self.run())
                }
                Step::Request { id, job, cores } => {
                    let job_id = JobId::from_u128(u128::from(*job) + 1);
                    let request = SlotRequest::new(job_id, allocation(*id), profile(*cores), "job-master");
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.register_slot_request(request),
                        false => self.manager.register_the_long_way(request),
                    };
                    format!("{outcome:?}")
                }
                Step::Cancel { id } => {
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.unregister_slot_request(allocation(*id)),
                        false => self.manager.cancel_the_long_way(allocation(*id)),
                    };
                    format!("{outcome:?}")
                }
                Step::Free {
                    worker,
                    slot,
                    id,
                    revision,
                } => {
                    let name = resource(*worker);
                    let registered = self.manager.task_manager_of(&name.as_str().into());
                    let is_dynamic = registered.is_some_and(|registered| registered.total_resources().is_some());
                    let slot_id = match is_dynamic {
                        true => SlotId::dynamic(name, u32::from(*slot)),
                        false => SlotId::new(name, u32::from(*slot)),
                    };
                    let mut freed = SlotFreed::new(slot_id, allocation(*id));
                    if let (Some(revision), Some(registered)) = (revision, self.task_manager(*worker)) {
                        freed = freed.with_revision(registered, u64::from(*revision));
                    }
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.slot_freed(&freed),
                        false => self
                            .manager
                            .begin_input()
                            .map_or(SlotFreedOutcome::Unknown, |_| self.manager.free_the_long_way(&freed)),
                    };
                    format!("{outcome:?}")
                }
                Step::Block { worker } => format!("{:?}", self.manager.block(&resource(*worker).as_str().into())),
                Step::Unblock { worker } => format!("{:?}", self.manager.unblock(&resource(*worker).as_str().into())),
                Step::Unregister { worker } => {
                    let instance = self
                        .manager
                        .task_manager_of(&resource(*worker).as_str().into())
                        .map_or(instance(*worker), |registered| registered.instance_id());
                    let outcome = match self.takes_fast_paths {
                        true => self.manager.unregister_task_manager(instance, "lost"),
                        false => self.manager.unregister_the_long_way(instance, "lost".into()),
                    };
                    format!("{outcome:?}")
                }
                Step::Advance { milliseconds } => {
                    self.clock.advance(Duration::from_millis(u64::from(*milliseconds)));
                    format!("{}", self.run())
                }
            };
            for gateway in &self.gateways {
                let asked = gateway.take_calls().into_iter().filter_map(|call| match call {
                    GatewayCall::RequestSlot(request) => Some(request.attempt_id()),
                    _ => None,
                });
                self.asked.extend(asked);
            }
            if let Err(violation) = self.manager.check_invariants() {
                panic!("{violation}");
            }
            (outcome, self.log.take(), self.view())
        }

        /// Drives the manager. Returns the number of events.
        fn run(&mut self) -> usize {
            match self.takes_fast_paths {
                true => self.manager.run_until_stalled(),
                false => self.manager.run_the_long_way(),
            }
        }

        /// Returns all that queries show.
        fn view(&self) -> String {
            let manager = &self.manager;
            let slots: Vec<_> = manager.slots().collect();
            let task_managers: Vec<_> = manager
                .task_managers()
                .map(|it| (it, it.revision(), it.remaining_resources()))
                .collect();
            let requests: Vec<_> = manager.pending_slot_requests().collect();
            let promised: Vec<_> = manager.promised_slots().collect();
            let (overview, deadline) = (manager.overview(), manager.next_deadline());
            format!("{slots:?} {task_managers:?} {requests:?} {promised:?} {overview:?} {deadline:?}")
        }
    }

    /// Returns the status that shows a slot as it is known.
    fn status(slot: TaskManagerSlot<'_>) -> SlotStatus {
        let profile = slot.resource_profile().clone();
        match slot.state() {
            SlotState::Allocated { allocation_id, job_id } => {
                SlotStatus::allocated(slot.slot_id(), profile, allocation_id, job_id)
            }
            _ => SlotStatus::free(slot.slot_id(), profile),
        }
    }

    /// Makes a change to a report of all slots. Changes that are not listed make none.
    fn change_report(statuses: &mut Vec<SlotStatus>, change: u8, at: usize) {
        let Some(known) = statuses.get(at).cloned() else {
            return;
        };
        let (slot_id, profile) = (known.slot_id().clone(), known.resource_profile().clone());
        let allocated = |id, job| {
            let (id, job) = (AllocationId::from_u128(id), JobId::from_u128(job));
            SlotStatus::allocated(slot_id.clone(), profile.clone(), id, job)
        };
        let with_profile = |profile| match known.allocation() {
            Some(held) => SlotStatus::allocated(slot_id.clone(), profile, held.id, held.job),
            None => SlotStatus::free(slot_id.clone(), profile),
        };
        statuses[at] = match change {
            0 => SlotStatus::free(slot_id, profile),
            1 => allocated(u128::from(slot_id.slot_number()) + 3, 1),
            2 => known.allocation().map_or(known, |held| allocated(held.id.as_u128(), 2)),
            3 => with_profile(self::profile(4)),
            4 => with_profile(with_gpu(2)),
            5 => SlotStatus::free(SlotId::new(slot_id.resource_id().clone(), 9), profile),
            6 => SlotStatus::free(SlotId::new("worker-9", slot_id.slot_number()), profile),
            7 => return statuses.reverse(),
            8 => return drop(statuses.remove(at)),
            10 => return statuses.push(known),
            13 => with_profile(statuses[0].resource_profile().clone()),
            // As known, but the text of the id is not shared.
            11 | 12 => {
                let copy = SlotId::new(slot_id.resource_id().as_str(), slot_id.slot_number());
                match known.allocation() {
                    Some(held) => SlotStatus::allocated(copy, profile, held.id, held.job),
                    None => SlotStatus::free(copy, profile),
                }
            }
            _ => known,
        };
    }

    fn profile(cores: u8) -> ResourceProfile {
        ResourceProfile::builder()
            .cpu_cores(f64::from(cores))
            .build()
            .expect("a valid amount")
    }

    fn with_gpu(cores: u8) -> ResourceProfile {
        ResourceProfile::builder()
            .cpu_cores(f64::from(cores))
            .extended_resource("gpu", 1.0)
            .build()
            .expect("valid amounts")
    }

    fn answer(kind: u8) -> GatewayAnswer {
        match kind {
            4 => GatewayAnswer::ByHand,
            5 | 6 => GatewayAnswer::Later,
            _ => result(kind).into(),
        }
    }

    fn result(kind: u8) -> SlotResult {
        let occupied = SlotAllocationError::Occupied {
            allocation_id: AllocationId::from_u128(3),
            job_id: JobId::from_u128(1),
        };
        match kind {
            0 => Ok(Acknowledge::new().with_revision(1)),
            1 => Ok(Acknowledge::new().with_revision(5)),
            2 => Err(SlotAllocationError::rejected("no")),
            3 => Err(occupied),
            7 => Err(SlotAllocationError::insufficient(profile(1))),
            _ => Ok(Acknowledge::new()),
        }
    }

    fn configuration(kind: u8) -> SlotManagerConfig {
        let config = SlotManagerConfig::default().with_rpc_timeout(Duration::from_millis(300));
        let worker = WorkerDescription::new(2, profile(2)).expect("a worker with slots");
        let workers = WorkerPolicy::new(worker);
        match kind {
            0 => config.with_workers(workers.with_max_slots(Some(6)).with_min_slots(2)),
            1 => config.with_workers(workers.with_redundant_task_managers(1)),
            2 => config.with_fail_unfulfillable_requests(true),
            3 => config.with_reservation_delay(Duration::from_millis(500)),
            _ => config,
        }
    }

    proptest! {
        /// Also with limits and reserves, where a grant leads to worker requests within the call.
        #[test]
        fn fast_paths_equal_the_long_way(
            kind in 0..5_u8,
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut fast = Side::new(configuration(kind), true);
            let mut long = Side::new(configuration(kind), false);
            for (step, number) in steps.iter().zip(1..) {
                let (fast, long) = (fast.apply(step, number), long.apply(step, number));
                prop_assert_eq!(fast, long, "after {:?}", step);
            }
        }
    }
}
