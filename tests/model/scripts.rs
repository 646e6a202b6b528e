//! Scripts: commands line by line, each followed by its outcome and its effects.
//!
//! Scripts are text files in `scripts/` that run through the model and the slot manager. The
//! indented lines below a command are the result of the call and its effects, in brief form.
//! `UPDATE_SCRIPTS=1` writes the indented lines anew: read the difference before you keep it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use proptest_state_machine::ReferenceStateMachine;
use slot_manager::error::{RegistrationError, SlotRequestError};
use slot_manager::outcome::{
    AllocationStatus, BlockOutcome, CancelOutcome, RegistrationOutcome, ReleaseAnswerOutcome, ReportOutcome,
    SlotAnswerOutcome, SlotFreedOutcome, SlotRequestOutcome, UnblockOutcome, UnregistrationOutcome,
    WorkerFailedOutcome,
};

use crate::command::{Command, text};
use crate::common::brief;
use crate::observation::{Outcome, Response};
use crate::state_machine::{Reference, compare};
use crate::subject::Subject;

const INDENT: &str = "    ";

#[test]
fn scripts_have_the_outcomes_and_effects_below_each_command() {
    let mut different = Vec::new();
    for path in files() {
        let script = fs::read_to_string(&path).expect("a readable script");
        let name = path.display();
        let ran = run(&script).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        if ran == script {
            continue;
        }
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            fs::write(&path, ran).expect("a writable script");
        } else {
            different.push(format!("{name} has other outcomes or effects:\n\n{ran}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Failing cases are printed as scripts.
#[test]
fn case_is_read_as_it_is_written() {
    let mut runner = TestRunner::deterministic();
    let cases = Reference::sequential_strategy(1..100);
    for _ in 0..50 {
        let (initial, steps, _) = cases.new_tree(&mut runner).expect("a case").current();
        let script = steps
            .iter()
            .fold(initial, <Reference as ReferenceStateMachine>::apply)
            .script();
        let (config, commands) = script.split_once('\n').expect("a configuration and commands");
        let read = text::read_config(config).expect("a configuration");
        assert_eq!(text::write_config(&read), config);
        for line in commands.lines() {
            let read: Command = line.parse().expect("a command");
            assert_eq!(read.to_string(), line);
        }
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/scripts");
    let entries = fs::read_dir(folder).expect("the folder of the scripts");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no script found");
    files
}

/// Runs the commands of a script and returns the script with their outcomes and effects.
fn run(script: &str) -> Result<String, String> {
    let mut ran = String::new();
    let mut sides: Option<(Reference, Subject)> = None;
    for line in script.lines() {
        if line.starts_with(INDENT) {
            continue;
        }
        ran.push_str(line);
        ran.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((reference, subject)) = &mut sides else {
            let config = text::read_config(line)?;
            sides = Some((Reference::new(config.clone()), Subject::new(config)));
            continue;
        };
        let command: Command = line.parse()?;
        let response = subject.apply(&command);
        let expected = reference.apply(command).clone();
        for result in describe(&response) {
            ran.push_str(&format!("{INDENT}{result}\n"));
        }
        compare(reference, &expected, subject, &response).map_err(|difference| format!("{ran}\n{difference}"))?;
    }
    Ok(ran)
}

fn describe(response: &Response) -> Vec<String> {
    let outcome = describe_outcome(&response.outcome).map(|outcome| format!("= {}", with_short_ids(&outcome)));
    outcome.into_iter().chain(brief(&response.effects)).collect()
}

fn describe_outcome(outcome: &Outcome) -> Option<String> {
    let described = match outcome {
        Outcome::Nothing | Outcome::Start(Ok(())) => return None,
        Outcome::Start(Err(error)) => error.to_string(),
        Outcome::Suspend(started) => if *started { "suspended" } else { "not started" }.to_owned(),
        Outcome::Request(Ok(SlotRequestOutcome::Accepted(status))) => format!("accepted, {status}"),
        Outcome::Request(Ok(SlotRequestOutcome::Duplicate(status))) => format!("duplicate, {status}"),
        Outcome::Request(Err(SlotRequestError::Failed { failure, .. })) => format!("failed: {failure}"),
        Outcome::Request(Err(error)) => error.to_string(),
        Outcome::Cancel(CancelOutcome::AlreadyGranted { slot_id }) => AllocationStatus::Granted {
            slot_id: slot_id.clone(),
        }
        .to_string(),
        Outcome::Cancel(CancelOutcome::Cancelled) => "cancelled".to_owned(),
        Outcome::Renew(outcome) => outcome.to_string(),
        Outcome::Declare(Ok(outcome)) => outcome.to_string(),
        Outcome::Declare(Err(error)) => error.to_string(),
        Outcome::Recovery(outcome) => outcome.to_string(),
        Outcome::UnregisterJob(requests) => format!("{requests} requests withdrawn"),
        Outcome::Free(SlotFreedOutcome::Freed) => "freed".to_owned(),
        Outcome::Free(SlotFreedOutcome::FreedInFlight) => "freed in flight".to_owned(),
        Outcome::Free(SlotFreedOutcome::NotAllocated) => "not allocated".to_owned(),
        Outcome::Free(SlotFreedOutcome::HeldByAnother { allocation_id }) => format!("held by {allocation_id}"),
        Outcome::Register(Ok(RegistrationOutcome::Registered)) => "registered".to_owned(),
        Outcome::Register(Ok(RegistrationOutcome::Replaced { previous })) => format!("replaced {previous}"),
        Outcome::Free(SlotFreedOutcome::Outdated) => "outdated".to_owned(),
        Outcome::Register(Err(RegistrationError::LimitReached { limit })) => format!("refused: {limit}"),
        Outcome::Register(Ok(RegistrationOutcome::Reported(ReportOutcome::Applied)))
        | Outcome::Report(Ok(ReportOutcome::Applied)) => "applied".to_owned(),
        Outcome::Register(Ok(RegistrationOutcome::Reported(ReportOutcome::Ignored(stale))))
        | Outcome::Report(Ok(ReportOutcome::Ignored(stale))) => {
            format!("stale, {} is behind {}", stale.revision, stale.highest_seen)
        }
        Outcome::Register(Err(error)) => error.to_string(),
        Outcome::Report(Err(error)) => error.to_string(),
        Outcome::Unregister(UnregistrationOutcome::Unregistered) => "unregistered".to_owned(),
        Outcome::WorkerFailed(WorkerFailedOutcome::Forgotten { promised_slots }) => {
            format!("{promised_slots} promised slots forgotten")
        }
        Outcome::Block(BlockOutcome::Blocked) => "blocked".to_owned(),
        Outcome::Block(BlockOutcome::AlreadyBlocked) => "already blocked".to_owned(),
        Outcome::Unblock(UnblockOutcome::Unblocked) => "unblocked".to_owned(),
        Outcome::Unblock(UnblockOutcome::NotBlocked) => "not blocked".to_owned(),
        Outcome::AnswerRelease(ReleaseAnswerOutcome::Released) => "released".to_owned(),
        Outcome::AnswerRelease(ReleaseAnswerOutcome::Stays) => "stays".to_owned(),
        Outcome::AnswerRelease(ReleaseAnswerOutcome::Open) => "open".to_owned(),
        Outcome::AnswerInput(SlotAnswerOutcome::Applied) => "applied".to_owned(),
        Outcome::Answered(waited) => return (!waited).then(|| "not awaited".to_owned()),
        Outcome::Ran(events) => format!("{events} events"),
        Outcome::Cancel(CancelOutcome::Unknown)
        | Outcome::Free(SlotFreedOutcome::Unknown)
        | Outcome::Register(Ok(RegistrationOutcome::Reported(ReportOutcome::Unknown)))
        | Outcome::Report(Ok(ReportOutcome::Unknown))
        | Outcome::Unregister(UnregistrationOutcome::Unknown)
        | Outcome::WorkerFailed(WorkerFailedOutcome::Unknown)
        | Outcome::AnswerInput(SlotAnswerOutcome::Unknown)
        | Outcome::AnswerRelease(ReleaseAnswerOutcome::Unknown) => "unknown".to_owned(),
        // The outcomes are non-exhaustive.
        other => format!("{other:?}"),
    };
    Some(described)
}

/// Replaces ids of 32 digits by small numbers.
fn with_short_ids(text: &str) -> String {
    let is_digit = |character: char| character.is_ascii_hexdigit();
    let words = text.split_inclusive(|character| !is_digit(character));
    words
        .map(|word| {
            let digits = word.trim_end_matches(|character| !is_digit(character));
            match u128::from_str_radix(digits, 16) {
                Ok(number) if digits.len() == 32 => format!("{number}{}", &word[32..]),
                _ => word.to_owned(),
            }
        })
        .collect()
}
