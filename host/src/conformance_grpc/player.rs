// SPDX-License-Identifier: Apache-2.0
//! Plays a transcript against a host.

use std::collections::HashMap;
use std::time::Duration;

use code_mode_grpc::tonic::transport::Channel;
use code_mode_grpc::tonic::{Code, Streaming};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::calls::{Words, call};
use super::lines::{self, Said};
use super::process::GrpcHost;
use super::transcript::{StepKind, Transcript};

/// How long the host may take for anything that a transcript waits for.
const GUARD: Duration = Duration::from_secs(20);

/// Where a host does not do what a transcript says.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {difference}")]
pub struct Mismatch {
    line: usize,
    difference: String,
}

/// A call whose lines the transcript can read.
struct Feed {
    lines: mpsc::UnboundedReceiver<Said>,
    /// The id that came last of a session or call.
    id: Option<String>,
    /// The id that came last of a notification.
    note: Option<String>,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Plays a transcript against a host that was started for it.
///
/// # Errors
/// The first difference.
pub async fn play(rule: &Transcript, host: &mut GrpcHost) -> Result<(), Mismatch> {
    let mut feeds: HashMap<String, Feed> = HashMap::new();
    for step in &rule.steps {
        let played = play_step(&step.kind, host, &mut feeds).await;
        played.map_err(|difference| Mismatch {
            line: step.line,
            difference,
        })?;
    }
    Ok(())
}

async fn play_step(
    step: &StepKind,
    host: &mut GrpcHost,
    feeds: &mut HashMap<String, Feed>,
) -> Result<(), String> {
    match step {
        StepKind::Call {
            verb,
            name,
            words,
            text,
        } => {
            let words = Words::new(words, text, |name| {
                let id = match name.strip_suffix(".note") {
                    Some(name) => feeds.get(name).and_then(|feed| feed.note.clone()),
                    None => feeds.get(name).and_then(|feed| feed.id.clone()),
                };
                id.ok_or_else(|| format!("nothing that {name} has said has an id"))
            })?;
            let (lines, feed) = mpsc::unbounded_channel();
            let call = call(
                host.client(),
                host.channel.clone(),
                verb,
                name,
                words,
                lines,
            );
            let played = timeout(GUARD, call)
                .await
                .map_err(|_| format!("{name} got no answer"))??;
            let feed = Feed {
                lines: feed,
                id: None,
                note: None,
                task: tokio::spawn(played),
            };
            feeds.insert(name.clone(), feed);
            Ok(())
        }
        StepKind::Drop(name) => match feeds.remove(name) {
            Some(feed) => {
                drop(feed);
                Ok(())
            }
            None => Err(format!("there is no {name} to let go of")),
        },
        StepKind::Signal => host.terminate(),
        StepKind::UntilRefused(line) => timeout(GUARD, until_refused(line, host.client()))
            .await
            .map_err(|_| "the host refuses no session".to_owned())?,
        StepKind::End { clean } => {
            let ended = timeout(GUARD, host.ended())
                .await
                .map_err(|_| "the host does not end".to_owned())??;
            if ended.success() == *clean {
                Ok(())
            } else {
                Err(format!("the host ended with {ended}"))
            }
        }
        StepKind::Expect { name, line } => {
            let said = next(feeds, name).await?;
            if matches(line, &said) {
                Ok(())
            } else {
                Err(format!(
                    "expected {name} to say {line:?}, and it said {said:?}"
                ))
            }
        }
        StepKind::ExpectSet { name, lines } => {
            let mut left = lines.clone();
            while !left.is_empty() {
                let said = next(feeds, name).await?;
                match left.iter().position(|line| matches(line, &said)) {
                    Some(at) => {
                        left.remove(at);
                    }
                    None => {
                        return Err(format!(
                            "expected {name} to say one of {left:?}, and it said {said:?}"
                        ));
                    }
                }
            }
            Ok(())
        }
    }
}

/// Opens a session after the other, since the host hears of a signal when it does, and closes each, so that it is
/// not their number which is refused.
async fn until_refused(line: &str, mut client: CodeModeHostClient<Channel>) -> Result<(), String> {
    loop {
        match client.open_session(v1::OpenSessionRequest::default()).await {
            Ok(lease) => close(&mut client, lease.into_inner()).await?,
            Err(status) => {
                let said = lines::status(&status).line;
                return if matches(line, &said) {
                    Ok(())
                } else {
                    Err(format!(
                        "expected the host to refuse with {line:?}, and it said {said:?}"
                    ))
                };
            }
        }
    }
}

/// Closes a session, or finds that the host has done so.
async fn close(
    client: &mut CodeModeHostClient<Channel>,
    mut lease: Streaming<v1::SessionEvent>,
) -> Result<(), String> {
    let opened = lease.message().await.map_err(|status| status.to_string())?;
    let session_id = opened.and_then(|event| lines::session_event(event).id);
    let session_id = session_id.ok_or("a session opens without an id")?;
    match client
        .close_session(v1::CloseSessionRequest { session_id })
        .await
    {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status.to_string()),
    }
}

async fn next(feeds: &mut HashMap<String, Feed>, name: &str) -> Result<String, String> {
    let feed = feeds
        .get_mut(name)
        .ok_or_else(|| format!("there is no {name}"))?;
    let said = timeout(GUARD, feed.lines.recv())
        .await
        .map_err(|_| format!("{name} said nothing for {} s", GUARD.as_secs()))?
        .ok_or_else(|| format!("{name} says nothing more"))?;
    feed.id = said.id.or(feed.id.take());
    feed.note = said.note.or(feed.note.take());
    Ok(said.line)
}

/// Whether a line is what is expected; `*` stands for any text.
fn matches(expected: &str, said: &str) -> bool {
    let mut parts = expected.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (expected, said, is) in [
            ("ok", "ok", true),
            ("ok", "okay", false),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
        ] {
            assert_eq!(matches(expected, said), is, "{expected} {said}");
        }
    }
}
