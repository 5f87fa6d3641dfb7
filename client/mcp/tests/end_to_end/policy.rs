// SPDX-License-Identifier: Apache-2.0
//! What scripts may call, and what they get to see.

use pretty_assertions::assert_eq;
use serde_json::json;

use crate::support::{Fixture, text};

const DROP: &str = "try { text(await tools.table__drop({})) } catch (e) { text(e.message) }";

#[tokio::test]
async fn what_is_denied_is_neither_told_nor_called() {
    let fixture = Fixture::with(&["table"], json!({"deny": ["@destructive"]}), None).await;
    let described = fixture.tools().await[0].description.clone().unwrap();
    assert!(
        described.contains("table__rows") && !described.contains("table__drop"),
        "{described}"
    );
    assert_eq!(
        fixture.text(DROP).await,
        "drop may not be called: the policy denies @destructive"
    );
    let audit = fixture.audit();
    let call = audit.iter().find(|line| line["event"] == "call").unwrap();
    assert_eq!(
        (&call["tool"], &call["outcome"]),
        (&json!("drop"), &json!("refused"))
    );
}

#[tokio::test]
async fn a_read_only_server_offers_what_says_that_it_is() {
    let fixture = Fixture::with(&["table"], json!({"readOnly": ["table"]}), None).await;
    let described = fixture.tools().await[0].description.clone().unwrap();
    assert!(
        described.contains("table__rows") && !described.contains("table__grow"),
        "{described}"
    );
}

#[tokio::test]
async fn the_user_is_asked_where_the_policy_says_so() {
    let confirm = json!({"confirm": ["table/drop"]});
    let asked = |fixture: &Fixture| fixture.client.service().asked.lock().unwrap().clone();

    let once = Fixture::with(&["table"], confirm.clone(), Some("once")).await;
    assert_eq!(once.text(DROP).await, "called drop");
    assert_eq!(once.text(DROP).await, "called drop");
    assert_eq!(asked(&once).len(), 2);
    assert!(asked(&once)[0].contains("call drop of the MCP server table with this input"));

    let session = Fixture::with(&["table"], confirm.clone(), Some("for this session")).await;
    assert_eq!(session.text(DROP).await, "called drop");
    assert_eq!(session.text(DROP).await, "called drop");
    assert_eq!(asked(&session).len(), 1);

    let no = Fixture::with(&["table"], confirm.clone(), Some("no")).await;
    assert_eq!(
        no.text(DROP).await,
        "drop was not called: the user did not agree"
    );

    let cannot = Fixture::with(&["table"], confirm, None).await;
    let told = cannot.text(DROP).await;
    assert!(told.contains("which this client cannot ask for"), "{told}");
}

#[tokio::test]
async fn credentials_reach_the_server_and_nothing_else() {
    let fixture = Fixture::new(&["people"]).await;
    let own = "text(await tools.people__environment({ name: 'SECRET_KEY' }))";
    assert_eq!(fixture.text(own).await, "the-credential");
    // The error of a server is told without them, to the script and to the log.
    let failing = "await tools.people__environment({ name: 'SECRET_KEY', fail: true })";
    let told = text(&fixture.exec(failing).await);
    assert!(told.contains("SECRET_KEY is [secret]"), "{told}");
    let log = serde_json::to_string(&fixture.audit()).unwrap();
    assert!(log.contains("SECRET_KEY is [secret]"), "{log}");
    assert!(!log.contains("the-credential"), "{log}");
    let described = fixture.tools().await[0].description.clone().unwrap();
    assert!(!described.contains("the-credential"));
    let seen = fixture
        .text("text(Object.keys(globalThis).join()); text(JSON.stringify(ALL_TOOLS))")
        .await;
    assert!(!seen.contains("the-credential"), "{seen}");
}

#[tokio::test]
async fn a_client_of_the_newest_revision_is_asked_by_the_answer_to_its_request() {
    let confirm = json!({"confirm": ["table/drop"]});
    let fixture = Fixture::newest(&["table"], confirm.clone(), Some("once")).await;
    // One exec asks twice, and its output comes with the last answer.
    let both = format!("text('begun'); {DROP}\n{DROP}");
    assert_eq!(fixture.text(&both).await, "begun\ncalled drop\ncalled drop");
    assert_eq!(fixture.client.service().asked.lock().unwrap().len(), 2);
    let execs = fixture.audit();
    let execs = execs.iter().filter(|line| line["event"] == "exec").count();
    assert_eq!(execs, 1);

    let no = Fixture::newest(&["table"], confirm.clone(), Some("no")).await;
    assert_eq!(
        no.text(DROP).await,
        "drop was not called: the user did not agree"
    );
    let cannot = Fixture::newest(&["table"], confirm, None).await;
    let told = cannot.text(DROP).await;
    assert!(told.contains("which this client cannot ask for"), "{told}");
}
