//! Which request gets a slot, and which slot a request gets, once attempts have failed.
//!
//! A request goes to workers that it was not tried on first. Requests of suspect jobs come after
//! all others, and among them those of the job that has not failed for the longest time. While
//! others are pending, a worker has at most one attempt of suspect jobs at a time.

use crate::JobId;

use crate::slot_manager::collections::deadline_list::Timed;
use crate::slot_manager::rules::cuts::Placement;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::dynamic_workers::MAX_CUTS;
use crate::slot_manager::state::profile_queues::Fitting;
use crate::slot_manager::state::requests::{PendingRequests, RequestKey, RequestPhase};
use crate::slot_manager::state::slots::SlotKey;
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::waiting_requests::{Offerer, TriedRequests};

impl Core {
    /// Returns `true` while failed attempts may change how a request without failures is placed.
    #[inline]
    pub(crate) fn has_failures(&self) -> bool {
        self.failing_workers.has_backoffs() || !self.requests.failing_jobs.is_empty() || !self.slot_backoffs.is_empty()
    }

    /// Returns the request to which a free slot goes.
    #[inline(always)]
    pub(crate) fn candidate_for(&mut self, slot: SlotKey) -> Option<RequestKey> {
        let PendingRequests {
            waiting, failing_jobs, ..
        } = &self.requests;
        if waiting.is_empty() {
            return None;
        }
        if failing_jobs.is_empty() && waiting.has_only_queues() {
            return waiting.oldest_queued(&self.profiles, self.slots[slot].profile);
        }
        self.candidate_despite_failures(slot)
    }

    fn candidate_despite_failures(&mut self, slot: SlotKey) -> Option<RequestKey> {
        self.candidate_among(Placement::Slot(slot), false)
    }

    /// Returns the request for which a slot is cut from a dynamic worker next.
    pub(crate) fn candidate_for_worker(&mut self, task_manager: TaskManagerKey) -> Option<RequestKey> {
        let PendingRequests {
            waiting, failing_jobs, ..
        } = &self.requests;
        let worker = self.dynamic_workers.get(task_manager)?;
        if waiting.is_empty() || worker.num_cuts() >= MAX_CUTS {
            return None;
        }
        if failing_jobs.is_empty() && waiting.has_only_queues() {
            let oldest = waiting.oldest_fitting(&self.profiles, worker.fitting())?;
            let is_served = self.requests.records[oldest].sequence <= self.set_aside.newest_on(task_manager);
            return is_served.then_some(oldest);
        }
        self.candidate_among(Placement::Worker(task_manager), false)
    }

    /// Returns the request to which a slot goes that is about to back off: one of a job that it has
    /// not refused, and that was not tried on its worker.
    pub(crate) fn candidate_despite_refusals(&mut self, slot: SlotKey) -> Option<RequestKey> {
        self.candidate_among(Placement::Slot(slot), true)
    }

    fn candidate_among(&mut self, placement: Placement, is_backing_off: bool) -> Option<RequestKey> {
        let task_manager = match placement {
            Placement::Slot(slot) => self.slots[slot].task_manager,
            Placement::Worker(task_manager) => task_manager,
        };
        let excludes_suspects = self.limits_suspects() && self.has_suspect_attempt(task_manager);
        let PendingRequests {
            waiting,
            records,
            failing_jobs,
            held_back,
            ..
        } = &mut self.requests;
        let (fitting, failures) = match placement {
            Placement::Slot(slot) => (
                Fitting::Slot(&self.profiles[self.slots[slot].profile]),
                self.slot_failures.get(&slot).filter(|_| is_backing_off),
            ),
            Placement::Worker(_) => (self.dynamic_workers.get(task_manager)?.fitting(), None),
        };
        let offerer = Offerer {
            worker: self.task_managers.records[task_manager].instance_id,
            may_serve: &|job| {
                failures.is_none_or(|failures| failures.admits(job))
                    && !(excludes_suspects && failing_jobs.is_suspect(job))
            },
            tried: match is_backing_off {
                true => TriedRequests::None,
                false => TriedRequests::Waiting,
            },
            newest: self.set_aside.newest_on(task_manager),
        };
        let candidate = waiting.candidate(records, &self.profiles, failing_jobs, fitting, offerer);
        *held_back |= excludes_suspects && candidate.is_none();
        candidate.map(|candidate| candidate.request)
    }

