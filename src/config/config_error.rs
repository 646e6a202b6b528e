//! The reasons why a configuration is refused.

use std::time::Duration;

use super::options::keys;
use super::{Capacity, Limit};
use crate::error::WorkerDescriptionError;

/// The reason why a configuration is refused.
///
/// The text names the key of the option and shows the value.
///
/// ```
/// use slot_manager::SlotManagerConfig;
///
/// let refused = SlotManagerConfig::from_options([("slotmanager.number-of-slots.min", "many")]);
/// let error = refused.expect_err("not a number");
/// assert_eq!(error.to_string(), "slotmanager.number-of-slots.min: \"many\" is not a number");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ConfigError {
    /// The value of an option cannot be read, or is not legal for it.
    #[error("{key}: {value:?} is not {expected}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The given value.
        value: String,
        /// The expected kind of value, as a noun phrase.
        expected: &'static str,
    },
    /// No option has this key, although it begins with `slotmanager.`.
    #[error("{key}: unknown option (its value is {value:?})")]
    UnknownKey {
        /// The key.
        key: String,
        /// The given value.
        value: String,
    },
    /// The longest backoff is shorter than the first.
    #[error(
        "{}: {max:?} is shorter than {} ({initial:?})",
        keys::MAX_RETRY_BACKOFF,
        keys::RETRY_BACKOFF
    )]
    MaxRetryBackoffTooShort {
        /// The longest backoff.
        max: Duration,
        /// The first backoff.
        initial: Duration,
    },
    /// The limit of ungranted requests is zero, so every request would be refused.
    #[error("{}: \"0\" would refuse every request", keys::MAX_PENDING_REQUESTS)]
    NoPendingRequests,
    /// An option that counts in workers is set, but no option describes a worker.
    #[error("{key}: {value:?} needs a worker description, such as taskmanager.numberOfTaskSlots")]
    NoWorkerDescription {
        /// The key of the option that is set.
        key: &'static str,
        /// The given value.
        value: String,
    },
    /// A listed extended resource has no amount.
    #[error("{key}: {value:?} needs {amount_key}, which is not given")]
    MissingAmount {
        /// The key of the list.
        key: &'static str,
        /// The given list.
        value: String,
        /// The key of the amount.
        amount_key: String,
    },
    /// An amount belongs to an extended resource that is not listed.
    #[error(
        "{key}: {value:?} is the amount of a resource that {} does not list",
        keys::EXTERNAL_RESOURCES
    )]
    UnlistedResource {
        /// The key of the amount.
        key: String,
        /// The given amount.
        value: String,
    },
    /// The options of a worker do not describe a possible worker.
    #[error("{key}: {value:?} is refused: {error}")]
    WorkerDescription {
        /// The key of the option at fault.
        key: String,
        /// The given value.
        value: String,
        /// The reason.
        #[source]
        error: Box<WorkerDescriptionError>,
    },
    /// A minimum or the redundancy needs more workers than a limit allows. Whole workers count.
    #[error("{wanted}: {value:?} needs {workers} workers, more than {}: {limit_value:?} allows", .limit.key())]
    ContradictoryLimits {
        /// The key of the minimum or the redundancy.
        wanted: &'static str,
        /// The value of the minimum or the redundancy.
        value: String,
        /// The number of workers that it needs.
        workers: usize,
        /// The limit that they exceed.
        limit: Limit,
        /// The value of the limit.
        limit_value: String,
    },
    /// A minimum asks for a resource that the described workers do not have.
    #[error("{key}: {value:?} is never reached, because the described workers have none")]
    UnreachableMinimum {
        /// The key of the minimum.
        key: &'static str,
        /// The value of the minimum.
        value: String,
    },
    /// An option cannot express the value, so the configuration has no written form.
    #[error("{key}: no option expresses {value:?}")]
    Inexpressible {
        /// The key of the option for such values.
        key: String,
        /// The value: a name, a number, or the `Debug` form of a custom matching strategy.
        value: String,
    },
    /// A number is larger than [`Capacity::MAX`].
    #[error(
        "{key}: {value:?} takes {capacity} entries or slots, the maximum is {}",
        Capacity::MAX
    )]
    CapacityTooLarge {
        /// The key.
        key: &'static str,
        /// The given value.
        value: String,
        /// The number of entries or slots that the option needs.
        capacity: usize,
    },
}
