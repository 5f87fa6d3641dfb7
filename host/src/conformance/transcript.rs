// SPDX-License-Identifier: Apache-2.0
//! The text form of transcripts.

use serde_json::{Value, json};

/// What a client does, or expects of the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Sends a frame, wildcards filled in.
    Send(Value),
    /// Sends these bytes as they are.
    SendBytes(Vec<u8>),
    /// Expects these frames next, in any order; mostly it is one.
    Expect(Vec<Value>),
    /// Overlooks the frames that come next and are like this, if there are any.
    Overlook(Value),
    /// Tells the host to end, as SIGTERM does.
    Signal,
    /// Opens sessions, and shuts them down, until the host refuses one with this in its message.
    UntilRefused(String),
    /// Closes the stream to the host.
    Close,
    /// Expects the host to send nothing more, to close, and to end like this.
    End {
        /// Whether the host ends without an error.
        clean: bool,
    },
}

/// A rule of the contract as an exchange of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// A short name.
    pub rule: String,
    /// What the rule says, with its place in the contract.
    pub says: String,
    /// What the host is started with, such as a bound that is low enough to be reached.
    pub arguments: Vec<String>,
    /// The steps, each with its line number.
    pub steps: Vec<(usize, Step)>,
}

/// A transcript that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Transcript {
    /// Reads a file of transcripts; each begins with a `rule` line.
    ///
    /// # Errors
    /// For the first line that makes no sense.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, SyntaxError> {
        let mut transcripts: Vec<Self> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let at = |message: String| SyntaxError {
                line: line_number,
                message,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if word == "rule" {
                let rule = rest.trim().to_owned();
                transcripts.push(Self {
                    rule,
                    says: String::new(),
                    arguments: Vec::new(),
                    steps: Vec::new(),
                });
                continue;
            }
            let transcript = transcripts
                .last_mut()
                .ok_or_else(|| at("a rule line comes first".into()))?;
            if word == "says" {
                transcript.says = rest.trim().to_owned();
                continue;
            }
            if word == "host" {
                let arguments = rest.split_whitespace().map(str::to_owned);
                transcript.arguments.extend(arguments);
                continue;
            }
            let steps = parse_line(word, rest.trim(), transcript.openings()).map_err(at)?;
            for step in steps {
                transcript.add(line_number, step, word == "<&");
            }
        }
        Ok(transcripts)
    }

    /// Reads the steps of one transcript that has no header.
    ///
    /// # Errors
    /// For the first line that makes no sense.
    pub fn parse(steps: &str) -> Result<Self, SyntaxError> {
        // The header takes no line of its own, so line numbers stay right.
        let mut transcripts =
            Self::parse_all(&format!("rule -\n{steps}")).map_err(|error| SyntaxError {
                line: error.line.saturating_sub(1),
                message: error.message,
            })?;
        if transcripts.len() != 1 {
            return Err(SyntaxError {
                line: 1,
                message: "one transcript only".into(),
            });
        }
        let mut transcript = transcripts.remove(0);
        for (line, _) in &mut transcript.steps {
            *line -= 1;
        }
        Ok(transcript)
    }

    /// How many `open` lines there are, which is what their request ids are made of.
    fn openings(&self) -> i64 {
        let opens = |step: &Step| match step {
            Step::Send(frame) => {
                frame["request"]["method"] == "session/open"
                    && frame["id"].as_i64().is_some_and(|id| id < 0)
            }
            _ => false,
        };
        self.steps.iter().filter(|(_, step)| opens(step)).count() as i64
    }

    fn add(&mut self, line: usize, step: Step, joins: bool) {
        if let (true, Step::Expect(more)) = (joins, &step)
            && let Some((_, Step::Expect(frames))) = self.steps.last_mut()
        {
            frames.extend(more.iter().cloned());
            return;
        }
        self.steps.push((line, step));
    }
}

fn parse_line(word: &str, rest: &str, openings: i64) -> Result<Vec<Step>, String> {
    Ok(match word {
        ">" => vec![Step::Send(parse_json(rest)?)],
        "<" | "<&" => vec![Step::Expect(vec![parse_json(rest)?])],
        "<*" => vec![Step::Overlook(parse_json(rest)?)],
        "signal" => vec![Step::Signal],
        "refuses" => vec![Step::UntilRefused(rest.to_owned())],
        "bytes" => vec![Step::SendBytes(parse_hex(rest)?)],
        "payload" => {
            let length = u32::try_from(rest.len()).map_err(|error| error.to_string())?;
            vec![Step::SendBytes(
                [&length.to_le_bytes(), rest.as_bytes()].concat(),
            )]
        }
        "close" => vec![Step::Close],
        "end" => match rest {
            "clean" => vec![Step::End { clean: true }],
            "failed" => vec![Step::End { clean: false }],
            other => return Err(format!("a host ends clean or failed, not {other:?}")),
        },
        "ready" => {
            let capabilities: Vec<&str> = rest.split_whitespace().collect();
            vec![
                Step::Send(json!({
                    "type": "connection/hello", "supportedVersions": [1],
                    "requiredCapabilities": [], "optionalCapabilities": capabilities,
                })),
                Step::Expect(vec![json!({
                    "type": "connection/ready", "selectedVersion": 1, "capabilities": capabilities,
                })]),
            ]
        }
        "open" => {
            let id = -1 - openings;
            vec![
                Step::Send(json!({
                    "type": "operation/request", "id": id,
                    "request": {"method": "session/open", "sessionId": rest},
                })),
                Step::Expect(vec![json!({
                    "type": "operation/response", "id": id,
                    "result": {"status": "ok", "value": {"type": "session/ready", "sessionId": rest}},
                })]),
            ]
        }
        "execute" => vec![Step::Send(parse_execute(rest)?)],
        "started" => {
            let (id, cell_id) = rest.split_once(' ').ok_or("started ID CELL")?;
            vec![Step::Expect(vec![json!({
                "type": "operation/response", "id": parse_json(id)?,
                "result": {"status": "ok", "value": {"type": "execution/started", "cellId": cell_id}},
            })])]
        }
        "closed" => {
            let (session_id, cell_id) = rest.split_once(' ').ok_or("closed SESSION CELL")?;
            vec![Step::Expect(vec![json!({
                "type": "cell/closed", "sessionId": session_id, "cellId": cell_id,
            })])]
        }
        other => return Err(format!("unknown step {other:?}")),
    })
}

