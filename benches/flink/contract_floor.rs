//! The contract floor: the least work that we know to keep what the crate promises for the messages
//! of four rows. The rows are `free slot`, `request in flight, then acknowledge` by futures,
//! `request waits, then cancel`, and `unregister task manager of 10 allocated slots`.
//!
//! It is written for these messages only, with the hash maps of the standard library and the hasher
//! of the crate. It shares no code with the manager. Its actions and gateways are those that the
//! manager has in these workloads, and it calls them as often.
//!
//! **Kept in every call.** The time is read once, and never goes back. Without a leadership, or
//! after its lease, nothing changes. Each change is counted. The driving task is woken if a
//! deadline comes before the armed one, or if a future became pending. The result is an outcome of
//! the crate.
//!
//! **Kept by row.**
//!
//! - A freed slot: the allocation must hold this slot of this task manager. No request waits that
//!   the slot would serve. The allocation id is forgotten. The slot is the last of the free ones of
//!   its profile. The totals and the usage of the task manager change. Once none of its slots is
//!   used, the task manager is idle, until its deadline.
//! - A request: its allocation id is not known, whether it waits, is in flight or granted. The free
//!   slot that fits and is free for longest is chosen. A record keeps the job, the address, the
//!   profile, the age and the deadline. It is in the order of deadlines, and among the requests of
//!   its job, so that a job can be unregistered in the time of its requests.
//! - A request that waits: a worker is requested, and declined. The request is the last of its
//!   profile. The worker is requested again later only if that is before the deadline of the
//!   request, which is not so here. A cancellation takes all of it back.
//! - A request in flight: the attempt has a number. The slot is not free, counts as in flight, and
//!   the RPC timeout runs. The future is polled once, with a waker for any thread. A woken future
//!   is polled again by the next poll of the floor. Answers are applied in the order of attempts,
//!   and one of an earlier attempt changes nothing. An acknowledgement grants the slot and is
//!   notified.
//! - A task manager that goes: its two ids, its slots and their allocation ids are forgotten. Each
//!   lost grant is notified in the order of the slots, with its cause.
//!
//! **Kept with less than the manager needs.** A delay that is armed too early stays armed: that
//! costs a poll when it is over, but no new delay in most calls. The slots of a task manager are
//! next to each other. Tables have room for some requests from the start, and grow at once, not in
//! steps.
//!
//! **Left out.** All that these messages do not reach, which panics: failures and backoff, answers
//! of other kinds, deadlines that are due, duplicates, and slots that become free while requests
//! wait. All options: limits, policies, matching strategies, promised slots, declared requirements
//! and blocked workers. Later reports, revisions, and slots that hold the allocation of another
//! one. The counters, the log, the queries, and the memory of slots that were freed lately.
//!
//! **Two differences that cost nothing.** Only the crate can change the number in a slot id, and
//! take a request apart without copying it. So the number of a notified slot is passed beside its
//! id, and requests come in parts.

mod answers;
mod arena;
mod fifo;
mod profiles;
mod records;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::FixedState;
use slot_manager::message::{
    AllocateSlot, Allocation, AllocationFailureCause, GrantLoss, SlotAnswer, SlotFreed, WorkerPromise,
};
use slot_manager::outcome::{
    AllocationStatus, CancelOutcome, SlotFreedOutcome, SlotRequestOutcome, UnregistrationOutcome,
};
use slot_manager::{
    AllocationId, InstanceId, JobId, LeaderId, ResourceId, ResourceManagerActions, ScheduledExecutor, SlotId,
    SlotReport, TaskExecutorGateway, Timestamp, WorkerRequestId,
};

use self::answers::{Answer, Answers};
use self::arena::Arena;
use self::fifo::{Fifo, Links, NONE};
use self::profiles::Profiles;
pub(crate) use self::records::RequestParts;
use self::records::{Attempt, Holder, Job, Phase, Request, Slot, TaskManager};
use crate::outside::{Count, Counter, CounterDelay};

type Map<K, V> = HashMap<K, V, FixedState>;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const RPC_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of requests and allocations that the tables have room for from the start.
const ROOM: usize = 1024;

