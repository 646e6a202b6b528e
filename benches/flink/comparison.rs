//! The comparison: all sides run in turns.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::catalogue::{Case, Comparison, Phase, Workload};
use crate::flink::Flink;
use crate::options::Options;
use crate::run::{Run, Side};
use crate::table::Row;
use crate::tools;

const WARM_UP: Duration = Duration::from_millis(500);
/// Java's compilers need this time.
const WARM_UP_OF_JAVA: Duration = Duration::from_secs(3);

/// Keeps glibc from giving memory back to the system after an iteration. The next iteration would
/// fault it in page by page, while Java has its heap from the start. Other allocators ignore it.
const KEEP_FREED_MEMORY: [(&str, &str); 2] = [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "1099511627776")];

struct Effort {
    rounds: usize,
    iterations: usize,
}

/// The output of a process: the nanoseconds of the phases.
type Times = Vec<(String, f64)>;

/// The times of each round, by side.
#[derive(Default)]
struct Rounds {
    ours: Vec<Times>,
    floor: Vec<Times>,
    contract_floor: Vec<Times>,
    flink: Vec<Times>,
}

/// Measures the selected rows of a comparison.
pub(crate) fn compare(options: &Options, comparison: &Comparison, flink: &Flink) -> Result<Vec<Row>> {
    let effort = if options.quick {
        Effort {
            rounds: 1,
            iterations: 3,
        }
    } else {
        Effort {
            rounds: 3,
            iterations: 5,
        }
    };
    let cases = options.selected_cases(comparison);
    let mut rows = Vec::new();
    for (number, (workload, case)) in cases.iter().enumerate() {
        let place = format!("{}/{}", number + 1, cases.len());
        let rounds = take_turns(&place, workload, case, &effort, flink)?;
        for phase in options.selected_phases(workload, case) {
            rows.push(Row {
                title: phase.title,
                size: case.size,
                ours: lowest_of(phase, &rounds.ours),
                floor: lowest_of(phase, &rounds.floor),
                contract_floor: lowest_of(phase, &rounds.contract_floor),
                flink: lowest_of(phase, &rounds.flink),
            });
        }
    }
    Ok(by_title(&rows))
}

/// Puts the sizes of one title below each other.
fn by_title(rows: &[Row]) -> Vec<Row> {
    let first_of_title = |row: &Row| rows.iter().position(|other| other.title == row.title);
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(first_of_title);
    sorted
}

fn take_turns(place: &str, workload: &'static Workload, case: &Case, effort: &Effort, flink: &Flink) -> Result<Rounds> {
    let run = |operations, warm_up| Run {
        workload,
        size: case.size,
        operations,
        warm_up,
        iterations: effort.iterations,
    };
    let mut rounds = Rounds::default();
    for round in 1..=effort.rounds {
        let name = workload.name;
        eprintln!("{place} {name} {}, round {round} of {}", case.size, effort.rounds);
        let ours = |side| measure_ours(side, &run(case.operations, WARM_UP));
        rounds.ours.push(ours(Side::Manager)?);
        rounds.floor.push(ours(Side::Floor)?);
        rounds.contract_floor.push(ours(Side::ContractFloor)?);
        if let Some(operations) = case.flink_operations {
            match flink.measure(&run(operations, WARM_UP_OF_JAVA)) {
                Ok(output) => rounds.flink.push(read(&output)?),
                Err(error) => eprintln!("Flink failed at {name} {}: {error:#}", case.size),
            }
        }
    }
    Ok(rounds)
}

/// Runs a copy of this program, as an installed one is. The linker writes its file in pieces, and the
/// place of these pieces in memory slows some rows down by up to two fifths.
fn measure_ours(side: Side, run: &Run) -> Result<Times> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let copy = program.with_extension("copy");
    std::fs::copy(&program, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    let mut command = Command::new(copy);
    command
        .arg(match side {
            Side::Manager => "--measure",
            Side::Floor => "--measure-floor",
            Side::ContractFloor => "--measure-contract-floor",
        })
        .args(run.to_arguments())
        .envs(KEEP_FREED_MEMORY);
    read(&tools::output(&mut command)?)
}

fn read(output: &str) -> Result<Times> {
    output
        .lines()
        .map(|line| {
            let (phase, time) = line.split_once(' ').context("expected a phase and a time")?;
            Ok((phase.to_owned(), time.parse()?))
        })
        .collect::<Result<_>>()
        .with_context(|| format!("cannot read {output:?}"))
}

/// Returns the lowest time of the rounds; `None` without a round.
///
/// A disturbance of the machine lasts for seconds and only adds time.
fn lowest_of(phase: &Phase, rounds: &[Times]) -> Option<f64> {
    rounds
        .iter()
        .flatten()
        .filter(|(name, _)| name == phase.name)
        .map(|(_, time)| *time)
        .min_by(f64::total_cmp)
}
