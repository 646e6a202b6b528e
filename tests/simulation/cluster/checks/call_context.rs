//! What the rest of the cluster knows while a call of the manager is checked.

use std::collections::BTreeSet;
use std::time::Duration;

use slot_manager::{LeaderId, ResourceId, Timestamp};

use crate::cluster::parties::operators::Operators;

/// What is armed while time is handled falls due so much later at the earliest.
pub(crate) const SHORTEST_REARM: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) leader_id: LeaderId,
    /// When this leadership began.
    pub(crate) began: Timestamp,
    /// Whether the call was to handle answers and deadlines, and how many it handled.
    pub(crate) is_driven: bool,
    pub(crate) events: usize,
    /// The workers that operators have blocked.
    pub(crate) blocked: &'a BTreeSet<ResourceId>,
    /// Whether requests are to fail that nothing could serve.
    pub(crate) fails_unfulfillable: bool,
}

impl<'a> Moment<'a> {
    pub(crate) fn new(
        now: Timestamp,
        leader_id: LeaderId,
        began: Timestamp,
        events: Option<usize>,
        operators: &'a Operators,
    ) -> Self {
        Self {
            now,
            leader_id,
            began,
            is_driven: events.is_some(),
            events: events.unwrap_or_default(),
            blocked: &operators.blocked,
            fails_unfulfillable: operators.fails_unfulfillable,
        }
    }

    /// How long from now on something that is armed in this call runs.
    pub(crate) fn at_least(&self, length: Duration) -> Duration {
        if self.is_driven {
            length.max(SHORTEST_REARM)
        } else {
            length
        }
    }

    /// Whether some time after the start is over.
    pub(crate) fn is_after(&self, period: Duration) -> bool {
        self.began + period <= self.now
    }
}
