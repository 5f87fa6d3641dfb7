// SPDX-License-Identifier: Apache-2.0
//! One tool with typed input and output, an error that the script can catch, and a namespace.

use code_mode_embed::{Globals, Tool, ToolSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
pub struct Account {
    /// Whose account it is.
    owner: String,
}

#[derive(Serialize, JsonSchema)]
pub struct Balance {
    cents: i64,
}

/// The tool, in the namespace `bank`: scripts see `tools.bank__balance({ owner })`.
pub fn tools() -> ToolSet {
    let balance = Tool::new(
        "balance",
        "The balance of an account.",
        |account: Account| async move {
            match account.owner.as_str() {
                "ada" => Ok(Balance { cents: 1250 }),
                other => Err(format!("{other} has no account")),
            }
        },
    );
    ToolSet::new().with(balance).in_namespace("bank")
}

#[tokio::test]
async fn it_runs() {
    use crate::support::{in_time, session};

    let session = session(tools()).await;
    let source = "text((await tools.bank__balance({ owner: 'ada' })).cents);
        for (const input of [{ owner: 'bob' }, { name: 'ada' }])
            try { await tools.bank__balance(input) } catch (error) { text(error.message) }";
    let output = in_time(session.exec(source)).await.unwrap();
    assert_eq!(
        output.text(),
        "1250\nbob has no account\nFailed to read the input: missing field `owner` at line 1 column 14"
    );
    let told = code_mode_embed::describe::text(&session.tools(), Globals::Contract);
    assert!(
        told.contains(
            "bank__balance(input: {\n    /** Whose account it is. */\n    owner: string;\n  })"
        ),
        "{told}"
    );
}
