// SPDX-License-Identifier: Apache-2.0
//! What a host with tokens tells those who show none: whether it is healthy, and nothing else.

use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::{Service, http};
use code_mode_grpc::tonic::transport::Channel;
use code_mode_grpc::tonic::{Code, Request};
use code_mode_grpc::tonic_health::pb::health_client::HealthClient;
use code_mode_grpc::tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use code_mode_host_grpc::Tokens;
use code_mode_host_grpc::limits::{CHECK_TIMEOUT, MAX_CHECK_BYTES, MAX_CHECKS};
use http_body::Frame;
use tokio::time::Instant;

use crate::raw::{DATA, END_STREAM, HEADERS, Raw, enclosed};
use crate::support::Fixture;

const TOKEN: &str = "a-token-0123456789abcdef";

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// A door whose clients must show a token.
async fn guarded() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, TOKEN).expect("is written");
    let tokens = Tokens::read(&file).expect("they are tokens");
    let mut fixture = Fixture::new().await;
    // They stay in force when the file is gone.
    fixture.tokens = Some(Arc::new(tokens));
    fixture
}

async fn check(channel: &Channel, service: &str) -> Result<i32, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let checked = HealthClient::new(channel.clone()).check(request).await;
    checked
        .map(|response| response.into_inner().status)
        .map_err(|status| status.code())
}

