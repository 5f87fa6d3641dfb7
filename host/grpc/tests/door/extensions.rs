// SPDX-License-Identifier: Apache-2.0
//! What our hosts offer beside the contract.

use std::time::Duration;

use code_mode_api::waist::{Answer, Ask};
use code_mode_api::{CellId, CellState, CellSummary, Globals, LimitName, SessionError};
use code_mode_grpc::extensions as ours;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::prost::Message;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_grpc::tonic::{Code, Request};
use code_mode_grpc::v1;
use code_mode_grpc::{
    CELL_LIMITS_METADATA, ERROR_CODE_METADATA, EXACT_INTEGERS_METADATA, GLOBALS_METADATA,
    SIDE_EFFECTS_METADATA,
};

use crate::support::{Fixture, completed, outcome, refusal, started};

fn stored(key: &str, json: &'static str) -> ours::StoredValue {
    ours::StoredValue {
        key: key.to_owned(),
        value_json: json.as_bytes().into(),
    }
}

#[tokio::test]
async fn stored_values_go_out_and_in() {
    let mut fixture = Fixture::new().await;
    // A session is its connection's alone, so both services share one.
    let channel = fixture.channel().await;
    let mut client = crate::support::Client::new(channel.clone());
    let mut extensions = CodeModeExtensionsClient::new(channel);
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;

    let described = extensions.describe(ours::DescribeRequest {}).await;
    let described = described.expect("it says what there is").into_inner();
    assert!(
        described
            .capabilities
            .contains(&"code_mode/store-v1".to_owned())
    );

    let import = ours::ImportStoreRequest {
        session_id: lease.id.clone(),
        values: vec![stored("a", "1"), stored("b", "\"two\"")],
    };
    let (imported, values) = tokio::join!(extensions.import_store(import), async {
        let (ask, Ask::ImportStore(values)) = session.asked().await else {
            panic!("it asks for something else");
        };
        session.answer(ask, Ok(Answer::Done));
        values
    });
    imported.expect("it is stored");
    assert_eq!(values["b"].get(), "\"two\"");

    let export = ours::ExportStoreRequest {
        session_id: lease.id.clone(),
    };
    let (exported, ()) = tokio::join!(extensions.export_store(export), async {
        let (ask, Ask::ExportStore) = session.asked().await else {
            panic!("it asks for something else");
        };
        session.answer(ask, Ok(Answer::Store(values)));
    });
    let exported = exported.expect("it is read").into_inner();
    assert_eq!(
        exported.values,
        [stored("a", "1"), stored("b", "\"two\"")],
        "in the order of their keys"
    );

    let no_json = ours::ImportStoreRequest {
        session_id: lease.id.clone(),
        values: vec![stored("a", "{")],
    };
    let (code, message) = refusal(extensions.import_store(no_json).await);
    assert_eq!(code, Code::InvalidArgument, "{message}");
    let unknown = ours::ExportStoreRequest {
        session_id: "7b6a2d24-7f0f-4b7c-8f9c-1f1a5f6d3c11".to_owned(),
    };
    assert_eq!(
        refusal(extensions.export_store(unknown).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn cells_are_listed_with_what_they_do() {
    let mut fixture = Fixture::new().await;
    let channel = fixture.channel().await;
    let mut client = crate::support::Client::new(channel.clone());
    let mut extensions = CodeModeExtensionsClient::new(channel);
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let cell = |id: &str, state| CellSummary {
        cell_id: CellId::new(id),
        exec_call_id: format!("call-{id}"),
        state,
        age: Duration::from_millis(1_500),
        output_bytes: 12,
        unread_bytes: 4,
    };
    let cells = vec![
        cell("1", CellState::Running),
        cell("2", CellState::Stopping),
        cell("3", CellState::Ended),
    ];

    let list = ours::ListCellsRequest {
        session_id: lease.id.clone(),
    };
    let (listed, ()) = tokio::join!(extensions.list_cells(list), async {
        let (ask, Ask::ListCells) = session.asked().await else {
            panic!("it asks for something else");
        };
        session.answer(ask, Ok(Answer::Cells(cells)));
    });
    let listed = listed.expect("they are listed").into_inner().cells;
    let states: Vec<_> = listed.iter().map(ours::Cell::state).collect();
    let expected = [
        ours::CellState::Running,
        ours::CellState::Stopping,
        ours::CellState::Ended,
    ];
    assert_eq!(states, expected);
    let first = ours::Cell {
        cell_id: "1".to_owned(),
        call_id: "call-1".to_owned(),
        state: ours::CellState::Running.into(),
        age_ms: 1_500,
        output_bytes: 12,
        unread_bytes: 4,
    };
    assert_eq!(listed[0], first);

    let unknown = ours::ListCellsRequest {
        session_id: "7b6a2d24-7f0f-4b7c-8f9c-1f1a5f6d3c11".to_owned(),
    };
    assert_eq!(
        refusal(extensions.list_cells(unknown).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn what_was_cut_is_read_again_where_the_session_asked_for_cutting() {
    let mut fixture = Fixture::new().await;
    let channel = fixture.channel().await;
    let mut client = crate::support::Client::new(channel.clone());
    let mut extensions = CodeModeExtensionsClient::new(channel);
    let described = extensions.describe(ours::DescribeRequest {}).await;
    let described = described.expect("it says what there is").into_inner();
    let output = "code_mode/output-v1".to_owned();
    assert!(described.capabilities.contains(&output));
    let cutting = v1::OpenSessionRequest {
        output_truncation: v1::OutputTruncation::Server.into(),
        ..Default::default()
    };
    for (options, cuts) in [(cutting, true), (Default::default(), false)] {
        let (lease, mut session) = fixture.open(&mut client, options).await;
        let read = |offset, max_bytes| ours::ReadOutputRequest {
            session_id: lease.id.clone(),
            cell_id: "1".to_owned(),
            offset,
            max_bytes,
        };
        let execute = v1::ExecuteRequest {
            max_output_tokens: Some(1),
            ..lease.execute("e1")
        };
        let (executed, (ask, cell)) = tokio::join!(client.execute(execute), session.start("1"));
        let mut events = executed.expect("it starts").into_inner();
        started(&mut events).await;
        let early = extensions.read_output(read(0, 1)).await;
        assert_eq!(refusal(early).0, Code::NotFound, "nothing was cut so far");
        cell.observed(ask, completed(), "a€bcdefghi");
        let outcome = outcome(&mut events).await;
        cell.closed();
        if cuts {
            assert_ne!(outcome.content_items.len(), 0);
            let kept = extensions.read_output(read(2, 5)).await;
            let kept = kept.expect("it is kept").into_inner();
            let expected = ours::ReadOutputResponse {
                offset: 4,
                total_bytes: 12,
                text: "bcdef".to_owned(),
            };
            assert_eq!(kept, expected);
        } else {
            let status = extensions.read_output(read(0, 1)).await;
            let status = status.expect_err("all of it was told");
            let code = status.metadata().get(ERROR_CODE_METADATA);
            assert_eq!(
                code.map(|code| code.as_bytes()),
                Some(&b"output-not-kept"[..])
            );
            let nothing = ours::ReadOutputRequest {
                cell_id: String::new(),
                ..read(0, 1)
            };
            let refused = extensions.read_output(nothing).await;
            assert_eq!(refusal(refused).0, Code::InvalidArgument);
        }
    }
    let unknown = ours::ReadOutputRequest {
        session_id: "7b6a2d24-7f0f-4b7c-8f9c-1f1a5f6d3c11".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        refusal(extensions.read_output(unknown).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn an_execute_carries_the_bounds_of_its_cell_and_the_sessions_own_hold_as_well() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let options = v1::OpenSessionRequest {
        cell_execution_limits: Some(v1::CellExecutionLimits {
            max_heap_size_bytes: Some(64 << 20),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (lease, mut session) = fixture.open(&mut client, options).await;
    for (asked, heap) in [(32 << 20, 32 << 20), (128 << 20, 64 << 20)] {
        let limits = ours::CellLimits {
            heap_bytes: Some(asked),
            cpu_time_ms: Some(5),
            ..Default::default()
        };
        let mut request = Request::new(lease.execute(&format!("e{asked}")));
        let value = MetadataValue::from_bytes(&limits.encode_to_vec());
        request
            .metadata_mut()
            .insert_bin(CELL_LIMITS_METADATA, value);
        let (refused, ()) = tokio::join!(client.execute(request), async {
            let (ask, Ask::Execute(execute)) = session.asked().await else {
                panic!("it asks for something else");
            };
            assert_eq!(execute.limits.heap_bytes, Some(heap));
            assert_eq!(execute.limits.cpu_time, Some(Duration::from_millis(5)));
            let full = SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: 1,
                detail: String::new(),
            };
            session.answer(ask, Err(full));
        });
        let status = refused.expect_err("it is refused");
        let code = status.metadata().get(ERROR_CODE_METADATA);
        assert_eq!(
            code.and_then(|code| code.to_str().ok()),
            Some("limit/active-cells")
        );
        let leaves = status.metadata().get(SIDE_EFFECTS_METADATA);
        assert_eq!(leaves.map(|word| word.as_bytes()), Some(&b"none"[..]));
    }
    let mut request = Request::new(lease.execute("nonsense"));
    let value = MetadataValue::from_bytes(&[0xff]);
    request
        .metadata_mut()
        .insert_bin(CELL_LIMITS_METADATA, value);
    assert_eq!(
        refusal(client.execute(request).await).0,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn an_execute_chooses_its_globals_and_how_integers_are_read_or_leaves_both_to_the_host() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let request = |number: usize, globals: Option<&'static str>, exact: Option<&'static str>| {
        let mut request = Request::new(lease.execute(&format!("e{number}")));
        for (name, word) in [
            (GLOBALS_METADATA, globals),
            (EXACT_INTEGERS_METADATA, exact),
        ] {
            if let Some(word) = word {
                let value = MetadataValue::from_static(word);
                request.metadata_mut().insert(name, value);
            }
        }
        request
    };
    let cases = [
        (None, None, None, None),
        (Some("web"), Some("true"), Some(Globals::Web), Some(true)),
        (
            Some("contract"),
            Some("false"),
            Some(Globals::Contract),
            Some(false),
        ),
    ];
    for (number, (globals, exact, chosen, read)) in cases.into_iter().enumerate() {
        let (refused, ()) = tokio::join!(client.execute(request(number, globals, exact)), async {
            let (ask, Ask::Execute(execute)) = session.asked().await else {
                panic!("it asks for something else");
            };
            assert_eq!((execute.globals, execute.exact_integers), (chosen, read));
            let full = SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: 1,
                detail: String::new(),
            };
            session.answer(ask, Err(full));
        });
        assert!(refused.is_err(), "it is refused");
    }
    for (globals, exact) in [(Some("Web"), None), (Some(""), None), (None, Some("1"))] {
        let refused = client.execute(request(9, globals, exact)).await;
        assert_eq!(refusal(refused).0, Code::InvalidArgument);
    }
}
