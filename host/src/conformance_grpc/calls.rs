// SPDX-License-Identifier: Apache-2.0
//! The calls of a transcript's lines.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;

use code_mode_grpc::extensions as ours;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::tonic::transport::Channel;
use code_mode_grpc::tonic::{Response, Status, Streaming};
use code_mode_grpc::tonic_health::pb::HealthCheckRequest;
use code_mode_grpc::tonic_health::pb::health_client::HealthClient;
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use tokio::sync::mpsc;

use super::lines::{self, Said};

/// Where the lines of one call go.
pub(super) type Lines = mpsc::UnboundedSender<Said>;

/// The words of one line: those with a key by their key, the others in order.
pub(super) struct Words<'a> {
    plain: std::vec::IntoIter<String>,
    keyed: HashMap<String, String>,
    text: &'a str,
}

impl<'a> Words<'a> {
    /// Takes the words apart; `resolve` gives the ids that words stand for.
    pub(super) fn new(
        words: &[String],
        text: &'a str,
        resolve: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut plain = Vec::new();
        let mut keyed = HashMap::new();
        for word in words {
            match word.split_once('=') {
                Some(("", literal)) => plain.push(literal.to_owned()),
                Some((key, value)) => {
                    keyed.insert(key.to_owned(), value.to_owned());
                }
                None => plain.push(match word.strip_prefix('@') {
                    Some(name) => resolve(name)?,
                    None => word.clone(),
                }),
            }
        }
        Ok(Self {
            plain: plain.into_iter(),
            keyed,
            text,
        })
    }

    fn next(&mut self) -> Result<String, String> {
        self.plain
            .next()
            .ok_or_else(|| "the step lacks a word".to_owned())
    }

    fn number<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, String> {
        let parse = |text: &String| text.parse().map_err(|error| format!("{key}: {error}"));
        self.keyed.get(key).map(parse).transpose()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let list = self.keyed.get(key);
        list.into_iter()
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect()
    }

    fn or(&self, key: &str, default: &str) -> String {
        let value = self.keyed.get(key).map_or(default, String::as_str);
        value.to_owned()
    }
}

fn tool_name(name: &str) -> v1::ToolName {
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, name),
    };
    v1::ToolName {
        name: name.to_owned(),
        namespace,
    }
}

/// A tool as a line writes it: `NAME`, `NAMESPACE/NAME`, and `:KIND` after it.
fn tool(text: &str) -> v1::ToolDefinition {
    let (name, kind) = text.split_once(':').unwrap_or((text, "1"));
    let tool_name = tool_name(name);
    v1::ToolDefinition {
        name: tool_name.name.clone(),
        tool_name: Some(tool_name),
        kind: kind.parse().unwrap_or(0),
        ..Default::default()
    }
}

