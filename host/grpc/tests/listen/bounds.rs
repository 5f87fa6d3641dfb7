// SPDX-License-Identifier: Apache-2.0
//! What strangers can make the listeners hold.

use std::net::SocketAddr;
use std::sync::Arc;

use code_mode_api::CancellationSignal;
use code_mode_host_grpc::Metrics;
use code_mode_host_grpc::limits::{HANDSHAKE_TIMEOUT, MAX_CONNECTIONS};
use code_mode_host_grpc::listen::{TcpOptions, Tls, serve_metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::Fixture;
use crate::{certificate, get, tcp};

/// Connects, and tells whether the host greets, as it does whom it serves.
async fn connect(address: SocketAddr) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).await.expect("it connects");
    // It may be closed already.
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let greeted = stream.read_u8().await.is_ok();
    (stream, greeted)
}

#[tokio::test]
async fn a_connection_beyond_the_bound_is_closed_and_a_place_that_is_free_is_given_again() {
    let fixture = Fixture::new().await;
    let address = tcp(&fixture, TcpOptions::default()).await;
    let mut served = Vec::new();
    for number in 0..MAX_CONNECTIONS {
        let (stream, greeted) = connect(address).await;
        assert!(greeted, "connection {number}");
        served.push(stream);
    }
    assert!(!connect(address).await.1, "there is no place");
    let page = fixture.served.door().metrics().render();
    assert!(page.contains("connections_refused_total 1\n"), "{page}");
    drop(served.pop());
    // The place is free once the host has seen that.
    while !connect(address).await.1 {}
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_is_dropped_in_time() {
    let fixture = Fixture::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path());
    let file = |name: &str| folder.path().join(name);
    let tls = Tls::read(file("cert.pem"), file("key.pem")).expect("they are good");
    let options = TcpOptions {
        tls: Some(Arc::new(tls)),
        tokens: None,
    };
    let address = tcp(&fixture, options).await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(address).await.expect("it connects");
    assert!(silent.read_u8().await.is_err(), "it is dropped");
    assert!(begun.elapsed() >= HANDSHAKE_TIMEOUT);
    let metrics = fixture.served.door().metrics();
    assert!(metrics.render().contains("connections_refused_total 1\n"));
}

/// A page of metrics, and what ends it.
async fn page() -> (SocketAddr, CancellationSignal) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    let end = CancellationSignal::new();
    let more = Arc::new(String::new);
    tokio::spawn(serve_metrics(
        listener,
        Arc::new(Metrics::default()),
        more,
        end.clone(),
    ));
    (address, end)
}

#[tokio::test]
async fn readers_of_the_metrics_are_bounded_in_number() {
    const MAX_READERS: usize = 16;
    let (address, _end) = page().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_READERS {
        silent.push(TcpStream::connect(address).await.expect("it connects"));
    }
    let mut beyond = TcpStream::connect(address).await.expect("it connects");
    assert!(beyond.read_u8().await.is_err(), "there is no place");
    drop(silent.pop());
    // The place is free once the host has seen that.
    while !get(address, "/metrics").await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_metrics_that_does_not_ask_is_dropped_in_time() {
    let (address, _end) = page().await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(address).await.expect("it connects");
    assert!(silent.read_u8().await.is_err(), "it is dropped");
    let taken = begun.elapsed().as_secs();
    assert!((5..10).contains(&taken), "{taken} s");
}