pub(crate) struct ContractFloor<G: TaskExecutorGateway> {
    leader_id: Option<LeaderId>,
    lease_ends: Timestamp,
    clock: Counter,
    now: Timestamp,
    pub(crate) actions: Count,
    task_managers: Arena<TaskManager<G>>,
    by_instance: Map<InstanceId, u32>,
    by_resource: Map<ResourceId, u32>,
    slots: Vec<Slot>,
    requests: Arena<Request>,
    num_waiting: usize,
    allocations: Map<AllocationId, Holder>,
    profiles: Profiles,
    jobs: Arena<Job>,
    jobs_by_id: Map<JobId, u32>,
    /// The job of the last request. The next one is often of the same job.
    recent_job: u32,
    deadlines: Fifo,
    rpc_timeouts: Fifo,
    idle: Fifo,
    answers: Answers<G::RequestSlotFuture>,
    /// Answers at hand; empty between calls.
    at_hand: Vec<Answer>,
    next_sequence: u64,
    attempts: u64,
    worker_requests: u64,
    changes: u64,
    /// The earliest of the deadlines that are new since the delay was armed.
    new_deadline: Timestamp,
    /// No deadline is before this time, but for the new ones.
    armed_for: Timestamp,
    delay: Pin<Box<Option<CounterDelay>>>,
}

impl<G: TaskExecutorGateway> ContractFloor<G> {
    /// Returns a floor that leads.
    pub(crate) fn started() -> Self {
        Self {
            leader_id: Some(LeaderId::from_u128(1)),
            lease_ends: Timestamp::MAX,
            clock: Counter::default(),
            now: Timestamp::ZERO,
            actions: Count::default(),
            task_managers: Arena::default(),
            by_instance: Map::default(),
            by_resource: Map::default(),
            slots: Vec::new(),
            requests: Arena::with_room(ROOM),
            num_waiting: 0,
            allocations: Map::with_capacity_and_hasher(ROOM, FixedState::default()),
            profiles: Profiles::default(),
            jobs: Arena::default(),
            jobs_by_id: Map::default(),
            recent_job: NONE,
            deadlines: Fifo::default(),
            rpc_timeouts: Fifo::default(),
            idle: Fifo::default(),
            answers: Answers::with_room(ROOM),
            at_hand: Vec::new(),
            next_sequence: 0,
            attempts: 0,
            worker_requests: 0,
            changes: 0,
            new_deadline: Timestamp::MAX,
            armed_for: Timestamp::MAX,
            delay: Box::pin(None),
        }
    }

    /// Returns the leader at the time of this call, or `None` without a leadership.
    #[inline(always)]
    fn begin(&mut self) -> Option<LeaderId> {
        self.now = self.now.max(self.clock.now());
        self.leader_id.filter(|_| self.now < self.lease_ends)
    }

    /// Ends a call that has changed the state.
    #[inline(always)]
    fn finish(&mut self) {
        self.changes += 1;
        if self.new_deadline < self.armed_for {
            self.answers.wake_task();
        }
    }

    /// Registers a task manager with its first report, in which all slots are free and in the order
    /// of their numbers. It is not measured.
    pub(crate) fn register(&mut self, instance_id: InstanceId, mut gateway: G, report: &SlotReport) {
        gateway.confirm_registration();
        let (task_manager, first) = (self.task_managers.next(), self.slots.len() as u32);
        let first_slot_id = report.statuses()[0].slot_id().clone();
        for status in report.statuses() {
            let at = self.slots.len() as u32;
            let profile = self.profiles.acquire(status.resource_profile());
            self.slots.push(Slot {
                number: status.slot_id().slot_number(),
                task_manager,
                profile,
                phase: Phase::Removed,
                links: Links::NONE,
            });
            self.offer(at, profile);
        }
        self.by_instance.insert(instance_id, task_manager);
        self.by_resource
            .insert(first_slot_id.resource_id().clone(), task_manager);
        self.task_managers.insert(TaskManager {
            instance_id,
            first_slot_id,
            gateway,
            slots: first..self.slots.len() as u32,
            used: 0,
            idle_since: None,
            release_at: Timestamp::MAX,
            links: Links::NONE,
        });
        self.begin_idle_period(task_manager);
        self.finish();
    }

