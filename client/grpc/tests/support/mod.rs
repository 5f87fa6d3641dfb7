// SPDX-License-Identifier: Apache-2.0
//! What the tests over real hosts share.

#![allow(
    dead_code,
    reason = "every test binary compiles this module and uses part of it"
)]

pub mod by_hand;
pub mod relay;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use code_mode_api::{
    CellResponse, CodeModeSession, ContentItem, ExecuteRequest, SessionError, SessionOptions,
    SessionProvider,
};
use code_mode_client_grpc::{Address, AddressConfig};
use code_mode_testsuite::{ListeningHost, NoTools};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::time::timeout;

/// Guards against a hang; a test that passes takes a small part of it.
pub const GUARD: Duration = Duration::from_secs(60);

/// A token that a host may ask for.
pub const TOKEN: &str = "a-token-0123456789abcdef";

/// The value of a future that must not hang.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("nothing here may hang")
}

/// Holds a paused clock still until it is dropped, or a guard's time is over: tokio moves a paused clock on when
/// nothing is left to do but to wait, and knows nothing of bytes that are on their way, but it never does while a
/// blocking task runs.
pub struct StoppedClock(mpsc::Sender<()>);

impl StoppedClock {
    /// Stops the clock of a test that has paused it.
    pub fn new() -> Self {
        let (held, dropped) = mpsc::channel();
        tokio::task::spawn_blocking(move || {
            // Nothing is ever sent.
            let _ = dropped.recv_timeout(GUARD);
        });
        Self(held)
    }
}

/// A session without tools.
pub async fn session(provider: &dyn SessionProvider) -> Arc<dyn CodeModeSession> {
    let session = provider.open_session(SessionOptions::default(), Arc::new(NoTools));
    in_time(session).await.expect("a session")
}

/// A request to run `source` with plenty of time.
pub fn script(source: &str) -> ExecuteRequest {
    ExecuteRequest {
        yield_time: Some(GUARD),
        ..ExecuteRequest::new(source)
    }
}

/// Runs a script to its first response.
pub async fn run(
    session: &Arc<dyn CodeModeSession>,
    source: &str,
) -> Result<CellResponse, SessionError> {
    in_time(async {
        let started = session.execute(script(source)).await?;
        started.first_response.await
    })
    .await
}

/// One text as output.
pub fn text(text: &str) -> Vec<ContentItem> {
    vec![ContentItem::Text(text.to_owned())]
}

/// Files that a host with TLS and tokens and its clients need.
pub struct Secrets {
    folder: TempDir,
    /// The host's certificate, which is its own authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The token.
    pub token: PathBuf,
}

impl Secrets {
    /// Makes a certificate for this machine, and a token.
    pub fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("is written");
            path
        };
        Self {
            certificate: file("certificate.pem", &cert.pem()),
            key: file("key.pem", &signing_key.serialize_pem()),
            token: file("token", TOKEN),
            folder,
        }
    }

    /// Makes one more file beside these.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("is written");
        path
    }
}

/// A host that listens, and ends with this value.
pub struct Host {
    host: ListeningHost,
    /// Where it listens.
    pub address: Address,
    /// What it needs of the file system.
    secrets: Option<Secrets>,
}

impl Host {
    /// Starts the host program under test on a TCP port of its own.
    pub fn start() -> Self {
        Self::with(&["--listen", "grpc://127.0.0.1:0"])
    }

    /// Starts it on a Unix socket.
    pub fn on_unix_socket() -> Self {
        let secrets = Secrets::new();
        let socket = secrets.file("socket", "");
        fs::remove_file(&socket).expect("it was there");
        let listen = format!("grpc+unix://{}", socket.display());
        let mut host = Self::with(&["--listen", &listen]);
        host.secrets = Some(secrets);
        host
    }

    /// Starts it with TLS and a token.
    pub fn with_tls() -> Self {
        let secrets = Secrets::new();
        let path = |path: &PathBuf| path.to_str().expect("is UTF-8").to_owned();
        let mut host = Self::with(&[
            "--listen",
            "grpc://127.0.0.1:0",
            "--tls-cert",
            &path(&secrets.certificate),
            "--tls-key",
            &path(&secrets.key),
            "--token-file",
            &path(&secrets.token),
        ]);
        host.secrets = Some(secrets);
        host
    }

    fn with(arguments: &[&str]) -> Self {
        let host = ListeningHost::start(arguments);
        Self {
            address: host.address().parse().expect("an address"),
            host,
            secrets: None,
        }
    }

    /// What a client of it needs.
    pub fn config(&self) -> AddressConfig {
        let mut config = AddressConfig::new(self.address.clone());
        if let (Address::Https { .. }, Some(secrets)) = (&self.address, &self.secrets) {
            config.ca_file = Some(secrets.certificate.clone());
            config.token_file = Some(secrets.token.clone());
        }
        config
    }

    /// The name and port of one that listens on TCP.
    pub fn authority(&self) -> &str {
        match &self.address {
            Address::Http { authority } | Address::Https { authority } => authority,
            Address::Unix { .. } => panic!("it listens on a Unix socket"),
        }
    }

    /// Kills it as `kill -9` does, and waits until it has ended.
    pub fn kill(&mut self) {
        self.host.kill();
    }

    /// Starts another where this one listened, which has ended.
    pub fn replace(&mut self) {
        let listen = format!("grpc://{}", self.authority());
        *self = Self::with(&["--listen", &listen]);
    }
}
