// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use pretty_assertions::assert_eq;

use super::spec::MIN_SECRET_BYTES;
use super::*;

fn lookup(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "t0k3n-value".to_owned())
}

fn config(text: &str) -> Config {
    config_of(text, "/etc/mcp.json")
}

fn config_of(text: &str, path: &str) -> Config {
    let mut config = Config::default();
    add(&mut config, text, Path::new(path), &lookup).unwrap();
    config
}

fn error(text: &str) -> String {
    let mut config = Config::default();
    let error = add(&mut config, text, Path::new("/etc/mcp.json"), &lookup).unwrap_err();
    error.to_string()
}

fn command(program: &str, arguments: &[&str]) -> TransportSpec {
    TransportSpec::Command {
        program: program.into(),
        arguments: arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect(),
        environment: BTreeMap::new(),
        folder: None,
    }
}

#[test]
fn the_file_of_a_known_client_is_read_as_it_is() {
    let config = config(
        r#"{
          // a comment
          "mcpServers": {
            "files": {
              "command": "npx", "args": ["-y", "server", "${HERE:-/tmp}"],
              "env": {"API_KEY": "${TOKEN}", "PORT": 80}, "cwd": "work", "autoApprove": ["x"],
            },
            "web": {"type": "http", "url": "https://x/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
            "off": {"command": "x", "disabled": true},
          },
        }"#,
    );
    assert_eq!(config.warnings, Vec::<String>::new());
    let names: Vec<&str> = config.servers.iter().map(|server| &*server.name).collect();
    assert_eq!(names, ["files", "web"]);
    let TransportSpec::Command {
        program,
        arguments,
        environment,
        folder,
    } = config.servers[0].transport.clone().unwrap()
    else {
        panic!("a command");
    };
    assert_eq!(program, Path::new("npx"));
    assert_eq!(arguments, ["-y", "server", "/tmp"]);
    assert_eq!(environment["API_KEY"], "t0k3n-value");
    assert_eq!(environment["PORT"], "80");
    assert_eq!(folder.as_deref(), Some(Path::new("/etc/work")));
    assert_eq!(config.servers[0].start_timeout, DEFAULT_START_TIMEOUT);
    assert_eq!(config.servers[0].call_timeout, DEFAULT_CALL_TIMEOUT);
    assert_eq!(
        config.servers[1].transport,
        Ok(TransportSpec::Http {
            url: "https://x/mcp".into(),
            headers: [("Authorization".into(), "Bearer t0k3n-value".into())].into(),
        })
    );
}

#[test]
fn toml_as_codex_writes_it_is_read_too() {
    let config = config_of(
        "model = \"x\"\n[mcp_servers.files]\ncommand = \"./server\"\nstartup_timeout_sec = 2.5\n\
         tool_timeout_sec = 7\nenabled_tools = [\"read_*\"]\n\
         [mcp_servers.web]\nurl = \"http://x\"\nbearer_token_env_var = \"TOKEN\"\n",
        "/etc/config.toml",
    );
    let files = &config.servers[0];
    assert_eq!(files.transport, Ok(command("/etc/./server", &[])));
    assert_eq!(files.start_timeout, Duration::from_millis(2_500));
    assert_eq!(files.call_timeout, Duration::from_secs(7));
    assert_eq!(files.include_tools, Some(vec!["read_*".to_owned()]));
    let Ok(TransportSpec::Http { headers, .. }) = &config.servers[1].transport else {
        panic!("HTTP");
    };
    assert_eq!(headers["Authorization"], "Bearer t0k3n-value");
}

