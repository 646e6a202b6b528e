//! The identifiers: newtypes that are cheap to clone, ordered, hashable, and have a text form.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

#[cfg(feature = "serde")]
mod serialized;

/// The error of parsing a text that is not an identifier.
///
/// ```
/// use slot_manager::SlotId;
///
/// let error = "worker-1".parse::<SlotId>().unwrap_err();
/// assert_eq!(error.text(), "worker-1");
/// assert_eq!(error.to_string(), "\"worker-1\" is not a slot id (<resource id>_<slot number>)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("{text:?} is not {expected}")]
pub struct ParseIdError {
    text: String,
    expected: Cow<'static, str>,
}

impl ParseIdError {
    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            expected: expected.into(),
        }
    }

    /// Returns the text that was refused.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Parses a number without a sign and leading zeros, so that one id has one text.
pub(crate) fn parse_number<N: FromStr>(text: &str) -> Option<N> {
    let is_as_written = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_as_written)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        ///
        /// It has 128 bits and is written as 32 hexadecimal digits. Every other form of a [`Uuid`]
        /// can be parsed too. The crate never draws one: make it from a [`Uuid`], bytes or a
        /// number.
        #[doc = concat!("A random id is `", stringify!($name), "::from(Uuid::new_v4())`; `new_v4` needs the feature `v4` of")]
        /// the crate [`uuid`].
        ///
        /// With the feature `serde` it is its text in human-readable formats and 16 bytes in
        /// others.
        ///
        #[doc = concat!("```\nuse slot_manager::", stringify!($name), ";\nuse slot_manager::uuid::Uuid;\n")]
        #[doc = concat!("let id = ", stringify!($name), "::from(Uuid::from_u128(0xa1));")]
        /// assert_eq!(id.to_string(), "000000000000000000000000000000a1");
        /// assert_eq!(id.to_string().parse(), Ok(id));
        #[doc = concat!("assert_eq!(", stringify!($name), "::from_bytes(id.to_bytes()), id);")]
        /// ```
        // Aligned, so that records and messages that contain ids are copied in whole words.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(align(8))]
        pub struct $name(Uuid);

        /// Hashes the id as one number, several times as fast as byte by byte.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u128(self.0.as_u128());
            }
        }

        impl $name {
            /// Returns the identifier with these 128 bits.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// Returns the identifier with these bytes, the most significant first.
            ///
            /// ```
            #[doc = concat!("use slot_manager::", stringify!($name), ";\n")]
            #[doc = concat!("let id = ", stringify!($name), "::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);")]
            #[doc = concat!("assert_eq!(id, ", stringify!($name), "::from_u128(0x102));")]
            /// ```
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Returns the bytes of the identifier, the most significant first.
            ///
            /// ```
            #[doc = concat!("use slot_manager::", stringify!($name), ";\n")]
            #[doc = concat!("let bytes = ", stringify!($name), "::from_u128(0x102).to_bytes();")]
            /// assert_eq!(bytes[13..], [0, 1, 2]);
            /// ```
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Returns the 128 bits of the identifier as a number.
            ///
            /// ```
            #[doc = concat!("use slot_manager::", stringify!($name), ";\n")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::from_u128(0xa1).as_u128(), 0xa1);")]
            /// ```
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }

            /// Returns the identifier as a UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| ParseIdError::new(text, $expected))
            }
        }
    };
}

uuid_id! {
    /// The id of an allocation, a job's claim to one slot.
    ///
    /// The job chooses it for each request. Requests with the same id are duplicates. A request
    /// after a failure or a lost grant has a new id, because late messages may name the old one.
    AllocationId, "an allocation id (32 hexadecimal digits)"
}

uuid_id! {
    /// The id of a job, which owns slot requests.
    JobId, "a job id (32 hexadecimal digits)"
}

uuid_id! {
    /// The id of one *registration* of a task manager.
    ///
    /// A worker process that registers again has a new instance id and its old [`ResourceId`].
    InstanceId, "an instance id (32 hexadecimal digits)"
}

uuid_id! {
    /// The id of one leadership of the resource manager.
    ///
    /// Task executors refuse slot requests of another leader.
    LeaderId, "a leader id (32 hexadecimal digits)"
}

