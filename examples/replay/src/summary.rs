//! The printed summary of a run: a table of numbers, a table of the time the calls took, and notes
//! on both.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::display::{count, duration, time};
use crate::metered::{CALLS, Usage};
use crate::resources::RESOURCES;
use crate::simulation::Outcome;
use crate::statistics::{FailureKind, Peak, Waits};
use crate::time_series::MeanAmounts;

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

/// Returns the table of a run.
pub(crate) fn of_run(setting: &Setting, outcome: &Outcome) -> Table {
    let mut rows = Rows::new(vec![outcome]);
    rows.setting(setting);
    rows.pods_and_requests(setting);
    rows.waits("time to serve a request", |run| &run.statistics.all_waits);
    rows.waits("time to serve a request that waited", |run| {
        &run.statistics.waits_of_waiting
    });
    rows.rest(setting);
    rows.table
}

/// Returns the table of the facts that are the same in all compared runs.
pub(crate) fn of_setting(setting: &Setting) -> Table {
    let mut rows = Rows::new(Vec::new());
    rows.setting(setting);
    rows.table
}

/// Returns the table that shows runs side by side.
pub(crate) fn of_comparison(setting: &Setting, outcomes: &[Outcome]) -> Table {
    let mut rows = Rows::new(outcomes.iter().collect());
    let names = outcomes.iter().map(|outcome| outcome.slicing.name());
    rows.table.set_header(std::iter::once("").chain(names));
    rows.pods_and_requests(setting);
    rows.long_waits("time until a pod has all its slots", |run| {
        &run.statistics.waits_of_pods
    });
    rows.long_waits("time to serve a request", |run| &run.statistics.all_waits);
    rows.shares("used", |mean| mean.granted);
    rows.shares("stranded", |mean| mean.stranded);
    rows.shares("stranded and wanted", |mean| mean.wanted);
    rows.rest(setting);
    rows.table
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
    let mut rows = Rows::new(Vec::new());
    rows.add("calls to the manager", count(all.calls));
    rows.add("time inside the manager", duration(all.time));
    rows.add(
        "  of it for reading the clock, about",
        duration(Duration::from_secs_f64(clock)),
    );
    rows.add("calls per second inside the manager", count(per_second.round() as u64));
    rows.table
}

/// Returns notes on the rows and columns that do not explain themselves.
pub(crate) fn notes(outcomes: &[Outcome]) -> String {
    let mut notes = Vec::new();
    if outcomes.iter().any(|outcome| outcome.statistics.grants_lost > 0) {
        notes.push(
            "Asked for again: a job lost a slot that it still used, because of a failure, and requested another one.",
        );
    }
    if outcomes.len() > 1 {
        notes.push(
            "Used: the part of all nodes that granted requests asked for, over time. In brackets: while most pods arrive.",
        );
        notes.push(
            "Stranded: the part that none of them asked for, while a request waits that needs some and fits no node.",
        );
        notes.push("Wanted: as much of that as those requests ask for together.");
    }
    notes.push("Hash: over all effects and their virtual times. Equal options and an equal seed give an equal hash.");
    notes.push("Time per call: the mean of the real time inside the manager, without the simulation around it.");
    notes.join("\n")
}

/// A table with a column for each of some runs.
struct Rows<'a> {
    table: Table,
    outcomes: Vec<&'a Outcome>,
}

impl<'a> Rows<'a> {
    fn new(outcomes: Vec<&'a Outcome>) -> Self {
        Self {
            table: new_table(),
            outcomes,
        }
    }

    fn setting(&mut self, setting: &Setting) {
        self.add("workload", &setting.origin);
        self.add("cluster", &setting.cluster);
        let most = if setting.elastic { "at most " } else { "" };
        self.add("nodes", format!("{most}{}", count(setting.nodes)));
        self.add("slots", format!("{most}{}", count(setting.slots)));
    }

    fn pods_and_requests(&mut self, setting: &Setting) {
        self.each("virtual time at the end", |run| time(run.ended_at));
        self.count("pods", |_| setting.pods as u64);
        self.count("  got all their slots", |run| run.statistics.pods_served);
        self.count("  deleted while they waited", |run| run.statistics.pods_withdrawn);
        self.count("  failed with a request", |run| run.statistics.pods_failed);
        self.count("slot requests", |run| run.asked);
        self.count("  served at once", |run| run.statistics.granted_at_once);
        self.count("  served after waiting", |run| run.statistics.granted_after_waiting);
        self.count("  cancelled by their job", |run| run.statistics.withdrawn);
        let failed = |run: &Outcome, kind: &FailureKind| run.statistics.failed.get(kind).copied();
        for kind in FailureKind::ALL {
            if self.outcomes.iter().any(|run| failed(run, &kind).is_some()) {
                self.count(&format!("  failed: {}", kind.describe()), |run| {
                    failed(run, &kind).unwrap_or_default()
                });
            }
        }
    }