#[test]
fn a_server_that_cannot_be_used_costs_no_other() {
    let config = config(
        r#"{"mcpServers": {
            "unset": {"command": "${NOWHERE}"},
            "empty": {},
            "both": {"command": "x", "url": "y"},
            "old": {"type": "sse", "url": "y"},
            "good": {"command": "x"}
        }}"#,
    );
    let reason = |name: &str| {
        let server = config.servers.iter().find(|server| server.name == name);
        server.unwrap().transport.clone().unwrap_err()
    };
    assert!(reason("unset").contains("NOWHERE is not set"));
    assert!(reason("empty").contains("neither"));
    assert!(reason("both").contains("both"));
    assert!(reason("old").contains("streamable HTTP"));
    let good = config.servers.iter().find(|server| server.name == "good");
    assert_eq!(good.unwrap().transport, Ok(command("x", &[])));
}

#[test]
fn a_later_file_replaces_a_server_and_adds_to_the_policy() {
    let mut config =
        config(r#"{"mcpServers": {"a": {"command": "x"}}, "policy": {"deny": ["a/x"]}}"#);
    let later = r#"{"mcpServers": {"a": {"command": "y"}}, "policy": {"deny": ["a/y"]}}"#;
    add(&mut config, later, Path::new("/etc/later.json"), &lookup).unwrap();
    assert_eq!(config.servers.len(), 1);
    assert_eq!(config.servers[0].transport, Ok(command("y", &[])));
    assert_eq!(config.policy.deny.len(), 2);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn mistakes_are_told_by_the_name_of_the_member() {
    for (text, expected) in [
        ("{", "mcp.json"),
        ("[]", "the file must hold an object"),
        (r#"{"mcpServers": []}"#, "mcpServers must be an object"),
        (
            r#"{"mcpServers": {"a": 1}}"#,
            "mcpServers.a must be an object",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "args": ["y", 1]}}}"#,
            "mcpServers.a.args must be a list of strings",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "timeout": -1}}}"#,
            "mcpServers.a.timeout must be a number above 0",
        ),
        (r#"{"policy": {"forbid": []}}"#, "policy.forbid is no rule"),
        (r#"{"policy": {"deny": ["a@odd"]}}"#, "policy.deny"),
    ] {
        let message = error(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn no_more_servers_are_taken_than_there_is_room_for() {
    let servers: Vec<String> = (0..=MAX_SERVERS)
        .map(|number| format!(r#""s{number}": {{"command": "x"}}"#))
        .collect();
    let message = error(&format!(r#"{{"mcpServers": {{{}}}}}"#, servers.join(",")));
    assert!(message.contains("more than 256 servers"), "{message}");
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.json");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(MAX_CONFIG_BYTES + 1).unwrap();
    assert!(read_file(&path).unwrap_err().contains("larger than"));
}

#[test]
fn credentials_are_blanked_out_of_what_is_told() {
    let config = config(
        r#"{"mcpServers": {
            "web": {"url": "https://x", "headers": {"Authorization": "Bearer ${TOKEN}", "X-Key": "literal-key"}},
            "own": {"command": "x", "env": {"MY_TOKEN": "written-down", "MODE": "verbose-mode"}}
        }}"#,
    );
    let secrets = |name: &str| {
        let server = config.servers.iter().find(|server| server.name == name);
        server.unwrap().secrets.clone()
    };
    let web = secrets("web");
    assert_eq!(
        web.redact("401 for t0k3n-value and literal-key"),
        "401 for [secret] and [secret]"
    );
    let own = secrets("own");
    assert_eq!(
        own.redact("written-down verbose-mode"),
        "[secret] verbose-mode"
    );
    assert!(!format!("{config:?}").contains("t0k3n-value"));
}

#[test]
fn a_value_that_is_too_short_for_a_credential_blanks_nothing_out() {
    let short = "a".repeat(MIN_SECRET_BYTES - 1);
    let long = [
        "b".repeat(MIN_SECRET_BYTES),
        "c".repeat(MIN_SECRET_BYTES + 1),
    ];
    let mut secrets = Secrets::default();
    secrets.add(&short);
    for secret in &long {
        secrets.add(secret);
    }
    assert_eq!(
        secrets.redact(&format!("{short} {} {}", long[0], long[1])),
        format!("{short} [secret] [secret]")
    );
}
