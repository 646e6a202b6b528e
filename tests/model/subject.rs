//! The slot manager with its doubles, driven by commands.

use std::collections::BTreeMap;

use slot_manager::outcome::RegistrationOutcome;
use slot_manager::overview::Overview;
use slot_manager::testing::{EffectLog, ManualScheduledExecutor, RecordingActions, ScriptedGateway};
use slot_manager::view::Explanation;
use slot_manager::{
    AllocationId, LeaderId, ResourceId, ScheduledExecutor, SlotManager, SlotManagerConfig, SlotReport,
    TaskExecutorConnection,
};

use crate::command::{self, Answer, Command, WorkerRequestName};
use crate::common::{allocation, instance, job, request};
use crate::observation::{
    Outcome, PromiseView, PromisedWorkerView, RequestView, RequiredView, RequirementsView, Response, SlotView,
    Snapshot, TaskManagerView,
};

type Manager = SlotManager<RecordingActions, ScriptedGateway, ManualScheduledExecutor>;

pub(crate) struct Subject {
    manager: Manager,
    actions: RecordingActions,
    log: EffectLog,
    clock: ManualScheduledExecutor,
    /// The gateway of the last registration with each instance id.
    gateways: BTreeMap<u128, ScriptedGateway>,
    /// The state at the last check of changes.
    seen: Option<Seen>,
}

/// The state that the queries show, and the number of changes.
struct Seen {
    changes: u64,
    snapshot: Snapshot,
    overview: Overview,
    explanations: Vec<Option<Explanation>>,
}