    fn rest(&mut self, setting: &Setting) {
        self.each("longest wait beside a free slot that fits", |run| {
            duration(run.longest_needless_wait)
        });
        self.each("most waiting requests", |run| peak(run.statistics.peak_waiting));
        self.each("most used slots", |run| peak(run.statistics.peak_used));
        self.count("worker requests declined", |run| run.statistics.workers_declined);
        if setting.elastic {
            self.count("workers requested", |run| run.statistics.workers_asked);
            self.count("  started", |run| run.statistics.workers_started);
            self.count("  failed to start", |run| run.statistics.workers_failed);
            self.count("workers released", |run| run.statistics.workers_released);
        } else {
            self.count("releases declined", |run| run.statistics.releases_declined);
        }
        if setting.failures {
            self.count("crashes", |run| run.statistics.crashes);
            self.count("broken connections", |run| run.statistics.disconnections);
            self.count("workers back before their loss was noticed", |run| {
                run.statistics.replaced_registrations
            });
            self.count("messages lost", |run| run.statistics.messages_lost);
        }
        self.count_if_any("slots lost and asked for again", |run| run.statistics.grants_lost);
        self.count_if_any("cuts refused for lack of resources", |run| run.statistics.cuts_refused);
        self.count("simulated events", |run| run.statistics.events);
        self.count("effects: calls that the manager made", |run| run.effects);
        self.each("hash of the effects", |run| format!("{:032x}", run.effect_hash));
    }

    fn add(&mut self, label: &str, value: impl Into<String>) {
        self.table.add_row([label.to_owned(), value.into()]);
    }

    fn each(&mut self, label: &str, value: impl Fn(&Outcome) -> String) {
        let values = self.outcomes.iter().map(|run| value(run));
        self.table.add_row(std::iter::once(label.to_owned()).chain(values));
    }

    fn count(&mut self, label: &str, number: impl Fn(&Outcome) -> u64) {
        self.each(label, |run| count(number(run)));
    }

    fn count_if_any(&mut self, label: &str, number: impl Fn(&Outcome) -> u64) {
        if self.outcomes.iter().any(|run| number(run) > 0) {
            self.count(label, number);
        }
    }

    /// Adds two quantiles in one row.
    fn waits(&mut self, label: &str, waits: impl Fn(&Outcome) -> &Waits) {
        self.each(label, |run| {
            let waits = waits(run);
            match (waits.quantile(0.5), waits.quantile(0.99)) {
                (Some(median), Some(long)) => {
                    format!("{} (median), {} (99th percentile)", duration(median), duration(long))
                }
                _ => "–".to_owned(),
            }
        });
    }

    /// Adds two quantiles and the longest wait in rows of their own.
    fn long_waits(&mut self, label: &str, waits: impl Fn(&Outcome) -> &Waits) {
        self.each(label, |_| String::new());
        for (label, quantile) in [("  median", 0.5), ("  99th percentile", 0.99), ("  longest", 1.0)] {
            self.each(label, |run| {
                let wait = waits(run).quantile(quantile);
                wait.map_or_else(|| "–".to_owned(), duration)
            });
        }
    }

    /// Adds the mean share of each resource: of the whole run, and while most pods arrive.
    fn shares(&mut self, label: &str, amounts: impl Fn(&MeanAmounts) -> [f64; RESOURCES.len()]) {
        for (resource, name) in RESOURCES.iter().enumerate() {
            self.each(&format!("{name} {label}"), |run| {
                let of = |mean: MeanAmounts| percent(amounts(&mean)[resource], run.cluster.0[resource]);
                format!(
                    "{} ({})",
                    of(run.series.mean_amounts()),
                    of(run.arrivals.mean_amounts())
                )
            });
        }
    }
}

fn peak(peak: Peak) -> String {
    match peak.count {
        0 => "0".to_owned(),
        number => format!("{} at {}", count(number), time(peak.at)),
    }
}

fn percent(part: f64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        whole => format!("{:.1} %", 100.0 * part / whole as f64),
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
