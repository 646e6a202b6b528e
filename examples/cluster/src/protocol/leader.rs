//! The search for the leader among the resource managers.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::channel::{DialError, Dialer, PeerChannel};
use super::v1::resource_manager_client::ResourceManagerClient;
use super::{Epoch, limits, v1};
use crate::election::{Addresses, Leader};

/// The time within which a resource manager must say who leads. Then it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The time that the others get to name a later leader, once one has named itself.
const GRACE: Duration = Duration::from_millis(50);

/// The number of heartbeats without which a leader may be gone.
const MISSING_HEARTBEATS: u32 = 2;

/// The pause before a peer is tried again. So the peers of a lost leader do not all come at once.
const RETRY_PAUSE: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(200);

/// The number of tries with a short pause. They take about 11 s, longer than the default lease: in
/// that time the next leader comes, and must be found soon.
const QUICK_TRIES: u32 = 100;

/// The pause after those tries, for clusters that are away for long.
const LONG_RETRY_PAUSE: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_millis(1_500);

/// The resource managers of a cluster, of which one leads.
#[derive(Debug, Clone)]
pub struct Replicas {
    dialer: Dialer,
    addresses: Vec<String>,
}

impl Replicas {
    pub fn new(dialer: Dialer, addresses: Vec<String>) -> Self {
        Self { dialer, addresses }
    }

    /// Asks all of them who leads, until one names itself. Returns the leader with the highest
    /// epoch.
    pub async fn leader(&self) -> Leader {
        search(&self.addresses, Epoch(0), retry_pause, |address| self.ask(address)).await
    }

    /// Waits until one of them leads in a later epoch than one that is silent. It begins to ask
    /// when heartbeats are missing, and then asks about once in a heartbeat interval.
    pub async fn later_leader(&self, epoch: Epoch, heartbeat_interval: Duration) -> Leader {
        sleep(heartbeat_interval * MISSING_HEARTBEATS).await;
        let pause = |_| heartbeat_interval / 2..=heartbeat_interval * 3 / 2;
        search(&self.addresses, epoch, pause, |address| self.ask(address)).await
    }

    /// Opens a connection to the leader.
    pub async fn dial(&self, leader: &Leader) -> Result<PeerChannel, DialError> {
        self.dialer.dial(&leader.addresses.grpc).await
    }

    async fn ask(&self, address: String) -> Option<Leader> {
        let channel = self.dialer.dial(&address).await;
        let channel = channel
            .inspect_err(|error| self.dialer.warn_if_tls_failed(&address, error))
            .ok()?;
        let reply = ResourceManagerClient::new(channel).leader(v1::LeaderRequest {}).await;
        let reply = reply.inspect_err(|status| self.dialer.warn_if_refused(&address, status));
        let reply = reply.ok()?.into_inner();
        let addresses = Addresses {
            grpc: limits::name("address", reply.address).ok()?,
            web: limits::name("web_address", reply.web_address).ok(),
        };
        let epoch = Epoch(reply.epoch);
        (epoch > Epoch(0)).then_some(Leader { epoch, addresses })
    }
}

/// The waits between the tries to connect, which grow if many fail.
#[derive(Debug, Default)]
pub struct Retries(u32);

impl Retries {
    /// Waits before the next try.
    pub async fn wait(&mut self) {
        sleep(rand::random_range(retry_pause(self.0))).await;
        self.0 = self.0.saturating_add(1);
    }
}

/// Returns the pause after this number of tries.
fn retry_pause(tries: u32) -> RangeInclusive<Duration> {
    match tries < QUICK_TRIES {
        true => RETRY_PAUSE,
        false => LONG_RETRY_PAUSE,
    }
}

/// Asks all resource managers, each on its own, until one leads in a later epoch. So one that is
/// stopped does not delay the answers of the others.
///
/// An answer counts only if the resource manager names itself: the others may still name a leader
/// that is gone. A name that was not asked is asked as well, since a leader may be dialled by
/// another name than it advertises.
async fn search<F>(
    addresses: &[String],
    epoch: Epoch,
    pause: impl Fn(u32) -> RangeInclusive<Duration>,
    ask: impl Fn(String) -> F,
) -> Leader
where
    F: Future<Output = Option<Leader>>,
{
    let ask = |address: String, tries: u32| {
        let answer = timeout(ANSWER_TIMEOUT, ask(address.clone()));
        async move {
            let leader = answer.await.ok().flatten();
            (address, tries, leader.filter(|leader| leader.epoch > epoch))
        }
    };
    let mut asked: BTreeSet<_> = addresses.iter().cloned().collect();
    let mut answers: FuturesUnordered<_> = asked.iter().map(|address| ask(address.clone(), 0)).collect();
    let mut pauses = FuturesUnordered::new();
    loop {
        let (address, tries, leader) = tokio::select! {
            Some(answer) = answers.next() => answer,
            Some((address, tries)) = pauses.next() => {
                answers.push(ask(address, tries));
                continue;
            }
            // There is nobody to ask.
            else => std::future::pending().await,
        };
        match leader {
            Some(leader) if leader.addresses.grpc == address => return highest(leader, answers).await,
            Some(leader) if asked.insert(leader.addresses.grpc.clone()) => answers.push(ask(leader.addresses.grpc, 0)),
            _ => {}
        }
        let pause = sleep(rand::random_range(pause(tries)));
        pauses.push(async move {
            pause.await;
            (address, tries.saturating_add(1))
        });
    }
}

