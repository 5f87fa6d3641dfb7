// SPDX-License-Identifier: Apache-2.0
//! Plays a case that is data through the traits.

use std::collections::BTreeMap;
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CellResponse, CellStatus, ContentItem, ExecuteRequest, FirstResponse,
    SessionError, ToolDefinition,
};
use serde_json::Value;

use crate::cases::{
    self, Action, Case, ImageItem, Item, Refusal, Seen, SeenTool, Source, Status, Step, Target,
};
use crate::fixture::{Call, Fixture, MakeProvider, PATIENCE, json, within};

/// Plays the case of this name.
///
/// # Panics
/// When something comes out other than the case says, or there is no such case.
pub async fn play(make: MakeProvider, name: &str) {
    let mut cases = cases::all().into_iter().filter(|case| case.name == name);
    let case = match (cases.next(), cases.next()) {
        (Some(case), None) => case,
        _ => panic!("there must be one case {name} in cases/"),
    };
    let tools = case.tools.clone().unwrap_or_else(cases::standard_tools);
    let fixture = Fixture::with_tools(make().await, &tools).await;
    let mut player = Player {
        tools: tools.iter().map(|tool| tool.definition()).collect(),
        fixture,
        cells: BTreeMap::new(),
        has_shut_down: false,
    };
    player.play(&case).await;
    if !player.has_shut_down {
        player.fixture.end().await;
    }
}

/// A session in which a case is played.
struct Player {
    fixture: Fixture,
    tools: Vec<ToolDefinition>,
    cells: BTreeMap<String, NamedCell>,
    has_shut_down: bool,
}

/// A cell that steps have a name for.
struct NamedCell {
    id: CellId,
    first: Option<FirstResponse>,
    gathered: Vec<ContentItem>,
}

impl Player {
    async fn play(&mut self, case: &Case) {
        for (number, step) in case.steps.iter().enumerate() {
            let place = format!("{}, step {}: {:?}", case.name, number + 1, step.action());
            self.step(step, &place).await;
        }
    }

    async fn step(&mut self, step: &Step, place: &str) {
        match step.action() {
            Action::Run(source) => self.run(step, source, place).await,
            Action::Start(source) => {
                let cell = self.fixture.execute(self.request(step, source)).await;
                let cell = cell.unwrap_or_else(|error| panic!("{place}\ngave {error:?}"));
                let name = step.cell.clone().expect("a started cell has a name");
                let (id, first) = (cell.cell_id, Some(cell.first_response));
                let gathered = Vec::new();
                self.cells.insert(
                    name,
                    NamedCell {
                        id,
                        first,
                        gathered,
                    },
                );
            }
            Action::First(name) => {
                let cell = self.cells.get_mut(name).expect("the cell was started");
                let first = cell.first.take().expect("the first response comes once");
                let answer = within(first).await;
                self.check(step, Some(name), answer, place);
            }
            Action::Wait(target) => {
                let yield_time = step.yield_time_ms.map_or(PATIENCE, Duration::from_millis);
                let answer = self.fixture.wait(&self.id(target), yield_time).await;
                self.check(step, target.name(), answer, place);
            }
            Action::Terminate(target) => {
                let answer = self.fixture.terminate(&self.id(target)).await;
                self.check(step, target.name(), answer, place);
            }
            Action::Until(seen) => {
                self.fixture
                    .recorder
                    .wait_for(|call| is_seen(call, seen))
                    .await;
            }
            Action::OpenGate => self.fixture.recorder.open_gate(),
            Action::Shutdown => {
                let ended = within(self.fixture.session.shutdown()).await;
                assert!(ended.is_ok(), "{place}\ngave {ended:?}");
                self.has_shut_down = true;
            }
            Action::ExportStore(expected) => {
                let exported = within(self.fixture.session.export_store()).await;
                let exported = exported.map(|values| {
                    let value = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
                    values
                        .into_iter()
                        .map(|(key, raw)| (key, value(raw.get())))
                        .collect::<BTreeMap<_, _>>()
                });
                if let Some(values) = unless_refused(step, exported, place) {
                    assert_eq!(&values, expected, "{place}");
                }
            }
            Action::ImportStore(values) => {
                let values = values
                    .iter()
                    .map(|(key, value)| (key.clone(), json(&value.to_string())))
                    .collect();
                let imported = within(self.fixture.session.import_store(values)).await;
                unless_refused(step, imported, place);
            }
            Action::Calls(expected) => {
                let mut calls = self.fixture.recorder.calls();
                // Calls that are cancelled together end in any order.
                let is_cancelled = |call: &Call| matches!(call, Call::Dropped(_));
                for together in calls.chunk_by_mut(|a, b| is_cancelled(a) && is_cancelled(b)) {
                    together.sort_by_key(|call| match call {
                        Call::Dropped(call_id) => call_id.clone(),
                        _ => String::new(),
                    });
                }
                let same = calls.len() == expected.len()
                    && calls
                        .iter()
                        .zip(expected)
                        .all(|(call, seen)| is_seen(call, seen));
                assert!(same, "{place}\ngave {calls:?}");
            }
            Action::Notifications(expected) => {
                let texts = self.calls_by(|call| match call {
                    Call::Notification(text) => Some(text),
                    _ => None,
                });
                assert_eq!(texts, expected, "{place}");
            }
            Action::ToolIds(expected) => {
                let ids = self.calls_by(|call| match call {
                    Call::Tool { call_id, .. } => Some(call_id),
                    _ => None,
                });
                assert_eq!(ids, expected, "{place}");
            }
            Action::Gathered(name) => {
                let gathered = self.cells.get(name).expect("the cell was started");
                check_items(step, &gathered.gathered, place);
            }
        }
    }

