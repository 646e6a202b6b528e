//! A provisioner with fakes for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slot_manager::config::WorkerDescription;
use slot_manager::{LeaderId, ResourceId, ResourceProfile, WorkerRequestId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::settings::{Settings, SlurmSettings};
use super::{Kind, News, Order, naming, start};
use crate::protocol::Epoch;

const LONG: Duration = Duration::from_secs(30);

/// The epoch of all worker requests.
const EPOCH: u64 = 7;

pub(super) fn request(number: u64) -> WorkerRequestId {
    WorkerRequestId::new(LeaderId::from_u128(EPOCH.into()), number)
}

/// A folder with fake programs, and a provisioner that uses them.
pub(super) struct Bench {
    folder: PathBuf,
    pub(super) settings: Settings,
    running: Option<Running>,
    epoch: Epoch,
    end: CancellationToken,
}

struct Running {
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<(Epoch, News)>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Bench {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut settings = Settings::new("test", vec!["a:1".to_owned(), "b:2".to_owned()], &folder);
        settings.program = Some(folder.join("worker"));
        settings.grace = Duration::from_millis(300);
        settings.slurm = SlurmSettings {
            programs: Some(folder.clone()),
            poll_interval: Duration::from_millis(50),
            first_backoff: Duration::from_millis(200),
            ..SlurmSettings::default()
        };
        Self {
            folder,
            settings,
            running: None,
            epoch: Epoch(EPOCH),
            end: CancellationToken::new(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a fake program. It is run in the folder.
    ///
    /// Another process writes it: a child of another test could inherit an open file of this one,
    /// and a program that is open for writing cannot be run.
    pub(super) fn program(&self, name: &str, text: &str) {
        let text = format!("#!/bin/sh\ncd {}\n{text}\n", self.folder.display());
        let script = "printf %s \"$1\" > new-program && chmod +x new-program && mv new-program \"$0\"";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, name, &text]).current_dir(&self.folder);
        assert!(command.status().unwrap().success());
    }

    pub(super) fn start(&mut self, kind: Kind) {
        let (orders, order_receiver) = mpsc::channel(16);
        let (news_sender, news) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = start(kind, self.settings.clone(), order_receiver, news_sender, stop.clone());
        self.running = Some(Running {
            orders,
            news,
            stop,
            task,
        });
    }

    /// Ends the provisioner.
    pub(super) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running.task.await.unwrap();
        }
    }

    pub(super) fn worker(&self, number: u64) -> Order {
        let profile = ResourceProfile::builder().cpu_cores(1.0).build().unwrap();
        Order::Start {
            worker_request: request(number),
            worker: WorkerDescription::new(2, profile).unwrap(),
        }
    }

    /// Begins a leadership, or the same again.
    pub(super) async fn recover(&self) {
        let (epoch, end) = (self.epoch, self.end.clone());
        self.order(Order::Recover { epoch, end }).await;
    }

    /// Ends the leadership. The next one has another epoch.
    pub(super) fn end_leadership(&mut self) {
        std::mem::take(&mut self.end).cancel();
        self.epoch.0 += 1;
    }

    /// Begins a leadership of a cluster without workers.
    pub(super) async fn lead(&mut self) {
        self.recover().await;
        assert_eq!(self.known().await, 0);
    }

    pub(super) async fn order(&self, order: Order) {
        self.running.as_ref().unwrap().orders.send(order).await.unwrap();
    }

    pub(super) async fn news(&mut self) -> News {
        let news = self.running.as_mut().unwrap().news.recv();
        let (epoch, news) = timeout(LONG, news).await.expect("there is news").unwrap();
        assert_eq!(epoch, self.epoch);
        news
    }

    /// Waits for the workers that run or start. Returns their number.
    pub(super) async fn known(&mut self) -> usize {
        match self.news().await {
            News::Known(workers) => {
                let is_named = |(id, name): (&WorkerRequestId, &ResourceId)| {
                    naming::worker_request_of(&self.settings.cluster, name) == Some(*id)
                };
                assert!(workers.iter().all(is_named), "{workers:?}");
                workers.len()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the failure of a worker request. Returns the cause.
    pub(super) async fn failure(&mut self, number: u64) -> String {
        match self.news().await {
            News::Failed { worker_request, cause } if worker_request == request(number) => cause,
            other => panic!("{other:?}"),
        }
    }

    /// Returns `true` if there is no news for a while.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let news = self.running.as_mut().unwrap().news.recv();
        timeout(Duration::from_millis(400), news).await.is_err()
    }

    /// Waits until a file has a text.
    pub(super) async fn file_with(&self, name: &str, text: &str) -> String {
        self.wait(&format!("{text} in {name}"), || {
            let content = fs::read_to_string(self.path(name)).ok()?;
            content.contains(text).then_some(content)
        })
        .await
    }

    pub(super) async fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, waiting)
            .await
            .unwrap_or_else(|_| panic!("{what} does not come"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Those of a test that failed.
        for pid in processes(&self.path("worker")) {
            let _ = std::process::Command::new("kill")
                .args(["-s", "KILL", &pid.to_string()])
                .status();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the processes of the fake worker of a bench.
pub(super) fn processes(worker: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_worker = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(worker.to_str().unwrap())
    };
    pids.filter(is_worker).collect()
}
