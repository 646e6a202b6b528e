//! Commands as lines of text: ids are numbers, profiles have names, an allocation with its job is
//! `5@1`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use slot_manager::message::ReleaseDecision;

use super::{Answer, AttemptName, CheckId, Command, Holder, Promise, Report, Shape, Status, Total, WorkerRequestName};

mod config;

pub(crate) use self::config::{read_config, write_config};

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

/// The number, and the leader if it is not the present one: `3`, `3@2`.
impl fmt::Display for WorkerRequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.leader.iter().try_for_each(|leader| write!(f, "@{leader}"))
    }
}

/// The number of the attempt, its allocation and its leader: `3:5@1`.
impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.number, self.allocation, self.leader)
    }
}

/// The number of the check, its instance and its leader: `3:7@1`.
impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.number, self.instance, self.leader)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.slot, self.shape)?;
        self.holder.iter().try_for_each(|holder| write!(f, "={holder}"))
    }
}

/// Writes `total`, `default` and `free` of a dynamic worker, each followed by a profile.
impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "total {}", self.total)?;
        let mut default_slot = self.default_slot.iter();
        default_slot.try_for_each(|default_slot| write!(f, " default {default_slot}"))?;
        self.free.iter().try_for_each(|free| write!(f, " free {free}"))
    }
}

/// Writes the resources of a dynamic worker, `slots`, the statuses and `rev <revision>`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dynamic.iter().try_for_each(|total| write!(f, "{total} "))?;
        f.write_str("slots")?;
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
            Self::Insufficient(free) => write!(f, "insufficient:{free}"),
            Self::Later => f.write_str("later"),
            Self::AsInput => f.write_str("as-input"),
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
            Self::Total(total) => write!(f, "{total}"),
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
            Self::Start { leader, length } => {
                write!(f, "start {leader}")?;
                length
                    .iter()
                    .try_for_each(|length| write!(f, " for {}", Length(*length)))
            }
            Self::Suspend => f.write_str("suspend"),
            Self::Renew(length) => write!(f, "renew {}", Length(*length)),
            Self::ExpectWorkers(workers) => write!(f, "expect-workers {}", workers.join(" ")),
            Self::EndRecovery => f.write_str("end-recovery"),
            Self::Request {
                allocation,
                job,
                profile,
            } => write!(f, "request {allocation}@{job} {profile}"),
            Self::Cancel { allocation } => write!(f, "cancel {allocation}"),
            Self::Declare { job, slots, revision } => {
                write!(f, "declare {job}")?;
                slots
                    .iter()
                    .try_for_each(|(shape, slots)| write!(f, " {shape}:{slots}"))?;
                revision.iter().try_for_each(|revision| write!(f, " rev {revision}"))
            }
            Self::UnregisterJob { job } => write!(f, "unregister-job {job}"),
            Self::Free {
                slot,
                allocation,
                revision,
                attempt,
            } => {
                write!(f, "free {slot} {allocation}")?;
                attempt.iter().try_for_each(|attempt| write!(f, " under {attempt}"))?;
                let mut revision = revision.iter();
                revision.try_for_each(|(instance, revision)| write!(f, " by {instance} rev {revision}"))
            }
            Self::Register {
                worker,
                instance,
                worker_request,
                answer,
                report,
            } => {
                write!(f, "register {worker} {instance} {answer}")?;
                worker_request.iter().try_for_each(|id| write!(f, " for {id}"))?;
                write!(f, " {report}")
            }
            Self::Unregister { instance } => write!(f, "unregister {instance}"),
            Self::Report { instance, report } => write!(f, "report {instance} {report}"),
            Self::WorkerFailed { worker_request } => write!(f, "worker-failed {worker_request}"),
            Self::Block { worker } => write!(f, "block {worker}"),
            Self::Unblock { worker } => write!(f, "unblock {worker}"),
            Self::FailUnfulfillable(true) => f.write_str("fail-unfulfillable on"),
            Self::FailUnfulfillable(false) => f.write_str("fail-unfulfillable off"),
            Self::AnswerRelease { check, answer } => {
                write!(f, "answer-release {check} {}", name_of_release_answer(*answer))
            }
            Self::Answers { instance, once, answer } => write!(f, "answers {instance} {}{answer}", next(once)),
            Self::Answer { attempt, answer } => write!(f, "answer {attempt} {answer}"),
            Self::AnswerInput { attempt, answer } => write!(f, "answer-input {attempt} {answer}"),
            Self::Workers { once, promise } => write!(f, "workers {}{promise}", next(once)),
            Self::Releases { once, accept } => {
                write!(
                    f,
                    "releases {}{}",
                    next(once),
                    if *accept { "accepted" } else { "declined" }
                )
            }
            Self::Withdrawals { once, confirm } => {
                let answer = if *confirm { "confirmed" } else { "too-late" };
                write!(f, "withdrawals {}{answer}", next(once))
            }
            Self::ReleaseAnswers { instance, once, answer } => {
                let answer = name_of_release_answer(*answer);
                write!(f, "release-answers {instance} {}{answer}", next(once))
            }
            Self::Advance(by) => write!(f, "advance {}", Length(*by)),
            Self::TurnBack(by) => write!(f, "turn-back {}", Length(*by)),
            Self::Run => f.write_str("run"),
        }
    }
}

