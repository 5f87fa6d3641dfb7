// SPDX-License-Identifier: Apache-2.0
//! The feature `grpc`: agents on hosts at addresses.
#![cfg(feature = "grpc")]

mod support;

use code_mode_embed::grpc::{AddressConfig, AddressError, Host};
use code_mode_embed::{CellEvent, ExecError, Session, Tool, ToolSet};
use code_mode_testsuite::ListeningHost;
use support::{in_time, json};

/// A host that listens on a Unix socket.
struct Listening {
    host: ListeningHost,
    listen: String,
    /// Where the socket is.
    _folder: tempfile::TempDir,
}

impl Listening {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = format!("grpc+unix://{}", folder.path().join("socket").display());
        Self {
            host: ListeningHost::start(&["--listen", &listen]),
            listen,
            _folder: folder,
        }
    }

    fn address(&self) -> &str {
        &self.listen
    }

    /// Kills the host, and starts another in its place.
    fn replace(&mut self) {
        self.host.kill();
        self.host = ListeningHost::start(&["--listen", &self.listen]);
    }
}

fn greet() -> ToolSet {
    ToolSet::new().with(Tool::new(
        "greet",
        "Greets somebody.",
        |name: String| async move { Ok::<_, String>(format!("Hello, {name}!")) },
    ))
}

#[tokio::test]
async fn an_agent_needs_no_other_line_than_its_host() {
    let host = Listening::start();
    let provider = Host::at(host.address()).expect("an address").provider();
    let opened = Session::open(provider, greet());
    let session = in_time(opened).await.expect("a session");
    let output = in_time(session.exec("text(await tools.greet('world'))")).await;
    assert_eq!(output.expect("it runs").text(), "Hello, world!");
}

#[tokio::test]
async fn stored_values_outlive_a_host_at_an_address_and_the_script_hears_of_it() {
    let mut host = Listening::start();
    let provider = Host::at(host.address()).expect("an address").provider();
    let session = in_time(Session::open(provider, greet())).await;
    let session = session.expect("a session");
    let stored = in_time(session.exec("store('n', 7)")).await;
    stored.expect("it runs");
    let values = in_time(session.stored_values()).await.expect("the copy");
    assert_eq!(values["n"].get(), json("7").get());
    host.replace();
    // A cell that is started before the loss is known is lost with the old host, and nothing was done.
    let mut cell = loop {
        match in_time(session.start("text(load('n'))")).await {
            Ok(cell) => break cell,
            Err(ExecError::HostLost(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let mut restored = false;
    let end = in_time(async {
        loop {
            match cell.next().await.expect("it ends with an end") {
                CellEvent::StateLost { restored: it, .. } => restored = it,
                CellEvent::Ended(end) => return end,
                _ => {}
            }
        }
    });
    assert_eq!(end.await.expect("it has run").text(), "7");
    assert!(restored, "the values are back");
}

#[test]
fn what_is_no_address_is_refused_and_a_configuration_is_taken() {
    assert!(matches!(
        Host::at("ftp://host:1"),
        Err(AddressError::Scheme(_))
    ));
    assert!(matches!(
        Host::at("http://host"),
        Err(AddressError::Authority(_))
    ));
    let address = "https://host.example:7000".parse().expect("an address");
    let host = Host::from(AddressConfig::new(address))
        .token_file("/run/token")
        .ca_file("/run/ca.pem");
    let shown = format!("{host:?}");
    for part in ["host.example:7000", "/run/token", "/run/ca.pem"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