    /// Makes a slot the last of the free ones of its profile.
    #[inline(always)]
    fn offer(&mut self, at: u32, profile: u32) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let profile = &mut self.profiles.arena.records[profile as usize];
        profile.num_free += 1;
        let links = profile.free.append(&mut self.slots, at, |slot| &mut slot.links);
        let slot = &mut self.slots[at as usize];
        slot.phase = Phase::Free { sequence };
        slot.links = links;
    }

    fn begin_idle_period(&mut self, at: u32) {
        let links = self
            .idle
            .append(&mut self.task_managers.records, at, |owner| &mut owner.links);
        let owner = &mut self.task_managers.records[at as usize];
        owner.idle_since = Some(self.now);
        owner.release_at = self.now + IDLE_TIMEOUT;
        owner.links = links;
        self.new_deadline = self.new_deadline.min(owner.release_at);
    }

    #[inline(always)]
    fn use_slot_of(&mut self, at: u32) {
        let owner = &mut self.task_managers.records[at as usize];
        owner.used += 1;
        if owner.idle_since.take().is_some() {
            let links = owner.links;
            self.idle
                .remove(&mut self.task_managers.records, links, |owner| &mut owner.links);
        }
    }
}

/// Freed slots.
impl<G: TaskExecutorGateway> ContractFloor<G> {
    /// Takes the message that a slot is free.
    #[inline(always)]
    pub(crate) fn free(&mut self, freed: &SlotFreed) -> SlotFreedOutcome {
        if self.begin().is_none() {
            return SlotFreedOutcome::Unknown;
        }
        if self.num_waiting > 0 || freed.revision().is_some() {
            beyond("a freed slot is requested, or its message has a revision");
        }
        let Entry::Occupied(place) = self.allocations.entry(freed.allocation_id()) else {
            return SlotFreedOutcome::Unknown;
        };
        let &Holder::Slot(at) = place.get() else {
            beyond("the allocation is not granted yet");
        };
        let slot = &self.slots[at as usize];
        let (profile, task_manager) = (slot.profile, slot.task_manager);
        let owner = &mut self.task_managers.records[task_manager as usize];
        if slot.number != freed.slot_id().slot_number()
            || owner.first_slot_id.resource_id() != freed.slot_id().resource_id()
        {
            beyond("the allocation holds another slot");
        }
        place.remove();
        owner.used -= 1;
        if owner.used == 0 {
            self.begin_idle_period(task_manager);
        }
        self.profiles.arena.records[profile as usize].held -= 1;
        self.offer(at, profile);
        self.finish();
        SlotFreedOutcome::Freed
    }
}

/// Requests.
impl<G: TaskExecutorGateway> ContractFloor<G> {
    /// Takes a request.
    #[inline(always)]
    pub(crate) fn request(&mut self, request: RequestParts) -> SlotRequestOutcome {
        let Some(leader_id) = self.begin() else {
            beyond("there is no leadership");
        };
        match self.profiles.first_fit(&self.slots, &request.resource_profile) {
            Some(slot) => self.attempt(leader_id, slot, request),
            None => self.wait(leader_id, request),
        }
    }

