//! A small HTTP client that finds the leader.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::protocol::token::Token;

/// The time within which a server answers.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const BYTES: usize = 64 << 20;

/// A client of the web servers of the resource managers.
pub struct Client {
    /// The addresses to ask, that of the leader first once it is known.
    addresses: Vec<String>,
    token: Option<Token>,
}

impl Client {
    pub fn new(addresses: Vec<String>, token: Option<Token>) -> Self {
        Self { addresses, token }
    }

    /// Returns the address that is asked first.
    pub fn address(&self) -> &str {
        self.addresses.first().map_or("", String::as_str)
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.ask_leader(&Method::GET, path).await
    }

    pub async fn post(&mut self, path: &str) -> anyhow::Result<Value> {
        self.ask_leader(&Method::POST, path).await
    }

    /// Asks the addresses in turn until the leader answers. An answer of another replica names the
    /// web server of the leader, which is asked then.
    async fn ask_leader(&mut self, method: &Method, path: &str) -> anyhow::Result<Value> {
        let mut left = VecDeque::from(self.addresses.clone());
        let mut asked: Vec<String> = Vec::new();
        let mut failure = anyhow!("no address is given: use --web");
        while let Some(address) = left.pop_front() {
            if asked.contains(&address) {
                continue;
            }
            match self.ask(&address, method, path).await {
                Ok((status, answer)) if status.is_success() => {
                    self.addresses.retain(|other| *other != address);
                    self.addresses.insert(0, address);
                    return Ok(answer);
                }
                Ok((StatusCode::SERVICE_UNAVAILABLE, answer)) => {
                    failure = refusal(&address, &answer);
                    left.extend(answer["leader"]["web"].as_str().map(str::to_owned));
                }
                Ok((_, answer)) => return Err(refusal(&address, &answer)),
                // Another replica may lead.
                Err(error) if asked.is_empty() || left.is_empty() => failure = error,
                Err(_) => {}
            }
            asked.push(address);
        }
        Err(failure)
    }

    /// Sends one request. An answer without JSON is null.
    async fn ask(&self, address: &str, method: &Method, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        let asked = timeout(TIMEOUT, exchange(address, method, path, self.token.as_ref())).await;
        let (status, body) = asked.with_context(|| format!("{address} does not answer"))??;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

fn refusal(address: &str, answer: &Value) -> anyhow::Error {
    match answer["error"].as_str() {
        Some(error) => anyhow!("{address}: {error}"),
        None => anyhow!("{address} gave no readable answer"),
    }
}

/// Sends one request on a connection of its own. Returns the status and the body.
pub async fn exchange(
    address: &str,
    method: &Method,
    path: &str,
    token: Option<&Token>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.with_context(|| format!("{address} cannot be reached"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::builder().method(method).uri(path).header(HOST, address);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.bearer());
    }
    let exchange = async {
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        match Limited::new(response.into_body(), BYTES).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) => bail!("{address}: the answer broke off: {error}"),
        }
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => match ended {
            Ok(()) => bail!("{address} closed the connection"),
            Err(error) => bail!("{address}: {error}"),
        },
    }
}
