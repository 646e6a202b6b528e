//! Pending requests: their records, queues, deadlines and jobs.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::error::SlotAllocationError;
use crate::message::Allocation;
use crate::{AllocationId, InstanceId, JobId, SlotManagerConfig, Timestamp};

use crate::slot_manager::collections::arena::{Arena, key};
use crate::slot_manager::collections::backoff_queues::BackoffQueues;
use crate::slot_manager::collections::deadline_list::{DeadlineList, Timed};
use crate::slot_manager::collections::fingerprint_table::IdHasher;
use crate::slot_manager::collections::id_index::{IdIndex, Identified};
use crate::slot_manager::collections::interner::Interner;
use crate::slot_manager::collections::linked_list::{Links, List, linked};
use crate::slot_manager::state::failing_jobs::FailingJobs;
use crate::slot_manager::state::profile_queues::{ProfileKey, Profiles, Queued};
use crate::slot_manager::state::promises::PromiseKey;
use crate::slot_manager::state::request_failures::{RequestFailures, TriedWorkers};
use crate::slot_manager::state::slots::SlotKey;
use crate::slot_manager::state::waiting_requests::WaitingRequests;

key! {
    /// A pending request.
    RequestKey
}

key! {
    /// A job with pending requests.
    JobKey
}

key! {
    /// A target address of pending requests. The requests of a job usually share one.
    AddressKey
}

/// The address of a job master, shared by all its requests.
#[derive(Debug, Clone, Eq)]
pub(crate) struct TargetAddress(pub(crate) Arc<str>);

impl Hash for TargetAddress {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for TargetAddress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// A request without a grant. The record takes two cache lines.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct PendingRequest {
    pub(crate) allocation_id: AllocationId,
    pub(crate) job_id: JobId,
    pub(crate) profile: ProfileKey,
    pub(crate) target_address: AddressKey,
    /// A number that grows with each registered request. It is the place of the request in all
    /// queues.
    pub(crate) sequence: u64,
    /// The time at which the request fails, if it is still pending.
    pub(crate) deadline: Timestamp,
    pub(crate) phase: RequestPhase,
    /// The end of the RPC timeout, of the backoff, or of the wait after a declined worker request.
    /// A request is in at most one of these phases.
    pub(crate) timer: Timestamp,
    /// The request waits in a group of [`WaitingRequests`] from now on, and no longer in a queue.
    pub(super) is_grouped: bool,
    /// The request is a unit of the requirements of its job. It has no deadline.
    pub(crate) is_declared: bool,
    /// Boxed, because most requests have none.
    pub(crate) failures: Option<Box<RequestFailures>>,
    /// Set at the end of the call that registers the request: most requests are granted by then.
    pub(crate) job: Option<JobKey>,
    registered_links: Links<RequestKey>,
    queue_links: Links<RequestKey>,
    timer_links: Links<RequestKey>,
    job_links: Links<RequestKey>,
}

impl PendingRequest {
    const BLANK: Self = Self {
        allocation_id: AllocationId::from_u128(0),
        job_id: JobId::from_u128(0),
        profile: ProfileKey::FIRST,
        target_address: AddressKey::FIRST,
        sequence: 0,
        deadline: Timestamp::MAX,
        phase: RequestPhase::Detached,
        timer: Timestamp::MAX,
        is_grouped: false,
        is_declared: false,
        failures: None,
        job: None,
        registered_links: Links::NONE,
        queue_links: Links::NONE,
        timer_links: Links::NONE,
        job_links: Links::NONE,
    };

    /// Returns `true` during the call that registers the request.
    pub(crate) fn is_registering(&self) -> bool {
        self.job.is_none()
    }

    pub(crate) fn allocation(&self) -> Allocation {
        Allocation {
            id: self.allocation_id,
            job: self.job_id,
        }
    }

    /// Notes the answer to an attempt that got no slot, and was no failure.
    pub(crate) fn note_answer(&mut self, answer: SlotAllocationError) {
        match &mut self.failures {
            Some(failures) => failures.last = answer,
            None => self.failures = Some(Box::new(RequestFailures::new(answer))),
        }
    }

    /// Notes a failed attempt on a worker. Returns the number of failed attempts.
    pub(crate) fn note_failure(&mut self, error: &SlotAllocationError, worker: InstanceId) -> u32 {
        self.note_answer(error.clone());
        if let Some(failures) = &mut self.failures {
            failures.count(worker);
        }
        self.failed_attempts()
    }

