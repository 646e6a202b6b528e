//! Limits at the border: a peer that breaks one loses its connection, and nothing else changes.

use std::time::Duration;

use super::ProtocolError;

/// The most bytes of a message.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// The most bytes of an id, an address or the name of a resource.
pub const NAME_BYTES: usize = 256;

/// The most slots of a worker. The report of such a worker stays far below [`MESSAGE_BYTES`].
pub const SLOTS: usize = 10_000;

/// The most distinct profiles of a worker.
pub const PROFILES: usize = 1_000;

/// The most extended resources of a profile.
pub const EXTENDED_RESOURCES: usize = 64;

/// The most bytes of the arguments of a task.
pub const COMMAND_BYTES: usize = 64 << 10;

/// The time within which a peer must send its first message.
pub const FIRST_MESSAGE: Duration = Duration::from_secs(5);

/// Returns a name if it is not empty and not too long.
pub fn name(field: &'static str, text: String) -> Result<String, ProtocolError> {
    if text.is_empty() {
        return Err(ProtocolError::missing(field));
    }
    if text.len() > NAME_BYTES {
        return Err(ProtocolError::new(field, format!("more than {NAME_BYTES} bytes")));
    }
    Ok(text)
}
