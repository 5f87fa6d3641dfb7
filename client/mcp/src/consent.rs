// SPDX-License-Identifier: Apache-2.0
//! Asks the user, through the client, whether one call may be made.

use std::time::Duration;

use code_mode_api::RawJson;
use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema};
use serde_json::{Value, json};

use crate::observer::{Asking, Observer};
use crate::questions::{Decision, Questions};

/// How long the user may take to answer (5 min); then the call is refused.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes of the input that the user gets to see.
const MAX_SHOWN_BYTES: usize = 2_000;

/// Asks.
///
/// # Errors
/// When the client cannot ask its user, or the user does not answer; in words for scripts.
pub async fn ask(
    observer: &Observer,
    questions: &Questions,
    exec: &str,
    server: &str,
    tool: &str,
    input: &RawJson,
) -> Result<Decision, String> {
    let whose = if server.is_empty() {
        String::new()
    } else {
        format!(" of the MCP server {server}")
    };
    let params = question(format!(
        "A script wants to call {tool}{whose} with this input:\n{}",
        shown(input)
    ))?;
    match observer.asking() {
        Asking::Never => Err(
            "the policy asks for the user's consent, which this client cannot ask for".to_owned(),
        ),
        Asking::ByRequest => {
            let answer = observer
                .peer()
                .create_elicitation_with_timeout(params, Some(CONSENT_TIMEOUT))
                .await
                .map_err(|error| format!("the user could not be asked: {error}"))?;
            Ok(decision(&answer.action, answer.content.as_ref()))
        }
        Asking::ByAnswer => questions.ask(exec, params, CONSENT_TIMEOUT).await,
    }
}

/// The question with these words.
///
/// # Errors
/// When it cannot be made, which is a mistake of ours.
pub fn question(message: String) -> Result<ElicitRequestParams, String> {
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: schema()?,
    })
}

/// What the user said, from the answer to a question that went out with an answer to a request.
pub fn answered(answer: &Value) -> Decision {
    match serde_json::from_value::<ElicitResult>(answer.clone()) {
        Ok(answer) => decision(&answer.action, answer.content.as_ref()),
        Err(_) => Decision::No,
    }
}

fn schema() -> Result<ElicitationSchema, String> {
    let schema = json!({
        "type": "object",
        "properties": {
            "answer": {
                "type": "string",
                "title": "May it?",
                "enum": ["once", "for this session", "no"],
                "default": "once",
            },
        },
        "required": ["answer"],
    });
    serde_json::from_value(schema).map_err(|error| format!("the question cannot be made: {error}"))
}

/// Whoever accepts without saying more means this call; anything else that is not a clear yes is a no.
fn decision(action: &ElicitationAction, content: Option<&Value>) -> Decision {
    if *action != ElicitationAction::Accept {
        return Decision::No;
    }
    match content
        .and_then(|content| content.get("answer"))
        .map(Value::as_str)
    {
        None | Some(Some("once")) => Decision::Once,
        Some(Some("for this session")) => Decision::Session,
        Some(_) => Decision::No,
    }
}

fn shown(input: &RawJson) -> String {
    let text = input.get();
    let mut end = text.len().min(MAX_SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < text.len() {
        format!("… ({} bytes)", text.len())
    } else {
        String::new()
    };
    format!("{}{cut}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        use ElicitationAction::{Accept, Cancel, Decline};
        let answer = |word: &str| Some(json!({"answer": word}));
        for (action, content, expected) in [
            (Accept, None, Decision::Once),
            (Accept, Some(json!({})), Decision::Once),
            (Accept, answer("once"), Decision::Once),
            (Accept, answer("for this session"), Decision::Session),
            (Accept, answer("no"), Decision::No),
            (Accept, Some(json!({"answer": 1})), Decision::No),
            (Decline, answer("once"), Decision::No),
            (Cancel, None, Decision::No),
        ] {
            assert_eq!(
                decision(&action, content.as_ref()),
                expected,
                "{action:?} {content:?}"
            );
        }
    }

    #[test]
    fn an_answer_that_is_none_is_no() {
        let once = json!({"action": "accept", "content": {"answer": "once"}});
        assert_eq!(answered(&once), Decision::Once);
        assert_eq!(answered(&json!({"action": "decline"})), Decision::No);
        assert_eq!(answered(&json!("yes")), Decision::No);
    }

    #[test]
    fn the_question_can_be_made() {
        schema().unwrap();
    }

    #[test]
    fn the_user_sees_the_beginning_of_a_long_input() {
        let input = |text: String| serde_json::value::RawValue::from_string(text).unwrap();
        assert_eq!(shown(&input("{\"a\":1}".to_owned())), "{\"a\":1}");
        let long = shown(&input(format!("\"{}\"", "ä".repeat(MAX_SHOWN_BYTES))));
        assert!(long.ends_with("… (4002 bytes)"), "{long}");
        assert!(long.len() < MAX_SHOWN_BYTES + 30, "{}", long.len());
    }

    /// A client whose user never answers.
    struct Silent;

    impl rmcp::ClientHandler for Silent {
        fn get_info(&self) -> rmcp::model::ClientConfig {
            let capabilities = rmcp::model::ClientCapabilities::builder()
                .enable_elicitation()
                .build();
            rmcp::model::ClientConfig::new(
                capabilities,
                rmcp::model::Implementation::new("test", "1"),
            )
        }

        async fn create_elicitation(
            &self,
            _request: ElicitRequestParams,
            _context: rmcp::service::RequestContext<rmcp::RoleClient>,
        ) -> Result<rmcp::model::ElicitResult, rmcp::model::ErrorData> {
            std::future::pending().await
        }
    }

    struct Server;

    impl rmcp::ServerHandler for Server {}

    #[tokio::test(start_paused = true)]
    async fn a_user_who_does_not_answer_has_not_agreed() {
        use rmcp::ServiceExt;
        let (ours, theirs) = tokio::io::duplex(4_096);
        let (server, client) = tokio::join!(Server.serve(ours), Silent.serve(theirs));
        let (server, _client) = (server.unwrap(), client.unwrap());
        let observer = Observer::new(server.peer().clone(), None, false, Asking::ByRequest);
        let questions = Questions::default();
        let begun = tokio::time::Instant::now();
        let input = serde_json::value::RawValue::NULL.to_owned();
        let refused = ask(&observer, &questions, "exec-1", "db", "drop", &input)
            .await
            .unwrap_err();
        assert!(
            refused.starts_with("the user could not be asked: "),
            "{refused}"
        );
        assert_eq!(begun.elapsed().as_secs(), CONSENT_TIMEOUT.as_secs());
    }
}
