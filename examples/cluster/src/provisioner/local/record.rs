//! The records of workers: one file a worker in the state folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::process::Process;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) process: Process,
}

pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a record as a whole.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(&record.name);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(record)?)?;
        fs::rename(new, path)
    }

    /// Reads all records. Leaves out those that cannot be read.
    pub(super) fn read(&self) -> Vec<Record> {
        let paths = match fs::read_dir(&self.folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "workers of former leaders cannot be found");
                return Vec::new();
            }
        };
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }

    pub(super) fn remove(&self, name: &str) {
        // Another process may have removed it.
        let _ = fs::remove_file(self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        // Not `with_extension`: the name may have a dot.
        self.folder.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> Option<Record> {
    let record = fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    match record {
        Ok(record) => Some(record),
        Err(error) => {
            warn!(path = %path.display(), %error, "a record of a worker is left out");
            None
        }
    }
}