    async fn run(&mut self, step: &Step, source: &Source, place: &str) {
        let cell = self.fixture.execute(self.request(step, source)).await;
        let Some(cell) = unless_refused(step, cell, place) else {
            return;
        };
        if let Some(name) = &step.cell {
            let (id, gathered) = (cell.cell_id, Vec::new());
            let first = None;
            self.cells.insert(
                name.clone(),
                NamedCell {
                    id,
                    first,
                    gathered,
                },
            );
        }
        let answer = within(cell.first_response).await;
        self.check(step, step.cell.as_deref(), answer, place);
    }

    fn request(&self, step: &Step, source: &Source) -> ExecuteRequest {
        let mut request = ExecuteRequest::new(source.text());
        request.exec_call_id = "exec-call".to_owned();
        request.tools = self.tools.clone().into();
        let yield_time = step.yield_time_ms.map(Duration::from_millis);
        request.yield_time = Some(yield_time.unwrap_or(PATIENCE));
        request.limits = limits(&step.limits);
        request
    }

    fn id(&self, target: &Target) -> CellId {
        match target {
            Target::Named(name) => self
                .cells
                .get(name)
                .expect("the cell was started")
                .id
                .clone(),
            Target::Id(by_id) => CellId::new(&by_id.id),
        }
    }

    fn calls_by(&self, part: impl Fn(Call) -> Option<String>) -> Vec<String> {
        self.fixture
            .recorder
            .calls()
            .into_iter()
            .filter_map(part)
            .collect()
    }

    /// Compares a response with what the step says of it.
    fn check(
        &mut self,
        step: &Step,
        name: Option<&str>,
        answer: Result<CellResponse, SessionError>,
        place: &str,
    ) {
        let Some(response) = unless_refused(step, answer, place) else {
            return;
        };
        if let Some(cell) = name.and_then(|name| self.cells.get_mut(name)) {
            cell.gathered.extend(response.content_items.clone());
        }
        if let Some(id) = &step.id {
            assert_eq!(response.cell_id.as_str(), id, "{place}");
        }
        let (status, error) = match &response.status {
            CellStatus::Completed { error_text } => (Status::Completed, error_text.as_deref()),
            CellStatus::Yielded => (Status::Yielded, None),
            CellStatus::Terminated => (Status::Terminated, None),
        };
        let expected = step.status.unwrap_or(Status::Completed);
        assert_eq!(status, expected, "{place}\ngave {response:?}");
        let as_expected = match (&step.error, error) {
            (None, None) => true,
            (Some(pattern), Some(error)) => pattern.matches(error),
            _ => false,
        };
        assert!(as_expected, "{place}\ngave {response:?}");
        check_items(step, &response.content_items, place);
    }
}