/// Returns the leader with the highest epoch among this one and those that name themselves in the
/// answers that are still to come.
async fn highest(mut leader: Leader, mut answers: impl Stream<Item = (String, u32, Option<Leader>)> + Unpin) -> Leader {
    let end = Instant::now() + GRACE;
    while let Ok(Some((address, _, other))) = timeout_at(end, answers.next()).await {
        if let Some(other) = other.filter(|other| other.addresses.grpc == address && other.epoch > leader.epoch) {
            leader = other;
        }
    }
    leader
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use super::*;

    fn replicas(addresses: &[&str]) -> Replicas {
        let addresses = addresses.iter().copied().map(String::from);
        Replicas::new(Dialer::default(), addresses.collect())
    }

    fn leader(epoch: u64, address: &str) -> Leader {
        let addresses = Addresses {
            grpc: address.to_owned(),
            web: None,
        };
        Leader {
            epoch: Epoch(epoch),
            addresses,
        }
    }

    /// Searches among `a`, `b` and `c` with these answers. Returns the address and the time it took.
    async fn find<F>(epoch: u64, ask: impl Fn(String) -> F) -> (String, Duration)
    where
        F: Future<Output = Option<Leader>>,
    {
        let start = Instant::now();
        let addresses = ["a", "b", "c"].map(String::from);
        let leader = search(&addresses, Epoch(epoch), retry_pause, ask).await;
        (leader.addresses.grpc, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_highest_that_names_itself_leads() {
        let (found, time) = find(0, async |asked: String| {
            let epoch = [("a", 1), ("b", 3), ("c", 2)]
                .into_iter()
                .find(|(name, _)| *name == asked);
            epoch.map(|(name, epoch)| leader(epoch, name))
        })
        .await;
        assert_eq!((found.as_str(), time), ("b", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn resource_manager_that_is_gone_delays_nobody() {
        let (found, time) = find(0, async |asked: String| (asked == "a").then(|| leader(1, "a"))).await;
        assert_eq!((found.as_str(), time), ("a", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn hearsay_does_not_count() {
        let (found, _) = find(0, async |asked: String| match asked.as_str() {
            "c" => Some(leader(3, "c")),
            // The leader that they name is gone.
            "a" | "b" => Some(leader(4, "d")),
            _ => None,
        })
        .await;
        assert_eq!(found, "c");
    }

    #[tokio::test(start_paused = true)]
    async fn leader_that_was_not_asked_is_found_by_hearsay() {
        let (found, _) = find(0, async |asked: String| (asked != "c").then(|| leader(4, "d"))).await;
        assert_eq!(found, "d");
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_resource_manager_delays_nobody() {
        let start = Instant::now();
        let (found, time) = find(0, async |asked: String| match asked.as_str() {
            "a" => std::future::pending().await,
            "b" if start.elapsed() > Duration::from_secs(1) => Some(leader(2, "b")),
            _ => None,
        })
        .await;
        assert_eq!(found, "b");
        let latest = Duration::from_secs(1) + *RETRY_PAUSE.end() + GRACE;
        assert!(time < latest, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_leader_is_not_a_later_one() {
        let start = Instant::now();
        let (found, time) = find(1, async |asked: String| match asked.as_str() {
            "a" => Some(leader(1, "a")),
            "b" if start.elapsed() > Duration::from_secs(1) => Some(leader(2, "b")),
            _ => None,
        })
        .await;
        assert_eq!(found, "b");
        assert!(time > Duration::from_secs(1), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_answers() {
        for addresses in [&["127.0.0.1:1", "not an address"][..], &[]] {
            let replicas = replicas(addresses);
            let found = timeout(Duration::from_secs(1), replicas.leader());
            assert!(found.await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_that_is_away_for_long_is_asked_more_rarely() {
        let asked = Cell::new(0);
        let ask = |_| {
            asked.set(asked.get() + 1);
            async { None }
        };
        let addresses = ["a".to_owned()];
        let mut search = pin!(search(&addresses, Epoch(0), retry_pause, ask));
        assert!(timeout(Duration::from_secs(10), &mut search).await.is_err());
        let quick = asked.take();
        assert!((60..=500).contains(&quick), "{quick}");
        // All quick tries are over.
        assert!(timeout(Duration::from_secs(15), &mut search).await.is_err());
        asked.take();
        assert!(timeout(Duration::from_secs(60), &mut search).await.is_err());
        let slow = asked.take();
        assert!((40..=121).contains(&slow), "{slow}");
    }
}
