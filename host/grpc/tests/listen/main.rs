// SPDX-License-Identifier: Apache-2.0
//! The listeners: who gets in over TCP, TLS and Unix sockets, and how they end.

mod bounds;
#[path = "../door/support.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod support;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use code_mode_api::CancellationSignal;
use code_mode_grpc::tonic::codegen::{Service, http::Uri};
use code_mode_grpc::tonic::transport::{Channel, Endpoint};
use code_mode_grpc::tonic::{Code, Request};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_host_grpc::listen::{
    TcpOptions, Tls, UnixError, bind_unix, serve_metrics, serve_tcp, serve_unix,
};
use code_mode_host_grpc::{Metrics, Tokens};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use support::Fixture;

const TOKEN: &str = "a-token-0123456789abcdef";
const OTHER_TOKEN: &str = "b-token-0123456789abcdef";

/// A TCP listener on loopback, served until the signal of the fixture.
async fn tcp(fixture: &Fixture, options: TcpOptions) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let served = fixture.served.clone();
    tokio::spawn(serve_tcp(served, listener, options, fixture.drain.clone()));
    address
}

async fn plain(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("is an address")
        .connect()
        .await
        .expect("it connects")
}

fn open<T: Default>(header: &'static str, value: &str) -> Request<T> {
    let mut request = Request::new(T::default());
    request
        .metadata_mut()
        .insert(header, value.parse().expect("is ASCII"));
    request
}

fn bearer<T: Default>(token: &str) -> Request<T> {
    open("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn a_request_of_a_browser_is_refused() {
    let fixture = Fixture::new().await;
    let address = tcp(&fixture, TcpOptions::default()).await;
    let mut client = CodeModeHostClient::new(plain(address).await);
    let request = open("origin", "http://example.org");
    let refused = client.get_process_metrics(request).await;
    assert_eq!(
        refused.expect_err("is refused").code(),
        Code::PermissionDenied
    );
    let refused = client
        .get_process_metrics(v1::GetProcessMetricsRequest {})
        .await;
    assert_eq!(refused.expect_err("is served").code(), Code::Unimplemented);
}

#[tokio::test]
async fn only_who_shows_a_token_gets_in_and_reaches_what_that_token_opened() {
    let mut fixture = Fixture::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, format!("{TOKEN}\n{OTHER_TOKEN}\n")).expect("is written");
    let options = TcpOptions {
        tls: None,
        tokens: Some(Arc::new(Tokens::read(&file).expect("they are tokens"))),
    };
    let address = tcp(&fixture, options).await;
    let mut client = CodeModeHostClient::new(plain(address).await);
    let refused = client.open_session(v1::OpenSessionRequest::default()).await;
    assert_eq!(
        refused.expect_err("is refused").code(),
        Code::Unauthenticated
    );
    let refused = client.open_session(bearer("a-token-that-is-none")).await;
    assert_eq!(
        refused.expect_err("is refused").code(),
        Code::Unauthenticated
    );
    let opened = client.open_session(bearer(TOKEN)).await;
    let mut lease = opened.expect("it opens").into_inner();
    let event = lease.message().await.expect("no error").expect("an event");
    let Some(v1::session_event::Event::Opened(opened)) = event.event else {
        panic!("{event:?}");
    };
    let mut session = fixture.opened.recv().await.expect("it was opened");
    let mut second = CodeModeHostClient::new(plain(address).await);
    let close = |token: &str| {
        let mut request: Request<v1::CloseSessionRequest> = bearer(token);
        request.get_mut().session_id.clone_from(&opened.session_id);
        request
    };
    let refused = second.close_session(close(OTHER_TOKEN)).await;
    assert_eq!(refused.expect_err("is another's").code(), Code::NotFound);
    let (closed, ()) = tokio::join!(second.close_session(close(TOKEN)), session.end());
    closed.expect("the token opened it");
}

/// A certificate for `localhost` in files.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("is made");
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("is written");
    fs::write(folder.join("cert.pem"), cert.pem()).expect("is written");
    cert.der().clone()
}

/// Connects with TLS and trusts this certificate alone.
async fn shake_hands(address: SocketAddr, trusted: CertificateDer<'static>) -> io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("is a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("they are known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("is a name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let (_, connection) = stream.get_ref();
    Ok(connection.alpn_protocol().unwrap_or_default().to_vec())
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_used_from_the_next_connection_on() {
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = certificate(folder.path());
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let options = TcpOptions {
        tls: Some(Arc::new(Tls::read(&cert, &key).expect("they are good"))),
        tokens: None,
    };
    let address = tcp(&fixture, options).await;
    let spoken = shake_hands(address, first.clone())
        .await
        .expect("is trusted");
    assert_eq!(spoken, b"h2");
    fs::write(&cert, "no certificate").expect("is written");
    let spoken = shake_hands(address, first.clone()).await;
    assert!(spoken.is_ok(), "what cannot be used changes nothing");
    let second = certificate(folder.path());
    assert!(shake_hands(address, first).await.is_err(), "it is gone");
    assert!(shake_hands(address, second).await.is_ok());
    assert!(Tls::read(&cert, folder.path().join("none")).is_err());
}

/// Connects to a Unix socket.
#[derive(Clone)]
struct Socket(Arc<Path>);

impl Service<Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.0);
        Box::pin(async move { UnixStream::connect(&path).await.map(TokioIo::new) })
    }
}

#[tokio::test]
async fn a_unix_socket_serves_its_own_user_and_is_gone_with_its_listener() {
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = bind_unix(&path, false).expect("it listens");
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        bind_unix(&path, false),
        Err(UnixError::Taken { .. })
    ));
    let serving = serve_unix(
        fixture.served.clone(),
        listener,
        Vec::new(),
        fixture.drain.clone(),
    );
    let serving = tokio::spawn(serving);
    let channel = Endpoint::from_static("http://code-mode-host")
        .connect_with_connector(Socket(Arc::from(path.clone())))
        .await
        .expect("it connects");
    let mut client = CodeModeHostClient::new(channel);
    let answered = client
        .get_process_metrics(v1::GetProcessMetricsRequest {})
        .await;
    assert_eq!(answered.expect_err("is served").code(), Code::Unimplemented);
    drop(client);
    fixture.drain.cancel();
    serving.await.expect("no panic");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("it listens"));
    assert!(path.exists());
    drop(bind_unix(&path, true).expect("it is replaced"));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
    let file = folder.path().join("file");
    fs::write(&file, "").expect("is written");
    assert!(matches!(
        bind_unix(&file, false),
        Err(UnixError::Taken { .. })
    ));
    let nowhere = folder.path().join("nowhere/socket");
    assert!(matches!(
        bind_unix(&nowhere, false),
        Err(UnixError::Bind { .. })
    ));
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("is read");
    answer
}

#[tokio::test]
async fn the_page_of_metrics_is_there_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let metrics = Arc::new(Metrics::default());
    metrics.sessions.up();
    let more = Arc::new(|| "more 1\n".to_owned());
    let end = CancellationSignal::new();
    let serving = tokio::spawn(serve_metrics(listener, metrics, more, end.clone()));
    let page = get(address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(
        page.contains("\ncode_mode_grpc_sessions 1\n") && page.ends_with("more 1\n"),
        "{page}"
    );
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
    end.cancel();
    serving.await.expect("no panic");
}