impl Target {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Id(_) => None,
        }
    }
}

/// What an operation gave; `None` when it was refused as the step says.
fn unless_refused<T>(step: &Step, result: Result<T, SessionError>, place: &str) -> Option<T> {
    match (result, &step.refused) {
        (Ok(value), None) => Some(value),
        (Err(error), Some(refusal)) => {
            let as_said = match refusal {
                Refusal::Code(code) => code_of(&error) == code,
                Refusal::Like(pattern) => pattern.matches(&error.to_string()),
            };
            assert!(as_said, "{place}\ngave {error:?}");
            None
        }
        (Ok(_), Some(_)) => panic!("{place}\nwas not refused"),
        (Err(error), None) => panic!("{place}\ngave {error:?}"),
    }
}

/// The names that the capability `code_mode/errors-v1` has for those errors that cases name.
fn code_of(error: &SessionError) -> &'static str {
    match error {
        SessionError::MissingCell { .. } => "missing-cell",
        SessionError::CellFinished { .. } => "cell-finished",
        SessionError::BusyObserver { .. } => "busy-observer",
        SessionError::ShutDown { .. } => "shut-down",
        SessionError::InvalidRequest { .. } => "invalid-request",
        _ => "another",
    }
}

fn is_seen(call: &Call, seen: &Seen) -> bool {
    match (call, seen) {
        (Call::Tool { name, .. }, Seen::Tool(SeenTool::Name(expected))) => name == expected,
        (
            Call::Tool {
                call_id,
                name,
                namespace,
                input,
            },
            Seen::Tool(SeenTool::Call(expected)),
        ) => {
            *call_id == expected.id
                && *name == expected.name
                && *namespace == expected.namespace
                && serde_json::from_str::<Value>(input).is_ok_and(|input| input == expected.input)
        }
        (Call::Notification(text), Seen::Notification(expected)) => text == expected,
        (Call::Dropped(call_id), Seen::Cancelled(expected)) => call_id == expected,
        (Call::Closed(cell_id), Seen::Closed(expected)) => cell_id == expected,
        _ => false,
    }
}

fn check_items(step: &Step, items: &[ContentItem], place: &str) {
    let Some(expected) = &step.items else { return };
    let same = items.len() == expected.len()
        && items
            .iter()
            .zip(expected)
            .all(|(item, expected)| is_item(item, expected));
    assert!(same, "{place}\ngave {items:?}");
}

fn is_item(item: &ContentItem, expected: &Item) -> bool {
    match (item, expected) {
        (ContentItem::Text(text), Item::Text(expected)) => text == expected,
        (ContentItem::Text(text), Item::Pattern(pattern)) => pattern.matches(text),
        (ContentItem::Image { image_url, detail }, Item::Image(expected)) => {
            let detail = detail.map(|detail| detail.name().to_owned());
            let image = image_url.clone();
            ImageItem { image, detail } == *expected
        }
        _ => false,
    }
}

fn limits(given: &BTreeMap<String, u64>) -> CellLimits {
    let mut limits = CellLimits::default();
    for (name, value) in given {
        let field = match name.as_str() {
            "heap_bytes" => &mut limits.heap_bytes,
            "output_bytes" => &mut limits.output_bytes,
            "output_items" => &mut limits.output_items,
            "open_tool_calls" => &mut limits.open_tool_calls,
            "total_tool_calls" => &mut limits.total_tool_calls,
            "timers" => &mut limits.timers,
            other => panic!("cases cannot set the limit {other} yet"),
        };
        *field = Some(*value);
    }
    limits
}