    pub(crate) fn failed_attempts(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.attempts)
    }

    /// Returns the answer to the last attempt that failed or found its slot occupied.
    pub(crate) fn last_failure(&self) -> Option<&SlotAllocationError> {
        self.failures.as_ref().map(|failures| &failures.last)
    }

    /// Returns `true` if an attempt of the request has failed on this registration.
    pub(crate) fn was_tried_on(&self, worker: InstanceId) -> bool {
        self.failures
            .as_ref()
            .is_some_and(|failures| failures.tried.contains(worker))
    }

    /// Counts the request as tried on every worker, if an attempt of it has failed. Returns the
    /// workers that it counts as tried on.
    pub(super) fn forget_tried_workers(&mut self) -> TriedWorkers {
        self.failures
            .as_mut()
            .map_or_else(TriedWorkers::default, |failures| failures.tried.forget())
    }

    /// Returns `true` if a declined worker request is made again before the request fails. Only then
    /// its timer is armed.
    pub(crate) fn is_ask_repeated(&self) -> bool {
        self.timer < self.deadline
    }

    /// Returns `true` if the request backs off before another attempt on a worker it was tried on.
    pub(crate) fn must_back_off(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.must_back_off)
    }
}

/// The phase of a pending request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestPhase {
    /// In no queue; only within a call.
    Detached,
    /// Waits for a slot and is bound to a promised slot.
    Bound(PromiseKey),
    /// Waits for a slot without a promised slot.
    Unbound(WorkerAsk),
    /// Backs off after a failed attempt.
    BackingOff { step: u8, armed_as: u64 },
    /// An attempt on this slot is in flight.
    InFlight(SlotKey),
}

/// The state of the worker request for an unbound request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerAsk {
    /// The present call makes it.
    Due,
    /// The resource manager declined it. It is repeated when the timer is due.
    Declined,
    /// A limit, the recovery or the start backoff forbids it for now.
    Deferred,
    /// It is never made, because no new worker could serve the request.
    Useless,
}

/// The kind of the list of all requests, oldest first. That is also the order of their deadlines.
#[derive(Debug)]
pub(crate) enum ArrivalOrder {}

/// The kind of the queues of waiting requests.
#[derive(Debug)]
pub(crate) enum Waiting {}

/// The kind of the deadline lists for the timers of requests.
#[derive(Debug)]
pub(crate) enum RequestTimer {}

/// The kind of the lists of requests of one job.
#[derive(Debug)]
pub(crate) enum OfJob {}

linked!(
    PendingRequest, RequestKey,
    ArrivalOrder => registered_links,
    Waiting => queue_links,
    RequestTimer => timer_links,
    OfJob => job_links,
);

impl Timed<ArrivalOrder, RequestKey> for PendingRequest {
    fn due_at(&self) -> Timestamp {
        self.deadline
    }
}

impl Timed<RequestTimer, RequestKey> for PendingRequest {
    fn due_at(&self) -> Timestamp {
        self.timer
    }

    fn armed_as(&self) -> u64 {
        match self.phase {
            RequestPhase::BackingOff { armed_as, .. } => armed_as,
            _ => 0,
        }
    }
}

impl Queued<Waiting, RequestKey> for PendingRequest {
    fn place(&self) -> u64 {
        self.sequence
    }
}

/// A job and its pending requests, oldest first.
#[derive(Debug)]
pub(crate) struct Job {
    id: JobId,
    requests: List<OfJob, RequestKey>,
    num_requests: usize,
}

impl Job {
    /// Makes a request the last one, up to its own links: the caller sets them to those returned.
    #[inline(always)]
    fn append(&mut self, records: &mut Arena<RequestKey, PendingRequest>, request: RequestKey) -> Links<RequestKey> {
        self.num_requests += 1;
        self.requests.append(records, request)
    }
}

impl Identified<JobId> for Job {
    fn id(&self) -> &JobId {
        &self.id
    }
}

/// All pending requests.
#[derive(Debug)]
pub(crate) struct PendingRequests {
    pub(crate) records: Arena<RequestKey, PendingRequest>,
    pub(crate) deadlines: DeadlineList<ArrivalOrder, RequestKey>,
    /// The units of declared requirements, oldest first. The other requests are in `deadlines`.
    undated: List<ArrivalOrder, RequestKey>,
    pub(crate) waiting: WaitingRequests,
    pub(crate) failing_jobs: FailingJobs,
    pub(crate) rpc_timeouts: DeadlineList<RequestTimer, RequestKey>,
    pub(crate) ask_retries: DeadlineList<RequestTimer, RequestKey>,
    pub(crate) backoffs: BackoffQueues<RequestTimer, RequestKey>,
    pub(crate) addresses: Interner<AddressKey, TargetAddress>,
    jobs: Arena<JobKey, Job>,
    jobs_by_id: IdIndex<JobId, JobKey>,
    /// The job of the last linked request. The next request is often of the same job.
    recent_job: Option<JobKey>,
    /// A request of a suspect job may wait though a free slot fits.
    pub(crate) held_back: bool,
    /// A reason to hold back requests of suspect jobs may be gone.
    pub(crate) may_release_held_back: bool,
    /// The request that the present call registers. It is not linked to its job yet.
    registering: Option<RequestKey>,
    next_sequence: u64,
}

