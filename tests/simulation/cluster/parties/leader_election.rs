//! Leader election: leadership moves to a fresh manager, or to the same one after `suspend`.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use slot_manager::outcome::{RecoveryOutcome, RenewalOutcome};
use slot_manager::{ResourceId, SlotManager, Timestamp};

use crate::cluster::checks::counters::CounterChecks;
use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::parties::operators::Operators;
use crate::cluster::parties::task_executors::{Condition, worker_name};
use crate::cluster::run::Check;
use crate::cluster::simulation::{Manager, Simulation};

/// The recovery of the last leadership.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// The start of the leadership.
    pub(crate) began: Timestamp,
    /// Whether the recovery ended because the expected workers came.
    pub(crate) ended_early: bool,
    expected: Option<BTreeSet<ResourceId>>,
    registered: BTreeSet<ResourceId>,
}

impl Recovery {
    pub(crate) fn worker_registered(&mut self, resource_id: ResourceId) {
        self.registered.insert(resource_id);
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        let expected = self.expected.as_ref();
        self.ended_early |= expected.is_some_and(|expected| expected.is_subset(&self.registered));
    }
}

impl Simulation {
    pub(crate) fn move_leadership(&mut self) -> Check {
        if self.manager.leader_id().is_none() {
            return Ok(());
        }
        self.faults.count(Fault::LeadershipMoved);
        if self.chance(0.5) {
            self.suspend()?;
        } else {
            self.manager = self.fresh_manager();
            self.forget_leadership(true);
        }
        let gap = self.up_to(Duration::from_millis(300));
        self.schedule_in(gap, Event::LeaderElected);
        Ok(())
    }

    fn fresh_manager(&self) -> Manager {
        SlotManager::new(self.scenario.config.clone(), self.clock.clone()).expect("a valid configuration")
    }

    /// Resets the checks, for the same manager or for a fresh one, whose counters are zero.
    fn forget_leadership(&mut self, is_fresh: bool) {
        if is_fresh {
            self.counters = CounterChecks::default();
            self.operators = Operators::new(&self.scenario.config);
        } else {
            self.counters.drop_requests(self.ledger.num_pending());
        }
        self.operators.shown = self.operators.blocked.clone();
        self.release_checks.clear(is_fresh);
        self.capacity.clear();
        self.ledger.clear();
        self.requirements.clear();
        self.fencing.clear();
    }

    /// Suspends the manager, and checks that it drops everything without an effect.
    pub(crate) fn suspend(&mut self) -> Check {
        self.manager.suspend();
        self.forget_leadership(false);
        let calls = self.log.take();
        if !calls.is_empty() {
            return Err(format!("suspend made calls: {calls:?}"));
        }
        if self.manager.next_deadline().is_some() || self.manager.overview().slots.in_flight.slots > 0 {
            return Err(format!("suspend left state: {:?}", self.manager));
        }
        if !self.clock.armed().is_empty() {
            return Err(format!("suspend left delays armed for {:?}", self.clock.armed()));
        }
        self.observe(None)
    }

    pub(crate) fn begin_leadership(&mut self) -> Check {
        self.leaderships += 1;
        self.resource_manager.forget_leadership();
        self.recovery = Recovery {
            began: self.now(),
            ..Recovery::default()
        };
        self.leads_until = self.end_of_lease();
        let actions = self.actions.clone();
        self.manager
            .start_until(self.leader_id(), actions, self.leads_until)
            .map_err(|error| error.to_string())?;
        self.observe(None)?;
        self.schedule_renewal();
        if self.chance(self.scenario.expectations) {
            let workers = (0..).zip(&self.workers);
            let running = workers.filter(|(_, worker)| worker.condition == Condition::Running);
            let mut expected: BTreeSet<_> = running.map(|(number, _)| worker_name(number)).collect();
            if self.rng.random_bool(0.5) {
                // One that never comes.
                expected.insert(worker_name(self.workers.len()));
            }
            self.expect_workers(expected)?;
        }
        for worker in 0..self.workers.len() {
            // The others hear of the leader when they report.
            if !self.fails(0.3) {
                let delay = self.up_to(Duration::from_millis(200));
                self.schedule_in(delay, Event::LeaderKnown { worker });
            }
        }
        for allocation_id in self.all_wanted(false) {
            self.ask_for(allocation_id);
        }
        for job in self.scenario.numbers_of_declaring_jobs() {
            self.declare(job);
        }
        Ok(())
    }

