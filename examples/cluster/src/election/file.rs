//! Election by a lock on a file: for processes on one machine, with nothing to install.
//!
//! The leader holds the lock of the file. The kernel gives it to another process as soon as the leader
//! ends, however that happens. A leader that is only stopped keeps it. A second file beside it has
//! the epoch and the address of the leader.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Leader, Leadership, Reports};
use crate::protocol::Epoch;

/// The time between two tries to get the lock.
const TRY_EVERY: Duration = Duration::from_millis(50);

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    epoch: u64,
    address: String,
}

pub(super) async fn campaign(path: PathBuf, address: String, reports: Reports, stop: CancellationToken) {
    let mut warned = false;
    loop {
        match try_to_lead(&path, &address) {
            Ok(Some((lock, leader))) => return lead(lock, leader, &reports, &stop).await,
            Ok(None) => follow(&path, &reports),
            Err(error) if !warned => {
                warned = true;
                warn!(path = %path.display(), %error, "no election is possible");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(TRY_EVERY) => {}
        }
    }
}

/// Leads until the candidate is stopped.
async fn lead(lock: File, leader: Leader, reports: &Reports, stop: &CancellationToken) {
    let epoch = leader.epoch;
    info!(%epoch, "elected");
    reports.leader.send_replace(Some(leader));
    reports.ours.send_replace(Some(Leadership { epoch, until: None }));
    stop.cancelled().await;
    reports.ours.send_replace(None);
    // The leader has ended its work when it drops its receiver.
    reports.ours.closed().await;
    drop(lock);
}

/// Reports the leader whose record is in the file.
fn follow(path: &Path, reports: &Reports) {
    let leader = read(path).ok().flatten().map(|record| Leader {
        epoch: Epoch(record.epoch),
        address: record.address,
    });
    reports.leader.send_if_modified(|known| {
        let is_new = *known != leader;
        *known = leader;
        is_new
    });
}

/// Takes the lock, and begins the next epoch. Returns `None` while another process has the lock.
fn try_to_lead(path: &Path, address: &str) -> io::Result<Option<(File, Leader)>> {
    let lock = File::options().create(true).append(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let epoch = read(path)?.map_or(0, |record| record.epoch) + 1;
    let record = Record {
        epoch,
        address: address.to_owned(),
    };
    write(path, &record)?;
    let leader = Leader {
        epoch: Epoch(epoch),
        address: record.address,
    };
    Ok(Some((lock, leader)))
}

fn record_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Reads the record of the last leader; `None` before the first.
fn read(path: &Path) -> io::Result<Option<Record>> {
    match std::fs::read(record_path(path, ".leader")) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the record as a whole: a crash leaves the old one or the new one.
fn write(path: &Path, record: &Record) -> io::Result<()> {
    let new = record_path(path, ".leader.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    std::fs::rename(&new, record_path(path, ".leader"))?;
    // The name must be durable too, or an epoch could come twice.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
