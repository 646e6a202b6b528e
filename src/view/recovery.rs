//! The recovery of a leadership.

use std::collections::BTreeSet;

use crate::{ResourceId, Timestamp};

/// The time after a start in which workers of earlier leaderships register, and no worker is
/// requested.
///
/// [`SlotManager::recovery`](crate::SlotManager::recovery) returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery<'a> {
    /// The time when the recovery ends at the latest; [`Timestamp::MAX`] is never.
    pub until: Timestamp,
    /// The [expected](crate::SlotManager::expect_workers) workers that have not registered in this
    /// leadership; `None` if it is not known which are expected.
    pub missing_workers: Option<&'a BTreeSet<ResourceId>>,
}