impl Subject {
    pub(crate) fn new(config: SlotManagerConfig) -> Self {
        let (clock, log) = (ManualScheduledExecutor::new(), EffectLog::new());
        Self {
            manager: SlotManager::new(config, clock.clone()).expect("a valid configuration"),
            actions: RecordingActions::with_log(&log),
            log,
            clock,
            gateways: BTreeMap::new(),
            seen: None,
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Response {
        let outcome = self.outcome_of(command);
        let effects = self.log.take();
        Response { outcome, effects }
    }

    fn outcome_of(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Start { leader, length } => {
                let (leader_id, actions) = (LeaderId::from_u128(*leader), self.actions.clone());
                Outcome::Start(match length {
                    None => self.manager.start(leader_id, actions),
                    Some(length) => self.manager.start_until(leader_id, actions, self.clock.now() + *length),
                })
            }
            Command::Suspend => Outcome::Suspend(self.manager.suspend().is_some()),
            Command::Renew(length) => Outcome::Renew(self.manager.renew_leadership(self.clock.now() + *length)),
            Command::ExpectWorkers(workers) => Outcome::Recovery(
                self.manager
                    .expect_workers(workers.iter().map(|worker| ResourceId::new(worker.as_str()))),
            ),
            Command::EndRecovery => Outcome::Recovery(self.manager.end_recovery()),
            Command::Request {
                allocation,
                job,
                profile,
            } => {
                let request = request(*job, *allocation, &profile.profile());
                Outcome::Request(self.manager.register_slot_request(request))
            }
            Command::Cancel { allocation: id } => {
                Outcome::Cancel(self.manager.unregister_slot_request(allocation(*id)))
            }
            Command::Declare { job, slots, revision } => {
                let requirements = command::requirements(*job, slots, *revision);
                Outcome::Declare(self.manager.declare_requirements(&requirements))
            }
            Command::UnregisterJob { job: id } => Outcome::UnregisterJob(self.manager.unregister_job(job(*id))),
            Command::Free {
                slot,
                allocation: id,
                revision,
                attempt,
            } => {
                let freed = command::slot_freed(slot, *id, *revision, *attempt);
                Outcome::Free(self.manager.slot_freed(&freed))
            }
            Command::Register {
                worker,
                instance: id,
                worker_request,
                answer,
                report,
            } => {
                let gateway = ScriptedGateway::with_log(&self.log);
                answer_requests(&gateway, false, *answer);
                let mut connection = TaskExecutorConnection::new(worker.as_str(), instance(*id), gateway.clone());
                if let Some(name) = worker_request {
                    connection = connection.with_worker_request(self.worker_request(*name));
                }
                let registered = self
                    .manager
                    .register_task_manager(connection, &SlotReport::from(report));
                if matches!(
                    registered,
                    Ok(RegistrationOutcome::Registered | RegistrationOutcome::Replaced { .. })
                ) {
                    self.gateways.insert(*id, gateway);
                }
                Outcome::Register(registered)
            }
            Command::Unregister { instance: id } => {
                Outcome::Unregister(self.manager.unregister_task_manager(instance(*id), "lost"))
            }
            Command::Report { instance: id, report } => {
                let report = SlotReport::from(report);
                Outcome::Report(self.manager.report_slot_status(instance(*id), &report))
            }
            Command::WorkerFailed { worker_request } => {
                let id = self.worker_request(*worker_request);
                Outcome::WorkerFailed(self.manager.worker_failed(id, "it failed"))
            }
            Command::Block { worker } => Outcome::Block(self.manager.block(&ResourceId::new(worker.as_str()))),
            Command::Unblock { worker } => Outcome::Unblock(self.manager.unblock(&ResourceId::new(worker.as_str()))),
            Command::FailUnfulfillable(fail) => {
                self.manager.set_fail_unfulfillable_requests(*fail);
                Outcome::Nothing
            }
            Command::AnswerRelease { check, answer } => {
                Outcome::AnswerRelease(self.manager.answer_release(&(*check).into(), *answer))
            }
            Command::Answers {
                instance: id,
                once,
                answer,
            } => {
                if let Some(gateway) = self.gateways.get(id) {
                    answer_requests(gateway, *once, *answer);
                }
                Outcome::Nothing
            }
            Command::Answer { attempt, answer } => {
                let result = answer.result();
                let mut gateways = self.gateways.values();
                Outcome::Answered(
                    result
                        .is_some_and(|result| gateways.any(|gateway| gateway.answer(*attempt, result.clone()).is_ok())),
                )
            }
            Command::AnswerInput { attempt, answer } => match answer.result() {
                Some(result) => Outcome::AnswerInput(self.manager.answer_slot_request((*attempt).into(), result)),
                None => Outcome::Nothing,
            },
            Command::Workers { once, promise } => {
                match once {
                    true => self.actions.answer_next_allocation(promise.result()),
                    false => self.actions.answer_allocations(promise.result()),
                }
                Outcome::Nothing
            }
            Command::Releases { once, accept } => {
                match once {
                    true => self.actions.answer_next_release(command::release(*accept)),
                    false => self.actions.answer_releases(command::release(*accept)),
                }
                Outcome::Nothing
            }
            Command::Withdrawals { once, confirm } => {
                match once {
                    true => self.actions.answer_next_withdrawal(command::withdrawal(*confirm)),
                    false => self.actions.answer_withdrawals(command::withdrawal(*confirm)),
                }
                Outcome::Nothing
            }
            Command::ReleaseAnswers {
                instance: id,
                once,
                answer,
            } => {
                if let Some(gateway) = self.gateways.get(id) {
                    match once {
                        true => gateway.answer_next_release_check(*answer),
                        false => gateway.answer_release_checks(*answer),
                    }
                }
                Outcome::Nothing
            }
            Command::Advance(by) => {
                self.clock.advance(*by);
                Outcome::Nothing
            }
            Command::TurnBack(by) => {
                let now = self.clock.now().since_origin().saturating_sub(*by);
                self.clock.set_now(slot_manager::Timestamp::ZERO + now);
                Outcome::Nothing
            }
            Command::Run => Outcome::Ran(self.manager.run_until_stalled()),
        }
    }

    fn worker_request(&self, name: WorkerRequestName) -> slot_manager::WorkerRequestId {
        name.id(self.manager.leader_id())
    }

    /// Returns the state, with the status of allocations `1..=allocations`.
    pub(crate) fn snapshot(&self, allocations: u128) -> Snapshot {
        let manager = &self.manager;
        let overview = manager.overview();
        let slots = overview.slots.counts();
        Snapshot {
            leader_id: manager.leader_id(),
            is_leading: manager.is_leading(),
            slots: [
                slots.registered,
                slots.free,
                slots.blocked,
                slots.in_flight,
                slots.allocated,
            ],
            promised: [overview.bound_promised_slots, overview.unbound_promised_slots],
            task_managers: manager
                .task_managers()
                .map(|task_manager| TaskManagerView {
                    resource_id: task_manager.resource_id().clone(),
                    instance_id: task_manager.instance_id(),
                    worker_request: task_manager.worker_request(),
                    idle_since: task_manager.idle_since(),
                    revision: task_manager.revision(),
                    total: task_manager.total_resources().cloned(),
                    remaining: task_manager.remaining_resources(),
                    slots: task_manager
                        .slots()
                        .map(|slot| SlotView {
                            slot_id: slot.slot_id(),
                            profile: slot.resource_profile().clone(),
                            state: slot.state(),
                        })
                        .collect(),
                })
                .collect(),
            requests: manager
                .pending_slot_requests()
                .map(|request| RequestView {
                    allocation_id: request.allocation_id(),
                    job_id: request.job_id(),
                    profile: request.resource_profile().clone(),
                    deadline: request.deadline(),
                    failed_attempts: request.failed_attempts(),
                    in_flight_to: request.in_flight_to(),
                    backs_off_until: request.backs_off_until(),
                    bound_to: request.bound_to(),
                })
                .collect(),
            requirements: requirements(manager),
            promises: manager
                .promised_slots()
                .map(|promise| PromiseView {
                    worker_request: promise.worker_request(),
                    profile: promise.resource_profile().clone(),
                    bound_to: promise.bound_to(),
                    expires_at: promise.expires_at(),
                })
                .collect(),
            promised_workers: manager
                .promised_workers()
                .map(|worker| PromisedWorkerView {
                    worker_request: worker.worker_request(),
                    total: worker.total().clone(),
                    remaining: worker.remaining_resources(),
                    expires_at: worker.expires_at(),
                })
                .collect(),
            allocations: (1..=allocations)
                .map(|id| manager.allocation_status(AllocationId::from_u128(id)))
                .collect(),
            next_deadline: manager.next_deadline(),
        }
    }

    /// Checks that the queries show the same as at the last check if the number of changes is the
    /// same, and that it does not fall.
    pub(crate) fn check_changes(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let manager = &self.manager;
        let mut now = Seen {
            changes: manager.changes(),
            overview: manager.overview(),
            explanations: manager
                .pending_slot_requests()
                .map(|request| manager.explain(request.allocation_id()))
                .collect(),
            snapshot,
        };
        // The counters of refused and stale inputs are no change.
        let counters = &mut now.overview.counters;
        (counters.reports_stale, counters.reports_refused) = (0, 0);
        counters.task_managers_refused = 0;
        // A leadership ends by time alone.
        (now.snapshot.is_leading, now.snapshot.next_deadline) = (true, None);
        let Some(mut before) = self.seen.replace(now) else {
            return Ok(());
        };
        let Some(now) = &self.seen else {
            return Ok(());
        };
        // Allocations of refused requests are unknown.
        before.snapshot.allocations.resize(now.snapshot.allocations.len(), None);
        let is_same = before.snapshot == now.snapshot
            && before.overview == now.overview
            && before.explanations == now.explanations;
        if before.changes > now.changes || (before.changes == now.changes && !is_same) {
            return Err(format!(
                "the number of changes was {} and is {}, the state was\n{:#?}\n{}\nand is\n{:#?}\n{}",
                before.changes, now.changes, before.snapshot, before.overview, now.snapshot, now.overview
            ));
        }
        Ok(())
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        self.manager
            .check_invariants()
            .map_err(|violation| violation.to_string())
    }
}

/// Returns the declared requirements, by job.
fn requirements(manager: &Manager) -> Vec<RequirementsView> {
    let mut views: Vec<_> = manager
        .declared_requirements()
        .map(|declared| RequirementsView {
            job_id: declared.job_id,
            revision: declared.revision,
            excess: declared.excess,
            required: declared
                .profiles
                .into_iter()
                .map(|required| RequiredView {
                    profile: required.resource_profile,
                    declared: required.counts.declared,
                    charged: required.counts.charged,
                    delayed: required.counts.delayed,
                })
                .collect(),
        })
        .collect();
    views.sort_by_key(|it| it.job_id);
    views
}

fn answer_requests(gateway: &ScriptedGateway, once: bool, answer: Answer) {
    use slot_manager::testing::GatewayAnswer;

    let answer = match answer.result() {
        Some(result) => GatewayAnswer::AtOnce(result),
        None if answer == Answer::AsInput => GatewayAnswer::Later,
        None => GatewayAnswer::ByHand,
    };
    match once {
        true => gateway.answer_next(answer),
        false => gateway.answer_requests(answer),
    }
}
