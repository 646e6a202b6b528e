//! Random events against simulated task executors over a bad network: whatever happens, the invariants hold after every
//! step, every request ends once, the same inputs have the same effects, and when messages stop the view is the truth.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use slot_manager::testing::{
    Action, Delivery, Effect, EffectLog, GatewayCall, ManualScheduledExecutor, RecordingActions, SimulatedGateway,
    SimulatedTaskExecutor,
};
use slot_manager::{
    AllocationFailureCause, AllocationId, CancelOutcome, LeaderId, Release, RequestSlot, ResourceManagerError,
    ResourceProfile, SlotManager, SlotManagerConfig, SlotMatchingStrategy, SlotReport, SlotRequestError,
    SlotRequestOutcome, WorkerPromise, WorkerRequestId,
};

use common::{allocation, instance, job, profile, request};

const WORKERS: usize = 4;
const PROFILES: usize = 3;

#[derive(Debug, Clone)]
enum Event {
    Request {
        job: u128,
        profile: usize,
    },
    RepeatRequest {
        nth: usize,
    },
    Cancel {
        nth: usize,
    },
    UnregisterJob {
        job: u128,
    },
    /// The job gives a slot back; the manager may not hear of it.
    Free {
        nth: usize,
        told: bool,
    },
    Register {
        worker: usize,
        named: bool,
    },
    Unregister {
        worker: usize,
    },
    Crash {
        worker: usize,
    },
    Report {
        worker: usize,
    },
    KeepReport {
        worker: usize,
    },
    SendKeptReport {
        worker: usize,
    },
    Deliver {
        worker: usize,
        nth: usize,
    },
    Lose {
        worker: usize,
        nth: usize,
    },
    /// An allocation takes a slot without a word to the manager: a foreign one, or one whose request is pending.
    Occupy {
        worker: usize,
        number: u32,
        own: Option<usize>,
    },
    ChangeSlot {
        worker: usize,
        number: u32,
        profile: Option<usize>,
    },
    WorkerFailed {
        nth: u64,
    },
    AnswerAllocations {
        answer: usize,
    },
    Advance {
        milliseconds: u64,
    },
    NewLeader,
}

fn event() -> impl Strategy<Value = Event> {
    let worker = 0..WORKERS;
    let nth = 0..1000_usize;
    prop_oneof![
        12 => (1..4_u128, 0..PROFILES).prop_map(|(job, profile)| Event::Request { job, profile }),
        1 => nth.clone().prop_map(|nth| Event::RepeatRequest { nth }),
        3 => nth.clone().prop_map(|nth| Event::Cancel { nth }),
        1 => (1..4_u128).prop_map(|job| Event::UnregisterJob { job }),
        6 => (nth.clone(), any::<bool>()).prop_map(|(nth, told)| Event::Free { nth, told }),
        6 => (worker.clone(), any::<bool>()).prop_map(|(worker, named)| Event::Register { worker, named }),
        1 => worker.clone().prop_map(|worker| Event::Unregister { worker }),
        1 => worker.clone().prop_map(|worker| Event::Crash { worker }),
        3 => worker.clone().prop_map(|worker| Event::Report { worker }),
        2 => worker.clone().prop_map(|worker| Event::KeepReport { worker }),
        2 => worker.clone().prop_map(|worker| Event::SendKeptReport { worker }),
        16 => (worker.clone(), 0..3_usize).prop_map(|(worker, nth)| Event::Deliver { worker, nth }),
        2 => (worker.clone(), 0..3_usize).prop_map(|(worker, nth)| Event::Lose { worker, nth }),
        5 => (worker.clone(), 0..4_u32, proptest::option::of(nth))
            .prop_map(|(worker, number, own)| Event::Occupy { worker, number, own }),
        1 => (worker, 0..4_u32, proptest::option::of(0..PROFILES))
            .prop_map(|(worker, number, profile)| Event::ChangeSlot { worker, number, profile }),
        1 => (0..5_u64).prop_map(|nth| Event::WorkerFailed { nth }),
        2 => (0..5_usize).prop_map(|answer| Event::AnswerAllocations { answer }),
        6 => (0..120_u64).prop_map(|milliseconds| Event::Advance { milliseconds }),
        1 => Just(Event::NewLeader),
    ]
}

