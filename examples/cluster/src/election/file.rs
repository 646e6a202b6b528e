//! Election by a lock on a file: for processes on one machine, with nothing to install.
//!
//! The leader holds the lock of the file. The kernel gives it to another process as soon as the
//! leader ends, however that happens. A leader that is only stopped keeps it. A second file beside
//! it has the epoch and the addresses of the leader.
//!
//! The record may name a leader that is dead only for a moment: every follower is a candidate, so
//! one gets the free lock within [`TRY_EVERY`], and its first act is to write its own record.
//! Workers cannot be deceived by the old record, because its epoch is lower. A leader that resigns
//! takes its addresses out of the record before it frees the lock.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Addresses, LAST_WORDS, Leader, Leadership, Reports};
use crate::protocol::Epoch;

/// The time between two tries to get the lock.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// The time between two looks of the leader at its file.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The open file whose lock this process holds. The last owner frees the lock.
type Lock = Arc<File>;

/// The result of a try to get the lock.
enum Try {
    Elected {
        lock: Lock,
        leader: Leader,
    },
    /// Another process has the lock. This is the leader in the record.
    Follows(Option<Leader>),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    epoch: u64,
    /// Absent if the leader has resigned.
    leader: Option<Addresses>,
}

pub(super) async fn campaign(path: PathBuf, addresses: Addresses, reports: Reports, stop: CancellationToken) {
    let mut last_error = None;
    while !stop.is_cancelled() {
        match try_to_lead(&path, &addresses).await {
            Ok(Try::Elected { lock, leader }) => {
                last_error = None;
                lead(&path, lock, leader, &reports, &stop).await;
            }
            Ok(Try::Follows(leader)) => {
                last_error = None;
                report(&reports, leader);
            }
            Err(error) => {
                report(&reports, None);
                let text = error.to_string();
                if last_error.as_ref() != Some(&text) {
                    warn!(path = %path.display(), error = text, "no election is possible");
                    last_error = Some(text);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(TRY_EVERY) => {}
        }
    }
}

/// Leads until the candidate is stopped, or its lock means nothing any more.
async fn lead(path: &Path, lock: Lock, leader: Leader, reports: &Reports, stop: &CancellationToken) {
    let epoch = leader.epoch;
    info!(%epoch, "elected");
    report(reports, Some(leader));
    reports.ours.send_replace(Some(Leadership { epoch, until: None }));
    tokio::select! {
        () = stop.cancelled() => {}
        () = replaced(path, &lock) => warn!(path = %path.display(), "leadership lost: the lock file was replaced"),
    }
    reports.ours.send_replace(None);
    report(reports, None);
    let _ = timeout(LAST_WORDS, reports.ours.closed()).await;
    let path = path.to_owned();
    if let Err(error) = off_the_runtime(move || resign(&path, &lock, epoch)).await {
        warn!(%error, "the record still names this leader");
    }
}

/// Waits until the path leads to another file, which another process could lock.
async fn replaced(path: &Path, lock: &Lock) {
    let mut check = interval(CHECK_EVERY);
    loop {
        check.tick().await;
        let (path, lock) = (path.to_owned(), Arc::clone(lock));
        // A folder that cannot be read now says nothing.
        if let Ok(false) = off_the_runtime(move || is_at(&path, &lock)).await {
            return;
        }
    }
}

/// Takes the addresses out of the record, unless the record is not ours.
fn resign(path: &Path, lock: &File, epoch: Epoch) -> io::Result<()> {
    if is_at(path, lock)? && read(path)?.is_some_and(|record| record.epoch == epoch.0) {
        let (epoch, leader) = (epoch.0, None);
        write(path, &Record { epoch, leader })?;
    }
    Ok(())
}

fn report(reports: &Reports, leader: Option<Leader>) {
    reports.leader.send_if_modified(|known| {
        let is_new = *known != leader;
        *known = leader;
        is_new
    });
}

/// Returns the leader whose record is in the file.
fn read_leader(path: &Path) -> Option<Leader> {
    let record = read(path).ok()??;
    Some(Leader {
        epoch: Epoch(record.epoch),
        addresses: record.leader?,
    })
}

/// Takes the lock, and begins the next epoch. While another process has the lock, reads who leads.
async fn try_to_lead(path: &Path, addresses: &Addresses) -> io::Result<Try> {
    let (path, addresses) = (path.to_owned(), addresses.clone());
    off_the_runtime(move || {
        let Some(lock) = try_to_lock(&path)? else {
            return Ok(Try::Follows(read_leader(&path)));
        };
        let (lock, leader) = (Arc::new(lock), begin(&path, addresses)?);
        Ok(Try::Elected { lock, leader })
    })
    .await
}

/// Runs work on files where it delays nothing else: a disk can be slow.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn try_to_lock(path: &Path) -> io::Result<Option<File>> {
    let lock = File::options().create(true).append(true).open(path)?;
    match lock.try_lock() {
        // Another process may have replaced the file since it was opened.
        Ok(()) => Ok(is_at(path, &lock)?.then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns `true` if the path leads to this file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Begins the next epoch. The caller has the lock.
fn begin(path: &Path, addresses: Addresses) -> io::Result<Leader> {
    let epoch = read(path)?.map_or(0, |record| record.epoch) + 1;
    let record = Record {
        epoch,
        leader: Some(addresses.clone()),
    };
    write(path, &record)?;
    let epoch = Epoch(epoch);
    Ok(Leader { epoch, addresses })
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

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Candidate, Folder};
    use super::*;

    fn candidate(folder: &Folder, address: &str) -> Candidate {
        Candidate::start(super::super::Place::File(folder.path().join("election")), address)
    }

    #[tokio::test]
    async fn the_second_candidate_leads_when_the_first_stops() {
        let folder = Folder::new("file-second");
        let mut first = candidate(&folder, "first:1");
        assert_eq!(first.elected().await, Epoch(1));
        let mut second = candidate(&folder, "second:1");
        assert_eq!(second.sees("first:1").await, Epoch(1));
        assert_eq!(second.ours(), None);
        first.resign().await;
        assert_eq!(second.elected().await, Epoch(2));
        assert_eq!(second.sees("second:1").await, Epoch(2));
    }

    #[tokio::test]
    async fn a_leader_that_has_resigned_is_not_named() {
        let folder = Folder::new("file-resigned");
        let mut first = candidate(&folder, "first:1");
        first.elected().await;
        first.resign().await;
        let path = folder.path().join("election");
        assert_eq!(read_leader(&path), None);
        let epoch = read(&path).unwrap().map(|record| record.epoch);
        assert_eq!(epoch, Some(1));
    }

    #[tokio::test]
    async fn a_crash_between_lock_and_record_loses_no_epoch() {
        let folder = Folder::new("file-crash");
        let path = folder.path().join("election");
        let mut first = candidate(&folder, "first:1");
        first.elected().await;
        first.crash().await;
        let lock = try_to_lock(&path).unwrap().expect("the lock is free");
        let mut second = candidate(&folder, "second:1");
        // The record is still that of the crashed leader.
        assert_eq!(second.sees("first:1").await, Epoch(1));
        drop(lock);
        assert_eq!(second.elected().await, Epoch(2));
    }

    #[tokio::test]
    async fn a_leader_whose_lock_file_is_removed_leads_no_more() {
        let folder = Folder::new("file-removed");
        let mut first = candidate(&folder, "first:1");
        assert_eq!(first.elected().await, Epoch(1));
        std::fs::remove_file(folder.path().join("election")).unwrap();
        first.lost().await;
        // It is the only candidate.
        assert_eq!(first.elected().await, Epoch(2));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_elects_nobody_until_it_can() {
        let folder = Folder::new("file-unwritable");
        // Root may write to a folder without permissions, so the folder is a file.
        let place = folder.path().join("place");
        std::fs::write(&place, "").unwrap();
        let mut first = Candidate::start(super::super::Place::File(place.join("election")), "first:1");
        sleep(TRY_EVERY * 3).await;
        assert_eq!(first.ours(), None);
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert_eq!(first.elected().await, Epoch(1));
    }

    #[tokio::test]
    async fn a_broken_record_elects_nobody() {
        let folder = Folder::new("file-broken");
        std::fs::write(folder.path().join("election.leader"), "{").unwrap();
        let first = candidate(&folder, "first:1");
        sleep(TRY_EVERY * 3).await;
        assert_eq!(first.ours(), None);
    }
}
