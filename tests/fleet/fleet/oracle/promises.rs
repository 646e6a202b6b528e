//! L4, L6 and L7: a worker is requested for each request that no slot will serve.
//!
//! The oracle keeps the slots that can still come, and is generous: a correct manager never counts
//! more.
//!
//! - A worker that names its open worker request ends that promise as a whole with its first slots
//!   (L4).
//! - Each new slot of another worker ends the oldest promised slot of equal profile, else the
//!   oldest that it fits, at most as many as were promised for that worker. A stranger ends none.
//! - A slot that fits no promised slot ends the oldest if promised slots outnumber the ungranted
//!   requests. Without such a surplus it ends none.
//! - When a worker came for every open worker request, no promised slot is left (L7). An unnamed
//!   worker counts for the oldest open worker request of equal shape, because it cannot be told
//!   from its worker: if that one silently comes to nothing, the promise of the other ends by its
//!   own timeout. An unnamed worker without a slot like the promised ones cannot be told from a
//!   stranger, and counts for none.
//! - A promise ends after `worker_registration_timeout`. With the default request timeout it ends 5
//!   s before the request that caused it fails, if that is earlier (L6). A worker that registers in
//!   that instant may still fulfil it.
//!
//! A request *needs* a slot if it waits, no free slot fits it, and no attempt of it failed within
//! the longest backoff. If more requests of a profile need slots than can come, the clock runs,
//! unless worker requests may be deferred: by the limit, by failed starts, or after a declined one.
//! The rule that is reported is that of the promise that ended last.
//!
//! The same clock runs while registered and promised slots are below the minimum, or while free and
//! promised slots are below the redundancy and a slot is used (L7).

use std::collections::BTreeMap;
use std::time::Duration;

use slot_manager::Timestamp;

use super::record::{AskAnswer, Observed, Record};
use super::starts::MayDefer;
use super::{Broken, Rule, SECOND};
use slot_manager::ResourceProfile;

/// The time within which the order of events does not matter.
const INSTANT: Duration = Duration::from_millis(1);

/// An open worker request.
#[derive(Debug)]
struct Ask {
    expires_at: Timestamp,
    /// The promised slots that can still come.
    left: Vec<ResourceProfile>,
    promised: usize,
    /// The profile of its first promised slot.
    shape: Option<ResourceProfile>,
    /// A worker came for it, or an unnamed worker that cannot be told from its worker.
    has_come: bool,
}

/// The reason why a request has no worker request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deferral {
    /// Each request has one, or must have one.
    None,
    Limit,
    Other,
}

/// A registered worker without slots.
#[derive(Debug, Clone, Copy)]
struct WithoutSlots {
    names: Option<u64>,
    came_for: Option<u64>,
}

/// All worker requests, and the clocks.
#[derive(Debug)]
pub(crate) struct Promises {
    asks: BTreeMap<u64, Ask>,
    without_slots: BTreeMap<usize, WithoutSlots>,
    last_end: Rule,
    /// The worker requests that expired by an event, and not by the time.
    expired_now: usize,
    uncovered_since: Option<(Timestamp, String)>,
    short_since: Option<(Timestamp, &'static str)>,
    may_defer: MayDefer,
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            asks: BTreeMap::new(),
            without_slots: BTreeMap::new(),
            last_end: Rule::L4,
            expired_now: 0,
            uncovered_since: None,
            short_since: None,
            may_defer: MayDefer::default(),
        }
    }
}

