//! Commands as lines of text: ids as numbers, profiles by name, an allocation with its job as `5@1`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use slot_manager::{SlotManagerConfig, SlotMatchingStrategy};

use super::{Answer, Command, Holder, Promise, Report, Shape, Status};

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.allocation, self.job)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.slot, self.shape)?;
        self.holder.iter().try_for_each(|holder| write!(f, "={holder}"))
    }
}

/// The statuses, then `rev <revision>`; each with a space before it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statuses.iter().try_for_each(|status| write!(f, " {status}"))?;
        self.revision
            .iter()
            .try_for_each(|revision| write!(f, " rev {revision}"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes { revision: None } => f.write_str("yes"),
            Self::Yes {
                revision: Some(revision),
            } => write!(f, "yes:{revision}"),
            Self::No => f.write_str("no"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::HeldBy(holder) => write!(f, "held-by:{holder}"),
            Self::Later => f.write_str("later"),
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(shapes) => {
                f.write_str("slots")?;
                shapes.iter().try_for_each(|shape| write!(f, " {shape}"))
            }
            Self::Unspecified => f.write_str("unspecified"),
            Self::Declined => f.write_str("declined"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = |once: &bool| if *once { "next " } else { "" };
        match self {
            Self::Start { leader } => write!(f, "start {leader}"),
            Self::Suspend => f.write_str("suspend"),
            Self::Request {
                allocation,
                job,
                profile,
            } => write!(f, "request {allocation}@{job} {profile}"),
            Self::Cancel { allocation } => write!(f, "cancel {allocation}"),
            Self::UnregisterJob { job } => write!(f, "unregister-job {job}"),
            Self::Free { slot, allocation } => write!(f, "free {slot} {allocation}"),
            Self::Register {
                worker,
                instance,
                worker_request,
                answer,
                report,
            } => {
                write!(f, "register {worker} {instance} {answer}")?;
                worker_request.iter().try_for_each(|id| write!(f, " for {id}"))?;
                write!(f, " slots{report}")
            }
            Self::Unregister { instance } => write!(f, "unregister {instance}"),
            Self::Report { instance, report } => write!(f, "report {instance} slots{report}"),
            Self::WorkerFailed { worker_request } => write!(f, "worker-failed {worker_request}"),
            Self::Answers { instance, once, answer } => write!(f, "answers {instance} {}{answer}", next(once)),
            Self::Answer { attempt, answer } => write!(f, "answer {attempt} {answer}"),
            Self::Workers { once, promise } => write!(f, "workers {}{promise}", next(once)),
            Self::Releases { once, accept } => {
                write!(
                    f,
                    "releases {}{}",
                    next(once),
                    if *accept { "accepted" } else { "declined" }
                )
            }
            Self::Advance(by) => write!(f, "advance {}", Length(*by)),
            Self::TurnBack(by) => write!(f, "turn-back {}", Length(*by)),
            Self::Run => f.write_str("run"),
        }
    }
}

/// A duration in milliseconds, or `never`.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration::MAX => f.write_str("never"),
            length => write!(f, "{}ms", length.as_millis()),
        }
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(Duration::MAX));
        }
        let milliseconds = text.strip_suffix("ms").ok_or(format!("{text:?} is no length"))?;
        Ok(Self(Duration::from_millis(read(milliseconds)?)))
    }
}

/// `next` says that it is about one answer only.
fn once_and_rest<'a, 'b>(words: &'a [&'b str]) -> (bool, &'a [&'b str]) {
    match words {
        ["next", rest @ ..] => (true, rest),
        rest => (false, rest),
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} cannot be read"))
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|shape| shape.name() == text);
        named.ok_or(format!("{text:?} is no profile"))
    }
}

impl FromStr for Holder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (allocation, job) = text.split_once('@').ok_or(format!("{text:?} is no allocation@job"))?;
        Ok(Self {
            allocation: read(allocation)?,
            job: read(job)?,
        })
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (slot, rest) = text.split_once(':').ok_or(format!("{text:?} is no slot:profile"))?;
        let (shape, holder) = match rest.split_once('=') {
            Some((shape, holder)) => (shape, Some(holder.parse()?)),
            None => (rest, None),
        };
        Ok(Self {
            slot: read(slot)?,
            shape: shape.parse()?,
            holder,
        })
    }
}

impl Report {
    fn read(words: &[&str]) -> Result<Self, String> {
        let (statuses, revision) = match words {
            [statuses @ .., "rev", revision] => (statuses, Some(read(revision)?)),
            statuses => (statuses, None),
        };
        Ok(Self {
            statuses: statuses.iter().map(|status| status.parse()).collect::<Result<_, _>>()?,
            revision,
        })
    }
}

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "yes" => Ok(Self::Yes { revision: None }),
            None if text == "no" => Ok(Self::No),
            None if text == "unreachable" => Ok(Self::Unreachable),
            None if text == "later" => Ok(Self::Later),
            Some(("yes", revision)) => Ok(Self::Yes {
                revision: Some(read(revision)?),
            }),
            Some(("held-by", holder)) => Ok(Self::HeldBy(holder.parse()?)),
            _ => Err(format!("{text:?} is no answer")),
        }
    }
}

