// SPDX-License-Identifier: Apache-2.0
//! One HTTP/2 connection to a host, and the calls on it.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use code_mode_client::SentExecutes;
use code_mode_grpc::ERROR_CODE_METADATA;
use code_mode_grpc::MAX_MESSAGE_BYTES;
use code_mode_grpc::extensions::DescribeRequest;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::{Service, http};
use code_mode_grpc::tonic::{Code, Status};
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, UnixStream, lookup_host};
use tokio::sync::watch;

use crate::Address;
use crate::config::AddressConfig;
use crate::proof;
use crate::tls::{self, TlsError};

/// What the host may send on one stream before the client has read it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What the host may send on the connection before the client has read it, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// The largest file with a token, in bytes.
const MAX_TOKEN_FILE_BYTES: u64 = 64 << 10;

/// What stands for the host's name where the address has none, as the Codex CLI has it.
const NAMELESS: &str = "http://code-mode-host";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the token cannot be read from {}: {cause}", .path.display())]
    Token { path: PathBuf, cause: String },
    #[error(
        "the token would go to {0} without encryption; use https, a Unix socket, or a host on loopback"
    )]
    PlainToken(IpAddr),
    #[error("it does not speak HTTP/2: {0}")]
    Handshake(hyper::Error),
    #[error("it is no name that can be asked for: {0}")]
    Name(#[from] http::uri::InvalidUri),
}

/// The sending half of a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    send: SendRequest<Body>,
    token: Option<http::HeaderValue>,
}

/// A connection, and the calls that can be made on it.
pub(crate) struct Wire {
    pub(crate) host: CodeModeHostClient<Requests>,
    pub(crate) extensions: CodeModeExtensionsClient<Requests>,
    /// Which executes that go over it may have run.
    pub(crate) sent: SentExecutes,
    /// Set once the connection has ended, with why.
    pub(crate) ended: watch::Receiver<Option<String>>,
}

impl Wire {
    /// Makes a connection.
    pub(crate) async fn connect(config: &AddressConfig) -> Result<Self, ConnectError> {
        let token = config.token_file.as_deref().map(token).transpose()?;
        match &config.address {
            Address::Http { authority } => {
                let is_secret = token.is_some() && !config.allow_plain_token;
                let stream = dial_plainly(authority, is_secret).await?;
                Self::over(stream, &format!("http://{authority}"), token, config).await
            }
            Address::Https { authority } => {
                let stream = dial(authority).await?;
                let name = authority.rsplit_once(':').map_or("", |(name, _)| name);
                let stream = tls::shake_hands(stream, name, config.ca_file.as_ref()).await?;
                Self::over(stream, &format!("https://{authority}"), token, config).await
            }
            Address::Unix { path } => {
                let stream = UnixStream::connect(path).await?;
                Self::over(stream, NAMELESS, token, config).await
            }
        }
    }

    async fn over<IO>(
        stream: IO,
        origin: &str,
        token: Option<http::HeaderValue>,
        config: &AddressConfig,
    ) -> Result<Self, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let origin: http::Uri = origin.parse()?;
        let (send, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(config.ping_interval)
            .keep_alive_timeout(config.ping_deadline)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Handshake)?;
        let (tell, ended) = watch::channel(None);
        // It ends when the connection does, or when nobody holds the sending half any more.
        tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => "the host has closed it".to_owned(),
                Err(error) => with_causes(&error),
            };
            tell.send_replace(Some(why));
        });
        let requests = Requests { send, token };
        let host = CodeModeHostClient::with_origin(requests.clone(), origin.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let extensions = CodeModeExtensionsClient::with_origin(requests, origin)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            host,
            extensions,
            sent: SentExecutes::default(),
            ended,
        })
    }

    /// Asks what the host has beside the contract, which also shows whether it lets this client in.
    pub(crate) async fn describe(&mut self) -> Result<Vec<String>, String> {
        match self.extensions.describe(DescribeRequest {}).await {
            Ok(described) => Ok(described.into_inner().capabilities),
            Err(status) if status.code() == Code::Unimplemented => Ok(Vec::new()),
            Err(status) => Err(match status.code() {
                Code::Unauthenticated => format!(
                    "the host does not accept the token, or there is none: {}",
                    status.message()
                ),
                _ => why(&status),
            }),
        }
    }
}