fn name_of_release_answer(answer: ReleaseDecision) -> &'static str {
    match answer {
        ReleaseDecision::Release => "yes",
        ReleaseDecision::Keep => "no",
        ReleaseDecision::Later => "later",
    }
}

fn read_release_answer(text: &str) -> Result<ReleaseDecision, String> {
    let all = [ReleaseDecision::Release, ReleaseDecision::Keep, ReleaseDecision::Later];
    let named = all.into_iter().find(|answer| name_of_release_answer(*answer) == text);
    named.ok_or(format!("{text:?} is no release decision"))
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

/// Splits off `next`, which limits a command to one answer.
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

impl FromStr for WorkerRequestName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, leader) = match text.split_once('@') {
            Some((number, leader)) => (number, Some(read(leader)?)),
            None => (text, None),
        };
        Ok(Self {
            number: read(number)?,
            leader,
        })
    }
}

/// Reads `number:subject@leader`.
fn read_name(text: &str) -> Result<(u64, u128, u128), String> {
    let parts = text.split_once(':').and_then(|(number, rest)| {
        let (subject, leader) = rest.split_once('@')?;
        Some((number, subject, leader))
    });
    let (number, subject, leader) = parts.ok_or(format!("{text:?} is no number:subject@leader"))?;
    Ok((read(number)?, read(subject)?, read(leader)?))
}

impl FromStr for AttemptName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, allocation, leader) = read_name(text)?;
        Ok(Self {
            number,
            allocation,
            leader,
        })
    }
}

impl FromStr for CheckId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, instance, leader) = read_name(text)?;
        Ok(Self {
            number,
            instance,
            leader,
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
        let (dynamic, words) = read_total(words)?;
        let ["slots", words @ ..] = words else {
            return Err(format!("{words:?}: the slots are missing"));
        };
        let (statuses, revision) = match words {
            [statuses @ .., "rev", revision] => (statuses, Some(read(revision)?)),
            statuses => (statuses, None),
        };
        Ok(Self {
            dynamic,
            statuses: statuses.iter().map(|status| status.parse()).collect::<Result<_, _>>()?,
            revision,
        })
    }
}

/// Reads the resources of a dynamic worker, if they are there. Returns the other words, too.
fn read_total<'a, 'b>(words: &'a [&'b str]) -> Result<(Option<Total>, &'a [&'b str]), String> {
    let ["total", total, rest @ ..] = words else {
        return Ok((None, words));
    };
    let (default_slot, rest) = read_shape_after("default", rest)?;
    let (free, rest) = read_shape_after("free", rest)?;
    let total = Total {
        total: total.parse()?,
        default_slot,
        free,
    };
    Ok((Some(total), rest))
}

