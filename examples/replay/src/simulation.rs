//! The replay itself: a loop over all events in virtual time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use slot_manager::overview::Overview;
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{AllocationId, LeaderId, ScheduledExecutor, SlotManager, SlotManagerConfig, Timestamp};

use crate::display;
use crate::effects::{Effect, EffectLog, Outbox};
use crate::events::EventQueue;
use crate::jobs::Jobs;
use crate::longest_waits::{End, LongestWaits, Wait};
use crate::machines::Machines;
use crate::metered::{CALLS, MeteredManager, Usage};
use crate::needless_waits::NeedlessWaits;
use crate::network::Chance;
use crate::options::Options;
use crate::resource_manager::ReplayResourceManager;
use crate::resources::Amounts;
use crate::statistics::Statistics;
use crate::time_series::{Sample, TimeSeries};
use crate::workload::{Pod, Slicing, Workload};

mod event;
mod job_events;
mod message_events;
mod verification;
mod worker_events;

#[cfg(test)]
mod tests;

use self::event::Event;

const LEADER: LeaderId = LeaderId::from_u128(1);

/// The cluster, its jobs, and the queue of future events.
pub(crate) struct Simulation {
    clock: ManualScheduledExecutor,
    manager: MeteredManager,
    outbox: Outbox,
    effect_log: EffectLog,
    events: EventQueue<Event>,
    /// The number of queued events that are not background. Without any, the cluster is quiet.
    consequential_events: u64,
    chance: Chance,
    machines: Machines,
    jobs: Jobs,
    pods: Vec<Pod>,
    /// For each pod, whether the cluster has a slot, or a whole node, that fits its requests.
    fits: Vec<bool>,
    /// The resources that granted requests asked for.
    granted: Amounts,
    pods_created: usize,
    pods_left: usize,
    settings: Settings,
    statistics: Statistics,
    series: TimeSeries,
    arrivals: TimeSeries,
    needless_waits: NeedlessWaits,
    /// `None` without `--explain`.
    longest_waits: Option<LongestWaits>,
    /// Violations that were seen before the end: last reports that the manager did not apply, and cuts
    /// from more than a worker has.
    unexpected: Vec<String>,
}

/// The options that the simulation needs.
struct Settings {
    slicing: Slicing,
    /// The resources of all nodes.
    cluster: Amounts,
    /// Whether messages can be lost and nodes can fail.
    failures: bool,
    elastic: bool,
    start_delay: Duration,
    heartbeat: Duration,
    rpc_timeout: Duration,
    check_every: u64,
    releases_end: bool,
}

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) slicing: Slicing,
    /// The resources of all nodes.
    pub(crate) cluster: Amounts,
    pub(crate) statistics: Statistics,
    pub(crate) series: TimeSeries,
    pub(crate) arrivals: TimeSeries,
    pub(crate) usage: [Usage; CALLS.len()],
    pub(crate) asked: u64,
    pub(crate) effects: u64,
    pub(crate) effect_hash: u128,
    pub(crate) ended_at: Timestamp,
    /// The longest time that a request waited although a healthy worker had a free slot that fits.
    pub(crate) longest_needless_wait: Duration,
    /// The manager's overview at the end.
    pub(crate) overview: Overview,
    /// The longest first. `None` without `--explain`.
    pub(crate) longest_waits: Option<Vec<Wait>>,
    /// The violations at the end. Without any, the replay has passed.
    pub(crate) violations: Vec<String>,
}

impl Simulation {
    pub(crate) fn new(workload: Workload, slicing: Slicing, options: &Options) -> Result<Self> {
        let clock = ManualScheduledExecutor::new();
        let outbox = Outbox::default();
        let config = SlotManagerConfig::default()
            .with_request_timeout(options.request_timeout)
            .with_rpc_timeout(options.rpc_timeout)
            .with_task_manager_timeout(options.idle_timeout())
            .with_worker_registration_timeout(options.registration_timeout)
            .with_reservation_delay(options.reservation_delay)
            .with_slot_matching_strategy(options.matching.into());
        let mut manager = SlotManager::new(config, clock.clone()).context("the manager rejects its configuration")?;
        let resource_manager = if options.elastic {
            ReplayResourceManager::elastic(outbox.clone(), &workload.nodes, slicing)
        } else {
            ReplayResourceManager::fixed(outbox.clone())
        };
        manager
            .start(LEADER, resource_manager)
            .context("the manager does not start")?;
        Ok(Self {
            machines: Machines::new(&workload.nodes, slicing, options.elastic, LEADER, clock.clone()),
            clock,
            manager: MeteredManager::new(manager),
            outbox,
            effect_log: EffectLog::new(options.effect_log_of(slicing))?,
            events: EventQueue::new(),
            consequential_events: 0,
            chance: Chance::new(options.seed, options.failures, options.rpc_timeout),
            jobs: Jobs::new(&workload.pods, slicing),
            fits: workload.fits(slicing),
            granted: Amounts::default(),
            pods_created: 0,
            pods_left: workload.pods.len(),
            settings: Settings {
                slicing,
                cluster: workload.amounts(),
                failures: options.failures > 0.0,
                elastic: options.elastic,
                start_delay: options.start_delay,
                heartbeat: options.heartbeat,
                rpc_timeout: options.rpc_timeout,
                check_every: options.check_every,
                releases_end: options.idle_timeout() != Duration::MAX,
            },
            statistics: Statistics::new()?,
            series: TimeSeries::of_run(),
            arrivals: TimeSeries::of_arrivals(&workload.pods),
            needless_waits: NeedlessWaits::new(&workload.pods, slicing),
            longest_waits: options.explain.then(LongestWaits::default),
            pods: workload.pods,
            unexpected: Vec::new(),
        })
    }

