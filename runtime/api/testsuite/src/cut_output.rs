// SPDX-License-Identifier: Apache-2.0
//! Output that a host cuts, and what is read of it again.

use std::sync::Arc;

use pretty_assertions::assert_eq;

use code_mode_api::{
    CellId, CodeModeSession, ExecuteRequest, KeptText, ReadOutputRequest, SessionError,
    SessionOptions, SideEffects,
};

use crate::fixture::{Fixture, MakeProvider, PATIENCE, texts_of, within};
use crate::no_tools::NoTools;

async fn read(
    session: &Arc<dyn CodeModeSession>,
    cell_id: &CellId,
    offset: u64,
    max_bytes: u64,
) -> Result<KeptText, SessionError> {
    let request = ReadOutputRequest {
        cell_id: cell_id.clone(),
        offset,
        max_bytes,
    };
    within(session.read_output(request)).await
}

/// Runs a script of which one token is to be shown.
async fn run(session: &Arc<dyn CodeModeSession>, source: &str) -> (CellId, Vec<String>) {
    let request = ExecuteRequest {
        yield_time: Some(PATIENCE),
        max_output_tokens: Some(1),
        ..ExecuteRequest::new(source)
    };
    let cell = within(session.execute(request)).await.expect("it starts");
    let response = within(cell.first_response).await.expect("it ends");
    (cell.cell_id, texts_of(&response))
}

/// A host that cuts output keeps what it cuts for as long as the session lives.
pub async fn what_a_host_cuts_is_read_again(make: MakeProvider) {
    let provider = make().await;
    let options = SessionOptions {
        cuts_output: true,
        ..SessionOptions::default()
    };
    let session = within(provider.open_session(options, Arc::new(NoTools))).await;
    let session = session.expect("a session opens");
    let (cell, shown) = run(&session, "text('0123456789'); text('b€')").await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(
        shown[0].starts_with("Warning: truncated output"),
        "{shown:?}"
    );
    let (short, shown) = run(&session, "text('abcd')").await;
    assert_eq!(shown, ["abcd"]);
    let part = |text: &str, offset| {
        Ok(KeptText {
            text: text.to_owned(),
            offset,
            total_bytes: 15,
        })
    };
    assert_eq!(
        read(&session, &cell, 0, u64::MAX).await,
        part("0123456789\nb€", 0)
    );
    assert_eq!(read(&session, &cell, 9, 4).await, part("9\nb", 9));
    assert_eq!(read(&session, &cell, 13, 4).await, part("", 15));
    let error = read(&session, &short, 0, 4).await.expect_err("it is whole");
    assert!(matches!(error, SessionError::Refused { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::None);
    let nobody = CellId::new("no cell");
    let error = read(&session, &nobody, 0, 4)
        .await
        .expect_err("there is none");
    assert!(matches!(error, SessionError::MissingCell { .. }), "{error}");
    within(session.shutdown()).await.expect("it shuts down");
}

/// A session that was not opened to cut hands all output on, and has nothing to read again.
pub async fn output_that_is_not_cut_is_not_read_again(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let (cell, shown) = run(&fixture.session, "text('0123456789')").await;
    assert_eq!(shown, ["0123456789"]);
    let error = read(&fixture.session, &cell, 0, 4).await;
    let error = error.expect_err("nothing was cut");
    assert!(
        matches!(error, SessionError::InvalidRequest { .. }),
        "{error}"
    );
    fixture.end().await;
}