    /// Asks the task executor of a slot, and grants the slot or awaits the answer.
    #[inline(always)]
    fn attempt(&mut self, leader_id: LeaderId, at: u32, request: RequestParts) -> SlotRequestOutcome {
        let Entry::Vacant(place) = self.allocations.entry(request.allocation_id) else {
            beyond("the request is known");
        };
        self.attempts += 1;
        let number = self.attempts;
        let slot = &self.slots[at as usize];
        let (profile, task_manager, links) = (slot.profile, slot.task_manager, slot.links);
        let owner = &mut self.task_managers.records[task_manager as usize];
        let message = AllocateSlot {
            slot_id: SlotId::new(owner.first_slot_id.resource_id().clone(), slot.number),
            job_id: request.job_id,
            allocation_id: request.allocation_id,
            resource_profile: request.resource_profile,
            target_address: request.target_address,
            leader_id,
            instance_id: owner.instance_id,
            attempt: number,
        };
        let allocation = Allocation {
            id: message.allocation_id,
            job: message.job_id,
        };
        let record = &mut self.profiles.arena.records[profile as usize];
        record.num_free -= 1;
        record.free.remove(&mut self.slots, links, |slot| &mut slot.links);
        let outcome = match owner.gateway.request_slot(&message) {
            SlotAnswer::Ready(Ok(_)) => {
                place.insert(Holder::Slot(at));
                record.held += 1;
                self.slots[at as usize].phase = Phase::Held(allocation);
                let slot_id = message.slot_id;
                self.actions
                    .notify_slot_allocated(allocation.job, allocation.id, &slot_id);
                AllocationStatus::Granted { slot_id }
            }
            SlotAnswer::Future(future) => {
                let Err(awaited) = self.answers.start(at, number, future) else {
                    beyond("the future is ready at once");
                };
                let key = self.requests.next();
                place.insert(Holder::Request(key));
                record.in_flight += 1;
                self.slots[at as usize].phase = Phase::InFlight(Attempt {
                    number,
                    request: key,
                    place: awaited,
                });
                let rpc_timeout = self.now + RPC_TIMEOUT;
                self.new_deadline = self.new_deadline.min(rpc_timeout);
                let by_phase =
                    (self.rpc_timeouts).append(&mut self.requests.records, key, |request| &mut request.by_phase);
                let profile = self.profiles.acquire(&message.resource_profile);
                self.insert(Request {
                    rpc_timeout,
                    slot: at,
                    by_phase,
                    ..self.record(allocation, profile, message.target_address)
                });
                // A future that became pending is driven.
                self.answers.wake_task();
                let slot_id = message.slot_id;
                AllocationStatus::InFlight { slot_id }
            }
            _ => beyond("the task executor refuses or answers later"),
        };
        self.use_slot_of(task_manager);
        self.finish();
        SlotRequestOutcome::Accepted(outcome)
    }

    /// Requests a worker, and lets the request wait.
    #[inline(always)]
    fn wait(&mut self, leader_id: LeaderId, request: RequestParts) -> SlotRequestOutcome {
        let Entry::Vacant(place) = self.allocations.entry(request.allocation_id) else {
            beyond("the request is known");
        };
        let key = self.requests.next();
        place.insert(Holder::Request(key));
        self.worker_requests += 1;
        let worker_request = WorkerRequestId::new(leader_id, self.worker_requests);
        let answer = self
            .actions
            .allocate_resource(worker_request, &request.resource_profile);
        if !matches!(answer, Ok(WorkerPromise::Declined)) {
            beyond("a worker is promised");
        }
        let profile = self.profiles.acquire(&request.resource_profile);
        let by_phase =
            self.profiles.arena.records[profile as usize]
                .waiting
                .append(&mut self.requests.records, key, |request| &mut request.by_phase);
        let allocation = Allocation {
            id: request.allocation_id,
            job: request.job_id,
        };
        self.insert(Request {
            by_phase,
            ..self.record(allocation, profile, request.target_address)
        });
        self.num_waiting += 1;
        self.finish();
        SlotRequestOutcome::Accepted(AllocationStatus::Waiting)
    }

    /// Returns the record of a request that neither waits nor is in flight yet.
    #[inline(always)]
    fn record(&self, allocation: Allocation, profile: u32, target_address: Arc<str>) -> Request {
        Request {
            allocation,
            target_address: Some(target_address),
            sequence: self.next_sequence,
            deadline: self.now + REQUEST_TIMEOUT,
            rpc_timeout: Timestamp::MAX,
            profile,
            job: NONE,
            slot: NONE,
            by_deadline: Links::NONE,
            by_phase: Links::NONE,
            of_job: Links::NONE,
        }
    }