    /// Replays everything and checks the end. `progress` counts created and ended pods.
    pub(crate) fn run(mut self, progress: &ProgressBar) -> Result<Outcome> {
        self.begin()?;
        let result = self.run_to_the_end(progress);
        let violations = result.with_context(|| format!("at virtual time {}", self.clock.now()))?;
        let ended_at = self.clock.now();
        self.series.finish(ended_at);
        self.arrivals.finish(ended_at);
        self.end_waits();
        let (effects, effect_hash) = self.effect_log.finish()?;
        Ok(Outcome {
            slicing: self.settings.slicing,
            cluster: self.settings.cluster,
            usage: self.manager.usage(),
            asked: self.jobs.asked(),
            statistics: self.statistics,
            series: self.series,
            arrivals: self.arrivals,
            effects,
            effect_hash,
            ended_at,
            longest_needless_wait: self.needless_waits.longest(),
            overview: self.manager.get().overview(),
            longest_waits: self.longest_waits.map(LongestWaits::into_longest),
            violations,
        })
    }

    fn begin(&mut self) -> Result<()> {
        if !self.settings.elastic {
            for machine in 0..self.machines.len() {
                let start = self.machines.start(machine);
                // Spreads the heartbeats of all nodes.
                let phase = self.settings.heartbeat / self.machines.len() as u32 * (machine + 1) as u32;
                self.push(phase, Event::Heartbeat { start });
                self.register(start, None)?;
                self.drive()?;
            }
        }
        for job in 0..self.pods.len() {
            self.push_at(self.pods[job].created, Event::PodCreated { job });
        }
        self.expect_outage();
        Ok(())
    }

    fn run_to_the_end(&mut self, progress: &ProgressBar) -> Result<Vec<String>> {
        self.run_until(Self::is_quiet, progress)?;
        self.report_once_more()?;
        self.run_until(Self::is_quiet, progress)?;
        let mut violations = self.violations();
        if self.settings.elastic && self.settings.releases_end {
            self.run_until(
                |simulation| simulation.manager.get().overview().task_managers == 0,
                progress,
            )?;
            violations.extend(self.violations_without_nodes());
        }
        Ok(violations)
    }

    /// Handles events and deadlines until `done`, or until there are no more.
    fn run_until(&mut self, done: fn(&Self) -> bool, progress: &ProgressBar) -> Result<()> {
        while !done(self) {
            let event_at = self.events.next_time();
            let deadline = self.manager.get().next_deadline();
            match (event_at, deadline) {
                (None, None) => break,
                (Some(at), deadline) if deadline.is_none_or(|deadline| at < deadline) => {
                    self.clock.advance_to(at);
                    self.handle_next_event()?;
                }
                (_, deadline) => {
                    self.clock.advance_to(deadline.unwrap_or_default());
                    self.drive()?;
                }
            }
            self.statistics.events += 1;
            if self.statistics.events % self.settings.check_every == 0 {
                self.manager
                    .get()
                    .check_invariants()
                    .context("an invariant is violated")?;
            }
            if self.statistics.events % 4096 == 0 {
                self.show(progress);
            }
        }
        self.show(progress);
        Ok(())
    }

    /// Returns whether all pods are over, no request waits, and no message is on its way.
    fn is_quiet(&self) -> bool {
        self.pods_left == 0 && self.consequential_events == 0 && self.manager.get().overview().pending_requests == 0
    }

