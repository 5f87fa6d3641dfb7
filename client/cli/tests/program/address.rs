// SPDX-License-Identifier: Apache-2.0
//! `code_mode` over hosts at addresses, and its tools here.

use code_mode_testsuite::ListeningHost;
use pretty_assertions::assert_eq;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;

use super::support::{Fixture, Outcome, Running};

/// A token that a host may ask for.
const TOKEN: &str = "a-token-0123456789abcdef";

fn on_tcp() -> ListeningHost {
    ListeningHost::start(&["--listen", "grpc://127.0.0.1:0"])
}

/// A host with TLS and a token; the files of the certificate and the token are in the folder.
fn with_tls(fixture: &Fixture) -> ListeningHost {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let certificate = fixture.file("certificate.pem", &cert.pem());
    let key = fixture.file("key.pem", &signing_key.serialize_pem());
    let token = fixture.file("token", TOKEN);
    ListeningHost::start(&[
        "--listen",
        "grpc://127.0.0.1:0",
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
        "--token-file",
        token.to_str().unwrap(),
    ])
}

/// A folder with a tool and a script that calls it.
fn with_script() -> Fixture {
    let fixture = Fixture::new();
    fixture.tools(&[("double", "echo $(( $(cat) * 2 ))")]);
    fixture.file("a.js", "text(await tools.double(21)); notify('done');");
    fixture
}

fn run_at(fixture: &Fixture, more: &[&str]) -> Outcome {
    let arguments = ["run", "a.js", "--tools", "tools.json"];
    fixture.run(&[&arguments, more].concat())
}

fn assert_it_ran(outcome: &Outcome) {
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("42\n", Some(0)),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr, "[notify] done\n");
}

#[test]
fn a_script_runs_on_a_host_at_an_address_and_its_tools_here() {
    let (fixture, host) = (with_script(), on_tcp());
    assert_it_ran(&run_at(&fixture, &["--host", host.address()]));
    let announced = host.address();
    let authority = announced.strip_prefix("grpc://");
    let authority = authority.or(announced.strip_prefix("http://"));
    let authority = authority.unwrap_or_else(|| panic!("{announced}"));
    for scheme in ["grpc", "http"] {
        let address = format!("{scheme}://{authority}");
        assert_it_ran(&run_at(&fixture, &["--host", &address]));
    }
}

#[test]
fn a_unix_socket_is_found_from_the_callers_folder() {
    let fixture = with_script();
    let socket = fixture.folder.path().join("host.sock");
    let listen = format!("grpc+unix://{}", socket.display());
    let host = ListeningHost::start(&["--listen", &listen]);
    for address in [host.address(), "unix:host.sock", "grpc+unix://host.sock"] {
        assert_it_ran(&run_at(&fixture, &["--host", address]));
    }
}

#[test]
fn a_host_with_tls_lets_in_who_has_its_token_and_its_certificate() {
    let fixture = with_script();
    let host = with_tls(&fixture);
    let address = host.address();
    assert!(address.starts_with("https://"), "{address}");
    let given = ["--host", address, "--host-ca-file", "certificate.pem"];
    let token = ["--host-token-file", "token"];
    assert_it_ran(&run_at(&fixture, &[&given[..], &token].concat()));
    // And so for a host of the configuration.
    let text = format!(
        "host = '{address}'\nhost-token-file = 'token'\nhost-ca-file = 'certificate.pem'\n"
    );
    let file = fixture.file("user.toml", &text);
    let mut command = fixture.command(&["run", "a.js", "--tools", "tools.json"]);
    command
        .env_remove("CODE_MODE_HOST")
        .env("CODE_MODE_CONFIG", file);
    assert_it_ran(&Running::start(command).finish());

    fixture.file("other", "b-token-0123456789abcdef");
    for (given, expected) in [
        (
            &given[..],
            "the host does not accept the token, or there is none",
        ),
        (
            &[&given[..], &["--host-token-file", "other"]].concat(),
            "the host does not accept the token",
        ),
        (
            &[&given[..], &["--host-token-file", "none"]].concat(),
            "the token cannot be read from",
        ),
        (
            &["--host", address, "--host-token-file", "token"],
            "certificate",
        ),
    ] {
        let outcome = run_at(&fixture, given);
        assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
        let told = outcome.stderr;
        assert!(
            told.contains(&format!("Failed to connect to {address}")),
            "{told}"
        );
        assert!(told.contains(expected), "{given:?}: {told}");
        assert!(!told.contains("-token-0123456789"), "{told}");
    }
}

