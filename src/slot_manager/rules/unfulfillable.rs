//! Requests that nothing could ever serve.

use crate::RequestFailure;

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::{RequestKey, RequestPhase, WorkerAsk};

impl Core {
    /// Returns whether that changes something.
    pub(crate) fn set_fail_unfulfillable(&mut self, fail: bool) -> bool {
        self.worker_policy.set_fails_unfulfillable(fail)
    }

    /// Whether no slot that is registered or promised fits.
    fn has_no_slot_for(&self, profile: ProfileKey) -> bool {
        !self.slot_totals.has_fitting(&self.profiles, &self.profiles[profile])
    }

    /// Whether no worker could be started for a request, as far as is known.
    fn is_no_worker_possible(&self, request: RequestKey) -> bool {
        match self.requests.records[request].phase {
            RequestPhase::Unbound(WorkerAsk::Useless) => true,
            RequestPhase::Unbound(WorkerAsk::Declined) => !self.worker_policy.is_described(),
            _ => false,
        }
    }

    /// Ends a waiting request that nothing could serve, if such requests are to fail.
    pub(crate) fn fail_if_unfulfillable(&mut self, request: RequestKey) {
        let profile = self.requests.records[request].profile;
        if self.worker_policy.fails_unfulfillable_now()
            && self.is_no_worker_possible(request)
            && self.has_no_slot_for(profile)
        {
            self.fail_unfulfillable(request);
            self.commit();
        }
    }

    /// Ends all waiting requests that nothing could serve, oldest first, when some slot is gone or they are to be looked
    /// at again. O(distinct profiles of waiting requests x distinct profiles of slots).
    pub(crate) fn fail_all_unfulfillable(&mut self) {
        let is_due = self.slot_totals.take_vanished() | self.worker_policy.take_looks_at_all();
        if !is_due || !self.worker_policy.fails_unfulfillable_now() {
            return;
        }
        let unbound = &self.requests.unbound;
        let hopeless = unbound.profiles().filter(|profile| self.has_no_slot_for(*profile));
        let waiting = hopeless.flat_map(|profile| unbound.iter_of(&self.requests.records, profile));
        let mut requests: Vec<_> = waiting.filter(|request| self.is_no_worker_possible(*request)).collect();
        requests.sort_unstable_by_key(|request| self.requests.records[*request].sequence);
        for request in requests {
            self.fail_unfulfillable(request);
        }
        self.commit();
    }

    fn fail_unfulfillable(&mut self, request: RequestKey) {
        let resource_profile = self.profiles[self.requests.records[request].profile].clone();
        self.fail(request, RequestFailure::Unfulfillable { resource_profile });
    }
}