impl Promise {
    fn read(words: &[&str]) -> Result<Self, String> {
        match words {
            ["slots", shapes @ ..] => {
                let shapes = shapes.iter().map(|shape| shape.parse());
                Ok(Self::Slots(shapes.collect::<Result<_, _>>()?))
            }
            ["unspecified"] => Ok(Self::Unspecified),
            ["declined"] => Ok(Self::Declined),
            ["refused"] => Ok(Self::Refused),
            _ => Err(format!("{words:?} is no answer to the wish for a worker")),
        }
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["start", leader] => Ok(Self::Start { leader: read(leader)? }),
            ["suspend"] => Ok(Self::Suspend),
            ["request", id, shape] => {
                let Holder { allocation, job } = id.parse()?;
                let profile = shape.parse()?;
                Ok(Self::Request {
                    allocation,
                    job,
                    profile,
                })
            }
            ["cancel", allocation] => Ok(Self::Cancel {
                allocation: read(allocation)?,
            }),
            ["unregister-job", job] => Ok(Self::UnregisterJob { job: read(job)? }),
            ["free", slot, allocation] => Ok(Self::Free {
                slot: read(slot)?,
                allocation: read(allocation)?,
            }),
            ["register", worker, instance, answer, rest @ ..] => {
                let (worker_request, report) = match rest {
                    ["for", id, "slots", report @ ..] => (Some(read(id)?), report),
                    ["slots", report @ ..] => (None, report),
                    _ => return Err(format!("{line:?}: where are the slots?")),
                };
                Ok(Self::Register {
                    worker: (*worker).to_owned(),
                    instance: read(instance)?,
                    worker_request,
                    answer: answer.parse()?,
                    report: Report::read(report)?,
                })
            }
            ["unregister", instance] => Ok(Self::Unregister {
                instance: read(instance)?,
            }),
            ["report", instance, "slots", report @ ..] => Ok(Self::Report {
                instance: read(instance)?,
                report: Report::read(report)?,
            }),
            ["worker-failed", id] => Ok(Self::WorkerFailed {
                worker_request: read(id)?,
            }),
            ["answers", instance, rest @ ..] => {
                let (once, rest) = once_and_rest(rest);
                Ok(Self::Answers {
                    instance: read(instance)?,
                    once,
                    answer: rest.concat().parse()?,
                })
            }
            ["answer", attempt, answer] => Ok(Self::Answer {
                attempt: read(attempt)?,
                answer: answer.parse()?,
            }),
            ["workers", rest @ ..] => {
                let (once, rest) = once_and_rest(rest);
                let promise = Promise::read(rest)?;
                Ok(Self::Workers { once, promise })
            }
            ["releases", rest @ ..] => {
                let (once, rest) = once_and_rest(rest);
                match rest {
                    ["accepted"] => Ok(Self::Releases { once, accept: true }),
                    ["declined"] => Ok(Self::Releases { once, accept: false }),
                    _ => Err(format!("{line:?}: accepted or declined?")),
                }
            }
            ["advance", by] => Ok(Self::Advance(by.parse::<Length>()?.0)),
            ["turn-back", by] => Ok(Self::TurnBack(by.parse::<Length>()?.0)),
            ["run"] => Ok(Self::Run),
            _ => Err(format!("{line:?} is no command")),
        }
    }
}

/// The first line of a script: what differs from timeouts that never come.
pub(crate) fn write_config(config: &SlotManagerConfig) -> String {
    let mut words = vec!["config".to_owned()];
    for (name, length) in [
        ("request", config.request_timeout),
        ("rpc", config.rpc_timeout),
        ("idle", config.task_manager_timeout),
        ("worker", config.worker_registration_timeout),
        ("pause", config.retry_pause),
        ("max-pause", config.max_retry_pause),
    ] {
        words.push(format!("{name}={}", Length(length)));
    }
    if let Some(limit) = config.max_pending_requests {
        words.push(format!("pending={limit}"));
    }
    if config.slot_matching_strategy == SlotMatchingStrategy::LeastUtilization {
        words.push("spread-out".to_owned());
    }
    words.join(" ")
}

/// Reads what [`write_config`] writes; what is not named is as in [`patient`](crate::common::patient).
pub(crate) fn read_config(line: &str) -> Result<SlotManagerConfig, String> {
    let mut words = line.split_whitespace();
    if words.next() != Some("config") {
        return Err(format!("{line:?} is no configuration"));
    }
    let mut config = crate::common::patient();
    for word in words {
        if word == "spread-out" {
            config.slot_matching_strategy = SlotMatchingStrategy::LeastUtilization;
            continue;
        }
        let (name, value) = word.split_once('=').ok_or(format!("{word:?} is no option"))?;
        if name == "pending" {
            config.max_pending_requests = Some(read(value)?);
            continue;
        }
        let length = value.parse::<Length>()?.0;
        match name {
            "request" => config.request_timeout = length,
            "rpc" => config.rpc_timeout = length,
            "idle" => config.task_manager_timeout = length,
            "worker" => config.worker_registration_timeout = length,
            "pause" => config.retry_pause = length,
            "max-pause" => config.max_retry_pause = length,
            _ => return Err(format!("{word:?} is no option")),
        }
    }
    Ok(config)
}
