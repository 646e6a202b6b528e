//! The faults stop, operators unblock all workers, and the cluster settles. What must be true then, in this order:
//!
//! 1. What is under way arrives, what timed out is over, and each task executor that lives reports once more: the
//!    manager's view is the truth, nothing is in flight, nothing pauses, nothing is promised, and a request that waits
//!    fits no free slot.
//! 2. Task executors and jobs compare what they hold, and jobs ask again for what they miss: a slot is held exactly by
//!    an allocation that its job has in use, and a job that has nothing waits in the manager.
//! 3. Waiting requests are withdrawn, or fail at their time: only the deadlines of idle task managers are armed, and of
//!    workers that there are to be and nobody starts.
//! 4. Jobs end: every slot is free. The leadership ends: nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slot_manager::{AllocationId, ResourceProfile, SlotId, SlotState, Timestamp};

use crate::cluster::checks::call_context::SHORTEST_REARM;
use crate::cluster::parties::task_executors::Condition;
use crate::cluster::run::Check;
use crate::cluster::simulation::Simulation;

/// Many more steps than settling takes.
const MOST_STEPS: usize = 100_000;

/// How often task executors report at most before the view is compared.
const MOST_ROUNDS: usize = 5;

/// Whatever was scheduled while there were faults has happened after this time.
const LONGEST_DELAY: Duration = Duration::from_secs(6);

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl Simulation {
    pub(crate) fn settle(&mut self) -> Check {
        self.trace.note(|| "the faults stop".to_owned());
        self.calm = true;
        // With a timeout shorter than the way there and back, attempts succeed only where the answer is there at once.
        self.scenario.near |= self.scenario.config.rpc_timeout < 4 * self.scenario.network.latency;
        for worker in 0..self.workers.len() {
            self.come_to_its_senses(worker);
        }
        self.mind.calm_down();
        self.unblock_all()?;
        self.miss_the_dead()?;
        self.own_up();
        // Connections break at last whose answers would be awaited for ever.
        for reply in std::mem::take(&mut self.network.unanswered) {
            self.connection_breaks(&reply);
        }
        self.let_messages_arrive()?;

        self.trace.note(|| "each task executor reports once more".to_owned());
        self.report_once_more()?;
        self.give_up_promises()?;
        self.check_view_is_the_truth()?;
        self.check_what_waits()?;

        self.trace.note(|| "jobs compare, and ask again".to_owned());
        self.compare_holdings()?;
        for allocation_id in self.all_wanted(false) {
            self.ask_for(allocation_id);
        }
        self.settle_down()?;
        // The manager may have given up what the job had in use by then. What a task executor holds may reach a job after
        // a later offer, which is compared once more.
        for _ in 0..MOST_ROUNDS {
            self.report_once_more()?;
            self.compare_holdings()?;
            if self.check_holders().is_ok() {
                break;
            }
        }
        self.check_view_is_the_truth()?;
        self.check_what_waits()?;
        self.check_holders()?;
        self.check_what_jobs_miss()?;

        if self.chance(0.5) {
            self.trace.note(|| "what waits fails".to_owned());
            self.check_what_waits_fails()?;
        }
        self.trace.note(|| "what waits is withdrawn".to_owned());
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
        self.settle_down()?;
        self.check_view_is_the_truth()?;
        let counts = self.manager.slot_counts();
        ensure!(
            counts.free == counts.registered,
            "slots are used for nobody: {counts:?}"
        );
        self.suspend()
    }

    /// Promises without a timeout that no worker has fulfilled by now: a worker may have come with other slots.
    fn give_up_promises(&mut self) -> Check {
        let open: BTreeSet<_> = self.manager.promised_slots().map(|it| it.worker_request()).collect();
        for worker_request in open {
            self.manager_hears_failed_worker(self.leaderships, worker_request)?;
        }
        let open = self.manager.promised_slot_counts();
        ensure!(open == Default::default(), "promised slots are left: {open:?}");
        Ok(())
    }

    /// The heartbeats of task executors that are dead are missed.
    fn miss_the_dead(&mut self) -> Check {
        let is_dead = |worker: usize| self.workers[worker].condition == Condition::Dead;
        let task_managers = self.manager.task_managers();
        let dead = task_managers.filter(|it| self.worker_of(it.resource_id()).is_some_and(is_dead));
        let dead: Vec<_> = dead.map(|it| it.instance_id()).collect();
        dead.into_iter()
            .try_for_each(|instance_id| self.manager_hears_loss(instance_id))
    }

    /// The heartbeats of all task executors reach the manager. If it gives an attempt up meanwhile, because the time of
    /// a request was over, once more: the job may have taken the slot into use before it could be freed.
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

    /// One that is not known registers.
    fn heartbeats_arrive(&mut self) -> Check {
        self.miss_the_dead()?;
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
        self.settle_down()?;
        // One may have been stopped, and its last registration comes after it.
        self.miss_the_dead()?;
        self.settle_down()
    }

    /// Each task executor tells the jobs what it holds for them.
    fn compare_holdings(&mut self) -> Check {
        for worker in 0..self.workers.len() {
            self.report_to_jobs(worker);
            self.loss_noticed(worker, self.workers[worker].process);
        }
        self.settle_down()
    }

    /// Lets all arrive that was sent while there were faults, and all happen that was to happen.
    fn let_messages_arrive(&mut self) -> Check {
        self.drive()?;
        let until = self.now() + LONGEST_DELAY;
        while self.now() < until && self.queue.next_time().is_some() {
            self.step()?;
        }
        Ok(())
    }

    /// Lets time pass until no message is under way and the manager waits for nobody.
    fn settle_down(&mut self) -> Check {
        self.drive()?;
        for _ in 0..MOST_STEPS {
            if self.queue.next_time().is_none() && self.is_settled() {
                return Ok(());
            }
            ensure!(
                self.step()?,
                "it waits for something that never comes: {}",
                self.what_is_unsettled()
            );
        }
        Err(format!("it does not settle: {}", self.what_is_unsettled()))
    }

    fn is_settled(&self) -> bool {
        self.manager.num_awaited_answers() == 0
            && self
                .manager
                .promised_slots()
                .all(|promised| promised.expires_at() == Timestamp::MAX)
            && self
                .manager
                .pending_slot_requests()
                .all(|request| request.pauses_until().is_none())
            && !self
                .manager
                .slots()
                .any(|slot| matches!(slot.state(), SlotState::Pausing { .. }))
    }

    fn what_is_unsettled(&self) -> String {
        let requests: Vec<_> = self.manager.pending_slot_requests().collect();
        let promises: Vec<_> = self.manager.promised_slots().collect();
        format!(
            "{:?}, {} answers are awaited, {requests:?}, {promises:?}",
            self.manager,
            self.manager.num_awaited_answers()
        )
    }

    /// Registered is who lives, and each slot is held by whom its task executor says.
    fn check_view_is_the_truth(&self) -> Check {
        let mut truth = BTreeMap::new();
        for worker in self
            .workers
            .iter()
            .filter(|worker| worker.condition == Condition::Running)
        {
            let instance_id = worker.executor.instance_id();
            let resource_id = worker.executor.resource_id();
            let instance_id = instance_id.ok_or_else(|| format!("{resource_id} is not registered"))?;
            truth.insert((resource_id, None), format!("{instance_id}"));
            for status in worker.executor.slot_report().statuses() {
                let (slot_id, holder) = (status.slot_id(), status.allocation().map(|(id, _)| id));
                let place = (slot_id.resource_id().clone(), Some(slot_id.slot_number()));
                truth.insert(place, format!("{} {holder:?}", status.resource_profile()));
            }
        }
        let mut view = BTreeMap::new();
        for task_manager in self.manager.task_managers() {
            let resource_id = task_manager.resource_id();
            view.insert((resource_id.clone(), None), format!("{}", task_manager.instance_id()));
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

    fn check_what_waits(&self) -> Check {
        for request in self.manager.pending_slot_requests() {
            ensure!(request.in_flight_to().is_none(), "{request:?} is in flight");
            let fits = |profile: &ResourceProfile| profile.is_matching(request.resource_profile());
            let unused = self
                .manager
                .slots()
                .find(|slot| slot.is_free() && fits(slot.resource_profile()));
            ensure!(unused.is_none(), "{request:?} waits for {unused:?}");
        }
        Ok(())
    }

    /// A slot is held by an allocation that its job has in use there, and the other way round.
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
        ensure!(held == used, "held are {held:?}, used {used:?}");
        let unused = self
            .workers
            .iter()
            .find_map(|worker| worker.executor.next_slot_timeout());
        ensure!(unused.is_none(), "a slot is held and not in use");
        Ok(())
    }

    /// What a job still asks for waits in the manager.
    fn check_what_jobs_miss(&self) -> Check {
        for id in self.all_wanted(false) {
            ensure!(self.ledger.is_pending(id), "{id} is wanted, and nobody knows of it");
        }
        Ok(())
    }

    /// Whatever keeps a request from being served, it fails at its time, and that is said.
    fn check_what_waits_fails(&mut self) -> Check {
        let deadlines = self.manager.pending_slot_requests().map(|it| it.deadline());
        let Some(last) = deadlines.max().filter(|last| *last < Timestamp::MAX) else {
            return Ok(());
        };
        self.clock.advance_to(last);
        self.drive()?;
        let waiting: Vec<_> = self.manager.pending_slot_requests().collect();
        ensure!(waiting.is_empty(), "after their time: {waiting:?}");
        ensure!(self.ledger.num_pending() == 0, "requests ended without a word");
        self.settle_down()
    }

    /// Nothing is armed but the release of task managers that are idle: each since it became so, or since its release
    /// was last asked for; what is left of the times after the start; and pauses between wishes for workers that there
    /// are to be.
    fn check_deadlines(&self) -> Check {
        let config = &self.scenario.config;
        let timeout = config.task_manager_timeout;
        let idle = self.manager.task_managers().filter_map(|it| {
            let began = self.questions.timer_began(it.instance_id(), it.idle_since()?);
            Some(began + timeout)
        });
        let after_start = [config.recovery_timeout, config.unfulfillable_grace_period];
        let after_start = after_start.map(|period| self.began + period);
        let others = after_start.into_iter().chain(self.questions.deadlines());
        let others = others.filter(|at| *at > self.now());
        let expected = idle.chain(others).min().filter(|at| *at != Timestamp::MAX);
        let armed = self.manager.next_deadline();
        // What is armed while time is handled falls due a millisecond later at the earliest.
        let latest = expected.map(|at| at + SHORTEST_REARM);
        let keeps = config.min_slots > 0 || config.redundant_task_managers > 0;
        // The time was over while a question was open, which has been answered since.
        let was_asked = expected.is_some_and(|at| at <= self.now());
        let right = if keeps || was_asked || !self.questions.open().is_empty() {
            // Nothing is said when the time of a task manager is over that is kept, or was asked and thinks about it; nor
            // of workers that nobody can start.
            let latest = latest.map(|at| at.max(self.now() + timeout.max(SHORTEST_REARM)));
            match armed {
                Some(at) => self.capacity.pauses.contains(&at) || latest.is_some_and(|latest| at <= latest),
                None => expected.is_none(),
            }
        } else if timeout < SHORTEST_REARM {
            expected <= armed && armed <= latest
        } else {
            armed == expected
        };
        ensure!(right, "armed for {armed:?}, the first idle period ends at {expected:?}");
        Ok(())
    }
}
