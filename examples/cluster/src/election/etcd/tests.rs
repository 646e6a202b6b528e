//! Tests with a real etcd. They are left out if `etcd` is not in the PATH.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Client;
use crate::election::Place;
use crate::election::tests_support::{Candidate, Folder};

const LEASE: Duration = Duration::from_secs(3);

/// An etcd of one member, which ends with the test.
struct Etcd {
    folder: Folder,
    ports: [u16; 2],
    process: Option<Child>,
}

impl Etcd {
    /// Starts etcd. Returns `None` if it is not installed.
    fn start(test: &str) -> Option<Self> {
        if Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            println!("{test} is left out: etcd is not in the PATH");
            return None;
        }
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = ports.map(|port| port.local_addr().unwrap().port());
        let folder = Folder::new(&format!("etcd-{test}"));
        let process = None;
        let mut etcd = Self { folder, ports, process };
        etcd.run();
        Some(etcd)
    }

    /// Starts the process, with the data of earlier ones.
    fn run(&mut self) {
        let [client, peer] = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        let data = self.folder.path().join("data");
        let cluster = format!("default={peer}");
        let arguments = [
            "--data-dir",
            data.to_str().unwrap(),
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &cluster,
        ];
        let mut command = Command::new("etcd");
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn candidate(&self, address: &str) -> Candidate {
        self.candidate_with(address, LEASE)
    }

    fn candidate_with(&self, address: &str, lease: Duration) -> Candidate {
        // The first endpoint does not exist.
        let endpoints = vec!["127.0.0.1:1".to_owned(), format!("127.0.0.1:{}", self.ports[0])];
        Candidate::with_lease(Place::Etcd(endpoints), address, lease)
    }

    /// Creates a client that is no candidate.
    fn operator(&self) -> Client {
        Client::new(&[format!("127.0.0.1:{}", self.ports[0])]).unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Prints a measured time, for `--nocapture`.
fn measured(what: &str, since: Instant) -> Duration {
    let time = since.elapsed();
    println!("{what}: {} ms", time.as_millis());
    time
}

#[tokio::test]
async fn leaders_follow_each_other() {
    let Some(etcd) = Etcd::start("follow") else {
        return;
    };
    let mut first = etcd.candidate("first:1");
    let epoch = first.elected().await;
    assert_eq!(first.sees("first:1").await, epoch);
    let mut second = etcd.candidate("second:1");
    assert_eq!(second.sees("first:1").await, epoch);

    let start = Instant::now();
    first.resign().await;
    let next = second.elected().await;
    measured("a leader after the first resigned", start);
    assert!(next > epoch);
    assert_eq!(second.sees("second:1").await, next);

    let mut third = etcd.candidate("third:1");
    assert_eq!(third.sees("second:1").await, next);
    let start = Instant::now();
    second.crash().await;
    let last = third.elected().await;
    let time = measured("a leader after the second crashed", start);
    assert!(last > next);
    assert!(time > LEASE / 2, "the lease of the dead leader was not respected");
}

#[tokio::test]
async fn a_short_loss_of_etcd_costs_nothing() {
    let Some(mut etcd) = Etcd::start("short") else {
        return;
    };
    // etcd takes more than a second to start.
    let lease = LEASE * 2;
    let mut first = etcd.candidate_with("first:1", lease);
    let epoch = first.elected().await;
    let mut second = etcd.candidate_with("second:1", lease);
    second.sees("first:1").await;

    let mut changes = first.election.clone();
    etcd.kill();
    sleep(Duration::from_millis(300)).await;
    etcd.run();
    // Longer than the lease.
    let end = Instant::now() + lease + LEASE;
    while let Ok(changed) = tokio::time::timeout_at(end, changes.ours.changed()).await {
        changed.unwrap();
        let ours = changes.ours.borrow().expect("it leads all the time");
        assert_eq!(ours.epoch, epoch);
    }
    assert_eq!(first.ours().map(|ours| ours.epoch), Some(epoch));
    assert_eq!(second.ours(), None);
    assert_eq!(second.sees("first:1").await, epoch);
}

#[tokio::test]
async fn after_a_long_loss_of_etcd_one_leads_again() {
    let Some(mut etcd) = Etcd::start("long") else {
        return;
    };
    let mut first = etcd.candidate("first:1");
    let epoch = first.elected().await;
    etcd.kill();
    let start = Instant::now();
    first.lost().await;
    let time = measured("stepped down after the loss of etcd", start);
    assert!(time < LEASE, "it led longer than its lease");
    first.sees_nobody().await;
    sleep(LEASE).await;
    etcd.run();
    let operator = etcd.operator();
    while operator.read(super::KEY).await.is_err() {}
    let start = Instant::now();
    let next = first.elected().await;
    measured("a leader after the return of etcd", start);
    assert!(next > epoch);
}

#[tokio::test]
async fn an_etcd_that_hangs_ends_a_leadership_in_time() {
    let Some(etcd) = Etcd::start("hang") else {
        return;
    };
    let mut first = etcd.candidate("first:1");
    let mut second = etcd.candidate("second:1");
    let epoch = tokio::select! {
        epoch = first.elected() => epoch,
        epoch = second.elected() => epoch,
    };
    let start = Instant::now();
    etcd.signal("STOP");
    first.lost().await;
    second.lost().await;
    let time = measured("stepped down after etcd was stopped", start);
    assert!(time < LEASE, "one led longer than its lease");
    sleep(LEASE).await;
    first.sees_nobody().await;
    second.sees_nobody().await;
    etcd.signal("CONT");
    let start = Instant::now();
    let next = tokio::select! {
        epoch = first.elected() => epoch,
        epoch = second.elected() => epoch,
    };
    measured("a leader after etcd went on", start);
    assert!(next > epoch);
    sleep(LEASE).await;
    assert!(first.ours().is_none() || second.ours().is_none(), "two lead");
}

#[tokio::test]
async fn a_leader_whose_key_is_deleted_leads_no_more() {
    let Some(etcd) = Etcd::start("deleted") else {
        return;
    };
    let mut first = etcd.candidate("first:1");
    let epoch = first.elected().await;
    etcd.operator().delete(super::KEY, epoch.0).await.unwrap();
    let is_next = |ours: &Option<crate::election::Leadership>| ours.is_some_and(|ours| ours.epoch > epoch);
    tokio::time::timeout(LEASE, first.election.ours.wait_for(is_next))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn without_etcd_nobody_leads() {
    let place = Place::Etcd(vec!["127.0.0.1:1".to_owned()]);
    let candidate = Candidate::with_lease(place, "first:1", LEASE);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(candidate.ours(), None);
    candidate.resign().await;
}
