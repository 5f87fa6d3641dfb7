// SPDX-License-Identifier: Apache-2.0
//! Seeded clients that send anything at any time: no task of the host panics, and whatever it sends
//! keeps to the contract.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use code_mode_host::{HostConfig, ServeError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, PIPE_BYTES, execute, frame, run};

/// Clients that are tried; a failure names its seed.
const SEEDS: u64 = 200;
/// Messages of one client.
const MESSAGES: usize = 25;

const SOURCES: [&str; 7] = [
    "text('done')",
    "for (;;) {}",
    "await tools.t(1); text('after')",
    "tools.t(1); tools.t(2)",
    "notify('n'); yield_control(); await tools.t(1)",
    "yield_control(); text('kept')",
    "throw new Error('no')",
];

/// A small generator of numbers (xorshift), the same for the same seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A message; `next_id` is fresh unless the client breaks the rules.
fn message(random: &mut Random, next_id: &mut i64) -> Value {
    let session = ["s1", "s1", "s1", "s2", "s3"][random.below(5) as usize];
    let cell = (1 + random.below(4)).to_string();
    let request = match random.below(12) {
        0 => json!({"method": "session/open", "sessionId": format!("s{}", 2 + random.below(40))}),
        1..=4 => {
            let source = SOURCES[random.below(SOURCES.len() as u64) as usize];
            let mut request = execute(&["t"], source);
            request["sessionId"] = json!(session);
            request["request"]["yield_time_ms"] = json!(random.below(30));
            request
        }
        5 | 6 => {
            let wait = json!({"cell_id": cell, "yield_time_ms": random.below(30)});
            json!({"method": "session/wait", "sessionId": session, "request": wait})
        }
        7 | 8 => json!({"method": "session/terminate", "sessionId": session, "cellId": cell}),
        9 if random.below(4) == 0 => json!({"method": "session/shutdown", "sessionId": session}),
        9 | 10 => {
            let id = 1 + random.below((*next_id).unsigned_abs() + 1);
            return json!({"type": "operation/cancel", "id": id});
        }
        _ => {
            let value = json!({"type": "tool/result", "result": random.below(9)});
            let result = json!({"status": "ok", "value": value});
            let id = 1 + random.below(6);
            return json!({"type": "delegate/response", "id": id, "result": result});
        }
    };
    // Seldom an id that was used before.
    let id = if random.below(60) == 0 {
        *next_id - 1
    } else {
        *next_id
    };
    *next_id = (*next_id).max(id + 1);
    json!({"type": "operation/request", "id": id, "request": request})
}

/// What the client has seen, and so what must not come any more.
#[derive(Default)]
struct Seen {
    answered: HashSet<i64>,
    started: HashMap<i64, (String, String)>,
    initial: HashSet<i64>,
    closed: HashSet<(String, String)>,
    calls: HashMap<i64, (String, String)>,
    open_calls: HashSet<i64>,
}

impl Seen {
    fn take(&mut self, frame: &Value, sessions: &HashMap<i64, String>) {
        let id = frame["id"].as_i64();
        match frame["type"].as_str().unwrap() {
            "operation/response" => {
                let id = id.unwrap();
                assert!(self.answered.insert(id), "request {id} is answered twice");
                let value = &frame["result"]["value"];
                if value["type"] == "execution/started" {
                    let cell = value["cellId"].as_str().unwrap().to_owned();
                    self.started.insert(id, (sessions[&id].clone(), cell));
                } else if let Some(live) = value["outcome"]["LiveCell"].as_object() {
                    let response = live.values().next().unwrap();
                    let cell = response["cell_id"].as_str().unwrap().to_owned();
                    self.not_closed(&(sessions[&id].clone(), cell));
                }
            }
            "execute/initialResponse" => {
                let id = id.unwrap();
                assert!(self.initial.insert(id), "two initial responses for {id}");
                self.not_closed(&self.started[&id]);
            }
            "delegate/request" => {
                let session = frame["sessionId"].as_str().unwrap().to_owned();
                let request = &frame["request"];
                let cell = request["cellId"].as_str();
                let cell = cell
                    .or_else(|| request["invocation"]["cell_id"].as_str())
                    .unwrap();
                let cell = (session, cell.to_owned());
                self.not_closed(&cell);
                self.calls.insert(id.unwrap(), cell);
                self.open_calls.insert(id.unwrap());
            }
            "delegate/cancel" => {
                assert!(
                    self.open_calls.remove(&id.unwrap()),
                    "a cancel of no open call"
                );
                self.not_closed(&self.calls[&id.unwrap()]);
            }
            "cell/closed" => {
                let text = |name: &str| frame[name].as_str().unwrap().to_owned();
                let cell = (text("sessionId"), text("cellId"));
                assert!(self.started.values().any(|started| *started == cell));
                assert!(self.closed.insert(cell), "a cell is closed twice");
            }
            other => panic!("an unknown frame {other}"),
        }
    }

    fn not_closed(&self, cell: &(String, String)) {
        assert!(
            !self.closed.contains(cell),
            "something about cell {cell:?} follows cell/closed"
        );
    }
}

async fn play(seed: u64) {
    let mut random = Random(seed * 2 + 1);
    let config = HostConfig::default();
    let mut client = Client::new(config, PIPE_BYTES);
    client.ready().await;
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    let mut sessions = HashMap::new();
    let mut bytes = Vec::new();
    let mut next_id = 1;
    for _ in 0..MESSAGES {
        let message = message(&mut random, &mut next_id);
        if let (Some(id), Some(session)) = (
            message["id"].as_i64(),
            message["request"]["sessionId"].as_str(),
        ) {
            sessions.entry(id).or_insert_with(|| session.to_owned());
        }
        bytes.push(frame(&message));
    }
    let pauses: Vec<u64> = bytes.iter().map(|_| random.below(4)).collect();
    let writing = async {
        for (bytes, pause) in bytes.iter().zip(pauses) {
            // The host may have ended after a violation.
            if writer.write_all(bytes).await.is_err() {
                return;
            }
            // Not a wait for anything: it spreads the messages over the lives of the cells.
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        // Nor is a stream that is gone any loss here.
        let _ = writer.shutdown().await;
    };
    let reading = async {
        let mut seen = Seen::default();
        let mut length = [0; 4];
        while reader.read_exact(&mut length).await.is_ok() {
            let mut payload = vec![0; u32::from_le_bytes(length) as usize];
            reader.read_exact(&mut payload).await.unwrap();
            seen.take(&serde_json::from_slice(&payload).unwrap(), &sessions);
        }
        seen
    };
    let ((), seen) = tokio::join!(writing, reading);
    match client.served.await.unwrap() {
        Ok(()) => {
            for id in sessions.keys() {
                assert!(seen.answered.contains(id), "request {id} is not answered");
            }
            for (id, cell) in &seen.started {
                assert!(
                    seen.initial.contains(id),
                    "execute {id} has no initial response"
                );
                assert!(seen.closed.contains(cell), "cell {cell:?} is not closed");
            }
        }
        Err(ServeError::Violation(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn no_client_makes_the_host_panic_or_break_the_contract() {
    for seed in 0..SEEDS {
        let played = std::panic::catch_unwind(|| run(play(seed)));
        assert!(played.is_ok(), "seed {seed} fails; the reason is above");
    }
}
