//! The gRPC server of a process, with all its limits.

use std::convert::Infallible;
use std::time::Duration;

use axum::http;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tower::util::MapRequestLayer;

use super::connections::{Connections, Held, Usage};
use super::limits;
use super::security::Security;
use super::token::CheckToken;

/// The time between two pings of a silent connection. They end connections of machines that are
/// gone; heartbeats end sessions much earlier.
const PING_EVERY: Duration = Duration::from_secs(20);

/// The part of the open files that connections may take.
const EIGHTHS_OF_FILES: u64 = 6;

/// Serves the connections of a listener until `stop` is cancelled and all streams have ended.
pub async fn serve<S>(
    service: S,
    listener: TcpListener,
    security: &Security,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let service = InterceptedService::new(service, CheckToken::new(security.token.clone()));
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .max_concurrent_streams(limits::STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .http2_max_header_list_size(limits::HEADER_BYTES);
    #[cfg(feature = "tls")]
    let server = match &security.tls {
        Some(tls) => server.tls_config(tls.server())?,
        None => server,
    };
    server
        .layer(MapRequestLayer::new(count))
        .add_service(service)
        .serve_with_incoming_shutdown(
            Connections::new(listener, limits::CONNECTIONS, EIGHTHS_OF_FILES).into_stream(),
            stop.cancelled_owned(),
        )
        .await
}

/// Counts a request as a use of its connection, as long as somebody holds its body. A peer that
/// does not read the end of its stream keeps no connection by it.
fn count(request: http::Request<Body>) -> http::Request<Body> {
    let Some(usage) = request.extensions().get::<Usage>() else {
        return request;
    };
    let in_use = usage.begin();
    request.map(|body| Body::new(Held::new(body, in_use)))
}
