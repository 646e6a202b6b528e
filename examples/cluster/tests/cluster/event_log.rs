//! The event logs of all processes, in the order of their times.

use std::path::Path;

use serde::Deserialize;

/// A line of an event log. Fields that an event does not have are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    pub seq: u64,
    pub at_us: u128,
    pub process: String,
    pub event: String,
    pub epoch: u64,
    pub worker: String,
    pub slot: String,
    pub job: String,
    pub allocation: String,
    pub task: u64,
    pub exit_code: Option<i32>,
    pub cause: String,
}

/// Reads all logs of a folder. Lines of one process keep their order, also within a microsecond.
pub fn read(folder: &Path) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let files = std::fs::read_dir(folder).expect("the folder of the logs");
    for file in files {
        let path = file.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "events") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an event log");
        // A process that was killed may have left half a line at the end.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            lines
                .push(serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display())));
        }
    }
    lines.sort_by(|a, b| (a.at_us, &a.process, a.seq).cmp(&(b.at_us, &b.process, b.seq)));
    lines
}
