//! Leader election: which of the resource managers leads.
//!
//! A candidate campaigns until it is stopped. It leads while [`Election::ours`] holds a leadership,
//! and knows from [`Election::leader`] who leads. Each leadership has a higher epoch than those
//! before it.

mod etcd;
mod file;
#[cfg(test)]
mod tests_support;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::protocol::Epoch;

/// The addresses at which others reach a resource manager. A leader leaves them at the place of the
/// election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The address of its gRPC server, `host:port`.
    pub grpc: String,
    /// The address of its web server, `host:port`, if it has one.
    pub web: Option<String>,
}

/// The leader, as this process knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub epoch: Epoch,
    pub addresses: Addresses,
}

/// The leadership of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    pub epoch: Epoch,
    /// The time until which this process may act as leader. `None` has no end: the kernel ends it
    /// with the process.
    pub until: Option<Instant>,
}

/// The state of an election, as this process sees it.
#[derive(Debug, Clone)]
pub struct Election {
    /// The leadership of this process. A lease that was renewed is a new value with the same epoch.
    pub ours: watch::Receiver<Option<Leadership>>,
    pub leader: watch::Receiver<Option<Leader>>,
}

/// The place of an election, such as `file:/run/cluster/leader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file on one machine. The leader holds its lock.
    File(PathBuf),
    /// The endpoints of an etcd cluster, `host:port`.
    Etcd(Vec<String>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("etcd", endpoints)) if endpoints.split(',').all(is_endpoint) => {
                Ok(Self::Etcd(endpoints.split(',').map(str::to_owned).collect()))
            }
            _ => Err(format!("{text:?} is neither file:PATH nor etcd:HOST:PORT,HOST:PORT")),
        }
    }
}

/// Returns `true` for `HOST:PORT`.
fn is_endpoint(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// The longest time for which a candidate that resigns waits until the leader has ended its work.
/// The leader ends it when it drops the receiver of [`Election::ours`]. Epochs fence what it says
/// later.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The ends of an election that a candidate reports to.
struct Reports {
    ours: watch::Sender<Option<Leadership>>,
    leader: watch::Sender<Option<Leader>>,
}

/// Campaigns for the leadership until `stop` is cancelled, and resigns then.
///
/// Candidates of one cluster compete, also where clusters share an etcd. A file is for one cluster.
/// `addresses` are those at which others reach this process. `lease` is the time after which the
/// others may replace a leader that does not renew it; it means nothing for a file.
pub fn campaign(
    place: Place,
    cluster: String,
    addresses: Addresses,
    lease: Duration,
    stop: CancellationToken,
) -> (Election, JoinHandle<()>) {
    let (ours, our_receiver) = watch::channel(None);
    let (leader, leader_receiver) = watch::channel(None);
    let reports = Reports { ours, leader };
    let election = Election {
        ours: our_receiver,
        leader: leader_receiver,
    };
    let task = match place {
        Place::File(path) => tokio::spawn(file::campaign(path, addresses, reports, stop)),
        Place::Etcd(endpoints) => {
            tokio::spawn(async move { etcd::campaign(endpoints, &cluster, addresses, lease, reports, stop).await })
        }
    };
    (election, task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        assert_eq!("file:/run/leader".parse(), Ok(Place::File("/run/leader".into())));
        let endpoints = vec!["a:2379".to_owned(), "[::1]:2379".to_owned()];
        assert_eq!("etcd:a:2379,[::1]:2379".parse(), Ok(Place::Etcd(endpoints)));
        for wrong in [
            "",
            "file:",
            "etcd:",
            "etcd:a",
            "etcd::1",
            "etcd:a:x",
            "etcd:a:1,",
            "zookeeper:a:1",
        ] {
            let error = wrong.parse::<Place>().expect_err(wrong);
            assert!(error.contains("neither"), "{error}");
        }
    }
}
