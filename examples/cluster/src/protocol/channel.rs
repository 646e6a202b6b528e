//! Connections to a resource manager.

use anyhow::Context;
use tonic::transport::{Channel, Endpoint};

use super::limits;

/// Opens a connection to a resource manager.
pub async fn open_channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(limits::FIRST_MESSAGE);
    endpoint
        .connect()
        .await
        .with_context(|| format!("{address} cannot be reached"))
}
