//! The lease of a candidate. It is kept alive from the start, also while another process leads.
//!
//! It is renewed five times in its length, and may be relied on for 0.8 of it. So the loss of etcd
//! for less than 0.6 of the lease ends no leadership.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::client::{Client, Granted};

/// The pause after a call that failed in all its tries.
const PAUSE: Duration = Duration::from_millis(100);

/// A lease that etcd has granted, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// The time until which the holder may rely on the lease: a part of the lease after the time at
    /// which its last renewal was asked for. It can be in the past.
    pub(super) until: Instant,
}

/// Keeps a lease for ever, and reports it. Gets another when etcd says that it is over.
///
/// A lease that could not be renewed is not given up. Its key may still be there when etcd is back,
/// and only this lease can delete the key at once.
pub(super) async fn keep(client: &Client, time_to_live: Duration, reported: &watch::Sender<Option<Lease>>) {
    loop {
        let asked = Instant::now();
        match client.grant(time_to_live).await {
            Ok(granted) => {
                report(reported, granted, asked);
                renew(client, granted, reported).await;
                reported.send_replace(None);
            }
            Err(error) => {
                warn!(%error, "etcd grants no lease");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Renews a lease until etcd says that it is over.
async fn renew(client: &Client, mut lease: Granted, reported: &watch::Sender<Option<Lease>>) {
    let mut is_away = false;
    let mut pause = lease.time_to_live / 5;
    loop {
        sleep(pause).await;
        let asked = Instant::now();
        match client.renew(lease.id).await {
            Ok(Some(time_to_live)) => {
                if std::mem::take(&mut is_away) {
                    info!("etcd is back");
                }
                lease.time_to_live = time_to_live;
                report(reported, lease, asked);
                pause = time_to_live / 5;
            }
            Ok(None) => return warn!("the lease is over"),
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    warn!(%error, "the lease cannot be renewed");
                }
                pause = PAUSE;
            }
        }
    }
}

fn report(reported: &watch::Sender<Option<Lease>>, lease: Granted, asked: Instant) {
    let until = asked + lease.time_to_live.mul_f64(0.8);
    reported.send_replace(Some(Lease { id: lease.id, until }));
}