/// Reads a word and the profile after it, if the word is there.
fn read_shape_after<'a, 'b>(word: &str, words: &'a [&'b str]) -> Result<(Option<Shape>, &'a [&'b str]), String> {
    match words {
        [first, shape, rest @ ..] if *first == word => Ok((Some(shape.parse()?), rest)),
        words => Ok((None, words)),
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
            None if text == "as-input" => Ok(Self::AsInput),
            Some(("yes", revision)) => Ok(Self::Yes {
                revision: Some(read(revision)?),
            }),
            Some(("held-by", holder)) => Ok(Self::HeldBy(holder.parse()?)),
            Some(("insufficient", free)) => Ok(Self::Insufficient(free.parse()?)),
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
            ["total", ..] => match read_total(words)? {
                (Some(total), []) => Ok(Self::Total(total)),
                _ => Err(format!("{words:?} is no total")),
            },
            ["unspecified"] => Ok(Self::Unspecified),
            ["declined"] => Ok(Self::Declined),
            ["refused"] => Ok(Self::Refused),
            _ => Err(format!("{words:?} is no answer to a worker request")),
        }
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["start", leader] => Ok(Self::Start {
                leader: read(leader)?,
                length: None,
            }),
            ["start", leader, "for", length] => Ok(Self::Start {
                leader: read(leader)?,
                length: Some(length.parse::<Length>()?.0),
            }),
            ["suspend"] => Ok(Self::Suspend),
            ["renew", length] => Ok(Self::Renew(length.parse::<Length>()?.0)),
            ["expect-workers", workers @ ..] => Ok(Self::ExpectWorkers(
                workers.iter().map(|worker| (*worker).to_owned()).collect(),
            )),
            ["end-recovery"] => Ok(Self::EndRecovery),
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
            ["declare", job, rest @ ..] => {
                let (slots, revision) = match rest {
                    [slots @ .., "rev", revision] => (slots, Some(read(revision)?)),
                    slots => (slots, None),
                };
                let slots = slots.iter().map(|word| {
                    let (shape, slots) = word.split_once(':').ok_or(format!("{word:?} is no profile:slots"))?;
                    Ok((shape.parse()?, read(slots)?))
                });
                Ok(Self::Declare {
                    job: read(job)?,
                    slots: slots.collect::<Result<_, String>>()?,
                    revision,
                })
            }
            ["unregister-job", job] => Ok(Self::UnregisterJob { job: read(job)? }),
            ["free", slot, allocation, rest @ ..] => {
                let (attempt, rest) = match rest {
                    ["under", attempt, rest @ ..] => (Some(read(attempt)?), rest),
                    rest => (None, rest),
                };
                Ok(Self::Free {
                    slot: read(slot)?,
                    allocation: read(allocation)?,
                    revision: match rest {
                        [] => None,
                        ["by", instance, "rev", revision] => Some((read(instance)?, read(revision)?)),
                        _ => return Err(format!("{line:?}: no instance and revision")),
                    },
                    attempt,
                })
            }
            ["register", worker, instance, answer, rest @ ..] => {
                let (worker_request, report) = match rest {
                    ["for", id, report @ ..] => (Some(id.parse()?), report),
                    report => (None, report),
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
            ["report", instance, report @ ..] => Ok(Self::Report {
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
            ["answer-input", attempt, answer] => Ok(Self::AnswerInput {
                attempt: attempt.parse()?,
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
                    _ => Err(format!("{line:?}: neither accepted nor declined")),
                }
            }
            ["block", worker] => Ok(Self::Block {
                worker: (*worker).to_owned(),
            }),
            ["unblock", worker] => Ok(Self::Unblock {
                worker: (*worker).to_owned(),
            }),
            ["fail-unfulfillable", "on"] => Ok(Self::FailUnfulfillable(true)),
            ["fail-unfulfillable", "off"] => Ok(Self::FailUnfulfillable(false)),
            ["answer-release", check, answer] => Ok(Self::AnswerRelease {
                check: check.parse()?,
                answer: read_release_answer(answer)?,
            }),
            ["withdrawals", rest @ ..] => {
                let (once, rest) = once_and_rest(rest);
                match rest {
                    ["confirmed"] => Ok(Self::Withdrawals { once, confirm: true }),
                    ["too-late"] => Ok(Self::Withdrawals { once, confirm: false }),
                    _ => Err(format!("{line:?}: neither confirmed nor too-late")),
                }
            }
            ["release-answers", instance, rest @ ..] => {
                let (once, rest) = once_and_rest(rest);
                Ok(Self::ReleaseAnswers {
                    instance: read(instance)?,
                    once,
                    answer: read_release_answer(&rest.concat())?,
                })
            }
            ["advance", by] => Ok(Self::Advance(by.parse::<Length>()?.0)),
            ["turn-back", by] => Ok(Self::TurnBack(by.parse::<Length>()?.0)),
            ["run"] => Ok(Self::Run),
            _ => Err(format!("{line:?} is no command")),
        }
    }
}
