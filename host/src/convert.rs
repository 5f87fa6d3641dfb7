//! Between the wire's types and the interface's, by hand.

use std::time::Duration;

use code_mode_api as api;
use code_mode_protocol as wire;

use crate::config::V1Timings;

/// The runtime's request for a wire request.
pub(crate) fn execute_request(request: wire::ExecuteRequest) -> api::ExecuteRequest {
    api::ExecuteRequest {
        exec_call_id: request.tool_call_id,
        tools: request
            .enabled_tools
            .into_definitions()
            .into_iter()
            .map(tool_definition)
            .collect(),
        source: request.source,
        yield_time: request.yield_time_ms.map(Duration::from_millis),
        max_output_tokens: request.max_output_tokens.map(|tokens| tokens.get()),
        limits: request.limits.map(cell_limits).unwrap_or_default(),
        globals: request.globals.map(|globals| match globals {
            wire::Globals::Contract => api::Globals::Contract,
            wire::Globals::Web => api::Globals::Web,
        }),
    }
}

fn tool_definition(tool: wire::ToolDefinition) -> api::ToolDefinition {
    api::ToolDefinition {
        name: tool.name,
        tool_name: api::ToolName {
            name: tool.tool_name.name,
            namespace: tool.tool_name.namespace,
        },
        description: tool.description,
        kind: match tool.kind {
            wire::ToolKind::Function => api::ToolKind::Function,
            wire::ToolKind::Freeform => api::ToolKind::Freeform,
        },
        input_schema: tool.input_schema,
        output_schema: tool.output_schema,
    }
}

fn cell_limits(limits: wire::Limits) -> api::CellLimits {
    api::CellLimits {
        heap_bytes: limits.heap_bytes,
        external_bytes: limits.external_bytes,
        cpu_time: limits.cpu_time_ms.map(Duration::from_millis),
        wall_time: limits.wall_time_ms.map(Duration::from_millis),
        output_bytes: limits.output_bytes,
        output_items: limits.output_items,
        open_tool_calls: limits.open_tool_calls,
        total_tool_calls: limits.total_tool_calls,
        timers: limits.timers,
    }
}

/// The wire's form of a response.
pub(crate) fn cell_response(
    response: api::CellResponse,
    cell_id: wire::CellId,
    timings: wire::Timings,
) -> wire::CellResponse {
    let output = wire::CellOutput {
        cell_id,
        content_items: response
            .content_items
            .into_iter()
            .map(content_item)
            .collect(),
        timings,
    };
    match response.status {
        api::CellStatus::Yielded => wire::CellResponse::Yielded(output),
        api::CellStatus::Completed { error_text } => {
            wire::CellResponse::Result { output, error_text }
        }
        api::CellStatus::Terminated => wire::CellResponse::Terminated(output),
    }
}

/// The timings of a response that this client gets. `age` is the time from the receipt of the
/// request, `buffered` the time that a finished result has waited for it.
pub(crate) fn timings(
    which: V1Timings,
    age: Option<Duration>,
    buffered: Option<Duration>,
) -> wire::Timings {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    wire::Timings {
        code_mode_host_duration_ns: age.filter(|_| which != V1Timings::None).map(nanos),
        result_buffered_for_ns: buffered.filter(|_| which == V1Timings::Both).map(nanos),
    }
}

pub(crate) fn content_item(item: api::ContentItem) -> wire::ContentItem {
    match item {
        api::ContentItem::Text(text) => wire::ContentItem::InputText { text },
        api::ContentItem::Image { image_url, detail } => wire::ContentItem::InputImage {
            image_url,
            detail: detail.map(image_detail),
        },
        api::ContentItem::Audio { audio_url } => wire::ContentItem::InputAudio { audio_url },
    }
}

fn image_detail(detail: api::ImageDetail) -> wire::ImageDetail {
    match detail {
        api::ImageDetail::Auto => wire::ImageDetail::Auto,
        api::ImageDetail::Low => wire::ImageDetail::Low,
        api::ImageDetail::High => wire::ImageDetail::High,
        api::ImageDetail::Original => wire::ImageDetail::Original,
    }
}

/// The wire's form of a tool call.
pub(crate) fn tool_invocation(
    invocation: api::ToolInvocation,
    cell_id: wire::CellId,
) -> wire::ToolInvocation {
    wire::ToolInvocation {
        cell_id,
        runtime_tool_call_id: invocation.call_id,
        tool_name: wire::ToolName {
            name: invocation.tool_name.name,
            namespace: invocation.tool_name.namespace,
        },
        tool_kind: match invocation.tool_kind {
            api::ToolKind::Function => wire::ToolKind::Function,
            api::ToolKind::Freeform => wire::ToolKind::Freeform,
        },
        input: invocation.input,
    }
}

/// Whether the script may have acted, in the wire's words.
pub(crate) fn side_effects(side_effects: api::SideEffects) -> wire::SideEffects {
    match side_effects {
        api::SideEffects::None => wire::SideEffects::None,
        api::SideEffects::Possible => wire::SideEffects::Possible,
    }
}

