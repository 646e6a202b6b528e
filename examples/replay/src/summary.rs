//! The printed summary of a run: a table of numbers, a table of the time the calls took, and notes
//! on both.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::display::{count, duration, time};
use crate::metered::{CALLS, Usage};
use crate::simulation::Outcome;
use crate::statistics::{Peak, Waits};

/// The number of violations that the verdict lists.
const SHOWN_VIOLATIONS: usize = 20;

/// The facts that are known before a run begins.
pub(crate) struct Setting {
    pub(crate) origin: String,
    pub(crate) cluster: String,
    pub(crate) nodes: usize,
    pub(crate) slots: u64,
    pub(crate) pods: usize,
    pub(crate) elastic: bool,
    pub(crate) failures: bool,
}

/// Returns the verdict: whether the replay passed, and if not, what is wrong.
pub(crate) fn verdict(violations: &[String]) -> String {
    if violations.is_empty() {
        return "PASSED: nothing leaked, every request ended once, and the manager's view equals the truth.".to_owned();
    }
    let mut lines = vec![format!(
        "FAILED: the run ended with violations ({}):",
        count(violations.len())
    )];
    let shown = violations.iter().take(SHOWN_VIOLATIONS);
    lines.extend(shown.map(|violation| format!("  - {violation}")));
    if violations.len() > SHOWN_VIOLATIONS {
        lines.push(format!("  - and {} more", violations.len() - SHOWN_VIOLATIONS));
    }
    lines.join("\n")
}

/// Returns the table of the run.
pub(crate) fn of_run(setting: &Setting, outcome: &Outcome) -> Table {
    let mut rows = Rows(new_table());
    let statistics = &outcome.statistics;
    rows.add("workload", &setting.origin);
    rows.add("cluster", &setting.cluster);
    let most = if setting.elastic { "at most " } else { "" };
    rows.add("nodes", format!("{most}{}", count(setting.nodes)));
    rows.add("slots", format!("{most}{}", count(setting.slots)));
    rows.add("virtual time at the end", time(outcome.ended_at));
    rows.count("pods", setting.pods);
    rows.count("  got all their slots", statistics.pods_served);
    rows.count("  deleted while they waited", statistics.pods_withdrawn);
    rows.count("  failed with a request", statistics.pods_failed);
    rows.count("slot requests", outcome.asked);
    rows.count("  served at once", statistics.granted_at_once);
    rows.count("  served after waiting", statistics.granted_after_waiting);
    rows.count("  cancelled by their job", statistics.withdrawn);
    for (kind, requests) in &statistics.failed {
        rows.count(&format!("  failed: {}", kind.describe()), *requests);
    }
    rows.waits("time to serve a request", &statistics.all_waits);
    rows.waits("time to serve a request that waited", &statistics.waits_of_waiting);
    rows.add(
        "longest wait beside a free slot that fits",
        duration(outcome.longest_needless_wait),
    );
    rows.peak("most waiting requests", statistics.peak_waiting);
    rows.peak("most used slots", statistics.peak_used);
    rows.count("worker requests declined", statistics.workers_declined);
    if setting.elastic {
        rows.count("workers requested", statistics.workers_asked);
        rows.count("  started", statistics.workers_started);
        rows.count("  failed to start", statistics.workers_failed);
        rows.count("workers released", statistics.workers_released);
    } else {
        rows.count("releases declined", statistics.releases_declined);
    }
    if setting.failures {
        rows.count("crashes", statistics.crashes);
        rows.count("broken connections", statistics.disconnections);
        rows.count(
            "workers back before their loss was noticed",
            statistics.replaced_registrations,
        );
        rows.count("messages lost", statistics.messages_lost);
    }
    if statistics.grants_lost > 0 {
        rows.count("slots lost and asked for again", statistics.grants_lost);
    }
    rows.count("simulated events", statistics.events);
    rows.count("effects: calls that the manager made", outcome.effects);
    rows.add("hash of the effects", format!("{:032x}", outcome.effect_hash));
    rows.0
}

