//! The reason why a request waits, in one sentence with times from now.

use slot_manager::Timestamp;
use slot_manager::view::{FittingWorkers, RequestExplanation, TooSmallSlots, WaitReason};

/// Returns the sentence for one request.
pub fn reason(request: &RequestExplanation, now: Timestamp) -> String {
    let within = |until| within(until, now);
    match &request.waits_for {
        WaitReason::Answer { slot_id, until } => {
            format!(
                "Slot {slot_id} was requested; its task executor may answer {}.",
                within(*until)
            )
        }
        WaitReason::Backoff { until } => format!(
            "{} failed; the next one comes {}.{}",
            count(request.failed_attempts as usize, "attempt", "attempts"),
            at(*until, now),
            request
                .last_failure
                .as_ref()
                .map(|failure| format!(" Last answer: {failure}."))
                .unwrap_or_default()
        ),
        WaitReason::PromisedWorker { until, .. } => {
            format!("A worker was requested; it may register {}.", within(*until))
        }
        WaitReason::WorkerDeclined { at: time } => format!(
            "{}, and no worker can be started; the next worker request is {}.",
            no_slot(request),
            at(*time, now)
        ),
        WaitReason::Limit { limit } => {
            format!("{}, and the {limit} limit allows no more workers.", no_slot(request))
        }
        WaitReason::Recovery { until } => {
            format!(
                "{}; no worker is requested during the recovery, which ends {}.",
                no_slot(request),
                at(*until, now)
            )
        }
        WaitReason::StartBackoff { until } => format!(
            "{}; workers failed to start, and the next one is requested {}.",
            no_slot(request),
            at(*until, now)
        ),
        WaitReason::EarlierWorkers { requested } => format!(
            "{}; after failed starts, no more workers are requested until one of {requested} registers or fails.",
            no_slot(request)
        ),
        WaitReason::NothingElse => format!("{}, and no worker that could be started would fit.", no_slot(request)),
        other => format!("It waits for {other}."),
    }
}

/// Returns the name of the group of requests that wait for the same kind of event.
pub fn group(reason: &WaitReason) -> &'static str {
    match reason {
        WaitReason::Answer { .. } => "the answer of a task executor",
        WaitReason::Backoff { .. } => "the end of a backoff after failed attempts",
        WaitReason::PromisedWorker { .. } => "a promised worker",
        WaitReason::WorkerDeclined { .. } => "a slot: no worker can be started now",
        WaitReason::Limit { .. } => "a slot: a limit allows no more workers",
        WaitReason::Recovery { .. } => "the end of the recovery",
        WaitReason::StartBackoff { .. } | WaitReason::EarlierWorkers { .. } => "a worker: earlier ones failed to start",
        WaitReason::NothingElse => "a slot: no worker that could be started would fit",
        _ => "another event",
    }
}

/// Says why no slot serves the request at present, and why none is cut for it.
fn no_slot(request: &RequestExplanation) -> String {
    let is_registered = request.fitting.total() + request.too_small.slots > 0;
    match no_cut(&request.dynamic_workers) {
        None => no_registered_slot(request),
        Some(no_cut) if is_registered => format!("{}; {no_cut}", no_registered_slot(request)),
        Some(no_cut) => format!("No slot is registered; {no_cut}"),
    }
}

/// Says why no slot is cut from a dynamic worker; `None` if there is none.
fn no_cut(dynamic: &FittingWorkers) -> Option<String> {
    let (all, with_room) = (dynamic.workers, dynamic.remainder_fits);
    let (workers, have) = match all {
        0 => return None,
        1 => ("the only dynamic worker".to_owned(), "has"),
        all => (format!("all {all} dynamic workers"), "have"),
    };
    if with_room > 0 {
        let workers = count(with_room, "dynamic worker has", "dynamic workers have");
        return Some(format!("{workers} room, but may not be used now"));
    }
    if dynamic.total_fits == 0 {
        return Some(format!("{workers} {have} too little in total"));
    }
    Some(match dynamic.shortages.first() {
        Some((resource, short)) if *short == all => format!("{workers} {have} too little {resource} left"),
        Some((resource, short)) => format!("{workers} {have} too little left, {short} of them of {resource}"),
        None => format!("{workers} {have} too little left"),
    })
}

fn no_registered_slot(request: &RequestExplanation) -> String {
    let fitting = request.fitting;
    if fitting.total() == 0 {
        return no_fitting_slot(&request.too_small);
    }
    let used = fitting.allocated + fitting.in_flight;
    let mut states = Vec::new();
    for (number, state) in [
        (used, "used"),
        (fitting.blocked, "blocked"),
        (fitting.backing_off, "backing off"),
        (fitting.free, "free"),
    ] {
        if number > 0 {
            states.push(format!("{number} {state}"));
        }
    }
    let fitting = count(fitting.total(), "slot fits", "slots fit");
    format!("{fitting} ({})", states.join(", "))
}

fn no_fitting_slot(too_small: &TooSmallSlots) -> String {
    if too_small.slots == 0 {
        return "No slot is registered".to_owned();
    }
    let slots = match too_small.slots {
        1 => "The only slot is".to_owned(),
        slots => format!("All {slots} slots are"),
    };
    match too_small.shortages.first() {
        Some((resource, short)) if *short == too_small.slots => format!("{slots} short of {resource}"),
        Some((resource, short)) => format!("{slots} too small, {short} of them in {resource}"),
        None => format!("{slots} too small"),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn within(until: Timestamp, now: Timestamp) -> String {
    match until {
        Timestamp::MAX => "without a time limit".to_owned(),
        until => format!("within {}", duration(until, now)),
    }
}

fn at(time: Timestamp, now: Timestamp) -> String {
    match time {
        Timestamp::MAX => "never".to_owned(),
        time => format!("in {}", duration(time, now)),
    }
}

/// Returns the time from now to a moment, in the unit that suits it.
pub fn duration(time: Timestamp, now: Timestamp) -> String {
    let duration = time.saturating_duration_since(now);
    // A part of a second is not over yet.
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
