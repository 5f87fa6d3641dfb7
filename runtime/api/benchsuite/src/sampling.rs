// SPDX-License-Identifier: Apache-2.0
//! How each scenario takes its samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use code_mode_api::{CellStatus, CodeModeSession, ExecuteRequest, SessionError, WaitRequest};
use tokio::task::JoinSet;

use crate::delegate::{ParkedCall, ParkedCalls};
use crate::scenario::{CALLS, LONG_SCRIPT_BYTES, Load, Scenario};
use crate::script::{
    COLLECTOR_LOAD, HOT_LOOP, PATIENCE, SHORT, long_script, request, script_with_types,
};
use crate::task::{Failure, Task, cap};

/// Execs in one sample of a rate, at the least.
const MIN_EXECS: usize = 64;
/// Execs of each worker in one sample of a rate, on average and at the least.
const MIN_EXECS_EACH: usize = 8;

/// A round while it goes on.
pub(crate) struct Bench<'a> {
    task: &'a Task,
    pub(crate) session: Arc<dyn CodeModeSession>,
    calls: ParkedCalls,
    startup: Duration,
    pub(crate) samples: Vec<Duration>,
    /// Calls of cells that stay parked until memory has been read.
    held: Vec<ParkedCall>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        task: &'a Task,
        session: Arc<dyn CodeModeSession>,
        calls: ParkedCalls,
        startup: Duration,
    ) -> Self {
        Self {
            task,
            session,
            calls,
            startup,
            samples: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Takes samples of the task, as many as its scenario takes when `samples` are asked of a cheap
    /// one; gives what kept it short of that, if something did.
    pub(crate) async fn sample(&mut self, samples: usize) -> Result<Option<String>, Failure> {
        let count = self.task.scenario.samples(samples);
        match self.task.scenario {
            Scenario::ProcessStart | Scenario::RuntimeStart => self.samples.push(self.startup),
            Scenario::Cold | Scenario::BackToBack => self.execs(request(SHORT, 0), count).await?,
            Scenario::Warm { tools } => self.paused_execs(request(SHORT, tools), 1, count).await?,
            Scenario::LongScript => {
                let source = long_script(LONG_SCRIPT_BYTES);
                self.paused_execs(request(source, 0), 1, count).await?;
            }
            Scenario::Types { bytes, typed } => {
                let source = script_with_types(bytes, typed);
                self.paused_execs(request(source, 0), 1, count).await?;
            }
            Scenario::Computing { load } => {
                let source = match load {
                    Load::HotLoop => HOT_LOOP,
                    Load::Collector => COLLECTOR_LOAD,
                };
                self.paused_execs(request(source, 0), 1, count).await?;
            }
            Scenario::Output { bytes } => {
                let source = format!("text('x'.repeat({bytes}))");
                self.paused_execs(request(source, 0), 1, count).await?;
            }
            Scenario::SequentialCalls => {
                let source = format!("for (let n = 0; n < {CALLS}; n++) await tools.echo(n)");
                self.paused_execs(request(source, 2), CALLS, count).await?;
            }
            Scenario::ParallelCalls => {
                let source = format!(
                    "await Promise.all(Array.from({{length: {CALLS}}}, (_, n) => tools.echo(n)))"
                );
                self.paused_execs(request(source, 2), CALLS, count).await?;
            }
            Scenario::Echo { bytes } => {
                let source = format!("await tools.echo('x'.repeat({bytes}))");
                self.paused_execs(request(source, 2), 1, count).await?;
            }
            Scenario::Throughput { in_flight } => {
                for _ in 0..count {
                    let sample = self.throughput(in_flight).await?;
                    self.samples.push(sample);
                }
            }
            Scenario::Parked { cells } => return self.park(cells).await,
            Scenario::Terminate => self.terminate(count).await?,
            Scenario::Wait => self.wait(count).await?,
        }
        Ok(None)
    }

    /// An agent does not fire its next exec in the microsecond in which it has the last result, and
    /// a host may use the time to make the next isolate ready. Nothing computes meanwhile.
    async fn pause(&self) {
        if !self.task.pause.is_zero() {
            tokio::time::sleep(self.task.pause).await;
        }
    }

    async fn execs(&mut self, request: ExecuteRequest, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let sample = exec(&*self.session, request.clone()).await?;
            self.samples.push(sample);
        }
        Ok(())
    }

    /// Samples of an exec after a pause, each the time of one of its `parts`.
    async fn paused_execs(
        &mut self,
        request: ExecuteRequest,
        parts: u32,
        count: usize,
    ) -> Result<(), Failure> {
        for _ in 0..count {
            self.pause().await;
            let sample = exec(&*self.session, request.clone()).await?;
            self.samples.push(sample / parts);
        }
        Ok(())
    }

    /// The time per exec with so many at work at any time.
    async fn throughput(&self, in_flight: usize) -> Result<Duration, Failure> {
        let execs = MIN_EXECS.max(in_flight * MIN_EXECS_EACH);
        let taken = Arc::new(AtomicUsize::new(0));
        let short = request(SHORT, 0);
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            let (session, taken) = (Arc::clone(&self.session), Arc::clone(&taken));
            let short = short.clone();
            workers.spawn(async move {
                while taken.fetch_add(1, Ordering::Relaxed) < execs {
                    exec(&*session, short.clone()).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(begun.elapsed() / u32::try_from(execs)?)
    }

    async fn park(&mut self, cells: usize) -> Result<Option<String>, Failure> {
        // The cell yields first, so that what a parked cell holds is no request in flight.
        let parking = request("yield_control(); await tools.park()", 2);
        for parked in 0..cells {
            let begun = Instant::now();
            if let Err(error) = self.started(parking.clone()).await {
                return match cap(&error).filter(|_| parked > 0) {
                    Some(cap) => Ok(Some(format!(
                        "stopped at {parked} of {cells} by the host's {cap}"
                    ))),
                    None => Err(error.into()),
                };
            }
            // The cell has to reach its call, so that all of it is there.
            let call = self.next_call().await?;
            self.samples.push(begun.elapsed());
            self.held.push(call);
        }
        Ok(None)
    }

    /// Starts a cell and awaits its first response, which is a yield.
    async fn started(&self, request: ExecuteRequest) -> Result<(), SessionError> {
        let started = self.session.execute(request).await?;
        started.first_response.await?;
        Ok(())
    }

    async fn next_call(&mut self) -> Result<ParkedCall, Failure> {
        let call = tokio::time::timeout(PATIENCE, self.calls.next()).await;
        let call = call.map_err(|_| "a script does not call its tool")?;
        Ok(call.ok_or("the session has dropped its delegate")?)
    }

    async fn terminate(&mut self, count: usize) -> Result<(), Failure> {
        // The call leaves the cell before the loop is entered, and nothing comes between the two.
        let spinning = request("tools.park(); for (;;);", 2);
        for _ in 0..count {
            self.pause().await;
            let started = self.session.execute(spinning.clone()).await?;
            let call = self.next_call().await?;
            let begun = Instant::now();
            let response = self.session.terminate(started.cell_id).await?;
            self.samples.push(begun.elapsed());
            drop(call);
            if response.status != CellStatus::Terminated {
                return Err(format!("a terminated cell ended as {:?}", response.status).into());
            }
        }
        Ok(())
    }

    async fn wait(&mut self, count: usize) -> Result<(), Failure> {
        let waiting = request("yield_control(); await tools.park(); text('x')", 2);
        for _ in 0..count {
            let started = self.session.execute(waiting.clone()).await?;
            started.first_response.await?;
            let call = self.next_call().await?;
            let mut response = self.session.wait(WaitRequest {
                cell_id: started.cell_id,
                yield_time: Some(PATIENCE),
            });
            // The wait is on its way before the cell is released, and pending after any pause.
            tokio::select! {
                biased;
                response = &mut response => {
                    return Err(format!("a parked cell gave {response:?}").into());
                }
                () = tokio::time::sleep(self.task.pause) => {}
            }
            let begun = Instant::now();
            drop(call);
            let response = response.await?;
            self.samples.push(begun.elapsed());
            completed(response.status)?;
        }
        Ok(())
    }
}

/// How long an exec takes, from the request to the result.
pub(crate) async fn exec(
    session: &dyn CodeModeSession,
    request: ExecuteRequest,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let response = session.execute(request).await?.first_response.await?;
    let elapsed = begun.elapsed();
    completed(response.status)?;
    Ok(elapsed)
}

fn completed(status: CellStatus) -> Result<(), Failure> {
    match status {
        CellStatus::Completed { error_text: None } => Ok(()),
        other => Err(format!("a script ended as {other:?}").into()),
    }
}
