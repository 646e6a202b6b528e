//! Workers as processes of this machine.
//!
//! Each worker has a process group of its own, and outlives this process. A record in the state
//! folder lets the provisioner of the next leader find it.

mod process;
mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tracing::{info, warn};

use self::process::Process;
use self::record::{Record, Records};
use super::{News, Provisioner, Settings, failed, known, naming, worker_command};

pub(super) struct Local {
    settings: Settings,
    records: Records,
    workers: BTreeMap<WorkerRequestId, Worker>,
}

struct Worker {
    process: Process,
    /// Absent for a worker that another process has started.
    child: Option<Child>,
    ending: Option<Ending>,
}

/// The end of a worker that is not needed.
#[derive(Clone, Copy)]
struct Ending {
    is_withdrawn: bool,
    /// The next signal, and its time.
    signal: Signal,
    at: Instant,
}

impl Provisioner for Local {
    fn period(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn start(&mut self, id: WorkerRequestId, worker: WorkerDescription, news: &mut Vec<News>) {
        if !self.workers.contains_key(&id)
            && let Err(error) = self.spawn(id, &worker)
        {
            news.push(failed(id, format!("the process did not start: {error}")));
        }
    }

    async fn withdraw(&mut self, id: WorkerRequestId, news: &mut Vec<News>) {
        match self.workers.get_mut(&id) {
            Some(worker) => {
                worker.ending = Some(Ending {
                    is_withdrawn: true,
                    signal: Signal::TERM,
                    at: Instant::now(),
                });
                self.look(news).await;
            }
            None => news.push(failed(id, "withdrawn; no process runs for it")),
        }
    }

    async fn stop(&mut self, resource_id: &ResourceId) {
        let id = naming::worker_request_of(&self.settings.cluster, resource_id);
        if let Some(worker) = id.and_then(|id| self.workers.get_mut(&id))
            && worker.ending.is_none()
        {
            worker.ending = Some(Ending {
                is_withdrawn: false,
                signal: Signal::TERM,
                at: Instant::now() + self.settings.grace,
            });
        }
    }

    async fn recover(&mut self, news: &mut Vec<News>) {
        self.look(news).await;
        self.adopt();
        let running = self.workers.iter().filter(|(_, worker)| worker.ending.is_none());
        news.push(known(&self.settings.cluster, running.map(|(id, _)| id)));
    }

    fn suspend(&mut self) {
        for worker in self.workers.values_mut() {
            worker.ending = None;
        }
    }

    async fn look(&mut self, news: &mut Vec<News>) {
        let mut ended = Vec::new();
        for (id, worker) in &mut self.workers {
            if let Some(how) = worker.end() {
                ended.push((*id, how));
            } else if let Some(ending) = &mut worker.ending
                && Instant::now() >= ending.at
            {
                worker.process.signal(ending.signal);
                ending.signal = Signal::KILL;
                ending.at = Instant::now() + self.settings.grace;
            }
        }
        for (id, how) in ended {
            news.extend(self.remove(id, &how));
        }
    }
}

impl Local {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            records: Records::new(settings.state_folder.clone()),
            settings,
            workers: BTreeMap::new(),
        }
    }

    fn spawn(&mut self, id: WorkerRequestId, worker: &WorkerDescription) -> io::Result<()> {
        let name = naming::name(&self.settings.cluster, id);
        let command = worker_command(&self.settings, &name, id, worker)?;
        std::fs::create_dir_all(&self.settings.log_folder)?;
        let log = self.settings.log_folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        match self.remember(&name, &child) {
            Ok(process) => {
                info!(worker = name, pid = process.pid, "worker started");
                let worker = Worker {
                    process,
                    child: Some(child),
                    ending: None,
                };
                self.workers.insert(id, worker);
                Ok(())
            }
            Err(error) => {
                // A worker without a record would be lost with this process.
                child.start_kill()?;
                Err(error)
            }
        }
    }

    fn remember(&self, name: &str, child: &Child) -> io::Result<Process> {
        let pid = child.id().ok_or_else(|| io::Error::other("it has ended"))?;
        let process = Process::find(pid)?;
        self.records.write(&Record {
            name: name.to_owned(),
            process: process.clone(),
        })?;
        Ok(process)
    }

    /// Takes over the workers that others have started, and removes the records of those that
    /// ended.
    fn adopt(&mut self) {
        for record in self.records.read() {
            let Some(id) = naming::worker_request(&self.settings.cluster, &record.name) else {
                continue;
            };
            if self.workers.contains_key(&id) {
                continue;
            }
            if record.process.is_running() {
                info!(worker = record.name, pid = record.process.pid, "worker found");
                let worker = Worker {
                    process: record.process,
                    child: None,
                    ending: None,
                };
                self.workers.insert(id, worker);
            } else {
                self.records.remove(&record.name);
            }
        }
    }

    /// Forgets a worker that has ended. Returns the news, unless it was told to stop.
    fn remove(&mut self, id: WorkerRequestId, how: &str) -> Option<News> {
        let name = naming::name(&self.settings.cluster, id);
        let worker = self.workers.remove(&id)?;
        self.records.remove(&name);
        info!(worker = name, how, "worker ended");
        let log = self.settings.log_folder.join(format!("{name}.log"));
        match worker.ending {
            Some(ending) => ending.is_withdrawn.then(|| failed(id, "withdrawn")),
            None => Some(failed(id, format!("the process ended: {how}; see {}", log.display()))),
        }
    }
}

impl Worker {
    /// Returns how the process ended, if it has.
    fn end(&mut self) -> Option<String> {
        match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(status) => status.map(|status| status.to_string()),
                Err(error) => {
                    warn!(%error, "a process cannot be watched");
                    self.child = None;
                    None
                }
            },
            None if self.process.is_running() => None,
            None => Some("not known how, another process had started it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
