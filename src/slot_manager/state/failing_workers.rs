//! Workers on which attempts fail, and their backoffs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AllocationId, JobId, Timestamp};

use crate::slot_manager::state::refused_jobs::RefusedJobs;
use crate::slot_manager::state::task_managers::TaskManagerKey;

/// The workers with a failed attempt since their last acknowledgement: usually few.
#[derive(Debug)]
pub(crate) struct FailingWorkers {
    workers: BTreeMap<TaskManagerKey, FailingWorker>,
    /// The workers that back off or wait for a probe, in the order in which their backoffs began.
    backing_off: BTreeMap<u64, TaskManagerKey>,
    /// The ends of all backoffs that are not over, also the early ones.
    ends: BTreeSet<(Timestamp, u64, TaskManagerKey)>,
    /// The earliest end; `MAX` if no worker backs off.
    earliest: Timestamp,
    /// The number of the last backoff.
    last_backoff: u64,
}

/// The failed attempts on one worker since its last acknowledgement.
#[derive(Debug)]
pub(crate) struct FailingWorker {
    /// The request of the last failed attempt. One registered again with its id counts as the same.
    last: AllocationId,
    /// Attempts for different requests failed.
    has_failed_several: bool,
    /// The last failed attempt found the worker unreachable, or was not answered in time.
    is_unreachable: bool,
    refused_jobs: RefusedJobs,
    /// The slot number of the last failed attempt.
    last_slot: u32,
    num_backoffs: u32,
    backoff: Option<RunningBackoff>,
}

/// The backoff of a worker. It lasts until the worker acknowledges an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunningBackoff {
    /// A number that grows with each backoff.
    number: u64,
    pub(crate) until: Timestamp,
    /// The time is over: any request may probe the worker.
    pub(crate) is_over: bool,
    /// The time until which a worker that refused many jobs admits no other. `None` once it is over,
    /// and for all other workers.
    closed_until: Option<Timestamp>,
    /// The last attempt before the backoff began.
    last_attempt: u64,
}

impl RunningBackoff {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Default for FailingWorkers {
    fn default() -> Self {
        Self {
            workers: BTreeMap::new(),
            backing_off: BTreeMap::new(),
            ends: BTreeSet::new(),
            earliest: Timestamp::MAX,
            last_backoff: 0,
        }
    }
}

impl FailingWorker {
    fn new(last: AllocationId) -> Self {
        Self {
            last,
            has_failed_several: false,
            is_unreachable: false,
            refused_jobs: RefusedJobs::default(),
            last_slot: 0,
            num_backoffs: 0,
            backoff: None,
        }
    }

    /// Notes that the worker refused a job. It can be reached, so the job may be at fault.
    pub(crate) fn note_refusal(&mut self, job: JobId) {
        self.is_unreachable = false;
        self.refused_jobs.note(job);
    }

    /// Notes that the worker was unreachable or did not answer.
    pub(crate) fn note_unreachable(&mut self) {
        self.is_unreachable = true;
    }

    /// Returns `true` if a failure of this attempt begins a backoff.
    ///
    /// While a backoff lasts, failures of attempts that began before it are no news.
    pub(crate) fn must_begin_backoff(&self, attempt: u64) -> bool {
        match self.backoff {
            Some(backoff) => backoff.is_over || self.is_probe(attempt),
            None => self.is_unreachable || self.has_failed_several,
        }
    }

    /// Returns `true` if an attempt began after the present backoff did.
    pub(crate) fn is_probe(&self, attempt: u64) -> bool {
        self.backoff.is_some_and(|backoff| attempt > backoff.last_attempt)
    }

    pub(crate) fn num_backoffs(&self) -> u32 {
        self.num_backoffs
    }

    pub(crate) fn backoff(&self) -> Option<RunningBackoff> {
        self.backoff
    }

    pub(crate) fn last_slot(&self) -> u32 {
        self.last_slot
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    /// Returns `true` if a request of a job may probe the worker: at any time after the backoff.
    ///
    /// Before its end, the backoff holds only for jobs that the worker refused, unless the worker
    /// was unreachable.
    pub(crate) fn admits_probe_of(&self, job: JobId) -> bool {
        self.backoff.is_some_and(|backoff| backoff.is_over) || (self.admits_others() && self.refused_jobs.admit(job))
    }

    /// Returns `true` if a request may probe the worker.
    pub(crate) fn admits_probes(&self) -> bool {
        self.backoff.is_some_and(|backoff| backoff.is_over) || self.admits_others()
    }

    /// Returns `true` if jobs that the worker has not refused may probe it during its backoff.
    fn admits_others(&self) -> bool {
        let is_open = self.backoff.is_some_and(|backoff| backoff.closed_until.is_none());
        !self.is_unreachable && (is_open || !self.refused_jobs.are_many())
    }
}

impl FailingWorkers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Returns `true` if a worker backs off or waits for a probe.
    #[inline]
    pub(crate) fn has_backoffs(&self) -> bool {
        !self.backing_off.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, task_manager: TaskManagerKey) -> Option<&FailingWorker> {
        if self.workers.is_empty() {
            return None;
        }
        self.workers.get(&task_manager)
    }

    /// Returns the backoff of a worker, also after its time is over.
    #[inline]
    pub(crate) fn backoff(&self, task_manager: TaskManagerKey) -> Option<RunningBackoff> {
        self.get(task_manager)?.backoff
    }

