//! Mutual TLS: each process shows a certificate of one CA, and wants one from its peer.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

use super::limits;

/// The options of TLS. All processes of a cluster have them, or none.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TlsOptions {
    /// Certificate of this process, in PEM; its peers must show one of the same CA
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Certificate of the CA, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,

    /// Name in the certificates of peers, if it is not the host of the address that is dialled
    #[arg(long, value_name = "NAME", requires = "tls_cert")]
    pub tls_server_name: Option<String>,
}

/// The certificates of a process. No log shows its key.
#[derive(Clone)]
pub struct Tls {
    client: ClientTlsConfig,
    server: ServerTlsConfig,
}

impl Tls {
    /// Reads the certificates, if there are any.
    ///
    /// # Errors
    /// A file cannot be read, or TLS cannot use it.
    pub fn load(options: &TlsOptions) -> anyhow::Result<Option<Self>> {
        let (Some(certificate), Some(key), Some(ca)) = (&options.tls_cert, &options.tls_key, &options.tls_ca) else {
            return Ok(None);
        };
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        let ca = Certificate::from_pem(read(ca)?);
        let mut client = ClientTlsConfig::new()
            .identity(identity.clone())
            .ca_certificate(ca.clone())
            .timeout(limits::CONNECT);
        if let Some(name) = &options.tls_server_name {
            client = client.domain_name(name);
        }
        let server = ServerTlsConfig::new()
            .identity(identity)
            .client_ca_root(ca)
            .timeout(limits::CONNECT);
        // Finds mistakes in the files now, not at the first connection.
        let server_check = Server::builder().tls_config(server.clone());
        server_check.context("the certificate, its key or the CA is not usable")?;
        let client_check = Endpoint::from_static("https://localhost").tls_config(client.clone());
        client_check.context("the certificate, the CA or the server name is not usable")?;
        Ok(Some(Self { client, server }))
    }

    pub fn client(&self) -> ClientTlsConfig {
        self.client.clone()
    }

    pub fn server(&self) -> ServerTlsConfig {
        self.server.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