impl Promises {
    /// Returns the number of open worker requests.
    pub(crate) fn open_requests(&self) -> usize {
        self.asks.len()
    }

    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.asks.values().map(|ask| ask.expires_at).min()
    }

    /// Ends the promises that are due. Returns for each whether no worker came for it.
    pub(crate) fn expire(&mut self, time: Timestamp) -> Vec<bool> {
        let mut expired = Vec::new();
        self.asks.retain(|_, ask| {
            let stays = ask.expires_at > time;
            if !stays {
                expired.push(!ask.has_come && ask.left.len() == ask.promised);
            }
            stays
        });
        if !expired.is_empty() {
            self.last_end = Rule::L6;
            self.end_if_all_have_come();
        }
        expired
    }

    /// Returns the number of worker requests that expired by the last event.
    pub(crate) fn take_expired(&mut self) -> usize {
        std::mem::take(&mut self.expired_now)
    }

    /// Notes an event before the record applies it.
    pub(crate) fn observe(&mut self, record: &Record, observed: &Observed) {
        match observed {
            Observed::Asked {
                ask,
                promised,
                answer: AskAnswer::Promised,
            } => {
                let ask_record = Ask {
                    expires_at: record.now + record.settings.promise_time + INSTANT,
                    left: promised.clone(),
                    promised: promised.len(),
                    shape: promised.first().cloned(),
                    has_come: false,
                };
                self.asks.insert(*ask, ask_record);
            }
            Observed::AskFailed { ask } => {
                let ended = self.asks.remove(ask);
                self.last_end = ended.map_or(self.last_end, |_| Rule::L4);
                self.end_if_all_have_come();
            }
            Observed::Withdrawn { ask } => {
                let ended = self.asks.remove(ask);
                if ended.is_some_and(|ended| ended.expires_at <= record.now + INSTANT) {
                    // The manager withdraws it because it expires in this instant.
                    self.expired_now += 1;
                    self.last_end = Rule::L6;
                }
                self.end_if_all_have_come();
            }
            Observed::Registered {
                worker,
                slots,
                names,
                came_for,
                ..
            } => {
                self.without_slots.remove(worker);
                let (names, came_for) = (*names, *came_for);
                let profiles: Vec<_> = slots.iter().map(|(_, profile, _)| profile.clone()).collect();
                match profiles.is_empty() {
                    true => drop(self.without_slots.insert(*worker, WithoutSlots { names, came_for })),
                    false => self.slots_came(record, &profiles, names, came_for),
                }
            }
            Observed::Reported { worker, slots } if !slots.is_empty() => {
                if let Some(without) = self.without_slots.remove(worker) {
                    let profiles: Vec<_> = slots.iter().map(|(_, profile, _)| profile.clone()).collect();
                    self.slots_came(record, &profiles, without.names, without.came_for);
                }
            }
            Observed::Gone { worker } => {
                if let Some(without) = self.without_slots.remove(worker) {
                    let ended = without.names.and_then(|ask| self.asks.remove(&ask));
                    if ended.is_some() {
                        self.last_end = Rule::L4;
                    }
                }
            }
            _ => {}
        }
    }

    /// Ends promised slots, because the first slots of a worker came.
    fn slots_came(&mut self, record: &Record, slots: &[ResourceProfile], names: Option<u64>, came_for: Option<u64>) {
        if let Some(named) = names.and_then(|ask| self.asks.remove(&ask)) {
            self.last_end = Rule::L4;
            if named.has_come {
                // The unnamed worker that counted for it came for another.
                self.one_has_come(named.shape.as_ref());
            }
            self.end_if_all_have_come();
            return;
        }
        let Some(ask) = came_for.and_then(|ask| self.asks.get(&ask)) else {
            return;
        };
        let (promised, shape) = (ask.promised, ask.shape.clone());
        let ungranted: usize = record.ungranted.iter().sum();
        let is_like_promised =
            |slot: &ResourceProfile| Some(slot) == shape.as_ref() || shape.as_ref() == Some(&ResourceProfile::ANY);
        let counts = slots.iter().any(is_like_promised);
        for slot in slots.iter().take(promised) {
            let left = || self.asks.values().flat_map(|ask| &ask.left);
            let stands_for =
                |promised: &&ResourceProfile| slot.is_matching(promised) || **promised == ResourceProfile::ANY;
            let equal = left().find(|promised| *promised == slot);
            let is_surplus = || record.settings.description.is_some() && left().count() > ungranted;
            let fitting = equal.or_else(|| left().find(stands_for));
            let surplus = || left().next().filter(|_| is_surplus());
            if let Some(consumed) = fitting.or_else(surplus).cloned() {
                self.consume(&consumed);
            }
        }
        if counts {
            self.last_end = Rule::L7;
            self.one_has_come(shape.as_ref());
            self.end_if_all_have_come();
        }
    }

    /// Marks the oldest worker request of a shape for which no worker came.
    fn one_has_come(&mut self, shape: Option<&ResourceProfile>) {
        let mut open = self.asks.values_mut();
        if let Some(ask) = open.find(|ask| !ask.has_come && ask.shape.as_ref() == shape) {
            ask.has_come = true;
        }
    }

    /// Ends the oldest promised slot of this profile.
    fn consume(&mut self, profile: &ResourceProfile) {
        for ask in self.asks.values_mut() {
            if let Some(position) = ask.left.iter().position(|left| left == profile) {
                ask.left.remove(position);
                return;
            }
        }
    }

    fn end_if_all_have_come(&mut self) {
        let are_left = self.asks.values().any(|ask| !ask.left.is_empty());
        if are_left && self.asks.values().all(|ask| ask.has_come) {
            self.last_end = Rule::L7;
        }
        if self.asks.values().all(|ask| ask.has_come) {
            self.asks.clear();
        }
    }

    fn left(&self) -> usize {
        self.asks.values().map(|ask| ask.left.len()).sum()
    }

    /// Starts and stops the clocks after an event.
    pub(crate) fn look(&mut self, record: &Record, may_defer: MayDefer) -> Deferral {
        self.may_defer = may_defer;
        let settings = &record.settings;
        let worker = settings.description.as_ref().map_or(1, |(slots, _)| *slots);
        let total = record
            .slot_counts()
            .registered
            .saturating_add(self.left())
            .saturating_add(worker);
        let is_limited = total > settings.max_slots;
        let uncovered = self.uncovered(record);
        let short = self.short_of_reserve(record);
        let may_wait = is_limited || may_defer.requests_until == Timestamp::MAX;
        let deferral = match (&uncovered, is_limited) {
            (None, _) => Deferral::None,
            (Some(_), true) => Deferral::Limit,
            (Some(_), false) => Deferral::Other,
        };
        let now = record.now;
        self.uncovered_since = uncovered.filter(|_| !may_wait).map(|text| {
            let since = self.uncovered_since.as_ref().map_or(now, |(since, _)| *since);
            (since, text)
        });
        self.short_since = short.filter(|_| !may_wait).map(|reserve| {
            let since = self.short_since.map_or(now, |(since, _)| since);
            (since, reserve)
        });
        deferral
    }

    /// Describes requests that need more slots than can come.
    fn uncovered(&self, record: &Record) -> Option<String> {
        let described = record.settings.description.as_ref();
        let (mut needed, mut could_come) = (0, 0);
        let mut counted = false;
        for (required, waiting) in record.waiting.iter().enumerate() {
            let profile = &record.profiles[required];
            let is_startable = described.is_none_or(|(_, slot)| slot.is_matching(profile));
            if *waiting == 0 || !is_startable || record.has_free_slot(required) {
                continue;
            }
            let all = self.asks.values().flat_map(|ask| &ask.left);
            let fitting = all.filter(|slot| slot.is_matching(profile)).count();
            if *waiting > fitting {
                return Some(format!(
                    "{waiting} requests for {profile} wait, and {fitting} slots can come"
                ));
            }
            needed += waiting;
            if !counted {
                could_come = self.left();
                counted = true;
            }
        }
        (needed > could_come).then(|| format!("{needed} requests wait, and {could_come} slots can come"))
    }

    fn short_of_reserve(&self, record: &Record) -> Option<&'static str> {
        let settings = &record.settings;
        if settings.min_slots == 0 && settings.redundant_slots == 0 {
            return None;
        }
        let left = self.left();
        let slots = record.slot_counts();
        if slots.offered + left < settings.min_slots {
            return Some("minimum");
        }
        let is_short = slots.held > 0 && slots.free + left < settings.redundant_slots;
        is_short.then_some("redundancy")
    }

    /// Checks the clocks.
    pub(crate) fn check(&self, time: Timestamp) -> Option<Broken> {
        if let Some((since, text)) = &self.uncovered_since {
            let deadline = self.may_defer.requests_until.max(*since) + SECOND;
            if time > deadline {
                return Some(Broken {
                    rule: self.last_end,
                    at: deadline,
                    text: format!("no worker is requested since {since}: {text}"),
                });
            }
        }
        let (since, reserve) = self.short_since?;
        let deadline = self.may_defer.reserve_until.max(since) + SECOND;
        (time > deadline).then(|| Broken {
            rule: Rule::L7,
            at: deadline,
            text: format!("no worker is requested for the {reserve} since {since}"),
        })
    }
}
