//! The search for the leader among the resource managers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::channel::Dialer;
use super::v1::resource_manager_client::ResourceManagerClient;
use super::{Epoch, limits, v1};
use crate::election::{Addresses, Leader};

/// The time within which a resource manager must say who leads. A stopped process costs no more.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks all resource managers at once who leads. Returns the leader with the highest epoch.
///
/// An answer counts only if the resource manager names itself: the others may still name a leader
/// that is gone. A name that was not asked is asked as well, since a leader may be dialled by
/// another name than it advertises.
pub async fn find_leader(dialer: &Dialer, addresses: &[String]) -> Option<Leader> {
    let replies = ask_all(dialer, addresses.iter().cloned()).await;
    let asked: BTreeSet<_> = addresses.iter().collect();
    let others: BTreeSet<_> = replies
        .iter()
        .map(|(_, leader)| leader.addresses.grpc.clone())
        .collect();
    let others = others.into_iter().filter(|address| !asked.contains(address));
    let more = ask_all(dialer, others).await;
    highest(replies.into_iter().chain(more))
}

/// Waits from 50 to 250 ms, before another try to connect. So the peers of a lost leader do not all
/// come at once.
pub async fn wait_before_retry() {
    sleep(Duration::from_millis(rand::random_range(50..=250))).await;
}

/// Returns who leads, as each of the resource managers says, with the address that was asked.
async fn ask_all(dialer: &Dialer, addresses: impl Iterator<Item = String>) -> Vec<(String, Leader)> {
    let replies = addresses.map(|address| async {
        let leader = timeout(ANSWER_TIMEOUT, ask(dialer, &address)).await.ok()??;
        Some((address, leader))
    });
    join_all(replies).await.into_iter().flatten().collect()
}

async fn ask(dialer: &Dialer, address: &str) -> Option<Leader> {
    let channel = dialer.dial(address).await;
    let channel = channel
        .inspect_err(|error| dialer.warn_if_tls_failed(address, error))
        .ok()?;
    let reply = ResourceManagerClient::new(channel).leader(v1::LeaderRequest {}).await;
    let reply = reply.inspect_err(|status| dialer.warn_if_refused(address, status));
    let reply = reply.ok()?.into_inner();
    let addresses = Addresses {
        grpc: limits::name("address", reply.address).ok()?,
        web: limits::name("web_address", reply.web_address).ok(),
    };
    let epoch = Epoch(reply.epoch);
    (epoch > Epoch(0)).then_some(Leader { epoch, addresses })
}

/// Returns the leader with the highest epoch among those that name themselves.
fn highest(replies: impl Iterator<Item = (String, Leader)>) -> Option<Leader> {
    replies
        .filter(|(asked, leader)| *asked == leader.addresses.grpc)
        .map(|(_, leader)| leader)
        .max_by_key(|leader| leader.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(asked: &str, epoch: u64, address: &str) -> (String, Leader) {
        let addresses = Addresses {
            grpc: address.to_owned(),
            web: None,
        };
        let epoch = Epoch(epoch);
        (asked.to_owned(), Leader { epoch, addresses })
    }

    #[test]
    fn the_highest_that_names_itself_leads() {
        let replies = [reply("a", 1, "a"), reply("b", 3, "b"), reply("c", 2, "c")];
        assert_eq!(
            highest(replies.into_iter()).map(|leader| leader.addresses.grpc),
            Some("b".into())
        );
    }

    #[test]
    fn hearsay_does_not_count() {
        let replies = [reply("a", 4, "b"), reply("c", 3, "c"), reply("d", 4, "b")];
        assert_eq!(
            highest(replies.into_iter()).map(|leader| leader.addresses.grpc),
            Some("c".into())
        );
        assert_eq!(highest([reply("a", 4, "b")].into_iter()), None);
    }

    #[tokio::test]
    async fn nobody_answers() {
        assert_eq!(
            find_leader(&Dialer::default(), &["127.0.0.1:1".into(), "not an address".into()]).await,
            None
        );
    }
}
