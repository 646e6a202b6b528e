//! Requests that are not granted: their records, and the order, the queues, the deadlines and the jobs they are in.

use std::sync::Arc;

use crate::{AllocationId, JobId, SlotAllocationError, SlotManagerConfig, Timestamp};

use super::deadlines::{DeadlineList, Pauses, Timed};
use super::index::{IdIndex, Identified};
use super::profiles::{Fitting, ProfileKey, ProfileQueues, Profiles, Queued};
use super::promised_slots::PromiseKey;
use super::records::{Links, List, Records, key, linked};
use super::slots::SlotKey;

key! {
    /// A request that is not granted.
    RequestKey
}

key! {
    /// A job with ungranted requests.
    JobKey
}

#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) allocation_id: AllocationId,
    pub(super) job_id: JobId,
    pub(super) profile: ProfileKey,
    pub(super) target_address: Arc<str>,
    /// Grows with every request that is registered: its place in every queue.
    pub(super) sequence: u64,
    /// When it fails, whatever happens to it meanwhile.
    pub(super) deadline: Timestamp,
    pub(super) state: RequestState,
    /// The deadline of the RPC, of the pause, or of the repeat of a declined ask: a request has one of them at most.
    pub(super) timer: Timestamp,
    pub(super) failed_attempts: u32,
    pub(super) last_failure: Option<Box<SlotAllocationError>>,
    /// Linked when the call that registers it ends: most requests are granted by then.
    pub(super) job: Option<JobKey>,
    registered_links: Links<RequestKey>,
    queue_links: Links<RequestKey>,
    timer_links: Links<RequestKey>,
    job_links: Links<RequestKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestState {
    /// In no queue: only within a call.
    Unplaced,
    /// Waits for a slot, and a promised slot stands for it.
    Covered(PromiseKey),
    /// Waits for a slot, and no promised slot stands for it.
    Uncovered(Ask),
    /// Waits before it tries again.
    Paused { step: u8, armed_as: u64 },
    /// A task executor has been asked for this slot.
    InFlight(SlotKey),
}

/// Whether a worker is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// At the end of this call.
    Due,
    /// It was declined; asked again when the timer is due.
    Declined,
}

/// The list of all requests, oldest first, which is also the order of their deadlines.
#[derive(Debug)]
pub(super) enum Registered {}

/// The queue of waiting requests.
#[derive(Debug)]
pub(super) enum Waiting {}

/// The list of what the timer of a request is for.
#[derive(Debug)]
pub(super) enum Timer {}

/// The list of the requests of a job.
#[derive(Debug)]
pub(super) enum OfJob {}

linked!(
    PendingRequest, RequestKey,
    Registered => registered_links,
    Waiting => queue_links,
    Timer => timer_links,
    OfJob => job_links,
);

impl Timed<Registered, RequestKey> for PendingRequest {
    fn due_at(&self) -> Timestamp {
        self.deadline
    }
}

impl Timed<Timer, RequestKey> for PendingRequest {
    fn due_at(&self) -> Timestamp {
        self.timer
    }

    fn armed_as(&self) -> u64 {
        match self.state {
            RequestState::Paused { armed_as, .. } => armed_as,
            _ => 0,
        }
    }
}

impl Queued<Waiting, RequestKey> for PendingRequest {
    fn place(&self) -> u64 {
        self.sequence
    }
}

#[derive(Debug)]
pub(super) struct Job {
    id: JobId,
    requests: List<OfJob, RequestKey>,
}

impl Identified<JobId> for Job {
    fn id(&self) -> &JobId {
        &self.id
    }
}

/// All ungranted requests.
#[derive(Debug)]
pub(super) struct PendingRequests {
    pub(super) records: Records<RequestKey, PendingRequest>,
    pub(super) deadlines: DeadlineList<Registered, RequestKey>,
    pub(super) covered: ProfileQueues<Waiting, RequestKey>,
    pub(super) uncovered: ProfileQueues<Waiting, RequestKey>,
    pub(super) rpc_timeouts: DeadlineList<Timer, RequestKey>,
    pub(super) ask_repeats: DeadlineList<Timer, RequestKey>,
    pub(super) pauses: Pauses<Timer, RequestKey>,
    jobs: Records<JobKey, Job>,
    jobs_by_id: IdIndex<JobId, JobKey>,
    next_sequence: u64,
}

