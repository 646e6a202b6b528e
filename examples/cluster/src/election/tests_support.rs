//! Candidates and folders for tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Addresses, Election, Leadership, Place, campaign};
use crate::protocol::Epoch;

/// A limit for all waiting, far above what is needed.
const LONG: Duration = Duration::from_secs(30);

/// A folder that ends with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The cluster of most candidates.
pub(super) const CLUSTER: &str = "test";

/// Returns the address of the web server of a candidate.
fn web_of(address: &str) -> String {
    format!("web.{address}")
}

/// A candidate in this process.
pub(super) struct Candidate {
    pub(super) election: Election,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Candidate {
    pub(super) fn start(place: Place, address: &str) -> Self {
        Self::with_lease(place, address, Duration::from_secs(2))
    }

    pub(super) fn with_lease(place: Place, address: &str, lease: Duration) -> Self {
        Self::of_cluster(CLUSTER, place, address, lease)
    }

    pub(super) fn of_cluster(cluster: &str, place: Place, address: &str, lease: Duration) -> Self {
        let stop = CancellationToken::new();
        let addresses = Addresses {
            grpc: address.to_owned(),
            web: Some(web_of(address)),
        };
        let (election, task) = campaign(place, cluster.to_owned(), addresses, lease, stop.clone());
        Self { election, stop, task }
    }

    pub(super) fn ours(&self) -> Option<Leadership> {
        *self.election.ours.borrow()
    }

    /// Waits until it leads. Returns its epoch.
    pub(super) async fn elected(&mut self) -> Epoch {
        let elected = self.election.ours.wait_for(Option::is_some);
        let ours = timeout(LONG, elected).await.expect("it is elected").unwrap();
        ours.unwrap().epoch
    }

    /// Waits until it does not lead.
    pub(super) async fn lost(&mut self) {
        let lost = self.election.ours.wait_for(Option::is_none);
        timeout(LONG, lost).await.expect("it leads no more").unwrap();
    }

    /// Waits until it names this leader, with both addresses. Returns the leader's epoch.
    pub(super) async fn sees(&mut self, address: &str) -> Epoch {
        let is_seen = |leader: &Option<super::Leader>| {
            let seen = leader.as_ref().map(|leader| &leader.addresses);
            seen.is_some_and(|seen| seen.grpc == address && seen.web == Some(web_of(address)))
        };
        let seen = self.election.leader.wait_for(is_seen);
        let leader = timeout(LONG, seen).await.expect("it names the leader").unwrap();
        leader.as_ref().unwrap().epoch
    }

    /// Waits until the candidate knows no leader.
    pub(super) async fn sees_nobody(&mut self) {
        let seen = self.election.leader.wait_for(Option::is_none);
        timeout(LONG, seen).await.expect("it names nobody").unwrap();
    }

    /// Stops it in order.
    pub(super) async fn resign(self) {
        drop(self.election);
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it without a farewell.
    pub(super) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