    /// Sets the workers that the new leader waits for before it requests others.
    fn expect_workers(&mut self, workers: BTreeSet<ResourceId>) -> Check {
        let timeout = self.scenario.config.recovery_timeout;
        let outcome = self.manager.expect_workers(workers.clone());
        // A recovery of no length, or one whose end was handled, is over.
        let is_recovering = outcome != RecoveryOutcome::NotRecovering;
        if is_recovering == timeout.is_zero() {
            return Err(format!(
                "{workers:?} are expected: {outcome:?} in a recovery of {timeout:?}"
            ));
        }
        if is_recovering {
            self.faults.count(Fault::WorkersExpected);
            self.recovery.expected = Some(workers);
            self.recovery.end_if_complete();
        }
        if self.recovery.ended_early != (outcome == RecoveryOutcome::Ended) {
            return Err(format!("expected workers: {outcome:?}, {:?}", self.recovery));
        }
        self.observe(None)
    }

    /// Returns the end of a lease that begins now.
    fn end_of_lease(&self) -> Timestamp {
        match self.scenario.lease {
            Some(lease) if !self.faults_are_over => self.now() + lease,
            _ => Timestamp::MAX,
        }
    }

    fn schedule_renewal(&mut self) {
        if let Some(lease) = self.scenario.lease {
            let leadership = self.leaderships;
            self.schedule_in(lease / 3, Event::LeaseRenewal { leadership });
        }
    }

    /// Lets the leader renew its lease. If the lease has ended, another may lead.
    pub(crate) fn renew_lease(&mut self, leadership: u128) -> Check {
        if leadership != self.leaderships || self.manager.leader_id().is_none() || self.is_stopped {
            return Ok(());
        }
        if self.fails(self.scenario.missed_renewals) {
            self.faults.count(Fault::LeaseNotRenewed);
        } else if !self.is_leading() && self.fails(0.3) {
            return self.move_leadership();
        } else {
            self.extend_lease()?;
        }
        if !self.faults_are_over {
            self.schedule_renewal();
        }
        Ok(())
    }

    /// Renews the lease. After the faults it has no end.
    pub(crate) fn extend_lease(&mut self) -> Check {
        if self.manager.leader_id().is_none() {
            return Ok(());
        }
        let (was_leading, ended_at) = (self.is_leading(), self.leads_until);
        self.leads_until = self.end_of_lease();
        match self.manager.renew_leadership(self.leads_until) {
            RenewalOutcome::Renewed if was_leading => {}
            RenewalOutcome::Resumed { ended_at: named } if !was_leading && named == ended_at => {
                self.faults.count(Fault::LeadershipResumed);
            }
            other => return Err(format!("renewed until {}: {other:?}", self.leads_until)),
        }
        self.show_blocked();
        self.observe(None)
    }

    /// Stops the process of the leader, mostly for longer than its lease.
    pub(crate) fn leader_stops(&mut self) {
        let Some(lease) = self.scenario.lease else { return };
        if !self.is_stopped && self.manager.leader_id().is_some() && !self.faults_are_over {
            self.faults.count(Fault::LeaderStopped);
            self.is_stopped = true;
            let pause = self.up_to(2 * lease);
            self.schedule_in(pause, Event::LeaderContinues);
        }
    }

    /// Lets a stopped process continue. It first does what it did before: it handles its mailbox
    /// and drives the manager. Then it looks after its lease.
    pub(crate) fn leader_continues(&mut self) -> Check {
        if !std::mem::take(&mut self.is_stopped) {
            return Ok(());
        }
        for message in std::mem::take(&mut self.mailbox) {
            self.deliver_to_manager(message)?;
        }
        self.drive()?;
        self.renew_lease(self.leaderships)
    }
}
