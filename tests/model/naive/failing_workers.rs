//! Workers on which attempts fail: they back off, and then get one attempt at a time, a probe,
//! until they acknowledge one.

use slot_manager::{AllocationId, InstanceId, JobId, SlotId, Timestamp};

use super::cuts::Room;
use super::{NaiveSlotManager, Request, State, TaskManager, Timer};

/// A worker that refused as many jobs is not probed again at once.
pub(super) const MANY_REFUSED_JOBS: usize = 16;

/// The number of refused jobs that a worker or a slot remembers.
pub(super) const MOST_REFUSED_JOBS: usize = 1024;

/// The failed attempts of a worker since its last acknowledgement.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    /// The request whose attempt failed last.
    last: Option<AllocationId>,
    /// Attempts for different requests failed.
    has_failed_several: bool,
    /// The last attempt failed other than by a refusal.
    is_unreachable: bool,
    /// The jobs of refused attempts.
    refused: Vec<JobId>,
    /// The slot of the last failed attempt, or of the last probe that ended with its request.
    last_slot: Option<SlotId>,
    /// Set from the first backoff to the acknowledgement.
    pub(super) backoff: Option<WorkerBackoff>,
}

/// The last backoff of a worker.
#[derive(Debug, Clone)]
pub(super) struct WorkerBackoff {
    /// The number of backoffs in a row before it.
    number: u32,
    pub(super) until: Timestamp,
    /// Armed until the backoff is over.
    pub(super) timer: Option<Timer>,
    /// Armed until jobs that were not refused may probe a worker that refused many.
    pub(super) early_timer: Option<Timer>,
    /// Jobs that were not refused may not probe a worker that refused many.
    pub(super) is_early: bool,
    /// Orders the workers.
    began: u64,
    /// The number of the last attempt before it.
    last_attempt: u64,
}

/// Notes that a worker or a slot refused a job.
pub(super) fn note_refused(refused: &mut Vec<JobId>, job: JobId) {
    if !refused.contains(&job) && refused.len() < MOST_REFUSED_JOBS {
        refused.push(job);
    }
}

impl NaiveSlotManager {
    /// Counts a failed attempt of a worker, and begins its backoff if the failure is its own or the
    /// second in a row.
    ///
    /// While a backoff lasts, a failure of an attempt that is older begins none.
    pub(super) fn worker_failed_attempt(
        &mut self,
        slot: &SlotId,
        request: (AllocationId, JobId),
        is_refusal: bool,
        attempt: u64,
    ) {
        let id = self.owner(slot).expect("a registered slot").instance_id;
        let (request, job) = request;
        let failures = &mut self.task_manager_mut(id).failures;
        failures.has_failed_several |= failures.last.is_some_and(|last| last != request);
        failures.last = Some(request);
        failures.last_slot = Some(slot.clone());
        failures.is_unreachable = !is_refusal;
        if is_refusal {
            note_refused(&mut failures.refused, job);
        }
        let is_of_worker = failures.is_unreachable || failures.has_failed_several;
        let last = failures.backoff.as_ref();
        if last.map_or(is_of_worker, |last| last.timer.is_none() || attempt > last.last_attempt) {
            let number = last.map_or(0, |last| last.number + 1);
            self.begin_worker_backoff(id, number);
        }
    }

    /// Begins the next backoff of a failing worker if its probe ends with the request, or because
    /// another allocation holds the cut.
    pub(super) fn probe_ended(&mut self, slot: &SlotId, attempt: u64) {
        let id = self.owner(slot).expect("a registered slot").instance_id;
        let failures = &mut self.task_manager_mut(id).failures;
        let last = failures.backoff.as_ref();
        if let Some(last) = last.filter(|last| attempt > last.last_attempt) {
            let number = last.number + 1;
            failures.last_slot = Some(slot.clone());
            self.begin_worker_backoff(id, number);
        }
    }

    fn begin_worker_backoff(&mut self, id: InstanceId, number: u32) {
        let early = self.timer(self.backoff(0));
        let timer = self.timer(self.backoff(number));
        let failures = &self.task_manager_mut(id).failures;
        let waits_early = !failures.is_unreachable && failures.refused.len() >= MANY_REFUSED_JOBS;
        let backoff = WorkerBackoff {
            number,
            until: timer.0,
            timer: Some(timer),
            early_timer: Some(early).filter(|early| waits_early && early.0 < timer.0),
            is_early: waits_early,
            began: self.next(),
            last_attempt: self.attempts,
        };
        self.transaction.probes.push(id);
        self.end_earmark_on(id);
        let task_manager = self.task_manager_mut(id);
        task_manager.failures.backoff = Some(backoff);
        for slot in &mut task_manager.slots {
            if matches!(slot.state, State::Offered(_)) {
                slot.state = State::WorkerBacksOff;
            }
        }
    }

    /// Ends the streak of failures of a worker. The commit offers its slots again.
    pub(super) fn worker_acknowledged(&mut self, id: InstanceId) {
        let was_failing = self.is_failing(id);
        let task_manager = self.task_manager_mut(id);
        task_manager.failures = Failures::default();
        let mut freed = Vec::new();
        for slot in &mut task_manager.slots {
            if slot.state == State::WorkerBacksOff {
                slot.state = State::Detached;
                freed.push(slot.id.clone());
            }
        }
        self.transaction.freed.extend(freed);
        if was_failing {
            self.note_worker(id);
        }
    }

