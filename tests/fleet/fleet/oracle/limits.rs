//! L5: no useful worker is turned away because of a promise. Room: an idle worker of another shape
//! leaves.
//!
//! L5 is checked at the refusal: the limit holds for the registered slots and the newcomer, so only
//! promises stand in the way, and a request waits that no free slot fits and a slot of the newcomer
//! does. Requests that may back off do not count.
//!
//! Room: while a request is deferred by the limit, a worker that is idle for its timeout and fits
//! no ungranted request is released. It may stay for 1 s longer.

use slot_manager::Timestamp;

use super::promises::Deferral;
use super::record::{Observed, Record};
use super::{Broken, Rule, SECOND};

/// The clock of requests that are deferred by the limit.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    deferred_since: Option<Timestamp>,
}

impl Limits {
    /// Checks an answer to a registration, before the record applies it.
    pub(crate) fn observe(&self, record: &Record, observed: &Observed) -> Option<Broken> {
        match observed {
            Observed::TurnedAway { worker, slots } => {
                let is_blocked = record.workers.get(worker).is_some_and(|worker| worker.is_blocked);
                let total = record.slot_counts().registered + slots.len();
                if is_blocked || total > record.settings.max_slots {
                    return None;
                }
                let waiting = record.waiting.iter().enumerate();
                let served = waiting
                    .filter(|(_, number)| **number > 0)
                    .map(|(required, _)| required)
                    .find(|required| {
                        let fits = |slot: &slot_manager::ResourceProfile| slot.is_matching(&record.profiles[*required]);
                        !record.has_free_slot(*required) && slots.iter().any(|(_, slot, _)| fits(slot))
                    })?;
                Some(Broken {
                    rule: Rule::L5,
                    at: record.now,
                    text: format!(
                        "w{worker} is turned away although {total} slots with its own are within the limit and {} \
                         requests wait for {}",
                        record.waiting[served], record.profiles[served]
                    ),
                })
            }
            Observed::LateRegistration {
                worker,
                is_accepted: true,
            } => Some(Broken {
                rule: Rule::Superseded,
                at: record.now,
                text: format!("a late registration of the former instance of w{worker} is accepted"),
            }),
            _ => None,
        }
    }

    /// Starts or stops the clock.
    pub(crate) fn look(&mut self, record: &Record, deferral: Deferral) {
        self.deferred_since = match deferral {
            Deferral::Limit => Some(self.deferred_since.unwrap_or(record.now)),
            Deferral::None | Deferral::Other => None,
        };
    }

    /// Checks that idle workers made room.
    pub(crate) fn check(&self, record: &Record, time: Timestamp) -> Option<Broken> {
        let since = self.deferred_since?;
        if record.settings.idle_timeout > SECOND * 1_000_000 {
            return None;
        }
        record
            .registered()
            .filter(|(_, worker)| worker.is_idle())
            .find_map(|(number, worker)| {
                let at = (worker.idle_since + record.settings.idle_timeout).max(since) + SECOND;
                let is_useful = worker.slots.values().any(|slot| {
                    let ungranted = record.ungranted.iter().enumerate();
                    ungranted
                        .into_iter()
                        .any(|(required, number)| *number > 0 && record.is_fitting(slot.profile, required))
                });
                (time > at && !is_useful).then(|| Broken {
                rule: Rule::Room,
                at,
                text: format!(
                    "w{number} is idle since {} and fits no request, while a request is deferred by the limit since \
                     {since}",
                    worker.idle_since
                ),
            })
            })
    }
}