/// Makes the call of a line; gives the future that plays it to its end.
pub(super) async fn call(
    mut client: CodeModeHostClient<Channel>,
    channel: Channel,
    verb: &str,
    name: &str,
    mut words: Words<'_>,
    lines: Lines,
) -> Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>, String> {
    Ok(match verb {
        "open" => {
            let request = v1::OpenSessionRequest {
                cell_execution_limits: Some(v1::CellExecutionLimits {
                    max_yield_time_ms: words.number("yield")?,
                    max_heap_size_bytes: words.number("heap")?,
                }),
                output_truncation: words.number("truncation")?.unwrap_or(0),
                max_pending_delegate_calls: words.number("pending")?,
            };
            Box::pin(async move {
                let opened = client.open_session(request).await;
                stream(opened, lines::session_event, lines).await;
            })
        }
        "execute" => {
            let request = v1::ExecuteRequest {
                session_id: words.next()?,
                execution_id: words.or("id", name),
                tool_call_id: words.or("call", "call"),
                source: words.text.to_owned(),
                enabled_tools: words.list("tools").iter().map(|text| tool(text)).collect(),
                yield_time_ms: words.number("yield")?,
                max_output_tokens: words.number("tokens")?,
            };
            Box::pin(async move {
                stream(client.execute(request).await, lines::execute_event, lines).await;
            })
        }
        "subscribe" => {
            let session_id = words.next()?;
            let tool_names = words.list("tools");
            let request = v1::SubscribeToToolCallsRequest {
                session_id,
                tool_names: tool_names.iter().map(|name| tool_name(name)).collect(),
            };
            // A subscription counts from its answer on, and the next steps rely on it.
            let subscribed = client.subscribe_to_tool_calls(request).await;
            Box::pin(stream(subscribed, lines::tool_call, lines))
        }
        "complete" => {
            use v1::complete_tool_call_request::Outcome;
            let request = v1::CompleteToolCallRequest {
                session_id: words.next()?,
                invocation_id: words.next()?,
                outcome: match words.next()?.as_str() {
                    "succeeded" => Some(Outcome::Succeeded(v1::ToolCallSucceeded {
                        output_json: words.text.to_owned().into(),
                    })),
                    "failed" => Some(Outcome::Failed(v1::ToolCallFailed {
                        message: words.text.to_owned(),
                    })),
                    _ => None,
                },
            };
            Box::pin(async move { done(client.complete_tool_call(request).await, lines) })
        }
        "acknowledge" => {
            let request = v1::AcknowledgeNotificationRequest {
                session_id: words.next()?,
                notification_id: words.next()?,
            };
            Box::pin(async move { done(client.acknowledge_notification(request).await, lines) })
        }
        "wait" => {
            let request = v1::WaitRequest {
                session_id: words.next()?,
                cell_id: words.next()?,
                wait_id: words.or("id", name),
                yield_time_ms: words.number("yield")?.unwrap_or(10_000),
                max_output_tokens: words.number("tokens")?,
            };
            Box::pin(async move {
                let said = client.wait(request).await.map(Response::into_inner);
                say(&lines, said.map(lines::wait_response));
            })
        }
        "terminate" => {
            let request = v1::TerminateRequest {
                session_id: words.next()?,
                cell_id: words.next()?,
                max_output_tokens: words.number("tokens")?,
            };
            Box::pin(async move {
                let said = client.terminate(request).await.map(Response::into_inner);
                say(&lines, said.map(lines::wait_response));
            })
        }
        "read" => {
            let request = ours::ReadOutputRequest {
                session_id: words.next()?,
                cell_id: words.next()?,
                offset: words.number("offset")?.unwrap_or(0),
                max_bytes: words.number("bytes")?.unwrap_or(u64::MAX),
            };
            Box::pin(async move {
                let mut client = CodeModeExtensionsClient::new(channel);
                let read = client.read_output(request).await;
                let said = read.map(Response::into_inner);
                say(&lines, said.map(lines::kept_text));
            })
        }
        "cancel" => {
            let request = v1::CancelWaitRequest {
                session_id: words.next()?,
                wait_id: words.next()?,
            };
            Box::pin(async move { done(client.cancel_wait(request).await, lines) })
        }
        "yield" => {
            use v1::yield_observation_request::Observation;
            let session_id = words.next()?;
            let execute = words.keyed.remove("execute").map(Observation::ExecutionId);
            let wait = words.keyed.remove("wait").map(Observation::WaitId);
            let request = v1::YieldObservationRequest {
                session_id,
                observation: execute.or(wait),
            };
            Box::pin(async move { done(client.yield_observation(request).await, lines) })
        }
        "close" => {
            let request = v1::CloseSessionRequest {
                session_id: words.next()?,
            };
            Box::pin(async move { done(client.close_session(request).await, lines) })
        }
        "metrics" => Box::pin(async move {
            let request = v1::GetProcessMetricsRequest {};
            done(client.get_process_metrics(request).await, lines);
        }),
        "health" => Box::pin(async move {
            let request = HealthCheckRequest::default();
            done(HealthClient::new(channel).check(request).await, lines);
        }),
        other => return Err(format!("there is no step {other:?}")),
    })
}

/// Says something; nobody hears it when the transcript is over.
fn say(lines: &Lines, said: Result<Said, Status>) {
    let _ = lines.send(said.unwrap_or_else(|status| lines::status(&status)));
}

fn done<T>(result: Result<Response<T>, Status>, lines: Lines) {
    say(&lines, result.map(|_| lines::ok()));
}

async fn stream<T>(
    opened: Result<Response<Streaming<T>>, Status>,
    said: fn(T) -> Said,
    lines: Lines,
) {
    let mut messages = match opened {
        Ok(messages) => messages.into_inner(),
        Err(status) => return say(&lines, Err(status)),
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => say(&lines, Ok(said(message))),
            Ok(None) => return say(&lines, Ok(lines::end())),
            Err(status) => return say(&lines, Err(status)),
        }
    }
}
