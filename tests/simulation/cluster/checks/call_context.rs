//! The facts about the cluster that the checks of a call need.

use std::collections::BTreeSet;
use std::time::Duration;

use slot_manager::{LeaderId, ResourceId, Timestamp};

use crate::cluster::parties::leader_election::Recovery;
use crate::cluster::parties::operators::Operators;

/// The shortest time to a deadline that is armed while time is handled.
pub(crate) const SHORTEST_REARM: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct CallContext<'a> {
    pub(crate) now: Timestamp,
    pub(crate) leader_id: LeaderId,
    /// The start of this leadership, and whether its recovery ended early.
    pub(crate) recovery: &'a Recovery,
    /// Whether the call drove the manager, and the number of answers and deadlines it handled.
    pub(crate) is_driven: bool,
    pub(crate) events: usize,
    /// The workers that operators have blocked.
    pub(crate) blocked: &'a BTreeSet<ResourceId>,
    /// Whether unfulfillable requests fail.
    pub(crate) fails_unfulfillable: bool,
}

impl<'a> CallContext<'a> {
    pub(crate) fn new(
        now: Timestamp,
        leader_id: LeaderId,
        recovery: &'a Recovery,
        events: Option<usize>,
        operators: &'a Operators,
    ) -> Self {
        Self {
            now,
            leader_id,
            recovery,
            is_driven: events.is_some(),
            events: events.unwrap_or_default(),
            blocked: &operators.shown,
            fails_unfulfillable: operators.fails_unfulfillable,
        }
    }

    /// Returns the time from now to a deadline of this length that is armed in the call.
    pub(crate) fn at_least(&self, length: Duration) -> Duration {
        if self.is_driven {
            length.max(SHORTEST_REARM)
        } else {
            length
        }
    }

    /// Returns whether a period after the start is over.
    pub(crate) fn is_after(&self, period: Duration) -> bool {
        self.recovery.began + period <= self.now
    }

    /// Returns whether the recovery is over, which is configured with this length.
    pub(crate) fn has_recovered(&self, recovery_timeout: Duration) -> bool {
        self.recovery.ended_early || self.is_after(recovery_timeout)
    }
}
