//! An etcd that fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::harness::{Cluster, wait_until};

/// The time within which an etcd that works answers.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// The addresses of an etcd with one member.
pub struct Etcd {
    clients: String,
    peers: String,
}

impl Etcd {
    fn new() -> Self {
        // Both are bound at once, so that they differ.
        let [clients, peers] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [clients, peers] = [clients, peers].map(|socket| socket.local_addr().expect("an address").to_string());
        Self { clients, peers }
    }

    /// Returns `true` if it answers, and has a leader.
    fn is_healthy(&self) -> bool {
        let answer = || {
            let mut stream = TcpStream::connect(&self.clients)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        answer().is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }
}

impl Cluster {
    /// Starts an etcd with one member. Returns its election place; `None` if it is not installed.
    pub fn etcd(&mut self) -> Option<String> {
        let etcd = Etcd::new();
        let place = format!("etcd:{}", etcd.clients);
        self.etcd = Some(etcd);
        if self.run_etcd().is_err() {
            println!("left out: etcd is not installed");
            return None;
        }
        Some(place)
    }

    /// Starts the etcd that was killed again, with its data.
    pub fn restart_etcd(&mut self) {
        self.run_etcd().expect("etcd starts");
    }

    /// Waits until etcd answers.
    pub fn await_etcd(&self) {
        let etcd = self.etcd.as_ref().expect("an etcd");
        wait_until("etcd", || etcd.is_healthy());
    }

    fn run_etcd(&mut self) -> std::io::Result<u32> {
        let etcd = self.etcd.as_ref().expect("an etcd");
        let [clients, peers] = [&etcd.clients, &etcd.peers].map(|address| format!("http://{address}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.path("etcd.data"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        self.spawn("etcd", command)
    }
}
