//! Workers as jobs of Slurm.
//!
//! A job has the name of its worker, so the provisioner of the next leader finds it. All jobs are
//! looked at with one `squeue`, and only while there are any.

mod commands;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use slot_manager::config::WorkerDescription;
use slot_manager::{ResourceId, WorkerRequestId};
use tokio::time::Instant;
use tracing::{info, warn};

use self::commands::Commands;
use super::{News, Provisioner, Settings, failed, known, naming, worker_command};

/// The time after which a job that runs is no failure.
const PROBATION: Duration = Duration::from_secs(10);

/// The longest pause after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

pub(super) struct Slurm {
    settings: Settings,
    commands: Commands,
    jobs: BTreeMap<WorkerRequestId, Job>,
    /// Orders that wait, because Slurm's queue has enough of ours or jobs have failed.
    waiting: VecDeque<(WorkerRequestId, WorkerDescription)>,
    backoff: Backoff,
    /// An order to recover is not answered.
    is_recovering: bool,
    /// The last look at the queue failed.
    is_away: bool,
}

struct Job {
    id: String,
    is_pending: bool,
    /// The time at which a job that runs has shown that jobs can run.
    proven_at: Option<Instant>,
    ending: Option<Ending>,
}

/// The end of a job that is not needed.
enum Ending {
    /// It is cancelled unless it runs.
    Withdrawn,
    /// The worker has been told to stop. Its job is cancelled at this time.
    Told { cancel_at: Instant },
}

/// The pause after failures that follow each other.
#[derive(Default)]
struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Provisioner for Slurm {
    fn period(&self) -> Duration {
        self.settings.slurm.poll_interval
    }

    async fn start(&mut self, id: WorkerRequestId, worker: WorkerDescription, news: &mut Vec<News>) {
        let is_known = self.jobs.contains_key(&id) || self.waiting.iter().any(|(waiting, _)| *waiting == id);
        if !is_known {
            self.waiting.push_back((id, worker));
            self.submit(news).await;
        }
    }

    async fn withdraw(&mut self, id: WorkerRequestId, news: &mut Vec<News>) {
        if let Some(job) = self.jobs.get_mut(&id) {
            // The next look at the queue shows whether it came in time.
            job.ending = Some(Ending::Withdrawn);
            self.commands.cancel_if_pending(&job.id).await;
        } else {
            self.waiting.retain(|(waiting, _)| *waiting != id);
            news.push(failed(id, "withdrawn"));
        }
    }

    async fn stop(&mut self, resource_id: &ResourceId) {
        let id = naming::worker_request_of(&self.settings.cluster, resource_id);
        if let Some(job) = id.and_then(|id| self.jobs.get_mut(&id))
            && !matches!(job.ending, Some(Ending::Told { .. }))
        {
            let cancel_at = Instant::now() + self.settings.grace;
            job.ending = Some(Ending::Told { cancel_at });
        }
    }

    async fn recover(&mut self, news: &mut Vec<News>) {
        self.is_recovering = true;
        self.look(news).await;
    }

    fn suspend(&mut self) {
        self.waiting.clear();
        // A recovery finds them in the queue.
        self.jobs.clear();
        self.is_recovering = false;
    }

    async fn look(&mut self, news: &mut Vec<News>) {
        if self.is_recovering || !self.jobs.is_empty() {
            self.poll(news).await;
        }
        self.submit(news).await;
    }
}

