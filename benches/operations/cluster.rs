//! Managers in the starting state of a group, and steps that several groups take.

use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use slot_manager::matching::SlotMatchingStrategy;
use slot_manager::message::SlotFreed;
use slot_manager::outcome::RegistrationOutcome;
use slot_manager::{
    AllocationId, LeaderId, ResourceProfile, ScheduledExecutor, SlotManager, SlotManagerConfig, SlotReport,
    TaskExecutorGateway,
};

use crate::inputs::Inputs;
use crate::measure::{BATCH, BATCH_OF_REPORTS, Round, batches};
use crate::messages::{
    Requests, SLOTS_PER_TASK_MANAGER, connection, growing_profile, huge_profile, instance_id, report, slot_id,
    usual_profile,
};
use crate::outside::{Count, Counter, Manager, Prompt, started};
use crate::timing::timed;

/// Returns a started manager.
pub(crate) fn started_with<G: TaskExecutorGateway, E: ScheduledExecutor>(
    config: SlotManagerConfig,
    executor: E,
) -> SlotManager<Count, G, E> {
    let mut manager = SlotManager::new(config, executor).expect("the configuration is valid");
    manager
        .start(LeaderId::from_u128(1), Count::default())
        .expect("it is not started yet");
    manager
}

/// Registers task managers with this number of slots. The operation of the round is one slot.
pub(crate) fn register<G: TaskExecutorGateway, E: ScheduledExecutor>(
    manager: &mut SlotManager<Count, G, E>,
    slots: usize,
    gateway: impl Fn() -> G,
    report: impl Fn(usize) -> SlotReport,
) -> Round {
    register_more(manager, 0, slots, gateway, report)
}

/// Registers more task managers, with this number of slots.
pub(crate) fn register_more<G: TaskExecutorGateway, E: ScheduledExecutor>(
    manager: &mut SlotManager<Count, G, E>,
    present: usize,
    slots: usize,
    gateway: impl Fn() -> G,
    report: impl Fn(usize) -> SlotReport,
) -> Round {
    let mut round = Round::default();
    let first = present / SLOTS_PER_TASK_MANAGER;
    for batch in batches(slots / SLOTS_PER_TASK_MANAGER, BATCH_OF_REPORTS) {
        let registrations: Vec<_> = batch
            .map(|task_manager| first + task_manager)
            .map(|task_manager| (connection(task_manager, gateway()), report(task_manager)))
            .collect();
        let mut registered = Vec::with_capacity(registrations.len());
        let (time, ()) = timed(|| {
            for (connection, report) in registrations {
                let outcome = manager.register_task_manager(connection, &report);
                registered.push((outcome, report));
            }
        });
        round.add(registered.len() * SLOTS_PER_TASK_MANAGER, time);
        for (outcome, _) in registered {
            assert_eq!(outcome, Ok(RegistrationOutcome::Registered));
        }
    }
    assert_eq!(manager.overview().slots.registered.slots, present + slots);
    // Arms the delay, as a service does that drives the manager.
    manager.run_until_stalled();
    round
}

/// Returns a manager with free slots of these profiles.
pub(crate) fn with_free_slots<G: TaskExecutorGateway>(
    slots: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
    gateway: impl Fn() -> G,
) -> Manager<G> {
    configured(SlotManagerConfig::default(), slots, profile_of, gateway).0
}

/// Returns a manager with free slots that spreads the load over its task managers.
pub(crate) fn spreading_out(slots: usize) -> Manager<Prompt> {
    let config = SlotManagerConfig::default().with_slot_matching_strategy(SlotMatchingStrategy::LeastUtilization);
    configured(config, slots, |_| usual_profile(), || Prompt).0
}

/// Returns a manager that was started while allocations held these slots.
pub(crate) fn taken_over(slots: usize, is_allocated: impl Fn(usize) -> bool) -> Manager<Prompt> {
    let (mut manager, _) = started();
    register(
        &mut manager,
        slots,
        || Prompt,
        |task_manager| report(task_manager, |_| usual_profile(), &is_allocated),
    );
    manager
}

/// Registers requests that no slot fits.
pub(crate) fn wait<I: Inputs>(
    manager: &mut I,
    requests: &mut Requests,
    waiting: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
) {
    for n in 0..waiting {
        let registered = manager.request(requests.request(profile_of(n)));
        assert_eq!(I::granted_slot(&registered), None);
    }
    assert_eq!(manager.num_waiting(), waiting);
    manager.drive();
}

/// The number of a slot, and the allocation that holds it.
pub(crate) type Grant = (usize, AllocationId);

/// Requests slots that are granted at once. Returns the time it took, and the grants.
pub(crate) fn serve<I: Inputs>(manager: &mut I, requests: &mut Requests, count: usize) -> (Duration, Vec<Grant>) {
    let (batch, allocations) = requests.batch(count, &usual_profile());
    let mut registered = Vec::with_capacity(count);
    let (time, ()) = timed(|| {
        for request in batch {
            registered.push(manager.request(request));
        }
    });
    let slots = registered.iter().map(granted::<I>);
    (time, slots.zip(allocations).collect())
}

/// Requests slots that are granted at once. The operation of the round is one request.
pub(crate) fn serve_all<I: Inputs>(manager: &mut I, requests: &mut Requests, count: usize) -> (Round, Vec<Grant>) {
    let mut round = Round::default();
    let mut grants = Vec::with_capacity(count);
    for batch in batches(count, BATCH) {
        let (time, granted) = serve(manager, requests, batch.len());
        round.add(batch.len(), time);
        grants.extend(granted);
    }
    assert_eq!(manager.num_granted(), count);
    (round, grants)
}

