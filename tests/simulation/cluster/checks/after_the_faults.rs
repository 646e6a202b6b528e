//! The checks after the faults have stopped and operators have unblocked all workers, in this
//! order:
//!
//! 1. All messages arrive, all timeouts end, jobs declare once more, and each running task executor
//!    reports once more. Then the view equals the truth, no slot is in flight or promised, no
//!    backoff runs, and no waiting request fits a free slot or what remains of a dynamic worker,
//!    unless that is set aside for an older one.
//! 2. Task executors and jobs compare their slots, and jobs request missing slots again. Then each
//!    allocated slot is in use by its job, and each missing slot is a waiting request.
//! 3. Waiting requests are cancelled or fail at their deadlines, and declarations end. Then only the
//!    deadlines of idle task managers and of backoffs of worker requests are armed.
//! 4. Jobs end, and every slot is free. The leadership ends, and the manager is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slot_manager::view::{PendingSlotRequest, SetAsideWorker, SlotState};
use slot_manager::{AllocationId, ResourceId, ResourceProfile, SlotId, Timestamp};

use crate::cluster::capacity_rules;
use crate::cluster::checks::call_context::SHORTEST_REARM;
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// The most steps until the cluster is quiet, which takes far fewer.
const MOST_STEPS: usize = 100_000;

/// The most rounds of reports before the view is compared.
const MOST_ROUNDS: usize = 5;

