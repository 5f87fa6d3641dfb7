// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pretty_assertions::assert_eq;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ServerCapabilities, ServerConfig,
};
use rmcp::service::SubscriptionContext;
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::*;

/// A server of the newest revision whose subscriptions last for these times, one after the other; the one
/// behind them lasts.
struct Forgetful {
    lasting: Mutex<VecDeque<Duration>>,
    /// Hears of each subscription.
    begun: mpsc::UnboundedSender<Instant>,
}

impl ServerHandler for Forgetful {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Owned(vec![ProtocolVersion::LATEST])
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, _context: SubscriptionContext) -> Result<(), ErrorData> {
        self.begun.send(Instant::now()).unwrap();
        let lasts = self.lasting.lock().unwrap().pop_front();
        match lasts {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_has_ended_is_renewed_after_a_pause_that_grows() {
    let (begun, mut subscriptions) = mpsc::unbounded_channel();
    let mut lasting = vec![Duration::ZERO; 8];
    lasting.extend([MAX_FOLLOW_PAUSE, Duration::ZERO]);
    let times = lasting.len();
    let server = Forgetful {
        lasting: Mutex::new(lasting.into()),
        begun,
    };
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    // Whoever serves without a greeting has a client only with its first request.
    let serving = tokio::spawn(async move {
        let served = server.serve(theirs).await.unwrap();
        served.waiting().await.unwrap()
    });
    let greeting = Greeting::Discover.lifecycle();
    let connected = Ears::default().serve_with_lifecycle(ours, greeting).await;
    let client = connected.unwrap();
    let ears = Ears::default();
    let mut seen = Vec::new();
    {
        let follow = follow_tools(client.peer(), &ears);
        let mut follow = std::pin::pin!(follow);
        while seen.len() <= times {
            tokio::select! {
                () = &mut follow => panic!("it never ends"),
                begun = subscriptions.recv() => seen.push(begun.unwrap()),
            }
        }
    }
    let between: Vec<u64> = seen
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs())
        .collect();
    let longest = MAX_FOLLOW_PAUSE.as_secs();
    // The last but one has lasted so long that the pause behind it is the first again.
    let expected = [1, 2, 4, 8, 16, 32, longest, longest, longest + 1, 2];
    assert_eq!(FIRST_FOLLOW_PAUSE.as_secs(), 1);
    assert_eq!(between, expected);
    // What has changed in between was told to nobody: the list is asked for again.
    ears.tools_changed.notified().await;
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_accept_the_connection_is_given_up_in_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // The system takes one more than it was told; then it lets clients wait.
    let _waiting = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
    let spec = TransportSpec::Http {
        url: format!("http://{address}/mcp"),
        headers: BTreeMap::new(),
    };
    let begun = Instant::now();
    let error = connect(&spec, Greeting::Initialize).await.err().unwrap();
    assert!(!error.other_greeting, "{}", error.cause);
    let waited = begun.elapsed();
    let room = HTTP_CONNECT_TIMEOUT..HTTP_CONNECT_TIMEOUT + Duration::from_secs(1);
    assert!(room.contains(&waited), "{waited:?}: {}", error.cause);
}

/// An HTTP server that holds every call until it is let go.
struct Holding {
    /// Hears of each call that has come.
    came: mpsc::UnboundedSender<()>,
    /// Lets calls go.
    released: Semaphore,
    /// Calls that are held now, and the most that ever were.
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Holding {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let holding = Arc::clone(&self);
            connections.spawn(async move {
                let service = service_fn(|request| {
                    let holding = Arc::clone(&holding);
                    async move { Ok::<_, Infallible>(holding.answer(request).await) }
                });
                // The client ends it as it pleases.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let empty = |status| {
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            response
        };
        if request.method() != Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let message: Value = serde_json::from_slice(&body).unwrap();
        let result = match message["method"].as_str().unwrap() {
            "initialize" => json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "holding", "version": "1"},
            }),
            "tools/call" => {
                let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(held, Ordering::SeqCst);
                self.came.send(()).unwrap();
                self.released.acquire().await.unwrap().forget();
                self.held.fetch_sub(1, Ordering::SeqCst);
                json!({"content": []})
            }
            _ => return empty(StatusCode::ACCEPTED),
        };
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let mut response = Response::new(Full::from(answer.to_string()));
        let kind = HeaderValue::from_static("application/json");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, kind);
        response
    }
}

#[tokio::test]
async fn no_more_requests_come_to_a_server_over_http_at_one_time_than_it_may_have() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (came, mut calls) = mpsc::unbounded_channel();
    let holding = Arc::new(Holding {
        came,
        released: Semaphore::new(0),
        held: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let serving = tokio::spawn(Arc::clone(&holding).serve(listener));
    let spec = TransportSpec::Http {
        url: format!("http://{address}/mcp"),
        headers: BTreeMap::new(),
    };
    let connected = connect(&spec, Greeting::Initialize).await;
    let connection = connected.map_err(|error| error.cause).ok().unwrap();
    let mut asked = JoinSet::new();
    for _ in 0..2 * MAX_HTTP_REQUESTS {
        let peer = connection.peer.clone();
        let call = CallToolRequest::new(CallToolRequestParams::new("hold"));
        asked.spawn(async move {
            peer.send_request(ClientRequest::CallToolRequest(call))
                .await
        });
    }
    for _ in 0..MAX_HTTP_REQUESTS {
        calls.recv().await.unwrap();
    }
    // Each that is let go makes room for one.
    for _ in 0..MAX_HTTP_REQUESTS {
        holding.released.add_permits(1);
        calls.recv().await.unwrap();
    }
    holding.released.add_permits(MAX_HTTP_REQUESTS);
    while let Some(answered) = asked.join_next().await {
        answered.unwrap().unwrap();
    }
    assert_eq!(holding.most.load(Ordering::SeqCst), MAX_HTTP_REQUESTS);
    serving.abort();
}