impl PendingRequests {
    pub(super) fn new(config: &SlotManagerConfig) -> Self {
        Self {
            records: Records::new(),
            deadlines: DeadlineList::default(),
            covered: ProfileQueues::new(),
            uncovered: ProfileQueues::new(),
            rpc_timeouts: DeadlineList::default(),
            ask_repeats: DeadlineList::default(),
            pauses: Pauses::new(config.retry_pause, config.max_retry_pause),
            jobs: Records::new(),
            jobs_by_id: IdIndex::new(),
            next_sequence: 0,
        }
    }

    /// Adds a request, unplaced and without a job.
    pub(super) fn insert(
        &mut self,
        allocation_id: AllocationId,
        job_id: JobId,
        profile: ProfileKey,
        target_address: Arc<str>,
        deadline: Timestamp,
    ) -> RequestKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let request = self.records.insert(PendingRequest {
            allocation_id,
            job_id,
            profile,
            target_address,
            sequence,
            deadline,
            state: RequestState::Unplaced,
            timer: Timestamp::MAX,
            failed_attempts: 0,
            last_failure: None,
            job: None,
            registered_links: Links::default(),
            queue_links: Links::default(),
            timer_links: Links::default(),
            job_links: Links::default(),
        });
        self.deadlines.arm(&mut self.records, request);
        request
    }

    /// Takes an unplaced request out.
    pub(super) fn remove(&mut self, request: RequestKey) -> PendingRequest {
        debug_assert_eq!(self.records[request].state, RequestState::Unplaced);
        self.deadlines.disarm(&mut self.records, request);
        if let Some(job) = self.records[request].job {
            self.jobs[job].requests.remove(&mut self.records, request);
            if self.jobs[job].requests.is_empty() {
                self.jobs_by_id.remove(&self.jobs, job);
                self.jobs.remove(job);
            }
        }
        self.records.remove(request)
    }

    /// Files a request under its job.
    pub(super) fn link_job(&mut self, request: RequestKey) {
        let id = self.records[request].job_id;
        let job = self.jobs_by_id.find(&self.jobs, &id).unwrap_or_else(|| {
            let job = self.jobs.insert(Job {
                id,
                requests: List::default(),
            });
            self.jobs_by_id.insert(&self.jobs, job);
            job
        });
        self.jobs[job].requests.push_back(&mut self.records, request);
        self.records[request].job = Some(job);
    }

    /// The requests of a job, oldest first.
    pub(super) fn of_job(&self, id: &JobId) -> Vec<RequestKey> {
        self.jobs_by_id
            .find(&self.jobs, id)
            .map(|job| self.jobs[job].requests.iter(&self.records).collect())
            .unwrap_or_default()
    }

    /// The oldest waiting request that a slot with this profile fits.
    pub(super) fn oldest_waiting(&self, profiles: &Profiles, slot: ProfileKey) -> Option<RequestKey> {
        let fitting = Fitting::Slot(&profiles[slot]);
        let covered = self.covered.first_fitting(&self.records, profiles, fitting);
        let uncovered = self.uncovered.first_fitting(&self.records, profiles, fitting);
        let (_, request) = match (covered, uncovered) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(request)
    }

    /// The jobs with their requests, for the check of invariants.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (JobKey, JobId, Vec<RequestKey>)> {
        self.jobs
            .iter()
            .map(|(key, job)| (key, job.id, job.requests.iter(&self.records).collect()))
    }

    /// Forgets all requests.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.deadlines = DeadlineList::default();
        self.covered.clear();
        self.uncovered.clear();
        self.rpc_timeouts = DeadlineList::default();
        self.ask_repeats = DeadlineList::default();
        self.pauses.clear();
        self.jobs.clear();
        self.jobs_by_id.clear();
    }
}
