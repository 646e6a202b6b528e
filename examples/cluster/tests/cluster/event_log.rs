//! The event logs of all processes, in the order of their times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;

/// A line of an event log. Fields that an event does not have are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    pub seq: u64,
    pub at_us: u64,
    pub process: String,
    pub event: String,
    pub epoch: u64,
    pub worker: String,
    pub slot: String,
    pub job: String,
    pub allocation: String,
    pub task: u64,
    /// The slots that a job declares.
    pub slots: u32,
    pub exit_code: Option<i32>,
    pub cause: String,
}

/// The logs of a folder, as far as they were read.
pub struct Logs {
    folder: PathBuf,
    /// The number of bytes of each file that were read.
    files: BTreeMap<PathBuf, u64>,
    lines: Rc<Vec<Line>>,
}

impl Logs {
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: BTreeMap::new(),
            lines: Rc::default(),
        }
    }

    /// Reads what is new. Returns all lines. Those of one process keep their order, also within a
    /// microsecond.
    pub fn read(&mut self) -> Rc<Vec<Line>> {
        let mut new = Vec::new();
        for file in std::fs::read_dir(&self.folder).expect("the folder of the logs") {
            let path = file.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "events") {
                self.read_file(path, &mut new);
            }
        }
        if !new.is_empty() {
            let lines = Rc::make_mut(&mut self.lines);
            lines.append(&mut new);
            lines.sort_by(|a, b| (a.at_us, &a.process, a.seq).cmp(&(b.at_us, &b.process, b.seq)));
        }
        Rc::clone(&self.lines)
    }

    fn read_file(&mut self, path: PathBuf, lines: &mut Vec<Line>) {
        let mut file = File::open(&path).expect("an event log");
        let read = self.files.entry(path.clone()).or_default();
        file.seek(SeekFrom::Start(*read)).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("a text");
        // A process that writes now, or was killed, may have left half a line at the end.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text.truncate(whole);
        *read += text.len() as u64;
        let new = text.lines().map(|line| {
            serde_json::from_str::<Line>(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()))
        });
        lines.extend(new);
    }
}
