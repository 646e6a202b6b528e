//! The replay itself: a loop over everything that is going to happen, in virtual time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use slot_manager::testing::ManualScheduledExecutor;
use slot_manager::{AllocationId, LeaderId, Overview, ScheduledExecutor, SlotManager, SlotManagerConfig, Timestamp};

use crate::display;
use crate::effects::{Effect, EffectLog, Outbox};
use crate::events::EventQueue;
use crate::jobs::Jobs;
use crate::longest_waits::{End, LongestWaits, Wait};
use crate::machines::Machines;
use crate::metered::{CALLS, MeteredManager, Usage};
use crate::network::Chance;
use crate::options::Options;
use crate::resource_manager::ReplayResourceManager;
use crate::statistics::Statistics;
use crate::time_series::{Sample, TimeSeries};
use crate::workload::{Pod, Workload};

mod event;
mod job_events;
mod message_events;
mod verification;
mod worker_events;

#[cfg(test)]
mod tests;

use self::event::Event;

const LEADER: LeaderId = LeaderId::from_u128(1);

/// Everything that runs, and what is going to happen to it.
pub(crate) struct Simulation {
    clock: ManualScheduledExecutor,
    manager: MeteredManager,
    outbox: Outbox,
    effect_log: EffectLog,
    events: EventQueue<Event>,
    /// Events that change something by themselves; when there are none left, all is quiet.
    consequential_events: u64,
    chance: Chance,
    machines: Machines,
    jobs: Jobs,
    pods: Vec<Pod>,
    /// Whether there is a slot in the cluster that fits the pod's requests.
    fits: Vec<bool>,
    pods_created: usize,
    pods_left: usize,
    settings: Settings,
    statistics: Statistics,
    series: TimeSeries,
    /// `None` if nobody wants to know.
    longest_waits: Option<LongestWaits>,
    /// Of the end of the run.
    unapplied_reports: Vec<String>,
}

/// What the simulation needs of the options.
struct Settings {
    elastic: bool,
    start_delay: Duration,
    heartbeat: Duration,
    check_every: u64,
    releases_end: bool,
}

/// What a run leaves.
pub(crate) struct Outcome {
    pub(crate) statistics: Statistics,
    pub(crate) series: TimeSeries,
    pub(crate) usage: [Usage; CALLS.len()],
    pub(crate) asked: u64,
    pub(crate) effects: u64,
    pub(crate) effect_hash: u128,
    pub(crate) ended_at: Timestamp,
    /// What the manager says of itself in the end.
    pub(crate) overview: Overview,
    /// The longest first. `None` if nobody wants to know.
    pub(crate) longest_waits: Option<Vec<Wait>>,
    /// What is wrong in the end. Empty: no slot leaked.
    pub(crate) violations: Vec<String>,
}

impl Simulation {
    pub(crate) fn new(workload: Workload, options: &Options) -> Result<Self> {
        let clock = ManualScheduledExecutor::new();
        let outbox = Outbox::default();
        let config = SlotManagerConfig::default()
            .with_request_timeout(options.request_timeout)
            .with_rpc_timeout(options.rpc_timeout)
            .with_task_manager_timeout(options.idle_timeout())
            .with_worker_registration_timeout(options.registration_timeout)
            .with_slot_matching_strategy(options.matching.into());
        let mut manager = SlotManager::new(config, clock.clone()).context("the manager refuses its configuration")?;
        let resource_manager = if options.elastic {
            ReplayResourceManager::elastic(outbox.clone(), &workload.nodes)
        } else {
            ReplayResourceManager::standalone(outbox.clone())
        };
        manager
            .start(LEADER, resource_manager)
            .context("the manager does not start")?;
        Ok(Self {
            machines: Machines::new(&workload.nodes, options.elastic, LEADER, clock.clone()),
            clock,
            manager: MeteredManager::new(manager),
            outbox,
            effect_log: EffectLog::new(options.effect_log.as_deref())?,
            events: EventQueue::new(),
            consequential_events: 0,
            chance: Chance::new(options.seed, options.failures, options.rpc_timeout),
            jobs: Jobs::new(&workload.pods),
            fits: workload.fits(),
            pods_created: 0,
            pods_left: workload.pods.len(),
            settings: Settings {
                elastic: options.elastic,
                start_delay: options.start_delay,
                heartbeat: options.heartbeat,
                check_every: options.check_every,
                releases_end: options.idle_timeout() != Duration::MAX,
            },
            statistics: Statistics::new()?,
            series: TimeSeries::new(&workload),
            longest_waits: options.explain.then(LongestWaits::default),
            pods: workload.pods,
            unapplied_reports: Vec::new(),
        })
    }

    /// Replays everything and checks what is left. `progress` counts pods created and pods over.
    pub(crate) fn run(mut self, progress: &ProgressBar) -> Result<Outcome> {
        self.begin()?;
        let result = self.run_to_the_end(progress);
        let violations = result.with_context(|| format!("at virtual time {}", self.clock.now()))?;
        let ended_at = self.clock.now();
        self.series.finish(ended_at);
        self.end_waits();
        let (effects, effect_hash) = self.effect_log.finish()?;
        Ok(Outcome {
            usage: self.manager.usage(),
            asked: self.jobs.asked(),
            statistics: self.statistics,
            series: self.series,
            effects,
            effect_hash,
            ended_at,
            overview: self.manager.get().overview(),
            longest_waits: self.longest_waits.map(LongestWaits::into_longest),
            violations,
        })
    }