    /// Adds a request to the order of deadlines and to its job.
    #[inline(always)]
    fn insert(&mut self, mut request: Request) {
        let key = self.requests.next();
        let records = &mut self.requests.records;
        self.next_sequence += 1;
        self.new_deadline = self.new_deadline.min(request.deadline);
        request.by_deadline = self.deadlines.append(records, key, |request| &mut request.by_deadline);
        request.job = match self.jobs.records.get(self.recent_job as usize) {
            Some(recent) if recent.id == request.allocation.job && recent.requests.first != NONE => self.recent_job,
            _ => find_or_insert_job(&mut self.jobs, &mut self.jobs_by_id, request.allocation.job),
        };
        self.recent_job = request.job;
        request.of_job = self.jobs.records[request.job as usize]
            .requests
            .append(records, key, |request| &mut request.of_job);
        self.requests.insert(request);
    }

    /// Cancels a request.
    #[inline(always)]
    pub(crate) fn cancel(&mut self, allocation_id: AllocationId) -> CancelOutcome {
        if self.begin().is_none() {
            return CancelOutcome::Unknown;
        }
        let Entry::Occupied(place) = self.allocations.entry(allocation_id) else {
            return CancelOutcome::Unknown;
        };
        let &Holder::Request(key) = place.get() else {
            beyond("the request is granted");
        };
        let &Request {
            slot,
            profile,
            by_phase,
            ..
        } = &self.requests.records[key as usize];
        if slot != NONE {
            beyond("the request is in flight");
        }
        place.remove();
        self.profiles.arena.records[profile as usize]
            .waiting
            .remove(&mut self.requests.records, by_phase, |request| &mut request.by_phase);
        self.forget(key);
        self.num_waiting -= 1;
        self.finish();
        CancelOutcome::Cancelled
    }

    /// Forgets a request that neither waits nor is in flight any more.
    #[inline(always)]
    fn forget(&mut self, key: u32) {
        let records = &mut self.requests.records;
        let request = &mut records[key as usize];
        request.target_address = None;
        let &mut Request {
            profile,
            job,
            by_deadline,
            of_job,
            ..
        } = request;
        self.deadlines
            .remove(records, by_deadline, |request| &mut request.by_deadline);
        let owner = &mut self.jobs.records[job as usize];
        owner.requests.remove(records, of_job, |request| &mut request.of_job);
        if owner.requests.first == NONE {
            self.jobs_by_id.remove(&owner.id);
            self.jobs.vacate(job);
        }
        self.profiles.release(profile, 1);
        self.requests.vacate(key);
    }
}

#[inline(never)]
fn find_or_insert_job(jobs: &mut Arena<Job>, by_id: &mut Map<JobId, u32>, id: JobId) -> u32 {
    *by_id.entry(id).or_insert_with(|| {
        let job = jobs.next();
        let requests = Fifo::default();
        jobs.insert(Job { id, requests });
        job
    })
}

/// Answers and time.
impl<G: TaskExecutorGateway> ContractFloor<G> {
    /// Applies ready answers, and arms the delay. Returns the number of answers.
    #[inline(always)]
    pub(crate) fn poll_progress(&mut self, context: &Context<'_>) -> Poll<usize> {
        self.answers.take_woken(context.waker());
        if self.begin().is_none() {
            return Poll::Pending;
        }
        let mut at_hand = mem::take(&mut self.at_hand);
        self.answers.poll_woken(&mut at_hand);
        let events = at_hand.len();
        at_hand.drain(..).for_each(|answer| self.apply(answer));
        self.at_hand = at_hand;
        if self.new_deadline < self.armed_for || self.armed_for <= self.now {
            self.arm();
        }
        match events {
            0 => Poll::Pending,
            _ => Poll::Ready(events),
        }
    }

