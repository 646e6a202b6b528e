//! Requests that wait for a slot, in the order in which slots are offered to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{InstanceId, JobId};

use crate::slot_manager::collections::arena::{Arena, Key};
use crate::slot_manager::collections::linked_list::Links;
use crate::slot_manager::state::failing_jobs::FailingJobs;
use crate::slot_manager::state::profile_queues::{Fitting, ProfileKey, ProfileQueues, Profiles};
use crate::slot_manager::state::request_failures::TriedWorkers;
use crate::slot_manager::state::requests::{PendingRequest, RequestKey, RequestPhase, Waiting};

type Requests = Arena<RequestKey, PendingRequest>;

/// The waiting requests, and those that back off.
///
/// Most wait in queues by profile. A request that has failed, or whose job has, waits in a group:
/// an offer then skips all requests at once that must not get the slot.
#[derive(Debug)]
pub(crate) struct WaitingRequests {
    bound: ProfileQueues<Waiting, RequestKey>,
    unbound: ProfileQueues<Waiting, RequestKey>,
    /// The members of each group in the order of their places.
    groups: BTreeMap<Group, BTreeSet<(u64, RequestKey)>>,
}

/// The number of groups that a job has at most, besides one for each profile and kind of waiting.
///
/// A request that would begin another group counts as tried on every worker instead: it shares a
/// group with others of its kind.
const MAX_GROUPS_OF_JOB: usize = 128;

/// Requests that an offer treats alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    job: JobId,
    wait: Wait,
    profile: ProfileKey,
    tried: TriedWorkers,
}

/// The kinds of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    Bound,
    Unbound,
    /// The request takes only slots of workers that it was not tried on.
    BackingOff,
}

impl Wait {
    fn of(phase: RequestPhase) -> Option<Self> {
        match phase {
            RequestPhase::Bound(_) => Some(Self::Bound),
            RequestPhase::Unbound(_) => Some(Self::Unbound),
            RequestPhase::BackingOff { .. } => Some(Self::BackingOff),
            RequestPhase::Detached | RequestPhase::InFlight(_) => None,
        }
    }
}

/// The preference of a slot for a request; the least goes first. Within a preference the oldest
/// request goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    is_suspect: bool,
    was_tried: bool,
    /// The request was tried and backs off.
    is_early: bool,
    /// The turn of the job among suspect jobs.
    turn: u64,
}

/// A request to which a slot can go. The order is that of preference, then age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OfferCandidate {
    preference: Preference,
    sequence: u64,
    pub(crate) request: RequestKey,
}

/// The worker of an offered slot, and the jobs that it may serve.
#[derive(Clone, Copy)]
pub(crate) struct Offerer<'a> {
    pub(crate) worker: InstanceId,
    /// Returns `false` for jobs that get no slot of the worker now.
    pub(crate) may_serve: &'a dyn Fn(JobId) -> bool,
    pub(crate) tried: TriedRequests,
    /// The largest sequence number of a request that gets a slot of the worker now.
    pub(crate) newest: u64,
}

/// The requests tried on the worker to which a slot may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TriedRequests {
    None,
    /// Those that do not back off.
    Waiting,
    /// Also those that back off, if their job is not suspect: a probe after a backoff is rare.
    AlsoBackingOff,
}

