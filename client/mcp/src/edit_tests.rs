// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use serde_json::json;

use super::*;

const JSON: &str = "{\n  // mine\n  \"theme\": \"dark\", // keep\n  \"mcpServers\": {\n    \"a\": { \"command\": \"x\" }\n  }\n}\n";
const TOML: &str = "# mine\nmodel = \"o\" # keep\n\n[mcp_servers.a]\ncommand = \"x\"\n";

fn document(path: &str, text: &str) -> Document {
    Document::of(Path::new(path), Some(text.to_owned())).unwrap()
}

fn after(document: &Document) -> String {
    document.change().after.unwrap()
}

#[test]
fn a_member_is_set_and_taken_away_and_all_else_stays_as_it_is() {
    for (path, text, member) in [
        ("c.json", JSON, "mcpServers"),
        ("c.toml", TOML, "mcp_servers"),
    ] {
        let mut document = document(path, text);
        assert!(document.change().is_empty());
        let server = json!({"command": "y", "args": ["z"]});
        document.set(member, "b", &server).unwrap();
        assert_eq!(document.names(member), ["a", "b"]);
        assert_eq!(document.value(member, "b"), Some(server));
        let changed = after(&document);
        for kept in text
            .lines()
            .filter(|line| line.contains("mine") || line.contains("keep"))
        {
            assert!(changed.contains(kept), "{changed}");
        }
        assert!(document.remove(member, "b"));
        assert!(!document.remove(member, "b"));
        assert!(document.change().is_empty(), "{}", document.change().diff());
    }
}

#[test]
fn a_member_is_replaced() {
    for (path, text, member) in [
        ("c.json", JSON, "mcpServers"),
        ("c.toml", TOML, "mcp_servers"),
    ] {
        let mut document = document(path, text);
        document
            .set(
                member,
                "a",
                &json!({"url": "u", "n": 1, "f": 1.5, "on": true, "env": {"K": "v"}}),
            )
            .unwrap();
        assert_eq!(document.names(member), ["a"]);
        assert!(!after(&document).contains("\"x\""), "{}", after(&document));
        assert_eq!(document.value(member, "a").unwrap()["env"]["K"], "v");
    }
}

#[test]
fn a_file_that_is_not_there_is_made_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    for (name, member) in [("new/c.json", "mcpServers"), ("new/c.toml", "mcp_servers")] {
        let path = folder.path().join(name);
        let mut document = Document::open(&path).unwrap();
        assert!(document.change().is_empty());
        document.set(member, "a", &json!({"command": "x"})).unwrap();
        let change = document.change();
        assert!(change.diff().contains("+"));
        change.apply().unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(Document::open(&path).unwrap().names(member), ["a"]);
    }
}

#[test]
fn a_link_stays_a_link_and_permissions_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (
        folder.path().join("real.json"),
        folder.path().join("link.json"),
    );
    fs::write(&real, JSON).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut document = Document::open(&link).unwrap();
    document.remove("mcpServers", "a");
    document.change().apply().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(!fs::read_to_string(&real).unwrap().contains("command"));
}

#[test]
fn what_is_no_configuration_is_left_alone() {
    for (path, text) in [
        ("c.json", "{"),
        ("c.json", "[1]"),
        ("c.json", "{\"mcpServers\": 1}"),
        ("c.toml", "= 1"),
        ("c.toml", "mcpServers = 1"),
    ] {
        let changed = Document::of(Path::new(path), Some(text.to_owned()))
            .and_then(|mut document| document.set("mcpServers", "a", &json!({})));
        assert!(changed.is_err(), "{text}");
    }
}

#[test]
fn a_member_is_copied_as_it_was_written() {
    let from = document("a.toml", "[mcp_servers.a]\n# why\ncommand = 'x'\n");
    let mut to = document("b.toml", "");
    to.copy(&from, "mcp_servers", "a").unwrap();
    assert_eq!(after(&to), "[mcp_servers.a]\n# why\ncommand = 'x'\n");
    let mut to = document("b.json", "{}");
    to.copy(&document("a.json", JSON), "mcpServers", "a")
        .unwrap();
    assert_eq!(to.value("mcpServers", "a"), Some(json!({"command": "x"})));
    assert!(
        to.copy(&document("a.json", JSON), "mcpServers", "none")
            .is_err()
    );
}