impl PendingRequests {
    pub(crate) fn new(config: &SlotManagerConfig, hasher: &IdHasher) -> Self {
        Self {
            records: Arena::new(),
            deadlines: DeadlineList::default(),
            undated: List::default(),
            waiting: WaitingRequests::new(),
            failing_jobs: FailingJobs::default(),
            rpc_timeouts: DeadlineList::default(),
            ask_retries: DeadlineList::default(),
            backoffs: BackoffQueues::new(config.retry_backoff, config.max_retry_backoff),
            addresses: Interner::with_hasher(hasher.clone()),
            jobs: Arena::new(),
            jobs_by_id: IdIndex::with_hasher(hasher.clone()),
            recent_job: None,
            held_back: false,
            may_release_held_back: false,
            registering: None,
            next_sequence: 0,
        }
    }

    /// Adds a request, detached and without a job.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        allocation_id: AllocationId,
        job_id: JobId,
        profile: ProfileKey,
        target_address: Arc<str>,
        deadline: Timestamp,
    ) -> RequestKey {
        let target_address = self.addresses.acquire(&TargetAddress(target_address), 1);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        // A constant, then its fields: a record made elsewhere would be copied in pieces.
        let request = self.records.insert(PendingRequest::BLANK);
        let registered_links = self.deadlines.link(&mut self.records, request, deadline, 0);
        let record = &mut self.records[request];
        record.allocation_id = allocation_id;
        record.job_id = job_id;
        record.profile = profile;
        record.target_address = target_address;
        record.sequence = sequence;
        record.deadline = deadline;
        record.registered_links = registered_links;
        self.registering = Some(request);
        self.failing_jobs.request_added(job_id);
        request
    }

    /// Adds a unit of declared requirements, detached and linked to its job.
    pub(crate) fn insert_unit(
        &mut self,
        allocation_id: AllocationId,
        job_id: JobId,
        profile: ProfileKey,
        target_address: Arc<str>,
    ) -> RequestKey {
        let target_address = self.addresses.acquire(&TargetAddress(target_address), 1);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let request = self.records.insert(PendingRequest {
            allocation_id,
            job_id,
            profile,
            target_address,
            sequence,
            is_declared: true,
            ..PendingRequest::BLANK
        });
        self.undated.push_back(&mut self.records, request);
        self.failing_jobs.request_added(job_id);
        self.link_job(request);
        request
    }

    /// Gives all requests of a job another target address, which holds for attempts made from now
    /// on.
    pub(crate) fn set_target_address(&mut self, job_id: JobId, target_address: &Arc<str>) {
        for request in self.of_job(&job_id) {
            let former = self.records[request].target_address;
            let target_address = self.addresses.acquire(&TargetAddress(Arc::clone(target_address)), 1);
            self.records[request].target_address = target_address;
            self.addresses.release(former, 1);
        }
    }

    /// Lets a new request wait in a queue, unbound, and ends its registration. Its worker request
    /// was declined and is repeated at the time of `timer`.
    #[inline(always)]
    pub(crate) fn enqueue_declined(&mut self, profiles: &Profiles, request: RequestKey, timer: Timestamp) {
        let record = &self.records[request];
        let (job_id, profile, sequence) = (record.job_id, record.profile, record.sequence);
        let (job, job_links) = self.append_to_job(request, job_id);
        let queue_links = (self.waiting).link_unbound(&mut self.records, profiles, profile, sequence, request);
        let record = &mut self.records[request];
        record.job = Some(job);
        record.queue_links = queue_links;
        record.job_links = job_links;
        self.set_declined(request, timer);
    }

    /// Notes that the worker request of an unbound request was declined. It is repeated at the time
    /// of `timer`, if the request has not failed by then.
    #[inline(always)]
    pub(crate) fn set_declined(&mut self, request: RequestKey, timer: Timestamp) {
        let record = &mut self.records[request];
        record.phase = RequestPhase::Unbound(WorkerAsk::Declined);
        record.timer = timer;
        if record.is_ask_repeated() {
            self.ask_retries.arm(&mut self.records, request);
        }
    }

    /// Disarms the timer of a declined worker request, if it is armed.
    pub(crate) fn disarm_ask_retry(&mut self, request: RequestKey) {
        if self.records[request].is_ask_repeated() {
            self.ask_retries.disarm(&mut self.records, request);
        }
    }

    /// Puts a new request in flight, and ends its registration. Its RPC timeout ends at the time of
    /// `timer`.
    #[inline(always)]
    pub(crate) fn put_in_flight(&mut self, request: RequestKey, slot: SlotKey, timer: Timestamp) {
        let (job, job_links) = self.append_to_job(request, self.records[request].job_id);
        let timer_links = self.rpc_timeouts.link(&mut self.records, request, timer, 0);
        let record = &mut self.records[request];
        record.phase = RequestPhase::InFlight(slot);
        record.timer = timer;
        record.job = Some(job);
        record.timer_links = timer_links;
        record.job_links = job_links;
    }

    /// Removes a request that waits unbound in a queue, and returns its profile. Returns `None`,
    /// without a change, if the request waits otherwise or a job fails.
    #[inline(always)]
    pub(crate) fn remove_queued(&mut self, request: RequestKey) -> Option<ProfileKey> {
        let record = &self.records[request];
        let RequestPhase::Unbound(ask) = record.phase else {
            return None;
        };
        if ask == WorkerAsk::Deferred || record.is_grouped || !self.failing_jobs.is_empty() {
            return None;
        }
        let record = self.records.remove(request);
        let PendingRequest {
            profile,
            sequence,
            queue_links,
            timer_links,
            ..
        } = record;
        (self.waiting).unlink_unbound(&mut self.records, profile, sequence, request, queue_links);
        if ask == WorkerAsk::Declined && record.is_ask_repeated() {
            self.ask_retries.unlink(&mut self.records, request, timer_links);
        }
        self.unlink(request, &record);
        Some(profile)
    }

    /// Removes a detached request and returns its profile.
    #[inline(always)]
    pub(crate) fn remove(&mut self, request: RequestKey) -> ProfileKey {
        debug_assert_eq!(self.records[request].phase, RequestPhase::Detached);
        let record = self.records.remove(request);
        self.unlink(request, &record);
        if !self.failing_jobs.is_empty() {
            let was_suspect = self.failing_jobs.request_removed(record.job_id);
            self.may_release_held_back |=
                was_suspect || (self.failing_jobs.num_suspects() > 0 && !self.has_requests_of_other_jobs());
        }
        record.profile
    }

    /// Takes a removed request out of the deadlines and out of its job.
    #[inline(always)]
    fn unlink(&mut self, request: RequestKey, removed: &PendingRequest) {
        match removed.is_declared {
            true => self.undated.unlink(&mut self.records, removed.registered_links),
            false => (self.deadlines).unlink(&mut self.records, request, removed.registered_links),
        }
        self.addresses.release(removed.target_address, 1);
        match removed.job {
            Some(job) => {
                let members = &mut self.jobs[job];
                members.requests.unlink(&mut self.records, removed.job_links);
                members.num_requests -= 1;
                if members.num_requests == 0 {
                    self.remove_job(job);
                }
            }
            None => self.registering = None,
        }
    }

    fn remove_job(&mut self, job: JobKey) {
        self.jobs_by_id.remove(&self.jobs, job);
        self.jobs.remove(job);
        if self.recent_job == Some(job) {
            self.recent_job = None;
        }
    }

    /// Links a request to its job, which ends its registration.
    #[inline]
    pub(crate) fn link_job(&mut self, request: RequestKey) {
        let (job, job_links) = self.append_to_job(request, self.records[request].job_id);
        let record = &mut self.records[request];
        record.job = Some(job);
        record.job_links = job_links;
    }

    /// Makes a request the last of its job, up to its own fields: the caller sets them to the
    /// returned job and links. The registration of the request ends.
    #[inline(always)]
    fn append_to_job(&mut self, request: RequestKey, id: JobId) -> (JobKey, Links<RequestKey>) {
        self.registering = None;
        if let Some(recent) = self.recent_job {
            let job = &mut self.jobs[recent];
            if job.id == id {
                return (recent, job.append(&mut self.records, request));
            }
        }
        let job = self.find_or_insert_job(id);
        (job, self.jobs[job].append(&mut self.records, request))
    }

    #[inline(never)]
    fn find_or_insert_job(&mut self, id: JobId) -> JobKey {
        let known = self.jobs_by_id.find(&self.jobs, &id);
        let job = known.unwrap_or_else(|| {
            let job = self.jobs.insert(Job {
                id,
                requests: List::default(),
                num_requests: 0,
            });
            self.jobs_by_id.insert(&self.jobs, job);
            job
        });
        self.recent_job = Some(job);
        job
    }

    /// Returns the number of pending requests of a job.
    pub(crate) fn num_requests_of(&self, id: JobId) -> usize {
        let linked = self
            .jobs_by_id
            .find(&self.jobs, &id)
            .map_or(0, |job| self.jobs[job].num_requests);
        let registering = self.registering.map(|request| self.records[request].job_id);
        linked + usize::from(registering == Some(id))
    }

    /// Notes a failed attempt of a request in the streak of its job. Returns `true` if the job is
    /// suspect from now on.
    pub(crate) fn note_failure_of_job(&mut self, request: RequestKey) -> bool {
        let Allocation { id, job } = self.records[request].allocation();
        if !self.failing_jobs.contains(job) {
            self.failing_jobs.add(job, id, self.num_requests_of(job));
        }
        let is_new_suspect = self.failing_jobs.note_failure(job, id);
        // The last job that was not suspect may be suspect now.
        self.may_release_held_back |= is_new_suspect && !self.has_requests_of_other_jobs();
        is_new_suspect
    }

    /// Notes the end of an attempt: requests of other suspect jobs may have waited for it.
    #[inline]
    pub(crate) fn note_end_of_attempt(&mut self, request: RequestKey) {
        self.may_release_held_back |= self.failing_jobs.is_suspect(self.records[request].job_id);
    }

    /// Returns `true` while a job that is not suspect has a pending request.
    pub(crate) fn has_requests_of_other_jobs(&self) -> bool {
        self.records.len() > self.failing_jobs.num_suspect_requests()
    }

    /// Returns the requests of a job, oldest first.
    pub(crate) fn of_job(&self, id: &JobId) -> Vec<RequestKey> {
        self.jobs_by_id
            .find(&self.jobs, id)
            .map(|job| self.jobs[job].requests.iter(&self.records).collect())
            .unwrap_or_default()
    }

    /// Returns `true` if a job has pending requests.
    pub(crate) fn has_job(&self, id: &JobId) -> bool {
        self.jobs_by_id.find(&self.jobs, id).is_some()
    }

    /// Returns the requests of a job, newest first.
    pub(crate) fn newest_of_job(&self, id: &JobId) -> impl Iterator<Item = RequestKey> {
        let job = self.jobs_by_id.find(&self.jobs, id);
        let newest = job.and_then(|job| self.jobs[job].requests.tail());
        std::iter::successors(newest, |request| List::<OfJob, _>::before(&self.records, *request))
    }

    /// Returns all requests, oldest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = RequestKey> {
        let mut dated = self.deadlines.iter(&self.records).peekable();
        let mut undated = self.undated.iter(&self.records).peekable();
        let sequence = |request: &RequestKey| self.records[*request].sequence;
        std::iter::from_fn(move || match (dated.peek(), undated.peek()) {
            (Some(one), Some(other)) if sequence(other) < sequence(one) => undated.next(),
            (Some(_), _) => dated.next(),
            (None, _) => undated.next(),
        })
    }

    /// Returns the units of declared requirements; for the check of invariants.
    pub(crate) fn units(&self) -> impl Iterator<Item = RequestKey> {
        self.undated.iter(&self.records)
    }

    /// Returns all jobs with their requests; for the check of invariants.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobKey, JobId, Vec<RequestKey>)> {
        self.jobs
            .iter()
            .map(|(key, job)| (key, job.id, job.requests.iter(&self.records).collect()))
    }

    /// Removes all requests.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.deadlines = DeadlineList::default();
        self.undated = List::default();
        self.waiting.clear();
        self.failing_jobs.clear();
        self.rpc_timeouts = DeadlineList::default();
        self.ask_retries = DeadlineList::default();
        self.backoffs.clear();
        self.addresses.clear();
        self.jobs.clear();
        self.jobs_by_id.clear();
        self.recent_job = None;
        self.held_back = false;
        self.may_release_held_back = false;
        self.registering = None;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn addresses_are_compared_by_their_text() {
        let address = |text: &str| TargetAddress(text.into());
        let hash = |text: &str| BuildHasherDefault::<DefaultHasher>::default().hash_one(address(text));
        assert_eq!(address("a"), address("a"));
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(address("a"), address("b"));
        assert_ne!(hash("a"), hash("b"));
    }
}
