//! Election by a key in etcd: for processes on many machines.
//!
//! The leader is the candidate whose lease holds the key. A candidate reads the key several times a
//! second, and creates it in a transaction if it does not exist. The epoch is the revision at which
//! the key was created. These calls are used instead of etcd's own election service because none of
//! them waits: a campaign that waits in etcd can return after the lease of its candidate is over,
//! and a time limit ends it. The price is that the next leader comes up to [`READ_EVERY`] later.
//!
//! Three loops run side by side, each with one result:
//!
//! 1. `lease::keep` has the lease and its end.
//! 2. `watch_key` has the key, as it was last read.
//! 3. `judge` compares both, with the time. It alone says who leads.
//!
//! A leadership that ended does not begin again, even if the key outlived it, because the slot
//! manager and its workers must see another epoch. The candidate deletes that key and creates it
//! anew.
//!
//! A member of etcd that led it, hung for longer than the lease and goes on, can revoke all leases
//! by mistake (etcd#15247, mended in later versions; Debian's 3.4.23 does it). The leader then
//! steps down, and the next comes at once.
//!
//! Restore etcd from an old backup only with all task executors stopped: epochs would come again.

mod client;
mod lease;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{error, info, warn};

use self::client::{Client, Key};
use self::lease::Lease;
use super::{Addresses, LAST_WORDS, Leader, Leadership, Reports};
use crate::protocol::Epoch;

/// Returns the key of the leader of a cluster. Its value has the addresses, as JSON.
fn key_of(cluster: &str) -> String {
    format!("/slot-manager/{cluster}/leader")
}

/// The time between two looks at the key.
const READ_EVERY: Duration = Duration::from_millis(250);

/// The key as it was read.
#[derive(Debug, Clone)]
struct Reading {
    key: Option<Key>,
    /// The time at which it was asked for.
    at: Instant,
}

pub(super) async fn campaign(
    endpoints: Vec<String>,
    cluster: &str,
    addresses: Addresses,
    time_to_live: Duration,
    reports: Reports,
    stop: CancellationToken,
) {
    let client = match Client::new(&endpoints) {
        Ok(client) => client,
        Err(cause) => {
            error!(cause, "no election is possible");
            return stop.cancelled().await;
        }
    };
    let lease = watch::Sender::new(None);
    let reading = watch::Sender::new(None);
    let ended = watch::Sender::new(Epoch::default());
    let candidate = Candidate {
        client: &client,
        key: key_of(cluster),
        addresses: &addresses,
        lease: lease.subscribe(),
        ended: ended.subscribe(),
    };
    let judge = Judge {
        lease: lease.subscribe(),
        reading: reading.subscribe(),
        // Another leader may rely on its lease for about as long as this process on its own.
        memory: time_to_live,
        reports: &reports,
        ended: &ended,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = lease::keep(&client, time_to_live, &lease) => {}
        () = candidate.watch_key(&reading) => {}
        () = judge.judge() => {}
    }
    reports.ours.send_replace(None);
    let _ = timeout(LAST_WORDS, reports.ours.closed()).await;
    let lease = *lease.borrow();
    resign(&client, lease).await;
}

/// Ends the lease, so that another candidate need not wait for its end.
async fn resign(client: &Client, lease: Option<Lease>) {
    let Some(lease) = lease else {
        return;
    };
    match client.revoke(lease.id).await {
        Ok(()) => info!("resigned"),
        Err(error) => warn!(%error, "the lease is not revoked, it will run out"),
    }
}

/// The loop that reads and writes the key.
struct Candidate<'a> {
    client: &'a Client,
    key: String,
    addresses: &'a Addresses,
    lease: watch::Receiver<Option<Lease>>,
    /// The last leadership of this process that ended.
    ended: watch::Receiver<Epoch>,
}