/// Returns the table of the real time that the calls took.
pub(crate) fn of_usage(outcome: &Outcome) -> Table {
    let mut table = new_table();
    table.set_header(["call to the manager", "calls", "time per call", "calls per second"].map(Cell::new));
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut add = |name: &str, calls: u64, seconds: f64| {
        if calls > 0 {
            let mean = Duration::from_secs_f64(seconds / calls as f64);
            let per_second = (calls as f64 / seconds.max(1e-9)).round() as u64;
            table.add_row([name.to_owned(), count(calls), duration(mean), count(per_second)]);
        }
    };
    for (name, usage) in CALLS.iter().zip(&outcome.usage) {
        add(name, usage.calls, usage.time.as_secs_f64());
    }
    let all: Usage = outcome.usage.iter().copied().sum();
    add("all", all.calls, all.time.as_secs_f64());
    table
}

/// Returns the table of all calls together: their number, their real time and their rate.
/// `time_of_clock` is the part of the time of each call that only its measurement takes.
pub(crate) fn of_measurement(usage: &[Usage], time_of_clock: Duration) -> Table {
    let all: Usage = usage.iter().copied().sum();
    let per_second = all.calls as f64 / all.time.as_secs_f64().max(1e-9);
    let clock = time_of_clock.as_secs_f64() * all.calls as f64;
    let mut rows = Rows(new_table());
    rows.count("calls to the manager", all.calls);
    rows.add("time inside the manager", duration(all.time));
    rows.add(
        "  of it for reading the clock, about",
        duration(Duration::from_secs_f64(clock)),
    );
    rows.count("calls per second inside the manager", per_second.round() as u64);
    rows.0
}

/// Returns notes on the rows and columns that do not explain themselves.
pub(crate) fn notes(outcome: &Outcome) -> String {
    let mut notes = Vec::new();
    if outcome.statistics.grants_lost > 0 {
        notes.push(
            "Asked for again: a job lost a slot that it still used, because of a failure, and requested another one.",
        );
    }
    notes.push("Hash: over all effects and their virtual times. Equal options and an equal seed give an equal hash.");
    notes.push("Time per call: the mean of the real time inside the manager, without the simulation around it.");
    notes.join("\n")
}

struct Rows(Table);

impl Rows {
    fn add(&mut self, label: &str, value: impl Into<String>) {
        self.0.add_row([label.to_owned(), value.into()]);
    }

    fn count(&mut self, label: &str, number: impl TryInto<u64>) {
        self.add(label, count(number));
    }

    fn waits(&mut self, label: &str, waits: &Waits) {
        let value = match (waits.quantile(0.5), waits.quantile(0.99)) {
            (Some(median), Some(long)) => {
                format!("{} (median), {} (99th percentile)", duration(median), duration(long))
            }
            _ => "–".to_owned(),
        };
        self.add(label, value);
    }

    fn peak(&mut self, label: &str, peak: Peak) {
        let value = match peak.count {
            0 => "0".to_owned(),
            number => format!("{} at {}", count(number), time(peak.at)),
        };
        self.add(label, value);
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measurement_adds_all_calls() {
        let usage = |calls, milliseconds| Usage {
            calls,
            time: Duration::from_millis(milliseconds),
        };
        let table = of_measurement(&[usage(1_000, 1), usage(3_000, 3)], Duration::from_nanos(25));
        let values: Vec<_> = table
            .row_iter()
            .filter_map(|row| Some(row.cell_iter().nth(1)?.content()))
            .collect();
        assert_eq!(values, ["4,000", "4.0 ms", "100.00 µs", "1,000,000"]);
    }

    #[test]
    fn the_verdict_is_in_the_first_word_and_lists_the_first_violations() {
        assert!(verdict(&[]).starts_with("PASSED: "));
        let violations: Vec<_> = (1..=25).map(|number| format!("slot {number} leaked")).collect();
        let text = verdict(&violations);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "FAILED: the run ended with violations (25):");
        assert_eq!(lines[1], "  - slot 1 leaked");
        assert_eq!((lines.len(), lines[21]), (22, "  - and 5 more"));
    }
}
