// SPDX-License-Identifier: Apache-2.0
//! The order of each cell's events while hundreds of cells run beside each other.

use std::collections::{HashMap, HashSet, VecDeque};

use code_mode_host::HostConfig;
use serde_json::{Value, json};

use crate::support::{Client, PIPE_BYTES, run};

/// Cells that the test runs.
const CELLS: i64 = 300;
/// Cells that run at one time.
const AT_ONCE: usize = 100;

/// Every kind of event in one script: a notification, calls that are answered in any order, a
/// yield, and a call that is still open at the end.
const SCRIPT: &str = "
    notify('begin');
    const answers = await Promise.all([tools.t(1), tools.t(2), tools.t(3)]);
    text('before');
    yield_control();
    text(answers.join());
    tools.t('left open');
    await tools.t('last');
";

/// What the client knows of a cell, and so what may come next.
#[derive(Default)]
struct Cell {
    started: bool,
    notified: bool,
    open_calls: HashSet<i64>,
    calls: usize,
    cancelled: usize,
    yielded: bool,
    result: bool,
    closed: bool,
}

struct OrderCheck {
    client: Client,
    cells: HashMap<String, Cell>,
    /// Which cell each delegate request is of.
    calls: HashMap<i64, String>,
    /// Which cell each request is about.
    requests: HashMap<i64, String>,
    /// Answers that are held back, to be given in another order.
    held: VecDeque<i64>,
    next_request: i64,
    executed: i64,
    closed: i64,
}

#[test]
fn each_cell_keeps_its_order_among_hundreds() {
    run(async {
        let mut client = Client::new(HostConfig::default(), PIPE_BYTES);
        client.ready().await;
        let mut check = OrderCheck {
            client,
            cells: HashMap::new(),
            calls: HashMap::new(),
            requests: HashMap::new(),
            held: VecDeque::new(),
            next_request: 1,
            executed: 0,
            closed: 0,
        };
        for _ in 0..AT_ONCE {
            check.execute().await;
        }
        while check.closed < CELLS {
            let frame = check.client.next().await.expect("the host goes on");
            check.take(&frame).await;
        }
        for (id, cell) in &check.cells {
            assert!(cell.yielded && cell.result && cell.closed, "cell {id}");
            assert_eq!((cell.calls, cell.cancelled), (5, 1), "cell {id}");
        }
    });
}

impl OrderCheck {
    async fn execute(&mut self) {
        if self.executed < CELLS {
            self.executed += 1;
            self.client.execute(self.next_request, &["t"], SCRIPT).await;
            self.next_request += 1;
        }
    }

    fn cell(&mut self, id: &Value) -> &mut Cell {
        let id = id.as_str().expect("a cell id is text");
        let cell = self
            .cells
            .get_mut(id)
            .expect("nothing comes before execution/started");
        assert!(
            !cell.closed,
            "something about cell {id} follows cell/closed"
        );
        cell
    }

    async fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "operation/response" => self.response(frame).await,
            "execute/initialResponse" => {
                let yielded = &frame["result"]["value"]["Yielded"];
                let cell = self.cell(&yielded["cell_id"]);
                assert!(!cell.yielded && !cell.result, "one initial response");
                assert_eq!(
                    cell.calls, 3,
                    "the yield comes after the first calls, before the last"
                );
                assert_eq!(yielded["content_items"][0]["text"], "before");
                cell.yielded = true;
                self.wait(&yielded["cell_id"]).await;
            }
            "delegate/request" => self.delegate_request(frame).await,
            "delegate/cancel" => {
                let id = frame["id"].as_i64().unwrap();
                let cell = json!(self.calls[&id]);
                let cell = self.cell(&cell);
                assert!(
                    cell.open_calls.remove(&id),
                    "only an open call is cancelled"
                );
                assert!(!cell.result, "cancellations come before the result");
                cell.cancelled += 1;
            }
            "cell/closed" => {
                let cell = self.cell(&frame["cellId"]);
                assert!(cell.result, "cell/closed comes after the result");
                assert!(cell.open_calls.is_empty(), "every open call was cancelled");
                cell.closed = true;
                self.closed += 1;
                self.execute().await;
            }
            other => panic!("an unknown frame {other}"),
        }
    }

    async fn response(&mut self, frame: &Value) {
        let value = &frame["result"]["value"];
        if value["type"] == "execution/started" {
            let id = value["cellId"].as_str().unwrap().to_owned();
            let cell = Cell {
                started: true,
                ..Cell::default()
            };
            assert!(self.cells.insert(id, cell).is_none(), "a cell starts once");
            return;
        }
        let response = &value["outcome"]["LiveCell"];
        assert_eq!(response["Result"]["error_text"], Value::Null, "{frame}");
        let asked = self
            .requests
            .remove(&frame["id"].as_i64().unwrap())
            .unwrap();
        assert_eq!(response["Result"]["cell_id"], asked.as_str());
        let cell = self.cell(&response["Result"]["cell_id"]);
        assert!(cell.started && cell.yielded && !cell.result);
        cell.result = true;
        assert_eq!(response["Result"]["content_items"][0]["text"], "1,2,3");
    }

    async fn wait(&mut self, cell_id: &Value) {
        let id = self.next_request;
        self.next_request += 1;
        self.requests
            .insert(id, cell_id.as_str().unwrap().to_owned());
        let request = json!({"cell_id": cell_id, "yield_time_ms": 60_000});
        let wait = json!({"method": "session/wait", "sessionId": "s1", "request": request});
        self.client.request(id, wait).await;
    }

    async fn delegate_request(&mut self, frame: &Value) {
        let id = frame["id"].as_i64().unwrap();
        let request = &frame["request"];
        if request["type"] == "notification/send" {
            let cell = self.cell(&request["cellId"]);
            assert!(
                !cell.notified && cell.calls == 0,
                "the notification comes first"
            );
            cell.notified = true;
            let value = json!({"type": "notification/delivered"});
            return self.answer(id, &value).await;
        }
        let invocation = &request["invocation"];
        let cell = self.cell(&invocation["cell_id"]);
        assert!(cell.notified && !cell.result);
        cell.calls += 1;
        let number = cell.calls;
        assert_eq!(invocation["runtime_tool_call_id"], format!("tool-{number}"));
        cell.open_calls.insert(id);
        let cell_id = invocation["cell_id"].as_str().unwrap().to_owned();
        self.calls.insert(id, cell_id);
        match number {
            // The first two are held back until the third has come, and answered last to first.
            1 | 2 => self.held.push_back(id),
            4 => {}
            _ => {
                self.result(id, number).await;
                if number == 3 {
                    let cell = self.calls[&id].clone();
                    let mut own: Vec<i64> = self
                        .held
                        .iter()
                        .copied()
                        .filter(|held| self.calls[held] == cell)
                        .collect();
                    self.held.retain(|held| !own.contains(held));
                    own.sort_unstable();
                    for (index, held) in own.into_iter().enumerate().rev() {
                        self.result(held, index + 1).await;
                    }
                }
            }
        }
    }

    async fn result(&mut self, id: i64, result: usize) {
        let cell = json!(self.calls[&id]);
        self.cell(&cell).open_calls.remove(&id);
        self.answer(id, &json!({"type": "tool/result", "result": result}))
            .await;
    }

    async fn answer(&mut self, id: i64, value: &Value) {
        let result = json!({"status": "ok", "value": value});
        self.client
            .send(&json!({"type": "delegate/response", "id": id, "result": result}))
            .await;
    }
}
