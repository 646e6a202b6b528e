//! The printed summary of a run.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use indicatif::HumanCount;

use crate::cluster::{Fault, FaultCounts};
use crate::memory::Memory;
use crate::workers::{Soak, Violation};

/// The number of listed kinds of violations.
const SHOWN: usize = 20;

/// Returns the verdict.
pub(crate) fn verdict(soak: &Soak) -> String {
    let seeds = count(soak.totals.seeds);
    match soak.violations.len() as u64 {
        0 => format!("PASSED: no violation in {seeds} seeds."),
        violations => format!("FAILED: violations in {} of {seeds} seeds.", count(violations)),
    }
}

/// Returns the table of the work, its speed and its memory.
pub(crate) fn of_run(soak: &Soak, at_start: Memory, at_end: Memory) -> Table {
    let mut table = table(["total", "number"]);
    let totals = &soak.totals;
    let seconds = soak.time.as_secs_f64().max(1e-9);
    let memory = |part: fn(Memory) -> Option<u64>| {
        let moments = [Some(at_start), soak.memory_warm, Some(at_end)];
        let moments = moments.map(|memory| memory.and_then(part).map_or("?".to_owned(), count));
        moments.join(" / ")
    };
    let rows = [
        ("seeds", count(totals.seeds)),
        ("steps: calls of a manager, each checked", count(totals.steps)),
        ("steps per second", count((totals.steps as f64 / seconds) as u64)),
        ("effects: calls that managers made", count(totals.effects)),
        ("grants", count(totals.granted)),
        ("failures notified", count(totals.failed)),
        ("faults", count(totals.faults.total())),
        ("seconds", format!("{seconds:.1}")),
        ("resident KiB: start / warm / end", memory(|memory| memory.resident)),
        ("heap KiB: start / warm / end", memory(|memory| Some(memory.heap))),
        ("violations", count(soak.violations.len() as u64)),
    ];
    for (name, value) in rows {
        table.add_row([Cell::new(name), right(value)]);
    }
    table
}

/// Returns the table of the injected faults.
pub(crate) fn of_faults(faults: &FaultCounts) -> Table {
    let mut table = table(["fault", "injected"]);
    for fault in Fault::ALL {
        table.add_row([Cell::new(fault.describe()), right(count(faults.of(fault)))]);
    }
    table
}

/// Returns the first violation of each kind, with the command that runs its seed again.
pub(crate) fn of_violations(violations: &[Violation]) -> Table {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for violation in violations {
        let kind = violation
            .what
            .chars()
            .filter(|c| !c.is_ascii_hexdigit())
            .take(50)
            .collect();
        kinds.entry(kind).or_insert((violation.seed, 0)).1 += 1;
    }
    let mut table = table(["violation", "run it again", "similar"]);
    for (seed, alike) in kinds.into_values().take(SHOWN) {
        let violation = violations.iter().find(|violation| violation.seed == seed);
        let text = violation
            .map(|it| it.what.chars().take(100).collect::<String>())
            .unwrap_or_default();
        let again = violation.map(|it| it.rerun.clone()).unwrap_or_default();
        table.add_row([Cell::new(text), Cell::new(again), right(count(alike))]);
    }
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}
