// SPDX-License-Identifier: Apache-2.0
//! A delegate that acts as its seed says and notices what must not happen.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionId,
    ToolError, ToolInvocation,
};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::rng::Rng;

#[derive(Default)]
pub(super) struct Watch {
    closed: HashSet<(SessionId, CellId)>,
    open: HashSet<(SessionId, CellId)>,
    /// What must not have happened.
    pub(super) complaints: Vec<String>,
}

pub(super) struct Delegate {
    rng: Mutex<Rng>,
    pub(super) watch: Mutex<Watch>,
    /// Futures that were made and not dropped yet.
    pub(super) at_work: Arc<AtomicUsize>,
}

struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
enum Behaviour {
    AtOnce,
    Later(Duration),
    Never,
    Fails,
    Panics,
}

impl Delegate {
    pub(super) fn new(rng: Rng) -> Arc<Self> {
        let (rng, watch) = (Mutex::new(rng), Mutex::default());
        Arc::new(Self {
            rng,
            watch,
            at_work: Arc::default(),
        })
    }

    fn called(&self, session: &SessionId, cell: &CellId) -> (Behaviour, AtWork) {
        let key = (session.clone(), cell.clone());
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.closed.contains(&key) {
            watch
                .complaints
                .push(format!("a call of cell {cell} after it was closed"));
        }
        watch.open.insert(key);
        drop(watch);
        self.at_work.fetch_add(1, Ordering::Relaxed);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let behaviour = match rng.below(20) {
            0..=9 => Behaviour::AtOnce,
            10..=15 => Behaviour::Later(Duration::from_micros(rng.below(3000))),
            16..=17 => Behaviour::Never,
            18 => Behaviour::Fails,
            _ => Behaviour::Panics,
        };
        (behaviour, AtWork(Arc::clone(&self.at_work)))
    }
}

async fn behave(behaviour: Behaviour) -> Result<(), ToolError> {
    match behaviour {
        Behaviour::AtOnce => Ok(()),
        Behaviour::Later(pause) => {
            sleep(pause).await;
            Ok(())
        }
        Behaviour::Never => std::future::pending().await,
        Behaviour::Fails => Err(ToolError::new("no")),
        // Not a panic!, whose message would flood the test's output through the panic hook.
        Behaviour::Panics => std::panic::resume_unwind(Box::new("a tool panics")),
    }
}

impl SessionDelegate for Delegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let (behaviour, at_work) = self.called(&invocation.session_id, &invocation.cell_id);
        Box::pin(async move {
            let _at_work = at_work;
            behave(behaviour).await?;
            Ok(RawValue::from_string("1".to_owned()).expect("JSON"))
        })
    }

    fn notify(
        &self,
        notification: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let (behaviour, at_work) = self.called(&notification.session_id, &notification.cell_id);
        Box::pin(async move {
            let _at_work = at_work;
            behave(behaviour).await
        })
    }

    fn cell_closed(&self, session_id: &SessionId, cell_id: &CellId) {
        let key = (session_id.clone(), cell_id.clone());
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.open.remove(&key);
        if !watch.closed.insert(key) {
            watch
                .complaints
                .push(format!("cell {cell_id} was closed twice"));
        }
    }
}

impl Delegate {
    /// What is wrong once everything is over.
    pub(super) fn complaints_at_end(&self) -> Vec<String> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut complaints = std::mem::take(&mut watch.complaints);
        complaints.extend(
            watch
                .open
                .iter()
                .map(|(_, cell)| format!("cell {cell} never closed")),
        );
        let at_work = self.at_work.load(Ordering::Relaxed);
        if at_work > 0 {
            complaints.push(format!("{at_work} delegate futures were never dropped"));
        }
        complaints
    }
}
