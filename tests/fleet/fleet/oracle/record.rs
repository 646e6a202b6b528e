//! The oracle's own record: workers, slots, jobs and requests, from inputs and calls alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use slot_manager::{ResourceProfile, Timestamp};

use super::{SECOND, Settings};
use crate::fleet::workers::Conduct;

/// The number of a distinct profile.
pub(crate) type ProfileId = usize;

/// A slot that a worker reports: its number, its profile and the allocation that holds it.
pub(crate) type ReportedSlot = (u32, ResourceProfile, Option<u64>);

/// An input of the manager, or a call that the manager made.
#[derive(Debug, Clone)]
pub(crate) enum Observed {
    Requested {
        allocation: u64,
        job: u64,
        profile: ResourceProfile,
        is_poisoned: bool,
    },
    Cancelled {
        allocation: u64,
    },
    /// A registration was accepted.
    Registered {
        worker: usize,
        slots: Vec<ReportedSlot>,
        /// The worker request that the worker names.
        names: Option<u64>,
        /// The worker request that the worker was started for.
        came_for: Option<u64>,
        conduct: Conduct,
        /// The time from a slot request to its answer.
        answer_time: Duration,
    },
    /// The worker that has just registered is dynamic.
    Dynamic {
        worker: usize,
        total: ResourceProfile,
    },
    TurnedAway {
        worker: usize,
        slots: Vec<ReportedSlot>,
    },
    LateRegistration {
        worker: usize,
        is_accepted: bool,
    },
    Gone {
        worker: usize,
    },
    Reported {
        worker: usize,
        slots: Vec<ReportedSlot>,
    },
    ConductChanged {
        worker: usize,
        conduct: Conduct,
    },
    BlockChanged {
        worker: usize,
        is_blocked: bool,
    },
    Attempt {
        allocation: u64,
        worker: usize,
        slot: u32,
        number: u64,
    },
    AttemptFailed {
        allocation: u64,
        number: u64,
        is_unreachable: bool,
    },
    /// The manager told the task executor to free the slot.
    GivenUp {
        allocation: u64,
        number: u64,
    },
    Granted {
        allocation: u64,
        worker: usize,
        slot: u32,
    },
    Failed {
        allocation: u64,
    },
    GrantLost {
        allocation: u64,
    },
    Freed {
        worker: usize,
        slot: u32,
        allocation: u64,
    },
    Asked {
        ask: u64,
        promised: Vec<ResourceProfile>,
        answer: AskAnswer,
    },
    AskFailed {
        ask: u64,
    },
    Withdrawn {
        ask: u64,
    },
}

/// The answer of the resource manager to a worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskAnswer {
    Promised,
    Declined,
    Refused,
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested {
                allocation,
                job,
                profile,
                is_poisoned,
            } => {
                let kind = if *is_poisoned { "poisoned" } else { "good" };
                write!(
                    f,
                    "job {job} requests slot for allocation {allocation} ({kind}, {profile})"
                )
            }
            Self::Registered {
                worker,
                slots,
                names,
                came_for,
                conduct,
                ..
            } => {
                let slots = slots.len();
                write!(
                    f,
                    "w{worker} registers {slots} slots, {conduct:?}, names {names:?}, came for {came_for:?}"
                )
            }
            Self::TurnedAway { worker, slots } => write!(f, "w{worker} with {} slots is turned away", slots.len()),
            Self::Reported { worker, slots } => write!(f, "w{worker} reports {} slots", slots.len()),
            Self::Attempt {
                allocation,
                worker,
                slot,
                number,
            } => write!(f, "  request w{worker}_{slot} for {allocation} #{number}"),
            Self::Granted {
                allocation,
                worker,
                slot,
            } => write!(f, "  granted {allocation} on w{worker}_{slot}"),
            Self::GivenUp { allocation, number } => write!(f, "  free slot of {allocation} #{number}"),
            Self::Failed { allocation } => write!(f, "  failed {allocation}"),
            Self::GrantLost { allocation } => write!(f, "  lost {allocation}"),
            Self::Asked { ask, promised, answer } => {
                write!(f, "  worker request {ask}: {answer:?}, {} slots", promised.len())
            }
            Self::Withdrawn { ask } => write!(f, "  withdrawn {ask}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The state of a slot, as the messages to and from the manager show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    Free,
    InFlight(u64),
    Held(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct SlotRecord {
    pub(crate) profile: ProfileId,
    pub(crate) state: SlotState,
}

/// A worker, registered or not.
#[derive(Debug, Clone)]
pub(crate) struct WorkerRecord {
    pub(crate) is_registered: bool,
    pub(crate) is_blocked: bool,
    pub(crate) conduct: Conduct,
    /// Counts the changes of conduct.
    pub(crate) epoch: u32,
    /// The worker was bad at some time.
    pub(crate) was_bad: bool,
    pub(crate) answer_time: Duration,
    /// The slots; those of a dynamic worker are its cuts.
    pub(crate) slots: BTreeMap<u32, SlotRecord>,
    /// The total of a dynamic worker.
    total: Option<ResourceProfile>,
    /// The time since which no slot is used.
    pub(crate) idle_since: Timestamp,
    /// For each profile of requests: the time since which a slot could serve one at once.
    pub(crate) available_since: Vec<Option<Timestamp>>,
    /// For each profile of slots: the number of free offered slots.
    pub(crate) free: Vec<usize>,
    slot_counts: SlotCounts,
}

/// Numbers of slots of registered workers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SlotCounts {
    pub(crate) registered: usize,
    /// Those of workers that are not blocked.
    pub(crate) offered: usize,
    pub(crate) free: usize,
    pub(crate) held: usize,
}

impl Default for WorkerRecord {
    fn default() -> Self {
        Self {
            is_registered: false,
            is_blocked: false,
            conduct: Conduct::Healthy,
            epoch: 0,
            was_bad: false,
            answer_time: Duration::ZERO,
            slots: BTreeMap::new(),
            total: None,
            idle_since: Timestamp::ZERO,
            available_since: Vec::new(),
            free: Vec::new(),
            slot_counts: SlotCounts::default(),
        }
    }
}

/// The place of a request that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    InFlight { worker: usize, slot: u32, number: u64 },
    Granted { worker: usize, slot: u32 },
}