fn granted<I: Inputs>(registered: &I::Registered) -> usize {
    I::granted_slot(registered).expect("a slot is free")
}

/// Frees slots, in this order. The operation of the round is one slot.
pub(crate) fn free_all<I: Inputs>(manager: &mut I, grants: &[Grant]) -> Round {
    let mut round = Round::default();
    for batch in grants.chunks(BATCH) {
        let messages = messages_of(batch);
        let (time, freed) = timed(|| messages.iter().filter(|message| manager.free(message)).count());
        assert_eq!(freed, batch.len());
        round.add(freed, time);
    }
    round
}

/// Returns the messages that the slots of these grants are free, with slot ids that share no text.
pub(crate) fn messages_of(grants: &[Grant]) -> Vec<SlotFreed> {
    grants
        .iter()
        .map(|(slot, allocation_id)| SlotFreed::new(slot_id(*slot), *allocation_id))
        .collect()
}

/// Lets all task managers report. The time is that of taking the reports.
pub(crate) fn report_all(
    manager: &mut impl Inputs,
    task_managers: usize,
    report: impl Fn(usize) -> SlotReport,
) -> Round {
    let mut round = Round::default();
    for batch in batches(task_managers, BATCH_OF_REPORTS) {
        let reports: Vec<_> = batch
            .map(|task_manager| (instance_id(task_manager), report(task_manager)))
            .collect();
        let (time, taken) = timed(|| {
            reports
                .iter()
                .filter(|(instance_id, report)| manager.report(*instance_id, report))
                .count()
        });
        assert_eq!(taken, reports.len());
        round.add(taken, time);
    }
    round
}

/// Returns a manager with free slots of these profiles and a configuration of its own, and its
/// clock.
pub(crate) fn configured<G: TaskExecutorGateway>(
    config: SlotManagerConfig,
    slots: usize,
    profile_of: impl Fn(usize) -> ResourceProfile,
    gateway: impl Fn() -> G,
) -> (Manager<G>, Counter) {
    let counter = Counter::default();
    let mut manager = started_with(config, counter.clone());
    register(&mut manager, slots, gateway, |task_manager| {
        report(task_manager, &profile_of, |_| false)
    });
    assert_eq!(manager.overview().slots.free.slots, slots);
    (manager, counter)
}

/// Returns the profile of a slot, one profile for each task manager; each has more than the usual
/// one.
pub(crate) fn profile_by_task_manager(slot: usize, profiles: usize) -> ResourceProfile {
    growing_profile(slot / SLOTS_PER_TASK_MANAGER % profiles)
}

/// A cluster with nine in ten or half of its slots used.
pub(crate) struct BusyCluster<I> {
    manager: I,
    random: ChaCha8Rng,
    requests: Requests,
    grants: Vec<Grant>,
}

impl<I: Inputs> BusyCluster<I> {
    /// Uses nine of ten free slots, and registers waiting requests that no slot fits.
    pub(crate) fn new(manager: I, waiting: usize) -> Self {
        Self::after(manager, Requests::default(), waiting)
    }

    /// Does the same with a manager that knows the requests made so far.
    pub(crate) fn after(manager: I, requests: Requests, waiting: usize) -> Self {
        let used = manager.num_free() / 10 * 9;
        let mut cluster = Self::using(manager, requests, used);
        if waiting > 0 {
            wait(&mut cluster.manager, &mut cluster.requests, waiting, |_| huge_profile());
        }
        cluster
    }

    /// Uses every second of the free slots.
    pub(crate) fn half_used(manager: I) -> Self {
        let used = manager.num_free() / 2;
        Self::using(manager, Requests::default(), used)
    }

    fn using(mut manager: I, mut requests: Requests, used: usize) -> Self {
        let (_, grants) = serve(&mut manager, &mut requests, used);
        Self {
            manager,
            random: ChaCha8Rng::seed_from_u64(5810),
            requests,
            grants,
        }
    }

    pub(crate) fn manager(&self) -> &I {
        &self.manager
    }

    /// Requests at most half of the free slots, and frees them in the order of their grants. The
    /// operation of the round is one of each.
    pub(crate) fn serve_then_free(&mut self) -> Round {
        let count = BATCH.min(self.manager.num_free() / 2);
        let (time, granted) = serve(&mut self.manager, &mut self.requests, count);
        let mut round = free_all(&mut self.manager, &granted);
        round.add(0, time);
        round
    }

    /// Frees different slots picked at random, and requests a slot after each.
    pub(crate) fn churn(&mut self) -> Round {
        self.churn_and(|_| ())
    }

    /// Does the same, with a poll after each call.
    pub(crate) fn churn_driven(&mut self) -> Round {
        self.churn_and(Inputs::drive)
    }

    fn churn_and(&mut self, after_each: impl Fn(&mut I)) -> Round {
        let (picked, _) = self.grants.partial_shuffle(&mut self.random, BATCH);
        let messages = messages_of(picked);
        let (batch, allocations) = self.requests.batch(messages.len(), &usual_profile());
        let mut outcomes = Vec::with_capacity(messages.len());
        let manager = &mut self.manager;
        let (time, ()) = timed(|| {
            for (message, request) in messages.iter().zip(batch) {
                let freed = manager.free(message);
                after_each(manager);
                outcomes.push((freed, manager.request(request)));
                after_each(manager);
            }
        });
        let mut round = Round::default();
        round.add(outcomes.len(), time);
        for ((grant, allocation_id), (freed, registered)) in picked.iter_mut().zip(allocations).zip(&outcomes) {
            assert!(freed);
            *grant = (granted::<I>(registered), allocation_id);
        }
        round
    }
}