/// The id of a worker process, such as a container, a pod or a machine.
///
/// It is the same for all registrations of the process. It can be any text. Clones share the text.
///
/// ```
/// use slot_manager::ResourceId;
///
/// let id = ResourceId::new("worker-1");
/// assert_eq!(id.as_str(), "worker-1");
/// assert_eq!(id, ResourceId::from("worker-1"));
/// ```
#[derive(Clone)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "String", into = "String")
)]
pub struct ResourceId(Arc<str>);

/// Compares two ids. Clones of one id are compared in O(1), also for their order.
impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl ResourceId {
    /// Returns the resource id with this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns `true` if both ids are equal. This keeps a loop over clones of one id short.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.has_text_of(other)
    }

    #[inline(never)]
    fn has_text_of(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Returns the text of the resource id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ResourceId {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for ResourceId {
    fn from(text: &String) -> Self {
        Self::new(text.as_str())
    }
}

impl From<String> for ResourceId {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.as_str().to_owned()
    }
}

impl FromStr for ResourceId {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({})", self.0)
    }
}

/// The id of a slot: its worker process, and its number there.
///
/// It is written as `<resource id>_<slot number>`.
///
/// Slots of a worker that has slots of its own have numbers below 2³¹. The manager numbers the
/// slots that it cuts from a [dynamic worker](crate::SlotReport::of_dynamic), from 2³¹ on.
///
/// A new registration of the same process keeps the ids of its slots. Slot ids are ordered by
/// resource id, then by slot number.
///
/// With the feature `serde` it is its text in human-readable formats and a struct in others.
///
/// ```
/// use slot_manager::SlotId;
///
/// let id = SlotId::new("worker-1", 3);
/// assert_eq!(id.to_string(), "worker-1_3");
/// assert_eq!("worker-1_3".parse(), Ok(id));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    resource_id: ResourceId,
    slot_number: u32,
}

/// The lowest number of a slot that is cut from the total of a worker.
pub(crate) const FIRST_DYNAMIC: u32 = 1 << 31;

impl SlotId {
    /// Returns the id of the slot with this number in this worker process.
    pub fn new(resource_id: impl Into<ResourceId>, slot_number: u32) -> Self {
        Self {
            resource_id: resource_id.into(),
            slot_number,
        }
    }

    /// Returns the id of a slot that is cut from what a worker has in total.
    ///
    /// The number of the slot is `number` plus 2³¹. Numbers from 2³¹ on count as smaller by 2³¹.
    ///
    /// # Example
    ///
    /// ```
    /// use slot_manager::SlotId;
    ///
    /// let id = SlotId::dynamic("worker-1", 3);
    /// assert!(id.is_dynamic());
    /// assert_eq!(id, SlotId::new("worker-1", (1 << 31) + 3));
    /// ```
    pub fn dynamic(resource_id: impl Into<ResourceId>, number: u32) -> Self {
        Self::new(resource_id, number | FIRST_DYNAMIC)
    }

    /// Returns `true` if the slot is cut from what its worker has in total: its number is at least
    /// 2³¹.
    pub fn is_dynamic(&self) -> bool {
        self.slot_number >= FIRST_DYNAMIC
    }

    /// Returns the worker process that has the slot.
    pub fn resource_id(&self) -> &ResourceId {
        &self.resource_id
    }

    /// Changes the id to another slot of the same worker process.
    pub(crate) fn set_slot_number(&mut self, slot_number: u32) {
        self.slot_number = slot_number;
    }

    /// Returns the number of the slot in its worker process.
    pub fn slot_number(&self) -> u32 {
        self.slot_number
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.resource_id, self.slot_number)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotId({self})")
    }
}

impl FromStr for SlotId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.rsplit_once('_')
            .and_then(|(resource_id, number)| Some(Self::new(resource_id, parse_number(number)?)))
            .ok_or_else(|| ParseIdError::new(text, "a slot id (<resource id>_<slot number>)"))
    }
}

