//! The error for a message that breaks the protocol.

/// A message breaks the protocol. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ProtocolError {
    /// The field at fault.
    pub field: &'static str,
    pub reason: String,
}

impl ProtocolError {
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }

    /// Returns the error for a field that must be there.
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }

    /// Returns the error for the message that is this field of another message.
    pub fn within(self, field: &'static str) -> Self {
        Self::new(field, self.to_string())
    }
}

impl From<ProtocolError> for tonic::Status {
    fn from(error: ProtocolError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}