impl Candidate<'_> {
    async fn watch_key(self, reading: &watch::Sender<Option<Reading>>) {
        loop {
            let at = Instant::now();
            // The loop of the lease logs that etcd is away.
            if let Ok(key) = self.read_or_create().await {
                reading.send_replace(Some(Reading { key, at }));
            }
            sleep_until(at + READ_EVERY).await;
        }
    }

    /// Returns the key. Creates it if it does not exist and the lease lives.
    async fn read_or_create(&self) -> Result<Option<Key>, Status> {
        let key = self.client.read(&self.key).await?;
        let lease = *self.lease.borrow();
        let Some(lease) = lease.filter(|lease| Instant::now() < lease.until) else {
            return Ok(key);
        };
        match key {
            Some(key) if self.is_over(&key, lease) => self.client.delete(&self.key, key.create_revision).await?,
            Some(key) => return Ok(Some(key)),
            None => {}
        }
        let value = serde_json::to_string(self.addresses).map_err(|error| Status::internal(error.to_string()))?;
        self.client.create(&self.key, &value, lease.id).await
    }

    /// Returns `true` if the key is that of a leadership of this process that has ended.
    fn is_over(&self, key: &Key, lease: Lease) -> bool {
        key.lease == lease.id && Epoch(key.create_revision) <= *self.ended.borrow()
    }
}

/// The loop that decides who leads.
struct Judge<'a> {
    lease: watch::Receiver<Option<Lease>>,
    reading: watch::Receiver<Option<Reading>>,
    /// The time for which a reading tells who leads.
    memory: Duration,
    reports: &'a Reports,
    ended: &'a watch::Sender<Epoch>,
}

impl Judge<'_> {
    async fn judge(mut self) {
        loop {
            let lease = *self.lease.borrow_and_update();
            let reading = self.reading.borrow_and_update().clone();
            let now = Instant::now();
            self.report_ours(self.ours(lease, reading.as_ref(), now));
            let next = self.report_leader(reading, now);
            let our_end = self.reports.ours.borrow().and_then(|ours| ours.until);
            let wake = [next, our_end].into_iter().flatten().min();
            tokio::select! {
                changed = self.lease.changed() => if changed.is_err() { return },
                changed = self.reading.changed() => if changed.is_err() { return },
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// Returns our leadership: the key shows our lease, and the lease lives.
    fn ours(&self, lease: Option<Lease>, reading: Option<&Reading>, now: Instant) -> Option<Leadership> {
        let key = reading?.key.as_ref()?;
        let lease = lease.filter(|lease| lease.id == key.lease && now < lease.until)?;
        let epoch = Epoch(key.create_revision);
        (epoch > *self.ended.borrow()).then_some(Leadership {
            epoch,
            until: Some(lease.until),
        })
    }

    fn report_ours(&self, ours: Option<Leadership>) {
        let before = *self.reports.ours.borrow();
        if before == ours {
            return;
        }
        self.reports.ours.send_replace(ours);
        let [before, epoch] = [before, ours].map(|ours| ours.map(|ours| ours.epoch));
        if before == epoch {
            return;
        }
        if let Some(epoch) = before {
            warn!(%epoch, "leads no more");
            self.ended.send_replace(epoch);
        }
        if let Some(epoch) = epoch {
            info!(%epoch, "elected");
        }
    }

    /// Reports who leads. Returns the time at which the reading is too old for that.
    fn report_leader(&self, reading: Option<Reading>, now: Instant) -> Option<Instant> {
        let end = reading.as_ref().map(|reading| reading.at + self.memory);
        let end = end.filter(|end| now < *end);
        let key = reading.filter(|_| end.is_some()).and_then(|reading| reading.key);
        let leader = key.and_then(|key| {
            let epoch = Epoch(key.create_revision);
            // A value that cannot be read is not of a resource manager.
            let addresses = serde_json::from_str(&key.value).ok()?;
            Some(Leader { epoch, addresses })
        });
        // The key may still show a leadership of this process that has ended.
        let leader = leader.filter(|leader| leader.epoch > *self.ended.borrow());
        self.reports.leader.send_if_modified(|known| {
            let is_new = *known != leader;
            *known = leader;
            is_new
        });
        end
    }
}
