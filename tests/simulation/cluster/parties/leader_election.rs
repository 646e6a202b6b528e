//! Leader election: leadership moves to a fresh manager, or to the same one after `suspend`.

use std::time::Duration;

use slot_manager::SlotManager;

use crate::cluster::checks::counters::CounterChecks;
use crate::cluster::event_queue::Event;
use crate::cluster::faults::Fault;
use crate::cluster::run::Check;
use crate::cluster::simulation::{Manager, Simulation};

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
            self.operators.fails_unfulfillable = self.scenario.config.fail_unfulfillable_requests;
        } else {
            self.counters.drop_requests(self.ledger.num_pending());
        }
        self.operators.blocked.clear();
        self.release_checks.clear(is_fresh);
        self.capacity.clear();
        self.ledger.clear();
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
        if self.manager.next_deadline().is_some() || self.manager.overview().awaited_answers > 0 {
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
        self.began = self.now();
        let actions = self.actions.clone();
        self.manager
            .start(self.leader_id(), actions)
            .map_err(|error| error.to_string())?;
        self.observe(None)?;
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
        Ok(())
    }
}
