//! A worker is set aside for a request that has waited long.
//!
//! Small requests could take each part of a dynamic worker that becomes free, so that a large one
//! waits for ever. So the oldest of the requests that have waited for the reservation delay gets a
//! worker of its own choice: what becomes free there goes to it or to older requests.
//!
//! - One worker is set aside at a time. All others serve as before.
//! - The worker could serve the request if nothing was cut from it. It is neither blocked nor backs
//!   off. Workers that the request was not tried on come first, then those with the
//!   smallest used share, then the lowest place.
//! - That ends with the next attempt of the request, on whichever worker, and with the request. It
//!   also ends when the worker goes, is blocked or backs off, or says that it has too little even
//!   without cuts. Then the rest of the worker is offered to all requests, and a worker is set aside
//!   anew, for the request that is the oldest then.
//! - Requests of suspect jobs get no worker.

use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::ProfileKey;
use crate::slot_manager::state::requests::RequestKey;
use crate::slot_manager::state::set_aside::Earmark;
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// Requests.
impl Core {
    /// Notes a new request, which may have a worker set aside once it has waited.
    #[inline]
    pub(crate) fn note_new_request(&mut self, request: RequestKey) {
        if self.set_aside.is_on() {
            let until = self.deadline_in(self.config.reservation_delay);
            let sequence = self.requests.records[request].sequence;
            let until = self.set_aside.add(request, sequence, until);
            self.note_new_deadline(until);
        }
    }

    /// Handles the end of the reservation delay of the next request.
    pub(crate) fn note_long_wait(&mut self) {
        self.set_aside.end_first_wait(&self.requests.records);
        self.transaction.may_set_aside = true;
    }

    /// Notes that a request begins to wait. It may have waited long before its attempt.
    #[inline]
    pub(crate) fn note_waiting(&mut self, request: RequestKey) {
        let sequence = self.requests.records[request].sequence;
        self.transaction.may_set_aside |= self.set_aside.has_waited_long(sequence);
    }

    /// Notes that a request has ended. Its record is gone.
    #[inline]
    pub(crate) fn note_end_of_request(&mut self, request: RequestKey) {
        if self.set_aside.is_on() {
            self.end_earmark_for(request);
            self.set_aside.forget_ended(&self.requests.records);
        }
    }
}

/// Begin and end.
impl Core {
    /// Offers the rest of a worker that is not set aside any more, and sets a worker aside if a
    /// request has waited long. The commit calls it when slots are offered.
    pub(crate) fn commit_set_aside(&mut self) {
        if let Some(task_manager) = self.transaction.no_longer_set_aside.take() {
            let is_registered = self.dynamic_workers.get(task_manager).is_some();
            if is_registered && !self.is_blocked(task_manager) && self.failing_workers.backoff(task_manager).is_none() {
                self.offer_worker(task_manager);
            }
        }
        if std::mem::take(&mut self.transaction.may_set_aside) && self.set_aside.current().is_none() {
            self.set_worker_aside();
        }
    }

    /// Sets a worker aside for the oldest request that has waited long and could be served.
    fn set_worker_aside(&mut self) {
        let Some(earmark) = self.next_earmark() else {
            return;
        };
        tracing::info!(
            allocation_id = %self.requests.records[earmark.request].allocation_id,
            resource_id = %self.task_managers.records[earmark.task_manager].resource_id,
            "worker is set aside for a request that waits long"
        );
        self.set_aside.begin(earmark);
    }

    /// Returns the worker to set aside now.
    ///
    /// Cost: O(dynamic workers) for each profile of requests that have waited long.
    pub(crate) fn next_earmark(&self) -> Option<Earmark> {
        let may_be_served = |profile: ProfileKey| {
            let required = &self.profiles[profile];
            self.dynamic_workers.has_fitting_total(&self.profiles, required)
                && self
                    .dynamic_workers
                    .could_fit(&self.profiles, required)
                    .next()
                    .is_some()
        };
        let requests = &self.requests;
        let mut oldest = (requests.waiting).oldest_of_profiles(&requests.records, &requests.failing_jobs);
        oldest.retain(|(sequence, _)| self.set_aside.has_waited_long(*sequence));
        oldest.sort_unstable();
        let mut oldest = oldest.into_iter();
        let (sequence, request) = oldest.find(|(_, request)| may_be_served(requests.records[*request].profile))?;
        let record = &requests.records[request];
        let was_tried =
            |task_manager: TaskManagerKey| record.was_tried_on(self.task_managers.records[task_manager].instance_id);
        let workers = self
            .dynamic_workers
            .could_fit(&self.profiles, &self.profiles[record.profile]);
        let best = workers.min_by_key(|(task_manager, worker)| {
            let (used_share, place) = (worker.used_share(&self.profiles), worker.place());
            (was_tried(*task_manager), used_share, place)
        });
        best.map(|(task_manager, _)| Earmark {
            task_manager,
            request,
            sequence,
        })
    }

    /// Ends the earmark for a request that gets an attempt or is over.
    #[inline]
    pub(crate) fn end_earmark_for(&mut self, request: RequestKey) {
        if self.set_aside.is_for(request) {
            self.end_earmark();
        }
    }

    /// Ends the earmark on a worker that does not serve any more.
    #[inline]
    pub(crate) fn end_earmark_on(&mut self, task_manager: TaskManagerKey) {
        if self.set_aside.is_on_worker(task_manager) {
            self.end_earmark();
        }
    }

    /// Ends the earmark if its worker could not serve the request even without cuts.
    pub(crate) fn end_earmark_if_vain(&mut self) {
        let Some(earmark) = self.set_aside.current() else {
            return;
        };
        let required = &self.profiles[self.requests.records[earmark.request].profile];
        let worker = self.dynamic_workers.get(earmark.task_manager);
        if !worker.is_some_and(|worker| worker.could_fit(&self.profiles, required)) {
            self.end_earmark();
        }
    }

    /// Ends the earmark. Nothing is cut from its worker before the commit offers it: the requests that
    /// it has passed over come before new ones.
    #[inline(never)]
    fn end_earmark(&mut self) {
        if let Some(earmark) = self.set_aside.end() {
            self.dynamic_workers.withdraw(earmark.task_manager);
            self.transaction.no_longer_set_aside = Some(earmark.task_manager);
            self.transaction.may_set_aside = true;
        }
    }
}