    /// Gives a detached request a free slot, or lets it back off or wait.
    pub(crate) fn place_despite_failures(&mut self, request: RequestKey) {
        let must_back_off = self.requests.records[request].must_back_off();
        let untried = self
            .offered_untried(request)
            .or_else(|| self.probe_for(request, false))
            .or_else(|| self.backing_off_slot_for(request).map(Placement::Slot));
        let placement = untried.or_else(|| {
            (!must_back_off)
                .then(|| {
                    self.offered_except(request, Vec::new())
                        .or_else(|| self.probe_for(request, true))
                })
                .flatten()
        });
        match placement {
            Some(placement) => self.assign_placed(placement, request),
            None if must_back_off => {
                let failed_attempts = self.requests.records[request].failed_attempts();
                let step = self.requests.backoffs.step(failed_attempts.saturating_sub(2));
                self.back_off(request, step);
            }
            None => {
                self.note_waiting(request);
                self.enqueue(request);
            }
        }
        self.requests.held_back |= placement.is_none() && self.is_held_back_from_backoffs(request);
    }

    /// Returns `true` if a slot that backs off may admit a request of a suspect job only later.
    fn is_held_back_from_backoffs(&self, request: RequestKey) -> bool {
        !self.slot_backoffs.is_empty()
            && self.limits_suspects()
            && self
                .requests
                .failing_jobs
                .is_suspect(self.requests.records[request].job_id)
    }

    /// Returns the offered slot that the strategy chooses among workers that the request was not
    /// tried on, else the first dynamic one of these workers.
    fn offered_untried(&mut self, request: RequestKey) -> Option<Placement> {
        let tried = match &self.requests.records[request].failures {
            None => Vec::new(),
            Some(failures) => {
                let workers = failures.tried.workers()?.iter();
                workers
                    .filter_map(|worker| self.task_managers.by_instance(worker))
                    .collect()
            }
        };
        self.offered_except(request, tried)
    }

    /// Returns the slot that backs off by itself, longest of all, and admits a request: it has not
    /// refused the job, and the request was not tried on its worker.
    ///
    /// Cost: O(slots that back off by themselves).
    pub(crate) fn backing_off_slot_for(&self, request: RequestKey) -> Option<SlotKey> {
        if self.slot_backoffs.is_empty() {
            return None;
        }
        let record = &self.requests.records[request];
        let required = &self.profiles[record.profile];
        let is_limited = self.requests.failing_jobs.is_suspect(record.job_id) && self.limits_suspects();
        let admits = |slot: SlotKey| {
            let task_manager = self.slots[slot].task_manager;
            let failures = self.slot_failures.get(&slot);
            failures.is_some_and(|failures| failures.admits(record.job_id))
                && self.profiles[self.slots[slot].profile].is_matching(required)
                && !record.was_tried_on(self.task_managers.records[task_manager].instance_id)
                && !(is_limited && self.has_suspect_attempt(task_manager))
        };
        let slots = self.slot_backoffs.iter(&self.slots).map(|(_, slot)| slot);
        slots
            .filter(|slot| admits(*slot))
            .min_by_key(|slot| self.slots[*slot].armed_as())
    }