/// Up to `most` events, and whether the manager is driven after each.
fn events(most: usize) -> impl Strategy<Value = Vec<(Event, bool)>> {
    proptest::collection::vec((event(), any::<bool>()), 1..most)
}

/// How a request ended, or a grant that followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Granted,
    Failed,
    Cancelled,
    Dropped,
}

struct World {
    manager: SlotManager<RecordingActions, SimulatedGateway, ManualScheduledExecutor>,
    actions: RecordingActions,
    log: EffectLog,
    clock: ManualScheduledExecutor,
    workers: Vec<SimulatedTaskExecutor>,
    kept_reports: BTreeMap<usize, SlotReport>,
    leader: u128,
    instances: u128,
    allocations: u128,
    /// By allocation id, with the job.
    fates: BTreeMap<AllocationId, (u128, Fate)>,
    worker_requests: u64,
    history: Vec<Effect>,
}

fn profiles() -> [ResourceProfile; PROFILES] {
    [profile(1.0, 100), profile(2.0, 100), profile(2.0, 400)]
}

impl World {
    fn new(config: SlotManagerConfig) -> Self {
        let clock = ManualScheduledExecutor::new();
        let log = EffectLog::new();
        let workers = (0..WORKERS)
            .map(|n| {
                let slots = (0..=n).map(|slot| profiles()[(n + slot) % PROFILES].clone());
                let worker = SimulatedTaskExecutor::new(format!("worker-{n}"), slots, clock.clone())
                    .with_slot_timeout(Duration::MAX)
                    .with_log(&log);
                worker.set_delivery(Delivery::Manual);
                worker
            })
            .collect();
        let actions = RecordingActions::with_log(&log);
        let mut manager = SlotManager::new(config, clock.clone()).expect("a valid configuration");
        manager
            .start(LeaderId::from_u128(1), actions.clone())
            .expect("not started");
        Self {
            manager,
            actions,
            log,
            clock,
            workers,
            kept_reports: BTreeMap::new(),
            leader: 1,
            instances: 0,
            allocations: 0,
            fates: BTreeMap::new(),
            worker_requests: 0,
            history: Vec::new(),
        }
    }

    /// Without `driven` the event waits for its consequences until a later one drives the manager.
    fn apply(&mut self, event: &Event, driven: bool) {
        match *event {
            Event::Request { job, profile } => self.request(job, profile),
            Event::RepeatRequest { nth } => self.repeat_request(nth),
            Event::Cancel { nth } => {
                if let Some(id) = self.nth_allocation(nth) {
                    if self.manager.unregister_slot_request(id) == Ok(CancelOutcome::Cancelled) {
                        self.end(id, Fate::Cancelled);
                    }
                }
            }
            Event::UnregisterJob { job } => self.unregister_job(job),
            Event::Free { nth, told } => self.free(nth, told),
            Event::Register { worker, named } => self.register(worker, named),
            Event::Unregister { worker } => {
                if let Some(id) = self.workers[worker].instance_id() {
                    self.manager.unregister_task_manager(id, "gone").expect("started");
                    self.workers[worker].disconnect();
                }
            }
            Event::Crash { worker } => self.workers[worker].crash(),
            Event::Report { worker } => self.report(worker),
            Event::KeepReport { worker } => {
                self.kept_reports.insert(worker, self.workers[worker].slot_report());
            }
            Event::SendKeptReport { worker } => {
                let instance_id = self.workers[worker].instance_id();
                if let (Some(report), Some(id)) = (self.kept_reports.remove(&worker), instance_id) {
                    self.manager.report_slot_status(id, &report).expect("a valid report");
                }
            }
            Event::Deliver { worker, nth } => {
                self.workers[worker].deliver(nth);
            }
            Event::Lose { worker, nth } => {
                self.workers[worker].lose(nth);
            }
            Event::Occupy { worker, number, own } => self.occupy(worker, number, own),
            Event::ChangeSlot {
                worker,
                number,
                profile,
            } => match profile {
                Some(profile) => self.workers[worker].set_slot(number, profiles()[profile].clone()),
                None => drop(self.workers[worker].remove_slot(number)),
            },
            Event::WorkerFailed { nth } => {
                let id = WorkerRequestId::new(self.worker_requests.saturating_sub(nth));
                self.manager.worker_failed(id, "it failed").expect("started");
            }
            Event::AnswerAllocations { answer } => self.actions.answer_allocations(answers()[answer].clone()),
            Event::Advance { milliseconds } => self.clock.advance(Duration::from_millis(milliseconds)),
            Event::NewLeader => self.new_leader(),
        }
        self.manager.check_invariants().expect("after an input");
        if driven {
            self.manager.run_until_stalled();
        }
        self.settle();
    }