/// How a call with these headers is refused, if it is before it has an answer.
async fn refused(
    channel: &Channel,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Option<Code> {
    let mut request = http::Request::post(format!("http://code-mode-host{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("it is a request");
    let mut channel = channel.clone();
    poll_fn(|context| channel.poll_ready(context))
        .await
        .expect("the connection goes on");
    let response = channel.call(request).await.expect("it is answered");
    let status = response.headers().get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// The body of a call whose message is empty.
fn empty() -> Body {
    Body::new("\0\0\0\0\0".to_owned())
}

#[tokio::test]
async fn whether_a_host_with_tokens_is_healthy_is_told_to_whoever_asks() {
    let fixture = guarded().await;
    let channel = fixture.channel().await;
    let services = ["", "codex.code_mode.v1.CodeModeHost"];
    for service in services {
        assert_eq!(check(&channel, service).await, Ok(SERVING), "{service}");
    }
    assert_eq!(check(&channel, "unknown").await, Err(Code::NotFound));
    let wrong = [("authorization", "Bearer none-of-the-tokens")];
    assert_eq!(refused(&channel, CHECK, &wrong, empty()).await, None);
    fixture.served.drain().await;
    for service in services {
        assert_eq!(check(&channel, service).await, Ok(NOT_SERVING), "{service}");
    }
}

#[tokio::test]
async fn nothing_but_the_health_check_is_answered_without_a_token() {
    let mut fixture = guarded().await;
    let channel = fixture.channel().await;
    let bearer = format!("Bearer {TOKEN}");
    let shown = [("authorization", bearer.as_str())];
    let paths = [
        "/codex.code_mode.v1.CodeModeHost/OpenSession",
        "/codex.code_mode.v1.CodeModeHost/Execute",
        "/codex.code_mode.v1.CodeModeHost/GetProcessMetrics",
        "/code_mode.v1.CodeModeExtensions/Describe",
        "/code_mode.v1.CodeModeExtensions/ListCells",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/check",
        "/grpc.health.v1.Health/Check/",
        "/grpc.health.v1.Health//Check",
        "//grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Check%00",
        "/code_mode.v1.CodeModeExtensions/../grpc.health.v1.Health/Check",
        "/metrics",
        "/",
    ];
    for path in paths {
        let stranger = refused(&channel, path, &[], empty()).await;
        assert_eq!(stranger, Some(Code::Unauthenticated), "{path}");
        let holder = refused(&channel, path, &shown, empty()).await;
        assert_ne!(holder, Some(Code::Unauthenticated), "{path}");
    }
    let page = fixture.served.door().metrics().render();
    let counted = format!("requests_refused_total {}\n", paths.len());
    assert!(page.contains(&counted), "{page}");
    // The holder's one was.
    fixture.opened.try_recv().expect("it was opened");
    assert!(fixture.opened.try_recv().is_err());
}

#[tokio::test]
async fn a_health_check_of_a_browser_is_refused() {
    let fixture = guarded().await;
    let channel = fixture.channel().await;
    let origin = [("origin", "http://example.org")];
    let code = refused(&channel, CHECK, &origin, empty()).await;
    assert_eq!(code, Some(Code::PermissionDenied));
}

#[tokio::test]
async fn a_health_check_is_bounded_in_bytes() {
    let fixture = guarded().await;
    let channel = fixture.channel().await;
    // The field's tag, and two bytes for its length.
    let longest = "x".repeat(MAX_CHECK_BYTES - 3);
    assert_eq!(check(&channel, &longest).await, Err(Code::NotFound));
    let longer = format!("{longest}x");
    assert_eq!(check(&channel, &longer).await, Err(Code::OutOfRange));
}

/// A body that never comes.
struct Awaited;

impl http_body::Body for Awaited {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_is_not_asked_to_its_end_is_refused_in_time() {
    let fixture = guarded().await;
    let channel = fixture.channel().await;
    let begun = Instant::now();
    let code = refused(&channel, CHECK, &[], Body::new(Awaited)).await;
    assert_eq!(code, Some(Code::DeadlineExceeded));
    let taken = begun.elapsed();
    assert!(
        CHECK_TIMEOUT <= taken && taken < 2 * CHECK_TIMEOUT,
        "{taken:?}"
    );
    assert_eq!(check(&channel, "").await, Ok(SERVING));
}

/// The stream of the next headers, and whether they are all that there is: a refusal.
async fn next_answer(raw: &mut Raw) -> (u32, bool) {
    loop {
        let frame = raw.next().await.expect("the connection goes on");
        if frame.kind == HEADERS {
            return (frame.stream, frame.flags & END_STREAM != 0);
        }
    }
}

/// Asks, and gives the stream and whether it was refused.
async fn ask(raw: &mut Raw) -> (u32, bool) {
    let stream = raw.begin(CHECK).await;
    let message = enclosed(&HealthCheckRequest::default());
    raw.frame(DATA, END_STREAM, stream, &message).await;
    let (answered, is_refused) = next_answer(raw).await;
    assert_eq!(answered, stream);
    (stream, is_refused)
}

#[tokio::test]
async fn health_checks_that_are_begun_and_not_asked_are_bounded_in_number() {
    let fixture = guarded().await;
    let (io, _serving) = fixture.io();
    let mut raw = Raw::greet(io, 1 << 20).await;
    let mut begun = Vec::new();
    for _ in 0..MAX_CHECKS {
        begun.push(raw.begin(CHECK).await);
    }
    let beyond = raw.begin(CHECK).await;
    assert_eq!(next_answer(&mut raw).await, (beyond, true), "the first one");
    let message = enclosed(&HealthCheckRequest::default());
    for stream in begun {
        raw.frame(DATA, END_STREAM, stream, &message).await;
        assert_eq!(next_answer(&mut raw).await, (stream, false));
        let serving = enclosed(&HealthCheckResponse { status: SERVING });
        let frame = raw.next().await.expect("the connection goes on");
        assert_eq!((frame.kind, frame.payload), (DATA, serving));
        assert_eq!(next_answer(&mut raw).await, (stream, true), "its trailers");
    }
}

#[tokio::test]
async fn health_checks_whose_answers_are_not_taken_are_bounded_in_number() {
    let fixture = guarded().await;
    let (io, _serving) = fixture.io();
    // It gives the host no room to send anything but headers.
    let mut raw = Raw::greet(io, 0).await;
    let mut begun = Vec::new();
    for _ in 0..MAX_CHECKS {
        let (stream, is_refused) = ask(&mut raw).await;
        assert!(!is_refused);
        begun.push(stream);
    }
    assert!(ask(&mut raw).await.1, "there is no place");
    raw.reset(begun[0]).await;
    // The place is free once the host has seen that.
    while ask(&mut raw).await.1 {}
}

#[tokio::test]
async fn a_health_watch_needs_a_token_and_is_served_with_one() {
    let fixture = guarded().await;
    let mut health = HealthClient::new(fixture.channel().await);
    let refused = health.watch(HealthCheckRequest::default()).await;
    let refused = refused.expect_err("it would be held for a stranger");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut request = Request::new(HealthCheckRequest::default());
    let bearer = format!("Bearer {TOKEN}").parse().expect("is ASCII");
    request.metadata_mut().insert("authorization", bearer);
    let mut watched = health.watch(request).await.expect("it is").into_inner();
    let told = watched.message().await.expect("no error");
    assert_eq!(told.expect("it goes on").status, SERVING);
}