/// The stable code of an error, as the extension `code_mode/errors-v1` has it.
pub(crate) fn error_code(error: &api::SessionError) -> String {
    use api::SessionError as E;
    let code = match error {
        E::MissingCell { .. } => "missing-cell",
        E::CellFinished { .. } => "cell-finished",
        E::CellLost { .. } => "cell-lost",
        E::BusyObserver { .. } => "busy-observer",
        E::ShutDown { .. } => "shut-down",
        E::DuplicateSession { .. } => "duplicate-session",
        E::Limit { limit, .. } => return format!("limit/{}", limit_code(*limit)),
        E::InvalidRequest { .. } => "invalid-request",
        E::Cancelled { .. } => "cancelled",
        E::RuntimeLost { .. } => "runtime-lost",
        E::StartFailed { .. } => "start-failed",
        E::Refused { .. } => "refused",
        // The enum may grow; a client treats an unknown code like this one.
        _ => "refused",
    };
    code.to_owned()
}

fn limit_code(limit: api::LimitName) -> &'static str {
    use api::LimitName as L;
    match limit {
        L::HeapBytes => "heap-bytes",
        L::ExternalBytes => "external-bytes",
        L::CpuTimeMs => "cpu-time-ms",
        L::WallTimeMs => "wall-time-ms",
        L::SourceBytes => "source-bytes",
        L::OutputBytes => "output-bytes",
        L::OutputItems => "output-items",
        L::StoredValueBytes => "stored-value-bytes",
        L::StoreBytes => "store-bytes",
        L::StoreKeys => "store-keys",
        L::OpenToolCalls => "open-tool-calls",
        L::TotalToolCalls => "total-tool-calls",
        L::OpenNotifications => "open-notifications",
        L::Timers => "timers",
        L::ValueBytes => "value-bytes",
        L::Tools => "tools",
        L::ToolBytes => "tool-bytes",
        L::ActiveCells => "active-cells",
        L::StoredResults => "stored-results",
        L::Sessions => "sessions",
        L::RequestsInFlight => "requests-in-flight",
        L::CellIds => "cell-ids",
        // The enum may grow; a client treats an unknown limit like this one.
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_well_formed_code_of_its_own() {
        use api::SessionError as E;
        let cell_id = api::CellId::new("1");
        let session_id = api::SessionId::new("s").unwrap();
        let (cause, message) = (String::new(), String::new());
        let side_effects = api::SideEffects::None;
        let errors = [
            E::MissingCell {
                cell_id: cell_id.clone(),
            },
            E::CellFinished {
                cell_id: cell_id.clone(),
            },
            E::CellLost {
                cell_id: cell_id.clone(),
                cause: cause.clone(),
            },
            E::BusyObserver { cell_id },
            E::ShutDown {
                session_id: session_id.clone(),
            },
            E::DuplicateSession { session_id },
            E::InvalidRequest {
                message: message.clone(),
            },
            E::Cancelled { side_effects },
            E::RuntimeLost {
                cause: cause.clone(),
                side_effects,
            },
            E::StartFailed { cause },
            E::Refused {
                message,
                side_effects,
            },
        ];
        let mut codes: Vec<String> = errors.iter().map(error_code).collect();
        for limit in LIMIT_NAMES {
            let error = E::Limit {
                limit,
                maximum: 1,
                detail: String::new(),
            };
            codes.push(error_code(&error));
        }
        for code in &codes {
            wire::ErrorCode::new(code.as_str()).unwrap();
        }
        let count = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    const LIMIT_NAMES: [api::LimitName; 22] = {
        use api::LimitName as L;
        [
            L::HeapBytes,
            L::ExternalBytes,
            L::CpuTimeMs,
            L::WallTimeMs,
            L::SourceBytes,
            L::OutputBytes,
            L::OutputItems,
            L::StoredValueBytes,
            L::StoreBytes,
            L::StoreKeys,
            L::OpenToolCalls,
            L::TotalToolCalls,
            L::OpenNotifications,
            L::Timers,
            L::ValueBytes,
            L::Tools,
            L::ToolBytes,
            L::ActiveCells,
            L::StoredResults,
            L::Sessions,
            L::RequestsInFlight,
            L::CellIds,
        ]
    };

    #[test]
    fn a_yield_time_or_limit_that_is_left_out_stays_left_out() {
        let request = execute_request(wire::ExecuteRequest {
            tool_call_id: "call".to_owned(),
            enabled_tools: Vec::new().into(),
            source: "text(1)".to_owned(),
            yield_time_ms: None,
            max_output_tokens: None,
            limits: None,
            globals: None,
        });
        assert_eq!(request.yield_time, None);
        assert_eq!(request.limits, api::CellLimits::default());
        assert_eq!(request.exec_call_id, "call");
    }

    #[test]
    fn a_client_gets_the_timings_that_it_can_read_in_nanoseconds() {
        let (age, buffered) = (Duration::from_micros(3), Duration::from_micros(2));
        for (which, expected) in [
            (V1Timings::None, (None, None)),
            (V1Timings::Duration, (Some(3_000), None)),
            (V1Timings::Both, (Some(3_000), Some(2_000))),
        ] {
            let timings = timings(which, Some(age), Some(buffered));
            let given = (
                timings.code_mode_host_duration_ns,
                timings.result_buffered_for_ns,
            );
            assert_eq!(given, expected, "{which:?}");
        }
    }
}
