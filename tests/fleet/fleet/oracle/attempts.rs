//! L2: a bad worker is tried rarely.
//!
//! The count starts when the manager knows that the worker is bad: after one attempt without an
//! answer or a lost connection, or after two refusals in a row. Attempts that were in flight by
//! then do not count. An acknowledgement, a new registration and a change of conduct start it anew.
//!
//! The bound grows with the logarithm of the time up to the longest backoff, and then by one for
//! each longest backoff. It is twice that, plus one for each job: a first attempt for a new job may
//! show whether the worker or an older job is at fault.

use std::collections::BTreeMap;

use slot_manager::Timestamp;

use super::record::{Observed, Place, Record};
use super::{Broken, Rule};
use crate::fleet::workers::Conduct;

/// The attempts of one worker.
#[derive(Debug, Default)]
struct Count {
    refusals: u32,
    /// The end of this call makes the worker known as bad.
    becomes_known: bool,
    known_since: Option<Timestamp>,
    attempts: u32,
}

/// The attempts of all workers.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    workers: BTreeMap<usize, Count>,
    /// The workers that the end of this call makes known as bad.
    becoming_known: Vec<usize>,
    /// The worker of each attempt that awaits its answer.
    in_flight: BTreeMap<(u64, u64), usize>,
}

impl Attempts {
    /// Counts an event, which the record has applied.
    pub(crate) fn observe(&mut self, record: &Record, observed: &Observed, broken: &mut Vec<Broken>) {
        match observed {
            Observed::Attempt {
                allocation,
                worker,
                number,
                ..
            } => {
                self.in_flight.insert((*allocation, *number), *worker);
                broken.extend(self.count(record, *worker));
            }
            Observed::AttemptFailed {
                allocation,
                number,
                is_unreachable,
            } => self.fail(*allocation, *number, *is_unreachable),
            Observed::GivenUp { allocation, number } => {
                // A cancelled request is given up too, and is not known any more.
                let request = record.requests.get(allocation);
                let is_failure = request.is_some_and(|request| request.place == Place::Waiting);
                match is_failure {
                    true => self.fail(*allocation, *number, true),
                    false => drop(self.in_flight.remove(&(*allocation, *number))),
                }
            }
            Observed::Granted { worker, .. }
            | Observed::Registered { worker, .. }
            | Observed::Gone { worker }
            | Observed::ConductChanged { worker, .. }
            | Observed::BlockChanged { worker, .. } => drop(self.workers.remove(worker)),
            _ => {}
        }
    }

    fn fail(&mut self, allocation: u64, number: u64, is_lasting: bool) {
        let Some(worker) = self.in_flight.remove(&(allocation, number)) else {
            return;
        };
        let count = self.workers.entry(worker).or_default();
        count.refusals += 1;
        if count.known_since.is_none() && (is_lasting || count.refusals >= 2) {
            count.becomes_known = true;
            self.becoming_known.push(worker);
        }
    }

    /// Ends a call. Answers within a call count from its end: other attempts may leave in the same
    /// round.
    pub(crate) fn call_ended(&mut self, record: &Record) {
        for worker in self.becoming_known.drain(..) {
            if let Some(count) = self.workers.get_mut(&worker).filter(|count| count.becomes_known) {
                count.known_since.get_or_insert(record.now);
            }
        }
    }

    fn count(&mut self, record: &Record, worker: usize) -> Option<Broken> {
        let count = self.workers.get_mut(&worker)?;
        let known_since = count.known_since?;
        if record.workers.get(&worker)?.conduct == Conduct::Healthy {
            return None;
        }
        count.attempts += 1;
        let settings = &record.settings;
        let seconds = (record.now - known_since).as_secs_f64();
        let first = settings.first_backoff.as_secs_f64().max(0.001);
        let longest = settings.longest_backoff.as_secs_f64().max(first);
        let usual = (1.0 + seconds.min(longest) / first).log2() + seconds / longest;
        let bound = 6.0 + record.jobs.len() as f64 + 2.0 * usual;
        (f64::from(count.attempts) > bound).then(|| Broken {
            rule: Rule::L2,
            at: record.now,
            text: format!(
                "w{worker} is {:?} and known as bad since {known_since}, and gets its attempt {} since then (at most \
                 {bound:.0})",
                record.workers[&worker].conduct, count.attempts
            ),
        })
    }
}
