// SPDX-License-Identifier: Apache-2.0
//! An agent's loop: a model that writes scripts, and waits for those that take long.

use std::time::Duration;

use code_mode_embed::{CellId, Exec, ExecError, Globals, Progress, Session, describe};

/// What a model wants next.
pub enum Step {
    Exec { call_id: String, source: String },
    Wait { cell: CellId },
    Answer(String),
}

/// What the loop needs of a model: the next step after all that was said.
pub trait Model {
    fn next(&mut self, messages: &[String]) -> Step;
}

/// How long the model waits for a script before it may do something else.
const YIELD_TIME: Duration = Duration::from_secs(10);

/// Lets the model run scripts until it has the answer.
pub async fn answer(session: &Session, model: &mut dyn Model, question: &str) -> String {
    let told = describe::within(&session.tools(), Globals::Contract, 32 << 10);
    let mut messages = vec![told.exec, told.wait, question.to_owned()];
    loop {
        let cell = match model.next(&messages) {
            Step::Answer(answer) => return answer,
            Step::Wait { cell } => session.cell(&cell).await,
            Step::Exec { call_id, source } => {
                let exec = Exec::new(source).call_id(call_id).first_look(YIELD_TIME);
                session.start_detached(exec).await
            }
        };
        messages.push(match cell {
            Err(error) => error.to_string(),
            Ok(cell) => match cell.observe(YIELD_TIME).await {
                Progress::Running(output) => {
                    format!("{}\nCell {} runs on.", output.text(), cell.id())
                }
                Progress::Ended { output, result, .. } => match result {
                    Ok(()) => output.text(),
                    Err(ExecError::Script(error)) => format!("{}\n{error}", output.text()),
                    Err(error) => format!("{}\n{error}", output.text()),
                },
            },
        });
    }
}

/// A model that says what the test wants, and remembers what it was told.
struct Scripted {
    steps: std::vec::IntoIter<Step>,
    heard: Vec<String>,
}

impl Model for Scripted {
    fn next(&mut self, messages: &[String]) -> Step {
        self.heard = messages.to_vec();
        self.steps.next().expect("the test ends with an answer")
    }
}

#[tokio::test]
async fn a_model_runs_scripts_reads_their_errors_and_waits_for_long_ones() {
    use crate::support::{echo, in_time, session};

    let exec = |source: &str| Step::Exec {
        call_id: "call".to_owned(),
        source: source.to_owned(),
    };
    let steps = vec![
        exec("text(await tools.echo(6) * 7)"),
        exec("nothing()"),
        exec("text('so far'); yield_control(); text('done')"),
        Step::Wait {
            cell: CellId::new("3"),
        },
        Step::Wait {
            cell: CellId::new("3"),
        },
        Step::Answer("42".to_owned()),
    ];
    let mut model = Scripted {
        steps: steps.into_iter(),
        heard: Vec::new(),
    };
    let session = session(code_mode_embed::ToolSet::new().with(echo())).await;
    let answer = in_time(answer(&session, &mut model, "What is it?")).await;
    assert_eq!(answer, "42");
    let heard = &model.heard;
    assert!(heard[0].contains("echo(input?: unknown)"), "{}", heard[0]);
    assert_eq!(heard[3], "42");
    assert!(heard[4].contains("nothing is not defined"), "{}", heard[4]);
    // The script may end before it is looked at, but its output is told once in any case.
    let rest = heard[5..].join("\n");
    assert_eq!(rest.matches("so far").count(), 1, "{rest}");
    assert_eq!(rest.matches("done").count(), 1, "{rest}");
    assert!(heard[7].contains("finished"), "{}", heard[7]);
}