impl Slurm {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            commands: Commands::new(&settings),
            settings,
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            backoff: Backoff::default(),
            is_recovering: false,
            is_away: false,
        }
    }

    /// Submits the orders that wait, as far as the limits allow.
    async fn submit(&mut self, news: &mut Vec<News>) {
        while !self.backoff.is_on() && self.pending() < self.settings.slurm.max_queued as usize {
            let Some((id, worker)) = self.waiting.pop_front() else {
                return;
            };
            let name = naming::name(&self.settings.cluster, id);
            let result = match worker_command(&self.settings, &name, id, &worker) {
                Ok(command) => self.commands.submit(&name, &worker, &command).await,
                Err(error) => Err(error.to_string()),
            };
            match result {
                Ok(job) => {
                    info!(worker = name, job, "submitted to Slurm");
                    self.jobs.insert(id, Job::new(job));
                }
                Err(cause) => {
                    news.push(failed(id, format!("sbatch failed: {cause}")));
                    self.back_off();
                }
            }
        }
    }

    fn pending(&self) -> usize {
        self.jobs.values().filter(|job| job.is_pending).count()
    }

    fn back_off(&mut self) {
        let pause = self.backoff.begin(self.settings.slurm.first_backoff);
        warn!(
            ?pause,
            failures = self.backoff.failures,
            "no job is submitted to Slurm for a while"
        );
    }

    /// Compares the jobs with Slurm's queue.
    async fn poll(&mut self, news: &mut Vec<News>) {
        let queue = match self.commands.queue().await {
            Ok(queue) => queue,
            Err(error) => {
                // It says nothing about jobs.
                if !std::mem::replace(&mut self.is_away, true) {
                    warn!(error, "Slurm's queue cannot be read");
                }
                return;
            }
        };
        self.is_away = false;
        let is_recovering = std::mem::take(&mut self.is_recovering);
        let mut gone: Vec<_> = self.jobs.keys().copied().collect();
        for entry in queue {
            let Some(id) = naming::worker_request(&self.settings.cluster, &entry.name) else {
                continue;
            };
            if is_recovering && !self.jobs.contains_key(&id) {
                info!(worker = entry.name, job = entry.job, "found in Slurm's queue");
                self.jobs.insert(id, Job::new(entry.job.clone()));
            }
            let Some(job) = self.jobs.get_mut(&id).filter(|job| job.id == entry.job) else {
                continue;
            };
            gone.retain(|gone| *gone != id);
            if job.is_pending && !entry.is_pending {
                job.proven_at = Some(Instant::now() + PROBATION);
            }
            job.is_pending = entry.is_pending;
            if is_recovering && job.is_pending && job.ending.is_none() {
                // This leader asks for what it needs, so this worker would be one too many.
                job.ending = Some(Ending::Withdrawn);
            }
            if job.proven_at.take_if(|at| Instant::now() >= *at).is_some() {
                self.backoff = Backoff::default();
            }
            match job.ending {
                Some(Ending::Withdrawn) if !job.is_pending => {
                    job.ending = None;
                    news.push(News::Comes(id));
                }
                Some(Ending::Withdrawn) => self.commands.cancel_if_pending(&job.id).await,
                Some(Ending::Told { cancel_at }) if Instant::now() >= cancel_at => {
                    self.commands.cancel(&job.id).await;
                    let cancel_at = Instant::now() + self.settings.grace;
                    job.ending = Some(Ending::Told { cancel_at });
                }
                _ => {}
            }
        }
        for id in gone {
            self.remove(id, news).await;
        }
        if is_recovering {
            // One that is withdrawn may come all the same. If not, its failure follows.
            let is_told = |job: &Job| matches!(job.ending, Some(Ending::Told { .. }));
            let running = self.jobs.iter().filter(|(_, job)| !is_told(job));
            news.push(known(&self.settings.cluster, running.map(|(id, _)| id)));
        }
    }

    /// Forgets a job that has left the queue.
    async fn remove(&mut self, id: WorkerRequestId, news: &mut Vec<News>) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        info!(job = job.id, worker_request = %id, "a job has left Slurm's queue");
        match job.ending {
            Some(Ending::Told { .. }) => self.backoff = Backoff::default(),
            Some(Ending::Withdrawn) => news.push(failed(id, "withdrawn")),
            None => {
                let how = self.commands.how_it_ended(&job.id).await;
                let how = how.unwrap_or_else(|| "not known how".to_owned());
                news.push(failed(id, format!("the Slurm job {} ended: {how}", job.id)));
                self.back_off();
            }
        }
    }
}

impl Job {
    fn new(id: String) -> Self {
        Self {
            id,
            is_pending: true,
            proven_at: None,
            ending: None,
        }
    }
}

impl Backoff {
    fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn begin(&mut self, first: Duration) -> Duration {
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(Instant::now() + pause);
        pause
    }
}

#[cfg(test)]
mod tests;
