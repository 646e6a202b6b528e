//! Connections to peers: all that a process dials, it dials here.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tracing::warn;

use super::limits;
use super::security::Security;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::token::SendToken;

/// The time between two pings of a stream that may be silent for long.
const PING_EVERY: Duration = Duration::from_secs(20);

/// The time between two warnings of refusals.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A connection to a peer. All calls carry the token.
pub type PeerChannel = InterceptedService<Channel, SendToken>;

/// Opens connections to the peers of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    send_token: SendToken,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    has_pings: bool,
    warned: Arc<Mutex<Option<Instant>>>,
}

/// The reason why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0:?} is not an address")]
    NotAnAddress(String),
    #[error("{0} cannot be reached")]
    NotReached(String, #[source] tonic::transport::Error),
}

impl Dialer {
    pub fn new(security: &Security) -> Self {
        Self {
            send_token: SendToken::new(security.token.as_ref()),
            #[cfg(feature = "tls")]
            tls: security.tls.clone(),
            has_pings: false,
            warned: Arc::default(),
        }
    }

    /// Returns a dialer for streams without heartbeats. Pings detect that the peer is gone without a
    /// word.
    pub fn with_pings(self) -> Self {
        Self {
            has_pings: true,
            ..self
        }
    }

    /// Opens a connection to a peer, `host:port`.
    pub async fn dial(&self, address: &str) -> Result<PeerChannel, DialError> {
        let endpoint = self.endpoint(address)?;
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| DialError::NotReached(address.to_owned(), error))?;
        Ok(InterceptedService::new(channel, self.send_token.clone()))
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, DialError> {
        let not_an_address = |_| DialError::NotAnAddress(address.to_owned());
        let endpoint = Endpoint::from_shared(format!("{}://{address}", self.scheme())).map_err(not_an_address)?;
        let mut endpoint = endpoint.connect_timeout(limits::CONNECT);
        if self.has_pings {
            endpoint = endpoint
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_EVERY);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return endpoint.tls_config(tls.client()).map_err(not_an_address);
        }
        Ok(endpoint)
    }

    fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "https";
        }
        "http"
    }

    /// Warns, now and then, of a peer that does not take this process for one of its cluster. Other
    /// failures pass by themselves.
    pub fn warn_if_refused(&self, address: &str, status: &Status) {
        if status.code() == Code::Unauthenticated {
            self.warn(address, status.message());
        } else {
            self.warn_if_tls_failed(address, status);
        }
    }

    /// The same for a connection that failed.
    pub fn warn_if_tls_failed(&self, address: &str, error: &(dyn Error + 'static)) {
        if let Some(cause) = tls_failure(error) {
            self.warn(address, &cause);
        }
    }

    fn warn(&self, address: &str, cause: &str) {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now - last >= WARN_EVERY) {
            *warned = Some(now);
            warn!(address, cause, "refused, as one that is not of this cluster");
        }
    }
}

/// Returns the failure of TLS among the causes of an error. TLS reports it as invalid data.
fn tls_failure(error: &(dyn Error + 'static)) -> Option<String> {
    io_failure(error, ErrorKind::InvalidData).map(io::Error::to_string)
}

/// Returns the failure of this kind among the causes of an error.
pub fn io_failure<'a>(error: &'a (dyn Error + 'static), kind: ErrorKind) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<io::Error>() {
            Some(failure) if failure.kind() == kind => return Some(failure),
            _ => next = cause.source(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_address_is_told_from_no_answer() {
        let dialer = Dialer::default();
        let error = dialer.dial("not an address").await.unwrap_err();
        assert!(matches!(error, DialError::NotAnAddress(_)), "{error}");
        let error = dialer.dial("127.0.0.1:1").await.unwrap_err();
        assert!(matches!(error, DialError::NotReached(..)), "{error}");
    }

    #[test]
    fn failures_of_tls_are_found_among_the_causes() {
        let status = |kind| Status::from_error(Box::new(io::Error::new(kind, "UnknownIssuer")));
        assert_eq!(
            tls_failure(&status(ErrorKind::InvalidData)).as_deref(),
            Some("UnknownIssuer")
        );
        assert_eq!(tls_failure(&status(ErrorKind::ConnectionRefused)), None);
    }
}
