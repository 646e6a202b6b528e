//! L1 and L3: a request that a good worker could serve is granted in time.
//!
//! *Could serve*: the worker is registered, not blocked and healthy, and one of its slots fits and
//! is free or in flight for a poisoned request. From a dynamic worker a slot can be cut beside those
//! that are held or in flight for good requests. This must hold for one worker without a break.
//!
//! The bound of L1 is 1 s, the answer time of the worker, and one RPC timeout for each hanging
//! worker on which the request was tried meanwhile. Each poisoned job may have one attempt on the
//! worker before, and a first backoff after it: until then nothing tells it from a good one. A
//! second attempt on a hanging worker adds nothing ("once, not once a slot"). For L3 a longest
//! backoff and an RPC timeout come on top, from the recovery on. The probe of a worker may go to a
//! poisoned job that is not suspect yet, twice for each such job. A failed attempt of the request
//! on another worker begins its own backoff, so the time counts from the last.
//!
//! A request remembers only a few workers on which its attempts failed. From failures on [`FEW`]
//! workers on, the request itself may be at fault, and may back off between its attempts. It is not
//! checked any more.
//!
//! L1 is about jobs that are not at fault. A job of which all attempts hit bad workers may count as
//! suspect. Its requests are checked only while no other job waits, and with one more longest
//! backoff.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use slot_manager::Timestamp;

use super::record::{Place, Record, RequestRecord, WorkerRecord};
use super::{Broken, Rule, SECOND};

/// The number of workers that a request has to remember.
const FEW: usize = 64;

/// Checks all waiting requests at a time until which nothing happened.
pub(crate) fn check(record: &Record, time: Timestamp) -> Option<Broken> {
    let poisoned_jobs = LazyCell::new(|| num_poisoned_jobs(record));
    for (required, good) in record.good.iter().enumerate().filter(|(_, good)| !good.is_empty()) {
        for number in &record.available[required] {
            let worker = &record.workers[number];
            let Some(since) = worker.available_since[required].filter(|since| time > *since + SECOND) else {
                continue;
            };
            for allocation in good {
                let request = &record.requests[allocation];
                let Some(deadline) = deadline(record, worker, since, request, *poisoned_jobs) else {
                    continue;
                };
                if time <= deadline {
                    continue;
                }
                return Some(Broken {
                    rule: if worker.was_bad { Rule::L3 } else { Rule::L1 },
                    at: deadline,
                    text: format!(
                        "request {allocation} of job {}, since {}, is not granted although w{number} has a slot for it \
                         since {since}; {}, tried without an answer: {:?}",
                        request.job,
                        request.since,
                        describe(request),
                        request.unanswered.iter().map(|tried| tried.worker).collect::<Vec<_>>()
                    ),
                });
            }
        }
    }
    None
}

fn describe(request: &RequestRecord) -> &'static str {
    match request.place {
        Place::InFlight { .. } => "it is in flight elsewhere",
        _ => "it waits",
    }
}

/// Returns the number of poisoned jobs with a pending request.
fn num_poisoned_jobs(record: &Record) -> u32 {
    let poisoned = record.requests.values().filter(|request| request.is_poisoned);
    let jobs: BTreeSet<u64> = poisoned.map(|request| request.job).collect();
    jobs.len() as u32
}

/// Returns the time by which the request has to be granted; `None` if the promise does not hold for
/// it.
fn deadline(
    record: &Record,
    worker: &WorkerRecord,
    available_since: Timestamp,
    request: &RequestRecord,
    poisoned_jobs: u32,
) -> Option<Timestamp> {
    if request.failed_on.len() >= FEW {
        return None;
    }
    let settings = &record.settings;
    let mut since = available_since.max(request.since);
    let mut bound = SECOND + worker.answer_time + (settings.first_backoff + worker.answer_time) * poisoned_jobs;
    if record.jobs[&request.job].is_suspect {
        let (job, alone_since) = record.alone?;
        if job != request.job {
            return None;
        }
        since = since.max(alone_since);
        bound += settings.longest_backoff;
    }
    if worker.was_bad {
        since = since.max(request.last_failed);
        bound += settings.longest_backoff + settings.rpc_timeout;
        bound += settings.longest_backoff * 2 * poisoned_jobs;
    }
    let mut hanging: Vec<(usize, u32)> = request
        .unanswered
        .iter()
        .filter(|tried| tried.at + settings.rpc_timeout >= since)
        .map(|tried| (tried.worker, tried.epoch))
        .collect();
    hanging.sort_unstable();
    hanging.dedup();
    bound += settings.rpc_timeout * hanging.len() as u32;
    Some(since + bound)
}
