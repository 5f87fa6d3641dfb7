// SPDX-License-Identifier: Apache-2.0
//! `code_mode` over hosts at addresses, and its tools here.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use code_mode_testsuite::host_program;
use pretty_assertions::assert_eq;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;

use super::support::{Fixture, Outcome, Running};

/// A token that a host may ask for.
const TOKEN: &str = "a-token-0123456789abcdef";

/// A host that listens, and ends with this value and with the test.
struct Listening {
    child: Child,
    /// As the host has announced it.
    address: String,
}

impl Listening {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(host_program());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let parent = std::process::id();
        // SAFETY: what runs between fork and exec makes only system calls, as its documentation says.
        unsafe {
            command.pre_exec(move || code_mode_client::die_with_parent(parent));
        }
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        Self { child, address }
    }

    fn on_tcp() -> Self {
        Self::start(&["--listen", "grpc://127.0.0.1:0"])
    }

    /// With TLS and a token; gives the files of the certificate and the token as well.
    fn with_tls(fixture: &Fixture) -> (Self, PathBuf, PathBuf) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let certificate = fixture.file("certificate.pem", &cert.pem());
        let key = fixture.file("key.pem", &signing_key.serialize_pem());
        let token = fixture.file("token", TOKEN);
        let listening = Self::start(&[
            "--listen",
            "grpc://127.0.0.1:0",
            "--tls-cert",
            certificate.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
            "--token-file",
            token.to_str().unwrap(),
        ]);
        (listening, certificate, token)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let (fixture, host) = (with_script(), Listening::on_tcp());
    assert_it_ran(&run_at(&fixture, &["--host", &host.address]));
    let authority = host
        .address
        .strip_prefix("grpc://")
        .or(host.address.strip_prefix("http://"));
    let authority = authority.unwrap_or_else(|| panic!("{}", host.address));
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
    let host = Listening::start(&["--listen", &listen]);
    for address in [
        host.address.as_str(),
        "unix:host.sock",
        "grpc+unix://host.sock",
    ] {
        assert_it_ran(&run_at(&fixture, &["--host", address]));
    }
}

#[test]
fn a_host_with_tls_lets_in_who_has_its_token_and_its_certificate() {
    let fixture = with_script();
    let (host, _, _) = Listening::with_tls(&fixture);
    let address = host.address.as_str();
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
    let (fixture, mut host) = (Fixture::new(), Listening::on_tcp());
    fixture.file(
        "a.js",
        "notify('running'); await new Promise(() => setTimeout(() => {}, 1e6));",
    );
    let mut running = Running::start(fixture.command(&["run", "a.js", "--host", &host.address]));
    running.wait_for_stderr("running");
    host.child.kill().unwrap();
    let outcome = running.finish();
    assert_eq!(outcome.status, Some(3), "{}", outcome.stderr);
}

#[test]
fn the_prompt_and_the_doctor_take_an_address_and_the_doctor_says_what_it_cannot_check() {
    let (fixture, host) = (with_script(), Listening::on_tcp());
    let typed = fixture.run_with_input(&["repl", "--host", &host.address], "const a = 20\na + 1\n");
    assert_eq!(typed.stdout, "21\n", "{}", typed.stderr);

    let outcome = fixture.run(&["doctor", "--json", "--host", &host.address]);
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