/// The time after which every event from the time of faults has happened.
const LONGEST_DELAY: Duration = Duration::from_secs(6);

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl Simulation {
    pub(crate) fn check_after_the_faults(&mut self) -> Check {
        self.trace.note(|| "the faults stop".to_owned());
        self.faults_are_over = true;
        // If the timeout is shorter than two messages, attempts succeed only with immediate
        // answers.
        self.scenario.answers_in_call |= self.scenario.config.rpc_timeout < 4 * self.scenario.network.latency;
        for worker in 0..self.workers.len() {
            self.recover(worker);
        }
        self.answers.stop_faults();
        self.leader_continues()?;
        self.extend_lease()?;
        self.unblock_all()?;
        self.report_dead_workers()?;
        self.report_broken_promises();
        // Break the connections whose answers would never come.
        for reply in std::mem::take(&mut self.network.unanswered) {
            self.connection_breaks(&reply)?;
        }
        self.let_messages_arrive()?;
        // A late declaration of a job that needs nothing any more would be met for ever.
        self.declare_anew();

        self.trace.note(|| "each task executor reports once more".to_owned());
        self.report_once_more()?;
        self.give_up_promises()?;
        self.check_view_equals_truth()?;
        self.check_waiting_requests()?;

        self.trace
            .note(|| "jobs compare their slots and request missing ones again".to_owned());
        self.compare_held_slots()?;
        for allocation_id in self.all_wanted(false) {
            self.ask_for(allocation_id);
        }
        self.run_until_quiet()?;
        // The manager may have given up an allocation that the job uses. A list of held slots may
        // reach a job after a later offer. Another round corrects both.
        for _ in 0..MOST_ROUNDS {
            self.report_once_more()?;
            self.compare_held_slots()?;
            if self.check_holders().is_ok() {
                break;
            }
        }
        self.check_view_equals_truth()?;
        self.check_waiting_requests()?;
        self.check_holders()?;
        self.check_missing_slots()?;

        if self.chance(0.5) {
            self.trace.note(|| "waiting requests fail".to_owned());
            self.check_waiting_requests_fail()?;
        }
        self.trace.note(|| "waiting requests are cancelled".to_owned());
        for job in self.scenario.numbers_of_declaring_jobs() {
            let nothing = self.needs_end(job);
            self.manager_hears_declaration(&nothing)?;
        }
        let waiting: Vec<_> = self
            .manager
            .pending_slot_requests()
            .map(|it| it.allocation_id())
            .collect();
        for allocation_id in waiting {
            self.manager_hears_cancellation(allocation_id)?;
        }
        self.check_deadlines()?;

        self.trace.note(|| "jobs end".to_owned());
        self.end_all_jobs();
        self.run_until_quiet()?;
        self.check_view_equals_truth()?;
        let counts = self.manager.overview().slots.counts();
        ensure!(
            counts.free == counts.registered,
            "slots are used after all jobs have ended: {counts:?}"
        );
        self.suspend()
    }

    /// Ends promises without a timeout. A worker may have come with other slots than promised.
    fn give_up_promises(&mut self) -> Check {
        let open: BTreeSet<_> = self.manager.promised_slots().map(|it| it.worker_request()).collect();
        for worker_request in open {
            self.manager_hears_failed_worker(worker_request)?;
        }
        let open = self.manager.overview().promised;
        ensure!(open.slots == 0, "promised slots are left: {open:?}");
        Ok(())
    }

    /// Unregisters the task managers of dead workers.
    fn report_dead_workers(&mut self) -> Check {
        let is_dead = |worker: usize| self.workers[worker].condition == Condition::Dead;
        let task_managers = self.manager.task_managers();
        let dead = task_managers.filter(|it| self.worker_of(it.resource_id()).is_some_and(is_dead));
        let dead: Vec<_> = dead.map(|it| it.instance_id()).collect();
        dead.into_iter()
            .try_for_each(|instance_id| self.manager_hears_lost_worker(instance_id))
    }

    /// Delivers a report of each task executor, again if the manager has given up an attempt in the
    /// meantime: the job may have used the slot before it could be freed.
    fn report_once_more(&mut self) -> Check {
        for _ in 0..MOST_ROUNDS {
            let given_up = self.frees;
            self.heartbeats_arrive()?;
            if self.frees == given_up {
                break;
            }
        }
        Ok(())
    }

    /// Delivers one report of each task executor. An unknown task executor registers.
    fn heartbeats_arrive(&mut self) -> Check {
        self.report_dead_workers()?;
        for worker in 0..self.workers.len() {
            if self.workers[worker].condition != Condition::Running {
                continue;
            }
            match self.workers[worker].executor.instance_id() {
                Some(instance_id) if self.manager.task_manager(instance_id).is_some() => {
                    let report = self.report_of(worker);
                    self.manager_hears_report(worker, instance_id, &report)?;
                }
                _ => self.register(worker),
            }
        }
        self.run_until_quiet()?;
        // The last registration of a stopped worker may arrive after its end.
        self.report_dead_workers()?;
        self.run_until_quiet()
    }

    /// Lets each task executor send the jobs their slots.
    fn compare_held_slots(&mut self) -> Check {
        for worker in 0..self.workers.len() {
            self.report_to_jobs(worker);
            self.loss_noticed(worker, self.workers[worker].process);
        }
        self.run_until_quiet()
    }

    /// Delivers all messages and handles all events from the time of faults.
    fn let_messages_arrive(&mut self) -> Check {
        self.drive()?;
        let until = self.now() + LONGEST_DELAY;
        while self.now() < until && self.queue.next_time().is_some() {
            self.step()?;
        }
        Ok(())
    }

    /// Lets time pass until no message is on its way and the manager awaits nothing.
    fn run_until_quiet(&mut self) -> Check {
        self.drive()?;
        for _ in 0..MOST_STEPS {
            if self.queue.next_time().is_none() && self.is_quiet() {
                return Ok(());
            }
            ensure!(
                self.step()?,
                "the cluster waits for an event that never comes: {}",
                self.unfinished_work()
            );
        }
        Err(format!("the cluster does not become quiet: {}", self.unfinished_work()))
    }

    fn is_quiet(&self) -> bool {
        self.manager.overview().slots.in_flight.slots == 0
            && self.manager.declared_requirements().all(|it| it.in_all.delayed == 0)
            && self
                .manager
                .promised_slots()
                .all(|promised| promised.expires_at() == Timestamp::MAX)
            && self
                .manager
                .pending_slot_requests()
                .all(|request| request.backs_off_until().is_none())
            && !self
                .manager
                .slots()
                .any(|slot| matches!(slot.state(), SlotState::BackingOff { until } if until > self.now()))
            && !self.manager.task_managers().any(|it| {
                let backoff = it.backoff().filter(|_| it.total_resources().is_some());
                backoff.is_some_and(|backoff| backoff.until > self.now())
            })
    }

    fn unfinished_work(&self) -> String {
        let requests: Vec<_> = self.manager.pending_slot_requests().collect();
        let promises: Vec<_> = self.manager.promised_slots().collect();
        format!(
            "{:?}, {} answers are awaited, {requests:?}, {promises:?}",
            self.manager,
            self.manager.overview().slots.in_flight.slots
        )
    }

    /// Checks that the running task executors are registered, that each slot has the holder its task
    /// executor names, and that as much remains of a dynamic worker as it has left.
    fn check_view_equals_truth(&self) -> Check {
        let mut truth = BTreeMap::new();
        for worker in self
            .workers
            .iter()
            .filter(|worker| worker.condition == Condition::Running)
        {
            let instance_id = worker.executor.instance_id();
            let resource_id = worker.executor.resource_id();
            let instance_id = instance_id.ok_or_else(|| format!("{resource_id} is not registered"))?;
            let report = worker.executor.slot_report();
            let resources = report.dynamic().map(|it| (it.total().clone(), it.free().cloned()));
            truth.insert((resource_id, None), format!("{instance_id} {resources:?}"));
            for status in report.statuses() {
                let (slot_id, holder) = (status.slot_id(), status.allocation().map(|allocation| allocation.id));
                let place = (slot_id.resource_id().clone(), Some(slot_id.slot_number()));
                truth.insert(place, format!("{} {holder:?}", status.resource_profile()));
            }
        }
        let mut view = BTreeMap::new();
        for task_manager in self.manager.task_managers() {
            let resource_id = task_manager.resource_id();
            let total = task_manager.total_resources().cloned();
            let resources = total.map(|total| (total, task_manager.remaining_resources()));
            let registered = format!("{} {resources:?}", task_manager.instance_id());
            view.insert((resource_id.clone(), None), registered);
            for slot in task_manager.slots() {
                let place = (resource_id.clone(), Some(slot.slot_id().slot_number()));
                view.insert(place, format!("{} {:?}", slot.resource_profile(), slot.allocation_id()));
            }
        }
        for place in truth.keys().chain(view.keys()) {
            let (view, truth) = (view.get(place), truth.get(place));
            ensure!(view == truth, "the view of {place:?} is {view:?}, the truth {truth:?}");
        }
        Ok(())
    }

    /// Returns the worker that passes over a request, because it is set aside for an older one.
    fn worker_set_aside_from(&self, allocation_id: AllocationId) -> Option<ResourceId> {
        match self.manager.explain(allocation_id)?.request?.set_aside? {
            SetAsideWorker::ForAnother { resource_id, .. } => Some(resource_id),
            _ => None,
        }
    }

    fn check_waiting_requests(&self) -> Check {
        for request in self.manager.pending_slot_requests() {
            ensure!(request.in_flight_to().is_none(), "{request:?} is in flight");
            let fits = |profile: &ResourceProfile| profile.is_matching(request.resource_profile());
            let unused = self
                .manager
                .slots()
                .find(|slot| slot.is_free() && fits(slot.resource_profile()));
            ensure!(unused.is_none(), "{request:?} waits for {unused:?}");
            let passes_over = self.worker_set_aside_from(request.allocation_id());
            let mut workers = self
                .manager
                .task_managers()
                .filter(|it| Some(it.resource_id()) != passes_over.as_ref());
            let unused = workers.find(|it| it.remaining_resources().as_ref().is_some_and(fits));
            ensure!(unused.is_none(), "{request:?} waits, and could be cut from {unused:?}");
        }
        Ok(())
    }

    /// Checks that the allocated slots are the slots that jobs use.
    fn check_holders(&self) -> Check {
        let held: BTreeMap<SlotId, AllocationId> = self
            .manager
            .slots()
            .filter_map(|slot| Some((slot.slot_id(), slot.allocation_id()?)))
            .collect();
        let used: BTreeMap<_, _> = self
            .jobs
            .wanted
            .iter()
            .filter_map(|(id, wanted)| Some((wanted.slot.clone()?, *id)))
            .collect();
        ensure!(held == used, "allocated are {held:?}, used {used:?}");
        let unused = self
            .workers
            .iter()
            .find_map(|worker| worker.executor.next_slot_timeout());
        ensure!(unused.is_none(), "a slot is allocated and not in use");
        Ok(())
    }

    /// Checks that each slot that a job misses is a waiting request.
    fn check_missing_slots(&self) -> Check {
        for id in self.all_wanted(false) {
            ensure!(
                self.ledger.is_pending(id),
                "{id} is wanted, and the manager does not know it"
            );
        }
        Ok(())
    }

    /// Checks that each waiting request fails at its deadline and is notified.
    fn check_waiting_requests_fail(&mut self) -> Check {
        let requested = |it: &PendingSlotRequest<'_>| !it.is_declared();
        let deadlines = self.manager.pending_slot_requests().filter(requested);
        let deadlines = deadlines.map(|it| it.deadline());
        let Some(last) = deadlines.max().filter(|last| *last < Timestamp::MAX) else {
            return Ok(());
        };
        self.clock.advance_to(last);
        self.drive()?;
        let waiting: Vec<_> = self.manager.pending_slot_requests().filter(requested).collect();
        ensure!(waiting.is_empty(), "requests wait after their deadlines: {waiting:?}");
        ensure!(
            self.ledger.num_requested() == 0,
            "requests ended without a notification"
        );
        self.run_until_quiet()
    }

    /// Checks the armed deadline. It can be an idle timeout, counted from the start of the idle
    /// period or the last release check. It can also be the end of a time after the start, or of a
    /// backoff of a worker or of worker requests.
    fn check_deadlines(&self) -> Check {
        let config = &self.scenario.config;
        let timeout = config.task_manager_timeout;
        let idle = self.manager.task_managers().filter_map(|it| {
            let began = self.release_checks.timer_began(it.instance_id(), it.idle_since()?);
            Some(began + timeout)
        });
        let recovery = (!self.recovery.ended_early).then_some(config.recovery_timeout);
        let after_start = recovery.into_iter().chain([config.unfulfillable_grace_period]);
        let after_start = after_start.map(|period| self.recovery.began + period);
        let others = after_start.chain(self.release_checks.deadlines());
        let others = others.filter(|at| *at > self.now());
        let expected = idle.chain(others).min().filter(|at| *at != Timestamp::MAX);
        let armed = self.manager.next_deadline();
        // No view shows the start backoff.
        let longest = config
            .start_retry_interval
            .max(config.max_retry_backoff)
            .max(SHORTEST_REARM);
        let may_be_start_backoff =
            config.max_start_failure_rate > 0 && armed.is_some_and(|at| at <= self.now() + longest);
        // A deadline that is armed while time is handled is at least a millisecond away.
        let latest = expected.map(|at| at + SHORTEST_REARM);
        let keeps = capacity_rules::keeps_reserves(config);
        // The timeout ended while a release check was open, which has been answered since.
        let was_asked = expected.is_some_and(|at| at <= self.now());
        let right = if keeps || was_asked || !self.release_checks.open().is_empty() {
            // The end of a timeout has no effect for a task manager that is kept or considers a
            // release check, and for workers that cannot be started.
            let latest = latest.map(|at| at.max(self.now() + timeout.max(SHORTEST_REARM)));
            match armed {
                Some(at) => self.capacity.backoffs.contains(&at) || latest.is_some_and(|latest| at <= latest),
                None => expected.is_none(),
            }
        } else if timeout < SHORTEST_REARM {
            expected <= armed && armed <= latest
        } else {
            armed == expected
        };
        // All slots of a worker that backs off may be allocated meanwhile.
        let backoffs = self.manager.task_managers().filter_map(|it| it.backoff());
        let is_backoff = backoffs.map(|it| it.until).any(|until| armed == Some(until));
        let right = right || may_be_start_backoff || is_backoff;
        ensure!(right, "armed for {armed:?}, the first idle period ends at {expected:?}");
        Ok(())
    }
}
