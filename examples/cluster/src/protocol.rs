//! The protocol: generated messages, and their conversion to and from the types of the slot
//! manager.

pub mod channel;
pub mod connections;
mod convert;
pub mod duration_text;
mod error;
pub mod leader;
pub mod limits;
pub mod listener;
pub mod profile_text;
pub mod security;
pub mod server;
#[cfg(feature = "tls")]
mod tls;
pub mod token;

pub use self::convert::*;
pub use self::error::ProtocolError;

use slot_manager::LeaderId;

/// The generated code.
#[expect(clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("slot_manager.cluster.v1");
}

/// The number of a leadership. It only grows, and it orders leaderships: messages of a lower one
/// are of an old leader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn leader_id(self) -> LeaderId {
        LeaderId::from_u128(self.0.into())
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
