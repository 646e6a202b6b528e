//! The shared token: the secret by which the processes of a cluster know each other.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use subtle::ConstantTimeEq;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use tracing::warn;

/// The most bytes of a token.
const BYTES: usize = 1_024;

/// The metadata in which it travels.
const AUTHORIZATION: &str = "authorization";

/// The scheme before it, as for a bearer token of HTTP.
const SCHEME: &str = "Bearer ";

/// The mode bits of those who are not the owner of a file.
const OTHERS: u32 = 0o077;

/// A shared token. No log shows it.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// Reads the token of a file. Whitespace at its end is not part of it.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).with_context(|| format!("cannot open the token file {shown}"))?;
        if file.metadata()?.permissions().mode() & OTHERS != 0 {
            warn!("others can open the token file {shown}: use chmod 600");
        }
        let mut text = String::new();
        let mut start = (&mut file).take(BYTES as u64 + 1);
        let read = start.read_to_string(&mut text);
        read.with_context(|| format!("cannot read the token file {shown}"))?;
        Self::new(&text).with_context(|| format!("the token file {shown} is not usable"))
    }

    /// Takes the text of a token: one word, which fits in a header.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        let token = text.trim_ascii_end();
        ensure!(!token.is_empty(), "it is empty");
        ensure!(text.len() <= BYTES, "it has more than {BYTES} bytes");
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(is_visible, "a token is one word of visible ASCII characters");
        Ok(Self(token.into()))
    }

    /// Compares in constant time. Only the length can be learned from it.
    pub fn is(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }

    /// Compares with the value of the header `authorization`.
    pub fn is_bearer(&self, authorization: &[u8]) -> bool {
        let presented = authorization.strip_prefix(SCHEME.as_bytes());
        presented.is_some_and(|presented| self.is(presented))
    }

    /// Returns the value of the header `authorization`.
    pub fn bearer(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Adds the token to the calls of a client.
#[derive(Debug, Clone, Default)]
pub struct SendToken(Option<MetadataValue<Ascii>>);

impl SendToken {
    pub fn new(token: Option<&Token>) -> Self {
        // A token is visible ASCII, and so always a value.
        let value = token.and_then(|token| token.bearer().parse().ok());
        Self(value.map(|mut value: MetadataValue<Ascii>| {
            value.set_sensitive(true);
            value
        }))
    }
}

impl Interceptor for SendToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }
}

/// Refuses calls without the token, if there is one.
#[derive(Debug, Clone, Default)]
pub struct CheckToken(Option<Token>);

impl CheckToken {
    pub fn new(token: Option<Token>) -> Self {
        Self(token)
    }
}

impl Interceptor for CheckToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.0 else {
            return Ok(request);
        };
        match request.metadata().get(AUTHORIZATION) {
            Some(presented) if token.is_bearer(presented.as_bytes()) => Ok(request),
            Some(_) => Err(Status::unauthenticated("the token is wrong: see --token-file")),
            None => Err(Status::unauthenticated("a token is needed: see --token-file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn token(text: &str) -> Token {
        Token::new(text).unwrap()
    }

    fn call(check: &CheckToken, send: &mut SendToken) -> Result<(), Code> {
        let request = send.call(Request::new(())).unwrap();
        let checked = check.clone().call(request);
        checked.map(|_| ()).map_err(|status| status.code())
    }

    #[test]
    fn only_the_same_token_is_accepted() {
        let check = CheckToken::new(Some(token("secret")));
        let send = |text| SendToken::new(Some(&token(text)));
        assert_eq!(call(&check, &mut send("secret")), Ok(()));
        for wrong in ["secre", "secret1", "Secret"] {
            assert_eq!(call(&check, &mut send(wrong)), Err(Code::Unauthenticated), "{wrong}");
        }
        assert_eq!(call(&check, &mut SendToken::default()), Err(Code::Unauthenticated));
        assert_eq!(call(&CheckToken::default(), &mut SendToken::default()), Ok(()));
    }

    #[test]
    fn bad_tokens_are_refused() {
        assert!(token("secret \r\n").is(b"secret"));
        for bad in ["", " \n", "two words", "käse", &"x".repeat(BYTES + 1)] {
            assert!(Token::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_log_shows_a_token() {
        let token = token("secret");
        let shown = format!(
            "{token:?} {:?} {:?}",
            SendToken::new(Some(&token)),
            CheckToken::new(Some(token.clone()))
        );
        assert!(!shown.contains("secret"), "{shown}");
    }
}
