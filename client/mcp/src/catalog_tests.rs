// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use serde_json::value::RawValue;

use super::*;
use crate::entry::tests::entry;
use crate::policy::Pattern;
use crate::upstream::Status;

/// A server with these tools, for tests.
pub(crate) fn source<'a>(name: &'a str, tools: &[&str], problem: Option<&str>) -> Source<'a> {
    let tools = tools.iter().map(|&name| ServerTool {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: Some(RawValue::from_string(r#"{"type":"object"}"#.to_owned()).unwrap()),
        output_schema: None,
        hints: Hints::default(),
    });
    let status = match problem {
        Some(problem) => Status::Unusable(problem.into()),
        None => Status::Starting,
    };
    Source {
        name,
        snapshot: Snapshot {
            status,
            tools: tools.collect(),
            warnings: Arc::from([]),
            generation: 0,
        },
    }
}

fn catalog(sources: &[Source<'_>]) -> Catalog {
    Catalog::new(sources, &[], &Policy::default())
}

fn identifiers(catalog: &Catalog) -> Vec<&str> {
    let entries = catalog.entries().iter();
    entries.map(|entry| &*entry.identifier).collect()
}

#[test]
fn tools_are_named_after_their_server_and_keep_their_own_names_on_the_wire() {
    let catalog = catalog(&[source("my files", &["read-file", "2nd"], None)]);
    assert_eq!(
        identifiers(&catalog),
        ["my_files__read_file", "my_files__2nd"]
    );
    let wire = &catalog.offered_to("")[0];
    assert_eq!(wire.tool_name.name, "read-file");
    assert_eq!(wire.tool_name.namespace.as_deref(), Some("my files"));
    assert!(wire.input_schema.is_none());
    assert!(catalog.tool("my files", "read-file").is_some());
}

#[test]
fn names_that_collide_are_told_apart_and_never_refused() {
    let catalog = catalog(&[
        source("a", &["x-y", "x_y", "x.y", "b__c"], None),
        source("a__b", &["c"], None),
        source("a-b", &["c"], None),
        source("a_b", &["c", ""], None),
        source("code_mode", &["search"], None),
    ]);
    let expected = [
        "a__x_y",
        "a__x_y_3",
        "a__x_y_2",
        "a__b__c",
        "a__b__c_2",
        "a_b__c",
        "a_b_2__c",
        "a_b_2___",
        "code_mode_2__search",
    ];
    assert_eq!(identifiers(&catalog), expected);
}

#[test]
fn tools_of_a_tools_file_keep_their_names() {
    let local = entry("a", "x", "", "{}").definition;
    let catalog = Catalog::new(&[source("a", &["x"], None)], &[local], &Policy::default());
    assert_eq!(identifiers(&catalog), ["a__x", "a__x_2"]);
    assert!(catalog.tool("", "a__x").is_some());
}

#[test]
fn what_the_policy_denies_is_not_in_the_catalog() {
    let policy = Policy {
        deny: vec![Pattern::parse("a/drop*").unwrap()],
        ..Policy::default()
    };
    let catalog = Catalog::new(&[source("a", &["drop_all", "read"], None)], &[], &policy);
    assert_eq!(identifiers(&catalog), ["a__read"]);
    assert_eq!(catalog.servers()[0].tools, 1);
}

#[test]
fn a_script_that_names_tools_of_a_server_that_is_down_can_call_them() {
    let catalog = catalog(&[
        source("up", &["x"], None),
        source("down", &[], Some("it is gone")),
    ]);
    let offered =
        catalog.offered_to("await tools.down__read({}); tools.up__x(); tools.down__read(); down__");
    let names: Vec<&str> = offered.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names.first(), Some(&"up__x"));
    assert_eq!(names.last(), Some(&"down__read"));
    assert_eq!(names.len(), 2 + own_tools().count());
    let wire = &offered.last().unwrap().tool_name;
    assert_eq!(wire.name, "read");
    assert_eq!(wire.namespace.as_deref(), Some("down"));
}

#[test]
fn no_more_absent_tools_are_named_than_there_is_room_for() {
    let catalog = catalog(&[source("down", &[], Some("it is gone"))]);
    let script: String = (0..1_000)
        .map(|number| format!("tools.down__t{number}();"))
        .collect();
    let offered = catalog.offered_to(&script);
    assert_eq!(offered.len(), MAX_ABSENT_TOOLS + own_tools().count());
}

#[test]
fn declarations_are_given_only_if_all_of_them_fit() {
    let catalog = catalog(&[source("a", &["x", "y"], None)]);
    let all: usize = catalog
        .declarations_within(usize::MAX)
        .unwrap()
        .iter()
        .map(|d| d.len())
        .sum();
    assert_eq!(catalog.declarations_within(all).unwrap().len(), 2);
    assert!(catalog.declarations_within(all - 1).is_none());
}

#[test]
fn a_server_is_known_by_its_name_before_another_by_its_prefix() {
    let catalog = catalog(&[source("a-b", &[], None), source("a_b", &[], None)]);
    let name = |wanted| catalog.server(wanted).map(|server| &*server.name);
    assert_eq!(name("a_b"), Some("a_b"));
    assert_eq!(name("a-b"), Some("a-b"));
    assert_eq!(name("a_b_2"), Some("a_b"));
    assert_eq!(name("c"), None);
}

#[test]
fn the_order_of_a_list_does_not_change_the_names_of_tools() {
    for list in [["x-y", "x_y", "x.y"], ["x.y", "x_y", "x-y"]] {
        let catalog = catalog(&[source("a", &list, None)]);
        let name = |own| catalog.tool("a", own).map(|entry| &*entry.identifier);
        assert_eq!(name("x-y"), Some("a__x_y"));
        assert_eq!(name("x.y"), Some("a__x_y_2"));
        assert_eq!(name("x_y"), Some("a__x_y_3"));
    }
}
