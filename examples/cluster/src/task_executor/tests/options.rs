//! The options that say which slots a worker has.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
    let always = ["task-executor", "--resource-managers", "127.0.0.1:1"];
    let command = Command::try_parse_from(always.iter().chain(arguments))?;
    Ok(command.options)
}

fn table(arguments: &[&str]) -> anyhow::Result<TaskSlotTable> {
    parse(arguments)?.slot_table("w".into())
}

#[test]
fn a_worker_without_a_total_has_slots_of_its_own() {
    let report = table(&["--slots", "3", "--profile", "cpu=2"]).unwrap().report();
    assert_eq!((report.statuses().len(), report.dynamic()), (3, None));
    assert_eq!(table(&[]).unwrap().report().statuses().len(), 1);
}

#[test]
fn a_worker_with_a_total_is_dynamic() {
    let report = table(&["--total", "cpu=8,memory=16GiB,gpu=2"]).unwrap().report();
    let total = parse_profile("cpu=8,memory=16GiB,gpu=2").unwrap();
    assert_eq!(report.statuses().len(), 0);
    let worker = report.dynamic().unwrap();
    assert_eq!((worker.total(), worker.default_slot()), (&total, None));

    let report = table(&["--total", "cpu=8", "--default-slot", "cpu=2"])
        .unwrap()
        .report();
    let default_slot = report.dynamic().unwrap().default_slot().cloned();
    assert_eq!(default_slot, parse_profile("cpu=2").ok());
}

#[test]
fn options_that_contradict_each_other_are_refused_with_a_reason() {
    for (arguments, expected) in [
        (
            &["--total", "cpu=8", "--slots", "2"][..],
            "cannot be used with '--slots <SLOTS>'",
        ),
        (
            &["--total", "cpu=8", "--profile", "cpu=1"],
            "cannot be used with '--profile <PROFILE>'",
        ),
        (&["--total", "any"], "a total has amounts"),
        (&["--total", "cpu=0"], "all amounts are zero"),
        (&["--total", "cpu=8,memory=16g"], "has none of the units"),
        (&["--default-slot", "cpu=2"], "--total <RESOURCES>"),
        (
            &["--total", "cpu=8", "--default-slot", "cpu=2,memory=1GiB"],
            "--default-slot is {cpu: 2, task heap: 1024 MiB}, which is more than --total, {cpu: 8}",
        ),
    ] {
        let error = table(arguments).unwrap_err().to_string();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}
