// SPDX-License-Identifier: Apache-2.0
//! One round of one scenario in one process.

use crate::instance::Instance;
use crate::memory::resident_kib;
use crate::sampling::{Bench, exec};
use crate::scenario::Scenario;
use crate::script::{SHORT, request};
use crate::task::{Failure, Round, Task};

impl Task {
    /// Carries the task out on an instance, and ends the instance.
    pub async fn run(&self, instance: Instance) -> Round {
        let mut round = Round::default();
        let mut bench = Bench::new(self, instance.session, instance.calls, instance.startup);
        let process_id = instance.process_id;
        match self.measure(&mut bench, process_id).await {
            Ok((note, growth_kib)) => {
                round.note = note;
                round.growth_kib = growth_kib;
            }
            Err(failure) => round.failure = Some(failure.to_string()),
        }
        instance.shutdown.await;
        round.samples = bench.samples;
        round
    }

    /// Takes the samples; gives the note about them and the growth of memory.
    async fn measure(
        &self,
        bench: &mut Bench<'_>,
        process_id: Option<u32>,
    ) -> Result<(Option<String>, Option<i64>), Failure> {
        let is_start = self.scenario.is_start();
        if !is_start {
            let short = request(SHORT, 0);
            for _ in 0..self.warm_iterations {
                exec(&*bench.session, short.clone()).await?;
            }
        }
        let before = match self.scenario {
            Scenario::ProcessStart | Scenario::RuntimeStart => Some(0),
            _ => resident_kib(process_id).await,
        };
        // What only this scenario needs, long strings say, is warm too when its time is taken.
        if self.scenario.can_repeat() {
            let warmed = bench.sample(self.warm_iterations).await;
            bench.samples.clear();
            warmed?;
        }
        let note = bench.sample(self.samples).await?;
        let after = resident_kib(process_id).await;
        let growth = after.zip(before).map(|(after, before)| after - before);
        Ok((note, growth))
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
