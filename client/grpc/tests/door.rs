// SPDX-License-Identifier: Apache-2.0
//! The client and our host's own door, over sessions that do next to nothing: who gets in, and what becomes
//! of stored values.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use code_mode_api::waist::{
    Answer, Ask, AskId, Bell, Budget, CallId, Event, Outbox, OutboxOwner, Ringer, Session,
    Sessions, Values,
};
use code_mode_api::{
    CancellationSignal, CellId, CellResponse, CellStatus, CellTimings, CodeModeSession,
    ContentItem, ExecuteRequest, Globals, RawJson, SessionError, SessionOptions, SideEffects,
    ToolError,
};
use code_mode_client_grpc::{Address, AddressConfig, AddressSessionProvider, ORDER_DEADLINE};
use code_mode_host_grpc::listen::{TcpOptions, Tls, bind_unix, serve_tcp, serve_unix};
use code_mode_host_grpc::{Door, Served, Tokens};
use serde_json::value::RawValue;
use support::relay::Relay;
use support::{Secrets, in_time, run, script, session, text};
use tokio::net::TcpListener;

/// Bytes that an outbox of these sessions holds.
const OUTBOX_BYTES: usize = 1 << 20;

/// Sessions whose scripts are `store`, which stores 1 as `n`, `unclosed`, whose cell is never closed, `chosen`,
/// which puts out what its request chooses, `never ran` and `lost`, whose cells are lost before and amid their work,
/// and anything else; each other puts out what is stored as `n`.
struct Trivial;

struct TrivialSession {
    bell: Arc<dyn Bell>,
    budget: Arc<Budget>,
    outbox: Arc<Outbox>,
    state: Mutex<(u64, Values)>,
}

impl Sessions for Trivial {
    fn open(
        &self,
        _: SessionOptions,
        bell: Arc<dyn Bell>,
    ) -> Result<Arc<dyn Session>, SessionError> {
        let budget = Budget::new(2 * OUTBOX_BYTES);
        let (owner, rung) = (OutboxOwner::Session, Arc::clone(&bell));
        Ok(Arc::new(TrivialSession {
            outbox: Outbox::new(owner, OUTBOX_BYTES, rung, Arc::clone(&budget)),
            bell,
            budget,
            state: Mutex::default(),
        }))
    }
}

impl TrivialSession {
    fn run(&self, ask: AskId, request: &ExecuteRequest) {
        let source = request.source.as_str();
        let (cell_id, text) = {
            let mut state = self.state.lock().expect("no panic");
            state.0 += 1;
            if source == "store" {
                let one = RawValue::from_string("1".to_owned()).expect("JSON");
                state.1.insert("n".to_owned(), one);
            }
            let stored = state.1.get("n").map_or("nothing", |value| value.get());
            let text = match source {
                "chosen" => format!("{:?} {:?}", request.globals, request.exact_integers),
                _ => stored.to_owned(),
            };
            (CellId::new(state.0.to_string()), text)
        };
        let owner = OutboxOwner::Cell(cell_id.clone());
        let (bell, budget) = (Arc::clone(&self.bell), Arc::clone(&self.budget));
        let outbox = Outbox::new(owner, OUTBOX_BYTES, bell, budget);
        let response = CellResponse {
            cell_id: cell_id.clone(),
            status: CellStatus::Completed { error_text: None },
            content_items: vec![ContentItem::Text(text)],
            timings: CellTimings::default(),
            state_lost: None,
        };
        outbox.put(
            Event::Started {
                ask,
                cell_id: cell_id.clone(),
            },
            Ringer::Helper,
        );
        let lost = match source {
            "never ran" => Some(SideEffects::None),
            "lost" => Some(SideEffects::Possible),
            _ => None,
        };
        let outcome = match lost {
            None => Event::Observed { ask, response },
            Some(side_effects) => Event::Answered {
                ask,
                result: Err(SessionError::RuntimeLost {
                    cause: "so it was".to_owned(),
                    side_effects,
                }),
            },
        };
        outbox.put(outcome, Ringer::Helper);
        if source != "unclosed" {
            outbox.put(Event::CellClosed { cell_id }, Ringer::Helper);
        }
    }
}

impl Session for TrivialSession {
    fn ask(&self, ask: AskId, asked: Ask) {
        let answer = match asked {
            Ask::Execute(request) => return self.run(ask, &request),
            Ask::ExportStore => Answer::Store(self.state.lock().expect("no panic").1.clone()),
            Ask::ImportStore(values) => {
                self.state.lock().expect("no panic").1 = values;
                Answer::Done
            }
            _ => Answer::Done,
        };
        let result = Ok(answer);
        self.outbox
            .put(Event::Answered { ask, result }, Ringer::Helper);
    }

    fn withdraw(&self, _: AskId) {}

    fn answer(&self, _: CallId, _: Result<RawJson, ToolError>) {}
}

/// Serves sessions on a port; gives what serves them, and where.
async fn serve(options: TcpOptions) -> (Served, String) {
    let (served, authority, _) = serve_until(options).await;
    (served, authority)
}

