//! The recovery of a leadership.

use crate::Timestamp;

/// The time after a start in which workers of earlier leaderships register, and no worker is
/// requested.
///
/// [`SlotManager::recovery`](crate::SlotManager::recovery) returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Recovery {
    /// The time when the recovery ends at the latest; [`Timestamp::MAX`] is never.
    pub until: Timestamp,
    /// The number of registrations that end the recovery;
    /// [`expect_workers`](crate::SlotManager::expect_workers) sets it.
    pub expected_workers: Option<usize>,
    /// The number of workers that have registered in this leadership.
    pub registered_workers: usize,
}