#[test]
fn a_host_that_cannot_be_had_is_said_so_and_nothing_runs() {
    let fixture = with_script();
    fixture.file("token", TOKEN);
    for (given, expected) in [
        (
            &["--host", "unix:none.sock"][..],
            "Failed to connect to unix:",
        ),
        (
            &["--host", "http://127.0.0.1:1"],
            "Failed to connect to http://127.0.0.1:1: Connection refused",
        ),
        (
            &["--host", "ftp://localhost:1"],
            "ftp://localhost:1 is no address of a host: write http://HOST:PORT, https://HOST:PORT or unix:PATH",
        ),
        (
            &["--host", "http://192.0.2.1:1", "--host-token-file", "token"],
            "the token would go to 192.0.2.1 without encryption",
        ),
        (
            &["--host", "http://127.0.0.1:1", "--host-ca-file", "token"],
            "a file of certificates is for hosts at https://",
        ),
        (
            &["--host-token-file", "token"],
            "--host-token-file is for hosts at addresses, and the host is the program",
        ),
    ] {
        let outcome = run_at(&fixture, given);
        assert_eq!(
            (outcome.stdout.as_str(), outcome.status),
            ("", Some(2)),
            "{given:?}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains(expected),
            "{given:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_host_that_dies_under_a_script_is_lost() {
    let (fixture, mut host) = (Fixture::new(), on_tcp());
    fixture.file(
        "a.js",
        "notify('running'); await new Promise(() => setTimeout(() => {}, 1e6));",
    );
    let mut running = Running::start(fixture.command(&["run", "a.js", "--host", host.address()]));
    running.wait_for_stderr("running");
    host.kill();
    let outcome = running.finish();
    assert_eq!(outcome.status, Some(3), "{}", outcome.stderr);
}

#[test]
fn the_prompt_and_the_doctor_take_an_address_and_the_doctor_says_what_it_cannot_check() {
    let (fixture, host) = (with_script(), on_tcp());
    let typed =
        fixture.run_with_input(&["repl", "--host", host.address()], "const a = 20\na + 1\n");
    assert_eq!(typed.stdout, "21\n", "{}", typed.stderr);

    let outcome = fixture.run(&["doctor", "--json", "--host", host.address()]);
    assert_eq!(
        outcome.status,
        Some(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    let checks: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let status_of = |check: &str| {
        let found = checks.iter().find(|line| line["check"] == check);
        found.unwrap_or_else(|| panic!("{check}: {}", outcome.stdout))["status"].clone()
    };
    for check in [
        "memory",
        "host program",
        "version",
        "same build",
        "sandbox",
        "confinement",
    ] {
        assert_eq!(status_of(check), "skip", "{check}");
    }
    for check in [
        "host address",
        "handshake",
        "births",
        "tool call",
        "heap limit",
        "CPU limit",
    ] {
        assert_eq!(status_of(check), "ok", "{check}");
    }
    let told = fixture.run(&["doctor", "--host", "unix:none.sock"]);
    assert_eq!(told.status, Some(1), "{}", told.stdout);
    assert!(told.stdout.contains("skip version"), "{}", told.stdout);
    assert!(told.stdout.contains("FAIL handshake"), "{}", told.stdout);
}