/// Connects without encryption. Who has a secret to tell connects to nothing but this machine.
async fn dial_plainly(authority: &str, is_secret: bool) -> Result<TcpStream, ConnectError> {
    if !is_secret {
        return Ok(dial(authority).await?);
    }
    // Looked up once, so that what was checked is what is connected to.
    let found: Vec<_> = lookup_host(authority).await?.collect();
    let elsewhere = |ip: &IpAddr| !ip.to_canonical().is_loopback();
    match found.iter().map(|found| found.ip()).find(elsewhere) {
        Some(ip) => Err(ConnectError::PlainToken(ip)),
        None => Ok(dial(found.as_slice()).await?),
    }
}

async fn dial(to: impl ToSocketAddrs) -> Result<TcpStream, io::Error> {
    let stream = TcpStream::connect(to).await?;
    // Small messages must not wait for each other.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn token(path: &Path) -> Result<http::HeaderValue, ConnectError> {
    let failed = |cause: String| ConnectError::Token {
        path: path.to_owned(),
        cause,
    };
    let bytes = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > MAX_TOKEN_FILE_BYTES {
        return Err(failed(format!(
            "it has more than {MAX_TOKEN_FILE_BYTES} bytes"
        )));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lines = text.lines().map(str::trim);
    // As in the host's own file: blank lines and comments are no tokens.
    let mut tokens = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let token = tokens
        .next()
        .ok_or_else(|| failed("there is none in it".to_owned()))?;
    let value = http::HeaderValue::try_from(format!("Bearer {token}"));
    // What is wrong is not said: a token is in no error.
    let mut value = value.map_err(|_| failed("it is no token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A transport's error in words, with what brought it about.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Whether a status was made on this side, because the connection or a stream has broken.
pub(crate) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Whether a status says that nothing can be had of the session any more: the connection has broken, or
/// what stands before the host has lost it. A refusal that has a code of ours is the host's own word.
pub(crate) fn is_lost(status: &Status) -> bool {
    let is_named = status.metadata().contains_key(ERROR_CODE_METADATA);
    is_broken(status) || (status.code() == Code::Unavailable && !is_named)
}

/// A status in words.
pub(crate) fn why(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => with_causes(source),
        None => status.message().to_owned(),
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<http::Response<Incoming>, hyper::Error>> + Send>>;

impl Service<http::Request<Body>> for Requests {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Sending;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.send.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Sending {
        if let Some(token) = &self.token {
            let name = http::header::AUTHORIZATION;
            request.headers_mut().insert(name, token.clone());
        }
        Box::pin(self.send.send_request(proof::watched(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_goes_to_no_other_machine_without_encryption() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, "0123456789abcdef").expect("written");
        // Nobody has these addresses; an attempt to connect would take its time.
        for (address, ip) in [
            ("http://192.0.2.1:7000", "192.0.2.1"),
            ("http://[2001:db8::1]:7000", "2001:db8::1"),
        ] {
            let mut config = AddressConfig::new(address.parse().expect("an address"));
            config.token_file = Some(path.clone());
            let Err(error) = Wire::connect(&config).await else {
                panic!("{address} is another machine");
            };
            assert!(error.to_string().contains(ip), "{error}");
            assert!(matches!(error, ConnectError::PlainToken(_)), "{error}");
        }
        for local in ["127.0.0.1:0", "[::ffff:127.0.0.1]:0"] {
            let Err(error) = dial_plainly(local, true).await else {
                panic!("nobody listens on port 0");
            };
            assert!(matches!(error, ConnectError::Io(_)), "{error}");
        }
    }

    #[test]
    fn a_token_is_the_first_line_that_is_no_comment_and_is_in_no_error() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, "# for tests\n\n 0123456789abcdef \nanother\n").expect("written");
        let value = token(&path).expect("a token");
        assert_eq!(value.to_str().ok(), Some("Bearer 0123456789abcdef"));
        assert!(value.is_sensitive());
        fs::write(&path, "secret\u{1}secret").expect("written");
        let error = token(&path).expect_err("no token").to_string();
        assert!(!error.contains("secret"), "{error}");
        let padding = "#".repeat(MAX_TOKEN_FILE_BYTES as usize);
        fs::write(&path, format!("token\n{padding}")).expect("written");
        let error = token(&path).expect_err("too long").to_string();
        assert!(error.contains("more than 65536 bytes"), "{error}");
        fs::write(&path, "# nothing\n").expect("written");
        assert!(token(&path).is_err());
        assert!(token(&folder.path().join("none")).is_err());
    }
}
