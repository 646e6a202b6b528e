//! A small client of the REST interface.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Returns the answer of a web server.
///
/// # Panics
/// If the web server refuses.
pub fn get(web: &str, path: &str) -> Value {
    try_get(web, path).unwrap_or_else(|| panic!("{web} refuses {path}"))
}

/// Returns the answer of a web server; `None` if it refuses.
pub fn try_get(web: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(web).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    // With this version the answer comes in one part, and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {web}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_good = head.split(' ').nth(1) == Some("200");
    is_good.then(|| serde_json::from_str(body).expect("JSON"))
}
