//! Who may talk to whom: by a shared token, by mutual TLS, or both.

use std::path::PathBuf;

use super::token::Token;

#[cfg(feature = "tls")]
use super::tls::{Tls, TlsOptions};

/// The options by which peers are authenticated, for the error of a process without them.
pub const PEER_OPTIONS: &str = if cfg!(feature = "tls") {
    "--token-file, or --tls-cert with --tls-key and --tls-ca"
} else {
    "--token-file, or --tls-cert in a build with the feature `tls`"
};

/// The option of the shared token.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TokenOption {
    /// File of the token that all processes of the cluster share
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl TokenOption {
    /// Reads the token, if there is one.
    pub fn load(&self) -> anyhow::Result<Option<Token>> {
        self.token_file.as_deref().map(Token::read).transpose()
    }
}

/// The options that all processes share. All of a cluster have the same.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SecurityOptions {
    #[command(flatten)]
    pub token: TokenOption,
    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub tls: TlsOptions,
}

impl SecurityOptions {
    /// Reads the files.
    pub fn load(&self) -> anyhow::Result<Security> {
        Ok(Security {
            token: self.token.load()?,
            #[cfg(feature = "tls")]
            tls: Tls::load(&self.tls)?,
        })
    }

    /// Returns the same options as arguments for a worker, which may start in another folder.
    pub fn arguments(&self) -> anyhow::Result<Vec<String>> {
        let mut arguments = Vec::new();
        for (option, file) in self.files() {
            if let Some(file) = file {
                let file = std::path::absolute(file)?.into_os_string().into_string();
                let file = file.map_err(|file| anyhow::anyhow!("{} is not text", file.display()))?;
                arguments.extend([option.to_owned(), file]);
            }
        }
        #[cfg(feature = "tls")]
        if let Some(name) = &self.tls.tls_server_name {
            arguments.extend(["--tls-server-name".to_owned(), name.clone()]);
        }
        Ok(arguments)
    }

    fn files(&self) -> Vec<(&'static str, Option<&PathBuf>)> {
        vec![
            ("--token-file", self.token.token_file.as_ref()),
            #[cfg(feature = "tls")]
            ("--tls-cert", self.tls.tls_cert.as_ref()),
            #[cfg(feature = "tls")]
            ("--tls-key", self.tls.tls_key.as_ref()),
            #[cfg(feature = "tls")]
            ("--tls-ca", self.tls.tls_ca.as_ref()),
        ]
    }
}

/// The secrets of a process. Without any, its peers must be on the same machine.
#[derive(Debug, Clone, Default)]
pub struct Security {
    pub token: Option<Token>,
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl Security {
    /// Returns `true` if peers must show that they belong to the cluster.
    pub fn authenticates_peers(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        self.token.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line;

    fn parse(arguments: &[&str]) -> Result<SecurityOptions, clap::Error> {
        command_line::parse(arguments)
    }

    #[test]
    fn workers_get_the_same_options() {
        assert_eq!(parse(&[]).unwrap().arguments().unwrap(), [""; 0]);
        let arguments = parse(&["--token-file", "/a/token"]).unwrap().arguments().unwrap();
        assert_eq!(arguments, ["--token-file", "/a/token"]);
        let arguments = parse(&["--token-file", "token"]).unwrap().arguments().unwrap();
        assert!(PathBuf::from(&arguments[1]).is_absolute());
    }

    #[test]
    fn nothing_is_authenticated_without_options() {
        assert!(!parse(&[]).unwrap().load().unwrap().authenticates_peers());
        assert!(parse(&["--token-file", "/no/such/file"]).unwrap().load().is_err());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn options_of_tls_belong_together() {
        assert!(parse(&["--tls-cert", "a"]).is_err());
        assert!(parse(&["--tls-key", "a", "--tls-ca", "b"]).is_err());
        assert!(parse(&["--tls-server-name", "a"]).is_err());
        let all = [
            "--tls-cert",
            "/a",
            "--tls-key",
            "/b",
            "--tls-ca",
            "/c",
            "--tls-server-name",
            "d",
        ];
        assert_eq!(parse(&all).unwrap().arguments().unwrap(), all);
    }
}
