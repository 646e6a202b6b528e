//! The counters of the manager, counted again from effects and outcomes.

use slot_manager::message::{AllocationFailureCause, Release, RequestFailure, Withdrawal};
use slot_manager::overview::Counters;
use slot_manager::testing::{Action, Effect};

use crate::cluster::call_log::{Call, CallAnswer};
use crate::cluster::run::Check;
use crate::cluster::simulation::Manager;

#[derive(Debug, Default)]
pub(crate) struct CounterChecks {
    last: Counters,
    /// The expected counters, as far as effects and outcomes show them.
    seen: Counters,
    /// Confirmed withdrawals. Some of these workers were promised beyond a limit.
    confirmed: u64,
    /// Messages without a revision that freed a slot. An older report may take it back.
    freed_without_revision: u64,
    /// Requests that were waiting when a leadership ended.
    dropped: u64,
}

impl CounterChecks {
    /// Counts the requests that were waiting at the end of a leadership.
    pub(crate) fn drop_requests(&mut self, requests: usize) {
        self.dropped += requests as u64;
    }

    pub(crate) fn cancelled(&mut self, requests: usize) {
        self.seen.requests_cancelled += requests as u64;
    }

    /// Counts a request that failed while it was registered, without a notification.
    pub(crate) fn failed_at_once(&mut self, failure: &RequestFailure) {
        self.failed(failure);
    }

    pub(crate) fn refused_task_manager(&mut self) {
        self.seen.task_managers_refused += 1;
    }

    pub(crate) fn ignored_report(&mut self) {
        self.seen.reports_stale += 1;
    }

    pub(crate) fn freed_without_revision(&mut self) {
        self.freed_without_revision += 1;
    }

    pub(crate) fn refused_report(&mut self) {
        self.seen.reports_refused += 1;
    }

    pub(crate) fn compare(&mut self, manager: &Manager, calls: &[Call]) -> Check {
        for call in calls {
            self.count(call);
        }
        let counters = manager.counters();
        if let Some((counter, _)) = counters
            .iter()
            .zip(self.last.iter())
            .find(|(now, last)| now.value < last.value)
        {
            return Err(format!(
                "counter {} fell: {:?}, then {counters:?}",
                counter.name, self.last
            ));
        }
        self.last = counters;
        let seen = &self.seen;
        // No effect shows requests that declared requirements withdraw.
        let withdraws = counters.requirements_declared > 0;
        let agrees = counters.requests_served == seen.requests_served
            && (counters.requests_cancelled == seen.requests_cancelled
                || (withdraws && counters.requests_cancelled > seen.requests_cancelled))
            && counters.requests_failed == seen.requests_failed
            && counters.grants_lost == seen.grants_lost
            && counters.workers_requested == seen.workers_requested
            && counters.workers_withdrawn <= self.confirmed
            && counters.task_managers_released == seen.task_managers_released
            && counters.task_managers_refused == seen.task_managers_refused
            && counters.frees_taken_back <= self.freed_without_revision
            && counters.reports_stale == seen.reports_stale
            && counters.reports_refused == seen.reports_refused;
        if !agrees {
            return Err(format!("the counters are {counters:?}, expected {seen:?}"));
        }
        let ended = counters.requests_served + counters.requests_cancelled + counters.requests_failed.total();
        let pending = manager.overview().pending_requests as u64;
        if counters.requests_accepted != ended + pending + self.dropped {
            return Err(format!(
                "{counters:?}, {pending} requests wait and {} were dropped",
                self.dropped
            ));
        }
        Ok(())
    }

    fn count(&mut self, call: &Call) {
        let seen = &mut self.seen;
        match (&call.effect, &call.answer) {
            (Effect::Action(Action::NotifySlotAllocated { .. }), _) => seen.requests_served += 1,
            (Effect::Action(Action::NotifyAllocationFailure { cause, .. }), _) => match cause {
                AllocationFailureCause::RequestFailed(failure) => self.failed(failure),
                AllocationFailureCause::GrantLost { .. } => seen.grants_lost += 1,
            },
            (Effect::Action(Action::AllocateResource { .. }), _) => seen.workers_requested += 1,
            (_, CallAnswer::Release(Release::Accepted)) => seen.task_managers_released += 1,
            (_, CallAnswer::Withdrawal(Withdrawal::Confirmed)) => self.confirmed += 1,
            _ => {}
        }
    }

    fn failed(&mut self, failure: &RequestFailure) {
        let failed = &mut self.seen.requests_failed;
        match failure {
            RequestFailure::Timeout { .. } => failed.timeout += 1,
            RequestFailure::ResourceManager(_) => failed.resource_manager += 1,
            RequestFailure::Unfulfillable { .. } => failed.unfulfillable += 1,
            _ => failed.held_by_another_job += 1,
        }
    }
}