/// `ID SESSION [tools=NAME,NAME] [yield=MS] [call=ID] SOURCE`
fn parse_execute(text: &str) -> Result<Value, String> {
    let usage = "execute ID SESSION [tools=NAME,…] [yield=MS] [call=ID] SOURCE";
    let (id, rest) = text.split_once(' ').ok_or(usage)?;
    let (session_id, mut source) = rest.split_once(' ').ok_or(usage)?;
    let mut tools = Vec::new();
    let mut yield_time = Value::Null;
    let mut call = "call-1";
    loop {
        source = source.trim_start();
        let (word, rest) = source.split_once(' ').unwrap_or((source, ""));
        if let Some(names) = word.strip_prefix("tools=") {
            tools = names.split(',').map(tool).collect();
        } else if let Some(time) = word.strip_prefix("yield=") {
            yield_time = parse_json(time)?;
        } else if let Some(id) = word.strip_prefix("call=") {
            call = id;
        } else {
            break;
        }
        source = rest;
    }
    Ok(json!({
        "type": "operation/request", "id": parse_json(id)?,
        "request": {
            "method": "session/execute", "sessionId": session_id,
            "request": {
                "tool_call_id": call, "enabled_tools": tools, "source": source,
                "yield_time_ms": yield_time, "max_output_tokens": null,
            },
        },
    }))
}

fn tool(name: &str) -> Value {
    json!({
        "name": name, "tool_name": {"name": name, "namespace": null}, "description": "",
        "kind": "function", "input_schema": null, "output_schema": null,
    })
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{text:?} is not JSON: {error}"))
}

fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    text.split_whitespace()
        .map(|byte| {
            u8::from_str_radix(byte, 16).map_err(|_| format!("{byte:?} is not a byte in hex"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_rules_with_their_steps() {
        let text = "# comment\nrule a\nsays A says.\n> {\"x\":1}\n< {\"y\":2}\n\nrule b\nhost --limit heap=1\nclose\nend clean\n";
        let transcripts = Transcript::parse_all(text).unwrap();
        assert_eq!(transcripts.len(), 2);
        assert_eq!(transcripts[0].rule, "a");
        assert_eq!(transcripts[0].says, "A says.");
        assert_eq!(
            transcripts[0].steps,
            [
                (4, Step::Send(json!({"x": 1}))),
                (5, Step::Expect(vec![json!({"y": 2})]))
            ]
        );
        assert_eq!(
            transcripts[1].steps,
            [(9, Step::Close), (10, Step::End { clean: true })]
        );
        assert!(transcripts[0].arguments.is_empty());
        assert_eq!(transcripts[1].arguments, ["--limit", "heap=1"]);
    }

    #[test]
    fn frames_that_may_come_in_any_order_are_one_step() {
        let transcript = Transcript::parse("< 1\n<& 2\n<& 3\n< 4").unwrap();
        assert_eq!(
            transcript.steps,
            [
                (1, Step::Expect(vec![json!(1), json!(2), json!(3)])),
                (4, Step::Expect(vec![json!(4)]))
            ]
        );
    }

    #[test]
    fn each_opening_has_a_request_id_of_its_own() {
        let transcript = Transcript::parse("open a\nopen b").unwrap();
        let ids: Vec<&Value> = transcript
            .steps
            .iter()
            .filter_map(|(_, step)| match step {
                Step::Send(frame) => Some(&frame["id"]),
                _ => None,
            })
            .collect();
        assert_eq!(ids, [&json!(-1), &json!(-2)]);
    }

    #[test]
    fn an_execute_line_is_the_whole_request() {
        let transcript = Transcript::parse("execute 2 s1 tools=a,b yield=0 text('a b=c')").unwrap();
        let Step::Send(frame) = &transcript.steps[0].1 else {
            panic!("it sends")
        };
        let request = &frame["request"]["request"];
        assert_eq!(request["source"], "text('a b=c')");
        assert_eq!(request["yield_time_ms"], 0);
        assert_eq!(request["enabled_tools"][1]["tool_name"]["name"], "b");
    }

    #[test]
    fn bytes_and_payloads_are_sent_as_they_are() {
        let transcript = Transcript::parse("bytes 01 ff\npayload {\"").unwrap();
        assert_eq!(transcript.steps[0].1, Step::SendBytes(vec![1, 255]));
        assert_eq!(
            transcript.steps[1].1,
            Step::SendBytes(vec![2, 0, 0, 0, b'{', b'"'])
        );
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (text, line) in [
            ("frob", 1),
            ("close\nend well", 2),
            ("> {", 1),
            ("bytes xx", 1),
        ] {
            assert_eq!(Transcript::parse(text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(Transcript::parse_all("close").unwrap_err().line, 1);
    }
}
