//! Who may use the web server.
//!
//! With a token, every request carries it, as a bearer token or as the password of a browser. Only
//! `/health` needs none. Without a token the server is for this machine, and pages of other sites
//! are kept out: a browser would let them in under a name of theirs that leads to this machine.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::ApiError;
use crate::protocol::connections::{Connection, Connections, Held, Usage};
use crate::protocol::token::Token;

/// The path that needs no token.
const HEALTH: &str = "/health";

/// Makes a browser ask for a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"cluster\", charset=\"UTF-8\"");

/// Decides which requests are answered.
#[derive(Debug, Clone, Default)]
pub struct Access {
    token: Option<Token>,
}

impl Access {
    /// Lets in who has the token; without one, this machine.
    pub fn new(token: Option<Token>) -> Self {
        Self { token }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match &self.token {
            Some(token) if has_token(headers, token) => Ok(()),
            Some(_) => Err(ApiError::NoToken),
            None if is_for_this_machine(headers) => Ok(()),
            None => Err(ApiError::OtherName),
        }
    }
}

/// The service of a router behind its guard.
type Guarded = axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, Usage>;

/// Puts the checks before all routes, and counts what uses a connection.
pub fn guard(router: Router, access: Access) -> Guarded {
    router
        .layer(from_fn_with_state(access, check))
        .layer(from_fn(count))
        .into_make_service_with_connect_info()
}

async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if request.uri().path() == HEALTH {
        return next.run(request).await;
    }
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let is_asked = error == ApiError::NoToken;
            let mut response = error.into_response();
            if is_asked {
                response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            }
            response
        }
    }
}

/// Keeps a connection until the answer is sent.
async fn count(ConnectInfo(usage): ConnectInfo<Usage>, request: Request, next: Next) -> Response {
    let in_use = usage.begin();
    let response = next.run(request).await;
    response.map(|body| Body::new(Held::new(body, in_use)))
}

fn has_token(headers: &HeaderMap, token: &Token) -> bool {
    let Some(presented) = headers.get(AUTHORIZATION) else {
        return false;
    };
    let presented = presented.as_bytes();
    token.is_bearer(presented) || password(presented).is_some_and(|password| token.is(&password))
}

/// Returns the password of HTTP's basic authentication. The name of the user does not matter.
fn password(authorization: &[u8]) -> Option<Vec<u8>> {
    let text = authorization.strip_prefix(b"Basic ")?;
    let mut credentials = STANDARD.decode(text).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some(credentials.split_off(colon + 1))
}

/// Returns `true` if a request names this machine. A program need not name a host.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        (Connections::accept(self).await, ())
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Connections>> for Usage {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.io().usage().clone()
    }
}