impl WaitingRequests {
    pub(crate) fn new() -> Self {
        Self {
            bound: ProfileQueues::new(),
            unbound: ProfileQueues::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Returns `true` if no request waits or backs off.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.unbound.is_empty() && self.groups.is_empty()
    }

    /// Returns `true` if no request waits in a group.
    #[inline]
    pub(crate) fn has_only_queues(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds a request whose phase is bound, unbound or backing off.
    #[inline]
    pub(crate) fn push(
        &mut self,
        records: &mut Requests,
        profiles: &Profiles,
        jobs: &FailingJobs,
        request: RequestKey,
    ) {
        let record = &records[request];
        let (profile, place) = (record.profile, record.sequence);
        // A held-back request must stay in a group, even if its job is no longer suspect.
        if record.is_grouped || record.failures.is_some() || (!jobs.is_empty() && jobs.contains(record.job_id)) {
            return self.push_to_group(records, request);
        }
        self.queues_of(record.phase)
            .push(records, profiles, profile, place, request);
    }

    /// Adds a request to the queue of its profile, unbound, up to its links: the caller sets them to
    /// those returned.
    #[inline(always)]
    pub(crate) fn link_unbound(
        &mut self,
        records: &mut Requests,
        profiles: &Profiles,
        profile: ProfileKey,
        sequence: u64,
        request: RequestKey,
    ) -> Links<RequestKey> {
        self.unbound.link(records, profiles, profile, sequence, request)
    }

    /// Removes an unbound request with these links from the queue of its profile. Its record is
    /// gone.
    #[inline(always)]
    pub(crate) fn unlink_unbound(
        &mut self,
        records: &mut Requests,
        profile: ProfileKey,
        sequence: u64,
        request: RequestKey,
        links: Links<RequestKey>,
    ) {
        self.unbound.unlink(records, profile, sequence, request, links);
    }

    #[inline]
    fn queues_of(&mut self, phase: RequestPhase) -> &mut ProfileQueues<Waiting, RequestKey> {
        match phase {
            RequestPhase::Bound(_) => &mut self.bound,
            _ => &mut self.unbound,
        }
    }

    #[cold]
    fn push_to_group(&mut self, records: &mut Requests, request: RequestKey) {
        let record = &mut records[request];
        let Some(mut group) = Self::group_of(record) else {
            return;
        };
        if !self.groups.contains_key(&group) && self.has_many_groups(group.job) {
            group.tried = record.forget_tried_workers();
        }
        record.is_grouped = true;
        let place = (record.sequence, request);
        self.groups.entry(group).or_default().insert(place);
    }

    /// Returns `true` if a job has as many groups as it may have.
    fn has_many_groups(&self, job: JobId) -> bool {
        let first = Group {
            job,
            wait: Wait::Bound,
            profile: ProfileKey::from_index(0),
            tried: TriedWorkers::default(),
        };
        let groups = self.groups.range(first..);
        groups
            .take_while(|(group, _)| group.job == job)
            .nth(MAX_GROUPS_OF_JOB - 1)
            .is_some()
    }

    /// Returns the group of a request that waits or backs off.
    fn group_of(record: &PendingRequest) -> Option<Group> {
        Some(Group {
            wait: Wait::of(record.phase)?,
            job: record.job_id,
            profile: record.profile,
            tried: record
                .failures
                .as_ref()
                .map_or_else(TriedWorkers::default, |failures| failures.tried.clone()),
        })
    }

    /// Removes a request. Its phase and failures are those with which it was added.
    #[inline]
    pub(crate) fn remove(&mut self, records: &mut Requests, request: RequestKey) {
        let record = &records[request];
        let profile = record.profile;
        if record.is_grouped {
            return self.remove_from_group(records, request);
        }
        self.queues_of(record.phase).remove(records, profile, request);
    }

    #[cold]
    fn remove_from_group(&mut self, records: &Requests, request: RequestKey) {
        let record = &records[request];
        let place = (record.sequence, request);
        let Some(group) = Self::group_of(record) else {
            return;
        };
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(&place);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Returns the oldest waiting request in a queue that a slot with this profile fits.
    ///
    /// That is the request to which the slot goes, if no request is in a group and no job fails.
    #[inline]
    pub(crate) fn oldest_queued(&self, profiles: &Profiles, slot: ProfileKey) -> Option<RequestKey> {
        // Often all requests wait for slots of one profile, which needs no comparison.
        if let Some(request) = self.only_queued_of(slot) {
            return Some(request);
        }
        let (_, request) = self.first_queued(profiles, Fitting::Slot(&profiles[slot]))?;
        Some(request)
    }

    /// Returns the oldest request, if the requests in all queues have one given profile.
    #[inline]
    fn only_queued_of(&self, profile: ProfileKey) -> Option<RequestKey> {
        match self.bound.is_empty() {
            true => self.unbound.first_of_only(profile),
            false if self.unbound.is_empty() => self.bound.first_of_only(profile),
            false => None,
        }
    }

    fn first_queued(&self, profiles: &Profiles, fitting: Fitting<'_>) -> Option<(u64, RequestKey)> {
        let bound = self.bound.first_fitting(profiles, fitting);
        let unbound = self.unbound.first_fitting(profiles, fitting);
        match (bound, unbound) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Returns the oldest waiting request in a queue that fits.
    ///
    /// That is the request which comes first, if no request is in a group and no job fails.
    pub(crate) fn oldest_fitting(&self, profiles: &Profiles, fitting: Fitting<'_>) -> Option<RequestKey> {
        let (_, request) = self.first_queued(profiles, fitting)?;
        Some(request)
    }

    /// Returns the request to which a slot goes.
    ///
    /// Cost: O(profiles of waiting requests + groups). Each request of a failing job moves from its
    /// queue to a group once.
    pub(crate) fn candidate(
        &mut self,
        records: &mut Requests,
        profiles: &Profiles,
        jobs: &FailingJobs,
        fitting: Fitting<'_>,
        offerer: Offerer<'_>,
    ) -> Option<OfferCandidate> {
        let is_special = |job: JobId| jobs.contains(job) || !(offerer.may_serve)(job);
        let queued = self.first_ordinary(records, profiles, fitting, is_special);
        let queued = queued.filter(|(sequence, _)| *sequence <= offerer.newest);
        let queued = queued.map(|(sequence, request)| OfferCandidate {
            preference: Preference {
                is_suspect: false,
                was_tried: false,
                is_early: false,
                turn: 0,
            },
            sequence,
            request,
        });
        let grouped = self.groups.iter().filter_map(|(group, members)| {
            let was_tried = group.tried.contains(offerer.worker);
            let turn = jobs.turn(group.job);
            let is_early = was_tried && group.wait == Wait::BackingOff;
            let is_eligible = match offerer.tried {
                TriedRequests::None => !was_tried,
                TriedRequests::Waiting => !is_early,
                TriedRequests::AlsoBackingOff => !is_early || turn == 0,
            };
            let may_serve = is_eligible && fitting.fits(&profiles[group.profile]) && (offerer.may_serve)(group.job);
            let (sequence, request) = *members
                .first()
                .filter(|(sequence, _)| may_serve && *sequence <= offerer.newest)?;
            let preference = Preference {
                is_suspect: turn > 0,
                was_tried,
                is_early,
                turn,
            };
            Some(OfferCandidate {
                preference,
                sequence,
                request,
            })
        });
        grouped.chain(queued).min()
    }

    /// Returns the oldest fitting request in a queue whose job is not special. Older requests of
    /// special jobs move to groups.
    fn first_ordinary(
        &mut self,
        records: &mut Requests,
        profiles: &Profiles,
        fitting: Fitting<'_>,
        is_special: impl Fn(JobId) -> bool,
    ) -> Option<(u64, RequestKey)> {
        loop {
            let (sequence, request) = self.first_queued(profiles, fitting)?;
            if !is_special(records[request].job_id) {
                return Some((sequence, request));
            }
            self.remove(records, request);
            self.push_to_group(records, request);
        }
    }

    /// Returns the oldest unbound request that a promised slot or worker fits.
    pub(crate) fn oldest_unbound(&self, profiles: &Profiles, promised: Fitting<'_>) -> Option<RequestKey> {
        let queued = self.unbound.first_fitting(profiles, promised);
        let is_fitting = |group: &Group| group.wait == Wait::Unbound && promised.fits(&profiles[group.profile]);
        let groups = self.groups.iter().filter(|(group, _)| is_fitting(group));
        let grouped = groups.filter_map(|(_, members)| members.first().copied());
        let (_, request) = grouped.chain(queued).min()?;
        Some(request)
    }

    /// Returns the oldest waiting request of each profile and group, with its sequence number, in no
    /// particular order. Requests of suspect jobs do not count, nor those that back off.
    ///
    /// Cost: O(profiles of waiting requests + groups), and O(older requests of suspect jobs).
    pub(crate) fn oldest_of_profiles(&self, records: &Requests, jobs: &FailingJobs) -> Vec<(u64, RequestKey)> {
        let is_ordinary = |request: RequestKey| !jobs.is_suspect(records[request].job_id);
        let queues = [&self.bound, &self.unbound].into_iter();
        let queued = queues.flat_map(|queues| {
            let profiles = queues.profiles();
            profiles.filter_map(|profile| queues.first_where(records, profile, is_ordinary))
        });
        let is_eligible = |group: &Group| group.wait != Wait::BackingOff && !jobs.is_suspect(group.job);
        let groups = self.groups.iter().filter(|(group, _)| is_eligible(group));
        let grouped = groups.filter_map(|(_, members)| members.first().copied());
        queued.chain(grouped).collect()
    }

    /// Returns `true` if a waiting request that does not back off fits.
    pub(crate) fn has_fitting(&self, profiles: &Profiles, fitting: Fitting<'_>) -> bool {
        let is_fitting = |group: &Group| group.wait != Wait::BackingOff && fitting.fits(&profiles[group.profile]);
        self.first_queued(profiles, fitting).is_some() || self.groups.keys().any(is_fitting)
    }

    /// Returns the profiles of unbound requests, some of them several times.
    pub(crate) fn unbound_profiles(&self) -> impl Iterator<Item = ProfileKey> {
        let grouped = self.groups.keys().filter(|group| group.wait == Wait::Unbound);
        self.unbound.profiles().chain(grouped.map(|group| group.profile))
    }

    /// Returns the unbound requests with one profile, in no particular order.
    pub(crate) fn unbound_of<'a>(
        &'a self,
        records: &'a Requests,
        profile: ProfileKey,
    ) -> impl Iterator<Item = RequestKey> + 'a {
        let is_wanted = move |group: &Group| group.wait == Wait::Unbound && group.profile == profile;
        let groups = self.groups.iter().filter(move |(group, _)| is_wanted(group));
        let grouped = groups.flat_map(|(_, members)| members.iter().map(|(_, request)| *request));
        self.unbound.iter_of(records, profile).chain(grouped)
    }

    /// Returns the profiles of requests that back off, some of them several times.
    pub(crate) fn backing_off_profiles(&self) -> impl Iterator<Item = ProfileKey> {
        let groups = self.groups.keys().filter(|group| group.wait == Wait::BackingOff);
        groups.map(|group| group.profile)
    }

    /// Returns the oldest request of each group, oldest first.
    pub(crate) fn first_of_groups(&self) -> Vec<RequestKey> {
        let mut firsts: Vec<_> = (self.groups.values())
            .filter_map(|members| members.first().copied())
            .collect();
        firsts.sort_unstable();
        firsts.into_iter().map(|(_, request)| request).collect()
    }

    /// Returns all members of queues and groups with their profiles, in no particular order.
    pub(crate) fn iter<'a>(&'a self, records: &'a Requests) -> impl Iterator<Item = (ProfileKey, RequestKey)> + 'a {
        let groups = self.groups.iter();
        let grouped = groups.flat_map(|(group, members)| members.iter().map(|(_, request)| (group.profile, *request)));
        self.bound
            .iter(records)
            .chain(self.unbound.iter(records))
            .chain(grouped)
    }

    /// Returns `true` if the queues are in order and each group holds its requests; for the check
    /// of invariants.
    pub(crate) fn are_in_order(&self, records: &Requests) -> bool {
        let is_member = |group: &Group, &(sequence, request): &(u64, RequestKey)| {
            let record = &records[request];
            record.is_grouped && record.sequence == sequence && Self::group_of(record).as_ref() == Some(group)
        };
        let in_queues = self.bound.iter(records).chain(self.unbound.iter(records));
        self.bound.are_in_order(records)
            && self.unbound.are_in_order(records)
            && in_queues.into_iter().all(|(_, request)| !records[request].is_grouped)
            && (self.groups.iter())
                .all(|(group, members)| !members.is_empty() && members.iter().all(|member| is_member(group, member)))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}