    /// Grants the slot of an attempt that was acknowledged.
    #[inline(always)]
    fn apply(&mut self, answer: Answer) {
        let slot = &mut self.slots[answer.slot as usize];
        let attempt = match slot.phase {
            Phase::InFlight(attempt) if attempt.number == answer.attempt => attempt,
            _ => return,
        };
        if !matches!(&answer.result, Ok(acknowledge) if acknowledge.revision().is_none()) {
            beyond("the attempt failed, or its answer has a revision");
        }
        let request = &self.requests.records[attempt.request as usize];
        let (allocation, by_phase) = (request.allocation, request.by_phase);
        slot.phase = Phase::Held(allocation);
        let (number, owner) = (slot.number, slot.task_manager);
        let profile = &mut self.profiles.arena.records[slot.profile as usize];
        profile.in_flight -= 1;
        profile.held += 1;
        self.rpc_timeouts
            .remove(&mut self.requests.records, by_phase, |request| &mut request.by_phase);
        self.forget(attempt.request);
        if let Some(holder) = self.allocations.get_mut(&allocation.id) {
            *holder = Holder::Slot(answer.slot);
        }
        self.changes += 1;
        let owner = &self.task_managers.records[owner as usize];
        black_box(number);
        self.actions
            .notify_slot_allocated(allocation.job, allocation.id, &owner.first_slot_id);
    }

    /// Arms the delay for the earliest deadline.
    #[inline(never)]
    fn arm(&mut self) {
        let requests = &self.requests.records;
        let earliest = [
            requests.get(self.deadlines.first as usize).map(|first| first.deadline),
            requests
                .get(self.rpc_timeouts.first as usize)
                .map(|first| first.rpc_timeout),
            self.task_managers
                .records
                .get(self.idle.first as usize)
                .map(|first| first.release_at),
        ];
        let earliest = earliest.into_iter().flatten().min().unwrap_or(Timestamp::MAX);
        if earliest <= self.now {
            beyond("a deadline is due");
        }
        self.delay.set(None);
        (self.armed_for, self.new_deadline) = (earliest, Timestamp::MAX);
        if earliest != Timestamp::MAX {
            let delay = self.clock.delay_until(earliest);
            self.delay.set(Some(delay));
            if let Some(delay) = self.delay.as_mut().as_pin_mut() {
                let _ = delay.poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
}

/// Task managers that go.
impl<G: TaskExecutorGateway> ContractFloor<G> {
    /// Forgets a task manager.
    #[inline(always)]
    pub(crate) fn unregister(&mut self, instance_id: InstanceId, cause: Arc<str>) -> UnregistrationOutcome {
        if self.begin().is_none() {
            return UnregistrationOutcome::Unknown;
        }
        let Some(at) = self.by_instance.remove(&instance_id) else {
            return UnregistrationOutcome::Unknown;
        };
        let owner = &mut self.task_managers.records[at as usize];
        self.by_resource.remove(owner.first_slot_id.resource_id());
        if owner.idle_since.take().is_some() {
            let links = owner.links;
            self.idle
                .remove(&mut self.task_managers.records, links, |owner| &mut owner.links);
        }
        let owner = &mut self.task_managers.records[at as usize];
        let cause = AllocationFailureCause::GrantLost {
            slot_id: owner.first_slot_id.clone(),
            loss: GrantLoss::TaskManagerUnregistered { instance_id, cause },
        };
        for slot in &mut self.slots[owner.slots.start as usize..owner.slots.end as usize] {
            let Phase::Held(Allocation { id, job }) = mem::replace(&mut slot.phase, Phase::Removed) else {
                beyond("a slot is free or in flight");
            };
            self.allocations.remove(&id);
            self.profiles.arena.records[slot.profile as usize].held -= 1;
            self.profiles.release(slot.profile, 1);
            black_box(slot.number);
            self.actions.notify_allocation_failure(job, id, &cause);
        }
        self.task_managers.vacate(at);
        self.finish();
        UnregistrationOutcome::Unregistered
    }
}

/// Counts, to check that the state is right.
impl<G: TaskExecutorGateway> ContractFloor<G> {
    pub(crate) fn num_free(&self) -> usize {
        self.profiles.num_slots(|profile| profile.num_free)
    }

    pub(crate) fn num_in_flight(&self) -> usize {
        self.profiles.num_slots(|profile| profile.in_flight)
    }

    pub(crate) fn num_held(&self) -> usize {
        self.profiles.num_slots(|profile| profile.held)
    }

    pub(crate) fn num_pending(&self) -> usize {
        self.requests.len()
    }
}

/// Stops where a message leaves the four rows.
#[cold]
#[inline(never)]
fn beyond(what: &str) -> ! {
    panic!("beyond the contract floor: {what}");
}
