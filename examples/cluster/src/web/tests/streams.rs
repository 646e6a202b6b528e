//! The stream of a page.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Server;
use super::double::Double;
use crate::web::EventKind;

#[tokio::test]
async fn a_stream_tells_changes_and_events_and_ends_with_the_server() {
    let double = Double::leading();
    let server = Server::start(&double).await;
    server.events.push(EventKind::Leader, "first");
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request = format!("GET /api/stream HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let first = read_until(&mut stream, "\"first\"").await;
    assert!(first.contains("event: numbers"), "{first}");

    // Many changes within the pause are one message.
    for request in 0..50 {
        double.request(request, 1.0);
    }
    server.events.push(EventKind::Job, "second");
    let second = read_until(&mut stream, "\"second\"").await;
    assert!(second.contains("\"pending_requests\":50"), "{second}");
    assert_eq!(second.matches("event: numbers").count(), 1, "{second}");

    timeout(Duration::from_secs(5), server.stop()).await.unwrap();
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut part = [0; 4096];
        let read = timeout(Duration::from_secs(5), stream.read(&mut part)).await;
        let length = read.unwrap().unwrap();
        assert_ne!(length, 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    text
}
