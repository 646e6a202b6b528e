//! What the rest of the cluster knows while a call of the manager is checked.

use std::collections::BTreeSet;
use std::time::Duration;

use slot_manager::{LeaderId, ResourceId, Timestamp};

use super::operators::Operators;

/// What is armed while time is handled falls due so much later at the earliest.
pub(super) const SHORTEST_REARM: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) now: Timestamp,
    pub(super) leader_id: LeaderId,
    /// When this leadership began.
    pub(super) began: Timestamp,
    /// Whether the call was to handle answers and deadlines, and how many it handled.
    pub(super) is_driven: bool,
    pub(super) events: usize,
    /// The workers that operators have blocked.
    pub(super) blocked: &'a BTreeSet<ResourceId>,
    /// Whether requests are to fail that nothing could serve.
    pub(super) fails_unfulfillable: bool,
}

impl<'a> Moment<'a> {
    pub(super) fn new(
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
    pub(super) fn at_least(&self, length: Duration) -> Duration {
        if self.is_driven {
            length.max(SHORTEST_REARM)
        } else {
            length
        }
    }

    /// Whether some time after the start is over.
    pub(super) fn is_after(&self, period: Duration) -> bool {
        self.began + period <= self.now
    }
}
