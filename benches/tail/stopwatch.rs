//! The times of each operation.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use hdrhistogram::Histogram;

/// The operations with rows of their own, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    GrowthRegisterTaskManager,
    GrowthRequestServed,
    GrowthRequestInFlight,
    GrowthAcknowledgement,
    GrowthRequestWaits,
    GrowthCancel,
    RequestServed,
    RequestInFlight,
    Acknowledgement,
    RequestWaits,
    Cancel,
    Free,
    UnchangedReport,
    ChangedReport,
    UnregisterTaskManager,
    RegisterTaskManager,
    NothingDue,
    RequestTimeout,
    RpcTimeout,
    IdleTimeout,
    Clock,
    Control,
}

impl Operation {
    const ALL: [(Self, &'static str); 22] = [
        (Self::GrowthRegisterTaskManager, "growth: register task manager"),
        (Self::GrowthRequestServed, "growth: request served at once"),
        (Self::GrowthRequestInFlight, "growth: request in flight"),
        (Self::GrowthAcknowledgement, "growth: acknowledgement"),
        (Self::GrowthRequestWaits, "growth: request that waits"),
        (Self::GrowthCancel, "growth: cancel most of them"),
        (Self::RequestServed, "request served at once"),
        (Self::RequestInFlight, "request in flight"),
        (Self::Acknowledgement, "acknowledgement (poll)"),
        (Self::RequestWaits, "request that waits"),
        (Self::Cancel, "cancel"),
        (Self::Free, "free"),
        (Self::UnchangedReport, "unchanged report"),
        (Self::ChangedReport, "report, 1 slot changed"),
        (Self::UnregisterTaskManager, "unregister task manager"),
        (Self::RegisterTaskManager, "register task manager"),
        (Self::NothingDue, "poll with nothing due"),
        (Self::RequestTimeout, "request times out (poll)"),
        (Self::RpcTimeout, "answer times out, next attempt (poll)"),
        (Self::IdleTimeout, "task manager idle for long (poll)"),
        (Self::Clock, "nothing: the clock itself"),
        (Self::Control, "control: arithmetic, no memory"),
    ];
}

/// The times of each operation, in nanoseconds.
pub(crate) struct Times(Vec<Histogram<u64>>);

impl Times {
    pub(crate) fn new() -> Self {
        let three_digits = || Histogram::new(3).expect("three digits can be kept");
        Self(Operation::ALL.map(|_| three_digits()).into())
    }

    pub(crate) fn add(&mut self, operation: Operation, time: Duration) {
        self.0[operation as usize] += time.as_nanos() as u64;
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        table.set_header(["operation", "samples", "p50", "p99", "p99.99", "max"]);
        for (operation, name) in Operation::ALL {
            let times = &self.0[operation as usize];
            if times.is_empty() {
                continue;
            }
            let columns = [
                times.len().to_string(),
                readable(times.value_at_quantile(0.5)),
                readable(times.value_at_quantile(0.99)),
                readable(times.value_at_quantile(0.9999)),
                readable(times.max()),
            ];
            let columns = columns.map(|column| Cell::new(column).set_alignment(CellAlignment::Right));
            table.add_row(std::iter::once(Cell::new(name)).chain(columns));
        }
        table
    }
}

fn readable(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        small if small < 1e3 => format!("{small:.0} ns"),
        medium if medium < 1e6 => format!("{:.2} µs", medium / 1e3),
        large => format!("{:.2} ms", large / 1e6),
    }
}
