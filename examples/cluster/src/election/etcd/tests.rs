//! Tests with a real etcd. They are left out if `etcd` is not in the PATH.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use crate::election::Place;
use crate::election::tests_support::{CLUSTER, Candidate, Folder};
use crate::protocol::Epoch;
use crate::required::is_installed;

const LEASE: Duration = Duration::from_secs(3);

/// An etcd, which ends with the test.
struct Etcd {
    folder: Folder,
    members: Vec<Member>,
}

struct Member {
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Etcd {
    /// Starts etcd with one member. Returns `None` if it is not installed.
    fn start(test: &str) -> Option<Self> {
        Self::start_members(test, 1)
    }

    fn start_members(test: &str, members: usize) -> Option<Self> {
        if !is_installed("etcd") {
            return None;
        }
        // All are bound at once, so that they differ.
        let sockets: Vec<_> = (0..members * 2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        let members = ports.chunks(2).map(|ports| Member {
            client_port: ports[0],
            peer_port: ports[1],
            process: None,
        });
        let mut etcd = Self {
            folder: Folder::new(&format!("etcd-{test}")),
            members: members.collect(),
        };
        drop(sockets);
        for index in 0..etcd.members.len() {
            etcd.run_member(index);
        }
        Some(etcd)
    }

    /// Starts the process of a member, with the data of earlier ones.
    fn run_member(&mut self, index: usize) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let peers = self.members.iter().enumerate();
        let peers: Vec<_> = peers
            .map(|(index, member)| format!("m{index}={}", url(member.peer_port)))
            .collect();
        let member = &mut self.members[index];
        let (client, peer) = (url(member.client_port), url(member.peer_port));
        // It ends with the thread of the test, also if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "etcd"]);
        for (option, value) in [
            ("--name", format!("m{index}").as_str()),
            (
                "--data-dir",
                self.folder.path().join(format!("data{index}")).to_str().unwrap(),
            ),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &peers.join(",")),
        ] {
            command.args([option, value]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        member.process = Some(command.spawn().unwrap());
    }

    fn run(&mut self) {
        self.run_member(0);
    }

    fn kill_member(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn kill(&mut self) {
        self.kill_member(0);
    }

    fn signal(&self, index: usize, signal: &str) {
        let pid = self.members[index].process.as_ref().unwrap().id().to_string();
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
        let mut endpoints = vec!["127.0.0.1:1".to_owned()];
        endpoints.extend(self.endpoints());
        Candidate::with_lease(Place::Etcd(endpoints), address, lease)
    }

    /// Creates a client that is no candidate.
    fn operator(&self) -> Client {
        Client::new(&self.endpoints()).unwrap()
    }

    fn endpoints(&self) -> Vec<String> {
        let endpoint = |member: &Member| format!("127.0.0.1:{}", member.client_port);
        self.members.iter().map(endpoint).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill_member(index);
        }
    }
}

/// Checks that a leadership goes on for a while.
async fn keeps_leading(candidate: &Candidate, epoch: Epoch, time: Duration) {
    let mut ours = candidate.election.ours.clone();
    let is_over = ours.wait_for(|ours| ours.is_none_or(|ours| ours.epoch != epoch));
    assert!(timeout(time, is_over).await.is_err(), "the leadership ended");
    let until = candidate.ours().and_then(|ours| ours.until);
    assert!(until.is_some_and(|until| until > Instant::now()));
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
async fn each_cluster_has_a_leader_of_its_own() {
    let Some(etcd) = Etcd::start("clusters") else {
        return;
    };
    let candidate = |cluster, address| Candidate::of_cluster(cluster, Place::Etcd(etcd.endpoints()), address, LEASE);
    let mut first = candidate("one", "first:1");
    let mut second = candidate("two", "second:1");
    let (first_epoch, second_epoch) = (first.elected().await, second.elected().await);
    assert_eq!(first.sees("first:1").await, first_epoch);
    assert_eq!(second.sees("second:1").await, second_epoch);
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

    etcd.kill();
    sleep(Duration::from_millis(300)).await;
    etcd.run();
    keeps_leading(&first, epoch, lease + LEASE).await;
    assert_eq!(second.ours(), None);
    assert_eq!(second.sees("first:1").await, epoch);
}

#[tokio::test]
async fn a_short_pause_of_etcd_costs_nothing() {
    let Some(etcd) = Etcd::start("pause") else {
        return;
    };
    let mut first = etcd.candidate("first:1");
    let epoch = first.elected().await;
    etcd.signal(0, "STOP");
    keeps_leading(&first, epoch, Duration::from_secs(1)).await;
    etcd.signal(0, "CONT");
    keeps_leading(&first, epoch, LEASE).await;
}

#[tokio::test]
async fn the_loss_of_a_member_costs_nothing() {
    let Some(mut etcd) = Etcd::start_members("members", 3) else {
        return;
    };
    // The members may have to elect a leader of their own, which takes a few seconds.
    let lease = LEASE * 3;
    let mut first = etcd.candidate_with("first:1", lease);
    let epoch = first.elected().await;
    let mut second = etcd.candidate_with("second:1", lease);
    second.sees("first:1").await;
    for index in 0..3 {
        etcd.kill_member(index);
        keeps_leading(&first, epoch, LEASE).await;
        assert_eq!(second.sees("first:1").await, epoch);
        etcd.run_member(index);
        // It must be back before the next one goes.
        keeps_leading(&first, epoch, LEASE).await;

        // Shorter than the lease, see etcd#15247 in the documentation.
        etcd.signal(index, "STOP");
        keeps_leading(&first, epoch, LEASE).await;
        assert_eq!(second.sees("first:1").await, epoch);
        etcd.signal(index, "CONT");
        keeps_leading(&first, epoch, LEASE).await;
    }
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
    while operator.read(&super::key_of(CLUSTER)).await.is_err() {}
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
    etcd.signal(0, "STOP");
    first.lost().await;
    second.lost().await;
    let time = measured("stepped down after etcd was stopped", start);
    assert!(time < LEASE, "one led longer than its lease");
    sleep(LEASE).await;
    first.sees_nobody().await;
    second.sees_nobody().await;
    etcd.signal(0, "CONT");
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
    etcd.operator().delete(&super::key_of(CLUSTER), epoch.0).await.unwrap();
    let is_next = |ours: &Option<crate::election::Leadership>| ours.is_some_and(|ours| ours.epoch > epoch);
    timeout(LEASE, first.election.ours.wait_for(is_next))
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
