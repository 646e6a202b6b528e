//! The requests that waited longest in a run, each with the last explanation of the manager.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use slot_manager::message::RequestFailure;
use slot_manager::view::Explanation;
use slot_manager::{AllocationId, Timestamp};

use crate::display::{duration, time};
use crate::metered::Manager;

/// The number of kept requests. It is enough to observe as many of the oldest: a request that ends
/// while five older ones wait has waited less than each of them.
const KEPT: usize = 5;

/// Observes the oldest requests after each event, and keeps the requests that waited longest.
#[derive(Debug, Default)]
pub(crate) struct LongestWaits {
    /// The oldest requests at the last observation.
    oldest: Vec<Look>,
    /// The longest first, and of equal ones the request that was registered first.
    longest: Vec<Wait>,
}

#[derive(Debug)]
struct Look {
    allocation_id: AllocationId,
    at: Timestamp,
    explanation: Explanation,
}

/// A request that has waited.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) allocation_id: AllocationId,
    pub(crate) pod: String,
    pub(crate) asked_at: Timestamp,
    pub(crate) waited: Duration,
    pub(crate) end: End,
    /// The last explanation and its time. `None` if the request was never observed.
    pub(crate) seen: Option<(Timestamp, Explanation)>,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Granted,
    Failed(RequestFailure),
    /// Its job cancelled it.
    Cancelled,
    StillWaiting,
}

impl LongestWaits {
    /// Observes the oldest requests. A request in flight keeps its earlier explanation, which says
    /// more: now it waits for an answer only.
    pub(crate) fn look(&mut self, now: Timestamp, manager: &Manager) {
        let mut before = std::mem::take(&mut self.oldest);
        for request in manager.pending_slot_requests().take(KEPT) {
            let allocation_id = request.allocation_id();
            let known = before.iter().position(|look| look.allocation_id == allocation_id);
            let known = known.map(|place| before.swap_remove(place));
            let look = match known {
                Some(known) if request.in_flight_to().is_some() => Some(known),
                _ => manager.explain(allocation_id).map(|explanation| Look {
                    allocation_id,
                    at: now,
                    explanation,
                }),
            };
            self.oldest.extend(look);
        }
    }

    /// Notes that a request has ended. Call it before the next observation.
    pub(crate) fn ended(
        &mut self,
        allocation_id: AllocationId,
        pod: &str,
        asked_at: Timestamp,
        now: Timestamp,
        end: End,
    ) {
        let waited = now - asked_at;
        let order = |waited, allocation_id| (Reverse(waited), allocation_id);
        let place = self
            .longest
            .partition_point(|wait| order(wait.waited, wait.allocation_id) < order(waited, allocation_id));
        if place >= KEPT {
            return;
        }
        let look = self.oldest.iter().find(|look| look.allocation_id == allocation_id);
        let wait = Wait {
            allocation_id,
            pod: pod.to_owned(),
            asked_at,
            waited,
            end,
            seen: look.map(|look| (look.at, look.explanation.clone())),
        };
        self.longest.insert(place, wait);
        self.longest.truncate(KEPT);
    }

    /// Returns the oldest requests, which may still be among the longest.
    pub(crate) fn unended(&self) -> Vec<AllocationId> {
        self.oldest.iter().map(|look| look.allocation_id).collect()
    }

    /// Returns the longest waits, the longest first.
    pub(crate) fn into_longest(self) -> Vec<Wait> {
        self.longest
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: requested at {} ({}), waited {}, {}",
            self.pod,
            time(self.asked_at),
            self.asked_at,
            duration(self.waited),
            self.end
        )?;
        match &self.seen {
            Some((at, explanation)) => write!(f, "\nexplained at {at}: {explanation}"),
            None => write!(f, "\nallocation {}: never explained", self.allocation_id),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("was granted"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
            Self::Cancelled => f.write_str("was cancelled"),
            Self::StillWaiting => f.write_str("is still waiting"),
        }
    }
}

#[cfg(test)]
mod tests {
    use slot_manager::ResourceProfile;

    use super::*;

    fn kept(waits: &[(u128, u64, u64)]) -> Vec<(AllocationId, Duration)> {
        let mut longest = LongestWaits::default();
        for (allocation, asked_at, ended_at) in waits {
            let [asked_at, ended_at] = [*asked_at, *ended_at].map(Timestamp::from_secs);
            longest.ended(
                AllocationId::from_u128(*allocation),
                "pod",
                asked_at,
                ended_at,
                End::Granted,
            );
        }
        let longest = longest.into_longest();
        longest.iter().map(|wait| (wait.allocation_id, wait.waited)).collect()
    }

    fn expected(waits: &[(u128, u64)]) -> Vec<(AllocationId, Duration)> {
        waits
            .iter()
            .map(|(allocation, seconds)| (AllocationId::from_u128(*allocation), Duration::from_secs(*seconds)))
            .collect()
    }

    #[test]
    fn the_longest_waits_come_first_and_the_rest_is_dropped() {
        let waits = [
            (1, 0, 10),
            (2, 0, 70),
            (3, 0, 30),
            (4, 10, 60),
            (5, 20, 40),
            (6, 60, 70),
            (7, 0, 60),
        ];
        assert_eq!(kept(&waits), expected(&[(2, 70), (7, 60), (4, 50), (3, 30), (5, 20)]));
        assert_eq!(kept(&[]), []);
    }

    #[test]
    fn of_equal_waits_those_of_the_requests_registered_first_are_kept() {
        let waits = [9, 2, 7, 4, 1, 8, 3].map(|allocation| (allocation, 5, 10));
        assert_eq!(
            kept(&waits),
            expected(&[1, 2, 3, 4, 7].map(|allocation| (allocation, 5)))
        );
    }

    #[test]
    fn the_text_names_the_length_of_the_wait_and_its_end() {
        let mut longest = LongestWaits::default();
        let ends = [
            (End::Granted, "was granted"),
            (
                End::Failed(RequestFailure::Timeout {
                    timeout: Duration::from_secs(9),
                    resource_profile: ResourceProfile::ZERO,
                    last_failure: None,
                }),
                "failed: ",
            ),
            (End::Cancelled, "was cancelled"),
            (End::StillWaiting, "is still waiting"),
        ];
        for (number, (end, _)) in ends.iter().enumerate() {
            let allocation_id = AllocationId::from_u128(number as u128);
            longest.ended(
                allocation_id,
                "pod-7",
                Timestamp::ZERO,
                Timestamp::from_secs(9),
                end.clone(),
            );
        }
        for (wait, (_, text_of_end)) in longest.into_longest().iter().zip(ends) {
            let text = wait.to_string();
            let begin = format!("pod-7: requested at day 0 00:00:00 (+0ns), waited 9.0 s, {text_of_end}");
            assert!(text.starts_with(&begin), "{text}");
        }
    }
}