    /// Returns `true` from the begin of the backoff of a worker to its next acknowledgement.
    pub(super) fn is_failing(&self, id: InstanceId) -> bool {
        self.task_manager(id).is_some_and(|it| it.failures.backoff.is_some())
    }

    /// Returns the failing workers in the order of their backoffs.
    fn failing_workers(&self) -> Vec<&TaskManager> {
        let began = |it: &TaskManager| it.failures.backoff.as_ref().map(|backoff| backoff.began);
        let mut failing: Vec<_> = self.task_managers.iter().filter(|it| began(it).is_some()).collect();
        failing.sort_by_key(|it| began(it));
        failing
    }

    /// Returns `true` if a failing worker may get an attempt for a request.
    ///
    /// During its backoff a worker that has only refused gets attempts of other jobs: the refusals
    /// may be the fault of the refused ones. If they are many, the length of a first backoff passes
    /// before.
    fn admits_probe(&self, task_manager: &TaskManager, request: &Request) -> bool {
        let failures = &task_manager.failures;
        let is_over = failures.backoff.as_ref().is_some_and(|it| it.timer.is_none());
        let is_early_over = failures.backoff.as_ref().is_some_and(|it| !it.is_early);
        let is_other_job = !failures.is_unreachable
            && (failures.refused.len() < MANY_REFUSED_JOBS || is_early_over)
            && failures.refused.len() < MOST_REFUSED_JOBS
            && !failures.refused.contains(&request.job_id);
        let is_in_flight = |state: &State| matches!(state, State::InFlight(_));
        !task_manager.slots.iter().any(|slot| is_in_flight(&slot.state))
            && !self.is_blocked(&task_manager.resource_id)
            && (is_over || is_other_job)
    }

    /// Returns the room of a failing worker that a probe for a request would take: the first
    /// fitting slot after the one that failed last, else the first; or a cut that fits.
    fn probed_room(&self, task_manager: &TaskManager, request: &Request) -> Option<Room> {
        if task_manager.resources.is_some() {
            let cut = self
                .fitting_cut(task_manager, request)
                .map(|_| Room::Cut(task_manager.instance_id));
            return cut.filter(|_| self.admits_probe(task_manager, request));
        }
        let free = task_manager.slots.iter().filter(|it| it.state == State::WorkerBacksOff);
        let fitting: Vec<_> = free.filter(|it| it.profile.is_matching(&request.profile)).collect();
        let last = task_manager.failures.last_slot.as_ref();
        let next = fitting.iter().find(|it| last.is_some_and(|last| it.id > *last));
        next.or(fitting.first())
            .filter(|_| self.admits_probe(task_manager, request))
            .map(|it| Room::Slot(it.id.clone()))
    }

    /// Returns the room for a probe on a worker on which the request was tried, or was not. Workers
    /// that answer come first.
    pub(super) fn probe_for(&self, request: &Request, tried: bool) -> Option<Room> {
        let mut failing = self.failing_workers();
        failing.sort_by_key(|it| it.failures.is_unreachable);
        failing
            .into_iter()
            .filter(|it| request.was_tried_on(it) == tried)
            .find_map(|it| self.probed_room(it, request))
    }

    /// Returns the requests that may probe a failing worker. The best is first.
    ///
    /// After the backoff of the worker, a tried request that backs off is a candidate too, unless
    /// its job is suspect. It comes after other requests of such jobs.
    fn probe_candidates(&self, task_manager: &TaskManager) -> Vec<&Request> {
        let is_over = task_manager
            .failures
            .backoff
            .as_ref()
            .is_some_and(|it| it.timer.is_none());
        let is_early = |it: &Request| it.backs_off() && it.was_tried_on(task_manager);
        let may_be_early = |it: &Request| is_over && !self.is_suspect(it.job_id);
        let waiting = self.requests.iter().filter(|it| it.is_waiting() || it.backs_off());
        let mut candidates: Vec<_> = waiting.filter(|it| !is_early(it) || may_be_early(it)).collect();
        candidates.sort_by_key(|it| {
            let turn = self.turn(it.job_id);
            (
                turn.is_some(),
                it.was_tried_on(task_manager),
                is_early(it),
                turn,
                it.order,
            )
        });
        candidates
    }

    /// Begins the probes that noted failing workers admit.
    pub(super) fn begin_probes(&mut self) {
        let noted = std::mem::take(&mut self.transaction.probes);
        let failing: Vec<_> = self.failing_workers().iter().map(|it| it.instance_id).collect();
        for id in failing.into_iter().filter(|id| noted.contains(id)) {
            let task_manager = self.task_manager(id).expect("a registered task manager");
            let candidates = self.probe_candidates(task_manager);
            let probe = candidates.into_iter().find_map(|request| {
                let room = self.probed_room(task_manager, request)?;
                Some((room, request.allocation_id))
            });
            if let Some((room, request)) = probe {
                self.assign_in(room, request);
            }
        }
    }
}
