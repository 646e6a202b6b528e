//! Workers on which attempts fail: when they back off, and who probes them.
//!
//! A worker backs off when it cannot be reached or does not answer, and when attempts of two
//! different requests fail on it in a row. From then on none of its free slots is offered until it
//! acknowledges an attempt. One attempt at a time probes it. After the backoff that is an attempt
//! of any request. Before its end it is one of a job that the worker has not refused, because a
//! refusal may be the fault of the job. A worker that has refused many jobs is likely to refuse the
//! next one: then such a probe waits for the length of the first backoff.

use crate::{AllocationId, JobId};

use crate::slot_manager::rules::cuts::Placement;
use crate::slot_manager::state::core::Core;
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey};
use crate::slot_manager::state::requests::{PendingRequests, RequestKey};
use crate::slot_manager::state::slots::{Slot, SlotKey, SlotPhase};
use crate::slot_manager::state::task_managers::TaskManagerKey;
use crate::slot_manager::state::waiting_requests::{OfferCandidate, Offerer, TriedRequests};

/// Failures and acknowledgements.
impl Core {
    /// Notes a failed attempt on a worker, and begins a backoff if the worker is at fault.
    ///
    /// `refused` is the job that the worker refused; `None` if the worker was unreachable.
    pub(crate) fn note_failure_of_worker(
        &mut self,
        slot: SlotKey,
        attempt: u64,
        request: AllocationId,
        refused: Option<JobId>,
    ) {
        let &Slot {
            task_manager, number, ..
        } = &self.slots[slot];
        let worker = self.failing_workers.note_failure(task_manager, number, request);
        match refused {
            Some(job) => worker.note_refusal(job),
            None => worker.note_unreachable(),
        }
        if worker.must_begin_backoff(attempt) {
            let num_backoffs = worker.num_backoffs();
            self.begin_worker_backoff(task_manager, num_backoffs);
        }
    }

    /// Begins the next backoff of a worker if its probe ends with neither a failure nor an
    /// acknowledgement: without an answer, or because another allocation holds the cut.
    ///
    /// Otherwise a worker that hangs would be probed as often as requests end.
    pub(crate) fn note_undecided_probe(&mut self, slot: SlotKey, attempt: u64) {
        let &Slot {
            task_manager, number, ..
        } = &self.slots[slot];
        let Some(worker) = self.failing_workers.get(task_manager) else {
            return;
        };
        if worker.is_probe(attempt) {
            let num_backoffs = worker.num_backoffs();
            self.failing_workers.note_slot(task_manager, number);
            self.begin_worker_backoff(task_manager, num_backoffs);
        }
    }

    /// Begins a backoff of a worker after `num_backoffs` others in a row.
    fn begin_worker_backoff(&mut self, task_manager: TaskManagerKey, num_backoffs: u32) {
        let step = self.slot_backoffs.step(num_backoffs);
        let until = self.deadline_in(self.slot_backoffs.length(step));
        let early = self.deadline_in(self.slot_backoffs.length(0));
        self.failing_workers
            .begin_backoff(task_manager, early, until, self.attempts);
        self.counters.worker_backoffs += 1;
        tracing::warn!(
            resource_id = %self.task_managers.records[task_manager].resource_id, %until, "worker backs off"
        );
        for slot in self.slots_of(task_manager) {
            if let SlotPhase::Offered { .. } = self.slots[slot].phase {
                self.set_slot_phase(slot, SlotPhase::WorkerBackoff);
            }
        }
        self.withdraw_worker(task_manager);
        self.note_probe(task_manager);
    }

    /// Forgets the failures of a worker that has acknowledged an attempt on a slot. The commit
    /// offers its slots again.
    #[inline]
    pub(crate) fn worker_acknowledged(&mut self, slot: SlotKey) {
        if !self.failing_workers.is_empty() {
            self.forget_failing_worker(self.slots[slot].task_manager);
        }
    }

    fn forget_failing_worker(&mut self, task_manager: TaskManagerKey) {
        if self.failing_workers.remove(task_manager) {
            tracing::info!(
                resource_id = %self.task_managers.records[task_manager].resource_id, "worker serves again"
            );
            for slot in self.slots_of(task_manager) {
                if let SlotPhase::WorkerBackoff = self.slots[slot].phase {
                    self.detach_slot(slot);
                    self.transaction.free.push(slot);
                }
            }
            self.note_offer(task_manager);
        }
    }
}

/// Probes.
impl Core {
    /// Notes that a worker may admit a probe that it did not admit before.
    #[inline]
    pub(crate) fn note_probe(&mut self, task_manager: TaskManagerKey) {
        if self.failing_workers.has_backoffs() {
            self.transaction.probes.push(task_manager);
        }
    }

    /// Probes the noted workers, in the order in which their backoffs began.
    pub(crate) fn probe_workers(&mut self) {
        let mut noted = std::mem::take(&mut self.transaction.probes);
        let number = |key: &TaskManagerKey| self.failing_workers.backoff(*key).map(|backoff| backoff.number());
        noted.sort_by_key(|key| (number(key), *key));
        noted.dedup();
        for task_manager in noted {
            self.probe(task_manager);
        }
    }

