//! Leadership moves: to a fresh manager, or to the same one, which has forgotten everything.

use std::time::Duration;

use slot_manager::SlotManager;

use crate::cluster::checks::counters::CounterWatch;
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

    /// What is watched begins anew, for the same manager or for a fresh one, which has counted nothing.
    fn forget_leadership(&mut self, is_fresh: bool) {
        if is_fresh {
            self.counters = CounterWatch::default();
            self.operators.fails_unfulfillable = self.scenario.config.fail_unfulfillable_requests;
        } else {
            self.counters.drop_requests(self.ledger.num_pending());
        }
        self.operators.blocked.clear();
        self.questions.clear(is_fresh);
        self.capacity.clear();
        self.ledger.clear();
        self.watch.clear();
    }

    /// Everything is dropped, and nothing is said.
    pub(crate) fn suspend(&mut self) -> Check {
        self.manager.suspend();
        self.forget_leadership(false);
        let said = self.log.take();
        if !said.is_empty() {
            return Err(format!("suspend said {said:?}"));
        }
        if self.manager.next_deadline().is_some() || self.manager.num_awaited_answers() > 0 {
            return Err(format!("suspend left something: {:?}", self.manager));
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
            // The others hear of it when they report.
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