    /// Notes the slot of an attempt of a failing worker that ended without an answer.
    pub(crate) fn note_slot(&mut self, task_manager: TaskManagerKey, slot: u32) {
        if let Some(worker) = self.workers.get_mut(&task_manager) {
            worker.last_slot = slot;
        }
    }

    /// Returns the record of a worker on which an attempt for a request failed.
    pub(crate) fn note_failure(
        &mut self,
        task_manager: TaskManagerKey,
        slot: u32,
        request: AllocationId,
    ) -> &mut FailingWorker {
        let worker = self
            .workers
            .entry(task_manager)
            .or_insert_with(|| FailingWorker::new(request));
        worker.has_failed_several |= worker.last != request;
        worker.last = request;
        worker.last_slot = slot;
        worker
    }

    /// Begins the next backoff of a failing worker. `early` is the end of a first backoff.
    pub(crate) fn begin_backoff(
        &mut self,
        task_manager: TaskManagerKey,
        early: Timestamp,
        until: Timestamp,
        last_attempt: u64,
    ) {
        self.end_backoff(task_manager);
        let Some(worker) = self.workers.get_mut(&task_manager) else {
            return;
        };
        self.last_backoff += 1;
        let number = self.last_backoff;
        worker.num_backoffs = worker.num_backoffs.saturating_add(1);
        let is_closed = !worker.is_unreachable && worker.refused_jobs.are_many();
        let closed_until = is_closed.then_some(early);
        worker.backoff = Some(RunningBackoff {
            number,
            until,
            is_over: false,
            closed_until,
            last_attempt,
        });
        self.backing_off.insert(number, task_manager);
        let ends = closed_until.into_iter().chain([until]);
        self.ends.extend(ends.map(|end| (end, number, task_manager)));
        self.update_earliest();
    }

    /// Removes the present backoff of a worker from the lists.
    fn end_backoff(&mut self, task_manager: TaskManagerKey) {
        let worker = self.workers.get_mut(&task_manager);
        if let Some(backoff) = worker.and_then(|worker| worker.backoff.take()) {
            self.backing_off.remove(&backoff.number);
            for end in backoff.closed_until.into_iter().chain([backoff.until]) {
                self.ends.remove(&(end, backoff.number, task_manager));
            }
            self.update_earliest();
        }
    }

    /// Marks the backoff that ends first as over, also if only its early end is reached. Returns
    /// its worker.
    pub(crate) fn take_first_end(&mut self) -> Option<TaskManagerKey> {
        let (end, _, task_manager) = self.ends.pop_first()?;
        self.update_earliest();
        if let Some(backoff) = self
            .workers
            .get_mut(&task_manager)
            .and_then(|worker| worker.backoff.as_mut())
        {
            backoff.closed_until = None;
            backoff.is_over = end == backoff.until;
        }
        Some(task_manager)
    }

    /// Forgets the failures of a worker. Returns `true` if the worker backed off.
    pub(crate) fn remove(&mut self, task_manager: TaskManagerKey) -> bool {
        let had_backoff = self.backoff(task_manager).is_some();
        self.end_backoff(task_manager);
        self.workers.remove(&task_manager);
        had_backoff
    }

    /// Returns the workers that back off or wait for a probe, in the order in which their backoffs
    /// began.
    pub(crate) fn backing_off(&self) -> impl Iterator<Item = TaskManagerKey> {
        self.backing_off.values().copied()
    }

    /// Returns the workers that back off or wait for a probe: first those that answer, then those
    /// that do not.
    pub(crate) fn reachable_first(&self) -> impl Iterator<Item = TaskManagerKey> {
        let is_unreachable = |key: &TaskManagerKey| self.get(*key).is_some_and(FailingWorker::is_unreachable);
        let reachable = self.backing_off().filter(move |key| !is_unreachable(key));
        reachable.chain(self.backing_off().filter(move |key| is_unreachable(key)))
    }

    pub(crate) fn num_backing_off(&self) -> usize {
        self.backing_off.len()
    }

    /// Returns the earliest end of a backoff; `MAX` if no worker backs off.
    #[inline]
    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest
    }

    fn update_earliest(&mut self) {
        self.earliest = self.ends.first().map_or(Timestamp::MAX, |(until, _, _)| *until);
    }

    /// Returns all failing workers; for the check of invariants.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskManagerKey, &FailingWorker)> {
        self.workers.iter().map(|(key, worker)| (*key, worker))
    }

    /// Returns `true` if the lists of backoffs agree with the workers; for the check of invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let backoffs = || {
            let workers = self.workers.iter();
            workers.filter_map(|(key, worker)| Some((*key, worker.backoff?)))
        };
        let listed = backoffs().map(|(key, backoff)| (backoff.number, key));
        let early = backoffs().filter_map(|(key, backoff)| Some((backoff.closed_until?, backoff.number, key)));
        let running = backoffs().filter(|(_, backoff)| !backoff.is_over);
        let running = running.map(|(key, backoff)| (backoff.until, backoff.number, key));
        self.backing_off == listed.collect()
            && self.ends == early.chain(running).collect()
            && self.earliest == self.ends.first().map_or(Timestamp::MAX, |(until, _, _)| *until)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