    fn begin(&mut self) -> Result<()> {
        if !self.settings.elastic {
            for machine in 0..self.machines.len() {
                let start = self.machines.start(machine);
                // Not all at once.
                let phase = self.settings.heartbeat / self.machines.len() as u32 * (machine + 1) as u32;
                self.push(phase, Event::Heartbeat { start });
                self.register(start, None)?;
                self.settle()?;
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
            self.run_until(|simulation| simulation.manager.get().num_task_managers() == 0, progress)?;
            violations.extend(self.violations_without_nodes());
        }
        Ok(violations)
    }

    /// Lets things happen until `done`, or until nothing is left that could.
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
                    self.settle()?;
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

    /// Whether all pods are over, nothing waits for an answer, and no message is under way.
    fn is_quiet(&self) -> bool {
        self.pods_left == 0 && self.consequential_events == 0 && self.manager.get().num_pending_slot_requests() == 0
    }

    fn handle_next_event(&mut self) -> Result<()> {
        let Some((_, event)) = self.events.pop() else {
            return Ok(());
        };
        if !event.is_background() {
            self.consequential_events -= 1;
        }
        let drive = !event.passes_the_manager_by();
        match event {
            Event::PodCreated { job } => self.pod_created(job)?,
            Event::PodDeleted { job } => self.pod_deleted(job)?,
            Event::PodFails { job } => self.pod_fails(job)?,
            Event::AskAgain { job } => self.ask_again(job)?,
            Event::SlotRequestArrives { start, request, answer } => self.slot_request_arrives(start, &request, answer),
            Event::FreeSlotArrives { start, request } => self.free_slot_arrives(start, &request),
            Event::Activated { slot_id, allocation_id } => self.activated(slot_id, allocation_id),
            Event::GivenBack { slot_id, allocation_id } => self.given_back(&slot_id, allocation_id),
            Event::SlotTimeout { start } => self.slot_timeout(start),
            // Nobody waits any more if the attempt was given up.
            Event::AnswerArrives { answer, result } => drop(answer.send(result)),
            Event::SlotFreedArrives { slot_id, allocation_id } => self.slot_freed_arrives(&slot_id, allocation_id)?,
            Event::ReportArrives { instance_id, report } => self.report_arrives(instance_id, &report)?,
            Event::Heartbeat { start } => self.heartbeat(start),
            Event::WorkerStarts {
                machine,
                worker_request,
            } => self.worker_starts(machine, worker_request)?,
            Event::WorkerFails {
                machine,
                worker_request,
            } => self.worker_fails(machine, worker_request)?,
            Event::MachineStopped { machine } => self.machine_stopped(machine),
            Event::Outage { machine } => self.outage(machine),
            Event::ConnectionLost { instance_id } => self.connection_lost(instance_id)?,
            Event::Returns { start } => self.register(start, None)?,
        }
        if drive {
            self.settle()?;
        }
        Ok(())
    }

    /// Drives the manager, and passes on everything it did.
    fn settle(&mut self) -> Result<()> {
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
            Effect::RequestSlot { request, answer } => self.slot_request_sent(request, answer),
            Effect::FreeSlot(request) => self.free_slot_sent(request),
            Effect::AllocateResource {
                worker_request, reply, ..
            } => self.worker_asked_for(worker_request, reply),
            Effect::ReleaseResource { instance_id, reply, .. } => self.release_asked_for(instance_id, reply)?,
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
        let (slots, promised) = (manager.slot_counts(), manager.promised_slot_counts());
        let sample = Sample {
            used: slots.allocated + slots.in_flight,
            free: slots.free,
            promised: promised.bound + promised.unbound,
            waiting: manager.num_pending_slot_requests() - slots.in_flight,
        };
        self.statistics.peak_waiting.update(sample.waiting, now);
        self.statistics.peak_used.update(sample.used, now);
        self.series.record(now, sample);
        if let Some(longest_waits) = &mut self.longest_waits {
            longest_waits.look(now, manager);
        }
    }

    /// Notes that a request does not wait any more.
    fn wait_ended(&mut self, allocation_id: AllocationId, end: End) {
        let Some(longest_waits) = &mut self.longest_waits else {
            return;
        };
        if let Some(request) = self.jobs.request(allocation_id) {
            let pod = &self.pods[request.job].name;
            longest_waits.ended(allocation_id, pod, request.asked_at, self.clock.now(), end);
        }
    }

    /// Notes that nothing happens any more to the requests that still wait.
    fn end_waits(&mut self) {
        let unended = self.longest_waits.as_ref().map(LongestWaits::unended);
        for allocation_id in unended.unwrap_or_default() {
            self.wait_ended(allocation_id, End::StillWaiting);
        }
    }

    /// Makes something happen after a while.
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
            self.manager.get().num_pending_slot_requests()
        ));
    }
}
