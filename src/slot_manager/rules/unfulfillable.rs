//! Requests that no slot, promised slot or possible worker could ever serve.

use std::collections::BTreeSet;

use crate::message::RequestFailure;

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};

impl Core {
    /// Returns `true` if no registered or promised slot fits, used or not, and no registered or
    /// promised dynamic worker in total.
    fn has_no_slot_for(&self, profile: ProfileKey) -> bool {
        let required = &self.profiles[profile];
        !self.slot_totals.has_fitting(&self.profiles, required)
            && !self.dynamic_workers.has_fitting_total(&self.profiles, required)
            && !self.promises.has_fitting_total(&self.profiles, profile)
    }

    /// Returns `true` if no worker could be started for a waiting request, as far as is known.
    fn has_no_possible_worker(&self, request: RequestKey) -> bool {
        match self.requests.records[request].phase {
            RequestPhase::Unbound(WorkerAsk::Useless) => true,
            RequestPhase::Unbound(WorkerAsk::Declined) => !self.worker_policy.is_described(),
            _ => false,
        }
    }

    /// Fails a waiting request if it is unfulfillable and such requests fail. A unit of declared
    /// requirements waits on, and its job is told.
    pub(crate) fn fail_if_unfulfillable(&mut self, request: RequestKey) {
        let profile = self.requests.records[request].profile;
        if self.worker_policy.fails_unfulfillable_now()
            && self.has_no_possible_worker(request)
            && self.has_no_slot_for(profile)
        {
            self.fail_unfulfillable(request);
        }
    }

    /// Fails all unfulfillable requests, oldest first, if the last slot of a profile is gone or all
    /// must be checked.
    ///
    /// Cost: O(1) if neither happened, else O(distinct profiles of waiting requests x (distinct
    /// profiles of slots and totals of dynamic workers + promised dynamic workers)).
    pub(crate) fn fail_all_unfulfillable(&mut self) {
        let is_due = self.slot_totals.take_lost_profile()
            | self.dynamic_workers.take_lost_shape()
            | self.promises.workers.take_lost_worker()
            | self.worker_policy.take_must_check_all();
        if !is_due || !self.worker_policy.fails_unfulfillable_now() {
            return;
        }
        let waiting = &self.requests.waiting;
        let profiles: BTreeSet<_> = waiting.unbound_profiles().collect();
        let hopeless = profiles.into_iter().filter(|profile| self.has_no_slot_for(*profile));
        let mut requests: Vec<_> = hopeless
            .flat_map(|profile| waiting.unbound_of(&self.requests.records, profile))
            .filter(|request| self.has_no_possible_worker(*request))
            .collect();
        requests.sort_unstable_by_key(|request| self.requests.records[*request].sequence);
        for request in requests {
            self.fail_unfulfillable(request);
        }
    }

    fn fail_unfulfillable(&mut self, request: RequestKey) {
        if self.requests.records[request].is_declared {
            return self.note_unfulfillable_unit(request);
        }
        let resource_profile = self.profiles[self.requests.records[request].profile].clone();
        self.fail(request, RequestFailure::Unfulfillable { resource_profile });
    }
}