/// An attempt that was not answered, or not yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) worker: usize,
    pub(crate) epoch: u32,
    pub(crate) at: Timestamp,
    pub(crate) number: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct RequestRecord {
    pub(crate) job: u64,
    pub(crate) profile: ProfileId,
    pub(crate) is_poisoned: bool,
    pub(crate) place: Place,
    pub(crate) since: Timestamp,
    pub(crate) unanswered: Vec<Tried>,
    /// The workers on which attempts failed.
    pub(crate) failed_on: BTreeSet<usize>,
    /// The time of the last failed attempt.
    pub(crate) last_failed: Timestamp,
    /// An attempt failed a short time ago, so the request may back off.
    pub(crate) is_cooling: bool,
    cools_until: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct JobRecord {
    ungranted: usize,
    last_failed: Option<u64>,
    /// Attempts for two different requests failed in a row, without a grant between.
    pub(crate) is_suspect: bool,
}

/// The record of the oracle.
pub(crate) struct Record {
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    pub(crate) profiles: Vec<ResourceProfile>,
    /// For each profile of a slot and each profile of a request, whether the slot fits.
    fits: Vec<Vec<bool>>,
    pub(crate) workers: BTreeMap<usize, WorkerRecord>,
    pub(crate) requests: BTreeMap<u64, RequestRecord>,
    pub(crate) jobs: BTreeMap<u64, JobRecord>,
    /// For each profile: the ungranted requests that healthy workers accept.
    pub(crate) good: Vec<BTreeSet<u64>>,
    /// For each profile: the number of ungranted requests.
    pub(crate) ungranted: Vec<usize>,
    /// For each profile: the number of waiting requests that do not cool down.
    pub(crate) waiting: Vec<usize>,
    /// The workers that changed since the last call.
    dirty: BTreeSet<usize>,
    slot_counts: SlotCounts,
    /// For each profile of requests: the workers with a slot that could serve one at once.
    pub(crate) available: Vec<BTreeSet<usize>>,
    /// For each profile of slots: the number of free offered slots.
    free: Vec<usize>,
    jobs_with_requests: BTreeSet<u64>,
    /// The only job with ungranted requests, and the time since which it is.
    pub(crate) alone: Option<(u64, Timestamp)>,
    cooling: VecDeque<(Timestamp, u64)>,
}

impl Record {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Timestamp::ZERO,
            profiles: Vec::new(),
            fits: Vec::new(),
            workers: BTreeMap::new(),
            requests: BTreeMap::new(),
            jobs: BTreeMap::new(),
            good: Vec::new(),
            ungranted: Vec::new(),
            waiting: Vec::new(),
            dirty: BTreeSet::new(),
            slot_counts: SlotCounts::default(),
            available: Vec::new(),
            free: Vec::new(),
            jobs_with_requests: BTreeSet::new(),
            alone: None,
            cooling: VecDeque::new(),
        }
    }

    /// Returns the number of a profile, and adds it if it is new.
    pub(crate) fn profile(&mut self, profile: &ResourceProfile) -> ProfileId {
        if let Some(known) = self.find_profile(profile) {
            return known;
        }
        self.profiles.push(profile.clone());
        let profiles = &self.profiles;
        self.fits = profiles
            .iter()
            .map(|slot| profiles.iter().map(|required| slot.is_matching(required)).collect())
            .collect();
        let known = self.profiles.len();
        self.good.resize(known, BTreeSet::new());
        self.ungranted.resize(known, 0);
        self.waiting.resize(known, 0);
        self.available.resize(known, BTreeSet::new());
        self.free.resize(known, 0);
        self.dirty.extend(self.workers.keys());
        known - 1
    }

    /// Returns the number of a known profile.
    pub(crate) fn find_profile(&self, profile: &ResourceProfile) -> Option<ProfileId> {
        self.profiles.iter().position(|known| known == profile)
    }

    /// Returns whether a slot fits a request.
    pub(crate) fn is_fitting(&self, slot: ProfileId, required: ProfileId) -> bool {
        self.fits[slot][required]
    }

    pub(crate) fn registered(&self) -> impl Iterator<Item = (usize, &WorkerRecord)> {
        self.workers
            .iter()
            .filter(|(_, worker)| worker.is_registered)
            .map(|(number, worker)| (*number, worker))
    }

    /// Returns the numbers of slots at the end of the last call.
    pub(crate) fn slot_counts(&self) -> SlotCounts {
        self.slot_counts
    }

    /// Returns whether a free offered slot fitted a request at the end of the last call.
    pub(crate) fn has_free_slot(&self, required: ProfileId) -> bool {
        let free = self.free.iter().enumerate();
        let is_free = free
            .into_iter()
            .any(|(slot, number)| *number > 0 && self.is_fitting(slot, required));
        let may_be_cut = |worker: &WorkerRecord| {
            let left = worker.left(&self.profiles, |_| false);
            left.is_some_and(|left| left.is_matching(&self.profiles[required]))
        };
        is_free || self.workers.values().any(may_be_cut)
    }

    /// Returns the end of the earliest cooling.
    pub(crate) fn next_cooled(&self) -> Option<Timestamp> {
        self.cooling.front().map(|(at, _)| *at)
    }

    /// Moves the time of the record.
    pub(crate) fn move_to(&mut self, time: Timestamp) {
        self.now = time;
        while let Some((_, allocation)) = self.cooling.front().copied().filter(|(at, _)| *at <= time) {
            self.cooling.pop_front();
            self.change(allocation, |request| {
                if request.cools_until <= time {
                    request.is_cooling = false;
                }
            });
        }
    }

    /// Changes a request and keeps the counts.
    fn change(&mut self, allocation: u64, change: impl FnOnce(&mut RequestRecord)) {
        let Some(request) = self.requests.get_mut(&allocation) else {
            return;
        };
        let before = request.clone_counted();
        change(request);
        let after = request.clone_counted();
        self.count(allocation, Some(before), Some(after));
    }

    fn count(&mut self, allocation: u64, before: Option<Counted>, after: Option<Counted>) {
        if let Some(before) = &before {
            self.waiting[before.profile] -= usize::from(before.is_waiting);
            if before.is_ungranted {
                self.ungranted[before.profile] -= 1;
                self.good[before.profile].remove(&allocation);
                self.job_changes(before.job, false);
            }
        }
        if let Some(after) = &after {
            self.waiting[after.profile] += usize::from(after.is_waiting);
            if after.is_ungranted {
                self.ungranted[after.profile] += 1;
                if !after.is_poisoned {
                    self.good[after.profile].insert(allocation);
                }
                self.job_changes(after.job, true);
            }
        }
    }

    fn job_changes(&mut self, job: u64, is_added: bool) {
        let record = self.jobs.entry(job).or_default();
        match is_added {
            true => record.ungranted += 1,
            false => record.ungranted -= 1,
        }
        match record.ungranted {
            0 => self.jobs_with_requests.remove(&job),
            _ => self.jobs_with_requests.insert(job),
        };
    }

    fn end_request(&mut self, allocation: u64) -> Option<RequestRecord> {
        let request = self.requests.remove(&allocation)?;
        self.count(allocation, Some(request.clone_counted()), None);
        Some(request)
    }

    fn set_slot(&mut self, worker: usize, slot: u32, state: SlotState) {
        let now = self.now;
        if let Some(record) = self.workers.get_mut(&worker) {
            self.dirty.insert(worker);
            if record.total.is_some() && state == SlotState::Free {
                record.slots.remove(&slot);
            } else if let Some(slot) = record.slots.get_mut(&slot) {
                slot.state = state;
            }
            // A change to free ends the use of the slot now, a change to used begins it.
            record.idle_since = now;
        }
    }

    /// Adds the slot that an attempt cuts from a dynamic worker.
    fn note_cut(&mut self, worker: usize, slot: u32, allocation: u64) {
        let Some(profile) = self.requests.get(&allocation).map(|request| request.profile) else {
            return;
        };
        if let Some(record) = self.workers.get_mut(&worker).filter(|it| it.total.is_some()) {
            let state = SlotState::InFlight(allocation);
            record.slots.insert(slot, SlotRecord { profile, state });
        }
    }

    /// Frees the slot of a request that is in flight or granted.
    fn free_slot_of(&mut self, allocation: u64, place: Place) {
        let (Place::InFlight { worker, slot, .. } | Place::Granted { worker, slot }) = place else {
            return;
        };
        let state = self
            .workers
            .get(&worker)
            .and_then(|worker| worker.slots.get(&slot))
            .map(|slot| slot.state);
        if matches!(state, Some(SlotState::InFlight(holder) | SlotState::Held(holder)) if holder == allocation) {
            self.set_slot(worker, slot, SlotState::Free);
        }
    }

    /// Notes a failed attempt of a request and its job.
    fn attempt_failed(&mut self, allocation: u64, is_answered: bool) {
        let now = self.now;
        let until = now + self.settings.longest_backoff + SECOND;
        let place = self.requests.get(&allocation).map(|request| request.place);
        let Some(Place::InFlight { worker, number, .. }) = place else {
            return;
        };
        let place = self.requests[&allocation].place;
        self.free_slot_of(allocation, place);
        self.change(allocation, |request| {
            request.place = Place::Waiting;
            request.is_cooling = true;
            request.cools_until = until;
            request.failed_on.insert(worker);
            request.last_failed = now;
            if is_answered {
                request.unanswered.retain(|tried| tried.number != number);
            }
        });
        self.cooling.push_back((until, allocation));
        let job = self.requests[&allocation].job;
        let job = self.jobs.entry(job).or_default();
        job.is_suspect |= job.last_failed.is_some_and(|last| last != allocation);
        job.last_failed = Some(allocation);
    }

    fn end_registration(&mut self, worker: usize) {
        let Some(record) = self.workers.get_mut(&worker) else {
            return;
        };
        record.is_registered = false;
        record.available_since.clear();
        record.total = None;
        self.dirty.insert(worker);
        let slots = std::mem::take(&mut record.slots);
        for slot in slots.into_values() {
            if let SlotState::InFlight(allocation) = slot.state {
                self.attempt_failed(allocation, true);
            }
        }
    }

    fn report(&mut self, worker: usize, slots: &[ReportedSlot]) {
        let known: Vec<_> = slots
            .iter()
            .map(|(number, profile, holder)| (*number, self.profile(profile), *holder))
            .collect();
        let now = self.now;
        self.dirty.insert(worker);
        let record = self.workers.entry(worker).or_default();
        if record.slots.is_empty() {
            record.idle_since = now;
        }
        record.slots.retain(|number, slot| {
            let is_cut_in_flight = record.total.is_some() && matches!(slot.state, SlotState::InFlight(_));
            is_cut_in_flight || known.iter().any(|(reported, ..)| reported == number)
        });
        for (number, profile, holder) in known {
            let state = holder.map_or(SlotState::Free, SlotState::Held);
            let slot = record.slots.entry(number).or_insert(SlotRecord { profile, state });
            slot.profile = profile;
            if let (SlotState::Free, Some(holder)) = (slot.state, holder) {
                slot.state = SlotState::Held(holder);
            }
        }
    }

    /// Applies an event to the record.
    pub(crate) fn observe(&mut self, observed: &Observed) {
        match observed {
            Observed::Requested {
                allocation,
                job,
                profile,
                is_poisoned,
            } => {
                let request = RequestRecord {
                    job: *job,
                    profile: self.profile(profile),
                    is_poisoned: *is_poisoned,
                    place: Place::Waiting,
                    since: self.now,
                    unanswered: Vec::new(),
                    failed_on: BTreeSet::new(),
                    last_failed: Timestamp::ZERO,
                    is_cooling: false,
                    cools_until: Timestamp::ZERO,
                };
                self.count(*allocation, None, Some(request.clone_counted()));
                self.requests.insert(*allocation, request);
            }
            Observed::Cancelled { allocation } | Observed::Failed { allocation } => {
                if let Some(request) = self.end_request(*allocation) {
                    self.free_slot_of(*allocation, request.place);
                }
            }
            Observed::GrantLost { allocation } => {
                if let Some(request) = self.end_request(*allocation) {
                    self.free_slot_of(*allocation, request.place);
                }
            }
            Observed::Registered {
                worker,
                slots,
                conduct,
                answer_time,
                ..
            } => {
                self.end_registration(*worker);
                let now = self.now;
                let record = self.workers.entry(*worker).or_default();
                record.is_registered = true;
                record.conduct = *conduct;
                record.was_bad |= *conduct != Conduct::Healthy;
                record.answer_time = *answer_time;
                record.idle_since = now;
                self.report(*worker, slots);
            }
            Observed::Dynamic { worker, total } => {
                self.dirty.insert(*worker);
                self.workers.entry(*worker).or_default().total = Some(total.clone());
            }
            Observed::Gone { worker } => self.end_registration(*worker),
            Observed::Reported { worker, slots } => self.report(*worker, slots),
            Observed::ConductChanged { worker, conduct } => {
                self.dirty.insert(*worker);
                let record = self.workers.entry(*worker).or_default();
                record.conduct = *conduct;
                record.was_bad = true;
                record.epoch += 1;
            }
            Observed::BlockChanged { worker, is_blocked } => {
                self.dirty.insert(*worker);
                let record = self.workers.entry(*worker).or_default();
                record.is_blocked = *is_blocked;
            }
            Observed::Attempt {
                allocation,
                worker,
                slot,
                number,
            } => {
                self.note_cut(*worker, *slot, *allocation);
                self.set_slot(*worker, *slot, SlotState::InFlight(*allocation));
                let tried = Tried {
                    worker: *worker,
                    epoch: self.workers.get(worker).map_or(0, |worker| worker.epoch),
                    at: self.now,
                    number: *number,
                };
                let (worker, slot, number) = (*worker, *slot, *number);
                self.change(*allocation, |request| {
                    request.place = Place::InFlight { worker, slot, number };
                    request.unanswered.push(tried);
                });
            }
            Observed::AttemptFailed { allocation, number, .. } => {
                if self.is_in_flight(*allocation, *number) {
                    self.attempt_failed(*allocation, true);
                }
            }
            Observed::GivenUp { allocation, number } => {
                if self.is_in_flight(*allocation, *number) {
                    self.attempt_failed(*allocation, false);
                }
            }
            Observed::Granted {
                allocation,
                worker,
                slot,
            } => {
                self.set_slot(*worker, *slot, SlotState::Held(*allocation));
                let (worker, slot) = (*worker, *slot);
                self.change(*allocation, |request| request.place = Place::Granted { worker, slot });
                if let Some(request) = self.requests.get(allocation) {
                    let job = self.jobs.entry(request.job).or_default();
                    job.last_failed = None;
                    job.is_suspect = false;
                }
            }
            Observed::Freed {
                worker,
                slot,
                allocation,
            } => {
                let place = Place::Granted {
                    worker: *worker,
                    slot: *slot,
                };
                self.end_request(*allocation);
                self.free_slot_of(*allocation, place);
            }
            Observed::TurnedAway { .. }
            | Observed::LateRegistration { .. }
            | Observed::Asked { .. }
            | Observed::AskFailed { .. }
            | Observed::Withdrawn { .. } => {}
        }
    }

    pub(crate) fn is_in_flight(&self, allocation: u64, attempt: u64) -> bool {
        let place = self.requests.get(&allocation).map(|request| request.place);
        matches!(place, Some(Place::InFlight { number, .. }) if number == attempt)
    }

    /// Derives what depends on several records, once at the end of a call.
    pub(crate) fn refresh(&mut self) {
        let mut jobs = self.jobs_with_requests.iter();
        self.alone = match (jobs.next(), jobs.next()) {
            (Some(job), None) => match self.alone {
                Some((known, since)) if known == *job => Some((known, since)),
                _ => Some((*job, self.now)),
            },
            _ => None,
        };
        let profiles = self.profiles.len();
        for number in std::mem::take(&mut self.dirty) {
            let Some(worker) = self.workers.get_mut(&number) else {
                continue;
            };
            let before = std::mem::take(&mut worker.slot_counts);
            for (total, free) in self.free.iter_mut().zip(&worker.free) {
                *total -= free;
            }
            let is_open = worker.count_slots(profiles, &self.requests);
            for (total, free) in self.free.iter_mut().zip(&worker.free) {
                *total += free;
            }
            self.slot_counts.replace(before, worker.slot_counts);
            let is_healthy = worker.conduct == Conduct::Healthy;
            let requests = &self.requests;
            let is_poisoned = |id: u64| requests.get(&id).is_some_and(|request| request.is_poisoned);
            let left = worker.left(&self.profiles, is_poisoned);
            for (required, since) in worker.available_since.iter_mut().enumerate() {
                let mut open = is_open.iter().enumerate();
                let may_be_cut = left
                    .as_ref()
                    .is_some_and(|left| left.is_matching(&self.profiles[required]));
                let is_available =
                    is_healthy && (may_be_cut || open.any(|(slot, open)| *open && self.fits[slot][required]));
                *since = is_available.then(|| since.unwrap_or(self.now));
                match is_available {
                    true => self.available[required].insert(number),
                    false => self.available[required].remove(&number),
                };
            }
        }
    }
}