    fn request(&mut self, job: u128, profile: usize) {
        self.allocations += 1;
        let id = self.allocations;
        self.fates.insert(allocation(id), (job, Fate::Pending));
        match self
            .manager
            .register_slot_request(request(job, id, &profiles()[profile]))
        {
            Ok(SlotRequestOutcome::Accepted(_)) => {}
            Err(SlotRequestError::Failed { .. }) => self.end(allocation(id), Fate::Failed),
            // Somebody took a slot in the name of an allocation that comes only now.
            Ok(SlotRequestOutcome::Duplicate(_)) | Err(_) => {
                self.fates.remove(&allocation(id));
            }
        }
    }

    fn repeat_request(&mut self, nth: usize) {
        let Some(id) = self.nth_allocation(nth) else {
            return;
        };
        let before = self.manager.allocation_status(id);
        let (job, fate) = self.fates[&id];
        if fate == Fate::Pending {
            let known = self.manager.pending_slot_request(id).expect("it is pending");
            let profile = known.resource_profile().clone();
            let repeated = self
                .manager
                .register_slot_request(request(job, id.as_uuid().as_u128(), &profile));
            assert_eq!(repeated.ok(), before.map(SlotRequestOutcome::Duplicate));
        }
    }

    fn unregister_job(&mut self, id: u128) {
        let pending: Vec<_> = self
            .pending()
            .filter_map(|(allocation, owner)| (owner == id).then_some(allocation))
            .collect();
        assert_eq!(self.manager.unregister_job(job(id)), Ok(pending.len()));
        for allocation in pending {
            self.end(allocation, Fate::Cancelled);
        }
    }

    fn free(&mut self, nth: usize, told: bool) {
        let Some(id) = self.nth_allocation(nth) else {
            return;
        };
        for worker in &self.workers {
            if let Some(slot) = worker.free(id) {
                if told {
                    self.manager.free_slot(&slot, id).expect("started");
                }
                return;
            }
        }
    }

    fn register(&mut self, worker: usize, named: bool) {
        self.instances += 1;
        let mut connection = self.workers[worker].connect(LeaderId::from_u128(self.leader), instance(self.instances));
        if named {
            connection = connection.with_worker_request(WorkerRequestId::new(self.worker_requests));
        }
        let report = self.workers[worker].slot_report();
        self.manager
            .register_task_manager(connection, &report)
            .expect("a valid registration");
        self.kept_reports.remove(&worker);
    }

    fn report(&mut self, worker: usize) {
        if let Some(id) = self.workers[worker].instance_id() {
            let report = self.workers[worker].slot_report();
            self.manager.report_slot_status(id, &report).expect("a valid report");
        }
    }

