//! How a slot is chosen for a request.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::ResourceProfile;

/// Which of the free slots that fit a request serves it.
///
/// All look at one candidate for each distinct profile among the free slots, never at the slots themselves. The other
/// way round there is no choice: a slot that becomes free goes to the oldest waiting request it fits.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SlotMatchingStrategy {
    /// The slot that has been free for the longest time. The cost grows with the number of distinct profiles among the
    /// free slots.
    #[default]
    FirstFit,
    /// A slot of the profile that has the least beyond the request: first of extended resources (the sum of all), then
    /// of memory (all kinds), then of cores; of equal ones the one that has been free for the longest time. Keeps large
    /// slots, and those with accelerators, for the requests that need them. Costs as much as `FirstFit`.
    BestFit,
    /// A slot of the task manager with the smallest share of used slots, and there the one that has been free for the
    /// longest time; among task managers with the same share again the longest free (FLINK-12122). Spreads the load
    /// evenly over the task managers that are registered at the time. Each slot that becomes used or unused costs O(log
    /// task managers) for each distinct profile among the free slots of its task manager more than with `FirstFit`.
    LeastUtilization,
    /// The reverse: a slot of the task manager with the largest share of used slots. Packs, so that task managers fall
    /// idle and can be released (FLINK-37412). Costs as much as `LeastUtilization`.
    MostUtilization,
    /// Your own.
    Custom(Arc<dyn SlotMatching + Send + Sync>),
}

/// Two strategies of one's own are equal if they are the same one.
impl PartialEq for SlotMatchingStrategy {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(own), Self::Custom(other)) => Arc::ptr_eq(own, other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for SlotMatchingStrategy {}

/// A matching strategy of your own, over the same index.
///
/// The free slots of each profile are kept in one [order](Self::order). For a request, the first of each profile that
/// fits is a [`Candidate`]; the strategy says which of two is better. It has to be a pure function of its arguments, and
/// an order (if a is better than b and b than c, a is better than c), or a slot is chosen that is not the best.
///
/// ```
/// use std::cmp::Ordering;
/// use std::sync::Arc;
/// use slot_manager::{Candidate, ResourceProfile, SlotManagerConfig, SlotMatching, SlotMatchingStrategy};
///
/// /// The slot with the most cores.
/// #[derive(Debug)]
/// struct Fastest;
///
/// impl SlotMatching for Fastest {
///     fn compare(&self, _: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
///         let cores = |candidate: &Candidate<'_>| candidate.resource_profile.cpu_cores().unwrap_or(f64::INFINITY);
///         cores(b).total_cmp(&cores(a))
///     }
/// }
///
/// let config =
///     SlotManagerConfig::default().with_slot_matching_strategy(SlotMatchingStrategy::Custom(Arc::new(Fastest)));
/// # assert_eq!(config.validate(), Ok(()));
/// ```
pub trait SlotMatching: fmt::Debug {
    /// How the free slots of one profile are kept. Asked once, when the manager is made. The default is the order in
    /// which they became free.
    fn order(&self) -> SlotOrder {
        SlotOrder::Free
    }

    /// Which of two candidates of different profiles is better for a request: the lesser is. Of equal ones the one that
    /// has been free for longer is taken.
    fn compare(&self, required: &ResourceProfile, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering;
}

/// The order in which the free slots of one profile are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotOrder {
    /// As they became free. O(1).
    Free,
    /// By the share of used slots of their task manager, the smallest first; of equal ones as they became free. O(log
    /// task managers) for each slot that becomes used or unused.
    LeastUtilized,
    /// The largest first.
    MostUtilized,
}

/// The first free slot of a profile, which fits the request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// What the slot has.
    pub resource_profile: &'a ResourceProfile,
    /// The share of used slots of its task manager, as a fraction of 2³²; zero if the slots are kept in the order in
    /// which they became free.
    pub utilization: u64,
    /// Grows with every slot that becomes free.
    pub free_order: u64,
}
