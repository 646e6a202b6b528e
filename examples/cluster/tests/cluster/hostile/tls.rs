//! Peers with the wrong certificate, or without one.

use std::error::Error;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::attacked::{Attacked, TOKEN};
use super::peer::Peer;
use super::register;

/// The certificate of a CA, and a certificate of it with its key. All are PEM.
struct Certificates {
    ca: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let host = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let certificate = host.signed_by(&key, &authority).expect("a certificate");
        Self {
            ca: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes the files, and returns the options that name them.
    fn options(&self, folder: &Path) -> Vec<String> {
        let files = [
            ("--tls-cert", "cert.pem", &self.certificate),
            ("--tls-key", "key.pem", &self.key),
            ("--tls-ca", "ca.pem", &self.ca),
        ];
        let options = files.map(|(option, name, text)| {
            let file = folder.join(name);
            std::fs::write(&file, text).expect("a writable file");
            [option.to_owned(), file.to_str().expect("a path in UTF-8").to_owned()]
        });
        options.concat()
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }

    fn ca(&self) -> Certificate {
        Certificate::from_pem(&self.ca)
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tries to register as a worker, and returns the error.
async fn refusal(address: &str, tls: Option<ClientTlsConfig>) -> String {
    let endpoint = match tls {
        None => Endpoint::from_shared(format!("http://{address}")),
        Some(tls) => {
            let endpoint = Endpoint::from_shared(format!("https://{address}"));
            endpoint.and_then(|endpoint| endpoint.tls_config(tls))
        }
    };
    match Peer::connect_to(endpoint.expect("an address"), Some(TOKEN)).await {
        Err(error) => format!("{error:?}"),
        Ok(peer) => {
            let status = peer.end_of_task_executor(vec![register(1)]).await;
            // A status that the resource manager has sent has no source.
            assert!(status.source().is_some(), "{status}");
            format!("{status:?}")
        }
    }
}

#[test]
fn only_peers_with_a_certificate_of_the_ca_take_part() {
    // given
    let (ours, others) = (Certificates::new(), Certificates::new());
    let (folder, other_folder) = (Folder::new("tls"), Folder::new("other-tls"));
    let options = ours.options(&folder.0);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut attacked = Attacked::start("tls", &options);

    let client = || ClientTlsConfig::new().ca_certificate(ours.ca());
    for (what, tls, part) in [
        ("no TLS", None, ""),
        ("no certificate", Some(client()), ""),
        (
            "a certificate of another CA",
            Some(client().identity(others.identity())),
            "",
        ),
        (
            "a peer that trusts another CA",
            Some(
                ClientTlsConfig::new()
                    .ca_certificate(others.ca())
                    .identity(ours.identity()),
            ),
            "InvalidCertificate",
        ),
    ] {
        // when
        let before = attacked.state();
        let refusal = attacked.run(async |address| refusal(&address, tls).await);

        // then
        println!("{what}: {refusal}");
        assert!(refusal.contains(part), "{what}: {refusal}");
        attacked.assert_unchanged(what, &before);
    }

    // A worker with the wrong CA says so.
    let before = attacked.state();
    let options = others.options(&other_folder.0);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    attacked.start_stranger(&options);
    attacked.wait_for_log("stranger", "invalid peer certificate");
    attacked.end_stranger();
    attacked.assert_unchanged("a worker with another CA", &before);
    attacked.finish();
}