    /// Gives a slot of a worker that admits a probe to the request that comes first.
    fn probe(&mut self, task_manager: TaskManagerKey) {
        if !self.admits_probes(task_manager) {
            return;
        }
        if self.is_dynamic(task_manager) {
            if let Some(candidate) = self.probe_candidate(task_manager, None) {
                self.assign_placed(Placement::Worker(task_manager), candidate.request);
            }
            return;
        }
        let mut tested: Vec<ProfileKey> = Vec::new();
        let mut best = None;
        for slot in self.slots_of(task_manager) {
            let profile = self.slots[slot].profile;
            if matches!(self.slots[slot].phase, SlotPhase::WorkerBackoff) && !tested.contains(&profile) {
                tested.push(profile);
                best = best
                    .into_iter()
                    .chain(self.probe_candidate(task_manager, Some(profile)))
                    .min();
            }
        }
        if let Some(candidate) = best {
            let required = self.requests.records[candidate.request].profile;
            if let Some(slot) = self.probe_slot(task_manager, required) {
                self.assign(slot, candidate.request);
            }
        }
    }

    /// Returns the request that comes first for a probe: on a slot with this profile, else on a cut
    /// from what remains of the worker.
    fn probe_candidate(&mut self, task_manager: TaskManagerKey, slot: Option<ProfileKey>) -> Option<OfferCandidate> {
        let failing = self.failing_workers.get(task_manager)?;
        let fitting = match slot {
            Some(slot) => Fitting::Slot(&self.profiles[slot]),
            None => self.dynamic_workers.get(task_manager)?.fitting(),
        };
        let PendingRequests {
            waiting,
            records,
            failing_jobs,
            ..
        } = &mut self.requests;
        let offerer = Offerer {
            worker: self.task_managers.records[task_manager].instance_id,
            may_serve: &|job| failing.admits_probe_of(job),
            tried: match failing.backoff().is_some_and(|backoff| backoff.is_over) {
                true => TriedRequests::AlsoBackingOff,
                false => TriedRequests::Waiting,
            },
            newest: u64::MAX,
        };
        waiting.candidate(records, &self.profiles, failing_jobs, fitting, offerer)
    }

    /// Returns the slot or dynamic worker on which a request may probe a worker. `was_tried` selects
    /// the workers that the request was tried on, or the others.
    pub(crate) fn probe_for(&self, request: RequestKey, was_tried: bool) -> Option<Placement> {
        if !self.failing_workers.has_backoffs() {
            return None;
        }
        let record = &self.requests.records[request];
        // Workers that answer come first: on another one the request may wait for the RPC timeout.
        self.failing_workers.reachable_first().find_map(|task_manager| {
            let failing = self.failing_workers.get(task_manager)?;
            let worker = self.task_managers.records[task_manager].instance_id;
            let is_admitted = failing.admits_probe_of(record.job_id)
                && self.admits_probes(task_manager)
                && record.was_tried_on(worker) == was_tried;
            is_admitted
                .then(|| self.probe_placement(task_manager, record.profile))
                .flatten()
        })
    }

    /// Returns `true` if a worker that backs off may be probed, and is neither blocked nor probed
    /// now.
    fn admits_probes(&self, task_manager: TaskManagerKey) -> bool {
        let failing = self.failing_workers.get(task_manager);
        failing.is_some_and(|failing| failing.backoff().is_some() && failing.admits_probes())
            && self.task_managers.records[task_manager].in_flight == 0
            && !self.is_blocked(task_manager)
    }

    /// Returns where a request may probe a worker that backs off: on a free slot, or on a cut from
    /// what remains of a dynamic worker.
    pub(crate) fn probe_placement(&self, task_manager: TaskManagerKey, required: ProfileKey) -> Option<Placement> {
        match self.dynamic_workers.get(task_manager) {
            Some(worker) => {
                // After a report the commit decides which request comes first.
                let is_noted = self.transaction.dynamic_workers.contains(&task_manager);
                let fits = !is_noted && worker.fits(&self.profiles[required]);
                fits.then_some(Placement::Worker(task_manager))
            }
            None => self.probe_slot(task_manager, required).map(Placement::Slot),
        }
    }

    /// Returns the free slot for the next probe of a worker that backs off: the fitting one with
    /// the lowest number above that of the last failed attempt, else with the lowest number.
    ///
    /// So one broken slot does not keep the others from use.
    fn probe_slot(&self, task_manager: TaskManagerKey, required: ProfileKey) -> Option<SlotKey> {
        let last = self.failing_workers.get(task_manager)?.last_slot();
        let required = &self.profiles[required];
        let slots = self.task_managers.records[task_manager].slots.iter();
        let fits = |slot: SlotKey| {
            let slot = &self.slots[slot];
            matches!(slot.phase, SlotPhase::WorkerBackoff) && self.profiles[slot.profile].is_matching(required)
        };
        let mut fitting = slots.filter(|(_, slot)| fits(*slot)).peekable();
        let lowest = fitting.peek().map(|(_, slot)| *slot);
        let next = fitting.find(|(number, _)| *number > last).map(|(_, slot)| *slot);
        next.or(lowest)
    }
}
