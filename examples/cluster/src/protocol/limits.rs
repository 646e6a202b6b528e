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

/// The most slots that a dynamic worker holds. Each may have a profile of its own.
pub const CUTS: usize = PROFILES;

/// The most distinct profiles that a job requires.
pub const REQUIRED_PROFILES: usize = 100;

/// The most extended resources of a profile.
pub const EXTENDED_RESOURCES: usize = 64;

/// The most bytes of the arguments of a task.
pub const COMMAND_BYTES: usize = 64 << 10;

/// The time within which a peer must send its first message.
pub const FIRST_MESSAGE: Duration = Duration::from_secs(5);

/// The time within which a connection must come about.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The time after which a connection that carries no stream is cut. Peers open their stream at once.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// The most connections to a gRPC server, if the process may open enough files. A connection of a worker takes about 40 KiB, so all take
/// less than 1 GiB; 10,000 workers and their jobs are half of them.
pub const CONNECTIONS: usize = 20_000;

/// The most connections to the web server.
pub const WEB_CONNECTIONS: usize = 512;

/// The most streams of a connection. A peer needs one.
pub const STREAMS: u32 = 8;

/// The most bytes that a peer may send on a stream before they are read.
pub const STREAM_WINDOW: u32 = 128 << 10;

/// The same for all streams of a connection.
pub const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;

/// The most bytes of the headers of a request. The longest of ours is the token.
pub const HEADER_BYTES: u32 = 8 << 10;

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
