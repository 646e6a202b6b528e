//! The event log: what a process did, one JSON object a line. The checker of the tests reads
//! nothing else.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::protocol::Epoch;

/// An event. Ids are written as in logs.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A resource manager leads from now on.
    LeaderElected { epoch: Epoch },
    /// A resource manager leads no more.
    LeaderLost { epoch: Epoch },
    /// A task executor has registered.
    Registered {
        worker: String,
        epoch: Epoch,
        instance: String,
    },
    /// A task executor has given a slot to an allocation.
    Allocated {
        slot: String,
        allocation: String,
        job: String,
        epoch: Epoch,
    },
    /// A task executor has taken a slot back.
    Freed { slot: String, allocation: String },
    /// A task executor has refused a message of an old leader.
    OldLeaderRefused {
        worker: String,
        epoch: Epoch,
        highest: Epoch,
    },
    /// A leader has registered a job master.
    JobRegistered { job: String, epoch: Epoch },
    /// A job master has requested a slot.
    Requested { job: String, allocation: String },
    /// A job master declares the slots that the job needs in all.
    Declared { job: String, slots: u32 },
    /// A job master heard that declared slots are missing.
    Shortage { job: String, cause: String },
    /// A job master heard of a grant.
    Granted {
        job: String,
        allocation: String,
        epoch: Epoch,
    },
    /// A job master heard that a grant is lost.
    Lost {
        job: String,
        allocation: String,
        cause: String,
    },
    /// A job master heard that a request failed.
    Failed {
        job: String,
        allocation: String,
        cause: String,
    },
    /// A task executor has started a task.
    TaskStarted {
        slot: String,
        job: String,
        allocation: String,
        task: u64,
    },
    /// A process of a task has ended.
    TaskEnded {
        slot: String,
        job: String,
        task: u64,
        exit_code: Option<i32>,
    },
    /// A job master counts a task as done.
    TaskDone { job: String, task: u64 },
    /// A job master ends: its open requests are over.
    JobEnded { job: String },
    /// The resource manager requests a worker.
    WorkerRequested { worker_request: String },
    /// The resource manager has released a worker.
    WorkerReleased { worker: String },
}

/// The log of one process. Without a file it writes nothing.
#[derive(Clone, Default)]
pub struct EventLog(Option<Arc<Mutex<Writer>>>);

struct Writer {
    file: File,
    process: String,
    next: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    /// The place in this log. Times may be equal, places never.
    seq: u64,
    at_us: u128,
    process: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

impl EventLog {
    /// Opens the log of a process at the end of a file.
    pub fn open(path: &Path, process: impl Into<String>) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let process = process.into();
        Ok(Self(Some(Arc::new(Mutex::new(Writer { file, process, next: 0 })))))
    }

    /// Writes an event. The line is in the file when the call returns, also if the process is
    /// killed then.
    ///
    /// It blocks the thread for that: a line must not come later than the message that it precedes.
    /// Without a file, which is the default, it costs nothing.
    pub fn log(&self, event: &Event) {
        let Some(writer) = &self.0 else {
            return;
        };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writer.write(event) {
            tracing::warn!(%error, "the event log cannot be written");
        }
    }
}

impl Writer {
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            seq: self.next,
            at_us: at.as_micros(),
            process: &self.process,
            event,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.next += 1;
        self.file.write_all(&text)
    }
}