impl SlotCounts {
    /// Replaces the numbers of one worker in a sum.
    fn replace(&mut self, before: Self, after: Self) {
        self.registered = self.registered - before.registered + after.registered;
        self.offered = self.offered - before.offered + after.offered;
        self.free = self.free - before.free + after.free;
        self.held = self.held - before.held + after.held;
    }
}

/// The part of a request that is counted.
struct Counted {
    job: u64,
    profile: ProfileId,
    is_poisoned: bool,
    is_ungranted: bool,
    is_waiting: bool,
}

impl RequestRecord {
    fn clone_counted(&self) -> Counted {
        Counted {
            job: self.job,
            profile: self.profile,
            is_poisoned: self.is_poisoned,
            is_ungranted: !matches!(self.place, Place::Granted { .. }),
            is_waiting: self.place == Place::Waiting && !self.is_cooling,
        }
    }
}

impl WorkerRecord {
    /// Counts the slots. Returns for each profile of slots whether a good request could be served
    /// at once.
    fn count_slots(&mut self, profiles: usize, requests: &BTreeMap<u64, RequestRecord>) -> Vec<bool> {
        let is_offered = self.is_registered && !self.is_blocked;
        let mut is_open = vec![false; profiles];
        let mut counts = SlotCounts::default();
        self.free.clear();
        self.free.resize(profiles, 0);
        self.available_since.resize(profiles, None);
        for slot in self.slots.values().filter(|_| self.is_registered) {
            counts.registered += 1;
            counts.offered += usize::from(is_offered);
            match slot.state {
                SlotState::Free => {
                    counts.free += 1;
                    self.free[slot.profile] += usize::from(is_offered);
                    is_open[slot.profile] |= is_offered;
                }
                SlotState::InFlight(allocation) => {
                    let is_poisoned = requests.get(&allocation).is_some_and(|request| request.is_poisoned);
                    is_open[slot.profile] |= is_offered && is_poisoned;
                }
                SlotState::Held(_) => counts.held += 1,
            }
        }
        self.slot_counts = counts;
        is_open
    }

    /// Returns what may be cut from a dynamic worker, with the cuts in flight for requests that do
    /// not count.
    fn left(&self, profiles: &[ResourceProfile], counts_not: impl Fn(u64) -> bool) -> Option<ResourceProfile> {
        let total = self.total.clone().filter(|_| self.is_registered && !self.is_blocked)?;
        let used = self.slots.values().filter(|slot| match slot.state {
            SlotState::InFlight(allocation) => !counts_not(allocation),
            _ => true,
        });
        let left = used.fold(total, |left, slot| {
            left.checked_sub(&profiles[slot.profile])
                .unwrap_or(ResourceProfile::ZERO)
        });
        Some(left)
    }

    /// Returns whether no slot is used.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_registered && !self.slots.is_empty() && self.slots.values().all(|slot| slot.state == SlotState::Free)
    }
}
