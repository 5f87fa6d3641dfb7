// SPDX-License-Identifier: Apache-2.0
//! One round of one scenario in one process.

use crate::instance::Instance;
use crate::memory::{available_kib, resident_kib};
use crate::sampling::{Bench, exec};
use crate::scenario::Scenario;
use crate::script::{SHORT, request};
use crate::task::{Failure, Round, Task};

impl Task {
    /// Carries the task out on an instance, and ends the instance.
    pub async fn run(&self, instance: Instance) -> Round {
        let mut bench = Bench::new(self, instance.session, instance.calls, instance.startup);
        let process_id = instance.process_id;
        let round = self.measure(&mut bench, process_id).await;
        instance.shutdown.await;
        Round {
            samples: bench.samples,
            ..round.unwrap_or_else(Round::failed)
        }
    }

    /// Takes the samples, which stay in `bench`; gives everything else about the round.
    async fn measure(
        &self,
        bench: &mut Bench<'_>,
        process_id: Option<u32>,
    ) -> Result<Round, Failure> {
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
        let available_before = available_kib();
        let note = bench.sample(self.samples).await?;
        let after = resident_kib(process_id).await;
        let available = available_kib();
        Ok(Round {
            note,
            growth_kib: after.zip(before).map(|(after, before)| after - before),
            machine_growth_kib: available_before
                .zip(available)
                .map(|(before, after)| before - after),
            ..Round::default()
        })
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