    fn occupy(&self, worker: usize, number: u32, own: Option<usize>) {
        let worker = &self.workers[worker];
        let (Some(leader_id), Some(instance_id)) = (worker.leader_id(), worker.instance_id()) else {
            return;
        };
        let pending: Vec<_> = self.pending().collect();
        let own = own.and_then(|nth| pending.get(nth % pending.len().max(1)));
        let (allocation_id, job_id) = match own {
            Some((id, owner)) => (*id, job(*owner)),
            None => (allocation(1_000_000 + u128::from(number)), job(9)),
        };
        let request = RequestSlot {
            slot_id: slot_manager::SlotId::new(worker.resource_id(), number),
            job_id,
            allocation_id,
            resource_profile: ResourceProfile::UNKNOWN,
            target_address: "elsewhere".into(),
            leader_id,
            instance_id,
            attempt: u64::MAX,
        };
        // Refused if the slot is held, or the allocation holds another slot there: then nothing is occupied.
        drop(worker.handle_request_slot(&request, slot_manager::Timestamp::ZERO));
    }

    fn new_leader(&mut self) {
        self.manager.suspend().expect("started");
        self.manager.check_invariants().expect("after suspend");
        let pending: Vec<_> = self.pending().map(|(id, _)| id).collect();
        for id in pending {
            self.end(id, Fate::Dropped);
        }
        for worker in &self.workers {
            worker.disconnect();
        }
        self.leader += 1;
        self.manager
            .start(LeaderId::from_u128(self.leader), self.actions.clone())
            .expect("suspended");
    }

    /// Checks the manager, and reads what it said.
    fn settle(&mut self) {
        self.manager.check_invariants().expect("after progress");
        for effect in self.log.take() {
            match &effect {
                Effect::Action(Action::AllocateResource { worker_request, .. }) => {
                    assert!(
                        worker_request.as_u64() > self.worker_requests,
                        "worker requests are numbered"
                    );
                    self.worker_requests = worker_request.as_u64();
                }
                Effect::Action(Action::NotifySlotAllocated { allocation_id, .. }) => {
                    self.end(*allocation_id, Fate::Granted);
                }
                Effect::Action(Action::NotifyAllocationFailure {
                    allocation_id, cause, ..
                }) => match cause {
                    AllocationFailureCause::RequestFailed(_) => self.end(*allocation_id, Fate::Failed),
                    AllocationFailureCause::GrantLost { .. } => {
                        let fate = self.fates.get(allocation_id).map(|(_, fate)| *fate);
                        assert_ne!(fate, Some(Fate::Pending), "a grant is lost before it is granted");
                    }
                },
                Effect::Action(Action::ReleaseResource { instance_id, .. }) => {
                    // An accepted release stops the worker.
                    for worker in &self.workers {
                        if worker.instance_id() == Some(*instance_id)
                            && self.manager.task_manager(*instance_id).is_none()
                        {
                            worker.disconnect();
                        }
                    }
                }
                _ => {}
            }
            self.history.push(effect);
        }
        let pending = self.pending().count();
        assert_eq!(
            self.manager.num_pending_slot_requests(),
            pending,
            "every request has one fate"
        );
    }

    fn end(&mut self, id: AllocationId, fate: Fate) {
        let (_, present) = self.fates.get_mut(&id).expect("only what was requested ends");
        assert_eq!(*present, Fate::Pending, "{id} ends once");
        *present = fate;
    }

    /// Requests that have not ended, with their jobs.
    fn pending(&self) -> impl Iterator<Item = (AllocationId, u128)> {
        let pending = self.fates.iter().filter(|(_, (_, fate))| *fate == Fate::Pending);
        pending.map(|(id, (job, _))| (*id, *job))
    }

    fn nth_allocation(&self, nth: usize) -> Option<AllocationId> {
        let n = self.fates.len();
        (n > 0).then(|| self.fates.keys().nth(nth % n).copied())?
    }

    /// Messages stop: what is under way arrives, nobody asks for more, and each task executor reports once more.
    fn come_to_rest(&mut self) {
        for job in 1..4 {
            self.unregister_job(job);
            self.settle();
        }
        self.drive();
        while self.workers.iter().any(|worker| worker.deliver_all() > 0) {
            self.drive();
        }
        for worker in 0..WORKERS {
            self.report(worker);
            self.drive();
        }
    }