    fn handle_next_event(&mut self) -> Result<()> {
        let Some((_, event)) = self.events.pop() else {
            return Ok(());
        };
        if !event.is_background() {
            self.consequential_events -= 1;
        }
        let reaches_manager = event.reaches_manager();
        match event {
            Event::PodCreated { job } => self.pod_created(job)?,
            Event::PodDeleted { job } => self.pod_deleted(job)?,
            Event::PodFails { job } => self.pod_fails(job)?,
            Event::AskAgain { job } => self.ask_again(job)?,
            Event::SlotRequestArrives { start, request } => self.slot_request_arrives(start, &request),
            Event::FreeSlotArrives { start, request } => self.free_slot_arrives(start, &request),
            Event::Activated { slot_id, allocation_id } => self.activated(slot_id, allocation_id),
            Event::GivenBack { slot_id, allocation_id } => self.given_back(&slot_id, allocation_id),
            Event::SlotTimeout { start } => self.slot_timeout(start),
            Event::AnswerArrives { attempt_id, result } => self.answer_arrives(attempt_id, result),
            Event::SlotFreedArrives { freed } => self.slot_freed_arrives(&freed)?,
            Event::ReportArrives { instance_id, report } => self.report_arrives(instance_id, &report)?,
            Event::Heartbeat { start } => self.heartbeat(start),
            Event::WorkerStarts {
                machine,
                worker_request,
            } => self.worker_starts(machine, worker_request)?,
            Event::WorkerFails {
                machine,
                worker_request,
            } => self.worker_fails(machine, worker_request),
            Event::MachineStopped { machine } => self.machine_stopped(machine),
            Event::Outage { machine } => self.outage(machine),
            Event::ConnectionLost { instance_id } => self.connection_lost(instance_id),
            Event::Returns { start } => self.register(start, None)?,
        }
        if reaches_manager {
            self.drive()?;
        }
        Ok(())
    }

    /// Drives the manager and passes all its effects on.
    fn drive(&mut self) -> Result<()> {
        self.manager.run_until_stalled();
        let now = self.clock.now();
        let deadline = self.manager.get().next_deadline();
        ensure!(
            deadline.is_none_or(|deadline| deadline > now),
            "the manager stalls although a deadline is due: {deadline:?}"
        );
        for effect in self.outbox.take() {
            self.effect_log.record(now, &effect)?;
            self.pass_on(effect)?;
        }
        self.sample(now);
        Ok(())
    }

    fn pass_on(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::AllocateSlot(request) => self.slot_request_sent(request),
            Effect::FreeSlot(request) => self.free_slot_sent(request),
            Effect::AllocateResource {
                worker_request, reply, ..
            } => self.worker_asked_for(worker_request, reply),
            Effect::ReleaseResource { release, reply } => self.release_asked_for(release.instance_id, reply)?,
            Effect::SlotAllocated {
                allocation_id, slot_id, ..
            } => self.granted(allocation_id, slot_id)?,
            Effect::AllocationFailed {
                allocation_id, cause, ..
            } => self.failed(allocation_id, &cause)?,
        }
        Ok(())
    }

    fn sample(&mut self, now: Timestamp) {
        let manager = self.manager.get();
        let overview = manager.overview();
        let slots = overview.slots.counts();
        let machines = &self.machines;
        let not_granted = self.settings.cluster.without(self.granted);
        let lacking = self
            .needless_waits
            .look(now, manager, &self.jobs, not_granted, |worker| {
                machines.is_healthy(worker.resource_id(), worker.instance_id(), now)
            });
        let sample = Sample {
            used: slots.allocated + slots.in_flight,
            all: slots.registered,
            promised: overview.promised.slots,
            waiting: overview.pending_requests - slots.in_flight,
            granted: self.granted,
            stranded: not_granted.where_some(lacking),
            wanted: not_granted.at_most(lacking),
        };
        self.statistics.peak_waiting.update(sample.waiting, now);
        self.statistics.peak_used.update(sample.used, now);
        self.series.record(now, sample);
        self.arrivals.record(now, sample);
        if let Some(longest_waits) = &mut self.longest_waits {
            longest_waits.look(now, manager);
        }
    }

    /// Notes that a request has ended.
    fn wait_ended(&mut self, allocation_id: AllocationId, end: End) {
        let Some(longest_waits) = &mut self.longest_waits else {
            return;
        };
        if let Some(request) = self.jobs.request(allocation_id) {
            let pod = &self.pods[request.job].name;
            longest_waits.ended(allocation_id, pod, request.asked_at, self.clock.now(), end);
        }
    }

    /// Notes the requests that still wait at the end of the run.
    fn end_waits(&mut self) {
        let unended = self.longest_waits.as_ref().map(LongestWaits::unended);
        for allocation_id in unended.unwrap_or_default() {
            self.wait_ended(allocation_id, End::StillWaiting);
        }
    }

    /// Adds an event that happens after some time.
    fn push(&mut self, after: Duration, event: Event) {
        self.push_at(self.clock.now() + after, event);
    }

    fn push_at(&mut self, at: Timestamp, event: Event) {
        // The end of time never comes.
        if at < Timestamp::MAX {
            self.consequential_events += u64::from(!event.is_background());
            self.events.push(at, event);
        }
    }

    fn show(&self, progress: &ProgressBar) {
        let over = self.pods.len() - self.pods_left;
        progress.set_position((self.pods_created + over) as u64);
        progress.set_message(format!(
            "{} · {} waiting",
            display::time(self.clock.now()),
            self.manager.get().overview().pending_requests
        ));
    }
}
