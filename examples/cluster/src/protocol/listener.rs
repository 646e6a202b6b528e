//! The addresses at which a process listens.

use anyhow::{Context, ensure};
use tokio::net::{TcpListener, lookup_host};

/// Opens a listener. If its peers are not authenticated, they must be on this machine.
///
/// # Errors
/// The address is not free, or others could reach it. `remedy` tells them how to go on.
pub async fn listen(address: &str, authenticates_peers: bool, remedy: &str) -> anyhow::Result<TcpListener> {
    let cannot = || format!("cannot listen on {address}");
    let found: Vec<_> = lookup_host(address).await.with_context(cannot)?.collect();
    // It is known before anybody can connect.
    ensure!(
        authenticates_peers || found.iter().all(|address| address.ip().is_loopback()),
        "{address} is not a loopback address, and peers are not authenticated: use {remedy}"
    );
    TcpListener::bind(&*found).await.with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_are_let_in_only_if_they_are_authenticated() {
        for address in ["127.0.0.1:0", "localhost:0"] {
            assert!(listen(address, false, "--x").await.is_ok(), "{address}");
        }
        let error = listen("0.0.0.0:0", false, "--x").await.unwrap_err();
        assert!(error.to_string().ends_with("use --x"), "{error}");
        assert!(listen("0.0.0.0:0", true, "--x").await.is_ok());
        assert!(listen("nonsense", true, "--x").await.is_err());
    }
}