/// As [`serve`], and gives what sends its connections away.
async fn serve_until(options: TcpOptions) -> (Served, String, CancellationSignal) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = listener.local_addr().expect("it has one").to_string();
    let served = Served::new(Door::new(Arc::new(Trivial))).await;
    let drain = CancellationSignal::new();
    tokio::spawn(serve_tcp(served.clone(), listener, options, drain.clone()));
    (served, authority, drain)
}

async fn output(session: &Arc<dyn code_mode_api::CodeModeSession>, source: &str) -> CellResponse {
    run(session, source).await.expect("a response")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_token_and_a_certificate_that_is_vouched_for_get_in() {
    let secrets = Secrets::new();
    let tls = Tls::read(&secrets.certificate, &secrets.key).expect("they fit");
    let options = TcpOptions {
        tls: Some(Arc::new(tls)),
        tokens: Some(Arc::new(Tokens::read(&secrets.token).expect("a token"))),
    };
    let (_served, authority) = serve(options).await;
    let refusal = |config: &AddressConfig| {
        let provider = AddressSessionProvider::new(config.clone());
        async move {
            let probed = in_time(provider.probe()).await;
            probed.expect_err("it is refused").to_string()
        }
    };
    let plain = AddressConfig::new(Address::Http {
        authority: authority.clone(),
    });
    let error = refusal(&plain).await;
    assert!(error.contains("Failed to connect to http://"), "{error}");
    let mut config = AddressConfig::new(Address::Https { authority });
    let error = refusal(&config).await;
    assert!(
        error.contains("certificate") || error.contains("no certificates"),
        "nobody vouches for it: {error}"
    );
    config.ca_file = Some(secrets.certificate.clone());
    let error = refusal(&config).await;
    assert!(error.contains("does not accept the token"), "{error}");
    config.token_file = Some(secrets.file("other", "b-token-0123456789abcdef"));
    let error = refusal(&config).await;
    assert!(
        error.contains("does not accept the token") && !error.contains("b-token"),
        "{error}"
    );
    config.token_file = Some(secrets.token.clone());
    let provider = AddressSessionProvider::new(config);
    let session = session(&provider).await;
    assert_eq!(output(&session, "store").await.content_items, text("1"));
    in_time(session.shutdown()).await.expect("it is closed");
    in_time(provider.shutdown()).await;
}

/// What the host was asked to give a script for which this was chosen.
async fn chosen(
    session: &Arc<dyn CodeModeSession>,
    globals: Option<Globals>,
    exact_integers: Option<bool>,
) -> Vec<ContentItem> {
    let request = ExecuteRequest {
        globals,
        exact_integers,
        ..script("chosen")
    };
    let ended = in_time(async {
        let started = session.execute(request).await?;
        started.first_response.await
    });
    ended.await.expect("a response").content_items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_has_the_globals_and_integers_that_its_request_chooses() {
    let (_served, authority) = serve(TcpOptions::default()).await;
    let provider = AddressSessionProvider::new(AddressConfig::new(Address::Http { authority }));
    let session = session(&provider).await;
    for (globals, exact_integers, expected) in [
        (None, None, "None None"),
        (Some(Globals::Web), Some(true), "Some(Web) Some(true)"),
        (
            Some(Globals::Contract),
            Some(false),
            "Some(Contract) Some(false)",
        ),
    ] {
        assert_eq!(
            chosen(&session, globals, exact_integers).await,
            text(expected)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_whose_request_does_not_choose_has_the_globals_that_the_client_prefers() {
    let (_served, authority) = serve(TcpOptions::default()).await;
    let mut config = AddressConfig::new(Address::Http { authority });
    config.preferred_globals = Some(Globals::Web);
    let provider = AddressSessionProvider::new(config);
    let session = session(&provider).await;
    for (globals, expected) in [
        (None, "Some(Web) None"),
        (Some(Globals::Contract), "Some(Contract) None"),
    ] {
        assert_eq!(chosen(&session, globals, None).await, text(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_an_address_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.sock");
    let listener = bind_unix(&path, false).expect("a socket");
    let served = Served::new(Door::new(Arc::new(Trivial))).await;
    let drain = CancellationSignal::new();
    tokio::spawn(serve_unix(served, listener, Vec::new(), drain));
    let address: Address = format!("unix:{}", path.display()).parse().expect("is one");
    let provider = AddressSessionProvider::new(AddressConfig::new(address));
    let session = session(&provider).await;
    let two = RawValue::from_string("2".to_owned()).expect("JSON");
    let values: BTreeMap<String, RawJson> = [("n".to_owned(), two)].into();
    let stored = in_time(session.import_store(values)).await;
    stored.expect("they are stored");
    assert_eq!(output(&session, "load").await.content_items, text("2"));
    let info = in_time(provider.probe()).await;
    let capabilities = info.expect("there is a connection").capabilities;
    assert!(capabilities.contains(&"code_mode/store-v1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drains_is_left_for_where_the_balancer_sends_new_connections() {
    let (first, authority) = serve(TcpOptions::default()).await;
    let (_second, other) = serve(TcpOptions::default()).await;
    let balancer = Relay::to(&authority).await;
    let provider = AddressSessionProvider::new(AddressConfig::new(balancer.address.clone()));
    let old = session(&provider).await;
    assert_eq!(output(&old, "store").await.content_items, text("1"));
    let moving = session(&provider).await;
    assert_eq!(output(&moving, "store").await.content_items, text("1"));
    first.drain().await;
    let refused = session(&provider).await;
    let error = run(&refused, "load").await.expect_err("nobody takes it");
    assert!(error.to_string().contains("shutting down"), "{error}");
    let error = run(&old, "load").await.expect_err("nor this one");
    assert!(error.to_string().contains("shutting down"), "{error}");
    assert_eq!(error.side_effects(), SideEffects::None);
    let stored = in_time(old.export_store()).await.expect("it has them");
    assert_eq!(stored["n"].get(), "1");
    balancer.redirect(&other);
    let new = session(&provider).await;
    assert_eq!(output(&new, "load").await.content_items, text("nothing"));
    assert_eq!(
        output(&refused, "load").await.content_items,
        text("nothing")
    );
    for session in [&old, &moving] {
        let response = output(session, "load").await;
        assert_eq!(response.content_items, text("1"), "it has come along");
        assert_eq!(response.state_lost, None);
        assert_eq!(response.cell_id, CellId::new("2.1"));
        let finished = session.terminate(CellId::new("1"));
        let finished = in_time(finished).await.expect_err("it was taken");
        assert!(
            matches!(finished, SessionError::CellFinished { .. }),
            "{finished}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executes_at_one_time_leave_a_host_that_drains_together() {
    let (first, authority) = serve(TcpOptions::default()).await;
    let (second, other) = serve(TcpOptions::default()).await;
    let balancer = Relay::to(&authority).await;
    let mut config = AddressConfig::new(balancer.address.clone());
    config.keep_store = false;
    let provider = AddressSessionProvider::new(config);
    let session = session(&provider).await;
    assert_eq!(output(&session, "store").await.content_items, text("1"));
    first.drain().await;
    balancer.redirect(&other);
    let (one, two, three) = tokio::join!(
        output(&session, "load"),
        output(&session, "load"),
        output(&session, "load"),
    );
    for response in [one, two, three] {
        assert_eq!(response.content_items, text("1"));
        assert_eq!(response.state_lost, None);
    }
    let metrics = second.door().metrics().render();
    assert!(
        metrics.contains("\ncode_mode_grpc_sessions 1\n"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_a_host_has_given_before_its_end_is_told() {
    for _ in 0..20 {
        let (served, authority, drain) = serve_until(TcpOptions::default()).await;
        let provider = AddressSessionProvider::new(AddressConfig::new(Address::Http { authority }));
        let session = session(&provider).await;
        output(&session, "store").await;
        let ending = async {
            let metrics = served.door().metrics();
            while !metrics.render().contains("executions_total 2\n") {
                tokio::task::yield_now().await;
            }
            served.drain().await;
            served.door().quiet().await;
            served.door().close_all().await;
            drain.cancel();
        };
        let (response, ()) = tokio::join!(output(&session, "load"), ending);
        assert_eq!(response.content_items, text("1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_the_script_of_a_cell_that_was_lost_may_have_acted_is_the_hosts_word() {
    let (_served, authority) = serve(TcpOptions::default()).await;
    let provider = AddressSessionProvider::new(AddressConfig::new(Address::Http { authority }));
    let session = session(&provider).await;
    for (source, side_effects) in [
        ("never ran", SideEffects::None),
        ("lost", SideEffects::Possible),
    ] {
        let error = run(&session, source).await.expect_err("it is lost");
        assert!(error.to_string().contains("so it was"), "{error}");
        assert_eq!(error.side_effects(), side_effects, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_cell_stays_on_a_host_that_drains() {
    let (first, authority) = serve(TcpOptions::default()).await;
    let provider = AddressSessionProvider::new(AddressConfig::new(Address::Http { authority }));
    let session = session(&provider).await;
    output(&session, "unclosed").await;
    first.drain().await;
    let response = output(&session, "load").await;
    assert_eq!(response.content_items, text("nothing"));
    assert_eq!(response.cell_id, CellId::new("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_told_after_a_second_although_its_cell_is_not_closed() {
    let (_served, authority) = serve(TcpOptions::default()).await;
    let provider = AddressSessionProvider::new(AddressConfig::new(Address::Http { authority }));
    let session = session(&provider).await;
    assert_eq!(
        output(&session, "load").await.content_items,
        text("nothing")
    );
    let begun = Instant::now();
    let response = output(&session, "unclosed").await;
    assert_eq!(response.content_items, text("nothing"));
    assert!(begun.elapsed() >= ORDER_DEADLINE, "{:?}", begun.elapsed());
}
