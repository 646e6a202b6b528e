//! Tests of the web server against a real slot manager with doubles.

mod access;
mod double;
mod dynamic;
mod rest;

mod sites;
mod streams;

use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::double::Double;
use super::{Access, Events, serve};
use crate::operator::client::exchange;

/// A web server on a port of its own.
struct Server {
    address: String,
    events: Events,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    async fn start(double: &Double) -> Self {
        Self::start_with(double, Access::default()).await
    }

    async fn start_with(double: &Double, access: Access) -> Self {
        double.publish();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (events, stop) = (Events::default(), CancellationToken::new());
        Self {
            address: listener.local_addr().unwrap().to_string(),
            events: events.clone(),
            stop: stop.clone(),
            task: tokio::spawn(serve(listener, double.clone(), access, events, stop)),
        }
    }

    async fn text(&self, path: &str) -> String {
        let (status, body) = exchange(&self.address, &Method::GET, path, None).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(&Method::GET, path).await
    }

    async fn post(&self, path: &str) -> (StatusCode, Value) {
        self.send(&Method::POST, path).await
    }

    async fn send(&self, method: &Method, path: &str) -> (StatusCode, Value) {
        let (status, body) = exchange(&self.address, method, path, None).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}