    fn drive(&mut self) {
        self.manager.run_until_stalled();
        self.settle();
    }

    fn assert_view_is_the_truth(&self) {
        let registered: Vec<_> = self
            .manager
            .task_managers()
            .map(|it| it.resource_id().clone())
            .collect();
        for worker in &self.workers {
            let Some(instance_id) = worker.instance_id() else {
                continue;
            };
            let Some(view) = self.manager.task_manager(instance_id) else {
                panic!("{} is connected, registered are {registered:?}", worker.resource_id());
            };
            let seen: Vec<_> = view
                .slots()
                .map(|slot| (slot.slot_id(), slot.allocation_id()))
                .collect();
            let report = worker.slot_report();
            let truth: Vec<_> = report
                .statuses()
                .iter()
                .map(|status| (status.slot_id().clone(), status.allocation().map(|(id, _)| id)))
                .collect();
            assert_eq!(seen, truth);
        }
    }
}

fn answers() -> [Result<WorkerPromise, ResourceManagerError>; 5] {
    let slots = profiles().to_vec();
    [
        Ok(WorkerPromise::Declined),
        Ok(WorkerPromise::Unspecified),
        Ok(WorkerPromise::Slots(slots)),
        Ok(WorkerPromise::Slots(Vec::new())),
        Err(ResourceManagerError::new("no quota")),
    ]
}

fn config() -> impl Strategy<Value = SlotManagerConfig> {
    let timeout = || prop_oneof![(0..400_u64).prop_map(Duration::from_millis), Just(Duration::MAX)];
    let strategy = prop_oneof![
        Just(SlotMatchingStrategy::FirstFit),
        Just(SlotMatchingStrategy::LeastUtilization)
    ];
    (timeout(), timeout(), timeout(), timeout(), 0..30_u64, strategy).prop_map(
        |(request, rpc, idle, worker, pause, strategy)| {
            SlotManagerConfig::default()
                .with_request_timeout(request)
                .with_rpc_timeout(rpc)
                .with_task_manager_timeout(idle)
                .with_worker_registration_timeout(worker)
                .with_retry_pause(Duration::from_millis(pause), Duration::from_millis(4 * pause))
                .with_slot_matching_strategy(strategy)
        },
    )
}

fn run(config: &SlotManagerConfig, events: &[(Event, bool)], release: Release) -> World {
    let mut world = World::new(config.clone());
    world.actions.answer_releases(release);
    for (event, driven) in events {
        world.apply(event, *driven);
    }
    world
}

/// More cases than usual: one costs a millisecond. `PROPTEST_CASES` asks for still more.
fn proptest_config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(400),
        max_shrink_iters: 20_000,
        ..default
    }
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn invariants_hold_and_the_view_becomes_the_truth(
        config in config(),
        events in events(150),
        accept in any::<bool>(),
    ) {
        let release = if accept { Release::Accepted } else { Release::Declined };
        let mut world = run(&config, &events, release);
        world.come_to_rest();
        world.assert_view_is_the_truth();
    }

    #[test]
    fn the_same_inputs_have_the_same_effects(
        config in config(),
        events in events(100),
    ) {
        let first = run(&config, &events, Release::Accepted);
        let second = run(&config, &events, Release::Accepted);
        prop_assert_eq!(first.history, second.history);
    }

    #[test]
    fn an_attempt_number_is_used_once_and_grows(events in events(100)) {
        let world = run(&SlotManagerConfig::default(), &events, Release::Accepted);
        let attempts: Vec<_> = world
            .history
            .iter()
            .filter_map(|effect| match effect {
                Effect::Gateway(GatewayCall::RequestSlot(request)) => Some(request.attempt),
                _ => None,
            })
            .collect();
        let mut distinct = attempts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), attempts.len());
    }
}
