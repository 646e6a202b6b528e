//! How a slot is chosen for a request.

/// Which of the free slots that fit a request serves it.
///
/// The other way round there is no choice: a slot that becomes free goes to the oldest waiting request it fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotMatchingStrategy {
    /// The slot that has been free for the longest time. The cost grows with the number of distinct profiles among the
    /// free slots.
    #[default]
    FirstFit,
    /// A slot of the task manager with the smallest share of used slots, and there the one that has been free for the
    /// longest time; among task managers with the same share again the longest free (FLINK-12122). Spreads the load
    /// evenly over the task managers that are registered at the time. Each slot that becomes used or unused costs O(log
    /// task managers) for each distinct profile among the free slots of its task manager more than with `FirstFit`.
    LeastUtilization,
}