    /// Returns the offered slot that the strategy chooses among workers that are not excluded, else
    /// the dynamic worker that it chooses, which must not be set aside for an older request.
    ///
    /// For a request of a suspect job, workers with another attempt of such a job may be excluded
    /// as well.
    fn offered_except(&mut self, request: RequestKey, mut excluded: Vec<TaskManagerKey>) -> Option<Placement> {
        let record = &self.requests.records[request];
        let required = record.profile;
        let barred = self.set_aside.barred_to(record.sequence);
        let is_limited = self.requests.failing_jobs.is_suspect(record.job_id) && self.limits_suspects();
        loop {
            let required = &self.profiles[required];
            let slot = match excluded.as_slice() {
                [] => self.free_slots.find(&self.slots, &self.profiles, required),
                excluded => (self.free_slots).find_except(&self.slots, &self.profiles, required, excluded),
            };
            let is_other = |task_manager| !excluded.contains(&task_manager) && Some(task_manager) != barred;
            let (placement, task_manager) = match slot {
                Some(slot) => (Placement::Slot(slot), self.slots[slot].task_manager),
                None => {
                    let task_manager = self.dynamic_workers.first_fitting(required, is_other)?;
                    (Placement::Worker(task_manager), task_manager)
                }
            };
            if !(is_limited && self.has_suspect_attempt(task_manager)) {
                return Some(placement);
            }
            self.requests.held_back = true;
            excluded.push(task_manager);
        }
    }
}

/// Suspect jobs.
impl Core {
    /// Returns `true` if a worker may have only one attempt of suspect jobs at a time.
    pub(crate) fn limits_suspects(&self) -> bool {
        self.requests.failing_jobs.num_suspects() > 0 && self.requests.has_requests_of_other_jobs()
    }

    /// Returns `true` if an attempt of a suspect job is in flight to a worker.
    ///
    /// Cost: O(slots of the worker) while one of its slots is in flight.
    pub(crate) fn has_suspect_attempt(&self, task_manager: TaskManagerKey) -> bool {
        let owner = &self.task_managers.records[task_manager];
        let is_suspect = |slot: SlotKey| {
            let attempt = self.slots[slot].attempt();
            let job = attempt.map(|attempt| self.requests.records[attempt.request].job_id);
            job.is_some_and(|job| self.requests.failing_jobs.is_suspect(job))
        };
        owner.in_flight > 0 && owner.slots.iter().any(|(_, slot)| is_suspect(*slot))
    }

    /// Forgets the failures of a job after a grant.
    #[inline]
    pub(crate) fn clear_job(&mut self, job: JobId) {
        if self.requests.failing_jobs.clear_job(job) {
            tracing::info!(%job, "job is suspect no more");
            self.transaction.may_set_aside |= self.set_aside.is_on();
            self.requests.may_release_held_back = true;
        }
    }

    /// Places requests of suspect jobs that were held back, oldest first, as far as that is
    /// possible now.
    ///
    /// Cost: O(groups of waiting requests) for each request placed.
    pub(crate) fn place_held_back(&mut self) {
        self.requests.may_release_held_back = false;
        while std::mem::take(&mut self.requests.held_back) {
            let mut firsts = self.requests.waiting.first_of_groups().into_iter();
            if !firsts.any(|request| self.place_if_offered(request)) {
                return;
            }
            // The next of its group may be the oldest now.
            self.requests.held_back = true;
        }
    }

    /// Gives a request that waits or backs off an offered slot. Returns `false` without one.
    fn place_if_offered(&mut self, request: RequestKey) -> bool {
        let is_backing_off = matches!(self.requests.records[request].phase, RequestPhase::BackingOff { .. });
        let untried = self
            .offered_untried(request)
            .or_else(|| self.backing_off_slot_for(request).map(Placement::Slot));
        let placement = match untried {
            None if !is_backing_off => self.offered_except(request, Vec::new()),
            placement => placement,
        };
        match placement {
            Some(placement) => self.assign_placed(placement, request),
            None => self.requests.held_back |= self.is_held_back_from_backoffs(request),
        }
        placement.is_some()
    }
}
