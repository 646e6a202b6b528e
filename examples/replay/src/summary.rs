//! What is printed after a run: a table of what happened, and one of the time it took.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::display::{count, duration, time};
use crate::metered::CALLS;
use crate::simulation::Outcome;
use crate::statistics::{Peak, Waits};

/// What is known of a run before it begins.
pub(crate) struct Setting {
    pub(crate) origin: String,
    pub(crate) cluster: String,
    pub(crate) nodes: usize,
    pub(crate) slots: u64,
    pub(crate) pods: usize,
    pub(crate) elastic: bool,
    pub(crate) failures: bool,
}

/// What happened.
pub(crate) fn of_run(setting: &Setting, outcome: &Outcome) -> Table {
    let mut rows = Rows(new_table());
    let statistics = &outcome.statistics;
    rows.add("workload", &setting.origin);
    rows.add("cluster", &setting.cluster);
    let most = if setting.elastic { "at most " } else { "" };
    rows.add(
        "nodes / slots",
        format!("{most}{} / {}", count(setting.nodes), count(setting.slots)),
    );
    rows.add("virtual time", time(outcome.ended_at));
    rows.add(
        "pods served / deleted while waiting / failed",
        format!(
            "{} / {} / {} of {}",
            count(statistics.pods_served),
            count(statistics.pods_withdrawn),
            count(statistics.pods_failed),
            count(setting.pods)
        ),
    );
    rows.add("slot requests", count(outcome.asked));
    rows.add("  served at once", count(statistics.granted_at_once));
    rows.add("  served after waiting", count(statistics.granted_after_waiting));
    rows.add("  withdrawn", count(statistics.withdrawn));
    for (kind, requests) in &statistics.failed {
        rows.add(&format!("  failed: {}", kind.describe()), count(*requests));
    }
    rows.add("wait p50 / p99", waits(&statistics.all_waits));
    rows.add(
        "wait p50 / p99 of those that waited",
        waits(&statistics.waits_of_waiting),
    );
    rows.add("peak waiting requests", peak(statistics.peak_waiting));
    rows.add("peak used slots", peak(statistics.peak_used));
    if setting.elastic {
        rows.add(
            "workers asked for / started / released",
            format!(
                "{} / {} / {}",
                count(statistics.workers_asked),
                count(statistics.workers_started),
                count(statistics.workers_released)
            ),
        );
        rows.add("workers that did not start", count(statistics.workers_failed));
    } else {
        rows.add("releases declined", count(statistics.releases_declined));
    }
    rows.add("worker requests declined", count(statistics.workers_declined));
    if setting.failures {
        rows.add(
            "crashes / broken connections",
            format!("{} / {}", count(statistics.crashes), count(statistics.disconnections)),
        );
        rows.add("registered again unannounced", count(statistics.replaced_registrations));
        rows.add("messages lost", count(statistics.messages_lost));
    }
    if statistics.grants_lost > 0 {
        rows.add("grants lost and asked for again", count(statistics.grants_lost));
    }
    rows.add("simulated events", count(statistics.events));
    rows.add("effects", count(outcome.effects));
    rows.add("hash of the effect log", format!("{:032x}", outcome.effect_hash));
    rows.0
}

/// What it took.
pub(crate) fn of_usage(outcome: &Outcome) -> Table {
    let mut table = new_table();
    table.set_header(["calls into the manager", "calls", "mean", "calls per second"].map(Cell::new));
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut add = |name: &str, calls: u64, seconds: f64| {
        if calls > 0 {
            let mean = std::time::Duration::from_secs_f64(seconds / calls as f64);
            let per_second = (calls as f64 / seconds.max(1e-9)).round() as u64;
            table.add_row([name.to_owned(), count(calls), duration(mean), count(per_second)]);
        }
    };
    for (name, usage) in CALLS.iter().zip(&outcome.usage) {
        add(name, usage.calls, usage.time.as_secs_f64());
    }
    let calls = outcome.usage.iter().map(|usage| usage.calls).sum();
    let seconds = outcome.usage.iter().map(|usage| usage.time.as_secs_f64()).sum();
    add("all", calls, seconds);
    table
}

struct Rows(Table);

impl Rows {
    fn add(&mut self, label: &str, value: impl Into<String>) {
        self.0.add_row([label.to_owned(), value.into()]);
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table
}

fn waits(waits: &Waits) -> String {
    match (waits.quantile(0.5), waits.quantile(0.99)) {
        (Some(median), Some(long)) => format!("{} / {}", duration(median), duration(long)),
        _ => "–".to_owned(),
    }
}

fn peak(peak: Peak) -> String {
    match peak.count {
        0 => "0".to_owned(),
        number => format!("{} at {}", count(number), time(peak.at)),
    }
}