/// The id of a worker request, one call of
/// [`allocate_resource`](crate::ResourceManagerActions::allocate_resource): a leadership, and a
/// number in it.
///
/// It connects the worker, or its failure, with that call. It is unique over all leaderships, also
/// over those of other processes. Give it to the worker that you start, for example in an
/// environment variable. The worker names it when it
/// [registers](crate::TaskExecutorConnection::with_worker_request).
///
/// It is written as `<leader id>-<number>`: at most 53 letters, digits and one hyphen.
///
/// ```
/// use slot_manager::{LeaderId, WorkerRequestId};
///
/// let id = WorkerRequestId::new(LeaderId::from_u128(0xa1), 12);
/// assert_eq!(id.to_string(), "000000000000000000000000000000a1-12");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerRequestId {
    leader_id: LeaderId,
    number: u64,
}

impl WorkerRequestId {
    /// Returns the id of the worker request with this number in this leadership.
    pub const fn new(leader_id: LeaderId, number: u64) -> Self {
        Self { leader_id, number }
    }

    /// Returns the leadership that made the worker request.
    pub const fn leader_id(self) -> LeaderId {
        self.leader_id
    }

    /// Returns the number of the worker request. A later worker request of one leadership has a
    /// larger number.
    pub const fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for WorkerRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.leader_id, self.number)
    }
}

impl fmt::Debug for WorkerRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerRequestId({self})")
    }
}

impl FromStr for WorkerRequestId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.rsplit_once('-')
            .and_then(|(leader_id, number)| Some(Self::new(leader_id.parse().ok()?, parse_number(number)?)))
            .ok_or_else(|| ParseIdError::new(text, "a worker request id (<leader id>-<number>)"))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use super::*;

    #[test]
    fn ids_round_trip_through_their_text() {
        let allocation = AllocationId::from_u128(0xa1);
        assert_eq!(allocation.to_string(), "000000000000000000000000000000a1");
        assert_eq!(allocation.to_string().parse(), Ok(allocation));

        let slot = SlotId::new("pod_7", 3);
        assert_eq!(slot.to_string(), "pod_7_3");
        assert_eq!(slot.to_string().parse(), Ok(slot));

        let worker = WorkerRequestId::new(LeaderId::from_u128(0xb2), 12);
        assert_eq!(worker.to_string().parse(), Ok(worker));
    }

    #[test]
    fn refused_text_is_in_the_error() {
        let error = "pod".parse::<SlotId>().expect_err("no slot number");
        assert_eq!(error.text(), "pod");
        assert_eq!(
            error.to_string(),
            "\"pod\" is not a slot id (<resource id>_<slot number>)"
        );
        assert!("pod_-1".parse::<SlotId>().is_err());
        assert!("xyz".parse::<JobId>().is_err());
        assert!("".parse::<WorkerRequestId>().is_err());
    }

    #[test]
    fn different_ids_have_different_hashes() {
        let hash = |id: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            id(&mut hasher);
            hasher.finish()
        };
        let (a, b) = (ResourceId::new("a"), ResourceId::new("b"));
        assert_ne!(hash(&|hasher| a.hash(hasher)), hash(&|hasher| b.hash(hasher)));
        let (a, b) = (JobId::from_u128(1), JobId::from_u128(2));
        assert_ne!(hash(&|hasher| a.hash(hasher)), hash(&|hasher| b.hash(hasher)));
    }

    #[test]
    fn numbers_in_ids_parse_only_as_they_are_written() {
        for number in ["+5", "05", "-0", "00", " 5", "5 ", "", "٥", "99999999999999999999"] {
            let leader = LeaderId::from_u128(1);
            assert!(
                format!("{leader}-{number}").parse::<WorkerRequestId>().is_err(),
                "{number:?}"
            );
            assert!(format!("tm_{number}").parse::<SlotId>().is_err(), "{number:?}");
        }
        assert_eq!("tm_0".parse(), Ok(SlotId::new("tm", 0)));
        assert_eq!("_10".parse(), Ok(SlotId::new("", 10)));
    }

    #[test]
    fn slots_are_ordered_by_number_not_by_text() {
        assert!(SlotId::new("a", 9) < SlotId::new("a", 10));
    }
}
