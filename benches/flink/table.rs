//! The table of the results.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{Cell, CellAlignment, Table};

/// A row, in nanoseconds per operation.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) size: usize,
    pub(crate) ours: Option<f64>,
    pub(crate) floor: Option<f64>,
    pub(crate) contract_floor: Option<f64>,
    pub(crate) flink: Option<f64>,
}

/// Returns the table of a comparison with this version of Flink.
pub(crate) fn markdown(rows: &[Row], version: &str) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header([
        "workload",
        "size",
        "slot-manager (ns/op)",
        "floor, with the contract (ns/op)",
        &format!("Flink {version} (ns/op)"),
        "ratio (Flink / slot-manager)",
    ]);
    for row in rows {
        let ratio = row.ours.zip(row.flink).map(|(ours, flink)| flink / ours);
        table.add_row([
            Cell::new(row.title),
            number(row.size.to_string()),
            number(three_digits(row.ours)),
            number(floors(row)),
            number(three_digits(row.flink)),
            number(three_digits(ratio)),
        ]);
    }
    table
}

fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Formats the floor and the contract floor, where the row has both.
fn floors(row: &Row) -> String {
    let floor = three_digits(row.floor);
    match row.contract_floor {
        Some(_) => format!("{floor}, {}", three_digits(row.contract_floor)),
        None => floor,
    }
}

/// Formats a number with at least three significant digits, if it has as many.
fn three_digits(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let decimals = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}
